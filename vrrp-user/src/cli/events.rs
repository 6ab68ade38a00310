//! `vrrp-user events`.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use clap_complete::ArgValueCandidates;

use super::Error;
use super::clock::here;
use super::common::InstanceArg;
use super::complete;
use super::terminal::{Colour, Terminal, state_colour};
use crate::api::{Event, Happened, SCHEMA};
use crate::control::client::{self, Streamed};

/// Columns before what goes on below a line.
const INDENT: usize = 4;

/// What to show, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only this router, and what it tracks: its name, or INTERFACE/VRID.
    #[arg(add = ArgValueCandidates::new(complete::routers))]
    name: Option<String>,
    #[command(flatten)]
    instance: InstanceArg,
    /// Begin with what happened in this time, such as 90s, 10m or 12h; without it, and without --no-follow, with what
    /// happens from now on.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// End with what happened so long ago, such as 5m; implies --no-follow.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    until: Option<Duration>,
    /// End with what has happened up to now; without --since, all that the daemon still knows.
    #[arg(long)]
    no_follow: bool,
    /// Only these kinds: transition, notice, tracked.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<Kind>,
    /// As JSON, an object on each line.
    #[arg(long)]
    json: bool,
}

/// What an event is; `event` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A router changes its state.
    Transition,
    /// Something is to be noticed about a router.
    Notice,
    /// What routers track changes.
    Tracked,
}

impl Kind {
    fn of(what: &Happened) -> Self {
        match what {
            Happened::Transition { .. } => Self::Transition,
            Happened::Notice => Self::Notice,
            Happened::Tracked { .. } => Self::Tracked,
        }
    }
}

impl Options {
    /// Whether it ends without waiting for more.
    fn ends(&self) -> bool {
        self.no_follow || self.until.is_some()
    }

    /// From how long ago on events are asked for.
    fn begin(&self) -> Option<Duration> {
        self.since.or_else(|| self.ends().then_some(Duration::MAX))
    }

    /// Whether one is of a kind that is wanted.
    fn shows(&self, event: &Event) -> bool {
        self.kind.is_empty() || self.kind.contains(&Kind::of(&event.what))
    }
}

