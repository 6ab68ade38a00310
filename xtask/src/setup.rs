//! `cargo xtask setup`: the BPF toolchain and the programs that the tests run against.
//!
//! Two ways lead to a BPF object: the distribution's compiler with its prebuilt `core` for BPF, or a
//! nightly toolchain that builds `core` itself. Either needs a bpf-linker made for the same LLVM.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{self, output};

/// Version of bpf-linker that we build with.
const LINKER_VERSION: &str = "0.13.0";
/// The distribution's compiler; never a proxy of rustup, which lives in the home directory.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The file that keeps Debian packages from starting their services (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Programs that the tests and the lab run, and the packages that have them.
const PROGRAMS: &[(&str, &str)] = &[
    ("keepalived", "keepalived"),
    ("/usr/lib/frr/vrrpd", "frr"),
    ("tcpdump", "tcpdump"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("bpftool", "bpftool"),
    ("prometheus", "prometheus"),
    ("radvd", "radvd"),
    ("setpriv", "util-linux"),
    ("systemd-analyze", "systemd"),
    ("ansible-playbook", "ansible-core"),
    ("/usr/lib/python3/dist-packages/apt/__init__.py", "python3-apt"),
];
/// Programs that make packages and look at them, likewise.
pub const PACKERS: &[(&str, &str)] = &[
    ("dpkg-deb", "dpkg"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("rpmbuild", "rpm"),
    ("lintian", "lintian"),
];

/// A compiler for the BPF target.
pub enum Toolchain {
    /// The distribution's, with a prebuilt `core`.
    Debian {
        /// The compiler.
        rustc: PathBuf,
    },
    /// rustup's nightly with rust-src.
    Rustup,
}

impl Toolchain {
    /// The compiler that is installed, if any.
    fn find() -> Option<Self> {
        let debian = Path::new(DEBIAN_RUSTC);
        if debian.exists()
            && let Ok(sysroot) = output(Command::new(debian).args(["--print", "sysroot"]))
            && Path::new(sysroot.trim()).join("lib/rustlib/bpfel-unknown-none/lib").is_dir()
        {
            return Some(Self::Debian { rustc: debian.to_owned() });
        }
        let components = output(
            Command::new("rustup")
                .args(["component", "list", "--toolchain", "nightly", "--installed"]),
        )
        .ok()?;
        components.lines().any(|line| line.starts_with("rust-src")).then_some(Self::Rustup)
    }

    /// The major version of its LLVM.
    fn llvm(&self) -> Result<u32> {
        let mut command = match self {
            Self::Debian { rustc } => Command::new(rustc),
            Self::Rustup => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "rustc"]);
                command
            }
        };
        let version = output(command.arg("-vV")).context("rustc -vV failed")?;
        version
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))
            .and_then(|version| version.split('.').next()?.parse().ok())
            .with_context(|| format!("no LLVM version in what rustc -vV says:\n{version}"))
    }

    fn name(&self) -> String {
        match self {
            Self::Debian { rustc } => rustc.display().to_string(),
            Self::Rustup => "nightly from rustup".to_owned(),
        }
    }
}

/// Runs the task.
pub fn setup() -> Result<()> {
    let (toolchain, linker) = ensure()?;
    println!("BPF compiler  {}", toolchain.name());
    println!("bpf-linker    {}", linker.display());

    if !programs(&[PROGRAMS, PACKERS].concat())? {
        println!("test programs all there");
        println!("Nothing to do.");
    }
    Ok(())
}

/// Installs the packages of those programs that are missing; whether there were any.
/// Errors: apt-get fails.
pub fn programs(programs: &[(&str, &str)]) -> Result<bool> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        apt_install(&missing)?;
    }
    Ok(!missing.is_empty())
}

/// The BPF compiler and its linker, installed first where they are missing. Says nothing when both
/// are there.
pub fn ensure() -> Result<(Toolchain, PathBuf)> {
    let toolchain = match Toolchain::find() {
        Some(toolchain) => toolchain,
        None => install_toolchain()?,
    };
    let llvm = toolchain.llvm()?;
    let root = cache_dir()?.join(format!("bpf-linker-{LINKER_VERSION}-llvm-{llvm}"));
    let linker = root.join("bin/bpf-linker");
    if !linker.exists() {
        install_linker(&root, llvm)?;
    }
    Ok((toolchain, linker))
}

fn install_toolchain() -> Result<Toolchain> {
    // Debian 12 has a newer compiler beside its own under another name.
    let compilers = [("rustc-web", "libstd-rust-web-dev-bpf"), ("rustc", "libstd-rust-dev-bpf")];
    if find_program("apt-get").is_some() {
        apt_update()?;
        for (rustc, core) in compilers {
            if output(Command::new("apt-cache").args(["show", core])).is_ok_and(|s| !s.is_empty()) {
                apt_install(&[rustc, core])?;
                break;
            }
        }
    } else if find_program("rustup").is_some() {
        let mut command = Command::new("rustup");
        command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        run(command.args(["--component", "rust-src"]))?;
    }
    Toolchain::find().context(
        "no compiler for the BPF target: install Debian's rustc with libstd-rust-dev-bpf (Debian 12: \
         rustc-web, libstd-rust-web-dev-bpf), or rustup and `rustup toolchain install nightly \
         --component rust-src`",
    )
}

fn install_linker(root: &Path, llvm: u32) -> Result<()> {
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    if !prefix.join("bin/llvm-config").exists() {
        if find_program("apt-get").is_none() {
            bail!("bpf-linker needs the development files of LLVM {llvm} in {}", prefix.display());
        }
        apt_update()?;
        apt_install(&[&format!("llvm-{llvm}-dev")])?;
    }
    let mut path = prefix.join("bin").into_os_string();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let mut command = Command::new("cargo");
    command.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"]);
    command.args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"]);
    command.arg(root);
    command.env("PATH", path).env("LLVM_PREFIX", &prefix);
    command.env("RUSTFLAGS", format!("-L {}", prefix.join("lib").display()));
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    run(&mut command)
}

/// `$XDG_CACHE_HOME/vrrp-user` or `~/.cache/vrrp-user`: what outlives `cargo clean`.
/// Errors: there is neither variable.
pub fn cache_dir() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("vrrp-user"))
}

fn apt_update() -> Result<()> {
    run(as_root("apt-get").args(["update", "-q"]))
}

/// Installs packages without starting the services in them.
fn apt_install(packages: &[&str]) -> Result<()> {
    apt_update()?;
    let policy = Policy::deny()?;
    let mut command = as_root("apt-get");
    command.args(["install", "-y", "-q", "--no-install-recommends"]).args(packages);
    let done = run(&mut command);
    drop(policy);
    done
}

/// While this lives, packages start no services.
struct Policy;

impl Policy {
    /// `None` where the machine has a policy of its own, which then holds.
    fn deny() -> Result<Option<Self>> {
        if Path::new(POLICY).exists() || !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").context(POLICY)?;
        let policy = Self;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).context(POLICY)?;
        Ok(Some(policy))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(POLICY) {
            eprintln!("warning: remove {POLICY} by hand: {error}");
        }
    }
}

fn as_root(program: &str) -> Command {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.args(["DEBIAN_FRONTEND=noninteractive", program]);
        command
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Shows a command and runs it to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    println!("+ {}", words.join(OsStr::new(" ")).display());
    command::run(command)
}

/// Where a program is; daemons are often outside a user's PATH.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|p| p.is_file())
}
