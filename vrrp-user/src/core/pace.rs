//! Announcements that wait for their turn: `garp_interval`, `gna_interval` and `garp_group`.
//!
//! Pure: it is told the time, and says what may be sent. An address waits at most once, however often it is to be
//! announced meanwhile, as in keepalived; so there never waits more than there are addresses. Those of a queue take
//! turns, so that the repetitions of one do not hold up the first announcement of another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::interface_id::InterfaceAddr;
use crate::config::model::{Delays, Pauses};
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;

/// What is said about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnnounceKind {
    /// Where it is.
    Announcement,
    /// The question who else has it. It is as much work for a switch.
    Probe,
}

/// What can wait. In this order: first every address is announced, then asked about.
pub type Item = (AnnounceKind, InterfaceAddr);

/// Whose announcements pause for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PacingScope {
    Interface(InterfaceId),
    /// Its place in [`Pacer::groups`].
    Group(usize),
}

/// A scope and an address family, which have their own pauses: whether it is IPv6.
type PacingKey = (PacingScope, bool);

/// What waits within one scope.
#[derive(Debug, Default)]
struct PacedQueue {
    /// From when on the next one may be sent.
    free_at: Nanos,
    last: Option<Item>,
    waiting: BTreeSet<Item>,
}

/// All announcements that wait, and when the next of them may be sent.
#[derive(Debug)]
pub struct Pacer {
    pauses: Pauses,
    groups: Vec<Pauses>,
    /// By the name of an interface.
    grouped: BTreeMap<String, usize>,
    queues: BTreeMap<PacingKey, PacedQueue>,
    /// The queues in which something waits, by [`PacedQueue::free_at`].
    agenda: BTreeSet<(Nanos, PacingKey)>,
}

impl Pacer {
    /// `None` if nothing ever has to wait.
    pub fn new(delays: &Delays) -> Option<Box<Self>> {
        let groups: Vec<Pauses> = delays.garp_groups.iter().map(|group| group.pauses).collect();
        if groups.iter().chain([&delays.pauses]).all(|pauses| *pauses == Pauses::default()) {
            return None;
        }
        let named = delays.garp_groups.iter().zip(0..);
        let named = named
            .flat_map(|(group, place)| group.interfaces.iter().map(move |n| (n.clone(), place)));
        Some(Box::new(Self {
            pauses: delays.pauses,
            groups,
            grouped: named.collect(),
            queues: BTreeMap::new(),
            agenda: BTreeSet::new(),
        }))
    }

    fn pause(&self, (scope, v6): PacingKey) -> Nanos {
        let pauses = match scope {
            PacingScope::Interface(_) => self.pauses,
            PacingScope::Group(place) => self.groups.get(place).copied().unwrap_or_default(),
        };
        if v6 { pauses.gna } else { pauses.garp }
    }

    /// Whether it may be sent now, on an interface of that name; otherwise it waits.
    pub fn admit(&mut self, now: Nanos, name: &str, item: Item) -> bool {
        let (_, InterfaceAddr { iface, address }) = item;
        let scope = self
            .grouped
            .get(name)
            .map_or(PacingScope::Interface(iface), |n| PacingScope::Group(*n));
        let key = (scope, address.is_ipv6());
        let pause = self.pause(key);
        if pause == Nanos::ZERO {
            return true;
        }
        let queue = self.queues.entry(key).or_default();
        if queue.waiting.is_empty() {
            if now >= queue.free_at {
                queue.free_at = now + pause;
                queue.last = Some(item);
                return true;
            }
            self.agenda.insert((queue.free_at, key));
        }
        queue.waiting.insert(item);
        false
    }

    /// When [`Self::due`] is to be asked.
    pub fn next(&self) -> Option<Nanos> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// What may be sent now. What does not `count` any more is forgotten.
    pub fn due(&mut self, now: Nanos, counts: impl Fn(InterfaceAddr) -> bool) -> Option<Item> {
        while let Some((at, key)) = self.agenda.first().copied().filter(|(at, _)| *at <= now) {
            self.agenda.remove(&(at, key));
            let pause = self.pause(key);
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let item = queue.take(&counts);
            if item.is_some() {
                queue.free_at = now + pause;
            }
            if !queue.waiting.is_empty() {
                self.agenda.insert((queue.free_at, key));
            }
            if item.is_some() {
                return item;
            }
        }
        None
    }

    /// An address was given up: whatever waits about it is no longer true.
    pub fn forget(&mut self, place: InterfaceAddr) {
        let groups = (0..self.groups.len()).map(PacingScope::Group);
        for scope in groups.chain([PacingScope::Interface(place.iface)]) {
            self.retain((scope, place.address.is_ipv6()), |other| other != place);
        }
    }

