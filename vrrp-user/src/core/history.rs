//! What happened to the routers, and to what they track: one ring of fixed size for all of them, from which
//! `status NAME` and `events` take what they show.
//!
//! A router that flaps would push out what happened to all others. Therefore no router has more than
//! [`PER_ROUTER`] entries of a kind: beyond that it loses its own oldest one instead. That is a search through
//! the ring, some microseconds, but only for a router that has so many entries, and then the kernel is asked to
//! move addresses for it as well. And what the engine knows anyway cannot be pushed out at all: the last
//! transition of every router is its state. A tracked object has at most as many entries, and no more of them in a
//! minute: a script that flaps is one, a router that has no peace because of it another.

use std::collections::VecDeque;

use crate::api::history::{Cursor, Entry, EventKind, EventSource};
use crate::engine::time::Nanos;
use crate::engine::types::{ObjectId, RouterId};

/// Entries for all routers together, at least.
pub const CAPACITY: usize = 4096;
/// And for each router: a start brings two of each.
pub const FOR_EACH: usize = 4;
/// Transitions, and notices, that are kept of one router, and changes of one tracked object.
pub const PER_ROUTER: u8 = 16;
/// A router that has [`PER_ROUTER`] notices younger than this gets no more of them: others can cause them
/// with forged advertisements. Likewise a tracked object.
const NOTICE_WINDOW: Nanos = Nanos::from_secs(60);

/// Entries that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The entries that were asked for, oldest first.
    pub entries: Vec<Entry>,
    /// The number of the last entry that was looked at: where the next batch begins.
    pub last: u64,
    /// Entries that had left the ring before they were read, whomever they were about.
    pub lost: u64,
    /// Whether there is more already.
    pub more: bool,
}

/// The entries of a router in the ring.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Kept {
    transitions: u8,
    notices: u8,
}

impl Kept {
    fn of(&mut self, kind: &EventKind) -> &mut u8 {
        match kind {
            EventKind::Transition { .. } => &mut self.transitions,
            EventKind::Notice(_) | EventKind::Tracked { .. } => &mut self.notices,
        }
    }
}

/// How many entries there are of so many routers.
fn capacity(routers: usize) -> usize {
    CAPACITY.max(routers.saturating_mul(FOR_EACH))
}

/// The ring.
pub struct History {
    entries: VecDeque<Entry>,
    kept: Vec<Kept>,
    /// The entries of each tracked object.
    kept_objects: Vec<u8>,
    last: u64,
}

impl History {
    /// An empty history for routers numbered below `routers`; others are not noted.
    pub fn new(routers: usize) -> Self {
        // Memory that is not touched yet costs nothing, and this grows with a reload only.
        let entries = VecDeque::with_capacity(capacity(routers));
        Self { entries, kept: vec![Kept::default(); routers], kept_objects: Vec::new(), last: 0 }
    }

    /// A router of this number begins: nothing that happened to an earlier one of the same number is told as its own.
    pub fn begin(&mut self, router: RouterId) {
        let number = router.0 as usize;
        if number >= self.kept.len() {
            self.kept.resize(number + 1, Kept::default());
        } else if std::mem::take(&mut self.kept[number]) != Kept::default() {
            self.entries.retain(|entry| entry.source != EventSource::Router(router));
        }
    }

    /// The number of the last entry; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Notes something. False when it was left out, because there was too much to tell of that one.
    pub fn note(&mut self, source: EventSource, at: Nanos, kind: EventKind) -> bool {
        if let EventSource::Object(ObjectId(number)) = source
            && number as usize >= self.kept_objects.len()
        {
            self.kept_objects.resize(number as usize + 1, 0);
        }
        let Some(kept) = self.kept(source, &kind) else { return false };
        if *kept >= PER_ROUTER {
            let same = |entry: &Entry| {
                entry.source == source && entry.kind.is_transition() == kind.is_transition()
            };
            let oldest = self.entries.iter().position(same);
            let at_oldest = oldest.and_then(|place| self.entries.get(place)).map(|entry| entry.at);
            if !kind.is_transition() && at_oldest.is_some_and(|oldest| at < oldest + NOTICE_WINDOW)
            {
                return false;
            }
            self.remove(oldest);
        } else if self.entries.len() >= capacity(self.kept.len()) {
            self.remove(Some(0));
        }
        if let Some(kept) = self.kept(source, &kind) {
            *kept += 1;
        }
        self.last += 1;
        self.entries.push_back(Entry { number: self.last, at, source, kind });
        true
    }

    /// How many entries of a kind there are of one.
    fn kept(&mut self, source: EventSource, kind: &EventKind) -> Option<&mut u8> {
        match source {
            EventSource::Router(router) => {
                self.kept.get_mut(router.0 as usize).map(|kept| kept.of(kind))
            }
            EventSource::Object(object) => self.kept_objects.get_mut(object.0 as usize),
        }
    }

