//! The virtual MAC address of a router (RFC 9568 section 7.3), without a device that has it: on the way out it takes the place
//! of the interface's own in what is sent from a virtual address or says where one is; on the way in, frames to it are for
//! this host while its router is master here.
//!
//! The decisions, for the kernel side and for tests. The frames of the daemon itself are made with it.

use crate::maps::{HELD_SLOT, Held, SLOT_FILTER, SLOT_OWN_MAC, state};
use crate::parse::{
    self, Address, Load, NDISC_OPTIONS, SOURCE_LINK_LAYER, TARGET_LINK_LAYER, UNTAGGED, V4, V6,
};
use crate::reason::Reason;
use crate::receive::Datapath;
use crate::report::ReportFilter;
use crate::shared::SharedWords;
use crate::{FAMILY_V4, FAMILY_V6, IPPROTO_VRRP, lease};

/// What all of them begin with (RFC 9568 section 7.3): 00-00-5E-00, and 01 over IPv4, 02 over IPv6.
const PREFIX: [u8; 4] = [0, 0, 0x5e, 0];
const OVER_V4: u8 = 1;
const OVER_V6: u8 = 2;

/// The one of a router, unless it is given another one.
pub const fn of_router(family: u8, vrid: u8) -> [u8; 6] {
    let [a, b, c, d] = PREFIX;
    [a, b, c, d, if family == FAMILY_V6 { OVER_V6 } else { OVER_V4 }, vrid]
}

/// The same and two zeros, as [`Held::virtual_mac`] has it.
#[inline(always)]
pub const fn padded([a, b, c, d, e, f]: [u8; 6]) -> [u8; 8] {
    [a, b, c, d, e, f, 0, 0]
}

/// The address in a word as that of [`Held::mac`] is one.
#[inline(always)]
pub const fn of_word(word: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, _, _] = word.to_ne_bytes();
    [a, b, c, d, e, f]
}

/// The family and VRID whose virtual MAC address this is by the RFC; `None` for any other address.
#[inline(always)]
pub const fn router_of(mac: [u8; 6]) -> Option<(u8, u8)> {
    let [a, b, c, d, over, vrid] = mac;
    if u32::from_ne_bytes([a, b, c, d]) != u32::from_ne_bytes(PREFIX) || vrid == 0 {
        return None;
    }
    match over {
        OVER_V4 => Some((FAMILY_V4, vrid)),
        OVER_V6 => Some((FAMILY_V6, vrid)),
        _ => None,
    }
}

/// No virtual MAC address, but as one of them where there is any: on each interface that has one, and so in the set, too.
pub const ANY: u64 = 0;

/// Words of a set of virtual MAC addresses: a page of memory, of which the few that a host has fill little.
pub const SET_WORDS: usize = 512;

/// Where an address, in a word as that of [`Held::mac`] is one, stands in such a set: the number of the word, and the bit. All
/// of the RFC's have bits of their own. A set that nearly always has none of what arrives is asked before the table of them is,
/// as that costs more.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "folded")]
pub const fn place(word: u64) -> (u32, u64) {
    let folded = u16::from_be((word ^ (word >> 16) ^ (word >> 32)) as u16) as u32;
    ((folded >> 6) & (SET_WORDS as u32 - 1), 1 << (folded & 63))
}

/// The two Ethernet addresses that a frame begins with, each in such a word.
#[inline(always)]
pub const fn words([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12]) -> [u64; 2] {
    let to = u64::from_ne_bytes(padded([a, b, c, d, e, f]));
    [to, u64::from_ne_bytes(padded([g, h, i, j, k, l]))]
}

/// What a frame to the virtual MAC address of the router at `slot` in `SLOTS` is, if that is not the interface's own address.
/// It is for this host if the router is master here and not fenced. A backup leaves it alone (RFC 9568 section 6.4.2): it may
/// be for a guest behind this interface, and the stack discards what is for another host.
#[inline(always)]
pub fn arriving(path: &impl Datapath, slot: u32) -> Reason {
    if !is_master(path, slot) {
        Reason::VirtualMacBackup
    } else if is_fenced(path, slot) {
        Reason::VirtualMacFenced
    } else {
        Reason::VirtualMacAccepted
    }
}

/// Whether a frame from the virtual MAC address of the router at `slot` in `SLOTS` is none that another host may send: no
/// advertisement, while the router is master here. Nothing comes of it but a count, and when it was: it may be our own,
/// which the network has sent back, and who can forge a source gains nothing by it.
#[inline(always)]
pub fn is_ours(path: &impl Datapath, slot: u32) -> bool {
    if !is_master(path, slot) || is_advert(path) || is_fenced(path, slot) {
        return false;
    }
    if let Some(slot) = path.slot(slot) {
        slot.store::<SLOT_OWN_MAC>(path.now());
    }
    true
}

/// Whether it is a packet of protocol 112, as far as the IP header says.
#[inline(always)]
fn is_advert(path: &impl Datapath) -> bool {
    let protocol = match parse::ethertype(path) {
        Some(V4::ETHERTYPE) => path.load_at(UNTAGGED + 9),
        Some(V6::ETHERTYPE) => path.load_at(UNTAGGED + 6),
        Some(_) | None => None,
    };
    protocol == Some([IPPROTO_VRRP])
}

/// Whether such a frame is ARP that says where an address of that router is, as this host does itself.
#[inline(always)]
pub fn is_arp_echo(path: &impl Datapath, slot: u32) -> bool {
    parse::arp_sender(path).is_some_and(|sender| is_held(path, sender.address, slot))
}

