//! Sync groups: routers that change state together, as keepalived's `vrrp_sync_group` has it.
//!
//! One in FAULT keeps all in FAULT; all start when the last one can. A member whose master-down timer fires
//! does not take over but wants to; when all want to, all do. One that gives way takes all with it. Here is
//! who is how; what the routers do is in [`super::fsm`], and who tells whom in [`super::Engine`].

use super::types::{GroupSpec, RouterId, State};

/// How a member is by itself, whatever the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It can take part.
    Fit,
    /// Something is not known yet that it needs to start.
    Waiting,
    /// It is in FAULT.
    Faulty,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    id: RouterId,
    fitness: Fitness,
    state: State,
    /// Whether it is master, or would be if it were alone.
    ready: bool,
}

/// What keeps the members from taking part, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStatus {
    /// Nothing.
    Fit,
    /// One that cannot start yet.
    Waiting(RouterId),
    /// One in FAULT.
    Faulty(RouterId),
}

/// A group. Events of one member cost the same however many there are, unless they concern all.
#[derive(Debug)]
pub struct Group {
    spec: GroupSpec,
    /// By number.
    members: Vec<Member>,
    waiting: usize,
    faulty: usize,
    ready: usize,
    /// How many are in each state.
    states: [usize; State::ALL.len()],
    status: GroupStatus,
    /// What was reported last.
    pub state: State,
}

impl Group {
    /// A group without members.
    pub fn new(spec: GroupSpec) -> Self {
        Self {
            spec,
            members: Vec::new(),
            waiting: 0,
            faulty: 0,
            ready: 0,
            states: [0; State::ALL.len()],
            status: GroupStatus::Fit,
            state: State::Init,
        }
    }

    /// What it was made with.
    pub fn spec(&self) -> &GroupSpec {
        &self.spec
    }

    /// Applies another specification and returns the former.
    pub fn replace(&mut self, spec: GroupSpec) -> GroupSpec {
        std::mem::replace(&mut self.spec, spec)
    }

    /// Its members, by number.
    pub fn members(&self) -> impl Iterator<Item = RouterId> + '_ {
        self.members.iter().map(|member| member.id)
    }

    /// Its members in FAULT by themselves.
    pub fn faulty(&self) -> impl Iterator<Item = RouterId> + '_ {
        let faulty = self.members.iter().filter(|member| member.fitness == Fitness::Faulty);
        faulty.map(|member| member.id)
    }

    fn position(&self, id: RouterId) -> Result<usize, usize> {
        self.members.binary_search_by_key(&id, |member| member.id)
    }

    fn counter(&mut self, fitness: Fitness) -> Option<&mut usize> {
        match fitness {
            Fitness::Fit => None,
            Fitness::Waiting => Some(&mut self.waiting),
            Fitness::Faulty => Some(&mut self.faulty),
        }
    }

    /// Takes in a member that cannot start yet.
    pub fn join(&mut self, id: RouterId) {
        if let Err(place) = self.position(id) {
            let (fitness, state) = (Fitness::Waiting, State::Init);
            self.members.insert(place, Member { id, fitness, state, ready: false });
            self.waiting += 1;
            self.states[state as usize] += 1;
        }
    }

    /// Lets a member go.
    pub fn leave(&mut self, id: RouterId) {
        self.set(id, State::Init, Fitness::Fit, false);
        if let Ok(place) = self.position(id) {
            self.members.remove(place);
            self.states[State::Init as usize] -= 1;
        }
    }

    /// Takes in how a member is: its state, how it is by itself, and whether it is master or would be.
    pub fn set(&mut self, id: RouterId, state: State, fitness: Fitness, ready: bool) {
        let Ok(place) = self.position(id) else { return };
        let before =
            std::mem::replace(&mut self.members[place], Member { id, fitness, state, ready });
        if let Some(counter) = self.counter(fitness) {
            *counter += 1;
        }
        if let Some(counter) = self.counter(before.fitness) {
            *counter -= 1;
        }
        self.states[state as usize] += 1;
        self.states[before.state as usize] -= 1;
        self.ready += usize::from(ready);
        self.ready -= usize::from(before.ready);
    }

    /// The state of the group as a whole.
    pub fn common_state(&self) -> State {
        let common = [State::Master, State::Fault, State::Backup];
        common.into_iter().find(|state| self.states[*state as usize] > 0).unwrap_or(State::Init)
    }

    /// Whether members must become master now: all would be, or the others are.
    pub fn must_take_over(&self) -> bool {
        let behind = self.states[State::Backup as usize] > 0;
        let others = self.states[State::Master as usize] > 0;
        self.status == GroupStatus::Fit && behind && (others || self.all_ready())
    }

    /// Whether all members are master or would be.
    fn all_ready(&self) -> bool {
        self.ready == self.members.len() && !self.members.is_empty()
    }

    /// What keeps the members from taking part. `None` if that is what was said last time.
    pub fn evaluate(&mut self) -> Option<GroupStatus> {
        let wanted = match (self.faulty, self.waiting) {
            (0, 0) => Fitness::Fit,
            (0, _) => Fitness::Waiting,
            (_, _) => Fitness::Faulty,
        };
        let of = |status: GroupStatus| match status {
            GroupStatus::Fit => (Fitness::Fit, None),
            GroupStatus::Waiting(id) => (Fitness::Waiting, Some(id)),
            GroupStatus::Faulty(id) => (Fitness::Faulty, Some(id)),
        };
        let still = |id: Option<RouterId>| {
            id.is_none_or(|id| {
                self.position(id).is_ok_and(|place| self.members[place].fitness == wanted)
            })
        };
        let (before, culprit) = of(self.status);
        if before == wanted && still(culprit) {
            return None;
        }
        // The last one: when thousands recover one after the other, it remains to the end.
        let last = self.members.iter().rev().find(|member| member.fitness == wanted)?.id;
        self.status = match wanted {
            Fitness::Fit => GroupStatus::Fit,
            Fitness::Waiting => GroupStatus::Waiting(last),
            Fitness::Faulty => GroupStatus::Faulty(last),
        };
        Some(self.status)
    }

    /// What [`Self::evaluate`] said last.
    pub fn status(&self) -> GroupStatus {
        self.status
    }
}
