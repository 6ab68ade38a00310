//! The command line.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use vrrp_user::cli::doctor::{Options, Severity};
use vrrp_user::cli::stats::View;
use vrrp_user::config::{self, model::Listen};
use vrrp_user::control::Instance;
use vrrp_user::io::{logger, memory};
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
        /// Serve metrics at http://ADDRESS:PORT/metrics, or on the socket unix:/PATH; goes before `metrics` in
        /// the configuration.
        #[arg(long, value_name = "ADDRESS:PORT")]
        metrics: Option<Listen>,
    },
    /// Show the state of the virtual routers of a running daemon, or everything about one of them.
    Status {
        /// Only this router, in full, with its last transitions: its name, or INTERFACE/VRID.
        #[arg(conflicts_with_all = ["states", "interfaces"])]
        name: Option<String>,
        #[command(flatten)]
        instance: InstanceArg,
        /// Only routers in one of these states: master, backup, fault, init.
        #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = cli::status::parse_state)]
        states: Vec<String>,
        /// Only routers on one of these interfaces.
        #[arg(long = "interface", value_name = "INTERFACE", value_delimiter = ',')]
        interfaces: Vec<String>,
        /// Look again every second, until interrupted.
        #[arg(short, long)]
        watch: bool,
        /// As JSON; with --watch one line each time.
        #[arg(long)]
        json: bool,
    },
    /// Show what happens to the virtual routers of a running daemon, a line each, as it happens.
    Events {
        /// Only this router: its name, or INTERFACE/VRID.
        name: Option<String>,
        #[command(flatten)]
        instance: InstanceArg,
        /// Begin with what happened in this time, such as 90s, 10m or 12h.
        #[arg(long, value_name = "DURATION", value_parser = cli::events::parse_span)]
        since: Option<Duration>,
        /// As JSON, an object on each line.
        #[arg(long)]
        json: bool,
    },
    /// Show packet counters from the pinned maps, also with the daemon down.
    Stats {
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
        #[command(flatten)]
        view: StatsArgs,
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
struct StatsArgs {
    /// Again and again, with rates per second; SECONDS between, 1 if not given.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = pause)]
    watch: Option<Duration>,
    /// Only the traffic of this virtual address.
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<IpAddr>,
    /// Only what is on this interface.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Only routers with this VRID.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    vrid: Option<u8>,
    /// Show the counters once more and let them begin at zero, for everybody.
    #[arg(long, conflicts_with_all = ["watch", "vip", "interface", "vrid"])]
    reset: bool,
    /// As JSON; with --watch one line each time.
    #[arg(long)]
    json: bool,
}

impl From<StatsArgs> for View {
    fn from(StatsArgs { watch, vip, interface, vrid, reset, json }: StatsArgs) -> Self {
        Self { watch, vip, interface, vrid, reset, json }
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "from 0.1 to 86400 seconds".to_owned())
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
            for diagnostic in &loaded.diagnostics {
                log::warn!("{diagnostic}");
            }
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
