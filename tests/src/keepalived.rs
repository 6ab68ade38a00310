//! keepalived as the other side.

use std::fs;
use std::time::Duration;

use crate::{Error, Host, Log, Process, Result};

/// A running keepalived; killed without a word on drop.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
    host: String,
}

impl Keepalived {
    /// Starts it with this configuration.
    pub fn start(host: &Host, conf: &str) -> Result<Self> {
        let dir = host.dir("keepalived")?;
        let path = |name: &str| dir.join(name).display().to_string();
        // It drops its own configuration when others may write to it, and complains about no router_id.
        let text = format!("global_defs {{\n    router_id {}\n}}\n{conf}", host.name());
        fs::write(path("conf"), text).map_err(Error::io("write keepalived.conf"))?;
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
        Ok(Self { process, host: host.name().into() })
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The states of an instance in the order in which it entered them.
    pub fn states(&self, instance: &str) -> Vec<String> {
        let prefix = format!("({instance}) Entering ");
        self.log()
            .lines()
            .iter()
            .filter_map(|(_, line)| line.split_once(&prefix)?.1.split_once(" STATE"))
            .map(|(state, _)| state.to_owned())
            .collect()
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
