//! `vrrp_instance`: its keywords, its addresses, and what keepalived makes of their combination.

use std::net::IpAddr;

use super::shared::Shared;
use super::virtual_mac::VirtualMac;
use super::{Entry, Globals, Parser, hmac, keep, keywords, routes};
use crate::config::draft::{Draft, PeerDraft, UnicastDraft};
use crate::config::model::V3Checksum;
use crate::config::report::{Located, Position, Report};
use crate::config::routes::Context;
use crate::config::source::Grown;
use crate::engine::time::Nanos;
use crate::engine::types::GarpPolicy;
use crate::types::netns;
use crate::wire::family::Family;

/// Longest interface name, in bytes (`IFNAMSIZ`, linux/if.h, without the final NUL).
const MAX_INTERFACE_NAME: usize = 15;

/// The keywords that are acted on, for suggestions.
pub(super) const KEYWORDS: &[&str] = &[
    "state", "interface", "net_namespace", "virtual_router_id", "priority", "advert_int",
    "version", "authentication", "virtual_ipaddress", "virtual_ipaddress_excluded",
    "no_virtual_ipaddress", "preempt", "nopreempt", "preempt_delay", "mcast_src_ip",
    "unicast_src_ip", "unicast_peer", "unicast_ttl", "track_src_ip", "owner_ignore_adverts",
    "check_unicast_src", "unicast_fault_no_peer", "garp_master_delay", "garp_master_repeat",
    "garp_master_refresh", "garp_master_refresh_repeat", "garp_lower_prio_delay",
    "garp_lower_prio_repeat", "lower_prio_no_advert", "down_timer_adverts",
    "higher_prio_send_advert", "v3_checksum_as_v2", "fence", "strict_mode", "accept", "no_accept",
    "native_ipv6", "mcast_dst_ip", "notify", "notify_master", "notify_backup", "notify_fault",
    "notify_stop", "notify_deleted", "notify_master_rx_lower_pri", "notify_priority_changes",
    "virtual_routes", "virtual_rules", "promote_secondaries", "restore_addresses",
    "track_interface", "track_script", "track_file", "track_process", "dont_track_primary",
    "garp_extra_if", "vmac_garp_intvl", "use_vmac", "use_ipvlan", "use_vmac_addr",
    "vmac_xmit_base", "garp_own_address", "auth_hmac",
];

/// An instance as written: what a router is made of in any format, and what becomes that in the end.
#[derive(Debug, Default)]
pub(super) struct Instance {
    draft: Draft,
    shared: Shared,
    /// That of the first address in it.
    family: Option<Family>,
    master: Option<Position>,
    /// The first `authentication` block, its `auth_type` and `auth_pass`: several blocks are as good as one.
    auth: Option<Position>,
    auth_type: Option<Located<String>>,
    auth_pass: Option<Located<String>>,
    /// The first unicast keyword.
    unicast: Option<Position>,
    peers: Vec<Located<PeerDraft>>,
    ttl: Option<Located<String>>,
    check_source: bool,
    /// `unicast_fault_no_peer`: without peers the router must not multicast.
    never_multicast: bool,
    v3_checksum: Option<V3Checksum>,
    strict: Option<bool>,
    virtual_mac: Option<VirtualMac>,
    /// `use_vmac_addr`: addresses on other interfaces have the virtual MAC address there.
    virtual_mac_addresses: bool,
    /// `vmac_xmit_base`: advertisements have the interface's own MAC address.
    xmit_base: Option<Position>,
    /// The address of the device of `use_ipvlan`.
    ipvlan_source: Option<Located<IpAddr>>,
    /// The last `accept` or `no_accept`.
    accept: Option<Located<bool>>,
    routing: routes::Draft,
}

impl Instance {
    /// Whether an address is of the instance's family, which the first address decides.
    fn admits(&mut self, address: IpAddr) -> bool {
        *self.family.get_or_insert(Family::of(address)) == Family::of(address)
    }

    /// What stands around `use_vmac`.
    fn finish_virtual_mac(&mut self, strict: bool, report: &mut Report) {
        match self.xmit_base {
            Some(at) if strict => {
                report.warning(at, "strict mode has no vmac_xmit_base; it is ignored", "");
            }
            Some(at) => self.draft.virtual_mac_adverts = Some(Located::new(false, at)),
            None => {}
        }
        if self.virtual_mac_addresses {
            let addresses = self.draft.addresses.iter_mut().chain(&mut self.draft.excluded);
            addresses.for_each(|address| address.value.virtual_mac = true);
        }
        if self.draft.source.is_none() {
            self.draft.source = self.ipvlan_source.take();
        }
    }

