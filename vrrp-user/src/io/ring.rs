//! The ring buffer through which the kernel side reports received advertisements.
//!
//! The position to which it was read stands in memory that the kernel side goes by, and to which everybody can write who can open
//! the pinned map. Where it makes no sense the kernel finds no room for reports any more, and the daemon would be deaf to all that
//! is new: so it is looked at whenever the ring is read.

use std::io;
use std::os::fd::AsFd;

use aya::maps::{Map, MapData, RingBuf};
use nix::unistd::{SysconfVar, sysconf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vrrp_common::event::RxEvent;

use super::mmap_array::{MmapArray, MmapWords};
use crate::engine::time::Nanos;

/// What records are multiples of, and how long what stands before each of them is: its length as a `u32`, and another one
/// (`struct bpf_ringbuf_hdr`, kernel/bpf/ringbuf.c).
const ALIGNMENT: u64 = 8;
const HEADER: u64 = 8;
/// `BPF_RINGBUF_BUSY_BIT` and `BPF_RINGBUF_DISCARD_BIT` (linux/bpf.h), beside the length.
const FLAGS: u32 = 1 << 31 | 1 << 30;

/// The consuming end of `EVENTS`.
pub struct EventRing {
    /// None where there is no BPF: then nothing ever comes.
    ring: Option<Ring>,
}

struct Ring {
    reports: AsyncFd<RingBuf<MapData>>,
    /// The position to which it was read.
    position: MmapArray<u64>,
    /// What that is, unless somebody else has moved it.
    read_to: u64,
    written: Written,
}

/// What the kernel side has written, in memory that is its own.
struct Written {
    /// The position to which it has, on a page of its own, and behind that page the ring, twice in a row.
    words: MmapWords,
    page: usize,
    /// Of the ring, in bytes: a power of two.
    size: u64,
}

impl EventRing {
    /// Registers the ring with the current tokio runtime. One in which the position makes no sense, as somebody else has left it,
    /// begins with what comes next.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        let map = MapData::from_fd(ring.as_fd().try_clone_to_owned()?).map_err(io::Error::other)?;
        let written = Written::map(&map)?;
        let position = MmapArray::<u64>::map(map.fd(), 1)?;
        let (mut ring, mut read_to) = (ring, position.load(0, 0).unwrap_or_default());
        let written_to = written.position();
        if !written.leads(read_to, written_to) {
            log::warn!("the ring buffer was read to no position in it: what is in there is lost");
            read_to = written_to;
            let _ = position.store(0, 0, read_to);
            // The other one has begun with that position.
            ring = RingBuf::try_from(Map::RingBuf(map)).map_err(io::Error::other)?;
        }
        // SAFETY: the ring owns its map's descriptor and returns the same one until it is dropped,
        // and the `AsyncFd` drops it.
        let reports = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring: Some(Ring { reports, position, read_to, written }) })
    }

    /// Of no kernel side.
    pub(super) fn silent() -> Self {
        Self { ring: None }
    }

    /// Puts the position back where somebody else has moved it; whether that was so. What was to be reported meanwhile may be lost.
    pub fn mend(&mut self) -> bool {
        let Some(Ring { position, read_to, .. }) = &self.ring else { return false };
        let moved = position.load(0, 0).is_some_and(|at| at != *read_to);
        moved && position.store(0, 0, *read_to)
    }

    /// Waits until there is something to [`Self::drain`]. Now and then there is nothing after all.
    ///
    /// Cancel-safe. Must be followed by `drain` until that returns false: the kernel wakes us only for an
    /// event that finds the ring empty.
    /// Errors: those of epoll, or the runtime is shutting down.
    pub async fn readable(&mut self) -> io::Result<()> {
        // Cleared before the ring is read, so that an event that comes in between wakes us again.
        match &mut self.ring {
            Some(ring) => ring.reports.readable_mut().await?.clear_ready(),
            None => std::future::pending().await,
        }
        Ok(())
    }

    /// Hands everything that arrived until `until` to `handle`, each event with its VRRP message, or how long a record is
    /// that is shorter than it says; oldest first. Whether more may be waiting, which arrived later. Bounded by what the ring holds, because nothing can be added to it
    /// that is older.
    pub fn drain(
        &mut self,
        until: Nanos,
        mut handle: impl FnMut(Result<(RxEvent, &[u8]), usize>),
    ) -> bool {
        let Some(Ring { reports, position, read_to, written }) = &mut self.ring else {
            return false;
        };
        let more = drain(reports.get_mut(), written.most(), until, &mut handle);
        // Or somebody else has moved it meanwhile. What is left in the ring then begins where this has stopped all the same.
        let is_possible = |at: &u64| written.holds(*at, written.position());
        *read_to = position.load(0, 0).filter(is_possible).unwrap_or(*read_to);
        more
    }
}

