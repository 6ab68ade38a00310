//! Signed advertisements, checked by the programs in the kernel.

use aya::programs::{TestRun, TestRunOptions};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use vrrp_common::hmac::{Sequence, prepare};
use vrrp_common::maps::{RouterEntry, RouterKey, hmac as flags};
use vrrp_common::reason::{Reason, Verdict};
use vrrp_common::{FAMILY_V4, FAMILY_V6};
use vrrp_user::capture::CaptureMode;
use vrrp_user::io::bpf::{Feature, Without};
use vrrp_user::io::timer;
use vrrp_user::types::id::KeyId;

use super::{Bench, FAR_PEER, Frame, PEER, V2_OPEN, V3, V3_PEERS, ipv6, routers, runtime};

const KEY: [u8; 32] = [7; 32];
const NUMBER: u8 = 3;
/// Seconds.
const WINDOW: u16 = 5;

/// The clock of this host.
fn clock() -> Sequence {
    Sequence::at(timer::now().0.wrapping_add(timer::realtime_offset()))
}

fn entry_of(vrid: u8, family: u8) -> (RouterKey, RouterEntry) {
    let found = routers().into_iter().find(|(key, _)| (key.vrid, key.family) == (vrid, family));
    found.expect("a router")
}

impl Bench {
    /// With the programs that check signatures, and a key for these routers.
    fn signed(flags: u8, signed: &[(u8, u8)]) -> Self {
        let mut bench = Self::new();
        let loader = bench.kernel.signature_loader().expect("not loaded yet");
        bench.kernel.set_signatures(Some(loader.load()));
        let lacks: Vec<_> = bench.kernel.lacks().iter().map(|it| it.text.as_str()).collect();
        for mode in [CaptureMode::Native, CaptureMode::Generic] {
            assert!(bench.kernel.signature_modes().contains(mode), "{mode}: {lacks:?}");
        }
        bench.kernel.set_realtime_offset(timer::realtime_offset()).expect("the clock");
        for (vrid, family) in signed {
            let (key, entry) = entry_of(*vrid, *family);
            let entry = RouterEntry { hmac: flags, hmac_window: WINDOW, ..entry };
            bench.kernel.set_router(&key, &entry).expect("set_router");
            let id = KeyId::new(NUMBER).expect("a number");
            bench.kernel.set_hmac_key(entry.slot, id, prepare(&KEY)).expect("set_hmac_key");
        }
        bench
    }

    fn reason(&mut self, frame: &[u8]) -> Reason {
        let (verdict, reason) = self.run(frame);
        let reason = reason.expect("counted");
        assert_eq!(verdict, reason.verdict(), "{reason:?}");
        reason
    }
}

/// The trailer of a message from an address, by this key and number.
fn trailer(message: &[u8], source: &[u8], number: u8, key: &[u8], at: Sequence) -> Vec<u8> {
    let mut trailer = vec![1, number, 0, 0];
    trailer.extend(at.0.to_be_bytes());
    let mut signed = vec![if source.len() == 4 { 4 } else { 6 }, message[0] >> 4, message[1], 0];
    signed.extend(source);
    signed.resize(20, 0);
    signed.extend(message);
    signed[26..28].fill(0);
    signed.extend(&trailer);
    signed.extend([0; 16]);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(&signed);
    trailer.extend(&mac.finalize().into_bytes()[..16]);
    trailer
}

