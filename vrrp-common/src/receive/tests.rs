//! The decisions on a [`Host`]: what an acknowledgement covers, what each class may, and threads in the place of CPUs.

extern crate std;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::event::Claim;
use crate::host::{Cpu, Host};
use crate::maps::{Held, state};
use crate::parse::{V4, V6};
use crate::reason::Verdict;
use crate::report::Master;
use crate::{FAMILY_V4, FAMILY_V6, MULTICAST_V4, MULTICAST_V6, VRRP_AUTH_LEN};

const IFINDEX: u32 = 3;
const VRID: u8 = 51;
const KEY: u64 = 0x1234_5678_9abc_def1;
const SECOND: u64 = 1_000_000_000;
const LOCAL: V4 = [10, 0, 0, 1];
const MASTER: V4 = [10, 0, 0, 2];
const STRANGER: V4 = [10, 0, 0, 66];
/// Slots of the routers: version 3 over IPv4 and IPv6, and version 2.
const FOUR: u32 = 0;
const SIX: u32 = 1;
const TWO: u32 = 2;
/// VRID of the last one.
const VRID_TWO: u8 = 52;

fn host() -> Host {
    let host = Host::new(3, KEY);
    let router = |slot, family, vrid, version| {
        let key = RouterKey { ifindex: IFINDEX, family, vrid, ..RouterKey::default() };
        let mut entry = RouterEntry { slot, version, interval: 1, ..RouterEntry::default() };
        if family == FAMILY_V4 {
            (entry.local, entry.destination) = (LOCAL.to_field(), MULTICAST_V4.to_field());
        } else {
            (entry.local, entry.destination) = (six(1), MULTICAST_V6);
        }
        host.set_router(key, entry);
    };
    router(FOUR, FAMILY_V4, VRID, 3);
    router(SIX, FAMILY_V6, VRID, 3);
    router(TWO, FAMILY_V4, VRID_TWO, 2);
    for slot in [FOUR, SIX, TWO] {
        host.set_filter(slot, backup(100, None));
    }
    host
}

fn backup(priority: u8, master: Option<Master>) -> ReportFilter {
    ReportFilter { state: state::BACKUP, priority, ignores_lower: false, master }
}

fn six(last: u8) -> V6 {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfe, 0x80, last);
    address
}

/// An advertisement in parts.
#[derive(Clone, Debug)]
struct Advert<A> {
    source: A,
    /// What stands before the addresses; the checksum is made.
    header: [u8; 8],
    addresses: Vec<u8>,
    /// What stands behind the message that the checksum of IPv4 covers.
    trailer: Vec<u8>,
    /// Version 3 over IPv4: whether the checksum covers a pseudo-header.
    pseudo: bool,
}

/// As many different addresses.
fn addresses<A>(count: u8) -> Vec<u8> {
    let last = size_of::<A>() - 1;
    (0..count).flat_map(|n| (0..=last).map(move |at| if at == last { n } else { 10 })).collect()
}

impl<A: Address> Advert<A> {
    fn v3(source: A, priority: u8, count: u8) -> Self {
        let header = [0x31, VRID, priority, count, 0, 100, 0, 0];
        let addresses = addresses::<A>(count);
        Self { source, header, addresses, trailer: Vec::new(), pseudo: true }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn frame(&self) -> Vec<u8> {
        let mut message = self.header.to_vec();
        message.extend(&self.addresses);
        message.extend(&self.trailer);
        let four = A::FAMILY == FAMILY_V4;
        let width = size_of::<A>();
        let group = if four { MULTICAST_V4.to_field() } else { MULTICAST_V6 };
        let addresses = [&self.source.to_field()[..width], &group[..width]].concat();
        let len = u16::try_from(message.len()).expect("short").to_be_bytes();
        message[6..8].fill(0);
        let mut summed = message.clone();
        if self.pseudo || !four {
            summed.extend(&addresses);
            summed.extend([0, 112, len[0], len[1]]);
        }
        message[6..8].copy_from_slice(&checksum(&summed));
        let mut frame = std::vec![1; 12];
        if four {
            frame.extend([8, 0]);
            let total = u16::try_from(20 + message.len()).expect("short").to_be_bytes();
            let begin = [0x45, 0xc0, total[0], total[1], 0, 0, 0x40, 0, 255, 112, 0, 0];
            let mut ip = [&begin[..], &addresses].concat();
            let sum = checksum(&ip);
            ip[10..12].copy_from_slice(&sum);
            frame.extend(ip);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, len[0], len[1], 112, 255]);
            frame.extend(addresses);
        }
        frame.extend(message);
        frame
    }
}

