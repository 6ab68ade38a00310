//! Which virtual addresses should be on which interface, and which are.
//!
//! Pure: it says what to ask of the kernel and is told how that went. At most one request per address is
//! under way, and what is wanted may change meanwhile; the last word wins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::compact::compact;
pub use super::presence::{Outcome, Request};
use crate::config::address::network;
use crate::core::interface_id::{InterfaceAddr, InterfaceId};
use crate::engine::types::RouterId;
use crate::types::planted::{Fault, planted};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Absent,
    Adding,
    Present,
    Removing,
}

#[derive(Clone, Debug)]
struct Entry {
    router: RouterId,
    prefix: u8,
    tracked: bool,
    wanted: bool,
    presence: Presence,
    /// Whether we put it there. What others put there is never removed.
    ours: bool,
    /// The kernel reported the address since it is being added, so that its end would be news. Until then what it
    /// reports is the end of the one before: notifications and answers come on different sockets.
    seen: bool,
    /// While adding: the kernel reported the address and then its end. While removing: it reported its end.
    lost: bool,
    /// Absent as far as is known: the last request has failed, but its answer may have been lost, or what a daemon left that
    /// was killed is still there.
    doubtful: bool,
    /// Rounds of gratuitous ARP that wait for the address.
    rounds: u32,
    /// Its place among the addresses of its router, as far as that is known.
    index: u32,
    /// It is there with other attributes than it should have, and must be removed before it is added again; the
    /// prefix length that it has then.
    replace: Option<u8>,
}

/// What the disappearance of an address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vanished {
    /// Nothing: we took it away, or never had it.
    Expected,
    /// The kernel removed it together with the primary address of its subnet, which we removed; put
    /// it back.
    Collateral,
    /// Somebody else removed the address of a master, and that matters to its router.
    Lost(RouterId),
    /// Somebody else removed it, and the configuration says that this does not matter (`no_track`).
    Untracked,
    /// What somebody else had put there is gone, and we have not put anything there yet.
    Foreign,
}

/// All virtual addresses on existing interfaces.
///
/// Each step costs what looking up one address costs, however many there are; only what is asked about all of them
/// ([`Self::held`], [`Self::present`], [`Self::interface_removed`]) looks at all.
#[derive(Default)]
pub struct AddressBook {
    entries: BTreeMap<InterfaceAddr, Entry>,
    /// Those that are not as wanted, and that nothing is under way for.
    open: BTreeSet<InterfaceAddr>,
    /// In which subnets addresses are being removed, or were and the kernel has not reported it yet, and how many.
    removing: BTreeMap<Subnet, usize>,
    /// What was removed and is still to be reported as gone, with its prefix length. What goes with a primary address is
    /// reported before it, but maybe behind the answer: notifications and answers come on different sockets.
    echoes: BTreeMap<InterfaceAddr, u8>,
    /// How many are under way, or there although they should not be.
    unsettled: usize,
}

/// The addresses of one interface of which the first one is primary, and takes the others with it (IPv4, without
/// `promote_secondaries`).
type Subnet = (InterfaceId, u8, IpAddr);

fn subnet(place: InterfaceAddr, prefix: u8) -> Subnet {
    (place.iface, prefix, network(place.address, prefix))
}

/// What an entry counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
struct EntryStatus {
    open: bool,
    settled: bool,
    removing: Option<Subnet>,
}

impl EntryStatus {
    /// That of no entry.
    const NONE: Self = Self { open: false, settled: true, removing: None };

    fn of(place: InterfaceAddr, entry: &Entry) -> Self {
        let Entry { wanted, presence, prefix, ref replace, .. } = *entry;
        let (open, settled) = match (wanted, presence) {
            (true, Presence::Absent) => (true, true),
            (false, Presence::Absent) => (entry.doubtful, !entry.doubtful),
            (true, Presence::Present) => (replace.is_some(), replace.is_none()),
            (false, Presence::Present) => (true, false),
            (true | false, Presence::Adding | Presence::Removing) => (false, false),
        };
        let removing = (presence == Presence::Removing).then(|| subnet(place, prefix));
        Self { open, settled, removing }
    }
}

