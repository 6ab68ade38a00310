//! Tracked objects, effective priorities and sync groups.

use super::super::track::Effect;
use super::*;

const A: RouterId = RouterId(0);
const B: RouterId = RouterId(1);
const C: RouterId = RouterId(2);
const GROUP: GroupId = GroupId(7);
const OBJECT: ObjectId = ObjectId(3);
const OTHER: ObjectId = ObjectId(4);
const START: Nanos = Nanos::from_secs(1000);

fn used(object: ObjectId, weight: i16, reverse: bool) -> TrackUse {
    TrackUse { object, weight, reverse }
}

fn tracking(priority: u8, track: &[TrackUse]) -> RouterSpec {
    RouterSpec { track: track.into(), ..router(priority) }
}

fn advert(priority: u8) -> Advert {
    Advert {
        source: ip(9),
        priority: Priority(priority),
        interval: v3(100),
        addresses: vec![ip(100)],
    }
}

fn up(engine: &mut Engine, now: Nanos, id: RouterId) {
    engine.handle_link(now, id, Link::Up(ip(1)));
}

fn states<const N: usize>(engine: &Engine, ids: [RouterId; N]) -> [State; N] {
    ids.map(|id| engine.state(id).unwrap())
}

/// What one object makes of a priority of 100; `None` for FAULT.
fn effective(used: TrackUse, health: Health) -> Option<u8> {
    let mut engine = Engine::new();
    engine.add_router(A, tracking(100, &[used]));
    engine.handle_tracked(START, OBJECT, health);
    up(&mut engine, START, A);
    (engine.state(A) != Some(State::Fault)).then(|| engine.priority(A).unwrap().0)
}

/// What a router tracks and its group, too, counts once, as the router has it.
#[test]
fn what_router_and_group_track_counts_once() {
    let mut engine = Engine::new();
    let track = [used(OBJECT, -30, false), used(OTHER, -3, false)];
    engine.add_group(START, GROUP, GroupSpec { track: track.into() });
    let group = Some(GROUP);
    engine.add_router(A, RouterSpec { group, ..tracking(100, &[used(OBJECT, -20, false)]) });
    engine.add_router(B, RouterSpec { group, ..tracking(100, &[]) });
    for object in [OBJECT, OTHER] {
        engine.handle_tracked(START, object, Health::Down);
    }
    up(&mut engine, START, A);
    up(&mut engine, START, B);
    let priorities = [A, B].map(|id| engine.priority(id).unwrap().0);
    assert_eq!(priorities, [77, 67]);
}

/// The table of keepalived.conf(5).
#[test]
fn weights_count_as_in_keepalived() {
    use Health::{Disabled, Down, Up, Value};
    for (weight, reverse, health, expected) in [
        (0, false, Up, Some(100)),
        (0, false, Down, None),
        (0, true, Up, None),
        (0, true, Down, Some(100)),
        (20, false, Up, Some(120)),
        (20, false, Down, Some(100)),
        (20, true, Up, Some(80)),
        (20, true, Down, Some(100)),
        (-20, false, Up, Some(100)),
        (-20, false, Down, Some(80)),
        (-20, true, Up, Some(100)),
        (-20, true, Down, Some(120)),
        (253, false, Up, Some(254)),
        (-253, false, Down, Some(1)),
        (0, false, Value(0), Some(100)),
        (0, false, Value(-1), None),
        (0, true, Value(0), None),
        (0, true, Value(5), Some(100)),
        (1, false, Value(20), Some(120)),
        (-2, false, Value(20), Some(60)),
        (-2, true, Value(20), Some(140)),
        (1, false, Value(-253), Some(1)),
        (1, false, Value(-254), None),
        (2, false, Value(-127), None),
        (1, false, Value(i32::MIN), None),
        (1, false, Value(i32::MAX), Some(254)),
        (254, false, Value(i32::MAX), Some(254)),
        (0, false, Disabled, Some(100)),
        (0, true, Disabled, Some(100)),
        (20, false, Disabled, Some(100)),
        (-20, true, Disabled, Some(100)),
        (-1, true, Value(i32::MIN), None),
    ] {
        let got = effective(used(OBJECT, weight, reverse), health);
        assert_eq!(got, expected, "weight {weight}, reverse {reverse}, {health:?}");
    }
}

