//! What a received frame is. What becomes of one that concerns VRRP decide `vrrp_common::receive`, `claims` and `lease`.

use vrrp_common::ah::{self, IPPROTO_AH};
use vrrp_common::event::NO_SLOT;
use vrrp_common::parse::{self, IPPROTO_ICMPV6, Packet, V4, V6};
use vrrp_common::reason::{Reason, ReasonSet};
use vrrp_common::receive::{self, Datapath};

use crate::cursor::{self, Context, Frame, Headers, NO_REASON, packet, reason, unknown};
use crate::maps::Family;
use crate::{claims, fence, sample};

/// The reason, as index, for the verdict on a packet of protocol 112, or on ARP or neighbour discovery for an address of ours; `None` for
/// any other frame, which passes.
#[inline(always)]
pub fn classify<H: Headers>(ctx: H::Frame) -> Option<u32> {
    let frame = H::of(ctx)?;
    let ethertype = parse::ethertype(&frame)?;
    let (slot, offset) = if let Some(packet) = parse::network::<V4>(&frame, ethertype) {
        let vlan = ctx.vlans(packet.vlan);
        if packet.is_vrrp() {
            return Some(vrrp::<H, V4>(ctx, packet.offset, vlan, AT_ONCE));
        }
        // The number unknown, as with IPv6 below.
        if unknown(packet.protocol.into(), ctx.ifindex()) == IPPROTO_AH.into() {
            let reason = with_header(ctx, packet.offset, bytemuck::cast(vlan));
            if let Some(reason) = cursor::reason(reason, ctx) {
                return Some(reason);
            }
        }
        (count_vip(ctx, vlan, packet.destination), packet.offset)
    } else if let Some(packet) = parse::network::<V6>(&frame, ethertype) {
        let vlan = ctx.vlans(packet.vlan);
        // No comparison must be one whose outcome the verifier knows by another one or by a constant: before Linux 6.17 that
        // of a daemon without CAP_PERFMON follows the impossible way as well, and all that comes behind once more.
        let protocol = unknown(packet.protocol.into(), ctx.ifindex()) as u8;
        let chain = if packet.is_vrrp() {
            AT_ONCE
        } else if parse::is_extension(protocol) {
            unknown(chain(ctx, packet.offset, packet.protocol), ctx.ifindex())
        } else {
            NO_VRRP
        };
        if chain != NO_VRRP {
            return Some(vrrp::<H, V6>(ctx, packet.offset, vlan, unknown(chain, ctx.ifindex())));
        }
        let slot = count_vip(ctx, vlan, packet.destination);
        if packet.protocol == IPPROTO_ICMPV6
            && vlan == [0, 0]
            && let Some(reason) = claims::by_ndisc(ctx, packet.offset)
        {
            return Some(reason.index());
        }
        (slot, packet.offset)
    } else {
        return claims::by_arp(ctx).map(Reason::index);
    };
    // In one place for both, as the stack has no room for another key.
    if !fence::is_suspect(slot) {
        return None;
    }
    reason(fence::arriving(ctx, offset, slot), ctx)
}

/// A [`parse::Chain`] in one number: bytes, and the reason above them. Of a packet without extension headers:
pub const AT_ONCE: u32 = Reason::Accepted.index() << 16;
/// And of one that has nothing to do with VRRP.
pub const NO_VRRP: u32 = u32::MAX;

/// What the extension headers of an IPv6 packet lead to.
///
/// Not inlined, for the reason of [`receive`].
#[inline(never)]
pub fn chain<C: Context>(ctx: C, offset: usize, next_header: u8) -> u32 {
    match parse::chain(&Frame::new(ctx), offset, next_header) {
        Some(found) => found.reason.index() << 16 | u32::from(found.extensions),
        None => NO_VRRP,
    }
}

#[inline(always)]
fn vrrp<H: Headers, A: Family>(ctx: H::Frame, offset: usize, vlan: [u16; 2], chain: u32) -> u32 {
    evaluate::<_, A>(ctx, offset, vlan, chain, receive::<_, A>, |reason| {
        if reason == Reason::HmacUnchecked.index() {
            H::go_to_checker(ctx);
        }
    })
}

