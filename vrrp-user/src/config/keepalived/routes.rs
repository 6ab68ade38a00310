//! `virtual_routes`, `virtual_rules`, `static_ipaddress`, `static_routes`, `static_rules` and what belongs to them.

use super::{Entry, Parser};
use crate::config::model::{Address, Fixed, OnLost, Routing};
use crate::config::report::Located;
use crate::config::routes::{self, Context};

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
                self.lines_of(entry, routes::ROUTE, &mut to.context, &mut to.fixed.routes);
            }
            "static_rules" => {
                self.lines_of(entry, routes::RULE, &mut to.context, &mut to.fixed.rules);
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
                self.lines_of(entry, routes::ROUTE, context, &mut to.routing.routes);
            }
            "virtual_rules" => self.lines_of(entry, routes::RULE, context, &mut to.routing.rules),
            "promote_secondaries" => to.routing.promote_secondaries = Some(true),
            "restore_addresses" => to.restore = self.boolean(entry).or(to.restore),
            _ => return false,
        }
        true
    }

    fn static_addresses(&mut self, entry: &Entry, to: &mut Vec<Located<Address>>) {
        self.enter_block(entry);
        while let Some(line) = self.list_entry(entry) {
            to.extend(self.virtual_address(&line));
        }
    }

    /// A block with a route or rule in each line. One that cannot be used is skipped.
    fn lines_of<T>(
        &mut self,
        entry: &Entry,
        reader: routes::Reader<T>,
        context: &mut Context,
        to: &mut Vec<T>,
    ) {
        self.enter_block(entry);
        while let Some(Entry { keyword, parameters }) = self.list_entry(entry) {
            let at = keyword.at;
            let words: Vec<Located<String>> = std::iter::once(keyword).chain(parameters).collect();
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
