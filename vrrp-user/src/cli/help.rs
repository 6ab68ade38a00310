//! What `--help` and the manual pages add to the definitions: groups of subcommands, examples and exit codes.

use std::fmt::Write;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches};

use super::args::Cli;

/// Subcommands by what they are for, in the order in which they are shown.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Looking", &["status", "events", "stats", "monitor", "top"]),
    ("Configuration", &["check", "convert", "reload"]),
    ("Orders", &["step-down", "resume", "set-priority"]),
    ("When something is wrong", &["doctor", "fence", "cleanup"]),
    ("The daemon", &["run", "upgrade"]),
];

/// Examples of a subcommand, or of the whole: a command and what it is for.
type Examples = (&'static str, &'static [(&'static str, &'static str)]);

const EXAMPLES: [Examples; 17] = [
    (
        "",
        &[
            ("vrrp-user check /etc/vrrp-user/vrrp.toml", "is it right, and what does it mean?"),
            ("vrrp-user status", "who is master, and what is wrong"),
            ("vrrp-user doctor", "why it is wrong, and what to do"),
        ],
    ),
    (
        "status",
        &[
            ("vrrp-user status VI_1", "everything about one router"),
            ("vrrp-user status 10.0.0.100", "whose address is that?"),
            ("vrrp-user status --state fault,init", "what does not work"),
            ("vrrp-user status --check", "for monitoring: ends with 2 where something is wrong"),
            ("vrrp-user status --watch", "again every second"),
        ],
    ),
    (
        "events",
        &[
            ("vrrp-user events --since 1h", "of the last hour, and what happens now"),
            ("vrrp-user events --no-follow VI_1", "all that is known of one router"),
            (
                "vrrp-user events --since 24h --until 1h --kind transition",
                "changes of state in that time",
            ),
            ("vrrp-user events --json", "for programs"),
        ],
    ),
    (
        "stats",
        &[
            ("vrrp-user stats VI_1", "of one router"),
            ("vrrp-user stats --watch 5", "with rates, every five seconds"),
            ("vrrp-user stats --vip 10.0.0.100", "traffic of an address"),
        ],
    ),
    (
        "monitor",
        &[
            ("vrrp-user monitor -i eth0", "what comes and goes there, and what is refused"),
            ("vrrp-user monitor --vrid 51 --count 10 --write vrrp.pcapng", "for Wireshark"),
        ],
    ),
    ("top", &[("vrrp-user top --instance edge", "of another daemon")]),
    (
        "check",
        &[
            ("vrrp-user check /etc/keepalived/keepalived.conf", "before keepalived is replaced"),
            ("vrrp-user check --json /etc/vrrp-user/vrrp.toml", "for programs"),
        ],
    ),
    ("convert", &[("vrrp-user convert /etc/keepalived/keepalived.conf", "see what it is as TOML")]),
    (
        "reload",
        &[
            ("vrrp-user reload --check", "what would change?"),
            ("vrrp-user reload", "let it change"),
        ],
    ),
    ("step-down", &[("vrrp-user step-down VI_1", "before work on this host")]),
    ("resume", &[("vrrp-user resume VI_1", "after it")]),
    (
        "set-priority",
        &[
            ("vrrp-user set-priority VI_1 90", "let another host be preferred"),
            ("vrrp-user set-priority VI_1 --reset", "as configured"),
        ],
    ),
    (
        "doctor",
        &[
            ("vrrp-user doctor", "of the running daemon, or of what is configured"),
            ("vrrp-user doctor --config /etc/keepalived/keepalived.conf", "before the first start"),
        ],
    ),
    (
        "fence",
        &[("vrrp-user fence", "is anything fenced?"), ("vrrp-user fence VI_1 --clear", "lift it")],
    ),
    (
        "cleanup",
        &[("vrrp-user cleanup", "after a daemon was killed that will not be started again")],
    ),
    (
        "run",
        &[
            ("vrrp-user run --config /etc/keepalived/keepalived.conf", "in the foreground"),
            ("vrrp-user run --instance edge --netns edge --config edge.toml", "a second one"),
        ],
    ),
    ("upgrade", &[("vrrp-user upgrade --check", "could this program take over?")]),
];

