//! The leases of routers, as the kernel side is told of them ([`vrrp_common::lease`] has the rules): a takeover begins one,
//! and every way out of MASTER ends it before anything else is done. Each advertisement that leaves renews it.

use vrrp_common::lease::{self, Terms};
use vrrp_common::maps::{LEASE_TERM, LEASE_TERMS};
use vrrp_common::shared::SharedWords;

use super::effect::{Effect, LeaseChange};
use super::interface_table::{Capture, Subnets};
use super::send_failures::Errno;
use super::tx_queue::Tag;
use super::{Core, InterfaceAddr};
use crate::capture::CaptureMode;
use crate::engine::time::Nanos;
use crate::engine::types::{Lost, RouterId, State};
use crate::types::planted::{Fault, planted};

impl LeaseChange {
    /// Writes it down. `in_boot_time` has the time by `CLOCK_BOOTTIME` at which a decision was made.
    pub fn apply(self, lease: &impl SharedWords, in_boot_time: impl FnOnce(Nanos) -> Nanos) {
        match self {
            Self::Continue { terms, .. } if lease.load::<LEASE_TERM>() != 0 => {
                lease::set_terms(lease, terms);
            }
            Self::Begin { terms, .. } if planted(Fault::OldClaimBelieved) => {
                lease::begin(lease, 0, terms);
            }
            Self::Begin { at, terms } | Self::Continue { at, terms } => {
                lease::begin(lease, in_boot_time(at).0, terms);
            }
            Self::Found { .. } if planted(Fault::FoundNotFenced) => {}
            // Another program of this host has them.
            Self::Found { .. } if lease::is_lifted(lease) => {}
            Self::Found { terms } => lease::found(lease, terms),
            Self::End if planted(Fault::LeaseNotEnded) => {}
            Self::End => lease::end(lease),
            Self::Drop => lease::clear(lease),
        }
    }
}

impl Core {
    /// What the lease of a router is like; `None` where it has none: an owner's addresses are the host's own, whoever else
    /// claims them.
    fn terms(&self, id: RouterId) -> Option<Terms> {
        let router = self.router(id);
        let mode = router.fence.mode().filter(|_| !router.owner)?;
        let spec = self.engine.spec(id)?;
        Some(Terms::new(mode, spec.interval.duration().0, spec.down_adverts))
    }

    /// Addresses of a router were found, and are kept for now: nobody has advertised them since whoever put them there ended.
    pub(super) fn lease_found(&mut self, id: RouterId, places: Vec<InterfaceAddr>) {
        let Some(terms) = self.terms(id) else { return };
        places.into_iter().for_each(|place| self.hold_address(id, place));
        let change = LeaseChange::Found { terms };
        self.effects.push_back(Effect::Lease { router: id, change });
    }

    /// Renews the leases of those of whose advertisements some have left, by the time at which that began: what `lease` has of
    /// a router. Those that the kernel side has fenced are returned instead, and what it did not let out is no failure to
    /// send.
    pub fn refresh_leases<L: SharedWords>(
        &self,
        stamp: Nanos,
        refused: &mut Vec<(usize, Errno)>,
        lease: impl Fn(RouterId) -> L,
    ) -> Vec<RouterId> {
        let (frames, mut fenced) = (self.frames(), Vec::new());
        if !refused.is_empty() {
            refused.retain(|(place, _)| {
                let Some(Tag::Advert { router, .. }) = frames.get(*place).map(|it| it.tag) else {
                    return true;
                };
                let is_fenced = lease::fenced(&lease(router)).is_some();
                fenced.extend(is_fenced.then_some(router));
                !is_fenced
            });
        }
        let unsent: &[_] = if planted(Fault::RefreshedByFailedSend) { &[] } else { refused };
        for router in frames.refreshed(unsent) {
            let lease = lease(router);
            match lease::fenced(&lease) {
                _ if planted(Fault::LeaseNotRefreshed) => {}
                Some(_) if planted(Fault::FenceLiftedByRenewal) => {
                    lease::begin(&lease, stamp.0, Terms::unpack(lease.load::<LEASE_TERMS>()));
                }
                None => lease::refresh(&lease, stamp.0),
                // Somebody outranks us, and we have not given way although there was time for it.
                Some(claimed) if claimed + lease::length_ns(&lease) < stamp.0 => {
                    fenced.push(router);
                }
                Some(_) => {}
            }
        }
        fenced
    }

