//! Advertisements that must not count: each is refused for the right reason, and none of them moves a
//! timer or a state.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use vrrp_common::reason::Reason;
use vrrp_tests::{Frame, Host, Instance, Lab, RawSocket, Result, Tcpdump, VrrpUser, pause};

/// Who sends: a higher address than the victim's, so that it would win every election.
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);
const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const PASSWORD: [u8; 8] = *b"1111\0\0\0\0";
/// More than any master-down interval here.
const LONG: Duration = Duration::from_secs(20);

struct Stage {
    victim: Host,
    sender: Host,
    socket: RawSocket,
}

impl Stage {
    fn new(lab: &Lab) -> Result<Self> {
        let victim = lab.host("victim", "10.0.0.1/24")?;
        let sender = lab.host("sender", "10.0.0.200/24")?;
        let socket = RawSocket::open(&sender)?;
        Ok(Self { victim, sender, socket })
    }
}

/// A right advertisement for VRID 51, version 2 with a password.
fn pass() -> Frame {
    let frame = Frame::v2(SENDER, 51, 254, &[VIP]);
    Frame { interval: [1, 1], authentication: Some(PASSWORD), ..frame }
}

/// A right advertisement for VRID 52, version 3.
fn three() -> Frame {
    Frame::v3(SENDER, 52, 254, 100, &[Ipv4Addr::new(10, 0, 0, 101)])
}

/// A right advertisement for VRID 53, version 2 without authentication, unicast.
fn unicast() -> Frame {
    let frame = Frame::v2(SENDER, 53, 254, &[Ipv4Addr::new(10, 0, 0, 102)]);
    Frame { destination: VICTIM, ..frame }
}

/// The same for VRID 54, whose router hears one peer only, and that from no other network.
fn peer() -> Frame {
    Frame { vrid: 54, addresses: vec![Ipv4Addr::new(10, 0, 0, 103)], ..unicast() }
}

/// Routers that accept [`pass`], [`three`], [`unicast`] and [`peer`].
fn configuration() -> String {
    let pass = Instance::new(51, 100, "10.0.0.100/24").name("PASS").password("1111");
    let three = Instance::new(52, 100, "10.0.0.101/24").name("THREE").v3("1");
    let unicast = Instance::new(53, 100, "10.0.0.102/24")
        .name("UNICAST")
        .unicast("10.0.0.1", &["10.0.0.200"]);
    let peer = Instance::new(54, 100, "10.0.0.103/24")
        .name("PEER")
        .unicast("10.0.0.1", &["10.0.0.200 min_ttl 255"]);
    format!("{pass}\n{three}\n{unicast}\n{peer}")
}

const ROUTERS: [&str; 4] = ["PASS", "THREE", "UNICAST", "PEER"];

