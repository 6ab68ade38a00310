//! The counters of the maps, readable with and without a daemon where they are pinned.

pub mod baseline;
pub mod http;
pub mod openmetrics;
mod process;
pub mod rates;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use vrrp_common::counters::Counter;
use vrrp_common::maps::{Lease, PeerCounters, PeerKey, RouterInfo, Slot, state};
use vrrp_common::reason::Reason;

use crate::api::{
    InterfaceStats, LastFrom, Losses, PeerStats, RouterStats, SCHEMA, Stats, VipStats,
};
use crate::capture::CaptureMode;
use crate::engine::time::Nanos;
use crate::engine::types::State;
use crate::io::bpf::Error;
use crate::io::reader::Reader;
use crate::io::timer;
use crate::printable;
use crate::refused::Sampled;
use crate::types::netns;
use crate::wire::family::from_field;

/// One router: its index, what the daemon says of it, and what the kernel side does.
type Known = (u32, RouterInfo, Slot);

/// The interface of a router, with its network namespace before it if that is another one than the daemon's.
pub fn interface(info: &RouterInfo) -> Cow<'_, str> {
    netns::joined(info.netns(), info.interface())
}

/// Whether a router that its daemon says is master is fenced, be it alive or not: of any other, an earlier fence says nothing.
pub fn is_fenced(info: &RouterInfo, lease: &Lease) -> bool {
    info.state == state::MASTER && lease.is_fenced()
}

/// Reads everything once. The counters are those since the daemon started, whatever [`baseline`] says.
pub fn collect(reader: &Reader) -> Result<Stats, Error> {
    let known = reader.routers()?;
    let names = Names::new(&known);
    let peers = reader.peers()?;
    let counted = reader.vips()?;
    let counters = reader.counters()?;
    let reasons = reasons(reader, &known)?;
    let sampled = reader.samples()?;
    // After that, so that nothing seems to come from the future.
    let now = timer::now();
    let vips = counted.iter().map(|(key, counters)| VipStats {
        interface: names.get(key.iface.ifindex),
        address: key.address.to_string(),
        rx_packets: counters.rx_packets,
        rx_bytes: counters.rx_bytes,
        tx_packets: counters.tx_packets,
        tx_bytes: counters.tx_bytes,
        per_second: None,
    });
    let last_from = sampled.iter().filter_map(|(reason, sampled)| {
        let last = last_from(sampled, now, |ifindex| names.get(ifindex))?;
        Some((reason.name().to_owned(), last))
    });
    let control = reader.control();
    let counters: BTreeMap<String, u64> =
        counters.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    let mut stats = Stats {
        schema: SCHEMA,
        pid: control.pid,
        started_ns: control.started_ns,
        since_s: (now - Nanos(control.started_ns)).as_secs_f64(),
        routers: known
            .iter()
            .map(|known| Ok(router(known, &reader.lease(known.0)?, &peers, now)))
            .collect::<Result<_, Error>>()?,
        vips: vips.collect(),
        interfaces: interfaces(&known),
        reasons: reasons.into_iter().map(|(r, count)| (r.name().to_owned(), count)).collect(),
        last_from: last_from.collect(),
        counters,
        unread: reader.unread(),
        ..Stats::default()
    };
    stats.losses = losses(&stats);
    Ok(stats)
}

/// The packets per verdict, those included that only the daemon could judge.
fn reasons(reader: &Reader, known: &[Known]) -> Result<Vec<(Reason, u64)>, Error> {
    let mut reasons = reader.reasons()?;
    for (reason, count) in &mut reasons {
        // This one is not the kernel side's: only the daemon knows the whole list.
        if *reason == Reason::AddressList {
            *count = known.iter().map(|(_, info, _)| info.address_list_mismatch).sum();
        }
    }
    Ok(reasons)
}

fn router(
    (index, info, slot): &Known,
    lease: &Lease,
    peers: &[(PeerKey, PeerCounters)],
    now: Nanos,
) -> RouterStats {
    let since = |at: u64| (now - Nanos(at)).as_secs_f64();
    let first = peers.partition_point(|(key, _)| key.slot < *index);
    let own = peers[first..].iter().take_while(|(key, _)| key.slot == *index);
    let peers = own.map(|(key, counters)| PeerStats {
        address: from_field(info.family, key.source).to_string(),
        adverts_received: counters.adverts,
        priority: u8::try_from(counters.priority).unwrap_or(u8::MAX),
        last_seen_s: since(counters.last_seen_ns),
    });
    RouterStats {
        name: printable::text(info.name()).into_owned(),
        interface: printable::text(&interface(info)).into_owned(),
        vrid: info.vrid,
        state: State::from_repr(info.state).map_or("?", State::name).to_owned(),
        adverts_received: slot.adverts,
        adverts_sent: info.adverts_sent,
        refused: slot.refused,
        priority_zero_received: slot.priority_zero,
        priority_zero_sent: info.priority_zero_sent,
        address_list_mismatch: info.address_list_mismatch,
        send_errors: info.send_errors,
        fenced: is_fenced(info, lease),
        fenced_packets: lease.dropped,
        became_master: info.became_master,
        state_changes: info.transitions,
        last_seen_s: (slot.last_seen_ns > 0).then(|| since(slot.last_seen_ns)),
        peers: peers.collect(),
        per_second: None,
    }
}

