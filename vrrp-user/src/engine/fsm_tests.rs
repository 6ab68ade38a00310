//! The state machine, case by case: every event in every state, and the rules that need a sequence.

use proptest::prelude::*;

use super::*;
use crate::engine::tests::{router, v3};
use crate::engine::time::Centisecs;
use crate::engine::types::GarpPolicy;

const US: [u8; 4] = [10, 0, 0, 5];
const SECOND: Nanos = Nanos::from_secs(1);
/// It is read when it arrives, or as soon as the process runs.
const AT_ONCE: ReadAt = ReadAt(Nanos::ZERO);

fn ip(bytes: [u8; 4]) -> IpAddr {
    bytes.into()
}

fn spec() -> RouterSpec {
    RouterSpec {
        addresses: vec![ip([192, 0, 2, 1]), ip([192, 0, 2, 2])],
        garp: GarpPolicy {
            refresh: Nanos::from_secs(60),
            lower_prio_repeat: 4,
            ..GarpPolicy::DEFAULT
        },
        ..router(100)
    }
}

fn advert(source: [u8; 4], priority: u8) -> Advert {
    Advert {
        source: ip(source),
        priority: Priority(priority),
        interval: v3(100),
        addresses: spec().addresses,
    }
}

/// A router on its own clock, and what it asked for since it was looked at last.
struct Bench {
    router: VirtualRouter,
    now: Nanos,
    out: VecDeque<Action>,
}

impl Bench {
    fn new(spec: RouterSpec) -> Self {
        Self { router: VirtualRouter::new(RouterId(0), spec), now: SECOND, out: VecDeque::new() }
    }

    fn up(spec: RouterSpec) -> Self {
        let mut bench = Self::new(spec);
        bench.event(Event::LinkUp(ip(US)));
        bench
    }

    /// One in the given state, reached the usual way.
    fn in_state(state: State, spec: RouterSpec) -> Self {
        let mut bench = Self::new(spec);
        match state {
            State::Init => {}
            State::Backup | State::Master => bench.event(Event::LinkUp(ip(US))),
            State::Fault => bench.event(Event::LinkDown(FaultCause::InterfaceDown)),
        }
        if state == State::Master {
            bench.fire(Timer::MasterDown);
        }
        bench.out.clear();
        assert_eq!(bench.router.state, state);
        bench
    }

    fn event(&mut self, event: Event<'_>) {
        self.router.handle(self.now, event, &mut self.out);
    }

    fn hear(&mut self, source: [u8; 4], priority: u8) {
        self.event(Event::Advert(&advert(source, priority), AT_ONCE));
    }

    /// Goes to the deadline of a timer, which must be set, and fires it.
    fn fire(&mut self, timer: Timer) {
        self.now = self.router.deadlines.get(timer).expect("set");
        self.event(Event::Timer(timer));
    }

    fn left(&self, timer: Timer) -> Option<Nanos> {
        self.router.deadlines.get(timer).map(|at| at - self.now)
    }

    /// What it asked for, in words.
    fn done(&mut self) -> String {
        let words: Vec<_> = self.out.drain(..).map(|action| describe(&action)).collect();
        words.join(" ")
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::SendAdvert { priority, .. } => format!("advert({priority})"),
        Action::AddAddresses(_) => "add".into(),
        Action::RemoveAddresses(_) => "remove".into(),
        Action::SendGarp { rounds, .. } => format!("garp({rounds})"),
        Action::Transition { from, to, .. } => format!("{from}->{to}"),
        Action::LowerPriority(_) => "lower".into(),
        Action::GroupTransition { from, to, .. } => format!("group {from}->{to}"),
        Action::PriorityChanged { from, to, .. } => format!("priority {from}->{to}"),
        Action::Notice { notice, .. } => match notice {
            Notice::PriorityChanged { .. } => "priority".into(),
            Notice::AddressListMismatch(_) => "!list".into(),
            Notice::AddressListOrder(_) => "!order".into(),
            Notice::SecondOwner(_) => "!owner".into(),
            Notice::NewMaster { .. } => "!master".into(),
            Notice::IntervalLearned(_) => "!interval".into(),
            Notice::IntervalLong { .. } => "!long".into(),
            Notice::IntervalBounded { .. } => "!bounded".into(),
            Notice::IntervalOverBound { .. } => "!over".into(),
            Notice::LowerPriority { .. } => "!lower".into(),
            Notice::Preempting { .. } => "!preempting".into(),
            Notice::AddressConflict { .. } | Notice::AddressConflictOver { .. } => {
                "!conflict".into()
            }
        },
    }
}

/// Names the timers that are set.
fn timers(router: &VirtualRouter) -> String {
    let set: Vec<_> = Timer::ALL
        .into_iter()
        .filter(|&timer| router.deadlines.get(timer).is_some())
        .map(|timer| match timer {
            Timer::MasterDown => "down",
            Timer::Advert => "adv",
            Timer::GarpDelayed => "g2",
            Timer::GarpRefresh => "gr",
            Timer::GarpLowerPrio => "gl",
        })
        .collect();
    set.join(" ")
}

