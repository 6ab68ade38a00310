//! Which routers need an interface, and which have an address: so that what happens to one of these is told to just them,
//! however many others there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::compact::compact;
use super::router::RouterRuntime;
use crate::core::interface_id::InterfaceId;
use crate::engine::types::RouterId;

/// The routers of a configuration by what they need.
#[derive(Debug, Default)]
pub struct RouterIndex {
    /// By the names of interfaces: of their own, and of those where their addresses belong.
    interfaces: BTreeMap<Box<str>, BTreeSet<RouterId>>,
    /// In order. A tree would take twice the memory, and only a configuration changes this.
    addresses: Vec<(IpAddr, RouterId)>,
    /// By the interface that they live on, as it was when they were looked at last.
    living: BTreeSet<(InterfaceId, RouterId)>,
}

impl RouterIndex {
    /// Takes no more memory than it needs ([`super::compact`]).
    pub fn compact(&mut self) {
        self.interfaces.values_mut().for_each(compact);
        compact(&mut self.living);
        self.addresses.shrink_to_fit();
    }

    /// A router has come.
    pub fn add(&mut self, id: RouterId, router: &RouterRuntime) {
        for name in router.devs() {
            match self.interfaces.get_mut(name) {
                Some(routers) => _ = routers.insert(id),
                None => _ = self.interfaces.insert(name.into(), BTreeSet::from([id])),
            }
        }
        for address in router.addresses() {
            let entry = (address.address, id);
            if let Err(place) = self.addresses.binary_search(&entry) {
                self.addresses.insert(place, entry);
            }
        }
    }

    /// A router has gone, or is another one from now on: this is how it was.
    pub fn remove(&mut self, id: RouterId, router: &RouterRuntime) {
        for name in router.devs() {
            let Some(routers) = self.interfaces.get_mut(name) else { continue };
            routers.remove(&id);
            if routers.is_empty() {
                self.interfaces.remove(name);
            }
        }
        for address in router.addresses() {
            if let Ok(place) = self.addresses.binary_search(&(address.address, id)) {
                self.addresses.remove(place);
            }
        }
    }

    /// A router lives on another interface from now on, or on none.
    pub fn moved(&mut self, id: RouterId, before: Option<InterfaceId>, now: Option<InterfaceId>) {
        if before == now {
            return;
        }
        if let Some(before) = before {
            self.living.remove(&(before, id));
        }
        self.living.extend(now.map(|now| (now, id)));
    }

    /// Those that live on an interface, whatever it is called now.
    pub fn living_on(&self, iface: InterfaceId) -> impl Iterator<Item = RouterId> {
        let all = (iface, RouterId(0))..=(iface, RouterId(u32::MAX));
        self.living.range(all).map(|(_, id)| *id)
    }

    /// Those that need the interface of that name.
    pub fn on(&self, name: &str) -> impl Iterator<Item = RouterId> {
        self.interfaces.get(name).into_iter().flatten().copied()
    }

    /// Whether any does.
    pub fn needs(&self, name: &str) -> bool {
        self.interfaces.contains_key(name)
    }

    /// Those that have an address.
    pub fn with(&self, address: IpAddr) -> impl Iterator<Item = RouterId> {
        let first = self.addresses.partition_point(|(other, _)| *other < address);
        let same = self.addresses[first..].iter().take_while(move |(other, _)| *other == address);
        same.map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_toml;
    use crate::core::InterfaceAddr;

    fn router(text: &str) -> RouterRuntime {
        let text = format!("[[router]]\nname = \"A\"\nvrid = 1\n{text}\n");
        let config = load_toml(&text).unwrap();
        let router = &config.routers[0];
        RouterRuntime::new(router, 0, router.interface.as_str().into()).0
    }

    #[test]
    fn routers_are_found_by_what_they_need() {
        let plain = router("interface = \"eth0\"\naddresses = [\"10.0.0.1/24\"]");
        let elsewhere = router(
            "interface = \"eth0\"\n\
             addresses = [\"10.0.0.1/24\", { address = \"10.0.1.1/24\", dev = \"eth1\" }]",
        );
        let (a, b) = (RouterId(3), RouterId(7));
        let mut index = RouterIndex::default();
        index.add(a, &plain);
        index.add(b, &elsewhere);
        let on = |index: &RouterIndex, name: &str| index.on(name).collect::<Vec<_>>();
        let with = |index: &RouterIndex, address: &str| {
            index.with(address.parse().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((on(&index, "eth0"), on(&index, "eth1")), (vec![a, b], vec![b]));
        assert_eq!((with(&index, "10.0.0.1"), with(&index, "10.0.1.1")), (vec![a, b], vec![b]));
        assert_eq!((with(&index, "10.0.0.2"), on(&index, "eth2")), (vec![], vec![]));
        index.remove(b, &elsewhere);
        assert!(index.needs("eth0") && !index.needs("eth1"));
        assert_eq!((on(&index, "eth0"), with(&index, "10.0.0.1")), (vec![a], vec![a]));
        index.moved(a, None, Some(InterfaceId::own(2)));
        index.moved(a, Some(InterfaceId::own(2)), Some(InterfaceId::own(3)));
        assert_eq!(index.living_on(InterfaceId::own(2)).count(), 0);
        assert_eq!(index.living_on(InterfaceId::own(3)).collect::<Vec<_>>(), [a]);
        index.remove(a, &plain);
        assert!(!index.needs("eth0") && index.addresses.is_empty());
    }

    #[test]
    fn addresses_are_resolved_once_and_found_at_their_place() {
        let mut router = router(
            "interface = \"eth0\"\n\
             addresses = [\"10.0.0.1/24\", { address = \"10.0.1.1/24\", dev = \"eth1\" }]",
        );
        let places =
            |router: &RouterRuntime| router.addresses_on().map(|(_, on)| on).collect::<Vec<_>>();
        assert_eq!(places(&router), [None, None]);
        router.resolve(|name| (name == "eth1").then_some(InterfaceId::own(3)));
        assert_eq!(places(&router), [None, Some(InterfaceId::own(3))]);
        let place = InterfaceAddr::own(3, [10, 0, 1, 1]);
        // Wherever it is looked for first.
        for index in [0, 1, 7] {
            assert_eq!(router.request(place, index).map(|it| it.address.at), Some(place));
        }
        assert_eq!(router.request(InterfaceAddr::own(4, [10, 0, 1, 1]), 1), None);
        router.resolve(|_| None);
        assert_eq!((places(&router), router.request(place, 1)), (vec![None, None], None));
    }
}
