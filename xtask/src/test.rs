//! `cargo xtask test`: all tests, the privileged ones included.

use std::process::ExitCode;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the task.
#[allow(clippy::needless_pass_by_value)]
pub fn test(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet")
}
