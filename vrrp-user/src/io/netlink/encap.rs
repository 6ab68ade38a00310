//! `encap` of a route as attributes, byte by byte as `ip route` writes them.

use netlink_packet_route::route::RouteAttribute;
use rtnetlink::packet_core::DefaultNla;

use crate::config::routes::{Encap, IpEncap, Seg6Mode, srh_length};
use crate::wire::family::Family;
use std::net::{IpAddr, Ipv6Addr};

/// `NLA_F_NESTED` (linux/netlink.h).
pub(super) const NESTED: u16 = 0x8000;
/// `RTA_ENCAP_TYPE` and `RTA_ENCAP` (linux/rtnetlink.h), the latter with `NLA_F_NESTED`.
const ENCAP_TYPE: u16 = 21;
const ENCAP: u16 = 22 | NESTED;
/// `LWTUNNEL_ENCAP_*` (linux/lwtunnel.h).
const MPLS: u16 = 1;
const IP: u16 = 2;
const ILA: u16 = 3;
const IP6: u16 = 4;
const SEG6: u16 = 5;
/// The last one of a stack (RFC 3032 section 2.1).
const BOTTOM: u32 = 1 << 8;
/// Bits behind a label.
const LABEL_SHIFT: u32 = 12;
/// `IPV6_SRCRT_TYPE_4` (linux/ipv6.h).
const SEGMENT_ROUTING: u8 = 4;
/// `SR6_FLAG1_HMAC` (linux/seg6.h).
const SIGNED: u8 = 1 << 3;
/// `SR6_TLV_HMAC` (linux/seg6.h), and its length behind type and length.
const SIGNATURE: [u8; 4] = [5, 38, 0, 0];
/// Room for a signature, which the kernel makes for each packet.
const NO_SIGNATURE: [u8; 32] = [0; 32];

/// The attributes of a route or nexthop.
pub(super) fn attributes(encap: &Encap) -> [RouteAttribute; 2] {
    let (kind, value) = match encap {
        Encap::Mpls { labels, ttl } => (MPLS, mpls(labels, *ttl)),
        Encap::Ip(encap) => match encap.family {
            Family::V4 => (IP, ip(encap)),
            Family::V6 => (IP6, ip(encap)),
        },
        Encap::Ila { locator, csum_mode, ident_type, hook_type } => {
            let numbers = [(7, csum_mode), (8, ident_type), (9, hook_type)];
            let numbers = numbers.iter().filter_map(|(kind, number)| Some((*kind, (**number)?)));
            let numbers = numbers.flat_map(|(kind, number)| nla(kind, &[number]));
            (ILA, nla(1, &locator.to_be_bytes()).into_iter().chain(numbers).collect())
        }
        Encap::Seg6 { mode, segments, hmac } => (SEG6, nla(1, &seg6(*mode, segments, *hmac))),
    };
    [
        RouteAttribute::Other(DefaultNla::new(ENCAP, value)),
        RouteAttribute::Other(DefaultNla::new(ENCAP_TYPE, kind.to_ne_bytes().to_vec())),
    ]
}

/// `struct nlattr` (linux/netlink.h) with its value, padded to a multiple of four.
fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `MPLS_IPTUNNEL_*` (linux/mpls_iptunnel.h).
fn mpls(labels: &[u32], ttl: Option<u8>) -> Vec<u8> {
    let last = labels.len().saturating_sub(1);
    let stack = labels.iter().enumerate().flat_map(|(place, label)| {
        (label << LABEL_SHIFT | if place == last { BOTTOM } else { 0 }).to_be_bytes()
    });
    let mut bytes = nla(1, &stack.collect::<Vec<u8>>());
    bytes.extend(ttl.into_iter().flat_map(|ttl| nla(2, &[ttl])));
    bytes
}

/// `LWTUNNEL_IP_*` and `LWTUNNEL_IP6_*` (linux/lwtunnel.h), which have the same numbers.
fn ip(encap: &IpEncap) -> Vec<u8> {
    let IpEncap { family: _, id, dst, src, class, hops, flags } = encap;
    let address = |kind, address: &Option<IpAddr>| match address {
        Some(IpAddr::V4(v4)) => nla(kind, &v4.octets()),
        Some(IpAddr::V6(v6)) => nla(kind, &v6.octets()),
        None => Vec::new(),
    };
    let number = |kind, number: &Option<u8>| number.map(|number| nla(kind, &[number]));
    let mut bytes = id.map(|id| nla(1, &id.to_be_bytes())).unwrap_or_default();
    bytes.extend(address(2, dst));
    bytes.extend(address(3, src));
    bytes.extend(number(5, class).into_iter().chain(number(4, hops)).flatten());
    if *flags != 0 {
        bytes.extend(nla(6, &flags.to_be_bytes()));
    }
    bytes
}

