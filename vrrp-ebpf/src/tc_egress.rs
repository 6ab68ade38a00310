//! tcx egress: counts what leaves with a virtual address as its source. Changes nothing, drops nothing.

use aya_ebpf::programs::TcContext;
use vrrp_common::maps::VipKey4;
use vrrp_common::parse::{self, Load, VLAN_ID};

use crate::cursor::Frame;
use crate::maps::VIPS4;

/// Counts a packet from a virtual address.
#[inline(always)]
pub fn count_vip(ctx: &TcContext) {
    let frame = Frame::new(ctx);
    let Some(packet) = parse::ipv4(&frame) else { return };
    // What is or gets tagged has passed the VLAN device above, whose own program has counted it.
    if packet.vlan != [0, 0] || frame.vlan_tci() as u16 & VLAN_ID != 0 {
        return;
    }
    let key = VipKey4 { ifindex: frame.ifindex(), address: packet.source };
    if let Some(counters) = VIPS4.get_ptr_mut(key) {
        // SAFETY: this CPU's value, returned by the map look-up. Packets are sent with softirqs disabled, so
        // that no other one comes between on this CPU.
        unsafe {
            (*counters).tx_packets += u64::from(frame.gso_segs().max(1));
            (*counters).tx_bytes += frame.frame_len() as u64;
        }
    }
}
