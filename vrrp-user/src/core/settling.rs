//! Links that go down because of us: some drivers (mlx5, i40e and others) reset theirs when a native XDP program is
//! attached. That is no fault of the network. For a while such a link counts as up, and its silence as nothing.
//!
//! Pure: it is told what the kernel reports and the time, and says what counts.

use std::collections::BTreeMap;

use super::netlink::Link;
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;

/// A link that goes down within this time after the program was attached does so because of that. The kernel reports
/// what changes of a carrier once a second (`linkwatch_schedule_work`, net/core/link_watch.c).
const SUDDEN: Nanos = Nanos::from_secs(2);
/// For how long after the program was attached such a link is waited for.
pub const PATIENCE: Nanos = Nanos::from_secs(10);

/// Interfaces on which a native program was attached of late.
#[derive(Debug, Default)]
pub struct Settling {
    attached: BTreeMap<InterfaceId, Nanos>,
    /// Those that are down for that, until when that counts for nothing, and how they are.
    waiting: BTreeMap<InterfaceId, (Nanos, Link)>,
}

/// What counts of what the kernel reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// What it says.
    AsReported,
    /// All but that the link is down. Whether that is new.
    AsUp {
        /// Whether the wait begins with it.
        new: bool,
    },
    /// What it says: the link that was waited for is up again.
    Back,
}

impl Settling {
    /// A native program was attached to an interface.
    pub fn attached(&mut self, now: Nanos, iface: InterfaceId) {
        self.attached.retain(|_, at| now < *at + SUDDEN);
        self.attached.insert(iface, now);
    }

    /// What counts of what the kernel reports; `counted` is whether the interface counted as up before.
    pub fn reported(&mut self, now: Nanos, link: &Link, counted: bool) -> Counts {
        let waited = self.waiting.remove(&link.iface).map(|(until, _)| until);
        // Whoever sets it down does not mean that it comes back by itself.
        let down = !link.up && link.enabled;
        if !down {
            return if waited.is_some() && link.up { Counts::Back } else { Counts::AsReported };
        }
        let sudden = self.attached.get(&link.iface).filter(|at| counted && now < **at + SUDDEN);
        let Some(until) = waited.or_else(|| sudden.map(|at| *at + PATIENCE)) else {
            return Counts::AsReported;
        };
        self.waiting.insert(link.iface, (until, link.clone()));
        Counts::AsUp { new: waited.is_none() }
    }

    /// Until when an interface is waited for, if it is.
    pub fn until(&self, iface: InterfaceId) -> Option<Nanos> {
        self.waiting.get(&iface).map(|(until, _)| *until)
    }

    /// When [`Self::due`] is to be asked.
    pub fn next(&self) -> Option<Nanos> {
        self.waiting.values().map(|(until, _)| *until).min()
    }

    /// A link that is still down, and is that from now on.
    pub fn due(&mut self, now: Nanos) -> Option<Link> {
        let iface = *self.waiting.iter().find(|(_, (until, _))| *until <= now)?.0;
        self.attached.remove(&iface);
        self.waiting.remove(&iface).map(|(_, link)| link)
    }

    /// An interface is gone.
    pub fn forget(&mut self, iface: InterfaceId) {
        self.attached.remove(&iface);
        self.waiting.remove(&iface);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = Nanos::from_millis(1);

    fn link(up: bool) -> Link {
        Link { enabled: true, xdp: true, ..Link::ethernet(2, "eth0", up) }
    }

    fn attached() -> Settling {
        let mut settling = Settling::default();
        settling.attached(MS, InterfaceId::own(2));
        settling
    }

    #[test]
    fn a_link_that_is_reset_is_waited_for() {
        let mut settling = attached();
        assert_eq!(settling.reported(MS, &link(true), true), Counts::AsReported);
        assert_eq!(
            settling.reported(MS.times(2000), &link(false), true),
            Counts::AsUp { new: true }
        );
        assert_eq!(
            settling.reported(MS.times(3000), &link(false), true),
            Counts::AsUp { new: false }
        );
        let until = MS + PATIENCE;
        assert_eq!(
            (settling.until(InterfaceId::own(2)), settling.next()),
            (Some(until), Some(until))
        );
        assert_eq!(settling.due(until - MS), None);
        assert_eq!(settling.reported(MS.times(4000), &link(true), true), Counts::Back);
        assert_eq!((settling.until(InterfaceId::own(2)), settling.due(until)), (None, None));
        // That was it: the next time is the network's.
        assert_eq!(settling.reported(MS.times(4001), &link(false), true), Counts::AsReported);
    }

    #[test]
    fn not_for_ever() {
        let mut settling = attached();
        settling.reported(MS, &link(false), true);
        assert_eq!(settling.due(MS + PATIENCE), Some(link(false)));
        assert_eq!(settling.reported(MS + PATIENCE, &link(false), true), Counts::AsReported);
        assert_eq!(settling.next(), None);
        // It may flap until then, and no longer.
        let mut settling = attached();
        settling.reported(MS, &link(false), true);
        settling.reported(MS.times(900), &link(true), true);
        settling.reported(MS.times(1900), &link(false), true);
        assert_eq!(settling.until(InterfaceId::own(2)), Some(MS + PATIENCE));
    }

    #[test]
    fn what_has_other_reasons_counts() {
        // Nothing was attached.
        let mut settling = Settling::default();
        assert_eq!(settling.reported(MS, &link(false), true), Counts::AsReported);
        // Long before that.
        let mut settling = attached();
        assert_eq!(settling.reported(MS + SUDDEN, &link(false), true), Counts::AsReported);
        // It was down already.
        let mut settling = attached();
        assert_eq!(settling.reported(MS, &link(false), false), Counts::AsReported);
        // Somebody sets it down, at once or while it is waited for.
        let disabled = Link { enabled: false, ..link(false) };
        assert_eq!(settling.reported(MS, &disabled, true), Counts::AsReported);
        settling.reported(MS, &link(false), true);
        assert_eq!(settling.reported(MS, &disabled, true), Counts::AsReported);
        assert_eq!(settling.next(), None);
        settling.reported(MS, &link(false), true);
        settling.forget(InterfaceId::own(2));
        assert_eq!(settling.next(), None);
    }
}
