//! Configuration: two readers (TOML and keepalived.conf), one validated model.
//!
//! A reader knows the grammar of its format and nothing else: it turns a file into [`draft::Draft`]s, each
//! value with its place in the file. Everything that makes a configuration right or wrong is checked once,
//! in [`validate`]. Nothing here looks at the machine: whether an interface exists is the daemon's business.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use diagnostic::{Diagnostic, Severity};
use draft::Drafts;
use model::Config;
use report::Report;

use crate::types::netns::Netns;

pub use log::log;
pub use source::STDIN;

pub(crate) mod access;
pub(crate) mod address;
pub(crate) mod command;
pub(crate) mod convert;
pub(crate) mod diagnostic;
mod draft;
#[cfg(test)]
mod hmac_tests;
mod keepalived;
mod log;
pub mod model;
pub(crate) mod notify;
mod report;
pub(crate) mod routes;
#[cfg(test)]
mod samples_tests;
pub(crate) mod socket;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod toml;
pub(crate) mod tree;
mod validate;

/// Goes to a network namespace, or says why not, and how bad that is.
pub type Enter = fn(&Netns) -> Result<(), (Severity, String)>;

/// What a configuration may ask about its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What `@ID` conditions of keepalived.conf are compared with (keepalived's `-i`); the host name up to
    /// its first dot when not given.
    pub config_id: Option<String>,
    /// What `${_INSTANCE}` stands for; the configuration id when not given.
    pub instance: Option<String>,
    /// Finds out the MTU of an interface, bytes, if there is one of that name. Without, addresses are advertised as if
    /// there were room for all.
    pub mtu: Option<fn(&str) -> Option<u32>>,
    /// Takes this thread to the network namespace that the file names, before it is asked for MTUs. Without, it stays where it
    /// is.
    pub enter: Option<Enter>,
    /// How many virtual routers run already, where a running daemon reads its configuration again; `None` at a start.
    pub running: Option<usize>,
}

/// A usable configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration; without routers only where the file means that.
    pub config: Config,
    /// What the user should know all the same; only warnings and notes, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file itself cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can be read, but says something that cannot be done.
    #[error("{}", Lines(diagnostics))]
    Invalid {
        /// Everything that was found, warnings too; at least one error.
        diagnostics: Vec<Diagnostic>,
    },
}

impl LoadError {
    /// Everything that was found in the file; empty if it could not be read.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Io { .. } => &[],
            Self::Invalid { diagnostics } => diagnostics,
        }
    }
}

/// Diagnostics, one per line.
struct Lines<'a>(&'a [Diagnostic]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

/// Whether a file of that name is read as TOML.
pub fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// Reads and validates a configuration: TOML if the name ends in `.toml`, keepalived's grammar otherwise.
/// Errors: when the file cannot be read, or anything in it is an error. All errors are reported at once.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, LoadError> {
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    let mut report = Report::default();
    let (drafts, format) = if is_toml(path) {
        (toml::read(path, &mut report).map_err(io)?, &validate::TOML)
    } else {
        let drafts = keepalived::read(path, options, &mut report).map_err(io)?;
        (drafts, &validate::KEEPALIVED)
    };
    let idle = drafts.idle;
    let mtu = if entered(&drafts, options, &mut report) { options.mtu } else { None };
    let config = validate::validate(drafts, format, mtu, &mut report);
    if config.routers.is_empty() && !idle && !report.has_errors() {
        // It may be what is left of one that could not be written.
        let start = report.file(&path.display().to_string()).line(1);
        report.error(start, "there is no virtual router in this file", format.idle);
    }
    let diagnostics = report.into_diagnostics();
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(LoadError::Invalid { diagnostics });
    }
    Ok(Loaded { config, diagnostics })
}

/// Whether this thread is in the network namespace that the file names.
fn entered(drafts: &Drafts, options: &Options, report: &mut Report) -> bool {
    let (Some(netns), Some(enter)) = (&drafts.netns, options.enter) else { return true };
    let entered = enter(&netns.value);
    entered.map_err(|(severity, why)| report.push(severity, netns.at, why, "")).is_ok()
}

/// A configuration in the TOML format, from memory.
/// Errors: when anything in it is an error; all of them.
pub fn load_toml(text: &str) -> Result<Config, Vec<Diagnostic>> {
    let mut report = Report::default();
    let drafts = toml::read_text("", text, &mut report);
    let config = validate::validate(drafts, &validate::TOML, None, &mut report);
    if report.has_errors() { Err(report.into_diagnostics()) } else { Ok(config) }
}
