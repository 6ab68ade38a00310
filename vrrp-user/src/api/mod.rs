//! What is said on the control socket, and the JSON of `status` and `stats`: words, and neither end of the socket.
//!
//! Fields are only ever added; [`SCHEMA`] changes when one changes its meaning or goes away.

pub mod error;
pub mod events;
pub mod history;
pub mod problem;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use self::error::ApiError;
use crate::config::model;

/// Version of the JSON below.
pub const SCHEMA: u32 = 1;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The state of every router and interface. The answer is one [`Answer::Status`], and as many
    /// [`Answer::Routers`] as [`Status::more`] announces.
    Status {},
    /// Everything about one router.
    Router {
        /// Its name, or `INTERFACE/VRID`.
        name: String,
    },
    /// The counters of the pinned maps, for clients that cannot see the BPF filesystem of the daemon.
    Stats {},
    /// Reads the configuration again and applies it. The answer is [`Answer::Reloaded`], also when it is refused.
    Reload {
        /// Only say what would change.
        #[serde(default, skip_serializing_if = "is_false")]
        check: bool,
    },
    /// Lets another program take the place of the running one. The answer is [`Answer::Upgrade`]. If it is ready the
    /// connection ends as soon as it takes over, or an [`ApiError`] says why it does not.
    Upgrade {
        /// Its file, absolute.
        binary: String,
        /// Only say whether it could.
        #[serde(default, skip_serializing_if = "is_false")]
        check: bool,
    },
    /// What happens to the routers: an [`Answer::Event`] for each, until the client hangs up.
    Events {
        /// Begin with what happened in the last so many milliseconds, as far as it is still known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_ms: Option<u64>,
        /// Only what happens to the router of this name, or `INTERFACE/VRID`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Takes a router, with its whole sync group, out of the election. The answer is [`Answer::Done`].
    StepDown {
        /// Name of a router or sync group, or `INTERFACE/VRID`.
        name: String,
    },
    /// Takes back [`Request::StepDown`]. The answer is [`Answer::Done`].
    Resume {
        /// Name of a router or sync group, or `INTERFACE/VRID`.
        name: String,
    },
    /// Sets a priority in place of the configured one. The answer is [`Answer::Done`].
    SetPriority {
        /// Name of a router or sync group, or `INTERFACE/VRID`.
        name: String,
        /// 1 to 254; without it the configured one counts again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<u8>,
    },
}

/// What an operator can ask of routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// [`Request::StepDown`].
    StepDown,
    /// [`Request::Resume`].
    Resume,
    /// [`Request::SetPriority`].
    SetPriority(Option<u8>),
}

impl Request {
    /// Whether it changes something, which not everybody may (`control/access.rs`).
    pub fn changes(&self) -> bool {
        match self {
            Self::Status {} | Self::Router { .. } | Self::Stats {} | Self::Events { .. } => false,
            Self::StepDown { .. } | Self::Resume { .. } | Self::SetPriority { .. } => true,
            // Also what only compares makes the daemon read files.
            Self::Reload { .. } | Self::Upgrade { .. } => true,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(
    clippy::large_enum_variant,
    reason = "there are 256 at most at a time, and most of them are read at once"
)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Status),
    /// More routers for the [`Status`] before.
    Routers(Routers),
    /// To [`Request::Router`].
    Router(Box<RouterDetail>),
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To [`Request::Reload`].
    Reloaded(Box<Reloaded>),
    /// To [`Request::Upgrade`].
    Upgrade(Box<UpgradeReport>),
    /// To [`Request::Events`].
    Event(Event),
    /// To [`Request::Events`]: entries that were overwritten before they could be sent.
    Lost {
        /// How many.
        events: u64,
    },
    /// What was asked for is done; what, in words.
    Done(String),
}

/// One line of the daemon's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(
    clippy::large_enum_variant,
    reason = "there are 256 at most at a time, and most of them are read at once"
)]
pub enum Line {
    /// What was asked for.
    Answer(Answer),
    /// The request was not understood or could not be carried out.
    Error(ApiError),
}

impl Line {
    /// From JSON. Errors have their fields side by side, and answers do not: which one it is tells the first key, as thousands of
    /// routers are not to be looked at twice.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        if json.starts_with("{\"error\"") {
            serde_json::from_str(json).map(Self::Error)
        } else {
            serde_json::from_str(json).map(Self::Answer)
        }
    }

    /// The same of a value.
    ///
    /// # Errors
    /// It is neither.
    pub fn from_value(value: serde_json::Value) -> Result<Self, serde_json::Error> {
        if value.get("error").is_some() {
            serde_json::from_value(value).map(Self::Error)
        } else {
            serde_json::from_value(value).map(Self::Answer)
        }
    }
}

