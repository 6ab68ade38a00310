//! The validated configuration: what both readers produce and the daemon consumes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use vrrp_common::lease::FenceMode;

use super::address::network;
pub use super::address::{Address, AddressFlags};
pub use super::diagnostic::{Diagnostic, Severity};
use super::notify::{Notify, Settings};
pub use super::routes::{Fixed, OnLost, Route, Routing, Rule};
use super::socket::SocketAccess;
use vrrp_common::virtual_mac;

use crate::capture;
use crate::engine::time::{Centisecs, Nanos};
use crate::engine::types::{AdvertInterval, GarpPolicy, Priority, Version, Vrid};
use crate::types::netns::{self, Netns};

mod delays;
mod hmac;
mod track;
use crate::wire::family::Family;
pub use delays::{Delays, GarpGroup, LinkDelay, Pauses};
pub use hmac::{AntiReplay, Hmac, HmacKey, HmacMode, KeyId, Origin, Secret, TimeWindow};
pub use track::{
    Group, InitFile, ParamMatch, Track, TrackFile, TrackGroup, TrackProcess, TrackScript, Tracked,
};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The virtual routers in the order of the file.
    pub routers: Vec<RouterConfig>,
    /// Sync groups.
    pub groups: Vec<Group>,
    /// Scripts that are tracked.
    pub scripts: Vec<TrackScript>,
    /// Files that are tracked.
    pub files: Vec<TrackFile>,
    /// Processes that are tracked.
    pub processes: Vec<TrackProcess>,
    /// How the engine's thread is scheduled; `None` for [`Scheduling::DEFAULT`] where that is permitted.
    pub scheduling: Option<Scheduling>,
    /// Where metrics are served; `None` for nowhere.
    pub metrics: Option<Listen>,
    /// The network namespace that the daemon runs in; `None` for the one that it is started in.
    pub netns: Option<Netns>,
    /// Who may use the control socket.
    pub control: SocketAccess,
    /// What counts for all scripts and fifos.
    pub notify: Settings,
    /// What is there as long as the daemon runs.
    pub fixed: Fixed,
    /// Who follows it.
    pub track_groups: Vec<TrackGroup>,
    /// What happens later than it could.
    pub delays: Delays,
    /// How interfaces capture.
    pub capture: capture::Settings,
}

impl Config {
    /// Whether any router has signed advertisements.
    pub fn is_signed(&self) -> bool {
        self.routers.iter().any(|router| router.hmac.is_some())
    }

    /// For each router the place of its sync group in [`Self::groups`], if it is in one.
    pub fn memberships(&self) -> Vec<Option<usize>> {
        let members = self.groups.iter().enumerate();
        let members =
            members.flat_map(|(place, group)| group.members.iter().map(move |m| (m, place)));
        let members: HashMap<_, _> = members.collect();
        self.routers.iter().map(|router| members.get(&router.name).copied()).collect()
    }

    /// The interfaces of which the addresses of a subnet stay when the first one goes: where a router wants that, and where
    /// it would take those of another one away, unless a router there does not want it.
    pub fn promoting(&self) -> BTreeSet<&str> {
        let wants = |on: bool| {
            let routers = self.routers.iter();
            let routers =
                routers.filter(move |router| router.routing.promote_secondaries == Some(on));
            routers.map(|router| router.interface.as_str()).collect::<BTreeSet<_>>()
        };
        let of_routers = self.routers.iter().enumerate().flat_map(|(owner, router)| {
            let all = router.addresses.iter().chain(&router.excluded);
            all.map(move |address| (Some(owner), router.interface.as_str(), address))
        });
        let fixed = self.fixed.addresses.iter().map(|address| (None, "", address));
        let (mut owners, mut shared) = (HashMap::new(), BTreeSet::new());
        for (owner, interface, address) in of_routers.chain(fixed) {
            let there = address.peer.unwrap_or(address.address);
            if there.is_ipv4() && address.prefix < 32 {
                let dev = address.dev.as_deref().unwrap_or(interface);
                let subnet = (dev, network(there, address.prefix), address.prefix);
                if *owners.entry(subnet).or_insert(owner) != owner {
                    shared.insert(dev);
                }
            }
        }
        &wants(true) | &(&shared - &wants(false))
    }

