//! Going on where a daemon of this instance was killed: what is found of it, and whether it is used.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::net::if_::if_nameindex;
use vrrp_common::maps::Control;

use super::Driver;
use super::networks::Networks;
use crate::config::model::Config;
use crate::core::adoption::{PinFacts, Predecessor, Unusable};
use crate::core::{Needs, Sizes};
use crate::engine::types::RouterId;
use crate::io::bpf::{self, Before, Datapath, Error};
use crate::io::reader::{Reader, pinned_control};
use crate::io::{handover, timer};
use crate::types::build;

/// What is found of a daemon that was killed.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Pins that are not used.
    Unusable,
    /// Pins that are, of which the maps have these sizes.
    Pins(Control, Sizes),
    /// Those of the program that was in this process before, which are to become other ones of these sizes.
    Other(Control, Sizes, Box<Reader>),
}

/// Looks for pins that a daemon has left which was killed: no other one lives, the caller has the locks.
pub(super) fn find(pins: &Result<PathBuf, Error>, needs: Needs) -> Found {
    let found = |dir: &Path| bpf::pin_facts(dir, pinned_control(dir), Sizes::with_room(needs));
    let Some(facts) = pins.as_ref().ok().and_then(|dir| found(dir)) else { return Found::Nothing };
    let PinFacts { control, sizes, .. } = facts;
    match facts.check(timer::now(), needs) {
        Ok(()) => Found::Pins(control, sizes),
        Err(Unusable::Abi(_) | Unusable::NoRoom(_)) if handover::version().is_some() => {
            let dir = pins.as_deref().unwrap_or(Path::new(""));
            match other_maps(dir, &facts, needs) {
                Ok(other) => other,
                Err(why) => {
                    log::error!("nothing goes on: {why}");
                    Found::Unusable
                }
            }
        }
        Err(why) => {
            log::warn!("what a killed daemon of this instance has pinned is not adopted: {why}");
            Found::Unusable
        }
    }
}

/// Lets maps of another layout, or with less room, be read until there are others in their place.
fn other_maps(dir: &Path, facts: &PinFacts, needs: Needs) -> Result<Found, String> {
    let (control, room) = (facts.control, Sizes::with_room(needs));
    let before = Reader::open(dir).map_err(|error| bpf::chain(&error))?;
    let sizes = Sizes {
        routers: facts.sizes.routers.max(room.routers),
        vips: facts.sizes.vips.max(room.vips),
        vips6: facts.sizes.vips6.max(room.vips6),
        allowed: facts.sizes.allowed.max(room.allowed),
    };
    let as_ours = Control { abi_version: build::abi_version(), ..control };
    let facts = PinFacts { unusable: None, control: as_ours, sizes, ..facts.clone() };
    facts.check(timer::now(), needs).map_err(|why| why.to_string())?;
    bpf::unpin_maps(dir).map_err(|error| bpf::chain(&error))?;
    before.unread().iter().for_each(|unread| log::info!("{unread}"));
    Ok(Found::Other(control, sizes, Box::new(before)))
}

/// What stands in maps that others are to take the place of. Errors: those of the maps.
pub(super) fn before_of(reader: &Reader) -> Result<Before, Error> {
    let routers = reader.routers()?.into_iter();
    let routers = routers.map(|(index, info, slot)| Ok((index, info, slot, reader.lease(index)?)));
    Ok(Before {
        routers: routers.collect::<Result<_, Error>>()?,
        vips: reader.vips()?,
        peers: reader.peers()?,
        counters: reader.counters()?,
        reasons: reader.reasons()?,
    })
}

/// Reads what a daemon has left which was killed, and forgets its routers that are not in the configuration.
pub(super) fn read(
    datapath: &mut Datapath,
    control: &Control,
    config: &Config,
    networks: &Networks,
) -> Predecessor {
    let mut interfaces = BTreeMap::new();
    for (namespace, _) in networks.all() {
        let there = networks.within(namespace, interfaces_here);
        interfaces.insert(namespace, there.unwrap_or_default());
    }
    let predecessor = datapath.predecessor(control, &interfaces);
    let matches = predecessor.matches(&config.routers);
    let retained: BTreeSet<RouterId> = matches.iter().flatten().map(|it| it.number).collect();
    let all = retained.len() == predecessor.routers.len();
    let addresses = config.routers.iter().flat_map(|router| &router.addresses);
    let addresses: HashSet<IpAddr> = addresses.map(|address| address.address).collect();
    if let Err(error) = datapath.retain(&addresses, (!all).then_some(&retained)) {
        log::error!("routers of a killed daemon: {}", bpf::chain(&error));
    }
    log::info!(
        "adopting what daemon {} has pinned: {} of {} virtual routers are configured here",
        control.pid,
        retained.len(),
        predecessor.routers.len()
    );
    predecessor
}

/// The indexes of the interfaces of the network namespace that this thread is in, by their names.
fn interfaces_here() -> HashMap<String, u32> {
    let all = if_nameindex();
    let all = all.iter().flatten();
    all.map(|interface| (interface.name().to_string_lossy().into_owned(), interface.index()))
        .collect()
}

impl Driver {
    /// The routers have begun, and the programs on their interfaces are ours: what the others have counted is added.
    pub(super) fn end_migration(&mut self) {
        if let Some(before) = self.before.take()
            && let Err(error) =
                before_of(&before).and_then(|before| self.datapath.migrate_counters(&before))
        {
            log::error!("counters of the program before this one: {}", bpf::chain(&error));
        }
    }

    /// The routers have begun a while ago: what is left of a daemon that was killed and not adopted goes.
    pub(super) fn end_adoption(&mut self) {
        if !self.datapath.adopts() {
            return;
        }
        self.datapath.end_adoption();
        let (routers, addresses, peers) = self.core.keys();
        let places = &mut self.datapath.places;
        let routers = routers.iter().map(|place| place.key(places.number(place.iface))).collect();
        let addresses = addresses.into_iter().map(|at| places.address(at)).collect();
        if let Err(error) = self.datapath.retain_keys(&routers, &addresses, &peers) {
            log::error!("keys of a killed daemon: {}", bpf::chain(&error));
        }
        if let Err(error) = self.datapath.retain_hmac_keys(&self.core.hmac_key_ids()) {
            log::error!("keys of signatures of a killed daemon: {}", bpf::chain(&error));
        }
    }
}
