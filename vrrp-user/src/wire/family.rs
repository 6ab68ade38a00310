//! The two versions of IP, and how the shared maps write their addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_common::{FAMILY_V4, FAMILY_V6, MULTICAST_V4, MULTICAST_V6};

use super::array;

/// An address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, where nothing else is said.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The number in the shared maps.
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => FAMILY_V4,
            Self::V6 => FAMILY_V6,
        }
    }

    /// By its number in the shared maps; what is not IPv4 is taken for IPv6.
    pub const fn from_number(number: u8) -> Self {
        if number == FAMILY_V4 { Self::V4 } else { Self::V6 }
    }

    /// Bytes of an address.
    pub const fn address_len(self) -> usize {
        match self {
            Self::V4 => size_of::<Ipv4Addr>(),
            Self::V6 => size_of::<Ipv6Addr>(),
        }
    }

    /// In JSON: `ipv4` or `ipv6`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// By its name in JSON; what is not IPv6 is taken for IPv4.
    pub fn from_label(label: &str) -> Self {
        if label == Self::V6.label() { Self::V6 } else { Self::V4 }
    }

    /// The VRRP group.
    pub const fn group(self) -> IpAddr {
        match self {
            Self::V4 => {
                let [a, b, c, d] = MULTICAST_V4;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Self::V6 => IpAddr::V6(Ipv6Addr::from_octets(MULTICAST_V6)),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address out of a field that has room for either; an IPv4 address stands in the first four bytes.
pub fn from_field(family: u8, field: [u8; 16]) -> IpAddr {
    match Family::from_number(family) {
        Family::V4 => array::<4>(&field, 0).into(),
        Family::V6 => field.into(),
    }
}

/// An address in a field that has room for either.
pub fn to_field(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut field = [0; 16];
            field[..4].copy_from_slice(&address.octets());
            field
        }
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_hold_both() {
        for text in ["10.0.0.1", "255.255.255.255", "fe80::1", "::"] {
            let address: IpAddr = text.parse().unwrap();
            let family = Family::of(address);
            assert_eq!(from_field(family.number(), to_field(address)), address);
            assert_eq!(Family::from_number(family.number()), family);
            assert_eq!(Family::from_label(family.label()), family);
        }
        assert_eq!(
            [Family::V4, Family::V6].map(|f| f.group().to_string()),
            ["224.0.0.18", "ff02::12"]
        );
    }
}
