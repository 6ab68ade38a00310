//! Ethernet II headers.

use std::fmt;
use std::net::IpAddr;

pub use vrrp_common::parse::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN,
};

use super::{Error, array, at_least};

/// A MAC address.
pub type Mac = [u8; 6];

/// A MAC address as people write it: `02:00:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colons(pub Mac);

impl fmt::Display for Colons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// All stations.
pub const BROADCAST: Mac = [0xff; 6];
/// The group MAC of 224.0.0.18 (RFC 1112 section 6.4).
pub const VRRP_MULTICAST: Mac = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];
/// The group MAC of ff02::12 (RFC 2464 section 7).
pub const VRRP_MULTICAST_V6: Mac = [0x33, 0x33, 0x00, 0x00, 0x00, 0x12];
/// Bytes of the header.
pub const HEADER_LEN: usize = 14;

mod field {
    pub const DESTINATION: usize = 0;
    pub const SOURCE: usize = 6;
    pub const ETHERTYPE: usize = 12;
}

/// The MAC of a multicast group (RFC 1112 section 6.4, RFC 2464 section 7).
pub const fn multicast(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Destination.
    pub destination: Mac,
    /// Source.
    pub source: Mac,
    /// What follows.
    pub ethertype: u16,
}

impl Repr {
    /// Reads the header; what follows it is the second value.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Error> {
        let frame = at_least(frame, HEADER_LEN)?;
        let repr = Self {
            destination: array(frame, field::DESTINATION),
            source: array(frame, field::SOURCE),
            ethertype: u16::from_be_bytes(array(frame, field::ETHERTYPE)),
        };
        Ok((repr, &frame[HEADER_LEN..]))
    }

    /// Writes the header to the first [`HEADER_LEN`] bytes, which must be there.
    pub fn emit(&self, frame: &mut [u8]) {
        frame[field::DESTINATION..][..6].copy_from_slice(&self.destination);
        frame[field::SOURCE..][..6].copy_from_slice(&self.source);
        frame[field::ETHERTYPE..][..2].copy_from_slice(&self.ethertype.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_addresses() {
        let mac = |group: &str| multicast(group.parse().unwrap());
        assert_eq!(mac("224.0.0.18"), VRRP_MULTICAST);
        // Only 23 bits of an IPv4 group count.
        assert_eq!(mac("239.129.2.81"), [0x01, 0x00, 0x5e, 0x01, 0x02, 0x51]);
        assert_eq!(mac("ff02::12"), VRRP_MULTICAST_V6);
        assert_eq!(mac("ff05::12:fe34:5678"), [0x33, 0x33, 0xfe, 0x34, 0x56, 0x78]);
    }
}
