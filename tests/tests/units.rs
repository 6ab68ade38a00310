//! The unit files, as systemd sees them. They need no root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The exposure that `systemd-analyze security` may find at most, in tenths: 0 is none, 100 is that of a service
/// that is root. What is left is the network and what the daemon does with it.
const EXPOSURE: u32 = 25;

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// A unit file with a program that is installed.
fn unit(dir: &Path, name: &str) -> PathBuf {
    let text = fs::read_to_string(dist().join(name)).unwrap();
    assert!(text.contains("=/usr/sbin/vrrp-user "));
    let path = dir.join(name);
    fs::write(&path, text.replace("/usr/sbin/vrrp-user", "/bin/true")).unwrap();
    path
}

fn analyze(args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } =
        Command::new("systemd-analyze").args(args).env("SYSTEMD_COLORS", "0").output().unwrap();
    let text = [stdout, stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (status.success(), text)
}

#[test]
fn systemd_has_nothing_to_say_about_them() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["vrrp-user.service", "vrrp-user@.service"] {
        let path = unit(dir.path(), name);
        let (good, text) = analyze(&["verify", "--man=no", &path.display().to_string()]);
        assert!(good && text.is_empty(), "{name}: {text}");
    }
}

/// As quadlet makes a service of it: what stands outside of `[Container]`, and a program.
#[test]
fn systemd_has_nothing_to_say_about_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let example = dist().join("../docs/examples/vrrp-user.container");
    let mut foreign = false;
    let mut text = String::new();
    for line in fs::read_to_string(example).unwrap().lines() {
        if line.starts_with('[') {
            foreign = line == "[Container]";
        }
        if !foreign {
            text += &format!("{line}\n");
        }
    }
    let text = text.replace("[Service]\n", "[Service]\nType=notify\nExecStart=/bin/true\n");
    assert!(text.contains("ExecStart=/bin/true"), "{text}");
    // Its name is that of the file.
    let path = dir.path().join("vrrp-user.service");
    fs::write(&path, text).unwrap();
    let (good, said) = analyze(&["verify", "--man=no", &path.display().to_string()]);
    assert!(good && said.is_empty(), "{said}");
}

#[test]
fn they_leave_little_to_an_attacker() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["vrrp-user.service", "vrrp-user@.service"] {
        let path = unit(dir.path(), name).display().to_string();
        let threshold = format!("--threshold={EXPOSURE}");
        let (good, text) =
            analyze(&["security", "--offline=true", "--no-pager", &threshold, &path]);
        println!("{text}");
        assert!(good, "{name}: more than {EXPOSURE} tenths");
    }
}

/// What the program knows of itself and what the units say.
#[test]
fn they_agree_with_the_program_and_each_other() {
    let text = |name: &str| fs::read_to_string(dist().join(name)).unwrap();
    let (one, many) = (text("vrrp-user.service"), text("vrrp-user@.service"));
    let lines = |text: &str, key: &str| {
        let found = text.lines().filter(|line| line.starts_with(key));
        found.map(str::to_owned).collect::<Vec<_>>()
    };
    for key in [
        "Ambient", "Capability", "Restrict", "Protect", "Private", "System", "Limit", "Restart",
        "Exec", "Watchdog", "Type", "User", "BindPaths",
    ] {
        assert!(!lines(&one, key).is_empty(), "{key}");
        assert_eq!(lines(&one, key), lines(&many, key));
    }
    assert!(one.contains("RestartPreventExitStatus=2 69 75 77 78\n"));
    let capabilities = "CAP_NET_ADMIN CAP_NET_RAW CAP_BPF";
    assert!(one.contains(&format!("\nAmbientCapabilities={capabilities}\n")));
    assert!(one.contains(&format!("\nCapabilityBoundingSet={capabilities}\n")));
}

/// Before Linux 5.18 nothing else tells the next daemon which addresses a killed one has added.
#[test]
fn they_keep_the_record_of_a_daemon_that_was_killed() {
    for name in ["vrrp-user.service", "vrrp-user@.service"] {
        let text = fs::read_to_string(dist().join(name)).unwrap();
        assert!(text.lines().any(|line| line == "RuntimeDirectoryPreserve=restart"), "{name}");
    }
}
