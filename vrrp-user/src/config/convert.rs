//! A configuration as TOML: short, as somebody would write it by hand.
//!
//! What is a default is left out, what all routers have stands in `[defaults]`, and routers in a row that differ
//! only in numbers become one entry.

use serde_json::Value;
use vrrp_common::VRRP_TTL;

use super::address::Address;
use super::model::{Config, Track};
use super::text;
use super::tree::{self, Secrets, Table};

mod dense;
mod keys;
#[cfg(test)]
mod tests;

/// Keys of a router that have no default.
const REQUIRED: &[&str] = &["name", "interface", "vrid", "addresses"];
/// Longest line before a list is broken into several.
const WIDTH: usize = 100;

/// The configuration as TOML; reading it gives the same configuration, but for the numbers of lines. Keys that sign
/// advertisements are not in it: files are named in their place.
pub fn toml(config: &Config) -> String {
    if !keys::inline(config).is_empty() {
        // What is written instead cannot be read yet, so that nothing could be compared.
        return keys::instructions(config) + &written(config, dense::singles);
    }
    let dense = written(config, dense::entries);
    // A template that is read differently from how it was meant would be a router that nobody asked for.
    if reads_as(&dense, config) { dense } else { written(config, dense::singles) }
}

/// Whether a text in the TOML format is this configuration.
fn reads_as(text: &str, config: &Config) -> bool {
    let (mut read, mut wanted) = (super::load_toml(text).unwrap_or_default(), config.clone());
    forget_lines(&mut read);
    forget_lines(&mut wanted);
    read == wanted
}

/// Where something stood in a file is not what it means.
fn forget_lines(config: &mut Config) {
    let lines = config.routers.iter_mut().map(|router| &mut router.line);
    let lines = lines.chain(config.groups.iter_mut().map(|group| &mut group.line));
    let lines = lines.chain(config.track_groups.iter_mut().map(|group| &mut group.line));
    let lines = lines.chain(config.scripts.iter_mut().map(|script| &mut script.line));
    let lines = lines.chain(config.files.iter_mut().map(|file| &mut file.line));
    for line in lines.chain(config.processes.iter_mut().map(|process| &mut process.line)) {
        *line = 0;
    }
}

