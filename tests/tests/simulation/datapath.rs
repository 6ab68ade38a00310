//! What stands for XDP and its maps: the decisions of the kernel side in ordinary memory.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;

use bytemuck::Zeroable;
use vrrp_common::host::{Host, Report, Words};
use vrrp_common::lease::{self, Traffic};
use vrrp_common::maps::{Control, Lease, PeerKey, RouterInfo, RouterKey};
use vrrp_common::parse;
use vrrp_common::reason::Reason;
use vrrp_common::report::MasterSeen;
use vrrp_user::core::adoption::{PinFacts, PinnedRouter, Predecessor};
use vrrp_user::core::netlink::{Hook, HookPoint};
use vrrp_user::core::{
    Effect, Frame, InfoChange, InterfaceAddr, InterfaceId, LeaseChange, Sizes, Tag,
};
use vrrp_user::engine::time::Nanos;
use vrrp_user::engine::types::RouterId;
use vrrp_user::wire::family::to_field;

use super::config::NICS;
use super::netlink::Kernel;

/// For how long an answer counts that the program is there, and a little more.
const UNKNOWN: Nanos = Nanos::from_millis(250);
/// Reports that wait for a daemon that does not read them.
const ROOM: usize = 256;
/// Routers of a host, with those that a reload removed.
const SLOTS: u32 = 16;

/// What a sender said last, as far as it was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub at: Nanos,
    pub priority: u8,
    pub interval: Nanos,
}

/// What was heard of one sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// But for priority 0, and what the daemon neither was told nor had acknowledged.
    pub advert: Option<Said>,
    /// When it was last heard at all.
    pub at: Nanos,
    /// When it last said that it resigns.
    pub resigned: Option<Nanos>,
}

/// An advertisement as its sender meant it.
#[derive(Clone, Copy, Debug)]
pub struct Meant {
    pub vrid: u8,
    pub source: IpAddr,
    pub priority: u8,
    interval: Nanos,
}

impl Meant {
    /// What is in a frame; `None` for announcements.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (source, message) = match frame.get(12..14)? {
            [0x08, 0x00] if frame.get(23) == Some(&112) => {
                let source: [u8; 4] = frame.get(26..30)?.try_into().ok()?;
                (IpAddr::from(source), frame.get(34..)?)
            }
            [0x86, 0xdd] if frame.get(20) == Some(&112) => {
                let source: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
                (IpAddr::from(source), frame.get(54..)?)
            }
            _ => return None,
        };
        let &[version, vrid, priority, _, high, low, ..] = message else { return None };
        let interval = match version >> 4 {
            2 => Nanos::from_secs(low.into()),
            _ => Nanos::from_millis(10 * u64::from(u16::from_be_bytes([high & 0x0f, low]))),
        };
        Some(Self { vrid, source, priority, interval })
    }
}

/// An address that somebody says is his, by ARP or neighbour discovery.
pub fn claimed(frame: &[u8]) -> Option<IpAddr> {
    if let Some(packet) = parse::ipv6(&frame) {
        return Some(parse::ndisc_claim(&frame, &packet)?.address.into());
    }
    Some(parse::arp_sender(&frame)?.address.into())
}

/// What became of a frame.
#[derive(Debug)]
pub enum Received {
    /// The host does not see it.
    Unseen,
    /// It wakes nobody. An advertisement that is as the daemon knows it, or another one that means nothing to it.
    Quiet {
        /// The former.
        acknowledged: Option<Meant>,
    },
    /// The daemon is told of it.
    Reported,
}

/// The kernel side of one daemon.
pub struct Datapath {
    host: Host,
    /// Where the program is attached, and which attachment that is.
    pub attached: BTreeMap<InterfaceId, Hook>,
    /// Where a packet socket receives instead, of which no claims are known. What it hears is judged as by the program.
    raw: BTreeSet<InterfaceId>,
    /// Where one did for the daemon before, while this one starts.
    was_raw: BTreeSet<InterfaceId>,
    /// Where somebody has taken the program away, and since when.
    lost: BTreeMap<InterfaceId, Nanos>,
    /// Where it was put back, and when last.
    restored: BTreeMap<InterfaceId, Nanos>,
    /// Somebody has stopped the ring buffer.
    stopped: bool,
    joined: BTreeSet<(InterfaceId, IpAddr)>,
    /// The addresses whose claims are noted, and whose they are.
    held: BTreeMap<InterfaceAddr, RouterId>,
    /// What the daemon says of its routers.
    infos: BTreeMap<RouterId, RouterInfo>,
    /// Programs of a daemon before that are not replaced yet.
    inherited: BTreeSet<InterfaceId>,
    /// By what advertisements are told apart.
    pub key: u64,
    /// What the daemon says of itself.
    pub control: Control,
    /// Those that wait for the daemon.
    reports: VecDeque<Report>,
    /// By virtual router and sender.
    heard: BTreeMap<(u8, IpAddr), Heard>,
}