/// Every event in every state: what is asked for, where it leads, which timers run afterwards.
#[test]
fn every_event_in_every_state() {
    let higher = advert([10, 0, 0, 1], 200);
    let equal_greater = advert([10, 0, 0, 9], 100);
    let equal_lower = advert([10, 0, 0, 1], 100);
    let lower = advert([10, 0, 0, 9], 50);
    let zero = advert([10, 0, 0, 9], 0);
    let own = advert(US, 100);
    let mut v2 = advert([10, 0, 0, 1], 200);
    v2.interval = AdvertInterval::Secs(1);
    let lost = ip([192, 0, 2, 1]);
    let changed =
        RouterSpec { priority: Priority(7), addresses: vec![lost], preempt: false, ..spec() };
    let owner = RouterSpec { priority: Priority::OWNER, ..spec() };
    let mut quiet = spec();
    (quiet.garp.master_delay, quiet.garp.refresh) = (Nanos::ZERO, Nanos::ZERO);

    let still = ["Init: ", "Backup: down", "Master: adv g2 gr", "Fault: "];
    let table: Vec<(&str, Event<'_>, [&str; 4])> = vec![
        (
            "link up",
            Event::LinkUp(ip(US)),
            [
                "INIT->BACKUP Backup: down", "Backup: down", "Master: adv g2 gr",
                "FAULT->BACKUP Backup: down",
            ],
        ),
        (
            "link up, other address",
            Event::LinkUp(ip([10, 0, 0, 6])),
            [
                "INIT->BACKUP Backup: down", "Backup: down", "Master: adv g2 gr",
                "FAULT->BACKUP Backup: down",
            ],
        ),
        (
            "link down",
            Event::LinkDown(FaultCause::NoAddress),
            [
                "INIT->FAULT Fault: ", "BACKUP->FAULT Fault: ",
                "advert(0) remove MASTER->FAULT Fault: ", "Fault: ",
            ],
        ),
        (
            "higher",
            Event::Advert(&higher, AT_ONCE),
            [
                "Init: ",
                "!master Backup: down",
                "advert(100) remove MASTER->BACKUP Backup: down",
                "Fault: ",
            ],
        ),
        (
            "equal, greater address",
            Event::Advert(&equal_greater, AT_ONCE),
            [
                "Init: ",
                "!master Backup: down",
                "advert(100) remove MASTER->BACKUP Backup: down",
                "Fault: ",
            ],
        ),
        (
            "equal, lower address",
            Event::Advert(&equal_lower, AT_ONCE),
            [
                "Init: ",
                "!master Backup: down",
                "!lower lower advert(100) garp(4) Master: adv g2 gr gl",
                "Fault: ",
            ],
        ),
        (
            "lower",
            Event::Advert(&lower, AT_ONCE),
            [
                "Init: ",
                "!preempting Backup: down",
                "!lower lower advert(100) garp(4) Master: adv g2 gr gl",
                "Fault: ",
            ],
        ),
        (
            "priority 0",
            Event::Advert(&zero, AT_ONCE),
            ["Init: ", "Backup: down", "advert(100) Master: adv g2 gr", "Fault: "],
        ),
        ("our own echo", Event::Advert(&own, AT_ONCE), still),
        ("another version", Event::Advert(&v2, AT_ONCE), still),
        (
            "master-down timer",
            Event::Timer(Timer::MasterDown),
            [
                "Init: ",
                "advert(100) add garp(5) BACKUP->MASTER Master: adv g2 gr",
                "Master: adv g2 gr",
                "Fault: ",
            ],
        ),
        (
            "advert timer",
            Event::Timer(Timer::Advert),
            ["Init: ", "Backup: down", "advert(100) Master: adv g2 gr", "Fault: "],
        ),
        (
            "second group timer",
            Event::Timer(Timer::GarpDelayed),
            ["Init: ", "Backup: down", "garp(5) Master: adv gr", "Fault: "],
        ),
        (
            "refresh timer",
            Event::Timer(Timer::GarpRefresh),
            ["Init: ", "Backup: down", "garp(1) Master: adv g2 gr", "Fault: "],
        ),
        (
            "lower-priority timer",
            Event::Timer(Timer::GarpLowerPrio),
            ["Init: ", "Backup: down", "garp(4) Master: adv g2 gr", "Fault: "],
        ),
        ("heard again, but nobody was heard before", Event::LastSeen(None), still),
        (
            "address lost",
            Event::Lost(Lost::Address(lost)),
            ["Init: ", "Backup: down", "advert(0) remove MASTER->BACKUP Backup: down", "Fault: "],
        ),
        (
            "shutdown",
            Event::Shutdown(Cause::Shutdown),
            [
                "Init: ", "BACKUP->INIT Init: ", "advert(0) remove MASTER->INIT Init: ",
                "FAULT->INIT Init: ",
            ],
        ),
        ("reconfigured", Event::Reconfigured(&changed), still),
        (
            "reconfigured to be the owner",
            Event::Reconfigured(&owner),
            [
                "Init: ",
                "advert(255) add garp(5) BACKUP->MASTER Master: adv g2 gr",
                "Master: adv g2 gr",
                "Fault: ",
            ],
        ),
        (
            "reconfigured to send no more gratuitous ARP",
            Event::Reconfigured(&quiet),
            ["Init: ", "Backup: down", "Master: adv", "Fault: "],
        ),
    ];
    for (name, event, expected) in table {
        for (state, expected) in State::ALL.into_iter().zip(expected) {
            let mut bench = Bench::in_state(state, spec());
            bench.event(event);
            let done = bench.done();
            let gap = if done.is_empty() { "" } else { " " };
            let now = format!("{done}{gap}{:?}: {}", bench.router.state, timers(&bench.router));
            assert_eq!(now, expected, "{name} in {state}");
        }
    }
}

#[test]
fn hearing_again_restarts_the_timer_and_never_turns_it_back() {
    let mut bench = Bench::up(spec());
    let master = advert([10, 0, 0, 1], 200);
    assert!(!bench.router.is_steady(&master), "nobody was heard");
    bench.event(Event::Advert(&master, AT_ONCE));
    assert!(bench.router.is_steady(&master));
    bench.out.clear();
    let heard = bench.now;
    bench.now += SECOND;
    bench.event(Event::LastSeen(None));
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    bench.router.handle(heard, Event::LastSeen(None), &mut bench.out);
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    assert_eq!(bench.done(), "");
    // What would change something is not steady.
    for other in [
        advert([10, 0, 0, 2], 200),
        advert([10, 0, 0, 1], 199),
        advert([10, 0, 0, 1], 0),
        Advert { interval: v3(200), ..master.clone() },
    ] {
        assert!(!bench.router.is_steady(&other), "{other:?}");
    }
    // Nor is a list that differs: each one counts.
    let list = Advert { addresses: vec![], ..master.clone() };
    bench.event(Event::Advert(&list, AT_ONCE));
    assert!(!bench.router.is_steady(&list));
    // Nor a master that will be pre-empted, or resigned.
    let lower = advert([10, 0, 0, 1], 50);
    bench.event(Event::Advert(&lower, AT_ONCE));
    assert!(!bench.router.is_steady(&lower));
    bench.hear([10, 0, 0, 1], 0);
    let before = bench.left(Timer::MasterDown);
    bench.event(Event::LastSeen(None));
    assert_eq!(bench.left(Timer::MasterDown), before);
}

#[test]
fn a_lower_priority_does_not_take_the_place_of_a_better_master() {
    let (master, stranger) = ([10, 0, 0, 1], [10, 0, 0, 9]);
    let mut bench = Bench::up(spec());
    bench.hear(master, 200);
    bench.out.clear();
    for _ in 0..3 {
        bench.now += SECOND;
        bench.hear(stranger, 50);
    }
    // It is discarded (RFC 9568 section 6.4.2): the timer goes on, and says what it waits for.
    assert_eq!(
        (bench.done(), bench.left(Timer::MasterDown)),
        (String::new(), Some(Nanos(609_375_000)))
    );
    assert_eq!(bench.router.view().master, Some((ip(master), Priority(200))));
    let steady = advert(master, 200);
    assert!(bench.router.is_steady(&steady));
    bench.event(Event::LastSeen(None));
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    // One that is no better any more is pre-empted, as ever.
    bench.hear(master, 60);
    assert_eq!(bench.done(), "!preempting");
}

