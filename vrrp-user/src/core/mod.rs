//! Every decision of the daemon, without anything of the world in it: no clock, socket, file, thread or runtime.
//!
//! What happens goes in as an [`Input`] with the time at which it counts; what is to be done comes out as an [`Effect`],
//! in the order in which it must be done. Frames wait in a queue of their own ([`Core::frames`]), because they are what
//! somebody waits for, and cost nothing but a copy. [`crate::driver`] is the other half: it turns what happens into
//! inputs and effects into calls, and decides nothing.
//!
//! One turn is this, whoever drives:
//!
//! 1. [`Core::handle`] takes in everything that has happened, and then [`Input::Timeout`];
//! 2. [`Core::advance`] until it wants no more ([`Progress`]): after each call the effects are carried out
//!    ([`Core::poll_effect`]), and then the frames are sent ([`Core::sent`]);
//! 3. until [`Core::poll_timeout`], or something happens.
//!
//! Some effects are questions; their answers are inputs, which may come at any later time. Whoever drives answers each of
//! them once.

mod accept;
mod act;
mod address_book;
pub mod adoption;
mod adverts;
mod ah_association;
mod announcer;
mod attaching;
mod attempt;
mod capacity;
mod compact;
mod debounce;
mod delays;
mod effect;
mod egress;
mod election;
mod foreign;
mod garp_extra_if;
pub mod history;
mod input;
mod interface_id;
mod interface_table;
mod lease;
mod links;
mod log_limit;
mod manager;
mod namespaces;
pub mod netlink;
pub mod notification;
mod notify;
mod objects;
mod orders;
mod pace;
pub mod prepared;
mod presence;
mod reception;
mod relearn;
pub mod reload;
mod restore_limiter;
mod route_book;
mod router;
mod router_index;
mod send;
mod send_failures;
mod settling;
mod signer;
mod start;
mod status;
mod stop;
mod tampering;
#[cfg(test)]
mod tests;
mod tracking;
mod tx_queue;
mod vips;
mod virtual_mac;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

pub use vrrp_common::counters::Counter;

use self::accept::Accept;
use self::address_book::AddressBook;
use self::adverts::Asked;
pub use self::ah_association::AhAssociation;
use self::announcer::Forwarding;
pub use self::attempt::AttachMethod;
pub use self::capacity::{Needs, Sizes};
use self::delays::Delayed;
pub use self::effect::{Effect, InfoChange, LeaseChange, ManagerMessage, StateCounts};
use self::history::History;
pub use self::input::{HookReport, Hooks, Input};
pub use self::interface_id::InterfaceAddr;
pub use self::interface_id::{InterfaceId, NamespaceId, RouterPlace};
use self::interface_table::InterfaceTable;
use self::log_limit::LogLimit;
pub use self::manager::Listener;
use self::manager::Manager;
use self::namespaces::Namespaces;
pub use self::namespaces::Presence;
use self::netlink::{AddressRequest, Ask, AssignedAddress, Request};
use self::notify::Notifier;
use self::objects::ManagedObjects;
use self::reception::Reception;
use self::reload::Reloads;
use self::router::RouterRuntime;
use self::router_index::RouterIndex;
use self::send::Unannounced;
pub use self::send_failures::{Errno, TestFrame};
use self::settling::Settling;
pub use self::start::Boot;
use self::start::Starting;
pub use self::status::{Outside, PART_ROUTERS};
use self::stop::Stopping;
use self::tracking::Tracking;
pub use self::tx_queue::{BATCH, Frame, Tag, TxQueue};
use self::watch::Watch;
use crate::capture::{self, ModeSet};
use crate::engine::Engine;
use crate::engine::time::Nanos;
use crate::engine::types::{Action, RouterId, RouterView, State};
use crate::types::planted::{Fault, planted};
use crate::wire::ipv4::Idents;

