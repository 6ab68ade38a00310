//! Applying a changed configuration while the routers run.
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

use super::effect::{Effect, ManagerMessage};
use super::interface_id::InterfaceAddr;
use super::netlink::AddressRequest;
use super::prepared::{Prepared, Read, Watched};
use super::router::RouterRuntime;
use super::{ASKED, Core, Counter};
use crate::api::error::ErrorKind;
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
    /// Numbers of routers that are gone, to be given to others; the longest unused first. With each, what of the router's
    /// addresses the kernel had not removed when it went: until it has, they are known, and fenced, by that number.
    free: VecDeque<(RouterId, Vec<InterfaceAddr>)>,
    /// What is not needed any more.
    discarded: Option<Discarded>,
}

/// What a reading was to a core that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    WaitedFor,
    GivenUp,
    Unknown,
}

/// What a reload leaves. Freeing thousands of routers takes time.
pub struct Discarded {
    _prepared: Option<Prepared>,
    _routers: Vec<RouterRuntime>,
}

impl Reloads {
    /// None yet; what runs is configured like this, and these numbers are given to no router.
    pub fn new(settings: DaemonSettings, free: VecDeque<RouterId>) -> Self {
        Self {
            settings,
            current: None,
            number: 0,
            reading_until: None,
            stuck: BTreeSet::new(),
            under_way: None,
            waiting: VecDeque::new(),
            last: None,
            free: free.into_iter().map(|id| (id, Vec::new())).collect(),
            discarded: None,
        }
    }

    /// Puts a wish behind the reload that is under way. Whether there was room for it.
    fn wait(&mut self, asked: Asked) -> bool {
        // A signal cannot be answered: one reload after this one sees whatever was written meanwhile.
        let covered = asked.client.is_none()
            && self.waiting.iter().any(|other| !other.check && other.client.is_none());
        if !covered && self.waiting.len() < WAITING {
            self.waiting.push_back(asked);
            return true;
        }
        covered
    }

    /// The number of a reading that begins; `None` if too many hang.
    fn read(&mut self, now: Nanos) -> Option<u64> {
        if self.stuck.len() >= STUCK {
            return None;
        }
        self.number += 1;
        self.reading_until = Some(now + READING);
        Some(self.number)
    }

    /// A reading has ended.
    fn ended(&mut self, number: u64) -> Reading {
        if self.reading_until.is_some() && number == self.number {
            self.reading_until = None;
            Reading::WaitedFor
        } else if self.stuck.remove(&number) {
            Reading::GivenUp
        } else {
            Reading::Unknown
        }
    }

    /// Gives up the reading that is waited for, if that has been long enough.
    fn withdraw(&mut self, now: Nanos) -> bool {
        let hangs = self.reading_until.take_if(|until| *until <= now).is_some();
        if hangs {
            self.stuck.insert(self.number);
        }
        hangs
    }

