//! Taking up a changed configuration while the routers run.
//!
//! The file is read, checked and prepared on another thread, behind everything else. If anything in it is an error,
//! nothing changes. Otherwise the engine's thread goes through the routers part by part, and looks at its timers in
//! between: those that are configured as before are not touched at all, whatever happens to the others.
//!
//! A router is the same one when VRID, family, interface and transport are, as in keepalived; its name does not
//! matter. First come the changes, then what the changed routers do not hold any more, then the routers that are
//! gone, then those that are new: an address that moves from one router to another is there all the time.

mod difference;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use self::difference::{OTHER_SETTINGS, differences};
pub use self::read::{Prepared, Read};
use super::addresses::Place;
use super::interfaces::Capture;
use super::router::{Router, version_number};
use super::tracking::add_groups;
use super::{ASKED, Counter, Daemon, be_on_time, shared};
use crate::config;
use crate::config::model::{
    self, Config, Listen, Scheduling, TrackFile, TrackProcess, Tracked, Transport,
};
use crate::config::socket::{SocketAccess, SocketMode};
use crate::control::access::Access;
use crate::control::api::{ChangedRouter, LastReload, Reloaded, RouterName, SCHEMA};
use crate::control::events::Moment;
use crate::engine::time::Nanos;
use crate::engine::types::{Action, RouterId, RouterSpec, State, Vrid};
use crate::io::bpf::{self, Vip};
use crate::io::netlink::Request;
use crate::io::netlink::{AddressRequest, Ask};
use crate::io::scripts::Board;
use crate::io::{memory, sched, timer};
use crate::metrics::http;
use crate::wire::family::Family;
use tokio::sync::{mpsc, oneshot};

/// Routers that are changed, removed or added before timers are looked at again.
const PART: usize = 32;
/// As well, but of those that are only compared.
const PART_COMPARED: usize = 1024;
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
    pub pins: PathBuf,
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

