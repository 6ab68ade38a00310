//! Routers with virtual MAC addresses: for keepalived and FRR a macvlan device each.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vrrp_tests::{Error, Frr, Lab, Namespace, Result, run};

use crate::scenarios::{Figures, Target, begun, count, ms, nanos, took_over};
use crate::stage::{Daemon, Kind, Load, Place, Stage, link_name, machine_ms};
use crate::wire::{self, Pacing, Seen, Worker, percentile};
use crate::{Plan, frr};

/// TCP connections, each through a router of its own.
const CONNECTIONS: u8 = 4;
/// How often something is written to one.
const PACE: Duration = Duration::from_millis(1);
/// How long after the master-down interval a connection may still stand still before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(8);
/// The first port of the server.
const PORT: u16 = 5000;

/// Owners of their addresses from exec on, and then backups that take over. How busy the machine is has what the kernel does
/// for them in it, and the neighbour.
pub fn daemons(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    owners(plan, load, kind, figures)?;
    backups(plan, load, kind, figures)
}

fn owners(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::with_virtual_macs(load)?;
    let place = &stage.place;
    let before = place.devices()?;
    let making = Instant::now();
    if prepare(place, load, kind)? {
        let making = making.elapsed().as_secs_f64();
        figures.add("devices made beforehand, in", "s", making, Target::None);
    }
    let receiver = stage.receive()?;
    let began = wire::now();
    let mut daemon = Daemon::start(place, kind, load, 255)?;
    // The second group of gratuitous ARP comes after 5 s.
    vrrp_tests::pause(begun(load) + Duration::from_secs(6))?;
    let seen = receiver.stop()?;
    let mut firsts: Vec<u64> = (0..load.routers)
        .filter_map(|router| seen.first_advert(router))
        .map(|at| at.saturating_sub(began))
        .collect();
    let last = ms(percentile(&mut firsts, 100.0)) / 1000.0;
    figures.add("exec to the last router's first advert", "s", last, Target::None);
    let silent = count(load.routers - firsts.len());
    figures.add("routers without an advert", "", silent, Target::AtMost(0.0));
    figures.add("devices made", "", count(place.devices()? - before), Target::AtMost(0.0));
    used(plan, &daemon, "as master", figures)?;
    figures.add("PSS", "MiB", daemon.pss_mib()?, Target::None);
    let stopping = Instant::now();
    daemon.stop()?;
    figures.add("stop", "s", stopping.elapsed().as_secs_f64(), Target::None);
    Ok(())
}

fn backups(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::with_virtual_macs(load)?;
    prepare(&stage.place, load, kind)?;
    let generator = stage.advertise(0..load.routers, Pacing::Even);
    let daemon = Daemon::start(&stage.place, kind, load, 100)?;
    vrrp_tests::pause(begun(load))?;
    used(plan, &daemon, "as backup", figures)?;
    // Whoever took over advertises once in that time.
    let receiver = stage.receive()?;
    vrrp_tests::pause(Duration::from_millis(load.interval_ms) * 6 / 5)?;
    let seen = receiver.stop()?;
    let early = (0..load.routers).filter(|router| seen.first_advert(*router).is_some()).count();
    figures.add("routers that took over before", "", count(early), Target::AtMost(0.0));
    drop(generator);
    let generator = stage.advertise(0..load.routers, Pacing::AtOnce);
    vrrp_tests::pause(Duration::from_millis(5 * load.interval_ms / 2))?;
    let receiver = stage.receive()?;
    let last_sent = generator.stop()?;
    vrrp_tests::pause(load.master_down(100) + Duration::from_secs(4))?;
    took_over(&receiver.stop()?, &last_sent, load, Target::AtMost(100.0), figures);
    Ok(())
}

/// Does what a daemon leaves to others; whether that is anything.
fn prepare(place: &Place, load: Load, kind: Kind) -> Result<bool> {
    match kind {
        Kind::VrrpUser | Kind::Keepalived => Ok(false),
        Kind::Frr => frr::make_devices(place, load).map(|()| true),
    }
}

/// What a daemon and the machine use in a state.
#[allow(clippy::cast_precision_loss)]
fn used(plan: &Plan, daemon: &Daemon, state: &str, figures: &mut Figures) -> Result<()> {
    let (begin, before) = (Instant::now(), machine_ms()?);
    let usage = daemon.usage(plan.duration)?;
    let machine = (machine_ms()? - before) as f64 / begin.elapsed().as_secs_f64();
    figures.add(format!("CPU {state}"), "ms/s", usage.cpu_ms, Target::None);
    figures.add(format!("CPU of the whole machine {state}"), "ms/s", machine, Target::None);
    Ok(())
}

