//! The table of tracked scripts.

use super::super::table::Table;
use super::super::terminal::{Colour, Terminal};
use super::format_duration;
use crate::api::ScriptStatus;

/// Lines of a table.
pub fn lines(scripts: &[ScriptStatus], terminal: Terminal) -> Vec<String> {
    Table::of(scripts)
        .text("SCRIPT", 0, |s| s.name.clone())
        .text("STATE", 0, |s| s.health.clone())
        .coloured(|script| match script.health.as_str() {
            "up" => Colour::Green,
            "down" => Colour::Red,
            _ => Colour::Yellow,
        })
        .number("SINCE", 1, |s| format_duration(s.since_s))
        .text("LAST RUN", 0, |s| s.last_end.clone().unwrap_or_else(|| "not yet".to_owned()))
        .number("AGO", 0, |s| s.last_run_s.map_or_else(|| "-".to_owned(), format_duration))
        .number("RUNS", 2, |s| s.runs)
        .number("FAILED", 1, |s| s.failures)
        .number("LATE", 3, |s| s.overruns)
        .text("COMMAND", 4, |s| s.command.clone())
        .cut()
        .lines(terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_eighty_columns_and_uses_more() {
        let script = ScriptStatus {
            name: "chk_haproxy".to_owned(),
            command: "/usr/bin/killall -0 haproxy".to_owned(),
            health: "down".to_owned(),
            since_s: 12.5,
            last_end: Some("killed by SIGSEGV".to_owned()),
            last_end_cause: Some("killed".to_owned()),
            last_run_s: Some(0.4),
            runs: 1000,
            failures: 13,
            overruns: 2,
        };
        let shown = |width| {
            let terminal = Terminal { width: Some(width), height: None, colour: false };
            lines(std::slice::from_ref(&script), terminal)
        };
        let narrow = shown(80);
        assert!(narrow.iter().all(|line| line.chars().count() <= 80), "{narrow:?}");
        assert!(narrow[1].contains("chk_haproxy  down") && narrow[1].contains("killed by SIGSEGV"));
        assert!(shown(200)[1].ends_with("/usr/bin/killall -0 haproxy"));
    }
}
