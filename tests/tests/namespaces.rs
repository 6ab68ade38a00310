//! One daemon with routers in several network namespaces, in none of which it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use vrrp_tests::{Host, Instance, Keepalived, Lab, Namespace, Result, VrrpUser};

const LONG: Duration = Duration::from_secs(20);
/// What the unit grants, to root: no CAP_SYS_ADMIN.
const RIGHTS: [&str; 2] = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf"];
/// And with the drop-in of docs/namespaces.md.
const MORE_RIGHTS: [&str; 2] =
    ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf,+sys_admin"];

/// An instance of a namespace, as a `keepalived.conf` has it.
fn instance(name: &str, vrid: u8, priority: u8, namespace: &str, more: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n net_namespace {namespace}\n interface eth0\n virtual_router_id {vrid}\n\
         priority {priority}\n advert_int 1\n virtual_ipaddress {{\n 10.0.0.{}/24\n }}\n{more}\n}}\n",
        50 + u16::from(vrid)
    )
}

/// Two hosts of routers, and the one where the daemon runs.
fn hosts(lab: &Lab) -> Result<[Host; 3]> {
    Ok([
        lab.host("red", "10.0.0.1/24")?,
        lab.host("blue", "10.0.0.3/24")?,
        lab.host("outside", "10.0.0.9/24")?,
    ])
}

/// The index of the interface of a host.
fn index(host: &Host) -> Result<u32> {
    let text = host.namespace().run("cat", &["/sys/class/net/eth0/ifindex"])?;
    Ok(text.trim().parse().unwrap())
}

#[test]
fn each_router_is_where_it_belongs_beside_keepalived() -> Result<()> {
    let lab = Lab::new()?;
    let [red, blue, outside] = hosts(&lab)?;
    let b = lab.host("b", "10.0.0.2/24")?;
    let theirs = [(51, "RED", "10.0.0.101/24"), (52, "BLUE", "10.0.0.102/24")];
    let theirs = theirs
        .map(|(vrid, name, vip)| Instance::new(vrid, 100, vip).to_string().replace("VI_1", name));
    let keepalived = Keepalived::start(&b, &theirs.concat())?;
    let said = red.dir("said")?.join("netns");
    let script = red.dir("said")?.join("script");
    let line = format!("#!/bin/sh\nreadlink /proc/self/ns/net > {}\n", said.display());
    fs::write(&script, line).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let both = |red: &Host, blue: &Host| {
        let route = format!(
            "virtual_routes {{\n 10.77.0.0/16 via 10.0.0.2\n }}\n notify_master {}",
            script.display()
        );
        "global_defs {\n script_user root\n}\n".to_owned()
            + &instance("RED", 51, 150, red.namespace().name(), &route)
            + &instance("BLUE", 52, 150, blue.namespace().name(), "")
    };
    let mut daemon = VrrpUser::start(&outside, &both(&red, &blue))?;
    for (host, router, vip) in [(&red, "RED", "10.0.0.101"), (&blue, "BLUE", "10.0.0.102")] {
        daemon.wait_state(&outside, router, "MASTER", LONG)?;
        lab.wait_until(LONG, "the address", || Ok(host.has_address(vip)?.then_some(())))?;
        lab.wait_until(LONG, "keepalived is the backup", || {
            let last = keepalived.states(router).last().cloned();
            Ok((last.as_deref() == Some("BACKUP")).then_some(()))
        })?;
        assert!(!outside.has_address(vip)?);
        let name = format!("{}/eth0", host.namespace().name());
        assert_eq!(daemon.router(&outside, router)?["interface"], *name);
    }
    assert!(red.ip(&["route"])?.contains("10.77.0.0/16") && !blue.has_address("10.0.0.101")?);
    assert!(outside.xdp_program()?.is_none());
    // Their interfaces have the same index, which XDP knows them by.
    assert_ne!(red.xdp_program()?.is_some(), blue.xdp_program()?.is_some());
    // Somebody takes the route away: the router lets the other one be master for a moment, and only that one.
    red.ip(&["route", "del", "10.77.0.0/16"])?;
    lab.wait_until(LONG, "the route", || {
        Ok(red.ip(&["route"])?.contains("10.77.0.0/16").then_some(()))
    })?;
    assert_eq!(daemon.router(&outside, "BLUE")?["state"], "MASTER");
    // Who adopts the daemon that is killed goes on where it was, in both.
    daemon.kill()?;
    let there = red.namespace().run("readlink", &["/proc/self/ns/net"])?;
    lab.wait_until(LONG, "the script has run", || {
        Ok((fs::read_to_string(&said).unwrap_or_default() == there).then_some(()))
    })?;
    let mut daemon = VrrpUser::start(&outside, &both(&red, &blue))?;
    for (router, host) in [("RED", &red), ("BLUE", &blue)] {
        daemon.wait_state(&outside, router, "MASTER", LONG)?;
        let interfaces = daemon.status(&outside)?["interfaces"].clone();
        let name = format!("{}/eth0", host.namespace().name());
        let on = interfaces.as_array().unwrap().iter().find(|it| it["name"] == *name).unwrap();
        if on["capture"] == "native" {
            let cause = daemon.router(&outside, router)?["cause"].to_string();
            assert!(cause.contains("adopted: goes on"), "{cause}: {interfaces}");
        }
    }
    for (host, vrid) in [(&red, "51"), (&blue, "52")] {
        let interface = format!("{}/eth0", host.namespace().name());
        let mut monitor = VrrpUser::command(&outside, "monitor")?;
        let seen = monitor
            .args(["-i", &interface, "--vrid", vrid, "--count", "1", "--json"])
            .output()
            .unwrap();
        let seen: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
        assert_eq!((&seen["interface"], &seen["direction"]), (&interface.into(), &"out".into()));
    }
    let pattern = format!("{}/*", red.namespace().name());
    let only = daemon.status_on(&outside, &pattern)?;
    assert_eq!(only["routers"].as_array().unwrap().len(), 1, "{only}");
    let conf = outside.dir("vrrp-user")?.join("vrrp.conf").display().to_string();
    let (report, _) = VrrpUser::doctor(&outside, &["--config", &conf])?;
    let findings = report["findings"].as_array().unwrap();
    let of = |host: &Host| {
        let name = host.namespace().name();
        findings.iter().filter(|it| it["check"].as_str().unwrap().contains(name)).count()
    };
    assert!(!report.to_string().contains("does not exist"), "{report}");
    // Only one of them has a program of ours: the other one is captured by a packet socket.
    assert!(of(&red) + of(&blue) > 0, "{report}");
    let stats = daemon.stats(&outside)?;
    assert_eq!(stats["routers"][0]["interface"], format!("{}/eth0", red.namespace().name()));
    // What is left of a dead one is found where it was.
    daemon.kill()?;
    let (code, said) = VrrpUser::cleanup(&outside)?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("10.0.0.101") && said.contains("10.0.0.102"), "{said}");
    assert!(!red.has_address("10.0.0.101")? && !blue.has_address("10.0.0.102")?);
    let mut daemon = VrrpUser::start(&outside, &both(&red, &blue))?;
    daemon.wait_state(&outside, "RED", "MASTER", LONG)?;
    lab.wait_until(LONG, "the route", || {
        Ok(red.ip(&["route"])?.contains("10.77.0.0/16").then_some(()))
    })?;
    daemon.stop()?;
    assert!(!red.has_address("10.0.0.101")? && !blue.has_address("10.0.0.102")?);
    assert!(!red.ip(&["route"])?.contains("10.77.0.0/16") && red.xdp_program()?.is_none());
    Ok(())
}

