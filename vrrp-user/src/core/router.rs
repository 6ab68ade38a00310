//! One virtual router as the daemon sees it: its configuration, where it lives at the moment, and the
//! frames that it sends from there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::offset_of;
use std::net::IpAddr;
use std::sync::Arc;

use vrrp_common::VRRP_TTL;
use vrrp_common::ah;
use vrrp_common::hmac::{Sequence, TRAILER_LEN};
use vrrp_common::maps::{HmacKey, RouterEntry, RouterInfo, TtlRange, hmac, state, transport};
use vrrp_common::report::ReportFilter;

use super::ah_association::AhAssociation;
use super::interface_id::{InterfaceAddr, RouterPlace};
use super::interface_table::Interface;
use super::netlink::{AddressRequest, AssignedAddress};
use super::send_failures::{Errno, SendFailures, TestFrame, own_fault};
use super::signer::Signer;
use super::tx_queue::{Tag, TxQueue};
use crate::config::model::{self, Authentication, Fence, Peer, Transport, V3Checksum};
use crate::core::interface_id::InterfaceId;
use crate::engine::time::{Centisecs, Nanos};
use crate::engine::types::{
    AdvertInterval, FaultCause, Link, Priority, RouterId, RouterSpec, SendError, Version, Vrid,
};
use crate::types::id::KeyId;
use crate::types::netns;
use crate::wire::ethernet::multicast;
use crate::wire::family::{Family, to_field};
use crate::wire::frame::{AdvertFrame, AdvertParams, advert_len};
use crate::wire::ipv4::Idents;
use crate::wire::vrrp::Auth;

/// `auth_type` of the simple password (RFC 2338 section 5.3.6).
const AUTH_SIMPLE: u8 = 1;

/// One virtual router. Everything that only the engine needs is there, and what `stats` sees is in the
/// shared map: there may be thousands of these. What an advertisement needs comes first, because that of
/// thousands lies in no cache when it is due: it is in one cache line.
#[repr(C, align(64))]
pub struct RouterRuntime {
    frames: Frames,
    /// Interface, its Ethernet address and what is known of it.
    local: Option<LocalEnd>,
    link: Option<Link>,
    /// That an advertisement could not be sent was said.
    failing: bool,
    /// A part of the last one that was queued could not be sent.
    failed: bool,
    /// Advertisements in a row that could be sent to nobody; of most routers none.
    failures: Option<Box<SendFailures>>,
    /// Digest of the advertisement that the kernel side need not report again; 0 for none.
    pub ack: u64,
    /// What the kernel side knows of which advertisements matter.
    pub filter: ReportFilter,
    /// Since when it knows the master in it.
    pub filter_since: Nanos,
    vrid: Vrid,
    family: Family,
    interval: AdvertInterval,
    /// Authentication; only with version 2.
    pub authentication: Authentication,
    v3_checksum: V3Checksum,
    /// Whether its addresses are the interface's real ones (priority 255).
    pub owner: bool,
    /// Whether its interface may be down (`dont_track_primary`).
    pub may_be_down: bool,
    /// Whether its interface must have the configured source (`track_src_ip`).
    pub track_source: bool,
    /// Whether it refuses an advertisement whose first address is not link-local.
    pub link_local_first: bool,
    /// What stops this host from answering for its addresses.
    pub fence: Fence,
    /// Whether it has a virtual MAC address on its interface.
    pub virtual_mac: bool,
    /// Whether some of its addresses have it on other interfaces.
    virtual_mac_beside: bool,
    /// Whether its advertisements leave with it.
    pub virtual_mac_adverts: bool,
    /// The virtual MAC address that it has wherever it has one.
    mac: [u8; 6],
    /// Whether it announces addresses also where they have no virtual MAC address (`garp_extra_if all`).
    extra_if_all: bool,
    /// Whether packets to its addresses are let in.
    pub accept: bool,
    /// Name, unique in the configuration. Shared with the control thread, as is that of the interface.
    pub name: Arc<str>,
    /// Interface on which it advertises.
    pub interface: Arc<str>,
    /// How its advertisements travel, and what signs them, when that is not as with most.
    rare: Option<Box<Rare>>,
    /// Line in the configuration file, for messages.
    pub line: u32,
    /// It is no longer in the configuration, and only its name is still of use.
    pub removed: bool,
    /// What tells whether its configuration has changed ([`model::RouterConfig::fingerprint`]).
    pub fingerprint: u64,
    /// All addresses that move with it; those that are advertised come first.
    addresses: Box<[Address]>,
    /// Where each of them is that belongs on another interface than its own; `None` where there are no such.
    address_devs: Option<Box<[Option<InterfaceId>]>>,
    advertised: u32,
}

