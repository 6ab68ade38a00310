//! What must hold, whatever happens.

use std::collections::BTreeMap;
use vrrp_user::engine::time::Nanos;
use vrrp_user::engine::types::{Cause, Health, Priority, RouterView, State};

use super::config::RouterConf;
use super::datapath::Meant;
use super::host::{Host, Thing, Views};
use super::leases::Tenure;
use super::netlink::Mood;
use super::network::{CHAOS, Sim};

/// How long an address may stay that no router holds, where nothing keeps the daemon from removing it: until the next
/// attempt, and as long as netlink takes.
const REMOVAL: Nanos = Nanos::from_secs(8);
/// What clocks and answers about programs may add to a timer.
const SLACK: Nanos = Nanos::from_millis(250);
/// How exact the times are that the kernel side keeps.
const CUT: Nanos = Nanos::from_millis(1);

/// How often in a row a timer may be due when all of them were judged: a reload may set one to a time that is past.
const RESTLESS: u32 = 20;

/// What is remembered of a host.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Since when addresses are there that should not be, on the host's clock.
    excess: BTreeMap<Thing, Nanos>,
    /// When that is looked at next: it takes long, and need not be exact.
    due_excess: Nanos,
    /// How often in a row a timer was due when all of them had just been judged.
    due: u32,
    /// For how long the host may answer for the addresses of a router.
    pub tenures: BTreeMap<&'static str, Tenure>,
}

/// The skew as RFC 9568 section 6.1 and RFC 3768 section 6.1 have it.
fn skew(version: u8, priority: Priority, interval: Nanos) -> Nanos {
    let unit = if version == 2 { Nanos::from_secs(1) } else { interval };
    Nanos(unit.0 * (256 - u64::from(priority.0)) / 256)
}

impl Sim {
    /// What holds after everything that happens on a host.
    pub fn check_host(&mut self, n: usize, before: &Views) {
        let now = self.local(n);
        if !self.hosts[n].is_running() {
            self.watched[n].excess.clear();
            return;
        }
        let after = std::mem::take(&mut self.views[n]);
        let wrong = wrong_on(&self.hosts[n], now, before, &after);
        let changes = after.iter().filter(|(name, view)| {
            before.iter().any(|(other, old)| other == name && old.state != view.state)
        });
        self.hosts[n].transitions += changes.count() as u64;
        if self.trace.is_some() {
            for (name, view) in &after {
                let old =
                    before.iter().find(|(other, _)| other == name).map(|(_, view)| view.state);
                if old != Some(view.state) {
                    self.note(|| format!("host {n}: {name}: {old:?} -> {view:?}"));
                }
            }
        }
        if let Some(wrong) = wrong {
            self.violate(|| format!("host {n}: {wrong}"));
        }
        match self.hosts[n].daemon.as_ref().and_then(|daemon| daemon.core.poll_timeout()) {
            Some(at) if at <= now => self.watched[n].due += 1,
            Some(_) | None => self.watched[n].due = 0,
        }
        if self.watched[n].due > RESTLESS {
            self.violate(|| format!("host {n}: a timer is due again and again"));
        }
        self.check_excess(n, now);
        self.views[n] = after;
    }