    /// The weight of something that is tracked, and its direction, where who tracks it says neither; `None` if there is no
    /// such thing.
    pub fn usual_weight(&self, what: &Tracked) -> Option<(i16, bool)> {
        match what {
            Tracked::Interface(_) => Some((0, false)),
            Tracked::Script(name) => {
                let script = self.scripts.iter().find(|script| script.name == *name)?;
                Some((script.weight, script.reverse))
            }
            Tracked::File(name) => {
                let file = self.files.iter().find(|file| file.name == *name)?;
                Some((file.weight, file.reverse))
            }
            Tracked::Process(name) => {
                let process = self.processes.iter().find(|process| process.name == *name)?;
                Some((process.weight, process.reverse))
            }
        }
    }

    /// The network namespaces of its routers and of what belongs to them, besides that of the daemon.
    pub fn namespaces(&self) -> BTreeSet<Netns> {
        let routing = self.routers.iter().map(|router| &router.routing);
        let fixed = (&self.fixed.routes, &self.fixed.rules);
        let lines = routing.map(|routing| (&routing.routes, &routing.rules)).chain([fixed]);
        let of_lines = lines.flat_map(|(routes, rules)| {
            let of_routes = routes.iter().filter_map(|route| route.netns.clone());
            of_routes.chain(rules.iter().filter_map(|rule| rule.netns.clone()))
        });
        let addresses = self.routers.iter().flat_map(|router| {
            router
                .addresses
                .iter()
                .chain(&router.excluded)
                .filter_map(|address| address.dev.as_deref())
        });
        let fixed = self.fixed.addresses.iter().filter_map(|address| address.dev.as_deref());
        let tracks = self.routers.iter().flat_map(|router| &router.track);
        let tracks = tracks.chain(self.groups.iter().flat_map(|group| &group.track));
        let tracked = tracks.filter_map(|track| match &track.what {
            Tracked::Interface(name) => Some(name.as_str()),
            Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_) => None,
        });
        let own = self.routers.iter().map(|router| router.interface.as_str());
        let interfaces = own.chain(addresses).chain(fixed).chain(tracked);
        interfaces.filter_map(netns::of_interface).chain(of_lines).collect()
    }

    /// For each router a number that is the same for two that are configured alike, wherever they stand in their
    /// files.
    pub fn fingerprints(&mut self) -> Vec<u64> {
        let memberships = self.memberships();
        let groups = memberships.iter().map(|place| place.map(|place| &self.groups[place].name));
        let fingerprints = self.routers.iter_mut().zip(groups).map(|(router, group)| {
            let line = std::mem::take(&mut router.line);
            let mut hasher = DefaultHasher::new();
            (&router, group).hash(&mut hasher);
            router.line = line;
            hasher.finish()
        });
        fingerprints.collect()
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On a TCP port of this address.
    Tcp(SocketAddr),
    /// On a socket file.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = InvalidListen;

    /// `ADDRESS:PORT`, `[ADDRESS]:PORT`, `:PORT` for all addresses, `localhost:PORT` for 127.0.0.1, or `unix:/PATH`. No name
    /// is looked up: at a start nobody may be there who knows it.
    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        /// What fits `struct sockaddr_un` with a zero behind it (unix(7)).
        const LONGEST: usize = 107;
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.starts_with('/') && path.len() <= LONGEST && !path.contains('\0');
            return if fits { Ok(Self::Unix(path.into())) } else { Err(InvalidListen) };
        }
        let address = match text.rsplit_once(':') {
            Some(("", port)) => port.parse().ok().map(|port| (Ipv6Addr::UNSPECIFIED, port).into()),
            Some(("localhost", port)) => {
                port.parse().ok().map(|port| (Ipv4Addr::LOCALHOST, port).into())
            }
            Some(_) | None => text.parse::<SocketAddr>().ok(),
        };
        let address = address.ok_or(InvalidListen)?;
        if address.port() == 0 { Err(InvalidListen) } else { Ok(Self::Tcp(address)) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A string that names no place to listen at.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "write ADDRESS:PORT, as in 127.0.0.1:9560 or [::1]:9560, :PORT for all addresses, or unix:/PATH"
)]
pub struct InvalidListen;

