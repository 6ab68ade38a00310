//! The loop: what the kernel reports goes into the engine, what the engine wants goes to the kernel.
//!
//! One task owns everything. It drains the ring buffer before it looks at the clock, so that after a pause
//! of the machine or of the process the advertisements that arrived meanwhile are heard before any timer
//! is believed. Requests to netlink run beside it and report back; nothing here waits for an answer.

mod addresses;
mod announce;
mod debounce;
mod delays;
mod elsewhere;
mod extras;
pub mod history;
mod interfaces;
mod lockfile;
mod notify;
mod orders;
mod pace;
mod presence;
pub mod reload;
mod restore;
mod router;
mod routes;
mod service;
mod status;
mod tracking;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{self, signal};
use tokio::sync::mpsc;
use tokio::sync::watch::Sender as Latest;
use vrrp_common::event::RxEvent;
use vrrp_common::maps::{ABI_VERSION, Control, DAEMON_COUNTERS, RouterInfo, capture};
use vrrp_common::reason::Reason;

use self::addresses::{Addresses, Outcome, Place, Request, Vanished};
use self::announce::Forwarding;
use self::delays::Delayed;
use self::extras::Handle;
use self::history::{History, What, Whom};
use self::interfaces::{Capture, Change, Interface, Interfaces};
use self::lockfile::LockFile;
use self::notify::Notifier;
use self::reload::{Asked, Reloads, Serving, Watched};
use self::router::{Router, state_number};
use self::routes::Belongings;
use self::service::{Counts, Service};
use self::tracking::Tracking;
use self::watch::Watch;
use crate::config::model::{Config, Scheduling};
use crate::control::Instance;
use crate::control::server::{self, Channels, Question};
use crate::counters::counters;
use crate::engine::Engine;
use crate::engine::time::Nanos;
use crate::engine::types::{
    Action, Cause, FaultCause, Link, Lost, Notice, Priority, RouterId, State,
};
use crate::io::bpf::{self, CaptureMode, Kernel, Needs, Sizes, Vip};
use crate::io::netlink::{
    self, AddressRequest, Answer, Ask, InterfaceAddress, Netlink, Report, Subject,
};
use crate::io::ring::EventRing;
use crate::io::scripts::{Board, Found, Plan};
use crate::io::timer::{self, Timer};
use crate::io::tx::{Memberships, Queue, Tx};
use crate::io::{memory, sched, tracked, tx};
use crate::metrics::{baseline::Baseline, http};
use crate::wire::family::from_field;
use crate::wire::vrrp::parse_advert;

/// The lock file in an instance's runtime directory.
const LOCK: &str = "lock";
/// Ring-buffer records handled before timers are looked at again.
const RING_BUDGET: usize = 1024;
/// Actions other than advertisements that are carried out before timers are looked at again.
const ACTION_BUDGET: usize = 64;
/// Actions that waited at one time, after which memory is given back.
const BURST: usize = 1024;
/// How long after a burst of work: when nothing more has come of it.
const TIDY: Nanos = Nanos::from_secs(5);
/// Requests to netlink that may wait for their answers; what more there is waits as an action.
const ASKED: usize = 256;
/// How long after a failure (attaching, adding an address) the next attempt is made.
const RETRY: Nanos = Nanos::from_secs(5);
/// How long stopping waits for addresses to be removed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long starting waits for what is tracked.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How long stopping waits at most for those who follow the history.
const FAREWELL: Duration = Duration::from_millis(250);
/// A notice of the same kind about the same router is logged once in this time.
const NOTICE_SILENCE: Nanos = Nanos::from_secs(60);
/// After this time as master, each round of gratuitous ARP also asks whether another host has the addresses. Not
/// before: a master that was pre-empted still has them for a moment.
const SETTLED: Nanos = Nanos::from_secs(1);

/// What the daemon needs to start.
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// Where it was read from, for `status`.
    pub config_path: PathBuf,
    /// Name of this daemon on the machine.
    pub instance: Instance,
    /// BPF filesystem to pin maps on; `None` finds or mounts one.
    pub bpffs: Option<PathBuf>,
    /// A file that holds the process ID while the daemon runs.
    pub pid_file: Option<PathBuf>,
    /// How the configuration is read again.
    pub again: reload::Settings,
}

/// Why the daemon can not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime directory can not be used.
    #[error("cannot use {path}: {error}{hint}")]
    RuntimeDir {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        error: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Another daemon has that instance name.
    #[error(
        "instance `{instance}` is already running{}; stop it, or give this one another name with \
         --instance",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    AlreadyRunning {
        /// The name.
        instance: Instance,
        /// The other daemon, as far as it says.
        pid: Option<u32>,
    },
    /// The PID file is that of another daemon.
    #[error(
        "{path} belongs to a daemon that runs{}; stop it, or name another file with --pid-file",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    PidFileTaken {
        /// The file.
        path: PathBuf,
        /// The other daemon, as far as it says.
        pid: Option<u32>,
    },
    /// What should be the PID file is another one.
    #[error("{} is no PID file: there is something else in it", .0.display())]
    NoPidFile(PathBuf),
    /// The PID file can not be used.
    #[error("cannot use the PID file {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The sockets to send from can not be opened.
    #[error(
        "cannot open a packet socket: {0}; run as root, or grant CAP_NET_RAW and CAP_NET_ADMIN"
    )]
    Sockets(io::Error),
    /// The kernel side can not be loaded.
    #[error(transparent)]
    Kernel(#[from] bpf::Error),
    /// Netlink does not work.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// Netlink worked, and does no more.
    #[error("stopped because the netlink sockets were closed")]
    NetlinkClosed,
    /// Something that every Linux has does not work.
    #[error("{what}")]
    Os {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn os(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Os { what, source }
}

counters! {
    /// What the daemon itself refuses or fails at; the kernel side's refusals are
    /// [`vrrp_common::reason::Reason`]. The index is that in the map `COUNTERS`.
    pub enum Counter {
        /// A ring-buffer record that is shorter than it says, or names a router that is not there.
        BadEvent = "bad_event",
        /// An advertisement that passed the kernel side but does not parse.
        BadAdvert = "bad_advert",
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
        /// A configuration that was not taken up, because of its errors.
        ReloadRefused = "reload_refused",
    }
}

// The map has a place for each.
const _: () = assert!(Counter::ALL.len() <= DAEMON_COUNTERS as usize);

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
    addresses: Addresses,
    /// How to remove addresses that are in no router's configuration any more, or are there in another way.
    parting: BTreeMap<Place, AddressRequest>,
    watch: Watch,
    tracking: Tracking,
    netlink: Netlink,
    /// The sources that routers track or have tracked, as a rule none.
    tracked_sources: BTreeSet<IpAddr>,
    memberships: Memberships,
    tx: Tx,
    queue: Queue,
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
    read: mpsc::UnboundedReceiver<reload::Read>,
}

/// A signal that is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignalKind {
    Terminate,
    Interrupt,
    Hangup,
    User1,
    User2,
}

