//! A configuration as TOML: short, as somebody would write it by hand.
//!
//! What is a default is left out, what all routers have stands in `[defaults]`, and routers in a row that differ
//! only in numbers become one entry.

use vrrp_common::VRRP_TTL;

use super::address::Address;
use super::model::{Config, Track, Tracked};
use super::text;
use super::tree::{self, Secrets, Table, Value};

mod dense;
#[cfg(test)]
mod tests;

/// Keys of a router that have no default.
const REQUIRED: &[&str] = &["name", "interface", "vrid", "addresses"];
/// Longest line before a list is broken into several.
const WIDTH: usize = 100;

/// The configuration as TOML; reading it gives the same configuration, but for the numbers of lines.
pub fn toml(config: &Config) -> String {
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
    let lines = lines.chain(config.scripts.iter_mut().map(|script| &mut script.line));
    let lines = lines.chain(config.files.iter_mut().map(|file| &mut file.line));
    for line in lines.chain(config.processes.iter_mut().map(|process| &mut process.line)) {
        *line = 0;
    }
}

/// The configuration as TOML, with routers in entries as `entries` has it.
fn written(config: &Config, entries: fn(&[Table]) -> Vec<Table>) -> String {
    let Table(root) = tree::config(config, Secrets::Shown);
    let usual = tree::config(&Config::default(), Secrets::Shown);
    let mut out = String::new();
    let (tables, values): (Vec<_>, Vec<_>) =
        root.into_iter().partition(|(_, value)| matches!(value, Value::List(_) | Value::Table(_)));
    for (key, value) in values.iter().filter(|(_, value)| *value != Value::Null) {
        assign(key, value, &mut out);
    }
    if config.routers.is_empty() {
        out += "router = []\n";
    }
    for (key, value) in tables {
        match value {
            Value::List(values) if key == "router" => routers(config, values, entries, &mut out),
            Value::List(values) => {
                for (place, value) in values.into_iter().enumerate() {
                    let Value::Table(Table(mut pairs)) = value else { continue };
                    let group = config.groups.get(place).filter(|_| key == "group");
                    for (_, value) in pairs.iter_mut().filter(|(key, _)| *key == "track") {
                        let track = group.map_or(&[][..], |group| &group.track);
                        *value = tracks(value.clone(), track, config);
                    }
                    section(&format!("[[{key}]]"), &object(Table(pairs), key), &mut out);
                }
            }
            Value::Table(table) => {
                let table = if key == "static" { static_(table, config) } else { table };
                let rest = without_defaults(Value::Table(table), &usual, key);
                if let Value::Table(table) = short(rest)
                    && !table.0.is_empty()
                {
                    section(&format!("[{key}]"), &table, &mut out);
                }
            }
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Text(_) => {}
        }
    }
    out
}

/// `[static]` with its addresses as they are written by hand.
fn static_(table: Table, config: &Config) -> Table {
    let pairs = table.0.into_iter().map(|(key, value)| match key {
        "addresses" => (key, addresses(value, &config.fixed.addresses)),
        _ => (key, value),
    });
    Table(pairs.collect())
}

/// What is tracked, without the weight where it is the one of the tracked object.
fn tracks(values: Value, tracks: &[Track], config: &Config) -> Value {
    let Value::List(values) = values else { return values };
    let values = values.into_iter().zip(tracks).map(|(value, track)| {
        let usual = match &track.what {
            Tracked::Interface(_) => Some((0, false)),
            Tracked::Script(name) => {
                let script = config.scripts.iter().find(|script| script.name == *name);
                script.map(|script| (script.weight, script.reverse))
            }
            Tracked::File(name) => {
                let file = config.files.iter().find(|file| file.name == *name);
                file.map(|file| (file.weight, file.reverse))
            }
            Tracked::Process(name) => {
                let process = config.processes.iter().find(|process| process.name == *name);
                process.map(|process| (process.weight, process.reverse))
            }
        };
        let Value::Table(Table(mut pairs)) = value else { return value };
        if usual == Some((track.weight, track.reverse)) {
            pairs.retain(|(key, _)| !matches!(*key, "weight" | "reverse"));
        }
        Value::Table(Table(pairs))
    });
    Value::List(values.collect())
}

