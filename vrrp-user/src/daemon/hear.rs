//! What is heard of other routers, and from whom: advertisements that the kernel side passed on, masters that it heard
//! without waking anybody, multicast groups and unicast peers.

use std::net::IpAddr;

use vrrp_common::event::RxEvent;
use vrrp_common::reason::Reason;

use super::router::Router;
use super::{Counter, Daemon};
use crate::engine::time::Nanos;
use crate::engine::types::{Priority, RouterId, State};
use crate::io::bpf;
use crate::io::ring::EventRing;
use crate::wire::family::from_field;
use crate::wire::vrrp::parse_advert;

impl Daemon {
    /// Hears everything that arrived until `now`: no timer may be judged by a later clock. Returns whether more may be
    /// waiting.
    pub(super) fn drain_ring(&mut self, ring: &mut EventRing, now: Nanos) -> bool {
        ring.drain(now, |event, payload| self.heard(now, &event, payload))
    }

    fn heard(&mut self, now: Nanos, event: &RxEvent, payload: &[u8]) {
        let claims = [Reason::ArpConflict, Reason::NdiscConflict].map(Reason::index);
        if claims.contains(&event.reason) {
            self.claimed(event, payload);
        } else {
            self.advert(now, event, payload);
        }
    }

    fn advert(&mut self, now: Nanos, event: &RxEvent, payload: &[u8]) {
        let id = RouterId(event.slot);
        let Some(router) = self.routers.get(event.slot as usize) else {
            return self.count(Counter::BadEvent);
        };
        if router.ifindex() != Some(event.ifindex) {
            // It arrived before the interface was re-created or renamed.
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
                self.engine.handle_rx(now, Nanos(event.ktime_ns), id, &advert);
                let quiet = if self.engine.is_steady(id, &advert) { event.news } else { 0 };
                // Priority 0 is no sign of life, which the kernel side does not know.
                let source =
                    if advert.priority == Priority::RESIGN { [0; 16] } else { event.source };
                if self.router_mut(id).hear(source, quiet) {
                    self.set_quiet(id, quiet);
                }
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

    pub(super) fn set_quiet(&mut self, id: RouterId, news: u16) {
        if let Err(error) = self.kernel.set_quiet(id.0, news) {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
    }

    /// Tells the engine which masters were heard without waking anybody. All of them at once: their
    /// deadlines lie close together, and one sweep saves as many wake-ups.
    pub(super) fn sweep(&mut self) {
        for id in self.ids() {
            self.ask_kernel(id);
        }
    }

    /// Tells the engine when the master of a backup was last heard.
    pub(super) fn ask_kernel(&mut self, id: RouterId) {
        if self.engine.state(id) == Some(State::Backup)
            && let Some(at) = self.router(id).last_seen(id, &self.kernel)
        {
            self.engine.handle_heard(at, id);
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
