//! Files that say who runs, and are locked by it: the lock of an instance and the PID file.
//!
//! The kernel releases the lock however the process ends; a file without one is stale.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::handover;

/// Name of the lock in the runtime directory of an instance.
pub const LOCK: &str = "lock";

/// The lock of an instance, as long as its daemon runs. It is taken again where its file was deleted.
pub type SharedLock = Arc<Mutex<Option<LockFile>>>;

/// A file with our process ID in it that nobody else can lock. It goes when this is dropped.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    lock: Flock<File>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has locked it, or wrote its ID and still runs.
    #[error("another process has it")]
    Taken {
        /// Who, as far as it says.
        pid: Option<u32>,
    },
    /// There is something else in it.
    #[error("there is something else than a process ID in it")]
    Foreign,
    /// It cannot be opened, locked or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What this process has locked, for [`held`].
static HELD: Mutex<Vec<(PathBuf, RawFd)>> = Mutex::new(Vec::new());

/// What this process has locked: where, and which open files.
pub fn held() -> Vec<(PathBuf, RawFd)> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn hold(path: &Path, file: &File) {
    let held = (path.to_owned(), file.as_raw_fd());
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(held);
}

fn hold_no_more(file: &File) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|(_, number)| *number != file.as_raw_fd());
}

/// More digits than a process ID has, and a line end.
const LONGEST: u64 = 16;

impl LockFile {
    /// Locks the file and writes our process ID into it. What is in it already must be a process ID; `alive` is
    /// asked whether that one still runs as a daemon that does not lock its file.
    /// Errors: [`Error`].
    pub fn take(path: &Path, alive: impl Fn(u32) -> bool) -> Result<Self, Error> {
        // Who removes the file does so while it holds the lock: what was opened before and locked after is no
        // longer the file that others will lock. Each round needs another daemon's end.
        for _ in 0..10 {
            let file = match handover::take_lock(path) {
                // The lock is ours already.
                Some(file) => file,
                None => File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .custom_flags(libc::O_NOFOLLOW)
                    .open(path)?,
            };
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut lock) => {
                    if is_at(&lock, path) {
                        let found = pid_in(&mut lock)?;
                        if let Some(pid) = found.filter(|pid| alive(*pid)) {
                            return Err(Error::Taken { pid: Some(pid) });
                        }
                        // Whoever wants to know may, whatever the umask.
                        lock.set_permissions(Permissions::from_mode(0o644))?;
                        lock.set_len(0)?;
                        io::Seek::rewind(&mut *lock)?;
                        writeln!(lock, "{}", process::id())?;
                        hold(path, &lock);
                        return Ok(Self { path: path.to_owned(), lock });
                    }
                }
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    return Err(Error::Taken { pid: pid_in(&mut file).ok().flatten() });
                }
                Err((_, errno)) => return Err(io::Error::from(errno).into()),
            }
        }
        Err(Error::Taken { pid: None })
    }
}

/// A directory that nobody else can lock, until this is dropped.
#[derive(Debug)]
pub struct LockedDir {
    lock: Flock<File>,
}

impl LockedDir {
    /// Makes the directory, if it is not there, and locks it.
    /// Errors: [`Error`].
    pub fn take(path: &Path) -> Result<Self, Error> {
        // As with files: what was locked must be what is there.
        for _ in 0..10 {
            fs::create_dir_all(path)?;
            let opened = match handover::take_lock(path) {
                Some(directory) => Ok(directory),
                None => File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path),
            };
            let directory = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    if is_at(&lock, path) {
                        hold(path, &lock);
                        return Ok(Self { lock });
                    }
                }
                Err((_, Errno::EWOULDBLOCK)) => return Err(Error::Taken { pid: None }),
                Err((_, errno)) => return Err(io::Error::from(errno).into()),
            }
        }
        Err(Error::Taken { pid: None })
    }
}

impl Drop for LockedDir {
    fn drop(&mut self) {
        hold_no_more(&self.lock);
    }
}

impl Drop for LockFile {
    /// Removes the file, if it is still this one; the lock is released after that.
    fn drop(&mut self) {
        hold_no_more(&self.lock);
        if is_at(&self.lock, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether an open file is the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => identity(ours) == identity(there),
        _ => false,
    }
}

/// The process ID in a file; none in an empty one.
fn pid_in(file: &mut File) -> Result<Option<u32>, Error> {
    let mut text = String::new();
    match file.take(LONGEST).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(Error::Foreign),
        read => read?,
    };
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Error::Foreign),
    }
}

/// Whether a process runs that is a VRRP daemon, and not this one.
pub fn is_vrrp_daemon(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pid != process::id() && ["keepalived", "vrrp-user"].contains(&name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_taken_over_and_a_locked_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "4194304123\n").unwrap();
        let text = || fs::read_to_string(&path).unwrap();
        // Longer than what is written over it.
        let file = LockFile::take(&path, |_| false).unwrap();
        assert_eq!(text(), format!("{}\n", process::id()));
        match LockFile::take(&path, |_| false) {
            Err(Error::Taken { pid }) => assert_eq!(pid, Some(process::id())),
            other => panic!("{other:?}"),
        }
        drop(file);
        assert!(!path.exists());
        // Nobody else's file is removed.
        let file = LockFile::take(&path, |_| false).unwrap();
        fs::remove_file(&path).unwrap();
        let other = LockFile::take(&path, |_| false).unwrap();
        drop(file);
        assert!(path.exists());
        drop(other);
        fs::write(&path, "77\n").unwrap();
        match LockFile::take(&path, |pid| pid == 77) {
            Err(Error::Taken { pid }) => assert_eq!(pid, Some(77)),
            other => panic!("{other:?}"),
        }
        assert_eq!(text(), "77\n");
    }

    #[test]
    fn a_directory_is_made_and_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let lock = LockedDir::take(&path).unwrap();
        assert!(matches!(LockedDir::take(&path), Err(Error::Taken { pid: None })));
        drop(lock);
        LockedDir::take(&path).unwrap();
    }

    #[test]
    fn no_other_file_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        for content in [&b"root:x:0:0\n"[..], b"\xff\xfe", b"12345678901234567890"] {
            fs::write(&path, content).unwrap();
            assert!(matches!(LockFile::take(&path, |_| false), Err(Error::Foreign)));
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(LockFile::take(&link, |_| false), Err(Error::Io(_))));
    }

    #[test]
    fn this_test_is_no_daemon() {
        assert!(!is_vrrp_daemon(process::id()));
        assert!(!is_vrrp_daemon(u32::MAX));
    }
}
