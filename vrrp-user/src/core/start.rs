//! From the configuration to the moment at which the routers begin.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use vrrp_common::hmac::Sequence;
use vrrp_common::maps::{RouterInfo, state};
use vrrp_common::report::ReportFilter;

use super::address_book::AddressBook;
use super::adoption::{Judgement, Predecessor};
use super::announcer::Forwarding;
use super::delays::Delayed;
use super::effect::{Effect, InfoChange};
use super::egress::EgressQueue;
use super::history::History;
use super::input::Input;
use super::interface_table::InterfaceTable;
use super::log_limit::LogLimit;
use super::manager::{Listener, Manager};
use super::namespaces::Namespaces;
use super::netlink::{Answer, Subject};
use super::notify::Notifier;
use super::objects::ManagedObjects;
use super::prepared::virtual_addresses;
use super::reception::Reception;
use super::reload::{DaemonSettings, Reloads};
use super::route_book::Handle;
use super::router::{RouterRuntime, shared};
use super::router_index::RouterIndex;
use super::send::Unannounced;
use super::settling::Settling;
use super::tracking::Tracking;
use super::tx_queue::TxQueue;
use super::watch::Watch;
use super::{Core, Counter, Phase, Pins, Sizes, TIDY};
use crate::capture::ModeSet;
use crate::config::model::Config;
use crate::engine::Engine;
use crate::engine::time::Nanos;
use crate::engine::types::RouterId;
use crate::types::planted::{Fault, planted};
use crate::wire::ipv4::Idents;

/// How long starting waits for what is tracked.
const FIRST_LOOK: Nanos = Nanos::from_secs(2);

/// What a core starts with.
#[derive(Debug)]
pub struct Boot {
    /// What it is to do.
    pub config: Config,
    /// How the configuration is called, for messages.
    pub config_path: Arc<str>,
    /// When the process started.
    pub started: Nanos,
    /// From when on it can hear, however long the kernel took to load the programs.
    pub listening: Nanos,
    /// How long the host has been up by then.
    pub since_boot: Nanos,
    /// What the maps of the kernel side have room for.
    pub sizes: Sizes,
    /// Whether the kernel attaches tc programs by links.
    pub tcx: bool,
    /// The modes whose programs check signatures.
    pub signature_modes: ModeSet,
    /// What sources are told apart by in a [`vrrp_common::report::ReportFilter`].
    pub source_key: u64,
    /// Where the numbers of IPv4 packets begin: another one than that of the last run.
    pub first_ident: u16,
    /// Whether scripts and fifos are told anything.
    pub notifies: bool,
    /// The service manager, if one listens.
    pub manager: Option<Listener>,
    /// A daemon that was killed, if this one goes on with what it has left.
    pub predecessor: Option<Predecessor>,
}

/// How far the start is.
#[derive(Debug, Default)]
pub struct Starting {
    /// Whether it goes on with the maps of another daemon.
    continues: bool,
    /// Whether interfaces and addresses are known.
    listed: bool,
    /// Whether what was left has been looked for.
    cleaned: bool,
    /// Answers to requests to remove what was left that have not come.
    missing: usize,
    /// When tracked files and processes are not waited for any more.
    until: Option<Nanos>,
}

impl Starting {
    /// When it goes on whatever is known.
    pub fn next(&self) -> Option<Nanos> {
        self.until
    }
}

/// The routers at the places of their numbers, and the places that are free.
fn placed(
    config: &Config,
    routers: Vec<RouterRuntime>,
    numbers: &[RouterId],
) -> (Vec<RouterRuntime>, VecDeque<RouterId>) {
    let numbered: BTreeMap<RouterId, RouterRuntime> =
        numbers.iter().copied().zip(routers).collect();
    let (mut placed, mut free) = (Vec::with_capacity(numbered.len()), VecDeque::new());
    for (number, router) in numbered {
        while let Some(next) = u32::try_from(placed.len()).ok().filter(|next| *next < number.0) {
            // As if it had been removed: of a router that never was, nothing is known but that.
            let (mut unused, _) = RouterRuntime::new(&config.routers[0], 0, "".into());
            unused.decommission();
            placed.push(unused);
            free.push_back(RouterId(next));
        }
        placed.push(router);
    }
    (placed, free)
}

/// What others see of a router that was in a daemon that was killed: its counters go on, and where it is `adopted`, all of it.
fn goes_on(new: RouterInfo, before: &RouterInfo, adopted: bool) -> RouterInfo {
    let (state, since_ns, priority) = if adopted {
        (before.state, before.since_ns, before.priority)
    } else {
        (new.state, new.since_ns, new.priority)
    };
    RouterInfo {
        adverts_sent: before.adverts_sent,
        hmac_sequence: before.hmac_sequence,
        priority_zero_sent: before.priority_zero_sent,
        send_errors: before.send_errors,
        became_master: before.became_master,
        transitions: before.transitions,
        address_list_mismatch: before.address_list_mismatch,
        state,
        since_ns,
        priority,
        ..new
    }
}

