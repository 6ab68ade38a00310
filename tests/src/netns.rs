//! Network namespaces as `ip netns` names them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{
    Error, Result,
    process::{self, alive},
    wait_until,
};

/// Where iproute2 keeps the names.
const NETNS_DIR: &str = "/run/netns";

/// A network namespace with a name. Dropping this does not remove it; [`Namespace::remove`] does.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace with its loopback interface up.
    pub fn create(name: &str) -> Result<Self> {
        process::run(Command::new("ip").args(["netns", "add", name]))?;
        let file = File::open(path(name)).map_err(Error::io(format!("open namespace {name}")))?;
        let namespace = Self { name: name.into(), file };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in it, in a process group of its own, so that a Ctrl-C at the terminal
    /// does not reach it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let fd = self.file.as_raw_fd();
        // SAFETY: setns(2) is a bare system call, as is allowed between fork and exec. The descriptor
        // is open in the child, which has a copy of the table, because `self` outlives the spawn of
        // every command: the lab keeps its namespaces until the end.
        unsafe {
            command.pre_exec(move || {
                if libc::setns(fd, libc::CLONE_NEWNET) == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            });
        }
        command.process_group(0);
        command
    }

    /// Runs a command in it to its end and returns what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        process::run(self.command(program).args(args))
    }

    /// `ip ARGS` in it.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        self.run("ip", args)
    }

    /// Runs `f` on a new thread in it: what it opens belongs to the namespace.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter_thread()?;
                Ok(f())
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into it, for good.
    pub fn enter_thread(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(Error::errno(format!("enter namespace {}", self.name)))
    }

    /// Kills every process in it, and removes it.
    pub fn remove(name: &str) -> Result<()> {
        let signalled = kill_all(name)?;
        // A namespace is gone only when its last process is.
        let gone = wait_until(Duration::from_secs(5), "processes of a namespace die", || {
            Ok(signalled.iter().all(|&pid| !alive(pid)).then_some(()))
        });
        process::run(Command::new("ip").args(["netns", "delete", name]))?;
        match gone {
            Ok(()) | Err(Error::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Names of all namespaces that begin with `prefix`.
    pub fn list(prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(NETNS_DIR) else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect()
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(name)
}

/// Sends SIGKILL to every process in the namespace. Stops them first, so that no supervisor has the
/// time to notice the death of its child, or to tidy up.
pub(crate) fn kill_all(name: &str) -> Result<Vec<Pid>> {
    let pids = pids(name)?;
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for &pid in &pids {
            // A process that is gone already is as good.
            let _ = kill(pid, signal);
        }
    }
    Ok(pids)
}

/// The processes in a namespace.
fn pids(name: &str) -> Result<Vec<Pid>> {
    let meta = fs::metadata(path(name)).map_err(Error::io(format!("stat namespace {name}")))?;
    let entries = fs::read_dir("/proc").map_err(Error::io("read /proc"))?;
    let own = Pid::this();
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid: &i32| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|ns| (ns.ino(), ns.dev()) == (meta.ino(), meta.dev()))
        })
        .map(Pid::from_raw)
        .filter(|&pid| pid != own)
        .collect())
}