/// Exit codes, for people; [`crate::cli::exit`] has them for the program.
const EXIT_CODES: [(&str, &str); 2] = [
    (
        "run",
        "\
Exit codes:
  0   stopped by SIGTERM or SIGINT
  2   wrong arguments
  69  the kernel lacks something that is needed
  71  something failed that should not
  75  a daemon of this instance, or with this PID file, is already running
  77  a capability or a permission is missing
  78  the configuration cannot be used",
    ),
    (
        "status",
        "\
Exit codes:
  0   the daemon answered; with --check, nothing is wrong
  1   the daemon could not be asked
  2   wrong arguments; with --check, there is a problem, or a router is in FAULT
  3   no daemon runs
  4   there is no such router or interface",
    ),
];

/// The arguments of this process. Ends it where they are wrong, or ask for help.
pub fn parse() -> Cli {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.settled().unwrap_or_else(|why| command().error(ErrorKind::ArgumentConflict, why).exit())
}

/// The whole command line.
pub fn command() -> Command {
    let mut command = Cli::command();
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let text = grouped(&command);
    command = command.help_template(text).after_help(after(""));
    for name in names {
        let text = after(&name);
        if !text.is_empty() {
            command = command.mut_subcommand(name, |sub| sub.after_help(text));
        }
    }
    command
}

/// Examples of a subcommand.
pub fn examples(name: &str) -> &'static [(&'static str, &'static str)] {
    EXAMPLES.iter().find(|(of, _)| *of == name).map(|(_, examples)| *examples).unwrap_or_default()
}

/// What its exit codes mean.
pub fn exit_codes(name: &str) -> Option<&'static str> {
    EXIT_CODES.iter().find(|(of, _)| *of == name).map(|(_, codes)| *codes)
}

fn grouped(command: &Command) -> String {
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS {
        let _ = writeln!(text, "\n{title}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {name:<13} {about}");
        }
    }
    text + "\n`vrrp-user help COMMAND` says more about each.\n\nOptions:\n{options}{after-help}"
}

fn after(name: &str) -> String {
    let examples = examples(name);
    let width = examples.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let mut text = String::new();
    if !examples.is_empty() {
        text += "Examples:\n";
    }
    for (command, what) in examples {
        // Beside each other where there is room.
        let _ = if width + what.len() > 74 {
            writeln!(text, "  {command}\n      {what}")
        } else {
            writeln!(text, "  {command:<width$}  {what}")
        };
    }
    if let Some(codes) = exit_codes(name) {
        let _ = write!(text, "\n{codes}");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn public() -> BTreeSet<String> {
        let command = Cli::command();
        let all = command.get_subcommands().filter(|command| !command.is_hide_set());
        all.map(|command| command.get_name().to_owned()).collect()
    }

    #[test]
    fn each_subcommand_is_in_a_group_and_has_an_example() {
        let grouped =
            GROUPS.iter().flat_map(|(_, names)| names.iter().map(|name| (*name).to_owned()));
        assert_eq!(grouped.collect::<BTreeSet<_>>(), public());
        for name in public() {
            assert!(!examples(&name).is_empty(), "{name}");
        }
    }

    #[test]
    fn help_has_a_line_for_each_in_eighty_columns() {
        let help = command().render_help().to_string();
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        for name in public() {
            assert!(help.lines().any(|line| line.starts_with(&format!("  {name} "))), "{help}");
        }
        assert!(help.contains("\nLooking:\n  status ") && help.contains("Examples:\n"), "{help}");
        let mut root = command();
        root.build();
        for subcommand in root.get_subcommands_mut() {
            for help in [subcommand.render_help(), subcommand.render_long_help()] {
                let help = help.to_string();
                assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
            }
        }
        let status = root.find_subcommand_mut("status").unwrap().render_help().to_string();
        assert!(
            status.contains("vrrp-user status 10.0.0.100") && status.contains("  4   there"),
            "{status}"
        );
    }

    #[test]
    fn examples_are_right() {
        for (of, examples) in EXAMPLES {
            for (line, _) in examples {
                let parsed = command().try_get_matches_from(line.split(' '));
                let matches = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
                assert!(of.is_empty() || matches.subcommand_name() == Some(of), "{line}");
            }
        }
    }
}