impl Datapath {
    pub fn new(now: Nanos, key: u64) -> Self {
        Self {
            host: Host::new(SLOTS, key),
            attached: BTreeMap::new(),
            raw: BTreeSet::new(),
            was_raw: BTreeSet::new(),
            lost: BTreeMap::new(),
            restored: BTreeMap::new(),
            stopped: false,
            joined: BTreeSet::new(),
            held: BTreeMap::new(),
            infos: BTreeMap::new(),
            inherited: BTreeSet::new(),
            key,
            control: Control::new(1, now.0),
            reports: VecDeque::new(),
            heard: BTreeMap::new(),
        }
    }

    /// A frame arrives at an interface.
    pub fn receive(&mut self, now: Nanos, iface: InterfaceId, frame: &[u8]) -> Received {
        let raw = self.raw.contains(&iface);
        let receives = self.attached.contains_key(&iface) || raw && Meant::of(frame).is_some();
        if !receives || !self.is_for_us(iface, frame) {
            return Received::Unseen;
        }
        let room = ROOM.saturating_sub(self.reports.len());
        self.host.set_room(if self.stopped && !raw { 0 } else { room });
        let reason = self.host.cpu().receive(now.0, iface.ifindex, frame);
        let report = self.host.next_report();
        let told = report.is_some();
        self.reports.extend(report);
        let Some(meant) = Meant::of(frame) else {
            return if told { Received::Reported } else { Received::Quiet { acknowledged: None } };
        };
        let accepted = match reason {
            Some(
                Reason::Accepted
                | Reason::NotListening
                | Reason::LowerIgnored
                | Reason::MasterLimited
                | Reason::OutranksLimited
                | Reason::ResignsLimited
                | Reason::LowerLimited
                | Reason::RingFull,
            ) => true,
            Some(_) | None => false,
        };
        if accepted {
            let heard = self.heard.entry((meant.vrid, meant.source)).or_default();
            let Meant { priority, interval, .. } = meant;
            heard.at = now;
            match priority {
                0 => heard.resigned = Some(now),
                _ if reason == Some(Reason::Accepted) => {
                    heard.advert = Some(Said { at: now, priority, interval });
                }
                _ => {}
            }
        }
        let acknowledged = (reason == Some(Reason::Accepted)).then_some(meant);
        if told { Received::Reported } else { Received::Quiet { acknowledged } }
    }

    /// Whether the interface passes a frame on: what is for a multicast group that nobody has joined it does not.
    fn is_for_us(&self, iface: InterfaceId, frame: &[u8]) -> bool {
        let joined = |is: fn(&IpAddr) -> bool| {
            self.joined.iter().any(|(there, group)| *there == iface && is(group))
        };
        match frame.get(..6) {
            Some([0x01, 0x00, 0x5e, ..]) => joined(IpAddr::is_ipv4),
            Some([0x33, 0x33, 0, 0, 0, 0x12]) => joined(IpAddr::is_ipv6),
            Some(_) => true,
            None => false,
        }
    }

    /// The daemon is dead. Its programs and what is pinned stay, its sockets do not.
    pub fn orphan(&mut self) {
        self.joined.clear();
        self.was_raw.append(&mut self.raw);
    }

    /// What a daemon that starts finds pinned.
    pub fn pin_facts(&self, sizes: Sizes) -> PinFacts {
        let control = self.control;
        PinFacts { other_owner: None, unusable: None, control, namespace: 0, sizes }
    }

    /// What a daemon that was killed has left, for one that goes on with it.
    pub fn predecessor(&self, now: Nanos, kernel: &Kernel) -> Predecessor {
        let routers = self.infos.iter().filter(|(_, info)| !info.name().is_empty());
        let is_same = |info: &RouterInfo| {
            let nic = kernel.nic_of(InterfaceId::own(info.ifindex));
            nic.is_some_and(|nic| NICS[nic] == info.interface())
        };
        let routers = routers.map(|(number, info)| PinnedRouter {
            number: *number,
            info: *info,
            lease: self.lease(*number).get(),
            same_interface: is_same(info),
        });
        let started = Nanos(self.control.started_ns);
        Predecessor { pid: 1, started, routers: routers.collect(), read_at: now, boot: now }
    }

