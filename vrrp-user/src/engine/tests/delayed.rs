//! Nobody takes over before the startup delay has passed.

use super::*;

const NOW: Nanos = Nanos::from_secs(100);
/// When the startup delay is over.
const START: Nanos = Nanos::from_secs(110);
const SECOND: Nanos = Nanos::from_secs(1);

/// Routers of these priorities, whose interface is up since [`NOW`].
fn started(priorities: &[u8], group: Option<GroupId>) -> Engine {
    let mut engine = Engine::new();
    engine.delay_start(START);
    for (id, priority) in (0..).map(RouterId).zip(priorities) {
        engine.add_router(id, RouterSpec { group, ..router(*priority) });
        engine.handle_link(NOW, id, Link::Up(ip(1)));
    }
    engine
}

/// Lets time pass until a router is master; when, and why.
fn taken_over(engine: &mut Engine, id: RouterId) -> (Nanos, Cause) {
    for _ in 0..100 {
        let at = engine.poll_timeout().expect("it waits for something");
        engine.handle_timeout(at);
        let view = engine.view(id).unwrap();
        if view.state == State::Master {
            return (at, view.cause.unwrap());
        }
    }
    panic!("it never takes over");
}

fn down(engine: &Engine, id: RouterId) -> Nanos {
    engine.view(id).unwrap().master_down_interval
}

fn hear(engine: &mut Engine, at: Nanos, priority: u8) {
    let advert = Advert {
        source: ip(9),
        priority: Priority(priority),
        interval: v3(100),
        addresses: vec![ip(100)],
    };
    engine.handle_rx(at, at, RouterId(0), &advert);
}

#[test]
fn a_backup_listens_for_its_whole_time_after_the_delay() {
    let mut engine = started(&[100], None);
    let id = RouterId(0);
    assert_eq!((engine.state(id), engine.starts_at()), (Some(State::Backup), START));
    let wait = down(&engine, id);
    let (at, cause) = taken_over(&mut engine, id);
    let silence = at - NOW;
    assert_eq!((at, cause), (START + wait, Cause::MasterDown { master: None, silence }));
    assert_eq!(engine.starts_at(), Nanos::ZERO);
}

#[test]
fn a_master_that_is_heard_meanwhile_is_one_and_so_is_its_priority_0() {
    let mut engine = started(&[100], None);
    let id = RouterId(0);
    hear(&mut engine, NOW + SECOND, 200);
    assert_eq!(engine.view(id).unwrap().master, Some((ip(9), Priority(200))));
    assert_eq!(engine.poll_timeout(), Some(START + down(&engine, id)));
    hear(&mut engine, NOW + SECOND.times(2), 0);
    let (at, cause) = taken_over(&mut engine, id);
    assert_eq!(cause, Cause::MasterResigned(ip(9)));
    assert!(at > START && at < START + SECOND, "{at}");
    // Afterwards everything is as always.
    engine.handle_link(at, id, Link::Down(FaultCause::InterfaceDown));
    engine.handle_link(at + SECOND, id, Link::Up(ip(1)));
    assert_eq!(engine.poll_timeout(), Some(at + SECOND + down(&engine, id)));
}

#[test]
fn a_master_of_lower_priority_stays_until_then() {
    let mut engine = started(&[100], None);
    for second in 1..=13 {
        let at = NOW + SECOND.times(second);
        engine.handle_timeout(at);
        hear(&mut engine, at, 50);
        assert_eq!(engine.state(RouterId(0)), Some(State::Backup), "{second}");
    }
    let wait = down(&engine, RouterId(0));
    assert_eq!(taken_over(&mut engine, RouterId(0)).0, START + wait);
}

#[test]
fn an_owner_waits_for_the_delay_alone() {
    let mut engine = started(&[255], None);
    let (at, cause) = taken_over(&mut engine, RouterId(0));
    assert_eq!((at, cause), (START + Nanos(1), Cause::Owner));
    // As do all owners of a group, and one that becomes owner.
    let mut engine = started(&[255, 255], Some(GroupId(1)));
    let (at, cause) = taken_over(&mut engine, RouterId(0));
    assert_eq!((at, cause), (START + Nanos(1), Cause::Owner));
    assert_eq!(engine.state(RouterId(1)), Some(State::Master));
    let mut engine = started(&[100], None);
    engine.reconfigure(NOW + SECOND, RouterId(0), &router(255));
    assert!(taken_over(&mut engine, RouterId(0)).0 > START);
}

#[test]
fn who_is_owner_no_more_listens_like_everybody() {
    for group in [None, Some(GroupId(1))] {
        let mut engine = started(&[255], group);
        engine.reconfigure(NOW + SECOND, RouterId(0), &RouterSpec { group, ..router(100) });
        let wait = down(&engine, RouterId(0));
        assert_eq!(taken_over(&mut engine, RouterId(0)).0, START + wait);
    }
}

#[test]
fn who_starts_later_waits_no_longer() {
    let mut engine = started(&[100, 255], None);
    engine.handle_timeout(START + SECOND);
    engine.add_router(RouterId(2), router(255));
    engine.handle_link(START + SECOND, RouterId(2), Link::Up(ip(1)));
    assert_eq!(engine.state(RouterId(2)), Some(State::Master));
}
