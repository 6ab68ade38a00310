//! The table of tracked scripts.

use super::super::table::{self, Cell, Column, number, text};
use super::super::terminal::{Colour, Terminal};
use super::span;
use crate::api::ScriptStatus;

const COLUMNS: [Column; 9] = [
    text("SCRIPT", 0),
    text("STATE", 0),
    number("SINCE", 1),
    text("LAST RUN", 0),
    number("AGO", 0),
    number("RUNS", 2),
    number("FAILED", 1),
    number("LATE", 3),
    Column { cut: true, ..text("COMMAND", 4) },
];

/// Lines of a table.
pub fn lines(scripts: &[ScriptStatus], terminal: Terminal) -> Vec<String> {
    let rows: Vec<_> = scripts.iter().map(row).collect();
    table::lines(&COLUMNS, &rows, terminal)
}

fn row(script: &ScriptStatus) -> [Cell; 9] {
    let colour = match script.health.as_str() {
        "up" => Colour::Green,
        "down" => Colour::Red,
        _ => Colour::Yellow,
    };
    [
        script.name.as_str().into(),
        Cell::new(script.health.as_str(), colour),
        span(script.since_s).into(),
        script.last_end.as_deref().unwrap_or("not yet").into(),
        script.last_run_s.map_or_else(|| "-".to_owned(), span).into(),
        script.runs.to_string().into(),
        script.failures.to_string().into(),
        script.overruns.to_string().into(),
        script.command.as_str().into(),
    ]
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
