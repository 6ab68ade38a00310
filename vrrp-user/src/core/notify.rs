//! Telling scripts and fifos what happens, when it has happened: a master is told when its addresses are there, and
//! whoever gives up when they are gone.

use std::collections::VecDeque;
use std::sync::Arc;

use super::effect::Effect;
use super::notification::{Event, Found, NotificationKind, Notified, Subject};
use super::{Core, Counter};
use crate::config::model::Tracked;
use crate::engine::types::{GroupId, Notice, Priority, RouterId, State};

/// What waits to be told.
#[derive(Debug, Default)]
pub struct Notifier {
    /// Whether anybody is told anything.
    active: bool,
    /// Requests to netlink, ever.
    asked: u64,
    /// Answers, ever. They come in the order of the requests, as a rule.
    answered: u64,
    /// Events that wait until so many answers have come.
    held: VecDeque<(u64, Event)>,
}

impl Notifier {
    /// One that has somebody to tell, or not.
    pub fn new(active: bool) -> Self {
        Self { active, ..Self::default() }
    }

    /// From now on there is somebody to tell.
    pub fn activate(&mut self) {
        self.active = true;
    }

    /// Whether everything that has happened has been told.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.answered >= self.asked
    }

    /// Netlink was asked for something.
    pub fn asked(&mut self) {
        self.asked += 1;
    }

    /// Netlink has answered so many requests.
    fn answered(&mut self, answers: usize) {
        self.answered += answers as u64;
    }

    /// What has waited long enough.
    fn due(&mut self) -> Option<Event> {
        let (_, event) = self.held.pop_front_if(|(after, _)| *after <= self.answered)?;
        Some(event)
    }

    /// What may be told at once, once all that was asked until now is answered; otherwise it waits.
    fn admit(&mut self, event: Event) -> Option<Event> {
        if !self.active {
            return None;
        }
        if self.is_idle() {
            return Some(event);
        }
        self.held.push_back((self.asked, event));
        None
    }
}

/// What a state is called to those who are told of it.
fn notified(state: State) -> Notified {
    match state {
        State::Master => Notified::Master,
        State::Backup => Notified::Backup,
        State::Fault => Notified::Fault,
        State::Init => Notified::Stop,
    }
}

/// As [`notified`], of a state that lasts.
fn still(state: State) -> Option<Notified> {
    match state {
        State::Master | State::Backup | State::Fault => Some(notified(state)),
        State::Init => None,
    }
}

impl Core {
    /// Netlink has answered so many requests.
    pub(super) fn notifier_answered(&mut self, answers: usize) {
        self.notifier.answered(answers);
        while let Some(event) = self.notifier.due() {
            self.effects.push_back(Effect::Notify(event));
        }
    }

    /// Tells what still waits, whatever it waits for.
    pub(super) fn notifier_flush(&mut self) {
        let held = self.notifier.held.drain(..);
        self.effects.extend(held.map(|(_, event)| Effect::Notify(event)));
    }

    fn notify(&mut self, event: Event) {
        let event = self.notifier.admit(event);
        self.effects.extend(event.map(Effect::Notify));
    }

    fn subject(&self, id: RouterId) -> Subject {
        Subject::Instance(Arc::clone(&self.router(id).name))
    }

    fn effective_priority(&self, id: RouterId) -> u8 {
        self.engine.view(id).map_or(0, |view| view.priority.0)
    }

    /// A router has entered a state, and netlink was asked for all that belongs to it.
    pub(super) fn notify_transition(&mut self, id: RouterId, to: State) {
        if !self.notifier.active {
            return;
        }
        let state = notified(to);
        let kind = NotificationKind::State { state, priority: self.effective_priority(id) };
        self.notify(Event { subject: self.subject(id), kind });
    }

    /// A router left the configuration, in which it had this state and priority.
    pub(super) fn notify_deleted(&mut self, id: RouterId, state: State, priority: Priority) {
        if !self.notifier.active {
            return;
        }
        let fault = match state {
            State::Master | State::Backup => false,
            State::Fault | State::Init => true,
        };
        let kind = NotificationKind::Deleted { fault, priority: priority.0 };
        self.notify(Event { subject: self.subject(id), kind });
    }

    /// Tells the fifos the state of every group and router, after a reload (`fifo_write_vrrp_states_on_reload`).
    pub(super) fn notify_states(&mut self) {
        let groups = self.tracking.group_names().filter_map(|(id, name)| {
            let (state, ..) = self.engine.group_view(id)?;
            let kind = NotificationKind::StillIn { state: still(state)?, priority: 0 };
            Some(Event { subject: Subject::Group(name.into()), kind })
        });
        let groups: Vec<Event> = groups.collect();
        for event in groups {
            self.notify(event);
        }
        for id in self.ids() {
            let Some(state) = self.engine.state(id).and_then(still) else { continue };
            let kind = NotificationKind::StillIn { state, priority: self.effective_priority(id) };
            self.notify(Event { subject: self.subject(id), kind });
        }
    }

    /// The effective priority of a router changed.
    pub(super) fn notify_priority(&mut self, id: RouterId, to: Priority) {
        if !self.notifier.active {
            return;
        }
        let master = self.engine.state(id) == Some(State::Master);
        let kind = NotificationKind::Priority { master, priority: to.0 };
        self.notify(Event { subject: self.subject(id), kind });
    }

    /// As master, a router has heard of a lower priority.
    pub(super) fn notify_lower_priority(&mut self, id: RouterId) {
        if !self.notifier.active {
            return;
        }
        let kind = NotificationKind::LowerPriority { priority: self.effective_priority(id) };
        self.notify(Event { subject: self.subject(id), kind });
    }

    /// A tracked script has found out something.
    pub(super) fn found(&mut self, Found { script, health, end }: Found) {
        match self.tracking.known_object(&Tracked::Script(script.to_string())) {
            Some(object) => self.health(object, health, end),
            None => self.count(Counter::UnexpectedAnswer),
        }
    }

    /// A sync group has entered a state, and so have its members.
    pub(super) fn notify_group(&mut self, id: GroupId, to: State) {
        if !self.notifier.active {
            return;
        }
        let subject = Subject::Group(self.tracking.group_name(id).into());
        let kind = NotificationKind::State { state: notified(to), priority: 0 };
        self.notify(Event { subject, kind });
    }

    /// Something was noticed that scripts are told of.
    pub(super) fn notify_notice(&mut self, id: RouterId, notice: &Notice) {
        if !self.notifier.active {
            return;
        }
        let kind = match *notice {
            Notice::AddressConflict { address, mac } => {
                NotificationKind::SplitBrain { begin: true, address, mac }
            }
            Notice::AddressConflictOver { address, mac, .. } => {
                NotificationKind::SplitBrain { begin: false, address, mac }
            }
            Notice::LowerPriority { .. }
            | Notice::AddressListMismatch(_)
            | Notice::AddressListOrder(_)
            | Notice::SecondOwner(_)
            | Notice::NewMaster { .. }
            | Notice::IntervalLearned(_)
            | Notice::IntervalLong { .. }
            | Notice::IntervalBounded { .. }
            | Notice::IntervalOverBound { .. }
            | Notice::PriorityChanged { .. }
            | Notice::Preempting { .. } => return,
        };
        self.notify(Event { subject: self.subject(id), kind });
    }
}
