//! What a configuration that was read makes of the routers that run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::{Read, Stage, UnderWay};
use crate::api::RouterName;
use crate::api::error::ErrorKind;
use crate::config;
use crate::config::model::{self, Transport};
use crate::core::Core;
use crate::core::router::RouterRuntime;
use crate::engine::types::{RouterId, Vrid};
use crate::wire::family::Family;

/// What makes a router the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity<'a> {
    interface: &'a str,
    vrid: Vrid,
    family: Family,
    unicast: bool,
}

impl<'a> Identity<'a> {
    fn running(router: &'a RouterRuntime) -> Self {
        let unicast = router.peers().is_some();
        Self { interface: &router.interface, vrid: router.vrid(), family: router.family(), unicast }
    }

    fn configured(router: &'a model::RouterConfig) -> Self {
        let unicast = match router.transport {
            Transport::Multicast { .. } => false,
            Transport::Unicast { .. } => true,
        };
        Self { interface: &router.interface, vrid: router.vrid, family: router.family(), unicast }
    }
}

/// The router that runs of each that is configured, and those that run and are not configured any more, by their numbers.
fn matched<'a>(
    mut running: HashMap<Identity<'a>, RouterId>,
    configured: &'a [model::RouterConfig],
) -> (Vec<Option<RouterId>>, Vec<RouterId>) {
    let find = |new| running.remove(&Identity::configured(new));
    let matches = configured.iter().map(find).collect();
    let mut removed: Vec<_> = running.into_values().collect();
    removed.sort_unstable();
    (matches, removed)
}

impl Core {
    /// The configuration was read.
    pub(super) fn configuration_read(&mut self, read: Read) {
        let Some((asked, _)) = self.reloads.current else { return };
        let mut report = self.report(asked);
        let check = asked.check;
        let prepared = match read {
            Err(refusal) => return self.refuse(refusal.errors, refusal.warnings),
            Ok(prepared) => prepared,
        };
        let lacking: Vec<_> = self
            .sizes
            .lacking(prepared.needs)
            .map(|(what, needed, room)| format!("{needed} {what}, where {room} fit"))
            .collect();
        if !lacking.is_empty() {
            let error = format!(
                "no room for {}: the maps in the kernel keep the size that they got at the start; `vrrp-user upgrade` makes \
                 larger ones, and goes on with this configuration",
                lacking.join(", and for ")
            );
            return self.refuse(vec![ErrorKind::NoRoom.because(error)], prepared.warnings);
        }
        if !check {
            config::log(Path::new(&*self.config_path), &prepared.diagnostics);
        }
        let running = self.ids().map(|id| (Identity::running(self.router(id)), id)).collect();
        let (matches, removed) = matched(running, &prepared.config.routers);
        report.removed = removed.iter().map(|id| self.name_of(*id)).collect();
        let added = prepared.config.routers.iter().zip(&matches);
        let added = added.filter(|(_, running)| running.is_none());
        report.added = added.map(|(new, _)| RouterName::of(new)).collect();
        report.warnings.clone_from(&prepared.warnings);
        let mut virtual_addresses = Vec::new();
        let mut prepared = prepared;
        std::mem::swap(&mut virtual_addresses, &mut prepared.virtual_addresses);
        self.reloads.under_way = Some(Box::new(UnderWay {
            prepared,
            matches,
            removed,
            lasts: Vec::new(),
            dropped: BTreeMap::new(),
            stage: Stage::Changes,
            next: 0,
            names: HashSet::new(),
            discarded: Vec::new(),
            report,
            check,
            notify_states: false,
        }));
        if !check {
            if let Some(reload) = self.reloads.under_way.take() {
                self.need_namespaces(&reload.prepared.config, true);
                self.refuse_also(&reload.prepared.config.routers);
                self.reloads.under_way = Some(reload);
            }
            for iface in self.interfaces.take_for_virtual(virtual_addresses) {
                self.evaluate_on(iface);
            }
            self.reconfigure_tracking();
        }
    }

    fn name_of(&self, id: RouterId) -> RouterName {
        let router = self.router(id);
        RouterName {
            name: router.name.to_string(),
            interface: router.interface.to_string(),
            vrid: router.vrid().get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(name: &str, interface: &str, vrid: u8, more: &str) -> String {
        format!(
            "[[router]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvrid = {vrid}\nversion = 3\n{more}\n"
        )
    }

    #[test]
    fn a_router_is_the_same_by_vrid_family_interface_and_transport() {
        let v4 = "addresses = [\"10.0.0.1/24\"]";
        let v6 = "addresses = [\"fe80::1/64\"]";
        let unicast = "addresses = [\"10.0.0.1/24\"]\nunicast = { peers = [\"10.0.0.9\"] }";
        let text = [router("A", "eth0", 1, v4), router("B", "eth0", 2, v6)].concat();
        let running = config::load_toml(&text).unwrap().routers;
        let matches = |text: &str| {
            let ids = (0..).map(RouterId);
            let running = running.iter().map(Identity::configured).zip(ids).collect();
            matched(running, &config::load_toml(text).unwrap().routers)
        };
        let [first, second] = [0, 1].map(RouterId);
        // Neither the name nor the place nor other settings make another one of it.
        let turned =
            router("C", "eth0", 2, v6) + &router("D", "eth0", 1, &format!("{v4}\npriority = 7"));
        assert_eq!(matches(&turned), (vec![Some(second), Some(first)], vec![]));
        for other in [
            router("A", "eth1", 1, v4),
            router("A", "eth0", 3, v4),
            router("A", "eth0", 1, v6),
            router("A", "eth0", 1, unicast),
        ] {
            assert_eq!(matches(&other), (vec![None], vec![first, second]), "{other}");
        }
    }
}
