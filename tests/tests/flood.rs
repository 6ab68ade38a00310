//! Floods of advertisements that are right in form: they decide nothing that their content does not decide.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vrrp_tests::{Frame, Host, Instance, Lab, RawSocket, Result, VrrpUser, pause};

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
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let stranger = lab.host("s", "10.0.0.200/24")?;
    let mut master = VrrpUser::start(&a, &conf(200))?;
    master.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let mut backup = VrrpUser::start(&b, &conf(100))?;
    backup.wait_state(&b, ROUTER, "BACKUP", LONG)?;
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