/// Listens to signals in a task of its own: each listener costs something whenever it is asked, and the loop
/// would ask all of them for every advertisement.
fn signals() -> io::Result<mpsc::Receiver<SignalKind>> {
    let mut terminate = signal(unix::SignalKind::terminate())?;
    let mut interrupt = signal(unix::SignalKind::interrupt())?;
    let mut hangup = signal(unix::SignalKind::hangup())?;
    let mut user1 = signal(unix::SignalKind::user_defined1())?;
    let mut user2 = signal(unix::SignalKind::user_defined2())?;
    let (send, receive) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::Terminate,
                _ = interrupt.recv() => SignalKind::Interrupt,
                _ = hangup.recv() => SignalKind::Hangup,
                _ = user1.recv() => SignalKind::User1,
                _ = user2.recv() => SignalKind::User2,
            };
            if send.send(kind).await.is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

/// Runs until SIGTERM or SIGINT. On return no address, pin, program or socket file of this daemon is left.
///
/// # Errors
/// [`Error`], before the first advertisement; later failures are logged, counted and retried.
pub fn run(options: Options) -> Result<(), Error> {
    let lock = lock(&options.instance)?;
    let instance = options.instance.clone();
    let result = run_alone(options);
    let _ = fs::remove_file(instance.socket());
    let _ = fs::remove_file(Baseline::path(&instance));
    drop(lock);
    let _ = fs::remove_dir(instance.runtime_dir());
    result
}

/// Runs as the only daemon of its instance.
fn run_alone(options: Options) -> Result<(), Error> {
    let _pid_file = options.pid_file.as_deref().map(pid_file).transpose()?;
    let scheduling = be_on_time(options.config.scheduling);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(os("cannot start the runtime"))?;
    let mut metrics = None;
    let result = runtime.block_on(async {
        let (mut daemon, mut sources) = Daemon::start(options, scheduling).await?;
        let end = daemon.serve(&mut sources).await;
        metrics.clone_from(daemon.reloads.metrics());
        daemon.stop(&mut sources.questions).await.and(end)
    });
    metrics.iter().for_each(http::tidy);
    result
}

/// Real-time scheduling, as far as it is permitted. The daemon works without. Returns how this thread is
/// scheduled.
fn be_on_time(configured: Option<Scheduling>) -> Scheduling {
    let scheduling = configured.unwrap_or(Scheduling::DEFAULT);
    let Err(error) = sched::schedule_thread(scheduling) else {
        log::debug!("scheduled as {scheduling}");
        return scheduling;
    };
    if configured.is_some() {
        log::warn!(
            "sched = {scheduling} is not possible: {error}; it needs CAP_SYS_NICE or RLIMIT_RTPRIO and, in a control \
             group with a CPU controller, a real-time budget"
        );
    } else {
        log::info!("no real-time scheduling: {error}");
    }
    Scheduling::Other
}

/// Takes the instance's lock, which the kernel releases however this process ends.
fn lock(instance: &Instance) -> Result<LockFile, Error> {
    let dir = instance.runtime_dir();
    let path = dir.join(LOCK);
    let failed = |path: &Path, error: io::Error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let hint = if denied {
            "; run as root, or let the service manager make it for the user (RuntimeDirectory=)"
        } else {
            ""
        };
        Error::RuntimeDir { path: path.to_owned(), error, hint }
    };
    // A daemon that stops removes the directory. Each round needs another daemon's end.
    for _ in 0..10 {
        fs::create_dir_all(&dir).map_err(|e| failed(&dir, e))?;
        return match LockFile::take(&path, |_| false) {
            Ok(lock) => Ok(lock),
            Err(lockfile::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(lockfile::Error::Io(error)) => Err(failed(&path, error)),
            Err(error @ lockfile::Error::Foreign) => Err(failed(&path, io::Error::other(error))),
            Err(lockfile::Error::Taken { pid }) => {
                Err(Error::AlreadyRunning { instance: instance.clone(), pid })
            }
        };
    }
    Err(Error::AlreadyRunning { instance: instance.clone(), pid: None })
}

/// Takes a PID file. Whoever has it open and locked is alive, and so is a daemon like keepalived, which locks none.
fn pid_file(path: &Path) -> Result<LockFile, Error> {
    LockFile::take(path, lockfile::is_vrrp_daemon).map_err(|error| match error {
        lockfile::Error::Taken { pid } => Error::PidFileTaken { path: path.to_owned(), pid },
        lockfile::Error::Foreign => Error::NoPidFile(path.to_owned()),
        lockfile::Error::Io(source) => Error::PidFile { path: path.to_owned(), source },
    })
}

/// One copy of a name that many routers have.
fn shared(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    let name: Arc<str> = name.into();
    names.insert(name.clone());
    name
}

