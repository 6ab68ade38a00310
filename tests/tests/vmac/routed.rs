//! Two hosts that route between two networks, each of which knows a virtual router as its gateway: a download goes on when the
//! one that routes it is cut off, and when that comes back.

use std::net::IpAddr;
use std::time::Instant;

use super::{Daemon, Duration, Host, Instance, Kind, Lab, MACS, Process, Result, STEP, Wire, set};
use vrrp_tests::{Download, Frr, WebServer, pause};

/// Of the network of the client, and of that of the server.
const GATEWAYS: [[&str; 2]; 2] =
    [["10.0.0.100", "2001:db8::100"], ["10.1.0.100", "2001:db8:1::100"]];
const SERVER: [&str; 2] = ["10.1.0.4", "2001:db8:1::4"];
const ROUTERS: [&str; 2] = super::ROUTERS;

/// Who routes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaker {
    Ours,
    Keepalived,
    Frr,
}

enum Running {
    Daemon(Daemon),
    Frr(Frr),
}

/// Every 0.5 s, the same VRID over both families.
fn conf(priority: u8) -> String {
    let instance = |name: &str, addresses: &[&str]| {
        let router = Instance::new(51, priority, "").name(name).v3("0.5").with("use_vmac");
        Instance { addresses: addresses.iter().map(|&at| at.into()).collect(), ..router }
    };
    let v4 = instance(ROUTERS[0], &["10.0.0.100/24", "10.1.0.100/24"]);
    let v6 = ["fe80::100/64", "2001:db8::100/64", "2001:db8:1::100/64"];
    format!("{v4}\n{}", instance(ROUTERS[1], &v6))
}

impl Running {
    fn start(speaker: Speaker, host: &Host, priority: u8) -> Result<Self> {
        let kind = match speaker {
            Speaker::Ours => Kind::VrrpUser,
            Speaker::Keepalived => Kind::Keepalived,
            Speaker::Frr => {
                let vips = [
                    &["10.0.0.100", "10.1.0.100", "fe80::100"][..],
                    &[GATEWAYS[0][1], GATEWAYS[1][1]],
                ];
                let vips: Vec<IpAddr> =
                    vips.concat().iter().map(|vip| vip.parse().unwrap()).collect();
                return Frr::start(host, 51, priority, &vips, 50).map(Self::Frr);
            }
        };
        kind.start(host, &conf(priority)).map(Self::Daemon)
    }

    fn wait(&mut self, host: &Host, master: bool) -> Result<()> {
        let state = if master { ["MASTER", "Master"] } else { ["BACKUP", "Backup"] };
        match self {
            Self::Daemon(daemon) => ROUTERS
                .iter()
                .try_for_each(|router| daemon.wait_state(host, router, state[0], STEP)),
            Self::Frr(frr) => frr.wait_state(host, 51, state[1], STEP),
        }
    }
}

/// A host in one of the networks, which are on one wire, with the virtual router as its gateway and no other way.
fn end(lab: &Lab, name: &str, network: usize, last: u8) -> Result<Host> {
    let host = lab.host(name, &format!("10.{network}.0.{last}/24"))?;
    // Both are on one wire, and are not to learn of it: FRR advertises prefixes.
    set(
        &host,
        &[
            "net.ipv4.conf.all.accept_redirects=0", "net.ipv4.conf.eth0.accept_redirects=0",
            "net.ipv6.conf.eth0.accept_redirects=0", "net.ipv6.conf.eth0.accept_ra=0",
        ],
    )?;
    let prefix = if network == 0 { "2001:db8::" } else { "2001:db8:1::" };
    host.ip(&["address", "add", &format!("{prefix}{last}/64"), "dev", "eth0", "nodad"])?;
    for gateway in GATEWAYS[network] {
        host.ip(&["route", "add", "default", "via", gateway])?;
    }
    Ok(host)
}

