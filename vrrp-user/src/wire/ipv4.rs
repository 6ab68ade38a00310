//! IPv4 headers (RFC 791): reading any, writing those without options.

use std::net::Ipv4Addr;

use super::{Error, array, at_least, checksum};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;

mod field {
    pub const VERSION_IHL: usize = 0;
    pub const TOS: usize = 1;
    pub const TOTAL_LEN: usize = 2;
    pub const IDENT: usize = 4;
    pub const FLAGS_FRAGMENT: usize = 6;
    pub const TTL: usize = 8;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: usize = 10;
    pub const SOURCE: usize = 12;
    pub const DESTINATION: usize = 16;
}

/// An IPv4 header, of a packet that is not fragmented and may be (DF clear).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
    /// Octets of the payload.
    pub payload_len: u16,
}

impl Repr {
    /// Reads a header, skipping options; the payload is the second value.
    ///
    /// Fails also on a wrong header checksum and on fragments.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8]), Error> {
        let packet = at_least(packet, HEADER_LEN)?;
        if packet[field::VERSION_IHL] >> 4 != 4 {
            return Err(Error::Not("IPv4"));
        }
        let header_len = usize::from(packet[field::VERSION_IHL] & 0x0f) * 4;
        let total_len = u16::from_be_bytes(array(packet, field::TOTAL_LEN));
        if header_len < HEADER_LEN || usize::from(total_len) < header_len {
            return Err(Error::Not("a possible IPv4 header length"));
        }
        let packet = &at_least(packet, total_len.into())?[..total_len.into()];
        if checksum::internet(&[&packet[..header_len]]) != 0 {
            return Err(Error::Not("a correct IPv4 header checksum"));
        }
        if u16::from_be_bytes(array(packet, field::FLAGS_FRAGMENT)) & 0x3fff != 0 {
            return Err(Error::Not("a whole IPv4 packet"));
        }
        let payload = &packet[header_len..];
        let repr = Self {
            tos: packet[field::TOS],
            ident: u16::from_be_bytes(array(packet, field::IDENT)),
            ttl: packet[field::TTL],
            protocol: packet[field::PROTOCOL],
            source: array::<4>(packet, field::SOURCE).into(),
            destination: array::<4>(packet, field::DESTINATION).into(),
            payload_len: total_len - u16::from(packet[field::VERSION_IHL] & 0x0f) * 4,
        };
        Ok((repr, payload))
    }

    /// Writes the header with its checksum to the first [`HEADER_LEN`] octets, which must be there.
    pub fn emit(&self, packet: &mut [u8]) {
        let header = &mut packet[..HEADER_LEN];
        let total_len = self.payload_len.saturating_add(20);
        header[field::VERSION_IHL] = 0x45;
        header[field::TOS] = self.tos;
        header[field::TOTAL_LEN..][..2].copy_from_slice(&total_len.to_be_bytes());
        header[field::IDENT..][..2].copy_from_slice(&self.ident.to_be_bytes());
        header[field::FLAGS_FRAGMENT..][..2].fill(0);
        header[field::TTL] = self.ttl;
        header[field::PROTOCOL] = self.protocol;
        header[field::SOURCE..][..4].copy_from_slice(&self.source.octets());
        header[field::DESTINATION..][..4].copy_from_slice(&self.destination.octets());
        fill_checksum(header);
    }
}

/// The identification in a header.
pub fn ident(packet: &[u8]) -> u16 {
    u16::from_be_bytes(array(packet, field::IDENT))
}

/// Source and destination in a header.
pub fn addresses(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    (array::<4>(packet, field::SOURCE).into(), array::<4>(packet, field::DESTINATION).into())
}

/// Changes the identification in a header without options.
pub fn set_ident(packet: &mut [u8], ident: u16) {
    packet[field::IDENT..][..2].copy_from_slice(&ident.to_be_bytes());
    fill_checksum(&mut packet[..HEADER_LEN]);
}

fn fill_checksum(header: &mut [u8]) {
    header[field::CHECKSUM..][..2].fill(0);
    let sum = checksum::internet(&[header]);
    header[field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(
            tos: u8, ident: u16, ttl: u8, protocol: u8, source: [u8; 4], destination: [u8; 4],
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            padding in 0usize..8,
        ) {
            let repr = Repr {
                tos, ident, ttl, protocol,
                source: source.into(),
                destination: destination.into(),
                payload_len: u16::try_from(payload.len()).unwrap(),
            };
            let mut packet = vec![0xaa; HEADER_LEN];
            repr.emit(&mut packet);
            packet.extend(&payload);
            packet.extend(vec![0; padding]);
            prop_assert_eq!(Repr::parse(&packet), Ok((repr, &payload[..])));
            packet[usize::from(ttl) % HEADER_LEN] ^= 1;
            prop_assert!(Repr::parse(&packet).is_err(), "the checksum covers each octet");
        }

        #[test]
        fn parse_is_total(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Repr::parse(&packet);
        }
    }
}
