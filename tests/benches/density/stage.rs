//! The host under test, its links, and the daemons that are compared on it.

use std::fmt::{self, Write as _};
use std::fs;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;
use vrrp_tests::{Error, Lab, Namespace, Process, Result, VrrpUser};
use vrrp_user::engine::election::{DOWN_ADVERTS, master_down_interval};
use vrrp_user::engine::time::Centisecs;
use vrrp_user::engine::types::{AdvertInterval, Priority};

use crate::frr;
use crate::wire::{self, Flood, Pacing, Seen, Worker};

/// Routers on each link: there are no more VRIDs.
pub const PER_LINK: usize = 255;

/// The name of a link on both sides.
pub fn link_name(link: usize) -> String {
    format!("v{link}")
}

/// So many routers at such an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Virtual routers, at most 16 links full.
    pub routers: usize,
    /// Advertisement interval, milliseconds: whole seconds are version 2, all else version 3.
    pub interval_ms: u64,
    /// Links over which they are spread.
    pub links: usize,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms", self.routers, self.interval_ms)?;
        if self.links > self.routers.div_ceil(PER_LINK) {
            write!(f, " on {} links", self.links)?;
        }
        Ok(())
    }
}

impl Load {
    /// On as few links as have the VRIDs for it.
    pub const fn new(routers: usize, interval_ms: u64) -> Self {
        Self { routers, interval_ms, links: routers.div_ceil(PER_LINK) }
    }

    /// Spread over so many links instead, if that is possible.
    pub fn over(self, links: usize) -> Self {
        Self { links: links.min(self.routers).max(self.links), ..self }
    }

    /// Routers on each link, but for the last one.
    pub fn per_link(self) -> usize {
        self.routers.div_ceil(self.links)
    }

    /// The link of a router.
    pub fn link(self, router: usize) -> usize {
        router / self.per_link()
    }

    /// The number of a router on its link.
    pub fn vrid(self, router: usize) -> u8 {
        u8::try_from(router % self.per_link() + 1).unwrap_or(u8::MAX)
    }

    /// The address of a router; its third byte is the VRID.
    pub fn vip(self, router: usize) -> Ipv4Addr {
        let link = u8::try_from(100 + self.link(router)).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, link, self.vrid(router), 1)
    }

    /// The interval as it stands on the wire.
    pub fn interval(self) -> AdvertInterval {
        if self.interval_ms.is_multiple_of(1000) {
            AdvertInterval::Secs(u8::try_from(self.interval_ms / 1000).unwrap_or(u8::MAX))
        } else {
            AdvertInterval::Centisecs(Centisecs(
                u16::try_from(self.interval_ms / 10).unwrap_or(4095),
            ))
        }
    }

    /// How long a router of this priority waits for a silent master.
    pub fn master_down(self, priority: u8) -> Duration {
        master_down_interval(Priority(priority), self.interval(), DOWN_ADVERTS).into()
    }

    /// A configuration in which each router whose number is a multiple of `every` has a priority that is one more.
    pub fn changed_configuration(self, priority: u8, every: Option<usize>) -> String {
        self.text(priority, every, false)
    }

    fn text(self, priority: u8, every: Option<usize>, virtual_mac: bool) -> String {
        let version = match self.interval() {
            AdvertInterval::Secs(_) => 2,
            AdvertInterval::Centisecs(_) => 3,
        };
        let interval = Duration::from_millis(self.interval_ms).as_secs_f64();
        // Without being told, keepalived lets an owner of addresses wait as if it were a backup.
        let state = if Priority(priority) == Priority::OWNER { "MASTER" } else { "BACKUP" };
        let mut text = String::new();
        for router in 0..self.routers {
            let differs = every.is_some_and(|every| router.is_multiple_of(every));
            let priority = priority.saturating_add(u8::from(differs));
            // The names that keepalived gives its devices by itself are those of one link.
            let more = if virtual_mac { format!("use_vmac m{router}\n ") } else { String::new() };
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "vrrp_instance R{router} {{\n state {state}\n version {version}\n interface {}\n {more}\
                 virtual_router_id {}\n priority {priority}\n advert_int {interval}\n \
                 virtual_ipaddress {{\n {}/32\n }}\n}}",
                link_name(self.link(router)),
                self.vrid(router),
                self.vip(router),
            );
        }
        text
    }
}

