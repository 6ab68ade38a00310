//! Taking up a changed configuration while the routers run.
//!
//! The file is read, checked and prepared on another thread, behind everything else. If anything in it is an error,
//! nothing changes. Otherwise the engine's thread goes through the routers part by part, and looks at its timers in
//! between: those that are configured as before are not touched at all, whatever happens to the others.
//!
//! A router is the same one when VRID, family, interface and transport are, as in keepalived; its name does not
//! matter. First come the changes, then what the changed routers do not hold any more, then the routers that are
//! gone, then those that are new: an address that moves from one router to another is there all the time.

mod addresses;
mod difference;
mod plan;
pub mod preflight;
mod read;
mod report;
mod routers;
mod settings;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::thread;

pub use self::read::{Prepared, Read};
use self::report::answer;
use super::addresses::Place;
use super::router::Router;
use super::{ASKED, Daemon};
use crate::capture::BestMode;
use crate::config;
use crate::config::model::{self, Config, Listen, Scheduling, TrackFile, TrackProcess, Tracked};
use crate::config::socket::{SocketAccess, SocketMode};
use crate::control::access::Access;
use crate::control::api::{LastReload, Reloaded};
use crate::engine::time::Nanos;
use crate::engine::types::{Action, Priority, RouterId, State};
use crate::io::bpf::Maps;
use crate::io::netlink::AddressRequest;
use crate::io::scripts::Board;
use crate::io::{sched, timer};
use crate::metrics::http;
use tokio::sync::{mpsc, oneshot};

/// Routers that are changed, removed or added before timers are looked at again.
const PART: usize = 32;
/// As well, but of those that are only compared.
const PART_COMPARED: usize = 1024;
/// How long reading may take, whatever it waits for. Before the client of a reload loses patience.
const READING: Nanos = Nanos::from_secs(100);
/// Readers that were given up and have not ended. Each keeps a thread, and what it has read.
const STUCK: usize = 3;
/// Reloads that may wait for the one that is under way.
const WAITING: usize = 8;
/// Routers of a reload that the log names.
const NAMED: usize = 32;
/// Errors of a refused configuration that `status` repeats.
const ERRORS_SHOWN: usize = 10;

/// How the configuration is read, besides where it is.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What the reader may ask about its surroundings.
    pub options: config::Options,
    /// Where metrics are served, when the command line says so: the configuration does not matter then.
    pub metrics: Option<Listen>,
    /// Likewise, the mode of the control socket.
    pub socket_mode: Option<SocketMode>,
    /// Likewise, its group.
    pub socket_group: Option<String>,
    /// Likewise, how interfaces capture that are not named in the configuration.
    pub capture: Option<BestMode>,
}

impl Settings {
    /// Puts what the command line says in the place of what the configuration does.
    pub fn apply(&self, config: &mut Config) {
        if self.metrics.is_some() {
            config.metrics.clone_from(&self.metrics);
        }
        config.control.mode = self.socket_mode.unwrap_or(config.control.mode);
        if self.socket_group.is_some() {
            config.control.group.clone_from(&self.socket_group);
        }
        if let Some(BestMode(best)) = self.capture {
            config.capture.default = best;
        }
    }
}

/// What runs besides the routers.
pub(super) struct Serving {
    /// Where metrics are served.
    pub metrics: Option<Listen>,
    /// Their server.
    pub server: Option<http::Server>,
    /// As configured.
    pub scheduling: Option<Scheduling>,
    /// Who may use the control socket.
    pub control: SocketAccess,
    /// Who does at the moment.
    pub access: Arc<Mutex<Access>>,
    /// Where the maps are pinned.
    pub maps: Maps,
    /// How tracked scripts are, for metrics.
    pub board: Arc<Board>,
    /// What is tracked.
    pub watched: Watched,
}

/// Everything that is tracked by threads of their own, or by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    files: Vec<TrackFile>,
    processes: Vec<TrackProcess>,
    interfaces: BTreeSet<String>,
}

