//! What becomes of the timers of a router that goes on with other settings.

use super::*;

const ID: RouterId = RouterId(0);
const NOW: Nanos = Nanos::from_secs(100);
const MASTER: u8 = 9;

fn plain() -> RouterSpec {
    RouterSpec { garp: GarpPolicy::DEFAULT, ..router(100) }
}

fn advert(priority: u8, interval: AdvertInterval) -> Advert {
    Advert { source: ip(MASTER), priority: Priority(priority), interval, addresses: vec![ip(100)] }
}

/// A router that listens since [`NOW`].
fn backup(spec: RouterSpec) -> Engine {
    let mut engine = Engine::new();
    engine.add_router(ID, spec);
    engine.handle_link(NOW, ID, Link::Up(ip(1)));
    drain(&mut engine);
    engine
}

/// A router that is master, and since when.
fn master(spec: RouterSpec) -> (Engine, Nanos) {
    let mut engine = backup(spec);
    let at = engine.poll_timeout().unwrap();
    engine.handle_timeout(at);
    assert_eq!(engine.state(ID), Some(State::Master));
    drain(&mut engine);
    (engine, at)
}

fn left(engine: &Engine, timer: Timer, now: Nanos) -> Option<Nanos> {
    engine.timers(ID).into_iter().find(|(kind, _)| *kind == timer).map(|(_, at)| at - now)
}

#[test]
fn a_master_says_its_new_priority_when_the_next_advertisement_is_due() {
    let (mut engine, since) = master(plain());
    let due = engine.poll_timeout();
    let spec = RouterSpec { priority: Priority(150), ..plain() };
    engine.reconfigure(since + Nanos::from_millis(300), ID, &spec);
    let changed = Action::PriorityChanged { router: ID, from: Priority(100), to: Priority(150) };
    assert_eq!((drain(&mut engine), engine.poll_timeout()), (vec![changed], due));
    engine.handle_timeout(due.unwrap());
    let sent = Action::SendAdvert { router: ID, priority: Priority(150) };
    assert_eq!(drain(&mut engine), [sent]);
}

#[test]
fn a_shorter_interval_counts_at_once_and_a_longer_one_from_the_next_advertisement_on() {
    let (mut engine, since) = master(plain());
    let at = since + Nanos::from_millis(100);
    engine.reconfigure(at, ID, &RouterSpec { interval: v3(20), ..plain() });
    assert_eq!(left(&engine, Timer::Advert, at), Some(Nanos::from_millis(200)));
    engine.reconfigure(at, ID, &RouterSpec { interval: v3(3000), ..plain() });
    assert_eq!(left(&engine, Timer::Advert, at), Some(Nanos::from_millis(200)));
    let due = engine.poll_timeout().unwrap();
    engine.handle_timeout(due);
    assert_eq!(left(&engine, Timer::Advert, due), Some(Nanos::from_secs(30)));
}

#[test]
fn a_repetition_that_is_new_begins_and_one_that_is_gone_ends() {
    let (mut engine, since) = master(plain());
    let mut spec = plain();
    spec.garp.refresh = Nanos::from_secs(60);
    spec.garp.master_delay = Nanos::from_secs(1);
    engine.reconfigure(since, ID, &spec);
    assert_eq!(left(&engine, Timer::GarpRefresh, since), Some(Nanos::from_secs(60)));
    assert_eq!(left(&engine, Timer::GarpDelayed, since), Some(Nanos::from_secs(1)));
    spec.garp.refresh = Nanos::ZERO;
    spec.garp.master_delay = Nanos::ZERO;
    engine.reconfigure(since, ID, &spec);
    assert_eq!(left(&engine, Timer::GarpRefresh, since), None);
    assert_eq!(left(&engine, Timer::GarpDelayed, since), None);
    // What was over does not begin again.
    engine.reconfigure(since, ID, &plain());
    assert_eq!(left(&engine, Timer::GarpDelayed, since), None);
}

#[test]
fn the_skew_of_a_backup_follows_its_priority() {
    let mut engine = backup(plain());
    engine.handle_rx(NOW, NOW, ID, &advert(200, v3(100)));
    let at = NOW + Nanos::from_millis(500);
    engine.reconfigure(at, ID, &RouterSpec { priority: Priority(192), ..plain() });
    // 3 x 1 s + (256 - 192) / 256 x 1 s, of which half a second is over.
    assert_eq!(left(&engine, Timer::MasterDown, at), Some(Nanos::from_millis(2750)));
    engine.handle_rx(at, at, ID, &advert(0, v3(100)));
    engine.reconfigure(at, ID, &RouterSpec { priority: Priority(128), ..plain() });
    assert_eq!(left(&engine, Timer::MasterDown, at), Some(Nanos::from_millis(500)));
}

