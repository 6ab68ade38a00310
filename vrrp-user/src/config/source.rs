//! The files of a configuration, and how much they may be: decided before memory is taken.
//!
//! A daemon that reads its configuration again must not end or hang over it. So there are bounds of bytes, files and
//! time, only regular files are read (a pipe, a device or a file of the kernel's may never end), and nothing waits for
//! one that another process holds.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::statfs::{
    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC,
    TRACEFS_MAGIC, fstatfs,
};

/// Most bytes of all files of a configuration, each as often as it is included.
const MAX_BYTES: u64 = 32 << 20;
/// Most files that are included, each as often as it is. A directory with one file for each router has room.
const MAX_FILES: usize = if cfg!(test) { 1_000 } else { 70_000 };
/// How long reading may take in all. Slow are network file systems only.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that are read at once; the time is looked at in between.
const PART: u64 = 1 << 20;
/// The name that stands for standard input.
pub const STDIN: &str = "-";

/// Most routers of a configuration.
pub(super) const MAX_ROUTERS: usize = 65_536;
/// Most addresses, routes, rules, peers and tracked things in all.
const MAX_PARTS: usize = 1 << 19;
/// Most bytes that loops, definitions and variables may make of the files.
const MAX_EXPANDED: usize = 128 << 20;

/// What was read so far.
#[derive(Debug)]
pub(super) struct Files {
    bytes: u64,
    files: usize,
    until: Instant,
}

impl Default for Files {
    fn default() -> Self {
        Self { bytes: 0, files: 0, until: Instant::now() + PATIENCE }
    }
}

impl Files {
    /// The bytes of one more file; `-` is standard input.
    /// Errors: it cannot be read, is no regular file, or all files together are more than may be.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(too_large(format!("more than {MAX_FILES} files are included")));
        }
        if path == Path::new(STDIN) {
            return self.take(&mut io::stdin().lock());
        }
        // Some devices do something when they are opened.
        only_regular(&path.metadata()?)?;
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut file = File::options().read(true).custom_flags(flags).open(path).map_err(held)?;
        // It may be another one by now.
        only_regular(&file.metadata()?)?;
        if is_the_kernels(fstatfs(&file)?.filesystem_type()) {
            let message = "it is made by the kernel as it is read: only files on a disk are read";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.take(&mut file)
    }

    /// Whether no more can be read, whatever it is.
    pub(super) fn exhausted(&self) -> bool {
        self.files >= MAX_FILES || self.bytes > MAX_BYTES || Instant::now() > self.until
    }

    fn take(&mut self, source: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let read = source.by_ref().take(PART).read_to_end(&mut bytes).map_err(held)?;
            self.bytes += read as u64;
            if self.bytes > MAX_BYTES {
                let most = MAX_BYTES >> 20;
                return Err(too_large(format!("a configuration has at most {most} MiB")));
            }
            if Instant::now() > self.until {
                let message = format!("reading takes longer than {} s", PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            if (read as u64) < PART {
                return Ok(bytes);
            }
        }
    }
}

fn too_large(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

/// A file that would have to be waited for (a lease, fcntl(2), or one of the kernel's).
fn held(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::new(error.kind(), "another process holds it, and it is not waited for");
    }
    error
}

fn only_regular(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let message = format!("it is {what}: only regular files are read");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Some of these wait for what happens next, some have no end.
fn is_the_kernels(kind: FsType) -> bool {
    const KINDS: [FsType; 6] = [
        PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,
    ];
    KINDS.contains(&kind)
}

/// What a configuration has grown to. A line in a loop may stand for a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grown {
    /// Virtual routers.
    pub(super) routers: usize,
    /// Addresses, routes, rules, peers and tracked things.
    pub(super) parts: usize,
    /// Bytes of text.
    pub(super) bytes: usize,
}

impl Grown {
    /// This, so many times.
    pub(super) fn times(self, count: usize) -> Self {
        Self {
            routers: self.routers.saturating_mul(count),
            parts: self.parts.saturating_mul(count),
            bytes: self.bytes.saturating_mul(count),
        }
    }