/// The sums over the routers of each interface, in the order of the configuration.
fn interfaces(known: &[Known]) -> Vec<InterfaceStats> {
    let mut interfaces: Vec<InterfaceStats> = Vec::new();
    let mut places = HashMap::new();
    for (_, info, slot) in known {
        let name = interface(info);
        let place = *places.entry(name).or_insert_with_key(|name| {
            interfaces.push(InterfaceStats {
                name: name.to_string(),
                capture: CaptureMode::of_number(info.capture).map(|mode| mode.to_string()),
                ..InterfaceStats::default()
            });
            interfaces.len() - 1
        });
        let sum = &mut interfaces[place];
        sum.routers += 1;
        sum.adverts_received += slot.adverts;
        sum.adverts_sent += info.adverts_sent;
        sum.refused += slot.refused;
    }
    interfaces
}

fn losses(stats: &Stats) -> Losses {
    let reason = |reason: Reason| stats.reasons.get(reason.name()).copied().unwrap_or_default();
    let limited = [Reason::MasterLimited, Reason::OutranksLimited, Reason::ResignsLimited];
    let limited = limited.map(reason).iter().sum();
    let overrun = Counter::ALL.iter().find(|(counter, _)| *counter == Counter::NetlinkOverrun);
    let overruns = overrun.and_then(|(_, name)| stats.counters.get(*name));
    Losses {
        ring_full: reason(Reason::RingFull),
        reports_limited: limited,
        news_limited: limited,
        netlink_overrun: overruns.copied().unwrap_or_default(),
    }
}

/// What is to be said of the latest sample.
fn last_from(
    sampled: &Sampled,
    now: Nanos,
    interface: impl FnOnce(u32) -> String,
) -> Option<LastFrom> {
    let sample = sampled.recent.first()?;
    Some(LastFrom {
        address: from_field(sample.family, sample.source).to_string(),
        interface: interface(sample.ifindex),
        vlan: sample.vlan.into_iter().filter(|id| *id != 0).collect(),
        vrid: (sample.payload_len >= 2).then_some(sample.vrid),
        ago_s: (now - Nanos(sample.ktime_ns)).as_secs_f64(),
        not_sampled: sampled.missed,
    })
}

/// The names of interfaces as the daemon used them, which hold in whatever network namespace this runs.
struct Names<'a>(HashMap<u32, Cow<'a, str>>);

impl<'a> Names<'a> {
    fn new(known: &'a [Known]) -> Self {
        Self(known.iter().map(|(_, info, _)| (info.ifindex, interface(info))).collect())
    }

    /// Its name, else the name here, else the index.
    fn get(&self, ifindex: u32) -> String {
        if let Some(name) = self.0.get(&ifindex) {
            return name.to_string();
        }
        printable::interface(ifindex)
    }
}

#[cfg(test)]
mod tests {
    use vrrp_common::FAMILY_V4;

    use vrrp_common::sample::Sample;

    use super::*;

    #[test]
    fn the_newest_sample_is_shown() {
        let sample = |time, last| {
            let mut sample =
                Sample { ktime_ns: time, ifindex: 4, family: FAMILY_V4, ..Sample::default() };
            sample.source[..4].copy_from_slice(&[10, 0, 0, last]);
            sample
        };
        let mut newest = sample(5_000_000_000, 200);
        (newest.payload_len, newest.vrid, newest.vlan) = (12, 51, [7, 0]);
        let mut sampled = Sampled { recent: vec![newest, sample(4_000_000_000, 201)], missed: 9 };
        let name = |ifindex| format!("eth{ifindex}");
        let expected = LastFrom {
            address: "10.0.0.200".to_owned(),
            interface: "eth4".to_owned(),
            vlan: vec![7],
            vrid: Some(51),
            ago_s: 2.5,
            not_sampled: 9,
        };
        let now = Nanos(7_500_000_000);
        assert_eq!(last_from(&sampled, now, name), Some(expected));
        // Too short to have a VRID.
        sampled.recent.remove(0);
        assert_eq!(last_from(&sampled, now, name).unwrap().vrid, None);
        assert_eq!(last_from(&Sampled::default(), now, name), None);
    }
}
