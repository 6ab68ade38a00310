//! For how long a host may answer for the addresses of a router, as its rules have it (`vrrp_common::lease`), from what it was
//! seen to send and to hear: whoever cannot say any more that it is master answers for no address after another one has
//! announced it, and been heard here.

use std::net::IpAddr;

use vrrp_user::core::InterfaceAddr;
use vrrp_user::engine::time::Nanos;
use vrrp_user::engine::types::{Cause, Health, Lost, State};

use super::config::RouterConf;
use super::datapath::{Meant, claimed};
use super::host::{Host, Sent, Views};
use super::network::Sim;

/// What is known of a router on a host, by its clock.
#[derive(Clone, Debug, Default)]
pub struct Tenure {
    /// Its last state, also of a daemon that is dead.
    state: Option<State>,
    priority: u8,
    /// When it took over or advertised last.
    since: Nanos,
    /// When somebody was heard who claims an address, surely.
    claimed: Nanos,
    /// When somebody was heard who outranks it, surely.
    outranked: Nanos,
    /// Somebody else has the addresses: until it takes over anew.
    lost: bool,
    /// There was a reason to fence it.
    suspect: bool,
    /// Whether it needs no claim, by what it was configured for when it was master last.
    alone: bool,
}

impl Tenure {
    fn begin(&mut self, now: Nanos) {
        *self = Self {
            since: now,
            state: Some(State::Master),
            priority: self.priority,
            ..Self::default()
        };
    }

    /// What follows from the time that has passed. `alone` is whether who is master now needs no claim.
    fn judge(&mut self, now: Nanos, lease: Nanos, alone: bool) {
        if self.state == Some(State::Master) {
            self.alone = alone;
        }
        let over = now > self.since + lease;
        let claimed = self.claimed > self.since || self.alone;
        let may = self.state == Some(State::Master) && !over;
        self.lost |= !may && claimed || self.outranked > self.since;
        self.suspect |= over;
    }
}

impl Sim {
    fn tenure(&mut self, n: usize, name: &'static str) -> &mut Tenure {
        self.watched[n].tenures.entry(name).or_default()
    }

    /// What an earlier one of this kind had says nothing of a router that has other settings now, and whatever was left by
    /// a daemon that has stopped is not fenced.
    pub fn forget_tenures(&mut self, n: usize) {
        let now = self.local(n);
        for tenure in self.watched[n].tenures.values_mut() {
            let Tenure { state, priority, .. } = *tenure;
            *tenure = Tenure { state, priority, since: now, suspect: true, ..Tenure::default() };
        }
    }

    /// Time has passed.
    fn judge(&mut self, n: usize) {
        let now = self.local(n);
        // While a reload is under way, it may not be known by which configuration a router goes.
        // So it is until those begin that go on by another one.
        let reloads = self.hosts[n].next_conf.is_some() || self.hosts[n].starts_otherwise();
        // What was sent before it stood still has renewed nothing yet.
        if reloads || self.hosts[n].stands_in_send() {
            self.watched[n].tenures.values_mut().for_each(|tenure| tenure.suspect = true);
        }
        if reloads {
            return;
        }
        let conf = &self.hosts[n].conf;
        for router in &conf.routers {
            let Some(lease) = conf.lease(router) else { continue };
            let tenure = self.watched[n].tenures.entry(router.name).or_default();
            tenure.judge(now, lease, router.fence == "lease");
        }
    }

    /// Masters have advertised: also those that gave up in the same turn, afterwards.
    fn note_renewals(&mut self, n: usize, sent: &[Sent]) {
        self.judge(n);
        for Sent { frame, heard, .. } in sent {
            let Some(meant) = Meant::of(frame).filter(|meant| meant.priority > 0) else { continue };
            let mut routers = self.hosts[n].conf.routers.iter();
            let router = routers.find(|router| router.is_for(meant));
            let Some(name) = router.map(|router| router.name) else { continue };
            let tenure = self.tenure(n, name);
            if tenure.state == Some(State::Master) && !tenure.lost {
                tenure.since = tenure.since.max(*heard);
            }
        }
    }