    /// No address of ours is on a host that is not master, or whose configuration does not know it, for longer than its
    /// removal takes.
    fn check_excess(&mut self, n: usize, now: Nanos) {
        if now < self.watched[n].due_excess {
            return;
        }
        self.watched[n].due_excess = now + Nanos::from_millis(50);
        let host = &self.hosts[n];
        let Some(daemon) = &host.daemon else { return };
        // What an earlier daemon left is kept for a router that may become master.
        let kept = daemon.started + host.conf.startup_delay() + self.common.longest_wait();
        let excuses = [daemon.netlink.disturbed, daemon.deaf, daemon.reloaded, kept];
        let excused = excuses.into_iter().max().unwrap_or_default();
        let excess: Vec<Thing> = host.excess().collect();
        let known = &mut self.watched[n].excess;
        known.retain(|thing, _| excess.contains(thing));
        let mut oldest = None;
        for thing in excess {
            let since = *known.entry(thing).or_insert(now);
            if now - since.max(excused) > REMOVAL && now > since.max(excused) {
                oldest = Some((thing, since));
            }
        }
        let let_in = host.let_in();
        if !let_in.is_empty() && host.next_conf.is_none() && now > excused + REMOVAL {
            self.violate(|| format!("host {n}: packets to {let_in:?} are let in"));
        }
        if let Some((thing, since)) = oldest {
            let long = now - since;
            self.violate(|| format!("host {n}: {thing:?} is there for {long} without a master"));
        }
    }

    /// What wakes nobody because it was acknowledged is what the master says that the router follows.
    pub fn check_acknowledged(&mut self, n: usize, meant: Meant) {
        let host = &self.hosts[n];
        // While a reload is under way, it may not be known by which configuration a router goes.
        if !host.is_running()
            || host.next_conf.is_some()
            || host.daemon.as_ref().is_none_or(|daemon| daemon.datapath.has_reports())
        {
            return;
        }
        let Some((router, view)) = router_of(host, meant) else { return };
        let follows = view.state == State::Backup
            && view.master == Some((meant.source, Priority(meant.priority)));
        let outdone = router.preempt && view.priority.0 > meant.priority;
        if !follows || outdone {
            let name = router.name;
            self.violate(|| format!("host {n}: {name} keeps quiet about {meant:?}: {view:?}"));
        }
    }

    /// A master that hears who outranks it gives way (RFC 9568 section 6.4.3).
    pub fn check_gives_way(&mut self, n: usize, meant: Meant, before: &Views) {
        let host = &self.hosts[n];
        let Some((router, after)) = router_of(host, meant) else { return };
        let Some((_, before)) = before.iter().find(|(name, _)| *name == router.name) else {
            return;
        };
        let theirs = Priority(meant.priority);
        let outranks = |ours: Priority| {
            theirs > ours
                || theirs == ours && host.kernel.surely_ranks_below(router.nic, meant.source)
        };
        let stays = before.state == State::Master && after.state == State::Master;
        if stays && outranks(before.priority) && outranks(after.priority) {
            let name = router.name;
            self.violate(|| format!("host {n}: {name} stays master beside {meant:?}: {after:?}"));
        }
    }

    /// One master for each router, and the one that the configurations want; and kernels have what their cores believe.
    pub fn check_whole(&mut self) {
        let mut names: Vec<&str> = self
            .hosts
            .iter()
            .flat_map(|host| host.conf.routers.iter().map(|router| router.name))
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let wrong = self.wrong_in_whole(name);
            if let Some(wrong) = wrong {
                self.violate(|| format!("{name}: {wrong}"));
            }
        }
        for n in 0..self.hosts.len() {
            self.check_unfenced(n);
            let (is, should) = (&self.hosts[n].kernel.refused, self.hosts[n].conf.refused());
            if *is != should {
                let is = is.clone();
                self.violate(|| {
                    format!(
                        "host {n}: nothing is let in to {is:?}, and should not be to {should:?}"
                    )
                });
            }
            let (excess, missing): (Vec<_>, Vec<_>) =
                (self.hosts[n].excess().collect(), self.hosts[n].missing().collect());
            if !excess.is_empty() || !missing.is_empty() {
                self.violate(|| {
                    format!("host {n}: {excess:?} should not be there, and {missing:?} should")
                });
            }
        }
    }

    fn wrong_in_whole(&self, name: &str) -> Option<String> {
        let hosts = || self.hosts.iter().filter(|host| host.conf.router(name).is_some());
        let views: Vec<RouterView> = hosts().filter_map(|host| host.view(name)).collect();
        let masters = views.iter().filter(|view| view.state == State::Master);
        let masters: Vec<_> = masters.collect();
        let [master] = masters[..] else {
            let states: Vec<State> = self.hosts.iter().map(|host| host.state(name)).collect();
            return Some(format!("{} masters: {states:?}", masters.len()));
        };
        if let Some(idle) =
            views.iter().find(|view| !matches!(view.state, State::Master | State::Backup))
        {
            return Some(format!("does not take part: {idle:?}"));
        }
        let highest = views.iter().map(|view| view.priority).max()?;
        // RFC 9568 section 6.1: the owner pre-empts whatever its mode.
        let would = hosts().any(|host| {
            let preempts = host.conf.router(name).is_some_and(|router| router.preempt);
            host.view(name).is_some_and(|view| view.priority == highest)
                && (preempts || highest == Priority::OWNER)
        });
        (would && master.priority != highest).then(|| format!("nobody pre-empts {master:?}"))
    }
}