/// How the engine's thread is scheduled (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// `SCHED_FIFO` with this priority, 1-99: ahead of everything that is not real-time.
    Fifo(u8),
    /// Like any other process.
    Other,
}

impl Scheduling {
    /// What is tried when nothing is configured: ahead of ordinary work, behind the kernel's own threads.
    pub const DEFAULT: Self = Self::Fifo(50);

    /// For a thread that must not hold up one that is scheduled like this.
    #[must_use]
    pub fn below(self) -> Self {
        match self {
            Self::Fifo(priority) => Self::Fifo(priority.saturating_sub(1).max(1)),
            Self::Other => Self::Other,
        }
    }
}

impl FromStr for Scheduling {
    type Err = ();

    /// `fifo:PRIORITY` or `other`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "other" {
            return Ok(Self::Other);
        }
        let priority = text.strip_prefix("fifo:").and_then(|number| number.parse().ok());
        priority.filter(|priority| (1..=99).contains(priority)).map(Self::Fifo).ok_or(())
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fifo(priority) => write!(f, "fifo:{priority}"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouterConfig {
    /// Name, unique in the configuration.
    pub name: String,
    /// Line in the configuration file at which the router begins, for messages.
    pub line: usize,
    /// Interface on which it advertises.
    pub interface: String,
    /// Virtual router identifier, unique per interface and family.
    pub vrid: Vrid,
    /// Configured priority.
    pub priority: Priority,
    /// Advertisement interval; also tells the version.
    pub interval: AdvertInterval,
    /// Authentication; only with version 2.
    pub authentication: Authentication,
    /// How advertisements are signed; `None` for not at all. Not with [`Self::authentication`].
    pub hmac: Option<Hmac>,
    /// How advertisements travel.
    pub transport: Transport,
    /// Whether a lower-priority master is pre-empted.
    pub preempt: bool,
    /// `preempt_delay`.
    pub preempt_delay: Nanos,
    /// Version 3: the longest interval of a master that is believed when it is learned, at least its own; `None` for
    /// any.
    pub max_learned_interval: Option<Centisecs>,
    /// Advertised addresses, in order.
    pub addresses: Vec<Address>,
    /// Addresses that move with the router but are not advertised.
    pub excluded: Vec<Address>,
    /// Gratuitous ARP.
    pub garp: GarpPolicy,
    /// `garp_extra_if`: how often an address is announced on each interface on which advertisements do not tell where it is,
    /// while it is master; zero for never.
    pub garp_extra_if: Nanos,
    /// `garp_extra_if all`: not only where it has a virtual MAC address.
    pub garp_extra_if_all: bool,
    /// With unicast: how often its own address is announced while it is backup and says nothing; zero for never.
    pub garp_own_address: Nanos,
    /// `down_timer_adverts`: how many advertisements in a row a master has to miss, 1-100.
    pub down_adverts: u8,
    /// Whether a lower-priority advertisement is answered by one of ours.
    pub lower_prio_advert: bool,
    /// Whether one more advertisement is sent when yielding to a higher priority; `None` for where the other one may
    /// have been master all the time.
    pub higher_prio_advert: Option<bool>,
    /// `owner_ignore_adverts`: whether it takes no notice of what it hears; only with priority 255.
    pub owner_ignores_adverts: bool,
    /// Whether an advertisement whose first address is not link-local is refused (RFC 9568 erratum 8300).
    pub link_local_first: bool,
    /// What stops the host from answering for its addresses when the daemon has left them behind.
    pub fence: Fence,
    /// Whether it has a virtual MAC address on its interface, not that of the interface.
    pub virtual_mac: bool,
    /// Which; `None` for that of its VRID (RFC 9568 section 7.3). Addresses on other interfaces may have it as well.
    pub own_virtual_mac: Option<[u8; 6]>,
    /// Whether its advertisements leave with it, too (`vmac_xmit_base`: they do not).
    pub virtual_mac_adverts: bool,
    /// Whether packets to its addresses are let in while it is not their owner (`Accept_Mode`, RFC 9568 section 6.1).
    pub accept: bool,
    /// `track_src_ip`: whether it is in FAULT while its interface does not have its configured source.
    pub track_source: bool,
    /// How the version 3 checksum is computed on transmission.
    pub v3_checksum: V3Checksum,
    /// What it depends on besides its interface, without what its group depends on.
    pub track: Vec<Track>,
    /// `dont_track_primary`: it goes on while its own interface is down.
    pub dont_track_primary: bool,
    /// What runs when something happens to it; `None` for nothing.
    pub notify: Option<Box<Notify>>,
    /// What comes and goes with it besides its addresses.
    pub routing: Routing,
}

/// When the kernel side stops a host from answering for the addresses of a router that is master no more, without the
/// daemon ([`vrrp_common::lease`]).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum Fence {
    /// When its lease is over and another host claims an address, or when it is outranked.
    #[default]
    Claim,
    /// As soon as its lease is over.
    Lease,
    /// Never.
    Off,
}

