//! What others are told of a core, from a look at it that changes nothing.
//!
//! Answering takes time from the engine's thread. Therefore no answer covers more than a few routers: what
//! is asked about thousands of them is asked in parts, and between two parts the loop looks at its timers.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::Core;
use super::interface_id::{InterfaceAddr, InterfaceId, NamespaceId};
use super::interface_table::{Capture, Subnets};
use super::route_book::{Object, ObjectView};
use super::signer::Signer;
use crate::api::events::{Events, Record, WallClock, Whose, health};
use crate::api::history::{Cursor, Entry, EventKind, EventSource};
use crate::api::problem::{Limitation, Problem, ProblemCounts, ProblemKind};
use crate::api::{
    AddressStatus, Garp, InterfaceStatus, Master, ObjectStatus, RouterDetail, RouterStatus,
    Routers, SCHEMA, Status, TimerStatus, TrackStatus,
};
use crate::config::model::Authentication;
use crate::engine::time::Nanos;
use crate::engine::types::{
    FaultCause, GarpPolicy, Names, RouterId, RouterSpec, RouterView, State,
};
use crate::refused::{Ours, Refused};
use crate::types::build;
use crate::wire::ethernet::Colons;

/// Routers in one part of an answer at most, and virtual addresses after which a part ends early: together far below a
/// millisecond.
pub const PART_ROUTERS: usize = 64;
const PART_ADDRESSES: usize = 256;
/// Entries of the history in one part.
const PART_EVENTS: usize = 256;
/// How long the addresses of a new master may be missing without a word about it.
const ADDING: Nanos = Nanos::from_secs(1);
/// Missing addresses that are named.
const PROBLEMS_SHOWN: usize = 4;
/// For how long a refused advertisement is a problem: some intervals of most senders.
const REFUSED_RECENTLY: Nanos = Nanos::from_secs(10);
/// Transitions that `status NAME` shows.
const TRANSITIONS: usize = 10;

/// What a status says besides what a core knows.
pub struct Outside<'a> {
    /// Now, on both clocks.
    pub wall: WallClock,
    /// What was refused of late ([`Core::receives_refusals`]).
    pub refused: &'a [(InterfaceId, Refused)],
    /// Name of the daemon on the machine.
    pub instance: &'a str,
    /// Its process.
    pub pid: u32,
    /// Why there is no BPF.
    pub no_bpf: Option<&'a str>,
    /// Why its maps are pinned nowhere.
    pub no_pins: Option<&'a str>,
    /// Whether an interface answers ARP for all addresses of the host, by its name.
    pub answers_arp: fn(&str) -> bool,
    /// What it lacks.
    pub lacks: &'a [Limitation],
    /// What was refused or failed.
    pub counters: BTreeMap<String, u64>,
}

impl Core {
    /// Somebody is about to ask how things are: what may have changed unnoticed is looked at. When masters were last heard
    /// ([`super::Input::LastSeen`]) is to be handed in as well.
    pub fn prepare_status(&mut self, now: Nanos) {
        self.now = now;
        self.look_if_stale(now);
        self.look_at_pins();
        self.look_at_refused();
    }

    /// The router of that name, or at `INTERFACE/VRID`.
    pub fn find(&self, name: &str) -> Option<RouterId> {
        let at = name.rsplit_once('/');
        let at = at.and_then(|(interface, vrid)| Some((interface, vrid.parse::<u8>().ok()?)));
        let named = self.ids().find(|id| *self.router(*id).name == *name);
        named.or_else(|| {
            let (interface, vrid) = at?;
            let there = |id: &RouterId| {
                let router = self.router(*id);
                *router.interface == *interface && router.vrid().get() == vrid
            };
            self.ids().find(there)
        })
    }

    /// How everything is, with the first routers.
    pub fn status(&self, outside: Outside<'_>) -> Status {
        let Outside { wall, refused, instance, pid, no_bpf, no_pins, answers_arp, lacks, counters } =
            outside;
        let now = wall.monotonic();
        let Routers { routers, more } = self.part(now, 0, refused, answers_arp);
        let (problems, problem_causes) = Problem::unzip(self.own_problems());
        Status {
            schema: SCHEMA,
            instance: instance.to_owned(),
            version: build::version().to_owned(),
            pid,
            uptime_s: (now - self.started).as_secs_f64(),
            config: self.config_path.to_string(),
            routers,
            more,
            interfaces: self.interface_status(now),
            startup_delay_s: self.startup_delay(now).map(|left| left.as_secs_f64()),
            announcements_waiting: self.delays.announcements(),
            reload: self.reloads.last(wall),
            no_bpf: no_bpf.map(str::to_owned),
            no_pins: no_pins.map(str::to_owned),
            lacks: lacks.iter().map(|lack| lack.text.clone()).collect(),
            lacks_causes: lacks.iter().map(|lack| lack.kind.name().to_owned()).collect(),
            problems,
            problem_causes,
            always: self.objects.book.fixed().map(|it| self.object_status(&it)).collect(),
            counters,
            // The control thread has them.
            scripts: Vec::new(),
        }
    }

