//! Debian's kernels for other machines than this one, and QEMU, by name of package, into the cache.
//!
//! apt-get gets a configuration of its own: that of the system, and what it has installed, stay as they are.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::setup;

/// What a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Amd64,
    /// Always emulated.
    Arm64,
}

impl Machine {
    /// As Debian calls it.
    fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Packages of the emulator, where not all guests need them.
    fn emulator(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &[],
            Self::Arm64 => &["qemu-system-arm"],
        }
    }
}

/// A kernel of Debian's: `linux-image-VERSION-cloud-ARCHITECTURE`.
pub struct Kernel {
    /// What it is called on the command line.
    pub name: &'static str,
    pub machine: Machine,
    /// The version in the name of the package, as a regular expression; the newest that fits is taken.
    version: &'static str,
}

/// Those that are tried, by age.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "5.10", machine: Machine::Amd64, version: r"5\.10\.[0-9-]*" },
    Kernel { name: "6.1", machine: Machine::Amd64, version: r"6\.1\.[0-9-]*" },
    Kernel { name: "6.12", machine: Machine::Amd64, version: r"6\.12\.[0-9.]*\+deb12" },
    Kernel {
        name: "newest",
        machine: Machine::Amd64,
        version: r"([7-9]|[1-9][0-9])\.[0-9.]*\+deb[0-9]*",
    },
    Kernel { name: "arm64", machine: Machine::Arm64, version: r"6\.1\.[0-9-]*" },
];
/// Where they are.
const SUITES: [&str; 2] = ["bookworm", "bookworm-backports"];
/// From these nothing but kernels is taken. The second one is where security updates are.
const KERNEL_SUITE: &str = "sid";
const OLD_KERNEL_SUITE: &str = "bullseye-security";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The emulator, what is in a guest, and what finds the modules of a kernel. That of Debian 12 itself crashes newer
/// guests.
const TOOLS: [&str; 3] = ["qemu-system-x86", "busybox-static", "kmod"];
/// All that a guest of another architecture has: of this one's programs none runs there.
const GUEST: [&str; 10] = [
    "busybox-static", "dash", "dpkg", "init-system-helpers", "iproute2", "iputils-ping",
    "libc-bin", "libgcc-s1", "systemd-standalone-sysusers", "util-linux",
];
/// Where apt-get leaves what it has downloaded, in its own directory.
const ARCHIVES: &str = "cache/archives";
/// Where dpkg has what is installed.
const STATUS: &str = "var/lib/dpkg/status";
/// Whatever was downloaded is taken for so long.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was downloaded.
pub struct Packages {
    root: PathBuf,
}

impl Packages {
    /// Downloads to the cache what is missing there or old. what is not available is said, and is missing then.
    /// Errors: the cache cannot be written.
    pub fn get(kernels: &[&Kernel]) -> Result<Self> {
        Self::get_to(setup::cache_dir()?.join("kernels"), kernels)
    }

