//! The ring buffer through which the kernel side reports received advertisements.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vrrp_common::event::{EVENT_HEADER_LEN, RxEvent};
use vrrp_common::maps::RING_BYTES;

use crate::engine::time::Nanos;

/// No more records fit into the ring.
const RECORDS: usize = RING_BYTES as usize / EVENT_HEADER_LEN;

/// The consuming end of `EVENTS`.
pub struct EventRing {
    /// None where there is no BPF: then nothing ever comes.
    ring: Option<AsyncFd<RingBuf<MapData>>>,
}

impl EventRing {
    /// Registers the ring with the current tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring owns its map's descriptor and returns the same one until it is dropped,
        // and the `AsyncFd` drops it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self { ring: Some(ring?) })
    }

    /// Of no kernel side.
    pub(super) fn silent() -> Self {
        Self { ring: None }
    }

    /// Waits until there is something to [`Self::drain`]. Now and then there is nothing after all.
    ///
    /// Cancel-safe. Must be followed by `drain` until that returns false: the kernel wakes us only for an
    /// event that finds the ring empty.
    /// Errors: those of epoll, or the runtime is shutting down.
    pub async fn readable(&mut self) -> io::Result<()> {
        // Cleared before the ring is read, so that an event that comes in between wakes us again.
        match &mut self.ring {
            Some(ring) => ring.readable_mut().await?.clear_ready(),
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
        let Some(ring) = &mut self.ring else { return false };
        let ring = ring.get_mut();
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
}
