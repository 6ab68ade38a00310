//! An interface that is given another name while it is up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Error, Host, Instance, Lab, Result, VrrpUser};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(300);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";

/// Renames an interface, which older kernels (6.1 is one) do only while it is down.
fn rename(host: &Host, from: &str, to: &str) -> Result<()> {
    match host.ip(&["link", "set", "dev", from, "name", to]) {
        Err(Error::Command { output, .. }) if output.contains("busy") => {
            host.ip(&["link", "set", "dev", from, "down"])?;
            host.ip(&["link", "set", "dev", from, "name", to])?;
            host.ip(&["link", "set", "dev", to, "up"]).map(drop)
        }
        renamed => renamed.map(drop),
    }
}

#[test]
fn nothing_stays_on_an_interface_with_another_name() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = |priority| {
        let routes = "virtual_routes {\n    10.9.0.0/16 via 10.0.0.254 dev eth0\n}";
        let fixed = "static_ipaddress {\n    10.20.0.1/24 dev eth0\n}\n";
        fixed.to_owned() + &Instance::new(51, priority, "10.0.0.100/24").with(routes).to_string()
    };
    let mut on_a = VrrpUser::start(&a, &conf(150))?;
    let mut on_b = VrrpUser::start(&b, &conf(100))?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let added = |host| {
        let host: &Host = host;
        let addresses = host.addresses()?;
        let routes = host.ip(&["route"])?;
        let there = ["10.0.0.100/24", "10.20.0.1/24"].map(|a| addresses.contains(&a.to_owned()));
        Ok::<_, Error>([there[0], there[1], routes.contains("10.9.0.0/16")])
    };
    lab.wait_until(LONG, "all of it", || Ok((added(&a)? == [true; 3]).then_some(())))?;

    rename(&a, "eth0", "eth9")?;
    lab.wait_until(LONG, "nothing of it", || Ok((added(&a)? == [false; 3]).then_some(())))?;
    on_a.wait_state(&a, ROUTER, "FAULT", LONG)?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    assert!(!a.ip(&["link", "show", "dev", "eth9"])?.contains("xdp"));

    rename(&a, "eth9", "eth0")?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    lab.wait_until(LONG, "all of it", || Ok((added(&a)? == [true; 3]).then_some(())))?;
    on_a.stop()?;
    assert!(!a.has_address(VIP)?);
    on_b.stop()?;
    Ok(())
}
