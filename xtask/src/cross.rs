//! Building for machines of another architecture than this one.
//!
//! rustup has the standard library for them; the linker and the C library are those of Debian's cross compiler, which is
//! taken from where it is installed or else downloaded, by name of package, into the cache. The BPF object is the same
//! for all: they are little-endian.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::kernels::packages::Apt;
use crate::setup;

/// What the daemon can be built for, apart from the machine that builds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// As rustc calls it.
    pub triple: &'static str,
    /// As dpkg calls it.
    pub debian: &'static str,
    /// What the names of its compiler and linker begin with.
    tools: &'static str,
    /// Packages of the cross compiler.
    packages: &'static [&'static str],
}

/// All of them.
const TARGETS: &[Target] = &[Target {
    triple: "aarch64-unknown-linux-gnu",
    debian: "arm64",
    tools: "aarch64-linux-gnu-",
    packages: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
}];

impl FromStr for &'static Target {
    type Err = String;

    fn from_str(triple: &str) -> Result<Self, Self::Err> {
        TARGETS.iter().find(|target| target.triple == triple).ok_or_else(|| {
            let known: Vec<_> = TARGETS.iter().map(|target| target.triple).collect();
            format!("only {} is known", known.join(", "))
        })
    }
}

/// Where the tools for a target are.
pub struct Tools {
    target: &'static Target,
    /// The directory that the packages were unpacked in; `None` for installed ones.
    root: Option<PathBuf>,
}

impl Target {
    /// What building for this needs, installed or downloaded first where it is missing.
    /// Errors: it is not available.
    pub fn tools(&'static self) -> Result<Tools> {
        self.standard_library()?;
        if setup::find_program(&format!("{}gcc", self.tools)).is_some() {
            return Ok(Tools { target: self, root: None });
        }
        let root = setup::cache_dir()?.join(self.triple);
        let tools = Tools { target: self, root: Some(root.clone()) };
        if !tools.program("gcc").is_file() {
            self.download(&root).with_context(|| {
                format!("no cross compiler: install {}", self.packages.join(" and "))
            })?;
        }
        Ok(tools)
    }

    fn standard_library(&self) -> Result<()> {
        let has = || -> Result<bool> {
            let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
            let sysroot = PathBuf::from(sysroot.trim());
            Ok(sysroot.join("lib/rustlib").join(self.triple).join("lib").is_dir())
        };
        if has()? {
            return Ok(());
        }
        if setup::find_program("rustup").is_some() {
            setup::run(Command::new("rustup").args(["target", "add", self.triple]))?;
        }
        if !has()? {
            bail!(
                "rustc has no standard library for {0}; with rustup: rustup target add {0}",
                self.triple
            );
        }
        Ok(())
    }

    fn download(&self, to: &Path) -> Result<()> {
        println!("downloading {}", self.packages.join(", "));
        let apt = Apt::configure(&to.with_extension("apt"), "amd64")?;
        apt.update()?;
        apt.install(self.packages, to)?;
        apt.remove()
    }
}

impl Tools {
    /// A program of the cross compiler.
    pub fn program(&self, name: &str) -> PathBuf {
        let name = format!("{}{name}", self.target.tools);
        self.root.as_ref().map_or(PathBuf::from(&name), |root| root.join("usr/bin").join(&name))
    }

    /// A command of such a program, with the libraries that were downloaded for it.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        command.envs(self.libraries());
        command
    }

    fn libraries(&self) -> Option<(&'static str, PathBuf)> {
        Some(("LD_LIBRARY_PATH", self.root.as_ref()?.join("usr/lib/x86_64-linux-gnu")))
    }

    /// What cargo needs to know, as variables.
    pub fn environment(&self) -> Vec<(String, OsString)> {
        let name = self.target.triple.replace('-', "_").to_uppercase();
        let mut variables =
            vec![(format!("CARGO_TARGET_{name}_LINKER"), self.program("gcc").into_os_string())];
        if let Some(root) = &self.root {
            // The C library names its parts by where they would be installed.
            let mut flags = OsString::from("-Clink-arg=--sysroot=");
            flags.push(root);
            variables.push((format!("CARGO_TARGET_{name}_RUSTFLAGS"), flags));
        }
        let libraries = self.libraries();
        variables.extend(libraries.map(|(name, path)| (name.to_owned(), path.into_os_string())));
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_a_target() {
        let target: &'static Target = "aarch64-unknown-linux-gnu".parse().expect("known");
        assert_eq!(target.tools, "aarch64-linux-gnu-");
        let unknown = <&'static Target>::from_str("riscv64gc-unknown-linux-gnu");
        assert_eq!(unknown, Err("only aarch64-unknown-linux-gnu is known".to_owned()));
    }
}
