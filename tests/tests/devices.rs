//! What happens to interfaces while routers run on them: no backup becomes a second master because it is deaf, and what
//! keeps a router out is said by its name. For renamed interfaces see `renamed.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(300);
const ROUTER: &str = "VI_1";

/// An advertisement a second, as a processor that is emulated sends ten of them too late.
fn router(name: &str, interface: &str, priority: u8) -> Instance {
    let mut instance = Instance::new(51, priority, "10.0.0.100/24").name(name);
    instance.interface = interface.into();
    instance
}

/// A backup on `eth0` of b that hears a.
fn backup(lab: &Lab) -> Result<(Host, [VrrpUser; 2])> {
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut on_a = VrrpUser::start(&a, &router(ROUTER, "eth0", 150).to_string())?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let mut on_b = VrrpUser::start(&b, &router(ROUTER, "eth0", 100).to_string())?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    Ok((b, [on_a, on_b]))
}

/// It is a backup again, hears the master, and was none itself.
fn hears(daemon: &mut VrrpUser, host: &Host) -> Result<()> {
    daemon.wait_state(host, ROUTER, "BACKUP", LONG)?;
    // For long enough to become master, if it were deaf.
    let heard = || -> Result<u64> {
        let stats = daemon.router_stats(host, ROUTER)?;
        assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));
        Ok(stats["adverts_received"].as_u64().unwrap())
    };
    let before = heard()?;
    host.lab().wait_until(LONG, "five more advertisements", || {
        Ok((heard()? >= before + 5).then_some(()))
    })?;
    assert_eq!(daemon.router(host, ROUTER)?["problems"].to_string(), "[]");
    Ok(())
}

/// The master goes, and the backup notices.
fn takes_over(mut master: VrrpUser, mut backup: VrrpUser, host: &Host) -> Result<()> {
    master.stop()?;
    backup.wait_state(host, ROUTER, "MASTER", LONG)?;
    backup.stop()?;
    Ok(())
}

#[test]
fn a_port_of_a_bridge_hears() -> Result<()> {
    let lab = Lab::new()?;
    let (b, [on_a, mut on_b]) = backup(&lab)?;
    b.ip(&["link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])?;
    b.ip(&["link", "set", "br0", "up"])?;
    b.ip(&["link", "set", "eth0", "master", "br0"])?;
    hears(&mut on_b, &b)?;
    b.ip(&["link", "set", "eth0", "nomaster"])?;
    hears(&mut on_b, &b)?;
    takes_over(on_a, on_b, &b)
}

/// A bond takes only what is down.
#[test]
fn a_port_of_a_bond_hears() -> Result<()> {
    let lab = Lab::new()?;
    let (b, [on_a, mut on_b]) = backup(&lab)?;
    if !b.has_devices(&["bond"])? {
        return Ok(());
    }
    b.ip(&["link", "add", "bond0", "type", "bond", "mode", "active-backup", "miimon", "100"])?;
    b.ip(&["link", "set", "bond0", "up"])?;
    b.ip(&["link", "set", "eth0", "down"])?;
    on_b.wait_state(&b, ROUTER, "FAULT", LONG)?;
    let said = on_b.router(&b, ROUTER)?["problems"].to_string();
    assert!(said.contains("interface eth0 is down"), "{said}");
    b.ip(&["link", "set", "eth0", "master", "bond0"])?;
    hears(&mut on_b, &b)?;
    takes_over(on_a, on_b, &b)
}

#[test]
fn an_interface_goes_to_another_namespace_and_comes_back() -> Result<()> {
    let lab = Lab::new()?;
    let (b, [_on_a, mut on_b]) = backup(&lab)?;
    let elsewhere = lab.network().name();
    // There is an eth0 in no other place.
    b.ip(&["link", "set", "eth0", "netns", elsewhere])?;
    on_b.wait_state(&b, ROUTER, "FAULT", LONG)?;
    lab.wait_until(LONG, "it is said why", || {
        let said = on_b.router(&b, ROUTER)?["problems"].to_string();
        Ok(said.contains("does not exist").then_some(()))
    })?;
    let there = lab.network().ip(&["link", "show", "dev", "eth0"])?;
    assert!(!there.contains("xdp"), "{there}");
    lab.network().ip(&["link", "set", "eth0", "netns", b.namespace().name()])?;
    b.ip(&["address", "add", "10.0.0.2/24", "dev", "eth0"])?;
    b.ip(&["link", "set", "eth0", "up"])?;
    hears(&mut on_b, &b)?;
    on_b.stop()?;
    Ok(())
}

/// Below a device with an XDP program, the kernel takes none any more.
fn above_and_below(kind: &str) -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    if !host.has_devices(&[kind])? {
        return Ok(());
    }
    let options: &[&str] = if kind == "vlan" { &["id", "7"] } else { &["mode", "bridge"] };
    let add = ["link", "add", "link", "eth0", "name", "top0", "type", kind];
    host.ip(&[&add[..], options].concat())?;
    host.ip(&["address", "add", "10.7.0.1/24", "dev", "top0"])?;
    host.ip(&["link", "set", "top0", "up"])?;
    let below = || router("BELOW", "eth0", 100).to_string();
    let above = || {
        let mut above = router("ABOVE", "top0", 100);
        above.addresses = vec!["10.7.0.100/24".into()];
        above.to_string()
    };
    let both = [below() + &above(), above() + &below()];
    let mut daemon = VrrpUser::start(&host, &above())?;
    daemon.wait_state(&host, "ABOVE", "MASTER", LONG)?;
    for conf in [&both[0], &below(), &both[1], &above(), &both[0]] {
        daemon.hang_up(&host, conf)?;
        for name in ["ABOVE", "BELOW"] {
            if conf.contains(name) {
                daemon.wait_state(&host, name, "MASTER", LONG)?;
            }
        }
        let status = daemon.status(&host)?;
        for interface in status["interfaces"].as_array().unwrap() {
            assert!(interface["capture"].is_string(), "{status}");
        }
        // What has XDP of its own keeps it, whatever is above, unless that is a VLAN. Without tcx, the device above has
        // XDP, too, so that it depends on the order.
        if conf.contains("BELOW") && !daemon.log().contains("the kernel has no tcx") {
            assert_eq!(host.xdp_program()?.is_some(), kind != "vlan", "{status}");
        }
    }
    daemon.stop()?;
    Ok(())
}

#[test]
fn a_macvlan_and_its_device_in_any_order() -> Result<()> {
    above_and_below("macvlan")
}

#[test]
fn a_vlan_and_its_device_in_any_order() -> Result<()> {
    above_and_below("vlan")
}
