//! What besides virtual addresses should be there, and what is: routes and rules of masters, and all that is
//! there whoever is master.
//!
//! Pure, like [`super::addresses`]. Routers can share a route or rule: it is there as long as one of them wants it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::interface_id::NamespaceId;
use super::netlink::{RouteKey, RouteSeen, RuleKey};
use super::presence::{Outcome, Presence, Request};
use crate::config::model::{self, Fixed, Route, Rule};
use crate::engine::types::RouterId;

/// Number of an [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u32);

/// Something that the kernel keeps for us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// An address that is always there.
    Address(Arc<model::Address>),
    /// A route.
    Route(Arc<Route>),
    /// A rule.
    Rule(Arc<Rule>),
    /// `promote_secondaries` of an interface.
    PromoteSecondaries(Arc<str>),
}

impl Object {
    /// The interfaces without which the kernel would refuse it.
    pub fn devs(&self) -> impl Iterator<Item = &str> {
        let (route, other) = match self {
            Self::Address(address) => (None, address.dev.as_deref()),
            Self::Route(route) => (Some(route.devs()), None),
            Self::Rule(_) => (None, None),
            Self::PromoteSecondaries(dev) => (None, Some(&**dev)),
        };
        route.into_iter().flatten().chain(other)
    }

    /// Where it is.
    pub fn namespace(&self) -> NamespaceId {
        match self {
            Self::Address(address) => {
                address.dev.as_deref().map_or(NamespaceId::OWN, NamespaceId::of_interface)
            }
            Self::Route(route) => NamespaceId::of(route.netns.as_ref()),
            Self::Rule(rule) => NamespaceId::of(rule.netns.as_ref()),
            Self::PromoteSecondaries(dev) => NamespaceId::of_interface(dev),
        }
    }

    /// The `track_group` that follows it.
    pub fn track_group(&self) -> Option<&str> {
        let group = match self {
            Self::Address(address) => &address.track_group,
            Self::Route(route) => &route.track_group,
            Self::Rule(rule) => &rule.track_group,
            Self::PromoteSecondaries(_) => return None,
        };
        group.as_deref().filter(|_| self.is_tracked())
    }

    /// Whether a router minds that somebody else takes it away.
    fn is_tracked(&self) -> bool {
        match self {
            Self::Address(address) => !address.no_track,
            Self::Route(route) => !route.no_track,
            Self::Rule(rule) => !rule.no_track,
            Self::PromoteSecondaries(_) => false,
        }
    }

    /// Whether it is known for ours by its mark.
    fn is_marked(&self) -> bool {
        match self {
            Self::Address(_) | Self::PromoteSecondaries(_) => false,
            Self::Route(route) => route.protocol == crate::config::routes::PROTOCOL,
            Self::Rule(rule) => rule.protocol == crate::config::routes::PROTOCOL,
        }
    }

    /// What the kernel drops silently with an interface or address.
    fn is_fragile(&self) -> bool {
        matches!(self, Self::Route(_) | Self::Address(_))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "address {address}"),
            Self::Route(route) => write!(f, "route {route}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
            Self::PromoteSecondaries(dev) => write!(f, "promote_secondaries of {dev}"),
        }
    }
}

#[derive(Debug)]
struct Entry {
    object: Object,
    presence: Presence,
    /// Routers that want it now.
    wanted_by: Vec<RouterId>,
    /// Who has it in its configuration; nobody, and it can be forgotten.
    used_by: u32,
    /// It is there whoever is master.
    fixed: bool,
    /// Why it is not there, in the kernel's words.
    refused: Option<Box<str>>,
}

/// What the disappearance of something means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vanished {
    /// It was one of these, and these routers mind.
    Lost(Handle, Vec<RouterId>),
    /// It was one that is always there; put it back.
    Fixed(Handle),
    /// Nobody minds (`no_track`).
    Untracked(Handle),
}

/// How something of a router is.
#[derive(Clone, Copy, Debug)]
pub struct ObjectView<'a> {
    /// What.
    pub object: &'a Object,
    /// Whether it is there.
    pub there: bool,
    /// Why it is not.
    pub refused: Option<&'a str>,
}

