//! The snapshot that `status` shows.

use std::net::{IpAddr, Ipv4Addr};

use super::Daemon;
use super::interfaces::Capture;
use super::router::version_number;
use crate::config::model::Transport;
use crate::control::api::{AddressStatus, InterfaceStatus, Master, RouterStatus, SCHEMA, Status};
use crate::engine::time::Nanos;
use crate::engine::types::{RouterId, State};
use crate::io::{bpf, timer};
use crate::refused::{self, Ours, Refused};

/// For how long a refused advertisement is a problem: some intervals of most senders.
const REFUSED_RECENTLY: Nanos = Nanos::from_secs(10);

impl Daemon {
    pub(super) fn status(&self) -> Status {
        let now = timer::now();
        let refused = self.refused();
        let routers = self.ids().filter_map(|id| self.router_status(id, now, &refused)).collect();
        Status {
            schema: SCHEMA,
            instance: self.instance.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: (now - self.started).as_secs_f64(),
            config: self.config_path.display().to_string(),
            routers,
            interfaces: self.interface_status(),
            counters: self.counters(),
        }
    }

    /// What was refused of late. Nothing while no router is master: a backup says that it hears no master.
    fn refused(&self) -> Vec<Refused> {
        if !self.ids().any(|id| self.engine.state(id) == Some(State::Master)) {
            return Vec::new();
        }
        match self.kernel.reader().and_then(|reader| reader.samples()) {
            Ok(sampled) => refused::latest(&sampled),
            Err(error) => {
                log::debug!("refused advertisements: {}", bpf::chain(&error));
                Vec::new()
            }
        }
    }

    /// Who else has the router's addresses.
    fn conflicts(&self, id: RouterId, now: Nanos) -> Vec<String> {
        if self.watch.next().is_none() {
            return Vec::new();
        }
        let places = self.places(id);
        let named = places.iter().filter_map(|(place, _)| {
            let name = &self.interfaces.get(place.ifindex)?.name;
            self.watch.problem(*place, name, now)
        });
        named.collect()
    }

    /// What a master does not hear of others, as far as it goes on.
    fn unheard(&self, id: RouterId, now: Nanos, refused: &[Refused]) -> Vec<String> {
        let router = self.router(id);
        let (Some(State::Master), Some(ifindex)) = (self.engine.state(id), router.ifindex()) else {
            return Vec::new();
        };
        if refused.is_empty() {
            return Vec::new();
        }
        let addresses: Vec<Ipv4Addr> = router
            .addresses()
            .filter_map(|address| match address.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect();
        let ours = Ours {
            ifindex,
            vrid: router.vrid().get(),
            version: version_number(router.version()),
            addresses: &addresses,
        };
        let recent = refused.iter().filter(|refused| refused.at() + REFUSED_RECENTLY > now);
        recent.filter_map(|refused| refused.about(&ours)).collect()
    }

    fn router_status(&self, id: RouterId, now: Nanos, refused: &[Refused]) -> Option<RouterStatus> {
        let router = self.router(id);
        let view = self.engine.view(id)?;
        let since = if view.since == Nanos::ZERO { self.started } else { view.since };
        let unheard = self.unheard(id, now, refused);
        let conflicts = self.conflicts(id, now);
        let addresses = router.addresses().map(|address| AddressStatus {
            address: format!("{}/{}", address.address, address.prefix),
            dev: router.dev(address).to_owned(),
            installed: self.installed(id, address.address),
        });
        Some(RouterStatus {
            name: router.name.to_string(),
            interface: router.interface.to_string(),
            vrid: router.vrid().get(),
            family: "ipv4".to_owned(),
            version: version_number(router.version()),
            state: view.state.name().to_owned(),
            cause: view.cause.map(|cause| cause.to_string()),
            since_s: (now - since).as_secs_f64(),
            priority: view.priority.0,
            master: view.master.map(|(address, priority)| Master {
                address: address.to_string(),
                priority: priority.0,
            }),
            interval_ms: view.interval.span().0 / 1_000_000,
            master_down_ms: view.master_down_interval.0 / 1_000_000,
            next_timer_ms: view.next_timer.map(|at| (at - now).0 / 1_000_000),
            transport: match &router.transport {
                Transport::Multicast { .. } => vec!["multicast".to_owned()],
                Transport::Unicast { peers, .. } => peers.iter().map(ToString::to_string).collect(),
            },
            source: router.source_in_use().map(|source| source.to_string()),
            addresses: addresses.collect(),
            problems: router.link_problem().into_iter().chain(conflicts).chain(unheard).collect(),
        })
    }

    fn interface_status(&self) -> Vec<InterfaceStatus> {
        let mut names: Vec<&str> = Vec::new();
        for router in &self.routers {
            let devs = router.addresses().filter_map(|address| address.dev());
            for name in [&*router.interface].into_iter().chain(devs) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let show = |name: &str| match self.interfaces.by_name(name) {
            None => InterfaceStatus {
                name: name.to_owned(),
                ifindex: None,
                up: false,
                capture: None,
                error: Some("does not exist".to_owned()),
            },
            Some((ifindex, interface)) => InterfaceStatus {
                name: name.to_owned(),
                ifindex: Some(ifindex),
                up: interface.up,
                capture: match &interface.capture {
                    Capture::Attached(mode) => Some(mode.to_string()),
                    Capture::Detached | Capture::Failed(_) => None,
                },
                error: match &interface.capture {
                    Capture::Failed(why) => Some(why.clone()),
                    Capture::Attached(_) | Capture::Detached => None,
                },
            },
        };
        names.into_iter().map(show).collect()
    }

    fn installed(&self, id: RouterId, address: IpAddr) -> bool {
        let places = self.places(id);
        places.iter().any(|(place, _)| place.address == address && self.interfaces.has(*place))
    }
}
