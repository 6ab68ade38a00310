//! What a fenced router's host must not answer (`vrrp_common::lease`), each question on a stack of its own: few frames need
//! any of them.

use aya_ebpf::helpers::bpf_get_socket_cookie;
use vrrp_common::lease::{self, Traffic};
use vrrp_common::maps::{HELD_MAC, HELD_SLOT, HELD_VIRTUAL_MAC, Held, Lease, RouterKey};
use vrrp_common::parse::{self, Address, Extent, Load, Packet, V4, V6};
use vrrp_common::reason::Reason;
use vrrp_common::receive::Datapath;
use vrrp_common::shared::SharedWords;

use crate::cursor::{Context, Frame, NO_REASON, SkBuff, mac_at, packet};
use crate::datapath::{self, MapValue};
use crate::maps::{Family, ROUTERS, SENDERS};
use crate::{sample, virtual_mac};

/// Whether it is worth a closer look at a packet whether its router is fenced: the whole cost where nothing is wrong, but for
/// the clock where there is a claim, or a router goes by its lease alone. Nearly always the lease holds then, too.
#[inline(always)]
pub fn is_suspect(slot: u32) -> bool {
    datapath::lease(slot).is_some_and(|lease| {
        lease::is_suspect(&lease) && lease::would_be_fenced(&lease, datapath::boot_now())
    })
}

/// A packet to an address whose router is suspect.
#[inline(never)]
pub fn arriving<C: Context>(ctx: C, offset: usize, slot: u32) -> u32 {
    match Frame::new(ctx).load_at::<1>(offset) {
        Some([first]) if first >> 4 == 4 => arriving_as::<C, V4>(ctx, offset, slot),
        Some(_) => arriving_as::<C, V6>(ctx, offset, slot),
        None => NO_REASON,
    }
}

#[inline(always)]
fn arriving_as<C: Context, A: Family>(ctx: C, offset: usize, slot: u32) -> u32 {
    let Some(packet) = &packet::<C, A>(ctx, offset, 0, 0) else { return NO_REASON };
    // Only what is for an Ethernet address of ours is for us and nobody else above or behind this interface.
    let Some((mac, virtual_mac)) = held_macs(ctx, packet.destination, slot) else {
        return NO_REASON;
    };
    let Some(destination) = mac_at(ctx, 0) else { return NO_REASON };
    if destination != mac && (virtual_mac == 0 || destination != virtual_mac) {
        return NO_REASON;
    }
    let Some(lease) = fenced(slot) else { return NO_REASON };
    stopped(ctx, &lease, packet, Reason::FencedTo)
}

/// A packet from an address whose router is suspect.
#[inline(never)]
pub fn leaving<A: Family>(ctx: SkBuff, offset: usize, slot: u32) -> u32 {
    let Some(packet) = &packet::<SkBuff, A>(ctx, offset, 0, 0) else { return NO_REASON };
    if ctx.is_forwarded() || held_macs(ctx, packet.source, slot).is_none() {
        return NO_REASON;
    }
    let Some(lease) = fenced(slot) else { return NO_REASON };
    stopped(ctx, &lease, packet, Reason::FencedFrom)
}

/// ARP, which may say that we have an address.
#[inline(never)]
pub fn leaving_arp(ctx: SkBuff) -> u32 {
    let Some(sender) = parse::arp_sender(&Frame::new(ctx)) else { return NO_REASON };
    leaving_claim(ctx, sender.address, virtual_mac::leaving_arp)
}

/// An ICMPv6 message, which may say that we have an address.
#[inline(never)]
pub fn leaving_ndisc(ctx: SkBuff, offset: usize) -> u32 {
    let frame = Frame::new(ctx);
    let Some(packet) = V6::tagged(&frame, offset, [0; 2]) else { return NO_REASON };
    let Some(claim) = parse::ndisc_claim(&frame, &packet) else { return NO_REASON };
    leaving_claim(ctx, claim.address, |ctx, held, mac| {
        virtual_mac::leaving_ndisc(ctx, offset, held, mac);
    })
}

