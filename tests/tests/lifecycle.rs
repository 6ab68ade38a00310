//! Starting, stopping, being killed, and what happens to the interface meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vrrp_tests::story::Kind;
use vrrp_tests::{
    Error, Host, Instance, Keepalived, Lab, Pair, Prober, Process, Result, Tcpdump, VrrpUser,
    WebServer, pause,
};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";

fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").to_string()
}

/// Owner of the address: master at once.
fn owner() -> String {
    conf(255)
}

/// What a daemon keeps under its instance name while it runs: pinned maps, and the directory of control
/// socket and lock.
fn traces(host: &Host) -> Vec<PathBuf> {
    let instance = VrrpUser::instance(host);
    let pins = host.lab().bpffs().join("vrrp-user").join(&instance);
    let runtime = PathBuf::from("/run/vrrp-user").join(&instance);
    [pins, runtime].into_iter().filter(|path| path.exists()).collect()
}

/// Waits until the daemon on a host has left neither program nor address.
fn gone(host: &Host) -> Result<()> {
    host.lab().wait_until(LONG, "program and address are gone", || {
        Ok((host.xdp_program()?.is_none() && !host.has_address(VIP)?).then_some(()))
    })
}

/// A daemon that is expected to refuse: its exit status is not success, and this is what it said.
fn refusal(mut process: Process) -> Result<String> {
    let status = process.wait(LONG)?;
    // The reader threads may still be at it.
    pause(Duration::from_millis(200))?;
    let text = process.log().text();
    println!("{status}: {text}");
    assert!(!status.success(), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    Ok(text)
}

/// Arguments of `run`, with what differs from the usual at the end.
fn run_args(host: &Host, conf: &str, more: &[&str]) -> Result<Vec<String>> {
    let path = host.dir("refused")?.join("vrrp.conf");
    fs::write(&path, conf).unwrap();
    let instance = VrrpUser::instance(host);
    let args = ["run", "--config", &path.display().to_string(), "--instance", &instance];
    Ok(args.iter().chain(more).map(|arg| (*arg).to_owned()).collect())
}

fn spawn(host: &Host, args: &[String]) -> Result<Process> {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    host.spawn("vrrp-user", &VrrpUser::binary()?.display().to_string(), &args)
}

#[test]
fn the_first_advertisement_comes_soon() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let tcpdump = Tcpdump::start(&other)?;
    let start = Instant::now();
    let _daemon = VrrpUser::start(&host, &owner())?;
    let first =
        lab.wait_until(LONG, "an advertisement", || Ok(tcpdump.adverts(start).into_iter().next()))?;
    let took = first.at - start;
    println!("from exec to the first advertisement on the wire: {took:?}");
    assert_eq!((first.priority, &*first.source), (255, "10.0.0.1"));
    assert!(took < Duration::from_secs(3), "{took:?}");
    Ok(())
}

#[test]
fn stopping_leaves_nothing_behind() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let before = host.addresses()?;
    let tcpdump = Tcpdump::start(&other)?;
    let mut daemon = VrrpUser::start(&host, &owner())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    let program = host.xdp_program()?.expect("an XDP program is attached");
    assert_eq!(traces(&host).len(), 2, "pins and socket: {:?}", traces(&host));

    let stop = Instant::now();
    let status = daemon.stop()?;
    assert!(status.success(), "{status}");
    assert_eq!(host.xdp_program()?, None);
    assert_eq!(host.addresses()?, before);
    assert_eq!(traces(&host), Vec::<PathBuf>::new());
    lab.wait_until(LONG, "priority 0", || {
        Ok(tcpdump.adverts(stop).iter().any(|advert| advert.priority == 0).then_some(()))
    })?;
    // Programs are freed a moment after their last user has gone.
    lab.wait_until(LONG, "the program is unloaded", || {
        let show =
            Command::new("bpftool").args(["prog", "show", "id", &program.to_string()]).output();
        Ok((!show.unwrap().status.success()).then_some(()))
    })
}

