//! Telling the network where a virtual address is now, asking who else has it, and hearing it when another host says so: gratuitous ARP and ARP probes for
//! IPv4, unsolicited neighbour advertisements and solicitations for IPv6.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv6Addr};

use vrrp_common::event::RxEvent;
use vrrp_common::maps::Held;

use super::addresses::Place;
use super::pace::Saying;
use super::{Counter, Daemon};
use crate::engine::time::Nanos;
use crate::engine::types::{RouterId, State};
use crate::io::bpf::{self, Vip};
use crate::io::timer;
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
    known: BTreeMap<u32, (Nanos, bool)>,
}

impl Forwarding {
    fn on(&mut self, ifindex: u32, name: &str, now: Nanos) -> bool {
        match self.known.get(&ifindex) {
            Some((since, forwards)) if now < *since + BELIEVED => *forwards,
            Some(_) | None => {
                // A value that the kernel keeps in memory, readable without a lock that anybody holds for long.
                let path = format!("/proc/sys/net/ipv6/conf/{name}/forwarding");
                let value = fs::read_to_string(path);
                let forwards = value.is_ok_and(|value| !matches!(value.trim(), "0" | ""));
                self.known.insert(ifindex, (now, forwards));
                forwards
            }
        }
    }
}

impl Daemon {
    /// Another host claims an address that we hold.
    pub(super) fn claimed(&mut self, event: &RxEvent, payload: &[u8]) {
        let id = RouterId(event.slot);
        let Ok(mac) = payload.try_into() else { return self.count(Counter::BadEvent) };
        let address = from_field(event.family, event.source);
        let place = Place { ifindex: event.ifindex, address };
        if self.engine.state(id) != Some(State::Master) {
            // We have yielded meanwhile.
            return;
        }
        if self.interfaces.get(place.ifindex).is_some_and(|on| on.mac == Some(mac)) {
            // Our own, which has changed since the kernel side was told.
            return self.hold(id, place);
        }
        if self.interfaces.has_mac(mac) {
            // Another interface of this host on the same network, which answers for it.
            return;
        }
        let at = Nanos(event.ktime_ns);
        if self.engine.view(id).is_some_and(|view| at < view.since + SETTLED) {
            // The former master answers our gratuitous ARP until its kernel has let go of the address.
            return;
        }
        if let Some(notice) = self.watch.claimed(id, place, mac, at) {
            self.engine.handle_notice(timer::now(), id, notice);
        }
    }

    /// Lets the kernel side watch who else claims an address that a router now has.
    pub(super) fn hold(&mut self, id: RouterId, place: Place) {
        let mac = self.interfaces.get(place.ifindex).and_then(|interface| interface.mac);
        let Some([a, b, c, d, e, f]) = mac else { return };
        let vip = Vip::new(place.ifindex, place.address);
        let held = Held { slot: id.0, mac: [a, b, c, d, e, f, 0, 0], ..Held::default() };
        if let Err(error) = self.kernel.hold(&vip, &held) {
            log::error!("{}: not watched: {}", self.describe(place), bpf::chain(&error));
        }
    }

    pub(super) fn release(&mut self, id: RouterId, place: Place) {
        self.delays.forget(place);
        if let Some(notice) = self.watch.released(place) {
            self.engine.handle_notice(timer::now(), id, notice);
        }
        let vip = Vip::new(place.ifindex, place.address);
        if let Err(error) = self.kernel.release(&vip) {
            log::error!("{}: still watched: {}", self.describe(place), bpf::chain(&error));
        }
    }

    pub(super) fn watch_conflicts(&mut self, now: Nanos) {
        let due = self.watch.due(now);
        for (id, notice) in due.over {
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
        let places = self.places(id);
        let there: Vec<Place> = places
            .into_iter()
            .map(|(place, _)| place)
            // Those of an owner are there already, and yet another host may have had them.
            .filter(|place| {
                self.interfaces.carries(*place) || self.addresses.announce(*place, rounds)
            })
            .collect();
        self.announce(&there, rounds);
        if self.engine.view(id).is_some_and(|view| timer::now() >= view.since + SETTLED) {
            for place in there {
                self.probe(place);
            }
        }
    }

    /// Announces the addresses of masters on an interface as when they became it.
    pub(super) fn announce_on(&mut self, ifindex: u32) {
        for id in self.ids() {
            if self.engine.state(id) != Some(State::Master) {
                continue;
            }
            let rounds = self.engine.spec(id).map_or(0, |spec| spec.garp.master_repeat);
            let places = self.places(id).into_iter().map(|(place, _)| place);
            let there: Vec<Place> = places
                .filter(|place| place.ifindex == ifindex && self.interfaces.carries(*place))
                .collect();
            self.announce(&there, rounds);
        }
    }

    /// Sends rounds of announcements of addresses that are there.
    pub(super) fn announce(&mut self, there: &[Place], rounds: u32) {
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
    pub(super) fn report_groups(&mut self, places: impl Iterator<Item = Place>) {
        let mut groups: BTreeMap<u32, BTreeSet<Ipv6Addr>> = BTreeMap::new();
        for place in places {
            if let IpAddr::V6(address) = place.address {
                groups.entry(place.ifindex).or_default().insert(ndisc::solicited_node(address));
            }
        }
        for (ifindex, groups) in groups {
            let Some(interface) = self.interfaces.get(ifindex) else { continue };
            let Some(mac) = interface.mac else { continue };
            let groups: Vec<Ipv6Addr> = groups.into_iter().collect();
            for groups in groups.chunks(mld::MAX_GROUPS) {
                let frame = mld::report_frame(mac, interface.source6(), groups);
                self.queue.push(ifindex, &frame, u32::MAX);
            }
        }
    }

    /// Asks who else has an address; an answer is what the kernel side watches for. Now, or when it is its turn.
    pub(super) fn probe(&mut self, place: Place) {
        if self.may_say((Saying::Probe, place)) {
            self.probe_now(place);
        }
    }

    pub(super) fn probe_now(&mut self, place: Place) {
        let Some(interface) = self.interfaces.get(place.ifindex) else { return };
        let Some(mac) = interface.mac else { return };
        match place.address {
            IpAddr::V4(address) => {
                let frame = frame::arp_frame(&arp::Repr::probe(mac, address));
                self.queue.push(place.ifindex, &frame, u32::MAX);
            }
            IpAddr::V6(address) => {
                let frame = ndisc::probe_frame(mac, interface.source6(), address);
                self.queue.push(place.ifindex, &frame, u32::MAX);
            }
        }
    }

    /// Announces an address once, now or when it is its turn.
    pub(super) fn garp(&mut self, place: Place) {
        if self.may_say((Saying::Announcement, place)) {
            self.garp_now(place);
        }
    }

    pub(super) fn garp_now(&mut self, place: Place) {
        let Some(interface) = self.interfaces.get(place.ifindex) else { return };
        let Some(mac) = interface.mac else { return };
        match place.address {
            IpAddr::V4(address) => {
                self.queue.push(place.ifindex, &frame::garp_frame(mac, address), u32::MAX);
            }
            IpAddr::V6(address) => {
                let now = timer::now();
                let router = self.forwarding.on(place.ifindex, &interface.name, now);
                let frame = ndisc::unsolicited_frame(mac, address, router);
                self.queue.push(place.ifindex, &frame, u32::MAX);
            }
        }
    }
}
