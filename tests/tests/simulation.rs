//! Whole networks on a virtual clock: routers that lose, delay and repeat each other's advertisements,
//! are cut off, paused, killed and restarted, all from one seed.
//!
//! What must hold: a router holds its addresses exactly while it is master; a backup never waits for
//! longer than a master-down interval; and once the network is whole again, there is one master after
//! a bounded time, the right one, and it stays. In half of the networks the routers of a host are a sync group:
//! then they are in one state after every event.
//!
//! A failure prints its seed and the last events: `VRRP_SIM_SEED=N` replays it, `VRRP_SIM_RUNS=N` runs
//! that many seeds from there on.

// The whole file is test code; clippy only recognises the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use vrrp_user::engine::Engine;
use vrrp_user::engine::time::{Centisecs, Nanos};
use vrrp_user::engine::types::{
    Action, AdvertInterval, FaultCause, GarpPolicy, GroupId, GroupSpec, Health, Link, Lost,
    ObjectId, Priority, RouterId, RouterSpec, State, TrackUse, Version, Vrid,
};
use vrrp_user::wire::frame::{AdvertFrame, AdvertParams};
use vrrp_user::wire::vrrp::{Auth, parse_advert};
use vrrp_user::wire::{ethernet, ipv4};

const DEFAULT_RUNS: u64 = 300;
/// How long things go wrong.
const CHAOS: Nanos = Nanos::from_secs(60);
/// Virtual routers on every node.
const ROUTERS: u32 = 2;
const MILLI: u64 = 1_000_000;
/// What the first router tracks: FAULT while it is down.
const VITAL: usize = 0;
/// What all routers track, with a weight.
const WEIGHED: usize = 1;
/// Events remembered for the report of a failure.
const TRACE: usize = 80;

/// SplitMix64: small, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// One host.
struct Node {
    specs: Vec<RouterSpec>,
    address: Ipv4Addr,
    /// Monotonic clocks of different hosts have nothing to do with each other.
    clock_offset: Nanos,
    /// How late it wakes up.
    lateness: Nanos,
    /// `None` while it is switched off.
    engine: Option<Engine>,
    link: bool,
    paused: bool,
    /// Nodes of different groups do not hear each other.
    group: u64,
    /// What arrived during a pause.
    inbox: Vec<(Nanos, RouterId, Rc<[u8]>)>,
    holding: [bool; ROUTERS as usize],
    transitions: u64,
    /// How [`VITAL`] and [`WEIGHED`] are.
    health: [Health; 2],
    /// State of the sync group, as far as there is one and it was told.
    group_state: State,
}

impl Node {
    fn packet(&self, router: RouterId, priority: Priority) -> Rc<[u8]> {
        let spec = &self.specs[router.0 as usize];
        let mut frame = AdvertFrame::new(&AdvertParams {
            source_mac: [2, 0, 0, 0, 0, 1],
            dest_mac: ethernet::VRRP_MULTICAST,
            source: self.address.into(),
            destination: Ipv4Addr::new(224, 0, 0, 18).into(),
            ttl: vrrp_common::VRRP_TTL,
            vrid: spec.vrid,
            interval: spec.interval,
            priority: spec.priority,
            addresses: &spec.addresses,
            auth: Auth::None,
            v3_pseudo_header: true,
        })
        .unwrap();
        frame.set_priority(priority);
        frame.ip_bytes().into()
    }

    /// Effective priority.
    fn priority(&self, router: u32) -> Priority {
        self.engine.as_ref().unwrap().priority(RouterId(router)).unwrap()
    }

    fn state(&self, router: u32) -> State {
        self.engine.as_ref().map_or(State::Init, |e| e.view(RouterId(router)).unwrap().state)
    }

    /// Whether it takes part in what happens.
    fn awake(&self) -> bool {
        self.engine.is_some() && !self.paused
    }
}

/// What happens to the network while it is not whole.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Partition,
    Heal,
    Quality,
    Pause,
    Kill,
    Stop,
    Start,
    LinkDown,
    LinkUp,
    Readdress,
    AddressLost,
    /// The router is removed and added again.
    Renew,
    /// The router goes on with other settings.
    Reconfigure,
    /// Something that is tracked changes.
    Tracked,
    /// An operator takes a router out of the election, or lets it back in.
    StepDown,
    /// An operator sets a priority, or takes that back.
    SetPriority,
}