    /// Routers have taken over, or given up.
    pub fn note_terms(&mut self, n: usize, before: &Views, sent: &[Sent]) {
        let now = self.local(n);
        let host = &self.hosts[n];
        let is_new = match &host.daemon {
            None => host.datapath().is_none(),
            // It goes on with what there is, or by another configuration from now on.
            Some(daemon) if daemon.adopts && daemon.reloaded == daemon.started => {
                !daemon.same && daemon.begun == now
            }
            Some(daemon) => daemon.reloaded == now,
        };
        if is_new {
            self.forget_tenures(n);
        } else {
            self.note_renewals(n, sent);
        }
        self.judge(n);
        if self.hosts[n].daemon.is_none() {
            return;
        }
        if let Some(wrong) = self.hosts[n].wrong.take() {
            self.violate(|| format!("host {n}: {wrong}"));
        }
        // Until its routers begin, everything is as the one before has left it.
        let daemon = self.hosts[n].daemon.as_ref();
        if daemon.is_some_and(|daemon| daemon.adopts && daemon.core.is_starting()) {
            return;
        }
        if daemon.is_some_and(|daemon| daemon.adopts && daemon.begun == now) {
            self.check_adoption(n);
        }
        for (name, view) in self.views[n].clone() {
            let old = before.iter().find(|(other, _)| *other == name).map(|(_, view)| view);
            let anew = old.is_none_or(|old| (old.state, old.since) != (view.state, view.since));
            let tenure = self.tenure(n, name);
            if view.cause == Some(Cause::Adopted) && view.state == State::Master {
                // Its lease goes on.
            } else if view.state == State::Master && anew {
                tenure.begin(now);
            } else if anew && view.cause == Some(Cause::Lost(Lost::Lease)) && !tenure.suspect {
                self.violate(|| format!("host {n}: {name} has lost its lease without a reason"));
            }
            let tenure = self.tenure(n, name);
            tenure.state = Some(view.state);
            tenure.priority = view.priority.0;
        }
    }

    /// The routers of a daemon begin that goes on where another one ended: whoever may go on as master does, and nobody else.
    fn check_adoption(&mut self, n: usize) {
        let now = self.local(n);
        let host = &self.hosts[n];
        let Some(daemon) = &host.daemon else { return };
        let works = daemon.same && host.attaches && host.checked == Health::Up;
        let works = works && host.health == [Health::Up; 2];
        let mut wrong = None;
        for router in &host.conf.routers {
            let Some(tenure) = self.watched[n].tenures.get(router.name) else { continue };
            let Some(lease) = host.conf.lease(router) else { continue };
            let nic = &host.kernel.nics[router.nic];
            let was_master = tenure.state == Some(State::Master);
            let over = now > tenure.since + lease;
            let lost = |at: &InterfaceAddr| {
                router.addresses.iter().any(|(address, ..)| *address == at.address)
            };
            // What is claimed while it starts it may hear when it has begun.
            let claimed = tenure.claimed > tenure.since && tenure.claimed < daemon.started;
            let must_not = !was_master || over || claimed || daemon.lost.iter().any(lost);
            // What claims an address that is not there yet is known to the kernel side only.
            let known = host.claims(router.name);
            let must = was_master
                && !known
                && !daemon.moved.iter().any(|name| name == router.name)
                && works
                && nic.up
                && !nic.iface.is_some_and(|iface| daemon.datapath.was_raw(iface))
                && !host.conf.is_grouped(router)
                && !tenure.lost
                && !tenure.suspect
                && tenure.claimed <= tenure.since
                && !over;
            let goes_on = daemon.adopted.contains(&router.name);
            if must_not && goes_on || must && !goes_on {
                wrong = Some((router.name, goes_on, tenure.clone()));
            }
        }
        if let Some((name, goes_on, tenure)) = wrong {
            let view = self.hosts[n].view(name);
            self.violate(|| {
                format!("host {n}: {name} goes on as master: {goes_on}, {tenure:?}, {view:?}")
            });
        }
    }

    /// Somebody else was heard.
    pub fn note_rival(&mut self, n: usize, nic: usize, frame: &[u8]) {
        let now = self.local(n);
        let host = &self.hosts[n];
        let Some(datapath) = host.datapath() else { return };
        let routers = host.conf.routers.clone();
        if let Some(meant) = Meant::of(frame) {
            let is_it = |router: &&RouterConf| router.is_for(meant) && router.nic == nic;
            let Some(router) = routers.iter().find(is_it) else { return };
            if meant.priority == 0 || datapath.heard(meant.vrid, meant.source).at != now {
                return;
            }
            let below = self.hosts[n].kernel.surely_ranks_below(nic, meant.source);
            let tenure = self.tenure(n, router.name);
            let theirs = meant.priority;
            match tenure.state {
                Some(State::Master) => {
                    tenure.suspect |= theirs >= tenure.priority;
                    if theirs > tenure.priority || theirs == tenure.priority && below {
                        tenure.outranked = now;
                        tenure.claimed = now;
                    }
                }
                Some(State::Backup) => tenure.claimed = now,
                Some(State::Init | State::Fault) | None => {}
            }
        } else if let Some(address) = claimed(frame) {
            for router in routers {
                if place(&self.hosts[n], &router, nic, address)
                    .is_some_and(|at| self.hosts[n].datapath().is_some_and(|it| it.holds(at)))
                {
                    self.tenure(n, router.name).claimed = now;
                }
            }
        }
    }