#[test]
fn what_was_not_reported_of_the_master_counts_when_it_is_asked_for() {
    let master = [10, 0, 0, 1];
    let mut bench = Bench::up(spec());
    bench.hear(master, 200);
    bench.out.clear();
    bench.now += SECOND;
    bench.event(Event::LastSeen(Some((Priority(150), v3(1000)))));
    assert_eq!(bench.done(), "!long");
    assert_eq!(bench.router.view().master, Some((ip(master), Priority(150))));
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(36_093_750_000)));
    bench.event(Event::LastSeen(Some((Priority(50), v3(100)))));
    assert_eq!(bench.done(), "!preempting");
    // From then on it is not what is listened to.
    bench.event(Event::LastSeen(Some((Priority(200), v3(100)))));
    assert_eq!((bench.done(), bench.router.interest().master), (String::new(), None));
}

proptest! {
    /// What a backup says that it ignores changes nothing that anybody can see or that a timer depends on.
    #[test]
    fn what_is_ignored_changes_nothing(
        adverts in prop::collection::vec((1u8..5, prop::sample::select(vec![0u8, 50, 60, 100, 200]), 1u64..2000), 1..12),
        preempt in any::<bool>(),
        delay in 0u64..4000,
        lower in 1u8..100,
    ) {
        let spec = RouterSpec { preempt, preempt_delay: Nanos::from_millis(delay), ..spec() };
        let mut bench = Bench::up(spec);
        for (sender, priority, wait) in adverts {
            bench.now += Nanos::from_millis(wait);
            bench.hear([10, 0, 0, sender], priority);
            let Interest { ignores_lower, master, .. } = bench.router.interest();
            if !ignores_lower {
                continue;
            }
            let mut told = Bench { router: bench.router.clone(), now: bench.now, out: VecDeque::new() };
            told.hear([10, 0, 0, 7], lower);
            prop_assert_eq!(told.router.deadlines, bench.router.deadlines);
            prop_assert_eq!(told.router.interest().master, master);
            prop_assert!(told.router.interest().ignores_lower);
        }
    }

    /// A steady advertisement and [`Event::LastSeen`] are the same thing.
    #[test]
    fn heard_stands_for_a_steady_advertisement(
        adverts in prop::collection::vec((1u8..4, prop::sample::select(vec![0u8, 50, 100, 200]), 1u64..2000), 1..12),
        preempt in any::<bool>(),
        delay in 0u64..4000,
    ) {
        let spec = RouterSpec { preempt, preempt_delay: Nanos::from_millis(delay), ..spec() };
        let mut bench = Bench::up(spec);
        for (sender, priority, wait) in adverts {
            bench.now += Nanos::from_millis(wait);
            let advert = advert([10, 0, 0, sender], priority);
            bench.event(Event::Advert(&advert, AT_ONCE));
            if bench.router.is_steady(&advert) {
                let mut told = Bench { router: bench.router.clone(), now: bench.now + SECOND, out: VecDeque::new() };
                let mut heard = Bench { router: bench.router.clone(), now: bench.now + SECOND, out: VecDeque::new() };
                told.event(Event::Advert(&advert, AT_ONCE));
                heard.event(Event::LastSeen(None));
                prop_assert_eq!(told.done(), "");
                prop_assert_eq!(heard.done(), "");
                prop_assert_eq!(told.router.deadlines, heard.router.deadlines);
                prop_assert_eq!(told.router.view(), heard.router.view());
                prop_assert_eq!(told.router.last_seen, heard.router.last_seen);
            }
        }
    }
}

/// When the second advertisements of 4,096 routers are due that become master one after the other, this long apart.
fn second_adverts(apart: Nanos) -> Vec<(Nanos, Nanos)> {
    let one = |id| {
        let now = SECOND + apart.times(u64::from(id));
        let mut router = VirtualRouter::new(RouterId(id), spec());
        let mut out = VecDeque::new();
        router.handle(now, Event::LinkUp(ip(US)), &mut out);
        router.handle(now, Event::Timer(Timer::MasterDown), &mut out);
        (now, router.deadlines.get(Timer::Advert).expect("set"))
    };
    (0..4096).map(one).collect()
}

#[test]
fn masters_of_one_instant_spread_over_the_interval() {
    let adverts = second_adverts(Nanos::ZERO);
    let mut due: Vec<Nanos> = adverts.into_iter().map(|(now, due)| due - now).collect();
    assert!(
        due[..GROUP as usize].iter().all(|&wait| wait == SECOND),
        "few routers keep the exact interval"
    );
    assert!(due.iter().all(|&wait| wait > Nanos::ZERO && wait <= SECOND));
    due.sort_unstable();
    assert!(due.chunk_by(|a, b| a == b).all(|group| group.len() == GROUP as usize));
}

#[test]
fn many_masters_of_many_instants_advertise_at_few() {
    let adverts = second_adverts(Nanos(100_000));
    let (few, many) = adverts.split_at(GROUP as usize);
    assert!(few.iter().all(|&(now, due)| due - now == SECOND), "few routers keep the interval");
    assert!(many.iter().all(|&(now, due)| due > now && due - now <= SECOND));
    // Where in the interval, for ever after.
    let mut instants: Vec<u64> = many.iter().map(|(_, due)| due.0 % SECOND.0).collect();
    instants.sort_unstable();
    instants.dedup();
    assert!(instants.len() as u64 <= GROUPS, "{instants:?}");
}

#[test]
fn startup_waits_the_whole_master_down_interval() {
    let mut bench = Bench::up(spec());
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    bench.fire(Timer::MasterDown);
    assert_eq!(bench.left(Timer::Advert), Some(SECOND));
    assert_eq!(bench.left(Timer::GarpDelayed), Some(Nanos::from_secs(5)));
    let silence = Nanos(3_609_375_000);
    assert_eq!(bench.router.view().cause, Some(Cause::MasterDown { master: None, silence }));
}

#[test]
fn the_owner_does_not_wait() {
    let mut bench = Bench::up(RouterSpec { priority: Priority::OWNER, ..spec() });
    assert_eq!(bench.done(), "advert(255) add garp(5) INIT->MASTER");
    bench.event(Event::LinkDown(FaultCause::InterfaceDown));
    bench.event(Event::LinkUp(ip(US)));
    assert_eq!(
        bench.done(),
        "advert(0) remove MASTER->FAULT advert(255) add garp(5) FAULT->MASTER"
    );
}

