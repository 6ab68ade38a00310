//! A configuration that was read, and what follows from it alone.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use super::capacity::Needs;
use super::interface_id::NamespaceId;
use crate::api::error::ApiError;
use crate::config::model::{
    Address, Config, Diagnostic, RouterConfig, Severity, TrackFile, TrackProcess, Tracked,
    Transport,
};
use crate::engine::types::Priority;

/// A configuration that was read, or why it cannot be used.
pub type Read = Result<Prepared, Refusal>;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Refusal {
    /// Each with its place in the file, in the order of the file.
    pub errors: Vec<ApiError>,
    /// What else was found.
    pub warnings: Vec<String>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { errors: vec![error], warnings: Vec::new() }
    }
}

/// A configuration that can be applied.
#[derive(Clone, Debug)]
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
    pub virtual_addresses: Vec<(NamespaceId, IpAddr)>,
    /// Whether scripts and fifos are told anything.
    pub notifies: bool,
    /// Whether fifos are told the state of every router when it has been applied.
    pub states_on_reload: bool,
    /// What the user should know.
    pub diagnostics: Vec<Diagnostic>,
    /// The warnings of them, as lines.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// All that follows from a configuration, but for what scripts and fifos need.
    pub fn new(mut config: Config, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            fingerprints: config.fingerprints(),
            memberships: config.memberships(),
            watched: Watched::of(&config),
            needs: Needs::of(&config),
            virtual_addresses: virtual_addresses(&config),
            notifies: false,
            states_on_reload: false,
            warnings: lines(&diagnostics, Severity::Warning),
            diagnostics,
            config,
        }
    }
}

/// The addresses that move between hosts, in order.
pub fn virtual_addresses(config: &Config) -> Vec<(NamespaceId, IpAddr)> {
    // The owner's are the interface's real ones.
    let routers = config.routers.iter().filter(|router| router.priority != Priority::OWNER);
    let of = |router: &RouterConfig| {
        let own = NamespaceId::of_interface(&router.interface);
        let all = router.addresses.iter().chain(&router.excluded);
        let place = |address: &Address| {
            let namespace = address.dev.as_deref().map(NamespaceId::of_interface);
            (namespace.unwrap_or(own), address.address)
        };
        all.map(place).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = routers.flat_map(of).collect();
    // What takes them sorts them once more, which is nothing then.
    all.sort_unstable();
    all.dedup();
    all
}

/// Everything that is tracked by threads of their own, or by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    files: Vec<TrackFile>,
    processes: Vec<TrackProcess>,
    interfaces: BTreeSet<String>,
}

impl Watched {
    /// What a configuration tracks, wherever it stands there.
    pub fn of(config: &Config) -> Self {
        let (mut files, mut processes) = (config.files.clone(), config.processes.clone());
        files.iter_mut().for_each(|file| file.line = 0);
        processes.iter_mut().for_each(|process| process.line = 0);
        let tracks = config.routers.iter().flat_map(RouterConfig::dependencies);
        let tracks = tracks.chain(config.groups.iter().flat_map(|group| group.track.clone()));
        let interfaces = tracks.filter_map(|track| match track.what {
            Tracked::Interface(name) => Some(name),
            Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_) => None,
        });
        Self { files, processes, interfaces: interfaces.collect() }
    }
}

impl Needs {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        let mut places = HashSet::new();
        for router in &config.routers {
            for address in router.addresses.iter().chain(&router.excluded) {
                let dev = address.dev.as_deref().unwrap_or(&router.interface);
                places.insert((dev, address.address));
            }
        }
        let vips6 = places.iter().filter(|(_, address)| address.is_ipv6()).count();
        let allowed = config.routers.iter().map(|router| match &router.transport {
            Transport::Unicast { peers, check_source: true, .. } => peers.len(),
            Transport::Unicast { check_source: false, .. } | Transport::Multicast { .. } => 0,
        });
        Self {
            routers: config.routers.len(),
            vips: places.len() - vips6,
            vips6,
            allowed: allowed.sum(),
        }
    }
}

/// Those of one severity, as lines.
pub fn lines(diagnostics: &[Diagnostic], severity: Severity) -> Vec<String> {
    let such = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity);
    such.map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_toml;

    #[test]
    fn what_a_configuration_needs_room_for_and_what_moves() {
        let router = |vrid: u8, more: &str| {
            format!(
                "[[router]]\nname = \"R{vrid}\"\ninterface = \"eth0\"\nvrid = {vrid}\nversion = 3\n{more}\n"
            )
        };
        let text = [
            router(
                1,
                "addresses = [\"10.0.0.1/24\"]\nexcluded = [\"10.0.0.3/24\", \"2001:db8::1/64\"]",
            ),
            // The same address on another interface is another place.
            router(
                2,
                "addresses = [\"10.0.0.2/24\"]\nexcluded = [\"10.0.0.4/24\", { address = \"10.0.0.3/24\", dev = \"eth1\" }]\nunicast = { check_source = true, peers = [\"10.0.0.8\", \"10.0.0.9\"] }",
            ),
            // An owner's are the interface's own.
            router(3, "addresses = [\"10.0.0.7/24\"]\npriority = 255"),
        ];
        let prepared = Prepared::new(load_toml(&text.concat()).unwrap(), Vec::new());
        let needs = Needs { routers: 3, vips: 6, vips6: 1, allowed: 2 };
        assert_eq!(prepared.needs, needs);
        let moving = prepared.virtual_addresses.iter().map(|(_, address)| address.to_string());
        let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "2001:db8::1"];
        assert_eq!(moving.collect::<Vec<_>>(), all);
    }
}
