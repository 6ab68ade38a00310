//! Virtual MAC addresses (RFC 9568 section 7.3) as the core has them: which frames carry one, which interfaces take in frames
//! to one, and where there can be none.

use super::effect::Effect;
use super::interface_id::InterfaceAddr;
use super::interface_table::Interface;
use super::netlink::UnicastFilter;
use super::{Core, InterfaceId};
use crate::capture::CaptureMode;
use crate::engine::types::{FaultCause, Link, RouterId, State};

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
        let wanted = Some(id).filter(|id| self.is_master(*id)).and_then(|id| {
            let interface = self.router(id).iface()?;
            let filter = self.interfaces.get(interface)?.unicast_filter;
            let mac = self.router(id).virtual_mac_on(interface)?;
            (filter == UnicastFilter::Membership).then_some((interface, mac))
        });
        self.set_unicast_filter(id, wanted);
    }

    /// A router is about to say that it is master no more.
    pub(super) fn leave_unicast_filter(&mut self, id: RouterId) {
        self.set_unicast_filter(id, None);
    }

    fn set_unicast_filter(&mut self, id: RouterId, wanted: Option<(InterfaceId, [u8; 6])>) {
        let before = self.unicast_macs.get(&id).copied();
        if before == wanted {
            return;
        }
        if let Some((interface, mac)) = before {
            self.unicast_macs.remove(&id);
            self.effects.push_back(Effect::RemoveUnicastMac { interface, mac });
        }
        if let Some((interface, mac)) = wanted {
            self.unicast_macs.insert(id, (interface, mac));
            self.effects.push_back(Effect::AddUnicastMac { interface, mac });
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
