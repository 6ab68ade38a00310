//! `vrrp-user events`.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::Error;
use super::terminal::{Colour, Terminal, state_colour};
use crate::api::{Event, Happened, SCHEMA};
use crate::control::client::{self, Streamed};
use crate::types::instance::Instance;

/// Columns before what goes on below a line.
const INDENT: usize = 4;

/// Prints what happens to the routers, or to the one of that name, until the daemon ends: a line each.
pub fn events(
    instance: &Instance,
    since: Option<Duration>,
    name: Option<String>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    for next in client::follow(instance, since, name)? {
        match (next?, json) {
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
    let line = format!("{}  {who}  {}  {}", event.time, happened(event, terminal), event.reason);
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
