//! A host's kernel as netlink shows it: one interface and its addresses, requests that it carries out, refuses, answers
//! late or not at all, and notifications that come before or after, or are lost.

use std::collections::VecDeque;
use std::net::IpAddr;

use vrrp_user::core::netlink::{
    Answer, Ask, AssignedAddress, Event, Link, Object, Request, RequestError,
};
use vrrp_user::core::{InterfaceAddr, InterfaceId};
use vrrp_user::engine::time::Nanos;

use super::rng::Rng;

/// When a request that is not answered is given up (`ANSWER`, io/netlink.rs).
const PATIENCE: Nanos = Nanos::from_secs(5);

/// By which bits the last bytes of the two addresses differ that a host may have.
const OTHER: u8 = 32;

/// How netlink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Everything is answered soon, and as a rule in order.
    Well,
    /// Everything takes its time, and answers come in any order.
    Slow,
    /// Some requests are refused.
    Refusing,
    /// Some answers do not come, whether or not the request was carried out.
    Mute,
    /// Some notifications are lost.
    Deaf,
}

impl Mood {
    pub const ALL: [Self; 7] =
        [Self::Well, Self::Well, Self::Slow, Self::Refusing, Self::Mute, Self::Deaf, Self::Deaf];
}

/// What the kernel has. It outlives daemons.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The index of eth0, another one whenever it was made anew; `None` while it is not there.
    pub iface: Option<InterfaceId>,
    next_ifindex: u32,
    pub mac: [u8; 6],
    /// Whether it has a carrier.
    pub up: bool,
    /// The host's own addresses.
    pub own: [IpAddr; 2],
    pub addresses: Vec<AssignedAddress>,
    /// Whether it has had them for long.
    pub settled: bool,
    /// What has changed and was not reported yet.
    changes: Vec<Event>,
}

