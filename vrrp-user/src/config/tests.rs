//! Tracking and sync groups, in both formats.

use std::fs;
use std::net::IpAddr;

use super::model::{Config, Diagnostic, Peer, RouterConfig, Tracked, Transport};
use super::{Loaded, Options, load};

impl Transport {
    /// Multicast as it is when nothing else is said about it.
    pub fn plain_multicast(source: Option<IpAddr>) -> Self {
        Self::Multicast { source, group: None }
    }

    /// Unicast as it is when nothing else is said about it.
    pub fn plain_unicast(source: Option<IpAddr>, peers: &[IpAddr]) -> Self {
        let peers = peers.iter().copied().map(Peer::from).collect();
        Self::Unicast { source, peers, ttl: vrrp_common::VRRP_TTL, check_source: false }
    }
}

fn load_as(name: &str, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    load(&path, &Options::default()).map_err(|error| error.diagnostics().to_vec())
}

fn messages(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|d| format!("{}: {}", d.line, d.message)).collect()
}

#[track_caller]
fn keepalived(text: &str) -> (Config, Vec<String>) {
    let loaded = load_as("k.conf", text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    (loaded.config, messages(&loaded.diagnostics))
}

#[track_caller]
fn toml(text: &str) -> Config {
    let loaded = load_as("v.toml", text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(messages(&loaded.diagnostics), Vec::<String>::new());
    loaded.config
}

const KEEPALIVED: &str = r#"
vrrp_script chk { script "/bin/true -x"
 interval 0.5
 timeout 3
 rise 2
 fall 4
 weight -20 reverse
 user nobody nogroup
}
vrrp_track_file f { file "/run/f"
 weight 3
 init_file 7 overwrite
}
track_file g { file /run/g
}
vrrp_track_process p {
 process "/usr/sbin/bird" -f x
 param_match initial
 quorum 2
 quorum_max 4
 delay 1
 terminate_delay 2.5
 full_command
}
vrrp_instance A {
 interface eth0
 virtual_router_id 1
 track_interface { eth1 weight 10 reverse
  eth2 }
 track_script { chk
 }
 track_file { f weight -1
  g }
 track_process { p weight 0 noreverse
 }
 dont_track_primary
 virtual_ipaddress { 10.0.0.1 }
}
vrrp_instance B {
 interface eth0
 virtual_router_id 2
 virtual_ipaddress { 10.0.0.2 }
}
vrrp_sync_group G {
 group { A
  B }
 track_interface { eth3 weight -5 }
 notify_fault "/bin/false x"
 sync_group_tracking_weight
}
"#;

const TOML: &str = r#"
[[script]]
name = "chk"
command = { command = "/bin/true -x", user = "nobody", group = "nogroup" }
interval = "500ms"
timeout = "3s"
rise = 2
fall = 4
weight = -20
reverse = true

[[file]]
name = "f"
path = "/run/f"
weight = 3
init = 7
overwrite = true

[[file]]
name = "g"
path = "/run/g"

[[process]]
name = "p"
command = "/usr/sbin/bird"
parameters = ["-f", "x"]
match = "initial"
quorum = 2
quorum_max = 4
delay = "1s"
terminate_delay = "2.5s"
full_command = true

[scripts]
disable_unusable = true

[[group]]
name = "G"
track = [{ interface = "eth3", weight = -5 }]
tracking_weight = true
notify = { fault = "/bin/false x" }

[[router]]
name = "A"
interface = "eth0"
vrid = 1
track = [
    { interface = "eth1", weight = 10, reverse = true },
    { interface = "eth2" },
    { script = "chk" },
    { file = "f", weight = -1 },
    { file = "g" },
    { process = "p", weight = 0, reverse = false },
]
dont_track_primary = true
addresses = ["10.0.0.1"]
group = "G"

[[router]]
name = "B"
interface = "eth0"
vrid = 2
addresses = ["10.0.0.2"]
group = "G"
"#;

/// Lines differ between the formats.
fn without_lines(mut config: Config) -> Config {
    config.routers.iter_mut().for_each(|router| router.line = 0);
    config.groups.iter_mut().for_each(|group| group.line = 0);
    config.scripts.iter_mut().for_each(|script| script.line = 0);
    config.files.iter_mut().for_each(|file| file.line = 0);
    config.processes.iter_mut().for_each(|process| process.line = 0);
    config
}

#[test]
fn both_formats_say_the_same() {
    let (config, diagnostics) = keepalived(KEEPALIVED);
    assert_eq!(diagnostics, Vec::<String>::new());
    assert_eq!(without_lines(config), without_lines(toml(TOML)));
}

#[test]
fn every_key_arrives() {
    let config = toml(TOML);
    let tracked: Vec<String> = config.routers[0].track.iter().map(ToString::to_string).collect();
    assert_eq!(
        tracked,
        [
            "interface eth1: -10 while it is up", "interface eth2: FAULT while it is down",
            "script chk: +20 while it is down", "file f: its number times -1 is added",
            "file g: its number is added", "process p: FAULT while it is down",
        ]
    );
    let process = &config.processes[0];
    assert_eq!(
        (process.fork_delay.as_secs_f64(), process.terminate_delay.as_secs_f64()),
        (1.0, 2.5)
    );
    assert_eq!((process.quorum, process.quorum_max), (2, 4));
    assert_eq!(config.groups[0].members, ["A", "B"]);
    let mut shown = Vec::new();
    crate::cli::check::describe(&config, &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    for part in
        ["sync group G (line 37)", "A, B", "eth3: -5 while it is down", "/run/g", "at most 4"]
    {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}

fn instance(name: &str, vrid: u8, extra: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n virtual_ipaddress {{ 10.0.0.{vrid} }}\n {extra}\n}}\n"
    )
}

#[test]
fn what_does_not_exist_is_not_tracked() {
    let text = instance("A", 1, "track_script { no }\n track_interface { eth1\n eth1 weight 5 }");
    let (config, diagnostics) = keepalived(&text);
    assert_eq!(config.routers[0].track.len(), 1);
    assert_eq!(
        diagnostics,
        [
            "5: script no is tracked, but there is none; it is not tracked",
            "7: interface eth1 is tracked already; this line is ignored"
        ]
    );
    let text = "[[router]]\nname='A'\ninterface='eth0'\nvrid=1\naddresses=['10.0.0.1']\n\
                track=[{script='no'}]\ngroup='no'\n";
    let errors = messages(&load_as("v.toml", text).unwrap_err());
    assert_eq!(
        errors,
        ["6: script no is tracked, but there is none", "7: there is no sync group no"]
    );
}

#[test]
fn weights_out_of_range() {
    for (weight, kept, said) in [
        ("254", 253, "253 is used"),
        ("300", 0, "0 is used"),
        ("-254", -253, "-253 is used"),
        ("x", 0, "0 is used"),
    ] {
        let (config, diagnostics) =
            keepalived(&instance("A", 1, &format!("track_interface {{ eth1 weight {weight} }}")));
        assert_eq!(config.routers[0].track[0].weight, kept);
        assert!(diagnostics[0].ends_with(said), "{diagnostics:?}");
    }
}

/// As keepalived: an owner's priority never changes, and in a group only the group has weights.
#[test]
fn weights_where_there_can_be_none() {
    let objects = "vrrp_script s { script /bin/true\n weight 5\n}\ntrack_file f { file /f\n}\n";
    let tracks = "track_interface { eth1 weight 5 }\n track_script { s }\n track_file { f }";
    let owner = format!("{objects}{}", instance("A", 1, &format!("priority 255\n {tracks}")));
    let (config, diagnostics) = keepalived(&owner);
    let left: Vec<_> = config.routers[0].track.iter().map(|t| (t.what.clone(), t.weight)).collect();
    assert_eq!(left, [(Tracked::File("f".to_owned()), 0)]);
    assert_eq!(diagnostics.len(), 3, "{diagnostics:?}");

    let group = "vrrp_sync_group G { group { A\n B }\n}\n";
    let text = [objects, &instance("A", 1, tracks), &instance("B", 2, ""), group].concat();
    let (config, diagnostics) = keepalived(&text);
    let left: Vec<_> = config.routers[0].track.iter().map(|t| t.to_string()).collect();
    assert_eq!(left, ["interface eth1: +5 while it is up", "file f: FAULT unless it has 0"]);
    assert_eq!(diagnostics.len(), 3, "{diagnostics:?}");
}

fn tracked(router: &RouterConfig) -> Vec<String> {
    router.track.iter().map(ToString::to_string).collect()
}

#[test]
fn no_routers_on_purpose() {
    assert_eq!(toml("router = []\n").routers, []);
    assert!(load_as("v.toml", "[scripts]\n").is_err());
}

/// keepalived.conf(5) says that it is 1.
#[test]
fn a_process_without_weight_means_fault() {
    let process = "vrrp_track_process p { process cron }\n";
    let (config, _) = keepalived(&[process, &instance("A", 1, "track_process { p }")].concat());
    assert_eq!(tracked(&config.routers[0]), ["process p: FAULT while it is down"]);
    let config = toml(
        "[[process]]\nname='p'\ncommand='cron'\n[[router]]\nname='A'\ninterface='eth0'\nvrid=1\n\
         addresses=['10.0.0.1']\ntrack=[{process='p'}]\n",
    );
    assert_eq!(tracked(&config.routers[0]), ["process p: FAULT while it is down"]);
}

/// What both versions of keepalived that were looked at make of it: the device of an address, route or rule counts without
/// weight.
#[test]
fn interfaces_that_addresses_routes_and_rules_name_have_no_weight() {
    let weighted = "track_interface { eth1 weight -20 reverse }";
    let fault = ["interface eth1: FAULT while it is down"];
    for there in [
        "virtual_ipaddress_excluded { 10.1.0.1 dev eth1 }",
        "virtual_routes { 10.9.0.0/16 dev eth1 }",
        "virtual_rules { from 10.9.0.0/16 iif eth1 table 5 priority 9 }",
    ] {
        let text = instance("A", 1, &format!("{there}\n {weighted}"));
        let (config, diagnostics) = keepalived(&text);
        assert_eq!(tracked(&config.routers[0]), fault, "{there}");
        assert_eq!(
            diagnostics,
            [
                "6: interface eth1 is tracked with a weight, but an address, route or rule of the router is there; weight \
              0 is used: interface eth1: FAULT while it is down"
            ]
        );
    }
    let text = format!("virtual_ipaddress_excluded {{ 10.1.0.1 dev eth1 no_track }}\n {weighted}");
    let (config, diagnostics) = keepalived(&instance("A", 1, &text));
    assert_eq!(tracked(&config.routers[0]), ["interface eth1: +20 while it is down"]);
    assert_eq!(diagnostics, Vec::<String>::new());
    // Reversed without weight, it stays so.
    let text = "virtual_ipaddress_excluded { 10.1.0.1 dev eth1 }\n track_interface { eth1 weight 0 reverse }";
    let (config, _) = keepalived(&instance("A", 1, text));
    let dependencies = config.routers[0].dependencies();
    assert_eq!(dependencies.len(), 1);
    assert_eq!(dependencies[0].to_string(), "interface eth1: FAULT while it is up");
    let text = "[[router]]\nname='A'\ninterface='eth0'\nvrid=1\naddresses=[{address='10.0.0.1',dev='eth1'}]\n\
                track=[{interface='eth1',weight=-20}]\n";
    let errors = messages(&load_as("v.toml", text).unwrap_err());
    assert_eq!(
        errors,
        [
            "6: interface eth1 is tracked with a weight, but an address, route or rule of the router is there"
        ]
    );
}

#[test]
fn the_own_interface_is_tracked_anyway() {
    for primary in ["", "dont_track_primary"] {
        let text = instance("A", 1, &format!("{primary}\n track_interface {{ eth0 weight 10 }}"));
        let (config, diagnostics) = keepalived(&text);
        assert_eq!(tracked(&config.routers[0]), Vec::<String>::new());
        assert_eq!(
            diagnostics,
            ["6: interface eth0 is the router's own, which it depends on anyway; it is ignored"]
        );
    }
    // As in keepalived: where addresses are, but not where routes are.
    let dependencies = |text: &str| {
        let (config, _) = keepalived(&instance("A", 1, &format!("dont_track_primary\n {text}")));
        config.routers[0].dependencies().len()
    };
    assert_eq!(dependencies("virtual_ipaddress_excluded { 10.1.0.1 dev eth0 }"), 0);
    assert_eq!(dependencies("virtual_routes { 10.9.0.0/16 dev eth0 }"), 1);
}

#[test]
fn what_stands_behind_those_that_track_it() {
    let tracks =
        "track_script { s }\n track_file { f }\n track_process { p }\n track_interface { eth1 }";
    let group = "vrrp_sync_group G { group { A\n B }\n track_script { s }\n}\n";
    let (a, b) = (instance("A", 1, tracks), instance("B", 2, ""));
    let (config, diagnostics) = keepalived(&[&a, &b, group, TRACKED_BY_GROUP].concat());
    assert_eq!(config.routers[0].track.len(), 4);
    let behind = |said: &&String| said.contains("stands behind this line");
    assert_eq!(diagnostics.iter().filter(behind).count(), 4, "{diagnostics:?}");
    let (_, diagnostics) = keepalived(&[TRACKED_BY_GROUP, &a, &b, group].concat());
    assert_eq!(diagnostics.iter().find(behind), None);
}

const TRACKED_BY_GROUP: &str = "vrrp_script s { script /bin/true\n}\n\
    vrrp_track_process p { process cron\n weight 7\n}\ntrack_file f { file /f\n}\n";

/// Without sync_group_tracking_weight, keepalived says that it ignores the weights of interfaces, and counts them.
#[test]
fn weights_that_count_in_spite_of_the_group() {
    let tracks = "track_interface { eth1 weight -20 }\n track_process { p weight 5 }\n \
                  track_script { s weight 3 }\n track_file { f weight 1 reverse }";
    let group = "vrrp_sync_group G { group { A\n B }\n}\n";
    let text = [TRACKED_BY_GROUP, &instance("A", 1, tracks), &instance("B", 2, ""), group].concat();
    let (config, diagnostics) = keepalived(&text);
    assert_eq!(
        tracked(&config.routers[0]),
        [
            "interface eth1: -20 while it is down", "process p: +5 while it is up",
            "file f: FAULT while it has 0"
        ]
    );
    let ends: Vec<&str> =
        diagnostics.iter().map(|said| said.rsplit("; ").next().unwrap_or("")).collect();
    let counts = "it counts all the same, as in keepalived";
    let fault = "weight 0 is used: file f: FAULT while it has 0";
    assert_eq!(ends, [counts, counts, "it is not tracked", fault]);
    assert!(config.groups[0].tracking_weight);
    // So that its conversion is accepted.
    let again = toml(&super::convert::toml(&config));
    assert_eq!(without_lines(again), without_lines(config));
}

#[test]
fn what_router_and_group_track_counts_once() {
    let member = |name, vrid, weight, reverse| {
        let lines = [("interface", "eth1"), ("script", "s"), ("process", "p"), ("file", "f")]
            .map(|(kind, what)| format!("track_{kind} {{ {what} weight {weight} {reverse} }}\n"));
        instance(name, vrid, &lines.concat())
    };
    let group = "vrrp_sync_group G { group { A\n B\n C }\n sync_group_tracking_weight\n \
                 track_interface { eth1 weight -30\n eth0 weight 40 }\n track_script { s weight 11 }\n \
                 track_process { p weight 9 }\n track_file { f weight 3 reverse }\n}\n";
    let (a, b) = (member("A", 1, 5, "reverse"), member("B", 2, 0, ""));
    let c = instance("C", 3, "dont_track_primary");
    let (config, diagnostics) = keepalived(&[TRACKED_BY_GROUP, &a, &b, &c, group].concat());
    assert_eq!(
        tracked(&config.routers[0]),
        [
            "interface eth1: -30 while it is down", "script s: +11 while it is up",
            "process p: -9 while it is up", "file f: its number times -3 is added",
            "interface eth0: FAULT while it is down",
        ]
    );
    let unweighted = |track: &&str| track.contains("FAULT");
    assert_eq!(
        tracked(&config.routers[1]).iter().map(String::as_str).filter(unweighted).count(),
        5
    );
    assert_eq!(tracked(&config.routers[2]), Vec::<String>::new());
    let said = |part: &str| diagnostics.iter().filter(|said| said.contains(part)).count();
    assert_eq!(said("is tracked by the sync group G as well; it counts once: "), 4);
    let again = toml(&super::convert::toml(&config));
    assert_eq!(without_lines(again), without_lines(config));
}

#[test]
fn a_group_with_an_owner_tracks_without_weights() {
    let group = "vrrp_sync_group G { group { A\n B }\n track_process { p }\n}\n";
    let text = [
        TRACKED_BY_GROUP,
        &instance("A", 1, "priority 255"),
        &instance("B", 2, "priority 255"),
        group,
    ];
    let (config, diagnostics) = keepalived(&text.concat());
    assert_eq!(config.groups[0].track[0].to_string(), "process p: FAULT while it is down");
    assert!(diagnostics[0].contains("weight 0 is used"), "{diagnostics:?}");
}

#[test]
fn members_that_cannot_be() {
    let group = "vrrp_sync_group G { group { A\n X }\n}\nvrrp_sync_group H { group { A\n B }\n}\n\
                 vrrp_sync_group G { group { B }\n}\nvrrp_sync_group E { }\n";
    let text = [&instance("A", 1, ""), &instance("B", 2, ""), group].concat();
    let (config, diagnostics) = keepalived(&text);
    let groups: Vec<_> =
        config.groups.iter().map(|g| (g.name.as_str(), g.members.join(","))).collect();
    assert_eq!(groups, [("G", "A".to_owned()), ("H", "B".to_owned())]);
    assert_eq!(
        diagnostics,
        [
            "13: sync group G has only one router",
            "14: there is no vrrp_instance X; it is ignored",
            "16: sync group H has only one router",
            "16: A is in the sync group G already; it is ignored here",
            "19: there is a sync group G already, in line 13; this one is skipped",
            "21: sync group E has no router; it is skipped"
        ]
    );
}

#[test]
fn blocks_without_what_they_are_for() {
    let text = "vrrp_script a { }\ntrack_file b { weight 1 }\n\
                vrrp_track_process c { quorum 3\n quorum_max 2\n process x }\nvrrp_track_process d \
                { process y\n quorum_max 0 }\n";
    let (config, diagnostics) = keepalived(&[text, &instance("A", 1, "")].concat());
    assert_eq!((config.scripts.len(), config.files.len()), (0, 0));
    let quorums: Vec<_> = config.processes.iter().map(|p| (p.quorum, p.quorum_max)).collect();
    assert_eq!(quorums, [(3, u32::MAX), (0, 0)]);
    assert_eq!(diagnostics.len(), 3, "{diagnostics:?}");
}

/// Interfaces with an MTU of 576, the usual one, and one for jumbo frames; nothing is known of others.
fn small_mtu(name: &str) -> Option<u32> {
    match name {
        "eth0" => Some(576),
        "usual" => Some(1500),
        "jumbo" => Some(9000),
        _ => None,
    }
}

fn load_with_mtu(name: &str, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    let options = Options { mtu: Some(small_mtu), ..Options::default() };
    load(&path, &options).map_err(|error| error.diagnostics().to_vec())
}

/// (576 - 14 - 20 - 8) / 4 in version 3, 8 bytes less in version 2: what keepalived 2.4.3 advertises.
#[test]
fn in_keepalived_conf_what_the_mtu_has_no_room_for_is_not_advertised() {
    let advertised = |interface: &str, addresses: usize| {
        let list: String = (1..=addresses).map(|n| format!("fe80::{n:x}\n")).collect();
        let text = format!(
            "vrrp_instance A {{\ninterface {interface}\nvirtual_router_id 1\n\
             virtual_ipaddress {{\n{list}}}\nvirtual_ipaddress_excluded {{\n10.9.9.9\n}}\n}}\n"
        );
        let loaded = load_with_mtu("k.conf", &text).unwrap();
        let router = &loaded.config.routers[0];
        assert_eq!(router.addresses.len() + router.excluded.len(), addresses + 1);
        (router.addresses.len(), messages(&loaded.diagnostics))
    };
    let v6 = advertised("eth0", 40);
    assert_eq!(v6.0, 32, "(576 - 14 - 40 - 8) / 16");
    assert!(v6.1[0].starts_with("37: the 40 addresses in virtual_ipaddress of A do not"), "{v6:?}");
    assert!(v6.1[0].contains("the MTU of eth0 is 576; those after the first 32 are not"), "{v6:?}");
    assert!(v6.1[0].contains("keepalived up to 2.3.2 refuses"), "{v6:?}");
    assert_eq!(advertised("eth0", 32), (32, Vec::new()));
    assert_eq!(advertised("eth1", 40), (40, Vec::new()));
    // An authentication header takes the room of six addresses, where there is one.
    for (version, header, room) in
        [(2, false, 131), (2, true, 125), (3, false, 133), (3, true, 133)]
    {
        let header = if header { "authentication {\nauth_type AH\nauth_pass x\n}\n" } else { "" };
        let list: String = (1..=150).map(|n| format!("10.0.1.{n}\n")).collect();
        let text = format!(
            "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 1\nversion {version}\n{header}\
             virtual_ipaddress {{\n{list}}}\n}}\n"
        );
        let loaded = load_with_mtu("k.conf", &text).unwrap();
        assert_eq!(loaded.config.routers[0].addresses.len(), room);
        let of_room = messages(&loaded.diagnostics);
        assert_eq!(of_room.iter().filter(|it| it.contains("the MTU of eth0")).count(), 1);
    }
}

/// The frame's header does not count: 20 + 8 + 137 * 4 = 576.
#[test]
fn in_toml_what_the_mtu_has_no_room_for_is_refused() {
    let with = |addresses: usize| {
        let list: Vec<String> = (1..=addresses).map(|n| format!("\"10.0.1.{n}\"")).collect();
        let text = format!(
            "[[router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 1\nversion = 3\naddresses = [{}]\n",
            list.join(", ")
        );
        load_with_mtu("v.toml", &text)
    };
    assert_eq!(with(137).unwrap().config.routers[0].addresses.len(), 137);
    let errors = messages(&with(138).unwrap_err());
    let expected = "6: the 138 addresses in addresses of a do not fit in an advertisement: the MTU of eth0 is 576";
    assert_eq!(errors, [expected]);

    // 40 + 8 + 90 * 16 = 1488 and 40 + 8 + 255 * 16 = 4128.
    let with = |interface: &str, addresses: usize| {
        let list: Vec<String> = (1..=addresses).map(|n| format!("\"fe80::{n:x}\"")).collect();
        let text = format!(
            "[[router]]\nname = \"a\"\ninterface = \"{interface}\"\nvrid = 1\naddresses = [{}]\n",
            list.join(", ")
        );
        let loaded = load_with_mtu("v.toml", &text);
        loaded.map(|loaded| loaded.config.routers[0].addresses.len()).map_err(|e| messages(&e))
    };
    assert_eq!((with("usual", 90), with("jumbo", 255)), (Ok(90), Ok(255)));
    let errors = with("usual", 91).unwrap_err();
    assert!(errors[0].contains("the MTU of usual is 1500"), "{errors:?}");
    let errors = with("jumbo", 256).unwrap_err();
    assert!(errors[0].contains("256 addresses do not fit in an advertisement"), "{errors:?}");
}

#[test]
fn who_shares_a_subnet_keeps_what_is_left_of_it() {
    let router = |vrid: u8, address: &str, more: &str| {
        format!(
            "[[router]]\nname = \"R{vrid}\"\ninterface = \"eth0\"\nvrid = {vrid}\nversion = 3\n\
             addresses = [{address}]\n{more}\n"
        )
    };
    let promoting = |second: &str, more: &str| {
        let first = router(1, "\"10.9.0.1/24\", \"10.9.0.2/24\", \"10.8.0.1/32\"", "");
        let config = toml(&(first + &router(2, second, more)));
        config.promoting().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    const NONE: [&str; 0] = [];
    assert_eq!(promoting("\"10.9.0.3/24\"", ""), ["eth0"]);
    assert_eq!(promoting("\"10.9.0.3/25\", \"10.8.0.2/32\"", ""), NONE);
    assert_eq!(promoting("\"10.9.1.3/24\"", ""), NONE);
    assert_eq!(promoting("{ address = \"10.9.0.3/24\", dev = \"eth1\" }", ""), NONE);
    assert_eq!(promoting("\"10.9.0.3/24\"", "promote_secondaries = false"), NONE);
    assert_eq!(promoting("\"10.7.0.3/24\"", "promote_secondaries = true"), ["eth0"]);
    let fixed = "[static]\naddresses = [{ address = \"10.9.1.4/24\", dev = \"eth0\" }]\n";
    assert_eq!(promoting("\"10.9.1.3/24\"", fixed), ["eth0"]);
}