fn v2(auth: [u8; VRRP_AUTH_LEN]) -> Advert<V4> {
    Advert::v3(MASTER, 200, 1).with(|advert| {
        advert.header = [0x21, VRID_TWO, 200, 1, 0, 1, 0, 0];
        advert.pseudo = false;
        advert.addresses.extend(auth);
    })
}

/// With an authentication header of these bytes before the message.
fn behind_a_header(plain: &[u8], begin: [u8; 2]) -> Vec<u8> {
    let mut frame = plain.to_vec();
    let header = [&begin[..], &[0; 22]].concat();
    frame.splice(34..34, header);
    (frame[17], frame[23]) = (frame[17] + 24, 51);
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum);
    frame
}

#[test]
fn a_header_is_refused_where_there_should_be_none() {
    let host = host();
    let receive = |frame: &[u8]| host.cpu().receive(SECOND, IFINDEX, frame);
    let steady = v2([0; 8]);
    let frame = behind_a_header(&steady.frame(), [112, 4]);
    assert_eq!(receive(&frame), Some(Reason::AhUnexpected));
    assert_eq!((host.slot(TWO).refused, host.count(Reason::AhUnexpected)), (1, 1));
    // The daemon is told whose it is.
    let (event, header) = host.next_report().expect("a report");
    assert_eq!((event.source, header), (MASTER.to_field(), frame[58..66].to_vec()));
    assert_eq!(host.slot(TWO).last_seen_ns, 0);
    let stranger = steady.clone().with(|advert| advert.header[1] = 99);
    let stranger = behind_a_header(&stranger.frame(), [112, 4]);
    assert_eq!(receive(&stranger), Some(Reason::UnknownVrid));
    let mut elsewhere = frame.clone();
    elsewhere[33] = 99;
    assert_eq!(receive(&elsewhere), Some(Reason::OtherDestination));
    // What else has such a header is not looked at, nor is what is cut before it.
    assert_eq!(receive(&behind_a_header(&steady.frame(), [6, 4])), None);
    assert_eq!(receive(&frame[..34]), None);
    for len in 35..66 {
        assert_eq!(receive(&frame[..len]), Some(Reason::Truncated), "{len}");
    }
    assert_eq!(host.slot(TWO).refused, 1);
    // Of a router that has headers nobody but the daemon says anything.
    let key =
        RouterKey { ifindex: IFINDEX, family: FAMILY_V4, vrid: VRID_TWO, ..RouterKey::default() };
    let entry = RouterEntry {
        slot: TWO,
        version: 2,
        hmac: crate::maps::hmac::AH,
        ..RouterEntry::default()
    };
    host.set_router(key, entry);
    assert_eq!(receive(&frame), Some(Reason::HmacUnchecked));
    assert_eq!(host.slot(TWO).refused, 1);
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.as_chunks::<2>().0.iter();
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("folded")).to_be_bytes()
}

/// Its digest, as it is reported.
fn reported<A: Address>(host: &Host, now: u64, advert: &Advert<A>) -> u64 {
    let reason = host.cpu().receive(now, IFINDEX, &advert.frame());
    assert_eq!(reason, Some(Reason::Accepted), "{advert:?}");
    let (event, message) = host.next_report().expect("a report");
    assert_eq!(usize::from(event.payload_len), message.len());
    assert_eq!(event.source, advert.source.to_field());
    event.digest
}

/// Whether nothing of it is reported, at a time when anything may be.
fn is_quiet<A: Address>(host: &Host, now: u64, advert: &Advert<A>) -> bool {
    let reason = host.cpu().receive(now, IFINDEX, &advert.frame());
    assert_eq!(reason, Some(Reason::Accepted), "{advert:?}");
    host.next_report().is_none()
}

