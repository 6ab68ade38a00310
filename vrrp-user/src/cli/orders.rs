//! `vrrp-user step-down`, `resume` and `set-priority`.

use std::io::Write;

use super::Error;
use crate::api::Request;
use crate::control::client;
use crate::types::instance::Instance;

/// Asks a running daemon to do something, and prints what it did.
/// Errors: [`Error`], also when the daemon refuses.
pub fn order(instance: &Instance, request: Request, out: &mut impl Write) -> Result<(), Error> {
    let done = client::order(instance, request)?;
    Ok(writeln!(out, "{done}")?)
}
