//! Virtual MAC addresses (RFC 9568 section 7.3) as the core has them: which frames carry one, which interfaces take in frames
//! to one, and where there can be none.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::Effect;
use super::interface_id::InterfaceAddr;
use super::interface_table::Interface;
use super::netlink::UnicastFilter;
use super::{Core, InterfaceId, Phase};
use crate::capture::CaptureMode;
use crate::engine::types::{FaultCause, Link, RouterId, State};
use crate::wire::ethernet::Colons;

/// A virtual MAC address of a router on an interface, as the kernel side and the interface were told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnicastMac {
    mac: [u8; 6],
    filter: UnicastFilter,
    /// Whether the interface takes in frames to it, or was told not to; `None` where it was told nothing.
    is_let_in: Option<bool>,
}

impl Interface {
    /// Why no router can have that virtual MAC address there, as the end of "INTERFACE ...". That nothing can be received there
    /// is another matter.
    pub fn lacks_for_virtual_mac(&self, mac: [u8; 6]) -> Option<String> {
        if let Some(why) = self.unicast_filter.lacks() {
            return Some(why.to_owned());
        }
        if self.mac == Some(mac) {
            return Some(format!(
                "has {} itself, and would take in frames to it as backup",
                Colons(mac)
            ));
        }
        match self.mode()? {
            CaptureMode::Tc if self.hooks.egress.is_some() => None,
            CaptureMode::Tc => Some("has no program of ours for what leaves".to_owned()),
            mode @ (CaptureMode::Native | CaptureMode::Generic | CaptureMode::Raw) => {
                let why = self.why_captured().map(|why| format!(" ({why})")).unwrap_or_default();
                Some(format!("is captured by {}{why}, not by tc", mode.title()))
            }
        }
    }
}

impl Core {
    /// Why a router is in FAULT that cannot have its virtual MAC address, and what to do.
    pub(super) fn virtual_mac_problem(&self, id: RouterId) -> Option<String> {
        let router = self.router(id);
        if router.link() != Some(Link::Down(FaultCause::NoVirtualMac)) {
            return None;
        }
        let mac = router.any_virtual_mac()?;
        let (on, why) = router.virtual_mac_devs().find_map(|name| {
            let (_, interface) = self.interfaces.by_name(name)?;
            Some((name, interface.lacks_for_virtual_mac(mac)?))
        })?;
        Some(format!(
            "its virtual MAC address is not available: {on} {why}; use another interface, or go without (virtual_mac = false)"
        ))
    }

    /// The Ethernet address by which a master announces an address: that of the interface, or a virtual one. `None` where that
    /// is nobody's here any more: it would tell switches that the master is here, and the interface's own must not be seen.
    pub(super) fn announced_mac(&self, place: InterfaceAddr) -> Option<[u8; 6]> {
        let virtual_mac = |id| Some((id, self.router(id).virtual_mac_at(place)?));
        let mut routers = self.index.with(place.address).filter_map(virtual_mac).peekable();
        if routers.peek().is_none() {
            return self.interfaces.get(place.iface)?.mac;
        }
        routers.find_map(|(id, mac)| self.is_master(id).then_some(mac))
    }

    pub(super) fn is_master(&self, id: RouterId) -> bool {
        self.engine.state(id) == Some(State::Master)
    }

    /// Tells the kernel side of the virtual MAC addresses of a router, and has interfaces take in frames to those of a master,
    /// and of nobody else: on a backup they would swallow what local guests send to the master.
    pub(super) fn update_virtual_macs(&mut self, id: RouterId) {
        let let_in = self.is_master(id);
        let on: BTreeSet<InterfaceId> = self.router(id).virtual_mac_on().collect();
        for interface in self.macs_of(id).filter(|interface| !on.contains(interface)) {
            self.set_virtual_mac(id, interface, None);
        }
        for interface in on {
            let is_known = self.unicast_macs.get(&id).is_some_and(|on| on.contains_key(&interface));
            if !is_known {
                self.count_on(id, interface);
            }
            self.set_virtual_mac(id, interface, self.unicast_mac(id, interface, let_in));
        }
    }

    /// An interface may have come after its router: by what is counted there the kernel side knows what is to have its virtual
    /// MAC address.
    fn count_on(&mut self, id: RouterId, interface: InterfaceId) {
        let places = self.interface_addrs(id).into_iter().map(|(place, _)| place);
        for place in places.filter(|place| place.iface == interface) {
            self.count_vip(id, place);
        }
    }

