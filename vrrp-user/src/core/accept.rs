//! Routers without accept mode (RFC 9568 section 6.1): for which addresses the kernel lets nothing in but neighbour discovery.
//!
//! They are those of the configuration, whatever state their routers are in: a takeover has nothing to do that could fail or
//! take time, and no packet slips in before an address is there, or before it is gone. A backup must not accept packets
//! either (section 6.4.2), whoever has put the address there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::interface_id::{InterfaceAddr, NamespaceId};
use super::netlink::{Ask, Object, Request, RequestError, Subject};
use super::{Core, Counter};
use crate::config::model::RouterConfig;
use crate::engine::time::Nanos;
use crate::engine::types::RouterId;
use crate::types::planted::{Fault, planted};

/// How often it is looked whether the kernel still refuses them, at most, on occasions on which the daemon is awake anyway.
const LOOK: Nanos = Nanos::from_secs(1);

/// What the kernel is told of them, in one network namespace.
#[derive(Default)]
pub struct Accept {
    /// The addresses that it was told last; none for no filter.
    refused: Arc<[IpAddr]>,
    /// Those of them that no router has any more, or that none wants refused, until they are gone.
    leaving: BTreeSet<IpAddr>,
    /// Requests that it has not answered.
    awaited: usize,
    /// Whether there may be a filter.
    there: bool,
    /// When it was last asked.
    asked_at: Nanos,
    /// Why it does not do what it was told.
    error: Option<String>,
}

/// Addresses, by where they belong.
type Places = BTreeMap<NamespaceId, BTreeSet<IpAddr>>;

impl Core {
    /// Has the kernel refuse what is configured, and what is there of what was.
    pub(super) fn update_refused(&mut self) {
        let of_routers = |accept: bool| {
            let mut places = Places::new();
            let routers = self.ids().map(|id| self.router(id));
            for router in routers.filter(|router| router.accept == accept) {
                for address in router.addresses() {
                    let namespace = NamespaceId::of_interface(router.dev(address));
                    places.entry(namespace).or_default().insert(address.address);
                }
            }
            places
        };
        let mut refused = of_routers(false);
        if refused.is_empty() && self.accept.values().all(|accept| accept.refused.is_empty()) {
            return;
        }
        let mut accepted = of_routers(true);
        let mut held = Places::new();
        for (at, _) in self.addresses.held() {
            held.entry(at.iface.namespace).or_default().insert(at.address);
        }
        let namespaces: BTreeSet<NamespaceId> =
            self.accept.keys().chain(refused.keys()).copied().collect();
        for namespace in namespaces {
            let mut refused = refused.remove(&namespace).unwrap_or_default();
            let accepted = accepted.remove(&namespace).unwrap_or_default();
            let held = held.remove(&namespace).unwrap_or_default();
            // Who has an address on several interfaces gets packets to it by each of them.
            refused.retain(|address| !accepted.contains(address));
            let accept = self.accept.entry(namespace).or_default();
            let stays = |address: &&IpAddr| held.contains(address) && !accepted.contains(address);
            let leaving = accept.refused.iter().filter(stays).copied();
            accept.leaving = leaving.filter(|address| !refused.contains(address)).collect();
            refused.extend(&accept.leaving);
            self.set_refused(namespace, refused);
        }
    }

    /// A configuration is about to be applied: before anything else, what it wants refused is.
    pub(super) fn refuse_also(&mut self, routers: &[RouterConfig]) {
        let before = self.accept.iter().map(|(namespace, accept)| {
            (*namespace, accept.refused.iter().copied().collect::<BTreeSet<_>>())
        });
        let mut refused: Places = before.collect();
        for router in routers.iter().filter(|router| !router.accepts()) {
            for address in router.addresses.iter().chain(&router.excluded) {
                let dev = address.dev.as_deref().unwrap_or(&router.interface);
                let namespace = NamespaceId::of_interface(dev);
                refused.entry(namespace).or_default().insert(address.address);
            }
        }
        for (namespace, refused) in refused {
            self.set_refused(namespace, refused);
        }
    }

    /// An address is gone.
    pub(super) fn refused_removed(&mut self, place: InterfaceAddr) {
        let accept = self.accept.get_mut(&place.iface.namespace);
        // Not at each of thousands.
        let removed = accept.is_some_and(|accept| {
            accept.leaving.remove(&place.address) && accept.leaving.is_empty()
        });
        if removed {
            self.update_refused();
        }
    }

    fn set_refused(&mut self, namespace: NamespaceId, addresses: BTreeSet<IpAddr>) {
        let accept = self.accept.entry(namespace).or_default();
        if !addresses.iter().eq(accept.refused.iter()) {
            accept.refused = addresses.into_iter().collect();
            if planted(Fault::AcceptIgnored) {
                return;
            }
            self.ask_refused(namespace);
        }
    }

