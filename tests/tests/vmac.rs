//! Virtual MAC addresses on the wire, with tcpdump at the switch as the judge: clients that never relearn where an address is,
//! and an interface's own MAC address that nobody sees with a virtual address.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

#[path = "vmac/apart.rs"]
mod apart;
#[path = "vmac/beside.rs"]
mod beside;
mod pretending;
#[path = "vmac/radvd.rs"]
mod radvd;
#[path = "vmac/rfc.rs"]
mod rfc;
#[path = "vmac/routed.rs"]
mod routed;
#[path = "vmac/upgraded.rs"]
mod upgraded;

use std::fs;
use std::net::Ipv6Addr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{
    Frame, Host, Instance, Lab, Process, RawSocket, Result, VrrpUser, WebServer, fetch,
};

const STEP: Duration = Duration::from_secs(20);
const VIPS: [&str; 2] = ["10.0.0.100", "2001:db8::100"];
const MACS: [&str; 2] = ["00:00:5e:00:01:33", "00:00:5e:00:02:33"];
const ROUTERS: [&str; 2] = ["VI_4", "VI_6"];

/// The same VRID over both families, a router each.
fn conf(priority: u8, extra: &str) -> String {
    let v4 = Instance::new(51, priority, "10.0.0.100/24").name(ROUTERS[0]).with(extra);
    let v6 = Instance::new(51, priority, "fe80::100/64").name(ROUTERS[1]).v3("1").with(extra);
    let v6 = Instance { addresses: vec!["fe80::100/64".into(), "2001:db8::100/64".into()], ..v6 };
    format!("{v4}\n{v6}")
}

/// Waits for both routers to be in a state.
fn all_are(daemon: &mut VrrpUser, host: &Host, state: &str) -> Result<()> {
    ROUTERS.iter().try_for_each(|router| daemon.wait_state(host, router, state, STEP))
}

fn mac(host: &Host) -> String {
    host.mac().map(|byte| format!("{byte:02x}")).join(":")
}

fn set(host: &Host, names: &[&str]) -> Result<()> {
    names.iter().try_for_each(|name| host.namespace().run("sysctl", &["-q", "-w", name]).map(drop))
}

/// Everything that a host sends, as the switch gets it.
struct Wire {
    process: Process,
    own: String,
}

impl Wire {
    fn tap(lab: &Lab, host: &Host) -> Result<Self> {
        let port = format!("to-{}", host.name());
        Self::on(lab, lab.network().command("tcpdump"), &port, host)
    }

    /// The same where something else than the switch gets it.
    fn on(lab: &Lab, mut command: Command, port: &str, host: &Host) -> Result<Self> {
        let args = ["-l", "-n", "-e", "-v", "-tt", "-Q", "in", "--immediate-mode", "-i", port];
        let process = Process::spawn(port, command.args(args))?;
        lab.wait_until(STEP, "tcpdump listens", || {
            Ok(process.log().contains("listening on").then_some(()))
        })?;
        Ok(Self { process, own: mac(host) })
    }

    /// Frames; what a second line says of one follows the first.
    fn frames(&self) -> Vec<String> {
        let mut frames: Vec<String> = Vec::new();
        for (_, line) in self.process.log().lines() {
            match frames.last_mut() {
                Some(last) if line.starts_with(char::is_whitespace) => *last += &line,
                Some(_) | None => frames.push(line),
            }
        }
        frames
    }

    fn has(&self, words: &[&str]) -> bool {
        self.when(words).next().is_some()
    }

    /// When frames with all these words came, in seconds since the epoch.
    fn when(&self, words: &[&str]) -> impl Iterator<Item = f64> {
        let with = move |frame: &String| words.iter().all(|word| frame.contains(word));
        let time = |frame: String| frame.split(' ').next()?.parse().ok();
        self.frames().into_iter().filter(with).filter_map(time)
    }

    /// How many of its frames have all of these words.
    fn count(&self, words: &[&str]) -> usize {
        self.when(words).count()
    }

    /// What leaves for an address leaves with its virtual MAC address, in all places, and with sums that are right.
    fn check(&self) {
        for frame in self.frames() {
            for (vip, mac) in VIPS.into_iter().zip(MACS) {
                let says = [
                    format!("{vip} >"),
                    format!("{vip}.{} >", WebServer::PORT),
                    format!("Reply {vip} is-at"),
                    format!("tell {vip},"),
                    format!("tgt is {vip},"),
                ];
                if says.iter().any(|words| frame.contains(words)) {
                    assert!(!frame.contains(&self.own), "{frame}");
                    assert!(frame.contains(&format!(" {mac} > ")), "{frame}");
                }
            }
            assert!(!frame.contains("bad icmp6 cksum"), "{frame}");
        }
    }

    /// Says nothing for the addresses, whatever MAC address it has.
    fn is_silent(&self) {
        for frame in self.frames() {
            let for_them = VIPS.iter().any(|vip| {
                let says = [format!("{vip} >"), format!("Reply {vip}"), format!("tgt is {vip},")];
                says.iter().any(|words| frame.contains(words))
            });
            let virtual_source = MACS.iter().any(|mac| frame.contains(&format!(" {mac} > ")));
            assert!(!for_them && !virtual_source, "{frame}");
        }
    }
}

/// Two hosts, and a client that learns where the addresses are once and for all.
struct Stage {
    lab: Lab,
    hosts: [Host; 2],
    client: Host,
    daemons: [Daemon; 2],
    _web: [WebServer; 2],
}