    /// Addresses that a killed daemon has left are answered for until it is known what becomes of them, which is looked at when
    /// the interfaces capture. With which virtual MAC address is said before: the new programs know of nothing that the old ones
    /// were told, and what left meanwhile would have the interface's own.
    pub(super) fn hold_found_with_virtual_mac(&mut self) {
        if !matches!(self.phase, Phase::Starting(_)) {
            return;
        }
        for id in self.ids() {
            let router = self.router(id);
            let Some(mac) = router.any_virtual_mac() else { continue };
            let own = self.interfaces.by_name(&router.interface).map(|(iface, _)| iface);
            let places = router.places_with_virtual_mac(own);
            let marked = |at: &InterfaceAddr| self.interfaces.found(*at).any(|(_, marked)| marked);
            for at in places.filter(marked).collect::<Vec<_>>() {
                if self.hold_address_with(id, at, Some(mac)) {
                    let counted = Effect::CountAddress { router: id, at, virtual_mac: true };
                    self.effects.push_back(counted);
                }
            }
        }
    }

    /// A router is about to say that it is master no more.
    pub(super) fn leave_unicast_filter(&mut self, id: RouterId) {
        let on: BTreeSet<InterfaceId> = self.router(id).virtual_mac_on().collect();
        for interface in on {
            self.set_virtual_mac(id, interface, self.unicast_mac(id, interface, false));
        }
    }

    /// A router is no longer in the configuration.
    pub(super) fn forget_virtual_macs(&mut self, id: RouterId) {
        self.macs_of(id).for_each(|interface| self.set_virtual_mac(id, interface, None));
        self.unicast_macs.remove(&id);
    }

    /// The interfaces on which anything was said of a router's virtual MAC address.
    fn macs_of(&self, id: RouterId) -> impl Iterator<Item = InterfaceId> + use<> {
        let told = self.unicast_macs.get(&id).into_iter().flat_map(BTreeMap::keys);
        told.copied().collect::<Vec<_>>().into_iter()
    }

    /// What kernel side and interface have to be told; `None` where that is gone.
    fn unicast_mac(&self, id: RouterId, on: InterfaceId, let_in: bool) -> Option<UnicastMac> {
        let filter = self.interfaces.get(on)?.unicast_filter;
        let is_told = match filter {
            UnicastFilter::Membership => let_in,
            // The entry of a daemon that was killed is still there, and goes unless it is needed.
            UnicastFilter::Bridge => let_in || !self.goes_on(id),
            UnicastFilter::None | UnicastFilter::Own | UnicastFilter::Every => false,
        };
        let mac = self.router(id).any_virtual_mac()?;
        Some(UnicastMac { mac, filter, is_let_in: is_told.then_some(let_in) })
    }

    fn set_virtual_mac(&mut self, id: RouterId, interface: InterfaceId, now: Option<UnicastMac>) {
        let told = self.unicast_macs.entry(id).or_default();
        let before = match now {
            Some(now) => told.insert(interface, now),
            None => told.remove(&interface),
        };
        if before == now {
            return;
        }
        let mac = |it: UnicastMac| it.mac;
        if before.map(mac) != now.map(mac) {
            if let Some(UnicastMac { mac, .. }) = before {
                self.effects.push_back(Effect::RemoveVirtualMac { router: id, interface, mac });
            }
            if let Some(UnicastMac { mac, .. }) = now {
                self.effects.push_back(Effect::SetVirtualMac { router: id, interface, mac });
            }
        }
        let left = before.filter(|before| before.is_let_in == Some(true));
        let stays = |left: &UnicastMac| {
            now.is_some_and(|now| now.mac == left.mac && now.is_let_in.is_some())
        };
        let left = left.filter(|left| !stays(left));
        let left = left.map(|left| UnicastMac { is_let_in: Some(false), ..left });
        for UnicastMac { mac, filter, is_let_in } in left.into_iter().chain(now) {
            match is_let_in {
                Some(true) => {
                    self.effects.push_back(Effect::AddUnicastMac { interface, mac, filter });
                }
                Some(false) => {
                    self.effects.push_back(Effect::RemoveUnicastMac { interface, mac, filter });
                }
                None => {}
            }
        }
    }

    /// A router has a virtual MAC address on its interface, or has it no more: that may capture in another way.
    pub(super) fn plan_anew(&mut self, id: RouterId) {
        let on = self.router(id).devs().filter_map(|dev| Some(self.interfaces.by_name(dev)?.0));
        let on: BTreeSet<InterfaceId> = on.collect();
        on.into_iter().for_each(|iface| self.attach(iface));
    }

    /// A router has, or had, a virtual MAC address and has another configuration from now on: the kernel side and the
    /// neighbours are told by which one its addresses are there.
    pub(super) fn change_virtual_mac(&mut self, id: RouterId, rounds: u32) {
        for (place, _) in self.interface_addrs(id) {
            self.count_vip(id, place);
            if self.is_master(id) {
                self.hold_address(id, place);
            }
        }
        self.update_virtual_macs(id);
        if self.is_master(id) {
            self.send_garp(id, rounds);
        }
    }
}