/// Prints what happens to the routers, or to the one of that name, until the daemon ends: a line each.
pub fn events(options: &Options, out: &mut impl Write) -> Result<(), Error> {
    let instance = &options.instance.instance;
    let now = jiff::Timestamp::now();
    let end = options.until.map(|ago| now.checked_sub(ago).unwrap_or(jiff::Timestamp::MIN));
    let is_later = |event: &Event| {
        let at = event.time.parse::<jiff::Timestamp>();
        end.zip(at.ok()).is_some_and(|(end, at)| at > end)
    };
    let name = options.name.clone();
    for next in client::follow(instance, options.begin(), name, !options.ends())? {
        match (next?, options.json) {
            (Streamed::Event(event), _) if is_later(&event) => break,
            (Streamed::Event(event), _) if !options.shows(&event) => continue,
            (Streamed::Event(event), true) => writeln!(out, "{}", serde_json::to_string(&event)?)?,
            (Streamed::Event(event), false) => {
                writeln!(out, "{}", line(&event, Terminal::stdout()))?;
            }
            (Streamed::Lost(events), true) => {
                let lost = json!({ "schema": SCHEMA, "event": "lost", "events": events });
                writeln!(out, "{lost}")?;
            }
            (Streamed::Lost(events), false) => {
                writeln!(out, "({events} events went by before they could be shown)")?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn line(event: &Event, terminal: Terminal) -> String {
    let bold = |name: &str| terminal.paint(name, Colour::Bold);
    let who = match (&event.router, &event.interface, event.vrid, &event.object) {
        (Some(router), Some(interface), Some(vrid), _) => {
            format!("{} ({interface}/{vrid})", bold(router))
        }
        (_, _, _, Some(object)) => bold(object),
        (..) => "-".to_owned(),
    };
    let line =
        format!("{}  {who}  {}  {}", here(&event.time), happened(event, terminal), event.reason);
    terminal.fit(&line, INDENT)
}

/// `BACKUP -> MASTER`, `notice`, or `up -> down`.
pub(super) fn happened(event: &Event, terminal: Terminal) -> String {
    match &event.what {
        Happened::Transition { from, to } => {
            format!("{from} -> {}", terminal.paint(to, state_colour(to)))
        }
        Happened::Notice => terminal.paint("notice", Colour::Yellow),
        Happened::Tracked { from, to } => {
            let colour = match to.as_str() {
                "up" => Colour::Green,
                "down" => Colour::Red,
                _ => Colour::Yellow,
            };
            format!("{from} -> {}", terminal.paint(to, colour))
        }
    }
}

/// A duration as `90s`, `10m` or `2h 30m`.
/// Errors: what is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration =
        text.parse().map_err(|_| "give a duration such as 90s, 10m or 12h".to_owned())?;
    Duration::try_from(duration)
        .map_err(|_| "give a duration of the past without a sign".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, secs) in
            [("90s", 90), ("10m", 600), ("2h 30m", 9000), ("1h30m", 5400), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for bad in ["", "10", "ten", "-5s", "5x"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_ends_begins_with_all_there_is() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let read = |args: &[&str]| {
            let args = ["events"].iter().chain(args);
            <Line as clap::Parser>::try_parse_from(args).unwrap().options
        };
        let hour = Some(Duration::from_secs(3600));
        assert_eq!((read(&[]).begin(), read(&[]).ends()), (None, false));
        assert_eq!(
            (read(&["--since", "1h"]).begin(), read(&["--since", "1h"]).ends()),
            (hour, false)
        );
        let past = read(&["--no-follow"]);
        assert_eq!((past.begin(), past.ends()), (Some(Duration::MAX), true));
        let past = read(&["--since", "1h", "--until", "5m"]);
        assert_eq!((past.begin(), past.ends()), (hour, true));
        let kinds = read(&["--kind", "transition,tracked"]).kind;
        assert_eq!(kinds, [Kind::Transition, Kind::Tracked]);
    }

    #[test]
    fn the_documented_lines_are_those_that_are_written() {
        let event = |text: &str| {
            let event: Event = serde_json::from_str(text).unwrap();
            line(&event, Terminal::default()) + "\n"
        };
        let observing = include_str!("../../../docs/observing.md");
        let (_, section) = observing.split_once("### Events\n").unwrap();
        // The object that is documented is the first of the lines.
        let json = section.lines().find_map(|line| line.strip_prefix("    {\"schema\"")).unwrap();
        let taken = event(&format!("{{\"schema\"{json}"));
        assert!(section.contains(&format!("\n    {taken}")), "{taken}");
        let readme = crate::docs_tests::sample(
            include_str!("../../../README.md"),
            "vrrp-user events --since 1h",
        );
        assert!(readme.ends_with(&taken), "{readme}");
    }

    #[test]
    fn a_line_says_when_whose_what_and_why() {
        let mut event = Event {
            schema: SCHEMA,
            number: 1,
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            router: Some("VI_1".to_owned()),
            interface: Some("eth0".to_owned()),
            vrid: Some(51),
            object: None,
            what: Happened::Transition { from: "BACKUP".to_owned(), to: "MASTER".to_owned() },
            cause: "master-down".to_owned(),
            reason: "took over".to_owned(),
        };
        let shown = line(&event, Terminal::default());
        assert_eq!(shown, "2026-01-02T03:04:05.678Z  VI_1 (eth0/51)  BACKUP -> MASTER  took over");
        event.what = Happened::Notice;
        let shown = line(&event, Terminal::default());
        assert_eq!(shown, "2026-01-02T03:04:05.678Z  VI_1 (eth0/51)  notice  took over");
        event.what = Happened::Tracked { from: "up".to_owned(), to: "down".to_owned() };
        (event.router, event.object) = (None, Some("script chk".to_owned()));
        event.reason = "is down (exit status 1); tracked by VI_1".to_owned();
        let shown = line(&event, Terminal::default());
        assert_eq!(
            shown,
            "2026-01-02T03:04:05.678Z  script chk  up -> down  is down (exit status 1); tracked by VI_1"
        );
    }
}
