//! What happens later than it could, as `status` shows it and a reload changes it. That it is as in keepalived, is in
//! `dropin.rs`.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vrrp_tests::{Host, Lab, Result, Tcpdump, VrrpUser, pause};

/// More than any change takes here: the master-down interval is under a second.
const LONG: Duration = Duration::from_secs(20);

/// A router with three addresses that advertises five times a second, and what stands before it.
fn conf(head: &str) -> String {
    format!(
        "{head}\n[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\nversion = 3\ninterval = \"200ms\"\n\
         addresses = [\"10.0.0.100/24\", \"10.0.0.101/24\", \"10.0.0.102/24\"]\n"
    )
}

fn start(host: &Host, head: &str) -> Result<VrrpUser> {
    VrrpUser::start_with(host, "vrrp.toml", &conf(head))
}

fn waiting(daemon: &VrrpUser, host: &Host) -> Result<u64> {
    Ok(daemon.status(host)?["announcements_waiting"].as_u64().unwrap_or(0))
}

/// How often each address was announced since then.
fn announced(arp: &Tcpdump, since: Instant) -> [usize; 3] {
    let lines = arp.log().lines();
    ["10.0.0.100", "10.0.0.101", "10.0.0.102"].map(|address| {
        let gratuitous = format!("tell {address},");
        lines.iter().filter(|(at, line)| *at >= since && line.contains(&gratuitous)).count()
    })
}

fn order(host: &Host, order: &str) -> Result<()> {
    let binary = VrrpUser::binary()?.display().to_string();
    let instance = VrrpUser::instance(host);
    host.namespace().run(&binary, &[order, "VI_1", "--instance", &instance])?;
    Ok(())
}

#[test]
fn announcements_wait_and_what_was_given_up_is_not_announced() -> Result<()> {
    let lab = Lab::new()?;
    let (ours, theirs) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let arp = Tcpdump::start_with(&theirs, "arp")?;
    let since = Instant::now();
    let mut daemon = start(&ours, "garp_interval = \"600s\"")?;
    daemon.wait_state(&ours, "VI_1", "MASTER", LONG)?;
    lab.wait_until(LONG, "announcements to wait", || {
        Ok((waiting(&daemon, &ours)? == 3).then_some(()))
    })?;
    order(&ours, "step-down")?;
    daemon.wait_state(&ours, "VI_1", "FAULT", LONG)?;
    lab.wait_until(LONG, "nothing to wait any more", || {
        Ok((waiting(&daemon, &ours)? == 0).then_some(()))
    })?;
    order(&ours, "resume")?;
    daemon.wait_state(&ours, "VI_1", "MASTER", LONG)?;
    lab.wait_until(LONG, "announcements to wait again", || {
        Ok((waiting(&daemon, &ours)? == 3).then_some(()))
    })?;
    assert_eq!(announced(&arp, since).iter().sum::<usize>(), 1, "one in ten minutes");
    let since = Instant::now();
    daemon.rewrite(&conf(""))?;
    let (report, code) = daemon.reload(&ours, &[])?;
    assert_eq!((code, &report["settings"][0]), (Some(0), &json!("pauses between announcements")));
    lab.wait_until(LONG, "everything that waited", || {
        Ok((announced(&arp, since).iter().all(|times| *times > 0)).then_some(()))
    })?;
    assert_eq!(waiting(&daemon, &ours)?, 0);
    Ok(())
}

#[test]
fn status_says_how_long_the_startup_delay_takes() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = start(&host, "startup_delay = \"600s\"")?;
    daemon.wait_state(&host, "VI_1", "BACKUP", LONG)?;
    // More than a master-down interval.
    pause(Duration::from_millis(1500))?;
    let status = daemon.status(&host)?;
    let left = status["startup_delay_s"].as_f64().unwrap();
    assert!(left > 500.0 && left < 600.0, "{status}");
    let router = &status["routers"][0];
    assert_eq!(router["state"], "BACKUP", "{status}");
    assert!(router["next_timer_ms"].as_u64().unwrap() > 500_000, "{status}");
    let why = router["cause"].as_str().unwrap();
    assert!(why.contains("startup delay for another 59"), "{status}");
    Ok(())
}

#[test]
fn a_link_that_is_down_counts_when_its_delay_is_over_or_gone() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let delay = "[[interface]]\nname = \"eth0\"\ndown_delay = \"60s\"\n";
    let slow = |head: &str| conf(head).replace("200ms", "40s");
    let mut daemon = VrrpUser::start_with(&host, "vrrp.toml", &slow(delay))?;
    daemon.wait_state(&host, "VI_1", "BACKUP", LONG)?;
    host.unplug()?;
    let interface =
        || Ok::<Value, vrrp_tests::Error>(daemon.status(&host)?["interfaces"][0].clone());
    lab.wait_until(LONG, "the link to be going down", || {
        let interface = interface()?;
        Ok((interface["changes_in_ms"].as_u64().is_some_and(|left| left > 30_000)).then_some(()))
    })?;
    assert_eq!(interface()?["up"], true);
    assert_eq!(daemon.state(&host, "VI_1")?, "BACKUP");
    host.replug()?;
    lab.wait_until(LONG, "the link to stay up", || {
        Ok(interface()?["changes_in_ms"].is_null().then_some(()))
    })?;
    host.unplug()?;
    lab.wait_until(LONG, "the link to be going down once more", || {
        Ok((!interface()?["changes_in_ms"].is_null()).then_some(()))
    })?;
    daemon.rewrite(&slow(""))?;
    let (report, code) = daemon.reload(&host, &[])?;
    assert_eq!(
        (code, &report["settings"][0]),
        (Some(0), &json!("delays of interfaces")),
        "{report}"
    );
    daemon.wait_state(&host, "VI_1", "FAULT", LONG)?;
    let problem =
        || Ok::<_, vrrp_tests::Error>(daemon.router(&host, "VI_1")?["problems"].to_string());
    assert!(problem()?.contains("has no carrier; waiting for it"), "{}", problem()?);
    host.ip(&["link", "set", "eth0", "down"])?;
    lab.wait_until(LONG, "the reason to be another one", || {
        Ok(problem()?.contains("`ip link set eth0 up`").then_some(()))
    })?;
    Ok(())
}
