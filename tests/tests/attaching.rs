//! What comes of it when a program is attached: links that go down for that, and places that become free.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser, pause};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(60);
const ROUTER: &str = "VI_1";

/// Ten advertisements a second: a master is given up after a third of a second.
fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").v3("0.1").to_string()
}

fn wait_log(lab: &Lab, daemon: &VrrpUser, what: &str) -> Result<()> {
    lab.wait_until(LONG, what, || Ok(daemon.log().contains(what).then_some(())))
}

/// Starts a daemon, and takes the carrier away when it has attached its program, as drivers do that reset their link.
fn start_and_lose_carrier(lab: &Lab, host: &Host, conf: &str) -> Result<VrrpUser> {
    const IN_TIME: &str = "its link went down when the program was attached";
    for _ in 0..5 {
        let mut daemon = VrrpUser::start(host, conf)?;
        wait_log(lab, &daemon, "captures by native XDP")?;
        host.unplug()?;
        lab.wait_until(LONG, "the daemon knows", || {
            let log = daemon.log().text();
            Ok((log.contains(IN_TIME) || log.contains("FAULT")).then_some(()))
        })?;
        if daemon.log().contains(IN_TIME) {
            return Ok(daemon);
        }
        // Too late on a busy machine: then it is a fault as any other.
        host.replug()?;
        daemon.stop()?;
    }
    panic!("this machine is too busy");
}

/// It is waited for, without FAULT and without a second master; not for ever.
#[test]
fn a_link_that_is_reset_is_waited_for() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut on_a = VrrpUser::start(&a, &conf(150))?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let mut on_b = start_and_lose_carrier(&lab, &b, &conf(100))?;
    assert!(on_b.router(&b, ROUTER)?["problems"].to_string().contains("it is waited for"));
    // Several times the master-down interval.
    pause(Duration::from_secs(2))?;
    assert_eq!(on_b.state(&b, ROUTER)?, "BACKUP");
    b.replug()?;
    wait_log(&lab, &on_b, "its link is up again")?;
    pause(Duration::from_secs(1))?;
    let stats = on_b.router_stats(&b, ROUTER)?;
    assert_eq!((&stats["state"], &stats["became_master"]), (&"BACKUP".into(), &0.into()));
    assert_eq!(on_b.router(&b, ROUTER)?["problems"].to_string(), "[]");
    assert!(!on_b.log().contains("FAULT"), "{}", on_b.log().text());
    on_b.stop()?;

    let mut on_b = start_and_lose_carrier(&lab, &b, &conf(100))?;
    on_b.wait_state(&b, ROUTER, "FAULT", LONG)?;
    assert!(on_b.log().contains("its link has not come back"), "{}", on_b.log().text());
    b.replug()?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    assert_eq!(on_b.router_stats(&b, ROUTER)?["became_master"], 0);
    on_a.kill()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    Ok(())
}

/// XDP that becomes free is taken: at once where the kernel tells, and where it does not when somebody asks for the
/// status.
#[test]
fn xdp_is_taken_when_it_is_free() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut on_a = VrrpUser::start(&a, &conf(150))?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;

    b.attach_foreign_xdp()?;
    let mut on_b = VrrpUser::start(&b, &conf(100))?;
    wait_log(&lab, &on_b, "captures by tc (XDP is taken by another program")?;
    // Another change of the interface is no reason.
    b.ip(&["link", "set", "eth0", "mtu", "1400"])?;
    b.ip(&["link", "set", "dev", "eth0", "xdp", "off"])?;
    wait_log(&lab, &on_b, "captures by native XDP")?;
    let status = on_b.status(&b)?;
    let interface = &status["interfaces"][0];
    assert_eq!((&interface["capture"], interface.get("capture_why")), (&"native".into(), None));
    assert!(b.ingress_links("eth0")?.is_empty());
    assert_eq!(status["counters"]["capture_lost"], 0);
    pause(Duration::from_secs(1))?;
    assert_eq!(on_b.router_stats(&b, ROUTER)?["became_master"], 0);
    on_b.stop()?;

    let link = b.link_foreign_xdp()?;
    let mut on_b = VrrpUser::start(&b, &conf(100))?;
    wait_log(&lab, &on_b, "captures by tc (XDP is taken by another program")?;
    drop(link);
    lab.wait_until(LONG, "native XDP", || {
        Ok((on_b.status(&b)?["interfaces"][0]["capture"] == "native").then_some(()))
    })?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    on_a.kill()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    Ok(())
}
