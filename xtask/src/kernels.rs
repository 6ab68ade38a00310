//! Tests on other kernels, in virtual machines: `cargo xtask test --kernels`.
//!
//! Each boots a kernel of Debian's with busybox, the daemon, and one of the scripts beside this file as all that it has.
//! Timings in there mean nothing: where KVM does not work, the machine is emulated.

mod packages;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::packages::{Image, KERNELS, Kernel, Packages};
use crate::test::{Tally, supervise};
use crate::{build, setup};

/// A script and what it is called.
struct Script {
    name: &'static str,
    text: &'static str,
    short: Short,
}

/// On which kernels a script runs in the short set.
enum Short {
    All,
    On(&'static str),
}

const SCRIPTS: &[Script] = &[
    Script { name: "load", text: include_str!("kernels/load.sh"), short: Short::All },
    Script { name: "story", text: include_str!("kernels/story.sh"), short: Short::On("6.1") },
];
const INIT: &str = include_str!("kernels/init.sh");
const LIBRARY: &str = include_str!("kernels/lib.sh");
/// What the guests need of a kernel that is no part of its image.
const MODULES: [&str; 3] = ["veth", "bridge", "sch_ingress"];
/// Programs of this system that a guest has, too; busybox has the rest. Its own shell would prefer its own `ip`.
const PROGRAMS: [&str; 5] = ["dash", "ip", "nsenter", "ping", "setpriv"];
/// A guest that is emulated on a busy machine takes that long, unless it hangs.
const LIMIT: Duration = Duration::from_secs(6 * 60);
/// With KVM, one is up in a second or two.
const KVM_LIMIT: Duration = Duration::from_secs(30);

/// What runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// What `cargo xtask test` runs in the end.
    Short,
    /// Everything.
    Full,
}

/// Runs a set on these kernels, or on all.
///
/// # Errors
/// There is no such kernel, the cache cannot be written, or the daemon cannot be put into a guest.
pub fn test(names: &[String], set: Set, filter: Option<&str>, daemon: &Path) -> Result<Tally> {
    let known = |name: &String| name == "all" || KERNELS.iter().any(|kernel| kernel.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        bail!("no kernel {unknown}: there are {} and all", all.join(", "));
    }
    let chosen = |kernel: &&Kernel| names.iter().any(|name| name == "all" || name == kernel.name);
    let kernels: Vec<_> = KERNELS.iter().filter(chosen).collect();
    println!("== kernels in virtual machines");
    let packages = Packages::get(&kernels)?;
    let mut lab = Lab::new(packages, daemon)?;
    let mut tally = Tally::default();
    for kernel in kernels {
        let wanted = |script: &&Script| {
            let short = match script.short {
                Short::All => true,
                Short::On(name) => name == kernel.name,
            };
            (set == Set::Full || short) && filter.is_none_or(|filter| script.name.contains(filter))
        };
        for script in SCRIPTS.iter().filter(wanted) {
            tally += lab.test(kernel, script)?;
        }
    }
    Ok(tally)
}

/// What guests are booted with.
struct Lab {
    packages: Packages,
    /// For one guest after the other; goes with it.
    directory: Directory,
    /// Whether a guest runs with KVM; not known before the first one.
    kvm: Option<bool>,
}

impl Lab {
    /// Makes the root of all guests, where it can be made.
    fn new(packages: Packages, daemon: &Path) -> Result<Self> {
        let directory = Directory::new()?;
        let lab = Self { packages, directory, kvm: None };
        if let Some(busybox) = lab.packages.tool("busybox") {
            lab.root(&busybox, daemon)?;
        }
        Ok(lab)
    }

