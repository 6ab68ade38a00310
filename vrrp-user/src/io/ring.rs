//! The ring buffer through which the kernel side reports received advertisements.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vrrp_common::event::RxEvent;

/// The consuming end of `EVENTS`.
pub struct EventRing {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl EventRing {
    /// Registers the ring with the current tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring owns its map's descriptor and returns the same one until it is dropped,
        // and the `AsyncFd` drops it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self { ring: ring? })
    }

    /// Waits until there is something to [`Self::drain`]. Now and then there is nothing after all.
    ///
    /// Cancel-safe. Must be followed by `drain` until that returns less than its budget: the kernel
    /// wakes us only for an event that finds the ring empty.
    ///
    /// # Errors
    ///
    /// Those of epoll, or the runtime is shutting down.
    pub async fn readable(&mut self) -> io::Result<()> {
        // Cleared before the ring is read, so that an event that comes in between wakes us again.
        self.ring.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// Hands at most `budget` events to `handle`, each with its VRRP message, oldest first, and
    /// returns how many. As many as `budget` means that more may be waiting.
    pub fn drain(&mut self, budget: usize, mut handle: impl FnMut(RxEvent, &[u8])) -> usize {
        let ring = self.ring.get_mut();
        for done in 0..budget {
            let Some(record) = ring.next() else { return done };
            match RxEvent::split(&record) {
                Some((event, message)) => handle(event, message),
                None => log::error!("event of {} octets is shorter than it says", record.len()),
            }
        }
        budget
    }
}
