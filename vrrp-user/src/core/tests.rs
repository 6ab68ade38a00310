//! A whole core from its start to its end, by a driver that records what it is told to do, and answers as a kernel would.

#![allow(clippy::wildcard_enum_match_arm)]

mod accept;
mod namespaces;
mod virtual_mac;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use vrrp_common::event::RxEvent;
use vrrp_common::lease::{FenceMode, Terms};
use vrrp_common::maps::{Lease, RouterInfo};
use vrrp_common::reason::Reason;
use vrrp_common::report::{Class, MasterSeen};

use super::adoption::{PinnedRouter, Predecessor};
use super::netlink::{
    Answer, Ask, AssignedAddress, Event, Hook, HookPoint, HookState, Link, Object, Request,
    RequestError, Subject, UnicastFilter,
};
use super::notification::Found;
use super::prepared::{Prepared, Refusal};
use super::*;
use crate::api::Order;
use crate::api::error::ErrorKind;
use crate::capture::{CaptureMode, Failure, ModeSet};
use crate::config;
use crate::engine::adoption::NotAdopted;
use crate::engine::types::{Cause, Health, ObjectId};

const ETH0: InterfaceId = InterfaceId::own(2);
const VIP: &str = "10.0.0.100";
const OTHER: [u8; 4] = [10, 0, 0, 2];
const MS: Nanos = Nanos::from_millis(1);
const ROUTER: RouterId = RouterId(0);

/// A router with these settings besides.
fn toml(more: &str) -> String {
    format!(
        "[[router]]\nname = \"A\"\ninterface = \"eth0\"\nvrid = 51\nversion = 3\n\
         addresses = [\"{VIP}/24\"]\n{more}\n"
    )
}

fn link(up: bool) -> Link {
    Link {
        iface: ETH0,
        name: "eth0".to_owned(),
        up,
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        aggregate: false,
        routed: false,
        vlan_of: None,
        enabled: up,
        xdp: true,
        unicast_filter: UnicastFilter::Membership,
    }
}

fn address(address: &str, marked: bool) -> AssignedAddress {
    let address = address.parse().unwrap();
    let at = InterfaceAddr { iface: ETH0, address };
    AssignedAddress { at, prefix: 24, marked, tentative: false }
}

/// A host that does what its core wants.
struct Host {
    core: Core,
    now: Nanos,
    /// Requests that are not answered yet.
    asks: VecDeque<Ask>,
    /// Our addresses, where they are.
    there: BTreeSet<InterfaceAddr>,
    /// What was done otherwise.
    done: Vec<Effect>,
    /// Priorities of the advertisements that were sent.
    adverts: Vec<u8>,
    announcements: usize,
    /// How programs were to be attached.
    ways: Vec<AttachMethod>,
    /// Which of them was the last one.
    serial: u64,
    /// Why the next of them are not.
    failures: VecDeque<Failure>,
    /// Whether there are no descriptors for programs that come later.
    short: bool,
}

impl Host {
    fn new(text: &str) -> Self {
        Self::after(text, None)
    }

    /// One that begins where another daemon was killed.
    fn after(text: &str, predecessor: Option<Predecessor>) -> Self {
        let now = Nanos::from_secs(100);
        let config = config::load_toml(text).unwrap();
        let core = Core::new(Boot {
            sizes: Sizes::with_room(Needs::of(&config)),
            config,
            config_path: "vrrp.toml".into(),
            started: now,
            listening: now,
            since_boot: now,
            tcx: true,
            signature_modes: ModeSet::default(),
            source_key: 7,
            first_ident: 1,
            predecessor,
            notifies: true,
            manager: Some(Listener { watchdog: Some(Nanos::from_secs(60)) }),
        });
        Self {
            core,
            now,
            asks: VecDeque::new(),
            there: BTreeSet::new(),
            done: Vec::new(),
            adverts: Vec::new(),
            announcements: 0,
            ways: Vec::new(),
            serial: 0,
            failures: VecDeque::new(),
            short: false,
        }
    }

    /// One whose routers have begun.
    fn started(text: &str) -> Self {
        let mut host = Self::new(text);
        host.listed(&[]);
        assert!(!host.core.is_starting());
        host
    }

    /// One whose router is master, and has its address.
    fn master() -> Self {
        let mut host = Self::started(&toml(""));
        host.pass(5000);
        assert_eq!(host.state(), Some(State::Master));
        host.answer(&Ok(()));
        assert!(host.has_vip());
        host
    }

    fn state(&self) -> Option<State> {
        self.core.state(ROUTER)
    }

    fn has_vip(&self) -> bool {
        self.there.contains(&InterfaceAddr::new(ETH0, VIP.parse::<IpAddr>().unwrap()))
    }

    /// How often something was counted.
    fn counted(&self, counter: Counter) -> usize {
        self.done.iter().filter(|effect| **effect == Effect::Count(counter)).count()
    }

    fn listed(&mut self, more: &[AssignedAddress]) {
        let addresses = [&[address("10.0.0.1", false)], more].concat();
        self.input(Input::Listed { links: vec![link(true)], addresses });
    }

    fn input(&mut self, input: Input<'_>) {
        self.core.handle(self.now, input);
        self.go_on();
    }

    fn go_on(&mut self) {
        self.perform();
        for _ in 0..1000 {
            let progress = self.core.advance(self.now);
            self.perform();
            for frame in self.core.frames().iter() {
                match frame.tag {
                    // What goes by unicast gets its header from the kernel.
                    Tag::Advert { .. } => self.adverts.extend(frame.bytes.get(14 + 20 + 2)),
                    Tag::Announcement => self.announcements += 1,
                }
            }
            self.core.sent(self.now, &[]);
            self.perform();
            if progress == Progress::Done && !self.core.wants_more() {
                return;
            }
        }
        panic!("it goes on and on");
    }

    /// Lets milliseconds pass.
    fn pass(&mut self, ms: u64) {
        let end = self.now + MS.times(ms);
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
        self.input(Input::Timeout);
    }

    fn perform(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            let answer = match &effect {
                Effect::Netlink(ask) => {
                    self.asks.push_back(ask.clone());
                    continue;
                }
                Effect::Attach { interface, number, way, .. } => {
                    let (iface, number) = (*interface, *number);
                    self.ways.push(*way);
                    self.serial = number;
                    let hook = Hook { iface, at: HookPoint::Xdp, program: 1, serial: number };
                    let counts = Hook { at: HookPoint::TcxEgress, ..hook };
                    // Beside XDP it comes later.
                    let is_tc = *way == AttachMethod::Mode(CaptureMode::Tc);
                    let egress = is_tc.then_some(counts);
                    let hooks = Hooks { ingress: Some(hook), egress, displaced: None };
                    let result = self.failures.pop_front().map_or(Ok(hooks), Err);
                    Input::Attached { interface: iface, number, result }
                }
                Effect::Look(look) => {
                    let intact = |hook: &Hook| HookReport {
                        hook: *hook,
                        state: HookState::Intact,
                        occupant: None,
                    };
                    Input::HooksSeen(look.hooks.iter().map(intact).collect())
                }
                Effect::MendEgress { interface: iface, attach, .. } => {
                    let at = HookPoint::TcxEgress;
                    let hook = Hook { iface: *iface, at, program: 2, serial: 0 };
                    let short = self.short.then(|| "only 8 open files".to_owned());
                    let result = short.map_or(Ok(attach.then_some(hook)), Err);
                    Input::EgressMended { interface: *iface, result }
                }
                Effect::SetFilter { router, .. } => Input::FilterSet { router: *router },
                Effect::QueryLastSeen(_) => Input::LastSeenEnd { lost: 0 },
                other => {
                    self.done.push(other.clone());
                    continue;
                }
            };
            self.done.push(effect);
            self.core.handle(self.now, answer);
        }
    }

    /// Answers all requests like that, and reports what has come of them.
    fn answer(&mut self, result: &Result<(), RequestError>) {
        while let Some(Ask { request, subject, object }) = self.asks.pop_front() {
            if let (Object::Address(address), Ok(())) = (object, result) {
                let (at, event) = match request {
                    Request::Add => (address.address, Event::Address(address.address)),
                    Request::Remove => (address.address, Event::AddressRemoved(address.address)),
                };
                match request {
                    Request::Add => self.there.insert(at.at),
                    Request::Remove => self.there.remove(&at.at),
                };
                self.input(Input::Changed(vec![event]));
            }
            let result = result.clone();
            self.input(Input::Answered(vec![Answer { request, subject, result, ours: false }]));
        }
    }

    /// Requests that are not answered yet.
    fn asked(&self) -> Vec<(Request, Subject)> {
        self.asks.iter().map(|ask| (ask.request, ask.subject)).collect()
    }

    /// The other host advertises.
    fn hear(&mut self, priority: u8) {
        self.hear_of(ROUTER, 51, priority);
    }

    fn hear_of(&mut self, router: RouterId, vrid: u8, priority: u8) {
        let mut message = vec![0x31, vrid, priority, 1, 0, 100, 0, 0, 10, 0, 0, 100];
        message[6..8].copy_from_slice(&[0, 0]);
        let mut source = [0; 16];
        source[..4].copy_from_slice(&OTHER);
        let event = RxEvent {
            ktime_ns: self.now.0,
            ifindex: ETH0.ifindex,
            reason: Reason::Accepted.index(),
            slot: router.0,
            source,
            family: vrrp_common::FAMILY_V4,
            digest: 99,
            ..RxEvent::default()
        };
        self.input(Input::Received { interface: ETH0, event, payload: &message });
    }
}

