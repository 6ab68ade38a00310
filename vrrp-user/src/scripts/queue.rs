//! What waits to be run, and what may run now. Pure.
//!
//! A key is what never runs twice at once: a router, a group, a check. Jobs of one key run in the order in which they
//! came, and a job that is overtaken by a later one of the same topic is left out.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// What a job belongs to, when places are handed out: neither kind can take them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What tells others.
    Notification,
    /// What finds out something.
    Check,
}

/// What waits for one key.
struct Slot<T, J> {
    kind: Kind,
    running: bool,
    /// It is in the line of those that may run.
    waiting: bool,
    pending: VecDeque<(T, J)>,
}

/// The jobs of all keys.
pub struct Queues<K, T, J> {
    slots: HashMap<K, Slot<T, J>>,
    lines: [VecDeque<K>; 2],
    running: [usize; 2],
    limit: usize,
    shared: bool,
}

impl<K: Clone + Eq + Hash, T: Eq, J> Queues<K, T, J> {
    /// With this many places, at least one.
    pub fn new(limit: usize) -> Self {
        Self {
            slots: HashMap::new(),
            lines: Default::default(),
            running: [0; 2],
            limit: limit.max(1),
            shared: true,
        }
    }

    /// From now on with this many places.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// From now on there is one kind only, which gets all places.
    pub fn unshare(&mut self) {
        self.shared = false;
    }

    /// Adds a job. Returns the one of the same topic that it replaces.
    pub fn push(&mut self, kind: Kind, key: K, topic: T, job: J) -> Option<J> {
        let slot = self.slots.entry(key.clone()).or_insert_with(|| Slot {
            kind,
            running: false,
            waiting: false,
            pending: VecDeque::new(),
        });
        let overtaken = slot.pending.iter().position(|(known, _)| *known == topic);
        let overtaken = overtaken.and_then(|place| slot.pending.remove(place));
        slot.pending.push_back((topic, job));
        if !slot.running && !slot.waiting {
            slot.waiting = true;
            self.lines[slot.kind as usize].push_back(key);
        }
        overtaken.map(|(_, job)| job)
    }

    /// The next job that may run now; it does until [`Self::done`].
    pub fn next(&mut self) -> Option<(K, J)> {
        [Kind::Check, Kind::Notification].into_iter().find_map(|kind| self.next_of(kind))
    }

    fn next_of(&mut self, kind: Kind) -> Option<(K, J)> {
        let all: usize = self.running.iter().sum();
        let share = if self.shared { (self.limit * 3 / 4).max(1) } else { self.limit };
        if all >= self.limit || self.running[kind as usize] >= share {
            return None;
        }
        let key = self.lines[kind as usize].pop_front()?;
        let slot = self.slots.get_mut(&key)?;
        let (_, job) = slot.pending.pop_front()?;
        (slot.waiting, slot.running) = (false, true);
        self.running[kind as usize] += 1;
        Some((key, job))
    }

