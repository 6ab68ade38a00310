//! Routers in a row that differ only in numbers, as one entry with variables.

use serde_json::Value;

use crate::config::text::ranges;
use crate::config::toml::template::{self, Variables};
use crate::config::tree::Table;

/// Keys in whose strings variables are put.
const TEMPLATES: &[&str] = &["name", "interface", "addresses", "excluded", "source", "unicast"];
/// Keys that stay with each entry even where they are equal.
const OWN: &[&str] = &["name", "interface", "vrid", "addresses", "excluded"];
/// Fewest routers, or interfaces, that are worth a template.
const WORTH: usize = 3;

/// Entries for routers, in the same order.
pub(super) fn entries(routers: &[Table]) -> Vec<Table> {
    let mut by_vrid = Vec::new();
    let mut rest = routers;
    while let [first, ..] = rest {
        let entry = over_vrids(rest).unwrap_or_else(|| single(first));
        rest = rest.get(entry.members.len()..).unwrap_or(&[]);
        by_vrid.push(entry);
    }
    let mut all = Vec::new();
    let mut rest = by_vrid.as_slice();
    while let [first, ..] = rest {
        let (count, entry) = over_interfaces(rest).unwrap_or_else(|| (1, first.table.clone()));
        rest = rest.get(count..).unwrap_or(&[]);
        all.push(entry);
    }
    all
}

/// Entries for routers, each on its own.
pub(super) fn singles(routers: &[Table]) -> Vec<Table> {
    routers.iter().map(|router| single(router).table).collect()
}

/// Takes out what all entries have in common, if there are several.
pub(super) fn shared(entries: &mut [Table]) -> Table {
    let [first, rest @ ..] = &*entries else { return Table::default() };
    if rest.is_empty() {
        return Table::default();
    }
    let common = first.iter().filter(|(key, value)| {
        !OWN.contains(&key.as_str()) && rest.iter().all(|entry| entry.get(*key) == Some(value))
    });
    let common: Table = common.map(|(key, value)| (key.clone(), value.clone())).collect();
    for entry in entries {
        entry.retain(|key, _| !common.contains_key(key));
    }
    common
}

/// An entry, and the routers that it stands for.
struct Entry<'a> {
    table: Table,
    members: &'a [Table],
}

fn single(router: &Table) -> Entry<'_> {
    let (table, members) = (escaped(router), std::slice::from_ref(router));
    Entry { table, members }
}

fn vrid(router: &Table) -> Option<u32> {
    u32::try_from(router.get("vrid")?.as_u64()?).ok()
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

/// The routers at the beginning of `rest` that differ only in their VRID, as one entry.
fn over_vrids(rest: &[Table]) -> Option<Entry<'_>> {
    let [first, second, ..] = rest else { return None };
    let variable = Variable { name: "vrid", first: vrid(first)?, second: vrid(second)? };
    let mut table = generalised(&escaped(first), &escaped(second), &variable)?;
    let fit = |router: &&Table| {
        let variables = Variables { vrid: vrid(router), interface: None, index: 0 };
        stands_for(&table, router, &variables)
    };
    let count = rest.iter().take_while(fit).count();
    let members = rest.get(..count).filter(|members| members.len() >= WORTH)?;
    let vrids = members.iter().filter_map(vrid);
    replace(&mut table, "vrid", ranges(vrids));
    Some(Entry { table, members })
}

