//! Interfaces, and what they mean for the routers on them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use vrrp_common::maps::capture;

use super::effect::{Effect, InfoChange};
use super::interface_id::InterfaceAddr;
use super::interface_table::{Change, Interface};
use super::netlink::{self, AssignedAddress, Event};
use super::router::RouterLink;
use super::settling::{self, Counts};
use super::{Core, Counter, Phase};
use crate::capture::CaptureMode;
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;
use crate::engine::types::{FaultCause, Link, RouterId, State};
use crate::types::planted::{Fault, planted};

impl Core {
    /// Takes in all links and addresses, and compares with what we believed.
    pub(super) fn listed(&mut self, links: Vec<netlink::Link>, addresses: &[AssignedAddress]) {
        let alive: HashSet<InterfaceId> = links.iter().map(|link| link.iface).collect();
        for iface in self.interfaces.indices() {
            if !alive.contains(&iface) {
                self.changed(&Event::LinkRemoved(iface));
            }
        }
        let links = links.into_iter().map(Event::Link);
        let (mut changed, mut announce) = (Vec::new(), Vec::new());
        for link in links {
            let link = self.settled(&link);
            let link = self.debounced(&link);
            announce.extend(self.to_announce_on(&link));
            changed.push(self.interfaces.apply(&link));
        }
        for id in self.ids() {
            self.resolve(id);
        }
        self.interfaces.forget_addresses();
        for address in addresses {
            self.interfaces.apply(&Event::Address(*address));
        }
        self.hold_found_with_virtual_mac();
        // Not before the addresses are known, or every interface would seem to have none.
        for change in changed {
            if let Change::Interface { iface, .. } = change {
                self.attach(iface);
                self.attach_below(iface);
            }
        }
        let believed: Vec<(InterfaceAddr, u8)> = self.addresses.present().collect();
        for (place, prefix) in believed.into_iter().filter(|_| !planted(Fault::NotResynced)) {
            let found = self.interfaces.found(place).find(|(found, _)| *found == prefix);
            // Listed or not: what was reported before does not matter any more.
            self.addresses.appeared(place, prefix, found.is_some_and(|(_, marked)| marked));
            if found.is_none() {
                self.vanished(place, prefix);
            }
        }
        self.addresses.listed();
        addresses.iter().for_each(|at| self.remove_returned(*at));
        for id in self.ids() {
            self.evaluate(id);
        }
        self.track_interfaces(None);
        // Interfaces may have been down meanwhile, and the kernel drops routes then without a word.
        self.objects.book.doubt_all();
        self.retry_objects();
        for iface in announce {
            self.announce_on(iface);
        }
    }

    /// The interface that an event is about, if the neighbours there are to be told again where addresses are: it has
    /// another Ethernet address, or is up after it was down, so that nothing that was said meanwhile has arrived.
    fn to_announce_on(&self, event: &Event) -> Option<InterfaceId> {
        let Event::Link(link) = event else { return None };
        let before = self.interfaces.get(link.iface)?;
        let came_up = link.up && !before.up;
        (came_up || before.mac != link.mac).then_some(link.iface)
    }

    pub(super) fn changed(&mut self, event: &Event) {
        if self.is_unknown(event) {
            return self.count(Counter::UnknownInterface);
        }
        let event = self.settled(event);
        let event = self.debounced(&event);
        self.changed_now(&event);
    }

    /// Whether an event is about an interface that is not there, or is gone.
    fn is_unknown(&self, event: &Event) -> bool {
        match event {
            Event::LinkRemoved(iface) => self.interfaces.get(*iface).is_none(),
            Event::Address(at) | Event::AddressRemoved(at) => {
                self.interfaces.get(at.at.iface).is_none()
            }
            Event::Link(_)
            | Event::Route(_)
            | Event::RouteRemoved(_)
            | Event::Rule(_)
            | Event::RuleRemoved(_)
            | Event::RoutesOverrun
            | Event::Overrun => false,
        }
    }

