//! File descriptors: how many there may be, and how many are left.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Programs that are started have the same limit, and some close all that they may have, one by one.
const MOST: u64 = 65_536;
/// What the daemon takes for itself: maps, sockets, timers and what its threads wait on.
const OWN: u64 = 64;
/// Kept for clients, scripts and reloads when interfaces want more.
pub const RESERVED: u64 = 128;
/// So many interfaces share a socket that joins groups (`net.ipv4.igmp_max_memberships` is 20).
const INTERFACES_PER_SOCKET: u64 = 16;

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

/// How many there may be, and how many of them are left, as far as the lowest free one tells: those that are open have no
/// gaps to speak of.
fn limit_and_left() -> Option<(u64, u64)> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let Ok(next) = io::stderr().as_fd().try_clone_to_owned() else { return Some((limit, 0)) };
    let used = u64::try_from(next.as_raw_fd()).unwrap_or_default();
    Some((limit, limit.saturating_sub(used)))
}

fn short_of(needed: u64) -> Option<String> {
    let (limit, left) = limit_and_left()?;
    (left < needed).then(|| {
        format!(
            "only {limit} open files are permitted and {left} are left, where {needed} are needed: raise LimitNOFILE= in \
             the unit, or ulimit -n"
        )
    })
}

/// Why no daemon can start.
pub fn none_to_start() -> Option<String> {
    short_of(OWN)
}

/// Why there are none to receive on so many interfaces. Each needs one for the XDP program, and a part of a socket.
pub fn shortage(interfaces: u64) -> Option<String> {
    short_of(
        interfaces
            .saturating_add(interfaces.div_ceil(INTERFACES_PER_SOCKET))
            .saturating_add(RESERVED),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_open_are_not_left() {
        let (limit, left) = limit_and_left().unwrap();
        assert!(left > 0 && left < limit, "{left} of {limit}");
        assert_eq!(short_of(1), None);
        let missing = short_of(limit).unwrap();
        assert!(missing.contains(&format!("{limit} are needed")), "{missing}");
        assert!(shortage(limit).is_some());
    }
}
