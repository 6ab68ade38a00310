//! What the service manager is notified (sd_notify(3)): that we are ready, what the routers do, and that the loop turns.
//!
//! Nobody is woken for it but by the watchdog, twice in its interval, and only where it is asked for. What finds no room on
//! its way is notified later, as far as it matters by then.

use super::effect::{Effect, ManagerMessage, StateCounts};
use super::{Core, Counter};
use crate::engine::time::Nanos;

/// A status is notified at most once in this time.
const STATUS_PERIOD: Nanos = Nanos::from_secs(1);

/// A service manager that listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// How soon it ends a daemon of which it hears nothing, if it does.
    pub watchdog: Option<Nanos>,
}

/// What is to be notified.
#[derive(Debug, Default)]
pub struct Manager {
    /// Whether anybody listens.
    listens: bool,
    /// Half of the watchdog's interval, and when it is over.
    watchdog: Option<(Nanos, Nanos)>,
    /// When states were notified last, and which, unless that has found no room.
    notified: Option<(Nanos, Option<StateCounts>)>,
    /// They may have changed since.
    stale: bool,
    /// That we are ready has found no room.
    ready: bool,
}

impl Manager {
    pub fn new(now: Nanos, listener: Option<Listener>) -> Self {
        let half = listener.and_then(|listener| listener.watchdog).map(|all| Nanos(all.0 / 2));
        let watchdog = half.filter(|half| half.0 > 0).map(|half| (half, now + half));
        Self { listens: listener.is_some(), watchdog, ..Self::default() }
    }

    /// A router changed its state.
    pub fn changed(&mut self) {
        self.stale = true;
    }

    /// When the watchdog wants to hear of us next.
    pub fn next(&self) -> Option<Nanos> {
        self.watchdog.map(|(_, at)| at)
    }

    fn watchdog_is_due(&mut self, now: Nanos) -> bool {
        let Some((half, _)) = self.watchdog.filter(|(_, at)| *at <= now) else { return false };
        self.watchdog = Some((half, now + half));
        true
    }

    fn status_is_due(&self, now: Nanos) -> bool {
        self.listens && self.stale && self.notified.is_none_or(|(at, _)| at + STATUS_PERIOD <= now)
    }

    fn status(&mut self, now: Nanos, counts: StateCounts) -> Option<ManagerMessage> {
        self.stale = false;
        if std::mem::take(&mut self.ready) {
            return Some(self.ready(now, counts));
        }
        let before = self.notified.replace((now, Some(counts)));
        let news = before.is_none_or(|(_, notified)| notified != Some(counts));
        news.then_some(ManagerMessage::Status(counts))
    }

    fn ready(&mut self, now: Nanos, counts: StateCounts) -> ManagerMessage {
        (self.notified, self.stale) = (Some((now, Some(counts))), false);
        ManagerMessage::Ready(counts)
    }

    /// That has found no room. Whether it was to be notified.
    fn not_delivered(&mut self, notified: ManagerMessage) -> bool {
        match notified {
            _ if !self.listens => return false,
            ManagerMessage::Ready(_) => self.ready = true,
            ManagerMessage::Status(_) => {}
            ManagerMessage::Reloading | ManagerMessage::Stopping | ManagerMessage::Watchdog => {
                return true;
            }
        }
        self.stale = true;
        self.notified = self.notified.map(|(at, _)| (at, None));
        true
    }
}

impl Core {
    /// Tells the service manager something, if one listens.
    pub(super) fn notify_manager(&mut self, notified: ManagerMessage) {
        if self.manager.listens {
            self.effects.push_back(Effect::NotifyManager(notified));
        }
    }

    /// All routers were looked at.
    pub(super) fn notify_ready(&mut self) {
        if self.manager.listens {
            let counts = self.counts();
            let ready = self.manager.ready(self.now, counts);
            self.notify_manager(ready);
        }
    }

    /// In each turn of the loop.
    pub(super) fn beat(&mut self, now: Nanos) {
        if self.manager.watchdog_is_due(now) {
            self.notify_manager(ManagerMessage::Watchdog);
        }
        if self.manager.status_is_due(now) {
            let counts = self.counts();
            if let Some(notified) = self.manager.status(now, counts) {
                self.notify_manager(notified);
            }
        }
    }

    pub(super) fn not_delivered(&mut self, notified: ManagerMessage) {
        if !self.manager.not_delivered(notified) {
            self.count(Counter::UnexpectedAnswer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = Nanos::from_secs(1);

    fn counts(master: usize, backup: usize) -> StateCounts {
        StateCounts { master, backup, ..StateCounts::default() }
    }

    fn manager() -> Manager {
        let mut manager = Manager::new(SECOND, Some(Listener::default()));
        assert_eq!(manager.ready(SECOND, counts(0, 2)), ManagerMessage::Ready(counts(0, 2)));
        manager
    }

    #[test]
    fn nobody_listens_and_nothing_is_done() {
        let mut manager = Manager::new(SECOND, None);
        manager.changed();
        assert!(!manager.status_is_due(SECOND) && !manager.watchdog_is_due(SECOND.times(99)));
        assert_eq!(manager.next(), None);
        assert!(!manager.not_delivered(ManagerMessage::Watchdog));
    }

    #[test]
    fn a_status_comes_at_most_once_a_second_and_wakes_nobody() {
        let mut manager = manager();
        assert!(!manager.status_is_due(SECOND.times(3)), "nothing has changed");
        manager.changed();
        assert!(!manager.status_is_due(SECOND + Nanos(1)), "too early");
        assert_eq!(manager.next(), None);
        assert!(manager.status_is_due(SECOND.times(2)));
        let status = Some(ManagerMessage::Status(counts(1, 1)));
        assert_eq!(manager.status(SECOND.times(2), counts(1, 1)), status);
        assert!(!manager.status_is_due(SECOND.times(5)));
        // It changed back.
        manager.changed();
        assert_eq!(manager.status(SECOND.times(6), counts(1, 1)), None);
    }

    #[test]
    fn the_watchdog_is_told_at_half_its_interval() {
        let listener = Listener { watchdog: Some(SECOND.times(2)) };
        let mut manager = Manager::new(SECOND, Some(listener));
        assert_eq!(manager.next(), Some(SECOND.times(2)));
        assert!(!manager.watchdog_is_due(Nanos(1_999_999_999)));
        assert!(manager.watchdog_is_due(SECOND.times(7)));
        assert_eq!(manager.next(), Some(SECOND.times(8)));
    }

    #[test]
    fn what_finds_no_room_is_told_later() {
        let mut manager = manager();
        manager.changed();
        let status = Some(ManagerMessage::Status(counts(1, 1)));
        assert_eq!(manager.status(SECOND.times(2), counts(1, 1)), status);
        manager.not_delivered(ManagerMessage::Status(counts(1, 1)));
        assert!(!manager.status_is_due(SECOND.times(2)) && manager.status_is_due(SECOND.times(3)));
        assert_eq!(manager.status(SECOND.times(3), counts(1, 1)), status);
        // Whoever waits for us must not do so for ever.
        manager.not_delivered(ManagerMessage::Ready(counts(1, 1)));
        let ready = Some(ManagerMessage::Ready(counts(2, 0)));
        assert_eq!(manager.status(SECOND.times(4), counts(2, 0)), ready);
        manager.not_delivered(ManagerMessage::Watchdog);
        assert!(!manager.status_is_due(SECOND.times(9)));
    }
}