impl From<Answer> for Line {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<ApiError> for Line {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

/// `vrrp-user status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the instance.
    pub instance: String,
    /// Version of the program.
    pub version: String,
    /// Process of the daemon.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// Configuration file.
    pub config: String,
    /// Routers in the order of the configuration.
    pub routers: Vec<RouterStatus>,
    /// Whether an [`Answer::Routers`] follows on the control socket; never in `status --json`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Interfaces in use, by index.
    pub interfaces: Vec<InterfaceStatus>,
    /// Seconds until the startup delay is over, before which no router takes over; not there when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_delay_s: Option<f64>,
    /// Announcements of addresses that wait because of a pause between them; not there when none does.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub announcements_waiting: usize,
    /// What came of the last reload; `null` before the first.
    #[serde(default)]
    pub reload: Option<LastReload>,
    /// Why there is no BPF, so that every interface is captured by a packet socket; not there where there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_bpf: Option<String>,
    /// Why the maps are pinned nowhere, so that nobody but the daemon reads them; not there where they are, or are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_pins: Option<String>,
    /// What the BPF that there is lacks on this kernel, each as a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// The kind of each of them; see [`problem::LimitationKind::name`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks_causes: Vec<String>,
    /// What is wrong with the daemon itself, and no router's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The kind of each of them; see [`problem::ProblemKind::name`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problem_causes: Vec<String>,
    /// What is there whoever is master.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub always: Vec<ObjectStatus>,
    /// What the daemon refused or failed at, by name; see [`vrrp_common::counters::Counter`]
    /// and the counters of the control socket and of scripts.
    #[serde(serialize_with = "with_former_names")]
    pub counters: BTreeMap<String, u64>,
    /// Tracked scripts, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<ScriptStatus>,
}

/// A tracked script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScriptStatus {
    /// Name.
    pub name: String,
    /// What runs.
    pub command: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Seconds since it is that.
    pub since_s: f64,
    /// How the last run ended: `exit status 0`, `killed by SIGSEGV`, `stopped after 1 s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
    /// The same as a name: `exited`, `failed`, `killed`, `timed-out`, `stopped` or `not-started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end_cause: Option<String>,
    /// Seconds since that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_s: Option<f64>,
    /// Runs that have ended.
    pub runs: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// How often it was due while it still ran.
    pub overruns: u64,
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// When it ended, RFC 3339 in UTC.
    pub at: String,
    /// Whether the configuration was applied. If not, the one before it goes on.
    pub applied: bool,
    /// In one line.
    pub summary: String,
    /// Why it was refused: the first errors.
    pub errors: Vec<String>,
    /// The kind of each of them; see [`error::ErrorKind::name`].
    #[serde(default)]
    pub error_causes: Vec<String>,
}

/// `vrrp-user reload`: what changed, or why nothing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Configuration file.
    pub config: String,
    /// Whether nothing was to be changed, only compared.
    pub check: bool,
    /// Whether the configuration was applied.
    pub applied: bool,
    /// Milliseconds from the request to its end.
    pub took_ms: u64,
    /// Routers that are new.
    pub added: Vec<RouterName>,
    /// Routers that are no longer in the configuration.
    pub removed: Vec<RouterName>,
    /// Routers that go on with other settings.
    pub changed: Vec<ChangedRouter>,
    /// How many routers are as before.
    pub unchanged: u64,
    /// Other settings that changed.
    pub settings: Vec<String>,
    /// Why the configuration was refused, each with its place in the file. Nothing has changed then.
    pub errors: Vec<String>,
    /// The kind of each of them; see [`error::ErrorKind::name`].
    #[serde(default)]
    pub error_causes: Vec<String>,
    /// What the user should know all the same.
    pub warnings: Vec<String>,
}

/// A router, by name and place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterName {
    /// Name in the configuration.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
}

impl RouterName {
    /// Of a router in a configuration.
    pub fn of(router: &model::RouterConfig) -> Self {
        let (name, interface) = (router.name.clone(), router.interface.clone());
        Self { name, interface, vrid: router.vrid.get() }
    }
}