#[test]
fn two_owners_end_as_one_master() {
    let mut bench = Bench::up(RouterSpec {
        priority: Priority::OWNER,
        preempt: false,
        preempt_delay: Nanos::from_secs(10),
        ..spec()
    });
    bench.done();
    bench.hear([10, 0, 0, 9], 255);
    assert_eq!(bench.done(), "!owner advert(255) remove MASTER->BACKUP");
    bench.hear([10, 0, 0, 9], 255);
    assert_eq!(bench.done(), "", "reported once, then a backup like any other");
    let other = ip([10, 0, 0, 9]);
    assert_eq!(bench.router.view().other_owner, Some((other, bench.now)));
    bench.now += SECOND;
    bench.event(Event::LastSeen(None));
    assert_eq!(
        bench.router.view().other_owner,
        Some((other, bench.now)),
        "also when nobody is woken"
    );
    // RFC 9568 section 6.1: the owner pre-empts lower priorities whatever the mode, and at once.
    let before = bench.left(Timer::MasterDown);
    bench.now += Nanos::from_millis(10);
    bench.hear([10, 0, 0, 9], 254);
    assert_eq!(bench.done(), "!preempting");
    assert_eq!(bench.left(Timer::MasterDown), before.map(|left| left - Nanos::from_millis(10)));
}

#[test]
fn a_master_that_goes_silent_is_replaced_after_three_intervals_and_the_skew() {
    let mut bench = Bench::up(spec());
    for _ in 0..10 {
        bench.now += SECOND;
        bench.hear([10, 0, 0, 1], 200);
        assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    }
    assert_eq!(bench.done(), "INIT->BACKUP !master", "a known master is no news");
    bench.fire(Timer::MasterDown);
    let cause = bench.router.view().cause;
    let (master, silence) = (Some(ip([10, 0, 0, 1])), Nanos(3_609_375_000));
    assert_eq!(cause, Some(Cause::MasterDown { master, silence }));
}

#[test]
fn a_resigning_master_is_replaced_after_the_skew() {
    let mut bench = Bench::up(spec());
    bench.hear([10, 0, 0, 1], 200);
    bench.hear([10, 0, 0, 1], 0);
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(609_375_000)));
    bench.fire(Timer::MasterDown);
    assert_eq!(bench.router.view().cause, Some(Cause::MasterResigned(ip([10, 0, 0, 1]))));
}

#[test]
fn who_resigns_puts_no_timer_off() {
    let mut bench = Bench::up(spec());
    bench.hear([10, 0, 0, 1], 200);
    let silent_at = bench.router.deadlines.get(Timer::MasterDown);
    // Another one gives up just before the silence of the master is over.
    bench.now += Nanos::from_millis(3_500);
    bench.hear([10, 0, 0, 2], 0);
    assert_eq!(bench.router.deadlines.get(Timer::MasterDown), silent_at);
}

/// Between the two nobody was woken for what it said, and the timer was not set again.
#[test]
fn a_master_that_resigns_was_heard_just_now() {
    let mut bench = Bench::up(spec());
    bench.hear([10, 0, 0, 1], 200);
    bench.now += Nanos::from_millis(3_500);
    bench.hear([10, 0, 0, 1], 0);
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(609_375_000)));
}

#[test]
fn resigning_and_returning_is_no_reason_to_take_over() {
    let mut bench = Bench::up(spec());
    bench.hear([10, 0, 0, 1], 0);
    bench.hear([10, 0, 0, 1], 200);
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    bench.fire(Timer::MasterDown);
    assert!(matches!(bench.router.view().cause, Some(Cause::MasterDown { .. })));
}

#[test]
fn a_lower_master_is_preempted_when_the_timer_fires() {
    let mut bench = Bench::up(spec());
    let fires = bench.router.deadlines.get(Timer::MasterDown);
    for _ in 0..3 {
        bench.now += SECOND;
        bench.hear([10, 0, 0, 1], 50);
    }
    assert_eq!(bench.done(), "INIT->BACKUP !preempting");
    assert_eq!(bench.router.deadlines.get(Timer::MasterDown), fires);
    bench.fire(Timer::MasterDown);
    let (master, priority) = (ip([10, 0, 0, 1]), Priority(50));
    assert_eq!(bench.router.view().cause, Some(Cause::Preempted { master, priority }));
}

#[test]
fn who_does_not_preempt_after_all_waits_for_as_long_as_the_master_says() {
    for by_reload in [false, true] {
        let mut bench = Bench::up(spec());
        let slow = Advert { interval: v3(400), ..advert([10, 0, 0, 1], 50) };
        bench.event(Event::Advert(&slow, AT_ONCE));
        assert_eq!(bench.done(), "INIT->BACKUP !preempting");
        if by_reload {
            let lower = RouterSpec { preempt: false, ..spec() };
            bench.event(Event::Reconfigured(&lower));
        } else {
            bench.event(Event::Priority(Priority(49)));
        }
        let skew = if by_reload { 4_000 * 156 / 256 } else { 4_000 * 207 / 256 };
        let left = bench.left(Timer::MasterDown).unwrap();
        assert_eq!(left.0 / 1_000_000, 12_000 + skew, "by a reload: {by_reload}");
        assert_eq!(bench.router.view().interval, v3(400));
    }
}

#[test]
fn without_preemption_a_lower_master_stays() {
    let mut bench = Bench::up(RouterSpec { preempt: false, ..spec() });
    bench.now += SECOND;
    bench.hear([10, 0, 0, 1], 50);
    assert_eq!(bench.done(), "INIT->BACKUP !master");
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    assert_eq!(bench.router.view().master, Some((ip([10, 0, 0, 1]), Priority(50))));
}

#[test]
fn preempt_delay_counts_from_the_first_lower_advert() {
    let mut bench = Bench::up(RouterSpec { preempt_delay: Nanos::from_secs(10), ..spec() });
    // 1.0 s .. 10.5 s after the first one: tolerated.
    for _ in 0..20 {
        bench.now += Nanos::from_millis(500);
        bench.hear([10, 0, 0, 1], 50);
        assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    }
    bench.now += Nanos::from_millis(500);
    bench.hear([10, 0, 0, 1], 50);
    assert_eq!(bench.done(), "INIT->BACKUP !master !preempting");
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_109_375_000)), "runs on");
}

#[test]
fn preempt_delay_starts_over_after_a_higher_master() {
    let mut bench = Bench::up(RouterSpec { preempt_delay: Nanos::from_secs(2), ..spec() });
    bench.hear([10, 0, 0, 1], 50);
    bench.now += Nanos::from_secs(2);
    bench.hear([10, 0, 0, 9], 200);
    bench.hear([10, 0, 0, 1], 50);
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    assert_eq!(bench.done(), "INIT->BACKUP !master !master !master");
}