    /// The same to another directory.
    /// Errors: it cannot be written.
    pub fn get_to(root: PathBuf, kernels: &[&Kernel]) -> Result<Self> {
        let packages = Self { root };
        let stale = |path: &Path| {
            let age = fs::metadata(path).and_then(|data| data.modified());
            age.map_or(true, |time| SystemTime::now().duration_since(time).is_ok_and(|a| a > FRESH))
        };
        let tools = stale(&packages.tools());
        let foreign = kernels.iter().any(|kernel| kernel.machine != Machine::Amd64);
        let guest = foreign && stale(&packages.guest_status());
        let emulator = foreign && stale(&packages.emulator());
        let kernels: Vec<_> =
            kernels.iter().filter(|kernel| stale(&packages.kernel(kernel))).collect();
        if !tools && !guest && !emulator && kernels.is_empty() {
            return Ok(packages);
        }
        let say = |what: &str, error: anyhow::Error| println!("{what}: not downloaded: {error:#}");
        for machine in [Machine::Amd64, Machine::Arm64] {
            let of_machine = |kernel: &&&&Kernel| kernel.machine == machine;
            let native = machine == Machine::Amd64;
            let wanted = if native { tools || emulator } else { guest };
            if !wanted && kernels.iter().find(of_machine).is_none() {
                continue;
            }
            let apt = match Apt::configure(&packages.root.join("apt"), machine.architecture()) {
                Ok(apt) => apt,
                Err(error) => {
                    say("packages", error);
                    return Ok(packages);
                }
            };
            // One of the sources may be gone, and the others enough.
            if let Err(error) = apt.update() {
                say("lists of packages", error);
            }
            if native
                && tools
                && let Err(error) = apt.backports(&TOOLS, &packages.tools())
            {
                say("QEMU", error);
            }
            if native
                && emulator
                && let Err(error) = apt.backports(Machine::Arm64.emulator(), &packages.emulator())
            {
                say("QEMU for arm64", error);
            }
            if !native
                && guest
                && let Err(error) = apt.guest(&GUEST, &packages.guest())
            {
                say("programs of the guest", error);
            }
            for kernel in kernels.iter().filter(of_machine) {
                if let Err(error) = apt.kernel(kernel, &packages.kernel(kernel)) {
                    say(kernel.name, error);
                }
            }
            // Everything that is wanted of them is unpacked.
            apt.remove()?;
        }
        Ok(packages)
    }

    fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    fn emulator(&self) -> PathBuf {
        self.root.join("emulator-arm64")
    }

    /// The directory with all that a guest for arm64 has.
    pub fn guest(&self) -> PathBuf {
        self.root.join("guest-arm64")
    }

    /// What dpkg is to know as installed there.
    pub fn guest_status(&self) -> PathBuf {
        self.guest().join(STATUS)
    }

    /// Where programs of this machine may be.
    fn roots(&self) -> [PathBuf; 2] {
        [self.tools(), self.emulator()]
    }

    fn kernel(&self, kernel: &Kernel) -> PathBuf {
        self.root.join(kernel.name)
    }

    /// The image of a kernel, and the directory with its `lib/modules/VERSION`; `None` when there is none.
    pub fn image(&self, kernel: &Kernel) -> Option<Image> {
        let root = self.kernel(kernel);
        // Newer packages have everything under /usr.
        for base in [root.join("usr"), root.clone()] {
            for entry in fs::read_dir(base.join("lib/modules")).into_iter().flatten().flatten() {
                let version = entry.file_name().into_string().ok()?;
                let places = [
                    entry.path().join("vmlinuz"),
                    root.join("boot").join(format!("vmlinuz-{version}")),
                ];
                if let Some(file) = places.into_iter().find(|path| path.is_file()) {
                    return Some(Image { version, file, base });
                }
            }
        }
        None
    }

    /// A program of those that were downloaded, else the system's; apt-get leaves out what is installed.
    pub fn tool(&self, name: &str) -> Option<PathBuf> {
        let directories = ["usr/bin", "bin", "usr/sbin", "sbin"];
        let roots = self.roots();
        let mut ours = roots.iter().flat_map(|root| directories.map(|dir| root.join(dir)));
        let found = ours.find_map(|dir| Some(dir.join(name)).filter(|path| path.is_file()));
        found.or_else(|| setup::find_program(name))
    }

    /// A command of such a program, with the libraries that were downloaded for it.
    pub fn command(&self, name: &str) -> Option<Command> {
        let mut command = Command::new(self.tool(name)?);
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let roots = self.roots();
        let paths = roots.iter().flat_map(|root| libraries.map(|path| root.join(path)));
        let path = std::env::join_paths(paths).ok()?;
        command.env("LD_LIBRARY_PATH", path);
        Some(command)
    }

    /// `depmod`, `modprobe` and so on: one program under many names.
    pub fn kmod(&self, name: &str) -> Option<Command> {
        let mut command = self.command("kmod")?;
        command.arg0(name);
        Some(command)
    }