/// One frame for every way to be wrong, and why it is.
fn wrong_frames() -> Vec<(Reason, String, Vec<u8>)> {
    let mut frames: Vec<(Reason, String, Vec<u8>)> = Vec::new();
    let mut add = |reason, what: &str, frame: &Frame| {
        frames.push((reason, what.into(), frame.bytes()));
    };
    for (name, right) in [("v2", pass()), ("v3", three()), ("unicast", unicast()), ("peer", peer())]
    {
        let mut add = |reason, what: &str, change: &dyn Fn(&mut Frame)| {
            let mut frame = right.clone();
            change(&mut frame);
            add(reason, &format!("{name}: {what}"), &frame);
        };
        add(Reason::IpHeader, "IP version 6", &|f| f.version_ihl = 0x65);
        add(Reason::IpHeader, "IP header of 16 bytes", &|f| f.version_ihl = 0x44);
        add(Reason::IpHeader, "total length of 10", &|f| f.total_length = Some(10));
        add(Reason::Truncated, "total length too great", &|f| {
            f.total_length = Some(f.right_total_length() + 4);
        });
        add(Reason::IpChecksum, "IP checksum", &|f| f.ip_checksum_error = 1);
        add(Reason::Fragment, "more fragments", &|f| f.fragment = 0x2000);
        add(Reason::Fragment, "fragment offset", &|f| f.fragment = 1);
        // Unicast may come from another network.
        for ttl in [0, 1, 64, 254].into_iter().filter(|_| right.destination.is_multicast()) {
            add(Reason::Ttl, &format!("TTL {ttl}"), &|f| f.ttl = ttl);
        }
        add(Reason::OtherHost, "to another host's Ethernet address", &|f| {
            f.destination_mac = [2, 0, 0, 0, 0, 0xfd];
        });
        for source in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 18], [255; 4]].map(Ipv4Addr::from) {
            add(Reason::ImpossibleSource, &format!("from {source}"), &|f| f.source = source);
        }
        add(Reason::OwnAddress, "our own address", &|f| f.source = VICTIM);
        add(Reason::OtherDestination, "another group", &|f| {
            f.destination = Ipv4Addr::new(224, 0, 0, 19);
        });
        add(Reason::UnknownVrid, "VRID 99", &|f| f.vrid = 99);
        add(Reason::UnknownVrid, "VRID 0", &|f| f.vrid = 0);
        for version in (0..16).filter(|v| *v != right.version_type >> 4) {
            add(Reason::Version, &format!("version {version}"), &|f| {
                f.version_type = version << 4 | 1;
            });
        }
        for kind in (0..16).filter(|kind| *kind != 1) {
            add(Reason::PacketType, &format!("type {kind}"), &|f| {
                f.version_type = f.version_type & 0xf0 | kind;
            });
        }
        add(Reason::VrrpLength, "one address too few", &|f| f.count = Some(2));
        add(Reason::VrrpLength, "255 addresses claimed", &|f| f.count = Some(255));
        add(Reason::VrrpLength, "length not a multiple of four", &|f| {
            f.total_length = Some(f.right_total_length() - 2);
        });
        add(Reason::VrrpHeader, "no whole header", &|f| f.total_length = Some(27));
        for error in [1, 0x100, 0x8000, 0xfffe] {
            add(Reason::Checksum, &format!("checksum off by {error:#x}"), &|f| {
                f.checksum_error = error;
            });
        }
        // RFC 9568 section 5.2.5; version 2 has no such rule.
        if right.version_type >> 4 == 3 {
            add(Reason::NoAddresses, "no address", &|f| {
                f.count = Some(0);
                f.addresses.clear();
            });
        }
    }
    for (kind, what) in [(0, "none"), (2, "IP authentication header"), (77, "unheard of")] {
        let frame = Frame { interval: [kind, 1], ..pass() };
        add(Reason::AuthType, &format!("authentication {what}"), &frame);
    }
    let frame = Frame { interval: [1, 1], ..unicast() };
    add(Reason::AuthType, "a password where none is expected", &frame);
    for position in 0..PASSWORD.len() {
        let mut password = PASSWORD;
        password[position] ^= 1;
        let frame = Frame { authentication: Some(password), ..pass() };
        add(Reason::AuthData, &format!("password wrong at {position}"), &frame);
    }
    for ttl in [0, 64, 254] {
        add(Reason::PeerTtl, &format!("TTL {ttl} of a peer"), &Frame { ttl, ..peer() });
    }
    let stranger = Frame { source: Ipv4Addr::new(10, 0, 0, 201), ..peer() };
    add(Reason::UnknownPeer, "from nobody's peer", &stranger);
    for interval in [0, 2, 255] {
        let frame = Frame { interval: [1, interval], ..pass() };
        add(Reason::Interval, &format!("interval {interval}"), &frame);
    }
    add(Reason::ZeroInterval, "interval 0", &Frame { interval: [0, 0], ..three() });
    add(
        Reason::ZeroInterval,
        "interval 0, reserved bits",
        &Frame { interval: [0xf0, 0], ..three() },
    );
    for (name, right) in [("v2", pass()), ("v3", three()), ("unicast", unicast()), ("peer", peer())]
    {
        let whole = right.bytes();
        // Below 34 bytes there is no IP header that would say whose packet it is.
        for len in 34..whole.len() {
            let what = format!("{name}: cut at {len} of {}", whole.len());
            frames.push((Reason::Truncated, what, whole[..len].to_vec()));
        }
    }
    frames
}