/// The reloads of the daemon: the one under way, those that wait, and what came of the last one.
pub(super) struct Reloads {
    settings: Settings,
    serving: Serving,
    sender: mpsc::UnboundedSender<Read>,
    current: Option<(Asked, Nanos)>,
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
        sender: mpsc::UnboundedSender<Read>,
    ) -> Self {
        Self {
            settings,
            serving,
            sender,
            current: None,
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

/// What makes a router the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity<'a> {
    interface: &'a str,
    vrid: Vrid,
    family: Family,
    unicast: bool,
}

impl<'a> Identity<'a> {
    fn running(router: &'a Router) -> Self {
        let unicast = router.peers().is_some();
        Self { interface: &router.interface, vrid: router.vrid(), family: router.family(), unicast }
    }

    fn configured(router: &'a model::Router) -> Self {
        let unicast = match router.transport {
            Transport::Multicast { .. } => false,
            Transport::Unicast { .. } => true,
        };
        Self { interface: &router.interface, vrid: router.vrid, family: router.family(), unicast }
    }
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
        let (path, settings) = (self.config_path.clone(), self.reloads.settings.clone());
        let sender = self.reloads.sender.clone();
        let work = move || {
            sched::behind_everything();
            // Nobody waits any more when the daemon stops.
            let _ = sender.send(read::read(&path, &settings));
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(work) {
            self.refuse(vec![format!("cannot start a thread: {error}")], Vec::new());
        }
    }

    fn report(&self, asked: &Asked) -> Reloaded {
        Reloaded {
            schema: SCHEMA,
            config: self.config_path.display().to_string(),
            check: asked.check,
            ..Reloaded::default()
        }
    }

    /// The configuration was read.
    pub(super) fn configuration_read(&mut self, read: Read) {
        let Some((asked, _)) = &self.reloads.current else { return };
        let mut report = self.report(asked);
        let check = asked.check;
        let prepared = match read {
            Err(refusal) => return self.refuse(refusal.errors, refusal.warnings),
            Ok(prepared) => prepared,
        };
        let sizes = self.kernel.sizes();
        let [v4, v6] = prepared.places;
        if !sizes.hold(prepared.config.routers.len(), v4, v6) {
            let error = format!(
                "{} virtual routers with {v4} IPv4 and {v6} IPv6 addresses are more than the {} with {} and {} that \
                 there is room for since the daemon started; restart it to take them up",
                prepared.config.routers.len(),
                sizes.routers,
                sizes.vips,
                sizes.vips6
            );
            return self.refuse(vec![error], prepared.warnings);
        }
        if !check {
            config::log(&self.config_path, &prepared.diagnostics);
        }
        let mut running: HashMap<Identity<'_>, RouterId> =
            self.ids().map(|id| (Identity::running(self.router(id)), id)).collect();
        let matches: Vec<_> = prepared
            .config
            .routers
            .iter()
            .map(|new| running.remove(&Identity::configured(new)))
            .collect();
        let mut removed: Vec<_> = running.into_values().collect();
        removed.sort_unstable();
        report.removed = removed.iter().map(|id| self.name_of(*id)).collect();
        let added = prepared.config.routers.iter().zip(&matches);
        let added = added.filter(|(_, running)| running.is_none());
        report.added = added.map(|(new, _)| RouterName::of(new)).collect();
        report.warnings.clone_from(&prepared.warnings);
        let mut virtual_addresses = Vec::new();
        let mut prepared = prepared;
        std::mem::swap(&mut virtual_addresses, &mut prepared.virtual_addresses);
        self.reloads.under_way = Some(Box::new(UnderWay {
            prepared,
            matches,
            removed,
            dropped: BTreeMap::new(),
            stage: Stage::Changes,
            next: 0,
            names: HashSet::new(),
            discarded: Vec::new(),
            report,
            check,
            tell_states: false,
        }));
        if !check {
            for ifindex in self.interfaces.take_for_virtual(virtual_addresses) {
                self.evaluate_on(ifindex);
            }
            self.take_up_tracking();
        }
    }

    /// What routers may depend on, before they do.
    fn take_up_tracking(&mut self) {
        let Some(reload) = &mut self.reloads.under_way else { return };
        let now = timer::now();
        let groups = self.tracking.groups(&reload.prepared.config);
        add_groups(&mut self.engine, now, groups);
        let watched = std::mem::take(&mut reload.prepared.watched);
        if self.reloads.serving.watched != watched {
            self.reloads.serving.watched = watched;
            if let Err(error) = self.tracking.watch(&reload.prepared.config, false) {
                log::error!("cannot watch what is tracked: {error}");
            }
            self.track_interfaces(None);
        }
    }

    fn name_of(&self, id: RouterId) -> RouterName {
        let router = self.router(id);
        RouterName {
            name: router.name.to_string(),
            interface: router.interface.to_string(),
            vrid: router.vrid().get(),
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
                self.clear(&reload.removed);
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

    /// Compares some of the routers that stay, and changes those that differ. Whether that were all.
    fn change_some(&mut self, reload: &mut UnderWay) -> bool {
        let (mut compared, mut changed) = (0, 0);
        while compared < PART_COMPARED && changed < PART {
            let Some(running) = reload.matches.get(reload.next) else { return true };
            if let Some(id) = *running {
                compared += 1;
                let new = &reload.prepared.config.routers[reload.next];
                let line = u32::try_from(new.line).unwrap_or(u32::MAX);
                if self.router(id).fingerprint == reload.prepared.fingerprints[reload.next] {
                    reload.report.unchanged += 1;
                    if !reload.check {
                        self.router_mut(id).line = line;
                    }
                } else {
                    changed += 1;
                    self.change(id, reload);
                }
            }
            reload.next += 1;
        }
        reload.next >= reload.matches.len()
    }

    /// The next router of the new configuration.
    fn made(&mut self, reload: &UnderWay, interface: Arc<str>) -> (Router, RouterSpec) {
        let Prepared { config, fingerprints, memberships, .. } = &reload.prepared;
        let new = &config.routers[reload.next];
        let (router, mut spec) = Router::new(new, fingerprints[reload.next], interface);
        let group = memberships[reload.next].and_then(|place| config.groups.get(place));
        self.tracking.complete_one(new, group, &mut spec);
        (router, spec)
    }

    fn change(&mut self, id: RouterId, reload: &mut UnderWay) {
        let interface = Arc::clone(&self.router(id).interface);
        let (router, spec) = self.made(reload, interface);
        let new = &reload.prepared.config.routers[reload.next];
        let (view, Some(old)) = (self.engine.view(id), self.engine.spec(id)) else { return };
        let mut settings = differences((self.router(id), old), (&router, &spec));
        if let Some(what) = self.belongings.difference(id, &new.extras) {
            // It stands for what has no name.
            settings.retain(|setting| setting != OTHER_SETTINGS);
            settings.push(what.to_owned());
        }
        let RouterName { name, interface, vrid } = RouterName::of(new);
        reload.report.changed.push(ChangedRouter { name, interface, vrid, settings });
        if reload.check {
            return reload.discarded.push(router);
        }
        let is_master = view.is_some_and(|view| view.state == State::Master);
        let before = self.requests(id);
        let rounds = spec.garp.master_repeat;
        let old = self.router_mut(id).take_up(router);
        self.engine.reconfigure(timer::now(), id, &spec);
        self.evaluate(id);
        if let Some((key, entry)) = self.router(id).registration(id)
            && let Err(error) = self.kernel.set_router(&key, &entry)
        {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
        // What the kernel side kept quiet about may be news now.
        self.set_quiet(id, 0);
        let (name, version) = (Arc::clone(&self.router(id).name), self.router(id).version());
        let priority = self.engine.view(id).map_or(spec.priority, |view| view.priority);
        self.publish(id, |info| {
            info.set_name(&name);
            info.priority = priority.0;
            info.version = version_number(version);
        });
        reload.discarded.push(old);

        let after = self.requests(id);
        for (place, request) in &before {
            if !after.contains_key(place) {
                reload.dropped.insert(*place, (id, request.clone()));
            }
        }
        for (place, request) in after {
            let held = self.addresses.router(place) == Some(id);
            match before.get(&place) {
                Some(same) if *same == request && (held || !is_master) => {}
                Some(_) | None => self.count_vip(place),
            }
            if !is_master {
                continue;
            }
            match before.get(&place) {
                Some(same) if *same == request && held => {
                    self.track_address(id, place);
                }
                Some(_) | None => {
                    let old = before.get(&place).filter(|_| held).cloned();
                    let old = old.or_else(|| Some(reload.dropped.get(&place)?.1.clone()));
                    self.take(id, place, old, rounds);
                }
            }
        }
        // Routes may need an address that has just come.
        let new = &reload.prepared.config.routers[reload.next];
        self.take_extras(id, &new.extras, is_master);
    }

    /// Whether the loss of an address matters may have changed.
    fn track_address(&mut self, id: RouterId, place: Place) {
        if self.router(id).owner && self.interfaces.owns(place) {
            return;
        }
        let addresses =
            self.router(id).addresses().find(|address| address.address == place.address);
        let known = addresses.map(|address| (address.prefix, !address.no_track));
        if let Some((prefix, tracked)) = known {
            let request = self.addresses.want(place, id, prefix, tracked);
            if let Some(request) = request {
                self.ask(place, request);
            }
        }
    }

    /// A master holds an address that it did not hold before, or not like this. `old` is how it is there, as far as
    /// that is known.
    fn take(&mut self, id: RouterId, place: Place, old: Option<AddressRequest>, rounds: u32) {
        self.hold(id, place);
        let router = self.router(id);
        if router.owner && self.interfaces.owns(place) {
            return;
        }
        let Some(new) = router.request(place, &self.interfaces) else { return };
        let holder = self.addresses.router(place);
        // Another router's, which is not changed yet.
        let theirs = holder.filter(|holder| *holder != id);
        let old = old
            .or_else(|| self.parting.get(&place).cloned())
            .or_else(|| self.router(theirs?).request(place, &self.interfaces));
        let tracked = !router.addresses().any(|a| a.address == place.address && a.no_track);
        let prefix = new.at.prefix;
        let mut request = self.addresses.want(place, id, prefix, tracked);
        match old.filter(|old| holder.is_some() && *old != new) {
            Some(old) => {
                self.parting.insert(place, old);
                request = request.or_else(|| self.addresses.renew(place, prefix));
            }
            None => drop(self.parting.remove(&place)),
        }
        if let Some(request) = request {
            self.ask(place, request);
        }
        if self.addresses.announce(place, rounds) {
            for _ in 0..rounds {
                self.garp(place);
            }
        }
    }

    /// The netlink requests for a router's addresses, where they belong.
    fn requests(&self, id: RouterId) -> BTreeMap<Place, AddressRequest> {
        let router = self.router(id);
        let places = self.places(id).into_iter();
        places
            .filter_map(|(place, _)| Some((place, router.request(place, &self.interfaces)?)))
            .collect()
    }

    fn count_vip(&mut self, place: Place) {
        let vip = Vip::new(place.ifindex, place.address);
        if let Err(error) = self.kernel.add_vip(&vip) {
            log::error!("{}: not counted: {}", self.describe(place), bpf::chain(&error));
        }
    }

    /// Whether a router other than `id` has an address in its configuration.
    fn is_elsewhere(&self, id: RouterId, place: Place) -> bool {
        self.interfaces.is_virtual(place.address)
            && self
                .ids()
                .filter(|other| *other != id && !self.router(*other).gone)
                .any(|other| self.router(other).request(place, &self.interfaces).is_some())
    }

    /// Lets some addresses go that changed routers held. Whether that were all.
    fn drop_some(&mut self, reload: &mut UnderWay) -> bool {
        for _ in 0..PART {
            let Some((place, (id, request))) = reload.dropped.pop_first() else { return true };
            self.let_go(id, place, request);
        }
        reload.dropped.is_empty()
    }

    fn let_go(&mut self, id: RouterId, place: Place, request: AddressRequest) {
        if self.addresses.router(place) == Some(id) {
            self.parting.insert(place, request);
        }
        self.give_up(id, place);
        if self.addresses.router(place) == Some(id) {
            self.addresses.forget(place);
            if self.addresses.router(place).is_none() {
                self.parting.remove(&place);
            }
        }
        let vip = Vip::new(place.ifindex, place.address);
        if !self.is_elsewhere(id, place)
            && let Err(error) = self.kernel.remove_vip(&vip)
        {
            log::error!("{}: still counted: {}", self.describe(place), bpf::chain(&error));
        }
    }

    /// Some of the routers that are no longer there stop. Whether that were all.
    fn remove_some(&mut self, reload: &mut UnderWay) -> bool {
        for _ in 0..PART {
            let Some(&id) = reload.removed.get(reload.next) else { break };
            reload.next += 1;
            if let Some((key, _)) = self.router(id).registration(id)
                && let Err(error) = self.kernel.remove_router(&key)
            {
                log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
            }
            // It says farewell, and gives its addresses up, in its turn.
            self.engine.remove_router(timer::now(), id);
            self.router_mut(id).gone = true;
        }
        let over = reload.next >= reload.removed.len();
        if over && !reload.removed.is_empty() {
            let left = self.ids().filter(|id| !self.router(*id).gone);
            self.order = left.collect();
        }
        over
    }

    /// Nothing is to be done any more for routers that are gone: others may have their numbers.
    fn clear(&mut self, removed: &[RouterId]) {
        for &id in removed {
            for (place, request) in self.requests(id) {
                self.let_go(id, place, request);
            }
            self.take_extras(id, &model::Extras::default(), false);
            self.belongings.fights.forget(Some(id));
            self.tell_deleted(id);
            self.router_mut(id).bury();
            if let Err(error) = self.kernel.clear(id.0) {
                log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
            }
            self.reloads.free.push_back(id);
        }
        if !removed.is_empty() {
            let gone = |slot| removed.binary_search(&RouterId(slot)).is_ok();
            if let Err(error) = self.kernel.forget_peers(gone) {
                log::error!("peers of routers that are gone: {}", bpf::chain(&error));
            }
        }
    }

    /// Some of the new routers begin, as they would when the daemon starts. Whether that were all.
    fn add_some(&mut self, reload: &mut UnderWay) -> bool {
        let mut added = 0;
        while added < PART {
            let Some(running) = reload.matches.get(reload.next) else { break };
            if running.is_none() {
                added += 1;
                let new = &reload.prepared.config.routers[reload.next];
                let interface = shared(&mut reload.names, &new.interface);
                let (router, spec) = self.made(reload, interface);
                let id = self.add(router, spec);
                let new = &reload.prepared.config.routers[reload.next];
                self.take_extras(id, &new.extras, false);
                reload.matches[reload.next] = Some(id);
            }
            reload.next += 1;
        }
        let over = reload.next >= reload.matches.len();
        // What is still to come has no number yet.
        self.order = reload.matches.iter().flatten().copied().collect();
        over
    }

    fn add(&mut self, router: Router, spec: RouterSpec) -> RouterId {
        let next = RouterId(u32::try_from(self.routers.len()).unwrap_or(u32::MAX));
        let id = self.reloads.free.pop_front().unwrap_or(next);
        if id == next {
            self.routers.push(router);
        } else {
            *self.router_mut(id) = router;
        }
        self.history.begin(id);
        let info = self.router(id).info(spec.priority);
        if let Err(error) = self.kernel.clear(id.0) {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
        self.publish(id, |published| *published = info);
        self.engine.add_router(id, spec);
        // As at the start: an address that somebody has left there is not this router's yet.
        for (place, address) in self.requests(id) {
            if self.interfaces.has(place) && self.addresses.router(place).is_none() {
                self.netlink.ask(Ask::address(Request::Remove, address));
                self.asked += 1;
                self.notifier.asked();
            }
        }
        let devs: HashSet<String> = {
            let router = self.router(id);
            let devs = router.addresses().map(|address| router.dev(address).to_owned());
            devs.chain([router.interface.to_string()]).collect()
        };
        for dev in devs {
            self.attach_by_name(&dev);
        }
        self.evaluate(id);
        if let Some(problem) = self.router(id).link_problem() {
            log::error!("{}: {problem}", self.router(id).place());
        }
        id
    }

    /// Attaches the program where that was not tried yet.
    fn attach_by_name(&mut self, name: &str) {
        let found = self.interfaces.by_name(name);
        if let Some((ifindex, interface)) = found
            && interface.capture == Capture::Detached
        {
            self.attach(ifindex);
        }
    }

    /// Looks at one interface. Whether that were all.
    fn interfaces_some(&mut self, reload: &mut UnderWay) -> bool {
        let indices = self.interfaces.indices();
        while let Some(&ifindex) = indices.get(reload.next) {
            reload.next += 1;
            let Some(interface) = self.interfaces.get(ifindex) else { continue };
            let name = interface.name.clone();
            let detached = interface.capture == Capture::Detached;
            match (detached, self.needs(&name)) {
                (true, false) | (false, true) => continue,
                (true, true) => {
                    self.attach(ifindex);
                    self.evaluate_on(ifindex);
                }
                (false, false) => {
                    match self.kernel.detach(ifindex) {
                        Ok(()) => log::info!("{name}: no virtual router here any more"),
                        Err(error) => log::error!("{name}: {}", bpf::chain(&error)),
                    }
                    self.memberships.leave(ifindex);
                    if let Some(interface) = self.interfaces.get_mut(ifindex) {
                        interface.capture = Capture::Detached;
                    }
                }
            }
            // Each takes the kernel some milliseconds.
            return false;
        }
        true
    }

    /// All is done.
    fn finish(&mut self, reload: UnderWay) {
        let UnderWay { prepared, discarded, mut report, check, tell_states, .. } = reload;
        if tell_states {
            self.tell_states();
        }
        if !check {
            for group in self.tracking.former_groups(&prepared.config) {
                self.engine.remove_group(group);
            }
        }
        report.settings = self.take_up_settings(&prepared, check);
        report.applied = !check;
        throw_away((prepared, discarded));
        self.end(report);
    }

    /// What is not about one router. Returns what changed.
    fn take_up_settings(&mut self, prepared: &Prepared, check: bool) -> Vec<String> {
        let mut changed = Vec::new();
        let serving = &mut self.reloads.serving;
        if serving.metrics != prepared.config.metrics {
            changed.push(format!(
                "metrics: {} -> {}",
                or_none(serving.metrics.as_ref()),
                or_none(prepared.config.metrics.as_ref())
            ));
            if !check {
                let before = serving.server.take();
                serving.metrics.clone_from(&prepared.config.metrics);
                match http::start(
                    prepared.config.metrics.clone(),
                    serving.pins.clone(),
                    Arc::clone(&serving.board),
                    before,
                ) {
                    Ok(server) => serving.server = server,
                    Err(error) => log::error!("cannot start the metrics thread: {error}"),
                }
            }
        }
        if self.take_fixed(&prepared.config, check) {
            changed.push("what is there whoever is master".to_owned());
        }
        let serving = &mut self.reloads.serving;
        if serving.control != prepared.config.control {
            changed.push("control socket".to_owned());
            if !check {
                serving.control.clone_from(&prepared.config.control);
                self.grant_access();
            }
        }
        let serving = &mut self.reloads.serving;
        if serving.scheduling != prepared.config.scheduling {
            changed.push(format!(
                "sched: {} -> {}",
                serving.scheduling.unwrap_or(Scheduling::DEFAULT),
                prepared.config.scheduling.unwrap_or(Scheduling::DEFAULT)
            ));
            if !check {
                serving.scheduling = prepared.config.scheduling;
                let now = be_on_time(prepared.config.scheduling);
                self.netlink.reschedule(now.below());
            }
        }
        changed
    }

    /// Gives the control socket its new mode and group: on another thread, as groups may be looked up far away.
    fn grant_access(&self) {
        let Serving { control, access, .. } = &self.reloads.serving;
        let (socket, control, access) =
            (self.instance.socket(), control.clone(), Arc::clone(access));
        let work = move || match Access::grant(&socket, &control) {
            Ok(granted) => *access.lock().unwrap_or_else(PoisonError::into_inner) = granted,
            Err(error) => log::error!("control socket: {error}"),
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(work) {
            log::error!("control socket: cannot start a thread: {error}");
        }
    }

    /// Nothing has changed, because of these errors.
    fn refuse(&mut self, errors: Vec<String>, warnings: Vec<String>) {
        let Some((asked, _)) = &self.reloads.current else { return };
        let mut report = self.report(asked);
        (report.errors, report.warnings) = (errors, warnings);
        if !report.check {
            self.count(Counter::ReloadRefused);
            for error in &report.errors {
                log::error!("{error}");
            }
        }
        self.end(report);
    }

    /// Says what came of the reload, and begins the next one.
    fn end(&mut self, mut report: Reloaded) {
        let Some((asked, begun)) = self.reloads.current.take() else { return };
        if !asked.check {
            self.service.ready(timer::now(), self.counts());
        }
        let took = timer::now() - begun;
        report.took_ms = took.0 / 1_000_000;
        let summary = report.summary();
        if !report.check {
            if report.applied {
                self.log_changes(&report);
                log::info!("reloaded {}: {summary}", report.config);
            } else {
                log::error!(
                    "reload of {} refused: {summary}; everything goes on as before",
                    report.config
                );
            }
            let errors = report.errors.iter().take(ERRORS_SHOWN).cloned().collect();
            let at = Moment::now().text();
            self.reloads.last = Some(LastReload { at, applied: report.applied, summary, errors });
        }
        answer(asked, report);
        if let Some(next) = self.reloads.waiting.pop_front() {
            self.read_configuration(next);
        }
    }

    /// The routers that a reload concerned, as long as they are few.
    fn log_changes(&self, report: &Reloaded) {
        let place =
            |name: &str, interface: &str, vrid| format!("{name} (vrid {vrid} on {interface})");
        let of = |router: &RouterName| place(&router.name, &router.interface, router.vrid);
        let removed = report.removed.iter().map(|router| format!("{}: removed", of(router)));
        let added = report.added.iter().map(|router| format!("{}: added", of(router)));
        let changed = report.changed.iter().map(|router| {
            let place = place(&router.name, &router.interface, router.vrid);
            format!("{place}: changed: {}", router.settings.join(", "))
        });
        let mut lines = removed.chain(added).chain(changed);
        for line in lines.by_ref().take(NAMED) {
            log::info!("{line}");
        }
        let more = lines.count();
        if more > 0 {
            log::info!("and {more} more virtual routers");
        }
        for setting in &report.settings {
            log::info!("{setting}");
        }
    }
}

fn answer(asked: Asked, report: Reloaded) {
    if let Some(answer) = asked.answer {
        // Who asked may have lost patience.
        let _ = answer.send(report);
    }
}

fn or_none(listen: Option<&Listen>) -> String {
    listen.map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// Frees memory on another thread, and gives it back to the system.
fn throw_away(what: impl Send + 'static) {
    let work = move || {
        sched::behind_everything();
        drop(what);
        memory::give_back();
    };
    if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(work) {
        log::debug!("cannot start a thread: {error}");
    }
}
