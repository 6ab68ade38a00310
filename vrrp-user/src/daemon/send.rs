//! Advertisements on their way out.

use std::io;

use super::{Counter, Daemon};
use crate::engine::types::{Action, Priority, RouterId};
use crate::io::{bpf, tx};

impl Daemon {
    pub(super) fn send_advert(&mut self, id: RouterId, priority: Priority) {
        let Self { routers, queue, tx, .. } = self;
        let (sent, failed) =
            routers[id.0 as usize].advertise(priority, queue, id, |ifindex, peer, packet| {
                tx.send_ip(ifindex, peer, packet)
            });
        for error in failed {
            self.send_failed(id.0, &error);
        }
        if sent && let Err(error) = self.kernel.count_advert(id.0) {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
        if sent && priority == Priority::RESIGN {
            self.publish(id, |info| info.priority_zero_sent += 1);
        }
    }

    /// Looks at what the next advertisements need. In a second without work it has left the caches, and one after the
    /// other each of them would wait for it; these looks wait for nothing and overlap.
    pub(super) fn warm(&self) {
        let next = self.engine.actions().take(tx::BATCH).filter_map(Action::advertises);
        let seen = next.fold(0, |seen, id| {
            seen ^ self.router(id).peek() ^ self.kernel.adverts_sent(id.0).unwrap_or_default()
        });
        std::hint::black_box(seen);
    }

    pub(super) fn flush(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let mut failures = Vec::new();
        self.tx.flush(&mut self.queue, |tag, error| failures.push((tag, error)));
        for (tag, error) in failures {
            self.send_failed(tag, &error);
        }
    }

    fn send_failed(&mut self, tag: u32, error: &io::Error) {
        self.count(Counter::SendFailed);
        match self.routers.get_mut(tag as usize) {
            Some(router) => {
                if router.send_failed() {
                    log::error!("{}: cannot send an advertisement: {error}", router.place());
                }
                self.publish(RouterId(tag), |info| info.send_errors += 1);
            }
            None => log::warn!("cannot announce an address: {error}"),
        }
    }
}