const FAULTS: [Fault; 22] = [
    Fault::Partition,
    Fault::Partition,
    Fault::Heal,
    Fault::Heal,
    Fault::Quality,
    Fault::Quality,
    Fault::Pause,
    Fault::Kill,
    Fault::Stop,
    Fault::Start,
    Fault::Start,
    Fault::LinkDown,
    Fault::LinkUp,
    Fault::Readdress,
    Fault::AddressLost,
    Fault::Renew,
    Fault::Reconfigure,
    Fault::Reconfigure,
    Fault::Tracked,
    Fault::Tracked,
    Fault::StepDown,
    Fault::SetPriority,
];

enum Event {
    Deliver { to: usize, router: RouterId, packet: Rc<[u8]> },
    Resume(usize),
    Fault,
    Whole,
}

struct Sim {
    seed: u64,
    rng: Rng,
    now: Nanos,
    events: BTreeMap<(Nanos, u64), Event>,
    sequence: u64,
    nodes: Vec<Node>,
    /// Whether the routers of a node are a sync group.
    grouped: bool,
    /// Percent of the packets.
    loss: u64,
    max_delay: Nanos,
    /// The delay of a network that works: a fraction of every interval.
    calm_delay: Nanos,
    /// The longest interval of all.
    longest: Nanos,
    trace: VecDeque<String>,
    digest: u64,
}

impl Drop for Sim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.trace {
                eprintln!("{line}");
            }
            eprintln!("replay with VRRP_SIM_SEED={}", self.seed);
        }
    }
}

fn random_spec(rng: &mut Rng, router: u8, interval: AdvertInterval, owner: bool) -> RouterSpec {
    let priority = rng.pick(&[1, 100, 100, 101, 150, 254]);
    RouterSpec {
        vrid: Vrid::new(router + 1).unwrap(),
        priority: if owner { Priority::OWNER } else { Priority(priority) },
        interval,
        preempt: rng.chance(70),
        preempt_delay: Nanos::from_millis(rng.pick(&[0, 0, 0, 3000])),
        addresses: vec![IpAddr::from([192, 0, 2, 100 + router])],
        garp: GarpPolicy {
            master_repeat: 5,
            master_delay: Nanos::from_secs(rng.pick(&[0, 5])),
            refresh: Nanos::from_secs(rng.pick(&[0, 7])),
            refresh_repeat: 1,
            lower_prio_repeat: 5,
            lower_prio_delay: Nanos::from_secs(5),
        },
        down_adverts: 3,
        max_learned_interval: None,
        lower_prio_advert: rng.chance(80),
        higher_prio_advert: rng.pick(&[None, None, None, Some(true), Some(false)]),
        owner_ignores_adverts: false,
        track: tracks(router),
        group: None,
    }
}