const _: () = {
    assert!(offset_of!(RouterRuntime, link) < 64, "an advertisement needs one cache line");
    assert!(size_of::<RouterRuntime>() <= 4 * 64, "there are thousands");
};

/// What most routers have not.
struct Rare {
    /// How its advertisements travel.
    transport: Transport,
    /// What signs them.
    signer: Option<Signer>,
    /// What makes and checks their authentication headers.
    ah: Option<AhAssociation>,
}

/// Advertisements ready to be sent.
enum Frames {
    /// It lives nowhere, or has no address to send from.
    None,
    /// To the VRRP group.
    Group(AdvertFrame),
    /// To each peer.
    Peers(Box<[(IpAddr, AdvertFrame)]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalEnd {
    iface: InterfaceId,
    mac: [u8; 6],
    aggregate: bool,
    source: Option<IpAddr>,
}

/// The interface that a router lives on, as far as its frames and its registration need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterLink {
    /// Index.
    pub iface: InterfaceId,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Made of ports that may each have an Ethernet address of their own.
    pub aggregate: bool,
}

/// An address that moves with a router.
#[derive(PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Scope, as in `rtm_scope`.
    pub scope: u8,
    /// Whether its removal from outside does not matter.
    pub no_track: bool,
    /// Whether it has the virtual MAC address on another interface than the router's, too.
    virtual_mac: bool,
    /// Elsewhere, because most addresses have nothing of it.
    details: Option<Box<model::Address>>,
}

impl From<&model::Address> for Address {
    fn from(config: &model::Address) -> Self {
        let plain = model::Address::new(config.address, config.prefix);
        let plain = model::Address { scope: config.scope, no_track: config.no_track, ..plain };
        let plain = *config == plain;
        Self {
            address: config.address,
            prefix: config.prefix,
            scope: config.scope,
            no_track: config.no_track,
            virtual_mac: config.virtual_mac,
            details: (!plain).then(|| Box::new(config.clone())),
        }
    }
}

impl Address {
    /// Its interface, when that is not the router's own.
    pub fn dev(&self) -> Option<&str> {
        self.details.as_ref()?.dev.as_deref()
    }

    /// The netlink request for it on an interface.
    pub fn request(&self, iface: InterfaceId) -> AddressRequest {
        let Self { address, prefix, scope, .. } = *self;
        let at = InterfaceAddr { iface, address };
        let at = AssignedAddress { at, prefix, marked: true, tentative: false };
        let mut options = match self.details.as_deref() {
            None => model::Address { scope, ..model::Address::new(address, prefix) },
            Some(details) => details.clone(),
        };
        (options.dev, options.no_track, options.virtual_mac) = (None, false, false);
        AddressRequest { address: at, options }
    }
}

/// How advertisements of most routers travel.
const USUAL: Transport = Transport::Multicast { source: None, group: None };

impl Rare {
    fn of(config: &model::RouterConfig) -> Option<Self> {
        let signer = config.hmac.as_ref().map(Signer::new);
        let to_peers = matches!(config.transport, Transport::Unicast { .. });
        let ah = match config.authentication {
            Authentication::Ah(password) => AhAssociation::new(&password, to_peers),
            Authentication::None | Authentication::Pass(_) => None,
        };
        let is_rare = config.transport != USUAL || signer.is_some() || ah.is_some();
        is_rare.then(|| Self { transport: config.transport.clone(), signer, ah })
    }
}

/// What `ROUTERS` must hold.
pub type Registration = (RouterPlace, RouterEntry);

/// One copy of a name that many routers have.
pub fn shared(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    let name: Arc<str> = name.into();
    names.insert(name.clone());
    name
}

