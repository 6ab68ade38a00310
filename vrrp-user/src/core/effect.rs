//! What is to be done, as [`super::Core`] says it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vrrp_common::lease::Terms;
use vrrp_common::maps::{Held, HmacKey, RouterEntry, RouterInfo, TtlRange};
use vrrp_common::report::ReportFilter;

use super::Counter;
use super::attempt::AttachMethod;
use super::interface_id::{InterfaceAddr, NamespaceId, RouterPlace};
use super::netlink::{Ask, Look, UnicastFilter};
use super::notification;
use super::send_failures::TestFrame;
use crate::api::Reloaded;
use crate::config::model::{InitFile, Listen, Scheduling, TrackFile, TrackProcess};
use crate::config::socket::SocketAccess;
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;
use crate::engine::types::{ObjectId, RouterId};
use crate::types::id::KeyId;
use crate::types::netns::Netns;

/// Something that is to be done. Where that fails and nothing is to be answered, whoever does it logs it.
#[allow(missing_docs, reason = "of fields whose names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Be in these network namespaces, besides that of the daemon, as far as they exist, and in no others any more; where they
    /// are, and are not, is said by [`super::Input::Namespace`].
    Namespaces(BTreeMap<NamespaceId, Netns>),
    /// A request by netlink. Answered by [`super::Input::Answered`], once, also where the kernel does not answer.
    Netlink(Ask),
    /// A question for our programs on interfaces. Answered by [`super::Input::HooksSeen`], if it is not all well or
    /// somebody waits for the answer; who waits does so for a bounded time.
    Look(Look),
    /// Attach the programs to an interface in that way and no other. Answered by [`super::Input::Attached`], once for
    /// each. Where it fails, what was attached before stays, unless it was to be put back.
    Attach {
        interface: InterfaceId,
        name: String,
        /// By what the answer is known.
        number: u64,
        way: AttachMethod,
        /// Only if enough file descriptors are left for the others who need some.
        spare: bool,
    },
    /// Detach the programs that count what leaves from all interfaces, and attach none any more.
    ReleaseEgress { why: String },
    /// Detach the programs from an interface, if they are attached there.
    Detach { interface: InterfaceId },
    /// An interface is gone: forget what the kernel side holds for it.
    ForgetInterface { interface: InterfaceId },
    /// The program that counts what leaves is still to come, or was taken away. Answered by [`super::Input::EgressMended`].
    MendEgress {
        interface: InterfaceId,
        name: String,
        /// Whether it is attached.
        attach: bool,
    },
    /// Accept what is for a router.
    SetRouter {
        router: RouterId,
        /// By what it is known.
        key: RouterPlace,
        entry: RouterEntry,
    },
    /// Accept nothing by that key any more.
    RemoveRouter {
        router: RouterId,
        /// By what it was known.
        key: RouterPlace,
    },
    /// Clear what the kernel side has of the router of that number, but for its lease: addresses of a router that is gone
    /// stay fenced until they are gone as well, however often the kernel refuses to remove them.
    ClearRouter(RouterId),
    /// Forget who was heard by routers that are gone; their numbers ascend.
    ForgetPeers(Vec<RouterId>),
    /// Count packets to and from an address.
    CountAddress {
        router: RouterId,
        at: InterfaceAddr,
        /// Whether it is held with a virtual MAC address.
        virtual_mac: bool,
    },
    /// No longer count them.
    UncountAddress { router: RouterId, at: InterfaceAddr },
    /// Report who else claims an address that we have.
    HoldAddress {
        at: InterfaceAddr,
        /// Whose, and our Ethernet address there.
        held: Held,
    },
    /// No longer report that.
    ReleaseAddress { at: InterfaceAddr },
    /// Accept unicast from a peer.
    Allow { router: RouterId, peer: IpAddr, range: TtlRange },
    /// No longer accept it.
    Disallow { router: RouterId, peer: IpAddr },
    /// Check the signatures of a router by this key.
    SetHmacKey { router: RouterId, id: KeyId, key: HmacKey },
    /// No longer by the key of that number.
    RemoveHmacKey { router: RouterId, id: KeyId },
    /// Tell the kernel side which advertisement need not be reported again.
    Acknowledge {
        router: RouterId,
        /// Its digest; 0 for none.
        digest: u64,
    },
    /// Tell the kernel side which advertisements can change anything. Answered by [`super::Input::FilterSet`] with a time
    /// at which every CPU goes by it.
    SetFilter { router: RouterId, filter: ReportFilter },
    /// Change the lease of a router.
    Lease { router: RouterId, change: LeaseChange },
    /// Ask the kernel side when the master of each of these was last heard. Answered by [`super::Input::LastSeen`] for as
    /// many as are known, and then [`super::Input::LastSeenEnd`]. Timers wait for it.
    QueryLastSeen(Vec<RouterId>),
    /// Change what others see of a router.
    Publish { router: RouterId, change: InfoChange },
    /// Count something that was refused or failed.
    Count(Counter),
    /// Join a multicast group.
    Join { router: RouterId, interface: InterfaceId, group: IpAddr },
    /// Leave a multicast group that no router there has any more, or all of them.
    Leave {
        interface: InterfaceId,
        /// Which; `None` for all.
        group: Option<IpAddr>,
    },
    /// A router has a virtual MAC address on an interface: frames to it are for it.
    SetVirtualMac { router: RouterId, interface: InterfaceId, mac: [u8; 6] },
    /// It has it no more there.
    RemoveVirtualMac { router: RouterId, interface: InterfaceId, mac: [u8; 6] },
    /// Let an interface take in frames to another Ethernet address, in the way that it has for that.
    AddUnicastMac { interface: InterfaceId, mac: [u8; 6], filter: UnicastFilter },
    /// No longer let it; on a bridge, also if an earlier daemon did.
    RemoveUnicastMac { interface: InterfaceId, mac: [u8; 6], filter: UnicastFilter },
    /// Find out whether this host routes IPv6 packets that arrive on an interface. Answered by
    /// [`super::Input::Forwards`].
    ReadForwarding { interface: InterfaceId, name: String },
    /// Try whether frames leave that nobody hears, up to the first that does not. Answered by
    /// [`super::Input::TestSent`].
    SendTest { router: RouterId, frames: Vec<TestFrame> },
    /// Tell scripts and fifos something.
    Notify(notification::Event),
    /// Apply the scripts and fifos of the configuration that was read last.
    TakeScripts,
    /// Watch these files and processes, and no others any more. Each kind that is not empty answers
    /// [`super::Input::TrackedOnce`] when all of it was looked at.
    Watch {
        /// By what the answers are known.
        number: u64,
        /// Files, and what is written into them first.
        files: Vec<(ObjectId, TrackFile, Option<InitFile>)>,
        processes: Vec<(ObjectId, TrackProcess)>,
    },
    /// The routers begin.
    Started,
    /// Tell the service manager something. Answered by [`super::Input::NotDelivered`] where that finds no room.
    NotifyManager(ManagerMessage),
    /// Read the configuration. Answered by [`super::Input::ConfigurationRead`], or not at all: then it is given up.
    ReadConfiguration { number: u64, running: usize },
    /// A reload has ended.
    ReloadEnded {
        /// Who wants to know.
        client: Option<u64>,
        report: Box<Reloaded>,
    },
    /// Free what a reload has left ([`super::Core::take_discarded`]), where nobody waits for it.
    Discard,
    /// Serve metrics there, and nowhere else.
    ServeMetrics(Option<Listen>),
    /// Let these use the control socket.
    GrantAccess(SocketAccess),
    /// Be scheduled like this.
    Schedule(Option<Scheduling>),
    /// Give memory back that a burst of work needed.
    GiveMemoryBack,
    /// Make pins again that somebody has deleted. Answered by [`super::Input::PinsMended`] or
    /// [`super::Input::PinsLost`] if any are missing, or were.
    MendPins,
    /// Nothing more is to be done.
    Stopped,
}

