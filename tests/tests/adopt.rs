//! A daemon that is killed, and the one that is started after it: within the lease it goes on where the other one stopped, and
//! nobody notices; later it begins as if there had been none.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;
use vrrp_common::maps::Control;
use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{
    Frr, Host, Instance, Lab, MemoryCgroup, Pair, Process, Result, Tcpdump, VrrpUser, pause, skip,
};

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

/// Beside FRR, which has a router of each family: as a master, and then as a backup.
#[test]
fn frr_does_not_notice_a_hot_restart() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let routers = [(ROUTER, "10.0.0.100"), ("VI_6", "fe80::100")];
    let conf = |priority| {
        routers
            .map(|(name, vip)| Instance::new(51, priority, vip).v3("1").name(name).to_string())
            .concat()
    };
    let wait = |ours: &mut VrrpUser, state: &str| {
        routers.iter().try_for_each(|(name, _)| ours.wait_state(&a, name, state, STEP))
    };
    let mut ours = VrrpUser::start(&a, &conf(150))?;
    wait(&mut ours, "MASTER")?;
    let vips = routers.map(|(_, vip)| vip.parse().unwrap());
    let mut theirs = Frr::start(&b, 51, 100, &vips, 100)?;
    theirs.wait_state(&b, 51, "Backup", STEP)?;
    for state in ["MASTER", "BACKUP"] {
        let theirs_state = if state == "MASTER" { "Backup" } else { "Master" };
        if state == "BACKUP" {
            assert!(!theirs.log().contains("Backup -> Master"), "{}", theirs.log().text());
            assert!(ours.stop()?.success());
            ours = VrrpUser::start(&a, &conf(50))?;
            wait(&mut ours, state)?;
            theirs.wait_state(&b, 51, theirs_state, STEP)?;
            lab.wait_until(STEP, "FRR is heard", || {
                let heard = |(name, _)| Ok(!ours.router(&a, name)?["master"].is_null());
                let heard: Result<Vec<bool>> = routers.into_iter().map(heard).collect();
                Ok((!heard?.contains(&false)).then_some(()))
            })?;
        }
        let before = theirs.log().text().matches(" -> ").count();
        ours.kill()?;
        let conf = conf(if state == "MASTER" { 150 } else { 50 });
        ours = VrrpUser::start(&a, &conf)?;
        wait(&mut ours, state)?;
        assert!(ours.log().contains("adopting what daemon "), "{}", ours.log().text());
        // More than either waits for the other one.
        pause(Duration::from_secs(4))?;
        for (name, _) in routers {
            let stats = ours.router_stats(&a, name)?;
            assert_eq!((&stats["state"], &stats["fenced"]), (&state.into(), &false.into()));
        }
        assert_eq!(theirs.state(&b, 51)?, theirs_state);
        let log = theirs.log().text();
        assert_eq!(log.matches(" -> ").count(), before, "{log}");
    }
    theirs.kill()?;
    wait(&mut ours, "MASTER")
}

/// Who comes too late, listens, and touches nothing that the new master has.
#[test]
fn after_the_lease_it_is_a_backup() -> Result<()> {
    let mut stage = Stage::new(Kind::VrrpUser, "nopreempt")?;
    stage.kill()?;
    stage.backup.wait_state(&stage.hosts[1], ROUTER, "MASTER", STEP)?;
    let since = Instant::now();
    stage.restart()?;
    stage.master.wait_state(&stage.hosts[0], ROUTER, "BACKUP", STEP)?;
    stage.lab.wait_until(STEP, "it follows the new master", || {
        Ok((stage.master.router(&stage.hosts[0], ROUTER)?["master"]["address"] == "10.0.0.2")
            .then_some(()))
    })?;
    let log = stage.master.log().text();
    assert!(log.contains("INIT -> BACKUP: started: listens for a master; not adopted: "), "{log}");
    assert_eq!(stage.counter("not_adopted")?, 1);
    assert_eq!(stage.backup.state(&stage.hosts[1], ROUTER), "MASTER");
    let adverts = stage.wire.adverts(since);
    assert!(adverts.iter().all(|advert| advert.source == "10.0.0.2"), "{adverts:?}");
    // The address that it found goes as soon as the new master is heard.
    stage.lab.wait_until(STEP, "the stale address is gone", || {
        Ok((!stage.hosts[0].has_address(VIP)?).then_some(()))
    })?;
    Ok(())
}