/// The verdict on a packet of protocol 112 whose IP header is at `offset`, behind tags with these two VLAN IDs, and with
/// what `chain` says before the message. `refused` is told of it before anything else comes of a packet that is not accepted.
#[inline(always)]
pub fn evaluate<C: Context, A: Family>(
    ctx: C,
    offset: usize,
    vlan: [u16; 2],
    chain: u32,
    receive: impl FnOnce(C, usize, u32, u16) -> u32,
    refused: impl FnOnce(u32),
) -> u32 {
    let vlan = bytemuck::cast(vlan);
    let (mut reason, extensions) = (chain >> 16, chain as u16);
    if reason == Reason::Accepted.index() {
        reason = unknown(receive(ctx, offset, vlan, extensions), ctx.ifindex());
    }
    if reason != Reason::Accepted.index() {
        refused(reason);
        note::<C, A>(ctx, offset, vlan, extensions, unknown(reason, ctx.ifindex()));
    }
    reason
}

/// Keeps a sample of the packet that [`receive`] did not accept, and tells the daemon of it if that is refused.
///
/// Not inlined, for the reason of [`receive`].
#[inline(never)]
fn note<C: Context, A: Family>(ctx: C, offset: usize, vlan: u32, extensions: u16, reason: u32) {
    let Some(packet) = &packet::<C, A>(ctx, offset, vlan, extensions) else { return };
    let mut frame = Frame::new(ctx);
    let now = frame.now();
    sample::keep(&frame, ctx.ifindex(), packet, A::extent(&frame, packet), reason, now);
    if ReasonSet::LOGGED.contains(reason) && frame.take_record() {
        receive::report_refusal(&mut frame, packet, reason, now);
    }
}

/// The verdict on a packet with an authentication header, if there is an advertisement behind it.
///
/// Not inlined, for the reason of [`receive`].
#[inline(never)]
fn with_header<C: Context>(ctx: C, offset: usize, vlan: u32) -> u32 {
    let Some(packet) = &packet::<C, V4>(ctx, offset, vlan, 0) else { return NO_REASON };
    let mut frame = Frame::new(ctx);
    if !ah::is_vrrp(&frame, packet) || !frame.take_record() {
        return NO_REASON;
    }
    let reason = unknown(ah::receive(&mut frame, packet), ctx.ifindex());
    let now = frame.now();
    sample::keep(&frame, ctx.ifindex(), packet, ah::extent(&frame, packet), reason, now);
    if ReasonSet::LOGGED.contains(reason) {
        receive::report_refusal(&mut frame, packet, reason, now);
    }
    reason
}

/// Counts a packet to a virtual address. The number of the router that this belongs to; of none for any other.
#[inline(always)]
fn count_vip<C: Context, A: Family>(ctx: C, vlan: [u16; 2], destination: A) -> u32 {
    // A tagged frame belongs to the VLAN device above, whose own program counts it.
    if vlan != [0, 0] {
        return NO_SLOT;
    }
    let Some(counters) = destination.counters(ctx.ifindex()) else { return NO_SLOT };
    // SAFETY: this CPU's value, returned by the map look-up; the program runs to its end on one CPU.
    unsafe {
        (*counters).rx_packets += u64::from(ctx.packets());
        (*counters).rx_bytes += u64::from(ctx.frame_len());
        (*counters).slot
    }
}

/// A packet of protocol 112, as [`vrrp`] has it.
///
/// A function that is not inlined, as all that few frames need: it has a part of the 512 bytes of stack to itself, which
/// would not do for all together. So what it is called with are numbers, and it reads the IP header anew.
#[inline(never)]
fn receive<C: Context, A: Family>(ctx: C, offset: usize, vlan: u32, extensions: u16) -> u32 {
    received::<C, A>(ctx, offset, vlan, extensions, receive::receive)
}

/// The same inlined, by one of two ways to evaluate it.
#[inline(always)]
pub fn received<C: Context, A: Family>(
    ctx: C,
    offset: usize,
    vlan: u32,
    extensions: u16,
    evaluate: impl FnOnce(&mut Frame<C>, &Packet<A>) -> u32,
) -> u32 {
    let Some(packet) = &packet::<C, A>(ctx, offset, vlan, extensions) else {
        return Reason::Truncated.index();
    };
    let mut frame = Frame::new(ctx);
    // An array has all its entries, so this look-up cannot fail; the verifier does not know that.
    if !frame.take_record() {
        return Reason::UnknownVrid.index();
    }
    evaluate(&mut frame, packet)
}
