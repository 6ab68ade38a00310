//! Hosts, the network between them, and the order in which everything happens.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use vrrp_user::engine::time::Nanos;

use super::config::{Common, HostConf};
use super::datapath::{Meant, Received};
use super::host::{Host, Later, Sent, Views};
use super::invariants::Watched;
use super::rng::Rng;

/// How long things go wrong.
pub const CHAOS: Nanos = Nanos::from_secs(60);
/// Events that are remembered for the report of a failure.
const TRACE: usize = 400;

/// Something that happens.
pub enum Event {
    Frame {
        to: usize,
        nic: usize,
        frame: Rc<[u8]>,
    },
    /// On a host, while that daemon runs.
    Host {
        host: usize,
        run: u64,
        later: Later,
    },
    /// Somebody does the same to a host once more.
    Tamper {
        host: usize,
    },
    Fault,
    Whole,
}

/// A whole network.
pub struct Sim {
    pub rng: Rng,
    pub now: Nanos,
    events: BTreeMap<(Nanos, u64), Event>,
    sequence: u64,
    pub common: Common,
    pub hosts: Vec<Host>,
    /// When the daemons want to be woken.
    wakes: Vec<Option<Nanos>>,
    pub watched: Vec<Watched>,
    /// How the routers are, since something last happened on their host.
    pub views: Vec<Views>,
    /// Whether the second host hears the first one no more, on each interface.
    pub cut: Vec<Vec<[bool; 2]>>,
    /// Percent of the frames.
    pub loss: u64,
    pub repeats: u64,
    pub max_delay: Nanos,
    /// The delay of a network that works: a fraction of every interval.
    pub calm_delay: Nanos,
    /// What is wrong.
    pub violation: Option<String>,
    /// The last events, if they are wanted.
    pub trace: Option<VecDeque<String>>,
    pub digest: u64,
    /// How much has happened.
    pub count: u64,
}

