//! The RPM: a tree of files, a description of them, and rpmbuild.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::assets::{self, Asset, text};
use crate::build;

/// Scripts that rpm runs, and what the manifest calls them.
const SCRIPTS: [(&str, &str); 3] = [
    ("post", "post_install_script"),
    ("preun", "pre_uninstall_script"),
    ("postun", "post_uninstall_script"),
];

/// Makes the package in a folder.
/// Errors: what the package lists is not there, or rpmbuild fails.
pub fn pack(manifest: &Value, out: &Path) -> Result<PathBuf> {
    let files = assets::rpm(manifest)?;
    let tree = super::out().join("rpm-tree");
    assets::lay_out(&files, &tree)?;
    let top = super::out().join("rpmbuild");
    fs::create_dir_all(&top).with_context(|| format!("cannot make {}", top.display()))?;
    let spec = top.join("vrrp-user.spec");
    let text = describe(manifest, &files, &tree)?;
    fs::write(&spec, text).with_context(|| format!("cannot write {}", spec.display()))?;
    let mut command = Command::new("rpmbuild");
    for (name, value) in [
        ("_topdir", top.as_path()),
        ("_rpmdir", out),
        ("_rpmfilename", Path::new("%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm")),
    ] {
        command.arg("--define").arg(format!("{name} {}", value.display()));
    }
    let said = command.arg("-bb").arg(&spec).stdin(Stdio::null()).output();
    let said = said.context("cannot run rpmbuild")?;
    let errors = String::from_utf8_lossy(&said.stderr);
    anyhow::ensure!(said.status.success(), "rpmbuild: {errors}");
    super::made(out, "rpm")?.pop().context("rpmbuild made no package")
}

/// The description. What is in the tree is taken as it is: nothing is stripped, compressed or compiled.
fn describe(manifest: &Value, files: &[Asset], tree: &Path) -> Result<String> {
    let rpm = &manifest["metadata"]["generate-rpm"];
    let mut spec = String::from(
        "%global debug_package %{nil}\n%global __os_install_post %{nil}\n%global _build_id_links none\n",
    );
    for (name, value) in [
        ("Name", "vrrp-user"),
        ("Version", text(manifest, "version")?),
        ("Release", "1"),
        ("Summary", text(rpm, "summary")?),
        ("License", text(rpm, "license")?),
    ] {
        _ = writeln!(spec, "{name}: {value}");
    }
    for (name, _) in rpm["requires"].as_object().into_iter().flatten() {
        _ = writeln!(spec, "Requires: {name}");
    }
    let description = text(&manifest["metadata"]["deb"], "extended-description")?;
    _ = writeln!(spec, "\n%description\n{description}\n\n%install");
    _ = writeln!(spec, "mkdir -p %{{buildroot}}\ncp -a '{}/.' %{{buildroot}}\n", tree.display());
    for (section, name) in SCRIPTS {
        let path = build::workspace().join("vrrp-user").join(text(rpm, name)?);
        let script =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // It would expand macros.
        _ = writeln!(spec, "%{section}\n{}", script.replace('%', "%%"));
    }
    spec += "%files\n";
    for Asset { dest, mode, config, .. } in files {
        let config = if *config { "%config(noreplace) " } else { "" };
        let doc = if dest.starts_with("usr/share/") { "%doc " } else { "" };
        _ = writeln!(spec, "{config}{doc}%attr({mode:o}, root, root) \"/{dest}\"");
    }
    Ok(spec)
}