/// A host that routes between both.
fn router(lab: &Lab, name: &str, last: u8) -> Result<Host> {
    let host = lab.host(name, &format!("10.0.0.{last}/24"))?;
    host.ip(&["address", "add", &format!("10.1.0.{last}/24"), "dev", "eth0"])?;
    for prefix in ["2001:db8::", "2001:db8:1::"] {
        host.ip(&["address", "add", &format!("{prefix}{last}/64"), "dev", "eth0", "nodad"])?;
    }
    set(
        &host,
        &[
            "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0",
            "net.ipv4.conf.default.send_redirects=0",
            // For macvlan devices: packets come in by them, and go out by eth0, which also has the way back.
            "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
            "net.ipv4.conf.all.arp_ignore=1",
        ],
    )?;
    Ok(host)
}

/// Where the gateways are, as the hosts that use them come to know it.
struct Neighbours {
    monitor: Process,
    network: usize,
}

impl Neighbours {
    fn watch(host: &Host, network: usize) -> Result<Self> {
        for (gateway, mac) in GATEWAYS[network].into_iter().zip(MACS) {
            host.lab().wait_until(STEP, &format!("{gateway} is found"), || {
                let mut ping = host.spawn("ping", "ping", &["-c", "1", "-W", "1", gateway])?;
                Ok(ping.wait(STEP)?.success().then_some(()))
            })?;
            // Not by a gratuitous ARP of somebody else's: keepalived and FRR may have told another one first.
            let known = ["neighbour", "replace", gateway, "lladdr", mac, "dev", "eth0", "nud"];
            host.ip(&[&known[..], &["reachable"]].concat())?;
        }
        Ok(Self { monitor: host.spawn("ip", "ip", &["monitor", "neigh"])?, network })
    }

    fn check(&self) {
        for (_, line) in self.monitor.log().lines() {
            for (gateway, mac) in GATEWAYS[self.network].into_iter().zip(MACS) {
                let about = line.split(' ').any(|word| word == gateway);
                assert!(!about || line.contains(mac), "{line}");
            }
        }
    }
}

/// How many frames of the downloads, over each family, a host has sent on.
fn routed(wire: &Wire) -> [usize; 2] {
    let way = ["10.1.0.4.81 > 10.0.0.3.", "2001:db8:1::4.81 > 2001:db8::3."];
    way.map(|way| wire.when(&[way]).count())
}

/// The first host routes, is cut off, and comes back. TCP waits twice as long each time before it sends something again: what
/// is lost for 1.8 s goes on after 3.2 s as a rule.
fn download(speakers: [Speaker; 2]) -> Result<()> {
    if speakers.contains(&Speaker::Frr) && !Frr::is_installed() {
        return Ok(());
    }
    let lab = Lab::new()?;
    if speakers != [Speaker::Ours; 2]
        && !lab.host("probe", "10.0.0.9/24")?.has_devices(&["macvlan"])?
    {
        return Ok(());
    }
    let hosts = [router(&lab, "a", 1)?, router(&lab, "b", 2)?];
    let (client, server) = (end(&lab, "c", 0, 3)?, end(&lab, "d", 1, 4)?);
    let _web = WebServer::start(&server)?;
    let mut first = Running::start(speakers[0], &hosts[0], 150)?;
    first.wait(&hosts[0], true)?;
    let mut second = Running::start(speakers[1], &hosts[1], 100)?;
    second.wait(&hosts[1], false)?;
    let known = [Neighbours::watch(&client, 0)?, Neighbours::watch(&server, 1)?];
    let wires = [Wire::tap(&lab, &hosts[0])?, Wire::tap(&lab, &hosts[1])?];
    let downloads = SERVER.map(|server| Download::start(&client, server).unwrap());
    let go_on = |what: &str, since: Instant| -> Result<()> {
        let now = Instant::now();
        lab.wait_until(STEP, &format!("the downloads go on {what}"), || {
            Ok(downloads.iter().all(|one| one.goes_on(now)).then_some(()))
        })?;
        pause(Duration::from_millis(500))?;
        let [v4, v6] = [0, 1].map(|family| downloads[family].gap(since));
        println!("{speakers:?} {what}: nothing for {v4:.2?} over IPv4, for {v6:.2?} over IPv6");
        Ok(())
    };
    go_on("at first", Instant::now())?;
    assert!(!routed(&wires[0]).contains(&0), "the first one routes");
    // What is flooded to a backup is sent on by devices of keepalived and FRR.
    let silent = |before: [usize; 2]| {
        assert!(speakers[1] != Speaker::Ours || routed(&wires[1]) == before, "a backup routes");
    };
    silent([0; 2]);
    let cut = Instant::now();
    hosts[0].unplug()?;
    second.wait(&hosts[1], true)?;
    go_on("after the cut", cut)?;
    assert!(!routed(&wires[1]).contains(&0), "the second one routes");
    let back = Instant::now();
    hosts[0].replug()?;
    first.wait(&hosts[0], true)?;
    second.wait(&hosts[1], false)?;
    go_on("after it came back", back)?;
    let before = wires.each_ref().map(routed);
    go_on("in the end", Instant::now())?;
    let after = routed(&wires[0]);
    assert!(after[0] > before[0][0] && after[1] > before[0][1], "the first one routes again");
    silent(before[1]);
    known.iter().for_each(Neighbours::check);
    for (wire, speaker) in wires.iter().zip(speakers) {
        if speaker == Speaker::Ours {
            wire.check();
        }
    }
    Ok(())
}