/// All of them.
#[derive(Default)]
pub struct RouteBook {
    entries: BTreeMap<Handle, Entry>,
    /// The number of the next one.
    next: u32,
    by_object: HashMap<Object, Handle>,
    by_route: HashMap<RouteKey, Vec<Handle>>,
    by_rule: HashMap<RuleKey, Vec<Handle>>,
    of_router: HashMap<RouterId, Box<[Handle]>>,
}

impl RouteBook {
    /// Nobody has any.
    pub fn is_empty(&self) -> bool {
        self.by_object.is_empty()
    }

    /// Sets what belongs to a router: its routes, then its rules. What it had before and has no more is no longer
    /// wanted for it; the requests that follow from that are returned.
    pub fn set(&mut self, id: RouterId, routing: &model::Routing) -> Vec<(Handle, Request)> {
        let routes = routing.routes.iter().map(|route| Object::Route(Arc::new(route.clone())));
        let rules = routing.rules.iter().map(|rule| Object::Rule(Arc::new(rule.clone())));
        let new: Vec<Handle> = routes.chain(rules).map(|object| self.add(object)).collect();
        let old = if new.is_empty() {
            self.of_router.remove(&id)
        } else {
            self.of_router.insert(id, new.into())
        };
        let mut asked = Vec::new();
        for handle in old.iter().flatten().rev() {
            let kept = self.of_router.get(&id).is_some_and(|new| new.contains(handle));
            if !kept {
                asked.extend(self.unwant_one(*handle, id));
            }
            self.forget(*handle);
        }
        asked
    }

    /// Sets what is there whoever is master, besides what `promote` names: interfaces whose secondary addresses
    /// stay. Returns what follows from it.
    pub fn set_fixed(&mut self, fixed: &Fixed, promote: &[Arc<str>]) -> Vec<(Handle, Request)> {
        let addresses = fixed.addresses.iter().map(|a| Object::Address(Arc::new(a.clone())));
        let routes = fixed.routes.iter().map(|route| Object::Route(Arc::new(route.clone())));
        let rules = fixed.rules.iter().map(|rule| Object::Rule(Arc::new(rule.clone())));
        let promote = promote.iter().cloned().map(Object::PromoteSecondaries);
        let objects: Vec<Object> = promote.chain(addresses).chain(routes).chain(rules).collect();
        let handles: Vec<Handle> = objects.into_iter().map(|object| self.add(object)).collect();
        let mut asked = Vec::new();
        for handle in self.entries.keys().copied().collect::<Vec<_>>() {
            let Some(entry) = self.entry(handle) else { continue };
            let now = handles.contains(&handle);
            let was = std::mem::replace(&mut entry.fixed, now);
            let wanted = now || !entry.wanted_by.is_empty();
            if was || now {
                asked.extend(entry.presence.want(wanted).map(|request| (handle, request)));
            }
            if was {
                self.forget(handle);
            }
        }
        asked
    }

    /// Whether just this belongs to a router.
    pub fn has(&self, id: RouterId, routing: &model::Routing) -> bool {
        let mut ours = self.of(id).map(|status| status.object);
        routing
            .routes
            .iter()
            .all(|new| matches!(ours.next(), Some(Object::Route(old)) if **old == *new))
            && routing
                .rules
                .iter()
                .all(|new| matches!(ours.next(), Some(Object::Rule(old)) if **old == *new))
            && ours.next().is_none()
    }

    fn add(&mut self, object: Object) -> Handle {
        if let Some(handle) = self.by_object.get(&object).copied() {
            if let Some(entry) = self.entry(handle) {
                entry.used_by += 1;
            }
            return handle;
        }
        let entry = Entry {
            object: object.clone(),
            presence: Presence::default(),
            wanted_by: Vec::new(),
            used_by: 1,
            fixed: false,
            refused: None,
        };
        let handle = Handle(self.next);
        self.next = self.next.wrapping_add(1);
        self.entries.insert(handle, entry);
        match &object {
            Object::Route(route) => {
                self.by_route.entry(RouteKey::from(&**route)).or_default().push(handle);
            }
            Object::Rule(rule) => {
                self.by_rule.entry(RuleKey::from(&**rule)).or_default().push(handle);
            }
            Object::Address(_) | Object::PromoteSecondaries(_) => {}
        }
        self.by_object.insert(object, handle);
        handle
    }

