//! A daemon that is killed, and the one that is started after it: within the lease it goes on where the other one stopped, and
//! nobody notices; later it begins as if there had been none.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{Host, Instance, Lab, Process, Result, Tcpdump, VrrpUser};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const STEP: Duration = Duration::from_secs(20);
const ROUTER: &str = "VI_1";
const VIP: &str = "10.0.0.100";

/// A master of ours, whose scripts are noted, and a backup.
struct Stage {
    lab: Lab,
    hosts: [Host; 2],
    conf: String,
    notes: PathBuf,
    master: VrrpUser,
    backup: Daemon,
    /// What becomes of addresses, routes and rules of the master.
    monitor: Process,
    wire: Tcpdump,
}

impl Stage {
    fn new(kind: Kind, extra: &str) -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
        let dir = hosts[0].dir("notes")?;
        let (script, notes) = (dir.join("note"), dir.join("notes"));
        fs::write(&script, format!("#!/bin/sh\necho \"$*\" >> {}\n", notes.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        let script = script.display();
        let ours = Instance::new(51, 100, "10.0.0.100/24")
            .with(&format!("notify {script}"))
            .with("virtual_routes {\n198.51.100.0/24 via 10.0.0.2\n}")
            .with(extra)
            .to_string();
        let conf = format!(
            "global_defs {{\nscript_user root\nenable_script_security\nstartup_script {script}\n}}\n{ours}"
        );
        let mut master = VrrpUser::start(&hosts[0], &conf)?;
        master.wait_state(&hosts[0], ROUTER, "MASTER", STEP)?;
        let mut backup =
            kind.start(&hosts[1], &Instance::new(51, 50, "10.0.0.100/24").to_string())?;
        backup.wait_state(&hosts[1], ROUTER, "BACKUP", STEP)?;
        lab.wait_until(STEP, "the scripts have run", || {
            Ok(fs::read_to_string(&notes).is_ok_and(|text| text.contains("MASTER")).then_some(()))
        })?;
        let monitor = hosts[0].spawn("monitor", "ip", &["monitor", "address", "route", "rule"])?;
        let wire = Tcpdump::start(&hosts[1])?;
        Ok(Self { lab, hosts, conf, notes, master, backup, monitor, wire })
    }

    fn kill(&mut self) -> Result<()> {
        self.master.kill()
    }

    /// Another daemon in the place of the one that was killed.
    fn restart(&mut self) -> Result<()> {
        self.master = VrrpUser::start(&self.hosts[0], &self.conf)?;
        Ok(())
    }

    fn counter(&self, name: &str) -> Result<u64> {
        Ok(self.master.status(&self.hosts[0])?["counters"][name].as_u64().unwrap_or_default())
    }

    fn router(&self) -> Result<Value> {
        self.master.router_stats(&self.hosts[0], ROUTER)
    }
}

/// Nobody notices that a master is killed and started again: neither the backup nor the kernel nor scripts.
fn goes_on(kind: Kind) -> Result<()> {
    let mut stage = Stage::new(kind, "")?;
    let notes = fs::read_to_string(&stage.notes).unwrap();
    let (before, since) = (stage.router()?, Instant::now());
    stage.kill()?;
    stage.restart()?;
    stage.master.wait_state(&stage.hosts[0], ROUTER, "MASTER", STEP)?;
    let adopted = Instant::now();
    stage.lab.wait_until(STEP, "advertisements go on", || {
        Ok((stage.wire.adverts(adopted).len() >= 3).then_some(()))
    })?;
    let log = stage.master.log().text();
    assert!(log.contains("INIT -> MASTER: adopted"), "{log}");
    let adverts = stage.wire.adverts(since);
    assert!(
        adverts.iter().all(|it| (&*it.source, it.priority) == ("10.0.0.1", 100)),
        "{adverts:?}"
    );
    let gap = adverts.windows(2).map(|two| two[1].at - two[0].at).max();
    eprintln!("longest gap: {gap:?}");
    assert_eq!(stage.backup.state(&stage.hosts[1], ROUTER), "BACKUP");
    assert!(!stage.backup.log().text().contains("took over"), "{}", stage.backup.log().text());
    assert_eq!(stage.monitor.log().text(), "", "{log}");
    assert_eq!(fs::read_to_string(&stage.notes).unwrap(), notes);
    let after = stage.router()?;
    for counter in ["became_master", "transitions"] {
        assert_eq!(after[counter], before[counter], "{counter}");
    }
    assert!(after["adverts_sent"].as_u64() > before["adverts_sent"].as_u64(), "{before} {after}");
    assert_eq!(stage.counter("adopted")?, 1);
    // It is a master like any other.
    assert!(stage.master.stop()?.success());
    stage.backup.wait_state(&stage.hosts[1], ROUTER, "MASTER", STEP)?;
    assert!(!stage.hosts[0].has_address(VIP)?);
    Ok(())
}

#[test]
fn keepalived_does_not_notice_a_hot_restart() -> Result<()> {
    goes_on(Kind::Keepalived)
}

#[test]
fn a_backup_of_ours_does_not_notice_a_hot_restart() -> Result<()> {
    goes_on(Kind::VrrpUser)
}
