//! A configuration without virtual routers: the daemon waits for another one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);
/// What a template makes of a host that has no part in anything.
const IDLE: &str = "global_defs {\n router_id x\n}\n";

/// Waits until the daemon says that it is idle.
fn wait_idle(lab: &Lab, host: &Host) -> Result<()> {
    let binary = VrrpUser::binary()?.display().to_string();
    lab.wait_until(LONG, "`0 virtual routers: idle` in status", || {
        let args = ["status", "--instance", &VrrpUser::instance(host)];
        let shown = host.namespace().run(&binary, &args).unwrap_or_default();
        Ok(shown.contains("0 virtual routers: idle").then_some(()))
    })
}

#[test]
fn idle_and_back() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let router = |vrid: u8| Instance::new(vrid, 100, &format!("10.0.0.{vrid}/24")).v3("0.1");
    let routers = router(51).name("VI_1").to_string() + &router(52).name("VI_2").to_string();
    let mut daemon = VrrpUser::start(&host, IDLE)?;
    wait_idle(&lab, &host)?;
    assert_eq!(daemon.status(&host)?["routers"].as_array().map(Vec::len), Some(0));

    daemon.hang_up(&host, &routers)?;
    for name in ["VI_1", "VI_2"] {
        daemon.wait_state(&host, name, "MASTER", LONG)?;
    }
    // What is left of a template that failed.
    let none = "there is no virtual router in this file";
    for (nothing, why) in [
        ("", none),
        ("# by a template\n", none),
        ("global_defs {\n router_id", "the file ends inside a block"),
    ] {
        daemon.rewrite(nothing)?;
        let (report, code) = daemon.reload(&host, &[])?;
        assert_eq!(code, Some(1), "{report}");
        assert!(report.to_string().contains(why), "{report}");
    }
    // What it includes is not there, or not any more.
    for include in ["gone.conf", "gone.d/*.conf"] {
        daemon.rewrite(&format!("{IDLE}include {include}\n"))?;
        let (report, code) = daemon.reload(&host, &[])?;
        assert_eq!(code, Some(1), "{report}");
        let report = report.to_string();
        assert!(report.contains("not all is there that it includes"), "{report}");
        assert!(report.contains(&format!("no file matches `{include}`")), "{report}");
    }
    // Nor is it known what the rest would be without it.
    daemon.rewrite(&format!("include gone.conf\n{}", router(51).name("VI_1")))?;
    let (report, code) = daemon.reload(&host, &[])?;
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(daemon.state(&host, "VI_1")?, "MASTER");
    assert_eq!(daemon.state(&host, "VI_2")?, "MASTER");

    daemon.hang_up(&host, IDLE)?;
    lab.wait_until(LONG, "the addresses are gone", || {
        let there = host.has_address("10.0.0.51")? || host.has_address("10.0.0.52")?;
        Ok((!there).then_some(()))
    })?;
    assert_eq!(daemon.status(&host)?["routers"].as_array().map(Vec::len), Some(0));
    daemon.hang_up(&host, &routers)?;
    daemon.wait_state(&host, "VI_2", "MASTER", LONG)?;
    assert!(daemon.stop()?.success());
    Ok(())
}

#[test]
fn idle_in_toml() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start_with(&host, "vrrp.toml", "router = []\n")?;
    wait_idle(&lab, &host)?;
    assert!(daemon.stop()?.success());
    Ok(())
}
