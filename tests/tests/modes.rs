//! On whatever kind of device: adverts are heard, and a frame counts for the device that it belongs to.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::devices::{bonds, cards, ipvlan, vlan};
use vrrp_tests::{Error, Host, Instance, Keepalived, Lab, Result, VrrpUser};

/// More than any change takes here, also where a processor is emulated.
const LONG: Duration = Duration::from_secs(300);

/// A router on an interface, with an address of its own network.
fn router(name: &str, interface: &str, priority: u8, network: u8) -> Instance {
    let mut instance = Instance::new(51, priority, &format!("10.{network}.0.100/24")).name(name);
    instance.interface = interface.into();
    instance
}

/// How an interface captures, as `status` names it.
fn capture(daemon: &VrrpUser, host: &Host, interface: &str) -> Result<String> {
    let status = daemon.status(host)?;
    let all = status["interfaces"].as_array().expect("a list");
    let found = all.iter().find(|found| found["name"] == interface);
    Ok(found.map_or_else(String::new, |found| found["capture"].as_str().unwrap_or("").to_owned()))
}

/// How an interface captures that is not to have an XDP program of its own driver's.
fn instead(daemon: &VrrpUser) -> &'static str {
    // Without tcx a tc program is the second choice, unless there is no XDP at all.
    let no_tcx = daemon.log().contains("the kernel has no tcx");
    if no_tcx && has_xdp(daemon) { "generic" } else { "tc" }
}

/// Whether the kernel takes the program for XDP, which 5.10 does not.
fn has_xdp(daemon: &VrrpUser) -> bool {
    !daemon.log().contains("the kernel refuses the program vrrp_xdp")
}

/// Switches VLAN offloads of `eth0` on or off, both ways.
fn offload(host: &Host, on: bool) -> Result<()> {
    /// `SIOCETHTOOL` (linux/sockios.h).
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    /// `ETHTOOL_GFLAGS`, `ETHTOOL_SFLAGS`, and the flags of both offloads (linux/ethtool.h).
    const GET: u32 = 0x25;
    const SET: u32 = 0x26;
    const VLAN: u32 = 1 << 7 | 1 << 8;
    let ioctl = |command: u32, flags: u32| -> std::io::Result<u32> {
        let mut value = [command, flags];
        // SAFETY: an interface request of zeros is one without a name.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"eth0") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
        // SAFETY: the request is alive, and points to a `struct ethtool_value`, which is these two numbers.
        let result = unsafe { libc::ioctl(descriptor, SIOCETHTOOL, &raw mut request) };
        if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(value[1]) }
    };
    let set = || {
        let flags = ioctl(GET, 0)?;
        ioctl(SET, if on { flags | VLAN } else { flags & !VLAN })?;
        let flags = ioctl(GET, 0)? & VLAN;
        assert_eq!(flags, if on { VLAN } else { 0 });
        Ok(())
    };
    host.namespace().enter(set)?.map_err(Error::io("switch VLAN offloads"))
}

/// VRID 51 on a device and on a VLAN above it, each host the master of one: both stay apart.
fn apart(a: &Host, b: &Host, device: &str, vlan: &str) -> Result<()> {
    let conf = |on_device, on_vlan| {
        format!("{}\n{}", router("PLAIN", device, on_device, 0), router("VLAN", vlan, on_vlan, 7))
    };
    let mut on_a = VrrpUser::start(a, &conf(150, 50))?;
    let mut on_b = Keepalived::start(b, &conf(100, 100))?;
    on_a.wait_state(a, "PLAIN", "MASTER", LONG)?;
    on_b.wait_state(b, "VLAN", "MASTER", LONG)?;
    on_a.wait_state(a, "VLAN", "BACKUP", LONG)?;
    on_b.wait_state(b, "PLAIN", "BACKUP", LONG)?;
    // For longer than a master-down interval, each hears its own and nobody else's.
    let heard = |daemon: &VrrpUser| -> Result<u64> {
        Ok(daemon.router_stats(a, "VLAN")?["adverts_received"].as_u64().unwrap_or(0))
    };
    let before = heard(&on_a)?;
    a.lab().wait_until(LONG, "five more advertisements", || {
        Ok((heard(&on_a)? >= before + 5).then_some(()))
    })?;
    assert_eq!(on_a.state(a, "PLAIN")?, "MASTER");
    assert_eq!(on_a.state(a, "VLAN")?, "BACKUP");
    assert_eq!(on_a.router_stats(a, "PLAIN")?["became_master"], 1, "once and for all");
    assert_eq!(on_b.states("VLAN").last().map(String::as_str), Some("MASTER"));
    assert_eq!(on_b.states("PLAIN").last().map(String::as_str), Some("BACKUP"));
    let reasons = on_a.stats(a)?["reasons"].clone();
    assert_eq!(reasons["own_address"], 0, "{reasons}");
    on_b.stop()?;
    on_a.wait_state(a, "VLAN", "MASTER", LONG)?;
    on_a.stop()?;
    Ok(())
}

