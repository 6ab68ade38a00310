//! File descriptors: how many there may be, and how many are left.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Programs that are started have the same limit, and some close all that they may have, one by one.
const MOST: u64 = 65_536;
/// Kept for clients, scripts and reloads when interfaces want more.
pub const RESERVED: u64 = 96;
/// What an interface needs: links of the two programs, and its part of the sockets that join groups.
pub const PER_INTERFACE: u64 = 3;

/// Raises the limit as far as that is permitted and sensible.
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(MOST).max(soft);
    if wanted > soft {
        match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
            Ok(()) => log::debug!("limit of open files: {soft} -> {wanted}"),
            Err(errno) => log::warn!("cannot raise the limit of open files from {soft}: {errno}"),
        }
    }
}

/// How many there may be, and how many of them are left.
pub fn limit_and_left() -> Option<(u64, u64)> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let used = fs::read_dir("/proc/self/fd").ok()?.count();
    Some((limit, limit.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX))))
}

/// Why there are none for so many interfaces.
pub fn shortage(interfaces: u64) -> Option<String> {
    let (limit, left) = limit_and_left()?;
    let needed = interfaces.saturating_mul(PER_INTERFACE).saturating_add(RESERVED);
    (left < needed).then(|| {
        format!(
            "only {limit} open files are permitted and {left} are left, where {needed} are needed: raise LimitNOFILE= in \
             the unit, or ulimit -n"
        )
    })
}
