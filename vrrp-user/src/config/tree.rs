//! A configuration as keys and values: what `check --json` shows, and `convert` writes as TOML.
//!
//! The keys are those of the TOML format, and every default is filled in. Each structure of the model is taken
//! apart without `..`, so that nothing that is added to it can be forgotten here.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::address::AddressFlags;
use super::model::{
    Address, Authentication, Config, Delays, Fixed, GarpGroup, Hmac, HmacKey, LinkDelay, Origin,
    Pauses, Peer, RouterConfig, Routing, Transport,
};
use super::socket::SocketAccess;
use super::text::scope_name;
use crate::capture::{self, CaptureMode};
use crate::engine::time::Nanos;
use crate::engine::types::{GarpPolicy, Vrid};
use crate::wire::ethernet::{Colons, Mac};

mod scripts;
mod track;

/// Keys and values, in the order in which they are shown.
pub type Table = Map<String, Value>;

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&duration(*self))
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
        netns,
        control,
        notify,
        fixed,
        track_groups,
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
    let SocketAccess { mode, group: socket_group } = control;
    let Fixed { addresses, routes, rules } = fixed;
    let (scripts_table, notify_table) = scripts::settings(notify);
    let delay = |span: &Nanos| (*span > Nanos::ZERO).then_some(*span);
    table(json!({
        "sched": scheduling.map(|scheduling| scheduling.to_string()),
        "metrics": metrics.as_ref().map(ToString::to_string),
        "netns": netns.as_ref().map(ToString::to_string),
        "capture": capture.default.map(CaptureMode::name),
        "startup_delay": delay(startup),
        "delay_after_boot": delay(after_boot),
        "garp_interval": delay(garp),
        "gna_interval": delay(gna),
        "control": { "socket_mode": mode.to_string(), "socket_group": socket_group },
        "scripts": scripts_table,
        "notify": notify_table,
        "static": {
            "addresses": addresses.iter().map(address).collect::<Vec<_>>(),
            "routes": lines(routes),
            "rules": lines(rules),
        },
        "track_group": track_groups,
        "garp_group": garp_groups.iter().map(garp_group).collect::<Vec<_>>(),
        "interface": interfaces(links, capture),
        "script": scripts,
        "file": files,
        "process": processes,
        "group": groups,
        "router": routers.collect::<Vec<_>>(),
    }))
}

/// The keys and values of a literal.
fn table(value: Value) -> Table {
    match value {
        Value::Object(table) => table,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Table::new()
        }
    }
}

/// `[[garp_group]]`.
fn garp_group(group: &GarpGroup) -> Value {
    let GarpGroup { interfaces, pauses: Pauses { garp, gna } } = group;
    json!({ "interfaces": interfaces, "garp_interval": garp, "gna_interval": gna })
}

/// `[[interface]]`.
fn interfaces(links: &[LinkDelay], capture: &capture::Settings) -> Vec<Value> {
    let mut rest = capture.interfaces.clone();
    let delayed = links.iter().map(|link| {
        let LinkDelay { interface, down, up } = link;
        let mut table = json!({ "name": interface, "down_delay": down, "up_delay": up });
        if let Some(best) = rest.remove(interface) {
            table["capture"] = capture::setting_name(best).into();
        }
        table
    });
    let mut interfaces: Vec<Value> = delayed.collect();
    interfaces.extend(
        rest.iter()
            .map(|(name, best)| json!({ "name": name, "capture": capture::setting_name(*best) })),
    );
    interfaces
}

/// Routes and rules are shown as they are written in a line.
fn lines<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Adds to each router the line at which it begins.
pub fn add_lines(root: &mut Table, config: &Config) {
    let routers = root.get_mut("router").and_then(Value::as_array_mut);
    for (table, router) in routers.into_iter().flatten().zip(&config.routers) {
        table["line"] = router.line.into();
    }
}

