//! Attaching the programs to interfaces: whether, in which way, and what next where that one is not available.

use super::attempt::Attempt;
use super::effect::Effect;
use super::input::Hooks;
use super::interface_table::Capture;
use super::netlink::{Hook, HookPoint};
use super::{Core, Counter};
use crate::capture::{self as modes, Choice, Facts, Failure, Plan};
use crate::core::interface_id::InterfaceId;
use crate::engine::types::RouterId;

impl Core {
    /// How an interface is to capture.
    fn capture_plan(&self, iface: InterfaceId) -> Plan {
        let name = self.interfaces.get(iface).map_or("", |interface| &interface.name);
        let mut there = self.index.on(name).map(|id| self.router(id));
        let virtual_mac = there.any(|router| router.virtual_mac_devs().any(|dev| *dev == *name));
        let mut there = self.index.on(name).map(|id| self.router(id));
        let signed = there.any(|router| *router.interface == *name && router.signer().is_some());
        let mut there = self.index.on(name).map(|id| self.router(id));
        let ah = there.any(|router| *router.interface == *name && router.ah().is_some());
        let facts = Facts {
            tcx: self.tcx,
            virtual_mac,
            signed: signed.then_some(self.signature_modes),
            ah,
            ring_taken: self.reception.ring.is_abandoned(),
            programs_taken: self.reception.abandoned(iface),
            ..self.interfaces.facts(iface)
        };
        modes::plan(self.capture.best(name), facts)
    }

    /// Has the programs attached to an interface in the best mode that it takes, if routers need it and that is not done.
    /// What comes of it is [`Self::attached`].
    pub(super) fn attach(&mut self, iface: InterfaceId) {
        self.attach_as(iface, false);
    }

    /// The same where it is done: a better mode may be had by now.
    pub(super) fn attach_anew(&mut self, iface: InterfaceId) {
        self.attach_as(iface, true);
    }

    fn attach_as(&mut self, iface: InterfaceId, anew: bool) {
        let Some(interface) = self.interfaces.get(iface) else { return };
        if !self.needs(&interface.name) {
            return;
        }
        let cannot = if interface.mac.is_none() {
            Some("not an Ethernet interface".to_owned())
        } else if interface.routed {
            Some(modes::routed(&interface.name))
        } else {
            None
        };
        if let Some(why) = cannot {
            return self.captures(iface, Capture::Failed(why), None);
        }
        let plan = self.capture_plan(iface);
        let (number, released) = (self.next_attempt(), self.egress_released);
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        if let Some(attempt) = &mut interface.attempt {
            attempt.again = true;
        } else if anew || !interface.is_as_planned(&plan) {
            interface.attempt = Some(Attempt::new(number, plan, interface.mode(), released));
            self.go_on_attaching(iface);
        }
    }

    /// Has the programs put back after somebody has done that to them, as they were or, if that goes on, in another mode.
    pub(super) fn attach_after_loss(&mut self, iface: InterfaceId, deed: String, restores: bool) {
        let plan = self.capture_plan(iface);
        let (number, released) = (self.next_attempt(), self.egress_released);
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        match &mut interface.attempt {
            Some(attempt) => attempt.lose(deed),
            None => {
                interface.attempt =
                    Some(Attempt::after_loss(number, plan, deed, restores, released));
                self.go_on_attaching(iface);
            }
        }
    }

    fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// Tries the next way, or leaves it at what there is.
    fn go_on_attaching(&mut self, iface: InterfaceId) {
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        let Some(attempt) = &interface.attempt else { return };
        if let Some(way) = attempt.way() {
            let (number, name) = (attempt.number, interface.name.clone());
            // What takes the place of something else takes no more descriptors.
            let spare = !interface.receives();
            return self.effects.push_back(Effect::Attach {
                interface: iface,
                name,
                number,
                way,
                spare,
            });
        }
        let Some(attempt) = interface.attempt.take() else { return };
        let result = attempt.choice();
        self.attempt_ended(iface, attempt, result.map(|choice| (choice, None)));
    }

    /// The answer to [`Effect::Attach`].
    pub(super) fn attached(
        &mut self,
        iface: InterfaceId,
        number: u64,
        result: Result<Hooks, Failure>,
    ) {
        let Some(interface) = self.interfaces.get_mut(iface) else {
            return self.count(Counter::UnknownInterface);
        };
        let Some(mut attempt) = interface.attempt.take_if(|attempt| attempt.number == number)
        else {
            return self.count(Counter::UnexpectedAnswer);
        };
        if attempt.void {
            if attempt.again {
                self.attach(iface);
            }
            return;
        }
        match result {
            Ok(hooks) => {
                let choice = match &interface.capture {
                    Capture::Attached(choice) if attempt.restores() => Ok(choice.clone()),
                    Capture::Attached(_) | Capture::Detached | Capture::Failed(_) => {
                        attempt.choice()
                    }
                };
                self.attempt_ended(iface, attempt, choice.map(|choice| (choice, Some(hooks))));
            }
            Err(failure) => {
                if let Failure::Descriptors(why) = &failure {
                    self.release_egress(why);
                }
                attempt.failed(failure, self.egress_released);
                if let Some(interface) = self.interfaces.get_mut(iface) {
                    interface.attempt = Some(attempt);
                }
                self.go_on_attaching(iface);
            }
        }
    }

