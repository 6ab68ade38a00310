//! One virtual router: the state machine of RFC 9568 section 6.4 with keepalived's FAULT beside it.
//!
//! ```text
//!                         LinkUp, priority 255
//!            +----------+ -------------------------> +----------+
//!  LinkDown  |   Init   |                            |  Master  | Lost, a higher       
//!   +------- |  Fault   | ---------> +----------+    +----------+ priority heard
//!   +------> +----------+   LinkUp   |  Backup  | <----'   ^
//!                 ^                  +----------+ ---------'
//!                 '---- LinkDown,         |      MasterDown timer
//!                       Shutdown ---------'      (silence, priority 0, pre-emption)
//! ```
//!
//! `Reconfigured` changes no state, except that whoever becomes the owner of its addresses becomes master.
//!
//! "Active" in RFC 9568 is "master" here, as users of keepalived know it. Time comes in as an argument:
//! for an advertisement it is its arrival, which may lie before the event handled last.
//! What does not concern a single router belongs into [`super::Engine`].

use std::collections::VecDeque;
use std::mem::offset_of;
use std::net::IpAddr;

use super::adoption::{Adopted, NotAdopted};
use super::election::{interval_duration, is_long, master_down_interval, outranks, skew};
use super::group::Fitness;
use super::time::Nanos;
use super::timers::{Deadlines, Timer};
use super::types::{
    Action, Advert, AdvertInterval, Cause, FaultCause, GarpPolicy, Interest, Lost, Notice,
    Priority, RouterId, RouterSpec, RouterView, State, Version,
};
use crate::types::planted::{Fault, planted};

mod reconfigure;

/// Routers that may advertise at the same instant.
const GROUP: u32 = 128;
/// Instants in an advertisement interval.
const GROUPS: u64 = 32;

/// How long at least is between two announcements of the addresses that advertisements of a lower priority ask for:
/// keepalived's default of the delay between the two that there are in any case.
const GARP_PAUSE: Nanos = Nanos::from_secs(5);
/// How many takeovers in a row, with no state that lasts for [`GARP_PAUSE`], are announced with all rounds. Forged
/// advertisements can make a router take over thirty times a second; one round tells where the addresses are, and when the
/// router stays master the delayed rounds follow.
const FULL_TAKEOVERS: u8 = 4;

/// What can happen to a router.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The interface can carry the router; advertisements leave from this address.
    LinkUp(IpAddr),
    /// The interface cannot carry the router.
    LinkDown(FaultCause),
    /// An advertisement arrived that passed the receive checks. It is read only now, which is later than it arrived if
    /// the process was stopped meanwhile.
    Advert(&'a Advert, ReadAt),
    /// The master that is listened to ([`VirtualRouter::interest`]) was heard again: it says what it said before
    /// ([`VirtualRouter::is_steady`]), or this.
    LastSeen(Option<(Priority, AdvertInterval)>),
    /// A deadline passed.
    Timer(Timer),
    /// One of the router's addresses was removed by somebody else.
    Lost(Lost),
    /// What it tracks, or an operator, keeps it from taking part, or no more.
    Inhibit(Option<Inhibit>),
    /// Its group keeps it from taking part, or no more.
    GroupInhibit(Option<Inhibit>),
    /// Its effective priority changes.
    Priority(Priority),
    /// All members of its group want to be master, or the group is master already.
    TakeOver,
    /// That member of its group gave way.
    Yield(RouterId),
    /// Another host claims one of its addresses, or does so no more.
    Contested(bool),
    /// It could not hear until now.
    NotListening,
    /// The configuration of the router changed.
    Reconfigured(&'a RouterSpec),
    /// The router stops, for this reason.
    Shutdown(Cause),
}

/// When an advertisement was read, on the clock on which it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAt(pub Nanos);

/// What keeps a router from taking part although its interface would let it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inhibit {
    /// It is in FAULT.
    Fault(FaultCause),
    /// It does not start, but goes on if it runs.
    Wait(FaultCause),
}

impl Inhibit {
    fn cause(self) -> FaultCause {
        match self {
            Self::Fault(cause) | Self::Wait(cause) => cause,
        }
    }
}

/// Whether a router can take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    /// It can, and advertisements leave from this address.
    Able(IpAddr),
    /// It cannot start, but go on.
    Waits(Option<FaultCause>),
    /// It cannot.
    Unable(FaultCause),
}

/// What keeps a router from taking part; of most routers there is none of it.
#[derive(Clone, Copy, Debug, Default)]
struct Inhibits {
    own: Option<Inhibit>,
    group: Option<Inhibit>,
    /// keepalived's `vrrp_startup_delay`: what is heard before counts, what is not heard does not.
    starts_at: Nanos,
    /// What it was in a process that was killed, until it begins.
    adopted: Option<Result<Adopted, NotAdopted>>,
    /// The priority that it had there, until what it tracks is known.
    adopted_priority: Option<Priority>,
}

impl Inhibits {
    fn is_adopted(&self) -> bool {
        matches!(self.adopted, Some(Ok(_)))
    }
}

/// What the master-down timer of a backup is waiting out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Whether anybody is master at all.
    Silence,
    /// The skew after this router resigned.
    Resigned(IpAddr),
    /// The rest of the master-down interval of the master that is being pre-empted; its interval counts if it stays.
    Preempting(AdvertInterval),
}

/// Senders about which something was reported already. Bounded, because sources can be forged.
#[derive(Clone, Debug, Default)]
struct Senders(VecDeque<IpAddr>);

impl Senders {
    const MAX: usize = 16;

    /// Whether the sender is new to the list; the oldest one makes room.
    fn insert(&mut self, sender: IpAddr) -> bool {
        if self.0.contains(&sender) {
            return false;
        }
        if self.0.len() == Self::MAX {
            self.0.pop_front();
        }
        self.0.push_back(sender);
        true
    }

    fn remove(&mut self, sender: IpAddr) {
        self.0.retain(|&known| known != sender);
    }
}

