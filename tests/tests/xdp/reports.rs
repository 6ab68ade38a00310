//! Which advertisements the daemon is told of: floods of each class in each state, and what must get through.

use std::collections::BTreeMap;

use vrrp_common::maps::{Slot, state};
use vrrp_common::reason::Reason;
use vrrp_common::report::{
    LIMIT, LOWER_LIMIT, Limit, MASTER_LIMIT, Master, MasterSeen, ReportFilter, SOURCE_LIMIT,
    Unreported, source_tag,
};
use vrrp_user::wire::family::to_field;

use super::{Bench, EventRing, Frame, LOCAL, PEER, V3, drain, ipv6, now, runtime};

/// Our own priority.
const OURS: u8 = 100;
/// Packets of a flood: a second of 10,000/s.
const FLOOD: u32 = 10_000;
/// The master, where there is one.
const MASTER: [u8; 4] = PEER;
const STRANGER: [u8; 4] = [10, 0, 0, 66];

/// The router [`V3`] in some state, and the ring that it reports to.
struct Router {
    bench: Bench,
    ring: EventRing,
    _runtime: tokio::runtime::Runtime,
}

impl Router {
    fn new(state: u8, ignores_lower: bool, master: Option<u8>) -> Self {
        let mut bench = Bench::new();
        let runtime = runtime();
        let guard = runtime.enter();
        let ring = bench.kernel.take_events().expect("ring");
        drop(guard);
        let tag = source_tag(bench.kernel.source_key(), to_field(MASTER.into()));
        let master = master.map(|priority| Master { tag, priority });
        let filter = ReportFilter { state, priority: OURS, ignores_lower, master };
        bench.kernel.set_filter(0, filter).expect("set_filter");
        Self { bench, ring, _runtime: runtime }
    }

    fn backup(ignores_lower: bool, master: Option<u8>) -> Self {
        Self::new(state::BACKUP, ignores_lower, master)
    }

    /// The priorities that were reported, by sender.
    fn reported(&mut self) -> Vec<([u8; 4], u8)> {
        let events = drain(&mut self.ring);
        let source = |field: [u8; 16]| field[..4].try_into().expect("4");
        events.iter().map(|(event, message)| (source(event.source), message[2])).collect()
    }

    /// Shows it that many of one advertisement. How many were reported, and how they were counted.
    fn flood(&mut self, frame: &Frame, repeat: u32) -> (u64, BTreeMap<Reason, u64>) {
        let counts = |bench: &Bench| bench.reader.reasons().expect("reasons");
        let before = counts(&self.bench);
        self.bench.flood(&frame.bytes(), repeat);
        let after = counts(&self.bench).into_iter().zip(before);
        let counted = after.map(|((reason, after), (_, before))| (reason, after - before));
        let counted = counted.filter(|(_, packets)| *packets > 0).collect();
        (self.reported().len() as u64, counted)
    }

    /// One advertisement, which must be reported.
    fn must_hear(&mut self, frame: &Frame) {
        assert_eq!(self.bench.run(&frame.bytes()).1, Some(Reason::Accepted));
        assert_eq!(self.reported(), [(frame.source, frame.message[2])]);
    }

    fn slot(&self) -> Slot {
        self.bench.kernel.slot(0)
    }

    fn master_seen(&self) -> MasterSeen {
        self.bench.kernel.master_seen(0).expect("the master was heard")
    }
}

fn advert(source: [u8; 4], priority: u8) -> Frame {
    Frame::v3(V3, 1).with(|f| (f.source, f.message[2]) = (source, priority))
}

/// The most that a limit admits from `start` until now.
fn most(limit: Limit, start: u64) -> u64 {
    limit.burst + (now() - start) / limit.period_ns + 1
}

/// What floods a router in some state, how it is counted, how much of it is reported, and what must be heard meanwhile.
struct Case {
    name: &'static str,
    router: fn() -> Router,
    flood: Frame,
    limited: Reason,
    limit: Option<Limit>,
    heard: Vec<Frame>,
}