    /// What counts at the moment of what the kernel reports, where we may have caused it.
    fn settled<'a>(&mut self, event: &'a Event) -> Cow<'a, Event> {
        let Event::Link(link) = event else { return Cow::Borrowed(event) };
        let (now, iface) = (self.now, link.iface);
        let counted = self.interfaces.get(iface).is_some_and(|known| known.up);
        let until = self.settling.until(iface);
        match self.settling.reported(now, link, counted) {
            Counts::AsReported => Cow::Borrowed(event),
            Counts::AsUp { new } => {
                if new {
                    log::warn!(
                        "{}: its link went down when the program was attached, as some drivers do; it counts as up, and no \
                         router there takes over, for {} at most",
                        link.name,
                        settling::PATIENCE
                    );
                }
                Cow::Owned(Event::Link(netlink::Link { up: true, ..link.clone() }))
            }
            Counts::Back => {
                log::info!("{}: its link is up again", link.name);
                for id in self.ids() {
                    if self.router(id).iface() == Some(iface) {
                        if let Some(until) = until {
                            self.engine.resume_master_down(now, id, until);
                        }
                        self.engine.handle_not_listening(now, id);
                    }
                }
                // Whatever was said meanwhile has not arrived.
                self.announce_on(iface);
                Cow::Borrowed(event)
            }
        }
    }

    /// A program was attached to an interface: its link may go down for that.
    pub(super) fn settle(&mut self, now: Nanos, iface: InterfaceId, mode: CaptureMode) {
        let up = self.interfaces.get(iface).is_some_and(|interface| interface.up);
        if mode == CaptureMode::Native && up {
            self.settling.attached(now, iface);
        }
    }

    /// Links that have not come back in time are down.
    pub(super) fn settling_due(&mut self, now: Nanos) {
        while let Some(link) = self.settling.due(now) {
            log::error!("{}: its link has not come back since the program was attached", link.name);
            self.changed(&Event::Link(link));
        }
    }

    /// That a router's link is waited for.
    pub(super) fn settles(&self, now: Nanos, id: RouterId) -> Option<String> {
        let router = self.router(id);
        let left = self.settling.until(router.iface()?)? - now;
        Some(format!(
            "the link of {} went down when the program was attached, as some drivers do; for another {left} it is waited \
             for (`capture = \"tc\"` avoids that)",
            router.interface
        ))
    }

    /// As [`Self::changed`], but whatever changes counts at once.
    pub(super) fn changed_now(&mut self, event: &Event) {
        if *event == Event::Overrun {
            self.count(Counter::NetlinkOverrun);
            log::warn!("netlink notifications were lost; reading all links and addresses again");
        }
        let announce = self.to_announce_on(event);
        self.before_rename(event);
        let below = self.below(event);
        let names = self.interfaces.names_changed_by(event);
        let change = self.interfaces.apply(event);
        for name in names.iter().flatten() {
            self.resolve_on(name);
        }
        if let (Event::AddressRemoved(at), Change::Interface { .. }) = (event, &change) {
            // A router that is its owner now may have found it there before.
            self.vanished(at.at, at.prefix);
        }
        match change {
            Change::None => {}
            Change::Virtual(at) => {
                let place = at.at;
                self.addresses.appeared(place, at.prefix, at.marked);
                self.remove_returned(at);
                self.source_changed(place);
                self.foreign_changed(&at);
            }
            Change::VirtualRemoved(at) => {
                let place = at.at;
                self.vanished(place, at.prefix);
                self.source_changed(place);
                self.foreign_changed(&at);
            }
            Change::Interface { iface, removed: true } => {
                self.effects.push_back(Effect::Detach { interface: iface });
                self.effects.push_back(Effect::ForgetInterface { interface: iface });
                self.effects.push_back(Effect::Leave { interface: iface, group: None });
                for (place, request) in self.addresses.interface_removed(iface) {
                    self.expect_stray(place, request);
                }
                self.forwarding.forget(iface);
                self.delays.interface_removed(iface);
                self.unannounced.forget(iface);
                self.reception.interface_removed(iface);
                self.settling.forget(iface);
                self.evaluate_on(iface);
                self.track_interfaces(Some(iface));
            }
            Change::Interface { iface, removed: false } => {
                let on = self.interfaces.get(iface).filter(|on| on.receives());
                if on.is_some_and(|on| !self.needs(&on.name)) {
                    self.detach(iface);
                }
                self.attach(iface);
                self.evaluate_on(iface);
                self.track_interfaces(Some(iface));
                if let Some(iface) = announce {
                    self.announce_on(iface);
                }
                self.attach_below(iface);
            }
        }
        // Where a VLAN device has left, or gone.
        if let Some(iface) = below {
            self.attach(iface);
        }
        if let Event::Link(netlink::Link { iface, xdp: false, .. }) = event {
            self.xdp_is_free(self.now, *iface);
        }
    }

    /// The device below the VLAN device that an event is about, as far as that was known before.
    fn below(&self, event: &Event) -> Option<InterfaceId> {
        let (Event::Link(netlink::Link { iface, .. }) | Event::LinkRemoved(iface)) = event else {
            return None;
        };
        self.interfaces.get(*iface)?.vlan_of
    }

    /// Looks again at how the device below a VLAN device captures.
    fn attach_below(&mut self, iface: InterfaceId) {
        if let Some(below) = self.interfaces.get(iface).and_then(|interface| interface.vlan_of) {
            self.attach(below);
        }
    }

    /// An address that we or another router put somewhere has come or gone: it may be the source of a router that
    /// tracks it, such as a static one.
    fn source_changed(&mut self, place: InterfaceAddr) {
        if !self.tracked_sources.contains(&place.address) {
            return;
        }
        for id in self.ids() {
            let router = self.router(id);
            if router.track_source && router.configured_source() == Some(place.address) {
                self.evaluate(id);
            }
        }
    }

    /// An interface that is up can have another name from one moment to the next. Its routers are without an interface
    /// then; what they put there goes, asked for while it is known by the name that it has in their configuration.
    fn before_rename(&mut self, event: &Event) {
        let Event::Link(link) = event else { return };
        let old = self.interfaces.get(link.iface).map(|known| &known.name);
        let Some(old) = old.filter(|old| **old != link.name).cloned() else { return };
        log::info!("{old}: is named {} now", link.name);
        let asked = self.objects.book.displaced(&old);
        self.ask_objects(asked);
        for id in self.ids() {
            for (place, request) in self.requests(id) {
                if place.iface == link.iface {
                    self.release(id, place, request);
                }
            }
        }
    }

    /// Detaches the programs from an interface that no router needs any more.
    pub(super) fn detach(&mut self, iface: InterfaceId) {
        let Some(interface) = self.interfaces.get_mut(iface) else { return };
        log::info!("{}: no virtual router here any more", interface.name);
        interface.detached();
        self.effects.push_back(Effect::Detach { interface: iface });
        self.effects.push_back(Effect::Leave { interface: iface, group: None });
    }

    /// Whether there are routers on an interface of which nothing has been said yet.
    pub(super) fn unsaid_on(&self, iface: InterfaceId) -> bool {
        let name = self.interfaces.get(iface).map(|interface| &interface.name);
        self.unsaid.iter().any(|id| name.is_some_and(|name| **name == *self.router(*id).interface))
    }

    pub(super) fn needs(&self, name: &str) -> bool {
        self.index.needs(name)
    }

    /// Decides again for the routers on an interface.
    pub(super) fn evaluate_on(&mut self, iface: InterfaceId) {
        let name = self.interfaces.get(iface).map(|interface| interface.name.clone());
        // Those that lived there, be it gone or called otherwise now, and those that may live there from now on.
        let named = name.iter().flat_map(|name| self.index.on(name));
        let mut concerned: BTreeSet<RouterId> = named.collect();
        concerned.extend(self.index.living_on(iface));
        for id in concerned {
            self.evaluate(id);
            self.replace_own_addresses(id);
        }
        self.objects_on(name.as_deref());
        // An address whose interface was missing can be added now.
        if self.addresses.needs_retry() {
            self.retry_soon();
        }
    }

    /// The addresses of an owner are its interface's own, and those that the interface has not are added: also when somebody
    /// removes them while it is master.
    fn replace_own_addresses(&mut self, id: RouterId) {
        // Who is master at the start adds them when the routers begin.
        let runs = matches!(self.phase, Phase::Running);
        if !runs || !self.router(id).owner || self.engine.state(id) != Some(State::Master) {
            return;
        }
        let missing = |place| !self.interfaces.owns(place) && !self.addresses.holds(place);
        if self.interface_addrs(id).into_iter().any(|(place, _)| missing(place)) {
            self.add_addresses(id);
        }
    }

    /// Decides whether a router's interface can carry it, and tells engine and kernel side of changes.
    pub(super) fn evaluate(&mut self, id: RouterId) {
        let router = &mut self.routers[id.0 as usize];
        if router.removed {
            return;
        }
        // How it captures is known in a moment, and what would be decided until then would be wrong.
        let found = self.interfaces.by_name(&router.interface);
        if found.is_some_and(|(_, interface)| interface.is_attaching()) {
            return;
        }
        if let (true, Some(source)) = (router.track_source, router.configured_source()) {
            self.tracked_sources.insert(source);
        }
        // Who is master stays master: to leave an address without anybody helps nobody.
        let needs_to_receive = self.engine.state(id) != Some(State::Master);
        let lacks_virtual_mac = router.any_virtual_mac().is_some_and(|mac| {
            let on = router.virtual_mac_devs().filter_map(|dev| self.interfaces.by_name(dev));
            on.into_iter().any(|(_, interface)| interface.lacks_for_virtual_mac(mac).is_some())
        });
        let link = match found {
            None => Link::Down(FaultCause::InterfaceMissing),
            Some((_, interface)) if !interface.up && !router.may_be_down => {
                Link::Down(FaultCause::InterfaceDown)
            }
            Some((_, interface)) if needs_to_receive && !interface.receives() => {
                Link::Down(FaultCause::NoCapture)
            }
            Some(_) if lacks_virtual_mac => Link::Down(FaultCause::NoVirtualMac),
            Some((iface, interface)) => match router.source(interface) {
                Some(address)
                    if router.track_source
                        && !self.interfaces.usable(InterfaceAddr { iface, address }) =>
                {
                    Link::Down(FaultCause::NoSource)
                }
                Some(_) if u32::from(router.advert_len()) > interface.mtu => {
                    let (length, mtu) = (router.advert_len(), interface.mtu);
                    Link::Down(FaultCause::AdvertExceedsMtu { length, mtu })
                }
                Some(source) => match router.cannot_send() {
                    Some(error) => Link::Down(FaultCause::CannotSend(error)),
                    None => Link::Up(source),
                },
                None => Link::Down(FaultCause::NoAddress),
            },
        };
        let place = found.and_then(|(iface, interface)| {
            Some(RouterLink { iface, mac: interface.mac?, aggregate: interface.aggregate })
        });
        let before = router.iface();
        let (stale, fresh) = router.moved(place, link, id);
        self.index.moved(id, before, router.iface());
        let moved = stale.is_some() || fresh.is_some();
        let now = self.router(id).iface();
        if let (Some(key), Some(on)) = (stale, before) {
            self.effects.push_back(Effect::RemoveRouter { router: id, key });
            let at = self.vips_on(id, on);
            self.effects.extend(at.map(|at| Effect::UncountAddress { router: id, at }));
        }
        if let (Some((key, entry)), Some(on)) = (fresh, now) {
            self.effects.push_back(Effect::SetRouter { router: id, key, entry });
            let at = self.vips_on(id, on);
            at.for_each(|at| self.count_vip(id, at));
            self.hold_anew(id);
        }
        if moved {
            self.publish(id, InfoChange::Interface(self.router(id).iface()));
        }
        self.look_for_foreign(id);
        let capture = self.capture(id);
        self.publish(id, InfoChange::Capture(capture));
        if self.routers[id.0 as usize].report(link) {
            if let Link::Up(_) = link {
                self.join(id);
            }
            self.engine.handle_link(self.now, id, link);
        }
        self.update_virtual_macs(id);
    }

    /// The interface of a router has another Ethernet address: the one by which the kernel side knows what it sends, and
    /// puts a virtual one in its place.
    fn hold_anew(&mut self, id: RouterId) {
        if self.engine.state(id) == Some(State::Master) && self.router(id).has_virtual_mac() {
            for (place, _) in self.interface_addrs(id) {
                self.hold_address(id, place);
            }
        }
    }

    /// Whether nothing is wrong with a router's interface but that it is only just up: it will have an address to
    /// send from in a moment.
    pub(super) fn waits_for_dad(&self, id: RouterId) -> bool {
        let router = self.router(id);
        let interface = self.interfaces.by_name(&router.interface).map(|(_, interface)| interface);
        router.lacks_address() && interface.is_some_and(Interface::tentative6)
    }

    /// How advertisements for a router are received, as `stats` is told.
    fn capture(&self, id: RouterId) -> u8 {
        let interface = self.interfaces.by_name(&self.router(id).interface);
        let mode = interface.and_then(|(_, interface)| interface.mode());
        mode.map_or(capture::NONE, CaptureMode::number)
    }

    /// Where the addresses of a router belong that is, or was, on that interface.
    fn vips_on(
        &self,
        id: RouterId,
        iface: InterfaceId,
    ) -> impl Iterator<Item = InterfaceAddr> + use<> {
        let places = self.router(id).addresses_from(Some(iface)).filter_map(|(address, on)| {
            Some(InterfaceAddr { iface: on?, address: address.address })
        });
        places.collect::<Vec<_>>().into_iter()
    }

    /// An interface of that name has come or gone: finds out again where the addresses of those belong that need it.
    fn resolve_on(&mut self, name: &str) {
        for id in self.index.on(name).collect::<Vec<_>>() {
            self.resolve(id);
        }
    }

    /// Finds out where the addresses of a router belong.
    pub(super) fn resolve(&mut self, id: RouterId) {
        let Self { routers, interfaces, .. } = self;
        let find = |name: &str| interfaces.by_name(name).map(|(iface, _)| iface);
        if let Some(router) = routers.get_mut(id.0 as usize) {
            router.resolve(find);
        }
    }
}
