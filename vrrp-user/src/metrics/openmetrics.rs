//! The counters as metrics: names and units by the conventions of Prometheus.
//!
//! Straight from the maps, family by family: with thousands of routers, one copy of the values and one text are
//! all the memory that it takes, and only while it is written.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use vrrp_common::maps::{Lease, PeerCounters, PeerKey, VipCounters};
use vrrp_common::reason::{Reason, Verdict};

use super::process::Process;
use super::{Known, Names, interface, interfaces, is_fenced};
use crate::api::ScriptStatus;
use crate::core::InterfaceAddr;
use crate::engine::time::Nanos;
use crate::io::bpf::Error;
use crate::io::reader::Reader;
use crate::io::scripts::Board;
use crate::io::timer;
use crate::types::netns;
use crate::wire::family::from_field;

/// In front of every name.
const PREFIX: &str = "vrrp";

/// The two texts that scrapers understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4: what `curl`, `promtool` and older collectors want.
    Classic,
}

impl Format {
    /// For the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What may be left out, as there can be thousands of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Series of each address that is heard by each router.
    pub peers: bool,
    /// Series of each virtual address.
    pub addresses: bool,
}

/// What tells the series of one router from those of another.
type RouterLabels = Vec<(&'static str, String)>;

/// All that is told at one moment.
#[derive(Debug)]
pub struct Snapshot {
    left_out: LeftOut,
    known: Vec<Known>,
    /// Of each of them.
    leases: Vec<Lease>,
    /// Names of interfaces by the index of a VIP in `vips`.
    vip_interfaces: Vec<String>,
    vips: Vec<(InterfaceAddr, VipCounters)>,
    peers: Vec<(PeerKey, PeerCounters)>,
    reasons: Vec<(Reason, u64)>,
    failures: Vec<(&'static str, u64)>,
    started: Nanos,
    /// What became of requests for metrics, by name.
    requests: Vec<(&'static str, u64)>,
    scripts: Vec<ScriptStatus>,
    /// How many scripts and fifos are disabled.
    disabled: u64,
    /// When the configuration was last read again, and whether it is in force.
    reload: Option<(Nanos, bool)>,
    /// What is wrong, by identifier, if the daemon could be asked.
    problems: Option<BTreeMap<&'static str, u64>>,
    /// This process, as far as it can be seen.
    process: Option<Process>,
    /// Seconds since 1970, now, and at which `CLOCK_MONOTONIC` was zero.
    time: f64,
    epoch: f64,
}

/// An interface, and the network namespace that it is in, if that is another one than the daemon's.
fn interface_labels(name: &str) -> Vec<(&'static str, String)> {
    let (netns, interface) = netns::split(name);
    let netns = netns.map(|netns| ("netns", netns.to_owned()));
    [("interface", interface.to_owned())].into_iter().chain(netns).collect()
}

impl Snapshot {
    /// Reads everything once.
    pub fn take(reader: &Reader, requests: Vec<(&'static str, u64)>) -> Result<Self, Error> {
        let known = reader.routers()?;
        let leases: Result<_, Error> = known.iter().map(|known| reader.lease(known.0)).collect();
        let vips = reader.vips()?;
        let names = Names::new(&known);
        let vip_interfaces = vips.iter().map(|(key, _)| names.get(key.iface.ifindex)).collect();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            left_out: LeftOut::default(),
            time: since_1970.as_secs_f64(),
            vip_interfaces,
            vips,
            peers: reader.peers()?,
            reasons: reader.reasons()?,
            failures: reader.counters()?,
            started: Nanos(reader.control().started_ns),
            requests,
            scripts: Vec::new(),
            disabled: 0,
            reload: None,
            problems: None,
            process: Process::read(),
            epoch: since_1970.as_secs_f64() - timer::now().as_secs_f64(),
            leases: leases?,
            known,
        })
    }

    /// With what is known of scripts.
    #[must_use]
    pub fn with_scripts(mut self, board: &Board) -> Self {
        self.failures.extend(board.counters());
        self.scripts = board.scripts(timer::now());
        let tracked = self.scripts.iter().filter(|script| script.health == "disabled").count();
        self.disabled = (board.disabled().len() + tracked) as u64;
        self.reload = board.reload();
        self
    }

    /// With what is wrong.
    #[must_use]
    pub fn with_problems(mut self, problems: Option<BTreeMap<&'static str, u64>>) -> Self {
        self.problems = problems;
        self
    }

    /// Without some series.
    #[must_use]
    pub fn without(mut self, left_out: LeftOut) -> Self {
        self.left_out = left_out;
        self
    }

    /// The whole text.
    pub fn write(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        if let Some(process) = self.process {
            registry.register_collector(Box::new(process));
        }
        registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(self));
        match format {
            Format::OpenMetrics => {
                let mut out = String::new();
                text::encode(&mut out, &registry)?;
                Ok(out)
            }
            Format::Classic => {
                let mut out = Classic::default();
                text::encode(&mut out, &registry)?;
                Ok(out.text)
            }
        }
    }

    /// A moment of `CLOCK_MONOTONIC` in seconds since 1970.
    fn unix(&self, at: u64) -> f64 {
        self.epoch + Nanos(at).as_secs_f64()
    }

    fn routers(&self, families: &mut Families<'_>) -> fmt::Result {
        let labels = self.known.iter().map(|(_, info, _)| {
            let mut labels = vec![("router", info.name().to_owned())];
            labels.extend(interface_labels(&interface(info)));
            labels.push(("vrid", info.vrid.to_string()));
            labels
        });
        let labels: Vec<RouterLabels> = labels.collect();
        let each = || labels.iter().zip(&self.known);
        families.gauges(
            "router_state",
            "State of the virtual router: 0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT",
            None,
            each().map(|(labels, (_, info, _))| (labels, i64::from(info.state))),
        )?;
        families.gauges(
            "router_priority",
            "Effective priority of the virtual router, 1 to 255",
            None,
            each().map(|(labels, (_, info, _))| (labels, i64::from(info.priority))),
        )?;
        families.gauges(
            "router_configured_priority",
            "Configured priority of the virtual router, 1 to 255",
            None,
            // Zero of a daemon whose maps have no such field.
            each()
                .filter(|(_, (_, info, _))| info.configured_priority > 0)
                .map(|(labels, (_, info, _))| (labels, i64::from(info.configured_priority))),
        )?;
        families.gauges(
            "router_address_conflicts",
            "Addresses of the virtual router, master here, that another host claims at present by ARP or neighbour discovery: a \
             split brain",
            None,
            each().map(|(labels, (_, info, _))| (labels, i64::from(info.address_conflicts))),
        )?;
        families.gauges(
            "router_interval",
            "Advertisement interval in force: as backup with version 3 the master's",
            Some(&Unit::Seconds),
            each().map(|(labels, (_, info, _))| (labels, f64::from(info.interval_cs) / 100.0)),
        )?;
        families.gauges(
            "router_configured_interval",
            "Configured advertisement interval",
            Some(&Unit::Seconds),
            each().map(|(labels, (_, info, _))| {
                (labels, f64::from(info.configured_interval_cs) / 100.0)
            }),
        )?;
        families.gauges(
            "router_foreign_addresses",
            "Virtual addresses of the router that others have put on this host",
            None,
            each().map(|(labels, (_, info, _))| (labels, i64::from(info.foreign_addresses))),
        )?;
        families.gauges(
            "router_state_change_timestamp",
            "Time of the last change of state, since 1970",
            Some(&Unit::Seconds),
            each()
                .filter(|(_, (_, info, _))| info.since_ns > 0)
                .map(|(labels, (_, info, _))| (labels, self.unix(info.since_ns))),
        )?;
        families.gauges(
            "router_last_advert_timestamp",
            "Arrival of the last accepted advertisement, since 1970",
            Some(&Unit::Seconds),
            each()
                .filter(|(_, (_, _, slot))| slot.last_seen_ns > 0)
                .map(|(labels, (_, _, slot))| (labels, self.unix(slot.last_seen_ns))),
        )?;
        type Count = fn(&Known) -> u64;
        let counters: [(&str, &str, Count); 9] = [
            (
                "router_adverts_received",
                "Advertisements that passed the receive checks",
                |(_, _, slot)| slot.adverts,
            ),
            ("router_adverts_sent", "Advertisements sent", |(_, info, _)| info.adverts_sent),
            (
                "router_adverts_refused",
                "Advertisements for the router that failed a receive check",
                |(_, _, slot)| slot.refused,
            ),
            (
                "router_priority_zero_received",
                "Accepted advertisements with priority 0: a master resigned",
                |(_, _, slot)| slot.priority_zero,
            ),
            (
                "router_priority_zero_sent",
                "Advertisements with priority 0 sent: the router resigned",
                |(_, info, _)| info.priority_zero_sent,
            ),
            (
                "router_address_list_mismatches",
                "Accepted advertisements whose address list differs from ours",
                |(_, info, _)| info.address_list_mismatch,
            ),
            (
                "router_send_errors",
                "Advertisements that the kernel refused to send",
                |(_, info, _)| info.send_errors,
            ),
            ("router_became_master", "Transitions to MASTER", |(_, info, _)| info.became_master),
            ("router_state_changes", "Transitions, to any state", |(_, info, _)| info.transitions),
        ];
        for (name, help, count) in counters {
            families.counters(name, help, None, each().map(|(l, known)| (l, count(known))))?;
        }
        let leases = || each().zip(&self.leases);
        families.gauges(
            "router_fenced",
            "Whether this host is kept from answering for the addresses of the router",
            None,
            leases().map(|((l, (_, info, _)), lease)| (l, i64::from(is_fenced(info, lease)))),
        )?;
        families.counters(
            "router_fenced_packets",
            "Packets that were stopped because the router is fenced",
            None,
            leases().map(|((labels, _), lease)| (labels, lease.dropped)),
        )?;
        if self.left_out.peers { Ok(()) } else { self.peers(&labels, families) }
    }

    fn peers(&self, labels: &[RouterLabels], families: &mut Families<'_>) -> fmt::Result {
        // A router's peers follow each other, and both lists are ordered by index.
        let place = |slot: u32| self.known.binary_search_by_key(&slot, |(index, _, _)| *index).ok();
        let known_peers = self.peers.iter().filter_map(|(key, counters)| {
            let place = place(key.slot)?;
            let mut labels = labels.get(place)?.clone();
            let family = self.known.get(place)?.1.family;
            labels.push(("peer", from_field(family, key.source).to_string()));
            Some((labels, counters))
        });
        let peers: Vec<_> = known_peers.collect();
        families.counters(
            "peer_adverts_received",
            "Advertisements from this address that passed the receive checks",
            None,
            peers.iter().map(|(labels, counters)| (labels, counters.adverts)),
        )?;
        families.gauges(
            "peer_last_advert_timestamp",
            "Arrival of the last accepted advertisement from this address, since 1970",
            Some(&Unit::Seconds),
            peers.iter().map(|(labels, counters)| (labels, self.unix(counters.last_seen_ns))),
        )
    }

    fn addresses(&self, families: &mut Families<'_>) -> fmt::Result {
        let labels = self.vips.iter().zip(&self.vip_interfaces).map(|((key, _), interface)| {
            let mut labels = vec![("address", key.address.to_string())];
            labels.extend(interface_labels(interface));
            labels
        });
        let labels: Vec<_> = labels.collect();
        let packets = Unit::Other("packets".to_owned());
        type Count = fn(&VipCounters) -> u64;
        let counters: [(&str, &str, &Unit, Count); 4] = [
            ("vip_received", "Packets received for the virtual address", &packets, |c| {
                c.rx_packets
            }),
            (
                "vip_received",
                "Received for the virtual address, whole frames without FCS",
                &Unit::Bytes,
                |c| c.rx_bytes,
            ),
            ("vip_sent", "Packets sent from the virtual address", &packets, |c| c.tx_packets),
            (
                "vip_sent",
                "Sent from the virtual address, whole frames without FCS",
                &Unit::Bytes,
                |c| c.tx_bytes,
            ),
        ];
        for (name, help, unit, count) in counters {
            let series = labels.iter().zip(&self.vips);
            let series = series.map(|(labels, (_, counters))| (labels, count(counters)));
            families.counters(name, help, Some(unit), series)?;
        }
        Ok(())
    }

    fn interfaces(&self, families: &mut Families<'_>) -> fmt::Result {
        let interfaces = interfaces(&self.known);
        let labels: Vec<_> = interfaces.iter().map(|i| interface_labels(&i.name)).collect();
        let each = || labels.iter().zip(&interfaces);
        families.gauges(
            "interface_routers",
            "Virtual routers on the interface",
            None,
            each().map(|(l, i)| (l, i64::try_from(i.routers).unwrap_or(i64::MAX))),
        )?;
        families.counters(
            "interface_adverts_received",
            "Advertisements that passed the receive checks, of all routers on the interface",
            None,
            each().map(|(l, i)| (l, i.adverts_received)),
        )?;
        families.counters(
            "interface_adverts_sent",
            "Advertisements sent by all routers on the interface",
            None,
            each().map(|(l, i)| (l, i.adverts_sent)),
        )?;
        families.counters(
            "interface_adverts_refused",
            "Advertisements for routers on the interface that failed a receive check",
            None,
            each().map(|(l, i)| (l, i.refused)),
        )?;
        let capture: Vec<_> = interfaces
            .iter()
            .zip(&labels)
            .map(|(i, interface)| {
                let mode = i.capture.clone().unwrap_or_else(|| "none".to_owned());
                let mut labels = interface.clone();
                labels.push(("mode", mode));
                labels
            })
            .collect();
        families.infos(
            "interface_capture",
            "How advertisements are received: native (XDP in the driver), generic (XDP in the network stack), tc, raw (a packet socket) or none",
            capture.iter(),
        )
    }

    fn scripts(&self, families: &mut Families<'_>) -> fmt::Result {
        if self.scripts.is_empty() {
            return Ok(());
        }
        let scripts: Vec<_> =
            self.scripts.iter().map(|script| ([("script", &*script.name)], script)).collect();
        let up = scripts.iter().map(|(labels, script)| (labels, u64::from(script.health == "up")));
        families.gauges("script_up", "Whether a tracked script is up", None, up)?;
        type Count = fn(&ScriptStatus) -> u64;
        let counters: [(&str, &str, Count); 3] = [
            ("script_runs", "Runs of a tracked script that have ended", |script| script.runs),
            ("script_failures", "Runs of a tracked script that failed", |script| script.failures),
            (
                "script_overruns",
                "Times at which a tracked script was due while it still ran, or waited for a place",
                |script| script.overruns,
            ),
        ];
        for (name, help, count) in counters {
            let series = scripts.iter().map(|(labels, script)| (labels, count(script)));
            families.counters(name, help, None, series)?;
        }
        Ok(())
    }

    /// What has become of the configuration. There is no reload before the first one.
    fn configuration(&self, families: &mut Families<'_>) -> fmt::Result {
        families.gauge(
            "daemon_disabled_scripts",
            "Scripts and fifos of the configuration that do not run because they cannot, or must not",
            None,
            Some(self.disabled),
        )?;
        families.gauge(
            "daemon_last_reload_timestamp",
            "Last time that the configuration was read again, since 1970",
            Some(&Unit::Seconds),
            self.reload.map(|(at, _)| self.unix(at.0)),
        )?;
        families.gauge(
            "daemon_last_reload_successful",
            "Whether the configuration that was read last is in force; 0 where it was refused",
            None,
            self.reload.map(|(_, applied)| u64::from(applied)),
        )
    }

    /// What `status` would say is wrong.
    fn problems(&self, families: &mut Families<'_>) -> fmt::Result {
        let Some(problems) = &self.problems else { return Ok(()) };
        families.gauge(
            "problems",
            "Problems of the daemon and of all virtual routers, as in status",
            None,
            Some(problems.values().sum::<u64>()),
        )?;
        let by_cause: Vec<_> =
            problems.iter().map(|(cause, count)| ([("cause", *cause)], *count)).collect();
        let series = by_cause.iter().map(|(labels, count)| (labels, *count));
        families.gauges("problems_by_cause", "Problems that there are of each cause", None, series)
    }

    fn daemon(&self, families: &mut Families<'_>) -> fmt::Result {
        let build = [[("version", env!("CARGO_PKG_VERSION").to_owned())]];
        families.infos("build", "Version of the daemon", build.iter())?;
        families.gauge(
            "daemon_start_timestamp",
            "Start of the daemon, since 1970",
            Some(&Unit::Seconds),
            Some(self.unix(self.started.0)),
        )?;
        families.gauge(
            "daemon_time",
            "Clock of this host when this was read, since 1970: all timestamps here are by it",
            Some(&Unit::Seconds),
            Some(self.time),
        )?;
        self.configuration(families)?;
        let reasons = self.reasons.iter().filter(|(reason, _)| *reason != Reason::AddressList);
        let reasons: Vec<_> = reasons
            .map(|(reason, count)| {
                let verdict = match reason.verdict() {
                    Verdict::Pass => "pass",
                    Verdict::Drop => "drop",
                };
                ([("reason", reason.name()), ("verdict", verdict)], *count)
            })
            .collect();
        families.counters(
            "received",
            "Packets of IP protocol 112, claims of our addresses by ARP and neighbour discovery, frames to and from virtual MAC \
             addresses, and packets that a fence or accept mode stops, by what became of them; the reasons are those of \
             `vrrp-user stats`",
            Some(&Unit::Other("packets".to_owned())),
            reasons.iter().map(|(labels, count)| (labels, *count)),
        )?;
        let named = |label: &'static str, counts: &[(&'static str, u64)]| -> Vec<_> {
            counts.iter().map(|(name, count)| ([(label, *name)], *count)).collect()
        };
        let failures = named("failure", &self.failures);
        families.counters(
            "daemon_failures",
            "What the daemon refused or failed at, by the names of the counters of `vrrp-user status`",
            None,
            failures.iter().map(|(labels, count)| (labels, *count)),
        )?;
        let requests = named("result", &self.requests);
        families.counters(
            "metrics_requests",
            "Requests for metrics before this one by what became of them",
            None,
            requests.iter().map(|(labels, count)| (labels, *count)),
        )
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.daemon(&mut families)?;
        self.problems(&mut families)?;
        self.scripts(&mut families)?;
        self.interfaces(&mut families)?;
        self.routers(&mut families)?;
        if self.left_out.addresses { Ok(()) } else { self.addresses(&mut families) }
    }
}

