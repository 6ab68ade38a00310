//! Deadlines: at most one per router and kind, and the earliest of all at hand.
//!
//! [`Deadlines`] belongs to one router and is what the state machine sets; [`TimerQueue`] orders the routers
//! by the earliest of theirs. The engine brings the queue up to date after each event, so that the state
//! machine knows nothing of it and the two cannot drift apart.

use super::time::Nanos;
use super::types::RouterId;

/// What a deadline is for. The order is the order of firing at the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Timer {
    /// As backup: `Active_Down_Timer`, the master has been silent for too long (RFC 9568 section 6.2).
    MasterDown,
    /// As master: `Adver_Timer`, the next advertisement is due (RFC 9568 section 6.2).
    #[strum(serialize = "advertisement")]
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
    pub fn name(self) -> &'static str {
        self.into()
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

/// The routers that wait for something, ordered by the earliest deadline of each.
///
/// Thousands of masters advertise at a few instants, and those of an instant go on to the next one together.
/// So the routers that came to wait for the same thing at the same instant one after the other share one entry
/// of a heap, as a ring: putting such a router off costs the same however many there are. Each entry of the
/// heap has four children, which share a cache line. Every router is there at most once, so that the queue
/// takes the same memory whatever happens.
#[derive(Debug, Default)]
pub struct TimerQueue {
    heap: Vec<Entry>,
    /// Where each router is, by its number.
    nodes: Vec<Node>,
    /// The last router that got an entry of its own: the next one often waits for the same.
    recent: Option<RouterId>,
}

/// Routers that wait for the same timer at the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: Nanos,
    timer: Timer,
    /// The one that waits longest.
    first: RouterId,
}

impl Entry {
    /// The order of firing.
    fn key(&self) -> (Nanos, Timer) {
        (self.at, self.timer)
    }
}

/// Where a router is in a [`TimerQueue`].
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Index of the entry whose first one it is, or [`BEHIND`], or [`NOWHERE`].
    entry: u32,
    /// Who came to wait before it: of the first one, the last.
    before: RouterId,
    /// Who came to wait after it: of the last one, the first.
    after: RouterId,
}

/// Children of an entry in the heap.
const CHILDREN: usize = 4;
/// In [`Node::entry`]: in no entry.
const NOWHERE: u32 = u32::MAX;
/// In [`Node::entry`]: in one that another router stands for.
const BEHIND: u32 = u32::MAX - 1;

impl TimerQueue {
    /// An empty queue for routers numbered below `routers`. Others make it grow.
    pub fn with_capacity(routers: usize) -> Self {
        let nodes = Vec::with_capacity(routers);
        Self { heap: Vec::with_capacity(routers), nodes, recent: None }
    }

    /// Takes over the earliest deadline of a router, `None` when it waits for nothing.
    pub fn set(&mut self, router: RouterId, first: Option<(Nanos, Timer)>) {
        for number in self.nodes.len()..=router.0 as usize {
            let itself = number_of(number);
            let alone = Node { entry: NOWHERE, before: itself, after: itself };
            self.nodes.push(alone);
        }
        match (self.node(router).entry, first) {
            (NOWHERE, None) => {}
            (NOWHERE, Some(first)) => self.insert(router, first),
            (BEHIND, first) => {
                self.unlink(router);
                if let Some(first) = first {
                    self.insert(router, first);
                }
            }
            (entry, first) => self.change(router, entry as usize, first),
        }
    }

    /// The earliest deadline, whose, and of which timer.
    pub fn earliest(&self) -> Option<(Nanos, RouterId, Timer)> {
        self.heap.first().map(|entry| (entry.at, entry.first, entry.timer))
    }

    /// Those whose deadline is the earliest one and who wait together, in the order in which they fire.
    pub fn together(&self) -> impl Iterator<Item = RouterId> {
        self.heap.first().into_iter().flat_map(|entry| self.ring(entry.first))
    }

    /// Whether such a timer is the next one of any router, and due.
    pub fn any_due(&self, now: Nanos, timer: Timer) -> bool {
        self.any_due_below(0, now, timer)
    }