/// What was reported already.
#[derive(Clone, Debug, Default)]
struct Reported {
    /// [`Notice::AddressListMismatch`].
    mismatched: Senders,
    /// [`Notice::AddressListOrder`].
    reordered: Senders,
    /// [`Notice::LowerPriority`].
    rivals: Senders,
    /// [`Notice::SecondOwner`].
    owners: Senders,
    /// Who else claimed to own the addresses, and when it was last heard to.
    other_owner: Option<(IpAddr, Nanos)>,
    /// Which master's interval is not believed, and what that is.
    disbelieved: Option<(IpAddr, AdvertInterval)>,
    /// Masters that were replaced although they may have been as slow as they said.
    slow: Senders,
    /// How many of its addresses another host claims at the moment.
    contested: u32,
    /// As master: when it last spoke because of what it heard. Whatever had arrived until then is answered with that.
    answered: Nanos,
    /// To whom it gave way last, and when.
    yielded: Option<(IpAddr, Nanos)>,
    /// From when on an advertisement of a lower priority makes it announce its addresses at once again.
    garp_free_at: Nanos,
}

/// One virtual router. In this order, because that of thousands lies in no cache when their timers fire: what an
/// advertisement needs, from the end of the specification to the deadlines, is one cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct VirtualRouter {
    since: Nanos,
    /// As backup: the last advertisement, or the start of listening.
    last_seen: Nanos,
    mismatches: u64,
    /// Elsewhere, because of most routers there is nothing to report.
    reported: Option<Box<Reported>>,
    spec: RouterSpec,
    id: RouterId,
    state: State,
    /// Effective priority.
    priority: Priority,
    /// As backup in a group: the master-down timer has fired, and other members are waited for.
    wants: bool,
    /// How often it took over since a state lasted for [`GARP_PAUSE`].
    quick_takeovers: u8,
    deadlines: Deadlines,
    /// `Active_Adver_Interval` (RFC 9568 section 6.1).
    active: AdvertInterval,
    master: Option<(IpAddr, Priority)>,
    waiting: Waiting,
    /// Where our advertisements come from; `None` until the link was up once.
    local: Option<IpAddr>,
    /// Why the link cannot carry the router; `None` while it can, or is not known.
    link_fault: Option<FaultCause>,
    /// As backup: when the lower-priority master that is heard has been tolerated long enough.
    preempt_at: Option<Nanos>,
    cause: Option<Cause>,
    /// Elsewhere, because most routers have no tracking and no group.
    inhibits: Option<Box<Inhibits>>,
}

/// A cache line, bytes.
const LINE: usize = 64;
const _: () = {
    let group = offset_of!(VirtualRouter, spec) + offset_of!(RouterSpec, group);
    let last = offset_of!(VirtualRouter, deadlines) + size_of::<Deadlines>() - 1;
    assert!(group / LINE == last / LINE, "an advertisement needs one line");
    assert!(size_of::<Option<VirtualRouter>>() <= 5 * LINE, "there are thousands");
};

impl VirtualRouter {
    /// A router in [`State::Init`].
    pub fn new(id: RouterId, spec: RouterSpec) -> Self {
        Self {
            id,
            state: State::Init,
            cause: None,
            since: Nanos::ZERO,
            local: None,
            link_fault: None,
            priority: spec.priority,
            wants: false,
            quick_takeovers: 0,
            active: spec.interval,
            master: None,
            last_seen: Nanos::ZERO,
            waiting: Waiting::Silence,
            preempt_at: None,
            deadlines: Deadlines::default(),
            mismatches: 0,
            reported: None,
            inhibits: None,
            spec,
        }
    }

    /// It does not become master before that, and unless it is the owner a master-down interval.
    pub fn delay_start(&mut self, until: Nanos) {
        self.inhibits.get_or_insert_default().starts_at = until;
    }

    /// It was master in a process that was killed, and goes on, or begins as usual for that reason.
    /// `unknown`: something that it tracks is not known yet.
    pub fn adopt(&mut self, adopted: Result<Adopted, NotAdopted>, unknown: bool) {
        let kept = adopted.ok().filter(|_| unknown).map(|adopted| adopted.priority);
        // An owner's is what is configured (RFC 9568 section 5.2.4).
        let kept = kept.filter(|kept| *kept != Priority::OWNER && !self.is_owner());
        self.priority = kept.unwrap_or(self.priority);
        let inhibits = self.inhibits.get_or_insert_default();
        (inhibits.adopted, inhibits.adopted_priority) = (Some(adopted), kept);
    }

    /// So many mismatches were counted before.
    pub fn continue_mismatches(&mut self, counted: u64) {
        self.mismatches = counted;
    }

    /// Whether it will go on as the master that it was.
    pub fn is_to_be_adopted(&self) -> bool {
        self.inhibits.as_deref().is_some_and(Inhibits::is_adopted)
    }

    /// The priority with which it goes on as long as something that it tracks is not known.
    pub fn adopted_priority(&self) -> Option<Priority> {
        self.inhibits.as_ref()?.adopted_priority
    }

    /// All of that is known now.
    pub fn forget_adopted_priority(&mut self) {
        if let Some(inhibits) = &mut self.inhibits {
            inhibits.adopted_priority = None;
        }
    }