#[test]
fn who_owns_the_addresses_has_no_weights() {
    let mut engine = Engine::new();
    engine.add_router(A, tracking(255, &[used(OBJECT, -20, false)]));
    engine.handle_tracked(START, OBJECT, Health::Down);
    engine.set_priority(START, A, Some(Priority(7)));
    up(&mut engine, START, A);
    let state = (engine.priority(A), engine.state(A));
    assert_eq!(state, (Some(Priority::OWNER), Some(State::Master)));
}

/// A router that tracks a script with weight 0 waits for its first result; with a weight it does not.
#[test]
fn what_is_not_known_is_waited_for() {
    for (weight, state) in [(0, State::Init), (5, State::Backup), (-5, State::Backup)] {
        let mut engine = Engine::new();
        engine.add_router(A, tracking(100, &[used(OBJECT, weight, false)]));
        up(&mut engine, START, A);
        assert_eq!(engine.state(A), Some(state), "weight {weight}");
        engine.handle_tracked(START, OBJECT, Health::Up);
        assert_eq!(engine.state(A), Some(State::Backup));
        // What runs goes on, as after a reload.
        engine.handle_tracked(START, OBJECT, Health::Unknown);
        assert_eq!(engine.state(A), Some(State::Backup));
    }
}

#[test]
fn fault_lasts_until_the_last_cause_is_gone() {
    let mut engine = Engine::new();
    let uses = [used(OBJECT, 0, false), used(OTHER, 0, false)];
    engine.add_router(A, tracking(100, &uses));
    engine.handle_tracked(START, OBJECT, Health::Up);
    engine.handle_tracked(START, OTHER, Health::Up);
    up(&mut engine, START, A);
    engine.handle_tracked(START, OBJECT, Health::Down);
    engine.handle_tracked(START, OTHER, Health::Down);
    engine.handle_link(START, A, Link::Down(FaultCause::InterfaceDown));
    engine.step_down(START, A, true);
    let causes = |engine: &Engine| engine.explain(A).unwrap().causes;
    assert_eq!(causes(&engine), [FaultCause::InterfaceDown, FaultCause::SteppedDown]);
    engine.step_down(START, A, false);
    up(&mut engine, START, A);
    assert_eq!(causes(&engine), [FaultCause::Tracked(OBJECT, Health::Down)]);
    assert_eq!(engine.state(A), Some(State::Fault));
    engine.handle_tracked(START, OBJECT, Health::Up);
    assert_eq!(causes(&engine), [FaultCause::Tracked(OTHER, Health::Down)]);
    let cause = engine.view(A).unwrap().cause;
    let other = Cause::Fault(FaultCause::Tracked(OTHER, Health::Down));
    assert_eq!((engine.state(A), cause), (Some(State::Fault), Some(other)));
    engine.handle_tracked(START, OTHER, Health::Up);
    assert_eq!((engine.state(A), causes(&engine)), (Some(State::Backup), vec![]));
}

#[test]
fn a_master_shows_its_priority_in_the_next_advertisement() {
    let mut engine = Engine::new();
    engine.add_router(A, tracking(100, &[used(OBJECT, -20, false)]));
    up(&mut engine, START, A);
    let since = engine.poll_timeout().unwrap();
    engine.handle_timeout(since);
    drain(&mut engine);
    let due = engine.poll_timeout().unwrap();
    engine.handle_tracked(since, OBJECT, Health::Down);
    let changed = Action::PriorityChanged { router: A, from: Priority(100), to: Priority(80) };
    assert_eq!((drain(&mut engine), engine.poll_timeout()), (vec![changed], Some(due)));
    engine.handle_timeout(due);
    assert_eq!(drain(&mut engine), [Action::SendAdvert { router: A, priority: Priority(80) }]);
}