    /// Grows by so much.
    /// Errors: Of what it would be too much; then it has grown nevertheless, so that it stays too much.
    pub(super) fn add(&mut self, more: Self) -> Result<(), String> {
        self.routers = self.routers.saturating_add(more.routers);
        self.parts = self.parts.saturating_add(more.parts);
        self.bytes = self.bytes.saturating_add(more.bytes);
        if self.routers > MAX_ROUTERS {
            return Err(format!("more than {MAX_ROUTERS} virtual routers"));
        }
        if self.parts > MAX_PARTS {
            return Err(format!(
                "more than {MAX_PARTS} addresses, routes, rules, peers and tracked things"
            ));
        }
        if self.bytes > MAX_EXPANDED {
            return Err(format!("more than {} MiB of text", MAX_EXPANDED >> 20));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;
    use crate::config::{LoadError, Options, load};

    fn refusal(path: &Path) -> String {
        Files::default().read(path).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "x").unwrap();
        symlink(path("file"), path("link")).unwrap();
        assert_eq!(Files::default().read(&path("link")).unwrap(), b"x");
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for (name, what) in [
            ("fifo", "it is a pipe: only"),
            ("zero", "it is a device: only"),
            ("socket", "it is a socket: only"),
            (".", "it is a directory: only"),
        ] {
            let said = refusal(&path(name));
            assert!(said.starts_with(what), "{said}");
        }
        let said = refusal(Path::new("/proc/self/mounts"));
        assert!(said.contains("made by the kernel"), "{said}");
    }

    #[test]
    fn a_file_that_somebody_else_holds_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leased");
        fs::write(&path, "x").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        // It ends with the descriptor; an open that waited would wait for lease-break-time, 45 s.
        // SAFETY: takes numbers.
        let leased = unsafe {
            libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_SETLEASE, libc::F_WRLCK)
        };
        if leased == 0 {
            // The holder is told by SIGIO, which would end this process.
            // SAFETY: takes numbers.
            unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
            assert!(refusal(&path).contains("another process holds it"));
        }
    }

    #[test]
    fn all_files_together_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        File::create(&path).unwrap().set_len(MAX_BYTES / 2).unwrap();
        let mut files = Files::default();
        assert_eq!(files.read(&path).unwrap().len() as u64, MAX_BYTES / 2);
        assert!(!files.exhausted());
        files.read(&path).unwrap();
        let error = files.read(&path).unwrap_err();
        assert_eq!(error.to_string(), "a configuration has at most 32 MiB");
        assert!(files.exhausted());
    }

    #[test]
    fn what_it_grows_to_is_bounded() {
        let router = Grown { routers: 1, parts: 255, bytes: 8_000 };
        assert_eq!(Grown::default().add(router.times(1_000)), Ok(()));
        let said = Grown::default().add(router.times(65_025)).unwrap_err();
        assert!(said.contains("524288 addresses"), "{said}");
        let said = Grown::default().add(router.times(usize::MAX)).unwrap_err();
        assert!(said.contains("65536 virtual routers"), "{said}");
        let text = Grown { bytes: 1 << 20, ..Grown::default() };
        let said = Grown::default().add(text.times(129)).unwrap_err();
        assert!(said.contains("128 MiB of text"), "{said}");
    }

    /// What is said of a file with this text, without its name.
    fn said(name: &str, text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        let error = load(&path, &Options::default()).unwrap_err();
        let all = error.diagnostics().iter().map(|diagnostic| format!("{diagnostic}\n"));
        all.collect::<String>().replace(&path.display().to_string(), "F")
    }

    /// 65,025 routers with 255 addresses each are gigabytes: both formats refuse them before they are made.
    #[test]
    fn both_formats_have_the_same_bounds() {
        let addresses: Vec<String> = (1..256).map(|n| format!("\"10.{{vrid}}.0.{n}\"")).collect();
        let addresses = addresses.join(",");
        let entry = format!(
            "[[router]]\nname = \"r{{index}}-{{vrid}}\"\ninterface = \"eth{{0-254}}\"\n\
             vrid = \"1-255\"\naddresses = [{addresses}]\n"
        );
        let refused = said("v.toml", &entry);
        assert!(refused.contains("F:1:1: error: with what this entry stands for"), "{refused}");
        assert!(refused.contains("524288 addresses"), "{refused}");
        let entry = "[[router]]\nname = \"r{index}-{vrid}\"\ninterface = \"eth{0-65535}\"\n\
                     vrid = \"1-255\"\naddresses = [\"10.0.0.1\"]\n";
        let refused = said("v.toml", entry);
        assert!(refused.contains("more than 65536 virtual routers"), "{refused}");
        let text = "x".repeat(100_000);
        let entry =
            format!("{entry}notify.all = [\"/bin/true\", \"{text}\"]\n").replace("65535", "15");
        let refused = said("v.toml", &entry);
        assert!(refused.contains("more than 128 MiB of text"), "{refused}");
    }

    #[test]
    fn nothing_is_read_behind_what_is_too_much() {
        let mut grown = Grown { parts: MAX_PARTS, ..Grown::default() };
        assert!(grown.add(Grown { parts: 1, ..Grown::default() }).is_err());
        assert!(grown.add(Grown::default()).is_err());
        // In tests, lines are fewer.
        let loops = "~SEQ(a, 0, 254) ~SEQ(b, 0, 254) $I\n";
        let text = format!("$I=vrrp_instance V${{a}}_${{b}} {{ interface eth0 }}\n{loops}");
        let refused = said("k.conf", &text);
        assert!(refused.contains("error: the configuration expands to more than"), "{refused}");
    }

    #[test]
    fn a_tree_of_includes_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = |level: u32| directory.path().join(format!("{level}.conf"));
        for level in 0..12 {
            let next = format!("include {}\n", path(level + 1).display());
            fs::write(path(level), next.repeat(3)).unwrap();
        }
        fs::write(path(12), "global_defs {\n}\n").unwrap();
        let begin = Instant::now();
        let error = load(&path(0), &Options::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("more than 1000 files are included"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("error")).count(), 1, "{text}");
        println!("{:?}", begin.elapsed());
    }

    #[test]
    fn what_an_include_means_is_bounded() {
        let refused = said("k.conf", &format!("includea /nowhere/{}\n", "{a,b}".repeat(40)));
        assert!(refused.contains("stands for more than 4096 patterns"), "{refused}");
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for path in [fifo.as_path(), Path::new("/proc/kmsg"), Path::new("/dev/zero")] {
            let error = load(path, &Options::default()).unwrap_err();
            assert!(matches!(error, LoadError::Io { .. }), "{error}");
            let refused = said("k.conf", &format!("includea {}\n", path.display()));
            assert!(refused.contains("F:1:1: error: "), "{refused}");
        }
    }

    #[test]
    fn messages_are_bounded_errors_too() {
        let refused = said("v.toml", &"[[router]]\n".repeat(40_000));
        assert!(refused.lines().count() < 21_000, "{}", refused.lines().count());
        assert!(refused.contains("more messages are not shown"));
    }
}