    /// The job of this key has ended.
    pub fn done(&mut self, key: &K) {
        let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.running) else { return };
        slot.running = false;
        self.running[slot.kind as usize] -= 1;
        if slot.pending.is_empty() {
            self.slots.remove(key);
        } else {
            slot.waiting = true;
            self.lines[slot.kind as usize].push_back(key.clone());
        }
    }

    /// Whether a job of this key runs or waits.
    pub fn is_busy(&self, key: &K) -> bool {
        self.slots.contains_key(key)
    }

    /// What waits, in the order in which the jobs of each key would run.
    pub fn waiting(&self) -> impl Iterator<Item = (&K, &J)> {
        let slots = self.slots.iter();
        slots.flat_map(|(key, slot)| slot.pending.iter().map(move |(_, job)| (key, job)))
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.running.iter().sum()
    }

    /// Forgets what waits for keys that are not wanted any more. Returns how many jobs that were.
    pub fn retain(&mut self, wanted: impl Fn(&K) -> bool) -> usize {
        let mut dropped = 0;
        for (key, slot) in &mut self.slots {
            if !wanted(key) {
                dropped += slot.pending.len();
                slot.pending.clear();
                slot.waiting = false;
            }
        }
        for line in &mut self.lines {
            line.retain(|key| self.slots.get(key).is_some_and(|slot| slot.waiting));
        }
        self.slots.retain(|_, slot| slot.running || slot.waiting);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Test = Queues<u8, u8, u32>;

    #[test]
    fn the_latest_wins_and_the_order_stays() {
        let mut queues = Test::new(4);
        assert_eq!(queues.push(Kind::Notification, 1, 0, 10), None);
        assert_eq!(queues.next(), Some((1, 10)));
        assert_eq!(queues.push(Kind::Notification, 1, 0, 11), None);
        assert_eq!(queues.push(Kind::Notification, 1, 1, 12), None);
        assert_eq!(queues.push(Kind::Notification, 1, 0, 13), Some(11));
        assert_eq!(queues.next(), None, "one at a time");
        queues.done(&1);
        assert_eq!(queues.next(), Some((1, 12)));
        queues.done(&1);
        assert_eq!(queues.next(), Some((1, 13)));
        queues.done(&1);
        assert!(queues.is_empty() && queues.next().is_none());
    }

    #[test]
    fn neither_kind_takes_all_places() {
        for (flood, other) in [(Kind::Notification, Kind::Check), (Kind::Check, Kind::Notification)]
        {
            let mut queues = Test::new(16);
            for key in 0..100 {
                queues.push(flood, key, 0, 0);
            }
            let mut running = 0;
            while queues.next().is_some() {
                running += 1;
            }
            assert_eq!(running, 12);
            queues.push(other, 200, 0, 1);
            assert_eq!(queues.next(), Some((200, 1)));
        }
        let mut one = Test::new(1);
        one.push(Kind::Check, 1, 0, 0);
        one.push(Kind::Notification, 2, 0, 0);
        assert!(one.next().is_some() && one.next().is_none());
    }

    #[test]
    fn what_is_not_wanted_any_more_is_forgotten() {
        let mut queues = Test::new(1);
        for key in 1..=3 {
            queues.push(Kind::Notification, key, 0, 0);
            queues.push(Kind::Notification, key, 1, 0);
        }
        assert_eq!(queues.next(), Some((1, 0)));
        assert_eq!(queues.retain(|key| *key == 3), 3);
        queues.done(&1);
        assert_eq!(queues.next(), Some((3, 0)));
        queues.done(&3);
        assert_eq!(queues.next(), Some((3, 0)));
        queues.done(&3);
        assert!(queues.is_empty());
    }

    proptest! {
        /// Whatever comes and ends when: never two of a key, never more than there are places, the jobs of a key in
        /// their order, and the last one of each topic always.
        #[test]
        fn order_bounds_and_last_words(
            limit in 1usize..6,
            steps in proptest::collection::vec((0u8..8, 0u8..3, any::<bool>()), 1..300),
        ) {
            let mut queues = Test::new(limit);
            let mut running = BTreeSet::new();
            let mut ran: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            let mut last: BTreeMap<(u8, u8), u32> = BTreeMap::new();
            let mut replaced = BTreeSet::new();
            let kind = |key: u8| if key < 4 { Kind::Check } else { Kind::Notification };
            let mut start = |queues: &mut Test, running: &mut BTreeSet<u8>| {
                while let Some((key, job)) = queues.next() {
                    assert!(running.insert(key), "two of {key} at once");
                    ran.entry(key).or_default().push(job);
                }
                assert!(running.len() <= limit && running.len() == queues.running());
            };
            for (number, (key, topic, end)) in (0u32..).zip(&steps) {
                if *end {
                    if let Some(key) = running.pop_first() {
                        queues.done(&key);
                    }
                } else {
                    replaced.extend(queues.push(kind(*key), *key, *topic, number));
                    last.insert((*key, *topic), number);
                }
                start(&mut queues, &mut running);
            }
            while let Some(key) = running.pop_first() {
                queues.done(&key);
                start(&mut queues, &mut running);
            }
            prop_assert!(queues.is_empty());
            for jobs in ran.values() {
                prop_assert!(jobs.is_sorted());
                prop_assert!(jobs.iter().all(|job| !replaced.contains(job)));
            }
            for ((key, _), job) in last {
                prop_assert!(ran.get(&key).is_some_and(|jobs| jobs.contains(&job)));
            }
            let pushed = steps.iter().filter(|(_, _, end)| !end).count();
            prop_assert_eq!(ran.values().map(Vec::len).sum::<usize>() + replaced.len(), pushed);
        }
    }
}