impl Core {
    /// A core with its routers, of which none has begun. [`Input::Listed`] must come next.
    pub fn new(boot: Boot) -> Self {
        let Boot { mut config, config_path, started, listening, since_boot, predecessor, .. } =
            boot;
        let mut names = HashSet::new();
        let fingerprints = config.fingerprints();
        let (routers, mut specs): (Vec<_>, Vec<_>) = config
            .routers
            .iter()
            .zip(fingerprints)
            .map(|(router, fingerprint)| {
                RouterRuntime::new(router, fingerprint, shared(&mut names, &router.interface))
            })
            .unzip();
        let mut tracking = Tracking::default();
        let groups = tracking.groups(&config);
        tracking.complete(&config, &mut specs);
        let mut effects = VecDeque::from([tracking.watch(&config, true)]);
        let settings = DaemonSettings::of(&config);
        let capture = std::mem::take(&mut config.capture);
        let mut delays = Delayed::new(std::mem::take(&mut config.delays));
        let continues = predecessor.is_some();
        let judgement = match &predecessor {
            Some(predecessor) => predecessor.evaluate(&config.routers, &specs),
            None => Judgement::none(specs.len()),
        };
        let Judgement { numbers, infos, masters } = judgement;
        let objects = ManagedObjects::new(&config, &numbers);
        for (&id, router) in numbers.iter().zip(&config.routers) {
            delays.configure_extra_if(started, id, router, None);
        }
        let virtual_addresses = virtual_addresses(&config);
        let (routers, free) = placed(&config, routers, &numbers);
        let mut engine = Engine::with_capacity(routers.len());
        if let Some(at) = delays.start(listening, since_boot) {
            log::info!("startup delay: for {} no router takes over", at - listening);
            engine.delay_start(at);
        }
        for (id, spec) in groups {
            engine.add_group(started, id, spec);
        }
        effects.reserve(routers.len());
        let mut core = Self {
            phase: Phase::Starting(Starting { continues, ..Starting::default() }),
            now: listening,
            effects,
            config_path,
            started,
            history: History::new(routers.len()),
            order: numbers.iter().copied().collect(),
            routers,
            index: RouterIndex::default(),
            reloads: Reloads::new(settings, free),
            engine,
            tracked_sources: BTreeSet::new(),
            unsaid: BTreeSet::new(),
            interfaces: InterfaceTable::new(virtual_addresses),
            capture,
            sizes: boot.sizes,
            tcx: boot.tcx,
            source_key: boot.source_key,
            reception: Reception::default(),
            attempts: 0,
            unicast_macs: BTreeMap::new(),
            egress_released: false,
            egress: EgressQueue::default(),
            settling: Settling::default(),
            lost_since: None,
            timers_wait: None,
            pins: Pins::default(),
            accept: BTreeMap::new(),
            namespaces: Namespaces::default(),
            addresses: AddressBook::default(),
            pending_removals: BTreeMap::new(),
            foreign: BTreeMap::new(),
            kept: BTreeMap::new(),
            strays: BTreeMap::new(),
            failed_strays: Vec::new(),
            watch: Watch::default(),
            log_limit: LogLimit::default(),
            tracking,
            frames: TxQueue::default(),
            idents: Idents::new(boot.first_ident),
            signature_modes: boot.signature_modes,
            realtime_offset: 0,
            unannounced: Unannounced::default(),
            later: VecDeque::new(),
            forwarding: Forwarding::default(),
            delays,
            asked: 0,
            retry_at: None,
            // What the start needed.
            tidy_at: Some(started + TIDY),
            worked: 0,
            notifier: Notifier::new(boot.notifies),
            manager: Manager::new(started, boot.manager),
            objects,
        };
        core.need_namespaces(&config, false);
        drop(config);
        for ((id, spec), before) in numbers.into_iter().zip(specs).zip(infos) {
            let info = core.router(id).info(spec.priority);
            core.publish(
                id,
                InfoChange::All(Box::new(match before {
                    Some(before) => goes_on(info, &before, matches!(masters.get(&id), Some(Ok(_)))),
                    None => info,
                })),
            );
            core.index.add(id, &core.routers[id.0 as usize]);
            core.allow_peers(id);
            core.set_hmac_keys(id);
            core.engine.add_router(id, spec);
            if let Some(before) = before {
                if let Some(signer) = core.router_mut(id).signer_mut() {
                    signer.go_on_after(Sequence(before.hmac_sequence));
                }
                if let Some(ah) = core.router_mut(id).ah_mut() {
                    // Of a router that had signatures it is none: then it begins anew.
                    ah.go_on_after(before.hmac_sequence.try_into().unwrap_or(0));
                }
                core.engine.continue_mismatches(id, before.address_list_mismatch);
                core.forget_reported(id, matches!(masters.get(&id), Some(Ok(_))));
            }
        }
        for (id, adopted) in masters {
            if adopted.is_err() {
                core.count(Counter::NotAdopted);
            }
            core.engine.adopt(id, adopted);
        }
        core.update_refused();
        core
    }

