//! The loop: what the kernel reports goes into the engine, what the engine wants goes to the kernel.
//!
//! One task owns everything. It drains the ring buffer before it looks at the clock, so that after a pause
//! of the machine or of the process the advertisements that arrived meanwhile are heard before any timer
//! is believed. Requests to netlink run beside it and report back; nothing here waits for an answer.

mod act;
mod addresses;
mod announce;
mod debounce;
mod delays;
mod election;
mod elsewhere;
mod extras;
mod followers;
mod foreign;
mod hear;
mod hearing;
pub mod history;
mod interfaces;
mod links;
pub mod lockfile;
mod log_limit;
mod notify;
mod orders;
mod pace;
mod panics;
mod pins;
mod presence;
mod raw;
pub mod reload;
mod restore;
mod router;
mod routes;
mod send;
mod send_failures;
mod service;
mod settling;
mod signals;
mod start;
mod status;
mod tracking;
mod vips;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch::Sender as Latest;
use vrrp_common::maps::{DAEMON_COUNTERS, RouterInfo};
use vrrp_common::reason::Reason;

use self::addresses::{Addresses, Place};
use self::announce::Forwarding;
use self::delays::Delayed;
use self::hearing::Hearing;
use self::history::History;
use self::interfaces::{Capture, Interfaces};
use self::log_limit::LogLimit;
use self::notify::Notifier;
use self::pins::PinWatch;
use self::raw::Raw;
use self::reload::{Asked, Reloads};
use self::router::Router;
use self::routes::Belongings;
use self::send::Unannounced;
use self::service::{Counts, Service};
use self::settling::Settling;
use self::signals::SignalKind;
pub use self::start::{Error, Options, run};
use self::tracking::Tracking;
use self::watch::Watch;
use crate::capture;
use crate::control::Instance;
use crate::control::server::Question;
use crate::counters::counters;
use crate::engine::Engine;
use crate::engine::time::Nanos;
use crate::engine::types::{Action, RouterId, State};
use crate::io::bpf::{self, Kernel};
use crate::io::netlink::{AddressRequest, Netlink, Report};
use crate::io::ring::EventRing;
use crate::io::scripts::Found;
use crate::io::timer::{self, Timer};
use crate::io::tx::{Memberships, Queue, Tx};
use crate::io::{memory, tracked};
use crate::wire::ipv4::Idents;

/// How long after a burst of work: when nothing more has come of it.
const TIDY: Nanos = Nanos::from_secs(5);
/// Requests to netlink that may wait for their answers; what more there is waits as an action.
const ASKED: usize = 256;
/// How long after a failure (attaching, adding an address) the next attempt is made.
const RETRY: Nanos = Nanos::from_secs(5);
/// How long stopping waits for addresses to be removed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

counters! {
    /// What the daemon itself refuses or fails at; the kernel side's refusals are
    /// [`vrrp_common::reason::Reason`]. The index is that in the map `COUNTERS`.
    pub enum Counter {
        /// A ring-buffer record that is shorter than it says, or names a router that is not there.
        BadEvent = "bad_event",
        /// An advertisement that passed the kernel side but does not parse.
        BadAdvert = "bad_advert",
        /// An advertisement over IPv6 that was reported and whose first address is not link-local (RFC 9568 section 5.2.9).
        FirstNotLinkLocal = "first_not_link_local",
        /// A frame that the kernel refused to send.
        SendFailed = "send_failed",
        /// An address that the kernel refused to add.
        AddressAddFailed = "address_add_failed",
        /// An address that the kernel refused to remove.
        AddressRemoveFailed = "address_remove_failed",
        /// An address removed by somebody else while we were master.
        AddressLost = "address_lost",
        /// Netlink notifications lost, and everything read again.
        NetlinkOverrun = "netlink_overrun",
        /// An interface on which the XDP program could not be attached.
        AttachFailed = "attach_failed",
        /// An XDP program of ours that somebody else detached or replaced.
        CaptureLost = "capture_lost",
        /// Pinned maps that somebody else removed.
        PinsLost = "pins_lost",
        /// A route that the kernel refused to add.
        RouteAddFailed = "route_add_failed",
        /// A route that the kernel refused to remove.
        RouteRemoveFailed = "route_remove_failed",
        /// A route of a master, or one that is always there, removed by somebody else.
        RouteLost = "route_lost",
        /// A rule that the kernel refused to add.
        RuleAddFailed = "rule_add_failed",
        /// A rule that the kernel refused to remove.
        RuleRemoveFailed = "rule_remove_failed",
        /// A rule of a master, or one that is always there, removed by somebody else.
        RuleLost = "rule_lost",
        /// Something removed by somebody else that was put back at once.
        Restored = "restored",
        /// Something that was not put back at once, because that happened too often.
        RestoreLimited = "restore_limited",
        /// A setting of an interface that the kernel refused.
        SettingFailed = "setting_failed",
        /// A notice or a change of something tracked that the history left out, because there were too many of them in
        /// a minute.
        NoticeLeftOut = "notice_left_out",
        /// A tracked file that holds no number, or can not be read.
        BadTrackFile = "bad_track_file",
        /// A packet socket that had no room for advertisements.
        RawOverrun = "raw_overrun",
        /// A configuration that was not taken up, because of its errors.
        ReloadRefused = "reload_refused",
    }
}

