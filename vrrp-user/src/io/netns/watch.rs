//! Which network namespaces come and go: nothing tells of them but the files that stand for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use crate::types::netns::Netns;

/// `ip netns add` makes a file, and then mounts the namespace over it, of which inotify(7) says nothing: how often that is
/// looked for, and how long after the last time.
const LOOKS: (u32, Duration) = (50, Duration::from_millis(10));
/// How often it is looked where inotify(7) says nothing: in directories that are not there yet, and in /proc.
const POLL: Duration = Duration::from_millis(500);

/// The files of network namespaces.
pub struct Watch {
    /// None where there is no inotify instance left.
    inotify: Option<AsyncFd<Instance>>,
    dirs: BTreeMap<PathBuf, Dir>,
    /// Those that may become network namespaces in a moment, and how often they were looked at.
    becoming: BTreeMap<Netns, u32>,
    /// Those of them that are looked at next.
    next: BTreeSet<Netns>,
    next_at: Instant,
    poll_at: Instant,
}

/// An inotify instance, as tokio wants it.
struct Instance(Inotify);

impl AsRawFd for Instance {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[derive(Default)]
struct Dir {
    watch: Option<WatchDescriptor>,
    names: BTreeMap<OsString, Netns>,
}

impl Default for Watch {
    /// Of none. Within a tokio runtime.
    fn default() -> Self {
        let now = Instant::now();
        Self {
            inotify: None,
            dirs: BTreeMap::new(),
            becoming: BTreeMap::new(),
            next: BTreeSet::new(),
            next_at: now,
            poll_at: now,
        }
    }
}

impl Watch {
    /// Watches these, and no others.
    pub fn set<'a>(&mut self, all: impl Iterator<Item = &'a Netns>) {
        let mut dirs: BTreeMap<PathBuf, Dir> = BTreeMap::new();
        for netns in all {
            let path = netns.path();
            let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let dir = dirs.entry(dir.to_owned()).or_default();
            dir.names.insert(name.to_owned(), netns.clone());
        }
        for (path, dir) in std::mem::take(&mut self.dirs) {
            match dirs.get_mut(&path) {
                Some(new) => new.watch = dir.watch,
                None => self.forget(dir.watch),
            }
        }
        self.dirs = dirs;
        if !self.dirs.is_empty() && self.inotify.is_none() {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
            let inotify = inotify.map_err(std::io::Error::from).and_then(|inotify| {
                // SAFETY: the instance owns its descriptor and returns the same one until it is dropped, and the `AsyncFd`
                // drops it.
                let inotify = unsafe {
                    AsyncFd::register_with_interest(Instance(inotify), Interest::READABLE)
                };
                Ok(inotify?)
            });
            match inotify {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => log::warn!(
                    "network namespaces are looked at every {} ms: {error}",
                    POLL.as_millis()
                ),
            }
        }
        self.watch_dirs();
    }

    fn forget(&self, watch: Option<WatchDescriptor>) {
        if let (Some(inotify), Some(watch)) = (&self.inotify, watch) {
            let _ = inotify.get_ref().0.rm_watch(watch);
        }
    }

    /// Watches directories that are there by now. The names in them.
    fn watch_dirs(&mut self) -> Vec<Netns> {
        let mut names = Vec::new();
        let Some(inotify) = &self.inotify else { return names };
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        for (path, dir) in &mut self.dirs {
            // There, files say nothing.
            if dir.watch.is_none() && !path.starts_with("/proc") {
                dir.watch = inotify.get_ref().0.add_watch(&**path, flags).ok();
                if dir.watch.is_some() {
                    names.extend(dir.names.values().cloned());
                }
            }
        }
        names
    }

    /// A file is there that is no network namespace: whether it may become one in a moment. Then it is looked at again.
    pub fn may_become(&mut self, netns: &Netns) -> bool {
        let (looks, _) = LOOKS;
        let looked = self.becoming.entry(netns.clone()).or_default();
        *looked += 1;
        if *looked >= looks {
            self.becoming.remove(netns);
            return false;
        }
        self.again(netns);
        true
    }

