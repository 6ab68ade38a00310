//! The words of all floors: identifiers, times, states, what an advertisement says. Nothing here knows of any other module.

pub mod advert;
pub mod build;
pub mod id;
pub mod instance;
pub mod netns;
pub mod planted;
pub mod state;
pub mod time;
