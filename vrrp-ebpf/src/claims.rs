//! Split brain as ARP and neighbour discovery show it: another host says that it has an address which we hold as master.

use core::ptr;

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_ringbuf_output};
use vrrp_common::event::{EVENT_HEADER_LEN, RxEvent};
use vrrp_common::maps::{CLAIM_WINDOW_NS, Held};
use vrrp_common::parse::{self, Address, Load, V4, V6};
use vrrp_common::reason::Reason;

use crate::cursor::{Context, Frame};
use crate::maps::{EVENTS, Family, SCRATCH};

/// Octets of an Ethernet address.
const MAC_LEN: usize = 6;

/// [`Reason::ArpConflict`] for ARP that another host sends from an address that we hold; `None` for any other frame.
#[inline(always)]
pub fn by_arp<C: Context>(ctx: C, headers: &impl Load) -> Option<Reason> {
    let sender = parse::arp_sender(headers)?;
    // A tagged frame belongs to the VLAN device above.
    if ctx.vlan_beside() != 0 {
        return None;
    }
    let held = foreign(ctx.ifindex(), sender.address, sender.mac)?;
    claimed_in_arp(held, ctx.ifindex(), sender.address, u64::from_ne_bytes(sender.mac));
    Some(Reason::ArpConflict)
}

/// The same on a stack of its own.
#[inline(never)]
pub fn by_arp_aside<C: Context>(ctx: C) -> Option<Reason> {
    by_arp(ctx, &Frame::new(ctx))
}

/// On a stack of its own, as all that few frames need: together they would not fit in its 512 octets. What comes before is
/// for all ARP there is, and a call costs as much as it.
#[inline(never)]
fn claimed_in_arp(held: &mut Held, ifindex: u32, address: V4, mac: u64) {
    claimed(held, ifindex, address, mac.to_ne_bytes(), Reason::ArpConflict);
}

/// [`Reason::NdiscConflict`] for neighbour discovery by which another host claims an address that we hold; `None` for
/// any other packet. The IPv6 header is at `offset`, behind no tag with a VLAN ID.
#[inline(never)]
pub fn by_ndisc<C: Context>(ctx: C, offset: usize) -> Option<Reason> {
    let frame = Frame::new(ctx);
    let packet = V6::tagged(&frame, offset, [0; 2])?;
    let claim = parse::ndisc_claim(&frame, &packet)?;
    let held = foreign(ctx.ifindex(), claim.address, claim.mac)?;
    // Last, as only then it is rare. What the stack drops is no claim.
    let record = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's only record; the program runs to its end on one CPU and does not nest.
    let mut frame = Frame::with_record(ctx, unsafe { &mut *record });
    if !parse::ndisc_is_intact(&mut frame, &packet) {
        return None;
    }
    Some(claimed(held, ctx.ifindex(), claim.address, claim.mac, Reason::NdiscConflict))
}

/// What is known of an address that we hold, if the claim to it is not our own: what we announce ourselves, which a
/// bridge may send back, has our own Ethernet address in it.
#[inline(always)]
fn foreign<A: Family>(ifindex: u32, address: A, mac: [u8; 8]) -> Option<&'static mut Held> {
    let held = address.held(ifindex)?;
    // SAFETY: a map value, aligned as its type says; the daemon replaces or removes it as a whole, and the memory
    // of a removed one stays a value of this map.
    let held = unsafe { &mut *held };
    (u64::from_ne_bytes(held.mac) != u64::from_ne_bytes(mac)).then_some(held)
}

/// The reason, which is reported to the daemon now and then.
#[inline(always)]
fn claimed<A: Family>(
    held: &mut Held,
    ifindex: u32,
    address: A,
    mac: [u8; 8],
    reason: Reason,
) -> Reason {
    // SAFETY: the helper takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    // Two CPUs may both report at once; nobody minds.
    if now - held.reported_ns >= CLAIM_WINDOW_NS
        && report(ifindex, held.slot, address, mac, reason, now)
    {
        held.reported_ns = now;
    }
    reason
}

/// Whether the report found room.
#[inline(always)]
fn report<A: Family>(
    ifindex: u32,
    slot: u32,
    address: A,
    mac: [u8; 8],
    reason: Reason,
    now: u64,
) -> bool {
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's only record; XDP runs to its end on one CPU and does not nest.
    let record = unsafe { &mut *record };
    record.event = RxEvent {
        ktime_ns: now,
        ifindex,
        reason: reason.index(),
        slot,
        vlan: [0; 2],
        source: address.to_field(),
        destination: address.to_field(),
        family: A::FAMILY,
        ttl: 0,
        wire_len: MAC_LEN as u16,
        payload_len: MAC_LEN as u16,
        reserved: 0,
        digest: 0,
    };
    record.payload[..MAC_LEN].copy_from_slice(&mac[..MAC_LEN]);
    // SAFETY: the record holds the header and far more than MAC_LEN octets behind it.
    let result = unsafe {
        bpf_ringbuf_output(
            ptr::from_ref(&EVENTS).cast_mut().cast(),
            ptr::from_mut(record).cast(),
            (EVENT_HEADER_LEN + MAC_LEN) as u64,
            0,
        )
    };
    result == 0
}