/// Of the master-down interval only the skew changes: 156/256 and 56/256 of a second.
#[test]
fn what_a_backup_has_waited_counts() {
    let mut engine = Engine::new();
    engine.add_router(A, tracking(100, &[used(OBJECT, 100, false)]));
    up(&mut engine, START, A);
    engine.handle_rx(START, START, A, &advert(250));
    assert_eq!(engine.poll_timeout(), Some(START + Nanos(3_609_375_000)));
    let later = START + Nanos::from_secs(2);
    engine.handle_tracked(later, OBJECT, Health::Up);
    assert_eq!(engine.poll_timeout(), Some(START + Nanos(3_218_750_000)));
    engine.handle_tracked(later, OBJECT, Health::Down);
    assert_eq!(engine.poll_timeout(), Some(START + Nanos(3_609_375_000)));
}

#[test]
fn crossing_the_priority_of_the_master_begins_and_ends_pre_emption() {
    let mut engine = Engine::new();
    engine.add_router(A, tracking(100, &[used(OBJECT, 50, false)]));
    up(&mut engine, START, A);
    engine.handle_rx(START, START, A, &advert(120));
    assert!(engine.is_steady(A, &advert(120)));
    engine.handle_tracked(START, OBJECT, Health::Up);
    let at = |ms| START + Nanos::from_millis(ms);
    // What the kernel side heard meanwhile does not put it off any more.
    engine.handle_last_seen(at(500), A, None);
    let due = engine.poll_timeout().unwrap();
    engine.handle_rx(at(1000), at(1000), A, &advert(120));
    assert_eq!(engine.poll_timeout(), Some(due));
    assert!(!engine.is_steady(A, &advert(120)));
    // And now it is the lower one again: the master may have been heard all the time, and nothing said of it.
    engine.handle_tracked(at(1500), OBJECT, Health::Down);
    assert_eq!(engine.poll_timeout(), Some(at(1500) + Nanos(3_609_375_000)));
    engine.handle_tracked(at(1600), OBJECT, Health::Up);
    engine.handle_rx(at(2000), at(2000), A, &advert(120));
    let due = engine.poll_timeout().unwrap();
    engine.handle_timeout(due);
    let cause = engine.view(A).unwrap().cause;
    let preempted = Cause::Preempted { master: ip(9), priority: Priority(120) };
    assert_eq!((engine.state(A), cause), (Some(State::Master), Some(preempted)));
}

#[test]
fn operators_set_priorities_on_which_weights_count() {
    let mut engine = Engine::new();
    engine.add_router(A, tracking(100, &[used(OBJECT, -20, false)]));
    engine.handle_tracked(START, OBJECT, Health::Down);
    engine.set_priority(START, A, Some(Priority(200)));
    assert_eq!(engine.priority(A), Some(Priority(180)));
    let explanation = engine.explain(A).unwrap();
    assert_eq!(explanation.set, Some(Priority(200)));
    assert_eq!(explanation.terms[0].effect, Effect::Weight(-20));
    // Another configuration does not change that.
    engine.reconfigure(START, A, &tracking(50, &[used(OBJECT, -30, false)]));
    assert_eq!(engine.priority(A), Some(Priority(170)));
    engine.set_priority(START, A, None);
    assert_eq!(engine.priority(A), Some(Priority(20)));
}

#[test]
fn a_master_steps_down_and_stays_out() {
    let mut engine = Engine::new();
    engine.add_router(A, tracking(100, &[]));
    up(&mut engine, START, A);
    let since = engine.poll_timeout().unwrap();
    engine.handle_timeout(since);
    drain(&mut engine);
    engine.step_down(since, A, true);
    let actions = drain(&mut engine);
    assert_eq!(actions[0], Action::SendAdvert { router: A, priority: Priority::RESIGN });
    assert_eq!(actions[1], Action::RemoveAddresses(A));
    assert_eq!((engine.state(A), engine.poll_timeout()), (Some(State::Fault), None));
    assert!(engine.reconfigure(since, A, &tracking(150, &[])));
    up(&mut engine, since, A);
    assert_eq!(engine.state(A), Some(State::Fault));
    engine.step_down(since, A, false);
    assert_eq!(engine.state(A), Some(State::Backup));
}

/// A group of routers of these priorities.
fn group<const N: usize>(priorities: [u8; N], track: &[TrackUse]) -> Engine {
    let mut engine = Engine::new();
    engine.add_group(START, GROUP, GroupSpec { track: track.into() });
    for (id, priority) in (0..).map(RouterId).zip(priorities) {
        let spec = RouterSpec { group: Some(GROUP), ..tracking(priority, &[]) };
        engine.add_router(id, spec);
    }
    engine
}

