//! `vrrp_instance`: its keywords, its addresses, and what keepalived makes of their combination.

use std::net::IpAddr;

use super::delays::ExtraIf;
use super::{Entry, Globals, Parser, keywords, routes, set};
use crate::config::draft::{Draft, PeerDraft, TrackDraft, UnicastDraft};
use crate::config::model::{Address, V3Checksum};
use crate::config::notify::Notify;
use crate::config::report::{Located, Position, Report};
use crate::config::routes::Context;
use crate::config::source::Grown;
use crate::engine::time::Nanos;
use crate::wire::family::Family;

/// Longest interface name, in bytes (`IFNAMSIZ`, linux/if.h, without the final NUL).
const MAX_INTERFACE_NAME: usize = 15;

/// The keywords that are acted on, for suggestions.
pub(super) const KEYWORDS: &[&str] = &[
    "state", "interface", "virtual_router_id", "priority", "advert_int", "version",
    "authentication", "virtual_ipaddress", "virtual_ipaddress_excluded", "no_virtual_ipaddress",
    "preempt", "nopreempt", "preempt_delay", "mcast_src_ip", "unicast_src_ip", "unicast_peer",
    "unicast_ttl", "track_src_ip", "owner_ignore_adverts", "check_unicast_src",
    "unicast_fault_no_peer", "garp_master_delay", "garp_master_repeat", "garp_master_refresh",
    "garp_master_refresh_repeat", "garp_lower_prio_delay", "garp_lower_prio_repeat",
    "lower_prio_no_advert", "down_timer_adverts", "higher_prio_send_advert", "v3_checksum_as_v2",
    "strict_mode", "accept", "native_ipv6", "mcast_dst_ip", "notify", "notify_master",
    "notify_backup", "notify_fault", "notify_stop", "notify_deleted", "notify_master_rx_lower_pri",
    "notify_priority_changes", "virtual_routes", "virtual_rules", "promote_secondaries",
    "restore_addresses", "track_interface", "track_script", "track_file", "track_process",
    "dont_track_primary", "garp_extra_if", "vmac_garp_intvl",
];

/// An instance as written.
#[derive(Debug)]
pub(super) struct Instance {
    at: Position,
    name: String,
    /// That of the first address in it.
    family: Option<Family>,
    master: Option<Position>,
    interface: Option<Located<String>>,
    vrid: Option<Located<String>>,
    version: Option<Located<String>>,
    priority: Option<Located<String>>,
    interval: Option<Located<Nanos>>,
    /// The first `authentication` block, its `auth_type` and `auth_pass`: several blocks are as good as one.
    auth: Option<Position>,
    auth_type: Option<Located<String>>,
    auth_pass: Option<Located<String>>,
    authenticated: Option<Position>,
    password: Option<Located<String>>,
    source: Option<Located<IpAddr>>,
    group: Option<Located<IpAddr>>,
    /// The first unicast keyword.
    unicast: Option<Position>,
    peers: Vec<Located<PeerDraft>>,
    ttl: Option<Located<String>>,
    check_source: bool,
    track_source: Option<Located<bool>>,
    owner_ignores_adverts: Option<Located<bool>>,
    /// `unicast_fault_no_peer`: without peers the router must not multicast.
    never_multicast: bool,
    nopreempt: Option<Position>,
    preempt_delay: Option<Located<Nanos>>,
    addresses: Vec<Located<Address>>,
    excluded: Vec<Located<Address>>,
    no_addresses: bool,
    master_repeat: Option<u32>,
    master_delay: Option<Nanos>,
    refresh: Option<Nanos>,
    refresh_repeat: Option<u32>,
    lower_prio_repeat: Option<u32>,
    lower_prio_delay: Option<Nanos>,
    extra_if: ExtraIf,
    lower_prio_no_advert: Option<bool>,
    down_adverts: Option<Located<String>>,
    higher_prio_send_advert: Option<bool>,
    v3_checksum: Option<V3Checksum>,
    strict: Option<bool>,
    notify: Notify,
    extras: routes::Draft,
    track: Vec<Located<TrackDraft>>,
    dont_track_primary: bool,
}