/// `struct seg6_iptunnel_encap` (linux/seg6_iptunnel.h): the mode, and a header whose last segment comes first.
fn seg6(mode: Seg6Mode, segments: &[Ipv6Addr], hmac: Option<u32>) -> Vec<u8> {
    let own = (mode == Seg6Mode::Inline).then_some(Ipv6Addr::UNSPECIFIED);
    let list: Vec<Ipv6Addr> = own.into_iter().chain(segments.iter().rev().copied()).collect();
    let length = srh_length(mode, segments.len(), hmac.is_some());
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    let last = u8::try_from(list.len().saturating_sub(1)).unwrap_or(u8::MAX);
    let flags = if hmac.is_some() { SIGNED } else { 0 };
    let mut bytes = u32::from(mode as u8).to_ne_bytes().to_vec();
    bytes.extend([0, length, SEGMENT_ROUTING, last, last, flags, 0, 0]);
    bytes.extend(list.iter().flat_map(Ipv6Addr::octets));
    if let Some(key) = hmac {
        bytes.extend(SIGNATURE.iter().chain(&key.to_be_bytes()).chain(&NO_SIGNATURE));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::Nla;

    use super::*;
    use crate::config::routes::parse_route;

    /// The attribute behind its header, in hexadecimal, and the type.
    fn written(encap: &Encap) -> (String, u16) {
        let [value, kind] = attributes(encap).map(|attribute| {
            let mut bytes = vec![0; attribute.value_len()];
            attribute.emit_value(&mut bytes);
            bytes
        });
        let hex = value.iter().map(|byte| format!("{byte:02x}")).collect();
        (hex, u16::from_ne_bytes(kind.try_into().unwrap()))
    }

    /// What `ip route` of iproute2 6.1 sends for the same words, with zeros as padding.
    #[test]
    fn bytes_are_those_of_iproute2() {
        for (words, kind, bytes) in [
            ("mpls 100/200/300", 1, "1000010000064000000c80000012c100"),
            ("mpls 16 ttl 9", 1, "08000100000101000500020009000000"),
            (
                "ip id 5 dst 10.0.0.1 src 10.0.0.2 tos 0x16 ttl 4 csum key seq",
                2,
                "0c00010000000000000000050800020 00a000001080003000a000002 0500050016000000 0500040004000000 \
                 06000600000d0000",
            ),
            ("ip id 7", 2, "0c0001000000000000000007"),
            (
                "ip6 id 5 dst fc00::1 src fc00::2 tc 0x16 hoplimit 4 key csum",
                4,
                "0c0001000000000000000005 14000200fc000000000000000000000000000001 \
                 14000300fc000000000000000000000000000002 0500050016000000 0500040004000000 0600060000050000",
            ),
            ("ila 2001:0:87:0", 3, "0c0001002001000000870000"),
            (
                "ila 2001:0:87:0 csum-mode neutral-map ident-type luid hook-type input",
                3,
                "0c0001002001000000870000 0500070001000000 0500080001000000 0500090001000000",
            ),
            (
                "seg6 mode encap segs fc00::1,fc00::2",
                5,
                "30000100 01000000 0004040101000000 fc000000000000000000000000000002 \
                 fc000000000000000000000000000001",
            ),
            (
                "seg6 mode inline segs fc00::1,fc00::2",
                5,
                "40000100 00000000 0006040202000000 00000000000000000000000000000000 \
                 fc000000000000000000000000000002 fc000000000000000000000000000001",
            ),
            (
                "seg6 mode l2encap segs fc00::1 hmac 7",
                5,
                "48000100 02000000 0007040000080000 fc000000000000000000000000000001 05260000 00000007 \
                 0000000000000000000000000000000000000000000000000000000000000000",
            ),
            (
                "seg6 mode encap.red segs fc00::1,fc00::3",
                5,
                "30000100 03000000 0004040101000000 fc000000000000000000000000000003 \
                 fc000000000000000000000000000001",
            ),
        ] {
            let route = parse_route(&format!("default encap {words} dev lo"));
            let wanted = bytes.replace(' ', "");
            assert_eq!(written(route.encap.as_ref().unwrap()), (wanted, kind), "{words}");
        }
    }
}