fn refused() -> RequestError {
    RequestError::new(Some(libc::EPERM), "not permitted")
}

fn vip_asked(request: Request) -> Vec<(Request, Subject)> {
    vec![(request, Subject::Address(address(VIP, true)))]
}

#[test]
fn a_router_is_backup_and_then_master_and_its_address_follows() {
    let mut host = Host::started(&toml(""));
    assert!(host.done.contains(&Effect::Started));
    assert_eq!((host.state(), host.asked()), (Some(State::Backup), vec![]));
    host.pass(5000);
    assert_eq!(host.state(), Some(State::Master));
    assert_eq!(host.asked(), vip_asked(Request::Add));
    assert!(host.adverts.len() > 1 && host.adverts.iter().all(|priority| *priority == 100));
    // What is not there is not announced.
    assert_eq!(host.announcements, 0);
    host.answer(&Ok(()));
    assert!(host.has_vip() && host.announcements > 0);
    // Held before it is asked for, so that nobody's claim is missed.
    let held = host.done.iter().any(|effect| matches!(effect, Effect::HoldAddress { .. }));
    assert!(held);
}

/// Which addresses are let in, out of what was done, in order; and with what state of the router each.
fn unicast_macs(host: &Host) -> Vec<bool> {
    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
    let changes = host.done.iter().filter_map(|effect| match *effect {
        Effect::AddUnicastMac { interface, mac, .. } => Some((interface, mac, true)),
        Effect::RemoveUnicastMac { interface, mac, .. } => Some((interface, mac, false)),
        _ => None,
    });
    changes.map(|(on, mac, added)| (on == ETH0 && mac == MAC).then_some(added).unwrap()).collect()
}

#[test]
fn an_interface_takes_in_what_is_for_the_virtual_mac_of_a_master() {
    let mut host = Host::started(&toml("virtual_mac = true"));
    assert_eq!(host.ways, [AttachMethod::Mode(CaptureMode::Tc)]);
    assert_eq!((host.state(), unicast_macs(&host)), (Some(State::Backup), vec![]));
    host.pass(5000);
    host.answer(&Ok(()));
    assert_eq!((host.state(), unicast_macs(&host)), (Some(State::Master), vec![true]));
    let held = host.done.iter().find_map(|effect| match effect {
        Effect::HoldAddress { held, .. } => Some(held.virtual_mac),
        _ => None,
    });
    let mac = vrrp_common::virtual_mac::of_router(vrrp_common::FAMILY_V4, 51);
    assert_eq!(held, Some(vrrp_common::virtual_mac::padded(mac)));
    let counted =
        |effect: &Effect| matches!(effect, Effect::CountAddress { virtual_mac: true, .. });
    assert!(host.done.iter().any(counted));
    host.hear(200);
    assert_eq!((host.state(), unicast_macs(&host)), (Some(State::Backup), vec![true, false]));
}

#[test]
fn the_virtual_mac_goes_before_the_last_advertisement() {
    let mut host = Host::started(&toml("virtual_mac = true"));
    host.pass(5000);
    host.answer(&Ok(()));
    host.core.handle(host.now, Input::Stop);
    // What is done before anything is sent.
    while host.core.frames().is_empty() {
        host.core.advance(host.now);
    }
    host.perform();
    assert_eq!(unicast_macs(&host), [true, false]);
    let frame = host.core.frames().iter().last().unwrap();
    assert_eq!((frame.bytes[6..12].to_vec(), frame.bytes[36]), (vec![0, 0, 0x5e, 0, 1, 51], 0));
}

/// What an earlier daemon put into its forwarding database goes first: on a backup it would keep guests from the master.
#[test]
fn a_bridge_has_the_virtual_mac_of_a_master_and_no_other() {
    let mut host = Host::new(&toml("virtual_mac = true"));
    let bridge = Link { unicast_filter: UnicastFilter::Bridge, ..link(true) };
    let addresses = vec![address("10.0.0.1", false)];
    host.input(Input::Listed { links: vec![bridge], addresses });
    assert_eq!((host.state(), unicast_macs(&host)), (Some(State::Backup), vec![false]));
    host.pass(5000);
    host.answer(&Ok(()));
    assert_eq!((host.state(), unicast_macs(&host)), (Some(State::Master), vec![false, true]));
    host.core.handle(host.now, Input::Stop);
    while host.core.frames().is_empty() {
        host.core.advance(host.now);
    }
    host.perform();
    assert_eq!(unicast_macs(&host), [false, true, false]);
}

#[test]
fn without_tc_there_is_no_virtual_mac() {
    let mut host = Host::new(&toml("virtual_mac = true"));
    host.failures = VecDeque::from([Failure::Refused("tc is refused".to_owned())]);
    host.listed(&[]);
    let native = [CaptureMode::Tc, CaptureMode::Native].map(AttachMethod::Mode);
    assert_eq!((&*host.ways, host.state()), (&native[..], Some(State::Fault)));
    let on = host.core.one_interface(host.now, "eth0");
    assert_eq!(
        (on.capture_causes, on.capture_lacks_causes),
        (vec!["virtual-mac".into(), "refused".into()], vec![])
    );
    let problem = host.core.virtual_mac_problem(ROUTER).unwrap();
    assert!(problem.contains("eth0 is captured by native XDP"), "{problem}");
    assert!(problem.contains("tc is refused"), "{problem}");
}

#[test]
fn scripts_are_told_when_the_address_is_there() {
    let mut host = Host::started(&toml(""));
    let told = |host: &Host| {
        let told = host.done.iter().filter_map(|effect| match effect {
            Effect::Notify(event) => Some(event.kind),
            _ => None,
        });
        let master = notification::Notified::Master;
        told.filter(
            |what| matches!(what, notification::NotificationKind::State { state, .. } if *state == master),
        )
        .count()
    };
    host.pass(5000);
    assert_eq!((host.state(), told(&host)), (Some(State::Master), 0));
    host.answer(&Ok(()));
    assert_eq!(told(&host), 1);
}