/// The master of all routers, through some of which there are TCP connections, falls silent at one instant: its ports drop all
/// that comes and goes, and nobody is told. The hosts at both ends take no notice of gratuitous ARP.
pub fn failover(load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let network = Network::new(load)?;
    for place in &network.routers {
        prepare(place, load, kind)?;
    }
    let _master = Daemon::start(&network.routers[0], kind, load, 200)?;
    vrrp_tests::pause(begun(load) + load.master_down(200))?;
    let _backup = Daemon::start(&network.routers[1], kind, load, 100)?;
    vrrp_tests::pause(begun(load))?;
    let connections = network.connect()?;
    let receiver = wire::receive(&network.middle, load);
    vrrp_tests::pause(Duration::from_millis(5 * load.interval_ms / 2))?;
    let cut = wire::now();
    network.cut()?;
    vrrp_tests::pause(load.master_down(100) + PATIENCE)?;
    let seen = receiver.stop()?;
    let (mut gaps, mut beyond, mut late) = (Vec::new(), Vec::new(), Vec::new());
    // Nobody takes over that soon after the last advertisement of a master that is heard.
    let least = nanos(load.master_down(100)).saturating_sub(2_000_000 * load.interval_ms);
    let mut unbroken = 0;
    for Connection { router, server: _server, client } in connections {
        let arrivals = client.stop()?;
        let gap =
            arrivals.windows(2).filter(|pair| pair[1] > cut).max_by_key(|pair| pair[1] - pair[0]);
        // What it stood still for lies between what arrived before and something thereafter.
        let Some(gap) = gap.filter(|pair| pair[0] < cut + nanos(load.master_down(100))) else {
            continue;
        };
        gaps.push(gap[1] - gap[0]);
        unbroken += usize::from(gap[1] - gap[0] < least);
        if let Some((due, taken)) = taken(&seen, load, router, cut) {
            beyond.push(gap[1].saturating_sub(due));
            late.push(taken.saturating_sub(due));
        }
    }
    let of = |times: &mut Vec<u64>| ms(percentile(times, 100.0));
    figures.add("TCP without progress, at most", "ms", of(&mut gaps), Target::None);
    let target = Target::AtMost(5.0);
    figures.add("of it after the master-down interval", "ms", of(&mut beyond), target);
    figures.add("of that before the advertisement", "ms", of(&mut late), Target::None);
    let what = "TCP connections that two hosts routed before";
    figures.add(what, "", count(unbroken), Target::AtMost(0.0));
    let lost = count(usize::from(CONNECTIONS) - gaps.len());
    figures.add("TCP connections that did not go on", "", lost, Target::AtMost(0.0));
    Ok(())
}

/// When the backup of a router had to take over whose master was cut off then, and when it did.
fn taken(seen: &Seen, load: Load, router: usize, cut: u64) -> Option<(u64, u64)> {
    // What left before, and arrives thereafter, comes within a millisecond.
    let adverts = seen.adverts(router);
    let heard = adverts.partition_point(|at| *at < cut + 1_000_000);
    let last = adverts.get(heard.checked_sub(1)?)?;
    Some((last + nanos(load.master_down(100)), *adverts.get(heard)?))
}

/// Two hosts with all routers, on a bridge for each link; on the last one a client and a server that reach each other by way of
/// the routers only.
struct Network {
    load: Load,
    routers: [Place; 2],
    ends: [Arc<Namespace>; 2],
    middle: Arc<Namespace>,
    /// Dropped last.
    lab: Lab,
}

/// A connection through a router.
struct Connection {
    router: usize,
    server: Worker<()>,
    /// Its result is when something arrived.
    client: Worker<Vec<u64>>,
}

impl Network {
    fn new(load: Load) -> Result<Self> {
        let lab = Lab::new()?;
        let namespace =
            |name: &str| Namespace::create(&format!("{}-{name}", lab.name())).map(Arc::new);
        let routers = [Place::new(&lab, "a", true)?, Place::new(&lab, "b", true)?];
        let (ends, middle) = ([namespace("c")?, namespace("d")?], namespace("bridges")?);
        let network = Self { load, routers, ends, middle, lab };
        for Place { host, .. } in &network.routers {
            // Packets come in by macvlan devices and go out by the interface.
            let kernel = ["ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0"];
            let silent = ["conf.all.send_redirects=0", "conf.default.send_redirects=0"];
            set(host, &[&kernel[..], &silent[..]].concat())?;
        }
        for link in 0..load.links {
            let name = link_name(link);
            let bridge = ["link", "add", &name, "type", "bridge", "mcast_snooping", "0"];
            network.middle.ip(&bridge)?;
            network.middle.ip(&["link", "set", &name, "up"])?;
            for (number, Place { host, .. }) in (1..).zip(&network.routers) {
                let address = format!("10.{}.0.{number}/24", link + 1);
                network.plug(&format!("p{number}-{link}"), link, host, &name, &address)?;
            }
        }
        for (number, end) in (8..).zip(&network.ends) {
            network.plug(
                &format!("p{number}"),
                load.links - 1,
                end,
                "eth0",
                &network.end(number),
            )?;
            // What is written goes out at once for as long as nothing is acknowledged, and TCP's own timer does not get there
            // first: what arrives then shows when the way was free again, to within a millisecond.
            set(end, &["tcp_slow_start_after_idle=0", "tcp_wmem=4096 33554432 33554432"])?;
        }
        for index in 0..CONNECTIONS {
            let router = network.router(index);
            let (vip, mac) =
                (load.vip(router), Frr::mac(load.vip(router).into(), load.vrid(router)));
            let [client, server] = network.addresses(index);
            for (end, own, peer) in [(0, client, server), (1, server, client)] {
                let end = &network.ends[end];
                let (own, peer, vip) = (own.to_string(), peer.to_string(), vip.to_string());
                end.ip(&["address", "add", &format!("{own}/32"), "dev", "eth0"])?;
                end.ip(&[
                    "neighbour", "add", &vip, "lladdr", &mac, "dev", "eth0", "nud", "permanent",
                ])?;
                let by = ["route", "add", &peer, "via", &vip, "dev", "eth0", "onlink", "src", &own];
                end.ip(&[&by[..], &["initcwnd", "20000", "rto_min", "60s"]].concat())?;
            }
        }
        Ok(network)
    }

