//! Where `top` has its figures from: the pinned maps, which are there without a daemon too, and the control
//! socket for what only the daemon knows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vrrp_common::maps::{Lease, RouterInfo, Slot, VipCounters};
use vrrp_common::reason::Reason;

use super::model::{Counters, Daemon, Reading, Refusal, RouterRow, State, Traffic};
use crate::api::{RouterStatus, Status};
use crate::cli::clock::TimeOfDay;
use crate::cli::status::{format_duration, problems};
use crate::control::client;
use crate::core::InterfaceAddr;
use crate::engine::time::Nanos;
use crate::io::bpf;
use crate::io::reader::Reader;
use crate::io::timer;
use crate::metrics::{interface, is_fenced};
use crate::refused::Sampled;
use crate::types::instance::Instance;
use crate::wire::dissect::{Content, Packet};
use crate::wire::family::{Family, from_field};

/// A daemon is asked for its status no more often than this, and spends at most one part in twenty of its
/// time on the answers.
const PACE: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;

pub struct Source {
    instance: Instance,
    bpffs: Option<PathBuf>,
    status: Option<Status>,
    /// Why what a daemon says cannot be read that runs.
    unread: Option<String>,
    ask_at: Instant,
}

/// What the pinned maps hold.
struct Maps {
    pid: u32,
    routers: Vec<(u32, RouterInfo, Slot)>,
    /// Of each of these.
    leases: Vec<Lease>,
    vips: Vec<(InterfaceAddr, VipCounters)>,
    reasons: Vec<(Reason, u64)>,
    samples: Vec<(Reason, Sampled)>,
    unread: Vec<String>,
}

impl Source {
    /// Of an instance, whose pins are on this bpffs or where they usually are.
    pub fn new(instance: Instance, bpffs: Option<PathBuf>) -> Self {
        Self { instance, bpffs, status: None, unread: None, ask_at: Instant::now() }
    }

    pub fn read(&mut self) -> Reading {
        let begun = Instant::now();
        let gone = self.ask();
        let maps = bpf::find_bpffs(self.bpffs.as_deref())
            .and_then(|bpffs| Maps::read(&Reader::open(&self.instance.pins(&bpffs))?));
        let now = timer::now();
        let daemon = match (gone, &self.status, &maps) {
            (None, Some(status), _) => Daemon::Running {
                pid: status.pid,
                uptime_s: status.uptime_s,
                config: status.config.clone(),
            },
            // It runs, and is slow to answer, or cannot be understood.
            (None, None, Ok(maps)) => {
                Daemon::Running { pid: maps.pid, uptime_s: 0.0, config: String::new() }
            }
            (None, None, Err(error)) if self.unread.is_some() => {
                Daemon::Unreadable(bpf::chain(error))
            }
            (Some(why), _, Ok(_)) => Daemon::Stopped(why),
            (why, _, Err(error)) => Daemon::Nothing(match why {
                Some(why) => format!("{why}; {}", bpf::chain(error)),
                None => bpf::chain(error),
            }),
        };
        let is_running = matches!(daemon, Daemon::Running { .. });
        let no_maps = maps.as_ref().err().map(|error| {
            let told = self.status.as_ref();
            let told = told.and_then(|status| status.no_bpf.clone().or(status.no_pins.clone()));
            told.unwrap_or_else(|| bpf::chain(error))
        });
        let routers = match &maps {
            Ok(maps) => from_maps(maps, self.status.as_ref(), now),
            Err(_) => match &daemon {
                Daemon::Running { .. } => {
                    self.status.iter().flat_map(|s| &s.routers).map(from_status).collect()
                }
                Daemon::Unreadable(_) | Daemon::Stopped(_) | Daemon::Nothing(_) => Vec::new(),
            },
        };
        let refusals = maps.iter().flat_map(|maps| refusals(maps, now)).collect();
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds are not shown")]
        let at_s = now.0 as f64 / 1e9;
        Reading {
            instance: self.instance.name().to_owned(),
            at_s,
            clock: TimeOfDay::now().to_string().chars().take(8).collect(),
            daemon,
            no_maps,
            unread: self
                .unread
                .iter()
                .cloned()
                .chain(maps.map(|maps| maps.unread).unwrap_or_default())
                .collect(),
            problems: self.status.as_ref().filter(|_| is_running).map(problems).unwrap_or_default(),
            routers,
            refusals,
            took: begun.elapsed(),
        }
    }

