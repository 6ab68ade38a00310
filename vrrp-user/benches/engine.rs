//! The parts without I/O, by themselves: `cargo bench -p vrrp-user`.
//!
//! Only what is public is used, and time passes as it does in a daemon with as many routers that advertise
//! every second.
#![allow(clippy::expect_used, reason = "there is nobody to report to")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vrrp_common::maps::{RouterEntry, transport};
use vrrp_common::parse;
use vrrp_common::reason::Reason;
use vrrp_user::engine::Engine;
use vrrp_user::engine::time::{Centisecs, Nanos};
use vrrp_user::engine::types::{
    Action, Advert, AdvertInterval, GarpPolicy, Link, Priority, RouterId, RouterSpec, State, Vrid,
};
use vrrp_user::wire::ethernet::VRRP_MULTICAST;
use vrrp_user::wire::frame::{AdvertFrame, AdvertParams};
use vrrp_user::wire::vrrp::Auth;

/// As many routers as 16 full links have.
const ROUTERS: u32 = 4080;
const SECOND: Nanos = Nanos::from_secs(1);
const INTERVAL: AdvertInterval = AdvertInterval::Secs(1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// Reads an advertisement as the kernel side does, all checks included.
fn parsing(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let intervals = [("v2", INTERVAL), ("v3", AdvertInterval::Centisecs(Centisecs(100)))];
    for (name, interval) in intervals {
        let (frame, entry) = advertisement(interval, &[VIP.into()]);
        assert_eq!(receive(&frame, &entry), Reason::Accepted);
        group.bench_function(format!("{name}, one address"), |b| {
            b.iter(|| receive(black_box(&frame), black_box(&entry)));
        });
    }
    let many: Vec<_> = (1..=255).map(|n| IpAddr::from([10, 0, 1, n])).collect();
    let (frame, entry) = advertisement(INTERVAL, &many);
    assert_eq!(receive(&frame, &entry), Reason::Accepted);
    group.bench_function("v2, 255 addresses", |b| {
        b.iter(|| receive(black_box(&frame), black_box(&entry)));
    });
    group.finish();
}

fn receive(mut frame: &[u8], entry: &RouterEntry) -> Reason {
    let Some(packet) = parse::ipv4(&frame) else { return Reason::Truncated };
    match parse::advert(&mut frame, &packet) {
        Ok(advert) => parse::check(&mut frame, &advert, entry),
        Err(reason) => reason,
    }
}

/// A frame of the peer, and what the host expects of it.
fn advertisement(interval: AdvertInterval, addresses: &[IpAddr]) -> (Vec<u8>, RouterEntry) {
    let frame = AdvertFrame::new(&AdvertParams {
        source_mac: [2, 0, 0, 0, 0, 2],
        dest_mac: VRRP_MULTICAST,
        source: PEER.into(),
        destination: vrrp_common::MULTICAST_V4.into(),
        ttl: vrrp_common::VRRP_TTL,
        vrid: Vrid::new(51).expect("not 0"),
        interval,
        priority: Priority(200),
        addresses,
        auth: Auth::None,
        v3_pseudo_header: true,
        signed: false,
    });
    let version = match interval {
        AdvertInterval::Secs(_) => 2,
        AdvertInterval::Centisecs(_) => 3,
    };
    let transport = transport::MULTICAST;
    let mut entry = RouterEntry { version, interval: 1, transport, ..RouterEntry::default() };
    entry.local[..4].copy_from_slice(&HOST.octets());
    entry.destination[..4].copy_from_slice(&vrrp_common::MULTICAST_V4);
    (frame.expect("fits").bytes().to_vec(), entry)
}

/// An engine with all routers up since the beginning of time; actions are not drained.
fn engine(priority: Priority) -> Engine {
    let garp = GarpPolicy {
        master_delay: Nanos::ZERO,
        lower_prio_repeat: 0,
        lower_prio_delay: Nanos::ZERO,
        ..GarpPolicy::DEFAULT
    };
    let mut engine = Engine::new();
    for router in 0..ROUTERS {
        let spec = RouterSpec {
            vrid: Vrid::new(u8::try_from(router % 255 + 1).expect("at most 255")).expect("not 0"),
            priority,
            interval: INTERVAL,
            preempt: true,
            max_learned_interval: None,
            preempt_delay: Nanos::ZERO,
            addresses: vec![VIP.into()],
            garp,
            down_adverts: 3,
            lower_prio_advert: true,
            higher_prio_advert: None,
            owner_ignores_adverts: false,
            track: Box::default(),
            group: None,
        };
        assert!(engine.add_router(RouterId(router), spec));
        engine.handle_link(Nanos::ZERO, RouterId(router), Link::Up(HOST.into()));
    }
    engine
}

fn drain(engine: &mut Engine) -> u32 {
    let mut adverts = 0;
    while let Some(action) = engine.poll_action() {
        if let Action::SendAdvert { .. } = black_box(action) {
            adverts += 1;
        }
    }
    adverts
}

fn advert() -> Advert {
    Advert {
        source: IpAddr::V4(PEER),
        priority: Priority(200),
        interval: INTERVAL,
        addresses: vec![VIP.into()],
    }
}

/// Backups that all have heard the same steady master.
fn backups() -> Engine {
    let (mut engine, advert) = (engine(Priority(100)), advert());
    for router in 0..ROUTERS {
        engine.handle_rx(Nanos::ZERO, Nanos::ZERO, RouterId(router), &advert);
        assert!(engine.is_steady(RouterId(router), &advert));
    }
    drain(&mut engine);
    engine
}

/// One more advertisement for one backup of many.
fn rx(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{ROUTERS} backups"));
    let (mut engine, advert) = (backups(), advert());
    let (mut now, mut router) = (SECOND, 0);
    group.bench_function("handle_rx", |b| {
        b.iter(|| {
            engine.handle_rx(now, now, RouterId(router), &advert);
            assert_eq!(drain(&mut engine), 0);
            // Evenly over the interval.
            now += Nanos(SECOND.0 / u64::from(ROUTERS));
            router = (router + 1) % ROUTERS;
        });
    });

    // What the daemon does instead of that when it wakes: it looks who was heard, all in one go.
    let (mut engine, mut now) = (backups(), Nanos::ZERO);
    group.throughput(Throughput::Elements(u64::from(ROUTERS)));
    group.bench_function("sweep: handle_last_seen for all", |b| {
        b.iter(|| {
            now += SECOND;
            for router in 0..ROUTERS {
                engine.handle_last_seen(now, RouterId(router), None);
            }
            assert_eq!(drain(&mut engine), 0);
        });
    });

    // Their master goes silent.
    group.bench_function("takeover of all at one instant", |b| {
        b.iter_batched_ref(
            backups,
            |engine| {
                engine.handle_timeout(Nanos::from_secs(10));
                assert_eq!(drain(engine), ROUTERS);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// One advertisement of each of many masters.
fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{ROUTERS} masters"));
    let mut engine = engine(Priority::OWNER);
    drain(&mut engine);
    assert_eq!(engine.view(RouterId(0)).map(|view| view.state), Some(State::Master));
    let mut end = Nanos::ZERO;
    group.throughput(Throughput::Elements(u64::from(ROUTERS)));
    group.bench_function("an interval: handle_timeout and poll_action", |b| {
        b.iter(|| {
            end += SECOND;
            let mut adverts = 0;
            while let Some(due) = engine.poll_timeout().filter(|due| *due <= end) {
                engine.handle_timeout(due);
                adverts += drain(&mut engine);
            }
            assert_eq!(adverts, ROUTERS);
        });
    });
    group.finish();
}

criterion_group!(benches, parsing, rx, timers);
criterion_main!(benches);