    /// Looks whether the kernel still does what it was told, unless that was a moment ago.
    pub(super) fn look_at_refused(&mut self) {
        let now = self.now;
        let due = |accept: &Accept| {
            !accept.refused.is_empty()
                && accept.awaited == 0
                && accept.error.is_none()
                && accept.asked_at + LOOK <= now
        };
        self.ask_refused_where(due);
    }

    /// Asks again where that has failed.
    pub(super) fn retry_refused(&mut self) {
        self.ask_refused_where(|accept| accept.error.is_some() && accept.awaited == 0);
    }

    fn ask_refused_where(&mut self, due: impl Fn(&Accept) -> bool) {
        let all = self.accept.iter().filter(|(_, accept)| due(accept));
        let all: Vec<NamespaceId> = all.map(|(namespace, _)| *namespace).collect();
        for namespace in all {
            self.ask_refused(namespace);
        }
    }

    /// A network namespace has come or gone.
    pub(super) fn refused_in(&mut self, namespace: NamespaceId) {
        let here = self.namespaces.has(namespace);
        let Some(accept) = self.accept.get_mut(&namespace) else { return };
        (accept.there, accept.error) = (false, None);
        if here && !accept.refused.is_empty() {
            self.ask_refused(namespace);
        }
    }

    fn ask_refused(&mut self, namespace: NamespaceId) {
        if !self.namespaces.has(namespace) {
            return;
        }
        let now = self.now;
        let accept = self.accept.entry(namespace).or_default();
        let addresses = Arc::clone(&accept.refused);
        let request = if addresses.is_empty() { Request::Remove } else { Request::Add };
        accept.there |= request == Request::Add;
        accept.awaited += 1;
        accept.asked_at = now;
        let object = Object::Refused(namespace, addresses);
        self.ask_netlink(Ask { request, subject: Subject::Refused(namespace), object });
    }

    /// The answer to a request. Requests are carried out in their order, so the last one is what counts.
    pub(super) fn refused_answered(
        &mut self,
        namespace: NamespaceId,
        request: Request,
        result: &Result<(), RequestError>,
    ) {
        let accept = self.accept.entry(namespace).or_default();
        if accept.awaited == 0 {
            return self.count(Counter::UnexpectedAnswer);
        }
        accept.awaited -= 1;
        match result {
            Ok(()) => {
                accept.there = request == Request::Add;
                if let (Some(why), Request::Add) = (accept.error.take(), request) {
                    log::info!(
                        "packets to addresses of routers without accept mode are refused now, after: {why}"
                    );
                }
            }
            // It went with its network namespace.
            Err(_) if !self.namespaces.has(namespace) => accept.there = false,
            Err(error) => {
                let why = error.to_string();
                if accept.error.as_ref() != Some(&why) {
                    match request {
                        Request::Add => log::error!(
                            "packets to addresses of routers without accept mode are let in: {why}; tried again every few \
                             seconds"
                        ),
                        Request::Remove => {
                            log::error!("packets to addresses may still be refused: {why}");
                        }
                    }
                }
                accept.error = Some(why);
                self.count(Counter::AcceptFilterFailed);
                self.retry_soon();
            }
        }
    }

    /// Takes the filter away: the daemon ends, and no address is there any more. Whether that is done, or cannot be.
    pub(super) fn release_refused(&mut self) -> bool {
        let all: Vec<NamespaceId> = self.accept.keys().copied().collect();
        for namespace in all {
            let Some(accept) = self.accept.get_mut(&namespace) else { continue };
            if accept.awaited == 0 && accept.there {
                // Once: what stays is refused to nobody.
                accept.there = false;
                accept.refused = Arc::default();
                self.ask_refused(namespace);
            }
        }
        self.accept.values().all(|accept| accept.awaited == 0)
    }

    /// Where there may be a filter.
    pub fn refuses(&self) -> impl Iterator<Item = NamespaceId> {
        self.accept.iter().filter(|(_, accept)| accept.there).map(|(namespace, _)| *namespace)
    }

    /// Why packets to the addresses of a router are let in that does not want them.
    pub(super) fn accept_problem(&self, id: RouterId) -> Option<String> {
        let router = self.router(id);
        let namespace = NamespaceId::of_interface(&router.interface);
        let accept = self.accept.get(&namespace).filter(|accept| !accept.refused.is_empty())?;
        let error = accept.error.as_ref()?;
        (!router.accept).then(|| {
            format!(
                "packets to its addresses are let in, although it is without accept mode: {error}"
            )
        })
    }
}
