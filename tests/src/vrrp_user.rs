//! Our own daemon, as the binary that users start.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Error, Host, Log, Process, Result, pause};

/// What it prints last when it has loaded another configuration.
const RELOADED: &str = "INFO  reloaded ";

/// How long the line of a transition is waited for that has happened.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// How long its first line is waited for: it may be told to say nothing.
const FIRST_WORDS: Duration = Duration::from_secs(2);

/// A running `vrrp-user run`; killed without a word on drop.
#[derive(Debug)]
pub struct VrrpUser {
    process: Process,
    host: String,
    instance: String,
    conf: PathBuf,
}

impl VrrpUser {
    /// The binary: `VRRP_USER_BIN`, else the one in the directory of the running executable or above
    /// (cargo puts tests into `target/debug/deps`).
    pub fn binary() -> Result<PathBuf> {
        if let Some(path) = env::var_os("VRRP_USER_BIN") {
            return Ok(path.into());
        }
        let own = env::current_exe().map_err(Error::io("find the running executable"))?;
        own.ancestors()
            .skip(1)
            .take(2)
            .map(|dir| dir.join("vrrp-user"))
            .find(|path| path.is_file())
            .ok_or_else(|| Error::Unexpected("no vrrp-user binary: run `cargo xtask build`".into()))
    }

    /// The instance name of the daemon on a host.
    pub fn instance(host: &Host) -> String {
        format!("{}-{}", host.lab().name(), host.name())
    }

    /// Starts it with a configuration in keepalived's grammar.
    pub fn start(host: &Host, conf: &str) -> Result<Self> {
        Self::start_with(host, "vrrp.conf", conf)
    }

    /// Starts it with a configuration file of this name, whose ending tells the grammar.
    pub fn start_with(host: &Host, file: &str, conf: &str) -> Result<Self> {
        Self::start_with_options(host, file, conf, &[])
    }

    /// As [`VrrpUser::start_with`], with more options on the command line.
    pub fn start_with_options(
        host: &Host,
        file: &str,
        conf: &str,
        options: &[&str],
    ) -> Result<Self> {
        Self::start_under(host, &[], file, conf, options)
    }

    /// As [`VrrpUser::start_with_options`], by a command that replaces itself with the one that follows its arguments,
    /// such as unshare(1).
    pub fn start_under(
        host: &Host,
        command: &[&str],
        file: &str,
        conf: &str,
        options: &[&str],
    ) -> Result<Self> {
        let path = host.dir("vrrp-user")?.join(file);
        fs::write(&path, conf).map_err(Error::io(format!("write {file}")))?;
        let bpffs = host.lab().bpffs();
        let conf = path.clone();
        let (path, bpffs) = (path.display().to_string(), bpffs.display().to_string());
        let instance = Self::instance(host);
        let binary = Self::binary()?.display().to_string();
        let run = [&binary, "run", "--config", &path, "--instance", &instance, "--bpffs", &bpffs];
        let line = [command, &run, options].concat();
        let process = host.spawn("vrrp-user", line[0], &line[1..])?;
        // Whoever is started after it also begins after it, so that it is known which of two takes over first. One that
        // has ended may still have words on their way.
        let spawned = Instant::now();
        while process.log().lines().is_empty() && spawned.elapsed() < FIRST_WORDS {
            pause(Duration::from_millis(5))?;
        }
        Ok(Self { process, host: host.name().into(), instance, conf })
    }

    /// Gives it another configuration, which it reads when it is told to.
    pub fn rewrite(&self, conf: &str) -> Result<()> {
        fs::write(&self.conf, conf).map_err(Error::io("write the configuration"))
    }

    /// Gives it another configuration and SIGHUP; returns when it has loaded it.
    pub fn hang_up(&mut self, host: &Host, conf: &str) -> Result<()> {
        self.rewrite(conf)?;
        let what = format!("vrrp-user on {} has reloaded", self.host);
        self.process.hang_up(host, RELOADED, &what)
    }