    /// Something has left: by nobody whose addresses are another's, but for the last words.
    pub fn note_sent(&mut self, n: usize, Sent { nic, frame, heard, guarded, .. }: &Sent) {
        let now = self.local(n);
        self.judge(n);
        let reloads = self.hosts[n].next_conf.is_some();
        let (meant, address) = (Meant::of(frame), claimed(frame));
        for router in self.hosts[n].conf.routers.clone() {
            let Some(lease) = self.hosts[n].conf.lease(&router) else { continue };
            let tenure = self.tenure(n, router.name);
            let is_master = tenure.state == Some(State::Master);
            let wrong = match meant {
                Some(it) if router.is_for(it) => {
                    let late = now > tenure.since + lease && !reloads;
                    let wrong = tenure.lost && late && *guarded;
                    // Nobody was there to stop it, be it the last word: to the kernel side the claim was before that.
                    let unstopped = !*guarded;
                    if is_master && it.priority > 0 && !wrong || unstopped {
                        tenure.since = tenure.since.max(*heard);
                        tenure.lost &= !unstopped;
                    }
                    wrong
                }
                Some(_) => false,
                None => {
                    let is_ours =
                        |(it, _, on): &(IpAddr, u8, usize)| Some(*it) == address && on == nic;
                    router.addresses.iter().any(is_ours) && is_master && tenure.lost && *guarded
                }
            };
            if wrong {
                let tenure = self.tenure(n, router.name).clone();
                let what = meant.map_or_else(|| format!("{address:?}"), |it| format!("{it:?}"));
                self.violate(|| format!("host {n}: {} says {what}: {tenure:?}", router.name));
            }
        }
    }

    /// There is traffic, which lets the kernel side notice.
    pub fn traffic(&mut self, n: usize) {
        let now = self.local(n);
        let host = &self.hosts[n];
        let Some(datapath) = host.datapath() else { return };
        for router in &host.conf.routers {
            for (address, _, nic) in &router.addresses {
                place(host, router, *nic, *address).map(|at| datapath.answers(now, at, true));
            }
        }
    }

    /// Nobody answers for what is another's.
    pub fn check_fences(&mut self, n: usize) {
        let now = self.local(n);
        self.judge(n);
        if self.hosts[n].next_conf.is_some() || self.hosts[n].starts_otherwise() {
            return;
        }
        for router in self.hosts[n].conf.routers.clone() {
            let tenure = self.tenure(n, router.name).clone();
            if self.hosts[n].conf.lease(&router).is_none() || !tenure.lost {
                continue;
            }
            for (address, _, nic) in &router.addresses {
                let host = &self.hosts[n];
                let Some(at) = place(host, &router, *nic, *address) else { continue };
                let answers =
                    host.datapath().is_none_or(|datapath| datapath.answers(now, at, false));
                if answers && is_guarded(host, *nic) {
                    let name = router.name;
                    let lease = host.datapath().and_then(|it| it.lease_of(at));
                    self.violate(|| {
                        format!("host {n} answers for {address} of {name}: {tenure:?}, {lease:?}")
                    });
                }
            }
        }
    }

    /// When everything works no master is fenced.
    pub fn check_unfenced(&mut self, n: usize) {
        let now = self.local(n);
        for router in self.hosts[n].conf.routers.clone() {
            let host = &self.hosts[n];
            let (Some(datapath), State::Master) = (host.datapath(), host.state(router.name)) else {
                continue;
            };
            let mut places = router.addresses.iter();
            let places = places.find_map(|(address, _, nic)| {
                place(host, &router, *nic, *address).filter(|at| !datapath.answers(now, *at, false))
            });
            if let Some(at) = places {
                let name = router.name;
                self.violate(|| format!("host {n}: {name} is master, and fenced: {at:?}"));
            }
        }
    }
}

/// Where an address of a router is there by a daemon.
fn place(host: &Host, router: &RouterConf, nic: usize, address: IpAddr) -> Option<InterfaceAddr> {
    let at = InterfaceAddr { iface: host.kernel.nics[nic].iface?, address };
    let configured = router.addresses.iter().any(|(it, _, on)| (*it, *on) == (address, nic));
    let there = host.kernel.addresses.iter().any(|it| it.at == at && it.marked);
    (configured && there).then_some(at)
}

/// Whether there are programs on an interface.
fn is_guarded(host: &Host, nic: usize) -> bool {
    let iface = host.kernel.nics[nic].iface;
    iface.is_some_and(|iface| host.datapath().is_some_and(|it| it.attached.contains_key(&iface)))
}