fn started(engine: &mut Engine, ids: impl IntoIterator<Item = RouterId>) {
    ids.into_iter().for_each(|id| up(engine, START, id));
    drain(engine);
}

/// Fires what is due until nothing more is due before `end`.
fn run(engine: &mut Engine, end: Nanos) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some(at) = engine.poll_timeout().filter(|at| *at <= end) {
        engine.handle_timeout(at);
        actions.extend(drain(engine));
    }
    actions
}

#[test]
fn a_group_starts_when_the_last_member_can() {
    let mut engine = group([100, 100, 100], &[]);
    up(&mut engine, START, A);
    up(&mut engine, START, B);
    assert_eq!(states(&engine, [A, B, C]), [State::Init; 3]);
    assert_eq!(drain(&mut engine), []);
    up(&mut engine, START, C);
    assert_eq!(states(&engine, [A, B, C]), [State::Backup; 3]);
    let last = drain(&mut engine).pop();
    let (from, to) = (State::Init, State::Backup);
    assert_eq!(last, Some(Action::GroupTransition { group: GROUP, from, to, at: START }));
}

#[test]
fn one_in_fault_keeps_all_in_fault() {
    let mut engine = group([100, 100, 100], &[]);
    started(&mut engine, [A, B, C]);
    let at = START + Nanos::from_secs(4);
    run(&mut engine, at);
    assert_eq!(states(&engine, [A, B, C]), [State::Master; 3]);
    engine.handle_link(at, B, Link::Down(FaultCause::InterfaceDown));
    assert_eq!(states(&engine, [A, B, C]), [State::Fault; 3]);
    let cause = |engine: &Engine, id| engine.view(id).unwrap().cause;
    assert_eq!(cause(&engine, A), Some(Cause::Fault(FaultCause::Member(B))));
    assert_eq!(cause(&engine, B), Some(Cause::Fault(FaultCause::InterfaceDown)));
    let causes = |id| engine.explain(id).unwrap().causes;
    assert_eq!(causes(A), [FaultCause::Member(B)]);
    assert_eq!(causes(B), [FaultCause::InterfaceDown]);
    engine.handle_link(at, C, Link::Down(FaultCause::NoAddress));
    up(&mut engine, at, B);
    // The one that is to blame now.
    assert_eq!(cause(&engine, B), Some(Cause::Fault(FaultCause::Member(C))));
    assert_eq!(cause(&engine, A), Some(Cause::Fault(FaultCause::Member(C))));
    assert_eq!(engine.group_view(GROUP).unwrap(), (State::Fault, vec![A, B, C], vec![C]));
    up(&mut engine, at, C);
    assert_eq!(states(&engine, [A, B, C]), [State::Backup; 3]);
}

/// What is heard wakes nobody when it is acknowledged: also of a member whose timer has fired it must be asked.
#[test]
fn who_waits_for_its_group_is_doubted_again() {
    let mut engine = group([200, 50], &[]);
    started(&mut engine, [A, B]);
    engine.handle_rx(START, START, A, &advert(250));
    let silent = START + Nanos::from_millis(3700);
    run(&mut engine, silent);
    let due = START + Nanos(3_804_687_500);
    assert_eq!(engine.master_downs_due(due), [B]);
    assert_eq!(engine.masters_doubted(due), [B, A]);
    engine.handle_last_seen(silent, A, None);
    assert_eq!(engine.masters_doubted(due), [B]);
    engine.handle_timeout(due);
    assert_eq!(states(&engine, [A, B]), [State::Backup; 2]);
}

#[test]
fn all_take_over_when_the_last_one_wants_to() {
    let mut engine = group([200, 100, 50], &[]);
    started(&mut engine, [A, B, C]);
    let masters = |engine: &Engine| states(engine, [A, B, C]).map(|state| state == State::Master);
    // The highest waits for the lowest.
    run(&mut engine, START + Nanos::from_millis(3700));
    assert_eq!(masters(&engine), [false; 3]);
    let actions = run(&mut engine, START + Nanos::from_millis(3900));
    assert_eq!(masters(&engine), [true; 3]);
    let (from, to) = (State::Backup, State::Master);
    let moved = |action: &Action| matches!(action, Action::GroupTransition { from: f, to: t, .. } if (*f, *t) == (from, to));
    assert!(actions.iter().any(moved), "{actions:?}");
}

