//! Processes of which there must be enough (keepalived's `vrrp_track_process`).
//!
//! The kernel says who starts and ends (the process connector, linux/cn_proc.h), and a socket filter drops
//! what concerns threads, so that nobody wakes for them. Where the connector does not answer, in a network or PID
//! namespace that is not the initial one or without CAP_NET_ADMIN, `/proc` is read again and again instead.

mod connector;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;

use self::connector::{Connector, Event};
use super::{Report, Watch};
use crate::config::model::{ParamMatch, TrackProcess};
use crate::engine::time::Nanos;
use crate::engine::types::{Health, ObjectId};

/// How often `/proc` is read where nothing announces processes, if that is quick.
const PERIOD: Duration = Duration::from_secs(1);
/// Reading it takes at most this part of the time.
const SHARE: u32 = 50;
/// Characters of a process's name (`TASK_COMM_LEN`, linux/sched.h, without the final NUL).
const NAME: usize = 15;

/// Watches processes until the result is dropped.
/// Errors: no thread can be started.
pub fn watch(
    number: u64,
    processes: Vec<(ObjectId, TrackProcess)>,
    reports: mpsc::Sender<Report>,
) -> io::Result<Watch> {
    Watch::start("processes", move |stopped| {
        let watched = processes.into_iter().map(|(object, process)| Watched::new(object, process));
        let processes = Processes { watched: watched.collect(), reports };
        // What remains is that the engine's thread has ended.
        let _ = processes.run(number, &stopped);
    })
}

/// The engine's thread is gone.
struct Disconnected;

struct Watched {
    object: ObjectId,
    process: TrackProcess,
    /// Those that match.
    running: HashSet<u32>,
    /// What was reported.
    up: Option<bool>,
    /// When it will be reported that it is the other way round.
    due: Option<Instant>,
}

impl Watched {
    fn new(object: ObjectId, process: TrackProcess) -> Self {
        Self { object, process, running: HashSet::new(), up: None, due: None }
    }

    fn enough(&self) -> bool {
        let running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        (self.process.quorum..=self.process.quorum_max).contains(&running)
    }

    /// What is to be said now.
    fn changed(&mut self, now: Instant) -> Option<bool> {
        let enough = self.enough();
        if self.up == Some(enough) {
            self.due = None;
            return None;
        }
        let delay = match self.up {
            // What is found at the start needs no waiting.
            None => Nanos::ZERO,
            Some(true) => self.process.terminate_delay,
            Some(false) => self.process.fork_delay,
        };
        let due = *self.due.get_or_insert(now + Duration::from_nanos(delay.0));
        if now < due {
            return None;
        }
        self.up = Some(enough);
        self.due = None;
        self.up
    }

    /// Whether the command line of a process must be read to know whether it matches.
    fn needs_command_line(&self) -> bool {
        self.process.full_command || self.process.param_match.is_some()
    }

    fn matches(&self, name: &[u8], line: &[u8]) -> bool {
        let TrackProcess { command, parameters, param_match, full_command, .. } = &self.process;
        let mut words = line.split(|byte| *byte == 0);
        let first = words.next().unwrap_or(&[]);
        let named = if *full_command {
            first == command.as_bytes()
        } else {
            let command = command.as_bytes();
            name == &command[..command.len().min(NAME)]
        };
        let Some(how) = param_match.filter(|_| named) else { return named };
        // What stands behind the last NUL is no word.
        let mut words: Vec<&[u8]> = words.collect();
        words.pop();
        let wanted: Vec<&[u8]> = parameters.iter().map(String::as_bytes).collect();
        match (how, wanted.split_last()) {
            (ParamMatch::Exact, _) => words == wanted,
            (ParamMatch::Partial, _) => words.starts_with(&wanted),
            (ParamMatch::Initial, None) => true,
            (ParamMatch::Initial, Some((last, before))) => {
                words.starts_with(before)
                    && words.get(before.len()).is_some_and(|word| word.starts_with(last))
            }
        }
    }
}

struct Processes {
    watched: Vec<Watched>,
    reports: mpsc::Sender<Report>,
}

