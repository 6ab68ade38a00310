//! `vrrp-user step-down`, `resume` and `set-priority`.

use std::io::Write;

use super::Error;
use crate::control::api::Request;
use crate::control::{Instance, client};

/// Asks a running daemon to do something, and prints what it did.
///
/// # Errors
/// [`Error`], also when the daemon refuses.
pub fn order(instance: &Instance, request: Request, out: &mut impl Write) -> Result<(), Error> {
    let done = client::order(instance, request)?;
    Ok(writeln!(out, "{done}")?)
}
