//! The command line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
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
    /// Show advertisements as they come and go, those that XDP refused among them, and gratuitous ARP for
    /// virtual addresses.
    Monitor {
        /// Only on this interface [default: all].
        #[arg(short, long, value_name = "IF")]
        interface: Option<String>,
        /// Only of this virtual router.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        vrid: Option<u8>,
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
        /// Write the packets to a capture file as well (pcapng; Wireshark, tshark, tcpdump -r).
        #[arg(short, long, value_name = "FILE")]
        write: Option<PathBuf>,
        /// End after so many packets.
        #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
        /// Name of the daemon on this machine; as everywhere, but -i is the interface.
        #[arg(long, value_name = "NAME", default_value = "default", env = "VRRP_USER_INSTANCE")]
        instance: Instance,
        #[command(flatten)]
        bpffs: BpffsArg,
    },
    /// Watch routers, rates, refused packets and events on the terminal; `?` shows the keys.
    Top {
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
    },
    /// Check a configuration: print everything that is wrong with it, and what it means.
    Check {
        /// Configuration: keepalived.conf, or the native format when it ends in `.toml`.
        file: PathBuf,
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
    }
    Ok(ExitCode::SUCCESS)
}
