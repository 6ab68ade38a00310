//! Who may do what with the control socket.
//!
//! Whoever can connect may ask: that is what mode and group of the file decide. What changes something is for root,
//! the daemon's own user and the members of the socket's group; the kernel says who is at the other end.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Group, Uid};
use tokio::net::UnixStream;

use crate::config::socket::SocketAccess;

/// Who may change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    user: u32,
    group: u32,
    /// What the socket is given when it must be made again.
    settings: SocketAccess,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    user: u32,
    groups: Vec<u32>,
}

impl Access {
    /// Gives a bound socket its mode and group. A group that it cannot be given to is logged, and the socket stays
    /// with that of the process.
    /// Errors: the mode cannot be set, or the file is gone.
    pub fn grant(socket: &Path, settings: &SocketAccess) -> io::Result<Self> {
        if let Some(name) = &settings.group
            && let Err(error) = give(socket, name)
        {
            log::error!("control socket: {error}; it stays with the daemon's own group");
        }
        // After the group, or those of the old one could connect.
        fs::set_permissions(socket, Permissions::from_mode(settings.mode.bits()))?;
        let group = fs::metadata(socket)?.gid();
        Ok(Self { user: Uid::effective().as_raw(), group, settings: settings.clone() })
    }

    pub fn settings(&self) -> &SocketAccess {
        &self.settings
    }

    /// Takes other settings that could not be granted, for the next socket.
    pub fn set_settings(&mut self, settings: SocketAccess) {
        self.settings = settings;
    }

    /// Whether who is at the other end may change something.
    /// Errors: the kernel does not say who it is.
    pub fn permits_changes(&self, stream: &UnixStream) -> io::Result<bool> {
        Ok(self.permits(&peer(stream)?))
    }

    /// Whether who is at the other end may put another program in the place of the daemon's.
    ///
    /// # Errors
    /// The kernel does not say who it is.
    pub fn permits_upgrade(&self, stream: &UnixStream) -> io::Result<bool> {
        let peer = peer(stream)?;
        Ok(peer.user == 0 || peer.user == self.user)
    }

    fn permits(&self, peer: &Peer) -> bool {
        peer.user == 0 || peer.user == self.user || peer.groups.contains(&self.group)
    }

    /// What to tell those who may not.
    pub fn refusal(&self) -> String {
        let gid = self.group;
        let group = match Group::from_gid(gid.into()) {
            Ok(Some(group)) => format!("`{}`", group.name),
            Ok(None) | Err(_) => format!("{gid}"),
        };
        format!(
            "not permitted: it takes root, the daemon's own user, or a member of the group {group}"
        )
    }
}

/// Why a group cannot have the socket.
#[derive(Debug, thiserror::Error)]
enum GiveError {
    #[error("there is no group `{0}`")]
    Unknown(String),
    #[error("group `{0}`: {1}")]
    Lookup(String, nix::Error),
    #[error(
        "group `{0}`: {1}; a daemon that is not root must be in it (SupplementaryGroups= in its unit)"
    )]
    Change(String, io::Error),
}

fn give(socket: &Path, name: &str) -> Result<(), GiveError> {
    let group =
        Group::from_name(name).map_err(|error| GiveError::Lookup(name.to_owned(), error))?;
    let group = group.ok_or_else(|| GiveError::Unknown(name.to_owned()))?;
    chown(socket, None, Some(group.gid.as_raw()))
        .map_err(|error| GiveError::Change(name.to_owned(), error))
}

/// As the kernel knows it since the other end connected (`SO_PEERCRED`, `SO_PEERGROUPS`, unix(7)).
fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = getsockopt(stream, PeerCredentials)?;
    let mut groups = supplementary_groups(stream)?;
    groups.push(credentials.gid());
    Ok(Peer { user: credentials.uid(), groups })
}

fn supplementary_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<u32> = vec![0; 32];
    loop {
        let size = groups.len() * size_of::<u32>();
        let mut length = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
        // SAFETY: the buffer has `length` bytes and lives until the call returns, and so does `length`.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = length as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // More groups than there was room for: the kernel says how many (NGROUPS_MAX at most).
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_user_and_the_group_may_change_something() {
        let access = Access { user: 100, group: 200, settings: SocketAccess::default() };
        let permits =
            |user, groups: &[u32]| access.permits(&Peer { user, groups: groups.to_vec() });
        assert!(permits(0, &[0]));
        assert!(permits(100, &[100]));
        assert!(permits(1000, &[1000, 200]));
        assert!(!permits(1000, &[1000, 100]));
        assert!(access.refusal().contains("200"), "{}", access.refusal());
    }

    #[tokio::test]
    async fn the_kernel_says_who_it_is() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = peer(&one).unwrap();
        assert_eq!(peer.user, Uid::effective().as_raw());
        assert!(peer.groups.contains(&nix::unistd::getegid().as_raw()), "{peer:?}");
    }

    #[test]
    fn a_group_that_does_not_exist_gets_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let settings = SocketAccess {
            mode: "0666".parse().unwrap(),
            group: Some("no-such-group-here".to_owned()),
        };
        let access = Access::grant(&path, &settings).unwrap();
        assert_eq!(access.group, nix::unistd::getegid().as_raw());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
    }
}