#[test]
fn a_request_that_fails_is_made_again() {
    let mut host = Host::started(&toml(""));
    host.pass(5000);
    host.answer(&Err(refused()));
    assert_eq!(host.counted(Counter::AddressAddFailed), 1);
    assert!(!host.has_vip() && host.asked().is_empty());
    host.pass(5000);
    assert_eq!(host.asked(), vip_asked(Request::Add));
    host.answer(&Ok(()));
    assert!(host.has_vip());
}

#[test]
fn an_answer_that_comes_late_finds_what_is_wanted_then() {
    let mut host = Host::started(&toml(""));
    host.pass(5000);
    assert_eq!(host.asked(), vip_asked(Request::Add));
    host.hear(200);
    assert_eq!(host.state(), Some(State::Backup));
    // The last word wins, once it is known what came of the first one.
    assert_eq!(host.asked(), vip_asked(Request::Add));
    let Some(Ask { request, subject, .. }) = host.asks.pop_front() else { panic!() };
    host.input(Input::Answered(vec![Answer { request, subject, result: Ok(()), ours: false }]));
    assert_eq!(host.asked(), vip_asked(Request::Remove));
    host.answer(&Ok(()));
    assert!(!host.has_vip());
}

#[test]
fn a_link_that_goes_down_takes_the_master_with_it() {
    let mut host = Host::master();
    host.input(Input::Changed(vec![Event::Link(link(false))]));
    assert_eq!(host.state(), Some(State::Fault));
    assert_eq!(host.asked(), vip_asked(Request::Remove));
    host.answer(&Ok(()));
    assert!(!host.has_vip());
    host.input(Input::Changed(vec![Event::Link(link(true))]));
    assert_eq!(host.state(), Some(State::Backup));
}

#[test]
fn an_interface_that_goes_and_comes_is_captured_anew() {
    let mut host = Host::master();
    host.input(Input::Changed(vec![Event::LinkRemoved(ETH0)]));
    assert_eq!(host.state(), Some(State::Fault));
    host.there.clear();
    host.answer(&Ok(()));
    host.input(Input::Changed(vec![Event::Link(link(true))]));
    host.input(Input::Changed(vec![Event::Address(address("10.0.0.1", false))]));
    assert_eq!((host.state(), host.ways.len()), (Some(State::Backup), 2));
    host.pass(5000);
    host.answer(&Ok(()));
    assert!(host.state() == Some(State::Master) && host.has_vip());
}

#[test]
fn nothing_is_decided_before_an_interface_has_said_how_it_captures() {
    let mut host = Host::new(&toml(""));
    let addresses = vec![address("10.0.0.1", false)];
    host.core.handle(host.now, Input::Listed { links: vec![link(true)], addresses });
    assert_eq!(host.state(), Some(State::Init));
    // Too few descriptors, and no others that could be given up.
    host.failures.push_back(Failure::Descriptors("no".to_owned()));
    host.perform();
    assert_eq!(host.state(), Some(State::Fault));
    host.pass(6000);
    assert_eq!(host.state(), Some(State::Backup), "it is tried again");
}

#[test]
fn the_next_way_is_tried_and_what_counts_gives_way() {
    let mode = |mode| AttachMethod::Mode(mode);
    let mut host = Host::new(&toml(""));
    host.failures.push_back(Failure::Displaced("taken".to_owned()));
    host.listed(&[]);
    let tried = [mode(CaptureMode::Native), mode(CaptureMode::Tc)];
    assert_eq!((host.state(), host.ways.as_slice()), (Some(State::Backup), &tried[..]));
    // XDP is free again: what is better is tried, and what there is stays where that fails.
    host.failures.push_back(Failure::Refused("no".to_owned()));
    host.input(Input::Changed(vec![Event::Link(Link { xdp: false, ..link(true) })]));
    assert_eq!((host.state(), host.ways.len()), (Some(State::Backup), 3));
    assert!(!host.done.contains(&Effect::Detach { interface: ETH0 }));
    // A VLAN device comes above: tc is what there is already. With it goes its link back to how it was.
    let vlan = InterfaceId::own(3);
    let above = Link { iface: vlan, name: "eth0.7".to_owned(), vlan_of: Some(ETH0), ..link(true) };
    host.input(Input::Changed(vec![Event::Link(above)]));
    assert_eq!(host.ways.len(), 3);
    host.failures.push_back(Failure::Descriptors("short".to_owned()));
    host.input(Input::Changed(vec![Event::LinkRemoved(vlan)]));
    assert_eq!(host.ways[3..], [mode(CaptureMode::Native); 2]);
    let released = Effect::ReleaseEgress { why: "short".to_owned() };
    assert_eq!(host.done.iter().filter(|effect| **effect == released).count(), 1);
}

#[test]
fn what_cannot_be_put_back_is_attached_anew() {
    let mut host = Host::started(&toml(""));
    let taken = |host: &mut Host, serial| {
        let hook = Hook { iface: ETH0, at: HookPoint::Xdp, program: 1, serial };
        let report = HookReport { hook, state: HookState::Lost(None), occupant: None };
        host.input(Input::HooksSeen(vec![report]));
    };
    host.failures.push_back(Failure::Refused("it is closed".to_owned()));
    taken(&mut host, 1);
    let [native, tc] = [CaptureMode::Native, CaptureMode::Tc].map(AttachMethod::Mode);
    assert_eq!(host.ways, [native, AttachMethod::Restore, native]);
    assert_eq!(host.state(), Some(State::Backup));
    // An answer about what was there before is worth nothing.
    taken(&mut host, 1);
    assert_eq!(host.ways.len(), 3);
    host.failures.extend(["closed", "no"].map(|why| Failure::Refused(why.to_owned())));
    taken(&mut host, 2);
    assert_eq!(host.ways[3..], [AttachMethod::Restore, native, tc]);
}

#[test]
fn what_is_asked_meanwhile_waits_for_the_answer() {
    let mut host = Host::new(&toml(""));
    let addresses = vec![address("10.0.0.1", false)];
    host.core.handle(host.now, Input::Listed { links: vec![link(true)], addresses });
    let Some(Effect::Attach { number, .. }) = attach_of(&mut host) else { panic!("no question") };
    // A VLAN device above changes the plan, and there is one question at a time.
    let above = Link {
        iface: InterfaceId::own(3),
        name: "eth0.7".to_owned(),
        vlan_of: Some(ETH0),
        ..link(true)
    };
    host.core.handle(host.now, Input::Changed(vec![Event::Link(above)]));
    assert_eq!(attach_of(&mut host), None);
    let result = Err(Failure::Refused("no".to_owned()));
    host.core.handle(host.now, Input::Attached { interface: ETH0, number, result });
    host.perform();
    assert_eq!(host.ways.last(), Some(&AttachMethod::Mode(CaptureMode::Tc)));
    assert_eq!(host.state(), Some(State::Backup));
}

/// The next question for programs, if there is one. What else is to be done is not.
fn attach_of(host: &mut Host) -> Option<Effect> {
    std::iter::from_fn(|| host.core.poll_effect())
        .find(|effect| matches!(effect, Effect::Attach { .. }))
}

#[test]
fn a_master_that_is_heard_keeps_a_backup_quiet() {
    let mut host = Host::started(&toml(""));
    host.hear(200);
    assert!(host.done.contains(&Effect::Acknowledge { router: ROUTER, digest: 99 }));
    for _ in 0..20 {
        // The kernel side hears it, and says so when it is asked.
        host.now += MS.times(1000);
        let seen = MasterSeen { at_ns: host.now.0, unreported: None };
        host.input(Input::LastSeen { router: ROUTER, seen });
        host.pass(0);
    }
    assert_eq!((host.state(), host.adverts.len()), (Some(State::Backup), 0));
    // Somebody else's silence, of long ago, is none.
    let seen = MasterSeen { at_ns: 1, unreported: None };
    host.input(Input::LastSeen { router: ROUTER, seen });
    host.pass(5000);
    assert_eq!(host.state(), Some(State::Master));
}

