//! The election engine: every virtual router of the daemon, as a pure state machine.
//!
//! No clock, socket, file or runtime in here. The caller says what happened and when (`handle_*`),
//! then drains [`Engine::poll_action`] to empty, then sleeps until [`Engine::poll_timeout`].

pub mod adoption;
pub mod election;
mod fsm;
pub mod group;
mod timers;
pub mod track;
pub mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::adoption::{Adopted, NotAdopted};
use self::fsm::{Event, Inhibit, ReadAt, VirtualRouter};
use self::group::{Group, GroupStatus};
pub use self::timers::Timer;
use self::timers::TimerQueue;
use self::track::{Explanation, Objects, Term, TrackResult, User};
use self::types::{
    Action, Advert, AdvertInterval, Cause, FaultCause, GroupId, GroupSpec, Health, Interest, Link,
    Lost, Notice, ObjectId, Priority, RouterId, RouterSpec, RouterView, State, TrackUse,
};
pub use crate::types::time;
use crate::types::time::Nanos;

/// Room for actions that is kept: a takeover of thousands of routers needs much more, but only once.
const ACTIONS_KEPT: usize = 1024;

/// Routers that are looked at together before their timers fire: what is looked at has to stay in the nearest cache.
const WARM: usize = 64;

/// All virtual routers.
///
/// Every `handle_*` takes a reading of one monotonic clock; only the arrival in [`Self::handle_rx`]
/// may lie before an earlier one. Events for routers that do not exist are ignored, because a
/// packet may be on its way while its router goes.
///
/// Thousands of masters advertise every second, and whatever is looked at for that has left the caches
/// since the last time: routers are kept small and side by side, and numbers are indices.
#[derive(Debug, Default)]
pub struct Engine {
    routers: Vec<Option<VirtualRouter>>,
    timers: TimerQueue,
    actions: VecDeque<Action>,
    stopped: bool,
    objects: Objects,
    groups: BTreeMap<GroupId, Group>,
    /// What operators asked for; of most routers nothing.
    orders: BTreeMap<RouterId, Orders>,
    /// Before that, no router takes over; zero when that does not matter any more.
    starts_at: Nanos,
}

