//! The command line: one module per subcommand.

pub mod args;
pub mod check;
mod clock;
pub mod convert;
pub mod doctor;
pub mod events;
pub mod exit;
pub mod manual;
pub mod monitor;
pub mod orders;
pub mod reload;
pub mod stats;
pub mod status;
mod table;
mod terminal;
pub mod top;

use std::io;

use crate::control::client;

/// What the daemon says cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon could not be asked, or ended.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Output failed.
    #[error("cannot write")]
    Output(#[from] io::Error),
    /// It is not JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}
