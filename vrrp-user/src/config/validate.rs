//! Whether a configuration can work. Every rule stands here once, for both formats.
//!
//! The formats differ in one thing: what keepalived repairs with a message is repaired here too when it comes
//! from keepalived.conf, and refused when it comes from a TOML file.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;

use vrrp_common::parse::Address as _;
use vrrp_common::{VRRP_TTL, virtual_mac};

use super::draft::{Draft, Drafts, PeerDraft, UnicastDraft};
use super::model::{Address, Authentication, Config, Peer, RouterConfig, Transport};
use super::notify::Notify;
use super::report::{Located, Position, Report};
use super::text::{self, MAX_NAME};
use crate::engine::election::DOWN_ADVERTS;
use crate::engine::time::{Centisecs, Nanos};
use crate::engine::types::{AdvertInterval, Priority, Version, Vrid};
use crate::wire::ethernet::{Colons, Mac};
use crate::wire::family::Family;

mod delays;
mod family;
mod hmac;
mod track;
mod track_group;

/// How many addresses an advertisement can list (its count field has 8 bits, RFC 9568 section 5.2.5).
const MAX_ADDRESSES: usize = 255;
/// How a virtual MAC address is written.
const MAC_FORM: &str = "five bytes, to which the VRID is added, or six: 02:00:00:00:01";
/// Length of a simple password (RFC 2338 section 5.3.10).
const PASSWORD: usize = 8;
/// keepalived's longest `preempt_delay`.
const MAX_PREEMPT_DELAY: Nanos = Nanos::from_secs(1_000);
/// The interval when none is given (RFC 9568 section 6.1).
const DEFAULT_INTERVAL: Nanos = Nanos::from_secs(1);
/// Scope of an IPv6 multicast address, its lower half of the second byte (RFC 4291 section 2.7).
const LINK_LOCAL_SCOPE: u8 = 2;
/// Nanoseconds in a centisecond.
const CENTISECOND: u64 = 10_000_000;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// What a format calls things, and how it takes mistakes.
#[derive(Debug)]
pub(super) struct Format {
    /// Whether a mistake that can be repaired is repaired.
    lenient: bool,
    /// How a file says that there are no routers.
    pub(super) idle: &'static str,
    router: &'static str,
    vrid: &'static str,
    interval: &'static str,
    addresses: &'static str,
    password: &'static str,
    hmac: &'static str,
    /// The old header, and what to write instead of it.
    ah: &'static str,
    instead_of_ah: &'static str,
    /// How a key is written.
    key_form: &'static str,
    preempt_off: &'static str,
    peers: &'static str,
    ttl: &'static str,
    owner_ignores: &'static str,
    pub(super) link_local_first: &'static str,
    track_source: &'static str,
    virtual_mac: &'static str,
    base_adverts: &'static str,
    pub(super) own_address: &'static str,
    down_adverts: &'static str,
}

/// The native format.
pub(super) const TOML: Format = Format {
    lenient: false,
    idle: "write `router = []` if there are to be none",
    router: "router",
    vrid: "vrid",
    interval: "interval",
    addresses: "addresses",
    password: "password",
    hmac: "hmac",
    ah: "type ah",
    instead_of_ah: "as soon as no keepalived before 2.4.1 is among the routers, write on all of them at once, in its place:\n\
                    hmac = { keys = [{ id = 1, file = \"/etc/vrrp-user/keys/1\" }], active_key = 1 }",
    key_form: "hex = \"...\", 64 to 128 digits",
    preempt_off: "preempt = false",
    peers: "unicast.peers",
    ttl: "unicast.ttl",
    owner_ignores: "owner_ignores_adverts",
    link_local_first: "link_local_first",
    track_source: "track_source",
    virtual_mac: "virtual_mac",
    base_adverts: "virtual_mac_adverts = false",
    own_address: "garp.own_address",
    down_adverts: "down_adverts",
};

