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

/// Packets and bytes received for an address, then sent from it.
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
    host.wait_egress("eth0")?;
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
    // Handshake, request and answer, end: at least four packets each way, without options 54 bytes long.
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

    // The maps outlive the daemon, and so does the program.
    let counted = traffic(&daemon.stats(&host)?, VIP);
    daemon.kill()?;
    assert_eq!(on_egress(&host, "eth0")?, ["vrrp_egress"]);
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
    host.wait_egress("inside")?;
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

/// Three hosts of which two advertise in turn: each is counted for itself, in the quiet path and out of it.
#[test]
fn every_peer_is_counted_and_can_begin_at_zero() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let others = [lab.host("b", "10.0.0.2/24")?, lab.host("c", "10.0.0.3/24")?];
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").v3("0.1");
    let mut daemon = VrrpUser::start(&host, &conf(100).to_string())?;
    let mut masters = Vec::new();
    // The second one pre-empts the first, which falls silent.
    for (other, priority) in others.iter().zip([150, 200]) {
        let mut master = VrrpUser::start(other, &conf(priority).to_string())?;
        master.wait_state(other, ROUTER, "MASTER", LONG)?;
        masters.push(master);
        lab.wait_until(LONG, "its advertisements", || {
            let peers = peers(&daemon.router_stats(&host, ROUTER)?);
            let heard = peers.iter().any(|peer| peer.0 == other.address() && peer.1 >= 20);
            Ok(heard.then_some(()))
        })?;
    }
    daemon.wait_state(&host, ROUTER, "BACKUP", LONG)?;
    let router = daemon.router_stats(&host, ROUTER)?;
    let list = peers(&router);
    println!("{router}");
    assert_eq!(list.len(), 2, "{router}");
    assert_eq!((list[0].0.as_str(), list[0].2), ("10.0.0.2", 150), "{router}");
    assert_eq!((list[1].0.as_str(), list[1].2), ("10.0.0.3", 200), "{router}");
    assert!(list[0].1 >= 20 && list[1].1 >= 20 && list[0].3 > list[1].3, "{router}");
    assert!(list[1].3 < 1.0 && router["last_seen_s"].as_f64().unwrap() < 1.0, "{router}");
    assert!(router["state_changes"].as_u64().unwrap() >= 1, "{router}");
    let stats = daemon.stats(&host)?;
    assert_eq!(stats["interfaces"][0]["name"], "eth0", "{stats}");
    assert_eq!(stats["interfaces"][0]["capture"], "native", "{stats}");
    assert_eq!((&stats["reset"], &stats["running"]), (&false.into(), &true.into()), "{stats}");

    // With nobody to be heard, the counts of all peers make up the router's.
    for master in &mut masters {
        master.kill()?;
    }
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let router = daemon.router_stats(&host, ROUTER)?;
    let sum: u64 = peers(&router).iter().map(|peer| peer.1).sum();
    assert_eq!(router["adverts_received"], sum, "{router}");

    let last = daemon.stats_with(&host, &["--reset"])?;
    println!("{last}");
    assert!(last.contains(&format!(" {sum} ")), "the last readings are shown\n{last}");
    let stats = daemon.stats(&host)?;
    let router = daemon.router_stats(&host, ROUTER)?;
    assert_eq!((&stats["reset"], &router["adverts_received"]), (&true.into(), &0.into()));
    assert!(peers(&router).iter().all(|peer| peer.1 == 0), "{router}");
    assert!(stats["since_s"].as_f64().unwrap() < 20.0, "{stats}");
    // The daemon goes on undisturbed, and what it sends is counted from there.
    lab.wait_until(LONG, "advertisements are sent", || {
        let sent = daemon.router_stats(&host, ROUTER)?["adverts_sent"].as_u64().unwrap();
        Ok((5..500).contains(&sent).then_some(()))
    })?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;

    // It holds with the daemon dead, too, for one that goes on where that was, and not for one that begins.
    daemon.kill()?;
    let stats = daemon.stats(&host)?;
    assert_eq!((&stats["reset"], &stats["running"]), (&true.into(), &false.into()), "{stats}");
    let mut daemon = VrrpUser::start(&host, &conf(100).to_string())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let is_adopted = daemon.log().contains("MASTER: adopted");
    assert_eq!(daemon.stats(&host)?["reset"], is_adopted, "{}", daemon.log().text());
    assert!(daemon.stop()?.success());
    let mut daemon = VrrpUser::start(&host, &conf(100).to_string())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert_eq!(daemon.stats(&host)?["reset"], false);
    assert!(daemon.stop()?.success());
    Ok(())
}

