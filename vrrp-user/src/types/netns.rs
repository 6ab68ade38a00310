//! Names of network namespaces, as ip-netns(8) has them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where network namespaces have names.
pub const NAMED: &str = "/run/netns";

/// A network namespace: by its name, or by the path of a file that stands for it, such as /proc/PID/ns/net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns(String);

impl Netns {
    /// That of a process.
    pub fn of_process(pid: u32) -> Self {
        Self(format!("/proc/{pid}/ns/net"))
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
    fn names_cannot_leave_their_directory() {
        for bad in ["", ".", "..", "a/b", "../proc/1/ns/net", "a\nb", "\0", &"x".repeat(256)] {
            assert_eq!(bad.parse::<Netns>(), Err(InvalidNetns), "{bad}");
        }
    }
}