#[test]
fn the_service_manager_is_told_as_long_as_there_is_a_loop() {
    let told = |host: &Host, what: fn(&ManagerMessage) -> bool| {
        let told = |effect: &&Effect| matches!(effect, Effect::NotifyManager(told) if what(told));
        host.done.iter().filter(told).count()
    };
    let mut host = Host::new(&toml(""));
    // Nothing is listed, and nothing can begin: but the loop turns.
    host.pass(60_000);
    assert!(host.core.is_starting());
    assert_eq!(told(&host, |told| *told == ManagerMessage::Watchdog), 2);
    host.listed(&[]);
    assert_eq!(told(&host, |told| matches!(told, ManagerMessage::Ready(_))), 1);
    host.pass(60_000);
    assert_eq!(told(&host, |told| *told == ManagerMessage::Watchdog), 4);
    assert_eq!(
        told(&host, |told| matches!(told, ManagerMessage::Status(counts) if counts.master == 1)),
        1
    );
    host.input(Input::Stop);
    assert_eq!(told(&host, |told| *told == ManagerMessage::Stopping), 1);
}

#[test]
fn an_owner_whose_interface_loses_the_address_adds_it() {
    let mut host = Host::new(&toml("priority = 255"));
    host.listed(&[address(VIP, false)]);
    assert_eq!((host.state(), host.asked()), (Some(State::Master), vec![]), "it is there");
    host.input(Input::Changed(vec![Event::AddressRemoved(address(VIP, false))]));
    assert_eq!(host.asked(), vip_asked(Request::Add));
    host.answer(&Ok(()));
    assert!(host.has_vip() && host.asked().is_empty());
}

#[test]
fn who_becomes_owner_of_an_address_that_was_there_adds_it_when_it_is_gone() {
    let mut host = Host::started(&toml(""));
    host.input(Input::Changed(vec![Event::Address(address(VIP, false))]));
    host.pass(5000);
    let exists = RequestError::new(Some(libc::EEXIST), "exists");
    host.answer(&Err(exists));
    reload(&mut host, &toml("priority = 255"));
    assert_eq!((host.state(), host.asked()), (Some(State::Master), vec![]));
    host.input(Input::Changed(vec![Event::AddressRemoved(address(VIP, false))]));
    assert_eq!(host.asked(), vip_asked(Request::Add));
}

#[test]
fn an_owner_adds_addresses_when_it_has_begun() {
    let mut host = Host::new(&toml(
        "priority = 255\nexcluded = [{ address = \"10.9.0.1/32\", dev = \"eth1\" }]",
    ));
    let eth1 = Link { iface: InterfaceId::own(3), name: "eth1".to_owned(), ..link(true) };
    let links = vec![link(true), eth1];
    host.input(Input::Listed { links, addresses: vec![address("10.0.0.1", false)] });
    host.answer(&Ok(()));
    assert_eq!((host.there.len(), host.counted(Counter::UnexpectedAnswer)), (2, 0));
}

#[test]
fn a_silence_is_not_believed_where_the_program_is_gone() {
    let mut host = Host::started(&toml(""));
    host.hear(200);
    let hook = Hook { iface: ETH0, at: HookPoint::Xdp, program: 1, serial: 1 };
    host.pass(2000);
    let report = HookReport { hook, state: HookState::Lost(None), occupant: None };
    host.input(Input::HooksSeen(vec![report]));
    assert_eq!((host.counted(Counter::CaptureLost), host.ways.len()), (1, 2));
    // It has been deaf, nobody knows for how long: it begins to wait anew.
    host.pass(3000);
    assert_eq!(host.state(), Some(State::Backup));
    host.pass(2000);
    assert_eq!(host.state(), Some(State::Master));
}

#[test]
fn who_goes_on_stopping_the_ring_buffer_keeps_nobody_from_taking_over() {
    let mut host = Host::started(&toml(""));
    host.hear(200);
    let way = |mode| AttachMethod::Mode(mode);
    let moved = |host: &mut Host| {
        host.input(Input::RingMended);
        host.pass(2000);
    };
    for _ in 0..5 {
        moved(&mut host);
    }
    assert_eq!((host.state(), host.ways.len()), (Some(State::Backup), 1), "it may have been deaf");
    moved(&mut host);
    assert_eq!(host.ways[1..], [way(CaptureMode::Raw)], "it is heard in another way");
    moved(&mut host);
    assert_eq!((host.state(), host.counted(Counter::CaptureLost)), (Some(State::Master), 7));
    host.pass(890_000);
    assert_eq!(host.ways.len(), 2, "there were fewer than 15 minutes without");
    host.pass(20_000);
    assert_eq!(host.ways[2..], [way(CaptureMode::Native)]);
}

#[test]
fn who_goes_on_detaching_keeps_nobody_from_taking_over() {
    let mut host = Host::started(&toml(""));
    host.hear(200);
    let take = |host: &mut Host| {
        let serial = host.serial;
        let hook = Hook { iface: ETH0, at: HookPoint::Xdp, program: 1, serial };
        let report = HookReport { hook, state: HookState::Lost(None), occupant: None };
        host.input(Input::HooksSeen(vec![report]));
        host.pass(2000);
    };
    let mode = AttachMethod::Mode;
    for _ in 0..5 {
        take(&mut host);
    }
    assert_eq!((host.state(), host.ways.len()), (Some(State::Backup), 6), "it may have been deaf");
    assert!(host.ways[1..].iter().all(|way| *way == AttachMethod::Restore));
    for (number, next) in
        [CaptureMode::Tc, CaptureMode::Generic, CaptureMode::Raw].iter().enumerate()
    {
        take(&mut host);
        assert_eq!(
            (host.state(), host.ways[6 + number..].to_vec()),
            (Some(State::Backup), vec![mode(*next)])
        );
    }
    // There is nothing more to take.
    host.pass(2000);
    assert_eq!((host.state(), host.counted(Counter::CaptureLost)), (Some(State::Master), 8));
    host.pass(890_000);
    assert_eq!(host.ways.len(), 9, "there were fewer than 15 minutes without");
    host.pass(20_000);
    assert_eq!(host.ways[9..], [mode(CaptureMode::Native)]);
}

#[test]
fn the_kernel_is_asked_before_a_silence_is_long_enough() {
    let mut host = Host::started(&toml(""));
    host.hear(200);
    let looks = |host: &Host| {
        let asks = |effect: &&Effect| matches!(effect, Effect::Look(look) if look.answer);
        host.done.iter().filter(asks).count()
    };
    // 3 x 1 s + 156 / 256 s, which is 3.609 s.
    host.pass(3604);
    assert_eq!((host.state(), looks(&host)), (Some(State::Backup), 0));
    host.pass(4);
    assert_eq!((host.state(), looks(&host)), (Some(State::Backup), 1));
    host.pass(2);
    assert_eq!((host.state(), looks(&host)), (Some(State::Master), 1), "nothing was left to ask");
}

#[test]
fn what_a_killed_daemon_left_is_kept_for_its_router_and_removed_otherwise() {
    let mut host = Host::new(&toml(""));
    let other = AssignedAddress { prefix: 32, ..address(VIP, true) };
    host.listed(&[other]);
    assert!(host.core.is_starting(), "it is there in another way than it should be");
    assert_eq!(host.asked(), [(Request::Remove, Subject::Address(other))]);
    host.answer(&Ok(()));
    assert!(!host.core.is_starting());

    let mut host = Host::new(&toml(""));
    host.listed(&[address(VIP, true)]);
    assert!(!host.core.is_starting() && host.asked().is_empty());
    host.hear(200);
    assert_eq!(host.asked(), vip_asked(Request::Remove), "another host has it");
}

