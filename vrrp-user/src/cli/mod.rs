//! The command line: one module per subcommand.

pub mod check;
pub mod doctor;
pub mod events;
pub mod stats;
pub mod status;
mod table;
mod terminal;
