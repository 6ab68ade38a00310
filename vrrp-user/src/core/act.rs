//! Carrying out what the engine wants.

use log::Level;

use super::effect::InfoChange;
use super::log_limit::{About, LogLine, StateChange};
use super::router::centisecs;
use super::{ASKED, Core, Counter, Phase, TIDY};
use crate::api::history::{EventKind, EventSource};
use crate::engine::time::Nanos;
use crate::engine::types::{Action, Cause, FaultCause, GroupId, Notice, Priority, RouterId, State};
use crate::types::planted::{Fault, planted};

/// Actions other than advertisements that are carried out before timers are looked at again.
const ACTION_BUDGET: usize = 64;
/// Actions after which memory is given back, a while after so many.
const BURST: usize = 1024;

impl Core {
    /// Carries out what cannot wait of what the engine wants: the advertisements of all routers first, because somebody
    /// waits for them. Whether there is more of it than is sent at once.
    pub(super) fn act_on_adverts(&mut self) -> bool {
        while !self.frames.is_full() {
            let Some(action) = self.engine.poll_action() else { return false };
            match action {
                Action::SendAdvert { router, priority } => self.send_advert(router, priority),
                Action::Transition { router, from, to, cause, at } => {
                    if cause == Cause::Adopted {
                        self.adopted(router, at);
                    } else {
                        self.lease_transition(router, from, to, at);
                        self.transition(router, to, at);
                    }
                    self.note(
                        EventSource::Router(router),
                        at,
                        EventKind::Transition { from, to, cause },
                    );
                    if from == State::Master {
                        // What a master may be without is missed now.
                        self.evaluate_reception(router);
                    }
                    self.later.push_back(action);
                }
                Action::Notice { router, notice } => {
                    self.note(EventSource::Router(router), self.now, EventKind::Notice(notice));
                    self.later.push_back(action);
                }
                Action::PriorityChanged { router, from, to } => {
                    self.priority_changed(router, to);
                    let notice = Notice::PriorityChanged { from, to };
                    self.note(EventSource::Router(router), self.now, EventKind::Notice(notice));
                    self.later.push_back(action);
                }
                Action::GroupTransition { .. }
                | Action::LowerPriority(_)
                | Action::AddAddresses(_)
                | Action::RemoveAddresses(_)
                | Action::SendGarp { .. } => self.later.push_back(action),
            }
        }
        true
    }

    /// Carries out a part of the rest, in its order. Whether there is more that need not wait for netlink.
    pub(super) fn act(&mut self) -> bool {
        for _ in 0..ACTION_BUDGET {
            if self.asked >= ASKED {
                break;
            }
            match self.later.pop_front() {
                Some(Action::AddAddresses(router)) => self.add_addresses(router),
                Some(Action::RemoveAddresses(_)) if planted(Fault::AddressesKept) => {}
                Some(Action::RemoveAddresses(router)) => self.remove_addresses(router),
                Some(Action::SendGarp { router, rounds }) => self.send_garp(router, rounds),
                Some(Action::Transition { router, from, to, cause, .. }) => {
                    let change = StateChange { from, to, is_ordered: self.is_ordered(cause) };
                    let line = LogLine::Transition(change, Some(cause));
                    self.log_line(About::Router(router), line);
                    // Who goes on as master has said so before.
                    if cause != Cause::Removed && cause != Cause::Adopted {
                        self.notify_transition(router, to);
                    }
                    self.relearn_after(router, &cause);
                }
                Some(Action::Notice { router, notice }) => {
                    self.notify_notice(router, &notice);
                    self.notice(router, notice);
                }
                Some(Action::PriorityChanged { router, from, to }) => {
                    let place = self.router(router).label();
                    let why = self.describe_priority(router);
                    let why = why.map(|why| format!(" = {why}")).unwrap_or_default();
                    log::info!("{place}: effective priority {from} -> {to}{why}");
                    self.notify_priority(router, to);
                }
                Some(Action::LowerPriority(router)) => {
                    self.notify_lower_priority(router);
                    self.relearn(router);
                }
                Some(Action::GroupTransition { group, from, to, .. }) => {
                    let is_ordered = to == State::Fault && self.is_group_ordered(group);
                    let change = StateChange { from, to, is_ordered };
                    let line = LogLine::Transition(change, None);
                    self.log_line(About::Group(group), line);
                    // Only the members of one that is adopted begin as masters.
                    if (from, to) != (State::Init, State::Master) {
                        self.notify_group(group, to);
                    }
                }
                // The former was carried out above.
                Some(Action::SendAdvert { .. }) | None => break,
            }
            self.worked += 1;
        }
        if self.worked > BURST {
            self.worked = 0;
            self.tidy_at.get_or_insert(self.now + TIDY);
        }
        !self.later.is_empty() && self.asked < ASKED
    }

