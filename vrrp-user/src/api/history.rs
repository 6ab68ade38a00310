//! What happened to the routers and to what they track, as the history keeps it and the control socket asks for it.

use std::sync::Arc;

use crate::engine::time::Nanos;
use crate::engine::types::{Cause, Health, Notice, ObjectId, RouterId, State};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The router changed state.
    Transition {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// Something else worth telling.
    Notice(Notice),
    /// A tracked object is in another way than before.
    Tracked {
        /// Before.
        from: Health,
        /// After.
        to: Health,
        /// How the run of a script ended that was to blame.
        end: Option<Arc<str>>,
        /// The first router that tracks it, and how many do.
        trackers: Option<(RouterId, u32)>,
    },
}

impl EventKind {
    /// Whether a router changed state.
    pub const fn is_transition(&self) -> bool {
        match self {
            Self::Transition { .. } => true,
            Self::Notice(_) | Self::Tracked { .. } => false,
        }
    }
}

/// To whom something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSource {
    /// To a router: a transition or a notice.
    Router(RouterId),
    /// To something that is tracked.
    Object(ObjectId),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number: 1 for the first, then one more each.
    pub number: u64,
    /// When, `CLOCK_MONOTONIC`.
    pub at: Nanos,
    /// To whom.
    pub source: EventSource,
    /// What.
    pub kind: EventKind,
}

/// Where to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The first entry that is not older than this.
    Since(Nanos),
    /// The entry after that number.
    After(u64),
}
