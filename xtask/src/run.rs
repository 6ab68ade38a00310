//! `cargo xtask run`: the daemon in a network of namespaces.

use std::process::ExitCode;

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the task.
#[allow(clippy::needless_pass_by_value)]
pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet")
}
