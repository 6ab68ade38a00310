//! tcx egress: counts what leaves with a virtual address as its source. Changes nothing, drops nothing.

use aya_ebpf::programs::TcContext;
use vrrp_common::parse::{self, Load, Packet, VLAN_ID};

use crate::cursor::Frame;
use crate::maps::Family;

/// Counts a packet from a virtual address.
#[inline(always)]
pub fn count_vip(ctx: &TcContext) {
    let frame = Frame::new(ctx);
    if let Some(packet) = parse::ipv4(&frame) {
        count(&frame, &packet);
    } else if let Some(packet) = parse::ipv6(&frame) {
        count(&frame, &packet);
    }
}

#[inline(always)]
fn count<A: Family>(frame: &Frame<'_, TcContext>, packet: &Packet<A>) {
    // What is or gets tagged has passed the VLAN device above, whose own program has counted it.
    if packet.vlan != [0, 0] || frame.vlan_tci() as u16 & VLAN_ID != 0 {
        return;
    }
    // Advertisements are nobody's traffic, and of those that a host sends this is all that it costs them.
    if packet.is_vrrp() {
        return;
    }
    if let Some(counters) = packet.source.counters(frame.ifindex()) {
        // SAFETY: this CPU's value, returned by the map look-up. Packets are sent with softirqs disabled, so
        // that no other one comes between on this CPU.
        unsafe {
            (*counters).tx_packets += u64::from(frame.gso_segs().max(1));
            (*counters).tx_bytes += frame.frame_len() as u64;
        }
    }
}