/// Where a daemon runs, and where it has its files.
pub struct Place {
    /// Its network namespace.
    pub host: Arc<Namespace>,
    /// Its directory.
    pub dir: PathBuf,
    /// Whether the routers have virtual MAC addresses.
    virtual_mac: bool,
    bpffs: PathBuf,
    /// Name of our own daemon.
    instance: String,
}

impl Place {
    /// A host of a lab with an empty namespace.
    pub fn new(lab: &Lab, name: &str, virtual_mac: bool) -> Result<Self> {
        let host = Arc::new(Namespace::create(&format!("{}-{name}", lab.name()))?);
        let dir = lab.dir().join(name);
        fs::create_dir_all(&dir).map_err(Error::io("make a directory"))?;
        // keepalived joins all groups on one socket.
        host.enter(|| fs::write("/proc/sys/net/ipv4/igmp_max_memberships", "100"))?
            .map_err(Error::io("set igmp_max_memberships"))?;
        let instance = format!("{}-{name}-bench", lab.name());
        Ok(Self { host, dir, virtual_mac, bpffs: lab.bpffs(), instance })
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Network devices.
    pub fn devices(&self) -> Result<usize> {
        Ok(self.host.ip(&["-o", "link"])?.lines().count())
    }

    /// Carries out many commands of `ip` in one process.
    pub fn ip_batch(&self, commands: &str) -> Result<()> {
        fs::write(self.path("ip"), commands).map_err(Error::io("write commands of ip"))?;
        self.host.ip(&["-batch", &self.path("ip")]).map(drop)
    }

    /// Removes the links and all devices above them. Those of a namespace that is removed go later, beside what is measured next.
    pub fn clear(&self, load: Load) {
        for link in 0..load.links {
            // Without it they go with the namespace.
            let _ = self.host.ip(&["link", "delete", &link_name(link)]);
        }
    }
}

/// Two namespaces, joined by as many links as the load needs.
pub struct Stage {
    load: Load,
    /// The host under test.
    pub place: Place,
    other: Arc<Namespace>,
    /// Dropped last: it takes the namespaces and everything in them away.
    _lab: Lab,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.place.clear(self.load);
    }
}

impl Stage {
    /// Makes it.
    pub fn new(load: Load) -> Result<Self> {
        Self::with(load, false)
    }

    /// The same for routers with virtual MAC addresses.
    pub fn with_virtual_macs(load: Load) -> Result<Self> {
        Self::with(load, true)
    }

    fn with(load: Load, virtual_mac: bool) -> Result<Self> {
        let lab = Lab::new()?;
        let place = Place::new(&lab, "host", virtual_mac)?;
        let other = Arc::new(Namespace::create(&format!("{}-other", lab.name()))?);
        for link in 0..load.links {
            let name = link_name(link);
            let there = ["type", "veth", "peer", "name", &name, "netns", other.name()];
            place.host.ip(&[&["link", "add", &name][..], &there[..]].concat())?;
            for (namespace, last) in [(&place.host, 1), (&other, 2)] {
                let address = format!("10.{}.0.{last}/24", link + 1);
                namespace.ip(&["address", "add", &address, "dev", &name])?;
                namespace.ip(&["link", "set", &name, "up"])?;
            }
        }
        Ok(Self { load, place, other, _lab: lab })
    }

    /// Puts the program that runs into its own place.
    pub fn upgrade(&self) -> Result<()> {
        let program = VrrpUser::binary()?.display().to_string();
        let args = ["upgrade", "--instance", &self.place.instance, "--binary", &program];
        self.place.host.run(&program, &args).map(drop)
    }

