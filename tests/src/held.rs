//! A thread that stands still while all others of its process go on.

use std::fs;
use std::ptr;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Error, Result};

/// System calls at most until the one that is waited for.
const MOST_CALLS: usize = 10_000;

/// A thread that stands still until this is dropped. Only the thread that made it may do that, and must not ask meanwhile
/// whether the process has ended: it would learn of this.
#[derive(Debug)]
pub struct Held {
    thread: Pid,
}

impl Held {
    /// The thread of that name, wherever it is.
    pub fn thread(process: Pid, name: &str) -> Result<Self> {
        let threads = fs::read_dir(format!("/proc/{process}/task"))
            .map_err(Error::io(format!("threads of {process}")))?;
        let named = |path: &std::path::Path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let thread = threads
            .flatten()
            .find(|entry| named(&entry.path()))
            .and_then(|entry| entry.file_name().to_str()?.parse().ok())
            .ok_or_else(|| Error::Unexpected(format!("{process} has no thread {name}")))?;
        Self::hold(Pid::from_raw(thread))
    }

    /// The first thread, when it is about to do that system call: nothing of it is done before this is dropped.
    pub fn before(process: Pid, call: libc::c_long) -> Result<Self> {
        let held = Self::hold(process)?;
        let file = format!("/proc/{process}/syscall");
        let mut signal = 0;
        for _ in 0..MOST_CALLS {
            held.request(libc::PTRACE_SYSCALL, signal)?;
            signal = held.wait()?;
            let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
            // It was in none when it was held, so it is on its way in.
            if text.split(' ').next() == Some(&call.to_string()) {
                return Ok(held);
            }
        }
        Err(Error::Unexpected(format!("{process} does not do system call {call}")))
    }

    fn hold(thread: Pid) -> Result<Self> {
        let held = Self { thread };
        held.request(libc::PTRACE_SEIZE, 0)?;
        held.request(libc::PTRACE_INTERRUPT, 0)?;
        held.wait()?;
        Ok(held)
    }

    /// Waits until it stands still; the signal that it did so for, which it is to get, 0 for none.
    fn wait(&self) -> Result<libc::c_int> {
        match waitpid(self.thread, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Stopped(_, signal)) if signal as libc::c_int != libc::SIGTRAP => {
                Ok(signal as libc::c_int)
            }
            Ok(WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..)) => Ok(0),
            other => Err(Error::Unexpected(format!("thread {}: {other:?}", self.thread))),
        }
    }

    fn request(&self, request: libc::c_uint, signal: libc::c_int) -> Result<()> {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: none of the requests that are made here reads or writes memory of ours.
        let result = unsafe {
            libc::ptrace(request, self.thread.as_raw(), none, libc::c_long::from(signal))
        };
        Errno::result(result).map(drop).map_err(Error::errno("ptrace"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = self.request(libc::PTRACE_DETACH, 0);
    }
}