impl RouterRuntime {
    /// A router that lives nowhere yet, and what the engine must know of it. `interface` is the name in its
    /// configuration, and `fingerprint` is its.
    pub fn new(
        config: &model::RouterConfig,
        fingerprint: u64,
        interface: Arc<str>,
    ) -> (Self, RouterSpec) {
        let spec = RouterSpec {
            vrid: config.vrid,
            priority: config.priority,
            interval: config.interval,
            preempt: config.preempt,
            preempt_delay: config.preempt_delay,
            max_learned_interval: config.max_learned_interval,
            addresses: config.addresses.iter().map(|address| address.address).collect(),
            garp: config.garp,
            down_adverts: config.down_adverts,
            lower_prio_advert: config.lower_prio_advert,
            higher_prio_advert: config.higher_prio_advert,
            owner_ignores_adverts: config.owner_ignores_adverts,
            track: Box::default(),
            group: None,
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let router = Self {
            name: config.name.as_str().into(),
            interface,
            family: config.family(),
            rare: Rare::of(config).map(Box::new),
            owner: config.priority == Priority::OWNER,
            may_be_down: config.dont_track_primary,
            track_source: config.track_source,
            link_local_first: config.link_local_first,
            fence: config.fence,
            virtual_mac: config.virtual_mac,
            virtual_mac_beside: config.virtual_mac_devs().next().is_some(),
            virtual_mac_adverts: config.virtual_mac_adverts,
            mac: config.virtual_mac_address(),
            extra_if_all: config.garp_extra_if_all,
            accept: config.accepts(),
            vrid: config.vrid,
            interval: config.interval,
            authentication: config.authentication,
            v3_checksum: config.v3_checksum,
            line: count(config.line),
            addresses: config.addresses.iter().chain(&config.excluded).map(Into::into).collect(),
            advertised: count(config.addresses.len()),
            address_devs: None,
            local: None,
            link: None,
            frames: Frames::None,
            ack: 0,
            filter: ReportFilter::default(),
            filter_since: Nanos::ZERO,
            failing: false,
            failed: false,
            failures: None,
            removed: false,
            fingerprint,
        };
        (router, spec)
    }

    /// Goes on with another configuration, where it lives at the moment. Returns what it was before. The kernel side
    /// must be told of the [`Self::registration`] then, and that nothing is acknowledged.
    ///
    /// What is the same stays where it is: thousands of new ones would lie among what a reload needs for a short time, of
    /// which no page could be given back.
    pub fn reconfigure(&mut self, new: Self) -> Self {
        let Self { local, link, failing, failed, ack, filter, filter_since, .. } = *self;
        let failures = self.failures.take();
        let mut new =
            Self { local, link, failing, failed, failures, ack, filter, filter_since, ..new };
        new.frames = local.map_or(Frames::None, |local| new.frames_from(local));
        if let (Some(new), Some(old)) = (new.signer_mut(), self.signer()) {
            new.go_on_after(old.last());
        }
        if let (Some(new), Some(old)) = (new.ah_mut(), self.ah()) {
            new.go_on_after(old.last());
        }
        if let (Frames::Group(old), Frames::Group(new)) = (&mut self.frames, &mut new.frames) {
            new.exchange_memory(old);
        }
        if new.name == self.name {
            std::mem::swap(&mut new.name, &mut self.name);
        }
        if new.addresses == self.addresses {
            std::mem::swap(&mut new.addresses, &mut self.addresses);
        }
        std::mem::replace(self, new)
    }

    /// It is no longer in the configuration: what is left is its name, for the history.
    pub fn decommission(&mut self) {
        self.removed = true;
        self.local = None;
        self.frames = Frames::None;
        self.addresses = Box::default();
        self.address_devs = None;
        self.advertised = 0;
        self.rare = None;
        self.failures = None;
    }

    /// What `ROUTERS` must hold, if it lives anywhere.
    pub fn registration(&self, id: RouterId) -> Option<Registration> {
        self.local.map(|local| (self.key(local.iface), self.entry(local, id)))
    }

    /// What `stats` sees of a router that was never active.
    pub fn info(&self, priority: Priority) -> RouterInfo {
        let mut info = RouterInfo {
            vrid: self.vrid.get(),
            priority: priority.0,
            configured_priority: priority.0,
            version: self.version().number(),
            family: self.family.number(),
            state: state::INIT,
            interval_cs: centisecs(self.interval),
            configured_interval_cs: centisecs(self.interval),
            ..RouterInfo::default()
        };
        info.set_name(&self.name);
        let (netns, interface) = netns::split(&self.interface);
        info.set_interface(interface);
        info.set_netns(netns.unwrap_or(""));
        info
    }

    /// Protocol version.
    pub fn version(&self) -> Version {
        self.interval.version()
    }

    /// Virtual router identifier.
    pub fn vrid(&self) -> Vrid {
        self.vrid
    }

    /// Name, VRID and interface, for messages.
    pub fn label(&self) -> String {
        format!("{} (vrid {} on {})", self.name, self.vrid, self.interface)
    }

    /// All addresses that move with the router, those that are not advertised at the end.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter()
    }

    /// The interface that one of its addresses belongs on.
    pub fn dev<'a>(&'a self, address: &'a Address) -> &'a str {
        address.dev().unwrap_or(&self.interface)
    }

    /// The interfaces that it needs: its own, and those that its addresses belong on. They may be named more than once.
    pub fn devs(&self) -> impl Iterator<Item = &str> {
        let others = self.addresses.iter().filter_map(Address::dev);
        std::iter::once(&*self.interface).chain(others)
    }

    /// The interface that it lives on, as long as that exists.
    pub fn iface(&self) -> Option<InterfaceId> {
        self.local.map(|local| local.iface)
    }

    /// The address that it sends from.
    pub fn source_in_use(&self) -> Option<IpAddr> {
        self.local?.source
    }

