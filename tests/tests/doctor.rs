//! What `vrrp-user doctor` finds on hosts that are well and on hosts that are not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use vrrp_tests::{Frame, Host, Instance, Keepalived, Lab, RawSocket, Result, VrrpUser, sample};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);
const OBSERVING: &str = include_str!("../../docs/observing.md");
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";
const GATEWAY: &str = "10.0.0.254";

fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").to_string()
}

fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|f| f["check"] == check).unwrap_or_else(|| panic!("no {check} in {report:#}"))
}

fn severity(report: &Value, check: &str) -> String {
    finding(report, check)["severity"].as_str().unwrap().to_owned()
}

fn text(report: &Value, check: &str) -> String {
    finding(report, check)["text"].as_str().unwrap().to_owned()
}

/// A master with a gateway.
fn master(lab: &Lab) -> Result<(Host, Host, VrrpUser)> {
    let (host, gateway) = (lab.host("a", "10.0.0.1/24")?, lab.host("gw", "10.0.0.254/24")?);
    host.ip(&["route", "add", "default", "via", GATEWAY])?;
    let mut daemon = VrrpUser::start(&host, &conf(100))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    Ok((host, gateway, daemon))
}

/// Drops on the bridge what matches.
fn block(lab: &Lab, rule: &str) -> Result<()> {
    let rules = format!(
        "table bridge doctor {{\nchain forward {{\ntype filter hook forward priority 0\n{rule} drop\n}}\n}}\n"
    );
    let file = lab.dir().join("doctor.nft");
    fs::write(&file, rules).unwrap();
    lab.network().run("nft", &["-f", &file.display().to_string()]).map(drop)
}

fn unblock(lab: &Lab) -> Result<()> {
    lab.network().run("nft", &["delete", "table", "bridge", "doctor"]).map(drop)
}

#[test]
fn a_filter_on_the_shared_address_is_named() -> Result<()> {
    let lab = Lab::new()?;
    let (host, _gateway, _daemon) = master(&lab)?;
    let check = "egress eth0";
    let (report, code) = VrrpUser::doctor(&host, &[])?;
    println!("{report:#}");
    assert_eq!(severity(&report, check), "fine", "{report:#}");
    assert!(code.unwrap() < 2, "{report:#}");
    for (name, severity) in [
        ("daemon", "fine"),
        ("kernel", "fine"),
        ("bpf", "fine"),
        ("bpffs", "fine"),
        ("capture eth0", "fine"),
        ("multicast eth0", "fine"),
        ("addresses", "fine"),
        ("refused", "fine"),
        ("other daemons", "fine"),
    ] {
        assert_eq!(self::severity(&report, name), severity, "{name}: {report:#}");
    }

    // As a cloud does that knows one address per port.
    block(&lab, "ether type ip ip saddr 10.0.0.100")?;
    let (report, code) = VrrpUser::doctor(&host, &[])?;
    let said = "packets from 10.0.0.100 do not come back from 10.0.0.254, from 10.0.0.1 they do";
    println!("{:#}", finding(&report, check));
    assert!(text(&report, check).starts_with(said), "{report:#}");
    assert_eq!((severity(&report, check).as_str(), code), ("broken", Some(2)));
    let output = VrrpUser::command(&host, "doctor")?.output().unwrap();
    let printed = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
    let printed = printed.replace(&VrrpUser::instance(&host), "default");
    for document in [OBSERVING, include_str!("../../docs/cloud.md")] {
        let shown = sample::shown(document, "vrrp-user doctor");
        assert!(shown.len() > 2);
        assert_eq!(sample::missing(&shown, &printed), None, "{printed}");
    }
    unblock(&lab)?;

    block(&lab, "ether type arp arp saddr ip 10.0.0.100")?;
    let (report, _) = VrrpUser::doctor(&host, &[])?;
    assert_eq!(severity(&report, check), "warning", "{report:#}");
    unblock(&lab)?;

    let (report, _) = VrrpUser::doctor(&host, &[])?;
    assert_eq!(severity(&report, check), "fine", "{report:#}");
    // A gateway that is not there tells nothing.
    let (report, _) = VrrpUser::doctor(&host, &["--gateway", "10.0.0.77"])?;
    assert_eq!(severity(&report, check), "skipped", "{report:#}");
    Ok(())
}

