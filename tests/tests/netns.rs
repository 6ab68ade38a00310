//! The network namespace that a configuration names, with a daemon that is started in another one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use vrrp_tests::{Host, Instance, Keepalived, Lab, Result, VrrpUser};

const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";
/// What the unit grants, to root: no CAP_SYS_ADMIN.
const RIGHTS: [&str; 2] = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf"];

/// Hosts: the one of the router, and one where the daemon is started and asked.
fn hosts(lab: &Lab) -> Result<(Host, Host)> {
    Ok((lab.host("a", "10.0.0.1/24")?, lab.host("outside", "10.0.0.9/24")?))
}

fn router(priority: u8) -> Instance {
    Instance::new(51, priority, "10.0.0.100/24")
}

/// A file as keepalived has it: the namespace for all of it.
fn conf(inside: &Host, priority: u8) -> String {
    format!("net_namespace {}\n{}", inside.namespace().name(), router(priority))
}

/// Where nothing is said of a namespace, a daemon stays in its own, and so does this one's address.
fn is_inside(inside: &Host, outside: &Host) -> Result<()> {
    inside.lab().wait_until(LONG, "the address", || Ok(inside.has_address(VIP)?.then_some(())))?;
    assert!(!outside.has_address(VIP)?);
    assert!(inside.xdp_program()?.is_some() && outside.xdp_program()?.is_none());
    Ok(())
}

#[test]
fn it_runs_where_its_file_says_beside_keepalived() -> Result<()> {
    let lab = Lab::new()?;
    let (inside, outside) = hosts(&lab)?;
    let b = lab.host("b", "10.0.0.2/24")?;
    let said = inside.dir("said")?.join("netns");
    let script = inside.dir("said")?.join("script");
    let line = format!("#!/bin/sh\nreadlink /proc/self/ns/net > {}\n", said.display());
    fs::write(&script, line).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!("notify_master {}", script.display());
    let head = format!(
        "global_defs {{\n script_user root\n}}\nnet_namespace {}\n",
        inside.namespace().name()
    );
    let text = |priority| format!("{head}{}", router(priority).with(&script));
    let keepalived = Keepalived::start(&b, &router(100).to_string())?;
    let mut daemon = VrrpUser::start(&outside, &text(150))?;
    daemon.wait_state(&outside, ROUTER, "MASTER", LONG)?;
    is_inside(&inside, &outside)?;
    // keepalived hears it there.
    lab.wait_until(LONG, "keepalived is the backup", || {
        Ok((keepalived.states(ROUTER).last().map(String::as_str) == Some("BACKUP")).then_some(()))
    })?;
    let there = inside.namespace().run("readlink", &["/proc/self/ns/net"])?;
    lab.wait_until(LONG, "the script has run", || {
        Ok((fs::read_to_string(&said).unwrap_or_default() == there).then_some(()))
    })?;

    // Another priority is applied, another namespace is not.
    daemon.hang_up(&outside, &text(200))?;
    let other = text(150).replace(inside.namespace().name(), outside.namespace().name());
    daemon.rewrite(&other)?;
    let (report, code) = daemon.reload(&outside, &[])?;
    assert_eq!(code, Some(1), "{report}");
    assert!(report.to_string().contains("cannot go to another network namespace"), "{report}");
    assert_eq!(daemon.router(&outside, ROUTER)?["priority"], 200);
    is_inside(&inside, &outside)?;

    // Who looks at it from outside sees what there is inside.
    daemon.rewrite(&text(200))?;
    let conf = outside.dir("vrrp-user")?.join("vrrp.conf").display().to_string();
    let (report, _) = VrrpUser::doctor(&outside, &["--config", &conf])?;
    let finding = |check: &str| {
        let findings = report["findings"].as_array().unwrap().iter();
        findings.filter(|it| it["check"].as_str().unwrap().starts_with(check)).count()
    };
    assert_eq!(finding("network namespace"), 1, "{report}");
    assert_eq!(daemon.stats(&outside)?["routers"][0]["interface"], "eth0");

    // What is left of a dead one is found there, too.
    daemon.kill()?;
    assert!(inside.has_address(VIP)?);
    let (code, said) = VrrpUser::cleanup(&outside)?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(VIP), "{said}");
    assert!(!inside.has_address(VIP)? && inside.xdp_program()?.is_none());
    Ok(())
}

