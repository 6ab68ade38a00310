//! The command line.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use vrrp_user::cli::doctor::{Options, Severity};
use vrrp_user::config;
use vrrp_user::control::Instance;
use vrrp_user::io::memory;
use vrrp_user::{cli, daemon};

/// A VRRP daemon for hosts that carry many virtual routers.
#[derive(Parser)]
#[command(name = "vrrp-user", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground; the log goes to stderr (RUST_LOG, default `info`).
    Run {
        /// Configuration: keepalived.conf, or the native format when it ends in `.toml`.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
    },
    /// Show the state of every virtual router of a running daemon.
    Status {
        #[command(flatten)]
        instance: InstanceArg,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show packet counters from the pinned maps, also with the daemon down.
    Stats {
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration: print everything that is wrong with it, and what it means.
    Check {
        /// Configuration: keepalived.conf, or the native format when it ends in `.toml`.
        file: PathBuf,
    },
    /// Examine this host and its network: print what is wrong and what to do. Changes nothing; sends a few ARP and
    /// ICMP packets, and says so before. Exit code 0 when all is well, 1 with warnings, 2 when something is broken.
    Doctor {
        /// Configuration [default: that of the running daemon].
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
        /// Whom to ask whether packets from the shared addresses come back [default: the next hop of the default
        /// route].
        #[arg(long, value_name = "ADDRESS")]
        gateway: Option<Ipv4Addr>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct InstanceArg {
    /// Name of the daemon on this machine.
    #[arg(short, long, value_name = "NAME", default_value = "default", env = "VRRP_USER_INSTANCE")]
    instance: Instance,
}

#[derive(Args)]
struct BpffsArg {
    /// BPF filesystem that holds the pinned maps [default: /sys/fs/bpf, else /run/vrrp-user/bpf].
    #[arg(long, value_name = "DIR", env = "VRRP_USER_BPFFS")]
    bpffs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_millis()
        .init();
    match dispatch(cli.command) {
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
        Command::Run { config: path, instance: InstanceArg { instance }, bpffs } => {
            memory::return_large_blocks();
            let named = config::Options {
                instance: Some(instance.name().to_owned()),
                ..config::Options::default()
            };
            let loaded = memory::apart(|| config::load(&path, &named))?;
            for diagnostic in &loaded.diagnostics {
                log::warn!("{diagnostic}");
            }
            daemon::run(daemon::Options {
                config: loaded.config,
                config_path: path,
                instance,
                bpffs: bpffs.bpffs,
            })?;
        }
        Command::Status { instance, json } => {
            cli::status::status(&instance.instance, json, &mut out)?;
        }
        Command::Stats { instance, bpffs, json } => {
            cli::stats::stats(&instance.instance, bpffs.bpffs.as_deref(), json, &mut out)?;
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