fn two_hosts(lab: &Lab) -> Result<(Host, Host)> {
    Ok((lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?))
}

#[test]
fn a_vlan_is_not_its_device_with_offloads() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan"])? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        offload(host, true)?;
        vlan(host, "eth0", 7, number, "802.1Q")?;
    }
    apart(&a, &b, "eth0", "eth0.7")
}

#[test]
fn a_vlan_is_not_its_device_without_offloads() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan"])? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        offload(host, false)?;
        vlan(host, "eth0", 7, number, "802.1Q")?;
    }
    apart(&a, &b, "eth0", "eth0.7")
}

#[test]
fn a_vlan_in_a_vlan_is_neither() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan"])? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        vlan(host, "eth0", 9, number, "802.1ad")?;
        host.ip(&["address", "flush", "dev", "eth0.9"])?;
        host.ip(&["address", "add", &format!("10.0.0.{number}/24"), "dev", "eth0.9"])?;
        host.ip(&["address", "flush", "dev", "eth0"])?;
        vlan(host, "eth0.9", 7, number, "802.1Q")?;
    }
    apart(&a, &b, "eth0.9", "eth0.9.7")
}

/// A VLAN device that comes while the daemon runs makes it change over, and one that goes back again.
#[test]
fn a_vlan_device_comes_and_goes() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan"])? {
        return Ok(());
    }
    let mut on_b = VrrpUser::start(&b, &router("PLAIN", "eth0", 150, 0).to_string())?;
    let mut on_a = VrrpUser::start(&a, &router("PLAIN", "eth0", 100, 0).to_string())?;
    on_b.wait_state(&b, "PLAIN", "MASTER", LONG)?;
    on_a.wait_state(&a, "PLAIN", "BACKUP", LONG)?;
    let captures = |mode: &str| {
        lab.wait_until(LONG, &format!("capture by {mode}"), || {
            let stats = on_a.stats(&a)?["interfaces"][0]["capture"].clone();
            Ok((capture(&on_a, &a, "eth0")? == mode && stats == mode).then_some(()))
        })
    };
    // Without XDP there is nothing to change over to.
    let has_xdp = has_xdp(&on_a);
    let without_vlan = if has_xdp { "native" } else { "tc" };
    captures(without_vlan)?;
    vlan(&a, "eth0", 7, 1, "802.1Q")?;
    captures("tc")?;
    assert_eq!(a.xdp_program()?, None);
    hears(&on_a, &a)?;
    a.ip(&["link", "del", "eth0.7"])?;
    captures(without_vlan)?;
    assert_eq!(a.xdp_program()?.is_some(), has_xdp);
    hears(&on_a, &a)?;
    assert_eq!(on_a.router_stats(&a, "PLAIN")?["became_master"], 0);
    on_a.stop()?;
    on_b.stop()?;
    Ok(())
}

/// Makes `eth0` a port of a device of that kind, which gets its addresses.
fn on_top(host: &Host, number: u8, name: &str, kind: &[&str]) -> Result<()> {
    host.ip(&["address", "flush", "dev", "eth0"])?;
    host.ip(&[&["link", "add", name, "type"], kind].concat())?;
    host.ip(&["link", "set", "eth0", "down"])?;
    host.ip(&["link", "set", "eth0", "master", name])?;
    host.ip(&["link", "set", "eth0", "up"])?;
    host.ip(&["address", "add", &format!("10.0.0.{number}/24"), "dev", name])?;
    host.ip(&["link", "set", name, "up"])?;
    Ok(())
}

#[test]
fn a_vlan_on_a_bond_is_not_the_bond() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan", "bond"])? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        on_top(host, number, "bond0", &["bond", "mode", "active-backup", "miimon", "100"])?;
        vlan(host, "bond0", 7, number, "802.1Q")?;
    }
    apart(&a, &b, "bond0", "bond0.7")
}

