//! What the daemon and the kernel side tell each other of routers, by their index: what is accepted, what was heard, and the
//! counters.

use std::net::IpAddr;
use std::sync::atomic::{Ordering, fence};

use vrrp_common::counters;
use vrrp_common::maps::{
    ALLOWED, COUNTERS, DAEMON_COUNTERS, INFO, INFO_ADVERTS_SENT, PeerKey, ROUTERS, RouterEntry,
    RouterInfo, RouterKey, SLOT_ACK, SLOT_ADVERTS, SLOT_FILTER, SLOT_LAST_SEEN, SLOT_MASTER_SEEN,
    SLOT_REFUSED, SLOTS, Slot, TtlRange, VirtualMacKey,
};
use vrrp_common::reason::Reason;
use vrrp_common::report::{MasterSeen, ReportFilter};

use super::Datapath;
use super::error::Error;
use super::load::allowed_entries;
use crate::wire::family::to_field;

impl Datapath {
    /// Makes an index ready for another router: nothing of an earlier one is left but its lease, which may fence
    /// addresses that are still there.
    /// Errors: [`Error::Full`] past the end.
    pub fn clear(&mut self, index: u32) -> Result<(), Error> {
        stored(self.slots.set(index, &Slot::default()), SLOTS, self.slots.len())?;
        self.write_info(index, &RouterInfo::default())
    }

    /// Forgets who was heard for routers that are gone. Walks the whole map.
    /// Errors: [`Error::Map`].
    pub fn forget_peers(&mut self, removed: impl Fn(u32) -> bool) -> Result<(), Error> {
        self.forget_hmac_marks(&removed)?;
        self.peers.forget(removed)
    }

    /// Adds a router, or replaces what it accepts.
    /// Errors: [`Error::Full`] when the maps were made for fewer routers.
    pub fn set_router(&mut self, key: &RouterKey, entry: &RouterEntry) -> Result<(), Error> {
        let entries = self.sizes.routers;
        if entry.slot >= self.slots.len() {
            return Err(Error::Full { name: ROUTERS, entries });
        }
        self.routers.insert(ROUTERS, *key, *entry, entries)
    }

    /// Removes a router; nothing happens where there is none.
    /// Errors: [`Error::Map`].
    pub fn remove_router(&mut self, key: &RouterKey) -> Result<(), Error> {
        self.routers.remove(ROUTERS, key)
    }

    /// Says that the router at `index` has a virtual MAC address on an interface.
    /// Errors: [`Error::Full`] when the map was made for fewer.
    pub fn set_virtual_mac(&mut self, ifindex: u32, mac: [u8; 6], index: u32) -> Result<(), Error> {
        let key = VirtualMacKey::new(ifindex, mac);
        self.virtual_macs.insert(key, index)
    }

    /// Ends what [`Self::set_virtual_mac`] began; nothing happens where it did not, or another router has it.
    /// Errors: [`Error::Map`].
    pub fn remove_virtual_mac(
        &mut self,
        ifindex: u32,
        mac: [u8; 6],
        index: u32,
    ) -> Result<(), Error> {
        let key = VirtualMacKey::new(ifindex, mac);
        self.virtual_macs.remove(&key, index)
    }

    /// Lets the router at `index` hear a unicast peer, if it listens to its peers only ([`transport::PEERS`]).
    ///
    /// [`transport::PEERS`]: vrrp_common::maps::transport::PEERS
    /// Errors: [`Error::Full`] when the map was made for fewer peers.
    pub fn allow(&mut self, index: u32, peer: IpAddr, range: TtlRange) -> Result<(), Error> {
        let key = PeerKey { slot: index, source: to_field(peer) };
        self.allowed.insert(ALLOWED, key, range, allowed_entries(self.sizes))
    }

    /// Ends what [`Self::allow`] began; nothing happens where it did not.
    /// Errors: [`Error::Map`].
    pub fn disallow(&mut self, index: u32, peer: IpAddr) -> Result<(), Error> {
        let key = PeerKey { slot: index, source: to_field(peer) };
        self.allowed.remove(ALLOWED, &key)
    }

    /// The router that a key stands for, and what it accepts.
    pub fn router(&self, key: &RouterKey) -> Option<RouterEntry> {
        self.routers.get(key)
    }

    /// The TTLs that a unicast peer of a router may use, if it is one.
    pub fn allowed(&self, key: &PeerKey) -> Option<TtlRange> {
        self.allowed.get(key)
    }

    /// Counts what the daemon itself found out about a packet, as the kernel side does in `REASONS`.
    pub fn count_reason(&mut self, reason: Reason) {
        let index = counters::of_reason(reason);
        let before = self.counters.load(index, 0).unwrap_or_default();
        // Past the end of a map of that size there is none.
        let _ = self.counters.store(index, 0, before.wrapping_add(1));
    }