impl Stage {
    fn new(kinds: [Kind; 2], extra: &str) -> Result<Self> {
        let lab = Lab::new()?;
        let host = |name, last| {
            let host = lab.host(name, &format!("10.0.0.{last}/24"))?;
            let address = format!("2001:db8::{last}/64");
            host.ip(&["address", "add", &address, "dev", "eth0", "nodad"])?;
            Ok(host)
        };
        let hosts = [host("a", 1)?, host("b", 2)?];
        let client = host("c", 3)?;
        let web = [WebServer::start(&hosts[0])?, WebServer::start(&hosts[1])?];
        let [a, b] = kinds;
        for (host, kind) in hosts.iter().zip(kinds) {
            // Or each of keepalived's devices answers ARP for what another one has.
            if kind == Kind::Keepalived {
                host.namespace().run("sysctl", &["-q", "-w", "net.ipv4.conf.all.arp_ignore=1"])?;
            }
        }
        let mut first = a.start(&hosts[0], &conf(100, extra))?;
        for router in ROUTERS {
            first.wait_state(&hosts[0], router, "MASTER", STEP)?;
        }
        let mut second = b.start(&hosts[1], &conf(50, extra))?;
        for router in ROUTERS {
            second.wait_state(&hosts[1], router, "BACKUP", STEP)?;
        }
        let daemons = [first, second];
        Ok(Self { lab, hosts, client, daemons, _web: web })
    }

    /// The client asks where the addresses are, and believes nothing else from then on. What keepalived's host asks for by its
    /// own interface may tell it something else first.
    fn learn(&self, of: Kind) -> Result<()> {
        for (vip, mac) in VIPS.into_iter().zip(MACS) {
            self.lab.wait_until(STEP, &format!("{vip} answers"), || self.answered(vip))?;
            let known = self.client.ip(&["neighbour", "show", vip])?;
            assert!(known.contains(mac) || of == Kind::Keepalived, "{known}");
            let fixed = ["neighbour", "replace", vip, "lladdr", mac, "dev", "eth0", "nud"];
            self.client.ip(&[&fixed[..], &["permanent"]].concat())?;
        }
        Ok(())
    }

    fn answered(&self, address: &str) -> Result<Option<()>> {
        let mut ping = self.client.spawn("ping", "ping", &["-c", "1", "-W", "1", address])?;
        Ok(ping.wait(STEP)?.success().then_some(()))
    }

    /// The web server behind both addresses is that of this host.
    fn served_by(&self, host: &Host) -> Result<()> {
        for vip in VIPS {
            self.lab.wait_until(STEP, &format!("{vip} is on {}", host.name()), || {
                let name = fetch(self.client.namespace(), vip).unwrap_or_default();
                Ok((name == host.name()).then_some(()))
            })?;
        }
        Ok(())
    }

    /// From now on the switch floods what is for the virtual MAC addresses to all.
    fn flood(&self) -> Result<()> {
        for host in &self.hosts {
            let port = format!("to-{}", host.name());
            let set = ["link", "set", &port, "type", "bridge_slave", "learning", "off"];
            self.lab.network().ip(&set)?;
        }
        self.lab.network().ip(&["link", "set", "br0", "type", "bridge", "fdb_flush"]).map(drop)
    }

    /// Both hosts route to another one, and the client goes there by the addresses.
    fn route_beyond(&self) -> Result<Host> {
        let beyond = self.lab.host("d", "10.0.0.4/24")?;
        beyond.ip(&["address", "add", "2001:db8::4/64", "dev", "eth0", "nodad"])?;
        let set =
            |host: &Host, name: &str| host.namespace().run("sysctl", &["-q", "-w", name]).map(drop);
        for [family, to, by, via] in [
            ["-4", "10.9.0.1/32", "10.0.0.4", VIPS[0]],
            ["-6", "2001:db8:9::1/128", "2001:db8::4", VIPS[1]],
        ] {
            beyond.ip(&[family, "address", "add", to, "dev", "lo"])?;
            for host in &self.hosts {
                host.ip(&[family, "route", "add", to, "via", by])?;
            }
            self.client.ip(&[family, "route", "add", to, "via", via])?;
        }
        beyond.ip(&["link", "set", "lo", "up"])?;
        for host in &self.hosts {
            for on in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
                set(host, on)?;
            }
        }
        // The way there is by the addresses, although there is a shorter one.
        for family in ["ipv4", "ipv6"] {
            set(&self.client, &format!("net.{family}.conf.all.accept_redirects=0"))?;
            set(&self.client, &format!("net.{family}.conf.eth0.accept_redirects=0"))?;
        }
        Ok(beyond)
    }

    /// What is routed by the virtual MAC addresses arrives, and not twice.
    fn is_routed_once(&self) -> Result<()> {
        for to in ["10.9.0.1", "2001:db8:9::1"] {
            self.lab.wait_until(STEP, &format!("{to} answers"), || self.answered(to))?;
            let ping = ["-c", "3", "-i", "0.2", "-W", "1", to];
            let mut ping = self.client.spawn("ping", "ping", &ping)?;
            let all = ping.wait(STEP)?.success();
            assert!(all && !ping.log().contains("DUP!"), "{}", ping.log().text());
        }
        Ok(())
    }

    /// Whether a host answers to what is sent to it by the virtual MAC addresses.
    fn takes_in(&self, last: u8) -> Result<[bool; 2]> {
        let mut taken = [false; 2];
        let own = [format!("10.0.0.{last}"), format!("2001:db8::{last}")];
        for (n, address) in own.iter().enumerate() {
            let fixed = ["neighbour", "replace", address, "lladdr", MACS[n], "dev", "eth0", "nud"];
            self.client.ip(&[&fixed[..], &["permanent"]].concat())?;
            taken[n] = self.answered(address)?.is_some();
        }
        Ok(taken)
    }
}

