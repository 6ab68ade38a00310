//! `vrrp-user monitor`: advertisements as they come and go, those that XDP refused among them.

mod line;
mod pcapng;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};
use vrrp_common::reason::Reason;
use vrrp_common::sample::Sample;

use self::line::Observed;
use self::pcapng::{Record, Writer};
use self::refused::{Refreshed, Refused};
use clap_complete::ArgValueCandidates;

use super::clock::TimeOfDay;
use super::common::BpffsArg;
use super::complete;
use crate::control::client;
use crate::io::bpf;
use crate::io::capture::{self, Capture};
use crate::io::reader::pinned_control;
use crate::io::{netns, timer};
use crate::printable;
use crate::types::instance::Instance;
use crate::types::netns::{Netns, of_interface, split};
use crate::wire::dissect::{Content, Packet};

/// How often the samples are read. The kernel side keeps as many as come in that time at most.
const LOOK: Duration = Duration::from_millis(100);
/// How often a daemon is looked for, and what was not sampled is told.
const REFRESH: Duration = Duration::from_secs(1);
/// Packets that are read before they are shown.
const BATCH: usize = 4096;
/// Addresses that are remembered from advertisements: more than any network has that is in order.
const MAX_ADDRESSES: usize = 65_536;

/// `monitor` cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Capture(#[from] capture::Error),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error("cannot write {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("cannot write")]
    Output(#[from] io::Error),
    #[error("cannot wait for packets: {0}")]
    System(#[from] nix::Error),
}

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only what is on this interface, or on NETNS/INTERFACE in another network namespace [default: all].
    #[arg(add = ArgValueCandidates::new(complete::interfaces), short, long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Only routers with this VRID.
    #[arg(long, value_name = "VRID", value_parser = clap::value_parser!(u8).range(1..))]
    vrid: Option<u8>,
    /// As JSON, an object on each line.
    #[arg(long)]
    json: bool,
    /// Write the packets to a capture file as well (pcapng; Wireshark, tshark, tcpdump -r).
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// End after so many packets.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Name of the daemon on this machine; as everywhere, but -i is the interface.
    #[arg(long, value_name = "NAME", default_value = "default", env = "VRRP_USER_INSTANCE")]
    instance: Instance,
    #[command(flatten)]
    bpffs: BpffsArg,
}

/// Shows packets until a signal comes, or as many as were asked for.
pub fn monitor(options: Options, out: &mut impl Write) -> Result<(), Error> {
    let netns = options.interface.as_deref().and_then(of_interface);
    if let Some(netns) = &netns {
        netns::enter(netns)?;
    } else if let Ok(bpffs) = bpf::find_bpffs(options.bpffs.bpffs.as_deref()) {
        let daemon = pinned_control(&options.instance.pins(&bpffs));
        // Who may not go there sees what is here, and is told.
        let _ = netns::enter_by_number(daemon.namespace);
    }
    let capture = Capture::open(options.interface.as_deref().map(|name| split(name).1))?;
    let file = match &options.write {
        None => None,
        Some(path) => {
            let fail = |error| Error::File(path.clone(), error);
            let file = File::create(path).map_err(fail)?;
            Some((path.clone(), Writer::new(BufWriter::new(file)).map_err(fail)?))
        }
    };
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ends.add(signal);
    }
    ends.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut monitor = Monitor {
        capture,
        netns,
        refused: Refused::new(options.instance.clone(), options.bpffs.bpffs.clone()),
        interfaces: BTreeMap::new(),
        addresses: BTreeMap::new(),
        pending: Vec::new(),
        file,
        shown: 0,
        refused_shown: 0,
        not_sampled: 0,
        last_note: LastNote::Nothing,
        options,
    };
    let result = monitor.run(&signals, out);
    match &result {
        // Who reads no more needs no summary.
        Err(Error::Output(_)) => {}
        Ok(()) | Err(_) => monitor.summary(),
    }
    result
}

/// What was last said of the daemon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastNote {
    Nothing,
    Daemon,
    WithoutMaps,
    NoDaemon,
}