/// Writes one family of metrics after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn counters<'l, L: EncodeLabelSet + 'l>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl Iterator<Item = (&'l L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in series {
            ConstCounter::new(value).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }

    /// A gauge without labels, if there is a value.
    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: Option<V>,
    ) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| ConstGauge::new(value).encode(metric))
    }

    fn gauges<'l, L: EncodeLabelSet + 'l, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl Iterator<Item = (&'l L, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in series {
            ConstGauge::new(value).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn infos<'l, L: EncodeLabelSet + 'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = &'l L>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        for labels in series {
            family.encode_info(labels)?;
        }
        Ok(())
    }
}

/// Turns OpenMetrics into the text format of Prometheus while it is written: there the name of a family has the
/// suffix of its samples, and units, infos and an end mark are unknown.
#[derive(Default)]
struct Classic {
    text: String,
    line: String,
    /// Name and text of a HELP line whose TYPE is still to come.
    help: Option<(String, String)>,
}

impl Classic {
    fn finish_line(&mut self) -> fmt::Result {
        let line = std::mem::take(&mut self.line);
        let mut words = line.splitn(4, ' ');
        let meta = [words.next(), words.next(), words.next(), words.next()];
        match meta {
            [Some("#"), Some("HELP"), Some(name), Some(help)] => {
                self.help = Some((name.to_owned(), help.to_owned()));
                Ok(())
            }
            [Some("#"), Some("TYPE"), Some(name), Some(kind)] => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some((of, help)) = self.help.take().filter(|(of, _)| of == name) {
                    writeln!(self.text, "# HELP {of}{suffix} {help}")?;
                }
                writeln!(self.text, "# TYPE {name}{suffix} {kind}")
            }
            [Some("#"), ..] => Ok(()),
            _ => writeln!(self.text, "{line}"),
        }
    }
}