#[test]
fn preempt_delay_does_not_delay_a_failover() {
    let mut bench = Bench::up(RouterSpec { preempt_delay: Nanos::from_secs(1000), ..spec() });
    bench.hear([10, 0, 0, 1], 50);
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
    bench.fire(Timer::MasterDown);
    assert_eq!(bench.router.state, State::Master);
}

#[test]
fn version_3_learns_the_interval_of_its_master() {
    let mut bench = Bench::up(spec());
    bench.done();
    let slow = Advert { interval: v3(400), ..advert([10, 0, 0, 1], 200) };
    bench.event(Event::Advert(&slow, AT_ONCE));
    assert_eq!(bench.done(), "!master !interval");
    // 3 x 4 s + 156 x 4 s / 256
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(14_437_500_000)));
    assert_eq!(bench.router.view().interval, v3(400));
    bench.event(Event::Advert(&slow, AT_ONCE));
    assert_eq!(bench.done(), "");
    bench.hear([10, 0, 0, 1], 0);
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(2_437_500_000)), "skew of its interval");
    bench.fire(Timer::MasterDown);
    assert_eq!(bench.left(Timer::Advert), Some(SECOND), "as master our own counts");
    assert_eq!(bench.router.view().interval, v3(100));
    bench.event(Event::Advert(&slow, AT_ONCE));
    assert_eq!(
        bench.done(),
        "advert(100) add garp(5) BACKUP->MASTER remove MASTER->BACKUP !interval"
    );
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(14_437_500_000)));
}

#[test]
fn a_discarded_advert_teaches_nothing() {
    let mut bench = Bench::up(spec());
    bench.event(Event::Advert(&Advert { interval: v3(400), ..advert([10, 0, 0, 1], 50) }, AT_ONCE));
    assert_eq!(bench.done(), "INIT->BACKUP !preempting");
    assert_eq!(bench.router.view().interval, v3(100));
}

#[test]
fn version_2_timers() {
    let interval = AdvertInterval::Secs(5);
    let mut bench = Bench::up(RouterSpec { interval, ..spec() });
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(15_609_375_000)));
    bench.event(Event::Advert(&Advert { interval, ..advert([10, 0, 0, 1], 0) }, AT_ONCE));
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(609_375_000)));
}

#[test]
fn priority_0_is_answered_at_once_by_the_master() {
    let mut bench = Bench::in_state(State::Master, spec());
    bench.now += Nanos::from_millis(700);
    bench.hear([10, 0, 0, 9], 0);
    assert_eq!(bench.done(), "advert(100)");
    assert_eq!(bench.left(Timer::Advert), Some(SECOND));
}

#[test]
fn a_lower_master_is_answered_at_once_each_time_and_reported_once() {
    let mut bench = Bench::in_state(State::Master, spec());
    bench.now += Nanos::from_millis(700);
    bench.hear([10, 0, 0, 9], 50);
    assert_eq!(bench.left(Timer::Advert), Some(SECOND));
    assert_eq!(bench.left(Timer::GarpLowerPrio), Some(Nanos::from_secs(5)));
    bench.now += Nanos::from_millis(1);
    bench.hear([10, 0, 0, 9], 50);
    assert_eq!(bench.done(), "!lower lower advert(100) garp(4) lower advert(100)");
}

/// Who makes a router take over again and again does not get all rounds each time.
#[test]
fn quick_takeovers_are_announced_once_each() {
    let mut bench = Bench::in_state(State::Backup, spec());
    bench.now += Nanos::from_secs(60);
    let flip = |bench: &mut Bench| {
        bench.out.clear();
        bench.fire(Timer::MasterDown);
        let announced = bench.done();
        bench.now += Nanos::from_millis(10);
        bench.hear([10, 0, 0, 9], 254);
        assert_eq!(bench.router.state, State::Backup);
        // As after a forged interval of 10 ms.
        bench.router.deadlines.set(Timer::MasterDown, bench.now + Nanos::from_millis(36));
        announced
    };
    for number in 0..1_000 {
        let rounds = if number < FULL_TAKEOVERS.into() { "garp(5)" } else { "garp(1)" };
        let announced = flip(&mut bench);
        assert!(announced.contains(rounds), "{number}: {announced}");
    }
    // A state that lasts ends it, whichever it is.
    bench.router.deadlines.set(Timer::MasterDown, bench.now + GARP_PAUSE);
    assert!(flip(&mut bench).contains("garp(5)"));
    for _ in 0..FULL_TAKEOVERS {
        flip(&mut bench);
    }
    bench.fire(Timer::MasterDown);
    bench.fire(Timer::GarpDelayed);
    bench.hear([10, 0, 0, 9], 254);
    bench.router.deadlines.set(Timer::MasterDown, bench.now);
    assert!(flip(&mut bench).contains("garp(5)"));
}

/// However many ask, an address is announced in one round of the policy per pause.
#[test]
fn lower_masters_cannot_make_it_announce_without_end() {
    for delay in [0, 1, 5, 60].map(Nanos::from_secs) {
        let garp = GarpPolicy { lower_prio_delay: delay, ..spec().garp };
        let mut bench = Bench::in_state(State::Master, RouterSpec { garp, ..spec() });
        let step = Nanos::from_millis(10);
        let mut announced = Vec::new();
        for n in 0..3000u32 {
            bench.now += step;
            let due = bench.router.deadlines.get(Timer::GarpLowerPrio);
            if due.is_some_and(|at| at <= bench.now) {
                bench.event(Event::Timer(Timer::GarpLowerPrio));
            }
            let [.., third, fourth] = n.to_be_bytes();
            bench.hear([10, 1, third, fourth], 50);
            let rounds = bench.done().matches("garp(4)").count();
            announced.extend(std::iter::repeat_n(n, rounds));
        }
        assert_eq!(announced[0], 0, "the first one is answered at once");
        assert!((6..=7).contains(&announced.len()), "in 30 s, with {delay}: {announced:?}");
    }
}

