//! Files that hold a number (keepalived's `track_file`), by inotify(7).
//!
//! What is watched is the directory, because a file is often replaced by another one of the same name. Where the
//! directory does not exist either, the nearest one above it that does is watched until it appears.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::mpsc;

use super::{Report, Watch};
use crate::config::model::InitFile;
use crate::config::text::strtol;
use crate::engine::types::{Health, ObjectId};

/// Bytes of a file that are looked at.
const LONGEST: u64 = 128;
/// How often directories are looked for while others make and remove them.
const ATTEMPTS: usize = 16;

/// A file to watch.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The object that it is.
    pub object: ObjectId,
    /// Where it is.
    pub path: PathBuf,
    /// What is written into it first.
    pub init: Option<InitFile>,
}

/// Watches files until the result is dropped.
/// Errors: no thread can be started, or inotify has no instance left.
pub fn watch(number: u64, files: Vec<Tracked>, reports: mpsc::Sender<Report>) -> io::Result<Watch> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    Watch::start("files", move |stopped| {
        let files = files.into_iter().map(Watched::new).collect();
        Files { inotify, files, reports }.run(number, &stopped);
    })
}

struct Watched {
    file: Tracked,
    /// The directory that is watched, and whether it is the file's own.
    at: Option<(WatchDescriptor, bool)>,
    value: i32,
    known: bool,
    /// What was wrong with it when it was last read.
    wrong: Option<String>,
}

impl Watched {
    fn new(file: Tracked) -> Self {
        Self { file, at: None, value: 0, known: false, wrong: None }
    }
}

struct Files {
    inotify: Inotify,
    files: Vec<Watched>,
    reports: mpsc::Sender<Report>,
}

/// The engine's thread is gone.
struct Disconnected;

impl Files {
    fn run(mut self, number: u64, stopped: &OwnedFd) {
        for Watched { file, .. } in &self.files {
            if let Some(init) = file.init
                && let Err(error) = initialise(&file.path, init)
            {
                log::error!("cannot write {}: {error}", file.path.display());
            }
        }
        self.arm();
        if self.read_all().is_err() || self.report(Report::Complete(number)).is_err() {
            return;
        }
        loop {
            let mut waiting = [
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut waiting, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    return log::error!("tracked files are not watched any more: {error}");
                }
            }
            if waiting[1].any().unwrap_or(true) || self.changed().is_err() {
                return;
            }
        }
    }

    fn report(&self, report: Report) -> Result<(), Disconnected> {
        self.reports.blocking_send(report).map_err(|_| Disconnected)
    }

    /// Takes in what inotify says.
    fn changed(&mut self) -> Result<(), Disconnected> {
        let events = match self.inotify.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            Err(error) => {
                log::error!("tracked files: {error}");
                return Err(Disconnected);
            }
        };
        let lost = AddWatchFlags::IN_Q_OVERFLOW
            | AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_UNMOUNT
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let mut again = HashSet::new();
        for event in events {
            if event.mask.intersects(lost) {
                self.arm();
                return self.read_all();
            }
            for (index, watched) in self.files.iter().enumerate() {
                match watched.at {
                    Some((at, true)) if at == event.wd => {
                        if event.name.as_deref() == watched.file.path.file_name() {
                            again.insert(index);
                        }
                    }
                    // A directory on the way to it may have appeared.
                    Some((at, false)) if at == event.wd => drop(again.insert(index)),
                    Some(_) | None => {}
                }
            }
        }
        if again.iter().any(|index| self.files[*index].at.is_none_or(|(_, own)| !own)) {
            self.arm();
        }
        for index in again {
            self.read(index)?;
        }
        Ok(())
    }

    /// Watches, for each file, the directory that is there.
    fn arm(&mut self) {
        let before: HashSet<WatchDescriptor> =
            self.files.iter().filter_map(|watched| Some(watched.at?.0)).collect();
        for watched in &mut self.files {
            watched.at = nearest(&self.inotify, &watched.file.path);
            if watched.at.is_none() {
                log::error!("cannot watch {}", watched.file.path.display());
            }
        }
        let now: HashSet<WatchDescriptor> =
            self.files.iter().filter_map(|watched| Some(watched.at?.0)).collect();
        for gone in before.difference(&now) {
            // That of a directory that is gone is gone as well.
            let _ = self.inotify.rm_watch(*gone);
        }
    }

    fn read_all(&mut self) -> Result<(), Disconnected> {
        (0..self.files.len()).try_for_each(|index| self.read(index))
    }

    fn read(&mut self, index: usize) -> Result<(), Disconnected> {
        let watched = &mut self.files[index];
        let object = watched.file.object;
        let before = watched.known.then_some(watched.value);
        let mut wrong = None;
        match read(&watched.file.path) {
            Ok(value) => watched.value = value,
            Err(error) => wrong = Some(error),
        }
        watched.known = true;
        let value = watched.value;
        let changed = wrong.is_some() && wrong != watched.wrong;
        watched.wrong.clone_from(&wrong);
        if let (true, Some(wrong)) = (changed, wrong) {
            let path = self.files[index].file.path.display();
            self.report(Report::Bad(object, format!("{path} {wrong}; {value} goes on to count")))?;
        }
        if before != Some(value) {
            self.report(Report::Health(object, Health::Value(value)))?;
        }
        Ok(())
    }
}