    /// Asks the daemon if it is time to; why it is gone, if it is.
    fn ask(&mut self) -> Option<String> {
        let begun = Instant::now();
        let gone = if begun >= self.ask_at {
            match client::status(&self.instance) {
                Ok(status) => {
                    (self.status, self.unread) = (Some(status), None);
                    None
                }
                // It runs, and is of another version.
                Err(error @ (client::Error::Garbled(..) | client::Error::Refused(..))) => {
                    (self.status, self.unread) = (None, Some(error.to_string()));
                    None
                }
                Err(
                    error @ (client::Error::NotRunning { .. }
                    | client::Error::Permission(_)
                    | client::Error::Silent(..)
                    | client::Error::HungUp(_)),
                ) => {
                    self.unread = None;
                    Some(error.to_string())
                }
            }
        } else {
            UnixStream::connect(self.instance.socket()).err().map(|error| error.to_string())
        };
        if begun >= self.ask_at {
            self.ask_at = begun + (begun.elapsed() * SHARE).max(PACE * 9 / 10);
        }
        gone
    }
}

impl Maps {
    fn read(reader: &Reader) -> Result<Self, bpf::Error> {
        let routers = reader.routers()?;
        let leases: Result<_, _> = routers.iter().map(|(index, ..)| reader.lease(*index)).collect();
        Ok(Self {
            pid: reader.control().pid,
            routers,
            leases: leases?,
            vips: reader.vips()?,
            reasons: reader.reasons()?,
            samples: reader.samples()?,
            unread: reader.unread(),
        })
    }
}

/// What the maps say, with what the daemon last said besides.
fn from_maps(maps: &Maps, status: Option<&Status>, now: Nanos) -> Vec<RouterRow> {
    let known: HashMap<(&str, &str, u8), &RouterStatus> = status
        .iter()
        .flat_map(|status| &status.routers)
        .map(|router| ((router.interface.as_str(), router.family.as_str(), router.vrid), router))
        .collect();
    let indices: HashMap<&str, u32> = status
        .iter()
        .flat_map(|status| &status.interfaces)
        .filter_map(|interface| Some((interface.name.as_str(), interface.ifindex?)))
        .collect();
    let counted: HashMap<InterfaceAddr, VipCounters> = maps.vips.iter().copied().collect();
    let routers = maps.routers.iter().zip(&maps.leases).map(|((_, info, slot), lease)| {
        let fenced = is_fenced(info, lease);
        let status = known
            .get(&(&*interface(info), Family::from_number(info.family).label(), info.vrid))
            .copied();
        // INIT for what no daemon writes.
        let state = State::from_repr(info.state).unwrap_or(State::Init);
        // As long as they speak of the same state.
        let current = status.filter(|status| status.state == state.name());
        let traffic = status.map(|status| {
            let keys = status.addresses.iter().filter_map(|address| {
                let vip: IpAddr = address.address.split('/').next()?.parse().ok()?;
                Some(InterfaceAddr::own(*indices.get(&*address.dev)?, vip))
            });
            let mut sum = Traffic::default();
            for counters in keys.filter_map(|key| counted.get(&key)) {
                sum.rx_bytes += counters.rx_bytes;
                sum.tx_bytes += counters.tx_bytes;
            }
            sum
        });
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds are not shown")]
        let since_s = (info.since_ns != 0)
            .then(|| now.0.saturating_sub(info.since_ns) as f64 / 1e9)
            .or(current.map(|status| status.since_s));
        RouterRow {
            name: status.map_or(info.name(), |status| &status.name).to_owned(),
            interface: interface(info).into_owned(),
            vrid: info.vrid,
            version: info.version,
            state,
            fenced,
            priority: info.priority,
            master: match (state, current.and_then(|status| status.master.as_ref())) {
                (State::Master, _) if fenced => Some("another host".to_owned()),
                (State::Master, _) => Some("this host".to_owned()),
                (_, Some(master)) => Some(master.address.clone()),
                (State::Backup, None) if info.master != [0; 16] => {
                    Some(from_field(info.family, info.master).to_string())
                }
                (State::Backup | State::Init | State::Fault, None) => None,
            },
            since_s,
            counters: Some(Counters {
                received: slot.adverts,
                sent: info.adverts_sent,
                refused: slot.refused,
            }),
            traffic,
            details: current.map(details).unwrap_or_default(),
        }
    });
    routers.collect()
}