/// The same of neighbour discovery.
#[inline(always)]
pub fn is_ndisc_echo(path: &impl Datapath, slot: u32) -> bool {
    if parse::ethertype(path) != Some(V6::ETHERTYPE) {
        return false;
    }
    let packet = V6::tagged(path, UNTAGGED, [0; 2]);
    let claim = packet.and_then(|packet| parse::ndisc_claim(path, &packet));
    claim.is_some_and(|claim| is_held(path, claim.address, slot))
}

#[inline(always)]
fn is_held<A: Address>(path: &impl Datapath, address: A, slot: u32) -> bool {
    let held = path.held(address);
    held.is_some_and(|held| Held::slot(held.load::<HELD_SLOT>()) == slot)
}

#[inline(always)]
fn is_master(path: &impl Datapath, slot: u32) -> bool {
    let filter = path.slot(slot).map_or(0, |slot| slot.load::<SLOT_FILTER>());
    ReportFilter::unpack(filter).state == state::MASTER
}

#[inline(always)]
fn is_fenced(path: &impl Datapath, slot: u32) -> bool {
    let Some(lease) = path.lease(slot) else { return true };
    lease::is_suspect(&lease) && lease::is_fenced(&lease, path.boot_now(), lease::Traffic::Address)
}

/// Whether the neighbour solicitation or advertisement at `message` states this Ethernet address, six bytes and two zeros, in
/// its first option: there the kernel puts it.
#[inline(always)]
pub fn ndisc_states(frame: &impl Load, message: usize, mac: u64) -> bool {
    match frame.load_at(message + NDISC_OPTIONS) {
        Some([SOURCE_LINK_LAYER | TARGET_LINK_LAYER, 1, a, b, c, d, e, f]) => {
            u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]) == mac
        }
        Some(_) | None => false,
    }
}

/// A checksum that covers an Ethernet address, at a multiple of two bytes, when there is another one in its place (RFC 1624
/// section 3, equation 3). It is a number of two bytes as they lie in memory, and so are both addresses, as [`words`] has them.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "folded")]
pub const fn checksum(sum: u16, from: u64, to: u64) -> u16 {
    let [a, b, c, d, e, f, _, _] = from.to_ne_bytes();
    let [s, t, u, v, w, x, _, _] = to.to_ne_bytes();
    let mut new = !sum as u32;
    new += (!u16::from_ne_bytes([a, b])) as u32 + (!u16::from_ne_bytes([c, d])) as u32;
    new += (!u16::from_ne_bytes([e, f])) as u32 + u16::from_ne_bytes([s, t]) as u32;
    new += u16::from_ne_bytes([u, v]) as u32 + u16::from_ne_bytes([w, x]) as u32;
    // Such sums are the same in any order of bytes (RFC 1071 section 2).
    new = (new & 0xffff) + (new >> 16);
    new = (new & 0xffff) + (new >> 16);
    !(new as u16)
}

impl Held {
    /// The number of the router that an address belongs to, of the word in which it stands.
    #[inline(always)]
    pub const fn slot(word: u64) -> u32 {
        let [a, b, c, d, _, _, _, _] = word.to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    const V4: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
    const V6: [u8; 6] = [0, 0, 0x5e, 0, 2, 51];

    #[test]
    fn addresses_are_those_of_the_rfc() {
        assert_eq!(of_router(FAMILY_V4, 51), V4);
        assert_eq!(of_router(FAMILY_V6, 51), V6);
        assert_eq!([V4, V6].map(router_of), [Some((FAMILY_V4, 51)), Some((FAMILY_V6, 51))]);
        for other in [[0, 0, 0x5e, 0, 1, 0], [0, 0, 0x5e, 0, 3, 51], [2, 0, 0x5e, 0, 1, 51]] {
            assert_eq!(router_of(other), None);
        }
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&V4);
        addresses[6..].copy_from_slice(&V6);
        assert_eq!(words(addresses).map(of_word), [V4, V6]);
        let held = Held { slot: 7, virtual_mac: padded(V6), ..Held::default() };
        let words: [u64; 4] = bytemuck::cast(held);
        assert_eq!(Held::slot(words[HELD_SLOT / 8]), 7);
        assert_eq!(of_word(words[crate::maps::HELD_VIRTUAL_MAC / 8]), V6);
    }

    #[test]
    fn each_of_the_rfc_has_a_place_of_its_own() {
        let mut set = [0_u64; SET_WORDS];
        for family in [FAMILY_V4, FAMILY_V6] {
            for vrid in 0..=255 {
                let (word, bit) = place(u64::from_ne_bytes(padded(of_router(family, vrid))));
                let word = &mut set[usize::try_from(word).unwrap()];
                assert_eq!(*word & bit, 0);
                *word |= bit;
            }
        }
    }

    /// A one's complement sum over whole messages.
    fn sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    proptest::proptest! {
        #[test]
        fn a_checksum_stays_right(mut message: [u8; 32], to: [u8; 6]) {
            message[2..4].fill(0);
            let right = (!sum(&message)).to_be_bytes();
            message[2..4].copy_from_slice(&right);
            let right = u16::from_ne_bytes(right);
            let word = |mac: &[u8]| {
                let mut bytes = [0; 8];
                bytes[..6].copy_from_slice(mac);
                u64::from_ne_bytes(bytes)
            };
            let from = word(&message[26..]);
            message[26..].copy_from_slice(&to);
            message[2..4].copy_from_slice(&checksum(right, from, word(&to)).to_ne_bytes());
            proptest::prop_assert_eq!(sum(&message), 0xffff);
        }
    }
}