    /// Where QEMU finds its firmware.
    pub fn firmware(&self) -> impl Iterator<Item = PathBuf> {
        let directories = ["usr/share/qemu", "usr/share/seabios"];
        let roots = self.roots();
        let paths = roots.into_iter().flat_map(move |root| directories.map(|path| root.join(path)));
        paths.filter(|path| path.is_dir())
    }
}

/// A kernel that was downloaded.
pub struct Image {
    /// As `uname -r` says it.
    pub version: String,
    /// What is booted.
    pub file: PathBuf,
    /// The directory with `lib/modules/VERSION`.
    pub base: PathBuf,
}

/// apt-get with a configuration of its own.
pub struct Apt {
    root: PathBuf,
    backports: String,
}

impl Apt {
    /// Configures it for packages of this architecture, everything in the directory `root`. For another one than this
    /// machine's nothing counts as installed.
    /// Errors: This is no Debian for amd64, or the directory cannot be written.
    pub fn configure(root: &Path, architecture: &str) -> Result<Self> {
        if std::env::consts::ARCH != "x86_64" {
            bail!("the packages are those for amd64");
        }
        for directory in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(root.join(directory))?;
        }
        let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .context("this is no Debian")?;
        // From where the system has its packages, through what it has them.
        let sources = output(
            Command::new("apt-get")
                .args(["indextargets", "--format", "$(CREATED_BY) $(RELEASE) $(REPO_URI)"]),
        )?;
        let source = |suite: &str| {
            let start = format!("Packages {suite} ");
            sources.lines().find_map(|line| line.strip_prefix(start.as_str()))
        };
        let mirror = source(codename).context("no package source of Debian's is configured")?;
        let backports = format!("{codename}-backports");
        let mut suites: Vec<&str> = vec![codename, &backports];
        suites.extend(SUITES);
        suites.push(KERNEL_SUITE);
        suites.sort_unstable();
        suites.dedup();
        let line = |mirror, suite| format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
        let mut list: String = suites.into_iter().map(|suite| line(mirror, suite)).collect();
        if let Some(updates) = source(&format!("{codename}-security")) {
            list += &line(updates, OLD_KERNEL_SUITE);
        }
        fs::write(root.join("sources.list"), list)?;
        let pin = |suite| format!("Package: *\nPin: release n={suite}\nPin-Priority: 1\n");
        let pins = [KERNEL_SUITE, OLD_KERNEL_SUITE].map(pin);
        fs::write(root.join("preferences"), pins.join("\n"))?;
        let status = root.join("status");
        if architecture == Machine::Amd64.architecture() {
            fs::copy("/var/lib/dpkg/status", status).context("/var/lib/dpkg/status")?;
        } else {
            fs::write(status, "")?;
        }