    /// `vrrp-user reload --json`: what came of it, and the exit code.
    pub fn reload(&self, host: &Host, args: &[&str]) -> Result<(Value, Option<i32>)> {
        let mut command = host.namespace().command(&Self::binary()?.display().to_string());
        command.args(["reload", "--json", "--instance", &self.instance]).args(args);
        let output = command.output().map_err(Error::io("run vrrp-user reload"))?;
        let report = serde_json::from_slice(&output.stdout).map_err(|error| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Error::Unexpected(format!("reload: not JSON: {error}\n{text}"))
        })?;
        Ok((report, output.status.code()))
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A subcommand for the daemon of a host and its maps.
    ///
    /// # Errors
    /// There is no binary.
    pub fn command(host: &Host, subcommand: &str) -> Result<Command> {
        let mut command = host.namespace().command(&Self::binary()?.display().to_string());
        command.args([subcommand, "--instance", &Self::instance(host), "--bpffs"]);
        command.arg(host.lab().bpffs());
        Ok(command)
    }

    /// `vrrp-user cleanup` on a host: its exit code, and what it says.
    pub fn cleanup(host: &Host) -> Result<(Option<i32>, String)> {
        let output =
            Self::command(host, "cleanup")?.output().map_err(Error::io("run vrrp-user cleanup"))?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// `vrrp-user fence`, also of a daemon that is dead.
    ///
    /// # Errors
    /// Those of the command.
    pub fn fence(host: &Host, args: &[&str]) -> Result<String> {
        let (binary, instance) = (Self::binary()?.display().to_string(), Self::instance(host));
        let bpffs = host.lab().bpffs().display().to_string();
        let options = ["fence", "--instance", &instance, "--bpffs", &bpffs];
        host.namespace().run(&binary, &[&options, args].concat())
    }

    /// `vrrp-user status --json`.
    pub fn status(&self, host: &Host) -> Result<Value> {
        self.ask(host, &["status", "--instance", &self.instance, "--json"])
    }

    /// `vrrp-user status --interface PATTERN --json`.
    pub fn status_on(&self, host: &Host, pattern: &str) -> Result<Value> {
        self.ask(host, &["status", "--instance", &self.instance, "--interface", pattern, "--json"])
    }

    /// `vrrp-user stats --json`.
    pub fn stats(&self, host: &Host) -> Result<Value> {
        let bpffs = host.lab().bpffs().display().to_string();
        self.ask(host, &["stats", "--instance", &self.instance, "--bpffs", &bpffs, "--json"])
    }

    /// `vrrp-user stats`.
    pub fn stats_table(&self, host: &Host) -> Result<String> {
        self.stats_with(host, &[])
    }

    /// `vrrp-user stats OPTIONS`.
    pub fn stats_with(&self, host: &Host, options: &[&str]) -> Result<String> {
        let bpffs = host.lab().bpffs().display().to_string();
        let args = ["stats", "--instance", &self.instance, "--bpffs", &bpffs];
        host.namespace().run(&Self::binary()?.display().to_string(), &[&args[..], options].concat())
    }

    /// `vrrp-user doctor --json` on a host, where a daemon may run or not: what it finds, and its exit code.
    pub fn doctor(host: &Host, args: &[&str]) -> Result<(Value, Option<i32>)> {
        Self::doctor_under(host, &[], args)
    }

    /// The same, started by a command ([`VrrpUser::start_under`]).
    pub fn doctor_under(
        host: &Host,
        command: &[&str],
        args: &[&str],
    ) -> Result<(Value, Option<i32>)> {
        let (bpffs, instance) = (host.lab().bpffs().display().to_string(), Self::instance(host));
        let binary = Self::binary()?.display().to_string();
        let doctor = [&binary, "doctor", "--json", "--instance", &instance, "--bpffs", &bpffs];
        let line = [command, &doctor, args].concat();
        let mut command = host.namespace().command(line[0]);
        command.args(&line[1..]);
        let output = command.output().map_err(Error::io("run vrrp-user doctor"))?;
        let report = serde_json::from_slice(&output.stdout).map_err(|error| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Error::Unexpected(format!("doctor: not JSON: {error}\n{text}"))
        })?;
        Ok((report, output.status.code()))
    }

