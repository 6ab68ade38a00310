//! What of a reload happens on another thread: everything that takes time and needs nothing of what runs.

use std::collections::HashSet;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{Settings, Watched, preflight};
use crate::config::model::{Config, Diagnostic, Severity, Transport};
use crate::config::{self, Loaded};
use crate::engine::types::Priority;
use crate::io::bpf::Needs;
use crate::io::netlink;
use crate::io::scripts::Plan;

/// A configuration that was read, or why it can not be used.
pub type Read = Result<Prepared, Refusal>;

/// Why a configuration can not be used.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Refusal {
    /// Each with its place in the file, in the order of the file.
    pub errors: Vec<String>,
    /// What else was found.
    pub warnings: Vec<String>,
}

/// A configuration that can be taken up.
#[derive(Debug)]
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    /// What tells which routers have changed ([`Config::fingerprints`]).
    pub fingerprints: Vec<u64>,
    /// In which groups they are ([`Config::memberships`]).
    pub memberships: Vec<Option<usize>>,
    /// What is tracked.
    pub watched: Watched,
    /// What it needs room for.
    pub needs: Needs,
    /// The addresses that move between hosts.
    pub virtual_addresses: Vec<IpAddr>,
    /// Scripts and fifos.
    pub plan: Plan,
    /// What the user should know.
    pub diagnostics: Vec<Diagnostic>,
    /// The warnings of them, as lines.
    pub warnings: Vec<String>,
}

/// Reads and prepares a configuration, if another process could.
pub fn read(path: &Path, settings: &Settings) -> Read {
    preflight::ask(path, settings)?;
    // A reader that panics must not leave the reload under way for ever.
    let read = catch_unwind(AssertUnwindSafe(|| prepare(path, settings)));
    read.unwrap_or_else(|_| {
        let error = format!("{}: the reader of the configuration failed", path.display());
        Err(Refusal { errors: vec![error], ..Refusal::default() })
    })
}

/// As [`read`], in this process.
pub(super) fn prepare(path: &Path, settings: &Settings) -> Read {
    let options = config::Options { mtu: Some(netlink::mtu), ..settings.options.clone() };
    let Loaded { mut config, mut diagnostics } = config::load(path, &options).map_err(|error| {
        let of = |severity| lines(error.diagnostics(), severity);
        let errors = match error.diagnostics() {
            [] => vec![crate::io::bpf::chain(&error)],
            _ => of(Severity::Error),
        };
        Refusal { errors, warnings: of(Severity::Warning) }
    })?;
    settings.apply(&mut config);
    let mut places = HashSet::new();
    let mut virtual_addresses = Vec::new();
    for router in &config.routers {
        for address in router.addresses.iter().chain(&router.excluded) {
            places.insert((address.dev.as_deref().unwrap_or(&router.interface), address.address));
            // The owner's are the interface's real ones.
            if router.priority != Priority::OWNER {
                virtual_addresses.push(address.address);
            }
        }
    }
    let vips6 = places.iter().filter(|(_, address)| address.is_ipv6()).count();
    let allowed = config.routers.iter().map(|router| match &router.transport {
        Transport::Unicast { peers, check_source: true, .. } => peers.len(),
        Transport::Unicast { check_source: false, .. } | Transport::Multicast { .. } => 0,
    });
    let needs = Needs {
        routers: config.routers.len(),
        vips: places.len() - vips6,
        vips6,
        allowed: allowed.sum(),
    };
    // What takes them sorts them once more, which is nothing then.
    virtual_addresses.sort_unstable();
    virtual_addresses.dedup();
    // This asks for users and looks at files.
    let (plan, more) = Plan::new(&config);
    diagnostics.extend(more);
    let warnings = lines(&diagnostics, Severity::Warning);
    Ok(Prepared {
        fingerprints: config.fingerprints(),
        memberships: config.memberships(),
        watched: Watched::of(&config),
        config,
        needs,
        virtual_addresses,
        plan,
        diagnostics,
        warnings,
    })
}

fn lines(diagnostics: &[Diagnostic], severity: Severity) -> Vec<String> {
    let such = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity);
    such.map(ToString::to_string).collect()
}