    /// One less has it. It stays known until it is gone.
    fn forget(&mut self, handle: Handle) {
        if let Some(entry) = self.entry(handle) {
            entry.used_by = entry.used_by.saturating_sub(1);
        }
        self.tidy(handle);
    }

    fn tidy(&mut self, handle: Handle) {
        let Some(entry) = self.entries.get(&handle) else { return };
        if entry.used_by > 0 || entry.presence.is_wanted() || !entry.presence.is_settled() {
            return;
        }
        match &entry.object {
            Object::Route(route) => {
                if let Some(handles) = self.by_route.get_mut(&RouteKey::from(&**route)) {
                    handles.retain(|other| *other != handle);
                }
            }
            Object::Rule(rule) => {
                if let Some(handles) = self.by_rule.get_mut(&RuleKey::from(&**rule)) {
                    handles.retain(|other| *other != handle);
                }
            }
            Object::Address(_) | Object::PromoteSecondaries(_) => {}
        }
        self.by_object.remove(&entry.object);
        self.entries.remove(&handle);
    }

    fn entry(&mut self, handle: Handle) -> Option<&mut Entry> {
        self.entries.get_mut(&handle)
    }

    /// What a handle stands for.
    pub fn object(&self, handle: Handle) -> Option<&Object> {
        Some(&self.entries.get(&handle)?.object)
    }

    /// Wants what belongs to a router, in its order. What must be asked of the kernel now.
    pub fn want(&mut self, id: RouterId) -> Vec<(Handle, Request)> {
        let handles = self.of_router.get(&id).cloned().unwrap_or_default();
        let asked = handles.iter().filter_map(|handle| {
            let entry = self.entry(*handle)?;
            if !entry.wanted_by.contains(&id) {
                entry.wanted_by.push(id);
            }
            Some((*handle, entry.presence.want(true)?))
        });
        asked.collect()
    }

    /// No longer wants what belongs to a router, the last one first. What must be asked of the kernel now.
    pub fn unwant(&mut self, id: RouterId) -> Vec<(Handle, Request)> {
        let handles = self.of_router.get(&id).cloned().unwrap_or_default();
        handles.iter().rev().filter_map(|handle| self.unwant_one(*handle, id)).collect()
    }

    fn unwant_one(&mut self, handle: Handle, id: RouterId) -> Option<(Handle, Request)> {
        let entry = self.entry(handle)?;
        entry.wanted_by.retain(|other| *other != id);
        if entry.wanted_by.is_empty() && !entry.fixed {
            entry.refused = None;
            return Some((handle, entry.presence.want(false)?));
        }
        None
    }

    /// Whether the answer to such a request is waited for.
    pub fn awaits(&self, handle: Handle, request: Request) -> bool {
        self.entries.get(&handle).is_some_and(|entry| entry.presence.awaits(request))
    }

    /// A request was answered, and why it was refused, if it was. `Some` when what is wanted changed meanwhile.
    pub fn completed(
        &mut self,
        handle: Handle,
        request: Request,
        was_so: bool,
        refused: Option<String>,
    ) -> Option<Request> {
        let entry = self.entry(handle)?;
        // What bears our mark is ours, and the kernel removes nothing that bears another one in its place.
        let outcome = match refused {
            None if was_so && !entry.object.is_marked() => Outcome::WasSo,
            None => Outcome::Done,
            Some(_) => Outcome::Failed,
        };
        entry.refused = refused.map(Into::into);
        let next = entry.presence.completed(request, outcome);
        if outcome == Outcome::Failed && entry.object.is_marked() {
            entry.presence.doubt_absence();
        }
        self.tidy(handle);
        next
    }

