//! How routers are, and what they track.

use strum::IntoStaticStr;
use vrrp_common::maps::state;

/// State of a virtual router (RFC 9568 section 6.4), with keepalived's FAULT beside it; the number is that in the maps.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::FromRepr,
    IntoStaticStr,
)]
#[strum(serialize_all = "UPPERCASE")]
#[repr(u8)]
pub enum State {
    /// Not started yet, or stopped (section 6.4.1).
    Init = state::INIT,
    /// Listening (section 6.4.2).
    Backup = state::BACKUP,
    /// Advertising and holding the addresses; "Active" in RFC 9568 (section 6.4.3).
    Master = state::MASTER,
    /// Something that the router depends on is down.
    Fault = state::FAULT,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Init, Self::Backup, Self::Master, Self::Fault];

    /// Upper-case name, as keepalived writes it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What is known of a tracked object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, derive_more::Display)]
pub enum Health {
    /// Nothing yet: a script that has not ended for the first time.
    #[default]
    #[display("is not known yet")]
    Unknown,
    /// It is as it should be.
    #[display("is up")]
    Up,
    /// It is not.
    #[display("is down")]
    Down,
    /// The number in a file.
    #[display("has {_0}")]
    Value(i32),
    /// Nobody looks at it: a script that cannot run and counts for nothing.
    #[display("is disabled")]
    Disabled,
}