/// The link-local address of a host, once it can be used.
fn link_local(lab: &Lab, host: &Host) -> Result<String> {
    lab.wait_until(LONG, "a link-local address", || {
        let args = ["-6", "-o", "address", "show", "dev", "eth0", "scope", "link", "-tentative"];
        let text = host.ip(&args)?;
        let mut own = text.split_whitespace().filter(|word| !word.starts_with("fe80::100/"));
        Ok(own.find_map(|word| Some(word.split_once('/')?.0.to_owned())))
    })
}

/// As for IPv4, for an IPv6 router: what is lost on the way, who else has the address, and what the kernel found.
#[test]
fn a_filter_on_a_shared_ipv6_address_is_named() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("gw", "10.0.0.254/24")?);
    for (host, address) in [(&host, "2001:db8::1/64"), (&other, "2001:db8::fe/64")] {
        host.ip(&["address", "add", address, "dev", "eth0", "nodad"])?;
    }
    let (own, gateway) = (link_local(&lab, &host)?, link_local(&lab, &other)?);
    host.ip(&["-6", "route", "add", "default", "via", &gateway, "dev", "eth0"])?;
    let mut conf = Instance::new(51, 100, "fe80::100").v3("1");
    conf.addresses.push("2001:db8::100/64".into());
    let mut daemon = VrrpUser::start(&host, &conf.to_string())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let shared = ["fe80::100", "2001:db8::100"];
    lab.wait_until(LONG, "the addresses", || {
        Ok((host.has_address(shared[0])? && host.has_address(shared[1])?).then_some(()))
    })?;

    let check = "egress6 eth0";
    let well = || -> Result<()> {
        let (report, _) = VrrpUser::doctor(&host, &[])?;
        for name in [check, "addresses6", "dad eth0", "link-local eth0", "ip_nonlocal_bind6"] {
            assert_eq!(severity(&report, name), "fine", "{name}: {report:#}");
        }
        println!("{:#}", finding(&report, check));
        Ok(())
    };
    well()?;
    for address in shared {
        block(&lab, &format!("ether type ip6 ip6 saddr {address}"))?;
        let (report, code) = VrrpUser::doctor(&host, &[])?;
        let said =
            format!("packets from {address} do not come back from {gateway}, from {own} they do");
        println!("{:#}", finding(&report, check));
        assert!(text(&report, check).starts_with(&said), "{report:#}");
        assert_eq!((severity(&report, check).as_str(), code), ("broken", Some(2)));
        unblock(&lab)?;
    }
    // Only what finds the address: a takeover would not be noticed.
    block(&lab, "ether type ip6 ip6 saddr 2001:db8::100 icmpv6 type nd-neighbor-solicit")?;
    let (report, _) = VrrpUser::doctor(&host, &[])?;
    assert_eq!(severity(&report, check), "warning", "{report:#}");
    unblock(&lab)?;
    well()?;
    let (report, _) = VrrpUser::doctor(&host, &["--gateway", "fe80::77"])?;
    assert_eq!(severity(&report, check), "skipped", "{report:#}");

    // Somebody has the address.
    other.ip(&["address", "add", "2001:db8::100/64", "dev", "eth0", "nodad"])?;
    // And one of ours that the kernel asks for.
    other.ip(&["address", "add", "2001:db8::77/64", "dev", "eth0", "nodad"])?;
    host.ip(&["address", "add", "2001:db8::77/64", "dev", "eth0"])?;
    lab.wait_until(LONG, "the duplicate", || {
        let found = host.ip(&["-6", "address", "show", "dev", "eth0", "dadfailed"])?;
        Ok(found.contains("2001:db8::77").then_some(()))
    })?;
    let (report, code) = VrrpUser::doctor(&host, &[])?;
    println!("{report:#}");
    assert_eq!((severity(&report, "addresses6").as_str(), code), ("broken", Some(2)));
    let said = text(&report, "addresses6");
    assert!(said.contains("2001:db8::100 on eth0 at 02:00:00:00:00:02"), "{said}");
    assert!(!said.contains("fe80::100"), "{said}");
    assert_eq!(severity(&report, check), "fine", "of the other address: {report:#}");
    assert_eq!(severity(&report, "dad eth0"), "warning");
    assert!(text(&report, "dad eth0").contains("2001:db8::77"), "{report:#}");
    Ok(())
}

