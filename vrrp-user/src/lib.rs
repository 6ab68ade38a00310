//! The VRRP daemon: configuration, election engine, kernel interfaces and command line.
//!
//! Dependencies point one way: `wire` <- `engine` <- `config` <- `core` <- `io` <- `driver`. The engine is the election, the
//! core all that a daemon decides, and the driver what it does.

pub mod capture;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
mod counters;
#[cfg(test)]
mod docs_tests;
pub mod driver;
pub mod engine;
pub mod io;
pub mod metrics;
pub mod printable;
pub mod refused;
pub mod wire;