/// How long after a burst of work: when nothing more has come of it.
const TIDY: Nanos = Nanos::from_secs(5);
/// Requests to netlink that may wait for their answers; what more there is waits as an action.
const ASKED: usize = 256;
/// How long after a failure (attaching, adding an address) the next attempt is made.
const RETRY: Nanos = Nanos::from_secs(5);
/// The same while the daemon stops, which waits for no longer than that.
const RETRY_STOPPING: Nanos = Nanos::from_millis(500);
/// How often the pins are looked at, at most, on occasions on which the daemon is awake anyway.
const LOOK_AT_PINS: Nanos = Nanos::from_secs(1);

/// How far a core is.
enum Phase {
    /// It looks at what is there, and takes away what a daemon left that was killed.
    Starting(Starting),
    /// The routers run.
    Running,
    /// It hands over, and takes away what it has put anywhere.
    Stopping(Stopping),
    /// Nothing more is to come.
    Stopped,
}

/// The decisions of one daemon.
pub struct Core {
    phase: Phase,
    /// The time of the input that is being handled.
    now: Nanos,
    effects: VecDeque<Effect>,
    /// How the configuration is called, for messages.
    config_path: Arc<str>,
    started: Nanos,
    /// By their number, which is their index in the shared maps as well. It stays the same as long as a router is in
    /// the configuration; those that have left it are here until their number is given to another one.
    routers: Vec<RouterRuntime>,
    /// Those that are in the configuration, in its order.
    order: Arc<[RouterId]>,
    /// Those that are not gone, by what they need.
    index: RouterIndex,
    engine: Engine,
    interfaces: InterfaceTable,
    capture: capture::Settings,
    /// What the maps of the kernel side have room for.
    sizes: Sizes,
    /// Whether the kernel attaches tc programs by links ([`capture::Facts::tcx`]).
    tcx: bool,
    /// What sources are told apart by in a [`vrrp_common::report::ReportFilter`].
    source_key: u64,
    reception: Reception,
    /// How often programs were to be attached.
    attempts: u64,
    /// Virtual MAC addresses of which interfaces were told.
    unicast_macs: BTreeMap<RouterId, BTreeMap<InterfaceId, virtual_mac::UnicastMac>>,
    /// Whether the programs that count what leaves were given up.
    egress_released: bool,
    /// Those that are still to come.
    egress: egress::EgressQueue,
    settling: Settling,
    /// Since when a packet socket has lost packets each time that it was asked.
    lost_since: Option<Nanos>,
    /// Timers are due, and are judged as soon as it is known when these masters were last heard.
    timers_wait: Option<Asked>,
    pins: Pins,
    accept: BTreeMap<NamespaceId, Accept>,
    namespaces: Namespaces,
    addresses: AddressBook,
    /// How to remove addresses that are in no router's configuration any more, or are there in another way.
    pending_removals: BTreeMap<InterfaceAddr, AddressRequest>,
    /// Addresses that a daemon left behind that was killed, kept as long as nobody else may have them: until the first
    /// advertisement is accepted, or their router is master or in FAULT.
    kept: BTreeMap<RouterId, Vec<AddressRequest>>,
    /// What others have put where a router's addresses belong, with the prefix length.
    foreign: BTreeMap<RouterId, Vec<(InterfaceAddr, u8)>>,
    /// Requests under way about addresses that no router holds, or none holds any more: how many of a kind.
    strays: BTreeMap<(InterfaceAddr, Request), u32>,
    /// Such addresses whose removal has failed.
    failed_strays: Vec<AssignedAddress>,
    watch: Watch,
    log_limit: LogLimit,
    tracking: Tracking,
    /// The sources that routers track or have tracked, as a rule none.
    tracked_sources: BTreeSet<IpAddr>,
    /// Routers of which nothing has been said yet that is wrong with their interface.
    unsaid: BTreeSet<RouterId>,
    frames: TxQueue,
    idents: Idents,
    /// The modes whose programs check signatures.
    signature_modes: ModeSet,
    /// By how many nanoseconds the clock that signs (`CLOCK_REALTIME`) is ahead of ours.
    realtime_offset: u64,
    unannounced: Unannounced,
    /// What the engine wants besides advertisements, and is not done yet.
    later: VecDeque<Action>,
    forwarding: Forwarding,
    delays: Delayed,
    /// Requests that netlink has not answered yet.
    asked: usize,
    retry_at: Option<Nanos>,
    /// When the memory that a burst of work needed is given back.
    tidy_at: Option<Nanos>,
    /// Actions that were carried out since that was set.
    worked: usize,
    history: History,
    notifier: Notifier,
    manager: Manager,
    reloads: Reloads,
    objects: ManagedObjects,
}

