//! Interfaces, and what they mean for the routers on them.

use std::borrow::Cow;
use std::collections::HashSet;

use vrrp_common::maps::capture;

use super::addresses::Place;
use super::interfaces::{Capture, Change, Interface};
use super::router::RouterLink;
use super::settling::{self, Counts};
use super::{Counter, Daemon};
use crate::capture::{self as modes, CaptureMode, Choice, Plan};
use crate::engine::time::Nanos;
use crate::engine::types::{FaultCause, Link, RouterId, State};
use crate::io::bpf::{self, Kernel, Vip};
use crate::io::netlink::{self, InterfaceAddress, Report};
use crate::io::{descriptors, timer};

impl Daemon {
    /// Takes in all links and addresses, and compares with what we believed.
    pub(super) fn listed(&mut self, links: Vec<netlink::Link>, addresses: &[InterfaceAddress]) {
        let alive: HashSet<u32> = links.iter().map(|link| link.ifindex).collect();
        for ifindex in self.interfaces.indices() {
            if !alive.contains(&ifindex) {
                self.changed(&netlink::Event::LinkGone(ifindex));
            }
        }
        let links = links.into_iter().map(netlink::Event::Link);
        let (mut changed, mut announce) = (Vec::new(), Vec::new());
        for link in links {
            let link = self.settled(&link);
            let link = self.debounced(&link);
            announce.extend(self.to_announce_on(&link));
            changed.push(self.interfaces.apply(&link));
        }
        self.interfaces.forget_addresses();
        for address in addresses {
            self.interfaces.apply(&netlink::Event::Address(*address));
        }
        // Not before the addresses are known, or every interface would seem to have none.
        for change in changed {
            if let Change::Interface { ifindex, .. } = change {
                self.attach(ifindex);
                self.attach_below(ifindex);
            }
        }
        let believed: Vec<(Place, u8)> = self.addresses.present().collect();
        for (place, prefix) in believed {
            let found = self.interfaces.found(place).find(|(found, _)| *found == prefix);
            // Listed or not: what was reported before does not matter any more.
            self.addresses.appeared(place, prefix, found.is_some_and(|(_, marked)| marked));
            if found.is_none() {
                self.vanished(place, prefix);
            }
        }
        for id in self.ids() {
            self.evaluate(id);
        }
        self.track_interfaces(None);
        for ifindex in announce {
            self.announce_on(ifindex);
        }
    }

    /// The interface that an event is about, if the neighbours there are to be told again where addresses are: it has
    /// another Ethernet address, or is up after it was down, so that nothing that was said meanwhile has arrived.
    fn to_announce_on(&self, event: &netlink::Event) -> Option<u32> {
        let netlink::Event::Link(link) = event else { return None };
        let before = self.interfaces.get(link.ifindex)?;
        let came_up = link.up && !before.up;
        (came_up || before.mac != link.mac).then_some(link.ifindex)
    }

    /// Takes in what the netlink thread says.
    pub(super) fn reported(&mut self, report: Report) {
        match report {
            Report::Everything(links, addresses) => self.listed(links, &addresses),
            Report::Unknown(error) => log::error!("cannot read links and addresses: {error}"),
            Report::Events(events) => {
                for event in &events {
                    self.extra_changed(event);
                    self.changed(event);
                }
            }
            Report::Answers(answers) => self.answered(answers),
            Report::Hooks(seen) => self.hooks_seen(seen),
            Report::Closed => {}
        }
    }

    pub(super) fn changed(&mut self, event: &netlink::Event) {
        let event = self.settled(event);
        let event = self.debounced(&event);
        self.changed_now(&event);
    }