/// A backup hears its master as before, although nothing that the master says has changed.
#[test]
fn a_backup_that_goes_on_hears_its_master() -> Result<()> {
    let lab = Lab::new()?;
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").v3("0.2").to_string();
    let Pair { b, on_a: _on_a, mut on_b, .. } = Pair::start(&lab, ROUTER, conf)?;
    // Its master is known and acknowledged.
    lab.wait_until(STEP, "the master is heard", || {
        Ok((on_b.router_stats(&b, ROUTER)?["adverts_received"].as_u64() >= Some(5)).then_some(()))
    })?;
    on_b.kill()?;
    on_b = VrrpUser::start(&b, &conf(100))?;
    on_b.wait_state(&b, ROUTER, "BACKUP", STEP)?;
    assert!(on_b.log().contains("adopting what daemon "), "{}", on_b.log().text());
    lab.wait_until(STEP, "the master is heard again", || {
        Ok((on_b.router(&b, ROUTER)?["master"]["address"] == "10.0.0.1").then_some(()))
    })?;
    // More than it would wait for a master that is dead.
    pause(Duration::from_secs(2))?;
    let stats = on_b.router_stats(&b, ROUTER)?;
    assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));
    Ok(())
}

/// A router that is master at once, to be killed.
const OWNER: &str = "vrrp_instance VI_1 {\nstate BACKUP\ninterface eth0\nvirtual_router_id 51\npriority 255\n\
                     advert_int 1\nvirtual_ipaddress {\n10.0.0.100/24\n}\n}\n";

/// Pins that are not to be trusted: the daemon begins without them, says why, and works.
#[test]
fn pins_that_cannot_be_used_are_refused() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&host));
    let control = pins.join("CONTROL").display().to_string();
    let write = |value: &str| {
        let mut words =
            vec!["map", "update", "pinned", &control, "key", "0", "0", "0", "0", "value", "hex"];
        words.extend(value.split(' '));
        vrrp_tests::run(std::process::Command::new("bpftool").args(words)).map(drop)
    };
    let zeros = |count: usize| vec!["00"; count].join(" ");
    let size = size_of::<Control>();
    type Harm<'a> = &'a dyn Fn() -> Result<()>;
    let harms: [(&str, Harm<'_>); 6] = [
        ("INFO is missing among them", &|| {
            fs::remove_file(pins.join("INFO")).unwrap();
            Ok(())
        }),
        ("they belong to the user 65534", &|| {
            // As if somebody else had claimed the address in the last moment of time.
            let leases = pins.join("LEASES").display().to_string();
            let lease = format!("01 {} {} {}", zeros(7 + 16), ["7f"; 8].join(" "), zeros(32));
            let mut words =
                vec!["map", "update", "pinned", &leases, "key", "0", "0", "0", "0", "value", "hex"];
            words.extend(lease.split(' '));
            vrrp_tests::run(std::process::Command::new("bpftool").args(words))?;
            std::os::unix::fs::chown(pins.join("LEASES"), Some(65534), None).unwrap();
            Ok(())
        }),
        ("the daemon was killed before it was ready", &|| write(&zeros(size))),
        ("they were made by another version of the daemon (layout 1,", &|| {
            write(&format!("01 00 00 00 {}", zeros(size - 4)))
        }),
        ("the daemon ran in another network namespace", &|| {
            let version = vrrp_common::maps::ABI_VERSION;
            write(&format!("{version:02x} 00 00 00 01 00 00 00 01 {}", zeros(size - 9)))
        }),
        ("", &|| Ok(())),
    ];
    for (why, harm) in harms {
        let mut killed = VrrpUser::start(&host, OWNER)?;
        killed.wait_state(&host, ROUTER, "MASTER", STEP)?;
        killed.kill()?;
        harm()?;
        let mut daemon = VrrpUser::start(&host, OWNER)?;
        daemon.wait_state(&host, ROUTER, "MASTER", STEP)?;
        let (log, status) = (daemon.log().text(), daemon.status(&host)?);
        let refused =
            format!("what a killed daemon of this instance has pinned is not adopted: {why}");
        let counters = |name: &str| status["counters"][name].as_u64().unwrap_or_default();
        if why.is_empty() {
            assert_eq!((counters("adopted"), counters("not_adopted")), (1, 0), "{log}");
            // Killed again: what it goes on with may be what kills it.
            daemon.kill()?;
            let mut daemon = VrrpUser::start(&host, OWNER)?;
            daemon.wait_state(&host, ROUTER, "MASTER", STEP)?;
            let log = daemon.log().text();
            assert!(
                log.contains("and was killed again") && !log.contains("MASTER: adopted"),
                "{log}"
            );
            assert!(daemon.stop()?.success());
        } else {
            assert!(log.contains(&refused), "{why}: {log}");
            assert!(!log.contains("which another host has by now"), "{why}: {log}");
            assert_eq!((counters("adopted"), counters("not_adopted")), (0, 1), "{why}: {log}");
            assert!(daemon.stop()?.success());
        }
        assert!(!pins.exists() && !host.has_address(VIP)?);
    }
    Ok(())
}

