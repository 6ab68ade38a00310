//! Routes, rules and what is always there: what the book of them asks for goes to the kernel, and what the kernel
//! says of them goes into the book.

use std::collections::HashSet;
use std::sync::Arc;

use super::interface_id::InterfaceAddr;
use super::interface_id::InterfaceId;
use super::interface_table::InterfaceTable;
use super::namespaces::Namespaces;
use super::netlink::Request;
use super::netlink::{self, Ask, RequestError, RouteRequest, RouteSeen, Subject};
use super::restore_limiter::{RestoreLimiter, When};
use super::route_book::{Handle, Object, ObjectView, RouteBook, Vanished};
use super::router;
use super::{Core, Counter};
use crate::config::model::{self, Config, Fixed, OnLost, TrackGroup};
use crate::engine::types::{Lost, RouterId};
use crate::types::planted::{Fault, planted};

/// What belongs to routers besides their addresses, and what is done when somebody takes something away.
#[derive(Default)]
pub struct ManagedObjects {
    /// What should be there, and what is.
    pub book: RouteBook,
    /// Routers that put back what is removed.
    restoring: HashSet<RouterId>,
    /// Who removes what, and how often.
    pub limiter: RestoreLimiter<Option<RouterId>>,
    fixed: Fixed,
    /// Who follows that.
    track_groups: Vec<TrackGroup>,
    promote: Vec<Arc<str>>,
}

impl ManagedObjects {
    /// Those of a configuration; its routers have these numbers.
    pub fn new(config: &Config, numbers: &[RouterId]) -> Self {
        let mut objects = Self {
            fixed: config.fixed.clone(),
            track_groups: config.track_groups.clone(),
            promote: promoting(config),
            ..Self::default()
        };
        for (&id, router) in numbers.iter().zip(&config.routers) {
            objects.set(id, &router.routing);
        }
        objects
    }

    /// What belongs to a router from now on. What has to be asked of the kernel, if anything has to go.
    fn set(&mut self, id: RouterId, routing: &model::Routing) -> Vec<(Handle, Request)> {
        match routing.on_lost {
            OnLost::Yield => self.restoring.remove(&id),
            OnLost::Restore => self.restoring.insert(id),
        };
        self.book.set(id, routing)
    }

    /// In what another configuration of a router differs, in words.
    pub fn difference(&self, id: RouterId, routing: &model::Routing) -> Option<&'static str> {
        if !self.book.has(id, routing) {
            return Some("routes and rules");
        }
        (self.policy(id) != routing.on_lost).then_some("on_address_lost")
    }

    /// Whether a router puts back what somebody else removes.
    pub fn restores(&self, id: RouterId) -> bool {
        self.policy(id) == OnLost::Restore
    }

    /// What a router does when somebody else removes something of its.
    pub fn policy(&self, id: RouterId) -> OnLost {
        if self.restoring.contains(&id) { OnLost::Restore } else { OnLost::Yield }
    }
}

/// The interfaces of which the addresses of a subnet stay together.
fn promoting(config: &Config) -> Vec<Arc<str>> {
    config.promoting().into_iter().map(Arc::from).collect()
}

/// Whether the kernel would take something now.
fn is_ready(object: &Object, interfaces: &InterfaceTable, namespaces: &Namespaces) -> bool {
    let needs_link = matches!(object, Object::Route(_));
    namespaces.has(object.namespace())
        && object.devs().all(|dev| {
            interfaces.by_name(dev).is_some_and(|(_, interface)| interface.up || !needs_link)
        })
}

/// What an answer means: whether it was so before, and why it is not so now.
fn outcome(request: Request, result: &Result<(), RequestError>) -> (bool, Option<String>) {
    let Err(error) = result else { return (false, None) };
    match (request, error.errno()) {
        (Request::Add, Some(libc::EEXIST)) => (true, None),
        (Request::Remove, Some(libc::ESRCH | libc::ENOENT)) => (false, None),
        (Request::Remove, _) if error.is_absent() => (false, None),
        (Request::Add | Request::Remove, _) => (false, Some(error.to_string())),
    }
}

impl Core {
    /// Adds what belongs to a router, after its addresses.
    pub(super) fn add_objects(&mut self, id: RouterId) {
        let asked = self.objects.book.want(id);
        self.ask_objects(asked);
    }

