//! Split brain as ARP shows it: another host says that it has an address which we hold as master.

use core::ptr;

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_ringbuf_output};
use aya_ebpf::programs::XdpContext;
use vrrp_common::FAMILY_V4;
use vrrp_common::event::{EVENT_HEADER_LEN, RxEvent};
use vrrp_common::maps::{CLAIM_WINDOW_NS, VipKey4};
use vrrp_common::parse;
use vrrp_common::reason::Reason;

use crate::cursor::Frame;
use crate::maps::{EVENTS, HELD4, SCRATCH};
use crate::xdp_ingress::address;

/// Octets of an Ethernet address.
const MAC_LEN: usize = 6;

/// [`Reason::ArpConflict`] for ARP that another host sends from an address that we hold, reported to the daemon
/// now and then; `None` for any other frame. Our own gratuitous ARP, which a bridge may send back, has our own
/// Ethernet address in it.
#[inline(always)]
pub fn watch(frame: &Frame<'_, XdpContext>, ifindex: u32) -> Option<Reason> {
    let sender = parse::arp_sender(frame)?;
    let held = HELD4.get_ptr_mut(VipKey4 { ifindex, address: sender.address })?;
    // SAFETY: a map value, aligned as its type says; the daemon replaces or removes it as a whole, and the memory
    // of a removed one stays a value of this map.
    let held = unsafe { &mut *held };
    if u64::from_ne_bytes(held.mac) == u64::from_ne_bytes(sender.mac) {
        return None;
    }
    // SAFETY: the helper takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    // Two CPUs may both report at once; nobody minds.
    if now - held.reported_ns >= CLAIM_WINDOW_NS && report(ifindex, held.slot, &sender, now) {
        held.reported_ns = now;
    }
    Some(Reason::ArpConflict)
}

/// Whether the report found room.
#[inline(always)]
fn report(ifindex: u32, slot: u32, sender: &parse::ArpSender, now: u64) -> bool {
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's only record; XDP runs to its end on one CPU and does not nest.
    let record = unsafe { &mut *record };
    record.event = RxEvent {
        ktime_ns: now,
        ifindex,
        reason: Reason::ArpConflict.index(),
        slot,
        vlan: [0; 2],
        source: address(sender.address),
        destination: address(sender.address),
        family: FAMILY_V4,
        ttl: 0,
        wire_len: MAC_LEN as u16,
        payload_len: MAC_LEN as u16,
        news: 0,
    };
    for n in 0..MAC_LEN {
        record.payload[n] = sender.mac[n];
    }
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
