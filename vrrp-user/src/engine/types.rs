//! The vocabulary of the engine: what it is told and what it asks for.

use std::net::IpAddr;

use derive_more::Display;
use strum::IntoStaticStr;

use super::adoption::NotAdopted;
pub use crate::types::advert::{Advert, AdvertInterval, Priority, Version};
pub use crate::types::id::{GroupId, Names, ObjectId, RouterId, Vrid};
pub use crate::types::state::{Health, State};
use crate::types::time::{Centisecs, Nanos};
use crate::wire::ethernet::{Colons, Mac};

/// That a router, or a group, depends on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackUse {
    /// On which.
    pub object: ObjectId,
    /// What it counts. 0: the router is in FAULT while the object is down. Positive: so much is added to the
    /// priority while it is up. Negative: so much is taken off while it is down. The number in a file is
    /// multiplied by it; -254 or less is FAULT.
    pub weight: i16,
    /// The other way round: with weight 0 FAULT while the object is up, otherwise the opposite sign.
    pub reverse: bool,
}

/// What the engine must know of a sync group. Its members name it in [`RouterSpec::group`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// What all members depend on.
    pub track: Box<[TrackUse]>,
}

/// How gratuitous ARP (and unsolicited NA) is repeated, with keepalived's names and meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GarpPolicy {
    /// `garp_master_repeat`: rounds sent at once on becoming master.
    pub master_repeat: u32,
    /// `garp_master_delay`: when the second group of rounds follows; zero for never.
    pub master_delay: Nanos,
    /// `garp_master_refresh`: period of the repetition while master; zero for never.
    pub refresh: Nanos,
    /// `garp_master_refresh_repeat`: rounds in each repetition.
    pub refresh_repeat: u32,
    /// `garp_lower_prio_repeat`: rounds sent at once when a lower-priority master was heard; zero for none.
    pub lower_prio_repeat: u32,
    /// `garp_lower_prio_delay`: when the second group follows; zero for never.
    pub lower_prio_delay: Nanos,
}

impl GarpPolicy {
    /// keepalived's defaults: five rounds at once, five more after five seconds, no refresh; the same when a
    /// lower-priority master is heard.
    pub const DEFAULT: Self = Self {
        master_repeat: 5,
        master_delay: Nanos::from_secs(5),
        refresh: Nanos::ZERO,
        refresh_repeat: 1,
        lower_prio_repeat: 5,
        lower_prio_delay: Nanos::from_secs(5),
    };
}

impl Default for GarpPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the engine must know about one virtual router; see [`super::Engine::reconfigure`]. What an advertisement
/// needs is at the end, beside the timers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RouterSpec {
    /// Addresses in the order in which they are advertised.
    pub addresses: Vec<IpAddr>,
    /// What it depends on besides its interface.
    pub track: Box<[TrackUse]>,
    /// Repetition of gratuitous ARP.
    pub garp: GarpPolicy,
    /// How long a lower-priority master is tolerated after start-up or recovery, before pre-emption.
    pub preempt_delay: Nanos,
    /// Version 3: the longest interval of a master that is believed when it is learned; `None` for any. Never shorter
    /// than our own.
    pub max_learned_interval: Option<Centisecs>,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Configured priority; [`Priority::OWNER`] goes master at once.
    pub priority: Priority,
    /// Whether a lower-priority master is pre-empted (RFC 9568 section 6.1, Preempt_Mode).
    pub preempt: bool,
    /// How many advertisements in a row a master has to miss, at least 1: [`DOWN_ADVERTS`] unless all routers
    /// agree on something else.
    ///
    /// [`DOWN_ADVERTS`]: super::election::DOWN_ADVERTS
    pub down_adverts: u8,
    /// `garp_lower_prio`/`lower_prio_no_advert`: whether a lower-priority advertisement heard as master
    /// is answered by one of ours (RFC 9568 section 6.4.3).
    pub lower_prio_advert: bool,
    /// `higher_prio_send_advert`: whether one more advertisement is sent when yielding to a higher priority; `None` for
    /// where the other router may have been master all the time.
    pub higher_prio_advert: Option<bool>,
    /// `owner_ignore_adverts`: whether the owner takes no notice of what it hears.
    pub owner_ignores_adverts: bool,
    /// The group with which it changes state.
    pub group: Option<GroupId>,
    /// Our interval; also tells the version.
    pub interval: AdvertInterval,
}

