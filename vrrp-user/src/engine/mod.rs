//! The election engine: every virtual router of the daemon, as a pure state machine.
//!
//! No clock, socket, file or runtime in here. The caller says what happened and when (`handle_*`),
//! then drains [`Engine::poll_action`] to empty, then sleeps until [`Engine::poll_timeout`].

pub mod election;
mod fsm;
pub mod time;
mod timers;
pub mod types;

use std::collections::VecDeque;
use std::net::IpAddr;

use self::fsm::{Event, Router};
use self::time::Nanos;
use self::timers::Queue;
pub use self::timers::Timer;
use self::types::{Action, Advert, Cause, Link, Notice, RouterId, RouterSpec, RouterView, State};

/// Room for actions that is kept: a takeover of thousands of routers needs much more, but only once.
const ACTIONS_KEPT: usize = 1024;

/// All virtual routers.
///
/// Every `handle_*` takes `now`, a reading of one monotonic clock; only that of [`Self::handle_rx`]
/// may lie before an earlier one. Events for routers that do not exist are ignored, because a
/// packet may be on its way while its router goes.
///
/// Thousands of masters advertise every second, and whatever is looked at for that has left the caches
/// since the last time: routers are kept small and side by side, and numbers are indices.
#[derive(Debug, Default)]
pub struct Engine {
    routers: Vec<Option<Router>>,
    timers: Queue,
    actions: VecDeque<Action>,
    stopped: bool,
}

impl Engine {
    /// An engine without routers.
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine with room for that many routers, numbered from 0.
    pub fn with_capacity(routers: usize) -> Self {
        Self {
            routers: Vec::with_capacity(routers),
            timers: Queue::with_capacity(routers),
            ..Self::default()
        }
    }

    /// Adds a router, in [`types::State::Init`] until [`Self::handle_link`] says how its link is.
    ///
    /// `false`, and nothing happens, when the id is taken. There should be few gaps between the ids:
    /// what lies in them takes memory, too.
    pub fn add_router(&mut self, id: RouterId, spec: RouterSpec) -> bool {
        let index = id.0 as usize;
        if index >= self.routers.len() {
            self.routers.resize_with(index + 1, || None);
        }
        let free = self.routers[index].is_none();
        if free {
            self.routers[index] = Some(Router::new(id, spec));
        }
        free
    }

    /// A router goes on with other settings: it keeps its state, and its timers as far as the new settings
    /// permit. What its addresses and frames need beyond that is the caller's.
    ///
    /// `false`, and nothing happens, when there is no such router.
    pub fn reconfigure(&mut self, now: Nanos, id: RouterId, spec: &RouterSpec) -> bool {
        self.dispatch(now, id, Event::Reconfigured(spec));
        self.router(id).is_some()
    }

    /// Stops one router, as at a shutdown, and forgets it.
    ///
    /// Its last actions still name the id: it may be used again once they are drained.
    pub fn remove_router(&mut self, now: Nanos, id: RouterId) {
        self.dispatch(now, id, Event::Shutdown(Cause::Removed));
        if let Some(router) = self.routers.get_mut(id.0 as usize) {
            *router = None;
        }
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
        self.router(id).is_some_and(|router| router.is_steady(advert))
    }

    /// The steady master of a backup was last heard at `now`. Older readings do nothing.
    pub fn handle_heard(&mut self, now: Nanos, id: RouterId) {
        self.dispatch(now, id, Event::Heard);
    }

    /// Whether a master-down timer is due: before [`Self::handle_timeout`] believes it, ask whether the
    /// masters were heard.
    pub fn master_down_due(&self, now: Nanos) -> bool {
        self.timers.any_due(now, |id| {
            let router = self.router(id);
            router
                .and_then(|router| router.deadlines().get(Timer::MasterDown))
                .is_some_and(|at| at <= now)
        })
    }

    /// Fires every timer that is due. Afterwards [`Self::poll_timeout`] lies after `now`.
    pub fn handle_timeout(&mut self, now: Nanos) {
        // What fires is cancelled or put off, so that each of them fires once.
        for _ in 0..self.routers.len() * Timer::ALL.len() {
            let Some((_, id)) = self.timers.earliest().filter(|(at, _)| *at <= now) else { break };
            let first = self.router(id).and_then(|router| router.deadlines().first());
            let Some((_, timer)) = first else { break };
            self.dispatch(now, id, Event::Timer(timer));
        }
    }

    /// One of the router's addresses was removed, and not because of [`Action::RemoveAddresses`].
    pub fn handle_address_lost(&mut self, now: Nanos, id: RouterId, address: IpAddr) {
        self.dispatch(now, id, Event::AddressLost(address));
    }

    /// Something was noticed about the router that no timer or state depends on.
    pub fn handle_notice(&mut self, id: RouterId, notice: Notice) {
        if self.router(id).is_some() {
            self.actions.push_back(Action::Notice { router: id, notice });
        }
    }

    /// Stops all routers. From here on nothing starts again.
    pub fn handle_shutdown(&mut self, now: Nanos) {
        for id in self.ids() {
            self.dispatch(now, id, Event::Shutdown(Cause::Shutdown));
        }
        self.stopped = true;
    }

    /// The next thing to do; `None` when everything was handed out.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() && self.actions.capacity() > ACTIONS_KEPT {
            self.actions = VecDeque::new();
        }
        action
    }

    /// When [`Self::handle_timeout`] must be called next; `None` when nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.timers.earliest().map(|(at, _)| at)
    }

    /// The state of one router; `None` when it does not exist.
    pub fn state(&self, id: RouterId) -> Option<State> {
        self.router(id).map(Router::state)
    }

    /// What there is to say about one router; `None` when it does not exist.
    pub fn view(&self, id: RouterId) -> Option<RouterView> {
        self.router(id).map(Router::view)
    }

    /// What one router was made with; `None` when it does not exist.
    pub fn spec(&self, id: RouterId) -> Option<&RouterSpec> {
        self.router(id).map(Router::spec)
    }

    /// The timers of one router that are set, in the order in which they fire.
    pub fn timers(&self, id: RouterId) -> Vec<(Timer, Nanos)> {
        let Some(router) = self.router(id) else { return Vec::new() };
        let set = Timer::ALL.into_iter();
        let set = set.filter_map(|timer| Some((timer, router.deadlines().get(timer)?)));
        let mut set: Vec<_> = set.collect();
        set.sort_by_key(|(timer, at)| (*at, *timer));
        set
    }

    /// All routers, by ascending id.
    pub fn routers(&self) -> impl Iterator<Item = (RouterId, &RouterSpec)> {
        self.ids().filter_map(|id| Some((id, self.router(id)?.spec())))
    }

    fn ids(&self) -> impl Iterator<Item = RouterId> + use<> {
        (0..u32::try_from(self.routers.len()).unwrap_or(u32::MAX)).map(RouterId)
    }

    fn router(&self, id: RouterId) -> Option<&Router> {
        self.routers.get(id.0 as usize)?.as_ref()
    }

    fn dispatch(&mut self, now: Nanos, id: RouterId, event: Event<'_>) {
        if self.stopped {
            return;
        }
        if let Some(Some(router)) = self.routers.get_mut(id.0 as usize) {
            router.handle(now, event, &mut self.actions);
            self.timers.set(id, router.deadlines().first().map(|(at, _)| at));
        }
    }
}

#[cfg(test)]
mod tests;
