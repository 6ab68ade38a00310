//! What a daemon that was killed has left pinned: reading it, and forgetting what this one has no use for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use aya::maps::{MapInfo, MapType};
use nix::unistd::geteuid;
use vrrp_common::maps::{
    ALLOWED, CONTROL, COUNTERS, Control, DAEMON_COUNTERS, HELD4, HELD6, HMAC_KEYS, HMAC_MARKS,
    HMAC_XDP, Held, HmacKey, HmacKeyId, INFO, LEASES, Lease, PEERS, PeerCounters, PeerKey, REASONS,
    ROUTERS, RouterEntry, RouterInfo, RouterKey, SAMPLE_COUNTS, SAMPLES, SENDERS, SLOTS, Slot,
    TtlRange, VIPS4, VIPS6, VIRTUAL_MAC_SET, VIRTUAL_MACS, VipCounters, VipKey4, VipKey6,
    VirtualMacKey,
};
use vrrp_common::sample::{Sample, SampleCounts};
use vrrp_common::virtual_mac::SET_WORDS;

use super::Datapath;
use super::error::Error;
use super::interface_numbers::NumberedInterface;
use super::pins::{KEPT, LINK, PINNED, PROGRAM};
use crate::core::adoption::{PinFacts, PinnedRouter, Predecessor};
use crate::core::{InterfaceAddr, InterfaceId, NamespaceId, Sizes};
use crate::io::{netns, timer};
use crate::types::id::RouterId;
use crate::types::time::Nanos;

/// What a map must be: its kind, and bytes of keys and of values.
fn layout(name: &str) -> (MapType, usize, usize) {
    let array = |value| (MapType::Array, size_of::<u32>(), value);
    let per_cpu = |value| (MapType::PerCpuArray, size_of::<u32>(), value);
    match name {
        ROUTERS => (MapType::Hash, size_of::<RouterKey>(), size_of::<RouterEntry>()),
        SLOTS => array(size_of::<Slot>()),
        LEASES => array(size_of::<Lease>()),
        INFO => array(size_of::<RouterInfo>()),
        COUNTERS => array(size_of::<u64>()),
        CONTROL => array(size_of::<Control>()),
        VIPS4 => (MapType::PerCpuHash, size_of::<VipKey4>(), size_of::<VipCounters>()),
        VIPS6 => (MapType::PerCpuHash, size_of::<VipKey6>(), size_of::<VipCounters>()),
        REASONS => per_cpu(size_of::<u64>()),
        SAMPLES => per_cpu(size_of::<Sample>()),
        SAMPLE_COUNTS => per_cpu(size_of::<SampleCounts>()),
        PEERS => (MapType::LruHash, size_of::<PeerKey>(), size_of::<PeerCounters>()),
        HELD4 => (MapType::Hash, size_of::<VipKey4>(), size_of::<Held>()),
        HELD6 => (MapType::Hash, size_of::<VipKey6>(), size_of::<Held>()),
        ALLOWED => (MapType::Hash, size_of::<PeerKey>(), size_of::<TtlRange>()),
        HMAC_KEYS => (MapType::Hash, size_of::<HmacKeyId>(), size_of::<HmacKey>()),
        HMAC_MARKS => (MapType::Hash, size_of::<PeerKey>(), size_of::<u64>()),
        HMAC_XDP => (MapType::ProgramArray, size_of::<u32>(), size_of::<u32>()),
        SENDERS => (MapType::Hash, size_of::<u64>(), size_of::<u32>()),
        VIRTUAL_MACS => (MapType::Hash, size_of::<VirtualMacKey>(), size_of::<u32>()),
        VIRTUAL_MAC_SET => array(size_of::<u64>()),
        // EVENTS has neither.
        _ => (MapType::RingBuf, 0, 0),
    }
}

fn found(info: &MapInfo) -> Option<(MapType, usize, usize)> {
    let [key, value] = [info.key_size(), info.value_size()].map(usize::try_from);
    Some((info.map_type().ok()?, key.ok()?, value.ok()?))
}

/// Another user than this daemon's, to whom a directory of pins belongs, or something in it: nothing that stands there is to be
/// believed.
pub fn other_owner(dir: &Path) -> Option<u32> {
    let us = geteuid().as_raw();
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let paths = entries.chain([dir.to_owned()]);
    let mut owners = paths.filter_map(|path| fs::symlink_metadata(path).ok()).map(|it| it.uid());
    owners.find(|owner| *owner != us)
}

