//! One host: its kernel, its datapath, and a daemon, which is a core driven as the real driver does it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use vrrp_common::maps::Lease;
use vrrp_user::api::Order;
use vrrp_user::capture::{CaptureMode, Failure, ModeSet};
use vrrp_user::core::netlink::{AssignedAddress, Hook, HookState};
use vrrp_user::core::notification::Found;
use vrrp_user::core::prepared::Prepared;
use vrrp_user::core::{
    AttachMethod, Boot, Core, Counter, Effect, Errno, HookReport, Hooks, InfoChange, Input,
    InterfaceAddr, InterfaceId, Needs, Progress, Sizes,
};
use vrrp_user::engine::time::Nanos;
use vrrp_user::engine::types::{Cause, Health, ObjectId, RouterId, RouterView, State};
use vrrp_user::types::planted::{Fault, planted};

use super::config::{HostConf, RouterConf, SCRIPT, VITAL};
use super::datapath::{Datapath, Received};
use super::netlink::{Kernel, Message, Mood, Netlink};
use super::rng::Rng;

/// Steps of a core that wait for nothing. More of them would never end.
const STEPS: usize = 10_000;

/// Something that happens on a host later.
#[derive(Debug)]
pub enum Later {
    Netlink(Message),
    /// An answer about the programs on an interface.
    Looked(Vec<HookReport>),
    /// The configuration was read.
    Read(u64),
    /// The script has ended.
    Checked,
    /// The daemon goes on.
    Resume,
    /// The service manager starts it again.
    Restart,
}

/// What somebody does to a host again and again.
#[derive(Clone, Copy, Debug)]
pub struct Tampering {
    /// How often.
    pub every: Nanos,
    /// Whether it is the ring buffer that is stopped; otherwise a program is detached.
    pub ring: bool,
}

/// What runs on a host.
pub struct Daemon {
    pub core: Core,
    pub datapath: Datapath,
    pub netlink: Netlink,
    /// Whether it goes on where another one ended.
    pub adopts: bool,
    /// Whether its configuration is that of the one before.
    pub same: bool,
    /// What was another's when it started.
    pub lost: Vec<InterfaceAddr>,
    /// Routers of the one before it whose interface was another one.
    pub moved: Vec<String>,
    /// The routers that went on as masters when it began.
    pub adopted: Vec<&'static str>,
    pub paused: bool,
    /// Since when it runs.
    pub started: Nanos,
    /// Since when its routers do.
    pub begun: Nanos,
    /// When its configuration last changed.
    pub reloaded: Nanos,
    /// When the priority of one of its routers last changed.
    pub priority_changed: Nanos,
    /// When it could not hear last.
    pub deaf: Nanos,
    /// Until when it had heard everything when its core went on.
    heard: Nanos,
    /// Until when it stands still in the middle of what it sends next, and whether that has left by then.
    pub stops_sending: Option<(Nanos, bool)>,
    /// It stands still after that: what the kernel refused.
    sent: Option<Vec<(usize, Errno)>>,
    /// What arrived while it was paused.
    inbox: VecDeque<Later>,
    /// The numbers of its routers.
    ids: Vec<(&'static str, RouterId)>,
    /// The tracked files, [`VITAL`] first.
    watched: Vec<(ObjectId, usize)>,
    /// How it was told that the first one is.
    pub vital: Health,
    /// What was counted that must never be.
    pub mistake: Option<Counter>,
    pub stopping: bool,
    stopped: bool,
}

/// Something that leaves by one of [`super::config::NICS`].
pub struct Sent {
    pub nic: usize,
    /// To whom, if not to everybody there.
    pub to: Option<IpAddr>,
    /// An Ethernet frame.
    pub frame: Rc<[u8]>,
    /// Until when whoever sent it had heard everything.
    pub heard: Nanos,
    /// Whether there was a program that could have stopped it.
    pub guarded: bool,
}

/// Something that a kernel has for a daemon, on one of [`super::config::NICS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Address(IpAddr, u8, usize),
    /// By where it leads to.
    Route(IpAddr),
    /// By its preference, and where packets come from.
    Rule(u32, IpAddr),
}