struct Monitor {
    options: Options,
    capture: Capture,
    /// Where that is, if not where the daemon is.
    netns: Option<Netns>,
    refused: Refused,
    /// Names by index, as the daemon calls them.
    interfaces: BTreeMap<u32, String>,
    /// Virtual addresses, and the routers that they were seen with.
    addresses: BTreeMap<IpAddr, BTreeSet<u8>>,
    /// Packets that wait for refused ones that came before them.
    pending: Vec<Observed>,
    file: Option<(PathBuf, Writer<BufWriter<File>>)>,
    shown: u64,
    refused_shown: u64,
    not_sampled: u64,
    last_note: LastNote,
}

impl Monitor {
    fn run(&mut self, signals: &SignalFd, out: &mut impl Write) -> Result<(), Error> {
        let mut look_at = Instant::now();
        let mut refresh_at = look_at;
        loop {
            let now = Instant::now();
            if now >= refresh_at {
                refresh_at = now + REFRESH;
                self.refresh();
                self.note_not_sampled(out)?;
            }
            let next =
                if self.refused.is_available() { look_at.min(refresh_at) } else { refresh_at };
            let is_over = self.wait(signals, next.saturating_duration_since(now))?;
            // Without samples there is nothing to wait for.
            let look = is_over || !self.refused.is_available() || Instant::now() >= look_at;
            let until = now_ns(ClockId::CLOCK_REALTIME)?;
            let is_full = self.receive(if is_over { usize::MAX } else { BATCH })?;
            if look || is_full {
                look_at = Instant::now() + LOOK;
                self.look()?;
                let everything = is_over || !self.refused.is_available();
                if self.release(if everything { i64::MAX } else { until }, out)? {
                    return Ok(());
                }
            }
            if is_over {
                self.note_not_sampled(out)?;
                return Ok(());
            }
        }
    }