/// A virtual router, and the sync group that it is in.
pub fn router(router: &RouterConfig, group: Option<&str>, secrets: Secrets) -> Table {
    let RouterConfig {
        name,
        line: _,
        interface,
        vrid,
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
        garp,
        garp_extra_if,
        garp_extra_if_all,
        garp_own_address,
        down_adverts,
        lower_prio_advert,
        higher_prio_advert,
        owner_ignores_adverts,
        link_local_first,
        fence,
        virtual_mac,
        own_virtual_mac,
        virtual_mac_adverts,
        accept,
        track_source,
        v3_checksum,
        track,
        dont_track_primary,
        notify,
        routing,
    } = router;
    let Routing { routes, rules, on_lost, promote_secondaries } = routing;
    let (source, multicast_group, unicast) = match transport {
        Transport::Multicast { source, group } => (source, group, Value::Null),
        Transport::Unicast { source, peers, ttl, check_source } => {
            let peers: Vec<Value> = peers.iter().map(peer).collect();
            let unicast = json!({
                "source": source, "peers": peers, "ttl": ttl, "check_source": check_source,
            });
            (&None, &None, unicast)
        }
    };
    table(json!({
        "name": name,
        "interface": interface,
        "vrid": vrid.get(),
        "priority": priority.0,
        "version": interval.version().number(),
        "interval": interval.duration(),
        "authentication": password(authentication, secrets),
        "hmac": hmac.as_ref().map(|hmac| signatures(hmac, secrets)),
        "preempt": preempt,
        "preempt_delay": preempt_delay,
        "max_learned_interval": max_learned_interval.map(Nanos::from),
        "source": source,
        "multicast_group": multicast_group,
        "unicast": unicast,
        "addresses": addresses.iter().map(address).collect::<Vec<_>>(),
        "excluded": excluded.iter().map(address).collect::<Vec<_>>(),
        "garp": gratuitous(garp, (*garp_extra_if, *garp_extra_if_all), *garp_own_address),
        "down_adverts": down_adverts,
        "lower_prio_advert": lower_prio_advert,
        "higher_prio_advert": higher_prio_advert,
        "owner_ignores_adverts": owner_ignores_adverts,
        "link_local_first": link_local_first,
        "fence": fence.name(),
        "virtual_mac": match own_virtual_mac {
            Some(mac) if *virtual_mac => Value::from(own_mac(*mac, *vrid)),
            Some(_) | None => Value::from(*virtual_mac),
        },
        "virtual_mac_adverts": virtual_mac_adverts,
        "accept": accept,
        "track_source": track_source,
        "v3_checksum": v3_checksum,
        "group": group,
        "track": track,
        "dont_track_primary": dont_track_primary,
        "notify": notify,
        "routes": lines(routes),
        "rules": lines(rules),
        "on_address_lost": on_lost.name(),
        "promote_secondaries": promote_secondaries,
    }))
}

/// What stands in the place of something secret.
const STARS: &str = "********";

fn signatures(hmac: &Hmac, secrets: Secrets) -> Value {
    let Hmac { keys, active_key, anti_replay, time_window, mode } = hmac;
    let keys = keys.iter().map(|HmacKey { id, secret }| match (secret.origin(), secrets) {
        (Origin::File(path), _) => json!({ "id": id.get(), "file": &**path }),
        (Origin::Credential(name), _) => json!({ "id": id.get(), "credential": &**name }),
        (Origin::Inline, Secrets::Hidden) => json!({ "id": id.get(), "hex": STARS }),
        (Origin::Inline, Secrets::Shown) => {
            let hex = secret.expose().iter().map(|byte| format!("{byte:02x}"));
            json!({ "id": id.get(), "hex": hex.collect::<String>() })
        }
    });
    json!({
        "keys": keys.collect::<Vec<_>>(),
        "active_key": active_key.get(),
        "anti_replay": anti_replay.name(),
        "time_window": format!("{}s", time_window.seconds()),
        "mode": mode.name(),
    })
}

fn password(authentication: &Authentication, secrets: Secrets) -> Value {
    let (kind, bytes) = match authentication {
        Authentication::None => return Value::Null,
        Authentication::Pass(bytes) => ("pass", bytes),
        Authentication::Ah(bytes) => ("ah", bytes),
    };
    if secrets == Secrets::Hidden {
        return json!({ "type": kind, "password": STARS });
    }
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let bytes = bytes.get(..length.max(1)).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "type": kind, "password": text }),
        // keepalived cuts within a character.
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "type": kind, "password_hex": hex })
        }
    }
}

/// One from which every TTL is accepted is only an address.
fn peer(peer: &Peer) -> Value {
    let Peer { address, min_ttl, max_ttl } = *peer;
    if peer.accepts_all() {
        return json!(address);
    }
    json!({ "address": address, "min_ttl": min_ttl, "max_ttl": max_ttl })
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
        track_group,
        virtual_mac,
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
    let mut table = json!({
        "address": own,
        "peer": peer,
        "dev": dev,
        "label": label,
        "scope": scope_name(*scope),
        "broadcast": broadcast,
        "no_track": no_track,
        "track_group": track_group,
        "virtual_mac": virtual_mac,
    });
    for (word, flag) in AddressFlags::NAMED {
        table[word] = flags.contains(flag).into();
    }
    table["dad"] = (ip.is_ipv6() && !flags.contains(AddressFlags::NODAD)).into();
    table["preferred_lft"] = lifetime.into();
    table
}

/// Five bytes where the VRID follows, so that those of many routers are the same.
fn own_mac(mac: Mac, vrid: Vrid) -> String {
    let mut text = Colons(mac).to_string();
    if mac.last() == Some(&vrid.get()) {
        text.truncate("00:00:00:00:00".len());
    }
    text
}

fn gratuitous(garp: &GarpPolicy, (extra_if, all): (Nanos, bool), own_address: Nanos) -> Value {
    let GarpPolicy {
        master_repeat,
        master_delay,
        refresh,
        refresh_repeat,
        lower_prio_repeat,
        lower_prio_delay,
    } = *garp;
    json!({
        "repeat": master_repeat,
        "delay": master_delay,
        "refresh": refresh,
        "refresh_repeat": refresh_repeat,
        "lower_prio_repeat": lower_prio_repeat,
        "lower_prio_delay": lower_prio_delay,
        "other_interfaces": extra_if,
        "other_interfaces_all": all,
        "own_address": own_address,
    })
}

/// An address without options, all of whose values are the defaults of an address.
pub fn plain_address(ip: IpAddr, prefix: u8) -> Value {
    address(&Address::new(ip, prefix))
}
