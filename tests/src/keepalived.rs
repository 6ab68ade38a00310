//! keepalived as the other side.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Host, Log, Process, Result};

/// What its VRRP process prints last when it has loaded another configuration.
const RELOADED: &str = ": Reload complete";

/// A running keepalived; killed without a word on drop.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
    host: String,
    dir: PathBuf,
}

impl Keepalived {
    /// Starts it with this configuration.
    pub fn start(host: &Host, conf: &str) -> Result<Self> {
        let dir = host.dir("keepalived")?;
        let path = |name: &str| dir.join(name).display().to_string();
        write(&dir, host.name(), conf)?;
        let (conf, main, vrrp, check) =
            (path("conf"), path("main.pid"), path("vrrp.pid"), path("check.pid"));
        // A killed one leaves them, and the next one may take a dying process for a living one.
        for file in [&main, &vrrp, &check] {
            let _ = fs::remove_file(file);
        }
        // -G: where there is no system log, its messages would go to the console of the machine as well, and
        // a serial one takes longer for them than an election takes.
        let process = host.spawn(
            "keepalived",
            "keepalived",
            &["-n", "-D", "-l", "-G", "-P", "-f", &conf, "-p", &main, "-r", &vrrp, "-c", &check],
        )?;
        Ok(Self { process, host: host.name().into(), dir })
    }

    /// Gives it another configuration and SIGHUP; returns when it has loaded it.
    pub fn reload(&mut self, host: &Host, conf: &str) -> Result<()> {
        write(&self.dir, &self.host, conf)?;
        let what = format!("keepalived on {} has reloaded", self.host);
        self.process.hang_up(host, RELOADED, &what)
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The states of an instance in the order in which it entered them.
    pub fn states(&self, instance: &str) -> Vec<String> {
        // "Entering MASTER STATE", but "entering FAULT state" of what a reload finds.
        let prefix = format!("({instance}) ");
        let words = |line: &str| -> Option<String> {
            let words = line.split_once(&prefix)?.1;
            let state = words.strip_prefix("Entering ").or(words.strip_prefix("entering "))?;
            let (state, rest) = state.split_once(' ')?;
            rest.to_lowercase().starts_with("state").then(|| state.to_owned())
        };
        self.log().lines().iter().filter_map(|(_, line)| words(line)).collect()
    }

    /// Waits for an instance to be in a state (`MASTER`, `BACKUP`, `FAULT`).
    pub fn wait_state(
        &self,
        host: &Host,
        name: &str,
        state: &str,
        timeout: Duration,
    ) -> Result<()> {
        let what = format!("keepalived on {} has {name} in {state}", self.host);
        host.lab().wait_until(timeout, &what, || {
            Ok((self.states(name).last().map(String::as_str) == Some(state)).then_some(()))
        })
    }

    /// SIGKILL for all its processes.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill_tree()
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.terminate(Duration::from_secs(10)).map(drop)
    }
}

fn write(dir: &Path, host: &str, conf: &str) -> Result<()> {
    // It drops its own configuration when others may write to it, and complains about no router_id.
    let text = format!("global_defs {{\n    router_id {host}\n}}\n{conf}");
    fs::write(dir.join("conf"), text).map_err(Error::io("write keepalived.conf"))
}
