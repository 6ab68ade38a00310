//! Many routers in few lines: one for each interface.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use super::super::table::Table;
use super::super::terminal::Terminal;
use super::seconds;
use crate::config::model::{Config, RouterConfig};
use crate::config::text;
use crate::engine::types::Version;

/// Most interfaces that are listed.
const MOST: usize = 40;

/// Writes a line for each interface.
pub fn write(config: &Config, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Vec<&RouterConfig>> = Vec::new();
    for router in &config.routers {
        let place = *places.entry(&router.interface).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(router),
            None => groups.push(vec![router]),
        }
    }
    let table = Table::of(groups.get(..MOST).unwrap_or(&groups))
        .text("INTERFACE", 0, |group| {
            group.first().map_or_else(String::new, |router| router.interface.clone())
        })
        .number("ROUTERS", 0, Vec::len)
        .text("VRIDS", 0, |group| vrids(group))
        .cut()
        .text("VERSION", 3, |group| versions(group))
        .text("PRIORITY", 1, |group| {
            range(group.iter().map(|router| router.priority.0), |priority| priority.to_string())
        })
        .text("INTERVAL", 2, |group| range(group.iter().map(|r| r.interval.duration()), seconds))
        .number("ADDRESSES", 1, |group| -> usize {
            group.iter().map(|r| r.addresses.len() + r.excluded.len()).sum()
        });
    for line in table.lines(terminal) {
        writeln!(out, "{line}")?;
    }
    if let Some(more) = groups.get(MOST..).filter(|more| !more.is_empty()) {
        let routers: usize = more.iter().map(Vec::len).sum();
        writeln!(out, "… and {routers} routers on {} more interfaces", more.len())?;
    }
    Ok(())
}

fn vrids(group: &[&RouterConfig]) -> String {
    let vrids: BTreeSet<u32> = group.iter().map(|router| router.vrid.get().into()).collect();
    text::ranges(vrids)
}

fn versions(group: &[&RouterConfig]) -> String {
    let versions: BTreeSet<&str> = group
        .iter()
        .map(|router| match router.version() {
            Version::V2 => "2",
            Version::V3 => "3",
        })
        .collect();
    versions.into_iter().collect::<Vec<_>>().join(",")
}

/// The least and the greatest, if they are not the same.
fn range<T: Ord>(values: impl Iterator<Item = T> + Clone, show: fn(T) -> String) -> String {
    let (low, high) = (values.clone().min().map(show), values.max().map(show));
    let (low, high) = (low.unwrap_or_default(), high.unwrap_or_default());
    if low == high { low } else { format!("{low}-{high}") }
}
