//! What is sent, and what happens when it cannot be.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Instance, Lab, Result, VrrpUser, pause};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);

/// What a dead peer makes the kernel keep is not at the expense of those that live.
#[test]
fn dead_peers_cost_live_ones_nothing() -> Result<()> {
    /// 60 of them at 20/s: with the usual send buffer its room is gone within a third of a second.
    const ROUTERS: u8 = 60;
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = |source: &str, peers: &[&str], priority| {
        let router = |n: u8| {
            let vip = format!("10.0.1.{n}/32");
            let router = Instance::new(n, priority, &vip).name(&format!("VI_{n}")).v3("0.05");
            router.unicast(source, peers).to_string()
        };
        (1..=ROUTERS).map(router).collect::<String>()
    };
    // Nobody has 10.0.0.3 and 10.0.0.4.
    let peers = ["10.0.0.3", "10.0.0.2", "10.0.0.4"];
    let mut ours = VrrpUser::start(&a, &conf("10.0.0.1", &peers, 200))?;
    ours.wait_state(&a, "VI_60", "MASTER", LONG)?;
    let mut theirs = VrrpUser::start(&b, &conf("10.0.0.2", &["10.0.0.1"], 100))?;
    theirs.wait_state(&b, "VI_60", "BACKUP", LONG)?;
    pause(Duration::from_secs(5))?;
    assert_eq!(ours.status(&a)?["counters"]["send_failed"], 0);
    let stats = theirs.stats(&b)?;
    for router in stats["routers"].as_array().unwrap() {
        assert_eq!(router["became_master"], 0, "{router}");
    }
    Ok(())
}
