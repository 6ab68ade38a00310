//! What happens later, or slower, than it could: announcements, the first election, and changes of links.

use crate::engine::time::Nanos;
use crate::engine::types::AdvertInterval;

/// How long nothing is to happen. By default, nothing waits for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// `vrrp_startup_delay`: no router becomes master before that time after the start and a master-down interval
    /// more.
    pub startup: Nanos,
    /// `vrrp_delay_after_boot`: the same, counted from the start of the host.
    pub after_boot: Nanos,
    /// `vrrp_garp_interval`, `vrrp_gna_interval`: on every interface that is in no group, each for itself.
    pub pauses: Pauses,
    /// `garp_group`.
    pub garp_groups: Vec<GarpGroup>,
    /// `interface_up_down_delays`.
    pub links: Vec<LinkDelay>,
}

/// How much time lies between two announcements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Gratuitous ARP; zero for no limit.
    pub garp: Nanos,
    /// Unsolicited neighbour advertisements; zero for no limit.
    pub gna: Nanos,
}

/// Interfaces whose announcements pause for each other: they lead to the same switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GarpGroup {
    /// Names; no interface is in two groups.
    pub interfaces: Vec<String>,
    /// Between announcements on any of them.
    pub pauses: Pauses,
}

impl LinkDelay {
    /// What the delay of an interface that goes down must stay below, for a router on it with this interval: a backup that hears
    /// nothing because of the link must not take over before the delay is over.
    pub fn most(interval: AdvertInterval, down_adverts: u8) -> Nanos {
        interval.duration().times(u64::from(down_adverts.saturating_sub(1)))
    }

    /// What keepalived makes of one that is too long (`check_debounce_timers`, vrrp.c).
    pub fn reduced(interval: AdvertInterval, most: Nanos) -> Nanos {
        most - Nanos(interval.duration().0 / 256)
    }
}

/// How long an interface must be up, or down, before that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDelay {
    /// Name.
    pub interface: String,
    /// Until it is down.
    pub down: Nanos,
    /// Until it is up, unless it was never up before.
    pub up: Nanos,
}
