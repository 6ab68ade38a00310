//! The kernel's neighbour table, of IPv4 and IPv6.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::once;
use crate::wire::ethernet::Mac;

/// The Ethernet address of a neighbour, if this host has talked with it of late: an advertisement alone does not
/// make an entry. The kernel is asked for this one entry (`RTM_GETNEIGH` without `NLM_F_DUMP`, since Linux 5.0), by a
/// socket of its own: only people ask, and seldom. Not for the engine's thread, as it may wait for the routing lock.
/// Errors: those of socket(2), sendmsg(2) and recvmsg(2). That there is no such entry is none.
pub fn mac(address: IpAddr, ifindex: u32) -> io::Result<Option<Mac>> {
    let mut neighbour = NeighbourMessage::default();
    neighbour.header.family =
        if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    neighbour.header.ifindex = ifindex;
    neighbour.attributes = vec![NeighbourAttribute::Destination(address.into())];
    let answer = once::ask(RouteNetlinkMessage::GetNeighbour(neighbour))?;
    Ok(read(&answer, address))
}

/// The Ethernet address in an answer, if it is one that the kernel would send to (`NUD_VALID`, include/net/neighbour.h).
fn read(answer: &[u8], address: IpAddr) -> Option<Mac> {
    let Some(RouteNetlinkMessage::NewNeighbour(entry)) = once::read(answer) else { return None };
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
        once::bytes(RouteNetlinkMessage::NewNeighbour(entry), 0, 0)
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