#[test]
fn who_hears_a_master_holds_the_others_back() {
    let mut engine = group([200, 100], &[]);
    started(&mut engine, [A, B]);
    for second in 1..20 {
        engine.handle_rx(
            START + Nanos::from_secs(second),
            START + Nanos::from_secs(second),
            B,
            &advert(150),
        );
        run(&mut engine, START + Nanos::from_secs(second) + Nanos::from_millis(900));
        assert_eq!(states(&engine, [A, B]), [State::Backup; 2]);
    }
    // It wants to as soon as nothing is heard any more.
    run(&mut engine, START + Nanos::from_secs(24));
    assert_eq!(states(&engine, [A, B]), [State::Master; 2]);
}

#[test]
fn one_that_gives_way_takes_all_along() {
    let mut engine = group([100, 100], &[]);
    started(&mut engine, [A, B]);
    let at = START + Nanos::from_secs(4);
    run(&mut engine, at);
    engine.handle_rx(at, at, B, &advert(200));
    assert_eq!(states(&engine, [A, B]), [State::Backup; 2]);
    assert_eq!(engine.view(A).unwrap().cause, Some(Cause::GroupYielded(B)));
    // Nobody needs to wait for the silence of the one that nobody outranked.
    let resigned = Action::SendAdvert { router: A, priority: Priority::RESIGN };
    assert!(drain(&mut engine).contains(&resigned));
}

#[test]
fn what_a_group_tracks_counts_for_all() {
    let track = [used(OBJECT, 0, false), used(OTHER, -30, false)];
    let mut engine = group([100, 150], &track);
    started(&mut engine, [A, B]);
    assert_eq!(states(&engine, [A, B]), [State::Init; 2]);
    engine.handle_tracked(START, OBJECT, Health::Up);
    assert_eq!(states(&engine, [A, B]), [State::Backup; 2]);
    engine.handle_tracked(START, OTHER, Health::Down);
    assert_eq!([A, B].map(|id| engine.priority(id).unwrap().0), [70, 120]);
    engine.handle_tracked(START, OBJECT, Health::Down);
    assert_eq!(states(&engine, [A, B]), [State::Fault; 2]);
}

#[test]
fn a_group_of_owners_is_master_at_once() {
    let mut engine = group([255, 255], &[]);
    started(&mut engine, [A, B]);
    assert_eq!(states(&engine, [A, B]), [State::Master; 2]);
    // One that does not own its addresses must be waited for.
    let mut engine = group([255, 100], &[]);
    started(&mut engine, [A, B]);
    assert_eq!(states(&engine, [A, B]), [State::Backup; 2]);
    run(&mut engine, START + Nanos::from_secs(4));
    assert_eq!(states(&engine, [A, B]), [State::Master; 2]);
}

#[test]
fn who_joins_a_master_is_one() {
    let mut engine = group([100, 100], &[]);
    started(&mut engine, [A, B]);
    let at = START + Nanos::from_secs(4);
    run(&mut engine, at);
    engine.add_router(C, RouterSpec { group: Some(GROUP), ..tracking(100, &[]) });
    assert_eq!(states(&engine, [A, B, C]), [State::Master, State::Master, State::Init]);
    up(&mut engine, at, C);
    assert_eq!(states(&engine, [A, B, C]), [State::Master; 3]);
    engine.remove_router(at, A);
    assert_eq!(states(&engine, [B, C]), [State::Master; 2]);
}

#[test]
fn a_group_without_members_has_no_state() {
    let mut engine = group([100, 100], &[]);
    started(&mut engine, [A, B]);
    let at = START + Nanos::from_secs(4);
    run(&mut engine, at);
    for id in [A, B] {
        engine.remove_router(at, id);
    }
    let told = |action| matches!(action, Action::GroupTransition { .. });
    assert!(!std::iter::from_fn(|| engine.poll_action()).any(told));
    engine.add_router(C, RouterSpec { group: Some(GROUP), ..tracking(100, &[]) });
    assert_eq!(engine.group_view(GROUP).map(|(state, ..)| state), Some(State::Init));
}