/// The bytes of a frame over IPv4 with something behind the message.
fn with_trailer(frame: &Frame, trailer: &[u8]) -> Vec<u8> {
    let head = 14 + 4 * frame.tags.len();
    let mut bytes = frame.bytes();
    bytes.extend(trailer);
    let ip = &mut bytes[head..];
    let total = u16::from_be_bytes([ip[2], ip[3]]) + trailer.len() as u16;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[10..12].fill(0);
    let sum = super::checksum(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn signed_by(frame: &Frame, number: u8, key: &[u8], at: Sequence) -> Vec<u8> {
    with_trailer(frame, &trailer(&frame.message, &frame.source, number, key, at))
}

fn signed(frame: &Frame, at: Sequence) -> Vec<u8> {
    signed_by(frame, NUMBER, &KEY, at)
}

fn later(sequence: Sequence, by: u64) -> Sequence {
    Sequence(sequence.0 + by)
}

fn seconds(sequence: Sequence, by: i64) -> Sequence {
    Sequence(sequence.0.wrapping_add_signed(by << 32))
}

#[test]
fn each_reason_in_its_order() {
    let mut bench = Bench::signed(flags::KEYS, &[(V3, FAMILY_V4), (V2_OPEN, FAMILY_V4)]);
    for frame in [Frame::v3(V3, 1), Frame::v3(V3, 3), Frame::v2(V2_OPEN, 1, 0, [0; 8], 3)] {
        let now = clock();
        assert_eq!(bench.reason(&signed(&frame, now)), Reason::Accepted);
        assert_eq!(bench.reason(&signed(&frame, now)), Reason::HmacReplay);
        assert_eq!(bench.reason(&signed(&frame, Sequence(now.0 - 1))), Reason::HmacReplay);
        let other = signed_by(&frame, NUMBER, &[8; 32], later(now, 1));
        assert_eq!(bench.reason(&other), Reason::HmacBad);
        let unknown = signed_by(&frame, NUMBER + 1, &KEY, later(now, 1));
        assert_eq!(bench.reason(&unknown), Reason::HmacUnknownKey);
        for off in [-7, 7] {
            assert_eq!(bench.reason(&signed(&frame, seconds(now, off))), Reason::HmacStale);
        }
        assert_eq!(bench.reason(&frame.bytes()), Reason::HmacMissing);
        let mut kind = signed(&frame, later(now, 1));
        let head = kind.len() - 28;
        kind[head] = 2;
        assert_eq!(bench.reason(&kind), Reason::HmacMalformed);
        // None of them counts.
        assert_eq!(bench.reason(&signed(&frame, later(now, 1))), Reason::Accepted);
    }
}

/// All lengths, so that the end and the padding are at every place of a block.
#[test]
fn however_long_it_is() {
    let mut bench = Bench::signed(flags::KEYS, &[(V3, FAMILY_V4)]);
    for addresses in 1..=255 {
        let frame = Frame::v3(V3, addresses);
        let bytes = signed(&frame, clock());
        let mut changed = bytes.clone();
        changed[34 + frame.message.len() - 1] ^= 4;
        assert_eq!(bench.reason(&changed), Reason::HmacBad, "{addresses}");
        // The daemon need not be told of each of so many, and here nobody reads the ring.
        let reason = bench.reason(&bytes);
        let passed =
            matches!(reason, Reason::Accepted | Reason::OutranksLimited | Reason::RingFull);
        assert!(passed, "{addresses}: {reason:?}");
    }
}

/// What a forger writes into the fields must not be what an operator reads.
#[test]
fn nothing_counts_before_the_signature() {
    let mut bench = Bench::signed(flags::KEYS, &[(V3, FAMILY_V4), (V2_OPEN, FAMILY_V4)]);
    let forged = |frame: Frame| signed_by(&frame, NUMBER, &[9; 32], clock());
    let sum = Frame::v3(V3, 1).with(|f| f.sum = super::Sum::Wrong);
    let interval = Frame::v3(V3, 1).with(|f| f.message[4..6].fill(0));
    let v2_interval = Frame::v2(V2_OPEN, 1, 0, [0; 8], 9);
    let auth_type = Frame::v2(V2_OPEN, 1, 1, [1; 8], 3);
    for (frame, reason) in [
        (sum, Reason::Checksum),
        (interval, Reason::ZeroInterval),
        (v2_interval, Reason::Interval),
        (auth_type, Reason::AuthType),
    ] {
        assert_eq!(bench.reason(&forged(frame.clone())), Reason::HmacBad, "{reason:?}");
        assert_eq!(bench.reason(&frame.bytes()), Reason::HmacMissing, "{reason:?}");
        assert_eq!(bench.reason(&signed(&frame, clock())), reason);
    }
}

#[test]
fn modes_of_a_roll_out() {
    let mut bench = Bench::signed(flags::KEYS | flags::UNSIGNED, &[(V3, FAMILY_V4)]);
    assert_eq!(bench.reason(&Frame::v3(V3, 1).bytes()), Reason::Accepted);
    assert_eq!(bench.reason(&signed(&Frame::v3(V3, 1), clock())), Reason::Accepted);
    let forged = signed_by(&Frame::v3(V3, 1), NUMBER, &[9; 32], clock());
    assert_eq!(bench.reason(&forged), Reason::HmacBad);
    let mut bench = Bench::signed(flags::KEYS | flags::MONOTONIC, &[(V3, FAMILY_V4)]);
    let old = seconds(clock(), -100_000);
    assert_eq!(bench.reason(&signed(&Frame::v3(V3, 1), old)), Reason::Accepted);
    assert_eq!(bench.reason(&signed(&Frame::v3(V3, 1), old)), Reason::HmacReplay);
    assert_eq!(bench.reason(&signed(&Frame::v3(V3, 1), later(old, 1))), Reason::Accepted);
}

#[test]
fn strangers_are_refused_before_anything_is_reckoned() {
    let mut bench = Bench::signed(flags::KEYS, &[(V3_PEERS, FAMILY_V4)]);
    let unicast = |source| {
        Frame::v3(V3_PEERS, 1).with(|f| {
            (f.source, f.destination, f.to) = (source, super::LOCAL, super::MAC);
        })
    };
    assert_eq!(bench.reason(&signed(&unicast([10, 0, 0, 77]), clock())), Reason::UnknownPeer);
    assert_eq!(bench.reason(&signed(&unicast(FAR_PEER), clock())), Reason::PeerTtl);
    let now = clock();
    assert_eq!(bench.reason(&signed(&unicast(PEER), now)), Reason::Accepted);
    let far = unicast(FAR_PEER).with(|f| f.ttl = 252);
    assert_eq!(bench.reason(&signed(&far, now)), Reason::Accepted, "each source has its own");
    assert_eq!(bench.reason(&signed(&far, now)), Reason::HmacReplay);
}

/// Each is another one by its signature, and says the same.
#[test]
fn those_of_a_steady_master_wake_nobody() {
    for v6 in [false, true] {
        let family = if v6 { FAMILY_V6 } else { FAMILY_V4 };
        let mut bench = Bench::signed(flags::KEYS, &[(V3, family)]);
        let runtime = runtime();
        let guard = runtime.enter();
        let mut ring = bench.kernel.take_events().expect("ring");
        drop(guard);
        let slot = entry_of(V3, family).1.slot;
        let advert = |at: Sequence| {
            if v6 {
                ipv6::signed(V3, 2, |m, s| trailer(m, s, NUMBER, &KEY, at))
            } else {
                signed(&Frame::v3(V3, 2), at)
            }
        };
        let start = clock();
        assert_eq!(bench.reason(&advert(start)), Reason::Accepted);
        let events = super::drain(&mut ring);
        let [(event, message)] = &events[..] else { panic!("{events:?}") };
        // With its trailer, as the daemon has always had it.
        assert_eq!(message.len(), usize::from(event.payload_len));
        bench.kernel.set_ack(slot, event.digest).expect("set_ack");
        let before = bench.kernel.slot(slot);
        for n in 1..=50 {
            assert_eq!(bench.reason(&advert(later(start, n))), Reason::Accepted);
        }
        assert_eq!(super::drain(&mut ring), [], "IPv6 {v6}");
        let after = bench.kernel.slot(slot);
        assert_eq!(after.adverts, before.adverts + 50);
        assert!(after.master_seen > before.master_seen);
        // What is refused does not count as heard.
        assert_eq!(bench.reason(&advert(start)), Reason::HmacReplay);
        assert_eq!(bench.kernel.slot(slot).master_seen, after.master_seen);
    }
}

#[test]
fn without_programs_that_check_the_daemon_does() {
    let mut bench = Bench::without(Without::of(&[Feature::Signatures]));
    let loader = bench.kernel.signature_loader().expect("not tried yet");
    bench.kernel.set_signatures(Some(loader.load()));
    assert!(!bench.kernel.signature_modes().contains(CaptureMode::Native));
    assert!(bench.kernel.lacks().iter().any(|it| it.text.contains("signatures are checked by")));
    assert!(bench.kernel.signature_loader().is_none());
    let (key, entry) = entry_of(V3, FAMILY_V4);
    bench.kernel.set_router(&key, &RouterEntry { hmac: flags::KEYS, ..entry }).expect("set");
    let (verdict, reason) = bench.run(&Frame::v3(V3, 1).bytes());
    assert_eq!((verdict, reason), (Verdict::Pass, Some(Reason::HmacUnchecked)));
}

/// What a refusal costs, and what does not concern signatures: nanoseconds by `BPF_PROG_TEST_RUN`.
#[test]
#[ignore = "measures: needs the machine for itself"]
fn cost() {
    let mut bench = Bench::signed(flags::KEYS, &[(V3, FAMILY_V4), (V3, FAMILY_V6)]);
    let now = clock();
    let forged = |addresses| signed_by(&Frame::v3(V3, addresses), NUMBER, &[9; 32], now);
    let six = |addresses| ipv6::signed(V3, addresses, |m, s| trailer(m, s, NUMBER, &[9; 32], now));
    let cases = [
        ("not for VRRP", {
            let mut other = Frame::v3(V3, 1).bytes();
            other[23] = 6;
            other
        }),
        ("unsigned, of another router", Frame::v2(V2_OPEN, 1, 0, [0; 8], 3).bytes()),
        ("missing", Frame::v3(V3, 1).bytes()),
        ("stale", signed(&Frame::v3(V3, 1), seconds(now, -99))),
        ("unknown key", signed_by(&Frame::v3(V3, 1), 99, &KEY, now)),
        ("wrong, one address", forged(1)),
        ("wrong, ten addresses", forged(10)),
        ("wrong, 255 addresses", forged(255)),
        ("wrong, one IPv6 address", six(1)),
        ("wrong, 200 IPv6 addresses", six(200)),
        ("right, then replayed", signed(&Frame::v3(V3, 1), now)),
    ];
    for (name, bytes) in &cases {
        let repeat = if bytes.len() > 500 { 20_000 } else { 200_000 };
        let options = TestRunOptions { data_in: Some(bytes), repeat, ..TestRunOptions::new() };
        let took = bench.kernel.program().expect("program").test_run(options);
        println!("{name}: {:?}", took.expect("run").duration);
    }
}
