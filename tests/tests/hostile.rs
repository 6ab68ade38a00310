//! What must not end the daemon, or blind it: too little memory, files without an end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(30);
const ROUTER: &str = "VI_1";

fn router() -> Instance {
    Instance::new(51, 100, "10.0.0.100/24").name(ROUTER)
}

/// That it is refused, and what is said.
fn refusal(daemon: &VrrpUser, host: &Host, args: &[&str]) -> Result<String> {
    let (report, code) = daemon.reload(host, args)?;
    assert_eq!((code, &report["applied"]), (Some(1), &Value::Bool(false)), "{report}");
    Ok(report["errors"].to_string())
}

/// A process that may not have more memory is ended, or ends itself, at the moment at which it wants more.
#[test]
fn a_configuration_that_needs_too_much_memory_is_refused_by_a_master_that_lives_on() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = router().to_string();
    // What the allocator takes counts, not what it touches.
    let limit = ["prlimit", "--data=120000000"];
    let mut daemon = VrrpUser::start_under(&host, &limit, "vrrp.conf", &conf, &[])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    // Within the bounds of what a configuration may be.
    let mut large = String::new();
    for n in 0..40_000 {
        let (vrid, interface) = (1 + n % 250, n / 250);
        let _ = writeln!(
            large,
            "vrrp_instance R{n} {{\ninterface e{interface}\nvirtual_router_id {vrid}\nvirtual_ipaddress {{"
        );
        for address in 1..10 {
            let _ = writeln!(large, "10.{}.{}.{address}", n / 256, n % 256);
        }
        large += "}\n}\n";
    }
    daemon.rewrite(&large)?;
    for args in [&["--check"][..], &[]] {
        let said = refusal(&daemon, &host, args)?;
        assert!(said.contains("more memory than there is"), "{said}");
    }
    // It takes up what it can.
    daemon.rewrite(&conf)?;
    assert_eq!(daemon.reload(&host, &[])?.1, Some(0));
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    assert!(daemon.stop()?.success());
    Ok(())
}

/// Each of these would never end, or wait for somebody who never comes.
#[test]
fn files_without_an_end_are_refused_at_once() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = router().to_string();
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let path = host.dir("vrrp-user")?.join("vrrp.conf");
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let said = refusal(&daemon, &host, &[])?;
    assert!(said.contains("it is a pipe: only regular files are read"), "{said}");
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    let said = refusal(&daemon, &host, &["--check"])?;
    assert!(said.contains("it is a device: only regular files are read"), "{said}");
    fs::remove_file(&path).unwrap();
    daemon.rewrite(&format!("include /proc/kmsg\n{conf}"))?;
    let (report, code) = daemon.reload(&host, &["--check"])?;
    let said = report.to_string();
    assert!(said.contains("made by the kernel"), "{code:?}: {said}");
    // None of them stands in the way of the next one.
    daemon.rewrite(&conf)?;
    assert_eq!(daemon.reload(&host, &[])?.1, Some(0));
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    assert!(daemon.stop()?.success());
    Ok(())
}
