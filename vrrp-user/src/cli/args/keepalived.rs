//! keepalived's own options, which stand in unit files and start scripts.
//!
//! What is so anyway is taken in silence, what has no meaning here is a warning that says what to write instead,
//! and what would make this another program than was meant is refused. Not in the help: the migration guide lists
//! them.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// What becomes of an option of keepalived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is so without.
    AsEver,
    /// It does nothing, and this is what to do instead.
    Ignored(&'static str),
    /// The daemon does not start with it, and this is what to do instead.
    Refused(&'static str),
}

use Meaning::{AsEver, Ignored, Refused};

/// An option of keepalived that is none of ours.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its letter; none where the letter means something else here.
    pub short: Option<char>,
    pub long: &'static str,
    /// Whether a value follows.
    pub value: bool,
    /// What becomes of it.
    pub meaning: Meaning,
}

const fn flag(short: char, long: &'static str, meaning: Meaning) -> Flag {
    Flag { short: Some(short), long, value: false, meaning }
}

const fn value(short: char, long: &'static str, meaning: Meaning) -> Flag {
    Flag { short: Some(short), long, value: true, meaning }
}

const ONE_PROCESS: &str = "there is one process; --pid-file names its file";
const CORE: &str = "write LimitCORE= into the unit";
const SNMP: &str = "there is no SNMP; --metrics serves the counters to Prometheus";

/// The options of keepalived 2.2.7 and 2.4.3 (keepalived(8)) besides `-f`, `-p`, `-s` and `--config-id`, which mean the same here, and
/// `-i` and `-c`, which do not.
pub const FLAGS: &[Flag] = &[
    flag('P', "vrrp", AsEver),
    flag('B', "no_bfd", AsEver),
    flag('l', "log-console", AsEver),
    flag('D', "log-detail", AsEver),
    flag('G', "no-syslog", AsEver),
    flag('X', "release-vips", AsEver),
    flag('R', "dont-respawn", AsEver),
    flag('n', "dont-fork", AsEver),
    flag('I', "dont-release-ipvs", AsEver),
    flag('d', "dump-conf", Ignored("`vrrp-user check FILE` shows the configuration")),
    flag('a', "address-monitoring", Ignored("`ip monitor address` shows them")),
    flag('V', "dont-release-vrrp", Ignored("addresses are always removed at the end")),
    flag('e', "all-config", Ignored("write `includer` for what must be there")),
    value('S', "log-facility", Ignored("write SyslogFacility= into the unit")),
    value('u', "umask", Ignored("write UMask= into the unit")),
    value('r', "vrrp_pid", Ignored(ONE_PROCESS)),
    value('b', "bfd_pid", Ignored(ONE_PROCESS)),
    Flag { short: None, long: "checkers_pid", value: true, meaning: Ignored(ONE_PROCESS) },
    flag('m', "core-dump", Ignored(CORE)),
    value('M', "core-dump-pattern", Ignored(CORE)),
    flag('x', "snmp", Ignored(SNMP)),
    value('A', "snmp-agent-socket", Ignored(SNMP)),
    Flag {
        short: None,
        long: "ignore-sigint",
        value: false,
        meaning: Ignored("a debugger can keep SIGINT to itself (`handle SIGINT nopass` of gdb)"),
    },
    flag('C', "check", Refused("there is no health checker; leave it to keepalived")),
    flag('t', "config-test", Refused("write `vrrp-user check FILE`")),
];

/// Those of [`FLAGS`] that were given.
#[derive(Clone, Debug, Default)]
pub struct KeepalivedArgs(Vec<Flag>);

impl KeepalivedArgs {
    /// What to tell about those that do nothing.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|flag| match flag.meaning {
            Ignored(instead) => Some(format!("--{} does nothing: {instead}", flag.long)),
            AsEver | Refused(_) => None,
        })
    }

    /// Why the daemon cannot start with them.
    pub fn refusal(&self) -> Option<String> {
        self.0.iter().find_map(|flag| match flag.meaning {
            Refused(instead) => Some(format!("--{} is not possible here: {instead}", flag.long)),
            AsEver | Ignored(_) => None,
        })
    }
}

impl FromArgMatches for KeepalivedArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |flag: &&Flag| {
            matches.value_source(flag.long) == Some(clap::parser::ValueSource::CommandLine)
        };
        Ok(Self(FLAGS.iter().filter(given).copied().collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for KeepalivedArgs {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|flag| {
            let action = if flag.value { ArgAction::Append } else { ArgAction::Count };
            Arg::new(flag.long).long(flag.long).short(flag.short).action(action).hide(true)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command, RunArgs};
    use super::*;
    use clap::Parser;

    fn run(args: &[&str]) -> RunArgs {
        let cli = Cli::try_parse_from([&["vrrp-user", "run"], args].concat()).unwrap();
        let Command::Run(run) = cli.command else { panic!("{:?}", cli.command) };
        *run
    }

    #[test]
    fn what_stands_in_unit_files_is_taken() {
        // Debian, RHEL and a container image, in this order.
        for args in [
            &["--dont-fork"][..],
            &["-D", "-n", "-f", "/etc/keepalived/keepalived.conf", "-p", "/run/keepalived.pid"],
            &["-nldDP", "--use-file", "/etc/keepalived/keepalived.conf", "--pid=/run/k.pid", "-G"],
        ] {
            let run = run(args);
            assert_eq!(run.keepalived.refusal(), None);
            assert_eq!(run.netns, None);
            assert_eq!(run.pid_file.is_some(), args.len() > 1);
            let warnings: Vec<_> = run.keepalived.warnings().collect();
            assert_eq!(
                warnings.len(),
                usize::from(args[0].contains('d') && args[0] != "--dont-fork")
            );
        }
    }

    #[test]
    fn a_network_namespace_has_the_same_option() {
        for args in [["-s", "red"], ["--namespace", "red"], ["--netns", "red"]] {
            assert_eq!(run(&args).netns, Some("red".parse().unwrap()));
        }
    }

    #[test]
    fn what_would_be_another_program_is_refused() {
        assert!(run(&["-C"]).keepalived.refusal().unwrap().contains("health checker"));
        assert!(run(&["-t"]).keepalived.refusal().unwrap().contains("vrrp-user check"));
    }

    #[test]
    fn the_migration_guide_names_every_option() {
        let guide = include_str!("../../../../docs/migrating-from-keepalived.md");
        for flag in FLAGS {
            assert!(guide.contains(&format!("--{}`", flag.long)), "{}", flag.long);
        }
    }
}