/// Why this host sends to nobody, whoever may listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
pub enum SendError {
    /// `ENETDOWN`: the interface is down.
    #[display("the network is down (ENETDOWN)")]
    NetworkDown,
    /// `ENOBUFS`: the queue of the interface is full, or what filters behind it drops the packet.
    #[display("a full queue or a filter drops them (ENOBUFS)")]
    NoBuffers,
    /// `EPERM`: a filter on the way out drops the packet.
    #[display("a filter on this host forbids it (EPERM)")]
    NotPermitted,
    /// `EMSGSIZE`: longer than the MTU of the way that it takes.
    #[display("they are longer than the MTU on their way (EMSGSIZE)")]
    TooLong,
}

/// Why a router cannot take part.
#[cfg_attr(test, derive(strum::VariantNames))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum FaultCause {
    /// The interface does not exist.
    #[display("the interface does not exist")]
    InterfaceMissing,
    /// The interface is administratively down or has no carrier.
    #[display("the interface is down or has no carrier")]
    InterfaceDown,
    /// The interface has no address of the router's family to send from.
    #[display("the interface has no address to send from")]
    NoAddress,
    /// The configured source is not an address of the interface (`track_src_ip`).
    #[display("the interface does not have the source address")]
    NoSource,
    /// Advertisements cannot be received there (no XDP program attached).
    #[display("advertisements cannot be received on the interface")]
    NoCapture,
    /// The router is to have a virtual MAC address, and cannot have one there.
    #[display("the interface cannot have the virtual MAC address")]
    NoVirtualMac,
    /// The advertisement is longer than what the interface carries.
    #[display("an advertisement of {length} bytes does not fit the MTU of {mtu}")]
    #[strum(serialize = "mtu")]
    AdvertExceedsMtu {
        /// The IP packet, bytes.
        length: u16,
        /// The interface's MTU, bytes.
        mtu: u32,
    },
    /// This host could send none of the last advertisements, to nobody.
    #[display("this host cannot send advertisements: {_0}")]
    CannotSend(SendError),
    /// Something else that it depends on is not as it should be.
    #[display("something that it tracks is not as it should be")]
    Tracked(ObjectId, Health),
    /// Another member of its sync group is in FAULT.
    #[display("another router of its sync group is in FAULT")]
    #[strum(serialize = "group-member")]
    Member(RouterId),
    /// Another member of its sync group cannot start yet.
    #[display("another router of its sync group cannot start yet")]
    #[strum(serialize = "group-waits")]
    MemberWaits(RouterId),
    /// An operator took it out of the election.
    #[display("stepped down, until `vrrp-user resume`")]
    SteppedDown,
}

impl FaultCause {
    /// A short name that never changes, for programs.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether it is about the router's own interface.
    pub const fn is_link(&self) -> bool {
        match self {
            Self::InterfaceMissing
            | Self::InterfaceDown
            | Self::NoAddress
            | Self::NoSource
            | Self::NoCapture
            | Self::NoVirtualMac
            | Self::AdvertExceedsMtu { .. }
            | Self::CannotSend(_) => true,
            Self::Tracked(..) | Self::Member(_) | Self::MemberWaits(_) | Self::SteppedDown => false,
        }
    }

    /// In words, with the names of what it is about.
    pub fn describe(&self, names: &dyn Names) -> String {
        match self {
            Self::Tracked(object, health) => format!("{} {health}", names.object(*object)),
            Self::Member(router) => {
                format!("{} of the same sync group is in FAULT", names.router(*router))
            }
            Self::MemberWaits(router) => {
                format!("{} of the same sync group cannot start yet", names.router(*router))
            }
            Self::InterfaceMissing
            | Self::InterfaceDown
            | Self::NoAddress
            | Self::NoSource
            | Self::NoCapture
            | Self::NoVirtualMac
            | Self::AdvertExceedsMtu { .. }
            | Self::CannotSend(_)
            | Self::SteppedDown => self.to_string(),
        }
    }
}

/// Whether the interface that a router lives on can carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It can; we send from this address, which also breaks ties between equal priorities.
    Up(IpAddr),
    /// It cannot.
    Down(FaultCause),
}

/// Something of a master that somebody else took away.
#[cfg_attr(test, derive(strum::VariantNames))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
pub enum Lost {
    /// One of its addresses.
    #[display("address {_0} was removed by somebody else")]
    #[strum(serialize = "address-lost")]
    Address(IpAddr),
    /// One of its routes.
    #[display("a route was removed by somebody else")]
    #[strum(serialize = "route-lost")]
    Route,
    /// One of its rules.
    #[display("a rule was removed by somebody else")]
    #[strum(serialize = "rule-lost")]
    Rule,
    /// Its lease: another host has the addresses, and the kernel side has stopped this one from answering for them.
    #[display(
        "its lease ran out while it did not advertise, and another host has the addresses now"
    )]
    #[strum(serialize = "lease-lost")]
    Lease,
}

