//! Split brain as ARP and neighbour discovery show it: another host says that it has an address which we hold as master.
//!
//! Generic over [`Datapath`], as [`crate::receive`] is.

use crate::event::RxEvent;
use crate::lease;
use crate::maps::{
    CLAIM_WINDOW_NS, HELD_MAC, HELD_REPORTED, HELD_SLOT, HELD_VIRTUAL_MAC, Held, SLOT_FILTER, state,
};
use crate::parse::{self, Address, NdiscClaim, Packet, V6};
use crate::reason::Reason;
use crate::receive::Datapath;
use crate::report::ReportFilter;
use crate::shared::SharedWords;

/// Bytes of an Ethernet address.
const MAC_LEN: u16 = 6;

/// What is known of an address that we hold, if the claim to it by `mac`, six bytes and two zeros, is not our own: what we
/// announce ourselves, which a bridge may send back, has our own Ethernet address in it. With a virtual MAC address it is
/// that of whoever is master: such a claim is reported to nobody, as advertisements tell of a second master, but counts for
/// the lease.
#[inline(always)]
pub fn contested<A: Address, D: Datapath>(
    path: &D,
    address: A,
    mac: [u8; 8],
) -> Option<D::Value<Held>> {
    let held = path.held(address)?;
    let mac = u64::from_ne_bytes(mac);
    if held.load::<HELD_MAC>() == mac {
        return None;
    }
    // No claim has the address of zeros that stands for none.
    if mac != 0 && mac == held.load::<HELD_VIRTUAL_MAC>() {
        if let Some(lease) = path.lease(Held::slot(held.load::<HELD_SLOT>())) {
            lease::claim_alike(&lease, path.boot_now());
        }
        return None;
    }
    Some(held)
}

/// Notes a claim to a [`contested`] address, and reports it to the daemon unless there was one lately. Whether its router is
/// master: otherwise the address is on its way out, and the claim is the new master's.
#[inline(always)]
pub fn claim<A: Address, D: Datapath>(
    path: &mut D,
    held: &D::Value<Held>,
    address: A,
    mac: [u8; 8],
    reason: Reason,
) -> bool {
    let slot = Held::slot(held.load::<HELD_SLOT>());
    if let Some(lease) = path.lease(slot) {
        lease::claim(&lease, path.boot_now());
    }
    let filter = path.slot(slot).map_or(0, |slot| slot.load::<SLOT_FILTER>());
    if ReportFilter::unpack(filter).state != state::MASTER {
        return false;
    }
    let now = path.now();
    // Two CPUs may both report at once; nobody minds.
    if now.saturating_sub(held.load::<HELD_REPORTED>()) < CLAIM_WINDOW_NS {
        return true;
    }
    let event = RxEvent {
        ktime_ns: now,
        ifindex: path.ifindex(),
        reason: reason.index(),
        slot,
        vlan: [0; 2],
        source: address.to_field(),
        destination: address.to_field(),
        family: A::FAMILY,
        ttl: 0,
        wire_len: MAC_LEN,
        payload_len: MAC_LEN,
        reserved: 0,
        digest: 0,
    };
    if path.report_with(&event, mac) {
        held.store::<HELD_REPORTED>(now);
    }
    true
}

/// [`Reason::NdiscConflict`] for neighbour discovery by which another host claims an address that we hold; `None` for
/// any other packet.
#[inline(always)]
pub fn by_ndisc(path: &mut impl Datapath, packet: &Packet<V6>) -> Option<Reason> {
    let NdiscClaim { mac, address } = parse::ndisc_claim(path, packet)?;
    let held = contested(path, address, mac)?;
    // Last, as only then it is rare. What the stack drops is no claim.
    if !parse::ndisc_is_intact(path, packet) {
        return None;
    }
    claim(path, &held, address, mac, Reason::NdiscConflict).then_some(Reason::NdiscConflict)
}