impl AddressBook {
    /// Changes an entry, and keeps what is known of all of them.
    fn change<R>(
        &mut self,
        place: InterfaceAddr,
        change: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        let entry = self.entries.get_mut(&place)?;
        let before = EntryStatus::of(place, entry);
        let result = change(entry);
        let after = EntryStatus::of(place, entry);
        self.account(place, before, after);
        Some(result)
    }

    fn account(&mut self, place: InterfaceAddr, before: EntryStatus, after: EntryStatus) {
        if before == after {
            return;
        }
        if after.open {
            self.open.insert(place);
        } else if before.open {
            self.open.remove(&place);
        }
        self.unsettled += usize::from(!after.settled);
        self.unsettled -= usize::from(!before.settled);
        if let Some(subnet) = after.removing {
            self.removing(subnet);
        }
        if let Some(subnet) = before.removing {
            self.removed(subnet);
        }
    }

    /// One address more is being removed in a subnet.
    fn removing(&mut self, subnet: Subnet) {
        *self.removing.entry(subnet).or_default() += 1;
    }

    /// One address less is being removed in a subnet.
    fn removed(&mut self, subnet: Subnet) {
        if let Some(count) = self.removing.get_mut(&subnet) {
            *count -= 1;
            if *count == 0 {
                self.removing.remove(&subnet);
            }
        }
    }

    /// The end of an address was reported that was removed.
    fn echoed(&mut self, place: InterfaceAddr) {
        if let Some(prefix) = self.echoes.remove(&place) {
            self.removed(subnet(place, prefix));
        }
    }

    /// Everything was listed after all that was asked for had been carried out: nothing is reported any more of what was
    /// removed before.
    pub fn listed(&mut self) {
        while let Some((place, prefix)) = self.echoes.pop_first() {
            self.removed(subnet(place, prefix));
        }
    }

    /// Takes no more memory than it needs ([`super::compact`]).
    pub fn compact(&mut self) {
        compact(&mut self.entries);
    }

    /// Wants an address for a router. `Some(Add)` when the kernel must be asked now.
    pub fn want(
        &mut self,
        place: InterfaceAddr,
        router: RouterId,
        prefix: u8,
        tracked: bool,
    ) -> Option<Request> {
        // Nobody wants it until it is changed below.
        self.entries.entry(place).or_insert(Entry {
            router,
            prefix,
            tracked,
            wanted: false,
            presence: Presence::Absent,
            ours: false,
            seen: false,
            lost: false,
            doubtful: false,
            rounds: 0,
            index: 0,
            replace: None,
        });
        self.change(place, |entry| {
            entry.router = router;
            entry.tracked = tracked;
            entry.wanted = true;
            if entry.presence == Presence::Absent {
                entry.prefix = prefix;
            }
            entry.next_request()
        })?
    }

    /// An address that a router wants has other attributes from now on, `prefix` among them. `Some(Remove)` when the
    /// kernel must be asked now; that it is added again follows.
    pub fn replace(&mut self, place: InterfaceAddr, prefix: u8) -> Option<Request> {
        self.change(place, |entry| {
            if entry.presence == Presence::Absent {
                entry.prefix = prefix;
            } else {
                entry.replace = Some(prefix);
            }
            entry.next_request()
        })?
    }

    /// Forgets an address that nobody wants and that is not there.
    pub fn forget(&mut self, place: InterfaceAddr) {
        let over =
            |entry: &Entry| !entry.wanted && entry.presence == Presence::Absent && !entry.doubtful;
        if self.entries.get(&place).is_some_and(over) {
            self.entries.remove(&place);
        }
    }

    /// A router no longer wants an address. `Some(Remove)` when the kernel must be asked now. Nothing happens when
    /// another router has wanted it since: then it is that one's.
    pub fn unwant(&mut self, place: InterfaceAddr, router: RouterId) -> Option<Request> {
        if self.router(place) != Some(router) {
            return None;
        }
        self.change(place, |entry| {
            entry.wanted = false;
            entry.rounds = 0;
            entry.next_request()
        })?
    }

    /// Whether the answer to such a request is waited for.
    pub fn awaits(&self, place: InterfaceAddr, request: Request) -> bool {
        let presence = self.entries.get(&place).map(|entry| entry.presence);
        match request {
            Request::Add => presence == Some(Presence::Adding),
            Request::Remove => presence == Some(Presence::Removing),
        }
    }