    /// Completes the instance as keepalived does once it has read everything.
    pub(super) fn finish(mut self, globals: &Globals, report: &mut Report) -> Draft {
        let at = self.draft.at;
        if self.family == Some(Family::V6) && self.draft.version.is_none() {
            // Whatever vrrp_version says.
            self.draft.version = Some(Located::new("3".to_owned(), at));
        }
        let strict = self.strict.unwrap_or(globals.strict);
        self.finish_state(strict, report);
        if strict && let Some(password) = self.draft.password.take() {
            self.draft.ah = None;
            report.warning(password.at, "strict mode has no authentication; it is ignored", "");
        }
        if strict {
            self.draft.hmac.iter_mut().for_each(|hmac| hmac::enforce(&mut hmac.value, report));
        }
        if let Some(virtual_mac) = self.virtual_mac.take() {
            let prefix = globals.vmac_prefix.as_deref();
            virtual_mac.apply(&mut self.draft, prefix);
        }
        self.finish_virtual_mac(strict, report);
        let unicast = self.finish_unicast(strict, globals, report);
        self.draft.accept = self.finish_accept(strict, globals, report);
        let Self { mut draft, shared, family, v3_checksum, routing, .. } = self;
        draft.owner_ignores_adverts = shared.owner_ignores_adverts.clone();
        if draft.is_owner() && (strict || draft.owner_ignores_adverts.is_none()) {
            let global = globals.shared.owner_ignores_adverts.as_ref();
            let ignores = strict || global.is_some_and(|ignores| ignores.value);
            draft.owner_ignores_adverts = Some(Located::new(ignores, at));
        }
        if draft.multicast_group.is_none() && unicast.is_none() {
            draft.multicast_group = match family {
                Some(Family::V6) => globals.group6.clone(),
                Some(Family::V4) | None => globals.group4.clone(),
            };
        }

        let mut garp = GarpPolicy::DEFAULT;
        globals.shared.apply(&mut garp);
        // The global values of the lower-priority ones come from the other global ones, not from ours.
        garp.lower_prio_repeat = globals.shared.lower_prio_repeat.unwrap_or(garp.master_repeat);
        garp.lower_prio_delay = globals.shared.lower_prio_delay.unwrap_or(garp.master_delay);
        shared.apply(&mut garp);
        if garp.refresh_repeat == 0 && garp.refresh > Nanos::ZERO {
            let message =
                "vrrp_min_garp leaves nothing to repeat: there is no refresh, as in keepalived";
            report.warning(at, message, "garp_master_refresh_repeat 1");
            garp.refresh = Nanos::ZERO;
        }
        garp.refresh_repeat = garp.refresh_repeat.max(1);
        let addresses = draft.addresses.iter().chain(&draft.excluded);
        let beside = addresses.into_iter().any(|it| it.value.virtual_mac && it.value.dev.is_some());
        let hidden = draft.virtual_mac.is_some() && draft.virtual_mac_adverts.is_some();
        let extra_if = shared.extra_if.finish(&globals.shared.extra_if, beside || hidden, report);
        (draft.garp_extra_if, draft.garp_extra_if_all) = extra_if.unzip();
        let no_advert = shared.lower_prio_no_advert.or(globals.shared.lower_prio_no_advert);
        draft.lower_prio_advert = no_advert != Some(true);
        let one_more = shared.higher_prio_send_advert;
        draft.higher_prio_advert = one_more.or(globals.shared.higher_prio_send_advert);
        if strict {
            garp.lower_prio_repeat = 0;
            garp.lower_prio_delay = Nanos::ZERO;
            draft.lower_prio_advert = false;
            draft.higher_prio_advert = Some(false);
            draft.no_addresses = false;
            draft.need_addresses = true;
        }
        if strict && family == Some(Family::V6) {
            draft.link_local_first = Some(Located::new(true, at));
        }
        Draft {
            garp,
            unicast,
            version: draft.version.or_else(|| globals.version.clone()),
            down_adverts: shared.down_adverts.or_else(|| globals.shared.down_adverts.clone()),
            fence: shared.fence.or(globals.shared.fence).unwrap_or_default(),
            v3_checksum: v3_checksum.unwrap_or(globals.v3_checksum),
            routing: routing.finish(&globals.routes),
            ..draft
        }
        .placed()
    }

