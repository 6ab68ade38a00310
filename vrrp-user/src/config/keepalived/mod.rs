//! keepalived.conf: the part of its grammar that is about VRRP, read as leniently as keepalived does.
//!
//! What keepalived reports and goes on from is a warning here, with keepalived's own fallback; what it refuses
//! is an error. The facts are those of keepalived 2.4.3.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use preprocess::{Line, Preprocessor};

use super::Options;
use super::command;
use super::draft::{Drafts, set};
use super::model::{Scheduling, Severity, Tracked, V3Checksum};
use super::notify::Settings;
use super::report::{Located, Position, Report};
use super::source::Grown;
use super::text;
use crate::engine::time::Nanos;
use crate::engine::types::GarpPolicy;
use crate::types::netns::Netns;
use crate::wire::family::Family;
use instance::Instance;
use keywords::Unsupported;
use shared::Shared;

mod address;
mod definitions;
mod delays;
#[cfg(test)]
mod docs_tests;
mod hmac;
mod include;
mod instance;
mod keywords;
mod notify;
mod preprocess;
mod routes;
mod shared;
#[cfg(test)]
mod tests;
mod track;
mod virtual_mac;

/// Reads a file and everything that it includes.
/// Errors: when the file itself cannot be read; all else goes into the report.
pub(super) fn read(path: &Path, options: &Options, report: &mut Report) -> io::Result<Drafts> {
    let lines = Preprocessor::open(path, options, report)?;
    let mut parser = Parser {
        lines,
        peeked: None,
        balancer_seen: false,
        closed: 0,
        unfinished: false,
        defined: HashSet::new(),
        early: Vec::new(),
        commands: Vec::new(),
        group_uses: Vec::new(),
    };
    let mut globals = Globals::default();
    let mut instances = Vec::new();
    let mut drafts = Drafts::default();
    let (mut any_known, mut any_instance) = (false, false);
    while let Some(entry) = parser.next_entry() {
        let closed = parser.closed;
        parser.root_entry(&entry, &mut globals, &mut instances, &mut drafts);
        let keyword = entry.keyword.value.as_str();
        let known =
            ROOT_KEYWORDS.contains(&keyword) || keywords::find(keywords::ROOT, keyword).is_some();
        any_known |= known && parser.closed > closed;
        any_instance |= keyword == "vrrp_instance";
    }
    let on_purpose = any_known && !any_instance && !parser.unfinished;
    if parser.unfinished && options.running.is_some() {
        // What is missing may be other routers.
        let at = parser.lines.last();
        parser.error(at, "the file ends inside a block, perhaps because it was cut off", "add `}`");
    }
    let missed = std::mem::take(&mut parser.lines.missed);
    // What a pattern does not match may come later. While routers run, it is what has been lost.
    let lost = missed.file || (options.running > Some(0) && !missed.empty.is_empty());
    drafts.idle = on_purpose && !lost;
    parser.early_tracks();
    let commands = std::mem::take(&mut parser.commands);
    drafts.track_group_uses = std::mem::take(&mut parser.group_uses);
    // Only now: global_defs counts wherever it stands.
    let report = &mut *parser.lines.report;
    if on_purpose {
        for (at, message) in missed.empty {
            report.warning(at, message, "");
        }
        let start = report.file(&path.display().to_string()).line(1);
        let message = "there is no virtual router in this file";
        if lost {
            let message = format!("{message}, and not all is there that it includes");
            report.error(start, message, "write what is missing, or remove the include");
        } else {
            report.warning(start, message, "the daemon has nothing to do, as keepalived");
        }
    }
    let routers = instances.into_iter().map(|instance| instance.finish(&globals, report));
    // keepalived has no setting for it; there is a command line option.
    let routers = routers.collect();
    let Globals { scheduling, scripts, routes, .. } = globals;
    let (fixed, fixed_addresses) = routes.finish();
    let notify = Settings { disable_unusable: !drafts.scripts.is_empty(), ..scripts.finish() };
    let mut drafts = Drafts { routers, scheduling, notify, fixed, fixed_addresses, ..drafts };
    virtual_mac::resolve_devices(&mut drafts, &commands, report);
    Ok(drafts)
}

/// What `global_defs` says about all instances.
#[derive(Debug, Default)]
struct Globals {
    version: Option<Located<String>>,
    shared: Shared,
    v3_checksum: V3Checksum,
    scheduling: Option<Scheduling>,
    strict: bool,
    group4: Option<Located<IpAddr>>,
    group6: Option<Located<IpAddr>>,
    check_source: bool,
    scripts: notify::Scripts,
    routes: routes::Routes,
    /// `vmac_prefix`: what the names of devices begin with.
    vmac_prefix: Option<String>,
}

