//! What is heard of other routers, and from whom: advertisements that the kernel side passed on, masters that it heard
//! without waking anybody, multicast groups and unicast peers.

use std::net::IpAddr;

use vrrp_common::event::RxEvent;
use vrrp_common::reason::Reason;
use vrrp_common::report::{self, MasterSeen, ReportFilter, Unreported};

use super::ah_association::AhAssociation;
use super::effect::{Effect, InfoChange};
use super::interface_table::Interface;
use super::reception::AHEAD;
use super::router::RouterRuntime;
use super::{Core, Counter};
use crate::core::interface_id::InterfaceId;
use crate::engine::election::outranks;
use crate::engine::time::Nanos;
use crate::engine::types::{AdvertInterval, Interest, Priority, RouterId, State};
use crate::refused::{Ours, Refused};
use crate::types::id::KeyId;
use crate::types::planted::{Fault, planted};
use crate::wire::family::{from_field, to_field};
use crate::wire::vrrp::parse_advert;

/// For how long losses keep master-down timers from being believed.
const DOUBT: Nanos = Nanos::from_secs(10);

/// Of which masters it was asked when they were last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Of all.
    All,
    /// Of those that have been silent for long enough.
    Due,
}

impl Core {
    /// Takes in what the kernel side reports, or what stands in for it.
    pub(super) fn handle_event(&mut self, interface: InterfaceId, event: &RxEvent, payload: &[u8]) {
        match Reason::from_index(event.reason) {
            Some(Reason::Accepted) => self.handle_advert(interface, event, payload),
            Some(Reason::ArpConflict | Reason::NdiscConflict) => {
                self.handle_claim(interface, event, payload);
            }
            Some(reason) if reason.is_logged() => {
                self.log_refusal(interface, reason, event, payload);
            }
            Some(_) | None => self.count(Counter::BadEvent),
        }
    }

    /// Logs a refused advertisement (RFC 9568 section 7.1); how often that can be is the kernel side's to decide
    /// ([`report::REFUSAL_LIMIT`]).
    fn log_refusal(&self, interface: InterfaceId, reason: Reason, event: &RxEvent, payload: &[u8]) {
        let refused = Refused::reported(reason, event, payload);
        let (ifindex, family, vrid) = refused.router();
        let iface = interface.beside(ifindex);
        let is_for = |router: &&RouterRuntime| {
            let router = (router.iface(), router.family(), router.vrid().get());
            router == (Some(iface), family, vrid)
        };
        let router = self.routers.iter().filter(|router| !router.removed).find(is_for);
        let about = router.and_then(|router| {
            let version = router.version().number();
            let text = refused.about(&Ours { ifindex, family, vrid, version, addresses: &[] })?;
            Some(format!("{}: {text}", router.label()))
        });
        let line = about.unwrap_or_else(|| {
            let name = self.interfaces.get(iface).map_or("?", |interface| &interface.name);
            let source = refused.source();
            format!("{name}: a packet of VRRP from {source} is refused: {}", reason.text())
        });
        log::warn!("{line} (said once a minute at most; `vrrp-user stats` has the count)");
    }

    fn handle_advert(&mut self, interface: InterfaceId, event: &RxEvent, payload: &[u8]) {
        let now = self.now;
        let id = RouterId(event.slot);
        let Some(router) = self.routers.get(event.slot as usize) else {
            // It may have been for a daemon before this one, which had more routers.
            if Nanos(event.ktime_ns) >= self.started {
                self.count(Counter::BadEvent);
            }
            return;
        };
        if router.iface() != Some(interface) || router.family().number() != event.family {
            // It arrived before the interface was re-created or renamed, or the slot became another router's.
            return;
        }
        // RFC 9568 section 5.2.3.
        if payload.get(1).is_some_and(|vrid| *vrid != router.vrid().get()) {
            // It arrived before the configuration changed, for the router that had this number then.
            return;
        }
        let source = from_field(event.family, event.source);
        match parse_advert(source, router.version(), payload) {
            Ok(advert) => {
                let first = advert.addresses.first();
                if matches!(first, Some(IpAddr::V6(first)) if !first.is_unicast_link_local()) {
                    self.count(Counter::FirstNotLinkLocal);
                }
                self.engine.handle_rx(now, Nanos(event.ktime_ns), id, &advert);
                if advert.priority != Priority::RESIGN && !self.kept.is_empty() {
                    self.release_kept_with(id);
                }
                let steady = self.engine.is_steady(id, &advert);
                self.acknowledge(id, if steady { event.digest } else { 0 });
                self.update_filter(id);
                let mismatches =
                    self.engine.view(id).map_or(0, |view| view.address_list_mismatches);
                if mismatches > 0 {
                    self.publish(id, InfoChange::AddressListMismatch(mismatches));
                }
            }
            Err(error) => {
                log::debug!("{}: advertisement from {source}: {error}", router.label());
                self.count(Counter::BadAdvert);
            }
        }
    }

