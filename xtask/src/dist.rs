//! `cargo xtask dist`: a Debian package and an RPM.
//!
//! What is generated for them (manual pages, completions) goes into `target/dist/stage`; what goes where is written
//! in `vrrp-user/Cargo.toml`, in the words of cargo-deb and cargo-generate-rpm. dpkg-deb and rpmbuild pack it: to compile these two
//! takes longer than everything else here.

mod assets;
mod deb;
mod documents;
mod manual;
mod rpm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::command::{output, run};
use crate::cross::Target;
use crate::{build, setup};

/// The version of glibc that a program for another architecture may need.
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

/// What is being done, and how long it took.
struct Progress {
    step: u32,
    of: u32,
    start: Instant,
}

impl Progress {
    fn new(of: u32) -> Self {
        Self { step: 0, of, start: Instant::now() }
    }

    /// Says what comes next, and how long it takes as a rule, and does it.
    fn step<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.step += 1;
        println!("[{}/{}] {what}", self.step, self.of);
        let start = Instant::now();
        let done = work()?;
        println!("      {:.1} s", start.elapsed().as_secs_f64());
        Ok(done)
    }
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
    let mut progress = Progress::new(5);
    progress.step("programs that make packages", || setup::programs(setup::PACKERS))?;
    progress.step("the kernel's side", build::object)?;
    let what = "the daemon: some minutes where nothing is compiled yet, half of the time at its end without a word";
    let binary = progress.step(what, || build::daemon(true, None))?;
    let (out, manifest) = progress.step("manual pages, completions, documents", || {
        stage(&binary)?;
        strip(&mut Command::new("strip"), &binary)?;
        ready(out())
    })?;
    let packages = progress.step("Debian package, which lintian looks at, and RPM", || {
        let (deb, rpm) = thread::scope(|scope| {
            let rpm = scope.spawn(|| rpm::pack(&manifest, &out));
            let deb = deb::pack(&manifest, &out, None, "xz").and_then(|package| {
                deb::lintian(&package)?;
                Ok(package)
            });
            (deb, rpm.join())
        });
        let Ok(rpm) = rpm else { bail!("making the RPM panicked") };
        Ok([deb?, rpm?])
    })?;
    println!("Done in {:.0} s:", progress.start.elapsed().as_secs_f64());
    for package in packages {
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
    let (out, manifest) = ready(out().join(target.triple))?;
    deb::pack(&manifest, &out, Some(target.debian), "xz")
}

/// Looks whether all is there that the packages list, and removes what was made before. With what cargo knows of the packages.
fn ready(out: PathBuf) -> Result<(PathBuf, Value)> {
    let manifest = assets::manifest()?;
    complete(&manifest)?;
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    for package in [made(&out, "deb")?, made(&out, "rpm")?].concat() {
        fs::remove_file(&package)
            .with_context(|| format!("cannot remove {}", package.display()))?;
    }
    Ok((out, manifest))
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
         vrrp-user/Cargo.toml",
        VARIANT = deb::VARIANT
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

/// Generates what goes into the packages, looks whether all that they list is there, and makes them of this program; where
/// lintian is there, it finds no errors.
/// Errors: what is missing or empty, by name, and what lintian says.
pub fn check(binary: &Path) -> Result<()> {
    stage(binary)?;
    strip(&mut Command::new("strip"), binary)?;
    let (out, manifest) = ready(out().join("check"))?;
    for (program, what) in [("dpkg-deb", "Debian package"), ("rpmbuild", "RPM")] {
        if setup::find_program(program).is_none() {
            println!("no {what} is made: there is no {program}");
            continue;
        }
        // Quick rather than small.
        if what == "RPM" {
            rpm::pack(&manifest, &out)?;
        } else if deb::lintian(&deb::pack(&manifest, &out, None, "gzip")?)? {
            println!("lintian finds no errors");
        }
    }
    Ok(())
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

/// Whether all files are there that the packages list, and documents lead to what is there.
fn complete(manifest: &Value) -> Result<()> {
    let (deb, rpm) = (assets::debian(manifest)?, assets::rpm(manifest)?);
    documents::check(deb.iter().map(|asset| (asset.source.as_path(), asset.dest.as_str())))?;
    println!("{} files for the packages are there", deb.len() + rpm.len());
    Ok(())
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
