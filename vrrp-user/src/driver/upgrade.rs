//! Another program takes the place of this one in the same process, and nobody else notices.
//!
//! The file is opened once, by a thread of its own. A process of its own, with bounds of time and memory, executes it by
//! that descriptor with the arguments of this one and `--check-adopt`: it reads the configuration, has the kernel verify its
//! programs, looks at what is pinned, and says which version it is. Only then is it executed here. It starts as after a kill,
//! but with what is handed over ([`handover`]).

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::signals::{self, SignalKind};
use super::{Driver, Options, service};
use crate::api::UpgradeReport;
use crate::api::error::{ApiError, ErrorKind};
use crate::capability;
use crate::control::server::Asker;
use crate::core::Counter;
use crate::io::bpf::{self, Maps};
use crate::io::child::{self, End};
use crate::io::executable::Executable;
use crate::io::handover::{self, Handover};
use crate::io::reader::Reader;
use crate::io::scripts::handover::Scripts as Running;
use crate::io::{lockfile, memory, sched, timer};
use crate::types::build;

/// How long the other program may take to say whether it can take over.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the answer to who has asked may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the thread of the scripts may take to let go of them.
const SCRIPTS: Duration = Duration::from_millis(500);
/// Begins the line that says what the other program is.
const SAID: &str = "vrrp-user takes over: ";

/// What a program says of itself that can take over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Candidate {
    version: String,
    abi_version: u32,
    /// Capabilities that it needs, and does not have here.
    lacks: Vec<String>,
}

/// What came of looking at another program.
pub enum Examined {
    /// It takes over.
    Usable(Executable, oneshot::Sender<ApiError>),
    /// It does not.
    Refused,
    /// It was only looked at.
    Checked,
}

/// In the other program, asked with `--check-adopt`: whether it can take over from the daemon that runs. Its configuration
/// has been read.
///
/// # Errors
/// Why it cannot.
pub fn candidate(options: &Options) -> Result<Candidate, bpf::Error> {
    let pretence = build::pretence();
    if pretence.is_some_and(|it| it.hangs) {
        thread::sleep(Duration::from_secs(3600));
    }
    let mut lacks: Vec<String> =
        capability::missing_here().into_iter().map(str::to_owned).collect();
    lacks.extend(pretence.and_then(|it| it.needs.clone()));
    if lacks.is_empty() {
        bpf::try_load(options.without)?;
        Reader::open(&options.instance.pins(&bpf::find_bpffs(options.bpffs.as_deref())?))?;
    }
    let (version, abi_version) = (build::version().to_owned(), build::abi_version());
    Ok(Candidate { version, abi_version, lacks })
}

impl Candidate {
    /// Says it to the daemon.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        writeln!(out, "\n{SAID}{}", serde_json::to_string(self)?)?;
        out.flush()
    }
}

impl Driver {
    /// Looks at another program on another thread, and says what it is.
    pub(super) fn examine(&mut self, binary: &Path, check: bool, asker: Asker) {
        let mut report = UpgradeReport {
            pid: std::process::id(),
            binary: binary.display().to_string(),
            from: build::version().to_owned(),
            layout_from: build::abi_version(),
            check,
            ..UpgradeReport::default()
        };
        let pinned = match self.datapath.maps() {
            Maps::Pinned(_) => None,
            Maps::Unpinned(_) | Maps::Own(_) => {
                self.datapath.without().or(self.datapath.no_pins()).or(Some("no pins"))
            }
        };
        if let Some(why) = pinned {
            report.needs_restart = true;
            let error = format!("{why}: another program could not go on with anything");
            report.refuse(ErrorKind::NoPins.because(error));
        } else if std::mem::replace(&mut self.examining, true) {
            let error = "another program is being looked at for that already";
            report.refuse(ErrorKind::Busy.because(error));
        }
        if !report.errors.is_empty() {
            drop(asker.answer.send(report));
            return;
        }
        let (binary, sender) = (binary.to_owned(), self.examined.clone());
        let work = move || {
            sched::behind_everything();
            let usable = look_at(&binary, &mut report);
            let Asker { answer, written, failure } = asker;
            let Some(usable) = usable.filter(|_| !check) else {
                let examined = if report.ready { Examined::Checked } else { Examined::Refused };
                // Before the answer: who asks again at once is heard.
                let _ = sender.send(examined);
                return drop(answer.send(report));
            };
            let reached = answer.send(report).is_ok() && written.recv_timeout(ANSWER).is_ok();
            // Who asked may have given up, and must not be surprised.
            let examined = if reached {
                service::reloading();
                Examined::Usable(usable, failure)
            } else {
                Examined::Checked
            };
            let _ = sender.send(examined);
        };
        if let Err(error) = thread::Builder::new().name("upgrade".to_owned()).spawn(work) {
            self.examining = false;
            log::error!("upgrade: cannot start a thread: {error}");
        }
    }

