//! VRRP messages as they are written, and what an advertisement says. How they look is in [`vrrp_common::message`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_common::message::{Header, TYPE_ADVERTISEMENT, auth_len};
use vrrp_common::{IPPROTO_VRRP, VRRP_AUTH_LEN, VRRP_HEADER_LEN};

use super::family::{Family, to_field};
use super::{Error, array, at_least, checksum};
use crate::types::advert::{Advert, AdvertInterval, Priority, Version};
use crate::types::id::Vrid;
use crate::types::time::Nanos;

mod field {
    pub const VERSION_TYPE: usize = 0;
    pub const VRID: usize = 1;
    pub const PRIORITY: usize = 2;
    pub const COUNT: usize = 3;
    /// Version 2: authentication type, then interval. Version 3: reserved bits, and twelve of interval.
    pub const AUTH_TYPE: usize = 4;
    pub const CHECKSUM: usize = 6;
    pub const ADDRESSES: usize = 8;
}

/// Version 2 authentication; version 3 has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Type 0: eight zero bytes.
    #[default]
    None,
    /// Type 1: the password, padded with zeros.
    Password([u8; VRRP_AUTH_LEN]),
    /// Type 2: eight zero bytes, and an authentication header in front of the message ([`super::ah`]).
    Header,
}

/// What an advertisement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr<'a> {
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Priority.
    pub priority: Priority,
    /// Interval; also tells the version.
    pub interval: AdvertInterval,
    /// Addresses of one family, at most 255.
    pub addresses: &'a [IpAddr],
    /// Authentication; not used by version 3.
    pub auth: Auth,
}

/// Length of a message without its addresses, bytes.
pub const fn fixed_len(version: Version) -> usize {
    VRRP_HEADER_LEN + auth_len(version.number())
}

impl Repr<'_> {
    /// Bytes of the message. Fails when there are too many addresses to count.
    pub fn buffer_len(&self) -> Result<usize, Error> {
        if self.addresses.len() > u8::MAX.into() {
            return Err(Error::TooManyAddresses(self.addresses.len()));
        }
        Ok(fixed_len(self.interval.version()) + self.list_len())
    }

    /// Bytes of the addresses.
    fn list_len(&self) -> usize {
        let len = |address: &IpAddr| if address.is_ipv4() { 4 } else { 16 };
        self.addresses.iter().map(len).sum()
    }

    /// Writes the message to a buffer of exactly [`Self::buffer_len`] bytes. The checksum is left to
    /// [`fill_checksum`].
    pub fn emit(&self, message: &mut [u8]) {
        let (version, auth_type_and_interval) = match self.interval {
            AdvertInterval::Secs(secs) => {
                let auth_type = match self.auth {
                    Auth::None => 0,
                    Auth::Password(_) => 1,
                    Auth::Header => vrrp_common::ah::AUTH_TYPE,
                };
                (2, [auth_type, secs])
            }
            AdvertInterval::Centisecs(centisecs) => (3, (centisecs.0 & 0x0fff).to_be_bytes()),
        };
        message.fill(0);
        message[field::VERSION_TYPE] = version << 4 | TYPE_ADVERTISEMENT;
        message[field::VRID] = self.vrid.get();
        message[field::PRIORITY] = self.priority.0;
        message[field::COUNT] = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        message[field::AUTH_TYPE..][..2].copy_from_slice(&auth_type_and_interval);
        let (mut list, rest) = message[field::ADDRESSES..].split_at_mut(self.list_len());
        for address in self.addresses {
            let bytes: &[u8] = match address {
                IpAddr::V4(address) => &address.octets(),
                IpAddr::V6(address) => &address.octets(),
            };
            let (place, next) = list.split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            list = next;
        }
        if let (Version::V2, Auth::Password(password)) = (self.interval.version(), self.auth) {
            rest.copy_from_slice(&password);
        }
    }
}

/// The priority in a message.
pub fn priority(message: &[u8]) -> Priority {
    Priority(message[field::PRIORITY])
}

/// Changes the priority in a message; [`fill_checksum`] must follow.
pub fn set_priority(message: &mut [u8], priority: Priority) {
    message[field::PRIORITY] = priority.0;
}

