//! Tracking and sync groups, in both formats.

use std::fs;

use super::model::{Config, Diagnostic, Tracked};
use super::{Loaded, Options, load};

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
 init_fail
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
init_fail = true

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
            "interface eth1: -10 while it is up",
            "interface eth2: FAULT while it is down",
            "script chk: +20 while it is down",
            "file f: its number times -1 is added",
            "file g: its number is added",
            "process p: FAULT while it is down",
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
        ["sync group G (line 35)", "A, B", "eth3: -5 while it is down", "/run/g", "at most 4"]
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
    assert_eq!(left, ["interface eth1: FAULT while it is down", "file f: FAULT unless it has 0"]);
    assert_eq!(diagnostics.len(), 3, "{diagnostics:?}");
}

#[test]
fn members_that_can_not_be() {
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
    let text = "vrrp_script a { }\ntrack_file b { weight 1 }\nvrrp_track_process { process x }\n\
                vrrp_track_process c { quorum 3\n quorum_max 2\n process x }\nvrrp_track_process d \
                { process y\n quorum_max 0 }\n";
    let (config, diagnostics) = keepalived(&[text, &instance("A", 1, "")].concat());
    assert_eq!((config.scripts.len(), config.files.len()), (0, 0));
    let quorums: Vec<_> = config.processes.iter().map(|p| (p.quorum, p.quorum_max)).collect();
    assert_eq!(quorums, [(3, u32::MAX), (0, 0)]);
    assert_eq!(diagnostics.len(), 4, "{diagnostics:?}");
}
