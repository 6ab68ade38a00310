//! The other side of the wire: a master made of prebuilt frames, a flood, and a receiver with the kernel's
//! timestamps.

use std::collections::HashMap;
use std::fmt;
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal};
use nix::time::{ClockId, clock_gettime};
use vrrp_tests::{Error, Namespace, Result};
use vrrp_user::core::{InterfaceId, Tag, TxQueue};
use vrrp_user::engine::types::{Priority, Vrid};
use vrrp_user::io::tx::Tx;
use vrrp_user::wire::ethernet::VRRP_MULTICAST;
use vrrp_user::wire::frame::{AdvertFrame, AdvertParams};
use vrrp_user::wire::vrrp::Auth;

use crate::stage::{Load, PER_LINK, link_name};

/// Frames that the bare sender sends at one instant: as many as the daemon.
const GROUP: usize = 128;

fn nanos(time: TimeSpec) -> u64 {
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

/// The clock of packet timestamps, nanoseconds.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, nanos)
}

/// The value below which this part of all values lies; 0 without values.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn percentile(values: &mut [u64], percent: f64) -> u64 {
    values.sort_unstable();
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// The frame of each router, with the index of its interface in this thread's namespace.
fn frames(load: Load, priority: u8, host: u8) -> Result<Vec<(u32, AdvertFrame)>> {
    let unexpected = |what: &str| Error::Unexpected(what.to_owned());
    let mut frames = Vec::new();
    let mut ifindex = 0;
    for router in 0..load.routers {
        let (link, vrid) = (load.link(router), load.vrid(router));
        if vrid == 1 {
            ifindex =
                if_nametoindex(link_name(link).as_str()).map_err(Error::errno("find a link"))?;
        }
        let frame = AdvertFrame::new(&AdvertParams {
            source_mac: [2, 0, 0, 0, 0, host],
            dest_mac: VRRP_MULTICAST,
            source: Ipv4Addr::new(10, u8::try_from(link + 1).unwrap_or(255), 0, host).into(),
            destination: Ipv4Addr::new(224, 0, 0, 18).into(),
            ttl: vrrp_common::VRRP_TTL,
            vrid: Vrid::new(vrid).ok_or_else(|| unexpected("VRID 0"))?,
            interval: load.interval(),
            priority: Priority(priority),
            addresses: &[load.vip(router).into()],
            auth: Auth::None,
            v3_pseudo_header: true,
            signed: false,
        });
        frames.push((ifindex, frame.map_err(|error| unexpected(&error.to_string()))?));
    }
    Ok(frames)
}

/// A thread in a namespace that runs until it is told to stop.
pub struct Worker<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<T>>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts it.
    pub fn start(
        namespace: &Arc<Namespace>,
        work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (namespace, flag) = (Arc::clone(namespace), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            namespace.enter_thread()?;
            work(&flag)
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends the work and takes its result.
    pub fn stop(mut self) -> Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        ended.ok_or_else(|| Error::Unexpected("a thread panicked".to_owned()))?
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open() -> Result<Tx> {
    Tx::open().map_err(Error::io("open a packet socket"))
}

/// When a master of many routers advertises within an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// For one router after the other, evenly.
    Even,
    /// For all of them at once, as after they took over together.
    AtOnce,
}

/// A master of these routers of a load. Its result is when each was sent last.
pub fn advertise(
    namespace: &Arc<Namespace>,
    load: Load,
    routers: Range<usize>,
    priority: u8,
    pacing: Pacing,
) -> Worker<Vec<u64>> {
    Worker::start(namespace, move |stop| {
        let (mut frames, tx) = (frames(load, priority, 2)?, open()?);
        frames.truncate(routers.end);
        frames.drain(..routers.start.min(frames.len()));
        let mut sent = vec![0; frames.len()];
        let mut queue = TxQueue::default();
        let begin = Instant::now();
        let count = frames.len() as u64;
        let mut next = 0u64;
        // Not amid a round that is sent at once.
        while !stop.load(Ordering::Relaxed)
            || (pacing == Pacing::AtOnce && !next.is_multiple_of(count))
        {
            let due = |n: u64| {
                let n = if pacing == Pacing::AtOnce { n / count * count } else { n };
                begin + Duration::from_nanos(load.interval_ms * 1_000_000 * n / count)
            };
            let mut batch = Vec::new();
            while due(next) <= Instant::now() && batch.len() < 64 {
                let router = usize::try_from(next % count).unwrap_or(0);
                queue.push(
                    InterfaceId::own(frames[router].0),
                    frames[router].1.bytes(),
                    Tag::Announcement,
                );
                batch.push(router);
                next += 1;
            }
            // A flood beside it may fill the queues, as it would on a wire: that one is lost.
            tx.flush(&queue, 0, |_, _| ());
            queue.clear();
            let at = now();
            for router in batch {
                sent[router] = at;
            }
            let wait = due(next).saturating_duration_since(Instant::now());
            thread::sleep(wait.min(Duration::from_millis(20)));
        }
        Ok(sent)
    })
}

/// What a flood consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Advertisements of the master with a wrong checksum.
    BadChecksum,
    /// Valid advertisements of a router that does not exist here.
    UnknownVrid,
    /// Valid advertisements of the master, again and again.
    Repeated,
    /// Valid advertisements of the master, each with another priority than the last.
    Changing,
}

