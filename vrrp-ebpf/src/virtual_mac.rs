//! The virtual MAC address (`vrrp_common::virtual_mac`) in frames: put in the place of the interface's own on the way out, and
//! taken for ours on the way in. Each on a stack of its own, as few frames need any of it.

use aya_ebpf::helpers::{bpf_skb_change_type, bpf_skb_store_bytes};
use vrrp_common::event::NO_SLOT;
use vrrp_common::maps::{HELD_MAC, HELD_VIRTUAL_MAC, Held};
use vrrp_common::parse::{IPV6_HEADER_LEN, Load, NDISC_OPTIONS};
use vrrp_common::reason::Reason;
use vrrp_common::receive::Datapath;
use vrrp_common::shared::SharedWords;
use vrrp_common::virtual_mac;

use crate::cursor::{Context, Frame, NO_REASON, PACKET_HOST, SkBuff, mac_at, packet, unknown};
use crate::datapath::{MapValue, has_virtual_mac, may_be_virtual_mac, virtual_mac_slot};
use crate::maps::{self, Family};

/// Where a frame has the Ethernet address of its sender.
const SOURCE: usize = 6;
/// Where ARP has it, behind an Ethernet header (RFC 826).
const ARP_SENDER: usize = 22;

#[inline(always)]
fn is_of_rfc(mac: u64) -> bool {
    virtual_mac::router_of(virtual_mac::of_word(mac)).is_some()
}

/// Looks at a frame that is not for this host alone, between these two Ethernet addresses: counts one to or from a virtual MAC
/// address, and takes it in if it is for this host. Nearly all end at the set of those that there are. Not inlined, as the
/// stack of the program has no room for the key of a look-up (`receive` and what it calls need the rest of the 512 bytes).
#[inline(never)]
pub fn count(ctx: SkBuff, to: u64, from: u64) {
    let to = if ctx.for_other_host() == Some(true) { to } else { 0 };
    let is_from_one = may_be_virtual_mac(from);
    if !is_from_one && (to == 0 || !is_of_rfc(to) && !may_be_virtual_mac(to)) {
        return;
    }
    // A tagged frame belongs to the VLAN device above.
    if ctx.vlan_beside() != 0 {
        return;
    }
    if to != 0 {
        let slot =
            if may_be_virtual_mac(to) { virtual_mac_slot(ctx.ifindex(), to) } else { NO_SLOT };
        let slot = unknown(slot, ctx.ifindex());
        if slot != NO_SLOT {
            maps::count(unknown(arriving(ctx, slot), ctx.ifindex()));
        } else if is_of_rfc(to) {
            maps::count(Reason::VirtualMacUnknown.index());
        }
    }
    if is_from_one {
        let slot = unknown(virtual_mac_slot(ctx.ifindex(), from), ctx.ifindex());
        if slot != NO_SLOT && unknown(is_ours_alone(ctx, slot).into(), ctx.ifindex()) != 0 {
            let is_echo = is_arp_echo(ctx, slot) || is_ndisc_echo(ctx, slot);
            let reason = if is_echo { Reason::VirtualMacEcho } else { Reason::VirtualMacSource };
            maps::count(reason.index());
        }
    }
}

/// A frame to the virtual MAC address of a router, and not to the interface's own: the index of the reason that it counts under.
#[inline(never)]
fn arriving(ctx: SkBuff, slot: u32) -> u32 {
    let reason = virtual_mac::arriving(&Frame::new(ctx), slot);
    if reason == Reason::VirtualMacAccepted {
        // What fails leaves it to another host, as it was.
        // SAFETY: the context pointer is the one that the kernel called us with.
        let _ = unsafe { bpf_skb_change_type(ctx.0, PACKET_HOST) };
    }
    reason.index()
}

/// Whether it is from the virtual MAC address of a router that is master here, and no advertisement.
#[inline(never)]
fn is_ours_alone(ctx: SkBuff, slot: u32) -> bool {
    virtual_mac::is_ours(&Frame::new(ctx), slot)
}