/// A takeover between two hosts: nothing but the virtual MAC address is seen, and a client that learns nothing new does not
/// notice.
fn takeover(kinds: [Kind; 2]) -> Result<()> {
    let mut stage = Stage::new(kinds, "use_vmac")?;
    let wires = [Wire::tap(&stage.lab, &stage.hosts[0])?, Wire::tap(&stage.lab, &stage.hosts[1])?];
    let ours = kinds.map(|kind| kind == Kind::VrrpUser);
    stage.learn(kinds[0])?;
    stage.served_by(&stage.hosts[0])?;
    if ours[1] {
        wires[1].is_silent();
    }
    // What is routed, where every frame to the virtual MAC addresses reaches both.
    let mut beyond = None;
    if ours == [true; 2] {
        stage.flood()?;
        beyond = Some(stage.route_beyond()?);
        stage.is_routed_once()?;
    }
    let [first, second] = &mut stage.daemons;
    first.stop()?;
    for router in ROUTERS {
        second.wait_state(&stage.hosts[1], router, "MASTER", STEP)?;
    }
    stage.served_by(&stage.hosts[1])?;
    if beyond.is_some() {
        stage.is_routed_once()?;
    }
    // Somebody who has to ask.
    for vip in VIPS {
        stage.client.ip(&["neighbour", "del", vip, "dev", "eth0"])?;
    }
    stage.learn(kinds[1])?;
    let [v4, v6] = MACS.map(|mac| format!(" {mac} > "));
    let to_all = format!("{v6}33:33:00:00:00:01");
    let given_up = [
        [&*v4, "Reply 10.0.0.100 is-at 00:00:5e:00:01:33", ""],
        [&v6, "neighbor advertisement", "tgt is 2001:db8::100"],
        [&v4, "VRRPv2, Advertisement", "prio 0"],
        [&v6, "VRRPv3, Advertisement", "prio 0"],
    ];
    let taken_over = [
        [&*v4, "Request who-has 10.0.0.100", "tell 10.0.0.100"],
        [&v4, "Reply 10.0.0.100 is-at 00:00:5e:00:01:33", ""],
        [&v4, "VRRPv2, Advertisement", "prio 50"],
        [&to_all, "tgt is 2001:db8::100,", "(1): 00:00:5e:00:02:33"],
        [&v6, "solicited, override]", "(1): 00:00:5e:00:02:33"],
        [&v6, "VRRPv3, Advertisement", "prio 50"],
    ];
    let expected = [&given_up[..], &taken_over[..]];
    for ((wire, expected), _) in wires.iter().zip(expected).zip(ours).filter(|(_, ours)| *ours) {
        wire.check();
        for words in expected {
            assert!(wire.has(words), "{words:?} in {:#?}", wire.frames());
        }
    }
    Ok(())
}

#[test]
fn a_client_that_learns_nothing_new_goes_on() -> Result<()> {
    takeover([Kind::VrrpUser; 2])
}

#[test]
fn from_keepalived_to_vrrp_user() -> Result<()> {
    beside_keepalived([Kind::Keepalived, Kind::VrrpUser])
}

#[test]
fn from_vrrp_user_to_keepalived() -> Result<()> {
    beside_keepalived([Kind::VrrpUser, Kind::Keepalived])
}

/// keepalived makes macvlan devices for it.
fn beside_keepalived(kinds: [Kind; 2]) -> Result<()> {
    let lab = Lab::new()?;
    if !lab.host("probe", "10.0.0.9/24")?.has_devices(&["macvlan"])? {
        return Ok(());
    }
    drop(lab);
    takeover(kinds)
}

/// Frames to the virtual MAC addresses reach every host: the master takes them in, the backup does not, and a master whose
/// daemon stands still does not any more when another one has taken over.
#[test]
fn only_the_master_takes_frames_in() -> Result<()> {
    let mut stage = Stage::new([Kind::VrrpUser; 2], "use_vmac")?;
    stage.flood()?;
    stage.learn(Kind::VrrpUser)?;
    assert_eq!((stage.takes_in(1)?, stage.takes_in(2)?), ([true; 2], [false; 2]));
    let [Daemon::VrrpUser(first), Daemon::VrrpUser(second)] = &stage.daemons else {
        unreachable!()
    };
    let counts = |daemon: &VrrpUser, host, reason| daemon.reason(host, reason);
    assert_ne!(counts(first, &stage.hosts[0], "virtual_mac_accepted")?, 0);
    assert_ne!(counts(second, &stage.hosts[1], "virtual_mac_backup")?, 0);
    assert_eq!(counts(first, &stage.hosts[0], "virtual_mac_backup")?, 0);
    assert_eq!(counts(second, &stage.hosts[1], "virtual_mac_accepted")?, 0);
    let wire = Wire::tap(&stage.lab, &stage.hosts[0])?;
    let [Daemon::VrrpUser(first), second] = &mut stage.daemons else { unreachable!() };
    first.process().signal(Signal::SIGSTOP)?;
    for router in ROUTERS {
        second.wait_state(&stage.hosts[1], router, "MASTER", STEP)?;
    }
    stage.served_by(&stage.hosts[1])?;
    assert_eq!((stage.takes_in(1)?, stage.takes_in(2)?), ([false; 2], [true; 2]));
    let _beyond = stage.route_beyond()?;
    stage.is_routed_once()?;
    wire.check();
    let [Daemon::VrrpUser(first), _] = &mut stage.daemons else { unreachable!() };
    assert_ne!(first.reason(&stage.hosts[0], "virtual_mac_fenced")?, 0);
    first.process().signal(Signal::SIGCONT)
}

