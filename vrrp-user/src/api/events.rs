//! What happened to a router, from the engine's words into those of the control socket.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::history::{Entry, EventKind};
use super::{Event, Happened, SCHEMA};
use crate::engine::time::Nanos;
use crate::engine::types::Health;

/// An entry of the history with what a reader needs to know whose it is.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose it is.
    pub whose: Whose,
    /// Why it changed state, with the names of what is to blame; of something tracked, how it is.
    pub text: Option<String>,
    /// What happened.
    pub entry: Entry,
}

/// Some of what happened.
pub struct Events {
    /// Oldest first.
    pub records: Vec<Record>,
    /// Where to go on ([`super::history::Cursor::After`]).
    pub last: u64,
    /// Entries overwritten before they were asked for.
    pub lost: u64,
    /// Whether there is more already.
    pub more: bool,
}

/// To whom something happened.
#[derive(Clone, Debug)]
pub enum Whose {
    /// To a router.
    Router {
        /// Its name.
        name: Arc<str>,
        /// Its interface.
        interface: Arc<str>,
        /// Virtual router identifier.
        vrid: u8,
    },
    /// To something that is tracked, as in `script chk_haproxy`.
    Object(String),
}

/// One moment on both clocks: the history has readings of `CLOCK_MONOTONIC`, people have the other one.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    wall: Timestamp,
    monotonic: Nanos,
}

impl WallClock {
    /// Now, when the clock of the history says `monotonic`. After somebody has set the other one, old entries are shown
    /// as that would have it.
    pub fn at(monotonic: Nanos) -> Self {
        Self { wall: Timestamp::now(), monotonic }
    }

    /// The reading of the monotonic clock.
    pub fn monotonic(self) -> Nanos {
        self.monotonic
    }

    /// When something else was: RFC 3339 in UTC with milliseconds, as the log has it.
    pub fn of(self, at: Nanos) -> String {
        let before = i64::try_from((self.monotonic - at).0).unwrap_or(i64::MAX);
        // Saturates: what would lie before the year -9999 is not a time that anybody reads.
        let then = self.wall.saturating_sub(SignedDuration::from_nanos(before));
        format!("{:.3}", then.unwrap_or(self.wall))
    }
}

impl Record {
    /// As the control socket has it.
    pub fn event(&self, now: WallClock) -> Event {
        let (what, cause, reason) = match &self.entry.kind {
            EventKind::Transition { from, to, cause } => (
                Happened::Transition { from: from.name().to_owned(), to: to.name().to_owned() },
                cause.name(),
                self.text.clone().unwrap_or_else(|| cause.to_string()),
            ),
            EventKind::Notice(notice) => (Happened::Notice, notice.name(), notice.to_string()),
            EventKind::Tracked { from, to, .. } => (
                Happened::Tracked { from: health(*from), to: health(*to) },
                match to {
                    Health::Unknown => "tracked-unknown",
                    Health::Up => "tracked-up",
                    Health::Down => "tracked-down",
                    Health::Value(_) => "tracked-value",
                    Health::Disabled => "tracked-disabled",
                },
                self.text.clone().unwrap_or_else(|| to.to_string()),
            ),
        };
        let (mut router, mut interface, mut vrid, mut object) = (None, None, None, None);
        match &self.whose {
            Whose::Router { name, interface: on, vrid: number } => {
                (router, interface, vrid) =
                    (Some(name.to_string()), Some(on.to_string()), Some(*number));
            }
            Whose::Object(name) => object = Some(name.clone()),
        }
        Event {
            schema: SCHEMA,
            number: self.entry.number,
            time: now.of(self.entry.at),
            router,
            interface,
            vrid,
            object,
            what,
            cause: cause.to_owned(),
            reason,
        }
    }
}

/// `up`, `down`, `unknown`, `disabled`, or the number in a file.
pub fn health(health: Health) -> String {
    match health {
        Health::Unknown => "unknown".to_owned(),
        Health::Up => "up".to_owned(),
        Health::Down => "down".to_owned(),
        Health::Value(value) => value.to_string(),
        Health::Disabled => "disabled".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::history::EventSource;
    use crate::engine::types::{Cause, ObjectId, RouterId, State};

    const NOW: Nanos = Nanos::from_millis(10_000);

    #[test]
    fn times_are_those_of_the_wall_clock() {
        let now = WallClock {
            wall: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            monotonic: Nanos::from_millis(10_000),
        };
        assert_eq!(now.of(Nanos::from_millis(10_000)), "2026-01-02T03:04:05.678Z");
        assert_eq!(now.of(Nanos::from_millis(4_322)), "2026-01-02T03:04:00.000Z");
        // Later than now: between the reading of the entry and that of the clock nothing lies.
        assert_eq!(now.of(Nanos::from_millis(10_001)), "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn a_transition_in_words() {
        let kind = EventKind::Transition {
            from: State::Backup,
            to: State::Master,
            cause: Cause::MasterDown {
                master: Some([10, 0, 0, 2].into()),
                silence: Nanos::from_millis(3609),
            },
        };
        let entry = Entry { number: 3, at: NOW, source: EventSource::Router(RouterId(0)), kind };
        let whose = Whose::Router { name: "VI_1".into(), interface: "eth0".into(), vrid: 51 };
        let record = Record { whose, text: None, entry };
        let event = record.event(WallClock::at(NOW));
        assert_eq!(event.reason, "took over: no advertisement from 10.0.0.2 for 3.61 s");
        assert_eq!(event.cause, "master-down");
        let (from, to) = ("BACKUP".to_owned(), "MASTER".to_owned());
        assert_eq!(event.what, Happened::Transition { from, to });
    }
    #[test]
    fn something_tracked_in_words() {
        let (from, to) = (Health::Up, Health::Value(-7));
        let kind = EventKind::Tracked { from, to, end: None, trackers: None };
        let entry = Entry { number: 3, at: NOW, source: EventSource::Object(ObjectId(0)), kind };
        let record = Record { whose: Whose::Object("file f".to_owned()), text: None, entry };
        let event = record.event(WallClock::at(NOW));
        let (from, to) = ("up".to_owned(), "-7".to_owned());
        assert_eq!(event.what, Happened::Tracked { from, to });
        assert_eq!((event.cause.as_str(), event.reason.as_str()), ("tracked-value", "has -7"));
        assert_eq!((event.object.as_deref(), event.router), (Some("file f"), None));
    }
}