/// A change of the lease of a router ([`vrrp_common::lease`]).
#[allow(missing_docs, reason = "of fields whose names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// It takes over.
    Begin {
        /// By a decision made at this time.
        at: Nanos,
        /// What the lease is like.
        terms: Terms,
    },
    /// It is master and goes on; if it has no lease yet, it gets one.
    Continue {
        /// From when on, then.
        at: Nanos,
        /// What the lease is like from now on.
        terms: Terms,
    },
    /// It has addresses that were found when the daemon started: they are whose claims them.
    Found {
        /// What the lease is like, but for that it is over.
        terms: Terms,
    },
    /// It gives up.
    End,
    /// It has none any more: nothing is fenced.
    Drop,
}

/// Something that the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagerMessage {
    /// All routers were looked at: those who wait for us can go on. Also after [`Self::Reloading`].
    Ready(StateCounts),
    /// A new configuration is being applied.
    Reloading,
    /// The end begins.
    Stopping,
    /// How many routers are in which state.
    Status(StateCounts),
    /// The loop turns.
    Watchdog,
}

/// How many virtual routers there are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Masters.
    pub master: usize,
    /// Backups.
    pub backup: usize,
    /// Those that cannot work.
    pub fault: usize,
    /// Those that were not started yet.
    pub init: usize,
}