    /// What it was made with.
    pub fn spec(&self) -> &RouterSpec {
        &self.spec
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its timers.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Lets the master-down timer fire at another time if it fires at one of these. Whether it does.
    pub fn move_master_down(&mut self, which: impl Fn(Nanos) -> bool, to: Nanos) -> bool {
        let moves = self.deadlines.get(Timer::MasterDown).is_some_and(which);
        if moves {
            self.deadlines.set(Timer::MasterDown, to);
        }
        moves
    }

    /// Touches what an advertisement needs. The number means nothing.
    pub fn peek(&self) -> u8 {
        self.priority.0
    }

    /// Its effective priority.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Whether it is master, or would be if the other members of its group were, too.
    pub fn is_ready(&self) -> bool {
        self.state == State::Master || self.wants
    }

    /// Whether it would be master by now if the other members of its group were.
    pub fn waits_for_group(&self) -> bool {
        self.state == State::Backup && self.wants
    }

    /// How it is by itself, whatever the others in its group do.
    pub fn fitness(&self) -> Fitness {
        match self.ability(self.inhibits.as_ref().and_then(|inhibits| inhibits.own), None) {
            Ability::Able(_) => Fitness::Fit,
            Ability::Waits(_) => Fitness::Waiting,
            Ability::Unable(_) => Fitness::Faulty,
        }
    }

    /// Everything that keeps it from taking part.
    pub fn causes(&self) -> Vec<FaultCause> {
        let inhibits = self.inhibits.as_deref().copied().unwrap_or_default();
        let inhibits = [inhibits.own, inhibits.group].into_iter().flatten().map(Inhibit::cause);
        // That the group waits for this one says nothing new.
        let itself = [FaultCause::Member(self.id), FaultCause::MemberWaits(self.id)];
        let inhibits = inhibits.filter(|cause| !itself.contains(cause));
        self.link_fault.into_iter().chain(inhibits).collect()
    }

    /// What `status` shows.
    pub fn view(&self) -> RouterView {
        RouterView {
            state: self.state,
            cause: self.cause,
            since: self.since,
            priority: self.priority,
            master: self.master,
            interval: self.active,
            disbelieved: self.disbelieved(),
            next_timer: match self.state {
                State::Init | State::Fault => None,
                State::Backup => self.deadlines.get(Timer::MasterDown),
                State::Master => self.deadlines.get(Timer::Advert),
            },
            master_down_interval: self.master_down_interval(),
            address_list_mismatches: self.mismatches,
            other_owner: self.other_owner(),
        }
    }

    /// What its master says that its interval is, if that is not believed.
    fn disbelieved(&self) -> Option<AdvertInterval> {
        let (source, theirs) = self.reported.as_ref()?.disbelieved?;
        (self.master?.0 == source).then_some(theirs)
    }

    /// Whoever else claims to own the addresses, as far as this one does at present.
    fn other_owner(&self) -> Option<(IpAddr, Nanos)> {
        if !self.is_owner() {
            return None;
        }
        // Of what a backup hears of its master, most wakes nobody.
        let followed = self.master.filter(|(_, priority)| *priority == Priority::OWNER);
        let heard = self.reported.as_ref().and_then(|reported| reported.other_owner);
        followed.map(|(master, _)| (master, self.last_seen)).or(heard)
    }

    /// Whether another advertisement just like this one would only restart the master-down timer: then
    /// nobody needs to be woken for it, and [`Event::LastSeen`] does instead.
    pub fn is_steady(&self, advert: &Advert) -> bool {
        self.state == State::Backup
            && self.waiting == Waiting::Silence
            && self.preempt_at.is_none()
            && advert.priority != Priority::RESIGN
            && self.master == Some((advert.source, advert.priority))
            && self.active == self.believed(advert.source, advert.interval)
            && !self.mismatched(advert.source)
    }

    /// Which advertisements can change anything at the moment.
    pub fn interest(&self) -> Interest {
        let follows = self.state == State::Backup && self.waiting == Waiting::Silence;
        let master = self.master.filter(|_| follows);
        let ignores_lower = match (self.state, self.waiting) {
            // With a delay, whoever is lower counts from when it is first heard.
            (State::Backup, Waiting::Silence) => {
                self.preempts()
                    && self.preempt_delay() == Nanos::ZERO
                    && master.is_some_and(|(_, theirs)| !self.should_preempt(theirs))
            }
            (State::Backup, Waiting::Preempting(_)) => self.preempts(),
            (State::Backup, Waiting::Resigned(_))
            | (State::Init | State::Master | State::Fault, _) => false,
        };
        Interest { state: self.state, priority: self.priority, ignores_lower, master }
    }

    /// Takes one event; what is to be done is appended to `out`, in order.
    pub fn handle(&mut self, now: Nanos, event: Event<'_>, out: &mut VecDeque<Action>) {
        match (self.state, event) {
            (State::Init | State::Backup | State::Master | State::Fault, Event::LinkUp(local)) => {
                // Not in the RFC: for a router that runs the new address counts from the next tie on.
                self.local = Some(local);
                self.link_fault = None;
                self.evaluate(now, out);
            }
            (
                State::Init | State::Backup | State::Master | State::Fault,
                Event::LinkDown(cause),
            ) => {
                self.link_fault = Some(cause);
                self.evaluate(now, out);
            }
            (
                State::Init | State::Backup | State::Master | State::Fault,
                Event::Inhibit(inhibit),
            ) => {
                if inhibit.is_some() || self.inhibits.is_some() {
                    self.inhibits.get_or_insert_default().own = inhibit;
                }
                self.evaluate(now, out);
            }
            (
                State::Init | State::Backup | State::Master | State::Fault,
                Event::GroupInhibit(inhibit),
            ) => {
                self.inhibits.get_or_insert_default().group = inhibit;
                self.evaluate(now, out);
            }
            (State::Init | State::Backup | State::Master | State::Fault, Event::Priority(to)) => {
                self.change_priority(now, to, out);
            }

            // RFC 9568 section 6.4.1: Init ignores advertisements; so does keepalived's FAULT.
            (State::Init | State::Fault, Event::Advert(..)) => {}
            // RFC 9568 section 6.4.2.
            (State::Backup, Event::Advert(advert, _)) => {
                self.handle_advert_as_backup(now, advert, out);
            }
            // RFC 9568 section 6.4.3.
            (State::Master, Event::Advert(advert, read)) => {
                self.handle_advert_as_master(now, read, advert, out);
            }

            // RFC 9568 section 6.4.2, for an advertisement that says what the last one said.
            (State::Backup, Event::LastSeen(None)) => {
                let follows = self.waiting == Waiting::Silence && self.preempt_at.is_none();
                // Nothing is heard twice, and who ranks below us since the last one is not followed.
                let followed = self.master.is_some_and(|(_, theirs)| !self.should_preempt(theirs));
                if follows && followed && now > self.last_seen {
                    self.last_seen = now;
                    self.wants = false;
                    self.arm(Timer::MasterDown, now, self.master_down_interval());
                }
            }
            (State::Backup, Event::LastSeen(Some((priority, interval)))) => {
                if let Some((master, _)) = self.interest().master {
                    self.follow_as_backup(now, master, priority, interval, out);
                }
            }
            (State::Init | State::Master | State::Fault, Event::LastSeen(_)) => {}

            // Not in the RFC: what could not be heard is no silence. Never sooner than without that.
            (State::Backup, Event::NotListening) => {
                self.last_seen = self.last_seen.max(now);
                self.wants = false;
                let due = self.deadlines.get(Timer::MasterDown).unwrap_or(now);
                let listened = now + self.master_down_interval();
                self.deadlines.set(Timer::MasterDown, due.max(listened));
            }
            (State::Init | State::Master | State::Fault, Event::NotListening) => {}

            // RFC 9568 section 6.4.2: Active_Down_Timer fires.
            (State::Backup, Event::Timer(Timer::MasterDown)) if self.spec.group.is_some() => {
                // keepalived: a member says that it would, and the last one to say so takes all along.
                self.wants = true;
                self.arm(Timer::MasterDown, now, self.master_down_interval());
            }
            (State::Backup, Event::Timer(Timer::MasterDown)) => self.take_over(now, out),
            // keepalived: the group is master as a whole.
            (State::Backup, Event::TakeOver) if self.wants => self.take_over(now, out),
            (State::Backup, Event::TakeOver) => self.become_master(now, Cause::GroupMaster, out),
            (State::Init | State::Master | State::Fault, Event::TakeOver) => {}
            (State::Master, Event::Yield(member)) => {
                // keepalived says nothing; but whoever takes over needs not wait for our silence.
                self.advertise(Priority::RESIGN, out);
                out.push_back(Action::RemoveAddresses(self.id));
                let wait =
                    master_down_interval(self.priority, self.spec.interval, self.spec.down_adverts);
                self.become_backup(now, wait, Cause::GroupYielded(member), out);
            }
            (State::Backup, Event::Yield(_)) => self.wants = false,
            (State::Init | State::Fault, Event::Yield(_)) => {}
            // RFC 9568 section 6.4.3: Adver_Timer fires.
            (State::Master, Event::Timer(Timer::Advert)) => self.advertise_on_time(now, out),
            // keepalived's repetition of gratuitous ARP.
            (State::Master, Event::Timer(timer @ Timer::GarpDelayed)) => {
                self.deadlines.cancel(timer);
                self.garp(self.spec.garp.master_repeat, out);
            }
            (State::Master, Event::Timer(Timer::GarpRefresh)) => {
                self.garp(self.spec.garp.refresh_repeat, out);
                self.arm(Timer::GarpRefresh, now, self.spec.garp.refresh);
            }
            (State::Master, Event::Timer(timer @ Timer::GarpLowerPrio)) => {
                self.deadlines.cancel(timer);
                self.garp(self.spec.garp.lower_prio_repeat, out);
                self.reported().garp_free_at = now + GARP_PAUSE;
            }
            // Never set in these states; should one fire, it must not stay due.
            (State::Master, Event::Timer(timer @ Timer::MasterDown))
            | (
                State::Backup,
                Event::Timer(
                    timer @ (Timer::Advert
                    | Timer::GarpDelayed
                    | Timer::GarpRefresh
                    | Timer::GarpLowerPrio),
                ),
            )
            | (State::Init | State::Fault, Event::Timer(timer)) => self.deadlines.cancel(timer),

            // Not in the RFC: somebody else is master meanwhile, and nobody is to hear of us before we have listened.
            (State::Master, Event::Lost(lost @ Lost::Lease)) => {
                out.push_back(Action::RemoveAddresses(self.id));
                let wait =
                    master_down_interval(self.priority, self.spec.interval, self.spec.down_adverts);
                self.become_backup(now, wait, Cause::Lost(lost), out);
            }
            // keepalived: who lost an address, route or rule gives up the others too, and comes back after the skew.
            (State::Master, Event::Lost(lost)) => {
                self.advertise(Priority::RESIGN, out);
                out.push_back(Action::RemoveAddresses(self.id));
                let wait = skew(self.priority, self.spec.interval);
                self.become_backup(now, wait, Cause::Lost(lost), out);
            }
            // Only a master holds addresses; this one was still on its way when it left.
            (State::Init | State::Backup | State::Fault, Event::Lost(_)) => {}

            (State::Master, Event::Contested(begins)) => {
                let count = self.reported().contested;
                let now = if begins { count.saturating_add(1) } else { count.saturating_sub(1) };
                self.reported().contested = now;
            }
            // Only a master holds addresses; what is left of it is forgotten when it becomes one again.
            (State::Init | State::Backup | State::Fault, Event::Contested(_)) => {}

            // Not in the RFC; what keepalived does when it reloads.
            (State::Init | State::Fault, Event::Reconfigured(spec)) => self.reconfigure_idle(spec),
            (State::Backup, Event::Reconfigured(spec)) => self.reconfigure_backup(now, spec, out),
            (State::Master, Event::Reconfigured(spec)) => self.reconfigure_master(now, spec),

            (State::Init, Event::Shutdown(_)) => {}
            // RFC 9568 section 6.4.2: cancel the timer, Init.
            (State::Backup | State::Fault, Event::Shutdown(cause)) => self.stop(now, cause, out),
            // RFC 9568 section 6.4.3: cancel the timer, send priority 0, Init.
            (State::Master, Event::Shutdown(cause)) => {
                self.advertise(Priority::RESIGN, out);
                out.push_back(Action::RemoveAddresses(self.id));
                self.stop(now, cause, out);
            }
        }
    }

    /// Whether it can take part, as far as these go.
    fn ability(&self, own: Option<Inhibit>, group: Option<Inhibit>) -> Ability {
        if let Some(cause) = self.link_fault {
            return Ability::Unable(cause);
        }
        let Some(local) = self.local else {
            // It is not known where it lives, and everything else comes later.
            return Ability::Waits(None);
        };
        for inhibit in [own, group].into_iter().flatten() {
            if let Inhibit::Fault(cause) = inhibit {
                return Ability::Unable(cause);
            }
        }
        match own.or(group) {
            Some(inhibit) => Ability::Waits(Some(inhibit.cause())),
            None => Ability::Able(local),
        }
    }

    /// Starts or fails, if what it depends on has changed so.
    fn evaluate(&mut self, now: Nanos, out: &mut VecDeque<Action>) {
        let inhibits = self.inhibits.as_deref().copied().unwrap_or_default();
        match (self.state, self.ability(inhibits.own, inhibits.group)) {
            (State::Init, Ability::Able(_) | Ability::Waits(Some(_))) if inhibits.is_adopted() => {
                self.start_adopted(now, out);
            }
            (State::Init, Ability::Able(_)) => {
                let cause = inhibits.adopted.and_then(Result::err).map(Cause::NotAdopted);
                self.start(now, cause.unwrap_or(Cause::Startup), out);
            }
            (State::Fault, Ability::Able(_)) => self.start(now, Cause::Recovered, out),
            (State::Init, Ability::Waits(_)) | (State::Fault, Ability::Waits(None)) => {}
            (State::Backup | State::Master, Ability::Able(_) | Ability::Waits(_)) => {}
            (State::Fault, Ability::Waits(Some(cause)) | Ability::Unable(cause)) => {
                self.cause = Some(Cause::Fault(cause));
            }
            (State::Init | State::Backup, Ability::Unable(cause)) => {
                if let Some(inhibits) = &mut self.inhibits {
                    inhibits.adopted = None;
                }
                self.fail(now, cause, out);
            }
            (State::Master, Ability::Unable(cause)) => {
                // As in a shutdown (RFC 9568 section 6.4.3). If the link is gone altogether nobody
                // hears it, which does no harm.
                self.advertise(Priority::RESIGN, out);
                out.push_back(Action::RemoveAddresses(self.id));
                self.fail(now, cause, out);
            }
        }
    }

    /// It was master in a process that was killed, and goes on: at once, because nobody else is master, with its next
    /// advertisement on time. Its addresses are where they were, and the neighbours know that. What it tracks and a startup
    /// delay keep no master from going on.
    fn start_adopted(&mut self, now: Nanos, out: &mut VecDeque<Action>) {
        let adopted = self.inhibits.as_mut().and_then(|inhibits| inhibits.adopted.take());
        let Some(Ok(Adopted { since, last_advert, until, .. })) = adopted else { return };
        if now > until && !planted(Fault::AdoptedTooLate) {
            self.inhibits.get_or_insert_default().adopted =
                Some(Err(NotAdopted::Expired { silence: now - last_advert }));
            return self.evaluate(now, out);
        }
        self.deadlines.cancel_all();
        let due = last_advert + interval_duration(self.spec.interval);
        self.deadlines.set(Timer::Advert, due.max(now));
        self.arm(Timer::GarpRefresh, now, self.spec.garp.refresh);
        out.push_back(Action::AddAddresses(self.id));
        self.enter(now, State::Master, Cause::Adopted, out);
        // It has been that all the time.
        self.since = since.min(now);
    }

    /// It can take part, for the first time or again (RFC 9568 section 6.4.1): the owner advertises at once,
    /// everybody else listens first.
    fn start(&mut self, now: Nanos, cause: Cause, out: &mut VecDeque<Action>) {
        let delayed = now < self.starts_at();
        if self.is_owner() && self.spec.group.is_none() && !delayed {
            return self.become_master(now, Cause::Owner, out);
        }
        let wait = match self.is_owner() && delayed {
            // keepalived has it time out as soon as it may.
            true => Nanos(1),
            false => {
                master_down_interval(self.priority, self.spec.interval, self.spec.down_adverts)
            }
        };
        self.become_backup(now, wait, cause, out);
        // In a group, if all of them are owners.
        self.wants = self.is_owner() && !delayed;
    }

    /// Applies another effective priority. A master shows it in its next advertisement.
    fn change_priority(&mut self, now: Nanos, to: Priority, out: &mut VecDeque<Action>) {
        let from = std::mem::replace(&mut self.priority, to);
        if from == to {
            return;
        }
        out.push_back(Action::PriorityChanged { router: self.id, from, to });
        if self.state != State::Backup {
            return;
        }
        // What it has waited already counts: only the skew differs (RFC 9568 section 6.1).
        if let Some(at) = self.deadlines.get(Timer::MasterDown) {
            let start = at - skew(from, self.active);
            self.deadlines.set(Timer::MasterDown, start + skew(to, self.active));
        }
        let Some((_, theirs)) = self.master else { return };
        if self.should_preempt(theirs) {
            // Its next advertisement begins the pre-emption.
            return;
        }
        self.preempt_at = None;
        self.wants = false;
        if let Waiting::Preempting(interval) = self.waiting {
            self.listen_again(now, interval, out);
        }
    }

    /// The master that was to be pre-empted stays. What it said meanwhile was discarded, here or already in the kernel
    /// (RFC 9568 section 6.4.2), so that nobody knows when it was last heard: it counts as heard now.
    fn listen_again(&mut self, now: Nanos, interval: AdvertInterval, out: &mut VecDeque<Action>) {
        self.waiting = Waiting::Silence;
        self.last_seen = self.last_seen.max(now);
        if let Some((master, _)) = self.master {
            self.learn_interval(master, interval, out);
        }
        self.arm(Timer::MasterDown, self.last_seen, self.master_down_interval());
    }

    /// Whether a master of that priority is to be pre-empted, now or later.
    fn should_preempt(&self, theirs: Priority) -> bool {
        theirs < self.priority && self.preempts()
    }

    /// The master-down timer has fired.
    fn take_over(&mut self, now: Nanos, out: &mut VecDeque<Action>) {
        let cause = match self.waiting {
            _ if self.is_owner()
                && (self.spec.group.is_some() || self.last_seen < self.starts_at()) =>
            {
                Cause::Owner
            }
            Waiting::Resigned(master) => Cause::MasterResigned(master),
            Waiting::Silence | Waiting::Preempting(_) => match (self.waiting, self.master) {
                (Waiting::Preempting(_), Some((master, priority))) => {
                    Cause::Preempted { master, priority }
                }
                (_, master) => Cause::MasterDown {
                    master: master.map(|(address, _)| address),
                    silence: now - self.last_seen,
                },
            },
        };
        if let (Waiting::Silence, Some((master, _)), Some(_)) =
            (self.waiting, self.master, self.disbelieved())
        {
            self.reported().slow.insert(master);
        }
        self.become_master(now, cause, out);
    }

    /// RFC 9568 section 6.4.2, "If an ADVERTISEMENT is received".
    fn handle_advert_as_backup(&mut self, now: Nanos, advert: &Advert, out: &mut VecDeque<Action>) {
        if self.examine(now, advert, out) {
            self.follow_as_backup(now, advert.source, advert.priority, advert.interval, out);
        }
    }

    /// The same for what does not depend on the addresses in it.
    fn follow_as_backup(
        &mut self,
        now: Nanos,
        source: IpAddr,
        priority: Priority,
        interval: AdvertInterval,
        out: &mut VecDeque<Action>,
    ) {
        if priority == Priority::RESIGN {
            let again = matches!(self.waiting, Waiting::Resigned(_));
            if again || !self.accepts_resignation(now, source) {
                // The timer that runs goes on: who resigns again and again must not put it off.
                return;
            }
            let master = self.master.map(|(master, _)| master);
            let is_followed = self.waiting == Waiting::Silence && master == Some(source);
            self.last_seen = self.last_seen.max(now);
            self.waiting = Waiting::Resigned(source);
            let due = self.deadlines.get(Timer::MasterDown);
            self.arm(Timer::MasterDown, self.last_seen, skew(self.priority, self.active));
            // If another one resigns, the silence of the master may be over sooner. That of the master itself begins now: until
            // then the timer goes by what was reported, and most of what a master says is not.
            if let (Some(due), false) = (due, is_followed) {
                self.move_master_down(|at| at > due, due);
            }
            return;
        }
        let Interest { ignores_lower, master, .. } = self.interest();
        if ignores_lower
            && self.should_preempt(priority)
            && master.is_some_and(|(address, _)| address != source)
        {
            // It is discarded, and the better master goes on being listened to.
            return;
        }
        self.last_seen = self.last_seen.max(now);
        let known = self.master.replace((source, priority));
        let is_new = known.map(|(address, _)| address) != Some(source);
        if priority >= self.priority {
            // keepalived: preempt_delay starts over with the next master of lower priority.
            self.preempt_at = None;
        } else if self.preempts() {
            let preempt_at = *self.preempt_at.get_or_insert(now + self.preempt_delay());
            if now >= preempt_at {
                // Discard; the timer goes on and will fire.
                let before = std::mem::replace(&mut self.waiting, Waiting::Preempting(interval));
                let begun = matches!(before, Waiting::Preempting(_));
                if !begun || known != self.master {
                    self.notify(Notice::Preempting { master: source, priority }, out);
                }
                return;
            }
        }
        self.waiting = Waiting::Silence;
        self.wants = false;
        if is_new {
            self.notify(Notice::NewMaster { master: source, priority }, out);
        }
        self.learn_interval(source, interval, out);
        self.arm(Timer::MasterDown, self.last_seen, self.master_down_interval());
    }

    /// Whether a backup lets priority 0 shorten its timer. RFC 9568 section 6.4.2 always does, and so whoever forges it
    /// beside a living master has the address move to and fro, as fast as the two can speak. Therefore that of a
    /// master to which we gave way counts only when a master-down interval has passed since, and meanwhile that of
    /// somebody who is not the master not at all. If it was true, it takes the usual silence to find out.
    fn accepts_resignation(&self, now: Nanos, source: IpAddr) -> bool {
        let yielded = self.reported.as_ref().and_then(|reported| reported.yielded);
        yielded.is_none_or(|(to, at)| {
            let master = self.master.map(|(master, _)| master);
            now >= at + self.master_down_interval() || source != to && master == Some(source)
        })
    }

    /// RFC 9568 section 6.4.3, "If an ADVERTISEMENT is received".
    fn handle_advert_as_master(
        &mut self,
        now: Nanos,
        ReadAt(read): ReadAt,
        advert: &Advert,
        out: &mut VecDeque<Action>,
    ) {
        if !self.examine(now, advert, out) {
            return;
        }
        let read = read.max(now);
        let (source, priority) = (advert.source, advert.priority);
        if priority == Priority::RESIGN {
            if self.must_answer(now, read) {
                self.advertise(self.priority, out);
                self.arm(Timer::Advert, read, interval_duration(self.spec.interval));
            }
        } else if self.local.is_some_and(|us| outranks((priority, source), (self.priority, us))) {
            if self.spec.higher_prio_advert.unwrap_or_else(|| self.was_master_beside_another()) {
                self.advertise(self.priority, out);
            }
            out.push_back(Action::RemoveAddresses(self.id));
            let interval = self.believed(source, advert.interval);
            let wait = master_down_interval(self.priority, interval, self.spec.down_adverts);
            self.become_backup(now, wait, Cause::Yielded { master: source, priority }, out);
            self.reported().yielded = Some((source, now));
            self.master = Some((source, priority));
            self.learn_interval(source, advert.interval, out);
        } else {
            if self.reported().rivals.insert(source) {
                self.notify(Notice::LowerPriority { source, priority }, out);
            }
            out.push_back(Action::LowerPriority(self.id));
            if !self.must_answer(now, read) {
                return;
            }
            let absent = self.was_absent(read);
            if self.spec.lower_prio_advert {
                self.advertise(self.priority, out);
                self.arm(Timer::Advert, read, interval_duration(self.spec.interval));
            }
            if absent {
                // Others were master meanwhile: the neighbours believe them now.
                self.reported().garp_free_at = Nanos::ZERO;
            }
            self.announce_over(read, out);
            if absent && self.spec.garp.lower_prio_repeat == 0 {
                self.announce_again(read, out);
            }
        }
    }

    /// Announces the addresses because another router seems to have done so. The first time as keepalived does, at once
    /// and again after a delay. Anybody can send advertisements of a lower priority, and each asks for a frame per
    /// address and round: while they go on, there is one such announcement in [`GARP_PAUSE`].
    fn announce_over(&mut self, now: Nanos, out: &mut VecDeque<Action>) {
        let GarpPolicy { lower_prio_repeat: rounds, lower_prio_delay: delay, .. } = self.spec.garp;
        if rounds == 0 {
            return;
        }
        let free_at = self.reported().garp_free_at;
        if now >= free_at {
            self.garp(rounds, out);
            self.arm(Timer::GarpLowerPrio, now, delay);
            self.reported().garp_free_at = now + GARP_PAUSE;
        } else {
            let waiting = self.deadlines.get(Timer::GarpLowerPrio).unwrap_or(free_at);
            self.deadlines.set(Timer::GarpLowerPrio, waiting.min(free_at));
        }
    }

    /// Whether a master must speak because of something that arrived at `now` and was read at `read`. Not again for
    /// what had arrived before it spoke last: after a pause there is a whole queue of that, and one answer is one to
    /// all of it.
    fn must_answer(&mut self, now: Nanos, read: Nanos) -> bool {
        let answered = &mut self.reported().answered;
        let must = now > *answered;
        if must {
            *answered = read;
        }
        must
    }

    /// Looks at what does not depend on the state; `false` when the advertisement is not for us to act on.
    fn examine(&mut self, now: Nanos, advert: &Advert, out: &mut VecDeque<Action>) -> bool {
        // Answering our own echo would never end; another version has another clock.
        if self.local == Some(advert.source)
            || advert.interval.version() != self.spec.interval.version()
        {
            return false;
        }
        // RFC 9568 section 7.1: a differing list is worth a log entry, not a refusal.
        if self.same_addresses(&advert.addresses) {
            if let Some(reported) = &mut self.reported {
                reported.mismatched.remove(advert.source);
            }
            // keepalived compares in order where it compares at all, and the first address over IPv6 is to be the
            // link-local one (RFC 9568 section 5.2.9).
            if advert.addresses == self.spec.addresses {
                if let Some(reported) = &mut self.reported {
                    reported.reordered.remove(advert.source);
                }
            } else if self.reported().reordered.insert(advert.source) {
                self.notify(Notice::AddressListOrder(advert.source), out);
            }
        } else {
            self.mismatches += 1;
            if self.reported().mismatched.insert(advert.source) {
                self.notify(Notice::AddressListMismatch(advert.source), out);
            }
        }
        // RFC 9568 section 8.3.2 and erratum 8298: a second owner is reported and then treated like
        // any other router, so that one of the two yields. RFC 3768 section 7.1 has it discarded, and two that discard
        // are two masters for ever.
        if self.is_owner() && advert.priority == Priority::OWNER {
            self.reported().other_owner = Some((advert.source, now));
            if self.reported().owners.insert(advert.source) {
                self.notify(Notice::SecondOwner(advert.source), out);
            }
        }
        !(self.is_owner() && self.spec.owner_ignores_adverts)
    }

    /// Whether a list holds exactly our addresses, in whatever order.
    fn same_addresses(&self, theirs: &[IpAddr]) -> bool {
        let ours = &self.spec.addresses;
        if theirs.len() != ours.len() || theirs == ours {
            return theirs == ours;
        }
        let (mut theirs, mut ours) = (theirs.to_vec(), ours.clone());
        theirs.sort_unstable();
        ours.sort_unstable();
        theirs == ours
    }

    /// RFC 9568 section 6.4.2: `Active_Adver_Interval` follows the master, as far as it is believed. In version 2 the
    /// receive checks made sure that both are the same.
    fn learn_interval(
        &mut self,
        master: IpAddr,
        theirs: AdvertInterval,
        out: &mut VecDeque<Action>,
    ) {
        let used = self.believed(master, theirs);
        let before = self.disbelieved();
        let disbelieved = (used != theirs).then_some(theirs);
        if disbelieved != before || self.reported.as_ref().is_some_and(|r| r.disbelieved.is_some())
        {
            self.reported().disbelieved = disbelieved.map(|theirs| (master, theirs));
        }
        if self.active == used && disbelieved == before {
            return;
        }
        self.active = used;
        let configured = self.spec.interval;
        let notice = if disbelieved.is_some() {
            Notice::IntervalBounded { master, interval: theirs, used }
        } else if self.is_over_bound(theirs) {
            Notice::IntervalOverBound { master, interval: theirs }
        } else if is_long(theirs, configured) {
            let wait = self.master_down_interval();
            Notice::IntervalLong { master, interval: theirs, configured, wait }
        } else {
            Notice::IntervalLearned(theirs)
        };
        self.notify(notice, out);
    }

    /// What is believed of a master's interval. Not more than the configuration allows, unless it is one that was
    /// replaced because of that: if it is heard again, it lives and is as slow as it says. It is replaced once, and not
    /// again and again.
    fn believed(&self, master: IpAddr, theirs: AdvertInterval) -> AdvertInterval {
        let slow = || self.reported.as_ref().is_some_and(|it| it.slow.0.contains(&master));
        match self.spec.max_learned_interval {
            Some(bound) if self.is_over_bound(theirs) && !slow() => {
                AdvertInterval::Centisecs(bound)
            }
            Some(_) | None => theirs,
        }
    }

    fn is_over_bound(&self, theirs: AdvertInterval) -> bool {
        let bound = self.spec.max_learned_interval;
        match (theirs, bound) {
            (AdvertInterval::Centisecs(theirs), Some(bound)) => theirs > bound,
            (AdvertInterval::Centisecs(_), None) | (AdvertInterval::Secs(_), _) => false,
        }
    }

    /// RFC 9568 section 6.4.2, "If the Active_Down_Timer fires". The order is keepalived's.
    fn become_master(&mut self, now: Nanos, cause: Cause, out: &mut VecDeque<Action>) {
        self.wants = false;
        self.active = self.spec.interval;
        self.master = None;
        if let Some(reported) = &mut self.reported {
            reported.rivals = Senders::default();
            reported.contested = 0;
            reported.garp_free_at = Nanos::ZERO;
        }
        self.deadlines.cancel_all();
        self.advertise(self.priority, out);
        self.deadlines.set(Timer::Advert, self.second_advert(now));
        out.push_back(Action::AddAddresses(self.id));
        let rounds = self.takeover_rounds(now);
        self.garp(rounds, out);
        self.arm(Timer::GarpDelayed, now, self.spec.garp.master_delay);
        self.arm(Timer::GarpRefresh, now, self.spec.garp.refresh);
        self.enter(now, State::Master, cause, out);
    }

    /// How many times the addresses are announced at a takeover.
    fn takeover_rounds(&mut self, now: Nanos) -> u32 {
        if now >= self.since + GARP_PAUSE {
            self.quick_takeovers = 0;
        }
        self.quick_takeovers = self.quick_takeovers.saturating_add(1);
        let rounds = self.spec.garp.master_repeat;
        if self.quick_takeovers > FULL_TAKEOVERS { rounds.min(1) } else { rounds }
    }

    /// Listens, and takes over after `wait` unless a master is heard.
    fn become_backup(&mut self, now: Nanos, wait: Nanos, cause: Cause, out: &mut VecDeque<Action>) {
        self.wants = false;
        self.active = self.spec.interval;
        self.master = None;
        self.last_seen = now;
        self.waiting = Waiting::Silence;
        self.preempt_at = None;
        self.deadlines.cancel_all();
        self.arm(Timer::MasterDown, now, wait);
        self.enter(now, State::Backup, cause, out);
    }

    /// When the second advertisement is due. The first interval is shortened by a part that differs from group to
    /// group, so that thousands of routers that became master at one instant do not advertise at one instant ever
    /// after; and its end is one of the instants of the group, so that those that became master one after the other
    /// do not need a wake-up each. The first group, that is all routers of an ordinary host, keeps the exact
    /// interval from the beginning. Only earlier is harmless: what comes later than after an interval has eaten into
    /// the time that the backups wait, and the RFC says how late is too late, but not how early is too early.
    fn second_advert(&self, now: Nanos) -> Nanos {
        let interval = interval_duration(self.spec.interval);
        let group = u64::from(self.id.0 / GROUP) % GROUPS;
        let step = interval.0 / GROUPS;
        let due = now + interval - Nanos(step).times(group);
        if group == 0 { due } else { Nanos(due.0.next_multiple_of(step)) }
    }

    /// RFC 9568 section 6.4.3, "If the Adver_Timer fires".
    fn advertise_on_time(&mut self, now: Nanos, out: &mut VecDeque<Action>) {
        let interval = interval_duration(self.spec.interval);
        let due = self.deadlines.get(Timer::Advert).unwrap_or(now);
        let absent = self.was_absent(now);
        self.advertise(self.priority, out);
        // The period is kept whatever the lateness of a single wake-up, but what was missed is not
        // made up for.
        let next = due + interval;
        self.deadlines.set(Timer::Advert, if next > now { next } else { now + interval });
        if absent {
            self.announce_again(now, out);
        }
    }

    /// Whether a master was silent for so long that another router was master meanwhile: the neighbours believe that
    /// one, even if it has yielded again unheard.
    fn was_absent(&self, now: Nanos) -> bool {
        let due = self.deadlines.get(Timer::Advert).unwrap_or(now);
        let late = now - due;
        late > interval_duration(self.spec.interval) && late > self.master_down_interval()
    }

    /// Tells the neighbours where the addresses are, as on becoming master.
    fn announce_again(&mut self, now: Nanos, out: &mut VecDeque<Action>) {
        self.garp(self.spec.garp.master_repeat, out);
        self.arm(Timer::GarpDelayed, now, self.spec.garp.master_delay);
    }

    fn fail(&mut self, now: Nanos, cause: FaultCause, out: &mut VecDeque<Action>) {
        self.wants = false;
        self.master = None;
        self.active = self.spec.interval;
        self.deadlines.cancel_all();
        self.enter(now, State::Fault, Cause::Fault(cause), out);
    }

    fn stop(&mut self, now: Nanos, cause: Cause, out: &mut VecDeque<Action>) {
        self.wants = false;
        self.master = None;
        self.active = self.spec.interval;
        self.deadlines.cancel_all();
        self.enter(now, State::Init, cause, out);
    }

    fn enter(&mut self, now: Nanos, to: State, cause: Cause, out: &mut VecDeque<Action>) {
        // An advertisement may have arrived before the last transition; history still runs forward.
        let at = now.max(self.since);
        if self.state == State::Master && at >= self.since + GARP_PAUSE {
            self.quick_takeovers = 0;
        }
        let from = std::mem::replace(&mut self.state, to);
        self.cause = Some(cause);
        self.since = at;
        out.push_back(Action::Transition { router: self.id, from, to, cause, at });
    }

    fn advertise(&self, priority: Priority, out: &mut VecDeque<Action>) {
        out.push_back(Action::SendAdvert { router: self.id, priority });
    }

    fn garp(&self, rounds: u32, out: &mut VecDeque<Action>) {
        if rounds > 0 {
            out.push_back(Action::SendGarp { router: self.id, rounds });
        }
    }

    fn notify(&self, notice: Notice, out: &mut VecDeque<Action>) {
        out.push_back(Action::Notice { router: self.id, notice });
    }

    /// Sets a timer; a zero duration means never.
    fn arm(&mut self, timer: Timer, from: Nanos, duration: Nanos) {
        // keepalived: `vrrp_init_instance_sands`, vrrp_scheduler.c.
        let waits = timer == Timer::MasterDown && !planted(Fault::StartsAtOnce);
        let from = if waits { from.max(self.starts_at()) } else { from };
        if duration > Nanos::ZERO {
            self.deadlines.set(timer, from + duration);
        } else {
            self.deadlines.cancel(timer);
        }
    }

    fn starts_at(&self) -> Nanos {
        self.inhibits.as_ref().map_or(Nanos::ZERO, |inhibits| inhibits.starts_at)
    }

    fn reported(&mut self) -> &mut Reported {
        self.reported.get_or_insert_default()
    }

    /// Whether a master to which this one gives way may have been master all the time. Then the neighbours believe that
    /// the addresses are here, and the other one announces them only if it learns of us: not in the RFC.
    ///
    /// Whoever took over because it heard nobody may have been deaf or cut off. Whoever heard another router resign, or
    /// pre-empted one, was not; then the higher one has just come, and announces the addresses anyway.
    fn was_master_beside_another(&self) -> bool {
        let heard_nobody = match self.cause {
            Some(Cause::MasterDown { .. } | Cause::Owner | Cause::GroupMaster | Cause::Adopted) => {
                true
            }
            Some(
                Cause::Startup
                | Cause::NotAdopted(_)
                | Cause::MasterResigned(_)
                | Cause::Preempted { .. }
                | Cause::Yielded { .. }
                | Cause::Lost(_)
                | Cause::Fault(_)
                | Cause::GroupYielded(_)
                | Cause::Recovered
                | Cause::Shutdown
                | Cause::Removed,
            )
            | None => false,
        };
        heard_nobody || self.is_contested()
    }

    /// Whether another host claims one of its addresses.
    fn is_contested(&self) -> bool {
        self.reported.as_ref().is_some_and(|reported| reported.contested > 0)
    }

    /// Whether a sender's address list differed from ours when it was last heard.
    fn mismatched(&self, sender: IpAddr) -> bool {
        self.reported.as_ref().is_some_and(|reported| reported.mismatched.0.contains(&sender))
    }

    fn is_owner(&self) -> bool {
        self.spec.priority == Priority::OWNER
    }

    /// RFC 9568 section 6.1: the owner pre-empts whatever `Preempt_Mode` says.
    fn preempts(&self) -> bool {
        self.spec.preempt || self.is_owner()
    }

    fn preempt_delay(&self) -> Nanos {
        if self.is_owner() { Nanos::ZERO } else { self.spec.preempt_delay }
    }

    fn master_down_interval(&self) -> Nanos {
        master_down_interval(self.priority, self.active, self.spec.down_adverts)
    }
}

#[cfg(test)]
#[path = "fsm_tests.rs"]
mod tests;
