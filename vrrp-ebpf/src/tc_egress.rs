//! tcx egress: counts what leaves with a virtual address as its source. Changes nothing, drops nothing.

use vrrp_common::parse::{self, Packet};

use crate::cursor::{Context, Headers, SkBuff};
use crate::maps::Family;

/// Counts a packet from a virtual address.
#[inline(always)]
pub fn count_vip<H: Headers<Frame = SkBuff>>(ctx: SkBuff) {
    let Some(frame) = H::of(ctx) else { return };
    if let Some(packet) = parse::ipv4(&frame) {
        count(ctx, &packet);
    } else if let Some(packet) = parse::ipv6(&frame) {
        count(ctx, &packet);
    }
}

#[inline(always)]
fn count<A: Family>(ctx: SkBuff, packet: &Packet<A>) {
    // What is or gets tagged has passed the VLAN device above, whose own program has counted it.
    if ctx.vlans(packet.vlan) != [0, 0] {
        return;
    }
    // Advertisements are nobody's traffic, and of those that a host sends this is all that it costs them.
    if packet.is_vrrp() {
        return;
    }
    if let Some(counters) = packet.source.counters(ctx.ifindex()) {
        // SAFETY: this CPU's value, returned by the map look-up. Packets are sent with softirqs disabled, so
        // that no other one comes between on this CPU.
        unsafe {
            (*counters).tx_packets += u64::from(ctx.packets());
            (*counters).tx_bytes += u64::from(ctx.frame_len());
        }
    }
}