    /// How often routers were master, and have changed their state.
    pub fn transitions(&self) -> BTreeMap<RouterId, [u64; 2]> {
        let counted = |info: &RouterInfo| [info.became_master, info.transitions];
        self.infos.iter().map(|(number, info)| (*number, counted(info))).collect()
    }

    /// Another daemon goes on with these routers, and no others: as `Datapath::retain` of the real one.
    pub fn adopt(&mut self, now: Nanos, routers: &BTreeSet<RouterId>, addresses: &[IpAddr]) {
        let others = self.held.extract_if(.., |at, _| !addresses.contains(&at.address));
        for at in others.map(|(at, _)| at).collect::<Vec<_>>() {
            self.release(at);
        }
        for number in (0..SLOTS).map(RouterId).filter(|number| !routers.contains(number)) {
            self.host.clear(number.0);
            LeaseChange::Drop.apply(self.lease(number), |at| at);
            self.infos.remove(&number);
        }
        self.host.retain_routers(|_, entry| routers.contains(&RouterId(entry.slot)));
        self.inherited = self.attached.keys().copied().collect();
        self.was_raw.append(&mut self.raw);
        self.lost.clear();
        self.control.adopted_ns = now.0;
    }

    /// The routers have begun a while ago: what is left of the daemon before goes.
    pub fn end_adoption(&mut self, keys: &HashSet<RouterKey>) {
        self.was_raw.clear();
        let inherited = std::mem::take(&mut self.inherited);
        self.attached.retain(|iface, _| !inherited.contains(iface));
        self.host.retain_routers(|key, _| keys.contains(key));
    }

    fn release(&self, at: InterfaceAddr) {
        match at.address {
            IpAddr::V4(address) => self.host.release(at.iface.ifindex, address.octets()),
            IpAddr::V6(address) => self.host.release(at.iface.ifindex, address.octets()),
        }
    }

    /// The lease of a router.
    pub fn lease(&self, router: RouterId) -> &Words {
        self.host.lease(router.0).unwrap()
    }

    /// The lease of whose an address is.
    pub fn lease_of(&self, at: InterfaceAddr) -> Option<Lease> {
        self.held.get(&at).map(|router| self.lease(*router).get())
    }

    /// Whether claims to an address are noted.
    pub fn holds(&self, at: InterfaceAddr) -> bool {
        self.held.contains_key(&at)
    }

    /// The addresses that somebody else has, or may have.
    pub fn lost(&self, now: Nanos) -> impl Iterator<Item = InterfaceAddr> {
        let lost = move |router: RouterId| self.lease(router).get::<Lease>().is_anothers(now.0);
        self.held.iter().filter(move |(_, router)| lost(**router)).map(|(at, _)| *at)
    }

    /// Whether packets to and from an address pass, or would, if there is no traffic.
    pub fn answers(&self, now: Nanos, at: InterfaceAddr, traffic: bool) -> bool {
        let fences = self.held.get(&at).filter(|_| self.attached.contains_key(&at.iface));
        let Some(lease) = fences.map(|router| self.lease(*router)) else { return true };
        let fenced =
            |lease| lease::is_suspect(lease) && lease::is_fenced(lease, now.0, Traffic::Address);
        !if traffic { fenced(lease) } else { fenced(&lease.copy()) }
    }

    /// Whether a frame may leave that the daemon has sent.
    pub fn lets_out(&self, now: Nanos, frame: &Frame<'_>) -> bool {
        if !self.attached.contains_key(&frame.iface) {
            return true;
        }
        match (frame.tag, claimed(frame.bytes)) {
            (Tag::Advert { router, .. }, _) => {
                let lease = self.lease(router);
                !(lease::is_suspect(lease) && lease::is_fenced(lease, now.0, Traffic::Advert))
            }
            (Tag::Announcement, Some(address)) => {
                self.answers(now, InterfaceAddr { iface: frame.iface, address }, true)
            }
            (Tag::Announcement, None) => true,
        }
    }

    /// What was heard of a sender.
    pub fn heard(&self, vrid: u8, source: IpAddr) -> Heard {
        self.heard.get(&(vrid, source)).copied().unwrap_or_default()
    }

    /// The oldest report that waits.
    pub fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Whether a packet socket has received for the daemon before.
    pub fn was_raw(&self, iface: InterfaceId) -> bool {
        self.was_raw.contains(&iface)
    }

    /// Whether reports wait.
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    pub fn attach(&mut self, now: Nanos, iface: InterfaceId, serial: u64) -> Hook {
        let hook = Hook { iface, at: HookPoint::Xdp, program: 1, serial };
        self.detach(now, iface);
        self.attached.insert(iface, hook);
        hook
    }