#[test]
fn the_interval_of_the_master_counts_more_than_our_own() {
    let mut engine = backup(plain());
    engine.handle_rx(NOW, NOW, ID, &advert(200, v3(300)));
    drain(&mut engine);
    engine.reconfigure(NOW, ID, &RouterSpec { interval: v3(50), ..plain() });
    assert_eq!(engine.view(ID).unwrap().interval, v3(300));
    // But not that of a master that speaks another version.
    let spec = RouterSpec { interval: AdvertInterval::Secs(1), ..plain() };
    let at = NOW + Nanos::from_secs(8);
    engine.reconfigure(at, ID, &spec);
    let view = engine.view(ID).unwrap();
    assert_eq!((view.interval, view.master), (AdvertInterval::Secs(1), None));
    assert_eq!(left(&engine, Timer::MasterDown, at), Some(Nanos(3_609_375_000)));
}

#[test]
fn a_shorter_interval_of_version_2_is_no_reason_to_take_over() {
    let spec = RouterSpec { interval: AdvertInterval::Secs(10), ..plain() };
    let mut engine = backup(spec);
    engine.handle_rx(NOW, NOW, ID, &advert(200, AdvertInterval::Secs(10)));
    let at = NOW + Nanos::from_secs(9);
    engine.reconfigure(at, ID, &RouterSpec { interval: AdvertInterval::Secs(1), ..plain() });
    assert_eq!(left(&engine, Timer::MasterDown, at), Some(Nanos(3_609_375_000)));
}

#[test]
fn pre_emption_that_is_no_longer_wanted_ends() {
    for spec in [
        RouterSpec { preempt: false, ..plain() },
        RouterSpec { priority: Priority(50), ..plain() },
        RouterSpec { priority: Priority(40), ..plain() },
    ] {
        let mut engine = backup(plain());
        let heard = NOW + Nanos::from_millis(3600);
        engine.handle_rx(heard, heard, ID, &advert(50, v3(100)));
        assert_eq!(left(&engine, Timer::MasterDown, heard), Some(Nanos(9_375_000)));
        // What it said since then was discarded: it counts as heard when it is listened to again.
        let at = heard + Nanos::from_millis(5);
        engine.reconfigure(at, ID, &spec);
        let down = engine.view(ID).unwrap().master_down_interval;
        assert_eq!(left(&engine, Timer::MasterDown, at), Some(down));
    }
    let mut engine = backup(plain());
    let heard = NOW + Nanos::from_millis(3600);
    engine.handle_rx(heard, heard, ID, &advert(50, v3(100)));
    let at = heard + Nanos::from_millis(5);
    engine.set_priority(at, ID, Some(Priority(40)));
    let down = engine.view(ID).unwrap().master_down_interval;
    assert_eq!(left(&engine, Timer::MasterDown, at), Some(down));
    // One that goes on does not begin anew.
    let mut engine = backup(plain());
    let heard = NOW + Nanos::from_millis(3600);
    engine.handle_rx(heard, heard, ID, &advert(50, v3(100)));
    engine.reconfigure(heard, ID, &RouterSpec { higher_prio_advert: Some(true), ..plain() });
    assert_eq!(left(&engine, Timer::MasterDown, heard), Some(Nanos(9_375_000)));
}

#[test]
fn pre_emption_that_is_new_begins_with_the_next_advertisement() {
    let mut engine = backup(RouterSpec { preempt: false, ..plain() });
    let at = |millis| NOW + Nanos::from_millis(millis);
    engine.handle_rx(at(3000), at(3000), ID, &advert(50, v3(100)));
    engine.reconfigure(at(3100), ID, &plain());
    engine.handle_rx(at(4000), at(4000), ID, &advert(50, v3(100)));
    assert_eq!(left(&engine, Timer::MasterDown, at(3000)), Some(Nanos(3_609_375_000)));
    // What is left of the delay is what is left of the new one.
    let slow = RouterSpec { preempt_delay: Nanos::from_secs(100), ..plain() };
    let mut engine = backup(slow.clone());
    engine.handle_rx(at(1000), at(1000), ID, &advert(50, v3(100)));
    engine.reconfigure(at(1500), ID, &RouterSpec { preempt_delay: Nanos::from_secs(2), ..slow });
    engine.handle_rx(at(2900), at(2900), ID, &advert(50, v3(100)));
    assert_eq!(left(&engine, Timer::MasterDown, at(2900)), Some(Nanos(3_609_375_000)));
    engine.handle_rx(at(3000), at(3000), ID, &advert(50, v3(100)));
    assert_eq!(left(&engine, Timer::MasterDown, at(2900)), Some(Nanos(3_609_375_000)));
}

#[test]
fn an_owner_that_gave_way_does_not_come_back_because_of_a_reload() {
    let owner = RouterSpec { priority: Priority::OWNER, ..plain() };
    let (mut engine, now) = (super::owner(NOW, ID), NOW);
    engine.reconfigure(now, ID, &owner);
    engine.handle_rx(now, now, ID, &advert(255, v3(100)));
    assert_eq!(engine.state(ID), Some(State::Backup));
    drain(&mut engine);
    engine.reconfigure(now, ID, &RouterSpec { addresses: vec![ip(101)], ..owner });
    assert_eq!((engine.state(ID), engine.poll_action()), (Some(State::Backup), None));
}