/// A daemon that is killed and started again goes on with it, and a configuration may begin and end to use it.
#[test]
fn it_stays_and_goes_as_configured() -> Result<()> {
    let lab = Lab::new()?;
    let (a, c) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    let with = Instance::new(51, 100, "10.0.0.100/24").with("use_vmac").to_string();
    let without = with.replace("use_vmac", "");
    let mut daemon = VrrpUser::start(&a, &with)?;
    daemon.wait_state(&a, "VI_1", "MASTER", STEP)?;
    let knows = |mac: &str| -> Result<()> {
        lab.wait_until(STEP, &format!("it is at {mac}"), || {
            c.spawn("ping", "ping", &["-c", "1", "-W", "1", VIPS[0]])?.wait(STEP)?;
            let known = c.ip(&["neighbour", "show", VIPS[0]])?;
            Ok(known.contains(mac).then_some(()))
        })?;
        let mut ping = c.spawn("ping", "ping", &["-c", "1", "-W", "1", VIPS[0]])?;
        assert!(ping.wait(STEP)?.success());
        Ok(())
    };
    knows(MACS[0])?;
    assert_eq!(daemon.router_stats(&a, "VI_1")?["state"], "MASTER");
    let wire = Wire::tap(&lab, &a)?;
    daemon.kill()?;
    daemon = VrrpUser::start(&a, &with)?;
    daemon.wait_state(&a, "VI_1", "MASTER", STEP)?;
    knows(MACS[0])?;
    wire.check();
    drop(wire);

    daemon.hang_up(&a, &without)?;
    knows(&mac(&a))?;
    let wire = Wire::tap(&lab, &a)?;
    lab.wait_until(STEP, "advertisements have the interface's own", || {
        Ok(wire.has(&[&format!(" {} > ", wire.own), "Advertisement"]).then_some(()))
    })?;
    assert!(!wire.has(&[MACS[0]]));
    daemon.hang_up(&a, &with)?;
    knows(MACS[0])
}

/// What cannot carry it is said, and the router is in FAULT.
#[test]
fn where_it_cannot_be_had() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    if !a.has_devices(&["macvlan"])? {
        return Ok(());
    }
    let add = ["link", "add", "link", "eth0", "name", "mv0", "type", "macvlan", "mode", "bridge"];
    a.ip(&add)?;
    a.ip(&["link", "set", "mv0", "up"])?;
    a.ip(&["address", "add", "10.0.1.1/24", "dev", "mv0"])?;
    let above = Instance::new(51, 100, "10.0.1.100/24").with("use_vmac");
    let above = Instance { interface: "mv0".into(), ..above };
    let mut daemon = VrrpUser::start(&a, &above.to_string())?;
    daemon.wait_state(&a, "VI_1", "FAULT", STEP)?;
    let router = daemon.router(&a, "VI_1")?;
    let problems = router["problems"].to_string();
    assert!(problems.contains("mv0 is a macvlan"), "{problems}");
    assert_eq!(router["cause_name"], "no-virtual-mac");
    Ok(())
}

fn finding<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let mut findings = report["findings"].as_array().unwrap().iter();
    let finding = findings.find(|finding| finding["check"] == check).unwrap();
    (finding["severity"].as_str().unwrap(), finding["text"].as_str().unwrap())
}

/// A neighbour advertisement for an address, between these Ethernet addresses (RFC 4861 section 4.4). Its sum is wrong, which
/// nobody looks at here.
fn advertisement(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let target: Ipv6Addr = VIPS[1].parse().unwrap();
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets();
    let header = [&to[..], &from, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]].concat();
    let message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target.octets(), &[2, 1], &from].concat();
    [&header[..], &target.octets(), &all_nodes, &message].concat()
}