fn tracks(router: u8) -> Box<[TrackUse]> {
    let used = |object: usize, weight| TrackUse {
        object: ObjectId(u32::try_from(object).unwrap()),
        weight,
        reverse: false,
    };
    let vital = (router == 0).then(|| used(VITAL, 0));
    vital.into_iter().chain([used(WEIGHED, -60)]).collect()
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let count = u8::try_from(2 + rng.below(3)).unwrap();
        let (v2, same_interval, owner) = (rng.chance(30), rng.chance(60), rng.chance(20));
        let common = rng.pick(&[10, 50, 100, 200]);
        let grouped = rng.chance(50);
        let mut nodes = Vec::new();
        for node in 0..count {
            let mut specs = Vec::new();
            for router in 0..u8::try_from(ROUTERS).unwrap() {
                let centisecs =
                    if same_interval || grouped { common } else { rng.pick(&[10, 50, 100, 200]) };
                let interval = if v2 {
                    AdvertInterval::Secs(1)
                } else {
                    AdvertInterval::Centisecs(Centisecs(centisecs))
                };
                specs.push(random_spec(&mut rng, router, interval, owner && node == 0));
            }
            if grouped {
                // As keepalived wants it: a group competes as a whole.
                let RouterSpec { priority, preempt, preempt_delay, .. } = specs[0].clone();
                specs = (0..)
                    .zip(specs)
                    .map(|(router, spec)| RouterSpec {
                        priority,
                        preempt,
                        preempt_delay,
                        group: Some(GroupId(0)),
                        // The group tracks the rest.
                        track: if router == 0 { tracks(0) } else { Box::default() },
                        ..spec
                    })
                    .collect();
                specs[0].track = Box::new([tracks(0)[0]]);
            }
            nodes.push(Node {
                specs,
                address: Ipv4Addr::new(10, 0, 0, node + 1),
                clock_offset: Nanos(rng.below(1 << 50)),
                lateness: Nanos(rng.below(3 * MILLI)),
                engine: None,
                link: true,
                paused: false,
                group: 0,
                inbox: Vec::new(),
                holding: [false; ROUTERS as usize],
                transitions: 0,
                health: [Health::Up; 2],
                group_state: State::Init,
            });
        }
        let intervals = || nodes.iter().flat_map(|n| &n.specs).map(|spec| spec.interval.span());
        let longest = intervals().max().unwrap();
        let calm_delay = Nanos(intervals().min().unwrap().0 / 4);
        let mut sim = Self {
            seed,
            rng,
            now: Nanos::ZERO,
            events: BTreeMap::new(),
            sequence: 0,
            nodes,
            grouped,
            loss: 0,
            max_delay: calm_delay,
            calm_delay,
            longest,
            trace: VecDeque::new(),
            digest: 0,
        };
        for node in 0..sim.nodes.len() {
            sim.start(node);
        }
        let mut at = Nanos::ZERO;
        while at < CHAOS {
            at += Nanos(sim.rng.below(4_000 * MILLI));
            sim.schedule(at.min(CHAOS), Event::Fault);
        }
        sim.schedule(CHAOS, Event::Whole);
        sim
    }

    fn schedule(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn note(&mut self, line: &str) {
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>9.4} {line}", self.now.as_secs_f64()));
    }

    /// A time that no master-down interval exceeds: three intervals, and the skew is less than one
    /// more, or than a second in version 2.
    fn longest_wait(&self) -> Nanos {
        self.longest.times(3) + self.longest.max(Nanos::from_secs(1))
    }

    /// When a node wakes up next.
    fn wake(&self, node: &Node) -> Option<Nanos> {
        let engine = node.engine.as_ref().filter(|_| node.awake())?;
        let at = engine.poll_timeout()?;
        Some((at - node.clock_offset + node.lateness).max(self.now))
    }

    /// Runs until `end`.
    fn run(&mut self, end: Nanos) {
        loop {
            let wakes = self.nodes.iter().enumerate();
            let wake = wakes.filter_map(|(n, node)| Some((self.wake(node)?, n))).min();
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            match (wake, event) {
                (Some((at, n)), event) if at <= end && event.is_none_or(|event| at < event) => {
                    self.now = at;
                    self.timeout(n);
                }
                (_, Some(at)) if at <= end => {
                    self.now = at;
                    if let Some((_, event)) = self.events.pop_first() {
                        self.happen(event);
                    }
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, router, packet } => {
                let node = &mut self.nodes[to];
                let arrival = self.now + node.clock_offset;
                if node.engine.is_none() || !node.link {
                    return;
                }
                if node.paused {
                    node.inbox.push((arrival, router, packet));
                } else {
                    self.receive(to, arrival, router, &packet);
                    self.drain(to);
                }
            }
            Event::Resume(n) => self.resume(n),
            Event::Fault => self.fault(),
            Event::Whole => self.whole(),
        }
    }

    fn timeout(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let now = self.now + node.clock_offset;
        if let Some(engine) = &mut node.engine {
            engine.handle_timeout(now);
            assert!(engine.poll_timeout().is_none_or(|at| at > now), "due after the time-out");
        }
        self.drain(n);
    }

    /// The checks of the kernel side, as far as they matter here, and the engine.
    fn receive(&mut self, n: usize, arrival: Nanos, router: RouterId, packet: &[u8]) {
        let node = &mut self.nodes[n];
        let now = self.now + node.clock_offset;
        let Some(engine) = &mut node.engine else { return };
        let (ip, message) = ipv4::Repr::parse(packet).expect("as sent");
        let ours = node.specs[router.0 as usize].interval;
        let advert = parse_advert(ip.source.into(), ours.version(), message).expect("as sent");
        if ours.version() == Version::V3 || advert.interval == ours {
            engine.handle_rx(now, arrival, router, &advert);
        }
    }

    fn resume(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if !node.paused || node.engine.is_none() {
            return;
        }
        node.paused = false;
        let inbox = std::mem::take(&mut node.inbox);
        self.note(&format!("node {n} resumes"));
        // The daemon reads what arrived before it looks at its timers, but it may have been
        // stopped between the two.
        if self.rng.chance(20) {
            self.timeout(n);
        }
        for (arrival, router, packet) in inbox {
            self.receive(n, arrival, router, &packet);
        }
        self.drain(n);
        self.timeout(n);
    }

    fn start(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let mut engine = Engine::new();
        let now = self.now + node.clock_offset;
        if self.grouped {
            engine.add_group(now, GroupId(0), GroupSpec { track: Box::new([tracks(1)[0]]) });
        }
        for (id, spec) in (0..).map(RouterId).zip(&node.specs) {
            engine.add_router(id, spec.clone());
        }
        node.engine = Some(engine);
        node.paused = false;
        node.inbox.clear();
        // What a killed daemon leaves behind is not the engine's matter.
        node.holding.fill(false);
        node.group_state = State::Init;
        self.tell_tracked(n);
        self.tell_link(n);
    }

    fn tell_tracked(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let now = self.now + node.clock_offset;
        if let Some(engine) = &mut node.engine {
            for (object, health) in (0..).map(ObjectId).zip(node.health) {
                engine.handle_tracked(now, object, health);
            }
        }
        self.drain(n);
    }

    fn tell_link(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let link = if node.link {
            Link::Up(node.address.into())
        } else {
            Link::Down(FaultCause::InterfaceDown)
        };
        if let Some(engine) = &mut node.engine {
            for router in 0..ROUTERS {
                engine.handle_link(self.now + node.clock_offset, RouterId(router), link);
            }
        }
        self.drain(n);
    }

    fn fault(&mut self) {
        let fault = self.rng.pick(&FAULTS);
        let n = usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap();
        let router = u32::try_from(self.rng.below(ROUTERS.into())).unwrap();
        self.note(&format!("{fault:?}, node {n}, router {router}"));
        match fault {
            Fault::Partition => {
                for node in &mut self.nodes {
                    node.group = self.rng.below(2);
                }
            }
            Fault::Heal => self.nodes.iter_mut().for_each(|node| node.group = 0),
            Fault::Quality => {
                self.loss = self.rng.pick(&[0, 0, 10, 50, 90]);
                self.max_delay = self.calm_delay.times(self.rng.pick(&[1, 1, 4, 12]));
            }
            Fault::Kill => self.nodes[n].engine = None,
            Fault::Start => {
                if self.nodes[n].engine.is_none() {
                    self.start(n);
                }
            }
            Fault::Pause
            | Fault::Stop
            | Fault::LinkDown
            | Fault::LinkUp
            | Fault::Readdress
            | Fault::AddressLost
            | Fault::Renew
            | Fault::Reconfigure
            | Fault::Tracked
            | Fault::StepDown
            | Fault::SetPriority => {
                if self.nodes[n].awake() {
                    self.fault_of_node(fault, n, RouterId(router));
                }
            }
        }
    }

    /// What can only befall a node that runs.
    fn fault_of_node(&mut self, fault: Fault, n: usize, router: RouterId) {
        let node = &mut self.nodes[n];
        let now = self.now + node.clock_offset;
        let Some(engine) = &mut node.engine else { return };
        match fault {
            Fault::Pause => {
                node.paused = true;
                let length = Nanos(self.rng.below(12_000 * MILLI));
                self.schedule((self.now + length).min(CHAOS), Event::Resume(n));
            }
            Fault::Stop => {
                engine.handle_shutdown(now);
                assert_eq!(engine.poll_timeout(), None);
                self.drain(n);
                assert_eq!(self.nodes[n].holding, [false; ROUTERS as usize]);
                self.nodes[n].engine = None;
            }
            Fault::LinkDown | Fault::LinkUp => {
                // The priority-0 advertisement of a failing link is lost; that is the worse case.
                node.link = matches!(fault, Fault::LinkUp);
                self.tell_link(n);
            }
            Fault::Readdress => {
                let [a, b, c, d] = node.address.octets();
                node.address = Ipv4Addr::new(a, b, c ^ 1, d);
                self.tell_link(n);
            }
            Fault::AddressLost => {
                let address = node.specs[router.0 as usize].addresses[0];
                engine.handle_lost(now, router, Lost::Address(address));
                self.drain(n);
            }
            Fault::Renew => {
                engine.remove_router(now, router);
                let spec = node.specs[router.0 as usize].clone();
                assert!(engine.add_router(router, spec));
                if self.grouped {
                    // What an operator said of this one is forgotten, and they have one priority.
                    (0..ROUTERS).for_each(|id| engine.set_priority(now, RouterId(id), None));
                }
                self.drain(n);
                self.tell_link(n);
            }
            // The members of a group have the same settings.
            Fault::Reconfigure if self.grouped => {}
            Fault::Reconfigure => self.reconfigure(n, router),
            Fault::Tracked => {
                let object = usize::try_from(self.rng.below(2)).unwrap();
                let health = [Health::Unknown, Health::Up, Health::Down, Health::Down];
                node.health[object] = self.rng.pick(&health);
                self.tell_tracked(n);
            }
            Fault::StepDown => {
                engine.step_down(now, router, self.rng.chance(50));
                self.drain(n);
            }
            Fault::SetPriority => {
                let priority = self.rng.pick(&[None, Some(Priority(90)), Some(Priority(200))]);
                for member in (0..ROUTERS).map(RouterId) {
                    if self.grouped || member == router {
                        engine.set_priority(now, member, priority);
                    }
                }
                self.drain(n);
            }
            Fault::Partition | Fault::Heal | Fault::Quality | Fault::Kill | Fault::Start => {}
        }
    }

    /// Other settings for a router that runs. The intervals are those that the network began with, so that its
    /// bounds hold; only the first node may become the owner of its addresses.
    fn reconfigure(&mut self, n: usize, router: RouterId) {
        let index = router.0 as usize;
        let intervals: Vec<_> = self.nodes.iter().map(|node| node.specs[index].interval).collect();
        let interval = self.rng.pick(&intervals);
        let owner = n == 0 && self.rng.chance(20);
        let number = u8::try_from(router.0).unwrap();
        let spec = random_spec(&mut self.rng, number, interval, owner);
        let node = &mut self.nodes[n];
        let before = node.state(router.0);
        let now = self.now + node.clock_offset;
        let Some(engine) = &mut node.engine else { return };
        assert!(engine.reconfigure(now, router, &spec));
        let owns = spec.priority == Priority::OWNER;
        node.specs[index] = spec;
        let after = node.state(router.0);
        let owner = owns && before == State::Backup;
        // What the new router tracks may be down.
        let fault = node.health[VITAL] == Health::Down && after == State::Fault;
        assert!(after == before || owner || fault, "{before} -> {after}");
        self.drain(n);
    }

    /// Everything works from here on.
    fn whole(&mut self) {
        self.note("whole again");
        self.loss = 0;
        self.max_delay = self.calm_delay;
        for n in 0..self.nodes.len() {
            self.nodes[n].group = 0;
            self.nodes[n].link = true;
            self.resume(n);
            if self.nodes[n].engine.is_none() {
                self.start(n);
            }
            let node = &mut self.nodes[n];
            let now = self.now + node.clock_offset;
            if let Some(engine) = &mut node.engine {
                (0..ROUTERS).for_each(|router| engine.step_down(now, RouterId(router), false));
            }
            node.health[VITAL] = Health::Up;
            self.tell_tracked(n);
            self.tell_link(n);
        }
    }

    /// Does what a node's engine asks for, and checks it.
    fn drain(&mut self, n: usize) {
        while let Some(action) = self.nodes[n].engine.as_mut().and_then(Engine::poll_action) {
            self.note(&format!("node {n}: {action:?}"));
            let node = &mut self.nodes[n];
            match action {
                Action::SendAdvert { router, priority } => self.send(n, router, priority),
                Action::AddAddresses(RouterId(router)) => {
                    let held = std::mem::replace(&mut node.holding[router as usize], true);
                    assert!(!held, "addresses added twice");
                }
                Action::RemoveAddresses(RouterId(router)) => {
                    let held = std::mem::replace(&mut node.holding[router as usize], false);
                    assert!(held, "addresses removed that were not there");
                }
                Action::SendGarp { router, .. } => {
                    assert!(node.holding[router.0 as usize], "announces what it does not hold");
                }
                Action::Transition { .. } => node.transitions += 1,
                Action::GroupTransition { from, to, .. } => {
                    assert_eq!(std::mem::replace(&mut node.group_state, to), from);
                }
                Action::PriorityChanged { from, to, .. } => assert_ne!(from, to),
                Action::Notice { .. } | Action::LowerPriority(_) => {}
            }
        }
        let node = &self.nodes[n];
        let Some(engine) = &node.engine else { return };
        if self.grouped {
            // One that was just added waits to be told of its link.
            let states = (0..ROUTERS).map(|router| node.state(router));
            let mut states: Vec<_> = states.filter(|state| *state != State::Init).collect();
            states.dedup();
            assert!(
                states.len() <= 1,
                "the members of node {n} are in different states: {states:?}"
            );
            let common = states.first().copied().unwrap_or(State::Init);
            assert_eq!(node.group_state, common, "what was told of the group");
        }
        for (id, _) in engine.routers() {
            let view = engine.view(id).unwrap();
            assert_eq!(node.holding[id.0 as usize], view.state == State::Master, "{view:?}");
            if view.state == State::Backup {
                let timer = view.next_timer.expect("a backup waits for something");
                let left = timer - (self.now + node.clock_offset);
                assert!(left <= self.longest_wait(), "a backup waits too long: {view:?}");
            }
        }
    }

    fn send(&mut self, from: usize, router: RouterId, priority: Priority) {
        if !self.nodes[from].link {
            return;
        }
        let packet = self.nodes[from].packet(router, priority);
        for to in 0..self.nodes.len() {
            if to == from || self.nodes[to].group != self.nodes[from].group {
                continue;
            }
            let copies = 1 + u64::from(self.rng.chance(5));
            for _ in 0..copies {
                if !self.rng.chance(self.loss) {
                    let at = self.now + Nanos(self.rng.below(self.max_delay.0));
                    let packet = Rc::clone(&packet);
                    self.schedule(at, Event::Deliver { to, router, packet });
                }
            }
        }
    }

    /// One master per router, and the one that the configuration wants.
    fn check_whole(&self) {
        for router in 0..ROUTERS {
            let of = |n: usize| &self.nodes[n].specs[router as usize];
            let all = 0..self.nodes.len();
            let masters: Vec<_> =
                all.clone().filter(|&n| self.nodes[n].state(router) == State::Master).collect();
            let [master] = masters[..] else {
                panic!("masters of router {router}: {masters:?}");
            };
            let priority = |n: usize| self.nodes[n].priority(router);
            let highest = all.clone().map(priority).max().unwrap();
            // RFC 9568 section 6.1: the owner pre-empts whatever its mode.
            let preempts = |n: usize| of(n).preempt || highest == Priority::OWNER;
            if all.clone().any(|n| priority(n) == highest && preempts(n)) {
                assert_eq!(priority(master), highest, "router {router}: nobody pre-empted");
            }
        }
    }
}