    /// Gives up the programs that count what leaves: those that hear need their descriptors more.
    fn release_egress(&mut self, why: &str) {
        if self.interfaces.any_counts() {
            self.egress_released = true;
            self.interfaces.forget_egress_hooks();
            self.effects.push_back(Effect::ReleaseEgress { why: why.to_owned() });
            let needed = self.ids().filter(|id| self.router(*id).has_virtual_mac());
            needed.collect::<Vec<_>>().into_iter().for_each(|id| self.evaluate(id));
        }
    }

    /// An interface captures like that from now on, with our programs there if they were attached just now.
    fn attempt_ended(
        &mut self,
        iface: InterfaceId,
        attempt: Attempt,
        result: Result<(Choice, Option<Hooks>), String>,
    ) {
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        let before = interface.capture.clone();
        let capture = match result {
            Ok((choice, hooks)) => {
                let displaced = if attempt.restores() {
                    interface.hooks.displaced
                } else {
                    interface.planned = Some(attempt.plan().clone());
                    // Whichever program is there.
                    let hook =
                        Hook { iface, at: HookPoint::Xdp, program: 0, serial: attempt.number };
                    attempt.is_displaced().then_some(hook)
                };
                interface.hooks = Hooks { displaced, ..hooks.unwrap_or(interface.hooks) };
                Capture::Attached(choice)
            }
            Err(why) => {
                let why = format!("cannot attach to {}: {why}", interface.name);
                interface.planned = None;
                interface.hooks = Hooks::default();
                self.effects.push_back(Effect::Detach { interface: iface });
                Capture::Failed(why)
            }
        };
        let again = attempt.again || self.capture_plan(iface) != *attempt.plan();
        match attempt.lost {
            Some(deed) => self.attached_after_loss(iface, &deed, &capture),
            None => self.captures(iface, capture, Some(attempt.plan())),
        }
        if again {
            self.attach(iface);
        }
        self.egress_later(iface);
        let Some(interface) = self.interfaces.get(iface) else { return };
        // Nothing was decided for its routers until now, or something else holds.
        if interface.capture != before || self.unsaid_on(iface) {
            self.evaluate_on(iface);
        }
        let said = self.unsaid.iter().copied().filter(|id| !self.is_attaching(*id));
        for id in said.collect::<Vec<_>>() {
            self.log_problems(id);
        }
    }

    /// An interface captures like this from now on.
    fn captures(&mut self, iface: InterfaceId, capture: Capture, plan: Option<&Plan>) {
        let Some(interface) = self.interfaces.get(iface) else { return };
        let (name, changed) = (interface.name.clone(), interface.capture != capture);
        match &capture {
            Capture::Attached(choice) if changed => {
                self.settle(self.now, iface, choice.mode);
                let lacks = plan.and_then(|plan| plan.lacks_configured(choice.mode));
                let level = if lacks.is_none() { log::Level::Info } else { log::Level::Warn };
                log::log!(level, "{name}: captures by {choice}");
            }
            Capture::Attached(_) | Capture::Detached => {}
            Capture::Failed(why) => {
                if changed {
                    log::error!("{name}: no advertisement can be received: {why}");
                }
                self.count(Counter::AttachFailed);
                self.retry_soon();
            }
        }
        if let Some(interface) = self.interfaces.get_mut(iface) {
            interface.capture = capture;
        }
    }

    /// The program that counts what leaves was attached, put back, or left at that.
    pub(super) fn egress_mended(
        &mut self,
        iface: InterfaceId,
        result: Result<Option<Hook>, String>,
    ) {
        let Some(interface) = self.interfaces.get_mut(iface) else {
            return self.count(Counter::UnknownInterface);
        };
        if !interface.mends_egress {
            return self.count(Counter::UnexpectedAnswer);
        }
        let hook = result.unwrap_or_else(|why| {
            self.release_egress(&why);
            None
        });
        if let Some(interface) = self.interfaces.get_mut(iface) {
            (interface.hooks.egress, interface.mends_egress) = (hook, false);
        }
        self.egress_goes_on();
        if hook.is_none() {
            // No router there can have a virtual MAC address any more.
            self.evaluate_on(iface);
        }
    }

    /// Whether it is not known yet how the interface of a router captures.
    pub(super) fn is_attaching(&self, id: RouterId) -> bool {
        let found = self.interfaces.by_name(&self.router(id).interface);
        found.is_some_and(|(_, interface)| interface.is_attaching())
    }
}