    /// The first address for which the answer to such a request is waited for.
    pub fn awaiting(&self, request: Request) -> Option<InterfaceAddr> {
        self.entries.keys().copied().find(|place| self.awaits(*place, request))
    }

    /// A request was answered. `Some` when what is wanted changed meanwhile; after a failure nothing is
    /// asked until [`Self::retry`].
    pub fn completed(
        &mut self,
        place: InterfaceAddr,
        request: Request,
        outcome: Outcome,
    ) -> Option<Request> {
        let believed = outcome == Outcome::Failed && planted(Fault::FailedRemovalBelieved);
        let outcome = if believed { Outcome::Done } else { outcome };
        let removed = (request, outcome) == (Request::Remove, Outcome::Done);
        if let (true, IpAddr::V4(_), Some(entry)) =
            (removed, place.address, self.entries.get_mut(&place))
        {
            let (prefix, reported) = (entry.prefix, std::mem::take(&mut entry.lost));
            if !reported {
                self.removing(subnet(place, prefix));
                if let Some(before) = self.echoes.insert(place, prefix) {
                    self.removed(subnet(place, before));
                }
            }
        }
        self.change(place, |entry| {
            // Whichever it was, it may have been carried out, or may not: the other one is not spared then. And what was
            // reported may have been the end of the one before.
            let lost = std::mem::take(&mut entry.lost) && request == Request::Add;
            entry.doubtful = outcome == Outcome::Failed || lost;
            let now_present = outcome.is_there(request) && outcome != Outcome::Failed;
            entry.presence =
                if now_present && !lost { Presence::Present } else { Presence::Absent };
            match (request, outcome) {
                (Request::Add, Outcome::Done) => entry.ours = !lost,
                (Request::Remove, Outcome::Done | Outcome::WasSo) => entry.ours = false,
                (Request::Add, Outcome::WasSo) | (_, Outcome::Failed) => {}
            }
            match outcome {
                Outcome::Done | Outcome::WasSo => entry.next_request(),
                Outcome::Failed => None,
            }
        })?
    }

    /// Addresses that are not as wanted and nothing is under way for, marked as asked for.
    pub fn retry(&mut self) -> Vec<(InterfaceAddr, Request)> {
        let open: Vec<InterfaceAddr> = self.open.iter().copied().collect();
        let asked = open.into_iter().filter_map(|place| {
            let request = self.change(place, Entry::next_request)??;
            Some((place, request))
        });
        asked.collect()
    }

    /// Whether [`Self::retry`] would find something.
    pub fn needs_retry(&self) -> bool {
        !self.open.is_empty()
    }

    /// The kernel is asked to add an address with that prefix length.
    pub fn adding(&mut self, place: InterfaceAddr, prefix: u8) {
        self.change(place, |entry| entry.prefix = prefix);
    }

    /// The kernel says that an address is there, with that prefix length, and whether it bears our mark.
    pub fn appeared(&mut self, place: InterfaceAddr, prefix: u8, marked: bool) {
        self.change(place, |entry| {
            if entry.prefix == prefix {
                entry.seen = true;
                entry.lost = false;
                entry.ours |= marked && entry.presence == Presence::Present;
                // What others have put there is not ours, whatever came of a request.
                entry.doubtful &= marked;
            }
        });
    }

    /// Whether an address is believed to be gone, and neither wanted nor under way: what the kernel has of it with our mark
    /// is there for nobody. What is reported before the end of an address that was removed is older than that.
    pub fn is_over(&self, place: InterfaceAddr) -> bool {
        let over =
            |entry: &Entry| !entry.wanted && entry.presence == Presence::Absent && !entry.doubtful;
        !self.echoes.contains_key(&place) && self.entries.get(&place).is_some_and(over)
    }

    /// Whether an address is wanted for a router.
    pub fn wants(&self, place: InterfaceAddr) -> bool {
        self.entries.get(&place).is_some_and(|entry| entry.wanted)
    }

    /// Whether an address is wanted for a router, or may be there for one.
    pub fn holds(&self, place: InterfaceAddr) -> bool {
        let holds =
            |entry: &Entry| entry.wanted || entry.doubtful || entry.presence != Presence::Absent;
        self.entries.get(&place).is_some_and(holds)
    }