/// Two hosts on a device of that name: one is master, and the other one hears it, also after `change`, takes over when it
/// is lost, and gives way again. Returns how the other one captures, how it would without a driver with XDP, and whether
/// there is XDP.
fn plays(
    a: &Host,
    b: &Host,
    device: &str,
    change: impl FnOnce() -> Result<()>,
) -> Result<(String, &'static str, bool)> {
    let conf = |priority| router("PLAIN", device, priority, 0).to_string();
    let mut on_a = VrrpUser::start(a, &conf(150))?;
    on_a.wait_state(a, "PLAIN", "MASTER", LONG)?;
    let mut on_b = VrrpUser::start(b, &conf(100))?;
    on_b.wait_state(b, "PLAIN", "BACKUP", LONG)?;
    hears(&on_b, b)?;
    change()?;
    hears(&on_b, b)?;
    let captures = (capture(&on_b, b, device)?, instead(&on_b), has_xdp(&on_b));
    assert_eq!(on_a.state(a, "PLAIN")?, "MASTER");
    assert!(a.has_address("10.0.0.100")? && !b.has_address("10.0.0.100")?);
    on_a.kill()?;
    on_b.wait_state(b, "PLAIN", "MASTER", LONG)?;
    assert!(b.has_address("10.0.0.100")?);
    // As the power of the host would.
    a.ip(&["address", "del", "10.0.0.100/24", "dev", device])?;
    on_a = VrrpUser::start(a, &conf(150))?;
    on_a.wait_state(a, "PLAIN", "MASTER", LONG)?;
    on_b.wait_state(b, "PLAIN", "BACKUP", LONG)?;
    assert!(a.has_address("10.0.0.100")? && !b.has_address("10.0.0.100")?);
    on_a.stop()?;
    on_b.wait_state(b, "PLAIN", "MASTER", LONG)?;
    on_b.stop()?;
    Ok(captures)
}

/// For longer than a master-down interval, a backup hears its master.
fn hears(daemon: &VrrpUser, host: &Host) -> Result<()> {
    let heard = || -> Result<u64> {
        let stats = daemon.router_stats(host, "PLAIN")?;
        assert_eq!(stats["became_master"], 0, "{stats}");
        Ok(stats["adverts_received"].as_u64().unwrap_or(0))
    };
    let before = heard()?;
    let what = "five more advertisements";
    host.lab().wait_until(LONG, what, || Ok((heard()? >= before + 5).then_some(())))
}

/// Two hosts with a bond each, which lose a cable: the way to hear is one that is right for a bond.
fn bonded(mode: &str) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["bond"])? {
        return Ok(());
    }
    bonds(&a, &b, mode)?;
    // Where the other host is at the other end, its port has no carrier then.
    let cut = || a.ip(&["link", "set", "port0", "down"]).map(drop);
    let (captured, instead, _) = plays(&a, &b, "bond0", cut)?;
    assert_eq!(captured, instead);
    Ok(())
}

/// A bond whose ports go, one after the other, has no carrier then: its routers are in FAULT for that.
#[test]
fn a_bond_without_ports_is_down() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["bond"])? {
        return Ok(());
    }
    bonds(&a, &b, "active-backup")?;
    let mut on_a = VrrpUser::start(&a, &router("PLAIN", "bond0", 150, 0).to_string())?;
    on_a.wait_state(&a, "PLAIN", "MASTER", LONG)?;
    let mut on_b = VrrpUser::start(&b, &router("PLAIN", "bond0", 100, 0).to_string())?;
    on_b.wait_state(&b, "PLAIN", "BACKUP", LONG)?;
    hears(&on_b, &b)?;
    b.ip(&["link", "set", "port0", "nomaster"])?;
    hears(&on_b, &b)?;
    b.ip(&["link", "set", "port1", "nomaster"])?;
    on_b.wait_state(&b, "PLAIN", "FAULT", LONG)?;
    let said = on_b.router(&b, "PLAIN")?["problems"].to_string();
    assert!(said.contains("interface bond0 has no carrier"), "{said}");
    for port in ["port0", "port1"] {
        b.ip(&["link", "set", port, "down"])?;
        b.ip(&["link", "set", port, "master", "bond0"])?;
        b.ip(&["link", "set", port, "up"])?;
    }
    on_b.wait_state(&b, "PLAIN", "BACKUP", LONG)?;
    hears(&on_b, &b)?;
    on_b.stop()?;
    on_a.stop()?;
    Ok(())
}

#[test]
fn a_bond_active_backup() -> Result<()> {
    bonded("active-backup")
}

#[test]
fn a_bond_802_3ad() -> Result<()> {
    bonded("802.3ad")
}

#[test]
fn a_bond_balance_rr() -> Result<()> {
    bonded("balance-rr")
}

#[test]
fn a_bond_balance_xor() -> Result<()> {
    bonded("balance-xor")
}