/// The configuration as TOML, with routers in entries as `entries` has it.
fn written(config: &Config, entries: fn(&[Table]) -> Vec<Table>) -> String {
    let mut root = tree::config(config, Secrets::Shown);
    keys::put_into_files(&mut root, config);
    let usual = tree::config(&Config::default(), Secrets::Shown);
    let mut out = String::new();
    let (tables, values): (Vec<_>, Vec<_>) =
        root.into_iter().partition(|(_, value)| value.is_array() || value.is_object());
    for (key, value) in values.iter().filter(|(_, value)| !value.is_null()) {
        assign(key, value, &mut out);
    }
    if config.routers.is_empty() {
        out += "router = []\n";
    }
    for (key, value) in tables {
        match value {
            Value::Array(values) if key == "router" => routers(config, values, entries, &mut out),
            Value::Array(values) => {
                for (place, value) in values.into_iter().enumerate() {
                    let Value::Object(mut table) = value else { continue };
                    let group = config.groups.get(place).filter(|_| key == "group");
                    if let Some(value) = table.get_mut("track") {
                        let track = group.map_or(&[][..], |group| &group.track);
                        *value = tracks(value.take(), track, config);
                    }
                    section(&format!("[[{key}]]"), &object(table, &key), &mut out);
                }
            }
            Value::Object(mut table) => {
                if key == "static"
                    && let Some(value) = table.get_mut("addresses")
                {
                    *value = addresses(value.take(), &config.fixed.addresses);
                }
                let rest = without_defaults(Value::Object(table), &usual, &key);
                if let Value::Object(table) = short(rest)
                    && !table.is_empty()
                {
                    section(&format!("[{key}]"), &table, &mut out);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    out
}

/// What is tracked, without the weight where it is the one of the tracked object.
fn tracks(values: Value, tracks: &[Track], config: &Config) -> Value {
    let Value::Array(values) = values else { return values };
    let values = values.into_iter().zip(tracks).map(|(value, track)| {
        let Value::Object(mut table) = value else { return value };
        if config.usual_weight(&track.what) == Some((track.weight, track.reverse)) {
            table.retain(|key, _| !matches!(key.as_str(), "weight" | "reverse"));
        }
        Value::Object(table)
    });
    Value::Array(values.collect())
}

/// A tracked object or group without what is usual for its kind.
fn object(table: Table, kind: &str) -> Table {
    let kept = table.into_iter().filter(|(key, value)| {
        let usual = match key.as_str() {
            "weight" => i64::from(kind == "file").into(),
            "interval" => "1s".into(),
            "fork_delay" | "terminate_delay" | "down_delay" | "up_delay" => "0s".into(),
            "rise" | "fall" | "quorum" => 1.into(),
            "init_fail" | "reverse" | "overwrite" | "full_command" | "tracking_weight" => {
                false.into()
            }
            "track" | "parameters" => Value::Array(Vec::new()),
            _ => Value::Null,
        };
        *value != usual
    });
    kept.map(|(key, value)| (key, short(value))).collect()
}

/// What is one word where it has no options: an address, a command, a path. Nothing is null behind it.
fn short(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(short).collect(),
        Value::Object(table) => {
            let pairs = without_nulls(table).into_iter().map(|(key, value)| (key, short(value)));
            let mut table: Table = pairs.collect();
            let only =
                ["address", "command", "path"].into_iter().find(|key| table.contains_key(*key));
            match only.filter(|_| table.len() == 1).and_then(|key| table.remove(key)) {
                Some(word) => word,
                None => Value::Object(table),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// `[defaults]` and all `[[router]]`.
fn routers(
    config: &Config,
    values: Vec<Value>,
    entries: fn(&[Table]) -> Vec<Table>,
    out: &mut String,
) {
    let defaults = defaults();
    let tables = values.into_iter().zip(&config.routers).filter_map(|(entry, router)| {
        let Value::Object(table) = entry else { return None };
        let kept = table.into_iter().filter_map(|(key, value)| {
            let value = match (key.as_str(), value) {
                ("addresses", value) => addresses(value, &router.addresses),
                ("excluded", value) => addresses(value, &router.excluded),
                ("unicast", value) => unicast(value),
                ("track", value) => tracks(value, &router.track, config),
                (_, value) => value,
            };
            if defaults.get(&key) == Some(&value) {
                return None;
            }
            let value = short(without_defaults(value, &defaults, &key));
            Some((key, value))
        });
        Some(kept.collect())
    });
    let mut entries = entries(&tables.collect::<Vec<Table>>());
    let shared = dense::shared(&mut entries);
    if !shared.is_empty() {
        section("[defaults]", &shared, out);
    }
    for entry in &entries {
        section("[[router]]", entry, out);
    }
}

/// `unicast` without what is usual.
fn unicast(value: Value) -> Value {
    let Value::Object(mut table) = value else { return value };
    table.retain(|key, value| match key.as_str() {
        "ttl" => *value != VRRP_TTL,
        "check_source" => *value != false,
        _ => true,
    });
    Value::Object(table)
}

/// What a router has that nothing is said about.
pub(super) fn defaults() -> Table {
    let router = "[[router]]\nname = \"\"\ninterface = \"-\"\nvrid = 1\naddresses = []\n";
    let config = super::load_toml(router).unwrap_or_default();
    let mut table = config
        .routers
        .first()
        .map(|one| tree::router(one, None, Secrets::Shown))
        .unwrap_or_default();
    table.retain(|key, _| !REQUIRED.contains(&key.as_str()));
    table
}

/// A table of settings without those that are defaults.
fn without_defaults(value: Value, defaults: &Table, key: &str) -> Value {
    let Value::Object(mut table) = value else { return value };
    let Some(Value::Object(usual)) = defaults.get(key) else {
        return Value::Object(without_nulls(table));
    };
    table.retain(|key, value| usual.get(key) != Some(value));
    Value::Object(table)
}

fn without_nulls(mut table: Table) -> Table {
    table.retain(|_, value| !value.is_null());
    table
}

/// Addresses without what is usual for an address.
fn addresses(values: Value, addresses: &[Address]) -> Value {
    let Value::Array(values) = values else { return values };
    let values = values.into_iter().zip(addresses).map(|(value, address)| {
        let prefix = match address.peer {
            None => address.prefix,
            Some(_) => text::full_prefix(address.address),
        };
        match (value, tree::plain_address(address.address, prefix)) {
            (Value::Object(mut table), Value::Object(usual)) => {
                table.retain(|key, value| key == "address" || usual.get(key) != Some(value));
                Value::Object(table)
            }
            (value, _) => value,
        }
    });
    Value::Array(values.collect())
}

fn section(head: &str, table: &Table, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(head);
    out.push('\n');
    let wide = |(key, value): &(&String, &Value)| {
        value.is_object() && key.len() + inline(value).chars().count() > WIDTH
    };
    let (sections, lines): (Vec<_>, Vec<_>) = table.iter().partition(wide);
    for (key, value) in lines {
        assign(key, value, out);
    }
    let name = head.trim_matches(['[', ']']);
    for (key, value) in sections {
        if let Value::Object(table) = value {
            section(&format!("[{name}.{key}]"), table, out);
        }
    }
}

fn assign(key: &str, value: &Value, out: &mut String) {
    let line = format!("{key} = {}", inline(value));
    if let Value::Array(values) = value
        && line.chars().count() > WIDTH
    {
        out.push_str(&format!("{key} = [\n"));
        for value in values {
            out.push_str(&format!("    {},\n", inline(value)));
        }
        out.push_str("]\n");
        return;
    }
    out.push_str(&line);
    out.push('\n');
}

/// A value in one line.
fn inline(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        // Nobody gets here with it: what is not there is not written.
        Value::Null => "\"\"".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(values) => format!("[{}]", joined(values.iter().map(inline).collect())),
        Value::Object(table) => {
            let pairs = table.iter().filter(|(_, value)| !value.is_null());
            let pairs = pairs.map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", joined(pairs))
        }
    }
}

/// A basic string (TOML 1.0, section String).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