#[test]
fn what_arrived_during_a_pause_is_answered_once() {
    for priority in [0, 50] {
        let mut bench = Bench::in_state(State::Master, spec());
        let resumes = bench.now + Nanos::from_secs(10);
        let other = advert([10, 0, 0, 9], priority);
        for _ in 0..100 {
            bench.now += Nanos::from_millis(100);
            bench.event(Event::Advert(&other, ReadAt(resumes)));
        }
        let done = bench.done();
        assert_eq!(done.matches("advert(100)").count(), 1, "{done}");
        assert_eq!(done.matches("garp").count(), usize::from(priority > 0), "{done}");
        assert_eq!(bench.router.deadlines.get(Timer::Advert), Some(resumes + SECOND));
        // That was one answer to all of it, and the next one is answered as ever.
        bench.now = resumes + Nanos::from_millis(1);
        bench.event(Event::Advert(&other, AT_ONCE));
        assert_eq!(bench.done().matches("advert(100)").count(), 1);
    }
}

#[test]
fn the_neighbours_are_told_after_a_pause_whether_or_not_another_router_was_heard() {
    let garp = GarpPolicy { lower_prio_repeat: 0, lower_prio_delay: Nanos::ZERO, ..spec().garp };
    let mut bench = Bench::in_state(State::Master, RouterSpec { garp, ..spec() });
    let resumes = bench.now + Nanos::from_secs(10);
    bench.now = resumes - SECOND;
    bench.event(Event::Advert(&advert([10, 0, 0, 9], 50), ReadAt(resumes)));
    assert_eq!(bench.done(), "!lower lower advert(100) garp(5)");
}

#[test]
fn a_lower_master_is_left_unanswered_when_so_configured() {
    let garp = GarpPolicy { lower_prio_repeat: 0, lower_prio_delay: Nanos::ZERO, ..spec().garp };
    let mut bench =
        Bench::in_state(State::Master, RouterSpec { lower_prio_advert: false, garp, ..spec() });
    bench.now += Nanos::from_millis(700);
    bench.hear([10, 0, 0, 9], 50);
    assert_eq!(bench.done(), "!lower lower");
    assert_eq!(bench.left(Timer::Advert), Some(Nanos::from_millis(300)));
    assert_eq!(bench.left(Timer::GarpLowerPrio), None);
}

#[test]
fn one_more_advert_when_yielding_if_so_configured() {
    let mut bench =
        Bench::in_state(State::Master, RouterSpec { higher_prio_advert: Some(true), ..spec() });
    bench.hear([10, 0, 0, 9], 200);
    assert_eq!(bench.done(), "advert(100) remove MASTER->BACKUP");
    assert_eq!(bench.router.view().master, Some((ip([10, 0, 0, 9]), Priority(200))));
}

#[test]
fn one_more_advert_when_yielding_after_a_split_brain() {
    let yields = |contested: &[bool]| {
        let mut bench = after_resignation(spec());
        for begins in contested {
            bench.event(Event::Contested(*begins));
        }
        bench.hear([10, 0, 0, 9], 200);
        bench.done()
    };
    assert_eq!(yields(&[true]), "advert(100) remove MASTER->BACKUP");
    assert_eq!(yields(&[true, true, false]), "advert(100) remove MASTER->BACKUP");
    assert_eq!(yields(&[true, false]), "remove MASTER->BACKUP");
    assert_eq!(yields(&[false, true]), "advert(100) remove MASTER->BACKUP");
    assert_eq!(yields(&[]), "remove MASTER->BACKUP");

    // It counts for one time as master.
    let mut bench = after_resignation(spec());
    bench.event(Event::Contested(true));
    bench.hear([10, 0, 0, 9], 200);
    bench.event(Event::Contested(true));
    bench.now += Nanos::from_secs(60);
    bench.hear([10, 0, 0, 9], 0);
    bench.fire(Timer::MasterDown);
    bench.done();
    bench.hear([10, 0, 0, 9], 200);
    assert_eq!(bench.done(), "remove MASTER->BACKUP");
}

/// A master that heard the former one resign, so that its network works.
fn after_resignation(spec: RouterSpec) -> Bench {
    let mut bench = Bench::in_state(State::Backup, spec);
    bench.hear([10, 0, 0, 9], 0);
    bench.fire(Timer::MasterDown);
    bench.done();
    bench
}

#[test]
fn one_more_advert_when_yielding_after_hearing_nobody() {
    // It may have been deaf, or cut off, and the higher one master all the time.
    let mut bench = Bench::in_state(State::Master, spec());
    bench.hear([10, 0, 0, 9], 200);
    assert_eq!(bench.done(), "advert(100) remove MASTER->BACKUP");
    // Once, whatever is heard as backup.
    bench.hear([10, 0, 0, 9], 200);
    assert_eq!(bench.done(), "");

    let silent = RouterSpec { higher_prio_advert: Some(false), ..spec() };
    let mut bench = Bench::in_state(State::Master, silent);
    bench.event(Event::Contested(true));
    bench.hear([10, 0, 0, 9], 200);
    assert_eq!(bench.done(), "remove MASTER->BACKUP");
}

#[test]
fn no_more_advert_when_yielding_to_one_that_preempts() {
    let mut bench = after_resignation(spec());
    bench.hear([10, 0, 0, 9], 200);
    assert_eq!(bench.done(), "remove MASTER->BACKUP");

    let mut bench = Bench::in_state(State::Backup, spec());
    bench.hear([10, 0, 0, 8], 50);
    bench.fire(Timer::MasterDown);
    bench.done();
    bench.hear([10, 0, 0, 9], 200);
    assert_eq!(bench.done(), "remove MASTER->BACKUP");
}

#[test]
fn priority_0_of_whom_it_gave_way_to_counts_once_in_a_master_down_interval() {
    const MASTER: [u8; 4] = [10, 0, 0, 9];
    // A living master, every second; and 1,000 forged priority 0 a second, from its address or from others.
    for forged in [MASTER, [10, 0, 0, 7]] {
        let mut bench = Bench::in_state(State::Backup, spec());
        let (mut takeovers, end) = (0, bench.now + Nanos::from_secs(60));
        bench.hear(MASTER, 200);
        for tick in 1.. {
            let at = bench.now + Nanos::from_millis(1);
            if at > end {
                break;
            }
            bench.now = at;
            if bench.router.deadlines.get(Timer::MasterDown).is_some_and(|due| due <= at) {
                bench.event(Event::Timer(Timer::MasterDown));
                takeovers += 1;
            }
            bench.hear(forged, 0);
            if tick % 1000 == 0 {
                bench.hear(MASTER, 200);
            }
        }
        // A master-down interval of 3.6 s until it counts, the skew of 0.6 s, and up to 1 s until the master is heard.
        assert!((10..=15).contains(&takeovers), "{takeovers} by {forged:?}");
    }
}

