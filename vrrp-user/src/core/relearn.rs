//! When a virtual MAC address is said once more, after another master has had it.
//!
//! The former master answers our gratuitous ARP, which is a question, until its kernel has let go of the address
//! (`arp_process`, net/ipv4/arp.c). The sender of that answer is the same virtual MAC address, so that switches take it back
//! to the former master's port, until our next frame from it: an interval, or five seconds where advertisements do not have it.
//!
//! Pure: it is told the time and who took over.

use std::collections::{BTreeMap, BTreeSet};

use super::Core;
use crate::engine::time::Nanos;
use crate::engine::types::{Cause, RouterId};

/// How long after a takeover. A daemon that is well has given its address up after the first, and one that is busy after the
/// others. The last is the end of a pause in which nothing is begun again: who hears one other master after the other may hear
/// forged ones.
const STEPS: [Nanos; 4] =
    [Nanos::from_millis(20), Nanos::from_millis(100), Nanos::from_millis(500), Nanos::from_secs(5)];

/// The routers that do so, and when.
#[derive(Debug, Default)]
pub struct Relearn {
    /// When the next step is, when all began, and what follows after that step.
    routers: BTreeMap<RouterId, (Nanos, Nanos, &'static [Nanos])>,
    agenda: BTreeSet<(Nanos, RouterId)>,
}

impl Relearn {
    fn begin(&mut self, now: Nanos, id: RouterId) {
        if !self.routers.contains_key(&id) {
            self.set(id, now, &STEPS);
        }
    }

    /// The first of these steps is the next one; `false` if there is none.
    fn set(&mut self, id: RouterId, begun: Nanos, steps: &'static [Nanos]) -> bool {
        let Some((first, rest)) = steps.split_first() else { return false };
        let at = begun + *first;
        self.routers.insert(id, (at, begun, rest));
        self.agenda.insert((at, id))
    }

    /// A router is not master any more.
    pub fn end(&mut self, id: RouterId) {
        if let Some((at, ..)) = self.routers.remove(&id) {
            self.agenda.remove(&(at, id));
        }
    }

    /// When [`Self::due`] is to be asked.
    pub fn next(&self) -> Option<Nanos> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// A router whose time has come to say something.
    pub fn due(&mut self, now: Nanos) -> Option<RouterId> {
        while self.next().is_some_and(|at| at <= now) {
            let (_, id) = self.agenda.pop_first()?;
            let (_, begun, rest) = self.routers.remove(&id)?;
            if self.set(id, begun, rest) {
                return Some(id);
            }
        }
        None
    }
}

/// Whether somebody else may have been master until that moment.
fn succeeds_another(cause: &Cause) -> bool {
    match cause {
        Cause::Owner | Cause::Preempted { .. } | Cause::GroupMaster => true,
        Cause::Startup
        | Cause::Adopted
        | Cause::NotAdopted(_)
        | Cause::MasterDown { .. }
        | Cause::MasterResigned(_)
        | Cause::Yielded { .. }
        | Cause::Lost(_)
        | Cause::Fault(_)
        | Cause::GroupYielded(_)
        | Cause::Recovered
        | Cause::Shutdown
        | Cause::Removed => false,
    }
}

impl Core {
    /// A router has become master.
    pub(super) fn relearn_after(&mut self, id: RouterId, cause: &Cause) {
        if succeeds_another(cause) {
            self.relearn(id);
        }
    }

    /// A router is master, and another one was until now.
    pub(super) fn relearn(&mut self, id: RouterId) {
        if self.is_master(id) && self.router(id).any_virtual_mac().is_some() {
            self.delays.relearn.begin(self.now, id);
        }
    }

    /// Says it once more, to switches that look at IPv4: nobody answers an unsolicited neighbour advertisement.
    pub(super) fn announce_virtual_mac(&mut self, id: RouterId) {
        for (place, _) in self.interface_addrs(id) {
            let says = place.address.is_ipv4() && self.router(id).virtual_mac_at(place).is_some();
            if says && self.interfaces.carries(place) {
                self.garp(place);
            }
        }
    }
}