/// One seed from beginning to end; returns a digest of all that happened.
fn simulate(seed: u64) -> u64 {
    let mut sim = Sim::new(seed);
    sim.run(CHAOS);
    let specs = sim.nodes.iter().flat_map(|node| &node.specs);
    let preempt_delay = specs.map(|spec| spec.preempt_delay).max().unwrap();
    // Until somebody is master, until pre-emption begins, until the timer of whoever pre-empts fires;
    // and once more for who followed the interval of a master that gave way to a slower one.
    let bound = CHAOS + sim.longest_wait().times(3) + preempt_delay;
    sim.run(bound);
    sim.check_whole();
    let transitions = |sim: &Sim| sim.nodes.iter().map(|node| node.transitions).sum::<u64>();
    let before = transitions(&sim);
    for step in 1..=20 {
        sim.run(bound + sim.longest.times(step));
        sim.check_whole();
    }
    assert_eq!(transitions(&sim), before, "calm network, restless routers");
    sim.digest
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn networks_heal() {
    let seed = env("VRRP_SIM_SEED");
    let runs = env("VRRP_SIM_RUNS").unwrap_or(if seed.is_some() { 1 } else { DEFAULT_RUNS });
    let first = seed.unwrap_or(0);
    for seed in first..first + runs {
        simulate(seed);
    }
}

#[test]
fn a_seed_tells_everything() {
    assert_eq!(simulate(42), simulate(42));
    assert_ne!(simulate(42), simulate(43));
}
