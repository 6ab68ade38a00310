//! Telling scripts and fifos what happens, when it has happened: a master is told when its addresses are there, and
//! whoever gives up when they are gone.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Daemon;
use crate::config::model::Tracked;
use crate::engine::types::{GroupId, Notice, Priority, RouterId, State};
use crate::io::scripts::{Board, Event, Found, Notified, Plan, Scripts, Subject, What};
use crate::io::timer;

/// The way to the thread of the scripts, if there is one.
pub struct Notifier {
    scripts: Option<Scripts>,
    board: Arc<Board>,
    found: mpsc::UnboundedSender<Found>,
    /// Requests to netlink, ever.
    asked: u64,
    /// Answers, ever. They come in the order of the requests.
    answered: u64,
    /// Events that wait until so many answers have come.
    held: VecDeque<(u64, Event)>,
}

impl Notifier {
    /// Starts the thread if this plan needs it. What checks find out comes out of the receiver.
    ///
    /// # Errors
    /// The thread can not be started.
    pub fn start(
        plan: Plan,
        board: Arc<Board>,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Found>)> {
        let (found, finds) = mpsc::unbounded_channel();
        let held = VecDeque::new();
        let mut notifier = Self { scripts: None, board, found, asked: 0, answered: 0, held };
        if !plan.is_empty() {
            notifier.begin(plan)?;
        }
        Ok((notifier, finds))
    }

    fn begin(&mut self, plan: Plan) -> io::Result<()> {
        let scripts = Scripts::start(plan, Arc::clone(&self.board), self.found.clone())?;
        self.scripts = Some(scripts);
        Ok(())
    }

    /// From now on as another configuration wants it. The plan is made where the configuration is loaded.
    ///
    /// # Errors
    /// There was no thread yet, and it can not be started.
    pub fn reconfigure(&mut self, plan: Plan) -> io::Result<()> {
        match &self.scripts {
            Some(scripts) => scripts.reconfigure(plan),
            None if plan.is_empty() => {}
            None => {
                self.begin(plan)?;
                // The startup script belongs to the start of the daemon; this lets the rest begin.
                if let Some(scripts) = &self.scripts {
                    scripts.begin_without_startup();
                }
            }
        }
        Ok(())
    }

    /// Whether everything that has happened has been told.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.answered >= self.asked
    }

    /// Runs the startup script, and waits for its end.
    pub async fn startup(&self) {
        if let Some(scripts) = &self.scripts {
            scripts.startup().await;
        }
    }

    /// Netlink was asked for something.
    pub fn asked(&mut self) {
        self.asked += 1;
    }

    /// Netlink has answered so many requests.
    pub fn answered(&mut self, answers: usize) {
        self.answered += answers as u64;
        while let Some((_, event)) = self.held.pop_front_if(|(after, _)| *after <= self.answered) {
            self.send(event);
        }
    }

    /// Tells something once all that was asked until now is answered.
    fn tell(&mut self, event: Event) {
        if self.scripts.is_none() {
            return;
        }
        if self.answered >= self.asked && self.held.is_empty() {
            self.send(event);
        } else {
            self.held.push_back((self.asked, event));
        }
    }

    fn send(&self, event: Event) {
        if let Some(scripts) = &self.scripts {
            scripts.tell(event);
        }
    }

    /// Tells what still waits, lets scripts run to their end in bounded time, and ends the thread.
    pub async fn stop(&mut self) {
        while let Some((_, event)) = self.held.pop_front() {
            self.send(event);
        }
        if let Some(scripts) = self.scripts.take() {
            scripts.stop().await;
        }
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

impl Daemon {
    fn subject(&self, id: RouterId) -> Subject {
        Subject::Instance(Arc::clone(&self.router(id).name))
    }

    fn effective_priority(&self, id: RouterId) -> u8 {
        self.engine.view(id).map_or(0, |view| view.priority.0)
    }

    /// A router has entered a state, and netlink was asked for all that belongs to it.
    pub(super) fn tell_transition(&mut self, id: RouterId, to: State) {
        if self.notifier.scripts.is_none() {
            return;
        }
        let state = notified(to);
        let what = What::State { state, priority: self.effective_priority(id) };
        self.notifier.tell(Event { subject: self.subject(id), what });
    }

    /// A router left the configuration, in which it had this state and priority.
    pub(super) fn tell_deleted(&mut self, id: RouterId, state: State, priority: Priority) {
        if self.notifier.scripts.is_none() {
            return;
        }
        let fault = match state {
            State::Master | State::Backup => false,
            State::Fault | State::Init => true,
        };
        let what = What::Deleted { fault, priority: priority.0 };
        self.notifier.tell(Event { subject: self.subject(id), what });
    }

    /// Tells the fifos the state of every group and router, after a reload (`fifo_write_vrrp_states_on_reload`).
    pub(super) fn tell_states(&mut self) {
        for (id, name) in self.tracking.group_names() {
            let state = self.engine.group_view(id).and_then(|(state, ..)| still(state));
            if let Some(state) = state {
                let what = What::StillIn { state, priority: 0 };
                self.notifier.tell(Event { subject: Subject::Group(name.into()), what });
            }
        }
        for id in self.ids() {
            let Some(state) = self.engine.state(id).and_then(still) else { continue };
            let what = What::StillIn { state, priority: self.effective_priority(id) };
            self.notifier.tell(Event { subject: self.subject(id), what });
        }
    }

    /// The effective priority of a router changed.
    pub(super) fn tell_priority(&mut self, id: RouterId, to: Priority) {
        if self.notifier.scripts.is_none() {
            return;
        }
        let master = self.engine.state(id) == Some(State::Master);
        let what = What::Priority { master, priority: to.0 };
        self.notifier.tell(Event { subject: self.subject(id), what });
    }

    /// As master, a router has heard of a lower priority.
    pub(super) fn tell_lower_priority(&mut self, id: RouterId) {
        if self.notifier.scripts.is_none() {
            return;
        }
        let what = What::LowerPriority { priority: self.effective_priority(id) };
        self.notifier.tell(Event { subject: self.subject(id), what });
    }

    /// A tracked script has found out something.
    pub(super) fn found(&mut self, Found { script, health, end }: Found) {
        let object = self.tracking.object(&Tracked::Script(script.to_string()));
        self.health(timer::now(), object, health, end);
    }

    /// A sync group has entered a state, and so have its members.
    pub(super) fn tell_group(&mut self, id: GroupId, to: State) {
        if self.notifier.scripts.is_none() {
            return;
        }
        let subject = Subject::Group(self.tracking.group_name(id).into());
        let what = What::State { state: notified(to), priority: 0 };
        self.notifier.tell(Event { subject, what });
    }

    /// Something was noticed that scripts are told of.
    pub(super) fn tell_notice(&mut self, id: RouterId, notice: &Notice) {
        if self.notifier.scripts.is_none() {
            return;
        }
        let what = match *notice {
            Notice::AddressConflict { address, mac } => {
                What::SplitBrain { begin: true, address, mac }
            }
            Notice::AddressConflictOver { address, mac, .. } => {
                What::SplitBrain { begin: false, address, mac }
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
        self.notifier.tell(Event { subject: self.subject(id), what });
    }
}