/// Acknowledges one advertisement and shows another one: whether that is quiet.
fn covers<A: Address>(slot: u32, steady: &Advert<A>, other: &Advert<A>) -> bool {
    let host = host();
    host.set_ack(slot, reported(&host, SECOND, steady));
    assert!(is_quiet(&host, 2 * SECOND, steady), "{steady:?}");
    let before = host.slot(slot).master_seen;
    let quiet = is_quiet(&host, 3 * SECOND, other);
    assert_eq!(host.slot(slot).master_seen != before, quiet, "{other:?}");
    quiet
}

fn no_byte_is_overlooked<A: Address>(slot: u32, steady: &Advert<A>) {
    for at in 0..steady.addresses.len() {
        let other = steady.clone().with(|advert| advert.addresses[at] ^= 0x80);
        assert!(!covers(slot, steady, &other), "byte {at} of {}", steady.addresses.len());
    }
    let width = size_of::<A>();
    if steady.addresses.len() >= 2 * width {
        // The same sum.
        let other = steady.clone().with(|advert| advert.addresses.rotate_left(width));
        assert!(!covers(slot, steady, &other), "another order");
    }
}

#[test]
fn every_address_of_an_acknowledged_master_counts() {
    // Around the ends of the blocks in which they are looked at, and the most there are.
    for count in [1, 2, 15, 16, 17, 31, 32, 33, 255] {
        no_byte_is_overlooked(FOUR, &Advert::v3(MASTER, 200, count));
    }
    for count in [1, 3, 4, 5, 8, 9, 255] {
        no_byte_is_overlooked(SIX, &Advert::v3(six(2), 200, count));
    }
    no_byte_is_overlooked(TWO, &v2([0; 8]));
}

#[test]
fn every_field_of_an_acknowledged_master_counts() {
    let steady = Advert::v3(MASTER, 200, 2);
    let changes: [fn(&mut Advert<V4>); 6] = [
        |advert| advert.source = [10, 0, 0, 3],
        |advert| advert.header[2] = 201,
        |advert| advert.header[4] = 1,
        |advert| advert.header[5] = 99,
        // The second address becomes something behind the message.
        |advert| advert.header[3] = 1,
        |advert| advert.trailer = std::vec![0; 4],
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(!covers(FOUR, &steady, &steady.clone().with(change)), "change {number}");
    }
    let steady = v2(*b"anything");
    for at in [2, 5] {
        let other = steady.clone().with(|advert| advert.header[at] ^= 1);
        let reason = host().cpu().receive(SECOND, IFINDEX, &other.frame());
        // Another interval is refused.
        assert!(reason == Some(Reason::Interval) || !covers(TWO, &steady, &other), "byte {at}");
    }
}

/// A signature that is another one each time, and what follows from it.
#[test]
fn what_stands_behind_the_message_and_its_checksum_do_not_count() {
    let plain = Advert::v3(MASTER, 200, 3);
    assert!(covers(FOUR, &plain, &plain.clone().with(|advert| advert.pseudo = false)));
    let trailer = |byte| std::vec![byte; 28];
    let four =
        |count, byte| Advert::v3(MASTER, 200, count).with(|advert| advert.trailer = trailer(byte));
    let six =
        |count, byte| Advert::v3(six(2), 200, count).with(|advert| advert.trailer = trailer(byte));
    for count in [1, 3, 4, 16, 17, 255] {
        assert!(covers(FOUR, &four(count, 1), &four(count, 2)), "{count}");
    }
    // As long as it may be with a trailer.
    for count in [1, 3, 4, 5, 253] {
        assert!(covers(SIX, &six(count, 1), &six(count, 2)), "{count}");
    }
}

#[test]
fn digests_are_those_of_one_start() {
    let (one, other) = (Host::new(1, KEY), Host::new(1, KEY + 1));
    let digests = [&one, &other].map(|host| {
        let key =
            RouterKey { ifindex: IFINDEX, family: FAMILY_V4, vrid: VRID, ..RouterKey::default() };
        let destination = MULTICAST_V4.to_field();
        host.set_router(key, RouterEntry { version: 3, destination, ..RouterEntry::default() });
        host.set_filter(0, backup(1, None));
        reported(host, SECOND, &Advert::v3(MASTER, 200, 1))
    });
    assert_ne!(digests[0], digests[1]);
    assert!(digests.iter().all(|digest| *digest != 0));
}