    fn remove(&mut self, place: Option<usize>) {
        let gone = place.and_then(|place| self.entries.remove(place));
        if let Some(gone) = gone
            && let Some(kept) = self.kept(gone.source, &gone.kind)
        {
            *kept = kept.saturating_sub(1);
        }
    }

    /// At most `limit` of the entries that are wanted, in their order.
    pub fn read(&self, from: Cursor, wanted: impl Fn(EventSource) -> bool, limit: usize) -> Batch {
        let (begin, before) = match from {
            Cursor::After(number) => {
                (self.entries.partition_point(|entry| entry.number <= number), Some(number))
            }
            Cursor::Since(at) => {
                let begin = self.entries.iter().position(|entry| entry.at >= at);
                (begin.unwrap_or(self.entries.len()), None)
            }
        };
        let wanted = |entry: &&Entry| wanted(entry.source);
        let entries: Vec<Entry> =
            self.entries.range(begin..).filter(wanted).take(limit).cloned().collect();
        // With fewer than asked for, all to the end were looked at.
        let last = match entries.last() {
            Some(entry) if entries.len() == limit => entry.number,
            Some(_) | None => self.last,
        };
        let end = self.entries.partition_point(|entry| entry.number <= last);
        let there = u64::try_from(end.saturating_sub(begin)).unwrap_or(u64::MAX);
        let lost = before.map_or(0, |before| last.saturating_sub(before).saturating_sub(there));
        Batch { entries, last, lost, more: last < self.last }
    }

