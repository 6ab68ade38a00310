//! Telling the network where a virtual address is now, asking who else has it, and hearing it when another host says so: gratuitous ARP and ARP probes for
//! IPv4, unsolicited neighbour advertisements and solicitations for IPv6.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use vrrp_common::event::{Claim, RxEvent};
use vrrp_common::maps::Held;
use vrrp_common::virtual_mac::padded;

use super::effect::{Effect, InfoChange};
use super::interface_id::InterfaceAddr;
use super::pace::AnnounceKind;
use super::tx_queue::Tag;
use super::{Core, Counter};
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;
use crate::engine::types::{RouterId, State};
use crate::wire::family::from_field;
use crate::wire::{arp, frame, mld, ndisc};

/// After this time as master, each round of gratuitous ARP also asks whether another host has the addresses. Not
/// before: a master that was pre-empted still has them for a moment.
const SETTLED: Nanos = Nanos::from_secs(1);

/// How long is believed what was found out about an interface; keepalived looks as often.
const BELIEVED: Nanos = Nanos::from_secs(5);

/// Whether this host routes IPv6 packets that arrive on an interface, which its neighbour advertisements must say
/// (R): a neighbour that hears otherwise no longer takes it for a router (RFC 4861 section 7.2.5).
#[derive(Default)]
pub struct Forwarding {
    known: BTreeMap<InterfaceId, (Nanos, bool)>,
    /// What is announced as soon as it is known.
    waiting: BTreeMap<InterfaceId, Vec<InterfaceAddr>>,
}

impl Forwarding {
    /// What is known of an interface, unless that was long ago.
    fn on(&self, iface: InterfaceId, now: Nanos) -> Option<bool> {
        let (since, forwards) = self.known.get(&iface)?;
        (now < *since + BELIEVED).then_some(*forwards)
    }

    /// An announcement has to wait. Whether none has there, be it one that was withdrawn, so that the question must be asked.
    fn wait(&mut self, at: InterfaceAddr) -> bool {
        let is_asked = self.waiting.contains_key(&at.iface);
        self.waiting.entry(at.iface).or_default().push(at);
        !is_asked
    }

    /// It is known. What has waited for that; `None` if nobody has asked.
    fn learn(
        &mut self,
        iface: InterfaceId,
        now: Nanos,
        forwards: bool,
    ) -> Option<Vec<InterfaceAddr>> {
        let waiting = self.waiting.remove(&iface)?;
        self.known.insert(iface, (now, forwards));
        Some(waiting)
    }

    /// An address was given up.
    fn withdraw(&mut self, at: InterfaceAddr) {
        if let Some(waiting) = self.waiting.get_mut(&at.iface) {
            waiting.retain(|other| *other != at);
        }
    }

    /// An interface is gone.
    pub fn forget(&mut self, iface: InterfaceId) {
        self.known.remove(&iface);
        self.waiting.remove(&iface);
    }
}

impl Core {
    /// Another host claims an address that we hold.
    pub(super) fn handle_claim(&mut self, interface: InterfaceId, event: &RxEvent, payload: &[u8]) {
        let id = RouterId(event.slot);
        let Some(claim) = Claim::read(payload) else { return self.count(Counter::BadEvent) };
        let mac = claim.mac;
        let address = from_field(event.family, event.source);
        let place = InterfaceAddr { iface: interface, address };
        if self.engine.state(id) != Some(State::Master) {
            // We have yielded meanwhile.
            return;
        }
        if !self.interface_addrs(id).iter().any(|(known, _)| *known == place) {
            // The kernel side has read it while it became another router's, or it has left the configuration.
            return;
        }
        if self.interfaces.get(place.iface).is_some_and(|on| on.mac == Some(mac)) {
            // Our own, which has changed since the kernel side was told.
            return self.hold_address(id, place);
        }
        if self.interfaces.has_mac(interface.namespace, mac) {
            // Another interface of this host on the same network, which answers for it.
            return;
        }
        let at = Nanos(event.ktime_ns);
        if self.engine.view(id).is_some_and(|view| at < view.since + SETTLED) {
            // The former master answers our gratuitous ARP until its kernel has let go of the address.
            return;
        }
        if claim.may_be_ours != 0 {
            // The network has sent it back, unless somebody answers.
            return self.probe(place);
        }
        if let Some(notice) = self.watch.claimed(id, place, mac, at) {
            self.publish_conflicts(id);
            self.engine.handle_notice(self.now, id, notice);
        }
    }

