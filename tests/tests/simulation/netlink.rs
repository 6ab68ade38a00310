//! A host's kernel as netlink shows it: two interfaces, addresses, routes and rules, requests that it carries out, refuses,
//! answers late or not at all, and notifications that come before or after, or are lost.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use vrrp_user::core::netlink::{
    Answer, Ask, AssignedAddress, Event, Link, Object, Request, RequestError, RouteKey, RouteSeen,
    RuleKey, Subject, UnicastFilter,
};
use vrrp_user::core::{InterfaceAddr, InterfaceId};
use vrrp_user::engine::time::Nanos;

use super::config::{NICS, own_addresses};
use super::rng::Rng;

/// When a request that is not answered is given up (`ANSWER`, io/netlink.rs).
const PATIENCE: Nanos = Nanos::from_secs(5);

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

/// An interface.
#[derive(Clone, Debug)]
pub struct Nic {
    /// Its index, another one whenever it was made anew; `None` while it is not there.
    pub iface: Option<InterfaceId>,
    pub mac: [u8; 6],
    /// Whether it has a carrier.
    pub up: bool,
    /// The host's own addresses.
    pub own: [IpAddr; 2],
    /// Whether it has had them for long.
    settled: bool,
}

/// What the kernel has. It outlives daemons.
#[derive(Clone, Debug)]
pub struct Kernel {
    host: usize,
    /// In the order of [`NICS`].
    pub nics: [Nic; 2],
    next_ifindex: u32,
    pub addresses: Vec<AssignedAddress>,
    pub routes: Vec<RouteSeen>,
    pub rules: Vec<RuleKey>,
    /// To which addresses it lets nothing in.
    pub refused: BTreeSet<IpAddr>,
    /// What has changed and was not reported yet.
    changes: Vec<Event>,
}

