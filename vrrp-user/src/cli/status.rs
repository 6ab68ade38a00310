//! `vrrp-user status`.

use std::io::{self, Write};

use crate::control::api::{Answer, Request, Status};
use crate::control::{Instance, client};

/// `status` has nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon could not be asked.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Output failed.
    #[error("cannot write")]
    Output(#[from] io::Error),
    /// It is not JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

/// Prints the state of a running daemon.
///
/// # Errors
/// [`Error`].
pub fn status(instance: &Instance, json: bool, out: &mut impl Write) -> Result<(), Error> {
    let status = match client::ask(instance, Request::Status {})? {
        Answer::Status(status) => status,
        Answer::Stats(_) | Answer::Error(_) => {
            return Err(client::Error::Refused(instance.clone(), "wrong answer".to_owned()).into());
        }
    };
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?;
        return Ok(());
    }
    Ok(table(&status, out)?)
}

/// The state for people; also what the live table of the demonstration shows.
///
/// # Errors
/// Output failed.
pub fn table(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "instance {}  pid {}  up {}  config {}\n",
        status.instance,
        status.pid,
        span(status.uptime_s),
        status.config
    )?;
    let rows = status.routers.iter().map(|r| {
        let master = match (&r.master, r.state.as_str()) {
            (Some(master), _) => format!("{} (priority {})", master.address, master.priority),
            (None, "MASTER") => "this host".to_owned(),
            (None, _) => "-".to_owned(),
        };
        [
            r.name.clone(),
            r.interface.clone(),
            r.vrid.to_string(),
            format!("v{}", r.version),
            r.state.clone(),
            span(r.since_s),
            r.priority.to_string(),
            master,
            r.addresses.iter().map(|a| a.address.as_str()).collect::<Vec<_>>().join(" "),
            r.cause.clone().unwrap_or_default(),
        ]
    });
    let head = [
        "ROUTER",
        "INTERFACE",
        "VRID",
        "VERSION",
        "STATE",
        "SINCE",
        "PRIORITY",
        "MASTER",
        "ADDRESSES",
        "WHY",
    ];
    super::columns(out, head, rows)?;
    writeln!(out)?;
    let rows = status.interfaces.iter().map(|i| {
        [
            i.name.clone(),
            i.ifindex.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            if i.up { "up" } else { "down" }.to_owned(),
            i.capture.clone().unwrap_or_else(|| "none".to_owned()),
            i.error.clone().unwrap_or_default(),
        ]
    });
    super::columns(out, ["INTERFACE", "INDEX", "LINK", "XDP", "ERROR"], rows)?;
    for router in &status.routers {
        for problem in &router.problems {
            writeln!(out, "{}: {problem}", router.name)?;
        }
    }
    for (name, count) in status.counters.iter().filter(|(_, count)| **count > 0) {
        writeln!(out, "{name}: {count}")?;
    }
    Ok(())
}

/// Seconds as `4.2s`, `3m05s`, `2h07m` or `3d04h`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    let s = seconds as u64;
    match s {
        0..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_short() {
        let shown: Vec<String> = [4.24, 185.0, 7620.0, 273_600.0].map(span).into();
        assert_eq!(shown, ["4.2s", "3m05s", "2h07m", "3d04h"]);
    }
}
