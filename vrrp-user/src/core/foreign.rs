//! Virtual addresses that somebody else has put where a router's belong: an administrator, another program, one that was
//! killed. This host answers for them whoever is master. They are never removed, but said.

use super::Core;
use super::effect::InfoChange;
use super::interface_id::InterfaceAddr;
use super::netlink::AssignedAddress;
use crate::engine::types::RouterId;

impl Core {
    /// A virtual address has come or gone. Most are ours and bear our mark; those cost nothing here.
    pub(super) fn foreign_changed(&mut self, at: &AssignedAddress) {
        if at.marked {
            return;
        }
        for id in self.index.with(at.at.address).collect::<Vec<_>>() {
            self.look_for_foreign(id);
        }
    }

    /// Looks which addresses others have put where a router's belong, says what is new, and publishes how many there
    /// are.
    pub(super) fn look_for_foreign(&mut self, id: RouterId) {
        let mut found = Vec::new();
        // Those of an owner are the interface's real ones.
        if !self.router(id).owner {
            for (place, _) in self.interface_addrs(id) {
                let foreign = self
                    .interfaces
                    .found(place)
                    .filter(|(prefix, marked)| !marked && !self.addresses.is_ours(place, *prefix));
                found.extend(foreign.map(|(prefix, _)| (place, prefix)));
            }
        }
        let before = if found.is_empty() {
            self.foreign.remove(&id)
        } else {
            self.foreign.insert(id, found.clone())
        };
        let before = before.unwrap_or_default();
        if before == found {
            return;
        }
        for (place, prefix) in found.iter().filter(|new| !before.contains(new)) {
            log::warn!("{}: {}", self.router(id).label(), self.describe_foreign(*place, *prefix));
        }
        let count = u16::try_from(found.len()).unwrap_or(u16::MAX);
        self.publish(id, InfoChange::ForeignAddresses(count));
    }

    /// What is wrong with that, and what to do.
    pub(super) fn foreign_problems(&self, id: RouterId) -> impl Iterator<Item = String> {
        let found = self.foreign.get(&id).into_iter().flatten();
        found.map(|(place, prefix)| self.describe_foreign(*place, *prefix))
    }

    fn describe_foreign(&self, place: InterfaceAddr, prefix: u8) -> String {
        let dev = self.interfaces.get(place.iface).map_or("?", |interface| &interface.name);
        let address = place.address;
        format!(
            "{address}/{prefix} is on {dev}, and not by this daemon, which does not remove it: this host answers for \
             it whoever is master. If it was added by hand or left by another program: `ip address del \
             {address}/{prefix} dev {dev}`. If it is an address of this host: give the router another virtual \
             address, or priority 255"
        )
    }
}