#[test]
fn what_a_killed_daemon_left_of_a_group_is_removed_when_a_member_hears_a_master() {
    let other = "10.0.0.200";
    let mut host = Host::new(&toml(&format!(
        "promote_secondaries = false\ngroup = \"G\"\n[[group]]\nname = \"G\"\n[[router]]\nname = \"B\"\ninterface = \"eth0\"\n\
         vrid = 52\nversion = 3\ngroup = \"G\"\naddresses = [\"{other}/24\"]"
    )));
    host.listed(&[address(VIP, true), address(other, true)]);
    assert_eq!(host.asked(), vec![]);
    host.hear(200);
    let both = [VIP, other].map(|at| (Request::Remove, Subject::Address(address(at, true))));
    assert_eq!(host.asked(), both);
}

#[test]
fn what_a_killed_daemon_left_is_removed_at_last_if_that_is_refused_at_first() {
    let mut host = Host::new(&toml(""));
    host.listed(&[address(VIP, true)]);
    host.hear(200);
    assert_eq!(host.asked(), vip_asked(Request::Remove));
    host.answer(&Err(refused()));
    assert_eq!((host.counted(Counter::AddressRemoveFailed), host.asked()), (1, vec![]));
    for _ in 0..5 {
        host.hear(200);
        host.pass(1000);
    }
    assert_eq!(host.asked(), vip_asked(Request::Remove));
    host.answer(&Ok(()));
    host.pass(1000);
    assert_eq!(host.asked(), []);
}

#[test]
fn an_address_whose_answer_was_lost_is_removed_when_nobody_wants_it() {
    let mut host = Host::started(&toml(""));
    host.pass(5000);
    assert_eq!(host.asked(), vip_asked(Request::Add));
    host.hear(200);
    host.answer(&Err(RequestError::new(None, "no answer")));
    assert_eq!((host.state(), host.asked()), (Some(State::Backup), vec![]));
    for _ in 0..6 {
        host.hear(200);
        host.pass(1000);
    }
    assert_eq!(host.asked(), vip_asked(Request::Remove));
}

#[test]
fn an_address_that_was_put_back_is_removed_and_may_be_claimed_until_then() {
    for listed in [false, true] {
        let mut host = Host::master();
        let (gone, back) = (address(VIP, true), address(VIP, true));
        host.input(Input::Changed(vec![Event::Address(back)]));
        // Somebody takes it away, and puts it back.
        host.input(Input::Changed(vec![Event::AddressRemoved(gone)]));
        assert_eq!(host.state(), Some(State::Backup));
        assert_eq!(host.asked(), []);
        host.done.clear();
        if listed {
            host.listed(&[back]);
        } else {
            host.input(Input::Changed(vec![Event::Address(back)]));
        }
        assert_eq!(host.asked(), vip_asked(Request::Remove), "listed: {listed}");
        let found = |effect: &Effect| {
            matches!(effect, Effect::Lease { change: LeaseChange::Found { .. }, .. })
        };
        assert!(host.done.iter().any(found), "{:?}", host.done);
        // Once.
        host.input(Input::Changed(vec![Event::Address(back)]));
        assert_eq!(host.asked(), vip_asked(Request::Remove));
        host.answer(&Ok(()));
        assert!(!host.has_vip());
    }
}

#[test]
fn stopping_tries_again_what_was_refused() {
    let mut host = Host::master();
    host.input(Input::Stop);
    host.answer(&Err(refused()));
    assert!(!host.core.is_stopped() && host.has_vip());
    host.pass(500);
    assert_eq!(host.asked(), vip_asked(Request::Remove));
    host.answer(&Ok(()));
    assert!(host.core.is_stopped() && !host.has_vip());
}

#[test]
fn an_address_of_others_that_is_gone_again_is_added() {
    let mut host = Host::started(&toml(""));
    host.input(Input::Changed(vec![Event::Address(address(VIP, false))]));
    host.pass(5000);
    // It is there already, says the answer; but what is reported has overtaken it.
    host.input(Input::Changed(vec![Event::AddressRemoved(address(VIP, false))]));
    host.answer(&Err(RequestError::new(Some(libc::EEXIST), "it exists")));
    assert_eq!((host.state(), host.asked()), (Some(State::Master), vec![]));
    host.pass(5000);
    assert_eq!(host.asked(), vip_asked(Request::Add));
}

/// Reloads, and says what came of it.
fn reload(host: &mut Host, text: &str) -> crate::api::Reloaded {
    reload_answered(host, text, &Ok(()))
}

/// The same while the kernel answers every request like this.
fn reload_answered(
    host: &mut Host,
    text: &str,
    answer: &Result<(), RequestError>,
) -> crate::api::Reloaded {
    host.input(Input::Reload { check: false, client: Some(5) });
    let number = host.done.iter().rev().find_map(|effect| match effect {
        Effect::ReadConfiguration { number, .. } => Some(*number),
        _ => None,
    });
    let read = match config::load_toml(text) {
        Ok(config) => Ok(Prepared::new(config, Vec::new())),
        Err(errors) => {
            let because = |error: &_| ErrorKind::ConfigInvalid.because(format!("{error}"));
            let errors = errors.iter().map(because).collect();
            Err(Refusal { errors, ..Refusal::default() })
        }
    };
    let number = number.unwrap();
    host.input(Input::ConfigurationRead { number, read: Box::new(read) });
    for _ in 0..100 {
        host.answer(answer);
        host.pass(1);
    }
    let ended = host.done.iter().rev().find_map(|effect| match effect {
        Effect::ReloadEnded { client: Some(5), report } => Some((**report).clone()),
        _ => None,
    });
    ended.unwrap()
}

#[test]
fn a_reload_adds_and_removes_routers_and_leaves_the_others_alone() {
    let mut host = Host::master();
    let second = "[[router]]\nname = \"B\"\ninterface = \"eth0\"\nvrid = 52\nversion = 3\n\
                  addresses = [\"10.0.0.200/24\"]\n";
    let report = reload(&mut host, &(toml("") + second));
    assert!(report.applied, "{report:?}");
    assert_eq!((report.added.len(), report.unchanged, host.core.ids().count()), (1, 1, 2));
    assert!(host.state() == Some(State::Master) && host.has_vip());
    host.pass(5000);
    host.answer(&Ok(()));
    assert_eq!((host.core.state(RouterId(1)), host.there.len()), (Some(State::Master), 2));

    let report = reload(&mut host, second);
    assert!(report.applied && report.removed.len() == 1, "{report:?}");
    assert_eq!(host.adverts.iter().filter(|priority| **priority == 0).count(), 1);
    assert!(!host.has_vip() && host.there.len() == 1);

    let report = reload(&mut host, "nonsense");
    assert!(!report.applied && !report.errors.is_empty());
    assert_eq!(report.error_causes, vec!["config-invalid"; report.errors.len()]);
    assert_eq!(host.counted(Counter::ReloadRefused), 1);
    assert_eq!(host.core.state(RouterId(1)), Some(State::Master));
}

#[test]
fn an_address_that_the_kernel_does_not_remove_stays_fenced_without_its_router() {
    let mut host = Host::master();
    let other = "[[router]]\nname = \"B\"\ninterface = \"eth0\"\nvrid = 52\nversion = 3\n\
                 addresses = [\"10.0.0.200/24\"]\n";
    host.done.clear();
    let report = reload_answered(&mut host, other, &Err(refused()));
    assert!(report.applied && report.removed.len() == 1 && host.has_vip(), "{report:?}");
    let leases = |host: &Host, id: u32| -> Vec<LeaseChange> {
        let change = |effect: &Effect| match effect {
            Effect::Lease { router: RouterId(of), change } if *of == id => Some(*change),
            _ => None,
        };
        host.done.iter().filter_map(change).collect()
    };
    assert_eq!(leases(&host, 0), [LeaseChange::End]);
    assert!(host.done.contains(&Effect::ClearRouter(RouterId(0))), "{:?}", host.done);
    // The removal is tried again, and the number is another router's only then.
    host.pass(5000);
    host.answer(&Ok(()));
    assert!(!host.has_vip());
    host.done.clear();
    assert!(reload(&mut host, &(toml("") + other)).applied);
    assert_eq!(leases(&host, 0).first(), Some(&LeaseChange::Drop));
}

