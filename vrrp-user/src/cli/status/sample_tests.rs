//! What the documents show of `status` is what it writes.

use serde_json::{Value, json};

use super::{full, overview};
use crate::api::{RouterDetail, SCHEMA, Status};
use crate::cli::terminal::Terminal;
use crate::docs_tests::sample;

const README: &str = include_str!("../../../../README.md");
const OBSERVING: &str = include_str!("../../../../docs/observing.md");

fn event(time: &str, from: &str, to: &str, reason: &str) -> Value {
    json!({
        "schema": SCHEMA, "number": 1, "time": time, "router": "VI_1", "interface": "eth0", "vrid": 51,
        "event": "transition", "from": from, "to": to, "cause": "", "reason": reason,
    })
}

/// The master of all examples.
fn router() -> Value {
    json!({
        "schema": SCHEMA, "name": "VI_1", "interface": "eth0", "vrid": 51, "family": "ipv4", "version": 2,
        "state": "MASTER", "since_s": 25.2, "cause_name": "master-down",
        "cause": "took over: no advertisement from 10.0.0.2 for 3.61 s",
        "priority": 100, "configured_priority": 100, "priority_why": null, "group": null, "master": null,
        "interval_ms": 1000, "master_down_ms": 3609, "next_timer_ms": 720, "transport": ["multicast"],
        "source": "10.0.0.1", "fence": "claim", "virtual_mac": null, "accept": true,
        "addresses": [{ "address": "10.0.0.100/24", "dev": "eth0", "installed": true }],
        "problems": [],
        "on": interface(), "config_line": 1, "configured_interval_ms": 1000, "preempt": true,
        "preempt_delay_ms": 0, "authentication": "simple password",
        "garp": {
            "master_repeat": 5, "master_delay_ms": 5000, "master_refresh_ms": 0, "master_refresh_repeat": 1,
            "lower_prio_repeat": 0, "lower_prio_delay_ms": 0,
        },
        "timers": [{ "name": "advertisement", "in_ms": 710 }],
        "address_list_mismatches": 0,
        "history": [
            event("2026-01-02T03:04:01.553Z", "INIT", "BACKUP", "started: listens for a master"),
            event(
                "2026-01-02T03:04:05.163Z", "BACKUP", "MASTER",
                "took over: no advertisement from 10.0.0.2 for 3.61 s",
            ),
        ],
    })
}

fn interface() -> Value {
    json!({ "name": "eth0", "ifindex": 2, "up": true, "capture": "native", "error": null })
}

fn status(router: &Value) -> Status {
    let text = json!({
        "schema": SCHEMA, "instance": "default", "version": env!("CARGO_PKG_VERSION"), "pid": 15156,
        "uptime_s": 28.9, "config": "/etc/keepalived/keepalived.conf", "routers": [router],
        "interfaces": [interface()], "counters": {},
    });
    serde_json::from_value(text).unwrap()
}

fn changed(changes: Value) -> Value {
    let mut router = router();
    let Value::Object(changes) = changes else { panic!("no object") };
    router.as_object_mut().unwrap().extend(changes);
    router
}

fn detailed(router: Value) -> String {
    let detail: RouterDetail = serde_json::from_value(router).unwrap();
    full(&detail, "2026-01-02T03:04:30.363Z".parse().unwrap(), Terminal::default())
}

/// Whether each documented line is written, in that order. Blanks of a line that goes on below count once.
fn assert_in_order(documented: &str, written: &str) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (written, mut at) = (words(written), 0);
    for line in documented.lines().map(words).filter(|line| line != "...") {
        let place = written[at..].find(&line);
        at += place.unwrap_or_else(|| panic!("no `{line}` in {}", &written[at..])) + line.len();
    }
}

#[test]
fn the_table_is_the_documented_one() {
    let text = overview(&status(&router()), 1, Terminal::default());
    assert_eq!(sample(README, "vrrp-user status"), text);
}

#[test]
fn one_router_is_the_documented_one() {
    assert_eq!(sample(OBSERVING, "vrrp-user status VI_1"), detailed(router()));
}

#[test]
fn fault_is_the_documented_one() {
    let (_, section) = OBSERVING.split_once("### Priority and FAULT explained").unwrap();
    let track =
        |name: &str, effect: &str| json!({ "name": name, "state": "is down", "effect": effect });
    let router = changed(json!({
        "state": "FAULT", "since_s": 4.1, "cause": "failed: script bird is down", "priority": 80,
        "priority_why": "100 - 20: script haproxy is down", "group": "edge",
        "problems": ["script bird is down", "interface uplink0 is down"],
        "tracks": [
            track("script bird", "FAULT"), track("script haproxy", "-20"), track("interface uplink0", "FAULT"),
        ],
    }));
    assert_in_order(&sample(section, "vrrp-user status VI_1"), &detailed(router));
}

#[test]
fn a_split_brain_is_the_documented_one() {
    let (_, section) = OBSERVING.split_once("## Split brain").unwrap();
    let router = changed(json!({
        "since_s": 79.0, "cause": "took over: no master heard for 3.61 s",
        "problems": [
            "split brain: 02:00:00:00:00:02 also claims 10.0.0.100 on eth0 (for 9 s, last heard 1.0 s ago): another host is \
             master too, or was given the address by mistake; let IP protocol 112 pass between the hosts, and compare VRID, \
             version and password (`vrrp-user doctor`)"
        ],
    }));
    assert_in_order(
        &sample(section, "vrrp-user status"),
        &overview(&status(&router), 1, Terminal { width: Some(116), ..Terminal::default() }),
    );
}
