//! Routers without accept mode (RFC 9568 section 6.1): for which addresses the kernel lets nothing in but neighbour discovery.
//!
//! They are those of the configuration, whatever state their routers are in: a takeover has nothing to do that could fail or
//! take time, and no packet slips in before an address is there, or before it is gone. A backup must not accept packets
//! either (section 6.4.2), whoever has put the address there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::netlink::{Ask, Object, Request, RequestError, Subject};
use super::{Core, Counter};
use crate::config::model::RouterConfig;
use crate::engine::time::Nanos;
use crate::engine::types::RouterId;
use crate::types::planted::{Fault, planted};

/// How often it is looked whether the kernel still refuses them, at most, on occasions on which the daemon is awake anyway.
const LOOK: Nanos = Nanos::from_secs(1);

/// What the kernel is told of them.
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

impl Core {
    /// Has the kernel refuse what is configured, and what is there of what was.
    pub(super) fn update_refused(&mut self) {
        let of_routers = |accept: bool| -> BTreeSet<IpAddr> {
            let routers = self.ids().map(|id| self.router(id));
            let routers = routers.filter(|router| router.accept == accept);
            routers.flat_map(|router| router.addresses().map(|it| it.address)).collect()
        };
        let mut refused = of_routers(false);
        if refused.is_empty() && self.accept.refused.is_empty() {
            return;
        }
        let accepted = of_routers(true);
        // Who has an address on several interfaces gets packets to it by each of them.
        refused.retain(|address| !accepted.contains(address));
        let held: BTreeSet<IpAddr> = self.addresses.held().map(|(at, _)| at.address).collect();
        let stays = |address: &&IpAddr| held.contains(address) && !accepted.contains(address);
        let leaving = self.accept.refused.iter().filter(stays).copied();
        self.accept.leaving = leaving.filter(|address| !refused.contains(address)).collect();
        refused.extend(&self.accept.leaving);
        self.set_refused(refused);
    }

    /// A configuration is about to be applied: before anything else, what it wants refused is.
    pub(super) fn refuse_also(&mut self, routers: &[RouterConfig]) {
        let mut refused: BTreeSet<IpAddr> = self.accept.refused.iter().copied().collect();
        for router in routers.iter().filter(|router| !router.accepts()) {
            let all = router.addresses.iter().chain(&router.excluded);
            refused.extend(all.map(|address| address.address));
        }
        self.set_refused(refused);
    }

    /// An address is gone.
    pub(super) fn refused_removed(&mut self, address: IpAddr) {
        // Not at each of thousands.
        if self.accept.leaving.remove(&address) && self.accept.leaving.is_empty() {
            self.update_refused();
        }
    }

    fn set_refused(&mut self, addresses: BTreeSet<IpAddr>) {
        if !addresses.iter().eq(self.accept.refused.iter()) {
            self.accept.refused = addresses.into_iter().collect();
            if planted(Fault::AcceptIgnored) {
                return;
            }
            self.ask_refused();
        }
    }

    /// Looks whether the kernel still does what it was told, unless that was a moment ago.
    pub(super) fn look_at_refused(&mut self) {
        let accept = &self.accept;
        if !accept.refused.is_empty()
            && accept.awaited == 0
            && accept.error.is_none()
            && accept.asked_at + LOOK <= self.now
        {
            self.ask_refused();
        }
    }

    /// Asks again where that has failed.
    pub(super) fn retry_refused(&mut self) {
        if self.accept.error.is_some() && self.accept.awaited == 0 {
            self.ask_refused();
        }
    }

    fn ask_refused(&mut self) {
        let addresses = Arc::clone(&self.accept.refused);
        let request = if addresses.is_empty() { Request::Remove } else { Request::Add };
        self.accept.there |= request == Request::Add;
        self.accept.awaited += 1;
        self.accept.asked_at = self.now;
        let object = Object::Refused(addresses);
        self.ask_netlink(Ask { request, subject: Subject::Refused, object });
    }

    /// The answer to a request. Requests are carried out in their order, so the last one is what counts.
    pub(super) fn refused_answered(&mut self, request: Request, result: &Result<(), RequestError>) {
        if self.accept.awaited == 0 {
            return self.count(Counter::UnexpectedAnswer);
        }
        self.accept.awaited -= 1;
        match result {
            Ok(()) => {
                self.accept.there = request == Request::Add;
                if let (Some(why), Request::Add) = (self.accept.error.take(), request) {
                    log::info!(
                        "packets to addresses of routers without accept mode are refused now, after: {why}"
                    );
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.accept.error.as_ref() != Some(&why) {
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
                self.count(Counter::AcceptFilterFailed);
                self.accept.error = Some(why);
                self.retry_soon();
            }
        }
    }

    /// Takes the filter away: the daemon ends, and no address is there any more. Whether that is done, or cannot be.
    pub(super) fn release_refused(&mut self) -> bool {
        if self.accept.awaited == 0 && self.accept.there {
            // Once: what stays is refused to nobody.
            self.accept.there = false;
            self.accept.refused = Arc::default();
            self.ask_refused();
        }
        self.accept.awaited == 0
    }

    /// Whether there may be a filter.
    pub fn refuses(&self) -> bool {
        self.accept.there
    }

    /// Why packets to the addresses of a router are let in that does not want them.
    pub(super) fn accept_problem(&self, id: RouterId) -> Option<String> {
        let error = self.accept.error.as_ref().filter(|_| !self.accept.refused.is_empty())?;
        (!self.router(id).accept).then(|| {
            format!(
                "packets to its addresses are let in, although it is without accept mode: {error}"
            )
        })
    }
}
