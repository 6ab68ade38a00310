//! Taking up a changed configuration while the routers run.
//!
//! The file is read, checked and prepared elsewhere ([`super::Effect::ReadConfiguration`]). If anything in it is an error,
//! nothing changes. Otherwise a core goes through the routers part by part, and whoever drives it looks at timers in
//! between: those that are configured as before are not touched at all, whatever happens to the others.
//!
//! A router is the same one when VRID, family, interface and transport are, as in keepalived; its name does not
//! matter. First come the changes, then what the changed routers do not hold any more, then the routers that are
//! gone, then those that are new: an address that moves from one router to another is there all the time.

mod addresses;
mod difference;
mod plan;
mod report;
mod routers;
mod settings;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use super::effect::Effect;
use super::interface_id::InterfaceAddr;
use super::netlink::AddressRequest;
use super::prepared::{Prepared, Read, Watched};
use super::router::RouterRuntime;
use super::{ASKED, Core, Counter};
use crate::api::events::WallClock;
use crate::api::{LastReload, Reloaded};
use crate::config::model::{Config, Listen, Scheduling};
use crate::config::socket::SocketAccess;
use crate::engine::time::Nanos;
use crate::engine::types::{Action, Priority, RouterId, State};

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

/// What is configured besides the routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSettings {
    /// Where metrics are served.
    metrics: Option<Listen>,
    /// How the daemon is scheduled.
    scheduling: Option<Scheduling>,
    /// Who may use the control socket.
    control: SocketAccess,
    /// What is tracked.
    watched: Watched,
}

impl DaemonSettings {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            metrics: config.metrics.clone(),
            scheduling: config.scheduling,
            control: config.control.clone(),
            watched: Watched::of(config),
        }
    }
}

/// A wish for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Only say what would change.
    pub check: bool,
    /// Who wants to know what came of it.
    pub client: Option<u64>,
}

/// The reloads of a core: the one under way, those that wait, and what came of the last one.
pub struct Reloads {
    settings: DaemonSettings,
    /// What is being done, and since when.
    current: Option<(Asked, Nanos)>,
    /// Which reading is waited for.
    number: u64,
    /// Until when, while it is.
    reading_until: Option<Nanos>,
    /// Readings that nobody waits for any more, and that go on.
    stuck: BTreeSet<u64>,
    under_way: Option<Box<UnderWay>>,
    waiting: VecDeque<Asked>,
    /// What came of the last one, and when.
    last: Option<(Nanos, LastReload)>,
    /// Numbers of routers that are gone, to be given to others; the longest unused first.
    free: VecDeque<RouterId>,
    /// What is not needed any more.
    discarded: Option<Discarded>,
}

/// What a reload leaves. Freeing thousands of routers takes time.
pub struct Discarded {
    _prepared: Option<Prepared>,
    _routers: Vec<RouterRuntime>,
}

impl Reloads {
    /// None yet; what runs is configured like this.
    pub fn new(settings: DaemonSettings) -> Self {
        Self {
            settings,
            current: None,
            number: 0,
            reading_until: None,
            stuck: BTreeSet::new(),
            under_way: None,
            waiting: VecDeque::new(),
            last: None,
            free: VecDeque::new(),
            discarded: None,
        }
    }

    /// Metrics are not served: the next reload tries again.
    pub fn not_served(&mut self) {
        self.settings.metrics = None;
    }

    /// When a reading must be given up.
    pub fn next(&self) -> Option<Nanos> {
        self.reading_until
    }

    /// What came of the last one.
    pub fn last(&self, wall: WallClock) -> Option<LastReload> {
        let (at, last) = self.last.as_ref()?;
        Some(LastReload { at: wall.of(*at), ..last.clone() })
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
    InterfaceTable,
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
    dropped: BTreeMap<InterfaceAddr, (RouterId, AddressRequest)>,
    stage: Stage,
    next: usize,
    names: HashSet<Arc<str>>,
    /// What is not needed any more. Freeing thousands of routers takes time, but not on this thread.
    discarded: Vec<RouterRuntime>,
    report: Reloaded,
    check: bool,
    /// Whether fifos are told the state of every router in the end.
    notify_states: bool,
}

impl Core {
    /// Where metrics are served now.
    pub fn metrics(&self) -> Option<&Listen> {
        self.reloads.settings.metrics.as_ref()
    }

