//! The command line: one module per subcommand.

pub mod check;
mod clock;
pub mod doctor;
pub mod events;
pub mod monitor;
pub mod stats;
pub mod status;
mod table;
mod terminal;
pub mod top;
