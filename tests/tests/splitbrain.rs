//! Split brain: two hosts that are master at once, and what ours say of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use vrrp_tests::story::Kind;
use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser, pause, story::Daemon};

/// More than the master-down interval, and than what the watch takes to call it over.
const STEP: Duration = Duration::from_secs(20);
/// A claim that arrived is reported in less.
const PROMPTLY: Duration = Duration::from_secs(1);
/// The second group of gratuitous ARP, with which a new master asks who else has the address, and a margin.
const ASKED: Duration = Duration::from_secs(10);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";

fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").password("1111").to_string()
}

fn mac(host: &Host) -> String {
    host.mac().map(|byte| format!("{byte:02x}")).join(":")
}

/// What `status` says is wrong with the router.
fn problems(daemon: &VrrpUser, host: &Host) -> Result<Vec<String>> {
    problems_of(daemon, host, ROUTER)
}

/// The same of this router.
fn problems_of(daemon: &VrrpUser, host: &Host, name: &str) -> Result<Vec<String>> {
    let router = daemon.router(host, name)?;
    let lines = router["problems"].as_array().unwrap().iter();
    Ok(lines.map(|line| line.as_str().unwrap().to_owned()).collect())
}

fn ours(daemon: &Daemon) -> Option<&VrrpUser> {
    match daemon {
        Daemon::VrrpUser(daemon) => Some(daemon),
        Daemon::Keepalived(_) => None,
    }
}

/// How often the log says that a split brain began and that it is over.
fn logged(daemon: &VrrpUser) -> (usize, usize) {
    let text = daemon.log().text();
    (text.matches("while we are master").count(), text.matches("split brain is over").count())
}

/// The file to which the script of a host writes what it is told of split brains.
fn told(host: &Host) -> Result<PathBuf> {
    Ok(host.dir("scripts")?.join("told"))
}

/// A configuration with a script that writes down what it is told; only ours knows the keyword.
fn with_script(kind: Kind, host: &Host, priority: u8) -> Result<String> {
    let Kind::VrrpUser = kind else { return Ok(conf(priority)) };
    let (script, told) = (host.dir("scripts")?.join("told.sh"), told(host)?);
    fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let globals = format!("script_user root\nnotify_split_brain \"{} hello\"", script.display());
    Ok(format!("global_defs {{\n{globals}\n}}\n{}", conf(priority)))
}