impl Watched {
    /// What a configuration tracks, wherever it stands there.
    pub(super) fn of(config: &Config) -> Self {
        let (mut files, mut processes) = (config.files.clone(), config.processes.clone());
        files.iter_mut().for_each(|file| file.line = 0);
        processes.iter_mut().for_each(|process| process.line = 0);
        let tracks = config.routers.iter().flat_map(model::Router::dependencies);
        let tracks = tracks.chain(config.groups.iter().flat_map(|group| group.track.clone()));
        let interfaces = tracks.filter_map(|track| match track.what {
            Tracked::Interface(name) => Some(name),
            Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_) => None,
        });
        Self { files, processes, interfaces: interfaces.collect() }
    }
}

/// A wish for a reload.
#[derive(Default)]
pub(super) struct Asked {
    /// Only say what would change.
    pub check: bool,
    /// Who wants to know what came of it.
    pub answer: Option<oneshot::Sender<Reloaded>>,
}

/// What came of reading a configuration.
pub struct Finished {
    /// Which reading that was.
    number: u64,
    read: Read,
}

/// The reloads of the daemon: the one under way, those that wait, and what came of the last one.
pub(super) struct Reloads {
    settings: Settings,
    serving: Serving,
    sender: mpsc::UnboundedSender<Finished>,
    /// What is being done, and since when.
    current: Option<(Asked, Nanos)>,
    /// Which reading is waited for.
    number: u64,
    /// Until when, while it is.
    reading_until: Option<Nanos>,
    /// Readings that nobody waits for any more, and that go on.
    stuck: usize,
    under_way: Option<Box<UnderWay>>,
    waiting: VecDeque<Asked>,
    last: Option<LastReload>,
    /// Numbers of routers that are gone, to be given to others; the longest unused first.
    free: VecDeque<RouterId>,
}

impl Reloads {
    pub(super) fn new(
        settings: Settings,
        serving: Serving,
        sender: mpsc::UnboundedSender<Finished>,
    ) -> Self {
        Self {
            settings,
            serving,
            sender,
            current: None,
            number: 0,
            reading_until: None,
            stuck: 0,
            under_way: None,
            waiting: VecDeque::new(),
            last: None,
            free: VecDeque::new(),
        }
    }

    /// Where metrics are served now.
    pub(super) fn metrics(&self) -> &Option<Listen> {
        &self.serving.metrics
    }

    /// When a reading must be given up.
    pub(super) fn next(&self) -> Option<Nanos> {
        self.reading_until
    }

    /// What came of the last one.
    pub(super) fn last(&self) -> Option<&LastReload> {
        self.last.as_ref()
    }
}

/// How far a reload is. Each stage goes through its routers from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The routers that stay are compared, and those that differ changed.
    Changes,
    /// What changed routers do not hold any more goes.
    Dropped,
    /// Routers that are no longer there resign.
    Removals,
    /// They have done so, and their numbers become free.
    Clearing,
    /// New routers begin.
    Additions,
    /// Programs are attached and detached where that has become necessary.
    Interfaces,
}

/// A reload that is being carried out.
struct UnderWay {
    prepared: Prepared,
    /// The running router that each of the new configuration is, if any.
    matches: Vec<Option<RouterId>>,
    removed: Vec<RouterId>,
    /// What each of them was when it was removed.
    lasts: Vec<(State, Priority)>,
    /// What changed routers held, and do not hold any more.
    dropped: BTreeMap<Place, (RouterId, AddressRequest)>,
    stage: Stage,
    next: usize,
    names: HashSet<Arc<str>>,
    /// What is not needed any more. Freeing thousands of routers takes time, but not on this thread.
    discarded: Vec<Router>,
    report: Reloaded,
    check: bool,
    /// Whether fifos are told the state of every router in the end.
    tell_states: bool,
}

impl Daemon {
    /// Reads the configuration again, now or when the reload that is under way has ended.
    pub(super) fn reload(&mut self, asked: Asked) {
        if self.reloads.current.is_none() {
            return self.read_configuration(asked);
        }
        // A signal can not be answered: one reload after this one sees whatever was written meanwhile.
        let covered = asked.answer.is_none()
            && self.reloads.waiting.iter().any(|other| !other.check && other.answer.is_none());
        if covered {
            return;
        }
        if self.reloads.waiting.len() < WAITING {
            self.reloads.waiting.push_back(asked);
        } else {
            let mut report = self.report(&asked);
            report.errors.push(format!("{WAITING} other reloads wait already"));
            answer(asked, report);
        }
    }

