//! Addresses that a daemon left which was killed: removing them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use vrrp_common::maps::RouterInfo;

use crate::config::model::Scheduling;
use crate::core::InterfaceAddr;
use crate::core::netlink::{AddressRequest, Ask, Link, Request, Subject};
use crate::io::bpf;
use crate::io::netlink::{self, AcceptFilter, Netlink, Report};
use crate::io::reader::Reader;
use crate::io::{netns, timer};
use crate::types::instance::Instance;
use crate::types::netns::Netns;

/// Why nothing could be removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not say what there is.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// It worked, and does no more.
    #[error("the netlink sockets were closed")]
    Closed,
    /// Something that every Linux has does not work.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// How long the kernel is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was done, and what could not be, a line each.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What was removed.
    pub removed: Vec<String>,
    /// What stays, and why.
    pub stays: Vec<String>,
}

/// Removes the addresses that a daemon of this instance left which was killed, as far as others have them by now: its programs
/// keep this host from answering for them, and are about to go. What cannot be removed is only said. Where something pinned
/// belongs to another user nothing is removed because of what stands there.
pub(super) fn free_lost(instance: &Instance, pins: &Path) {
    if let Some(user) = bpf::other_owner(pins) {
        log::error!(
            "what is pinned in {} belongs to the user {user}: which addresses others have by now is not looked up there",
            pins.display()
        );
        return;
    }
    let Ok(reader) = Reader::open(pins) else { return };
    let now = timer::boot_now().0;
    let is_lost = |slot: u32| reader.lease(slot).is_ok_and(|lease| lease.is_anothers(now));
    let mut cleaned = Cleaned::default();
    for (netns, lost) in vips_left(&reader, is_lost) {
        let free = |cleaned: &mut Cleaned| {
            if let Err(error) = addresses(instance, &here(&lost), Others::Ignored, cleaned) {
                cleaned.stays.push(bpf::chain(&error));
            }
        };
        match netns {
            Some(netns) => in_namespace(&netns, &mut cleaned, free),
            None => free(&mut cleaned),
        }
    }
    for what in cleaned.removed {
        log::info!("removed {what}, which another host has by now");
    }
    for what in cleaned.stays {
        log::error!("an address may be answered for that another host has by now: {what}");
    }
}

/// A virtual address as the maps have it, and the name of its interface where that is known.
pub(super) struct Left {
    at: InterfaceAddr,
    interface: Option<String>,
}

/// The virtual addresses of the routers of a daemon that was killed, by the network namespaces that they are in, as far as `which`
/// says of the numbers of their routers.
pub(super) fn vips_left(
    reader: &Reader,
    which: impl Fn(u32) -> bool,
) -> BTreeMap<Option<Netns>, Vec<Left>> {
    let routers = reader.routers().unwrap_or_default();
    let routers: BTreeMap<u32, RouterInfo> =
        routers.into_iter().map(|(index, info, _)| (index, info)).collect();
    let mut left: BTreeMap<Option<Netns>, Vec<Left>> = BTreeMap::new();
    for (at, counters) in reader.vips().unwrap_or_default() {
        if !which(counters.slot) {
            continue;
        }
        let info = routers.get(&counters.slot);
        // Its number there may not be its index.
        let own = info.filter(|info| info.ifindex == at.iface.ifindex);
        let interface = own.map(|info| info.interface().to_owned());
        let netns = info.and_then(|info| info.netns().parse().ok());
        left.entry(netns).or_default().push(Left { at, interface });
    }
    left
}

/// Where they are in the network namespace that this thread is in.
pub(super) fn here(left: &[Left]) -> BTreeSet<InterfaceAddr> {
    let place = |left: &Left| {
        let named = left.interface.as_deref().and_then(|name| if_nametoindex(name).ok());
        InterfaceAddr::own(named.unwrap_or(left.at.iface.ifindex), left.at.address)
    };
    left.iter().map(place).collect()
}

/// Does something in a network namespace, of which nothing is left if it is gone.
pub(super) fn in_namespace(netns: &Netns, cleaned: &mut Cleaned, work: impl FnOnce(&mut Cleaned)) {
    let entered = match netns::open(netns) {
        Ok(file) => netns::within(file, || work(cleaned)),
        Err(netns::Error::Missing(_)) => return,
        Err(error) => Err(io::Error::other(error)),
    };
    if let Err(error) = entered {
        cleaned.stays.push(format!("what there may be in the network namespace {netns}: {error}"));
    }
}

/// What is done with addresses that bear the mark of a daemon, and nobody knows of which one.
#[derive(Clone, Copy)]
pub(super) enum Others {
    /// There is no other daemon.
    Go,
    /// They stay, and that is said.
    Stay,
    /// They are no concern.
    Ignored,
}

/// Removes these addresses, as far as they bear the mark of a daemon, and others that do.
pub(super) fn addresses(
    instance: &Instance,
    vips: &BTreeSet<InterfaceAddr>,
    others: Others,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::Runtime)?;
    runtime.block_on(remove_addresses(instance, vips, others, cleaned))
}

async fn remove_addresses(
    instance: &Instance,
    vips: &BTreeSet<InterfaceAddr>,
    others: Others,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    let filter = AcceptFilter::new(instance.name(), false);
    let mut netlink =
        Netlink::open(Scheduling::Other, &instance.runtime_dir(), filter, Vec::new()).await?;
    let (links, addresses) = loop {
        match netlink.next().await {
            Report::Everything(links, addresses) => break (links, addresses),
            Report::Unknown(error) => return Err(error.into()),
            Report::Closed => return Err(Error::Closed),
            Report::Entered(..)
            | Report::Events(_)
            | Report::Answers(_)
            | Report::Hooks(_)
            | Report::Refused(_) => {}
        }
    };
    let name = |at: &InterfaceAddr| {
        let is_it = |link: &&Link| link.iface == at.iface;
        links.iter().find(is_it).map_or("?", |link| link.name.as_str())
    };
    let mut asked = 0;
    for at in addresses.iter().filter(|at| at.marked) {
        match others {
            Others::Stay | Others::Ignored if vips.contains(&at.at) => {}
            Others::Go => {}
            Others::Stay => {
                cleaned.stays.push(format!(
                    "{}/{} on {}: it may be that of another instance, which runs",
                    at.at.address,
                    at.prefix,
                    name(&at.at)
                ));
                continue;
            }
            Others::Ignored => continue,
        }
        netlink.ask(Ask::address(Request::Remove, AddressRequest::plain(*at)));
        asked += 1;
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while asked > 0 {
        let answers = match tokio::time::timeout_at(deadline, netlink.next()).await {
            Ok(Report::Answers(answers)) => answers,
            Ok(Report::Closed) | Err(_) => {
                cleaned.stays.push(format!("{asked} addresses: the kernel does not answer"));
                break;
            }
            Ok(
                Report::Everything(..)
                | Report::Unknown(_)
                | Report::Entered(..)
                | Report::Events(_)
                | Report::Hooks(_)
                | Report::Refused(_),
            ) => continue,
        };
        for answer in answers {
            asked -= 1;
            let Subject::Address(at) = answer.subject else { continue };
            let what = format!("{}/{} from {}", at.at.address, at.prefix, name(&at.at));
            match answer.result {
                Ok(()) => cleaned.removed.push(what),
                Err(error) => cleaned.stays.push(format!("{what}: {error}")),
            }
        }
    }
    Ok(())
}
