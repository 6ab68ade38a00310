//! Floods of advertisements that are right in form: they decide nothing that their content does not decide.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vrrp_tests::{
    Advert, Error, Frame, Host, Instance, Lab, Pair, RawSocket, Result, Tcpdump, VrrpUser, pause,
};

const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const ROUTER: &str = "VI_1";
/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);
/// A flood ends by itself if its test does not end it.
const FLOOD_LIMIT: Duration = Duration::from_secs(60);

/// The master-down interval of 1.8 s is long enough for a busy machine.
fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").v3("0.5").to_string()
}

/// Does something while the stranger sends a thousand advertisements a second of each of these priorities.
fn during_flood<T>(
    stranger: &Host,
    priorities: &[u8],
    act: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let socket = RawSocket::open(stranger)?;
    let frames: Vec<_> =
        priorities.iter().map(|p| Frame::v3(STRANGER, 51, *p, 50, &[VIP]).bytes()).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let start = Instant::now();
            while !over.load(Ordering::Relaxed) && start.elapsed() < FLOOD_LIMIT {
                for frame in &frames {
                    socket.send(frame)?;
                }
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let done = act();
        over.store(true, Ordering::Relaxed);
        sender.join().unwrap()?;
        done
    })
}

/// A backup discards lower priorities (RFC 9568 section 6.4.2): they must not keep it from hearing its master.
#[test]
fn a_lower_stranger_makes_nobody_master() -> Result<()> {
    let lab = Lab::new()?;
    let Pair { a, b, on_a: master, on_b: backup } = Pair::start(&lab, ROUTER, conf)?;
    let stranger = lab.host("s", "10.0.0.200/24")?;
    during_flood(&stranger, &[50, 60], || pause(Duration::from_secs(6)))?;
    assert_eq!(backup.router_stats(&b, ROUTER)?["became_master"], 0, "{}", backup.log().text());
    assert_eq!(master.router_stats(&a, ROUTER)?["became_master"], 1, "{}", master.log().text());
    assert!(backup.reason(&b, "lower_ignored")? > 0);
    assert!(master.reason(&a, "lower_limited")? > 0);
    let status = backup.router(&b, ROUTER)?;
    assert_eq!(status["master"]["address"], "10.0.0.1", "{status}");
    Ok(())
}

/// A master hears who outranks it (RFC 9568 section 6.4.3), however many of lower priority it hears besides.
#[test]
fn a_master_yields_under_a_flood_of_lower_ones() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let stranger = lab.host("s", "10.0.0.200/24")?;
    let mut lower = VrrpUser::start(&b, &conf(100))?;
    lower.wait_state(&b, ROUTER, "MASTER", LONG)?;
    during_flood(&stranger, &[50, 60], || {
        let mut higher = VrrpUser::start(&a, &conf(200))?;
        higher.wait_state(&a, ROUTER, "MASTER", LONG)?;
        lower.wait_state(&b, ROUTER, "BACKUP", LONG)?;
        pause(Duration::from_secs(4))?;
        assert_eq!(lower.router_stats(&b, ROUTER)?["became_master"], 1, "{}", lower.log().text());
        assert_eq!(higher.router_stats(&a, ROUTER)?["became_master"], 1);
        Ok(())
    })
}

/// What a packet socket had no room for may have been the master's: a backup that lost packets waits once more.
#[test]
fn what_a_packet_socket_loses_makes_nobody_master() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let stranger = lab.host("s", "10.0.0.200/24")?;
    let mut master = VrrpUser::start(&a, &conf(200))?;
    master.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let raw = ["--capture", "raw"];
    let mut backup = VrrpUser::start_with_options(&b, "vrrp.conf", &conf(100), &raw)?;
    backup.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    let overruns = |backup: &VrrpUser| {
        Ok::<_, Error>(backup.status(&b)?["counters"]["raw_overrun"].as_u64().unwrap())
    };
    assert_eq!(overruns(&backup)?, 0);
    // Longer than the master-down interval, and perhaps before it has heard its master. The socket is full soon after this
    // begins.
    let socket = RawSocket::open(&stranger)?;
    let frame = Frame::v3(STRANGER, 99, 50, 50, &[VIP]).bytes();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MORE_THAN_FITS {
                let _ = socket.send(&frame);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let frozen = backup.freeze(Duration::from_secs(4));
        over.store(true, Ordering::Relaxed);
        frozen
    })?;
    lab.wait_until(LONG, "the loss is noticed", || Ok((overruns(&backup)? > 0).then_some(())))?;
    pause(Duration::from_secs(3))?;
    assert_eq!(backup.router_stats(&b, ROUTER)?["became_master"], 0, "{}", backup.log().text());
    // And it hears again.
    master.kill()?;
    backup.wait_state(&b, ROUTER, "MASTER", LONG)
}

