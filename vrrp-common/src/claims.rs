//! Split brain as ARP and neighbour discovery show it: another host says that it has an address which we hold as master.
//!
//! Generic over [`Datapath`], as [`crate::receive`] is.

use crate::event::{Claim, RxEvent};
use crate::lease;
use crate::maps::{
    CLAIM_WINDOW_NS, HELD_MAC, HELD_REPORTED, HELD_SLOT, HELD_VIRTUAL_MAC, Held, SLOT_FILTER, state,
};
use crate::parse::{self, Address, NdiscClaim, Packet, V6};
use crate::reason::Reason;
use crate::receive::Datapath;
use crate::report::ReportFilter;
use crate::shared::SharedWords;
use crate::virtual_mac::padded;

#[allow(clippy::cast_possible_truncation, reason = "8")]
const CLAIM_LEN: u16 = size_of::<Claim>() as u16;

/// In [`HELD_REPORTED`], where a nanosecond more or less is nothing: what was reported may have been our own.
const MAY_BE_OURS: u64 = 1;

/// What is known of an address that we hold, if the claim to it by `mac`, six bytes and two zeros, is not our own: what we
/// announce ourselves, which a bridge may send back, has our own Ethernet address in it.
#[inline(always)]
pub fn contested<A: Address, D: Datapath>(
    path: &D,
    address: A,
    mac: [u8; 8],
) -> Option<D::Value<Held>> {
    let held = path.held(address)?;
    (held.load::<HELD_MAC>() != u64::from_ne_bytes(mac)).then_some(held)
}

/// Whether we may have said it ourselves: with the virtual MAC address, which whoever is master has, and not to this host
/// alone. An answer to a question that the interface has asked by its own address is for this host alone.
#[inline(always)]
fn may_be_ours<D: Datapath>(path: &D, held: &D::Value<Held>, mac: u64) -> bool {
    // No claim has the address of zeros that stands for none.
    if mac == 0 || mac != held.load::<HELD_VIRTUAL_MAC>() {
        return false;
    }
    let to: Option<[u8; 6]> = path.load(0);
    to.is_none_or(|to| u64::from_ne_bytes(padded(to)) != held.load::<HELD_MAC>())
}

/// Notes a claim to a [`contested`] address, and reports it to the daemon unless there was one lately. Whether it is another
/// host's, and its router is master here: otherwise the address is on its way out, and the claim is the new master's. One that
/// may be our own counts for the lease only when we say nothing any more, and makes the daemon ask.
#[inline(always)]
pub fn claim<A: Address, D: Datapath>(
    path: &mut D,
    held: &D::Value<Held>,
    address: A,
    mac: [u8; 8],
    reason: Reason,
) -> bool {
    let may_be_ours = may_be_ours(path, held, u64::from_ne_bytes(mac));
    let slot = Held::slot(held.load::<HELD_SLOT>());
    if let Some(lease) = path.lease(slot) {
        if may_be_ours {
            lease::claim_alike(&lease, path.boot_now());
        } else {
            lease::claim(&lease, path.boot_now());
        }
    }
    let filter = path.slot(slot).map_or(0, |slot| slot.load::<SLOT_FILTER>());
    if ReportFilter::unpack(filter).state != state::MASTER {
        return false;
    }
    let now = path.now();
    let reported = held.load::<HELD_REPORTED>();
    // Two CPUs may both report at once; nobody minds. What may be our own keeps nothing back that is not.
    let is_news = reported & MAY_BE_OURS != 0 && !may_be_ours;
    if !is_news && now.saturating_sub(reported) < CLAIM_WINDOW_NS {
        return !may_be_ours;
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
        wire_len: CLAIM_LEN,
        payload_len: CLAIM_LEN,
        reserved: 0,
        digest: 0,
    };
    let [a, b, c, d, e, f, ..] = mac;
    let claim = Claim { mac: [a, b, c, d, e, f], may_be_ours: may_be_ours.into(), reserved: 0 };
    if path.report_with(&event, bytemuck::cast(claim)) {
        held.store::<HELD_REPORTED>(now & !MAY_BE_OURS | u64::from(may_be_ours));
    }
    !may_be_ours
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