/// A pair of interfaces between two namespaces, each with an address.
fn pair(here: &Namespace, there: &Namespace) -> Result<()> {
    here.ip(&[
        "link",
        "add",
        "eth0",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        there.name(),
    ])?;
    for (namespace, address) in [(here, "10.0.0.1/24"), (there, "10.0.0.2/24")] {
        namespace.ip(&["address", "add", address, "dev", "eth0"])?;
        namespace.ip(&["link", "set", "eth0", "up"])?;
    }
    Ok(())
}

/// Removes namespaces when it is dropped.
struct Names([String; 3]);

impl Names {
    fn new(lab: &Lab) -> Self {
        Self(["n", "m", "o"].map(|name| format!("{}-{name}", lab.name())))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// File descriptors of a process.
fn descriptors(pid: impl std::fmt::Display) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn namespaces_come_and_go() -> Result<()> {
    let lab = Lab::new()?;
    let names = Names::new(&lab);
    let [name, peer, other] = &names.0;
    let outside = lab.host("outside", "10.0.0.9/24")?;
    let text = instance("VI_1", 51, 150, name, "") + &instance("VI_2", 51, 150, other, "");
    let mut daemon = VrrpUser::start(&outside, &text)?;
    daemon.wait_state(&outside, "VI_1", "FAULT", LONG)?;
    let problems = daemon.status(&outside)?["routers"][0]["problems"].to_string();
    assert!(problems.contains(&format!("there is no network namespace {name}")), "{problems}");
    let pid = daemon.process().pid();
    let mut before = None;
    for round in 0..3 {
        let there = Namespace::create(peer)?;
        let here = Namespace::create(name)?;
        pair(&here, &there)?;
        daemon.wait_state(&outside, "VI_1", "MASTER", LONG)?;
        lab.wait_until(LONG, "the address", || {
            Ok(there.run("ping", &["-c1", "-W1", "10.0.0.101"]).is_ok().then_some(()))
        })?;
        // Its sockets, and its programs, would keep it and its interfaces: the other end goes with it.
        Command::new("ip").args(["netns", "del", name]).output().unwrap();
        daemon.wait_state(&outside, "VI_1", "FAULT", LONG)?;
        drop(here);
        lab.wait_until(LONG, "the other end is gone", || {
            Ok((!there.ip(&["link"])?.contains("eth0")).then_some(()))
        })?;
        drop(there);
        Command::new("ip").args(["netns", "del", peer]).output().unwrap();
        let now = descriptors(pid);
        let before = *before.get_or_insert(now);
        assert!(now <= before, "round {round}: {now} descriptors, {before} at first");
    }
    daemon.stop()?;
    Ok(())
}

/// Two interfaces of the same index: nothing of one router is mixed up with the other.
#[test]
fn interfaces_of_one_index_are_told_apart() -> Result<()> {
    let lab = Lab::new()?;
    let names = Names::new(&lab);
    let [one, two, peer] = &names.0;
    let outside = lab.host("outside", "10.0.0.9/24")?;
    let b = lab.host("b", "10.0.0.2/24")?;
    let red = lab.host("red", "10.0.0.1/24")?;
    // One with the index of another one's interface, and the same VRID and address in it.
    let (here, there) = (Namespace::create(one)?, Namespace::create(peer)?);
    let index = index(&red)?.to_string();
    here.ip(&[
        "link", "add", "name", "eth0", "index", &index, "type", "veth", "peer", "name", "eth0",
        "netns", peer,
    ])?;
    for (namespace, address) in [(&here, "10.0.0.1/24"), (&there, "10.0.0.2/24")] {
        namespace.ip(&["address", "add", address, "dev", "eth0"])?;
        namespace.ip(&["link", "set", "eth0", "up"])?;
    }
    let text = instance("RED", 51, 100, red.namespace().name(), "")
        + &instance("ONE", 51, 100, one, "")
        + &instance("TWO", 51, 100, two, "");
    let mut daemon = VrrpUser::start(&outside, &text)?;
    for router in ["RED", "ONE"] {
        daemon.wait_state(&outside, router, "MASTER", LONG)?;
    }
    // A better master on the network of one of them.
    let keepalived = Keepalived::start(&b, &Instance::new(51, 200, "10.0.0.101/24").to_string())?;
    daemon.wait_state(&outside, "RED", "BACKUP", LONG)?;
    assert_eq!(daemon.router(&outside, "ONE")?["state"], "MASTER");
    assert!(!red.has_address("10.0.0.101")?);
    assert!(there.run("ping", &["-c1", "-W1", "10.0.0.101"]).is_ok());
    drop(keepalived);
    daemon.wait_state(&outside, "RED", "MASTER", LONG)?;
    let problems = daemon.router(&outside, "TWO")?["problems"].to_string();
    assert!(problems.contains("there is no network namespace"), "{problems}");
    // One namespace under two names.
    Command::new("ln").args(["-s", one, &format!("/run/netns/{two}")]).output().unwrap();
    lab.wait_until(LONG, "the second name is refused", || {
        let problems = daemon.router(&outside, "TWO")?["problems"].to_string();
        Ok(problems.contains(&format!("{two} is the same as {one}")).then_some(()))
    })?;
    fs::remove_file(format!("/run/netns/{two}")).unwrap();
    assert_eq!(daemon.router(&outside, "ONE")?["state"], "MASTER");
    daemon.stop()?;
    Ok(())
}

#[test]
fn what_takes_more_rights_than_the_unit_has_is_said() -> Result<()> {
    let lab = Lab::new()?;
    let [red, blue, outside] = hosts(&lab)?;
    let own = Instance::new(60, 150, "10.0.0.110/24").to_string();
    let text = own
        + &instance("RED", 51, 150, red.namespace().name(), "")
        + &instance("BLUE", 52, 150, blue.namespace().name(), "");
    let mut daemon = VrrpUser::start_under(&outside, &RIGHTS, "vrrp.conf", &text, &[])?;
    // What is at home is not concerned.
    daemon.wait_state(&outside, "VI_1", "MASTER", LONG)?;
    let problems = daemon.router(&outside, "RED")?["problems"].to_string();
    assert!(problems.contains("CAP_SYS_ADMIN"), "{problems}");
    daemon.stop()?;
    let mut daemon = VrrpUser::start_under(&outside, &MORE_RIGHTS, "vrrp.conf", &text, &[])?;
    for router in ["VI_1", "RED", "BLUE"] {
        daemon.wait_state(&outside, router, "MASTER", LONG)?;
    }
    daemon.stop()?;
    assert!(!red.has_address("10.0.0.101")? && !blue.has_address("10.0.0.102")?);
    Ok(())
}
