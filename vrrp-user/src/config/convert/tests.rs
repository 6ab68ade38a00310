//! Reading what was written gives the same configuration.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::address::AddressFlags;
use crate::config::command::{Command, Fifo, Origin, ScriptUser};
use crate::config::model::{
    Authentication, Fence, Listen, Peer, RouterConfig, Scheduling, Transport, V3Checksum,
};
use crate::config::model::{
    Delays, GarpGroup, Group, InitFile, LinkDelay, OnLost, ParamMatch, Pauses, Routing, Track,
    TrackFile, TrackProcess, TrackScript, Tracked,
};
use crate::config::notify::{LifecycleScript, Notify, Settings};
use crate::config::{Options, load};
use crate::engine::time::{Centisecs, Nanos};
use crate::engine::types::{AdvertInterval, GarpPolicy, Priority, Vrid};

fn example(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(name)
}

fn without_lines(mut config: Config) -> Config {
    forget_lines(&mut config);
    config
}

/// Writes a configuration, asserts that it is read again, and returns what was written.
#[track_caller]
fn round_trip(config: Config) -> String {
    let text = toml(&config);
    let read =
        crate::config::load_toml(&text).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"));
    assert_eq!(without_lines(read), without_lines(config), "{text}");
    text
}

#[test]
fn examples() {
    for name in ["distribution.conf", "haproxy.conf", "many.conf", "two-hosts.conf", "vrrp.toml"] {
        let options = Options { config_id: Some("lb1".to_owned()), ..Options::default() };
        round_trip(load(&example(name), &options).unwrap().config);
    }
}

#[test]
fn what_is_usual_is_left_out() {
    let config = load(&example("two-hosts.conf"), &Options::default()).unwrap().config;
    assert_eq!(
        toml(&config),
        "[[router]]\n\
         name = \"VI_1\"\n\
         interface = \"eth0\"\n\
         vrid = 51\n\
         priority = 150\n\
         authentication = { type = \"pass\", password = \"1111\" }\n\
         addresses = [\"192.0.2.100/24\"]\n"
    );
}

#[test]
fn many_routers_are_one_entry() {
    let options = Options { config_id: Some("left".to_owned()), ..Options::default() };
    let config = load(&example("many.conf"), &options).unwrap().config;
    assert_eq!(
        toml(&config),
        "[[router]]\n\
         name = \"net{index}_{vrid}\"\n\
         interface = \"eth{0-2}\"\n\
         vrid = \"1-200\"\n\
         priority = 200\n\
         version = 3\n\
         interval = \"100ms\"\n\
         addresses = [\"10.{index}.0.{vrid}/16\"]\n"
    );
}

// Any configuration that is valid.

/// Names as they are made by people, by loops, and to be difficult.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        (select(vec!["r", "gw-", "a{b}", "{vrid}", "x\"\\#"]), 0_u32..300)
            .prop_map(|(name, n)| format!("{name}{n}")),
        (0_u32..300).prop_map(|n| format!("{n:03}")),
    ]
}

fn interface() -> impl Strategy<Value = String> {
    (select(vec!["eth", "br{0-3}", "v."]), 0_u32..6).prop_map(|(name, n)| format!("{name}{n}"))
}

fn ipv4() -> impl Strategy<Value = IpAddr> {
    (1_u8..=9, 1_u8..=9).prop_map(|(a, b)| IpAddr::from([10, a, 0, b]))
}

fn span() -> impl Strategy<Value = Nanos> {
    (0_u64..100_000, select(vec![1_000_000_000, 1_000_000, 1_000]))
        .prop_map(|(count, unit)| Nanos(count * unit))
}

prop_compose! {
    fn address()(
        ip in ipv4(),
        prefix in 0_u8..=32,
        dev in proptest::option::of(interface()),
        label in proptest::option::of(select(vec!["eth0:1", "a\"b", "{x}"])),
        scope in any::<u8>(),
        broadcast in proptest::option::of(ipv4()),
        peer in proptest::option::weighted(0.1, ipv4()),
        named in 0_usize..20,
        (no_track, beside) in (any::<bool>(), any::<bool>()),
    ) -> Address {
        let mut address = Address::new(ip, prefix);
        if let Some((_, flag)) = AddressFlags::NAMED.get(named) {
            address.flags.set(*flag, true);
        }
        let virtual_mac = beside && dev.is_some();
        let label = label.map(str::to_owned);
        Address { dev, label, scope, broadcast, peer, no_track, virtual_mac, ..address }
    }
}