impl Flood {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::BadChecksum, Self::UnknownVrid, Self::Repeated, Self::Changing];
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadChecksum => "bad checksums",
            Self::UnknownVrid => "unknown VRID",
            Self::Repeated => "repeated adverts",
            Self::Changing => "changing priority",
        })
    }
}

/// Sends as fast as it can. The result is the rate in frames per second.
pub fn flood(namespace: &Arc<Namespace>, load: Load, what: Flood) -> Worker<f64> {
    Worker::start(namespace, move |stop| {
        let (mut frames, tx) = (frames(load, 200, 2)?, open()?);
        let mut other = frames.clone();
        match what {
            Flood::Changing => other.iter_mut().for_each(|(_, f)| f.set_priority(Priority(201))),
            Flood::UnknownVrid => {
                let many = Load::new(PER_LINK, load.interval_ms);
                frames = vec![self::frames(many, 200, 2)?.swap_remove(PER_LINK - 1)];
                other.clone_from(&frames);
            }
            Flood::BadChecksum | Flood::Repeated => {}
        }
        let mut batch: Vec<(u32, Vec<u8>)> = Vec::new();
        for (ifindex, frame) in frames.iter().chain(&other) {
            let mut bytes = frame.bytes().to_vec();
            if what == Flood::BadChecksum {
                // The VRRP checksum, behind 14 bytes of Ethernet and 20 of IP.
                bytes[40] ^= 0x55;
            }
            batch.push((*ifindex, bytes));
        }
        let mut queue = TxQueue::default();
        let (begin, mut count) = (Instant::now(), 0u64);
        while !stop.load(Ordering::Relaxed) {
            for (ifindex, bytes) in batch.iter().cycle().take(256) {
                queue.push(InterfaceId::own(*ifindex), bytes, Tag::Announcement);
            }
            let mut refused = 0;
            tx.flush(&queue, 0, |_, _| refused += 1);
            queue.clear();
            count += 256 - refused;
        }
        #[allow(clippy::cast_precision_loss)]
        Ok(count as f64 / begin.elapsed().as_secs_f64())
    })
}