    fn ask(&self, host: &Host, args: &[&str]) -> Result<Value> {
        let text = host.namespace().run(&Self::binary()?.display().to_string(), args)?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("{args:?} is not JSON: {error}\n{text}")))
    }

    /// `vrrp-user status NAME --json`.
    pub fn detail(&self, host: &Host, name: &str) -> Result<Value> {
        self.ask(host, &["status", name, "--instance", &self.instance, "--json"])
    }

    /// What `status` says of one router.
    pub fn router(&self, host: &Host, name: &str) -> Result<Value> {
        find(&self.status(host)?, name)
    }

    /// What `stats` says of one router.
    pub fn router_stats(&self, host: &Host, name: &str) -> Result<Value> {
        find(&self.stats(host)?, name)
    }

    /// How many packets got this verdict, by its name in `vrrp_common::reason`.
    pub fn reason(&self, host: &Host, name: &str) -> Result<u64> {
        let stats = self.stats(host)?;
        stats["reasons"][name]
            .as_u64()
            .ok_or_else(|| Error::Unexpected(format!("stats has no reason {name}: {stats}")))
    }

    /// The state of one router, as `status` names it.
    pub fn state(&self, host: &Host, name: &str) -> Result<String> {
        Ok(self.router(host, name)?["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for a router to be in a state.
    pub fn wait_state(
        &mut self,
        host: &Host,
        name: &str,
        state: &str,
        timeout: Duration,
    ) -> Result<()> {
        let what = format!("vrrp-user on {} has {name} in {state}", self.host);
        let mut last = String::new();
        host.lab()
            .wait_until(timeout, &what, || {
                if let Some(status) = self.process.ended()? {
                    let log = self.log().tail(40);
                    return Err(Error::Unexpected(format!("{what}: it ended, {status}\n{log}")));
                }
                // Until it listens, the question fails.
                last = self.state(host, name).unwrap_or_else(|error| error.to_string());
                Ok((last == state).then_some(()))
            })
            .map_err(|error| match error {
                Error::Timeout { what, after, logs } => {
                    Error::Timeout { what: format!("{what} (last: {last})"), after, logs }
                }
                other @ (Error::Io { .. }
                | Error::Command { .. }
                | Error::Unexpected(_)
                | Error::Interrupted) => other,
            })?;
        // The line of it may still be on its way; one among many is not written at all.
        let asked = Instant::now();
        let becomes = format!("-> {state}: ");
        let is_it = |line: &str| line.contains(&becomes) && line.contains(&format!("{name} ("));
        while !self.log().lines().iter().any(|(_, line)| is_it(line))
            && asked.elapsed() < ON_ITS_WAY
        {
            pause(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill_tree()
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.terminate(Duration::from_secs(10))
    }

    /// Stops the process for a while, as a hypervisor does with a machine.
    pub fn freeze(&mut self, duration: Duration) -> Result<()> {
        self.while_frozen(|| pause(duration))?
    }

    /// Does something while it stands still, and lets it go on whatever becomes of that.
    pub fn while_frozen<T>(&mut self, act: impl FnOnce() -> T) -> Result<T> {
        self.process.signal(Signal::SIGSTOP)?;
        let done = act();
        self.process.signal(Signal::SIGCONT)?;
        Ok(done)
    }
}

/// The entry of `routers` with this name.
fn find(answer: &Value, name: &str) -> Result<Value> {
    answer["routers"]
        .as_array()
        .and_then(|routers| routers.iter().find(|router| router["name"] == name))
        .cloned()
        .ok_or_else(|| Error::Unexpected(format!("no router {name} in {answer}")))
}
