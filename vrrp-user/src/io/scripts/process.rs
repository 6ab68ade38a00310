//! One run of a program: its output, its time, its end.

use std::ffi::CString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use super::handover::Current;
use super::spawn::{self, Child};
use crate::scripts::program::Program;

/// Between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long is waited for the end of its output after that of a program itself.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// Lines of one run that go to the log.
const LINES: usize = 100;
/// Bytes of a line that do.
const LINE: usize = 500;
/// Characters of the last one that are shown with the end of a run.
const SAID: usize = 120;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit status.
    Exited(i32),
    /// Likewise, and not with 0, and what it said last.
    Failed(i32, String),
    /// By a signal that we did not send.
    Killed(Signal),
    /// It took longer than it may.
    TimedOut(Duration),
    /// The daemon stops.
    Stopped,
    /// It did not begin.
    NotStarted(String),
}

impl Ended {
    /// For programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Failed(..) => "failed",
            Self::Killed(_) => "killed",
            Self::TimedOut(_) => "timed-out",
            Self::Stopped => "stopped",
            Self::NotStarted(_) => "not-started",
        }
    }

    /// Whether it did what it should.
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Failed(status, said) => write!(f, "exit status {status}: {said}"),
            Self::Killed(signal) => write!(f, "killed by {signal}"),
            Self::TimedOut(limit) => write!(f, "stopped after {} s", limit.as_secs_f64()),
            Self::Stopped => f.write_str("stopped with the daemon"),
            Self::NotStarted(why) => write!(f, "not started: {why}"),
        }
    }
}

/// What is said about a run, and how loud.
#[derive(Clone, Debug)]
pub struct OutputLog {
    /// Begins every line of the log.
    pub label: String,
    /// Level at which its output is logged.
    pub level: log::Level,
}

/// Runs a program to its end, which comes at the latest when `limit` is over, or when `ending` becomes true, and then the
/// time that it takes to be killed.
pub async fn run(
    program: &Program,
    more: &[CString],
    environment: &[CString],
    limit: Option<Duration>,
    output_log: OutputLog,
    ending: watch::Receiver<bool>,
    current: (&Current, usize),
) -> Ended {
    let child = match spawn::spawn(program, more, environment) {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error.to_string()),
    };
    log::debug!("{}: runs with pid {}", output_log.label, child.pid);
    attend(child, Duration::ZERO, limit, output_log, ending, current).await
}

/// As [`run`], for a program that has been running for some time.
pub async fn attend(
    child: Child,
    elapsed: Duration,
    limit: Option<Duration>,
    output_log: OutputLog,
    ending: watch::Receiver<bool>,
    (current, place): (&Current, usize),
) -> Ended {
    current.begin(place, &child, elapsed);
    let end = wait_for(child, limit.map(|limit| (limit, elapsed)), output_log, ending).await;
    current.end();
    end
}

async fn wait_for(
    child: Child,
    limit: Option<(Duration, Duration)>,
    output_log: OutputLog,
    mut ending: watch::Receiver<bool>,
) -> Ended {
    let Child { pid, pidfd, output } = child;
    let output = tokio::spawn(follow(output, output_log));
    // SAFETY: an `OwnedFd` owns its descriptor, always names the same one, and is never swapped out of the `AsyncFd`.
    let end = match unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) } {
        Ok(end) => end,
        Err(error) => {
            // Out of memory, most likely.
            kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            return Ended::NotStarted(error.to_string());
        }
    };
    let over = async {
        match limit {
            Some((limit, elapsed)) => tokio::time::sleep(limit.saturating_sub(elapsed)).await,
            None => std::future::pending().await,
        }
    };
    let cut_short = tokio::select! {
        biased;
        _ = end.readable() => None,
        _ = ending.wait_for(|ending| *ending) => Some(Ended::Stopped),
        () = over => Some(Ended::TimedOut(limit.map(|limit| limit.0).unwrap_or_default())),
    };
    let Some(cut_short) = cut_short else {
        let ended = reap(pid);
        // So that what it said stands in the log before its end; what it left behind may go on.
        let said = tokio::time::timeout(LAST_WORDS, output).await;
        return match (ended, said) {
            (Ended::Exited(status), Ok(Ok(Some(said)))) if status != 0 => {
                Ended::Failed(status, said)
            }
            (ended, _) => ended,
        };
    };
    kill(pid, Signal::SIGTERM);
    let _ = tokio::time::timeout(GRACE, end.readable()).await;
    // Its children too, whether it has ended or not: before it is reaped, nobody else has its process group.
    kill(pid, Signal::SIGKILL);
    let _ = end.readable().await;
    reap(pid);
    cut_short
}

fn kill(group: Pid, signal: Signal) {
    match killpg(group, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => log::error!("cannot send {signal} to process group {group}: {error}"),
    }
}

/// Takes the status of a process that has ended.
fn reap(pid: Pid) -> Ended {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, status)) => Ended::Exited(status),
        Ok(WaitStatus::Signaled(_, signal, _)) => Ended::Killed(signal),
        // Neither happens to a process that has ended.
        Ok(other) => Ended::NotStarted(format!("unexpected state {other:?}")),
        Err(error) => Ended::NotStarted(format!("its end is not known: {error}")),
    }
}

