//! The interfaces of this network namespace as the kernel reports them.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::addresses::Place;
use crate::io::bpf::CaptureMode;
use crate::io::netlink::{Event, Link};

/// Whether advertisements can be received on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Not tried yet, or not needed.
    Detached,
    /// The XDP program is attached.
    Attached(CaptureMode),
    /// It could not be attached, and why.
    Failed(String),
}

/// One interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Name; may change.
    pub name: String,
    /// Up, with carrier.
    pub up: bool,
    /// Ethernet address, `None` for other kinds of interface.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet that it carries, bytes.
    pub mtu: u32,
    /// Whether the XDP program is there.
    pub capture: Capture,
    /// IPv4 addresses in the kernel's order, without the virtual ones.
    own: Vec<Ipv4Addr>,
    /// The same of IPv6, each with whether it is still tentative.
    own6: Vec<(Ipv6Addr, bool)>,
}

/// All interfaces, by index.
#[derive(Default)]
pub struct Interfaces {
    by_index: BTreeMap<u32, Interface>,
    /// Addresses that move between hosts, and therefore never identify this one; in order.
    virtual_addresses: Box<[IpAddr]>,
    /// The virtual addresses that are on an interface now, by whomever.
    present: HashSet<Place>,
}

/// What an [`Event`] means for the routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The interface or one of its own addresses changed: look at the routers on it again.
    Interface {
        /// Which.
        ifindex: u32,
        /// Whether it is gone.
        gone: bool,
    },
    /// A virtual address appeared on an interface.
    Virtual(Place),
    /// A virtual address disappeared from an interface.
    VirtualGone(Place),
}

impl Interfaces {
    /// An empty table that takes these addresses for virtual ones.
    pub fn new(virtual_addresses: Vec<IpAddr>) -> Self {
        let mut table = Self::default();
        table.take_for_virtual(virtual_addresses);
        table
    }

    /// Takes these addresses for virtual ones from now on, and no others. Returns the interfaces that seemed to own
    /// one of them.
    pub fn take_for_virtual(&mut self, mut addresses: Vec<IpAddr>) -> Vec<u32> {
        addresses.sort_unstable();
        addresses.dedup();
        self.virtual_addresses = addresses.into();
        let mut changed = Vec::new();
        for (&ifindex, interface) in &mut self.by_index {
            let is_virtual = |own: IpAddr| self.virtual_addresses.binary_search(&own).is_ok();
            let before = self.present.len();
            let v4 = interface.own.extract_if(.., |own| is_virtual((*own).into()));
            self.present.extend(v4.map(|own| Place { ifindex, address: own.into() }));
            let v6 = interface.own6.extract_if(.., |(own, _)| is_virtual((*own).into()));
            self.present.extend(v6.map(|(own, _)| Place { ifindex, address: own.into() }));
            if self.present.len() > before {
                changed.push(ifindex);
            }
        }
        changed
    }