    /// Removes what belongs to a router, before its addresses.
    pub(super) fn remove_objects(&mut self, id: RouterId) {
        if planted(Fault::RoutesKept) {
            return;
        }
        let asked = self.objects.book.unwant(id);
        self.ask_objects(asked);
    }

    /// Adds what is there whoever is master.
    pub(super) fn add_fixed(&mut self) {
        let ManagedObjects { book, fixed, promote, .. } = &mut self.objects;
        let asked = book.set_fixed(fixed, promote);
        self.ask_objects(asked);
    }

    /// Removes it.
    pub(super) fn remove_fixed(&mut self) {
        let asked = self.objects.book.set_fixed(&Fixed::default(), &[]);
        self.ask_objects(asked);
    }

    /// Applies what another configuration says of it, or only whether it differs.
    pub(super) fn take_fixed(&mut self, config: &Config, check: bool) -> bool {
        let promote = promoting(config);
        let ManagedObjects { fixed, track_groups, promote: promoted, .. } = &self.objects;
        let differs =
            (fixed, track_groups, promoted) != (&config.fixed, &config.track_groups, &promote);
        if differs && !check {
            self.objects.track_groups.clone_from(&config.track_groups);
            self.objects.fixed = config.fixed.clone();
            self.objects.promote = promote;
            self.add_fixed();
        }
        differs
    }

    /// Applies what another configuration says of a router: what it had before goes, what is new comes, and the rest
    /// is not touched.
    pub(super) fn take_objects(&mut self, id: RouterId, routing: &model::Routing, is_master: bool) {
        let asked = self.objects.set(id, routing);
        self.ask_objects(asked);
        if is_master {
            self.add_objects(id);
        }
    }

    /// Removes what a daemon may have left behind that was killed, but for routers whose addresses are kept.
    pub(super) fn remove_stale_objects(&mut self) {
        let asked = self.objects.book.suspects(|id| self.kept.contains_key(&id));
        self.ask_objects(asked);
    }

    pub(super) fn ask_objects(&mut self, asked: Vec<(Handle, Request)>) {
        for (handle, request) in asked {
            self.ask_object(handle, request);
        }
    }

    /// Sends a request to the kernel; the answer comes as [`super::Input::Answered`].
    fn ask_object(&mut self, handle: Handle, request: Request) {
        let Some(object) = self.objects.book.object(handle) else { return };
        if let Some(why) = self.lacks_place(object) {
            let refused = match request {
                Request::Add => Some(why),
                // It went with that.
                Request::Remove => None,
            };
            return self.object_is(handle, request, false, refused);
        }
        let index = |dev: &str| {
            // That there is one was seen above.
            self.interfaces.by_name(dev).map_or(InterfaceId::own(0), |(iface, _)| iface)
        };
        let object = match object {
            Object::Route(route) => {
                let oifs = route.devs().map(index).collect();
                netlink::Object::Route(RouteRequest { route: route.clone(), oifs })
            }
            Object::Rule(rule) => netlink::Object::Rule(rule.clone()),
            Object::Address(address) => {
                let iface = index(address.dev.as_deref().unwrap_or(""));
                let mut request = router::Address::from(&**address).request(iface);
                // It is the interface's own: what is sent may come from it.
                request.address.marked = false;
                netlink::Object::Address(request)
            }
            Object::PromoteSecondaries(name) => {
                netlink::Object::PromoteSecondaries { iface: index(name), name: name.clone() }
            }
        };
        self.ask_netlink(Ask { request, subject: Subject::Object(handle.0), object });
    }

    /// Why something can be nowhere: its network namespace is not there, or one of its interfaces.
    fn lacks_place(&self, object: &Object) -> Option<String> {
        if let Some(missing) = self.namespaces.missing(object.namespace()) {
            return Some(missing.to_string());
        }
        let dev = object.devs().find(|dev| self.interfaces.by_name(dev).is_none())?;
        Some(format!("interface {dev} does not exist"))
    }

    /// The answer to a request.
    pub(super) fn object_answered(
        &mut self,
        handle: Handle,
        request: Request,
        result: &Result<(), RequestError>,
        ours: bool,
    ) {
        if !self.objects.book.awaits(handle, request) {
            return self.count(Counter::UnexpectedAnswer);
        }
        let (was_so, refused) = outcome(request, result);
        if was_so {
            self.objects.book.reported(handle);
        }
        self.object_is(handle, request, was_so && !ours, refused);
    }