/// Why a router changed state. As text for somebody who sees only this line, in the middle of the night: what this router
/// did, then why.
#[cfg_attr(test, derive(strum::VariantNames))]
#[allow(missing_docs, reason = "of fields whose names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Cause {
    /// The daemon started and the interface is up.
    #[display("started: listens for a master")]
    Startup,
    /// It was master in a process that was killed, and goes on.
    #[display("adopted: goes on where the daemon before it left off")]
    Adopted,
    /// It was master in a process that was killed, and starts as it would without.
    #[display("started: listens for a master; not adopted: {_0}")]
    NotAdopted(NotAdopted),
    /// We own the addresses (priority 255).
    #[display("took over: owns the addresses (priority 255)")]
    Owner,
    /// No advertisement was heard for the whole master-down interval.
    #[display("took over: no {} for {silence}", silent_master(*master))]
    MasterDown {
        /// The master that went silent, when one was ever heard.
        master: Option<IpAddr>,
        /// How long nothing was heard, until the moment of taking over.
        silence: Nanos,
    },
    /// The master resigned with priority 0 and the skew time passed.
    #[display("took over: master {_0} resigned (priority 0)")]
    MasterResigned(IpAddr),
    /// A master of lower priority was pre-empted.
    #[display("took over: master {master} has a lower priority, {priority}")]
    Preempted { master: IpAddr, priority: Priority },
    /// Another router advertised a higher priority, or the same from a greater address.
    #[display("gave way: {master} advertises and ranks above us with priority {priority}")]
    Yielded { master: IpAddr, priority: Priority },
    /// Something of ours was removed from outside.
    #[display("gave up: {_0}")]
    Lost(Lost),
    /// The interface, or something else that the router depends on, failed.
    #[display("{}", failed(*_0))]
    Fault(FaultCause),
    /// It takes over because its sync group is master already.
    #[display("took over: its sync group is master")]
    GroupMaster,
    /// It gives way because another member of its sync group did.
    #[display("gave way: another router of its sync group did")]
    GroupYielded(RouterId),
    /// The interface recovered.
    #[display("recovered: listens for a master")]
    Recovered,
    /// The daemon stops.
    #[display("stopped: the daemon ends")]
    Shutdown,
    /// The configuration has no such router any more.
    #[display("stopped: no longer in the configuration")]
    Removed,
}

impl Cause {
    /// A short name that never changes, for programs.
    pub fn name(&self) -> &'static str {
        if let Self::Fault(cause) = self {
            cause.name()
        } else if let Self::Lost(lost) = self {
            lost.into()
        } else if let Self::NotAdopted(why) = self {
            why.into()
        } else {
            self.into()
        }
    }

    /// In words, with the names of what it is about.
    pub fn describe(&self, names: &dyn Names) -> String {
        match self {
            Self::Fault(FaultCause::SteppedDown) => self.to_string(),
            Self::Fault(cause) => format!("failed: {}", cause.describe(names)),
            Self::GroupYielded(router) => {
                format!("gave way: {} of the same sync group did", names.router(*router))
            }
            Self::NotAdopted(NotAdopted::Member(router)) => {
                format!(
                    "started: listens for a master; not adopted, as {} of the same sync group is not",
                    names.router(*router)
                )
            }
            Self::Startup
            | Self::Adopted
            | Self::NotAdopted(_)
            | Self::Owner
            | Self::MasterDown { .. }
            | Self::MasterResigned(_)
            | Self::Preempted { .. }
            | Self::Yielded { .. }
            | Self::Lost(_)
            | Self::GroupMaster
            | Self::Recovered
            | Self::Shutdown
            | Self::Removed => self.to_string(),
        }
    }
}

fn silent_master(master: Option<IpAddr>) -> String {
    master
        .map_or_else(|| "master heard".to_owned(), |master| format!("advertisement from {master}"))
}

fn failed(cause: FaultCause) -> String {
    if cause == FaultCause::SteppedDown { cause.to_string() } else { format!("failed: {cause}") }
}

