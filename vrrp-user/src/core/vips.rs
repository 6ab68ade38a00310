//! Virtual addresses on their interfaces: asked for, there, lost, removed. [`super::addresses`] keeps the book.

use super::address_book::{Outcome, Request, Vanished};
use super::interface_id::InterfaceAddr;
use super::netlink::{AddressRequest, Answer, Ask, AssignedAddress, Event, RequestError, Subject};
use super::route_book::Handle;
use super::{Core, Counter};
use crate::engine::types::{Lost, RouterId, State};
use crate::types::planted::{Fault, planted};

impl Core {
    /// Finds virtual addresses that a daemon left behind that could not clean up. They bear our mark; what others put
    /// there stays. Those that would be the same again are kept for now, the rest is taken away. `continues` is whether the maps
    /// are those of that daemon.
    pub(super) fn remove_stale(&mut self, continues: bool) {
        let before = self.asked;
        for id in self.ids() {
            let requests = self.stale_requests(id);
            let adopts = self.goes_on(id);
            if continues {
                // The one before held all that it had as master, and there may be less.
                let found = |at| requests.iter().any(|request| request.address.at == at);
                let places = self.interface_addrs(id).into_iter().map(|(place, _)| place);
                let gone: Vec<_> = places.filter(|place| !found(*place)).collect();
                gone.into_iter().for_each(|place| self.release_address(place));
            }
            if !requests.is_empty() && !adopts {
                self.lease_found(id, requests.iter().map(|request| request.address.at).collect());
            }
            for request in requests {
                let place = request.address.at;
                let configured = self.router(id).request(place, 0);
                if configured.is_some_and(|new| new.address.prefix == request.address.prefix) {
                    if adopts {
                        log::debug!("adopting {}", self.describe(place));
                    } else {
                        log::info!("keeping stale {} for now", self.describe(place));
                    }
                    self.kept.entry(id).or_default().push(request);
                } else {
                    self.remove_stray(request);
                }
            }
        }
        self.remove_stale_objects();
        self.wait_for_answers(self.asked - before);
    }

    /// Takes away what an earlier daemon has left where the addresses of a router that is not master belong now. Until it is gone
    /// it is whoever's claims it.
    pub(super) fn remove_found(&mut self, id: RouterId) {
        let mut found = self.stale_requests(id);
        found.retain(|request| !self.addresses.wants(request.address.at));
        if !found.is_empty() {
            self.lease_found(id, found.iter().map(|request| request.address.at).collect());
        }
        // What another router had, which gave it up, is asked for already.
        found.retain(|request| self.addresses.router(request.address.at).is_none());
        found.into_iter().for_each(|request| self.remove_stray(request));
    }

    /// An address bears our mark that is believed to be gone, and that no router wants: somebody has put it back, or what was
    /// reported of it was older than what is there. It goes, and until then it is whoever's claims it.
    pub(super) fn remove_returned(&mut self, at: AssignedAddress) {
        let place = at.at;
        let Some(id) = self.addresses.router(place) else { return };
        if !at.marked || !self.addresses.is_over(place) || self.awaits_stray(place) {
            return;
        }
        log::info!("{} is there although no router has it; removing it", self.describe(place));
        if self.engine.state(id) != Some(State::Master) {
            self.lease_found(id, vec![place]);
        }
        let configured = self.router(id).request(place, self.addresses.index(place));
        let configured = configured.filter(|request| request.address.prefix == at.prefix);
        self.remove_stray(configured.unwrap_or_else(|| AddressRequest::plain(at)));
    }

    /// Whether an address that no router holds is being removed.
    fn awaits_stray(&self, place: InterfaceAddr) -> bool {
        self.strays.contains_key(&(place, Request::Remove))
    }

    /// Asks for the removal of an address that no router holds.
    pub(super) fn remove_stray(&mut self, address: AddressRequest) {
        self.expect_stray(address.address.at, Request::Remove);
        self.ask_netlink(Ask::address(Request::Remove, address));
    }

    /// A request is under way about an address that no router holds, or none holds any more.
    pub(super) fn expect_stray(&mut self, place: InterfaceAddr, request: Request) {
        *self.strays.entry((place, request)).or_default() += 1;
    }

    /// Whether the answer to such a request was waited for.
    fn take_stray(&mut self, place: InterfaceAddr, request: Request) -> bool {
        let Some(count) = self.strays.get_mut(&(place, request)) else { return false };
        *count -= 1;
        if *count == 0 {
            self.strays.remove(&(place, request));
        }
        true
    }

    /// Whether so many answers are waited for. Those that are not are counted, and change nothing.
    pub(super) fn expected(&mut self, answers: usize) -> bool {
        if answers > self.asked {
            self.count(Counter::UnexpectedAnswer);
            return false;
        }
        self.asked -= answers;
        true
    }

