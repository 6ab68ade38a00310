//! The kernel's neighbour table, of IPv4 and IPv6.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use crate::wire::ethernet::Mac;

/// How long the kernel may take to answer. The answer is there when the question has been sent.
const PATIENCE: TimeVal = TimeVal::new(1, 0);
/// Octets of the longest answer by far.
const ANSWER_LEN: usize = 4096;

/// The Ethernet address of a neighbour, if this host has talked with it of late: an advertisement alone does not
/// make an entry. The kernel is asked for this one entry (`RTM_GETNEIGH` without `NLM_F_DUMP`, since Linux 5.0), by a
/// socket of its own: only people ask, and seldom. Not for the engine's thread, as it may wait for the routing lock.
///
/// # Errors
/// Those of socket(2), sendmsg(2) and recvmsg(2). That there is no such entry is none.
pub fn mac(address: IpAddr, ifindex: u32) -> io::Result<Option<Mac>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
    socket.send(&question(address, ifindex), 0)?;
    let mut answer = Vec::with_capacity(ANSWER_LEN);
    socket.recv(&mut answer, 0)?;
    Ok(read(&answer, address))
}

fn question(address: IpAddr, ifindex: u32) -> Vec<u8> {
    let mut neighbour = NeighbourMessage::default();
    neighbour.header.family =
        if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    neighbour.header.ifindex = ifindex;
    neighbour.attributes = vec![NeighbourAttribute::Destination(address.into())];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let body = RouteNetlinkMessage::GetNeighbour(neighbour);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    octets
}

/// The Ethernet address in an answer, if it is one that the kernel would send to (`NUD_VALID`, include/net/neighbour.h).
fn read(answer: &[u8], address: IpAddr) -> Option<Mac> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer).ok()?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry)) = message.payload
    else {
        return None;
    };
    let known = matches!(
        entry.header.state,
        NeighbourState::Permanent
            | NeighbourState::Noarp
            | NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
    );
    let of = NeighbourAttribute::Destination(address.into());
    if !known || !entry.attributes.contains(&of) {
        return None;
    }
    entry.attributes.iter().find_map(|attribute| {
        if let NeighbourAttribute::LinkLayerAddress(mac) = attribute {
            Mac::try_from(mac.as_slice()).ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(address: IpAddr, state: NeighbourState, mac: &[u8]) -> Vec<u8> {
        let mut entry = NeighbourMessage::default();
        entry.header.family =
            if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        entry.header.state = state;
        entry.attributes = vec![
            NeighbourAttribute::Destination(address.into()),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        let body = RouteNetlinkMessage::NewNeighbour(entry);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(body));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        octets
    }

    #[test]
    fn only_complete_entries_count() {
        let mac = [2, 0, 0, 0, 0, 2];
        for address in ["10.0.0.2", "fe80::2"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let found = |state| read(&answer(address, state, &mac), address);
            for state in [NeighbourState::Reachable, NeighbourState::Stale] {
                assert_eq!(found(state), Some(mac), "{state} {address}");
            }
            for state in [NeighbourState::Incomplete, NeighbourState::Failed, NeighbourState::None]
            {
                assert_eq!(found(state), None, "{state} {address}");
            }
            let other = answer("10.0.0.3".parse().unwrap(), NeighbourState::Stale, &mac);
            assert_eq!(read(&other, address), None);
            // Of no Ethernet.
            assert_eq!(read(&answer(address, NeighbourState::Noarp, &[]), address), None);
        }
        assert_eq!(read(&[], [10, 0, 0, 2].into()), None);
        assert_eq!(read(&[0xff; 40], [10, 0, 0, 2].into()), None);
    }

    /// The kernel takes the question, and has no such neighbour.
    #[test]
    fn nobody_is_no_error() {
        for address in ["127.0.0.77", "fe80::77"] {
            assert_eq!(mac(address.parse().unwrap(), 1).unwrap(), None);
        }
    }
}