impl Instance {
    fn new(name: String, at: Position) -> Self {
        Self {
            at,
            name,
            family: None,
            master: None,
            interface: None,
            vrid: None,
            version: None,
            priority: None,
            interval: None,
            auth: None,
            auth_type: None,
            auth_pass: None,
            authenticated: None,
            password: None,
            source: None,
            group: None,
            unicast: None,
            peers: Vec::new(),
            ttl: None,
            check_source: false,
            track_source: None,
            owner_ignores_adverts: None,
            never_multicast: false,
            nopreempt: None,
            preempt_delay: None,
            addresses: Vec::new(),
            excluded: Vec::new(),
            no_addresses: false,
            master_repeat: None,
            master_delay: None,
            refresh: None,
            refresh_repeat: None,
            lower_prio_repeat: None,
            lower_prio_delay: None,
            extra_if: ExtraIf::default(),
            lower_prio_no_advert: None,
            down_adverts: None,
            higher_prio_send_advert: None,
            v3_checksum: None,
            strict: None,
            notify: Notify::default(),
            extras: routes::Draft::default(),
            track: Vec::new(),
            dont_track_primary: false,
        }
    }

    /// Whether an address is of the instance's family, which the first address decides.
    fn admits(&mut self, address: IpAddr) -> bool {
        *self.family.get_or_insert(Family::of(address)) == Family::of(address)
    }

    /// Completes the instance as keepalived does once it has read everything.
    pub(super) fn finish(mut self, globals: &Globals, report: &mut Report) -> Draft {
        if self.family == Some(Family::V6) && self.version.is_none() {
            // Whatever vrrp_version says.
            self.version = Some(Located::new("3".to_owned(), self.at));
        }
        let strict = self.strict.unwrap_or(globals.strict);
        self.finish_state(strict, report);
        if let (true, Some(at)) = (strict, self.authenticated.take()) {
            report.warning(at, "strict mode has no authentication; it is ignored", "");
            self.password = None;
        }
        let unicast = self.finish_unicast(strict, globals, report);
        let owner = self.priority.as_ref().is_some_and(|priority| priority.value.trim() == "255");
        if owner && (strict || self.owner_ignores_adverts.is_none()) {
            let ignores = strict || globals.owner_ignores_adverts;
            self.owner_ignores_adverts = Some(Located::new(ignores, self.at));
        }
        let multicast_group = self.group.or_else(|| match (&unicast, self.family) {
            (Some(_), _) => None,
            (None, Some(Family::V6)) => globals.group6.clone(),
            (None, Some(Family::V4) | None) => globals.group4.clone(),
        });

        let mut garp = globals.garp;
        // The global values of the lower-priority ones come from the other global ones, not from ours.
        garp.lower_prio_repeat = globals.lower_prio_repeat.unwrap_or(garp.master_repeat);
        garp.lower_prio_delay = globals.lower_prio_delay.unwrap_or(garp.master_delay);
        set(&mut garp.master_repeat, self.master_repeat);
        set(&mut garp.master_delay, self.master_delay);
        set(&mut garp.refresh, self.refresh);
        set(&mut garp.refresh_repeat, self.refresh_repeat);
        set(&mut garp.lower_prio_repeat, self.lower_prio_repeat);
        set(&mut garp.lower_prio_delay, self.lower_prio_delay);
        if garp.refresh_repeat == 0 && garp.refresh > Nanos::ZERO {
            let message =
                "vrrp_min_garp leaves nothing to repeat: there is no refresh, as in keepalived";
            let hint = "garp_master_refresh_repeat 1";
            report.warning(self.at, message, hint);
            garp.refresh = Nanos::ZERO;
        }
        garp.refresh_repeat = garp.refresh_repeat.max(1);
        let garp_elsewhere = self.extra_if.finish(&globals.extra_if, report);
        let mut no_advert = self.lower_prio_no_advert.unwrap_or(globals.lower_prio_no_advert);
        let mut one_more = self.higher_prio_send_advert.or(globals.higher_prio_send_advert);
        if strict {
            garp.lower_prio_repeat = 0;
            garp.lower_prio_delay = Nanos::ZERO;
            (no_advert, one_more) = (true, Some(false));
        }
        Draft {
            at: self.at,
            entry: None,
            name: self.name,
            interface: self.interface,
            vrid: self.vrid,
            version: self.version.or_else(|| globals.version.clone()),
            priority: self.priority,
            interval: self.interval,
            password: self.password.map(|text| Located::new(text.value.into_bytes(), text.at)),
            source: self.source,
            multicast_group,
            unicast,
            preempt: self.nopreempt.map(|at| Located::new(false, at)),
            preempt_delay: self.preempt_delay,
            max_learned_interval: None,
            addresses: self.addresses,
            excluded: self.excluded,
            no_addresses: self.no_addresses && !strict,
            need_addresses: strict,
            garp,
            garp_elsewhere,
            lower_prio_advert: !no_advert,
            down_adverts: self.down_adverts.or_else(|| globals.down_adverts.clone()),
            higher_prio_advert: one_more,
            owner_ignores_adverts: self.owner_ignores_adverts,
            link_local_first: (strict && self.family == Some(Family::V6))
                .then(|| Located::new(true, self.at)),
            track_source: self.track_source,
            v3_checksum: self.v3_checksum.unwrap_or(globals.v3_checksum),
            track: self.track,
            group: None,
            dont_track_primary: self.dont_track_primary,
            notify: self.notify,
            extras: self.extras.finish(&globals.routes),
        }
    }