    /// Sleeps; whether it is time to end.
    fn wait(&self, signals: &SignalFd, duration: Duration) -> Result<bool, Error> {
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.capture.as_fd(), PollFlags::POLLIN),
        ];
        // While packets wait for a look, more of them are no reason to wake up.
        let count = if self.pending.is_empty() { 2 } else { 1 };
        let millis = u16::try_from(duration.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut fds[..count], PollTimeout::from(millis)) {
            Ok(_) => Ok(fds[0].any().unwrap_or(false)),
            Err(nix::Error::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for the daemon, and says so when it comes or goes.
    fn refresh(&mut self) {
        let instance = &self.options.instance;
        let why = match self.refused.refresh() {
            Refreshed::Same => return,
            Refreshed::Daemon(pid) => {
                note(&format!("daemon `{instance}` runs (pid {pid}): what XDP refuses is shown"));
                if self.netns.is_none() && self.refused.is_in_another_namespace() {
                    note("it is in another network namespace: what passes there is not seen here");
                }
                self.refused.unread().iter().for_each(|unread| note(unread));
                self.last_note = LastNote::Daemon;
                // Without them there is less ARP, no more.
                for vip in self.refused.virtual_addresses().unwrap_or_default() {
                    self.addresses.entry(vip.address).or_default();
                }
                return;
            }
            Refreshed::Dead => {
                note(&format!(
                    "daemon `{instance}` no longer runs: what its programs still stop is shown"
                ));
                self.last_note = LastNote::Daemon;
                return;
            }
            Refreshed::Unreadable(error) => {
                let runs = UnixStream::connect(instance.socket()).is_ok();
                if runs && self.last_note == LastNote::WithoutMaps {
                    return;
                }
                let status = if runs { client::status(instance).ok() } else { None };
                let told = status.map(|status| (status.no_bpf, status.no_pins));
                let told = match told {
                    Some((Some(why), _)) => {
                        Some(format!("{why}; what it refuses is seen as it passes"))
                    }
                    Some((None, Some(why))) => {
                        Some(format!("{why}; what it refuses and drops is not shown"))
                    }
                    Some((None, None)) | None => None,
                };
                if let Some(told) = told {
                    note(&format!("daemon `{instance}` runs with {told}"));
                    self.last_note = LastNote::WithoutMaps;
                    return;
                }
                bpf::chain(&error)
            }
        };
        if self.last_note != LastNote::NoDaemon {
            note(&format!("no daemon `{instance}`, so nothing that XDP refuses is shown: {why}"));
            self.last_note = LastNote::NoDaemon;
        }
    }

    /// Takes what the socket has; whether there may be more.
    fn receive(&mut self, most: usize) -> Result<bool, Error> {
        for _ in 0..most {
            let received = self.capture.receive().map_err(capture::Error::from)?;
            let Some(packet) = received else { return Ok(false) };
            let tag = packet.tag.map(|(tag, _)| tag);
            let Some(dissected) = Packet::parse(packet.ethertype, tag, &packet.data) else {
                continue;
            };
            let interface = self.interface(packet.ifindex).to_owned();
            self.pending.push(Observed {
                time_ns: packet.time_ns,
                interface,
                is_outgoing: packet.is_outgoing(),
                packet: dissected,
                refused: None,
                record: Record::captured(&packet),
            });
        }
        Ok(true)
    }

    /// Takes what XDP refused since the last time.
    fn look(&mut self) -> Result<(), Error> {
        let samples = match self.refused.samples() {
            Ok(samples) => samples,
            Err(error) => {
                log::debug!("samples: {}", bpf::chain(&error));
                return Ok(());
            }
        };
        if samples.is_empty() {
            return Ok(());
        }
        let stamps = i64::try_from(timer::now().0).unwrap_or(i64::MAX);
        let ahead = now_ns(ClockId::CLOCK_REALTIME)? - stamps;
        for (reason, sample) in samples {
            let observed = self.refused(reason, &sample, ahead);
            self.pending.push(observed);
        }
        Ok(())
    }

    /// `ahead` is how far the real-time clock is ahead of the monotonic one.
    fn refused(&mut self, reason: Reason, sample: &Sample, ahead: i64) -> Observed {
        let packet = Packet::of_sample(reason, sample);
        let interface = match self.refused.interface(sample.ifindex) {
            Some(name) => name.to_owned(),
            None => self.interface(sample.ifindex).to_owned(),
        };
        Observed {
            time_ns: i64::try_from(sample.ktime_ns).unwrap_or(0) + ahead,
            interface,
            is_outgoing: matches!(reason, Reason::FencedFrom | Reason::FencedAdvert),
            record: Record::of_sample(sample, &packet),
            packet,
            refused: Some(reason),
        }
    }

    fn interface(&mut self, ifindex: u32) -> &str {
        self.interfaces.entry(ifindex).or_insert_with(|| {
            let name = printable::interface(ifindex);
            self.netns.as_ref().map_or_else(|| name.clone(), |netns| netns.interface(&name))
        })
    }

    /// Shows what came up to a moment, in order; whether that is all that was asked for.
    fn release(&mut self, until: i64, out: &mut impl Write) -> Result<bool, Error> {
        let (mut ready, later): (Vec<_>, Vec<_>) =
            self.pending.drain(..).partition(|seen| seen.time_ns <= until);
        self.pending = later;
        ready.sort_by_key(|seen| seen.time_ns);
        let mut is_done = false;
        for seen in &ready {
            self.learn(&seen.packet);
            if !self.is_wanted(seen) {
                continue;
            }
            self.show(seen, out)?;
            is_done = self.options.count.is_some_and(|count| self.shown >= count);
            if is_done {
                break;
            }
        }
        if !ready.is_empty() {
            out.flush()?;
            if let Some((path, file)) = &mut self.file {
                file.flush().map_err(|error| Error::File(path.clone(), error))?;
            }
        }
        Ok(is_done)
    }

    /// Remembers which addresses are virtual ones. A packet that has anything wrong with it is not believed.
    fn learn(&mut self, packet: &Packet) {
        let Content::Vrrp(vrrp) = &packet.content else { return };
        let Some(message) = vrrp.message.as_ref().filter(|_| vrrp.problems.is_empty()) else {
            return;
        };
        for address in &message.addresses {
            if let Some(vrids) = self.addresses.get_mut(address) {
                vrids.insert(message.header.vrid());
            } else if self.addresses.len() < MAX_ADDRESSES {
                self.addresses.insert(*address, BTreeSet::from([message.header.vrid()]));
            }
        }
    }

    /// The routers of the address that ARP or neighbour discovery speaks of; `None` if it is not a virtual one.
    fn routers_of(&self, packet: &Packet) -> Option<&BTreeSet<u8>> {
        match &packet.content {
            Content::GratuitousArp(message) => self.addresses.get(&message.sender_ip.into()),
            Content::Neighbour(seen) => self.addresses.get(&seen.message.target().into()),
            Content::Vrrp(_) | Content::Fenced(_) => None,
        }
    }

    fn is_wanted(&self, seen: &Observed) -> bool {
        if self.options.interface.as_ref().is_some_and(|name| *name != seen.interface) {
            return false;
        }
        match &seen.packet.content {
            Content::Vrrp(_) => {
                self.options.vrid.is_none_or(|vrid| seen.packet.vrid() == Some(vrid))
            }
            Content::Fenced(seen) => self.options.vrid.is_none_or(|vrid| {
                let ends = [seen.source, seen.destination];
                ends.iter()
                    .any(|end| self.addresses.get(end).is_some_and(|vrids| vrids.contains(&vrid)))
            }),
            Content::GratuitousArp(_) | Content::Neighbour(_) => {
                let vrids = self.routers_of(&seen.packet);
                vrids
                    .is_some_and(|vrids| self.options.vrid.is_none_or(|vrid| vrids.contains(&vrid)))
            }
        }
    }

    fn show(&mut self, seen: &Observed, out: &mut impl Write) -> Result<(), Error> {
        let none = BTreeSet::new();
        let vrids = self.routers_of(&seen.packet).unwrap_or(&none);
        if self.options.json {
            writeln!(out, "{}", line::json(seen, vrids))?;
        } else {
            writeln!(out, "{}", line::text(seen, vrids))?;
        }
        // Nothing but addresses is known of what a fence stops.
        let is_whole = !matches!(seen.packet.content, Content::Fenced(_));
        if let Some((path, file)) = self.file.as_mut().filter(|_| is_whole) {
            let comment = seen.refused.map(pcapng::comment);
            file.write(seen.time_ns, &seen.interface, &seen.record, comment.as_deref())
                .map_err(|error| Error::File(path.clone(), error))?;
        }
        self.shown += 1;
        self.refused_shown += u64::from(seen.refused.is_some());
        Ok(())
    }

    fn note_not_sampled(&mut self, out: &mut impl Write) -> Result<(), Error> {
        for (reason, packets) in self.refused.not_sampled() {
            self.not_sampled += packets;
            let time_ns = now_ns(ClockId::CLOCK_REALTIME)?;
            if self.options.json {
                writeln!(out, "{}", line::json_not_sampled(time_ns, reason, packets))?;
            } else {
                let filtered = self.options.interface.is_some() || self.options.vrid.is_some();
                let of = if filtered { " on all interfaces, of all routers" } else { "" };
                let (time, name, text) = (TimeOfDay(time_ns), reason.name(), reason.text());
                writeln!(
                    out,
                    "{time} {packets} more refused{of}, of which no sample was kept [{name}: {text}]"
                )?;
            }
            out.flush()?;
        }
        Ok(())
    }

    /// As tcpdump does it, where the packets are not.
    fn summary(&mut self) {
        let dropped = self.capture.dropped();
        let packets = |n: u64| format!("{n} packet{}", if n == 1 { "" } else { "s" });
        note(&format!(
            "\n{} shown, {} of them refused by XDP\n{} more refused by XDP, of which no sample was kept\n\
             {} dropped by kernel",
            packets(self.shown),
            self.refused_shown,
            self.not_sampled,
            packets(dropped)
        ));
    }
}

/// To people, who do not look at it through a pipe.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn now_ns(clock: ClockId) -> Result<i64, nix::Error> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}