#[test]
fn a_removed_router_says_so() {
    let (mut engine, now) = master(plain());
    engine.remove_router(now, ID);
    let (from, to, cause) = (State::Master, State::Init, Cause::Removed);
    assert_eq!(
        drain(&mut engine),
        [
            Action::SendAdvert { router: ID, priority: Priority::RESIGN },
            Action::RemoveAddresses(ID),
            Action::Transition { router: ID, from, to, cause, at: now },
        ]
    );
    assert!(!engine.reconfigure(now, ID, &plain()));
}

/// An engine that has come into this state at `now` with this specification and nothing else.
fn fresh(now: Nanos, state: State, spec: &RouterSpec, heard: Option<AdvertInterval>) -> Engine {
    let mut engine = Engine::new();
    engine.add_router(ID, spec.clone());
    match state {
        State::Init => {}
        State::Fault => engine.handle_link(now, ID, Link::Down(FaultCause::InterfaceDown)),
        State::Backup => {
            engine.handle_link(now, ID, Link::Up(ip(1)));
            if let Some(interval) = heard {
                engine.handle_rx(now, now, ID, &advert(254, interval));
            }
        }
        State::Master => {
            engine.handle_link(Nanos::ZERO, ID, Link::Up(ip(1)));
            if spec.priority != Priority::OWNER {
                engine.handle_timeout(now);
            }
        }
    }
    engine
}

proptest! {
    /// After whatever happened, settings that changed on the way among it, the timers are those of a router
    /// that has always had the last settings: the same ones, and none later than if it had come into its state
    /// just now.
    #[test]
    fn timers_are_those_of_the_last_settings(
        first in spec(),
        steps in proptest::collection::vec(step(), 1..80),
        last in spec(),
    ) {
        let mut engine = Engine::new();
        engine.add_router(ID, first);
        let mut now = NOW;
        for step in steps.into_iter().chain([Step::Reconfigure(last.clone())]) {
            match step {
                Step::Wait(millis) => {
                    now += Nanos::from_millis(millis);
                    engine.handle_timeout(now);
                }
                Step::Advert { ago, source, priority, interval, .. } => {
                    let priority = Priority(priority);
                    let advert =
                        Advert { source: ip(source), priority, interval, addresses: vec![] };
                    engine.handle_rx(now, now - Nanos::from_millis(ago), ID, &advert);
                }
                Step::Up(address) => engine.handle_link(now, ID, Link::Up(ip(address))),
                Step::Down => engine.handle_link(now, ID, Link::Down(FaultCause::NoAddress)),
                Step::Lost => engine.handle_lost(now, ID, Lost::Address(ip(100))),
                Step::Reconfigure(spec) => {
                    let before = engine.state(ID);
                    engine.reconfigure(now, ID, &spec);
                    let owns = spec.priority == Priority::OWNER;
                    let stays = engine.state(ID) == before;
                    prop_assert!(stays || owns && before == Some(State::Backup));
                }
                Step::Remove | Step::Add(_) => {}
            }
        }
        let view = engine.view(ID).unwrap();
        if view.state != State::Backup {
            prop_assert_eq!(view.interval, last.interval);
        }
        prop_assert_eq!(view.interval.version(), last.interval.version());
        // An owner never listens, unless another one drove it out.
        prop_assume!(view.state != State::Backup || last.priority != Priority::OWNER);
        // A master that came to be just now: its clock began when the other's did not, so by its own.
        let fresh = fresh(now, view.state, &last, view.master.map(|_| view.interval));
        let began = match view.state {
            State::Master => fresh.view(ID).unwrap().since,
            State::Init | State::Backup | State::Fault => now,
        };
        for timer in Timer::ALL {
            let ours = left(&engine, timer, now);
            let theirs = left(&fresh, timer, began);
            match timer {
                Timer::MasterDown | Timer::Advert | Timer::GarpRefresh => {
                    prop_assert_eq!(ours.is_some(), theirs.is_some(), "{:?}", timer);
                    prop_assert!(ours <= theirs, "{:?}: {:?} and {:?}", timer, ours, theirs);
                }
                // Over after the first time.
                Timer::GarpDelayed => prop_assert!(ours <= theirs),
                Timer::GarpLowerPrio => {
                    let delay = last.garp.lower_prio_delay;
                    prop_assert!(ours.is_none_or(|left| left <= delay && delay > Nanos::ZERO));
                    prop_assert!(ours.is_none() || view.state == State::Master);
                }
            }
        }
    }
}

#[test]
fn the_advertisements_that_a_master_may_miss_count_from_the_last_one() {
    let mut engine = backup(plain());
    let heard = NOW + Nanos::from_secs(1);
    engine.handle_rx(heard, heard, ID, &advert(200, v3(100)));
    let at = heard + Nanos::from_millis(500);
    engine.reconfigure(at, ID, &RouterSpec { down_adverts: 10, ..plain() });
    assert_eq!(left(&engine, Timer::MasterDown, heard), Some(Nanos(10_609_375_000)));
    engine.reconfigure(at, ID, &RouterSpec { down_adverts: 1, ..plain() });
    assert_eq!(left(&engine, Timer::MasterDown, heard), Some(Nanos(1_609_375_000)));
}