/// Watches the directory of a file, or the nearest one above it, and says whether it is the file's own.
fn nearest(inotify: &Inotify, path: &Path) -> Option<(WatchDescriptor, bool)> {
    let flags = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    for _ in 0..ATTEMPTS {
        for (above, directory) in path.ancestors().skip(1).enumerate() {
            let empty = directory.as_os_str().is_empty();
            let directory = if empty { Path::new(".") } else { directory };
            let Ok(at) = inotify.add_watch(directory, flags) else { continue };
            // What appeared between the two would never be heard of.
            let below = path.ancestors().nth(above);
            if above > 0 && below.is_some_and(Path::is_dir) {
                break;
            }
            return Some((at, above == 0));
        }
    }
    None
}

/// Writes the first number into a file, as keepalived does.
fn initialise(path: &Path, init: InitFile) -> io::Result<()> {
    if path.exists() && !init.overwrite {
        return Ok(());
    }
    fs::write(path, format!("{}\n", init.value))
}

/// The number in a file; 0 if it is empty or does not exist. An error says what is wrong with it.
fn read(path: &Path) -> Result<i32, String> {
    let mut text = Vec::new();
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    match opened.and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
        Ok(_) => number(&String::from_utf8_lossy(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(format!("cannot be read ({error})")),
    }
}

/// A number as strtol(3) reads it; what follows it does not matter.
fn number(text: &str) -> Result<i32, String> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    if text.is_empty() {
        return Ok(0);
    }
    let value = strtol(text).and_then(|(value, _)| i32::try_from(value).ok());
    value.ok_or_else(|| {
        let shown: String = text.chars().take(16).flat_map(char::escape_default).collect();
        format!("holds no number but `{shown}`")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_are_those_of_strtol() {
        for (text, value) in [
            ("", 0),
            ("\n", 0),
            ("5\n", 5),
            (" -254 and more", -254),
            ("+7", 7),
            ("0x10", 16),
            ("010", 8),
            ("0", 0),
            ("2147483647", i32::MAX),
        ] {
            assert_eq!(number(text), Ok(value), "{text:?}");
        }
        for bad in ["x", "-", "0x", "2147483648", "99999999999999999999", "\u{e9}", "--1"] {
            assert!(number(bad).unwrap_err().starts_with("holds no number but `"), "{bad:?}");
        }
    }

    fn next(reports: &mut mpsc::Receiver<Report>) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let report = async { tokio::time::timeout(Duration::from_secs(10), reports.recv()).await };
        runtime.block_on(report).expect("nothing is said").expect("the thread has ended")
    }

    /// Written, replaced by another file, removed, with its directory, which comes back.
    #[test]
    fn whatever_happens_to_a_file_is_said() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a").join("b");
        let path = directory.join("f");
        let object = ObjectId(3);
        let (sender, mut reports) = super::super::channel();
        let file = Tracked { object, path: path.clone(), init: None };
        let watch = watch(7, vec![file], sender).unwrap();
        let value = |value| Report::Health(object, Health::Value(value));
        assert_eq!(next(&mut reports), value(0));
        assert_eq!(next(&mut reports), Report::Complete(7));
        fs::create_dir_all(&directory).unwrap();
        fs::write(&path, "5").unwrap();
        assert_eq!(next(&mut reports), value(5));
        fs::write(directory.join("other"), "6").unwrap();
        fs::rename(directory.join("other"), &path).unwrap();
        assert_eq!(next(&mut reports), value(6));
        fs::write(&path, "what").unwrap();
        let Report::Bad(_, why) = next(&mut reports) else { panic!("a bad number is accepted") };
        assert!(why.ends_with("f holds no number but `what`; 6 goes on to count"), "{why}");
        fs::write(&path, "-3").unwrap();
        assert_eq!(next(&mut reports), value(-3));
        fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut reports), value(0));
        fs::write(&path, "9").unwrap();
        assert_eq!(next(&mut reports), value(9));
        fs::remove_dir_all(root.path().join("a")).unwrap();
        assert_eq!(next(&mut reports), value(0));
        fs::create_dir_all(&directory).unwrap();
        fs::write(&path, "7").unwrap();
        assert_eq!(next(&mut reports), value(7));
        drop(watch);
        // The thread lets go of its end.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let last = async { tokio::time::timeout(Duration::from_secs(10), reports.recv()).await };
        assert_eq!(runtime.block_on(last), Ok(None));
    }

    #[test]
    fn files_are_initialised() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        initialise(&path, InitFile { value: 4, overwrite: false }).unwrap();
        assert_eq!(read(&path), Ok(4));
        initialise(&path, InitFile { value: 5, overwrite: false }).unwrap();
        assert_eq!(read(&path), Ok(4));
        initialise(&path, InitFile { value: -6, overwrite: true }).unwrap();
        assert_eq!(read(&path), Ok(-6));
        assert!(read(root.path()).unwrap_err().starts_with("cannot be read"));
    }
}
