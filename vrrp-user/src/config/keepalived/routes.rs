//! `virtual_routes`, `virtual_rules`, `static_ipaddress`, `static_routes`, `static_rules` and what belongs to them.

use super::{Entry, Parser};
use crate::config::draft::TrackGroupDraft;
use crate::config::model::{Address, Fixed, OnLost, Routing};
use crate::config::report::{Located, Position};
use crate::config::routes::{self, Context};

/// Where a block of routes or rules stands.
#[derive(Clone, Copy, Debug)]
enum Scope {
    /// Outside of instances.
    Static,
    /// In one.
    Router,
}

/// Where static addresses go that name no interface.
const DEFAULT_INTERFACE: &str = "eth0";

/// What is read of them while there may be more.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) context: Context,
    fixed: Fixed,
    addresses: Vec<Located<Address>>,
    default_interface: Option<String>,
    restore: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            context: Context::numbering(),
            fixed: Fixed::default(),
            addresses: Vec::new(),
            default_interface: None,
            restore: false,
        }
    }
}

impl Routes {
    /// What there is as long as the daemon runs, and its addresses.
    pub(super) fn finish(mut self) -> (Fixed, Vec<Located<Address>>) {
        let interface = self.default_interface.as_deref().unwrap_or(DEFAULT_INTERFACE);
        for address in &mut self.addresses {
            address.value.dev.get_or_insert_with(|| interface.to_owned());
        }
        (self.fixed, self.addresses)
    }
}

/// What an instance says of it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    routing: Routing,
    restore: Option<bool>,
}

impl Draft {
    /// With what counts where the instance says nothing.
    pub(super) fn finish(mut self, globals: &Routes) -> Routing {
        if self.restore.unwrap_or(globals.restore) {
            self.routing.on_lost = OnLost::Restore;
        }
        self.routing
    }
}

impl Parser<'_> {
    /// Whether it is a keyword of static addresses, routes or rules.
    pub(super) fn fixed_entry(&mut self, entry: &Entry, to: &mut Routes) -> bool {
        match entry.keyword.value.as_str() {
            "static_ipaddress" => self.static_addresses(entry, &mut to.addresses),
            "static_routes" => {
                let to = (&mut to.context, &mut to.fixed.routes);
                self.lines_of(entry, routes::ROUTE, Scope::Static, to);
            }
            "static_rules" => {
                let to = (&mut to.context, &mut to.fixed.rules);
                self.lines_of(entry, routes::RULE, Scope::Static, to);
            }
            _ => return false,
        }
        true
    }

    /// Whether it is a global setting for them.
    pub(super) fn routes_setting(&mut self, entry: &Entry, to: &mut Routes) -> bool {
        match entry.keyword.value.as_str() {
            "default_interface" => {
                let value = self.value(entry).map(|value| value.value);
                to.default_interface = value.or(to.default_interface.take());
            }
            "vrrp_restore_addresses" => to.restore = self.boolean(entry).unwrap_or(to.restore),
            _ => return false,
        }
        true
    }

    /// Whether it is a keyword of an instance.
    pub(super) fn routing_entry(
        &mut self,
        entry: &Entry,
        to: &mut Draft,
        context: &mut Context,
    ) -> bool {
        match entry.keyword.value.as_str() {
            "virtual_routes" => {
                let to = (context, &mut to.routing.routes);
                self.lines_of(entry, routes::ROUTE, Scope::Router, to);
            }
            "virtual_rules" => {
                let to = (context, &mut to.routing.rules);
                self.lines_of(entry, routes::RULE, Scope::Router, to);
            }
            "promote_secondaries" => to.routing.promote_secondaries = Some(true),
            "restore_addresses" => to.restore = self.boolean(entry).or(to.restore),
            _ => return false,
        }
        true
    }

    /// What is said where something that goes with a router names a `track_group`.
    pub(super) fn no_track_group(&mut self, at: Option<Position>) {
        if let Some(at) = at {
            let message = "track_group goes with what is static; it is ignored";
            self.warning(
                at,
                message,
                "a router follows its own addresses, routes and rules anyway",
            );
        }
    }

    /// `track_group NAME { group { ... } }`.
    pub(super) fn track_group(&mut self, entry: &Entry) -> Option<Located<TrackGroupDraft>> {
        let Some(name) = entry.parameters.first() else {
            self.warning(entry.at(), "track_group has no name; it is skipped", "");
            self.skip_block();
            return None;
        };
        let mut group = TrackGroupDraft { name: name.value.clone(), routers: Vec::new() };
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            if inner.keyword.value != "group" {
                self.not_acted_on(&inner, &[], &["group"]);
                continue;
            }
            self.enter_block(&inner);
            while let Some(line) = self.list_entry(&inner) {
                group.routers.push(line.keyword);
                group.routers.extend(line.parameters);
            }
        }
        Some(Located::new(group, entry.at()))
    }

    fn static_addresses(&mut self, entry: &Entry, to: &mut Vec<Located<Address>>) {
        self.enter_block(entry);
        while let Some(line) = self.list_entry(entry) {
            let names = line.parameters.iter().skip_while(|word| word.value != routes::TRACK_GROUP);
            self.group_uses.extend(names.skip(1).take(1).cloned());
            to.extend(self.virtual_address(&line));
        }
    }

    /// A block with a route or rule in each line. One that cannot be used is skipped.
    fn lines_of<T>(
        &mut self,
        entry: &Entry,
        reader: routes::Reader<T>,
        scope: Scope,
        (context, to): (&mut Context, &mut Vec<T>),
    ) {
        self.enter_block(entry);
        while let Some(Entry { keyword, parameters }) = self.list_entry(entry) {
            let at = keyword.at;
            let mut words: Vec<Located<String>> =
                std::iter::once(keyword).chain(parameters).collect();
            match scope {
                Scope::Static => self.group_uses.extend(routes::take_group(&mut words.clone())),
                Scope::Router => {
                    let group = routes::take_group(&mut words);
                    self.no_track_group(group.as_ref().map(|group| group.at));
                }
            }
            let mut remarks = Vec::new();
            match reader(&words, at, context, &mut remarks) {
                Ok(read) => to.push(read),
                Err(remark) => {
                    let message = format!("{}; the line is skipped", remark.message);
                    self.warning(remark.at, message, &remark.hint);
                }
            }
            for remark in remarks {
                self.warning(remark.at, remark.message, &remark.hint);
            }
        }
    }
}