/// A change of what others see of a router.
#[allow(missing_docs, reason = "of fields whose names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum InfoChange {
    /// Everything: a router begins.
    All(Box<RouterInfo>),
    /// It changed its state.
    State {
        /// The new one, as in [`vrrp_common::maps::state`].
        state: u8,
        /// When, ns.
        since: u64,
        /// The interval by which it goes, centiseconds.
        interval: u16,
    },
    /// It has another configuration.
    Configured {
        name: std::sync::Arc<str>,
        priority: u8,
        /// Configured priority.
        configured: u8,
        version: u8,
        /// Its interval, centiseconds.
        interval: u16,
    },
    /// The interval by which it goes, centiseconds.
    Interval(u16),
    /// Its effective priority.
    Priority(u8),
    /// The master that it listens to; all zero for none.
    Master([u8; 16]),
    /// The interface that it lives on.
    Interface(Option<InterfaceId>),
    /// How advertisements are received, as in [`vrrp_common::maps::capture`].
    Capture(u8),
    /// Addresses that others have put where its belong.
    ForeignAddresses(u16),
    /// Addresses that it holds and that another host claims.
    AddressConflicts(u16),
    /// Accepted advertisements with other addresses.
    AddressListMismatch(u64),
    /// It sent an advertisement of priority 0.
    Resigned,
    /// An advertisement could not be sent.
    SendError,
}

impl InfoChange {
    /// Carries it out; the maps have that number for the interface of the router.
    pub fn apply(self, info: &mut RouterInfo, number: impl FnOnce(InterfaceId) -> u32) {
        match self {
            Self::All(all) => *info = *all,
            Self::State { state, since, interval } => {
                info.state = state;
                info.since_ns = since;
                info.interval_cs = interval;
                info.became_master += u64::from(state == vrrp_common::maps::state::MASTER);
                info.transitions += 1;
            }
            Self::Configured { name, priority, configured, version, interval } => {
                info.set_name(&name);
                info.configured_priority = configured;
                info.priority = priority;
                info.version = version;
                info.configured_interval_cs = interval;
            }
            Self::Interval(interval) => info.interval_cs = interval,
            Self::Priority(priority) => info.priority = priority,
            Self::Master(master) => info.master = master,
            Self::Interface(iface) => info.ifindex = iface.map_or(0, number),
            Self::Capture(capture) => info.capture = capture,
            Self::ForeignAddresses(count) => info.foreign_addresses = count,
            Self::AddressConflicts(count) => info.address_conflicts = count,
            Self::AddressListMismatch(count) => info.address_list_mismatch = count,
            Self::Resigned => info.priority_zero_sent += 1,
            Self::SendError => info.send_errors += 1,
        }
    }
}
