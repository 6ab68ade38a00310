//! Names of network namespaces, as ip-netns(8) has them.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where network namespaces have names.
pub const NAMED: &str = "/run/netns";

/// A network namespace: by its name, or by the path of a file that stands for it, such as /proc/PID/ns/net.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Netns(String);

impl Netns {
    /// That of a process.
    pub fn of_process(pid: u32) -> Self {
        Self(format!("/proc/{pid}/ns/net"))
    }

    /// How this program calls an interface in it, where it runs in another one: `red/eth0`. A name that says where it is
    /// stays as it is.
    pub fn interface(&self, name: &str) -> String {
        if name.contains(SEPARATOR) { name.to_owned() } else { format!("{self}{SEPARATOR}{name}") }
    }

    /// A number for it: of the same name always the same. Two names can have one, and do not in a configuration that is
    /// accepted (FNV-1a, but for that no name has the number 0).
    pub fn number(&self) -> NonZeroU32 {
        const BASIS: u32 = 0x811c_9dc5;
        const PRIME: u32 = 0x0100_0193;
        let add = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(PRIME);
        NonZeroU32::new(self.0.bytes().fold(BASIS, add)).unwrap_or(NonZeroU32::MAX)
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        // A path that is absolute takes the place of all before it.
        Path::new(NAMED).join(&self.0)
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands between a network namespace and an interface in it. No interface has it in its name (`dev_valid_name`,
/// net/core/dev.c).
const SEPARATOR: char = '/';

/// An interface as this program calls it, in two: the network namespace, if it is in another one than the daemon, and the
/// name that the interface has there.
pub fn split(interface: &str) -> (Option<&str>, &str) {
    match interface.rsplit_once(SEPARATOR) {
        Some((netns, name)) => (Some(netns), name),
        None => (None, interface),
    }
}

/// An interface as this program calls it, of the two; the network namespace is empty for that of the daemon.
pub fn joined<'a>(netns: &str, interface: &'a str) -> Cow<'a, str> {
    if netns.is_empty() {
        interface.into()
    } else {
        format!("{netns}{SEPARATOR}{interface}").into()
    }
}

/// How ip(8) is called for an interface, and what it calls that: for messages.
pub fn ip(interface: &str) -> (String, &str) {
    match split(interface) {
        (None, name) => ("ip".to_owned(), name),
        // ip-netns(8) knows those with a name only.
        (Some(path), name) if path.starts_with('/') => (format!("nsenter --net={path} ip"), name),
        (Some(netns), name) => (format!("ip -n {netns}"), name),
    }
}

/// The network namespace that stands before the name of an interface.
pub fn of_interface(interface: &str) -> Option<Netns> {
    split(interface).0?.parse().ok()
}

/// A string that names no network namespace.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write a name as `ip netns` shows it, or a path that begins with /")]
pub struct InvalidNetns;

impl FromStr for Netns {
    type Err = InvalidNetns;

    fn from_str(name: &str) -> Result<Self, InvalidNetns> {
        let is_path = name.starts_with('/');
        // NAME_MAX and PATH_MAX (include/uapi/linux/limits.h), the latter with its zero.
        let fits = if is_path { name.len() < 4096 } else { (1..=255).contains(&name.len()) };
        let is_name = !name.contains('/') && name != "." && name != "..";
        if fits && (is_path || is_name) && !name.contains(char::is_control) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidNetns)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_files_and_paths_for_themselves() {
        let path = |name: &str| name.parse::<Netns>().unwrap().path();
        assert_eq!(path("red"), Path::new("/run/netns/red"));
        assert_eq!(path("qrouter-1.a b"), Path::new("/run/netns/qrouter-1.a b"));
        assert_eq!(path("/run/docker/netns/1"), Path::new("/run/docker/netns/1"));
        assert_eq!(Netns::of_process(7).path(), Path::new("/proc/7/ns/net"));
    }

    #[test]
    fn interfaces_are_called_by_their_network_namespace() {
        let path = "/run/docker/netns/1";
        for netns in ["red", "a b", path] {
            let there: Netns = netns.parse().unwrap();
            let interface = there.interface("eth0");
            assert_eq!(split(&interface), (Some(netns), "eth0"));
            assert_eq!(of_interface(&interface), Some(there.clone()));
            assert_eq!(there.interface("blue/eth1"), "blue/eth1");
        }
        assert_eq!((split("eth0"), of_interface("eth0")), ((None, "eth0"), None));
        assert_eq!(of_interface("../eth0"), None);
        assert_eq!((joined("", "eth0"), joined("red", "eth0")), ("eth0".into(), "red/eth0".into()));
        assert_eq!(ip("eth0"), ("ip".to_owned(), "eth0"));
        assert_eq!(ip("red/eth0"), ("ip -n red".to_owned(), "eth0"));
        assert_eq!(ip("/proc/7/ns/net/eth0").0, "nsenter --net=/proc/7/ns/net ip");
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", ".", "..", "a/b", "../proc/1/ns/net", "a\nb", "\0", &"x".repeat(256)] {
            assert_eq!(bad.parse::<Netns>(), Err(InvalidNetns), "{bad}");
        }
    }
}