    /// Lets the kernel side watch who else claims an address that a router now has.
    pub(super) fn hold_address(&mut self, id: RouterId, place: InterfaceAddr) {
        let virtual_mac = self.router(id).virtual_mac_at(place);
        self.hold_address_with(id, place, virtual_mac);
    }

    /// The same, with this virtual MAC address. Whether it could be told: an interface without an Ethernet address has none.
    pub(super) fn hold_address_with(
        &mut self,
        id: RouterId,
        place: InterfaceAddr,
        virtual_mac: Option<[u8; 6]>,
    ) -> bool {
        let mac = self.interfaces.get(place.iface).and_then(|interface| interface.mac);
        let Some(mac) = mac.map(padded) else { return false };
        let virtual_mac = virtual_mac.map_or([0; 8], padded);
        let held = Held { slot: id.0, mac, virtual_mac, ..Held::default() };
        self.effects.push_back(Effect::HoldAddress { at: place, held });
        true
    }

    /// A router gives an address up: what is claimed by another host is no conflict any more.
    pub(super) fn give_up_address(&mut self, id: RouterId, place: InterfaceAddr) {
        self.delays.forget(place);
        self.forwarding.withdraw(place);
        if let Some(notice) = self.watch.released(place) {
            self.publish_conflicts(id);
            self.engine.handle_notice(self.now, id, notice);
        }
    }

    /// For metrics: that there is a split brain, and that it is over.
    fn publish_conflicts(&mut self, id: RouterId) {
        let count = u16::try_from(self.watch.count(id)).unwrap_or(u16::MAX);
        self.publish(id, InfoChange::AddressConflicts(count));
    }

    /// It is gone: the kernel side need not watch it any more.
    pub(super) fn release_address(&mut self, place: InterfaceAddr) {
        self.effects.push_back(Effect::ReleaseAddress { at: place });
    }

    pub(super) fn watch_conflicts(&mut self, now: Nanos) {
        let due = self.watch.due(now);
        for (id, notice) in due.over {
            self.publish_conflicts(id);
            self.engine.handle_notice(now, id, notice);
        }
        for (id, place) in due.announce {
            log::info!(
                "{} is claimed by nobody else any more: announcing it",
                self.describe(place)
            );
            let rounds = self.engine.spec(id).map_or(0, |spec| spec.garp.master_repeat);
            for _ in 0..rounds {
                self.garp(place);
            }
        }
        for place in due.ask {
            self.probe(place);
        }
    }

    /// Sends rounds of announcements of all addresses of a router; those that are not there yet are announced when
    /// they are.
    pub(super) fn send_garp(&mut self, id: RouterId, rounds: u32) {
        let places = self.interface_addrs(id);
        let there: Vec<InterfaceAddr> = places
            .into_iter()
            .map(|(place, _)| place)
            // Those of an owner are there already, and yet another host may have had them.
            .filter(|place| {
                self.interfaces.carries(*place) || self.addresses.announce(*place, rounds)
            })
            .collect();
        self.announce(&there, rounds);
        if self.engine.view(id).is_some_and(|view| self.now >= view.since + SETTLED) {
            for place in there {
                self.probe(place);
            }
        }
    }

    /// Announces the addresses of masters on an interface as when they became it.
    pub(super) fn announce_on(&mut self, iface: InterfaceId) {
        for id in self.ids() {
            if self.engine.state(id) != Some(State::Master) {
                continue;
            }
            let rounds = self.engine.spec(id).map_or(0, |spec| spec.garp.master_repeat);
            let places = self.interface_addrs(id).into_iter().map(|(place, _)| place);
            let there: Vec<InterfaceAddr> = places
                .filter(|place| place.iface == iface && self.interfaces.carries(*place))
                .collect();
            // The kernel side puts the virtual address in the place of the interface's, which may be another one now.
            for place in &there {
                if self.router(id).virtual_mac_at(*place).is_some() {
                    self.hold_address(id, *place);
                }
            }
            self.announce(&there, rounds);
        }
    }

    /// Sends rounds of announcements of addresses that are there.
    pub(super) fn announce(&mut self, there: &[InterfaceAddr], rounds: u32) {
        if rounds > 0 {
            self.report_groups(there.iter().copied());
        }
        for _ in 0..rounds {
            for place in there {
                self.garp(*place);
            }
        }
    }