impl Daemon {
    async fn start(options: Options, scheduling: Scheduling) -> Result<(Self, Sources), Error> {
        let Options { mut config, config_path, instance, bpffs, pid_file: _, again } = options;
        let started = timer::now();
        // First of all: whoever is told to stop while it starts tidies up, too.
        let signals = signals().map_err(os("cannot handle signals"))?;
        let service =
            Service::start(started).map_err(os("cannot start the thread of the service"))?;
        let tx = Tx::open().map_err(Error::Sockets)?;
        let memberships = Memberships::open().map_err(Error::Sockets)?;
        let (plan, diagnostics) = Plan::new(&config);
        for diagnostic in &diagnostics {
            log::warn!("{diagnostic}");
        }
        let netlink = Netlink::open(scheduling.below()).await?;
        let pins = instance.pins(&bpf::bpffs(bpffs.as_deref())?);
        let mut names = HashSet::new();
        let fingerprints = config.fingerprints();
        let (routers, mut specs): (Vec<_>, Vec<_>) = config
            .routers
            .iter()
            .zip(fingerprints)
            .map(|(router, fingerprint)| {
                Router::new(router, fingerprint, shared(&mut names, &router.interface))
            })
            .unzip();
        let (mut tracking, tracked) = Tracking::new();
        let groups = tracking.groups(&config);
        tracking.complete(&config, &mut specs);
        tracking.watch(&config, true).map_err(os("cannot watch what is tracked"))?;
        let (metrics, control) = (config.metrics.clone(), config.control.clone());
        let configured_scheduling = config.scheduling;
        let watched = Watched::of(&config);
        let mut delays = Delayed::new(std::mem::take(&mut config.delays));
        let belongings = Belongings::new(&config);
        for (id, router) in (0..).map(RouterId).zip(&config.routers) {
            delays.announces_elsewhere(started, id, router, false);
        }
        drop(config);
        let board = Arc::<Board>::default();
        let (notifier, finds) = Notifier::start(plan, Arc::clone(&board))
            .map_err(os("cannot start the thread of the scripts"))?;
        notifier.startup().await;
        let addresses = || routers.iter().flat_map(Router::addresses);
        let vips6 = addresses().filter(|address| address.address.is_ipv6()).count();
        let vips = addresses().count() - vips6;
        let allowed = routers.iter().map(|router| router.allowed().count()).sum();
        let needs = Needs { routers: routers.len(), vips, vips6, allowed };
        let sizes = Sizes::with_room(needs);
        let mut kernel = memory::apart(|| Kernel::load(&pins, sizes))?;
        kernel.write_control(&Control {
            abi_version: ABI_VERSION,
            pid: process::id(),
            started_ns: started.0,
        })?;
        if let Err(error) = kernel.forward_log() {
            log::debug!("{}", bpf::chain(&error));
        }
        let ring = kernel.take_events()?;
        let server = http::start(metrics.clone(), pins.clone(), Arc::clone(&board), None)
            .map_err(os("cannot start the metrics thread"))?;
        let Channels { questions, latest, access } =
            server::start(&instance.socket(), &control, pins.clone(), Arc::clone(&board))
                .map_err(|error| Error::RuntimeDir { path: instance.socket(), error, hint: "" })?;
        let timer = Timer::new().map_err(os("cannot create a timer"))?;
        let (sender, read) = mpsc::unbounded_channel();
        let scheduling = configured_scheduling;
        let serving =
            Serving { metrics, server, scheduling, control, access, pins, board, watched };
        let mut sources = Sources { read, ring, timer, questions, signals, finds, tracked };
        // The owner's addresses are the interface's real ones and stay whatever happens.
        let virtual_addresses: Vec<IpAddr> = routers
            .iter()
            .filter(|router| !router.owner)
            .flat_map(|router| router.addresses().map(|address| address.address))
            .collect();
        let mut daemon = Self {
            instance,
            config_path,
            started,
            history: History::new(routers.len()),
            latest,
            order: (0..u32::try_from(routers.len()).unwrap_or(u32::MAX)).map(RouterId).collect(),
            routers,
            reloads: Reloads::new(again, serving, sender),
            engine: Engine::with_capacity(specs.len()),
            kernel,
            tracked_sources: BTreeSet::new(),
            interfaces: Interfaces::new(virtual_addresses),
            addresses: Addresses::default(),
            parting: BTreeMap::new(),
            watch: Watch::default(),
            tracking,
            netlink,
            memberships,
            tx,
            queue: Queue::default(),
            later: VecDeque::new(),
            forwarding: Forwarding::default(),
            delays,
            asked: 0,
            retry_at: None,
            // What the start needed.
            tidy_at: Some(started + TIDY),
            service,
            notifier,
            belongings,
        };
        if let Some(at) = daemon.delays.start(started, timer::since_boot()) {
            log::info!("startup delay: for {} no router takes over", at - started);
            daemon.engine.delay_start(at);
        }
        tracking::add_groups(&mut daemon.engine, started, groups);
        for (id, spec) in (0..).map(RouterId).zip(specs) {
            let info = daemon.router(id).info(spec.priority);
            daemon.publish(id, |published| *published = info);
            daemon.allow_peers(id);
            daemon.engine.add_router(id, spec);
        }
        match daemon.netlink.next().await {
            Report::Everything(links, addresses) => daemon.listed(links, &addresses),
            Report::Unknown(error) => return Err(error.into()),
            Report::Events(_) | Report::Answers(_) | Report::Closed => {
                return Err(netlink::Error::NoAnswer.into());
            }
        }
        daemon.remove_leftovers().await?;
        daemon.first_look(&mut sources.tracked).await;
        daemon.add_fixed();
        for id in daemon.ids() {
            daemon.evaluate(id);
            if daemon.waits_for_dad(id) {
                let place = daemon.router(id).place();
                log::info!(
                    "{place}: waits for duplicate address detection of the link-local address"
                );
            } else if let Some(problem) = daemon.router(id).link_problem() {
                log::error!("{}: {problem}", daemon.router(id).place());
            }
        }
        memory::trim();
        memory::release_code();
        if let Err(error) = memory::lock() {
            log::info!(
                "memory is not locked: {error} (CAP_IPC_LOCK or RLIMIT_MEMLOCK would permit it)"
            );
        }
        log::info!(
            "instance {}: {} virtual routers from {}",
            daemon.instance,
            daemon.routers.len(),
            daemon.config_path.display()
        );
        daemon.service.ready(timer::now(), daemon.counts());
        Ok((daemon, sources))
    }

