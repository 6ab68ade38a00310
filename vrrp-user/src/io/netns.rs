//! Entering network namespaces (setns(2)).

mod watch;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

pub use self::watch::Watch;
use crate::types::netns::{NAMED, Netns, of_interface};

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

impl Error {
    fn looking_at(netns: &Netns, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            Self::Missing(netns.clone())
        } else {
            Self::Io { netns: netns.clone(), source }
        }
    }
}

/// Takes this thread to a network namespace, and with it all threads and processes that it starts from then on. Nothing
/// happens, and no right is needed, where it is there already. Whether it was not.
/// Errors: as [`Error`] says; the thread stays where it is.
pub fn enter(netns: &Netns) -> Result<bool, Error> {
    let io = |source| Error::looking_at(netns, source);
    let (looks, pause) = LOOKS;
    for _ in 0..looks {
        let file = match open(netns) {
            Ok(file) => file,
            // Perhaps not for long.
            Err(Error::Other(_)) => {
                thread::sleep(pause);
                continue;
            }
            Err(error) => return Err(error),
        };
        let there = file.metadata().map_err(io)?;
        // Each thread has one, and only /proc/thread-self is about this one.
        let here = fs::metadata("/proc/thread-self/ns/net").map_err(io)?;
        if (there.dev(), there.ino()) == (here.dev(), here.ino()) {
            return Ok(false);
        }
        match setns(&file, CloneFlags::CLONE_NEWNET) {
            Ok(()) => return Ok(true),
            // A namespace of another kind.
            Err(Errno::EINVAL) => break,
            Err(Errno::EPERM) => return Err(Error::Denied { netns: netns.clone() }),
            Err(errno) => return Err(io(errno.into())),
        }
    }
    Err(Error::Other(netns.clone()))
}

/// A file that stands for a network namespace, which can be entered with it.
/// Errors: as [`Error`] says.
pub fn open(netns: &Netns) -> Result<File, Error> {
    let io = |source| Error::looking_at(netns, source);
    let file = File::open(netns.path()).map_err(io)?;
    match fstatfs(&file).map_err(|errno| io(errno.into()))?.filesystem_type() {
        NSFS_MAGIC => Ok(file),
        _ => Err(Error::Other(netns.clone())),
    }
}

/// The number of the network namespace of a file ([`number`]).
pub fn number_of(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.ino())
}

/// Does something in another network namespace, which a file stands for; what is opened there stays there. Threads must not be
/// started. Errors: why it cannot be entered.
pub fn within<T>(netns: impl AsFd, work: impl FnOnce() -> T) -> io::Result<T> {
    struct Home(File);

    impl Drop for Home {
        fn drop(&mut self) {
            if let Err(errno) = setns(&self.0, CloneFlags::CLONE_NEWNET) {
                // Whatever this thread did from now on, it would do to others.
                log::error!("cannot return to the network namespace of the daemon: {errno}");
                log::logger().flush();
                std::process::abort();
            }
        }
    }

    let here = File::open("/proc/thread-self/ns/net")?;
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    // Also where the work panics.
    let _home = Home(here);
    Ok(work())
}

/// The same where an interface is, which is called as this program does; most are where this thread is.
/// Errors: the network namespace is not there, or cannot be entered.
pub fn beside_interface<T>(interface: &str, work: impl FnOnce() -> T) -> io::Result<T> {
    match of_interface(interface) {
        Some(netns) => within(open(&netns).map_err(io::Error::other)?, work),
        None => Ok(work()),
    }
}

/// The same, and says what is missing where it cannot be entered.
/// Errors: those of the work, and [`Error::Denied`].
pub fn enter_with<T>(
    netns: &Netns,
    file: &File,
    work: impl FnOnce() -> io::Result<T>,
) -> Result<T, Error> {
    within(file, work).and_then(|done| done).map_err(|source| {
        if source.kind() == io::ErrorKind::PermissionDenied {
            Error::Denied { netns: netns.clone() }
        } else {
            Error::Io { netns: netns.clone(), source }
        }
    })
}

/// The same in the one that has a name of that number ([`Netns::number`]).
/// Errors: there is none, or it cannot be entered.
pub fn within_numbered<T>(number: u32, work: impl FnOnce() -> T) -> io::Result<T> {
    let names = fs::read_dir(NAMED)?.flatten();
    let mut names = names.filter_map(|entry| entry.file_name().to_str()?.parse::<Netns>().ok());
    let netns = names.find(|netns| netns.number().get() == number);
    let netns = netns.ok_or(io::ErrorKind::NotFound)?;
    within(open(&netns).map_err(io::Error::other)?, work)
}

/// The same in the network namespace of a socket.
/// Errors: why that cannot be entered.
pub fn beside<T>(socket: impl AsFd, work: impl FnOnce() -> T) -> io::Result<T> {
    within(of_socket(socket)?, work)
}

/// A file that stands for the network namespace of a socket (`SIOCGSKNS`, linux/sockios.h). CAP_NET_ADMIN is needed there.
/// Errors: those of ioctl(2).
pub fn of_socket(socket: impl AsFd) -> io::Result<OwnedFd> {
    const SIOCGSKNS: libc::Ioctl = 0x894c;
    // SAFETY: this request takes no argument, and returns a descriptor or -1.
    let descriptor = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS) };
    Errno::result(descriptor)?;
    // SAFETY: it was opened for us just now, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
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
