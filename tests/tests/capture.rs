//! That advertisements are heard, whatever somebody does to the programs, maps and clocks that this takes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Instance, Lab, Result, VrrpUser, pause};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);
const ROUTER: &str = "VI_1";

/// Ten advertisements a second: a master is given up after a third of a second.
fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").v3("0.1").to_string()
}

/// Containers may have clocks of their own, but the kernel stamps arrivals with the host's: a backup would take over
/// again and again, or only after a day.
#[test]
fn a_time_namespace_changes_nothing() -> Result<()> {
    for offset in ["86400", "-30"] {
        let lab = Lab::new()?;
        let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        let mut master = VrrpUser::start(&a, &conf(150))?;
        master.wait_state(&a, ROUTER, "MASTER", LONG)?;
        let unshare = ["unshare", "--time", "--monotonic", offset];
        let mut backup = VrrpUser::start_under(&b, &unshare, "vrrp.conf", &conf(100), &[])?;
        backup.wait_state(&b, ROUTER, "BACKUP", LONG)?;
        pause(Duration::from_secs(1))?;
        let stats = backup.router_stats(&b, ROUTER)?;
        assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));
        let silent = stats["last_seen_s"].as_f64().unwrap();
        assert!((0.0..60.0).contains(&silent), "last heard {silent} s ago");
        master.kill()?;
        backup.wait_state(&b, ROUTER, "MASTER", LONG)?;
        backup.stop()?;
    }
    Ok(())
}