impl Processes {
    fn run(mut self, number: u64, stopped: &OwnedFd) -> Result<(), Disconnected> {
        // Before /proc is read, so that nothing is missed between the two.
        let mut connector = Connector::open()
            .inspect_err(|error| {
                log::info!("processes are looked for every second, because the kernel does not say: {error}");
            })
            .ok();
        let mut next = Instant::now() + self.scan();
        self.report_changes()?;
        self.report(Report::Complete(number))?;
        loop {
            let due = self.watched.iter().filter_map(|watched| watched.due);
            let polled = connector.is_none().then_some(next);
            let due = due.chain(polled).min();
            if !wait(due, connector.as_ref(), stopped) {
                return Ok(());
            }
            match connector.as_mut().map(Connector::read) {
                Some(Ok(events)) => events.into_iter().for_each(|event| self.take(event)),
                Some(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    next = Instant::now() + self.scan();
                }
                Some(Err(error)) => {
                    log::warn!("processes are looked for every second: {error}");
                    connector = None;
                }
                None if Instant::now() >= next => next = Instant::now() + self.scan(),
                None => {}
            }
            self.report_changes()?;
        }
    }

    fn report(&self, report: Report) -> Result<(), Disconnected> {
        self.reports.blocking_send(report).map_err(|_| Disconnected)
    }

    fn report_changes(&mut self) -> Result<(), Disconnected> {
        let now = Instant::now();
        for index in 0..self.watched.len() {
            let object = self.watched[index].object;
            if let Some(up) = self.watched[index].changed(now) {
                let health = if up { Health::Up } else { Health::Down };
                self.report(Report::Health(object, health))?;
            }
        }
        Ok(())
    }

    /// Looks at all processes, and says when that should be done again at the earliest.
    fn scan(&mut self) -> Duration {
        let begin = Instant::now();
        for watched in &mut self.watched {
            watched.running.clear();
        }
        let Ok(entries) = fs::read_dir("/proc") else { return PERIOD };
        for entry in entries.flatten() {
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.look(pid);
            }
        }
        PERIOD.max(begin.elapsed() * SHARE)
    }

    /// Looks at one process.
    fn look(&mut self, pid: u32) {
        // It may have ended meanwhile: then it has no name.
        let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        let mut line = None;
        for watched in &mut self.watched {
            let line = if watched.needs_command_line() {
                line.get_or_insert_with(|| {
                    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
                })
            } else {
                &Vec::new()
            };
            if !name.is_empty() && watched.matches(name, line) {
                watched.running.insert(pid);
            } else {
                watched.running.remove(&pid);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            // It is what its parent is, until it becomes another program.
            Event::Fork { parent, child } => {
                for watched in &mut self.watched {
                    if watched.running.contains(&parent) {
                        watched.running.insert(child);
                    }
                }
            }
            Event::Changed(pid) => self.look(pid),
            Event::Exit(pid) => {
                for watched in &mut self.watched {
                    watched.running.remove(&pid);
                }
            }
        }
    }
}

