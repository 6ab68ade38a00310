//! Entering network namespaces (setns(2)).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use crate::types::netns::{NAMED, Netns};

/// `ip netns add` makes a file, and then mounts the namespace over it: how often that is looked for, and how long after the
/// last time.
const LOOKS: (u32, Duration) = (50, Duration::from_millis(10));

/// Why a thread stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has that name.
    #[error("there is no network namespace {0}; `ip netns` lists those with a name")]
    Missing(Netns),
    /// Something else has.
    #[error("{} is no network namespace", .0.path().display())]
    Other(Netns),
    /// It may not be entered.
    #[error(
        "entering the network namespace {netns} needs CAP_SYS_ADMIN, which this process has not: write \
         NetworkNamespacePath={} into the unit, or use `ip netns exec`",
        netns.path().display()
    )]
    Denied {
        /// Which.
        netns: Netns,
    },
    /// It cannot be looked at.
    #[error("cannot enter the network namespace {netns}")]
    Io {
        /// Which.
        netns: Netns,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Takes this thread to a network namespace, and with it all threads and processes that it starts from then on. Nothing
/// happens, and no right is needed, where it is there already. Whether it was not.
/// Errors: as [`Error`] says; the thread stays where it is.
pub fn enter(netns: &Netns) -> Result<bool, Error> {
    let io = |source: io::Error| {
        if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            Error::Missing(netns.clone())
        } else {
            Error::Io { netns: netns.clone(), source }
        }
    };
    let (looks, pause) = LOOKS;
    for _ in 0..looks {
        let file = File::open(netns.path()).map_err(io)?;
        let there = file.metadata().map_err(io)?;
        // Each thread has one, and only /proc/thread-self is about this one.
        let here = fs::metadata("/proc/thread-self/ns/net").map_err(io)?;
        if (there.dev(), there.ino()) == (here.dev(), here.ino()) {
            return Ok(false);
        }
        match setns(&file, CloneFlags::CLONE_NEWNET) {
            Ok(()) => return Ok(true),
            // A file, perhaps not for long, or a namespace of another kind.
            Err(Errno::EINVAL) => thread::sleep(pause),
            Err(Errno::EPERM) => return Err(Error::Denied { netns: netns.clone() }),
            Err(errno) => return Err(io(errno.into())),
        }
    }
    Err(Error::Other(netns.clone()))
}

/// The number by which a daemon tells what network namespace it was in, of this thread; 0 where it cannot be told.
pub fn number() -> u64 {
    inode(Path::new("/proc/thread-self/ns/net")).unwrap_or_default()
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// As [`enter`], by the number that a daemon has left. Nothing happens where there is none, or where nothing leads to that
/// network namespace: without a name and processes it is gone, and with it all that was in it.
/// Errors: those of [`enter`].
pub fn enter_by_number(there: u64) -> Result<bool, Error> {
    if there == 0 || there == number() {
        return Ok(false);
    }
    find(there).map_or(Ok(false), |netns| enter(&netns))
}

/// The network namespace with a number, by its name or as that of a process; `None` where nothing that can be seen leads to
/// it.
fn find(number: u64) -> Option<Netns> {
    let entries = |dir: &str| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<PathBuf>>()
    };
    let named = entries(NAMED).into_iter();
    let of_processes = entries("/proc").into_iter().map(|process| process.join("ns/net"));
    let mut all = named.chain(of_processes);
    let found = all.find(|path| inode(path) == Some(number))?;
    found.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_is_needs_no_right() {
        let here: Netns = "/proc/thread-self/ns/net".parse().unwrap();
        assert!(!enter(&here).unwrap());
        assert_ne!(number(), 0);
        let found = find(number()).unwrap();
        assert!(!enter(&found).unwrap(), "{found}");
        assert_eq!(find(u64::MAX), None);
    }

    #[test]
    fn what_is_none_is_said() {
        let enter = |name: &str| enter(&name.parse().unwrap()).unwrap_err().to_string();
        assert!(enter("no-such-namespace").contains("there is no network namespace no-such"));
        assert!(enter("/proc/self/exe").contains("/proc/self/exe is no network namespace"));
        assert!(enter("/proc/thread-self/ns/uts").contains("is no network namespace"));
        assert!(enter("/etc/passwd/net").contains("there is no"));
    }
}
