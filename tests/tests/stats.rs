//! What `stats` tells of real traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::net::Ipv4Addr;
use std::time::Duration;

use aya::programs::{SchedClassifier, TcAttachType};
use serde_json::Value;
use vrrp_tests::{Frame, Host, Instance, Lab, RawSocket, Result, VrrpUser, WebServer, fetch};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";
/// Who sends what is refused.
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

/// Packets and octets received for an address, then sent from it.
fn traffic(stats: &Value, address: &str) -> [u64; 4] {
    let vip = stats["vips"].as_array().unwrap().iter().find(|vip| vip["address"] == address);
    let vip = vip.unwrap_or_else(|| panic!("no {address} in {stats}"));
    ["rx_packets", "rx_bytes", "tx_packets", "tx_bytes"].map(|name| vip[name].as_u64().unwrap())
}

/// The tcx programs on the way out of an interface.
fn on_egress(host: &Host, interface: &str) -> Result<Vec<String>> {
    host.namespace().enter(|| {
        let programs = SchedClassifier::query_tcx(interface, TcAttachType::Egress).unwrap().1;
        programs.iter().map(|program| program.name_as_str().unwrap().to_owned()).collect()
    })
}

fn owner(host: &Host, conf: &Instance) -> Result<VrrpUser> {
    let mut daemon = VrrpUser::start(host, &conf.to_string())?;
    daemon.wait_state(host, ROUTER, "MASTER", LONG)?;
    host.lab().wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    Ok(daemon)
}

#[test]
fn a_page_is_counted_both_ways_and_a_bad_sender_is_named() -> Result<()> {
    let lab = Lab::new()?;
    let (host, client) = (lab.host("a", "10.0.0.1/24")?, lab.host("client", "10.0.0.50/24")?);
    let _web = WebServer::start(&host)?;
    let mut daemon = owner(&host, &Instance::new(51, 255, "10.0.0.100/24"))?;
    assert_eq!(on_egress(&host, "eth0")?, ["vrrp_egress"]);

    let before = traffic(&daemon.stats(&host)?, VIP);
    assert_eq!(fetch(client.namespace(), VIP)?, "a");
    let after = traffic(&daemon.stats(&host)?, VIP);
    println!("{before:?}, then {after:?}");
    let [rx_packets, rx_bytes, tx_packets, tx_bytes] = [0, 1, 2, 3].map(|n| after[n] - before[n]);
    // Handshake, request and answer, end: at least four packets each way, without options 54 octets long.
    assert!(rx_packets >= 4 && rx_bytes >= rx_packets * 54, "{after:?}");
    assert!(tx_packets >= 4 && tx_bytes >= tx_packets * 54, "{after:?}");
    // From the host's own address.
    client.namespace().run("ping", &["-c", "1", "-W", "2", "10.0.0.1"])?;
    assert_eq!(traffic(&daemon.stats(&host)?, VIP)[2], after[2]);

    let socket = RawSocket::open(&client)?;
    let advert = Frame::v2(SENDER, 51, 254, &[VIP.parse().unwrap()]);
    socket.send(&Frame { ttl: 3, ..advert.clone() }.bytes())?;
    socket.send(&Frame { vrid: 77, ..advert }.bytes())?;
    let stats = lab.wait_until(LONG, "a refused and an unknown advertisement", || {
        let stats = daemon.stats(&host)?;
        let both = stats["reasons"]["ttl"] == 1 && stats["reasons"]["unknown_vrid"] == 1;
        Ok(both.then_some(stats))
    })?;
    for (reason, vrid) in [("ttl", 51), ("unknown_vrid", 77)] {
        let last = &stats["last_from"][reason];
        assert_eq!(
            (&last["address"], &last["interface"], &last["vrid"], &last["not_sampled"]),
            (&SENDER.to_string().into(), &"eth0".into(), &vrid.into(), &0.into()),
            "{stats}"
        );
        assert!((0.0..20.0).contains(&last["ago_s"].as_f64().unwrap()), "{stats}");
    }
    assert_eq!(stats["last_from"].as_object().unwrap().len(), 2, "{stats}");

    let table = daemon.stats_table(&host)?;
    println!("{table}");
    let line = table.lines().find(|line| line.starts_with("ttl ")).unwrap();
    assert!(line.contains("10.0.0.200 on eth0, VRID 51, ") && line.ends_with("s ago"), "{line}");

    // The maps outlive the daemon, and the program does not.
    let counted = traffic(&daemon.stats(&host)?, VIP);
    daemon.kill()?;
    lab.wait_until(LONG, "the program is gone", || {
        Ok(on_egress(&host, "eth0")?.is_empty().then_some(()))
    })?;
    let stats = daemon.stats(&host)?;
    assert_eq!(traffic(&stats, VIP), counted);
    assert_eq!(stats["last_from"]["ttl"]["address"], "10.0.0.200");
    Ok(())
}

/// An address on another interface than the router's is counted there.
#[test]
fn an_address_elsewhere_is_counted_there() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    host.ip(&["link", "add", "inside", "type", "veth", "peer", "name", "other"])?;
    for name in ["inside", "other"] {
        host.ip(&["link", "set", name, "up"])?;
    }
    // Nobody is there to answer a question for it.
    let nobody = ["lladdr", "02:00:00:00:00:99", "dev", "inside"];
    host.ip(&[&["neighbour", "add", "192.168.7.2"][..], &nobody].concat())?;
    let mut conf = Instance::new(51, 255, "10.0.0.100/24");
    conf.addresses.push("192.168.7.1/24 dev inside".into());
    let mut daemon = owner(&host, &conf)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address("192.168.7.1")?.then_some(())))?;
    assert_eq!(on_egress(&host, "inside")?, ["vrrp_egress"]);
    assert_eq!(on_egress(&host, "other")?, [""; 0]);

    // It gets no answer.
    let ping = ["-c", "1", "-W", "1", "-s", "56", "-I", "192.168.7.1", "192.168.7.2"];
    assert!(host.namespace().run("ping", &ping).is_err());
    let stats = daemon.stats(&host)?;
    let [rx_packets, _, tx_packets, tx_bytes] = traffic(&stats, "192.168.7.1");
    // The kernel itself reports group memberships from there.
    assert!(rx_packets == 0 && tx_packets >= 1 && tx_bytes >= 98, "{stats}");
    assert_eq!(traffic(&stats, VIP), [0; 4], "{stats}");
    let vips = stats["vips"].as_array().unwrap();
    assert!(vips.iter().any(|vip| vip["interface"] == "inside"), "{stats}");

    daemon.stop()?;
    lab.wait_until(LONG, "the program is gone", || {
        Ok(on_egress(&host, "inside")?.is_empty().then_some(()))
    })
}