    /// Metrics are not served: the next reload tries again. Whether they were to be.
    pub fn not_served(&mut self) -> bool {
        self.settings.metrics.take().is_some()
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

impl Stage {
    /// The one after it, if there is one.
    fn next(self, check: bool) -> Option<Self> {
        match self {
            Self::Changes if check => None,
            Self::Changes => Some(Self::Dropped),
            Self::Dropped => Some(Self::Removals),
            Self::Removals => Some(Self::Clearing),
            Self::Clearing => Some(Self::Additions),
            Self::Additions => Some(Self::InterfaceTable),
            Self::InterfaceTable => None,
        }
    }
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
        if !self.reloads.wait(asked) {
            let mut report = self.report(asked);
            let error = format!("{WAITING} other reloads wait already");
            report.errors.push(error);
            report.error_causes.push(ErrorKind::Busy.name().to_owned());
            self.answer_reload(asked, report);
        }
    }

    fn read_configuration(&mut self, asked: Asked) {
        if !asked.check {
            self.notify_manager(ManagerMessage::Reloading);
        }
        self.reloads.current = Some((asked, self.now));
        let Some(number) = self.reloads.read(self.now) else {
            let error = format!("{STUCK} readings of the configuration hang already");
            return self.refuse(vec![ErrorKind::Busy.because(error)], Vec::new());
        };
        let running = self.routers.iter().filter(|router| !router.removed).count();
        self.effects.push_back(Effect::ReadConfiguration { number, running });
    }

    /// A reading has ended, be it one that was given up.
    pub(super) fn reading_ended(&mut self, number: u64, read: Read) {
        match self.reloads.ended(number) {
            Reading::WaitedFor => return self.configuration_read(read),
            Reading::GivenUp => {}
            Reading::Unknown => self.count(Counter::UnexpectedAnswer),
        }
        self.discard(read.ok(), Vec::new());
    }

    /// Gives up a reading that hangs, so that others can follow.
    pub(super) fn reading_due(&mut self, now: Nanos) {
        if self.reloads.withdraw(now) {
            let path = &self.config_path;
            let error = format!("{path}: reading it hangs, and was given up after {READING}");
            self.refuse(vec![ErrorKind::ReaderFailed.because(error)], Vec::new());
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
        match stage.next(reload.check) {
            Some(next) => {
                reload.stage = next;
                self.reloads.under_way = Some(reload);
            }
            None => self.finish(*reload),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_toml;

    const SECOND: Nanos = Nanos::from_secs(1);

    fn reloads() -> Reloads {
        Reloads::new(DaemonSettings::of(&load_toml("").unwrap()), VecDeque::new())
    }

    #[test]
    fn one_reload_serves_all_signals_and_each_client_has_its_own() {
        let mut reloads = reloads();
        let signal = Asked { check: false, client: None };
        assert!(reloads.wait(signal) && reloads.wait(signal));
        assert_eq!(reloads.waiting.len(), 1);
        let mut clients =
            (1..).map(|client| Asked { check: client % 2 == 0, client: Some(client) });
        assert_eq!(
            clients.by_ref().take(20).filter(|asked| reloads.wait(*asked)).count(),
            WAITING - 1
        );
        assert!(reloads.wait(signal), "as long as there is one, another needs no room");
        reloads.waiting.retain(|asked| asked.client.is_some());
        assert!(reloads.wait(signal) && reloads.waiting.len() == WAITING);
    }

    #[test]
    fn readings_that_hang_are_given_up_and_not_without_end() {
        let mut reloads = reloads();
        let now = SECOND.times(1000);
        for number in 1..=3 {
            assert_eq!(reloads.read(now), Some(number));
            assert!(!reloads.withdraw(now + READING - Nanos(1)));
            assert!(reloads.withdraw(now + READING) && !reloads.withdraw(now + READING));
            assert_eq!(reloads.next(), None);
        }
        assert_eq!(reloads.read(now), None, "three hang");
        assert_eq!(reloads.ended(2), Reading::GivenUp);
        assert_eq!(reloads.ended(2), Reading::Unknown);
        assert_eq!(reloads.read(now), Some(4));
        assert_eq!((reloads.ended(5), reloads.ended(1)), (Reading::Unknown, Reading::GivenUp));
        assert_eq!((reloads.ended(4), reloads.ended(4)), (Reading::WaitedFor, Reading::Unknown));
    }

    #[test]
    fn who_only_asks_changes_nothing() {
        assert_eq!(Stage::Changes.next(true), None);
        let all: Vec<_> =
            std::iter::successors(Some(Stage::Changes), |stage| stage.next(false)).collect();
        // What a router that is gone has held is free before a new one wants it.
        let at = |stage| all.iter().position(|other| *other == stage);
        assert!(
            at(Stage::Dropped) < at(Stage::Clearing) && at(Stage::Clearing) < at(Stage::Additions)
        );
        assert_eq!(all.last(), Some(&Stage::InterfaceTable));
    }

    #[test]
    fn what_is_tracked_is_the_same_wherever_it_stands() {
        let text = "[[file]]\nname = \"f\"\npath = \"/f\"\n[[router]]\nname = \"A\"\ninterface = \"eth0\"\n\
                    vrid = 1\naddresses = [\"10.0.0.1/24\"]\ntrack = [{ interface = \"eth1\" }]\n";
        let of = |text: &str| Watched::of(&load_toml(text).unwrap());
        assert_eq!(of(text), of(&format!("\n\n{text}")));
        assert_ne!(of(text), of(&text.replace("eth1", "eth2")));
        assert_ne!(of(text), of(&text.replace("/f", "/g")));
    }
}