impl Write for Classic {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(end) => {
                    self.line.push_str(end);
                    self.finish_line()?;
                }
                None => self.line.push_str(part),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use vrrp_common::FAMILY_V4;
    use vrrp_common::maps::{RouterInfo, Slot, capture, state};

    use super::*;

    fn snapshot() -> Snapshot {
        let mut info = RouterInfo {
            vrid: 51,
            family: FAMILY_V4,
            state: state::MASTER,
            capture: capture::NATIVE,
            since_ns: 2_000_000_000,
            adverts_sent: 26,
            configured_priority: 150,
            address_conflicts: 1,
            ..RouterInfo::default()
        };
        info.set_name("a \"b\" \\c");
        info.set_interface("eth0");
        let slot = Slot { adverts: 3, last_seen_ns: 1_500_000_000, ..Slot::default() };
        let mut source = [0; 16];
        source[..4].copy_from_slice(&[10, 0, 0, 2]);
        let counters = PeerCounters {
            adverts: 3,
            last_seen_ns: 1_500_000_000,
            priority: 50,
            ..PeerCounters::default()
        };
        let vip = VipCounters { rx_packets: 6, tx_bytes: 573, ..VipCounters::default() };
        Snapshot {
            // The second one is silent, and not the next one in the map.
            known: vec![(0, info, slot), (2, RouterInfo { vrid: 52, ..info }, Slot::default())],
            leases: vec![Lease::default(); 2],
            vip_interfaces: vec!["eth0".to_owned()],
            vips: vec![(InterfaceAddr::own(2, [10, 0, 0, 100]), vip)],
            peers: vec![
                (PeerKey { slot: 0, source }, counters),
                (PeerKey { slot: 1, source }, counters),
            ],
            reasons: vec![(Reason::Ttl, 3), (Reason::UnknownVrid, 4), (Reason::AddressList, 9)],
            failures: vec![("netlink_overrun", 1)],
            started: Nanos(1_000_000_000),
            requests: vec![("ok", 7)],
            scripts: Vec::new(),
            disabled: 2,
            reload: Some((Nanos(3_000_000_000), false)),
            problems: Some([("no-pins", 1), ("interface-down", 2)].into()),
            process: Some(Process::sample()),
            left_out: LeftOut::default(),
            time: 1007.5,
            epoch: 1000.0,
        }
    }