/// What stands in `CONTROL`, as bpftool(8) reads it.
fn control(pins: &Path) -> Control {
    let path = pins.join("CONTROL").display().to_string();
    let args = ["-j", "map", "lookup", "pinned", &path, "key", "0", "0", "0", "0"];
    let text = vrrp_tests::run(std::process::Command::new("bpftool").args(args)).unwrap();
    let entry: Value = serde_json::from_str(&text).unwrap();
    let byte =
        |it: &Value| u8::from_str_radix(it.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let value: Vec<u8> = entry["value"].as_array().unwrap().iter().map(byte).collect();
    bytemuck::pod_read_unaligned(&value)
}

fn write_control(pins: &Path, control: &Control) -> Result<()> {
    let path = pins.join("CONTROL").display().to_string();
    let value: Vec<String> = bytemuck::bytes_of(control).iter().map(u8::to_string).collect();
    let args = ["map", "update", "pinned", &path, "key", "0", "0", "0", "0", "value"];
    let args = args.into_iter().chain(value.iter().map(String::as_str));
    vrrp_tests::run(std::process::Command::new("bpftool").args(args)).map(drop)
}

/// A page on which everything is there, and which says what cannot be: the daemon says what, and begins as one that has found
/// nothing but addresses, of which it loses none.
#[test]
fn nonsense_is_not_adopted() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&host));
    let conf = Instance::new(51, 100, "10.0.0.100/24").v3("0.3").to_string();
    let start = |state: &str| {
        let mut daemon = VrrpUser::start(&host, &conf)?;
        daemon.wait_state(&host, ROUTER, state, STEP)?;
        Ok::<_, vrrp_tests::Error>(daemon)
    };
    let makes_no_sense = "what stands in CONTROL makes no sense: a daemon that ";
    let another = "they were made by another version of the daemon (layout 4294967295, ";
    type Harm = fn(Control) -> Control;
    let harms: [(String, Harm); 5] = [
        (format!("{makes_no_sense}is no process"), |it| Control { pid: 0, ..it }),
        // Readers take it for one that is not ready.
        (format!("{makes_no_sense}has not started"), |it| Control { started_ns: 0, ..it }),
        (format!("{makes_no_sense}started in the future"), |it| Control {
            started_ns: u64::MAX,
            ..it
        }),
        (format!("{makes_no_sense}has adopted another one in the future"), |it| Control {
            adopted_ns: u64::MAX,
            ..it
        }),
        (another.to_owned(), |_| bytemuck::pod_read_unaligned(&[0xff; size_of::<Control>()])),
    ];
    for (why, harm) in harms {
        let mut killed = start("MASTER")?;
        lab.wait_until(STEP, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
        killed.kill()?;
        write_control(&pins, &harm(control(&pins)))?;
        let monitor = host.spawn("ip monitor", "ip", &["monitor", "address"])?;
        // It listens first, and takes over as nobody is there.
        let mut daemon = start("MASTER")?;
        let (log, status) = (daemon.log().text(), daemon.status(&host)?);
        let refused = "what a killed daemon of this instance has pinned is not adopted: ";
        assert!(log.contains(&format!("{refused}{why}")), "{why}: {log}");
        assert!(log.contains("INIT -> BACKUP: started: listens for a master"), "{why}: {log}");
        assert!(!log.contains("MASTER: adopted"), "{why}: {log}");
        let counters = ["adopted", "not_adopted"].map(|name| status["counters"][name].as_u64());
        assert_eq!(counters, [Some(0), Some(1)], "{why}: {log}");
        assert!(host.has_address(VIP)?, "{why}");
        assert!(!monitor.log().contains("Deleted"), "{why}: {}", monitor.log().text());
        assert_eq!(control(&pins).pid, daemon.process().pid().as_raw().cast_unsigned());
        assert!(daemon.stop()?.success());
        assert!(!pins.exists() && !host.has_address(VIP)?, "{why}");
    }
    Ok(())
}