#[inline(always)]
fn leaving_claim<A: Family>(
    ctx: SkBuff,
    address: A,
    with_virtual: impl FnOnce(SkBuff, &MapValue<Held>, u64),
) -> u32 {
    if ctx.vlan_beside() != 0 || ctx.is_forwarded() {
        return NO_REASON;
    }
    let Some(held) = Frame::new(ctx).held(address) else { return NO_REASON };
    let (slot, mac) = (Held::slot(held.load::<HELD_SLOT>()), held.load::<HELD_VIRTUAL_MAC>());
    if is_suspect(slot)
        && let Some(lease) = fenced(slot)
    {
        lease::count(&lease);
        return Reason::FencedFrom.index();
    }
    if mac != 0 {
        with_virtual(ctx, &held, mac);
    }
    NO_REASON
}

/// An advertisement.
#[inline(never)]
pub fn leaving_advert<A: Family>(ctx: SkBuff, offset: usize) -> u32 {
    let Some(packet) = &packet::<SkBuff, A>(ctx, offset, 0, 0) else { return NO_REASON };
    let (_, message) = A::message(packet);
    let Some([_, vrid]) = Frame::new(ctx).load_at::<2>(message) else { return NO_REASON };
    let key = RouterKey {
        ifindex: ctx.ifindex(),
        vlan: [0; 2],
        family: A::FAMILY,
        vrid,
        reserved: [0; 2],
    };
    let Some(entry) = ROUTERS.get_ptr(key) else { return NO_REASON };
    // SAFETY: what the look-up returned; a word of it is read, as a whole.
    let slot = unsafe { (&raw const (*entry).slot).read_volatile() };
    let Some(lease) = datapath::lease(slot) else { return NO_REASON };
    // What the daemon sends to itself, to see whether anything leaves.
    let (Some(to), Some(from)) = (mac_at(ctx, 0), mac_at(ctx, 6)) else { return NO_REASON };
    if to == from {
        return NO_REASON;
    }
    let sender = ctx.sender();
    if sender == 0 {
        // Of another host, and only passing through.
        return NO_REASON;
    }
    if !is_ours(sender) {
        lease::lift(&lease);
        return NO_REASON;
    }
    if !lease::is_suspect(&lease)
        || !lease::is_fenced(&lease, datapath::boot_now(), Traffic::Advert)
    {
        return NO_REASON;
    }
    stopped(ctx, &lease, packet, Reason::FencedAdvert)
}

/// Whether a socket is one that our daemon sends advertisements by.
#[inline(always)]
fn is_ours(sender: u64) -> bool {
    SENDERS.get_ptr(sender).is_some()
}

/// The Ethernet address of ours at which an address is held by the router of a lease, and the virtual one, 0 for none.
#[inline(always)]
fn held_macs<C: Context, A: Address>(ctx: C, address: A, slot: u32) -> Option<(u64, u64)> {
    let held = Frame::new(ctx).held(address)?;
    let of = Held::slot(held.load::<HELD_SLOT>());
    (of == slot).then(|| (held.load::<HELD_MAC>(), held.load::<HELD_VIRTUAL_MAC>()))
}

/// The lease of a router, if packets to and from its addresses are stopped.
#[inline(always)]
fn fenced(slot: u32) -> Option<MapValue<Lease>> {
    let lease = datapath::lease(slot)?;
    lease::is_fenced(&lease, datapath::boot_now(), Traffic::Address).then_some(lease)
}

/// Counts a packet that is stopped, and keeps a sample of it.
#[inline(always)]
fn stopped<C: Context, A: Address>(
    ctx: C,
    lease: &MapValue<Lease>,
    packet: &Packet<A>,
    reason: Reason,
) -> u32 {
    lease::count(lease);
    let frame = Frame::new(ctx);
    let (ttl, _) = A::message(packet);
    let none = Extent { ttl, offset: packet.offset, wire_len: 0, present: 0 };
    sample::keep(&frame, ctx.ifindex(), packet, none, reason.index(), frame.now());
    reason.index()
}

impl SkBuff {
    /// Whether the frame came in by some interface, and is none of this host's own.
    #[inline(always)]
    pub fn is_forwarded(self) -> bool {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.0).ingress_ifindex != 0 }
    }

    /// The number of the socket that it was sent by, 0 for none.
    #[inline(always)]
    fn sender(self) -> u64 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { bpf_get_socket_cookie(self.0.cast()) }
    }
}