/// Thousands in one group: whatever concerns one costs the same, or this test would take minutes.
#[test]
fn thousands_move_together() {
    const MANY: u32 = 4000;
    let ids = || (0..MANY).map(RouterId);
    let mut engine = Engine::new();
    for id in ids() {
        engine.add_router(id, RouterSpec { group: Some(GROUP), ..tracking(100, &[]) });
    }
    let all = |engine: &Engine, state| ids().all(|id| engine.state(id) == Some(state));
    started(&mut engine, ids());
    assert!(all(&engine, State::Backup));
    run(&mut engine, START + Nanos::from_secs(4));
    assert!(all(&engine, State::Master));
    let at = START + Nanos::from_secs(5);
    ids().for_each(|id| engine.handle_link(at, id, Link::Down(FaultCause::InterfaceDown)));
    assert!(all(&engine, State::Fault));
    ids().for_each(|id| up(&mut engine, at, id));
    assert!(all(&engine, State::Backup));
    drain(&mut engine);
    // With one of them in fault nobody takes over.
    engine.handle_link(at, RouterId(17), Link::Down(FaultCause::InterfaceDown));
    run(&mut engine, at + Nanos::from_secs(10));
    assert!(all(&engine, State::Fault));
}

proptest! {
    /// However many objects there are, in whatever order they change, the priority is what they add up to.
    #[test]
    fn the_order_of_changes_does_not_matter(
        uses in proptest::collection::vec((0u32..4, -254i16..=254, any::<bool>()), 0..6),
        changes in proptest::collection::vec((0u32..4, -300i32..300), 0..30),
        base in 1u8..=255,
    ) {
        let uses: Vec<_> =
            uses.into_iter().map(|(object, weight, reverse)| used(ObjectId(object), weight, reverse)).collect();
        let mut engine = Engine::new();
        engine.add_router(A, tracking(base, &uses));
        up(&mut engine, START, A);
        let mut health = [Health::Unknown; 4];
        for (object, change) in changes {
            let to = match change {
                ..-250 => Health::Unknown,
                -250..-100 => Health::Down,
                -100..100 => Health::Up,
                100.. => Health::Value(change - 200),
            };
            health[object as usize] = to;
            engine.handle_tracked(START, ObjectId(object), to);
        }
        let effects = || uses.iter().map(|used| used.effect(health[used.object.0 as usize]));
        let sum: i32 = effects().map(|effect| match effect {
            Effect::Weight(weight) => i32::from(weight),
            Effect::Fault | Effect::Wait => 0,
        }).sum();
        let expected = if base == 255 { 255 } else { (i32::from(base) + sum).clamp(1, 254) };
        prop_assert_eq!(i32::from(engine.priority(A).unwrap().0), expected);
        let fault = effects().any(|effect| effect == Effect::Fault);
        // Who was in FAULT and waits for what is not known again stays there; who never was waits in INIT.
        let wait = effects().any(|effect| effect == Effect::Wait);
        let state = engine.state(A);
        match (fault, wait) {
            (true, _) => prop_assert_eq!(state, Some(State::Fault)),
            (false, false) => prop_assert!(!matches!(state, Some(State::Fault | State::Init))),
            (false, true) => {}
        }
    }
}

/// keepalived's `down_timer_adverts`, also as it changes: what was waited counts.
#[test]
fn a_master_is_given_up_after_so_many_advertisements() {
    let spec = |down_adverts| RouterSpec { down_adverts, ..tracking(100, &[]) };
    let skew = Nanos(609_375_000);
    for down_adverts in [1, 3, 100] {
        let mut engine = Engine::new();
        engine.add_router(A, spec(down_adverts));
        up(&mut engine, START, A);
        engine.handle_rx(START, START, A, &advert(200));
        let wait = Nanos::from_secs(down_adverts.into()) + skew;
        assert_eq!(engine.poll_timeout(), Some(START + wait));
        engine.reconfigure(START, A, &spec(5));
        assert_eq!(engine.poll_timeout(), Some(START + Nanos::from_secs(5) + skew));
    }
}