/// Two that are started at the same instant, again and again: after one that was stopped, and after one that was killed, which one of them
/// adopts. One runs, and the other one ends with a word, and takes nothing from it.
#[test]
fn of_two_at_the_same_instant_one_runs() -> Result<()> {
    const ROUNDS: usize = 20;
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&host));
    let mut first_ran = 0;
    for round in 0..ROUNDS {
        let together = Barrier::new(2);
        let start = |file: &str| {
            together.wait();
            VrrpUser::start_with(&host, file, OWNER)
        };
        let mut two = thread::scope(|scope| {
            let threads = ["one.conf", "two.conf"].map(|file| scope.spawn(move || start(file)));
            let started: Result<Vec<VrrpUser>> =
                threads.into_iter().map(|it| it.join().unwrap()).collect();
            started
        })?;
        let (place, code) = lab.wait_until(STEP, "one of them ends", || {
            for (place, daemon) in two.iter_mut().enumerate() {
                if let Some(status) = daemon.process().ended()? {
                    return Ok(Some((place, status.code())));
                }
            }
            Ok(None)
        })?;
        let said = two[place].log().text();
        assert!(code == Some(75) && said.contains("already running"), "{round}: {code:?} {said}");
        let runs = &mut two[1 - place];
        runs.wait_state(&host, ROUTER, "MASTER", STEP)?;
        lab.wait_until(STEP, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
        first_ran += place;
        let pid = u64::from(runs.process().pid().as_raw().cast_unsigned());
        let (log, stats) = (runs.log().text(), runs.stats(&host)?);
        assert_eq!(
            (runs.status(&host)?["pid"].as_u64(), stats["pid"].as_u64()),
            (Some(pid), Some(pid))
        );
        assert_eq!(stats["routers"][0]["became_master"], 1, "{round}: {log}");
        assert_eq!(log.contains("MASTER: adopted"), round % 2 == 1, "{round}: {log}");
        assert!(!log.contains(" ERROR ") && !log.contains(" WARN "), "{round}: {log}");
        if round % 2 == 0 {
            runs.kill()?;
        } else {
            assert!(runs.stop()?.success());
            assert!(!pins.exists() && !host.has_address(VIP)?, "{round}");
        }
    }
    println!("the first one ran in {first_ran} of {ROUNDS} rounds");
    Ok(())
}

/// Two that are started at once after one was killed: one goes on, and the other one ends and takes nothing from it.
#[test]
fn one_of_two_goes_on() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut killed = VrrpUser::start(&host, OWNER)?;
    killed.wait_state(&host, ROUTER, "MASTER", STEP)?;
    lab.wait_until(STEP, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    killed.kill()?;
    let mut two = [VrrpUser::start(&host, OWNER)?, VrrpUser::start(&host, OWNER)?];
    let ended = lab.wait_until(STEP, "one of them ends", || {
        for (place, daemon) in two.iter_mut().enumerate() {
            if let Some(status) = daemon.process().ended()? {
                return Ok(Some((place, status.code())));
            }
        }
        Ok(None)
    })?;
    let (place, code) = ended;
    let [first, second] = &mut two;
    let (other, goes_on) = if place == 0 { (first, second) } else { (second, first) };
    let said = other.log().text();
    assert!(code == Some(75) && said.contains("already running"), "{code:?} {said}");
    goes_on.wait_state(&host, ROUTER, "MASTER", STEP)?;
    let log = goes_on.log().text();
    assert!(log.contains("INIT -> MASTER: adopted"), "{log}");
    assert!(host.has_address(VIP)?);
    assert!(goes_on.stop()?.success());
    Ok(())
}

