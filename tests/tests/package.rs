//! The scripts of the packages: a daemon that runs while its package is upgraded, and what one left that was killed when the
//! package is removed. The packages are made by hand, with the scripts that are in those of a release.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use vrrp_tests::{Lab, Result, VrrpUser, run, skip};
use vrrp_user::types::build::MARK;

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

#[test]
fn packages_upgrade_what_runs_and_remove_what_is_left() -> Result<()> {
    let there = |program: &&str| {
        ["/usr/bin", "/usr/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
    };
    if !NEEDED.iter().all(there) {
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