    /// Whether it is an IPv6 router whose interface has no address to send from.
    pub fn lacks_address(&self) -> bool {
        self.family == Family::V6 && self.link == Some(Link::Down(FaultCause::NoAddress))
    }

    /// What was found out about its interface.
    pub fn link(&self) -> Option<Link> {
        self.link
    }

    /// The virtual MAC address that it is to have on its interface.
    pub fn virtual_mac(&self) -> Option<[u8; 6]> {
        self.virtual_mac.then_some(self.mac)
    }

    /// The one that it has wherever it has one, as far as it has.
    pub fn any_virtual_mac(&self) -> Option<[u8; 6]> {
        self.has_virtual_mac().then_some(self.mac)
    }

    /// The addresses that have it, with their interfaces; `None` for all on its own.
    pub fn with_virtual_mac(&self) -> BTreeSet<(&str, Option<IpAddr>)> {
        let own = self.virtual_mac.then_some((&*self.interface, None));
        let beside = self.addresses.iter().filter(|address| address.virtual_mac);
        let beside = beside.filter_map(|address| Some((address.dev()?, Some(address.address))));
        own.into_iter().chain(beside).collect()
    }

    /// Whether it has one on any interface.
    pub fn has_virtual_mac(&self) -> bool {
        self.virtual_mac || self.virtual_mac_beside
    }

    /// Whether its interfaces are captured in another way for it ([`crate::capture::Facts`]).
    pub fn restricts_capture(&self) -> bool {
        self.has_virtual_mac() || self.signer().is_some() || self.ah().is_some()
    }

    /// The virtual MAC address of an address of it at a place, if that has one there.
    pub fn virtual_mac_at(&self, place: InterfaceAddr) -> Option<[u8; 6]> {
        let is_own = self.iface() == Some(place.iface);
        let is_it = |(address, on): (&Address, Option<InterfaceId>)| {
            address.virtual_mac && address.address == place.address && on == Some(place.iface)
        };
        let has_one = self.virtual_mac && is_own
            || self.virtual_mac_beside && !is_own && self.addresses_on().any(is_it);
        has_one.then_some(self.mac)
    }

    /// Where it has addresses with its virtual MAC address, as if it lived on this interface.
    pub fn places_with_virtual_mac(
        &self,
        own: Option<InterfaceId>,
    ) -> impl Iterator<Item = InterfaceAddr> {
        self.addresses_from(own).filter_map(move |(address, on)| {
            let has_it = if on == own { self.virtual_mac } else { address.virtual_mac };
            has_it.then_some(InterfaceAddr { iface: on?, address: address.address })
        })
    }

    /// Where its addresses are to be announced from time to time, as advertisements do not tell where they are: one on each
    /// interface, with a virtual MAC address if any has one there.
    pub fn unsaid(&self) -> Vec<InterfaceAddr> {
        let mut places = BTreeMap::new();
        for (address, on) in self.addresses_on() {
            let Some(iface) = on else { continue };
            let (is_own, has_mac) = match self.iface() == on {
                true => (true, self.virtual_mac),
                false => (false, self.virtual_mac_beside && address.virtual_mac),
            };
            let is_unsaid = match is_own {
                true => has_mac && !self.virtual_mac_adverts,
                false => has_mac || self.extra_if_all,
            };
            if is_unsaid {
                let place = InterfaceAddr { iface, address: address.address };
                let known = places.entry(iface).or_insert((has_mac, place));
                if has_mac && !known.0 {
                    *known = (true, place);
                }
            }
        }
        places.into_values().map(|(_, place)| place).collect()
    }

    /// The interfaces on which it has one.
    pub fn virtual_mac_on(&self) -> impl Iterator<Item = InterfaceId> {
        let own = self.iface().filter(|_| self.virtual_mac);
        let beside = self.virtual_mac_beside.then(|| self.addresses_on());
        let beside = beside.into_iter().flatten();
        let beside = beside.filter(|(address, _)| address.virtual_mac).filter_map(|(_, on)| on);
        own.into_iter().chain(beside.filter(move |on| self.iface() != Some(*on)))
    }

    /// Their names.
    pub fn virtual_mac_devs(&self) -> impl Iterator<Item = &str> {
        let own = self.virtual_mac.then_some(&*self.interface);
        let beside = self.addresses.iter().filter(|address| address.virtual_mac);
        let beside = beside.filter_map(Address::dev).filter(|dev| **dev != *self.interface);
        own.into_iter().chain(beside)
    }

    /// What is wrong with its interface.
    pub fn link_fault(&self) -> Option<FaultCause> {
        match self.link? {
            Link::Up(_) => None,
            Link::Down(cause) => Some(cause),
        }
    }

