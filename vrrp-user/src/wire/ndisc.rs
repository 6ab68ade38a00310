//! Neighbour discovery (RFC 4861): the messages by which a host claims an address or asks who has it.

use std::net::Ipv6Addr;

pub use vrrp_common::parse::{
    IPPROTO_ICMPV6, NDISC_HOP_LIMIT as HOP_LIMIT, NEIGHBOUR_ADVERTISEMENT as ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION as SOLICITATION,
};
use vrrp_common::parse::{SOURCE_LINK_LAYER, TARGET_LINK_LAYER};

use super::ethernet::{self, ETHERTYPE_IPV6, Mac};
use super::{Error, array, at_least, ipv6};

/// Bytes of a message before its options: type, code, checksum, flags, target.
pub const HEADER_LEN: usize = 24;
/// Bytes of a link-layer address option for Ethernet (RFC 2464 section 6).
const OPTION_LEN: usize = 8;
/// All nodes on the link, ff02::1.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

mod field {
    pub const TYPE: usize = 0;
    pub const CODE: usize = 1;
    pub const CHECKSUM: usize = 2;
    pub const FLAGS: usize = 4;
    pub const TARGET: usize = 8;
}

mod flag {
    pub const ROUTER: u8 = 0x80;
    pub const SOLICITED: u8 = 0x40;
    pub const OVERRIDE: u8 = 0x20;
}

/// A neighbour discovery message about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repr {
    /// Who has the target (RFC 4861 section 4.3)?
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// Where the sender is; `None` from one that has no address yet, as in duplicate address detection.
        source_mac: Option<Mac>,
    },
    /// The sender has the target (RFC 4861 section 4.4).
    Advertisement {
        /// R: the sender is a router.
        router: bool,
        /// S: in answer to a solicitation.
        solicited: bool,
        /// O: replaces what was known before.
        override_: bool,
        /// The address.
        target: Ipv6Addr,
        /// Where it is.
        target_mac: Option<Mac>,
    },
}

impl Repr {
    /// That an address is here now, as a new master says it (RFC 9568 section 6.4.2): O set, S clear, R as told.
    pub const fn unsolicited(mac: Mac, target: Ipv6Addr, router: bool) -> Self {
        Self::Advertisement {
            router,
            solicited: false,
            override_: true,
            target,
            target_mac: Some(mac),
        }
    }

    /// The address that it speaks of.
    pub const fn target(&self) -> Ipv6Addr {
        match self {
            Self::Solicitation { target, .. } | Self::Advertisement { target, .. } => *target,
        }
    }

    /// Reads a message; options other than the link-layer address are skipped. The checksum is the caller's
    /// ([`ipv6::upper_layer_checksum`]).
    /// Errors: Another type or code, or an option that cannot be (RFC 4861 sections 7.1.1, 7.1.2).
    pub fn parse(message: &[u8]) -> Result<Self, Error> {
        let message = at_least(message, HEADER_LEN)?;
        let (kind, code) = (message[field::TYPE], message[field::CODE]);
        let wanted = match (kind, code) {
            (SOLICITATION, 0) => SOURCE_LINK_LAYER,
            (ADVERTISEMENT, 0) => TARGET_LINK_LAYER,
            _ => return Err(Error::Not("a neighbour solicitation or advertisement")),
        };
        let flags = message[field::FLAGS];
        let target = array::<16>(message, field::TARGET).into();
        let mac = link_layer(&message[HEADER_LEN..], wanted)?;
        Ok(if kind == SOLICITATION {
            Self::Solicitation { target, source_mac: mac }
        } else {
            Self::Advertisement {
                router: flags & flag::ROUTER != 0,
                solicited: flags & flag::SOLICITED != 0,
                override_: flags & flag::OVERRIDE != 0,
                target,
                target_mac: mac,
            }
        })
    }

    /// Bytes of the message.
    pub const fn buffer_len(&self) -> usize {
        match self {
            Self::Solicitation { source_mac: mac, .. }
            | Self::Advertisement { target_mac: mac, .. } => {
                if mac.is_some() {
                    HEADER_LEN + OPTION_LEN
                } else {
                    HEADER_LEN
                }
            }
        }
    }

