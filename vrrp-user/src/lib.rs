//! The VRRP daemon: configuration, election engine, kernel interfaces and command line.
//!
//! Dependencies point one way, down the floors of docs/architecture.md; a test reads the sources and says what breaks
//! that. The engine is the election, the core all that a daemon decides, and the driver what it does.

pub mod api;
pub mod capability;
pub mod capture;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
#[cfg(test)]
mod docs_tests;
pub mod driver;
pub mod engine;
#[cfg(test)]
mod floors_tests;
pub mod io;
pub mod metrics;
pub mod printable;
pub mod refused;
pub mod scripts;
pub mod types;
pub mod wire;
