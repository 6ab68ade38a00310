//! What scripts and fifos are told, and what tracked scripts find out: values only.

use std::net::IpAddr;
use std::sync::Arc;

use crate::engine::types::Health;
use crate::wire::ethernet::Mac;

/// Who is spoken of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A router, by its name.
    Instance(Arc<str>),
    /// A sync group, by its name.
    Group(Arc<str>),
}

impl Subject {
    /// What it is called in arguments and fifos.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Instance(_) => "INSTANCE",
            Self::Group(_) => "GROUP",
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Instance(name) | Self::Group(name) => name,
        }
    }
}

/// A state that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// It holds the addresses.
    Master,
    /// It listens.
    Backup,
    /// It cannot take part.
    Fault,
    /// The daemon ends.
    Stop,
    /// It left the configuration.
    Deleted,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationKind {
    /// It entered a state.
    State {
        /// Which.
        state: Notified,
        /// Its priority; 0 for a group.
        priority: u8,
    },
    /// As [`Self::State`], but only for the fifos: it was in that state before.
    StillIn {
        /// Which.
        state: Notified,
        /// Its priority; 0 for a group.
        priority: u8,
    },
    /// It left the configuration.
    Deleted {
        /// Whether it was in FAULT.
        fault: bool,
        /// Its priority.
        priority: u8,
    },
    /// As master, it heard of a lower priority.
    LowerPriority {
        /// Its own.
        priority: u8,
    },
    /// Its priority changed.
    Priority {
        /// Whether it is master.
        master: bool,
        /// What it is now.
        priority: u8,
    },
    /// Another host claims an address that it holds as master, or does not any more.
    SplitBrain {
        /// Whether it begins.
        begin: bool,
        /// The address.
        address: IpAddr,
        /// The other host.
        mac: Mac,
    },
}

/// Something that happened to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To whom.
    pub subject: Subject,
    /// What.
    pub kind: NotificationKind,
}

/// A check has found out something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name of the script.
    pub script: Arc<str>,
    /// How the thing is that it checks.
    pub health: Health,
    /// How the run ended that showed it, if that was not as it should be, or why it is disabled.
    pub end: Option<Arc<str>>,
}