fn drain(
    ring: &mut RingBuf<MapData>,
    most: u64,
    until: Nanos,
    handle: &mut impl FnMut(Result<(RxEvent, &[u8]), usize>),
) -> bool {
    for _ in 0..most {
        let Some(record) = ring.next() else { return false };
        match RxEvent::split(&record) {
            Some((event, message)) => {
                let later = event.ktime_ns > until.0;
                handle(Ok((event, message)));
                if later {
                    return true;
                }
            }
            None => handle(Err(record.len())),
        }
    }
    true
}

impl Written {
    fn map(map: &MapData) -> io::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok());
        let page = page.ok_or(io::ErrorKind::Unsupported)?;
        let size = map.info().map_err(io::Error::other)?.max_entries();
        let ring = usize::try_from(size).map_err(io::Error::other)?;
        let words = MmapWords::map(map.fd(), page, page + 2 * ring)?;
        Ok(Self { words, page, size: size.into() })
    }

    /// The position to which it was written.
    fn position(&self) -> u64 {
        self.words.load(0).unwrap_or_default()
    }

    /// No more records are in there.
    fn most(&self) -> u64 {
        self.size / HEADER
    }

    /// Whether a ring that was written to one position may have been read to another one.
    fn holds(&self, read_to: u64, written_to: u64) -> bool {
        read_to.is_multiple_of(ALIGNMENT) && written_to.wrapping_sub(read_to) <= self.size
    }

    /// Whether records lead from one position exactly to the other one, so that it was read to the beginning of one of them.
    fn leads(&self, read_to: u64, written_to: u64) -> bool {
        let mut at = read_to;
        while self.holds(at, written_to) && at != written_to {
            let Some(length) = self.length(at) else { return false };
            at = at.wrapping_add((HEADER + length).next_multiple_of(ALIGNMENT));
        }
        at == written_to
    }

    /// How long the record at a position is, without what stands before it.
    fn length(&self, at: u64) -> Option<u64> {
        let offset = usize::try_from(at & (self.size - 1)).ok()?;
        let [a, b, c, d, ..] = self.words.load(self.page + offset)?.to_ne_bytes();
        Some(u64::from(u32::from_ne_bytes([a, b, c, d]) & !FLAGS))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PAGE: usize = 4096;
    const SIZE: u64 = PAGE as u64;

    /// A ring in which records of these lengths and flags were written, from a position on, and to which one.
    fn ring(from: u64, records: &[(u32, u32)]) -> (Written, u64) {
        let mut bytes = [0xff; 2 * PAGE];
        let mut at = from;
        for (length, flags) in records {
            let place = PAGE + usize::try_from(at % SIZE).expect("a place");
            bytes[place..place + 4].copy_from_slice(&(length | flags).to_ne_bytes());
            at += (HEADER + u64::from(*length)).next_multiple_of(ALIGNMENT);
        }
        bytes[..8].copy_from_slice(&at.to_ne_bytes());
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&bytes).expect("write");
        let words = MmapWords::map(&file, 0, bytes.len()).expect("map");
        (Written { words, page: PAGE, size: SIZE }, at)
    }

    #[test]
    fn where_a_ring_can_have_been_read_to() {
        let (none, _) = ring(0, &[]);
        for (read_to, written_to, can) in [
            (0, 0, true),
            (0, SIZE, true),
            (8, SIZE + 8, true),
            (0, SIZE + 8, false),
            (8, 0, false),
            (4, 8, false),
            (1 << 40, 4096, false),
        ] {
            assert_eq!(none.holds(read_to, written_to), can, "{read_to} {written_to}");
        }
    }

    #[test]
    fn records_lead_from_where_it_was_read_to_where_it_was_written() {
        // 56 bytes, one that is not there yet and one that was given up: 64, 24 and 32 bytes with what stands before them. They
        // go round the end of the ring.
        let from = 3 * SIZE - 72;
        let (written, to) = ring(from, &[(56, 0), (13, 1 << 31), (24, 1 << 30)]);
        assert_eq!((written.position(), to), (to, from + 120));
        let begins: Vec<_> =
            (0..=120).step_by(8).filter(|more| written.leads(from + more, to)).collect();
        assert_eq!(begins, [0, 64, 88, 120], "and no other place");
        assert!(!written.leads(from - 8, to) && !written.leads(to + 8, to));
        assert!(!written.leads(from + 4, to) && !written.leads(to - SIZE - 8, to));
    }
}