    /// Whether an address was put there by us, with that prefix length.
    pub fn is_ours(&self, place: InterfaceAddr, prefix: u8) -> bool {
        let ours = |entry: &Entry| entry.ours && entry.prefix == prefix;
        self.entries.get(&place).is_some_and(ours)
    }

    /// The kernel says that an address is gone that was there with that prefix length.
    pub fn vanished(&mut self, place: InterfaceAddr, prefix: u8) -> Vanished {
        if self.echoes.get(&place) == Some(&prefix) {
            self.echoed(place);
        }
        let removing_a_neighbour = self.removing.contains_key(&subnet(place, prefix));
        let vanished = self.change(place, |entry| {
            if entry.prefix != prefix {
                return Vanished::Expected;
            }
            let ours = entry.ours;
            match entry.presence {
                Presence::Present if entry.seen => {
                    entry.presence = Presence::Absent;
                    entry.ours = false;
                }
                // It may overtake the answer.
                Presence::Adding if entry.seen => entry.lost = true,
                Presence::Removing => {
                    entry.lost = true;
                    return Vanished::Expected;
                }
                Presence::Present | Presence::Adding | Presence::Absent => {
                    return Vanished::Expected;
                }
            }
            if !entry.wanted {
                Vanished::Expected
            } else if removing_a_neighbour {
                Vanished::Collateral
            } else if entry.presence == Presence::Absent && !ours {
                Vanished::Foreign
            } else if entry.tracked {
                Vanished::Lost(entry.router)
            } else {
                Vanished::Untracked
            }
        });
        vanished.unwrap_or(Vanished::Expected)
    }

    /// An interface is gone, and every address with it. The requests whose answers are still to come.
    pub fn interface_removed(&mut self, iface: InterfaceId) -> Vec<(InterfaceAddr, Request)> {
        let on_it = |place: &InterfaceAddr| place.iface == iface;
        let gone: Vec<_> = self.entries.extract_if(.., |place, _| on_it(place)).collect();
        for place in self.echoes.keys().copied().filter(on_it).collect::<Vec<_>>() {
            self.echoed(place);
        }
        let mut under_way = Vec::new();
        for (place, entry) in gone {
            self.account(place, EntryStatus::of(place, &entry), EntryStatus::NONE);
            match entry.presence {
                Presence::Adding => under_way.push((place, Request::Add)),
                Presence::Removing => under_way.push((place, Request::Remove)),
                Presence::Absent | Presence::Present => {}
            }
        }
        under_way
    }

    /// Asks for rounds of gratuitous ARP. True when the address is there; otherwise they are kept until
    /// it is.
    pub fn announce(&mut self, place: InterfaceAddr, rounds: u32) -> bool {
        match self.entries.get_mut(&place) {
            Some(entry) if entry.presence == Presence::Present => true,
            Some(entry) => {
                entry.rounds = entry.rounds.saturating_add(rounds);
                false
            }
            None => false,
        }
    }

    /// Rounds of gratuitous ARP that waited for this address and are due now.
    pub fn take_rounds(&mut self, place: InterfaceAddr) -> u32 {
        match self.entries.get_mut(&place) {
            Some(entry) if entry.presence == Presence::Present && entry.wanted => {
                std::mem::take(&mut entry.rounds)
            }
            Some(_) | None => 0,
        }
    }

    /// Which one of the addresses of its router an address is, so that it is found at once.
    pub fn set_index(&mut self, place: InterfaceAddr, index: usize) {
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.index = u32::try_from(index).unwrap_or(u32::MAX);
        }
    }

    /// What was said of that; 0 for nothing.
    pub fn index(&self, place: InterfaceAddr) -> usize {
        self.entries.get(&place).map_or(0, |entry| entry.index as usize)
    }

    /// The router that an address belongs to.
    pub fn router(&self, place: InterfaceAddr) -> Option<RouterId> {
        self.entries.get(&place).map(|entry| entry.router)
    }

    /// Whether the address is on its interface because of us.
    #[cfg(test)]
    pub fn installed(&self, place: InterfaceAddr) -> bool {
        self.entries.get(&place).is_some_and(|entry| entry.presence == Presence::Present)
    }

    /// Whether no request is under way and no address that is not wanted is still there.
    pub fn settled(&self) -> bool {
        self.unsettled == 0
    }

    /// Every address that is there because of us, or may be, with its router.
    pub fn held(&self) -> impl Iterator<Item = (InterfaceAddr, RouterId)> + '_ {
        let held = |entry: &Entry| match entry.presence {
            Presence::Absent => entry.doubtful,
            Presence::Present => entry.ours,
            Presence::Adding | Presence::Removing => true,
        };
        let entries = self.entries.iter().filter(move |(_, entry)| held(entry));
        entries.map(|(place, entry)| (*place, entry.router))
    }

    /// Every address that should be there, with its prefix length, for comparison with what the kernel lists.
    pub fn present(&self) -> impl Iterator<Item = (InterfaceAddr, u8)> + '_ {
        let entries = self.entries.iter().filter(|(_, entry)| entry.presence == Presence::Present);
        entries.map(|(place, entry)| (*place, entry.prefix))
    }
}

