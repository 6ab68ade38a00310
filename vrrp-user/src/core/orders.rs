//! What operators ask of routers at run time: `step-down`, `resume` and `set-priority`.
//!
//! It holds until they take it back or the daemon ends, whatever configurations are loaded meanwhile.

use super::Core;
use crate::api::Order;
use crate::api::error::{ApiError, ErrorKind};
use crate::engine::time::Nanos;
use crate::engine::types::{Priority, RouterId};

/// Routers that an answer names.
const NAMED: usize = 8;

impl Core {
    /// Carries out an order, and says what was done, or why it is not; `None` past `until`, when whoever gave it has given
    /// up.
    pub fn order(
        &mut self,
        now: Nanos,
        until: Nanos,
        name: &str,
        order: Order,
    ) -> Option<Result<String, ApiError>> {
        (now <= until).then(|| self.carry_out(now, name, order))
    }

    fn carry_out(&mut self, now: Nanos, name: &str, order: Order) -> Result<String, ApiError> {
        self.now = now;
        let (asked, group) = self.find_all(name)?;
        match order {
            Order::StepDown | Order::Resume => {
                let down = order == Order::StepDown;
                // A group moves as a whole.
                let routers = self.with_their_groups(&asked);
                let changed: Vec<RouterId> = routers
                    .iter()
                    .copied()
                    .filter(|id| self.has_stepped_down(*id) != down)
                    .collect();
                for id in &changed {
                    self.engine.step_down(now, *id, down);
                }
                let (done, already) = if down {
                    ("stepped down, until `vrrp-user resume`", "had stepped down already")
                } else {
                    ("takes part in the election again", "had not stepped down")
                };
                let what = if changed.is_empty() { already } else { done };
                let routers = if changed.is_empty() { &routers } else { &changed };
                Ok(format!("{} {what}", self.named(routers, group)))
            }
            Order::SetPriority(priority) => {
                let owner = |id: &&RouterId| {
                    self.engine.spec(**id).is_some_and(|spec| spec.priority == Priority::OWNER)
                };
                if let Some(owner) = asked.iter().find(owner) {
                    return Err(ErrorKind::AddressOwner.because(format!(
                        "{} owns its addresses (priority 255), which never changes",
                        self.router(*owner).name
                    )));
                }
                if let Some(bad) = priority.filter(|priority| !(1..=254).contains(priority)) {
                    let error = format!("a priority must be between 1 and 254, not {bad}");
                    return Err(ErrorKind::BadPriority.because(error));
                }
                for id in &asked {
                    self.engine.set_priority(now, *id, priority.map(Priority));
                }
                let who = self.named(&asked, group);
                Ok(match priority {
                    Some(priority) => {
                        format!("{who} has priority {priority} instead of the configured one")
                    }
                    None => format!("{who} has its configured priority"),
                })
            }
        }
    }

    /// What operators have ordered and not taken back, by names of routers: for the program that takes the place of this one.
    pub fn given_orders(&self) -> Vec<(String, Order)> {
        let mut given = Vec::new();
        for id in self.ids() {
            let Some(explanation) = self.engine.explain(id) else { continue };
            let set = explanation.set.map(|Priority(priority)| Order::SetPriority(Some(priority)));
            let down = explanation.stepped_down.then_some(Order::StepDown);
            let name = || self.router(id).name.to_string();
            given.extend(set.into_iter().chain(down).map(|order| (name(), order)));
        }
        given
    }

    pub(super) fn has_stepped_down(&self, id: RouterId) -> bool {
        self.engine.explain(id).is_some_and(|explanation| explanation.stepped_down)
    }

    /// The router of that name, or at `INTERFACE/VRID`, or all members of the sync group of that name.
    fn find_all(&self, name: &str) -> Result<(Vec<RouterId>, Option<String>), ApiError> {
        if let Some(id) = self.find(name) {
            return Ok((vec![id], None));
        }
        let group = self.tracking.known_group(name).and_then(|id| self.engine.group_view(id));
        match group {
            Some((_, members, _)) if !members.is_empty() => Ok((members, Some(name.to_owned()))),
            Some(_) | None => Err(ErrorKind::UnknownRouter.because(format!(
                "there is no virtual router or sync group `{name}`; `vrrp-user status` lists the routers, \
                 and INTERFACE/VRID names one, too"
            ))),
        }
    }

    /// The routers with all that must do the same.
    fn with_their_groups(&self, routers: &[RouterId]) -> Vec<RouterId> {
        let mut all: Vec<RouterId> = Vec::new();
        for id in routers {
            let group = self.engine.spec(*id).and_then(|spec| spec.group);
            match group.and_then(|group| self.engine.group_view(group)) {
                Some((_, members, _)) => all.extend(members),
                None => all.push(*id),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn named(&self, routers: &[RouterId], group: Option<String>) -> String {
        let names: Vec<&str> =
            routers.iter().take(NAMED).map(|id| &*self.router(*id).name).collect();
        let more = match routers.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = names.join(", ");
        match group {
            Some(group) => format!("sync group {group} ({names}{more})"),
            None => format!("{names}{more}"),
        }
    }
}