    /// Why something was refused the last time.
    pub fn refused(&self, handle: Handle) -> Option<&str> {
        self.entries.get(&handle)?.refused.as_deref()
    }

    /// What may have been left by a daemon that was killed, now to be removed: what bears our mark and is in the
    /// configuration, but for some routers.
    pub fn suspects(&mut self, but: impl Fn(RouterId) -> bool) -> Vec<(Handle, Request)> {
        let kept = self.of_router.iter().filter(|(id, _)| but(**id));
        let kept: HashSet<Handle> = kept.flat_map(|(_, handles)| handles).copied().collect();
        let others = self.entries.keys().copied().filter(|handle| !kept.contains(handle));
        let others: Vec<Handle> = others.collect();
        self.suspects_among(&others)
    }

    /// The same of one router.
    pub fn suspects_of(&mut self, id: RouterId) -> Vec<(Handle, Request)> {
        let handles = self.of_router.get(&id).cloned().unwrap_or_default();
        self.suspects_among(&handles)
    }

    fn suspects_among(&mut self, handles: &[Handle]) -> Vec<(Handle, Request)> {
        let asked = handles.iter().filter_map(|&handle| {
            let entry = self.entries.get_mut(&handle)?;
            let left = entry.object.is_marked() && !entry.fixed;
            Some((handle, if left { entry.presence.suspect()? } else { return None }))
        });
        asked.collect()
    }

    /// An interface is to have another name: what names it must go from there. What must be asked of the kernel.
    pub fn displaced(&mut self, dev: &str) -> Vec<(Handle, Request)> {
        let asked = self.entries.iter_mut().filter_map(|(handle, entry)| {
            let on_it = entry.object.devs().any(|on| on == dev);
            Some((*handle, if on_it { entry.presence.displaced()? } else { return None }))
        });
        asked.collect()
    }

    /// What is not as wanted and nothing is under way for, as far as `ready` says that it can be now.
    pub fn retry(&mut self, ready: impl Fn(&Object) -> bool) -> Vec<(Handle, Request)> {
        let asked = self.entries.iter_mut().filter_map(|(handle, entry)| {
            let can = !entry.presence.is_wanted() || ready(&entry.object);
            Some((*handle, if can { entry.presence.next_request()? } else { return None }))
        });
        asked.collect()
    }

    /// The kernel may have dropped these without a word: those of them that the daemon cannot do without are asked
    /// for by the next [`Self::retry`].
    pub fn doubt(&mut self, which: impl Fn(&Object, &[RouterId]) -> bool) {
        for entry in self.entries.values_mut() {
            if entry.object.is_fragile() && which(&entry.object, &entry.wanted_by) {
                entry.presence.doubt();
            }
        }
    }

    /// The same of everything.
    pub fn doubt_all(&mut self) {
        for entry in self.entries.values_mut() {
            entry.presence.doubt();
        }
    }

    fn route(&self, seen: &RouteSeen, oif: Option<&str>) -> Option<Handle> {
        let handles = self.by_route.get(&seen.key)?;
        let same = |handle: &&Handle| match self.object(**handle) {
            Some(Object::Route(route)) => {
                (route.via.is_none() || route.via == seen.via)
                    && (route.dev.is_none() || route.dev.as_deref() == oif)
            }
            Some(Object::Address(_) | Object::Rule(_) | Object::PromoteSecondaries(_)) | None => {
                false
            }
        };
        handles.iter().find(same).copied()
    }

    /// The kernel says that a route is there, on that interface.
    pub fn route_appeared(&mut self, seen: &RouteSeen, oif: Option<&str>) {
        if let Some(entry) = self.route(seen, oif).and_then(|handle| self.entry(handle)) {
            entry.presence.appeared();
        }
    }

    /// The kernel says that a rule is there.
    pub fn rule_appeared(&mut self, key: &RuleKey) {
        let handle = self.by_rule.get(key).and_then(|handles| handles.first().copied());
        if let Some(entry) = handle.and_then(|handle| self.entry(handle)) {
            entry.presence.appeared();
        }
    }

