//! What is outside of a guest that is master and whose machine is paused, as hypervisors do: a switch, the routers that take
//! over meanwhile, and clients. To the guest no time has passed when it goes on, so that its lease holds; what it lets out
//! beside a new master is counted at the switch.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{Advert, Host, Instance, Lab, Tcpdump, pause};

use super::Wiring;

/// More than a guest takes that is emulated on a busy machine.
const LONG: Duration = Duration::from_secs(180);
/// For so long the machine stands still.
const PAUSE: Duration = Duration::from_secs(10);
/// For so long it is watched afterwards: more than three intervals and a skew.
const AFTER: Duration = Duration::from_secs(6);
/// The interval of the advertisements.
const INTERVAL: Duration = Duration::from_secs(1);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";
/// Of the guest.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MAC: &str = "02:76:72:72:00:01";
/// Its port of the switch.
const PORT: &str = "to-guest";

/// What the switch counts of the guest, and of what goes to it.
const COUNTERS: [(&str, &str); 4] = [
    ("answers", "iifname to-guest ether type ip ip saddr 10.0.0.100"),
    ("arps", "iifname to-guest ether type arp arp saddr ip 10.0.0.100"),
    // The switch has a copy for each of its ports.
    ("adverts", "iifname to-guest oifname to-b ether type ip ip protocol 112"),
    ("reached", "oifname to-guest ether type ip ip protocol icmp"),
];

/// How a new master ranks beside the one that is paused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Above,
    Below,
}

impl Rank {
    const fn priority(self) -> u8 {
        match self {
            Self::Above => 150,
            Self::Below => 50,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
        }
    }
}

/// A network with a port for a guest.
pub struct Outside {
    lab: Lab,
    /// Where somebody takes over.
    other: Host,
    /// A client that goes on to send to the guest, and one that learns where the address is.
    knows: Host,
    learns: Host,
    monitor: PathBuf,
}

