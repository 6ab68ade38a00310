//! Which version this program is. One that is not optimized can pretend to be another one, for tests.

use std::sync::OnceLock;

use serde::Deserialize;
use vrrp_common::maps::ABI_VERSION;

/// What a program pretends, which stands at the end of its file behind [`MARK`], as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pretence {
    /// Its version.
    pub version: Option<String>,
    /// [`vrrp_common::maps::ABI_VERSION`].
    pub abi_version: Option<u32>,
    /// A capability that it needs.
    pub needs: Option<String>,
    /// Lines of the configuration with this in them are taken out before it is read.
    pub understands: Option<String>,
    /// It takes for ever to say whether it can take over.
    pub hangs: bool,
    /// It is killed as soon as it has taken over.
    pub crashes: bool,
}

/// What stands before a pretence.
pub const MARK: &str = "\nvrrp-user pretends: ";

static PRETENCE: OnceLock<Pretence> = OnceLock::new();

/// What is pretended, if anything is.
pub fn pretence() -> Option<&'static Pretence> {
    PRETENCE.get()
}

/// Pretends what the end of a file says.
pub fn pretend(end: &[u8]) {
    let text = String::from_utf8_lossy(end);
    let said = text.rsplit_once(MARK).map(|(_, said)| serde_json::from_str(said));
    match said {
        Some(Ok(pretence)) => drop(PRETENCE.set(pretence)),
        Some(Err(error)) => log::error!("not pretended: {error}"),
        None => {}
    }
}

/// A configuration as this version reads it.
pub fn understood(text: Vec<u8>) -> Vec<u8> {
    let Some(word) = pretence().and_then(|it| it.understands.as_ref()) else { return text };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let is_new = |line: &&[u8]| String::from_utf8_lossy(line).contains(word.as_str());
    lines.filter(|line| !is_new(line)).flatten().copied().collect()
}

/// The version of this program.
pub fn version() -> &'static str {
    pretence().and_then(|it| it.version.as_deref()).unwrap_or(env!("CARGO_PKG_VERSION"))
}

/// The version of the layout of what it pins.
pub fn abi_version() -> u32 {
    pretence().and_then(|it| it.abi_version).unwrap_or(ABI_VERSION)
}
