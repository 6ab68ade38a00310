//! Properties of the whole engine under arbitrary sequences of events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;

use super::time::Centisecs;
use super::types::*;
use super::*;

const ROUTERS: u32 = 3;

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

pub(super) fn v3(centisecs: u16) -> AdvertInterval {
    AdvertInterval::Centisecs(Centisecs(centisecs))
}

/// A router as most are, whose addresses are announced once and never again.
pub(super) fn router(priority: u8) -> RouterSpec {
    RouterSpec {
        vrid: Vrid::new(1).unwrap(),
        priority: Priority(priority),
        interval: v3(100),
        preempt: true,
        preempt_delay: Nanos::ZERO,
        max_learned_interval: None,
        addresses: vec![ip(100)],
        garp: GarpPolicy {
            master_repeat: 1,
            master_delay: Nanos::ZERO,
            lower_prio_repeat: 0,
            lower_prio_delay: Nanos::ZERO,
            ..GarpPolicy::DEFAULT
        },
        down_adverts: 3,
        lower_prio_advert: true,
        higher_prio_advert: None,
        owner_ignores_adverts: false,
        track: Box::default(),
        group: None,
    }
}

fn garp() -> impl Strategy<Value = GarpPolicy> {
    let span = prop_oneof![Just(Nanos::ZERO), (1u64..9000).prop_map(Nanos::from_millis)];
    (0u32..3, span.clone(), span.clone(), 0u32..3, 0u32..3, span).prop_map(
        |(master_repeat, master_delay, refresh, refresh_repeat, lower_prio_repeat, delay)| {
            GarpPolicy {
                master_repeat,
                master_delay,
                refresh,
                refresh_repeat,
                lower_prio_repeat,
                lower_prio_delay: delay,
            }
        },
    )
}

fn interval() -> impl Strategy<Value = AdvertInterval> {
    prop_oneof![(0u16..300).prop_map(v3), (0u8..4).prop_map(AdvertInterval::Secs)]
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(1), Just(100), Just(254), Just(255), 1u8..=255].prop_map(Priority)
}

prop_compose! {
    fn spec()(
        priority in priority(), interval in interval(), garp in garp(), flags in any::<[bool; 3]>(),
        delay in 0u64..5000,
    ) -> RouterSpec {
        RouterSpec {
            priority,
            interval,
            preempt: flags[0],
            preempt_delay: Nanos::from_millis(delay),
            garp,
            lower_prio_advert: flags[1],
            higher_prio_advert: flags[2].then_some(flags[0]),
            ..router(100)
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Time passes, and whatever is due fires.
    Wait(u64),
    /// An advertisement that arrived this long ago.
    Advert {
        ago: u64,
        source: u8,
        priority: u8,
        interval: AdvertInterval,
        matches: bool,
    },
    Up(u8),
    Down,
    Lost,
    Remove,
    Add(RouterSpec),
    Reconfigure(RouterSpec),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u64..5_000).prop_map(Step::Wait),
        8 => (0u64..2_000, 1u8..6, prop_oneof![Just(0), Just(100), any::<u8>()], interval(), any::<bool>())
            .prop_map(|(ago, source, priority, interval, matches)| {
                Step::Advert { ago, source, priority, interval, matches }
            }),
        3 => (1u8..6).prop_map(Step::Up),
        1 => Just(Step::Down),
        1 => Just(Step::Lost),
        1 => Just(Step::Remove),
        2 => spec().prop_map(Step::Add),
        3 => spec().prop_map(Step::Reconfigure),
    ]
}

/// Takes the actions and checks that they alternate as they should.
#[derive(Default)]
struct Observer {
    holding: BTreeSet<RouterId>,
    state: BTreeMap<RouterId, State>,
    /// Before that nobody is master.
    starts_at: Nanos,
}

