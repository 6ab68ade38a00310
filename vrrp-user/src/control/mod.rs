//! The control socket: one JSON object per line, a request from the client, an answer from the daemon. What is said is in
//! [`crate::api`].

pub mod access;
pub mod client;
pub mod server;
