//! `routes` and `rules` of a router, and `[static]`.

use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, Table};
use crate::config::model::{Address, Fixed, OnLost, Routing};
use crate::config::report::Located;
pub(super) use crate::config::routes::TRACK_GROUP;
use crate::config::routes::{self, Context};

pub(super) const STATIC_KEYS: &[&str] = &["addresses", "routes", "rules"];
/// In the order in which their words are read; the nexthops come last.
pub(super) const ROUTE_KEYS: &[&str] = &[
    "to", "type", "from", "src", "via", "dev", "onlink", "table", "metric", "scope", "tos",
    "protocol", "realms", "mtu", "advmss", "hoplimit", "window", "initcwnd", "initrwnd", "rtt",
    "rttvar", "rto_min", "reordering", "cwnd", "ssthresh", "quickack", "fastopen_no_cookie",
    "features", "congctl", "pref", "expires", "ttl-propagate", "encap", "add", "append",
    "no_track", "track_group", "nexthops",
];
pub(super) const NEXTHOP_KEYS: &[&str] = &["via", "dev", "weight", "onlink", "realms", "encap"];
pub(super) const RULE_KEYS: &[&str] = &[
    "inet6", "not", "from", "to", "table", "preference", "tos", "fwmark", "realms", "iif", "oif",
    "suppress_prefixlength", "suppress_ifgroup", "tunnel-id", "uidrange", "l3mdev", "protocol",
    "ipproto", "sport", "dport", "goto", "type", "no_track", "track_group",
];

type Words = Vec<Located<String>>;

impl Reader<'_> {
    /// What `on_address_lost`, `promote_secondaries`, `routes` and `rules` of a router say.
    pub(super) fn routing(&mut self, router: &Table<'_, '_>) -> Routing {
        let on_lost: Option<OnLost> = self.word(router, "on_address_lost", "yield or restore");
        let promote = self.boolean(router, "promote_secondaries");
        Routing {
            routes: self.routes(router),
            rules: self.rules(router),
            on_lost: on_lost.unwrap_or_default(),
            promote_secondaries: promote.map(|on| on.value),
        }
    }

    /// `[static]`.
    pub(super) fn fixed(&mut self, root: &Table<'_, '_>) -> (Fixed, Vec<Located<Address>>) {
        let Some(table) = self.sub_table(root, "static", STATIC_KEYS) else {
            return (Fixed::default(), Vec::new());
        };
        let addresses = self.addresses(&table, "addresses");
        for address in &addresses {
            if address.value.dev.is_none() {
                let hint = "{ address = ..., dev = ... }";
                self.report.error(address.at, "a static address has no interface", hint);
            }
        }
        let (routes, rules) = (self.routes(&table), self.rules(&table));
        (Fixed { routes, rules, ..Fixed::default() }, addresses)
    }

    fn routes(&mut self, table: &Table<'_, '_>) -> Vec<routes::Route> {
        self.lines_of(table, "routes", "a route", ROUTE_KEYS, routes::ROUTE)
    }

    fn rules(&mut self, table: &Table<'_, '_>) -> Vec<routes::Rule> {
        self.lines_of(table, "rules", "a rule", RULE_KEYS, routes::RULE)
    }

    /// Each entry is a line, `"default via 10.0.0.1"`, or a table with the words of one.
    fn lines_of<T>(
        &mut self,
        table: &Table<'_, '_>,
        key: &'static str,
        name: &'static str,
        keys: &'static [&'static str],
        reader: routes::Reader<T>,
    ) -> Vec<T> {
        let Some((values, _)) = self.array(table, key) else { return Vec::new() };
        let values = values.iter().filter_map(|value| {
            let at = self.position(&value.span());
            let words = match value.get_ref().as_str() {
                // The quote stands before the first word.
                Some(line) => split(&self.expanded(line, at)?, at, 1),
                None => self.words_of(value, name, keys)?,
            };
            self.group_uses.extend(routes::take_group(&mut words.clone()));
            let mut remarks = Vec::new();
            let read = reader(&words, at, &mut Context::default(), &mut remarks);
            for remark in remarks.iter().chain(read.as_ref().err()) {
                self.report.error(remark.at, &*remark.message, &remark.hint);
            }
            read.ok()
        });
        values.collect()
    }

    fn words_of(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        name: &'static str,
        keys: &'static [&'static str],
    ) -> Option<Words> {
        let table = self.nested(value, name, keys)?;
        let mut words = Words::new();
        // A table that has an unknown key, or a value of a wrong type, has its error.
        for key in keys {
            match *key {
                "nexthops" => self.nexthops(&table, &mut words),
                // It stands between the destination and the word before.
                "type" if name == "a route" => {}
                "to" if name == "a route" => {
                    self.push(&table, "type", &mut words);
                    if let Some(to) = self.string(&table, "to") {
                        words.extend(split(&to.value, to.at, 0));
                    }
                }
                "type" => {
                    if let Some(kind) = self.string(&table, "type") {
                        words.extend(split(&kind.value, kind.at, 0));
                    }
                }
                key => self.push(&table, key, &mut words),
            }
        }
        Some(words)
    }

    fn nexthops(&mut self, table: &Table<'_, '_>, words: &mut Words) {
        let Some((hops, _)) = self.array(table, "nexthops") else { return };
        for hop in hops {
            let Some(hop) = self.nested(hop, "a nexthop", NEXTHOP_KEYS) else { continue };
            words.push(Located::new("nexthop".to_owned(), hop.at));
            for key in NEXTHOP_KEYS {
                self.push(&hop, key, words);
            }
        }
    }

    /// Adds a key and its value; the key alone if that is `true`.
    fn push(&mut self, table: &Table<'_, '_>, key: &'static str, words: &mut Words) {
        let Some((value, at)) = self.get(table, key) else { return };
        let keyword = Located::new(key.to_owned(), at);
        if let Some(on) = value.as_bool() {
            words.extend(on.then_some(keyword));
        } else if value.as_integer().is_some() {
            if let Some(number) = self.number(table, key) {
                words.extend([keyword, number]);
            }
        } else if let Some(text) = self.string(table, key) {
            if key != "type" {
                words.push(keyword);
            }
            words.extend(split(&text.value, at, 1));
        }
    }
}

/// The words of a text that begins `offset` characters behind `at`.
fn split(text: &str, at: crate::config::report::Position, offset: usize) -> Words {
    let mut words = Words::new();
    let mut column = offset;
    for (index, word) in text.split(' ').enumerate() {
        column += usize::from(index > 0);
        if !word.trim().is_empty() {
            words.push(Located::new(word.trim().to_owned(), at.advance(column)));
        }
        column += word.chars().count();
    }
    words
}