/// Before it can listen: it goes on, and does it when it can.
#[test]
fn what_it_is_told_while_it_starts_is_done_later() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let long = format!("{}{}", owner(), "# To read it takes a while.\n".repeat(200_000));
    let bpffs = lab.bpffs().display().to_string();
    for stops in [false, true] {
        let mut daemon = spawn(&host, &run_args(&host, &long, &["--bpffs", &bpffs])?)?;
        let status = format!("/proc/{}/status", daemon.pid());
        let waits = || {
            let status = fs::read_to_string(&status).unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
            let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok());
            mask.is_some_and(|mask| mask & 1 << (Signal::SIGHUP as u32 - 1) != 0)
        };
        let spawned = Instant::now();
        while !waits() && daemon.log().lines().is_empty() && spawned.elapsed() < LONG {
            pause(Duration::from_millis(1))?;
        }
        for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
            daemon.signal(signal)?;
        }
        if stops {
            daemon.signal(Signal::SIGTERM)?;
        } else {
            lab.wait_until(LONG, "it is master", || Ok(host.has_address(VIP)?.then_some(())))?;
            for said in ["SIGHUP: reading", "SIGUSR1 ignored", "SIGUSR2 ignored"] {
                let is_said = || Ok(daemon.log().contains(said).then_some(()));
                lab.wait_until(LONG, said, is_said)?;
            }
            daemon.signal(Signal::SIGTERM)?;
        }
        let status = daemon.wait(LONG)?;
        assert!(status.success(), "{status}: {}", daemon.log().text());
        assert_eq!(traces(&host), Vec::<PathBuf>::new());
        assert!(!host.has_address(VIP)?);
    }
    Ok(())
}

#[test]
fn what_a_killed_daemon_left_is_removed() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut daemon = VrrpUser::start(&host, &conf(100))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    daemon.kill()?;
    // The address stays, as no process is left to remove it, and so does the program, which keeps it from being answered for
    // when another host has it.
    assert!(host.has_address(VIP)? && host.xdp_program()?.is_some());

    // With another master about, it must not keep what it is not entitled to.
    let theirs = Keepalived::start(&other, &conf(150))?;
    theirs.wait_state(&other, ROUTER, "MASTER", LONG)?;
    let mut daemon = VrrpUser::start(&host, &conf(100))?;
    daemon.wait_state(&host, ROUTER, "BACKUP", LONG)?;
    lab.wait_until(Duration::from_secs(5), "the stale address is gone", || {
        Ok((!host.has_address(VIP)?).then_some(()))
    })?;
    daemon.stop()?;
    gone(&host)
}

/// Nobody else has the address as long as nobody is heard: who is started again after a kill keeps it, also where it does not go
/// on as master.
#[test]
fn a_killed_master_that_starts_again_keeps_the_address() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    // Long enough to look at the time between; and of another version, which cannot go on as master.
    let conf = Instance::new(51, 100, "10.0.0.100/24").v3("40").to_string();
    let mut daemon = VrrpUser::start(&host, &owner())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    daemon.kill()?;
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, ROUTER, "BACKUP", LONG)?;
    assert!(host.has_address(VIP)?);
    assert!(daemon.log().contains("keeping stale 10.0.0.100"));
    assert!(daemon.log().contains("not adopted: it has another version of VRRP than before"));
    daemon.stop()?;
    gone(&host)
}

/// As a client beside it sees it, with a backup that may take over first: somebody answers all the time, because the
/// one that was killed keeps the address until it hears the other.
#[test]
fn a_killed_master_that_starts_again_loses_no_client() -> Result<()> {
    let lab = Lab::new()?;
    let client = lab.host("client", "10.0.0.50/24")?;
    let Pair { a, b, mut on_a, mut on_b } = Pair::start(&lab, ROUTER, conf)?;
    let _servers = (WebServer::start(&a)?, WebServer::start(&b)?);
    let prober = Prober::start(&client, VIP)?;
    lab.wait_until(LONG, "a answers", || Ok((prober.now().as_deref() == Some("a")).then_some(())))?;
    let killed = Instant::now();
    on_a.kill()?;
    let mut on_a = VrrpUser::start(&a, &conf(150))?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    lab.wait_until(LONG, "a answers", || Ok((prober.now().as_deref() == Some("a")).then_some(())))?;
    let away = prober.away(killed);
    println!("nobody answered for {away:?}, then {:?}", prober.hosts(killed));
    // What a gap between two masters costs is a master-down interval. The rest is for the machine.
    assert!(away < Duration::from_secs(2), "nobody answered for {away:?}");
    on_a.stop()?;
    on_b.stop()?;
    Ok(())
}

