//! The authentication header (RFC 2402) in front of a VRRP message over IPv4, as keepalived has it (`auth_type AH`): HMAC-MD5, cut
//! to 96 bits (RFC 2403).
//!
//! What is authenticated is the IP header without what changes on the way, the authentication header, and the message. The TTL does
//! not change on the way to a group, and is left out for peers only.

use std::net::Ipv4Addr;

use hmac::{Hmac, KeyInit, Mac as _};
use md5::Md5;
use vrrp_common::IPPROTO_VRRP;
use vrrp_common::ah::{AuthHeader, ICV_LEN, LEN, PAYLOAD_LEN};

use super::ipv4;

/// What the headers of one router are made and checked with.
pub type Key = Hmac<Md5>;

/// A key as the library wants it.
pub fn key(password: &[u8; 8]) -> Option<Key> {
    Key::new_from_slice(password).ok()
}

/// Whether the header behind the `header_len` bytes of IP header has the right value. `packet` ends where the IP header says.
pub fn is_authentic(key: &Key, packet: &[u8], header_len: usize, to_peer: bool) -> bool {
    let Some((mac, icv)) = authenticated(key, packet, header_len, to_peer) else { return false };
    // Compared in constant time.
    mac.verify_truncated_left(&icv).is_ok()
}

/// The value that the header of such a packet should have.
#[cfg(test)]
pub fn icv(key: &Key, packet: &[u8], header_len: usize, to_peer: bool) -> Option<[u8; ICV_LEN]> {
    let (mac, _) = authenticated(key, packet, header_len, to_peer)?;
    mac.finalize().into_bytes().first_chunk().copied()
}

/// Writes the header behind an IP header without options. `packet` is whole, but for its header checksum; nothing happens to one
/// that has no room for it.
pub fn fill(key: &Key, packet: &mut [u8], sequence: u32, to_peer: bool) {
    let (source, _): (Ipv4Addr, _) = ipv4::addresses(packet);
    let Some(header) = packet.get_mut(ipv4::HEADER_LEN..ipv4::HEADER_LEN + LEN) else { return };
    let authentication = AuthHeader {
        next_header: IPPROTO_VRRP,
        payload_len: PAYLOAD_LEN,
        reserved: [0; 2],
        spi: source.octets(),
        sequence: sequence.to_be_bytes(),
        icv: [0; ICV_LEN],
    };
    header.copy_from_slice(bytemuck::bytes_of(&authentication));
    let Some((mac, _)) = authenticated(key, packet, ipv4::HEADER_LEN, to_peer) else { return };
    let at = ipv4::HEADER_LEN + LEN - ICV_LEN;
    packet[at..at + ICV_LEN].copy_from_slice(&mac.finalize().into_bytes()[..ICV_LEN]);
}

/// What was authenticated, and the value that the header has.
fn authenticated(
    key: &Key,
    packet: &[u8],
    header_len: usize,
    to_peer: bool,
) -> Option<(Key, [u8; ICV_LEN])> {
    let (ip, behind) = packet.split_at_checked(header_len)?;
    let (header, message) = behind.split_first_chunk::<LEN>()?;
    let header: AuthHeader = bytemuck::cast(*header);
    let mut fixed = ip.to_vec();
    ipv4::clear_mutable(&mut fixed, to_peer);
    let mut mac = key.clone();
    mac.update(&fixed);
    mac.update(bytemuck::bytes_of(&AuthHeader { icv: [0; ICV_LEN], ..header }));
    mac.update(message);
    Some((mac, header.icv))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by keepalived 2.2.7: VRID 51, priority 100, 10.0.0.100 and 10.0.0.101, auth_pass pass123.
    const MULTICAST: &str = "45c0004400010000ff33d1b10a00ff01e0000012700400000a00ff01000000016cc85194f93f64c3044f551a21336402020164000a0000640a0000650000000000000000";
    /// The same with priority 0.
    const RESIGNS: &str = "45c0004400050000ff33d1ad0a00ff01e0000012700400000a00ff010000000574a5817816b816c023b51178213300020201c8000a0000640a0000650000000000000000";
    /// The same to a peer.
    const UNICAST: &str = "45c0004400010000ff33a8c10a00ff010a00ff02700400000a00ff0100000001e63160c1d44f1fe0a13dfcf821336402020164000a0000640a0000650000000000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    fn own() -> Key {
        key(b"pass123\0").unwrap()
    }

    #[test]
    fn what_keepalived_sends_is_authentic() {
        for (hex, to_peer) in [(MULTICAST, false), (RESIGNS, false), (UNICAST, true)] {
            let packet = bytes(hex);
            assert!(is_authentic(&own(), &packet, 20, to_peer), "{hex}");
            assert!(!is_authentic(&own(), &packet, 20, !to_peer), "{hex}");
            assert!(!is_authentic(&key(b"pass124\0").unwrap(), &packet, 20, to_peer));
        }
    }

    #[test]
    fn what_may_change_on_the_way_does_not_count_and_the_rest_does() {
        for (hex, to_peer) in [(MULTICAST, false), (UNICAST, true)] {
            let packet = bytes(hex);
            for at in 0..packet.len() {
                let mut changed = packet.clone();
                changed[at] ^= 0x10;
                // Type of service, flags and fragment offset, header checksum; TTL.
                let may = matches!(at, 1 | 6 | 7 | 10 | 11) || (at == 8 && to_peer);
                assert_eq!(is_authentic(&own(), &changed, 20, to_peer), may, "{at}");
            }
            for len in 0..packet.len() {
                assert!(!is_authentic(&own(), &packet[..len], 20, to_peer), "{len}");
            }
        }
    }

    #[test]
    fn what_is_sent_is_what_keepalived_sends() {
        for (hex, sequence, to_peer) in
            [(MULTICAST, 1, false), (RESIGNS, 5, false), (UNICAST, 1, true)]
        {
            let packet = bytes(hex);
            let mut ours = packet.clone();
            ours[20..44].fill(0xaa);
            fill(&own(), &mut ours, sequence, to_peer);
            assert_eq!(ours, packet);
        }
    }
}