/// A router that goes on with other settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedRouter {
    /// Its name from now on.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// What changed, in words.
    pub settings: Vec<String>,
}

impl Reloaded {
    /// In one line.
    pub fn summary(&self) -> String {
        if !self.errors.is_empty() {
            let s = if self.errors.len() == 1 { "" } else { "s" };
            return format!("{} error{s}", self.errors.len());
        }
        let mut parts = vec![
            format!("{} added", self.added.len()),
            format!("{} removed", self.removed.len()),
            format!("{} changed", self.changed.len()),
            format!("{} unchanged", self.unchanged),
        ];
        if !self.settings.is_empty() {
            parts.push("other settings changed".to_owned());
        }
        parts.join(", ")
    }
}

/// `vrrp-user upgrade`: whether another program can take the place of the running one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpgradeReport {
    /// Process of the daemon, before and afterwards.
    pub pid: u32,
    /// The file.
    pub binary: String,
    /// Version of the program that runs.
    pub from: String,
    /// Version of the other one, as far as it has said so.
    pub to: Option<String>,
    /// Version of the layout of the pinned maps.
    pub layout_from: u32,
    /// That of the other program.
    pub layout_to: Option<u32>,
    /// Whether nothing was to be done.
    pub check: bool,
    /// Whether it can take over.
    pub ready: bool,
    /// Whether only a restart helps.
    pub needs_restart: bool,
    /// Why it cannot.
    pub errors: Vec<String>,
    /// The kind of each of them; see [`error::ErrorKind::name`].
    pub error_causes: Vec<String>,
}

impl UpgradeReport {
    /// One more reason why it cannot.
    pub fn refuse(&mut self, ApiError { error, cause }: ApiError) {
        self.errors.push(error);
        self.error_causes.push(cause);
    }
}

/// More of [`Status::routers`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routers {
    /// The routers after those before.
    pub routers: Vec<RouterStatus>,
    /// Whether there are more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// Names of reasons and counters that have changed, each with its former one. Both stand in JSON for one version.
const FORMER_NAMES: [(&str, &str); 2] =
    [("master_limited", "news_limited"), ("events_suppressed", "notice_left_out")];