/// keepalived.conf.
pub(super) const KEEPALIVED: Format = Format {
    lenient: true,
    idle: "it needs another block, such as global_defs { }, if there are to be none",
    router: "vrrp_instance",
    vrid: "virtual_router_id",
    interval: "advert_int",
    addresses: "virtual_ipaddress",
    password: "auth_pass",
    hmac: "auth_hmac",
    ah: "auth_type AH",
    instead_of_ah: "as soon as no keepalived before 2.4.1 is among the routers, write on all of them at once, in its place:\n\
                    auth_hmac {\n    key 1 file:/etc/keepalived/vrrp-key\n    active_key 1\n}",
    key_form: "hex:..., 64 to 128 digits",
    preempt_off: "nopreempt",
    peers: "unicast_peer",
    ttl: "unicast_ttl",
    owner_ignores: "owner_ignore_adverts",
    link_local_first: "refusing a first address that is not link-local, as strict mode does,",
    track_source: "track_src_ip",
    virtual_mac: "use_vmac",
    base_adverts: "vmac_xmit_base",
    own_address: "garp_own_address",
    down_adverts: "down_timer_adverts",
};

/// Turns drafts into a configuration. It counts only if the report has no errors afterwards.
pub(super) fn validate(
    drafts: Drafts,
    format: &Format,
    mtu: Option<fn(&str) -> Option<u32>>,
    report: &mut Report,
) -> Config {
    let mut validator = Validator {
        format,
        report,
        mtu,
        mtus: HashMap::new(),
        keys: HashMap::new(),
        ah_reported: false,
    };
    let Drafts {
        idle: _,
        routers: drafts,
        groups,
        scripts,
        files,
        processes,
        scheduling,
        metrics,
        netns,
        control,
        notify,
        fixed,
        fixed_addresses,
        track_groups,
        track_group_uses,
        delays,
        capture,
    } = drafts;
    let netns = netns.map(|netns| netns.value);
    let mut config =
        Config { scheduling, metrics, netns, control, notify, fixed, ..Config::default() };
    config.fixed.addresses = validator.fixed_addresses(fixed_addresses);
    config.scripts = validator.objects(scripts);
    config.files = validator.objects(files);
    config.processes = validator.objects(processes);
    let mut groups = validator.groups(groups, &drafts, &config);
    let mut names = HashMap::new();
    let mut vrids: HashMap<(String, Family, Vrid), (String, Position)> = HashMap::new();
    let mut owners: HashMap<(IpAddr, String), String> = HashMap::new();
    let mut macs: HashMap<(Mac, String), (String, Position)> = HashMap::new();
    for mut draft in drafts {
        let at = draft.at;
        let one_of_many = draft.entry.is_some();
        validator.report.entry(draft.entry.take());
        validator.name(format.router, &draft.name, at);
        if let Some(line) = names.get(&draft.name) {
            let message =
                format!("there is a {} {} already, in line {line}", format.router, draft.name);
            let hint = match one_of_many {
                true => "put {vrid} into the name, and {index} with several interfaces",
                false => "give it another name",
            };
            validator.repair(at, message, "this one is skipped", hint);
            continue;
        }
        names.insert(draft.name.clone(), at.line);
        let track = std::mem::take(&mut draft.track);
        let Some(mut router) = validator.router(draft) else { continue };
        validator.router_tracks(track, &mut router, &mut groups, &config);
        validator.unique_vrid(&router, at, &mut vrids);
        validator.unique_addresses(&router, at, &mut owners);
        validator.unique_virtual_macs(&router, at, &mut macs);
        config.routers.push(router);
    }
    validator.report.entry(None);
    validator.track_groups(track_groups, track_group_uses, &mut config);
    config.delays = validator.delays(delays, &config.routers);
    config.capture = validator.capture(capture);
    validator.finish_groups(groups, &mut config);
    validator.distinct_namespaces(&config);
    config
}