    /// Tells the kernel side which advertisement need not be reported again, by its digest; 0 for none.
    pub(super) fn acknowledge(&mut self, id: RouterId, digest: u64) {
        if std::mem::replace(&mut self.router_mut(id).ack, digest) != digest {
            self.effects.push_back(Effect::Acknowledge { router: id, digest });
        }
    }

    /// Tells the kernel side which advertisements can change anything, if that is other than before.
    pub(super) fn update_filter(&mut self, id: RouterId) {
        let Some(interest) = self.engine.interest(id) else { return };
        let Interest { state, priority, ignores_lower, master } = interest;
        let known = self.router(id).filter;
        let filter = ReportFilter {
            state: state as u8,
            priority: priority.0,
            ignores_lower,
            master: master.map(|(address, priority)| report::Master {
                tag: report::source_tag(self.source_key, to_field(address)),
                priority: priority.0,
            }),
        };
        if filter == known {
            return;
        }
        let tag = |filter: ReportFilter| filter.master.map(|master| master.tag);
        let other_master = tag(filter) != tag(known);
        let router = self.router_mut(id);
        router.filter = filter;
        if other_master {
            // Nothing that was seen counts before the kernel side goes by it.
            router.filter_since = Nanos::MAX;
        }
        self.effects.push_back(Effect::SetFilter { router: id, filter });
        if other_master {
            let address = master.map_or([0; 16], |(address, _)| to_field(address));
            self.publish(id, InfoChange::Master(address));
        }
    }

    /// The kernel side goes by the filter that it was told last.
    pub(super) fn filter_set(&mut self, id: RouterId) {
        let now = self.now;
        match self.routers.get_mut(id.0 as usize) {
            Some(router) => router.filter_since = router.filter_since.min(now),
            None => self.count(Counter::UnexpectedAnswer),
        }
    }

    /// Master-down timers are due: most of them just move when it is known when the masters were last heard.
    ///
    /// It is asked for all at once: their deadlines lie close together, and one look at all saves as many wake-ups. Not
    /// on each occasion, though: while thousands take over, there are as many of these as there are routers.
    pub(super) fn query_last_seen(&mut self, now: Nanos, looks_ahead: bool) {
        let asked = if looks_ahead || now >= self.reception.all_asked_at + AHEAD {
            self.reception.all_asked_at = now;
            Asked::All
        } else {
            Asked::Due
        };
        let listens = |id: &RouterId| self.router(*id).filter.master.is_some();
        let routers = match asked {
            Asked::All => self.ids().filter(listens).collect(),
            Asked::Due => self.engine.masters_doubted(now),
        };
        self.timers_wait = Some(asked);
        self.effects.push_back(Effect::QueryLastSeen(routers));
    }

    /// When the master of a backup was last heard, and what it said then if that was not reported.
    pub(super) fn handle_last_seen(&mut self, id: RouterId, seen: &MasterSeen) {
        let Some(router) = self.routers.get(id.0 as usize) else {
            return self.count(Counter::UnexpectedAnswer);
        };
        // What the slot had before is about another master.
        if router.filter.master.is_none() || Nanos(seen.at_ns) <= router.filter_since {
            return;
        }
        let says = seen.unreported.map(|unreported| {
            let Unreported { priority, interval } = unreported;
            (Priority(priority), AdvertInterval::from_field(router.version(), interval))
        });
        self.engine.handle_last_seen(Nanos(seen.at_ns), id, says);
        if planted(Fault::StrangersLastSeen) {
            self.engine.handle_last_seen(Nanos(seen.at_ns), RouterId(id.0 ^ 1), None);
        }
        if says.is_some() {
            // What was acknowledged is not what holds any more.
            self.acknowledge(id, 0);
            self.update_filter(id);
        }
    }