/// A killed master that is started again takes its address again.
#[test]
fn killed_and_started_again() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    for _ in 0..3 {
        let mut daemon = VrrpUser::start(&host, &owner())?;
        daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
        lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
        daemon.kill()?;
    }
    let mut daemon = VrrpUser::start(&host, &owner())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    daemon.stop()?;
    gone(&host)
}

#[test]
fn two_instances_at_once() -> Result<()> {
    let lab = Lab::new()?;
    let Pair { a, b, mut on_a, mut on_b } = Pair::start(&lab, ROUTER, conf)?;
    lab.wait_until(LONG, "b counts the advertisements of a", || {
        let received = on_b.router_stats(&b, ROUTER)?["adverts_received"].as_u64().unwrap();
        Ok((received >= 3).then_some(()))
    })?;
    assert_eq!(on_a.router_stats(&a, ROUTER)?["adverts_received"], 0);
    let status = on_b.router(&b, ROUTER)?;
    assert_eq!(
        (&status["master"]["address"], &status["master"]["priority"]),
        (&"10.0.0.1".into(), &150.into())
    );
    let on_a_status = on_a.status(&a)?;
    assert_eq!(
        (&on_a_status["schema"], &on_a_status["instance"]),
        (&1.into(), &VrrpUser::instance(&a).into())
    );
    assert_eq!(on_a_status["pid"], on_a.process().pid().as_raw());
    // One ends, the other does not mind.
    on_a.stop()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    on_b.stop()?;
    gone(&b)
}

/// Traffic to the address is counted, with the daemon gone too as long as its maps are there.
#[test]
fn traffic_to_the_address_is_counted() -> Result<()> {
    let lab = Lab::new()?;
    let (host, client) = (lab.host("a", "10.0.0.1/24")?, lab.host("client", "10.0.0.50/24")?);
    let mut daemon = VrrpUser::start(&host, &owner())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    client.namespace().run("ping", &["-c", "3", "-i", "0.2", "-W", "2", "-s", "56", VIP])?;
    let count = |stats: &serde_json::Value| {
        let vip = stats["vips"].as_array()?.iter().find(|vip| vip["address"] == VIP)?.clone();
        Some((vip["rx_packets"].as_u64()?, vip["rx_bytes"].as_u64()?))
    };
    let stats = daemon.stats(&host)?;
    let (packets, bytes) = count(&stats).unwrap_or_else(|| panic!("{stats}"));
    assert!(packets >= 3 && bytes >= 3 * 98, "{packets} packets, {bytes} bytes");
    daemon.kill()?;
    assert_eq!(count(&daemon.stats(&host)?), Some((packets, bytes)));
    Ok(())
}

#[test]
fn a_second_start_is_refused() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start(&host, &owner())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let bpffs = lab.bpffs().display().to_string();
    let text = refusal(spawn(&host, &run_args(&host, &owner(), &["--bpffs", &bpffs])?)?)?;
    assert!(text.contains(&VrrpUser::instance(&host)), "{text}");
    assert!(text.contains("already") || text.contains("running"), "{text}");
    // The first one is not disturbed.
    pause(Duration::from_secs(2))?;
    daemon.wait_state(&host, ROUTER, "MASTER", Duration::from_secs(2))?;
    assert!(host.has_address(VIP)? && host.xdp_program()?.is_some());
    Ok(())
}

#[test]
fn without_root_it_says_so() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    // The user nobody must be able to read it all.
    let dir = host.dir("nobody")?;
    let (binary, conf) = (dir.join("vrrp-user"), dir.join("vrrp.conf"));
    fs::copy(VrrpUser::binary()?, &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&conf, owner()).unwrap();
    let (binary, conf) = (binary.display().to_string(), conf.display().to_string());
    let bpffs = lab.bpffs().display().to_string();
    let args = ["--reuid", "65534", "--regid", "65534", "--clear-groups", &binary, "run"];
    let more = ["--config", &conf, "--instance", &VrrpUser::instance(&host), "--bpffs", &bpffs];
    let text = refusal(host.spawn("nobody", "setpriv", &[&args[..], &more[..]].concat())?)?;
    assert!(text.contains("root") || text.contains("CAP_"), "{text}");
    Ok(())
}

