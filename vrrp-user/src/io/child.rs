//! A process of its own for what may take more time or memory than there is, or meet a mistake of somebody's.

use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, Resource, Rlimit};

/// After it was told to end.
const LAST: Duration = Duration::from_secs(2);
/// Most bytes that it may say.
const LONGEST: u64 = 16 << 20;

/// How a process ended: what it said, or that it was ended.
pub enum End {
    Exited(ExitStatus, Vec<u8>),
    TooSlow,
}

/// Runs a command to its end, or ends it when it takes too long. What it says is all that it prints, to standard error as
/// well, or what it prints to standard output. With `memory`, it may take so many bytes, and as many seconds of a CPU as it
/// has time; otherwise it is to see to that itself.
///
/// # Errors
/// It cannot be started, or says too much.
pub fn run(
    command: &mut Command,
    patience: Duration,
    both: bool,
    memory: Option<u64>,
) -> io::Result<End> {
    let until = Instant::now() + patience;
    let (mut output, input) = io::pipe()?;
    if both {
        command.stderr(input.try_clone()?);
    }
    let child = command.stdout(input).spawn();
    // The copies of the other end, or there would be no end.
    command.stdout(Stdio::null());
    if both {
        command.stderr(Stdio::null());
    }
    let mut child = child?;
    if let Some(bytes) = memory {
        limit(&child, bytes, patience);
    }
    let said = listen(&mut output, until);
    match said {
        Ok(Some(said)) => match wait(&mut child, until)? {
            Some(status) => Ok(End::Exited(status, said)),
            None => end(&mut child).map(|()| End::TooSlow),
        },
        ended => {
            end(&mut child)?;
            ended.map(|_| End::TooSlow)
        }
    }
}

fn limit(child: &Child, memory: u64, patience: Duration) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let limits = [
        (Resource::Data, memory),
        (Resource::Cpu, patience.as_secs()),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        // It may have ended. A hard limit that is lower stays: to raise it is refused.
        if let Err(error) = rustix::process::prlimit(pid, resource, limit) {
            log::debug!("limit of a process: {error}");
        }
    }
}

fn end(child: &mut Child) -> io::Result<()> {
    let _ = child.kill();
    // It may hang in the kernel, which no signal changes.
    wait(child, Instant::now() + LAST).map(|_| ())
}

fn wait(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= until {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// All that it says; `None` if that takes too long.
fn listen(pipe: &mut io::PipeReader, until: Instant) -> io::Result<Option<Vec<u8>>> {
    let (mut output, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match pipe.read(&mut part)? {
            0 => return Ok(Some(output)),
            count if (output.len() + count) as u64 > LONGEST => {
                return Err(io::Error::other("it says more than it should"));
            }
            count => output.extend(part.iter().take(count)),
        }
    }
}
