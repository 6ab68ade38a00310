//! Starting a program without copying the daemon.
//!
//! fork(2) makes every page of the daemon copy-on-write, and the engine's thread would pay for that with a page
//! fault per page at its next deadline. The child here shares our memory until it executes the program, and only
//! the calling thread waits for it, as in posix_spawn(3), which cannot change the user. All that the child does
//! between is system calls on what was prepared before.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::Pid;
use rustix::process::PidfdFlags;

use crate::capability;
use crate::io::netns;
use crate::scripts::program::{Account, Program};

/// The child needs some hundred bytes of it.
const STACK: usize = 32 << 10;
/// Signals that there are, and the bytes of a set of them (`_NSIG`, signal(7)).
const SIGNALS: i32 = 64;
const SET_SIZE: usize = 8;
/// What a shell says when it cannot execute something.
const NOT_EXECUTED: i32 = 127;

/// A program that was started.
#[derive(Debug)]
pub struct Child {
    /// Process, and process group.
    pub pid: Pid,
    /// Becomes readable when it has ended (pidfd_open(2)).
    pub pidfd: OwnedFd,
    /// What it prints: standard output and error.
    pub output: OwnedFd,
}

/// Starts a program with further arguments behind its own, in a process group of its own, and in its network namespace.
/// Errors: what the system call said that failed, be it in the child, or that the network namespace is not there; then nothing
/// runs.
pub fn spawn(program: &Program, more: &[CString], environment: &[CString]) -> io::Result<Child> {
    let Some(netns) = &program.netns else { return spawn_here(program, more, environment) };
    // One that is gone is no reason to do to others what was meant for it.
    let there = netns::open(netns).map_err(io::Error::other)?;
    netns::within(there, || spawn_here(program, more, environment))?
}

fn spawn_here(program: &Program, more: &[CString], environment: &[CString]) -> io::Result<Child> {
    let (output, input) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let null = std::fs::File::options().read(true).open("/dev/null")?;
    let argv: Vec<&CStr> = program.argv.iter().chain(more).map(CString::as_c_str).collect();
    // What execvp(3) does with a script that names no interpreter.
    let shell = [c"/bin/sh", program.path.as_c_str()];
    let by_shell: Vec<*const libc::c_char> = shell
        .iter()
        .chain(argv.iter().skip(1))
        .map(|word| word.as_ptr())
        .chain([ptr::null()])
        .collect();
    let argv: Vec<*const libc::c_char> =
        argv.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    let environment: Vec<*const libc::c_char> =
        environment.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    let ours = Account::ours();
    let mut failed = 0;
    let setup = Setup {
        program,
        argv: argv.as_ptr(),
        by_shell: by_shell.as_ptr(),
        environment: environment.as_ptr(),
        null: null.as_raw_fd(),
        output: input.as_raw_fd(),
        privileged: capability::can_change_users(),
        ours,
        failed: &raw mut failed,
    };
    let pid = {
        let mut stack = vec![0; STACK];
        let child = Box::new(move || setup.execute());
        let mut before = SigSet::empty();
        // Our handlers would run in the child, on our memory.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
        // SAFETY: with CLONE_VFORK this thread goes on only when the child has executed the program or ended; until
        // then stack, closure and all that it points to are alive and nobody else touches them. The child allocates
        // nothing and takes no lock; it has a descriptor table and signal handlers of its own.
        let pid = unsafe { clone(child, &mut stack, flags, Some(libc::SIGCHLD)) };
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        pid?
    };
    if failed != 0 {
        // Nobody else knows of it.
        let _ = nix::sys::wait::waitpid(pid, None);
        return Err(io::Error::from_raw_os_error(failed));
    }
    let pidfd = pidfd_open(pid).inspect_err(|_| {
        let _ = nix::sys::signal::killpg(pid, nix::sys::signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(pid, None);
    })?;
    Ok(Child { pid, pidfd, output })
}

/// # Errors
/// There is no such process, or no descriptor.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// All that the child needs.
struct Setup<'a> {
    program: &'a Program,
    argv: *const *const libc::c_char,
    by_shell: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    null: RawFd,
    output: RawFd,
    ours: Account,
    privileged: bool,
    failed: *mut i32,
}

impl Setup<'_> {
    /// Does not return, unless it failed.
    fn execute(&self) -> isize {
        let errno = self.replace();
        // SAFETY: points to a variable of the parent, which waits.
        unsafe { self.failed.write(errno) };
        // Not exit(3): what that does is the parent's.
        // SAFETY: ends this process only.
        unsafe { libc::_exit(NOT_EXECUTED) }
    }

    /// Returns the error number of what failed.
    fn replace(&self) -> i32 {
        let account = &self.program.account;
        // SAFETY: system calls on numbers, and on memory that the parent prepared and keeps as long as it waits.
        // Users and groups are set by the bare calls: those of the C library would set them in all threads of the
        // parent, which they take for ours.
        unsafe {
            // The kernel's structure, whatever its order on this machine: all zeros are the default action. The C
            // library would leave out the signals that it keeps for itself.
            let default = [0_usize; 8];
            for signal in 1..=SIGNALS {
                // Refused for those that cannot be caught anyway.
                let none = ptr::null_mut::<libc::c_void>();
                libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, none, SET_SIZE);
            }
            check!(libc::setpgid(0, 0));
            let ordinary = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, libc::SCHED_OTHER, &ordinary);
            for (from, to) in [(self.null, 0), (self.output, 1), (self.output, 2)] {
                check!(libc::dup2(from, to));
            }
            // Linux 5.11; all of ours are close-on-exec, so that this is a second lock on the door.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            if let Some(umask) = self.program.umask {
                libc::umask(umask.into());
            }
            if self.privileged {
                let groups = &account.groups;
                check!(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()));
            }
            if account.gid != self.ours.gid {
                check!(libc::syscall(libc::SYS_setgid, account.gid));
            }
            if account.uid != self.ours.uid {
                check!(libc::syscall(libc::SYS_setuid, account.uid));
                // Another user has none of our capabilities.
                libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
            }
            // After that: a change of the user takes it back.
            check!(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM));
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            check!(libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut()));
            libc::execve(self.program.path.as_ptr(), self.argv, self.environment);
            if errno() == libc::ENOEXEC {
                libc::execve(c"/bin/sh".as_ptr(), self.by_shell, self.environment);
            }
            errno()
        }
    }
}

/// Returns the error number if a call failed.
macro_rules! check {
    ($call:expr) => {
        if $call == -1 {
            return errno();
        }
    };
}
use check;

fn errno() -> i32 {
    nix::errno::Errno::last_raw()
}

/// Our environment, without what is meant for the daemon itself or would change what is executed.
pub fn environment() -> Vec<CString> {
    const OURS: &[&str] = &[
        "IFS", "LD_PRELOAD", "LD_LIBRARY_PATH", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID",
        "NOTIFY_SOCKET", "VRRP_USER_HANDOVER", "WATCHDOG_PID", "WATCHDOG_USEC",
    ];
    let kept = std::env::vars_os().filter(|(name, _)| !OURS.iter().any(|ours| *name == **ours));
    kept.filter_map(|(mut line, value)| {
        line.push("=");
        line.push(value);
        CString::new(std::os::unix::ffi::OsStringExt::into_vec(line)).ok()
    })
    .collect()
}
