//! Who is master, in circumstances that an election in good order never meets: a process that stood still, a network
//! that was cut, a router that advertises no address.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use vrrp_tests::story::Kind;
use vrrp_tests::{
    Error, Frame, Host, Instance, Keepalived, Lab, Pair, RawSocket, Result, Tcpdump, VrrpUser,
    pause,
};

/// More than the master-down interval.
const STEP: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";

fn mac(host: &Host) -> String {
    host.mac().map(|byte| format!("{byte:02x}")).join(":")
}

/// A process that stood still says one thing when it goes on, however much it has missed and however much is to hear.
#[test]
fn nothing_is_made_up_for_after_a_pause() -> Result<()> {
    const INTERVAL: Duration = Duration::from_millis(100);
    let lab = Lab::new()?;
    let observer = lab.host("c", "10.0.0.3/24")?;
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").v3("0.1").to_string();
    let Pair { b, on_a: mut master, on_b: mut backup, .. } = Pair::start(&lab, ROUTER, conf)?;
    let tcpdump = Tcpdump::start_with(&observer, "proto 112 or arp")?;

    // Not read afterwards: it may have gone on, and said what it has to say, before this thread does.
    let frozen = Duration::from_secs(6);
    let resumed = Instant::now() + frozen;
    master.freeze(frozen)?;
    backup.wait_state(&b, ROUTER, "BACKUP", STEP)?;
    pause(Duration::from_secs(1))?;
    let lines = tcpdump.log().lines();
    let span = resumed.elapsed();
    // The lines were written when the packets were sent, at the latest now.
    let said = tcpdump.adverts(resumed).iter().filter(|advert| advert.source == "10.0.0.1").count();
    // On time, the answer to the other master, and two for what was on its way when the process stopped or went on.
    let most = span.as_millis() / INTERVAL.as_millis() + 4;
    assert!(said as u128 <= most, "{said} advertisements in {span:?}");
    assert!(said >= 1, "it goes on");
    let announced = lines.iter().filter(|(at, line)| {
        let question = line.contains(&format!("who-has {VIP} "));
        *at >= resumed && question && line.contains(&format!(" tell {VIP}"))
    });
    let announced = announced.count();
    println!("{said} advertisements and {announced} announcements in {span:?}");
    // Five rounds for each advertisement of the other one that was answered.
    assert!((1..=20).contains(&announced), "{announced} announcements");
    Ok(())
}

/// A version 2 router that advertises no address is one like any other: of two, one is master.
fn one_master_without_an_address(other: Kind) -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
    let conf = |priority| {
        let mut instance = Instance::new(51, priority, VIP);
        instance.addresses.clear();
        instance.with("virtual_ipaddress_excluded {\n 10.0.0.100/24\n }").to_string()
    };
    let mut ours = VrrpUser::start(&hosts[0], &conf(100))?;
    let mut other = other.start(&hosts[1], &conf(50))?;
    ours.wait_state(&hosts[0], ROUTER, "MASTER", STEP)?;
    other.wait_state(&hosts[1], ROUTER, "BACKUP", STEP)?;
    // Longer than a backup waits that hears nobody.
    pause(Duration::from_secs(5))?;
    assert_eq!(ours.state(&hosts[0], ROUTER)?, "MASTER");
    assert_eq!(other.state(&hosts[1], ROUTER), "BACKUP");
    assert_eq!(ours.reason(&hosts[0], "no_addresses")?, 0);
    ours.stop()?;
    other.wait_state(&hosts[1], ROUTER, "MASTER", STEP)?;
    // The other way round: ours follows.
    let mut ours = VrrpUser::start(&hosts[0], &conf(20))?;
    ours.wait_state(&hosts[0], ROUTER, "BACKUP", STEP)?;
    pause(Duration::from_secs(5))?;
    assert_eq!(ours.state(&hosts[0], ROUTER)?, "BACKUP");
    assert_eq!(other.state(&hosts[1], ROUTER), "MASTER");
    Ok(())
}

#[test]
fn one_master_of_two_of_ours_without_an_address() -> Result<()> {
    one_master_without_an_address(Kind::VrrpUser)
}

#[test]
fn one_master_beside_keepalived_without_an_address() -> Result<()> {
    one_master_without_an_address(Kind::Keepalived)
}