#[test]
fn others_are_named() -> Result<()> {
    let lab = Lab::new()?;
    let (host, gateway, _daemon) = master(&lab)?;
    // Somebody has the address.
    gateway.ip(&["address", "add", "10.0.0.100/24", "dev", "eth0"])?;
    // Somebody advertises with another version.
    let socket = RawSocket::open(&gateway)?;
    let address: Ipv4Addr = VIP.parse().unwrap();
    socket.send(&Frame::v3(gateway.ipv4()?, 51, 50, 100, &[address]).bytes())?;
    // Another daemon on this host.
    let other = Instance::new(77, 50, "10.0.0.177/24").name("VI_2");
    let keepalived = Keepalived::start(&host, &other.to_string())?;
    keepalived.wait_state(&host, "VI_2", "MASTER", LONG)?;

    let (report, code) = VrrpUser::doctor(&host, &[])?;
    println!("{report:#}");
    assert_eq!(code, Some(2));
    assert_eq!(severity(&report, "addresses"), "broken");
    assert!(text(&report, "addresses").contains("02:00:00:00:00:02"), "{report:#}");
    // Who gets the answers is chance then, and no filter.
    assert_eq!(severity(&report, "egress eth0"), "skipped", "{report:#}");
    assert_eq!(severity(&report, "refused"), "broken");
    assert!(text(&report, "refused").contains("10.0.0.254 advertises VRID 51 as VRRP version 3"));
    assert_eq!(severity(&report, "other daemons"), "warning");
    assert!(text(&report, "other daemons").starts_with("keepalived (pid "), "{report:#}");
    Ok(())
}

/// Before the daemon is started, and without one.
#[test]
fn a_host_without_a_daemon() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let (report, code) = VrrpUser::doctor(&host, &[])?;
    assert_eq!(severity(&report, "configuration"), "skipped");
    assert!(code.unwrap() < 2, "{report:#}");

    let file = host.dir("doctor")?.join("k.conf");
    let written = |text: &str| fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    written(&conf(100));
    let (report, code) = VrrpUser::doctor(&host, &["--config", &path])?;
    assert_eq!(severity(&report, "capture eth0"), "fine", "{report:#}");
    assert_eq!(severity(&report, "addresses"), "fine");
    assert_eq!(severity(&report, "egress"), "skipped");
    assert!(code.unwrap() < 2, "{report:#}");
    other.ip(&["address", "add", "10.0.0.100/24", "dev", "eth0"])?;
    let (report, _) = VrrpUser::doctor(&host, &["--config", &path])?;
    assert_eq!(severity(&report, "addresses"), "warning", "{report:#}");

    written(&conf(100).replace("eth0", "eth9"));
    let (report, code) = VrrpUser::doctor(&host, &["--config", &path])?;
    assert_eq!((severity(&report, "capture eth9").as_str(), code), ("broken", Some(2)));
    written("vrrp_instance A {\n}\n");
    let (report, code) = VrrpUser::doctor(&host, &["--config", &path])?;
    assert_eq!((severity(&report, "configuration").as_str(), code), ("broken", Some(2)));
    // Nothing was left.
    assert_eq!(host.addresses()?, ["127.0.0.1/8", "10.0.0.1/24"]);
    assert!(!lab.bpffs().join("vrrp-user").exists());
    Ok(())
}
