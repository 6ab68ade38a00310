//! What waits, and what becomes of it when its time has come: the start, announcements, and changes of links.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::debounce::Debounce;
use super::garp_extra_if::GarpExtraIf;
use super::netlink::Event;
use super::pace::{AnnounceKind, Item, Pacer};
use super::relearn::Relearn;
use super::{Core, InterfaceAddr};
use crate::config::model::{self, Delays, LinkDelay};
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;
use crate::engine::types::{RouterId, State};

/// Announcements that are sent before other timers are looked at again.
const AT_ONCE: usize = 256;

/// Everything that waits. Without delays in the configuration, there is nothing in it.
pub(super) struct Delayed {
    /// As configured.
    configured: Delays,
    pacer: Option<Box<Pacer>>,
    debounce: Option<Box<Debounce>>,
    extra_if: GarpExtraIf,
    /// The same for own addresses of backups.
    own_address: GarpExtraIf,
    /// What switches have to be told once more.
    pub(super) relearn: Relearn,
}

impl Delayed {
    pub(super) fn new(configured: Delays) -> Self {
        let (pacer, debounce) = (Pacer::new(&configured), Debounce::new(&configured));
        Self {
            configured,
            pacer,
            debounce,
            extra_if: GarpExtraIf::default(),
            own_address: GarpExtraIf::default(),
            relearn: Relearn::default(),
        }
    }

    /// Until when no router takes over, for a daemon that started at `started`, so long after the host; `None` for at
    /// once.
    pub(super) fn start(&self, started: Nanos, since_boot: Nanos) -> Option<Nanos> {
        // The longer one counts, as in keepalived 2.3.
        let delay = self.configured.startup.max(self.configured.after_boot - since_boot);
        (delay > Nanos::ZERO).then(|| started + delay)
    }

    /// When something has waited long enough.
    pub(super) fn next(&self) -> Option<Nanos> {
        let announcement = self.pacer.as_ref().and_then(|pacer| pacer.next());
        let link = self.debounce.as_ref().and_then(|debounce| debounce.next());
        let periods = [self.extra_if.next(), self.own_address.next(), self.relearn.next()];
        [announcement, link].into_iter().chain(periods).flatten().min()
    }

    /// Applies how often a router announces its addresses on other interfaces, and its own one.
    pub(super) fn configure_extra_if(
        &mut self,
        now: Nanos,
        id: RouterId,
        router: &model::RouterConfig,
        state: Option<State>,
    ) {
        let period = if router.has_extra_if() { router.garp_extra_if } else { Nanos::ZERO };
        self.extra_if.configure(now, id, period, state == Some(State::Master));
        let is_backup = state == Some(State::Backup);
        self.own_address.configure(now, id, router.garp_own_address, is_backup);
    }

    /// How often a router announces its addresses on other interfaces; zero for never.
    pub(super) fn extra_if_period(&self, id: RouterId) -> Nanos {
        self.extra_if.period(id)
    }

    /// How often a router announces its own address as backup; zero for never.
    pub(super) fn own_address_period(&self, id: RouterId) -> Nanos {
        self.own_address.period(id)
    }

    /// A router is in that state now.
    pub(super) fn transition(&mut self, now: Nanos, id: RouterId, to: State) {
        match to {
            State::Master => self.extra_if.begin(now, id),
            State::Init | State::Backup | State::Fault => {
                self.extra_if.end(id);
                self.relearn.end(id);
            }
        }
        match to {
            State::Backup => self.own_address.begin(now, id),
            State::Init | State::Master | State::Fault => _ = self.own_address.end(id),
        }
    }

    /// A router is no longer in the configuration, and another one may get its number.
    pub(super) fn router_removed(&mut self, now: Nanos, id: RouterId) {
        self.relearn.end(id);
        self.extra_if.configure(now, id, Nanos::ZERO, false);
        self.own_address.configure(now, id, Nanos::ZERO, false);
    }

    /// Announcements that wait.
    pub(super) fn announcements(&self) -> usize {
        self.pacer.as_ref().map_or(0, |pacer| pacer.waiting())
    }

    /// What an interface will be, and when, if it is not that already.
    pub(super) fn link(&self, iface: InterfaceId) -> Option<(Nanos, bool)> {
        self.debounce.as_ref()?.pending(iface)
    }

    pub(super) fn interface_removed(&mut self, iface: InterfaceId) {
        if let Some(pacer) = &mut self.pacer {
            pacer.interface_removed(iface);
        }
        if let Some(debounce) = &mut self.debounce {
            debounce.interface_removed(iface);
        }
    }

    /// An address was given up.
    pub(super) fn forget(&mut self, place: InterfaceAddr) {
        if let Some(pacer) = &mut self.pacer {
            pacer.forget(place);
        }
    }
}

impl Core {
    /// Whether something may be said about an address now; otherwise it is when it is its turn.
    pub(super) fn may_announce(&mut self, item: Item) -> bool {
        let Some(pacer) = &mut self.delays.pacer else { return true };
        let Some(interface) = self.interfaces.get(item.1.iface) else { return false };
        pacer.admit(self.now, &interface.name, item)
    }

