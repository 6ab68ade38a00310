//! The election engine: every virtual router of the daemon, as a pure state machine.
//!
//! No clock, socket, file or runtime in here. The caller says what happened and when (`handle_*`),
//! then drains [`Engine::poll_action`] to empty, then sleeps until [`Engine::poll_timeout`].

pub mod election;
mod fsm;
pub mod time;
mod timers;
pub mod types;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use self::fsm::{Event, Router};
use self::time::Nanos;
use self::timers::{Queue, Timer};
use self::types::{Action, Advert, Link, RouterId, RouterSpec, RouterView};

/// All virtual routers.
///
/// Every `handle_*` takes `now`, a reading of one monotonic clock; only that of [`Self::handle_rx`]
/// may lie before an earlier one. Events for routers that do not exist are ignored, because a
/// packet may be on its way while its router goes.
#[derive(Debug, Default)]
pub struct Engine {
    routers: BTreeMap<RouterId, Router>,
    timers: Queue,
    actions: VecDeque<Action>,
    stopped: bool,
}

impl Engine {
    /// An engine without routers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a router, in [`types::State::Init`] until [`Self::handle_link`] says how its link is.
    ///
    /// `false`, and nothing happens, when the id is taken.
    pub fn add_router(&mut self, id: RouterId, spec: RouterSpec) -> bool {
        let free = !self.routers.contains_key(&id);
        if free {
            self.routers.insert(id, Router::new(id, spec));
        }
        free
    }

    /// Stops one router, as at a shutdown, and forgets it.
    ///
    /// Its last actions still name the id: it may be used again once they are drained.
    pub fn remove_router(&mut self, now: Nanos, id: RouterId) {
        self.dispatch(now, id, Event::Shutdown);
        self.routers.remove(&id);
    }

    /// The router's interface, or the address it sends from, changed.
    pub fn handle_link(&mut self, now: Nanos, id: RouterId, link: Link) {
        let event = match link {
            Link::Up(address) => Event::LinkUp(address),
            Link::Down(cause) => Event::LinkDown(cause),
        };
        self.dispatch(now, id, event);
    }

    /// An advertisement for the router passed the receive checks. `now` is its arrival.
    ///
    /// After a pause, hand over what arrived meanwhile before [`Self::handle_timeout`]: who was asleep
    /// for too long must hear the new master before it speaks.
    pub fn handle_rx(&mut self, now: Nanos, id: RouterId, advert: &Advert) {
        self.dispatch(now, id, Event::Advert(advert));
    }

    /// Whether another advertisement just like this one, which the router was just told of, would only
    /// restart its master-down timer. From then on [`Self::handle_heard`] can stand for it.
    pub fn is_steady(&self, id: RouterId, advert: &Advert) -> bool {
        self.routers.get(&id).is_some_and(|router| router.is_steady(advert))
    }

    /// The steady master of a backup was last heard at `now`. Older readings do nothing.
    pub fn handle_heard(&mut self, now: Nanos, id: RouterId) {
        self.dispatch(now, id, Event::Heard);
    }

    /// Whether a master-down timer is due: before [`Self::handle_timeout`] believes it, ask whether the
    /// masters were heard.
    pub fn master_down_due(&self, now: Nanos) -> bool {
        self.timers.due(now).any(|(_, _, timer)| timer == Timer::MasterDown)
    }

    /// Fires every timer that is due. Afterwards [`Self::poll_timeout`] lies after `now`.
    pub fn handle_timeout(&mut self, now: Nanos) {
        let due: Vec<_> = self.timers.due(now).collect();
        for (at, id, timer) in due {
            // One that fired before may have cancelled or moved it.
            if self.routers.get(&id).is_some_and(|r| r.deadlines().get(timer) == Some(at)) {
                self.dispatch(now, id, Event::Timer(timer));
            }
        }
    }

    /// One of the router's addresses was removed, and not because of [`Action::RemoveAddresses`].
    pub fn handle_address_lost(&mut self, now: Nanos, id: RouterId, address: IpAddr) {
        self.dispatch(now, id, Event::AddressLost(address));
    }

    /// Stops all routers. From here on nothing starts again.
    pub fn handle_shutdown(&mut self, now: Nanos) {
        let ids: Vec<_> = self.routers.keys().copied().collect();
        for id in ids {
            self.dispatch(now, id, Event::Shutdown);
        }
        self.stopped = true;
    }

    /// The next thing to do; `None` when everything was handed out.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called next; `None` when nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.timers.earliest()
    }

    /// What there is to say about one router; `None` when it does not exist.
    pub fn view(&self, id: RouterId) -> Option<RouterView> {
        self.routers.get(&id).map(Router::view)
    }

    /// All routers, by ascending id.
    pub fn routers(&self) -> impl Iterator<Item = (RouterId, &RouterSpec)> {
        self.routers.iter().map(|(&id, router)| (id, router.spec()))
    }

    fn dispatch(&mut self, now: Nanos, id: RouterId, event: Event<'_>) {
        if self.stopped {
            return;
        }
        if let Some(router) = self.routers.get_mut(&id) {
            let before = *router.deadlines();
            router.handle(now, event, &mut self.actions);
            self.timers.update(id, &before, router.deadlines());
        }
    }
}

#[cfg(test)]
mod tests;
