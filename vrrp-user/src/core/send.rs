//! Advertisements on their way out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vrrp_common::hmac::Sequence;

use super::effect::{Effect, InfoChange};
use super::send_failures::{Errno, own_fault};
use super::tx_queue::{BATCH, Tag, TxQueue};
use super::{Core, Counter};
use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;
use crate::engine::types::{Action, Priority, RouterId, SendError};
use crate::wire::frame;

/// Announcements that fail on one interface are logged once in this time.
const ANNOUNCE_SILENCE: Nanos = Nanos::from_secs(60);

/// Announcements of addresses that the kernel did not send, by interface.
#[derive(Default)]
pub struct Unannounced {
    interfaces: BTreeMap<InterfaceId, Unlogged>,
}

#[derive(Default)]
struct Unlogged {
    logged_at: Option<Nanos>,
    count: u64,
    first: Option<IpAddr>,
    error: Option<Errno>,
}

impl Unannounced {
    /// One more that was not sent.
    fn add(&mut self, iface: InterfaceId, address: Option<IpAddr>, error: Errno) {
        let unlogged = self.interfaces.entry(iface).or_default();
        unlogged.count += 1;
        unlogged.first = unlogged.first.or(address);
        unlogged.error = Some(error);
    }

    /// What is to be logged now, with the interface that it is about.
    fn log(&mut self, now: Nanos) -> Vec<(InterfaceId, String)> {
        let due = self.interfaces.iter_mut().filter_map(|(iface, unlogged)| {
            let soon = unlogged.logged_at.is_some_and(|at| now < at + ANNOUNCE_SILENCE);
            let error = unlogged.error.filter(|_| !soon)?;
            let address = unlogged.first.map_or("an address".to_owned(), |it| it.to_string());
            let more = match unlogged.count - 1 {
                0 => String::new(),
                more => format!(" (and {more} more announcements)"),
            };
            let line = format!("cannot announce {address}{more}: {error}");
            *unlogged = Unlogged { logged_at: Some(now), ..Unlogged::default() };
            Some((*iface, line))
        });
        due.collect()
    }

    /// The interface is gone.
    pub fn forget(&mut self, iface: InterfaceId) {
        self.interfaces.remove(&iface);
    }
}

/// An advertisement, and to how many it could not be sent.
struct Unsent {
    router: RouterId,
    /// Whether it left for anybody.
    left: bool,
    errors: Vec<Errno>,
}

impl Core {
    pub(super) fn send_advert(&mut self, id: RouterId, priority: Priority) {
        self.reception.master();
        if priority == Priority::RESIGN {
            self.leave_unicast_filter(id);
        }
        let clock = Sequence::at(self.now.0.wrapping_add(self.realtime_offset));
        let Self { routers, frames, idents, .. } = self;
        let queued = routers[id.0 as usize].advertise(priority, frames, idents, id, clock);
        if queued && priority == Priority::RESIGN {
            self.publish(id, InfoChange::Resigned);
        }
    }

    /// The sequence of the last advertisement of a router, if that was signed; with an authentication header its sequence number.
    pub fn signed_with(&self, id: RouterId) -> Option<Sequence> {
        if let Some(ah) = self.router(id).ah() {
            return Some(Sequence(ah.last().into()));
        }
        let signer = self.router(id).signer()?;
        Some(signer.last()).filter(|last| *last != Sequence::default())
    }

    /// Looks at what the next advertisements need, and has `look` do so elsewhere. In a second without work it has left the
    /// caches, and one after the other each of them would wait for it; these looks wait for nothing and overlap.
    pub fn warm(&self, look: impl Fn(RouterId) -> u64) {
        let next = self.engine.actions().take(BATCH).filter_map(Action::advertises);
        let seen = next.fold(0, |seen, id| seen ^ self.router(id).peek() ^ look(id));
        std::hint::black_box(seen);
    }

    /// What is to be sent, in this order; then it is to be said what came of it ([`Self::sent`]).
    pub fn frames(&self) -> &TxQueue {
        &self.frames
    }

