//! Whether the interfaces can hear.
//!
//! Somebody may detach our program or replace it, and the kernel tells nobody. A backup that cannot hear would be a second
//! master. So no silence is believed before the kernel has said that our program is there; and what does not wait for
//! that is looked at now and then, on occasions on which the daemon is awake anyway.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::Effect;
use super::input::{HookReport, Hooks};
use super::interface_table::Capture;
use super::netlink::{Hook, HookState, Look};
use super::restore_limiter::{RestoreLimiter, When};
use super::tampering::{ProgramTampering, Response, Tampering};
use super::{Core, Counter};
use crate::api::problem::{Problem, ProblemKind};
use crate::capture::{CaptureMode, ModeSet, PlanReason};
use crate::core::interface_id::{InterfaceId, NamespaceId};
use crate::engine::time::Nanos;
use crate::engine::types::{FaultCause, RouterId, State};
use crate::types::planted::{Fault, planted};

/// For how long silence waits for the answer of the kernel, which is there in far less than a millisecond unless somebody
/// holds its routing lock.
const PATIENCE: Nanos = Nanos::from_millis(100);
/// For how long an answer counts: a master is given up after several advertisements that could be notified.
const FRESH: Nanos = Nanos::from_millis(200);
/// How long before a silence would be long enough the kernel is asked, so that nobody waits for the answer then. Less than
/// half of the shortest interval.
pub(super) const AHEAD: Nanos = Nanos::from_millis(4);
/// How far the kernel is asked about then: the silences of a neighbour's routers are long enough one after the other. Less
/// than what is left of the shortest master-down interval after an advertisement.
const RANGE: Nanos = Nanos::from_millis(20);
/// How often interfaces are looked at without a reason, at most.
const ROUND: Nanos = Nanos::from_secs(1);
/// So many of them at a time.
const PER_ROUND: usize = 16;
/// How often a better way to capture is tried where XDP was taken: from this on, each time half as often.
const TRY_AGAIN: Nanos = Nanos::from_secs(10);
/// No more seldom than this.
const TRY_RARELY: Nanos = Nanos::from_secs(600);

/// What is known of the interfaces of which the kernel was asked.
#[derive(Default)]
pub struct Reception {
    questions: BTreeMap<InterfaceId, Question>,
    /// Where the next round goes on.
    next: Option<InterfaceId>,
    /// When it is due. Nobody is woken for it.
    round_at: Nanos,
    /// When it was last asked of all masters when they were notified.
    pub all_asked_at: Nanos,
    /// Whether a master has spoken since the last one.
    masters: bool,
    /// Who takes programs away that receive.
    programs: BTreeMap<InterfaceId, ProgramTampering>,
    /// Who takes those away that count what leaves. Nobody listens anew for that.
    egress_limiter: RestoreLimiter<InterfaceId>,
    /// Where XDP was taken.
    better: Better,
    /// Who moves the position of the ring buffer.
    pub ring: Tampering,
}

/// When a better way to capture is tried again on interfaces where XDP was taken by another program.
#[derive(Default)]
struct Better {
    /// When the next try may be, and how long after it the one after that.
    tries: BTreeMap<InterfaceId, (Nanos, Nanos)>,
    /// Those where XDP seems to be free, and the next try may not be yet.
    wanted: BTreeSet<InterfaceId>,
}

impl Better {
    /// Whether it may be tried now, and if so, no more for a while.
    fn may(&mut self, iface: InterfaceId, now: Nanos) -> bool {
        let (at, pause) = self.tries.entry(iface).or_insert((now, TRY_AGAIN));
        if now < *at {
            self.wanted.insert(iface);
            return false;
        }
        *at = now + *pause;
        *pause = pause.times(2).min(TRY_RARELY);
        self.wanted.remove(&iface);
        true
    }

    /// Whether it may be tried now.
    fn is_due(&self, iface: InterfaceId, now: Nanos) -> bool {
        self.tries.get(&iface).is_none_or(|(at, _)| now >= *at)
    }

