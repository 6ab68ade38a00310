//! `use_vmac`: the virtual MAC address of the RFC, for which keepalived makes a device and this daemon does not. The name of
//! that device means the interface of the instance wherever the file has it.

use std::collections::HashMap;

use super::{Entry, Parser};
use crate::config::draft::{Draft, Drafts};
use crate::config::model::Tracked;
use crate::config::report::{Located, Position};

/// What an instance says of its virtual MAC address.
#[derive(Debug)]
pub(super) struct VirtualMac {
    at: Position,
    /// The device that keepalived would make; `None` for the usual name.
    device: Option<String>,
    /// It is one that the instance names, and not that of its VRID.
    is_another: bool,
}

impl VirtualMac {
    /// Takes it up into a router.
    pub(super) fn apply(self, to: &mut Draft) {
        to.virtual_mac = Some(Located::new(!self.is_another, self.at));
        let vrid = to.vrid.as_ref().map(|vrid| vrid.value.trim().to_owned());
        // `vrrp_vmac_name` of keepalived, as long as no other instance has that name.
        to.virtual_mac_device =
            self.device.or_else(|| Some(format!("vrrp.{}", vrid?))).filter(|_| !self.is_another);
    }
}

impl Parser<'_> {
    /// `use_vmac [[name] INTERFACE] [MAC] [netlink_notify_msg] [group GROUP]`.
    pub(super) fn use_vmac(&mut self, entry: &Entry) -> VirtualMac {
        let mut found = VirtualMac { at: entry.at(), device: None, is_another: false };
        let mut words = entry.parameters.iter();
        while let Some(word) = words.next() {
            match word.value.as_str() {
                // The name follows.
                "name" => {}
                // What is said by netlink, and the group of a device, are about a device.
                "netlink_notify_msg" => {}
                "group" => drop(words.next()),
                mac if mac.contains(':') => {
                    let message = format!(
                        "use_vmac with {mac} is recognised but not supported yet: the interface's own MAC address is used"
                    );
                    self.warning(word.at, message, "without a MAC address it is that of the VRID");
                    found.is_another = true;
                }
                name if found.device.is_none() => found.device = Some(name.to_owned()),
                name => {
                    let message = format!("`{name}` is ignored: use_vmac takes one name");
                    self.warning(word.at, message, "");
                }
            }
        }
        found
    }
}

/// Puts interfaces in the place of the devices that there would be for virtual MAC addresses.
pub(super) fn resolve_devices(drafts: &mut Drafts) {
    let devices = drafts.routers.iter().filter_map(|draft| {
        let interface = draft.interface.as_ref()?.value.clone();
        Some((draft.virtual_mac_device.clone()?, interface))
    });
    let devices: HashMap<String, String> = devices.collect();
    if devices.is_empty() {
        return;
    }
    let resolve = |name: &mut String| {
        if let Some(interface) = devices.get(name) {
            name.clone_from(interface);
        }
    };
    for draft in &mut drafts.routers {
        let own = draft.interface.as_ref().map(|interface| interface.value.clone());
        for address in draft.addresses.iter_mut().chain(&mut draft.excluded) {
            address.value.dev.iter_mut().for_each(resolve);
            // On its own interface it is where it would be anyway.
            address.value.dev.take_if(|dev| own.as_ref() == Some(dev));
        }
        for route in &mut draft.routing.routes {
            let hops = route.nexthops.iter_mut().flat_map(|hop| &mut hop.dev);
            route.dev.iter_mut().chain(hops).for_each(resolve);
        }
        for rule in &mut draft.routing.rules {
            rule.iif.iter_mut().chain(&mut rule.oif).for_each(resolve);
        }
    }
    let groups = drafts.groups.iter_mut().flat_map(|group| &mut group.value.track);
    for track in drafts.routers.iter_mut().flat_map(|draft| &mut draft.track).chain(groups) {
        if let Tracked::Interface(name) = &mut track.value.what {
            resolve(name);
        }
    }
}
