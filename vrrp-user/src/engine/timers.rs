//! Deadlines: at most one per router and kind, and the earliest of all at hand.
//!
//! [`Deadlines`] belongs to one router and is what the state machine sets; [`Queue`] orders the routers
//! by the earliest of theirs. The engine brings the queue up to date after each event, so that the state
//! machine knows nothing of it and the two cannot drift apart.

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

    /// A short name that never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MasterDown => "master-down",
            Self::Advert => "advertisement",
            Self::GarpDelayed => "garp-delayed",
            Self::GarpRefresh => "garp-refresh",
            Self::GarpLowerPrio => "garp-lower-prio",
        }
    }
}

/// The deadlines of one router; the end of time stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines([Nanos; Timer::ALL.len()]);

impl Default for Deadlines {
    fn default() -> Self {
        Self([Nanos::MAX; Timer::ALL.len()])
    }
}

impl Deadlines {
    /// Sets a timer, replacing its former deadline.
    pub fn set(&mut self, timer: Timer, at: Nanos) {
        self.0[timer as usize] = at;
    }

    /// Stops a timer.
    pub fn cancel(&mut self, timer: Timer) {
        self.0[timer as usize] = Nanos::MAX;
    }

    /// Stops all timers.
    pub fn cancel_all(&mut self) {
        *self = Self::default();
    }

    /// When a timer fires, if it is set.
    pub fn get(&self, timer: Timer) -> Option<Nanos> {
        Some(self.0[timer as usize]).filter(|at| *at != Nanos::MAX)
    }

    /// The timer that fires first, and when.
    pub fn first(&self) -> Option<(Nanos, Timer)> {
        let mut first = (Nanos::MAX, Timer::MasterDown);
        for timer in Timer::ALL {
            let at = self.0[timer as usize];
            if at < first.0 {
                first = (at, timer);
            }
        }
        (first.0 != Nanos::MAX).then_some(first)
    }
}

/// The routers that wait for something, ordered by the earliest deadline of each: a heap in which every router
/// stands at most once, so that it takes the same memory whatever happens. Each entry has four children, which
/// share a cache line: thousands of masters move an entry to the bottom for each of their advertisements.
#[derive(Debug, Default)]
pub struct Queue {
    heap: Vec<(Nanos, RouterId)>,
    /// Where each router stands in `heap`, by its number.
    places: Vec<u32>,
}

/// Children of an entry in the heap.
const CHILDREN: usize = 4;
/// In [`Queue::places`]: nowhere.
const NOWHERE: u32 = u32::MAX;

impl Queue {
    /// An empty queue for routers numbered below `routers`. Others make it grow.
    pub fn with_capacity(routers: usize) -> Self {
        Self { heap: Vec::with_capacity(routers), places: vec![NOWHERE; routers] }
    }

    /// Takes over the earliest deadline of a router, `None` when it waits for nothing.
    pub fn set(&mut self, router: RouterId, at: Option<Nanos>) {
        let number = router.0 as usize;
        if number >= self.places.len() {
            self.places.resize(number + 1, NOWHERE);
        }
        let place = self.places[number] as usize;
        match (self.heap.get(place).copied(), at) {
            (None, None) => {}
            (None, Some(at)) => {
                self.heap.push((at, router));
                self.rise(self.heap.len() - 1);
            }
            (Some((before, _)), Some(at)) => {
                self.heap[place].0 = at;
                if at < before {
                    self.rise(place);
                } else {
                    self.sink(place);
                }
            }
            (Some(_), None) => {
                self.heap.swap_remove(place);
                self.places[number] = NOWHERE;
                // Whoever fills the gap comes from another branch: it may belong above or below.
                if place < self.heap.len() {
                    let place = self.rise(place);
                    self.sink(place);
                }
            }
        }
    }

    /// The earliest deadline, and whose.
    pub fn earliest(&self) -> Option<(Nanos, RouterId)> {
        self.heap.first().copied()
    }

    /// Whether `wanted` holds for any of the routers whose earliest deadline has come.
    pub fn any_due(&self, now: Nanos, wanted: impl Fn(RouterId) -> bool) -> bool {
        self.any_due_below(0, now, &wanted)
    }

    fn any_due_below(&self, place: usize, now: Nanos, wanted: &impl Fn(RouterId) -> bool) -> bool {
        // Below an entry that is not due nothing is.
        self.heap.get(place).is_some_and(|&(at, router)| {
            let children = CHILDREN * place + 1..=CHILDREN * place + CHILDREN;
            at <= now
                && (wanted(router)
                    || children.into_iter().any(|child| self.any_due_below(child, now, wanted)))
        })
    }

    /// Moves an entry towards the root until it is in order; returns where it ends.
    fn rise(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
        place
    }

    /// Moves an entry away from the root until it is in order.
    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = (CHILDREN * place + 1).min(self.heap.len());
            let last = (first + CHILDREN).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|child| self.heap[*child]) else { break };
            if self.heap[least] >= entry {
                break;
            }
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, entry);
    }

    #[allow(clippy::cast_possible_truncation, reason = "router numbers are u32")]
    fn put(&mut self, place: usize, entry: (Nanos, RouterId)) {
        self.heap[place] = entry;
        self.places[entry.1.0 as usize] = place as u32;
    }

    /// Number of routers that wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_index_their_deadlines() {
        let mut deadlines = Deadlines::default();
        for (position, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, position);
            assert_eq!(deadlines.get(timer), None);
            deadlines.set(timer, Nanos(position as u64 + 7));
        }
        for (position, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(deadlines.get(timer), Some(Nanos(position as u64 + 7)));
        }
        deadlines.cancel_all();
        assert_eq!(deadlines, Deadlines::default());
    }

    #[test]
    fn the_first_timer_is_the_earliest_and_at_one_instant_the_first_kind() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.first(), None);
        deadlines.set(Timer::GarpRefresh, Nanos(20));
        deadlines.set(Timer::Advert, Nanos(30));
        assert_eq!(deadlines.first(), Some((Nanos(20), Timer::GarpRefresh)));
        deadlines.set(Timer::Advert, Nanos(20));
        assert_eq!(deadlines.first(), Some((Nanos(20), Timer::Advert)));
        deadlines.cancel(Timer::Advert);
        assert_eq!(deadlines.first(), Some((Nanos(20), Timer::GarpRefresh)));
    }

    proptest! {
        /// Whatever is set and unset, the queue agrees with a sorted map.
        #[test]
        fn the_queue_is_in_order(
            steps in proptest::collection::vec((0u32..20, proptest::option::of(0u64..50)), 1..300),
            now in 0u64..50,
        ) {
            let (mut queue, mut model) = (Queue::with_capacity(10), BTreeMap::new());
            for (router, at) in steps {
                queue.set(RouterId(router), at.map(Nanos));
                match at {
                    Some(at) => model.insert(router, at),
                    None => model.remove(&router),
                };
                let first = model.iter().map(|(router, at)| (Nanos(*at), RouterId(*router))).min();
                prop_assert_eq!((queue.len(), queue.earliest()), (model.len(), first));
            }
            for (router, at) in &model {
                let due = queue.any_due(Nanos(now), |candidate| candidate == RouterId(*router));
                prop_assert_eq!(due, *at <= now);
            }
            while let Some((at, router)) = queue.earliest() {
                prop_assert_eq!(model.remove(&router.0), Some(at.0));
                prop_assert!(model.values().all(|later| *later >= at.0));
                queue.set(router, None);
            }
            prop_assert!(model.is_empty());
        }
    }
}