impl Entry {
    fn next_request(&mut self) -> Option<Request> {
        match (self.wanted, self.presence) {
            // Perhaps it is still there as it was before.
            (true, Presence::Absent) if self.doubtful && self.replace.is_some() && self.ours => {
                self.presence = Presence::Removing;
                Some(Request::Remove)
            }
            (true, Presence::Absent) => {
                self.prefix = self.replace.take().unwrap_or(self.prefix);
                self.presence = Presence::Adding;
                self.seen = false;
                self.lost = false;
                Some(Request::Add)
            }
            (false, Presence::Present) if !self.ours => {
                self.presence = Presence::Absent;
                None
            }
            (true, Presence::Present) if self.replace.is_some() && !self.ours => {
                self.presence = Presence::Absent;
                self.next_request()
            }
            (false, Presence::Present) => {
                self.presence = Presence::Removing;
                Some(Request::Remove)
            }
            (false, Presence::Absent) if self.doubtful => {
                self.presence = Presence::Removing;
                // Until the kernel says otherwise.
                self.ours = true;
                Some(Request::Remove)
            }
            (true, Presence::Present) if self.replace.is_some() => {
                self.presence = Presence::Removing;
                Some(Request::Remove)
            }
            (true, Presence::Adding | Presence::Present | Presence::Removing)
            | (false, Presence::Adding | Presence::Absent | Presence::Removing) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const R: RouterId = RouterId(0);
    const PREFIX: u8 = 24;

    fn at(address: &str) -> InterfaceAddr {
        InterfaceAddr { iface: InterfaceId::own(2), address: address.parse().unwrap() }
    }

    impl AddressBook {
        /// Whether what is known of all entries is what they are.
        fn adds_up(&self) -> bool {
            let mut fresh = Self::default();
            for (place, entry) in &self.entries {
                fresh.account(*place, EntryStatus::NONE, EntryStatus::of(*place, entry));
            }
            for (place, prefix) in &self.echoes {
                fresh.removing(subnet(*place, *prefix));
            }
            (&fresh.open, &fresh.removing, fresh.unsettled)
                == (&self.open, &self.removing, self.unsettled)
        }
    }

    fn installed(book: &mut AddressBook, place: InterfaceAddr, prefix: u8, tracked: bool) {
        assert_eq!(book.want(place, R, prefix, tracked), Some(Request::Add));
        assert_eq!(book.completed(place, Request::Add, Outcome::Done), None);
        book.appeared(place, prefix, true);
    }

    #[test]
    fn the_last_word_wins_over_a_request_under_way() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        assert_eq!(book.want(vip, R, 24, true), Some(Request::Add));
        assert_eq!(book.unwant(vip, R), None);
        assert!(!book.settled());
        assert_eq!(book.completed(vip, Request::Add, Outcome::Done), Some(Request::Remove));
        assert_eq!(book.want(vip, R, 24, true), None);
        assert_eq!(book.completed(vip, Request::Remove, Outcome::Done), Some(Request::Add));
        assert_eq!(book.completed(vip, Request::Add, Outcome::Done), None);
        assert!(book.settled() && book.installed(vip));
    }

    #[test]
    fn a_refused_address_is_asked_for_again_only_on_retry() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        book.want(vip, R, 24, true);
        assert_eq!(book.completed(vip, Request::Add, Outcome::Failed), None);
        assert!(book.needs_retry());
        assert_eq!(book.retry(), vec![(vip, Request::Add)]);
        assert!(book.retry().is_empty());
    }