/// What the first words of a daemon are that does not start, and its exit code.
fn refused(outside: &Host, under: &[&str], text: &str) -> Result<(Option<i32>, String)> {
    let mut daemon = VrrpUser::start_under(outside, under, "vrrp.conf", text, &[])?;
    let status = daemon.process().wait(LONG)?;
    Ok((status.code(), daemon.log().text()))
}

#[test]
fn what_cannot_be_entered_is_said() -> Result<()> {
    let lab = Lab::new()?;
    let (inside, outside) = hosts(&lab)?;
    let (code, said) = refused(&outside, &RIGHTS, &conf(&inside, 150))?;
    assert_eq!(code, Some(77), "{said}");
    let unit = format!("NetworkNamespacePath=/run/netns/{}", inside.namespace().name());
    assert!(said.contains("CAP_SYS_ADMIN") && said.contains(&unit), "{said}");

    let missing = conf(&inside, 150).replace(inside.namespace().name(), "vrrplab-no-such");
    let (code, said) = refused(&outside, &[], &missing)?;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("vrrp.conf:1:") && said.contains("no network namespace"), "{said}");

    let (code, said) = refused(&outside, &[], &missing.replace("vrrplab-no-such", "/etc/passwd"))?;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("/etc/passwd is no network namespace"), "{said}");
    assert!(outside.xdp_program()?.is_none() && inside.xdp_program()?.is_none());
    Ok(())
}

/// As the unit with `NetworkNamespacePath=`: who is there already needs no right to go there.
#[test]
fn who_is_there_already_needs_no_right() -> Result<()> {
    let lab = Lab::new()?;
    let (inside, _) = hosts(&lab)?;
    let mut daemon =
        VrrpUser::start_under(&inside, &RIGHTS, "vrrp.conf", &conf(&inside, 255), &[])?;
    daemon.wait_state(&inside, ROUTER, "MASTER", LONG)?;
    daemon.hang_up(&inside, &conf(&inside, 200))?;
    daemon.stop()?;
    Ok(())
}

/// keepalived's own option goes before the file.
#[test]
fn the_command_line_goes_before_the_file() -> Result<()> {
    let lab = Lab::new()?;
    let (inside, outside) = hosts(&lab)?;
    let elsewhere = "net_namespace vrrplab-no-such\n".to_owned() + &router(255).to_string();
    let options = ["-s", inside.namespace().name()];
    let mut daemon = VrrpUser::start_with_options(&outside, "vrrp.conf", &elsewhere, &options)?;
    daemon.wait_state(&outside, ROUTER, "MASTER", LONG)?;
    is_inside(&inside, &outside)?;
    daemon.hang_up(&outside, &elsewhere)?;
    daemon.stop()?;
    Ok(())
}

/// The other format, and the way of a process of its own to a namespace.
#[test]
fn toml_has_it_as_netns() -> Result<()> {
    let lab = Lab::new()?;
    let (inside, outside) = hosts(&lab)?;
    let text = format!(
        "netns = \"/run/netns/{}\"\n[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\nversion = 2\n\
         priority = 255\naddresses = [\"10.0.0.100/24\"]\n",
        inside.namespace().name()
    );
    let mut daemon = VrrpUser::start_with(&outside, "vrrp.toml", &text)?;
    daemon.wait_state(&outside, ROUTER, "MASTER", LONG)?;
    is_inside(&inside, &outside)?;
    let json: Value = daemon.status(&outside)?;
    assert_eq!(json["interfaces"][0]["name"], "eth0");
    daemon.stop()?;
    assert!(!inside.has_address(VIP)?);
    Ok(())
}
