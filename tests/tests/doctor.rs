//! What `vrrp-user doctor` finds on hosts that are well and on hosts that are not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use vrrp_tests::{Frame, Host, Instance, Keepalived, Lab, RawSocket, Result, VrrpUser};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);
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