    /// From now on a packet socket receives.
    pub fn capture_raw(&mut self, now: Nanos, iface: InterfaceId) {
        self.detach(now, iface);
        self.raw.insert(iface);
    }

    /// What receives goes, or has gone and something else takes its place.
    pub fn detach(&mut self, now: Nanos, iface: InterfaceId) {
        self.attached.remove(&iface);
        self.raw.remove(&iface);
        self.inherited.remove(&iface);
        if self.lost.remove(&iface).is_some() {
            self.restored.insert(iface, now);
        }
    }

    /// Somebody else takes the program away.
    pub fn lose(&mut self, now: Nanos, iface: InterfaceId) {
        if self.attached.remove(&iface).is_some() {
            self.lost.insert(iface, now);
        }
    }

    /// Somebody else stops the ring buffer, and what is in it is lost.
    pub fn stop_ring(&mut self) {
        self.stopped = true;
        let raw = &self.raw;
        self.reports.retain(|(event, _)| raw.contains(&InterfaceId::own(event.ifindex)));
    }

    /// Has it go on; whether somebody had stopped it.
    pub fn mend_ring(&mut self, now: Nanos) -> bool {
        let stopped = std::mem::take(&mut self.stopped);
        if stopped {
            self.restored.extend(self.attached.keys().map(|iface| (*iface, now)));
        }
        stopped
    }

    /// Since when an interface hears everything, as far as somebody has kept it from that; `None` if it does not, and the
    /// daemon could know.
    pub fn receives_since(&self, now: Nanos, iface: InterfaceId) -> Option<Nanos> {
        let unknown = |lost: &Nanos| now > *lost + UNKNOWN;
        if self.lost.get(&iface).is_some_and(unknown) {
            return None;
        }
        Some(self.restored.get(&iface).copied().unwrap_or_default())
    }

    /// When the master of a router was last heard.
    pub fn master_seen(&self, router: RouterId) -> Option<MasterSeen> {
        self.host.master_seen(router.0)
    }

    /// Carries out what concerns maps and groups only; gives back the rest.
    pub fn perform(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::SetRouter { key, entry, .. } => {
                self.host.set_router(key.key(key.iface.ifindex), entry);
            }
            Effect::RemoveRouter { key, .. } => {
                self.host.remove_router(&key.key(key.iface.ifindex));
            }
            Effect::SetVirtualMac { router, interface, mac } => {
                self.host.set_virtual_mac(interface.ifindex, mac, router.0);
            }
            Effect::RemoveVirtualMac { router, interface, mac } => {
                self.host.remove_virtual_mac(interface.ifindex, mac, router.0);
            }
            Effect::ClearRouter(router) => {
                self.host.clear(router.0);
                self.infos.remove(&router);
            }
            Effect::HoldAddress { at, held } => {
                self.held.insert(at, RouterId(held.slot));
                match at.address {
                    IpAddr::V4(address) => self.host.hold(at.iface.ifindex, address.octets(), held),
                    IpAddr::V6(address) => self.host.hold(at.iface.ifindex, address.octets(), held),
                }
            }
            Effect::ReleaseAddress { at } => {
                self.held.remove(&at);
                self.release(at);
            }
            Effect::Publish { router, change } => {
                let priority = matches!(change, InfoChange::Priority(_));
                let info = self.infos.entry(router).or_insert_with(RouterInfo::zeroed);
                change.clone().apply(info, |iface| iface.ifindex);
                return priority.then_some(Effect::Publish { router, change });
            }
            Effect::Lease { router, change } => change.apply(self.lease(router), |at| at),
            Effect::Allow { router, peer, range } => {
                self.host.allow(PeerKey { slot: router.0, source: to_field(peer) }, range);
            }
            Effect::Disallow { router, peer } => {
                self.host.disallow(&PeerKey { slot: router.0, source: to_field(peer) });
            }
            Effect::Acknowledge { router, digest } => self.host.set_ack(router.0, digest),
            Effect::Join { interface, group, .. } => drop(self.joined.insert((interface, group))),
            Effect::Leave { interface, group } => self.joined.retain(|(there, joined)| {
                *there != interface || group.is_some_and(|group| *joined != group)
            }),
            Effect::CountAddress { .. }
            | Effect::UncountAddress { .. }
            | Effect::AddUnicastMac { .. }
            | Effect::RemoveUnicastMac { .. }
            | Effect::SetHmacKey { .. }
            | Effect::RemoveHmacKey { .. }
            | Effect::ForgetPeers(_) => {}
            Effect::SetFilter { router, filter } => {
                self.host.set_filter(router.0, filter);
                return Some(Effect::SetFilter { router, filter });
            }
            other => return Some(other),
        }
        None
    }
}
