//! Manual pages and shell completions, from the definitions of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_complete::env::Shells;
use clap_mangen::Man;

use super::help;

const SECTION: &str = "8";
const MANUAL: &str = "System Manager's Manual";

/// What follows the options in vrrp-user(8), in the language of man(7).
const OVERVIEW: &str = r#".SH FILES
.TP
.I /etc/vrrp\-user/vrrp.toml
Configuration of the service; see
.BR vrrp.toml (5).
.TP
.I /run/vrrp\-user/INSTANCE/control.sock
Where a running daemon is asked.
.TP
.I /sys/fs/bpf/vrrp\-user/INSTANCE/
Pinned maps: counters that can be read without the daemon.
.TP
.I /usr/share/doc/vrrp\-user/
More documentation, and examples.
.SH ENVIRONMENT
.TP
.B VRRP_USER_INSTANCE
Name of the daemon, where
.B \-\-instance
is not given.
.TP
.B VRRP_USER_CONFIG
Configuration, where
.B run
is not given one.
.TP
.B VRRP_USER_BPFFS
BPF filesystem, where
.B \-\-bpffs
is not given.
.TP
.B RUST_LOG
What is logged, as in
.IR debug " or"
.IR warn,vrrp_user::engine=debug .
.TP
.BR NOTIFY_SOCKET ", " WATCHDOG_USEC ", " JOURNAL_STREAM
Set by
.BR systemd (1).
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Hand over and end: priority 0 is advertised, and the addresses are removed.
.TP
.B SIGHUP
Read the configuration again, as
.B vrrp\-user reload
does.
.SH SEE ALSO
.BR vrrp.toml (5),
.BR vrrp\-user.conf (5),
.BR ip\-address (8),
.BR tcpdump (8),
.BR keepalived.conf (5)
"#;

/// Writes `vrrp-user.8` and a page for each subcommand into a directory.
pub fn pages(dir: &Path) -> io::Result<()> {
    let mut root = help::command();
    // Gives subcommands the names of their pages.
    root.build();
    write_page(dir, &root, OVERVIEW)?;
    for command in root.get_subcommands().filter(|command| is_public(command)) {
        let mut end = String::from(".SH SEE ALSO\n.BR vrrp\\-user (8)\n");
        if command.get_name() == "run" {
            end = end.replace("(8)", "(8),") + ".BR vrrp.toml (5),\n.BR vrrp\\-user.conf (5)\n";
        }
        write_page(dir, command, &end)?;
    }
    Ok(())
}

fn is_public(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn write_page(dir: &Path, command: &Command, end: &str) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = Man::new(command.clone()).section(SECTION);
    let mut page = Vec::new();
    // Without a date: the same program has the same page.
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        page,
        ".TH {} {SECTION} \"\" \"vrrp-user {version}\" \"{MANUAL}\"",
        name.to_uppercase()
    )?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        write_subcommands(command, &mut page)?;
    }
    let short = if command.has_subcommands() { "" } else { command.get_name() };
    if let Some(codes) = help::exit_codes(short) {
        writeln!(page, ".SH \"EXIT STATUS\"")?;
        for (code, meaning) in codes.lines().filter_map(|line| line.trim().split_once(' ')) {
            if code.parse::<u8>().is_ok() {
                writeln!(page, ".TP\n.B {code}\n{}", escaped(meaning.trim()))?;
            }
        }
    }
    writeln!(page, ".SH EXAMPLES")?;
    for (line, what) in help::examples(short) {
        writeln!(page, ".TP\n.B {}\n{}", escaped(line), escaped(what))?;
    }
    page.extend_from_slice(end.as_bytes());
    fs::write(dir.join(format!("{name}.{SECTION}")), page)
}

/// Those that have a page.
fn write_subcommands(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    writeln!(page, ".SH SUBCOMMANDS")?;
    for subcommand in command.get_subcommands().filter(|command| is_public(command)) {
        let name = subcommand.get_display_name().unwrap_or_else(|| subcommand.get_name());
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".TP\n.BR {} (8)\n{}", escaped(name), escaped(&about))?;
    }
    Ok(())
}

/// What is special to troff within a line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga").replace('\'', "\\(aq")
}

/// Writes what lets a shell ask this program for completions: it knows the routers, groups, instances and interfaces.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let shells = Shells::builtins();
    let name = shell.to_string();
    let found = shells.completer(&name).ok_or_else(|| io::Error::other(format!("no {name}")))?;
    found.write_registration("COMPLETE", "vrrp-user", "vrrp-user", "vrrp-user", out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subcommand_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let overview = read("vrrp-user.8");
        for command in help::command().get_subcommands().filter(|command| is_public(command)) {
            let name = command.get_name();
            let page = read(&format!("vrrp-user-{name}.8"));
            assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{page}");
            assert_eq!(page.contains("EXIT STATUS"), ["run", "status"].contains(&name), "{page}");
            assert!(
                page.contains(&format!(".SH EXAMPLES\n.TP\n.B vrrp\\-user {}", escaped(name))),
                "{page}"
            );
            assert!(
                overview.contains(&format!("vrrp\\-user\\-{} (8)", name.replace('-', "\\-"))),
                "{overview}"
            );
        }
        // No page that there is not.
        assert!(!overview.contains("help(8)") && !overview.contains("help (8)"), "{overview}");
        let run = read("vrrp-user-run.8");
        assert!(run.contains("\\-\\-pid\\-file") && run.contains(".B 78\n"), "{run}");
        // What is hidden stays so.
        assert!(!run.contains("snmp") && !overview.contains("completions"), "{run}");
    }

    #[test]
    fn each_shell_has_completions() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            completions(shell, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("COMPLETE=") || text.contains("COMPLETE "), "{text}");
        }
    }
}