    /// Whether the engine wants something that was not looked at yet.
    pub fn wants_more(&self) -> bool {
        let acts = match self.phase {
            Phase::Running | Phase::Stopping(_) => true,
            Phase::Starting(_) | Phase::Stopped => false,
        };
        acts && self.engine.actions().next().is_some()
    }

    pub(super) fn note(&mut self, source: EventSource, at: Nanos, kind: EventKind) {
        if !self.history.note(source, at, kind) {
            self.count(Counter::EventsSuppressed);
        }
    }

    /// The number of the last entry of the history.
    pub fn last_event(&self) -> u64 {
        self.history.last()
    }

    fn transition(&mut self, id: RouterId, to: State, at: Nanos) {
        self.manager.changed();
        if to == State::Fault {
            self.release_kept(id);
        }
        self.delays.transition(at, id, to);
        self.router_mut(id).transition();
        self.acknowledge(id, 0);
        self.update_filter(id);
        self.update_virtual_macs(id);
        let interval = self.engine.view(id).map_or(0, |view| centisecs(view.interval));
        let state = to as u8;
        self.publish(id, InfoChange::State { state, since: at.0, interval });
    }

    /// Whether a router goes on as the master that it was in a daemon that was killed, and has been nothing else since.
    pub(super) fn is_adopted(&self, id: RouterId) -> bool {
        self.engine.view(id).is_some_and(|view| view.cause == Some(Cause::Adopted))
    }

    /// Whether it does so, or is about to.
    pub(super) fn goes_on(&self, id: RouterId) -> bool {
        self.engine.adopts(id) || self.is_adopted(id)
    }

    /// A router goes on as the master that it was in a daemon that was killed: what others see of it says so already, and
    /// so does its lease, which goes on.
    fn adopted(&mut self, id: RouterId, at: Nanos) {
        self.manager.changed();
        self.delays.transition(at, id, State::Master);
        self.router_mut(id).transition();
        self.update_filter(id);
        self.update_virtual_macs(id);
        self.lease_reconfigured(id);
        self.count(Counter::Adopted);
    }

    /// A backup that hears the same master as before may rank above it now, and must be told of the next
    /// advertisement.
    fn priority_changed(&mut self, id: RouterId, to: Priority) {
        if !planted(Fault::AckKept) {
            self.acknowledge(id, 0);
        }
        self.update_filter(id);
        self.publish(id, InfoChange::Priority(to.0));
    }

    fn notice(&mut self, id: RouterId, notice: Notice) {
        if notice.is_interval() {
            self.interval_learned(id);
            self.publish_interval(id);
        }
        self.log_line(About::Router(id), LogLine::Notice(notice));
    }

    /// Writes a line that others can cause with what they send, unless there were too many like it.
    fn log_line(&mut self, about: About, line: LogLine) {
        if self.log_limit.admit(self.now, about, line) {
            self.write_line(about, line, "");
        }
    }

    /// Whether an operator ordered what a router does for this cause.
    fn is_ordered(&self, cause: Cause) -> bool {
        match cause {
            Cause::Fault(FaultCause::SteppedDown) => true,
            Cause::Fault(FaultCause::Member(member)) => self.has_stepped_down(member),
            Cause::Fault(_)
            | Cause::Startup
            | Cause::Adopted
            | Cause::NotAdopted(_)
            | Cause::Owner
            | Cause::MasterDown { .. }
            | Cause::MasterResigned(_)
            | Cause::Preempted { .. }
            | Cause::Yielded { .. }
            | Cause::Lost(_)
            | Cause::GroupMaster
            | Cause::GroupYielded(_)
            | Cause::Recovered
            | Cause::Shutdown
            | Cause::Removed => false,
        }
    }