    /// What is wrong with its interface, and what to do; `enabled` is whether an administrator wants that up. That it cannot
    /// hear there is [`super::reception`]'s.
    pub fn link_problem(&self, enabled: bool) -> Option<String> {
        let interface = &self.interface;
        let (ip, dev) = netns::ip(interface);
        match self.link? {
            Link::Up(_) | Link::Down(FaultCause::NoCapture | FaultCause::NoVirtualMac) => None,
            Link::Down(FaultCause::InterfaceMissing) => Some(format!(
                "interface {interface} (line {} of the configuration) does not exist; waiting for it \
                 (`{ip} link` lists what there is)",
                self.line
            )),
            Link::Down(FaultCause::InterfaceDown) if enabled => Some(format!(
                "interface {interface} has no carrier; waiting for it (cable, switch port or the other end: `{ip} -d link show \
                 dev {dev}`)"
            )),
            Link::Down(FaultCause::InterfaceDown) => Some(format!(
                "interface {interface} is down; waiting for it (`{ip} link set {dev} up`)"
            )),
            Link::Down(FaultCause::NoAddress) => Some(match self.family {
                Family::V4 => format!(
                    "interface {interface} has no IPv4 address of its own to advertise from; waiting for \
                     one (`{ip} address add ADDRESS/PREFIX dev {dev}`)"
                ),
                Family::V6 => format!(
                    "interface {interface} has no IPv6 link-local address of its own to advertise from, or \
                     it is not known to be unique yet; waiting for one (`{ip} -6 address show dev {dev}`: \
                     `tentative` goes away, `dadfailed` means that another host has it; \
                     `sysctl net.ipv6.conf.{dev}.disable_ipv6` must be 0)"
                ),
            }),
            Link::Down(FaultCause::NoSource) => {
                let source = self.configured_source().map(|it| it.to_string()).unwrap_or_default();
                Some(format!(
                    "interface {interface} does not have the source address {source}; waiting for it \
                     (`{ip} address add {source}/PREFIX dev {dev}`)"
                ))
            }
            Link::Down(FaultCause::AdvertExceedsMtu { length, mtu }) => Some(format!(
                "its advertisement with {} addresses is {length} bytes long, but interface {interface} has an MTU of \
                 {mtu}; waiting for a greater one (`{ip} link set {dev} mtu {length}`), or list fewer addresses: \
                 excluded ones are not advertised",
                self.advertised
            )),
            Link::Down(FaultCause::CannotSend(error)) => Some(format!(
                "this host cannot send its advertisements on {interface}: {error}; trying again (`nft list ruleset`, \
                 `tc -s qdisc show dev {interface}` and `tc filter show dev {interface} egress` show what drops them)"
            )),
            // Not about the link.
            Link::Down(
                FaultCause::Tracked(..)
                | FaultCause::Member(_)
                | FaultCause::MemberWaits(_)
                | FaultCause::SteppedDown,
            ) => None,
        }
    }

    /// The configured source.
    pub fn configured_source(&self) -> Option<IpAddr> {
        match self.transport() {
            Transport::Multicast { source, .. } | Transport::Unicast { source, .. } => *source,
        }
    }

    /// How many of its addresses are advertised.
    pub fn advertised(&self) -> u32 {
        self.advertised
    }

    /// Length of its advertisements as IP packets, bytes.
    pub fn advert_len(&self) -> u16 {
        let len = advert_len(self.family, self.version(), self.advertised as usize);
        let len = len
            + if self.is_signed() { TRAILER_LEN } else { 0 }
            + if self.ah().is_some() { ah::LEN } else { 0 };
        u16::try_from(len).unwrap_or(u16::MAX)
    }

    /// Whether its advertisements are signed.
    fn is_signed(&self) -> bool {
        self.signer().is_some_and(|signer| signer.active_key().is_some())
    }

    /// What signs its advertisements, and those of others are checked by.
    pub fn signer(&self) -> Option<&Signer> {
        self.rare.as_ref()?.signer.as_ref()
    }

    /// The same.
    pub fn signer_mut(&mut self) -> Option<&mut Signer> {
        self.rare.as_mut()?.signer.as_mut()
    }

    /// What makes and checks authentication headers.
    pub fn ah(&self) -> Option<&AhAssociation> {
        self.rare.as_ref()?.ah.as_ref()
    }

    /// The same.
    pub fn ah_mut(&mut self) -> Option<&mut AhAssociation> {
        self.rare.as_mut()?.ah.as_mut()
    }

    /// The address that it sends from.
    pub fn local_source(&self) -> Option<IpAddr> {
        self.local?.source
    }

    /// The keys by which advertisements of others are checked.
    pub fn hmac_keys(&self) -> impl Iterator<Item = (KeyId, HmacKey)> {
        self.signer().into_iter().flat_map(|signer| signer.keys().iter().copied())
    }

