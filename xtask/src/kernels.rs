//! Tests on other kernels, in virtual machines: `cargo xtask test --kernels`.
//!
//! Each boots a kernel of Debian's with busybox, the daemon, and one of the scripts beside this file as all that it has.
//! Timings in there mean nothing: where KVM does not work, the machine is emulated.

pub mod packages;
mod paused;
mod table;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::packages::{Image, KERNELS, Kernel, Machine, Packages};
use self::paused::Outside;
use self::table::{Column, Table};
use crate::command::output;
use crate::cross::Target;
use crate::test::{self, Tally, supervise};
use crate::{build, dist, setup};

/// A script and what it is called.
struct Script {
    name: &'static str,
    text: &'static str,
    short: Short,
    /// The machines on which it runs.
    machines: &'static [Machine],
    network: Network,
    /// The test binaries that it runs. They are built for this machine only.
    tests: &'static [&'static str],
    /// A guest that is emulated on a busy machine takes that long, unless it hangs.
    limit: Duration,
}

/// The network cards of a guest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    None,
    /// Two of each of [`CARDS`], on a hub of their own.
    Hubs,
    /// One, on a switch outside, where other hosts are: [`paused`].
    Switch,
}

/// On which kernels a script runs in the short set.
enum Short {
    All,
    On(&'static str),
    No,
}

const SCRIPTS: &[Script] = &[
    Script {
        name: "load",
        text: include_str!("kernels/load.sh"),
        short: Short::All,
        machines: &[Machine::Amd64, Machine::Arm64],
        network: Network::None,
        tests: &[],
        limit: Duration::from_secs(15 * 60),
    },
    Script {
        name: "story",
        text: include_str!("kernels/story.sh"),
        short: Short::On("6.1"),
        machines: &[Machine::Amd64, Machine::Arm64],
        network: Network::None,
        tests: &[],
        limit: Duration::from_secs(15 * 60),
    },
    Script {
        name: "package",
        text: include_str!("kernels/package.sh"),
        short: Short::No,
        machines: &[Machine::Arm64],
        network: Network::None,
        tests: &[],
        limit: Duration::from_secs(15 * 60),
    },
    Script {
        name: "paused",
        text: include_str!("kernels/paused.sh"),
        short: Short::No,
        machines: &[Machine::Amd64],
        network: Network::Switch,
        tests: &[],
        limit: Duration::from_secs(15 * 60),
    },
    Script {
        name: "devices",
        text: include_str!("kernels/devices.sh"),
        short: Short::No,
        machines: &[Machine::Amd64],
        network: Network::Hubs,
        tests: &["devices", "modes", "renamed", "vmac_devices"],
        limit: Duration::from_secs(120 * 60),
    },
];
const INIT: &str = include_str!("kernels/init.sh");
const LIBRARY: &str = include_str!("kernels/lib.sh");
const UNIT: &str = include_str!("kernels/unit.sh");
/// What the guests need of a kernel that is no part of its image.
const MODULES: [&str; 4] = ["veth", "bridge", "sch_ingress", "cls_bpf"];
/// What those need in addition that have network cards.
const CARD_MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];
/// What those need in addition that run tests.
const TEST_MODULES: [&str; 8] =
    ["8021q", "bonding", "ipvlan", "macvlan", "nf_tables", "nft_counter", "nft_objref", "vmxnet3"];
/// The network cards that these have.
const CARDS: [&str; 2] = ["virtio-net-pci", "vmxnet3"];
/// Programs of this system that a guest has, too; busybox has the rest. Its own shell would prefer its own `ip`.
const PROGRAMS: [&str; 5] = ["dash", "ip", "nsenter", "ping", "setpriv"];
/// What those have in addition that run tests.
const TEST_PROGRAMS: [&str; 1] = ["keepalived"];
/// What the package of a guest for arm64 is built for.
const ARM64: &str = "aarch64-unknown-linux-gnu";
/// What such a guest has in addition, to install it.
const INSTALLERS: [&str; 8] = [
    "dpkg", "dpkg-deb", "dpkg-query", "dpkg-split", "dpkg-statoverride", "ldconfig",
    "systemd-sysusers", "tar",
];
/// Where the full set says what came of it.
const DOCUMENT: &str = "docs/platforms.md";
/// What that says of a kernel before what came of it.
const FACTS: [&str; 4] = ["Linux", "QEMU", "revision", "date"];
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

