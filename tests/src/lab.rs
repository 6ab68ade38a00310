//! The network in a box.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::netns::kill_all;
use crate::{Error, Log, Namespace, Process, Result, skip, wait_until};

/// Begins the name of every namespace and directory of a lab; the process ID and a number follow.
const PREFIX: &str = "vrrplab-";
/// Where labs keep their files.
const BASE: &str = "/tmp";
/// Lines of each log that a failure shows.
const TAIL: usize = 40;
/// The bridge in the namespace of the network.
const BRIDGE: &str = "br0";
/// The interface of each host.
const INTERFACE: &str = "eth0";

/// Whether IPv4 packets that cross a bridge also go through the hooks of IPv4; exists where the kernel
/// can do that at all.
const BRIDGE_NETFILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// A network with hosts on it. Clones are the same lab; it is removed with the last one, hosts and
/// processes included.
#[derive(Clone, Debug)]
pub struct Lab {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    dir: PathBuf,
    network: Namespace,
    hosts: AtomicU32,
    logs: Mutex<Vec<Log>>,
}

impl Lab {
    /// Makes an empty network; removes what killed runs left behind.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::Unexpected("network namespaces need root".into()));
        }
        remove_stale();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        let dir = Path::new(BASE).join(&name);
        let made = Self::build(&name, &dir);
        if made.is_err() {
            remove(&name);
        }
        made
    }

    fn build(name: &str, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("bpf")).map_err(Error::io(format!("make {dir:?}")))?;
        mount(Some("bpf"), &dir.join("bpf"), Some("bpf"), MsFlags::empty(), None::<&str>)
            .map_err(Error::errno("mount bpffs"))?;
        let network = Namespace::create(&format!("{name}-net"))?;
        // Snooping would make the bridge forward VRRP by group membership only where there is a querier.
        network.ip(&["link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0"])?;
        network.ip(&["link", "set", BRIDGE, "up"])?;
        // Or else the bridge itself drops packets with a bad IP header, as a plain switch would not.
        network
            .enter(|| match fs::write(BRIDGE_NETFILTER, "0") {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })?
            .map_err(Error::io(BRIDGE_NETFILTER))?;
        let (hosts, logs) = (AtomicU32::new(0), Mutex::default());
        let inner = Inner { name: name.into(), dir: dir.into(), network, hosts, logs };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its name, unique on the machine.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its directory for configuration files and the like.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Its mounted bpffs.
    pub fn bpffs(&self) -> PathBuf {
        self.inner.dir.join("bpf")
    }

    /// The namespace that plays the network.
    pub fn network(&self) -> &Namespace {
        &self.inner.network
    }

    /// Adds a host with one interface, `eth0`, that has this address (with its prefix length).
    pub fn host(&self, name: &str, address: &str) -> Result<Host> {
        let number = self.inner.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let namespace = Namespace::create(&format!("{}-{name}", self.inner.name))?;
        let host = Host {
            lab: self.clone(),
            name: name.into(),
            address: address.into(),
            mac: format!("02:00:00:00:00:{:02x}", number & 0xff),
            namespace,
        };
        host.plug()?;
        Ok(host)
    }

    /// Drops IP protocol 112 between all hosts, or between those whose names are given and all others.
    pub fn block_vrrp(&self, hosts: &[&str]) -> Result<()> {
        let mut rules = String::from(
            "table bridge vrrp\ndelete table bridge vrrp\ntable bridge vrrp {\n\
             chain forward {\ntype filter hook forward priority 0\n",
        );
        if hosts.is_empty() {
            rules += "ether type ip ip protocol 112 drop\nether type ip6 ip6 nexthdr 112 drop\n";
        }
        for host in hosts {
            for side in ["iifname", "oifname"] {
                for packets in ["ether type ip ip protocol 112", "ether type ip6 ip6 nexthdr 112"] {
                    rules += &format!("{side} \"to-{host}\" {packets} drop\n");
                }
            }
        }
        rules += "}\n}\n";
        let file = self.inner.dir.join("block.nft");
        fs::write(&file, rules).map_err(Error::io("write nft rules"))?;
        self.network().run("nft", &["-f", &file.display().to_string()]).map(drop)
    }

    /// Ends what [`Lab::block_vrrp`] began.
    pub fn unblock_vrrp(&self) -> Result<()> {
        self.network().run("nft", &["delete", "table", "bridge", "vrrp"]).map(drop)
    }

    /// [`wait_until`] whose failure shows the logs of all processes in the lab.
    pub fn wait_until<T>(
        &self,
        timeout: Duration,
        what: &str,
        f: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        wait_until(timeout, what, f).map_err(|error| {
            if let Error::Timeout { what, after, .. } = error {
                Error::Timeout { what, after, logs: self.logs() }
            } else {
                error
            }
        })
    }

    /// Starts a process whose log belongs to the lab.
    pub(crate) fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        let process = Process::spawn(name, command)?;
        let mut logs = self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.push(process.log().clone());
        Ok(process)
    }

    /// The ends of the logs of all processes.
    pub fn logs(&self) -> String {
        let logs = self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(|log| format!("--- {}\n{}", log.name(), log.tail(TAIL))).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            for log in logs.iter() {
                eprint!("--- {}\n{}", log.name(), log.tail(TAIL));
            }
        }
        remove(&self.name);
    }
}