/// What an operator asked of a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Orders {
    stepped_down: bool,
    priority: Option<Priority>,
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
            timers: TimerQueue::with_capacity(routers),
            ..Self::default()
        }
    }

    /// `vrrp_startup_delay`: routers that are added from now on listen, but their master-down timers begin no earlier
    /// than that, and owners wait until then.
    pub fn delay_start(&mut self, until: Nanos) {
        self.starts_at = until;
    }

    /// Until when routers do not take over; zero when that is over.
    pub fn starts_at(&self) -> Nanos {
        self.starts_at
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
            let group = spec.group;
            self.objects.subscribe(User::Router(id), &spec.track);
            let mut router = VirtualRouter::new(id, spec);
            if self.starts_at > Nanos::ZERO {
                router.delay_start(self.starts_at);
            }
            self.routers[index] = Some(router);
            self.update_effective_priority(Nanos::ZERO, id);
            if let Some(group) = group {
                self.join(Nanos::ZERO, id, group);
            }
        }
        free
    }

    /// A router that has not begun was master in a process that was killed: it goes on as that as soon as its link is up,
    /// whatever it tracks and whatever delays a start, or begins as usual and says why.
    pub fn adopt(&mut self, id: RouterId, adopted: Result<Adopted, NotAdopted>) {
        let Some(router) = self.router(id) else { return };
        let unknown = self.tracks_unknown(router);
        if let Some(Some(router)) = self.routers.get_mut(id.0 as usize) {
            router.adopt(adopted, unknown);
        }
    }

    /// So many advertisements with other addresses than those of a router were counted before it was added.
    pub fn continue_mismatches(&mut self, id: RouterId, counted: u64) {
        if let Some(Some(router)) = self.routers.get_mut(id.0 as usize) {
            router.continue_mismatches(counted);
        }
    }

    /// Whether a router will go on as the master that it was in a process that was killed.
    pub fn adopts(&self, id: RouterId) -> bool {
        self.router(id).is_some_and(VirtualRouter::is_to_be_adopted)
    }

    /// Whether anything that a router tracks is not known.
    fn tracks_unknown(&self, router: &VirtualRouter) -> bool {
        self.uses(router).any(|used| self.objects.health(used.object) == Health::Unknown)
    }

    /// A router goes on with other settings: it keeps its state, and its timers as far as the new settings
    /// permit. What its addresses and frames need beyond that is the caller's.
    ///
    /// `false`, and nothing happens, when there is no such router.
    pub fn reconfigure(&mut self, now: Nanos, id: RouterId, spec: &RouterSpec) -> bool {
        let Some(router) = self.router(id) else { return false };
        let (before, group) = (router.priority(), router.spec().group);
        let track = router.spec().track.clone();
        let moves = group != spec.group;
        if let (true, Some(group)) = (moves, group) {
            self.group(group).leave(id);
            self.evaluate_group(now, group);
            self.apply(now, id, Event::GroupInhibit(None));
        }
        self.dispatch(now, id, Event::Reconfigured(spec));
        if let Some(to) = self.router(id).map(VirtualRouter::priority).filter(|to| *to != before) {
            self.actions.push_back(Action::PriorityChanged { router: id, from: before, to });
        }
        if track != spec.track {
            self.objects.unsubscribe(User::Router(id), &track);
            self.objects.subscribe(User::Router(id), &spec.track);
        }
        if let (true, Some(group)) = (moves, spec.group) {
            self.join(now, id, group);
        }
        self.update_effective_priority(now, id);
        true
    }

    /// Adds a sync group, or gives it another specification. Its members name it; a router can be added
    /// before its group.
    pub fn add_group(&mut self, now: Nanos, id: GroupId, spec: GroupSpec) {
        let before = self.group(id).replace(spec);
        let Some(group) = self.groups.get(&id) else { return };
        self.objects.unsubscribe(User::Group(id), &before.track);
        self.objects.subscribe(User::Group(id), &group.spec().track);
        self.update_group_priorities(now, id);
    }

    /// Forgets a sync group without members.
    pub fn remove_group(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get(&id)
            && group.members().next().is_none()
        {
            self.objects.unsubscribe(User::Group(id), &group.spec().track);
            self.groups.remove(&id);
        }
    }

    /// Stops one router, as at a shutdown, and forgets it.
    ///
    /// Its last actions still name the id: it may be used again once they are drained.
    pub fn remove_router(&mut self, now: Nanos, id: RouterId) {
        if !self.stopped {
            self.apply(now, id, Event::Shutdown(Cause::Removed));
        }
        let Some(router) = self.routers.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        self.objects.unsubscribe(User::Router(id), &router.spec().track);
        self.orders.remove(&id);
        if let Some(group) = router.spec().group {
            self.group(group).leave(id);
            self.evaluate_group(now, group);
        }
    }

    /// A tracked object is now like this.
    pub fn handle_tracked(&mut self, now: Nanos, object: ObjectId, health: Health) {
        if !self.objects.set(object, health) {
            return;
        }
        for user in self.objects.users(object).to_vec() {
            match user {
                User::Router(id) => self.update_effective_priority(now, id),
                User::Group(id) => self.update_group_priorities(now, id),
            }
        }
    }

    /// An operator takes a router out of the election, or lets it back in.
    pub fn step_down(&mut self, now: Nanos, id: RouterId, down: bool) {
        self.order(now, id, |orders| orders.stepped_down = down);
    }

    /// An operator sets a priority, 1 to 254, in place of the configured one; `None` takes that back.
    /// Weights still count. An owner's priority stays.
    pub fn set_priority(&mut self, now: Nanos, id: RouterId, priority: Option<Priority>) {
        self.order(now, id, |orders| orders.priority = priority);
    }

    fn order(&mut self, now: Nanos, id: RouterId, change: impl FnOnce(&mut Orders)) {
        if self.router(id).is_none() {
            return;
        }
        let orders = self.orders.entry(id).or_default();
        change(orders);
        if *orders == Orders::default() {
            self.orders.remove(&id);
        }
        self.update_effective_priority(now, id);
    }

    /// The router's interface, or the address it sends from, changed.
    pub fn handle_link(&mut self, now: Nanos, id: RouterId, link: Link) {
        let event = match link {
            Link::Up(address) => Event::LinkUp(address),
            Link::Down(cause) => Event::LinkDown(cause),
        };
        self.dispatch(now, id, event);
    }

    /// An advertisement for the router passed the receive checks. It arrived at `arrived` and is read at `now`, which
    /// is the same for all that is read together.
    ///
    /// After a pause, hand over what arrived meanwhile before [`Self::handle_timeout`]: who was asleep
    /// for too long must hear the new master before it speaks. A master answers all of it once.
    pub fn handle_rx(&mut self, now: Nanos, arrived: Nanos, id: RouterId, advert: &Advert) {
        self.dispatch(arrived, id, Event::Advert(advert, ReadAt(now)));
    }

    /// Whether another advertisement just like this one, which the router was just told of, would only
    /// restart its master-down timer. From then on [`Self::handle_last_seen`] can stand for it.
    pub fn is_steady(&self, id: RouterId, advert: &Advert) -> bool {
        self.router(id).is_some_and(|router| router.is_steady(advert))
    }

    /// Which advertisements can change anything for a router at the moment; `None` when it does not exist.
    pub fn interest(&self, id: RouterId) -> Option<Interest> {
        self.router(id).map(VirtualRouter::interest)
    }

    /// The master that a backup listens to was last heard at `now`, and said this, or what it had said before. Older
    /// readings do nothing.
    pub fn handle_last_seen(
        &mut self,
        now: Nanos,
        id: RouterId,
        advertised: Option<(Priority, AdvertInterval)>,
    ) {
        self.dispatch(now, id, Event::LastSeen(advertised));
    }

    /// Whether a master-down timer is due: before [`Self::handle_timeout`] believes it, ask whether the
    /// masters were heard.
    pub fn master_down_due(&self, now: Nanos) -> bool {
        self.timers.any_due(now, Timer::MasterDown)
    }

    /// The router that fires next, and when, if that is because its master would have been silent for too long by then.
    pub fn next_master_down(&self) -> Option<(Nanos, RouterId)> {
        let (at, id, timer) = self.timers.earliest()?;
        (timer == Timer::MasterDown).then_some((at, id))
    }

    /// The backups whose master-down timers are due.
    pub fn master_downs_due(&self, now: Nanos) -> Vec<RouterId> {
        self.timers.due(now, Timer::MasterDown)
    }

    /// The backups of whose masters it must be known when they were last heard, before the timers that are due are believed: those
    /// of [`Self::master_downs_due`], and members of their groups that would take over with them, as theirs may have been heard
    /// again since.
    pub fn masters_doubted(&self, now: Nanos) -> Vec<RouterId> {
        let mut doubted = self.master_downs_due(now);
        let groups: BTreeSet<GroupId> =
            doubted.iter().filter_map(|id| self.router(*id)?.spec().group).collect();
        let members = groups.iter().filter_map(|id| self.groups.get(id)).flat_map(Group::members);
        let waits = |id: &RouterId| self.router(*id).is_some_and(VirtualRouter::waits_for_group);
        doubted.extend(members.filter(waits));
        doubted
    }

    /// Whether a backup would have heard its master is not known: its master-down timer, if it is due at `now`, fires
    /// at `until`, unless something is heard until then or [`Self::resume_master_down`] is called.
    pub fn postpone_master_down(&mut self, now: Nanos, id: RouterId, until: Nanos) {
        self.move_master_down(id, |due| due <= now, until);
    }

    /// It would have heard it: a master-down timer that was postponed until then is due at `now`.
    pub fn resume_master_down(&mut self, now: Nanos, id: RouterId, until: Nanos) {
        self.move_master_down(id, |due| due == until, now);
    }

    fn move_master_down(&mut self, id: RouterId, which: impl Fn(Nanos) -> bool, to: Nanos) {
        let Some(Some(router)) = self.routers.get_mut(id.0 as usize) else { return };
        if router.move_master_down(which, to) {
            self.timers.set(id, router.deadlines().first());
        }
    }

    /// The router could not hear for a while, and can again.
    pub fn handle_not_listening(&mut self, now: Nanos, id: RouterId) {
        self.dispatch(now, id, Event::NotListening);
    }

    /// Fires every timer that is due. Afterwards [`Self::poll_timeout`] lies after `now`.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if now >= self.starts_at {
            self.starts_at = Nanos::ZERO;
        }
        // What fires is cancelled or put off, so that each of them fires once.
        let mut warm = 0;
        for _ in 0..self.routers.len() * Timer::ALL.len() {
            let due = self.timers.earliest().filter(|(at, ..)| *at <= now);
            let Some((_, id, timer)) = due else { break };
            if warm == 0 {
                warm = self.warm();
            }
            warm -= 1;
            self.dispatch(now, id, Event::Timer(timer));
        }
    }

    /// Looks at the next routers that wait together, and tells how many. One after the other each of them would wait
    /// for memory; these looks wait for nothing and overlap.
    fn warm(&self) -> usize {
        let next = self.timers.together().take(WARM).filter_map(|id| self.router(id));
        let (count, seen) =
            next.fold((0, 0), |(count, seen), router| (count + 1, seen ^ router.peek()));
        std::hint::black_box(seen);
        count.max(1)
    }

    /// Something of the router's was removed, and not because of [`Action::RemoveAddresses`].
    pub fn handle_lost(&mut self, now: Nanos, id: RouterId, lost: Lost) {
        self.dispatch(now, id, Event::Lost(lost));
    }

    /// Something was noticed about the router that no timer or state depends on: an address conflict begins, or is
    /// over.
    pub fn handle_notice(&mut self, now: Nanos, id: RouterId, notice: Notice) {
        if self.router(id).is_none() {
            return;
        }
        self.actions.push_back(Action::Notice { router: id, notice });
        if let Notice::AddressConflict { .. } = notice {
            self.dispatch(now, id, Event::Contested(true));
        } else if let Notice::AddressConflictOver { .. } = notice {
            self.dispatch(now, id, Event::Contested(false));
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
        if action.is_none() {
            // The next ones come to where the last ones were, which is still in the caches.
            self.actions.clear();
            if self.actions.capacity() > ACTIONS_KEPT {
                self.actions = VecDeque::new();
            }
        }
        action
    }

    /// What [`Self::poll_action`] will hand out next.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter()
    }

    /// When [`Self::handle_timeout`] must be called next; `None` when nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.timers.earliest().map(|(at, ..)| at)
    }

    /// The state of one router; `None` when it does not exist.
    pub fn state(&self, id: RouterId) -> Option<State> {
        self.router(id).map(VirtualRouter::state)
    }

    /// The effective priority of one router; `None` when it does not exist.
    pub fn priority(&self, id: RouterId) -> Option<Priority> {
        self.router(id).map(VirtualRouter::priority)
    }

    /// What there is to say about one router; `None` when it does not exist.
    pub fn view(&self, id: RouterId) -> Option<RouterView> {
        self.router(id).map(VirtualRouter::view)
    }

    /// What one router was made with; `None` when it does not exist.
    pub fn spec(&self, id: RouterId) -> Option<&RouterSpec> {
        self.router(id).map(VirtualRouter::spec)
    }

    /// Why a router has its priority and its state; `None` when it does not exist.
    pub fn explain(&self, id: RouterId) -> Option<Explanation> {
        let router = self.router(id)?;
        let orders = self.orders.get(&id).copied().unwrap_or_default();
        let term = |used: &TrackUse| {
            let health = self.objects.health(used.object);
            Term { object: used.object, health, effect: used.effect(health), used: *used }
        };
        Some(Explanation {
            set: orders.priority,
            stepped_down: orders.stepped_down,
            terms: self.uses(router).map(term).collect(),
            causes: router.causes(),
        })
    }

    /// How a tracked object is.
    pub fn health(&self, object: ObjectId) -> Health {
        self.objects.health(object)
    }

    /// The routers that track an object, by themselves or with their sync group.
    pub fn tracking(&self, object: ObjectId) -> Vec<RouterId> {
        let users = self.objects.users(object).iter();
        let routers = users.flat_map(|user| match user {
            User::Router(id) => vec![*id],
            User::Group(id) => self.members(*id),
        });
        routers.collect()
    }

    /// State and members of a sync group, the members in FAULT by themselves at the end.
    pub fn group_view(&self, id: GroupId) -> Option<(State, Vec<RouterId>, Vec<RouterId>)> {
        let group = self.groups.get(&id)?;
        Some((group.state, group.members().collect(), group.faulty().collect()))
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

    fn router(&self, id: RouterId) -> Option<&VirtualRouter> {
        self.routers.get(id.0 as usize)?.as_ref()
    }

    fn group(&mut self, id: GroupId) -> &mut Group {
        self.groups.entry(id).or_insert_with(|| Group::new(GroupSpec::default()))
    }

    fn join(&mut self, now: Nanos, id: RouterId, group: GroupId) {
        self.group(group).join(id);
        self.evaluate_group(now, group);
        let inhibit = inhibit(self.group(group).status());
        self.dispatch(now, id, Event::GroupInhibit(inhibit));
    }

    /// Everything that a router tracks, what its group tracks at the end. What both track counts as the router has it.
    fn uses<'a>(&'a self, router: &'a VirtualRouter) -> impl Iterator<Item = &'a TrackUse> {
        let own = &router.spec().track;
        let group = router.spec().group.and_then(|group| self.groups.get(&group));
        let shared = group.map_or(&[][..], |group| &group.spec().track).iter();
        own.iter().chain(shared.filter(|used| own.iter().all(|own| own.object != used.object)))
    }

    /// Works out what a router's tracked objects and operators make of it.
    fn update_effective_priority(&mut self, now: Nanos, id: RouterId) {
        let Some(router) = self.router(id) else { return };
        let mut result = TrackResult::default();
        for used in self.uses(router) {
            result.add(used, self.objects.health(used.object));
        }
        let orders = self.orders.get(&id).copied().unwrap_or_default();
        let configured = router.spec().priority;
        let set = orders.priority.filter(|_| configured != Priority::OWNER);
        let kept = router.adopted_priority();
        let kept = kept.filter(|_| set.is_none() && self.tracks_unknown(router));
        let priority = kept.unwrap_or_else(|| result.priority(set.unwrap_or(configured)));
        let forgets = kept.is_none() && router.adopted_priority().is_some();
        let fault = result.fault.map(|(object, health)| FaultCause::Tracked(object, health));
        let fault = orders.stepped_down.then_some(FaultCause::SteppedDown).or(fault);
        let wait = result.wait.map(|object| FaultCause::Tracked(object, Health::Unknown));
        let inhibit = fault.map(Inhibit::Fault).or(wait.map(Inhibit::Wait));
        if priority != router.priority() {
            self.dispatch(now, id, Event::Priority(priority));
        }
        if forgets && let Some(Some(router)) = self.routers.get_mut(id.0 as usize) {
            router.forget_adopted_priority();
        }
        self.dispatch(now, id, Event::Inhibit(inhibit));
    }

    fn update_group_priorities(&mut self, now: Nanos, id: GroupId) {
        for member in self.members(id) {
            self.update_effective_priority(now, member);
        }
    }

    fn members(&self, id: GroupId) -> Vec<RouterId> {
        self.groups.get(&id).map_or_else(Vec::new, |group| group.members().collect())
    }

    /// Tells a router, and its group what became of it.
    fn dispatch(&mut self, now: Nanos, id: RouterId, event: Event<'_>) {
        if self.stopped {
            return;
        }
        let Some(router) = self.router(id) else { return };
        let before = router.state();
        let group = router.spec().group;
        self.apply(now, id, event);
        if let Some(group) = group {
            self.follow(now, id, group, before);
        }
    }

    /// Tells one router alone.
    fn apply(&mut self, now: Nanos, id: RouterId, event: Event<'_>) {
        let Some(Some(router)) = self.routers.get_mut(id.0 as usize) else { return };
        router.handle(now, event, &mut self.actions);
        self.timers.set(id, router.deadlines().first());
        if let Some(group) = router.spec().group
            && let Some(group) = self.groups.get_mut(&group)
        {
            group.set(id, router.state(), router.fitness(), router.is_ready());
        }
    }

    /// Lets the other members of a group do what one did.
    fn follow(&mut self, now: Nanos, id: RouterId, group: GroupId, before: State) {
        let after = self.state(id);
        if before == State::Master && after == Some(State::Backup) {
            for member in self.members(group) {
                self.apply(now, member, Event::Yield(id));
            }
        }
        self.evaluate_group(now, group);
    }

    /// Brings the members of a group together: inhibits them, or no more, lets them take over.
    fn evaluate_group(&mut self, now: Nanos, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if let Some(status) = group.evaluate() {
            for member in self.members(id) {
                self.apply(now, member, Event::GroupInhibit(inhibit(status)));
            }
        }
        if self.groups.get(&id).is_some_and(Group::must_take_over) {
            for member in self.members(id) {
                self.apply(now, member, Event::TakeOver);
            }
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        let to = group.common_state();
        let from = std::mem::replace(&mut group.state, to);
        // Of one whose last member has left there is nothing to tell.
        if from != to && group.members().next().is_some() {
            self.actions.push_back(Action::GroupTransition { group: id, from, to, at: now });
        }
    }
}

/// What the status of a group is to its members.
fn inhibit(status: GroupStatus) -> Option<Inhibit> {
    match status {
        GroupStatus::Fit => None,
        GroupStatus::Waiting(member) => Some(Inhibit::Wait(FaultCause::MemberWaits(member))),
        GroupStatus::Faulty(member) => Some(Inhibit::Fault(FaultCause::Member(member))),
    }
}

#[cfg(test)]
mod tests;
