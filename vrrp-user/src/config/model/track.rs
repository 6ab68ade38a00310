//! What routers depend on besides their own interface, and the groups in which they move together.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::config::command::Command;
use crate::config::notify::Notify;
use crate::engine::time::Nanos;

/// That a router, or a sync group, depends on something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Track {
    /// On what.
    #[serde(flatten)]
    pub what: Tracked,
    /// What it counts, as in [`crate::engine::types::TrackUse::weight`]; 0 for FAULT while it is down.
    pub weight: i16,
    /// `reverse`: down is what is wanted.
    pub reverse: bool,
}

impl std::fmt::Display for Track {
    /// `interface eth1: FAULT while it is down`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, weight, reverse } = self;
        let signed = if *reverse { -weight } else { *weight };
        match (what, *weight) {
            (Tracked::File(_), 0) if *reverse => write!(f, "{what}: FAULT while it has 0"),
            (Tracked::File(_), 0) => write!(f, "{what}: FAULT unless it has 0"),
            (Tracked::File(_), 1) if !reverse => write!(f, "{what}: its number is added"),
            (Tracked::File(_), _) => write!(f, "{what}: its number times {signed} is added"),
            (_, 0) if *reverse => write!(f, "{what}: FAULT while it is up"),
            (_, 0) => write!(f, "{what}: FAULT while it is down"),
            // Reversed, it is the same state that counts, with the other sign.
            (_, 1..) => write!(f, "{what}: {signed:+} while it is up"),
            (_, ..0) => write!(f, "{what}: {signed:+} while it is down"),
        }
    }
}

/// Something that can be tracked, by its name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Tracked {
    /// An interface of the host, whether or not it exists.
    Interface(String),
    /// One of [`super::Config::scripts`].
    Script(String),
    /// One of [`super::Config::files`].
    File(String),
    /// One of [`super::Config::processes`].
    Process(String),
}

impl Tracked {
    /// `interface`, `script`, `file` or `process`.
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Interface(name) | Self::Script(name) | Self::File(name) | Self::Process(name) => {
                name
            }
        }
    }
}

impl std::fmt::Display for Tracked {
    /// `interface eth0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// `track_group`: routers that follow addresses, routes and rules that are there whoever is master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackGroup {
    /// Name, by which these say it.
    pub name: String,
    /// Line in the configuration file, for messages.
    #[serde(skip)]
    pub line: usize,
    /// Names of the routers; at least one.
    pub routers: Vec<String>,
}

/// `vrrp_script`: a command whose exit status says whether something is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackScript {
    /// Name.
    pub name: String,
    /// Line in the configuration file, for messages.
    #[serde(skip)]
    pub line: usize,
    /// What runs, and as whom.
    pub command: Command,
    /// Time from one start to the next; not zero.
    pub interval: Nanos,
    /// After this time the script is stopped and counts as failed; `None` for the interval.
    pub timeout: Option<Nanos>,
    /// Successes in a row until it is up.
    pub rise: u32,
    /// Failures in a row until it is down.
    pub fall: u32,
    /// `init_fail`: down, not unknown, until the first result.
    pub init_fail: bool,
    /// Weight where a router does not say its own.
    pub weight: i16,
    /// Direction where a router does not say its own.
    pub reverse: bool,
}

/// `track_file`: a file that holds a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFile {
    /// Name.
    pub name: String,
    /// Line in the configuration file, for messages.
    pub line: usize,
    /// The file.
    pub path: PathBuf,
    /// Weight where a router does not say its own.
    pub weight: i16,
    /// Direction where a router does not say its own.
    pub reverse: bool,
    /// `init_file`: what to write into it at the start.
    pub init: Option<InitFile>,
}

/// What is written into a tracked file when the daemon starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitFile {
    /// The number.
    pub value: i32,
    /// Also if the file exists.
    pub overwrite: bool,
}

/// `vrrp_track_process`: processes of which there must be enough, and not too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackProcess {
    /// Name.
    pub name: String,
    /// Line in the configuration file, for messages.
    #[serde(skip)]
    pub line: usize,
    /// Command, as in `/proc/PID/comm`, or as the first word of `/proc/PID/cmdline` where that is compared.
    pub command: String,
    /// Its parameters, as far as they are compared.
    pub parameters: Vec<String>,
    /// How the parameters are compared; `None` for not at all, unless there are some.
    #[serde(rename = "match")]
    pub param_match: Option<ParamMatch>,
    /// `full_command`: the command is compared with `/proc/PID/cmdline`.
    pub full_command: bool,
    /// Fewest processes with which it is up.
    pub quorum: u32,
    /// Most processes with which it is up.
    #[serde(serialize_with = "quorum_max")]
    pub quorum_max: u32,
    /// How long there must be enough of them before it is up.
    pub fork_delay: Nanos,
    /// How long there must be too few of them before it is down.
    pub terminate_delay: Nanos,
    /// Weight where a router does not say its own.
    pub weight: i16,
    /// Direction where a router does not say its own.
    pub reverse: bool,
}

/// No limit is none that is written.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn quorum_max<S: Serializer>(most: &u32, to: S) -> Result<S::Ok, S::Error> {
    (*most != u32::MAX).then_some(most).serialize(to)
}

/// How the parameters of a process are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ParamMatch {
    /// The same ones, no more.
    Exact,
    /// The first ones are the same; more may follow.
    Partial,
    /// As [`Self::Partial`], and the last one may be longer.
    Initial,
}

/// `vrrp_sync_group`: routers that change state together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Name, unique in the configuration.
    pub name: String,
    /// Line in the configuration file, for messages.
    #[serde(skip)]
    pub line: usize,
    /// Names of its routers, at least one; no router is in two groups.
    #[serde(skip)]
    pub members: Vec<String>,
    /// What all members depend on.
    pub track: Vec<Track>,
    /// What runs when something happens to it; `None` for nothing.
    pub notify: Option<Box<Notify>>,
    /// `sync_group_tracking_weight`: the weights that its members track with count.
    pub tracking_weight: bool,
}
