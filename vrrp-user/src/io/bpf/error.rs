//! What can go wrong between the daemon and the kernel side, and what it means: whether the daemon works without.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use vrrp_common::maps::ABI_VERSION;

use super::without::{Feature, VARIABLE};
use crate::capability;

/// Where a bpffs usually is.
pub(super) const SYSTEM_BPFFS: &str = "/sys/fs/bpf";
/// Where we mount one if it is not.
pub(super) const OWN_BPFFS: &str = "/run/vrrp-user/bpf";

/// What can go wrong between the daemon and the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory given is on some other file system.
    #[error("{} is not on a bpffs; mount one there: mount -t bpf bpf {}", .0.display(), .0.display())]
    NotBpffs(PathBuf),
    /// No bpffs is mounted.
    #[error("no bpffs at {SYSTEM_BPFFS} or {OWN_BPFFS}; name another one with --bpffs")]
    NoBpffs,
    /// No bpffs is mounted and we could not mount one.
    #[error(
        "no bpffs at {SYSTEM_BPFFS}, and mounting one at {OWN_BPFFS} failed; do it by hand: \
         mount -t bpf bpf {SYSTEM_BPFFS}"
    )]
    MountBpffs(#[source] io::Error),
    /// It was mounted when the daemon started.
    #[error(
        "the bpffs at {dir} is not mounted any more, and mounting it again failed ({source}); do it by hand: mount -t bpf \
         bpf {dir}",
        dir = .dir.display()
    )]
    BpffsUnmounted {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory for the pins.
    #[error("{}", .path.display())]
    Pins {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not root, or a container without the capabilities.
    #[error(
        "not permitted to {0}: run as root, or with the capabilities CAP_BPF, CAP_NET_ADMIN and \
         CAP_NET_RAW"
    )]
    NotPermitted(&'static str),
    /// The process has the capabilities, and something else is in the way.
    #[error(
        "the kernel does not permit to {0} although the process has the capabilities for it: a seccomp filter (of a \
         container), a security module or lockdown may be in the way, before Linux 5.11 also a low RLIMIT_MEMLOCK"
    )]
    Forbidden(&'static str),
    /// There is no bpf(2).
    #[error(
        "there is no bpf(2) here: a seccomp filter (of a container) hides it, or the kernel is built without"
    )]
    NoSystemCall,
    /// The configuration wants none.
    #[error("`capture` was \"raw\" for all interfaces when the daemon started")]
    NotWanted,
    /// Memory in the place of a map.
    #[error("no memory for what stands in the place of the map {name}")]
    Memory {
        /// Which map.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No more file descriptors.
    #[error("no more open files are permitted: raise LimitNOFILE= in the unit, or ulimit -n")]
    Descriptors,
    /// The object or one of its maps.
    #[error("cannot load the BPF object")]
    Load(#[source] Box<EbpfError>),
    /// The object lacks something; it is not the one that this program was built with.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
    /// The kernel refuses the program.
    #[error("the kernel refuses the program {program} ({error}){}", reasons(.log))]
    Verifier {
        /// Its name.
        program: &'static str,
        /// The end of the verifier's log, empty where the kernel did not come to verify anything.
        log: String,
        /// What the system call returned.
        error: io::Error,
    },
    /// The kernel was not asked, as it is to be taken for one that refuses.
    #[error("taken as missing ({VARIABLE}={})", .0.name())]
    Masked(Feature),
    /// A program operation other than attaching.
    #[error("BPF program")]
    Program(#[source] Box<ProgramError>),
    /// A map operation.
    #[error("map {name}")]
    Map {
        /// Which map.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<MapError>,
    },
    /// More routers or addresses than the maps were made for.
    #[error("map {name} has room for {entries} entries only")]
    Full {
        /// Which map.
        name: &'static str,
        /// Its size.
        entries: u32,
    },
    /// The ring buffer could not be watched.
    #[error("cannot watch the ring buffer")]
    Watch(#[source] io::Error),
    /// No thread could be started.
    #[error("cannot start a thread that loads programs")]
    Thread(#[source] io::Error),
    /// There is nothing to read.
    #[error("no maps of a daemon in {}", .0.display())]
    NoPins(PathBuf),
    /// Another version of the daemon made the maps.
    #[error(
        "the maps were made by another version of the daemon (layout {found}, ours is \
         {ABI_VERSION}); use the `vrrp-user` that belongs to it"
    )]
    Abi {
        /// Its layout.
        found: u32,
    },
    /// Another version of the daemon made the map.
    #[error("the keys of {0} are of another kind, and it is not shown")]
    Keys(&'static str),
}

impl From<ProgramError> for Error {
    fn from(error: ProgramError) -> Self {
        Self::Program(Box::new(error))
    }
}

impl Error {
    pub(in crate::io) fn map(name: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| {
            if matches!(errno(&source), Some(libc::EPERM | libc::EACCES)) {
                Self::NotPermitted("read the maps")
            } else {
                Self::Map { name, source: Box::new(source) }
            }
        }
    }

    pub(super) fn pins(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Pins { path: path.to_owned(), source }
    }

    /// What it says is not available here, so that the daemon works without; `None` where something else is wrong.
    fn lack(&self) -> Option<Lack> {
        match self {
            Self::NotPermitted(_) => capability::missing_here()
                .iter()
                .all(|missing| *missing == capability::CAP_BPF)
                .then_some(Lack::Bpf),
            Self::NoBpffs | Self::MountBpffs(_) | Self::Masked(Feature::Bpffs) => Some(Lack::Pins),
            Self::Pins { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            )
            .then_some(Lack::Pins),
            Self::Forbidden(_)
            | Self::NoSystemCall
            | Self::NotWanted
            | Self::Masked(_)
            | Self::Load(_)
            | Self::Verifier { .. }
            | Self::Program(_) => Some(Lack::Bpf),
            Self::NotBpffs(_)
            | Self::BpffsUnmounted { .. }
            | Self::Memory { .. }
            | Self::Descriptors
            | Self::Missing(_)
            | Self::Map { .. }
            | Self::Full { .. }
            | Self::Watch(_)
            | Self::Thread(_)
            | Self::NoPins(_)
            | Self::Abi { .. }
            | Self::Keys(_) => None,
        }
    }

    /// Whether it says that this host has no BPF for the daemon, and nothing else is wrong. What the daemon cannot do
    /// without either, and a directory that was named, are not among that.
    pub fn is_no_bpf(&self) -> bool {
        self.lack() == Some(Lack::Bpf)
    }

    /// Whether it says that there is no place for pins, without which the daemon works. A directory that was named is to
    /// be one.
    pub fn is_no_pins(&self) -> bool {
        self.lack() == Some(Lack::Pins)
    }
}

/// What a host may be without.
#[derive(PartialEq, Eq)]
enum Lack {
    /// Maps and programs.
    Bpf,
    /// A place to pin maps.
    Pins,
}

/// What a verifier says, as the end of a sentence.
fn reasons(log: &str) -> String {
    if log.is_empty() {
        " and does not say why: it may know no such kind of program".to_owned()
    } else {
        format!("; its verifier ends with:\n{log}")
    }
}

/// That a system call was not permitted, and why.
pub(super) fn not_permitted(what: &'static str) -> Error {
    if capability::missing_here().is_empty() {
        Error::Forbidden(what)
    } else {
        Error::NotPermitted(what)
    }
}

/// The number of the system error at the bottom of an error, if there is one.
pub(in crate::io) fn errno(error: &(dyn StdError + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// That a program is refused, without what the verifier said.
pub(super) fn brief(error: &Error) -> String {
    if let Error::Verifier { program, error, .. } = error {
        format!("the kernel refuses the program {program} ({error})")
    } else {
        chain(error)
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// Why the kernel does not load a program.
pub(super) fn refused(program: &'static str) -> impl FnOnce(ProgramError) -> Error {
    move |error| {
        let ProgramError::LoadError { io_error, verifier_log } = error else {
            return error.into();
        };
        refusal(program, io_error, &verifier_log.to_string())
    }
}

fn refusal(program: &'static str, error: io::Error, log: &str) -> Error {
    /// Lines of the verifier's log that tell what it does not like.
    const LINES: usize = 12;
    // With a log it is the verifier who means that it would be permitted to somebody else.
    if error.raw_os_error() == Some(libc::EPERM) && log.trim().is_empty() {
        return not_permitted("load BPF programs");
    }
    if let Some(libc::EMFILE | libc::ENFILE) = error.raw_os_error() {
        return Error::Descriptors;
    }
    log::debug!("the verifier on the program {program}:\n{log}");
    let lines: Vec<&str> = log.lines().filter(|line| !is_statistics(line)).collect();
    let log = lines[lines.len().saturating_sub(LINES)..].join("\n");
    Error::Verifier { program, log, error }
}

/// Whether a line of the verifier's log is about its own work (`print_verification_stats`, kernel/bpf/verifier.c).
fn is_statistics(line: &str) -> bool {
    ["verification time", "stack depth", "processed ", "insns processed"]
        .iter()
        .any(|start| line.starts_with(start))
        || line.trim().is_empty()
}

pub(super) fn not_loaded(error: EbpfError) -> Error {
    match errno(&error) {
        Some(libc::EPERM) => not_permitted("make BPF maps"),
        Some(libc::ENOSYS) => Error::NoSystemCall,
        Some(libc::EMFILE | libc::ENFILE) => Error::Descriptors,
        Some(_) | None => Error::Load(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_that_there_is_no_bpf() {
        let pins = |number| {
            let source = io::Error::from_raw_os_error(number);
            Error::Pins { path: "/x".into(), source }.is_no_pins()
        };
        assert!(pins(libc::EACCES) && pins(libc::EROFS) && !pins(libc::EIO));
        assert!(Error::NoBpffs.is_no_pins() && !Error::NoBpffs.is_no_bpf());
        assert!(Error::Forbidden("x").is_no_bpf() && !Error::Forbidden("x").is_no_pins());
        // Whoever names a directory means it; files that are short are no reason to do without.
        for error in [Error::NotBpffs("/x".into()), Error::Descriptors] {
            assert!(!error.is_no_bpf() && !error.is_no_pins());
        }
    }

    #[test]
    fn a_refused_program_is_refused_for_what_the_kernel_says() {
        let refuse = |number, log: &str| {
            let error = io::Error::from_raw_os_error(number);
            chain(&refusal("vrrp_xdp", error, log))
        };
        let text = refuse(
            libc::EACCES,
            "0: (85) call 188\nR4 min value is negative\nprocessed 9 insns (limit 1000000)\n",
        );
        assert!(text.ends_with("\nR4 min value is negative"), "{text}");
        assert!(!text.contains("Linux"), "{text}");
        let text = refuse(libc::EINVAL, "");
        assert!(text.contains("Invalid argument") && text.contains("does not say why"), "{text}");
        // A verifier that wants another right than those that the daemon asks for.
        let text = refuse(libc::EPERM, "function calls are for root\n");
        assert!(text.ends_with("function calls are for root"), "{text}");
    }
}
