//! What keeps this process from a file, and the command by which root mends that. It decides nothing: whoever could not
//! open or execute a file asks it for the words.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, faccessat, getegid, geteuid, getgroups};

/// Most symbolic links that are followed, as the kernel has it (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To read it.
    Read,
    /// To execute it; the interpreter of a script reads it as well.
    Execute,
    /// To find what is in a directory.
    List,
}

impl Need {
    fn flags(self) -> AccessFlags {
        match self {
            Self::Read => AccessFlags::R_OK,
            Self::Execute => AccessFlags::X_OK,
            Self::List => AccessFlags::R_OK | AccessFlags::X_OK,
        }
    }

    fn bits(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Execute | Self::List => "rx",
        }
    }
}

/// Whether this process has that access, by its effective user, groups and capabilities, access control lists included
/// (access(2)).
pub(crate) fn permits(path: &Path, need: Need) -> bool {
    faccessat(AT_FDCWD, path, need.flags(), AtFlags::AT_EACCESS).is_ok()
}

/// The command by which root gives this process access to the first part of a path that keeps it out; `None` where no
/// part does, or that cannot be found out.
pub(crate) fn remedy(path: &Path, need: Need) -> Option<String> {
    let ours = Identity::ours();
    let mut path = std::path::absolute(path).ok()?;
    for _ in 0..MAX_LINKS {
        let Some(target) = first_link(&path)? else { return blocked(&path, need, &ours) };
        path = target;
    }
    None
}

/// The path with its first symbolic link followed; `None` in it where there is none.
fn first_link(path: &Path) -> Option<Option<PathBuf>> {
    let mut part = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        part.push(component);
        match fs::symlink_metadata(&part) {
            Ok(meta) if meta.is_symlink() => {
                let target = fs::read_link(&part).ok()?;
                let above = part.parent().unwrap_or(Path::new("/"));
                return Some(Some(above.join(target).join(components.as_path())));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Some(None),
            Err(_) => return None,
        }
    }
    Some(None)
}

fn blocked(path: &Path, need: Need, ours: &Identity) -> Option<String> {
    let mut part = PathBuf::new();
    for component in path.components() {
        part.push(component);
        let last = part == path;
        let flags = if last { need.flags() } else { AccessFlags::X_OK };
        if faccessat(AT_FDCWD, &part, flags, AtFlags::AT_EACCESS).is_err() {
            let meta = fs::metadata(&part).ok()?;
            let bits = if last { need.bits() } else { "x" };
            return Some(command(&part, &meta, bits, ours));
        }
    }
    None
}

/// Who wants access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

impl Identity {
    fn ours() -> Self {
        let groups = getgroups().unwrap_or_default().into_iter().map(Gid::as_raw).collect();
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups }
    }
}

/// Gives somebody these permissions (chmod(1)): as few others as possible get them as well.
pub(crate) fn command(path: &Path, meta: &Metadata, bits: &str, who: &Identity) -> String {
    let path = quoted(path);
    if meta.uid() == who.uid {
        format!("chmod u+{bits} {path}")
    } else if who.gid == meta.gid() || who.groups.contains(&meta.gid()) {
        format!("chmod g+{bits} {path}")
    } else if meta.gid() == 0 {
        format!("chgrp {} {path} && chmod g+{bits} {path}", group_name(who.gid))
    } else {
        // Another group has it for a reason.
        format!("chmod o+{bits} {path}")
    }
}

/// A path as a shell reads it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The name of a user, or its number.
pub(crate) fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// The name of a group, or its number.
pub(crate) fn group_name(gid: u32) -> String {
    match Group::from_gid(Gid::from_raw(gid)) {
        Ok(Some(group)) => group.name,
        Ok(None) | Err(_) => gid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn nobody_gets_more_than_needed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("it's");
        fs::write(&file, "").unwrap();
        let meta = fs::metadata(&file).unwrap();
        let (uid, gid) = (meta.uid(), meta.gid());
        let told = |uid, gid, groups: &[u32]| {
            let who = Identity { uid, gid, groups: groups.to_vec() };
            let text = command(&file, &meta, "r", &who);
            text.replace(&directory.path().display().to_string(), "D")
        };
        assert_eq!(told(uid, gid, &[]), r"chmod u+r 'D/it'\''s'");
        assert_eq!(told(uid + 1, gid, &[]), r"chmod g+r 'D/it'\''s'");
        assert_eq!(told(uid + 1, gid + 1, &[gid]), r"chmod g+r 'D/it'\''s'");
        let other = told(uid + 1, 4_000_000_000, &[]);
        if gid == 0 {
            let text = r"chgrp 4000000000 'D/it'\''s' && chmod g+r 'D/it'\''s'";
            assert_eq!(other, text);
        } else {
            assert_eq!(other, r"chmod o+r 'D/it'\''s'");
        }
    }

    #[test]
    fn the_first_part_that_keeps_us_out_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let file = path.join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&path, path.join("link")).unwrap();
        symlink("nowhere", path.join("nowhere")).unwrap();
        assert!(permits(&file, Need::Read) && !permits(&file, Need::Execute));
        assert_eq!(remedy(&file, Need::Read), None);
        let expected = Some(format!("chmod u+rx {}", file.display()));
        assert_eq!(remedy(&file, Need::Execute), expected);
        assert_eq!(remedy(&path.join("link/file"), Need::Execute), expected);
        for missing in ["missing", "nowhere", "file/below"] {
            assert_eq!(remedy(&path.join(missing), Need::Read), None, "{missing}");
        }
        if !geteuid().is_root() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let expected = Some(format!("chmod u+x {}", path.display()));
            assert_eq!(remedy(&file, Need::Read), expected);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}