prop_compose! {
    fn garp()(
        (master_repeat, refresh_repeat) in (1_u32..10, 1_u32..10),
        lower_prio_repeat in 0_u32..10,
        (master_delay, refresh, lower_prio_delay) in (span(), span(), span()),
    ) -> GarpPolicy {
        GarpPolicy {
            master_repeat, master_delay, refresh, refresh_repeat, lower_prio_repeat, lower_prio_delay,
        }
    }
}

fn interval() -> impl Strategy<Value = AdvertInterval> {
    prop_oneof![
        (1_u8..=255).prop_map(AdvertInterval::Secs),
        (1_u16..=4_095).prop_map(|cs| AdvertInterval::Centisecs(Centisecs(cs))),
    ]
}

fn transport() -> impl Strategy<Value = Transport> {
    let source = || proptest::option::of(ipv4());
    let group = proptest::option::of(Just(IpAddr::from([224, 0, 0, 81])));
    let limits = prop_oneof![Just((0, u8::MAX)), any::<(u8, u8)>()];
    let peers = proptest::collection::btree_map(ipv4(), limits, 1..4);
    let ttl = prop_oneof![Just(255), any::<u8>()];
    prop_oneof![
        (source(), group).prop_map(|(source, group)| Transport::Multicast { source, group }),
        (source(), peers, ttl, any::<bool>()).prop_map(|(source, peers, ttl, check_source)| {
            let peers = peers.into_iter().map(|(address, (min_ttl, max_ttl))| Peer {
                address,
                min_ttl,
                max_ttl,
            });
            let peers: Vec<Peer> = peers.collect();
            // Who says from how far a peer is heard, means that others are not.
            let check_source = check_source || !peers.iter().all(Peer::accepts_all);
            Transport::Unicast { source, peers, ttl, check_source }
        }),
    ]
}

fn user() -> impl Strategy<Value = Option<ScriptUser>> {
    let user = select(vec![("nobody", None), ("a b", Some("{x}"))]);
    proptest::option::weighted(0.3, user).prop_map(|user| {
        let (user, group) = user?;
        Some(ScriptUser { user: user.to_owned(), group: group.map(str::to_owned) })
    })
}

fn command() -> impl Strategy<Value = Command> {
    let words = proptest::collection::vec(select(vec!["{vrid}", "a b", "", "\"'\\", "ä\n"]), 0..3);
    (words, user()).prop_map(|(words, user)| {
        let argv = ["/bin/x"].into_iter().chain(words).map(str::to_owned).collect();
        Command { argv, user, origin: Origin { file: "".into(), line: 0, column: 0 } }
    })
}

prop_compose! {
    fn notify()(
        any in command(),
        master in proptest::option::of(command()),
        deleted in proptest::option::of(command()),
        notify_deleted in any::<bool>(),
        priority_changes in any::<Option<bool>>(),
    ) -> Notify {
        let notify_deleted = notify_deleted || deleted.is_some();
        let any = Some(any);
        Notify { any, master, notify_deleted, deleted, priority_changes, ..Notify::default() }
    }
}

fn routing() -> impl Strategy<Value = Routing> {
    (any::<bool>(), any::<Option<bool>>()).prop_map(|(restore, promote_secondaries)| Routing {
        on_lost: if restore { OnLost::Restore } else { OnLost::Yield },
        promote_secondaries,
        ..Routing::default()
    })
}

fn track() -> impl Strategy<Value = Track> {
    let what = select(vec![
        Tracked::Interface("eth9".to_owned()),
        Tracked::Script("s{0}".to_owned()),
        Tracked::File("f".to_owned()),
        Tracked::Process("p".to_owned()),
    ]);
    (what, -200_i16..=200, any::<bool>()).prop_map(|(what, weight, reverse)| Track {
        what,
        weight,
        reverse,
    })
}

fn once_each(mut tracks: Vec<Track>) -> Vec<Track> {
    let mut seen = std::collections::HashSet::new();
    tracks.retain(|track| seen.insert(track.what.clone()));
    tracks
}

