//! Frames that keepalived 2.4.3 has sent, vectors of RFC 4231, and the libraries that the daemon signs with.

#![allow(clippy::cast_possible_truncation, reason = "digits, and parts of small frames")]

extern crate std;

use ::hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::maps::hmac::{KEYS, MONOTONIC, UNSIGNED};
use crate::maps::{RouterKey, TtlRange, transport};
use crate::parse::{self, V4, V6};
use crate::receive::{self, Routers};

/// A host with one router, and a clock.
#[derive(Clone)]
struct Host {
    bytes: Vec<u8>,
    keys: BTreeMap<u8, HmacKey>,
    marks: BTreeMap<[u8; 16], u64>,
    room: usize,
    clock: u64,
    work: Work,
}

impl Load for Host {
    fn frame_len(&self) -> usize {
        self.bytes.len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        (&&self.bytes[..]).load(offset)
    }

    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        (&&self.bytes[..]).load(offset)
    }

    fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
        (&mut &self.bytes[..]).sum(offset, len)
    }
}

impl Routers for Host {
    type Entry = RouterEntry;

    fn router(&self, _: &RouterKey) -> Option<RouterEntry> {
        None
    }

    fn allowed(&self, peer: &PeerKey) -> Option<TtlRange> {
        let any = TtlRange { min: 0, max: 255, ..TtlRange::default() };
        (peer.source[..4] == [192, 0, 2, 1]).then_some(any)
    }
}

impl Signatures for Host {
    fn work(&mut self) -> Option<&mut Work> {
        Some(&mut self.work)
    }

    fn take_key(&mut self, id: &HmacKeyId) -> bool {
        let key = self.keys.get(&id.key_id);
        if let Some(key) = key {
            self.work.set_key(key);
        }
        key.is_some()
    }

    fn copy_words<const AT: usize>(&mut self, offset: usize, len: usize) -> bool {
        self.work.block.copy_words::<AT>(&self.bytes, offset, len)
    }

    fn mark(&self, peer: &PeerKey) -> Option<Sequence> {
        self.marks.get(&peer.source).copied().map(Sequence)
    }

    fn set_mark(&mut self, peer: &PeerKey, sequence: Sequence) -> bool {
        let has_room = self.marks.len() < self.room || self.marks.contains_key(&peer.source);
        if has_room {
            self.marks.insert(peer.source, sequence.0);
        }
        has_room
    }

