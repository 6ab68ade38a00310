//! Log lines that others can cause with forged advertisements: a bounded number of a kind about a router in a minute, and
//! at its end one that says how many there were.
//!
//! Pure: it is told the time, and says what to write.

use std::collections::BTreeMap;

use crate::engine::time::Nanos;
use crate::engine::types::{Cause, GroupId, Notice, RouterId, State};

/// In how long the lines of a kind are counted, from the first one on.
const WINDOW: Nanos = Nanos::from_secs(60);
/// Changes of state of one router or group that are written in that time. No healthy one comes near.
const TRANSITIONS: u32 = 20;
/// So many of them are nothing to remember.
const FEW: u32 = 4;
/// Changes of state of all routers together that are written one by one in [`CROWD_WINDOW`]; beyond that, as when thousands
/// start or take over, they are counted, and what they were is one line for each [`CROWD_PAUSE`].
const CROWD: u32 = 50;
const CROWD_WINDOW: Nanos = Nanos::from_secs(10);
const CROWD_PAUSE: Nanos = Nanos::from_secs(1);
/// The kind of these lines.
const TRANSITION: &str = "transition";

/// About whom a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// A router.
    Router(RouterId),
    /// A sync group.
    Group(GroupId),
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// Something that was noticed.
    Notice(Notice),
    /// A change of state, and why; of a group there is no other cause than its members.
    Transition(StateChange, Option<Cause>),
}

/// What changed to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Whether an operator ordered it, so that nothing is wrong.
    pub is_ordered: bool,
}

impl LogLine {
    /// Lines of the same name are counted together.
    fn kind(&self) -> &'static str {
        match self {
            Self::Notice(notice) => notice.name(),
            Self::Transition(..) => TRANSITION,
        }
    }

    /// How many are written in a [`WINDOW`]; `None` is all of them, because they are bounded elsewhere.
    fn limit(&self) -> Option<u32> {
        match self {
            Self::Notice(notice) if notice.is_transition() => None,
            Self::Notice(_) => Some(1),
            Self::Transition(..) => Some(TRANSITIONS),
        }
    }
}

/// About whom, and the kind of line.
type Key = (About, &'static str);

/// What was written, and what was not.
#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Nanos,
    written: u32,
    suppressed: u64,
}

/// Changes of state of many at about the same time.
#[derive(Debug, Default)]
struct Crowd {
    began: Nanos,
    written: u32,
    counted: Counted,
    due: Option<Nanos>,
}

/// How many changed from one state to another.
pub type Counted = Vec<(StateChange, u64)>;

impl Crowd {
    fn admit(&mut self, now: Nanos, change: StateChange) -> bool {
        if self.written == 0 || now >= self.began + CROWD_WINDOW {
            (self.began, self.written) = (now, 0);
        }
        if self.written < CROWD {
            self.written += 1;
            return true;
        }
        match self.counted.iter_mut().find(|(counted, _)| *counted == change) {
            Some((_, count)) => *count += 1,
            None => self.counted.push((change, 1)),
        }
        self.due.get_or_insert(now + CROWD_PAUSE);
        false
    }
}

/// Lines that were written within the last minute, and those that were not.
#[derive(Debug, Default)]
pub struct LogLimit {
    windows: BTreeMap<Key, Window>,
    /// The last line that was not written, where there is one, by the end of its window.
    pending: BTreeMap<(Nanos, Key), LogLine>,
    /// When windows in which nothing was suppressed are forgotten.
    tidy_at: Nanos,
    crowd: Crowd,
}

/// What stands for lines that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// About whom.
    pub about: About,
    /// The last of them.
    pub last: LogLine,
    /// How many there were.
    pub count: u64,
}

impl LogLimit {
    /// Whether a line is to be written now.
    pub fn admit(&mut self, now: Nanos, about: About, line: LogLine) -> bool {
        self.admit_kind(now, about, line)
            && match line {
                LogLine::Notice(_) => true,
                LogLine::Transition(change, _) => self.crowd.admit(now, change),
            }
    }

    fn admit_kind(&mut self, now: Nanos, about: About, line: LogLine) -> bool {
        let Some(limit) = line.limit() else { return true };
        let key = (about, line.kind());
        if let Some(window) = self.windows.get_mut(&key).filter(|window| now < window.ends) {
            if window.written < limit {
                window.written += 1;
                return true;
            }
            window.suppressed += 1;
            self.pending.insert((window.ends, key), line);
            return false;
        }
        self.tidy(now);
        self.windows.insert(key, Window { ends: now + WINDOW, written: 1, suppressed: 0 });
        true
    }

    /// When [`Self::due`] has something to say.
    pub fn next(&self) -> Option<Nanos> {
        let pending = self.pending.first_key_value().map(|((at, _), _)| *at);
        pending.into_iter().chain(self.crowd.due).min()
    }

    /// How many have changed their state besides those that were written; empty while nothing is due.
    pub fn crowd(&mut self, now: Nanos) -> Counted {
        if self.crowd.due.take_if(|due| *due <= now).is_none() {
            return Counted::new();
        }
        std::mem::take(&mut self.crowd.counted)
    }