    /// The routers from a number on, as many as are answered at once.
    pub fn part(
        &self,
        now: Nanos,
        begin: usize,
        refused: &[(InterfaceId, Refused)],
        answers_arp: fn(&str) -> bool,
    ) -> Routers {
        let (mut routers, mut addresses) = (Vec::new(), 0);
        let subnets = self.interfaces.subnets();
        for id in self.ids().skip(begin).take(PART_ROUTERS) {
            if addresses > PART_ADDRESSES {
                break;
            }
            addresses += self.router(id).addresses().count();
            routers.extend(self.router_status(now, id, refused, &subnets, answers_arp));
        }
        let more = begin + routers.len() < self.order.len() && !routers.is_empty();
        Routers { routers, more }
    }

    /// What is wrong with the daemon itself.
    fn own_problems(&self) -> impl Iterator<Item = Problem> {
        self.pin_problem().map(|text| ProblemKind::NoPins.because(text)).into_iter()
    }

    /// How many problems further routers have, after so many; of the first ones, with those of the daemon itself.
    pub fn problem_counts(
        &self,
        now: Nanos,
        begin: usize,
        refused: &[(InterfaceId, Refused)],
        answers_arp: fn(&str) -> bool,
    ) -> ProblemCounts {
        let mut counts = ProblemCounts::default();
        if begin == 0 {
            self.own_problems().for_each(|problem| counts.add(&problem));
        }
        let subnets = self.interfaces.subnets();
        for id in self.ids().skip(begin).take(PART_ROUTERS) {
            counts.routers += 1;
            let Some(view) = self.engine.view(id) else { continue };
            let problems = self.all_problems(now, id, &view, refused, &subnets, answers_arp);
            problems.iter().for_each(|problem| counts.add(problem));
        }
        counts.more = begin + counts.routers < self.order.len() && counts.routers > 0;
        counts
    }

    /// How long no router takes over any more; `None` when that is over.
    fn startup_delay(&self, now: Nanos) -> Option<Nanos> {
        Some(self.engine.starts_at()).filter(|at| *at > now).map(|at| at - now)
    }

    /// What keeps a backup from taking over, in words.
    fn waits(&self, state: State, now: Nanos) -> String {
        match (state, self.startup_delay(now)) {
            (State::Backup, Some(left)) => format!("; startup delay for another {left}"),
            (State::Init | State::Backup | State::Master | State::Fault, _) => String::new(),
        }
    }

    /// Whether it matters what was refused of late: while no router is master it does not, as a backup says that it hears
    /// no master.
    pub fn receives_refusals(&self) -> bool {
        self.ids().any(|id| self.engine.state(id) == Some(State::Master))
    }

    /// Who else has the router's addresses.
    fn conflicts(&self, id: RouterId, now: Nanos) -> Vec<String> {
        if self.watch.next().is_none() {
            return Vec::new();
        }
        let places = self.interface_addrs(id);
        let named = places.iter().filter_map(|(place, _)| {
            let name = &self.interfaces.get(place.iface)?.name;
            self.watch.problem(*place, name, now)
        });
        named.collect()
    }

    /// What a master does not hear of others, as far as it goes on.
    fn unreachable(
        &self,
        id: RouterId,
        now: Nanos,
        refused: &[(InterfaceId, Refused)],
    ) -> Vec<String> {
        let router = self.router(id);
        let (Some(State::Master), Some(iface)) = (self.engine.state(id), router.iface()) else {
            return Vec::new();
        };
        if refused.is_empty() {
            return Vec::new();
        }
        let addresses: Vec<IpAddr> = router.addresses().map(|address| address.address).collect();
        // They have the number that it has in the maps.
        let there = refused.iter().filter(|(on, _)| *on == iface).map(|(_, refused)| refused);
        let ours = Ours {
            ifindex: there.clone().next().map_or(0, |refused| refused.router().0),
            family: router.family(),
            vrid: router.vrid().get(),
            version: router.version().number(),
            addresses: &addresses,
        };
        let recent = there.filter(|refused| refused.at() + REFUSED_RECENTLY > now);
        recent.filter_map(|refused| refused.about(&ours)).collect()
    }