    /// How the checksum of version 3 is computed.
    pub fn v3_checksum(&self) -> V3Checksum {
        self.v3_checksum
    }

    /// The configured source, else the interface's.
    pub fn source(&self, interface: &Interface) -> Option<IpAddr> {
        match (self.configured_source(), self.family) {
            (Some(source), _) => Some(source),
            (None, Family::V4) => interface.source().map(IpAddr::V4),
            (None, Family::V6) => interface.source6().map(IpAddr::V6),
        }
    }

    /// Address family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its multicast group, used or not.
    pub fn group(&self) -> IpAddr {
        match *self.transport() {
            Transport::Multicast { group: Some(group), .. } => group,
            Transport::Multicast { group: None, .. } | Transport::Unicast { .. } => {
                self.family.group()
            }
        }
    }

    fn transport(&self) -> &Transport {
        self.rare.as_ref().map_or(&USUAL, |rare| &rare.transport)
    }

    /// Whom it sends to; `None` for the group.
    pub fn peers(&self) -> Option<&[Peer]> {
        match self.transport() {
            Transport::Multicast { .. } => None,
            Transport::Unicast { peers, .. } => Some(peers),
        }
    }

    /// TTL or hop limit of its advertisements.
    pub fn ttl(&self) -> u8 {
        match *self.transport() {
            Transport::Multicast { .. } => VRRP_TTL,
            Transport::Unicast { ttl, .. } => ttl,
        }
    }

    /// Whether it hears its peers only.
    pub fn checks_source(&self) -> bool {
        matches!(self.transport(), Transport::Unicast { check_source: true, .. })
    }

    /// The only peers that it hears, and the TTLs of each; none if it hears everybody.
    pub fn allowed(&self) -> impl Iterator<Item = (IpAddr, TtlRange)> {
        let peers = self.peers().filter(|_| self.checks_source()).unwrap_or_default();
        peers.iter().map(|peer| {
            let Peer { address, min_ttl: min, max_ttl: max } = *peer;
            (address, TtlRange { min, max, ..TtlRange::default() })
        })
    }

    /// Moves to a new place. Returns the registration to remove and the one to make, if they changed.
    pub fn moved(
        &mut self,
        place: Option<RouterLink>,
        link: Link,
        id: RouterId,
    ) -> (Option<RouterPlace>, Option<Registration>) {
        let source = match link {
            Link::Up(source) => Some(source),
            // Kept while the interface is down, for the advertisement of priority 0 and for what still arrives.
            Link::Down(_) => self.local.and_then(|local| local.source),
        };
        let local = place.map(|RouterLink { iface, mac, aggregate }| LocalEnd {
            iface,
            mac,
            aggregate,
            source,
        });
        if local == self.local {
            return (None, None);
        }
        let stale = self.local.filter(|old| local.is_none_or(|new| new.iface != old.iface));
        self.local = local;
        self.frames = local.map_or(Frames::None, |local| self.frames_from(local));
        let fresh = local.map(|local| (self.key(local.iface), self.entry(local, id)));
        (stale.map(|old| self.key(old.iface)), fresh)
    }

    /// Whether this is news about the link; remembers it.
    pub fn report(&mut self, link: Link) -> bool {
        let changed = self.link != Some(link);
        self.link = Some(link);
        changed
    }

    fn key(&self, iface: InterfaceId) -> RouterPlace {
        RouterPlace { iface, family: self.family.number(), vrid: self.vrid }
    }

    fn entry(&self, local: LocalEnd, id: RouterId) -> RouterEntry {
        let (auth_type, auth_data) = match self.authentication {
            Authentication::None => (0, [0; 8]),
            Authentication::Pass(password) => (AUTH_SIMPLE, password),
            Authentication::Ah(_) => (ah::AUTH_TYPE, [0; 8]),
        };
        let source = local.source.map_or([0; 16], to_field);
        let destination = if self.peers().is_some() { source } else { to_field(self.group()) };
        let entry = RouterEntry {
            slot: id.0,
            version: self.version().number(),
            transport: match self.peers() {
                None => transport::MULTICAST,
                Some(_) if self.checks_source() => transport::PEERS,
                Some(_) => transport::UNICAST,
            },
            auth_type,
            interval: match self.interval {
                AdvertInterval::Secs(secs) => secs,
                AdvertInterval::Centisecs(_) => 0,
            },
            auth_data,
            local: source,
            destination,
            mac: if local.aggregate { [0; 6] } else { local.mac },
            link_local_first: self.link_local_first.into(),
            ..RouterEntry::default()
        };
        let hmac = if self.ah().is_some() { hmac::AH } else { 0 };
        let entry = RouterEntry { hmac, ..entry };
        self.signer().map_or(entry, |signer| signer.entry(entry))
    }

