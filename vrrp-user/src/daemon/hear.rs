//! What is heard of other routers, and from whom: advertisements that the kernel side passed on, masters that it heard
//! without waking anybody, multicast groups and unicast peers.

use std::net::IpAddr;

use vrrp_common::event::RxEvent;
use vrrp_common::reason::Reason;
use vrrp_common::report::{self, ReportFilter, Unreported};

use super::router::{Router, state_number, version_number};
use super::{Counter, Daemon};
use crate::engine::time::Nanos;
use crate::engine::types::{AdvertInterval, Interest, Priority, RouterId};
use crate::io::ring::EventRing;
use crate::io::{bpf, timer};
use crate::refused::{Ours, Refused};
use crate::wire::family::{from_field, to_field};
use crate::wire::vrrp::parse_advert;

impl Daemon {
    /// Hears everything that arrived until `now`: no timer may be judged by a later clock. Returns whether more may be
    /// waiting.
    pub(super) fn drain_ring(&mut self, ring: &mut EventRing, now: Nanos) -> bool {
        ring.drain(now, |event, payload| self.heard(now, &event, payload))
    }

    fn heard(&mut self, now: Nanos, event: &RxEvent, payload: &[u8]) {
        match Reason::from_index(event.reason) {
            Some(Reason::Accepted) => self.advert(now, event, payload),
            Some(Reason::ArpConflict | Reason::NdiscConflict) => self.claimed(event, payload),
            Some(reason) if reason.is_logged() => self.refusal(reason, event, payload),
            Some(_) | None => self.count(Counter::BadEvent),
        }
    }

    /// Logs a refused advertisement (RFC 9568 section 7.1); how often that can be is the kernel side's to decide
    /// ([`report::REFUSAL_LIMIT`]).
    fn refusal(&self, reason: Reason, event: &RxEvent, payload: &[u8]) {
        let refused = Refused::reported(reason, event, payload);
        let (ifindex, family, vrid) = refused.router();
        let is_for = |router: &&Router| {
            let router = (router.ifindex(), router.family(), router.vrid().get());
            router == (Some(ifindex), family, vrid)
        };
        let router = self.routers.iter().filter(|router| !router.gone).find(is_for);
        let about = router.and_then(|router| {
            let version = version_number(router.version());
            let text = refused.about(&Ours { ifindex, family, vrid, version, addresses: &[] })?;
            Some(format!("{}: {text}", router.place()))
        });
        let line = about.unwrap_or_else(|| {
            let name = self.interfaces.get(ifindex).map_or("?", |interface| &interface.name);
            let source = refused.source();
            format!("{name}: a packet of VRRP from {source} is refused: {}", reason.text())
        });
        log::warn!("{line} (said once a minute at most; `vrrp-user stats` has the count)");
    }