    fn router_status(
        &self,
        now: Nanos,
        id: RouterId,
        refused: &[(InterfaceId, Refused)],
        subnets: &Subnets<'_>,
        answers_arp: fn(&str) -> bool,
    ) -> Option<RouterStatus> {
        let router = self.router(id);
        let view = self.engine.view(id)?;
        let since = self.since(&view);
        let problems = self.all_problems(now, id, &view, refused, subnets, answers_arp);
        let (problems, problem_causes) = Problem::unzip(problems);
        let addresses = router.addresses_on().map(|(address, on)| AddressStatus {
            address: format!("{}/{}", address.address, address.prefix),
            dev: router.dev(address).to_owned(),
            installed: on.is_some_and(|iface| {
                self.interfaces.carries(InterfaceAddr { iface, address: address.address })
            }),
        });
        Some(RouterStatus {
            name: router.name.to_string(),
            interface: router.interface.to_string(),
            vrid: router.vrid().get(),
            family: router.family().label().to_owned(),
            version: router.version().number(),
            state: view.state.name().to_owned(),
            cause: view
                .cause
                .map(|cause| self.describe_cause(cause) + &self.waits(view.state, now)),
            cause_name: view.cause.map(|cause| cause.name().to_owned()),
            since_s: (now - since).as_secs_f64(),
            priority: view.priority.0,
            configured_priority: self.engine.spec(id)?.priority.0,
            priority_why: self.describe_priority(id),
            priority_causes: self.priority_causes(id).map(str::to_owned).collect(),
            group: self
                .engine
                .spec(id)?
                .group
                .map(|group| self.tracking.group_name(group).to_owned()),
            master: view.master.map(|(address, priority)| Master {
                address: address.to_string(),
                priority: priority.0,
            }),
            interval_ms: millis(view.interval.duration()),
            master_down_ms: millis(view.master_down_interval),
            next_timer_ms: view.next_timer.map(|at| millis(at - now)),
            transport: match router.peers() {
                None if router.group() == router.family().group() => vec!["multicast".to_owned()],
                None => vec!["multicast".to_owned(), router.group().to_string()],
                Some(peers) => peers.iter().map(|peer| peer.address.to_string()).collect(),
            },
            fence: if router.owner { "off" } else { router.fence.name() }.to_owned(),
            virtual_mac: router.any_virtual_mac().map(|mac| Colons(mac).to_string()),
            accept: router.accept,
            hmac: router.signer().map(Signer::status),
            source: router.source_in_use().map(|source| source.to_string()),
            addresses: addresses.collect(),
            problems,
            problem_causes,
        })
    }

    /// Since when a router has been in its state.
    fn since(&self, view: &RouterView) -> Nanos {
        if view.since == Nanos::ZERO { self.started } else { view.since }
    }

    /// What is wrong with a router at the moment, and what of that others do.
    fn all_problems(
        &self,
        now: Nanos,
        id: RouterId,
        view: &RouterView,
        refused: &[(InterfaceId, Refused)],
        subnets: &Subnets<'_>,
        answers_arp: fn(&str) -> bool,
    ) -> Vec<Problem> {
        let mut problems = self.problems(now, id, view.state, now - self.since(view));
        let of = |kind: ProblemKind| move |text| kind.because(text);
        problems.extend(self.election_problems(id, view, now));
        let conflicts = self.conflicts(id, now);
        problems.extend(conflicts.into_iter().map(of(ProblemKind::AddressConflict)));
        let unreachable = self.unreachable(id, now, refused);
        problems.extend(unreachable.into_iter().map(of(ProblemKind::AdvertsRefused)));
        let unfenced = self.unfenced_beside(id, subnets, answers_arp);
        problems.extend(unfenced.map(of(ProblemKind::FenceBypassed)));
        problems
    }

