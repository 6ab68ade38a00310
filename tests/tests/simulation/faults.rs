//! What goes wrong with networks, hosts and kernels, and what administrators and operators do meanwhile.

use vrrp_user::api::Order;
use vrrp_user::core::Input;
use vrrp_user::engine::time::Nanos;
use vrrp_user::engine::types::Health;

use super::config::HostConf;
use super::host::{Host, Later, Tampering};
use super::netlink::Mood;
use super::network::{CHAOS, Sim};

/// How rarely somebody does the same again.
const TAMPERING: Nanos = Nanos::from_secs(4);

/// One of these happens every other second.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The network falls into two halves.
    Partition,
    /// One host is not heard by another one, which it hears.
    OneWay,
    Heal,
    /// The network loses, repeats, delays and reorders more, or less.
    Quality,
    Pause,
    /// The daemon stands still while it sends.
    StopSending,
    /// Nothing leaves any more, or everything does again.
    Sending,
    Kill,
    /// The daemon is killed, and started again soon.
    Crash,
    /// Another program takes its place.
    Upgrade,
    Stop,
    /// Daemons that do not run start, some with another configuration.
    Start,
    LinkDown,
    LinkUp,
    /// The interface is made anew.
    Recreate,
    /// The host gets another address.
    Readdress,
    /// An administrator takes a virtual address away.
    AddressLost,
    /// An administrator adds one.
    Foreign,
    Reload,
    /// A tracked file changes, or what the script checks.
    Tracked,
    /// An administrator takes a route or a rule away.
    ObjectLost,
    /// An operator takes a router out of the election, or lets it back in.
    StepDown,
    /// An operator sets a priority, or takes that back.
    SetPriority,
    /// Netlink works in another way from now on.
    Netlink,
    /// Somebody takes the program away.
    Detach,
    /// Programs cannot be attached, or can again.
    Attaching,
    /// Somebody begins to take programs away or to stop the ring buffer, again and again, or ends that.
    Tamper,
}

const FAULTS: [Fault; 42] = [
    Fault::Partition,
    Fault::OneWay,
    Fault::Heal,
    Fault::Heal,
    Fault::Quality,
    Fault::Quality,
    Fault::Pause,
    Fault::StopSending,
    Fault::StopSending,
    Fault::Sending,
    Fault::Sending,
    Fault::Kill,
    Fault::Crash,
    Fault::Crash,
    Fault::Upgrade,
    Fault::Upgrade,
    Fault::Stop,
    Fault::Start,
    Fault::Start,
    Fault::Start,
    Fault::LinkDown,
    Fault::LinkUp,
    Fault::LinkUp,
    Fault::Recreate,
    Fault::Readdress,
    Fault::AddressLost,
    Fault::Foreign,
    Fault::Reload,
    Fault::Reload,
    Fault::Reload,
    Fault::Tracked,
    Fault::Tracked,
    Fault::Tracked,
    Fault::ObjectLost,
    Fault::StepDown,
    Fault::SetPriority,
    Fault::Netlink,
    Fault::Netlink,
    Fault::Detach,
    Fault::Attaching,
    Fault::Tamper,
    Fault::Tamper,
];

