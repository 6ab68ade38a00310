//! `cargo xtask dist`: a Debian package and an RPM.
//!
//! What is generated for them (manual pages, completions) goes into `target/dist/stage`; what goes where is written
//! in `vrrp-user/Cargo.toml`, where cargo-deb and cargo-generate-rpm look for it.

mod manual;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{build, setup};

/// The tools that make the packages, and their versions.
const CARGO_DEB: (&str, &str) = ("cargo-deb", "3.8.0");
const CARGO_GENERATE_RPM: (&str, &str) = ("cargo-generate-rpm", "0.21.1");

/// Shells and where they look for completions, below `stage`.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "vrrp-user"), ("zsh", "_vrrp-user"), ("fish", "vrrp-user.fish")];

/// Arguments of `cargo xtask dist`.
#[derive(clap::Args)]
pub struct Args {
    /// Only generate what goes into the packages, with the debug build, and see whether all of it is there
    #[arg(long)]
    check: bool,
}

/// Runs the task.
pub fn dist(args: &Args) -> Result<()> {
    if args.check {
        return check(&build::daemon(false)?);
    }
    let object = build::object()?;
    let binary = build::daemon(true)?;
    stage(&binary)?;
    // Without what only a debugger reads; the other one stays as it is.
    run(Command::new("strip").arg("-o").arg(staged("vrrp-user")).arg(&binary))?;
    complete()?;
    let out = out();
    let before = [made(&out, "deb")?, made(&out, "rpm")?].concat();
    for package in before {
        fs::remove_file(&package)
            .with_context(|| format!("cannot remove {}", package.display()))?;
    }
    let deb = setup::cargo_tool(CARGO_DEB.0, CARGO_DEB.1)?;
    let mut command = build::cargo_tool(&deb);
    command.args(["--package", "vrrp-user", "--no-build", "--output"]).arg(&out);
    run(command.env("VRRP_EBPF_OBJECT", &object))?;
    let rpm = setup::cargo_tool(CARGO_GENERATE_RPM.0, CARGO_GENERATE_RPM.1)?;
    let mut command = build::cargo_tool(&rpm);
    command.args(["--package", "vrrp-user", "--output"]).arg(&out);
    run(&mut command)?;
    for package in [made(&out, "deb")?, made(&out, "rpm")?].concat() {
        println!("{}", package.display());
    }
    Ok(())
}

/// Generates what goes into the packages, and looks whether all that they list is there.
///
/// # Errors
/// What is missing or empty, by name.
pub fn check(binary: &Path) -> Result<()> {
    stage(binary)?;
    fs::copy(binary, staged("vrrp-user")).context("cannot copy the program")?;
    complete()
}

fn out() -> PathBuf {
    build::workspace().join("target/dist")
}

fn staged(name: &str) -> PathBuf {
    out().join("stage").join(name)
}

fn made(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect())
}

/// Manual pages and completions.
fn stage(binary: &Path) -> Result<()> {
    let stage = staged("");
    if stage.exists() {
        fs::remove_dir_all(&stage).context("cannot remove what was generated before")?;
    }
    let (man, completions) = (staged("man"), staged("completions"));
    for dir in [&man, &completions] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    run(Command::new(binary).arg("man").arg(&man))?;
    for (shell, name) in COMPLETIONS {
        let output = Command::new(binary).args(["completions", shell]).output();
        let output = output.context("cannot run the program")?;
        ensure!(output.status.success(), "no completions for {shell}");
        fs::write(completions.join(name), output.stdout).context("cannot write completions")?;
    }
    let document = fs::read_to_string(build::workspace().join("docs/configuration.md"))
        .context("cannot read docs/configuration.md")?;
    let page = manual::page(
        "VRRP-USER.CONF",
        "5",
        "configuration of the VRRP daemon, as keepalived.conf and as TOML",
        env!("CARGO_PKG_VERSION"),
        &document,
    );
    fs::write(man.join("vrrp-user.conf.5"), page).context("cannot write a manual page")?;
    // One page under two names.
    fs::write(man.join("vrrp.toml.5"), ".so man5/vrrp-user.conf.5\n")
        .context("cannot write a manual page")
}

/// Whether all files are there that the packages list.
fn complete() -> Result<()> {
    let mut metadata = build::cargo();
    let output = metadata.args(["metadata", "--no-deps", "--format-version", "1"]).output();
    let output = output.context("cannot run cargo metadata")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == "vrrp-user");
    let metadata = &package.context("no package vrrp-user")?["metadata"];
    let (deb, rpm) = (&metadata["deb"]["assets"], &metadata["generate-rpm"]["assets"]);
    let mut listed = Vec::new();
    for asset in deb.as_array().context("no assets for Debian")? {
        // cargo-deb looks from the package, cargo-generate-rpm from the workspace.
        listed.push(("vrrp-user", asset[0].as_str().context("an asset has a source")?));
    }
    for asset in rpm.as_array().context("no assets for RPM")? {
        listed.push(("", asset["source"].as_str().context("an asset has a source")?));
    }
    let mut files = 0;
    for (dir, source) in listed {
        let found = matching(&build::workspace().join(dir).join(source))?;
        if found.is_empty() {
            bail!("there is no {source}");
        }
        for file in found {
            let length = fs::metadata(&file).map_or(0, |file| file.len());
            ensure!(length > 0, "{} is empty", file.display());
            files += 1;
        }
    }
    println!("{files} files for the packages are there");
    Ok(())
}

/// The files that a path names, in which the last component may contain `*`.
fn matching(path: &Path) -> Result<Vec<PathBuf>> {
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
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(matches).collect())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