/// How far [`Core::advance`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There are advertisements to be sent: at once, and then it is to be called again.
    Frames,
    /// There is more to do that waits for nothing; what has happened meanwhile goes first.
    More,
    /// There is no more to do, unless what is sent now fails ([`Core::wants_more`]).
    Done,
}

/// What is known of the pinned maps: somebody may delete the pins or unmount the bpffs. The daemon hears all the same,
/// so nothing but this comes of it.
#[derive(Default)]
struct Pins {
    due: Nanos,
    /// Whether they have been looked at, and nothing has come of it that is told.
    asked: bool,
    /// Why they cannot be made again.
    error: Option<String>,
}

impl Core {
    /// Takes in what has happened, at a time that is not before that of the input before.
    ///
    /// An answer that nothing was asked for, and news of an interface that is not there, are counted and change nothing.
    pub fn handle(&mut self, now: Nanos, input: Input<'_>) {
        self.now = now;
        match self.phase {
            Phase::Starting(_) => self.handle_starting(input),
            Phase::Running => self.handle_running(input),
            Phase::Stopping(_) => self.handle_stopping(input),
            Phase::Stopped => {}
        }
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        match &self.phase {
            Phase::Starting(starting) => {
                [starting.next(), self.manager.next()].into_iter().flatten().min()
            }
            Phase::Running => {
                let deadlines = [
                    self.manager.next(),
                    self.engine.poll_timeout(),
                    self.look_ahead_at(),
                    self.retry_at,
                    self.tidy_at,
                    self.watch.next(),
                    self.log_limit.next(),
                    self.delays.next(),
                    self.settling.next(),
                    self.reloads.next(),
                    self.egress.next(),
                ];
                deadlines.into_iter().flatten().min()
            }
            Phase::Stopping(stopping) => {
                let deadlines = [Some(stopping.until()), self.retry_at, self.manager.next()];
                deadlines.into_iter().flatten().min()
            }
            Phase::Stopped => None,
        }
    }

    /// Carries on with what the engine wants, and with a reload: the advertisements of all routers first, because somebody
    /// waits for them, then a part of the rest. After each call effects are to be carried out, and then frames sent.
    pub fn advance(&mut self, now: Nanos) -> Progress {
        self.now = now;
        let progress = self.advance_routers();
        self.beat(now);
        progress
    }

    fn advance_routers(&mut self) -> Progress {
        if matches!(self.phase, Phase::Starting(_) | Phase::Stopped) {
            return Progress::Done;
        }
        if self.act_on_adverts() || !self.frames.is_empty() {
            return Progress::Frames;
        }
        let mut more = self.act();
        if matches!(self.phase, Phase::Running) {
            more |= self.reload_further();
        } else {
            self.stop_further();
        }
        if more { Progress::More } else { Progress::Done }
    }