#[test]
fn a_download_outlives_the_cut_of_a_router() -> Result<()> {
    download([Speaker::Ours; 2])
}

#[test]
fn a_download_goes_from_keepalived_to_ours_and_back() -> Result<()> {
    download([Speaker::Keepalived, Speaker::Ours])
}

#[test]
fn a_download_goes_from_ours_to_keepalived_and_back() -> Result<()> {
    download([Speaker::Ours, Speaker::Keepalived])
}

#[test]
fn a_download_goes_from_frr_to_ours_and_back() -> Result<()> {
    download([Speaker::Frr, Speaker::Ours])
}

#[test]
fn a_download_goes_from_ours_to_frr_and_back() -> Result<()> {
    download([Speaker::Ours, Speaker::Frr])
}

/// A master tells nobody of a shorter way: the packet may have been sent to a virtual MAC address, from which no redirect would
/// come. Without one it does.
#[test]
fn redirects_are_suppressed() -> Result<()> {
    let lab = Lab::new()?;
    let a = router(&lab, "a", 1)?;
    set(&a, &["net.ipv4.conf.all.send_redirects=1", "net.ipv4.conf.eth0.send_redirects=1"])?;
    let (client, _server) = (end(&lab, "c", 0, 3)?, end(&lab, "d", 1, 4)?);
    for family in ["ipv4", "ipv6"] {
        set(&client, &[&format!("net.{family}.conf.eth0.accept_redirects=1")])?;
    }
    let Running::Daemon(Daemon::VrrpUser(mut ours)) = Running::start(Speaker::Ours, &a, 150)?
    else {
        unreachable!()
    };
    super::all_are(&mut ours, &a, "MASTER")?;
    let wire = Wire::tap(&lab, &a)?;
    let known = Neighbours::watch(&client, 0)?;
    let says = [&["ICMP redirect", "10.0.0.1 >"][..], &["ICMP6, redirect", "fe80::"]];
    let routes = |family: usize| -> Result<()> {
        let ping = ["-c", "3", "-i", "0.2", SERVER[family]];
        let mut ping = client.spawn("ping", "ping", &ping)?;
        assert!(ping.wait(STEP)?.success(), "{}", ping.log().text());
        Ok(())
    };
    for family in [0, 1] {
        let before = ours.reason(&a, "virtual_mac_redirect")?;
        routes(family)?;
        assert_ne!(ours.reason(&a, "virtual_mac_redirect")?, before, "family {family}");
        assert!(!wire.has(says[family]), "{:#?}", wire.frames());
        let way = client.ip(&["route", "get", SERVER[family]])?;
        assert!(way.contains(&format!("via {}", GATEWAYS[0][family])), "{way}");
    }
    known.check();
    wire.check();
    drop(known);
    ours.hang_up(&a, &conf(150).replace("use_vmac", ""))?;
    for family in [0, 1] {
        client.ip(&["neighbour", "flush", "dev", "eth0"])?;
        routes(family)?;
        lab.wait_until(STEP, "a redirect", || Ok(wire.has(says[family]).then_some(())))?;
    }
    Ok(())
}
