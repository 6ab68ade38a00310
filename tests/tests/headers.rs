//! Advertisements behind IPv4 options and IPv6 extension headers, which no daemon sends and every one has to take, in each
//! way to capture, while keepalived 2.2.7 is master.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use vrrp_tests::{Frame, Frame6, Instance, Keepalived, Lab, RawSocket, Result, VrrpUser};

/// More than any change takes here: the longest master-down interval is a second.
const LONG: Duration = Duration::from_secs(30);
/// Between two advertisements of the sender by hand, centiseconds.
const INTERVAL: u16 = 30;
/// For longer than the master-down interval.
const STEADY: Duration = Duration::from_secs(3);

const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const VRRP: u8 = 112;

fn routers(priority: u8) -> String {
    let four = Instance::new(51, priority, "10.0.0.100/24").name("FOUR").v3("0.3");
    let six = Instance::new(52, priority, "fe80::100").name("SIX").v3("0.3");
    format!("{four}\n{six}")
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    (!sum).to_be_bytes()
}

/// For FOUR, with options of so many words: router alerts (RFC 2113).
fn four(priority: u8, words: u8) -> Vec<u8> {
    let vip = Ipv4Addr::new(10, 0, 0, 100);
    let mut frame = Frame::v3(Ipv4Addr::new(10, 0, 0, 200), 51, priority, INTERVAL, &[vip]).bytes();
    let options = [148, 4, 0, 0].repeat(words.into());
    let total = u16::from_be_bytes([frame[16], frame[17]]) + 4 * u16::from(words);
    frame.splice(34..34, options);
    frame[14] = 0x45 + words;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..34 + 4 * usize::from(words)]);
    frame[24..26].copy_from_slice(&sum);
    frame
}

/// For SIX, behind headers of eight bytes and these kinds.
fn six(priority: u8, kinds: &[u8]) -> Vec<u8> {
    let mut frame = Frame6 {
        source_mac: [2, 0, 0, 0, 0, 0xfe],
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x200),
        vrid: 52,
        priority,
        interval: INTERVAL,
        addresses: vec![Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100)],
    }
    .bytes();
    let mut headers = Vec::new();
    for (place, kind) in kinds.iter().enumerate() {
        let next = kinds.get(place + 1).copied().unwrap_or(VRRP);
        headers.extend(if *kind == FRAGMENT {
            // Of a whole packet (RFC 6946).
            [next, 0, 0, 0, 0, 0, 0, 7]
        } else {
            // PadN.
            [next, 0, 1, 4, 0, 0, 0, 0]
        });
    }
    let length =
        u16::from_be_bytes([frame[18], frame[19]]) + 8 * u16::try_from(kinds.len()).unwrap();
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame[20] = kinds.first().copied().unwrap_or(VRRP);
    frame.splice(54..54, headers);
    frame
}

/// One of everything that is to be taken.
fn all(priority: u8) -> Vec<Vec<u8>> {
    let chains: [&[u8]; 6] = [
        &[],
        &[HOP_BY_HOP],
        &[DESTINATION],
        &[FRAGMENT],
        &[HOP_BY_HOP, DESTINATION],
        &[HOP_BY_HOP, DESTINATION, FRAGMENT, DESTINATION],
    ];
    let words = [0, 1, 5, 10];
    let fours = words.iter().map(|words| four(priority, *words));
    fours.chain(chains.iter().map(|kinds| six(priority, kinds))).collect()
}

