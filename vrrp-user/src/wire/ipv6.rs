//! IPv6 headers (RFC 8200 section 3), without extension headers.

use std::net::Ipv6Addr;

pub use vrrp_common::parse::IPV6_HEADER_LEN as HEADER_LEN;

use super::{Error, array, at_least, checksum};

mod field {
    pub const VERSION_CLASS: usize = 0;
    pub const PAYLOAD_LEN: usize = 4;
    pub const NEXT_HEADER: usize = 6;
    pub const HOP_LIMIT: usize = 7;
    pub const SOURCE: usize = 8;
    pub const DESTINATION: usize = 24;
}

/// An IPv6 header. The flow label is written as zero and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Traffic class.
    pub traffic_class: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Protocol of the payload.
    pub next_header: u8,
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// Bytes of the payload.
    pub payload_len: u16,
}

impl Repr {
    /// Reads a header; the payload is the second value. An extension header is part of the payload.
    /// Errors: Another version, or a packet that ends before its payload does.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8]), Error> {
        let packet = at_least(packet, HEADER_LEN)?;
        if packet[field::VERSION_CLASS] >> 4 != 6 {
            return Err(Error::Not("IPv6"));
        }
        let payload_len = u16::from_be_bytes(array(packet, field::PAYLOAD_LEN));
        let end = HEADER_LEN + usize::from(payload_len);
        let payload = &at_least(packet, end)?[HEADER_LEN..end];
        let [first, second] = array(packet, field::VERSION_CLASS);
        let (source, destination) = addresses(packet);
        let repr = Self {
            traffic_class: first << 4 | second >> 4,
            hop_limit: packet[field::HOP_LIMIT],
            next_header: packet[field::NEXT_HEADER],
            source,
            destination,
            payload_len,
        };
        Ok((repr, payload))
    }

    /// Writes the header to the first [`HEADER_LEN`] bytes, which must be there.
    pub fn emit(&self, packet: &mut [u8]) {
        let header = &mut packet[..HEADER_LEN];
        header.fill(0);
        header[field::VERSION_CLASS] = 0x60 | self.traffic_class >> 4;
        header[field::VERSION_CLASS + 1] = self.traffic_class << 4;
        header[field::PAYLOAD_LEN..][..2].copy_from_slice(&self.payload_len.to_be_bytes());
        header[field::NEXT_HEADER] = self.next_header;
        header[field::HOP_LIMIT] = self.hop_limit;
        header[field::SOURCE..][..16].copy_from_slice(&self.source.octets());
        header[field::DESTINATION..][..16].copy_from_slice(&self.destination.octets());
    }
}

/// Source and destination in a header.
pub fn addresses(packet: &[u8]) -> (Ipv6Addr, Ipv6Addr) {
    (array::<16>(packet, field::SOURCE).into(), array::<16>(packet, field::DESTINATION).into())
}

/// The checksum of an upper-layer message over the pseudo-header as well (RFC 8200 section 8.1); 0 over a message
/// that contains its own correct one.
pub fn upper_layer_checksum(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    message: &[u8],
) -> u16 {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let (source, destination) = (source.octets(), destination.octets());
    checksum::internet(&[&source, &destination, &len, &[0, 0, 0, next_header], message])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden() {
        #[rustfmt::skip]
        let header = [
            // version 6, class c0; 24 bytes, VRRP, hop limit 255
            0x6c, 0, 0, 0,  0, 24, 112, 255,
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x01,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12,
        ];
        let repr = Repr {
            traffic_class: 0xc0,
            hop_limit: 255,
            next_header: 112,
            source: "fe80::ff:fe00:1".parse().unwrap(),
            destination: "ff02::12".parse().unwrap(),
            payload_len: 24,
        };
        let mut written = [0xaa; HEADER_LEN];
        repr.emit(&mut written);
        assert_eq!(written, header);
    }

    proptest! {
        #[test]
        fn round_trip(
            traffic_class: u8, hop_limit: u8, next_header: u8, source: [u8; 16], destination: [u8; 16],
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            padding in 0usize..8,
        ) {
            let repr = Repr {
                traffic_class, hop_limit, next_header,
                source: source.into(),
                destination: destination.into(),
                payload_len: u16::try_from(payload.len()).unwrap(),
            };
            let mut packet = vec![0xaa; HEADER_LEN];
            repr.emit(&mut packet);
            packet.extend(&payload);
            packet.extend(vec![0; padding]);
            prop_assert_eq!(Repr::parse(&packet), Ok((repr, &payload[..])));
            for len in 0..HEADER_LEN + payload.len() {
                prop_assert!(Repr::parse(&packet[..len]).is_err());
            }
        }

        #[test]
        fn parse_is_total(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Repr::parse(&packet);
        }
    }
}
