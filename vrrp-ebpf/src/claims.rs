//! ARP and neighbour discovery: what `vrrp_common::claims` decides, each on the stack that it has room on.

use vrrp_common::claims;
use vrrp_common::parse::{self, Address, V6};
use vrrp_common::reason::Reason;

use crate::cursor::{Context, Frame};

/// [`Reason::ArpConflict`] for ARP that another host sends from an address that we hold; `None` for any other frame.
#[inline(never)]
pub fn by_arp<C: Context>(ctx: C) -> Option<Reason> {
    let sender = parse::arp_sender(&Frame::new(ctx))?;
    // A tagged frame belongs to the VLAN device above.
    if ctx.vlan_beside() != 0 {
        return None;
    }
    let frame = &mut Frame::new(ctx);
    let held = claims::contested(frame, sender.address, sender.mac)?;
    let claim = Reason::ArpConflict;
    claims::claim(frame, &held, sender.address, sender.mac, claim).then_some(claim)
}

/// [`Reason::NdiscConflict`] for neighbour discovery by which another host claims an address that we hold; `None` for
/// any other packet. The IPv6 header is at `offset`, behind no tag with a VLAN ID.
#[inline(never)]
pub fn by_ndisc<C: Context>(ctx: C, offset: usize) -> Option<Reason> {
    let mut frame = Frame::new(ctx);
    let packet = V6::tagged(&frame, offset, [0; 2])?;
    claims::by_ndisc(&mut frame, &packet)
}