/// The network is whole again before anybody has noticed by ARP that there are two masters: the neighbours believe the
/// one that took over last, and it is the other one that stays.
fn neighbours_follow_after_a_cut(stays: Kind) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let neighbour = lab.host("c", "10.0.0.3/24")?;
    // No second group of gratuitous ARP while we look: after 1 s it would meet the next advertisement.
    let conf = |priority| {
        let instance = Instance::new(51, priority, "10.0.0.100/24");
        instance.with("garp_master_delay 60").to_string()
    };
    let mut first = stays.start(&a, &conf(200))?;
    first.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let mut second = VrrpUser::start(&b, &conf(100))?;
    second.wait_state(&b, ROUTER, "BACKUP", STEP)?;
    neighbour.spawn("ping", "ping", &["-c", "1", "-W", "5", VIP])?.wait(STEP)?;
    let believes = |host: &Host| {
        let believed = neighbour.ip(&["neighbour", "show", VIP])?;
        Ok(believed.contains(&mac(host)).then_some(()))
    };
    lab.wait_until(STEP, "the neighbour knows the master", || believes(&a))?;
    lab.block_vrrp(&[])?;
    second.wait_state(&b, ROUTER, "MASTER", STEP)?;
    lab.wait_until(STEP, "the neighbour believes the second master", || believes(&b))?;
    // Not asked afterwards: the announcements that follow the other one's advertisement at once are heard as a master's
    // for as long as our process has not read the advertisement.
    assert_eq!(second.reason(&b, "arp_conflict")?, 0, "it knows of no conflict");
    lab.unblock_vrrp()?;
    second.wait_state(&b, ROUTER, "BACKUP", STEP)?;
    lab.wait_until(STEP, "the neighbour believes the master that stays", || believes(&a))?;
    Ok(())
}

#[test]
fn neighbours_follow_our_master_after_a_cut() -> Result<()> {
    neighbours_follow_after_a_cut(Kind::VrrpUser)
}

#[test]
fn neighbours_follow_keepalived_after_a_cut() -> Result<()> {
    neighbours_follow_after_a_cut(Kind::Keepalived)
}

/// Whoever can send an advertisement can make a backup wait for long, and fill a log.
#[test]
fn forged_advertisements_are_told_of_but_do_not_fill_the_log() -> Result<()> {
    const FORGED: u32 = 1_000;
    let lab = Lab::new()?;
    let (a, stranger) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = Instance::new(51, 100, "10.0.0.100/24").v3("1").to_string();
    let mut ours = VrrpUser::start(&a, &conf)?;
    ours.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let socket = RawSocket::open(&stranger)?;
    let vip = [Ipv4Addr::new(10, 0, 0, 100)];
    for number in 1..=FORGED {
        let source = Ipv4Addr::from_bits(0x0a00_0100 + number);
        // Two intervals and the list of addresses by turns, so that each is news of another kind.
        let interval = if number % 2 == 0 { 4095 } else { 100 };
        let addresses = if number % 3 == 0 { &vip[..] } else { &[Ipv4Addr::new(10, 0, 0, 101)] };
        socket.send(&Frame::v3(source, 51, 254, interval, addresses).bytes())?;
        // The kernel side reports only some in an instant.
        if number % 10 == 0 {
            pause(Duration::from_millis(20))?;
        }
    }
    // By now it reports again.
    pause(Duration::from_millis(500))?;
    socket.send(&Frame::v3(stranger.ipv4()?, 51, 254, 4095, &vip).bytes())?;
    ours.wait_state(&a, ROUTER, "BACKUP", STEP)?;
    let router = lab.wait_until(STEP, "the last interval is learned", || {
        let router = ours.router(&a, ROUTER)?;
        Ok((router["interval_ms"] == 40_950).then_some(router))
    })?;
    let problems = router["problems"].to_string();
    assert!(
        problems.contains("says that it advertises every 40.95 s, and we every 1 s"),
        "{problems}"
    );
    let lines = ours.log().text();
    for once in ["new master", "says that it advertises every 40.95 s", "other addresses than ours"]
    {
        assert_eq!(lines.matches(once).count(), 1, "{once} in {lines}");
    }
    assert!(lines.lines().count() < 20, "{lines}");
    Ok(())
}

/// Whoever forges short intervals makes a backup take over each time: by the protocol. But neither the log nor the network
/// pays for all of them.
#[test]
fn forged_takeovers_fill_neither_the_log_nor_the_network() -> Result<()> {
    const FORGED: usize = 100;
    let lab = Lab::new()?;
    let (a, stranger) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let tcpdump = Tcpdump::start_with(&stranger, "arp and src host 10.0.0.100")?;
    let conf = Instance::new(51, 100, "10.0.0.100/24").v3("1").to_string();
    let mut ours = VrrpUser::start(&a, &conf)?;
    ours.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let socket = RawSocket::open(&stranger)?;
    let became = || Ok::<_, Error>(ours.router_stats(&a, ROUTER)?["became_master"].as_u64());
    let vip = [Ipv4Addr::new(10, 0, 0, 100)];
    for _ in 0..FORGED {
        socket.send(&Frame::v3(stranger.ipv4()?, 51, 254, 1, &vip).bytes())?;
        pause(Duration::from_millis(60))?;
    }
    let times = lab.wait_until(STEP, "it took over again and again", || {
        Ok(became()?.filter(|times| *times > 30))
    })?;
    let lines = ours.log().text();
    assert!(lines.lines().count() < 40, "{times} takeovers, {lines}");
    let announced = tcpdump.log().lines().len();
    let bound = 40 + usize::try_from(times).unwrap_or(0);
    assert!(announced <= bound, "{announced} announcements in {times} takeovers");
    Ok(())
}

