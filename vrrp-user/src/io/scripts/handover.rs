//! What runs, what waits and what checks have found out, as it is handed over to a program that takes the place of this one
//! in the same process, whose children are then its own.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::spawn::{self, Child};
use crate::engine::types::Health;
use crate::io::handover as received;
use crate::scripts::Subject;
use crate::scripts::resolve::Script;

/// What never runs twice at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Subject(Subject),
    Check(Arc<str>),
}

/// What a later job makes pointless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Topic {
    State,
    LowerPriority,
    SplitBrain(IpAddr),
    Check,
}

/// Everything of the thread of the scripts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scripts {
    pub(super) jobs: Vec<Job>,
    pub(super) checks: BTreeMap<String, CheckResult>,
    pub(super) fifos: Vec<Fifo>,
}

/// A job that runs or waits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub owner: Owner,
    pub topic: Topic,
    pub about: String,
    pub limit: Duration,
    /// With further arguments; of one that runs, the first.
    pub scripts: Vec<(Script, Vec<CString>)>,
    pub running: Option<Running>,
}

/// What a job belongs to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Owner {
    Instance(String),
    Group(String),
    Check(String),
}

/// A process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Running {
    pub pid: i32,
    /// How long it has been running.
    pub elapsed: Duration,
    output: Option<RawFd>,
    #[serde(skip)]
    pipe: Option<OwnedFd>,
}

/// How what a check looks at is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CheckResult {
    pub script: Option<Script>,
    up: bool,
    pub streak: u32,
}

/// A named pipe, what it has not taken, and the program that reads it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fifo {
    pub path: PathBuf,
    /// Whether it is ours to remove.
    pub created: bool,
    pub lines: Vec<Vec<u8>>,
    /// Open until the next program has it open: who reads it must not find its end.
    pub pipe: RawFd,
    pub reader: Option<(Script, Running)>,
}

impl Scripts {
    /// What the program that was here before has handed over.
    pub(super) fn received() -> Self {
        let Some((text, mut inherited)) = received::take_scripts() else { return Self::default() };
        let mut scripts: Self = match serde_json::from_value(text) {
            Ok(scripts) => scripts,
            Err(error) => {
                log::warn!("scripts that run are not known of any more: {error}");
                return Self::default();
            }
        };
        scripts.own(|number| inherited.remove(&number));
        scripts
    }

    /// The descriptors that are to be inherited.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let running = self.jobs.iter().filter_map(|job| job.running.as_ref());
        let readers = self.fifos.iter().filter_map(|fifo| Some(&fifo.reader.as_ref()?.1));
        let pipes = self.fifos.iter().map(|fifo| fifo.pipe);
        running.chain(readers).filter_map(|running| running.output).chain(pipes).collect()
    }

    fn own(&mut self, mut take: impl FnMut(RawFd) -> Option<OwnedFd>) {
        let running = self.jobs.iter_mut().filter_map(|job| job.running.as_mut());
        let readers = self.fifos.iter_mut().filter_map(|fifo| Some(&mut fifo.reader.as_mut()?.1));
        for running in running.chain(readers) {
            running.pipe = running.output.and_then(&mut take);
        }
    }
}

impl From<Owner> for Key {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Instance(name) => Self::Subject(Subject::Instance(name.into())),
            Owner::Group(name) => Self::Subject(Subject::Group(name.into())),
            Owner::Check(name) => Self::Check(name.into()),
        }
    }
}

impl From<&Key> for Owner {
    fn from(key: &Key) -> Self {
        match key {
            Key::Subject(Subject::Instance(name)) => Self::Instance(name.to_string()),
            Key::Subject(Subject::Group(name)) => Self::Group(name.to_string()),
            Key::Check(name) => Self::Check(name.to_string()),
        }
    }
}

impl CheckResult {
    /// `None` where nothing is known.
    pub fn new(script: Option<&Script>, health: Health, streak: u32) -> Option<Self> {
        let up = match health {
            Health::Up => true,
            Health::Down => false,
            Health::Unknown | Health::Value(_) | Health::Disabled => return None,
        };
        Some(Self { script: script.cloned(), up, streak })
    }

    pub fn health(&self) -> Health {
        if self.up { Health::Up } else { Health::Down }
    }
}

impl Running {
    /// The process as if it had been started here.
    ///
    /// # Errors
    /// It is no child of ours.
    pub fn child(self) -> io::Result<Child> {
        let pid = Pid::from_raw(self.pid);
        let pidfd = spawn::pidfd_open(pid)?;
        // Without its output it is as one that prints nothing.
        let output = match self.pipe {
            Some(pipe) => pipe,
            None => nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?.0,
        };
        Ok(Child { pid, pidfd, output })
    }
}

/// The process that something runs as at the moment, and since when.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    output: Option<OwnedFd>,
    since: Instant,
}

/// Where that is noted.
#[derive(Clone, Debug, Default)]
pub(super) struct Current(Arc<Mutex<Option<(usize, Process)>>>);

impl Current {
    fn lock(&self) -> MutexGuard<'_, Option<(usize, Process)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process has begun, of the script at this place, `elapsed` ago.
    pub fn begin(&self, place: usize, child: &Child, elapsed: Duration) {
        let output = child.output.as_fd().try_clone_to_owned().ok();
        let now = Instant::now();
        let since = now.checked_sub(elapsed).unwrap_or(now);
        *self.lock() = Some((place, Process { pid: child.pid, output, since }));
    }

    /// It has been waited for.
    pub fn end(&self) {
        self.lock().take();
    }

    /// The place of the script that runs, and its process.
    pub fn get(&self) -> Option<(usize, Running)> {
        self.lock().as_ref().map(|(place, process)| {
            let running = Running {
                pid: process.pid.as_raw(),
                elapsed: process.since.elapsed(),
                output: process.output.as_ref().map(AsRawFd::as_raw_fd),
                pipe: None,
            };
            (*place, running)
        })
    }
}