impl Observer {
    fn drain(&mut self, engine: &mut Engine) {
        while let Some(action) = engine.poll_action() {
            match action {
                Action::AddAddresses(id) => assert!(self.holding.insert(id), "added twice"),
                Action::RemoveAddresses(id) => assert!(self.holding.remove(&id), "nothing there"),
                Action::Transition { router, from, to, at, .. } => {
                    assert!(to != State::Master || at >= self.starts_at);
                    let known = self.state.insert(router, to).unwrap_or(State::Init);
                    assert_eq!(known, from, "transitions form a chain");
                    assert_ne!(from, to);
                    assert_eq!(self.holding.contains(&router), to == State::Master);
                }
                Action::SendAdvert { router, priority } => {
                    // Before the transition to master, or while master, or on leaving it.
                    let resigning = priority == Priority::RESIGN;
                    assert!(!resigning || self.holding.contains(&router));
                }
                Action::SendGarp { router, rounds } => {
                    assert!(rounds > 0 && self.holding.contains(&router));
                }
                Action::Notice { .. }
                | Action::LowerPriority(_)
                | Action::GroupTransition { .. }
                | Action::PriorityChanged { .. } => {}
            }
        }
        for id in (0..ROUTERS).map(RouterId) {
            let state = engine.view(id).map_or(State::Init, |view| view.state);
            assert_eq!(self.state.get(&id).copied().unwrap_or(State::Init), state);
            assert_eq!(self.holding.contains(&id), state == State::Master);
        }
    }
}

/// What must hold between any two events.
fn check(engine: &Engine) {
    let mut waiting = 0;
    for id in engine.ids() {
        let Some(router) = engine.router(id) else { continue };
        let view = router.view();
        match view.state {
            State::Init | State::Fault => assert_eq!(view.next_timer, None),
            State::Backup | State::Master => assert!(view.next_timer.is_some()),
        }
        let first = router.deadlines().first();
        for timer in Timer::ALL {
            let at = router.deadlines().get(timer);
            assert!(at.is_none_or(|at| first.is_some_and(|first| first <= (at, timer))));
        }
        if let Some((at, timer)) = first {
            waiting += 1;
            assert!(engine.timers.any_due(at, timer));
            assert!(engine.poll_timeout().is_some_and(|earliest| earliest <= at));
        }
    }
    assert_eq!(engine.timers.len(), waiting);
}

proptest! {
    #[test]
    fn invariants_hold_under_any_sequence(
        specs in proptest::collection::vec(spec(), ROUTERS as usize),
        steps in proptest::collection::vec((0..ROUTERS, step()), 1..200),
        delay in prop_oneof![Just(0), 0u64..60_000],
    ) {
        let mut engine = Engine::new();
        let mut now = Nanos::from_secs(100);
        let starts_at = now + Nanos::from_millis(delay);
        let mut observer = Observer { starts_at, ..Observer::default() };
        engine.delay_start(starts_at);
        for (id, spec) in (0..).map(RouterId).zip(specs) {
            prop_assert!(engine.add_router(id, spec));
        }
        for (id, step) in steps {
            let id = RouterId(id);
            match step {
                Step::Wait(millis) => {
                    now += Nanos::from_millis(millis);
                    engine.handle_timeout(now);
                    prop_assert!(engine.poll_timeout().is_none_or(|at| at > now));
                }
                Step::Advert { ago, source, priority, interval, matches } => {
                    let advert = Advert {
                        source: ip(source),
                        priority: Priority(priority),
                        interval,
                        addresses: vec![ip(if matches { 100 } else { 101 })],
                    };
                    engine.handle_rx(now, now - Nanos::from_millis(ago), id, &advert);
                }
                Step::Up(address) => engine.handle_link(now, id, Link::Up(ip(address))),
                Step::Down => engine.handle_link(now, id, Link::Down(FaultCause::InterfaceDown)),
                Step::Lost => engine.handle_lost(now, id, Lost::Address(ip(100))),
                Step::Remove => engine.remove_router(now, id),
                Step::Add(spec) => {
                    let taken = engine.view(id).is_some();
                    prop_assert_eq!(engine.add_router(id, spec), !taken);
                }
                Step::Reconfigure(spec) => {
                    let there = engine.view(id).is_some();
                    prop_assert_eq!(engine.reconfigure(now, id, &spec), there);
                    prop_assert_eq!(engine.spec(id), there.then_some(&spec));
                }
            }
            observer.drain(&mut engine);
            check(&engine);
        }
        engine.handle_shutdown(now);
        observer.drain(&mut engine);
        check(&engine);
        prop_assert_eq!(engine.poll_timeout(), None);
    }

    /// Whatever happened before, a router whose link is up and who hears nothing is master in the end.
    #[test]
    fn silence_ends_in_mastership(
        spec in spec(),
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let (mut engine, id, mut now) = (Engine::new(), RouterId(0), Nanos::from_secs(100));
        engine.add_router(id, spec);
        for step in steps {
            match step {
                Step::Wait(millis) => {
                    now += Nanos::from_millis(millis);
                    engine.handle_timeout(now);
                }
                Step::Advert { source, priority, interval, .. } => {
                    let priority = Priority(priority);
                    let advert =
                        Advert { source: ip(source), priority, interval, addresses: vec![] };
                    engine.handle_rx(now, now, id, &advert);
                }
                Step::Up(address) => engine.handle_link(now, id, Link::Up(ip(address))),
                Step::Down => engine.handle_link(now, id, Link::Down(FaultCause::NoAddress)),
                Step::Lost => engine.handle_lost(now, id, Lost::Address(ip(100))),
                Step::Reconfigure(spec) => _ = engine.reconfigure(now, id, &spec),
                Step::Remove | Step::Add(_) => {}
            }
        }
        engine.handle_link(now, id, Link::Up(ip(1)));
        let bound = now + engine.view(id).unwrap().master_down_interval;
        while engine.view(id).unwrap().state != State::Master {
            now = engine.poll_timeout().expect("it waits for something");
            prop_assert!(now <= bound);
            engine.handle_timeout(now);
        }
    }
}