    /// What is to be written in place of the lines that were not.
    pub fn due(&mut self, now: Nanos) -> Vec<Summary> {
        let mut due = Vec::new();
        while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, key), last) = entry.remove_entry();
            let window = Window { ends: now + WINDOW, written: 1, suppressed: 0 };
            let before = self.windows.insert(key, window);
            let count = before.map_or(1, |window| window.suppressed);
            due.push(Summary { about: key.0, last, count });
        }
        due
    }

    /// A router of this number is no more.
    pub fn forget(&mut self, router: RouterId) {
        let about = About::Router(router);
        let of_router = |(key, window): (&Key, &Window)| (window.ends, *key);
        let from_it = self.windows.range((about, "")..).map(of_router);
        let its: Vec<_> = from_it.take_while(|(_, (whom, _))| *whom == about).collect();
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

    /// After a burst of work, forgets those that have changed their state a few times, as thousands do in a takeover: they
    /// may write a few lines more than others.
    pub fn forget_few(&mut self) {
        self.windows.retain(|(_, kind), window| {
            *kind != TRANSITION || window.written > FEW || window.suppressed > 0
        });
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

    const R: About = About::Router(RouterId(3));

    fn master(number: u32) -> LogLine {
        let master = IpAddr::from(number.to_be_bytes());
        LogLine::Notice(Notice::NewMaster { master, priority: Priority(254) })
    }

    fn change(from: State, to: State) -> StateChange {
        StateChange { from, to, is_ordered: false }
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
            let other = LogLine::Notice(Notice::SecondOwner(IpAddr::from(number.to_be_bytes())));
            assert_eq!(limit.admit(at(1001), R, other), number == 1);
        }
        assert!(limit.admit(at(1001), About::Router(RouterId(4)), master(1)), "another router");
        assert_eq!(limit.next(), Some(at(61_000)));
        assert_eq!(limit.due(at(60_999)), []);
        let summary = Summary { about: R, last: master(50_000), count: 50_000 };
        assert_eq!(limit.due(at(61_000)), [summary]);
        assert_eq!(summary.others(), " (and 49999 more of this kind in the last minute)");
        assert_eq!(limit.due(at(61_001)).len(), 1, "the other kind");
        // The summary counts as a line.
        assert!(!limit.admit(at(62_000), R, master(1)));
        let one = Summary { about: R, last: master(1), count: 1 };
        assert_eq!((limit.due(at(121_000)), one.others()), (vec![one], String::new()));
        assert_eq!(limit.next(), None);
        assert!(limit.admit(at(181_000), R, master(2)), "it is over");
        assert_eq!(limit.windows.len(), 1, "nothing else is remembered");
    }

    #[test]
    fn a_router_that_begins_has_said_nothing() {
        let mut limit = LogLimit::default();
        assert!(limit.admit(at(0), R, master(0)) && !limit.admit(at(0), R, master(1)));
        limit.forget(RouterId(3));
        assert_eq!(limit.next(), None);
        assert!(limit.admit(at(0), R, master(1)));
    }

    #[test]
    fn changes_of_state_are_written_until_there_are_too_many() {
        let mut limit = LogLimit::default();
        let there = LogLine::Transition(change(State::Backup, State::Master), None);
        let back = LogLine::Transition(change(State::Master, State::Backup), None);
        let group = About::Group(GroupId(3));
        for number in 0..1_000 {
            let line = if number % 2 == 0 { there } else { back };
            assert_eq!(limit.admit(at(number * 10), R, line), number < u64::from(TRANSITIONS));
            assert!(
                number >= 10 || limit.admit(at(number * 10), group, line),
                "a count of its own"
            );
        }
        let count = 1_000 - u64::from(TRANSITIONS);
        assert_eq!(limit.due(at(60_000)), [Summary { about: R, last: back, count }]);
        assert!(limit.admit(at(61_000), R, there), "it was another minute");
    }

    #[test]
    fn a_crowd_is_a_line_a_second() {
        let mut limit = LogLimit::default();
        let turn = |to| LogLine::Transition(change(State::Init, to), None);
        let admitted = (0..2_000).filter(|number| {
            let to = if number % 10 == 0 { State::Fault } else { State::Backup };
            limit.admit(at(1_000), About::Router(RouterId(*number)), turn(to))
        });
        assert_eq!(admitted.count(), 50);
        assert_eq!((limit.next(), limit.crowd(at(1_999))), (Some(at(2_000)), vec![]));
        let counted = limit.crowd(at(2_000));
        let (fault, backup) =
            [State::Fault, State::Backup].map(|to| change(State::Init, to)).into();
        assert_eq!(counted, [(fault, 195), (backup, 1755)]);
        assert_eq!((limit.next(), limit.crowd(at(3_000))), (None, vec![]));
        // It was a while ago.
        assert!(limit.admit(at(11_000), About::Router(RouterId(1)), turn(State::Master)));
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
                    lines.push((due.about, now));
                }
                let about = About::Router(RouterId(id));
                if limit.admit(now, about, master(id)) {
                    told += 1;
                    lines.push((about, now));
                }
            }
            if let Some(end) = limit.pending.last_key_value().map(|((at, _), _)| *at) {
                for due in limit.due(end) {
                    told += due.count;
                    lines.push((due.about, end));
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
