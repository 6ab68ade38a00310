//! Devices that the interfaces of hosts may be, besides the end of a cable.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Error, Host, Result, run, skip};

/// More than a bond needs to find out what it is made of, also where a processor is emulated.
const LONG: Duration = Duration::from_secs(300);

/// Adds a VLAN device with an address.
pub fn vlan(host: &Host, below: &str, id: u16, number: u8, protocol: &str) -> Result<String> {
    let (name, id) = (format!("{below}.{id}"), id.to_string());
    let protocol = ["protocol", protocol];
    let add = ["link", "add", "link", below, "name", &name, "type", "vlan"];
    host.ip(&[&add[..], &protocol, &["id", &id]].concat())?;
    host.ip(&["address", "add", &format!("10.7.0.{number}/24"), "dev", &name])?;
    host.ip(&["link", "set", &name, "up"])?;
    Ok(name)
}

/// Puts `bond0` with two ports into each of two hosts. Modes in which a bond is one link for the other side have a cable
/// from each port to that of the other host, those in which it need not know of the bond one to the switch.
pub fn bonds(a: &Host, b: &Host, mode: &str) -> Result<()> {
    let ports = ["port0", "port1"];
    let switched = ["active-backup", "balance-tlb", "balance-alb"].contains(&mode);
    for port in ports {
        if switched {
            for host in [a, b] {
                let (network, there) = (a.lab().network(), &format!("{}-{port}", host.name()));
                let peer = ["type", "veth", "peer", "name", there, "netns", network.name()];
                host.ip(&[&["link", "add", port], &peer[..]].concat())?;
                network.ip(&["link", "set", there, "master", "br0", "up"])?;
            }
        } else {
            let peer = ["type", "veth", "peer", "name", port, "netns", b.namespace().name()];
            a.ip(&[&["link", "add", port], &peer[..]].concat())?;
        }
    }
    for (host, number) in [(a, 1), (b, 2)] {
        host.ip(&["address", "flush", "dev", "eth0"])?;
        let add = ["link", "add", "bond0", "type", "bond", "mode", mode, "miimon", "100"];
        let fast: &[&str] = if mode == "802.3ad" { &["lacp_rate", "fast"] } else { &[] };
        host.ip(&[&add[..], fast].concat())?;
        for port in ports {
            host.ip(&["link", "set", port, "master", "bond0"])?;
            host.ip(&["link", "set", port, "up"])?;
        }
        host.ip(&["address", "add", &format!("10.0.0.{number}/24"), "dev", "bond0"])?;
        host.ip(&["link", "set", "bond0", "up"])?;
    }
    for host in [a, b] {
        // Both ports of both hosts have to belong to one link, which they find out by talking to each other.
        host.lab().wait_until(LONG, "the bond is up", || {
            let read = || fs::read_to_string("/proc/thread-self/net/bonding/bond0");
            let text = host.namespace().enter(read)?.map_err(Error::io("read the bond"))?;
            let up = text.matches("MII Status: up").count() == 3;
            let talked = mode != "802.3ad" || text.contains("Number of ports: 2");
            Ok((up && talked).then_some(()))
        })?;
    }
    Ok(())
}

/// Puts an ipvlan device `ipv0` with an address on a device.
pub fn ipvlan(host: &Host, below: &str, mode: &str, address: &str) -> Result<()> {
    host.ip(&["address", "flush", "dev", below])?;
    let add = ["link", "add", "link", below, "name", "ipv0", "type", "ipvlan", "mode", mode];
    host.ip(&add)?;
    host.ip(&["address", "add", address, "dev", "ipv0"])?;
    host.ip(&["link", "set", "ipv0", "up"]).map(drop)
}

/// What the cards of a virtual machine have for an Ethernet address that are there for these tests.
const CARDS: &str = "02:76:72:72:";

/// Gives each of two hosts a card of that driver instead of `eth0`; `false` where there are no two.
pub fn cards(a: &Host, b: &Host, driver: &str) -> Result<bool> {
    let found = || -> Result<Vec<String>> {
        let devices = fs::read_dir("/sys/class/net").map_err(Error::io("list devices"))?;
        let is_card = |path: &Path| {
            let mac = fs::read_to_string(path.join("address")).unwrap_or_default();
            let its = fs::read_link(path.join("device/driver")).unwrap_or_default();
            mac.starts_with(CARDS) && its.ends_with(driver)
        };
        let paths = devices.filter_map(|entry| Some(entry.ok()?.path()));
        let names = paths
            .filter(|path| is_card(path))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(names.collect())
    };
    let names = found()?;
    let [on_a, on_b] = &names[..] else {
        skip(&format!("there are no two cards for tests with the driver {driver}"));
        return Ok(false);
    };
    for (host, name, number) in [(a, on_a, 1), (b, on_b, 2)] {
        host.delete_interface()?;
        let there = host.namespace().name();
        run(Command::new("ip").args(["link", "set", name, "netns", there, "name", "eth0"]))?;
        host.ip(&["address", "add", &format!("10.0.0.{number}/24"), "dev", "eth0"])?;
        host.ip(&["link", "set", "eth0", "up"])?;
    }
    Ok(true)
}
