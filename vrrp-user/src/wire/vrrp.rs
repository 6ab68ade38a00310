//! VRRP messages: version 2 (RFC 3768 section 5, authentication from RFC 2338 section 5.3) and
//! version 3 (RFC 9568 section 5.2).
//!
//! ```text
//!      0               1               2               3
//!     +-------+-------+---------------+---------------+---------------+
//!     |version|type 1 |     VRID      |   priority    | address count |
//!     +-------+-------+---------------+---------------+---------------+
//!  v2 |   auth type   | interval, s   |            checksum           |
//!  v3 | 0     | interval, centisec.   |            checksum           |
//!     +---------------+---------------+-------------------------------+
//!     |            addresses; version 2 then has 8 octets more        |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_common::{IPPROTO_VRRP, VRRP_AUTH_LEN, VRRP_HEADER_LEN};

use super::family::to_field;
use super::{Error, array, at_least, checksum};
use crate::engine::types::{Advert, AdvertInterval, Priority, Version, Vrid};

/// The only type of message (RFC 9568 section 5.2.2).
const TYPE_ADVERTISEMENT: u8 = 1;

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
    /// Type 0: eight zero octets.
    #[default]
    None,
    /// Type 1: the password, padded with zeros.
    Password([u8; VRRP_AUTH_LEN]),
}

/// A VRRP message that is at least as long as its header.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// Checks the length of the header, nothing else.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, Error> {
        at_least(message, VRRP_HEADER_LEN).map(Self)
    }

    /// Version as a number.
    pub fn version(&self) -> u8 {
        self.0[field::VERSION_TYPE] >> 4
    }

    /// Type of the message.
    pub fn message_type(&self) -> u8 {
        self.0[field::VERSION_TYPE] & 0x0f
    }

    /// Virtual router identifier; `None` for 0, which no router has.
    pub fn vrid(&self) -> Option<Vrid> {
        Vrid::new(self.0[field::VRID])
    }

    /// Priority.
    pub fn priority(&self) -> Priority {
        Priority(self.0[field::PRIORITY])
    }

    /// Number of addresses that the message claims to carry.
    pub fn count(&self) -> usize {
        self.0[field::COUNT].into()
    }

    /// The interval, read as the given version has it. Reserved bits are ignored (RFC 9568 section 5.2.6).
    pub fn interval(&self, version: Version) -> AdvertInterval {
        AdvertInterval::from_field(version, u16::from_be_bytes(array(self.0, field::AUTH_TYPE)))
    }

    /// Whether the checksum is right over the message and, where given, the pseudo-header of this source and
    /// destination.
    pub fn verify_checksum(&self, pseudo: Option<(IpAddr, IpAddr)>) -> bool {
        sum(self.0, pseudo) == 0
    }
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
    match version {
        Version::V2 => VRRP_HEADER_LEN + VRRP_AUTH_LEN,
        Version::V3 => VRRP_HEADER_LEN,
    }
}

impl Repr<'_> {
    /// Octets of the message. Fails when there are too many addresses to count.
    pub fn buffer_len(&self) -> Result<usize, Error> {
        if self.addresses.len() > u8::MAX.into() {
            return Err(Error::TooManyAddresses(self.addresses.len()));
        }
        Ok(fixed_len(self.interval.version()) + self.list_len())
    }

    /// Octets of the addresses.
    fn list_len(&self) -> usize {
        let len = |address: &IpAddr| if address.is_ipv4() { 4 } else { 16 };
        self.addresses.iter().map(len).sum()
    }

    /// Writes the message to a buffer of exactly [`Self::buffer_len`] octets. The checksum is left to
    /// [`fill_checksum`].
    pub fn emit(&self, message: &mut [u8]) {
        let (version, auth_type_and_interval) = match self.interval {
            AdvertInterval::Secs(secs) => {
                let auth_type = match self.auth {
                    Auth::None => 0,
                    Auth::Password(_) => 1,
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
            let octets: &[u8] = match address {
                IpAddr::V4(address) => &address.octets(),
                IpAddr::V6(address) => &address.octets(),
            };
            let (place, next) = list.split_at_mut(octets.len());
            place.copy_from_slice(octets);
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

/// Computes the checksum of a message, over the pseudo-header too where it is given: version 3 over IPv6, and over
/// IPv4 as RFC 5798 section 5.2.8 has it. Version 2 and, over IPv4, RFC 9568 section 5.2.8 go without.
pub fn fill_checksum(message: &mut [u8], pseudo: Option<(IpAddr, IpAddr)>) {
    message[field::CHECKSUM..][..2].fill(0);
    let sum = sum(message, pseudo);
    message[field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
}

fn sum(message: &[u8], pseudo: Option<(IpAddr, IpAddr)>) -> u16 {
    let Some((source, destination)) = pseudo else { return checksum::internet(&[message]) };
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
    // Zeros on the side of an IPv4 address do not change the sum.
    let (source, destination) = (to_field(source), to_field(destination));
    checksum::internet(&[&source, &destination, &[0, IPPROTO_VRRP], &len, message])
}

/// Reads an advertisement that passed the receive checks; the source tells the address family.
///
/// The checks are not repeated, except as far as needed to be right about any octets. Octets behind the
/// message are ignored.
pub fn parse_advert(source: IpAddr, version: Version, payload: &[u8]) -> Result<Advert, Error> {
    let message = Message::new_checked(payload)?;
    let (number, auth_len) = match version {
        Version::V2 => (2, VRRP_AUTH_LEN),
        Version::V3 => (3, 0),
    };
    if message.version() != number {
        return Err(Error::Version(message.version()));
    }
    if message.message_type() != TYPE_ADVERTISEMENT {
        return Err(Error::Not("a VRRP advertisement"));
    }
    // RFC 9568 section 5.2.5; version 2 has no such rule.
    if message.count() == 0 && version == Version::V3 {
        return Err(Error::NoAddresses);
    }
    let interval = message.interval(version);
    if interval.span() == crate::engine::time::Nanos::ZERO {
        return Err(Error::ZeroInterval);
    }
    let address_len = match source {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    };
    let list_len = message.count() * address_len;
    at_least(payload, VRRP_HEADER_LEN + list_len + auth_len)?;
    let list = &payload[field::ADDRESSES..][..list_len];
    let addresses = match source {
        IpAddr::V4(_) => {
            list.as_chunks::<4>().0.iter().map(|&octets| Ipv4Addr::from(octets).into()).collect()
        }
        IpAddr::V6(_) => {
            list.as_chunks::<16>().0.iter().map(|&octets| Ipv6Addr::from(octets).into()).collect()
        }
    };
    Ok(Advert { source, priority: message.priority(), interval, addresses })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::time::Centisecs;

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
            "version 2 always has authentication octets"
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
            let message = Message::new_checked(&bytes).unwrap();
            prop_assert!(message.verify_checksum(pseudo));
            prop_assert_eq!(message.vrid(), Vrid::new(vrid));
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