    #[test]
    fn who_removed_it_decides_what_it_means() {
        let mut book = AddressBook::default();
        let (first, second, far) = (at("10.0.0.100"), at("10.0.0.101"), at("10.0.1.1"));
        let loose = at("10.9.0.1");
        for place in [first, second, far] {
            installed(&mut book, place, 24, true);
        }
        installed(&mut book, loose, 24, false);
        // The primary of a subnet goes, and the kernel takes its secondaries with it.
        assert_eq!(book.unwant(first, R), Some(Request::Remove));
        assert_eq!(book.vanished(first, PREFIX), Vanished::Expected);
        assert_eq!(book.vanished(second, PREFIX), Vanished::Collateral);
        assert_eq!(book.retry(), vec![(second, Request::Add)]);
        assert_eq!(book.vanished(far, PREFIX), Vanished::Lost(R));
        assert_eq!(book.vanished(loose, PREFIX), Vanished::Untracked);
        assert_eq!(book.vanished(at("192.0.2.1"), PREFIX), Vanished::Expected);
    }

    #[test]
    fn what_goes_with_its_subnet_may_be_reported_behind_the_answer() {
        let [first, second, third] = ["10.0.0.100", "10.0.0.101", "10.0.0.102"].map(at);
        let removed = || {
            let mut book = AddressBook::default();
            for place in [first, second, third] {
                installed(&mut book, place, PREFIX, true);
            }
            assert_eq!(book.unwant(first, R), Some(Request::Remove));
            book
        };
        let mut book = removed();
        assert_eq!(book.completed(first, Request::Remove, Outcome::Done), None);
        assert_eq!(book.vanished(second, PREFIX), Vanished::Collateral);
        // Its own end comes last: from now on, others do it.
        assert_eq!(book.vanished(first, PREFIX), Vanished::Expected);
        assert_eq!(book.vanished(third, PREFIX), Vanished::Lost(R));
        // Ahead of the answer; not there when it was to be removed; and not reported, but listed.
        let mut book = removed();
        assert_eq!(book.vanished(first, PREFIX), Vanished::Expected);
        assert_eq!(book.completed(first, Request::Remove, Outcome::Done), None);
        assert_eq!(book.vanished(second, PREFIX), Vanished::Lost(R));
        let mut book = removed();
        assert_eq!(book.completed(first, Request::Remove, Outcome::WasSo), None);
        assert_eq!(book.vanished(second, PREFIX), Vanished::Lost(R));
        let mut book = removed();
        assert_eq!(book.completed(first, Request::Remove, Outcome::Done), None);
        book.listed();
        assert_eq!(book.vanished(second, PREFIX), Vanished::Lost(R));
        let mut book = removed();
        assert_eq!(book.completed(first, Request::Remove, Outcome::Done), None);
        book.interface_removed(first.iface);
        assert!(book.removing.is_empty());
    }

