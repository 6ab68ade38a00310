//! The file of a Unix socket that listens: whoever deletes it locks all clients out, although the socket still listens.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How often it is looked for where inotify(7) is not available.
const LOOK: Duration = Duration::from_secs(60);

/// Such a file. Must be used in a runtime.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    changes: Option<AsyncFd<Watch>>,
}

#[derive(Debug)]
struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl SocketFile {
    /// The one that was just bound.
    /// Errors: it is not there.
    pub fn new(path: &Path) -> io::Result<Self> {
        let identity = identity(path)?;
        let changes = watch(path)
            .inspect_err(|error| {
                log::warn!("{}: is looked for once a minute, as inotify: {error}", path.display());
            })
            .ok();
        Ok(Self { path: path.to_owned(), identity, changes })
    }

    /// Waits until there is nothing at its path any more, or something else.
    pub async fn removed(&self) {
        while identity(&self.path).is_ok_and(|found| found == self.identity) {
            let Some(changes) = &self.changes else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            match changes.readable().await {
                Ok(mut ready) => {
                    if matches!(changes.get_ref().0.read_events(), Err(Errno::EAGAIN)) {
                        ready.clear_ready();
                    }
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Of the file itself, whose directory may be a busy one, and of that only that it goes.
fn watch(path: &Path) -> io::Result<AsyncFd<Watch>> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let goes = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
    // A socket that still listens keeps its inode: what is seen is the change of its count of links.
    inotify.add_watch(path, goes | AddWatchFlags::IN_ATTRIB)?;
    if let Some(directory) = path.parent() {
        inotify.add_watch(directory, goes | AddWatchFlags::IN_ONLYDIR)?;
    }
    // SAFETY: a `Watch` owns its descriptor, always names the same one, and is never swapped out of the `AsyncFd`.
    let watch = unsafe { AsyncFd::register_with_interest(Watch(inotify), Interest::READABLE)? };
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn its_end_is_noticed_in_every_way() {
        let ends: [fn(&Path); 4] = [
            |path| fs::remove_file(path).unwrap(),
            |path| fs::rename(path, path.with_extension("old")).unwrap(),
            |path| {
                let directory = path.parent().unwrap();
                fs::rename(directory, directory.with_extension("old")).unwrap();
            },
            |path| {
                let other = path.with_extension("other");
                let _other = UnixListener::bind(&other).unwrap();
                fs::rename(other, path).unwrap();
            },
        ];
        for end in ends {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("sub/socket");
            fs::create_dir(path.parent().unwrap()).unwrap();
            let _listens = UnixListener::bind(&path).unwrap();
            let file = SocketFile::new(&path).unwrap();
            let mut gone = std::pin::pin!(file.removed());
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, mode).unwrap();
            let soon = tokio::time::timeout(Duration::from_millis(20), &mut gone);
            assert!(soon.await.is_err());
            end(&path);
            tokio::time::timeout(LOOK / 2, gone).await.unwrap();
        }
    }
}
