//! `cargo xtask test`: all tests, the privileged ones included.
//!
//! Every check runs even when an earlier one failed, and the last line sums them up.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{build, dist, kernels, setup};

/// The package whose tests need root.
const PRIVILEGED: &str = "vrrp-tests";
/// How many of them run at once. They wait most of the time, but for short times.
const THREADS: &str = "4";
/// No test binary takes this long, unless it hangs.
const LIMIT: Duration = Duration::from_secs(8 * 60);
/// How many tests of one binary that failed are tried once more: more of them are no accident.
const TRIED_AGAIN: usize = 3;
/// What the report of one that passed at its second try begins with.
const FLAKY: &str = "FLAKY";
/// Nor does a build on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Only tests whose name contains this; with --kernels, also only scripts
    filter: Option<String>,
    /// Only the tests in virtual machines, all of them, on these kernels (5.10, 6.1, 6.12, newest, arm64, all)
    #[arg(long, value_name = "KERNELS", value_delimiter = ',', num_args = 0..=1, default_missing_value = "all")]
    kernels: Option<Vec<String>>,
    /// Write what came of these kernels into docs/platforms.md
    #[arg(long, requires = "kernels", conflicts_with = "filter")]
    write_docs: bool,
}

/// How many checks went well, how many did not, and how many lacked something from outside that they need.
#[derive(Default)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Those of the passed ones that did so at their second try.
    flaky: u64,
}

impl Tally {
    /// One that went well.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0, flaky: 0 };
    /// One that did not.
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0, flaky: 0 };
    /// One that could not be tried.
    pub const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1, flaky: 0 };

    /// Whether there was something, and all of it went well.
    pub fn all_passed(&self) -> bool {
        self.passed > 0 && self.failed == 0 && self.skipped == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On a line before, so that the last one is the same whatever was skipped.
        if self.skipped > 0 {
            writeln!(f, "{} skipped: `SKIP` above says why", self.skipped)?;
        }
        if self.flaky > 0 {
            writeln!(f, "{} passed only when tried again: `{FLAKY}` above says which", self.flaky)?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.flaky += other.flaky;
    }
}

