//! `cargo xtask bench`: `vrrp-user` and keepalived on the same work in the same run.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use vrrp_tests::{BenchArgs, Scenario};

use crate::{build, setup};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    arguments: BenchArgs,
}

/// Runs the task.
pub fn bench(Args { arguments }: &Args) -> Result<ExitCode> {
    setup::setup()?;
    let object = build::object()?;
    let bench = |package: &str| {
        let mut command = build::cargo();
        command.args(["bench", "--quiet", "--package", package]).env("VRRP_EBPF_OBJECT", &object);
        command
    };
    let named = |pure: bool| arguments.scenarios.iter().any(|s| (*s == Scenario::Pure) == pure);
    let mut good = true;
    if named(true) {
        good &= run(bench("vrrp-user").args(["--bench", "engine"]))?;
    }
    if named(false) || !named(true) {
        let daemon = build::daemon(true, None)?;
        let mut command = bench("vrrp-tests");
        // What was parsed here for the sake of early errors is parsed there again: behind the names of
        // this program and of the task.
        command.args(["--bench", "density", "--"]).args(std::env::args_os().skip(2));
        good &= run(command.env("VRRP_USER_BIN", daemon))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command to its end; whether it went well.
fn run(command: &mut Command) -> Result<bool> {
    Ok(command.status().context("cannot run cargo")?.success())
}
