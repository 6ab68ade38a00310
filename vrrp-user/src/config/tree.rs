//! A configuration as keys and values: what `check --json` shows, and `convert` writes as TOML.
//!
//! The keys are those of the TOML format, and every default is filled in. Each structure of the model is taken
//! apart without `..`, so that nothing that is added to it can be forgotten here.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::address::AddressFlags;
use super::model::{
    Address, Authentication, Config, Delays, Extras, Fixed, GarpGroup, LinkDelay, Pauses, Peer,
    Router, Transport, V3Checksum,
};
use super::text::scope_name;
use crate::capture::{self, CaptureMode};
use crate::engine::time::Nanos;
use crate::engine::types::{GarpPolicy, Version};

mod scripts;
mod track;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not there.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Keys and values.
    Table(Table),
}

/// Keys and values, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(pub Vec<(&'static str, Value)>);

impl Table {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Adds a key behind all others.
    pub fn push(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push((key, value.into()));
    }
}

impl<const N: usize> From<[(&'static str, Value); N]> for Value {
    fn from(table: [(&'static str, Value); N]) -> Self {
        Self::Table(Table(table.into()))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u8> for Value {
    fn from(value: u8) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i16> for Value {
    fn from(value: i16) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<IpAddr> for Value {
    fn from(value: IpAddr) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<Nanos> for Value {
    fn from(value: Nanos) -> Self {
        Self::Text(duration(value))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Integer(value) => to.serialize_i64(*value),
            Self::Text(value) => to.serialize_str(value),
            Self::List(values) => {
                let mut list = to.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(value)?;
                }
                list.end()
            }
            Self::Table(table) => table.serialize(to),
        }
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// A time with its unit, as the TOML format writes it, exactly.
fn duration(span: Nanos) -> String {
    const SECOND: u64 = 1_000_000_000;
    const MILLISECOND: u64 = 1_000_000;
    let Nanos(nanos) = span;
    if nanos % SECOND == 0 {
        format!("{}s", nanos / SECOND)
    } else if nanos % MILLISECOND == 0 {
        format!("{}ms", nanos / MILLISECOND)
    } else {
        let fraction = format!("{:09}", nanos % SECOND);
        format!("{}.{}s", nanos / SECOND, fraction.trim_end_matches('0'))
    }
}

/// Whether passwords are shown: not in what people paste into tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As they are.
    Shown,
    /// As stars.
    Hidden,
}

/// The whole configuration.
pub fn config(config: &Config, secrets: Secrets) -> Table {
    let Config {
        routers,
        groups,
        scripts,
        files,
        processes,
        scheduling,
        metrics,
        control,
        notify,
        fixed,
        delays,
        capture,
    } = config;
    let Delays { startup, after_boot, pauses, garp_groups, links } = delays;
    let Pauses { garp, gna } = pauses;
    let mut membership = HashMap::new();
    for group in groups {
        membership
            .extend(group.members.iter().map(|member| (member.as_str(), group.name.as_str())));
    }
    let routers = routers.iter().map(|one| {
        let group = membership.get(one.name.as_str()).copied();
        router(one, group, secrets)
    });
    let mut root = Table::default();
    root.push("sched", scheduling.map(|scheduling| scheduling.to_string()));
    root.push("metrics", metrics.as_ref().map(ToString::to_string));
    root.push("capture", capture.default.map(CaptureMode::name));
    for (key, span) in [
        ("startup_delay", startup),
        ("delay_after_boot", after_boot),
        ("garp_interval", garp),
        ("gna_interval", gna),
    ] {
        root.push(key, Some(*span).filter(|span| *span > Nanos::ZERO));
    }
    root.push("control", scripts::control(control));
    root.0.extend(scripts::settings(notify));
    root.push("static", unmoving(fixed));
    root.push("garp_group", garp_groups.iter().map(garp_group).collect::<Vec<_>>());
    root.push("interface", interfaces(links, capture));
    root.push("script", scripts.iter().map(track::script).collect::<Vec<_>>());
    root.push("file", files.iter().map(track::file).collect::<Vec<_>>());
    root.push("process", processes.iter().map(track::process).collect::<Vec<_>>());
    root.push("group", groups.iter().map(track::group).collect::<Vec<_>>());
    root.push("router", routers.collect::<Vec<_>>());
    root
}

/// `[static]`.
fn unmoving(fixed: &Fixed) -> Value {
    let Fixed { addresses, routes, rules } = fixed;
    [
        ("addresses", addresses.iter().map(address).collect::<Vec<_>>().into()),
        ("routes", lines(routes)),
        ("rules", lines(rules)),
    ]
    .into()
}

/// `[[garp_group]]`.
fn garp_group(group: &GarpGroup) -> Value {
    let GarpGroup { interfaces, pauses: Pauses { garp, gna } } = group;
    [
        ("interfaces", interfaces.clone().into()),
        ("garp_interval", (*garp).into()),
        ("gna_interval", (*gna).into()),
    ]
    .into()
}

/// `[[interface]]`.
fn interfaces(links: &[LinkDelay], capture: &capture::Settings) -> Vec<Value> {
    let mut rest = capture.interfaces.clone();
    let delayed = links.iter().map(|link| {
        let LinkDelay { interface, down, up } = link;
        let mut table = Table::default();
        table.push("name", interface.as_str());
        table.push("down_delay", *down);
        table.push("up_delay", *up);
        if let Some(best) = rest.remove(interface) {
            table.push("capture", capture::setting_name(best));
        }
        Value::Table(table)
    });
    let mut interfaces: Vec<Value> = delayed.collect();
    interfaces.extend(rest.iter().map(|(name, best)| {
        [("name", name.as_str().into()), ("capture", capture::setting_name(*best).into())].into()
    }));
    interfaces
}

/// Routes and rules are shown as they are written in a line.
fn lines<T: ToString>(values: &[T]) -> Value {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}

/// Adds to each router the line at which it begins.
pub fn add_lines(root: &mut Table, config: &Config) {
    let routers = root.0.iter_mut().find(|(key, _)| *key == "router");
    if let Some((_, Value::List(routers))) = routers {
        for (table, router) in routers.iter_mut().zip(&config.routers) {
            if let Value::Table(table) = table {
                let line = i64::try_from(router.line).unwrap_or(i64::MAX);
                table.0.push(("line", Value::Integer(line)));
            }
        }
    }
}

/// A virtual router, and the sync group that it is in.
pub fn router(router: &Router, group: Option<&str>, secrets: Secrets) -> Table {
    let Router {
        name,
        line: _,
        interface,
        vrid,
        priority,
        interval,
        authentication,
        transport,
        preempt,
        preempt_delay,
        max_learned_interval,
        addresses,
        excluded,
        garp,
        garp_elsewhere,
        down_adverts,
        lower_prio_advert,
        higher_prio_advert,
        owner_ignores_adverts,
        link_local_first,
        track_source,
        v3_checksum,
        track,
        dont_track_primary,
        notify,
        extras,
    } = router;
    let Extras { routes, rules, on_lost, promote_secondaries } = extras;
    let version: u8 = match interval.version() {
        Version::V2 => 2,
        Version::V3 => 3,
    };
    let (source, multicast_group, unicast) = match transport {
        Transport::Multicast { source, group } => ((*source).into(), (*group).into(), Value::Null),
        Transport::Unicast { source, peers, ttl, check_source } => {
            let peers: Vec<Value> = peers.iter().map(peer).collect();
            let unicast = [
                ("source", (*source).into()),
                ("peers", peers.into()),
                ("ttl", (*ttl).into()),
                ("check_source", (*check_source).into()),
            ];
            (Value::Null, Value::Null, unicast.into())
        }
    };
    let checksum = match v3_checksum {
        V3Checksum::Rfc5798 => "rfc5798",
        V3Checksum::Rfc9568 => "rfc9568",
    };
    let mut table = Table::default();
    table.push("name", name.as_str());
    table.push("interface", interface.as_str());
    table.push("vrid", vrid.get());
    table.push("priority", priority.0);
    table.push("version", version);
    table.push("interval", interval.span());
    table.push("authentication", password(authentication, secrets));
    table.push("preempt", *preempt);
    table.push("preempt_delay", *preempt_delay);
    let longest = max_learned_interval.map_or(Value::Null, |longest| Nanos::from(longest).into());
    table.push("max_learned_interval", longest);
    table.push("source", source);
    table.push("multicast_group", multicast_group);
    table.push("unicast", unicast);
    table.push("addresses", addresses.iter().map(address).collect::<Vec<_>>());
    table.push("excluded", excluded.iter().map(address).collect::<Vec<_>>());
    table.push("garp", gratuitous(garp, *garp_elsewhere));
    table.push("down_adverts", *down_adverts);
    table.push("lower_prio_advert", *lower_prio_advert);
    table.push("higher_prio_advert", higher_prio_advert.map_or(Value::Null, Value::from));
    table.push("owner_ignores_adverts", *owner_ignores_adverts);
    table.push("link_local_first", *link_local_first);
    table.push("track_source", *track_source);
    table.push("v3_checksum", checksum);
    table.push("group", group);
    table.push("track", track::tracks(track));
    table.push("dont_track_primary", *dont_track_primary);
    table.push("notify", scripts::notify(notify.as_deref()));
    table.push("routes", lines(routes));
    table.push("rules", lines(rules));
    table.push("on_address_lost", on_lost.name());
    table.push("promote_secondaries", *promote_secondaries);
    table
}

fn password(authentication: &Authentication, secrets: Secrets) -> Value {
    let Authentication::Pass(bytes) = authentication else { return Value::Null };
    let kind = ("type", Value::from("pass"));
    match secrets {
        Secrets::Hidden => [kind, ("password", "********".into())].into(),
        Secrets::Shown => {
            let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let bytes = bytes.get(..length.max(1)).unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => [kind, ("password", text.into())].into(),
                // keepalived cuts within a character.
                Err(_) => {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    [kind, ("password_hex", hex.into())].into()
                }
            }
        }
    }
}

/// One from which every TTL is accepted is only an address.
fn peer(peer: &Peer) -> Value {
    let Peer { address, min_ttl, max_ttl } = *peer;
    if peer.accepts_all() {
        return address.into();
    }
    [("address", address.into()), ("min_ttl", min_ttl.into()), ("max_ttl", max_ttl.into())].into()
}

fn address(address: &Address) -> Value {
    let Address {
        address: ip,
        prefix,
        dev,
        label,
        scope,
        broadcast,
        peer,
        flags,
        preferred_lft,
        no_track,
    } = address;
    // With a peer, the prefix length is the peer's.
    let (own, peer) = match peer {
        None => (format!("{ip}/{prefix}"), None),
        Some(peer) => (ip.to_string(), Some(format!("{peer}/{prefix}"))),
    };
    let lifetime = match (ip, preferred_lft) {
        (IpAddr::V4(_), _) => None,
        (IpAddr::V6(_), None) => Some("forever".to_owned()),
        (IpAddr::V6(_), Some(seconds)) => Some(format!("{seconds}s")),
    };
    let mut table = Table::default();
    table.push("address", own);
    table.push("peer", peer);
    table.push("dev", dev.clone());
    table.push("label", label.clone());
    table.push("scope", scope_name(*scope));
    table.push("broadcast", *broadcast);
    table.push("no_track", *no_track);
    for (word, flag) in AddressFlags::NAMED {
        table.push(word, flags.contains(flag));
    }
    table.push("dad", ip.is_ipv6() && !flags.contains(AddressFlags::NODAD));
    table.push("preferred_lft", lifetime);
    table.into()
}

fn gratuitous(garp: &GarpPolicy, elsewhere: Nanos) -> Value {
    let GarpPolicy {
        master_repeat,
        master_delay,
        refresh,
        refresh_repeat,
        lower_prio_repeat,
        lower_prio_delay,
    } = *garp;
    [
        ("repeat", master_repeat.into()),
        ("delay", master_delay.into()),
        ("refresh", refresh.into()),
        ("refresh_repeat", refresh_repeat.into()),
        ("lower_prio_repeat", lower_prio_repeat.into()),
        ("lower_prio_delay", lower_prio_delay.into()),
        ("other_interfaces", elsewhere.into()),
    ]
    .into()
}

/// An address without options, all of whose values are the defaults of an address.
pub fn plain_address(ip: IpAddr, prefix: u8) -> Value {
    address(&Address::new(ip, prefix))
}