    /// The answer to a request to remove what may have been left behind.
    pub(super) fn stale_object_answered(
        &mut self,
        handle: Handle,
        request: Request,
        result: &Result<(), RequestError>,
        ours: bool,
    ) {
        if let (Ok(()), Some(object)) = (result, self.objects.book.object(handle)) {
            log::info!("removed stale {object}");
        }
        self.object_answered(handle, request, result, ours);
    }

    /// Takes note of how a request went, and says what is new about it. `was_so`: it was so before, not by us.
    fn object_is(
        &mut self,
        handle: Handle,
        request: Request,
        was_so: bool,
        refused: Option<String>,
    ) {
        if let (Some(why), Some(object)) = (&refused, self.objects.book.object(handle)) {
            let (counter, verb) = match (object, request) {
                (Object::Address(_), Request::Add) => (Counter::AddressAddFailed, "add"),
                (Object::Address(_), Request::Remove) => (Counter::AddressRemoveFailed, "remove"),
                (Object::Route(_), Request::Add) => (Counter::RouteAddFailed, "add"),
                (Object::Route(_), Request::Remove) => (Counter::RouteRemoveFailed, "remove"),
                (Object::Rule(_), Request::Add) => (Counter::RuleAddFailed, "add"),
                (Object::Rule(_), Request::Remove) => (Counter::RuleRemoveFailed, "remove"),
                (Object::PromoteSecondaries(_), Request::Add) => (Counter::SettingFailed, "set"),
                (Object::PromoteSecondaries(_), Request::Remove) => {
                    (Counter::SettingFailed, "take back")
                }
            };
            if self.objects.book.refused(handle) != Some(why) {
                log::error!("cannot {verb} {object}: {why}; tried again every few seconds");
            }
            self.count(counter);
            self.retry_soon();
        } else if let (Request::Add, None, Some(why), Some(object)) =
            (request, &refused, self.objects.book.refused(handle), self.objects.book.object(handle))
        {
            log::info!("{object} is there now, after: {why}");
        }
        if let Some(next) = self.objects.book.completed(handle, request, was_so, refused) {
            self.ask_object(handle, next);
        }
    }

    /// Asks again for what is not as it should be, as far as its interfaces are there.
    pub(super) fn retry_objects(&mut self) {
        let Self { objects, interfaces, namespaces, .. } = self;
        let asked = objects.book.retry(|object| is_ready(object, interfaces, namespaces));
        self.ask_objects(asked);
    }

    /// An interface changed: the kernel drops routes through it without a word, and what had to wait for it can be
    /// added now.
    pub(super) fn objects_on(&mut self, name: Option<&str>) {
        if self.objects.book.is_empty() {
            return;
        }
        self.objects.book.doubt(|object, _| {
            let mut devs = object.devs().peekable();
            devs.peek().is_none() || devs.any(|dev| Some(dev) == name)
        });
        self.retry_objects();
    }

    /// An address of a router is gone or back: the kernel drops routes with it without a word.
    pub(super) fn doubt_objects_of(&mut self, id: RouterId) {
        if self.objects.book.of(id).next().is_some() {
            self.objects.book.doubt(|_, routers| routers.contains(&id));
        }
    }

    /// An address of a router is there: what was refused because of it may not be any more.
    pub(super) fn objects_after_address(&mut self, id: RouterId) {
        if self.objects.book.of(id).any(|status| !status.there) {
            self.retry_objects();
        }
    }

