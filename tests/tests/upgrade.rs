//! Another program in the place of a running daemon's. The other one is this one with a few words at the end of its file, by
//! which it pretends (`types/build.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

mod pretending;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use pretending::pretending;
use serde_json::Value;
use vrrp_common::maps::ABI_VERSION;
use vrrp_tests::{Host, Instance, Keepalived, Lab, Result, Tcpdump, VrrpUser, pause};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(40);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";

fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").to_string()
}

/// `vrrp-user upgrade`, by a command that stands before it: its exit code, and what it says.
fn upgrade_by(
    host: &Host,
    by: &[&str],
    binary: &Path,
    args: &[&str],
) -> Result<(Option<i32>, String)> {
    let (ours, instance) = (VrrpUser::binary()?.display().to_string(), VrrpUser::instance(host));
    let binary = binary.display().to_string();
    let upgrade = [&ours, "upgrade", "--instance", &instance, "--binary", &binary];
    let line = [by, &upgrade, args].concat();
    let mut command = host.namespace().command(line[0]);
    let output = command.args(&line[1..]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    println!("{:?}: {text}", output.status);
    Ok((output.status.code(), text))
}

fn upgrade(host: &Host, binary: &Path) -> Result<(Option<i32>, String)> {
    upgrade_by(host, &[], binary, &[])
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn master(host: &Host, conf: &str) -> Result<VrrpUser> {
    let mut daemon = VrrpUser::start(host, conf)?;
    daemon.wait_state(host, ROUTER, "MASTER", LONG)?;
    host.lab().wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    Ok(daemon)
}

/// What is refused changes nothing, and is said and counted.
#[test]
fn what_is_no_program_of_roots_is_refused() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = master(&host, &conf(255))?;
    let pid = daemon.process().pid();
    let path = pretending(&lab, "other", "{}")?;
    let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let refused = |why: &str| -> Result<()> {
        let (code, text) = upgrade(&host, &path)?;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(why) && text.contains("everything goes on as before"), "{text}");
        Ok(())
    };
    mode(0o777);
    refused("can be written by others than root (mode 0777)")?;
    mode(0o644);
    refused("is not executable (mode 0644)")?;
    mode(0o755);
    chown(&path, Some(65534), None).unwrap();
    refused("belongs to the user 65534, and not to root")?;
    fs::remove_file(&path).unwrap();
    refused("No such file")?;
    fs::write(&path, "#!/bin/sh\nexec true, and long enough\n").unwrap();
    mode(0o755);
    refused("is no program for this machine")?;
    fs::copy("/bin/true", &path).unwrap();
    refused("it ended with exit status: 0")?;
    fs::copy("/bin/false", &path).unwrap();
    refused("it ended with exit status: 1")?;
    // One that does not start.
    let mut bytes = fs::read("/bin/true").unwrap();
    bytes.truncate(4096);
    fs::write(&path, bytes).unwrap();
    refused("it")?;
    let counters = &daemon.status(&host)?["counters"];
    assert_eq!(number(counters, "upgrade_refused"), 8, "{counters}");
    assert_eq!(daemon.process().pid(), pid);
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    daemon.stop()?;
    Ok(())
}

/// Only root, and the daemon's own user: not even who may reload.
#[test]
fn a_stranger_is_refused_and_so_is_what_needs_more_rights() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let options = ["--socket-mode", "0666", "--socket-group", "daemon"];
    let mut daemon = VrrpUser::start_with_options(&host, "vrrp.conf", &conf(255), &options)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let other = pretending(&lab, "other", r#"{"needs":"CAP_SYS_ADMIN","version":"7.7.7"}"#)?;
    let stranger = ["setpriv", "--reuid", "65534", "--regid", "daemon", "--clear-groups"];
    let (code, text) = upgrade_by(&host, &stranger, &other, &[])?;
    assert!(code == Some(1) && text.contains("it takes root, or the daemon's own user"), "{text}");
    let (code, text) = upgrade(&host, &other)?;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("it needs CAP_SYS_ADMIN, which only a restart gives it"), "{text}");
    assert!(text.contains("nothing was done"), "{text}");
    let status = daemon.status(&host)?;
    assert_eq!(number(&status["counters"], "control_not_permitted"), 1, "{status}");
    assert_ne!(status["version"], "7.7.7");
    daemon.stop()?;
    Ok(())
}

