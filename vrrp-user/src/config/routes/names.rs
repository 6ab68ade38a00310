//! The names that iproute2 has for numbers of the kernel: tables, protocols, realms and so on.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Family;
use crate::config::text::{self, number};

/// Where iproute2 keeps its names; what comes first counts.
const DIRECTORIES: [&str; 3] = ["/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"];
/// Routing tables (`RT_TABLE_*`, linux/rtnetlink.h).
const TABLES: [(&str, u32); 3] = [("default", 253), ("main", 254), ("local", 255)];
/// Who made a route (`RTPROT_*`, linux/rtnetlink.h).
const PROTOCOLS: [(&str, u32); 17] = [
    ("none", 0),
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("gated", 8),
    ("ra", 9),
    ("mrt", 10),
    ("zebra", 11),
    ("bird", 12),
    ("dnrouted", 13),
    ("xorp", 14),
    ("ntk", 15),
    ("dhcp", 16),
    ("keepalived", 18),
    ("babel", 42),
    ("bgp", 186),
];
/// IP protocols, those that are met most.
const IP_PROTOCOLS: [(&str, u32); 11] = [
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("vrrp", 112),
    ("sctp", 132),
];

/// The priority of the first rule that is written without one; keepalived's.
const FIRST_PRIORITY: u32 = 16_384;

/// What lines are read against.
#[derive(Debug, Default)]
pub(in crate::config) struct Context {
    /// What the files of this machine say, once somebody asked.
    files: HashMap<&'static str, HashMap<String, u32>>,
    /// How many rules of each family were given a priority; `None` if every rule has to have one.
    numbered: Option<[u32; 2]>,
}

impl Context {
    /// Rules without a priority get one, in the way of keepalived: each goes before the one that was read before.
    pub(in crate::config) fn numbering() -> Self {
        Self { numbered: Some([0; 2]), ..Self::default() }
    }

    /// The priority of a rule that is written without one.
    pub(super) fn next_priority(&mut self, family: Family) -> Option<u32> {
        let [v4, v6] = self.numbered.as_mut()?;
        let count = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        *count += 1;
        FIRST_PRIORITY.checked_sub(*count - 1)
    }

    /// A routing table.
    pub(super) fn table(&mut self, text: &str) -> Option<u32> {
        self.look_up(text, &TABLES, "rt_tables")
    }

    /// Who made a route.
    pub(super) fn protocol(&mut self, text: &str) -> Option<u32> {
        self.look_up(text, &PROTOCOLS, "rt_protos").filter(|number| *number <= 255)
    }

    pub(super) fn scope(&mut self, text: &str) -> Option<u32> {
        let known = text::scope(text).map(u32::from);
        known.or_else(|| self.look_up(text, &[], "rt_scopes")).filter(|number| *number <= 255)
    }

    /// A value of the differentiated services field.
    pub(super) fn tos(&mut self, text: &str) -> Option<u32> {
        self.look_up(text, &[], "rt_dsfield").filter(|number| *number <= 255)
    }

    /// A realm, or two with a slash: where from, and where to.
    pub(super) fn realms(&mut self, text: &str) -> Option<u32> {
        let mut one = |text: &str| {
            self.look_up(text, &[("cosmos", 0)], "rt_realms").filter(|number| *number <= 0xffff)
        };
        match text.split_once('/') {
            None => one(text),
            Some((from, to)) => Some(one(from)? << 16 | one(to)?),
        }
    }

    /// A group of interfaces.
    pub(super) fn group(&mut self, text: &str) -> Option<u32> {
        self.look_up(text, &[("default", 0)], "group")
    }

    fn look_up(&mut self, text: &str, known: &[(&str, u32)], file: &'static str) -> Option<u32> {
        if let Some(number) = number::<u64>(text) {
            return u32::try_from(number).ok();
        }
        let known = known.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
        known.or_else(|| {
            let names = self.files.entry(file).or_insert_with(|| read(file));
            names.get(text).copied()
        })
    }
}

pub(super) fn ip_protocol(text: &str) -> Option<u32> {
    let known = IP_PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, number)| *number).or_else(|| number::<u8>(text).map(u32::from))
}

/// All names of a kind on this machine. What cannot be read has none.
fn read(file: &str) -> HashMap<String, u32> {
    let mut names = HashMap::new();
    for directory in DIRECTORIES.map(Path::new) {
        let mut paths = vec![directory.join(file)];
        let more = fs::read_dir(directory.join(format!("{file}.d"))).into_iter().flatten();
        let mut more: Vec<PathBuf> = more.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        more.sort();
        paths.append(&mut more);
        for text in paths.iter().filter_map(|path| fs::read_to_string(path).ok()) {
            for (name, number) in entries(&text) {
                names.entry(name.to_owned()).or_insert(number);
            }
        }
    }
    names
}

/// `NUMBER NAME` in each line that is no comment.
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let number = number(words.next()?)?;
        Some((words.next()?, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_iproute2() {
        let text = "#\n# reserved\n255\tlocal\n#1 inr.ruhep\n\n0x64 uplink # comment\nx y\n7\n";
        let read: Vec<_> = entries(text).collect();
        assert_eq!(read, [("local", 255), ("uplink", 100)]);
    }

    #[test]
    fn numbers_and_names() {
        let mut context = Context::default();
        assert_eq!(context.table("main"), Some(254));
        assert_eq!(context.table("4000000000"), Some(4_000_000_000));
        assert_eq!(context.table("no-such-table-here"), None);
        assert_eq!(context.protocol("bird"), Some(12));
        assert_eq!(context.protocol("256"), None);
        assert_eq!(context.tos("0x10"), Some(16));
        assert_eq!(context.tos("16"), Some(16));
        assert_eq!(context.realms("3/0x14"), Some(3 << 16 | 20));
        assert_eq!(context.realms("65536"), None);
        assert_eq!(context.scope("link"), Some(253));
        assert_eq!(ip_protocol("UDP"), Some(17));
        assert_eq!(ip_protocol("256"), None);
    }
}