#[test]
fn nobody_covers_the_silence_of_the_acknowledged_master() {
    let host = host();
    let steady = Advert::v3(MASTER, 200, 1);
    let digest = reported(&host, SECOND, &steady);
    let tag = host.source_tag(MASTER.to_field());
    host.set_filter(FOUR, backup(100, Some(Master { tag, priority: 200 })));
    host.set_ack(FOUR, digest);
    assert!(is_quiet(&host, 2 * SECOND, &steady));
    let seen = host.master_seen(FOUR);
    assert_eq!(seen, Some(MasterSeen::at(2 * SECOND)));
    let mut cpu = host.cpu();
    for (number, priority) in (0..=255).enumerate() {
        let now = 3 * SECOND + number as u64;
        let forged = Advert::v3(STRANGER, priority, 1);
        cpu.receive(now, IFINDEX, &forged.frame());
        assert_eq!((host.master_seen(FOUR), host.slot(FOUR).last_seen_ns), (seen, now));
    }
    // The master itself with something else, as often as it is reported and more often.
    for now in 4 * SECOND..4 * SECOND + 50 {
        cpu.receive(now, IFINDEX, &Advert::v3(MASTER, 199, 1).frame());
        let seen = host.master_seen(FOUR).expect("heard");
        match seen.unreported {
            None => assert_eq!(seen.at_ns, now),
            Some(says) => {
                assert_eq!((says.priority, seen.at_ns), (199, now >> 16 << 16));
            }
        }
    }
    assert!(host.count(Reason::MasterLimited) > 0);
}

/// What floods in each state, and what it is counted as.
#[test]
fn each_class_has_a_budget_of_its_own() {
    let tag = |host: &Host| host.source_tag(MASTER.to_field());
    let filter = |host: &Host, state, master: Option<u8>| ReportFilter {
        state,
        priority: 100,
        ignores_lower: master.is_some(),
        master: master.map(|priority| Master { tag: tag(host), priority }),
    };
    let (backup, master) = (state::BACKUP, state::MASTER);
    for (state, known, source, priority, limited, limit) in [
        (backup, Some(200), MASTER, 201, Reason::MasterLimited, Some(MASTER_LIMIT)),
        (backup, Some(200), STRANGER, 201, Reason::OutranksLimited, Some(SOURCE_LIMIT)),
        (backup, Some(200), STRANGER, 0, Reason::ResignsLimited, Some(SOURCE_LIMIT)),
        (backup, Some(200), STRANGER, 99, Reason::LowerIgnored, None),
        (backup, None, STRANGER, 99, Reason::LowerLimited, Some(LOWER_LIMIT)),
        (master, None, STRANGER, 101, Reason::OutranksLimited, Some(SOURCE_LIMIT)),
        (master, None, STRANGER, 100, Reason::OutranksLimited, Some(SOURCE_LIMIT)),
        (master, None, STRANGER, 99, Reason::LowerLimited, Some(LOWER_LIMIT)),
        (state::FAULT, None, STRANGER, 255, Reason::NotListening, None),
    ] {
        let host = host();
        host.set_filter(FOUR, filter(&host, state, known));
        let frame = Advert::v3(source, priority, 1).frame();
        let mut counts = BTreeMap::new();
        let mut cpu = host.cpu();
        for packet in 0..10_000_u64 {
            let reason = cpu.receive(SECOND + packet * 1_000, IFINDEX, &frame).expect("VRRP");
            *counts.entry(reason).or_insert(0_u64) += 1;
        }
        let reported = counts.remove(&Reason::Accepted).unwrap_or(0);
        let most = limit.map_or(0, |limit| limit.burst + 9_999_000 / limit.period_ns);
        assert_eq!(reported, most, "{limited:?}");
        assert_eq!(counts, BTreeMap::from([(limited, 10_000 - reported)]));
        // Others are heard all the same.
        if state != state::FAULT {
            let mut other = Advert::v3([10, 0, 0, 7], 220, 1);
            if priority > 0 {
                other.header[2] = 0;
            }
            assert!(cpu.receive(2 * SECOND, IFINDEX, &other.frame()) == Some(Reason::Accepted));
        }
    }
}

