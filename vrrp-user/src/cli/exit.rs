//! How `vrrp-user run` ends: numbers that unit files and scripts can rely on.
//!
//! Those of sysexits.h where it has one that fits.

use std::io;
use std::process::ExitCode;

use crate::config::LoadError;
use crate::control::client;
use crate::driver;
use crate::io::{bpf, netns};

/// Why the daemon ended. [`clap`] ends with 2 when the arguments are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// By a signal, and nothing is left behind.
    Stopped = 0,
    /// Wrong arguments, as [`clap`] has it.
    Usage = 2,
    /// `EX_UNAVAILABLE`: the kernel lacks something.
    Unavailable = 69,
    /// `EX_OSERR`: something failed that should not; another attempt may do.
    Failed = 71,
    /// `EX_TEMPFAIL`: another daemon has the instance or the PID file.
    AlreadyRunning = 75,
    /// `EX_NOPERM`: a capability or a permission is missing.
    NoPermission = 77,
    /// `EX_CONFIG`: the configuration cannot be used.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn by_kind(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::PermissionDenied { Exit::NoPermission } else { Exit::Failed }
}

fn kernel(error: &bpf::Error) -> Exit {
    match error {
        bpf::Error::NotPermitted(_) | bpf::Error::Forbidden(_) => Exit::NoPermission,
        bpf::Error::Pins { source, .. } | bpf::Error::BpffsUnmounted { source, .. } => {
            by_kind(source)
        }
        bpf::Error::MountBpffs(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Exit::Unavailable
        }
        bpf::Error::MountBpffs(_) => Exit::NoPermission,
        bpf::Error::NoBpffs | bpf::Error::NoSystemCall | bpf::Error::Verifier { .. } => {
            Exit::Unavailable
        }
        bpf::Error::NotBpffs(_) => Exit::Config,
        bpf::Error::Load(_)
        | bpf::Error::Descriptors
        | bpf::Error::NotWanted
        | bpf::Error::Memory { .. }
        | bpf::Error::Missing(_)
        | bpf::Error::Program(_)
        | bpf::Error::Map { .. }
        | bpf::Error::Full { .. }
        | bpf::Error::Watch(_)
        | bpf::Error::Thread(_)
        | bpf::Error::NoPins(_)
        | bpf::Error::Abi { .. }
        | bpf::Error::Keys(_)
        | bpf::Error::Masked(_) => Exit::Failed,
    }
}

impl From<&driver::Error> for Exit {
    fn from(error: &driver::Error) -> Self {
        match error {
            driver::Error::AlreadyRunning { .. } | driver::Error::PidFileTaken { .. } => {
                Self::AlreadyRunning
            }
            driver::Error::RuntimeDir { error, .. } | driver::Error::Sockets(error) => {
                by_kind(error)
            }
            driver::Error::PidFile { source, .. } => by_kind(source),
            driver::Error::NoPidFile(_) => Self::Config,
            driver::Error::Datapath(error) => kernel(error),
            driver::Error::Descriptors(_)
            | driver::Error::Netlink(_)
            | driver::Error::NetlinkClosed
            | driver::Error::Netns(_)
            | driver::Error::Stale(_)
            | driver::Error::Panicked
            | driver::Error::Os { .. } => Self::Failed,
        }
    }
}

/// How `status --check` ends where something is wrong, as `doctor` does.
pub const WRONG: u8 = 2;

/// How `status` ends with an error: 3 where no daemon runs and 4 where there is no such router or interface, as systemctl(1)
/// has them for a unit that is not active and one that does not exist.
pub fn of_status(error: &super::Error) -> u8 {
    match error {
        super::Error::Client(client::Error::NotRunning { .. }) => 3,
        super::Error::Unknown(_) => 4,
        super::Error::Client(
            client::Error::Permission(_)
            | client::Error::Silent(..)
            | client::Error::HungUp(_)
            | client::Error::Garbled(..)
            | client::Error::Refused(..),
        )
        | super::Error::Output(_)
        | super::Error::Json(_) => 1,
    }
}

/// How `run` ends with an error.
pub fn of(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.downcast_ref::<driver::Error>() {
        error.into()
    } else if let Some(error) = error.downcast_ref::<netns::Error>() {
        match error {
            netns::Error::Denied { .. } => Exit::NoPermission,
            netns::Error::Missing(_) | netns::Error::Other(_) => Exit::Config,
            netns::Error::Io { source, .. } => by_kind(source),
        }
    } else if error.is::<LoadError>() {
        Exit::Config
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::netns::Netns;

    #[test]
    fn what_is_missing_is_told_apart() {
        let denied = || io::Error::from_raw_os_error(libc::EPERM);
        let exit = |error: driver::Error| of(&error.into());
        assert_eq!(exit(driver::Error::Sockets(denied())), Exit::NoPermission);
        assert_eq!(exit(driver::Error::NetlinkClosed), Exit::Failed);
        assert_eq!(exit(bpf::Error::MountBpffs(denied()).into()), Exit::NoPermission);
        let absent = io::Error::from_raw_os_error(libc::ENODEV);
        assert_eq!(exit(bpf::Error::MountBpffs(absent).into()), Exit::Unavailable);
        assert_eq!(of(&LoadError::Invalid { diagnostics: Vec::new() }.into()), Exit::Config);
        let netns: Netns = "red".parse().unwrap();
        assert_eq!(of(&netns::Error::Missing(netns.clone()).into()), Exit::Config);
        assert_eq!(of(&netns::Error::Denied { netns }.into()), Exit::NoPermission);
        assert_eq!(of(&anyhow::anyhow!("else")), Exit::Failed);
    }

    #[test]
    fn the_help_tells_the_same() {
        let mut command = super::super::help::command();
        let help = command.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        for exit in [
            Exit::Stopped,
            Exit::Usage,
            Exit::Unavailable,
            Exit::Failed,
            Exit::AlreadyRunning,
            Exit::NoPermission,
            Exit::Config,
        ] {
            assert!(help.contains(&format!("\n  {:<4}", exit as u8)), "{exit:?}: {help}");
        }
    }
}
