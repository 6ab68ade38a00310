//! `cargo xtask sim`: networks of daemons on a virtual clock, more of them than the suite runs.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::build;

/// As quick as a release, with the assertions (Cargo.toml).
const PROFILE: &str = "sim";

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
pub struct Args {
    /// For so many seconds; an hour unless told otherwise
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The first network, or the one to be replayed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// So many networks; one if only --seed is given
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
}

/// Runs the task.
pub fn sim(args: &Args) -> Result<ExitCode> {
    let mut command = build::cargo();
    command
        .args([
            "test", "--quiet", "--profile", PROFILE, "--package", "vrrp-tests", "--test",
            "simulation", "--",
        ])
        .args(["--ignored", "--exact", "explore", "--nocapture"])
        .env("VRRP_EBPF_OBJECT", build::object()?);
    let numbers = [
        ("VRRP_SIM_SECONDS", args.seconds),
        ("VRRP_SIM_SEED", args.seed),
        ("VRRP_SIM_RUNS", args.runs),
    ];
    for (name, number) in numbers {
        match number {
            Some(number) => command.env(name, number.to_string()),
            None => command.env_remove(name),
        };
    }
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
