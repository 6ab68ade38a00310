//! Many routers in few lines: one for each interface.

use std::collections::HashMap;
use std::io::{self, Write};

use super::super::table::{self, Column, number, text};
use super::super::terminal::Terminal;
use super::seconds;
use crate::config::model::{Config, Router};
use crate::engine::types::Version;

/// Most interfaces that are listed.
const MOST: usize = 40;

const COLUMNS: [Column; 7] = [
    text("INTERFACE", 0),
    number("ROUTERS", 0),
    Column { head: "VRIDS", rank: 0, cut: true, number: false },
    text("VERSION", 3),
    text("PRIORITY", 1),
    text("INTERVAL", 2),
    number("ADDRESSES", 1),
];

/// Writes a line for each interface.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write(config: &Config, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Vec<&Router>> = Vec::new();
    for router in &config.routers {
        let place = *places.entry(&router.interface).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(router),
            None => groups.push(vec![router]),
        }
    }
    let rows: Vec<_> = groups.iter().take(MOST).map(|group| row(group).map(Into::into)).collect();
    for line in table::lines(&COLUMNS, &rows, terminal) {
        writeln!(out, "{line}")?;
    }
    if let Some(more) = groups.get(MOST..).filter(|more| !more.is_empty()) {
        let routers: usize = more.iter().map(Vec::len).sum();
        writeln!(out, "… and {routers} routers on {} more interfaces", more.len())?;
    }
    Ok(())
}

fn row(group: &[&Router]) -> [String; 7] {
    let mut vrids: Vec<u8> = group.iter().map(|router| router.vrid.get()).collect();
    vrids.sort_unstable();
    let mut versions: Vec<String> = group.iter().map(|r| version(r).to_owned()).collect();
    versions.sort_unstable();
    versions.dedup();
    let priorities = group.iter().map(|router| router.priority.0);
    let (low, high) = (priorities.clone().min(), priorities.max());
    let spans = group.iter().map(|router| router.interval.span());
    let (short, long) = (spans.clone().min(), spans.max());
    let span = |low: String, high: String| {
        if low == high { low } else { format!("{low}-{high}") }
    };
    let addresses: usize = group.iter().map(|r| r.addresses.len() + r.excluded.len()).sum();
    [
        group.first().map_or_else(String::new, |router| router.interface.clone()),
        group.len().to_string(),
        ranges(&vrids),
        versions.join(","),
        span(low.unwrap_or_default().to_string(), high.unwrap_or_default().to_string()),
        span(short.map(seconds).unwrap_or_default(), long.map(seconds).unwrap_or_default()),
        addresses.to_string(),
    ]
}

fn version(router: &Router) -> &'static str {
    match router.version() {
        Version::V2 => "2",
        Version::V3 => "3",
    }
}

/// Sorted numbers as `1-9,20`.
fn ranges(numbers: &[u8]) -> String {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if number.saturating_sub(*last) <= 1 => *last = *number,
            Some(_) | None => runs.push((*number, *number)),
        }
    }
    let run = |(first, last): &(u8, u8)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}
