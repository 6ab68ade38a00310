//! Changes of links that count only after a while: `interface_up_down_delays`.
//!
//! Pure: it is told what the kernel reports and the time, and says what counts. Everything but whether an
//! interface is up counts at once.

use std::collections::{BTreeMap, BTreeSet};

use super::netlink::Link;
use crate::config::model::Delays;
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;

/// What interfaces with delays are to become.
#[derive(Debug)]
pub struct Debounce {
    /// Down and up, by name.
    delays: BTreeMap<String, (Nanos, Nanos)>,
    /// Those that were up once, by index: the first time counts at once, as in keepalived.
    seen_up: BTreeSet<InterfaceId>,
    /// What was reported last of interfaces that are not what counts, and when it will count.
    pending: BTreeMap<InterfaceId, (Nanos, Link)>,
}

impl Debounce {
    /// `None` if everything counts at once.
    pub fn new(delays: &Delays) -> Option<Box<Self>> {
        let named = delays.links.iter().map(|link| (link.interface.clone(), (link.down, link.up)));
        let delays: BTreeMap<_, _> = named.collect();
        (!delays.is_empty())
            .then(|| Box::new(Self { delays, seen_up: BTreeSet::new(), pending: BTreeMap::new() }))
    }

    /// What counts now of what the kernel reports; `counted` is what counted before, if the interface is known.
    pub fn reported(&mut self, now: Nanos, link: &Link, counted: Option<bool>) -> Link {
        let index = link.iface;
        let (down, up) = self.delays.get(&link.name).copied().unwrap_or_default();
        let delay = if link.up { up } else { down };
        let delayed = self.seen_up.contains(&index) && delay > Nanos::ZERO;
        match counted {
            Some(counted) if counted != link.up && delayed => {
                let at = self.pending.get(&index).map_or(now + delay, |(at, _)| *at);
                self.pending.insert(index, (at, link.clone()));
                Link { up: counted, ..link.clone() }
            }
            Some(_) | None => {
                self.pending.remove(&index);
                self.counts(link);
                link.clone()
            }
        }
    }

    fn counts(&mut self, link: &Link) {
        if link.up && self.delays.contains_key(&link.name) {
            self.seen_up.insert(link.iface);
        }
    }

    /// A router on the interface must not be kept from noticing for that long that it is down: the delay is shortened,
    /// as in keepalived for as long as it runs. What it is now, if it was not shorter.
    pub fn shorten(&mut self, name: &str, most: Nanos, used: Nanos) -> Option<Nanos> {
        let (down, _) = self.delays.get_mut(name)?;
        if *down < most {
            return None;
        }
        *down = used.min(*down);
        Some(used)
    }

    /// When [`Self::due`] is to be asked.
    pub fn next(&self) -> Option<Nanos> {
        self.pending.values().map(|(at, _)| *at).min()
    }

    /// A change that counts from now on.
    pub fn due(&mut self, now: Nanos) -> Option<Link> {
        let index = *self.pending.iter().find(|(_, (at, _))| *at <= now)?.0;
        let (_, link) = self.pending.remove(&index)?;
        self.counts(&link);
        Some(link)
    }

    /// What an interface will be, and when, if it is not that already.
    pub fn pending(&self, iface: InterfaceId) -> Option<(Nanos, bool)> {
        self.pending.get(&iface).map(|(at, link)| (*at, link.up))
    }

    /// An interface is gone.
    pub fn interface_removed(&mut self, iface: InterfaceId) {
        self.seen_up.remove(&iface);
        self.pending.remove(&iface);
    }

