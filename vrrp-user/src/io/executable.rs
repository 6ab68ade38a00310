//! Another program that may take the place of this one: a file that is opened once, and nobody but root can change.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::AtFlags;
use nix::unistd::execveat;

/// Bytes of the header of an ELF file up to the machine that it is for (elf(5)): identification, type, machine.
const HEADER: usize = 20;

/// Why a file is not executed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {}: {error}", path.display())]
    Open { path: PathBuf, error: io::Error },
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    #[error("{} belongs to the user {user}, and not to root", path.display())]
    Owner { path: PathBuf, user: u32 },
    #[error("{} can be written by others than root (mode {mode:04o})", path.display())]
    Writable { path: PathBuf, mode: u32 },
    #[error("{} is not executable (mode {mode:04o})", path.display())]
    NotExecutable { path: PathBuf, mode: u32 },
    #[error("{} is set-user-ID or has capabilities of its own, and would run with other rights", .0.display())]
    Rights(PathBuf),
    #[error("{} is no program for this machine", .0.display())]
    Format(PathBuf),
}

/// An open program.
#[derive(Debug)]
pub struct Executable {
    path: PathBuf,
    file: File,
}

impl Executable {
    /// Opens a file, and looks at what it is.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |error| Error::Open { path: path.to_owned(), error };
        // Neither waits for the other end of a fifo.
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let (path, mode) = (path.to_owned(), meta.permissions().mode() & 0o7777);
        if !meta.is_file() {
            return Err(Error::NoFile(path));
        }
        if meta.uid() != 0 {
            return Err(Error::Owner { path, user: meta.uid() });
        }
        // The bits of the group are also the most that an access control list permits (acl(5)).
        if mode & 0o022 != 0 {
            return Err(Error::Writable { path, mode });
        }
        if mode & 0o111 == 0 {
            return Err(Error::NotExecutable { path, mode });
        }
        if mode & 0o6000 != 0 || has_capabilities(&file) {
            return Err(Error::Rights(path));
        }
        if !is_for_this_machine(&file) {
            return Err(Error::Format(path));
        }
        Ok(Self { path, file })
    }

    /// Where it was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it in a process of its own.
    pub fn command(&self) -> Command {
        // The child has the same descriptors until it executes this.
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.arg0(std::env::args_os().next().unwrap_or_default());
        command
    }

    /// Puts it in the place of the program of this process, with the arguments of that, and one more variable in its
    /// environment. All other threads end. Returns only if that failed, and then nothing has changed.
    pub fn replace_this(&self, variable: (&str, &str)) -> io::Error {
        let text = |text: OsString| CString::new(text.into_vec()).unwrap_or_default();
        let args: Vec<CString> = std::env::args_os().map(text).collect();
        let others = std::env::vars_os().filter(|(name, _)| *name != *variable.0);
        let ours = (variable.0.into(), variable.1.into());
        let environment: Vec<CString> = others
            .chain([ours])
            .map(|(mut line, value): (OsString, OsString)| {
                line.push("=");
                line.push(value);
                text(line)
            })
            .collect();
        let flags = AtFlags::AT_EMPTY_PATH;
        match execveat(&self.file, c"", &args, &environment, flags) {
            Ok(never) => match never as Infallible {},
            Err(errno) => errno.into(),
        }
    }
}

/// Whether the file has capabilities (capabilities(7)): those of this process would end with it.
fn has_capabilities(file: &File) -> bool {
    let name = c"security.capability";
    // SAFETY: with a length of 0 nothing is written.
    unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

fn is_for_this_machine(file: &File) -> bool {
    let header = |file: &File| {
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map(|()| header)
    };
    let ours = File::open("/proc/self/exe").and_then(|file| header(&file));
    let (Ok(theirs), Ok(ours)) = (header(file), ours) else { return false };
    // Magic number, class, order of bytes; machine. Either may be relocatable or not.
    theirs[..6] == ours[..6] && theirs[18..] == ours[18..]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_program_of_roots_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let refused = || Executable::open(&path).unwrap_err().to_string();
        assert!(refused().contains("cannot open"), "{}", refused());
        fs::copy("/proc/self/exe", &path).unwrap();
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let is_root = nix::unistd::geteuid().is_root();
        if !is_root {
            return assert!(refused().contains("not to root"), "{}", refused());
        }
        for (mode, why) in [
            (0o775, "written by others than root (mode 0775)"),
            (0o757, "written by others"),
            (0o644, "not executable"),
            (0o4755, "set-user-ID"),
        ] {
            set(mode);
            assert!(refused().contains(why), "{}", refused());
        }
        set(0o755);
        assert!(Executable::open(&path).is_ok());
        std::os::unix::fs::chown(&path, Some(1), None).unwrap();
        assert!(refused().contains("belongs to the user 1"), "{}", refused());
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        fs::write(&path, "#!/bin/sh\n: long enough to have a header\n").unwrap();
        set(0o755);
        assert!(refused().contains("no program for this machine"), "{}", refused());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refused().contains("is no file"), "{}", refused());
    }
}
