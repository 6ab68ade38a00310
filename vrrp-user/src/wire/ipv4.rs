//! IPv4 headers (RFC 791): reading any, writing those without options.

use std::net::Ipv4Addr;

use vrrp_common::parse::IPV4_FRAGMENT;
pub use vrrp_common::parse::IPV4_HEADER_LEN as HEADER_LEN;

use super::{Error, array, at_least, checksum};

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

/// Don't Fragment, in the field of the flags (RFC 791 section 3.1).
const DONT_FRAGMENT: u16 = 0x4000;

/// An IPv4 header, of a packet that is not fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// Whether nobody on the way may fragment it (DF).
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
    /// Bytes of the payload.
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
        let flags = u16::from_be_bytes(array(packet, field::FLAGS_FRAGMENT));
        if flags & IPV4_FRAGMENT != 0 {
            return Err(Error::Not("a whole IPv4 packet"));
        }
        let payload = &packet[header_len..];
        let repr = Self {
            tos: packet[field::TOS],
            ident: u16::from_be_bytes(array(packet, field::IDENT)),
            dont_fragment: flags & DONT_FRAGMENT != 0,
            ttl: packet[field::TTL],
            protocol: packet[field::PROTOCOL],
            source: array::<4>(packet, field::SOURCE).into(),
            destination: array::<4>(packet, field::DESTINATION).into(),
            payload_len: total_len - u16::from(packet[field::VERSION_IHL] & 0x0f) * 4,
        };
        Ok((repr, payload))
    }

    /// Writes the header with its checksum to the first [`HEADER_LEN`] bytes, which must be there.
    pub fn emit(&self, packet: &mut [u8]) {
        let header = &mut packet[..HEADER_LEN];
        let total_len = self.payload_len.saturating_add(20);
        header[field::VERSION_IHL] = 0x45;
        header[field::TOS] = self.tos;
        header[field::TOTAL_LEN..][..2].copy_from_slice(&total_len.to_be_bytes());
        header[field::IDENT..][..2].copy_from_slice(&self.ident.to_be_bytes());
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        header[field::FLAGS_FRAGMENT..][..2].copy_from_slice(&flags.to_be_bytes());
        header[field::TTL] = self.ttl;
        header[field::PROTOCOL] = self.protocol;
        header[field::SOURCE..][..4].copy_from_slice(&self.source.octets());
        header[field::DESTINATION..][..4].copy_from_slice(&self.destination.octets());
        fill_checksum(header);
    }
}

/// Identifications for what is sent: those of one source follow each other, whichever of its routers sends, so that two
/// packets have the same one only after 65,535 others (RFC 6864 section 4.3). As in the kernel (`ip_idents_reserve`,
/// net/ipv4/route.c) sources share a counter at times, which does no harm.
#[derive(Debug)]
pub struct Idents([u16; Self::COUNTERS]);

impl Idents {
    const COUNTERS: usize = 256;

    /// Counters that begin here, at a number that differs from start to start.
    pub fn new(begin: u16) -> Self {
        Self([begin; Self::COUNTERS])
    }

    /// Which counter is that of a source.
    pub fn counter(source: Ipv4Addr) -> u8 {
        let [a, b, c, d] = source.octets();
        // Sources of one host differ in any of these.
        a ^ b.rotate_left(3) ^ c.rotate_left(5) ^ d
    }

    /// The next one of a counter.
    pub fn next(&mut self, counter: u8) -> u16 {
        let ident = &mut self.0[usize::from(counter)];
        *ident = ident.wrapping_add(1);
        *ident
    }
}

/// Source and destination in a header.
pub fn addresses(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    (array::<4>(packet, field::SOURCE).into(), array::<4>(packet, field::DESTINATION).into())
}

/// Clears what may change on the way of a packet (RFC 2402 section 3.3.3.1.1.1): type of service, flags and fragment offset, and the
/// checksum; the TTL too if it is to change. Of a header that is there.
pub fn clear_mutable(header: &mut [u8], ttl: bool) {
    header[field::TOS] = 0;
    header[field::FLAGS_FRAGMENT..][..2].fill(0);
    header[field::CHECKSUM..][..2].fill(0);
    if ttl {
        header[field::TTL] = 0;
    }
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

    #[test]
    fn identifications_of_a_source_follow_each_other() {
        let mut idents = Idents::new(u16::MAX - 1);
        let counter = Idents::counter(Ipv4Addr::new(10, 0, 0, 1));
        let seen: Vec<u16> = (0..4).map(|_| idents.next(counter)).collect();
        assert_eq!(seen, [u16::MAX, 0, 1, 2]);
        let other = Idents::counter(Ipv4Addr::new(10, 0, 1, 1));
        assert_eq!((other != counter, idents.next(other)), (true, u16::MAX));
    }

    proptest! {
        #[test]
        fn round_trip(
            tos: u8, ident: u16, dont_fragment: bool, ttl: u8, protocol: u8, source: [u8; 4], destination: [u8; 4],
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            padding in 0usize..8,
        ) {
            let repr = Repr {
                tos, ident, dont_fragment, ttl, protocol,
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
            prop_assert!(Repr::parse(&packet).is_err(), "the checksum covers each byte");
        }

        #[test]
        fn parse_is_total(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Repr::parse(&packet);
        }
    }
}
