//! The leases of routers, as the kernel side is told of them ([`vrrp_common::lease`] has the rules): a takeover begins one,
//! and every way out of MASTER ends it before anything else is done. Renewals are the driver's, with each advertisement
//! that leaves.

use vrrp_common::lease::Terms;

use super::Core;
use super::effect::{Effect, LeaseChange};
use super::interface_table::Capture;
use crate::capture::CaptureMode;
use crate::engine::time::Nanos;
use crate::engine::types::{Lost, RouterId, State};

impl Core {
    /// What the lease of a router is like; `None` where it has none: an owner's addresses are the host's own, whoever else
    /// claims them.
    fn terms(&self, id: RouterId) -> Option<Terms> {
        let router = self.router(id);
        let mode = router.fence.mode().filter(|_| !router.owner)?;
        let spec = self.engine.spec(id)?;
        Some(Terms::new(mode, spec.interval.duration().0, spec.down_adverts))
    }

    /// A router has changed its state, by a decision made at `at`.
    pub(super) fn lease_transition(&mut self, id: RouterId, from: State, to: State, at: Nanos) {
        let change = match (from, to) {
            // Without a lease, what the last one was like counts no more for who adopts this router.
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

    /// Why a fence that is wanted cannot be had where a router lives, and what that means.
    pub(super) fn fence_problem(&self, id: RouterId) -> Option<String> {
        self.terms(id)?;
        let router = self.router(id);
        let (_, interface) = self.interfaces.by_name(&router.interface)?;
        let (why, then) = match &interface.capture {
            Capture::Attached(choice) if choice.mode == CaptureMode::Raw => {
                ("is captured by a packet socket", "answer for its addresses")
            }
            Capture::Attached(_) if interface.hooks.egress.is_none() => {
                ("has no program of ours for what leaves", "answer ARP for its addresses")
            }
            Capture::Attached(_) | Capture::Detached | Capture::Failed(_) => return None,
        };
        let (fence, on) = (router.fence.name(), &router.interface);
        Some(format!(
            "fence = {fence} cannot be had: {on} {why}, and this host would go on to {then} when the daemon is killed or stands \
             still; see `vrrp-user doctor`, or accept it with fence = off"
        ))
    }

    /// The kernel side has fenced a master: it is none any more, whatever it thinks.
    pub(super) fn fenced(&mut self, id: RouterId) {
        self.engine.handle_lost(self.now, id, Lost::Lease);
    }
}