    /// Goes on with other delays; what waits counts when it would have. `up`: the interfaces that count as up.
    /// Returns what counts at once because there is no delay any more.
    pub fn replace(
        before: &mut Option<Box<Self>>,
        delays: &Delays,
        up: impl Iterator<Item = (InterfaceId, String)>,
    ) -> Vec<Link> {
        let old = std::mem::replace(before, Self::new(delays));
        let mut pending = old.map(|old| old.pending).unwrap_or_default();
        if let Some(new) = before {
            let delayed = up.filter(|(_, name)| new.delays.contains_key(name));
            new.seen_up = delayed.map(|(index, _)| index).collect();
            let kept = |index: &InterfaceId, (_, link): &mut (Nanos, Link)| {
                let kept = new.delays.contains_key(&link.name);
                // Down for now, but it was up.
                if kept {
                    new.seen_up.insert(*index);
                }
                kept
            };
            new.pending = pending.extract_if(.., kept).collect();
        }
        pending.into_values().map(|(_, link)| link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::LinkDelay;

    const MS: Nanos = Nanos::from_millis(1);

    fn delays(down: u64, up: u64) -> Delays {
        let link =
            LinkDelay { interface: "eth0".to_owned(), down: MS.times(down), up: MS.times(up) };
        Delays { links: vec![link], ..Delays::default() }
    }

    fn link(name: &str, up: bool) -> Link {
        Link::ethernet(2, name, up)
    }

    /// An interface that is up, with these delays.
    fn up(down: u64, up: u64) -> Debounce {
        let mut debounce = *Debounce::new(&delays(down, up)).unwrap();
        assert!(debounce.reported(MS, &link("eth0", true), None).up);
        debounce
    }

    #[test]
    fn what_reverts_in_time_never_counts() {
        let mut debounce = up(500, 0);
        assert!(debounce.reported(MS, &link("eth0", false), Some(true)).up);
        assert_eq!(debounce.next(), Some(MS.times(501)));
        assert_eq!(debounce.pending(InterfaceId::own(2)), Some((MS.times(501), false)));
        assert!(debounce.reported(MS.times(500), &link("eth0", true), Some(true)).up);
        assert_eq!((debounce.next(), debounce.due(MS.times(900))), (None, None));
        // The next time counts from its own beginning.
        assert!(debounce.reported(MS.times(600), &link("eth0", false), Some(true)).up);
        assert_eq!(debounce.due(MS.times(1099)), None);
        assert_eq!(debounce.due(MS.times(1100)), Some(link("eth0", false)));
        assert_eq!(debounce.next(), None);
        // There is no delay upwards.
        assert!(debounce.reported(MS.times(1101), &link("eth0", true), Some(false)).up);
    }

    #[test]
    fn further_reports_do_not_start_it_anew_but_the_last_one_counts() {
        let mut debounce = up(500, 0);
        debounce.reported(MS, &link("eth0", false), Some(true));
        let other = Link { mac: Some([4; 6]), ..link("eth0", false) };
        assert_eq!(
            debounce.reported(MS.times(400), &other, Some(true)),
            Link { up: true, ..other.clone() }
        );
        assert_eq!(debounce.due(MS.times(501)), Some(other));
    }

    #[test]
    fn the_first_time_up_counts_at_once_and_later_ones_after_the_delay() {
        let mut debounce = *Debounce::new(&delays(0, 300)).unwrap();
        assert!(!debounce.reported(MS, &link("eth0", false), None).up);
        assert!(debounce.reported(MS, &link("eth0", true), Some(false)).up);
        assert!(!debounce.reported(MS, &link("eth0", false), Some(true)).up);
        assert!(!debounce.reported(MS, &link("eth0", true), Some(false)).up);
        assert_eq!(debounce.due(MS.times(301)), Some(link("eth0", true)));
        debounce.interface_removed(InterfaceId::own(2));
        assert!(debounce.reported(MS, &link("eth0", true), Some(false)).up);
    }

    #[test]
    fn a_faster_master_shortens_delays() {
        let mut debounce = up(500, 900);
        assert_eq!(debounce.shorten("eth0", MS.times(501), MS), None);
        assert_eq!(debounce.shorten("eth1", MS, MS), None);
        assert_eq!(debounce.shorten("eth0", MS.times(200), MS.times(199)), Some(MS.times(199)));
        assert_eq!(debounce.delays["eth0"], (MS.times(199), MS.times(900)));
        debounce.reported(MS, &link("eth0", false), Some(true));
        assert_eq!(debounce.next(), Some(MS.times(200)));
    }

    #[test]
    fn other_interfaces_have_no_delay() {
        let mut debounce = up(500, 500);
        assert!(debounce.reported(MS, &link("eth1", true), None).up);
        assert!(!debounce.reported(MS, &link("eth1", false), Some(true)).up);
        assert_eq!(debounce.next(), None);
        assert!(Debounce::new(&Delays::default()).is_none());
    }

    #[test]
    fn a_delay_that_is_gone_holds_nothing_back() {
        let mut debounce = Some(Box::new(up(500, 0)));
        debounce.as_mut().unwrap().reported(MS, &link("eth0", false), Some(true));
        let none = || std::iter::empty();
        assert_eq!(Debounce::replace(&mut debounce, &delays(900, 900), none()), []);
        assert_eq!(debounce.as_ref().unwrap().next(), Some(MS.times(501)));
        // It was up once.
        assert!(debounce.as_mut().unwrap().seen_up.contains(&InterfaceId::own(2)));
        let at_once = Debounce::replace(&mut debounce, &Delays::default(), none());
        assert_eq!((at_once, debounce.is_none()), (vec![link("eth0", false)], true));
        // A new one is for interfaces that are up already, too.
        let known = [(InterfaceId::own(2), "eth0".to_owned())].into_iter();
        assert_eq!(Debounce::replace(&mut debounce, &delays(500, 0), known), []);
        assert!(debounce.unwrap().reported(MS, &link("eth0", false), Some(true)).up);
    }
}