    fn handle_running(&mut self, input: Input<'_>) {
        match input {
            Input::Timeout => self.timeout(),
            Input::Received { interface, event, payload } => {
                self.handle_event(interface, &event, payload);
            }
            Input::Damaged { length } => {
                log::debug!("a report of {length} bytes is shorter than it says");
                self.count(Counter::BadEvent);
            }
            Input::RingMended => self.ring_mended(),
            Input::Changed(events) => {
                for event in &events {
                    self.object_changed(event);
                    self.changed(event);
                }
            }
            Input::Answered(answers) => self.answered(answers),
            Input::Listed { links, addresses } => self.listed(links, &addresses),
            Input::Namespace { namespace, presence } => self.namespace_is(namespace, presence),
            Input::Attached { interface, number, result } => {
                self.attached(interface, number, result);
            }
            Input::EgressMended { interface, result } => self.egress_mended(interface, result),
            Input::HooksSeen(reports) => self.hooks_seen(reports),
            Input::LastSeen { router, seen } => self.handle_last_seen(router, &seen),
            Input::LastSeenEnd { lost } => self.last_seen_ended(lost),
            Input::FilterSet { router } => self.filter_set(router),
            Input::Forwards { interface, on } => self.forwards(interface, on),
            Input::TestSent { router, error } => self.test_sent(router, error),
            Input::Health { object, health } => self.health(object, health, None),
            Input::BadTrackFile { object, why } => self.bad_track_file(object, &why),
            Input::TrackedOnce { watch } => {
                if !self.tracking.looked_once(watch) {
                    self.count(Counter::UnexpectedAnswer);
                }
            }
            Input::ScriptFound(found) => self.found(found),
            Input::Reload { check, client } => self.reload(reload::Asked { check, client }),
            Input::ConfigurationRead { number, read } => self.reading_ended(number, *read),
            Input::Fenced { router } => self.fenced(router),
            Input::NotDelivered(told) => self.not_delivered(told),
            Input::NotServed => {
                if !self.reloads.not_served() {
                    self.count(Counter::UnexpectedAnswer);
                }
            }
            Input::PinsMended { dir, count } => self.pins_mended(&dir, count),
            Input::PinsLost(error) => self.pins_lost(error),
            Input::ClockSet { realtime_offset } => self.realtime_offset = realtime_offset,
            Input::SignatureModes(modes) => self.signature_modes = modes,
            Input::Stop => self.stop(),
        }
    }

    /// Everything that was reported until now has been heard: timers may be judged.
    fn timeout(&mut self) {
        let now = self.now;
        if self.settling.next().is_some_and(|at| at <= now) {
            self.settling_due(now);
        }
        let looks_ahead = self.look_ahead_at().is_some_and(|at| at <= now);
        let asks = looks_ahead || self.engine.master_down_due(now);
        if asks && !planted(Fault::LastSeenNotRefreshed) {
            self.query_last_seen(now, looks_ahead);
        } else {
            self.timers();
        }
    }

