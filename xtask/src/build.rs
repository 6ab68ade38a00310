//! `cargo xtask build`: the BPF object, then the daemon that embeds it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::run;
use crate::cross::Target;
use crate::setup::{self, Toolchain};

/// Target triple of the BPF object: the machines that we run on are little-endian.
const TARGET: &str = "bpfel-unknown-none";
/// Cargo profile of the BPF object, in the workspace's Cargo.toml.
const PROFILE: &str = "bpf";

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub struct Args {
    /// Optimise the daemon
    #[arg(long)]
    release: bool,
    /// Build the daemon for another architecture: aarch64-unknown-linux-gnu
    #[arg(long, value_name = "TRIPLE")]
    target: Option<&'static Target>,
}

/// Runs the task.
pub fn build(args: &Args) -> Result<()> {
    println!("{}", daemon(args.release, args.target)?.display());
    Ok(())
}

/// Builds the BPF object and returns its path, which never changes.
pub fn object() -> Result<PathBuf> {
    let (toolchain, linker) = setup::ensure()?;
    let root = workspace();
    // A directory of its own, so that neither build disturbs the other's freshness.
    let target_dir = root.join("target/bpf-build");

    let mut command = cargo();
    match toolchain {
        Toolchain::Debian { rustc } => {
            // The code uses features that are not stable on this target, such as inline assembly.
            command.arg("build").env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
        Toolchain::Rustup => {
            command.args(["+nightly", "build", "-Z", "build-std=core"]).env_remove("RUSTC");
        }
    }
    command.env_remove("RUSTC_WRAPPER").env_remove("RUSTC_WORKSPACE_WRAPPER");
    command.args(["--package", "vrrp-ebpf", "--profile", PROFILE, "--target", TARGET]);
    command.arg("--target-dir").arg(&target_dir);
    // Variables that are never alive at the same time do not share their place on the stack: before Linux 6.14 the
    // verifier of a daemon without CAP_PERFMON permits no short write where a long one was.
    let mut flags = OsString::from(
        "-Cdebuginfo=2\u{1f}-Clink-arg=--btf\u{1f}-Clink-arg=--llvm-args=-no-stack-coloring\u{1f}-Clinker=",
    );
    flags.push(&linker);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags);
    run(&mut command)?;

    let built = target_dir.join(TARGET).join(PROFILE).join("vrrp-ebpf");
    let object = root.join("target/bpf/vrrp-ebpf");
    publish(&built, &object)?;
    Ok(object)
}

/// Builds the BPF object and the daemon, for this machine's architecture or another, and returns the path of the daemon.
pub fn daemon(release: bool, target: Option<&'static Target>) -> Result<PathBuf> {
    let object = object()?;
    let mut built = workspace().join("target");
    let mut command = cargo();
    command.args(["rustc", "--package", "vrrp-user", "--bin", "vrrp-user"]);
    command.env("VRRP_EBPF_OBJECT", object);
    if release {
        command.arg("--release");
    }
    if let Some(target) = target {
        command.args(["--target", target.triple]).envs(target.tools()?.environment());
        built.push(target.triple);
    }
    if release {
        let script = workspace().join("vrrp-user/often.ld");
        command.arg("--").arg(format!("-Clink-arg=-Wl,--script={}", script.display()));
    }
    run(&mut command)?;
    let program = built.join(if release { "release" } else { "debug" }).join("vrrp-user");
    // Cargo gives what it builds at one time one set of features, and the tests want mistakes.
    let planted = Command::new("grep").args(["-q", "7PLANTED"]).arg(&program).status()?;
    ensure!(!planted.success(), "{} has the feature planted-faults", program.display());
    Ok(program)
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Cargo as the user would have called it: without what `cargo xtask` put into the environment for
/// the xtask itself, and with its output where we look for it.
pub fn cargo() -> Command {
    // By name, not by $CARGO: the name is rustup's proxy where there is one, and takes `+nightly`.
    let mut command = Command::new("cargo");
    command.current_dir(workspace());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BUILD_"].iter().any(|p| text.starts_with(p)) {
            command.env_remove(&name);
        }
    }
    command.env_remove("CARGO").env_remove("CARGO_TARGET_DIR").env_remove("RUST_RECURSION_COUNT");
    command
}

/// Copies the object to where everyone looks for it, leaving an identical one alone, because what
/// embeds it is rebuilt when its time stamp changes.
fn publish(built: &Path, object: &Path) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let write = || {
        let dir = object.parent().unwrap_or(object);
        fs::create_dir_all(dir)?;
        // Renamed into place: another build may be reading the old one.
        let temporary = object.with_extension("new");
        fs::write(&temporary, &new)?;
        fs::rename(&temporary, object)
    };
    write().with_context(|| format!("cannot write {}", object.display()))
}
