//! Names of daemons on one machine, and where each has its files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where running daemons keep their sockets and locks, one directory per instance.
pub const RUNTIME_DIR: &str = "/run/vrrp-user";

/// The directory of the pins of all instances on a BPF filesystem.
pub const PINS: &str = "vrrp-user";

/// Name of a daemon on this machine: names its runtime directory and its pin directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance(String);

impl Instance {
    /// The directory of its socket and lock.
    pub fn runtime_dir(&self) -> PathBuf {
        Path::new(RUNTIME_DIR).join(&self.0)
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir().join("control.sock")
    }

    /// The directory of its pinned maps on a BPF filesystem.
    pub fn pins(&self, bpffs: &Path) -> PathBuf {
        bpffs.join(PINS).join(&self.0)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Default for Instance {
    /// `default`.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A string that cannot name an instance.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an instance name has 1 to 64 letters, digits, `-` or `_`; it names a directory")]
pub struct InvalidInstance;

impl FromStr for Instance {
    type Err = InvalidInstance;

    fn from_str(name: &str) -> Result<Self, InvalidInstance> {
        // No dot: bpffs refuses it in names, and `..` would leave the directory.
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            return Err(InvalidInstance);
        }
        Ok(Self(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", "..", "a/b", "a.b", "a b", &"x".repeat(65)] {
            assert_eq!(Instance::from_str(bad), Err(InvalidInstance), "{bad}");
        }
        assert_eq!(Instance::from_str("edge-1_b").unwrap().name(), "edge-1_b");
    }
}
