//! The VRRP daemon: configuration, election engine, kernel interfaces and command line.
//!
//! Dependencies point one way: `wire` <- `engine` <- `daemon` -> `io`; `config` and `control` convert
//! into engine types and the engine imports neither.

pub mod capture;
pub mod cli;
pub mod config;
pub mod control;
mod counters;
pub mod daemon;
#[cfg(test)]
mod docs_tests;
pub mod engine;
pub mod io;
pub mod metrics;
pub mod printable;
pub mod refused;
pub mod wire;