/// Without maps there are no counters.
fn from_status(status: &RouterStatus) -> RouterRow {
    let state = State::ALL.into_iter().find(|state| state.name() == status.state);
    let state = state.unwrap_or(State::Init);
    RouterRow {
        name: status.name.clone(),
        interface: status.interface.clone(),
        vrid: status.vrid,
        version: status.version,
        state,
        // That stands in maps.
        fenced: false,
        priority: status.priority,
        master: match (state, &status.master) {
            (State::Master, _) => Some("this host".to_owned()),
            (_, master) => master.as_ref().map(|master| master.address.clone()),
        },
        since_s: Some(status.since_s),
        counters: None,
        traffic: None,
        details: details(status),
    }
}

/// What is shown of the selected router besides its row.
fn details(status: &RouterStatus) -> Vec<(&'static str, String)> {
    let addresses: Vec<String> = status
        .addresses
        .iter()
        .map(|a| {
            let place =
                if a.dev == status.interface { String::new() } else { format!(" {}", a.dev) };
            let is_missing = status.state == State::Master.name() && !a.installed;
            format!("{}{place}{}", a.address, if is_missing { " (missing)" } else { "" })
        })
        .collect();
    let mut details = vec![
        ("reason", status.cause.clone().unwrap_or_else(|| "-".to_owned())),
        ("addresses", addresses.join(", ")),
        ("peers", status.transport.join(", ")),
        (
            "interval",
            format!("{} ms, master down after {} ms", status.interval_ms, status.master_down_ms),
        ),
    ];
    if let Some(master) = &status.master {
        details
            .insert(1, ("master", format!("{} of priority {}", master.address, master.priority)));
    }
    let more = [
        ("priority", status.priority_why.clone()),
        ("group", status.group.clone()),
        ("mac", status.virtual_mac.clone()),
        ("source", status.source.clone()),
    ];
    details.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
    // What is wrong first.
    let problems = status.problems.iter().map(|problem| ("problem", problem.clone()));
    problems.chain(details).collect()
}

