//! Virtual MAC addresses (RFC 9568 section 7.3) as the core has them: which frames carry one, which interfaces take in frames
//! to one, and where there can be none.

use super::effect::Effect;
use super::interface_id::InterfaceAddr;
use super::interface_table::Interface;
use super::netlink::UnicastFilter;
use super::{Core, InterfaceId};
use crate::capture::CaptureMode;
use crate::engine::types::{FaultCause, Link, RouterId, State};

/// A virtual MAC address of which an interface was told, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnicastMac {
    interface: InterfaceId,
    mac: [u8; 6],
    filter: UnicastFilter,
    /// Whether it takes in frames to it, or was told not to.
    is_let_in: bool,
}

impl Interface {
    /// Why no router can have a virtual MAC address there, as the end of "INTERFACE ...". That nothing can be received there
    /// is another matter.
    pub fn lacks_for_virtual_mac(&self) -> Option<String> {
        if let Some(why) = self.unicast_filter.lacks() {
            return Some(why.to_owned());
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
        let (_, interface) = self.interfaces.by_name(&router.interface)?;
        let (on, why) = (&router.interface, interface.lacks_for_virtual_mac()?);
        Some(format!(
            "its virtual MAC address cannot be had: {on} {why}; use another interface, or go without (virtual_mac = false)"
        ))
    }

    /// The Ethernet address by which a master announces an address: that of the interface, or a virtual one. `None` where that
    /// is nobody's here any more: it would tell switches that the master is here, and the interface's own must not be seen.
    pub(super) fn announced_mac(&self, place: InterfaceAddr) -> Option<[u8; 6]> {
        let virtual_mac = |id| Some((id, self.router(id).virtual_mac_on(place.iface)?));
        let mut routers = self.index.with(place.address).filter_map(virtual_mac).peekable();
        if routers.peek().is_none() {
            return self.interfaces.get(place.iface)?.mac;
        }
        routers.find_map(|(id, mac)| self.is_master(id).then_some(mac))
    }

    fn is_master(&self, id: RouterId) -> bool {
        self.engine.state(id) == Some(State::Master)
    }

    /// Has an interface take in frames to the virtual MAC address of a master, and of nobody else: on a backup it would
    /// swallow what local guests send to the master.
    pub(super) fn update_unicast_filter(&mut self, id: RouterId) {
        self.set_unicast_filter(id, self.unicast_mac(id, self.is_master(id)));
    }

    /// A router is about to say that it is master no more.
    pub(super) fn leave_unicast_filter(&mut self, id: RouterId) {
        self.set_unicast_filter(id, self.unicast_mac(id, false));
    }

    /// What the interface of a router has to be told; `None` for nothing.
    fn unicast_mac(&self, id: RouterId, is_let_in: bool) -> Option<UnicastMac> {
        let interface = self.router(id).iface()?;
        let filter = self.interfaces.get(interface)?.unicast_filter;
        let mac = self.router(id).virtual_mac_on(interface)?;
        let is_told = match filter {
            UnicastFilter::Membership => is_let_in,
            // The entry of a daemon that was killed is still there, and goes unless it is needed.
            UnicastFilter::Bridge => is_let_in || !self.goes_on(id),
            UnicastFilter::None | UnicastFilter::Own | UnicastFilter::Every => false,
        };
        is_told.then_some(UnicastMac { interface, mac, filter, is_let_in })
    }

    fn set_unicast_filter(&mut self, id: RouterId, wanted: Option<UnicastMac>) {
        let before = match wanted {
            Some(wanted) => self.unicast_macs.insert(id, wanted),
            None => self.unicast_macs.remove(&id),
        };
        if before == wanted {
            return;
        }
        let place = |it: UnicastMac| (it.interface, it.mac);
        let left = before.filter(|before| before.is_let_in);
        let left = left.filter(|left| wanted.map(place) != Some(place(*left)));
        let left = left.map(|left| UnicastMac { is_let_in: false, ..left });
        for UnicastMac { interface, mac, filter, is_let_in } in left.into_iter().chain(wanted) {
            self.effects.push_back(if is_let_in {
                Effect::AddUnicastMac { interface, mac, filter }
            } else {
                Effect::RemoveUnicastMac { interface, mac, filter }
            });
        }
    }

    /// A router has a virtual MAC address on its interface, or has it no more: that may capture in another way.
    pub(super) fn plan_anew(&mut self, id: RouterId) {
        if let Some((iface, _)) = self.interfaces.by_name(&self.router(id).interface) {
            self.attach(iface);
        }
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
        self.update_unicast_filter(id);
        if self.is_master(id) {
            self.send_garp(id, rounds);
        }
    }
}