/// Whether the kernel side refuses packets for this reason, so that a frame here has to show it.
fn is_refusal(reason: Reason) -> bool {
    match reason {
        Reason::Accepted
        | Reason::RingFull
        | Reason::MasterLimited
        | Reason::OutranksLimited
        | Reason::ResignsLimited
        | Reason::LowerLimited
        | Reason::LowerIgnored
        | Reason::NotListening
        | Reason::AddressList
        | Reason::ArpConflict
        | Reason::NdiscConflict
        | Reason::FencedTo
        | Reason::FencedFrom
        | Reason::FencedAdvert
        | Reason::VirtualMacAccepted
        | Reason::VirtualMacBackup
        | Reason::VirtualMacFenced
        | Reason::VirtualMacUnknown
        | Reason::VirtualMacSource
        | Reason::VirtualMacEcho
        | Reason::NotAccepted
        | Reason::VirtualMacRedirect
        | Reason::HmacUnchecked
        | Reason::HmacMissing
        | Reason::HmacMalformed
        | Reason::HmacUnknownKey
        | Reason::HmacBad
        | Reason::HmacStale
        | Reason::HmacReplay
        | Reason::AhMissing
        | Reason::AhUnexpected
        | Reason::AhMalformed
        | Reason::AhBad
        | Reason::AhSpi
        | Reason::AhReplay
        // Only over IPv6: see the tests of the kernel side.
        | Reason::ExtensionHeaders
        | Reason::FirstAddress => false,
        Reason::UnknownVrid
        | Reason::OtherDestination
        | Reason::OtherHost
        | Reason::ImpossibleSource
        | Reason::OwnAddress
        | Reason::Truncated
        | Reason::IpHeader
        | Reason::IpChecksum
        | Reason::Fragment
        | Reason::Ttl
        | Reason::UnknownPeer
        | Reason::PeerTtl
        | Reason::VrrpHeader
        | Reason::VrrpLength
        | Reason::Version
        | Reason::PacketType
        | Reason::Checksum
        | Reason::NoAddresses
        | Reason::ZeroInterval
        | Reason::Interval
        | Reason::AuthType
        | Reason::AuthData => true,
    }
}

/// The counters by reason.
fn reasons(daemon: &VrrpUser, host: &Host) -> Result<BTreeMap<String, u64>> {
    let stats = daemon.stats(host)?;
    let reasons = stats["reasons"].as_object().expect("stats has reasons");
    Ok(reasons.iter().map(|(name, n)| (name.clone(), n.as_u64().unwrap())).collect())
}

/// All routers of the configuration are master, and became so once.
fn all_master_once(daemon: &VrrpUser, host: &Host) -> Result<()> {
    for router in ROUTERS {
        assert_eq!(daemon.state(host, router)?, "MASTER", "{router}");
        assert_eq!(daemon.router_stats(host, router)?["became_master"], 1, "{router}");
    }
    Ok(())
}

#[test]
fn every_fault_has_its_reason() -> Result<()> {
    let frames = wrong_frames();
    for reason in Reason::ALL.iter().filter(|reason| is_refusal(**reason)) {
        assert!(frames.iter().any(|(r, ..)| r == reason), "no frame for {}", reason.name());
    }

    let lab = Lab::new()?;
    let stage = Stage::new(&lab)?;
    let mut daemon = VrrpUser::start(&stage.victim, &configuration())?;
    for router in ROUTERS {
        daemon.wait_state(&stage.victim, router, "MASTER", LONG)?;
    }
    // The XDP program sits in the host's own receive path: when a frame has been sent through the
    // bridge, only the softirq is between it and the counter.
    let mut failures = Vec::new();
    let mut before = reasons(&daemon, &stage.victim)?;
    for (reason, what, frame) in &frames {
        stage.socket.send(frame)?;
        let counted = vrrp_tests::wait_until(Duration::from_secs(2), what, || {
            let now = reasons(&daemon, &stage.victim)?;
            Ok((now != before).then_some(now))
        });
        let after = counted.unwrap_or_else(|_| before.clone());
        let mut wanted = before.clone();
        *wanted.entry(reason.name().into()).or_default() += 1;
        if after != wanted {
            let changed: Vec<_> = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).collect();
            failures.push(format!("{what}: wanted {}, counted {changed:?}", reason.name()));
        }
        before = after;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    all_master_once(&daemon, &stage.victim)?;
    // And right ones do count, or else all of the above would prove nothing.
    for (frame, router) in [pass(), three(), unicast(), peer()].iter().zip(ROUTERS) {
        stage.socket.send(&frame.bytes())?;
        daemon.wait_state(&stage.victim, router, "BACKUP", Duration::from_secs(5))?;
    }
    Ok(())
}