/// Something that happened to one router without changing its state; for log, history and counters.
#[cfg_attr(test, derive(strum::VariantNames))]
#[allow(missing_docs, reason = "of fields whose names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Notice {
    /// An advertised address list differs from ours (RFC 3768 section 7.1; RFC 9568 section 7.1). Reported
    /// once per sender until it matches again; counted each time.
    #[display("{_0} advertises other addresses than ours")]
    AddressListMismatch(IpAddr),
    /// It advertises our addresses in another order than ours.
    #[display("{_0} advertises our addresses in another order")]
    AddressListOrder(IpAddr),
    /// Another router also advertises priority 255 (RFC 9568 section 8.3.2).
    #[display("{_0} also claims to own the addresses (priority 255)")]
    SecondOwner(IpAddr),
    /// As backup, a master other than the last one is heard.
    #[display("new master {master} with priority {priority}")]
    NewMaster { master: IpAddr, priority: Priority },
    /// Version 3: another interval is used, because the master has it (RFC 9568 section 6.4.2).
    #[display("using the master's advertisement interval of {_0}")]
    IntervalLearned(AdvertInterval),
    /// The same, and it is many times ours: when this master falls silent, nobody has the addresses for long.
    #[display(
        "master {master} says that it advertises every {interval}, and we every {configured}: should it fall silent, \
         nobody has the addresses for {wait}"
    )]
    IntervalLong {
        master: IpAddr,
        interval: AdvertInterval,
        configured: AdvertInterval,
        /// The master-down interval that follows.
        wait: Nanos,
    },
    /// The master says that its interval is longer than what is believed.
    #[display("master {master} says that it advertises every {interval}; {used} is believed")]
    IntervalBounded {
        master: IpAddr,
        interval: AdvertInterval,
        /// What is used.
        used: AdvertInterval,
    },
    /// A master is as slow as it says, which is longer than what is believed of others: it was heard again after it
    /// had been replaced. From now on it is believed.
    #[display(
        "master {master} does advertise only every {interval}, which is longer than max_learned_interval; it is followed"
    )]
    IntervalOverBound { master: IpAddr, interval: AdvertInterval },
    /// As master, a router of lower priority (or equal priority and lower address) advertises too.
    #[display("{source} also advertises, but ranks below us with priority {priority}")]
    LowerPriority { source: IpAddr, priority: Priority },
    /// The effective priority changed.
    #[display("effective priority is {to} instead of {from}")]
    PriorityChanged { from: Priority, to: Priority },
    /// As backup, a lower-priority master is heard and will be pre-empted.
    #[display("pre-empting master {master} of lower priority {priority}")]
    Preempting { master: IpAddr, priority: Priority },
    /// As master, another host says by ARP that it has one of our addresses: split brain.
    #[display("split brain: {} also claims {address} while we are master", Colons(*mac))]
    AddressConflict { address: IpAddr, mac: Mac },
    /// What [`Self::AddressConflict`] said is over.
    #[display("split brain is over: {}", end.describe(*address, *mac))]
    AddressConflictOver { address: IpAddr, mac: Mac, end: ConflictEnd },
}

/// Why an address conflict is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictEnd {
    /// The other host has claimed the address no more, although it was asked.
    Silent,
    /// We are master no more, and whoever has the address is right.
    NotMaster,
}

impl ConflictEnd {
    fn describe(self, address: IpAddr, mac: Mac) -> String {
        match self {
            Self::Silent => format!("{} no longer claims {address}", Colons(mac)),
            Self::NotMaster => format!("{address} is left to {}", Colons(mac)),
        }
    }
}

impl Notice {
    /// A short name that never changes, for programs.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether it is one of a pair, the beginning or the end of something: each is worth telling.
    pub const fn is_transition(&self) -> bool {
        match self {
            Self::AddressConflict { .. } | Self::AddressConflictOver { .. } => true,
            Self::AddressListMismatch(_)
            | Self::AddressListOrder(_)
            | Self::SecondOwner(_)
            | Self::NewMaster { .. }
            | Self::IntervalLearned(_)
            | Self::IntervalLong { .. }
            | Self::IntervalBounded { .. }
            | Self::IntervalOverBound { .. }
            | Self::LowerPriority { .. }
            | Self::PriorityChanged { .. }
            | Self::Preempting { .. } => false,
        }
    }

    /// Whether it says that another interval is used.
    pub const fn is_interval(&self) -> bool {
        match self {
            Self::IntervalLearned(_)
            | Self::IntervalLong { .. }
            | Self::IntervalBounded { .. }
            | Self::IntervalOverBound { .. } => true,
            Self::AddressListMismatch(_)
            | Self::AddressListOrder(_)
            | Self::SecondOwner(_)
            | Self::NewMaster { .. }
            | Self::LowerPriority { .. }
            | Self::PriorityChanged { .. }
            | Self::Preempting { .. }
            | Self::AddressConflict { .. }
            | Self::AddressConflictOver { .. } => false,
        }
    }
}