    fn read_configuration(&mut self, asked: Asked) {
        if !asked.check {
            self.service.reloading();
        }
        self.reloads.current = Some((asked, timer::now()));
        if self.reloads.stuck >= STUCK {
            let error = format!("{STUCK} readers of the configuration hang already");
            return self.refuse(vec![error], Vec::new());
        }
        self.reloads.number += 1;
        let number = self.reloads.number;
        let (path, mut settings) = (self.config_path.clone(), self.reloads.settings.clone());
        settings.options.running = Some(self.routers.iter().filter(|router| !router.gone).count());
        let sender = self.reloads.sender.clone();
        let work = move || {
            sched::behind_everything();
            // Nobody waits any more when the daemon stops.
            let _ = sender.send(Finished { number, read: read::read(&path, &settings) });
        };
        match thread::Builder::new().name("reload".to_owned()).spawn(work) {
            Ok(_) => self.reloads.reading_until = Some(timer::now() + READING),
            Err(error) => {
                self.refuse(vec![format!("cannot start a thread: {error}")], Vec::new());
            }
        }
    }

    /// A reading has ended, be it one that was given up.
    pub(super) fn reading_ended(&mut self, finished: Finished) {
        if self.reloads.reading_until.is_some() && finished.number == self.reloads.number {
            self.reloads.reading_until = None;
            self.configuration_read(finished.read);
        } else {
            self.reloads.stuck = self.reloads.stuck.saturating_sub(1);
            report::throw_away(finished);
        }
    }

    /// Gives up a reading that hangs, so that others can follow.
    pub(super) fn reading_due(&mut self, now: Nanos) {
        if self.reloads.reading_until.is_some_and(|until| until <= now) {
            self.reloads.reading_until = None;
            self.reloads.stuck += 1;
            let path = self.config_path.display();
            let error = format!("{path}: reading it hangs, and was given up after {READING}");
            self.refuse(vec![error], Vec::new());
        }
    }

    /// Carries out a part of a reload. Whether the next part need not wait for anything.
    pub(super) fn reload_further(&mut self) -> bool {
        let Some(mut reload) = self.reloads.under_way.take() else { return false };
        // What was asked of the kernel so far, and the farewells of those that are gone.
        if self.asked >= ASKED {
            self.reloads.under_way = Some(reload);
            return false;
        }
        let begin = timer::now();
        let stage = reload.stage;
        let over = match stage {
            Stage::Changes => self.change_some(&mut reload),
            Stage::Dropped => self.drop_some(&mut reload),
            Stage::Removals => self.remove_some(&mut reload),
            Stage::Clearing => {
                let leaving =
                    self.later.iter().filter_map(Action::router).any(|id| self.router(id).gone);
                if leaving || !self.notifier.is_idle() {
                    self.reloads.under_way = Some(reload);
                    // There is more to do as long as there are actions, and answers wake us.
                    return false;
                }
                self.clear(&reload.removed, &reload.lasts);
                // Those that are gone were told of by the old plan, those that are new are by the new one.
                let plan = std::mem::take(&mut reload.prepared.plan);
                reload.tell_states = plan.states_on_reload;
                if let Err(error) = self.notifier.reconfigure(plan) {
                    log::error!("cannot start the thread of the scripts: {error}");
                }
                true
            }
            Stage::Additions => self.add_some(&mut reload),
            Stage::Interfaces => self.interfaces_some(&mut reload),
        };
        log::trace!("reload: {stage:?} {} us", (timer::now() - begin).0 / 1_000);
        if !over {
            self.reloads.under_way = Some(reload);
            return true;
        }
        reload.next = 0;
        let next = match stage {
            Stage::Changes if reload.check => None,
            Stage::Changes => Some(Stage::Dropped),
            Stage::Dropped => Some(Stage::Removals),
            Stage::Removals => Some(Stage::Clearing),
            Stage::Clearing => Some(Stage::Additions),
            Stage::Additions => Some(Stage::Interfaces),
            Stage::Interfaces => None,
        };
        match next {
            Some(next) => {
                reload.stage = next;
                self.reloads.under_way = Some(reload);
            }
            None => self.finish(*reload),
        }
        true
    }
}
