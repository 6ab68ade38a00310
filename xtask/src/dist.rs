//! `cargo xtask dist`: a Debian package and an RPM.
//!
//! What is generated for them (manual pages, completions) goes into `target/dist/stage`; what goes where is written
//! in `vrrp-user/Cargo.toml`, where cargo-deb and cargo-generate-rpm look for it.

mod documents;
mod manual;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{output, run};
use crate::cross::Target;
use crate::{build, setup};

/// The tools that make the packages, and their versions.
const CARGO_DEB: (&str, &str) = ("cargo-deb", "3.8.0");
const CARGO_GENERATE_RPM: (&str, &str) = ("cargo-generate-rpm", "0.21.1");

/// What vrrp-user/Cargo.toml says of the Debian package for another architecture, whose libraries dpkg-shlibdeps does not
/// find here; and the version of glibc that it depends on there.
const VARIANT: &str = "cross";
const GLIBC: [u32; 2] = [2, 34];

/// Shells and where they look for completions, below `stage`.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "vrrp-user"), ("zsh", "_vrrp-user"), ("fish", "vrrp-user.fish")];

/// Arguments of `cargo xtask dist`.
#[derive(clap::Args)]
pub struct Args {
    /// Only generate what goes into the packages, with the debug build, and see whether all of it is there
    #[arg(long)]
    check: bool,
    /// Make the Debian package for another architecture, and no RPM: aarch64-unknown-linux-gnu
    #[arg(long, value_name = "TRIPLE", conflicts_with = "check")]
    target: Option<&'static Target>,
}

/// Runs the task.
pub fn dist(args: &Args) -> Result<()> {
    if args.check {
        return check(&build::daemon(false, None)?);
    }
    if let Some(target) = args.target {
        println!("{}", deb(target)?.display());
        return Ok(());
    }
    let binary = build::daemon(true, None)?;
    stage(&binary)?;
    strip(&mut Command::new("strip"), &binary)?;
    let out = ready(out())?;
    pack_deb(&out, &[])?;
    let rpm = setup::cargo_tool(CARGO_GENERATE_RPM.0, CARGO_GENERATE_RPM.1)?;
    let mut command = build::cargo_tool(&rpm);
    command.args(["--package", "vrrp-user", "--output"]).arg(&out);
    run(&mut command)?;
    for package in [made(&out, "deb")?, made(&out, "rpm")?].concat() {
        println!("{}", package.display());
    }
    Ok(())
}

/// Makes the Debian package for another architecture.
/// Errors: what is missing for it, or what failed.
pub fn deb(target: &'static Target) -> Result<PathBuf> {
    let binary = build::daemon(true, Some(target))?;
    // The one for the other machine does not run here.
    stage(&build::daemon(false, None)?)?;
    let tools = target.tools()?;
    strip(&mut tools.command("strip"), &binary)?;
    runs_with(tools.command("objdump").arg("-p").arg(staged("vrrp-user")))?;
    let out = ready(out().join(target.triple))?;
    pack_deb(&out, &["--target", target.triple, "--variant", VARIANT])?;
    made(&out, "deb")?.pop().context("cargo-deb made no package")
}

/// Looks whether all is there that the packages list, and removes what was made before.
fn ready(out: PathBuf) -> Result<PathBuf> {
    complete()?;
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    for package in [made(&out, "deb")?, made(&out, "rpm")?].concat() {
        fs::remove_file(&package)
            .with_context(|| format!("cannot remove {}", package.display()))?;
    }
    Ok(out)
}

fn pack_deb(out: &Path, more: &[&str]) -> Result<()> {
    let deb = setup::cargo_tool(CARGO_DEB.0, CARGO_DEB.1)?;
    let mut command = build::cargo_tool(&deb);
    command.args(["--package", "vrrp-user", "--no-build", "--output"]).arg(out).args(more);
    run(command.env("VRRP_EBPF_OBJECT", build::object()?))
}

/// Puts the program where the packages look for it, without what only a debugger reads; the other one stays as it is.
fn strip(command: &mut Command, binary: &Path) -> Result<()> {
    run(command.arg("-o").arg(staged("vrrp-user")).arg(binary))
}

/// Whether the program runs with the version of glibc that its package depends on, by what objdump says of it.
fn runs_with(objdump: &mut Command) -> Result<()> {
    let newest = glibc(&output(objdump)?).context("it needs no glibc")?;
    ensure!(
        newest <= GLIBC,
        "the program needs glibc {newest:?}, and its package depends on {GLIBC:?}: see the variant {VARIANT} in \
         vrrp-user/Cargo.toml"
    );
    Ok(())
}

/// The newest version of glibc among the words.
fn glibc(text: &str) -> Option<[u32; 2]> {
    let versions = text.split_whitespace().filter_map(|word| {
        let (major, minor) = word.strip_prefix("GLIBC_")?.split_once('.')?;
        Some([major.parse().ok()?, minor.parse().ok()?])
    });
    versions.max()
}

/// Generates what goes into the packages, and looks whether all that they list is there.
/// Errors: what is missing or empty, by name.
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
        let text = output(Command::new(binary).args(["completions", shell]))?;
        fs::write(completions.join(name), text).context("cannot write completions")?;
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
        .context("cannot write a manual page")?;
    let doc = staged("doc");
    fs::create_dir_all(&doc).with_context(|| format!("cannot make {}", doc.display()))?;
    for name in documents::OUTSIDE {
        let text = fs::read_to_string(build::workspace().join(name));
        let text = text.with_context(|| format!("cannot read {name}"))?;
        fs::write(doc.join(name), documents::flat(&text)).context("cannot write a document")?;
    }
    Ok(())
}

/// Whether all files are there that the packages list.
fn complete() -> Result<()> {
    let mut metadata = build::cargo();
    let text = output(metadata.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == "vrrp-user");
    let metadata = &package.context("no package vrrp-user")?["metadata"];
    let (deb, rpm) = (&metadata["deb"]["assets"], &metadata["generate-rpm"]["assets"]);
    let mut listed = Vec::new();
    documents::check(deb.as_array().into_iter().flatten().filter_map(|asset| {
        Some((build::workspace().join("vrrp-user").join(asset[0].as_str()?), asset[1].as_str()?))
    }))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_not_the_last_in_the_alphabet() {
        let text =
            "  NEEDED libc.so.6\n 0x06 0x00 10 GLIBC_2.9\n 0x06 0x00 09 GLIBC_2.34\n GCC_4.2.0\n";
        assert_eq!(glibc(text), Some([2, 34]));
        assert_eq!(glibc("NEEDED libgcc_s.so.1"), None);
    }
}
