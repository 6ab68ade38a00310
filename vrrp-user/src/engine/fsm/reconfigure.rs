//! A router goes on with other settings. It keeps its state, and a timer that runs goes on as if the new settings
//! had held when it was set; only what the new ones forbid is changed.
//!
//! As in keepalived, a master stays master and says what is new in its next advertisement, and a backup is
//! patient: never does it take over because of a change alone, unless it now owns the addresses.

use std::collections::VecDeque;

use super::{
    Action, Cause, Nanos, Priority, RouterSpec, Senders, Timer, Version, VirtualRouter, Waiting,
};
use crate::engine::election::{interval_duration, skew};
use crate::engine::track::TrackResult;

impl VirtualRouter {
    /// In a state without timers.
    pub(super) fn reconfigure_idle(&mut self, spec: &RouterSpec) {
        self.replace(spec);
        self.active = self.spec.interval;
    }

    /// As backup.
    pub(super) fn reconfigure_backup(
        &mut self,
        now: Nanos,
        spec: &RouterSpec,
        out: &mut VecDeque<Action>,
    ) {
        let (delay, before) = (self.preempt_delay(), self.priority);
        let old = self.replace(spec);
        let delayed = now < self.starts_at();
        if self.is_owner()
            && old.priority != Priority::OWNER
            && self.spec.group.is_none()
            && !delayed
        {
            // RFC 9568 section 6.4.1, as at start-up.
            return self.become_master(now, Cause::Owner, out);
        }
        // What is left of `preempt_delay` is what is left of the new one.
        self.preempt_at = self.preempt_at.map(|at| at - delay + self.preempt_delay());
        if !self.preempts() {
            self.preempt_at = None;
        }
        // In version 3 the master's interval counts, and that has not changed.
        let follows_master = self.spec.interval.version() == Version::V3 && self.master.is_some();
        let other_version = self.spec.interval.version() != old.interval.version();
        if other_version || !follows_master && self.active != self.spec.interval {
            // Nobody was listened to on these terms yet.
            self.active = self.spec.interval;
            self.last_seen = self.last_seen.max(now);
            self.waiting = Waiting::Silence;
            self.preempt_at = None;
            if other_version {
                self.master = None;
            }
            return self.arm(Timer::MasterDown, self.last_seen, self.master_down_interval());
        }
        // An owner waits for the startup delay alone, everybody else listens after it.
        let owned = delayed && old.priority == Priority::OWNER && !self.is_owner();
        let other_wait = self.believe_less() || old.down_adverts != self.spec.down_adverts || owned;
        if other_wait && matches!(self.waiting, Waiting::Silence) {
            return self.arm(Timer::MasterDown, self.last_seen, self.master_down_interval());
        }
        match self.waiting {
            Waiting::Preempting(interval)
                if self.master.is_none_or(|(_, theirs)| !self.should_preempt(theirs)) =>
            {
                self.preempt_at = None;
                self.listen_again(now, interval, out);
            }
            // Whatever is waited for, the skew is what depends on the priority.
            Waiting::Silence | Waiting::Resigned(_) | Waiting::Preempting(_) => {
                if let Some(at) = self.deadlines.get(Timer::MasterDown) {
                    let before = skew(before, self.active);
                    let after = skew(self.priority, self.active);
                    self.deadlines.set(Timer::MasterDown, at + after - before);
                }
            }
        }
    }

    /// What was learned of the master may be more than is believed now. Whether it is.
    fn believe_less(&mut self) -> bool {
        let Some((master, _)) = self.master else { return false };
        let theirs = self.active;
        self.active = self.believed(master, theirs);
        if self.active != theirs {
            self.reported().disbelieved = Some((master, theirs));
        }
        self.active != theirs
    }

    /// As master.
    pub(super) fn reconfigure_master(&mut self, now: Nanos, spec: &RouterSpec) {
        let old = self.replace(spec);
        self.active = self.spec.interval;
        if interval_duration(self.spec.interval) < interval_duration(old.interval) {
            // Spread over the interval, because thousands may have changed at this instant.
            self.shorten_deadline(Timer::Advert, now, self.second_advert(now) - now);
        }
        let garp = self.spec.garp;
        self.shorten_deadline(Timer::GarpDelayed, now, garp.master_delay);
        self.shorten_deadline(Timer::GarpLowerPrio, now, garp.lower_prio_delay);
        if self.deadlines.get(Timer::GarpRefresh).is_some() {
            self.shorten_deadline(Timer::GarpRefresh, now, garp.refresh);
        } else {
            self.arm(Timer::GarpRefresh, now, garp.refresh);
        }
    }

    /// Applies the specification; returns the old one.
    fn replace(&mut self, spec: &RouterSpec) -> RouterSpec {
        let mut old = std::mem::replace(&mut self.spec, spec.clone());
        if old.addresses == spec.addresses {
            // As long as they are the same, they stay where they are: thousands of new ones would lie among what a reload
            // needs for a short time, of which no page could be given back.
            std::mem::swap(&mut old.addresses, &mut self.spec.addresses);
        }
        // What it tracks counts as before.
        let delta = i32::from(self.priority.0) - i32::from(old.priority.0);
        self.priority = TrackResult { delta, ..TrackResult::default() }.priority(spec.priority);
        if old.addresses != self.spec.addresses
            && let Some(reported) = &mut self.reported
        {
            // Whoever differs from the new list, too, is reported once more.
            reported.mismatched = Senders::default();
        }
        old
    }

    /// A timer that runs fires no later than `duration` from now; a zero duration stops it.
    fn shorten_deadline(&mut self, timer: Timer, now: Nanos, duration: Nanos) {
        if let Some(at) = self.deadlines.get(timer) {
            if duration == Nanos::ZERO {
                self.deadlines.cancel(timer);
            } else {
                self.deadlines.set(timer, at.min(now + duration));
            }
        }
    }
}