/// The router that an advertisement is for.
fn router_of(host: &Host, meant: Meant) -> Option<(&RouterConf, RouterView)> {
    let mut routers = host.conf.routers.iter();
    let router = routers.find(|router| router.is_for(meant))?;
    Some((router, host.view(router.name)?))
}

fn wrong_on(host: &Host, now: Nanos, before: &Views, after: &Views) -> Option<String> {
    let daemon = host.daemon.as_ref()?;
    if let Some(mistake) = daemon.mistake {
        return Some(format!("counted: {mistake:?}"));
    }
    let mut group = None;
    for (name, view) in after {
        let Some(router) = host.conf.router(name) else { continue };
        // While a reload is under way, it may not be known by which configuration a router goes.
        if host.next_conf.is_some() {
            continue;
        }
        let old = before.iter().find(|(other, _)| other == name).map(|(_, old)| old);
        let wrong = old.and_then(|old| wrong_transition(host, now, router, old, view));
        if let Some(wrong) = wrong.or_else(|| wrong_timer(host, router, view)) {
            return Some(format!("{name}: {wrong}: {view:?}"));
        }
        if router.vital
            && daemon.vital == Health::Down
            && matches!(view.state, State::Backup | State::Master)
        {
            return Some(format!("{name} takes part although it must not: {view:?}"));
        }
        if host.conf.is_grouped(router) && view.state != State::Init {
            match group {
                Some(state) if state != view.state => {
                    return Some(format!(
                        "{name} is {:?} in a group that is {state:?}",
                        view.state
                    ));
                }
                Some(_) | None => group = Some(view.state),
            }
        }
    }
    None
}

/// A backup waits for no longer than the master-down interval after it heard its master, and it is that one's silence. What it
/// was to pre-empt counts as heard when that is over.
fn wrong_timer(host: &Host, router: &RouterConf, view: &RouterView) -> Option<String> {
    if view.state != State::Backup || host.conf.is_grouped(router) {
        return None;
    }
    let daemon = host.daemon.as_ref()?;
    let Some(at) = view.next_timer else { return Some("waits for nothing".to_owned()) };
    let heard = view.master.map(|(master, _)| daemon.datapath.heard(router.vrid, master).at);
    let delayed = daemon.started + host.conf.startup_delay();
    let heard = heard.unwrap_or_default();
    let changed = daemon.reloaded.max(daemon.priority_changed);
    let since =
        [heard, view.since, daemon.deaf, daemon.begun, changed, delayed].into_iter().max()?;
    let long = at - since;
    (at > since && long > view.master_down_interval + SLACK).then(|| format!("waits for {long}"))
}