// The map has a place for each, and for each reason that the daemon itself finds (`Kernel::count_reason`).
const _: () = assert!(Counter::ALL.len() + Reason::COUNT <= DAEMON_COUNTERS as usize);

struct Daemon {
    instance: Instance,
    config_path: PathBuf,
    started: Nanos,
    /// By their number, which is their index in the shared maps as well. It stays the same as long as a router is in
    /// the configuration; those that have left it are here until their number is given to another one.
    routers: Vec<Router>,
    /// Those that are in the configuration, in its order.
    order: Arc<[RouterId]>,
    engine: Engine,
    kernel: Kernel,
    interfaces: Interfaces,
    capture: capture::Settings,
    hearing: Hearing,
    settling: Settling,
    pin_watch: PinWatch,
    raw: Raw,
    addresses: Addresses,
    /// How to remove addresses that are in no router's configuration any more, or are there in another way.
    parting: BTreeMap<Place, AddressRequest>,
    /// Addresses that a daemon left behind that was killed, kept as long as nobody else may have them: until the first
    /// advertisement is accepted, or their router is master or in FAULT.
    kept: BTreeMap<RouterId, Vec<AddressRequest>>,
    /// What others have put where a router's addresses belong, with the prefix length.
    foreign: BTreeMap<RouterId, Vec<(Place, u8)>>,
    watch: Watch,
    log_limit: LogLimit,
    tracking: Tracking,
    netlink: Netlink,
    /// The sources that routers track or have tracked, as a rule none.
    tracked_sources: BTreeSet<IpAddr>,
    memberships: Memberships,
    tx: Tx,
    queue: Queue,
    idents: Idents,
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
    history: History,
    /// The number of the last entry of the history, for those who follow it.
    latest: Latest<u64>,
    service: Service,
    notifier: Notifier,
    reloads: Reloads,
    belongings: Belongings,
}

/// The sources that the loop waits on.
struct Sources {
    ring: EventRing,
    timer: Timer,
    questions: mpsc::Receiver<Question>,
    signals: mpsc::Receiver<SignalKind>,
    /// What tracked scripts find out.
    finds: mpsc::UnboundedReceiver<Found>,
    /// What is found out about tracked files and processes.
    tracked: mpsc::Receiver<tracked::Report>,
    /// Configurations that were read again.
    read: mpsc::UnboundedReceiver<reload::Finished>,
}

impl Daemon {
    /// Until it is told to stop.
    ///
    /// # Errors
    /// What the daemon can not go on without is gone.
    async fn serve(&mut self, sources: &mut Sources) -> Result<(), Error> {
        let mut more = false;
        loop {
            more |= self.act();
            more |= self.reload_further();
            self.beat();
            let deadlines = [
                self.engine.poll_timeout(),
                self.retry_at,
                self.tidy_at,
                self.watch.next(),
                self.log_limit.next(),
                self.delays.next(),
                self.settling.next(),
                self.service.next(),
                self.reloads.next(),
            ];
            let deadline = deadlines.into_iter().flatten().min();
            if let Err(error) = sources.timer.arm(deadline) {
                log::error!("cannot arm the timer: {error}");
            }
            tokio::select! {
                biased;
                Some(signal) = sources.signals.recv() => match signal {
                    SignalKind::Terminate => {
                        log::info!("SIGTERM: stopping");
                        return Ok(());
                    }
                    SignalKind::Interrupt => {
                        log::info!("SIGINT: stopping");
                        return Ok(());
                    }
                    SignalKind::Hangup => {
                        log::info!("SIGHUP: reading the configuration again");
                        self.reload(Asked::default());
                    }
                    SignalKind::User1 => {
                        log::warn!("SIGUSR1 ignored: see `vrrp-user status`");
                    }
                    SignalKind::User2 => log::warn!("SIGUSR2 ignored: see `vrrp-user stats`"),
                },
                () = panics::noticed() => return Err(Error::Panicked),
                // Nothing announces what a full budget left over.
                () = std::future::ready(()), if more => {}
                result = sources.ring.readable() => {
                    if let Err(error) = result {
                        log::error!("ring buffer: {error}");
                    }
                }
                result = self.raw.readable() => {
                    if let Err(error) = result {
                        log::error!("packet socket: {error}");
                    }
                }
                result = sources.timer.fired() => {
                    if let Err(error) = result {
                        log::error!("timer: {error}");
                    }
                }
                report = self.netlink.next() => {
                    if matches!(report, Report::Closed) {
                        log::error!("netlink sockets closed: stopping");
                        return Err(Error::NetlinkClosed);
                    }
                    self.reported(report);
                }
                Some(report) = sources.tracked.recv() => self.tracked(report),
                Some(question) = sources.questions.recv() => {
                    self.answer(question);
                }
                Some(found) = sources.finds.recv() => self.found(found),
                Some(read) = sources.read.recv() => self.reading_ended(read),
            }
            // Timers are judged by the clock until which everything was heard, however long that takes: after a pause
            // of the process there is much to hear, and most of them mean nothing any more.
            let now = timer::now();
            more = self.drain_ring(&mut sources.ring, now);
            more |= self.drain_raw(now);
            self.timers(now);
        }
    }