impl Sim {
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng(seed);
        let count = 2 + rng.index(3);
        let common = Common::new(&mut rng, count);
        let hosts: Vec<Host> = (0..count)
            .map(|number| {
                let conf = HostConf::new(&mut rng, &common, number);
                Host::new(&mut rng, number, conf)
            })
            .collect();
        let calm_delay = Nanos(common.shortest().0 / 4);
        let mut sim = Self {
            rng,
            now: Nanos::ZERO,
            events: BTreeMap::new(),
            sequence: 0,
            common,
            wakes: vec![None; count],
            watched: vec![Watched::default(); count],
            views: vec![Vec::new(); count],
            cut: vec![vec![[false; 2]; count]; count],
            hosts,
            loss: 0,
            repeats: 5,
            max_delay: calm_delay,
            calm_delay,
            violation: None,
            trace: traced.then(VecDeque::new),
            digest: seed,
            count: 0,
        };
        for n in 0..count {
            sim.act(n, |host, now| host.start(now));
        }
        let mut at = Nanos::ZERO;
        while at < CHAOS {
            at += sim.rng.millis(4_000);
            sim.schedule(at.min(CHAOS), Event::Fault);
        }
        sim.schedule(CHAOS, Event::Whole);
        sim
    }

    fn schedule(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    /// Somebody does the same to a host once more, after a while.
    pub fn tamper_again(&mut self, host: usize, after: Nanos) {
        self.schedule(self.now + after, Event::Tamper { host });
    }

    /// Remembers what happens, if that is wanted.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        if trace.len() == TRACE {
            trace.pop_front();
        }
        trace.push_back(format!("{:>9.4} {}", self.now.as_secs_f64(), line()));
    }

    fn mix(&mut self, number: u64) {
        self.digest = (self.digest ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    /// Something that must hold does not.
    pub fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(format!("{:.4} s: {}", self.now.as_secs_f64(), what()));
        }
    }

    /// The time on the clock of a host.
    pub fn local(&self, n: usize) -> Nanos {
        self.hosts[n].local(self.now)
    }

    /// Runs until `end`, or until something is wrong.
    pub fn run(&mut self, end: Nanos) {
        while self.violation.is_none() {
            let wakes = self.wakes.iter().enumerate();
            let wake = wakes.filter_map(|(n, wake)| Some(((*wake)?, n))).min();
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            match (wake, event) {
                (Some((at, n)), event) if at <= end && event.is_none_or(|event| at < event) => {
                    self.now = at;
                    self.count += 1;
                    self.mix(at.0 ^ n as u64);
                    self.act(n, Host::turn);
                }
                (_, Some(at)) if at <= end => {
                    self.now = at;
                    self.count += 1;
                    self.mix(at.0);
                    if let Some((_, event)) = self.events.pop_first() {
                        self.happen(event);
                    }
                }
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Frame { to, nic, frame } => self.deliver(to, nic, &frame),
            Event::Host { host, run, later } if self.hosts[host].runs == run => {
                self.note(|| format!("host {host}: {later:?}"));
                self.act(host, |host, now| host.happen(now, later));
            }
            Event::Host { .. } => {}
            Event::Tamper { host } => self.tamper(host),
            Event::Fault => self.fault(),
            Event::Whole => self.whole(),
        }
    }

    fn deliver(&mut self, n: usize, nic: usize, frame: &Rc<[u8]>) {
        let now = self.local(n);
        let received = self.hosts[n].receive(now, nic, frame);
        if !matches!(received, Received::Unseen) {
            self.note_rival(n, nic, frame);
        }
        if self.rng.chance(20) {
            self.traffic(n);
        }
        if matches!(received, Received::Reported) {
            self.note(|| format!("host {n} is told of {:?}", Meant::of(frame)));
        }
        match received {
            Received::Unseen => {}
            Received::Quiet { acknowledged } => {
                if let Some(meant) = acknowledged {
                    self.check_acknowledged(n, meant);
                }
            }
            Received::Reported if self.hosts[n].is_running() => {
                let before = self.views[n].clone();
                self.act(n, Host::turn);
                if let Some(meant) = Meant::of(frame) {
                    self.check_gives_way(n, meant, &before);
                }
            }
            Received::Reported => {}
        }
    }

    /// Something happens on a host. What comes of it is sent, scheduled and checked.
    pub fn act(&mut self, n: usize, action: impl FnOnce(&mut Host, Nanos)) {
        let now = self.local(n);
        let host = &mut self.hosts[n];
        let (before, run) = (std::mem::take(&mut self.views[n]), host.runs);
        action(host, now);
        host.report_changes(now, false);
        let run_now = host.runs;
        let (later, sent) = (std::mem::take(&mut host.later), std::mem::take(&mut host.sent));
        self.wakes[n] = host.wake().map(|at| host.when(at).max(self.now));
        for (at, later) in later {
            let event = Event::Host { host: n, run: run_now, later };
            self.schedule(self.hosts[n].when(at).max(self.now), event);
        }
        let before = if run == run_now { before } else { Vec::new() };
        self.views[n] = self.hosts[n].views();
        self.note_terms(n, &before, &sent);
        for sent in sent {
            self.note_sent(n, &sent);
            self.send(n, &sent);
        }
        self.check_fences(n);
        self.check_host(n, &before);
    }

    fn send(&mut self, from: usize, sent: &Sent) {
        let Sent { nic, to: whom, frame, .. } = sent;
        if let Some(meant @ Meant { priority: 0, .. }) = Meant::of(frame) {
            self.note(|| format!("host {from} resigns: {meant:?}"));
        }
        for to in 0..self.hosts.len() {
            let is_for = |whom| self.hosts[to].kernel.answers_for(*nic, whom);
            if to == from || self.cut[from][to][*nic] || !whom.is_none_or(is_for) {
                continue;
            }
            let mut frame = Rc::clone(frame);
            if whom.is_some() {
                Rc::make_mut(&mut frame)[..6]
                    .copy_from_slice(&self.hosts[to].kernel.nics[*nic].mac);
            }
            let copies = 1 + u64::from(self.rng.chance(self.repeats));
            for _ in 0..copies {
                if !self.rng.chance(self.loss) {
                    let at = self.now + self.rng.time(self.max_delay);
                    self.schedule(at, Event::Frame { to, nic: *nic, frame: Rc::clone(&frame) });
                }
            }
        }
    }
}
