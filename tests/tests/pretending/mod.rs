//! This program with a few words at the end of its file, by which it pretends to be another one (`types/build.rs`).

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use vrrp_tests::{Lab, Result, VrrpUser};
use vrrp_user::types::build::MARK;

/// A program that pretends, in the directory of a lab.
pub fn pretending(lab: &Lab, name: &str, what: &str) -> Result<PathBuf> {
    let path = lab.dir().join(name);
    fs::copy(VrrpUser::binary()?, &path).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    write!(file, "{MARK}{what}").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    Ok(path)
}
