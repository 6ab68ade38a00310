//! What packages have, as vrrp-user/Cargo.toml lists it, laid out as on the host that they are installed on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::build;
use crate::command::{output, run};

/// One file of a package.
pub struct Asset {
    /// Where it is here.
    pub source: PathBuf,
    /// Where it belongs, without the first `/`.
    pub dest: String,
    /// As chmod(1) takes it.
    pub mode: u32,
    /// Whether what an administrator made of it stays.
    pub config: bool,
}

/// What cargo knows of the daemon's package.
/// Errors: cargo cannot be run, or says something else.
pub fn manifest() -> Result<Value> {
    let mut metadata = build::cargo();
    let text = output(metadata.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let mut metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array_mut().context("no packages")?;
    let package = packages.iter_mut().find(|package| package["name"] == "vrrp-user");
    Ok(package.context("no package vrrp-user")?.take())
}

/// A text in the manifest.
/// Errors: it is not there.
pub fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value[name].as_str().with_context(|| format!("vrrp-user/Cargo.toml does not say `{name}`"))
}

/// The files of the Debian package.
/// Errors: an entry that is not as it should be, or names nothing or an empty file.
pub fn debian(manifest: &Value) -> Result<Vec<Asset>> {
    let deb = &manifest["metadata"]["deb"];
    let configuration = deb["conf-files"].as_array().context("no conf-files")?;
    let mut assets = Vec::new();
    for entry in deb["assets"].as_array().context("no assets for Debian")? {
        let [Value::String(source), Value::String(dest), Value::String(mode)] =
            entry.as_array().map(Vec::as_slice).unwrap_or_default()
        else {
            bail!("an asset for Debian is not [source, dest, mode]: {entry}")
        };
        // From the package, as cargo-deb has it; of the RPM, from the workspace.
        let source = build::workspace().join("vrrp-user").join(source);
        add(&mut assets, &source, dest, mode, |dest| {
            configuration.iter().any(|path| path.as_str() == Some(&format!("/{dest}")))
        })?;
    }
    Ok(assets)
}

/// The files of the RPM.
/// Errors: as those of the Debian package.
pub fn rpm(manifest: &Value) -> Result<Vec<Asset>> {
    let mut assets = Vec::new();
    let entries = &manifest["metadata"]["generate-rpm"]["assets"];
    for entry in entries.as_array().context("no assets for RPM")? {
        let source = build::workspace().join(text(entry, "source")?);
        let dest = text(entry, "dest")?.trim_start_matches('/');
        add(&mut assets, &source, dest, text(entry, "mode")?, |_| !entry["config"].is_null())?;
    }
    Ok(assets)
}

/// Adds the files that an entry names.
fn add(
    assets: &mut Vec<Asset>,
    source: &Path,
    dest: &str,
    mode: &str,
    config: impl Fn(&str) -> bool,
) -> Result<()> {
    let mode = u32::from_str_radix(mode, 8).with_context(|| format!("{dest}: mode {mode}"))?;
    let found = matching(source)?;
    ensure!(!found.is_empty(), "there is no {}", source.display());
    for source in found {
        let length = fs::metadata(&source).map_or(0, |file| file.len());
        ensure!(length > 0, "{} is empty", source.display());
        let name = source.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let dest = if dest.ends_with('/') { format!("{dest}{name}") } else { dest.to_owned() };
        let config = config(&dest);
        assets.push(Asset { source, dest, mode, config });
    }
    Ok(())
}

/// The files that a path names, in which the last component may contain `*`.
/// Errors: the folder cannot be read.
pub fn matching(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((begin, end)) = name.split_once('*') else {
        return Ok(path.is_file().then(|| path.to_owned()).into_iter().collect());
    };
    let dir = path.parent().unwrap_or(path);
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let matches = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(begin) && name.ends_with(end) && path.is_file()
    };
    let mut found: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(matches).collect();
    found.sort();
    Ok(found)
}

/// Copies the files to where they belong below `root`, which is made anew.
/// Errors: a file cannot be copied.
pub fn lay_out(assets: &[Asset], root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for asset in assets {
        let to = root.join(&asset.dest);
        let copy = || {
            fs::create_dir_all(to.parent().unwrap_or(root))?;
            fs::copy(&asset.source, &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(asset.mode))
        };
        copy().with_context(|| format!("cannot copy {}", asset.source.display()))?;
    }
    // Whatever the umask is.
    run(Command::new("find").arg(root).args(["-type", "d", "-exec", "chmod", "755", "{}", "+"]))
}

/// Compresses a file as policy has it, without its name and time.
/// Errors: gzip fails.
pub fn compress(path: &Path) -> Result<()> {
    run(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(path))
}
