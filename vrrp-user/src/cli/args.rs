//! The arguments of the command line, apart from what they do: the program, the man pages and the completions
//! come from the same definitions.

mod keepalived;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;
use log::LevelFilter;

pub use self::keepalived::KeepalivedArgs;
use super::common::{AsUserArg, BpffsArg, ConfigIdArg, InstanceArg};
use super::complete;
use super::{doctor, events, monitor, stats, status};
use crate::capture::BestMode;
use crate::config::model::Listen;
use crate::config::socket::SocketMode;
use crate::types::netns::Netns;

/// A VRRP daemon for hosts that carry many virtual routers.
#[derive(Debug, Parser)]
#[command(name = "vrrp-user", version, about, max_term_width = 80)]
pub struct Cli {
    /// Show times in UTC instead of the local time zone.
    ///
    /// JSON is always in UTC.
    #[arg(long, global = true)]
    pub utc: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What two arguments say together put where it belongs.
    ///
    /// # Errors
    /// They cannot stand together.
    pub fn settled(mut self) -> Result<Self, String> {
        if let Command::Status(options) = &mut self.command {
            options.settle()?;
        }
        if let Command::Stats(view) = &mut self.command {
            view.settle()?;
        }
        Ok(self)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground.
    ///
    /// The log goes to stderr.
    Run(Box<RunArgs>),
    /// Show virtual routers, or everything about one.
    Status(status::Options),
    /// Read the configuration again, as on SIGHUP.
    ///
    /// Routers that are configured as before are not touched. A configuration with errors is refused as a whole: they are shown, everything goes on as before,
    /// and the exit code is 1.
    Reload {
        #[command(flatten)]
        instance: InstanceArg,
        /// Change nothing: only show what would change.
        #[arg(long)]
        check: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put another version in the place of a running daemon's.
    ///
    /// In the same process: masters stay master, and nobody else notices. It is checked first, and refused where it could not go on. Exit code 1 when everything goes on as
    /// before, 3 when only a restart helps, and nothing was done.
    Upgrade {
        /// The other program, which must belong to root; this one if not given.
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
        #[command(flatten)]
        instance: InstanceArg,
        /// Change nothing: only say whether it could take over.
        #[arg(long)]
        check: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what happens, as it happens, or what has happened.
    Events(events::Options),
    /// Show packet counters, also with the daemon down.
    ///
    /// They are read from the pinned maps.
    Stats(stats::View),
    /// Show advertisements as they come and go, also refused ones.
    ///
    /// Those that XDP refused are among them, which no other program sees, and gratuitous ARP and neighbour advertisements for
    /// virtual addresses. Its short options are those of tcpdump.
    Monitor(monitor::Options),
    /// Watch routers, rates and events on the terminal.
    ///
    /// `?` shows the keys.
    Top {
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
    },
    /// Say what is wrong with a configuration, and what it means.
    ///
    /// Asked by root, files and scripts are looked at as the user of the installed unit, who is to read and execute them.
    Check {
        /// Configuration: keepalived.conf, or the native format when it ends in `.toml`.
        file: PathBuf,
        #[command(flatten)]
        config_id: ConfigIdArg,
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        as_user: AsUserArg,
        /// Every router in full, also when there are many.
        #[arg(long, conflicts_with = "json")]
        all: bool,
        /// As JSON: what is wrong, and all settings with their defaults.
        #[arg(long)]
        json: bool,
    },
    /// Write a keepalived.conf as TOML to stdout.
    ///
    /// What is lost on the way stands in comments.
    Convert {
        /// Configuration to read: keepalived.conf, or the native format when it ends in `.toml`.
        file: PathBuf,
        #[command(flatten)]
        config_id: ConfigIdArg,
    },
    /// Take a virtual router out of the election.
    ///
    /// A master resigns at once, and the router stays in FAULT until `resume`, or until the daemon ends. The other routers
    /// of its sync group go with it.
    StepDown {
        /// Name of the router or sync group, or INTERFACE/VRID.
        #[arg(add = ArgValueCandidates::new(complete::routers_and_groups))]
        name: String,
        #[command(flatten)]
        instance: InstanceArg,
    },
    /// Let one that has stepped down take part again.
    ///
    /// It begins as after a fault.
    Resume {
        /// Name of the router or sync group, or INTERFACE/VRID.
        #[arg(add = ArgValueCandidates::new(complete::routers_and_groups))]
        name: String,
        #[command(flatten)]
        instance: InstanceArg,
    },
    /// Give a virtual router another priority for a while.
    ///
    /// Instead of the configured one, until --reset or until the daemon ends. What it tracks still counts on top.
    SetPriority {
        /// Name of the router or sync group, or INTERFACE/VRID.
        #[arg(add = ArgValueCandidates::new(complete::routers_and_groups))]
        name: String,
        /// From 1 to 254.
        #[arg(required_unless_present = "reset", value_parser = clap::value_parser!(u8).range(1..=254))]
        priority: Option<u8>,
        /// Back to the configured priority.
        #[arg(long, conflicts_with = "priority")]
        reset: bool,
        #[command(flatten)]
        instance: InstanceArg,
    },
    /// Show whose addresses this host is kept from answering for.
    ///
    /// It is, because another host has them; also with the daemon down. --clear lets it answer again.
    Fence {
        /// Only this router: its name, or INTERFACE/VRID.
        #[arg(add = ArgValueCandidates::new(complete::routers))]
        name: Option<String>,
        /// Lift the fence until the daemon takes over again: for somebody who knows that no other host has the addresses.
        #[arg(long)]
        clear: bool,
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
    },
    /// Take away what a killed daemon left.
    ///
    /// Addresses, programs on interfaces, pinned maps. Says what; refuses beside a daemon that runs. Exit code 1 when something
    /// stays.
    Cleanup {
        #[command(flatten)]
        instance: InstanceArg,
        #[command(flatten)]
        bpffs: BpffsArg,
    },
    /// Say what is wrong with this host and its network.
    ///
    /// And what to do. Changes nothing; sends a few ARP, neighbour discovery and ICMP packets, and says so before. Exit code 0
    /// when all is well, 1 with warnings, 2 when something is broken.
    Doctor(doctor::Options),
    /// Read a configuration for a running daemon before it does. Prints what is wrong, as JSON.
    #[command(hide = true, name = crate::driver::reload::preflight::COMMAND)]
    Preflight {
        /// Configuration.
        #[arg(long)]
        config: PathBuf,
        #[command(flatten)]
        config_id: ConfigIdArg,
        /// Name of the daemon.
        #[arg(long)]
        instance: Option<String>,
        /// How many virtual routers run.
        #[arg(long)]
        running: Option<usize>,
        /// How many bytes of memory it may take.
        #[arg(long)]
        memory: Option<u64>,
    },
    /// Write the completions of a shell to standard output.
    #[command(hide = true)]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    #[command(hide = true)]
    Man {
        /// Where to.
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration: keepalived.conf, or the native format when it ends in `.toml`.
    #[arg(
        short,
        long,
        short_alias = 'f',
        alias = "use-file",
        value_name = "FILE",
        default_value = "/etc/vrrp-user/vrrp.toml",
        env = "VRRP_USER_CONFIG"
    )]
    pub config: PathBuf,
    #[command(flatten)]
    pub config_id: ConfigIdArg,
    #[command(flatten)]
    pub instance: InstanceArg,
    #[command(flatten)]
    pub bpffs: BpffsArg,
    /// Serve metrics at http://ADDRESS:PORT/metrics, or on the socket unix:/PATH; goes before `metrics` in
    /// the configuration.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<Listen>,
    /// The best way to capture that interfaces may use: auto, native, tc, generic, raw; goes before `capture` in the
    /// configuration, but not before that of an `[[interface]]`.
    #[arg(long, value_name = "WAY", env = "VRRP_USER_CAPTURE")]
    pub capture: Option<BestMode>,
    /// Group of the control socket, whose members need no root; goes before `socket_group` in the configuration.
    #[arg(long, value_name = "GROUP")]
    pub socket_group: Option<String>,
    /// Permissions of the control socket, in octal; goes before `socket_mode` in the configuration.
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<SocketMode>,
    /// Run in this network namespace, by its name or as a path; goes before `netns` in the configuration.
    #[arg(long, short = 's', alias = "namespace", value_name = "NAME")]
    pub netns: Option<Netns>,
    /// Keep the process ID in this file while the daemon runs.
    #[arg(short, long, alias = "pid", value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// What is logged, and all that is worse; goes before RUST_LOG, which can also name modules
    /// [default: info].
    #[arg(long, value_name = "LEVEL", value_parser = level())]
    pub log_level: Option<LevelFilter>,
    #[command(flatten)]
    pub keepalived: KeepalivedArgs,
    /// Only say whether this program could take over from the daemon that runs with the same arguments.
    #[arg(long, hide = true)]
    pub check_adopt: bool,
}

#[cfg(test)]
mod tests;

fn level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}
