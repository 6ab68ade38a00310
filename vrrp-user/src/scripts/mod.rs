//! What runs when something happens to a router, and what runs to find out whether something works: the decisions.
//! Carrying them out is the business of [`crate::io::scripts`].

pub(crate) mod check;
pub mod plan;
pub mod program;
pub(crate) mod queue;
pub mod resolve;

pub use crate::core::notification::{Event, Found, NotificationKind, Notified, Subject};