/// What was not accepted, and who sent the last one.
fn refusals(maps: &Maps, now: Nanos) -> impl Iterator<Item = Refusal> {
    let is_refusal = |reason| !matches!(reason, Reason::Accepted | Reason::VirtualMacAccepted);
    maps.reasons.iter().filter(move |(reason, _)| is_refusal(*reason)).map(
        move |(reason, packets)| {
            let samples = maps.samples.iter().find(|(of, _)| of == reason);
            let last = samples.and_then(|(_, sampled)| sampled.recent.first());
            Refusal {
                reason: *reason,
                packets: *packets,
                last: last.map(|sample| {
                    let packet = Packet::of_sample(*reason, sample);
                    let vrid = packet.vrid().map(|vrid| format!(" vrid {vrid}"));
                    let source = match packet.content {
                        Content::Vrrp(vrrp) => vrrp.source.to_string(),
                        Content::GratuitousArp(arp) => arp.sender_ip.to_string(),
                        Content::Neighbour(neighbour) => neighbour.source.to_string(),
                        Content::Fenced(fenced) => fenced.source.to_string(),
                    };
                    let routers = &maps.routers;
                    let here = routers.iter().find(|(_, info, _)| info.ifindex == sample.ifindex);
                    let interface = match here {
                        Some((_, info, _)) => interface(info).into_owned(),
                        None => format!("#{}", sample.ifindex),
                    };
                    let ago = (now - Nanos(sample.ktime_ns)).as_secs_f64();
                    let vrid = vrid.unwrap_or_default();
                    format!("{source} {interface}{vrid}, {} ago", format_duration(ago))
                }),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use vrrp_common::FAMILY_V4;

    use super::*;
    use crate::api::{AddressStatus, InterfaceStatus, Master, SCHEMA};

    fn maps() -> Maps {
        let mut info = RouterInfo {
            ifindex: 4,
            state: State::Backup as u8,
            vrid: 51,
            priority: 100,
            version: 2,
            family: FAMILY_V4,
            since_ns: 1_000_000_000,
            adverts_sent: 7,
            ..RouterInfo::default()
        };
        info.set_name("VI_1");
        info.set_interface("eth0");
        let slot = Slot { adverts: 9, refused: 2, ..Slot::default() };
        info.master[..4].copy_from_slice(&[10, 0, 0, 2]);
        let key = InterfaceAddr::own(4, [10, 0, 0, 100]);
        let counters = VipCounters { rx_bytes: 500, tx_bytes: 600, ..VipCounters::default() };
        Maps {
            pid: 7,
            routers: vec![(0, info, slot)],
            leases: vec![Lease::default()],
            vips: vec![(key, counters)],
            reasons: vec![(Reason::Accepted, 9), (Reason::Ttl, 2)],
            samples: vec![],
            unread: vec![],
        }
    }

    fn status() -> Status {
        Status {
            more: false,
            schema: SCHEMA,
            instance: "default".to_owned(),
            version: String::new(),
            pid: 7,
            uptime_s: 60.0,
            config: "vrrp.conf".to_owned(),
            routers: vec![RouterStatus {
                cause_name: None,
                configured_priority: 100,
                priority_why: None,
                priority_causes: vec![],
                group: None,
                name: "VI_1".to_owned(),
                interface: "eth0".to_owned(),
                vrid: 51,
                family: "ipv4".to_owned(),
                version: 2,
                state: "BACKUP".to_owned(),
                cause: Some("started".to_owned()),
                since_s: 3.0,
                priority: 100,
                master: Some(Master { address: "10.0.0.3".to_owned(), priority: 150 }),
                interval_ms: 1000,
                master_down_ms: 3600,
                next_timer_ms: None,
                transport: vec!["multicast".to_owned()],
                fence: "claim".to_owned(),
                virtual_mac: None,
                hmac: None,
                accept: true,
                source: None,
                addresses: vec![AddressStatus {
                    address: "10.0.0.100/24".to_owned(),
                    dev: "eth0".to_owned(),
                    installed: false,
                }],
                problems: vec![],
                problem_causes: vec![],
            }],
            interfaces: vec![InterfaceStatus {
                name: "eth0".to_owned(),
                ifindex: Some(4),
                up: true,
                changes_in_ms: None,
                capture: None,
                capture_why: None,
                capture_lacks: None,
                capture_causes: Vec::new(),
                capture_lacks_causes: Vec::new(),
                error: None,
                error_cause: None,
            }],
            startup_delay_s: None,
            announcements_waiting: 0,
            no_bpf: None,
            no_pins: None,
            lacks: Vec::new(),
            lacks_causes: Vec::new(),
            reload: None,
            problems: Vec::new(),
            problem_causes: Vec::new(),
            always: Vec::new(),
            counters: std::collections::BTreeMap::new(),
            scripts: Vec::new(),
        }
    }

    #[test]
    fn the_maps_alone_tell_most() {
        let router = &from_maps(&maps(), None, Nanos(6_000_000_000))[0];
        assert_eq!(
            (router.name.as_str(), router.state, router.priority),
            ("VI_1", State::Backup, 100)
        );
        assert_eq!((router.master.as_deref(), router.since_s), (Some("10.0.0.2"), Some(5.0)));
        assert_eq!((router.traffic, router.details.len()), (None, 0));
        let counters = Counters { received: 9, sent: 7, refused: 2 };
        assert_eq!(router.counters, Some(counters));
    }

    #[test]
    fn the_maps_tell_who_is_fenced() {
        let mut maps = maps();
        maps.leases[0] = Lease { term: 1, fenced: 1, ..Lease::default() };
        assert!(!from_maps(&maps, None, Nanos(0))[0].fenced, "it is no master");
        maps.routers[0].1.state = State::Master as u8;
        let router = &from_maps(&maps, None, Nanos(0))[0];
        assert_eq!((router.fenced, router.master.as_deref()), (true, Some("another host")));
        maps.leases[0].lifted = 1;
        assert!(!from_maps(&maps, None, Nanos(0))[0].fenced);
    }

    #[test]
    fn the_daemon_tells_the_rest() {
        let mut status = status();
        let now = Nanos(6_000_000_000);
        let router = &from_maps(&maps(), Some(&status), now)[0];
        assert_eq!(router.master.as_deref(), Some("10.0.0.3"));
        assert_eq!(router.traffic, Some(Traffic { rx_bytes: 500, tx_bytes: 600 }));
        assert_eq!(router.details[0], ("reason", "started".to_owned()));
        // What it said of another state does not hold.
        status.routers[0].state = "MASTER".to_owned();
        let router = &from_maps(&maps(), Some(&status), now)[0];
        assert_eq!((router.master.as_deref(), router.details.len()), (Some("10.0.0.2"), 0));
        let router = from_status(&status.routers[0]);
        assert_eq!((router.state, router.master.as_deref()), (State::Master, Some("this host")));
    }
}