#[test]
fn a_master_that_stops_resigns_and_takes_its_address_away() {
    let mut host = Host::master();
    host.input(Input::Stop);
    assert_eq!(host.adverts.last(), Some(&0));
    assert_eq!(host.asked(), vip_asked(Request::Remove));
    assert!(!host.core.is_stopped());
    host.answer(&Ok(()));
    assert!(host.core.is_stopped() && !host.has_vip());
    assert_eq!(host.done.last(), Some(&Effect::Stopped));
}

#[test]
fn stopping_ends_also_where_nothing_is_answered() {
    let mut host = Host::master();
    host.input(Input::Stop);
    host.pass(4999);
    assert!(!host.core.is_stopped());
    host.pass(1);
    assert!(host.core.is_stopped());
    assert_eq!(host.core.poll_timeout(), None);
}

/// Lets time pass in which the kernel refuses every frame; how many.
fn pass_refusing(host: &mut Host, steps: usize, ms: u64) -> usize {
    let mut failures = 0;
    for _ in 0..steps {
        host.now += MS.times(ms);
        host.core.handle(host.now, Input::Timeout);
        while host.core.advance(host.now) == Progress::Frames {
            let all = 0..host.core.frames().len();
            let refused: Vec<_> = all.map(|place| (place, Errno(libc::ENOBUFS))).collect();
            failures += refused.len();
            host.core.sent(host.now, &refused);
        }
        host.perform();
    }
    failures
}

#[test]
fn frames_that_do_not_leave_are_a_fault_of_their_router() {
    let mut host = Host::master();
    let failures = pass_refusing(&mut host, 10, 1000);
    assert!(failures >= 3 && host.counted(Counter::SendFailed) == failures);
    assert_eq!(host.state(), Some(State::Fault));
}

#[test]
fn who_is_fenced_because_nothing_leaves_is_in_fault_at_once() {
    for (refused, then) in [(2, State::Backup), (3, State::Fault)] {
        let mut host = Host::started(&toml("interval = \"10ms\""));
        host.pass(500);
        host.answer(&Ok(()));
        assert_eq!(host.state(), Some(State::Master));
        assert_eq!(pass_refusing(&mut host, refused, 10), refused);
        assert_eq!(host.state(), Some(State::Master));
        host.input(Input::Fenced { router: ROUTER });
        assert_eq!(host.state(), Some(then), "{refused}");
    }
}

/// What is handed in without a reason is counted under that name, and nothing else comes of it.
fn changes_nothing(counter: Counter, input: Input<'_>) {
    let mut host = Host::master();
    let (done, adverts) = (host.done.len(), host.adverts.len());
    let before = host.counted(counter);
    let named = format!("{input:?}");
    host.input(input);
    assert_eq!(host.counted(counter), before + 1, "{named}");
    assert_eq!(host.done.len(), done + 1, "{named}: {:?}", host.done.split_off(done));
    assert_eq!(
        (host.state(), host.asked(), host.adverts.len()),
        (Some(State::Master), vec![], adverts),
        "{named}"
    );
}

#[test]
fn answers_to_nothing_are_counted() {
    let subject = Subject::Address(address(VIP, true));
    for request in [Request::Add, Request::Remove] {
        for subject in [subject, Subject::Object(7), Subject::Refused(NamespaceId::OWN)] {
            let answer = Answer { request, subject, result: Ok(()), ours: false };
            changes_nothing(Counter::UnexpectedAnswer, Input::Answered(vec![answer]));
        }
    }
    let result = Err(Failure::Refused("never".to_owned()));
    let attached = Input::Attached { interface: ETH0, number: 9, result };
    changes_nothing(Counter::UnexpectedAnswer, attached);
    changes_nothing(Counter::UnexpectedAnswer, Input::LastSeenEnd { lost: 0 });
    changes_nothing(Counter::UnexpectedAnswer, Input::FilterSet { router: RouterId(9) });
    changes_nothing(Counter::UnexpectedAnswer, Input::Forwards { interface: ETH0, on: true });
    changes_nothing(Counter::UnexpectedAnswer, Input::TestSent { router: ROUTER, error: None });
    let seen = MasterSeen { at_ns: 1, unreported: None };
    changes_nothing(Counter::UnexpectedAnswer, Input::LastSeen { router: RouterId(9), seen });
    let object = ObjectId(u32::MAX);
    let health = Input::Health { object, health: Health::Down };
    changes_nothing(Counter::UnexpectedAnswer, health);
    let bad = Input::BadTrackFile { object, why: "never".to_owned() };
    changes_nothing(Counter::UnexpectedAnswer, bad);
    changes_nothing(Counter::UnexpectedAnswer, Input::NotServed);
    for watch in [0, 1, 2] {
        changes_nothing(Counter::UnexpectedAnswer, Input::TrackedOnce { watch });
    }
    let found = Found { script: "never".into(), health: Health::Down, end: None };
    changes_nothing(Counter::UnexpectedAnswer, Input::ScriptFound(found));
}

#[test]
fn an_answer_about_a_watch_that_was_replaced_is_none_to_another_one() {
    let with_file = |path| toml("") + &format!("[[file]]\nname = \"f\"\npath = \"{path}\"\n");
    let mut host = Host::started(&toml(""));
    reload(&mut host, &with_file("/x"));
    reload(&mut host, &with_file("/y"));
    let before = host.counted(Counter::UnexpectedAnswer);
    for (watch, counted) in [(2, 0), (3, 0), (3, 1), (4, 2)] {
        host.input(Input::TrackedOnce { watch });
        assert_eq!(host.counted(Counter::UnexpectedAnswer) - before, counted, "{watch}");
    }
}

#[test]
fn an_order_past_its_time_is_not_carried_out() {
    let mut host = Host::master();
    let (now, name) = (host.now, "A");
    assert_eq!(host.core.order(now, now - Nanos(1), name, Order::StepDown), None);
    assert!(host.core.order(now, now, name, Order::StepDown).is_some_and(|done| done.is_ok()));
}

#[test]
fn pins_are_mended_when_that_was_asked_for_and_once() {
    let mut host = Host::master();
    let lost = || Input::PinsLost("gone".to_owned());
    host.pass(1000);
    assert!(host.done.contains(&Effect::MendPins));
    host.input(lost());
    assert_eq!(host.counted(Counter::PinsLost), 1);
    host.input(lost());
    host.input(Input::PinsMended { dir: "/x".into(), count: 1 });
    let counted =
        [Counter::PinsLost, Counter::UnexpectedAnswer].map(|counter| host.counted(counter));
    assert_eq!(counted, [1, 2]);
}

/// The report that somebody else claims an address, which the kernel side takes for one of the router's.
fn claim_to(host: &Host, last: u8) -> RxEvent {
    let mut source = [0; 16];
    source[..4].copy_from_slice(&[10, 0, 0, last]);
    RxEvent {
        ktime_ns: host.now.0,
        ifindex: ETH0.ifindex,
        reason: Reason::ArpConflict.index(),
        slot: ROUTER.0,
        source,
        family: vrrp_common::FAMILY_V4,
        ..RxEvent::default()
    }
}