/// Runs the task.
pub fn test(args: &Args) -> Result<ExitCode> {
    vrrp_tests::interrupt_on_signals()?;
    let mut tally = Tally::default();
    if let Err(error) = all(args, &mut tally) {
        eprintln!("error: {error:#}");
        tally += Tally::FAILED;
    }
    if nix::unistd::geteuid().is_root() {
        // After a hang or a Ctrl-C; otherwise there is nothing.
        vrrp_tests::remove_stale();
    }
    println!("{tally}");
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all(args: &Args, tally: &mut Tally) -> Result<()> {
    setup::setup()?;
    if let Some(names) = &args.kernels {
        let daemon = build::daemon(false, None)?;
        let filter = args.filter.as_deref();
        *tally += kernels::test(names, kernels::Set::Full, filter, args.write_docs, &daemon)?;
        return Ok(());
    }
    let daemon = build::workspace().join("target/debug/vrrp-user");
    let environment = [
        ("VRRP_EBPF_OBJECT", build::object()?.into_os_string()),
        ("VRRP_USER_BIN", daemon.clone().into_os_string()),
    ];
    if args.filter.is_none() {
        *tally += check("formatting", cargo(&environment).args(["fmt", "--all", "--check"]))?;
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        *tally += check("clippy", cargo(&environment).args(clippy))?;
    }
    let binaries = binaries(&environment)?;
    if args.filter.is_none() {
        println!("== files of the packages");
        *tally += match dist::check(&daemon) {
            Ok(()) => Tally::PASSED,
            Err(error) => {
                eprintln!("error: {error:#}");
                Tally::FAILED
            }
        };
    }
    for binary in binaries {
        *tally += binary.run(&environment, args.filter.as_deref())?;
    }
    println!("== examples in the documentation");
    let mut command = cargo(&environment);
    command.args(["test", "--quiet", "--workspace", "--doc", "--"]).args(args.filter.as_deref());
    *tally += tests(&mut command, BUILD_LIMIT)?.0;
    if args.filter.is_none() {
        *tally += kernels::test(&["all".to_owned()], kernels::Set::Short, None, false, &daemon)?;
    }
    Ok(())
}

/// A check that passes or fails as a whole.
fn check(name: &str, command: &mut Command) -> Result<Tally> {
    println!("== {name}");
    let (status, _) = supervise(command, BUILD_LIMIT)?;
    Ok(if status.success() { Tally::PASSED } else { Tally::FAILED })
}

/// Something that cargo built and that runs tests.
struct Binary {
    name: String,
    /// As cargo calls it.
    target: String,
    path: PathBuf,
    directory: PathBuf,
    privileged: bool,
}

/// Builds all tests, and the daemon with them: each for itself would need its dependencies with other features, and
/// compile the largest of them twice.
fn binaries(environment: &[(&str, OsString)]) -> Result<Vec<Binary>> {
    println!("== building the daemon and the tests");
    let mut binaries =
        built(cargo(environment).args([
            "build", "--workspace", "--exclude", "vrrp-ebpf", "--lib", "--bins", "--tests",
        ]))?;
    // The quick ones first.
    binaries.sort_by(|a, b| (a.privileged, &a.name).cmp(&(b.privileged, &b.name)));
    Ok(binaries)
}

/// Builds some of the tests that need root, and returns their names and where they are.
/// Errors: they do not build.
pub fn binaries_of(names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let environment = [("VRRP_EBPF_OBJECT", build::object()?.into_os_string())];
    let mut command = cargo(&environment);
    command.args(["build", "--package", PRIVILEGED]);
    for name in names {
        command.args(["--test", name]);
    }
    let all = built(&mut command)?.into_iter();
    Ok(all.map(|binary| (binary.target, binary.path)).collect())
}

/// Runs a command of cargo that builds tests, and returns those.
fn built(command: &mut Command) -> Result<Vec<Binary>> {
    let output = command
        .args(["--message-format", "json"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if !output.status.success() {
        for message in &messages {
            eprint!("{}", message["message"]["rendered"].as_str().unwrap_or_default());
        }
        bail!("the tests do not build");
    }
    let binary = |message: &serde_json::Value| {
        let path = PathBuf::from(message["executable"].as_str()?);
        let manifest = PathBuf::from(message["manifest_path"].as_str()?);
        let directory = manifest.parent()?.to_owned();
        let package = directory.file_name()?.to_str()?;
        let target = message["target"]["name"].as_str()?;
        Some(Binary {
            name: format!("{package}: {target}"),
            target: target.to_owned(),
            privileged: message["package_id"].as_str()?.contains(PRIVILEGED),
            path,
            directory,
        })
    };
    let tests = messages.iter().filter(|message| message["profile"]["test"] == true);
    Ok(tests.filter_map(binary).collect())
}

impl Binary {
    fn run(&self, environment: &[(&str, OsString)], filter: Option<&str>) -> Result<Tally> {
        println!("== {}", self.name);
        let mut command = self.command(environment);
        command.args(filter);
        if !self.privileged {
            return Ok(tests(&mut command, LIMIT)?.0);
        }
        command.args(["--test-threads", THREADS]);
        let (mut tally, failed) = tests(&mut command, LIMIT)?;
        // A hang or a crash names no test, and is none that another try would excuse.
        if u64::try_from(failed.len())? == tally.failed && failed.len() <= TRIED_AGAIN {
            for name in failed {
                if self.passes_alone(environment, &name)? {
                    tally += Tally { passed: 1, flaky: 1, ..Tally::default() };
                    tally.failed -= 1;
                }
            }
        }
        Ok(tally)
    }

    /// Tries a test again that failed beside three others, now alone: what comes of load on this machine does not come
    /// twice, and a fault does.
    fn passes_alone(&self, environment: &[(&str, OsString)], name: &str) -> Result<bool> {
        println!("== {}: {name} again, alone", self.name);
        let (tally, _) = tests(self.command(environment).args(["--exact", name]), LIMIT)?;
        if tally.all_passed() {
            println!("{FLAKY} {}: {name} failed, and passed when it ran alone", self.name);
        }
        Ok(tally.all_passed())
    }

    fn command(&self, environment: &[(&str, OsString)]) -> Command {
        let mut command = if self.privileged && !nix::unistd::geteuid().is_root() {
            println!("These need root: sudo {}", self.path.display());
            let mut command = Command::new("sudo");
            for (name, value) in environment {
                let mut variable = OsString::from(format!("{name}="));
                variable.push(value);
                command.arg(variable);
            }
            command.arg(&self.path);
            command
        } else {
            let mut command = Command::new(&self.path);
            command.envs(environment.iter().map(|(name, value)| (name, value)));
            command
        };
        command.current_dir(&self.directory);
        command
    }
}

/// Runs something that prints the summaries of one or more test binaries; returns also the names of the tests that failed.
fn tests(command: &mut Command, limit: Duration) -> Result<(Tally, Vec<String>)> {
    let (status, lines) = supervise(command, limit)?;
    let mut tally = Tally::default();
    for one in lines.iter().filter_map(|line| summary(line)) {
        tally += one;
    }
    // They count as passed with those who know no better.
    let skipped = lines.iter().filter(|line| line.starts_with(vrrp_tests::SKIP));
    let skipped = u64::try_from(skipped.count())?.min(tally.passed);
    tally.passed -= skipped;
    tally.skipped += skipped;
    // It hung or crashed, so that it could not count.
    if !status.success() && tally.failed == 0 {
        tally += Tally::FAILED;
    }
    Ok((tally, lines.iter().filter_map(|line| failed_test(line)).collect()))
}

/// Reads the line of one test that failed: `test a_test ... FAILED`.
fn failed_test(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned())
}

/// Reads the last line of a test binary: `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn summary(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |word: &str| {
        let part = rest.split([';', '.']).find(|part| part.trim().ends_with(word))?;
        part.trim().strip_suffix(word)?.trim().parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, ..Tally::default() })
}