/// `a` is preferred; protocol 112 is cut and mended between them.
fn play(a: Kind, b: Kind) -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
    let confs = [with_script(a, &hosts[0], 100)?, with_script(b, &hosts[1], 50)?];
    let mut daemons = [a.start(&hosts[0], &confs[0])?, b.start(&hosts[1], &confs[1])?];
    daemons[0].wait_state(&hosts[0], ROUTER, "MASTER", STEP)?;
    daemons[1].wait_state(&hosts[1], ROUTER, "BACKUP", STEP)?;
    for (daemon, host) in daemons.iter().zip(&hosts) {
        if let Some(daemon) = ours(daemon) {
            assert_eq!(problems(daemon, host)?, [""; 0]);
        }
    }

    // A neighbour that has used the address, and will not do so again: it only hears who announces it.
    let neighbour = lab.host("c", "10.0.0.3/24")?;
    neighbour.spawn("ping", "ping", &["-c", "1", "-W", "5", VIP])?.wait(STEP)?;
    let believes = |n: usize| {
        let believed = neighbour.ip(&["neighbour", "show", VIP])?;
        Ok(believed.contains(&mac(&hosts[n])).then_some(()))
    };
    lab.wait_until(STEP, "the neighbour knows the master", || believes(0))?;

    lab.block_vrrp(&[])?;
    daemons[1].wait_state(&hosts[1], ROUTER, "MASTER", STEP)?;
    lab.wait_until(STEP, "the neighbour believes the second master", || believes(1))?;
    assert_eq!(daemons[0].state(&hosts[0], ROUTER), "MASTER");
    for (n, limit) in [(0, PROMPTLY), (1, ASKED)] {
        let (host, other) = (&hosts[n], mac(&hosts[1 - n]));
        let Some(daemon) = ours(&daemons[n]) else { continue };
        let found = lab.wait_until(limit, &format!("{} names {other}", host.name()), || {
            let lines = problems(daemon, host)?;
            Ok(lines.iter().find(|line| line.contains(&other)).cloned())
        })?;
        println!("{}: {found}", host.name());
        assert!(found.starts_with("split brain: ") && found.contains(VIP), "{found}");
        assert!(daemon.reason(host, "arp_conflict")? >= 1);
    }
    // It stands as long as it is the case, and is said once.
    pause(Duration::from_secs(12))?;
    for (n, host) in hosts.iter().enumerate() {
        let Some(daemon) = ours(&daemons[n]) else { continue };
        assert_eq!((problems(daemon, host)?.len(), logged(daemon)), (1, (1, 0)), "{}", host.name());
    }

    lab.unblock_vrrp()?;
    daemons[1].wait_state(&hosts[1], ROUTER, "BACKUP", STEP)?;
    daemons[0].wait_state(&hosts[0], ROUTER, "MASTER", STEP)?;
    lab.wait_until(STEP, "the neighbour believes the master that is left", || believes(0))?;
    for (n, host) in hosts.iter().enumerate() {
        let Some(daemon) = ours(&daemons[n]) else { continue };
        lab.wait_until(STEP, &format!("{} calls it over", host.name()), || {
            Ok(problems(daemon, host)?.is_empty().then_some(()))
        })?;
        assert_eq!(logged(daemon), (1, 1), "{}", daemon.log().text());
        let other = mac(&hosts[1 - n]);
        let line = |phase| format!("hello INSTANCE {ROUTER} {phase} {VIP} {other}\n");
        let expected = line("BEGIN") + &line("END");
        let path = told(host)?;
        lab.wait_until(STEP, "the script is told", || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            Ok((text == expected).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn vrrp_user_and_vrrp_user() -> Result<()> {
    play(Kind::VrrpUser, Kind::VrrpUser)
}

#[test]
fn vrrp_user_against_keepalived() -> Result<()> {
    play(Kind::VrrpUser, Kind::Keepalived)
}

#[test]
fn keepalived_against_vrrp_user() -> Result<()> {
    play(Kind::Keepalived, Kind::VrrpUser)
}

/// What the network lets through from one host to the other, and what counts there; `a` ranks above.
struct OneWay {
    lab: Lab,
    hosts: [Host; 2],
    daemons: [Daemon; 2],
    /// Each believes that the address is where the host of that number is, and uses it all the time.
    clients: [Host; 2],
}

/// What the switch counts of each host: packets from the address, and advertisements, of which it makes a copy for each other host.
const FROM_A: [(&str, &str); 2] = [
    ("a_answers", "iifname to-a ether type ip ip protocol icmp ip saddr 10.0.0.100"),
    ("a_adverts", "iifname to-a oifname to-c ether type ip ip protocol 112"),
];
const FROM_B: [(&str, &str); 2] = [
    ("b_answers", "iifname to-b ether type ip ip protocol icmp ip saddr 10.0.0.100"),
    ("b_adverts", "iifname to-b oifname to-c ether type ip ip protocol 112"),
];
/// As often as a client sends to the address, seconds.
const PACE: &str = "0.1";

impl OneWay {
    fn new(a: Kind, b: Kind) -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
        let clients = [lab.host("c", "10.0.0.3/24")?, lab.host("d", "10.0.0.4/24")?];
        for (client, host) in clients.iter().zip(&hosts) {
            let to = ["neighbour", "add", VIP, "lladdr", &mac(host), "dev", "eth0"];
            client.ip(&[&to[..], &["nud", "permanent"]].concat())?;
        }
        let mut daemons = [a.start(&hosts[0], &conf(100))?, b.start(&hosts[1], &conf(50))?];
        daemons[0].wait_state(&hosts[0], ROUTER, "MASTER", STEP)?;
        daemons[1].wait_state(&hosts[1], ROUTER, "BACKUP", STEP)?;
        Ok(Self { lab, hosts, daemons, clients })
    }

    /// From now on nothing passes these ways, and everything all others.
    fn cut(&self, ways: &[[&str; 2]]) -> Result<()> {
        let mut rules = String::from(
            "add table bridge cut; delete table bridge cut; add table bridge cut; \
             add chain bridge cut f { type filter hook forward priority 0; }",
        );
        for [from, to] in ways {
            rules += &format!("; add rule bridge cut f iifname {from} oifname {to} drop");
        }
        self.lab.network().run("nft", &[&rules]).map(drop)
    }

    /// Waits until the switch has counted so many.
    fn counted(&self, name: &str, count: u64) -> Result<()> {
        self.lab.wait_until(STEP, &format!("{count} {name}"), || {
            Ok((self.lab.counted(name)? >= count).then_some(()))
        })
    }
}

/// Two masters that live and renew their leases: no fence is for them, and what the protocol leaves is until the one that ranks below
/// hears the next advertisement of the other one, whether it is heard itself or not.
fn one_way(a: Kind, b: Kind) -> Result<()> {
    const TO_B: [&str; 2] = ["to-a", "to-b"];
    const TO_A: [&str; 2] = ["to-b", "to-a"];
    let mut stage = OneWay::new(a, b)?;
    let mut pings = Vec::new();
    for client in &stage.clients {
        pings.push(client.spawn("ping", "ping", &["-i", PACE, "-w", "60", VIP])?);
    }
    // First the one that ranks above hears the other, then neither does. Afterwards the one that ranks below hears, and then both.
    for (cut, healed) in [(&[TO_B][..], &[TO_A][..]), (&[TO_A, TO_B], &[])] {
        stage.cut(cut)?;
        stage.daemons[1].wait_state(&stage.hosts[1], ROUTER, "MASTER", STEP)?;
        // As long as that lasts, both answer and both advertise.
        stage.lab.count_from_now(&[FROM_A, FROM_B].concat())?;
        for (name, _) in [FROM_A, FROM_B].concat() {
            stage.counted(name, 3)?;
        }
        assert_eq!(stage.daemons[0].state(&stage.hosts[0], ROUTER), "MASTER");

        let heard = "iifname to-a oifname to-b ether type ip ip protocol 112";
        stage.lab.count_after(heard, &[FROM_A, FROM_B].concat())?;
        stage.cut(healed)?;
        stage.daemons[1].wait_state(&stage.hosts[1], ROUTER, "BACKUP", STEP)?;
        for (name, _) in FROM_A {
            stage.counted(name, 3)?;
        }
        let [answers, adverts] = [stage.lab.counted("b_answers")?, stage.lab.counted("b_adverts")?];
        println!("{} below {}: {answers} answers, {adverts} adverts", b.name(), a.name());
        // One that was on its way when it heard, and the one of who gives way where it may not have been heard (`higher_prio_advert`).
        assert!(answers <= 1 && adverts <= 1, "{answers} answers, {adverts} adverts");
    }
    for (n, became_master) in [(0, 1), (1, 2)] {
        let Some(daemon) = ours(&stage.daemons[n]) else { continue };
        let stats = daemon.router_stats(&stage.hosts[n], ROUTER)?;
        assert_eq!(stats["became_master"], became_master, "{stats}");
    }
    // The one that gives way may have been fenced, for as long as that takes; the other one never.
    if let Some(daemon) = ours(&stage.daemons[0]) {
        assert_eq!(daemon.router_stats(&stage.hosts[0], ROUTER)?["fenced_packets"], 0);
    }
    Ok(())
}

#[test]
fn one_way_between_two_of_ours() -> Result<()> {
    one_way(Kind::VrrpUser, Kind::VrrpUser)
}

#[test]
fn one_way_above_keepalived() -> Result<()> {
    one_way(Kind::VrrpUser, Kind::Keepalived)
}

#[test]
fn one_way_below_keepalived() -> Result<()> {
    one_way(Kind::Keepalived, Kind::VrrpUser)
}

/// A handover in good order is none.
/// Each host's claim has the same virtual MAC address, which may have come back from the network; only what answers a question
/// has not. Both families.
fn with_virtual_macs(a: Kind, b: Kind) -> Result<()> {
    const ROUTERS: [(&str, &str, &str); 2] =
        [(ROUTER, VIP, "00:00:5e:00:01:33"), ("VI_6", "fe80::100", "00:00:5e:00:02:34")];
    let lab = Lab::new()?;
    let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
    let conf = |priority| {
        let four = Instance::new(51, priority, "10.0.0.100/24").with("use_vmac");
        let six = Instance::new(52, priority, "fe80::100/64").name("VI_6").v3("1").with("use_vmac");
        format!("{four}\n{six}")
    };
    let mut daemons = [a.start(&hosts[0], &conf(100))?, b.start(&hosts[1], &conf(50))?];
    for (name, ..) in ROUTERS {
        daemons[0].wait_state(&hosts[0], name, "MASTER", STEP)?;
        daemons[1].wait_state(&hosts[1], name, "BACKUP", STEP)?;
    }
    let found = |n: usize, name: &str| -> Result<Vec<String>> {
        let Some(daemon) = ours(&daemons[n]) else { return Ok(Vec::new()) };
        let lines = problems_of(daemon, &hosts[n], name)?;
        Ok(lines.into_iter().filter(|line| line.starts_with("split brain: ")).collect())
    };
    // The second group of gratuitous ARP and its questions are over, and nobody has answered.
    pause(ASKED)?;
    for (name, ..) in ROUTERS {
        assert_eq!((found(0, name)?, found(1, name)?), (vec![], vec![]), "{name}");
    }

    lab.block_vrrp(&[])?;
    for (name, vip, mac) in ROUTERS {
        for n in [0, 1].into_iter().filter(|n| ours(&daemons[*n]).is_some()) {
            let line = lab.wait_until(STEP, &format!("{} says so", hosts[n].name()), || {
                Ok(found(n, name)?.pop())
            })?;
            assert!(line.contains(&format!("also claims {vip} on eth0")), "{line}");
            // Each device that keepalived makes answers for the addresses of all of them.
            assert!(line.contains(mac) || ours(&daemons[1 - n]).is_none(), "{line}");
        }
    }
    // It stands as long as it is the case.
    pause(Duration::from_secs(12))?;
    for (name, ..) in ROUTERS {
        for (n, daemon) in daemons.iter().enumerate() {
            assert_eq!(found(n, name)?.len(), ours(daemon).iter().count(), "{name} {n}");
        }
    }

    lab.unblock_vrrp()?;
    for (name, ..) in ROUTERS {
        lab.wait_until(STEP, "it is over", || {
            Ok((found(0, name)?.is_empty() && found(1, name)?.is_empty()).then_some(()))
        })?;
    }
    for daemon in daemons.iter().filter_map(ours) {
        assert_eq!(logged(daemon), (2, 2), "{}", daemon.log().text());
    }
    for (name, ..) in ROUTERS {
        assert_eq!(daemons[0].state(&hosts[0], name), "MASTER");
        assert_eq!(daemons[1].state(&hosts[1], name), "BACKUP");
    }
    Ok(())
}

#[test]
fn with_virtual_macs_between_two_of_ours() -> Result<()> {
    with_virtual_macs(Kind::VrrpUser, Kind::VrrpUser)
}

#[test]
fn with_virtual_macs_above_keepalived() -> Result<()> {
    with_virtual_macs(Kind::VrrpUser, Kind::Keepalived)
}

#[test]
fn with_virtual_macs_below_keepalived() -> Result<()> {
    with_virtual_macs(Kind::Keepalived, Kind::VrrpUser)
}

#[test]
fn a_handover_is_no_split_brain() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut other = VrrpUser::start(&b, &conf(50))?;
    other.wait_state(&b, ROUTER, "MASTER", STEP)?;
    let mut daemon = VrrpUser::start(&a, &conf(100))?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    other.wait_state(&b, ROUTER, "BACKUP", STEP)?;
    // Until after the second group of gratuitous ARP.
    pause(Duration::from_secs(7))?;
    daemon.stop()?;
    other.wait_state(&b, ROUTER, "MASTER", STEP)?;
    assert_eq!((logged(&daemon), logged(&other)), ((0, 0), (0, 0)));
    assert_eq!(other.reason(&b, "arp_conflict")?, 0);
    Ok(())
}

/// Two masters, each of which must ignore the other.
#[test]
fn refused_advertisements_are_put_into_words() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut daemon = VrrpUser::start(&a, &conf(100))?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let instance = |vrid| Instance::new(vrid, 50, "10.0.0.100/24");
    let others = [
        (instance(51).password("2222"), "10.0.0.2 advertises VRID 51 with another password: "),
        (instance(51), "10.0.0.2 advertises VRID 51 with authentication type 0, "),
        (instance(51).v3("1"), "10.0.0.2 advertises VRID 51 as VRRP version 3 instead of 2: "),
        (instance(52), "10.0.0.2 advertises our address 10.0.0.100 as VRID 52 instead of 51: "),
    ];
    for (conf, words) in others {
        let mut other = Kind::Keepalived.start(&b, &conf.to_string())?;
        other.wait_state(&b, ROUTER, "MASTER", STEP)?;
        let line = lab.wait_until(STEP, words, || {
            Ok(problems(&daemon, &a)?.into_iter().find(|line| line.starts_with(words)))
        })?;
        println!("{line}");
        // Both have the address, which ARP shows as well.
        let mac = mac(&b);
        lab.wait_until(STEP, "the split brain", || {
            let lines = problems(&daemon, &a)?;
            Ok(lines.iter().any(|line| line.contains(&mac)).then_some(()))
        })?;
        other.stop()?;
    }
    lab.wait_until(STEP, "no problem is left", || {
        Ok(problems(&daemon, &a)?.is_empty().then_some(()))
    })
}