    fn frames_from(&self, local: LocalEnd) -> Frames {
        let Some(source) = local.source else { return Frames::None };
        let advertised = self.addresses.iter().take(self.advertised as usize);
        let addresses: Vec<IpAddr> = advertised.map(|address| address.address).collect();
        let group = self.group();
        let frame = |destination: IpAddr| {
            AdvertFrame::new(&AdvertParams {
                source_mac: self
                    .virtual_mac()
                    .filter(|_| self.virtual_mac_adverts)
                    .unwrap_or(local.mac),
                // With unicast the kernel makes the header.
                dest_mac: multicast(group),
                source,
                destination,
                ttl: self.ttl(),
                vrid: self.vrid,
                interval: self.interval,
                // Patched before it is sent.
                priority: Priority::RESIGN,
                addresses: &addresses,
                auth: match self.authentication {
                    Authentication::None => Auth::None,
                    Authentication::Pass(password) => Auth::Password(password),
                    Authentication::Ah(_) => Auth::Header,
                },
                v3_pseudo_header: self.v3_checksum == V3Checksum::Rfc5798,
                signed: self.is_signed(),
            })
            // More than 255 addresses, which the configuration refuses.
            .inspect_err(|error| log::error!("{}: {error}", self.label()))
            .ok()
        };
        match self.peers() {
            None => frame(group).map_or(Frames::None, Frames::Group),
            Some(peers) => {
                let peers = peers.iter().map(|peer| peer.address);
                let peers = peers.filter_map(|peer| Some((peer, frame(peer)?)));
                Frames::Peers(peers.collect())
            }
        }
    }

    /// Touches what [`Self::advertise`] needs. The number means nothing.
    pub fn peek(&self) -> u64 {
        let local = self.local.map_or(0, |local| local.iface.ifindex);
        let frame = match &self.frames {
            Frames::None => 0,
            Frames::Group(frame) => frame.peek(),
            Frames::Peers(peers) => peers.iter().fold(0, |seen, (_, frame)| seen ^ frame.peek()),
        };
        u64::from(local) ^ u64::from(frame)
    }

    /// Queues the advertisement, or one for each peer, signed by that clock if it is signed. Whether there is anything to
    /// send.
    pub fn advertise(
        &mut self,
        priority: Priority,
        queue: &mut TxQueue,
        idents: &mut Idents,
        id: RouterId,
        clock: Sequence,
    ) -> bool {
        let Some(local) = self.local else { return false };
        if let Some(Link::Down(
            FaultCause::InterfaceDown
            | FaultCause::AdvertExceedsMtu { .. }
            | FaultCause::CannotSend(_),
        )) = self.link
        {
            // Priority 0 to a network that is already out of reach, or does not carry it.
            return false;
        }
        if self.failures.as_mut().is_some_and(|failures| failures.begin()) {
            self.failures = None;
        }
        let renews = priority != Priority::RESIGN;
        let mut rare = self.rare.as_deref_mut();
        if let Some(rare) = &mut rare {
            rare.signer.iter_mut().for_each(|signer| signer.advance(clock));
            rare.ah.iter_mut().for_each(AhAssociation::advance);
        }
        let (signer, ah) =
            rare.as_deref().map_or((None, None), |rare| (rare.signer.as_ref(), rare.ah.as_ref()));
        match &mut self.frames {
            Frames::None => false,
            Frames::Group(frame) => {
                frame.set_priority(priority);
                signer.inspect(|signer| signer.sign(frame));
                frame.identify(idents);
                ah.inspect(|ah| ah.authenticate(frame));
                let tag = Tag::Advert { router: id, first: true, renews };
                queue.push(local.iface, frame.bytes(), tag);
                true
            }
            Frames::Peers(peers) => {
                // All of the last one have left.
                self.failing &= std::mem::take(&mut self.failed);
                let mut first = true;
                for (peer, frame) in peers {
                    frame.set_priority(priority);
                    signer.inspect(|signer| signer.sign(frame));
                    frame.identify(idents);
                    ah.inspect(|ah| ah.authenticate(frame));
                    let tag = Tag::Advert { router: id, first, renews };
                    queue.push_ip(local.iface, *peer, frame.ip_bytes(), tag);
                    first = false;
                }
                !first
            }
        }
    }

    /// An advertisement left for nobody, because of this host. Whether that is too much, so that the router is in FAULT
    /// from now on.
    pub fn sent_to_nobody(&mut self, now: Nanos, error: SendError, down_adverts: u8) -> bool {
        let failures = self.failures.get_or_insert_with(|| Box::new(SendFailures::new(error)));
        failures.failed(now, error, down_adverts)
    }

