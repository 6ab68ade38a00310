//! Virtual addresses on their interfaces: asked for, there, lost, removed. [`super::addresses`] keeps the book.

use super::addresses::{Outcome, Place, Request, Vanished};
use super::extras::Handle;
use super::{Counter, Daemon, Error};
use crate::engine::types::{Lost, RouterId};
use crate::io::netlink::{self, AddressRequest, Answer, Ask, InterfaceAddress, Report, Subject};
use crate::io::timer;

impl Daemon {
    /// Finds virtual addresses that a daemon left behind that could not clean up. They bear our mark; what others put
    /// there stays. Those that would be the same again are kept for now, the rest is taken away.
    pub(super) async fn remove_leftovers(&mut self) -> Result<(), Error> {
        let mut missing = 0;
        for id in self.ids() {
            for request in self.left_over_requests(id) {
                let place = Place::of(&request.at);
                let configured = self.router(id).request(place, &self.interfaces);
                if configured.is_some_and(|new| new.at.prefix == request.at.prefix) {
                    log::info!("keeping left-over {} for now", self.describe(place));
                    self.kept.entry(id).or_default().push(request);
                } else {
                    self.netlink.ask(Ask::address(Request::Remove, request));
                    missing += 1;
                }
            }
        }
        missing += self.remove_left_extras();
        while missing > 0 {
            match self.netlink.next().await {
                Report::Answers(answers) => {
                    missing -= answers.len().min(missing);
                    for Answer { request, subject, result, ours } in answers {
                        match subject {
                            Subject::Address(at) => self.left_over(&at, &result),
                            Subject::Extra(number) => {
                                self.asked = self.asked.saturating_sub(1);
                                self.notifier.answered(1);
                                self.left_extra(Handle(number), request, result, ours);
                            }
                        }
                    }
                }
                Report::Closed => return Err(netlink::Error::NoAnswer.into()),
                report @ (Report::Everything(..)
                | Report::Unknown(_)
                | Report::Events(_)
                | Report::Hooks(_)) => {
                    self.reported(report);
                }
            }
        }
        Ok(())
    }

    /// Somebody else may have the addresses that were kept for a router: they go, and its routes and rules.
    pub(super) fn release_kept(&mut self, id: RouterId) {
        let Some(kept) = self.kept.remove(&id) else { return };
        let asked = self.belongings.book.suspects_of(id);
        self.ask_extras(asked);
        for request in kept {
            log::info!("removing left-over {}", self.describe(Place::of(&request.at)));
            self.netlink.ask(Ask::address(Request::Remove, request));
            self.asked += 1;
            self.notifier.asked();
        }
    }

    /// The same for all routers. Whether there were any.
    pub(super) fn release_all_kept(&mut self) -> bool {
        let kept: Vec<RouterId> = self.kept.keys().copied().collect();
        for id in &kept {
            self.release_kept(*id);
        }
        !kept.is_empty()
    }

    /// How to remove what bears our mark where a router's addresses belong.
    pub(super) fn left_over_requests(&self, id: RouterId) -> Vec<AddressRequest> {
        let mut requests = Vec::new();
        for (place, _) in self.places(id) {
            let found = self.interfaces.found(place).filter(|(_, marked)| *marked);
            requests.extend(found.map(|(prefix, _)| {
                let configured = self.router(id).request(place, &self.interfaces);
                configured.filter(|request| request.at.prefix == prefix).unwrap_or_else(|| {
                    AddressRequest::plain(InterfaceAddress {
                        ifindex: place.ifindex,
                        address: place.address,
                        prefix,
                        marked: true,
                        tentative: false,
                    })
                })
            }));
        }
        requests
    }

    fn left_over(&mut self, at: &InterfaceAddress, result: &Result<(), netlink::Error>) {
        let place = Place::of(at);
        match result {
            Ok(()) => {
                log::info!("removed left-over {}", self.describe(place));
                // Not only when the notification comes, or it would seem to be there until then.
                self.changed(&netlink::Event::AddressGone(*at));
            }
            Err(error) if error.is_absent() => {}
            Err(error) => {
                log::error!("left-over {}: {error}", self.describe(place));
                self.count(Counter::AddressRemoveFailed);
            }
        }
    }

    /// Where a router's addresses belong, as far as the interfaces exist.
    pub(super) fn places(&self, id: RouterId) -> Vec<(Place, u8)> {
        let router = self.router(id);
        let places = router.addresses().filter_map(|address| {
            let ifindex = match address.dev() {
                Some(dev) => self.interfaces.by_name(dev)?.0,
                None => router.ifindex()?,
            };
            Some((Place { ifindex, address: address.address }, address.prefix))
        });
        places.collect()
    }

    pub(super) fn add_addresses(&mut self, id: RouterId) {
        let owner = self.router(id).owner;
        let missing: Vec<String> = self
            .router(id)
            .addresses()
            .filter_map(|address| address.dev())
            .filter(|dev| self.interfaces.by_name(dev).is_none())
            .map(str::to_owned)
            .collect();
        for dev in missing {
            log::error!(
                "{}: interface {dev} of an address does not exist",
                self.router(id).place()
            );
            self.count(Counter::AddressAddFailed);
        }
        for (place, prefix) in self.places(id) {
            self.hold(id, place);
            if owner && self.interfaces.owns(place) {
                // The interface's own address, not ours to remove later.
                continue;
            }
            let tracked =
                !self.router(id).addresses().any(|a| a.address == place.address && a.no_track);
            if let Some(request) = self.addresses.want(place, id, prefix, tracked) {
                self.ask(place, request);
            }
        }
        if self.kept.remove(&id).is_some() {
            // Routes and rules may be there in another way than they should: they are added anew.
            let asked = self.belongings.book.suspects_of(id);
            self.ask_extras(asked);
        }
        self.add_extras(id);
    }