#[test]
fn a_full_ring_is_counted_and_the_slot_knows_all_the_same() {
    let host = host();
    host.set_room(0);
    let tag = host.source_tag(MASTER.to_field());
    host.set_filter(FOUR, backup(100, Some(Master { tag, priority: 200 })));
    let reason = host.cpu().receive(SECOND, IFINDEX, &Advert::v3(MASTER, 199, 1).frame());
    assert_eq!(reason, Some(Reason::RingFull));
    let seen = host.master_seen(FOUR).and_then(|seen| seen.unreported);
    assert_eq!(seen, Some(Unreported { priority: 199, interval: 100 }));
    assert_eq!(host.slot(FOUR).adverts, 1);
}

#[test]
fn a_refusal_is_told_once_a_minute() {
    let host = host();
    let refused = Advert::v3(MASTER, 200, 0).frame();
    let told = |now| {
        let reason = host.cpu().receive(now, IFINDEX, &refused);
        assert_eq!(reason, Some(Reason::NoAddresses));
        host.next_report()
    };
    let (event, header) = told(SECOND).expect("the first is told");
    assert_eq!((event.reason, event.slot), (Reason::NoAddresses.index(), NO_SLOT));
    assert_eq!(header[..6], [0x31, VRID, 200, 0, 0, 100]);
    assert_eq!(told(2 * SECOND), None);
    assert!(told(SECOND + REFUSAL_WINDOW_NS).is_some());
    let slot = host.slot(FOUR);
    assert_eq!((slot.refused, slot.adverts, slot.last_seen_ns), (3, 0, 0));
    // Of as many as there can be, 20 at once.
    let mut cpu = host.cpu();
    for n in 0..=255 {
        cpu.receive(200 * SECOND, IFINDEX, &Advert::v3([10, 0, 1, n], 200, 0).frame());
    }
    assert_eq!(core::iter::from_fn(|| host.next_report()).count(), 20);
}

#[test]
fn nothing_is_dropped_that_is_for_nobody_here() {
    let host = host();
    let frame = Advert::v3(MASTER, 200, 1).with(|advert| advert.header[1] = 99).frame();
    let mut cpu = host.cpu();
    for at in 14..frame.len() {
        for bit in 0..8 {
            let mut damaged = frame.clone();
            damaged[at] ^= 1 << bit;
            let reason = cpu.receive(SECOND, IFINDEX, &damaged);
            // The other VRID that a bit can make of it is none of ours either.
            let passes = reason.is_none_or(|reason| reason.verdict() == Verdict::Pass);
            assert!(passes, "{reason:?} by bit {bit} of byte {at}");
        }
        assert!(
            cpu.receive(SECOND, IFINDEX, &frame[..at])
                .is_none_or(|reason| { reason.verdict() == Verdict::Pass })
        );
    }
}

#[test]
fn a_claim_is_reported_now_and_then() {
    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
    let host = host();
    let arp = |mac: [u8; 6]| {
        let begin = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
        [&begin[..], &mac, &kind, &mac, &[10, 0, 0, 100], &[0; 10]].concat()
    };
    let mut cpu = host.cpu();
    assert_eq!(cpu.receive(SECOND, IFINDEX, &arp(THEIRS)), None);
    let held = Held { slot: FOUR, mac: [2, 0, 0, 0, 0, 1, 0, 0], ..Held::default() };
    host.hold(IFINDEX, [10, 0, 0, 100], held);
    // Given up, and not gone yet: it is the new master's, and its claim is noted all the same.
    assert_eq!(cpu.receive(SECOND, IFINDEX, &arp(THEIRS)), None);
    assert_eq!(host.lease(FOUR).expect("there").get::<Lease>().claimed, SECOND);
    host.set_filter(FOUR, ReportFilter { state: state::MASTER, ..backup(100, None) });
    assert_eq!(cpu.receive(SECOND, IFINDEX, &arp(OURS)), None);
    assert_eq!(cpu.receive(SECOND, IFINDEX + 1, &arp(THEIRS)), None);
    for (now, told) in [(SECOND, true), (SECOND + 1, false), (2 * SECOND, true)] {
        assert_eq!(cpu.receive(now, IFINDEX, &arp(THEIRS)), Some(Reason::ArpConflict));
        let report = host.next_report();
        assert_eq!(report.is_some(), told, "{now}");
        if let Some((event, claim)) = report {
            assert_eq!((event.slot, event.source), (FOUR, [10, 0, 0, 100].to_field()));
            assert_eq!(Claim::read(&claim), Some(Claim { mac: THEIRS, ..Claim::default() }));
        }
    }
    // On a CPU whose clock is read a little earlier than that of the one before.
    assert_eq!(cpu.receive(2 * SECOND - 5, IFINDEX, &arp(THEIRS)), Some(Reason::ArpConflict));
    assert_eq!(host.next_report(), None);
    host.release(IFINDEX, [10, 0, 0, 100]);
    assert_eq!(cpu.receive(9 * SECOND, IFINDEX, &arp(THEIRS)), None);
}