#[test]
fn a_bond_broadcast() -> Result<()> {
    bonded("broadcast")
}

#[test]
fn a_bond_balance_tlb() -> Result<()> {
    bonded("balance-tlb")
}

#[test]
fn a_bond_balance_alb() -> Result<()> {
    bonded("balance-alb")
}

#[test]
fn a_vlan_on_a_bridge_is_not_the_bridge() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan"])? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        on_top(host, number, "br0", &["bridge", "mcast_snooping", "0"])?;
        vlan(host, "br0", 7, number, "802.1Q")?;
    }
    apart(&a, &b, "br0", "br0.7")
}

#[test]
fn a_macvlan_on_a_vlan_is_neither() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan"])? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        vlan(host, "eth0", 7, number, "802.1Q")?;
        host.ip(&["address", "flush", "dev", "eth0.7"])?;
        host.ip(&[
            "link", "add", "link", "eth0.7", "name", "mac0", "type", "macvlan", "mode", "bridge",
        ])?;
        host.ip(&["address", "add", &format!("10.7.0.{number}/24"), "dev", "mac0"])?;
        host.ip(&["link", "set", "mac0", "up"])?;
    }
    apart(&a, &b, "eth0", "mac0")
}

#[test]
fn an_ipvlan_hears() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["ipvlan"])? {
        return Ok(());
    }
    ipvlan(&a, "eth0", "l2", "10.0.0.1/24")?;
    ipvlan(&b, "eth0", "l2", "10.0.0.2/24")?;
    let (captured, instead, _) = plays(&a, &b, "ipv0", || Ok(()))?;
    assert_eq!(captured, instead);
    Ok(())
}

/// Nothing of VRRP gets through there: both hosts would be master.
#[test]
fn an_ipvlan_that_routes_is_refused() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    if !a.has_devices(&["ipvlan"])? {
        return Ok(());
    }
    for mode in ["l3", "l3s"] {
        ipvlan(&a, "eth0", mode, "10.0.0.1/24")?;
        let mut daemon = VrrpUser::start(&a, &router("PLAIN", "ipv0", 100, 0).to_string())?;
        daemon.wait_state(&a, "PLAIN", "FAULT", LONG)?;
        let said = daemon.router(&a, "PLAIN")?["problems"].to_string();
        assert!(said.contains("passes on neither multicast nor ARP"), "{said}");
        a.ip(&["link", "set", "ipv0", "type", "ipvlan", "mode", "l2"])?;
        daemon.wait_state(&a, "PLAIN", "MASTER", LONG)?;
        assert_eq!(daemon.router(&a, "PLAIN")?["problems"].to_string(), "[]");
        daemon.stop()?;
        a.ip(&["link", "del", "ipv0"])?;
    }
    Ok(())
}

#[test]
fn an_ipvlan_on_a_vlan_is_neither() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan", "ipvlan"])? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        vlan(host, "eth0", 7, number, "802.1Q")?;
        ipvlan(host, "eth0.7", "l2", &format!("10.7.0.{number}/24"))?;
    }
    apart(&a, &b, "eth0", "ipv0")
}

/// Two hosts with such cards, and how they capture.
fn card(driver: &str, ways: &[&str]) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !cards(&a, &b, driver)? {
        return Ok(());
    }
    let (captured, _, has_xdp) = plays(&a, &b, "eth0", || Ok(()))?;
    let ways = if has_xdp { ways } else { &["tc"] };
    assert!(ways.contains(&captured.as_str()), "{captured}");
    Ok(())
}

/// VLANs on such cards.
fn card_with_vlan(driver: &str) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = two_hosts(&lab)?;
    if !a.has_devices(&["vlan"])? || !cards(&a, &b, driver)? {
        return Ok(());
    }
    for (host, number) in [(&a, 1), (&b, 2)] {
        vlan(host, "eth0", 7, number, "802.1Q")?;
    }
    apart(&a, &b, "eth0", "eth0.7")
}

#[test]
fn a_card_virtio_net() -> Result<()> {
    card("virtio_net", &["native"])
}

/// It has XDP since Linux 6.6.
#[test]
fn a_card_vmxnet3() -> Result<()> {
    card("vmxnet3", &["native", "generic"])
}

/// It leaves tags in the frame.
#[test]
fn a_vlan_is_not_its_card_virtio_net() -> Result<()> {
    card_with_vlan("virtio_net")
}

/// It takes tags off.
#[test]
fn a_vlan_is_not_its_card_vmxnet3() -> Result<()> {
    card_with_vlan("vmxnet3")
}
