//! Multicast listener reports of version 2 (RFC 3810): which groups a host wants to hear from now on.
//!
//! The kernel sends one for the solicited-node group of each address, but some milliseconds after the address is there.
//! A switch that looks at them (RFC 4541) passes neighbour solicitations for a new address nowhere until then.

use std::net::Ipv6Addr;

use vrrp_common::parse::HOP_BY_HOP;

use super::ethernet::{self, ETHERTYPE_IPV6, Mac};
use super::ipv6;
use super::ndisc::IPPROTO_ICMPV6;

/// All routers that hear of listeners, ff02::16 (RFC 3810 section 5.2.14).
const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Type of a report (RFC 3810 section 5.2).
const REPORT: u8 = 143;
/// A group is heard whoever sends to it: `CHANGE_TO_EXCLUDE_MODE` without sources (RFC 3810 section 5.2.12).
const CHANGE_TO_EXCLUDE: u8 = 4;
/// Bytes of a report before its records: type, code, checksum, reserved, number of records.
const HEADER_LEN: usize = 8;
/// Bytes of a record without sources: type, two lengths, the group.
const RECORD_LEN: usize = 20;
/// Hop-by-hop options with a router alert (RFC 3810 section 5; RFC 2711 section 2.1), padded to 8 bytes.
const ROUTER_ALERT: [u8; 8] = [IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0];
/// Groups of one report, with which it fits where IPv6 does at all (1,280 bytes, RFC 8200 section 5).
pub const MAX_GROUPS: usize = 60;

/// A frame by which a host says that it hears these groups from now on, at most [`MAX_GROUPS`]. The source is a link-local
/// address of the interface, or none as long as there is none (RFC 3590).
pub fn report_frame(mac: Mac, source: Option<Ipv6Addr>, groups: &[Ipv6Addr]) -> Box<[u8]> {
    let groups = &groups[..groups.len().min(MAX_GROUPS)];
    let len = HEADER_LEN + groups.len() * RECORD_LEN;
    let mut message = vec![0; len];
    message[0] = REPORT;
    message[6..8].copy_from_slice(&u16::try_from(groups.len()).unwrap_or(0).to_be_bytes());
    for (record, group) in message[HEADER_LEN..].chunks_exact_mut(RECORD_LEN).zip(groups) {
        record[0] = CHANGE_TO_EXCLUDE;
        record[4..].copy_from_slice(&group.octets());
    }
    let (source, destination) = (source.unwrap_or(Ipv6Addr::UNSPECIFIED), ALL_MLDV2_ROUTERS);
    let sum = ipv6::upper_layer_checksum(source, destination, IPPROTO_ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = vec![0; ethernet::HEADER_LEN + ipv6::HEADER_LEN];
    let ethertype = ETHERTYPE_IPV6;
    let group = ethernet::multicast(destination.into());
    ethernet::Repr { destination: group, source: mac, ethertype }.emit(&mut frame);
    ipv6::Repr {
        traffic_class: 0,
        hop_limit: 1,
        next_header: HOP_BY_HOP,
        source,
        destination,
        payload_len: u16::try_from(ROUTER_ALERT.len() + len).unwrap_or(u16::MAX),
    }
    .emit(&mut frame[ethernet::HEADER_LEN..]);
    frame.extend(ROUTER_ALERT);
    frame.extend(message);
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::super::array;
    use super::*;

    /// What Linux 6.18 sends, but for the traffic class of its own and for the padding, which it puts behind as well.
    #[test]
    fn golden() {
        #[rustfmt::skip]
        let golden = [
            0x33, 0x33, 0, 0, 0, 0x16,  2, 0, 0, 0, 0, 1,  0x86, 0xdd,
            // version 6; 36 bytes, hop-by-hop options, hop limit 1
            0x60, 0, 0, 0,  0, 36, 0, 1,
            0xfe, 0x80, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 1,
            0xff, 0x02, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0x16,
            // ICMPv6 follows; router alert for MLD; padding
            58, 0,  5, 2, 0, 0,  1, 0,
            // report, checksum, 1 record
            143, 0, 0xa3, 0x6f,  0, 0, 0, 1,
            // to exclude mode, no sources
            4, 0, 0, 0,
            0xff, 0x02, 0, 0, 0, 0, 0, 0,  0, 0, 0, 1, 0xff, 0xbb, 0xcc, 0xdd,
        ];
        let group: Ipv6Addr = "ff02::1:ffbb:ccdd".parse().unwrap();
        let frame = report_frame([2, 0, 0, 0, 0, 1], Some("fe80::1".parse().unwrap()), &[group]);
        assert_eq!(*frame, golden);
    }

    #[test]
    fn many_groups_fit_where_ipv6_does() {
        let many: Vec<Ipv6Addr> =
            (0..100).map(|n| Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, n)).collect();
        let frame = report_frame([2; 6], None, &many);
        assert!(frame.len() <= ethernet::HEADER_LEN + 1280);
        let (ip, payload) = ipv6::Repr::parse(&frame[ethernet::HEADER_LEN..]).unwrap();
        let message = &payload[ROUTER_ALERT.len()..];
        assert_eq!(ipv6::upper_layer_checksum(ip.source, ip.destination, 58, message), 0);
        let (header, records) = message.split_at(HEADER_LEN);
        assert_eq!((header[0], usize::from(header[7])), (REPORT, MAX_GROUPS));
        let groups = records.chunks(RECORD_LEN).map(|record| array::<16>(record, 4).into());
        assert_eq!(groups.collect::<Vec<Ipv6Addr>>(), many[..MAX_GROUPS]);
    }
}
