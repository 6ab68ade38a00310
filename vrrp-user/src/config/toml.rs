//! The native format. Nothing is guessed: an unknown key, a wrong type or a bad value is an error, and all of
//! them are reported at once with line and column.

use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, Drafts, PeerDraft, UnicastDraft, set};
use super::model::{Address, AddressFlags, Fence, Listen};
use super::report::{FileId, Located, Position, Report};
use super::source::{Files, Grown};
use super::text;
use crate::engine::time::Nanos;
use crate::engine::types::GarpPolicy;
use crate::types::build;
use crate::types::netns::{InvalidNetns, Netns};
use template::Variables;

mod control;
mod delays;
#[cfg(test)]
mod docs_tests;
mod hmac;
mod notify;
mod routes;
pub(super) mod template;
#[cfg(test)]
mod tests;
mod track;

/// Reads a file.
/// Errors: when the file cannot be read; all else goes into the report.
pub(super) fn read(path: &Path, report: &mut Report) -> io::Result<Drafts> {
    let bytes = Files::default().read(path)?;
    let text = String::from_utf8(build::understood(bytes))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(read_text(&path.display().to_string(), &text, report))
}

/// Reads a text, which messages call `name`.
pub(super) fn read_text(name: &str, text: &str, report: &mut Report) -> Drafts {
    let file = report.file(name);
    let line_starts = std::iter::once(0)
        .chain(text.match_indices('\n').map(|(newline, _)| newline + 1))
        .collect();
    let mut reader = Reader {
        report,
        file,
        text,
        line_starts,
        variables: None,
        grown: Grown::default(),
        group_uses: Vec::new(),
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = reader.position(&error.span().unwrap_or_default());
        reader.report.error(at, error.message(), "");
    }
    // What the parser recovered from a broken document would only raise more errors.
    if errors.is_empty() { reader.document(document.get_ref()) } else { Drafts::default() }
}

struct Reader<'a> {
    report: &'a mut Report,
    file: FileId,
    text: &'a str,
    /// Byte index of each line.
    line_starts: Vec<usize>,
    /// What `{...}` stands for in strings, within a router.
    variables: Option<Variables>,
    /// What all entries stand for together.
    grown: Grown,
    /// Groups that addresses, routes and rules name.
    group_uses: Vec<Located<String>>,
}

/// A router with how much text some tables hold, and how many entries their lists have.
fn size<'t, 'i: 't>(tables: impl Iterator<Item = &'t DeTable<'i>>) -> Grown {
    let mut grown = Grown { routers: 1, ..Grown::default() };
    let mut rest: Vec<_> = tables.flat_map(DeTable::values).map(Spanned::get_ref).collect();
    while let Some(value) = rest.pop() {
        match value {
            DeValue::String(text) => grown.bytes += text.len(),
            DeValue::Array(values) => {
                grown.parts += values.len();
                rest.extend(values.iter().map(Spanned::get_ref));
            }
            DeValue::Table(table) => rest.extend(table.values().map(Spanned::get_ref)),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
    grown
}

/// A table whose keys are taken out one by one; what is left in the end is unknown.
struct Table<'t, 'i> {
    table: &'t DeTable<'i>,
    /// Where a key is looked up that is not in the table: `[defaults]`.
    fallback: Option<&'t DeTable<'i>>,
    at: Position,
    /// What it is called in messages.
    name: &'static str,
    keys: &'static [&'static str],
}

impl<'t, 'i> Table<'t, 'i> {
    fn lookup(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        debug_assert!(self.keys.contains(&key), "{key} is not among the keys of {}", self.name);
        self.table.get(key).or_else(|| self.fallback?.get(key))
    }
}