    /// Looks at one again in a moment.
    pub fn again(&mut self, netns: &Netns) {
        let (_, pause) = LOOKS;
        if self.next.is_empty() {
            self.next_at = Instant::now() + pause;
        }
        self.next.insert(netns.clone());
    }

    /// It is known what it is.
    pub fn settled(&mut self, netns: &Netns) {
        self.becoming.remove(netns);
    }

    /// Waits for some that are to be looked at. Cancel safe.
    pub async fn changed(&mut self) -> Vec<Netns> {
        loop {
            let polls = self.dirs.values().any(|dir| dir.watch.is_none());
            let (waits, next_at, poll_at) = (!self.next.is_empty(), self.next_at, self.poll_at);
            let changed = tokio::select! {
                () = sleep_until(next_at), if waits => {
                    std::mem::take(&mut self.next).into_iter().collect()
                }
                () = sleep_until(poll_at), if polls => {
                    self.poll_at = Instant::now() + POLL;
                    let unwatched = self.dirs.values().filter(|dir| dir.watch.is_none());
                    let names: Vec<_> = unwatched.flat_map(|dir| dir.names.values().cloned()).collect();
                    self.watch_dirs();
                    names
                }
                () = readable(self.inotify.as_ref()) => self.read(),
            };
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// What inotify(7) says.
    fn read(&mut self) -> Vec<Netns> {
        let Some(inotify) = &self.inotify else { return Vec::new() };
        let events = match inotify.get_ref().0.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Vec::new(),
            Err(errno) => {
                log::error!("network namespaces are not watched any more: {errno}");
                self.inotify = None;
                self.dirs.values_mut().for_each(|dir| dir.watch = None);
                return Vec::new();
            }
        };
        let mut changed = Vec::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                changed.extend(self.dirs.values().flat_map(|dir| dir.names.values().cloned()));
                continue;
            }
            let Some(dir) = self.dirs.values_mut().find(|dir| dir.watch == Some(event.wd)) else {
                continue;
            };
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                // The directory is gone.
                dir.watch = None;
                changed.extend(dir.names.values().cloned());
            } else if let Some(netns) = event.name.and_then(|name| dir.names.get(&name)) {
                changed.push(netns.clone());
            }
        }
        changed
    }
}

/// Never, without one.
async fn readable(inotify: Option<&AsyncFd<Instance>>) {
    let Some(inotify) = inotify else { return std::future::pending().await };
    match inotify.readable().await {
        Ok(mut ready) => ready.clear_ready(),
        Err(error) => {
            log::debug!("inotify: {error}");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::slice::from_ref;

    use super::*;

    #[test]
    fn what_comes_and_goes_is_said() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = std::env::temp_dir().join(format!("vrrp-netns-{}", std::process::id()));
        let later = dir.join("later");
        fs::create_dir_all(&dir).unwrap();
        let netns = |path: &Path| path.to_str().unwrap().parse::<Netns>().unwrap();
        let (here, there) = (netns(&dir.join("a")), netns(&later.join("b")));
        runtime.block_on(async {
            let mut watch = Watch::default();
            watch.set([&here, &there].into_iter());
            fs::write(dir.join("a"), "").unwrap();
            fs::write(dir.join("other"), "").unwrap();
            let says = async |watch: &mut Watch, expected: &Netns| {
                // Where nothing can be watched yet, it is looked in any case.
                while watch.changed().await != from_ref(expected) {}
            };
            says(&mut watch, &here).await;
            assert!(watch.may_become(&here));
            says(&mut watch, &here).await;
            let (looks, _) = LOOKS;
            assert_eq!((2..looks * 2).find(|_| !watch.may_become(&here)), Some(looks));
            watch.next.clear();
            fs::remove_file(dir.join("a")).unwrap();
            says(&mut watch, &here).await;
            fs::create_dir(&later).unwrap();
            says(&mut watch, &there).await;
            assert!(watch.dirs.values().all(|dir| dir.watch.is_some()));
            fs::write(later.join("b"), "").unwrap();
            assert_eq!(watch.changed().await, from_ref(&there));
            watch.set([&here].into_iter());
            assert_eq!(watch.dirs.len(), 1);
        });
        fs::remove_dir_all(&dir).unwrap();
    }
}