    /// An interface is gone, and all its addresses.
    pub fn interface_removed(&mut self, iface: InterfaceId) {
        let keys: Vec<PacingKey> = self.queues.keys().copied().collect();
        for key in keys {
            self.retain(key, |place| place.iface != iface);
        }
        self.queues.retain(|(scope, _), _| *scope != PacingScope::Interface(iface));
    }

    fn retain(&mut self, key: PacingKey, keep: impl Fn(InterfaceAddr) -> bool) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.waiting.retain(|(_, place)| keep(*place));
        if queue.waiting.is_empty() {
            self.agenda.remove(&(queue.free_at, key));
        }
    }

    /// Number of announcements that wait.
    pub fn waiting(&self) -> usize {
        let queues = self.agenda.iter().filter_map(|(_, key)| self.queues.get(key));
        queues.map(|queue| queue.waiting.len()).sum()
    }

    /// Everything that waits, for another one to go on with.
    pub fn into_waiting(self) -> impl Iterator<Item = Item> {
        self.queues.into_values().flat_map(|queue| queue.waiting)
    }
}

impl PacedQueue {
    /// The next one that counts, behind the last one that was sent.
    fn take(&mut self, counts: impl Fn(InterfaceAddr) -> bool) -> Option<Item> {
        loop {
            let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.waiting.range((after, Bound::Unbounded)).next();
            let item = next.or_else(|| self.waiting.first()).copied()?;
            self.waiting.remove(&item);
            self.last = Some(item);
            if counts(item.1) {
                return Some(item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;
    use crate::config::model::GarpGroup;

    const MS: Nanos = Nanos::from_millis(1);

    fn at(ifindex: u32, address: &str) -> InterfaceAddr {
        InterfaceAddr { iface: InterfaceId::own(ifindex), address: address.parse().unwrap() }
    }

    fn announcement(ifindex: u32, address: &str) -> Item {
        (AnnounceKind::Announcement, at(ifindex, address))
    }

    /// 10 ms on each interface; 20 ms and 5 ms on "a" and "b" together.
    fn pacer() -> Box<Pacer> {
        let pauses = |garp, gna| Pauses { garp: MS.times(garp), gna: MS.times(gna) };
        let group =
            GarpGroup { interfaces: vec!["a".to_owned(), "b".to_owned()], pauses: pauses(20, 5) };
        let delays =
            Delays { pauses: pauses(10, 0), garp_groups: vec![group], ..Delays::default() };
        Pacer::new(&delays).unwrap()
    }

    /// Everything that is sent from now on, with the milliseconds after which it is.
    fn rest(pacer: &mut Pacer, counts: impl Fn(InterfaceAddr) -> bool) -> Vec<(u64, String)> {
        let mut sent = Vec::new();
        while let Some(at) = pacer.next() {
            assert_eq!(pacer.due(Nanos(at.0 - 1), &counts), None);
            while let Some((kind, place)) = pacer.due(at, &counts) {
                let probe = if kind == AnnounceKind::Probe { "?" } else { "" };
                sent.push((at.0 / MS.0, format!("{}{probe}", place.address)));
            }
        }
        sent
    }

    fn order(sent: &[(u64, &str)]) -> Vec<(u64, String)> {
        sent.iter().map(|(at, what)| (*at, (*what).to_owned())).collect()
    }

    #[test]
    fn without_pauses_there_is_nothing() {
        assert!(Pacer::new(&Delays::default()).is_none());
    }

    #[test]
    fn five_rounds_are_one_at_once_and_each_address_once_in_its_turn() {
        let mut pacer = pacer();
        let mut at_once = Vec::new();
        for _ in 0..5 {
            for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
                if pacer.admit(MS, "eth0", announcement(2, address)) {
                    at_once.push(address);
                }
            }
        }
        assert_eq!(at_once, ["10.0.0.1"]);
        assert_eq!(pacer.waiting(), 3);
        let sent = rest(&mut pacer, |_| true);
        assert_eq!(sent, order(&[(11, "10.0.0.2"), (21, "10.0.0.3"), (31, "10.0.0.1")]));
        assert!(pacer.admit(MS.times(41), "eth0", announcement(2, "10.0.0.1")));
        assert!(!pacer.admit(MS.times(50), "eth0", announcement(2, "10.0.0.1")));
        assert!(pacer.admit(MS.times(50), "eth1", announcement(3, "10.0.0.1")));
    }

    #[test]
    fn interfaces_of_a_group_wait_for_each_other_and_families_do_not() {
        let mut pacer = pacer();
        assert!(pacer.admit(MS, "a", announcement(2, "10.0.0.1")));
        assert!(!pacer.admit(MS, "b", announcement(3, "10.0.0.2")));
        assert!(pacer.admit(MS, "b", announcement(3, "fe80::1")));
        assert!(!pacer.admit(MS, "a", announcement(2, "fe80::2")));
        // No limit for this one.
        assert!(pacer.admit(MS, "c", announcement(4, "fe80::1")));
        assert!(pacer.admit(MS, "c", announcement(4, "fe80::1")));
        let sent = rest(&mut pacer, |_| true);
        assert_eq!(sent, order(&[(6, "fe80::2"), (21, "10.0.0.2")]));
    }

    #[test]
    fn what_was_given_up_is_not_announced_and_takes_nobodys_turn() {
        let mut pacer = pacer();
        assert!(pacer.admit(MS, "a", announcement(2, "10.0.0.1")));
        for address in ["10.0.0.2", "10.0.0.3", "10.0.0.4"] {
            assert!(!pacer.admit(MS, "a", announcement(2, address)));
            assert!(!pacer.admit(MS, "a", (AnnounceKind::Probe, at(2, address))));
        }
        pacer.forget(at(2, "10.0.0.2"));
        let sent = rest(&mut pacer, |place| place != at(2, "10.0.0.3"));
        assert_eq!(sent, order(&[(21, "10.0.0.4"), (41, "10.0.0.4?")]));

        assert!(pacer.admit(MS.times(100), "eth0", announcement(5, "10.0.0.1")));
        assert!(!pacer.admit(MS.times(100), "eth0", announcement(5, "10.0.0.2")));
        pacer.forget(at(5, "10.0.0.2"));
        assert_eq!(pacer.next(), None);
    }

    #[test]
    fn an_interface_that_is_gone_leaves_nothing() {
        let mut pacer = pacer();
        for address in ["10.0.0.1", "10.0.0.2"] {
            pacer.admit(MS, "eth0", announcement(9, address));
            pacer.admit(MS, "a", announcement(2, address));
            pacer.admit(MS, "b", announcement(3, address));
        }
        pacer.interface_removed(InterfaceId::own(9));
        pacer.interface_removed(InterfaceId::own(3));
        assert_eq!(rest(&mut pacer, |_| true), order(&[(21, "10.0.0.2")]));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Announce(u8, bool),
        Forget(u8),
        Gone(u8),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u8..24, any::<bool>()).prop_map(|(n, probe)| Step::Announce(n, probe)),
            1 => (0_u8..24).prop_map(Step::Forget),
            1 => (0_u8..4).prop_map(Step::Gone),
            4 => (0_u64..30).prop_map(Step::Pass),
        ]
    }

    /// The names of interfaces 0 to 3.
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    proptest! {
        /// Whatever happens: no two go within one scope in its pause, nothing that was forgotten is sent, nothing waits
        /// twice, and nothing waits for ever.
        #[test]
        fn pauses_are_kept(steps in proptest::collection::vec(step(), 1..200)) {
            let mut pacer = pacer();
            let mut now = MS;
            let mut expected = BTreeSet::new();
            let last = RefCell::new(BTreeMap::<PacingScope, Nanos>::new());
            let place = |n: u8| at(u32::from(n % 4), &format!("10.0.0.{n}"));
            let sent = |(_, place): Item, now: Nanos| {
                let (scope, pause) = match place.iface.ifindex {
                    0 | 1 => (PacingScope::Group(0), 20),
                    _ => (PacingScope::Interface(place.iface), 10),
                };
                let before = last.borrow_mut().insert(scope, now);
                assert!(before.is_none_or(|before| now >= before + MS.times(pause)));
            };
            for step in steps.into_iter().chain([Step::Pass(10_000)]) {
                match step {
                    Step::Announce(n, probe) => {
                        let kind = if probe { AnnounceKind::Probe } else { AnnounceKind::Announcement };
                        let item = (kind, place(n));
                        if pacer.admit(now, NAMES[usize::from(n % 4)], item) {
                            sent(item, now);
                        } else {
                            expected.insert(item);
                        }
                    }
                    Step::Forget(n) => {
                        pacer.forget(place(n));
                        expected.retain(|(_, other): &Item| *other != place(n));
                    }
                    Step::Gone(n) => {
                        pacer.interface_removed(InterfaceId::own(n.into()));
                        expected.retain(|(_, place): &Item| place.iface != InterfaceId::own(n.into()));
                        // Another interface of that number has not sent anything.
                        last.borrow_mut().remove(&PacingScope::Interface(InterfaceId::own(n.into())));
                    }
                    Step::Pass(ms) => {
                        let end = now + MS.times(ms);
                        while let Some(at) = pacer.next().filter(|at| *at <= end) {
                            now = now.max(at);
                            while let Some(item) = pacer.due(now, |_| true) {
                                prop_assert!(expected.remove(&item));
                                sent(item, now);
                            }
                        }
                        now = end;
                    }
                }
                prop_assert_eq!(pacer.waiting(), expected.len());
            }
            prop_assert!(expected.is_empty());
        }
    }
}