/// A master that is slower than what is believed is replaced once, and followed from then on.
#[test]
fn a_master_slower_than_the_bound_is_replaced_once() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let slow = Instance::new(51, 200, "10.0.0.100/24").v3("1").to_string();
    let mut slow = Keepalived::start(&b, &slow)?;
    slow.wait_state(&b, ROUTER, "MASTER", STEP)?;
    let conf = r#"
        [[router]]
        name = "VI_1"
        interface = "eth0"
        vrid = 51
        version = 3
        interval = "100ms"
        max_learned_interval = "100ms"
        addresses = ["10.0.0.100/24"]
    "#;
    let ours = VrrpUser::start_with(&a, "vrrp.toml", conf)?;
    let counts = || Ok::<_, Error>(ours.router_stats(&a, ROUTER)?["became_master"].as_u64());
    let followed = || {
        let router = ours.router(&a, ROUTER).unwrap_or_default();
        (router["state"] == "BACKUP" && router["interval_ms"] == 1_000).then_some(router)
    };
    let router = lab.wait_until(STEP, "the slow master is followed", || Ok(followed()))?;
    let problems = router["problems"].to_string();
    assert!(problems.contains("which is longer than max_learned_interval"), "{problems}");
    let before = counts()?;
    // At least one, because it took over; it may be two, if it heard nobody at the start.
    assert!((1..=2).contains(&before.unwrap_or(0)), "{before:?}");
    pause(Duration::from_secs(5))?;
    assert_eq!(counts()?, before, "never again");
    assert!(followed().is_some());
    slow.stop()
}

fn owner() -> String {
    let mut owner = Instance::new(51, 255, "10.0.0.100/24");
    // Or else keepalived listens first.
    owner.state = "MASTER".into();
    owner.addresses.push("10.0.0.101/24".into());
    owner.to_string()
}

/// Of two owners one gives way, says why, and keeps of the addresses only what others had put there.
#[test]
fn one_of_two_owners_gives_way() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    a.ip(&["address", "add", "10.0.0.100/24", "dev", "eth0"])?;
    let mut first = VrrpUser::start(&a, &owner())?;
    first.wait_state(&a, ROUTER, "MASTER", STEP)?;
    lab.wait_until(STEP, "the other address is there", || {
        Ok(a.has_address("10.0.0.101")?.then_some(()))
    })?;
    let mut second = VrrpUser::start(&b, &owner())?;
    second.wait_state(&b, ROUTER, "MASTER", STEP)?;
    first.wait_state(&a, ROUTER, "BACKUP", STEP)?;
    let problems = second.router(&b, ROUTER)?["problems"].to_string();
    assert!(problems.contains("10.0.0.1 also claims to own the addresses"), "{problems}");
    lab.wait_until(STEP, "what it added is gone", || {
        Ok((!a.has_address("10.0.0.101")?).then_some(()))
    })?;
    assert!(a.has_address("10.0.0.100")?, "it was there before");
    let problems = first.router(&a, ROUTER)?["problems"].to_string();
    assert!(problems.contains("gave way to 10.0.0.2, which also claims to own"), "{problems}");
    assert!(problems.contains("`ip address del 10.0.0.100/24 dev eth0`"), "{problems}");
    assert!(!problems.contains("10.0.0.101"), "{problems}");
    // The address of the host outlives it all.
    second.stop()?;
    first.wait_state(&a, ROUTER, "MASTER", STEP)?;
    first.stop()?;
    assert!(a.has_address("10.0.0.100")?, "not ours to remove");
    Ok(())
}

/// keepalived 2.2.7 gives way to any other owner, and for good: it goes on with a priority of 254.
#[test]
fn an_owner_beside_one_of_keepalived_ends_as_the_only_master() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut ours = VrrpUser::start(&a, &owner())?;
    ours.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let mut other = Keepalived::start(&b, &owner())?;
    lab.wait_until(STEP, "keepalived has given way", || {
        Ok((other.states(ROUTER) == ["MASTER", "BACKUP"]).then_some(()))
    })?;
    ours.wait_state(&a, ROUTER, "MASTER", STEP)?;
    pause(Duration::from_secs(5))?;
    assert_eq!(ours.state(&a, ROUTER)?, "MASTER");
    assert_eq!(other.states(ROUTER), ["MASTER", "BACKUP"]);
    other.stop()
}