    /// What the kernel says of routes and rules.
    pub(super) fn object_changed(&mut self, event: &netlink::Event) {
        let name = |seen: &RouteSeen| {
            let interface = self.interfaces.get(seen.oif?)?;
            Some(interface.name.clone())
        };
        match event {
            netlink::Event::Route(seen) => {
                let name = name(seen);
                self.objects.book.route_appeared(seen, name.as_deref());
            }
            netlink::Event::RouteRemoved(seen) => {
                let name = name(seen);
                let vanished = self.objects.book.route_vanished(seen, name.as_deref());
                self.object_vanished(vanished);
            }
            netlink::Event::Rule(key) => self.objects.book.rule_appeared(key),
            netlink::Event::RuleRemoved(key) => {
                let vanished = self.objects.book.rule_vanished(key);
                self.object_vanished(vanished);
            }
            netlink::Event::RoutesOverrun => {
                self.count(Counter::NetlinkOverrun);
                log::warn!("notifications of routes were lost; asking for all of ours again");
                self.objects.book.doubt_all();
                self.retry_objects();
            }
            netlink::Event::AddressRemoved(at) => {
                let name = self.interfaces.get(at.at.iface).map(|interface| &interface.name);
                let vanished =
                    name.and_then(|dev| self.objects.book.address_vanished(dev, at.at.address));
                self.object_vanished(vanished);
            }
            netlink::Event::Address(at) => {
                if let Some(interface) = self.interfaces.get(at.at.iface) {
                    self.objects.book.address_appeared(&interface.name, at.at.address);
                }
            }
            netlink::Event::Link(_) | netlink::Event::LinkRemoved(_) | netlink::Event::Overrun => {}
        }
    }

    fn object_vanished(&mut self, vanished: Option<Vanished>) {
        let Some(vanished) = vanished else { return };
        let (Vanished::Lost(handle, _) | Vanished::Fixed(handle) | Vanished::Untracked(handle)) =
            &vanished;
        let Some(object) = self.objects.book.object(*handle).cloned() else { return };
        match vanished {
            Vanished::Untracked(_) => {
                log::warn!("{object} was removed from outside; not tracked");
            }
            Vanished::Fixed(_) => {
                log::warn!("{object} was removed from outside; adding it again");
                self.count(lost_counter(&object));
                if self.admit_restore(None) {
                    self.retry_objects();
                }
                let lost = lost(&object);
                for id in self.followers(object.track_group()) {
                    if !self.objects.restores(id) {
                        self.engine.handle_lost(self.now, id, lost);
                    }
                }
            }
            Vanished::Lost(_, routers) => {
                log::warn!("{object} was removed from outside");
                self.count(lost_counter(&object));
                let lost = lost(&object);
                for id in routers {
                    if !self.objects.restores(id) {
                        self.engine.handle_lost(self.now, id, lost);
                    } else if self.admit_restore(Some(id)) {
                        self.retry_objects();
                    }
                }
            }
        }
    }

    /// The routers of a group.
    fn followers(&self, group: Option<&str>) -> Vec<RouterId> {
        let groups = &self.objects.track_groups;
        let group = groups.iter().find(|known| Some(known.name.as_str()) == group);
        let Some(TrackGroup { routers: names, .. }) = group else { return Vec::new() };
        let named = |id: &RouterId| names.iter().any(|name| **name == *self.router(*id).name);
        self.ids().filter(named).collect()
    }

    /// An address of a master that puts it back was taken away.
    pub(super) fn restore_address(&mut self, id: RouterId, place: InterfaceAddr) {
        let rounds = self.engine.spec(id).map_or(0, |spec| spec.garp.master_repeat);
        self.addresses.announce(place, rounds);
        if self.admit_restore(Some(id)) {
            self.retry_addresses();
        }
    }

    /// Whether what was taken away is put back at once; with the next retry otherwise.
    fn admit_restore(&mut self, id: Option<RouterId>) -> bool {
        let when = self.objects.limiter.removed(id, self.now);
        match when {
            When::Now => {
                self.count(Counter::Restored);
                true
            }
            When::Later { first } => {
                if first {
                    let problem = self.objects.limiter.problem(id, self.now);
                    let who = id.map_or_else(String::new, |id| self.router(id).label() + ": ");
                    log::error!("{who}{}", problem.unwrap_or_default());
                }
                self.count(Counter::RestoreLimited);
                self.retry_soon();
                false
            }
        }
    }

    /// What of a router's routes and rules is not there, and why.
    pub(super) fn missing_objects(&self, id: RouterId) -> impl Iterator<Item = String> {
        let missing = self.objects.book.of(id).filter(|status| !status.there);
        missing.map(|status| match self.why(&status) {
            Some((_, why)) => format!("{} ({why})", status.object),
            None => status.object.to_string(),
        })
    }