    /// What follows from `state`, which otherwise says nothing: an election decides.
    fn finish_state(&mut self, strict: bool, report: &mut Report) {
        if let (Some(at), None) = (self.master, &self.priority) {
            self.priority = Some(Located::new("255".to_owned(), at));
        }
        let owner = self.priority.as_ref().is_some_and(|priority| priority.value.trim() == "255");
        if let (Some(at), true, false) = (self.master, strict, owner) {
            let message = "state MASTER needs priority 255 in strict mode; the state is BACKUP";
            report.warning(at, message, "");
            self.master = None;
        }
        if self.master.is_some() {
            if let Some(at) = self.nopreempt.take() {
                let message = "nopreempt does not go with state MASTER; it is ignored";
                report.warning(at, message, "use state BACKUP on both routers");
            }
            let delayed = self.preempt_delay.take_if(|delay| delay.value > Nanos::ZERO);
            if let Some(delay) = delayed {
                let message = "preempt_delay does not go with state MASTER; it is ignored";
                report.warning(delay.at, message, "use state BACKUP on both routers");
            }
        }
        if let (true, Some(delay)) = (strict, &self.preempt_delay) {
            report.warning(
                delay.at,
                "preempt_delay does not go with strict mode; it is ignored",
                "",
            );
            self.preempt_delay = None;
        }
    }

    fn finish_unicast(
        &mut self,
        strict: bool,
        globals: &Globals,
        report: &mut Report,
    ) -> Option<Located<UnicastDraft>> {
        let ttl = self.ttl.take();
        if let (Some(ttl), true) = (&ttl, self.peers.is_empty()) {
            let message = "unicast_ttl without unicast_peer; it is ignored";
            report.warning(ttl.at, message, "multicast is always sent with TTL 255");
        }
        let at = self.unicast?;
        if self.peers.is_empty() && self.never_multicast {
            // keepalived would keep it in FAULT for ever.
            let message = "there is no unicast_peer, and unicast_fault_no_peer forbids multicast";
            report.error(at, message, "list the other routers in unicast_peer");
            return None;
        }
        if self.peers.is_empty() {
            let message = "there is a unicast keyword but no unicast_peer; the router multicasts";
            report.warning(at, message, "list the other routers in unicast_peer");
            return None;
        }
        if strict {
            let hint = "remove vrrp_strict, or the unicast keywords";
            report.error(at, "strict mode has no unicast", hint);
        }
        let check_source = self.check_source || globals.check_source;
        let peers = std::mem::take(&mut self.peers);
        Some(Located::new(UnicastDraft { peers, ttl, check_source }, at))
    }
}