    /// Writes the message, with its checksum for these IPv6 addresses, to exactly [`Self::buffer_len`] bytes.
    pub fn emit(&self, message: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
        message.fill(0);
        let (kind, flags, option, mac) = match *self {
            Self::Solicitation { source_mac, .. } => {
                (SOLICITATION, 0, SOURCE_LINK_LAYER, source_mac)
            }
            Self::Advertisement { router, solicited, override_, target_mac, .. } => {
                let flag = |set: bool, flag: u8| if set { flag } else { 0 };
                let flags = flag(router, flag::ROUTER)
                    | flag(solicited, flag::SOLICITED)
                    | flag(override_, flag::OVERRIDE);
                (ADVERTISEMENT, flags, TARGET_LINK_LAYER, target_mac)
            }
        };
        message[field::TYPE] = kind;
        message[field::FLAGS] = flags;
        message[field::TARGET..][..16].copy_from_slice(&self.target().octets());
        if let Some(mac) = mac {
            // Its length is counted in units of eight bytes.
            message[HEADER_LEN..][..2].copy_from_slice(&[option, 1]);
            message[HEADER_LEN + 2..][..6].copy_from_slice(&mac);
        }
        let sum = ipv6::upper_layer_checksum(source, destination, IPPROTO_ICMPV6, message);
        message[field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The Ethernet address in the first option of a type.
fn link_layer(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, Error> {
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 {
            return Err(Error::Not("an option of possible length"));
        }
        let option = &at_least(options, len)?[..len];
        if kind == wanted && len == OPTION_LEN {
            return Ok(Some(array(option, 2)));
        }
        options = &options[len..];
    }
    Ok(None)
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let tail = [0xff, a, b, c];
    let [high, low] = [[tail[0], tail[1]], [tail[2], tail[3]]].map(u16::from_be_bytes);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// An unsolicited neighbour advertisement for an address, from that address to all nodes, as keepalived sends it.
pub fn unsolicited_frame(mac: Mac, address: Ipv6Addr, router: bool) -> Box<[u8]> {
    frame(mac, address, ALL_NODES, &Repr::unsolicited(mac, address, router))
}

/// A question for an address that claims nothing. It is asked from another address of the interface, if there is one:
/// then that is answered alone. From nobody in particular it is one of duplicate address detection (RFC 4862 section
/// 5.4.2), and who has the address answers to all nodes, which thereupon send to him (RFC 4861 section 7.2.5).
pub fn probe_frame(mac: Mac, from: Option<Ipv6Addr>, address: Ipv6Addr) -> Box<[u8]> {
    let Some(from) = from else {
        let message = Repr::Solicitation { target: address, source_mac: None };
        return frame(mac, Ipv6Addr::UNSPECIFIED, solicited_node(address), &message);
    };
    solicitation_frame(mac, from, address)
}

/// A question for an address of somebody who has one and says where (RFC 4861 section 4.3).
pub fn solicitation_frame(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Box<[u8]> {
    let message = Repr::Solicitation { target, source_mac: Some(mac) };
    frame(mac, source, solicited_node(target), &message)
}

/// A message to a group in a frame.
fn frame(mac: Mac, source: Ipv6Addr, group: Ipv6Addr, message: &Repr) -> Box<[u8]> {
    let len = message.buffer_len();
    let mut frame = vec![0; ethernet::HEADER_LEN + ipv6::HEADER_LEN + len];
    let (destination, ethertype) = (ethernet::multicast(group.into()), ETHERTYPE_IPV6);
    ethernet::Repr { destination, source: mac, ethertype }.emit(&mut frame);
    ipv6::Repr {
        traffic_class: 0,
        hop_limit: HOP_LIMIT,
        next_header: IPPROTO_ICMPV6,
        source,
        destination: group,
        payload_len: u16::try_from(len).unwrap_or(u16::MAX),
    }
    .emit(&mut frame[ethernet::HEADER_LEN..]);
    message.emit(&mut frame[ethernet::HEADER_LEN + ipv6::HEADER_LEN..], source, group);
    frame.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// Sent by keepalived 2.2.7.
    #[test]
    fn golden_unsolicited_advertisement() {
        #[rustfmt::skip]
        let golden = [
            0x33, 0x33, 0, 0, 0, 1,  2, 0, 0, 0, 0, 1,  0x86, 0xdd,
            // version 6; 32 bytes, ICMPv6, hop limit 255
            0x60, 0, 0, 0,  0, 32, 58, 255,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0x01, 0x00,
            0xff, 0x02, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 1,
            // neighbour advertisement, checksum, override
            136, 0, 0xf7, 0x2c,  0x20, 0, 0, 0,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0x01, 0x00,
            // target link-layer address
            2, 1,  2, 0, 0, 0, 0, 1,
        ];
        let frame = unsolicited_frame(MAC, address("2001:db8::100"), false);
        assert_eq!(*frame, golden);
        assert_eq!(unsolicited_frame(MAC, address("2001:db8::100"), true)[58], 0xa0);
    }

    #[test]
    fn a_probe_claims_nothing() {
        let vip = address("2001:db8::aabb:ccdd");
        let frame = probe_frame(MAC, None, vip);
        let (ethernet, packet) = ethernet::Repr::parse(&frame).unwrap();
        assert_eq!(ethernet.destination, [0x33, 0x33, 0xff, 0xbb, 0xcc, 0xdd]);
        let (ip, message) = ipv6::Repr::parse(packet).unwrap();
        assert_eq!((ip.source, ip.hop_limit), (Ipv6Addr::UNSPECIFIED, 255));
        assert_eq!(ip.destination, address("ff02::1:ffbb:ccdd"));
        let asked = Repr::Solicitation { target: vip, source_mac: None };
        assert_eq!(Repr::parse(message), Ok(asked));
        assert_eq!(ipv6::upper_layer_checksum(ip.source, ip.destination, 58, message), 0);
        // From somebody, who alone is answered then.
        let own = address("fe80::1");
        let frame = probe_frame(MAC, Some(own), vip);
        let (_, packet) = ethernet::Repr::parse(&frame).unwrap();
        let (ip, message) = ipv6::Repr::parse(packet).unwrap();
        assert_eq!((ip.source, ip.destination), (own, address("ff02::1:ffbb:ccdd")));
        let asked = Repr::Solicitation { target: vip, source_mac: Some(MAC) };
        assert_eq!(Repr::parse(message), Ok(asked));
        assert_eq!(ipv6::upper_layer_checksum(ip.source, ip.destination, 58, message), 0);
    }

    #[test]
    fn impossible_options_are_refused() {
        let mut message = [0; 32];
        let (source, group) = (address("fe80::1"), ALL_NODES);
        Repr::unsolicited(MAC, source, false).emit(&mut message, source, group);
        for (at, value) in [(0, 134), (1, 1), (25, 0), (25, 2)] {
            let mut bad = message;
            bad[at] = value;
            assert!(Repr::parse(&bad).is_err(), "byte {at}");
        }
        // An option that is not ours to know.
        message[24] = 14;
        let Ok(Repr::Advertisement { target_mac: None, .. }) = Repr::parse(&message) else {
            panic!("skipped")
        };
    }

    fn reprs() -> impl Strategy<Value = Repr> {
        let mac = any::<Option<Mac>>();
        (any::<[bool; 4]>(), any::<[u8; 16]>(), mac).prop_map(|(flags, target, mac)| {
            let [solicitation, router, solicited, override_] = flags;
            let target = target.into();
            if solicitation {
                Repr::Solicitation { target, source_mac: mac }
            } else {
                Repr::Advertisement { router, solicited, override_, target, target_mac: mac }
            }
        })
    }

    proptest! {
        #[test]
        fn round_trip(repr in reprs(), source: [u8; 16], destination: [u8; 16]) {
            let (source, destination) = (source.into(), destination.into());
            let mut message = vec![0xaa; repr.buffer_len()];
            repr.emit(&mut message, source, destination);
            prop_assert_eq!(Repr::parse(&message), Ok(repr));
            prop_assert_eq!(ipv6::upper_layer_checksum(source, destination, 58, &message), 0);
        }

        #[test]
        fn parse_is_total(mut message in proptest::collection::vec(any::<u8>(), 0..80), plausible: bool) {
            if let (true, [kind, code, ..]) = (plausible, &mut message[..]) {
                (*kind, *code) = (135 + *kind % 2, 0);
            }
            let _ = Repr::parse(&message);
        }
    }
}
