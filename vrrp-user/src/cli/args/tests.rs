//! The same option is the same in every subcommand.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory, Parser};

use super::Cli;

/// Options that are something else in one subcommand, and why.
const EXCEPT: [(&str, &str, &str); 4] = [
    ("monitor", "interface", "its short options are those of tcpdump: -i is the interface"),
    ("monitor", "instance", "-i is the interface"),
    ("status", "check", "says whether all is well, and has nothing that it could change"),
    ("set-priority", "reset", "what goes back to where it was is the priority, not counters"),
];
/// Short options that are another long one in `monitor`: tcpdump's.
const OF_TCPDUMP: [char; 3] = ['c', 'i', 'w'];

fn public() -> Vec<Command> {
    let mut command = Cli::command();
    command.build();
    command
        .get_subcommands()
        .filter(|it| !it.is_hide_set() && it.get_name() != "help")
        .cloned()
        .collect()
}

fn options(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| Some((arg.get_long()?, arg)))
}

/// What makes an option what it is: its letter, the name of its value, and what it does in so many words as there are
/// before the details.
fn meaning(arg: &Arg) -> (Option<char>, Vec<String>, String) {
    let values = arg.get_value_names().unwrap_or_default();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let does = help.split(['.', ',', ';', ':', '[', '(']).next().unwrap_or_default().trim();
    (arg.get_short(), values.iter().map(ToString::to_string).collect(), does.to_owned())
}

#[test]
fn an_option_is_the_same_in_every_subcommand() {
    let mut known = BTreeMap::new();
    for command in public() {
        for (long, arg) in options(&command) {
            if EXCEPT.iter().any(|(of, option, _)| (*of, *option) == (command.get_name(), long)) {
                continue;
            }
            let (first, meant) = known
                .entry(long.to_owned())
                .or_insert_with(|| (command.get_name().to_owned(), meaning(arg)));
            assert_eq!(*meant, meaning(arg), "--{long} of {first} and of {}", command.get_name());
        }
    }
}

#[test]
fn a_letter_is_the_same_option_in_every_subcommand() {
    let mut known = BTreeMap::new();
    for command in public() {
        for (long, arg) in options(&command) {
            let Some(short) = arg.get_short() else { continue };
            if command.get_name() == "monitor" && OF_TCPDUMP.contains(&short) {
                continue;
            }
            let meant = known.entry(short).or_insert_with(|| long.to_owned());
            assert_eq!(*meant, long, "-{short} of {}", command.get_name());
        }
    }
}

#[test]
fn exceptions_exist() {
    let commands = public();
    for (of, option, _) in EXCEPT {
        let command = commands.iter().find(|command| command.get_name() == of).unwrap();
        assert!(options(command).any(|(long, _)| long == option), "--{option} of {of}");
    }
}

#[test]
fn a_name_may_stand_behind_watch() {
    for of in ["status", "stats"] {
        let settled = |line: &str| {
            let words = ["vrrp-user", of].into_iter().chain(line.split(' '));
            Cli::try_parse_from(words)
                .map_err(|error| error.to_string())?
                .settled()
                .map(|cli| format!("{cli:?}"))
        };
        let [behind, before] = ["-w VI_1", "VI_1 --watch=1"].map(|line| settled(line).unwrap());
        assert!(behind.contains("name: Some(\"VI_1\")") && before.contains("name: Some(\"VI_1\")"));
        assert!(settled("--watch 0.5").unwrap().contains("Every(500ms)"), "{of}");
        assert!(
            settled("-w 0").is_err() && settled("VI_1 -w VI_2").unwrap_err().contains("`VI_2`")
        );
        assert!(settled("-w VI_1 --interface eth0").unwrap_err().contains("number of seconds"));
    }
}