    /// A router has changed its state, by a decision made at `at`.
    pub(super) fn lease_transition(&mut self, id: RouterId, from: State, to: State, at: Nanos) {
        let change = match (from, to) {
            // Without a lease, what the last one was like counts no more: it fences nothing, and says nothing to who adopts.
            (_, State::Master) => Some(match self.terms(id) {
                Some(terms) => LeaseChange::Begin { at, terms },
                None => LeaseChange::Drop,
            }),
            (State::Master, State::Init | State::Backup | State::Fault) => Some(LeaseChange::End),
            (State::Init | State::Backup | State::Fault, _) => None,
        };
        self.effects.extend(change.map(|change| Effect::Lease { router: id, change }));
    }

    /// A router goes on with another configuration.
    pub(super) fn lease_reconfigured(&mut self, id: RouterId) {
        if self.engine.state(id) == Some(State::Master) {
            let change = match self.terms(id) {
                Some(terms) => LeaseChange::Continue { at: self.now, terms },
                None => LeaseChange::Drop,
            };
            self.effects.push_back(Effect::Lease { router: id, change });
        }
    }

    /// Why a fence that is wanted is not available where a router lives, and what that means.
    pub(super) fn fence_problem(&self, id: RouterId) -> Option<String> {
        self.terms(id)?;
        let router = self.router(id);
        let (_, interface) = self.interfaces.by_name(&router.interface)?;
        let (why, then) = match &interface.capture {
            Capture::Attached(choice) if choice.mode == CaptureMode::Raw => {
                ("is captured by a packet socket", "answer for its addresses")
            }
            Capture::Attached(_) if interface.hooks.egress.is_none() && !interface.mends_egress => {
                ("has no program of ours for what leaves", "answer ARP for its addresses")
            }
            Capture::Attached(_) | Capture::Detached | Capture::Failed(_) => return None,
        };
        let (fence, on) = (router.fence.name(), &router.interface);
        Some(format!(
            "fence = {fence} is not available: {on} {why}, and this host would go on to {then} when the daemon is killed or stands \
             still; see `vrrp-user doctor`, or accept it with fence = off"
        ))
    }

    /// Why a fence is not enough where another interface of the host answers ARP for an address of a router, as `answers` knows
    /// of each by name, and what that means.
    pub(super) fn unfenced_beside(
        &self,
        id: RouterId,
        subnets: &Subnets<'_>,
        answers: fn(&str) -> bool,
    ) -> Option<String> {
        self.terms(id)?;
        let places = self.interface_addrs(id);
        let mut beside = places
            .iter()
            .flat_map(|(at, _)| subnets.beside(*at).map(|interface| (at.address, interface)));
        let (address, other) = beside.find(|(_, interface)| answers(&interface.name))?;
        let (fence, other) = (self.router(id).fence.name(), &other.name);
        Some(format!(
            "fence = {fence} is not enough: {other} is in the subnet of {address}, and would go on to answer ARP for it when the \
             daemon is killed or stands still; set net.ipv4.conf.{other}.arp_ignore = 1"
        ))
    }

    /// The kernel side has fenced a master: it is none any more, whatever it thinks.
    ///
    /// If that is because it can send to nobody it is in FAULT at once: as BACKUP it would pre-empt a master that never
    /// hears of it, and give up again.
    pub(super) fn fenced(&mut self, id: RouterId) {
        let Some(down_adverts) = self.engine.spec(id).map(|spec| spec.down_adverts) else { return };
        let now = self.now;
        if self.router_mut(id).succeeded(now, down_adverts) {
            self.evaluate(id);
            self.retry_soon();
        }
        self.engine.handle_lost(now, id, Lost::Lease);
    }
}
