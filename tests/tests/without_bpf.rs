//! Hosts that have no BPF for the daemon: it captures by packet sockets, and says what that means.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use serde_json::Value;
use vrrp_tests::story::{Daemon, Kind, Off, Story};
use vrrp_tests::{Host, Instance, Keepalived, Lab, Result, VrrpUser};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(60);
/// Starts what follows as root that may do nothing but use the network.
const NO_BPF: [&str; 2] = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+setpcap"];

fn router(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").name("VI_1").to_string()
}

/// How an interface captures, as `status` has it.
fn eth0(status: &Value) -> &Value {
    status["interfaces"].as_array().unwrap().iter().find(|found| found["name"] == "eth0").unwrap()
}

/// Whether there is a directory of pins.
fn has_pins(host: &Host) -> bool {
    host.lab().bpffs().join("vrrp-user").join(VrrpUser::instance(host)).exists()
}

#[test]
fn the_story_without_the_right_to_bpf() -> Result<()> {
    let lab = Lab::new()?;
    let mut story = Story::new(&lab, Kind::VrrpUser, Kind::Keepalived)?;
    story.a.started_by(&NO_BPF);
    story.play(Off::DaemonStops, |step| {
        println!("{}: {} answers, away {:?}", step.title, step.answered, step.away);
    })?;
    let Some(Daemon::VrrpUser(_)) = story.a.daemon() else { panic!("it is ours that plays") };
    assert!(!has_pins(story.a.host()));
    Ok(())
}

/// As backup beside keepalived: it stays that, and log, `status`, `stats`, `doctor` and metrics tell how it captures.
#[test]
fn who_has_no_bpf_says_so() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut on_b = Keepalived::start(&b, &router(150))?;
    on_b.wait_state(&b, "VI_1", "MASTER", LONG)?;
    let options = ["--capture", "native", "--metrics", "127.0.0.1:9560"];
    let mut on_a = VrrpUser::start_under(&a, &NO_BPF, "vrrp.conf", &router(100), &options)?;
    on_a.wait_state(&a, "VI_1", "BACKUP", LONG)?;
    lab.wait_until(LONG, "five advertisements", || {
        let heard = on_a.router_stats(&a, "VI_1")?["adverts_received"].as_u64();
        Ok((heard >= Some(5)).then_some(()))
    })?;
    let log = on_a.log().text();
    let said = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(said("WARN  no BPF: not permitted"), 1, "{log}");
    assert_eq!(said("captures by a packet socket (native XDP is configured; no BPF: "), 1, "{log}");

    let status = on_a.status(&a)?;
    assert!(status["no_bpf"].as_str().is_some_and(|why| why.contains("CAP_BPF")), "{status}");
    assert_eq!(eth0(&status)["capture"], "raw");
    assert!(eth0(&status)["capture_lacks"].as_str().unwrap().contains("wakes"), "{status}");
    let stats = on_a.stats(&a)?;
    let router = &stats["routers"][0];
    assert_eq!((&router["state"], &router["became_master"]), (&"BACKUP".into(), &0.into()));
    assert_eq!(router["peers"][0]["address"], "10.0.0.2", "{router}");
    assert!(stats["reasons"]["accepted"].as_u64() >= Some(5), "{stats}");
    assert_eq!(stats["interfaces"][0]["capture"], "raw");
    // Of what is not counted, no zeros.
    assert_eq!(stats["vips"], Value::Array(Vec::new()));
    let metrics = a.namespace().run("curl", &["-sS", "--fail", "http://127.0.0.1:9560/metrics"])?;
    assert!(metrics.contains("vrrp_peer_adverts_received_total"), "{metrics}");

    // As root with all rights: what is told is what the daemon has.
    let (report, _) = VrrpUser::doctor(&a, &[])?;
    let findings = report["findings"].as_array().unwrap();
    let bpf = findings.iter().find(|finding| finding["check"] == "bpf").unwrap();
    assert_eq!(bpf["severity"], "warning", "{bpf}");
    assert!(bpf["text"].as_str().unwrap().contains("no BPF: not permitted"), "{bpf}");

    let mut monitor = a.namespace().command(&VrrpUser::binary()?.display().to_string());
    monitor.args(["monitor", "--count", "1", "--instance", &VrrpUser::instance(&a), "--bpffs"]);
    let output = monitor.arg(lab.bpffs()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("runs with no BPF: not permitted"), "{said}");

    on_b.stop()?;
    on_a.wait_state(&a, "VI_1", "MASTER", LONG)?;
    on_a.stop()?;
    assert!(!has_pins(&a) && a.xdp_program()?.is_none());
    Ok(())
}

/// Whoever wants nothing but packet sockets has nothing in the kernel; what a daemon pinned that was killed goes.
#[test]
fn who_wants_packet_sockets_only_needs_no_bpf() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    let mut killed = VrrpUser::start(&a, &router(100))?;
    killed.wait_state(&a, "VI_1", "MASTER", LONG)?;
    killed.kill()?;
    assert!(has_pins(&a));
    let conf = |capture: &str| {
        format!(
            "capture = \"{capture}\"\n[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100/24\"]\n"
        )
    };
    let mut daemon = VrrpUser::start_with(&a, "vrrp.toml", &conf("raw"))?;
    daemon.wait_state(&a, "VI_1", "MASTER", LONG)?;
    assert!(!has_pins(&a));
    let status = daemon.status(&a)?;
    assert_eq!(eth0(&status)["capture_why"], "configured");
    assert!(status["no_bpf"].as_str().unwrap().contains("`capture` was \"raw\""), "{status}");
    assert!(!daemon.log().text().contains("WARN  no BPF"), "{}", daemon.log().text());
    let pid = daemon.stats(&a)?["pid"].as_u64();
    assert_eq!(pid, u64::try_from(daemon.process().pid().as_raw()).ok());
    // BPF is not loaded later.
    daemon.hang_up(&a, &conf("auto"))?;
    let status = daemon.status(&a)?;
    assert_eq!(eth0(&status)["capture"], "raw");
    let why = eth0(&status)["capture_why"].as_str().unwrap().to_owned();
    assert!(why.contains("when the daemon started"), "{why}");
    daemon.stop()?;
    Ok(())
}