    /// The same of what a sync group does: who steps down takes all members with it.
    fn is_group_ordered(&self, group: GroupId) -> bool {
        let members = self.engine.group_view(group).map(|(_, members, _)| members);
        members.into_iter().flatten().any(|member| self.has_stepped_down(member))
    }

    fn write_line(&self, about: About, line: LogLine, more: &str) {
        let whom = match about {
            About::Router(id) => self.router(id).label(),
            About::Group(id) => format!("sync group {}", self.tracking.group_name(id)),
        };
        match line {
            LogLine::Notice(notice) => {
                log::log!(level_of_notice(&notice), "{whom}: {notice}{more}");
            }
            LogLine::Transition(change, cause) => {
                let StateChange { from, to, .. } = change;
                let words = cause.map(|cause| format!(": {}", self.describe_cause(cause)));
                let words = words.unwrap_or_default();
                log::log!(level_of_transition(change), "{whom}: {from} -> {to}{words}{more}");
            }
        }
    }

    /// Lines in place of those that were not written, because there were too many of them.
    pub(super) fn log_suppressed(&mut self, now: Nanos) {
        for summary in self.log_limit.due(now) {
            self.write_line(summary.about, summary.last, &summary.others());
        }
        for (change, count) in self.log_limit.crowd(now) {
            let StateChange { from, to, .. } = change;
            log::log!(
                level_of_transition(change),
                "{count} more: {from} -> {to} (`vrrp-user events` and `vrrp-user status` have each)"
            );
        }
    }

    /// Lets metrics know how long the interval is by which a router goes.
    pub(super) fn publish_interval(&mut self, id: RouterId) {
        let Some(view) = self.engine.view(id) else { return };
        self.publish(id, InfoChange::Interval(centisecs(view.interval)));
    }
}

/// How much a change of state matters to an operator: addresses that were here and are lost because something is wrong are an
/// error, and what an operator ordered is none.
fn level_of_transition(change: StateChange) -> Level {
    match (change.is_ordered, change.from, change.to) {
        (true, ..) => Level::Info,
        (false, State::Master, State::Fault) => Level::Error,
        (false, State::Init | State::Backup | State::Fault, State::Fault) => Level::Warn,
        (
            false,
            State::Init | State::Backup | State::Master | State::Fault,
            State::Init | State::Backup | State::Master,
        ) => Level::Info,
    }
}

/// The same of a notice: most are signs of a mistake in a configuration, or of a forgery.
fn level_of_notice(notice: &Notice) -> Level {
    match notice {
        Notice::AddressConflict { .. } => Level::Error,
        Notice::AddressListMismatch(_)
        | Notice::AddressListOrder(_)
        | Notice::SecondOwner(_)
        | Notice::IntervalLong { .. }
        | Notice::IntervalBounded { .. }
        | Notice::IntervalOverBound { .. }
        | Notice::LowerPriority { .. }
        | Notice::AddressConflictOver { .. } => Level::Warn,
        Notice::NewMaster { .. }
        | Notice::IntervalLearned(_)
        | Notice::PriorityChanged { .. }
        | Notice::Preempting { .. } => Level::Info,
    }
}

#[cfg(test)]
mod level_tests {
    use std::net::IpAddr;

    use super::*;
    use crate::engine::types::Priority;

    #[test]
    fn what_an_operator_must_see_is_no_information() {
        let level = |from, to| {
            [false, true]
                .map(|is_ordered| level_of_transition(StateChange { from, to, is_ordered }))
        };
        assert_eq!(level(State::Master, State::Fault), [Level::Error, Level::Info]);
        assert_eq!(level(State::Backup, State::Fault), [Level::Warn, Level::Info]);
        assert_eq!(level(State::Fault, State::Backup), [Level::Info, Level::Info]);
        assert_eq!(level(State::Backup, State::Master), [Level::Info, Level::Info]);
        let address = IpAddr::from([10, 0, 0, 2]);
        let split = Notice::AddressConflict { address, mac: [2; 6] };
        assert_eq!(level_of_notice(&split), Level::Error);
        assert_eq!(level_of_notice(&Notice::SecondOwner(address)), Level::Warn);
        let new = Notice::NewMaster { master: address, priority: Priority(100) };
        assert_eq!(level_of_notice(&new), Level::Info);
    }
}
