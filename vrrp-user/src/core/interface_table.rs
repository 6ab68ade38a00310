//! The interfaces of all network namespaces in use, as the kernel reports them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Bound, Deref};

use super::attempt::Attempt;
use super::compact::compact;
use super::input::Hooks;
use super::interface_id::InterfaceAddr;
use super::netlink::{AssignedAddress, Event, Link};
use crate::capture::{CaptureMode, Choice, Facts, Plan};
use crate::config::address::network;
use crate::core::interface_id::{InterfaceId, NamespaceId};

/// Whether advertisements can be received on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Not tried yet, or not needed.
    Detached,
    /// In this mode.
    Attached(Choice),
    /// Not at all, and why.
    Failed(String),
}

/// One interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// What the kernel says of it.
    pub link: Link,
    /// How advertisements are received on it.
    pub capture: Capture,
    /// Where our programs should be on it.
    pub hooks: Hooks,
    /// Whether the program that counts what leaves is still to come, or to be put back.
    pub mends_egress: bool,
    /// What was tried last, if that went well.
    pub planned: Option<Plan>,
    /// What is being tried; as a rule nothing.
    pub attempt: Option<Attempt>,
    /// Its addresses in the kernel's order, without the virtual ones.
    own: Vec<OwnAddress>,
}

/// An address that an administrator has put on an interface, for the host itself.
#[derive(Clone, Copy, Debug)]
struct OwnAddress {
    address: IpAddr,
    prefix: u8,
    /// IPv6: nothing may be sent from it yet.
    tentative: bool,
    /// Its place in the kernel's order.
    order: u64,
}

/// The interfaces that are up, by the subnets in which they are: found once for many addresses.
pub struct Subnets<'a> {
    by_prefix: BTreeMap<u8, BTreeMap<IpAddr, Places<'a>>>,
}

type Places<'a> = Vec<(InterfaceId, &'a Interface)>;

impl Subnets<'_> {
    /// Another interface than that one, by which the host is in the subnet of an address: by ARP, it answers for that, too.
    pub fn beside(&self, at: InterfaceAddr) -> impl Iterator<Item = &Interface> {
        let found = self
            .by_prefix
            .iter()
            .filter_map(move |(prefix, subnets)| subnets.get(&network(at.address, *prefix)));
        let beside = move |(id, _): &&(InterfaceId, &Interface)| {
            *id != at.iface && id.namespace == at.iface.namespace
        };
        found.flatten().filter(beside).map(|(_, interface)| *interface)
    }
}

/// A virtual address on an interface, by whomever it was put there.
#[derive(Clone, Copy, Debug)]
struct VirtualAddress {
    /// Whether it bears the mark of this program.
    marked: bool,
    /// Its place in the kernel's order.
    order: u64,
}

/// All interfaces, by index.
#[derive(Default)]
pub struct InterfaceTable {
    by_index: BTreeMap<InterfaceId, Interface>,
    by_name: BTreeMap<Box<str>, InterfaceId>,
    /// Addresses that move between hosts, and therefore never identify this one; in order.
    virtual_addresses: Box<[(NamespaceId, IpAddr)]>,
    /// The virtual addresses that are on an interface now, by whomever, with their prefix lengths: the kernel can hold
    /// an IPv4 address once with each.
    present: BTreeMap<(InterfaceAddr, u8), VirtualAddress>,
    /// How many addresses were seen.
    seen: u64,
}

/// What an [`Event`] means for the routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The interface or one of its own addresses changed: look at the routers on it again.
    Interface {
        /// Which.
        iface: InterfaceId,
        /// Whether it is gone.
        removed: bool,
    },
    /// A virtual address appeared on an interface.
    Virtual(AssignedAddress),
    /// A virtual address disappeared from an interface.
    VirtualRemoved(AssignedAddress),
}