    /// What is wrong with a router at the moment.
    fn problems(&self, now: Nanos, id: RouterId, state: State, since: Nanos) -> Vec<Problem> {
        let of = |kind: ProblemKind| move |text| kind.because(text);
        let mut problems = self.link_problems_at(now, id);
        problems.extend(self.describe_faults(id));
        let disabled = self.describe_disabled(id).into_iter();
        problems.extend(disabled.map(of(ProblemKind::ScriptDisabled)));
        let foreign = self.foreign_problems(id).take(PROBLEMS_SHOWN);
        problems.extend(foreign.map(of(ProblemKind::ForeignAddress)));
        problems.extend(self.fence_problem(id).map(of(ProblemKind::NoFence)));
        problems.extend(self.accept_problem(id).map(of(ProblemKind::NoAcceptFilter)));
        let unsigned = self.router(id).signer().and_then(Signer::problem);
        problems.extend(unsigned.map(of(ProblemKind::HmacNotEnforced)));
        if state == State::Master && since > ADDING {
            let missing = self
                .interface_addrs(id)
                .into_iter()
                .filter(|(place, _)| !self.interfaces.carries(*place));
            let missing: Vec<String> =
                missing.map(|(place, _)| self.describe(place)).take(PROBLEMS_SHOWN).collect();
            if !missing.is_empty() {
                let text =
                    format!("is master, but has not got {}; see the log", missing.join(", "));
                problems.push(ProblemKind::AddressMissing.because(text));
            }
            let missing = self.missing_objects(id).take(PROBLEMS_SHOWN);
            let missing = missing.map(|what| format!("is master, but has not got {what}"));
            problems.extend(missing.map(of(ProblemKind::ObjectMissing)));
        }
        let removed = self.objects.limiter.problem(Some(id), now);
        problems.extend(removed.map(of(ProblemKind::RemovedByOthers)));
        problems
    }

    /// Everything about one router.
    pub fn detail(
        &self,
        wall: WallClock,
        id: RouterId,
        refused: &[(InterfaceId, Refused)],
        answers_arp: fn(&str) -> bool,
    ) -> Option<RouterDetail> {
        let now = wall.monotonic();
        let subnets = self.interfaces.subnets();
        let status = self.router_status(now, id, refused, &subnets, answers_arp)?;
        let timers = self.engine.timers(id).into_iter().map(|(timer, at)| TimerStatus {
            name: timer.name().to_owned(),
            in_ms: millis(at - now),
        });
        let tracks = self.describe_tracks(id).into_iter();
        let tracks = tracks.map(|(name, is, effect)| TrackStatus {
            name,
            state: is.to_string(),
            health: health(is),
            effect: effect.to_string(),
            effect_name: effect.name().to_owned(),
        });
        let history = self.history.transitions(id, TRANSITIONS);
        let history = history.into_iter().map(|entry| self.record(entry).event(wall));
        let objects: Vec<_> = self.objects.book.of(id).map(|it| self.object_status(&it)).collect();
        let router = self.router(id);
        let RouterSpec { interval, preempt, preempt_delay, garp, .. } = self.engine.spec(id)?;
        Some(RouterDetail {
            schema: SCHEMA,
            router: status,
            on: self.one_interface(now, &router.interface),
            // The control thread looks it up.
            master_mac: None,
            config_line: router.line as usize,
            tracks: tracks.collect(),
            // The control thread has them.
            scripts: Vec::new(),
            configured_interval_ms: millis(interval.duration()),
            preempt: *preempt,
            preempt_delay_ms: millis(*preempt_delay),
            authentication: match router.authentication {
                Authentication::None => "none",
                Authentication::Pass(_) => "simple password",
                Authentication::Ah(_) => "authentication header (AH)",
            }
            .to_owned(),
            garp: Garp {
                own_address_ms: millis(self.delays.own_address_period(id)),
                ..garp_settings(garp, self.delays.extra_if_period(id))
            },
            timers: timers.collect(),
            extras: objects.clone(),
            objects,
            on_address_lost: self.objects.policy(id).name().to_owned(),
            removed_by_others: self.objects.limiter.removals(&Some(id)),
            address_list_mismatches: self.engine.view(id)?.address_list_mismatches,
            history: history.collect(),
        })
    }

    fn object_status(&self, status: &ObjectView<'_>) -> ObjectStatus {
        let (kind, what) = match status.object {
            Object::Address(address) => ("address", address.to_string()),
            Object::Route(route) => ("route", route.to_string()),
            Object::Rule(rule) => ("rule", rule.to_string()),
            Object::PromoteSecondaries(dev) => ("promote_secondaries", dev.to_string()),
        };
        let (cause, why) = self.why(status).unzip();
        let cause = cause.map(str::to_owned);
        ObjectStatus { kind: kind.to_owned(), what, installed: status.there, why, cause }
    }

    fn record(&self, entry: Entry) -> Record {
        let whose = match entry.source {
            EventSource::Router(id) => {
                let router = self.router(id);
                Whose::Router {
                    name: router.name.clone(),
                    interface: router.interface.clone(),
                    vrid: router.vrid().get(),
                }
            }
            EventSource::Object(object) => Whose::Object(self.names().object(object)),
        };
        let text = match &entry.kind {
            EventKind::Transition { cause, .. } => Some(self.describe_cause(*cause)),
            EventKind::Tracked { to, end, trackers, .. } => {
                let end = end.as_ref().map(|end| format!(" ({end})")).unwrap_or_default();
                let trackers = match trackers {
                    None => "no router tracks it".to_owned(),
                    Some((id, 1)) => format!("tracked by {}", self.names().router(*id)),
                    Some((id, count)) => {
                        format!("tracked by {} and {} more", self.names().router(*id), count - 1)
                    }
                };
                Some(format!("{to}{end}; {trackers}"))
            }
            EventKind::Notice(_) => None,
        };
        Record { whose, text, entry }
    }

