//! Advertisements on their way out.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::send_failures::own_fault;
use super::{Counter, Daemon};
use crate::engine::time::Nanos;
use crate::engine::types::{Action, Priority, RouterId, SendError};
use crate::io::{bpf, timer, tx};
use crate::wire::frame;

/// Announcements that fail on one interface are logged once in this time.
const ANNOUNCE_SILENCE: Nanos = Nanos::from_secs(60);

/// Announcements of addresses that the kernel did not send, by interface.
#[derive(Default)]
pub struct Unannounced {
    interfaces: BTreeMap<u32, Unlogged>,
}

#[derive(Default)]
struct Unlogged {
    logged_at: Option<Nanos>,
    count: u64,
    first: Option<IpAddr>,
    error: Option<io::Error>,
}

impl Unannounced {
    /// One more that was not sent.
    fn add(&mut self, ifindex: u32, address: Option<IpAddr>, error: io::Error) {
        let unlogged = self.interfaces.entry(ifindex).or_default();
        unlogged.count += 1;
        unlogged.first = unlogged.first.or(address);
        unlogged.error = Some(error);
    }

    /// What is to be logged now, with the interface that it is about.
    fn log(&mut self, now: Nanos) -> Vec<(u32, String)> {
        let due = self.interfaces.iter_mut().filter_map(|(ifindex, unlogged)| {
            let soon = unlogged.logged_at.is_some_and(|at| now < at + ANNOUNCE_SILENCE);
            let error = unlogged.error.as_ref().filter(|_| !soon)?;
            let address = unlogged.first.map_or("an address".to_owned(), |it| it.to_string());
            let more = match unlogged.count - 1 {
                0 => String::new(),
                more => format!(" (and {more} more announcements)"),
            };
            let line = format!("cannot announce {address}{more}: {error}");
            *unlogged = Unlogged { logged_at: Some(now), ..Unlogged::default() };
            Some((*ifindex, line))
        });
        due.collect()
    }

    /// The interface is gone.
    pub fn forget(&mut self, ifindex: u32) {
        self.interfaces.remove(&ifindex);
    }
}

impl Daemon {
    pub(super) fn send_advert(&mut self, id: RouterId, priority: Priority) {
        self.hearing.master();
        let Self { routers, queue, idents, tx, .. } = self;
        let sent = routers[id.0 as usize].advertise(
            priority,
            queue,
            idents,
            id,
            |ifindex, peer, packet| tx.send_ip(ifindex, peer, packet),
        );
        if sent.left > 0
            && let Err(error) = self.kernel.count_advert(id.0)
        {
            log::error!("{}: {}", self.router(id).place(), bpf::chain(&error));
        }
        if sent.left > 0 && priority == Priority::RESIGN {
            self.publish(id, |info| info.priority_zero_sent += 1);
        }
        if sent.errors.is_empty() {
            return;
        }
        for error in &sent.errors {
            self.send_failed(id, error);
        }
        // One peer that could be reached, or could not for reasons of its own, is enough to go on.
        let own: Option<Vec<SendError>> = sent.errors.iter().map(own_fault).collect();
        if let (0, Some([error, ..])) = (sent.left, own.as_deref()) {
            self.sent_to_nobody(id, *error);
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
        let (mut adverts, mut announcements) = (Vec::new(), 0);
        let Self { tx, queue, unannounced, .. } = self;
        tx.flush(queue, |refused, error| {
            if refused.tag == u32::MAX {
                announcements += 1;
                unannounced.add(refused.ifindex, frame::target(refused.frame), error);
            } else {
                adverts.push((RouterId(refused.tag), error));
            }
        });
        for (id, error) in adverts {
            self.send_failed(id, &error);
            if let Some(error) = own_fault(&error) {
                self.sent_to_nobody(id, error);
            }
        }
        for _ in 0..announcements {
            self.count(Counter::SendFailed);
        }
        if announcements > 0 {
            for (ifindex, line) in self.unannounced.log(timer::now()) {
                let name = self.interfaces.get(ifindex).map_or("?", |interface| &interface.name);
                log::warn!("{name}: {line}");
            }
        }
    }

    fn send_failed(&mut self, id: RouterId, error: &io::Error) {
        self.count(Counter::SendFailed);
        let Some(router) = self.routers.get_mut(id.0 as usize) else { return };
        if router.send_failed() {
            log::error!("{}: cannot send an advertisement: {error}", router.place());
        }
        self.publish(id, |info| info.send_errors += 1);
    }

    /// An advertisement of a router left for nobody, and that is this host's own fault.
    fn sent_to_nobody(&mut self, id: RouterId, error: SendError) {
        let Some(down_adverts) = self.engine.spec(id).map(|spec| spec.down_adverts) else { return };
        let router = self.router(id);
        if error == SendError::NetworkDown {
            let waits = router.ifindex().and_then(|ifindex| self.delays.link(ifindex));
            if router.may_be_down || waits.is_some() {
                // As configured: it counts as up although it is down.
                return;
            }
        }
        if self.router_mut(id).sent_to_nobody(timer::now(), error, down_adverts) {
            self.evaluate(id);
            self.retry_soon();
        }
    }

    /// Tries again for routers that are in FAULT because they could not send.
    pub(super) fn retry_sending(&mut self) {
        let now = timer::now();
        for id in self.ids() {
            let Self { routers, tx, .. } = self;
            let router = &mut routers[id.0 as usize];
            let Some(before) = router.cannot_send() else { continue };
            if router.retry_sending(now, tx) {
                match self.router(id).cannot_send() {
                    None => log::info!("{}: can send again", self.router(id).place()),
                    Some(error) if error != before => {
                        log::error!("{}: cannot send: {error}", self.router(id).place());
                    }
                    Some(_) => {}
                }
                self.evaluate(id);
            }
            if self.router(id).cannot_send().is_some() {
                self.retry_soon();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_that_fail_are_one_line_a_minute() {
        let mut unannounced = Unannounced::default();
        let address = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        let down = || io::Error::from_raw_os_error(libc::ENETDOWN);
        for n in 1..=100 {
            unannounced.add(2, address(n), down());
        }
        unannounced.add(3, address(7), down());
        let said = unannounced.log(Nanos::from_secs(1));
        let why = down().to_string();
        let expected = [
            (2, format!("cannot announce 10.0.0.1 (and 99 more announcements): {why}")),
            (3, format!("cannot announce 10.0.0.7: {why}")),
        ];
        assert_eq!(said, expected);
        unannounced.add(2, address(5), down());
        unannounced.add(2, address(6), down());
        assert_eq!(unannounced.log(Nanos::from_secs(60)), []);
        let said = unannounced.log(Nanos::from_secs(61));
        assert_eq!(said.len(), 1);
        assert!(said[0].1.starts_with("cannot announce 10.0.0.5 (and 1 more "), "{said:?}");
        assert_eq!(unannounced.log(Nanos::from_secs(200)), []);
    }
}
