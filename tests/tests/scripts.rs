//! Scripts and fifos: what they are told, by keepalived and by us, and what becomes of those that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vrrp_tests::story::Kind;
use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser, pause};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100/24";
const ROUTER: &str = "VI_1";

/// The files of scripts on a host: each writes a line to `calls` when it is called.
struct Scripts {
    dir: PathBuf,
}

impl Scripts {
    fn new(host: &Host) -> Result<Self> {
        let scripts = Self { dir: host.dir("scripts")? };
        scripts.write(
            "record",
            "printf '%s\\n' \"$(for word; do printf '[%s]' \"$word\"; done)\" >> $DIR/calls",
        );
        // keepalived ends it before it can have read the last line.
        scripts.write("reader", "trap '' TERM; exec cat \"$2\" >> $DIR/lines");
        Ok(scripts)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A shell script in which `$DIR` is the directory.
    fn write(&self, name: &str, body: &str) {
        let body = body.replace("$DIR", &self.dir.display().to_string());
        let path = self.dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The lines of a file, none if it is not there.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_lines(&self, lab: &Lab, name: &str, count: usize) -> Result<Vec<String>> {
        lab.wait_until(LONG, &format!("{count} lines in {name}"), || {
            let lines = self.lines(name);
            Ok((lines.len() >= count).then_some(lines))
        })
    }
}

fn instance(priority: u8) -> Instance {
    Instance::new(51, priority, VIP).v3("0.2")
}

/// Everything that can be told, in keepalived's grammar.
fn talkative(scripts: &Scripts) -> String {
    let record = scripts.path("record");
    let mut instance = instance(100);
    for (keyword, words) in [
        ("notify_master", "master 'two \\\"words\\\"'"),
        ("notify_backup", "backup"),
        ("notify_fault", "fault"),
        ("notify_stop", "stop"),
        ("notify_master_rx_lower_pri", "lower"),
        ("notify", "any"),
    ] {
        instance = instance.with(&format!("{keyword} \"{record} {words}\""));
    }
    let dir = scripts.dir.display();
    format!(
        "global_defs {{\nscript_user root\nvrrp_notify_fifo {dir}/fifo\n\
         vrrp_notify_fifo_script \"{} argument\"\n}}\n{instance}",
        scripts.path("reader"),
    )
}

/// What is told from start to stop: backup, master, fault, backup, stop.
fn story(kind: Kind) -> Result<(Vec<String>, Vec<String>)> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let scripts = Scripts::new(&host)?;
    let mut daemon = kind.start(&host, &talkative(&scripts))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    scripts.wait_lines(&lab, "calls", 4)?;
    host.ip(&["link", "set", "eth0", "down"])?;
    scripts.wait_lines(&lab, "calls", 6)?;
    let mut higher = VrrpUser::start(&other, &instance(200).to_string())?;
    higher.wait_state(&other, ROUTER, "MASTER", LONG)?;
    host.ip(&["link", "set", "eth0", "up"])?;
    scripts.wait_lines(&lab, "calls", 8)?;
    pause(Duration::from_millis(500))?;
    daemon.stop()?;
    let calls = scripts.wait_lines(&lab, "calls", 10)?;
    let lines = scripts.wait_lines(&lab, "lines", 5)?;
    assert!(!Path::new(&scripts.path("fifo")).exists(), "who made it removes it");
    Ok((calls, lines))
}

#[test]
fn the_same_is_told_as_by_keepalived() -> Result<()> {
    let (mut theirs, their_lines) = story(Kind::Keepalived)?;
    let (ours, our_lines) = story(Kind::VrrpUser)?;
    println!("{theirs:#?}\n{their_lines:#?}\n{ours:#?}\n{our_lines:#?}");
    assert_eq!(our_lines, their_lines);
    // It starts both scripts of a state at once, and they come in any order.
    for pair in theirs.chunks_mut(2) {
        if pair[0].contains("[INSTANCE]") {
            pair.reverse();
        }
    }
    assert_eq!(ours, theirs);
    Ok(())
}