/// How routers are, by name.
pub type Views = Vec<(&'static str, RouterView)>;

/// One host.
pub struct Host {
    pub kernel: Kernel,
    pub conf: HostConf,
    /// The configuration that is being applied.
    pub next_conf: Option<HostConf>,
    /// Monotonic clocks of different hosts have nothing to do with each other.
    clock_offset: Nanos,
    /// By how many parts of a million it is fast.
    clock_drift: u64,
    /// How late it wakes up.
    pub lateness: Nanos,
    /// `None` while there is none.
    pub daemon: Option<Daemon>,
    /// The programs and maps of a daemon that was killed.
    left_behind: Option<Datapath>,
    /// When a daemon adopted another one last that was killed.
    adopted: Option<Nanos>,
    /// What operators have ordered a daemon that another program takes the place of.
    pub orders: Vec<(String, Order)>,
    /// What must never be, and was.
    pub wrong: Option<String>,
    /// Whether frames leave; otherwise the driver loses them.
    pub sends: bool,
    /// How many daemons there were.
    pub runs: u64,
    pub mood: Mood,
    /// Since when it is like that.
    pub mood_since: Nanos,
    /// Somebody who has access to it and does the same again and again.
    pub tampering: Option<Tampering>,
    /// Whether programs can be attached.
    pub attaches: bool,
    /// How the tracked files are.
    pub health: [Health; 2],
    /// How what the script checks is.
    pub checked: Health,
    /// What an earlier daemon left of routers that are in no configuration any more. It bears the mark of every instance
    /// of the daemon, and may be another one's: nobody takes it away.
    left: Vec<Thing>,
    /// What happens later, and when.
    pub later: Vec<(Nanos, Later)>,
    /// What it has sent.
    pub sent: Vec<Sent>,
    pub rng: Rng,
    pub transitions: u64,
}

impl Host {
    pub fn new(rng: &mut Rng, number: usize, conf: HostConf) -> Self {
        Self {
            kernel: Kernel::new(number),
            conf,
            next_conf: None,
            clock_offset: Nanos(rng.below(1 << 50)),
            clock_drift: rng.below(500),
            lateness: rng.millis(3),
            daemon: None,
            left_behind: None,
            adopted: None,
            orders: Vec::new(),
            wrong: None,
            sends: true,
            runs: 0,
            mood: Mood::Well,
            mood_since: Nanos::ZERO,
            tampering: None,
            attaches: true,
            health: [Health::Up; 2],
            checked: Health::Up,
            left: Vec::new(),
            later: Vec::new(),
            sent: Vec::new(),
            rng: Rng(rng.next()),
            transitions: 0,
        }
    }

    /// The time on its clock.
    pub fn local(&self, now: Nanos) -> Nanos {
        now + self.clock_offset + Nanos(now.0 / 1_000_000 * self.clock_drift)
    }

    /// When its clock shows that, or has just done so.
    pub fn when(&self, local: Nanos) -> Nanos {
        let shown = (local - self.clock_offset).0;
        let millisecond = 1_000_000 + self.clock_drift;
        Nanos(shown / millisecond * 1_000_000 + (shown % millisecond).min(1_000_000))
    }

    /// Whether its daemon takes part in what happens.
    pub fn is_awake(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| !daemon.paused)
    }

    /// Whether its routers run.
    pub fn is_running(&self) -> bool {
        let runs =
            |daemon: &Daemon| !daemon.paused && !daemon.stopping && !daemon.core.is_starting();
        self.daemon.as_ref().is_some_and(runs)
    }

    /// Whether the kernel side has noted a claim since the lease of a router was renewed last.
    pub fn claims(&self, name: &str) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let id = daemon.ids.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
        let lease = id.map(|id| daemon.datapath.lease(id).get::<Lease>()).unwrap_or_default();
        lease.claimed.max(lease.outranked) > lease.renewed
    }

    /// Whether its daemon is about to go on where another one ended, by another configuration.
    pub fn starts_otherwise(&self) -> bool {
        let starts = |daemon: &Daemon| daemon.adopts && !daemon.same && daemon.core.is_starting();
        self.daemon.as_ref().is_some_and(starts)
    }

    /// Whether its daemon stands still after it has sent something.
    pub fn stands_in_send(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| daemon.sent.is_some())
    }

    /// When its daemon wants to be woken.
    pub fn wake(&self) -> Option<Nanos> {
        let daemon = self.daemon.as_ref().filter(|daemon| !daemon.paused)?;
        Some(daemon.core.poll_timeout()? + self.lateness)
    }

    /// How a router is.
    pub fn view(&self, name: &str) -> Option<RouterView> {
        let daemon = self.daemon.as_ref()?;
        let (_, id) = daemon.ids.iter().find(|(known, _)| *known == name)?;
        daemon.core.view(*id)
    }

    /// The state of a router.
    pub fn state(&self, name: &str) -> State {
        self.view(name).map_or(State::Init, |view| view.state)
    }

    pub fn views(&self) -> Views {
        let routers = self.conf.routers.iter();
        routers.filter_map(|router| Some((router.name, self.view(router.name)?))).collect()
    }

    /// What programs there are, with a daemon or without.
    pub fn datapath(&self) -> Option<&Datapath> {
        self.daemon.as_ref().map(|daemon| &daemon.datapath).or(self.left_behind.as_ref())
    }

    /// The daemon is killed.
    pub fn kill(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        daemon.datapath.orphan();
        self.left_behind = Some(daemon.datapath);
    }

    /// Another program takes the place of the daemon's, as in driver/upgrade.rs.
    pub fn upgrade(&mut self, now: Nanos) {
        if !self.flush(now) {
            return;
        }
        let Some(mut daemon) = self.daemon.take() else { return };
        daemon.datapath.control.adopted_ns = 0;
        self.adopted = None;
        self.orders = daemon.core.given_orders();
        // Its groups stay joined.
        self.left_behind = Some(daemon.datapath);
        let takes = self.rng.pick(&[5, 50, 400]);
        let takes = self.rng.millis(takes);
        self.later.push((now + takes, Later::Restart));
    }

    /// A daemon starts, and finds what an earlier one has left.
    pub fn start(&mut self, now: Nanos) {
        self.kill();
        // As its driver does, before anything else.
        let lost = self.left_behind.iter().flat_map(|left| left.lost(now));
        let lost: Vec<InterfaceAddr> = lost.collect();
        lost.iter().for_each(|at| self.kernel.take_marked(*at));
        let same = self.next_conf.is_none();
        if let Some(conf) = self.next_conf.take() {
            self.conf = conf;
        }
        self.runs += 1;
        // An address counts as known whatever its prefix.
        let name = |thing: Thing| match thing {
            Thing::Address(address, _, nic) => Thing::Address(address, 0, nic),
            Thing::Route(_) | Thing::Rule(..) => thing,
        };
        let known: Vec<Thing> = self.conf.routers.iter().flat_map(things).map(name).collect();
        self.left = self.things().filter(|thing| !known.contains(&name(*thing))).collect();
        let config = self.conf.parsed();
        let needs = Needs::of(&config);
        let sizes = Sizes::with_room(needs);
        let left = self.left_behind.take();
        let left = left.filter(|left| left.pin_facts(sizes).check(now, needs).is_ok());
        let adopts = left.is_some();
        let mut datapath = left.unwrap_or_else(|| Datapath::new(now, self.rng.next()));
        let predecessor = adopts.then(|| {
            let predecessor = datapath.predecessor(now, &self.kernel);
            let matches = predecessor.matches(&config.routers);
            let numbers = matches.iter().flatten().map(|it| it.number).collect();
            let addresses = self.conf.routers.iter().flat_map(|router| &router.addresses);
            let addresses: Vec<IpAddr> = addresses.map(|(address, ..)| *address).collect();
            datapath.adopt(now, &numbers, &addresses);
            predecessor
        });
        let pinned = predecessor.iter().flat_map(|predecessor| &predecessor.routers);
        let moved = pinned.filter(|pinned| !pinned.same_interface);
        let moved = moved.map(|pinned| pinned.info.name().to_owned()).collect();
        // A daemon that has not adopted another one may be adopted.
        let last = std::mem::replace(&mut self.adopted, adopts.then_some(now));
        if let Some(last) = last.filter(|last| adopts && now - *last < Nanos::from_secs(60)) {
            self.wrong = Some(format!("adopted again after {}", now - last));
        }
        let (key, transitions) = (datapath.key, datapath.transitions());
        if self.conf.refuses_none() {
            self.kernel.refused.clear();
        }
        let core = Core::new(Boot {
            sizes,
            config,
            config_path: "vrrp.toml".into(),
            started: now,
            listening: now,
            since_boot: now,
            tcx: true,
            signature_modes: ModeSet::default(),
            source_key: key,
            first_ident: 1,
            manager: None,
            notifies: true,
            predecessor,
        });
        let mut netlink = Netlink::default();
        // Only what comes later is news.
        self.kernel.take_changes();
        let at = now + self.rng.millis(5);
        self.later.push((at, Later::Netlink(Message::List)));
        netlink.begin(at);
        self.daemon = Some(Daemon {
            core,
            datapath,
            netlink,
            adopts,
            same,
            lost,
            moved,
            adopted: Vec::new(),
            paused: false,
            started: now,
            begun: now,
            reloaded: now,
            priority_changed: now,
            deaf: now,
            heard: now,
            stops_sending: None,
            sent: None,
            inbox: VecDeque::new(),
            ids: Vec::new(),
            watched: Vec::new(),
            vital: Health::Unknown,
            mistake: None,
            stopping: false,
            stopped: false,
        });
        self.number();
        self.go_on(now);
        // None has begun. What was counted goes on.
        let counted = self.daemon.as_ref().map(|it| it.datapath.transitions()).unwrap_or_default();
        if transitions.iter().any(|(number, before)| counted.get(number) != Some(before)) {
            self.wrong = Some(format!("counters of {transitions:?} are {counted:?}"));
        }
    }

    /// Looks up the numbers of the routers.
    fn number(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        let names = self.conf.routers.iter().map(|router| router.name);
        daemon.ids = names.filter_map(|name| Some((name, daemon.core.find(name)?))).collect();
    }

    /// A frame arrives.
    pub fn receive(&mut self, now: Nanos, nic: usize, frame: &[u8]) -> Received {
        let nic = &self.kernel.nics[nic];
        let datapath = self.daemon.as_mut().map(|daemon| &mut daemon.datapath);
        match (datapath.or(self.left_behind.as_mut()), nic.iface) {
            (Some(datapath), Some(iface)) if nic.up => datapath.receive(now, iface, frame),
            _ => Received::Unseen,
        }
    }

    /// Something happens that was to happen later.
    pub fn happen(&mut self, now: Nanos, later: Later) {
        match later {
            Later::Resume => self.resume(now),
            Later::Restart if self.daemon.is_none() => self.start(now),
            Later::Restart => {}
            Later::Netlink(Message::CarryOut(..)) => {
                let before = self.kernel.addresses.clone();
                let Some(daemon) = &mut self.daemon else { return };
                let answer =
                    daemon.netlink.carry_out(now, &mut self.rng, self.mood, &mut self.kernel);
                self.check_adopted_addresses(&before);
                self.later.extend(answer.map(|(at, message)| (at, Later::Netlink(message))));
                self.report_changes(now, true);
            }
            Later::Netlink(Message::List) => {
                let Some(daemon) = &mut self.daemon else { return };
                if let Some(at) = daemon.netlink.list(now) {
                    return self.later.push((at, Later::Netlink(Message::List)));
                }
                let listed = Message::Listed(self.kernel.links(), self.kernel.addresses.clone());
                self.happen(now, Later::Netlink(listed));
            }
            later => match &mut self.daemon {
                Some(daemon) if daemon.paused => daemon.inbox.push_back(later),
                Some(_) => {
                    self.hand_in(now, later);
                    self.turn(now);
                }
                None => {}
            },
        }
    }

    /// Who goes on as master keeps its addresses.
    fn check_adopted_addresses(&mut self, before: &[AssignedAddress]) {
        let is_as_read = |it: &&Daemon| it.reloaded == it.started && self.next_conf.is_none();
        let Some(daemon) = self.daemon.as_ref().filter(is_as_read) else { return };
        let gone: Vec<_> = before
            .iter()
            .filter(|was| was.marked && self.kernel.addresses.iter().all(|at| at.at != was.at))
            .filter_map(|was| Some((was.at.address, self.kernel.nic_of(was.at.iface)?)))
            .collect();
        let mut adopted = self.conf.routers.iter().filter(|router| {
            let view = self.view(router.name);
            view.is_some_and(|view| view.cause == Some(Cause::Adopted))
        });
        let is_gone = |(address, _, nic): &(IpAddr, u8, usize)| gone.contains(&(*address, *nic));
        if let Some(router) = adopted.find(|router| router.addresses.iter().any(is_gone)) {
            let after = daemon.begun - daemon.started;
            self.wrong = Some(format!("{} goes on, and loses {gone:?} ({after})", router.name));
        }
    }

    fn hand_in(&mut self, now: Nanos, later: Later) {
        let Some(daemon) = &mut self.daemon else { return };
        let input = match later {
            Later::Netlink(Message::Answers(answers)) => Input::Answered(answers),
            Later::Netlink(Message::Notification(overruns)) => {
                let Some(event) = daemon.netlink.notification(overruns) else { return };
                Input::Changed(vec![event])
            }
            Later::Netlink(Message::Object(event)) => Input::Changed(vec![event]),
            Later::Netlink(Message::Listed(links, addresses)) => Input::Listed { links, addresses },
            Later::Looked(reports) => Input::HooksSeen(reports),
            Later::Checked => {
                let health = self.checked;
                Input::ScriptFound(Found { script: SCRIPT.into(), health, end: None })
            }
            Later::Read(number) => {
                let Some(conf) = &self.next_conf else { return };
                let read = Box::new(Ok(Prepared::new(conf.parsed(), Vec::new())));
                Input::ConfigurationRead { number, read }
            }
            Later::Netlink(Message::CarryOut(..) | Message::List)
            | Later::Resume
            | Later::Restart => return,
        };
        self.input(now, input);
    }

    /// The kernel reports what has changed, by `asked` for a request of the daemon.
    pub fn report_changes(&mut self, now: Nanos, asked: bool) {
        let Some(daemon) = &mut self.daemon else { return };
        let messages =
            daemon.netlink.notify(now, &mut self.rng, self.mood, &mut self.kernel, asked);
        self.later.extend(messages.into_iter().map(|(at, message)| (at, Later::Netlink(message))));
        let kernel = &self.kernel;
        daemon.datapath.attached.retain(|iface, _| kernel.nic_of(*iface).is_some());
    }

    /// Hands something in, and carries out what follows from it.
    pub fn input(&mut self, now: Nanos, input: Input<'_>) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.core.handle(now, input);
        self.perform_all(now);
    }

    /// One turn of the driver's loop: what was received goes first, timers are judged, and the core goes on.
    pub fn turn(&mut self, now: Nanos) {
        if let Some(daemon) = &mut self.daemon {
            daemon.heard = now;
        }
        let begun = |daemon: &&mut Daemon| !daemon.core.is_starting();
        if let Some(daemon) = self.daemon.as_mut().filter(begun)
            && daemon.datapath.mend_ring(now)
        {
            daemon.deaf = now;
            self.input(now, Input::RingMended);
        }
        while let Some(daemon) = self.daemon.as_mut().filter(begun) {
            let Some((event, payload)) = daemon.datapath.next_report() else { break };
            let interface = InterfaceId::own(event.ifindex);
            self.input(now, Input::Received { interface, event, payload: &payload });
        }
        self.input(now, Input::Timeout);
        self.go_on(now);
    }

    fn go_on(&mut self, now: Nanos) {
        self.perform_all(now);
        for _ in 0..STEPS {
            let Some(daemon) = &mut self.daemon else { return };
            let progress = daemon.core.advance(now);
            self.perform_all(now);
            if !self.flush(now) {
                return;
            }
            let Some(daemon) = &mut self.daemon else { return };
            if daemon.stopped {
                self.daemon = None;
                return;
            }
            if progress == Progress::Done && !daemon.core.wants_more() {
                return;
            }
        }
        panic!("the core goes on and on");
    }

    /// Sends what waits, as the driver does. False where the daemon stands still in the middle of it.
    fn flush(&mut self, now: Nanos) -> bool {
        let Some(daemon) = &mut self.daemon else { return true };
        if daemon.core.frames().is_empty() {
            self.sent_all(now, Vec::new());
            return true;
        }
        let stops = daemon.stops_sending.take();
        if let Some((until, false)) = stops {
            self.pause(until);
            return false;
        }
        let mut refused = Vec::new();
        for (place, frame) in daemon.core.frames().iter().enumerate() {
            let nic = self.kernel.nic_of(frame.iface);
            let nic = nic.filter(|nic| self.sends && self.kernel.nics[*nic].up);
            let Some(nic) = nic.filter(|_| daemon.datapath.lets_out(now, &frame)) else {
                // Others would be a FAULT for a minute.
                refused.push((place, Errno(libc::EIO)));
                continue;
            };
            let ethernet: &[u8] = &[2, 0, 0, 0, 0, 99, 2, 0, 0, 0, 0, 98, 8, 0];
            // To one host they go by IPv4 here.
            let header = if frame.to.is_some() { ethernet } else { &[] };
            let bytes = [header, frame.bytes].concat();
            let guarded = daemon.datapath.attached.contains_key(&frame.iface);
            self.sent.push(Sent {
                nic,
                to: frame.to,
                frame: bytes.into(),
                heard: daemon.heard,
                guarded,
            });
        }
        if let Some((until, true)) = stops {
            daemon.sent = Some(refused);
            self.pause(until);
            return false;
        }
        self.sent_all(now, refused);
        true
    }

    /// Everything was sent.
    fn sent_all(&mut self, now: Nanos, mut refused: Vec<(usize, Errno)>) {
        let Some(daemon) = &mut self.daemon else { return };
        let stamp = if planted(Fault::StampedAfterSend) { now } else { daemon.heard };
        let lease = |router| daemon.datapath.lease(router).clone();
        let fenced = daemon.core.refresh_leases(stamp, &mut refused, lease);
        daemon.core.sent(now, &refused);
        self.perform_all(now);
        for router in fenced {
            self.input(now, Input::Fenced { router });
        }
    }

    fn perform_all(&mut self, now: Nanos) {
        while let Some(effect) = self.daemon.as_mut().and_then(|daemon| daemon.core.poll_effect()) {
            self.perform(now, effect);
        }
    }

    fn perform(&mut self, now: Nanos, effect: Effect) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some(effect) = daemon.datapath.perform(effect) else { return };
        let answer = match effect {
            Effect::Netlink(ask) => {
                let (at, message) = daemon.netlink.ask(now, &mut self.rng, self.mood, ask);
                return self.later.push((at, Later::Netlink(message)));
            }
            Effect::Look(look) => {
                let attached = &daemon.datapath.attached;
                let state = |hook: Hook| match attached.get(&hook.iface) {
                    Some(there) if *there == hook => HookState::Intact,
                    Some(_) | None if self.kernel.nic_of(hook.iface).is_some() => {
                        HookState::Lost(None)
                    }
                    Some(_) | None => HookState::LinkRemoved,
                };
                let seen = look.hooks.into_iter();
                let seen = seen.map(|hook| HookReport { hook, state: state(hook), occupant: None });
                let at = now + self.rng.millis(if self.mood == Mood::Slow { 400 } else { 2 });
                if !(self.mood == Mood::Mute && self.rng.chance(40)) {
                    self.later.push((at, Later::Looked(seen.collect())));
                }
                return;
            }
            Effect::Attach { interface, number, way, .. } => {
                let there = self.kernel.nic_of(interface).is_some();
                // Some firewall has it.
                let result = if way == AttachMethod::Mode(CaptureMode::Native) {
                    Err(Failure::Displaced("taken".to_owned()))
                } else if self.attaches && there {
                    daemon.deaf = now;
                    let ingress = if way == AttachMethod::Mode(CaptureMode::Raw) {
                        daemon.datapath.capture_raw(now, interface);
                        None
                    } else {
                        Some(daemon.datapath.attach(now, interface, number))
                    };
                    Ok(Hooks { ingress, ..Hooks::default() })
                } else {
                    Err(Failure::Refused("not now".to_owned()))
                };
                Input::Attached { interface, number, result }
            }
            Effect::Detach { interface } => return daemon.datapath.detach(now, interface),
            Effect::MendEgress { interface, .. } => {
                Input::EgressMended { interface, result: Ok(None) }
            }
            Effect::SetFilter { router, .. } => Input::FilterSet { router },
            Effect::QueryLastSeen(routers) => {
                for router in routers {
                    let Some(daemon) = &mut self.daemon else { return };
                    if let Some(seen) = daemon.datapath.master_seen(router) {
                        daemon.core.handle(now, Input::LastSeen { router, seen });
                    }
                }
                Input::LastSeenEnd { lost: 0 }
            }
            Effect::ReadForwarding { interface, .. } => Input::Forwards { interface, on: false },
            Effect::SendTest { router, .. } => Input::TestSent { router, error: None },
            Effect::Watch { number, files, .. } => {
                let place = |name: &str| usize::from(name != VITAL);
                daemon.watched =
                    files.iter().map(|(id, file, _)| (*id, place(&file.name))).collect();
                let any = !files.is_empty();
                self.report_health(now);
                if !any {
                    return;
                }
                Input::TrackedOnce { watch: number }
            }
            Effect::ReadConfiguration { number, .. } => {
                let at = now + self.rng.millis(50);
                return self.later.push((at, Later::Read(number)));
            }
            Effect::ReloadEnded { report, .. } => {
                assert!(report.applied, "a good configuration is refused: {report:?}");
                daemon.reloaded = now;
                if let Some(conf) = self.next_conf.take() {
                    self.conf = conf;
                }
                return self.number();
            }
            effect @ (Effect::Started | Effect::TakeScripts) => {
                if effect == Effect::Started {
                    daemon.begun = now;
                    let goes_on = |(name, id): &(&'static str, RouterId)| {
                        let cause = daemon.core.view(*id)?.cause;
                        (cause == Some(Cause::Adopted)).then_some(*name)
                    };
                    daemon.adopted = daemon.ids.iter().filter_map(goes_on).collect();
                    for (name, order) in std::mem::take(&mut self.orders) {
                        let _ = daemon.core.order(now, now, &name, order);
                    }
                }
                let at = now + self.rng.millis(100);
                return self.later.push((at, Later::Checked));
            }
            Effect::GiveMemoryBack => {
                let routers = daemon.core.keys().0.into_iter();
                let keys = routers.map(|place| place.key(place.iface.ifindex)).collect();
                return daemon.datapath.end_adoption(&keys);
            }
            Effect::Discard => return drop(daemon.core.take_discarded()),
            Effect::Count(counter) => {
                if let Counter::UnexpectedAnswer | Counter::BadEvent | Counter::BadAdvert = counter
                {
                    daemon.mistake = Some(counter);
                }
                return;
            }
            Effect::Publish { change: InfoChange::Priority(_), .. } => {
                daemon.priority_changed = now;
                return;
            }
            Effect::Stopped => {
                daemon.stopped = true;
                return;
            }
            _ => return,
        };
        if let Some(daemon) = &mut self.daemon {
            daemon.core.handle(now, answer);
        }
    }

    /// The daemon learns how the tracked files are.
    pub fn report_health(&mut self, now: Nanos) {
        let Some(daemon) = &mut self.daemon else { return };
        for (object, place) in daemon.watched.clone() {
            let health = self.health[place];
            daemon.core.handle(now, Input::Health { object, health });
            if place == 0 {
                daemon.vital = health;
            }
        }
        if !daemon.core.is_starting() {
            let found = Found { script: SCRIPT.into(), health: self.checked, end: None };
            daemon.core.handle(now, Input::ScriptFound(found));
        }
    }

    /// The daemon stands still.
    pub fn pause(&mut self, until: Nanos) {
        if let Some(daemon) = &mut self.daemon {
            daemon.paused = true;
            self.later.push((until, Later::Resume));
        }
    }

    /// It goes on. What arrived meanwhile goes first, but it may have been stopped between the two.
    pub fn resume(&mut self, now: Nanos) {
        let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.paused) else { return };
        daemon.paused = false;
        daemon.deaf = now;
        match daemon.sent.take() {
            Some(refused) => self.sent_all(now, refused),
            None => drop(self.flush(now)),
        }
        let Some(daemon) = &mut self.daemon else { return };
        let inbox = std::mem::take(&mut daemon.inbox);
        for later in inbox {
            self.hand_in(now, later);
        }
        self.turn(now);
    }

    /// An administrator or an attacker takes the program away.
    pub fn detach(&mut self, now: Nanos) {
        self.tamper(now, false);
    }

    /// The same, or stops the ring buffer.
    pub fn tamper(&mut self, now: Nanos, ring: bool) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.deaf = now;
        if ring {
            return daemon.datapath.stop_ring();
        }
        let attached: Vec<InterfaceId> = daemon.datapath.attached.keys().copied().collect();
        if !attached.is_empty() {
            daemon.datapath.lose(now, self.rng.pick(&attached));
        }
    }

    /// The daemon is told to stop.
    pub fn stop(&mut self, now: Nanos) {
        if let Some(daemon) = &mut self.daemon {
            daemon.stopping = true;
        }
        self.input(now, Input::Stop);
        self.turn(now);
    }

    /// An operator gives an order.
    pub fn order(&mut self, now: Nanos, name: &str, order: Order) {
        if let Some(daemon) = self.daemon.as_mut().filter(|daemon| !daemon.core.is_starting()) {
            // An owner refuses another priority.
            let _ = daemon.core.order(now, now, name, order);
        }
        self.turn(now);
    }

    /// What the kernel has for a daemon, by its mark.
    fn things(&self) -> impl Iterator<Item = Thing> {
        let Kernel { addresses, routes, rules, .. } = &self.kernel;
        let ours = addresses.iter().filter(|at| at.marked);
        let addresses = ours.filter_map(|AssignedAddress { at, prefix, .. }| {
            Some(Thing::Address(at.address, *prefix, self.kernel.nic_of(at.iface)?))
        });
        let routes = routes.iter().map(|route| Thing::Route(route.key.destination.address));
        addresses
            .chain(routes)
            .chain(rules.iter().map(|rule| Thing::Rule(rule.priority, rule.from.unwrap().address)))
    }

    /// Whether a router that is master has that.
    fn holds(&self, thing: &Thing) -> bool {
        let mut routers = self.conf.routers.iter();
        routers.any(|router| {
            things(router).any(|wanted| wanted == *thing)
                && self.state(router.name) == State::Master
        })
    }

    /// What there is of ours although no router has it, or in another way than it should be.
    pub fn excess(&self) -> impl Iterator<Item = Thing> {
        let excess = self.things().filter(|thing| !self.left.contains(thing));
        excess.filter(|thing| !self.holds(thing))
    }

    /// Addresses of ours that are there, and to which packets are let in although their routers have no accept mode.
    pub fn let_in(&self) -> Vec<IpAddr> {
        let refused = self.conf.refused();
        let there = self.kernel.addresses.iter().filter(|at| at.marked).map(|at| at.at.address);
        let is_let_in =
            |address: &IpAddr| refused.contains(address) && !self.kernel.refused.contains(address);
        there.filter(is_let_in).collect()
    }

    /// What its masters should have and have not.
    pub fn missing(&self) -> impl Iterator<Item = Thing> {
        let masters = self.conf.routers.iter();
        let masters = masters.filter(|router| self.state(router.name) == State::Master);
        masters.flat_map(things).filter(move |thing| match *thing {
            // It may be there by an administrator, in whatever way.
            Thing::Address(address, _, nic) => !self.kernel.answers_for(nic, address),
            Thing::Route(_) | Thing::Rule(..) => self.things().all(|there| there != *thing),
        })
    }
}

/// What a router has while it is master.
fn things(router: &RouterConf) -> impl Iterator<Item = Thing> {
    let addresses = router.addresses.iter();
    let addresses = addresses.map(|(address, prefix, nic)| Thing::Address(*address, *prefix, *nic));
    let routes = router.routes.iter().map(|(to, _)| {
        let (to, _) = to.split_once('/').unwrap();
        Thing::Route(to.parse().unwrap())
    });
    addresses
        .chain(routes)
        .chain(router.rules.iter().map(|(from, preference)| Thing::Rule(*preference, *from)))
}