/// Runs a set on these kernels, or on all. With `write`, what came of those that came to the end stands in the
/// documentation afterwards.
/// Errors: there is no such kernel, the cache or the documentation cannot be written, or the daemon cannot be put into a guest.
pub fn test(
    names: &[String],
    set: Set,
    filter: Option<&str>,
    write: bool,
    daemon: &Path,
) -> Result<Tally> {
    let known = |name: &String| name == "all" || KERNELS.iter().any(|kernel| kernel.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        bail!("no kernel {unknown}: there are {} and all", all.join(", "));
    }
    let chosen = |kernel: &&Kernel| names.iter().any(|name| name == "all" || name == kernel.name);
    // For another machine the daemon would have to be built once more.
    let short = |kernel: &&Kernel| set == Set::Full || kernel.machine == Machine::Amd64;
    let kernels: Vec<_> = KERNELS.iter().filter(chosen).filter(short).collect();
    println!("== kernels in virtual machines");
    let packages = Packages::get(&kernels)?;
    let mut lab = Lab::new(packages, daemon)?;
    let revision = if write { revision()? } else { String::new() };
    let mut tally = Tally::default();
    // A filter that is no script's is for the tests that a script runs.
    let scripts = |name: &str| SCRIPTS.iter().any(|script| script.name.contains(name));
    let (filter, tests) = filter.map_or((None, ""), |filter| {
        if scripts(filter) { (Some(filter), "") } else { (None, filter) }
    });
    for kernel in kernels {
        let wanted = |script: &&Script| {
            let short = match script.short {
                Short::All => true,
                Short::On(name) => name == kernel.name,
                Short::No => false,
            };
            script.machines.contains(&kernel.machine)
                && (set == Set::Full || short)
                && filter.is_none_or(|filter| script.name.contains(filter))
                && (tests.is_empty() || !script.tests.is_empty())
        };
        let mut column = Column::default();
        for script in SCRIPTS.iter().filter(wanted) {
            tally += lab.test(kernel, script, tests, &mut column)?;
        }
        if write {
            column.set("revision", revision.as_str());
            column.set("date", output(Command::new("date").args(["-u", "+%F"]))?.trim());
            match column.missing(&rows(&[kernel.machine])?) {
                None => write_column(kernel, &column)?,
                Some(row) => {
                    println!("{DOCUMENT}: nothing of Linux {}, as there is no {row}", kernel.name);
                }
            }
        }
    }
    Ok(tally)
}

/// The revision that is tried. Changes of the documents make no other one.
fn revision() -> Result<String> {
    let git = |arguments: &[&str]| {
        output(Command::new("git").args(arguments).current_dir(build::workspace()))
    };
    let revision = git(&["rev-parse", "--short=10", "HEAD"])?.trim().to_owned();
    let changes =
        git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs"])?;
    Ok(if changes.is_empty() { revision } else { format!("{revision}, changed") })
}

/// The rows of the document that such machines have, in its order.
fn rows(machines: &[Machine]) -> Result<Vec<String>> {
    let scripts =
        || SCRIPTS.iter().filter(|s| s.machines.iter().any(|machine| machines.contains(machine)));
    let mut tests = Vec::new();
    for name in scripts().flat_map(|script| script.tests) {
        let path = build::workspace().join(format!("tests/tests/{name}.rs"));
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let after = text.split("#[test]\nfn ").skip(1);
        tests.extend(after.filter_map(|text| Some(table::row(text.split_once('(')?.0))));
    }
    tests.sort_unstable();
    let facts = FACTS.iter().copied();
    let scripts = scripts().filter(|script| script.tests.is_empty()).map(|script| script.name);
    Ok(facts.chain(scripts).map(str::to_owned).chain(tests).collect())
}