/// As after SIGKILL: what the kernel does for a mistake in memory, and systemd where the watchdog was not served.
#[test]
fn one_that_crashed_goes_on() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    for signal in [Signal::SIGSEGV, Signal::SIGABRT] {
        let mut crashes = VrrpUser::start(&host, OWNER)?;
        crashes.wait_state(&host, ROUTER, "MASTER", STEP)?;
        lab.wait_until(STEP, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
        let process = crashes.process();
        // The first SIGSEGV that comes from outside is taken for one that would come again (std, `stack_overflow.rs`).
        lab.wait_until(STEP, "it ends", || {
            process.signal(signal)?;
            process.ended()
        })?;
        let mut daemon = VrrpUser::start(&host, OWNER)?;
        daemon.wait_state(&host, ROUTER, "MASTER", STEP)?;
        let log = daemon.log().text();
        assert!(log.contains("INIT -> MASTER: adopted"), "{signal}: {log}");
        assert!(daemon.stop()?.success());
    }
    Ok(())
}

/// By the kernel, because there is no memory left where it runs. The next one is started there as well, as a service manager does.
#[test]
fn one_that_the_kernel_killed_for_memory_goes_on() -> Result<()> {
    const MIB: u64 = 1 << 20;
    let lab = Lab::new()?;
    let cgroup = match MemoryCgroup::new(&lab)? {
        Ok(cgroup) => cgroup,
        Err(why) => {
            skip(why);
            return Ok(());
        }
    };
    let enter = cgroup.enter();
    let enter = enter.each_ref().map(|word| &**word);
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").to_string();
    let start = || VrrpUser::start_under(&a, &enter, "vrrp.conf", &conf(100), &[]);
    let mut killed = start()?;
    killed.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let mut backup = VrrpUser::start(&b, &conf(50))?;
    backup.wait_state(&b, ROUTER, "BACKUP", STEP)?;

    let status = fs::read_to_string(format!("/proc/{}/status", killed.process().pid())).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let memory = 1024 * memory.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
    cgroup.limit(cgroup.usage()? + 2 * MIB)?;
    // It needs more than that, but not more than the daemon leaves, and is killed by nobody.
    let count = 2 * MIB + memory / 2;
    let script = format!(
        "echo -1000 >/proc/self/oom_score_adj; head -c {count} /dev/zero | tail -c {count} | wc -c; sleep 60"
    );
    let _hog = a.spawn("hog", enter[0], &[&enter[1..], &["sh", "-c", &script]].concat())?;
    let status = killed.process().wait(STEP)?;
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    // Until the memory of the first is back the kernel may kill another, one of those that want it.
    assert!(cgroup.kills()? >= 1);
    let mut daemon = start()?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let log = daemon.log().text();
    assert!(log.contains("INIT -> MASTER: adopted"), "{log}");
    // More than the backup waits for a master that is dead.
    pause(Duration::from_secs(4))?;
    let stats = backup.router_stats(&b, ROUTER)?;
    assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));
    assert!(daemon.stop()?.success());
    Ok(())
}

/// Who was told to stop has handed over, and leaves nothing to go on with, however soon somebody starts again.
#[test]
fn one_that_was_stopped_does_not_go_on() -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut stage = Stage::new(Kind::VrrpUser, "nopreempt")?;
        let pins = stage.lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&stage.hosts[0]));
        assert!(pins.exists());
        stage.master.process().signal(signal)?;
        assert!(stage.master.process().wait(STEP)?.success());
        assert!(!pins.exists() && !stage.hosts[0].has_address(VIP)?, "{signal}");
        stage.restart()?;
        stage.master.wait_state(&stage.hosts[0], ROUTER, "BACKUP", STEP)?;
        stage.backup.wait_state(&stage.hosts[1], ROUTER, "MASTER", STEP)?;
        // It does not pre-empt.
        pause(Duration::from_secs(4))?;
        let log = stage.master.log().text();
        assert!(!log.contains("adopt") && !log.contains("MASTER:"), "{signal}: {log}");
        let counters = [stage.counter("adopted")?, stage.counter("not_adopted")?];
        assert_eq!(counters, [0, 0], "{signal}: {log}");
        let stats = stage.router()?;
        assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));
    }
    Ok(())
}