    /// Says how many packets were given a verdict on the daemon's behalf.
    pub fn set_reason(&mut self, reason: Reason, packets: u64) {
        // Past the end of a map of that size there is none.
        let _ = self.counters.store(counters::of_reason(reason), 0, packets);
    }

    /// Notes an advertisement that the daemon itself found right, or refused, in the slot of its router.
    pub fn note_in_slot(&mut self, index: u32, at: u64, accepted: bool) {
        let field = if accepted { SLOT_ADVERTS } else { SLOT_REFUSED };
        let before = self.slots.load(index, field).unwrap_or_default();
        let _ = self.slots.store(index, field, before.wrapping_add(1));
        if accepted {
            let _ = self.slots.store(index, SLOT_LAST_SEEN, at);
        }
    }

    /// Notes who sent an advertisement that the daemon itself found right.
    /// Errors: [`Error::Map`].
    pub fn note_peer(&mut self, key: PeerKey, at: u64, priority: u8) -> Result<(), Error> {
        self.peers.note(key, at, priority)
    }

    /// What the kernel side knows about the router at `index`; zeros past the end.
    pub fn slot(&self, index: u32) -> Slot {
        self.slots.get(index).unwrap_or_default()
    }

    /// The last advertisement of the master of the router at `index`; `None` for never.
    pub fn master_seen(&self, index: u32) -> Option<MasterSeen> {
        self.slots.load(index, SLOT_MASTER_SEEN).and_then(MasterSeen::unpack)
    }

    /// Tells the kernel side which advertisement for the router at `index` need not be reported again, by its
    /// [`RxEvent::digest`]; 0 for none.
    ///
    /// [`RxEvent::digest`]: vrrp_common::event::RxEvent::digest
    /// Errors: [`Error::Full`] past the end.
    pub fn set_ack(&mut self, index: u32, digest: u64) -> Result<(), Error> {
        self.store_in_slot(index, SLOT_ACK, digest)
    }

    /// Tells the kernel side which advertisements can change anything for the router at `index`. What arrives after the
    /// return is judged by this filter.
    /// Errors: [`Error::Full`] past the end.
    pub fn set_filter(&mut self, index: u32, filter: ReportFilter) -> Result<(), Error> {
        self.store_in_slot(index, SLOT_FILTER, filter.pack())?;
        // Without it, the store may still be under way when the caller looks at the clock.
        fence(Ordering::SeqCst);
        Ok(())
    }

    fn store_in_slot(&mut self, index: u32, offset: usize, word: u64) -> Result<(), Error> {
        stored(self.slots.store(index, offset, word), SLOTS, self.slots.len())
    }

    /// Publishes what the daemon knows about the router at `index`.
    /// Errors: [`Error::Full`] past the end.
    pub fn write_info(&mut self, index: u32, info: &RouterInfo) -> Result<(), Error> {
        stored(self.info.set(index, info), INFO, self.info.len())
    }

    /// Changes what the daemon publishes about the router at `index`. There is no other copy of it.
    /// Errors: [`Error::Full`] past the end.
    pub fn update_info(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut RouterInfo),
    ) -> Result<(), Error> {
        let mut info = self.info.get(index).unwrap_or_default();
        change(&mut info);
        self.write_info(index, &info)
    }

    /// Advertisements of a router that were sent; `None` past the end.
    pub fn adverts_sent(&self, index: u32) -> Option<u64> {
        self.info.load(index, INFO_ADVERTS_SENT)
    }

    /// Counts an advertisement that the router at `index` sends: of all that is published what changes
    /// most often.
    /// Errors: [`Error::Full`] past the end.
    pub fn count_advert(&mut self, index: u32) -> Result<(), Error> {
        let sent = self.adverts_sent(index).unwrap_or_default();
        let stored_it = self.info.store(index, INFO_ADVERTS_SENT, sent.wrapping_add(1));
        stored(stored_it, INFO, self.info.len())
    }

    /// Counts something that the daemon refused or failed at; there is no other copy of the counter.
    /// Errors: [`Error::Full`] past the end.
    pub fn count(&mut self, index: u32) -> Result<(), Error> {
        let before = self.counter(index);
        stored(self.counters.store(index, 0, before.wrapping_add(1)), COUNTERS, DAEMON_COUNTERS)
    }

    /// What [`Self::count`] has counted; 0 past the end.
    pub fn counter(&self, index: u32) -> u64 {
        self.counters.load(index, 0).unwrap_or_default()
    }
}

/// Whether a word or a value went into a map of so many entries.
pub(super) fn stored(done: bool, name: &'static str, entries: u32) -> Result<(), Error> {
    if done { Ok(()) } else { Err(Error::Full { name, entries }) }
}