/// Frames that no packet socket of the daemon's holds.
const MORE_THAN_FITS: u32 = 200_000;

/// At the shortest interval there is, two deaf masters of lower priority use up nothing that the real one needs.
///
/// A machine that stands still for longer than the master-down interval of 36 ms makes a takeover that is right. So each
/// one must have a silence of the master on the wire that explains it.
#[test]
fn deaf_masters_hide_no_master_at_the_shortest_interval() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let strangers = lab.host("s", "10.0.0.200/24")?;
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").v3("0.01").to_string();
    let mut master = VrrpUser::start(&a, &conf(200))?;
    master.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let tcpdump = Tcpdump::start(&b)?;
    let mut backup = VrrpUser::start(&b, &conf(100))?;
    lab.wait_until(LONG, "the backup has heard its master", || {
        let status = backup.router(&b, ROUTER);
        Ok(status.is_ok_and(|status| status["master"]["address"] == "10.0.0.1").then_some(()))
    })?;

    let socket = RawSocket::open(&strangers)?;
    let deaf =
        |host, priority| Frame::v3(Ipv4Addr::new(10, 0, 0, host), 51, priority, 1, &[VIP]).bytes();
    let deaf = [deaf(201, 50), deaf(202, 60)];
    for _ in 0..DEAF_ADVERTS {
        for frame in &deaf {
            socket.send(frame)?;
        }
        thread::sleep(Duration::from_millis(10));
    }

    let took_over = backup.router_stats(&b, ROUTER)?["became_master"].as_u64();
    let ignored = backup.reason(&b, "lower_ignored")?;
    let limited = ["master_limited", "outranks_limited", "resigns_limited"];
    let limited = limited.map(|name| backup.reason(&b, name).unwrap());
    // What was on the wire before this is in the capture by the time that this is.
    let start = Instant::now();
    socket.send(&Frame::v3(STRANGER, 99, 1, 100, &[VIP]).bytes())?;
    lab.wait_until(LONG, "tcpdump shows the last frame", || {
        Ok(tcpdump.adverts(start).iter().any(|advert| advert.vrid == 99).then_some(()))
    })?;
    let silences = silences(&tcpdump);
    let took_over = took_over.unwrap();
    assert!(
        took_over <= silences,
        "{took_over} takeovers, {silences} silences\n{}",
        backup.log().text()
    );
    if took_over == 0 {
        assert_eq!(ignored, 2 * DEAF_ADVERTS);
        assert_eq!(limited, [0; 3]);
    }
    assert!(master.reason(&a, "lower_limited")? > 0);
    assert_eq!(master.router_stats(&a, ROUTER)?["became_master"], 1, "{}", master.log().text());
    assert_eq!(master.state(&a, ROUTER)?, "MASTER");
    backup.wait_state(&b, ROUTER, "BACKUP", LONG)
}

/// What each of the deaf masters sends: for four seconds, or longer where the machine is busy.
const DEAF_ADVERTS: u64 = 400;

/// How often the master of 10.0.0.1 was silent for about a master-down interval.
fn silences(tcpdump: &Tcpdump) -> u64 {
    let adverts = tcpdump.adverts(tcpdump.log().lines()[0].0);
    let times: Vec<f64> =
        adverts.iter().filter(|advert| advert.source == "10.0.0.1").map(captured).collect();
    assert!(times.len() > 100, "{} advertisements of the master", times.len());
    let silent = |pair: &[f64]| (pair[1] - pair[0]).rem_euclid(86_400.0) > 0.030;
    times.windows(2).filter(|pair| silent(pair)).count() as u64
}

/// When tcpdump says that it was captured, seconds since midnight.
fn captured(advert: &Advert) -> f64 {
    let time = advert.line.split(' ').next().unwrap();
    time.split(':')
        .map(|part| part.parse::<f64>().unwrap())
        .fold(0.0, |sum, part| sum * 60.0 + part)
}