impl Fence {
    /// Their names, for messages.
    pub const NAMES: &str = "claim, lease or off";

    /// The word in configurations.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// How the kernel side goes about it, if it does.
    pub const fn mode(self) -> Option<FenceMode> {
        match self {
            Self::Claim => Some(FenceMode::Claim),
            Self::Lease => Some(FenceMode::Lease),
            Self::Off => None,
        }
    }
}

impl RouterConfig {
    /// Whether packets to its addresses are let in: those of their owner are in any case (RFC 9568 section 6.1).
    pub fn accepts(&self) -> bool {
        self.accept || self.priority == Priority::OWNER
    }

    /// Protocol version.
    pub fn version(&self) -> Version {
        self.interval.version()
    }

    /// Address family of its advertisements, and of everything in them: that of the first address.
    pub fn family(&self) -> Family {
        let (source, other) = match &self.transport {
            Transport::Multicast { source, group } => (*source, *group),
            Transport::Unicast { source, peers, .. } => {
                (*source, peers.first().map(|peer| peer.address))
            }
        };
        let first = self.addresses.first().map(|address| address.address);
        first.or(source).or(other).map_or(Family::V4, Family::of)
    }

    /// The multicast group of its advertisements; `None` with unicast.
    pub fn multicast_group(&self) -> Option<IpAddr> {
        match self.transport {
            Transport::Multicast { group, .. } => {
                Some(group.unwrap_or_else(|| self.family().group()))
            }
            Transport::Unicast { .. } => None,
        }
    }

    /// The virtual MAC address that it has wherever it has one.
    pub fn virtual_mac_address(&self) -> [u8; 6] {
        let of_vrid = virtual_mac::of_router(self.family().number(), self.vrid.get());
        self.own_virtual_mac.unwrap_or(of_vrid)
    }

    /// The other interfaces than its own on which addresses have it.
    pub fn virtual_mac_devs(&self) -> impl Iterator<Item = &str> {
        let addresses = self.addresses.iter().chain(&self.excluded);
        let devs = addresses.filter(|address| address.virtual_mac);
        let devs = devs.filter_map(|address| address.dev.as_deref());
        devs.filter(|dev| *dev != self.interface)
    }

    /// Whether it has one on any interface.
    pub fn has_virtual_mac(&self) -> bool {
        self.virtual_mac || self.virtual_mac_devs().next().is_some()
    }

    /// Whether its advertisements leave something unsaid on its own interface: which MAC address its addresses have.
    fn hides_virtual_mac(&self) -> bool {
        self.virtual_mac && !self.virtual_mac_adverts
    }

