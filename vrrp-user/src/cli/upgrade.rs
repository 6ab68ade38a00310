//! `vrrp-user upgrade`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::Error;
use crate::api::UpgradeReport;
use crate::control::client;
use crate::types::instance::Instance;

/// How long the new program may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of it, and the exit code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or it would be.
    Done = 0,
    /// Everything goes on as before.
    Refused = 1,
    /// Only a restart helps.
    NeedsRestart = 3,
}

/// Lets another program take the place of that of a running daemon.
///
/// # Errors
/// The daemon cannot be asked, or ended.
pub fn upgrade(
    instance: &Instance,
    binary: Option<PathBuf>,
    check: bool,
    json: bool,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let binary = match binary {
        Some(path) => fs::canonicalize(&path).unwrap_or(path),
        None => std::env::current_exe()?,
    };
    let mut asked = match client::upgrade(instance, &binary, check) {
        Ok(asked) => asked,
        Err(client::Error::Refused(_, why)) if why.error.contains("unknown variant") => {
            writeln!(
                out,
                "instance `{instance}` runs a version that cannot be replaced while it runs: restart it, which hands its \
                 routers over"
            )?;
            return Ok(Outcome::NeedsRestart);
        }
        Err(error) => return Err(error.into()),
    };
    let report = asked.report.clone();
    let mut goes_on = None;
    if report.ready && !check {
        asked.wait()?;
        goes_on = Some(wait(instance, &report));
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        out.write_all(text(&report).as_bytes())?;
    }
    match goes_on {
        Some(Ok(masters)) if !json => {
            let are = if masters == 1 { "router is" } else { "routers are" };
            writeln!(out, "it goes on as process {}, {masters} {are} master", report.pid)?;
        }
        Some(Err(error)) => {
            writeln!(
                out,
                "it has ended: {error}. Its host answers for its addresses until another one has them, and the service \
                 manager starts it again"
            )?;
            return Ok(Outcome::Refused);
        }
        Some(Ok(_)) | None => {}
    }
    Ok(match (report.ready, report.needs_restart) {
        (true, _) => Outcome::Done,
        (false, false) => Outcome::Refused,
        (false, true) => Outcome::NeedsRestart,
    })
}

/// Waits until the new program answers in the old process. How many routers are master.
fn wait(instance: &Instance, report: &UpgradeReport) -> Result<usize, client::Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        match client::status(instance) {
            Ok(status) if status.pid == report.pid => {
                return Ok(status.routers.iter().filter(|it| it.state == "MASTER").count());
            }
            Ok(_) => return Err(client::Error::HungUp(instance.clone())),
            Err(error) => {
                // One that has ended and was not waited for has none.
                let program = fs::read_link(format!("/proc/{}/exe", report.pid));
                let ended = program.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
                if Instant::now() >= until || ended {
                    return Err(error);
                }
            }
        }
        thread::sleep(PAUSE);
    }
}

fn text(report: &UpgradeReport) -> String {
    let UpgradeReport { binary, from, to, check, .. } = report;
    let to = to.as_deref().unwrap_or("?");
    if report.ready {
        let layouts = match report.layout_to {
            Some(new) if new != report.layout_from => {
                format!("; the layout of its maps changes from {} to {new}", report.layout_from)
            }
            Some(_) | None => String::new(),
        };
        let what = if *check { "could take over" } else { "takes over" };
        return format!("{binary}: version {to} {what} from version {from}{layouts}\n");
    }
    let errors: String = report.errors.iter().map(|error| format!("{error}\n")).collect();
    let rest = if report.needs_restart {
        "nothing was done: it takes a restart, which hands its routers over"
    } else {
        "refused: everything goes on as before"
    };
    format!("{errors}{rest}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_what_becomes_of_it() {
        let mut report = UpgradeReport {
            binary: "/b".to_owned(),
            from: "1.0".to_owned(),
            to: Some("1.1".to_owned()),
            layout_from: 15,
            layout_to: Some(16),
            ready: true,
            check: true,
            ..UpgradeReport::default()
        };
        assert_eq!(
            text(&report),
            "/b: version 1.1 could take over from version 1.0; the layout of its maps changes from 15 to 16\n"
        );
        (report.layout_to, report.check) = (Some(15), false);
        assert_eq!(text(&report), "/b: version 1.1 takes over from version 1.0\n");
        (report.ready, report.errors) = (false, vec!["not so".to_owned()]);
        assert_eq!(text(&report), "not so\nrefused: everything goes on as before\n");
        report.needs_restart = true;
        assert!(text(&report).ends_with("takes a restart, which hands its routers over\n"));
    }
}