/// A sync group of both families whose priority depends on a script, captured in some way, by a daemon with the rights of the
/// unit.
fn group_goes_on(under: &[&str], capture: &str) -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let router = |name: &str, vrid: u8, address: &str| {
        format!(
            "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nvrid = {vrid}\nversion = 3\npriority = 100\n\
             addresses = [{address}]\ngroup = \"G\"\n"
        )
    };
    let conf = format!(
        "capture = \"{capture}\"\n[[script]]\nname = \"slow\"\ncommand = \"/bin/sleep 0.5\"\ninterval = \"60s\"\n\
         [[group]]\nname = \"G\"\ntrack = [{{ script = \"slow\", weight = 10 }}]\n{}{}",
        router("four", 51, "\"10.0.0.100/24\""),
        router("six", 52, "\"fe80::51/64\", \"2001:db8::100/64\""),
    );
    let rights = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf"];
    let under = [&rights[..], under].concat();
    let start = || VrrpUser::start_under(&host, &under, "vrrp.toml", &conf, &[]);
    let mut killed = start()?;
    for name in ["four", "six"] {
        killed.wait_state(&host, name, "MASTER", STEP)?;
    }
    lab.wait_until(STEP, "the addresses", || {
        let all = [host.addresses()?, host.addresses6()?].concat().join(" ");
        Ok(["10.0.0.100", "fe80::51", "2001:db8::100"]
            .iter()
            .all(|it| all.contains(it))
            .then_some(()))
    })?;
    let mode = killed.status(&host)?["interfaces"][0]["capture"].clone();
    let wire = Tcpdump::start_with(&other, "ip proto 112 or ip6 proto 112")?;
    let monitor = host.spawn("monitor", "ip", &["monitor", "address"])?;
    lab.wait_until(STEP, "an advertisement", || {
        Ok((!wire.adverts(Instant::now() - STEP).is_empty()).then_some(()))
    })?;
    killed.kill()?;
    let mut daemon = start()?;
    for name in ["four", "six"] {
        daemon.wait_state(&host, name, "MASTER", STEP)?;
        assert_eq!(daemon.router(&host, name)?["cause_name"], "adopted", "{}", daemon.log().text());
    }
    let adopted = Instant::now();
    lab.wait_until(STEP, "advertisements go on", || {
        Ok((wire.adverts(adopted).len() >= 4).then_some(()))
    })?;
    let adverts = wire.adverts(adopted - STEP);
    assert!(adverts.iter().all(|advert| advert.priority == 110), "{adverts:?}");
    assert_eq!(monitor.log().text(), "");
    assert_eq!(daemon.status(&host)?["interfaces"][0]["capture"], mode);
    assert!(daemon.stop()?.success());
    assert_eq!(host.xdp_program()?, None);
    Ok(())
}

#[test]
fn a_group_goes_on_by_xdp() -> Result<()> {
    group_goes_on(&[], "auto")
}

#[test]
fn a_group_goes_on_by_tcx() -> Result<()> {
    group_goes_on(&[], "tc")
}

#[test]
fn a_group_goes_on_by_clsact() -> Result<()> {
    group_goes_on(&["env", "VRRP_USER_WITHOUT=tcx"], "tc")
}