impl Outside {
    /// Makes it; QEMU's monitor will be in this directory. `Err` inside: why that is not available here.
    /// Errors: it cannot be made.
    pub fn new(directory: &Path) -> Result<Result<Self, String>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Err("it takes root to have a network for the guest".into()));
        }
        if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
            return Ok(Err(format!("it takes a tap device: /dev/net/tun: {error}")));
        }
        let lab = Lab::new()?;
        let network = lab.network();
        network.ip(&["tuntap", "add", PORT, "mode", "tap"])?;
        network.ip(&["link", "set", PORT, "master", "br0", "up"])?;
        let other = lab.host("b", "10.0.0.2/24")?;
        let (knows, learns) = (lab.host("c", "10.0.0.3/24")?, lab.host("d", "10.0.0.4/24")?);
        let monitor = directory.join("monitor");
        Ok(Ok(Self { lab, other, knows, learns, monitor }))
    }

    /// How the guest is connected to it.
    pub fn wiring(&self) -> Wiring {
        let arguments = [
            "-netdev".to_owned(),
            format!("tap,id=switch,ifname={PORT},script=no,downscript=no"),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev=switch,mac={MAC},romfile="),
            "-monitor".to_owned(),
            format!("unix:{},server=on,wait=off", self.monitor.display()),
        ];
        let namespace = Some(self.lab.network().name().to_owned());
        Wiring { arguments: arguments.into(), namespace }
    }

    /// Everything that is to be seen of the guest, in lines as it says them itself. It runs until it is called, or something
    /// failed.
    pub fn play(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Err(error) = self.play_all(&mut lines) {
            lines.push(format!("FAIL  outside: {error:#}"));
            // It may stand still, or be gone.
            let _ = self.order("cont");
            if self.call("failed").is_err() {
                let _ = self.order("quit");
            }
        }
        lines
    }

    fn play_all(&self, lines: &mut Vec<String>) -> Result<()> {
        let wire =
            Tcpdump::start_with(&self.knows, "proto 112 or icmp[icmptype] = icmp-echoreply")?;
        for kind in [Kind::VrrpUser, Kind::Keepalived] {
            for rank in [Rank::Above, Rank::Below] {
                let what = format!("{}, which ranks {} it", kind.name(), rank.word());
                let seen = self.paused(kind, rank, &wire).with_context(|| what.clone())?;
                lines.push(format!("OK    outside: paused beside {what}: {seen}"));
            }
        }
        self.await_master(&wire)?;
        self.call("done")
    }

    /// Tells the guest how it went.
    fn call(&self, what: &str) -> Result<()> {
        let call = || TcpStream::connect_timeout(&SocketAddrV4::new(ADDRESS, 7).into(), AFTER);
        let mut stream =
            self.other.namespace().enter(call)?.context("the guest does not answer")?;
        stream.write_all(what.as_bytes()).context("the guest does not listen")
    }

    /// One pause; what there is to say of it.
    fn paused(&self, kind: Kind, rank: Rank, wire: &Tcpdump) -> Result<String> {
        let Self { lab, other, knows, learns, .. } = self;
        self.await_master(wire)?;
        let conf = Instance::new(51, rank.priority(), "10.0.0.100/24").v3("1").with("nopreempt");
        let mut new = kind.start(other, &conf.to_string())?;
        new.wait_state(other, ROUTER, "BACKUP", LONG)?;
        knows.ip(&["neighbour", "flush", "dev", "eth0"])?;
        learns.ip(&["neighbour", "flush", "dev", "eth0"])?;
        for client in [knows, learns] {
            lab.wait_until(LONG, "the guest answers", || {
                let mut ping = client.spawn("ping", "ping", &["-c", "1", "-W", "1", VIP])?;
                let known = client.ip(&["neighbour", "show", VIP])?.contains(MAC);
                Ok((ping.wait(LONG)?.success() && known).then_some(()))
            })?;
        }

        self.order("stop")?;
        let stopped = Instant::now();
        new.wait_state(other, ROUTER, "MASTER", LONG)?;
        let mac = other.mac().map(|byte| format!("{byte:02x}")).join(":");
        lab.wait_until(LONG, "the new master announces itself", || {
            Ok(learns.ip(&["neighbour", "show", VIP])?.contains(&mac).then_some(()))
        })?;
        lab.count_from_now(&COUNTERS)?;
        let before = words(&new).len();
        let to = ["neighbour", "replace", VIP, "lladdr", MAC, "dev", "eth0", "nud", "permanent"];
        knows.ip(&to)?;
        let count = ((PAUSE + AFTER).as_millis() / 200).to_string();
        let args = ["-c", &count, "-i", "0.2", "-W", "1", VIP];
        let mut pings = knows.spawn("ping", "ping", &args)?;
        pause(PAUSE.saturating_sub(stopped.elapsed()))?;
        if lab.counted("answers")? + lab.counted("arps")? + lab.counted("adverts")? > 0 {
            bail!("a machine that stands still has sent something");
        }
        let goes_on = Instant::now();
        self.order("cont")?;
        pings.wait(LONG)?;
        let [answers, arps, adverts, reached] =
            ["answers", "arps", "adverts", "reached"].map(|name| lab.counted(name));
        let (answers, arps, adverts, reached) = (answers?, arps?, adverts?, reached?);
        if reached < 10 {
            bail!("only {reached} packets were sent to it");
        }
        let seen =
            format!("{reached} packets reached it; left: {answers}, ARP {arps}, adverts {adverts}");
        let is_silent = answers + arps + adverts == 0;
        let seen = match rank {
            Rank::Above => {
                // One that was due, and the one of a master that gives way and took over because it heard nobody.
                if answers + arps > 0 || adverts > 2 {
                    bail!("{seen}");
                }
                seen
            }
            // Its clock went on meanwhile, and its lease was over.
            Rank::Below if is_silent => format!("{seen}; it gave way"),
            Rank::Below => {
                new.wait_state(other, ROUTER, "BACKUP", LONG)?;
                let lines = wire.log().lines();
                let answer = lines.iter().find(|(at, line)| *at >= goes_on && is_answer(line));
                let advert = wire.adverts(goes_on).into_iter().find(is_guests);
                let advert = advert.with_context(|| format!("{seen}; it is master no more"))?;
                let both = answer
                    .map_or(Duration::ZERO, |(at, _)| advert.at.saturating_duration_since(*at));
                if both > INTERVAL {
                    bail!("{seen}; both answered for {both:?}");
                }
                format!("{seen}; both answered for {} ms", both.as_millis())
            }
        };
        if rank == Rank::Above || is_silent {
            let later = words(&new).split_off(before);
            if !later.is_empty() {
                bail!("{seen}; the new master has noticed: {later:?}");
            }
        }
        new.stop()?;
        Ok(seen)
    }

    /// Until the guest is master and says so.
    fn await_master(&self, wire: &Tcpdump) -> Result<()> {
        let since = Instant::now();
        self.lab.wait_until(LONG, "the guest is master", || {
            Ok(wire.adverts(since).iter().any(is_guests).then_some(()))
        })?;
        Ok(())
    }

    /// Gives an order to QEMU's monitor.
    fn order(&self, order: &str) -> Result<()> {
        let mut stream = UnixStream::connect(&self.monitor).context("QEMU's monitor")?;
        stream.set_read_timeout(Some(LONG))?;
        // It answers one order after the other.
        write!(stream, "{order}\ninfo status\n")?;
        let wanted = if order == "stop" { "paused" } else { "running" };
        for line in BufReader::new(stream).lines() {
            let line = line.context("QEMU's monitor")?;
            if line.contains("VM status") {
                if !line.contains(wanted) {
                    bail!("QEMU's monitor: {order}: {line}");
                }
                return Ok(());
            }
        }
        if order == "quit" { Ok(()) } else { bail!("QEMU's monitor has hung up") }
    }
}

/// What a daemon has said of the states of its router.
fn words(daemon: &Daemon) -> Vec<String> {
    let lines = daemon.log().lines().into_iter().map(|(_, line)| line);
    lines.filter(|line| line.contains(" -> ") || line.contains(" STATE")).collect()
}

/// Of the address that the clients ask for.
fn is_answer(line: &str) -> bool {
    line.contains(&format!("{VIP} > ")) && line.contains("echo reply")
}

fn is_guests(advert: &Advert) -> bool {
    advert.source.parse() == Ok(ADDRESS)
}
