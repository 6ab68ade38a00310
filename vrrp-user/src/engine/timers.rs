//! Deadlines: at most one per router and kind, and the earliest of all at hand.
//!
//! [`Deadlines`] belongs to one router and is what the state machine sets; [`Queue`] orders the
//! deadlines of all routers. The engine brings the queue up to date after each event, so that the state
//! machine knows nothing of it and the two cannot drift apart.

use std::collections::BTreeSet;

use super::time::Nanos;
use super::types::RouterId;

/// What a deadline is for. The order is the order of firing at the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// As backup: `Active_Down_Timer`, the master has been silent for too long (RFC 9568 section 6.2).
    MasterDown,
    /// As master: `Adver_Timer`, the next advertisement is due (RFC 9568 section 6.2).
    Advert,
    /// As master: the second group of gratuitous ARP after the transition.
    GarpDelayed,
    /// As master: the periodic repetition of gratuitous ARP.
    GarpRefresh,
    /// As master: the second group of gratuitous ARP after another router claimed to be master.
    GarpLowerPrio,
}

impl Timer {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::MasterDown, Self::Advert, Self::GarpDelayed, Self::GarpRefresh, Self::GarpLowerPrio];
}

/// The deadlines of one router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines([Option<Nanos>; Timer::ALL.len()]);

impl Deadlines {
    /// Sets a timer, replacing its former deadline.
    pub fn set(&mut self, timer: Timer, at: Nanos) {
        self.0[timer as usize] = Some(at);
    }

    /// Stops a timer.
    pub fn cancel(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    /// Stops all timers.
    pub fn cancel_all(&mut self) {
        *self = Self::default();
    }

    /// When a timer fires, if it is set.
    pub fn get(&self, timer: Timer) -> Option<Nanos> {
        self.0[timer as usize]
    }
}

/// The deadlines of all routers, earliest first.
#[derive(Debug, Default)]
pub struct Queue(BTreeSet<(Nanos, RouterId, Timer)>);

impl Queue {
    /// Takes over what an event changed in one router's deadlines.
    pub fn update(&mut self, router: RouterId, before: &Deadlines, after: &Deadlines) {
        for timer in Timer::ALL {
            let (old, new) = (before.get(timer), after.get(timer));
            if old == new {
                continue;
            }
            if let Some(at) = old {
                self.0.remove(&(at, router, timer));
            }
            if let Some(at) = new {
                self.0.insert((at, router, timer));
            }
        }
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<Nanos> {
        self.0.first().map(|&(at, ..)| at)
    }

    /// Everything due at `now`, in order. It stays in the queue until [`Self::update`].
    pub fn due(&self, now: Nanos) -> impl Iterator<Item = (Nanos, RouterId, Timer)> + '_ {
        self.0.iter().take_while(move |&&(at, ..)| at <= now).copied()
    }

    /// Number of deadlines set.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_follows_the_deadlines() {
        let (mut queue, mut before) = (Queue::default(), Deadlines::default());
        let (a, b) = (RouterId(1), RouterId(2));
        let mut after = before;
        after.set(Timer::Advert, Nanos(30));
        after.set(Timer::GarpRefresh, Nanos(20));
        queue.update(a, &before, &after);
        queue.update(b, &before, &after);
        assert_eq!((queue.len(), queue.earliest()), (4, Some(Nanos(20))));

        before = after;
        after.cancel(Timer::GarpRefresh);
        after.set(Timer::Advert, Nanos(40));
        queue.update(a, &before, &after);
        assert_eq!(
            queue.due(Nanos(39)).collect::<Vec<_>>(),
            [(Nanos(20), b, Timer::GarpRefresh), (Nanos(30), b, Timer::Advert)]
        );
        assert_eq!(queue.len(), 3, "looking does not take away");
    }

    #[test]
    fn kinds_index_their_deadlines() {
        let mut deadlines = Deadlines::default();
        for (position, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, position);
            deadlines.set(timer, Nanos(position as u64));
        }
        for (position, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(deadlines.get(timer), Some(Nanos(position as u64)));
        }
        deadlines.cancel_all();
        assert_eq!(deadlines, Deadlines::default());
    }
}