impl Kernel {
    pub fn new(host: u8) -> Self {
        let mut kernel = Self {
            iface: None,
            next_ifindex: 2 + u32::from(host),
            mac: [2, 0, 0, 0, 0, host + 1],
            up: true,
            own: [
                IpAddr::from([10, 0, 0, host + 1]),
                IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(host) + 1]),
            ],
            addresses: Vec::new(),
            settled: true,
            changes: Vec::new(),
        };
        kernel.create();
        kernel
    }

    pub fn link(&self) -> Option<Link> {
        Some(Link {
            iface: self.iface?,
            name: "eth0".to_owned(),
            up: self.up,
            mac: Some(self.mac),
            mtu: 1500,
            aggregate: false,
            routed: false,
            vlan_of: None,
            enabled: true,
            xdp: true,
        })
    }

    fn address(&self, address: IpAddr, prefix: u8, marked: bool) -> Option<AssignedAddress> {
        Some(AssignedAddress {
            at: InterfaceAddr { iface: self.iface?, address },
            prefix,
            marked,
            tentative: false,
        })
    }

    /// Makes the interface, with the host's own addresses.
    pub fn create(&mut self) {
        if self.iface.is_some() {
            return;
        }
        self.iface = Some(InterfaceId::own(self.next_ifindex));
        self.next_ifindex += 10;
        self.changes.extend(self.link().map(Event::Link));
        let [v4, v6] = self.own;
        for (address, prefix) in [(v4, 24), (v6, 64)] {
            let at = self.address(address, prefix, false);
            at.into_iter().for_each(|at| self.put(at));
        }
    }

    /// Takes the interface away, and all that is on it.
    pub fn destroy(&mut self) {
        let Some(iface) = self.iface.take() else { return };
        for at in std::mem::take(&mut self.addresses) {
            self.changes.push(Event::AddressRemoved(at));
        }
        self.changes.push(Event::LinkRemoved(iface));
    }

    pub fn set_up(&mut self, up: bool) {
        if self.up != up {
            self.up = up;
            self.changes.extend(self.link().map(Event::Link));
        }
    }

    /// Whether the host has, or may have had a moment ago, an address of its own that is less than that one.
    pub fn ranks_below(&self, other: IpAddr) -> bool {
        let both = self.own.iter().flat_map(|own| match own {
            IpAddr::V4(own) => {
                let [a, b, c, d] = own.octets();
                [IpAddr::from([a, b, c, d]), IpAddr::from([a, b, c, d ^ OTHER])]
            }
            IpAddr::V6(own) => [IpAddr::V6(*own); 2],
        });
        both.filter(|own| own.is_ipv4() == other.is_ipv4()).any(|own| own < other)
    }

    /// The same of all of them.
    pub fn surely_ranks_below(&self, other: IpAddr) -> bool {
        let own = if other.is_ipv4() { self.own[0] } else { self.own[1] };
        own < other && self.settled
    }

    /// Gives the host another address of its own.
    pub fn readdress(&mut self) {
        let IpAddr::V4(old) = self.own[0] else { return };
        self.take(old.into());
        self.settled = false;
        let [a, b, c, d] = old.octets();
        self.own[0] = IpAddr::from([a, b, c, d ^ OTHER]);
        let new = self.address(self.own[0], 24, false);
        new.into_iter().for_each(|at| self.put(at));
    }

    /// An administrator puts a virtual address there.
    pub fn put_foreign(&mut self, address: IpAddr, prefix: u8) {
        if let Some(at) = self.address(address, prefix, false)
            && !self.has(&at)
        {
            self.put(at);
        }
    }

    /// An administrator takes away what others like him have put there.
    pub fn take_foreign(&mut self) {
        let own = self.own;
        let foreign = |at: &&AssignedAddress| !at.marked && !own.contains(&at.at.address);
        let foreign: Vec<_> = self.addresses.iter().filter(foreign).copied().collect();
        foreign.into_iter().for_each(|at| drop(self.remove(&at)));
    }

    /// An administrator takes an address away, whatever its prefix. Whether it was there.
    pub fn take(&mut self, address: IpAddr) -> bool {
        let found = self.addresses.iter().find(|at| at.at.address == address).copied();
        found.is_some_and(|at| self.remove(&at).is_ok())
    }

    fn has(&self, at: &AssignedAddress) -> bool {
        let same = |known: &AssignedAddress| (known.at, known.prefix) == (at.at, at.prefix);
        self.addresses.iter().any(same)
    }

    fn put(&mut self, at: AssignedAddress) {
        self.addresses.push(at);
        self.changes.push(Event::Address(at));
    }

    fn remove(&mut self, at: &AssignedAddress) -> Result<(), RequestError> {
        let same = |known: &AssignedAddress| {
            (known.at.address, known.prefix) == (at.at.address, at.prefix)
        };
        let Some(place) = self.addresses.iter().position(same) else {
            return Err(error(libc::EADDRNOTAVAIL));
        };
        let in_subnet = |known: &AssignedAddress| is_neighbour(at, known);
        // Without promote_secondaries the first address of a subnet takes the others with it (`__inet_del_ifa`,
        // net/ipv4/devinet.c).
        let is_primary = !self.addresses[..place].iter().any(in_subnet);
        let gone = self.addresses.remove(place);
        if is_primary {
            let others: Vec<_> =
                self.addresses.extract_if(.., |known| is_neighbour(at, known)).collect();
            self.changes.extend(others.into_iter().map(Event::AddressRemoved));
        }
        self.changes.push(Event::AddressRemoved(gone));
        Ok(())
    }

    fn carry_out(&mut self, ask: &Ask) -> Result<(), RequestError> {
        let Object::Address(address) = &ask.object else { return Ok(()) };
        if self.iface != Some(address.address.at.iface) {
            return Err(error(libc::ENODEV));
        }
        match ask.request {
            Request::Add if self.has(&address.address) => Err(error(libc::EEXIST)),
            Request::Add => {
                self.put(address.address);
                Ok(())
            }
            Request::Remove => self.remove(&address.address),
        }
    }

    pub fn take_changes(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.changes)
    }
}

fn error(errno: i32) -> RequestError {
    RequestError::new(Some(errno), "refused")
}

/// Whether two IPv4 addresses are in the same subnet as the kernel has it.
fn is_neighbour(one: &AssignedAddress, other: &AssignedAddress) -> bool {
    let (IpAddr::V4(a), IpAddr::V4(b)) = (one.at.address, other.at.address) else { return false };
    let shift = 32 - u32::from(one.prefix);
    one.prefix == other.prefix && u32::from(a).checked_shr(shift) == u32::from(b).checked_shr(shift)
}

