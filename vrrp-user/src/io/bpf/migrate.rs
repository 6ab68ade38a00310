//! From the maps of a program to those of another one that takes its place and has other ones: another layout, or more room.
//! What adoption needs goes first. What is counted goes when the programs on the interfaces are the new ones, as the old ones
//! count where they did until then.

use std::fs;
use std::io;
use std::path::Path;

use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use vrrp_common::counters::Counter;
use vrrp_common::maps::{
    Control, LEASE_CLAIMED, LEASE_OUTRANKED, Lease, PeerCounters, PeerKey, REASONS, RouterInfo,
    SLOT_ADVERTS, SLOT_LAST_SEEN, SLOT_PRIORITY_ZERO, SLOT_REFUSED, Slot, VipCounters,
};
use vrrp_common::reason::Reason;

use super::Datapath;
use super::error::Error;
use super::maps::cpus;
use super::pins::{KEPT, PINNED};
use crate::core::InterfaceAddr;

/// What stands in the old maps.
pub struct Before {
    /// Routers by their index.
    pub routers: Vec<(u32, RouterInfo, Slot, Lease)>,
    /// Traffic of addresses.
    pub vips: Vec<(InterfaceAddr, VipCounters)>,
    /// Who was heard.
    pub peers: Vec<(PeerKey, PeerCounters)>,
    /// The daemon's counters, by name.
    pub counters: Vec<(&'static str, u64)>,
    /// Packets by verdict.
    pub reasons: Vec<(Reason, u64)>,
}

/// Makes room for other maps; those who have the old ones open read them. Links stay.
/// Errors: [`Error::Pins`].
pub fn unpin_maps(dir: &Path) -> Result<(), Error> {
    for path in PINNED.into_iter().chain(KEPT).map(|name| dir.join(name)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Pins { path, source: error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

impl Datapath {
    /// What was said of routers, their leases, and when their masters were last heard.
    /// Errors: those of the maps.
    pub fn migrate(&mut self, before: &Before) -> Result<(), Error> {
        for (index, info, slot, lease) in &before.routers {
            let index = *index;
            self.write_info(index, info)?;
            let Slot { last_seen_ns, master_seen, .. } = *slot;
            let _ = self.slots.set(index, &Slot { last_seen_ns, master_seen, ..Slot::default() });
            if let Some(leases) = &self.leases {
                leases.restore(index, lease);
            }
        }
        Ok(())
    }

    /// What was counted, and what the old programs have noted since.
    /// Errors: those of the maps.
    pub fn migrate_counters(&mut self, before: &Before) -> Result<(), Error> {
        for (index, info, old, lease) in &before.routers {
            let index = *index;
            // Another router may have the place, or none.
            let ours = self.info.get(index).unwrap_or_default();
            if (ours.name, ours.vrid, ours.family) != (info.name, info.vrid, info.family) {
                continue;
            }
            let mut slot = self.slot(index);
            slot.last_seen_ns = slot.last_seen_ns.max(old.last_seen_ns);
            slot.adverts += old.adverts;
            slot.refused += old.refused;
            slot.priority_zero += old.priority_zero;
            let words = [
                (SLOT_LAST_SEEN, slot.last_seen_ns),
                (SLOT_ADVERTS, slot.adverts),
                (SLOT_REFUSED, slot.refused),
                (SLOT_PRIORITY_ZERO, slot.priority_zero),
            ];
            for (at, word) in words {
                let _ = self.slots.store(index, at, word);
            }
            let Some(leases) = &self.leases else { continue };
            let now = leases.get(index);
            leases.note(index, LEASE_CLAIMED, now.claimed.max(lease.claimed));
            leases.note(index, LEASE_OUTRANKED, now.outranked.max(lease.outranked));
        }
        for (at, counted) in &before.vips {
            self.vips.add_counters(at, counted)?;
        }
        for (key, counted) in &before.peers {
            self.peers.add(*key, *counted)?;
        }
        for (counter, name) in Counter::ALL {
            let counted = before.counters.iter().find(|(known, _)| known == name);
            let ours = self.counter(*counter as u32);
            let sum = counted.map_or(ours, |(_, counted)| ours + counted);
            let _ = self.counters.store(*counter as u32, 0, sum);
        }
        let Some(pins) = &self.pins else { return Ok(()) };
        let reasons = aya::maps::Map::PerCpuArray(pins.open(REASONS)?);
        let reasons = PerCpuArray::<MapData, u64>::try_from(reasons);
        let mut reasons = reasons.map_err(Error::map(REASONS))?;
        for (reason, counted) in &before.reasons {
            let values = reasons.get(&reason.index(), 0).map_err(Error::map(REASONS))?;
            let mut values: Vec<u64> = values.iter().copied().collect();
            values.resize(cpus()?, 0);
            values[0] += counted;
            let values = PerCpuValues::try_from(values);
            let values = values.map_err(|error| Error::map(REASONS)(error.into()))?;
            reasons.set(reason.index(), values, 0).map_err(Error::map(REASONS))?;
        }
        Ok(())
    }

    /// That it has adopted anything is no reason for the next one not to.
    pub fn forget_adoption(&mut self) {
        if let Some(control) = self.control.get(0) {
            let control = Control { adopted_ns: 0, ..control };
            let _ = self.control.set(0, &control);
        }
    }
}
