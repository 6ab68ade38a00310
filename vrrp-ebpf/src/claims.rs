//! ARP and neighbour discovery: what `vrrp_common::claims` decides, each on the stack that it has room on.

use vrrp_common::claims;
use vrrp_common::maps::Held;
use vrrp_common::parse::{self, Address, Load, V4, V6};
use vrrp_common::reason::Reason;

use crate::cursor::{Context, Frame};
use crate::datapath::MapValue;

/// [`Reason::ArpConflict`] for ARP that another host sends from an address that we hold; `None` for any other frame.
#[inline(always)]
pub fn by_arp<C: Context>(ctx: C, headers: &impl Load) -> Option<Reason> {
    let sender = parse::arp_sender(headers)?;
    // A tagged frame belongs to the VLAN device above.
    if ctx.vlan_beside() != 0 {
        return None;
    }
    let held = claims::contested(&Frame::new(ctx), sender.address, sender.mac)?;
    claimed_in_arp(ctx, &held, sender.address, u64::from_ne_bytes(sender.mac));
    Some(Reason::ArpConflict)
}

/// The same on a stack of its own.
#[inline(never)]
pub fn by_arp_aside<C: Context>(ctx: C) -> Option<Reason> {
    by_arp(ctx, &Frame::new(ctx))
}

/// On a stack of its own, as all that few frames need: together they would not fit in its 512 bytes. What comes before is
/// for all ARP there is, and a call costs as much as it.
#[inline(never)]
fn claimed_in_arp<C: Context>(ctx: C, held: &MapValue<Held>, address: V4, mac: u64) {
    claims::claim(&mut Frame::new(ctx), held, address, mac.to_ne_bytes(), Reason::ArpConflict);
}

/// [`Reason::NdiscConflict`] for neighbour discovery by which another host claims an address that we hold; `None` for
/// any other packet. The IPv6 header is at `offset`, behind no tag with a VLAN ID.
#[inline(never)]
pub fn by_ndisc<C: Context>(ctx: C, offset: usize) -> Option<Reason> {
    let mut frame = Frame::new(ctx);
    let packet = V6::tagged(&frame, offset, [0; 2])?;
    claims::by_ndisc(&mut frame, &packet)
}