/// keepalived's longest delays of gratuitous ARP and intervals of scripts.
const MAX_DELAY: Nanos = Nanos::from_secs(4_294);

/// A word of a line.
type Word = Located<String>;

/// A line in words.
#[derive(Debug)]
struct Entry {
    keyword: Word,
    parameters: Vec<Word>,
}

impl Entry {
    fn at(&self) -> Position {
        self.keyword.at
    }
}

/// The keywords that are acted on, for suggestions.
const ROOT_KEYWORDS: &[&str] = &[
    "global_defs", "vrrp_instance", "static_ipaddress", "static_routes", "static_rules",
    "vrrp_sync_group", "track_group", "vrrp_script", "track_file", "vrrp_track_file",
    "vrrp_track_process", "garp_group", "interface_up_down_delays", "net_namespace",
];
const GLOBAL_KEYWORDS: &[&str] = &[
    "vrrp_version", "vrrp_strict", "vrrp_garp_master_delay", "vrrp_garp_master_repeat",
    "vrrp_garp_master_refresh", "vrrp_garp_master_refresh_repeat", "vrrp_garp_lower_prio_delay",
    "vrrp_garp_lower_prio_repeat", "vrrp_lower_prio_no_advert", "vrrp_down_timer_adverts",
    "vrrp_min_garp", "include_check", "vrrp_higher_prio_send_advert", "v3_checksum_as_v2",
    "dynamic_interfaces", "vrrp_rt_priority", "vrrp_no_swap", "script_user",
    "enable_script_security", "use_symlink_paths", "set_supplementary_groups", "umask",
    "startup_script", "startup_script_timeout", "shutdown_script", "shutdown_script_timeout",
    "notify_fifo", "notify_fifo_script", "vrrp_notify_fifo", "vrrp_notify_fifo_script",
    "vrrp_notify_priority_changes", "fifo_write_vrrp_states_on_reload", "notify_split_brain",
    "notify_timeout", "script_concurrency", "default_interface", "vrrp_restore_addresses",
    "vrrp_startup_delay", "vrrp_delay_after_boot", "vrrp_garp_interval", "vrrp_gna_interval",
    "vrrp_check_unicast_src", "vrrp_owner_ignore_adverts", "vrrp_garp_extra_if",
    "vrrp_vmac_garp_intvl", "vmac_prefix", "vrrp_mcast_group4", "vrrp_mcast_group6", "vrrp_fence",
];

/// Reads entries and blocks.
struct Parser<'a> {
    lines: Preprocessor<'a>,
    peeked: Option<Line>,
    /// That load balancing is not done has been said as a warning.
    balancer_seen: bool,
    /// How many blocks were closed.
    closed: usize,
    /// The file ended inside a block.
    unfinished: bool,
    /// Scripts, files and processes so far.
    defined: HashSet<Tracked>,
    /// Those that are tracked in front of that.
    early: Vec<Located<Tracked>>,
    /// What is to be run.
    commands: Vec<Word>,
    /// Groups that static addresses, routes and rules name.
    group_uses: Vec<Word>,
}