/// What the engine wants done, in the order in which it wants it done.
#[allow(missing_docs, reason = "of fields whose names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send one advertisement to the group or to every peer.
    SendAdvert {
        router: RouterId,
        /// The priority to put in: the effective one, or [`Priority::RESIGN`].
        priority: Priority,
    },
    /// Put the router's addresses, excluded ones included, on their interfaces.
    AddAddresses(RouterId),
    /// Take them away.
    RemoveAddresses(RouterId),
    /// Send this many rounds of gratuitous ARP for every address.
    SendGarp { router: RouterId, rounds: u32 },
    /// The router changed state.
    Transition { router: RouterId, from: State, to: State, cause: Cause, at: Nanos },
    /// A sync group changed state. Follows the transitions of its members.
    GroupTransition { group: GroupId, from: State, to: State, at: Nanos },
    /// As master, it heard an advertisement that ranks below it. Each one, unlike [`Notice::LowerPriority`].
    LowerPriority(RouterId),
    /// The effective priority of a router changed.
    PriorityChanged { router: RouterId, from: Priority, to: Priority },
    /// Something worth telling.
    Notice { router: RouterId, notice: Notice },
}

impl Action {
    /// The router that is to advertise, if this is about that.
    pub fn advertises(&self) -> Option<RouterId> {
        match *self {
            Self::SendAdvert { router, .. } => Some(router),
            Self::AddAddresses(_)
            | Self::RemoveAddresses(_)
            | Self::SendGarp { .. }
            | Self::Transition { .. }
            | Self::GroupTransition { .. }
            | Self::LowerPriority(_)
            | Self::PriorityChanged { .. }
            | Self::Notice { .. } => None,
        }
    }

    /// The router that it concerns, if it is one.
    pub fn router(&self) -> Option<RouterId> {
        match *self {
            Self::AddAddresses(router)
            | Self::RemoveAddresses(router)
            | Self::SendAdvert { router, .. }
            | Self::SendGarp { router, .. }
            | Self::Transition { router, .. }
            | Self::LowerPriority(router)
            | Self::PriorityChanged { router, .. }
            | Self::Notice { router, .. } => Some(router),
            Self::GroupTransition { .. } => None,
        }
    }
}

/// Which advertisements can change anything for a router at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Its state: in INIT and FAULT it listens to nobody.
    pub state: State,
    /// Its effective priority.
    pub priority: Priority,
    /// As backup: a lower priority than its own changes nothing.
    pub ignores_lower: bool,
    /// As backup: the master that it listens to, and its priority.
    pub master: Option<(IpAddr, Priority)>,
}

/// What `status` shows of one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterView {
    /// State.
    pub state: State,
    /// Why it is in that state.
    pub cause: Option<Cause>,
    /// Since when; zero before the first transition.
    pub since: Nanos,
    /// Effective priority.
    pub priority: Priority,
    /// The current master and its priority, when it is another router that was heard.
    pub master: Option<(IpAddr, Priority)>,
    /// The interval in force: the master's as backup with version 3, as far as it is believed, otherwise ours.
    pub interval: AdvertInterval,
    /// What the master says that its interval is, where that is not believed.
    pub disbelieved: Option<AdvertInterval>,
    /// When the next election timer (advertisement, master-down) fires; `None` when none is set.
    pub next_timer: Option<Nanos>,
    /// Master-down interval in force.
    pub master_down_interval: Nanos,
    /// Advertisements heard whose address list differed from ours.
    pub address_list_mismatches: u64,
    /// Of an owner: another router that claims to own the addresses too (RFC 9568 section 8.3.2), and when it was last
    /// heard.
    pub other_owner: Option<(IpAddr, Nanos)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_can_read_it() {
        let master = IpAddr::from([10, 0, 0, 1]);
        let silence = Nanos::from_millis(3609);
        let v3 = |n| AdvertInterval::Centisecs(Centisecs(n)).to_string();
        assert_eq!([v3(100), v3(150), v3(5), v3(1)], ["1 s", "1.5 s", "0.05 s", "0.01 s"]);
        assert_eq!(AdvertInterval::Secs(3).to_string(), "3 s");
        assert_eq!(
            Cause::MasterDown { master: Some(master), silence }.to_string(),
            "took over: no advertisement from 10.0.0.1 for 3.61 s"
        );
        assert_eq!(
            Cause::Fault(FaultCause::InterfaceDown).to_string(),
            "failed: the interface is down or has no carrier"
        );
        assert_eq!(
            Notice::NewMaster { master, priority: Priority(7) }.to_string(),
            "new master 10.0.0.1 with priority 7"
        );
    }
}