/// The entries at the beginning of `rest` that differ only in their interface, as one, and how many they are.
fn over_interfaces(rest: &[Entry<'_>]) -> Option<(usize, Table)> {
    let [first, second, ..] = rest else { return None };
    let names = (text(&first.table, "interface")?, text(&second.table, "interface")?);
    let (place, number, next) = only_difference(names.0, names.1)?;
    let variable = Variable { name: "index", first: number, second: next };
    let mut table = generalised(&first.table, &second.table, &variable)?;
    let mut numbers = Vec::new();
    for entry in rest {
        let Some(number) = text(&entry.table, "interface").and_then(|name| token(name, place))
        else {
            break;
        };
        let same_vrids = entry.table.get("vrid") == first.table.get("vrid");
        let fits = entry.members.iter().all(|router| {
            let interface = text(router, "interface").map(str::to_owned);
            let variables = Variables { vrid: vrid(router), interface, index: number };
            stands_for(&table, router, &variables)
        });
        if !same_vrids || !fits {
            break;
        }
        numbers.push(number);
    }
    if numbers.len() < WORTH {
        return None;
    }
    let name = tokens(names.0);
    let (before, after) = (name.get(..place)?.concat(), name.get(place + 1..)?.concat());
    let count = numbers.len();
    let name = format!("{before}{{{}}}{after}", ranges(numbers));
    replace(&mut table, "interface", name);
    Some((count, table))
}

fn replace(table: &mut Table, key: &str, with: String) {
    if let Some(value) = table.get_mut(key) {
        *value = with.into();
    }
}

/// A variable with its value in two tables.
struct Variable {
    name: &'static str,
    first: u32,
    second: u32,
}

/// What both tables are for their value of the variable; `None` if there is no such thing.
fn generalised(first: &Table, second: &Table, variable: &Variable) -> Option<Table> {
    if first.len() != second.len() {
        return None;
    }
    let pairs = first.iter().zip(second).map(|((key, one), (other_key, other))| {
        if key != other_key {
            return None;
        }
        let value = if TEMPLATES.contains(&key.as_str()) {
            generalised_value(one, other, variable)?
        } else if one == other || key == "vrid" {
            one.clone()
        } else {
            return None;
        };
        Some((key.clone(), value))
    });
    pairs.collect()
}

fn generalised_value(first: &Value, second: &Value, variable: &Variable) -> Option<Value> {
    match (first, second) {
        (Value::String(one), Value::String(other)) => {
            generalised_text(one, other, variable).map(Value::String)
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let values =
                one.iter().zip(other).map(|(one, other)| generalised_value(one, other, variable));
            values.collect()
        }
        (Value::Object(one), Value::Object(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).map(|((key, one), (other_key, other))| {
                let value = generalised_value(one, other, variable)?;
                (key == other_key).then(|| (key.clone(), value))
            });
            pairs.collect::<Option<Table>>().map(Value::Object)
        }
        (one, other) => (one == other).then(|| one.clone()),
    }
}

fn generalised_text(first: &str, second: &str, variable: &Variable) -> Option<String> {
    let (ones, others) = (tokens(first), tokens(second));
    if ones.len() != others.len() {
        return None;
    }
    let parts = ones.iter().zip(&others).map(|(one, other)| {
        if one == other {
            return Some((*one).to_owned());
        }
        let offset = |token: &str, value: u32| {
            token.parse::<u32>().ok().map(|number| i64::from(number) - i64::from(value))
        };
        let by = offset(one, variable.first)?;
        if offset(other, variable.second)? != by {
            return None;
        }
        let padded = one.starts_with('0') && one.len() > 1 && one.len() == other.len();
        let sum = if by == 0 { String::new() } else { format!("{by:+}") };
        let format = if padded { format!(":0{}", one.len()) } else { String::new() };
        Some(format!("{{{}{sum}{format}}}", variable.name))
    });
    parts.collect()
}

/// Numbers, and what stands between them.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// The number at a place among the tokens, if it is written without leading zeros.
fn token(text: &str, place: usize) -> Option<u32> {
    let token = *tokens(text).get(place)?;
    let number: u32 = token.parse().ok()?;
    (number.to_string() == token).then_some(number)
}

/// Where two names differ in one number, and both numbers.
fn only_difference(first: &str, second: &str) -> Option<(usize, u32, u32)> {
    let (ones, others) = (tokens(first), tokens(second));
    if ones.len() != others.len() {
        return None;
    }
    let mut different = (0..ones.len()).filter(|place| ones.get(*place) != others.get(*place));
    let place = different.next()?;
    if different.next().is_some() {
        return None;
    }
    Some((place, token(first, place)?, token(second, place)?))
}

/// Whether a table with variables is this router for these values.
fn stands_for(template: &Table, router: &Table, variables: &Variables) -> bool {
    let same = |((key, pattern), (other, value)): ((&String, &Value), (&String, &Value))| {
        key == other && (key == "vrid" || expands_to(pattern, value, variables))
    };
    template.len() == router.len() && template.iter().zip(router).all(same)
}

fn expands_to(pattern: &Value, value: &Value, variables: &Variables) -> bool {
    match (pattern, value) {
        (Value::String(pattern), Value::String(text)) => {
            template::expand(pattern, variables).is_ok_and(|expanded| expanded == *text)
        }
        (Value::Array(patterns), Value::Array(values)) => {
            let same = |(pattern, value)| expands_to(pattern, value, variables);
            patterns.len() == values.len() && patterns.iter().zip(values).all(same)
        }
        (Value::Object(patterns), Value::Object(values)) => {
            let same =
                |((key, pattern), (other, value)): ((&String, &Value), (&String, &Value))| {
                    key == other && expands_to(pattern, value, variables)
                };
            patterns.len() == values.len() && patterns.iter().zip(values).all(same)
        }
        (one, other) => one == other,
    }
}

/// Doubles braces: in a router, a single one begins a variable.
fn escaped(table: &Table) -> Table {
    fn doubled(value: &Value) -> Value {
        match value {
            Value::String(text) => text.replace('{', "{{").replace('}', "}}").into(),
            Value::Array(values) => values.iter().map(doubled).collect(),
            Value::Object(table) => Value::Object(escaped(table)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
    table.iter().map(|(key, of)| (key.clone(), doubled(of))).collect()
}