    /// Whether packets to the addresses are let in: unless the file says otherwise, or strict mode, whose version 2 has no
    /// other way (RFC 3768 section 6.4.3).
    fn finish_accept(&self, strict: bool, globals: &Globals, report: &mut Report) -> bool {
        let Some(accept) = &self.accept else { return !strict };
        let version = self.draft.version.as_ref().or(globals.version.as_ref());
        let is_v3 = version.is_some_and(|version| version.value == "3");
        if accept.value && strict && !is_v3 && !self.draft.is_owner() {
            let message = "accept does not go with strict mode and version 2; no_accept is used";
            report.warning(accept.at, message, "use version 3, or no strict mode");
            return false;
        }
        accept.value
    }

    /// What follows from `state`, which otherwise says nothing: an election decides.
    fn finish_state(&mut self, strict: bool, report: &mut Report) {
        let draft = &mut self.draft;
        if let (Some(at), None) = (self.master, &draft.priority) {
            draft.priority = Some(Located::new("255".to_owned(), at));
        }
        if let (Some(at), true, false) = (self.master, strict, draft.is_owner()) {
            let message = "state MASTER needs priority 255 in strict mode; the state is BACKUP";
            report.warning(at, message, "");
            self.master = None;
        }
        if self.master.is_some() {
            if let Some(nopreempt) = draft.preempt.take() {
                let message = "nopreempt does not go with state MASTER; it is ignored";
                report.warning(nopreempt.at, message, "use state BACKUP on both routers");
            }
            let delayed = draft.preempt_delay.take_if(|delay| delay.value > Nanos::ZERO);
            if let Some(delay) = delayed {
                let message = "preempt_delay does not go with state MASTER; it is ignored";
                report.warning(delay.at, message, "use state BACKUP on both routers");
            }
        }
        if strict && let Some(delay) = draft.preempt_delay.take() {
            let message = "preempt_delay does not go with strict mode; it is ignored";
            report.warning(delay.at, message, "");
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
        let mut instance = Instance::default();
        (instance.draft.name, instance.draft.at) = (name.value.clone(), entry.at());
        self.lines.grow(entry.at(), Grown { routers: 1, ..Grown::default() });
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            self.instance_entry(&inner, &mut instance, context);
        }
        self.authenticate(&mut instance);
        Some(instance)
    }

