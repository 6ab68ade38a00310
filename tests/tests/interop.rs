//! Beside keepalived 2.2.7 and FRR 8.4, in both roles.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::{Duration, Instant};

use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{
    Error, Frr, Host, Instance, Lab, Prober, Result, Tcpdump, WebServer, fetch, pause,
};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(20);
/// Longer than the master-down interval: what has not happened by then, does not.
const NEVER: Duration = Duration::from_secs(6);
const VIP: &str = "10.0.0.100";
const ADDRESS: &str = "10.0.0.100/24";
const ROUTER: &str = "VI_1";

/// Two hosts, each with a daemon or without.
struct Pair {
    lab: Lab,
    hosts: [Host; 2],
    kinds: [Kind; 2],
    confs: [String; 2],
    /// Of our own.
    options: Vec<&'static str>,
    /// What starts our own.
    command: Vec<&'static str>,
    daemons: [Option<Daemon>; 2],
}

const OURS_FIRST: [Kind; 2] = [Kind::VrrpUser, Kind::Keepalived];
const THEIRS_FIRST: [Kind; 2] = [Kind::Keepalived, Kind::VrrpUser];

impl Pair {
    /// The first has address .1, the second .2.
    fn new(kinds: [Kind; 2], confs: [String; 2]) -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
        Ok(Self {
            lab,
            hosts,
            kinds,
            confs,
            options: Vec::new(),
            command: Vec::new(),
            daemons: [None, None],
        })
    }

    fn start(&mut self, which: usize) -> Result<()> {
        let (host, conf) = (&self.hosts[which], &self.confs[which]);
        let daemon = self.kinds[which].start_under(host, &self.command, conf, &self.options)?;
        self.daemons[which] = Some(daemon);
        Ok(())
    }

    fn daemon(&mut self, which: usize) -> &mut Daemon {
        self.daemons[which].as_mut().expect("started")
    }

    fn wait(&mut self, which: usize, router: &str, state: &str) -> Result<()> {
        let host = &self.hosts[which];
        self.daemons[which].as_mut().expect("started").wait_state(host, router, state, LONG)
    }

    fn state(&self, which: usize, router: &str) -> String {
        let daemon = self.daemons[which].as_ref().expect("started");
        daemon.state(&self.hosts[which], router)
    }

    /// The states, and with them the address, are as they should be.
    fn settled(&mut self, master: usize) -> Result<()> {
        let backup = 1 - master;
        self.wait(master, ROUTER, "MASTER")?;
        self.wait(backup, ROUTER, "BACKUP")?;
        let hosts = &self.hosts;
        let what = format!("{} alone has the address", hosts[master].name());
        self.lab.wait_until(LONG, &what, || {
            let right = hosts[master].has_address(VIP)? && !hosts[backup].has_address(VIP)?;
            Ok(right.then_some(()))
        })
    }
}

/// Two routers that we lead and three that they lead, by multicast and unicast, of both versions and families, captured
/// in that way: each side replaces the other when it is killed, and gives back what it got.
fn both_lead(way: &'static str) -> Result<()> {
    both_lead_under(&[], &["--capture", way], way)
}