const ROOT_KEYS: &[&str] = &[
    "sched", "metrics", "netns", "capture", "startup_delay", "delay_after_boot", "garp_interval",
    "gna_interval", "control", "scripts", "notify", "static", "track_group", "garp_group",
    "interface", "defaults", "router", "group", "script", "file", "process",
];
/// The key of a router that has no default.
const NO_DEFAULT: &str = "vrid";
const ROUTER_KEYS: &[&str] = &[
    "name", "netns", "interface", "vrid", "priority", "interval", "version", "addresses",
    "excluded", "authentication", "hmac", "preempt", "preempt_delay", "max_learned_interval",
    "source", "multicast_group", "unicast", "garp", "down_adverts", "lower_prio_advert",
    "higher_prio_advert", "owner_ignores_adverts", "link_local_first", "fence", "virtual_mac",
    "virtual_mac_adverts", "accept", "track_source", "v3_checksum", "notify", "routes", "rules",
    "on_address_lost", "promote_secondaries", "track", "group", "dont_track_primary",
];
const ADDRESS_KEYS: &[&str] = &[
    "address", "dev", "label", "scope", "broadcast", "peer", "preferred_lft", "dad", "home",
    "mngtmpaddr", "noprefixroute", "autojoin", "no_track", "track_group", "virtual_mac",
];
const UNICAST_KEYS: &[&str] = &["source", "peers", "ttl", "check_source"];
const PEER_KEYS: &[&str] = &["address", "min_ttl", "max_ttl"];
const AUTHENTICATION_KEYS: &[&str] = &["type", "password", "password_hex"];
const GARP_KEYS: &[&str] = &[
    "repeat", "delay", "refresh", "refresh_repeat", "lower_prio_repeat", "lower_prio_delay",
    "other_interfaces", "other_interfaces_all", "own_address",
];

/// What is announced from time to time.
#[derive(Default)]
struct PeriodsDraft {
    garp_extra_if: Option<Located<Nanos>>,
    garp_extra_if_all: Option<bool>,
    garp_own_address: Option<Located<Nanos>>,
}

