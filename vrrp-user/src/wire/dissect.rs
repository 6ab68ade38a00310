//! Advertisements, gratuitous ARP and neighbour advertisements for people to look at: all that can be read of a packet, and all that
//! is wrong with it.
//!
//! The receive checks end at the first failure; this goes on as far as there are bytes, and never fails.

use std::net::{IpAddr, Ipv6Addr};

use vrrp_common::ah::{self, AuthHeader};
use vrrp_common::message::{Header, TYPE_ADVERTISEMENT, auth_len};
use vrrp_common::parse::{self, Address, IPV4_FRAGMENT, V4, V6, VLAN_ID};
use vrrp_common::reason::Reason;
use vrrp_common::sample::Sample;
use vrrp_common::{VRRP_HEADER_LEN, VRRP_TTL};

use super::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN,
};
use super::family::{Family, from_field};
use super::vrrp::addresses;
use super::{arp, array, checksum, ipv4, ipv6, ndisc};
use crate::types::advert::{AdvertInterval, Version};
use crate::types::time::Nanos;

/// The fragment offset (RFC 791 section 3.1).
const IPV4_OFFSET: u16 = 0x1fff;

/// A packet that concerns VRRP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// VLAN IDs, outermost first.
    pub vlan: Vec<u16>,
    /// What is in it.
    pub content: Content,
}

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A packet of IP protocol 112, or of 51 with that in it.
    Vrrp(Vrrp),
    /// An ARP message in which the sender speaks of its own address.
    GratuitousArp(arp::Repr),
    /// A neighbour advertisement, or a question of duplicate address detection.
    Neighbour(Neighbour),
    /// Any packet to or from an address that this host is kept from answering for ([`vrrp_common::lease`]).
    Fenced(Fenced),
}

/// What is known of a packet that a fence has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// What neighbour discovery says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// The message.
    pub message: ndisc::Repr,
    /// Bytes of the message.
    pub length: usize,
}

/// A packet of IP protocol 112, or of 51 with that in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrp {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The authentication header before the message (RFC 2402), if there is one.
    pub ah: Option<AuthHeader>,
    /// Bytes of the VRRP message by the IP header; 0 where that makes no sense.
    pub length: usize,
    /// The message; `None` when not even its header is there.
    pub message: Option<Message>,
    /// Everything that is wrong by the protocol, whatever is configured here.
    pub problems: Vec<Reason>,
}

/// A VRRP message, as far as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How it begins.
    pub header: Header,
    /// The addresses that are there.
    pub addresses: Vec<IpAddr>,
    /// Addresses that the message claims to carry besides.
    pub missing: usize,
}

impl Message {
    /// Version 2: authentication type (RFC 2338 section 5.3.6).
    pub fn auth_type(&self) -> Option<u8> {
        (self.header.version() == 2).then(|| self.header.auth_type())
    }

    /// Advertisement interval; `None` for a version that we do not know.
    pub fn interval(&self) -> Option<AdvertInterval> {
        let version = match self.header.version() {
            2 => Version::V2,
            3 => Version::V3,
            _ => return None,
        };
        Some(AdvertInterval::from_field(version, self.header.interval(version.number())))
    }
}

impl Packet {
    /// Reads a packet from its network header on; `None` unless it concerns VRRP and has addresses.
    ///
    /// `tag` is a VLAN tag that the kernel has taken off.
    pub fn parse(mut ethertype: u16, tag: Option<u16>, mut data: &[u8]) -> Option<Self> {
        let mut vlan: Vec<u16> = tag.into_iter().map(|tag| tag & VLAN_ID).collect();
        while ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ {
            let (header, rest) = data.split_first_chunk::<4>()?;
            vlan.push(u16::from_be_bytes(array(header, 0)) & VLAN_ID);
            ethertype = u16::from_be_bytes(array(header, 2));
            data = rest;
        }
        let content = match ethertype {
            ETHERTYPE_IPV4 => Content::Vrrp(in_ipv4(data)?),
            ETHERTYPE_IPV6 => match in_ipv6(data) {
                Some(vrrp) => Content::Vrrp(vrrp),
                None => Content::Neighbour(neighbour(data)?),
            },
            ETHERTYPE_ARP => {
                let message = arp::Repr::parse(data).ok()?;
                if message.sender_ip != message.target_ip {
                    return None;
                }
                Content::GratuitousArp(message)
            }
            _ => return None,
        };
        Some(Self { vlan, content })
    }

