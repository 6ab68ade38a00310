//! A rule, which says which packets are looked up in which routing table.

use std::fmt;

use super::names::ip_protocol;
use super::words::{Word, Words};
use super::{
    Context, Family, NET_NAMESPACE, NETNS, PROTOCOL, Prefix, Remark, TRACK_GROUP, marked, option,
    realms, unknown_option,
};
use crate::config::report::{Located, Position};
use crate::config::text::number;
use crate::types::netns::{self, Netns};

/// What remarks call it.
const KIND: &str = "rule";
/// The last port.
const LARGEST_PORT: u64 = u16::MAX as u64;

/// A rule (`ip-rule(8)`). Numbers are those of `struct fib_rule_hdr` and its attributes (linux/fib_rules.h).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Family.
    pub family: Family,
    /// For packets that do not match.
    pub invert: bool,
    /// Where packets come from.
    pub from: Option<Prefix>,
    /// Where they go.
    pub to: Option<Prefix>,
    /// Lower ones go first.
    pub priority: u32,
    /// Type of service.
    pub tos: u8,
    /// Mark, and which bits of it count.
    pub fwmark: Option<(u32, Option<u32>)>,
    /// Realms, IPv4: where from in the upper half, where to in the lower.
    pub realms: Option<u32>,
    /// Interface on which they arrive.
    pub iif: Option<String>,
    /// Interface of the socket that sends them.
    pub oif: Option<String>,
    /// Routes with a prefix of at most this length do not count.
    pub suppress_prefixlength: Option<u32>,
    /// Routes through interfaces of this group do not count.
    pub suppress_ifgroup: Option<u32>,
    /// Tunnel that they came through.
    pub tunnel_id: Option<u64>,
    /// Users whose sockets send them, both included.
    pub uidrange: Option<(u32, u32)>,
    /// Who made it: [`PROTOCOL`] unless it is not tracked.
    pub protocol: u8,
    /// IP protocol.
    pub ipproto: Option<u8>,
    /// Source ports, both included.
    pub sport: Option<(u16, u16)>,
    /// Destination ports, both included.
    pub dport: Option<(u16, u16)>,
    /// What becomes of packets that match.
    pub action: Action,
    /// `no_track`: its removal from outside does not matter.
    pub no_track: bool,
    /// `track_group`: which routers follow it, where it is there whoever is master.
    pub track_group: Option<String>,
    /// The network namespace that it is in; `None` for that of the daemon.
    pub netns: Option<Netns>,
}

/// What becomes of packets that match a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, derive_more::Display)]
pub enum Action {
    /// They are looked up in a table.
    #[display("table {_0}")]
    Table(u32),
    /// They are looked up in the table of the virtual routing domain that they belong to.
    #[display("l3mdev")]
    L3mdev,
    /// The rule of this priority is next.
    #[display("goto {_0}")]
    Goto(u32),
    /// The next rule is next.
    #[default]
    #[display("nop")]
    Nop,
    /// They are dropped.
    #[display("blackhole")]
    Blackhole,
    /// They are answered with "destination unreachable".
    #[display("unreachable")]
    Unreachable,
    /// They are answered with "administratively prohibited".
    #[display("prohibit")]
    Prohibit,
}

/// The words, for suggestions.
const OPTIONS: &[&str] = &[
    "inet", "inet6", "not", "from", "to", "table", "lookup", "preference", "priority", "order",
    "tos", "dsfield", "fwmark", "realms", "iif", "dev", "oif", "suppress_prefixlength",
    "suppress_ifgroup", "tunnel-id", "uidrange", "l3mdev", "protocol", "ipproto", "sport", "dport",
    "type", "goto", "nop", "blackhole", "unreachable", "prohibit", "no_track", "track_group",
    "netns",
];

#[derive(Default)]
struct Draft {
    action: Option<Action>,
    from: Option<Option<Prefix>>,
    to: Option<Option<Prefix>>,
    priority: Option<u32>,
    protocol: Option<u8>,
    rule: Rule,
}

/// Reads a rule.
pub(super) fn read(
    words: &[Located<String>],
    at: Position,
    context: &mut Context,
    remarks: &mut Vec<Remark>,
) -> Result<Rule, Remark> {
    let mut words = Words::new(words);
    let mut draft =
        Draft { rule: Rule { protocol: PROTOCOL, ..Rule::default() }, ..Draft::default() };
    while let Some(word) = words.next() {
        if !draft.option(word, &mut words, context)? {
            draft.action(word, &mut words)?;
        }
    }
    draft.finish(at, &words, context, remarks)
}