/// Counts by names, without those that only stand there under former names.
pub fn current(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = (&String, &u64)> {
    counts.iter().filter(|(name, _)| FORMER_NAMES.iter().all(|(_, former)| name != former))
}

fn with_former_names<S: Serializer, N: Copy + Serialize>(
    counts: &BTreeMap<String, N>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut all: BTreeMap<&str, N> =
        counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    for (name, former) in FORMER_NAMES {
        if let Some(count) = counts.get(name) {
            all.entry(former).or_insert(*count);
        }
    }
    all.serialize(serializer)
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Name in the configuration.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// `ipv4`.
    pub family: String,
    /// VRRP version.
    pub version: u8,
    /// `INIT`, `BACKUP`, `MASTER` or `FAULT`.
    pub state: String,
    /// Why, in words.
    pub cause: Option<String>,
    /// Why, as a name that never changes; see [`crate::engine::types::Cause::name`].
    #[serde(default)]
    pub cause_name: Option<String>,
    /// Seconds in that state.
    pub since_s: f64,
    /// Effective priority: what is advertised as master.
    pub priority: u8,
    /// Priority in the configuration.
    #[serde(default)]
    pub configured_priority: u8,
    /// How the effective priority comes about, where that is not the configured one: `100 - 20: script chk is
    /// down`.
    #[serde(default)]
    pub priority_why: Option<String>,
    /// The same as names: `set-priority`, `tracked`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority_causes: Vec<String>,
    /// Its sync group.
    #[serde(default)]
    pub group: Option<String>,
    /// The other router that is master, when there is one.
    pub master: Option<Master>,
    /// Advertisement interval in force, milliseconds.
    pub interval_ms: u64,
    /// Master-down interval in force, milliseconds.
    pub master_down_ms: u64,
    /// Milliseconds until the next advertisement is due (as master) or the master is given up.
    pub next_timer_ms: Option<u64>,
    /// `multicast`, with its group when that is not the usual one, or the unicast peers.
    pub transport: Vec<String>,
    /// `claim`, `lease` or `off`: when the kernel side keeps this host from answering for its addresses.
    #[serde(default)]
    pub fence: String,
    /// Its virtual MAC address, if it is to have one.
    #[serde(default)]
    pub virtual_mac: Option<String>,
    /// Whether packets to its addresses are let in, unless that is among the problems.
    #[serde(default = "yes")]
    pub accept: bool,
    /// How its advertisements are signed, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacStatus>,
    /// Address that advertisements are sent from.
    pub source: Option<String>,
    /// Virtual addresses with prefix length, excluded ones at the end.
    pub addresses: Vec<AddressStatus>,
    /// What is wrong with it at the moment.
    pub problems: Vec<String>,
    /// The kind of each of them; see [`problem::ProblemKind::name`].
    #[serde(default)]
    pub problem_causes: Vec<String>,
}

/// What a daemon does that says nothing of it, being older.
fn yes() -> bool {
    true
}

/// `vrrp-user status NAME`: everything about one router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterDetail {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What `status` says of it, too.
    #[serde(flatten)]
    pub router: RouterStatus,
    /// Its interface.
    pub on: InterfaceStatus,
    /// Ethernet address of [`RouterStatus::master`], if the neighbour table of the daemon's host knows it.
    #[serde(default)]
    pub master_mac: Option<String>,
    /// Line in the configuration file at which it begins.
    pub config_line: usize,
    /// What it tracks, what its sync group tracks at the end.
    #[serde(default)]
    pub tracks: Vec<TrackStatus>,
    /// The scripts among that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<ScriptStatus>,
    /// Advertisement interval in the configuration, milliseconds.
    pub configured_interval_ms: u64,
    /// Whether a master of lower priority is pre-empted.
    pub preempt: bool,
    /// How long such a master is tolerated first, milliseconds.
    pub preempt_delay_ms: u64,
    /// `none`, `simple password` or `authentication header (AH)`.
    pub authentication: String,
    /// Repetition of gratuitous ARP.
    pub garp: Garp,
    /// Timers that are set, in the order in which they fire.
    pub timers: Vec<TimerStatus>,
    /// Its routes and rules, in the order of the configuration.
    #[serde(default)]
    pub objects: Vec<ObjectStatus>,
    /// The same under its former name, for one version.
    #[serde(default)]
    pub extras: Vec<ObjectStatus>,
    /// What it does when somebody else removes an address, route or rule: `yield` or `restore`.
    #[serde(default)]
    pub on_address_lost: String,
    /// How often somebody did, and it put it back.
    #[serde(default)]
    pub removed_by_others: u64,
    /// Advertisements heard whose address list differs from ours.
    pub address_list_mismatches: u64,
    /// The last transitions, oldest first.
    pub history: Vec<Event>,
}

/// Something that a router tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackStatus {
    /// What, as in `script chk_haproxy`.
    pub name: String,
    /// How it is, as in `is down`.
    pub state: String,
    /// The same as a name: `up`, `down`, `unknown` or `disabled`, or the number in a file.
    #[serde(default)]
    pub health: String,
    /// What that makes of the router: a summand of its priority, as in `-20`, or `FAULT`.
    pub effect: String,
    /// The same as a name: `priority`, `none`, `fault` or `waits`.
    #[serde(default)]
    pub effect_name: String,
}

/// Repetition of gratuitous ARP, with keepalived's names without `garp_`. Times are milliseconds, and 0 is never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garp {
    /// Rounds at once on becoming master, and after the delay.
    pub master_repeat: u32,
    /// When the second group of rounds follows.
    pub master_delay_ms: u64,
    /// Period of the repetition while master.
    pub master_refresh_ms: u64,
    /// Rounds in each repetition.
    pub master_refresh_repeat: u32,
    /// Rounds at once when a master of lower priority was heard, and after the delay.
    pub lower_prio_repeat: u32,
    /// When the second group of rounds follows.
    pub lower_prio_delay_ms: u64,
    /// Period with which addresses on other interfaces than the router's are announced while master; 0 if there is none.
    #[serde(default)]
    pub other_interfaces_ms: u64,
    /// Period with which its own address is announced while it is backup by unicast; 0 if there is none.
    #[serde(default)]
    pub own_address_ms: u64,
}

/// A timer that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerStatus {
    /// What it is for, see [`crate::engine::Timer::name`].
    pub name: String,
    /// When it fires, milliseconds from now.
    pub in_ms: u64,
}

