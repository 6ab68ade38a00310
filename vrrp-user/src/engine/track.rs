//! Tracked objects: what routers depend on besides their own interface, and what that makes of their priority.
//!
//! An object is anything with a [`Health`]: an interface, a script, a file, a process. What it is, and what it
//! is called, the engine does not know; [`super::types::Names`] puts it into words. The arithmetic is that of keepalived.

use std::fmt;

use super::types::{FaultCause, GroupId, Health, ObjectId, Priority, RouterId, TrackUse};

/// What an object makes of a router that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// So much is added to the priority.
    Weight(i16),
    /// FAULT.
    Fault,
    /// Nothing as long as the router runs, but it does not start.
    Wait,
}

impl Effect {
    /// A name, which never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight(0) => "none",
            Self::Weight(_) => "priority",
            Self::Fault => "fault",
            Self::Wait => "waits",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(0) => f.write_str("0"),
            Self::Weight(weight) => write!(f, "{weight:+}"),
            Self::Fault => f.write_str("FAULT"),
            Self::Wait => f.write_str("waits for it"),
        }
    }
}

impl TrackUse {
    /// The number in a file that stands for FAULT (keepalived.conf(5), `track_file`).
    pub const FAULT: i16 = -254;
    /// The most that an object can add.
    const MOST: i16 = 253;

    /// What the object makes of a router.
    pub fn effect(&self, health: Health) -> Effect {
        let sign = if self.reverse { -1 } else { 1 };
        match (health, self.weight) {
            (Health::Unknown, 0) => Effect::Wait,
            (Health::Unknown | Health::Disabled, _) => Effect::Weight(0),
            (Health::Up, 0) if self.reverse => Effect::Fault,
            (Health::Down, 0) if !self.reverse => Effect::Fault,
            (Health::Up | Health::Down, 0) => Effect::Weight(0),
            (Health::Up, weight) => Effect::Weight(weight.max(0) * sign),
            (Health::Down, weight) => Effect::Weight(weight.min(0) * sign),
            // A number is a count of what is wrong: 0 is up.
            (Health::Value(value), 0) if (value != 0) != self.reverse => Effect::Fault,
            (Health::Value(_), 0) => Effect::Weight(0),
            (Health::Value(value), weight) => {
                let product = i64::from(value) * i64::from(weight) * i64::from(sign);
                let product = product.clamp(Self::FAULT.into(), Self::MOST.into());
                match i16::try_from(product) {
                    Ok(product) if product > Self::FAULT => Effect::Weight(product),
                    Ok(_) | Err(_) => Effect::Fault,
                }
            }
        }
    }
}

/// What all objects that a router uses make of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackResult {
    /// What is added to its priority.
    pub delta: i32,
    /// The first object that keeps it in FAULT.
    pub fault: Option<(ObjectId, Health)>,
    /// The first object that keeps it from starting.
    pub wait: Option<ObjectId>,
}

impl TrackResult {
    /// Adds one object.
    pub fn add(&mut self, used: &TrackUse, health: Health) {
        match used.effect(health) {
            Effect::Weight(weight) => self.delta += i32::from(weight),
            Effect::Fault => drop(self.fault.get_or_insert((used.object, health))),
            Effect::Wait => drop(self.wait.get_or_insert(used.object)),
        }
    }

    /// The priority of a router for which `base` is configured. An owner's never changes (RFC 9568 section
    /// 5.2.4); all others stay between 1 and 254.
    pub fn priority(&self, base: Priority) -> Priority {
        if base == Priority::OWNER {
            return base;
        }
        let sum = i32::from(base.0).saturating_add(self.delta);
        Priority(u8::try_from(sum.clamp(1, 254)).unwrap_or(base.0))
    }
}

/// Who uses an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// A router.
    Router(RouterId),
    /// All members of a group.
    Group(GroupId),
}

/// All objects: how they are, and who uses them.
#[derive(Debug, Default)]
pub struct Objects {
    objects: Vec<Object>,
}

#[derive(Debug, Default)]
struct Object {
    health: Health,
    users: Vec<User>,
}

impl Objects {
    /// How an object is; unknown if it was never heard of.
    pub fn health(&self, id: ObjectId) -> Health {
        self.objects.get(id.0 as usize).map_or(Health::Unknown, |object| object.health)
    }

    /// Takes in how an object is now. Returns whether that is news.
    pub fn set(&mut self, id: ObjectId, health: Health) -> bool {
        let object = self.object(id);
        std::mem::replace(&mut object.health, health) != health
    }

    /// Who uses an object.
    pub fn users(&self, id: ObjectId) -> &[User] {
        self.objects.get(id.0 as usize).map_or(&[], |object| &object.users)
    }

    /// Somebody uses objects from now on.
    pub fn subscribe(&mut self, user: User, uses: &[TrackUse]) {
        for used in uses {
            self.object(used.object).users.push(user);
        }
    }

    /// Somebody uses objects no more.
    pub fn unsubscribe(&mut self, user: User, uses: &[TrackUse]) {
        for used in uses {
            let users = &mut self.object(used.object).users;
            if let Some(place) = users.iter().rposition(|known| *known == user) {
                users.remove(place);
            }
        }
    }

    fn object(&mut self, id: ObjectId) -> &mut Object {
        let index = id.0 as usize;
        if index >= self.objects.len() {
            self.objects.resize_with(index + 1, Object::default);
        }
        &mut self.objects[index]
    }
}

/// One summand of a router's priority, or one reason for FAULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The object.
    pub object: ObjectId,
    /// How it is.
    pub health: Health,
    /// What that makes of the router.
    pub effect: Effect,
    /// How the router uses it.
    pub used: TrackUse,
}

/// Why a router has the priority and the state that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Priority that an operator set in place of the configured one.
    pub set: Option<Priority>,
    /// Whether an operator took it out of the election.
    pub stepped_down: bool,
    /// Everything that it tracks, in order, what its group tracks at the end.
    pub terms: Vec<Term>,
    /// Everything that keeps it in FAULT or from starting, its interface first.
    pub causes: Vec<FaultCause>,
}