/// Writes what came of a kernel into the document.
fn write_column(kernel: &Kernel, column: &Column) -> Result<()> {
    let path = build::workspace().join(DOCUMENT);
    let document = fs::read_to_string(&path).context(DOCUMENT)?;
    let old = Table::read(&document).context(DOCUMENT)?;
    let known = |name: &str| {
        let found = old.columns.iter().find(|(column, _)| column == name);
        found.map_or_else(Column::default, |(_, column)| column.clone())
    };
    let columns = KERNELS.iter().map(|other| {
        let name = other.name;
        let column = if name == kernel.name { column.clone() } else { known(name) };
        (name.to_owned(), column)
    });
    let table =
        Table { rows: rows(&[Machine::Amd64, Machine::Arm64])?, columns: columns.collect() };
    fs::write(&path, table.write(&document)?).context(DOCUMENT)?;
    println!("{DOCUMENT}: says now what came of Linux {}", kernel.name);
    Ok(())
}

/// What guests are booted with.
struct Lab {
    packages: Packages,
    /// For one guest after the other; goes with it.
    directory: Directory,
    /// Whether a guest runs with KVM; not known before the first one.
    kvm: Option<bool>,
    /// The daemon for this machine.
    daemon: PathBuf,
    /// What the root of the guests is for, and the tests that it has; `None` until it is made.
    root: Option<(Machine, &'static [&'static str])>,
}

impl Lab {
    fn new(packages: Packages, daemon: &Path) -> Result<Self> {
        let directory = Directory::new()?;
        Ok(Self { packages, directory, kvm: None, daemon: daemon.to_owned(), root: None })
    }