/// Something that happened to a router, or to something that routers track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Number: 1 for the first since the daemon started, then one more each.
    pub number: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Name of the router; nothing of what is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Its interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Virtual router identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrid: Option<u8>,
    /// What is tracked, as in `script chk_haproxy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
    /// As a name that never changes: [`crate::engine::types::Cause::name`] of a transition,
    /// [`crate::engine::types::Notice::name`] of a notice, `tracked-up` and the like of what is tracked.
    pub cause: String,
    /// The same in words.
    pub reason: String,
}

/// What kind of thing happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happened {
    /// The router changed state.
    Transition {
        /// Before: `INIT`, `BACKUP`, `MASTER` or `FAULT`.
        from: String,
        /// After.
        to: String,
    },
    /// Something worth telling, and the state stays.
    Notice,
    /// Something that is tracked changed.
    Tracked {
        /// Before: `up`, `down`, `unknown`, or the number in a file.
        from: String,
        /// After.
        to: String,
    },
}

/// How advertisements are signed, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HmacStatus {
    /// `enforce`, `permissive` or `receive-only`.
    pub mode: String,
    /// Number of the key that signs, if any does.
    pub active_key: Option<u8>,
    /// Numbers of all keys.
    pub keys: Vec<u8>,
    /// `time` or `monotonic`.
    pub anti_replay: String,
    /// How far clocks may lie apart, seconds.
    pub time_window_s: u16,
}

/// A master that is another router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// Where it sends from.
    pub address: String,
    /// Its priority.
    pub priority: u8,
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressStatus {
    /// Address and prefix length.
    pub address: String,
    /// Interface.
    pub dev: String,
    /// Whether it is on the interface.
    pub installed: bool,
}

/// A route, a rule, or something that is there whoever is master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// `address`, `route`, `rule` or `promote_secondaries`.
    pub kind: String,
    /// What, as iproute2 takes it; of `promote_secondaries` the interface.
    pub what: String,
    /// Whether it is there.
    pub installed: bool,
    /// Why it is not, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The same as a name: `interface-missing`, `interface-down` or `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// An interface that routers live on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Index; `null` while it does not exist.
    pub ifindex: Option<u32>,
    /// Whether it is up and has carrier, as far as that counts.
    pub up: bool,
    /// Milliseconds until the opposite counts, because of a delay of the interface; not there otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_in_ms: Option<u64>,
    /// How advertisements are received: `native` or `generic` (XDP), `tc`, `raw`, or `null`.
    pub capture: Option<String>,
    /// Why not in a better way, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_why: Option<String>,
    /// What this way lacks, as the end of "it works, but ...".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_lacks: Option<String>,
    /// The parts of `capture_why` as names ([`crate::capture::Choice::causes`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capture_causes: Vec<String>,
    /// What `capture_lacks` says as names ([`crate::capture::CaptureMode::lack_names`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capture_lacks_causes: Vec<String>,
    /// Why nothing is received.
    pub error: Option<String>,
    /// The same as a name: `interface-missing` or `no-capture`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_cause: Option<String>,
}

/// `vrrp-user stats`: what the pinned maps hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Process of the daemon that made the maps; it may be gone.
    #[serde(default)]
    pub pid: u32,
    /// Whether a daemon of this instance answers now; only what the command line prints has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// Start of that daemon, nanoseconds of `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub started_ns: u64,
    /// Seconds since the counters were zero: since the daemon started, or since `stats --reset`.
    #[serde(default)]
    pub since_s: f64,
    /// Whether the counters were set to zero by `stats --reset`.
    #[serde(default)]
    pub reset: bool,
    /// Seconds over which the rates in `per_second` were measured; only with `--watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_s: Option<f64>,
    /// Per router.
    pub routers: Vec<RouterStats>,
    /// Per virtual address.
    pub vips: Vec<VipStats>,
    /// Per interface that routers advertise on, in the order of the configuration.
    #[serde(default)]
    pub interfaces: Vec<InterfaceStats>,
    /// Packets of IP protocol 112 per verdict reason, by name; see [`vrrp_common::reason::Reason`].
    #[serde(serialize_with = "with_former_names")]
    pub reasons: BTreeMap<String, u64>,
    /// The latest packet of each reason of which the kernel side kept a sample, by name. There is none of
    /// accepted ones.
    #[serde(default)]
    pub last_from: BTreeMap<String, LastFrom>,
    /// Rates of `reasons`; only with `--watch`, and empty without.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "with_former_names"
    )]
    pub reasons_per_second: BTreeMap<String, f64>,
    /// What the daemon refused or failed at, by name; see [`vrrp_common::counters::Counter`].
    #[serde(default, serialize_with = "with_former_names")]
    pub counters: BTreeMap<String, u64>,
    /// What was not handed on, or not in time.
    #[serde(default)]
    pub losses: Losses,
    /// That another version of the daemon made the maps, and what of them this one does not show, each as a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// Advertisements and notifications that the daemon did not get. None is lost for good: the next advertisement