impl InterfaceTable {
    /// Where the host is, by IPv4.
    pub fn subnets(&self) -> Subnets<'_> {
        let mut by_prefix: BTreeMap<u8, BTreeMap<IpAddr, Places<'_>>> = BTreeMap::new();
        for (id, interface) in self.by_index.iter().filter(|(_, interface)| interface.link.up) {
            for own in interface.own.iter().filter(|own| own.address.is_ipv4()) {
                let subnets = by_prefix.entry(own.prefix).or_default();
                let subnet = network(own.address, own.prefix);
                subnets.entry(subnet).or_default().push((*id, interface));
            }
        }
        Subnets { by_prefix }
    }

    /// Takes no more memory than it needs ([`super::compact`]).
    pub fn compact(&mut self) {
        compact(&mut self.present);
    }

    /// An empty table that takes these addresses for virtual ones.
    pub fn new(virtual_addresses: Vec<(NamespaceId, IpAddr)>) -> Self {
        let mut table = Self::default();
        table.take_for_virtual(virtual_addresses);
        table
    }

    /// Takes these addresses for virtual ones from now on, and no others. Returns the interfaces that seemed to own
    /// one of them, or own one that was virtual before.
    pub fn take_for_virtual(
        &mut self,
        mut addresses: Vec<(NamespaceId, IpAddr)>,
    ) -> Vec<InterfaceId> {
        addresses.sort_unstable();
        addresses.dedup();
        self.virtual_addresses = addresses.into();
        let Self { by_index, virtual_addresses, present, .. } = self;
        let is_virtual = |place: InterfaceAddr| {
            virtual_addresses.binary_search(&(place.iface.namespace, place.address)).is_ok()
        };
        let mut changed = BTreeSet::new();
        // What this program put there stays virtual.
        let returned = present
            .extract_if(.., |(place, _), found| !found.marked && !is_virtual(*place))
            .collect::<Vec<_>>();
        for (&iface, interface) in by_index.iter_mut() {
            let at = |own: &OwnAddress| InterfaceAddr { iface, address: own.address };
            for own in interface.own.extract_if(.., |own| is_virtual(at(own))) {
                let place = InterfaceAddr { iface, address: own.address };
                let found = VirtualAddress { marked: false, order: own.order };
                present.insert((place, own.prefix), found);
                changed.insert(iface);
            }
        }
        for ((InterfaceAddr { iface, address }, prefix), VirtualAddress { order, .. }) in returned {
            if let Some(interface) = by_index.get_mut(&iface) {
                interface.own.push(OwnAddress { address, prefix, tentative: false, order });
                interface.own.sort_by_key(|own| own.order);
                changed.insert(iface);
            }
        }
        changed.into_iter().collect()
    }

    /// Whether an address is one that moves between hosts.
    pub fn is_virtual(&self, place: InterfaceAddr) -> bool {
        let entry = (place.iface.namespace, place.address);
        self.virtual_addresses.binary_search(&entry).is_ok()
    }

    /// Takes in what the kernel reports.
    pub fn apply(&mut self, event: &Event) -> Change {
        match event {
            Event::Link(link) => self.link(link),
            Event::LinkRemoved(iface) => {
                self.present.retain(|(place, _), _| place.iface != *iface);
                match self.by_index.remove(iface) {
                    Some(known) => {
                        if self.by_name.get(&*known.name) == Some(iface) {
                            self.by_name.remove(&*known.name);
                        }
                        Change::Interface { iface: *iface, removed: true }
                    }
                    None => Change::None,
                }
            }
            Event::Address(at) => self.address(at),
            Event::AddressRemoved(at) => {
                let key = (at.at, at.prefix);
                if self.present.remove(&key).is_some() || self.is_virtual(at.at) {
                    return Change::VirtualRemoved(*at);
                }
                match self.by_index.get_mut(&at.at.iface) {
                    Some(interface) => {
                        interface
                            .own
                            .retain(|own| (own.address, own.prefix) != (at.at.address, at.prefix));
                        Change::Interface { iface: at.at.iface, removed: false }
                    }
                    None => Change::None,
                }
            }
            Event::Route(_)
            | Event::RouteRemoved(_)
            | Event::Rule(_)
            | Event::RuleRemoved(_)
            | Event::RoutesOverrun
            | Event::Overrun => Change::None,
        }
    }

    /// The names that stand for another interface, or for none, when this event has been taken in.
    pub fn names_changed_by(&self, event: &Event) -> [Option<String>; 2] {
        match event {
            Event::Link(link) => match self.by_index.get(&link.iface) {
                Some(known) if known.name == link.name => [None, None],
                Some(known) => [Some(known.name.clone()), Some(link.name.clone())],
                None => [Some(link.name.clone()), None],
            },
            Event::LinkRemoved(iface) => {
                [self.by_index.get(iface).map(|known| known.name.clone()), None]
            }
            Event::Address(_)
            | Event::AddressRemoved(_)
            | Event::Route(_)
            | Event::RouteRemoved(_)
            | Event::Rule(_)
            | Event::RuleRemoved(_)
            | Event::RoutesOverrun
            | Event::Overrun => [None, None],
        }
    }

    fn address(&mut self, at: &AssignedAddress) -> Change {
        self.seen += 1;
        let key = (at.at, at.prefix);
        let is_virtual = self.is_virtual(at.at);
        let interface = self.by_index.get_mut(&at.at.iface);
        // That of an owner is not a virtual one, but it may have been put there by us.
        if at.marked || is_virtual {
            let order = self.present.get(&key).map_or(self.seen, |known| known.order);
            self.present.insert(key, VirtualAddress { marked: at.marked, order });
            if let Some(interface) = interface {
                interface.own.retain(|own| (own.address, own.prefix) != (at.at.address, at.prefix));
            }
            return Change::Virtual(*at);
        }
        // Somebody may have taken the mark away.
        let order = self.present.remove(&key).map_or(self.seen, |known| known.order);
        if interface.is_some_and(|interface| interface.own(at, order)) {
            Change::Interface { iface: at.at.iface, removed: false }
        } else {
            Change::None
        }
    }

    fn link(&mut self, link: &Link) -> Change {
        let iface = link.iface;
        let changed = Change::Interface { iface, removed: false };
        let Some(known) = self.by_index.get_mut(&iface) else {
            self.by_name.insert(link.name.as_str().into(), iface);
            self.by_index.insert(iface, Interface::new(link.clone()));
            return changed;
        };
        let before = std::mem::replace(&mut known.link, link.clone());
        if before.name != link.name {
            // Another one may have got the old name already.
            if self.by_name.get(&*before.name) == Some(&iface) {
                self.by_name.remove(&*before.name);
            }
            self.by_name.insert(link.name.as_str().into(), iface);
        }
        // What else is new concerns nobody.
        let Link { enabled, xdp, .. } = *link;
        if (Link { enabled, xdp, ..before }) == *link { Change::None } else { changed }
    }

    /// Forgets all addresses, before they are listed anew.
    pub fn forget_addresses(&mut self) {
        self.present.clear();
        for interface in self.by_index.values_mut() {
            interface.own.clear();
        }
    }

    /// Indices of all interfaces.
    pub fn indices(&self) -> Vec<InterfaceId> {
        self.by_index.keys().copied().collect()
    }

    /// The interface of that index.
    pub fn get(&self, iface: InterfaceId) -> Option<&Interface> {
        self.by_index.get(&iface)
    }

    /// The interface of that index, to change what is known of its capture.
    pub fn get_mut(&mut self, iface: InterfaceId) -> Option<&mut Interface> {
        self.by_index.get_mut(&iface)
    }

    /// The interface of that name.
    pub fn by_name(&self, name: &str) -> Option<(InterfaceId, &Interface)> {
        let iface = *self.by_name.get(name)?;
        Some((iface, self.by_index.get(&iface)?))
    }

    /// Whether it is not known of all how they capture.
    pub fn any_attaching(&self) -> bool {
        self.by_index.values().any(Interface::is_attaching)
    }

    /// Whether there are programs that count what leaves, or are to come.
    pub fn any_counts(&self) -> bool {
        let counts =
            |interface: &Interface| interface.hooks.egress.is_some() || interface.mends_egress;
        self.by_index.values().any(counts)
    }

    /// The programs that count what leaves are nowhere any more.
    pub fn forget_egress_hooks(&mut self) {
        for interface in self.by_index.values_mut() {
            interface.hooks.egress = None;
        }
    }

    /// Where our programs should be, by ascending interfaces behind that one.
    pub fn hooks(&self, behind: Option<InterfaceId>) -> impl Iterator<Item = (InterfaceId, Hooks)> {
        let behind = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.by_index.range((behind, Bound::Unbounded));
        let attached = all.filter(|(_, interface)| interface.hooks != Hooks::default());
        attached.map(|(iface, interface)| (*iface, interface.hooks))
    }

    /// What decides how an interface captures, as far as that is in here.
    pub fn facts(&self, iface: InterfaceId) -> Facts {
        let aggregate = self.get(iface).is_some_and(|interface| interface.aggregate);
        let vlans_above = self.by_index.values().any(|above| above.vlan_of == Some(iface));
        Facts { aggregate, vlans_above, ..Facts::default() }
    }

    /// Whether an Ethernet address is one of this host's in a network namespace.
    pub fn has_mac(&self, namespace: NamespaceId, mac: [u8; 6]) -> bool {
        let mut there = self.by_index.iter().filter(|(iface, _)| iface.namespace == namespace);
        there.any(|(_, interface)| interface.mac == Some(mac))
    }

    /// Whether a virtual address is on its interface, by whomever it was put there.
    pub fn has(&self, place: InterfaceAddr) -> bool {
        self.found(place).next().is_some()
    }

    /// How a virtual address is on its interface: the prefix lengths, and whether it bears the mark of this program.
    pub fn found(&self, place: InterfaceAddr) -> impl Iterator<Item = (u8, bool)> {
        let found = self.present.range((place, 0)..=(place, u8::MAX));
        found.map(|((_, prefix), address)| (*prefix, address.marked))
    }

    /// Whether an address is the interface's own, put there by an administrator.
    pub fn owns(&self, place: InterfaceAddr) -> bool {
        self.own_prefixes(place).next().is_some()
    }

    /// The prefix lengths with which it is.
    pub fn own_prefixes(&self, place: InterfaceAddr) -> impl Iterator<Item = u8> {
        let own = self.get(place.iface).into_iter().flat_map(|on| &on.own);
        own.filter(move |own| own.address == place.address).map(|own| own.prefix)
    }

    /// Whether an address is on its interface and known to be unique there, so that it can be sent from.
    pub fn usable(&self, place: InterfaceAddr) -> bool {
        let Some(interface) = self.get(place.iface) else { return false };
        let own = interface.own.iter().find(|own| own.address == place.address);
        own.is_none_or(|own| !own.tentative) && self.carries(place)
    }

    /// Whether an address is on its interface, be it a virtual one or one of the interface's own, as those of
    /// an owner are.
    pub fn carries(&self, place: InterfaceAddr) -> bool {
        self.has(place) || self.owns(place)
    }
}

