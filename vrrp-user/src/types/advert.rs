//! What an advertisement says.

use std::fmt;
use std::net::IpAddr;

use super::time::{Centisecs, Nanos};

/// Election priority (RFC 9568 section 5.2.4): 255 owns the addresses, 0 resigns, the rest competes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// The sender gives up mastership.
    pub const RESIGN: Self = Self(0);
    /// What keepalived and RFC 9568 section 6.1 use when nothing is configured.
    pub const DEFAULT: Self = Self(100);
    /// The owner of the addresses.
    pub const OWNER: Self = Self(255);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Protocol version and what only that version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768.
    V2,
    /// RFC 9568.
    V3,
}

impl Version {
    /// The number in messages.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// The advertisement interval as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdvertInterval {
    /// Version 2: whole seconds, 1-255.
    Secs(u8),
    /// Version 3: centiseconds, 1-4095.
    Centisecs(Centisecs),
}

impl AdvertInterval {
    /// The interval in the third pair of bytes of a message, as the given version has it there: what version 2 has in
    /// front of it (its authentication type), and the reserved bits of version 3 (RFC 9568 section 5.2.6), are ignored.
    pub fn from_field(version: Version, field: u16) -> Self {
        match version {
            Version::V2 => Self::Secs(field.to_be_bytes()[1]),
            Version::V3 => Self::Centisecs(Centisecs(field & 0x0fff)),
        }
    }

    /// The interval as a duration.
    pub fn duration(self) -> Nanos {
        match self {
            Self::Secs(secs) => Nanos::from_secs(u64::from(secs)),
            Self::Centisecs(centisecs) => centisecs.into(),
        }
    }

    /// The version that writes its interval like this.
    pub fn version(self) -> Version {
        match self {
            Self::Secs(_) => Version::V2,
            Self::Centisecs(_) => Version::V3,
        }
    }
}

impl fmt::Display for AdvertInterval {
    /// As keepalived's `advert_int` would say it: `1 s`, `0.25 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Secs(secs) => write!(f, "{secs} s"),
            Self::Centisecs(Centisecs(centisecs)) => {
                let (secs, rest) = (centisecs / 100, centisecs % 100);
                match (rest, rest % 10) {
                    (0, _) => write!(f, "{secs} s"),
                    (_, 0) => write!(f, "{secs}.{} s", rest / 10),
                    (..) => write!(f, "{secs}.{rest:02} s"),
                }
            }
        }
    }
}

/// A received advertisement that passed the receive checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Sender.
    pub source: IpAddr,
    /// Its priority; [`Priority::RESIGN`] when it gives up.
    pub priority: Priority,
    /// Its interval.
    pub interval: AdvertInterval,
    /// Its addresses in the order of the message.
    pub addresses: Vec<IpAddr>,
}