    /// Reads what the kernel side kept of a packet.
    pub fn of_sample(reason: Reason, sample: &Sample) -> Self {
        let address = |field| from_field(sample.family, field);
        let vlan = sample.vlan.into_iter().filter(|id| *id != 0).collect();
        if matches!(reason, Reason::FencedTo | Reason::FencedFrom) {
            let (source, destination) = (address(sample.source), address(sample.destination));
            let fenced = Fenced { source, destination, ttl: sample.ttl };
            return Self { vlan, content: Content::Fenced(fenced) };
        }
        let present = usize::from(sample.payload_len).min(sample.payload.len());
        let mut vrrp = vrrp(
            address(sample.source),
            address(sample.destination),
            sample.ttl,
            None,
            sample.wire_len.into(),
            &sample.payload[..present],
            Vec::new(),
        );
        if sample.wire_len == 0 {
            // Its message may just be out of sight: what was wrong is what it was refused for.
            vrrp.problems.retain(|problem| *problem != Reason::VrrpLength);
        }
        Self { vlan, content: Content::Vrrp(vrrp) }
    }

    /// The virtual router that an advertisement is of.
    pub fn vrid(&self) -> Option<u8> {
        match &self.content {
            Content::Vrrp(vrrp) => vrrp.message.as_ref().map(|message| message.header.vrid()),
            Content::GratuitousArp(_) | Content::Neighbour(_) | Content::Fenced(_) => None,
        }
    }
}

fn in_ipv4(data: &[u8]) -> Option<Vrrp> {
    let packet = V4::packet(&data, 0, [0; 2])?;
    let has_header = ah::is_vrrp(&data, &packet);
    if !packet.is_vrrp() && !has_header {
        return None;
    }
    let [version_ihl, _, t0, t1, _, _, f0, f1, ..] = packet.begin;
    let header_len = usize::from(version_ihl & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([t0, t1]));
    let mut problems = Vec::new();
    if version_ihl >> 4 != 4 || header_len < ipv4::HEADER_LEN || total_len < header_len {
        problems.push(Reason::IpHeader);
    } else if data.get(..header_len).is_some_and(|header| checksum::internet(&[header]) != 0) {
        problems.push(Reason::IpChecksum);
    }
    Some(in_ip(data, &packet, has_header, u16::from_be_bytes([f0, f1]), problems))
}

fn in_ipv6(data: &[u8]) -> Option<Vrrp> {
    let mut packet = V6::packet(&data, 0, [0; 2])?;
    let mut problems = Vec::new();
    if !packet.is_vrrp() {
        let chain = parse::chain(&data, 0, packet.protocol)?;
        packet.extensions = chain.extensions;
        if chain.reason != Reason::Accepted {
            problems.push(chain.reason);
        }
    }
    let [version, _, _, _, l0, l1, ..] = packet.begin;
    let too_long = packet.extensions > u16::from_be_bytes([l0, l1]);
    if version >> 4 != 6 || (too_long && problems.is_empty()) {
        problems.push(Reason::IpHeader);
    }
    Some(in_ip(data, &packet, false, 0, problems))
}