    pub(super) fn remove_addresses(&mut self, id: RouterId) {
        self.remove_extras(id);
        for (place, _) in self.places(id) {
            self.give_up(id, place);
        }
    }

    /// A router no longer holds an address, unless another one has taken it over.
    pub(super) fn give_up(&mut self, id: RouterId, place: Place) {
        if self.addresses.router(place).is_some_and(|holder| holder != id) {
            return;
        }
        self.release(id, place);
        if let Some(request) = self.addresses.unwant(place, id) {
            self.ask(place, request);
        }
    }

    /// Sends a request to the kernel; the answer comes as a [`Report`].
    pub(super) fn ask(&mut self, place: Place, request: Request) {
        let Some(id) = self.addresses.router(place) else { return };
        let parting = match request {
            Request::Add => None,
            Request::Remove => self.parting.get(&place).cloned(),
        };
        let address = parting.or_else(|| self.router(id).request(place, &self.interfaces));
        let Some(address) = address else { return };
        if request == Request::Add {
            self.addresses.adding(place, address.at.prefix);
        }
        self.netlink.ask(Ask::address(request, address));
        self.asked += 1;
        self.notifier.asked();
    }

    pub(super) fn answered(&mut self, answers: Vec<Answer>) {
        self.asked = self.asked.saturating_sub(answers.len());
        let count = answers.len();
        let added = answers.iter().filter(|a| a.request == Request::Add && a.result.is_ok());
        self.report_groups(added.filter_map(|answer| match answer.subject {
            Subject::Address(at) => Some(Place::of(&at)),
            Subject::Extra(_) => None,
        }));
        for Answer { request, subject, result, ours } in answers {
            match subject {
                Subject::Address(at) => self.completed(request, at, &result, ours),
                Subject::Extra(number) => {
                    self.extra_answered(Handle(number), request, result, ours);
                }
            }
        }
        self.flush();
        self.notifier.answered(count);
    }

    fn completed(
        &mut self,
        request: Request,
        at: InterfaceAddress,
        result: &Result<(), netlink::Error>,
        ours: bool,
    ) {
        let place = Place::of(&at);
        let outcome = match (request, result) {
            (Request::Add | Request::Remove, Ok(())) => Outcome::Done,
            (Request::Add, Err(error)) if error.errno() == Some(libc::EEXIST) => {
                // Nothing will be reported.
                self.addresses.appeared(place, at.prefix, false);
                let marked = self.interfaces.found(place).any(|found| found == (at.prefix, true));
                if ours || marked { Outcome::Done } else { Outcome::WasSo }
            }
            (Request::Remove, Err(error)) if error.is_absent() => Outcome::WasSo,
            (Request::Add, Err(error)) => {
                log::error!("cannot add {}: {error}", self.describe(place));
                self.count(Counter::AddressAddFailed);
                Outcome::Failed
            }
            (Request::Remove, Err(error)) => {
                log::error!("cannot remove {}: {error}", self.describe(place));
                self.count(Counter::AddressRemoveFailed);
                Outcome::Failed
            }
        };
        let next = self.addresses.completed(place, request, outcome);
        if !outcome.is_there(request)
            && request == Request::Remove
            && self.parting.remove(&place).is_some()
        {
            self.addresses.forget(place);
        }
        if let Some(next) = next {
            self.ask(place, next);
        }
        match outcome {
            Outcome::Failed => self.retry_soon(),
            Outcome::Done | Outcome::WasSo => {
                let rounds = self.addresses.take_rounds(place);
                for _ in 0..rounds {
                    self.garp(place);
                }
                if let (Request::Add, Some(id)) = (request, self.addresses.router(place)) {
                    self.extras_after_address(id);
                }
            }
        }
    }

    pub(super) fn describe(&self, place: Place) -> String {
        let dev = self.interfaces.get(place.ifindex).map_or("?", |interface| &interface.name);
        format!("{} dev {dev}", place.address)
    }

    pub(super) fn vanished(&mut self, place: Place, prefix: u8) {
        let vanished = self.addresses.vanished(place, prefix);
        if let (true, Some(id)) = (vanished != Vanished::Expected, self.addresses.router(place)) {
            self.extras_of(id);
        }
        match vanished {
            Vanished::Expected => {}
            Vanished::Collateral => {
                log::info!("{} went with its subnet; adding it again", self.describe(place));
                self.retry_addresses();
            }
            Vanished::Foreign => {
                log::info!(
                    "{}, which others had put there, was removed; adding it",
                    self.describe(place)
                );
                self.retry_addresses();
            }
            Vanished::Untracked => {
                log::warn!("{} was removed from outside; not tracked", self.describe(place));
                if let Some(id) = self.addresses.router(place) {
                    self.addresses.unwant(place, id);
                }
            }
            Vanished::Lost(id) => {
                log::warn!("{} was removed from outside", self.describe(place));
                self.count(Counter::AddressLost);
                if self.belongings.restores(id) {
                    self.restore_address(id, place);
                } else {
                    let lost = Lost::Address(place.address);
                    self.engine.handle_lost(timer::now(), id, lost);
                }
            }
        }
    }

    pub(super) fn retry_addresses(&mut self) {
        for (place, request) in self.addresses.retry() {
            self.ask(place, request);
        }
    }
}