proptest! {
    /// Whatever was missed and heard during a pause, no timer makes up for it: each router says one thing, and more
    /// only where it changed its state.
    #[test]
    fn nothing_is_made_up_for_after_a_pause(
        specs in proptest::collection::vec(spec(), ROUTERS as usize),
        pauses in proptest::collection::vec(
            (0_u64..60_000, proptest::collection::vec((0..ROUTERS, 0_u64..1000, 0_u8..4, any::<u8>()), 0..100)),
            1..20,
        ),
    ) {
        let (mut engine, mut now) = (Engine::new(), Nanos::from_secs(100));
        for (id, spec) in (0..).map(RouterId).zip(specs) {
            engine.add_router(id, spec);
            engine.handle_link(now, id, Link::Up(ip(2)));
        }
        drain(&mut engine);
        for (pause, mut arrivals) in pauses {
            let (start, span) = (now, Nanos::from_millis(pause));
            now += span;
            arrivals.sort_by_key(|(_, part, ..)| *part);
            for (id, part, source, priority) in arrivals {
                let interval = engine.spec(RouterId(id)).unwrap().interval;
                let priority = Priority(priority);
                let advert = Advert { source: ip(source), priority, interval, addresses: vec![] };
                engine.handle_rx(now, start + Nanos(span.0 / 1000 * part), RouterId(id), &advert);
            }
            engine.handle_timeout(now);
            let (mut said, mut rounds) = ([0; ROUTERS as usize], [0; ROUTERS as usize]);
            for action in drain(&mut engine) {
                match action {
                    Action::SendAdvert { router, .. } => said[router.0 as usize] += 1,
                    Action::SendGarp { router, .. } => rounds[router.0 as usize] += 1,
                    Action::Transition { router, .. } => {
                        said[router.0 as usize] -= 1;
                        rounds[router.0 as usize] -= 1;
                    }
                    Action::AddAddresses(_)
                    | Action::RemoveAddresses(_)
                    | Action::LowerPriority(_)
                    | Action::GroupTransition { .. }
                    | Action::PriorityChanged { .. }
                    | Action::Notice { .. } => {}
                }
            }
            prop_assert!(said.iter().all(|adverts| *adverts <= 1), "{said:?}");
            // Each kind of timer at most once, and what is heard.
            prop_assert!(rounds.iter().all(|rounds| *rounds <= 4), "{rounds:?}");
            prop_assert!(engine.poll_timeout().is_none_or(|at| at > now));
        }
    }
}

/// An engine with one router of an owner, master since `now`, whose actions were drained.
fn owner(now: Nanos, id: RouterId) -> Engine {
    let mut engine = Engine::new();
    let garp =
        GarpPolicy { lower_prio_repeat: 0, lower_prio_delay: Nanos::ZERO, ..GarpPolicy::DEFAULT };
    let spec = RouterSpec { interval: AdvertInterval::Secs(1), garp, ..router(255) };
    engine.add_router(id, spec);
    engine.handle_link(now, id, Link::Up(ip(1)));
    assert_eq!(drain(&mut engine).len(), 4);
    engine
}

