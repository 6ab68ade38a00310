//! Advertisements that are right, and whether they are for us.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp_tests::{Frame, Host, Instance, Lab, RawSocket, Result, VrrpUser, wait_until};

const ROUTER: &str = "VI_1";
/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);

/// Sends frames to an Ethernet address until one is counted under this reason.
fn counted(
    daemon: &VrrpUser,
    host: &Host,
    socket: &RawSocket,
    frame: &Frame,
    reason: &str,
) -> Result<()> {
    let before = daemon.reason(host, reason)?;
    wait_until(LONG, reason, || {
        socket.send(&frame.bytes())?;
        Ok((daemon.reason(host, reason)? > before).then_some(()))
    })
}

/// Unicast is heard at the Ethernet address that the interface has at the moment, and at no other.
#[test]
fn another_ethernet_address_is_followed() -> Result<()> {
    let lab = Lab::new()?;
    let (victim, sender) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let socket = RawSocket::open(&sender)?;
    let instance = Instance::new(51, 100, "10.0.0.100/24").v3("1");
    let conf = instance.unicast("10.0.0.1", &["10.0.0.2"]).to_string();
    let mut daemon = VrrpUser::start(&victim, &conf)?;
    daemon.wait_state(&victim, ROUTER, "MASTER", LONG)?;

    let vip = Ipv4Addr::new(10, 0, 0, 100);
    let right = Frame::v3(Ipv4Addr::new(10, 0, 0, 2), 51, 200, 4095, &[vip]);
    let to_us = Frame { destination: Ipv4Addr::new(10, 0, 0, 1), ..right };
    let old = Frame { destination_mac: victim.mac(), ..to_us.clone() };
    let new = Frame { destination_mac: [2, 0, 0, 0, 0x77, 1], ..to_us };
    counted(&daemon, &victim, &socket, &new, "other_host")?;
    assert_eq!(daemon.state(&victim, ROUTER)?, "MASTER");
    counted(&daemon, &victim, &socket, &old, "accepted")?;
    daemon.wait_state(&victim, ROUTER, "BACKUP", LONG)?;

    victim.ip(&["link", "set", "dev", "eth0", "address", "02:00:00:00:77:01"])?;
    counted(&daemon, &victim, &socket, &Frame { priority: 201, ..new }, "accepted")?;
    counted(&daemon, &victim, &socket, &Frame { priority: 202, ..old }, "other_host")?;
    Ok(())
}

/// RFC 9568 section 7.1: who refuses an advertisement should log that, but not at the sender's pace.
#[test]
fn a_refusal_is_logged_once() -> Result<()> {
    let lab = Lab::new()?;
    let (victim, sender) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let socket = RawSocket::open(&sender)?;
    let conf = Instance::new(51, 100, "10.0.0.100/24").v3("1").to_string();
    let mut daemon = VrrpUser::start(&victim, &conf)?;
    daemon.wait_state(&victim, ROUTER, "MASTER", LONG)?;
    let right = Frame::v3(Ipv4Addr::new(10, 0, 0, 2), 51, 50, 100, &[Ipv4Addr::new(10, 0, 0, 100)]);
    let frames = [
        Frame { ttl: 64, ..right.clone() },
        Frame { source: Ipv4Addr::new(10, 0, 0, 9), ttl: 64, ..right.clone() },
        Frame { checksum_error: 1, ..right.clone() },
        // Nobody knows for whom it is.
        Frame { fragment: 1, ..right },
    ];
    let lines = [
        "VI_1 (vrid 51 on eth0): 10.0.0.2 advertises VRID 51 with TTL 64 instead of 255",
        "VI_1 (vrid 51 on eth0): 10.0.0.9 advertises VRID 51 with TTL 64 instead of 255",
        "VI_1 (vrid 51 on eth0): 10.0.0.2 advertises VRID 51 with a wrong checksum",
        "eth0: a packet of VRRP from 10.0.0.2 is refused: fragmented",
    ];
    for _ in 0..100 {
        for frame in &frames {
            socket.send(&frame.bytes())?;
        }
    }
    lab.wait_until(LONG, "the log", || {
        Ok(lines.iter().all(|line| daemon.log().contains(line)).then_some(()))
    })?;
    let log = daemon.log().text();
    for line in lines {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    assert_eq!(daemon.state(&victim, ROUTER)?, "MASTER");
    Ok(())
}