/// The message of a packet, behind an authentication header or not. `fragment` is that field of an IPv4 header.
fn in_ip<A: Address + Into<IpAddr>>(
    data: &[u8],
    packet: &parse::Packet<A>,
    has_header: bool,
    fragment: u16,
    mut problems: Vec<Reason>,
) -> Vrrp {
    // Nothing is left of it where nobody knows where the message is.
    let parse::Extent { ttl, offset, mut wire_len, .. } = A::extent(&data, packet);
    let mut present = data.get(offset..).unwrap_or_default();
    present = &present[..present.len().min(wire_len)];
    if present.len() < wire_len {
        problems.push(Reason::Truncated);
    }
    if fragment & IPV4_FRAGMENT != 0 {
        problems.push(Reason::Fragment);
    }
    if fragment & IPV4_OFFSET != 0 {
        // Not the beginning of a message.
        present = &[];
    }
    let mut header = None;
    if has_header {
        wire_len = wire_len.saturating_sub(ah::LEN);
        (header, present) = match present.split_first_chunk::<{ ah::LEN }>() {
            Some((bytes, behind)) => (Some(bytemuck::cast::<_, AuthHeader>(*bytes)), behind),
            None => (None, &[][..]),
        };
        if header.is_some_and(|header| header.payload_len != ah::PAYLOAD_LEN) {
            problems.push(Reason::AhMalformed);
        }
    }
    vrrp(packet.source.into(), packet.destination.into(), ttl, header, wire_len, present, problems)
}

/// A neighbour advertisement, or a solicitation from no address; with what the stack asks for (RFC 4861 section 7.1)
/// except the checksum.
fn neighbour(packet: &[u8]) -> Option<Neighbour> {
    let (header, payload) = ipv6::Repr::parse(packet).ok()?;
    let ipv6::Repr { source, destination, hop_limit, next_header, .. } = header;
    if next_header != ndisc::IPPROTO_ICMPV6 || hop_limit != ndisc::HOP_LIMIT {
        return None;
    }
    let message = ndisc::Repr::parse(payload).ok()?;
    let wanted = match message {
        ndisc::Repr::Advertisement { .. } => true,
        ndisc::Repr::Solicitation { .. } => source.is_unspecified(),
    };
    wanted.then_some(Neighbour { source, destination, message, length: payload.len() })
}

fn vrrp(
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    ah: Option<AuthHeader>,
    length: usize,
    present: &[u8],
    mut problems: Vec<Reason>,
) -> Vrrp {
    let impossible = match source {
        IpAddr::V4(source) => source.octets().is_impossible_source(),
        IpAddr::V6(source) => source.octets().is_impossible_source(),
    };
    if impossible {
        problems.push(Reason::ImpossibleSource);
    }
    // Unicast may come from another network.
    if ttl != VRRP_TTL && destination.is_multicast() {
        problems.push(Reason::Ttl);
    }
    let message = message(source, length, present, &mut problems);
    // A part has no checksum.
    let complete = present.len() == length && !problems.contains(&Reason::Fragment);
    if let Some(message) = &message
        && complete
        && !is_intact(source, destination, message.header.version(), present)
    {
        problems.push(Reason::Checksum);
    }
    Vrrp { source, destination, ttl, ah, length, message, problems }
}

/// The fields, as far as they are there.
fn message(
    source: IpAddr,
    length: usize,
    present: &[u8],
    problems: &mut Vec<Reason>,
) -> Option<Message> {
    let Some((header, rest)) = present.split_first_chunk::<VRRP_HEADER_LEN>() else {
        let unseen = [Reason::Fragment, Reason::ExtensionHeaders];
        if length < VRRP_HEADER_LEN && !problems.iter().any(|problem| unseen.contains(problem)) {
            problems.push(Reason::VrrpLength);
        }
        return None;
    };
    let header = Header(*header);
    let (version, family) = (header.version(), Family::of(source));
    if version != 2 && version != 3 {
        problems.push(Reason::Version);
    }
    if header.message_type() != TYPE_ADVERTISEMENT {
        problems.push(Reason::PacketType);
    }
    if !header.fits(version, family.address_len(), length) {
        problems.push(Reason::VrrpLength);
    }
    if header.lacks_addresses(version) {
        problems.push(Reason::NoAddresses);
    }
    // What stands at the end of a version 2 message is no address, even where the count says so.
    let end = length.saturating_sub(VRRP_HEADER_LEN + auth_len(version));
    let addresses = addresses(family, &rest[..rest.len().min(end)], header.count());
    let message = Message { header, missing: header.count() - addresses.len(), addresses };
    if message.interval().is_some_and(|interval| interval.duration() == Nanos::ZERO) {
        problems.push(Reason::ZeroInterval);
    }
    Some(message)
}