    #[test]
    fn notifications_may_overtake_the_answer() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        // Put there by us and removed by somebody else before the answer is read.
        book.want(vip, R, 24, true);
        book.appeared(vip, PREFIX, true);
        assert_eq!(book.vanished(vip, PREFIX), Vanished::Lost(R));
        assert_eq!(book.unwant(vip, R), None);
        // Or that was about the one before, and this one is there.
        assert_eq!(book.completed(vip, Request::Add, Outcome::Done), Some(Request::Remove));
        assert_eq!(book.completed(vip, Request::Remove, Outcome::WasSo), None);
        assert!(!book.installed(vip) && book.settled());
        // Our own removal is reported when the address is being added again already.
        installed(&mut book, vip, 24, true);
        book.unwant(vip, R);
        book.want(vip, R, 24, true);
        assert_eq!(book.completed(vip, Request::Remove, Outcome::Done), Some(Request::Add));
        assert_eq!(book.vanished(vip, PREFIX), Vanished::Expected);
        book.appeared(vip, PREFIX, true);
        assert_eq!(book.completed(vip, Request::Add, Outcome::Done), None);
        assert!(book.installed(vip));
        // Or when it has been added again.
        book.unwant(vip, R);
        book.want(vip, R, 24, true);
        book.completed(vip, Request::Remove, Outcome::Done);
        book.completed(vip, Request::Add, Outcome::Done);
        assert_eq!(book.vanished(vip, PREFIX), Vanished::Expected);
        assert!(book.installed(vip));
        book.appeared(vip, PREFIX, true);
        assert_eq!(book.vanished(vip, PREFIX), Vanished::Lost(R));
    }

    #[test]
    fn gratuitous_arp_waits_for_its_address() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        book.want(vip, R, 24, true);
        assert!(!book.announce(vip, 5));
        assert_eq!(book.take_rounds(vip), 0);
        book.completed(vip, Request::Add, Outcome::Done);
        assert_eq!(book.take_rounds(vip), 5);
        assert_eq!(book.take_rounds(vip), 0);
        assert!(book.announce(vip, 5));
        book.unwant(vip, R);
        assert!(!book.announce(vip, 5));
    }

    #[test]
    fn what_another_router_wants_stays() {
        let mut book = AddressBook::default();
        let (vip, other) = (at("10.0.0.100"), RouterId(1));
        installed(&mut book, vip, 24, true);
        assert_eq!(book.want(vip, other, 24, true), None);
        assert_eq!(book.unwant(vip, R), None);
        assert!(book.installed(vip) && book.settled());
        assert_eq!(book.vanished(vip, PREFIX), Vanished::Lost(other));
        book.forget(vip);
        assert_eq!(book.router(vip), Some(other));
        assert_eq!(book.unwant(vip, other), None);
        book.forget(vip);
        assert_eq!(book.router(vip), None);
    }

    #[test]
    fn what_others_put_there_is_not_removed() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        assert_eq!(book.want(vip, R, PREFIX, true), Some(Request::Add));
        book.appeared(vip, PREFIX, false);
        assert_eq!(book.completed(vip, Request::Add, Outcome::WasSo), None);
        assert!(book.announce(vip, 1) && !book.is_ours(vip, PREFIX));
        assert_eq!(book.unwant(vip, R), None);
        assert!(book.settled());
        // They take it away while it is needed: then it is ours.
        assert_eq!(book.want(vip, R, PREFIX, true), Some(Request::Add));
        book.appeared(vip, PREFIX, false);
        book.completed(vip, Request::Add, Outcome::WasSo);
        assert_eq!(book.vanished(vip, 32), Vanished::Expected);
        assert_eq!(book.vanished(vip, PREFIX), Vanished::Foreign);
        assert_eq!(book.retry(), vec![(vip, Request::Add)]);
        book.completed(vip, Request::Add, Outcome::Done);
        book.appeared(vip, PREFIX, true);
        assert!(book.is_ours(vip, PREFIX));
        // And stays so, whatever becomes of the mark.
        book.appeared(vip, PREFIX, false);
        assert_eq!(book.unwant(vip, R), Some(Request::Remove));
    }

    #[test]
    fn what_bears_our_mark_is_ours_as_soon_as_that_is_known() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        book.want(vip, R, PREFIX, true);
        book.completed(vip, Request::Add, Outcome::WasSo);
        book.appeared(vip, PREFIX, true);
        assert_eq!(book.unwant(vip, R), Some(Request::Remove));
    }

    #[test]
    fn other_attributes_beside_what_others_put_there() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        book.want(vip, R, PREFIX, true);
        book.completed(vip, Request::Add, Outcome::WasSo);
        assert_eq!(book.replace(vip, 32), Some(Request::Add));
        book.completed(vip, Request::Add, Outcome::Done);
        assert!(book.is_ours(vip, 32));
    }

    #[test]
    fn what_a_failed_request_left_is_not_known() {
        // It may be there although adding it failed: it is removed when nobody wants it any more.
        let (mut book, place) = (AddressBook::default(), at("10.0.0.100"));
        assert_eq!(book.want(place, R, PREFIX, true), Some(Request::Add));
        assert_eq!(book.unwant(place, R), None);
        assert_eq!(book.completed(place, Request::Add, Outcome::Failed), None);
        assert!(book.needs_retry() && !book.settled());
        assert_eq!(book.retry(), [(place, Request::Remove)]);
        // Removing it failed as well, and may have been carried out: who wants it again asks for it.
        assert_eq!(book.completed(place, Request::Remove, Outcome::Failed), None);
        assert_eq!(book.want(place, R, PREFIX, true), Some(Request::Add));
        assert_eq!(book.completed(place, Request::Add, Outcome::Done), None);
        assert!(book.installed(place) && book.settled());
        // What others have put there is not removed, whatever came of a request.
        book.completed(place, Request::Add, Outcome::Failed);
        book.appeared(place, PREFIX, false);
        assert_eq!(book.unwant(place, R), None);
        assert!(book.settled() && !book.needs_retry());
    }

    #[test]
    fn other_attributes_need_another_address() {
        let mut book = AddressBook::default();
        let vip = at("10.0.0.100");
        installed(&mut book, vip, 24, true);
        assert_eq!(book.replace(vip, 32), Some(Request::Remove));
        assert!(!book.settled());
        assert_eq!(book.vanished(vip, PREFIX), Vanished::Expected);
        assert_eq!(book.completed(vip, Request::Remove, Outcome::Done), Some(Request::Add));
        assert_eq!(book.completed(vip, Request::Add, Outcome::Done), None);
        assert!(book.settled() && book.installed(vip));
        // While it is being added with the old ones, too.
        book.unwant(vip, R);
        book.completed(vip, Request::Remove, Outcome::Done);
        book.want(vip, R, 32, true);
        assert_eq!(book.replace(vip, 24), None);
        assert_eq!(book.completed(vip, Request::Add, Outcome::Done), Some(Request::Remove));
        assert_eq!(book.completed(vip, Request::Remove, Outcome::Done), Some(Request::Add));
        // And not when it is to go anyway.
        assert_eq!(book.completed(vip, Request::Add, Outcome::Done), None);
        book.replace(vip, 32);
        book.unwant(vip, R);
        assert_eq!(book.completed(vip, Request::Remove, Outcome::Done), None);
        assert!(book.settled());
        // When the removal is refused it is tried again.
        installed(&mut book, vip, 32, true);
        book.replace(vip, 24);
        assert_eq!(book.completed(vip, Request::Remove, Outcome::Failed), None);
        assert!(book.needs_retry());
        assert_eq!(book.retry(), vec![(vip, Request::Remove)]);
    }

    #[test]
    fn an_interface_that_is_gone_leaves_its_answers_to_come() {
        let mut book = AddressBook::default();
        let (first, second, third) = (at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3"));
        installed(&mut book, first, 24, true);
        installed(&mut book, second, 24, true);
        book.unwant(second, R);
        book.want(third, R, 24, true);
        let gone = [(second, Request::Remove), (third, Request::Add)];
        assert_eq!(book.interface_removed(InterfaceId::own(2)), gone);
        assert!(book.settled() && !book.needs_retry() && book.adds_up());
        assert!(!book.awaits(third, Request::Add));
    }

    proptest! {
        /// Whatever happens in whatever order: one request at a time, and in the end what was wanted last.
        #[test]
        fn converges(steps in prop::collection::vec(0u8..7, 0..60)) {
            let mut book = AddressBook::default();
            let vip = at("10.0.0.100");
            let mut under_way: Option<Request> = None;
            let mut wanted = false;
            let mut kernel = false;
            for step in steps {
                let asked = match step {
                    0 => { wanted = true; book.want(vip, R, 24, true) }
                    1 => { wanted = false; book.unwant(vip, R) }
                    2 => under_way.take().and_then(|request| {
                        kernel = request == Request::Add;
                        book.completed(vip, request, Outcome::Done)
                    }),
                    3 => under_way.take().and_then(|request| {
                        book.completed(vip, request, Outcome::Failed)
                    }),
                    4 => book.retry().first().map(|(_, request)| *request),
                    5 => book.replace(vip, 32),
                    _ => {
                        let prefix = book.entries.get(&vip).map_or(PREFIX, |entry| entry.prefix);
                        if under_way.is_none() && kernel { kernel = false; book.appeared(vip, prefix, true); book.vanished(vip, prefix); }
                        None
                    }
                };
                prop_assert!(book.adds_up());
                if let Some(request) = asked {
                    prop_assert!(under_way.is_none(), "two requests at once");
                    under_way = Some(request);
                }
            }
            for _ in 0..4 {
                if let Some(request) = under_way.take() {
                    kernel = request == Request::Add;
                    under_way = book.completed(vip, request, Outcome::Done);
                } else {
                    under_way = book.retry().first().map(|(_, request)| *request);
                }
            }
            prop_assert_eq!(kernel, wanted);
            prop_assert!(book.settled());
        }
    }
}