/// What netlink brings the daemon.
#[derive(Debug)]
pub enum Message {
    /// A request is carried out.
    CarryOut,
    Answers(Vec<Answer>),
    /// The oldest notification; of a time before notifications were lost if the number is another one.
    Notification(u64),
    /// Links and addresses are read.
    List,
    Listed(Option<Link>, Vec<AssignedAddress>),
}

/// The netlink sockets of one daemon.
#[derive(Debug, Default)]
pub struct Netlink {
    /// Requests that are not carried out yet, in their order.
    asks: VecDeque<Ask>,
    carried_out: Nanos,
    /// Notifications on their way, in their order.
    notifications: VecDeque<Event>,
    notified: Nanos,
    /// How often notifications were lost.
    pub overruns: u64,
    /// When it last did something that the daemon has to make up for.
    pub disturbed: Nanos,
}

impl Netlink {
    /// What changes before that is listed then, and not reported.
    pub fn begin(&mut self, listed: Nanos) {
        self.notified = listed + Nanos::from_millis(10);
    }

    fn delay(rng: &mut Rng, mood: Mood) -> Nanos {
        match mood {
            Mood::Slow => rng.millis(500),
            Mood::Well | Mood::Refusing | Mood::Mute | Mood::Deaf => rng.millis(3),
        }
    }

    /// The daemon asks for something; `at` is when it is carried out.
    pub fn ask(&mut self, now: Nanos, rng: &mut Rng, mood: Mood, ask: Ask) -> (Nanos, Message) {
        // The kernel carries requests out in their order.
        self.carried_out = self.carried_out.max(now + Self::delay(rng, mood));
        self.asks.push_back(ask);
        (self.carried_out, Message::CarryOut)
    }

    /// The oldest request is carried out, or not; what comes of it, and when.
    pub fn carry_out(
        &mut self,
        now: Nanos,
        rng: &mut Rng,
        mood: Mood,
        kernel: &mut Kernel,
    ) -> Option<(Nanos, Message)> {
        let ask = self.asks.pop_front()?;
        let (mut at, mut result) = (now + Self::delay(rng, mood), None);
        match mood {
            Mood::Refusing if rng.chance(40) => {
                self.disturbed = self.disturbed.max(at);
                result = Some(Err(error(rng.pick(&[libc::EPERM, libc::ENOBUFS, libc::EBUSY]))));
            }
            Mood::Mute if rng.chance(40) => {
                if rng.chance(50) {
                    let _ = kernel.carry_out(&ask);
                }
                at = now + PATIENCE;
                self.disturbed = self.disturbed.max(at);
                result = Some(Err(RequestError::new(None, "no answer")));
            }
            Mood::Well | Mood::Slow | Mood::Refusing | Mood::Mute | Mood::Deaf => {}
        }
        let result = result.unwrap_or_else(|| kernel.carry_out(&ask));
        let Ask { request, subject, .. } = ask;
        Some((at, Message::Answers(vec![Answer { request, subject, result, ours: false }])))
    }

    /// The kernel has changed: what is said of it, and when.
    pub fn notify(
        &mut self,
        now: Nanos,
        rng: &mut Rng,
        mood: Mood,
        kernel: &mut Kernel,
    ) -> Vec<(Nanos, Message)> {
        let mut messages = Vec::new();
        for event in kernel.take_changes() {
            // They come in the order of the changes.
            self.notified = self.notified.max(now + Self::delay(rng, mood));
            if mood == Mood::Deaf && rng.chance(30) {
                self.overruns += 1;
                self.notifications.clear();
                self.notifications.push_back(Event::Overrun);
                messages.push((self.notified, Message::Notification(self.overruns)));
                let at = self.notified + rng.millis(50);
                messages.push((at, Message::List));
                // What changes from now on is reported after it.
                self.notified = at + Nanos::from_millis(10);
                self.disturbed = self.disturbed.max(self.notified);
                continue;
            }
            self.notifications.push_back(event);
            messages.push((self.notified, Message::Notification(self.overruns)));
        }
        messages
    }

    /// The oldest notification, unless it was lost.
    pub fn notification(&mut self, overruns: u64) -> Option<Event> {
        if overruns == self.overruns { self.notifications.pop_front() } else { None }
    }
}
