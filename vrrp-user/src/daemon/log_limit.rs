//! Log lines that others can cause with forged advertisements: one line of a kind about a router in a minute, and at
//! its end one that says how many there were.
//!
//! Pure: it is told the time, and says what to write.

use std::collections::BTreeMap;

use crate::engine::time::Nanos;
use crate::engine::types::{Notice, RouterId};

/// From one line of a kind about a router to the next.
const WINDOW: Nanos = Nanos::from_secs(60);

/// A router, and the kind of notice by its name.
type Key = (RouterId, &'static str);

/// What was written, and what was not.
#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Nanos,
    suppressed: u64,
}

/// Notices that were written within the last minute, and those that were not.
#[derive(Debug, Default)]
pub struct LogLimit {
    windows: BTreeMap<Key, Window>,
    /// The last notice that was not written, where there is one, by the end of its window.
    pending: BTreeMap<(Nanos, Key), Notice>,
    /// When windows in which nothing was suppressed are forgotten.
    tidy_at: Nanos,
}

/// What stands for lines that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// About whom.
    pub router: RouterId,
    /// The last of them.
    pub last: Notice,
    /// How many there were.
    pub count: u64,
}

impl LogLimit {
    /// Whether a notice is to be written now. What begins or ends something always is.
    pub fn admit(&mut self, now: Nanos, router: RouterId, notice: Notice) -> bool {
        if notice.is_transition() {
            return true;
        }
        let key = (router, notice.name());
        if let Some(window) = self.windows.get_mut(&key).filter(|window| now < window.ends) {
            window.suppressed += 1;
            self.pending.insert((window.ends, key), notice);
            return false;
        }
        self.tidy(now);
        self.windows.insert(key, Window { ends: now + WINDOW, suppressed: 0 });
        true
    }

    /// When [`Self::due`] has something to say.
    pub fn next(&self) -> Option<Nanos> {
        self.pending.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is to be written in place of the lines that were not.
    pub fn due(&mut self, now: Nanos) -> Vec<Summary> {
        let mut due = Vec::new();
        while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, key), last) = entry.remove_entry();
            let window = Window { ends: now + WINDOW, suppressed: 0 };
            let before = self.windows.insert(key, window);
            let count = before.map_or(1, |window| window.suppressed);
            due.push(Summary { router: key.0, last, count });
        }
        due
    }

    /// A router of this number is no more.
    pub fn forget(&mut self, router: RouterId) {
        let of_router = |(key, window): (&Key, &Window)| (window.ends, *key);
        let from_it = self.windows.range((router, "")..).map(of_router);
        let its: Vec<_> = from_it.take_while(|(_, (id, _))| *id == router).collect();
        for (ends, key) in its {
            self.windows.remove(&key);
            self.pending.remove(&(ends, key));
        }
    }

    /// Now and then forgets what is over, so that this does not grow with all that ever happened.
    fn tidy(&mut self, now: Nanos) {
        if now >= self.tidy_at {
            self.tidy_at = now + WINDOW;
            self.windows.retain(|_, window| now < window.ends || window.suppressed > 0);
        }
    }
}

impl Summary {
    /// How many others there were, in words; empty if none.
    pub fn others(&self) -> String {
        match self.count.saturating_sub(1) {
            0 => String::new(),
            others => format!(" (and {others} more of this kind in the last minute)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::types::Priority;

    const R: RouterId = RouterId(3);

    fn master(number: u32) -> Notice {
        let master = IpAddr::from(number.to_be_bytes());
        Notice::NewMaster { master, priority: Priority(254) }
    }

    fn at(millis: u64) -> Nanos {
        Nanos::from_millis(millis)
    }

    #[test]
    fn a_flood_is_two_lines_in_the_first_minute() {
        let mut limit = LogLimit::default();
        assert!(limit.admit(at(1000), R, master(0)));
        assert_eq!(limit.next(), None, "one line wakes nobody");
        for number in 1..=50_000 {
            assert!(!limit.admit(at(1001), R, master(number)));
            // Of another kind, turn by turn.
            let other = Notice::SecondOwner(IpAddr::from(number.to_be_bytes()));
            assert_eq!(limit.admit(at(1001), R, other), number == 1);
        }
        assert!(limit.admit(at(1001), RouterId(4), master(1)), "another router");
        assert_eq!(limit.next(), Some(at(61_000)));
        assert_eq!(limit.due(at(60_999)), []);
        let summary = Summary { router: R, last: master(50_000), count: 50_000 };
        assert_eq!(limit.due(at(61_000)), [summary]);
        assert_eq!(summary.others(), " (and 49999 more of this kind in the last minute)");
        assert_eq!(limit.due(at(61_001)).len(), 1, "the other kind");
        // The summary counts as a line.
        assert!(!limit.admit(at(62_000), R, master(1)));
        let one = Summary { router: R, last: master(1), count: 1 };
        assert_eq!((limit.due(at(121_000)), one.others()), (vec![one], String::new()));
        assert_eq!(limit.next(), None);
        assert!(limit.admit(at(181_000), R, master(2)), "it is over");
        assert_eq!(limit.windows.len(), 1, "nothing else is remembered");
    }

    #[test]
    fn a_router_that_begins_has_said_nothing() {
        let mut limit = LogLimit::default();
        assert!(limit.admit(at(0), R, master(0)) && !limit.admit(at(0), R, master(1)));
        limit.forget(R);
        assert_eq!(limit.next(), None);
        assert!(limit.admit(at(0), R, master(1)));
    }

    proptest! {
        /// Whatever comes when: each notice is written or counted once, no two lines of a kind are closer than a
        /// minute, and nothing is due for ever.
        #[test]
        fn nothing_is_lost_and_nothing_floods(steps in prop::collection::vec((0u64..40_000, 0u32..3), 1..80)) {
            let mut limit = LogLimit::default();
            let mut now = at(1);
            let (mut told, mut lines) = (0, Vec::new());
            for &(pause, id) in &steps {
                now += at(pause);
                for due in limit.due(now) {
                    told += due.count;
                    lines.push((due.router, now));
                }
                if limit.admit(now, RouterId(id), master(id)) {
                    told += 1;
                    lines.push((RouterId(id), now));
                }
            }
            if let Some(end) = limit.pending.last_key_value().map(|((at, _), _)| *at) {
                for due in limit.due(end) {
                    told += due.count;
                    lines.push((due.router, end));
                }
            }
            prop_assert_eq!(limit.next(), None);
            prop_assert_eq!(told, steps.len() as u64);
            for (index, (id, first)) in lines.iter().enumerate() {
                let later = lines[index + 1..].iter().find(|(other, _)| other == id);
                prop_assert!(later.is_none_or(|(_, next)| *next >= *first + WINDOW));
            }
        }
    }
}
