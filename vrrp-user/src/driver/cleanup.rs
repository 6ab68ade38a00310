//! What a daemon left that was killed, taken away without another one: `vrrp-user cleanup`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

pub use super::stale::Cleaned;
use super::stale::{Others, addresses, here, in_namespace, vips_left};
use super::start::{Error, leave, lock, lock_directory};
use crate::io::bpf;
use crate::io::netlink::{self, AcceptFilter, MarkedObject, UnicastFilter, fdb, restore_settings};
use crate::io::netns;
use crate::io::reader::{Reader, pinned_control};
use crate::types::instance::{Instance, RUNTIME_DIR};
use crate::types::netns::Netns;
use crate::wire::ethernet::Colons;

/// Removes the addresses of an instance, as far as they bear its mark, routes, rules and settings, then its programs from interfaces, and its pins: in
/// this order, as the programs keep the host from answering for the addresses. Nothing happens beside a daemon that lives.
/// Errors: [`Error::AlreadyRunning`], [`Error::RuntimeDir`], [`Error::Netns`], [`Error::Netlink`], [`Error::Os`].
pub fn cleanup(instance: &Instance, bpffs: Option<&Path>) -> Result<Cleaned, Error> {
    let lock = lock(instance)?;
    let pins = bpf::find_bpffs(bpffs).ok().map(|bpffs| instance.pins(&bpffs));
    let pins = pins.filter(|pins| pins.is_dir());
    let locked_pins = match &pins {
        Some(pins) => Some(lock_directory(pins, instance)??),
        None => None,
    };
    if let Some(pins) = &pins {
        // Its addresses are where it was.
        netns::enter_by_number(pinned_control(pins).namespace)?;
    }
    let reader = pins.as_deref().and_then(|pins| Reader::open(pins).ok());
    let mut vips = reader.as_ref().map(|reader| vips_left(reader, |_| true)).unwrap_or_default();
    let virtual_macs = pins.as_deref().map(bpf::pinned_virtual_macs).unwrap_or_default();
    let mut cleaned = Cleaned::default();
    let others = || if others_live(instance, bpffs) { Others::Stay } else { Others::Go };
    let own = vips.remove(&None).unwrap_or_default();
    addresses(instance, &here(&own), others(), &mut cleaned)?;
    objects(others(), &mut cleaned);
    for (what, result) in restore_settings(&instance.runtime_dir()) {
        match result {
            Ok(()) => cleaned.removed.push(what),
            Err(error) => cleaned.stays.push(format!("{what}: {error}")),
        }
    }
    accept_filter(instance, &mut cleaned);
    forwarding_entries(virtual_macs, &mut cleaned);
    filters(instance, &mut cleaned);
    for (netns, left) in vips {
        let Some(netns) = netns else { continue };
        in_namespace(&netns, &mut cleaned, |cleaned| {
            if let Err(error) = addresses(instance, &here(&left), others(), cleaned) {
                cleaned.stays.push(bpf::chain(&error));
            }
            objects(others(), cleaned);
            accept_filter(instance, cleaned);
            filters(instance, cleaned);
        });
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

/// Removes tc programs, where there is no tcx.
fn filters(instance: &Instance, cleaned: &mut Cleaned) {
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
}

/// Removes virtual MAC addresses from the forwarding databases of bridges: there they keep local guests from the next master.
fn forwarding_entries(virtual_macs: BTreeSet<(u32, [u8; 6])>, cleaned: &mut Cleaned) {
    for (ifindex, mac) in virtual_macs {
        let links = netlink::links([ifindex]).into_iter();
        for link in links.filter(|link| link.unicast_filter == UnicastFilter::Bridge) {
            let what = format!("{} from the forwarding database of {}", Colons(mac), link.name);
            match fdb::remove(ifindex, mac) {
                Ok(true) => cleaned.removed.push(what),
                Ok(false) => {}
                Err(error) => cleaned.stays.push(format!("{what}: {error}")),
            }
        }
    }
}

/// Removes what refuses packets to addresses, now that they are gone.
fn accept_filter(instance: &Instance, cleaned: &mut Cleaned) {
    let mut filter = AcceptFilter::new(instance.name(), false);
    let name = format!("the table {} of nf_tables", filter.table());
    match filter.remove() {
        Ok(true) => cleaned.removed.push(name),
        Ok(false) => {}
        Err(error) => cleaned.stays.push(format!("{name}: {error}")),
    }
}

/// Removes routes and rules that bear the mark of a daemon, which is keepalived's, too: where no other one lives.
fn objects(others: Others, cleaned: &mut Cleaned) {
    let whose = match others {
        Others::Stay | Others::Ignored => Some("of another instance"),
        Others::Go => keepalived_lives().then_some("of keepalived"),
    };
    let found = MarkedObject::list().unwrap_or_else(|error| {
        cleaned.stays.push(format!("routes and rules: {error}"));
        Vec::new()
    });
    for object in found {
        let name = object.name.clone();
        match whose {
            Some(whose) => {
                cleaned.stays.push(format!("{name}: it may be that {whose}, which runs"));
            }
            None => match object.remove() {
                Ok(true) => cleaned.removed.push(name),
                // With its address, perhaps.
                Ok(false) => {}
                Err(error) => cleaned.stays.push(format!("{name}: {error}")),
            },
        }
    }
}

/// Whether a process may be in this network namespace. One that has ended meanwhile is in none.
fn is_here(process: &Path) -> bool {
    let namespace = |process: &Path| fs::read_link(process.join("ns/net"));
    match namespace(process) {
        Ok(there) => namespace(Path::new("/proc/thread-self")).is_ok_and(|here| here == there),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// Whether a keepalived runs in this network namespace.
fn keepalived_lives() -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|entry| entry.path()).any(|process| {
        fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "keepalived")
            && is_here(&process)
    })
}

/// Whether another daemon lives in this network namespace, or has routers in it, or nobody knows.
fn others_live(instance: &Instance, bpffs: Option<&Path>) -> bool {
    let all = fs::read_dir(RUNTIME_DIR).into_iter().flatten().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<Instance>().ok());
    // The bpffs may be mounted there, and permits no such name.
    let mut all = all.filter(|other| other != instance && other.socket().exists());
    all.any(|other| match UnixStream::connect(other.socket()) {
        Ok(stream) => {
            let process = getsockopt(&stream, PeerCredentials)
                .map(|peer| Path::new("/proc").join(peer.pid().to_string()));
            process.map_or(true, |process| is_here(&process)) || serves_here(&other, bpffs)
        }
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused),
    })
}

/// Whether a daemon has routers in this network namespace, in which it need not be itself.
fn serves_here(other: &Instance, bpffs: Option<&Path>) -> bool {
    let routers = || {
        let pins = other.pins(&bpf::find_bpffs(bpffs).ok()?);
        Reader::open(&pins).ok()?.routers().ok()
    };
    let is_this = |netns: Netns| {
        netns::open(&netns).is_ok_and(|file| netns::number_of(&file) == netns::number())
    };
    let routers = routers().into_iter().flatten();
    let all: BTreeSet<Netns> =
        routers.filter_map(|(_, info, _)| info.netns().parse().ok()).collect();
    all.into_iter().any(is_this)
}
