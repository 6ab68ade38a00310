//! What of a reload happens on another thread: everything that takes time and needs nothing of what runs.

pub mod preflight;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::api::error::ErrorKind;
use crate::capture::BestMode;
use crate::config::model::{Config, Listen, Severity};
use crate::config::socket::SocketMode;
use crate::config::{self, Loaded};
use crate::core::prepared::{Prepared, Refusal, lines};
use crate::io::netlink;
use crate::io::scripts::Plan;
use crate::types::netns::Netns;

/// How the configuration is read, besides where it is.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What the reader may ask about its surroundings.
    pub options: config::Options,
    /// Where metrics are served, when the command line says so: the configuration does not matter then.
    pub metrics: Option<Listen>,
    /// The network namespace of the configuration that the daemon was started with; `None` where the command line goes before it.
    pub netns: Option<Option<Netns>>,
    /// As with the metrics, the mode of the control socket.
    pub socket_mode: Option<SocketMode>,
    /// Likewise, its group.
    pub socket_group: Option<String>,
    /// Likewise, how interfaces capture that are not named in the configuration.
    pub capture: Option<BestMode>,
}

impl Settings {
    /// Nothing that is attached or opened could go with the daemon to another network namespace.
    /// Errors: that this is another one, and what to do.
    fn same_netns(&self, config: &Config) -> Result<(), Refusal> {
        let here = |netns: &Option<Netns>| {
            netns.as_ref().map_or("the one it was started in".to_owned(), ToString::to_string)
        };
        match &self.netns {
            Some(netns) if *netns != config.netns => {
                let error = format!(
                    "the daemon cannot go to another network namespace, from {} to {}: restart it",
                    here(netns),
                    here(&config.netns)
                );
                Err(ErrorKind::OtherNetns.because(error).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Puts what the command line says in the place of what the configuration does.
    pub fn apply(&self, config: &mut Config) {
        if self.metrics.is_some() {
            config.metrics.clone_from(&self.metrics);
        }
        config.control.mode = self.socket_mode.unwrap_or(config.control.mode);
        if self.socket_group.is_some() {
            config.control.group.clone_from(&self.socket_group);
        }
        if let Some(BestMode(best)) = self.capture {
            config.capture.default = best;
        }
    }
}

/// Reads and prepares a configuration, if another process could.
/// Errors: why it cannot be used.
pub fn read(path: &Path, settings: &Settings) -> Result<(Prepared, Plan), Refusal> {
    preflight::ask(path, settings)?;
    // A reader that panics must not leave the reload under way for ever.
    let read = catch_unwind(AssertUnwindSafe(|| prepare(path, settings)));
    read.unwrap_or_else(|_| {
        let error = format!("{}: the reader of the configuration failed", path.display());
        Err(ErrorKind::ReaderFailed.because(error).into())
    })
}

/// As [`read`], in this process.
fn prepare(path: &Path, settings: &Settings) -> Result<(Prepared, Plan), Refusal> {
    let options =
        config::Options { mtu: Some(netlink::mtu), enter: None, ..settings.options.clone() };
    let Loaded { mut config, mut diagnostics } = config::load(path, &options).map_err(|error| {
        let of = |severity| lines(error.diagnostics(), severity);
        let errors = match error.diagnostics() {
            [] => vec![ErrorKind::ConfigUnreadable.because(crate::io::bpf::chain(&error))],
            _ => of(Severity::Error)
                .into_iter()
                .map(|it| ErrorKind::ConfigInvalid.because(it))
                .collect(),
        };
        Refusal { errors, warnings: of(Severity::Warning) }
    })?;
    settings.same_netns(&config)?;
    settings.apply(&mut config);
    // This asks for users and looks at files.
    let (plan, more) = Plan::new(&config);
    diagnostics.extend(more);
    let mut prepared = Prepared::new(config, diagnostics);
    prepared.notifies = !plan.is_empty();
    prepared.states_on_reload = plan.states_on_reload;
    Ok((prepared, plan))
}
