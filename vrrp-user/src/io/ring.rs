//! The ring buffer through which the kernel side reports received advertisements.
//!
//! The position to which it was read stands in memory that the kernel side goes by, and to which everybody can write who can open
//! the pinned map. Where it makes no sense the kernel finds no room for reports any more, and the daemon would be deaf to all that
//! is new: so it is looked at whenever the ring is read.

use std::io;
use std::os::fd::AsFd;

use aya::maps::{Map, MapData, MapError, RingBuf};
use nix::unistd::{SysconfVar, sysconf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vrrp_common::event::{EVENT_HEADER_LEN, RxEvent};
use vrrp_common::maps::RING_BYTES;

use super::mmap_array::{MmapArray, read_word};
use crate::engine::time::Nanos;

/// No more records fit into the ring.
const RECORDS: usize = RING_BYTES as usize / EVENT_HEADER_LEN;
/// What records are multiples of (`bpf_ringbuf_hdr`, kernel/bpf/ringbuf.c).
const ALIGNMENT: u64 = 8;
/// No single [`EventRing::drain`] reads so many bytes.
const FAR: u64 = 1 << 32;

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
}

impl EventRing {
    /// Registers the ring with the current tokio runtime. One in which the position makes no sense, as somebody else has left it,
    /// begins with what comes next.
    pub(super) fn new(mut ring: RingBuf<MapData>) -> io::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok());
        let page = page.ok_or(io::ErrorKind::Unsupported)?;
        let position = MmapArray::<u64>::map(&ring, 1)?;
        let written_to = read_word(&ring, page)?;
        let mut read_to = position.load(0, 0).unwrap_or_default();
        if !is_position(read_to, written_to) {
            log::warn!("the ring buffer was read to no position in it: what is in there is lost");
            read_to = written_to;
            let _ = position.store(0, 0, read_to);
            // The other one has begun with that position.
            let map = MapData::from_fd(ring.as_fd().try_clone_to_owned()?);
            let again = map.and_then(|map| RingBuf::try_from(Map::RingBuf(map)));
            ring = again.map_err(|error: MapError| io::Error::other(error))?;
        }
        // SAFETY: the ring owns its map's descriptor and returns the same one until it is dropped,
        // and the `AsyncFd` drops it.
        let reports = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring: Some(Ring { reports, position, read_to }) })
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
        let Some(Ring { reports, position, read_to }) = &mut self.ring else { return false };
        let more = drain(reports.get_mut(), until, &mut handle);
        // Or somebody else has moved it meanwhile.
        *read_to =
            position.load(0, 0).filter(|at| at.wrapping_sub(*read_to) < FAR).unwrap_or(*read_to);
        more
    }
}

fn drain(
    ring: &mut RingBuf<MapData>,
    until: Nanos,
    handle: &mut impl FnMut(Result<(RxEvent, &[u8]), usize>),
) -> bool {
    for _ in 0..RECORDS {
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

/// Whether a ring that was written to one position can have been read to another one.
const fn is_position(read_to: u64, written_to: u64) -> bool {
    read_to.is_multiple_of(ALIGNMENT) && written_to.wrapping_sub(read_to) <= RING_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_ring_can_have_been_read_to() {
        let size = u64::from(RING_BYTES);
        for (read_to, written_to, can) in [
            (0, 0, true),
            (0, size, true),
            (8, size + 8, true),
            (0, size + 8, false),
            (8, 0, false),
            (4, 8, false),
            (1 << 40, 4096, false),
        ] {
            assert_eq!(is_position(read_to, written_to), can, "{read_to} {written_to}");
        }
    }
}