    /// Whether it has addresses of which `garp_extra_if` tells.
    pub fn has_extra_if(&self) -> bool {
        let addresses = self.addresses.iter().chain(&self.excluded);
        let mut devs = addresses.filter_map(|address| address.dev.as_ref());
        let beside = self.garp_extra_if_all && devs.any(|dev| *dev != self.interface);
        beside || self.virtual_mac_devs().next().is_some() || self.hides_virtual_mac()
    }

    /// What it depends on besides its own interface: what it tracks, and [`Self::implied_interfaces`]. It is in FAULT
    /// while one of those is down, as in keepalived.
    pub fn dependencies(&self) -> Vec<Track> {
        let mut all = self.track.clone();
        for name in self.implied_interfaces() {
            let what = Tracked::Interface(name.to_owned());
            if !all.iter().any(|track| track.what == what) {
                all.push(Track { what, weight: 0, reverse: false });
            }
        }
        all
    }

    /// The interfaces that its addresses, routes and rules name, unless these are not tracked; perhaps more than once.
    /// Its own interface is among them only where it would not be tracked otherwise: for its routes and rules, as in
    /// keepalived, but not for its addresses.
    pub fn implied_interfaces(&self) -> impl Iterator<Item = &str> {
        let addresses = self.addresses.iter().chain(&self.excluded);
        let addresses = addresses.filter(|address| !address.no_track);
        let addresses = addresses.filter_map(|address| address.dev.as_deref());
        let routes = self.routing.routes.iter().filter(|route| !route.no_track);
        let rules = self.routing.rules.iter().filter(|rule| !rule.no_track);
        let rules = rules.flat_map(|rule| [rule.iif.as_deref(), rule.oif.as_deref()]).flatten();
        let others = routes.filter_map(|route| route.dev.as_deref()).chain(rules);
        let own = self.interface.as_str();
        addresses
            .filter(move |name| *name != own)
            .chain(others.filter(move |name| *name != own || self.dont_track_primary))
    }
}

/// Version 2 authentication (RFC 2338 section 5.3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// Type 0.
    #[default]
    None,
    /// Type 1: eight bytes in clear, padded with zeros.
    Pass([u8; 8]),
    /// Type 2: an authentication header (RFC 2402), made with eight bytes, padded with zeros.
    Ah([u8; 8]),
}

/// How advertisements travel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// To a multicast group.
    Multicast {
        /// `mcast_src_ip`: source address; otherwise the interface's first one that is not virtual.
        source: Option<IpAddr>,
        /// `mcast_dst_ip`, `vrrp_mcast_group4`, `vrrp_mcast_group6`: another group than that of the RFC.
        group: Option<IpAddr>,
    },
    /// To each peer.
    Unicast {
        /// `unicast_src_ip`; otherwise the interface's first one that is not virtual.
        source: Option<IpAddr>,
        /// `unicast_peer`, not empty.
        peers: Vec<Peer>,
        /// `unicast_ttl`: TTL or hop limit of what is sent.
        ttl: u8,
        /// `check_unicast_src`: whether advertisements of others than the peers are refused.
        check_source: bool,
    },
}

/// A unicast peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// `min_ttl`: least TTL or hop limit that its advertisements may arrive with.
    pub min_ttl: u8,
    /// `max_ttl`: the greatest one.
    pub max_ttl: u8,
}

impl Peer {
    /// Whether any TTL is accepted from it.
    pub fn accepts_all(&self) -> bool {
        (self.min_ttl, self.max_ttl) == (0, u8::MAX)
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self { address, min_ttl: 0, max_ttl: u8::MAX }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match (self.accepts_all(), self.min_ttl, self.max_ttl) {
            (true, ..) => Ok(()),
            (false, min, max) if min == max => write!(f, " (TTL {min})"),
            (false, min, max) => write!(f, " (TTL {min}-{max})"),
        }
    }
}

/// The version 3 checksum over IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum V3Checksum {
    /// With the pseudo-header (RFC 5798 section 5.2.8): what keepalived, FRR and tcpdump do.
    #[default]
    Rfc5798,
    /// Without (RFC 9568 section 5.2.8).
    Rfc9568,
}
