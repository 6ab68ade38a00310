//! What happens, as [`super::Core`] takes it in.

use std::sync::Arc;

use vrrp_common::event::RxEvent;
use vrrp_common::report::MasterSeen;

use super::netlink::{Answer, AssignedAddress, Event, Hook, HookState, Link};
use super::notification::Found;
use super::prepared::Read;
use super::send_failures::Errno;
use crate::capture::Choice;
use crate::core::interface_id::InterfaceId;
use crate::engine::types::{Health, ObjectId, RouterId};

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Everything that happened until now has been handed in: timers are judged. It does no harm when none is due.
    Timeout,
    /// The kernel side reports a packet, or what stands in for it: an accepted advertisement with its message, a refused
    /// one with the beginning of its message, or who claims an address that we hold, with his Ethernet address.
    Received {
        /// Where.
        interface: InterfaceId,
        /// What is known of the packet.
        event: RxEvent,
        /// What is needed of its bytes.
        payload: &'a [u8],
    },
    /// Changes of interfaces, addresses, routes and rules, in the order in which the kernel reports them.
    Changed(Vec<Event>),
    /// All interfaces and all addresses, the latter in the kernel's order. Comes first of all, and after
    /// [`Event::Overrun`]. It was read after every request was carried out that was answered before.
    Listed {
        /// The interfaces.
        links: Vec<Link>,
        /// Their addresses.
        addresses: Vec<AssignedAddress>,
    },
    /// Answers to requests ([`super::Effect::Netlink`]). Each request is answered once, in whatever order; what is lost
    /// on the way is answered by an error.
    Answered(Vec<Answer>),
    /// The answer to [`super::Effect::Attach`].
    Attached {
        /// Interface.
        interface: InterfaceId,
        /// How it captures now, or why not at all; what was attached before stays then, unless it was to be attached
        /// again.
        result: Result<Attachment, String>,
    },
    /// What can be asked of an interface has changed: the answer to [`super::Effect::MendEgress`].
    HooksAre {
        /// Interface.
        interface: InterfaceId,
        /// That.
        hooks: Hooks,
    },
    /// There were too few descriptors: the programs that count what leaves were detached everywhere, for good.
    EgressReleased,
    /// How our programs are on interfaces: the answer to [`super::Effect::Look`], or as much of it as is worth one.
    HooksSeen(Vec<HookReport>),
    /// When the master of a router was last heard, as the kernel side has it. Any number of them comes as the answer to
    /// [`super::Effect::QueryLastSeen`], and others may come at any time.
    LastSeen {
        /// The router.
        router: RouterId,
        /// When, and what the master said then if that was not reported.
        seen: MasterSeen,
    },
    /// The end of the answer to [`super::Effect::QueryLastSeen`].
    LastSeenEnd {
        /// Packets that a packet socket has lost since the last time; 0 where there is none.
        lost: u64,
    },
    /// The answer to [`super::Effect::SetFilter`]: what arrives from now on is judged by the new filter.
    FilterSet {
        /// Whose.
        router: RouterId,
    },
    /// The answer to [`super::Effect::ReadForwarding`].
    Forwards {
        /// Interface.
        interface: InterfaceId,
        /// Whether this host routes IPv6 packets that arrive there.
        on: bool,
    },
    /// The answer to [`super::Effect::SendTest`].
    TestSent {
        /// Whose frames they were.
        router: RouterId,
        /// Why one of them could not leave.
        error: Option<Errno>,
    },
    /// A tracked file or process is like this now.
    Health {
        /// Which.
        object: ObjectId,
        /// How it is.
        health: Health,
    },
    /// A tracked file cannot be used; what was known before goes on to count.
    BadTrackFile {
        /// Which.
        object: ObjectId,
        /// Why.
        why: String,
    },
    /// All tracked files, or all tracked processes, have been looked at once ([`super::Effect::Watch`]).
    TrackedOnce,
    /// A tracked script has found out something.
    ScriptFound(Found),
    /// The configuration is to be read again.
    Reload {
        /// Only say what would change.
        check: bool,
        /// Who wants to know what came of it ([`super::Effect::ReloadEnded`]).
        client: Option<u64>,
    },
    /// The answer to [`super::Effect::ReadConfiguration`].
    ConfigurationRead {
        /// Which reading that was.
        number: u64,
        /// What came of it.
        read: Box<Read>,
    },
    /// Metrics are not served: [`super::Effect::ServeMetrics`] failed.
    NotServed,
    /// The kernel side has fenced a router while it was master ([`vrrp_common::lease`]).
    Fenced {
        /// Which.
        router: RouterId,
    },
    /// The answer to [`super::Effect::MendPins`], if anything was wrong: pins were made again.
    PinsMended {
        /// In that directory.
        dir: Arc<str>,
        /// So many.
        count: usize,
    },
    /// Likewise: they are gone, and cannot be made again, for that reason.
    PinsLost(String),
    /// The daemon is to hand over and to end.
    Stop,
}

/// How an interface captures, and what can be asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The mode, and why not a better one.
    pub choice: Choice,
    /// Where our programs are.
    pub hooks: Hooks,
}

/// Where our programs should be on an interface; an attachment anew has others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The one that hears.
    pub ingress: Option<Hook>,
    /// The one that counts what leaves.
    pub egress: Option<Hook>,
    /// Where XDP would be, had another program not taken its place.
    pub displaced: Option<Hook>,
}

/// How a program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookReport {
    /// Where it should be.
    pub hook: Hook,
    /// Whether it is.
    pub state: HookState,
    /// The name of the program that is there instead.
    pub occupant: Option<String>,
}