fn cases() -> Vec<Case> {
    let follows: fn() -> Router = || Router::backup(true, Some(200));
    let alone: fn() -> Router = || Router::backup(false, None);
    let preempts: fn() -> Router = || Router::backup(true, None);
    let patient: fn() -> Router = || Router::backup(false, Some(50));
    let master: fn() -> Router = || Router::new(state::MASTER, false, None);
    let case = |name, router, flood, limited, limit, heard| Case {
        name,
        router,
        flood,
        limited,
        limit,
        heard,
    };
    let (lower, higher, resigns) =
        (advert(STRANGER, 50), advert(STRANGER, 220), advert(STRANGER, 0));
    let better = |priority| advert([10, 0, 0, 9], priority);
    let both = |priority| vec![better(priority), better(0)];
    let (lower_limit, source_limit) = (Some(LOWER_LIMIT), Some(SOURCE_LIMIT));
    use Reason::{LowerIgnored, LowerLimited, MasterLimited, OutranksLimited, ResignsLimited};
    let with_master = |mut heard: Vec<Frame>| {
        heard.push(advert(MASTER, 199));
        heard
    };
    vec![
        case(
            "lower, backup of a better one",
            follows,
            lower.clone(),
            LowerIgnored,
            None,
            with_master(both(210)),
        ),
        case(
            "lower, backup that pre-empts",
            preempts,
            lower.clone(),
            LowerIgnored,
            None,
            both(100),
        ),
        case("lower, backup of nobody", alone, lower.clone(), LowerLimited, lower_limit, both(100)),
        case(
            "lower, backup that does not pre-empt",
            patient,
            lower.clone(),
            LowerLimited,
            lower_limit,
            with_master(both(60)),
        ),
        case("lower, master", master, lower.clone(), LowerLimited, lower_limit, both(101)),
        case(
            "equal with a lower address, master",
            master,
            advert([10, 0, 0, 0], OURS),
            LowerLimited,
            lower_limit,
            both(101),
        ),
        case(
            "equal with a greater address, master",
            master,
            advert(STRANGER, OURS),
            OutranksLimited,
            source_limit,
            both(101),
        ),
        case(
            "higher, backup",
            follows,
            higher.clone(),
            OutranksLimited,
            source_limit,
            with_master(both(100)),
        ),
        case(
            "higher, backup of nobody",
            alone,
            higher.clone(),
            OutranksLimited,
            source_limit,
            both(100),
        ),
        case("higher, master", master, higher, OutranksLimited, source_limit, both(101)),
        case(
            "priority 0, backup",
            follows,
            resigns.clone(),
            ResignsLimited,
            source_limit,
            with_master(both(100)),
        ),
        case("priority 0, master", master, resigns, ResignsLimited, source_limit, both(101)),
        case(
            "the master with other contents",
            follows,
            advert(MASTER, 220),
            MasterLimited,
            Some(MASTER_LIMIT),
            both(100),
        ),
        case(
            "the lower master with other contents",
            patient,
            advert(MASTER, 40),
            MasterLimited,
            Some(MASTER_LIMIT),
            both(60),
        ),
    ]
}

#[test]
fn no_flood_hides_what_could_change_something() {
    for Case { name, router, flood, limited, limit, heard } in cases() {
        let mut router = router();
        let start = now();
        let (reported, counted) = router.flood(&flood, FLOOD);
        match limit {
            Some(limit) => {
                let most = most(limit, start);
                assert!((1..=most).contains(&reported), "{name}: {reported} of {most}");
                assert_eq!(counted[&Reason::Accepted], reported, "{name}");
            }
            None => assert_eq!(reported, 0, "{name}"),
        }
        assert_eq!(counted[&limited], u64::from(FLOOD) - reported, "{name}: {counted:?}");
        assert!(counted.len() <= 2, "{name}: {counted:?}");
        for frame in heard {
            router.must_hear(&frame);
        }
    }
}

/// From as many sources as there are packets: what each of them may has no end, what all of them may has.
#[test]
fn many_sources_have_one_budget() {
    for (priority, limited) in [(220, Reason::OutranksLimited), (0, Reason::ResignsLimited)] {
        let mut router = Router::backup(true, Some(200));
        let start = now();
        let mut reported = 0;
        for n in 0..2_000_u16 {
            let [high, low] = n.to_be_bytes();
            let (events, counted) = router.flood(&advert([10, 66, high, low], priority), 1);
            reported += events;
            assert!(events == 1 || counted == BTreeMap::from([(limited, 1)]), "{counted:?}");
        }
        assert!((1..=most(LIMIT, start)).contains(&reported), "{reported}");
        // The other budgets are untouched, and the master is heard.
        let other = if priority == 0 { 220 } else { 0 };
        router.must_hear(&advert([10, 0, 0, 9], other));
        router.must_hear(&advert(MASTER, 199));
    }
}

#[test]
fn who_takes_no_part_is_told_of_nobody() {
    for state in [state::INIT, state::FAULT] {
        let mut router = Router::new(state, false, None);
        for priority in [0, 50, 220] {
            let (reported, counted) = router.flood(&advert(STRANGER, priority), 100);
            assert_eq!((reported, counted), (0, BTreeMap::from([(Reason::NotListening, 100)])));
        }
        assert_eq!(router.slot().adverts, 300);
    }
}