        let dir = root.display();
        let mut configuration = output(Command::new("apt-config").args(["dump", "Acquire"]))?;
        configuration.push_str(&format!(
            "\nDir::Etc::main \"-\";\nDir::Etc::parts \"{dir}/parts\";\n\
             Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"{dir}/parts\";\n\
             Dir::Etc::preferences \"{dir}/preferences\";\nDir::Etc::preferencesparts \"{dir}/parts\";\n\
             Dir::State \"{dir}\";\nDir::State::status \"{dir}/status\";\nDir::Cache \"{dir}/cache\";\n\
             APT::Sandbox::User \"\";\nAPT::Get::Assume-Yes \"true\";\nAcquire::Retries \"2\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n",
        ));
        configuration.push_str(&format!(
            "APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n"
        ));
        fs::write(root.join("apt.conf"), configuration)?;
        Ok(Self { root: root.to_owned(), backports })
    }

    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("APT_CONFIG", self.root.join("apt.conf"));
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Reads the lists of packages.
    /// Errors: Not all can be had.
    pub fn update(&self) -> Result<()> {
        output(&mut self.command("apt-get", &["-q", "update"])).map(drop)
    }

    /// Packages of this release, with what they depend on and is not installed, unpacked to a directory.
    /// Errors: they are not available, or the directory cannot be written.
    pub fn install(&self, packages: &[&str], to: &Path) -> Result<()> {
        self.unpack_all(&mut self.command("apt-get", &[]), packages, to)
    }

    /// The same, with what dpkg would know then.
    fn guest(&self, packages: &[&str], to: &Path) -> Result<()> {
        self.install(packages, to)?;
        let mut status = String::new();
        for archive in debs(&self.root.join(ARCHIVES))? {
            status += &output(Command::new("dpkg-deb").arg("-f").arg(archive))?;
            status += "Status: install ok installed\n\n";
        }
        let file = to.join(STATUS);
        fs::create_dir_all(file.parent().unwrap_or(to))?;
        fs::write(&file, status).with_context(|| format!("{}", file.display()))
    }

    /// The same of its backports.
    fn backports(&self, packages: &[&str], to: &Path) -> Result<()> {
        self.unpack_all(&mut self.command("apt-get", &["-t", &self.backports]), packages, to)
    }

    fn unpack_all(&self, command: &mut Command, packages: &[&str], to: &Path) -> Result<()> {
        let archives = self.root.join(ARCHIVES);
        // What was downloaded for others does not belong there.
        fs::remove_dir_all(&archives)?;
        fs::create_dir_all(archives.join("partial"))?;
        command.args(["-q", "--download-only", "--no-install-recommends", "install"]);
        output(command.args(packages))?;
        self.unpack(&archives, to)
    }

    /// Removes the configuration and everything that was downloaded and not unpacked.
    /// Errors: As those of removing files.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.root).with_context(|| format!("{}", self.root.display()))
    }

    /// The newest of a kernel. Newer packages have the modules beside.
    fn kernel(&self, kernel: &Kernel, to: &Path) -> Result<()> {
        let pattern = format!(
            "^linux-(image|binary)-{}-cloud-{}$",
            kernel.version,
            kernel.machine.architecture()
        );
        let mut search = self.command("apt-cache", &["search", "--names-only", &pattern]);
        let found = output(&mut search)?;
        let names = found.lines().filter_map(|line| line.split_whitespace().next());
        let newest = names.max_by_key(|name| (version(name), name.starts_with("linux-binary")));
        let newest = newest.context("there is no such package")?;
        let directory = self.root.join(kernel.name);
        fs::create_dir_all(&directory)?;
        let mut command = self.command("apt-get", &["-q", "download", newest]);
        if newest.starts_with("linux-binary") {
            command.arg(newest.replacen("binary", "modules", 1));
        }
        output(command.current_dir(&directory))?;
        self.unpack(&directory, to)
    }

    /// Unpacks all packages of a directory, and puts that where what was before it is.
    fn unpack(&self, from: &Path, to: &Path) -> Result<()> {
        let fresh = self.root.join("unpacked");
        fs::create_dir_all(&fresh)?;
        for file in debs(from)? {
            output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&fresh))?;
        }
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::rename(&fresh, to).with_context(|| format!("{}", to.display()))?;
        // The packages bring the time stamp of their root.
        fs::File::open(to)?.set_modified(SystemTime::now())?;
        Ok(())
    }
}

/// The packages in a directory.
fn debs(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let is_deb = |path: &Result<PathBuf>| {
        path.as_ref().map_or(true, |path| path.extension().is_some_and(|end| end == "deb"))
    };
    entries.filter(is_deb).collect()
}

/// The numbers in a name, in order: what tells the newer one.
fn version(name: &str) -> Vec<u64> {
    let digits = name.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_not_the_last_in_the_alphabet() {
        let names = ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64"];
        assert_eq!(names.iter().max_by_key(|name| version(name)), Some(&names[1]));
    }
}
