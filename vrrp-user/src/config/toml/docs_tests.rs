//! docs/configuration.md has every key, no other ones, and the defaults that the reader has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    ADDRESS_KEYS, AUTHENTICATION_KEYS, GARP_KEYS, PEER_KEYS, ROOT_KEYS, ROUTER_KEYS, UNICAST_KEYS,
};
use super::{control, delays, hmac, notify, routes, track};
use crate::config::convert;
use crate::config::model::Config;
use crate::config::tree::{self, Secrets, Table};

const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");
/// The document says that these are the words of ip-route(8) and ip-rule(8), and lists them without a table.
const LINES: [&[&str]; 3] = [routes::ROUTE_KEYS, routes::RULE_KEYS, routes::NEXTHOP_KEYS];
const TABLES: [&[&str]; 23] = [
    ROOT_KEYS,
    ROUTER_KEYS,
    ADDRESS_KEYS,
    AUTHENTICATION_KEYS,
    GARP_KEYS,
    UNICAST_KEYS,
    PEER_KEYS,
    control::CONTROL_KEYS,
    hmac::HMAC_KEYS,
    hmac::KEY_KEYS,
    routes::STATIC_KEYS,
    notify::SCRIPTS_KEYS,
    notify::DAEMON_KEYS,
    notify::NOTIFY_KEYS,
    notify::COMMAND_KEYS,
    notify::FIFO_KEYS,
    delays::GARP_GROUP_KEYS,
    delays::INTERFACE_KEYS,
    track::GROUP_KEYS,
    track::TRACK_GROUP_KEYS,
    track::SCRIPT_KEYS,
    track::FILE_KEYS,
    track::PROCESS_KEYS,
];

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of all tables that have a key and a default: where the table begins, the keys, the default.
fn rows() -> Vec<(usize, Vec<&'static str>, &'static str)> {
    let mut rows = Vec::new();
    let mut columns = None;
    for (number, line) in DOCUMENT.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        // Such as "key in `[scripts]`".
        let place = |name| cells.iter().position(|cell| cell.split(' ').next() == Some(name));
        match (place("key"), place("default")) {
            (Some(key), Some(default)) => columns = Some((number, key, default)),
            _ if !line.starts_with('|') => columns = None,
            _ => {}
        }
        if let Some((table, key, default)) = columns
            && number > table + 1
        {
            rows.push((table, quoted(cells[key]).collect(), cells[default]));
        }
    }
    rows
}

#[test]
fn every_key_is_documented() {
    let words: BTreeSet<&str> = quoted(DOCUMENT)
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-'))
        .collect();
    let keys = TABLES.iter().chain(&LINES).flat_map(|keys| keys.iter());
    let missing: Vec<_> = keys.filter(|key| !words.contains(*key)).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:?}");
    let in_tables: BTreeSet<&str> = rows().into_iter().flat_map(|(_, keys, _)| keys).collect();
    let missing: Vec<_> = ROUTER_KEYS.iter().filter(|key| !in_tables.contains(*key)).collect();
    assert!(missing.is_empty(), "in no table of docs/configuration.md: {missing:?}");
}

#[test]
fn every_documented_key_exists() {
    let keys: BTreeSet<&str> = TABLES.iter().flat_map(|keys| keys.iter().copied()).collect();
    for (_, documented, _) in rows() {
        for key in documented {
            assert!(keys.contains(key.trim_matches(['[', ']'])), "there is no key {key}");
        }
    }
}

/// How a value stands in the document; `None` for one that is not there.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Bool(on) => Some(format!("`{on}`")),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(format!("`\"{text}\"`")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[test]
fn the_defaults_are_documented() {
    let router = convert::defaults();
    let garp = match router.get("garp") {
        Some(Value::Object(garp)) => garp.clone(),
        other => panic!("{other:?}"),
    };
    let Value::Object(address) = tree::plain_address([10, 0, 0, 1].into(), 32) else { panic!() };
    let daemon = tree::config(&Config::default(), Secrets::Shown);
    let Some(Value::Object(control)) = daemon.get("control") else { panic!() };
    // By a key that only this table has.
    let known: BTreeMap<&str, &Table> = BTreeMap::from([
        ("v3_checksum", &router),
        ("refresh", &garp),
        ("broadcast", &address),
        ("socket_mode", control),
    ]);
    let rows = rows();
    let mut compared = 0;
    for (name, defaults) in known {
        let table = rows.iter().find(|(_, keys, _)| keys.contains(&name)).unwrap().0;
        for (_, keys, default) in rows.iter().filter(|(place, ..)| *place == table) {
            for key in keys {
                let Some(wanted) = defaults.get(*key).and_then(shown) else { continue };
                if *default == "required" {
                    continue;
                }
                assert!(default.starts_with(&wanted), "{key}: {default} is not {wanted}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 20, "{compared}");
}

#[test]
fn the_examples_in_the_text_can_be_read() {
    let examples =
        DOCUMENT.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    // Those with an ellipsis show only a part.
    for example in examples.filter(|example| !example.contains("# ...")) {
        let config =
            crate::config::load_toml(example).unwrap_or_else(|e| panic!("{example}\n{e:#?}"));
        assert_eq!(config.routers.len(), 1_200);
        count += 1;
    }
    assert_eq!(count, 1);
}
