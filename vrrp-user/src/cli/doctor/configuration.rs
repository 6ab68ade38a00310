//! The configuration: as whoever asks reads it, for all that is examined after it, and whether the daemon's user may read and
//! execute what it names. The latter is looked at by a `check` in a process of its own, which becomes that user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::{Check, Finding, Options, plural, some};
use crate::api::Status;
use crate::cli::service_user::CheckedAs;
use crate::config::model::{Config, Diagnostic, Severity};
use crate::config::{self, LoadError};
use crate::io::bpf;
use crate::io::child::{self, End};

/// How long a `check` may take: reading alone may take half of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `check --json` writes, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Checked {
    usable: bool,
    checked_as: Option<CheckedAs>,
    diagnostics: Vec<Diagnostic>,
}

/// What is wrong with the configuration, and the configuration itself if whoever asks can read it.
pub fn examine(options: &Options, status: Result<&Status, &String>) -> (Finding, Option<Config>) {
    let check = Check::Configuration;
    let running = status.ok().map(running_configuration);
    let Some(path) = options.config.clone().or(running) else {
        let text = "no daemon runs and no file is named";
        return (Finding::skipped(check, text).hint("vrrp-user doctor --config FILE"), None);
    };
    let named = config::Options {
        instance: Some(options.instance.instance.name().to_owned()),
        ..config::Options::default()
    };
    match config::load(&path, &named) {
        Ok(loaded) => {
            let finding = match checked(&path, options) {
                Ok(checked) => evaluate(&path, loaded.config.routers.len(), &checked),
                Err(error) => Finding::skipped(check, format!("`vrrp-user check`: {error}")),
            };
            (finding, Some(loaded.config))
        }
        Err(error @ LoadError::Io { .. }) => (Finding::broken(check, bpf::chain(&error)), None),
        Err(error @ LoadError::Invalid { .. }) => {
            let hint = format!("vrrp-user check {}", path.display());
            (Finding::broken(check, error.to_string()).hint(hint), None)
        }
    }
}

/// The file of the daemon, which may have been named from where the daemon was started.
fn running_configuration(status: &Status) -> PathBuf {
    let path = PathBuf::from(&status.config);
    let started_in = fs::read_link(format!("/proc/{}/cwd", status.pid));
    match started_in {
        Ok(directory) if path.is_relative() => directory.join(path),
        Ok(_) | Err(_) => path,
    }
}

/// What `check` says. Errors: why it says nothing.
fn checked(path: &Path, options: &Options) -> Result<Checked, String> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["check", "--json", "--instance", options.instance.instance.name()]);
    if let Some(user) = &options.as_user.as_user {
        command.args(["--as-user", user]);
    }
    command.arg("--").arg(path).stdin(Stdio::null());
    match child::run(&mut command, PATIENCE, true, None) {
        Ok(End::Exited(status, said)) => serde_json::from_slice(&said).map_err(|_| {
            let said = String::from_utf8_lossy(&said);
            said.lines().next().map_or_else(|| status.to_string(), str::to_owned)
        }),
        Ok(End::TooSlow) => Err(format!("it takes longer than {} s", PATIENCE.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}

fn evaluate(path: &Path, routers: usize, checked: &Checked) -> Finding {
    let check = Check::Configuration;
    let worth = |severity| {
        let found = checked.diagnostics.iter().filter(move |found| found.severity == severity);
        found.map(|found| found.message.as_str()).collect::<Vec<_>>()
    };
    let (errors, warnings) = (worth(Severity::Error), worth(Severity::Warning));
    let shown = path.display();
    let who = checked.checked_as.as_ref().map(|who| format!("\n{}", who.describe()));
    let who = who.unwrap_or_default();
    let hint = format!("vrrp-user check {shown}");
    if !checked.usable {
        return Finding::broken(check, format!("{shown}: {}{who}", some(&errors))).hint(hint);
    }
    let text = format!("{shown}: {routers} virtual router{}", plural(routers));
    let count = checked.diagnostics.len();
    match &warnings[..] {
        [] if count == 0 => Finding::fine(check, text + &who),
        [] => Finding::warning(check, format!("{text}, {count} note{}{who}", plural(count)))
            .hint(hint),
        some_of => {
            let warned = format!("{} warning{}", some_of.len(), plural(some_of.len()));
            Finding::warning(check, format!("{text}, {warned}: {}{who}", some(some_of))).hint(hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity as Bad;
    use super::*;

    fn checked(usable: bool, diagnostics: &[(Severity, &str)]) -> Finding {
        let diagnostics = diagnostics.iter().map(|(severity, message)| Diagnostic {
            file: "k.conf".to_owned(),
            line: 1,
            column: 1,
            severity: *severity,
            message: (*message).to_owned(),
            hint: None,
        });
        let checked_as = Some(CheckedAs {
            user: "u".to_owned(),
            group: "g".to_owned(),
            unit: None,
            not_as: None,
        });
        let diagnostics = diagnostics.collect();
        evaluate(Path::new("/k.conf"), 2, &Checked { usable, checked_as, diagnostics })
    }

    #[test]
    fn what_the_user_of_the_daemon_cannot_do_is_said() {
        let fine = checked(true, &[]);
        assert_eq!(fine.severity, Bad::Fine);
        assert_eq!(fine.text, "/k.conf: 2 virtual routers\nchecked as user u, group g");
        let note = checked(true, &[(Severity::Note, "x has no effect")]);
        assert!(note.text.starts_with("/k.conf: 2 virtual routers, 1 note\n"), "{note:?}");
        let disabled = [(Severity::Note, "n"), (Severity::Warning, "notify /x is disabled: why")];
        let warned = checked(true, &disabled);
        assert_eq!(warned.severity, Bad::Warning);
        let text = "/k.conf: 2 virtual routers, 1 warning: notify /x is disabled: why\nchecked";
        assert!(warned.text.starts_with(text), "{warned:?}");
        let broken = checked(false, &[(Severity::Error, "cannot read a.conf"), disabled[1]]);
        assert_eq!(broken.severity, Bad::Broken);
        assert!(broken.text.starts_with("/k.conf: cannot read a.conf\nchecked"), "{broken:?}");
    }
}