#[test]
fn frames_to_a_virtual_mac_are_for_the_master() {
    let host = host();
    let frame = |over, vrid| {
        let mut frame = [0; 14];
        frame[..6].copy_from_slice(&[0, 0, 0x5e, 0, over, vrid]);
        frame
    };
    let mut cpu = host.cpu();
    let mut arriving = |now, over, vrid| cpu.arriving(now, IFINDEX, &frame(over, vrid));
    let unknown = Some(Reason::VirtualMacUnknown);
    let accepted = Some(Reason::VirtualMacAccepted);
    let master = ReportFilter { state: state::MASTER, ..backup(100, None) };
    host.set_filter(FOUR, master);
    assert_eq!(arriving(SECOND, 1, VRID), unknown, "it has none");
    let mac = crate::virtual_mac::of_router(FAMILY_V4, VRID);
    host.set_virtual_mac(IFINDEX, mac, FOUR);
    assert_eq!(arriving(SECOND, 1, VRID), accepted);
    // Another router's, which has taken it over meanwhile, stays.
    host.remove_virtual_mac(IFINDEX, mac, FOUR + 1);
    assert_eq!(arriving(SECOND, 1, VRID), accepted);
    // One that is none of the RFC.
    host.set_virtual_mac(IFINDEX, [0, 0, 0x5e, 0, 3, VRID + 1], FOUR);
    assert_eq!(arriving(SECOND, 3, VRID + 1), accepted);
    // Another family, another VRID, and what is no virtual MAC address.
    assert_eq!([arriving(SECOND, 2, VRID), arriving(SECOND, 1, VRID + 9)], [unknown; 2]);
    assert_eq!(arriving(SECOND, 3, VRID), None);
    host.set_filter(FOUR, backup(100, None));
    assert_eq!(arriving(SECOND, 1, VRID), Some(Reason::VirtualMacBackup));
    // The lease of a daemon that stands still.
    host.set_filter(FOUR, master);
    let lease = host.lease(FOUR).expect("there");
    let terms = lease::Terms::new(lease::FenceMode::Claim, SECOND, 3);
    lease::begin(lease, SECOND, terms);
    lease::claim(lease, 2 * SECOND);
    assert_eq!(arriving(4 * SECOND, 1, VRID), accepted);
    assert_eq!(arriving(4 * SECOND + 1, 1, VRID), Some(Reason::VirtualMacFenced));
}

#[test]
fn nobody_else_sends_from_the_virtual_mac_of_a_master() {
    let host = host();
    let mac = [2, 0, 0x5e, 0, 1, VRID];
    host.set_virtual_mac(IFINDEX, mac, FOUR);
    let virtual_mac = crate::virtual_mac::padded(mac);
    let held = Held { slot: FOUR, virtual_mac, ..Held::default() };
    host.hold(IFINDEX, [10, 0, 0, 100], held);
    let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let arp = |last| [&[0xff; 6][..], &mac, &kind, &mac, &[10, 0, 0, last], &[0; 10]].concat();
    let ip = [&[2; 6][..], &mac, &[8, 0, 0x45], &[0; 19]].concat();
    let seen = || host.slot(FOUR).own_mac_ns;
    let sent_from = |frame: &[u8]| host.cpu().sent_from(SECOND, IFINDEX, frame);
    // Of the master.
    host.set_filter(FOUR, backup(100, None));
    assert_eq!((sent_from(&ip), sent_from(&arp(100)), seen()), (None, None, 0));
    host.set_filter(FOUR, ReportFilter { state: state::MASTER, ..backup(100, None) });
    assert_eq!((sent_from(&[2; 34]), seen()), (None, 0), "from another one");
    let mut advert = ip.clone();
    advert[23] = 112;
    assert_eq!((sent_from(&advert), seen()), (None, 0), "what every master sends from it");
    assert_eq!((sent_from(&ip), seen()), (Some(Reason::VirtualMacSource), SECOND));
    assert_eq!(sent_from(&arp(100)), Some(Reason::VirtualMacEcho));
    assert_eq!(sent_from(&arp(9)), Some(Reason::VirtualMacSource), "no address of ours");
    // Another host has taken over from a daemon that stands still.
    let lease = host.lease(FOUR).expect("there");
    lease::begin(lease, 0, lease::Terms::new(lease::FenceMode::Claim, 1, 3));
    lease::claim(lease, SECOND);
    assert_eq!(sent_from(&ip), None);
}