    fn instance_entry(&mut self, entry: &Entry, to: &mut Instance, context: &mut Context) {
        let draft = &mut to.draft;
        match entry.keyword.value.as_str() {
            "state" => self.state(entry, to),
            "interface" => self.interface(entry, draft),
            "net_namespace" => {
                let mut netns = None;
                self.net_namespace(entry, &mut netns);
                keep(&mut draft.netns, netns.map(|netns| netns.value));
            }
            "virtual_router_id" => keep(&mut draft.vrid, self.value(entry)),
            "priority" => keep(&mut draft.priority, self.value(entry)),
            "version" => self.instance_version(entry, draft),
            "advert_int" => keep(&mut draft.interval, self.timer(entry)),
            "authentication" => self.authentication(entry, to),
            "auth_hmac" => self.auth_hmac(entry, &mut draft.hmac),
            "virtual_ipaddress" => self.addresses(entry, to, false),
            "virtual_ipaddress_excluded" => self.addresses(entry, to, true),
            "no_virtual_ipaddress" => draft.no_addresses = true,
            "preempt" => draft.preempt = None,
            "nopreempt" => draft.preempt = Some(Located::new(false, entry.at())),
            "preempt_delay" => keep(&mut draft.preempt_delay, self.timer(entry)),
            "mcast_src_ip" => self.source(entry, to),
            "unicast_src_ip" => {
                to.unicast.get_or_insert(entry.at());
                self.source(entry, to);
            }
            "unicast_peer" => self.peers(entry, to),
            "unicast_ttl" => keep(&mut to.ttl, self.value(entry)),
            "track_src_ip" => draft.track_source = Some(Located::new(true, entry.at())),
            "check_unicast_src" => {
                to.unicast.get_or_insert(entry.at());
                to.check_source = true;
            }
            "unicast_fault_no_peer" => {
                to.unicast.get_or_insert(entry.at());
                to.never_multicast = true;
            }
            "v3_checksum_as_v2" => keep(&mut to.v3_checksum, self.v3_checksum(entry)),
            "strict_mode" => keep(&mut to.strict, self.boolean(entry)),
            "accept" => to.accept = Some(Located::new(true, entry.at())),
            "no_accept" => to.accept = Some(Located::new(false, entry.at())),
            "native_ipv6" => self.native_ipv6(entry, to),
            "mcast_dst_ip" => self.destination(entry, to),
            "track_interface" | "track_script" | "track_file" | "track_process" => {
                self.track(entry, &mut draft.track);
            }
            "use_vmac" => to.virtual_mac = Some(self.use_vmac(entry)),
            "use_ipvlan" => {
                let (ipvlan, source) = self.use_ipvlan(entry);
                to.virtual_mac.get_or_insert(ipvlan);
                to.ipvlan_source = source;
            }
            "garp_own_address" => draft.garp_own_address = self.timer(entry),
            "use_vmac_addr" => to.virtual_mac_addresses = true,
            "vmac_xmit_base" => to.xmit_base = Some(entry.at()),
            "dont_track_primary" => draft.dont_track_primary = true,
            keyword if self.shared_entry(keyword, entry, &mut to.shared) => {}
            _ if self.notify_entry(entry, &mut draft.notify) => {}
            _ if self.routing_entry(entry, &mut to.routing, context) => {}
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

    fn interface(&mut self, entry: &Entry, to: &mut Draft) {
        let Some(name) = self.value(entry) else { return };
        if netns::split(&name.value).1.len() > MAX_INTERFACE_NAME {
            let message = format!("the interface name `{}` is too long; it is ignored", name.value);
            self.warning(name.at, message, "interface names have at most 15 characters");
        } else {
            to.interface = Some(name);
        }
    }

    fn instance_version(&mut self, entry: &Entry, to: &mut Draft) {
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
                "auth_type" => keep(&mut to.auth_type, self.value(&inner)),
                "auth_pass" => keep(&mut to.auth_pass, self.value(&inner)),
                _ => self.not_acted_on(&inner, &[], &["auth_type", "auth_pass"]),
            }
        }
    }

    /// What the `authentication` blocks of an instance say together.
    fn authenticate(&mut self, to: &mut Instance) {
        let Some(block) = to.auth else { return };
        if to.draft.hmac.is_some() {
            let message = "auth_hmac does not go with authentication, which is ignored";
            return self.warning(block, message, "remove the block, on all routers at once");
        }
        let (kind, password) = (to.auth_type.take(), to.auth_pass.take());
        match (kind.as_ref().map(|kind| kind.value.as_str()), password) {
            (Some(name @ ("PASS" | "AH")), Some(password)) if !password.value.is_empty() => {
                let at = kind.as_ref().map_or(block, |kind| kind.at);
                to.draft.ah = (name == "AH").then_some(at);
                let bytes = password.value.into_bytes();
                to.draft.password = Some(Located::new(bytes, password.at));
            }
            (Some(name @ ("PASS" | "AH")), _) => {
                let message =
                    format!("auth_type {name} without auth_pass; authentication is ignored");
                self.warning(block, message, "add auth_pass");
            }
            (Some(other), _) => {
                let at = kind.as_ref().map_or(block, |kind| kind.at);
                let message = format!("unknown auth_type `{other}`; authentication is ignored");
                self.warning(at, message, "write PASS or AH");
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
            to.draft.source = Some(Located::new(address, word.at));
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
                to.draft.multicast_group = Some(Located::new(address, word.at));
                return;
            }
        };
        let message = format!("mcast_dst_ip {address} is not {problem}; it is ignored");
        self.warning(word.at, message, "");
    }

    fn addresses(&mut self, entry: &Entry, to: &mut Instance, excluded: bool) {
        self.enter_block(entry);
        while let Some(line) = self.list_entry(entry) {
            let Some(mut address) = self.virtual_address(&line) else { continue };
            let at = address.at;
            self.no_track_group(address.value.track_group.take().map(|_| at));
            if excluded {
                // An excluded address may be of either family, and decides none.
                to.draft.excluded.push(address);
            } else if self.admit(address.value.address, at, to) {
                to.draft.addresses.push(address);
            }
        }
    }
}