    fn any_due_below(&self, index: usize, now: Nanos, timer: Timer) -> bool {
        // Below an entry that is not due nothing is.
        self.heap.get(index).is_some_and(|entry| {
            let children = CHILDREN * index + 1..=CHILDREN * index + CHILDREN;
            entry.at <= now
                && (entry.timer == timer
                    || children.into_iter().any(|child| self.any_due_below(child, now, timer)))
        })
    }

    /// The routers whose next timer is such a one, and due.
    pub fn due(&self, now: Nanos, timer: Timer) -> Vec<RouterId> {
        let (mut found, mut below) = (Vec::new(), vec![0]);
        while let Some(index) = below.pop() {
            let Some(entry) = self.heap.get(index).filter(|entry| entry.at <= now) else {
                continue;
            };
            below.extend(CHILDREN * index + 1..=CHILDREN * index + CHILDREN);
            if entry.timer == timer {
                found.extend(self.ring(entry.first));
            }
        }
        found
    }

    /// A router that stands for an entry, and those behind it.
    fn ring(&self, first: RouterId) -> impl Iterator<Item = RouterId> {
        let next =
            move |router: &RouterId| Some(self.node(*router).after).filter(|next| *next != first);
        std::iter::successors(Some(first), next)
    }

    /// Another deadline for the first router of an entry.
    fn change(&mut self, router: RouterId, index: usize, first: Option<(Nanos, Timer)>) {
        let heir = self.node(router).after;
        let key = self.heap[index].key();
        if heir != router {
            // The entry stays what it is, for those behind.
            if first != Some(key) {
                self.unlink(router);
                self.heap[index].first = heir;
                self.node_mut(heir).entry = number_of(index).0;
                if let Some(first) = first {
                    self.insert(router, first);
                }
            }
            return;
        }
        match first {
            Some(first) if self.companion(first).is_none_or(|other| other == router) => {
                let (at, timer) = first;
                self.heap[index] = Entry { at, timer, first: router };
                self.recent = Some(router);
                if first < key {
                    self.rise(index);
                } else {
                    self.sink(index);
                }
            }
            first => {
                self.heap.swap_remove(index);
                self.node_mut(router).entry = NOWHERE;
                // Whoever fills the gap comes from another branch: it may belong above or below.
                if index < self.heap.len() {
                    let index = self.rise(index);
                    self.sink(index);
                }
                if let Some(first) = first {
                    self.insert(router, first);
                }
            }
        }
    }

    /// Takes in a router that is in no entry.
    fn insert(&mut self, router: RouterId, first: (Nanos, Timer)) {
        if let Some(head) = self.companion(first) {
            let last = self.node(head).before;
            *self.node_mut(router) = Node { entry: BEHIND, before: last, after: head };
            self.node_mut(last).after = router;
            self.node_mut(head).before = router;
        } else {
            let (at, timer) = first;
            self.heap.push(Entry { at, timer, first: router });
            self.recent = Some(router);
            self.rise(self.heap.len() - 1);
        }
    }

    /// The first one of the entry that was made last, if that is the one for this deadline.
    fn companion(&self, first: (Nanos, Timer)) -> Option<RouterId> {
        let head = self.recent?;
        let place = self.nodes.get(head.0 as usize)?;
        let entry = self.heap.get(place.entry as usize)?;
        (entry.key() == first).then_some(head)
    }

    /// Takes a router out of the ring that it shares with others.
    fn unlink(&mut self, router: RouterId) {
        let Node { before, after, .. } = *self.node(router);
        self.node_mut(before).after = after;
        self.node_mut(after).before = before;
        *self.node_mut(router) = Node { entry: NOWHERE, before: router, after: router };
    }

    fn node(&self, router: RouterId) -> &Node {
        &self.nodes[router.0 as usize]
    }

    fn node_mut(&mut self, router: RouterId) -> &mut Node {
        &mut self.nodes[router.0 as usize]
    }

    /// Moves an entry towards the root until it is in order; returns where it ends.
    fn rise(&mut self, mut index: usize) -> usize {
        let entry = self.heap[index];
        while index > 0 {
            let parent = (index - 1) / CHILDREN;
            if self.heap[parent].key() <= entry.key() {
                break;
            }
            self.put(index, self.heap[parent]);
            index = parent;
        }
        self.put(index, entry);
        index
    }