    fn clock(&self) -> Sequence {
        Sequence(self.clock)
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.bytes().map(|c| (c as char).to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const V2: &str = "01005e000012629216bc812c080045c0004400010000ff701875c0000201e0000012211565010001b784c00002630000000000000000010100006b0b5a617e9b0000377ca614ead2929db933885927e9909d";
const V2_RESIGN: &str = "01005e000012629216bc812c080045c0004400070000ff70186fc0000201e00000122115000100011c85c00002630000000000000000010100006b0b5a66dfaf0000cf5a287b88ba627f1f674051d56cfe16";
const V3: &str = "01005e000012629216bc812c080045c0004000020000ff701878c0000201e0000012311fc8020032df4cc0000264c0000265010200006b0b5a5f7f9c000047606542b2a211d389334053c71a98f1";
const SIX: &str = "333300000012629216bc812c86dd6c03a16b004470fffe80000000000000000000000000000aff020000000000000000000000000012313d960200325fdffe80000000000000000000000000010020010db8000000000000000000000100010700006b0b5a5f989b0000bf9eb0a2c613ef7529d8bf22f6364816";
const UNICAST: &str = "4208a5794f64629216bc812c080045c0003c00010000ff70368dc0000201c000020231296401003223b4c000026e010900006b0b5a5fb19a00005603bfb25aea6c3a89dd8265f0fbc427";
const UNICAST_RESIGN: &str = "4208a5794f64629216bc812c080045c0003c00100000ff70367ec0000201c000020231290001003287b4c000026e010900006b0b5a66dfba000088f01043d1249e0b2e1254a513be976d";

/// The keys of those, by number.
fn keys() -> BTreeMap<u8, HmacKey> {
    let rising: Vec<u8> = (0..32).collect();
    let falling: Vec<u8> = (0xe0..=0xff).rev().collect();
    let text = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let ninth = bytes_of("0f0e0d0c0b0a09080706050403020100f0e0d0c0b0a090807060504030201000");
    [(1, prepare(&rising)), (2, prepare(text)), (7, prepare(&falling)), (9, prepare(&ninth))].into()
}

fn host(frame: &str) -> (Host, RouterEntry) {
    let bytes = bytes_of(frame);
    let v6 = bytes[12] == 0x86;
    let message = if v6 { 54 } else { 34 };
    let mut entry = RouterEntry {
        version: bytes[message] >> 4,
        interval: 1,
        hmac: KEYS,
        hmac_window: 5,
        ..RouterEntry::default()
    };
    if v6 {
        entry.destination.copy_from_slice(&bytes[38..54]);
    } else {
        entry.destination[..4].copy_from_slice(&bytes[30..34]);
        if bytes[30] != 224 {
            entry.transport = transport::PEERS;
        }
    }
    let head = bytes.len() - TRAILER_LEN;
    let clock = u64::from_be_bytes(bytes[head + 4..head + 12].try_into().expect("eight"));
    (
        Host { bytes, keys: keys(), marks: BTreeMap::new(), room: 4, clock, work: Work::default() },
        entry,
    )
}

fn judge(host: &mut Host, entry: &RouterEntry) -> Reason {
    fn with<A: Address>(host: &mut Host, entry: &RouterEntry, packet: &parse::Packet<A>) -> Reason {
        let advert = match parse::advert(host, packet) {
            Ok(advert) => advert,
            Err(reason) => return reason,
        };
        let peer = PeerKey { slot: entry.slot, source: advert.source.to_field() };
        receive::check_signed(host, &advert, entry, &peer)
    }
    match parse::ipv4(host) {
        Some(packet) => with::<V4>(host, entry, &packet),
        None => with::<V6>(host, entry, &parse::ipv6(host).expect("IPv6")),
    }
}

#[test]
fn frames_of_keepalived_are_accepted() {
    for frame in [V2, V2_RESIGN, V3, SIX, UNICAST, UNICAST_RESIGN] {
        let (mut host, entry) = host(frame);
        assert_eq!(judge(&mut host, &entry), Reason::Accepted, "{frame}");
        assert_eq!(judge(&mut host, &entry), Reason::HmacReplay, "{frame}");
        // As long as its clock is not far off.
        host.marks.clear();
        host.clock += 5 << 32;
        assert_eq!(judge(&mut host, &entry), Reason::Accepted, "{frame}");
        host.clock += 1 << 32;
        assert_eq!(judge(&mut host, &entry), Reason::HmacStale, "{frame}");
        host.clock -= 12 << 32;
        assert_eq!(judge(&mut host, &entry), Reason::HmacStale, "{frame}");
        let monotonic = RouterEntry { hmac: KEYS | MONOTONIC, ..entry };
        host.marks.clear();
        assert_eq!(judge(&mut host, &monotonic), Reason::Accepted, "{frame}");
        assert_eq!(judge(&mut host, &monotonic), Reason::HmacReplay, "{frame}");
    }
}

#[test]
fn no_bit_of_what_is_signed_can_be_changed() {
    for frame in [V2, V3, SIX, UNICAST] {
        let (first, entry) = host(frame);
        let ip = if frame == SIX { 22 } else { 26 };
        for at in (ip..ip + if frame == SIX { 16 } else { 4 })
            .chain(if frame == SIX { 54 } else { 34 }..first.bytes.len())
        {
            for bit in 0..8 {
                let mut host = first.clone();
                host.bytes[at] ^= 1 << bit;
                assert_ne!(judge(&mut host, &entry), Reason::Accepted, "{frame} {at} {bit}");
                assert!(host.marks.is_empty());
            }
        }
    }
}

/// Over IPv4 the signature and nothing else catches it.
#[test]
fn reasons_come_in_their_order() {
    let (first, entry) = host(V3);
    let head = first.bytes.len() - TRAILER_LEN;
    let change = |at: usize, by: u8| {
        let mut host = first.clone();
        host.bytes[at] ^= by;
        judge(&mut host, &entry)
    };
    assert_eq!(change(head, 2), Reason::HmacMalformed);
    assert_eq!(change(head + 2, 1), Reason::HmacMalformed);
    assert_eq!(change(head + 3, 1), Reason::HmacMalformed);
    assert_eq!(change(head + 1, 9), Reason::HmacUnknownKey);
    assert_eq!(change(head + 1, 3), Reason::HmacBad);
    assert_eq!(change(head + 4, 1), Reason::HmacStale);
    assert_eq!(change(head + 11, 1), Reason::HmacBad);
    assert_eq!(change(head + 27, 1), Reason::HmacBad);
    let mut stranger = host(UNICAST);
    stranger.0.bytes[29] = 9;
    stranger.0.bytes[25] = stranger.0.bytes[25].wrapping_sub(8);
    assert_ne!(judge(&mut stranger.0, &stranger.1), Reason::Accepted);
    let mut full = first.clone();
    full.room = 0;
    assert_eq!(judge(&mut full, &entry), Reason::HmacReplay);
    assert_eq!(judge(&mut first.clone(), &RouterEntry { hmac: 0, ..entry }), Reason::Checksum);
}

#[test]
fn unsigned_ones_are_accepted_where_that_is_permitted() {
    let (mut host, entry) = host(V3);
    let len = host.bytes.len() - TRAILER_LEN;
    host.bytes.truncate(len);
    host.bytes[17] -= 28;
    let sum = u16::from_be_bytes([host.bytes[24], host.bytes[25]]) + 28;
    host.bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(judge(&mut host, &entry), Reason::HmacMissing);
    let permissive = RouterEntry { hmac: KEYS | UNSIGNED, ..entry };
    assert_eq!(judge(&mut host, &permissive), Reason::Accepted);
    assert_eq!(judge(&mut host, &RouterEntry { hmac: 0, ..entry }), Reason::Accepted);
}

#[test]
fn marks_outside_of_the_window_count_for_nothing() {
    let (mut host, entry) = host(V3);
    let source = *bytemuck::from_bytes::<[u8; 4]>(&host.bytes[26..30]);
    let field = source.to_field();
    host.marks.insert(field, host.clock + (6 << 32));
    assert_eq!(judge(&mut host, &entry), Reason::Accepted);
    host.marks.insert(field, host.clock + (4 << 32));
    assert_eq!(judge(&mut host, &entry), Reason::HmacReplay);
    let monotonic = RouterEntry { hmac: KEYS | MONOTONIC, ..entry };
    host.marks.insert(field, host.clock + (6 << 32));
    assert_eq!(judge(&mut host, &monotonic), Reason::HmacReplay);
    host.marks.insert(field, host.clock - 1);
    assert_eq!(judge(&mut host, &monotonic), Reason::Accepted);
}

#[test]
fn sequences_grow_whatever_the_clock_does() {
    let at = |seconds: u64| Sequence(seconds << 32);
    assert_eq!(Sequence::default().next(at(9), Some(5)), at(9));
    assert_eq!(at(8).next(at(9), Some(5)), at(9));
    assert_eq!(at(9).next(at(9), Some(5)), Sequence((9 << 32) + 1));
    assert_eq!(at(14).next(at(9), Some(5)), Sequence((14 << 32) + 1));
    assert_eq!(at(15).next(at(9), Some(5)), at(9));
    assert_eq!(at(15).next(at(9), None), Sequence((15 << 32) + 1));
    assert_eq!(Sequence::at(1_500_000_000), Sequence(1 << 32 | 0x8000 << 16));
    assert!(Sequence(3).is_after(Sequence(u64::MAX)) && !Sequence(3).is_after(Sequence(3)));
}

/// The HMAC of a text by the states, in one go.
fn by_hand(key: &HmacKey, text: &[u8]) -> [u8; 32] {
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend(((text.len() as u64 + 64) * 8).to_be_bytes());
    let mut work = Work::default();
    work.set_key(key);
    for bytes in padded.chunks(64) {
        work.block.words = bytemuck::pod_read_unaligned(bytes);
        compress(&mut work.block);
    }
    let inner = work.block.state;
    work.block.words = [0; 16];
    outer(&mut work, inner);
    compress(&mut work.block);
    bytemuck::cast(work.block.state.map(u32::to_be))
}

#[test]
fn vectors_of_rfc_4231() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| std::format!("{b:02x}")).collect::<String>();
    assert_eq!(
        hex(&by_hand(&prepare(&[0x0b; 20]), b"Hi There")),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
    assert_eq!(
        hex(&by_hand(&prepare(b"Jefe"), b"what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        hex(&by_hand(&prepare(&[0xaa; 20]), &[0xdd; 50])),
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
    );
}

proptest! {
    #[test]
    fn the_library_agrees(key in prop::collection::vec(any::<u8>(), 32..=64), text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("any length");
        mac.update(&text);
        let expected: [u8; 32] = mac.finalize().into_bytes().into();
        prop_assert_eq!(by_hand(&prepare(&key), &text), expected);
    }

    /// With any number of addresses.
    #[test]
    fn messages_of_any_length_are_checked(
        key in prop::collection::vec(any::<u8>(), 32..=64), count in 1u8..=253, v6: bool, damage in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (ip, len) = if v6 { (40, 16) } else { (20, 4) };
        let list = usize::from(count) * len;
        let total = ip + 8 + list + TRAILER_LEN;
        let mut bytes = std::vec![2; 14 + ip];
        bytes[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
        bytes[14..].fill(0);
        let payload = u16::try_from(total - if v6 { 40 } else { 0 }).expect("short");
        let mut field = [0; 16];
        if v6 {
            bytes[14] = 0x60;
            bytes[18..20].copy_from_slice(&payload.to_be_bytes());
            (bytes[20], bytes[21], bytes[22], bytes[37]) = (112, 255, 0xfe, 9);
            field.copy_from_slice(&bytes[22..38]);
            bytes[38] = 0xff;
        } else {
            bytes[14] = 0x45;
            bytes[16..18].copy_from_slice(&payload.to_be_bytes());
            (bytes[22], bytes[23], bytes[26], bytes[29], bytes[30]) = (255, 112, 10, 9, 224);
            field[..4].copy_from_slice(&bytes[26..30]);
            let sum: u32 = bytes[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
            let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded");
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        let message = bytes.len();
        bytes.extend([0x31, 51, 100, count, 0, 100, 0, 0]);
        bytes.extend((0..list).map(|n| n as u8));
        bytes.extend([1, 3, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("any length");
        let header = Header(bytes[message..message + 8].try_into().expect("eight"));
        mac.update(&pseudo(if v6 { crate::FAMILY_V6 } else { FAMILY_V4 }, header, field));
        mac.update(&bytes[message..]);
        mac.update(&[0; 16]);
        bytes.extend(&mac.finalize().into_bytes()[..16]);
        if let Some(damage) = damage {
            let at = message + 8 + damage.index(bytes.len() - message - 8);
            bytes[at] ^= 1;
        }
        let covered = if v6 { bytes.len() - message } else { 8 + list };
        let mut sum: u64 = bytes[message..message + covered].chunks(2).map(|w| u64::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        if v6 {
            sum += bytes[22..54].chunks(2).map(|w| u64::from(u16::from_be_bytes([w[0], w[1]]))).sum::<u64>() + 112 + covered as u64;
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        bytes[message + 6..message + 8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        let mut entry = RouterEntry { version: 3, hmac: KEYS, hmac_window: 5, ..RouterEntry::default() };
        entry.destination[0] = if v6 { 0xff } else { 224 };
        let keys = [(3, prepare(&key))].into();
        let (marks, work) = (BTreeMap::new(), Work::default());
        let mut host = Host { bytes, keys, marks, room: 4, clock: 9 << 32, work };
        let reason = judge(&mut host, &entry);
        prop_assert_eq!(reason == Reason::Accepted, damage.is_none(), "{:?}", reason);
    }
}