impl Draft {
    fn option(
        &mut self,
        word: &Word,
        words: &mut Words<'_>,
        context: &mut Context,
    ) -> Result<bool, Remark> {
        let rule = &mut self.rule;
        match word.value.as_str() {
            "inet" => words.admit(Family::V4, word.at)?,
            "inet6" => words.admit(Family::V6, word.at)?,
            "not" => rule.invert = true,
            "from" => {
                let from = words.value(word)?;
                self.from = Some(words.prefix(from)?);
            }
            "to" => {
                let to = words.value(word)?;
                self.to = Some(words.prefix(to)?);
            }
            "table" | "lookup" => {
                let table =
                    words.named(word, |text| context.table(text).filter(|table| *table != 0))?;
                self.set(Action::Table(table), word)?;
            }
            "l3mdev" => self.set(Action::L3mdev, word)?,
            "preference" | "priority" | "order" => {
                self.priority = Some(words.number(word, u32::MAX.into())?);
            }
            "tos" | "dsfield" => rule.tos = words.named(word, |text| context.tos(text))?,
            "fwmark" => rule.fwmark = Some(mark(word, words)?),
            "realms" => {
                words.admit(Family::V4, word.at)?;
                rule.realms = Some(words.named(word, |text| context.realms(text))?);
            }
            "iif" | "dev" => rule.iif = Some(words.interface(word)?),
            "oif" => rule.oif = Some(words.interface(word)?),
            "suppress_prefixlength" | "sup_pl" => {
                rule.suppress_prefixlength = Some(words.number(word, 128)?);
            }
            "suppress_ifgroup" | "sup_group" => {
                rule.suppress_ifgroup = Some(words.named(word, |text| context.group(text))?);
            }
            "tunnel-id" => rule.tunnel_id = Some(words.number(word, u64::MAX)?),
            "uidrange" => rule.uidrange = Some(range(word, words, u32::MAX.into())?),
            "protocol" => self.protocol = Some(words.named(word, |text| context.protocol(text))?),
            "ipproto" | "ip_proto" => rule.ipproto = Some(words.named(word, ip_protocol)?),
            "sport" => rule.sport = Some(range(word, words, LARGEST_PORT)?),
            "dport" => rule.dport = Some(range(word, words, LARGEST_PORT)?),
            "no_track" => rule.no_track = true,
            TRACK_GROUP => rule.track_group = Some(words.value(word)?.value.clone()),
            NETNS | NET_NAMESPACE => rule.netns = Some(words.netns(word)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `[type] ACTION`.
    fn action(&mut self, word: &Word, words: &mut Words<'_>) -> Result<(), Remark> {
        let word = if word.value == "type" { words.value(word)? } else { word };
        let action = match word.value.as_str() {
            "goto" => Action::Goto(words.number(word, u32::MAX.into())?),
            "nop" => Action::Nop,
            "blackhole" => Action::Blackhole,
            "unreachable" => Action::Unreachable,
            "prohibit" => Action::Prohibit,
            _ => return Err(unknown_option(KIND, word, OPTIONS.iter().copied())),
        };
        self.set(action, word)
    }

    fn set(&mut self, action: Action, word: &Word) -> Result<(), Remark> {
        if self.action.replace(action).is_some() {
            let message = format!("a rule can do one thing, and {} is the second one", word.value);
            return Err(Remark::new(word.at, message, ""));
        }
        Ok(())
    }

    fn finish(
        self,
        at: Position,
        words: &Words<'_>,
        context: &mut Context,
        remarks: &mut Vec<Remark>,
    ) -> Result<Rule, Remark> {
        let Self { action, from, to, priority, protocol, mut rule } = self;
        let problem = |message: &str, hint: &str| Err(Remark::new(at, message, hint));
        let Some(action) = action else {
            return problem("a rule does nothing", "add table, or blackhole, goto and so on");
        };
        rule.action = action;
        rule.family = words.family.unwrap_or(Family::V4);
        // `all` is what matches when nothing is said.
        rule.from = from.flatten().filter(|from| from.length > 0);
        rule.to = to.flatten().filter(|to| to.length > 0);
        match (action, priority) {
            (Action::Goto(_), None) => return problem("goto needs a preference", ""),
            (Action::Goto(target), Some(priority)) if priority >= target => {
                return problem("goto leads backwards", "to a preference above that of the rule");
            }
            _ => {}
        }
        let of_tables = rule.suppress_prefixlength.is_some()
            || rule.suppress_ifgroup.is_some()
            || rule.realms.is_some();
        if of_tables && !matches!(action, Action::Table(_) | Action::L3mdev) {
            return problem(
                "suppress_prefixlength, suppress_ifgroup and realms go with a table",
                "",
            );
        }
        rule.priority = match priority.or_else(|| context.next_priority(rule.family)) {
            Some(priority) => priority,
            None => {
                return problem("a rule has no preference", "add preference: lower ones go first");
            }
        };
        if priority.is_none() {
            let message = format!("a rule has no preference; {} is used", rule.priority);
            remarks.push(Remark::new(at, message, "say which rule goes first"));
        }
        if let Some(protocol) = protocol {
            rule.protocol = marked(KIND, protocol, rule.no_track, at, remarks);
        }
        rule.place_in(None);
        // What is left has another one before it.
        let elsewhere = |name: &&String| netns::split(name).0.is_some();
        if let Some(name) = rule.iif.iter().chain(&rule.oif).find(elsewhere) {
            let message = format!("a rule is in one network namespace, and {name} in another one");
            return Err(Remark::new(at, message, ""));
        }
        Ok(rule)
    }
}

impl Rule {
    /// Says in which network namespace it is: in its own, else in that of an interface that it names, else in that `usual`
    /// one. What it compares with are the names that interfaces have there.
    pub fn place_in(&mut self, usual: Option<&Netns>) {
        let names = || self.iif.iter().chain(&self.oif);
        let of_names = names().find_map(|name| netns::of_interface(name));
        let netns = self.netns.take().or(of_names).or_else(|| usual.cloned());
        for name in self.iif.iter_mut().chain(&mut self.oif) {
            if netns.is_some() && netns::of_interface(name) == netns {
                *name = netns::split(name).1.to_owned();
            }
        }
        self.netns = netns;
    }
}

/// `MARK[/MASK]`.
fn mark(option: &Word, words: &mut Words<'_>) -> Result<(u32, Option<u32>), Remark> {
    let word = words.value(option)?;
    let one = number::<u32>;
    let read = match word.value.split_once('/') {
        None => one(&word.value).map(|mark| (mark, None)),
        Some((mark, mask)) => one(mark).zip(one(mask).map(Some)),
    };
    read.ok_or_else(|| Remark::new(word.at, format!("`{}` is no mark", word.value), "like 1/0xff"))
}

/// `FIRST-LAST`, or one number.
fn range<T: TryFrom<u64> + PartialOrd + Copy>(
    option: &Word,
    words: &mut Words<'_>,
    max: u64,
) -> Result<(T, T), Remark> {
    let word = words.value(option)?;
    let one = |text: &str| {
        let number = text.parse().ok().filter(|number| *number <= max);
        number.and_then(|number| T::try_from(number).ok())
    };
    let (first, last) = word.value.split_once('-').unwrap_or((&word.value, &word.value));
    let read = one(first).zip(one(last)).filter(|(first, last)| first <= last);
    read.ok_or_else(|| {
        let message =
            format!("{} must be FIRST-LAST up to {max}, not `{}`", option.value, word.value);
        Remark::new(word.at, message, "")
    })
}

impl fmt::Display for Rule {
    /// As `ip rule` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.family == Family::V6 && self.from.is_none() && self.to.is_none() {
            f.write_str("inet6 ")?;
        }
        if self.invert {
            f.write_str("not ")?;
        }
        match self.from {
            None => f.write_str("from all")?,
            Some(from) => write!(f, "from {from}")?,
        }
        option(f, "to", self.to)?;
        option(f, "tos", Some(self.tos).filter(|tos| *tos != 0))?;
        match self.fwmark {
            None => {}
            Some((mark, None)) => write!(f, " fwmark {mark:#x}")?,
            Some((mark, Some(mask))) => write!(f, " fwmark {mark:#x}/{mask:#x}")?,
        }
        option(f, "iif", self.iif.as_ref())?;
        option(f, "oif", self.oif.as_ref())?;
        option(f, "tunnel-id", self.tunnel_id)?;
        range_option(f, "uidrange", self.uidrange)?;
        option(f, "ipproto", self.ipproto)?;
        range_option(f, "sport", self.sport)?;
        range_option(f, "dport", self.dport)?;
        write!(f, " {}", self.action)?;
        realms(f, self.realms)?;
        option(f, "suppress_prefixlength", self.suppress_prefixlength)?;
        option(f, "suppress_ifgroup", self.suppress_ifgroup)?;
        option(f, "protocol", Some(self.protocol).filter(|protocol| *protocol != PROTOCOL))?;
        option(f, "preference", Some(self.priority))?;
        if self.no_track {
            f.write_str(" no_track")?;
        }
        option(f, TRACK_GROUP, self.track_group.as_ref())?;
        option(f, NETNS, self.netns.as_ref())
    }
}

fn range_option<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: Option<(T, T)>,
) -> fmt::Result {
    value.map_or(Ok(()), |(first, last)| write!(f, " {name} {first}-{last}"))
}
