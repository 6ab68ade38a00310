//! What the kernel side and the daemon must agree on, each fact once.
//!
//! `no_std` and without allocation, because the same code is compiled into the XDP program. Nothing
//! that only one side needs belongs here.
#![no_std]

#[cfg(test)]
mod abi_tests;
pub mod ah;
pub mod claims;
pub mod counters;
pub mod event;
pub mod hmac;
#[cfg(any(test, feature = "host"))]
#[path = "../testing/host.rs"]
pub mod host;
pub mod lease;
pub mod maps;
pub mod message;
pub mod parse;
pub mod reason;
pub mod receive;
pub mod report;
pub mod sample;
pub mod sha256;
pub mod shared;
pub mod virtual_mac;

/// IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
pub const IPPROTO_VRRP: u8 = 112;
/// The VRRP multicast group for IPv4, 224.0.0.18 (RFC 9568 section 5.1.1.2).
pub const MULTICAST_V4: [u8; 4] = [224, 0, 0, 18];
/// The VRRP multicast group for IPv6, ff02::12 (RFC 9568 section 5.1.2.2).
pub const MULTICAST_V6: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];
/// TTL or hop limit that every advertisement must carry (RFC 9568 sections 5.1.1.3, 5.1.2.3).
pub const VRRP_TTL: u8 = 255;
/// Bytes of a VRRP message before the address list, version 2 and 3 alike.
pub const VRRP_HEADER_LEN: usize = 8;
/// Bytes of authentication data that end every version 2 message (RFC 2338 section 5.3.10).
pub const VRRP_AUTH_LEN: usize = 8;
/// Addresses that an advertisement can count. As it is never fragmented, the MTU may have room for fewer: 90 of IPv6 at
/// 1,500 bytes.
pub const MAX_ADDRESSES: usize = 255;
/// The longest VRRP message: version 3 over IPv6 with [`MAX_ADDRESSES`] addresses.
pub const MAX_VRRP_LEN: usize = VRRP_HEADER_LEN + MAX_ADDRESSES * 16;
/// `family` in keys and events: IPv4. The value of `AF_INET`.
pub const FAMILY_V4: u8 = 2;
/// `family` in keys and events: IPv6. The value of `AF_INET6`.
pub const FAMILY_V6: u8 = 10;