impl Deref for Interface {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Interface {
    fn new(link: Link) -> Self {
        Self {
            link,
            capture: Capture::Detached,
            hooks: Hooks::default(),
            mends_egress: false,
            planned: None,
            attempt: None,
            own: Vec::new(),
        }
    }

    /// Whether advertisements can be received there, as far as is known.
    pub fn receives(&self) -> bool {
        self.mode().is_some()
    }

    /// Whether it was tried to capture there, in vain.
    pub fn failed(&self) -> bool {
        match self.capture {
            Capture::Failed(_) => true,
            Capture::Attached(_) | Capture::Detached => false,
        }
    }

    /// Whether a packet socket captures there.
    pub fn is_raw(&self) -> bool {
        self.mode() == Some(CaptureMode::Raw)
    }

    /// How it captures.
    pub fn mode(&self) -> Option<CaptureMode> {
        match &self.capture {
            Capture::Attached(choice) => Some(choice.mode),
            Capture::Failed(_) | Capture::Detached => None,
        }
    }

    /// Why it captures in no better way.
    pub fn why_captured(&self) -> Option<&str> {
        match &self.capture {
            Capture::Attached(choice) => choice.why.as_deref(),
            Capture::Failed(_) | Capture::Detached => None,
        }
    }

    /// Whether it is not known yet how it captures.
    pub fn is_attaching(&self) -> bool {
        let asked = self.attempt.as_ref().is_some_and(|attempt| !attempt.void || attempt.again);
        self.capture == Capture::Detached && asked
    }