impl Reader<'_> {
    /// Line and column of a span.
    fn position(&self, span: &Range<usize>) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= span.start);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..span.start).unwrap_or("");
        Position { file: self.file, line, column: before.chars().count() + 1 }
    }

    /// A table of which only `keys` are known.
    fn table<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        at: Position,
        name: &'static str,
        keys: &'static [&'static str],
    ) -> Table<'t, 'i> {
        for key in table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref().as_ref();
            let hint = match text::closest(word, keys.iter().copied()) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("known are {}", keys.join(", ")),
            };
            let at = self.position(&key.span());
            self.report.error(at, format!("unknown key {word} in {name}"), &hint);
        }
        Table { table, fallback: None, at, name, keys }
    }

    fn document(&mut self, document: &DeTable<'_>) -> Drafts {
        let root = self.table(document, self.file.line(1), "the file", ROOT_KEYS);
        let scheduling = self.read(&root, "sched", |text| {
            let hint = "write \"fifo:50\" (1 to 99) or \"other\"";
            text.parse().map_err(|_| (format!("sched is neither fifo nor other: {text}"), hint))
        });
        let metrics = self.read(&root, "metrics", |text| {
            text.parse::<Listen>()
                .map_err(|error| (format!("metrics cannot be served at {text}"), error))
        });
        let netns = self.string(&root, "netns").and_then(|name| self.netns(&name));
        let notify = self.script_settings(&root);
        let control = self.control(&root);
        let (fixed, fixed_addresses) = self.fixed(&root);
        let track_group_uses = std::mem::take(&mut self.group_uses);
        let track_groups =
            self.objects(&root, "track_group", track::TRACK_GROUP_KEYS, Self::track_group);
        let (delays, capture) = self.delays(&root);
        let routers = self.routers(&root);
        for used in std::mem::take(&mut self.group_uses) {
            let message = "track_group goes with what is in [static]";
            self.report.error(used.at, message, "a router follows what is its own anyway");
        }
        let none = self.get(&root, "router");
        let none = none.and_then(|(value, _)| value.as_array());
        Drafts {
            idle: none.is_some_and(|routers| routers.is_empty()),
            routers,
            track_groups,
            track_group_uses,
            groups: self.objects(&root, "group", track::GROUP_KEYS, Self::group),
            scripts: self.objects(&root, "script", track::SCRIPT_KEYS, Self::script),
            files: self.objects(&root, "file", track::FILE_KEYS, Self::file),
            processes: self.objects(&root, "process", track::PROCESS_KEYS, Self::process),
            scheduling,
            metrics,
            netns,
            control,
            notify,
            fixed,
            fixed_addresses,
            delays,
            capture,
        }
    }

    fn netns(&mut self, name: &Located<String>) -> Option<Located<Netns>> {
        let wrong = |error: InvalidNetns| {
            let message = format!("{} is no network namespace", name.value);
            self.report.error(name.at, message, &error.to_string());
        };
        name.value.parse().map(|netns| Located::new(netns, name.at)).map_err(wrong).ok()
    }

    fn routers(&mut self, root: &Table<'_, '_>) -> Vec<Draft> {
        let Some(routers) = self.tables(root, "router") else { return Vec::new() };
        let defaults = self.sub_table(root, "defaults", ROUTER_KEYS).map(|defaults| {
            if let Some((_, at)) = self.get(&defaults, NO_DEFAULT) {
                self.report.error(at, format!("{NO_DEFAULT} has no default"), "");
            }
            defaults.table
        });
        let mut drafts = Vec::new();
        for router in routers {
            self.entry(router, defaults, &mut drafts);
        }
        drafts
    }

    /// A `[[router]]`: one router, or one for each VRID on each interface.
    fn entry<'t, 'i>(
        &mut self,
        value: &'t Spanned<DeValue<'i>>,
        defaults: Option<&'t DeTable<'i>>,
        drafts: &mut Vec<Draft>,
    ) {
        let Some(mut table) = self.nested(value, "a router", ROUTER_KEYS) else { return };
        table.fallback = defaults;
        let vrids = self.vrids(&table);
        let interfaces = self.interfaces(&table);
        let count = vrids.len() * interfaces.len();
        let many = count > 1;
        // Before any of them is made.
        let one = size([Some(table.table), defaults].into_iter().flatten());
        if let Err(much) = self.grown.add(one.times(count)) {
            let message = format!("with what this entry stands for, there are {much}");
            self.report.error(table.at, message, "");
            return;
        }
        for (interface, index) in interfaces {
            for vrid in &vrids {
                let number = vrid.as_ref().and_then(|vrid| vrid.value.parse().ok());
                self.variables = Some(Variables { vrid: number, interface: None, index });
                let interface = interface.as_ref().and_then(|interface| {
                    Some(Located::new(self.expanded(&interface.value, interface.at)?, interface.at))
                });
                let entry = many.then(|| {
                    let vrid = vrid.as_ref().map_or("", |vrid| &vrid.value);
                    let interface = interface.as_ref().map_or("", |interface| &interface.value);
                    format!("vrid {vrid} on {interface}")
                });
                self.report.entry(entry.clone());
                if let (Some(variables), Some(interface)) = (&mut self.variables, &interface) {
                    variables.interface = Some(interface.value.clone());
                }
                let draft = self.router(&table, interface, vrid.clone());
                drafts.push(Draft { entry, ..draft }.placed());
            }
        }
        self.report.entry(None);
        self.variables = None;
    }

    /// The VRIDs of an entry: a number, or a string with numbers and ranges. One that is missing or no number is
    /// for the validation to judge.
    fn vrids(&mut self, table: &Table<'_, '_>) -> Vec<Option<Located<String>>> {
        match self.get(table, "vrid") {
            Some((DeValue::String(text), at)) => match template::numbers(text, 1..=255) {
                Ok(numbers) => {
                    let located = |vrid: &u32| Some(Located::new(vrid.to_string(), at));
                    numbers.iter().map(located).collect()
                }
                Err(problem) => {
                    let hint = "write vrid = 7, or vrid = \"1-9,20\" for many routers";
                    self.report.error(at, format!("vrid: {problem}"), hint);
                    Vec::new()
                }
            },
            _ => vec![self.number(table, "vrid")],
        }
    }

    /// The interfaces of an entry, with their `{index}`: a name, `eth{0-3}`, or a list of names.
    fn interfaces(&mut self, table: &Table<'_, '_>) -> Vec<(Option<Located<String>>, u32)> {
        let (names, at) = match self.get(table, "interface") {
            Some((DeValue::Array(names), at)) => (names, at),
            Some((DeValue::String(pattern), at)) => match template::interfaces(pattern) {
                Ok(names) => {
                    let located = |(name, index)| (Some(Located::new(name, at)), index);
                    return names.into_iter().map(located).collect();
                }
                Err(problem) => {
                    self.report.error(at, format!("interface: {problem}"), "write eth{0-3}");
                    return Vec::new();
                }
            },
            _ => return vec![(self.string(table, "interface"), 0)],
        };
        if names.is_empty() {
            self.report.error(at, "the list of interfaces is empty", "");
        }
        let names = names.iter().zip(0..).filter_map(|(name, index)| {
            let at = self.position(&name.span());
            if let Some(name) = name.get_ref().as_str() {
                return Some((Some(Located::new(name.to_owned(), at)), index));
            }
            self.wrong_type(at, "an entry of interface", "a string", name.get_ref());
            None
        });
        names.collect()
    }

    fn router(
        &mut self,
        table: &Table<'_, '_>,
        interface: Option<Located<String>>,
        vrid: Option<Located<String>>,
    ) -> Draft {
        let name = self.string(table, "name").unwrap_or_else(|| {
            self.report.error(table.at, "a router has no name", "add name = \"...\"");
            Located::new(String::new(), table.at)
        });
        let (source, unicast) = self.transport(table);
        let (garp, PeriodsDraft { garp_extra_if, garp_extra_if_all, garp_own_address }) =
            self.garp(table);
        let (virtual_mac, own_virtual_mac) = self.virtual_mac(table);
        let netns = self.string(table, "netns").and_then(|name| self.netns(&name));
        let netns = netns.map(|netns| netns.value);
        let addresses = self.addresses(table, "addresses");
        let (password, ah) = self.authentication(table).unwrap_or_default();
        // An empty list is meant; what cannot be read has its error already.
        let no_addresses = addresses.is_empty() && self.get(table, "addresses").is_some();
        Draft {
            at: table.at,
            entry: None,
            name: name.value,
            netns,
            interface,
            vrid,
            version: self.number(table, "version"),
            priority: self.number(table, "priority"),
            interval: self.duration(table, "interval"),
            password,
            ah,
            source,
            multicast_group: self.address_value(table, "multicast_group"),
            unicast,
            preempt: self.boolean(table, "preempt"),
            preempt_delay: self.duration(table, "preempt_delay"),
            max_learned_interval: self.duration(table, "max_learned_interval"),
            addresses,
            excluded: self.addresses(table, "excluded"),
            no_addresses,
            need_addresses: true,
            garp,
            garp_extra_if,
            garp_extra_if_all,
            garp_own_address,
            down_adverts: self.number(table, "down_adverts"),
            lower_prio_advert: self.boolean(table, "lower_prio_advert").is_none_or(|on| on.value),
            owner_ignores_adverts: self.boolean(table, "owner_ignores_adverts"),
            link_local_first: self.boolean(table, "link_local_first"),
            fence: self.word(table, "fence", Fence::NAMES).unwrap_or_default(),
            virtual_mac,
            own_virtual_mac,
            virtual_mac_adverts: self.boolean(table, "virtual_mac_adverts"),
            virtual_mac_device: None,
            hmac: self.hmac(table),
            accept: self.boolean(table, "accept").is_none_or(|on| on.value),
            track_source: self.boolean(table, "track_source"),
            higher_prio_advert: self.boolean(table, "higher_prio_advert").map(|on| on.value),
            v3_checksum: self.word(table, "v3_checksum", "rfc5798 or rfc9568").unwrap_or_default(),
            track: self.track(table),
            group: self.string(table, "group"),
            dont_track_primary: self.flag(table, "dont_track_primary"),
            notify: self.notify(table),
            routing: self.routing(table),
        }
    }

    /// Whether a router has a virtual MAC address, and which, if that is not that of its VRID.
    fn virtual_mac(
        &mut self,
        table: &Table<'_, '_>,
    ) -> (Option<Located<bool>>, Option<Located<String>>) {
        const KEY: &str = "virtual_mac";
        match self.get(table, KEY) {
            Some((value, _)) if value.as_str().is_some() => {
                let own = self.string(table, KEY);
                (own.as_ref().map(|own| Located::new(true, own.at)), own)
            }
            Some(_) | None => (self.boolean(table, KEY), None),
        }
    }

    /// What a string stands for. What is wrong with one that stands for nothing comes with a hint.
    fn read<T, H: ToString>(
        &mut self,
        table: &Table<'_, '_>,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, (String, H)>,
    ) -> Option<T> {
        let Located { value, at } = self.string(table, key)?;
        let wrong = |(message, hint): (_, H)| self.report.error(at, message, &hint.to_string());
        read(&value).map_err(wrong).ok()
    }

    /// What one of some words stands for.
    fn word<T: FromStr>(
        &mut self,
        table: &Table<'_, '_>,
        key: &'static str,
        known: &str,
    ) -> Option<T> {
        let read =
            |text: &str| text.parse().map_err(|_| (format!("unknown {key} `{text}`"), known));
        self.read(table, key, read)
    }

    /// The password, and where it says that it is for an authentication header.
    #[allow(clippy::type_complexity)]
    fn authentication(
        &mut self,
        router: &Table<'_, '_>,
    ) -> Option<(Option<Located<Vec<u8>>>, Option<Position>)> {
        let table = self.sub_table(router, "authentication", AUTHENTICATION_KEYS)?;
        let kind = self.string(&table, "type");
        let ah = kind.as_ref().filter(|kind| kind.value == "ah").map(|kind| kind.at);
        if let Some(kind) = kind.filter(|kind| !matches!(kind.value.as_str(), "pass" | "ah")) {
            let message = format!("unknown authentication type `{}`", kind.value);
            self.report.error(kind.at, message, "pass or ah");
        }
        let password = self.string(&table, "password");
        let password = password.map(|text| Located::new(text.value.into_bytes(), text.at));
        let hex = self.string(&table, "password_hex").and_then(|text| {
            let bytes = text::hex(&text.value);
            if bytes.is_none() {
                let message = "password_hex must be pairs of hexadecimal digits";
                self.report.error(text.at, message, "like \"70617373\"");
            }
            Some(Located::new(bytes?, text.at))
        });
        if let (Some(_), Some(hex)) = (&password, &hex) {
            self.report.error(hex.at, "there is a password already", "remove one of them");
        }
        if table.lookup("password").is_none() && table.lookup("password_hex").is_none() {
            self.report.error(table.at, "authentication has no password", "add password = \"...\"");
        }
        Some((password.or(hex), ah))
    }

    /// Source address and, for unicast, peers.
    #[allow(clippy::type_complexity)]
    fn transport(
        &mut self,
        router: &Table<'_, '_>,
    ) -> (Option<Located<IpAddr>>, Option<Located<UnicastDraft>>) {
        let source = self.address_value(router, "source");
        let Some(table) = self.sub_table(router, "unicast", UNICAST_KEYS) else {
            return (source, None);
        };
        if let Some(source) = source {
            self.report
                .error(source.at, "source belongs into unicast here", "unicast = { source = ... }");
        }
        let source = self.address_value(&table, "source");
        let mut unicast = UnicastDraft {
            peers: Vec::new(),
            ttl: self.number(&table, "ttl"),
            check_source: self.flag(&table, "check_source"),
        };
        let Some((peers, at)) = self.array(&table, "peers") else {
            return (source, Some(Located::new(unicast, table.at)));
        };
        unicast.peers = peers.iter().filter_map(|peer| self.unicast_peer(peer)).collect();
        (source, Some(Located::new(unicast, at)))
    }

    /// `"10.0.0.2"` or `{ address = "10.0.0.2", min_ttl = 250, ... }`.
    fn unicast_peer(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Located<PeerDraft>> {
        if let DeValue::Table(_) = value.get_ref() {
            let table = self.nested(value, "a peer", PEER_KEYS)?;
            let Some(Located { value: address, at }) = self.address_value(&table, "address") else {
                if self.get(&table, "address").is_none() {
                    self.report.error(table.at, "a peer has no address", "add address = \"...\"");
                }
                return None;
            };
            let min_ttl = self.number(&table, "min_ttl");
            let max_ttl = self.number(&table, "max_ttl");
            return Some(Located::new(PeerDraft { address, min_ttl, max_ttl }, at));
        }
        let at = self.position(&value.span());
        let Located { value, at } = self.ip_value(value.get_ref(), "an entry of peers", at)?;
        Some(Located::new(value.into(), at))
    }

    /// The repetition, and that on other interfaces.
    fn garp(&mut self, router: &Table<'_, '_>) -> (GarpPolicy, PeriodsDraft) {
        let mut garp = GarpPolicy::DEFAULT;
        let Some(table) = self.sub_table(router, "garp", GARP_KEYS) else {
            return (garp, PeriodsDraft::default());
        };
        set(&mut garp.master_repeat, self.repeat(&table, "repeat", 1));
        set(&mut garp.master_delay, self.span(&table, "delay"));
        set(&mut garp.refresh, self.span(&table, "refresh"));
        set(&mut garp.refresh_repeat, self.repeat(&table, "refresh_repeat", 1));
        set(&mut garp.lower_prio_repeat, self.repeat(&table, "lower_prio_repeat", 0));
        set(&mut garp.lower_prio_delay, self.span(&table, "lower_prio_delay"));
        let periods = PeriodsDraft {
            garp_extra_if: self.duration(&table, "other_interfaces"),
            garp_extra_if_all: self.boolean(&table, "other_interfaces_all").map(|on| on.value),
            garp_own_address: self.duration(&table, "own_address"),
        };
        (garp, periods)
    }

    fn addresses(&mut self, router: &Table<'_, '_>, key: &'static str) -> Vec<Located<Address>> {
        let Some((values, _)) = self.array(router, key) else { return Vec::new() };
        values.iter().filter_map(|value| self.virtual_address(value)).collect()
    }

    /// `"10.0.0.1/24"` or `{ address = "10.0.0.1/24", dev = "eth1", ... }`.
    fn virtual_address(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Located<Address>> {
        let at = self.position(&value.span());
        if let Some(written) = value.get_ref().as_str() {
            let written = self.expanded(written, at)?;
            return self.cidr(&written, at);
        }
        let table = self.nested(value, "an address", ADDRESS_KEYS)?;
        let Some(written) = self.string(&table, "address") else {
            self.report.error(at, "an address table has no address", "add address = \"...\"");
            return None;
        };
        let mut located = self.cidr(&written.value, written.at)?;
        let address = &mut located.value;
        address.dev = self.text(&table, "dev");
        address.label = self.text(&table, "label");
        address.no_track = self.flag(&table, "no_track");
        let group = self.string(&table, routes::TRACK_GROUP);
        address.track_group = group.as_ref().map(|group| group.value.clone());
        self.group_uses.extend(group);
        address.virtual_mac = self.flag(&table, "virtual_mac");
        let scope = self.read(&table, "scope", |text| {
            let hint = "global, site, link, host, nowhere or a number, in quotes";
            text::scope(text).ok_or_else(|| (format!("unknown scope `{text}`"), hint))
        });
        set(&mut address.scope, scope);
        if let (Some(written), IpAddr::V4(v4)) = (self.string(&table, "broadcast"), address.address)
        {
            match text::broadcast(&written.value, v4, address.prefix) {
                Some(broadcast) => address.broadcast = Some(broadcast.into()),
                None => {
                    let message = format!("`{}` is no broadcast address here", written.value);
                    let hint = "an address, or + or - with a prefix of at most 30";
                    self.report.error(written.at, message, hint);
                }
            }
        }
        for (word, flag) in AddressFlags::NAMED {
            address.flags.set(flag, self.flag(&table, word));
        }
        if let Some(dad) = self.boolean(&table, "dad") {
            address.flags.set(AddressFlags::NODAD, !dad.value && address.address.is_ipv6());
        }
        self.preferred_lft(&table, address);
        self.peer(&table, &written, address);
        Some(located)
    }

    fn preferred_lft(&mut self, table: &Table<'_, '_>, address: &mut Address) {
        let Some((value, at)) = self.get(table, "preferred_lft") else { return };
        let text = value.as_str();
        let seconds = text.and_then(duration).filter(|span| span.0 % 1_000_000_000 == 0);
        let seconds = seconds.and_then(|span| u32::try_from(span.0 / 1_000_000_000).ok());
        if address.address.is_ipv4() {
            self.report.error(at, "preferred_lft is for IPv6 addresses", "remove it");
        } else if text == Some("forever") {
            address.preferred_lft = None;
        } else if let Some(seconds) = seconds {
            address.preferred_lft = Some(seconds);
        } else {
            let message = "preferred_lft must be a time in whole seconds, in quotes";
            self.report.error(at, message, "like \"0s\" or \"forever\"");
        }
    }

    /// The other end of a point-to-point address, with its prefix length.
    fn peer(&mut self, table: &Table<'_, '_>, own: &Located<String>, address: &mut Address) {
        let Some(written) = self.string(table, "peer") else { return };
        match text::cidr(&written.value) {
            Some((peer, prefix @ (None | Some(Ok(_)))))
                if peer.is_ipv4() == address.address.is_ipv4() =>
            {
                if own.value.contains('/') {
                    let message = "with a peer, the prefix length stands behind the peer";
                    self.report.error(own.at, message, "remove it here");
                }
                address.peer = Some(peer);
                address.prefix = match prefix {
                    Some(Ok(prefix)) => prefix,
                    None | Some(Err(_)) => text::full_prefix(peer),
                };
            }
            Some(_) | None => {
                let message = format!("`{}` cannot be the peer of the address", written.value);
                self.report.error(written.at, message, "an address of the same family");
            }
        }
    }

    fn cidr(&mut self, written: &str, at: Position) -> Option<Located<Address>> {
        let cidr = text::cidr(written);
        let ip = self.ip(cidr.map(|(ip, _)| ip), "an address", at)?.value;
        let prefix = match cidr.and_then(|(_, prefix)| prefix) {
            None => text::full_prefix(ip),
            Some(Ok(prefix)) => prefix,
            Some(Err(bad)) => {
                self.report.error(at, format!("`{bad}` is no prefix length"), "write it like /24");
                return None;
            }
        };
        Some(Located::new(Address::new(ip, prefix), at))
    }

    fn ip_value(
        &mut self,
        value: &DeValue<'_>,
        what: &str,
        at: Position,
    ) -> Option<Located<IpAddr>> {
        let text = self.expanded(value.as_str().unwrap_or_default(), at)?;
        self.ip(text.parse().ok(), what, at)
    }

    fn ip(&mut self, address: Option<IpAddr>, what: &str, at: Position) -> Option<Located<IpAddr>> {
        if address.is_none() {
            let message = format!("{what} must be an IP address in quotes");
            self.report.error(at, message, "like \"192.0.2.1\" or \"2001:db8::1\"");
        }
        address.map(|address| Located::new(address, at))
    }

    // The values of a table's keys. Each is `None` if the key is not there, or, with an error, if its value has
    // the wrong type.

    fn get<'t, 'i>(
        &self,
        table: &Table<'t, 'i>,
        key: &'static str,
    ) -> Option<(&'t DeValue<'i>, Position)> {
        let value = table.lookup(key)?;
        Some((value.get_ref(), self.position(&value.span())))
    }

    fn wrong_type(&mut self, at: Position, key: &str, wanted: &str, value: &DeValue<'_>) {
        let message = format!("{key} must be {wanted}, not {}", article(value.type_str()));
        self.report.error(at, message, "");
    }

    fn string(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Located<String>> {
        let (value, at) = self.get(table, key)?;
        if let Some(text) = value.as_str() {
            return Some(Located::new(self.expanded(text, at)?, at));
        }
        self.wrong_type(at, key, "a string", value);
        None
    }

    fn text(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<String> {
        self.string(table, key).map(|text| text.value)
    }

    /// Whether something is switched on.
    fn flag(&mut self, table: &Table<'_, '_>, key: &'static str) -> bool {
        self.boolean(table, key).is_some_and(|on| on.value)
    }

    fn boolean(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Located<bool>> {
        let (value, at) = self.get(table, key)?;
        if let Some(on) = value.as_bool() {
            return Some(Located::new(on, at));
        }
        self.wrong_type(at, key, "true or false", value);
        None
    }

    /// A whole number in decimal text, whatever base it is written in.
    fn number(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Located<String>> {
        let (value, at) = self.get(table, key)?;
        let Some(number) = value.as_integer() else {
            self.wrong_type(at, key, "a whole number", value);
            return None;
        };
        let text = match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.to_string(),
            Err(_) => number.as_str().to_owned(),
        };
        Some(Located::new(text, at))
    }

    fn repeat(&mut self, table: &Table<'_, '_>, key: &'static str, min: u32) -> Option<u32> {
        let number = self.number(table, key)?;
        let repeat = number.value.parse().ok().filter(|repeat| *repeat >= min);
        if repeat.is_none() {
            let message = format!("{key} must be at least {min}, not {}", number.value);
            self.report.error(number.at, message, "");
        }
        repeat
    }

    /// `"1s"`, `"2.5s"`, `"100ms"`.
    fn duration(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Located<Nanos>> {
        let (value, at) = self.get(table, key)?;
        let span = value.as_str().and_then(duration);
        if span.is_none() {
            let message = format!("{key} must be a time in quotes");
            self.report.error(at, message, "like \"1s\", \"2.5s\" or \"100ms\"");
        }
        span.map(|span| Located::new(span, at))
    }

    fn span(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Nanos> {
        self.duration(table, key).map(|span| span.value)
    }

    fn address_value(
        &mut self,
        table: &Table<'_, '_>,
        key: &'static str,
    ) -> Option<Located<IpAddr>> {
        let (value, at) = self.get(table, key)?;
        self.ip_value(value, key, at)
    }

    fn array<'t, 'i>(
        &mut self,
        table: &Table<'t, 'i>,
        key: &'static str,
    ) -> Option<(&'t [Spanned<DeValue<'i>>], Position)> {
        let (value, at) = self.get(table, key)?;
        if let DeValue::Array(array) = value {
            return Some((array, at));
        }
        self.wrong_type(at, key, "a list", value);
        None
    }

    /// What stands below each `[[KIND]]`.
    fn tables<'t, 'i>(
        &mut self,
        root: &Table<'t, 'i>,
        kind: &'static str,
    ) -> Option<&'t [Spanned<DeValue<'i>>]> {
        let (value, at) = self.get(root, kind)?;
        if let DeValue::Array(tables) = value {
            return Some(tables);
        }
        let message = format!("{kind} is not a list of tables");
        self.report.error(at, message, &format!("write [[{kind}]]"));
        None
    }

    fn sub_table<'t, 'i>(
        &mut self,
        table: &Table<'t, 'i>,
        key: &'static str,
        keys: &'static [&'static str],
    ) -> Option<Table<'t, 'i>> {
        let value = table.lookup(key)?;
        let mut nested = self.nested(value, key, keys)?;
        // Key by key: a router can have its own source and the peers of all.
        nested.fallback = table.fallback.and_then(|table| table.get(key)?.get_ref().as_table());
        Some(nested)
    }

    /// A string in which variables are replaced; `None`, with an error, if that cannot be done.
    fn expanded(&mut self, text: &str, at: Position) -> Option<String> {
        let Some(variables) = &self.variables else { return Some(text.to_owned()) };
        match template::expand(text, variables) {
            Ok(text) => Some(text),
            Err((message, hint)) => {
                self.report.error(at, message, &hint);
                None
            }
        }
    }

    fn nested<'t, 'i>(
        &mut self,
        value: &'t Spanned<DeValue<'i>>,
        name: &'static str,
        keys: &'static [&'static str],
    ) -> Option<Table<'t, 'i>> {
        let at = self.position(&value.span());
        if let DeValue::Table(table) = value.get_ref() {
            return Some(self.table(table, at, name, keys));
        }
        self.wrong_type(at, name, "a table", value.get_ref());
        None
    }
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

fn duration(text: &str) -> Option<Nanos> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1_000_000),
        None => (text.strip_suffix('s')?, 1_000_000_000),
    };
    let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(unit)? / scale;
    Some(Nanos(whole.checked_add(fraction)?))
}