#[test]
fn the_master_is_seen_whatever_it_says_and_nobody_else_is_taken_for_it() {
    let mut router = Router::backup(true, Some(200));
    // As many of others as there can be.
    for (source, priority) in [(STRANGER, 50), (STRANGER, 220), (STRANGER, 0), (MASTER, 0)] {
        router.flood(&advert(source, priority), 1_000);
        let slot = router.slot();
        assert_eq!(slot.master_seen, 0, "{source:?} {priority}");
        assert!(slot.last_seen_ns > 0);
    }
    // What is reported of the master needs not be kept.
    let before = now();
    router.must_hear(&advert(MASTER, 200));
    let seen = router.master_seen();
    assert_eq!(seen.unreported, None);
    assert!((before..=now()).contains(&seen.at_ns));
    // What is not reported is kept, the newest of it.
    router.flood(&advert(MASTER, 199), 10 * u32::try_from(MASTER_LIMIT.burst).expect("few"));
    let newest = advert(MASTER, 198);
    let before = now();
    while router.flood(&newest, 1).0 > 0 {}
    let seen = router.master_seen();
    // In steps of 65,536 ns.
    assert!((before >> 16 << 16..=now()).contains(&seen.at_ns));
    assert_eq!(seen.unreported, Some(Unreported { priority: 198, interval: 100 }));
    // Until there is room.
    std::thread::sleep(std::time::Duration::from_nanos(MASTER_LIMIT.period_ns));
    router.must_hear(&newest);
    assert_eq!(router.master_seen().unreported, None);
}

/// An acknowledgement ends what was kept before it: it is the newest then.
#[test]
fn what_is_acknowledged_is_not_pending() {
    let mut router = Router::backup(true, Some(200));
    let steady = advert(MASTER, 200);
    router.bench.flood(&steady.bytes(), 1);
    let digest = drain(&mut router.ring)[0].0.digest;
    router.bench.kernel.set_ack(0, digest).expect("set_ack");
    while router.flood(&advert(MASTER, 199), 1).0 > 0 {}
    assert!(router.master_seen().unreported.is_some());
    assert_eq!(
        router.flood(&steady, FLOOD),
        (0, BTreeMap::from([(Reason::Accepted, FLOOD.into())]))
    );
    assert_eq!(router.master_seen().unreported, None);
}

#[test]
fn ipv6_and_unicast_have_the_same_budgets() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let six = ipv6::lower_and_higher();
    let unicast = |priority| {
        let frame = Frame::v3(super::V3_UNICAST, 1);
        frame.with(|f| (f.destination, f.message[2]) = (LOCAL, priority)).bytes()
    };
    for (slot, frames) in [(6, six), (3, [unicast(50), unicast(200)])] {
        let filter =
            ReportFilter { state: state::MASTER, priority: OURS, ..ReportFilter::default() };
        bench.kernel.set_filter(slot, filter).expect("set_filter");
        let start = now();
        bench.flood(&frames[0], FLOOD);
        let reported = drain(&mut ring).len() as u64;
        assert!((1..=most(LOWER_LIMIT, start)).contains(&reported), "{reported}");
        bench.flood(&frames[1], 1);
        assert_eq!(drain(&mut ring).len(), 1);
    }
}

/// The kernel side takes the addresses into its digest in other ways than a host, which says what comes out.
#[test]
fn digests_are_those_of_a_host() {
    for copying in [false, true] {
        let mut bench = if copying { Bench::without(super::copying()) } else { Bench::new() };
        bench.tc = copying;
        let runtime = runtime();
        let _guard = runtime.enter();
        let mut ring = bench.kernel.take_events().expect("ring");
        let key = bench.kernel.source_key();
        let four = |count, behind| {
            Frame::v3(V3, count).with(|f| f.message.extend(vec![7; behind])).bytes()
        };
        let counts = [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 18, 32, 33, 60, 128, 200, 253, 255];
        let mut frames: Vec<_> =
            counts.iter().flat_map(|&count| [0, 4, 28].map(|behind| four(count, behind))).collect();
        frames.extend(
            counts.iter().flat_map(|&count| [0, 4, 28].map(|behind| ipv6::long(count, behind))),
        );
        let two = |count| Frame::v2(super::V2_PASSWORD, count, 1, super::PASSWORD, 1).bytes();
        frames.extend([0, 1, 2, 13, 14, 15, 30, 31, 254, 255].map(two));
        let mut seen = std::collections::BTreeSet::new();
        // What fits neither the longest message nor, by tc, a page.
        for bytes in
            frames.iter().filter(|bytes| bytes.len() < if copying { 3500 } else { 4096 + 54 })
        {
            std::thread::sleep(std::time::Duration::from_nanos(SOURCE_LIMIT.period_ns));
            let (_, reason) = bench.run(bytes);
            if reason == Some(Reason::VrrpLength) {
                drain(&mut ring);
                continue;
            }
            assert_eq!(reason, Some(Reason::Accepted), "{bytes:02x?}");
            let events = drain(&mut ring);
            let [(event, _)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(event.digest, super::host_digest(bytes, key), "{bytes:02x?}");
            assert!(seen.insert(event.digest), "twice: {bytes:02x?}");
        }
    }
}