/// A tracked object or group without what is usual for its kind.
fn object(table: Table, kind: &str) -> Table {
    let kept = table.0.into_iter().filter(|(key, value)| {
        let usual = match *key {
            "weight" => Value::Integer(i64::from(kind == "file")),
            "interval" => "1s".into(),
            "fork_delay" | "terminate_delay" | "down_delay" | "up_delay" => "0s".into(),
            "rise" | "fall" | "quorum" => Value::Integer(1),
            "init_fail" | "reverse" | "overwrite" | "full_command" | "tracking_weight" => {
                false.into()
            }
            "track" | "parameters" => Value::List(Vec::new()),
            _ => Value::Null,
        };
        *value != usual
    });
    Table(kept.map(|(key, value)| (key, short(value))).collect())
}

/// What is one word where it has no options: an address, a command, a path. Nothing is null behind it.
fn short(value: Value) -> Value {
    match value {
        Value::List(values) => Value::List(values.into_iter().map(short).collect()),
        Value::Table(table) => {
            let pairs = without_nulls(table).0.into_iter().map(|(key, value)| (key, short(value)));
            let mut pairs: Vec<_> = pairs.collect();
            match pairs.as_slice() {
                [("address" | "command" | "path", _)] => {
                    pairs.pop().map_or(Value::Null, |(_, only)| only)
                }
                _ => Value::Table(Table(pairs)),
            }
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Text(_) => value,
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
        let Value::Table(Table(pairs)) = entry else { return None };
        let kept = pairs.into_iter().filter_map(|(key, value)| {
            let value = match (key, value) {
                ("addresses", value) => addresses(value, &router.addresses),
                ("excluded", value) => addresses(value, &router.excluded),
                ("unicast", value) => unicast(value),
                ("track", value) => tracks(value, &router.track, config),
                (_, value) => value,
            };
            (defaults.get(key) != Some(&value))
                .then(|| (key, short(without_defaults(value, &defaults, key))))
        });
        Some(Table(kept.collect()))
    });
    let mut entries = entries(&tables.collect::<Vec<_>>());
    let shared = dense::shared(&mut entries);
    if !shared.0.is_empty() {
        section("[defaults]", &shared, out);
    }
    for entry in &entries {
        section("[[router]]", entry, out);
    }
}

/// `unicast` without what is usual.
fn unicast(value: Value) -> Value {
    let Value::Table(Table(mut pairs)) = value else { return value };
    pairs.retain(|(key, value)| match *key {
        "ttl" => *value != VRRP_TTL.into(),
        "check_source" => *value != false.into(),
        _ => true,
    });
    Value::Table(Table(pairs))
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
    table.0.retain(|(key, _)| !REQUIRED.contains(key));
    table
}

/// A table of settings without those that are defaults.
fn without_defaults(value: Value, defaults: &Table, key: &str) -> Value {
    let Value::Table(table) = value else { return value };
    let Some(Value::Table(usual)) = defaults.get(key) else {
        return Value::Table(without_nulls(table));
    };
    let kept = table.0.into_iter().filter(|(key, value)| usual.get(key) != Some(value));
    Value::Table(Table(kept.collect()))
}

fn without_nulls(table: Table) -> Table {
    Table(table.0.into_iter().filter(|(_, value)| *value != Value::Null).collect())
}

/// Addresses without what is usual for an address.
fn addresses(values: Value, addresses: &[Address]) -> Value {
    let Value::List(values) = values else { return values };
    let values = values.into_iter().zip(addresses).map(|(value, address)| {
        let prefix = match address.peer {
            None => address.prefix,
            Some(_) => text::full_prefix(address.address),
        };
        match (value, tree::plain_address(address.address, prefix)) {
            (Value::Table(Table(mut pairs)), Value::Table(usual)) => {
                pairs.retain(|(key, value)| *key == "address" || usual.get(key) != Some(value));
                Value::Table(Table(pairs))
            }
            (value, _) => value,
        }
    });
    Value::List(values.collect())
}

fn section(head: &str, table: &Table, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(head);
    out.push('\n');
    let wide = |(key, value): &&(&'static str, Value)| {
        matches!(value, Value::Table(_)) && key.len() + inline(value).chars().count() > WIDTH
    };
    let (sections, lines): (Vec<_>, Vec<_>) = table.0.iter().partition(wide);
    for (key, value) in lines {
        assign(key, value, out);
    }
    let name = head.trim_matches(['[', ']']);
    for (key, value) in sections {
        if let Value::Table(table) = value {
            section(&format!("[{name}.{key}]"), table, out);
        }
    }
}

fn assign(key: &str, value: &Value, out: &mut String) {
    let line = format!("{key} = {}", inline(value));
    if let Value::List(values) = value
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
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => quoted(text),
        Value::List(values) => format!("[{}]", joined(values.iter().map(inline).collect())),
        Value::Table(Table(pairs)) => {
            let pairs = pairs.iter().filter(|(_, value)| *value != Value::Null);
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