struct Validator<'a> {
    format: &'a Format,
    report: &'a mut Report,
    mtu: Option<fn(&str) -> Option<u32>>,
    mtus: HashMap<String, Option<u32>>,
    /// What files with keys hold, or why they cannot be used: many routers may have one.
    keys: HashMap<PathBuf, hmac::KeyFile>,
    /// That an authentication header is weak was said.
    ah_reported: bool,
}

impl Validator<'_> {
    /// A mistake that has a repair: a warning that names it, or an error.
    fn repair(&mut self, at: Position, message: impl Into<String>, repair: &str, hint: &str) {
        let message = message.into();
        if self.format.lenient {
            self.report.warning(at, format!("{message}; {repair}"), hint);
        } else {
            self.report.error(at, message, hint);
        }
    }

    /// Network namespaces are told apart by numbers that are made of their names.
    fn distinct_namespaces(&mut self, config: &Config) {
        let mut known = HashMap::new();
        for netns in config.namespaces() {
            if let Some(other) = known.insert(netns.number(), netns.clone()) {
                let line = config.routers.first().map_or(0, |router| router.line);
                let at = Position { line, ..Position::default() };
                let message =
                    format!("the network namespaces {other} and {netns} cannot be told apart here");
                self.report.error(at, message, "give one of them another name");
            }
        }
    }

    /// Names are told to scripts, fifos, logs, metrics and terminals, line by line.
    fn name(&mut self, kind: &str, name: &str, at: Position) {
        if name.contains(char::is_control) {
            let message = format!("the name of {kind} `{name}` has a control character in it");
            self.report.error(at, message, "give it another name");
        }
    }

    /// `None` if there can be no such router.
    fn router(&mut self, mut draft: Draft) -> Option<RouterConfig> {
        let family = self.family(&mut draft);
        let interface = self.interface(&draft);
        let vrid = self.vrid(&draft);
        let priority = self.priority(draft.priority.as_ref());
        let down_adverts = self.down_adverts(draft.down_adverts.as_ref());
        let version = self.version(draft.version.as_ref(), family);
        let interval = self.interval(version, draft.interval.as_ref(), draft.at);
        let max_learned_interval =
            self.max_learned_interval(interval, draft.max_learned_interval.as_ref());
        let authentication = self.authentication(version, draft.password.as_ref(), draft.ah);
        let hmac = self.hmac(draft.hmac.as_ref(), interval, draft.password.as_ref());
        let (preempt, preempt_delay) = self.preemption(&draft, priority);
        let (addresses, excluded) =
            self.addresses(&draft, version, interface.as_deref().unwrap_or(""));
        let owner_ignores_adverts = self.only_if(
            draft.owner_ignores_adverts.as_ref(),
            priority == Priority::OWNER,
            format!("{} goes with priority 255 only", self.format.owner_ignores),
        );
        let link_local_first = self.link_local_first(draft.link_local_first.as_ref(), &addresses);
        let track_source = self.only_if(
            draft.track_source.as_ref(),
            draft.source.is_some(),
            format!("{} needs a source", self.format.track_source),
        );
        let virtual_mac_adverts = draft.virtual_mac_adverts.as_ref().is_none_or(|on| on.value);
        let virtual_mac = self.only_if(
            draft.virtual_mac.as_ref(),
            draft.unicast.is_none() || !virtual_mac_adverts,
            format!(
                "{} goes with unicast only where advertisements are left as they are ({})",
                self.format.virtual_mac, self.format.base_adverts
            ),
        );
        let own_virtual_mac = self.own_virtual_mac(draft.own_virtual_mac.as_ref(), family, vrid);
        let garp_own_address =
            self.garp_own_address(draft.garp_own_address.as_ref(), draft.unicast.is_some());
        let transport = self.transport(draft.source, draft.multicast_group, draft.unicast);
        Some(RouterConfig {
            name: draft.name,
            line: draft.at.line,
            interface: interface?,
            vrid: vrid?,
            priority,
            interval,
            authentication,
            hmac,
            transport,
            preempt,
            preempt_delay,
            max_learned_interval,
            addresses,
            excluded,
            garp: draft.garp,
            garp_extra_if: self.garp_extra_if(draft.garp_extra_if.as_ref()),
            garp_extra_if_all: draft.garp_extra_if_all.unwrap_or(true),
            garp_own_address,
            lower_prio_advert: draft.lower_prio_advert,
            down_adverts,
            higher_prio_advert: draft.higher_prio_advert,
            owner_ignores_adverts,
            link_local_first,
            fence: draft.fence,
            virtual_mac,
            own_virtual_mac: own_virtual_mac.filter(|_| virtual_mac),
            virtual_mac_adverts,
            accept: draft.accept,
            track_source,
            v3_checksum: draft.v3_checksum,
            track: Vec::new(),
            dont_track_primary: draft.dont_track_primary,
            routing: draft.routing,
            notify: (draft.notify != Notify::default()).then(|| Box::new(draft.notify)),
        })
    }

    fn interface(&mut self, draft: &Draft) -> Option<String> {
        let Some(interface) = &draft.interface else {
            let hint = if draft.unicast.is_some() {
                "unicast routers too need the interface that leads to their peers"
            } else {
                "add interface"
            };
            self.report.error(
                draft.at,
                format!("{} {} has no interface", self.format.router, draft.name),
                hint,
            );
            return None;
        };
        if !text::is_interface_name(&interface.value) {
            let message = format!("`{}` cannot be the name of an interface", interface.value);
            self.report.error(
                interface.at,
                message,
                "at most 15 characters, no space and no `/`, or NETNS/NAME",
            );
            return None;
        }
        Some(interface.value.clone())
    }

    fn vrid(&mut self, draft: &Draft) -> Option<Vrid> {
        let keyword = self.format.vrid;
        let Some(written) = &draft.vrid else {
            let message = format!("{} {} has no {keyword}", self.format.router, draft.name);
            self.report.error(
                draft.at,
                message,
                "a number from 1 to 255, the same on all its routers",
            );
            return None;
        };
        let vrid = written.value.trim().parse().ok().and_then(Vrid::new);
        if vrid.is_none() {
            let message = format!("{keyword} must be 1 to 255, not `{}`", written.value);
            self.report.error(written.at, message, "");
        }
        vrid
    }

    fn priority(&mut self, written: Option<&Located<String>>) -> Priority {
        let Some(written) = written else { return Priority::DEFAULT };
        match written.value.trim().parse() {
            Ok(priority) if priority > 0 => Priority(priority),
            Ok(_) | Err(_) => {
                let message = format!("priority must be 1 to 255, not `{}`", written.value);
                self.repair(written.at, message, "100 is used", "");
                Priority::DEFAULT
            }
        }
    }

    fn down_adverts(&mut self, written: Option<&Located<String>>) -> u8 {
        let Some(written) = written else { return DOWN_ADVERTS };
        let number = written.value.trim().parse().ok().filter(|n| (1..=100).contains(n));
        number.unwrap_or_else(|| {
            let keyword = self.format.down_adverts;
            let message = format!("{keyword} must be 1 to 100, not `{}`", written.value);
            self.repair(written.at, message, "3 is used", "");
            DOWN_ADVERTS
        })
    }

    fn interval(
        &mut self,
        version: Version,
        written: Option<&Located<Nanos>>,
        router: Position,
    ) -> AdvertInterval {
        let keyword = self.format.interval;
        let (mut span, at) =
            written.map_or((DEFAULT_INTERVAL, router), |written| (written.value, written.at));
        if span < Nanos(CENTISECOND) || span > Nanos::from_secs(255) {
            let message =
                format!("{keyword} must be 0.01 s to 255 s, not {} s", span.as_secs_f64());
            self.repair(at, message, "1 s is used", "");
            span = DEFAULT_INTERVAL;
        }
        let (unit, name, max) = match version {
            Version::V2 => (SECOND, "a whole number of seconds", 255),
            Version::V3 => (CENTISECOND, "a whole number of centiseconds, up to 40.95 s,", 4_095),
        };
        let rounded = ((span.0 + unit / 2) / unit).clamp(1, max);
        if rounded * unit != span.0 {
            let used = Nanos(rounded * unit).as_secs_f64();
            let message =
                format!("{keyword} must be {name} with this version, not {} s", span.as_secs_f64());
            let hint = match version {
                Version::V2 => "version 3 can do parts of a second",
                Version::V3 => "",
            };
            self.repair(at, message, &format!("{used} s is used"), hint);
        }
        // Both fit: clamped above.
        match version {
            Version::V2 => AdvertInterval::Secs(u8::try_from(rounded).unwrap_or(u8::MAX)),
            Version::V3 => {
                AdvertInterval::Centisecs(Centisecs(u16::try_from(rounded).unwrap_or(4_095)))
            }
        }
    }

    /// Whoever believed less than its own interval would take over again and again.
    fn max_learned_interval(
        &mut self,
        interval: AdvertInterval,
        written: Option<&Located<Nanos>>,
    ) -> Option<Centisecs> {
        let Located { value, at } = written?;
        let longest = u16::try_from(value.0 / CENTISECOND).unwrap_or(u16::MAX);
        let problem = match interval {
            AdvertInterval::Secs(_) => {
                "max_learned_interval goes with version 3 only: version 2 learns no interval"
                    .to_owned()
            }
            AdvertInterval::Centisecs(ours)
                if longest < ours.0 || longest > 4_095 || value.0 % CENTISECOND != 0 =>
            {
                format!(
                    "max_learned_interval must be a whole number of centiseconds from the interval of the router, {} s, \
                     to 40.95 s, not {} s",
                    interval.duration().as_secs_f64(),
                    value.as_secs_f64()
                )
            }
            AdvertInterval::Centisecs(_) => return Some(Centisecs(longest)),
        };
        self.repair(*at, problem, "it is ignored", "");
        None
    }

    fn authentication(
        &mut self,
        version: Version,
        password: Option<&Located<Vec<u8>>>,
        ah: Option<Position>,
    ) -> Authentication {
        let Some(password) = password else { return Authentication::None };
        let keyword = self.format.password;
        match version {
            Version::V2 => {}
            Version::V3 => {
                self.repair(
                    password.at, "version 3 has no authentication", "it is ignored", "remove it",
                );
                return Authentication::None;
            }
        }
        let bytes = password.value.as_slice();
        if bytes.is_empty() {
            self.repair(
                password.at,
                format!("{keyword} is empty"),
                "authentication is ignored",
                "",
            );
            return Authentication::None;
        }
        if bytes.len() > PASSWORD {
            let message = format!("{keyword} is longer than 8 bytes");
            self.repair(
                password.at, message, "the first 8 are used", "the protocol has room for 8",
            );
        }
        let mut data = [0; PASSWORD];
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = *from;
        }
        let Some(at) = ah else { return Authentication::Pass(data) };
        let message = format!(
            "authentication by {} is old and weak: HMAC-MD5 with at most 8 bytes as key, and only the daemon checks it",
            self.format.ah
        );
        // Of one router: what is said about it is the same of all.
        if !std::mem::replace(&mut self.ah_reported, true) {
            self.report.warning(at, message, self.format.instead_of_ah);
        }
        Authentication::Ah(data)
    }

    fn preemption(&mut self, draft: &Draft, priority: Priority) -> (bool, Nanos) {
        let off = self.format.preempt_off;
        let mut preempt = draft.preempt.as_ref().is_none_or(|preempt| preempt.value);
        if let (Some(written), false, Priority::OWNER) = (&draft.preempt, preempt, priority) {
            let message = format!("{off} does not go with priority 255, which always pre-empts");
            self.repair(written.at, message, "it is ignored", "");
            preempt = true;
        }
        let Some(written) = &draft.preempt_delay else { return (preempt, Nanos::ZERO) };
        let delay = written.value;
        let problem = if delay > MAX_PREEMPT_DELAY {
            Some("preempt_delay must be 0 s to 1000 s".to_owned())
        } else if delay > Nanos::ZERO && !preempt {
            Some(format!("preempt_delay does not go with {off}"))
        } else if delay > Nanos::ZERO && priority == Priority::OWNER {
            Some("preempt_delay does not go with priority 255, which is master at once".to_owned())
        } else {
            None
        };
        match problem {
            Some(problem) => {
                self.repair(written.at, problem, "it is ignored", "");
                (preempt, Nanos::ZERO)
            }
            None => (preempt, delay),
        }
    }

    fn addresses(
        &mut self,
        draft: &Draft,
        version: Version,
        own: &str,
    ) -> (Vec<Address>, Vec<Address>) {
        let mut seen = HashSet::new();
        let mut keep = |validator: &mut Self, written: &Located<Address>| {
            let address = &written.value;
            let dev = address.dev.as_deref().unwrap_or(own).to_owned();
            if let Some(problem) = unusable(address) {
                validator.repair(written.at, problem, "the address is skipped", "");
                return None;
            }
            if !seen.insert((address.address, dev)) {
                let message = format!("{} is there twice", address.address);
                validator.repair(written.at, message, "the second one is skipped", "");
                return None;
            }
            let mut address = address.clone();
            // On its own interface it has what the router has.
            address.virtual_mac &= address.dev.as_deref().is_some_and(|dev| dev != own);
            Some(address)
        };
        let mut addresses: Vec<_> =
            draft.addresses.iter().filter_map(|address| keep(self, address)).collect();
        let mut excluded: Vec<_> =
            draft.excluded.iter().filter_map(|address| keep(self, address)).collect();
        self.first_address(draft);
        if addresses.len() > MAX_ADDRESSES {
            let message = format!("{} addresses do not fit in an advertisement", addresses.len());
            let at = draft.addresses.get(MAX_ADDRESSES).map_or(draft.at, |address| address.at);
            let repair = format!("those after the {MAX_ADDRESSES}th are not advertised");
            self.repair(at, message, &repair, "list them as excluded");
            excluded.splice(..0, addresses.drain(MAX_ADDRESSES..));
        }
        self.fit_mtu(draft, version, own, &mut addresses, &mut excluded);
        if addresses.is_empty() {
            let keyword = self.format.addresses;
            let message = format!("{} {} has no {keyword}", self.format.router, draft.name);
            match version {
                // RFC 9568 section 5.2.5: others must ignore what it sends, so that each of them would be master.
                Version::V3 => self.report.error(
                    draft.at,
                    message,
                    "version 3 must advertise at least one address, excluded ones do not count; version 2 need not",
                ),
                Version::V2 if draft.no_addresses => {}
                Version::V2 if self.format.lenient && !draft.need_addresses => {
                    self.report.warning(draft.at, message, "it only advertises");
                }
                Version::V2 => {
                    self.report.error(draft.at, message, "at least one address is required");
                }
            }
        }
        (addresses, excluded)
    }

    /// Those that are there whoever is master.
    fn fixed_addresses(&mut self, written: Vec<Located<Address>>) -> Vec<Address> {
        let mut kept: Vec<Address> = Vec::new();
        for Located { value: address, at } in written {
            let twice = kept
                .iter()
                .any(|other| (other.address, &other.dev) == (address.address, &address.dev));
            if let Some(problem) = unusable(&address) {
                self.repair(at, problem, "the address is skipped", "");
            } else if twice {
                let message = format!("{} is there twice", address.address);
                self.repair(at, message, "the second one is skipped", "");
            } else {
                kept.push(address);
            }
        }
        kept
    }

    fn transport(
        &mut self,
        source: Option<Located<IpAddr>>,
        group: Option<Located<IpAddr>>,
        unicast: Option<Located<UnicastDraft>>,
    ) -> Transport {
        if let Some(source) = &source
            && let Some(problem) = no_sender(source.value)
        {
            self.report.error(source.at, format!("the source {} {problem}", source.value), "");
        }
        let source = source.map(|source| source.value);
        let group = group.and_then(|group| self.multicast_group(&group, unicast.is_some()));
        let Some(written) = unicast else { return Transport::Multicast { source, group } };
        let UnicastDraft { peers: drafts, ttl, mut check_source } = written.value;
        let keyword = self.format.peers;
        let mut peers: Vec<Peer> = Vec::new();
        for Located { value: PeerDraft { address, min_ttl, max_ttl }, at } in drafts {
            if let Some(problem) = no_sender(address) {
                self.repair(at, format!("the peer {address} {problem}"), "it is skipped", "");
                continue;
            }
            if peers.iter().any(|peer| peer.address == address) {
                self.repair(
                    at,
                    format!("{address} is twice in {keyword}"),
                    "the second one is skipped",
                    "",
                );
                continue;
            }
            let min = self.ttl("min_ttl", min_ttl.as_ref());
            let max = self.ttl("max_ttl", max_ttl.as_ref());
            // As in keepalived: who says from how far a peer is heard, means that others are not.
            check_source |= min.is_some() || max.is_some();
            let (min_ttl, max_ttl) = (min.unwrap_or(0), max.unwrap_or(u8::MAX));
            if min_ttl > max_ttl {
                let message = format!(
                    "min_ttl {min_ttl} of {address} is greater than its max_ttl {max_ttl}: all its advertisements are \
                     refused"
                );
                // Not an error: what is converted from a file of keepalived's must be accepted.
                self.report.warning(at, message, "");
            }
            peers.push(Peer { address, min_ttl, max_ttl });
        }
        if peers.is_empty() {
            self.report.error(
                written.at,
                format!("there is no address in {keyword}"),
                "add the other routers",
            );
        }
        let ttl = self.ttl(self.format.ttl, ttl.as_ref()).unwrap_or(VRRP_TTL);
        Transport::Unicast { source, peers, ttl, check_source }
    }

    /// A setting that means nothing without something else.
    fn only_if(&mut self, on: Option<&Located<bool>>, can: bool, problem: String) -> bool {
        let Some(Located { value: true, at }) = on else { return false };
        if !can {
            self.repair(*at, problem, "it is ignored", "");
        }
        can
    }

    /// A multicast group; `None` if it is the usual one, or cannot be used.
    fn multicast_group(&mut self, written: &Located<IpAddr>, unicast: bool) -> Option<IpAddr> {
        let Located { value: group, at } = *written;
        let problem = if unicast {
            "does not go with unicast"
        } else if !group.is_multicast() {
            "is not a multicast address"
        } else {
            if let IpAddr::V6(v6) = group
                && v6.octets()[1] & 0x0f != LINK_LOCAL_SCOPE
            {
                let message = format!("the multicast group {group} should be link-local");
                self.report.warning(at, message, "one out of ff02::/16");
            }
            return (group != Family::of(group).group()).then_some(group);
        };
        let usual = Family::of(group).group();
        let repair = if unicast { "it is ignored".to_owned() } else { format!("{usual} is used") };
        self.repair(at, format!("the multicast group {group} {problem}"), &repair, "");
        None
    }

    /// A TTL or hop limit; `None` if it is not there or none.
    fn ttl(&mut self, keyword: &str, written: Option<&Located<String>>) -> Option<u8> {
        let written = written?;
        let ttl = written.value.trim().parse().ok();
        if ttl.is_none() {
            let message = format!("{keyword} must be 0 to 255, not `{}`", written.value);
            self.repair(written.at, message, "it is ignored", "");
        }
        ttl
    }

    fn unique_vrid(
        &mut self,
        router: &RouterConfig,
        at: Position,
        vrids: &mut HashMap<(String, Family, Vrid), (String, Position)>,
    ) {
        let key = (router.interface.clone(), router.family(), router.vrid);
        if let Some((other, line)) = vrids.get(&key) {
            let message = format!(
                "{} and {other} (line {}) both use {} {} on {}",
                router.name, line.line, self.format.vrid, router.vrid, router.interface
            );
            self.report.error(at, message, "each router on an interface has its own");
        } else {
            vrids.insert(key, (router.name.clone(), at));
        }
    }

    /// The virtual MAC address that a router has; `None` for that of its VRID.
    fn own_virtual_mac(
        &mut self,
        written: Option<&Located<String>>,
        family: Family,
        vrid: Option<Vrid>,
    ) -> Option<Mac> {
        let (Some(Located { value, at }), Some(vrid)) = (written, vrid) else { return None };
        let bytes = text::mac(value).unwrap_or_default().into_iter().chain([vrid.get()]);
        let bytes: Vec<u8> = bytes.take(size_of::<Mac>()).collect();
        let Ok(mac) = Mac::try_from(bytes) else {
            let message = format!("`{value}` is no MAC address");
            self.repair(*at, message, "that of the VRID is used", MAC_FORM);
            return None;
        };
        // The bit of groups (IEEE 802).
        if mac[0] & 1 != 0 || mac == [0; 6] {
            let message = format!("{} is not the MAC address of a single station", Colons(mac));
            self.repair(*at, message, "that of the VRID is used", MAC_FORM);
            return None;
        }
        (mac != virtual_mac::of_router(family.number(), vrid.get())).then_some(mac)
    }

    /// Frames to a virtual MAC address are for one router.
    fn unique_virtual_macs(
        &mut self,
        router: &RouterConfig,
        at: Position,
        macs: &mut HashMap<(Mac, String), (String, Position)>,
    ) {
        let mac = router.virtual_mac_address();
        let own = router.virtual_mac.then_some(router.interface.as_str());
        for dev in own.into_iter().chain(router.virtual_mac_devs()) {
            let before =
                macs.entry((mac, dev.to_owned())).or_insert_with(|| (router.name.clone(), at));
            if before.0 != router.name {
                let (other, line) = (&before.0, before.1.line);
                let message = format!(
                    "{} and {other} (line {line}) both have the virtual MAC address {} on {dev}",
                    router.name,
                    Colons(mac)
                );
                self.report.error(at, message, "each router on an interface has its own");
                return;
            }
        }
    }

    /// Two routers that hold the same address take it away from each other.
    fn unique_addresses(
        &mut self,
        router: &RouterConfig,
        at: Position,
        owners: &mut HashMap<(IpAddr, String), String>,
    ) {
        for address in router.addresses.iter().chain(&router.excluded) {
            let dev = address.dev.as_ref().unwrap_or(&router.interface).clone();
            let owner = owners.entry((address.address, dev)).or_insert_with(|| router.name.clone());
            if *owner != router.name {
                let message = format!(
                    "{} is an address of {owner} too; both will add and remove it",
                    address.address
                );
                self.report.warning(at, message, "");
            }
        }
    }
}

/// Why an address cannot be held by a router.
fn unusable(address: &Address) -> Option<String> {
    let ip = address.address;
    if let Some(problem) = no_host(ip) {
        return Some(format!("{ip} {problem}"));
    }
    if let Some(label) = address.label.as_ref().filter(|label| label.len() > MAX_NAME) {
        return Some(format!("the label `{label}` is longer than 15 characters"));
    }
    let dev = address.dev.as_ref().filter(|dev| !text::is_interface_name(dev));
    dev.map(|dev| format!("`{dev}` cannot be the name of an interface"))
}

/// Why an address cannot be that of a host.
fn no_host(address: IpAddr) -> Option<&'static str> {
    match address {
        address if address.is_unspecified() => Some("is no address of a host"),
        address if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("is a broadcast address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Why no advertisement can come from an address.
fn no_sender(address: IpAddr) -> Option<&'static str> {
    let impossible = match address {
        IpAddr::V4(address) => address.octets().is_impossible_source(),
        IpAddr::V6(address) => address.octets().is_impossible_source(),
    };
    no_host(address)
        .or_else(|| impossible.then_some("is an address from which nobody can advertise"))
}