    /// Somebody else may have the addresses that were kept for a router: they go, and its routes and rules.
    pub(super) fn release_kept(&mut self, id: RouterId) {
        let Some(kept) = self.kept.remove(&id) else { return };
        let asked = self.objects.book.suspects_of(id);
        self.ask_objects(asked);
        for request in kept {
            log::info!("removing stale {}", self.describe(request.address.at));
            self.remove_stray(request);
        }
    }

    /// The same for a router and the members of its sync group, which would be master together.
    pub(super) fn release_kept_with(&mut self, id: RouterId) {
        let group = |id| self.engine.spec(id).and_then(|spec| spec.group);
        let with = |other: &RouterId| {
            *other == id || group(id).is_some_and(|it| group(*other) == Some(it))
        };
        // Who goes on as master takes them up in a moment, whoever else advertises.
        let kept = self.kept.keys().copied().filter(|id| !self.goes_on(*id));
        let released: Vec<RouterId> = kept.filter(with).collect();
        for id in released {
            self.release_kept(id);
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
    pub(super) fn stale_requests(&self, id: RouterId) -> Vec<AddressRequest> {
        let mut requests = Vec::new();
        for (place, _) in self.interface_addrs(id) {
            let found = self.interfaces.found(place).filter(|(_, marked)| *marked);
            requests.extend(found.map(|(prefix, _)| {
                let configured = self.router(id).request(place, 0);
                configured.filter(|request| request.address.prefix == prefix).unwrap_or_else(|| {
                    AddressRequest::plain(AssignedAddress {
                        at: place,
                        prefix,
                        marked: true,
                        tentative: false,
                    })
                })
            }));
        }
        requests
    }

    pub(super) fn stale_answered(
        &mut self,
        at: &AssignedAddress,
        result: &Result<(), RequestError>,
    ) {
        let place = at.at;
        if !self.take_stray(place, Request::Remove) {
            return self.count(Counter::UnexpectedAnswer);
        }
        match result {
            Ok(()) => {
                log::info!("removed stale {}", self.describe(place));
                self.release_stray(place);
                // Not only when the notification comes, or it would seem to be there until then.
                self.changed(&Event::AddressRemoved(*at));
            }
            Err(error) if error.is_absent() => {}
            Err(error) => {
                log::error!("stale {}: {error}", self.describe(place));
                self.count(Counter::AddressRemoveFailed);
                self.retry_stray(*at);
            }
        }
    }

    /// One that was found is gone: until now it was fenced when others claimed it.
    fn release_stray(&mut self, place: InterfaceAddr) {
        if !self.addresses.holds(place) {
            self.release_address(place);
        }
    }

    /// An address that no router holds is to be removed with the next attempt.
    fn retry_stray(&mut self, at: AssignedAddress) {
        self.failed_strays.push(at);
        self.retry_soon();
    }

    /// Where a router's addresses belong, as far as the interfaces exist.
    pub(super) fn interface_addrs(&self, id: RouterId) -> Vec<(InterfaceAddr, u8)> {
        let places = self.router(id).addresses_on().filter_map(|(address, on)| {
            Some((InterfaceAddr { iface: on?, address: address.address }, address.prefix))
        });
        places.collect()
    }

    pub(super) fn add_addresses(&mut self, id: RouterId) {
        let owner = self.router(id).owner;
        if !self.router(id).accept {
            self.look_at_refused();
        }
        let missing = self.router(id).addresses_on().filter(|(_, on)| on.is_none());
        let missing: Vec<String> =
            missing.filter_map(|(address, _)| address.dev().map(str::to_owned)).collect();
        for dev in missing {
            log::error!(
                "{}: interface {dev} of an address does not exist",
                self.router(id).label()
            );
            self.count(Counter::AddressAddFailed);
        }
        let all =
            self.router(id).addresses_on().enumerate().filter_map(|(index, (address, on))| {
                let place = InterfaceAddr { iface: on?, address: address.address };
                Some((index, place, address.prefix, !address.no_track))
            });
        for (index, place, prefix, tracked) in all.collect::<Vec<_>>() {
            self.hold_address(id, place);
            if owner && self.interfaces.owns(place) {
                // The interface's own address, not ours to remove later.
                continue;
            }
            let request = self.addresses.want(place, id, prefix, tracked);
            self.addresses.set_index(place, index);
            if let Some(request) = request {
                self.ask(place, request);
            }
        }
        if self.kept.remove(&id).is_some() && !self.is_adopted(id) {
            // Routes and rules may be there in another way than they should: they are added anew.
            let asked = self.objects.book.suspects_of(id);
            self.ask_objects(asked);
        }
        self.add_objects(id);
    }

    pub(super) fn remove_addresses(&mut self, id: RouterId) {
        self.remove_objects(id);
        for (place, _) in self.interface_addrs(id) {
            self.withdraw(id, place);
        }
    }

    /// A router no longer holds an address, unless another one has taken it over.
    pub(super) fn withdraw(&mut self, id: RouterId, place: InterfaceAddr) {
        if self.addresses.router(place).is_some_and(|holder| holder != id) {
            return;
        }
        self.give_up_address(id, place);
        match self.addresses.unwant(place, id) {
            // Until it is gone, nobody else's claim to it may be missed.
            Some(request) => self.ask(place, request),
            None if !self.addresses.holds(place) => self.release_address(place),
            None => {}
        }
    }

    /// Asks the kernel for something about an address that a router holds.
    pub(super) fn ask(&mut self, place: InterfaceAddr, request: Request) {
        let Some(id) = self.addresses.router(place) else { return };
        let pending_removals = match request {
            Request::Add => None,
            Request::Remove => self.pending_removals.get(&place).cloned(),
        };
        let address = pending_removals
            .or_else(|| self.router(id).request(place, self.addresses.index(place)));
        let Some(address) = address else { return };
        if request == Request::Add {
            self.addresses.adding(place, address.address.prefix);
        }
        self.ask_netlink(Ask::address(request, address));
    }

    pub(super) fn answered(&mut self, answers: Vec<Answer>) {
        let mut answers = answers;
        answers.retain(|_| self.expected(1));
        let count = answers.len();
        let added = answers.iter().filter(|a| a.request == Request::Add && a.result.is_ok());
        self.report_groups(added.filter_map(|answer| match answer.subject {
            Subject::Address(at) => Some(at.at),
            Subject::Object(_) | Subject::Refused(_) => None,
        }));
        for Answer { request, subject, result, ours } in answers {
            match subject {
                Subject::Address(at) => self.completed(request, at, &result, ours),
                Subject::Object(number) => {
                    self.object_answered(Handle(number), request, &result, ours);
                }
                Subject::Refused(namespace) => self.refused_answered(namespace, request, &result),
            }
        }
        self.notifier_answered(count);
    }

    fn completed(
        &mut self,
        request: Request,
        at: AssignedAddress,
        result: &Result<(), RequestError>,
        ours: bool,
    ) {
        let other = Some(()).filter(|()| planted(Fault::AnswerToAnother));
        let place = other.and_then(|()| self.addresses.awaiting(request)).unwrap_or(at.at);
        // Of one that no router holds; that was asked for before.
        if self.take_stray(place, request) {
            match (request, result) {
                (Request::Remove, Err(error)) if !error.is_absent() => {
                    log::error!("cannot remove {}: {error}", self.describe(place));
                    self.count(Counter::AddressRemoveFailed);
                    self.retry_stray(at);
                }
                (Request::Remove, Ok(()) | Err(_)) => self.release_stray(place),
                (Request::Add, _) => {}
            }
            return;
        }
        if !self.addresses.awaits(place, request) {
            return self.count(Counter::UnexpectedAnswer);
        }
        let outcome = match (request, result) {
            (Request::Add | Request::Remove, Ok(())) => Outcome::Done,
            // Somebody else's, and gone since: that was reported before the answer. Or it is not reported yet.
            (Request::Add, Err(error))
                if error.errno() == Some(libc::EEXIST)
                    && !ours
                    && !self.interfaces.has(place)
                    && !self.interfaces.owns(place) =>
            {
                log::info!("cannot add {}, which was there a moment ago", self.describe(place));
                Outcome::Failed
            }
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
        if outcome == Outcome::Failed
            && self.interfaces.found(place).any(|it| it == (at.prefix, false))
        {
            self.addresses.appeared(place, at.prefix, false);
        }
        if !outcome.is_there(request)
            && request == Request::Remove
            && self.pending_removals.remove(&place).is_some()
        {
            self.addresses.forget(place);
        }
        if request == Request::Remove && outcome != Outcome::Failed && !self.addresses.holds(place)
        {
            self.release_address(place);
            self.refused_removed(place);
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
                    self.objects_after_address(id);
                }
            }
        }
    }

    pub(super) fn vanished(&mut self, place: InterfaceAddr, prefix: u8) {
        let vanished = self.addresses.vanished(place, prefix);
        if let (true, Some(id)) = (vanished != Vanished::Expected, self.addresses.router(place)) {
            self.doubt_objects_of(id);
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
                if self.objects.restores(id) {
                    self.restore_address(id, place);
                } else {
                    let lost = Lost::Address(place.address);
                    self.engine.handle_lost(self.now, id, lost);
                }
            }
        }
    }

    /// Tries again to remove addresses that no router holds.
    pub(super) fn retry_strays(&mut self) {
        for at in std::mem::take(&mut self.failed_strays) {
            // A router may have become master meanwhile: then it is that one's.
            if !self.addresses.holds(at.at) {
                self.remove_stray(AddressRequest::plain(at));
            }
        }
    }

    pub(super) fn retry_addresses(&mut self) {
        for (place, request) in self.addresses.retry() {
            self.ask(place, request);
        }
    }
}