/// Since when a router is told everything, as far as somebody has kept it from that; `None` if it is not, and could know.
fn received_since(host: &Host, now: Nanos, router: &RouterConf) -> Option<Nanos> {
    let daemon = host.daemon.as_ref()?;
    let iface = host.kernel.nics[router.nic].iface?;
    // An answer that does not come in time is not waited for.
    let answers = !matches!(host.mood, Mood::Slow | Mood::Mute);
    // A member of a group that has waited for long enough goes with the others, whatever happens meanwhile.
    let grouped = host.conf.is_grouped(router);
    if grouped || !answers || now < host.mood_since + Nanos::from_secs(1) {
        return Some(Nanos::ZERO);
    }
    daemon.datapath.receives_since(now, iface)
}

/// Nobody takes over without a reason, nor gives way.
fn wrong_transition(
    host: &Host,
    now: Nanos,
    router: &RouterConf,
    before: &RouterView,
    after: &RouterView,
) -> Option<String> {
    if before.state == after.state {
        return None;
    }
    let daemon = host.daemon.as_ref()?;
    let heard = |source| daemon.datapath.heard(router.vrid, source);
    // Who goes on as master does not take over.
    let adopted = after.cause == Some(Cause::Adopted);
    if after.state == State::Master && !adopted && now < daemon.started + host.conf.startup_delay()
    {
        return Some("takes over before the startup delay is over".to_owned());
    }
    // An operator may have changed it just now.
    let priority = before.priority.max(after.priority);
    match (before.state, after.state, after.cause?) {
        (State::Backup, State::Master, Cause::MasterDown { master: Some(master), .. }) => {
            let Some(said) = heard(master).advert else { return Some("never heard it".to_owned()) };
            let resigned = heard(master).resigned.is_some_and(|at| at > said.at);
            let preempts = router.preempt && priority.0 > said.priority;
            let interval = if router.version == 2 { Nanos::from_secs(1) } else { said.interval };
            let silence = interval.times(3) + skew(router.version, priority, interval);
            let receives = received_since(host, now, router);
            if receives.is_none_or(|since| now + CUT < since + silence) && !preempts {
                return Some(format!(
                    "what is a silence to it was none: it hears since {receives:?}"
                ));
            }
            let is_short = now + CUT < said.at + silence;
            (is_short && !resigned && !preempts && priority != Priority::OWNER)
                .then(|| format!("its master was heard {} ago", now - said.at))
        }
        (State::Backup, State::Master, Cause::MasterResigned(master)) => {
            let heard = heard(master);
            heard.resigned.is_none().then(|| "its master has not resigned".to_owned())
        }
        (State::Backup, State::Master, Cause::Preempted { master, priority: theirs }) => {
            (theirs >= priority).then(|| format!("pre-empts {master} without a right"))
        }
        (State::Master, State::Backup, Cause::Yielded { master, priority: theirs }) => {
            let ours = before.priority.min(after.priority);
            let outranks =
                theirs > ours || theirs == ours && host.kernel.ranks_below(router.nic, master);
            (!outranks).then(|| "gives way to who ranks below it".to_owned())
        }
        _ => None,
    }
}

/// One seed from beginning to end.
pub fn simulate(seed: u64, traced: bool) -> Outcome {
    let mut sim = Sim::new(seed, traced);
    sim.run(CHAOS);
    let bound = CHAOS + sim.recovery();
    sim.run(bound);
    if sim.violation.is_none() {
        sim.check_whole();
    }
    let transitions = |sim: &Sim| sim.hosts.iter().map(|host| host.transitions).sum::<u64>();
    let before = transitions(&sim);
    for step in 1..=10 {
        if sim.violation.is_none() {
            sim.run(bound + sim.common.longest().times(step));
            sim.check_whole();
        }
    }
    if transitions(&sim) != before {
        sim.violate(|| "the network is calm, its routers are not".to_owned());
    }
    let trace = sim.trace.take().unwrap_or_default().into();
    Outcome { digest: sim.digest, events: sim.count, violation: sim.violation, trace }
}

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Another one for every other course of things.
    pub digest: u64,
    pub events: u64,
    pub violation: Option<String>,
    pub trace: Vec<String>,
}