    /// It is known of all masters when they were last heard: timers may be conclude.
    pub(super) fn last_seen_ended(&mut self, lost: u64) {
        let Some(asked) = self.timers_wait.take() else {
            return self.count(Counter::UnexpectedAnswer);
        };
        self.doubt_silence(self.now);
        self.doubt_after_loss(lost);
        match asked {
            Asked::All => self.look_ahead(self.now),
            Asked::Due => {}
        }
        self.timers();
    }

    /// Before master-down timers are believed: where a packet socket has lost packets, their masters may be among them.
    /// Not for long, so that nobody keeps a dead master alive by a flood.
    fn doubt_after_loss(&mut self, lost: u64) {
        if lost == 0 {
            self.lost_since = None;
            return;
        }
        let now = self.now;
        self.count(Counter::RawOverrun);
        if now - *self.lost_since.get_or_insert(now) > DOUBT {
            return;
        }
        for id in self.ids() {
            let is_raw = |iface| self.interfaces.get(iface).is_some_and(Interface::is_raw);
            if self.engine.state(id) == Some(State::Backup)
                && self.router(id).iface().is_some_and(is_raw)
            {
                self.engine.handle_not_listening(now, id);
            }
        }
    }

    /// Tells the kernel side which peers a router hears, if it does not hear everybody.
    pub(super) fn allow_peers(&mut self, id: RouterId) {
        let Self { routers, effects, .. } = self;
        let allowed = routers[id.0 as usize].allowed();
        effects.extend(allowed.map(|(peer, range)| Effect::Allow { router: id, peer, range }));
    }

    /// What checks authentication headers for a router, if it has them.
    pub fn ah(&self, id: RouterId) -> Option<&AhAssociation> {
        self.routers.get(id.0 as usize)?.ah()
    }

    /// An advertisement with a new sequence number in its authentication header was accepted, and is about to be handed in.
    pub fn accept_ah(&mut self, id: RouterId, sequence: u32, from: (Priority, IpAddr)) {
        let is_master = self.engine.state(id) == Some(State::Master);
        let own = self.engine.priority(id);
        let Some(router) = self.routers.get_mut(id.0 as usize) else { return };
        let own = own.zip(router.local_source());
        let is_lower = from.0 != Priority::RESIGN && own.is_some_and(|own| !outranks(from, own));
        if let Some(ah) = router.ah_mut() {
            ah.accept(sequence, is_master && is_lower);
        }
    }

    /// Tells the kernel side by which keys the signatures of others are checked.
    pub(super) fn set_hmac_keys(&mut self, id: RouterId) {
        let Self { routers, effects, .. } = self;
        let keys = routers[id.0 as usize].hmac_keys();
        effects.extend(keys.map(|(key_id, key)| Effect::SetHmacKey {
            router: id,
            id: key_id,
            key,
        }));
    }

    /// The same of those that it had before and that are not among its keys any more.
    pub(super) fn remove_hmac_keys(&mut self, id: RouterId, old: impl Iterator<Item = KeyId>) {
        let Self { routers, effects, .. } = self;
        let router = &routers[id.0 as usize];
        let old = old.filter(|old| router.hmac_keys().all(|(key_id, _)| key_id != *old));
        effects.extend(old.map(|key_id| Effect::RemoveHmacKey { router: id, id: key_id }));
    }

    /// The same for those that it heard before and that are not among its peers any more.
    pub(super) fn disallow_peers(&mut self, id: RouterId, old: impl Iterator<Item = IpAddr>) {
        let Self { routers, effects, .. } = self;
        let router = &routers[id.0 as usize];
        let old = old.filter(|old| router.allowed().all(|(peer, _)| peer != *old));
        effects.extend(old.map(|peer| Effect::Disallow { router: id, peer }));
    }

    /// Joins the multicast group of a router. Not before its interface has an address: until then it may not have IPv6
    /// at all.
    pub(super) fn join(&mut self, id: RouterId) {
        let router = &self.routers[id.0 as usize];
        let (Some(interface), Some(_)) = (router.iface(), router.source_in_use()) else { return };
        let group = router.group();
        self.effects.push_back(Effect::Join { router: id, interface, group });
    }

    /// Leaves a multicast group that a router had, if no other router on that interface has it.
    pub(super) fn leave(&mut self, iface: Option<InterfaceId>, group: IpAddr) {
        let Some(interface) = iface else { return };
        let has =
            |router: &RouterRuntime| router.iface() == Some(interface) && router.group() == group;
        if !self.routers.iter().any(|router| !router.removed && has(router)) {
            self.effects.push_back(Effect::Leave { interface, group: Some(group) });
        }
    }
}