/// Whether it is ARP like our own.
#[inline(never)]
fn is_arp_echo(ctx: SkBuff, slot: u32) -> bool {
    virtual_mac::is_arp_echo(&Frame::new(ctx), slot)
}

/// Whether it is neighbour discovery like our own.
#[inline(never)]
fn is_ndisc_echo(ctx: SkBuff, slot: u32) -> bool {
    virtual_mac::is_ndisc_echo(&Frame::new(ctx), slot)
}

/// An ICMP message, over either family. A redirect comes from the interface's own address whichever gateway the packet was
/// sent to (RFC 9568 sections 8.1.1 and 8.2.1), which nobody can tell any more here: none leaves where there are virtual ones.
#[inline(never)]
pub fn leaving_redirect<A: Family>(ctx: SkBuff, offset: usize, redirect: u8) -> u32 {
    // First, as nearly no interface has any: nothing is read of the packet there.
    if ctx.is_forwarded() || !has_virtual_mac(ctx.ifindex()) {
        return NO_REASON;
    }
    let Some(packet) = &packet::<SkBuff, A>(ctx, offset, 0, 0) else { return NO_REASON };
    let (_, message) = A::message(packet);
    let is_one = Frame::new(ctx).load_at::<1>(message) == Some([redirect]);
    if is_one { Reason::VirtualMacRedirect.index() } else { NO_REASON }
}

/// A packet from an address that may be held with a virtual MAC address. Its IP header is at `offset`.
#[inline(never)]
pub fn leaving<A: Family>(ctx: SkBuff, offset: usize) {
    let Some(packet) = &packet::<SkBuff, A>(ctx, offset, 0, 0) else { return };
    let Some(held) = Frame::new(ctx).held(packet.source) else { return };
    let mac = held.load::<HELD_VIRTUAL_MAC>();
    if mac != 0 {
        replace(ctx, SOURCE, held.load::<HELD_MAC>(), mac);
    }
}

/// ARP from an address that is held with that virtual MAC address.
#[inline(always)]
pub fn leaving_arp(ctx: SkBuff, held: &MapValue<Held>, mac: u64) {
    let own = held.load::<HELD_MAC>();
    replace(ctx, SOURCE, own, mac);
    replace(ctx, ARP_SENDER, own, mac);
}

/// A neighbour solicitation or advertisement that says that we have such an address. Its IPv6 header is at `offset`.
#[inline(always)]
pub fn leaving_ndisc(ctx: SkBuff, offset: usize, held: &MapValue<Held>, mac: u64) {
    let own = held.load::<HELD_MAC>();
    replace(ctx, SOURCE, own, mac);
    let (frame, message) = (Frame::new(ctx), offset + IPV6_HEADER_LEN);
    if !virtual_mac::ndisc_states(&frame, message, own) {
        return;
    }
    let Some(sum) = frame.load_at::<2>(message + 2) else { return };
    let sum = virtual_mac::checksum(u16::from_ne_bytes(sum), own, mac);
    store(ctx, message + NDISC_OPTIONS + 2, &mac, 6);
    store(ctx, message + 2, &sum, 2);
}

/// Puts an Ethernet address in the place of another one, if that is there.
#[inline(always)]
fn replace(ctx: SkBuff, offset: usize, from: u64, to: u64) {
    if mac_at(ctx, offset) == Some(from) {
        store(ctx, offset, &to, 6);
    }
}

/// Writes the first bytes of a value into the frame. What fails leaves it as it was.
#[inline(always)]
fn store<T>(ctx: SkBuff, offset: usize, value: &T, len: u32) {
    // SAFETY: the context pointer is the one that the kernel called us with; the callers' values have `len` bytes.
    let _ = unsafe {
        bpf_skb_store_bytes(ctx.0.cast(), offset as u32, core::ptr::from_ref(value).cast(), len, 0)
    };
}