    /// The last transitions of a router, oldest first.
    pub fn transitions(&self, router: RouterId, limit: usize) -> Vec<Entry> {
        let of = |entry: &&Entry| {
            entry.source == EventSource::Router(router) && entry.kind.is_transition()
        };
        let mut last: Vec<Entry> =
            self.entries.iter().rev().filter(of).take(limit).cloned().collect();
        last.reverse();
        last
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::types::{Cause, Health, Notice, Priority, State};

    const TURN: EventKind =
        EventKind::Transition { from: State::Init, to: State::Backup, cause: Cause::Startup };

    fn router(number: u32) -> EventSource {
        EventSource::Router(RouterId(number))
    }

    fn all(_: EventSource) -> bool {
        true
    }

    fn notice(last: u8) -> EventKind {
        let master = IpAddr::from([10, 0, 0, last]);
        EventKind::Notice(Notice::NewMaster { master, priority: Priority(100) })
    }

    fn numbers(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn an_entry_is_some_tens_of_bytes() {
        assert!(size_of::<Entry>() <= 72, "{}", size_of::<Entry>());
        assert!(size_of::<Kept>() <= 2);
    }

    #[test]
    fn a_flapping_router_only_pushes_out_itself() {
        let mut history = History::new(2);
        assert!(history.note(router(1), Nanos(1), TURN));
        assert!(history.note(router(0), Nanos(2), notice(1)));
        for at in 0..2 * u64::try_from(CAPACITY).unwrap() {
            assert!(history.note(router(0), Nanos(at + 3), TURN));
        }
        assert_eq!(history.transitions(RouterId(1), 10).len(), 1);
        assert_eq!(history.transitions(RouterId(0), 100).len(), usize::from(PER_ROUTER));
        let everything = history.read(Cursor::Since(Nanos::ZERO), all, CAPACITY);
        assert_eq!(everything.entries.len(), usize::from(PER_ROUTER) + 2);
        assert_eq!(*numbers(&everything.entries).last().unwrap(), history.last());
        // Not for a router that is not there.
        assert!(!history.note(router(2), Nanos(1), TURN));
    }

    #[test]
    fn what_a_start_of_many_brings_is_kept() {
        let routers = 4080;
        let mut history = History::new(routers);
        for at in 0..3 {
            for number in 0..routers {
                let number = u32::try_from(number).unwrap();
                assert!(history.note(router(number), Nanos(at), TURN));
            }
        }
        assert_eq!(history.transitions(RouterId(0), 10).len(), 3);
        assert_eq!(history.entries.len(), 3 * routers);
    }

    #[test]
    fn a_number_that_is_used_again_has_no_past() {
        let mut history = History::new(1);
        history.note(router(0), Nanos(1), TURN);
        history.begin(RouterId(1));
        assert!(history.note(router(1), Nanos(2), TURN));
        history.begin(RouterId(0));
        assert!(history.transitions(RouterId(0), 10).is_empty());
        assert!(history.note(router(0), Nanos(3), TURN));
        assert_eq!(numbers(&history.read(Cursor::After(0), all, 10).entries), [2, 3]);
    }

    #[test]
    fn notices_that_others_can_cause_are_limited_in_time() {
        let mut history = History::new(1);
        for last in 0..PER_ROUTER {
            assert!(history.note(router(0), Nanos::from_secs(last.into()), notice(last)));
        }
        assert!(!history.note(router(0), Nanos::from_secs(59), notice(99)));
        assert!(history.note(router(0), Nanos::from_secs(60), notice(100)));
        assert!(!history.note(router(0), Nanos::from_secs(60), notice(101)));
        // A transition is told in any case.
        assert!(history.note(router(0), Nanos::from_secs(60), TURN));
    }

    #[test]
    fn a_flapping_script_only_pushes_out_itself() {
        let mut history = History::new(1);
        let object = EventSource::Object(ObjectId(7));
        let turn = |at: u64| {
            let (from, to) = if at.is_multiple_of(2) {
                (Health::Up, Health::Down)
            } else {
                (Health::Down, Health::Up)
            };
            EventKind::Tracked { from, to, end: None, trackers: None }
        };
        assert!(history.note(router(0), Nanos::ZERO, TURN));
        // Once a second for an hour.
        let noted = (0..3600).filter(|at| history.note(object, Nanos::from_secs(*at), turn(*at)));
        assert_eq!(noted.count(), 3600 / 60 * usize::from(PER_ROUTER));
        let kept = history.read(Cursor::After(0), all, CAPACITY).entries;
        assert_eq!(kept.len(), usize::from(PER_ROUTER) + 1);
        let of_router = history.read(Cursor::After(0), |source| source == router(0), CAPACITY);
        assert_eq!(of_router.entries.len(), 1);
        // Others are told of.
        assert!(history.note(EventSource::Object(ObjectId(0)), Nanos::from_secs(3599), turn(0)));
    }

    #[test]
    fn batches_follow_each_other_and_tell_what_was_lost() {
        let mut history = History::new(3);
        for at in 1..=10 {
            history.note(router(u32::from(at % 2 == 0)), Nanos(at), TURN);
        }
        let first = history.read(Cursor::Since(Nanos(3)), all, 4);
        assert_eq!(numbers(&first.entries), [3, 4, 5, 6]);
        assert_eq!((first.last, first.lost, first.more), (6, 0, true));
        let second = history.read(Cursor::After(first.last), all, 4);
        assert_eq!(numbers(&second.entries), [7, 8, 9, 10]);
        assert_eq!((second.last, second.lost, second.more), (10, 0, false));
        // What happens to others is passed over, and is not lost.
        let odd = history.read(Cursor::After(2), |source| source == router(0), 100);
        assert_eq!(numbers(&odd.entries), [3, 5, 7, 9]);
        assert_eq!((odd.last, odd.lost, odd.more), (10, 0, false));
        let none = history.read(Cursor::Since(Nanos::MAX), all, 100);
        assert_eq!((none.entries.len(), none.last, none.lost, none.more), (0, 10, 0, false));
        // Router 0 pushes out its own: of 11 to 110, all but the last 16 went before they were read.
        for at in 11..=110 {
            history.note(router(0), Nanos(at), TURN);
        }
        let late = history.read(Cursor::After(10), all, 1000);
        assert_eq!((late.entries.len(), late.lost, late.last), (16, 84, 110));
    }

    proptest! {
        /// Whatever happens: never more than there is room for, the counts agree with the ring, and a reader
        /// of batches hears of everything, or how much it missed.
        #[test]
        fn it_is_bounded_and_nothing_is_lost_in_silence(
            steps in proptest::collection::vec((0u32..400, any::<bool>(), 0u64..8), 1..6000),
            limit in 1usize..300,
        ) {
            let mut history = History::new(400);
            let (mut read, mut told, mut last) = (0, 0, 0);
            for (at, (number, turn, reader)) in (0u64..).zip(steps) {
                let kind = if turn { TURN } else { notice(1) };
                history.note(router(number), Nanos::from_secs(at), kind);
                if reader == 0 {
                    let batch = history.read(Cursor::After(last), all, limit);
                    read += batch.entries.len() as u64 + batch.lost;
                    told += batch.entries.len();
                    last = batch.last;
                }
            }
            prop_assert!(history.entries.len() <= CAPACITY);
            prop_assert!(told > 0 || last == 0);
            loop {
                let batch = history.read(Cursor::After(last), all, limit);
                read += batch.entries.len() as u64 + batch.lost;
                last = batch.last;
                if !batch.more { break }
            }
            prop_assert_eq!((read, last), (history.last(), history.last()));
            for router in 0..400 {
                let turns = history.transitions(RouterId(router), CAPACITY).len();
                prop_assert_eq!(turns, usize::from(history.kept[router as usize].transitions));
                prop_assert!(turns <= usize::from(PER_ROUTER));
            }
        }
    }
}