/// Sends the frames of all routers in groups, and does nothing else. The result is the CPU time of that
/// in milliseconds per second.
pub fn bare_cpu(namespace: &Namespace, load: Load, duration: Duration) -> Result<f64> {
    namespace.enter(|| {
        let (frames, tx) = (frames(load, 200, 1)?, open()?);
        let mut queue = TxQueue::default();
        let cpu = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, nanos);
        let (begin, used) = (Instant::now(), cpu());
        let groups: Vec<_> = frames.chunks(GROUP).collect();
        let step = Duration::from_nanos(load.interval_ms * 1_000_000 / groups.len() as u64);
        let mut due = begin;
        for group in groups.iter().cycle() {
            for (ifindex, frame) in *group {
                queue.push(InterfaceId::own(*ifindex), frame.bytes(), Tag::Announcement);
            }
            tx.flush(&queue, 0, |_, _| ());
            queue.clear();
            due += step;
            if begin.elapsed() > duration {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        #[allow(clippy::cast_precision_loss)]
        Ok((cpu() - used) as f64 / 1e6 / begin.elapsed().as_secs_f64())
    })?
}

/// What arrived, per router and in order; nanoseconds of the kernel's receive timestamp.
pub struct Seen {
    load: Load,
    adverts: Vec<Vec<u64>>,
    garps: Vec<Vec<u64>>,
}

impl Seen {
    /// The first advertisement that was not a resignation.
    pub fn first_advert(&self, router: usize) -> Option<u64> {
        self.adverts.get(router)?.first().copied()
    }

    /// The first gratuitous ARP.
    pub fn first_garp(&self, router: usize) -> Option<u64> {
        self.garps.get(router)?.first().copied()
    }

    /// When a router advertised.
    pub fn adverts(&self, router: usize) -> &[u64] {
        self.adverts.get(router).map_or(&[], Vec::as_slice)
    }

    /// Each advertisement of a router except the first: when it arrived, and how long after the one before.
    pub fn intervals(&self, router: usize) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.adverts(router).windows(2).map(|pair| (pair[1], pair[1].saturating_sub(pair[0])))
    }
}

/// Notes what the daemon under test sends.
pub fn receive(namespace: &Arc<Namespace>, load: Load) -> Worker<Seen> {
    Worker::start(namespace, move |stop| {
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .map_err(Error::errno("open a packet socket"))?;
        let set = Error::errno("set up a packet socket");
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true)
            .and_then(|()| setsockopt(&fd, sockopt::RcvBufForce, &(256 << 20)))
            .and_then(|()| setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000)))
            .map_err(set)?;
        let links: HashMap<usize, usize> = (0..load.links)
            .filter_map(|link| {
                let index = if_nametoindex(link_name(link).as_str()).ok()?;
                Some((usize::try_from(index).ok()?, link))
            })
            .collect();
        let nothing = vec![Vec::new(); load.routers];
        let mut seen = Seen { load, adverts: nothing.clone(), garps: nothing };
        let mut buffer = [0u8; 2048];
        let mut space = cmsg_space!(TimeSpec);
        while !stop.load(Ordering::Relaxed) {
            let mut vectors = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::empty();
            let message =
                match recvmsg::<LinkAddr>(fd.as_raw_fd(), &mut vectors, Some(&mut space), flags) {
                    Ok(message) => message,
                    Err(Errno::EAGAIN | Errno::EINTR) => continue,
                    Err(errno) => return Err(Error::errno("receive")(errno)),
                };
            let at = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|one| {
                    let ControlMessageOwned::ScmTimestampns(time) = one else { return None };
                    Some(nanos(time))
                })
            });
            let link = message.address.and_then(|from| {
                let outgoing = from.pkttype() == libc::PACKET_OUTGOING;
                links.get(&from.ifindex()).copied().filter(|_| !outgoing)
            });
            let len = message.bytes;
            if let (Some(at), Some(link)) = (at, link) {
                seen.note(at, link, &buffer[..len.min(2048)]);
            }
        }
        Ok(seen)
    })
}

impl Seen {
    fn note(&mut self, at: u64, link: usize, frame: &[u8]) {
        let (position, list) = match (frame.get(12..14), frame.len()) {
            (Some([0x08, 0x00]), 42..) if frame[23] == 112 && frame[36] != 0 => {
                (frame[35], &mut self.adverts)
            }
            // The third byte of a virtual address is its VRID.
            (Some([0x08, 0x06]), 42..) if frame[28..32] == frame[38..42] => {
                (frame[40], &mut self.garps)
            }
            _ => return,
        };
        let router = link * self.load.per_link() + usize::from(position).saturating_sub(1);
        if let Some(times) = list.get_mut(router) {
            times.push(at);
        }
    }
}
