//! The Debian package: a tree of files, what dpkg is told of them, and dpkg-deb.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::assets::{self, text};
use crate::build;
use crate::command::{output, run};

/// What vrrp-user/Cargo.toml says of the package for another architecture, whose libraries dpkg-shlibdeps does not find here.
pub const VARIANT: &str = "cross";
/// Of the package, beside the version of the program.
const REVISION: &str = "1";
/// Scripts of the package that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Makes the package in a folder.
/// `architecture` is dpkg's name of another one than this machine's; `compression` one that dpkg-deb knows.
/// Errors: what the package lists is not there, or a program fails.
pub fn pack(
    manifest: &Value,
    out: &Path,
    architecture: Option<&str>,
    compression: &str,
) -> Result<PathBuf> {
    let deb = &manifest["metadata"]["deb"];
    let root = super::out().join("deb");
    assets::lay_out(&assets::debian(manifest)?, &root)?;
    let version = format!("{}-{REVISION}", text(manifest, "version")?);
    documents(&root, &version)?;

    let native = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture_name = architecture.unwrap_or(native.trim());
    let depends = match architecture {
        None => text(deb, "depends")?.replace("$auto", &libraries(&root)?),
        Some(_) => text(&deb["variants"][VARIANT], "depends")?.to_owned(),
    };
    let control = root.join("DEBIAN");
    fs::create_dir_all(&control)?;
    let file = |name: &str, text: String| {
        let path = control.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    file("md5sums", sums(&root)?)?;
    let fields = fields(manifest, &version, architecture_name, &depends, &root)?;
    file("control", fields)?;
    let configuration = deb["conf-files"].as_array().context("no conf-files")?;
    let lines = configuration.iter().filter_map(|path| Some(format!("{}\n", path.as_str()?)));
    file("conffiles", lines.collect())?;
    let scripts = build::workspace().join("dist/debian");
    for script in SCRIPTS {
        let to = control.join(script);
        fs::copy(scripts.join(script), &to).with_context(|| format!("cannot copy {script}"))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    let package = out.join(format!("vrrp-user_{version}_{architecture_name}.deb"));
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", &format!("-Z{compression}"), "--build"]);
    run(command.arg(&root).arg(&package).stdout(std::process::Stdio::null()))?;
    Ok(package)
}

/// Whether Debian's checker finds no errors; `false` if it is not installed.
/// Errors: what it says.
pub fn lintian(package: &Path) -> Result<bool> {
    if crate::setup::find_program("lintian").is_none() {
        return Ok(false);
    }
    let mut command = Command::new("lintian");
    command.args(["--fail-on", "error", "--display-level", ">=error", "--allow-root"]);
    let said = command.arg(package).output().context("cannot run lintian")?;
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    ensure!(said.status.success(), "lintian: {text} {}", String::from_utf8_lossy(&said.stderr));
    Ok(true)
}

/// Licence and changelog, and what policy wants compressed.
fn documents(root: &Path, version: &str) -> Result<()> {
    let (from, doc) =
        (build::workspace().join("dist/debian"), root.join("usr/share/doc/vrrp-user"));
    for (name, dest) in [("copyright", "copyright"), ("changelog", "changelog.Debian")] {
        let (from, to) = (from.join(name), doc.join(dest));
        let copy = || {
            fs::copy(&from, &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o644))
        };
        copy().with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let changelog = fs::read_to_string(from.join("changelog"))?;
    ensure!(
        changelog.starts_with(&format!("vrrp-user ({version}) ")),
        "dist/debian/changelog does not begin with version {version}"
    );
    assets::compress(&doc.join("changelog.Debian"))?;
    for section in ["man5", "man8"] {
        for page in assets::matching(&root.join("usr/share/man").join(section).join("*"))? {
            assets::compress(&page)?;
        }
    }
    Ok(())
}

/// The packages of the libraries that the program needs.
fn libraries(root: &Path) -> Result<String> {
    // It wants a source package around it.
    let source = super::out().join("shlibdeps");
    fs::create_dir_all(source.join("debian"))?;
    fs::write(
        source.join("debian/control"),
        "Source: vrrp-user\n\nPackage: vrrp-user\nArchitecture: any\n",
    )?;
    let mut command = Command::new("dpkg-shlibdeps");
    command.current_dir(&source).arg("-O").arg(root.join("usr/sbin/vrrp-user"));
    let said = output(&mut command)?;
    let depends = said.trim().strip_prefix("shlibs:Depends=");
    Ok(depends.with_context(|| format!("dpkg-shlibdeps says {said:?}"))?.to_owned())
}

/// The sum of each file, as dpkg wants to find it.
fn sums(root: &Path) -> Result<String> {
    let files = "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum";
    output(Command::new("sh").args(["-c", files]).current_dir(root))
}

/// What dpkg is told of the package.
fn fields(
    manifest: &Value,
    version: &str,
    architecture: &str,
    depends: &str,
    root: &Path,
) -> Result<String> {
    let deb = &manifest["metadata"]["deb"];
    let size = output(Command::new("du").args(["-k", "-s", "--apparent-size"]).arg(root))?;
    let size = size.split_whitespace().next().context("du says nothing")?;
    let mut fields = format!("Package: vrrp-user\nVersion: {version}\n");
    for (name, value) in [
        ("Architecture", architecture),
        ("Maintainer", text(deb, "maintainer")?),
        ("Installed-Size", size),
        ("Depends", depends),
        ("Recommends", text(deb, "recommends")?),
        ("Section", text(deb, "section")?),
        ("Priority", text(deb, "priority")?),
        ("Description", text(manifest, "description")?),
    ] {
        _ = writeln!(fields, "{name}: {value}");
    }
    fields += &wrapped(text(deb, "extended-description")?);
    Ok(fields)
}

/// The further lines of a description, each with the blank that it begins with.
fn wrapped(description: &str) -> String {
    let mut lines = vec![String::new()];
    for word in description.split_whitespace() {
        if let Some(line) = lines.last_mut().filter(|line| line.len() + word.len() < 76) {
            *line += " ";
            *line += word;
        } else {
            lines.push(format!(" {word}"));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_description_begin_with_one_blank() {
        let text = wrapped(&"word ".repeat(40));
        assert!(text.lines().count() > 2);
        for line in text.lines() {
            assert!(line.starts_with(" w") && line.len() < 79, "{line:?}");
        }
    }
}