    /// A master of these routers on the other side, of priority 200.
    pub fn advertise(&self, routers: Range<usize>, pacing: Pacing) -> Worker<Vec<u64>> {
        wire::advertise(&self.other, self.load, routers, 200, pacing)
    }

    /// Listens on the other side.
    pub fn receive(&self) -> Result<Worker<Seen>> {
        let receiver = wire::receive(&self.other, self.load);
        vrrp_tests::pause(Duration::from_millis(50))?;
        Ok(receiver)
    }

    /// Floods from the other side.
    pub fn flood(&self, what: Flood) -> Result<Worker<f64>> {
        let flood = wire::flood(&self.other, self.load, what);
        vrrp_tests::pause(Duration::from_millis(500))?;
        Ok(flood)
    }

    /// What sending all the advertisements costs by itself, milliseconds of CPU per second.
    pub fn bare_cpu(&self, duration: Duration) -> Result<f64> {
        wire::bare_cpu(&self.place.host, self.load, duration)
    }

    /// Routers whose address is on the host under test.
    pub fn addresses(&self) -> Result<usize> {
        let listed = self.place.host.ip(&["-4", "-o", "address"])?;
        Ok(listed.lines().filter(|line| line.contains(" 10.1") && line.contains("/32")).count())
    }
}

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    VrrpUser,
    /// The one in PATH, or `KEEPALIVED`.
    Keepalived,
    /// The zebra and vrrpd of the system.
    Frr,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VrrpUser => "vrrp-user",
            Self::Keepalived => "keepalived",
            Self::Frr => "FRR",
        })
    }
}

/// The keepalived to compare with.
pub fn keepalived() -> String {
    std::env::var("KEEPALIVED").unwrap_or_else(|_| "keepalived".to_owned())
}

/// What a process used.
pub struct Usage {
    /// Milliseconds of CPU per second.
    pub cpu_ms: f64,
    /// Context switches per second.
    pub switches: f64,
}

/// Milliseconds for which all processors have been busy, by 10, but for programs with less than the usual priority.
pub fn machine_ms() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").map_err(Error::io("read /proc/stat"))?;
    // `cpu user nice system idle iowait irq softirq steal ...`, in ticks (proc_stat(5))
    let ticks = text.lines().next().into_iter().flat_map(|line| line.split_whitespace().skip(1));
    let ticks: Vec<u64> = ticks.filter_map(|ticks| ticks.parse().ok()).collect();
    let busy = [0, 2, 5, 6].map(|field| ticks.get(field).copied().unwrap_or(0));
    Ok(busy.iter().sum::<u64>() * 10)
}

/// A daemon under test.
pub struct Daemon {
    process: Process,
    /// What it runs beside.
    helper: Option<Process>,
}

impl Daemon {
    /// Starts one.
    pub fn start(place: &Place, kind: Kind, load: Load, priority: u8) -> Result<Self> {
        Self::start_with(place, kind, load, priority, &[])
    }

    /// The same with more options.
    pub fn start_with(
        place: &Place,
        kind: Kind,
        load: Load,
        priority: u8,
        options: &[&str],
    ) -> Result<Self> {
        let (conf, bpffs) = (place.path("bench.conf"), place.bpffs.display().to_string());
        fs::write(&conf, load.text(priority, None, place.virtual_mac))
            .map_err(Error::io("write a configuration"))?;
        let mut command = match kind {
            Kind::VrrpUser => {
                let mut command = place.host.command(&VrrpUser::binary()?.display().to_string());
                let instance = &place.instance;
                command.args(["run", "--config", &conf, "--instance", instance, "--bpffs", &bpffs]);
                // Neither daemon logs what it does.
                command.env("RUST_LOG", "warn");
                command
            }
            Kind::Keepalived => {
                let mut command = place.host.command(&keepalived());
                let [main, vrrp, check] =
                    ["main.pid", "vrrp.pid", "check.pid"].map(|name| place.path(name));
                for file in [&main, &vrrp, &check] {
                    let _ = fs::remove_file(file);
                }
                // Without -G it would look for a system log that is not there, again and again.
                command
                    .args(["-n", "-G", "-P", "-f", &conf, "-p", &main, "-r", &vrrp, "-c", &check]);
                command
            }
            Kind::Frr => {
                let zebra = frr::start_zebra(place)?;
                let process = frr::start_vrrpd(place, load, priority)?;
                return Ok(Self { process, helper: Some(zebra) });
            }
        };
        command.args(options);
        Ok(Self { process: Process::spawn("daemon", &mut command)?, helper: None })
    }

