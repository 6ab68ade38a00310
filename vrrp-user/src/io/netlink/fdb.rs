//! The forwarding database of a bridge: Ethernet addresses of the host itself, `bridge fdb replace MAC dev BRIDGE self permanent`.
//! Who asks has an answer when the call returns, as for a membership of a packet socket; both wait for the same lock.

use std::io;

use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};

use super::once;

/// Lets a bridge hand the host what is for an Ethernet address, wherever it has seen that before.
/// Errors: why the kernel refuses, and those of its sockets.
pub fn add(bridge: u32, mac: [u8; 6]) -> io::Result<()> {
    let entry = RouteNetlinkMessage::NewNeighbour(entry(bridge, mac));
    once::request_with(entry, NLM_F_CREATE | NLM_F_REPLACE)
}

/// Ends that. Whether there was such an entry; what the bridge has learned of the address stays.
/// Errors: why the kernel refuses, and those of its sockets.
pub fn remove(bridge: u32, mac: [u8; 6]) -> io::Result<bool> {
    match once::request(RouteNetlinkMessage::DelNeighbour(entry(bridge, mac))) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// On the bridge itself, in no VLAN: that is in all that it filters.
fn entry(bridge: u32, mac: [u8; 6]) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = bridge;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message
}
