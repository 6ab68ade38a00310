//! tc egress: counts what leaves with a virtual address as its source, and stops it where its router is fenced; and redirects
//! where they would come from another address than that of the gateway.

use vrrp_common::parse::{
    self, ICMP_REDIRECT, ICMPV6_REDIRECT, IPPROTO_ICMP, IPPROTO_ICMPV6, Packet, V4, V6,
};

use crate::cursor::{self, Context, Headers, SkBuff, reason};
use crate::maps::Family;
use crate::{fence, virtual_mac};

/// The reason, as index, why a frame must not leave; `None` for nearly all.
#[inline(always)]
pub fn classify<H: Headers<Frame = SkBuff>>(ctx: SkBuff) -> Option<u32> {
    let frame = H::of(ctx)?;
    if let Some(packet) = parse::ipv4(&frame) {
        if packet.protocol == IPPROTO_ICMP && ctx.vlans(packet.vlan) == [0, 0] {
            let redirect = virtual_mac::leaving_redirect::<V4>(ctx, packet.offset, ICMP_REDIRECT);
            if let Some(reason) = reason(redirect, ctx) {
                return Some(reason);
            }
        }
        return leaves(ctx, &packet);
    }
    if let Some(packet) = parse::ipv6(&frame) {
        let reason = leaves(ctx, &packet);
        if reason.is_none() && packet.protocol == IPPROTO_ICMPV6 && ctx.vlans(packet.vlan) == [0, 0]
        {
            let redirect = virtual_mac::leaving_redirect::<V6>(ctx, packet.offset, ICMPV6_REDIRECT);
            return cursor::reason(redirect, ctx)
                .or_else(|| cursor::reason(fence::leaving_ndisc(ctx, packet.offset), ctx));
        }
        return reason;
    }
    parse::arp_sender(&frame)?;
    reason(fence::leaving_arp(ctx), ctx)
}

#[inline(always)]
fn leaves<A: Family>(ctx: SkBuff, packet: &Packet<A>) -> Option<u32> {
    // What is or gets tagged has passed the VLAN device above, whose own program has counted it.
    if ctx.vlans(packet.vlan) != [0, 0] {
        return None;
    }
    // Advertisements are nobody's traffic.
    if packet.is_vrrp() {
        return reason(fence::leaving_advert::<A>(ctx, packet.offset), ctx);
    }
    let counters = packet.source.counters(ctx.ifindex())?;
    // SAFETY: this CPU's value, returned by the map look-up. Packets are sent with softirqs disabled, so
    // that no other one comes between on this CPU.
    let (slot, with_virtual) = unsafe {
        (*counters).tx_packets += u64::from(ctx.packets());
        (*counters).tx_bytes += u64::from(ctx.frame_len());
        ((*counters).slot, (*counters).virtual_mac)
    };
    if fence::is_suspect(slot)
        && let Some(reason) = reason(fence::leaving::<A>(ctx, packet.offset, slot), ctx)
    {
        return Some(reason);
    }
    if with_virtual != 0 {
        virtual_mac::leaving::<A>(ctx, packet.offset);
    }
    None
}
