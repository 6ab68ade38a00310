//! The end: handing over, and taking away what was put anywhere.

use super::effect::{Effect, ManagerMessage};
use super::input::Input;
use super::netlink::{AddressRequest, Ask, Request};
use super::{Core, InterfaceAddr, Phase, RETRY_STOPPING};
use crate::engine::time::Nanos;
use crate::engine::types::{Priority, RouterId, State};

/// How long stopping waits for addresses to be removed.
const PATIENCE: Nanos = Nanos::from_secs(5);

/// How far the end is.
#[derive(Clone, Copy, Debug)]
pub struct Stopping {
    /// When it is over whatever is left.
    until: Nanos,
    /// Whether what is there whoever is master has been taken away: after what belongs to masters.
    fixed_removed: bool,
    /// Whether addresses of an earlier daemon were still there.
    kept: bool,
}

impl Stopping {
    /// When it is over whatever is left.
    pub fn until(self) -> Nanos {
        self.until
    }
}

impl Core {
    pub(super) fn stop(&mut self) {
        self.notify_manager(ManagerMessage::Stopping);
        self.engine.handle_shutdown(self.now);
        let kept = self.release_all_kept();
        let until = self.now + PATIENCE;
        // What has failed until now is tried again soon.
        self.retry_at = self.addresses.needs_retry().then_some(self.now + RETRY_STOPPING);
        self.phase = Phase::Stopping(Stopping { until, fixed_removed: false, kept });
    }

    pub(super) fn handle_stopping(&mut self, input: Input<'_>) {
        match input {
            Input::Answered(answers) => self.answered(answers),
            Input::Timeout => {
                if self.retry_at.is_some_and(|at| at <= self.now) {
                    self.retry_at = None;
                    self.retry_strays();
                    self.retry_addresses();
                    self.retry_objects();
                }
                if let Phase::Stopping(stopping) = &self.phase
                    && stopping.until <= self.now
                {
                    log::error!("stopping although not everything could be removed");
                    self.stopped();
                }
            }
            Input::ClockSet { realtime_offset } => self.realtime_offset = realtime_offset,
            Input::SignatureModes(modes) => self.signature_modes = modes,
            // What is decided from now on would be for nothing.
            Input::Received { .. }
            | Input::Damaged { .. }
            | Input::RingMended
            | Input::Changed(_)
            | Input::Listed { .. }
            | Input::Namespace { .. }
            | Input::Attached { .. }
            | Input::EgressMended { .. }
            | Input::HooksSeen(_)
            | Input::LastSeen { .. }
            | Input::LastSeenEnd { .. }
            | Input::FilterSet { .. }
            | Input::Forwards { .. }
            | Input::TestSent { .. }
            | Input::Health { .. }
            | Input::BadTrackFile { .. }
            | Input::TrackedOnce { .. }
            | Input::ScriptFound(_)
            | Input::Reload { .. }
            | Input::ConfigurationRead { .. }
            | Input::NotDelivered(_)
            | Input::NotServed
            | Input::Fenced { .. }
            | Input::PinsMended { .. }
            | Input::PinsLost(_)
            | Input::Stop => {}
        }
    }

    /// Goes on with the end, when the routers want nothing more.
    pub(super) fn stop_further(&mut self) {
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        if !self.later.is_empty() || self.engine.actions().next().is_some() {
            return;
        }
        let kept = stopping.kept;
        if !std::mem::replace(&mut stopping.fixed_removed, true) {
            self.remove_fixed();
        }
        if self.addresses.settled()
            && self.objects.book.settled()
            && (!kept || self.asked == 0)
            && self.failed_strays.is_empty()
            && self.release_refused()
        {
            self.stopped();
        }
    }

    fn stopped(&mut self) {
        self.phase = Phase::Stopped;
        // What still waits to be told is told now.
        self.notifier_flush();
        self.effects.push_back(Effect::Stopped);
    }

    /// After a mistake of ours: the masters that there are. What a core believes is not to be trusted any more, so whoever
    /// drives takes one step after the other, each of which may fail.
    pub fn masters(&self) -> Vec<RouterId> {
        let every = 0..u32::try_from(self.routers.len()).unwrap_or(u32::MAX);
        let ids = every.map(RouterId);
        ids.filter(|id| self.engine.state(*id) == Some(State::Master)).collect()
    }

    /// After a mistake of ours: a router resigns.
    pub fn abandon_router(&mut self, id: RouterId) {
        self.send_advert(id, Priority::RESIGN);
    }

    /// After a mistake of ours: what belongs to a router besides its addresses goes.
    pub fn abandon_objects(&mut self, id: RouterId) {
        self.remove_objects(id);
    }

    /// After a mistake of ours: what is there whoever is master goes, and scripts are told that a router ends.
    pub fn abandon_rest(&mut self, masters: &[RouterId]) {
        self.remove_fixed();
        for id in masters {
            self.notify_transition(*id, State::Init);
        }
        self.notifier_flush();
    }

    /// Requests that remove every address that was added, or that may have been.
    pub fn removals(&self) -> Vec<(InterfaceAddr, Ask)> {
        let mut asks = Vec::new();
        let ask = |address: AddressRequest| Ask::address(Request::Remove, address);
        for (at, router) in self.addresses.held() {
            let address = self.pending_removals.get(&at).cloned();
            let address =
                address.or_else(|| self.router(router).request(at, self.addresses.index(at)));
            asks.extend(address.map(|address| (at, ask(address))));
        }
        for request in self.kept.values().flatten() {
            asks.push((request.address.at, ask(request.clone())));
        }
        asks
    }

    /// Requests to netlink that have not been answered.
    pub fn unanswered(&self) -> usize {
        self.asked
    }
}