/// One that never answers is ended in time, and the daemon goes on meanwhile.
#[test]
fn one_that_hangs_is_ended() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = master(&host, &conf(255))?;
    let other = pretending(&lab, "other", r#"{"hangs":true}"#)?;
    let before = number(&daemon.router_stats(&host, ROUTER)?, "adverts_sent");
    let (code, text) = upgrade(&host, &other)?;
    assert!(code == Some(1) && text.contains("it did not answer within"), "{text}");
    let after = number(&daemon.router_stats(&host, ROUTER)?, "adverts_sent");
    assert!(after > before, "{before}, {after}");
    daemon.stop()?;
    Ok(())
}

/// Beside a keepalived that takes over when it hears nothing: it hears all the time. The layout of the maps changes as well, or
/// does not; as root, or with the unit's three capabilities.
fn nobody_notices(by: &[&str], abi_version: u32) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let script = lab.dir().join("notify");
    let ran = lab.dir().join("ran");
    let text =
        format!("#!/bin/sh\necho begin $3 >> {0}; sleep 4; echo end $3 >> {0}\n", ran.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(lab.dir(), Permissions::from_mode(0o777)).unwrap();
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").v3("0.5");
    let ours = conf(150).with(&format!("notify {}", script.display())).to_string();
    let mut on_a = VrrpUser::start_under(&a, by, "vrrp.conf", &ours, &[])?;
    on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
    let on_b = Keepalived::start(&b, &conf(100).to_string())?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    let tcpdump = Tcpdump::start(&b)?;
    let (begun, pid) = (Instant::now(), on_a.process().pid());
    lab.wait_until(
        LONG,
        "advertisements",
        || Ok((tcpdump.adverts(begun).len() > 3).then_some(())),
    )?;
    let log = || fs::read_to_string(&ran).unwrap_or_default();
    lab.wait_until(LONG, "the script", || Ok(log().contains("begin MASTER").then_some(())))?;
    let before = on_a.router_stats(&a, ROUTER)?;
    let states = on_b.states(ROUTER).len();

    let what = format!(r#"{{"version":"9.9.9","abi_version":{abi_version}}}"#);
    let other = pretending(&lab, "other", &what)?;
    let (code, text) = upgrade(&a, &other)?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("version 9.9.9 takes over"), "{text}");
    let status = on_a.status(&a)?;
    assert_eq!((&status["version"], &status["pid"]), (&"9.9.9".into(), &pid.as_raw().into()));
    let after = on_a.router_stats(&a, ROUTER)?;
    for counter in ["adverts_sent", "became_master", "state_changes"] {
        assert!(number(&after, counter) >= number(&before, counter), "{before}\n{after}");
    }
    assert_eq!(number(&after, "became_master"), number(&before, "became_master"), "{after}");
    assert!(a.has_address(VIP)?);
    pause(Duration::from_secs(2))?;
    let gaps: Vec<Duration> =
        tcpdump.adverts(begun).windows(2).map(|it| it[1].at - it[0].at).collect();
    println!("gaps: {gaps:?}");
    assert_eq!(on_b.states(ROUTER).len(), states, "{:?}", on_b.states(ROUTER));
    assert!(tcpdump.adverts(begun).iter().all(|it| it.source == "10.0.0.1" && it.priority == 150));
    // What ran goes on, once, and is waited for.
    lab.wait_until(LONG, "the end of the script", || {
        Ok(log().contains("end MASTER").then_some(()))
    })?;
    assert_eq!(log().matches("begin MASTER").count(), 1, "{}", log());
    lab.wait_until(LONG, "no child is left", || {
        let children = format!("/proc/{pid}/task/{pid}/children");
        Ok(fs::read_to_string(children).unwrap().trim().is_empty().then_some(()))
    })?;
    on_a.stop()?;
    Ok(())
}

#[test]
fn nobody_notices_an_upgrade() -> Result<()> {
    nobody_notices(&[], ABI_VERSION)
}

#[test]
fn nobody_notices_another_layout_of_the_maps() -> Result<()> {
    nobody_notices(&[], ABI_VERSION + 1)
}

#[test]
fn nobody_notices_it_with_three_capabilities() -> Result<()> {
    let by = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf"];
    nobody_notices(&by, ABI_VERSION)
}