    /// What happened to a router and to what it tracks now, or everything.
    pub fn events(&self, from: Cursor, router: Option<RouterId>) -> Events {
        let objects = router.map(|id| self.objects_of(id)).unwrap_or_default();
        let wanted = |source| match (router, source) {
            (None, _) => true,
            (Some(router), EventSource::Router(id)) => id == router,
            (Some(_), EventSource::Object(object)) => objects.contains(&object),
        };
        let batch = self.history.read(from, wanted, PART_EVENTS);
        Events {
            records: batch.entries.into_iter().map(|entry| self.record(entry)).collect(),
            last: batch.last,
            lost: batch.lost,
            more: batch.more,
        }
    }

    fn interface_status(&self, now: Nanos) -> Vec<InterfaceStatus> {
        let (mut names, mut known) = (Vec::new(), HashSet::new());
        for router in self.routers.iter().filter(|router| !router.removed) {
            let devs = router.addresses().filter_map(|address| address.dev());
            for name in [&*router.interface].into_iter().chain(devs) {
                if known.insert(name) {
                    names.push(name);
                }
            }
        }
        names.into_iter().map(|name| self.one_interface(now, name)).collect()
    }

    pub(super) fn one_interface(&self, now: Nanos, name: &str) -> InterfaceStatus {
        match self.interfaces.by_name(name) {
            None => InterfaceStatus {
                name: name.to_owned(),
                ifindex: None,
                up: false,
                changes_in_ms: None,
                capture: None,
                capture_why: None,
                capture_lacks: None,
                capture_causes: Vec::new(),
                capture_lacks_causes: Vec::new(),
                error: Some(match self.namespaces.missing(NamespaceId::of_interface(name)) {
                    Some(missing) => missing.to_string(),
                    None => "does not exist".to_owned(),
                }),
                error_cause: Some(FaultCause::InterfaceMissing.name().to_owned()),
            },
            Some((iface, interface)) => InterfaceStatus {
                name: name.to_owned(),
                ifindex: Some(iface.ifindex),
                up: interface.up,
                changes_in_ms: self.delays.link(iface).map(|(at, _)| millis(at - now)),
                capture: match &interface.capture {
                    Capture::Attached(choice) => Some(choice.mode.to_string()),
                    Capture::Detached | Capture::Failed(_) => None,
                },
                capture_why: match &interface.capture {
                    Capture::Attached(choice) => choice.why.clone(),
                    Capture::Detached | Capture::Failed(_) => None,
                },
                capture_lacks: match &interface.capture {
                    Capture::Attached(choice) => choice.mode.lacks().map(str::to_owned),
                    Capture::Detached | Capture::Failed(_) => None,
                },
                capture_causes: match &interface.capture {
                    Capture::Attached(choice) => names(&choice.causes),
                    Capture::Detached | Capture::Failed(_) => Vec::new(),
                },
                capture_lacks_causes: match &interface.capture {
                    Capture::Attached(choice) => names(choice.mode.lack_names()),
                    Capture::Detached | Capture::Failed(_) => Vec::new(),
                },
                error: match &interface.capture {
                    Capture::Failed(why) => Some(why.clone()),
                    Capture::Attached(_) | Capture::Detached => None,
                },
                error_cause: match &interface.capture {
                    Capture::Failed(_) => Some(FaultCause::NoCapture.name().to_owned()),
                    Capture::Attached(_) | Capture::Detached => None,
                },
            },
        }
    }
}

fn garp_settings(policy: &GarpPolicy, extra_if: Nanos) -> Garp {
    let GarpPolicy {
        master_repeat,
        master_delay,
        refresh,
        refresh_repeat,
        lower_prio_repeat,
        lower_prio_delay,
    } = *policy;
    Garp {
        master_repeat,
        master_delay_ms: millis(master_delay),
        master_refresh_ms: millis(refresh),
        master_refresh_repeat: refresh_repeat,
        lower_prio_repeat,
        lower_prio_delay_ms: millis(lower_prio_delay),
        other_interfaces_ms: millis(extra_if),
        own_address_ms: 0,
    }
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

fn millis(span: Nanos) -> u64 {
    span.0 / 1_000_000
}