    /// The kernel says that an address is there; it may be one that is always there.
    pub fn address_appeared(&mut self, dev: &str, address: IpAddr) {
        if let Some(entry) = self.address(dev, address).and_then(|handle| self.entry(handle)) {
            entry.presence.appeared();
        }
    }

    /// What was asked for is there already: nothing will be reported.
    pub fn reported(&mut self, handle: Handle) {
        if let Some(entry) = self.entry(handle) {
            entry.presence.appeared();
        }
    }

    /// The kernel says that a route is gone. `None` when that was expected.
    pub fn route_vanished(&mut self, seen: &RouteSeen, oif: Option<&str>) -> Option<Vanished> {
        self.vanished(self.route(seen, oif)?)
    }

    /// The kernel says that a rule is gone. `None` when that was expected.
    pub fn rule_vanished(&mut self, key: &RuleKey) -> Option<Vanished> {
        self.vanished(*self.by_rule.get(key)?.first()?)
    }

    /// The kernel says that an address is gone. `None` when that was expected, or it is none of these.
    pub fn address_vanished(&mut self, dev: &str, address: IpAddr) -> Option<Vanished> {
        self.vanished(self.address(dev, address)?)
    }

    fn address(&self, dev: &str, address: IpAddr) -> Option<Handle> {
        let same = |entry: &Entry| match &entry.object {
            Object::Address(a) => a.address == address && a.dev.as_deref() == Some(dev),
            Object::Route(_) | Object::Rule(_) | Object::PromoteSecondaries(_) => false,
        };
        self.entries.iter().find(|(_, entry)| same(entry)).map(|(handle, _)| *handle)
    }

    fn vanished(&mut self, handle: Handle) -> Option<Vanished> {
        let entry = self.entry(handle)?;
        if !entry.presence.vanished() {
            return None;
        }
        if entry.fixed {
            return Some(Vanished::Fixed(handle));
        }
        if !entry.object.is_tracked() {
            // As keepalived does: not before the router is master again.
            entry.presence.want(false);
            return Some(Vanished::Untracked(handle));
        }
        // What was reported may be about the one before, if that is late: then it is there, and is to be removed.
        if entry.object.is_marked() {
            entry.presence.doubt_absence();
        }
        Some(Vanished::Lost(handle, entry.wanted_by.clone()))
    }

    /// Whether no request is under way and nothing is there that should not be.
    pub fn settled(&self) -> bool {
        self.entries.values().all(|entry| entry.presence.is_settled())
    }

    /// How what belongs to a router is, in its order.
    pub fn of(&self, id: RouterId) -> impl Iterator<Item = ObjectView<'_>> {
        let handles = self.of_router.get(&id).into_iter().flatten();
        handles.filter_map(|handle| Some(self.entries.get(handle)?.status()))
    }

    /// How what is always there is.
    pub fn fixed(&self) -> impl Iterator<Item = ObjectView<'_>> {
        self.entries.values().filter(|entry| entry.fixed).map(Entry::status)
    }
}

