//! The election engine: every virtual router of the daemon, as a pure state machine.
//!
//! No clock, socket, file or runtime in here. The caller says what happened and when (`handle_*`),
//! then drains [`Engine::poll_action`] to empty, then sleeps until [`Engine::poll_timeout`].

pub mod time;
pub mod types;