impl Sim {
    pub fn fault(&mut self) {
        let fault = self.rng.pick(&FAULTS);
        let n = self.rng.index(self.hosts.len());
        let nic = self.rng.index(2);
        self.note(|| format!("{fault:?}, host {n}, eth{nic}"));
        match fault {
            Fault::Partition => {
                let sides: Vec<bool> = self.hosts.iter().map(|_| self.rng.chance(50)).collect();
                for (from, row) in self.cut.iter_mut().enumerate() {
                    let pairs = row.iter_mut().zip(&sides);
                    pairs.for_each(|(cut, side)| cut[nic] = *side != sides[from]);
                }
            }
            Fault::OneWay => {
                let to = self.rng.index(self.hosts.len());
                self.cut[n][to][nic] = true;
            }
            Fault::Heal => self.heal(),
            Fault::Quality => {
                self.loss = self.rng.pick(&[0, 0, 10, 50, 90]);
                self.repeats = self.rng.pick(&[0, 5, 30]);
                self.max_delay = self.calm_delay.times(self.rng.pick(&[1, 1, 4, 12]));
            }
            Fault::Kill => self.act(n, |host, _| host.kill()),
            Fault::Crash => self.act(n, |host, now| {
                host.kill();
                let after = host.rng.pick(&[60, 300, 1_500, 8_000]);
                let after = host.rng.millis(after);
                host.later.push((now + after, Later::Restart));
            }),
            Fault::Sending => self.hosts[n].sends = self.rng.chance(60),
            Fault::Start => {
                for n in 0..self.hosts.len() {
                    if self.hosts[n].daemon.is_none() {
                        self.start(n);
                    }
                }
            }
            Fault::Netlink => {
                let mood = self.rng.pick(&Mood::ALL);
                self.act(n, |host, now| (host.mood, host.mood_since) = (mood, now));
            }
            Fault::Tamper => {
                let every = self.rng.millis(TAMPERING.0 / 1_000_000) + Nanos::from_millis(10);
                let begins = Tampering { every, ring: self.rng.chance(30) };
                let before = self.hosts[n].tampering.take();
                if before.is_none() {
                    self.hosts[n].tampering = Some(begins);
                    self.tamper(n);
                }
            }
            Fault::Attaching => self.hosts[n].attaches = self.rng.chance(60),
            Fault::LinkDown => self.act(n, |host, _| host.kernel.set_up(nic, false)),
            Fault::LinkUp => self.act(n, |host, _| host.kernel.set_up(nic, true)),
            Fault::Recreate => self.act(n, |host, _| {
                if host.rng.chance(50) {
                    host.kernel.destroy(nic);
                }
                host.kernel.create(nic);
            }),
            Fault::Readdress => {
                let grouped = self.common.grouped;
                self.act(n, |host, _| {
                    host.kernel.readdress(nic);
                    // Of two that tie, one must not rank above on this interface and below on the other one: the members of a
                    // group would give way to each other for ever.
                    if grouped {
                        host.kernel.readdress(1 - nic);
                    }
                });
            }
            Fault::AddressLost => self.act(n, |host, _| {
                let routers: Vec<_> = host.conf.routers.iter().collect();
                let (address, ..) = routers[host.rng.index(routers.len())].addresses[0];
                host.kernel.take(address);
            }),
            Fault::Foreign => self.act(n, |host, _| {
                let routers: Vec<_> = host.conf.routers.iter().collect();
                let (address, prefix, nic) = routers[host.rng.index(routers.len())].addresses[0];
                host.kernel.put_foreign(nic, address, prefix);
            }),
            Fault::ObjectLost => self.act(n, |host, _| {
                let chosen = host.rng.next();
                host.kernel.take_object(chosen);
            }),
            Fault::Tracked => {
                let place = self.rng.index(3);
                let health = self.rng.pick(&[Health::Up, Health::Down, Health::Down]);
                match self.hosts[n].health.get_mut(place) {
                    Some(file) => *file = health,
                    None => self.hosts[n].checked = health,
                }
                if self.hosts[n].is_awake() {
                    self.act(n, |host, now| {
                        host.report_health(now);
                        host.turn(now);
                    });
                }
            }
            Fault::Pause
            | Fault::StopSending
            | Fault::Stop
            | Fault::Upgrade
            | Fault::Reload
            | Fault::StepDown
            | Fault::SetPriority
            | Fault::Detach => {
                if self.hosts[n].is_running() {
                    self.fault_of_daemon(fault, n);
                }
            }
        }
    }

