//! Child processes whose output is kept and who do not outlive their owner.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Error, Host, Result, wait_until};

/// The lines that a process printed, with the moment at which they were read. Clones share the lines.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Log {
    fn new(name: &str) -> Self {
        Self { name: name.into(), lines: Arc::default() }
    }

    /// Who wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All lines until now.
    pub fn lines(&self) -> Vec<(Instant, String)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All lines until now as one text.
    pub fn text(&self) -> String {
        self.tail(usize::MAX)
    }

    /// The last lines as one text.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let from = lines.len().saturating_sub(count);
        lines[from..].iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Whether a line contains `needle`.
    pub fn contains(&self, needle: &str) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|(_, line)| line.contains(needle))
    }

    fn follow(&self, source: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        // Ends with the process, when the last writer closes the pipe.
        thread::spawn(move || {
            let mut reader = BufReader::new(source);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), text));
                line.clear();
            }
        });
    }
}

/// A running child; killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Log,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a command with its output going to a log.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io(format!("start {command:?}")))?;
        let log = Log::new(name);
        if let Some(out) = child.stdout.take() {
            log.follow(out);
        }
        if let Some(err) = child.stderr.take() {
            log.follow(err);
        }
        Ok(Self { child, log, status: None })
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process ID.
    pub fn pid(&self) -> Pid {
        // Linux limits process IDs to 2^22.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        kill(self.pid(), signal).map_err(Error::errno(format!("{signal} to {}", self.log.name)))
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status =
                self.child.try_wait().map_err(Error::io(format!("wait for {}", self.log.name)))?;
        }
        Ok(self.status)
    }

    /// Waits for its end.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.log.name);
        wait_until(timeout, &what, || self.ended())
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(timeout)
    }

    /// SIGHUP, and waits until it has printed this once more.
    pub(crate) fn hang_up(&mut self, host: &Host, printed: &str, what: &str) -> Result<()> {
        let before = self.log.text().matches(printed).count();
        self.signal(Signal::SIGHUP)?;
        host.lab().wait_until(Duration::from_secs(120), what, || {
            Ok((self.log.text().matches(printed).count() > before).then_some(()))
        })
    }

    /// SIGKILL for it and its children at one moment, as when the machine loses power: all are stopped
    /// first, so that no parent can restart a child and no child can tidy up after its parent.
    pub fn kill_tree(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            let mut pids = vec![self.pid()];
            let mut next = 0;
            while let Some(&pid) = pids.get(next) {
                let _ = kill(pid, Signal::SIGSTOP);
                pids.extend(children(pid));
                next += 1;
            }
            for &pid in pids.iter().rev() {
                let _ = kill(pid, Signal::SIGKILL);
            }
            self.status =
                Some(self.child.wait().map_err(Error::io(format!("wait for {}", self.log.name)))?);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.kill_tree();
    }
}

/// The children of all threads of a process.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .map(Pid::from_raw)
        .collect()
}

/// Whether a process still holds its resources: it exists and is not a zombie.
pub(crate) fn alive(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with(['Z', 'X'])))
        == Some(false)
}

/// Runs a short command to its end and returns its standard output.
pub fn run(command: &mut Command) -> Result<String> {
    // Out of the reach of a Ctrl-C at the terminal, which must not stop the removal of a lab half-way.
    let output = command
        .process_group(0)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!("start {command:?}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(Error::Command {
            command: format!("{command:?}").replace('"', ""),
            status: output.status.to_string(),
            output: text(&output.stdout) + &text(&output.stderr),
        })
    }
}