    /// All frames were sent, but for those at these places, which ascend.
    pub fn sent(&mut self, now: Nanos, refused: &[(usize, Errno)]) {
        self.now = now;
        if refused.is_empty() {
            return self.frames.clear();
        }
        let frames = std::mem::take(&mut self.frames);
        let (mut adverts, mut announcements) = (Vec::<Unsent>::new(), 0);
        let mut refused = refused.iter().copied().peekable();
        for (place, frame) in frames.iter().enumerate() {
            let error = refused.next_if(|(other, _)| *other == place).map(|(_, error)| error);
            match frame.tag {
                Tag::Announcement => {
                    let Some(error) = error else { continue };
                    announcements += 1;
                    self.unannounced.add(frame.iface, frame::target(frame.bytes), error);
                }
                Tag::Advert { router, first, .. } => {
                    if first {
                        adverts.push(Unsent { router, left: false, errors: Vec::new() });
                    }
                    let Some(advert) = adverts.last_mut() else { continue };
                    match error {
                        Some(error) => advert.errors.push(error),
                        None => advert.left = true,
                    }
                }
            }
        }
        self.frames = frames;
        self.frames.clear();
        for Unsent { router, left, errors } in adverts {
            for error in &errors {
                self.send_failed(router, *error);
            }
            // One peer that could be reached, or could not for reasons of its own, is enough to go on.
            let own: Option<Vec<SendError>> = errors.into_iter().map(own_fault).collect();
            if let (false, Some([error, ..])) = (left, own.as_deref()) {
                self.sent_to_nobody(router, *error);
            }
        }
        for _ in 0..announcements {
            self.count(Counter::SendFailed);
        }
        if announcements > 0 {
            for (iface, line) in self.unannounced.log(now) {
                let name = self.interfaces.get(iface).map_or("?", |interface| &interface.name);
                log::warn!("{name}: {line}");
            }
        }
    }

    fn send_failed(&mut self, id: RouterId, error: Errno) {
        self.count(Counter::SendFailed);
        let Some(router) = self.routers.get_mut(id.0 as usize) else { return };
        if router.send_failed() {
            log::error!("{}: cannot send an advertisement: {error}", router.label());
        }
        self.publish(id, InfoChange::SendError);
    }

    /// An advertisement of a router left for nobody, and that is this host's own fault.
    fn sent_to_nobody(&mut self, id: RouterId, error: SendError) {
        let Some(down_adverts) = self.engine.spec(id).map(|spec| spec.down_adverts) else { return };
        let router = self.router(id);
        if error == SendError::NetworkDown {
            let waits = router.iface().and_then(|iface| self.delays.link(iface));
            if router.may_be_down || waits.is_some() {
                // As configured: it counts as up although it is down.
                return;
            }
        }
        let now = self.now;
        if self.router_mut(id).sent_to_nobody(now, error, down_adverts) {
            self.evaluate(id);
            self.retry_soon();
        }
    }

    /// Tries again for routers that are in FAULT because they could not send.
    pub(super) fn retry_sending(&mut self) {
        let now = self.now;
        for id in self.ids() {
            if self.router(id).cannot_send().is_none() {
                continue;
            }
            match self.router_mut(id).try_sending(now) {
                Some(frames) => self.effects.push_back(Effect::SendTest { router: id, frames }),
                None => self.retry_soon(),
            }
        }
    }

    /// It is known whether a router can send again.
    pub(super) fn test_sent(&mut self, id: RouterId, error: Option<Errno>) {
        let now = self.now;
        let router = self.routers.get_mut(id.0 as usize);
        let before = router.as_ref().and_then(|router| router.cannot_send());
        let Some(changed) = router.and_then(|router| router.tried_sending(now, error)) else {
            return self.count(Counter::UnexpectedAnswer);
        };
        let after = self.router(id).cannot_send();
        if changed {
            match after {
                None => log::info!("{}: can send again", self.router(id).label()),
                Some(error) if Some(error) != before => {
                    log::error!("{}: cannot send: {error}", self.router(id).label());
                }
                Some(_) => {}
            }
            self.evaluate(id);
        }
        if after.is_some() {
            self.retry_soon();
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
        let down = || Errno(libc::ENETDOWN);
        for n in 1..=100 {
            unannounced.add(InterfaceId::own(2), address(n), down());
        }
        unannounced.add(InterfaceId::own(3), address(7), down());
        let said = unannounced.log(Nanos::from_secs(1));
        let why = down().to_string();
        let expected = [
            (
                InterfaceId::own(2),
                format!("cannot announce 10.0.0.1 (and 99 more announcements): {why}"),
            ),
            (InterfaceId::own(3), format!("cannot announce 10.0.0.7: {why}")),
        ];
        assert_eq!(said, expected);
        unannounced.add(InterfaceId::own(2), address(5), down());
        unannounced.add(InterfaceId::own(2), address(6), down());
        assert_eq!(unannounced.log(Nanos::from_secs(60)), []);
        let said = unannounced.log(Nanos::from_secs(61));
        assert_eq!(said.len(), 1);
        assert!(said[0].1.starts_with("cannot announce 10.0.0.5 (and 1 more "), "{said:?}");
        assert_eq!(unannounced.log(Nanos::from_secs(200)), []);
    }
}
