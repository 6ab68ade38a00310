//! What a daemon left that was killed, taken away without another one: `vrrp-user cleanup`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

pub use super::stale::Cleaned;
use super::stale::{Others, addresses};
use super::start::{Error, leave, lock, lock_directory};
use crate::io::bpf;
use crate::io::reader::Reader;
use crate::types::instance::{Instance, RUNTIME_DIR};

/// Removes the addresses of an instance, as far as they bear its mark, then its programs from interfaces, and its pins: in
/// this order, as the programs keep the host from answering for the addresses. Nothing happens beside a daemon that lives.
/// Errors: [`Error::AlreadyRunning`], [`Error::RuntimeDir`], [`Error::Netlink`], [`Error::Os`].
pub fn cleanup(instance: &Instance, bpffs: Option<&Path>) -> Result<Cleaned, Error> {
    let lock = lock(instance)?;
    let pins = bpf::find_bpffs(bpffs).ok().map(|bpffs| instance.pins(&bpffs));
    let pins = pins.filter(|pins| pins.is_dir());
    let locked_pins = match &pins {
        Some(pins) => Some(lock_directory(pins, instance)??),
        None => None,
    };
    let vips = pins.as_deref().and_then(|pins| Reader::open(pins).ok()?.vips().ok());
    let vips: BTreeSet<_> = vips.into_iter().flatten().map(|(vip, _)| vip).collect();
    let mut cleaned = Cleaned::default();
    let others = if others_live(instance) { Others::Stay } else { Others::Go };
    addresses(instance, &vips, others, &mut cleaned)?;
    for left in bpf::remove_stale_filters(instance.name()) {
        match left {
            Ok(filter) => {
                let direction = filter.direction();
                cleaned
                    .removed
                    .push(format!("a tc program from {} ({direction})", filter.interface));
            }
            Err(why) => cleaned.stays.push(why),
        }
    }
    if let Some(pins) = &pins {
        match bpf::remove_stale_pins(pins) {
            Ok((0, 0)) => {}
            Ok((links, maps)) => cleaned.removed.push(format!(
                "{links} programs from interfaces, and {maps} maps, pinned in {}",
                pins.display()
            )),
            Err(error) => cleaned.stays.push(bpf::chain(&error)),
        }
    }
    drop(locked_pins);
    leave(instance, Some(lock));
    Ok(cleaned)
}

/// Whether another daemon answers on this host, or nobody knows.
fn others_live(instance: &Instance) -> bool {
    let all = fs::read_dir(RUNTIME_DIR).into_iter().flatten().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<Instance>().ok());
    all.filter(|other| other != instance).any(|other| {
        let dead = [std::io::ErrorKind::NotFound, std::io::ErrorKind::ConnectionRefused];
        !UnixStream::connect(other.socket()).is_err_and(|error| dead.contains(&error.kind()))
    })
}