/// What the daemon is told of a claim, if anything.
fn claimed(host: &Host) -> Option<Claim> {
    let (event, payload) = host.next_report()?;
    assert_eq!(event.reason, Reason::ArpConflict.index());
    Some(Claim::read(&payload).expect("a claim"))
}

#[test]
fn a_claim_by_the_virtual_mac_may_be_our_own() {
    let host = host();
    let mac = crate::virtual_mac::of_router(FAMILY_V4, VRID);
    let virtual_mac = crate::virtual_mac::padded(mac);
    let own = [2, 0, 0, 0, 0, 1];
    let held = crate::virtual_mac::padded(own);
    let held = Held { slot: FOUR, mac: held, virtual_mac, ..Held::default() };
    host.hold(IFINDEX, [10, 0, 0, 100], held);
    host.set_filter(FOUR, ReportFilter { state: state::MASTER, ..backup(100, None) });
    let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let arp = |to: [u8; 6]| [&to[..], &mac, &kind, &mac, &[10, 0, 0, 100], &[0; 10]].concat();
    let receive = |now, to| host.cpu().receive(now, IFINDEX, &arp(to));
    let lease = host.lease(FOUR).expect("there");
    let noted = || lease.get::<Lease>().claimed;
    lease::begin(lease, SECOND, lease::Terms::new(lease::FenceMode::Claim, SECOND, 3));
    for (now, claimed_at) in [(2 * SECOND, 0), (5 * SECOND, 5 * SECOND)] {
        // The daemon is to ask, but not for every one.
        for told in [Some(Claim { mac, may_be_ours: 1, reserved: 0 }), None] {
            assert_eq!(
                (receive(now, [0xff; 6]), noted(), claimed(&host)),
                (None, claimed_at, told)
            );
        }
    }
    // The answer, which is told however soon it comes.
    let is = Some(Reason::ArpConflict);
    for told in [Some(Claim { mac, may_be_ours: 0, reserved: 0 }), None] {
        let now = 5 * SECOND + 1;
        assert_eq!((receive(now, own), noted(), claimed(&host)), (is, now, told));
    }
    assert_eq!((receive(5 * SECOND + 2, [0xff; 6]), claimed(&host)), (None, None));
    // To the virtual MAC address itself it may have come round.
    let told = Some(Claim { mac, may_be_ours: 1, reserved: 0 });
    assert_eq!((receive(6 * SECOND, mac), claimed(&host)), (None, told));
}