    /// Gives it another configuration, which it reads when it is told to.
    pub fn rewrite(&self, place: &Place, configuration: String) -> Result<()> {
        fs::write(place.path("bench.conf"), configuration)
            .map_err(Error::io("write a configuration"))
    }

    /// Lets it read its configuration again.
    pub fn reload(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGHUP)
    }

    /// The processes and their children.
    fn pids(&self) -> Vec<i32> {
        let own = std::iter::once(&self.process).chain(&self.helper);
        let mut pids: Vec<i32> = own.map(|process| process.pid().as_raw()).collect();
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            next += 1;
        }
        pids
    }

    /// Nanoseconds of CPU and context switches of all threads so far.
    fn counters(&self) -> (u64, u64) {
        let (mut cpu, mut switches) = (0, 0);
        for pid in self.pids() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let read =
                    |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
                let first = read("schedstat");
                cpu += first.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
                let status = read("status");
                let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
                switches += lines
                    .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
                    .sum::<u64>();
            }
        }
        (cpu, switches)
    }

    /// What it uses in that time.
    #[allow(clippy::cast_precision_loss)]
    pub fn usage(&self, duration: Duration) -> Result<Usage> {
        let (begin, before) = (Instant::now(), self.counters());
        vrrp_tests::pause(duration)?;
        let after = self.counters();
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Usage {
            cpu_ms: (after.0 - before.0) as f64 / 1e6 / seconds,
            switches: (after.1 - before.1) as f64 / seconds,
        })
    }

    /// Its proportional set size, MiB.
    #[allow(clippy::cast_precision_loss)]
    pub fn pss_mib(&self) -> Result<f64> {
        let mut kib = 0u64;
        for pid in self.pids() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
                .map_err(Error::io("read smaps_rollup"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            kib += line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(kib as f64 / 1024.0)
    }

    /// Memory of the BPF maps that it holds, MiB.
    #[allow(clippy::cast_precision_loss)]
    pub fn map_mib(&self) -> Result<f64> {
        let mut maps = std::collections::BTreeMap::new();
        for pid in self.pids() {
            let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { continue };
            for text in files.flatten().filter_map(|file| fs::read_to_string(file.path()).ok()) {
                let field = |name: &str| {
                    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
                    value.trim().parse::<u64>().ok()
                };
                if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
                    maps.insert(id, bytes);
                }
            }
        }
        Ok(maps.values().sum::<u64>() as f64 / f64::from(1 << 20))
    }

    /// SIGKILL for all its processes.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill_tree()?;
        self.helper.as_mut().map_or(Ok(()), Process::kill_tree)
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        for process in std::iter::once(&mut self.process).chain(&mut self.helper) {
            process.terminate(Duration::from_secs(60))?;
        }
        Ok(())
    }
}

/// Two busy loops for each core, ended on drop.
pub struct BusyLoops {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyLoops {
    /// Starts them.
    pub fn start() -> Result<Self> {
        let cores = thread::available_parallelism().map_err(Error::io("count the cores"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..2 * cores.get()).map(spin).collect();
        Ok(Self { stop, threads })
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