/// What others send to and from virtual MAC addresses, and what the network sends back, is counted and told, and changes nothing.
#[test]
fn frames_of_others_are_counted() -> Result<()> {
    const OURS: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
    // One of its own.
    const OURS6: [u8; 6] = [2, 0, 0, 0, 6, 51];
    let lab = Lab::new()?;
    let (a, c) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    let four = Instance::new(51, 100, "10.0.0.100/24").with("use_vmac");
    let six =
        Instance::new(51, 100, "fe80::100/64").name("VI_6").v3("1").with("use_vmac 2:0:0:0:6");
    let addresses = vec!["fe80::100/64".into(), "2001:db8::100/64".into()];
    let conf = format!("{four}\n{}", Instance { addresses, ..six });
    let file = a.dir("doctor")?.join("k.conf");
    fs::write(&file, &conf).unwrap();
    let (report, _) = VrrpUser::doctor(&a, &["--config", &file.display().to_string()])?;
    let (severity, text) = finding(&report, "capture eth0");
    assert!(severity == "warning" && text.contains("captures by tc"), "{report:#}");
    assert_eq!(finding(&report, "virtual MAC eth0").0, "fine");

    let mut daemon = VrrpUser::start(&a, &conf)?;
    daemon.wait_state(&a, "VI_1", "MASTER", STEP)?;
    daemon.wait_state(&a, "VI_6", "MASTER", STEP)?;
    let (report, _) = VrrpUser::doctor(&a, &[])?;
    assert_eq!(finding(&report, "virtual MAC in use").0, "fine", "{report:#}");
    let socket = RawSocket::open(&c)?;
    let ip = |to: [u8; 6], from: [u8; 6]| {
        let frame = Frame::v2([10, 0, 0, 3].into(), 51, 100, &[]);
        let mut bytes = Frame { destination_mac: to, source_mac: from, ..frame }.bytes();
        // The protocol of an experiment (RFC 3692), in the place of VRRP.
        bytes[23] = 253;
        bytes
    };
    let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    let echo = [&[0xff; 6][..], &OURS, &kind, &OURS, &[10, 0, 0, 100], &OURS, &[10, 0, 0, 100]];
    let (unknown, unknown6) = ([0, 0, 0x5e, 0, 1, 99], [0, 0, 0x5e, 0, 2, 99]);
    let mut six_to_unknown = advertisement(unknown6, c.mac());
    // The same protocol.
    six_to_unknown[20] = 253;
    let [unknown, echo, source] = [
        [ip(unknown, c.mac()), six_to_unknown],
        [echo.concat(), advertisement([0x33, 0x33, 0, 0, 0, 1], OURS6)],
        [ip([0xff; 6], OURS), ip([0xff; 6], OURS6)],
    ];
    for (frames, reason) in [
        (unknown, "virtual_mac_unknown"),
        (echo, "virtual_mac_echo"),
        (source, "virtual_mac_source"),
    ] {
        for (frame, seen) in frames.iter().zip(1..) {
            socket.send(frame)?;
            lab.wait_until(
                STEP,
                reason,
                || Ok((daemon.reason(&a, reason)? == seen).then_some(())),
            )?;
        }
    }
    let (report, code) = VrrpUser::doctor(&a, &[])?;
    let (severity, text) = finding(&report, "virtual MAC in use");
    assert!(severity == "broken" && text.contains("of VI_1 on eth0"), "{report:#}");
    assert_eq!(code, Some(2));
    for router in ["VI_1", "VI_6"] {
        assert_eq!(daemon.router_stats(&a, router)?["state_changes"], 2);
    }
    assert_eq!(daemon.router(&a, "VI_1")?["virtual_mac"], MACS[0]);
    assert_eq!(daemon.router(&a, "VI_6")?["virtual_mac"], "02:00:00:00:06:33");
    Ok(())
}

/// A host whose uplink is the port of a bridge, on which it has its addresses.
fn bridged(lab: &Lab, name: &str, address: &str, address6: &str) -> Result<Host> {
    let host = lab.host(name, address)?;
    let mac = mac(&host);
    host.ip(&["address", "flush", "dev", "eth0"])?;
    host.ip(&["link", "add", "br1", "address", &mac, "type", "bridge", "mcast_snooping", "0"])?;
    host.ip(&["link", "set", "eth0", "master", "br1"])?;
    host.ip(&["link", "set", "br1", "up"])?;
    host.ip(&["address", "add", address, "dev", "br1"])?;
    host.ip(&["address", "add", address6, "dev", "br1", "nodad"])?;
    Ok(host)
}

/// A guest behind the bridge of a host.
fn guest(lab: &Lab, of: &Host) -> Result<Host> {
    let guest = lab.host("g", "10.0.0.50/24")?;
    guest.ip(&["address", "add", "2001:db8::50/64", "dev", "eth0", "nodad"])?;
    lab.network().ip(&["link", "set", "to-g", "nomaster", "netns", of.namespace().name()])?;
    of.ip(&["link", "set", "to-g", "master", "br1", "up"])?;
    Ok(guest)
}

/// Which of the virtual MAC addresses a bridge keeps for its host.
fn local_entries(host: &Host) -> Result<[bool; 2]> {
    let known = host.namespace().run("bridge", &["fdb", "show", "br", "br1"])?;
    let is_local = |mac: &str| {
        let entry = |line: &str| line.starts_with(&format!("{mac} dev br1 "));
        known.lines().any(|line| entry(line) && line.contains("permanent"))
    };
    Ok(MACS.map(is_local))
}