    /// Does what has waited long enough.
    pub(super) fn delays_due(&mut self, now: Nanos) {
        while let Some(link) = self.delays.debounce.as_mut().and_then(|links| links.due(now)) {
            let counts = if link.up { "up" } else { "down" };
            log::info!("{}: counts as {counts} now", link.name);
            self.changed_now(&Event::Link(link));
        }
        for _ in 0..AT_ONCE {
            match self.delays.extra_if.due(now) {
                Some(id) => self.announce_extra_if(id),
                None => break,
            }
        }
        for _ in 0..AT_ONCE {
            match self.delays.relearn.due(now) {
                Some(id) => self.announce_virtual_mac(id),
                None => break,
            }
        }
        let mut announced = BTreeSet::new();
        for _ in 0..AT_ONCE {
            match self.delays.own_address.due(now) {
                Some(id) => announced.extend(self.own_place(id)),
                None => break,
            }
        }
        // Many routers may have the same one, and are backup since the same moment.
        announced.into_iter().for_each(|place| self.garp(place));
        for _ in 0..AT_ONCE {
            let Self { delays, engine, addresses, interfaces, .. } = self;
            let Some(pacer) = &mut delays.pacer else { return };
            let holds = |place| {
                // Of an owner, nobody put it there.
                let holder = addresses.router(place);
                interfaces.carries(place)
                    && holder.is_none_or(|id| engine.state(id) == Some(State::Master))
            };
            match pacer.due(now, holds) {
                Some((AnnounceKind::Announcement, place)) => self.garp_now(place),
                Some((AnnounceKind::Probe, place)) => self.probe_now(place),
                None => return,
            }
        }
    }

    /// Announces an address of a master on each interface on which advertisements do not tell where it is.
    fn announce_extra_if(&mut self, id: RouterId) {
        for place in self.router(id).unsaid() {
            if self.interfaces.carries(place) {
                self.garp(place);
            }
        }
    }

    /// The own address of a backup, where switches are to know it: advertisements to it come by unicast, and it says nothing.
    fn own_place(&self, id: RouterId) -> Option<InterfaceAddr> {
        let (iface, address) = (self.router(id).iface()?, self.router(id).source_in_use()?);
        let place = InterfaceAddr { iface, address };
        self.interfaces.usable(place).then_some(place)
    }

    /// What counts at the moment of what the kernel reports.
    pub(super) fn debounced<'a>(&mut self, event: &'a Event) -> Cow<'a, Event> {
        let (Some(debounce), Event::Link(link)) = (&mut self.delays.debounce, event) else {
            return Cow::Borrowed(event);
        };
        let now = self.now;
        let before = debounce.pending(link.iface);
        let counted = self.interfaces.get(link.iface).map(|known| known.up);
        let counts = debounce.reported(now, link, counted);
        match (before, debounce.pending(link.iface)) {
            (None, Some((at, up))) => {
                let is = if up { "up" } else { "down" };
                log::info!("{}: {is}, which counts if it is so for {}", link.name, at - now);
            }
            (Some(_), None) => log::info!("{}: as it was before, in time", link.name),
            (None, None) | (Some(_), Some(_)) => {}
        }
        Cow::Owned(Event::Link(counts))
    }

    /// A router on an interface goes by the interval of its master from now on. A backup that hears nothing because of
    /// the link must not take over before the delay of the link is over.
    pub(super) fn interval_learned(&mut self, id: RouterId) {
        let Some(links) = &mut self.delays.debounce else { return };
        let (Some(spec), Some(view)) = (self.engine.spec(id), self.engine.view(id)) else { return };
        if view.state != State::Backup {
            return;
        }
        let interval = view.interval;
        let most = LinkDelay::most(interval, spec.down_adverts);
        let interface = &self.routers[id.0 as usize].interface;
        if let Some(used) = links.shorten(interface, most, LinkDelay::reduced(interval, most)) {
            log::info!(
                "{interface}: delays are shortened to {used}: the master's interval is {interval}"
            );
        }
    }

    /// Goes on with other delays. Returns what differs.
    pub(super) fn take_delays(&mut self, new: &Delays, check: bool) -> Vec<String> {
        let old = self.delays.configured.clone();
        let mut changed = Vec::new();
        let announcements = (old.pauses, &old.garp_groups) != (new.pauses, &new.garp_groups);
        if announcements {
            changed.push("pauses between announcements".to_owned());
        }
        let links = old.links != new.links;
        if links {
            changed.push("delays of interfaces".to_owned());
        }
        if (old.startup, old.after_boot) != (new.startup, new.after_boot) {
            changed.push("startup delay, which counts from the next start on".to_owned());
        }
        if check {
            return changed;
        }
        self.delays.configured.clone_from(new);
        if announcements {
            let before = std::mem::replace(&mut self.delays.pacer, Pacer::new(new));
            for item in before.into_iter().flat_map(|pacer| pacer.into_waiting()) {
                match item {
                    (AnnounceKind::Announcement, place) => self.garp(place),
                    (AnnounceKind::Probe, place) => self.probe(place),
                }
            }
        }
        if links {
            let up = self.interfaces.indices().into_iter().filter_map(|iface| {
                let interface = self.interfaces.get(iface).filter(|known| known.up)?;
                Some((iface, interface.name.clone()))
            });
            for link in Debounce::replace(&mut self.delays.debounce, new, up) {
                self.changed_now(&Event::Link(link));
            }
            // The new delays know nothing of the masters that are heard.
            for id in self.ids() {
                self.interval_learned(id);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_delay_of_the_start_counts() {
        let secs = Nanos::from_secs;
        let start = |startup, after_boot, up| {
            let (startup, after_boot) = (secs(startup), secs(after_boot));
            let configured = Delays { startup, after_boot, ..Delays::default() };
            Delayed::new(configured).start(secs(1000), secs(up))
        };
        assert_eq!(start(0, 0, 5), None);
        assert_eq!(start(7, 0, 5), Some(secs(1007)));
        assert_eq!(start(7, 60, 5), Some(secs(1055)));
        assert_eq!(start(7, 60, 57), Some(secs(1007)));
        assert_eq!(start(0, 60, 60), None);
    }
}
