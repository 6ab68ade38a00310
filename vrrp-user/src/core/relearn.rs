//! When a virtual MAC address is said once more, after another master has had it.
//!
//! The former master answers our gratuitous ARP, which is a question, until its kernel has let go of the address
//! (`arp_process`, net/ipv4/arp.c). The sender of that answer is the same virtual MAC address, so that switches take it back
//! to the former master's port, until our next frame from it: an interval, or five seconds where advertisements do not have it.
//!
//! Pure: it is told the time and who took over.

use std::collections::BTreeSet;

use super::Core;
use crate::engine::time::Nanos;
use crate::engine::types::{Cause, RouterId};

/// A daemon that is well has given its address up until then; and one that is busy.
const AGAIN: [Nanos; 3] =
    [Nanos::from_millis(20), Nanos::from_millis(100), Nanos::from_millis(500)];
/// Who hears one other master after the other does no more than that in this time: what it hears may be forged.
const PAUSE: Nanos = Nanos::from_secs(5);

/// The routers that do so, and when.
#[derive(Debug, Default)]
pub struct Relearn {
    /// When, who, and whether something is to be said or the pause is over.
    agenda: BTreeSet<(Nanos, RouterId, bool)>,
}

impl Relearn {
    fn begin(&mut self, now: Nanos, id: RouterId) {
        if self.agenda.iter().all(|(_, known, _)| *known != id) {
            self.agenda.extend(AGAIN.map(|after| (now + after, id, true)));
            self.agenda.insert((now + PAUSE, id, false));
        }
    }

    /// A router is not master any more.
    pub fn end(&mut self, id: RouterId) {
        self.agenda.retain(|(_, known, _)| *known != id);
    }

    /// When [`Self::due`] is to be asked.
    pub fn next(&self) -> Option<Nanos> {
        self.agenda.first().map(|(at, ..)| *at)
    }

    /// A router whose time has come to say something.
    pub fn due(&mut self, now: Nanos) -> Option<RouterId> {
        while self.agenda.first().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, id, true)) = self.agenda.pop_first() {
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