    /// Tells switches which solicited-node groups this host hears, before it announces the addresses: a switch that looks
    /// at such reports (RFC 4541) passes no question for an address to a host that has not sent one. The kernel does that
    /// as well, but some milliseconds later.
    pub(super) fn report_groups(&mut self, places: impl Iterator<Item = InterfaceAddr>) {
        let mut groups: BTreeMap<InterfaceId, BTreeSet<Ipv6Addr>> = BTreeMap::new();
        for place in places {
            if let IpAddr::V6(address) = place.address {
                groups.entry(place.iface).or_default().insert(ndisc::solicited_node(address));
            }
        }
        for (iface, groups) in groups {
            let Some(interface) = self.interfaces.get(iface) else { continue };
            let Some(mac) = interface.mac else { continue };
            let groups: Vec<Ipv6Addr> = groups.into_iter().collect();
            for groups in groups.chunks(mld::MAX_GROUPS) {
                let frame = mld::report_frame(mac, interface.source6(), groups);
                self.frames.push(iface, &frame, Tag::Announcement);
            }
        }
    }

    /// Asks who else has an address; an answer is what the kernel side watches for. Now, or when it is its turn.
    pub(super) fn probe(&mut self, place: InterfaceAddr) {
        if self.may_announce((AnnounceKind::Probe, place)) {
            self.probe_now(place);
        }
    }

    /// From the interface's own Ethernet address, also where there is a virtual one, which another master would have, too: an
    /// answer to that would come back to itself, or could be an echo of what we say.
    pub(super) fn probe_now(&mut self, place: InterfaceAddr) {
        let Some(interface) = self.interfaces.get(place.iface) else { return };
        let Some(mac) = interface.mac else { return };
        match place.address {
            IpAddr::V4(address) => {
                let frame = frame::arp_frame(&arp::Repr::probe(mac, address));
                self.frames.push(place.iface, &frame, Tag::Announcement);
            }
            IpAddr::V6(address) => {
                let frame = ndisc::probe_frame(mac, interface.source6(), address);
                self.frames.push(place.iface, &frame, Tag::Announcement);
            }
        }
    }

    /// Announces an address once, now or when it is its turn.
    pub(super) fn garp(&mut self, place: InterfaceAddr) {
        if self.may_announce((AnnounceKind::Announcement, place)) {
            self.garp_now(place);
        }
    }

    pub(super) fn garp_now(&mut self, place: InterfaceAddr) {
        let Some(interface) = self.interfaces.get(place.iface) else { return };
        let Some(mac) = self.announced_mac(place) else { return };
        match place.address {
            IpAddr::V4(address) => {
                self.frames.push(place.iface, &frame::garp_frame(mac, address), Tag::Announcement);
            }
            IpAddr::V6(address) => {
                let Some(router) = self.forwarding.on(place.iface, self.now) else {
                    if self.forwarding.wait(place) {
                        let (interface, name) = (place.iface, interface.name.clone());
                        self.effects.push_back(Effect::ReadForwarding { interface, name });
                    }
                    return;
                };
                let frame = ndisc::unsolicited_frame(mac, address, router);
                self.frames.push(place.iface, &frame, Tag::Announcement);
            }
        }
    }

    /// It is known whether this host routes what arrives on an interface.
    pub(super) fn forwards(&mut self, iface: InterfaceId, on: bool) {
        let Some(waiting) = self.forwarding.learn(iface, self.now, on) else {
            return self.count(Counter::UnexpectedAnswer);
        };
        for place in waiting {
            self.garp_now(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_waits_until_it_is_known_whether_the_host_routes() {
        let at = |last: u16| InterfaceAddr::own(2, [0xfe80, 0, 0, 0, 0, 0, 0, last]);
        let eth0 = InterfaceId::own(2);
        let mut forwarding = Forwarding::default();
        assert_eq!(forwarding.on(eth0, Nanos::ZERO), None);
        // One question for all of them.
        assert!(forwarding.wait(at(1)) && !forwarding.wait(at(2)) && !forwarding.wait(at(1)));
        forwarding.withdraw(at(2));
        assert_eq!(forwarding.learn(eth0, Nanos::ZERO, true), Some(vec![at(1), at(1)]));
        assert_eq!(forwarding.learn(eth0, Nanos::ZERO, false), None, "nobody has asked");
        assert!(forwarding.wait(at(1)));
        forwarding.withdraw(at(1));
        assert!(!forwarding.wait(at(2)), "it is asked already");
        assert_eq!(forwarding.learn(eth0, Nanos::ZERO, true), Some(vec![at(2)]));
        assert_eq!(forwarding.on(eth0, Nanos(BELIEVED.0 - 1)), Some(true));
        assert_eq!(forwarding.on(eth0, BELIEVED), None);
        forwarding.forget(eth0);
        assert_eq!(forwarding.on(eth0, Nanos::ZERO), None);
    }
}