/// Runs a command to its end, showing and returning the lines that it prints; ends it when time is
/// over or on Ctrl-C.
/// Errors: it cannot be run, or was ended by Ctrl-C.
pub fn supervise(command: &mut Command, limit: Duration) -> Result<(ExitStatus, Vec<String>)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let stdout = child.stdout.take().context("no pipe to a child")?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
            println!("{line}");
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + limit;
    let mut lines = Vec::new();
    loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            // Every writer of the pipe has closed it.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let interrupted = vrrp_tests::interrupted();
        if interrupted || Instant::now() > end {
            stop(&mut child)?;
            if interrupted {
                bail!("interrupted");
            }
            eprintln!("ended after {limit:?}: {command:?}");
            break;
        }
    }
    let status = child.wait().context("cannot wait for a child")?;
    if vrrp_tests::interrupted() {
        bail!("interrupted");
    }
    Ok((status, lines))
}

/// SIGTERM, which sudo passes on, and SIGKILL for those who do not listen.
fn stop(child: &mut Child) -> Result<()> {
    // Linux limits process IDs to 2^22.
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // It may have ended meanwhile, and is not reaped before we look.
        let _ = kill(pid, signal);
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            if child.try_wait().context("cannot wait for a child")?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

fn cargo(environment: &[(&str, OsString)]) -> Command {
    let mut command = build::cargo();
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests() {
        assert_eq!(failed_test("test a::test ... FAILED").as_deref(), Some("a::test"));
        assert_eq!(failed_test("test a::test ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 0 passed; 1 failed"), None);
    }

    #[test]
    fn what_passed_at_the_second_try_is_said_before_the_last_line() {
        let tally = Tally { passed: 3, flaky: 1, ..Tally::default() };
        let text = tally.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.last(), Some(&"3 passed, 0 failed"));
        assert!(lines[0].starts_with("1 passed only when tried again"), "{text}");
    }

    #[test]
    fn summaries() {
        let tally = summary(
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; \
             finished in 1.23s",
        )
        .unwrap();
        assert_eq!((tally.passed, tally.failed), (12, 3));
        let tally = summary("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured").unwrap();
        assert_eq!((tally.passed, tally.failed), (0, 0));
        assert!(summary("test a_test ... ok").is_none());
    }
}
