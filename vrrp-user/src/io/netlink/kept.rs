//! Files in the runtime directory by which a daemon knows what one before it has done that was killed.

use std::path::Path;
use std::{fs, io};

use crate::core::{InterfaceId, NamespaceId};

/// Puts a text in the place of the one that is there, all of it or nothing. An empty one needs no file.
/// Errors: those of the file system.
pub(super) fn save(path: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// An interface as such a file has it: what [`InterfaceId`] shows.
pub(super) fn interface(word: &str) -> Option<InterfaceId> {
    let (ifindex, namespace) = match word.split_once('@') {
        Some((ifindex, namespace)) => (ifindex, NamespaceId(namespace.parse().ok()?)),
        None => (word, NamespaceId::OWN),
    };
    Some(InterfaceId { namespace, ifindex: ifindex.parse().ok()? })
}
