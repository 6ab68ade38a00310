//! A changed configuration is read by a process of its own first.
//!
//! What is in a file may take more memory than there is, or more time, or meet a mistake of ours. A thread cannot be
//! given up without a trace, and the kernel that runs out of memory ends processes, not threads. The other process is
//! limited to what there is room for, is the first to go when memory ends, and is ended when it takes too long. It says
//! whether the configuration can be applied; only then is it read here.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Settings, prepare};
use crate::api::error::ErrorKind;
use crate::core::prepared::Refusal;
use crate::io::child::{self, End};
use crate::io::memory;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The subcommand that [`child`] serves.
pub const COMMAND: &str = "preflight";

/// Whether a configuration can be read, in the other process: prints why not, as JSON. `memory` is how many bytes it
/// may take.
/// Errors: those of the output.
pub fn child(
    path: &Path,
    settings: &Settings,
    memory: Option<u64>,
    out: &mut impl io::Write,
) -> io::Result<bool> {
    memory::expendable(memory);
    // Nobody wants to know any more when the daemon has ended.
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    let Err(refusal) = prepare(path, settings) else { return Ok(true) };
    serde_json::to_writer(&mut *out, &refusal)?;
    out.flush()?;
    Ok(false)
}

/// Asks the other process.
/// Errors: why the configuration cannot be applied.
pub fn ask(path: &Path, settings: &Settings) -> Result<(), Refusal> {
    // The running program, whatever has been put in the place of its file meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg(COMMAND).arg("--config").arg(path);
    if let Some(id) = &settings.options.config_id {
        command.arg("--config-id").arg(id);
    }
    if let Some(instance) = &settings.options.instance {
        command.arg("--instance").arg(instance);
    }
    if let Some(running) = settings.options.running {
        command.arg("--running").arg(running.to_string());
    }
    let room = memory::room();
    if let Some(room) = room {
        // Applying the configuration needs some as well.
        command.arg("--memory").arg((room / 4 * 3).to_string());
    }
    command.stdin(Stdio::null()).stderr(Stdio::null());
    outcome(path, child::run(&mut command, PATIENCE, false, None), room)
}

fn outcome(path: &Path, end: io::Result<End>, room: Option<u64>) -> Result<(), Refusal> {
    let why = match end {
        Ok(End::Exited(status, _)) if status.success() => return Ok(()),
        Ok(End::Exited(status, said)) if status.code().is_some() => {
            match serde_json::from_slice::<Refusal>(&said) {
                Ok(refusal) => return Err(refusal),
                Err(_) => format!("the process that reads it first ended with {status}"),
            }
        }
        // By itself, when it gets no more memory; by the kernel, when nobody does.
        Ok(End::Exited(status, _))
            if matches!(status.signal(), Some(libc::SIGABRT | libc::SIGKILL)) =>
        {
            let room = room.map(|bytes| format!(" ({} MiB are free)", bytes >> 20));
            format!("reading it takes more memory than there is{}", room.unwrap_or_default())
        }
        Ok(End::Exited(status, _)) => {
            format!("the process that reads it first ended by accident: {status}")
        }
        Ok(End::TooSlow) => format!("reading it takes longer than {} s", PATIENCE.as_secs()),
        Err(error) => format!("cannot start the process that reads it first: {error}"),
    };
    Err(ErrorKind::ReaderFailed.because(format!("{}: {why}", path.display())).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(script: &str, patience: Duration) -> Result<(), Refusal> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let end = child::run(&mut command, patience, false, None);
        outcome(Path::new("F"), end, Some(5 << 20))
    }

    fn error(script: &str, patience: Duration) -> String {
        outcome_of(script, patience).unwrap_err().errors.remove(0).error
    }

    #[test]
    fn each_end_of_it_is_told_apart() {
        const LONG: Duration = Duration::from_secs(60);
        assert!(outcome_of("echo ignored", LONG).is_ok());
        let said = "echo '{\"errors\":[{\"error\":\"a\"},{\"error\":\"b\"}],\"warnings\":[\"c\"]}'; exit 1";
        let refusal = outcome_of(said, LONG).unwrap_err();
        assert_eq!((refusal.errors.len(), refusal.warnings.len()), (2, 1));
        let memory = "F: reading it takes more memory than there is (5 MiB are free)";
        assert_eq!(error("kill -ABRT $$", LONG), memory);
        assert_eq!(error("kill -KILL $$", LONG), memory);
        assert!(error("kill -SEGV $$", LONG).contains("by accident"));
        assert!(error("exit 3", LONG).contains("exit status: 3"));
        let slow = error("exec sleep 600", Duration::from_millis(50));
        assert_eq!(slow, "F: reading it takes longer than 60 s");
        let missing = child::run(&mut Command::new("/nowhere/at-all"), LONG, false, None);
        let refusal = outcome(Path::new("F"), missing, None).unwrap_err();
        assert!(refusal.errors[0].error.contains("cannot start"), "{refusal:?}");
    }
}
