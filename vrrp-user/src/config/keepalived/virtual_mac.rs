//! `use_vmac` and `use_ipvlan`: the virtual MAC address of the RFC, for which keepalived makes a device and this daemon does
//! not. The name of that device means the interface of the instance wherever the file has it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Entry, Parser, Word};
use crate::config::draft::{Draft, Drafts};
use crate::config::model::Tracked;
use crate::config::report::{Located, Position, Report};
use crate::config::text;

/// What an instance says of its virtual MAC address, or of a device of its own without one.
#[derive(Debug)]
pub(super) struct VirtualMac {
    at: Position,
    /// The device that keepalived would make; `None` for the usual name.
    device: Option<String>,
    /// One that the instance names, in five or six bytes.
    own: Option<Word>,
    /// `use_ipvlan`: the device has the Ethernet address of the interface.
    is_ipvlan: bool,
}

impl VirtualMac {
    /// Takes it up into a router. `prefix` is what the usual names of devices begin with.
    pub(super) fn apply(self, to: &mut Draft, prefix: Option<&str>) {
        let vrid = to.vrid.as_ref().map(|vrid| vrid.value.trim().to_owned());
        if !self.is_ipvlan {
            to.virtual_mac = Some(Located::new(true, self.at));
            to.own_virtual_mac = self.own.map(|own| Located::new(own.value, own.at));
        }
        // `vrrp_vmac_name` of keepalived, as long as no other instance has that name.
        let usual = || Some(format!("{}.{}", prefix.unwrap_or("vrrp"), vrid?));
        to.virtual_mac_device = self.device.or_else(usual);
    }
}

impl Parser<'_> {
    /// `use_vmac [[name] INTERFACE] [MAC] [netlink_notify_msg] [group GROUP]`.
    pub(super) fn use_vmac(&mut self, entry: &Entry) -> VirtualMac {
        let mut found = VirtualMac { at: entry.at(), device: None, own: None, is_ipvlan: false };
        let mut words = entry.parameters.iter();
        while let Some(word) = words.next() {
            match word.value.as_str() {
                // The name follows.
                "name" => {}
                // What is said by netlink, and the group of a device, are about a device.
                "netlink_notify_msg" => {}
                "group" => drop(words.next()),
                mac if mac.contains(':') && text::mac(mac).is_none() => {
                    let message = format!("`{mac}` is no MAC address; it is ignored");
                    let hint = "five bytes, to which the VRID is added, or six: 00:00:5e:00:01";
                    self.warning(word.at, message, hint);
                }
                mac if mac.contains(':') => found.own = Some(word.clone()),
                name if found.device.is_none() => found.device = Some(name.to_owned()),
                name => {
                    let message = format!("`{name}` is ignored: use_vmac takes one name");
                    self.warning(word.at, message, "");
                }
            }
        }
        found
    }

    /// `use_ipvlan [INTERFACE] [ADDRESS] [MODE]`, and the address that advertisements come from.
    pub(super) fn use_ipvlan(&mut self, entry: &Entry) -> (VirtualMac, Option<Located<IpAddr>>) {
        let source = entry.parameters.iter().find_map(|word| {
            let (address, _) = text::cidr(&word.value)?;
            Some(Located::new(address, word.at))
        });
        let from = source.as_ref().map_or_else(
            || "the interface's own address".to_owned(),
            |source| source.value.to_string(),
        );
        let message = format!(
            "use_ipvlan makes no device here: the interface itself has the addresses and sends the advertisements, from {from}"
        );
        self.warning(
            entry.at(),
            message,
            "an ipvlan device has the MAC address of its interface, too",
        );
        let is_mode = |word: &str| matches!(word, "bridge" | "private" | "vepa");
        let is_name = |word: &&Word| {
            let word = word.value.as_str();
            !is_mode(word) && text::cidr(word).is_none()
        };
        let device = entry.parameters.iter().find(is_name).map(|word| word.value.clone());
        (VirtualMac { at: entry.at(), device, own: None, is_ipvlan: true }, source)
    }
}

/// Says which commands name a device that is not made: what they run will not find it. What they run is not looked at.
fn warn_of_commands(devices: &HashMap<String, String>, commands: &[Word], report: &mut Report) {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    for command in commands {
        let mut words = command.value.split(|c| !is_part(c));
        let named = words.find_map(|word| devices.get_key_value(word));
        if let Some((device, interface)) = named {
            let message = format!("the command names {device}, a device that is not made here");
            report.warning(command.at, message, &format!("what it is for is on {interface}"));
        }
    }
}

/// Puts interfaces in the place of the devices that there would be for virtual MAC addresses.
pub(super) fn resolve_devices(drafts: &mut Drafts, commands: &[Word], report: &mut Report) {
    let devices = drafts.routers.iter().filter_map(|draft| {
        let interface = draft.interface.as_ref()?.value.clone();
        Some((draft.virtual_mac_device.clone()?, interface))
    });
    let devices: HashMap<String, String> = devices.collect();
    if devices.is_empty() {
        return;
    }
    warn_of_commands(&devices, commands, report);
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
