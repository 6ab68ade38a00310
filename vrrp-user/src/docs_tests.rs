//! docs/observing.md names what programs go by, and nothing that does not exist: metrics, events, counters.

use std::collections::BTreeSet;

use strum::{VariantArray, VariantNames};
use vrrp_common::reason::{Reason, Verdict};

use crate::api::error::ErrorKind;
use crate::api::problem::ProblemKind;
use crate::cli::doctor::Check;
use crate::engine::adoption::NotAdopted;
use crate::engine::types::{Cause, FaultCause, Lost, Notice};
use crate::metrics::openmetrics::tests::metric_names;

const DOCUMENT: &str = include_str!("../../docs/observing.md");
const DASHBOARD: &str = include_str!("../../docs/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../docs/alerts.yml");

type Names = BTreeSet<String>;

/// What a document shows of the output of a command: the indented lines below it, as far as the next command.
pub(crate) fn sample(document: &str, command: &str) -> String {
    let begin = format!("\n    # {command}\n");
    let (_, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no `{command}`"));
    let lines = rest.lines().take_while(|line| {
        line.is_empty() || line.starts_with("    ") && !line.starts_with("    # ")
    });
    let text: String =
        lines.map(|line| format!("{}\n", line.get(4..).unwrap_or_default())).collect();
    text.trim_end().to_owned() + "\n"
}

/// What stands between two headings or other lines.
fn between(begin: &str, end: &str) -> &'static str {
    let (_, text) = DOCUMENT.split_once(begin).expect(begin);
    text.split_once(end).expect(end).0
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The first column of a table, whole names: `a_total`, `..._b_total` stands for what begins as the name before does.
fn rows(table: &str) -> Names {
    let cells = table.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.flat_map(quoted).map(str::to_owned).collect()
}

/// Words of metrics in any text.
fn metrics_in(text: &str) -> Names {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("vrrp_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let exist = metric_names();
    let section = between("| metric | labels | |", "[alerts.yml]");
    let mut documented = Names::new();
    for cell in section.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next()) {
        let mut before = "";
        for name in quoted(cell) {
            // `..._sent_total` after `vrrp_router_adverts_received_total`.
            let whole = name.strip_prefix("...").map(|rest| {
                let stems = before.char_indices().filter(|(_, c)| *c == '_');
                let wholes = stems.map(|(at, _)| format!("{}{rest}", &before[..at]));
                wholes.into_iter().rfind(|whole| exist.contains(whole)).expect(name)
            });
            if whole.is_none() {
                before = name;
            }
            documented.insert(whole.unwrap_or_else(|| name.to_owned()));
        }
    }
    assert_eq!(documented, exist);
    for (text, of) in
        [(DOCUMENT, "docs/observing.md"), (DASHBOARD, "the dashboard"), (ALERTS, "the alerts")]
    {
        let mut unknown = metrics_in(text);
        let reasons = Reason::ALL.iter().map(|reason| reason.name());
        exist.iter().map(String::as_str).chain(reasons).for_each(|name| _ = unknown.remove(name));
        assert!(unknown.is_empty(), "{of}: {unknown:?}");
    }
}

#[test]
fn every_event_is_documented_and_no_other() {
    let of_causes = [
        Cause::VARIANTS,
        FaultCause::VARIANTS,
        Lost::VARIANTS,
        NotAdopted::VARIANTS,
        Notice::VARIANTS,
    ];
    // Those have the names of what they are about.
    let names = of_causes
        .concat()
        .into_iter()
        .filter(|name| !["lost", "fault", "not-adopted"].contains(name));
    let mut exist: Names = names.map(str::to_owned).collect();
    let tracked = include_str!("api/events.rs").split('"');
    exist.extend(tracked.filter(|name| name.starts_with("tracked-")).map(str::to_owned));
    let section = between("Causes of transitions are", "What is tracked is told of");
    let documented: Names = quoted(section).map(str::to_owned).collect();
    assert_eq!(documented, exist);
}

#[test]
fn every_problem_is_documented_and_no_other() {
    // Of a fault the name is that of its cause.
    let names = ProblemKind::VARIANTS.iter().filter(|name| **name != "fault");
    let exist: Names = names.map(|name| (*name).to_owned()).collect();
    assert_eq!(rows(between("| cause of a problem | |", "\n\n")), exist);
}

#[test]
fn every_check_of_doctor_is_documented_and_no_other() {
    let exist: Names = Check::VARIANTS.iter().map(|check| check.name().to_owned()).collect();
    assert_eq!(rows(between("| check | broken or a warning when |", "\n\n")), exist);
}

/// A page that is dark may hold a drawing that believes it is light: a browser asks the system, and not the page.
#[test]
fn drawings_bring_their_background() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let files = std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path());
    let drawings: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "svg")).collect();
    assert!(drawings.len() > 1);
    for path in drawings {
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.split_once("<rect ").map(|(_, rest)| rest.split('>').next().unwrap());
        assert!(first.unwrap().contains("width=\"100%\" height=\"100%\""), "{}", path.display());
    }
}

#[test]
fn every_error_is_documented_and_no_other() {
    let exist: Names = ErrorKind::VARIANTS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(rows(between("| cause of an error | |", "\n\n")), exist);
}

#[test]
fn every_counter_is_documented_and_no_other() {
    let daemon = vrrp_common::counters::Counter::ALL.iter().map(|(_, name)| *name);
    let control = crate::control::server::Counter::ALL.iter().map(|(_, name)| *name);
    let scripts = crate::io::scripts::board::Counter::ALL.iter().map(|(_, name)| *name);
    let log = [crate::control::server::LOG_LINES_LOST, crate::control::server::LOG_WRITES_FAILED];
    let exist = daemon.chain(control).chain(scripts).chain(log);
    let exist: Names = exist.map(str::to_owned).collect();
    let documented = rows(between("| counter | |", "### The control socket"));
    assert_eq!(documented, exist);
}

#[test]
fn every_reason_is_documented_and_no_other() {
    let section = between("| reason | | what it means |", "\n\n");
    let documented: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).collect();
    let exist = Reason::ALL.iter().map(|reason| {
        let verdict = match reason.verdict() {
            Verdict::Drop => "dropped",
            Verdict::Pass => "passes",
        };
        format!("| `{}` | {verdict} | {} |", reason.name(), reason.text())
    });
    assert_eq!(documented, exist.collect::<Vec<_>>());
}