/// What there is pinned in a directory, by a daemon that says that of itself; `None` where there is nothing of one. `sizes` is
/// for what has no map.
pub fn pin_facts(dir: &Path, control: Control, mut sizes: Sizes) -> Option<PinFacts> {
    let names: BTreeSet<String> = fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let is_ours = |name: &String| {
        let is_map = PINNED.contains(&name.as_str()) || KEPT.contains(&name.as_str());
        is_map || name.starts_with(LINK) || name.starts_with(PROGRAM)
    };
    if !names.iter().any(is_ours) {
        return None;
    }
    let other_owner = other_owner(dir);
    let mut unusable = None;
    for name in PINNED.into_iter().chain(KEPT) {
        let info = MapInfo::from_pin(dir.join(name)).ok();
        let entries = info.as_ref().map_or(0, MapInfo::max_entries);
        match name {
            ROUTERS => sizes.routers = entries,
            VIPS4 => sizes.vips = entries,
            VIPS6 => sizes.vips6 = entries,
            ALLOWED => sizes.allowed = entries / 2,
            _ => {}
        }
        let is_long_enough = match name {
            SLOTS | LEASES | INFO => entries == sizes.routers,
            HELD4 => entries == sizes.vips,
            HELD6 => entries == sizes.vips6,
            COUNTERS => entries == DAEMON_COUNTERS,
            VIRTUAL_MAC_SET => usize::try_from(entries) == Ok(SET_WORDS),
            _ => entries > 0,
        };
        if info.as_ref().and_then(found) != Some(layout(name)) || !is_long_enough {
            unusable = unusable.or(Some(name));
        }
    }
    Some(PinFacts { other_owner, unusable, control, namespace: netns::number(), sizes })
}

impl Datapath {
    /// The routers of a daemon that was killed, of which that is known. `interfaces` are the indexes of those that there are, by
    /// their names; where one is still the one that it was, it keeps its number in the maps.
    pub fn predecessor(
        &mut self,
        control: &Control,
        interfaces: &BTreeMap<NamespaceId, HashMap<String, u32>>,
    ) -> Predecessor {
        let (read_at, boot) = (timer::now(), timer::boot_now());
        let mut routers = Vec::new();
        for index in 0..self.info.len() {
            let Some(info) = self.info.get(index).filter(|info| !info.name().is_empty()) else {
                continue;
            };
            let lease = self.leases.as_ref().map(|leases| leases.get(index)).unwrap_or_default();
            let netns = info.netns().parse().ok();
            let namespace = NamespaceId::of(netns.as_ref());
            let there = interfaces.get(&namespace).and_then(|there| there.get(info.interface()));
            let same_interface = there.is_some_and(|ifindex| {
                let iface = InterfaceId { namespace, ifindex: *ifindex };
                self.places.take_again(NumberedInterface { iface, number: info.ifindex })
            });
            routers.push(PinnedRouter { number: RouterId(index), info, lease, same_interface });
        }
        let started = Nanos(control.started_ns);
        Predecessor { pid: control.pid, started, routers, read_at, boot }
    }

    /// Forgets what a daemon that was killed held, but for these addresses, which are fenced by their leases until the core has
    /// them, and all its routers but for these. Errors: [`Error::Map`].
    pub fn retain(
        &mut self,
        addresses: &HashSet<IpAddr>,
        retained: Option<&BTreeSet<RouterId>>,
    ) -> Result<(), Error> {
        self.vips.release_others(|at| addresses.contains(&at.address))?;
        let Some(retained) = retained else { return Ok(()) };
        let is_retained = |slot: u32| retained.contains(&RouterId(slot));
        self.routers.retain(ROUTERS, |_, entry| is_retained(entry.slot))?;
        for index in (0..self.slots.len()).filter(|index| !is_retained(*index)) {
            self.clear(index)?;
            if let Some(leases) = &self.leases {
                leases.clear(index);
            }
        }
        self.forget_peers(|slot| !is_retained(slot))
    }

    /// Forgets of a daemon that was killed by what routers were known that are known otherwise now, and what was counted of
    /// addresses that are in no configuration any more. Errors: [`Error::Map`].
    pub fn retain_keys(
        &mut self,
        routers: &HashSet<RouterKey>,
        vips: &BTreeSet<InterfaceAddr>,
        allowed: &HashSet<PeerKey>,
    ) -> Result<(), Error> {
        self.allowed.retain(ALLOWED, |key, _| allowed.contains(key))?;
        self.routers.retain(ROUTERS, |key, _| routers.contains(key))?;
        self.virtual_macs.end_adoption()?;
        self.vips.retain(|at| vips.contains(at))
    }
}