prop_compose! {
    fn objects()(
        command in command(),
        (interval, timeout) in (1_u64..10, proptest::option::of(1_u64..10)),
        (rise, fall, weight) in (1_u32..5, 1_u32..5, -253_i16..=253),
        (reverse, init_fail, full_command) in (any::<bool>(), any::<bool>(), any::<bool>()),
        init in proptest::option::of((any::<i32>(), any::<bool>())),
        parameters in proptest::collection::vec(select(vec!["-a", "{b}", ""]), 0..3),
        (quorum, more) in (0_u32..5, proptest::option::of(0_u32..5)),
        (fork, terminate) in (span(), span()),
    ) -> (TrackScript, TrackFile, TrackProcess) {
        let script = TrackScript {
            name: "s{0}".to_owned(),
            line: 0,
            command,
            interval: Nanos::from_secs(interval),
            timeout: timeout.map(Nanos::from_secs),
            rise,
            fall,
            weight,
            reverse,
            init_fail,
        };
        let file = TrackFile {
            name: "f".to_owned(),
            line: 0,
            path: "/run/{f}".into(),
            weight,
            reverse,
            init: init.map(|(value, overwrite)| InitFile { value, overwrite }),
        };
        let process = TrackProcess {
            name: "p".to_owned(),
            line: 0,
            command: "bird".to_owned(),
            param_match: (!parameters.is_empty()).then_some(ParamMatch::Initial),
            parameters: parameters.into_iter().map(str::to_owned).collect(),
            full_command,
            quorum,
            quorum_max: more.map_or(u32::MAX, |more| quorum + more),
            fork_delay: fork,
            terminate_delay: terminate,
            weight,
            reverse,
        };
        (script, file, process)
    }
}

/// The sync group of all routers that do not own their addresses.
fn group(routers: &[RouterConfig], track: Vec<Track>, notify: Option<Notify>) -> Vec<Group> {
    let members = routers.iter().filter(|router| router.priority != Priority::OWNER);
    let members: Vec<String> = members.map(|router| router.name.clone()).collect();
    if members.is_empty() {
        return Vec::new();
    }
    vec![Group {
        name: "g".to_owned(),
        line: 0,
        members,
        track: once_each(track),
        notify: notify.map(Box::new),
        tracking_weight: true,
    }]
}

prop_compose! {
    fn settings()(
        user in user(),
        (security, symlink_paths, disable_unusable) in (any::<bool>(), any::<bool>(), any::<bool>()),
        umask in proptest::option::of(0_u16..=0o777),
        concurrency in 1_u16..100,
        startup in proptest::option::of(command()),
        timeout in 1_u64..100,
        script in proptest::option::of(command()),
        split_brain in proptest::option::of(command()),
    ) -> Settings {
        let timeout = Nanos::from_secs(timeout);
        let origin = Origin { file: "".into(), line: 0, column: 0 };
        let fifo = Fifo { path: "/run/{a}".into(), user: user.clone(), script, origin };
        let startup = startup.map(|command| LifecycleScript { command, timeout });
        Settings {
            user, security, symlink_paths, disable_unusable, umask, concurrency, startup, timeout, split_brain,
            fifo: security.then_some(fifo),
            ..Settings::default()
        }
    }
}

