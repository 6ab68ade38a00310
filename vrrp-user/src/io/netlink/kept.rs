//! Files in the runtime directory by which a daemon knows what one before it has done that was killed.

use std::path::Path;
use std::{fs, io};

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