#[test]
fn a_claim_is_to_an_address_of_the_router_that_it_names() {
    let mut host = Host::master();
    host.pass(5000);
    let claim = |host: &mut Host, last: u8| {
        let event = claim_to(host, last);
        let payload = &[2, 0, 0, 0, 0, 9, 0, 0];
        host.input(Input::Received { interface: ETH0, event, payload });
    };
    let last = host.core.last_event();
    claim(&mut host, 101);
    assert_eq!(host.core.last_event(), last, "another router's");
    claim(&mut host, 100);
    assert!(host.core.last_event() > last);
}

/// The programs for what leaves that were attached so far.
fn egress_attached(host: &Host) -> usize {
    let mends = |effect: &&Effect| matches!(effect, Effect::MendEgress { attach: true, .. });
    host.done.iter().filter(mends).count()
}

#[test]
fn programs_for_what_leaves_come_later_and_once() {
    let mut host = Host::started(&toml(""));
    host.pass(100);
    assert_eq!(egress_attached(&host), 1);
    let on = |host: &Host| host.core.interfaces.get(ETH0).unwrap().hooks.egress.is_some();
    assert!(on(&host));
    host.pass(60_000);
    assert_eq!(egress_attached(&host), 1);
    // There is one already where the ingress comes along.
    host.core.interfaces.get_mut(ETH0).unwrap().planned = None;
    host.core.attach(ETH0);
    host.go_on();
    host.pass(100);
    assert_eq!(egress_attached(&host), 1 + usize::from(!on(&host)));
}

#[test]
fn programs_for_what_leaves_wait_for_addresses_but_not_for_ever() {
    let owner = toml("priority = 255");
    let mut host = Host::started(&owner);
    host.pass(1000);
    assert_eq!((host.state(), egress_attached(&host)), (Some(State::Master), 0));
    assert!(!host.adverts.is_empty(), "it advertises first");
    // That is no reason to complain.
    assert_eq!(host.core.fence_problem(ROUTER), None);
    host.answer(&Ok(()));
    host.pass(10);
    assert_eq!(egress_attached(&host), 1);
    // However long the start has taken, not before the first advertisement.
    let mut host = Host::new(&owner);
    host.now += Nanos::from_secs(10);
    host.listed(&[]);
    assert_eq!((host.adverts.len(), egress_attached(&host)), (1, 0));
    // Nobody answers.
    let mut host = Host::started(&owner);
    host.pass(3000);
    assert_eq!(egress_attached(&host), 1);
}

#[test]
fn programs_for_what_leaves_are_given_up_where_descriptors_are_short() {
    let mut host = Host::new(&toml("priority = 255"));
    host.short = true;
    host.listed(&[]);
    host.pass(5000);
    let released = |effect: &&Effect| matches!(effect, Effect::ReleaseEgress { .. });
    assert_eq!(host.done.iter().filter(released).count(), 1);
    assert!(!host.core.interfaces.get(ETH0).unwrap().mends_egress);
    host.short = false;
    host.pass(60_000);
    assert_eq!(egress_attached(&host), 1, "no further attempt");
}

#[test]
fn no_program_for_what_leaves_comes_to_an_interface_that_is_left() {
    let mut host = Host::new(&toml("priority = 255"));
    host.listed(&[]);
    host.core.interfaces.get_mut(ETH0).unwrap().detached();
    host.pass(5000);
    assert_eq!(egress_attached(&host), 0);
    assert!(!host.core.interfaces.get(ETH0).unwrap().mends_egress);
}

#[test]
fn events_of_interfaces_that_are_not_there_are_counted() {
    const NONE: InterfaceId = InterfaceId::own(99);
    let nowhere = AssignedAddress {
        at: InterfaceAddr { iface: NONE, ..address(VIP, true).at },
        ..address(VIP, true)
    };
    changes_nothing(Counter::UnknownInterface, Input::Changed(vec![Event::LinkRemoved(NONE)]));
    changes_nothing(Counter::UnknownInterface, Input::Changed(vec![Event::Address(nowhere)]));
    changes_nothing(
        Counter::UnknownInterface,
        Input::Changed(vec![Event::AddressRemoved(nowhere)]),
    );
    let result = Err(Failure::Refused("never".to_owned()));
    let attached = Input::Attached { interface: NONE, number: 1, result };
    changes_nothing(Counter::UnknownInterface, attached);
    let mended = |interface| Input::EgressMended { interface, result: Ok(None) };
    changes_nothing(Counter::UnknownInterface, mended(NONE));
    changes_nothing(Counter::UnexpectedAnswer, mended(ETH0));
    let hook = Hook { iface: NONE, at: HookPoint::Xdp, program: 1, serial: 1 };
    let report = HookReport { hook, state: HookState::Lost(None), occupant: None };
    changes_nothing(Counter::UnknownInterface, Input::HooksSeen(vec![report]));
    let event = RxEvent {
        reason: Reason::Accepted.index(),
        slot: 99,
        ktime_ns: u64::MAX,
        ..RxEvent::default()
    };
    changes_nothing(Counter::BadEvent, Input::Received { interface: ETH0, event, payload: &[] });
    // An entry of the map of another layout would be one of these.
    for reason in [u32::try_from(Reason::COUNT).unwrap(), u32::MAX] {
        let event = RxEvent { reason, ..RxEvent::default() };
        let received = Input::Received { interface: ETH0, event, payload: &[] };
        changes_nothing(Counter::BadEvent, received);
    }
    changes_nothing(Counter::BadEvent, Input::Damaged { length: 3 });
    let event = RxEvent { reason: Reason::ArpConflict.index(), ..RxEvent::default() };
    let received = Input::Received { interface: ETH0, event, payload: &[1, 2] };
    changes_nothing(Counter::BadEvent, received);
}

#[test]
fn a_reading_that_nobody_waits_for_changes_nothing() {
    let mut host = Host::master();
    let config = config::load_toml(&toml("priority = 7")).unwrap();
    let read = Box::new(Ok(Prepared::new(config, Vec::new())));
    host.input(Input::ConfigurationRead { number: 5, read });
    assert_eq!(host.counted(Counter::UnexpectedAnswer), 1);
    assert_eq!(host.done.last(), Some(&Effect::Discard));
    assert_eq!(host.state(), Some(State::Master));
}

#[test]
fn thousands_that_take_over_are_not_all_asked_about_each_time() {
    const ROUTERS: u8 = 200;
    let router = |vrid| {
        format!(
            "[[router]]\nname = \"R{vrid}\"\ninterface = \"eth0\"\nvrid = {vrid}\nversion = 3\n\
             addresses = [\"10.0.0.100/24\"]\n"
        )
    };
    let mut host = Host::started(&(1..=ROUTERS).map(router).collect::<String>());
    let first = host.now;
    for vrid in 1..=ROUTERS {
        host.now = first + Nanos(100_000).times(u64::from(vrid));
        host.hear_of(RouterId(u32::from(vrid) - 1), vrid, 200);
    }
    host.done.clear();
    host.pass(5000);
    let masters =
        (0..ROUTERS.into()).filter(|id| host.core.state(RouterId(*id)) == Some(State::Master));
    assert_eq!(masters.count(), usize::from(ROUTERS));
    let asked = host.done.iter().filter_map(|effect| match effect {
        Effect::QueryLastSeen(routers) => Some(routers.len()),
        _ => None,
    });
    let (times, asked) = asked.fold((0, 0), |(times, all), asked| (times + 1, all + asked));
    assert!(times >= usize::from(ROUTERS), "they take over one after the other: {times}");
    assert!(asked <= 12 * usize::from(ROUTERS), "{asked} in {times}");
    let looks = host.done.iter().filter(|effect| matches!(effect, Effect::Look(_))).count();
    assert!(looks <= 4, "{looks}");
}