#[test]
fn without_a_bpffs_it_says_how() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let plain = host.dir("no-bpffs")?.display().to_string();
    let text = refusal(spawn(&host, &run_args(&host, &owner(), &["--bpffs", &plain])?)?)?;
    assert!(text.contains(&plain) && text.contains("mount -t bpf"), "{text}");
    Ok(())
}

#[test]
fn a_bad_file_is_refused_with_its_line() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let bpffs = lab.bpffs().display().to_string();
    let bad = owner().replace("    virtual_router_id 51\n", "");
    let text = refusal(spawn(&host, &run_args(&host, &bad, &["--bpffs", &bpffs])?)?)?;
    assert!(text.contains("vrrp.conf:") && text.contains("virtual_router_id"), "{text}");
    assert_eq!(host.xdp_program()?, None);
    let missing = ["run", "--config", "/nonexistent/vrrp.conf"].map(str::to_owned);
    let text = refusal(spawn(&host, &missing)?)?;
    assert!(text.contains("/nonexistent/vrrp.conf"), "{text}");
    Ok(())
}

/// The native format does the same as the other.
#[test]
fn a_toml_file() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let tcpdump = Tcpdump::start(&other)?;
    let start = Instant::now();
    let toml = "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\npriority = 255\n\
                version = 3\ninterval = \"500ms\"\naddresses = [\"10.0.0.100/24\"]\n";
    let mut daemon = VrrpUser::start_with(&host, "vrrp.toml", toml)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    let advert =
        lab.wait_until(LONG, "an advertisement", || Ok(tcpdump.adverts(start).into_iter().next()))?;
    assert!(
        advert.line.contains("VRRPv3, Advertisement, vrid 51, prio 255, intvl 50cs"),
        "{advert:?}"
    );
    Ok(())
}

/// What is there already is not replaced: the router captures behind it, and says why.
#[test]
fn a_foreign_xdp_program_is_respected() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    host.attach_foreign_xdp()?;
    let foreign = host.xdp_program()?.expect("the foreign program");
    let mut daemon = VrrpUser::start(&host, &owner())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert_eq!(host.xdp_program()?, Some(foreign));
    let status = daemon.status(&host)?;
    let interface = &status["interfaces"][0];
    assert_eq!(interface["capture"], "tc", "{status}");
    let why = interface["capture_why"].to_string();
    let taken = format!("XDP is taken by another program (id {foreign}, foreign)");
    assert!(why.contains(&taken), "{why}");
    assert!(interface["capture_lacks"].is_string(), "{status}");
    assert_eq!(daemon.stats(&host)?["interfaces"][0]["capture"], "tc");
    daemon.stop()?;
    assert_eq!(host.xdp_program()?, Some(foreign));
    Ok(())
}

/// A router on an interface that does not exist is in FAULT, until there is one.
#[test]
fn the_interface_comes_later() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    host.delete_interface()?;
    let mut daemon = VrrpUser::start(&host, &owner())?;
    daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
    let cause = daemon.router(&host, ROUTER)?["cause"].to_string();
    println!("cause: {cause}");
    assert!(cause.contains("exist") || cause.contains("eth0"), "{cause}");
    assert!(daemon.log().contains("eth0"));
    host.create_interface()?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert!(host.xdp_program()?.is_some());
    Ok(())
}

/// Master, then FAULT without address, then master with address again, whatever the interface suffers.
fn suffers(harm: fn(&Host) -> Result<()>, heal: fn(&Host) -> Result<()>) -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut daemon = VrrpUser::start(&host, &conf(150))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let theirs = Keepalived::start(&other, &conf(100))?;
    theirs.wait_state(&other, ROUTER, "BACKUP", LONG)?;

    harm(&host)?;
    daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
    println!("cause: {}", daemon.router(&host, ROUTER)?["cause"]);
    lab.wait_until(LONG, "the address is gone", || Ok((!host.has_address(VIP)?).then_some(())))?;
    theirs.wait_state(&other, ROUTER, "MASTER", LONG)?;

    heal(&host)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    theirs.wait_state(&other, ROUTER, "BACKUP", LONG)?;
    lab.wait_until(LONG, "the address is back", || Ok(host.has_address(VIP)?.then_some(())))?;
    // And it hears again: the other one, preferred now, is obeyed.
    drop(theirs);
    let theirs = Keepalived::start(&other, &conf(200))?;
    theirs.wait_state(&other, ROUTER, "MASTER", LONG)?;
    daemon.wait_state(&host, ROUTER, "BACKUP", LONG)?;
    daemon.stop()?;
    gone(&host)
}

