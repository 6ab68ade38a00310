//! What is known of a router that was master in a process that has been killed, and why another process does not go on with
//! it as master.

use derive_more::Display;
use strum::IntoStaticStr;

use crate::types::advert::Priority;
use crate::types::id::RouterId;
use crate::types::time::Nanos;

/// A master as a process left it that was killed. Times are of the clock of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Its effective priority, which stays until everything that it tracks is known again.
    pub priority: Priority,
    /// When it became master.
    pub since: Nanos,
    /// When it advertised last: the next advertisement is due an interval later.
    pub last_advert: Nanos,
    /// When its lease is over: from then on a backup may have taken over.
    pub until: Nanos,
}

/// Why a router that was master in a process that has been killed is no master in this one, and begins as it would without.
#[cfg_attr(test, derive(strum::VariantNames))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
pub enum NotAdopted {
    /// It has not advertised for as long as its lease is.
    #[display("its lease is over, as it has not advertised for {silence}")]
    #[strum(serialize = "not-adopted-expired")]
    Expired {
        /// For how long not.
        silence: Nanos,
    },
    /// It had given way or resigned.
    #[display("it had resigned")]
    #[strum(serialize = "not-adopted-resigned")]
    Resigned,
    /// Another host has claimed an address since its last advertisement, or outranks it.
    #[display("another host has claimed its addresses since")]
    #[strum(serialize = "not-adopted-claimed")]
    Claimed,
    /// Its kernel side has fenced it.
    #[display("it was fenced")]
    #[strum(serialize = "not-adopted-fenced")]
    Fenced,
    /// Another program of this host has advertised for it since.
    #[display("another program of this host has advertised for it since")]
    #[strum(serialize = "not-adopted-lifted")]
    Lifted,
    /// Its interface is another one than before.
    #[display("its interface is another one than before")]
    #[strum(serialize = "not-adopted-interface")]
    OtherInterface,
    /// It has another version of VRRP than before.
    #[display("it has another version of VRRP than before")]
    #[strum(serialize = "not-adopted-version")]
    OtherVersion,
    /// It was captured by a packet socket: what others have claimed since was seen by nobody.
    #[display("its interface was captured by a packet socket")]
    #[strum(serialize = "not-adopted-raw")]
    Raw,
    /// That member of its sync group is not adopted.
    #[display("another router of its sync group is not adopted")]
    #[strum(serialize = "not-adopted-member")]
    Member(RouterId),
}
