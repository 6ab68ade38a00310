//! `cargo xtask bench`: `vrrp-user` and keepalived on the same work in the same run.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{build, setup};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Scenarios (all of them when none is named), --quick for few routers and short times, --no-peer to
    /// leave keepalived out
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the task.
pub fn bench(args: &Args) -> Result<ExitCode> {
    setup::setup()?;
    let object = build::object()?;
    let daemon = build::daemon(true)?;
    let status = build::cargo()
        .args(["bench", "--quiet", "--package", "vrrp-tests", "--bench", "density", "--"])
        .args(&args.arguments)
        .env("VRRP_EBPF_OBJECT", object)
        .env("VRRP_USER_BIN", daemon)
        .status()
        .context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