prop_compose! {
    fn router()(
        (name, interface, vrid) in (name(), interface(), 1_u8..=255),
        (priority, interval, transport) in (1_u8..=255, interval(), transport()),
        password in proptest::option::of((any::<[u8; 8]>(), any::<bool>())),
        (preempt, preempt_delay) in (any::<bool>(), 0_u64..=1_000),
        (addresses, first) in (proptest::collection::vec(address(), 0..4), address()),
        excluded in proptest::collection::vec(address(), 0..2),
        garp in prop_oneof![Just(GarpPolicy::DEFAULT), garp()],
        (lower_prio_advert, higher_prio_advert) in (any::<bool>(), any::<Option<bool>>()),
        (rfc9568, down_adverts) in (any::<bool>(), prop_oneof![Just(3), 1_u8..=100]),
        (ignores, tracks, longest) in (any::<bool>(), any::<bool>(), proptest::option::of(0_u16..100)),
        (fence, has_mac) in (select([Fence::Claim, Fence::Lease, Fence::Off].as_slice()), any::<bool>()),
        (dont_track_primary, mac, adverts) in (any::<bool>(), proptest::option::of(any::<[u8; 3]>()), any::<bool>()),
        track in proptest::collection::vec(track(), 0..3),
        (notify, routing) in (proptest::option::of(notify()), routing()),
    ) -> RouterConfig {
        let owner = priority == 255;
        let authentication = match (password, interval) {
            (Some((password, true)), AdvertInterval::Secs(_)) => Authentication::Ah(password),
            (Some((password, false)), AdvertInterval::Secs(_)) => Authentication::Pass(password),
            _ => Authentication::None,
        };
        let (Transport::Multicast { source, .. } | Transport::Unicast { source, .. }) = transport;
        let track_source = tracks && source.is_some();
        let virtual_mac = has_mac && (!adverts || matches!(transport, Transport::Multicast { .. }));
        let own_virtual_mac = mac.filter(|_| virtual_mac).map(|[a, b, c]| [2, a, b, c, 0, vrid]);
        let delayed = preempt && !owner;
        // RFC 9568 section 5.2.5.
        let addresses = match (interval, addresses.is_empty()) {
            (AdvertInterval::Centisecs(_), true) => vec![first],
            (AdvertInterval::Secs(_), true) | (_, false) => addresses,
        };
        let is_unicast = matches!(transport, Transport::Unicast { .. });
        let garp_own_address = Nanos::from_secs(if is_unicast { preempt_delay } else { 0 });
        RouterConfig {
            name,
            line: 0,
            interface,
            vrid: Vrid::new(vrid).unwrap(),
            priority: Priority(priority),
            interval,
            authentication,
            transport,
            max_learned_interval: match (interval, longest) {
                (AdvertInterval::Centisecs(Centisecs(ours)), Some(more)) => {
                    Some(Centisecs((ours + more).min(4_095)))
                }
                (AdvertInterval::Centisecs(_), None) | (AdvertInterval::Secs(_), _) => None,
            },
            hmac: None,
            preempt: preempt || owner,
            preempt_delay: Nanos::from_secs(if delayed { preempt_delay } else { 0 }),
            addresses,
            excluded,
            garp,
            garp_extra_if: Nanos::from_secs(u64::from(down_adverts / 50)),
            garp_extra_if_all: ignores,
            garp_own_address,
            down_adverts,
            lower_prio_advert,
            owner_ignores_adverts: ignores && owner,
            link_local_first: false,
            fence,
            virtual_mac,
            own_virtual_mac,
            virtual_mac_adverts: adverts,
            accept: preempt || lower_prio_advert,
            track_source,
            higher_prio_advert,
            v3_checksum: if rfc9568 { V3Checksum::Rfc9568 } else { V3Checksum::Rfc5798 },
            track: if owner { Vec::new() } else { once_each(track) },
            dont_track_primary,
            notify: notify.map(Box::new),
            routing,
        }
    }
}

/// A router, and how many like it follow, with a VRID, an address and a name that go up by one.
fn run() -> impl Strategy<Value = (RouterConfig, u8)> {
    (router(), prop_oneof![3 => Just(1_u8), 1 => 2_u8..12])
}

prop_compose! {
    fn delays()(
        spans in proptest::collection::vec((0_u64..3, 0_u64..4_000_000_000), 8),
        grouped in any::<bool>(), delayed in any::<bool>(),
    ) -> Delays {
        // Microseconds, as keepalived has them; often none.
        let span = |n: usize| Nanos(spans[n].0.min(1) * spans[n].1 / 1_000 * 1_000);
        let pauses = |n| Pauses { garp: span(n), gna: span(n + 1) };
        let interfaces = vec!["eth0".to_owned(), "a.1".to_owned()];
        // That of an interface with routers must be short.
        let link = LinkDelay { interface: "unused".to_owned(), down: span(6), up: span(7) };
        Delays {
            startup: span(0),
            after_boot: span(1),
            pauses: pauses(2),
            garp_groups: grouped.then(|| GarpGroup { interfaces, pauses: pauses(4) }).into_iter().collect(),
            links: delayed.then_some(link).into_iter().collect(),
        }
    }
}

