//! What `status` says is wrong with an election, and how to mend it.

use std::net::IpAddr;

use super::Core;
use crate::api::problem::{Problem, ProblemKind};
use crate::engine::election::is_long;
use crate::engine::time::Nanos;
use crate::engine::types::{AdvertInterval, RouterId, RouterView, State};

/// For how long at least it is a problem that another owner was heard.
const OTHER_OWNER_RECENT: Nanos = Nanos::from_secs(10);

impl Core {
    /// Another router claims to own the addresses as well, or a master is slow, or says so.
    pub(super) fn election_problems(
        &self,
        id: RouterId,
        view: &RouterView,
        now: Nanos,
    ) -> Vec<Problem> {
        let second = self.second_owner(id, view, now);
        let second = second.map(|text| ProblemKind::SecondOwner.because(text));
        second.into_iter().chain(self.slow_master(id, view)).collect()
    }

    /// The interval of its master is many times its own, or longer than what it believes.
    fn slow_master(&self, id: RouterId, view: &RouterView) -> Option<Problem> {
        let (spec, master) = (self.engine.spec(id)?, view.master?.0);
        if view.state != State::Backup {
            return None;
        }
        let (ours, wait) = (spec.interval, view.master_down_interval);
        let same =
            "make the intervals the same on all routers, or find out who forges advertisements";
        let bound = spec.max_learned_interval.map(AdvertInterval::Centisecs);
        match (view.disbelieved, bound) {
            (Some(theirs), _) => Some(ProblemKind::IntervalBounded.because(format!(
                "master {master} says that it advertises every {theirs}, but {} is believed (max_learned_interval): if \
                 that is true, it is replaced once, after {wait}, although it lives; {same}",
                view.interval
            ))),
            (None, Some(bound)) if view.interval.duration() > bound.duration() => Some(ProblemKind::IntervalOverBound.because(format!(
                "master {master} advertises only every {}, which is longer than max_learned_interval, {bound}: it was \
                 replaced, and heard again, so that it is followed; should it fall silent, nobody has the addresses for \
                 {wait}; {same}",
                view.interval
            ))),
            (None, _) if is_long(view.interval, ours) => Some(ProblemKind::IntervalLong.because(format!(
                "master {master} says that it advertises every {}, and we every {ours}: should it fall silent, nobody \
                 has the addresses for {wait}; {same} (max_learned_interval of a TOML file bounds what is believed)",
                view.interval
            ))),
            (None, _) => None,
        }
    }

    /// Another router claims to own the addresses as well.
    fn second_owner(&self, id: RouterId, view: &RouterView, now: Nanos) -> Option<String> {
        let (other, heard) = view.other_owner?;
        if now > heard + OTHER_OWNER_RECENT.max(view.master_down_interval) {
            return None;
        }
        let mend =
            "two routers must not both own the addresses: give one of them a priority below 255";
        match view.state {
            State::Init | State::Fault => None,
            State::Master => {
                Some(format!("{other} also claims to own the addresses (priority 255); {mend}"))
            }
            State::Backup => Some(format!(
                "gave way to {other}, which also claims to own the addresses (priority 255); {mend}{}",
                self.still_answered(id, other)
            )),
        }
    }

    /// The addresses of a backup that were on the interface before: taking those away because of a packet would let
    /// anybody cut the host off.
    fn still_answered(&self, id: RouterId, other: IpAddr) -> String {
        let (mut named, mut commands) = (Vec::new(), Vec::new());
        for (place, _) in self.interface_addrs(id) {
            if self.interfaces.owns(place) {
                named.push(self.describe(place));
            }
            let dev = self.interfaces.get(place.iface).map_or("?", |interface| &interface.name);
            commands.extend(
                self.interfaces
                    .own_prefixes(place)
                    .map(|prefix| format!("`ip address del {}/{prefix} dev {dev}`", place.address)),
            );
        }
        if named.is_empty() {
            return String::new();
        }
        format!(
            ". Until then this host still answers for {}, as {other} does: what others have added is not removed ({} if \
             it belongs to {other})",
            named.join(", "),
            commands.join(", ")
        )
    }
}
