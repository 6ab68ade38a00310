//! What a daemon left that was killed, taken away without another one: `vrrp-user cleanup`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::start::{Error, leave, lock, lock_directory};
use crate::config::model::Scheduling;
use crate::core::InterfaceAddr;
use crate::core::netlink::{AddressRequest, Ask, Link, Request, Subject};
use crate::io::bpf;
use crate::io::netlink::{Netlink, Report};
use crate::io::reader::Reader;
use crate::types::instance::{Instance, RUNTIME_DIR};

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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| Error::Os { what: "cannot start the runtime", source })?;
    runtime.block_on(addresses(instance, &vips, &mut cleaned))?;
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

/// Removes addresses that bear the mark of a daemon: those of this instance, and all others where no other daemon lives whose
/// they could be.
async fn addresses(
    instance: &Instance,
    vips: &BTreeSet<InterfaceAddr>,
    cleaned: &mut Cleaned,
) -> Result<(), Error> {
    let mut netlink = Netlink::open(Scheduling::Other, &instance.runtime_dir()).await?;
    let (links, addresses) = loop {
        match netlink.next().await {
            Report::Everything(links, addresses) => break (links, addresses),
            Report::Unknown(error) => return Err(error.into()),
            Report::Closed => return Err(Error::NetlinkClosed),
            Report::Events(_) | Report::Answers(_) | Report::Hooks(_) => {}
        }
    };
    let name = |at: &InterfaceAddr| {
        let is_it = |link: &&Link| link.iface == at.iface;
        links.iter().find(is_it).map_or("?", |link| link.name.as_str())
    };
    let alone = !others_live(instance);
    let mut asked = 0;
    for at in addresses.iter().filter(|at| at.marked) {
        if !alone && !vips.contains(&at.at) {
            cleaned.stays.push(format!(
                "{}/{} on {}: it may be that of another instance, which runs",
                at.at.address,
                at.prefix,
                name(&at.at)
            ));
            continue;
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
                Report::Everything(..) | Report::Unknown(_) | Report::Events(_) | Report::Hooks(_),
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

/// Whether another daemon answers on this host, or nobody knows.
fn others_live(instance: &Instance) -> bool {
    let all = fs::read_dir(RUNTIME_DIR).into_iter().flatten().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<Instance>().ok());
    all.filter(|other| other != instance).any(|other| {
        let dead = [std::io::ErrorKind::NotFound, std::io::ErrorKind::ConnectionRefused];
        !UnixStream::connect(other.socket()).is_err_and(|error| dead.contains(&error.kind()))
    })
}