/// A daemon that was killed 300 ms after its router, a master of priority 110, had advertised at intervals of a second.
fn killed_master() -> Predecessor {
    let (now, boot) = (Nanos::from_secs(100), Nanos::from_secs(700));
    let mut info = RouterInfo {
        state: vrrp_common::maps::state::MASTER,
        vrid: 51,
        priority: 110,
        version: 3,
        family: vrrp_common::FAMILY_V4,
        adverts_sent: 40,
        became_master: 2,
        since_ns: 5,
        ..RouterInfo::default()
    };
    info.set_name("A");
    info.set_interface("eth0");
    let terms = Terms::new(FenceMode::Claim, 1_000_000_000, 3).pack();
    let renewed = (boot - MS.times(300)).0;
    let lease = Lease { term: 1, renewed, terms, ..Lease::default() };
    let router = PinnedRouter { number: RouterId(2), info, lease, same_interface: true };
    Predecessor { pid: 9, started: Nanos(1), routers: vec![router], read_at: now, boot }
}

/// A script that is not known yet adds to its priority, another one keeps routers from starting, and no router takes over
/// for a minute.
fn slow_to_start() -> String {
    format!(
        "startup_delay = \"60s\"\n[[script]]\nname = \"add\"\ncommand = \"/bin/true\"\nweight = 10\n[[script]]\n\
         name = \"must\"\ncommand = \"/bin/true\"\n{}",
        toml("track = [{ script = \"add\" }, { script = \"must\" }]")
    )
}

#[test]
fn a_killed_master_goes_on_and_says_nothing_but_its_advertisement() {
    let id = RouterId(2);
    let mut host = Host::after(&slow_to_start(), Some(killed_master()));
    host.there.insert(InterfaceAddr::new(ETH0, VIP.parse::<IpAddr>().unwrap()));
    host.listed(&[address(VIP, true)]);
    assert_eq!(host.core.state(id), Some(State::Master));
    assert_eq!(host.core.view(id).unwrap().since, Nanos(5));
    // When the next one is due, and with the priority that it had.
    host.pass(699);
    assert!(host.adverts.is_empty());
    host.pass(1);
    assert_eq!(host.adverts, [110]);
    host.pass(1000);
    assert_eq!(host.adverts, [110, 110]);
    host.answer(&Err(RequestError::new(Some(libc::EEXIST), "exists")));
    assert!(host.has_vip() && host.asked().is_empty());
    assert_eq!((host.announcements, host.counted(Counter::Adopted)), (0, 1));
    let published = host.done.iter().find_map(|effect| match effect {
        Effect::Publish { router, change: InfoChange::All(info) } if *router == id => Some(info),
        _ => None,
    });
    let info = published.unwrap();
    assert_eq!((info.adverts_sent, info.became_master, info.priority), (40, 2, 110));
    for effect in &host.done {
        let is_said = match effect {
            Effect::Notify(_) => true,
            Effect::Publish { change: InfoChange::State { .. }, .. } => true,
            Effect::Lease { change, .. } => !matches!(change, LeaseChange::Continue { .. }),
            _ => false,
        };
        assert!(!is_said, "{effect:?}");
    }
    // What it tracks becomes known: it counts from then on.
    for (script, health, priority) in [("must", Health::Up, 110), ("add", Health::Down, 100)] {
        let found = Found { script: script.into(), health, end: None };
        host.input(Input::ScriptFound(found));
        host.pass(1000);
        assert_eq!(host.adverts.last(), Some(&priority), "{script}");
    }
    assert_eq!(host.core.state(id), Some(State::Master));
}

#[test]
fn a_killed_master_keeps_its_address_whoever_advertises_meanwhile() {
    let mut host = Host::after(&toml(""), Some(killed_master()));
    let addresses = vec![address("10.0.0.1", false), address(VIP, true)];
    // It is heard before anything was done of what follows from that.
    host.core.handle(host.now, Input::Listed { links: vec![link(true)], addresses });
    host.perform();
    host.hear_of(RouterId(2), 51, 50);
    assert_eq!(host.core.state(RouterId(2)), Some(State::Master));
    assert_eq!(host.asked(), vip_asked(Request::Add));
}

#[test]
fn a_killed_master_goes_on_while_what_is_left_of_another_router_stays() {
    let other = "[[router]]\nname = \"B\"\ninterface = \"eth0\"\nvrid = 52\nversion = 3\n\
                 addresses = [\"10.0.0.200/24\"]\n";
    let mut host = Host::after(&format!("{}{other}", toml("")), Some(killed_master()));
    let left = AssignedAddress { prefix: 32, ..address("10.0.0.200", true) };
    host.listed(&[address(VIP, true), left]);
    assert!(!host.core.is_starting());
    host.pass(700);
    assert_eq!(host.adverts, [100]);
    assert!(host.asked().contains(&(Request::Remove, Subject::Address(left))));
    host.answer(&Ok(()));
    assert_eq!(host.counted(Counter::UnexpectedAnswer), 0);
}

/// Of what the daemon before it has acknowledged it knows nothing.
#[test]
fn what_was_acknowledged_is_told_again() {
    let told = |state: u8| {
        let mut before = killed_master();
        before.routers[0].info.state = state;
        let mut host = Host::after(&toml(""), Some(before));
        host.perform();
        let forgets = Effect::Acknowledge { router: RouterId(2), digest: 0 };
        assert!(host.done.contains(&forgets));
        let filters = host.done.iter().filter_map(|effect| match effect {
            Effect::SetFilter { filter, .. } => Some(filter.class(1, 1, false)),
            _ => None,
        });
        filters.collect::<Vec<_>>()
    };
    // As backup everything until it begins. As master what it was told as that: it may go on.
    assert_eq!(told(vrrp_common::maps::state::BACKUP), [Class::Outranks]);
    assert_eq!(told(vrrp_common::maps::state::MASTER), []);
}

#[test]
fn who_comes_too_late_begins_as_ever() {
    let mut host = Host::after(&toml(""), Some(killed_master()));
    // It was judged in time, and then stood still.
    host.now += MS.times(2701);
    host.listed(&[address(VIP, true)]);
    let view = host.core.view(RouterId(2)).unwrap();
    let silence = MS.times(3001);
    let expired = Cause::NotAdopted(NotAdopted::Expired { silence });
    assert_eq!((view.state, view.cause), (State::Backup, Some(expired)));
    assert_eq!((host.asked(), host.adverts.len()), (vec![], 0));
    // The address that is there is kept until another master is heard.
    host.hear_of(RouterId(2), 51, 200);
    assert_eq!(host.asked(), vip_asked(Request::Remove));
}

/// What is there whoever is master is put back, and those that follow it let another router be master for a moment.
#[test]
fn who_follows_what_is_static_yields_when_it_is_gone() {
    for (group, more, state) in [
        ("", "", State::Master),
        (", track_group = \"g\"", "", State::Backup),
        (", track_group = \"g\", no_track = true", "", State::Master),
        (", track_group = \"g\"", "on_address_lost = \"restore\"", State::Master),
    ] {
        let groups = if group.is_empty() {
            ""
        } else {
            "[[track_group]]\nname = \"g\"\nrouters = [\"A\"]\n"
        };
        let fixed = format!(
            "[static]\naddresses = [{{ address = \"10.9.0.1/24\", dev = \"eth0\"{group} }}]\n"
        );
        let mut host = Host::started(&(toml(more) + groups + &fixed));
        host.answer(&Ok(()));
        host.pass(5000);
        host.answer(&Ok(()));
        assert_eq!(host.state(), Some(State::Master));
        let gone = address("10.9.0.1", false);
        host.input(Input::Changed(vec![Event::AddressRemoved(gone)]));
        assert_eq!(host.state(), Some(state), "{group} {more}");
        let again =
            |ask: &Ask| ask.request == Request::Add && matches!(ask.subject, Subject::Object(_));
        assert!(host.asks.iter().any(again), "{group}: {:?}", host.asks);
    }
}