/// What operators have ordered holds, the reader of a fifo goes on, a check that failed is known to have, and a configuration that
/// only the new program understands is read by it.
#[test]
fn what_is_known_crosses() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let dir = host.dir("scripts")?;
    let script = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let (heard, fifo) = (dir.join("heard"), dir.join("fifo").display().to_string());
    let reader =
        script("reader", &format!("echo begin >> {0}; exec cat $1 >> {0}", heard.display()));
    // Once an hour, so that nobody finds it out again.
    let check = script("check", "exit 1");
    let conf = format!(
        "[scripts]\nuser = \"root\"\n[notify]\nfifo = {{ path = \"{fifo}\", script = \"{reader}\" }}\n\
         [[script]]\nname = \"chk\"\ncommand = \"{check}\"\ninterval = \"3600s\"\nweight = -20\n\
         [[router]]\nname = \"{ROUTER}\"\ninterface = \"eth0\"\nvrid = 51\npriority = 200\naddresses = [\"{VIP}/24\"]\n\
         track = [{{ script = \"chk\" }}]\n\
         [[router]]\nname = \"VI_2\"\ninterface = \"eth0\"\nvrid = 52\npriority = 200\naddresses = [\"10.0.0.101/24\"]\n"
    );
    println!("{conf}");
    let mut daemon = VrrpUser::start_with(&host, "vrrp.toml", &conf)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let order = |args: &[&str]| {
        let binary = VrrpUser::binary().unwrap().display().to_string();
        let instance = VrrpUser::instance(&host);
        host.namespace().run(&binary, &[args, &["--instance", &instance]].concat())
    };
    order(&["step-down", "VI_2"])?;
    lab.wait_until(LONG, "the check has failed", || {
        Ok((daemon.router(&host, ROUTER)?["priority"] == 180).then_some(()))
    })?;
    let log = || fs::read_to_string(&heard).unwrap_or_default();
    lab.wait_until(LONG, "the reader", || Ok(log().contains("MASTER").then_some(())))?;
    // The old one does not know that word, and says so.
    daemon.rewrite(&format!("from_the_future = true\n{conf}"))?;
    let (reload, _) = daemon.reload(&host, &[])?;
    assert!(reload["errors"][0].as_str().unwrap().contains("from_the_future"), "{reload}");
    let same = pretending(&lab, "same", "{}")?;
    let (code, text) = upgrade(&host, &same)?;
    assert!(code == Some(1) && text.contains("from_the_future"), "{text}");

    let other = pretending(&lab, "other", r#"{"understands":"from_the_future"}"#)?;
    let (code, text) = upgrade(&host, &other)?;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(daemon.state(&host, "VI_2")?, "FAULT");
    let router = daemon.router(&host, ROUTER)?;
    assert_eq!(
        (&router["state"], &router["priority"]),
        (&"MASTER".into(), &180.into()),
        "{router}"
    );
    let (reload, _) = daemon.reload(&host, &[])?;
    assert_eq!(reload["errors"], Value::Array(vec![]), "{reload}");
    order(&["resume", "VI_2"])?;
    lab.wait_until(LONG, "what is said afterwards", || {
        Ok(log().contains("INSTANCE \"VI_2\" BACKUP").then_some(()))
    })?;
    assert_eq!(log().matches("begin").count(), 1, "{}", log());
    daemon.stop()?;
    assert!(!Path::new(&fifo).exists());
    Ok(())
}

/// A new program that is killed as soon as it has taken over: the next start does not believe in it.
#[test]
fn one_that_crashes_after_it_has_taken_over_is_started_again() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = master(&host, &conf(150))?;
    let other = pretending(&lab, "other", r#"{"crashes":true}"#)?;
    let (code, text) = upgrade(&host, &other)?;
    assert!(code == Some(1) && text.contains("it has ended"), "{text}");
    daemon.process().wait(LONG)?;
    // As long as nobody else has it, the host answers.
    assert!(host.has_address(VIP)?);
    let mut daemon = VrrpUser::start(&host, &conf(150))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert!(daemon.log().contains("has adopted another one"), "{}", daemon.log().text());
    assert!(host.has_address(VIP)?);
    daemon.stop()?;
    Ok(())
}