    /// The names of all samples.
    pub(crate) fn metric_names() -> std::collections::BTreeSet<String> {
        let script = ScriptStatus {
            name: "chk_web".to_owned(),
            command: "true".to_owned(),
            health: "up".to_owned(),
            since_s: 0.0,
            last_end: None,
            last_end_cause: None,
            last_run_s: None,
            runs: 1,
            failures: 0,
            overruns: 0,
        };
        let snapshot = Snapshot { scripts: vec![script], ..snapshot() };
        let text = snapshot.write(Format::OpenMetrics).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())).collect()
    }

    #[test]
    fn names_and_units_are_those_of_openmetrics() {
        let text = snapshot().write(Format::OpenMetrics).unwrap();
        let router = r#"{router="a \"b\" \\c",interface="eth0",vrid="51"}"#;
        for line in [
            "# TYPE vrrp_router_adverts_sent counter",
            &format!("vrrp_router_adverts_sent_total{router} 26"),
            &format!("vrrp_router_state{router} 2"),
            &format!("vrrp_router_state_change_timestamp_seconds{router} 1002.0"),
            &format!("vrrp_router_last_advert_timestamp_seconds{router} 1001.5"),
            r#"vrrp_peer_adverts_received_total{router="a \"b\" \\c",interface="eth0",vrid="51",peer="10.0.0.2"} 3"#,
            "# UNIT vrrp_vip_sent_bytes bytes",
            r#"vrrp_vip_sent_bytes_total{address="10.0.0.100",interface="eth0"} 573"#,
            r#"vrrp_vip_received_packets_total{address="10.0.0.100",interface="eth0"} 6"#,
            r#"vrrp_received_packets_total{reason="ttl",verdict="drop"} 3"#,
            r#"vrrp_received_packets_total{reason="unknown_vrid",verdict="pass"} 4"#,
            r#"vrrp_daemon_failures_total{failure="netlink_overrun"} 1"#,
            r#"vrrp_metrics_requests_total{result="ok"} 7"#,
            r#"vrrp_interface_capture_info{interface="eth0",mode="native"} 1"#,
            r#"vrrp_interface_adverts_sent_total{interface="eth0"} 52"#,
            r#"vrrp_interface_routers{interface="eth0"} 2"#,
            concat!("vrrp_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "vrrp_daemon_start_timestamp_seconds 1001.0",
            "vrrp_daemon_disabled_scripts 2",
            "vrrp_daemon_time_seconds 1007.5",
            &format!("vrrp_router_configured_priority{router} 150"),
            &format!("vrrp_router_address_conflicts{router} 1"),
            "vrrp_daemon_last_reload_timestamp_seconds 1003.0",
            "vrrp_daemon_last_reload_successful 0",
            "vrrp_problems 3",
            "vrrp_problems_by_cause{cause=\"interface-down\"} 2",
            "# TYPE process_cpu_seconds counter",
            "process_cpu_seconds_total 1.5",
            "process_open_fds 40",
            "process_resident_memory_bytes 8192",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(!text.contains("address_list\""), "it is counted per router\n{text}");
        // Never heard, and nobody's.
        assert_eq!(text.matches("vrrp_router_last_advert_timestamp_seconds{").count(), 1);
        assert_eq!(text.matches("vrrp_peer_adverts_received_total{").count(), 1);
    }

    #[test]
    fn thousands_of_series_can_be_left_out() {
        let written = |left_out| snapshot().without(left_out).write(Format::Classic).unwrap();
        let text = written(LeftOut { peers: true, addresses: false });
        assert!(!text.contains("vrrp_peer_") && text.contains("vrrp_vip_"), "{text}");
        let text = written(LeftOut { peers: false, addresses: true });
        assert!(text.contains("vrrp_peer_") && !text.contains("vrrp_vip_"), "{text}");
    }

    #[test]
    fn the_classic_text_names_families_as_their_samples() {
        let open = snapshot().write(Format::OpenMetrics).unwrap();
        let classic = snapshot().write(Format::Classic).unwrap();
        let samples = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(samples(&classic), samples(&open));
        assert!(classic.contains("# TYPE vrrp_router_adverts_sent_total counter\n"), "{classic}");
        assert!(classic.contains("# HELP vrrp_build_info Version of the daemon\n"), "{classic}");
        assert!(classic.contains("# TYPE vrrp_build_info gauge\n"), "{classic}");
        assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"), "{classic}");
        for line in classic.lines().filter(|line| line.starts_with("# TYPE")) {
            let name = line.split(' ').nth(2).unwrap();
            let sample = samples(&classic)
                .into_iter()
                .any(|s| s.starts_with(&format!("{name}{{")) || s.starts_with(&format!("{name} ")));
            assert!(sample, "no sample of {name}");
        }
    }
}