/// Takes the checksum out of a message; [`fill_checksum`] must follow.
pub fn clear_checksum(message: &mut [u8]) {
    message[field::CHECKSUM..][..2].fill(0);
}

/// Computes the checksum of a message, over the pseudo-header too where it is given: version 3 over IPv6, and over
/// IPv4 as RFC 5798 section 5.2.8 has it. Version 2 and, over IPv4, RFC 9568 section 5.2.8 go without.
pub fn fill_checksum(message: &mut [u8], pseudo: Option<(IpAddr, IpAddr)>) {
    message[field::CHECKSUM..][..2].fill(0);
    let sum = sum(message, pseudo);
    message[field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
}

/// 0 over a message that contains its own correct checksum.
pub(super) fn sum(message: &[u8], pseudo: Option<(IpAddr, IpAddr)>) -> u16 {
    let Some((source, destination)) = pseudo else { return checksum::internet(&[message]) };
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
    // Zeros on the side of an IPv4 address do not change the sum.
    let (source, destination) = (to_field(source), to_field(destination));
    checksum::internet(&[&source, &destination, &[0, IPPROTO_VRRP], &len, message])
}

/// Reads an advertisement that passed the receive checks; the source tells the address family.
///
/// The checks are not repeated, except as far as needed to be right about any bytes. Bytes behind the
/// message are ignored.
pub fn parse_advert(source: IpAddr, version: Version, payload: &[u8]) -> Result<Advert, Error> {
    let header = Header(array(at_least(payload, VRRP_HEADER_LEN)?, 0));
    let number = version.number();
    if header.version() != number {
        return Err(Error::Version(header.version()));
    }
    if header.message_type() != TYPE_ADVERTISEMENT {
        return Err(Error::Not("a VRRP advertisement"));
    }
    if header.lacks_addresses(number) {
        return Err(Error::NoAddresses);
    }
    let interval = AdvertInterval::from_field(version, header.interval(number));
    if interval.duration() == Nanos::ZERO {
        return Err(Error::ZeroInterval);
    }
    let family = Family::of(source);
    let end = header.addresses_end(family.address_len());
    at_least(payload, end + auth_len(number))?;
    let addresses = addresses(family, &payload[VRRP_HEADER_LEN..end], header.count());
    Ok(Advert { source, priority: Priority(header.priority()), interval, addresses })
}

/// The addresses in a list, as many as are whole and at most `count`.
pub fn addresses(family: Family, list: &[u8], count: usize) -> Vec<IpAddr> {
    match family {
        Family::V4 => {
            list.as_chunks::<4>().0.iter().take(count).map(|a| Ipv4Addr::from(*a).into()).collect()
        }
        Family::V6 => {
            list.as_chunks::<16>().0.iter().take(count).map(|a| Ipv6Addr::from(*a).into()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::time::Centisecs;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5));

    #[test]
    fn each_defect_has_its_error() {
        let good = [0x31, 51, 100, 1, 0xf0, 100, 0, 0, 192, 0, 2, 1];
        let parse = |bytes: &[u8]| parse_advert(SOURCE, Version::V3, bytes);
        let advert = parse(&good).unwrap();
        assert_eq!(advert.interval, AdvertInterval::Centisecs(Centisecs(100)), "reserved bits");
        assert_eq!(advert.addresses, [IpAddr::from([192, 0, 2, 1])]);
        assert_eq!(parse(&good[..7]), Err(Error::Truncated { need: 8, have: 7 }));
        assert_eq!(parse(&good[..11]), Err(Error::Truncated { need: 12, have: 11 }));
        let mut bad = good;
        bad[0] = 0x21;
        assert_eq!(parse(&bad), Err(Error::Version(2)));
        assert_eq!(
            parse_advert(SOURCE, Version::V2, &bad),
            Err(Error::Truncated { need: 20, have: 12 }),
            "version 2 always has authentication bytes"
        );
        bad[0] = 0x32;
        assert_eq!(parse(&bad), Err(Error::Not("a VRRP advertisement")));
        bad = good;
        bad[3] = 0;
        assert_eq!(parse(&bad), Err(Error::NoAddresses));
        let empty = [0x21, 7, 100, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let advert = parse_advert(SOURCE, Version::V2, &empty).unwrap();
        assert_eq!(advert.addresses, [""; 0].map(|_: &str| SOURCE), "version 2 need not have any");
        bad = good;
        bad[5] = 0;
        assert_eq!(parse(&bad), Err(Error::ZeroInterval));
    }

    #[test]
    fn ipv6_addresses_are_longer() {
        let mut message = vec![0x31, 51, 100, 1, 0, 100, 0, 0];
        let source: IpAddr = "fe80::5".parse().unwrap();
        let first: Ipv6Addr = "fe80::1".parse().unwrap();
        message.extend(first.octets());
        let advert = parse_advert(source, Version::V3, &message).unwrap();
        assert_eq!(advert.addresses, [IpAddr::V6(first)]);
        assert!(parse_advert(source, Version::V3, &message[..23]).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(
            vrid in 1u8..=255, priority: u8, seconds in 1u8..=255, centisecs in 1u16..=4095,
            v2: bool, addresses in proptest::collection::vec(any::<[u8; 4]>(), 1..=255),
            password: Option<[u8; 8]>, pseudo: Option<([u8; 4], [u8; 4])>,
        ) {
            let interval = if v2 {
                AdvertInterval::Secs(seconds)
            } else {
                AdvertInterval::Centisecs(Centisecs(centisecs))
            };
            let list: Vec<_> = addresses.iter().copied().map(IpAddr::from).collect();
            let repr = Repr {
                vrid: Vrid::new(vrid).unwrap(),
                priority: Priority(priority),
                interval,
                addresses: &list,
                auth: password.map_or(Auth::None, Auth::Password),
            };
            let pseudo = pseudo.map(|(source, destination)| (source.into(), destination.into()));
            let mut bytes = vec![0xaa; repr.buffer_len().unwrap()];
            repr.emit(&mut bytes);
            fill_checksum(&mut bytes, pseudo);
            prop_assert_eq!(sum(&bytes, pseudo), 0);
            prop_assert_eq!(Header(array(&bytes, 0)).vrid(), vrid);
            let advert = parse_advert(SOURCE, interval.version(), &bytes).unwrap();
            prop_assert_eq!(advert, Advert {
                source: SOURCE,
                priority: Priority(priority),
                interval,
                addresses: addresses.into_iter().map(IpAddr::from).collect(),
            });
        }

        #[test]
        fn round_trip_of_ipv6(
            vrid in 1u8..=255, priority: u8, centisecs in 1u16..=4095,
            source: [u8; 16], destination: [u8; 16],
            addresses in proptest::collection::vec(any::<[u8; 16]>(), 1..=90),
        ) {
            let interval = AdvertInterval::Centisecs(Centisecs(centisecs));
            let list: Vec<_> = addresses.into_iter().map(IpAddr::from).collect();
            let repr = Repr {
                vrid: Vrid::new(vrid).unwrap(),
                priority: Priority(priority),
                interval,
                addresses: &list,
                auth: Auth::None,
            };
            let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
            let mut bytes = vec![0xaa; repr.buffer_len().unwrap()];
            repr.emit(&mut bytes);
            fill_checksum(&mut bytes, Some((source.into(), destination.into())));
            let sum = crate::wire::ipv6::upper_layer_checksum(source, destination, 112, &bytes);
            prop_assert_eq!(sum, 0);
            let advert = parse_advert(source.into(), Version::V3, &bytes).unwrap();
            let priority = Priority(priority);
            prop_assert_eq!(advert, Advert {
                source: source.into(), priority, interval, addresses: list,
            });
        }

        #[test]
        fn parse_is_total(
            mut payload in proptest::collection::vec(any::<u8>(), 0..200), v2: bool, v6: bool,
            plausible: bool,
        ) {
            let version = if v2 { Version::V2 } else { Version::V3 };
            let source = if v6 { "fe80::1".parse().unwrap() } else { SOURCE };
            if plausible && payload.len() >= 8 {
                payload[0] = if v2 { 0x21 } else { 0x31 };
                payload[3] %= 40;
            }
            if let Ok(advert) = parse_advert(source, version, &payload) {
                prop_assert_eq!(advert.addresses.len(), usize::from(payload[3]));
            }
        }
    }
}
