//! The command line.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use vrrp_user::cli::args::{Cli, Command, InstanceArg};
use vrrp_user::cli::doctor::{Options, Severity};
use vrrp_user::config;
use vrrp_user::io::{logger, memory};
use vrrp_user::{cli, daemon};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = match logger::start(matches!(cli.command, Command::Run { .. })) {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(io::stderr(), "vrrp-user: cannot start the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = dispatch(cli.command);
    // What led to an error stands before it.
    drop(log);
    match result {
        Ok(code) => code,
        // `vrrp-user stats | head` is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "vrrp-user: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::Run { config: path, instance: InstanceArg { instance }, bpffs, metrics } => {
            memory::return_large_blocks();
            let named = config::Options {
                instance: Some(instance.name().to_owned()),
                ..config::Options::default()
            };
            let loaded = memory::apart(|| config::load(&path, &named))?;
            config::log(&path, &loaded.diagnostics);
            let mut config = loaded.config;
            config.metrics = metrics.or(config.metrics);
            daemon::run(daemon::Options {
                config,
                config_path: path,
                instance,
                bpffs: bpffs.bpffs,
            })?;
        }
        Command::Status { name, instance, states, interfaces, watch, json } => {
            let options = cli::status::Options { name, states, interfaces, json, watch };
            cli::status::status(&instance.instance, &options, &mut out)?;
        }
        Command::Events { name, instance, since, json } => {
            cli::events::events(&instance.instance, since, name, json, &mut out)?;
        }
        Command::Stats { instance, bpffs, view } => {
            let bpffs = bpffs.bpffs.as_deref();
            cli::stats::stats(&instance.instance, bpffs, &view.into(), &mut out)?;
        }
        Command::Monitor { instance, bpffs, interface, vrid, json, write, count } => {
            let options = cli::monitor::Options {
                instance,
                bpffs: bpffs.bpffs,
                interface,
                vrid,
                json,
                write,
                count,
            };
            cli::monitor::monitor(options, &mut io::BufWriter::new(out))?;
        }
        Command::Top { instance, bpffs } => {
            // It writes for itself.
            drop(out);
            cli::top::top(instance.instance, bpffs.bpffs)?;
        }
        Command::Check { file } => {
            let usable = cli::check::check(&file, &config::Options::default(), &mut out)
                .context("cannot write")?;
            return Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Doctor { config, instance, bpffs, gateway, json } => {
            let options = Options {
                config: config.as_deref(),
                instance: &instance.instance,
                bpffs: bpffs.bpffs.as_deref(),
                gateway,
                json,
            };
            return Ok(match cli::doctor::doctor(&options, &mut out)? {
                Severity::Fine | Severity::Skipped => ExitCode::SUCCESS,
                Severity::Warning => ExitCode::from(1),
                Severity::Broken => ExitCode::from(2),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}
