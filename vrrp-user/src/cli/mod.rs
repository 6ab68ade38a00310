//! The command line: one module per subcommand.

mod args;
pub(crate) mod check;
mod cleanup;
mod clock;
mod common;
mod complete;
mod convert;
pub(crate) mod doctor;
mod events;
mod exit;
mod help;
mod main;
mod manual;
mod monitor;
mod reload;
mod service_user;
mod stats;
mod status;
mod table;
mod terminal;
mod top;
mod upgrade;

use std::io;

pub use main::main;

use crate::control::client;

/// What the daemon says cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon could not be asked, or ended.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// There is no such router or interface.
    #[error("{0}")]
    Unknown(String),
    #[error("cannot write")]
    Output(#[from] io::Error),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}