/// Waits until there is something to do; false when the thread is to end.
fn wait(due: Option<Instant>, connector: Option<&Connector>, stopped: &OwnedFd) -> bool {
    let timeout = match due {
        None => PollTimeout::NONE,
        Some(due) => {
            // Rounded up, or the last millisecond is spent turning.
            let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        }
    };
    let stopped = PollFd::new(stopped.as_fd(), PollFlags::POLLIN);
    let mut waiting = vec![stopped];
    waiting.extend(connector.map(|connector| PollFd::new(connector.as_fd(), PollFlags::POLLIN)));
    match poll(&mut waiting, timeout) {
        Ok(_) | Err(Errno::EINTR) => !waiting[0].any().unwrap_or(true),
        Err(error) => {
            log::error!("tracked processes are not watched any more: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn process(command: &str) -> TrackProcess {
        TrackProcess {
            name: "p".to_owned(),
            line: 1,
            command: command.to_owned(),
            parameters: Vec::new(),
            param_match: None,
            full_command: false,
            quorum: 1,
            quorum_max: u32::MAX,
            fork_delay: Nanos::ZERO,
            terminate_delay: Nanos::ZERO,
            weight: 1,
            reverse: false,
        }
    }

    #[test]
    fn names_and_parameters() {
        let matches = |process: &TrackProcess, name: &str, line: &str| {
            Watched::new(ObjectId(0), process.clone()).matches(name.as_bytes(), line.as_bytes())
        };
        assert!(matches(&process("bird"), "bird", ""));
        assert!(!matches(&process("bird"), "birdc", ""));
        assert!(matches(&process("a-very-long-name-indeed"), "a-very-long-nam", ""));
        let full = TrackProcess { full_command: true, ..process("/usr/sbin/bird") };
        assert!(matches(&full, "bird", "/usr/sbin/bird\0-f\0"));
        assert!(!matches(&full, "bird", "bird\0-f\0"));
        let with = |how, parameters: &[&str]| TrackProcess {
            param_match: Some(how),
            parameters: parameters.iter().map(|word| (*word).to_owned()).collect(),
            ..process("bird")
        };
        let line = "bird\0-f\0/etc/bird.conf\0";
        for (how, parameters, expected) in [
            (ParamMatch::Exact, &["-f", "/etc/bird.conf"][..], true),
            (ParamMatch::Exact, &["-f"], false),
            (ParamMatch::Exact, &[], false),
            (ParamMatch::Partial, &["-f"], true),
            (ParamMatch::Partial, &[], true),
            (ParamMatch::Partial, &["-"], false),
            (ParamMatch::Initial, &["-f", "/etc/"], true),
            (ParamMatch::Initial, &["-f", "/etc/bird.conf", "x"], false),
            (ParamMatch::Initial, &["-", "/etc/"], false),
        ] {
            assert_eq!(matches(&with(how, parameters), "bird", line), expected, "{how:?}");
        }
        assert!(matches(&with(ParamMatch::Exact, &[]), "bird", "bird\0"));
    }

    #[test]
    fn delays_and_quorum() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut watched = Watched::new(
            ObjectId(0),
            TrackProcess {
                quorum: 2,
                quorum_max: 3,
                fork_delay: Nanos::from_millis(100),
                terminate_delay: Nanos::from_millis(500),
                ..process("x")
            },
        );
        assert_eq!(watched.changed(at(0)), Some(false));
        watched.running.extend([1, 2]);
        assert_eq!((watched.changed(at(0)), watched.changed(at(99))), (None, None));
        assert_eq!(watched.changed(at(100)), Some(true));
        watched.running.extend([3, 4]);
        assert_eq!(watched.changed(at(200)), None);
        watched.running.remove(&4);
        assert_eq!((watched.changed(at(600)), watched.changed(at(900))), (None, None));
        watched.running.clear();
        assert_eq!((watched.changed(at(1000)), watched.changed(at(1500))), (None, Some(false)));
    }

    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Whichever way this host has to learn of it.
    #[test]
    fn a_process_comes_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join(format!("vu{}", std::process::id()));
        fs::copy("/bin/sleep", &program).unwrap();
        let name = program.file_name().unwrap().to_str().unwrap().to_owned();
        let (sender, mut reports) = super::super::channel();
        let full = TrackProcess {
            full_command: true,
            param_match: Some(ParamMatch::Partial),
            ..process(program.to_str().unwrap())
        };
        let _watch =
            watch(7, vec![(ObjectId(0), process(&name)), (ObjectId(1), full)], sender).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut next = || loop {
            let report =
                async { tokio::time::timeout(Duration::from_secs(20), reports.recv()).await };
            let report = runtime.block_on(report).expect("nothing is said");
            match report.expect("the thread has ended") {
                Report::Complete(_) => {}
                report @ (Report::Health(..) | Report::Bad(..)) => return report,
            }
        };
        let mut both = |health| {
            let mut said = [next(), next()];
            said.sort_by_key(|report| match report {
                Report::Health(object, _) => *object,
                Report::Bad(..) | Report::Complete(_) => ObjectId(9),
            });
            assert_eq!(said, [0, 1].map(|n| Report::Health(ObjectId(n), health)));
        };
        both(Health::Down);
        let child = Killed(Command::new(&program).arg("60").spawn().unwrap());
        both(Health::Up);
        drop(child);
        both(Health::Down);
    }
}
