//! What changed and removed routers hold, and do not hold any more.

use std::collections::BTreeMap;

use super::{PART, UnderWay};
use crate::core::Core;
use crate::core::effect::Effect;
use crate::core::interface_id::InterfaceAddr;
use crate::core::netlink::AddressRequest;
use crate::engine::types::RouterId;

impl Core {
    /// Whether the loss of an address matters may have changed.
    pub(super) fn track_address(&mut self, id: RouterId, place: InterfaceAddr) {
        if self.router(id).owner && self.interfaces.owns(place) {
            return;
        }
        let addresses =
            self.router(id).addresses().find(|address| address.address == place.address);
        let known = addresses.map(|address| (address.prefix, !address.no_track));
        if let Some((prefix, tracked)) = known {
            let request = self.addresses.want(place, id, prefix, tracked);
            if let Some(request) = request {
                self.ask(place, request);
            }
        }
    }

    /// A master holds an address that it did not hold before, or not like this. `old` is how it is there, as far as
    /// that is known.
    pub(super) fn take(
        &mut self,
        id: RouterId,
        place: InterfaceAddr,
        old: Option<AddressRequest>,
        rounds: u32,
    ) {
        self.hold_address(id, place);
        let router = self.router(id);
        if router.owner && self.interfaces.owns(place) {
            return;
        }
        let Some(new) = router.request(place, 0) else { return };
        let holder = self.addresses.router(place);
        // Another router's, which is not changed yet.
        let theirs = holder.filter(|holder| *holder != id);
        let old = old
            .or_else(|| self.pending_removals.get(&place).cloned())
            .or_else(|| self.router(theirs?).request(place, 0));
        let tracked = !router.addresses().any(|a| a.address == place.address && a.no_track);
        let prefix = new.address.prefix;
        let mut request = self.addresses.want(place, id, prefix, tracked);
        match old.filter(|old| holder.is_some() && *old != new) {
            Some(old) => {
                self.pending_removals.insert(place, old);
                request = request.or_else(|| self.addresses.replace(place, prefix));
            }
            None => drop(self.pending_removals.remove(&place)),
        }
        if let Some(request) = request {
            self.ask(place, request);
        }
        if self.addresses.announce(place, rounds) {
            self.announce(&[place], rounds);
        }
    }

    /// The netlink requests for a router's addresses, where they belong.
    pub(in crate::core) fn requests(
        &self,
        id: RouterId,
    ) -> BTreeMap<InterfaceAddr, AddressRequest> {
        let router = self.router(id);
        let places = self.interface_addrs(id).into_iter();
        places.filter_map(|(place, _)| Some((place, router.request(place, 0)?))).collect()
    }

    pub(in crate::core) fn count_vip(&mut self, id: RouterId, place: InterfaceAddr) {
        let virtual_mac = self.router(id).virtual_mac_at(place).is_some();
        self.effects.push_back(Effect::CountAddress { router: id, at: place, virtual_mac });
    }

    /// Whether a router other than `id` has an address in its configuration.
    fn is_on_another_interface(&self, id: RouterId, place: InterfaceAddr) -> bool {
        self.interfaces.is_virtual(place)
            && self
                .ids()
                .filter(|other| *other != id && !self.router(*other).removed)
                .any(|other| self.router(other).request(place, 0).is_some())
    }

    /// Lets some addresses go that changed routers held. Whether that were all.
    pub(super) fn drop_some(&mut self, reload: &mut UnderWay) -> bool {
        for _ in 0..PART {
            let Some((place, (id, request))) = reload.dropped.pop_first() else { return true };
            self.release(id, place, request);
        }
        reload.dropped.is_empty()
    }

    pub(in crate::core) fn release(
        &mut self,
        id: RouterId,
        place: InterfaceAddr,
        request: AddressRequest,
    ) {
        if self.addresses.router(place) == Some(id) {
            self.pending_removals.insert(place, request);
        }
        self.withdraw(id, place);
        if self.addresses.router(place) == Some(id) {
            self.addresses.forget(place);
            if self.addresses.router(place).is_none() {
                self.pending_removals.remove(&place);
            }
        }
        if !self.is_on_another_interface(id, place) {
            self.effects.push_back(Effect::UncountAddress { router: id, at: place });
        }
    }
}