/// Logs what a program prints, as long as anybody holds the other end. It is read to the end in any case, so that what
/// it left running in the background does not fail for it. The last line, if there is one.
async fn follow(output: OwnedFd, output_log: OutputLog) -> Option<String> {
    let mut output = match Receiver::from_owned_fd(output) {
        Ok(output) => output,
        Err(error) => {
            log::error!("{}: its output is not read: {error}", output_log.label);
            return None;
        }
    };
    let mut lines = Lines::default();
    let mut some = [0; 1024];
    while let Ok(read @ 1..) = output.read(&mut some).await {
        for line in lines.push(some.get(..read).unwrap_or(&[])) {
            log::log!(output_log.level, "{}: {line}", output_log.label);
        }
    }
    if let Some(line) = lines.finish() {
        log::log!(output_log.level, "{}: {line}", output_log.label);
    }
    let last = readable(&lines.last);
    (!last.is_empty()).then(|| last.chars().take(SAID).collect())
}

/// Makes lines of bytes.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    /// The last one that was not empty.
    last: Vec<u8>,
    logged: usize,
    suppressed: usize,
}

impl Lines {
    /// The lines that are complete now, as far as they are told.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => complete.extend(self.end_of_line()),
                // What is too long is cut.
                byte if self.line.len() < LINE => self.line.push(*byte),
                _ => {}
            }
        }
        complete
    }

    fn end_of_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if !line.trim_ascii().is_empty() {
            self.last.clone_from(&line);
        }
        if self.logged >= LINES {
            self.suppressed += 1;
            return None;
        }
        self.logged += 1;
        Some(readable(&line))
    }

    /// What there is to say at the end.
    fn finish(&mut self) -> Option<String> {
        if !self.line.is_empty()
            && let Some(line) = self.end_of_line()
        {
            return Some(line);
        }
        (self.suppressed > 0).then(|| format!("{} more lines", self.suppressed))
    }
}

/// A line without anything that a terminal would act on.
fn readable(line: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(line).trim_end_matches('\r').chars() {
        if c.is_control() && c != '\t' {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Runs a shell script, which gets one argument.
    fn sh(body: &str, mode: u32, limit: Duration) -> Ended {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        std::fs::write(&path, body).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let path = CString::new(path.to_str().unwrap()).unwrap();
        let account = crate::scripts::program::Account::ours();
        let program = Program { argv: vec![path.clone()], path, account, umask: None, netns: None };
        let output_log = OutputLog { label: "test".to_owned(), level: log::Level::Debug };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_ending, ended) = watch::channel(false);
        runtime.block_on(async {
            let more = [CString::new("argument").unwrap()];
            let (current, environment) = (Current::default(), spawn::environment());
            let noted = (&current, 0);
            let end =
                run(&program, &more, &environment, Some(limit), output_log, ended, noted).await;
            assert!(current.get().is_none());
            end
        })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn each_end_has_its_name() {
        let end = |body: &str| sh(&format!("#!/bin/sh\n{body}"), 0o755, LONG);
        assert_eq!(end("[ $1 = argument ]"), Ended::Exited(0));
        assert_eq!(end("exit 7").to_string(), "exit status 7");
        assert_eq!(end("kill -SEGV $$").to_string(), "killed by SIGSEGV");
        let said = end("echo first; printf 'no database\\r\\n\\n' >&2; exit 7").to_string();
        assert_eq!(said, "exit status 7: no database");
        assert_eq!(end("echo all is well"), Ended::Exited(0));
        // Without an interpreter, the shell runs it.
        assert_eq!(sh("exit $(( $# + 4 ))\n", 0o755, LONG), Ended::Exited(5));
        let not = sh("#!/nonexistent/interpreter\n", 0o755, LONG);
        assert_eq!(not.to_string(), "not started: No such file or directory (os error 2)");
        assert_eq!(
            sh("#!/bin/sh\n", 0o644, LONG).to_string(),
            "not started: Permission denied (os error 13)"
        );
    }

    #[test]
    fn the_group_is_gone_in_time() {
        let begin = std::time::Instant::now();
        let limit = Duration::from_millis(100);
        let end = sh(
            "#!/bin/sh\ntrap '' TERM\n(sleep 1000; true) &\nwhile :; do sleep 1000; done",
            0o755,
            limit,
        );
        assert_eq!(end, Ended::TimedOut(limit));
        assert_eq!(end.to_string(), "stopped after 0.1 s");
        assert!(begin.elapsed() < LONG);
    }

    /// A program that was left in the background and holds the output does not hold up anything. It ends when the
    /// file of the script is gone.
    #[test]
    fn what_stays_behind_is_not_waited_for() {
        let begin = std::time::Instant::now();
        assert_eq!(
            sh("#!/bin/sh\n(while [ -e $0 ]; do sleep 0.1; done) &\n", 0o755, LONG),
            Ended::Exited(0)
        );
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn lines_are_bounded_and_harmless() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw"), ["one"]);
        assert_eq!(lines.push(b"o\r\n\x1b[31m\xff\n"), ["two", "\\u{1b}[31m\u{fffd}"]);
        let long = [&[b'x'; 10_000][..], b"\n"].concat();
        assert_eq!(lines.push(&long), ["x".repeat(LINE)]);
        assert_eq!(lines.push(&b"\n".repeat(200)).len(), LINES - 4);
        assert_eq!(lines.finish(), Some("104 more lines".to_owned()));
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"no end"), [""; 0]);
        assert_eq!(lines.finish(), Some("no end".to_owned()));
    }
}