/// On a bridge the virtual MAC address is an entry of its forwarding database: there while its host is master, and not before
/// or after, also where a daemon was killed. Guests behind the bridge reach the master, wherever that is.
#[test]
fn a_bridge_has_it_while_its_host_is_master() -> Result<()> {
    let lab = Lab::new()?;
    let a = bridged(&lab, "a", "10.0.0.1/24", "2001:db8::1/64")?;
    let b = lab.host("b", "10.0.0.2/24")?;
    b.ip(&["address", "add", "2001:db8::2/64", "dev", "eth0", "nodad"])?;
    let guest = guest(&lab, &a)?;
    let _web = [WebServer::start(&a)?, WebServer::start(&b)?];
    for (vip, mac) in VIPS.into_iter().zip(MACS) {
        guest.ip(&["neighbour", "add", vip, "lladdr", mac, "dev", "eth0", "nud", "permanent"])?;
    }
    let reaches = |host: &Host| -> Result<()> {
        for vip in VIPS {
            lab.wait_until(STEP, &format!("{vip} is on {}", host.name()), || {
                let name = fetch(guest.namespace(), vip).unwrap_or_default();
                Ok((name == host.name()).then_some(()))
            })?;
        }
        Ok(())
    };
    let mut second = VrrpUser::start(&b, &conf(100, "use_vmac"))?;
    all_are(&mut second, &b, "MASTER")?;
    // As a daemon leaves them that was killed as master.
    for mac in MACS {
        let fdb = ["fdb", "replace", mac, "dev", "br1", "self", "permanent"];
        a.namespace().run("bridge", &fdb)?;
    }
    assert_eq!(local_entries(&a)?, [true; 2]);
    assert!(fetch(guest.namespace(), VIPS[0]).is_err());
    let conf = conf(50, "use_vmac").replace("eth0", "br1");
    let mut first = VrrpUser::start(&a, &conf)?;
    all_are(&mut first, &a, "BACKUP")?;
    assert_eq!(local_entries(&a)?, [false; 2]);
    reaches(&b)?;

    second.stop()?;
    all_are(&mut first, &a, "MASTER")?;
    assert_eq!(local_entries(&a)?, [true; 2]);
    let wire = Wire::tap(&lab, &a)?;
    reaches(&a)?;
    let guests = mac(&guest);
    let flooded =
        |frame: &String| MACS.iter().any(|to| frame.contains(&format!("{guests} > {to}")));
    assert!(!wire.frames().iter().any(flooded), "{:#?}", wire.frames());
    wire.check();
    drop(wire);

    // One that is adopted goes on with it, and one that stops has it no more.
    first.kill()?;
    assert_eq!(local_entries(&a)?, [true; 2]);
    first = VrrpUser::start(&a, &conf)?;
    all_are(&mut first, &a, "MASTER")?;
    reaches(&a)?;
    assert_eq!(local_entries(&a)?, [true; 2]);
    second = VrrpUser::start(&b, &self::conf(100, "use_vmac"))?;
    all_are(&mut second, &b, "MASTER")?;
    all_are(&mut first, &a, "BACKUP")?;
    assert_eq!(local_entries(&a)?, [false; 2]);
    reaches(&b)?;
    second.stop()?;
    all_are(&mut first, &a, "MASTER")?;
    first.kill()?;
    assert_eq!(local_entries(&a)?, [true; 2]);
    let (_, said) = VrrpUser::cleanup(&a)?;
    for mac in MACS {
        assert!(
            said.contains(&format!("removed {mac} from the forwarding database of br1")),
            "{said}"
        );
    }
    assert_eq!(local_entries(&a)?, [false; 2]);
    Ok(())
}

/// A network between two hosts alone, on `eth1` of both.
fn second_network(lab: &Lab, a: &Host, c: &Host) -> Result<()> {
    let (there, name) = (c.namespace().name(), a.namespace().name());
    let network = lab.network();
    network.ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"])?;
    for (end, host, address) in [("one", a, "10.1.0.1/24"), ("two", c, "10.1.0.3/24")] {
        let to = if end == "one" { name } else { there };
        network.ip(&["link", "set", end, "netns", to])?;
        host.ip(&["link", "set", end, "name", "eth1"])?;
        host.ip(&["address", "add", address, "dev", "eth1"])?;
        host.ip(&["link", "set", "eth1", "up"])?;
    }
    Ok(())
}

/// A virtual MAC address that is none of the RFC's, on two interfaces, while advertisements have the interface's own.
#[test]
fn another_one_and_on_other_interfaces() -> Result<()> {
    const MAC: &str = "02:00:00:00:09:33";
    let lab = Lab::new()?;
    let (a, c) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    second_network(&lab, &a, &c)?;
    let wire = Wire::tap(&lab, &a)?;
    let instance = Instance::new(51, 100, "10.0.0.100/24").with("use_vmac 2:0:0:0:9");
    let instance = instance.with("vmac_xmit_base").with("garp_extra_if 1");
    let beside = Wire::on(&lab, c.namespace().command("tcpdump"), "eth1", &a)?;
    let addresses = ["10.0.0.100/24", "10.1.0.100/24 dev eth1 use_vmac", "10.1.0.101/24 dev eth1"];
    let addresses = addresses.map(str::to_owned).to_vec();
    let mut daemon = VrrpUser::start(&a, &Instance { addresses, ..instance }.to_string())?;
    daemon.wait_state(&a, "VI_1", "MASTER", STEP)?;
    let ping = |address: &str| -> Result<bool> {
        let mut ping = c.spawn("ping", "ping", &["-c", "1", "-W", "1", address])?;
        Ok(ping.wait(STEP)?.success())
    };
    for (address, on) in [("10.0.0.100", "eth0"), ("10.1.0.100", "eth1"), ("10.1.0.101", "eth1")] {
        lab.wait_until(STEP, &format!("{address} answers"), || Ok(ping(address)?.then_some(())))?;
        let known = c.ip(&["neighbour", "show", address, "dev", on])?;
        assert_eq!(known.contains(MAC), address != "10.1.0.101", "{known}");
        // By that address it is reached, wherever it was learned.
        let fixed = ["neighbour", "replace", address, "lladdr", MAC, "dev", on, "nud", "permanent"];
        c.ip(&fixed)?;
        assert!(ping(address)?, "{address} by {MAC}");
    }
    assert_ne!(daemon.reason(&a, "virtual_mac_accepted")?, 0);
    let (own, of_router) = (format!(" {} > ", wire.own), format!(" {MAC} > "));
    assert!(wire.has(&[&own, "Advertisement"]), "{:#?}", wire.frames());
    assert!(!wire.has(&[&of_router, "Advertisement"]), "{:#?}", wire.frames());
    assert!(wire.has(&[&of_router, "Request who-has 10.0.0.100", "tell 10.0.0.100"]));
    assert!(!wire.has(&[&own, "10.0.0.100 >"]), "{:#?}", wire.frames());
    // Switches learn nothing of it from advertisements, on either interface: more often than a takeover says it.
    for (wire, address) in [(&wire, "10.0.0.100"), (&beside, "10.1.0.100")] {
        let said =
            [&of_router[..], &format!("Request who-has {address}"), &format!("tell {address}")];
        lab.wait_until(STEP, &format!("{address} again and again"), || {
            Ok((wire.count(&said) > 12).then_some(()))
        })?;
    }
    assert!(!beside.has(&[&own, "10.1.0.100 is-at"]), "{:#?}", beside.frames());
    Ok(())
}

