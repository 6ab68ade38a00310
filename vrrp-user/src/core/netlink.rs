//! What is asked of the kernel by netlink, and what it says: values only.
//!
//! [`crate::io::netlink`] carries the requests out, and reads what the kernel says.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::interface_id::{InterfaceAddr, InterfaceId, NamespaceId};
use crate::config::model::{Address, AddressFlags};
use crate::config::routes::{Action, Prefix, Route, Rule};
use crate::wire::family::Family;

/// The metric of IPv6 routes that are added without one (`IP6_RT_PRIO_USER`, linux/ipv6_route.h).
const DEFAULT_METRIC_V6: u32 = 1024;

/// What the kernel says about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub iface: InterfaceId,
    /// Name.
    pub name: String,
    /// Administratively up, and operationally able to carry packets (`IFF_UP` and `IFF_RUNNING`).
    pub up: bool,
    /// Ethernet address; `None` for interfaces of another kind.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet that it carries, bytes; `u32::MAX` where the kernel does not say.
    pub mtu: u32,
    /// Made of ports that may each have an Ethernet address of their own (bond, team): a frame to one of those is for
    /// this interface.
    pub aggregate: bool,
    /// An ipvlan device in mode l3 or l3s: it passes on neither multicast nor ARP (`ipvlan_process_outbound`,
    /// drivers/net/ipvlan/ipvlan_core.c), so that nothing of VRRP gets through.
    pub routed: bool,
    /// Of a VLAN device, the index of the device below in this network namespace.
    pub vlan_of: Option<InterfaceId>,
    /// Administratively up, whatever else (`IFF_UP`).
    pub enabled: bool,
    /// An XDP program is there, whosever.
    pub xdp: bool,
    /// What lets frames to another Ethernet address in.
    pub unicast_filter: UnicastFilter,
}

/// What lets frames to another Ethernet address than the interface's own into an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnicastFilter {
    /// Nothing is needed: it has no filter (veth). A membership would only make it promiscuous.
    None,
    /// A membership of a packet socket.
    Membership,
    /// An entry in its forwarding database, as it is a bridge. A membership would make it take in, and flood, everything.
    Bridge,
    /// Nothing does: it shares its device with others (macvlan, ipvlan), and gets what is for its own address.
    Own,
    /// Nothing is needed, and nothing keeps one out: a macvlan device in mode passthru marks every frame that reaches it as
    /// for this host (`macvlan_handle_frame`, drivers/net/macvlan.c).
    Every,
}

impl UnicastFilter {
    /// Why a virtual MAC address is not available there, as the end of "INTERFACE ...".
    pub const fn lacks(self) -> Option<&'static str> {
        match self {
            Self::Own => Some(
                "is a macvlan or ipvlan device, which gets no frames to another MAC address than its own",
            ),
            Self::Every => Some(
                "is a macvlan device in mode passthru, which takes in frames to every MAC address, also while another host is \
                 master",
            ),
            Self::None | Self::Membership | Self::Bridge => None,
        }
    }
}

#[cfg(test)]
impl Link {
    /// An Ethernet interface with carrier, if it is up.
    pub fn ethernet(ifindex: u32, name: &str, up: bool) -> Self {
        Self {
            iface: InterfaceId::own(ifindex),
            name: name.to_owned(),
            up,
            mac: Some([2; 6]),
            mtu: 1500,
            aggregate: false,
            routed: false,
            vlan_of: None,
            enabled: up,
            xdp: false,
            unicast_filter: UnicastFilter::Membership,
        }
    }
}

/// An address that was put on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedAddress {
    /// The address, and where.
    pub at: InterfaceAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Whether it bears the mark of this program (`IFA_PROTO`, linux/if_addr.h).
    pub marked: bool,
    /// IPv6: duplicate address detection is not done, or has found a duplicate (`IFA_F_TENTATIVE`,
    /// `IFA_F_DADFAILED`): nothing may be sent from it (RFC 4862 section 5.4).
    pub tentative: bool,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface is gone.
    LinkRemoved(InterfaceId),
    /// An address appeared or changed.
    Address(AssignedAddress),
    /// An address is gone.
    AddressRemoved(AssignedAddress),
    /// A route with our mark is there.
    Route(RouteSeen),
    /// A route with our mark is gone.
    RouteRemoved(RouteSeen),
    /// A rule with our mark is there.
    Rule(RuleKey),
    /// A rule with our mark is gone.
    RuleRemoved(RuleKey),
    /// Notifications of routes and rules were lost.
    RoutesOverrun,
    /// Notifications were lost: [`Report::Everything`] follows.
    Overrun,
}

/// An address to add or to remove, as `ip address` would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRequest {
    /// Which, and where.
    pub address: AssignedAddress,
    /// What else is to be said of it: neither interface nor `no_track`, which are for others.
    pub options: Address,
}

impl AddressRequest {
    /// Nothing but the address, which is enough to remove it.
    pub fn plain(address: AssignedAddress) -> Self {
        let plain = Address::new(address.at.address, address.prefix);
        let flags = AddressFlags::default();
        Self { address, options: Address { flags, preferred_lft: None, ..plain } }
    }
}

/// What to do with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Put it on the interface.
    Add,
    /// Take it away.
    Remove,
}

/// Something that the kernel keeps for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// An address.
    Address(AddressRequest),
    /// A route.
    Route(RouteRequest),
    /// A rule.
    Rule(Arc<Rule>),
    /// That the secondary addresses of an interface stay when the primary one of their subnet goes.
    PromoteSecondaries {
        /// Interface.
        iface: InterfaceId,
        /// Its name.
        name: Arc<str>,
    },
    /// That nothing is let in for these addresses, and for no others, in a network namespace; removed, for none.
    Refused(NamespaceId, Arc<[IpAddr]>),
}

