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

/// Which virtual MAC address an address is held with: the last two bytes of that, 0 for none ([`Held::virtual_mac`]).
pub const fn code(family: u8, vrid: u8) -> u32 {
    let over = if family == FAMILY_V6 { OVER_V6 } else { OVER_V4 };
    (over as u32) << 8 | vrid as u32
}

/// The address with that [`code`].
#[inline(always)]
pub const fn address(code: u32) -> [u8; 6] {
    let [a, b, c, d] = PREFIX;
    let [_, _, over, vrid] = code.to_be_bytes();
    [a, b, c, d, over, vrid]
}

/// The same, and two zeros, in a word as [`Held::mac`] is one.
#[inline(always)]
pub const fn word(code: u32) -> u64 {
    let [a, b, c, d, e, f] = address(code);
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// The family and VRID whose virtual MAC address this is; `None` for any other address.
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

/// Words of a set of all virtual MAC addresses that there are: four for each family.
pub const SET_WORDS: usize = 8;

/// Where the virtual MAC address with that [`code`] stands in such a set: the number of the word, and the bit. A set that
/// nearly always has none of what arrives is asked before the table of routers is, as that costs more.
#[inline(always)]
pub const fn place(code: u32) -> (u32, u64) {
    let first = (OVER_V4 as u32) << 2;
    ((code >> 6).wrapping_sub(first), 1 << (code & 63))
}

/// Which virtual MAC addresses a frame that begins so, with two Ethernet addresses, is to and from: the [`code`] of each, 0 for
/// another address. Nearly all frames have none.
#[inline(always)]
pub const fn codes([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12]) -> [u32; 2] {
    [code_of([a, b, c, d, e, f]), code_of([g, h, i, j, k, l])]
}

#[inline(always)]
const fn code_of(mac: [u8; 6]) -> u32 {
    match router_of(mac) {
        Some((family, vrid)) => code(family, vrid),
        None => 0,
    }
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
    held.is_some_and(|held| Held::slot_and_code(held.load::<HELD_SLOT>()).0 == slot)
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
/// section 3, equation 3). It is a number of two bytes as they lie in memory, and so are both addresses, as [`word`] has them.
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
    /// The number of the router that an address belongs to, and the [`code`] of the virtual MAC address that it is held with,
    /// of the word in which they stand.
    #[inline(always)]
    pub const fn slot_and_code(word: u64) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
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
        assert_eq!(address(code(FAMILY_V4, 51)), V4);
        assert_eq!(address(code(FAMILY_V6, 51)), V6);
        assert_eq!([V4, V6].map(router_of), [Some((FAMILY_V4, 51)), Some((FAMILY_V6, 51))]);
        for other in [[0, 0, 0x5e, 0, 1, 0], [0, 0, 0x5e, 0, 3, 51], [2, 0, 0x5e, 0, 1, 51]] {
            assert_eq!(router_of(other), None);
        }
        for (to, from, expected) in [
            (V4, [2; 6], [0x133, 0]),
            ([2; 6], V6, [0, 0x233]),
            (V6, V4, [0x233, 0x133]),
            ([2; 6], [0, 0, 0x5e, 1, 1, 51], [0, 0]),
        ] {
            let mut addresses = [0; 12];
            addresses[..6].copy_from_slice(&to);
            addresses[6..].copy_from_slice(&from);
            assert_eq!(codes(addresses), expected);
        }
        let held = Held { slot: 7, virtual_mac: code(FAMILY_V6, 51), ..Held::default() };
        let words: [u64; 3] = bytemuck::cast(held);
        let at = HELD_SLOT / 8;
        assert_eq!(Held::slot_and_code(words[at]), (7, code(FAMILY_V6, 51)));
    }

    #[test]
    fn each_has_a_place_of_its_own() {
        let mut set = [0_u64; SET_WORDS];
        for family in [FAMILY_V4, FAMILY_V6] {
            for vrid in 0..=255 {
                let (word, bit) = place(code(family, vrid));
                let word = &mut set[usize::try_from(word).unwrap()];
                assert_eq!(*word & bit, 0);
                *word |= bit;
            }
        }
        assert_eq!(set, [u64::MAX; SET_WORDS]);
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
