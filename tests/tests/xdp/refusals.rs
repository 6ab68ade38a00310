//! What the daemon is told of refused packets.

use vrrp_common::event::NO_SLOT;
use vrrp_common::reason::{Reason, Verdict};
use vrrp_common::report::REFUSAL_LIMIT;

use super::{
    Bench, FAMILY_V4, Frame, LOOPBACK, PEER, Sum, UNKNOWN, V3, V3_VLAN, drain, ipv6, runtime,
};

/// One report of a reason, a sender and a VRID in a minute, with the header that tells them.
#[test]
fn a_refusal_is_reported_once_a_minute() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let mut reported = |bench: &mut Bench, bytes: &[u8]| {
        for _ in 0..3 {
            bench.run(bytes);
        }
        drain(&mut ring)
    };
    let wrong = Frame::v3(V3, 2).with(|f| f.sum = Sum::Wrong);
    let events = reported(&mut bench, &wrong.bytes());
    let [(event, payload)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.reason, event.slot), (Reason::Checksum.index(), NO_SLOT));
    assert_eq!((event.ifindex, event.family, event.ttl), (LOOPBACK, FAMILY_V4, 255));
    assert_eq!((event.source[..4].as_ref(), event.wire_len), (&PEER[..], 0));
    assert_eq!(payload[..6], wrong.message[..6]);

    // Another reason, sender or VRID, but not just another message.
    let again = wrong.clone().with(|f| f.message[2] = 7);
    assert!(reported(&mut bench, &again.bytes()).is_empty());
    for other in [
        wrong.clone().with(|f| f.ttl = 1),
        wrong.clone().with(|f| f.source = [10, 0, 0, 3]),
        Frame::v3(V3_VLAN, 1).with(|f| (f.sum, f.tags) = (Sum::Wrong, vec![(0x8100, 7)])),
        // Nobody knows for which router: there is no whole header.
        Frame::new(vec![0x31, V3, 100], Sum::Plain),
        wrong.clone().with(|f| f.fragment = 0x2000),
    ] {
        assert_eq!(reported(&mut bench, &other.bytes()).len(), 1, "{:02x?}", other.bytes());
    }
    // Two in turns are no news either.
    for bytes in [wrong.bytes(), wrong.clone().with(|f| f.ttl = 1).bytes()].iter().cycle().take(4) {
        assert!(reported(&mut bench, bytes).is_empty(), "{bytes:02x?}");
    }
    let events = reported(&mut bench, &ipv6::refused());
    let [(event, payload)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.reason, event.source), (Reason::Ttl.index(), ipv6::PEER));
    assert_eq!(payload[1], V3);
    let short = Frame::new(vec![], Sum::Plain).with(|f| f.source = [10, 0, 0, 4]);
    let events = reported(&mut bench, &short.bytes());
    assert_eq!(events[0].1, [0; 8], "no message");

    // What is for nobody here, or for another host, is no refusal.
    for other in [
        Frame::v3(UNKNOWN, 1),
        Frame::v3(V3, 1).with(|f| f.destination = [224, 0, 0, 19]),
        Frame::v3(V3, 1).with(|f| f.to = [2; 6]),
    ] {
        assert!(reported(&mut bench, &other.bytes()).is_empty());
    }
}

/// However many senders there seem to be.
#[test]
fn forged_senders_do_not_fill_the_log() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let start = std::time::Instant::now();
    let frame = Frame::v3(V3, 1).with(|f| f.ttl = 1);
    for sender in 0..2_000_u16 {
        let [high, low] = sender.to_be_bytes();
        let bytes = frame.clone().with(|f| f.source = [10, 1, high, low]).bytes();
        assert_eq!(bench.run(&bytes), (Verdict::Drop, Some(Reason::Ttl)));
    }
    let seconds = start.elapsed().as_secs() + 1;
    let reported = drain(&mut ring).len() as u64;
    let most = REFUSAL_LIMIT.burst + seconds;
    assert!((REFUSAL_LIMIT.burst..=most).contains(&reported), "{reported} in {seconds} s");
}