impl Kernel {
    pub fn new(host: usize) -> Self {
        let number = u8::try_from(host).unwrap() + 1;
        let nic = |nic: usize| {
            let place = u8::try_from(nic).unwrap();
            let link_local = 0x1000 * u16::from(place) + u16::from(number);
            Nic {
                iface: None,
                mac: [2, 0, 0, 0, place, number],
                up: true,
                own: [
                    own_addresses(host, nic)[0],
                    IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, link_local]),
                ],
                settled: true,
            }
        };
        let mut kernel = Self {
            host,
            nics: [nic(0), nic(1)],
            next_ifindex: 1 + u32::from(number),
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            refused: BTreeSet::new(),
            changes: Vec::new(),
        };
        kernel.create(0);
        kernel.create(1);
        kernel
    }

    /// Which interface has that index.
    pub fn nic_of(&self, iface: InterfaceId) -> Option<usize> {
        self.nics.iter().position(|nic| nic.iface == Some(iface))
    }

    pub fn links(&self) -> Vec<Link> {
        (0..NICS.len()).filter_map(|nic| self.link(nic)).collect()
    }

    fn link(&self, nic: usize) -> Option<Link> {
        let Nic { iface, mac, up, .. } = self.nics[nic];
        Some(Link {
            iface: iface?,
            name: NICS[nic].to_owned(),
            up,
            mac: Some(mac),
            mtu: 1500,
            aggregate: false,
            routed: false,
            vlan_of: None,
            enabled: true,
            xdp: true,
            unicast_filter: UnicastFilter::Membership,
        })
    }

    fn address(
        &self,
        nic: usize,
        address: IpAddr,
        prefix: u8,
        marked: bool,
    ) -> Option<AssignedAddress> {
        let at = InterfaceAddr { iface: self.nics[nic].iface?, address };
        Some(AssignedAddress { at, prefix, marked, tentative: false })
    }

    /// Makes an interface, with the host's own addresses.
    pub fn create(&mut self, nic: usize) {
        if self.nics[nic].iface.is_some() {
            return;
        }
        self.nics[nic].iface = Some(InterfaceId::own(self.next_ifindex));
        self.next_ifindex += 10;
        self.changes.extend(self.link(nic).map(Event::Link));
        let [v4, v6] = self.nics[nic].own;
        for (address, prefix) in [(v4, 24), (v6, 64)] {
            let at = self.address(nic, address, prefix, false);
            at.into_iter().for_each(|at| self.put(at));
        }
    }

    /// Takes an interface away, and all that is on it.
    pub fn destroy(&mut self, nic: usize) {
        let Some(iface) = self.nics[nic].iface.take() else { return };
        for at in self.addresses.extract_if(.., |at| at.at.iface == iface) {
            self.changes.push(Event::AddressRemoved(at));
        }
        self.drop_routes(iface);
        self.changes.push(Event::LinkRemoved(iface));
    }

    pub fn set_up(&mut self, nic: usize, up: bool) {
        if self.nics[nic].up != up {
            self.nics[nic].up = up;
            self.changes.extend(self.link(nic).map(Event::Link));
            if let (false, Some(iface)) = (up, self.nics[nic].iface) {
                self.drop_routes(iface);
            }
        }
    }

    /// Those through an interface that is down or gone. Nothing is said of it (`fib_disable_ip`,
    /// net/ipv4/fib_frontend.c).
    fn drop_routes(&mut self, iface: InterfaceId) {
        self.routes.retain(|route| route.oif != Some(iface));
    }

    /// Whether the host has, or may have had a moment ago, an address of its own that is less than that one.
    pub fn ranks_below(&self, nic: usize, other: IpAddr) -> bool {
        let may_have = own_addresses(self.host, nic);
        let may_have = may_have.into_iter().chain([self.nics[nic].own[1]]);
        may_have.filter(|own| own.is_ipv4() == other.is_ipv4()).any(|own| own < other)
    }

    /// The same of all of them.
    pub fn surely_ranks_below(&self, nic: usize, other: IpAddr) -> bool {
        let Nic { own: [v4, v6], settled, .. } = self.nics[nic];
        let own = if other.is_ipv4() { v4 } else { v6 };
        own < other && settled
    }

    /// Gives the host another address of its own.
    pub fn readdress(&mut self, nic: usize) {
        let old = self.nics[nic].own[0];
        self.take(old);
        self.nics[nic].settled = false;
        let may_have = own_addresses(self.host, nic);
        self.nics[nic].own[0] = if old == may_have[0] { may_have[1] } else { may_have[0] };
        let new = self.address(nic, self.nics[nic].own[0], 24, false);
        new.into_iter().for_each(|at| self.put(at));
    }

    /// Whether a packet to that address is for this host.
    pub fn answers_for(&self, nic: usize, address: IpAddr) -> bool {
        let there = |at: &AssignedAddress| self.nic_of(at.at.iface) == Some(nic);
        self.addresses.iter().any(|at| at.at.address == address && there(at))
    }

    /// An administrator puts a virtual address there.
    pub fn put_foreign(&mut self, nic: usize, address: IpAddr, prefix: u8) {
        if let Some(at) = self.address(nic, address, prefix, false)
            && !self.has(&at)
        {
            self.put(at);
        }
    }

    /// An administrator takes away what others like him have put there.
    pub fn take_foreign(&mut self) {
        let own = self.nics.each_ref().map(|nic| nic.own);
        let own = own.as_flattened();
        let foreign = |at: &&AssignedAddress| !at.marked && !own.contains(&at.at.address);
        let foreign: Vec<_> = self.addresses.iter().filter(foreign).copied().collect();
        foreign.into_iter().for_each(|at| drop(self.remove(&at)));
    }

    /// An administrator takes an address away, whatever its prefix. Whether it was there.
    pub fn take(&mut self, address: IpAddr) -> bool {
        let found = self.addresses.iter().find(|at| at.at.address == address).copied();
        found.is_some_and(|at| self.remove(&at).is_ok())
    }

    /// Takes away what bears the mark of a daemon.
    pub fn take_marked(&mut self, place: InterfaceAddr) {
        let found = self.addresses.iter().find(|at| at.at == place && at.marked).copied();
        found.into_iter().for_each(|at| drop(self.remove(&at)));
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
        let same = |known: &AssignedAddress| (known.at, known.prefix) == (at.at, at.prefix);
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

    /// An administrator takes a route or a rule of ours away.
    pub fn take_object(&mut self, chosen: u64) {
        let all = self.routes.len() + self.rules.len();
        let place = usize::try_from(chosen % all.max(1) as u64).unwrap();
        if place < self.routes.len() {
            let gone = self.routes.remove(place);
            self.changes.push(Event::RouteRemoved(gone));
        } else if place < all {
            let gone = self.rules.remove(place - self.routes.len());
            self.changes.push(Event::RuleRemoved(gone));
        }
    }

    fn carry_out(&mut self, ask: &Ask) -> Result<(), RequestError> {
        match &ask.object {
            Object::Address(address) => {
                let address = &address.address;
                match ask.request {
                    _ if self.nic_of(address.at.iface).is_none() => Err(error(libc::ENODEV)),
                    Request::Add if self.has(address) => Err(error(libc::EEXIST)),
                    Request::Add => {
                        self.put(*address);
                        Ok(())
                    }
                    Request::Remove => self.remove(address),
                }
            }
            Object::Route(route) => {
                let oif = route.oifs.first().copied();
                let seen = RouteSeen { key: RouteKey::from(&*route.route), via: None, oif };
                let found = self.routes.iter().position(|known| known.key == seen.key);
                let nic = oif.and_then(|oif| self.nic_of(oif));
                match (ask.request, found) {
                    (Request::Add, _) if nic.is_none() => Err(error(libc::ENODEV)),
                    (Request::Add, _) if nic.is_some_and(|nic| !self.nics[nic].up) => {
                        Err(error(libc::ENETDOWN))
                    }
                    (Request::Add, Some(_)) => Err(error(libc::EEXIST)),
                    (Request::Add, None) => {
                        self.routes.push(seen);
                        self.changes.push(Event::Route(seen));
                        Ok(())
                    }
                    (Request::Remove, Some(place)) => {
                        let gone = self.routes.remove(place);
                        self.changes.push(Event::RouteRemoved(gone));
                        Ok(())
                    }
                    (Request::Remove, None) => Err(error(libc::ESRCH)),
                }
            }
            Object::Rule(rule) => {
                let key = RuleKey::from(&**rule);
                let found = self.rules.iter().position(|known| *known == key);
                match (ask.request, found) {
                    (Request::Add, Some(_)) => Err(error(libc::EEXIST)),
                    (Request::Add, None) => {
                        self.rules.push(key);
                        self.changes.push(Event::Rule(key));
                        Ok(())
                    }
                    (Request::Remove, Some(place)) => {
                        let gone = self.rules.remove(place);
                        self.changes.push(Event::RuleRemoved(gone));
                        Ok(())
                    }
                    (Request::Remove, None) => Err(error(libc::ENOENT)),
                }
            }
            Object::Refused(_, addresses) => {
                self.refused = match ask.request {
                    Request::Add => addresses.iter().copied().collect(),
                    Request::Remove => BTreeSet::new(),
                };
                Ok(())
            }
            Object::PromoteSecondaries { .. } => Ok(()),
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
    (one.at.iface, one.prefix) == (other.at.iface, other.prefix)
        && u32::from(a).checked_shr(shift) == u32::from(b).checked_shr(shift)
}

/// What netlink brings the daemon.
#[derive(Debug)]
pub enum Message {
    /// A request is carried out: the oldest one, which is this, for those who read what has happened.
    #[allow(dead_code)]
    CarryOut(Request, Subject),
    Answers(Vec<Answer>),
    /// The oldest notification; of a time before notifications were lost if the number is another one.
    Notification(u64),
    /// One of routes and rules: they have a socket of their own, and nothing is read anew for them.
    Object(Event),
    /// Links and addresses are read.
    List,
    Listed(Vec<Link>, Vec<AssignedAddress>),
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
    /// When the loss of notifications is noticed for which everything is to be read.
    noticed: Option<Nanos>,
    /// When everything is read, and every request that was carried out before is answered.
    pub lists: Nanos,
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
        let message = Message::CarryOut(ask.request, ask.subject);
        self.asks.push_back(ask);
        (self.carried_out, message)
    }

    /// The oldest request is carried out, or not; what comes of it, and when.
    pub fn carry_out(
        &mut self,
        now: Nanos,
        rng: &mut Rng,
        mood: Mood,
        kernel: &mut Kernel,
    ) -> Option<(Nanos, Message)> {
        if self.noticed.is_some_and(|noticed| noticed <= now) {
            // Whoever reads everything carries out no requests meanwhile (io/netlink.rs).
            let ask = self.asks.front()?;
            return Some((self.lists, Message::CarryOut(ask.request, ask.subject)));
        }
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
        self.lists = self.lists.max(at);
        let Ask { request, subject, .. } = ask;
        Some((at, Message::Answers(vec![Answer { request, subject, result, ours: false }])))
    }

    /// Everything is read now, unless that is to be later.
    pub fn list(&mut self, now: Nanos) -> Option<Nanos> {
        if now < self.lists {
            return Some(self.lists);
        }
        self.noticed = None;
        None
    }

    /// The kernel has changed, by `asked` for a request of the daemon: what is said of it, and when.
    pub fn notify(
        &mut self,
        now: Nanos,
        rng: &mut Rng,
        mood: Mood,
        kernel: &mut Kernel,
        asked: bool,
    ) -> Vec<(Nanos, Message)> {
        let mut messages = Vec::new();
        for event in kernel.take_changes() {
            // They come in the order of the changes.
            self.notified = self.notified.max(now + Self::delay(rng, mood));
            let is_object = matches!(
                event,
                Event::Route(_) | Event::RouteRemoved(_) | Event::Rule(_) | Event::RuleRemoved(_)
            );
            if is_object {
                let lost = mood == Mood::Deaf && rng.chance(30);
                if lost {
                    self.disturbed = self.disturbed.max(self.notified);
                }
                let event = if lost { Event::RoutesOverrun } else { event };
                messages.push((self.notified, Message::Object(event)));
                continue;
            }
            if asked && self.noticed.is_some() {
                // It ends with the socket on which others were lost.
                continue;
            }
            if mood == Mood::Deaf && rng.chance(30) {
                self.noticed.get_or_insert(self.notified);
                self.overruns += 1;
                self.notifications.clear();
                self.notifications.push_back(Event::Overrun);
                messages.push((self.notified, Message::Notification(self.overruns)));
                self.lists = self.lists.max(self.notified + rng.millis(50));
                let at = self.lists;
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