    fn forget(&mut self, iface: InterfaceId) {
        self.tries.remove(&iface);
        self.wanted.remove(&iface);
    }
}

#[derive(Default)]
struct Question {
    /// When it was asked, until it is answered.
    asked: Option<Nanos>,
    /// When the question was asked to which the last answer was that all is well.
    intact: Option<Nanos>,
    /// Backups whose timers wait for the answer, and until when.
    waiting: Vec<(RouterId, Nanos)>,
}

/// Whether silence on an interface is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    Believed,
    /// Not before that, or the answer.
    Doubted {
        until: Nanos,
        /// Whether the kernel must be asked.
        ask: bool,
    },
}

impl Reception {
    /// A backup has notified nothing on an interface for long enough.
    fn silence(&mut self, iface: InterfaceId, id: RouterId, now: Nanos) -> Silence {
        let question = self.questions.entry(iface).or_default();
        if question.intact.is_some_and(|at| now < at + FRESH) {
            return Silence::Believed;
        }
        let (asked, ask) = match question.asked {
            Some(asked) if now < asked + PATIENCE => (asked, false),
            // Too late: an answer that does not come must not keep anybody from taking over.
            Some(asked) if now < asked + PATIENCE + FRESH => return Silence::Believed,
            Some(_) | None => (now, true),
        };
        question.asked = Some(asked);
        let until = asked + PATIENCE;
        question.waiting.push((id, until));
        Silence::Doubted { until, ask }
    }

    /// Whether a silence that would be long enough at that time would have to wait for an answer that was not asked for.
    fn is_open(&self, iface: InterfaceId, now: Nanos, due: Nanos) -> bool {
        self.questions.get(&iface).is_none_or(|Question { asked, intact, .. }| {
            intact.is_none_or(|at| due >= at + FRESH)
                && asked.is_none_or(|asked| now >= asked + PATIENCE)
        })
    }

    /// The kernel is being asked, and no timer waits for the answer yet.
    fn ask_ahead(&mut self, iface: InterfaceId, now: Nanos) {
        self.questions.entry(iface).or_default().asked = Some(now);
    }

    /// The program was there when the kernel was asked, and not necessarily is when the answer is read: the daemon may have
    /// stood still between. Whose timers have waited for that, and until when.
    fn intact(&mut self, iface: InterfaceId) -> Vec<(RouterId, Nanos)> {
        let Some(question) = self.questions.get_mut(&iface) else { return Vec::new() };
        if let Some(asked) = question.asked.take() {
            question.intact = Some(asked);
        }
        std::mem::take(&mut question.waiting)
    }

    /// A master speaks: nothing but a look tells that it does not hear.
    pub fn master(&mut self) {
        self.masters = true;
    }

    /// Nothing is known of an interface any more.
    pub fn forget(&mut self, iface: InterfaceId) {
        self.questions.remove(&iface);
    }

    /// An interface is gone.
    pub fn interface_removed(&mut self, iface: InterfaceId) {
        self.forget(iface);
        self.programs.remove(&iface);
        self.egress_limiter.forget(&iface);
        self.better.forget(iface);
    }

    /// Modes that are done without on an interface because somebody else keeps taking their programs away.
    pub fn abandoned(&self, iface: InterfaceId) -> ModeSet {
        self.programs.get(&iface).map(ProgramTampering::abandoned).unwrap_or_default()
    }
}

impl Core {
    /// Before master-down timers that are due are believed: those of interfaces of which it is not known that they can
    /// hear are put off until the kernel has answered.
    pub(super) fn doubt_silence(&mut self, now: Nanos) {
        let mut hooks: Vec<Hook> = Vec::new();
        for id in self.engine.master_downs_due(now) {
            let Some(iface) = self.router(id).iface() else { continue };
            if let Some(until) = self.settling.until(iface) {
                self.engine.postpone_master_down(now, id, until);
                continue;
            }
            let Some(hook) = self.hooks(iface).ingress else { continue };
            match self.reception.silence(iface, id, now) {
                Silence::Believed => {}
                Silence::Doubted { until, ask } => {
                    self.engine.postpone_master_down(now, id, until);
                    if ask {
                        hooks.push(hook);
                    }
                }
            }
        }
        if !hooks.is_empty() {
            self.effects.push_back(Effect::Look(Look { hooks, answer: true }));
        }
    }