    /// Whether that plan has been carried out already.
    pub fn is_as_planned(&self, plan: &Plan) -> bool {
        self.receives() && self.planned.as_ref() == Some(plan)
    }

    /// The programs are detached from it.
    pub fn detached(&mut self) {
        self.capture = Capture::Detached;
        self.hooks = Hooks::default();
        self.planned = None;
        if let Some(attempt) = &mut self.attempt {
            (attempt.void, attempt.again) = (true, false);
        }
    }

    /// The address to send from: the first one that is not virtual.
    pub fn source(&self) -> Option<Ipv4Addr> {
        self.own.iter().find_map(|own| match own.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// The IPv6 address to send from: the first link-local one that is not virtual and known to be unique (RFC 9568
    /// section 7.2).
    pub fn source6(&self) -> Option<Ipv6Addr> {
        self.link_local().find(|(_, tentative)| !tentative).map(|(address, _)| address)
    }

    /// Whether a link-local address of its own is still being looked at for duplicates.
    pub fn tentative6(&self) -> bool {
        self.link_local().any(|(_, tentative)| tentative)
    }

    /// Its own link-local IPv6 addresses, and whether each is tentative.
    fn link_local(&self) -> impl Iterator<Item = (Ipv6Addr, bool)> {
        self.own.iter().filter_map(|own| match own.address {
            IpAddr::V6(address) => {
                address.is_unicast_link_local().then_some((address, own.tentative))
            }
            IpAddr::V4(_) => None,
        })
    }

    /// Takes an address for its own. Whether that is news.
    fn own(&mut self, at: &AssignedAddress, order: u64) -> bool {
        let AssignedAddress { at: InterfaceAddr { address, .. }, prefix, tentative, .. } = *at;
        let same = |own: &&mut OwnAddress| (own.address, own.prefix) == (address, prefix);
        match self.own.iter_mut().find(same) {
            Some(own) => std::mem::replace(&mut own.tentative, tentative) != tentative,
            None => {
                self.own.push(OwnAddress { address, prefix, tentative, order });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::netlink::AssignedAddress;

    /// An address in the network namespace of the daemon.
    fn own(address: &str) -> (NamespaceId, IpAddr) {
        (NamespaceId::OWN, address.parse().unwrap())
    }

    fn link(up: bool) -> Event {
        Event::Link(Link::ethernet(2, "eth0", up))
    }

    fn address(text: &str) -> AssignedAddress {
        AssignedAddress {
            at: InterfaceAddr::new(InterfaceId::own(2), text.parse::<IpAddr>().unwrap()),
            prefix: 24,
            marked: false,
            tentative: false,
        }
    }

    fn table() -> InterfaceTable {
        let mut table = InterfaceTable::new(vec![own("10.0.0.100")]);
        table.apply(&link(true));
        table
    }

    #[test]
    fn who_else_is_in_a_subnet_is_found() {
        let mut table = table();
        for (number, up) in [(3, true), (4, true), (5, false)] {
            table.apply(&Event::Link(Link::ethernet(number, &format!("eth{number}"), up)));
        }
        let own = |number, text: &str, prefix| AssignedAddress {
            at: InterfaceAddr::new(InterfaceId::own(number), text.parse::<IpAddr>().unwrap()),
            prefix,
            ..address("10.0.0.1")
        };
        for own in [
            own(2, "10.0.0.1", 24),
            own(3, "10.0.0.77", 25),
            own(4, "10.0.1.1", 24),
            own(5, "10.0.0.78", 24),
            own(4, "2001:db8::1", 64),
        ] {
            table.apply(&Event::Address(own));
        }
        let beside = |table: &InterfaceTable, number, text: &str| {
            let at = InterfaceAddr::new(InterfaceId::own(number), text.parse::<IpAddr>().unwrap());
            let names = |it: &Interface| it.name.to_string();
            table.subnets().beside(at).map(names).collect::<Vec<_>>()
        };
        assert_eq!(beside(&table, 2, "10.0.0.100"), ["eth3"]);
        assert_eq!(beside(&table, 3, "10.0.0.100"), ["eth0"]);
        assert_eq!(beside(&table, 2, "10.0.0.200"), [""; 0], "of /25");
        assert_eq!(
            beside(&table, 2, "2001:db8::100"),
            [""; 0],
            "over IPv6 nobody answers for others"
        );
        table.apply(&Event::Address(own(4, "192.0.2.1", 0)));
        assert_eq!(beside(&table, 2, "10.0.0.200"), ["eth4"], "the whole of IPv4");
    }

    #[test]
    fn the_source_is_never_a_virtual_address() {
        let mut table = table();
        table.apply(&Event::Address(address("10.0.0.100")));
        assert_eq!(table.get(InterfaceId::own(2)).unwrap().source(), None);
        let changed = Change::Interface { iface: InterfaceId::own(2), removed: false };
        assert_eq!(table.apply(&Event::Address(address("10.0.0.1"))), changed);
        assert_eq!(table.apply(&Event::Address(address("10.0.0.1"))), Change::None);
        table.apply(&Event::Address(address("10.0.0.2")));
        assert_eq!(
            table.get(InterfaceId::own(2)).unwrap().source(),
            Some(Ipv4Addr::new(10, 0, 0, 1))
        );
        table.apply(&Event::AddressRemoved(address("10.0.0.1")));
        assert_eq!(
            table.get(InterfaceId::own(2)).unwrap().source(),
            Some(Ipv4Addr::new(10, 0, 0, 2))
        );
    }

    #[test]
    fn what_becomes_virtual_is_no_source_any_more() {
        let mut table = table();
        table.apply(&Event::Address(address("10.0.0.1")));
        table.apply(&Event::Address(address("10.0.0.2")));
        assert_eq!(table.take_for_virtual(vec![own("10.0.0.1")]), [InterfaceId::own(2)]);
        assert_eq!(
            table.get(InterfaceId::own(2)).unwrap().source(),
            Some(Ipv4Addr::new(10, 0, 0, 2))
        );
        let place =
            InterfaceAddr { iface: InterfaceId::own(2), address: "10.0.0.1".parse().unwrap() };
        assert!(table.has(place) && !table.owns(place));
        assert_eq!(table.found(place).collect::<Vec<_>>(), [(24, false)]);
        // And is one again in the kernel's order, when that was a mistake.
        assert_eq!(table.take_for_virtual(Vec::new()), [InterfaceId::own(2)]);
        assert!(!table.has(place) && table.owns(place));
        assert_eq!(
            table.get(InterfaceId::own(2)).unwrap().source(),
            Some(Ipv4Addr::new(10, 0, 0, 1))
        );
        assert_eq!(table.take_for_virtual(Vec::new()), Vec::<InterfaceId>::new());
        // But not what this program put there.
        table.apply(&Event::Address(AssignedAddress { marked: true, ..address("10.0.0.100") }));
        assert_eq!(table.take_for_virtual(Vec::new()), Vec::<InterfaceId>::new());
        let gone = AssignedAddress { marked: true, ..address("10.0.0.100") };
        assert_eq!(table.apply(&Event::AddressRemoved(gone)), Change::VirtualRemoved(gone));
    }

    #[test]
    fn only_changes_are_reported() {
        let mut table = table();
        assert_eq!(table.apply(&link(true)), Change::None);
        assert_eq!(
            table.apply(&link(false)),
            Change::Interface { iface: InterfaceId::own(2), removed: false }
        );
        let smaller = Event::Link(Link { mtu: 576, ..Link::ethernet(2, "eth0", false) });
        assert_eq!(
            table.apply(&smaller),
            Change::Interface { iface: InterfaceId::own(2), removed: false }
        );
        assert_eq!(
            table.apply(&Event::LinkRemoved(InterfaceId::own(2))),
            Change::Interface { iface: InterfaceId::own(2), removed: true }
        );
        assert_eq!(table.apply(&Event::LinkRemoved(InterfaceId::own(2))), Change::None);
        assert_eq!(table.apply(&Event::Address(address("10.0.0.1"))), Change::None);
    }

    #[test]
    fn virtual_addresses_are_followed_wherever_they_are() {
        let mut table = table();
        let place =
            InterfaceAddr { iface: InterfaceId::own(2), address: "10.0.0.100".parse().unwrap() };
        let come = table.apply(&Event::Address(address("10.0.0.100")));
        assert_eq!(come, Change::Virtual(address("10.0.0.100")));
        assert!(table.has(place));
        let gone = table.apply(&Event::AddressRemoved(address("10.0.0.100")));
        assert_eq!(gone, Change::VirtualRemoved(address("10.0.0.100")));
        assert!(!table.has(place));
    }

    #[test]
    fn an_address_is_there_once_with_each_prefix_length() {
        let mut table = table();
        let place =
            InterfaceAddr { iface: InterfaceId::own(2), address: "10.0.0.100".parse().unwrap() };
        let ours = AssignedAddress { prefix: 32, marked: true, ..address("10.0.0.100") };
        table.apply(&Event::Address(address("10.0.0.100")));
        table.apply(&Event::Address(ours));
        assert_eq!(table.found(place).collect::<Vec<_>>(), [(24, false), (32, true)]);
        table.apply(&Event::AddressRemoved(ours));
        assert_eq!(table.found(place).collect::<Vec<_>>(), [(24, false)]);
        assert!(table.has(place));
    }

    #[test]
    fn an_address_of_its_own_is_carried_and_not_virtual() {
        let mut table = table();
        let place =
            InterfaceAddr { iface: InterfaceId::own(2), address: "10.0.0.1".parse().unwrap() };
        assert!(!table.carries(place));
        table.apply(&Event::Address(address("10.0.0.1")));
        assert_eq!((table.carries(place), table.has(place)), (true, false));
        let shared =
            InterfaceAddr { iface: InterfaceId::own(2), address: "10.0.0.100".parse().unwrap() };
        table.apply(&Event::Address(address("10.0.0.100")));
        assert!(table.carries(shared));
    }

    #[test]
    fn what_can_be_sent_from_is_there_and_unique() {
        let mut table = table();
        let usable = |table: &InterfaceTable, text: &str| {
            table.usable(InterfaceAddr {
                iface: InterfaceId::own(2),
                address: text.parse().unwrap(),
            })
        };
        assert!(!usable(&table, "10.0.0.1"));
        table.apply(&Event::Address(address("10.0.0.1")));
        table.apply(&Event::Address(AssignedAddress { marked: true, ..address("10.0.0.2") }));
        assert!(usable(&table, "10.0.0.1") && usable(&table, "10.0.0.2"));
        let tentative = AssignedAddress { tentative: true, ..address("fe80::1") };
        table.apply(&Event::Address(tentative));
        assert!(!usable(&table, "fe80::1"));
        table.apply(&Event::Address(address("fe80::1")));
        assert!(usable(&table, "fe80::1"));
        table.apply(&Event::AddressRemoved(address("10.0.0.1")));
        assert!(!usable(&table, "10.0.0.1"));
    }

    #[test]
    fn the_ipv6_source_is_a_unique_link_local_address() {
        let mut table = InterfaceTable::new(vec![own("fe80::100")]);
        table.apply(&link(true));
        let source = |table: &InterfaceTable| {
            table.get(InterfaceId::own(2)).unwrap().source6().map(|own| own.to_string())
        };
        let changed = Change::Interface { iface: InterfaceId::own(2), removed: false };
        table.apply(&Event::Address(address("fe80::100")));
        table.apply(&Event::Address(address("2001:db8::1")));
        assert_eq!(source(&table), None);
        let tentative = AssignedAddress { tentative: true, ..address("fe80::1") };
        assert_eq!(table.apply(&Event::Address(tentative)), changed);
        assert_eq!(source(&table), None);
        assert_eq!(table.apply(&Event::Address(address("fe80::1"))), changed);
        assert_eq!(table.apply(&Event::Address(address("fe80::1"))), Change::None);
        assert_eq!(source(&table).as_deref(), Some("fe80::1"));
        assert!(table.owns(InterfaceAddr {
            iface: InterfaceId::own(2),
            address: "2001:db8::1".parse().unwrap()
        }));
        assert_eq!(table.apply(&Event::AddressRemoved(address("fe80::1"))), changed);
        assert_eq!(source(&table), None);
        table.forget_addresses();
        assert!(!table.owns(InterfaceAddr {
            iface: InterfaceId::own(2),
            address: "2001:db8::1".parse().unwrap()
        }));
    }

    #[test]
    fn interfaces_are_found_by_the_name_that_they_have_now() {
        let mut table = table();
        let named =
            |table: &InterfaceTable, name: &str| table.by_name(name).map(|(iface, _)| iface);
        let renamed = |iface, name: &str| {
            let Event::Link(link) = link(true) else { unreachable!() };
            Event::Link(Link { iface: InterfaceId::own(iface), name: name.to_owned(), ..link })
        };
        let (first, second) = (InterfaceId::own(2), InterfaceId::own(3));
        assert_eq!(named(&table, "eth0"), Some(first));
        assert_eq!(table.names_changed_by(&link(false)), [None, None]);
        let event = renamed(2, "lan");
        let names = [Some("eth0".to_owned()), Some("lan".to_owned())];
        assert_eq!(table.names_changed_by(&event), names);
        table.apply(&event);
        assert_eq!((named(&table, "eth0"), named(&table, "lan")), (None, Some(first)));
        // Two may swap their names, and for a moment both have the same one.
        table.apply(&renamed(3, "lan"));
        assert_eq!(named(&table, "lan"), Some(second));
        table.apply(&renamed(2, "eth0"));
        assert_eq!((named(&table, "eth0"), named(&table, "lan")), (Some(first), Some(second)));
        table.apply(&Event::LinkRemoved(second));
        assert_eq!((named(&table, "eth0"), named(&table, "lan")), (Some(first), None));
    }

    #[test]
    fn interfaces_of_other_namespaces_are_others() {
        let mut table = table();
        let elsewhere = InterfaceId { namespace: NamespaceId(1), ifindex: 2 };
        assert!(table.get(elsewhere).is_none());
        assert_eq!(table.apply(&Event::LinkRemoved(elsewhere)), Change::None);
        assert!(table.get(InterfaceId::own(2)).is_some());
        assert_eq!(elsewhere.to_string(), "2@1");
    }
}