    /// Makes the root of the guests of a kind, unless it is there.
    fn root(
        &mut self,
        machine: Machine,
        tests: &'static [&'static str],
        busybox: &Path,
    ) -> Result<()> {
        if self.root == Some((machine, tests)) {
            return Ok(());
        }
        self.root = None;
        let root = self.directory.0.join("root");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        for directory in [
            "bin", "usr/bin", "usr/sbin", "lib", "lib64", "proc", "sys", "dev", "run", "tmp",
            "etc", "root", "tests",
        ] {
            fs::create_dir_all(root.join(directory))?;
        }
        let applets = output(Command::new(busybox).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox" && *applet != "sh") {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        symlink("/usr/sbin/dash", root.join("bin/sh"))?;
        let (mut users, mut groups) =
            ("root:x:0:0::/root:/bin/sh\n".to_owned(), "root:x:0:\n".to_owned());
        match machine {
            Machine::Amd64 => {
                self.native(busybox, tests, &root)?;
                users += "vrrp-user:x:990:990::/:/bin/sh\n";
                groups += "vrrp-user:x:990:\n";
            }
            // The package makes the user.
            Machine::Arm64 => self.foreign(&root)?,
        }
        fs::write(root.join("etc/passwd"), users)?;
        fs::write(root.join("etc/group"), groups)?;
        fs::write(root.join("lib.sh"), LIBRARY)?;
        for (name, text) in [("init", INIT), ("usr/sbin/vrrp-user-unit", UNIT)] {
            fs::write(root.join(name), text)?;
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755))?;
        }
        self.root = Some((machine, tests));
        Ok(())
    }

    /// The programs of a guest for arm64, and all libraries that were downloaded with them: ldd cannot be asked. The
    /// daemon comes as a package, which it installs.
    fn foreign(&self, root: &Path) -> Result<()> {
        let target: &'static Target =
            ARM64.parse().map_err(|error| anyhow::anyhow!("{ARM64}: {error}"))?;
        fs::copy(dist::deb(target)?, root.join("vrrp-user.deb"))?;
        let guest = self.packages.guest();
        copy_found(&guest, "busybox", &root.join("bin"))?;
        for program in PROGRAMS.iter().chain(&INSTALLERS) {
            copy_found(&guest, program, &root.join("usr/sbin"))?;
        }
        for directory in ["info", "updates"] {
            fs::create_dir_all(root.join("var/lib/dpkg").join(directory))?;
        }
        fs::copy(self.packages.guest_status(), root.join("var/lib/dpkg/status"))?;
        copy_found(&guest, "ld-linux-aarch64.so.1", &root.join("lib"))?;
        let libraries = root.join("lib/aarch64-linux-gnu");
        fs::create_dir_all(&libraries)?;
        for directory in ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"] {
            for entry in fs::read_dir(guest.join(directory)).into_iter().flatten().flatten() {
                // Following links.
                if entry.path().is_file() {
                    fs::copy(entry.path(), libraries.join(entry.file_name()))?;
                }
            }
        }
        Ok(())
    }

    /// The programs of a guest that is as this machine.
    fn native(&self, busybox: &Path, tests: &[&str], root: &Path) -> Result<()> {
        fs::copy(busybox, root.join("bin/busybox"))?;
        let more = if tests.is_empty() { &[][..] } else { &TEST_PROGRAMS };
        let mut programs: Vec<PathBuf> = PROGRAMS
            .iter()
            .chain(more)
            .map(|name| setup::find_program(name).with_context(|| format!("{name} is missing")))
            .collect::<Result<_>>()?;
        programs.extend(self.packages.tool("kmod"));
        for program in programs {
            let name = program.file_name().context("no name")?;
            add(&program, root, &Path::new("usr/sbin").join(name))?;
        }
        // Busybox's own knows no compression.
        symlink("kmod", root.join("usr/sbin/insmod"))?;
        add_stripped(&self.daemon, root, Path::new("usr/sbin/vrrp-user"))?;
        for (name, path) in test::binaries_of(tests)? {
            add_stripped(&path, root, &Path::new("tests").join(name))?;
        }
        Ok(())
    }

    /// Boots a kernel with a script, and counts what that says; if it came to the end, `column` has it. Of the tests that
    /// it runs, only those count in whose name `tests` occurs.
    fn test(
        &mut self,
        kernel: &Kernel,
        script: &Script,
        tests: &str,
        column: &mut Column,
    ) -> Result<Tally> {
        let Some(image) = self.packages.image(kernel) else {
            println!("SKIP  Linux {}, {}: the kernel is missing", kernel.name, script.name);
            return Ok(Tally::SKIPPED);
        };
        let busybox = self.packages.tool("busybox");
        let guest = kernel.machine == Machine::Amd64 || self.packages.guest().is_dir();
        let Some(busybox) = busybox.filter(|_| {
            guest
                && self.packages.tool(emulator(kernel.machine)).is_some()
                && self.packages.tool("kmod").is_some()
        }) else {
            println!("SKIP  Linux {}, {}: QEMU is missing", kernel.name, script.name);
            return Ok(Tally::SKIPPED);
        };
        self.root(kernel.machine, script.tests, &busybox)?;
        self.modules(&image, script)?;
        let kvm = match self.kvm {
            _ if kernel.machine != Machine::Amd64 => false,
            Some(kvm) => kvm,
            None => {
                let up = self
                    .boot(kernel.machine, &Wiring::default(), &image, "exit 0\n", true, KVM_LIMIT)?
                    .contains("GUEST-EXIT 0");
                println!("-- KVM {}", if up { "works" } else { "does not work here: emulated" });
                self.kvm = Some(up);
                up
            }
        };
        println!("-- Linux {}, {}", image.version, script.name);
        let text = format!("TESTS='{tests}'\n{}", script.text);
        let outside = match script.network {
            Network::None | Network::Hubs => None,
            Network::Switch => match Outside::new(&self.directory.0)? {
                Ok(outside) => Some(outside),
                Err(why) => {
                    println!("SKIP  Linux {}, {}: {why}", kernel.name, script.name);
                    return Ok(Tally::SKIPPED);
                }
            },
        };
        let wiring = match (script.network, &outside) {
            (Network::Hubs, _) => Wiring::hubs(),
            (_, Some(outside)) => outside.wiring(),
            (Network::None | Network::Switch, None) => Wiring::default(),
        };
        let begin = Instant::now();
        let (console, said) = thread::scope(|scope| {
            let said = outside.as_ref().map(|outside| scope.spawn(|| outside.play()));
            let console = self.boot(kernel.machine, &wiring, &image, &text, kvm, script.limit);
            let said = said.map(|said| said.join().unwrap_or_else(|panic| resume_unwind(panic)));
            (console, said.unwrap_or_default())
        });
        let console = console?;
        let lines: Vec<_> = console.lines().map(str::trim_end).collect();
        let mut tally = Tally::default();
        for line in lines.iter().copied().chain(said.iter().map(String::as_str)) {
            if line.starts_with("OK ") {
                tally += Tally::PASSED;
            } else if line.starts_with("FAIL ") {
                tally += Tally::FAILED;
            } else if line.starts_with("SKIP ") {
                tally += Tally::SKIPPED;
            } else if let Some((program, steps)) =
                line.strip_prefix("STEPS ").and_then(|words| words.split_once(' '))
            {
                tally += steps_of(&image.version, program, steps);
            }
        }
        // The firmware says something before, and the kernel after.
        let start = lines.iter().position(|line| line.contains("GUEST-UP ")).unwrap_or(0);
        let end = lines.iter().position(|line| line.starts_with("GUEST-EXIT "));
        let told = lines.get(start..end.unwrap_or(lines.len())).unwrap_or_default();
        told.iter().for_each(|line| println!("{line}"));
        said.iter().for_each(|line| println!("{line}"));
        println!("-- {} s", begin.elapsed().as_secs());
        if end.is_none() {
            println!("FAIL  the guest did not come to the end");
            tally += Tally::FAILED;
            return Ok(tally);
        }
        column.set("Linux", table::version(&lines));
        column.set("QEMU", self.qemu(kernel.machine, kvm)?);
        if script.tests.is_empty() {
            column.set(script.name, if tally.all_passed() { "yes" } else { "NO" });
        } else {
            column.set_tests(&lines);
        }
        Ok(tally)
    }

    /// What the documentation says of the machine.
    fn qemu(&self, machine: Machine, kvm: bool) -> Result<String> {
        let mut command = self.packages.command(emulator(machine)).context("no QEMU")?;
        // `QEMU emulator version 10.0.8 (Debian 1:10.0.8+ds-0+deb13u1~bpo12+1)`
        let said = output(command.arg("--version"))?;
        let version = said.split_whitespace().nth(3).unwrap_or("?");
        Ok(format!("{version}, {}", if kvm { "KVM" } else { "emulated" }))
    }

    /// Puts the modules of a kernel in order beside the root.
    fn modules(&self, image: &Image, script: &Script) -> Result<()> {
        let to = self.directory.0.join("root/modules");
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        fs::create_dir(&to)?;
        let base = image.base.as_os_str();
        let kmod = |name| self.packages.kmod(name).context("no kmod");
        output(kmod("depmod")?.args([OsStr::new("-b"), base, OsStr::new(&image.version)]))?;
        let mut order: Vec<String> = Vec::new();
        let (cards, more) = match script.network {
            Network::None => (&[][..], &[][..]),
            Network::Switch => (&CARD_MODULES[..], &[][..]),
            Network::Hubs => (&CARD_MODULES[..], &TEST_MODULES[..]),
        };
        for module in MODULES.iter().chain(cards).chain(more) {
            let mut command = kmod("modprobe")?;
            command.args([OsStr::new("-d"), base]).args(["-S", &image.version, "--show-depends"]);
            // Something else than a line `insmod FILE` is built into the kernel. So is what is not known at all, since Debian
            // keeps the list of those in another package; a test that misses it says so.
            let Ok(lines) = output(command.arg(module)) else { continue };
            for line in lines.lines() {
                let Some(file) = line.strip_prefix("insmod ") else { continue };
                // Options of this machine may follow.
                let file = Path::new(file.split_whitespace().next().unwrap_or_default());
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
    fn boot(
        &self,
        machine: Machine,
        wiring: &Wiring,
        image: &Image,
        script: &str,
        kvm: bool,
        limit: Duration,
    ) -> Result<String> {
        let directory = &self.directory.0;
        fs::write(directory.join("root/test.sh"), script)?;
        let (initrd, console) = (directory.join("initrd"), directory.join("console"));
        archive(&self.packages, &directory.join("root"), &initrd)?;
        fs::write(&console, "")?;
        let mut command = self.packages.command(emulator(machine)).context("no QEMU")?;
        for path in self.packages.firmware() {
            command.arg("-L").arg(path);
        }
        command.args(if kvm { ["-accel", "kvm"] } else { ["-accel", "tcg,thread=multi"] });
        let console_name = match machine {
            Machine::Amd64 => {
                command.args(["-cpu", if kvm { "host" } else { "max" }]);
                "ttyS0"
            }
            // The oldest that is in use: it knows no atomic instructions but pairs of load and store.
            Machine::Arm64 => {
                command.args(["-machine", "virt", "-cpu", "cortex-a72"]);
                "ttyAMA0"
            }
        };
        command.args(["-smp", "2", "-m", "1024"]);
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-nic", "none", "-serial"]);
        command.arg(format!("file:{}", console.display()));
        command.args(&wiring.arguments);
        command.arg("-kernel").arg(&image.file).arg("-initrd").arg(&initrd);
        // A guest that waits for its processor while it tries its timer would give up (`IO-APIC + timer doesn't work`).
        let timer = if machine == Machine::Amd64 { "no_timer_check" } else { "" };
        command.arg("-append").arg(format!("console={console_name} quiet panic=-1 {timer}"));
        let mut command = match &wiring.namespace {
            Some(namespace) => within(namespace, &command),
            None => command,
        };
        if kvm {
            // That it does not work is no news.
            command.stderr(Stdio::null());
        }
        supervise(&mut command, limit)?;
        Ok(String::from_utf8_lossy(&fs::read(&console)?).into_owned())
    }
}

/// What a guest is connected to.
#[derive(Default)]
struct Wiring {
    /// Of QEMU.
    arguments: Vec<String>,
    /// The network namespace in which that runs, as ip(8) calls it, if it is not this one.
    namespace: Option<String>,
}

impl Wiring {
    /// Two of each card on a hub of their own.
    fn hubs() -> Self {
        let ends = CARDS.iter().enumerate().flat_map(|hub| [(hub, 0), (hub, 1)]);
        let arguments = ends.flat_map(|((hub, card), end)| {
            let mac = format!("02:76:72:72:{hub:02x}:{end:02x}");
            [
                "-netdev".to_owned(),
                format!("hubport,id=c{hub}{end},hubid={hub}"),
                "-device".to_owned(),
                format!("{card},netdev=c{hub}{end},mac={mac},romfile="),
            ]
        });
        Self { arguments: arguments.collect(), namespace: None }
    }
}

/// A command that runs in a network namespace. It stays the same process.
fn within(namespace: &str, command: &Command) -> Command {
    let mut inside = Command::new("nsenter");
    inside.arg(format!("--net=/run/netns/{namespace}")).arg(command.get_program());
    inside.args(command.get_args());
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside
}

/// The program that is a machine.
fn emulator(machine: Machine) -> &'static str {
    match machine {
        Machine::Amd64 => "qemu-system-x86_64",
        Machine::Arm64 => "qemu-system-aarch64",
    }
}

/// Puts a program there in the root of a guest, and the libraries that it is linked with.
fn add(program: &Path, root: &Path, to: &Path) -> Result<()> {
    fs::copy(program, root.join(to)).with_context(|| format!("{}", program.display()))?;
    for word in output(Command::new("ldd").arg(program))?.split_whitespace() {
        if word.starts_with('/') {
            let to = root.join(word.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("no directory")?)?;
            fs::copy(word, to).with_context(|| word.to_owned())?;
        }
    }
    Ok(())
}

/// The same without what debuggers want.
fn add_stripped(program: &Path, root: &Path, to: &Path) -> Result<()> {
    add(program, root, to)?;
    let stripped = Command::new("strip").arg("--strip-debug").arg(root.join(to)).status();
    // It is only smaller then.
    if !stripped.is_ok_and(|status| status.success()) {
        println!("strip failed: guests are slow");
    }
    Ok(())
}

/// Copies a file out of packages that were unpacked.
fn copy_found(root: &Path, name: &str, to: &Path) -> Result<()> {
    let directories = ["usr/bin", "bin", "usr/sbin", "sbin", "lib", "lib/aarch64-linux-gnu"];
    let mut paths = directories.iter().map(|directory| root.join(directory).join(name));
    let path = paths.find(|path| path.is_file());
    let path = path.with_context(|| format!("no {name} in {}", root.display()))?;
    fs::copy(path, to.join(name)).with_context(|| name.to_owned())?;
    Ok(())
}

/// Whether the verifier had no more work than docs/performance.md says.
fn steps_of(release: &str, program: &str, steps: &str) -> Tally {
    match (vrrp_tests::most_steps(release, program), steps.parse::<u32>()) {
        (Some(most), Ok(steps)) if steps <= most => Tally::PASSED,
        (Some(most), _) => {
            println!("FAIL  {program}: {steps} verifier steps, more than {most}");
            Tally::FAILED
        }
        // A newer kernel than the table has.
        (None, _) => Tally::default(),
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

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// Whoever is not root cannot go where there is no network.
    #[test]
    fn what_cannot_be_downloaded_is_skipped() {
        if !nix::unistd::geteuid().is_root() {
            vrrp_tests::skip("it takes root to be without a network");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let (cache, work) = (directory.path().join("cache"), directory.path().join("work"));
        fs::create_dir(&work).expect("a directory");
        // What a thread leaves, those do not have that it starts.
        let kernel = &KERNELS[0];
        let get = move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own");
            Packages::get_to(cache, &[kernel])
        };
        let packages = thread::spawn(get).join().expect("no panic").expect("no error");
        let mut lab = Lab {
            packages,
            directory: Directory(work),
            kvm: None,
            daemon: PathBuf::new(),
            root: None,
        };
        let mut column = Column::default();
        let tally = lab.test(kernel, &SCRIPTS[0], "", &mut column).expect("no error");
        assert_eq!(tally.to_string(), "1 skipped: `SKIP` above says why\n0 passed, 0 failed");
        let rows = rows(&[kernel.machine]).expect("the tests are there");
        assert_eq!(column.missing(&rows), Some(&rows[0]), "the document would be left alone");
    }

    #[test]
    fn the_document_has_every_test_and_kernel() {
        let document = fs::read_to_string(build::workspace().join(DOCUMENT)).expect("is there");
        let table = Table::read(&document).expect("has a table");
        let all = [Machine::Amd64, Machine::Arm64];
        assert_eq!(table.rows, rows(&all).expect("the tests are there"), "{DOCUMENT}");
        let columns = table.columns.iter().map(|(name, _)| name.as_str());
        let kernels = KERNELS.iter().map(|kernel| kernel.name);
        assert_eq!(columns.collect::<Vec<_>>(), kernels.collect::<Vec<_>>(), "{DOCUMENT}");
    }
}