/// A backup by unicast says nothing, and switches forget where it is, unless it is told to say that.
#[test]
fn a_silent_backup_says_where_it_is() -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
    for (host, last) in hosts.iter().zip(1..) {
        host.ip(&["address", "add", &format!("2001:db8::{last}/64"), "dev", "eth0", "nodad"])?;
    }
    let conf = |own: u8, priority: u8| {
        let peer = 3 - own;
        let four = Instance::new(51, priority, "10.0.0.100/24").name(ROUTERS[0]);
        let four = four.with("garp_own_address 1");
        let six = Instance::new(51, priority, "fe80::100/64").name(ROUTERS[1]).v3("1");
        let six = six.with(&format!("unicast_src_ip 2001:db8::{own}")).with("garp_own_address 1");
        let four = four.with(&format!("unicast_peer {{\n10.0.0.{peer}\n}}"));
        format!("{four}\n{}", six.with(&format!("unicast_peer {{\n2001:db8::{peer}\n}}")))
    };
    let mut first = VrrpUser::start(&hosts[0], &conf(1, 100))?;
    all_are(&mut first, &hosts[0], "MASTER")?;
    let wires = [Wire::tap(&lab, &hosts[0])?, Wire::tap(&lab, &hosts[1])?];
    let mut second = VrrpUser::start(&hosts[1], &conf(2, 50))?;
    all_are(&mut second, &hosts[1], "BACKUP")?;
    let own = mac(&hosts[1]);
    let [from, states] = [format!(" {own} > "), format!("(1): {own}")];
    let said = [
        [&*from, "Request who-has 10.0.0.2 ", "tell 10.0.0.2,"],
        [&from, "tgt is 2001:db8::2,", &states],
    ];
    for said in &said {
        lab.wait_until(
            STEP,
            &format!("{said:?}"),
            || Ok((wires[1].count(said) > 2).then_some(())),
        )?;
    }
    // The master says enough.
    assert!(!wires[0].has(&["Request who-has 10.0.0.1 ", "tell 10.0.0.1,"]));
    assert!(!wires[0].has(&["tgt is 2001:db8::1, Flags [override]"]));
    // It ends when it becomes master itself.
    first.stop()?;
    all_are(&mut second, &hosts[1], "MASTER")?;
    let before = wires[1].count(&said[0]);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(wires[1].count(&said[0]) <= before + 1, "{:#?}", wires[1].frames());
    Ok(())
}

/// A router of one family each, with VRIDs of their own, and one of the same VRID on another interface: each has its own
/// virtual MAC address there, and takes in no frames to that of another one.
#[test]
fn each_router_has_its_own() -> Result<()> {
    const SIX: &str = "00:00:5e:00:02:3d";
    let lab = Lab::new()?;
    let (a, c) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    c.ip(&["address", "add", "2001:db8::3/64", "dev", "eth0", "nodad"])?;
    second_network(&lab, &a, &c)?;
    let four = Instance::new(51, 100, "10.0.0.100/24").name("VI_4").with("use_vmac");
    let six = Instance::new(61, 100, "fe80::100/64").name("VI_6").v3("1").with("use_vmac");
    let addresses = vec!["fe80::100/64".into(), "2001:db8::100/64".into()];
    let six = Instance { addresses, ..six };
    let other = Instance::new(51, 100, "10.1.0.100/24").name("VI_O").with("use_vmac");
    let other = Instance { interface: "eth1".into(), ..other };
    let mut daemon = VrrpUser::start(&a, &format!("{four}\n{six}\n{other}"))?;
    for router in ["VI_4", "VI_6", "VI_O"] {
        daemon.wait_state(&a, router, "MASTER", STEP)?;
    }
    let ping = |address: &str| -> Result<bool> {
        let mut ping = c.spawn("ping", "ping", &["-c", "1", "-W", "1", address])?;
        Ok(ping.wait(STEP)?.success())
    };
    for (address, on, mac) in
        [(VIPS[0], "eth0", MACS[0]), (VIPS[1], "eth0", SIX), ("10.1.0.100", "eth1", MACS[0])]
    {
        lab.wait_until(STEP, &format!("{address} answers"), || Ok(ping(address)?.then_some(())))?;
        let known = c.ip(&["neighbour", "show", address, "dev", on])?;
        assert!(known.contains(mac), "{known}");
        let fixed = ["neighbour", "replace", address, "lladdr", mac, "dev", on, "nud", "permanent"];
        c.ip(&fixed)?;
        assert!(ping(address)?, "{address} by {mac}");
    }
    // That of the other family, and that of the other one's VRID, are nobody's.
    for mac in ["00:00:5e:00:02:33", "00:00:5e:00:01:3d"] {
        let fixed = ["neighbour", "replace", VIPS[0], "lladdr", mac, "dev", "eth0", "nud"];
        c.ip(&[&fixed[..], &["permanent"]].concat())?;
        assert!(!ping(VIPS[0])?, "{mac}");
    }
    assert_ne!(daemon.reason(&a, "virtual_mac_unknown")?, 0);
    Ok(())
}