impl Parser<'_> {
    fn warning(&mut self, at: Position, message: impl Into<String>, hint: &str) {
        self.lines.report.warning(at, message, hint);
    }

    fn error(&mut self, at: Position, message: impl Into<String>, hint: &str) {
        self.lines.report.error(at, message, hint);
    }

    fn next_line(&mut self) -> Option<Line> {
        self.peeked.take().or_else(|| self.lines.next_line())
    }

    fn next_is(&mut self, text: &str) -> bool {
        self.peeked = self.next_line();
        self.peeked.as_ref().is_some_and(|line| line.text == text)
    }

    /// The next line that has words in it.
    fn next_entry(&mut self) -> Option<Entry> {
        loop {
            let line = self.next_line()?;
            let keyword = line.text.split_whitespace().next().unwrap_or("");
            let words = match notify::QUOTED.contains(&keyword) {
                true => self.command_words(&line),
                false => self.words(&line),
            };
            let mut words = words.into_iter();
            if let Some(keyword) = words.next() {
                return Some(Entry { keyword, parameters: words.collect() });
            }
        }
    }

    /// The words of a line whose second one is a command.
    fn command_words(&mut self, line: &Line) -> Vec<Word> {
        match command::quoted_words(&line.text) {
            Ok(words) => words
                .into_iter()
                .map(|(column, word)| Located::new(word, line.at.advance(column)))
                .collect(),
            Err(error) => {
                self.warning(line.at, format!("{error}; the line is ignored"), "");
                Vec::new()
            }
        }
    }

    /// Words end at white space and at quotes; `"..."` is one word without its quotes.
    fn words(&mut self, line: &Line) -> Vec<Word> {
        let mut words = Vec::new();
        let mut rest = line.text.as_str();
        let mut column = 0;
        loop {
            let trimmed = rest.trim_start();
            column += rest.chars().count() - trimmed.chars().count();
            let at = line.at.advance(column);
            let Some(first) = trimmed.chars().next() else { return words };
            let (word, after, length) = if first == '"' {
                let body = trimmed.get(1..).unwrap_or("");
                let Some((word, after)) = body.split_once('"') else {
                    self.warning(
                        at,
                        "the quote is not closed; the rest of the line is ignored",
                        "",
                    );
                    return words;
                };
                (word, after, word.chars().count() + 2)
            } else {
                let end = trimmed.find(|c: char| c.is_whitespace() || c == '"');
                let (word, after) = trimmed.split_at(end.unwrap_or(trimmed.len()));
                (word, after, word.chars().count())
            };
            words.push(Located::new(word.to_owned(), at));
            column += length;
            rest = after;
        }
    }

    /// Enters the block that belongs to a keyword.
    fn enter_block(&mut self, entry: &Entry) {
        if self.next_is("{") {
            self.next_line();
        } else {
            let message = format!("there is no `{{` behind {}", entry.keyword.value);
            self.warning(entry.at(), message, "");
        }
    }

    /// As [`Self::block_entry`], of a block that lists addresses, routes, peers or what is tracked.
    fn list_entry(&mut self, opened: &Entry) -> Option<Entry> {
        /// Words of one, as a rule; more are as good as more of them.
        const WORDS: usize = 16;
        let entry = self.block_entry(opened)?;
        let parts = 1 + entry.parameters.len() / WORDS;
        self.lines.grow(entry.at(), Grown { parts, ..Grown::default() });
        Some(entry)
    }

    /// The next entry of a block that was entered; `None` at its end.
    fn block_entry(&mut self, opened: &Entry) -> Option<Entry> {
        loop {
            let Some(entry) = self.next_entry() else {
                let message = format!("the block of {} is not closed", opened.keyword.value);
                self.warning(opened.at(), message, "add `}`");
                self.unfinished = true;
                return None;
            };
            match entry.keyword.value.as_str() {
                "}" => {
                    self.closed += 1;
                    return None;
                }
                "{" => self.unexpected_brace(entry.at()),
                _ => return Some(entry),
            }
        }
    }

    /// As in keepalived, what is behind it is read as if it were not there.
    fn unexpected_brace(&mut self, at: Position) {
        self.warning(at, "this `{` belongs to no keyword; it is ignored", "");
    }

    /// Skips the block that follows, if one does.
    fn skip_block(&mut self) {
        if self.next_is("{") {
            self.next_line();
            self.skip_to_end();
        }
    }

    /// Skips to the end of a block that was entered.
    fn skip_to_end(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.next_line() {
                Some(line) if line.text == "{" => depth += 1,
                Some(line) if line.text == "}" => depth -= 1,
                Some(_) => {}
                None => {
                    let at = self.lines.last();
                    self.warning(at, "the file ends inside a block", "add `}`");
                    self.unfinished = true;
                    return;
                }
            }
        }
        self.closed += 1;
    }

    /// A keyword that is not acted on: one diagnostic, and its block is skipped.
    fn not_acted_on(
        &mut self,
        entry: &Entry,
        table: &'static [Unsupported],
        supported: &[&'static str],
    ) {
        let keyword = entry.keyword.value.as_str();
        match keywords::find(table, keyword) {
            Some(Unsupported { severity, meaning, .. }) => {
                let balancer = *meaning == keywords::BALANCER;
                let message = match severity {
                    Severity::Warning | Severity::Error if !balancer => {
                        format!("{keyword} is recognised but not supported yet: {meaning}")
                    }
                    Severity::Note | Severity::Warning | Severity::Error => {
                        format!("{keyword} has no effect here: {meaning}")
                    }
                };
                // Whoever has one virtual server has a hundred.
                let again = balancer && std::mem::replace(&mut self.balancer_seen, true);
                let severity = if again { Severity::Note } else { *severity };
                self.lines.report.push(severity, entry.at(), message, "");
            }
            None => {
                let message = format!("unknown keyword {keyword}");
                // Finding the word that was meant takes time, in a loop a lot of it.
                if self.lines.report.is_new(Severity::Warning, entry.at(), &message) {
                    let known = table.iter().flat_map(|entry| entry.keywords.iter().copied());
                    let hint = text::closest(keyword, known.chain(supported.iter().copied()));
                    let hint = hint.map(|known| format!("did you mean {known}?"));
                    self.warning(entry.at(), message, &hint.unwrap_or_default());
                }
            }
        }
        self.skip_block();
    }

    fn root_entry(
        &mut self,
        entry: &Entry,
        globals: &mut Globals,
        instances: &mut Vec<Instance>,
        drafts: &mut Drafts,
    ) {
        match entry.keyword.value.as_str() {
            "global_defs" => {
                self.enter_block(entry);
                while let Some(inner) = self.block_entry(entry) {
                    if inner.keyword.value == "net_namespace" {
                        self.net_namespace(&inner, &mut drafts.netns);
                    } else if !self.delay_entry(&inner, &mut drafts.delays) {
                        self.global_entry(&inner, globals);
                    }
                }
            }
            "vrrp_instance" => {
                instances.extend(self.instance(entry, &mut globals.routes.context));
            }
            "vrrp_sync_group" => drafts.groups.extend(self.group(entry)),
            "track_group" => drafts.track_groups.extend(self.track_group(entry)),
            "vrrp_script" => {
                let script = self.script(entry);
                self.defined
                    .extend(script.iter().map(|s| Tracked::Script(s.value.object.name.clone())));
                drafts.scripts.extend(script);
            }
            "track_file" | "vrrp_track_file" => {
                let file = self.file(entry);
                self.defined
                    .extend(file.iter().map(|f| Tracked::File(f.value.object.name.clone())));
                drafts.files.extend(file);
            }
            "vrrp_track_process" => {
                let process = self.process(entry);
                self.defined
                    .extend(process.iter().map(|p| Tracked::Process(p.value.object.name.clone())));
                drafts.processes.extend(process);
            }
            "garp_group" => drafts.delays.garp_groups.push(self.garp_group(entry)),
            "net_namespace" => self.net_namespace(entry, &mut drafts.netns),
            "interface_up_down_delays" => self.up_down_delays(entry, &mut drafts.delays.links),
            _ if self.fixed_entry(entry, &mut globals.routes) => {}
            "}" => self.warning(entry.at(), "there is a `}` too many", ""),
            "{" => self.unexpected_brace(entry.at()),
            _ => self.not_acted_on(entry, keywords::ROOT, ROOT_KEYWORDS),
        }
    }

    /// The first one counts, as in keepalived.
    fn net_namespace(&mut self, entry: &Entry, to: &mut Option<Located<Netns>>) {
        let Some(name) = self.value(entry) else { return };
        match name.value.parse::<Netns>() {
            Ok(netns) => match to {
                Some(first) if first.value != netns => {
                    let message = format!("net_namespace is {} already; ignored", first.value);
                    self.warning(entry.at(), message, "");
                }
                Some(_) => {}
                None => *to = Some(Located::new(netns, name.at)),
            },
            // Elsewhere it would take addresses that belong to others.
            Err(error) => {
                let message = format!("{} is no network namespace", name.value);
                self.error(name.at, message, &error.to_string());
            }
        }
    }

    fn global_entry(&mut self, entry: &Entry, globals: &mut Globals) {
        match entry.keyword.value.as_str() {
            "vrrp_version" => keep(&mut globals.version, self.version(entry)),
            "vrrp_strict" => set(&mut globals.strict, self.boolean(entry)),
            "vrrp_min_garp" => {
                if self.boolean(entry) == Some(true) {
                    // What was set before is kept, as far as it is not what it would be anyway.
                    let (usual, garp) = (GarpPolicy::DEFAULT, &mut globals.shared);
                    if garp.master_repeat.is_none_or(|repeat| repeat == usual.master_repeat) {
                        garp.master_repeat = Some(1);
                    }
                    if garp.master_delay.is_none_or(|delay| delay == usual.master_delay) {
                        garp.master_delay = Some(Nanos::ZERO);
                    }
                    if garp.refresh_repeat.is_none_or(|repeat| repeat == usual.refresh_repeat) {
                        garp.refresh_repeat = Some(0);
                    }
                }
            }
            "include_check" => self.include_check(entry),
            "v3_checksum_as_v2" => set(&mut globals.v3_checksum, self.v3_checksum(entry)),
            "vmac_prefix" => {
                if let Some(prefix) = self.value(entry) {
                    globals.vmac_prefix.get_or_insert(prefix.value);
                }
            }
            "vrrp_rt_priority" => {
                if entry.parameters.is_empty() {
                    return self.warning(entry.at(), "vrrp_rt_priority has no value; ignored", "");
                }
                // keepalived brings what lies outside into the range; 0 is none.
                let priority: Option<u32> = self.integer(entry);
                let fifo = |n: u32| Scheduling::Fifo(u8::try_from(n.min(99)).unwrap_or(99));
                let parsed = priority.map(|n| if n == 0 { Scheduling::Other } else { fifo(n) });
                keep(&mut globals.scheduling, parsed);
            }
            "vrrp_check_unicast_src" => globals.check_source = true,
            // Memory is locked anyway.
            "vrrp_no_swap" => {}
            // Interfaces may come and go; that is all it asks for.
            "dynamic_interfaces" => {}
            "vrrp_mcast_group4" => {
                keep(&mut globals.group4, self.multicast_group(entry, Family::V4));
            }
            "vrrp_mcast_group6" => {
                keep(&mut globals.group6, self.multicast_group(entry, Family::V6));
            }
            keyword
                if let Some(name) = keyword.strip_prefix("vrrp_")
                    && self.shared_entry(name, entry, &mut globals.shared) => {}
            _ if self.script_entry(entry, &mut globals.scripts) => {}
            _ if self.routes_setting(entry, &mut globals.routes) => {}
            _ => self.not_acted_on(entry, keywords::GLOBAL, GLOBAL_KEYWORDS),
        }
    }

    /// That a value is missing with which keepalived does not go on without it.
    fn no_value(&mut self, entry: &Entry, value: &str) {
        let message = format!("{} has no {value}", entry.keyword.value);
        self.error(entry.at(), message, "");
    }

    /// The one parameter of a keyword. keepalived refuses a configuration where it is missing.
    fn value(&mut self, entry: &Entry) -> Option<Word> {
        let value = entry.parameters.first().cloned();
        if value.is_none() {
            self.no_value(entry, "value");
        }
        if let Some(extra) = entry.parameters.get(1) {
            let message =
                format!("`{}` is ignored: {} takes one value", extra.value, entry.keyword.value);
            self.warning(extra.at, message, "");
        }
        value
    }

    /// A multicast group of a family; anything else is a warning and `None`.
    fn multicast_group(&mut self, entry: &Entry, family: Family) -> Option<Located<IpAddr>> {
        let value = self.value(entry)?;
        let group = value.value.parse().ok().filter(IpAddr::is_multicast);
        let Some(group) = group.filter(|group| Family::of(*group) == family) else {
            self.bad_value(entry, &value, &format!("a multicast group of {family}"));
            return None;
        };
        Some(Located::new(group, value.at))
    }

    /// A word, or the number in front of what does not belong to one, with a warning: as strtol(3) takes it, and
    /// keepalived wherever it goes on from a bad number. `more` are the characters that may be in it besides digits.
    fn number_in_front(&mut self, word: Word, more: &str) -> Word {
        let text = word.value.trim();
        let digits = text.strip_prefix('-').filter(|_| more.contains('-')).unwrap_or(text);
        let end = digits.find(|c: char| !c.is_ascii_digit() && (c != '.' || !more.contains('.')));
        let Some(rest) = end.and_then(|end| digits.get(end..)).filter(|_| end != Some(0)) else {
            return word;
        };
        let Some(number) = text.strip_suffix(rest).map(str::to_owned) else { return word };
        self.warning(word.at, format!("`{}` is no number; {number} is used", word.value), "");
        Located::new(number, word.at)
    }

    /// A number without sign, or one in front of something else; anything else is a warning and `None`.
    fn integer(&mut self, entry: &Entry) -> Option<u32> {
        let value = self.value(entry)?;
        self.whole_number(entry, value)
    }

    fn whole_number(&mut self, entry: &Entry, value: Word) -> Option<u32> {
        let value = self.number_in_front(value, "");
        let number = value.value.trim().parse();
        if number.is_err() {
            self.bad_value(entry, &value, "a whole number");
        }
        number.ok()
    }

    /// What strtol(3) makes of a word that does not begin with a number: 0, with a warning.
    fn or_zero(&mut self, word: Word) -> Word {
        if word
            .value
            .trim()
            .trim_start_matches(['-', '+'])
            .starts_with(|c: char| c.is_ascii_digit())
        {
            return word;
        }
        self.warning(word.at, format!("`{}` is no number; 0 is used", word.value), "");
        Located::new("0".to_owned(), word.at)
    }

    /// A number without sign, the one in front of something else, or 0 of what has none; a negative one is a warning
    /// and `None`.
    fn number(&mut self, entry: &Entry) -> Option<u32> {
        let value = self.value(entry)?;
        let value = self.or_zero(value);
        self.whole_number(entry, value)
    }

    /// A version, as it is compared: without zeros in front.
    fn version(&mut self, entry: &Entry) -> Option<Word> {
        let version = self.value(entry)?;
        let version = self.number_in_front(version, "");
        let number = version.value.trim().parse::<u32>();
        let text = number.map_or(version.value, |number| number.to_string());
        Some(Located::new(text, version.at))
    }

    /// Whole seconds.
    fn seconds(&mut self, entry: &Entry) -> Option<Nanos> {
        self.number(entry).map(|seconds| Nanos::from_secs(u64::from(seconds)))
    }

    /// Whole seconds that fit into keepalived's microseconds.
    fn delay(&mut self, entry: &Entry) -> Option<Nanos> {
        self.seconds(entry).filter(|delay| self.is_delay(entry, *delay, MAX_DELAY))
    }

    /// Whether a time is not longer than may be; if it is, a warning.
    fn is_delay(&mut self, entry: &Entry, delay: Nanos, most: Nanos) -> bool {
        if delay > most {
            let message = format!("{} is at most {most}; ignored", entry.keyword.value);
            self.warning(entry.at(), message, "");
        }
        delay <= most
    }

    /// A number of repetitions, at least one.
    fn rounds(&mut self, entry: &Entry) -> Option<u32> {
        let rounds = self.number(entry)?;
        if rounds == 0 {
            let message = format!("{} must be at least 1; 1 is used", entry.keyword.value);
            self.warning(entry.at(), message, "");
        }
        Some(rounds.max(1))
    }

    /// Seconds with up to six decimals, more are rounded.
    fn timer(&mut self, entry: &Entry) -> Option<Located<Nanos>> {
        let value = self.value(entry)?;
        let span = decimal_seconds(&value.value);
        if span.is_none() {
            self.bad_value(entry, &value, "seconds, as in 1 or 0.25");
        }
        span.map(|span| Located::new(span, value.at))
    }

    /// `on|off|true|false|yes|no`; on when nothing is said.
    fn boolean(&mut self, entry: &Entry) -> Option<bool> {
        let Some(value) = entry.parameters.first() else { return Some(true) };
        match value.value.as_str() {
            "on" | "true" | "yes" => Some(true),
            "off" | "false" | "no" => Some(false),
            _ => {
                let value = value.clone();
                self.bad_value(entry, &value, "on or off");
                None
            }
        }
    }

    /// Which problems with an `include` are errors from now on.
    fn include_check(&mut self, entry: &Entry) {
        let words = entry.parameters.iter().map(|word| word.value.as_str());
        for problem in self.lines.include_check.set(words) {
            let hint = "read, match, wildcard_match or brace_match, perhaps with + or -";
            self.warning(entry.at(), format!("include_check: {problem}; ignored"), hint);
        }
    }

    fn v3_checksum(&mut self, entry: &Entry) -> Option<V3Checksum> {
        let as_v2 = self.boolean(entry)?;
        Some(if as_v2 { V3Checksum::Rfc9568 } else { V3Checksum::Rfc5798 })
    }

    fn bad_value(&mut self, entry: &Entry, value: &Word, wanted: &str) {
        let message =
            format!("{} takes {wanted}, not `{}`; ignored", entry.keyword.value, value.value);
        self.warning(value.at, message, "");
    }
}

/// A later value counts, unless it is none that can be used.
fn keep<T>(target: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *target = value;
    }
}

/// Decimal seconds, to the microsecond, rounded.
fn decimal_seconds(text: &str) -> Option<Nanos> {
    let text = text.trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Seven digits: tenths of microseconds.
    let tenths: u64 = format!("{fraction:0<7.7}").parse().ok()?;
    Some(Nanos::from_secs(whole) + Nanos((tenths + 5) / 10 * 1_000))
}