fn capture() -> impl Strategy<Value = crate::capture::Settings> {
    let mode = || proptest::option::of(select(crate::capture::CaptureMode::ALL.to_vec()));
    let interfaces = proptest::collection::btree_map(
        select(vec!["other".to_owned(), "eth0".to_owned()]),
        mode(),
        0..3,
    );
    (mode(), interfaces)
        .prop_map(|(default, interfaces)| crate::capture::Settings { default, interfaces })
}

fn config() -> impl Strategy<Value = Config> {
    let scheduling = proptest::option::of(prop_oneof![
        Just(Scheduling::Other),
        (1_u8..=99).prop_map(Scheduling::Fifo),
    ]);
    let content = (proptest::collection::vec(track(), 0..3), proptest::option::of(notify()));
    let grouped = proptest::option::weighted(0.3, content);
    let metrics = proptest::option::of(select(vec!["127.0.0.1:1", "[::1]:9", "unix:/run/x"]));
    let netns = proptest::option::of(select(vec!["red", "/proc/1/ns/net"]));
    let settings = (scheduling, metrics, netns, settings(), delays(), capture());
    (proptest::collection::vec(run(), 1..8), settings, objects(), grouped).prop_map(
        |(runs, settings, (script, file, process), grouped)| {
            let (scheduling, metrics, netns, notify, delays, capture) = settings;
            let routers = runs.into_iter().flat_map(|(router, count)| {
                (0..count).map(move |n| RouterConfig {
                    name: format!(
                        "{}-{}",
                        router.name,
                        u32::from(n) + u32::from(router.vrid.get())
                    ),
                    vrid: Vrid::new(router.vrid.get().saturating_add(n)).unwrap(),
                    addresses: router.addresses.iter().map(|address| moved(address, n)).collect(),
                    own_virtual_mac: router.own_virtual_mac.map(|[a, b, c, d, e, _]| {
                        [a, b, c, d, e, router.vrid.get().saturating_add(n)]
                    }),
                    ..router.clone()
                })
            });
            let metrics: Option<Listen> = metrics.map(|metrics| metrics.parse().unwrap());
            let routers = valid(routers.collect());
            let groups =
                grouped.map_or(Vec::new(), |(track, notify)| group(&routers, track, notify));
            Config {
                routers,
                groups,
                scheduling,
                metrics,
                netns: netns.map(|netns| netns.parse().unwrap()),
                notify,
                scripts: vec![script],
                files: vec![file],
                processes: vec![process],
                delays,
                capture,
                ..Config::default()
            }
        },
    )
}

fn moved(address: &Address, by: u8) -> Address {
    let IpAddr::V4(v4) = address.address else { return address.clone() };
    let [a, b, c, d] = v4.octets();
    Address { address: IpAddr::from([a, b, c, d + by]), ..address.clone() }
}

/// Those that do not contradict each other: names and VRIDs once, and addresses once within a router.
fn valid(routers: Vec<RouterConfig>) -> Vec<RouterConfig> {
    let (mut names, mut vrids) =
        (std::collections::HashSet::new(), std::collections::HashSet::new());
    let (mut kept, mut macs) = (Vec::new(), std::collections::HashSet::new());
    for mut router in routers {
        let mut seen = std::collections::HashSet::new();
        let own = router.interface.clone();
        let mut once = |address: &Address| {
            seen.insert((address.address, address.dev.clone().unwrap_or_else(|| own.clone())))
        };
        router.addresses.retain(&mut once);
        router.excluded.retain(&mut once);
        let own = router.interface.clone();
        for address in router.addresses.iter_mut().chain(&mut router.excluded) {
            address.virtual_mac &= address.dev.as_ref() != Some(&own);
        }
        let mac = router.virtual_mac_address();
        let on = router.virtual_mac.then_some(own.as_str()).into_iter();
        let on = on.chain(router.virtual_mac_devs()).map(|dev| (dev.to_owned(), mac));
        let on: std::collections::HashSet<_> = on.collect();
        if macs.is_disjoint(&on)
            && names.insert(router.name.clone())
            && vrids.insert((router.interface.clone(), router.vrid))
        {
            macs.extend(on);
            kept.push(router);
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_configuration(config in config()) {
        round_trip(config);
    }
}