/// Whatever somebody takes from a daemon that has adopted another one: it hears again, and when it is killed its host is fenced.
fn what_was_adopted_is_taken_away(capture: &str, harms: &[fn(&Host) -> Result<()>]) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let client = lab.host("c", "10.0.0.3/24")?;
    let conf = |priority| {
        format!(
            "capture = \"{capture}\"\n[[router]]\nname = \"{ROUTER}\"\ninterface = \"eth0\"\nvrid = 51\n\
             version = 3\npriority = {priority}\naddresses = [\"{VIP}/24\"]\n"
        )
    };
    let mut master = VrrpUser::start_with(&a, "vrrp.toml", &conf(150))?;
    master.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let mut backup = VrrpUser::start_with(&b, "vrrp.toml", &conf(100))?;
    backup.wait_state(&b, ROUTER, "BACKUP", STEP)?;
    for (daemon, host, priority) in [(&mut master, &a, 150), (&mut backup, &b, 100)] {
        daemon.kill()?;
        *daemon = VrrpUser::start_with(host, "vrrp.toml", &conf(priority))?;
    }
    master.wait_state(&a, ROUTER, "MASTER", STEP)?;
    backup.wait_state(&b, ROUTER, "BACKUP", STEP)?;
    for (daemon, host) in [(&mut master, &a), (&mut backup, &b)] {
        assert!(daemon.log().contains("adopting what daemon "), "{}", daemon.log().text());
        let there = |host: &Host| -> Result<bool> {
            let ingress = host.xdp_program()?.is_some() || !host.ingress_links("eth0")?.is_empty();
            Ok(ingress && !host.egress_links("eth0")?.is_empty())
        };
        for (times, harm) in (1..).zip(harms) {
            harm(host)?;
            lab.wait_until(STEP, "attached again", || {
                let lost = daemon.status(host)?["counters"]["capture_lost"].as_u64();
                Ok((lost == Some(times) && there(host)?).then_some(()))
            })?;
        }
        let before = host.egress_links("eth0")?;
        host.detach_egress()?;
        lab.wait_until(STEP, "what leaves is seen again", || {
            daemon.status(host)?;
            let links = host.egress_links("eth0")?;
            Ok((!links.is_empty() && links != before).then_some(()))
        })?;
        let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(host));
        // Or it puts the first ones back while the last ones are still there.
        daemon.while_frozen(|| fs::remove_dir_all(&pins))?.unwrap();
        lab.wait_until(STEP, "what is pinned is there again", || {
            let lost = daemon.status(host)?["counters"]["pins_lost"].as_u64();
            Ok((lost == Some(1) && pins.join("LEASES").exists()).then_some(()))
        })?;
    }
    // The whole of it: nobody says so, and they look now and then.
    umount2(&lab.bpffs(), MntFlags::MNT_DETACH).unwrap();
    for (daemon, host) in [(&master, &a), (&backup, &b)] {
        let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(host));
        lab.wait_until(STEP, "what is pinned is there again", || {
            daemon.status(host)?;
            let names = fs::read_dir(&pins).into_iter().flatten().flatten();
            let links = names.filter(|it| it.file_name().to_string_lossy().starts_with("link-"));
            Ok((links.count() == 2).then_some(()))
        })?;
    }
    // Longer than a backup waits for a master that is dead.
    pause(Duration::from_secs(4))?;
    assert_eq!(master.state(&a, ROUTER)?, "MASTER");
    let stats = backup.router_stats(&b, ROUTER)?;
    assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));

    let ping = || -> Result<bool> {
        Ok(client.spawn("ping", "ping", &["-c", "2", "-W", "1", VIP])?.wait(STEP)?.success())
    };
    assert!(ping()?);
    master.kill()?;
    backup.wait_state(&b, ROUTER, "MASTER", STEP)?;
    lab.wait_until(STEP, "the new master answers", || Ok(ping()?.then_some(())))?;
    let mac = a.mac().map(|byte| format!("{byte:02x}")).join(":");
    let to = ["neighbour", "replace", VIP, "lladdr", &mac, "dev", "eth0", "nud", "permanent"];
    client.ip(&to)?;
    assert!(!ping()?, "the host of the dead one answers");
    assert!(VrrpUser::fence(&a, &[])?.contains("is fenced"));
    assert!(backup.stop()?.success());
    Ok(())
}

#[test]
fn xdp_that_was_adopted_is_taken_away() -> Result<()> {
    what_was_adopted_is_taken_away("auto", &[Host::detach_xdp, Host::replace_xdp])
}

#[test]
fn tcx_that_was_adopted_is_taken_away() -> Result<()> {
    what_was_adopted_is_taken_away("tc", &[Host::detach_ingress])
}
