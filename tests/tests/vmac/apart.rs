//! Routers of one host that have nothing to do with each other: a VRID for each family, and the same VRID on two interfaces.

use super::{Host, Instance, Lab, MACS, Result, STEP, VIPS, WebServer, fetch};
use vrrp_tests::VrrpUser;

const ROUTERS: [&str; 3] = ["VI_4", "VI_6", "VI_O"];
const ADDRESSES: [&str; 3] = [VIPS[0], VIPS[1], "10.1.0.100"];

/// VRID 51 over IPv4 on both interfaces, and 61 over IPv6.
fn conf(priorities: [u8; 3]) -> String {
    let [four, six, other] = priorities;
    let router = |n: usize, vrid, priority, address| {
        Instance::new(vrid, priority, address).name(ROUTERS[n]).v3("0.3").with("use_vmac")
    };
    let four = router(0, 51, four, "10.0.0.100/24");
    let addresses = vec!["fe80::100/64".into(), "2001:db8::100/64".into()];
    let six = Instance { addresses, ..router(1, 61, six, "") };
    let other = Instance { interface: "eth1".into(), ..router(2, 51, other, "10.1.0.100/24") };
    format!("{four}\n{six}\n{other}")
}

/// A host on two wires, the second of which is `br1`.
pub(super) fn host(lab: &Lab, name: &str, last: u8) -> Result<Host> {
    let host = lab.host(name, &format!("10.0.0.{last}/24"))?;
    let (network, port) = (lab.network(), format!("two-{name}"));
    let to = ["netns", host.namespace().name()];
    let veth = ["link", "add", &port, "type", "veth", "peer", "name", "eth1"];
    network.ip(&[&veth[..], &to].concat())?;
    network.ip(&["link", "set", &port, "master", "br1", "up"])?;
    let add = |address: &str, dev| host.ip(&["address", "add", address, "dev", dev, "nodad"]);
    add(&format!("2001:db8::{last}/64"), "eth0")?;
    add(&format!("10.1.0.{last}/24"), "eth1")?;
    host.ip(&["link", "set", "eth1", "up"])?;
    Ok(host)
}

/// One after the other is taken over by the second host: its virtual MAC address goes there, on its interface and over its
/// family, and no other one.
#[test]
fn each_goes_where_its_router_is_master() -> Result<()> {
    let lab = Lab::new()?;
    let network = lab.network();
    network.ip(&["link", "add", "br1", "type", "bridge", "mcast_snooping", "0"])?;
    network.ip(&["link", "set", "br1", "up"])?;
    let (a, b, c) = (host(&lab, "a", 1)?, host(&lab, "b", 2)?, host(&lab, "c", 3)?);
    let _web = [WebServer::start(&a)?, WebServer::start(&b)?];
    let macs = [MACS[0], "00:00:5e:00:02:3d", MACS[0]];
    for ((address, mac), dev) in ADDRESSES.into_iter().zip(macs).zip(["eth0", "eth0", "eth1"]) {
        let known = ["neighbour", "replace", address, "lladdr", mac, "dev", dev, "nud"];
        c.ip(&[&known[..], &["permanent"]].concat())?;
    }
    let mut first = VrrpUser::start(&a, &conf([100; 3]))?;
    for router in ROUTERS {
        first.wait_state(&a, router, "MASTER", STEP)?;
    }
    let mut second = VrrpUser::start(&b, &conf([50; 3]))?;
    for moved in [None, Some(0), Some(1), Some(2)] {
        let priority = |n| if Some(n) == moved { 150 } else { 50 };
        second.hang_up(&b, &conf([0, 1, 2].map(priority)))?;
        for (n, router) in ROUTERS.into_iter().enumerate() {
            let states = if Some(n) == moved { ["BACKUP", "MASTER"] } else { ["MASTER", "BACKUP"] };
            first.wait_state(&a, router, states[0], STEP)?;
            second.wait_state(&b, router, states[1], STEP)?;
        }
        for (n, address) in ADDRESSES.into_iter().enumerate() {
            let name = if Some(n) == moved { "b" } else { "a" };
            lab.wait_until(STEP, &format!("{address} is on {name}"), || {
                let answer = fetch(c.namespace(), address).unwrap_or_default();
                Ok((answer == name).then_some(()))
            })?;
        }
    }
    Ok(())
}