    /// What is to be freed where nobody waits for it ([`Effect::Discard`]).
    pub fn take_discarded(&mut self) -> Option<Discarded> {
        self.reloads.discarded.take()
    }

    /// Reads the configuration again, now or when the reload that is under way has ended.
    pub(super) fn reload(&mut self, asked: Asked) {
        if self.reloads.current.is_none() {
            return self.read_configuration(asked);
        }
        // A signal cannot be answered: one reload after this one sees whatever was written meanwhile.
        let covered = asked.client.is_none()
            && self.reloads.waiting.iter().any(|other| !other.check && other.client.is_none());
        if covered {
            return;
        }
        if self.reloads.waiting.len() < WAITING {
            self.reloads.waiting.push_back(asked);
        } else {
            let mut report = self.report(asked);
            report.errors.push(format!("{WAITING} other reloads wait already"));
            self.answer_reload(asked, report);
        }
    }

    fn read_configuration(&mut self, asked: Asked) {
        if !asked.check {
            self.effects.push_back(Effect::Reloading);
        }
        self.reloads.current = Some((asked, self.now));
        if self.reloads.stuck.len() >= STUCK {
            let error = format!("{STUCK} readings of the configuration hang already");
            return self.refuse(vec![error], Vec::new());
        }
        self.reloads.number += 1;
        let number = self.reloads.number;
        let running = self.routers.iter().filter(|router| !router.removed).count();
        self.reloads.reading_until = Some(self.now + READING);
        self.effects.push_back(Effect::ReadConfiguration { number, running });
    }

    /// A reading has ended, be it one that was given up.
    pub(super) fn reading_ended(&mut self, number: u64, read: Read) {
        if self.reloads.reading_until.is_some() && number == self.reloads.number {
            self.reloads.reading_until = None;
            return self.configuration_read(read);
        }
        if !self.reloads.stuck.remove(&number) {
            self.count(Counter::UnexpectedAnswer);
        }
        self.discard(read.ok(), Vec::new());
    }

    /// Gives up a reading that hangs, so that others can follow.
    pub(super) fn reading_due(&mut self, now: Nanos) {
        if self.reloads.reading_until.is_some_and(|until| until <= now) {
            self.reloads.reading_until = None;
            self.reloads.stuck.insert(self.reloads.number);
            let path = &self.config_path;
            let error = format!("{path}: reading it hangs, and was given up after {READING}");
            self.refuse(vec![error], Vec::new());
        }
    }

    /// Lets what is not needed any more be freed.
    fn discard(&mut self, prepared: Option<Prepared>, routers: Vec<RouterRuntime>) {
        self.reloads.discarded = Some(Discarded { _prepared: prepared, _routers: routers });
        self.effects.push_back(Effect::Discard);
    }

    /// Carries out a part of a reload. Whether the next part need not wait for anything.
    pub(super) fn reload_further(&mut self) -> bool {
        let Some(mut reload) = self.reloads.under_way.take() else { return false };
        // What was asked of the kernel so far, and the last advertisements of those that are gone.
        if self.asked >= ASKED {
            self.reloads.under_way = Some(reload);
            return false;
        }
        let stage = reload.stage;
        let over = match stage {
            Stage::Changes => self.change_some(&mut reload),
            Stage::Dropped => self.drop_some(&mut reload),
            Stage::Removals => self.remove_some(&mut reload),
            Stage::Clearing => {
                let leaving =
                    self.later.iter().filter_map(Action::router).any(|id| self.router(id).removed);
                if leaving || !self.notifier.is_idle() {
                    self.reloads.under_way = Some(reload);
                    // There is more to do as long as there are actions, and answers wake us.
                    return false;
                }
                self.clear(&reload.removed, &reload.lasts);
                // Those that are gone were told of by the old plan, those that are new are by the new one.
                if reload.prepared.notifies {
                    self.notifier.activate();
                }
                reload.notify_states = reload.prepared.states_on_reload;
                self.effects.push_back(Effect::TakeScripts);
                true
            }
            Stage::Additions => self.add_some(&mut reload),
            Stage::InterfaceTable => self.interfaces_some(&mut reload),
        };
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
            Stage::Additions => Some(Stage::InterfaceTable),
            Stage::InterfaceTable => None,
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
