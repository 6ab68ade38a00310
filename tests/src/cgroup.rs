//! A memory cgroup: what runs in it and needs more than it may is killed by the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Lab, Result, wait_until};

/// A cgroup of its own with a limit of memory. Whatever still runs in it belongs to a lab that removes that; it goes with this value.
#[derive(Debug)]
pub struct MemoryCgroup {
    path: PathBuf,
    /// Of the second version of cgroups.
    unified: bool,
}

impl MemoryCgroup {
    /// Makes one below the root of the memory controller, without a limit yet. `Err` inside: why there can be none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(lab: &Lab) -> Result<std::result::Result<Self, &'static str>> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").map_err(Error::io("/proc/self/mounts"))?;
        let mounts = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?, words.next()?))
        });
        let mut found = None;
        for (path, kind, options) in mounts {
            let path = Path::new(path);
            match kind {
                "cgroup" if options.split(',').any(|option| option == "memory") => {
                    found = Some((path.to_owned(), false));
                }
                "cgroup2" => {
                    let children = fs::read_to_string(path.join("cgroup.subtree_control"));
                    if children.is_ok_and(|it| it.split_whitespace().any(|it| it == "memory")) {
                        found = Some((path.to_owned(), true));
                    }
                }
                _ => {}
            }
        }
        let Some((root, unified)) = found else {
            return Ok(Err("there is no memory controller of cgroups for children of the root"));
        };
        let path = root.join(lab.name());
        match fs::create_dir(&path) {
            Ok(()) => Ok(Ok(Self { path, unified })),
            Err(_) => Ok(Err("no cgroup can be made")),
        }
    }

    /// A command that goes on in it, in front of another one.
    pub fn enter(&self) -> [String; 4] {
        let procs = self.path.join("cgroup.procs");
        let script = format!("echo $$ >{} && exec \"$@\"", procs.display());
        ["sh".into(), "-c".into(), script, "sh".into()]
    }

    fn file(&self, unified: &str, old: &str) -> PathBuf {
        self.path.join(if self.unified { unified } else { old })
    }

    /// Bytes that are in use.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn usage(&self) -> Result<u64> {
        let path = self.file("memory.current", "memory.usage_in_bytes");
        let text = fs::read_to_string(&path).map_err(Error::io(format!("{path:?}")))?;
        text.trim().parse().map_err(|_| Error::Unexpected(format!("{path:?}: {text}")))
    }

    /// Nobody in it may have more bytes than that, all together.
    ///
    /// # Errors
    /// The kernel refuses that.
    pub fn limit(&self, bytes: u64) -> Result<()> {
        let path = self.file("memory.max", "memory.limit_in_bytes");
        fs::write(&path, bytes.to_string()).map_err(Error::io(format!("{path:?}")))
    }

    /// How many processes in it the kernel has killed for memory.
    ///
    /// # Errors
    /// It does not say.
    pub fn kills(&self) -> Result<u64> {
        let path = self.file("memory.events", "memory.oom_control");
        let text = fs::read_to_string(&path).map_err(Error::io(format!("{path:?}")))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
        count.ok_or_else(|| Error::Unexpected(format!("{path:?}: {text}")))
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // Who was killed leaves it a moment later.
        let gone = wait_until(Duration::from_secs(5), "a cgroup is empty", || {
            Ok(fs::remove_dir(&self.path).ok())
        });
        if let Err(error) = gone {
            eprintln!("remove {:?}: {error}", self.path);
        }
    }
}
