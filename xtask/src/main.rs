//! Development tasks: `cargo xtask setup | build | run | test | sim | bench | dist`.

mod bench;
mod build;
mod command;
mod cross;
mod dist;
mod kernels;
mod run;
mod setup;
mod sim;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of the VRRP daemon")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need, unless it is there
    Setup,
    /// Build the BPF object and the daemon
    Build(build::Args),
    /// Run the daemon in a network of namespaces
    Run(run::Args),
    /// Run all tests, the privileged ones included
    Test(test::Args),
    /// Run networks of daemons on a virtual clock, more of them than the tests do
    Sim(sim::Args),
    /// Measure the daemon against keepalived with many virtual routers
    Bench(bench::Args),
    /// Make a Debian package and an RPM
    Dist(dist::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup => setup::setup().map(|()| ExitCode::SUCCESS),
        Task::Build(args) => build::build(&args).map(|()| ExitCode::SUCCESS),
        Task::Run(args) => run::run(args),
        Task::Test(args) => test::test(&args),
        Task::Sim(args) => sim::sim(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::Dist(args) => dist::dist(&args).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