/// is reported instead, and links and addresses are read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Advertisements that found the ring buffer full.
    pub ring_full: u64,
    /// Advertisements that were not reported, because they were more than a router is told of.
    #[serde(default)]
    pub reports_limited: u64,
    /// The same under its former name, for one version.
    #[serde(default)]
    pub news_limited: u64,
    /// Times that netlink notifications were lost.
    pub netlink_overrun: u64,
}

/// Where the latest packet came from that got a certain verdict. Of more than 8 in 100 ms it may be one of the
/// first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastFrom {
    /// Source address.
    pub address: String,
    /// Interface on which it arrived.
    pub interface: String,
    /// VLAN IDs in the frame, outermost first.
    pub vlan: Vec<u16>,
    /// Virtual router identifier; `null` when the packet was too short to have one.
    pub vrid: Option<u8>,
    /// Seconds since it arrived.
    pub ago_s: f64,
    /// Packets of this reason of which no sample was kept.
    pub not_sampled: u64,
}

/// Counters of one router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouterStats {
    /// Name in the configuration.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// State that the daemon last reported.
    pub state: String,
    /// Advertisements that passed the receive checks.
    pub adverts_received: u64,
    /// Advertisements sent.
    pub adverts_sent: u64,
    /// Advertisements for this router that failed a receive check.
    pub refused: u64,
    /// Received ones with priority 0.
    pub priority_zero_received: u64,
    /// Sent ones with priority 0.
    pub priority_zero_sent: u64,
    /// Accepted ones whose address list differs from ours.
    pub address_list_mismatch: u64,
    /// Advertisements that the kernel refused to send.
    pub send_errors: u64,
    /// Whether the kernel side keeps this host from answering for its addresses ([`vrrp_common::lease`]).
    #[serde(default)]
    pub fenced: bool,
    /// Packets that were stopped by that.
    #[serde(default)]
    pub fenced_packets: u64,
    /// Transitions to master.
    pub became_master: u64,
    /// Transitions, to whichever state.
    #[serde(default)]
    pub state_changes: u64,
    /// Seconds since the last accepted advertisement; `null` when there was none.
    #[serde(default)]
    pub last_seen_s: Option<f64>,
    /// Who was heard, by address.
    #[serde(default)]
    pub peers: Vec<PeerStats>,
    /// Rates; only with `--watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<RouterRates>,
}

/// Rates of one router, per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterRates {
    /// Of [`RouterStats::adverts_received`].
    pub adverts_received: f64,
    /// Of [`RouterStats::adverts_sent`].
    pub adverts_sent: f64,
    /// Of [`RouterStats::refused`].
    pub refused: f64,
}

/// What one router heard from one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStats {
    /// Source address.
    pub address: String,
    /// Accepted advertisements.
    pub adverts_received: u64,
    /// Priority in the last one.
    pub priority: u8,
    /// Seconds since the last one.
    pub last_seen_s: f64,
}

/// Counters of one interface: sums over the routers on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStats {
    /// Name.
    pub name: String,
    /// How advertisements are received: `native` or `generic` (XDP), `tc`, `raw`, or `null` for not at all.
    pub capture: Option<String>,
    /// Routers on it.
    pub routers: u64,
    /// Advertisements that passed the receive checks.
    pub adverts_received: u64,
    /// Advertisements sent.
    pub adverts_sent: u64,
    /// Advertisements for routers of ours that failed a receive check.
    pub refused: u64,
}

/// Counters of one virtual address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VipStats {
    /// Interface.
    pub interface: String,
    /// Address.
    pub address: String,
    /// Packets received for it.
    pub rx_packets: u64,
    /// Bytes received for it, whole frames without FCS.
    pub rx_bytes: u64,
    /// Packets sent from it by this interface; a packet that the device cuts into segments (GSO) counts as so
    /// many. 0 before Linux 6.6.
    #[serde(default)]
    pub tx_packets: u64,
    /// Bytes sent from it by this interface, whole frames without FCS; the headers of a packet that the device
    /// cuts into segments count once.
    #[serde(default)]
    pub tx_bytes: u64,
    /// Rates; only with `--watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<VipRates>,
}