    /// Whether an address is one that moves between hosts.
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        self.virtual_addresses.binary_search(&address).is_ok()
    }

    /// Takes in what the kernel reports.
    pub fn apply(&mut self, event: &Event) -> Change {
        match event {
            Event::Link(link) => self.link(link),
            Event::LinkGone(ifindex) => {
                self.present.retain(|place| place.ifindex != *ifindex);
                match self.by_index.remove(ifindex) {
                    Some(_) => Change::Interface { ifindex: *ifindex, gone: true },
                    None => Change::None,
                }
            }
            Event::Address(at) => {
                let place = Place { ifindex: at.ifindex, address: at.address };
                // That of an owner is not a virtual one, but it may have been put there by us.
                if self.is_virtual(at.address) || at.marked {
                    self.present.insert(place);
                    return Change::Virtual(place);
                }
                let Some(interface) = self.by_index.get_mut(&at.ifindex) else {
                    return Change::None;
                };
                let news = match at.address {
                    IpAddr::V4(address) => interface.own4(address),
                    IpAddr::V6(address) => interface.own6(address, at.tentative),
                };
                if news {
                    Change::Interface { ifindex: at.ifindex, gone: false }
                } else {
                    Change::None
                }
            }
            Event::AddressGone(at) => {
                let place = Place { ifindex: at.ifindex, address: at.address };
                if self.present.remove(&place) || self.is_virtual(at.address) {
                    return Change::VirtualGone(place);
                }
                match self.by_index.get_mut(&at.ifindex) {
                    Some(interface) => {
                        interface.own.retain(|own| IpAddr::V4(*own) != at.address);
                        interface.own6.retain(|(own, _)| IpAddr::V6(*own) != at.address);
                        Change::Interface { ifindex: at.ifindex, gone: false }
                    }
                    None => Change::None,
                }
            }
            Event::Route(_)
            | Event::RouteGone(_)
            | Event::Rule(_)
            | Event::RuleGone(_)
            | Event::RoutesOverrun
            | Event::Overrun => Change::None,
        }
    }

    fn link(&mut self, link: &Link) -> Change {
        let Link { ifindex, name, up, mac, mtu } = link.clone();
        let changed = match self.by_index.get_mut(&ifindex) {
            Some(known) => {
                let before = (&known.name, known.up, known.mac, known.mtu);
                let changed = before != (&name, up, mac, mtu);
                known.name = name;
                known.up = up;
                known.mac = mac;
                known.mtu = mtu;
                changed
            }
            None => {
                let capture = Capture::Detached;
                let interface =
                    Interface { name, up, mac, mtu, capture, own: Vec::new(), own6: Vec::new() };
                self.by_index.insert(ifindex, interface);
                true
            }
        };
        if changed { Change::Interface { ifindex, gone: false } } else { Change::None }
    }

    /// Forgets all addresses, before they are listed anew.
    pub fn forget_addresses(&mut self) {
        self.present.clear();
        for interface in self.by_index.values_mut() {
            interface.own.clear();
            interface.own6.clear();
        }
    }

    /// Indices of all interfaces.
    pub fn indices(&self) -> Vec<u32> {
        self.by_index.keys().copied().collect()
    }

    /// The interface of that index.
    pub fn get(&self, ifindex: u32) -> Option<&Interface> {
        self.by_index.get(&ifindex)
    }

    /// The interface of that index, to change what is known of its capture.
    pub fn get_mut(&mut self, ifindex: u32) -> Option<&mut Interface> {
        self.by_index.get_mut(&ifindex)
    }

    /// The interface of that name.
    pub fn by_name(&self, name: &str) -> Option<(u32, &Interface)> {
        self.by_index
            .iter()
            .find(|(_, interface)| interface.name == name)
            .map(|(ifindex, interface)| (*ifindex, interface))
    }

    /// Whether an Ethernet address is one of this host's.
    pub fn has_mac(&self, mac: [u8; 6]) -> bool {
        self.by_index.values().any(|interface| interface.mac == Some(mac))
    }

    /// Whether a virtual address is on its interface, by whomever it was put there.
    pub fn has(&self, place: Place) -> bool {
        self.present.contains(&place)
    }

    /// Whether an address is the interface's own, put there by an administrator.
    pub fn owns(&self, place: Place) -> bool {
        let Some(interface) = self.get(place.ifindex) else { return false };
        match place.address {
            IpAddr::V4(v4) => interface.own.contains(&v4),
            IpAddr::V6(v6) => interface.own6.iter().any(|(own, _)| *own == v6),
        }
    }

    /// Whether an address is on its interface and known to be unique there, so that it can be sent from.
    pub fn usable(&self, place: Place) -> bool {
        let Some(interface) = self.get(place.ifindex) else { return false };
        let own6 = |v6| interface.own6.iter().find(|(own, _)| *own == v6);
        match place.address {
            IpAddr::V6(v6) if own6(v6).is_some_and(|(_, tentative)| *tentative) => false,
            IpAddr::V4(_) | IpAddr::V6(_) => self.carries(place),
        }
    }

    /// Whether an address is on its interface, be it a virtual one or one of the interface's own, as those of
    /// an owner are.
    pub fn carries(&self, place: Place) -> bool {
        self.has(place) || self.owns(place)
    }
}