/// One machine: a namespace with an interface `eth0` on the lab's bridge.
#[derive(Debug)]
pub struct Host {
    lab: Lab,
    name: String,
    address: String,
    mac: String,
    namespace: Namespace,
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its own address, without prefix length.
    pub fn address(&self) -> &str {
        self.address.split('/').next().unwrap_or_default()
    }

    /// Its own address as a number.
    pub fn ipv4(&self) -> Result<Ipv4Addr> {
        self.address().parse().map_err(|_| Error::Unexpected(format!("bad {}", self.address)))
    }

    /// Its MAC address in bytes.
    pub fn mac(&self) -> [u8; 6] {
        let mut mac = [0; 6];
        for (byte, text) in mac.iter_mut().zip(self.mac.split(':')) {
            *byte = u8::from_str_radix(text, 16).unwrap_or_default();
        }
        mac
    }

    /// A new directory of its own.
    pub fn dir(&self, purpose: &str) -> Result<PathBuf> {
        let dir = self.lab.dir().join(&self.name).join(purpose);
        fs::create_dir_all(&dir).map_err(Error::io(format!("make {dir:?}")))?;
        Ok(dir)
    }

    /// Starts a process on it.
    pub fn spawn(&self, name: &str, program: &str, args: &[&str]) -> Result<Process> {
        let command = &mut self.namespace.command(program);
        self.lab.spawn(&format!("{name} on {}", self.name), command.args(args))
    }