/// Whether the checksum is right in one of the ways in which it is sent.
fn is_intact(source: IpAddr, destination: IpAddr, version: u8, message: &[u8]) -> bool {
    let (sum, len) = (checksum::sum(message), message.len());
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            parse::is_intact(sum, version, from.octets(), to.octets(), len)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            parse::is_intact(sum, version, from.octets(), to.octets(), len)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;
    use vrrp_common::{FAMILY_V4, IPPROTO_VRRP, MULTICAST_V4};

    use super::*;
    use crate::types::advert::Priority;
    use crate::types::id::Vrid;
    use crate::wire::vrrp::{Auth, Repr, fill_checksum};

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    /// An advertisement of 10.0.0.2 from its IP header on.
    fn advert() -> Vec<u8> {
        let addresses = [ADDRESS.into()];
        let repr = Repr {
            vrid: Vrid::new(51).unwrap(),
            priority: Priority(100),
            interval: AdvertInterval::Secs(1),
            addresses: &addresses,
            auth: Auth::Password(*b"secret\0\0"),
        };
        let mut packet = vec![0; 20 + repr.buffer_len().unwrap()];
        let header = ipv4::Repr {
            tos: 0xc0,
            ident: 1,
            dont_fragment: false,
            ttl: 255,
            protocol: IPPROTO_VRRP,
            source: [10, 0, 0, 2].into(),
            destination: [224, 0, 0, 18].into(),
            payload_len: u16::try_from(packet.len() - 20).unwrap(),
        };
        header.emit(&mut packet);
        repr.emit(&mut packet[20..]);
        fill_checksum(&mut packet[20..], None);
        packet
    }

    fn read(packet: &[u8]) -> Vrrp {
        match Packet::parse(ETHERTYPE_IPV4, None, packet).unwrap().content {
            Content::Vrrp(vrrp) => vrrp,
            other @ (Content::GratuitousArp(_) | Content::Neighbour(_) | Content::Fenced(_)) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn a_sound_one_is_read_and_nothing_is_wrong() {
        let vrrp = read(&advert());
        assert_eq!(vrrp.problems, []);
        assert_eq!((vrrp.source, vrrp.ttl, vrrp.length), ([10, 0, 0, 2].into(), 255, 20));
        let message = vrrp.message.unwrap();
        let header = message.header;
        assert_eq!((header.version(), header.vrid(), header.priority()), (2, 51, 100));
        assert_eq!(message.auth_type(), Some(1));
        assert_eq!(message.interval(), Some(AdvertInterval::Secs(1)));
        assert_eq!((message.addresses, message.missing), (vec![ADDRESS.into()], 0));
    }

    #[test]
    fn an_authentication_header_stands_before_the_message() {
        // Sent by keepalived 2.2.7.
        let sent = "45c0004400010000ff33d1b10a00ff01e0000012700400000a00ff01000000016cc85194f93f64c3044f551a\
                    21336402020164000a0000640a0000650000000000000000";
        let digits = sent.as_bytes().chunks(2);
        let mut packet: Vec<u8> = digits
            .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
            .collect();
        let vrrp = read(&packet);
        assert_eq!((vrrp.problems.len(), vrrp.length), (0, 24));
        let header = vrrp.ah.unwrap();
        assert_eq!((header.spi, header.sequence), ([10, 0, 255, 1], [0, 0, 0, 1]));
        let message = vrrp.message.unwrap();
        assert_eq!((message.header.vrid(), message.auth_type()), (51, Some(2)));
        assert_eq!(message.addresses, [100, 101].map(|last| IpAddr::from([10, 0, 0, last])));
        packet[21] = 5;
        assert_eq!(read(&packet).problems, [Reason::AhMalformed]);
        packet[21] = 4;
        for len in 21..packet.len() {
            assert!(read(&packet[..len]).problems.contains(&Reason::Truncated), "{len}");
        }
        // TCP behind it.
        packet[20] = 6;
        assert_eq!(Packet::parse(ETHERTYPE_IPV4, None, &packet), None);
    }

    #[test]
    fn every_defect_is_named() {
        use Reason::*;
        type Defect = (&'static str, fn(&mut Vec<u8>), &'static [Reason]);
        let defects: [Defect; 11] = [
            ("version of IP", |p| p[0] = 0x65, &[IpHeader]),
            ("header length", |p| p[0] = 0x41, &[IpHeader]),
            ("TTL", |p| p[8] = 3, &[IpChecksum, Ttl]),
            ("end", |p| p.truncate(30), &[Truncated]),
            ("fragment", |p| p[7] = 1, &[IpChecksum, Fragment]),
            ("checksum", |p| p[22] = 101, &[Checksum]),
            ("version", |p| p[20] = 0x51, &[Version, Checksum]),
            ("type", |p| p[20] = 0x22, &[PacketType, Checksum]),
            ("count", |p| p[23] = 4, &[VrrpLength, Checksum]),
            // Version 2 need not have an address.
            ("no address, no interval", |p| (p[23], p[25]) = (0, 0), &[ZeroInterval, Checksum]),
            (
                "no address in version 3",
                |p| (p[20], p[23], p[25]) = (0x31, 0, 100),
                &[NoAddresses, Checksum],
            ),
        ];
        for (what, damage, expected) in defects {
            let mut packet = advert();
            damage(&mut packet);
            assert_eq!(read(&packet).problems, expected, "{what}");
        }
    }

    #[test]
    fn what_is_missing_is_counted() {
        let mut packet = advert();
        packet[23] = 4;
        let message = read(&packet).message.unwrap();
        assert_eq!((message.addresses.len(), message.missing), (1, 3));
        packet.truncate(27);
        assert_eq!(read(&packet).message, None);
    }

    #[test]
    fn tags_are_collected() {
        let packet = [&[0xe0, 9, 8, 0][..], &advert()].concat();
        let tagged = Packet::parse(ETHERTYPE_VLAN, Some(0x2007), &packet).unwrap();
        assert_eq!((&tagged.vlan[..], tagged.vrid()), (&[7, 9][..], Some(51)));
        assert_eq!(Packet::parse(ETHERTYPE_QINQ, None, &packet[..3]), None);
    }

    #[test]
    fn ipv6_has_a_pseudo_header() {
        // RFC 9568 section 5.2.8, by hand.
        let source: Ipv6Addr = "fe80::2".parse().unwrap();
        let group: Ipv6Addr = "ff02::12".parse().unwrap();
        let vip: Ipv6Addr = "fe80::100".parse().unwrap();
        let mut message = vec![0x31, 51, 100, 1, 0, 100, 0, 0];
        message.extend(vip.octets());
        let pieces =
            [&source.octets()[..], &group.octets(), &[0, 0, 0, 24], &[0, 0, 0, 112], &message];
        let sum = checksum::internet(&pieces).to_be_bytes();
        message[6..8].copy_from_slice(&sum);
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, 112, 255];
        packet.extend(source.octets());
        packet.extend(group.octets());
        packet.extend(&message);
        let read = |packet: &[u8]| Packet::parse(ETHERTYPE_IPV6, None, packet).unwrap().content;
        let Content::Vrrp(vrrp) = read(&packet) else { panic!("ARP") };
        assert_eq!(vrrp.problems, []);
        assert_eq!(vrrp.message.unwrap().addresses, [IpAddr::V6(vip)]);
        packet[63] ^= 1;
        let Content::Vrrp(vrrp) = read(&packet) else { panic!("ARP") };
        assert_eq!(vrrp.problems, [Reason::Checksum]);
        packet[63] ^= 1;

        // Behind destination options and a fragment header.
        packet.splice(40..40, [44, 0, 1, 4, 0, 0, 0, 0, 112, 0, 0, 0, 0, 0, 0, 9]);
        (packet[5], packet[6]) = (40, 60);
        let Content::Vrrp(vrrp) = read(&packet) else { panic!("ARP") };
        assert_eq!((vrrp.problems, vrrp.length), (vec![], 24));
        assert_eq!(vrrp.message.unwrap().addresses, [IpAddr::V6(vip)]);
        for (field, there) in [(1, true), (8, false)] {
            packet[51] = field;
            let Content::Vrrp(vrrp) = read(&packet) else { panic!("ARP") };
            assert_eq!(vrrp.problems, [Reason::Fragment]);
            assert_eq!(vrrp.message.is_some(), there);
        }
        packet[51] = 0;
        packet.splice(40..40, [60, 0, 1, 4, 0, 0, 0, 0].repeat(4));
        let Content::Vrrp(vrrp) = read(&packet) else { panic!("ARP") };
        assert_eq!((vrrp.problems, vrrp.message), (vec![Reason::ExtensionHeaders], None));
    }

    #[test]
    fn only_gratuitous_arp_counts() {
        let mut message = [0; arp::LEN];
        let mut repr = arp::Repr::gratuitous([2, 0, 0, 0, 0, 1], ADDRESS);
        repr.emit(&mut message);
        let packet = Packet::parse(ETHERTYPE_ARP, None, &message).unwrap();
        assert_eq!(packet.content, Content::GratuitousArp(repr));
        repr.target_ip = Ipv4Addr::new(10, 0, 0, 1);
        repr.emit(&mut message);
        assert_eq!(Packet::parse(ETHERTYPE_ARP, None, &message), None);
    }

    #[test]
    fn a_sample_holds_a_part() {
        let packet = advert();
        let mut sample = Sample {
            family: FAMILY_V4,
            ttl: 3,
            wire_len: 20,
            payload_len: 12,
            vlan: [7, 0],
            ..Sample::default()
        };
        sample.source[..4].copy_from_slice(&[10, 0, 0, 200]);
        sample.destination[..4].copy_from_slice(&MULTICAST_V4);
        sample.payload[..12].copy_from_slice(&packet[20..32]);
        let read = Packet::of_sample(Reason::Ttl, &sample);
        assert_eq!((&read.vlan[..], read.vrid()), (&[7][..], Some(51)));
        let Content::Vrrp(vrrp) = read.content else { panic!("ARP") };
        assert_eq!(vrrp.problems, [Reason::Ttl], "and no checksum of a part");
        assert_eq!(vrrp.message.unwrap().addresses, [IpAddr::V4(ADDRESS)]);
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(
            ethertype in prop_oneof![
                Just(ETHERTYPE_IPV4), Just(ETHERTYPE_IPV6), Just(ETHERTYPE_ARP),
                Just(ETHERTYPE_VLAN), any::<u16>(),
            ],
            tag: Option<u16>,
            data in proptest::collection::vec(any::<u8>(), 0..1200),
        ) {
            let _ = Packet::parse(ethertype, tag, &data);
        }

        /// Beyond the protocol number, where random bytes rarely come.
        #[test]
        fn damaged_adverts_do_no_harm(
            damage in proptest::collection::vec((0usize..60, any::<u8>()), 0..8),
            length in 0usize..60,
            v6: bool,
        ) {
            let mut packet = if v6 { vec![0x60; 40] } else { Vec::new() };
            packet.extend(advert());
            for (at, byte) in damage {
                if let Some(place) = packet.get_mut(at) {
                    *place = byte;
                }
            }
            packet.truncate(length);
            packet.resize(length, 0);
            if let Some(protocol) = packet.get_mut(if v6 { 6 } else { 9 }) {
                *protocol = IPPROTO_VRRP;
            }
            let ethertype = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
            let needed = if v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
            prop_assert_eq!(Packet::parse(ethertype, None, &packet).is_some(), length >= needed);
        }

        #[test]
        fn any_sample_can_be_shown(bytes in proptest::collection::vec(any::<u8>(), size_of::<Sample>())) {
            let sample: Sample = bytemuck::pod_read_unaligned(&bytes);
            for reason in [Reason::Ttl, Reason::FencedFrom] {
                let _ = Packet::of_sample(reason, &sample);
            }
        }

        /// No byte of an advertisement can change unnoticed.
        #[test]
        fn every_bit_counts(bit in 0usize..(20 + 20) * 8) {
            let mut packet = advert();
            packet[bit / 8] ^= 1 << (bit % 8);
            if let Some(Packet { content: Content::Vrrp(vrrp), .. }) =
                Packet::parse(ETHERTYPE_IPV4, None, &packet)
            {
                prop_assert!(!vrrp.problems.is_empty());
            }
        }
    }
}