fn are_taken(under: &[&str], options: &[&str], way: &str) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let sender = lab.host("sender", "10.0.0.200/24")?;
    let socket = RawSocket::open(&sender)?;
    let names = ["FOUR", "SIX"];
    let mut theirs = Keepalived::start(&b, &routers(150))?;
    // Both of the same age, ours might be the first to have waited for a master.
    for name in names {
        theirs.wait_state(&b, name, "MASTER", LONG)?;
    }
    let mut ours = VrrpUser::start_under(&a, under, "vrrp.conf", &routers(100), options)?;
    for name in names {
        ours.wait_state(&a, name, "BACKUP", LONG)?;
    }
    assert_eq!(ours.stats(&a)?["interfaces"][0]["capture"], way);
    let master = |name: &str| -> Result<String> {
        Ok(ours.router(&a, name)?["master"]["address"].as_str().unwrap_or_default().to_owned())
    };
    lab.wait_until(LONG, "their master is known", || {
        Ok((master("FOUR")? == "10.0.0.2" && !master("SIX")?.is_empty()).then_some(()))
    })?;

    // Lower priorities change nothing for anybody; each is heard, and each that cannot be is counted for that.
    // In the slot of each router the sender is a peer of its own.
    let counted = || -> Result<[u64; 3]> {
        let stats = ours.stats(&a)?;
        let of = |name: &str, address: &str| {
            let routers = stats["routers"].as_array().unwrap();
            let router = routers.iter().find(|router| router["name"] == name).unwrap();
            let peers = router["peers"].as_array().unwrap();
            let peer = peers.iter().find(|peer| peer["address"] == address);
            peer.map_or(0, |peer| peer["adverts_received"].as_u64().unwrap())
        };
        let refused = stats["reasons"]["extension_headers"].as_u64().unwrap();
        Ok([of("FOUR", "10.0.0.200"), of("SIX", "fe80::200"), refused])
    };
    assert_eq!(counted()?, [0; 3]);
    let frames = all(50);
    let too_many = six(50, &[HOP_BY_HOP, DESTINATION, DESTINATION, DESTINATION, DESTINATION]);
    for frame in frames.iter().chain([&too_many]) {
        socket.send(frame)?;
    }
    let mut found = [0; 3];
    let all_counted = vrrp_tests::wait_until(LONG, "all are counted", || {
        found = counted()?;
        Ok((found == [4, 6, 1]).then_some(()))
    });
    assert!(all_counted.is_ok(), "{found:?}: {}", lab.logs());
    for name in names {
        assert_eq!(ours.state(&a, name)?, "BACKUP");
        assert_eq!(theirs.states(name).last().map(String::as_str), Some("MASTER"));
    }

    // A higher one is the master of both daemons, whatever stands before what it says.
    let frames = all(200);
    let mut at = 0;
    let mut send = || -> Result<()> {
        // One of each family, so that neither is silent.
        for frames in [&frames[..4], &frames[4..]] {
            socket.send(&frames[at % frames.len()])?;
        }
        at += 1;
        thread::sleep(Duration::from_millis(100));
        Ok(())
    };
    lab.wait_until(LONG, "both follow", || {
        send()?;
        let follows = master("FOUR")? == "10.0.0.200" && master("SIX")? == "fe80::200";
        let follow = names
            .iter()
            .all(|name| theirs.states(name).last().is_some_and(|state| state == "BACKUP"));
        Ok((follows && follow).then_some(()))
    })?;
    let began = Instant::now();
    while began.elapsed() < STEADY {
        send()?;
    }
    for name in names {
        assert_eq!(ours.router_stats(&a, name)?["became_master"], 0, "{name}");
        assert_eq!(theirs.states(name).last().map(String::as_str), Some("BACKUP"));
    }
    // Silent, it is replaced by the better of the two.
    for name in names {
        theirs.wait_state(&b, name, "MASTER", LONG)?;
    }
    theirs.stop()?;
    for name in names {
        ours.wait_state(&a, name, "MASTER", LONG)?;
    }
    ours.stop()?;
    Ok(())
}

#[test]
fn what_stands_behind_headers_is_taken_by_native_xdp() -> Result<()> {
    are_taken(&[], &[], "native")
}

#[test]
fn what_stands_behind_headers_is_taken_by_tc() -> Result<()> {
    are_taken(&[], &["--capture", "tc"], "tc")
}

/// As Linux 5.10 for the unit.
#[test]
fn what_stands_behind_headers_is_taken_by_clsact_and_copies() -> Result<()> {
    are_taken(&["env", "VRRP_USER_WITHOUT=xdp,tcx,in-place"], &[], "tc")
}

#[test]
fn what_stands_behind_headers_is_taken_by_a_packet_socket() -> Result<()> {
    are_taken(&[], &["--capture", "raw"], "raw")
}