/// Address, advertisements, priority and silence in seconds.
fn peers(router: &Value) -> Vec<(String, u64, u64, f64)> {
    let peers = router["peers"].as_array().unwrap().iter().map(|peer| {
        (
            peer["address"].as_str().unwrap().to_owned(),
            peer["adverts_received"].as_u64().unwrap(),
            peer["priority"].as_u64().unwrap(),
            peer["last_seen_s"].as_f64().unwrap(),
        )
    });
    peers.collect()
}

#[test]
fn rates_are_measured_and_rows_chosen() -> Result<()> {
    let lab = Lab::new()?;
    let (host, client) = (lab.host("a", "10.0.0.1/24")?, lab.host("client", "10.0.0.50/24")?);
    let conf = Instance::new(51, 255, "10.0.0.100/24").v3("0.1");
    let other = Instance::new(52, 255, "10.0.0.101/24").name("VI_2");
    let mut daemon = VrrpUser::start(&host, &format!("{conf}{other}"))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;

    let bpffs = lab.bpffs().display().to_string();
    let binary = VrrpUser::binary()?.display().to_string();
    let instance = VrrpUser::instance(&host);
    let stats = ["stats", "--instance", &instance, "--bpffs", &bpffs, "--json", "--watch", "1"];
    let watch = host.spawn("stats", &binary, &stats)?;
    let mut ping = client.spawn("ping", "ping", &["-q", "-i", "0.02", VIP])?;
    // Fifty packets and ten advertisements in a second, as far as the machine is up to it.
    let rated = lab.wait_until(LONG, "rates", || {
        let lines = watch.log().lines();
        let stats = lines.iter().filter_map(|(_, line)| serde_json::from_str(line).ok());
        Ok(stats.into_iter().find(|stats: &Value| {
            let vip = stats["vips"].as_array().unwrap().iter().find(|vip| vip["address"] == VIP);
            let rate = |name: &str| vip.unwrap()["per_second"][name].as_f64().unwrap();
            (20.0..60.0).contains(&rate("rx_packets")) && rate("tx_bytes") > 20.0 * 98.0
        }))
    })?;
    let sent = rated["routers"][0]["per_second"]["adverts_sent"].as_f64().unwrap();
    assert!((5.0..15.0).contains(&sent), "{rated}");
    assert!((0.9..3.0).contains(&rated["interval_s"].as_f64().unwrap()), "{rated}");
    ping.terminate(LONG)?;

    let names = |options: &[&str]| -> Result<(Vec<String>, Vec<String>)> {
        let text = daemon.stats_with(&host, &[&["--json"], options].concat())?;
        let stats: Value = serde_json::from_str(&text).unwrap();
        let all = |list: &str, name: &str| {
            let list = stats[list].as_array().unwrap().iter();
            list.map(|item| item[name].as_str().unwrap().to_owned()).collect()
        };
        Ok((all("routers", "name"), all("vips", "address")))
    };
    let none: [String; 0] = [];
    assert_eq!(names(&["--vrid", "52"])?, (vec!["VI_2".into()], none.to_vec()));
    assert_eq!(names(&["--vip", VIP])?, (none.to_vec(), vec![VIP.into()]));
    assert_eq!(names(&["--interface", "eth0"])?.0.len(), 2);
    let error = daemon.stats_with(&host, &["--interface", "eth7"]).unwrap_err().to_string();
    assert!(error.contains("no router and no address on interface eth7"), "{error}");
    Ok(())
}
