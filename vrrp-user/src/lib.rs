//! The VRRP daemon: configuration, election engine, kernel interfaces and command line.
//!
//! Dependencies point one way, down the floors of docs/architecture.md; a test reads the sources and says what breaks
//! that. The engine is the election, the core all that a daemon decides, and the driver what it does.

pub mod api;
mod capability;
pub mod capture;
mod cli;
pub mod config;
mod control;
pub mod core;
#[cfg(test)]
mod docs_tests;
pub mod driver;
pub mod engine;
#[cfg(test)]
mod floors_tests;
pub mod io;
mod metrics;
#[cfg(test)]
mod names_tests;
mod printable;
pub mod refused;
mod scripts;
pub mod types;
pub mod wire;

pub use cli::main;