    /// Hands over, removes the addresses and waits, bounded, until they are gone.
    async fn stop(&mut self, questions: &mut mpsc::Receiver<Question>) -> Result<(), Error> {
        self.service.stopping();
        self.engine.handle_shutdown(timer::now());
        let kept = self.release_all_kept();
        let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
        let mut routers_left = false;
        loop {
            while self.act() {}
            if self.later.is_empty() {
                if !std::mem::replace(&mut routers_left, true) {
                    self.remove_fixed();
                }
                if self.addresses.settled()
                    && self.belongings.book.settled()
                    && (!kept || self.asked == 0)
                {
                    break;
                }
            }
            let report = tokio::select! {
                biased;
                report = tokio::time::timeout_at(deadline, self.netlink.next()) => report,
                Some(question) = questions.recv() => {
                    self.answer(question);
                    continue;
                }
            };
            match report {
                Ok(Report::Answers(answers)) => self.answered(answers),
                Ok(
                    Report::Everything(..)
                    | Report::Unknown(_)
                    | Report::Events(_)
                    | Report::Hooks(_),
                ) => {}
                Ok(Report::Closed) => {
                    self.remove_what_is_there().await;
                    break;
                }
                Err(_) => {
                    log::error!("stopping although not everything could be removed");
                    break;
                }
            }
        }
        if self.followed() {
            self.last_answers(questions).await;
        }
        self.notifier.stop().await;
        self.kernel.unpin()?;
        log::info!("stopped");
        Ok(())
    }

    /// The routers of the configuration, in its order.
    fn ids(&self) -> impl Iterator<Item = RouterId> + use<> {
        let order = Arc::clone(&self.order);
        (0..order.len()).map(move |place| order[place])
    }

    fn router(&self, id: RouterId) -> &Router {
        &self.routers[id.0 as usize]
    }

    fn router_mut(&mut self, id: RouterId) -> &mut Router {
        &mut self.routers[id.0 as usize]
    }

    /// Lets the service manager know that the loop turns, and what came of it.
    fn beat(&mut self) {
        let Self { service, engine, routers, .. } = self;
        service.beat(timer::now(), || count_states(engine, routers.len()));
    }

    fn counts(&self) -> Counts {
        count_states(&self.engine, self.routers.len())
    }

    fn count(&mut self, counter: Counter) {
        if let Err(error) = self.kernel.count(counter as u32) {
            log::error!("{}", bpf::chain(&error));
        }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let all = Counter::ALL.iter();
        all.map(|(c, name)| ((*name).to_owned(), self.kernel.counter(*c as u32))).collect()
    }

    fn timers(&mut self, now: Nanos) {
        if self.settling.next().is_some_and(|at| at <= now) {
            self.settling_due(now);
        }
        if self.engine.master_down_due(now) {
            self.refresh_last_seen();
            self.doubt_silence(now);
            self.doubt_raw(now);
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        self.look_around(now);
        self.look_at_pins(now);
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
        if self.tidy_at.is_some_and(|at| at <= now) {
            self.tidy_at = None;
            memory::give_back();
            log::debug!("gave memory back in {:?}", Duration::from(timer::now() - now));
        }
    }

    fn retry(&mut self) {
        self.retry_addresses();
        self.retry_extras();
        self.retry_sending();
        self.retry_better(timer::now());
        for ifindex in self.interfaces.indices() {
            if self.interfaces.get(ifindex).is_some_and(|i| matches!(i.capture, Capture::Failed(_)))
            {
                self.attach(ifindex);
                self.evaluate_on(ifindex);
            }
        }
    }

    fn retry_soon(&mut self) {
        self.retry_at.get_or_insert(timer::now() + RETRY);
    }

    // ---- addresses -----------------------------------------------------------------------------------

    /// Changes what `stats` sees of a router.
    fn publish(&mut self, id: RouterId, change: impl FnOnce(&mut RouterInfo)) {
        if let Err(error) = self.kernel.update_info(id.0, change) {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
    }
}

fn count_states(engine: &Engine, routers: usize) -> Counts {
    let mut counts = Counts::default();
    for id in (0..u32::try_from(routers).unwrap_or(u32::MAX)).map(RouterId) {
        match engine.state(id) {
            Some(State::Master) => counts.master += 1,
            Some(State::Backup) => counts.backup += 1,
            Some(State::Fault) => counts.fault += 1,
            Some(State::Init) => counts.init += 1,
            None => {}
        }
    }
    counts
}
