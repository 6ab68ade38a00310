//! Programs for what leaves an interface come later than those that receive there by XDP. They count, and fence a host whose
//! daemon is dead: nobody becomes master any sooner for them, and the kernel takes 15 ms to attach each, during which it holds
//! the lock that addresses wait for (it waits for RCU, `tcx_link_attach`, kernel/bpf/tcx.c).

use std::collections::VecDeque;

use super::Core;
use super::effect::Effect;
use super::interface_id::InterfaceId;
use super::interface_table::{Capture, Interface};
use crate::capture::CaptureMode;
use crate::types::time::Nanos;

/// After routers have begun, or an interface receives: those that are master at once advertise first, and ask for their
/// addresses.
const FIRST: Nanos = Nanos::from_millis(20);
/// Between two of them, for whatever else there is to do.
const PAUSE: Nanos = Nanos::from_millis(1);
/// While addresses are on their way.
const PUT_OFF: Nanos = Nanos::from_millis(5);
/// For so long at most: somebody may have addresses on their way all the time.
const PATIENCE: Nanos = Nanos::from_secs(2);

/// Interfaces whose programs for what leaves are still to come.
#[derive(Debug, Default)]
pub(super) struct EgressQueue {
    waiting: VecDeque<InterfaceId>,
    due: Option<Nanos>,
    /// When the next one comes whatever is on its way.
    latest: Nanos,
}

impl EgressQueue {
    pub(super) fn next(&self) -> Option<Nanos> {
        self.due
    }

    fn schedule(&mut self, now: Nanos, after: Nanos) {
        if !self.waiting.is_empty() && self.due.is_none() {
            (self.due, self.latest) = (Some(now + after), now + PATIENCE);
        }
    }
}

impl Interface {
    /// Whether the program for what leaves is one that comes later, and has not come.
    fn waits_for_egress(&self) -> bool {
        let later = match &self.capture {
            Capture::Attached(choice) => match choice.mode {
                CaptureMode::Native | CaptureMode::Generic => true,
                CaptureMode::Tc | CaptureMode::Raw => false,
            },
            Capture::Detached | Capture::Failed(_) => false,
        };
        later && self.hooks.egress.is_none()
    }
}

impl Core {
    /// An interface captures, perhaps without a program for what leaves yet.
    pub(super) fn egress_later(&mut self, iface: InterfaceId) {
        let released = self.egress_released;
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        if !released && interface.waits_for_egress() && !interface.mends_egress {
            interface.mends_egress = true;
            self.egress.waiting.push_back(iface);
            self.egress.schedule(self.now, FIRST);
        }
    }

    /// Routers begin now.
    pub(super) fn egress_begins(&mut self) {
        self.egress.due = None;
        self.egress.schedule(self.now, FIRST);
    }

    /// The one before is there, or is not available.
    pub(super) fn egress_goes_on(&mut self) {
        self.egress.schedule(self.now, PAUSE);
    }

    /// Attaches the next one, but for addresses that are on their way.
    pub(super) fn attach_egress(&mut self) {
        let now = self.now;
        if self.egress.due.is_none_or(|due| due > now) {
            return;
        }
        if !self.addresses.settled() && now < self.egress.latest {
            self.egress.due = Some(now + PUT_OFF);
            return;
        }
        self.egress.due = None;
        while let Some(iface) = self.egress.waiting.pop_front() {
            let Some(interface) = self.interfaces.get_mut(iface) else { continue };
            if interface.waits_for_egress() && !self.egress_released {
                let name = interface.name.clone();
                return self.effects.push_back(Effect::MendEgress {
                    interface: iface,
                    name,
                    attach: true,
                });
            }
            interface.mends_egress = false;
        }
    }
}