    /// Joins a host to the bridge of a link.
    fn plug(
        &self,
        port: &str,
        link: usize,
        host: &Namespace,
        name: &str,
        address: &str,
    ) -> Result<()> {
        let there = ["type", "veth", "peer", "name", name, "netns", host.name()];
        self.middle.ip(&[&["link", "add", port][..], &there[..]].concat())?;
        self.middle.ip(&["link", "set", port, "master", &link_name(link), "up"])?;
        host.ip(&["address", "add", address, "dev", name])?;
        host.ip(&["link", "set", name, "up"]).map(drop)
    }

    /// The router of a connection: evenly among those of the last link.
    fn router(&self, index: u8) -> usize {
        let first = (self.load.links - 1) * self.load.per_link();
        first + (self.load.routers - first - 1) * usize::from(index) / usize::from(CONNECTIONS - 1)
    }

    /// An address on the last link.
    fn on_last(&self, byte: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, u8::try_from(self.load.links).unwrap_or(u8::MAX), 0, byte)
    }

    fn end(&self, byte: u8) -> String {
        format!("{}/24", self.on_last(byte))
    }

    /// Of the client and the server of a connection.
    fn addresses(&self, index: u8) -> [Ipv4Addr; 2] {
        [20 + index, 100 + index].map(|byte| self.on_last(byte))
    }

    fn connect(&self) -> Result<Vec<Connection>> {
        let connection = |index: u8| {
            let at = SocketAddr::from((self.addresses(index)[1], PORT + u16::from(index)));
            let server = Worker::start(&self.ends[1], move |stop| serve(at, stop));
            let client = Worker::start(&self.ends[0], move |stop| follow(at, stop));
            Connection { router: self.router(index), server, client }
        };
        Ok((0..CONNECTIONS).map(connection).collect())
    }

    /// Lets nothing through any more from and to the first host, which is not told.
    fn cut(&self) -> Result<()> {
        let lines = (0..self.load.links).map(|link| format!("link set dev p1-{link} state 0\n"));
        let file = self.lab.dir().join("cut").display().to_string();
        std::fs::write(&file, lines.collect::<String>()).map_err(Error::io("write commands"))?;
        self.middle.run("bridge", &["-batch", &file]).map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.routers.iter().for_each(|place| place.clear(self.load));
    }
}

/// Sets values below `net.ipv4`.
fn set(host: &Namespace, names: &[&str]) -> Result<()> {
    names.iter().try_for_each(|name| {
        host.run("sysctl", &["-q", "-w", &format!("net.ipv4.{name}")]).map(drop)
    })
}

/// Lets the thread run before all daemons, as it would on a host of its own.
fn go_first() -> Result<()> {
    let thread = nix::unistd::gettid().to_string();
    run(Command::new("chrt").args(["--fifo", "--pid", "60", &thread])).map(drop)
}

/// Writes a few bytes to whoever connects, again and again.
fn serve(at: SocketAddr, stop: &AtomicBool) -> Result<()> {
    go_first()?;
    let failed = |what: &'static str| Error::io(what);
    let listener = TcpListener::bind(at).map_err(failed("listen"))?;
    listener.set_nonblocking(true).map_err(failed("listen"))?;
    let mut accepted = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(stream) = &mut accepted else {
            accepted = listener.accept().ok().map(|(stream, _)| stream);
            thread::sleep(PACE);
            continue;
        };
        stream.set_nodelay(true).map_err(failed("set TCP_NODELAY"))?;
        stream.set_nonblocking(true).map_err(failed("set O_NONBLOCK"))?;
        // One that stands still for long has no room for more.
        match stream.write(&[0; 4]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        thread::sleep(PACE);
    }
    Ok(())
}

/// Notes when something arrived; ends with the connection.
fn follow(at: SocketAddr, stop: &AtomicBool) -> Result<Vec<u64>> {
    go_first()?;
    let mut connected = None;
    let begin = Instant::now();
    while connected.is_none()
        && begin.elapsed() < Duration::from_secs(10)
        && !stop.load(Ordering::Relaxed)
    {
        connected = TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok();
        thread::sleep(PACE);
    }
    let mut arrivals = Vec::new();
    let Some(mut stream) = connected else { return Ok(arrivals) };
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .map_err(Error::io("set a timeout"))?;
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => arrivals.push(wire::now()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    Ok(arrivals)
}