impl Object {
    /// Where it is.
    pub fn namespace(&self) -> NamespaceId {
        match self {
            Self::Address(request) => request.address.at.iface.namespace,
            Self::Route(request) => NamespaceId::of(request.route.netns.as_ref()),
            Self::Rule(rule) => NamespaceId::of(rule.netns.as_ref()),
            Self::PromoteSecondaries { iface, .. } => iface.namespace,
            Self::Refused(namespace, _) => *namespace,
        }
    }
}

/// By what the answer to a request is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A virtual address.
    Address(AssignedAddress),
    /// Anything else, by the number that the daemon has for it.
    Object(u32),
    /// The addresses that nothing is let in for, in a network namespace.
    Refused(NamespaceId),
}

/// A request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What to do.
    pub request: Request,
    /// What the answer is to say that it is about.
    pub subject: Subject,
    /// With what.
    pub object: Object,
}

impl Ask {
    /// A request about a virtual address.
    pub fn address(request: Request, address: AddressRequest) -> Self {
        Self {
            request,
            subject: Subject::Address(address.address),
            object: Object::Address(address),
        }
    }
}

/// A route to add or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRequest {
    /// The route.
    pub route: Arc<Route>,
    /// The interfaces that it names, in that order.
    pub oifs: Box<[InterfaceId]>,
}

/// What a route is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteKey {
    /// Where it is.
    pub namespace: NamespaceId,
    /// Where to; tells the family.
    pub destination: Prefix,
    /// Routing table.
    pub table: u32,
    /// Type of service.
    pub tos: u8,
    /// Metric, as the kernel has it.
    pub metric: u32,
    /// What becomes of a packet.
    pub kind: u8,
}

impl From<&Route> for RouteKey {
    fn from(route: &Route) -> Self {
        let default = match route.family() {
            Family::V4 => 0,
            Family::V6 => DEFAULT_METRIC_V6,
        };
        Self {
            namespace: NamespaceId::of(route.netns.as_ref()),
            destination: route.destination,
            table: route.table,
            tos: route.tos,
            metric: route.metric.filter(|metric| *metric != 0).unwrap_or(default),
            kind: route.kind as u8,
        }
    }
}

/// What a rule is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleKey {
    /// Where it is.
    pub namespace: NamespaceId,
    /// Family.
    pub family: Family,
    /// Lower ones go first.
    pub priority: u32,
    /// Where packets come from.
    pub from: Option<Prefix>,
    /// Where they go.
    pub to: Option<Prefix>,
    /// Routing table, 0 for none.
    pub table: u32,
}

impl From<&Rule> for RuleKey {
    fn from(rule: &Rule) -> Self {
        let table = match rule.action {
            Action::Table(table) => table,
            Action::L3mdev
            | Action::Goto(_)
            | Action::Nop
            | Action::Blackhole
            | Action::Unreachable
            | Action::Prohibit => 0,
        };
        let Rule { family, priority, from, to, .. } = *rule;
        let namespace = NamespaceId::of(rule.netns.as_ref());
        Self { namespace, family, priority, from, to, table }
    }
}

/// A route of ours that the kernel reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSeen {
    /// Which.
    pub key: RouteKey,
    /// Its gateway, if it has one.
    pub via: Option<IpAddr>,
    /// Its interface, if it has one.
    pub oif: Option<InterfaceId>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct RequestError {
    errno: Option<i32>,
    why: Box<str>,
}

impl RequestError {
    /// The kernel's error number, when that is what it is, and the reason in words.
    pub fn new(errno: Option<i32>, why: impl Into<Box<str>>) -> Self {
        Self { errno, why: why.into() }
    }

    /// The kernel's error number, when that is what it is.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// The address or its interface is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno, Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO))
    }
}

/// How a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was to do.
    pub request: Request,
    /// With what.
    pub subject: Subject,
    /// What the kernel said.
    pub result: Result<(), RequestError>,
    /// It was there before, bears no mark, and was put there by this daemon all the same, or by one before it that was
    /// killed.
    pub ours: bool,
}

/// Where one of our programs should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Interface.
    pub iface: InterfaceId,
    /// Where on it.
    pub at: HookPoint,
    /// The kernel's number of the program.
    pub program: u32,
    /// Which attachment of the daemon's that is: an answer about an earlier one is worth nothing.
    pub serial: u64,
}

/// A place for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// XDP, in whatever mode.
    Xdp,
    /// The chain of programs at the ingress of the network stack.
    Tcx,
    /// The one at its egress.
    TcxEgress,
    /// A filter at the ingress or egress, where the kernel has no such chains.
    Filter {
        /// Of what leaves.
        egress: bool,
        /// Its priority.
        priority: u16,
        /// Its number among those of the same priority.
        handle: u32,
    },
}

/// How it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// The program is there.
    Intact,
    /// It is not, but perhaps that one.
    Lost(Option<u32>),
    /// The interface is gone.
    LinkRemoved,
    /// The kernel does not tell.
    Unknown,
}

/// Which hooks to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Those.
    pub hooks: Vec<Hook>,
    /// Whether somebody waits for the answer. Otherwise what is as it should be is not worth one.
    pub answer: bool,
}

impl fmt::Display for AssignedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.at.address, self.prefix)
    }
}