    pub(super) fn advert(&mut self, now: Nanos, event: &RxEvent, payload: &[u8]) {
        let id = RouterId(event.slot);
        let Some(router) = self.routers.get(event.slot as usize) else {
            return self.count(Counter::BadEvent);
        };
        if router.ifindex() != Some(event.ifindex) || router.family().number() != event.family {
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
                    self.release_kept(id);
                }
                let steady = self.engine.is_steady(id, &advert);
                self.acknowledge(id, if steady { event.digest } else { 0 });
                self.update_filter(id);
                let mismatches =
                    self.engine.view(id).map_or(0, |view| view.address_list_mismatches);
                if mismatches > 0 {
                    self.publish(id, |info| info.address_list_mismatch = mismatches);
                }
            }
            Err(error) => {
                log::debug!("{}: advertisement from {source}: {error}", router.place());
                self.count(Counter::BadAdvert);
            }
        }
    }

    /// Tells the kernel side which advertisement need not be reported again, by its digest; 0 for none.
    pub(super) fn acknowledge(&mut self, id: RouterId, digest: u64) {
        if std::mem::replace(&mut self.router_mut(id).ack, digest) != digest
            && let Err(error) = self.kernel.set_ack(id.0, digest)
        {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
    }

    /// Tells the kernel side which advertisements can change anything, if that is other than before.
    pub(super) fn update_filter(&mut self, id: RouterId) {
        let Some(interest) = self.engine.interest(id) else { return };
        let Interest { state, priority, ignores_lower, master } = interest;
        let known = self.router(id).filter;
        let filter = ReportFilter {
            state: state_number(state),
            priority: priority.0,
            ignores_lower,
            master: master.map(|(address, priority)| report::Master {
                tag: self.kernel.source_tag(address),
                priority: priority.0,
            }),
        };
        if filter == known {
            return;
        }
        let tag = |filter: ReportFilter| filter.master.map(|master| master.tag);
        let other_master = tag(filter) != tag(known);
        if let Err(error) = self.kernel.set_filter(id.0, filter) {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
        let router = self.router_mut(id);
        router.filter = filter;
        if other_master {
            router.filter_since = timer::now();
            let address = master.map_or([0; 16], |(address, _)| to_field(address));
            self.publish(id, |info| info.master = address);
        }
    }

    /// Tells the engine when the masters of all backups were last heard. All of them at once: their deadlines lie
    /// close together, and one look at all saves as many wake-ups.
    pub(super) fn refresh_last_seen(&mut self) {
        for id in self.ids() {
            self.query_last_seen(id);
        }
    }

    /// Tells the engine when the master of a backup was last heard, and what it said then if that was not reported.
    pub(super) fn query_last_seen(&mut self, id: RouterId) {
        let router = self.router(id);
        if router.filter.master.is_none() {
            return;
        }
        // What the slot had before is about another master.
        let seen = self.kernel.master_seen(id.0);
        let Some(seen) = seen.filter(|seen| Nanos(seen.at_ns) > router.filter_since) else {
            return;
        };
        let says = seen.unreported.map(|unreported| {
            let Unreported { priority, interval } = unreported;
            (Priority(priority), AdvertInterval::from_field(router.version(), interval))
        });
        self.engine.handle_last_seen(Nanos(seen.at_ns), id, says);
        if says.is_some() {
            // What was acknowledged is not what holds any more.
            self.acknowledge(id, 0);
            self.update_filter(id);
        }
    }

    /// Tells the kernel side which peers a router hears, if it does not hear everybody.
    pub(super) fn allow_peers(&mut self, id: RouterId) {
        let router = &self.routers[id.0 as usize];
        for (peer, range) in router.allowed() {
            if let Err(error) = self.kernel.allow(id.0, peer, range) {
                log::error!("{}: {peer} is not heard: {}", router.place(), bpf::chain(&error));
            }
        }
    }

    /// The same for those that it heard before and that are not among its peers any more.
    pub(super) fn disallow_peers(&mut self, id: RouterId, old: impl Iterator<Item = IpAddr>) {
        let router = &self.routers[id.0 as usize];
        for peer in old.filter(|old| router.allowed().all(|(peer, _)| peer != *old)) {
            if let Err(error) = self.kernel.disallow(id.0, peer) {
                log::error!("{}: {peer} is still heard: {}", router.place(), bpf::chain(&error));
            }
        }
    }

    /// Joins the multicast group of a router. Not before its interface has an address: until then it may not have IPv6
    /// at all.
    pub(super) fn join(&mut self, id: RouterId) {
        let router = &self.routers[id.0 as usize];
        let (Some(ifindex), Some(_)) = (router.ifindex(), router.source_in_use()) else { return };
        let group = router.group();
        if let Err(error) = self.memberships.join(ifindex, group) {
            log::warn!(
                "{}: cannot join the group {group}: {error}; multicast may not arrive",
                router.place()
            );
        }
    }

    /// Leaves a multicast group that a router had, if no other router on that interface has it.
    pub(super) fn leave(&mut self, ifindex: Option<u32>, group: IpAddr) {
        let Some(ifindex) = ifindex else { return };
        let has = |router: &Router| router.ifindex() == Some(ifindex) && router.group() == group;
        if !self.routers.iter().any(|router| !router.gone && has(router)) {
            self.memberships.leave(ifindex, |joined| joined != group);
        }
    }
}
