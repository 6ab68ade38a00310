//! A daemon of another version, whose maps have another layout, in the place of one that has virtual MAC addresses: it takes
//! them up while its host is master, and no two hosts answer by them at any moment.

use std::path::PathBuf;

use super::pretending::pretending;
use super::{Daemon, Kind, Process, ROUTERS, Result, STEP, Stage, VIPS, VrrpUser, Wire, all_are};
use vrrp_common::maps::ABI_VERSION;

/// This program, as one of another version.
fn other_version(stage: &Stage) -> Result<PathBuf> {
    let what = format!(r#"{{"version":"9.9.9","abi_version":{}}}"#, ABI_VERSION - 1);
    pretending(&stage.lab, "other", &what)
}

/// A client that asks each address all the time, by the virtual MAC address, which the switch floods to both hosts.
struct Asked([Process; 2]);

impl Asked {
    fn start(stage: &Stage) -> Result<Self> {
        let ask = |vip: &str| stage.client.spawn("ping", "ping", &["-n", "-O", "-i", "0.02", vip]);
        Ok(Self([ask(VIPS[0])?, ask(VIPS[1])?]))
    }

    /// How many answers came; none came twice.
    fn answers(&self) -> [usize; 2] {
        self.0.each_ref().map(|ping| {
            let lines = ping.log().lines();
            assert!(!lines.iter().any(|(_, line)| line.contains("DUP!")), "{}", ping.log().text());
            lines.iter().filter(|(_, line)| line.contains("bytes from")).count()
        })
    }

    /// More of them come.
    fn go_on(&self, stage: &Stage, what: &str) -> Result<()> {
        let before = self.answers();
        stage.lab.wait_until(STEP, what, || {
            let now = self.answers();
            Ok((now[0] > before[0] + 20 && now[1] > before[1] + 20).then_some(()))
        })
    }
}

/// The master is replaced while it runs: nobody notices, and the backup takes nothing in.
#[test]
fn another_layout_goes_on_with_it() -> Result<()> {
    let mut stage = Stage::new([Kind::VrrpUser; 2], "use_vmac")?;
    stage.learn(Kind::VrrpUser)?;
    stage.flood()?;
    let wires = [Wire::tap(&stage.lab, &stage.hosts[0])?, Wire::tap(&stage.lab, &stage.hosts[1])?];
    let asked = Asked::start(&stage)?;
    asked.go_on(&stage, "the master answers")?;
    let other = other_version(&stage)?.display().to_string();
    let ours = VrrpUser::binary()?.display().to_string();
    for host in [1, 0] {
        let instance = VrrpUser::instance(&stage.hosts[host]);
        let upgrade = ["upgrade", "--instance", &instance, "--binary", &other];
        stage.hosts[host].namespace().run(&ours, &upgrade)?;
        let Daemon::VrrpUser(daemon) = &stage.daemons[host] else { unreachable!() };
        assert_eq!(daemon.status(&stage.hosts[host])?["version"], "9.9.9");
        asked.go_on(&stage, "it answers after the upgrade")?;
    }
    assert_eq!((stage.takes_in(1)?, stage.takes_in(2)?), ([true; 2], [false; 2]));
    wires[0].check();
    wires[1].is_silent();
    let [first, second] = &mut stage.daemons;
    for (daemon, (host, state)) in [first, second].into_iter().zip([(0, "MASTER"), (1, "BACKUP")]) {
        let Daemon::VrrpUser(daemon) = daemon else { unreachable!() };
        for router in ROUTERS {
            let stats = daemon.router_stats(&stage.hosts[host], router)?;
            assert_eq!(stats["state"], state, "{stats}");
            assert_eq!(stats["became_master"], 1 - host, "{stats}");
        }
    }
    // The new one gives it up as the old one would have.
    stage.daemons[0].stop()?;
    ROUTERS.iter().try_for_each(|router| {
        stage.daemons[1].wait_state(&stage.hosts[1], router, "MASTER", STEP)
    })?;
    asked.go_on(&stage, "the backup answers")?;
    assert_eq!((stage.takes_in(1)?, stage.takes_in(2)?), ([false; 2], [true; 2]));
    Ok(())
}

/// The master is killed, and one of another version is started: it adopts nothing, and listens first. Nobody answers for the
/// addresses with another MAC address meanwhile, and never both hosts.
#[test]
fn another_layout_is_not_adopted() -> Result<()> {
    let mut stage = Stage::new([Kind::VrrpUser; 2], "use_vmac")?;
    stage.learn(Kind::VrrpUser)?;
    stage.flood()?;
    let other = other_version(&stage)?.display().to_string();
    let wires = [Wire::tap(&stage.lab, &stage.hosts[0])?, Wire::tap(&stage.lab, &stage.hosts[1])?];
    let asked = Asked::start(&stage)?;
    asked.go_on(&stage, "the master answers")?;
    stage.daemons[0].kill()?;
    let (host, conf) = (&stage.hosts[0], super::conf(100, "use_vmac"));
    // It is named in the place of this version.
    let instead = ["sh", "-c", "shift; exec $0 \"$@\"", &other];
    let mut first = VrrpUser::start_under(host, &instead, "vrrp.conf", &conf, &[])?;
    all_are(&mut first, host, "BACKUP")?;
    let why = format!("made by another version of the daemon (layout {ABI_VERSION}");
    assert!(first.log().contains(&why), "{}", first.log().text());
    let status = first.status(host)?;
    let counters = &status["counters"];
    assert_eq!(
        (&counters["adopted"], &counters["not_adopted"]),
        (&0.into(), &1.into()),
        "{status}"
    );
    assert_eq!(stage.takes_in(1)?, [false; 2]);
    all_are(&mut first, host, "MASTER")?;
    ROUTERS.iter().try_for_each(|router| {
        stage.daemons[1].wait_state(&stage.hosts[1], router, "BACKUP", STEP)
    })?;
    asked.go_on(&stage, "the new one answers")?;
    assert_eq!((stage.takes_in(1)?, stage.takes_in(2)?), ([true; 2], [false; 2]));
    wires.iter().for_each(Wire::check);
    Ok(())
}