/// The same in a way to capture that is not the best, all together: every frame is counted for its reason and moves
/// nothing, noise neither, and a right one counts.
fn every_fault_is_counted(way: &str) -> Result<()> {
    every_fault_is_counted_under(&[], &["--capture", way], way)
}

/// The same where something is missing, so that it captures in that way.
fn every_fault_is_counted_without(features: &str, way: &str) -> Result<()> {
    let command = ["env", &format!("VRRP_USER_WITHOUT={features}")];
    every_fault_is_counted_under(&command, &[], way)
}

fn every_fault_is_counted_under(command: &[&str], options: &[&str], way: &str) -> Result<()> {
    let lab = Lab::new()?;
    let stage = Stage::new(&lab)?;
    let victim = &stage.victim;
    let mut daemon =
        VrrpUser::start_under(victim, command, "vrrp.conf", &configuration(), options)?;
    for router in ROUTERS {
        daemon.wait_state(victim, router, "MASTER", LONG)?;
    }
    assert_eq!(daemon.stats(victim)?["interfaces"][0]["capture"], way);
    let mut wanted = reasons(&daemon, victim)?;
    for (reason, _, frame) in &wrong_frames() {
        stage.socket.send(frame)?;
        *wanted.entry(reason.name().into()).or_default() += 1;
    }
    let mut counted = wanted.clone();
    let all = vrrp_tests::wait_until(LONG, "all are counted", || {
        counted = reasons(&daemon, victim)?;
        Ok((counted == wanted).then_some(()))
    });
    let differ: Vec<_> = counted.iter().filter(|(name, n)| wanted.get(*name) != Some(n)).collect();
    assert!(all.is_ok(), "{differ:?} and not as in {wanted:?}");

    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let mut frame = [pass(), three(), unicast(), peer()][round % 4].bytes();
        random.flip(&mut frame[34..]);
        stage.socket.send(&frame)?;
    }
    vrrp_tests::wait_until(LONG, "noise is counted", || {
        let now: u64 = reasons(&daemon, victim)?.values().sum();
        Ok((now >= counted.values().sum::<u64>() + 300).then_some(()))
    })?;
    assert_eq!(reasons(&daemon, victim)?.get("accepted"), counted.get("accepted"));
    all_master_once(&daemon, victim)?;
    for (frame, router) in [pass(), three(), unicast(), peer()].iter().zip(ROUTERS) {
        stage.socket.send(&frame.bytes())?;
        daemon.wait_state(victim, router, "BACKUP", LONG)?;
    }
    Ok(())
}

#[test]
fn every_fault_is_counted_by_tc() -> Result<()> {
    every_fault_is_counted("tc")
}

#[test]
fn every_fault_is_counted_by_a_packet_socket() -> Result<()> {
    every_fault_is_counted("raw")
}

#[test]
fn every_fault_is_counted_by_generic_xdp() -> Result<()> {
    every_fault_is_counted("generic")
}

#[test]
fn every_fault_is_counted_by_clsact() -> Result<()> {
    every_fault_is_counted_without("xdp,tcx", "tc")
}

/// As Linux 5.10 for the unit.
#[test]
fn every_fault_is_counted_by_clsact_and_copies() -> Result<()> {
    every_fault_is_counted_without("xdp,tcx,in-place", "tc")
}

#[test]
fn every_fault_is_counted_without_bpf() -> Result<()> {
    every_fault_is_counted_without("bpf", "raw")
}

#[test]
fn every_fault_is_counted_without_pins() -> Result<()> {
    every_fault_is_counted_without("bpffs", "native")
}

