//! By what things are known: numbers, and the names that people have for them.

use std::fmt;

/// Virtual router identifier, 1-255 (RFC 9568 section 5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(u8);

impl Vrid {
    /// `None` for 0.
    pub const fn new(vrid: u8) -> Option<Self> {
        if vrid == 0 { None } else { Some(Self(vrid)) }
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a key that signs advertisements, 1-255, as it stands in them.
pub type KeyId = std::num::NonZeroU8;

/// Index of a router in the engine; the same index in the shared maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u32);

/// Number of a sync group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// Number of a tracked object. Numbers are never given to another object while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u32);

/// Puts numbers into words.
pub trait Names {
    /// What a tracked object is called, as in `script chk_haproxy`.
    fn object(&self, object: ObjectId) -> String;
    /// Name of a router.
    fn router(&self, router: RouterId) -> String;
}
