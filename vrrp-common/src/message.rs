//! A VRRP message: version 2 (RFC 3768 section 5, authentication from RFC 2338 section 5.3) and version 3 (RFC 9568
//! section 5.2). The one reader of it: for the receive checks, for the engine and for `monitor`.
//!
//! ```text
//!      0               1               2               3
//!     +-------+-------+---------------+---------------+---------------+
//!     |version|type 1 |     VRID      |   priority    | address count |
//!     +-------+-------+---------------+---------------+---------------+
//!  v2 |   auth type   | interval, s   |            checksum           |
//!  v3 | 0     | interval, centisec.   |            checksum           |
//!     +---------------+---------------+-------------------------------+
//!     |            addresses; version 2 then has 8 bytes more        |
//! ```

use crate::{MAX_VRRP_LEN, VRRP_AUTH_LEN, VRRP_HEADER_LEN};

/// The only type of message (RFC 9568 section 5.2.2).
pub const TYPE_ADVERTISEMENT: u8 = 1;

/// Bytes that follow a message that is signed ([`crate::hmac`]).
pub const TRAILER_LEN: usize = 28;

/// How a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header(pub [u8; VRRP_HEADER_LEN]);

impl Header {
    /// Version.
    #[inline(always)]
    pub const fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Type; [`TYPE_ADVERTISEMENT`] is the only one.
    #[inline(always)]
    pub const fn message_type(self) -> u8 {
        self.0[0] & 0x0f
    }

    /// Virtual router identifier; no router has 0.
    #[inline(always)]
    pub const fn vrid(self) -> u8 {
        self.0[1]
    }

    /// Priority of the sender.
    #[inline(always)]
    pub const fn priority(self) -> u8 {
        self.0[2]
    }

    /// Addresses that the message claims to carry.
    #[inline(always)]
    pub const fn count(self) -> usize {
        self.0[3] as usize
    }

    /// Version 2: authentication type (RFC 2338 section 5.3.6).
    #[inline(always)]
    pub const fn auth_type(self) -> u8 {
        self.0[4]
    }

    /// Advertisement interval, as this version has it there: seconds in version 2, behind its authentication type; later
    /// centiseconds, and the reserved bits are ignored (RFC 9568 section 5.2.6).
    #[inline(always)]
    pub const fn interval(self, version: u8) -> u16 {
        if version == 2 {
            self.0[5] as u16
        } else {
            u16::from_be_bytes([self.0[4] & 0x0f, self.0[5]])
        }
    }

    /// Whether there are fewer addresses than there must be: RFC 9568 section 5.2.5; version 2 has no such rule, and
    /// keepalived sends and accepts it there.
    #[inline(always)]
    pub const fn lacks_addresses(self, version: u8) -> bool {
        self.0[3] == 0 && version != 2
    }

    /// Bytes up to the end of the list of addresses, by the length of one.
    #[inline(always)]
    pub const fn addresses_end(self, address_len: usize) -> usize {
        VRRP_HEADER_LEN + self.count() * address_len
    }

    /// Whether a message of this length can be whole. Every part of it is made of 32-bit words; more than the addresses
    /// take is tolerated, as RFC 9568 asks for a complete message only.
    #[inline(always)]
    pub const fn fits(self, version: u8, address_len: usize, len: usize) -> bool {
        len >= self.addresses_end(address_len) + auth_len(version)
            && len <= MAX_VRRP_LEN
            && len.is_multiple_of(4)
    }
}

/// Bytes behind the addresses.
#[inline(always)]
pub const fn auth_len(version: u8) -> usize {
    if version == 2 { VRRP_AUTH_LEN } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_they_should_be() {
        let header = Header([0x21, 51, 100, 2, 1, 3, 0, 0]);
        assert_eq!((header.version(), header.message_type(), header.vrid()), (2, 1, 51));
        assert_eq!((header.priority(), header.count(), header.auth_type()), (100, 2, 1));
        assert_eq!((header.interval(2), header.interval(3)), (3, 0x103));
        let reserved = Header([0x31, 51, 100, 0, 0xf1, 3, 0, 0]);
        assert_eq!(reserved.interval(3), 0x103);
        assert!(reserved.lacks_addresses(3) && !reserved.lacks_addresses(2));
    }

    #[test]
    fn a_message_is_whole_words_and_as_long_as_it_says() {
        let header = Header([0x21, 51, 100, 2, 0, 1, 0, 0]);
        for (version, address_len, shortest) in [(2, 4, 24), (3, 4, 16), (3, 16, 40)] {
            let fitting =
                (0..=MAX_VRRP_LEN + 8).filter(|len| header.fits(version, address_len, *len));
            assert!(fitting.eq((shortest..=MAX_VRRP_LEN).step_by(4)));
        }
    }
}