impl Entry {
    fn status(&self) -> ObjectView<'_> {
        ObjectView {
            object: &self.object,
            there: self.presence.is_there(),
            refused: self.refused.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::routes::{parse_route, parse_rule};

    const A: RouterId = RouterId(0);
    const B: RouterId = RouterId(1);

    fn routing(routes: &[&str], rules: &[&str]) -> model::Routing {
        model::Routing {
            routes: routes.iter().map(|line| parse_route(line)).collect(),
            rules: rules.iter().map(|line| parse_rule(line)).collect(),
            ..model::Routing::default()
        }
    }

    fn names(book: &RouteBook, asked: &[(Handle, Request)]) -> Vec<String> {
        let name = |(handle, request): &(Handle, Request)| {
            format!("{request:?} {}", book.object(*handle).unwrap())
        };
        asked.iter().map(name).collect()
    }

    /// Carries out what was asked.
    fn done(book: &mut RouteBook, asked: Vec<(Handle, Request)>) {
        for (handle, request) in asked {
            if request == Request::Add {
                book.reported(handle);
            }
            assert_eq!(book.completed(handle, request, false, None), None);
        }
    }

    fn seen(line: &str) -> RouteSeen {
        let route = parse_route(line);
        RouteSeen { key: RouteKey::from(&route), via: route.via, oif: None }
    }

    #[test]
    fn rules_go_before_routes() {
        let mut book = RouteBook::default();
        book.set(A, &routing(&["default via 10.0.0.1 table 5"], &["table 5 preference 7"]));
        let asked = book.want(A);
        let route = "route default via 10.0.0.1 table 5";
        let rule = "rule from all table 5 preference 7";
        assert_eq!(names(&book, &asked), [format!("Add {route}"), format!("Add {rule}")]);
        done(&mut book, asked);
        let asked = book.unwant(A);
        assert_eq!(names(&book, &asked), [format!("Remove {rule}"), format!("Remove {route}")]);
        assert!(!book.settled());
        done(&mut book, asked);
        assert!(book.settled());
    }

    /// Of what one router has removed and another one added again, the kernel reports the beginning and the end late.
    #[test]
    fn what_is_reported_late_leaves_nothing() {
        let mut book = RouteBook::default();
        let line = "10.1.0.0/16 dev e";
        for id in [A, B] {
            book.set(id, &routing(&[line], &[]));
        }
        let asked = book.want(A);
        assert_eq!(book.completed(asked[0].0, Request::Add, false, None), None);
        let asked = book.unwant(A);
        assert_eq!(book.completed(asked[0].0, Request::Remove, false, None), None);
        let asked = book.want(B);
        assert_eq!(book.completed(asked[0].0, Request::Add, false, None), None);
        book.route_appeared(&seen(line), Some("e"));
        let lost = book.route_vanished(&seen(line), Some("e"));
        assert_eq!(lost, Some(Vanished::Lost(asked[0].0, vec![B])));
        // It may be there all the same.
        let asked = book.unwant(B);
        assert_eq!(names(&book, &asked), [format!("Remove route {line}")]);
        done(&mut book, asked);
        assert!(book.settled());
    }

    #[test]
    fn what_routers_share_stays_until_the_last_one_leaves() {
        let mut book = RouteBook::default();
        let shared = routing(&["10.1.0.0/16 dev e"], &[]);
        book.set(A, &shared);
        book.set(B, &shared);
        let asked = book.want(A);
        done(&mut book, asked);
        assert_eq!(book.want(B), []);
        assert_eq!(book.unwant(A), []);
        let lost = book.route_vanished(&seen("10.1.0.0/16 dev e"), Some("e"));
        assert_eq!(lost, Some(Vanished::Lost(Handle(0), vec![B])));
        let asked = book.retry(|_| true);
        assert_eq!(asked.len(), 1);
        done(&mut book, asked);
        assert_eq!(book.unwant(B).len(), 1);
    }

    #[test]
    fn who_removed_it_decides_what_it_means() {
        let mut book = RouteBook::default();
        book.set(
            A,
            &routing(
                &["10.1.0.0/16 dev e", "10.2.0.0/16 dev e no_track"],
                &["table 5 preference 7"],
            ),
        );
        let asked = book.want(A);
        done(&mut book, asked);
        assert_eq!(book.route_vanished(&seen("10.1.0.0/16 dev e"), Some("other")), None);
        assert_eq!(book.route_vanished(&seen("10.3.0.0/16 dev e"), Some("e")), None);
        let lost = book.route_vanished(&seen("10.1.0.0/16 dev e"), Some("e"));
        assert_eq!(lost, Some(Vanished::Lost(Handle(0), vec![A])));
        let loose = book.route_vanished(&seen("10.2.0.0/16 dev e"), Some("e"));
        assert_eq!(loose, Some(Vanished::Untracked(Handle(1))));
        let asked = book.retry(|_| true);
        assert_eq!(names(&book, &asked), ["Add route 10.1.0.0/16 dev e"]);
        let key = RuleKey::from(&parse_rule("table 5 preference 7"));
        assert_eq!(book.rule_vanished(&key), Some(Vanished::Lost(Handle(2), vec![A])));
        // Our own removal.
        book.unwant(A);
        assert_eq!(book.rule_vanished(&key), None);
    }

    #[test]
    fn what_is_refused_is_asked_for_again_when_it_can_be() {
        let mut book = RouteBook::default();
        book.set(A, &routing(&["10.1.0.0/16 dev e"], &[]));
        let (handle, request) = book.want(A)[0];
        assert_eq!(
            book.completed(handle, request, false, Some("Network is unreachable".to_owned())),
            None
        );
        assert_eq!(book.refused(handle), Some("Network is unreachable"));
        assert!(!book.of(A).next().unwrap().there);
        assert_eq!(book.retry(|object| !object.devs().any(|dev| dev == "e")), []);
        let asked = book.retry(|_| true);
        done(&mut book, asked);
        assert!(book.of(A).next().unwrap().there);
        assert_eq!(book.refused(handle), None);
    }

    #[test]
    fn what_the_kernel_drops_silently_is_asked_for_again() {
        let mut book = RouteBook::default();
        book.set(A, &routing(&["10.1.0.0/16 dev e"], &["table 5 preference 7"]));
        let asked = book.want(A);
        done(&mut book, asked);
        book.doubt(|object, routers| object.devs().any(|dev| dev == "e") && routers == [A]);
        let asked = book.retry(|_| true);
        assert_eq!(names(&book, &asked), ["Add route 10.1.0.0/16 dev e"]);
    }

    #[test]
    fn left_overs_are_those_with_our_mark() {
        let mut book = RouteBook::default();
        book.set(
            A,
            &routing(&["10.1.0.0/16 dev e", "10.2.0.0/16 dev e protocol static no_track"], &[]),
        );
        let fixed =
            Fixed { routes: vec![parse_route("blackhole 10.9.0.0/16")], ..Fixed::default() };
        let asked = book.set_fixed(&fixed, &[]);
        assert_eq!(names(&book, &asked), ["Add route blackhole 10.9.0.0/16"]);
        let asked = book.suspects(|_| false);
        assert_eq!(names(&book, &asked), ["Remove route 10.1.0.0/16 dev e"]);
        // Whoever becomes master meanwhile gets it after that.
        assert_eq!(book.want(A).len(), 1);
        let (handle, request) = asked[0];
        assert_eq!(book.completed(handle, request, false, None), Some(Request::Add));
    }

    #[test]
    fn a_new_configuration_touches_what_changed() {
        let mut book = RouteBook::default();
        book.set(A, &routing(&["10.1.0.0/16 dev e", "10.2.0.0/16 dev e"], &[]));
        let asked = book.want(A);
        done(&mut book, asked);
        let asked = book.set(A, &routing(&["10.2.0.0/16 dev e", "10.3.0.0/16 dev e"], &[]));
        assert_eq!(names(&book, &asked), ["Remove route 10.1.0.0/16 dev e"]);
        done(&mut book, asked);
        assert_eq!(book.object(Handle(0)), None);
        let asked = book.want(A);
        assert_eq!(names(&book, &asked), ["Add route 10.3.0.0/16 dev e"]);

        let mut book = RouteBook::default();
        let fixed = |lines: &[&str]| Fixed {
            routes: lines.iter().map(|line| parse_route(line)).collect(),
            ..Fixed::default()
        };
        let asked = book.set_fixed(&fixed(&["10.1.0.0/16 dev e", "10.2.0.0/16 dev e"]), &[]);
        done(&mut book, asked);
        let asked = book.set_fixed(&fixed(&["10.2.0.0/16 dev e"]), &["eth0".into()]);
        let mut asked_names = names(&book, &asked);
        asked_names.sort();
        assert_eq!(
            asked_names,
            ["Add promote_secondaries of eth0", "Remove route 10.1.0.0/16 dev e"]
        );
        done(&mut book, asked);
        let asked = book.set_fixed(&Fixed::default(), &[]);
        assert_eq!(asked.len(), 2);
        done(&mut book, asked);
        assert!(book.is_empty() && book.settled());
    }
}
