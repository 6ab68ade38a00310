//! The scripts of the packages: a daemon that runs while its package is upgraded, and what one left that was killed when the
//! package is removed. The packages are made by hand, with the scripts that are in those of a release.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

#[path = "package/ansible.rs"]
mod ansible;
#[path = "package/machine.rs"]
mod machine;
#[path = "package/migration.rs"]
mod migration;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vrrp_tests::{Host, Instance, Lab, Process, Result, VrrpUser, pause, run, skip};
use vrrp_user::types::build::MARK;

/// More than any step takes.
const LONG: Duration = Duration::from_secs(60);
const NEEDED: [&str; 3] = ["dpkg-deb", "deb-systemd-invoke", "systemd-sysusers"];

/// A package of a program that pretends, or of none of ours.
fn package(dir: &Path, name: &str, version: &str, pretence: Option<&str>) -> Result<()> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist");
    let root = dir.join(name);
    let copy = |from: &Path, to: &str, mode| {
        let to = root.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
        to
    };
    for script in ["postinst", "prerm", "postrm"] {
        copy(&dist.join("debian").join(script), &format!("DEBIAN/{script}"), 0o755);
    }
    copy(&dist.join("vrrp-user.sysusers"), "usr/lib/sysusers.d/vrrp-user.conf", 0o644);
    copy(&dist.join("vrrp.toml"), "etc/vrrp-user/vrrp.toml", 0o640);
    let unit = "vrrp-user.service";
    copy(&dist.join(unit), &format!("usr/lib/systemd/system/{unit}"), 0o644);
    let program = copy(&VrrpUser::binary()?, "usr/sbin/vrrp-user", 0o755);
    match pretence {
        None => drop(fs::copy("/bin/false", &program).unwrap()),
        Some(pretence) => {
            let mut file = OpenOptions::new().append(true).open(&program).unwrap();
            write!(file, "{MARK}{pretence}").unwrap();
        }
    }
    let control = format!(
        "Package: vrrp-user\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n\
         Description: VRRP daemon\n"
    );
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    fs::write(root.join("DEBIAN/conffiles"), "/etc/vrrp-user/vrrp.toml\n").unwrap();
    let (root, deb) = (root.display().to_string(), dir.join(format!("{name}.deb")));
    let deb = deb.display().to_string();
    run(Command::new("dpkg-deb").args(["-Znone", "--root-owner-group", "--build", &root, &deb]))?;
    fs::remove_dir_all(root).unwrap();
    Ok(())
}

/// Whether there is what this takes.
fn lacks(needed: &[&str]) -> bool {
    let there = |program: &&str| {
        let directories = ["/usr/bin", "/usr/sbin", "/bin", "/lib/systemd"];
        directories.iter().any(|dir| Path::new(dir).join(program).exists())
    };
    !needed.iter().all(there)
}

/// Boots a copy of the system on a host, with a systemd that runs this in the end; it finds the folder as `/packages`. It
/// ends after so many seconds.
fn boot(host: &Host, dir: &Path, script: &str, limit: &str) -> Result<Process> {
    let starter = dir.join("systemd.sh");
    fs::write(&starter, include_str!("package/systemd.sh")).unwrap();
    fs::write(dir.join("unit.sh"), script).unwrap();
    let (path, starter) = (dir.display().to_string(), starter.display().to_string());
    host.spawn("systemd", "timeout", &["--kill-after=5", limit, "sh", &starter, &path])
}

/// With the systemd of this machine as the first process of a PID namespace: the unit of the package, whose other router is outside.
#[test]
fn packages_beside_a_systemd_that_runs() -> Result<()> {
    if lacks(&NEEDED) || lacks(&["systemd", "systemctl"]) {
        skip("it takes dpkg and systemd");
        return Ok(());
    }
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").v3("1");
    let dir = a.dir("packages")?;
    package(&dir, "one", "1.0", Some("{}"))?;
    package(&dir, "two", "2.0", Some(r#"{"version":"9.9.9"}"#))?;
    let configuration = "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\nversion = 3\npriority = 150\n\
                         addresses = [\"10.0.0.100/24\"]\n";
    fs::write(dir.join("vrrp.toml"), configuration).unwrap();
    let said = || fs::read_to_string(dir.join("said")).unwrap_or_default();
    let mut machine = boot(&a, &dir, include_str!("package/unit.sh"), "150")?;
    let mut other = None;
    for (phase, state, times) in [
        ("started", "BACKUP", 0),
        ("killed", "BACKUP", 0),
        ("upgraded", "BACKUP", 0),
        ("removed", "MASTER", 1),
    ] {
        let reached = lab.wait_until(LONG, phase, || {
            if let Some(status) = machine.ended()? {
                return Ok(Some(Err(status)));
            }
            Ok(dir.join(phase).exists().then_some(Ok(())))
        });
        assert!(matches!(reached, Ok(Ok(()))), "{reached:?}\n{}{}", machine.log().text(), said());
        let daemon = match &mut other {
            None => other.insert(VrrpUser::start(&b, &conf(100).to_string())?),
            Some(daemon) => {
                // More than it waits for a master that is dead.
                pause(Duration::from_secs(4))?;
                daemon
            }
        };
        daemon.wait_state(&b, "VI_1", state, LONG)?;
        let stats = daemon.router_stats(&b, "VI_1")?;
        assert_eq!(stats["became_master"], times, "{phase}: {}", said());
        fs::write(dir.join(format!("{phase}-seen")), "").unwrap();
    }
    let status = machine.wait(LONG)?;
    let said = said();
    println!("{said}");
    assert!(
        status.success() && said.contains("DONE") && !said.contains("FAIL"),
        "{status}: {said}"
    );
    Ok(())
}

#[test]
fn packages_upgrade_what_runs_and_remove_what_is_left() -> Result<()> {
    if lacks(&NEEDED) {
        skip("it takes dpkg and systemd's tools");
        return Ok(());
    }
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let dir = host.dir("packages")?;
    package(&dir, "one", "1.0", Some("{}"))?;
    package(&dir, "two", "2.0", Some(r#"{"version":"9.9.9"}"#))?;
    package(&dir, "three", "3.0", Some(r#"{"needs":"CAP_SYS_ADMIN","version":"7.7.7"}"#))?;
    package(&dir, "four", "4.0", None)?;
    for script in ["post", "preun", "postun"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/rpm").join(script);
        fs::copy(from, dir.join(format!("rpm-{script}"))).unwrap();
    }
    fs::write(dir.join("lab.sh"), include_str!("package/lab.sh")).unwrap();
    fs::write(dir.join("inside.sh"), include_str!("package/inside.sh")).unwrap();
    let dir = dir.display().to_string();
    let text = host
        .namespace()
        .run("unshare", &["--mount", "timeout", "120", "sh", &format!("{dir}/lab.sh"), &dir]);
    match text {
        Ok(text) => println!("{text}"),
        Err(error) => panic!("{error}"),
    }
    Ok(())
}