impl Parser<'_> {
    /// Reads a `vrrp_instance`. `None` if it has no name.
    pub(super) fn instance(&mut self, entry: &Entry, context: &mut Context) -> Option<Instance> {
        let Some(name) = entry.parameters.first() else {
            self.warning(entry.at(), "vrrp_instance has no name; it is skipped", "");
            self.skip_block();
            return None;
        };
        if let Some(extra) = entry.parameters.get(1) {
            let message = format!("`{}` is ignored: vrrp_instance takes one name", extra.value);
            self.warning(extra.at, message, "");
        }
        let mut instance = Instance::new(name.value.clone(), entry.at());
        self.lines.grow(entry.at(), Grown { routers: 1, ..Grown::default() });
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            self.instance_entry(&inner, &mut instance, context);
        }
        self.authenticate(&mut instance);
        Some(instance)
    }

    fn instance_entry(&mut self, entry: &Entry, to: &mut Instance, context: &mut Context) {
        match entry.keyword.value.as_str() {
            "state" => self.state(entry, to),
            "interface" => self.interface(entry, to),
            "virtual_router_id" => to.vrid = self.value(entry).or(to.vrid.take()),
            "priority" => to.priority = self.value(entry).or(to.priority.take()),
            "version" => self.instance_version(entry, to),
            "advert_int" => to.interval = self.timer(entry).or(to.interval.take()),
            "authentication" => self.authentication(entry, to),
            "virtual_ipaddress" => self.addresses(entry, to, false),
            "virtual_ipaddress_excluded" => self.addresses(entry, to, true),
            "no_virtual_ipaddress" => to.no_addresses = true,
            "preempt" => to.nopreempt = None,
            "nopreempt" => to.nopreempt = Some(entry.at()),
            "preempt_delay" => to.preempt_delay = self.timer(entry).or(to.preempt_delay.take()),
            "mcast_src_ip" => self.source(entry, to),
            "unicast_src_ip" => {
                to.unicast.get_or_insert(entry.at());
                self.source(entry, to);
            }
            "unicast_peer" => self.peers(entry, to),
            "unicast_ttl" => to.ttl = self.value(entry).or(to.ttl.take()),
            "track_src_ip" => to.track_source = Some(Located::new(true, entry.at())),
            "owner_ignore_adverts" => {
                let ignores = self.boolean(entry).map(|on| Located::new(on, entry.at()));
                to.owner_ignores_adverts = ignores.or(to.owner_ignores_adverts.take());
            }
            "check_unicast_src" => {
                to.unicast.get_or_insert(entry.at());
                to.check_source = true;
            }
            "unicast_fault_no_peer" => {
                to.unicast.get_or_insert(entry.at());
                to.never_multicast = true;
            }
            "garp_master_delay" => to.master_delay = self.delay(entry).or(to.master_delay),
            "garp_master_repeat" => to.master_repeat = self.rounds(entry).or(to.master_repeat),
            "garp_master_refresh" => to.refresh = self.seconds(entry).or(to.refresh),
            "garp_master_refresh_repeat" => {
                to.refresh_repeat = self.rounds(entry).or(to.refresh_repeat);
            }
            "garp_lower_prio_delay" => {
                to.lower_prio_delay = self.delay(entry).or(to.lower_prio_delay);
            }
            "garp_lower_prio_repeat" => {
                to.lower_prio_repeat = self.number(entry).or(to.lower_prio_repeat);
            }
            "garp_extra_if" | "vmac_garp_intvl" => self.extra_if(entry, &mut to.extra_if),
            "down_timer_adverts" => {
                let value = self.value(entry).map(|word| self.number_in_front(word, ""));
                to.down_adverts = value.or(to.down_adverts.take());
            }
            "lower_prio_no_advert" => {
                to.lower_prio_no_advert = self.boolean(entry).or(to.lower_prio_no_advert);
            }
            "higher_prio_send_advert" => {
                to.higher_prio_send_advert = self.boolean(entry).or(to.higher_prio_send_advert);
            }
            "v3_checksum_as_v2" => to.v3_checksum = self.v3_checksum(entry).or(to.v3_checksum),
            "strict_mode" => {
                to.strict = self.boolean(entry).or(to.strict);
                self.strict_warning(entry, to.strict == Some(true));
            }
            // What happens anyway.
            "accept" => {}
            "native_ipv6" => self.native_ipv6(entry, to),
            "mcast_dst_ip" => self.destination(entry, to),
            "track_interface" | "track_script" | "track_file" | "track_process" => {
                self.track(entry, &mut to.track);
            }
            "dont_track_primary" => to.dont_track_primary = true,
            _ if self.notify_entry(entry, &mut to.notify) => {}
            _ if self.extras_entry(entry, &mut to.extras, context) => {}
            _ => self.not_acted_on(entry, keywords::INSTANCE, KEYWORDS),
        }
    }

    fn state(&mut self, entry: &Entry, to: &mut Instance) {
        let Some(state) = self.value(entry) else { return };
        match state.value.as_str() {
            "MASTER" => to.master = Some(entry.at()),
            "BACKUP" if to.master.is_some() => {
                self.warning(entry.at(), "the state is MASTER already; BACKUP is ignored", "");
            }
            "BACKUP" => {}
            other => {
                let message = format!("unknown state `{other}`; BACKUP is used");
                self.warning(state.at, message, "write MASTER or BACKUP");
                to.master = None;
            }
        }
    }

    fn interface(&mut self, entry: &Entry, to: &mut Instance) {
        let Some(name) = self.value(entry) else { return };
        if name.value.len() > MAX_INTERFACE_NAME {
            let message = format!("the interface name `{}` is too long; it is ignored", name.value);
            self.warning(name.at, message, "interface names have at most 15 characters");
        } else {
            to.interface = Some(name);
        }
    }

    fn instance_version(&mut self, entry: &Entry, to: &mut Instance) {
        let Some(version) = self.version(entry) else { return };
        match &to.version {
            Some(first) if first.value != version.value => {
                let message =
                    format!("the version is {} already; {} is ignored", first.value, version.value);
                self.warning(version.at, message, "");
            }
            Some(_) => {}
            None => to.version = Some(version),
        }
    }

    fn authentication(&mut self, entry: &Entry, to: &mut Instance) {
        to.auth.get_or_insert(entry.at());
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            match inner.keyword.value.as_str() {
                "auth_type" => to.auth_type = self.value(&inner).or(to.auth_type.take()),
                "auth_pass" => to.auth_pass = self.value(&inner).or(to.auth_pass.take()),
                _ => self.not_acted_on(&inner, &[], &["auth_type", "auth_pass"]),
            }
        }
    }

    /// What the `authentication` blocks of an instance say together.
    fn authenticate(&mut self, to: &mut Instance) {
        let Some(block) = to.auth else { return };
        let (kind, password) = (to.auth_type.take(), to.auth_pass.take());
        match (kind.as_ref().map(|kind| kind.value.as_str()), password) {
            (Some("PASS"), Some(password)) if !password.value.is_empty() => {
                to.authenticated = Some(password.at);
                to.password = Some(password);
            }
            (Some("PASS"), _) => {
                let message = "auth_type PASS without auth_pass; authentication is ignored";
                self.warning(block, message, "add auth_pass");
            }
            (Some("AH"), _) => {
                let at = kind.map_or(block, |kind| kind.at);
                let message = "auth_type AH is not supported, and routers that use it would not understand us";
                self.error(at, message, "use auth_type PASS, or no authentication, on all routers");
            }
            (Some(other), _) => {
                let at = kind.as_ref().map_or(block, |kind| kind.at);
                let message = format!("unknown auth_type `{other}`; authentication is ignored");
                self.warning(at, message, "write PASS");
            }
            (None, Some(password)) => {
                let message = "auth_pass without auth_type; authentication is ignored";
                self.warning(password.at, message, "add auth_type PASS");
            }
            (None, None) => {}
        }
    }

    /// An address where no prefix is wanted; keepalived cuts off what looks like one, or like a range.
    fn address(&mut self, entry: &Entry, word: &Located<String>) -> Option<IpAddr> {
        let text = word.value.split(['-', '/']).next().unwrap_or("");
        let address = text.parse().ok();
        if address.is_none() {
            let keyword = &entry.keyword.value;
            let message = format!("{keyword} takes an address, not `{}`; ignored", word.value);
            self.warning(word.at, message, "");
        }
        address
    }

    /// Admits an address to the instance, or warns that it is of the other family.
    fn admit(&mut self, address: IpAddr, at: Position, to: &mut Instance) -> bool {
        let admitted = to.admits(address);
        if !admitted {
            let message =
                format!("{address} is of another family than the addresses before it; skipped");
            let hint = "an instance has one address family, except for virtual_ipaddress_excluded";
            self.warning(at, message, hint);
        }
        admitted
    }

    fn source(&mut self, entry: &Entry, to: &mut Instance) {
        let Some(word) = self.value(entry) else { return };
        if let Some(address) = self.address(entry, &word)
            && self.admit(address, word.at, to)
        {
            to.source = Some(Located::new(address, word.at));
        }
    }

    fn peers(&mut self, entry: &Entry, to: &mut Instance) {
        to.unicast.get_or_insert(entry.at());
        self.enter_block(entry);
        while let Some(peer) = self.list_entry(entry) {
            let Some(address) = self.address(entry, &peer.keyword) else { continue };
            if !self.admit(address, peer.at(), to) {
                continue;
            }
            let mut draft = PeerDraft::from(address);
            for option in peer.parameters.chunks(2) {
                match option {
                    [name, value] if name.value == "min_ttl" => draft.min_ttl = Some(value.clone()),
                    [name, value] if name.value == "max_ttl" => draft.max_ttl = Some(value.clone()),
                    [name, _] => {
                        let message = format!("unknown option {} of a peer", name.value);
                        self.warning(name.at, message, "min_ttl and max_ttl are known");
                        break;
                    }
                    [name, ..] => {
                        let message = format!("{} has no value; it is ignored", name.value);
                        self.warning(name.at, message, "");
                    }
                    [] => {}
                }
            }
            to.peers.push(Located::new(draft, peer.at()));
        }
    }

    fn native_ipv6(&mut self, entry: &Entry, to: &mut Instance) {
        if to.family == Some(Family::V4) {
            let message = "native_ipv6 behind an IPv4 address; it is ignored";
            self.warning(entry.at(), message, "");
        } else {
            to.family = Some(Family::V6);
        }
    }

    fn destination(&mut self, entry: &Entry, to: &mut Instance) {
        let Some(word) = self.value(entry) else { return };
        let Some(address) = self.address(entry, &word) else { return };
        if !self.admit(address, word.at, to) {
            return;
        }
        // Other than the global one, this must be link-local.
        let problem = match address {
            address if !address.is_multicast() => "multicast",
            IpAddr::V6(v6) if v6.octets()[1] & 0x0f != 2 => "link-local multicast",
            IpAddr::V4(_) | IpAddr::V6(_) => {
                to.group = Some(Located::new(address, word.at));
                return;
            }
        };
        let message = format!("mcast_dst_ip {address} is not {problem}; it is ignored");
        self.warning(word.at, message, "");
    }

    fn addresses(&mut self, entry: &Entry, to: &mut Instance, excluded: bool) {
        self.enter_block(entry);
        while let Some(line) = self.list_entry(entry) {
            let Some(address) = self.virtual_address(&line) else { continue };
            let at = address.at;
            if excluded {
                // An excluded address may be of either family, and decides none.
                to.excluded.push(address);
            } else if self.admit(address.value.address, at, to) {
                to.addresses.push(address);
            }
        }
    }
}