/// What happens to one router.
#[derive(Clone, Debug)]
enum Step {
    /// One of four sources advertises, one of them under two addresses lists.
    Advert { source: u8, priority: u8, count: u8 },
    /// The daemon acknowledges the report before, or nothing.
    Ack(bool),
    /// It listens to this one, or to nobody.
    Follow(Option<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advert = (0u8..4, prop::sample::select(std::vec![0u8, 50, 100, 200]), 1u8..3);
    let step = prop_oneof![
        6 => advert.prop_map(|(source, priority, count)| Step::Advert { source, priority, count }),
        2 => any::<bool>().prop_map(Step::Ack),
        1 => prop::option::of(0u8..4).prop_map(Step::Follow),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// What moves the time at which the master was heard is that master's own, or what was acknowledged to the letter; and
    /// what is quiet is what was acknowledged.
    #[test]
    fn silence_is_the_masters_own(steps in steps(), apart in 70_000u64..20_000_000) {
        let host = host();
        let mut cpu = host.cpu();
        let source = |n: u8| [10, 0, 0, 10 + n];
        let (mut now, mut acked, mut last, mut follows) = (SECOND, None, None, None);
        for step in steps {
            now += apart;
            match step {
                Step::Advert { source: n, priority, count } => {
                    let said = (n, priority, count);
                    let before = host.slot(FOUR).master_seen;
                    let frame = Advert::v3(source(n), priority, count).frame();
                    let reason = cpu.receive(now, IFINDEX, &frame);
                    let report = host.next_report();
                    let quiet = reason == Some(Reason::Accepted) && report.is_none();
                    prop_assert_eq!(quiet, acked == Some(said));
                    let moved = host.slot(FOUR).master_seen != before;
                    // Priority 0 is of a class of its own.
                    let of_master = follows == Some(n) && priority > 0;
                    prop_assert_eq!(moved, quiet || of_master, "{:?} {:?}", said, reason);
                    if let Some((event, _)) = report {
                        last = Some((event.digest, said));
                    }
                }
                Step::Ack(this) => {
                    let (digest, said) = last.filter(|_| this).unzip();
                    host.set_ack(FOUR, digest.unwrap_or(0));
                    acked = said;
                }
                Step::Follow(n) => {
                    follows = n;
                    let tag = |n| host.source_tag(source(n).to_field());
                    let master = n.map(|n| Master { tag: tag(n), priority: 200 });
                    host.set_filter(FOUR, backup(100, master));
                }
            }
        }
    }
}

/// Adverts of two sources on two CPUs at once, and a daemon that listens to one of them and then to the other, over and over:
/// whenever it looks, the silence that it is shown since it listens to one is that one's.
#[test]
fn two_cpus_judge_at_once() {
    const ROUNDS: usize = 100;
    let host = host();
    let sources = [MASTER, STRANGER];
    // A clock that no two readers see the same, and who has read it.
    let clock = AtomicU64::new(SECOND);
    let tick = |who: u64| clock.fetch_add(4, Ordering::SeqCst) / 4 * 4 + who;
    let stop = AtomicBool::new(false);
    let steady = sources.map(|source| Advert::v3(source, 200, 1));
    let digests = [0, 1].map(|n: usize| reported(&host, tick(3), &steady[n]));
    let heard = [const { AtomicU64::new(0) }; 2];
    let judge = |who: usize, mut cpu: Cpu<'_>| {
        // What is acknowledged, and the same source with something else.
        let frames = [200, 199].map(|priority| Advert::v3(sources[who], priority, 1).frame());
        for frame in frames.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            cpu.receive(tick(who as u64), IFINDEX, frame);
            heard[who].fetch_add(1, Ordering::Relaxed);
        }
    };
    // Nothing may panic before all have stopped.
    let mut wrong = None;
    std::thread::scope(|scope| {
        for who in 0..2 {
            let (judge, cpu) = (&judge, host.cpu());
            scope.spawn(move || judge(who, cpu));
        }
        for master in (0..ROUNDS).map(|round| round % 2) {
            let tag = host.source_tag(sources[master].to_field());
            // As the daemon: first what is acknowledged, then the filter, then the clock.
            host.set_ack(FOUR, digests[master]);
            host.set_filter(FOUR, backup(100, Some(Master { tag, priority: 200 })));
            let since = tick(3);
            let before = heard[master].load(Ordering::Relaxed);
            // Until it has heard that one some more, and at least once.
            let mut seen = 0;
            while heard[master].load(Ordering::Relaxed) < before + 20 || seen == 0 {
                while host.next_report().is_some() {}
                // What was not reported has a coarse time, which does not tell who it was.
                if let Some(MasterSeen { at_ns, unreported: None }) = host.master_seen(FOUR)
                    && at_ns > since
                {
                    if at_ns % 4 != master as u64 {
                        wrong = Some((master, at_ns % 4));
                    }
                    seen += 1;
                }
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(wrong, None, "who was heard in whose place");
    let all: u64 = heard.iter().map(|heard| heard.load(Ordering::Relaxed)).sum();
    // No addition was lost; the two before were in `reported`.
    assert_eq!(host.slot(FOUR).adverts, all + 2);
}