    /// Lets another program take the place of this one, if it is usable. Does not return if all goes well.
    pub(super) async fn replace(
        &mut self,
        examined: Examined,
        signals: &mut mpsc::Receiver<SignalKind>,
    ) {
        self.examining = false;
        let (executable, failure) = match examined {
            Examined::Usable(executable, failure) => (executable, failure),
            Examined::Refused => {
                self.count(Counter::UpgradeRefused);
                return;
            }
            Examined::Checked => return,
        };
        // Who has been told to end meanwhile does.
        if self.core.is_stopping() {
            let _ = failure.send(ErrorKind::Stopping.because("the daemon is stopping"));
            return;
        }
        if let Ok(signal) = signals.try_recv() {
            service::ready();
            let error = "the daemon was told something else meanwhile";
            let _ = failure.send(ErrorKind::Overtaken.because(error));
            self.signalled(signal);
            return;
        }
        self.flush(timer::now());
        self.datapath.forget_adoption();
        let mut handover = Handover { version: build::version().to_owned(), ..Handover::default() };
        handover.orders = self.core.given_orders();
        handover.locks = lockfile::held();
        handover.descriptors = handover.locks.iter().map(|(_, number)| *number).collect();
        for (_, network) in self.networks.all() {
            handover.descriptors.extend(network.memberships.sockets().map(handover::number));
            handover.descriptors.extend(network.unicast_filter.socket().map(handover::number));
        }
        log::info!("{} takes the place of this program", executable.path().display());
        log::logger().flush();
        let error = self.execute(executable, handover).await;
        service::ready();
        self.count(Counter::UpgradeRefused);
        log::error!("cannot execute another program: {error}; this one goes on");
        let error = format!("cannot execute it: {error}; everything goes on as before");
        let _ = failure.send(ErrorKind::ExecutionFailed.because(error));
    }

    /// On the thread of the scripts, if there is one: programs that are running are told when the thread ends that has
    /// started them, and the one that executes is the one that does not.
    async fn execute(&mut self, executable: Executable, handover: Handover) -> io::Error {
        let last = move |running: Option<Running>| {
            let mut handover = handover;
            if let Some(running) = running {
                handover.scripts = serde_json::to_value(&running).unwrap_or_default();
                handover.of_scripts = running.descriptors();
                handover.descriptors.extend(&handover.of_scripts);
            }
            replace_program(&executable, &handover)
        };
        let Some(scripts) = &self.scripts else { return last(None) };
        // Taken by whoever comes first.
        let last = Arc::new(Mutex::new(Some(last)));
        let theirs = Arc::clone(&last);
        let take = move || theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut failed = scripts.replace(Box::new(move |running| Some(take()?(Some(running)))));
        if let Ok(error) = tokio::time::timeout(SCRIPTS, &mut failed).await {
            return error
                .unwrap_or_else(|_| io::Error::other("the thread of the scripts has ended"));
        }
        if last.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            return io::Error::other("the thread of the scripts is busy");
        }
        failed.await.unwrap_or_else(|_| io::Error::other("the thread of the scripts has ended"))
    }
}

/// Returns only if that failed, and then nothing has changed.
fn replace_program(executable: &Executable, handover: &Handover) -> io::Error {
    let (variable, _memfd) = match handover.write() {
        Ok(written) => written,
        Err(error) => return error,
    };
    // Until the other program handles them they wait, and would end it.
    signals::block();
    handover.inherit(true);
    let error = executable.replace_this((handover::VARIABLE, &variable));
    handover.inherit(false);
    signals::unblock();
    error
}

/// Opens a program, and asks it what it is.
fn look_at(binary: &Path, report: &mut UpgradeReport) -> Option<Executable> {
    let executable = match Executable::open(binary) {
        Ok(executable) => executable,
        Err(error) => {
            report.refuse(ErrorKind::UnusableProgram.because(error.to_string()));
            return None;
        }
    };
    let candidate = match ask(&executable) {
        Ok(candidate) => candidate,
        Err(error) => {
            let error = format!("{}: {error}", binary.display());
            report.refuse(ErrorKind::UnusableProgram.because(error));
            return None;
        }
    };
    report.to = Some(candidate.version);
    report.layout_to = Some(candidate.abi_version);
    let lacks = candidate.lacks.into_iter();
    let lacks: Vec<_> = lacks.filter(|it| !capability::missing_here().contains(&&**it)).collect();
    if !lacks.is_empty() {
        report.needs_restart = true;
        let error = format!("it needs {}, which only a restart gives it", lacks.join(", "));
        report.refuse(ErrorKind::NeedsCapabilities.because(error));
        return None;
    }
    report.ready = true;
    Some(executable)
}

fn ask(executable: &Executable) -> Result<Candidate, String> {
    let mut command = executable.command();
    command.args(std::env::args_os().skip(1)).arg("--check-adopt").stdin(Stdio::null());
    for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", handover::VARIABLE] {
        command.env_remove(name);
    }
    let room = memory::room().unwrap_or(u64::MAX) / 4 * 3;
    let (status, said) = match child::run(&mut command, PATIENCE, true, Some(room)) {
        Ok(End::Exited(status, said)) => (status, String::from_utf8_lossy(&said).into_owned()),
        Ok(End::TooSlow) => {
            return Err(format!("it did not answer within {} s", PATIENCE.as_secs()));
        }
        Err(error) => return Err(format!("it cannot be started: {error}")),
    };
    let answer = said.lines().find_map(|line| line.strip_prefix(SAID));
    match answer.map(serde_json::from_str) {
        Some(Ok(candidate)) if status.success() => Ok(candidate),
        Some(Err(error)) => Err(format!("it answered what is not understood: {error}")),
        Some(Ok(_)) | None if said.contains("--check-adopt") => {
            Err("it is of a version that cannot take over from one that runs".to_owned())
        }
        Some(Ok(_)) | None => {
            let last: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            let last = last[last.len().saturating_sub(5)..].join("; ");
            let why = if last.is_empty() { String::new() } else { format!(": {last}") };
            Err(format!("it ended with {status}{why}"))
        }
    }
}