    /// Why something is not there.
    pub(super) fn why(&self, status: &ObjectView<'_>) -> Option<(&'static str, String)> {
        if status.there {
            return None;
        }
        let down = status.object.devs().find_map(|dev| match self.interfaces.by_name(dev) {
            None => Some(("interface-missing", format!("interface {dev} does not exist"))),
            Some((_, interface)) if !interface.up => {
                Some(("interface-down", format!("interface {dev} is down")))
            }
            Some(_) => None,
        });
        down.or_else(|| status.refused.map(|why| ("refused", why.to_owned())))
    }
}

/// What a router is told of something that is gone.
fn lost(object: &Object) -> Lost {
    match object {
        Object::Address(address) => Lost::Address(address.address),
        Object::Rule(_) => Lost::Rule,
        Object::Route(_) | Object::PromoteSecondaries(_) => Lost::Route,
    }
}

/// The counter of something removed by somebody else.
fn lost_counter(object: &Object) -> Counter {
    match object {
        Object::Address(_) => Counter::AddressLost,
        Object::Route(_) | Object::PromoteSecondaries(_) => Counter::RouteLost,
        Object::Rule(_) => Counter::RuleLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_toml;
    use crate::core::netlink::{Event, Link};

    fn config(extras: &str) -> Config {
        let router = |vrid: u8, extras: &str| {
            format!(
                "[[router]]\nname = \"R{vrid}\"\ninterface = \"eth0\"\nvrid = {vrid}\n\
                 addresses = [\"10.0.0.{vrid}/24\"]\n{extras}\n"
            )
        };
        load_toml(&(router(1, extras) + &router(2, "promote_secondaries = true"))).unwrap()
    }

    const ROUTE: &str = "routes = [{ to = \"192.0.2.0/24\", dev = \"eth1\" }]";
    const FIRST: RouterId = RouterId(0);

    #[test]
    fn what_differs_is_named() {
        let objects = ManagedObjects::new(&config(ROUTE), &[RouterId(0)]);
        let differs = |text: &str| objects.difference(FIRST, &config(text).routers[0].routing);
        assert_eq!(differs(ROUTE), None);
        assert_eq!(differs(""), Some("routes and rules"));
        let restores = format!("{ROUTE}\non_address_lost = \"restore\"");
        assert_eq!(differs(&restores), Some("on_address_lost"));
        assert_eq!(objects.promote, ["eth0".into()]);
    }

    #[test]
    fn another_configuration_decides_what_becomes_of_a_loss() {
        let mut objects =
            ManagedObjects::new(&config("on_address_lost = \"restore\""), &[RouterId(0)]);
        assert!(objects.restores(FIRST) && !objects.restores(RouterId(1)));
        objects.set(FIRST, &config("").routers[0].routing);
        assert!(!objects.restores(FIRST));
    }

    #[test]
    fn a_route_waits_for_its_interface() {
        let mut objects = ManagedObjects::new(&config(ROUTE), &[RouterId(0)]);
        let (handle, _) = objects.book.want(FIRST)[0];
        let route = objects.book.object(handle).unwrap();
        let mut interfaces = InterfaceTable::default();
        let here = Namespaces::default();
        assert!(!is_ready(route, &interfaces, &here));
        for up in [false, true] {
            interfaces.apply(&Event::Link(Link::ethernet(3, "eth1", up)));
            assert_eq!(is_ready(route, &interfaces, &here), up);
            // A setting of an interface that is down can be changed.
            let setting = Object::PromoteSecondaries("eth1".into());
            assert!(is_ready(&setting, &interfaces, &here));
        }
    }

    #[test]
    fn what_an_answer_means() {
        let failed = |number| Err(RequestError::new(Some(number), "no"));
        let refused = (false, Some("no".to_owned()));
        assert_eq!(outcome(Request::Add, &Ok(())), (false, None));
        assert_eq!(outcome(Request::Add, &failed(libc::EEXIST)), (true, None));
        assert_eq!(outcome(Request::Add, &failed(libc::ENODEV)), refused);
        for gone in [libc::ESRCH, libc::ENOENT, libc::ENODEV, libc::EADDRNOTAVAIL] {
            assert_eq!(outcome(Request::Remove, &failed(gone)), (false, None));
        }
        for other in [libc::EPERM, libc::EEXIST] {
            assert_eq!(outcome(Request::Remove, &failed(other)), refused);
        }
        assert_eq!(outcome(Request::Remove, &Err(RequestError::new(None, "no"))), refused);
    }
}