    fn timers(&mut self) {
        let now = self.now;
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        self.look_around(now);
        if now >= self.pins.due {
            self.look_at_pins();
        }
        self.look_at_refused();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.retry();
        }
        if self.watch.next().is_some_and(|at| at <= now) {
            self.watch_conflicts(now);
        }
        if self.log_limit.next().is_some_and(|at| at <= now) {
            self.log_suppressed(now);
        }
        if self.delays.next().is_some_and(|at| at <= now) {
            self.delays_due(now);
        }
        self.reading_due(now);
        self.attach_egress();
        if self.tidy_at.is_some_and(|at| at <= now) {
            self.tidy_at = None;
            self.log_limit.forget_few();
            // What a burst has queued needs room for one or two of each router.
            self.effects.shrink_to_fit();
            self.later.shrink_to_fit();
            self.addresses.compact();
            self.interfaces.compact();
            self.index.compact();
            self.effects.push_back(Effect::GiveMemoryBack);
        }
    }

    fn retry(&mut self) {
        self.retry_strays();
        self.retry_addresses();
        self.retry_objects();
        self.retry_refused();
        self.retry_sending();
        self.retry_better(self.now);
        self.retry_abandoned();
        for iface in self.interfaces.indices() {
            if self.interfaces.get(iface).is_some_and(|interface| interface.failed()) {
                // What comes of it evaluates its routers.
                self.attach(iface);
            }
        }
    }

    fn retry_soon(&mut self) {
        let after = match self.phase {
            Phase::Stopping(_) => RETRY_STOPPING,
            Phase::Starting(_) | Phase::Running | Phase::Stopped => RETRY,
        };
        self.retry_at.get_or_insert(self.now + after);
    }

    /// The routers of the configuration, in its order.
    pub fn ids(&self) -> impl Iterator<Item = RouterId> + use<> {
        let order = Arc::clone(&self.order);
        (0..order.len()).map(move |place| order[place])
    }

    /// What a router is called in messages; `?` for one that is not there.
    pub fn label(&self, id: RouterId) -> String {
        self.routers.get(id.0 as usize).map_or_else(|| "?".to_owned(), RouterRuntime::label)
    }

    /// An address and its interface, for messages.
    pub fn describe(&self, at: InterfaceAddr) -> String {
        let dev = self.interfaces.get(at.iface).map_or("?", |interface| &interface.name);
        format!("{} dev {dev}", at.address)
    }

    /// Whether an interface is captured by a packet socket.
    pub fn is_raw(&self, iface: InterfaceId) -> bool {
        self.interfaces.get(iface).is_some_and(interface_table::Interface::is_raw)
    }

    /// The state of a router, if there is one of that number.
    pub fn state(&self, id: RouterId) -> Option<State> {
        self.engine.state(id)
    }

    /// How the election of a router stands, if there is one of that number.
    pub fn view(&self, id: RouterId) -> Option<RouterView> {
        self.engine.view(id)
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_) | Phase::Stopped)
    }

    /// Whether nothing more is to come.
    pub fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    /// Whether the routers have not begun yet: nothing that is received is to be handed in before they have.
    pub fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting(_))
    }

    fn router(&self, id: RouterId) -> &RouterRuntime {
        &self.routers[id.0 as usize]
    }

    fn router_mut(&mut self, id: RouterId) -> &mut RouterRuntime {
        &mut self.routers[id.0 as usize]
    }

    /// How many routers are in which state.
    fn counts(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        for id in (0..u32::try_from(self.routers.len()).unwrap_or(u32::MAX)).map(RouterId) {
            match self.engine.state(id) {
                Some(State::Master) => counts.master += 1,
                Some(State::Backup) => counts.backup += 1,
                Some(State::Fault) => counts.fault += 1,
                Some(State::Init) => counts.init += 1,
                None => {}
            }
        }
        counts
    }

    fn count(&mut self, counter: Counter) {
        self.effects.push_back(Effect::Count(counter));
    }

    /// Asks netlink for something. Each request is answered once.
    fn ask_netlink(&mut self, ask: Ask) {
        self.asked += 1;
        self.notifier.asked();
        self.effects.push_back(Effect::Netlink(ask));
    }

    /// Changes what `stats` sees of a router.
    fn publish(&mut self, router: RouterId, change: InfoChange) {
        self.effects.push_back(Effect::Publish { router, change });
    }

    /// Has the pins looked at.
    fn look_at_pins(&mut self) {
        (self.pins.due, self.pins.asked) = (self.now + LOOK_AT_PINS, true);
        self.effects.push_back(Effect::MendPins);
    }

    fn pins_mended(&mut self, dir: &str, count: usize) {
        if !std::mem::take(&mut self.pins.asked) {
            return self.count(Counter::UnexpectedAnswer);
        }
        self.pins.error = None;
        if count > 0 {
            log::warn!("{count} pins in {dir} had been removed; they are there again");
            self.count(Counter::PinsLost);
        }
    }

    fn pins_lost(&mut self, error: String) {
        if !std::mem::take(&mut self.pins.asked) {
            return self.count(Counter::UnexpectedAnswer);
        }
        if self.pins.error.as_ref() != Some(&error) {
            log::error!("the maps are not pinned any more: {error}");
            self.count(Counter::PinsLost);
        }
        self.pins.error = Some(error);
    }

    /// What is wrong with the pins.
    fn pin_problem(&self) -> Option<String> {
        let error = self.pins.error.as_ref()?;
        Some(format!(
            "`stats`, `monitor`, `top` and metrics find nothing, because the maps are not pinned any more: {error}"
        ))
    }
}