    /// Another host has taken over. Whether that is because nothing leaves this one, so that the router is in FAULT from now
    /// on.
    pub fn succeeded(&mut self, now: Nanos, down_adverts: u8) -> bool {
        self.failures.as_mut().is_some_and(|failures| failures.succeeded(now, down_adverts))
    }

    /// Why it is in FAULT, if that is because it can send to nobody.
    pub fn cannot_send(&self) -> Option<SendError> {
        self.failures.as_ref()?.fault()
    }

    /// What is to be sent to see whether its advertisements leave this host, if it is time for that.
    ///
    /// Nobody hears it: what goes to the group is sent to our own Ethernet address, and what goes to peers to the
    /// address that it comes from. An advertisement that others hear would make a master of lower priority give way,
    /// although this router is not sure to stay.
    pub fn try_sending(&mut self, now: Nanos) -> Option<Vec<TestFrame>> {
        let failures = self.failures.as_mut().filter(|failures| failures.is_due(now))?;
        failures.trying();
        let tests = match (&self.frames, self.local) {
            (Frames::Group(frame), Some(LocalEnd { iface, mac, .. })) => {
                vec![TestFrame { iface, to: None, bytes: frame.to_self(mac).to_vec() }]
            }
            (Frames::Peers(peers), Some(LocalEnd { iface, mac, source: Some(source), .. })) => {
                // One takes the way through the filters of IP, the other one that behind them.
                let both = peers.iter().flat_map(|(_, frame)| {
                    let routed = frame.ip_bytes().to_vec();
                    [
                        TestFrame { iface, to: Some(source), bytes: routed },
                        TestFrame { iface, to: None, bytes: frame.to_self(mac).to_vec() },
                    ]
                });
                both.collect()
            }
            // Something else is wrong.
            (Frames::None | Frames::Peers(_), _) | (Frames::Group(_), None) => Vec::new(),
        };
        Some(tests)
    }

    /// What came of it; `None` if nobody has tried. Whether anything has changed.
    pub fn tried_sending(&mut self, now: Nanos, error: Option<Errno>) -> Option<bool> {
        let failures = self.failures.as_mut().filter(|failures| failures.is_trying())?;
        let own_fault = error.and_then(own_fault);
        Some(failures.retried(now, own_fault.map_or(Ok(()), Err)))
    }

    /// An advertisement could not be sent. Whether that is worth a line in the log: once per state.
    pub fn send_failed(&mut self) -> bool {
        self.failed = true;
        !std::mem::replace(&mut self.failing, true)
    }

    /// Forgets what was said about the state that it leaves.
    pub fn transition(&mut self) {
        self.failing = false;
    }

    /// Finds out where its addresses belong, by the names of interfaces: when these change, or its configuration does.
    pub fn resolve(&mut self, find: impl Fn(&str) -> Option<InterfaceId>) {
        let named = self.addresses.iter().any(|address| address.dev().is_some());
        let found = || self.addresses.iter().map(|address| find(address.dev()?)).collect();
        self.address_devs = named.then(found);
    }

    /// Its addresses, and where each of them belongs as far as that exists.
    pub fn addresses_on(&self) -> impl Iterator<Item = (&Address, Option<InterfaceId>)> {
        self.addresses_from(self.iface())
    }

    /// The same, as if it lived there.
    pub fn addresses_from(
        &self,
        own: Option<InterfaceId>,
    ) -> impl Iterator<Item = (&Address, Option<InterfaceId>)> {
        let all = self.addresses.iter().enumerate();
        all.map(move |(index, address)| (address, self.on(index, address, own)))
    }

    /// Where the address at that place in the list belongs.
    fn on(&self, index: usize, address: &Address, own: Option<InterfaceId>) -> Option<InterfaceId> {
        match address.dev() {
            Some(_) => self.address_devs.as_ref()?.get(index).copied()?,
            None => own,
        }
    }

    /// The netlink request for one of its addresses, if the place is one of those. It is looked for at `index` first.
    pub fn request(&self, place: InterfaceAddr, index: usize) -> Option<AddressRequest> {
        let is_it = |(address, on): &(&Address, Option<InterfaceId>)| {
            address.address == place.address && *on == Some(place.iface)
        };
        let first = self.addresses.get(index);
        let first = first.map(|address| (address, self.on(index, address, self.iface())));
        let first = first.filter(is_it);
        let (address, _) = first.or_else(|| self.addresses_on().find(is_it))?;
        Some(address.request(place.iface))
    }
}

/// An interval in centiseconds: at most 25,500.
pub fn centisecs(interval: AdvertInterval) -> u16 {
    match interval {
        AdvertInterval::Secs(secs) => u16::from(secs) * 100,
        AdvertInterval::Centisecs(Centisecs(centisecs)) => centisecs,
    }
}