#[test]
fn interface_down_and_up() -> Result<()> {
    suffers(
        |host| host.ip(&["link", "set", "eth0", "down"]).map(drop),
        |host| host.ip(&["link", "set", "eth0", "up"]).map(drop),
    )
}

#[test]
fn cable_out_and_in() -> Result<()> {
    suffers(Host::unplug, Host::replug)
}

#[test]
fn interface_deleted_and_made_anew() -> Result<()> {
    suffers(Host::delete_interface, Host::create_interface)
}

#[test]
fn own_address_removed_and_restored() -> Result<()> {
    suffers(
        |host| host.ip(&["address", "flush", "dev", "eth0"]).map(drop),
        |host| host.ip(&["address", "add", "10.0.0.1/24", "dev", "eth0"]).map(drop),
    )
}

/// The address is taken away from outside: the master resigns, and comes back with it.
#[test]
fn address_removed_from_outside() -> Result<()> {
    for kind in [Kind::Keepalived, Kind::VrrpUser] {
        let lab = Lab::new()?;
        let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        let tcpdump = Tcpdump::start(&other)?;
        let mut daemon = kind.start(&host, &conf(200))?;
        daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
        lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
        let start = Instant::now();
        host.ip(&["address", "delete", "10.0.0.100/24", "dev", "eth0"])?;
        lab.wait_until(LONG, "priority 0", || {
            Ok(tcpdump.adverts(start).iter().any(|advert| advert.priority == 0).then_some(()))
        })?;
        lab.wait_until(LONG, "the address is back", || Ok(host.has_address(VIP)?.then_some(())))?;
        daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    }
    Ok(())
}

/// The owner's address was there before the daemon, and is there after it (RFC 9568 section 1.7). Who had it meanwhile is in
/// the caches of the neighbours, so that it is announced all the same (section 6.4.1).
#[test]
fn the_owners_address_stays() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let arp = Tcpdump::start_with(&other, "arp")?;
    host.ip(&["address", "add", "10.0.0.7/24", "dev", "eth0"])?;
    let instance = Instance::new(51, 255, "10.0.0.7/24").to_string();
    let mut daemon = VrrpUser::start(&host, &instance)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let counters = daemon.status(&host)?["counters"].clone();
    assert_eq!(counters["address_add_failed"], 0, "{counters}");
    lab.wait_until(LONG, "gratuitous ARP", || {
        Ok(arp.log().contains("tell 10.0.0.7,").then_some(()))
    })?;
    assert!(daemon.stop()?.success());
    assert!(host.has_address("10.0.0.7")?, "{:?}", host.addresses()?);
    Ok(())
}

/// The notification that matters is lost among tens of thousands that come while the daemon sleeps.
#[test]
fn lost_notifications_are_made_up_for() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let tcpdump = Tcpdump::start(&other)?;
    let mut daemon = VrrpUser::start(&host, &conf(200))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    host.ip(&["link", "set", "lo", "up"])?;
    let batch = host.dir("batch")?.join("commands");
    let change = "address add 192.0.2.1/32 dev lo\naddress delete 192.0.2.1/32 dev lo\n";
    let last = "address delete 10.0.0.100/24 dev eth0\n";
    fs::write(&batch, change.repeat(20_000) + last).map_err(Error::io("write"))?;

    daemon.process().signal(Signal::SIGSTOP)?;
    let begin = Instant::now();
    let flood = host.ip(&["-batch", &batch.display().to_string()]);
    daemon.process().signal(Signal::SIGCONT)?;
    flood?;

    lab.wait_until(LONG, "priority 0", || {
        Ok(tcpdump.adverts(begin).iter().any(|advert| advert.priority == 0).then_some(()))
    })?;
    lab.wait_until(LONG, "the address is back", || Ok(host.has_address(VIP)?.then_some(())))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let status = daemon.status(&host)?;
    assert!(status["counters"]["netlink_overrun"].as_u64() >= Some(1), "{status}");
    assert!(daemon.log().contains("notifications were lost"), "{}", daemon.log().text());
    Ok(())
}
