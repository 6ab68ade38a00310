//! From the options to the first turn of the loop: locks, scheduling, what is opened, loaded and read first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io, process};

use tokio::sync::mpsc;
use vrrp_common::maps::Control;

use super::adoption::{self, Found};
use super::answer::problems_by;
use super::networks::Networks;
use super::raw::Refusals;
use super::service::Service;
use super::signals::{self, signals};
use super::stale::{self, free_lost};
use super::{Driver, Sources, panics, reload};
use crate::capture as modes;
use crate::config::model::{Config, RouterConfig, Scheduling};
use crate::control::server::{self, Channels};
use crate::core::{Boot, Core, Counter, Input, Needs, Sizes};
use crate::io::bpf::{self, Datapath, Feature, Without};
use crate::io::lockfile::{self, LOCK, LockFile, LockedDir, SharedLock};
use crate::io::netlink::{self, AcceptFilter, Netlink, restore_settings};
use crate::io::scripts::{Board, Plan, Scripts};
use crate::io::timer::{self, ClockSteps, Timer};
use crate::io::{descriptors, handover, memory, netns, sched, tracked};
use crate::metrics::{baseline::Baseline, http};
use crate::types::build;
use crate::types::instance::Instance;

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
    /// What the kernel is taken to lack.
    pub without: Without,
}

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime directory cannot be used.
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
    /// The PID file cannot be used.
    #[error("cannot use the PID file {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There are too few open files.
    #[error("{0}")]
    Descriptors(String),
    /// The sockets to send from cannot be opened.
    #[error("cannot open a packet socket: {0}{hint}", hint = rights(.0))]
    Sockets(io::Error),
    /// The kernel side cannot be loaded.
    #[error(transparent)]
    Datapath(#[from] bpf::Error),
    /// The network namespace of a dead daemon cannot be entered.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// Netlink does not work.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// What a dead daemon left cannot be removed.
    #[error(transparent)]
    Stale(#[from] stale::Error),
    /// Netlink worked, and does no more.
    #[error("stopped because the netlink sockets were closed")]
    NetlinkClosed,
    /// A mistake of ours.
    #[error("stopped because of a mistake of this program, which the log describes")]
    Panicked,
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

fn rights(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "; run as root, or grant CAP_NET_RAW and CAP_NET_ADMIN"
    } else {
        ""
    }
}

fn os(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Os { what, source }
}

/// Runs until SIGTERM or SIGINT. On return no address, pin, program or socket file of this daemon is left.
///
/// # Errors
/// [`Error`], before the first advertisement; later failures are logged, counted and retried.
pub fn run(options: Options) -> Result<(), Error> {
    if let Some(shortage) = descriptors::none_to_start() {
        return Err(Error::Descriptors(shortage));
    }
    let lock = lock(&options.instance)?;
    let instance = options.instance.clone();
    let locked_pins = lock_pins(&options)?;
    let lock: SharedLock = Arc::new(Mutex::new(Some(lock)));
    let (locked_pins, pins) = match locked_pins {
        Ok((lock, pins)) => (Some(lock), Ok(pins)),
        Err(error) => (None, Err(error)),
    };
    let removable = pins.as_ref().ok().cloned();
    let result = run_alone(options, pins, &lock);
    if let (Err(_), Some(pins)) = (&result, removable) {
        // Whatever is in it stays.
        let _ = fs::remove_dir(pins);
    }
    drop(locked_pins);
    for (what, result) in restore_settings(&instance.runtime_dir()) {
        match result {
            Ok(()) => {
                log::info!("{what} is off again, which a daemon before this one had turned on");
            }
            Err(error) => log::warn!("{what} stays on: {error}"),
        }
    }
    // From now on nobody makes the socket again.
    let lock = lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    leave(&instance, lock);
    result
}

/// Leaves nothing in the runtime directory of an instance, and then its lock to others.
pub(super) fn leave(instance: &Instance, lock: Option<LockFile>) {
    let _ = fs::remove_file(instance.socket());
    let _ = fs::remove_file(Baseline::path(instance));
    drop(lock);
    let _ = fs::remove_dir(instance.runtime_dir());
}

/// Makes and locks the directory for the pins; within, why there is no such directory, which may be that there is no BPF.
fn lock_pins(options: &Options) -> Result<Result<(LockedDir, PathBuf), bpf::Error>, Error> {
    let Options { instance, bpffs, config, without, .. } = options;
    if config.capture.only_raw() {
        // What a daemon left that was killed would be taken for this one's.
        if let Ok(bpffs) = bpf::find_bpffs(bpffs.as_deref()) {
            let pins = instance.pins(&bpffs);
            free_lost(instance, &pins);
            let removed = bpf::remove_stale_pins(&pins);
            if removed.is_ok_and(|removed| removed != (0, 0)) {
                log::warn!(
                    "what a killed daemon of this instance has pinned is not adopted: there are no BPF maps to go on with \
                     where all interfaces are captured by packet sockets"
                );
            }
        }
        return Ok(Err(bpf::Error::NotWanted));
    }
    let unless_no_pins = |error: bpf::Error| {
        if error.is_no_pins() { Ok(Err(error)) } else { Err(error.into()) }
    };
    if without.lacks(Feature::Bpffs) {
        return Ok(Err(bpf::Error::Masked(Feature::Bpffs)));
    }
    let pins = match bpf::bpffs(bpffs.as_deref()) {
        Ok(bpffs) => instance.pins(&bpffs),
        Err(error) => return unless_no_pins(error),
    };
    // Somebody may have deleted the other lock, with its directory: nothing is removed there then.
    match lock_directory(&pins, instance)? {
        Ok(lock) => {
            free_lost(instance, &pins);
            Ok(Ok((lock, pins)))
        }
        Err(error) => unless_no_pins(error),
    }
}

/// Runs as the only daemon of its instance.
fn run_alone(
    options: Options,
    pins: Result<PathBuf, bpf::Error>,
    lock: &SharedLock,
) -> Result<(), Error> {
    let _pid_file = options.pid_file.as_deref().map(pid_file).transpose()?;
    let scheduling = be_on_time(options.config.scheduling);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(os("cannot start the runtime"))?;
    panics::notice();
    let (mut driver, mut sources) =
        panics::caught(&runtime, Driver::start(options, pins, scheduling, lock))?;
    let end = panics::caught(&runtime, driver.serve(&mut sources));
    let orderly = match &end {
        Err(Error::Panicked) => Err(Error::Panicked),
        Ok(()) | Err(_) => panics::caught(&runtime, driver.stop(&mut sources)),
    };
    if matches!(orderly, Err(Error::Panicked)) {
        let _ = panics::caught(&runtime, async {
            driver.abandon().await;
            Ok(())
        });
    }
    driver.core.metrics().into_iter().for_each(http::tidy);
    driver.close();
    orderly.and(end)
}

/// Real-time scheduling, as far as it is permitted. The daemon works without. Returns how this thread is
/// scheduled.
pub(super) fn be_on_time(configured: Option<Scheduling>) -> Scheduling {
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

/// Takes the lock on a directory of pins of an instance that no daemon has; within, why it cannot be used.
pub(super) fn lock_directory(
    pins: &Path,
    instance: &Instance,
) -> Result<Result<LockedDir, bpf::Error>, Error> {
    let source = match LockedDir::take(pins) {
        Ok(lock) => return Ok(Ok(lock)),
        Err(lockfile::Error::Taken { .. }) => {
            return Err(Error::AlreadyRunning { instance: instance.clone(), pid: None });
        }
        Err(error @ lockfile::Error::Foreign) => io::Error::other(error),
        Err(lockfile::Error::Io(source)) => source,
    };
    Ok(Err(bpf::Error::Pins { path: pins.to_owned(), source }))
}

/// Takes the instance's lock, which the kernel releases however this process ends.
pub(super) fn lock(instance: &Instance) -> Result<LockFile, Error> {
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

impl Driver {
    /// Opens and loads what is needed, and makes the core.
    async fn start(
        options: Options,
        pins: Result<PathBuf, bpf::Error>,
        scheduling: Scheduling,
        lock: &SharedLock,
    ) -> Result<(Self, Sources), Error> {
        let Options { config, config_path, instance, bpffs: _, pid_file: _, again, without } =
            options;
        let started = timer::now();
        let needs = Needs::of(&config);
        let pinned = adoption::find(&pins, needs);
        if timer::namespace_offset() != 0 {
            let ahead = timer::namespace_offset() / 1_000_000_000;
            log::info!(
                "in a time namespace: its clock is {ahead} s ahead of the one that stamps arrivals, which is the one \
                 used here"
            );
        }
        // Whoever was told to stop while it starts, or is from now on, tidies up, too.
        let listener = signals().map_err(os("cannot handle signals"))?;
        signals::unblock();
        let (service, manager) =
            Service::start().map_err(os("cannot start the thread of the service"))?;
        let mut networks = Networks::open().map_err(Error::Sockets)?;
        let (presences, entrances) = networks.begin(&config);
        let (plan, diagnostics) = Plan::new(&config);
        for diagnostic in &diagnostics {
            log::warn!("{diagnostic}");
        }
        let mut filter = AcceptFilter::new(instance.name(), without.lacks(Feature::Nftables));
        if config.routers.iter().all(RouterConfig::accepts)
            && let Err(error) = filter.remove()
        {
            log::warn!("packets to addresses that an earlier daemon had may be refused: {error}");
        }
        let netlink =
            Netlink::open(scheduling.below(), &instance.runtime_dir(), filter, entrances).await?;
        let interfaces: BTreeSet<&str> =
            config.routers.iter().map(|router| router.interface.as_str()).collect();
        if let Some(shortage) = descriptors::shortage(interfaces.len() as u64) {
            log::error!("{} interfaces: {shortage}", interfaces.len());
        }
        let board = Arc::<Board>::default();
        board.set_disabled(plan.disabled.clone());
        let (found, finds) = mpsc::unbounded_channel();
        let notifies = !plan.is_empty();
        let mut scripts = None;
        if notifies || handover::has_scripts() {
            let started = Scripts::start(plan, Arc::clone(&board), found.clone());
            let started = started.map_err(os("cannot start the thread of the scripts"))?;
            match pinned {
                // It has run before.
                Found::Pins(..) | Found::Other(..) => started.begin_without_startup(),
                Found::Nothing | Found::Unusable => started.startup().await,
            }
            scripts = Some(started);
        }
        let is_unusable = matches!(pinned, Found::Unusable);
        let is_same_object =
            matches!(&pinned, Found::Pins(control, _) if control.object == bpf::OBJECT_DIGEST);
        let (sizes, adopts) = match &pinned {
            Found::Pins(control, sizes) => (*sizes, Some(*control)),
            // Its programs have the other maps.
            Found::Other(control, sizes, _) => (*sizes, Some(Control { object: 0, ..*control })),
            Found::Nothing | Found::Unusable => (Sizes::with_room(needs), None),
        };
        let mut datapath =
            memory::apart(|| Datapath::open(instance.name(), pins, sizes, without, adopts))?;
        let mut before = None;
        let predecessor = match pinned {
            Found::Pins(control, _) if datapath.adopts() => {
                Some(adoption::read(&mut datapath, &control, &config, &networks))
            }
            Found::Other(control, _, reader) if datapath.adopts() => {
                datapath.migrate(&adoption::before_of(&reader)?)?;
                before = Some(reader);
                Some(adoption::read(&mut datapath, &control, &config, &networks))
            }
            Found::Pins(..) | Found::Other(..) | Found::Nothing | Found::Unusable => None,
        };
        if let Some(why) = datapath.without() {
            if config.capture.only_raw() {
                log::info!("{why}");
            } else {
                log::warn!("{why}; {}", modes::WITHOUT_BPF);
            }
        }
        if is_same_object {
            datapath.adopt_signatures();
        }
        if config.is_signed() && !datapath.knows_signatures() {
            let loader = datapath.signature_loader();
            datapath.set_signatures(loader.map(|loader| loader.load()));
        }
        let adopted = predecessor.as_ref().map(|predecessor| predecessor.started);
        datapath.write_control(&Control {
            adopted_ns: adopted.map_or(0, |_| started.0),
            namespace: netns::number(),
            object: bpf::OBJECT_DIGEST,
            source_key: datapath.source_key(),
            realtime_offset: timer::realtime_offset(),
            abi_version: build::abi_version(),
            ..Control::new(process::id(), adopted.unwrap_or(started).0)
        })?;
        if is_unusable {
            datapath.count(Counter::NotAdopted as u32)?;
        }
        networks.introduce(datapath.senders());
        let ring = datapath.take_events()?;
        let maps = datapath.maps();
        let Channels { questions, ask, latest, access } = server::start(
            &instance.socket(),
            &config.control,
            maps.clone(),
            Arc::clone(&board),
            Arc::clone(lock),
        )
        .map_err(|error| Error::RuntimeDir { path: instance.socket(), error, hint: "" })?;
        let problems = problems_by(ask);
        let sources = http::Sources {
            maps: maps.clone(),
            board: Arc::clone(&board),
            problems: Arc::clone(&problems),
        };
        let server = http::start(config.metrics.clone(), sources, None)
            .map_err(os("cannot start the metrics thread"))?;
        let timer = Timer::new().map_err(os("cannot create a timer"))?;
        let (readings, read) = mpsc::unbounded_channel();
        let (reports, tracked) = tracked::channel();
        let core = Core::new(Boot {
            config,
            config_path: config_path.display().to_string().into(),
            started,
            listening: timer::now(),
            since_boot: timer::since_boot(),
            sizes,
            tcx: datapath.has_tcx(),
            signature_modes: datapath.signature_modes(),
            source_key: datapath.source_key(),
            // Another number than that of the last run.
            first_ident: u16::try_from(process::id() & 0xffff).unwrap_or_default(),
            notifies,
            manager,
            predecessor,
        });
        let (examined, received) = mpsc::unbounded_channel();
        let sources = Sources {
            readings: read,
            ring,
            timer,
            clock: ClockSteps::new(),
            questions,
            signals: listener,
            finds,
            tracked,
            examined: received,
        };
        let mut driver = Self {
            core,
            instance,
            config_path,
            settings: again,
            datapath,
            netlink,
            networks,
            refusals: Refusals::default(),
            service,
            scripts,
            board,
            found,
            watches: [None, None],
            tracked: reports,
            not_watched: None,
            latest,
            clients: BTreeMap::new(),
            last_client: 0,
            readings,
            reading: 0,
            plan: Plan::default(),
            server,
            problems,
            access,
            pin_lock: None,
            listened_until: timer::boot_now(),
            examining: false,
            examined,
            before,
        };
        driver.perform_all(timer::now());
        for (namespace, presence) in presences {
            driver.handle(timer::now(), Input::Namespace { namespace, presence });
        }
        driver.clock_set();
        match driver.not_watched.take() {
            Some(source) => Err(Error::Os { what: "cannot watch what is tracked", source }),
            None => Ok((driver, sources)),
        }
    }
}