#[test]
fn random_bytes_change_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let stage = Stage::new(&lab)?;
    let mut daemon = VrrpUser::start(&stage.victim, &configuration())?;
    for router in ROUTERS {
        daemon.wait_state(&stage.victim, router, "MASTER", LONG)?;
    }
    let before = reasons(&daemon, &stage.victim)?;

    let seed = std::env::var("VRRP_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = Xorshift(seed.unwrap_or(0x9e37_79b9_7f4a_7c15));
    println!("VRRP_SEED={}", random.0);
    for round in 0..3_200 {
        let mut frame = [pass(), three(), unicast(), peer()][round % 4].bytes();
        match round / 4 % 4 {
            // Noise in a right frame: everywhere, or in the message alone.
            0 => random.flip(&mut frame[12..]),
            1 => random.flip(&mut frame[34..]),
            // All noise behind a right IP header.
            2 => random.fill(&mut frame[34..]),
            // All noise.
            _ => {
                frame.resize(14 + random.below(1_400), 0);
                random.fill(&mut frame[12..]);
            }
        }
        stage.socket.send(&frame)?;
    }
    pause(Duration::from_millis(500))?;
    let after = reasons(&daemon, &stage.victim)?;
    let refused: u64 = after.values().sum::<u64>() - before.values().sum::<u64>();
    assert!(refused > 1_000, "only {refused} were counted: {after:?}");
    assert_eq!(after.get("accepted"), before.get("accepted"));
    all_master_once(&daemon, &stage.victim)
}

#[test]
fn a_backup_is_not_kept_waiting() -> Result<()> {
    let lab = Lab::new()?;
    let stage = Stage::new(&lab)?;
    let mut daemon = VrrpUser::start(&stage.victim, &configuration())?;
    let victim = &stage.victim;

    // Right ones keep it waiting, for longer than the master-down interval.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        for frame in [pass(), three(), unicast(), peer()] {
            stage.socket.send(&frame.bytes())?;
        }
        thread::sleep(Duration::from_millis(500));
    }
    for router in ROUTERS {
        assert_eq!(daemon.state(victim, router)?, "BACKUP", "{router}");
    }

    // Wrong ones do not.
    let frames = wrong_frames();
    let start = Instant::now();
    let mut next = frames.iter().cycle();
    while start.elapsed() < LONG {
        for (_, _, frame) in next.by_ref().take(20) {
            stage.socket.send(frame)?;
        }
        thread::sleep(Duration::from_millis(50));
        if ROUTERS.iter().all(|r| daemon.state(victim, r).is_ok_and(|s| s == "MASTER")) {
            break;
        }
    }
    let took = start.elapsed();
    println!("all were master after {took:?}");
    for router in ROUTERS {
        daemon.wait_state(victim, router, "MASTER", Duration::ZERO)?;
    }
    // Three intervals and a skew of 156/256 s.
    assert!(took < Duration::from_secs(7), "took over only after {took:?}");
    Ok(())
}

#[test]
fn a_master_keeps_its_rhythm() -> Result<()> {
    let lab = Lab::new()?;
    let stage = Stage::new(&lab)?;
    let mut daemon = VrrpUser::start(&stage.victim, &configuration())?;
    for router in ROUTERS {
        daemon.wait_state(&stage.victim, router, "MASTER", LONG)?;
    }
    // Frames of the sender show up in its own tcpdump: only the victim's are of interest.
    let tcpdump = Tcpdump::start_with(&stage.sender, "proto 112 and src 10.0.0.1 and ip[8] = 255")?;
    let frames: Vec<_> =
        wrong_frames().into_iter().filter(|(reason, ..)| *reason != Reason::OwnAddress).collect();
    let start = Instant::now();
    let mut next = frames.iter().cycle();
    while start.elapsed() < Duration::from_secs(10) {
        for (_, _, frame) in next.by_ref().take(20) {
            stage.socket.send(frame)?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let adverts = tcpdump.adverts(start);
    for vrid in 51..=53 {
        let sent = adverts.iter().filter(|advert| advert.vrid == vrid).count();
        println!("VRID {vrid}: {sent} advertisements in 10 s");
        assert!((7..=13).contains(&sent), "VRID {vrid}: {sent} advertisements in 10 s");
    }
    all_master_once(&daemon, &stage.victim)
}

/// A small generator; the seed is printed and can be given as `VRRP_SEED`.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % limit
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next().to_le_bytes()[5];
        }
    }

    /// Changes one to four bytes.
    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            bytes[at] ^= self.next().to_le_bytes()[5] | 1;
        }
    }
}