    /// When the kernel is to be asked whether the interface notifier on which a silence will be long enough next.
    pub(super) fn look_ahead_at(&self) -> Option<Nanos> {
        let (due, id) = self.engine.next_master_down()?;
        let iface = self.router(id).iface()?;
        self.hooks(iface).ingress?;
        self.reception.is_open(iface, self.now, due).then(|| due - AHEAD)
    }

    /// Asks the kernel about the interfaces on which a silence will be long enough in a moment.
    pub(super) fn look_ahead(&mut self, now: Nanos) {
        let due = now + RANGE;
        let mut hooks: Vec<Hook> = Vec::new();
        for id in self.engine.master_downs_due(due) {
            let Some(iface) = self.router(id).iface() else { continue };
            let Some(hook) = self.hooks(iface).ingress else { continue };
            if self.reception.is_open(iface, now, due) {
                self.reception.ask_ahead(iface, now);
                hooks.push(hook);
            }
        }
        if !hooks.is_empty() {
            self.effects.push_back(Effect::Look(Look { hooks, answer: true }));
        }
    }

    /// Where our programs should be on an interface.
    fn hooks(&self, iface: InterfaceId) -> Hooks {
        self.interfaces.get(iface).map(|interface| interface.hooks).unwrap_or_default()
    }

    /// Looks at some interfaces, if it is time for that and there are masters: those have no silence that would be doubted.
    pub(super) fn look_around(&mut self, now: Nanos) {
        if now >= self.reception.round_at && std::mem::take(&mut self.reception.masters) {
            self.look_at(now, PER_ROUND);
        }
    }

    /// Looks at some interfaces because somebody wants to know how things are.
    pub(super) fn look_if_stale(&mut self, now: Nanos) {
        if now + ROUND >= self.reception.round_at + FRESH {
            self.look_at(now, PER_ROUND);
        }
    }

    /// Looks at all interfaces.
    pub(super) fn look_everywhere(&mut self, now: Nanos) {
        self.reception.next = None;
        self.look_at(now, usize::MAX);
    }

    fn look_at(&mut self, now: Nanos, most: usize) {
        self.reception.round_at = now + ROUND;
        let looked: Vec<_> = self.interfaces.hooks(self.reception.next).take(most).collect();
        self.reception.next = match looked.last() {
            Some((last, _)) if looked.len() == most => Some(*last),
            Some(_) | None => None,
        };
        let better = &self.reception.better;
        let hooks = looked.into_iter().flat_map(|(iface, hooks)| {
            let Hooks { ingress, egress, displaced } = hooks;
            [ingress, egress, displaced.filter(|_| better.is_due(iface, now))]
        });
        let hooks: Vec<Hook> = hooks.flatten().collect();
        if !hooks.is_empty() {
            self.effects.push_back(Effect::Look(Look { hooks, answer: false }));
        }
    }

    /// XDP seems to be free on an interface: takes it, if it was wanted there and that was not tried too often.
    pub(super) fn xdp_is_free(&mut self, now: Nanos, iface: InterfaceId) {
        if self.hooks(iface).displaced.is_none() {
            return self.reception.better.forget(iface);
        }
        if !self.reception.better.may(iface, now) {
            return self.retry_soon();
        }
        self.attach_anew(iface);
    }

    /// Tries what could not be tried when XDP became free.
    pub(super) fn retry_better(&mut self, now: Nanos) {
        for iface in self.reception.better.wanted.clone() {
            self.xdp_is_free(now, iface);
        }
    }