    /// What counts at the moment of what the kernel reports, where we may have caused it.
    fn settled<'a>(&mut self, event: &'a netlink::Event) -> Cow<'a, netlink::Event> {
        let netlink::Event::Link(link) = event else { return Cow::Borrowed(event) };
        let (now, ifindex) = (timer::now(), link.ifindex);
        let counted = self.interfaces.get(ifindex).is_some_and(|known| known.up);
        let until = self.settling.until(ifindex);
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
                Cow::Owned(netlink::Event::Link(netlink::Link { up: true, ..link.clone() }))
            }
            Counts::Back => {
                log::info!("{}: its link is up again", link.name);
                for id in self.ids() {
                    if self.router(id).ifindex() == Some(ifindex) {
                        if let Some(until) = until {
                            self.engine.resume_master_down(now, id, until);
                        }
                        self.engine.handle_deaf(now, id);
                    }
                }
                // Whatever was said meanwhile has not arrived.
                self.announce_on(ifindex);
                Cow::Borrowed(event)
            }
        }
    }

    /// A program was attached to an interface: its link may go down for that.
    pub(super) fn settle(&mut self, now: Nanos, ifindex: u32, mode: CaptureMode) {
        let up = self.interfaces.get(ifindex).is_some_and(|interface| interface.up);
        if mode == CaptureMode::Native && up {
            self.settling.attached(now, ifindex);
        }
    }

    /// Links that have not come back in time are down.
    pub(super) fn settling_due(&mut self, now: Nanos) {
        while let Some(link) = self.settling.due(now) {
            log::error!("{}: its link has not come back since the program was attached", link.name);
            self.changed(&netlink::Event::Link(link));
        }
    }

    /// That a router's link is waited for.
    pub(super) fn settles(&self, id: RouterId) -> Option<String> {
        let router = self.router(id);
        let left = self.settling.until(router.ifindex()?)? - timer::now();
        Some(format!(
            "the link of {} went down when the program was attached, as some drivers do; for another {left} it is waited \
             for (`capture = \"tc\"` avoids that)",
            router.interface
        ))
    }

    /// As [`Self::changed`], but whatever changes counts at once.
    pub(super) fn changed_now(&mut self, event: &netlink::Event) {
        if *event == netlink::Event::Overrun {
            self.count(Counter::NetlinkOverrun);
            log::warn!("netlink notifications were lost; reading all links and addresses again");
        }
        let announce = self.to_announce_on(event);
        self.before_rename(event);
        let below = self.below(event);
        match self.interfaces.apply(event) {
            Change::None => {}
            Change::Virtual(at) => {
                let place = Place::of(&at);
                self.addresses.appeared(place, at.prefix, at.marked);
                self.source_changed(place);
                self.foreign_changed(&at);
            }
            Change::VirtualGone(at) => {
                let place = Place::of(&at);
                self.vanished(place, at.prefix);
                self.source_changed(place);
                self.foreign_changed(&at);
            }
            Change::Interface { ifindex, gone: true } => {
                if let Err(error) = self.kernel.detach(ifindex) {
                    log::debug!("interface {ifindex} is gone: {}", bpf::chain(&error));
                }
                if let Err(error) = self.kernel.release_interface(ifindex) {
                    log::error!("interface {ifindex} is gone: {}", bpf::chain(&error));
                }
                self.memberships.leave(ifindex, |_| false);
                self.addresses.interface_gone(ifindex);
                self.delays.interface_gone(ifindex);
                self.unannounced.forget(ifindex);
                self.hearing.gone(ifindex);
                self.settling.forget(ifindex);
                self.evaluate_on(ifindex);
                self.track_interfaces(Some(ifindex));
            }
            Change::Interface { ifindex, gone: false } => {
                let on = self.interfaces.get(ifindex).filter(|on| on.hears());
                if on.is_some_and(|on| !self.needs(&on.name)) {
                    self.detach(ifindex);
                }
                self.attach(ifindex);
                self.evaluate_on(ifindex);
                self.track_interfaces(Some(ifindex));
                if let Some(ifindex) = announce {
                    self.announce_on(ifindex);
                }
                self.attach_below(ifindex);
            }
        }
        // Where a VLAN device has left, or gone.
        if let Some(ifindex) = below {
            self.attach_again(ifindex);
        }
        if let netlink::Event::Link(netlink::Link { ifindex, xdp: false, .. }) = event {
            self.xdp_is_free(timer::now(), *ifindex);
        }
    }

    /// The device below the VLAN device that an event is about, as far as that was known before.
    fn below(&self, event: &netlink::Event) -> Option<u32> {
        let (netlink::Event::Link(netlink::Link { ifindex, .. })
        | netlink::Event::LinkGone(ifindex)) = event
        else {
            return None;
        };
        self.interfaces.get(*ifindex)?.vlan_of
    }

    /// Looks again at how the device below a VLAN device captures.
    fn attach_below(&mut self, ifindex: u32) {
        if let Some(below) = self.interfaces.get(ifindex).and_then(|interface| interface.vlan_of) {
            self.attach_again(below);
        }
    }

    /// Looks again at how an interface captures, if routers need it.
    pub(super) fn attach_again(&mut self, ifindex: u32) {
        let Some(interface) = self.interfaces.get(ifindex) else { return };
        let before = interface.capture.clone();
        self.attach(ifindex);
        if self.interfaces.get(ifindex).is_some_and(|interface| interface.capture != before) {
            self.evaluate_on(ifindex);
        }
    }

    /// An address that we or another router put somewhere has come or gone: it may be the source of a router that
    /// tracks it, such as a static one.
    fn source_changed(&mut self, place: Place) {
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
    fn before_rename(&mut self, event: &netlink::Event) {
        let netlink::Event::Link(link) = event else { return };
        let old = self.interfaces.get(link.ifindex).map(|known| &known.name);
        let Some(old) = old.filter(|old| **old != link.name).cloned() else { return };
        log::info!("{old}: is named {} now", link.name);
        let asked = self.belongings.book.displaced(&old);
        self.ask_extras(asked);
        for id in self.ids() {
            for (place, request) in self.requests(id) {
                if place.ifindex == link.ifindex {
                    self.let_go(id, place, request);
                }
            }
        }
    }

    /// Detaches the programs from an interface that no router needs any more.
    pub(super) fn detach(&mut self, ifindex: u32) {
        let Some(name) = self.interfaces.get(ifindex).map(|on| on.name.clone()) else { return };
        match self.kernel.detach(ifindex) {
            Ok(()) => log::info!("{name}: no virtual router here any more"),
            Err(error) => log::error!("{name}: {}", bpf::chain(&error)),
        }
        self.memberships.leave(ifindex, |_| false);
        if let Some(interface) = self.interfaces.get_mut(ifindex) {
            interface.capture = Capture::Detached;
        }
    }

    /// How an interface is to capture.
    pub(super) fn capture_plan(&self, ifindex: u32) -> Plan {
        let facts = self.interfaces.facts(ifindex, self.kernel.has_tcx());
        let name = self.interfaces.get(ifindex).map_or("", |interface| &interface.name);
        modes::plan(self.capture.best(name), facts)
    }

    /// Attaches to an interface in the best mode that it takes, if routers need it and that is not done.
    pub(super) fn attach(&mut self, ifindex: u32) {
        self.attach_by(ifindex, Kernel::attach);
    }

    /// Attaches to an interface in the best mode that it takes now.
    pub(super) fn attach_anew(&mut self, ifindex: u32) {
        self.attach_by(ifindex, Kernel::attach_anew);
    }

    fn attach_by(
        &mut self,
        ifindex: u32,
        how: fn(&mut Kernel, u32, &str, &Plan) -> Result<Choice, bpf::Error>,
    ) {
        let Some(interface) = self.interfaces.get(ifindex) else { return };
        let name = interface.name.clone();
        if !self.needs(&name) {
            return;
        }
        let before = interface.capture.clone();
        let now = timer::now();
        if matches!(before, Capture::Failed(_)) && !self.hearing.may_attach(ifindex, now) {
            return self.retry_soon();
        }
        let plan = self.capture_plan(ifindex);
        let capture = if interface.mac.is_none() {
            Capture::Failed("not an Ethernet interface".to_owned())
        } else if interface.routed {
            Capture::Failed(format!(
                "an ipvlan device in mode l3 or l3s passes on neither multicast nor ARP (`ip link set {name} type ipvlan \
                 mode l2`)"
            ))
        } else if !matches!(before, Capture::Attached(_))
            && let Some(shortage) = descriptors::shortage(1)
            && !self.kernel.release_egress(&shortage)
        {
            Capture::Failed(shortage)
        } else {
            match how(&mut self.kernel, ifindex, &name, &plan) {
                Ok(choice) => match self.listen_raw(choice.mode) {
                    Ok(()) => Capture::Attached(choice),
                    Err(why) => Capture::Failed(why),
                },
                Err(error) => Capture::Failed(bpf::chain(&error)),
            }
        };
        if let Capture::Attached(choice) = &capture
            && capture != before
        {
            self.settle(now, ifindex, choice.mode);
            let expected = plan.lacks_configured(choice.mode).is_none();
            let level = if expected { log::Level::Info } else { log::Level::Warn };
            log::log!(level, "{name}: captures by {choice}");
        }
        if let Capture::Failed(why) = &capture {
            if capture != before {
                log::error!("{name}: no advertisement can be received: {why}");
            }
            self.count(Counter::AttachFailed);
            self.retry_soon();
        }
        if let Some(interface) = self.interfaces.get_mut(ifindex) {
            interface.capture = capture;
        }
    }

    pub(super) fn needs(&self, name: &str) -> bool {
        self.routers.iter().filter(|router| !router.gone).any(|router| {
            *router.interface == *name || router.addresses().any(|a| router.dev(a) == name)
        })
    }

    pub(super) fn evaluate_on(&mut self, ifindex: u32) {
        let name = self.interfaces.get(ifindex).map(|interface| interface.name.clone());
        for id in self.ids() {
            let router = self.router(id);
            if router.ifindex() == Some(ifindex)
                || name.as_ref().is_some_and(|name| **name == *router.interface)
            {
                self.evaluate(id);
            }
        }
        self.extras_on(name.as_deref());
        // An address whose interface was missing can be added now.
        if self.addresses.needs_retry() {
            self.retry_soon();
        }
    }

    /// Decides whether a router's interface can carry it, and tells engine and kernel side of changes.
    pub(super) fn evaluate(&mut self, id: RouterId) {
        let router = &mut self.routers[id.0 as usize];
        if router.gone {
            return;
        }
        if let (true, Some(source)) = (router.track_source, router.configured_source()) {
            self.tracked_sources.insert(source);
        }
        // Who is master stays master: to leave an address without anybody helps nobody.
        let needs_to_hear = self.engine.state(id) != Some(State::Master);
        let found = self.interfaces.by_name(&router.interface);
        let link = match found {
            None => Link::Down(FaultCause::InterfaceMissing),
            Some((_, interface)) if !interface.up && !router.may_be_down => {
                Link::Down(FaultCause::InterfaceDown)
            }
            Some((_, interface)) if needs_to_hear && !interface.hears() => {
                Link::Down(FaultCause::NoCapture)
            }
            Some((ifindex, interface)) => match router.source(interface) {
                Some(address)
                    if router.track_source
                        && !self.interfaces.usable(Place { ifindex, address }) =>
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
        let place = found.and_then(|(ifindex, interface)| {
            Some(RouterLink { ifindex, mac: interface.mac?, aggregate: interface.aggregate })
        });
        let (stale, fresh) = router.moved(place, link, id);
        let moved = stale.is_some() || fresh.is_some();
        if let Some(key) = stale {
            if let Err(error) = self.kernel.remove_router(&key) {
                log::error!("{}: {}", router.place(), bpf::chain(&error));
            }
            self.each_vip(id, key.ifindex, |kernel, vip| kernel.remove_vip(vip));
        }
        if let Some((key, entry)) = fresh {
            if let Err(error) = self.kernel.set_router(&key, &entry) {
                log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
            }
            self.each_vip(id, key.ifindex, |kernel, vip| kernel.add_vip(vip));
        }
        if moved {
            let ifindex = self.router(id).ifindex().unwrap_or_default();
            self.publish(id, |info| info.ifindex = ifindex);
        }
        self.look_for_foreign(id);
        let capture = self.capture(id);
        self.publish(id, |info| info.capture = capture);
        if self.routers[id.0 as usize].report(link) {
            if let Link::Up(_) = link {
                self.join(id);
            }
            self.engine.handle_link(timer::now(), id, link);
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
        match interface.map(|(_, interface)| &interface.capture) {
            Some(Capture::Attached(choice)) => match choice.mode {
                CaptureMode::Native => capture::NATIVE,
                CaptureMode::Tc => capture::TC,
                CaptureMode::Generic => capture::GENERIC,
                CaptureMode::Raw => capture::RAW,
            },
            Some(Capture::Detached | Capture::Failed(_)) | None => capture::NONE,
        }
    }

    fn each_vip(
        &mut self,
        id: RouterId,
        ifindex: u32,
        mut change: impl FnMut(&mut Kernel, &Vip) -> Result<(), bpf::Error>,
    ) {
        let router = &self.routers[id.0 as usize];
        for address in router.addresses() {
            let on = match address.dev() {
                Some(dev) => self.interfaces.by_name(dev).map(|(ifindex, _)| ifindex),
                None => Some(ifindex),
            };
            let address = address.address;
            if let Some(ifindex) = on
                && let Err(error) = change(&mut self.kernel, &Vip::new(ifindex, address))
            {
                log::error!("{}: counters of {address}: {}", router.place(), bpf::chain(&error));
            }
        }
    }
}
