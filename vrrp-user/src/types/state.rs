//! How routers are, and what they track.

use std::fmt;

/// State of a virtual router (RFC 9568 section 6.4), with keepalived's FAULT beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Not started yet, or stopped (section 6.4.1).
    Init,
    /// Listening (section 6.4.2).
    Backup,
    /// Advertising and holding the addresses; "Active" in RFC 9568 (section 6.4.3).
    Master,
    /// Something that the router depends on is down.
    Fault,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Init, Self::Backup, Self::Master, Self::Fault];

    /// Upper-case name, as keepalived writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "INIT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Fault => "FAULT",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is known of a tracked object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing yet: a script that has not ended for the first time.
    #[default]
    Unknown,
    /// It is as it should be.
    Up,
    /// It is not.
    Down,
    /// The number in a file.
    Value(i32),
    /// Nobody looks at it: a script that cannot run and counts for nothing.
    Disabled,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("is not known yet"),
            Self::Up => f.write_str("is up"),
            Self::Down => f.write_str("is down"),
            Self::Value(value) => write!(f, "has {value}"),
            Self::Disabled => f.write_str("is disabled"),
        }
    }
}