#[test]
fn what_a_stop_costs_soon_after_it_gave_way() {
    const MASTER: [u8; 4] = [10, 0, 0, 9];
    let skew = Nanos(609_375_000);
    let stopped_after = |seconds: u64| {
        let mut bench = Bench::in_state(State::Master, spec());
        bench.hear(MASTER, 200);
        for _ in 0..seconds {
            bench.now += SECOND;
            bench.hear(MASTER, 200);
        }
        bench.hear(MASTER, 0);
        bench.left(Timer::MasterDown)
    };
    let usual = Nanos(3_609_375_000);
    assert_eq!(stopped_after(0), Some(usual));
    assert_eq!(stopped_after(3), Some(usual));
    assert_eq!(stopped_after(4), Some(skew));

    // Another one that has become master since may stop whenever it likes, and so may one that was never given way to.
    let mut bench = Bench::in_state(State::Master, spec());
    bench.hear(MASTER, 200);
    bench.hear([10, 0, 0, 10], 250);
    bench.hear([10, 0, 0, 10], 0);
    assert_eq!(bench.left(Timer::MasterDown), Some(skew));
    let mut bench = Bench::in_state(State::Backup, spec());
    bench.hear(MASTER, 200);
    bench.hear(MASTER, 0);
    assert_eq!(bench.left(Timer::MasterDown), Some(skew));
}

#[test]
fn ties_use_the_address_of_the_moment() {
    let mut bench = Bench::in_state(State::Master, spec());
    bench.event(Event::LinkUp(ip([10, 0, 0, 10])));
    bench.hear([10, 0, 0, 9], 100);
    assert_eq!(bench.done(), "!lower lower advert(100) garp(4)");
    bench.event(Event::LinkUp(ip([10, 0, 0, 8])));
    bench.hear([10, 0, 0, 9], 100);
    assert_eq!(bench.done(), "advert(100) remove MASTER->BACKUP");
}

#[test]
fn a_lost_address_costs_the_mastership_for_the_skew() {
    let mut bench = Bench::in_state(State::Master, spec());
    let lost = ip([192, 0, 2, 2]);
    bench.event(Event::Lost(Lost::Address(lost)));
    bench.event(Event::Lost(Lost::Address(ip([192, 0, 2, 1]))));
    assert_eq!(bench.done(), "advert(0) remove MASTER->BACKUP");
    assert_eq!(bench.router.view().cause, Some(Cause::Lost(Lost::Address(lost))));
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(609_375_000)));
    bench.fire(Timer::MasterDown);
    assert_eq!(bench.done(), "advert(100) add garp(5) BACKUP->MASTER");
}

#[test]
fn recovery_starts_as_backup_with_the_whole_wait() {
    let mut bench = Bench::in_state(State::Master, spec());
    bench.event(Event::LinkDown(FaultCause::InterfaceDown));
    bench.event(Event::LinkDown(FaultCause::InterfaceMissing));
    assert_eq!(bench.router.view().cause, Some(Cause::Fault(FaultCause::InterfaceMissing)));
    bench.event(Event::LinkUp(ip(US)));
    assert_eq!(bench.router.view().cause, Some(Cause::Recovered));
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)));
}

#[test]
fn a_differing_list_or_order_is_reported_once_until_it_matches() {
    let mut bench = Bench::up(spec());
    let good = advert([10, 0, 0, 1], 200);
    let bad = Advert { addresses: vec![ip([192, 0, 2, 1])], ..good.clone() };
    let mut reordered = good.clone();
    reordered.addresses.reverse();
    bench.hear([10, 0, 0, 1], 200);
    bench.done();
    for (advert, expected) in [
        (&bad, "!list"),
        (&bad, ""),
        (&reordered, "!order"),
        (&reordered, ""),
        (&bad, "!list"),
        (&good, ""),
        (&reordered, "!order"),
    ] {
        bench.event(Event::Advert(advert, AT_ONCE));
        assert_eq!(bench.done(), expected);
        assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(3_609_375_000)), "not refused");
    }
    assert_eq!(bench.router.view().address_list_mismatches, 3);
}

#[test]
fn forged_sources_do_not_grow_the_memory() {
    let mut bench = Bench::in_state(State::Master, spec());
    for n in 0..=255 {
        bench.event(Event::Advert(
            &Advert { addresses: vec![], ..advert([10, 9, 9, n], 50) },
            AT_ONCE,
        ));
    }
    assert_eq!(bench.router.reported().mismatched.0.len(), Senders::MAX);
    assert_eq!(bench.router.reported().rivals.0.len(), Senders::MAX);
}

#[test]
fn a_late_wake_up_keeps_the_period_and_makes_up_for_nothing() {
    let mut bench = Bench::in_state(State::Master, spec());
    let due = bench.router.deadlines.get(Timer::Advert).unwrap();
    bench.now = due + Nanos::from_millis(30);
    bench.event(Event::Timer(Timer::Advert));
    assert_eq!(bench.router.deadlines.get(Timer::Advert), Some(due + SECOND));
    bench.now = due + Nanos::from_millis(3500);
    bench.event(Event::Timer(Timer::Advert));
    assert_eq!(bench.done(), "advert(100) advert(100)");
    assert_eq!(bench.left(Timer::Advert), Some(SECOND));
}

#[test]
fn a_master_that_slept_too_long_announces_its_addresses_again() {
    let mut bench = Bench::in_state(State::Master, spec());
    bench.fire(Timer::GarpDelayed);
    bench.out.clear();
    bench.now = bench.router.deadlines.get(Timer::Advert).unwrap() + Nanos::from_secs(4);
    bench.event(Event::Timer(Timer::Advert));
    assert_eq!(bench.done(), "advert(100) garp(5)");
    assert_eq!(bench.left(Timer::GarpDelayed), Some(Nanos::from_secs(5)));
}

#[test]
fn an_advert_older_than_the_last_one_takes_no_time_away() {
    let mut bench = Bench::up(spec());
    bench.now += SECOND;
    bench.hear([10, 0, 0, 1], 200);
    let fires = bench.router.deadlines.get(Timer::MasterDown);
    bench.now = bench.now - Nanos::from_millis(400);
    bench.hear([10, 0, 0, 1], 200);
    assert_eq!(bench.router.deadlines.get(Timer::MasterDown), fires);
}

#[test]
fn an_advert_that_arrived_before_the_take_over_is_judged_as_master() {
    let mut bench = Bench::up(spec());
    bench.fire(Timer::MasterDown);
    let since = bench.now;
    bench.done();
    bench.now = since - Nanos::from_millis(5);
    bench.hear([10, 0, 0, 1], 50);
    assert_eq!(bench.done(), "!lower lower advert(100) garp(4)");
    bench.hear([10, 0, 0, 1], 200);
    assert_eq!(bench.done(), "advert(100) remove MASTER->BACKUP");
    assert_eq!(bench.router.view().since, since, "history runs forward");
}

