//! What happens, as [`super::Core`] takes it in.

use std::sync::Arc;

use vrrp_common::event::RxEvent;
use vrrp_common::report::MasterSeen;

use super::effect::ManagerMessage;
use super::namespaces::Presence;
use super::netlink::{Answer, AssignedAddress, Event, Hook, HookState, Link};
use super::notification::Found;
use super::prepared::Read;
use super::send_failures::Errno;
use crate::capture::{Failure, ModeSet};
use crate::core::interface_id::{InterfaceId, NamespaceId};
use crate::engine::types::{Health, ObjectId, RouterId};

/// Something that has happened.
#[allow(missing_docs, reason = "of fields whose names say it")]
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Everything that happened until now has been handed in: timers are judged. It does no harm when none is due.
    Timeout,
    /// The kernel side reports a packet, or what stands in for it: an accepted advertisement with its message, a refused
    /// one with the beginning of its message, or who claims an address that we hold, with his Ethernet address.
    Received {
        interface: InterfaceId,
        /// What is known of the packet.
        event: RxEvent,
        /// What is needed of its bytes.
        payload: &'a [u8],
    },
    /// The same, shorter than it says itself.
    Damaged {
        /// How many bytes there are.
        length: usize,
    },
    /// Somebody else has stopped the ring buffer of reports, which goes on. What was to be reported meanwhile is lost.
    RingMended,
    /// Changes of interfaces, addresses, routes and rules, in the order in which the kernel reports them.
    Changed(Vec<Event>),
    /// All interfaces and all addresses, the latter in the kernel's order. Comes first of all, and after
    /// [`Event::Overrun`]. It was read after every request was carried out that was answered before.
    Listed { links: Vec<Link>, addresses: Vec<AssignedAddress> },
    /// Answers to requests ([`super::Effect::Netlink`]). Each request is answered once, in whatever order; what is lost
    /// on the way is answered by an error.
    Answered(Vec<Answer>),
    /// A network namespace of [`super::Effect::Namespaces`] has come, with all that is in it, or gone, or cannot be used. It is
    /// said before anything in it is reported, and of each once at least.
    Namespace { namespace: NamespaceId, presence: Presence },
    /// The answer to [`super::Effect::Attach`].
    Attached {
        interface: InterfaceId,
        number: u64,
        /// Where our programs are now, or why not.
        result: Result<Hooks, Failure>,
    },
    /// The answer to [`super::Effect::MendEgress`].
    EgressMended {
        interface: InterfaceId,
        /// The program that counts what leaves, if there is one now, or why there are too few file descriptors for it.
        result: Result<Option<Hook>, String>,
    },
    /// How our programs are on interfaces: the answer to [`super::Effect::Look`], or as much of it as is worth one.
    HooksSeen(Vec<HookReport>),
    /// When the master of a router was last heard, as the kernel side has it. Any number of them comes as the answer to
    /// [`super::Effect::QueryLastSeen`], and others may come at any time.
    LastSeen {
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
    FilterSet { router: RouterId },
    /// The answer to [`super::Effect::ReadForwarding`].
    Forwards {
        interface: InterfaceId,
        /// Whether this host routes IPv6 packets that arrive there.
        on: bool,
    },
    /// The answer to [`super::Effect::SendTest`].
    TestSent {
        router: RouterId,
        /// Why one of them could not leave.
        error: Option<Errno>,
    },
    /// A tracked file or process is like this now.
    Health { object: ObjectId, health: Health },
    /// A tracked file cannot be used; what was known before goes on to count.
    BadTrackFile { object: ObjectId, why: String },
    /// All tracked files, or all tracked processes, have been looked at once ([`super::Effect::Watch`]).
    TrackedOnce {
        /// The number of that effect.
        watch: u64,
    },
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
    ConfigurationRead { number: u64, read: Box<Read> },
    /// The service manager was not told that: too much waits for it already ([`super::Effect::NotifyManager`]).
    NotDelivered(ManagerMessage),
    /// Metrics are not served: [`super::Effect::ServeMetrics`] failed.
    NotServed,
    /// The kernel side has fenced a router while it was master ([`vrrp_common::lease`]).
    Fenced { router: RouterId },
    /// The answer to [`super::Effect::MendPins`], if anything was wrong: pins were made again.
    PinsMended {
        /// In that directory.
        dir: Arc<str>,
        /// So many.
        count: usize,
    },
    /// Likewise: they are gone, and cannot be made again, for that reason.
    PinsLost(String),
    /// The clock of this host was set: it is that many nanoseconds ahead of the time by which inputs come.
    ClockSet { realtime_offset: u64 },
    /// From now on the programs of these modes check signatures.
    SignatureModes(ModeSet),
    /// The daemon is to hand over and to end.
    Stop,
}

/// Where our programs should be on an interface; an attachment anew has others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The one that hears.
    pub ingress: Option<Hook>,
    /// The one that counts what leaves.
    pub egress: Option<Hook>,
    /// Where XDP would be, had another program not taken its place: known to the core alone.
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