    /// Moves an entry away from the root until it is in order.
    fn sink(&mut self, mut index: usize) {
        let entry = self.heap[index];
        loop {
            let first = (CHILDREN * index + 1).min(self.heap.len());
            let last = (first + CHILDREN).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|child| self.heap[*child].key()) else {
                break;
            };
            if self.heap[least].key() >= entry.key() {
                break;
            }
            self.put(index, self.heap[least]);
            index = least;
        }
        self.put(index, entry);
    }

    fn put(&mut self, index: usize, entry: Entry) {
        self.heap[index] = entry;
        self.node_mut(entry.first).entry = number_of(index).0;
    }

    /// Number of routers that wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.nodes.iter().filter(|place| place.entry != NOWHERE).count()
    }
}

/// Numbers of routers are u32, and nothing here is longer than there are routers.
#[allow(clippy::cast_possible_truncation, reason = "router numbers are u32")]
fn number_of(index: usize) -> RouterId {
    RouterId(index as u32)
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

    /// What each router in a queue waits for, provided that heap and rings are sound.
    fn contents(queue: &TimerQueue) -> BTreeMap<u32, (Nanos, Timer)> {
        let mut contents = BTreeMap::new();
        for (index, entry) in queue.heap.iter().enumerate() {
            assert!(index == 0 || queue.heap[(index - 1) / CHILDREN].key() <= entry.key());
            assert_eq!(queue.node(entry.first).entry as usize, index);
            let mut router = entry.first;
            loop {
                assert_eq!(contents.insert(router.0, entry.key()), None, "a ring never closes");
                let next = queue.node(router).after;
                assert_eq!(queue.node(next).before, router);
                if next == entry.first {
                    break;
                }
                assert_eq!(queue.node(next).entry, BEHIND);
                router = next;
            }
        }
        contents
    }

    proptest! {
        /// Whatever is set and unset, the queue agrees with a sorted map; and at one instant those that came
        /// one after the other fire in that order.
        #[test]
        fn the_queue_is_in_order(
            steps in proptest::collection::vec(
                (0u32..20, proptest::option::of((0u64..6, proptest::sample::select(&Timer::ALL[..2])))),
                1..300,
            ),
            now in 0u64..6,
        ) {
            let (mut queue, mut model) = (TimerQueue::with_capacity(10), BTreeMap::new());
            for (router, first) in steps {
                let first = first.map(|(at, timer)| (Nanos(at), timer));
                queue.set(RouterId(router), first);
                match first {
                    Some(first) => model.insert(router, first),
                    None => model.remove(&router),
                };
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(
                    queue.earliest().map(|(at, _, timer)| (at, timer)),
                    model.values().min().copied()
                );
                if let Some((at, router, timer)) = queue.earliest() {
                    prop_assert_eq!(model.get(&router.0), Some(&(at, timer)));
                }
                prop_assert_eq!(contents(&queue), model.clone());
            }
            for wanted in Timer::ALL {
                let due = model.values().any(|(at, timer)| *at <= Nanos(now) && *timer == wanted);
                prop_assert_eq!(queue.any_due(Nanos(now), wanted), due);
            }
            while let Some((at, router, timer)) = queue.earliest() {
                prop_assert_eq!(model.remove(&router.0), Some((at, timer)));
                prop_assert!(model.values().all(|later| *later >= (at, timer)));
                queue.set(router, None);
            }
            prop_assert!(model.is_empty());
        }
    }

    #[test]
    fn those_of_an_instant_go_on_together_and_in_order() {
        let mut queue = TimerQueue::default();
        let at = |secs| Some((Nanos::from_secs(secs), Timer::Advert));
        for router in 0..100 {
            queue.set(RouterId(router), at(1));
        }
        for round in 2..5 {
            for router in 0..100 {
                assert_eq!(queue.earliest().map(|(_, router, _)| router), Some(RouterId(router)));
                queue.set(RouterId(router), at(round));
            }
            assert_eq!(queue.heap.len(), 1);
            assert_eq!(
                queue.together().collect::<Vec<_>>(),
                (0..100).map(RouterId).collect::<Vec<_>>()
            );
        }
        // One that leaves from the middle, the first, and the last.
        for router in [50, 0, 99] {
            queue.set(RouterId(router), at(9));
        }
        assert_eq!((queue.heap.len(), queue.len()), (2, 100));
        assert_eq!(queue.earliest().map(|(_, router, _)| router), Some(RouterId(1)));
    }
}