#[test]
fn no_garp_when_the_policy_says_none() {
    let garp = GarpPolicy {
        master_repeat: 0,
        master_delay: Nanos::ZERO,
        refresh: Nanos::ZERO,
        refresh_repeat: 0,
        lower_prio_repeat: 0,
        lower_prio_delay: Nanos::ZERO,
    };
    let mut bench = Bench::up(RouterSpec { garp, ..spec() });
    bench.fire(Timer::MasterDown);
    assert_eq!(bench.done(), "INIT->BACKUP advert(100) add BACKUP->MASTER");
    assert_eq!(timers(&bench.router), "adv");
}

/// keepalived 2.4.3, `owner_ignore_adverts`.
#[test]
fn an_owner_that_ignores_others() {
    let owner = RouterSpec { priority: Priority::OWNER, owner_ignores_adverts: true, ..spec() };
    let mut bench = Bench::up(owner.clone());
    assert_eq!(bench.router.state, State::Master);
    bench.out.clear();
    let advertises = bench.left(Timer::Advert);
    for (source, priority) in [([10, 0, 0, 1], 100), ([10, 0, 0, 1], 0), ([255, 0, 0, 1], 100)] {
        bench.hear(source, priority);
        assert_eq!((bench.done().as_str(), bench.left(Timer::Advert)), ("", advertises));
    }
    // Of another owner it tells, and stays.
    bench.hear([255, 0, 0, 1], 255);
    assert_eq!((bench.done().as_str(), bench.router.state), ("!owner", State::Master));
    assert_eq!(bench.router.view().other_owner, Some((ip([255, 0, 0, 1]), bench.now)));
    // Who is no owner listens all the same.
    let mut bench = Bench::in_state(State::Master, RouterSpec { priority: Priority(100), ..owner });
    bench.hear([10, 0, 0, 1], 200);
    assert_eq!(bench.router.state, State::Backup);
}

fn slow_advert(source: [u8; 4], priority: u8, centisecs: u16) -> Advert {
    Advert { interval: v3(centisecs), ..advert(source, priority) }
}

#[test]
fn a_learned_interval_many_times_ours_is_told_at_once() {
    let mut bench = Bench::up(spec());
    bench.done();
    for (centisecs, told) in
        [(499, "!master !interval"), (500, "!long"), (4095, "!long"), (100, "!interval")]
    {
        bench.event(Event::Advert(&slow_advert([10, 0, 0, 1], 200, centisecs), AT_ONCE));
        assert_eq!(bench.done(), told, "{centisecs}");
        bench.event(Event::Advert(&slow_advert([10, 0, 0, 1], 200, centisecs), AT_ONCE));
        assert_eq!(bench.done(), "", "once");
    }
    let Notice::IntervalLong { wait, .. } = ({
        bench.event(Event::Advert(&slow_advert([10, 0, 0, 9], 254, 4095), AT_ONCE));
        match bench.out.back() {
            Some(Action::Notice { notice, .. }) => *notice,
            other => panic!("{other:?}"),
        }
    }) else {
        panic!("another notice");
    };
    assert_eq!(Some(wait), bench.left(Timer::MasterDown), "for how long nobody has the addresses");
}

#[test]
fn a_forged_interval_is_believed_up_to_the_bound() {
    let bound = RouterSpec { max_learned_interval: Some(Centisecs(200)), ..spec() };
    for state in [State::Backup, State::Master] {
        let mut bench = Bench::in_state(state, bound.clone());
        let forged = slow_advert([10, 0, 0, 9], 254, 4095);
        bench.event(Event::Advert(&forged, AT_ONCE));
        assert!(bench.done().ends_with("!bounded"));
        // 3 x 2 s + 156 x 2 s / 256
        assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(7_218_750_000)));
        assert_eq!(bench.router.view().disbelieved, Some(v3(4095)));
        assert!(bench.router.is_steady(&forged), "nobody is woken for what is known");
        // What is within the bound is believed, and the true master is heard.
        bench.event(Event::Advert(&slow_advert([10, 0, 0, 1], 254, 200), AT_ONCE));
        assert_eq!(bench.done(), "!master", "nothing else is used than before");
        assert_eq!(bench.router.view().disbelieved, None);
        bench.event(Event::Advert(&forged, AT_ONCE));
        assert_eq!(bench.done(), "!master !bounded");
        bench.fire(Timer::MasterDown);
        assert_eq!(bench.router.state, State::Master);
    }
}

/// A master that is as slow as it says is replaced once, and never again and again.
#[test]
fn a_master_slower_than_the_bound_is_replaced_once() {
    let bound = RouterSpec { max_learned_interval: Some(Centisecs(200)), ..spec() };
    let mut bench = Bench::in_state(State::Backup, bound.clone());
    let slow = slow_advert([10, 0, 0, 9], 200, 3000);
    let mut replaced = 0;
    for _ in 0..20 {
        bench.event(Event::Advert(&slow, AT_ONCE));
        let next = bench.now + Nanos::from_secs(30);
        while let Some(at) = bench.router.deadlines.get(Timer::MasterDown).filter(|at| *at < next) {
            bench.now = at;
            bench.event(Event::Timer(Timer::MasterDown));
            replaced += 1;
        }
        bench.now = next;
    }
    assert_eq!(replaced, 1);
    assert!(bench.done().contains("!over"));
    let view = bench.router.view();
    assert_eq!((view.state, view.interval, view.disbelieved), (State::Backup, v3(3000), None));
    // When it is really silent it is replaced; its interval still is what it was.
    bench.fire(Timer::MasterDown);
    assert_eq!(bench.router.state, State::Master);
    bench.event(Event::Advert(&slow, AT_ONCE));
    assert_eq!(bench.router.view().interval, v3(3000));
    // Another one is not believed.
    bench.event(Event::Advert(&slow_advert([10, 0, 0, 7], 200, 3000), AT_ONCE));
    assert_eq!(bench.router.view().interval, v3(200));
}

#[test]
fn another_bound_counts_at_once() {
    let mut bench = Bench::in_state(State::Backup, spec());
    bench.event(Event::Advert(&slow_advert([10, 0, 0, 9], 254, 4095), AT_ONCE));
    let bound = RouterSpec { max_learned_interval: Some(Centisecs(200)), ..spec() };
    bench.event(Event::Reconfigured(&bound));
    assert_eq!(bench.left(Timer::MasterDown), Some(Nanos(7_218_750_000)));
    assert_eq!(bench.router.view().disbelieved, Some(v3(4095)));
}