    /// Waits, not for long, until tracked files and processes have been looked at once: no router is to start on
    /// what was not known yet. Scripts are not waited for.
    async fn first_look(&mut self, tracked: &mut mpsc::Receiver<tracked::Report>) {
        let deadline = tokio::time::Instant::now() + FIRST_LOOK;
        while self.tracking.incomplete() {
            match tokio::time::timeout_at(deadline, tracked.recv()).await {
                Ok(Some(report)) => self.tracked(report),
                Ok(None) | Err(_) => {
                    return log::warn!("starting although not everything that is tracked is known");
                }
            }
        }
    }

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
                self.delays.next(),
                self.service.next(),
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
                // Nothing announces what a full budget left over.
                () = std::future::ready(()), if more => {}
                result = sources.ring.readable() => {
                    if let Err(error) = result {
                        log::error!("ring buffer: {error}");
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
                Some(read) = sources.read.recv() => self.configuration_read(read),
            }
            more = self.drain_ring(&mut sources.ring);
            self.timers();
        }
    }

    /// Hands over, removes the addresses and waits, bounded, until they are gone.
    async fn stop(mut self, questions: &mut mpsc::Receiver<Question>) -> Result<(), Error> {
        self.service.stopping();
        self.engine.handle_shutdown(timer::now());
        let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
        let mut routers_left = false;
        loop {
            while self.act() {}
            if self.later.is_empty() {
                if !std::mem::replace(&mut routers_left, true) {
                    self.remove_fixed();
                }
                if self.addresses.settled() && self.belongings.book.settled() {
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
                Ok(Report::Everything(..) | Report::Unknown(_) | Report::Events(_)) => {}
                Ok(Report::Closed) | Err(_) => {
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

    /// Tells those who follow the history how it ends: answers until nobody asks, and not for long.
    async fn last_answers(&mut self, questions: &mut mpsc::Receiver<Question>) {
        let deadline = tokio::time::Instant::now() + FAREWELL;
        loop {
            let quiet = tokio::time::Instant::now() + FAREWELL / 5;
            let question = tokio::time::timeout_at(quiet.min(deadline), questions.recv()).await;
            match question {
                Ok(Some(question)) => self.answer(question),
                Ok(None) | Err(_) => return,
            }
        }
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

    // ---- what is heard -------------------------------------------------------------------------------

    /// Returns whether more may be waiting.
    fn drain_ring(&mut self, ring: &mut EventRing) -> bool {
        ring.drain(RING_BUDGET, |event, payload| self.heard(&event, payload)) == RING_BUDGET
    }

    fn heard(&mut self, event: &RxEvent, payload: &[u8]) {
        let claims = [Reason::ArpConflict, Reason::NdiscConflict].map(Reason::index);
        if claims.contains(&event.reason) {
            self.claimed(event, payload);
        } else {
            self.advert(event, payload);
        }
    }

    fn advert(&mut self, event: &RxEvent, payload: &[u8]) {
        let id = RouterId(event.slot);
        let Some(router) = self.routers.get(event.slot as usize) else {
            return self.count(Counter::BadEvent);
        };
        if router.ifindex() != Some(event.ifindex) {
            // It arrived before the interface was re-created or renamed.
            return;
        }
        // RFC 9568 section 5.2.3.
        if payload.get(1).is_some_and(|vrid| *vrid != router.vrid().get()) {
            // It arrived before the configuration changed, for the router that had this number then.
            return;
        }
        let source = from_field(event.family, event.source);
        match parse_advert(source, router.version(), payload) {
            Ok(advert) => {
                self.engine.handle_rx(Nanos(event.ktime_ns), id, &advert);
                let quiet = if self.engine.is_steady(id, &advert) { event.news } else { 0 };
                if self.router_mut(id).hear(event.source, quiet) {
                    self.set_quiet(id, quiet);
                }
                let mismatches =
                    self.engine.view(id).map_or(0, |view| view.address_list_mismatches);
                if mismatches > 0 {
                    self.publish(id, |info| info.address_list_mismatch = mismatches);
                }
            }
            Err(error) => {
                log::debug!("{}: advertisement from {source}: {error}", router.place());
                self.count(Counter::BadAdvert);
            }
        }
    }

    fn set_quiet(&mut self, id: RouterId, news: u16) {
        if let Err(error) = self.kernel.set_quiet(id.0, news) {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
    }

    /// Tells the engine which masters were heard without waking anybody. All of them at once: their
    /// deadlines lie close together, and one sweep saves as many wake-ups.
    fn sweep(&mut self) {
        for id in self.ids() {
            self.ask_kernel(id);
        }
    }

    /// Tells the engine when the master of a backup was last heard.
    fn ask_kernel(&mut self, id: RouterId) {
        if self.engine.state(id) == Some(State::Backup)
            && let Some(at) = self.router(id).last_seen(id, &self.kernel)
        {
            self.engine.handle_heard(at, id);
        }
    }

    fn timers(&mut self) {
        let now = timer::now();
        if self.engine.master_down_due(now) {
            self.sweep();
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.retry();
        }
        if self.watch.next().is_some_and(|at| at <= now) {
            self.watch_conflicts(now);
        }
        if self.delays.next().is_some_and(|at| at <= now) {
            self.delays_due(now);
        }
        if self.tidy_at.is_some_and(|at| at <= now) {
            self.tidy_at = None;
            memory::give_back();
            log::debug!("gave memory back in {:?}", Duration::from(timer::now() - now));
        }
    }

    fn retry(&mut self) {
        self.retry_addresses();
        self.retry_extras();
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

    // ---- interfaces ----------------------------------------------------------------------------------

    /// Takes in all links and addresses, and compares with what we believed.
    fn listed(&mut self, links: Vec<netlink::Link>, addresses: &[InterfaceAddress]) {
        let alive: HashSet<u32> = links.iter().map(|link| link.ifindex).collect();
        for ifindex in self.interfaces.indices() {
            if !alive.contains(&ifindex) {
                self.changed(&netlink::Event::LinkGone(ifindex));
            }
        }
        let links = links.into_iter().map(netlink::Event::Link);
        let mut changed = Vec::new();
        for link in links {
            let link = self.debounced(&link);
            changed.push(self.interfaces.apply(&link));
        }
        self.interfaces.forget_addresses();
        for address in addresses {
            self.interfaces.apply(&netlink::Event::Address(*address));
        }
        // Not before the addresses are known, or every interface would seem to have none.
        for change in changed {
            if let Change::Interface { ifindex, .. } = change {
                self.attach(ifindex);
            }
        }
        let believed: Vec<Place> = self.addresses.present().collect();
        for place in believed {
            // Listed or not: what was reported before does not matter any more.
            self.addresses.appeared(place);
            if !self.interfaces.has(place) {
                self.vanished(place);
            }
        }
        for id in self.ids() {
            self.evaluate(id);
        }
        self.track_interfaces(None);
    }

    /// Takes in what the netlink thread says.
    fn reported(&mut self, report: Report) {
        match report {
            Report::Everything(links, addresses) => self.listed(links, &addresses),
            Report::Unknown(error) => log::error!("cannot read links and addresses: {error}"),
            Report::Events(events) => {
                for event in &events {
                    self.extra_changed(event);
                    self.changed(event);
                }
            }
            Report::Answers(answers) => self.answered(answers),
            Report::Closed => {}
        }
    }

    fn changed(&mut self, event: &netlink::Event) {
        let event = self.debounced(event);
        self.changed_now(&event);
    }

    /// As [`Self::changed`], but whatever changes counts at once.
    fn changed_now(&mut self, event: &netlink::Event) {
        if *event == netlink::Event::Overrun {
            self.count(Counter::NetlinkOverrun);
            log::warn!("netlink notifications were lost; reading all links and addresses again");
        }
        match self.interfaces.apply(event) {
            Change::None => {}
            Change::Virtual(place) => {
                self.addresses.appeared(place);
                self.source_changed(place);
            }
            Change::VirtualGone(place) => {
                self.vanished(place);
                self.source_changed(place);
            }
            Change::Interface { ifindex, gone: true } => {
                if let Err(error) = self.kernel.detach(ifindex) {
                    log::debug!("interface {ifindex} is gone: {}", bpf::chain(&error));
                }
                if let Err(error) = self.kernel.release_interface(ifindex) {
                    log::error!("interface {ifindex} is gone: {}", bpf::chain(&error));
                }
                self.memberships.leave(ifindex, |_| false);
                self.addresses.interface_gone(ifindex);
                self.delays.interface_gone(ifindex);
                self.evaluate_on(ifindex);
                self.track_interfaces(Some(ifindex));
            }
            Change::Interface { ifindex, gone: false } => {
                self.attach(ifindex);
                self.evaluate_on(ifindex);
                self.track_interfaces(Some(ifindex));
            }
        }
    }

    /// An address that we or another router put somewhere has come or gone: it may be the source of a router that
    /// tracks it, such as a static one.
    fn source_changed(&mut self, place: Place) {
        if !self.tracked_sources.contains(&place.address) {
            return;
        }
        for id in self.ids() {
            let router = self.router(id);
            if router.track_source && router.configured_source() == Some(place.address) {
                self.evaluate(id);
            }
        }
    }

    /// Attaches the XDP program, if routers need the interface and it is not done.
    fn attach(&mut self, ifindex: u32) {
        let Some(interface) = self.interfaces.get(ifindex) else { return };
        let name = interface.name.clone();
        if matches!(interface.capture, Capture::Attached(_)) || !self.needs(&name) {
            return;
        }
        let before = interface.capture.clone();
        let capture = if interface.mac.is_none() {
            Capture::Failed("not an Ethernet interface".to_owned())
        } else {
            match self.kernel.attach(ifindex, &name) {
                Ok(mode) => {
                    log::info!("{name}: XDP program attached in {mode} mode");
                    Capture::Attached(mode)
                }
                Err(error) => Capture::Failed(bpf::chain(&error)),
            }
        };
        if let Capture::Failed(why) = &capture {
            if capture != before {
                log::error!("{name}: no advertisement can be received: {why}");
            }
            self.count(Counter::AttachFailed);
            self.retry_soon();
        }
        if let Some(interface) = self.interfaces.get_mut(ifindex) {
            interface.capture = capture;
        }
    }

    fn needs(&self, name: &str) -> bool {
        self.routers.iter().filter(|router| !router.gone).any(|router| {
            *router.interface == *name || router.addresses().any(|a| router.dev(a) == name)
        })
    }

    fn evaluate_on(&mut self, ifindex: u32) {
        let name = self.interfaces.get(ifindex).map(|interface| interface.name.clone());
        for id in self.ids() {
            let router = self.router(id);
            if router.ifindex() == Some(ifindex)
                || name.as_ref().is_some_and(|name| **name == *router.interface)
            {
                self.evaluate(id);
            }
        }
        self.extras_on(name.as_deref());
        // An address whose interface was missing can be added now.
        if self.addresses.needs_retry() {
            self.retry_soon();
        }
    }

    /// Decides whether a router's interface can carry it, and tells engine and kernel side of changes.
    fn evaluate(&mut self, id: RouterId) {
        let router = &mut self.routers[id.0 as usize];
        if router.gone {
            return;
        }
        if let (true, Some(source)) = (router.track_source, router.configured_source()) {
            self.tracked_sources.insert(source);
        }
        let found = self.interfaces.by_name(&router.interface);
        let link = match found {
            None => Link::Down(FaultCause::InterfaceMissing),
            Some((_, interface)) if !interface.up && !router.may_be_down => {
                Link::Down(FaultCause::InterfaceDown)
            }
            Some((_, interface)) if !matches!(interface.capture, Capture::Attached(_)) => {
                Link::Down(FaultCause::NoCapture)
            }
            Some((ifindex, interface)) => match router.source(interface) {
                Some(address)
                    if router.track_source
                        && !self.interfaces.usable(Place { ifindex, address }) =>
                {
                    Link::Down(FaultCause::NoSource)
                }
                Some(source) => Link::Up(source),
                None => Link::Down(FaultCause::NoAddress),
            },
        };
        let place = found.and_then(|(ifindex, interface)| Some((ifindex, interface.mac?)));
        let (stale, fresh) = router.moved(place, link, id);
        let moved = stale.is_some() || fresh.is_some();
        if let Some(key) = stale {
            if let Err(error) = self.kernel.remove_router(&key) {
                log::error!("{}: {}", router.place(), bpf::chain(&error));
            }
            self.each_vip(id, key.ifindex, |kernel, vip| kernel.remove_vip(vip));
        }
        if let Some((key, entry)) = fresh {
            if let Err(error) = self.kernel.set_router(&key, &entry) {
                log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
            }
            self.each_vip(id, key.ifindex, |kernel, vip| kernel.add_vip(vip));
        }
        if moved {
            let ifindex = self.router(id).ifindex().unwrap_or_default();
            self.publish(id, |info| info.ifindex = ifindex);
        }
        if self.routers[id.0 as usize].report(link) {
            let capture = self.capture(id);
            self.publish(id, |info| info.capture = capture);
            if let Link::Up(_) = link {
                self.join(id);
            }
            self.engine.handle_link(timer::now(), id, link);
        }
    }

    /// Tells the kernel side which peers a router hears, if it does not hear everybody.
    fn allow_peers(&mut self, id: RouterId) {
        let router = &self.routers[id.0 as usize];
        for (peer, range) in router.allowed() {
            if let Err(error) = self.kernel.allow(id.0, peer, range) {
                log::error!("{}: {peer} is not heard: {}", router.place(), bpf::chain(&error));
            }
        }
    }

    /// The same for those that it heard before and that are not among its peers any more.
    fn disallow_peers(&mut self, id: RouterId, old: impl Iterator<Item = IpAddr>) {
        let router = &self.routers[id.0 as usize];
        for peer in old.filter(|old| router.allowed().all(|(peer, _)| peer != *old)) {
            if let Err(error) = self.kernel.disallow(id.0, peer) {
                log::error!("{}: {peer} is still heard: {}", router.place(), bpf::chain(&error));
            }
        }
    }

    /// Whether nothing is wrong with a router's interface but that it is only just up: it will have an address to
    /// send from in a moment.
    fn waits_for_dad(&self, id: RouterId) -> bool {
        let router = self.router(id);
        let interface = self.interfaces.by_name(&router.interface).map(|(_, interface)| interface);
        router.lacks_address() && interface.is_some_and(Interface::tentative6)
    }

    /// Joins the multicast group of a router. Not before its interface has an address: until then it may not have IPv6
    /// at all.
    fn join(&mut self, id: RouterId) {
        let router = &self.routers[id.0 as usize];
        let (Some(ifindex), Some(_)) = (router.ifindex(), router.source_in_use()) else { return };
        let group = router.group();
        if let Err(error) = self.memberships.join(ifindex, group) {
            log::warn!(
                "{}: cannot join the group {group}: {error}; multicast may not arrive",
                router.place()
            );
        }
    }

    /// Leaves a multicast group that a router had, if no other router on that interface has it.
    fn leave(&mut self, ifindex: Option<u32>, group: IpAddr) {
        let Some(ifindex) = ifindex else { return };
        let has = |router: &Router| router.ifindex() == Some(ifindex) && router.group() == group;
        if !self.routers.iter().any(|router| !router.gone && has(router)) {
            self.memberships.leave(ifindex, |joined| joined != group);
        }
    }

    /// How advertisements for a router are received, as `stats` is told.
    fn capture(&self, id: RouterId) -> u8 {
        let interface = self.interfaces.by_name(&self.router(id).interface);
        match interface.map(|(_, interface)| &interface.capture) {
            Some(Capture::Attached(CaptureMode::Native)) => capture::NATIVE,
            Some(Capture::Attached(CaptureMode::Generic)) => capture::GENERIC,
            Some(Capture::Detached | Capture::Failed(_)) | None => capture::NONE,
        }
    }

    fn each_vip(
        &mut self,
        id: RouterId,
        ifindex: u32,
        mut change: impl FnMut(&mut Kernel, &Vip) -> Result<(), bpf::Error>,
    ) {
        let router = &self.routers[id.0 as usize];
        for address in router.addresses() {
            let on = match address.dev() {
                Some(dev) => self.interfaces.by_name(dev).map(|(ifindex, _)| ifindex),
                None => Some(ifindex),
            };
            let address = address.address;
            if let Some(ifindex) = on
                && let Err(error) = change(&mut self.kernel, &Vip::new(ifindex, address))
            {
                log::error!("{}: counters of {address}: {}", router.place(), bpf::chain(&error));
            }
        }
    }

    // ---- addresses -----------------------------------------------------------------------------------

    /// Takes away virtual addresses that a daemon left behind that could not clean up.
    async fn remove_leftovers(&mut self) -> Result<(), Error> {
        let mut missing = 0;
        for id in self.ids() {
            for (place, _) in self.places(id) {
                if self.interfaces.has(place)
                    && let Some(address) = self.router(id).request(place, &self.interfaces)
                {
                    self.netlink.ask(Ask::address(Request::Remove, address));
                    missing += 1;
                }
            }
        }
        missing += self.remove_left_extras();
        while missing > 0 {
            match self.netlink.next().await {
                Report::Answers(answers) => {
                    missing -= answers.len().min(missing);
                    for Answer { request, subject, result } in answers {
                        match subject {
                            Subject::Address(at) => self.left_over(&at, &result),
                            Subject::Extra(number) => {
                                self.asked = self.asked.saturating_sub(1);
                                self.notifier.answered(1);
                                self.left_extra(Handle(number), request, result);
                            }
                        }
                    }
                }
                Report::Closed => return Err(netlink::Error::NoAnswer.into()),
                report @ (Report::Everything(..) | Report::Unknown(_) | Report::Events(_)) => {
                    self.reported(report);
                }
            }
        }
        Ok(())
    }

    fn left_over(&mut self, at: &InterfaceAddress, result: &Result<(), netlink::Error>) {
        let place = Place { ifindex: at.ifindex, address: at.address };
        match result {
            Ok(()) => {
                log::info!("removed left-over {}", self.describe(place));
                // Not only when the notification comes, or it would seem to be there until then.
                self.changed(&netlink::Event::AddressGone(*at));
            }
            Err(error) if is_absent(error) => {}
            Err(error) => {
                log::error!("left-over {}: {error}", self.describe(place));
                self.count(Counter::AddressRemoveFailed);
            }
        }
    }

    /// Where a router's addresses belong, as far as the interfaces exist.
    fn places(&self, id: RouterId) -> Vec<(Place, u8)> {
        let router = self.router(id);
        let places = router.addresses().filter_map(|address| {
            let ifindex = match address.dev() {
                Some(dev) => self.interfaces.by_name(dev)?.0,
                None => router.ifindex()?,
            };
            Some((Place { ifindex, address: address.address }, address.prefix))
        });
        places.collect()
    }

    fn add_addresses(&mut self, id: RouterId) {
        let owner = self.router(id).owner;
        let missing: Vec<String> = self
            .router(id)
            .addresses()
            .filter_map(|address| address.dev())
            .filter(|dev| self.interfaces.by_name(dev).is_none())
            .map(str::to_owned)
            .collect();
        for dev in missing {
            log::error!(
                "{}: interface {dev} of an address does not exist",
                self.router(id).place()
            );
            self.count(Counter::AddressAddFailed);
        }
        for (place, prefix) in self.places(id) {
            self.hold(id, place);
            if owner && self.interfaces.owns(place) {
                // The interface's own address, not ours to remove later.
                continue;
            }
            let tracked =
                !self.router(id).addresses().any(|a| a.address == place.address && a.no_track);
            if let Some(request) = self.addresses.want(place, id, prefix, tracked) {
                self.ask(place, request);
            }
        }
        self.add_extras(id);
    }

    fn remove_addresses(&mut self, id: RouterId) {
        self.remove_extras(id);
        for (place, _) in self.places(id) {
            self.give_up(id, place);
        }
    }

    /// A router no longer holds an address, unless another one has taken it over.
    fn give_up(&mut self, id: RouterId, place: Place) {
        if self.addresses.router(place).is_some_and(|holder| holder != id) {
            return;
        }
        self.release(id, place);
        if let Some(request) = self.addresses.unwant(place, id) {
            self.ask(place, request);
        }
    }

    /// Sends a request to the kernel; the answer comes as a [`Report`].
    fn ask(&mut self, place: Place, request: Request) {
        let Some(id) = self.addresses.router(place) else { return };
        let parting = match request {
            Request::Add => None,
            Request::Remove => self.parting.get(&place).cloned(),
        };
        let address = parting.or_else(|| self.router(id).request(place, &self.interfaces));
        let Some(address) = address else { return };
        self.netlink.ask(Ask::address(request, address));
        self.asked += 1;
        self.notifier.asked();
    }

    fn answered(&mut self, answers: Vec<Answer>) {
        self.asked = self.asked.saturating_sub(answers.len());
        let count = answers.len();
        for Answer { request, subject, result } in answers {
            match subject {
                Subject::Address(at) => self.completed(request, at, &result),
                Subject::Extra(number) => self.extra_answered(Handle(number), request, result),
            }
        }
        self.flush();
        self.notifier.answered(count);
    }

    fn completed(
        &mut self,
        request: Request,
        at: InterfaceAddress,
        result: &Result<(), netlink::Error>,
    ) {
        let place = Place { ifindex: at.ifindex, address: at.address };
        let outcome = match (request, result) {
            (Request::Add | Request::Remove, Ok(())) => Outcome::Done,
            (Request::Add, Err(error)) if error.errno() == Some(libc::EEXIST) => {
                // Nothing will be reported.
                self.addresses.appeared(place);
                Outcome::Done
            }
            (Request::Remove, Err(error)) if is_absent(error) => Outcome::Done,
            (Request::Add, Err(error)) => {
                log::error!("cannot add {}: {error}", self.describe(place));
                self.count(Counter::AddressAddFailed);
                Outcome::Failed
            }
            (Request::Remove, Err(error)) => {
                log::error!("cannot remove {}: {error}", self.describe(place));
                self.count(Counter::AddressRemoveFailed);
                Outcome::Failed
            }
        };
        let next = self.addresses.completed(place, request, outcome);
        if let (Request::Remove, Outcome::Done) = (request, outcome)
            && self.parting.remove(&place).is_some()
        {
            self.addresses.forget(place);
        }
        if let Some(next) = next {
            self.ask(place, next);
        }
        match outcome {
            Outcome::Failed => self.retry_soon(),
            Outcome::Done => {
                let rounds = self.addresses.take_rounds(place);
                for _ in 0..rounds {
                    self.garp(place);
                }
                if let (Request::Add, Some(id)) = (request, self.addresses.router(place)) {
                    self.extras_after_address(id);
                }
            }
        }
    }

    fn describe(&self, place: Place) -> String {
        let dev = self.interfaces.get(place.ifindex).map_or("?", |interface| &interface.name);
        format!("{} dev {dev}", place.address)
    }

    fn vanished(&mut self, place: Place) {
        let vanished = self.addresses.vanished(place);
        if let (true, Some(id)) = (vanished != Vanished::Expected, self.addresses.router(place)) {
            self.extras_of(id);
        }
        match vanished {
            Vanished::Expected => {}
            Vanished::Collateral => {
                log::info!("{} went with its subnet; adding it again", self.describe(place));
                self.retry_addresses();
            }
            Vanished::Untracked => {
                log::warn!("{} was removed from outside; not tracked", self.describe(place));
                if let Some(id) = self.addresses.router(place) {
                    self.addresses.unwant(place, id);
                }
            }
            Vanished::Lost(id) => {
                log::warn!("{} was removed from outside", self.describe(place));
                self.count(Counter::AddressLost);
                if self.belongings.restores(id) {
                    self.restore_address(id, place);
                } else {
                    let lost = Lost::Address(place.address);
                    self.engine.handle_lost(timer::now(), id, lost);
                }
            }
        }
    }

    fn retry_addresses(&mut self) {
        for (place, request) in self.addresses.retry() {
            self.ask(place, request);
        }
    }

    // ---- what is done --------------------------------------------------------------------------------

    /// Carries out what the engine wants: the advertisements of all routers first, because somebody waits
    /// for them, then a part of the rest in its order. Whether there is more that need not wait for netlink.
    fn act(&mut self) -> bool {
        self.warm();
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::SendAdvert { router, priority } => {
                    self.send_advert(router, priority);
                    if self.queue.is_full() {
                        self.flush();
                        self.warm();
                    }
                }
                Action::Transition { router, from, to, cause, at } => {
                    self.transition(router, to, at);
                    self.note(Whom::Router(router), at, What::Transition { from, to, cause });
                    self.later.push_back(action);
                }
                Action::Notice { router, notice } => {
                    self.note(Whom::Router(router), timer::now(), What::Notice(notice));
                    self.later.push_back(action);
                }
                Action::PriorityChanged { router, from, to } => {
                    self.priority_changed(router, to);
                    let notice = Notice::PriorityChanged { from, to };
                    self.note(Whom::Router(router), timer::now(), What::Notice(notice));
                    self.later.push_back(action);
                }
                Action::GroupTransition { .. }
                | Action::LowerPriority(_)
                | Action::AddAddresses(_)
                | Action::RemoveAddresses(_)
                | Action::SendGarp { .. } => self.later.push_back(action),
            }
        }
        self.flush();
        self.tell_followers();
        for _ in 0..ACTION_BUDGET {
            if self.asked >= ASKED {
                break;
            }
            match self.later.pop_front() {
                Some(Action::AddAddresses(router)) => self.add_addresses(router),
                Some(Action::RemoveAddresses(router)) => self.remove_addresses(router),
                Some(Action::SendGarp { router, rounds }) => self.send_garp(router, rounds),
                Some(Action::Transition { router, from, to, cause, .. }) => {
                    let words = self.words(cause);
                    log::info!("{}: {from} -> {to}: {words}", self.router(router).place());
                    if cause != Cause::Removed {
                        self.tell_transition(router, to);
                    }
                }
                Some(Action::Notice { router, notice }) => {
                    self.tell_notice(router, &notice);
                    self.notice(router, notice);
                }
                Some(Action::PriorityChanged { router, from, to }) => {
                    let place = self.router(router).place();
                    let why = self.priority_words(router);
                    let why = why.map(|why| format!(" = {why}")).unwrap_or_default();
                    log::info!("{place}: effective priority {from} -> {to}{why}");
                    self.tell_priority(router, to);
                }
                Some(Action::LowerPriority(router)) => self.tell_lower_priority(router),
                Some(Action::GroupTransition { group, from, to, .. }) => {
                    let name = self.tracking.group_name(group);
                    log::info!("sync group {name}: {from} -> {to}");
                    self.tell_group(group, to);
                }
                // The former was carried out above.
                Some(Action::SendAdvert { .. }) | None => break,
            }
        }
        self.flush();
        if self.later.is_empty() && self.later.capacity() > BURST {
            self.later.shrink_to(ACTION_BUDGET);
            self.tidy_at = Some(timer::now() + TIDY);
        }
        !self.later.is_empty() && self.asked < ASKED
    }

    fn note(&mut self, whom: Whom, at: Nanos, what: What) {
        if !self.history.note(whom, at, what) {
            self.count(Counter::NoticeLeftOut);
        }
    }

    /// Wakes those who follow the history. They ask for what is new when they get to it: nothing is kept for
    /// them, and a slow one costs nothing.
    fn tell_followers(&self) {
        if self.followed() && *self.latest.borrow() != self.history.last() {
            self.latest.send_replace(self.history.last());
        }
    }

    /// Whether anybody follows the history. One receiver is the one that the control thread clones.
    fn followed(&self) -> bool {
        self.latest.receiver_count() > 1
    }

    fn transition(&mut self, id: RouterId, to: State, at: Nanos) {
        self.service.changed();
        self.delays.transition(at, id, to);
        self.router_mut(id).transition();
        if self.router_mut(id).unquiet() {
            self.set_quiet(id, 0);
        }
        self.publish(id, |info| {
            info.state = state_number(to);
            info.since_ns = at.0;
            info.became_master += u64::from(to == State::Master);
            info.transitions += 1;
        });
    }

    /// A backup that hears the same master as before may rank above it now, and must be told of the next
    /// advertisement.
    fn priority_changed(&mut self, id: RouterId, to: Priority) {
        if self.router_mut(id).unquiet() {
            self.set_quiet(id, 0);
        }
        self.publish(id, |info| info.priority = to.0);
    }

    fn send_advert(&mut self, id: RouterId, priority: Priority) {
        let Self { routers, queue, tx, .. } = self;
        let (sent, failed) =
            routers[id.0 as usize].advertise(priority, queue, id, |ifindex, peer, packet| {
                tx.send_ip(ifindex, peer, packet)
            });
        for error in failed {
            self.send_failed(id.0, &error);
        }
        if sent && let Err(error) = self.kernel.count_advert(id.0) {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
        if sent && priority == Priority::RESIGN {
            self.publish(id, |info| info.priority_zero_sent += 1);
        }
    }

    /// Looks at what the next advertisements need. In a second without work it has left the caches, and one after the
    /// other each of them would wait for it; these looks wait for nothing and overlap.
    fn warm(&self) {
        let next = self.engine.actions().take(tx::BATCH).filter_map(Action::advertises);
        let seen = next.fold(0, |seen, id| {
            seen ^ self.router(id).peek() ^ self.kernel.adverts_sent(id.0).unwrap_or_default()
        });
        std::hint::black_box(seen);
    }

    fn flush(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let mut failures = Vec::new();
        self.tx.flush(&mut self.queue, |tag, error| failures.push((tag, error)));
        for (tag, error) in failures {
            self.send_failed(tag, &error);
        }
    }

    fn send_failed(&mut self, tag: u32, error: &io::Error) {
        self.count(Counter::SendFailed);
        match self.routers.get_mut(tag as usize) {
            Some(router) => {
                if router.send_failed() {
                    log::error!("{}: cannot send an advertisement: {error}", router.place());
                }
                self.publish(RouterId(tag), |info| info.send_errors += 1);
            }
            None => log::warn!("cannot announce an address: {error}"),
        }
    }

    fn notice(&mut self, id: RouterId, notice: Notice) {
        if let Notice::IntervalLearned(interval) = notice {
            self.interval_learned(id, interval);
        }
        let router = self.router_mut(id);
        if router.worth_logging(&notice, timer::now(), NOTICE_SILENCE) {
            log::warn!("{}: {notice}", router.place());
        }
    }

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

/// The address or its interface is not there: what was asked for is the case.
fn is_absent(error: &netlink::Error) -> bool {
    matches!(error.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO))
}
