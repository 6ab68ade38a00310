//! Virtual addresses that somebody else has put on a host: never removed, and said.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
const ADDRESS: &str = "10.0.0.100/24";
const ROUTER: &str = "VI_1";

fn conf(priority: u8, address: &str) -> String {
    Instance::new(51, priority, address).to_string()
}

/// What `status` complains about.
fn problems(daemon: &VrrpUser, host: &Host) -> Result<String> {
    Ok(daemon.router(host, ROUTER)?["problems"].to_string())
}

#[test]
fn an_address_added_by_hand_is_said_and_stays() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    b.ip(&["address", "add", ADDRESS, "dev", "eth0"])?;
    let mut on_a = VrrpUser::start(&a, &conf(150, ADDRESS))?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let mut on_b = VrrpUser::start(&b, &conf(100, ADDRESS))?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    let mend = "ip address del 10.0.0.100/24 dev eth0";
    assert!(problems(&on_b, &b)?.contains(mend), "{}", problems(&on_b, &b)?);
    assert_eq!(problems(&on_a, &a)?, "[]");
    let (report, _) = VrrpUser::doctor(&b, &[])?;
    assert!(report.to_string().contains(mend), "{report}");

    // Master with it, backup again, and ended: it is not ours to remove.
    on_a.stop()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    let mut on_a = VrrpUser::start(&a, &conf(150, ADDRESS))?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    lab.wait_until(LONG, "a has the address", || Ok(a.has_address(VIP)?.then_some(())))?;
    assert!(b.has_address(VIP)?);
    assert!(problems(&on_b, &b)?.contains(mend));

    // The advice mends it, and then it comes and goes with the state.
    b.ip(&["address", "del", ADDRESS, "dev", "eth0"])?;
    lab.wait_until(LONG, "no problem", || Ok((problems(&on_b, &b)? == "[]").then_some(())))?;
    // Here it is added while the daemon runs.
    b.ip(&["address", "add", ADDRESS, "dev", "eth0"])?;
    lab.wait_until(LONG, "a problem", || Ok(problems(&on_b, &b)?.contains(mend).then_some(())))?;
    on_a.stop()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    b.ip(&["address", "del", ADDRESS, "dev", "eth0"])?;
    lab.wait_until(LONG, "its own address, and no problem", || {
        Ok((b.has_address(VIP)? && problems(&on_b, &b)? == "[]").then_some(()))
    })?;
    assert_eq!(on_b.state(&b, ROUTER)?, "MASTER");
    on_b.stop()?;
    assert!(!b.has_address(VIP)?);
    Ok(())
}

#[test]
fn the_hosts_own_address_is_never_removed() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let static_address = "static_ipaddress {\n    10.20.0.1/24 dev lo\n}\n";
    host.ip(&["address", "add", "10.20.0.1/24", "dev", "lo"])?;
    let wrong = static_address.to_owned() + &conf(100, "10.0.0.1/24");
    let before = host.addresses()?;
    let mut daemon = VrrpUser::start(&host, &wrong)?;
    // Another address to advertise from makes it a backup and a master.
    for more in [false, true] {
        let state = if more { "MASTER" } else { "FAULT" };
        if more {
            host.ip(&["address", "add", "10.0.0.3/24", "dev", "eth0"])?;
        }
        daemon.wait_state(&host, ROUTER, state, LONG)?;
        let said = problems(&daemon, &host)?;
        assert!(said.contains("or priority 255"), "{said}");
    }
    host.ip(&["address", "del", "10.0.0.3/24", "dev", "eth0"])?;
    daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
    assert_eq!(host.addresses()?, before);
    // As the advice says: that takes a reload.
    daemon.hang_up(&host, &(static_address.to_owned() + &conf(255, "10.0.0.1/24")))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert_eq!(problems(&daemon, &host)?, "[]");
    daemon.hang_up(&host, &(static_address.to_owned() + &conf(100, ADDRESS)))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert_eq!(daemon.router(&host, ROUTER)?["source"], "10.0.0.1");
    daemon.stop()?;
    assert_eq!(host.addresses()?, before);
    // Nor one that was to be there always, and was there before.
    assert!(host.ip(&["address", "show", "dev", "lo"])?.contains("10.20.0.1/24"));
    Ok(())
}