fn drain(engine: &mut Engine) -> Vec<Action> {
    std::iter::from_fn(|| engine.poll_action()).collect()
}

#[test]
fn a_stopped_engine_stays_stopped() {
    let (router, now) = (RouterId(7), Nanos::from_secs(1));
    let mut engine = owner(now, router);
    engine.handle_shutdown(now);
    let (from, to, cause) = (State::Master, State::Init, Cause::Shutdown);
    assert_eq!(
        drain(&mut engine),
        [
            Action::SendAdvert { router, priority: Priority::RESIGN },
            Action::RemoveAddresses(router),
            Action::Transition { router, from, to, cause, at: now },
        ]
    );
    engine.handle_link(now, router, Link::Up(ip(1)));
    assert_eq!((engine.poll_action(), engine.poll_timeout()), (None, None));
}

#[test]
fn a_timer_that_another_one_moved_does_not_fire_too() {
    let (router, now) = (RouterId(0), Nanos::from_secs(1));
    let mut engine = owner(now, router);
    // Late by far: the advertisement is due, and the second group of gratuitous ARP, which the
    // first sends at once and puts off.
    engine.handle_timeout(now + Nanos::from_secs(60));
    assert_eq!(
        drain(&mut engine),
        [
            Action::SendAdvert { router, priority: Priority::OWNER },
            Action::SendGarp { router, rounds: 5 }
        ]
    );
}

/// Whether the master was silent or the interface deaf is found out while the timer is due.
#[test]
fn a_doubted_silence_is_believed_later_or_never() {
    let (id, other, begin) = (RouterId(0), RouterId(1), Nanos::from_secs(1));
    let mut engine = Engine::new();
    for id in [id, other] {
        engine.add_router(id, RouterSpec { interval: AdvertInterval::Secs(1), ..router(100) });
        engine.handle_link(begin, id, Link::Up(ip(1)));
    }
    let due = begin + Nanos(3_609_375_000);
    assert_eq!(engine.master_downs_due(due - Nanos(1)), []);
    assert_eq!(engine.master_downs_due(due), [id, other]);
    let until = due + Nanos::from_millis(100);
    engine.postpone_master_down(due, id, until);
    engine.handle_timeout(due);
    assert_eq!((engine.state(id), engine.state(other)), (Some(State::Backup), Some(State::Master)));
    assert_eq!(engine.master_downs_due(until - Nanos(1)), []);
    // Another time than that for which it waits.
    engine.resume_master_down(due, id, until + Nanos(1));
    assert_eq!(engine.master_downs_due(due), []);
    // It was silent.
    let mut silent = engine;
    let answered = due + Nanos::from_millis(1);
    silent.resume_master_down(answered, id, until);
    silent.handle_timeout(answered);
    assert_eq!(silent.state(id), Some(State::Master));
    // A master has no such timer.
    silent.postpone_master_down(until, id, until);
    silent.handle_not_listening(until, id);
    assert_eq!(silent.state(id), Some(State::Master));
}

#[test]
fn what_could_not_be_heard_is_no_silence() {
    let (id, begin) = (RouterId(0), Nanos::from_secs(1));
    let mut engine = Engine::new();
    engine.add_router(id, RouterSpec { interval: AdvertInterval::Secs(1), ..router(100) });
    engine.handle_link(begin, id, Link::Up(ip(1)));
    let span = Nanos(3_609_375_000);
    let again = begin + span - Nanos(1);
    engine.handle_not_listening(again, id);
    engine.handle_timeout(again + span - Nanos(1));
    assert_eq!(engine.state(id), Some(State::Backup));
    engine.handle_timeout(again + span);
    assert_eq!(engine.state(id), Some(State::Master));
}

#[test]
fn unknown_routers_are_ignored() {
    let mut engine = Engine::new();
    engine.handle_link(Nanos::ZERO, RouterId(u32::MAX), Link::Up(ip(1)));
    engine.remove_router(Nanos::ZERO, RouterId(1));
    assert_eq!((engine.poll_action(), engine.poll_timeout()), (None, None));
}

mod delayed;
mod reconfigured;
mod tracked;