impl Interface {
    /// The address to send from: the first one that is not virtual.
    pub fn source(&self) -> Option<Ipv4Addr> {
        self.own.first().copied()
    }

    /// The IPv6 address to send from: the first link-local one that is not virtual and known to be unique (RFC 9568
    /// section 7.2).
    pub fn source6(&self) -> Option<Ipv6Addr> {
        let usable =
            |(own, tentative): &&(Ipv6Addr, bool)| own.is_unicast_link_local() && !tentative;
        self.own6.iter().find(usable).map(|(own, _)| *own)
    }

    /// Whether a link-local address of its own is still being looked at for duplicates.
    pub fn tentative6(&self) -> bool {
        self.own6.iter().any(|(own, tentative)| own.is_unicast_link_local() && *tentative)
    }

    /// Whether that is news.
    fn own4(&mut self, address: Ipv4Addr) -> bool {
        let news = !self.own.contains(&address);
        if news {
            self.own.push(address);
        }
        news
    }

    /// Whether that is news.
    fn own6(&mut self, address: Ipv6Addr, tentative: bool) -> bool {
        match self.own6.iter_mut().find(|(own, _)| *own == address) {
            Some((_, known)) => std::mem::replace(known, tentative) != tentative,
            None => {
                self.own6.push((address, tentative));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::netlink::InterfaceAddress;

    fn link(up: bool) -> Event {
        Event::Link(Link { ifindex: 2, name: "eth0".to_owned(), up, mac: Some([2; 6]), mtu: 1500 })
    }

    fn address(text: &str) -> InterfaceAddress {
        InterfaceAddress {
            ifindex: 2,
            address: text.parse().unwrap(),
            prefix: 24,
            marked: false,
            tentative: false,
        }
    }

    fn table() -> Interfaces {
        let mut table = Interfaces::new(vec!["10.0.0.100".parse().unwrap()]);
        table.apply(&link(true));
        table
    }

    #[test]
    fn the_source_is_never_a_virtual_address() {
        let mut table = table();
        table.apply(&Event::Address(address("10.0.0.100")));
        assert_eq!(table.get(2).unwrap().source(), None);
        let changed = Change::Interface { ifindex: 2, gone: false };
        assert_eq!(table.apply(&Event::Address(address("10.0.0.1"))), changed);
        assert_eq!(table.apply(&Event::Address(address("10.0.0.1"))), Change::None);
        table.apply(&Event::Address(address("10.0.0.2")));
        assert_eq!(table.get(2).unwrap().source(), Some(Ipv4Addr::new(10, 0, 0, 1)));
        table.apply(&Event::AddressGone(address("10.0.0.1")));
        assert_eq!(table.get(2).unwrap().source(), Some(Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn what_becomes_virtual_is_no_source_any_more() {
        let mut table = table();
        table.apply(&Event::Address(address("10.0.0.1")));
        table.apply(&Event::Address(address("10.0.0.2")));
        assert_eq!(table.take_for_virtual(vec!["10.0.0.1".parse().unwrap()]), [2]);
        assert_eq!(table.get(2).unwrap().source(), Some(Ipv4Addr::new(10, 0, 0, 2)));
        let place = Place { ifindex: 2, address: "10.0.0.1".parse().unwrap() };
        assert!(table.has(place) && !table.owns(place));
        assert_eq!(table.take_for_virtual(Vec::new()), Vec::<u32>::new());
        assert_eq!(
            table.apply(&Event::AddressGone(address("10.0.0.1"))),
            Change::VirtualGone(place)
        );
    }

    #[test]
    fn only_changes_are_reported() {
        let mut table = table();
        assert_eq!(table.apply(&link(true)), Change::None);
        assert_eq!(table.apply(&link(false)), Change::Interface { ifindex: 2, gone: false });
        let smaller = Event::Link(Link {
            ifindex: 2,
            name: "eth0".to_owned(),
            up: false,
            mac: Some([2; 6]),
            mtu: 576,
        });
        assert_eq!(table.apply(&smaller), Change::Interface { ifindex: 2, gone: false });
        assert_eq!(table.apply(&Event::LinkGone(2)), Change::Interface { ifindex: 2, gone: true });
        assert_eq!(table.apply(&Event::LinkGone(2)), Change::None);
        assert_eq!(table.apply(&Event::Address(address("10.0.0.1"))), Change::None);
    }

    #[test]
    fn virtual_addresses_are_followed_wherever_they_are() {
        let mut table = table();
        let place = Place { ifindex: 2, address: "10.0.0.100".parse().unwrap() };
        let come = table.apply(&Event::Address(address("10.0.0.100")));
        assert_eq!(come, Change::Virtual(place));
        assert!(table.has(place));
        let gone = table.apply(&Event::AddressGone(address("10.0.0.100")));
        assert_eq!(gone, Change::VirtualGone(place));
        assert!(!table.has(place));
    }

    #[test]
    fn an_address_of_its_own_is_carried_and_not_virtual() {
        let mut table = table();
        let place = Place { ifindex: 2, address: "10.0.0.1".parse().unwrap() };
        assert!(!table.carries(place));
        table.apply(&Event::Address(address("10.0.0.1")));
        assert_eq!((table.carries(place), table.has(place)), (true, false));
        let shared = Place { ifindex: 2, address: "10.0.0.100".parse().unwrap() };
        table.apply(&Event::Address(address("10.0.0.100")));
        assert!(table.carries(shared));
    }

    #[test]
    fn what_can_be_sent_from_is_there_and_unique() {
        let mut table = table();
        let usable = |table: &Interfaces, text: &str| {
            table.usable(Place { ifindex: 2, address: text.parse().unwrap() })
        };
        assert!(!usable(&table, "10.0.0.1"));
        table.apply(&Event::Address(address("10.0.0.1")));
        table.apply(&Event::Address(InterfaceAddress { marked: true, ..address("10.0.0.2") }));
        assert!(usable(&table, "10.0.0.1") && usable(&table, "10.0.0.2"));
        let tentative = InterfaceAddress { tentative: true, ..address("fe80::1") };
        table.apply(&Event::Address(tentative));
        assert!(!usable(&table, "fe80::1"));
        table.apply(&Event::Address(address("fe80::1")));
        assert!(usable(&table, "fe80::1"));
        table.apply(&Event::AddressGone(address("10.0.0.1")));
        assert!(!usable(&table, "10.0.0.1"));
    }

    #[test]
    fn the_ipv6_source_is_a_unique_link_local_address() {
        let mut table = Interfaces::new(vec!["fe80::100".parse().unwrap()]);
        table.apply(&link(true));
        let source =
            |table: &Interfaces| table.get(2).unwrap().source6().map(|own| own.to_string());
        let changed = Change::Interface { ifindex: 2, gone: false };
        table.apply(&Event::Address(address("fe80::100")));
        table.apply(&Event::Address(address("2001:db8::1")));
        assert_eq!(source(&table), None);
        let tentative = InterfaceAddress { tentative: true, ..address("fe80::1") };
        assert_eq!(table.apply(&Event::Address(tentative)), changed);
        assert_eq!(source(&table), None);
        assert_eq!(table.apply(&Event::Address(address("fe80::1"))), changed);
        assert_eq!(table.apply(&Event::Address(address("fe80::1"))), Change::None);
        assert_eq!(source(&table).as_deref(), Some("fe80::1"));
        assert!(table.owns(Place { ifindex: 2, address: "2001:db8::1".parse().unwrap() }));
        assert_eq!(table.apply(&Event::AddressGone(address("fe80::1"))), changed);
        assert_eq!(source(&table), None);
        table.forget_addresses();
        assert!(!table.owns(Place { ifindex: 2, address: "2001:db8::1".parse().unwrap() }));
    }
}