    /// What can only befall a daemon that runs.
    fn fault_of_daemon(&mut self, fault: Fault, n: usize) {
        let router = self.hosts[n].conf.routers.first().map(|_| self.rng.next());
        let Some(chosen) = router else { return };
        let routers = &self.hosts[n].conf.routers;
        let place = usize::try_from(chosen % routers.len() as u64).unwrap();
        let (name, grouped) = (routers[place].name, self.hosts[n].conf.is_grouped(&routers[place]));
        match fault {
            Fault::Pause => {
                let left = CHAOS - self.now;
                let length = self.rng.millis(12_000).min(left);
                self.act(n, |host, now| host.pause(now + length));
            }
            Fault::StopSending => {
                let until = self.local(n) + self.rng.millis(12_000).min(CHAOS - self.now);
                let (left, daemon) = (self.rng.chance(50), self.hosts[n].daemon.as_mut());
                daemon.unwrap().stops_sending = Some((until, left));
            }
            Fault::Stop => self.act(n, Host::stop),
            Fault::Upgrade => {
                if self.rng.chance(20) {
                    let conf = self.hosts[n].conf.changed(&mut self.rng, &self.common, n);
                    self.hosts[n].next_conf.get_or_insert(conf);
                }
                self.act(n, Host::upgrade);
            }
            Fault::Reload => {
                let changed = self.hosts[n].conf.changed(&mut self.rng, &self.common, n);
                self.reload(n, changed);
            }
            Fault::StepDown => {
                let order = if self.rng.chance(50) { Order::StepDown } else { Order::Resume };
                self.act(n, |host, now| host.order(now, name, order));
            }
            Fault::SetPriority => {
                let order = Order::SetPriority(self.rng.pick(&[None, Some(90), Some(200)]));
                let name = if grouped { super::config::GROUP } else { name };
                self.act(n, |host, now| host.order(now, name, order));
            }
            Fault::Detach => self.act(n, Host::detach),
            _ => {}
        }
    }

    /// Somebody does to a host what he does again and again.
    pub fn tamper(&mut self, n: usize) {
        let Some(Tampering { every, ring }) = self.hosts[n].tampering else { return };
        self.note(|| format!("host {n}: tampering, ring: {ring}"));
        self.act(n, |host, now| host.tamper(now, ring));
        self.tamper_again(n, every);
    }

    fn reload(&mut self, n: usize, conf: HostConf) {
        if self.hosts[n].next_conf.is_some() {
            return;
        }
        self.act(n, |host, now| {
            host.next_conf = Some(conf);
            host.input(now, Input::Reload { check: false, client: None });
            host.turn(now);
        });
    }

    fn start(&mut self, n: usize) {
        if self.rng.chance(30) {
            let conf = self.hosts[n].conf.changed(&mut self.rng, &self.common, n);
            self.hosts[n].next_conf = Some(conf);
            self.forget_tenures(n);
        }
        self.act(n, Host::start);
    }

    fn heal(&mut self) {
        self.cut.iter_mut().for_each(|row| row.fill([false; 2]));
    }

    /// Everything works from here on, but that somebody may go on with what he does.
    pub fn whole(&mut self) {
        self.note(|| "whole again".to_owned());
        self.loss = 0;
        self.repeats = 5;
        self.max_delay = self.calm_delay;
        self.heal();
        for n in 0..self.hosts.len() {
            self.act(n, |host, now| (host.mood, host.mood_since) = (Mood::Well, now));
            if self.rng.chance(50) {
                self.hosts[n].tampering = None;
            }
            self.hosts[n].sends = true;
            if let Some(daemon) = &mut self.hosts[n].daemon {
                daemon.stops_sending = None;
            }
            self.hosts[n].attaches = true;
            self.hosts[n].orders.clear();
            self.act(n, Host::resume);
            // Who takes too long to stop is killed.
            if self.hosts[n].daemon.as_ref().is_none_or(|daemon| daemon.stopping) {
                self.act(n, Host::start);
            }
            self.act(n, |host, now| {
                for nic in 0..2 {
                    host.kernel.create(nic);
                    host.kernel.set_up(nic, true);
                }
                host.kernel.take_foreign();
                host.health = [Health::Up; 2];
                host.checked = Health::Up;
                host.report_health(now);
                for router in host.conf.routers.clone() {
                    host.order(now, router.name, Order::Resume);
                }
            });
        }
    }

    /// How long it takes until everything is as it should be, once it can be.
    pub fn recovery(&self) -> Nanos {
        let delays = self.hosts.iter().map(|host| host.conf.preempt_delay());
        let startup = self.hosts.iter().map(|host| host.conf.startup_delay());
        // Until somebody is master, until pre-emption begins, until the timer of whoever pre-empts fires; once more for who
        // followed the interval of a master that gave way to a slower one; and what netlink did not do is tried again.
        // Whoever goes on takes something away eight times at most, until there is nothing more to take.
        let tampered = self.hosts.iter().any(|host| host.tampering.is_some());
        let deeds = if tampered { 9 } else { 0 };
        let wait = self.common.longest_wait();
        wait.times(3)
            + wait.max(TAMPERING).times(deeds)
            + delays.max().unwrap()
            + startup.max().unwrap()
            + Nanos::from_secs(15)
    }
}