    fn root(&self, busybox: &Path, daemon: &Path) -> Result<()> {
        let root = self.directory.0.join("root");
        for directory in
            ["bin", "usr/sbin", "lib64", "proc", "sys", "dev", "run", "tmp", "etc", "root"]
        {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::copy(busybox, root.join("bin/busybox"))?;
        let applets = output(Command::new(busybox).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox" && *applet != "sh") {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        let mut programs: Vec<PathBuf> = PROGRAMS
            .iter()
            .map(|name| setup::find_program(name).with_context(|| format!("{name} is missing")))
            .collect::<Result<_>>()?;
        programs.extend(self.packages.tool("kmod"));
        for program in programs {
            self.add(&program, &root)?;
        }
        symlink("/usr/sbin/dash", root.join("bin/sh"))?;
        // Busybox's own knows no compression.
        symlink("kmod", root.join("usr/sbin/insmod"))?;
        self.add(daemon, &root)?;
        let stripped = Command::new("strip")
            .arg("--strip-debug")
            .arg(root.join("usr/sbin").join(daemon.file_name().context("no name")?))
            .status();
        // It is only smaller then.
        if !stripped.is_ok_and(|status| status.success()) {
            println!("strip failed: guests are slow");
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nvrrp:x:990:990::/:/bin/sh\n",
        )?;
        fs::write(root.join("etc/group"), "root:x:0:\nvrrp:x:990:\n")?;
        fs::write(root.join("lib.sh"), LIBRARY)?;
        fs::write(root.join("init"), INIT)?;
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A program and the libraries that it is linked with.
    fn add(&self, program: &Path, root: &Path) -> Result<()> {
        let name = program.file_name().with_context(|| format!("{}", program.display()))?;
        let to = root.join("usr/sbin").join(name);
        fs::copy(program, &to).with_context(|| format!("{}", program.display()))?;
        for word in output(Command::new("ldd").arg(program))?.split_whitespace() {
            if word.starts_with('/') {
                let to = root.join(word.trim_start_matches('/'));
                fs::create_dir_all(to.parent().context("no directory")?)?;
                fs::copy(word, to).with_context(|| word.to_owned())?;
            }
        }
        Ok(())
    }

    /// Boots a kernel with a script, and counts what that says.
    fn test(&mut self, kernel: &Kernel, script: &Script) -> Result<Tally> {
        let Some(image) = self.packages.image(kernel) else {
            println!(
                "-- Linux {}, {}: skipped, as the kernel is missing",
                kernel.name, script.name
            );
            return Ok(Tally::SKIPPED);
        };
        if self.packages.tool("qemu-system-x86_64").is_none()
            || self.packages.tool("busybox").is_none()
            || self.packages.tool("kmod").is_none()
        {
            println!("-- Linux {}, {}: skipped, as QEMU is missing", kernel.name, script.name);
            return Ok(Tally::SKIPPED);
        }
        self.modules(&image)?;
        let kvm = match self.kvm {
            Some(kvm) => kvm,
            None => {
                let up = self.boot(&image, "exit 0\n", true, KVM_LIMIT)?.contains("GUEST-EXIT 0");
                println!("-- KVM {}", if up { "works" } else { "does not work here: emulated" });
                self.kvm = Some(up);
                up
            }
        };
        println!("-- Linux {}, {}", image.version, script.name);
        let console = self.boot(&image, script.text, kvm, LIMIT)?;
        let lines: Vec<_> = console.lines().map(str::trim_end).collect();
        let mut tally = Tally::default();
        for line in &lines {
            if line.starts_with("OK ") {
                tally += Tally::PASSED;
            } else if line.starts_with("FAIL ") {
                tally += Tally::FAILED;
            }
        }
        // The firmware says something before, and the kernel after.
        let start = lines.iter().position(|line| line.contains("GUEST-UP ")).unwrap_or(0);
        let end = lines.iter().position(|line| line.starts_with("GUEST-EXIT "));
        let told = lines.get(start..end.unwrap_or(lines.len())).unwrap_or_default();
        told.iter().for_each(|line| println!("{line}"));
        if end.is_none() {
            println!("FAIL  the guest did not come to the end");
            tally += Tally::FAILED;
        }
        Ok(tally)
    }

    /// Puts the modules of a kernel in order beside the root.
    fn modules(&self, image: &Image) -> Result<()> {
        let to = self.directory.0.join("root/modules");
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        fs::create_dir(&to)?;
        let base = image.base.as_os_str();
        let kmod = |name| self.packages.kmod(name).context("no kmod");
        output(kmod("depmod")?.args([OsStr::new("-b"), base, OsStr::new(&image.version)]))?;
        let mut order: Vec<String> = Vec::new();
        for module in MODULES {
            let mut command = kmod("modprobe")?;
            command.args([OsStr::new("-d"), base]).args(["-S", &image.version, "--show-depends"]);
            // Something else than a line `insmod FILE` is built into the kernel.
            for line in output(command.arg(module))?.lines() {
                let Some(file) = line.strip_prefix("insmod ") else { continue };
                let file = Path::new(file.trim());
                let name = file.file_name().context("no name")?.to_string_lossy().into_owned();
                if !order.contains(&name) {
                    fs::copy(file, to.join(&name))
                        .with_context(|| format!("{}", file.display()))?;
                    order.push(name);
                }
            }
        }
        fs::write(to.join("order"), order.join("\n"))?;
        Ok(())
    }

    /// Boots a kernel with a script, and returns what came out of the serial line.
    fn boot(&self, image: &Image, script: &str, kvm: bool, limit: Duration) -> Result<String> {
        let directory = &self.directory.0;
        fs::write(directory.join("root/test.sh"), script)?;
        let (initrd, console) = (directory.join("initrd"), directory.join("console"));
        archive(&self.packages, &directory.join("root"), &initrd)?;
        fs::write(&console, "")?;
        let mut command = self.packages.command("qemu-system-x86_64").context("no QEMU")?;
        for path in self.packages.firmware() {
            command.arg("-L").arg(path);
        }
        command.args(if kvm { ["-accel", "kvm"] } else { ["-accel", "tcg,thread=multi"] });
        command.args(["-cpu", if kvm { "host" } else { "max" }, "-smp", "2", "-m", "1024"]);
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-nic", "none", "-serial"]);
        command.arg(format!("file:{}", console.display()));
        command.arg("-kernel").arg(&image.file).arg("-initrd").arg(&initrd);
        command.args(["-append", "console=ttyS0 quiet panic=-1"]);
        if kvm {
            // That it does not work is no news.
            command.stderr(Stdio::null());
        }
        supervise(&mut command, limit)?;
        Ok(String::from_utf8_lossy(&fs::read(&console)?).into_owned())
    }
}

/// Packs a directory as the kernel wants it (Documentation/driver-api/early-userspace/buffer-format.rst).
fn archive(packages: &Packages, root: &Path, to: &Path) -> Result<()> {
    let busybox = packages.tool("busybox").context("no busybox")?;
    let names = output(Command::new("find").arg(".").current_dir(root))?;
    let mut cpio = Command::new(busybox)
        .args(["cpio", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(to)?)
        .stderr(Stdio::null())
        .spawn()
        .context("cpio")?;
    cpio.stdin.take().context("no pipe to cpio")?.write_all(names.as_bytes())?;
    if !cpio.wait()?.success() {
        bail!("cpio failed");
    }
    Ok(())
}

/// A directory that goes with this value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self> {
        let path = build::workspace().join("target/kernels");
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("{}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: {}: {error}", self.0.display());
        }
    }
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| program.clone())?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