/// Rates of one virtual address, per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct VipRates {
    /// Of [`VipStats::rx_packets`].
    pub rx_packets: f64,
    /// Of [`VipStats::rx_bytes`].
    pub rx_bytes: f64,
    /// Of [`VipStats::tx_packets`].
    pub tx_packets: f64,
    /// Of [`VipStats::tx_bytes`].
    pub tx_bytes: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_changed_stand_beside_their_former_ones() {
        let count = |name: &str, count| (name.to_owned(), count);
        let counters = BTreeMap::from([count("events_suppressed", 3), count("bad_event", 1)]);
        let reasons_per_second = BTreeMap::from([("master_limited".to_owned(), 0.5)]);
        let stats = Stats { counters, reasons_per_second, ..Stats::default() };
        let json = serde_json::to_value(&stats).unwrap();
        let expected = serde_json::json!({ "master_limited": 0.5, "news_limited": 0.5 });
        assert_eq!(json["reasons_per_second"], expected);
        let expected = serde_json::json!({
            "bad_event": 1, "events_suppressed": 3, "notice_left_out": 3,
        });
        assert_eq!(json["counters"], expected);
        let read: Stats = serde_json::from_value(json.clone()).unwrap();
        assert!(current(&read.counters).eq(&stats.counters));
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
    }

    #[test]
    fn requests_are_objects_and_unknown_ones_are_refused() {
        let text = serde_json::to_string(&Request::Status {}).unwrap();
        assert_eq!(text, r#"{"command":"status"}"#);
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), Request::Status {});
        let events = r#"{"command":"events","since_ms":60000}"#;
        let parsed = Request::Events { since_ms: Some(60_000), name: None };
        assert_eq!(serde_json::from_str::<Request>(events).unwrap(), parsed);
        assert_eq!(serde_json::to_string(&parsed).unwrap(), events);
        for bad in ["{}", r#"{"command":"reboot"}"#, r#"{"command":"status","x":1}"#, "status"] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_has_a_name_unless_the_daemon_is_older() {
        let refused = error::ErrorKind::UnknownRouter.because("there is none");
        let json = serde_json::to_string(&Line::from(refused.clone())).unwrap();
        assert_eq!(json, r#"{"error":"there is none","cause":"unknown-router"}"#);
        assert_eq!(Line::parse(&json).unwrap(), Line::Error(refused));
        let Line::Error(old) = Line::parse(r#"{"error":"so"}"#).unwrap() else {
            panic!("no error")
        };
        assert_eq!((old.error.as_str(), old.cause.as_str()), ("so", ""));
        let done = r#"{"done":"so"}"#;
        assert_eq!(Line::parse(done).unwrap(), Line::Answer(Answer::Done("so".to_owned())));
        assert!(Line::parse("{}").is_err());
    }

    /// The lines that docs/observing.md promises.
    #[test]
    fn an_event_is_one_flat_object() {
        let mut event = Event {
            schema: SCHEMA,
            number: 7,
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            router: Some("VI_1".to_owned()),
            interface: Some("eth0".to_owned()),
            vrid: Some(51),
            object: None,
            what: Happened::Transition { from: "BACKUP".to_owned(), to: "MASTER".to_owned() },
            cause: "master-down".to_owned(),
            reason: "took over".to_owned(),
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            r#"{"schema":1,"number":7,"time":"2026-01-02T03:04:05.678Z","router":"VI_1","interface":"eth0","vrid":51,"event":"transition","from":"BACKUP","to":"MASTER","cause":"master-down","reason":"took over"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        event.what = Happened::Notice;
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.contains(r#","event":"notice","cause":"#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        (event.router, event.interface, event.vrid) = (None, None, None);
        event.object = Some("script chk_web".to_owned());
        event.what = Happened::Tracked { from: "up".to_owned(), to: "down".to_owned() };
        (event.number, event.cause) = (6, "tracked-down".to_owned());
        event.reason = "is down (exit status 1); tracked by VI_1".to_owned();
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            r#"{"schema":1,"number":6,"time":"2026-01-02T03:04:05.678Z","object":"script chk_web","event":"tracked","from":"up","to":"down","cause":"tracked-down","reason":"is down (exit status 1); tracked by VI_1"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