/// From before the start on nothing leaves for the addresses but with their virtual MAC address, not even in answers to
/// those who ask whether an address is free, or in what this host asks from it; and it hears what others say of themselves.
#[test]
fn a_master_shows_no_other_from_the_start_on() -> Result<()> {
    let lab = Lab::new()?;
    let (a, c) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    a.ip(&["address", "add", "2001:db8::1/64", "dev", "eth0", "nodad"])?;
    c.ip(&["address", "add", "2001:db8::3/64", "dev", "eth0", "nodad"])?;
    let wire = Wire::tap(&lab, &a)?;
    // They own the addresses, and wait for nobody.
    let mut daemon = VrrpUser::start(&a, &conf(255, "use_vmac"))?;
    all_are(&mut daemon, &a, "MASTER")?;
    let says = |words: &[&str]| {
        lab.wait_until(STEP, &format!("{words:?}"), || Ok(wire.has(words).then_some(())))
    };
    let [v4, v6] = MACS.map(|mac| format!(" {mac} > "));
    says(&[&v4, "Request who-has 10.0.0.100", "tell 10.0.0.100"])?;
    says(&[&v6, "tgt is 2001:db8::100,", "(1): 00:00:5e:00:02:33"])?;
    // The group of those who are asked for the address (RFC 4291 section 2.7.1).
    let groups = a.ip(&["-6", "maddress", "show", "dev", "eth0"])?;
    assert!(groups.contains("ff02::1:ff00:100"), "{groups}");

    // Who asks whether it is free: RFC 5227 section 2.1.1, RFC 4862 section 5.4.
    let own = c.mac();
    let header = [&[0xff; 6][..], &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    let probe = [&header[..], &own, &[0; 4], &[0; 6], &[10, 0, 0, 100], &[0; 18]].concat();
    RawSocket::open(&c)?.send(&probe)?;
    let to_c = format!("{v4}{}", mac(&c));
    says(&[&to_c, "Reply 10.0.0.100 is-at 00:00:5e:00:01:33"])?;
    let before = wire.frames().len();
    c.ip(&["address", "add", "2001:db8::100/64", "dev", "eth0"])?;
    lab.wait_until(STEP, "the address is taken", || {
        let known = c.ip(&["-6", "address", "show", "dev", "eth0"])?;
        Ok(known.contains("dadfailed").then_some(()))
    })?;
    let answered = format!("{v6}33:33:00:00:00:01");
    let answers = wire.frames().split_off(before);
    let to_probe = |frame: &String| {
        frame.contains(&answered) && frame.contains("tgt is 2001:db8::100, Flags [override]")
    };
    let to_probe: Vec<_> = answers.iter().filter(|frame| to_probe(frame)).collect();
    assert!(to_probe.iter().any(|frame| frame.contains("(1): 00:00:5e:00:02:33")), "{answers:#?}");
    c.ip(&["address", "del", "2001:db8::100/64", "dev", "eth0"])?;

    // What it asks from the addresses.
    a.ip(&["neighbour", "flush", "dev", "eth0"])?;
    for (vip, to) in [(VIPS[0], "10.0.0.3"), (VIPS[1], "2001:db8::3")] {
        let mut ping = a.spawn("ping", "ping", &["-c", "1", "-W", "2", "-I", vip, to])?;
        assert!(ping.wait(STEP)?.success(), "{}", ping.log().text());
    }
    says(&[&v4, "Request who-has 10.0.0.3", "tell 10.0.0.100"])?;
    says(&[&v6, "2001:db8::100 >", "who has 2001:db8::3", "(1): 00:00:5e:00:02:33"])?;

    // An advertisement that nobody has asked for is believed (RFC 9568 section 8.2.4).
    c.namespace().run("sysctl", &["-q", "-w", "net.ipv6.conf.eth0.ndisc_notify=1"])?;
    c.ip(&["link", "set", "eth0", "address", "02:00:00:00:09:09"])?;
    lab.wait_until(STEP, "it is believed", || {
        let known = a.ip(&["neighbour", "show", "2001:db8::3", "dev", "eth0"])?;
        Ok(known.contains("02:00:00:00:09:09").then_some(()))
    })?;
    wire.check();
    Ok(())
}