    /// What the daemon before was told of a router, this one was not: the kernel side must say it again. A master that goes on
    /// gives way to whom it gave way to; of any other router everything is told until it begins, and all who advertise may
    /// have the addresses.
    fn forget_reported(&mut self, id: RouterId, goes_on: bool) {
        if !planted(Fault::AdoptedAckKept) {
            self.effects.push_back(Effect::Acknowledge { router: id, digest: 0 });
        }
        if !goes_on {
            let filter = ReportFilter { state: state::BACKUP, ..ReportFilter::default() };
            self.router_mut(id).filter = filter;
            self.effects.push_back(Effect::SetFilter { router: id, filter });
        }
    }

    pub(super) fn handle_starting(&mut self, input: Input<'_>) {
        match input {
            Input::Listed { links, addresses } => {
                self.listed(links, &addresses);
                if let Phase::Starting(starting) = &mut self.phase {
                    starting.listed = true;
                }
            }
            Input::Answered(answers) => {
                for answer in answers {
                    self.answered_while_starting(answer);
                }
            }
            Input::Timeout => {}
            other @ (Input::Received { .. }
            | Input::Damaged { .. }
            | Input::RingMended
            | Input::Changed(_)
            | Input::Namespace { .. }
            | Input::Attached { .. }
            | Input::EgressMended { .. }
            | Input::HooksSeen(_)
            | Input::LastSeen { .. }
            | Input::LastSeenEnd { .. }
            | Input::FilterSet { .. }
            | Input::Forwards { .. }
            | Input::TestSent { .. }
            | Input::Health { .. }
            | Input::BadTrackFile { .. }
            | Input::TrackedOnce { .. }
            | Input::ScriptFound(_)
            | Input::Reload { .. }
            | Input::ConfigurationRead { .. }
            | Input::NotDelivered(_)
            | Input::NotServed
            | Input::Fenced { .. }
            | Input::PinsMended { .. }
            | Input::PinsLost(_)
            | Input::ClockSet { .. }
            | Input::SignatureModes(_)
            | Input::Stop) => self.handle_running(other),
        }
        self.begin_if_ready();
    }

    /// So many answers are to come before the routers may begin.
    pub(super) fn wait_for_answers(&mut self, count: usize) {
        if let Phase::Starting(starting) = &mut self.phase {
            starting.missing += count;
        }
    }

    fn answered_while_starting(&mut self, Answer { request, subject, result, ours }: Answer) {
        if !self.expected(1) {
            return;
        }
        // What is refused was carried out before all that comes now: nothing waits for it.
        if !matches!(subject, Subject::Refused(_))
            && let Phase::Starting(starting) = &mut self.phase
        {
            starting.missing = starting.missing.saturating_sub(1);
        }
        match subject {
            Subject::Address(at) => self.stale_answered(&at, &result),
            Subject::Object(number) => {
                self.stale_object_answered(Handle(number), request, &result, ours);
            }
            Subject::Refused(namespace) => self.refused_answered(namespace, request, &result),
        }
        self.notifier_answered(1);
    }

    /// The routers begin when nothing of an earlier daemon is left, and what they track is known, or not to be known in
    /// a moment.
    fn begin_if_ready(&mut self) {
        let incomplete = self.tracking.incomplete();
        let now = self.now;
        let Phase::Starting(starting) = &mut self.phase else { return };
        // Where routers live is known when their interfaces capture.
        if !starting.listed || self.interfaces.any_attaching() {
            return;
        }
        let continues = starting.continues;
        if !std::mem::replace(&mut starting.cleaned, true) {
            self.remove_stale(continues);
        }
        // Who goes on as master waits for nothing.
        let waits = !continues || !self.ids().any(|id| self.goes_on(id));
        let Phase::Starting(starting) = &mut self.phase else { return };
        if waits && starting.missing > 0 {
            return;
        }
        if waits && incomplete {
            if now < *starting.until.get_or_insert(now + FIRST_LOOK) {
                return;
            }
            log::warn!("starting although not everything that is tracked is known");
        }
        self.phase = Phase::Running;
        self.add_fixed();
        for id in self.ids() {
            self.evaluate(id);
            if !self.engine.adopts(id) {
                self.update_filter(id);
            }
            self.log_problems(id);
        }
        self.effects.push_back(Effect::Started);
        self.egress_begins();
        self.notify_ready();
    }

    /// Says what is wrong with the interface of a router that is new.
    pub(super) fn log_problems(&mut self, id: RouterId) {
        if self.is_attaching(id) {
            self.unsaid.insert(id);
            return;
        }
        self.unsaid.remove(&id);
        if self.waits_for_dad(id) {
            let place = self.router(id).label();
            log::info!("{place}: waits for duplicate address detection of the link-local address");
            return;
        }
        for problem in self.link_problems(id) {
            log::error!("{}: {}", self.router(id).label(), problem.text);
        }
    }
}