/// The same, started by a command and with options that make it capture in that way.
fn both_lead_under(
    command: &[&'static str],
    options: &[&'static str],
    way: &'static str,
) -> Result<()> {
    let conf = |which: usize| {
        let addresses = ["10.0.0.1", "10.0.0.2"];
        let priority = |leader: usize| if which == leader { 150 } else { 100 };
        let at = |vrid, leader| {
            let name = format!("VI_{vrid}");
            Instance::new(vrid, priority(leader), &format!("10.0.0.{vrid}/24")).name(&name)
        };
        let unicast = |router: Instance| router.unicast(addresses[which], &[addresses[1 - which]]);
        let mut six = Instance::new(65, priority(1), "fe80::65").name("VI_65").v3("0.5");
        six.addresses.push("2001:db8::65".into());
        let routers =
            [at(61, 0).password("s3cr3t"), at(62, 1).v3("0.5"), unicast(at(63, 0)), at(64, 1), six];
        routers.map(|router| router.to_string()).join("\n")
    };
    let mut pair = Pair::new(OURS_FIRST, [conf(0), conf(1)])?;
    (pair.command, pair.options) = (command.to_vec(), options.to_vec());
    for host in &pair.hosts {
        host.ip(&["address", "add", "2001:db8::a/64", "dev", "eth0", "nodad"])?;
    }
    let led = |pair: &mut Pair, masters: [&[u8]; 2]| {
        for (which, masters) in masters.into_iter().enumerate() {
            if pair.daemons[which].is_none() {
                continue;
            }
            for vrid in 61..=65 {
                let state = if masters.contains(&vrid) { "MASTER" } else { "BACKUP" };
                pair.wait(which, &format!("VI_{vrid}"), state)?;
            }
        }
        Ok::<_, Error>(())
    };
    let (ours, theirs, all): (&[u8], &[u8], &[u8]) =
        (&[61, 63], &[62, 64, 65], &[61, 62, 63, 64, 65]);
    pair.start(0)?;
    pair.start(1)?;
    led(&mut pair, [ours, theirs])?;
    for (which, masters) in [(0, [&[], all]), (1, [all, &[]])] {
        pair.daemon(which).kill()?;
        pair.daemons[which] = None;
        led(&mut pair, masters)?;
        pair.start(which)?;
        led(&mut pair, [ours, theirs])?;
    }
    let Daemon::VrrpUser(daemon) = pair.daemons[0].take().expect("started") else {
        panic!("the first is ours")
    };
    let stats = daemon.stats(&pair.hosts[0])?;
    assert_eq!(stats["interfaces"][0]["capture"], way);
    for (reason, count) in stats["reasons"].as_object().expect("reasons") {
        // keepalived announces an address that it takes back before it advertises that it is master, and what was on its way out
        // from that address is stopped then.
        let announced =
            ["arp_conflict", "ndisc_conflict", "fenced_from"].contains(&reason.as_str());
        let good = announced
            || ["accepted", "lower_ignored", "not_listening", "unknown_vrid"]
                .contains(&reason.as_str());
        assert!(good || count == 0, "{reason}: {count}");
    }
    Ok(())
}

#[test]
fn both_lead_by_tc() -> Result<()> {
    both_lead("tc")
}

#[test]
fn both_lead_by_a_packet_socket() -> Result<()> {
    both_lead("raw")
}

#[test]
fn both_lead_by_generic_xdp() -> Result<()> {
    both_lead("generic")
}

/// As Linux 5.10 for the unit.
#[test]
fn both_lead_by_clsact_and_copies() -> Result<()> {
    both_lead_under(&["env", "VRRP_USER_WITHOUT=xdp,tcx,in-place"], &[], "tc")
}

#[test]
fn both_lead_without_bpf() -> Result<()> {
    both_lead_under(&["env", "VRRP_USER_WITHOUT=bpf"], &[], "raw")
}

/// The preferred one of two is master, is replaced when killed, and takes the address back.
fn takeover(kinds: [Kind; 2], conf: impl Fn(usize, u8) -> Instance) -> Result<()> {
    let confs = [conf(0, 150).to_string(), conf(1, 100).to_string()];
    let mut pair = Pair::new(kinds, confs)?;
    pair.start(0)?;
    pair.start(1)?;
    pair.settled(0)?;

    pair.daemon(0).kill()?;
    let killed = Instant::now();
    pair.wait(1, ROUTER, "MASTER")?;
    println!("{} took over after {:?}", kinds[1].name(), killed.elapsed());
    assert!(pair.hosts[1].has_address(VIP)?);

    // What the killed daemon left on its host is no hindrance.
    pair.start(0)?;
    pair.settled(0)
}

fn plain(_: usize, priority: u8) -> Instance {
    Instance::new(51, priority, ADDRESS)
}

fn password(_: usize, priority: u8) -> Instance {
    Instance::new(51, priority, ADDRESS).password("s3cr3t")
}

fn v3(_: usize, priority: u8) -> Instance {
    Instance::new(51, priority, ADDRESS).v3("1")
}

fn v3_fast(_: usize, priority: u8) -> Instance {
    Instance::new(51, priority, ADDRESS).v3("0.2")
}

fn unicast(which: usize, priority: u8) -> Instance {
    let addresses = ["10.0.0.1", "10.0.0.2"];
    Instance::new(51, priority, ADDRESS)
        .password("s3cr3t")
        .unicast(addresses[which], &[addresses[1 - which]])
}

fn many(_: usize, priority: u8) -> Instance {
    let mut instance = Instance::new(51, priority, ADDRESS).password("s3cr3t");
    instance.addresses.extend((101..120).map(|last| format!("10.0.0.{last}/24 dev eth0")));
    instance
}

#[test]
fn v2_we_lead() -> Result<()> {
    takeover(OURS_FIRST, plain)
}

#[test]
fn v2_they_lead() -> Result<()> {
    takeover(THEIRS_FIRST, plain)
}

#[test]
fn v2_password_we_lead() -> Result<()> {
    takeover(OURS_FIRST, password)
}

#[test]
fn v2_password_they_lead() -> Result<()> {
    takeover(THEIRS_FIRST, password)
}

#[test]
fn v3_we_lead() -> Result<()> {
    takeover(OURS_FIRST, v3)
}

#[test]
fn v3_they_lead() -> Result<()> {
    takeover(THEIRS_FIRST, v3)
}

#[test]
fn v3_fast_we_lead() -> Result<()> {
    takeover(OURS_FIRST, v3_fast)
}

#[test]
fn v3_fast_they_lead() -> Result<()> {
    takeover(THEIRS_FIRST, v3_fast)
}

#[test]
fn unicast_we_lead() -> Result<()> {
    takeover(OURS_FIRST, unicast)
}

#[test]
fn unicast_they_lead() -> Result<()> {
    takeover(THEIRS_FIRST, unicast)
}

#[test]
fn twenty_addresses_we_lead() -> Result<()> {
    takeover(OURS_FIRST, many)
}

#[test]
fn twenty_addresses_they_lead() -> Result<()> {
    takeover(THEIRS_FIRST, many)
}

/// Unicast advertisements reach only their peer, and the peer's kernel does not refuse them.
#[test]
fn unicast_is_quiet() -> Result<()> {
    let confs = [unicast(0, 150).to_string(), unicast(1, 100).to_string()];
    let mut pair = Pair::new(THEIRS_FIRST, confs)?;
    let third = pair.lab.host("third", "10.0.0.3/24")?;
    let outside = Tcpdump::start_with(&third, "proto 112 and dst net 224.0.0.0/4")?;
    let peer = Tcpdump::start_with(&pair.hosts[1], "proto 112 or icmp")?;
    pair.start(0)?;
    pair.start(1)?;
    pair.settled(0)?;
    pause(Duration::from_secs(3))?;
    let start = Instant::now() - Duration::from_secs(600);
    let adverts = peer.adverts(start);
    assert!(adverts.len() >= 3 && adverts.iter().all(|advert| advert.destination == "10.0.0.2"));
    assert!(!peer.log().text().contains("unreachable"), "{}", peer.log().text());
    assert!(outside.adverts(start).is_empty(), "{}", outside.log().text());
    Ok(())
}

/// Two routers on one interface, each daemon leading one: a minute without a change.
#[test]
fn no_flap_in_a_minute() -> Result<()> {
    let conf = |first, second| {
        let one = Instance::new(51, first, ADDRESS).password("s3cr3t");
        let two = Instance::new(52, second, "10.0.0.101/24").name("VI_2").v3("1");
        format!("{one}\n{two}")
    };
    let mut pair = Pair::new(OURS_FIRST, [conf(150, 100), conf(100, 150)])?;
    pair.start(0)?;
    pair.start(1)?;
    pair.settled(0)?;
    pair.wait(1, "VI_2", "MASTER")?;
    pair.wait(0, "VI_2", "BACKUP")?;
    let became_master = |pair: &Pair| -> Result<(u64, u64, usize, usize)> {
        let (Some(Daemon::VrrpUser(ours)), Some(Daemon::Keepalived(theirs))) =
            (&pair.daemons[0], &pair.daemons[1])
        else {
            return Err(Error::Unexpected("the daemons are not in their places".into()));
        };
        let ours = |router| -> Result<u64> {
            let stats = ours.router_stats(&pair.hosts[0], router)?;
            Ok(stats["became_master"].as_u64().unwrap())
        };
        let theirs = |router| theirs.states(router).len();
        Ok((ours("VI_1")?, ours("VI_2")?, theirs("VI_1"), theirs("VI_2")))
    };
    let before = became_master(&pair)?;
    pause(Duration::from_secs(60))?;
    assert_eq!(became_master(&pair)?, before);
    pair.settled(0)?;
    assert_eq!((pair.state(0, "VI_2"), pair.state(1, "VI_2")), ("BACKUP".into(), "MASTER".into()));
    Ok(())
}

/// Who comes back with a higher priority and `nopreempt` leaves things as they are.
fn nopreempt(kinds: [Kind; 2]) -> Result<()> {
    let confs = [plain(0, 150).with("nopreempt").to_string(), plain(1, 100).to_string()];
    let mut pair = Pair::new(kinds, confs)?;
    pair.start(1)?;
    pair.wait(1, ROUTER, "MASTER")?;
    pair.start(0)?;
    pair.wait(0, ROUTER, "BACKUP")?;
    pause(NEVER)?;
    pair.settled(1)?;
    // It is a backup all the same.
    pair.daemon(1).kill()?;
    pair.wait(0, ROUTER, "MASTER")
}

#[test]
fn nopreempt_ours() -> Result<()> {
    nopreempt(OURS_FIRST)
}

#[test]
fn nopreempt_theirs() -> Result<()> {
    nopreempt(THEIRS_FIRST)
}

/// Two masters of equal priority: the one with the greater address stays, whoever has it.
#[test]
fn equal_priorities() -> Result<()> {
    for kinds in [OURS_FIRST, THEIRS_FIRST] {
        let mut pair = Pair::new(kinds, [plain(0, 100).to_string(), plain(1, 100).to_string()])?;
        // A backup would be content with an equal priority, so they must not hear each other at first.
        pair.lab.block_vrrp(&[])?;
        pair.start(0)?;
        pair.start(1)?;
        pair.wait(0, ROUTER, "MASTER")?;
        pair.wait(1, ROUTER, "MASTER")?;
        pair.lab.unblock_vrrp()?;
        pair.settled(1)?;
    }
    Ok(())
}

/// Protocol 112 does not get through: both are master. It does again: the better one is.
fn partition(kinds: [Kind; 2]) -> Result<()> {
    let mut pair = Pair::new(kinds, [password(0, 150).to_string(), password(1, 100).to_string()])?;
    pair.start(0)?;
    pair.start(1)?;
    pair.settled(0)?;
    pair.lab.block_vrrp(&["b"])?;
    pair.wait(1, ROUTER, "MASTER")?;
    assert_eq!(pair.state(0, ROUTER), "MASTER");
    pair.lab.unblock_vrrp()?;
    pair.settled(0)
}

#[test]
fn partition_we_win() -> Result<()> {
    partition(OURS_FIRST)
}

#[test]
fn partition_they_win() -> Result<()> {
    partition(THEIRS_FIRST)
}

/// Another password: nobody believes anybody, and we say why.
#[test]
fn passwords_differ() -> Result<()> {
    let theirs = plain(1, 100).password("other");
    let mut pair = Pair::new(OURS_FIRST, [password(0, 150).to_string(), theirs.to_string()])?;
    pair.start(0)?;
    pair.start(1)?;
    pair.wait(0, ROUTER, "MASTER")?;
    pair.wait(1, ROUTER, "MASTER")?;
    let Some(Daemon::VrrpUser(ours)) = &pair.daemons[0] else { unreachable!() };
    pair.lab.wait_until(LONG, "their advertisements are refused", || {
        Ok((ours.reason(&pair.hosts[0], "auth_data")? > 0).then_some(()))
    })?;
    assert_eq!(pair.state(0, ROUTER), "MASTER");
    Ok(())
}

/// Our process is stopped for longer than the master-down interval, and goes on: in the end one is
/// master and the client gets its page from that one.
#[test]
fn a_paused_master_is_reachable_again() -> Result<()> {
    for priorities in [[150, 100], [100, 150]] {
        let confs = [plain(0, priorities[0]).to_string(), plain(1, priorities[1]).to_string()];
        let mut pair = Pair::new(OURS_FIRST, confs)?;
        let _webs = [WebServer::start(&pair.hosts[0])?, WebServer::start(&pair.hosts[1])?];
        let client = pair.lab.host("client", "10.0.0.50/24")?;
        pair.start(0)?;
        pair.wait(0, ROUTER, "MASTER")?;
        let prober = Prober::start(&client, VIP)?;
        let master = usize::from(priorities[1] > priorities[0]);
        // With the better one on the other side, ours is master only until the other has waited enough.
        if master == 0 {
            pair.start(1)?;
            pair.settled(0)?;
        } else {
            pair.start(1)?;
        }
        let Some(Daemon::VrrpUser(ours)) = &mut pair.daemons[0] else { unreachable!() };
        ours.freeze(Duration::from_secs(8))?;
        pair.settled(master)?;
        let name = pair.hosts[master].name().to_owned();
        pair.lab.wait_until(LONG, "the master answers the client", || {
            Ok((prober.now() == Some(name.clone())).then_some(()))
        })?;
        assert_eq!(fetch(client.namespace(), VIP)?, name);
    }
    Ok(())
}

/// FRR's vrrpd, version 3.
#[test]
fn frr() -> Result<()> {
    beside_frr(Kind::VrrpUser)
}

/// The same with keepalived: what it does, we are to do.
#[test]
fn frr_as_keepalived_sees_it() -> Result<()> {
    beside_frr(Kind::Keepalived)
}

fn beside_frr(kind: Kind) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let vip = VIP.parse().unwrap();
    let mut ours = kind.start(&a, &v3(0, 150).to_string())?;
    ours.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let mut theirs = Frr::start(&b, 51, 100, &[vip], 100)?;
    theirs.wait_state(&b, 51, "Backup", LONG)?;
    pause(NEVER)?;
    assert_eq!((&*ours.state(&a, ROUTER), &*theirs.state(&b, 51)?), ("MASTER", "Backup"));

    ours.kill()?;
    theirs.wait_state(&b, 51, "Master", LONG)?;
    let mut ours = kind.start(&a, &v3(0, 150).to_string())?;
    ours.wait_state(&a, ROUTER, "MASTER", LONG)?;
    theirs.wait_state(&b, 51, "Backup", LONG)?;

    // The other way round.
    ours.stop()?;
    theirs.wait_state(&b, 51, "Master", LONG)?;
    let mut ours = kind.start(&a, &v3(0, 50).to_string())?;
    ours.wait_state(&a, ROUTER, "BACKUP", LONG)?;
    pause(NEVER)?;
    assert_eq!((&*ours.state(&a, ROUTER), &*theirs.state(&b, 51)?), ("BACKUP", "Master"));
    theirs.kill()?;
    ours.wait_state(&a, ROUTER, "MASTER", LONG)
}

/// A router on a VLAN device, where the kernel has them.
#[test]
fn vlan() -> Result<()> {
    let mut pair = Pair::new(
        OURS_FIRST,
        [0, 1].map(|which| {
            let mut instance = password(which, [150, 100][which]);
            instance.interface = "eth0.5".into();
            instance.addresses = vec![format!("{VIP}/24")];
            instance.to_string()
        }),
    )?;
    if !pair.hosts[0].has_devices(&["vlan"])? {
        return Ok(());
    }
    for (number, host) in (1..).zip(&pair.hosts) {
        host.ip(&["link", "add", "link", "eth0", "name", "eth0.5", "type", "vlan", "id", "5"])?;
        host.ip(&["address", "add", &format!("10.0.5.{number}/24"), "dev", "eth0.5"])?;
        host.ip(&["link", "set", "eth0.5", "up"])?;
    }
    pair.start(0)?;
    pair.start(1)?;
    pair.settled(0)?;
    pair.daemon(0).kill()?;
    pair.wait(1, ROUTER, "MASTER")
}