    /// What the kernel says of our programs.
    pub(super) fn hooks_seen(&mut self, reports: Vec<HookReport>) {
        let now = self.now;
        for HookReport { hook, state, occupant } in reports {
            let iface = hook.iface;
            if self.interfaces.get(iface).is_none() {
                self.count(Counter::UnknownInterface);
                continue;
            }
            // Or it was attached anew meanwhile, and that is another question.
            let Hooks { ingress, egress, displaced } = self.hooks(iface);
            let current = ingress == Some(hook);
            match state {
                HookState::Intact if current => {
                    for (id, until) in self.reception.intact(iface) {
                        self.engine.resume_master_down(now, id, until);
                    }
                }
                HookState::Lost(_) if current => self.capture_lost(iface, occupant),
                HookState::Lost(_) if egress == Some(hook) => self.egress_lost(iface),
                HookState::Lost(None) if displaced == Some(hook) => self.xdp_is_free(now, iface),
                // If it is gone, that is reported as well. Whoever waits for an answer does so for a bounded time.
                HookState::Intact
                | HookState::Lost(_)
                | HookState::LinkRemoved
                | HookState::Unknown => {}
            }
        }
    }

    /// The same with the program that counts what leaves, which nobody needs to hear.
    fn egress_lost(&mut self, iface: InterfaceId) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        let attach = self.reception.egress_limiter.removed(iface, now) == When::Now;
        let then = if attach {
            "it is attached again"
        } else {
            "that goes on, and is left at that: packets sent from virtual addresses are not counted any more"
        };
        log::warn!(
            "{}: the program that counts what leaves was detached or replaced by somebody else; {then}",
            interface.name
        );
        // It is asked about again when it is there.
        (interface.hooks.egress, interface.mends_egress) = (None, true);
        let name = interface.name.clone();
        self.effects.push_back(Effect::MendEgress { interface: iface, name, attach });
    }

    /// Somebody has detached our program from an interface, or replaced it.
    fn capture_lost(&mut self, iface: InterfaceId, occupant: Option<String>) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        let mode = interface.mode();
        // That is known now, and need not be said again until it is attached.
        interface.hooks.ingress = None;
        self.count(Counter::CaptureLost);
        self.reception.forget(iface);
        let deed = match occupant {
            None => "was detached".to_owned(),
            Some(other) => format!("was replaced by another one ({other})"),
        };
        let restores = self.reception.programs.entry(iface).or_default().lost(mode, now);
        if !restores {
            self.retry_soon();
        }
        self.attach_after_loss(iface, deed, restores);
    }

    /// Somebody else has stopped the ring buffer. Who was told nothing meanwhile has notified no silence; but who goes on must not
    /// keep all from taking over, and is left alone with it.
    pub(super) fn ring_mended(&mut self) {
        let now = self.now;
        self.count(Counter::CaptureLost);
        match self.reception.ring.happened(now) {
            Response::Abandoned => return,
            Response::Restore => log::warn!(
                "somebody else has moved the position to which the ring buffer was read; it is put back, and what was to be \
                 reported meanwhile is lost"
            ),
            Response::Abandon => {
                log::error!(
                    "{}: all interfaces are captured by packet sockets",
                    PlanReason::RingTaken.text()
                );
                self.attach_everywhere();
                self.retry_soon();
            }
        }
        self.was_not_listening(None);
    }

    /// The routers on an interface, or on all, may have been told nothing for a while.
    fn was_not_listening(&mut self, iface: Option<InterfaceId>) {
        if planted(Fault::LossCountsAsSilence) {
            return;
        }
        for id in self.ids() {
            if iface.is_none() || self.router(id).iface() == iface {
                self.engine.handle_not_listening(self.now, id);
            }
        }
    }

    /// Looks whether that is over, and the same of programs that somebody else took away.
    pub(super) fn retry_abandoned(&mut self) {
        let now = self.now;
        if self.reception.ring.is_over(now) {
            log::info!("nobody else moves the position to which the ring buffer was read any more");
            self.attach_everywhere();
        }
        let programs = self.reception.programs.iter_mut();
        let over = programs.filter_map(|(iface, programs)| programs.is_over(now).then_some(*iface));
        for iface in over.collect::<Vec<_>>() {
            let name = self.interfaces.get(iface).map_or("?", |interface| &interface.name);
            log::info!("{name}: nobody else takes our programs away any more");
            self.attach(iface);
        }
        let mut programs = self.reception.programs.values();
        if self.reception.ring.is_abandoned()
            || programs.any(|programs| programs.abandoned() != ModeSet::default())
        {
            self.retry_soon();
        }
    }

    fn attach_everywhere(&mut self) {
        for iface in self.interfaces.indices() {
            self.attach(iface);
        }
    }

    /// The program was attached again, or could not be, after somebody has done that to it.
    pub(super) fn attached_after_loss(
        &mut self,
        iface: InterfaceId,
        deed: &str,
        capture: &Capture,
    ) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        let name = interface.name.clone();
        interface.capture = capture.clone();
        match capture {
            Capture::Attached(choice) if choice.mode == CaptureMode::Raw => {
                log::warn!(
                    "{name}: our program {deed} by somebody else; from now on it captures by {choice}"
                );
            }
            Capture::Attached(choice) => log::warn!(
                "{name}: our program {deed} by somebody else; it is attached again, and captures by {choice}"
            ),
            Capture::Failed(why) => {
                log::error!(
                    "{name}: our program {deed} by somebody else, and no advertisement can be received: {why}"
                );
                self.retry_soon();
            }
            Capture::Detached => {}
        }
        if let Capture::Attached(choice) = capture {
            self.settle(now, iface, choice.mode);
            self.was_not_listening(Some(iface));
        }
        self.evaluate_on(iface);
    }

    /// Decides again whether a router can do with its interface, if it cannot hear there.
    pub(super) fn evaluate_reception(&mut self, id: RouterId) {
        let found = self.interfaces.by_name(&self.router(id).interface);
        if found.is_some_and(|(_, interface)| !interface.receives()) {
            self.evaluate(id);
        }
    }

    /// What is wrong with a router's interface, and what to do.
    pub(super) fn link_problems(&self, id: RouterId) -> Vec<Problem> {
        self.link_problems_at(self.now, id)
    }

    /// The same at some time.
    pub(super) fn link_problems_at(&self, now: Nanos, id: RouterId) -> Vec<Problem> {
        let router = self.router(id);
        let interface = self.interfaces.by_name(&router.interface);
        let enabled = interface.is_some_and(|(_, interface)| interface.link.enabled);
        let fault = |cause| move |text| ProblemKind::Fault(cause).because(text);
        let settles = self.settles(now, id);
        let namespace = NamespaceId::of_interface(&router.interface);
        let others = self.namespaces.missing(namespace).map(|missing| missing.to_string());
        let problems = [
            router
                .link_fault()
                .zip(router.link_problem(enabled))
                .map(|(cause, text)| fault(cause)(others.unwrap_or(text))),
            self.virtual_mac_problem(id).map(fault(FaultCause::NoVirtualMac)),
            self.reception_problem(id).map(fault(FaultCause::NoCapture)),
            settles.map(|text| ProblemKind::LinkSettles.because(text)),
        ];
        problems.into_iter().flatten().collect()
    }

    /// What is wrong with the hearing of a router's interface, and what that means for the router.
    fn reception_problem(&self, id: RouterId) -> Option<String> {
        let router = self.router(id);
        let (_, interface) = self.interfaces.by_name(&router.interface)?;
        let Capture::Failed(why) = &interface.capture else { return None };
        let then = match self.engine.state(id)? {
            State::Master => {
                "it stays master, and does not notice if another host is master as well"
            }
            State::Init | State::Backup | State::Fault => {
                "a router that cannot hear the others must not be master beside them"
            }
        };
        Some(format!("no advertisement can be received on {}: {why}; {then}", router.interface))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTERS: [RouterId; 2] = [RouterId(3), RouterId(4)];

    fn at(millis: u64) -> Nanos {
        Nanos::from_secs(100) + Nanos::from_millis(millis)
    }

    #[test]
    fn silence_is_believed_when_the_kernel_has_answered() {
        let mut reception = Reception::default();
        let until = at(100);
        let [first, second] = ROUTERS;
        assert_eq!(
            reception.silence(InterfaceId::own(7), first, at(0)),
            Silence::Doubted { until, ask: true }
        );
        // The same question serves all on that interface, and no other.
        assert_eq!(
            reception.silence(InterfaceId::own(7), second, at(20)),
            Silence::Doubted { until, ask: false }
        );
        let other = Silence::Doubted { until: at(120), ask: true };
        assert_eq!(reception.silence(InterfaceId::own(8), second, at(20)), other);
        assert_eq!(reception.intact(InterfaceId::own(7)), [(first, until), (second, until)]);
        assert_eq!(reception.silence(InterfaceId::own(7), first, at(30)), Silence::Believed);
        assert_eq!(reception.silence(InterfaceId::own(7), first, at(199)), Silence::Believed);
        let again = Silence::Doubted { until: at(300), ask: true };
        assert_eq!(reception.silence(InterfaceId::own(7), first, at(200)), again);
        assert_eq!(reception.intact(InterfaceId::own(7)), [(first, at(300))]);
        assert!(reception.intact(InterfaceId::own(8)).len() == 1, "the other one");
    }

    #[test]
    fn an_answer_that_is_read_late_is_as_old_as_its_question() {
        let mut reception = Reception::default();
        let [router, _] = ROUTERS;
        let iface = InterfaceId::own(7);
        reception.ask_ahead(iface, at(0));
        // The daemon stands still for five seconds, and reads the answer first.
        assert_eq!(reception.intact(iface), []);
        let again = Silence::Doubted { until: at(5_100), ask: true };
        assert_eq!(reception.silence(iface, router, at(5_000)), again);
        // One that nobody has asked for says nothing of now either.
        assert_eq!(reception.intact(InterfaceId::own(8)), []);
        let asks = Silence::Doubted { until: at(100), ask: true };
        assert_eq!(reception.silence(InterfaceId::own(8), router, at(0)), asks);
    }

    #[test]
    fn what_is_better_is_tried_more_and_more_seldom() {
        let mut better = Better::default();
        let (mut tries, mut last) = (0, Nanos::ZERO);
        for now in (0..7200).map(Nanos::from_secs) {
            let due = better.is_due(InterfaceId::own(7), now);
            assert_eq!(better.may(InterfaceId::own(7), now), due);
            assert_eq!(better.wanted.contains(&InterfaceId::own(7)), !due);
            if due {
                (tries, last) = (tries + 1, now);
            }
        }
        assert!((7..20).contains(&tries), "{tries}, {last}");
        assert!(better.may(InterfaceId::own(8), Nanos::ZERO));
        better.forget(InterfaceId::own(7));
        assert!(better.is_due(InterfaceId::own(7), last) && better.wanted.is_empty());
    }

    #[test]
    fn an_answer_that_does_not_come_keeps_nobody_from_taking_over() {
        let mut reception = Reception::default();
        let [first, second] = ROUTERS;
        reception.silence(InterfaceId::own(7), first, at(0));
        assert_eq!(reception.silence(InterfaceId::own(7), first, at(100)), Silence::Believed);
        assert_eq!(reception.silence(InterfaceId::own(7), second, at(299)), Silence::Believed);
        // But it is asked again some time.
        let again = Silence::Doubted { until: at(400), ask: true };
        assert_eq!(reception.silence(InterfaceId::own(7), second, at(300)), again);
    }
}