    /// `ip ARGS` on it.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        self.namespace.ip(args)
    }

    /// Whether the kernel has devices of all these kinds, as `ip link` calls them. Where it has not, the test counts as
    /// skipped, and has to return.
    pub fn has_devices(&self, kinds: &[&str]) -> Result<bool> {
        for &kind in kinds {
            let above: &[&str] = match kind {
                "vlan" | "macvlan" | "ipvlan" => &["link", INTERFACE],
                _ => &[],
            };
            let options: &[&str] = if kind == "vlan" { &["id", "4000"] } else { &[] };
            let add = [&["link", "add"], above, &["name", "probe", "type", kind], options].concat();
            match self.ip(&add) {
                Ok(_) => self.ip(&["link", "del", "probe"]).map(drop)?,
                Err(Error::Command { output, .. }) if output.contains("Unknown device type") => {
                    skip(&format!("this kernel has no devices of the kind {kind}"));
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// All IPv4 addresses of all its interfaces, with prefix lengths.
    pub fn addresses(&self) -> Result<Vec<String>> {
        let text = self.ip(&["-4", "-o", "address", "show"])?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_whitespace().skip_while(|&word| word != "inet").nth(1))
            .map(str::to_owned)
            .collect())
    }

    /// All IPv6 addresses of all its interfaces, with prefix lengths, as far as they can be used.
    pub fn addresses6(&self) -> Result<Vec<String>> {
        let text = self.ip(&["-6", "-o", "address", "show", "-tentative", "-dadfailed"])?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_whitespace().skip_while(|&word| word != "inet6").nth(1))
            .map(str::to_owned)
            .collect())
    }

    /// Whether it has this address of either family, given without prefix length.
    pub fn has_address(&self, address: &str) -> Result<bool> {
        let addresses = if address.contains(':') { self.addresses6()? } else { self.addresses()? };
        Ok(addresses.iter().any(|own| own.split('/').next() == Some(address)))
    }

    /// Takes the cable out at the network's end: the host sees its carrier go.
    pub fn unplug(&self) -> Result<()> {
        self.lab.network().ip(&["link", "set", &self.port(), "down"]).map(drop)
    }

    /// Puts the cable back in.
    pub fn replug(&self) -> Result<()> {
        self.lab.network().ip(&["link", "set", &self.port(), "up"]).map(drop)
    }

    /// Removes the interface `eth0`, as when the NIC of a virtual machine is detached.
    pub fn delete_interface(&self) -> Result<()> {
        self.lab.network().ip(&["link", "delete", &self.port()]).map(drop)
    }

    /// Makes the interface `eth0` anew, with the same MAC and IP address.
    pub fn create_interface(&self) -> Result<()> {
        self.plug()
    }

    /// Cuts the power: every process dies without a word, the link goes down, and the host forgets
    /// everything. The values that stand for its processes notice when they are used or dropped.
    pub fn power_off(&self) -> Result<()> {
        kill_all(self.namespace.name())?;
        // The device must be gone at once: removal of a namespace ends some time later.
        self.delete_interface()?;
        Namespace::remove(self.namespace.name())
    }

    /// Boots it again: as new, nothing runs on it.
    pub fn power_on(&mut self) -> Result<()> {
        self.namespace = Namespace::create(self.namespace.name())?;
        self.plug()
    }

    fn port(&self) -> String {
        format!("to-{}", self.name)
    }

    fn plug(&self) -> Result<()> {
        let network = self.lab.network();
        let port = &self.port();
        let (peer, namespace) = (["peer", "name", INTERFACE], self.namespace.name());
        let link = ["link", "add", port, "type", "veth"];
        let options = ["address", &self.mac, "netns", namespace];
        network.ip(&[&link[..], &peer[..], &options[..]].concat())?;
        network.ip(&["link", "set", port, "master", BRIDGE, "up"])?;
        self.ip(&["address", "add", &self.address, "dev", INTERFACE])?;
        self.ip(&["link", "set", INTERFACE, "up"])?;
        Ok(())
    }
}

/// Removes namespaces, mounts and files of labs whose process is gone.
pub fn remove_stale() {
    let mut labs: Vec<String> = Namespace::list(PREFIX);
    if let Ok(entries) = fs::read_dir(BASE) {
        labs.extend(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()));
    }
    for lab in labs {
        let Some(rest) = lab.strip_prefix(PREFIX) else { continue };
        let mut parts = rest.split('-');
        let (Some(pid), Some(number)) = (parts.next(), parts.next()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            remove(&format!("{PREFIX}{pid}-{number}"));
        }
    }
}

/// Removes everything with the name of this lab; goes on where something fails, and says so.
fn remove(lab: &str) {
    for namespace in Namespace::list(&format!("{lab}-")) {
        if let Err(error) = Namespace::remove(&namespace) {
            eprintln!("remove namespace {namespace}: {error}");
        }
    }
    let dir = Path::new(BASE).join(lab);
    // Not mounted is as good.
    let _ = umount2(&dir.join("bpf"), MntFlags::MNT_DETACH);
    if let Err(error) = fs::remove_dir_all(&dir)
        && dir.exists()
    {
        eprintln!("remove {dir:?}: {error}");
    }
    // What the daemons of the lab keep under their instance names, if they were killed.
    if let Ok(entries) = fs::read_dir("/run/vrrp-user") {
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("{lab}-")) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}
