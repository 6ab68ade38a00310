//! What is executed, and as whom.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use crate::types::netns::Netns;

/// Whom a program runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Box<[u32]>,
}

impl Account {
    /// That of this process, without supplementary groups.
    pub fn ours() -> Self {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        Self { uid: uid.as_raw(), gid: gid.as_raw(), groups: Box::default() }
    }
}

/// A program that can be started again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The file to execute.
    pub path: CString,
    /// What it finds as its own name and arguments.
    pub argv: Vec<CString>,
    /// Whom it runs as.
    pub account: Account,
    /// Its file mode creation mask; ours when `None`.
    pub umask: Option<u16>,
    /// The network namespace that it runs in; ours when `None`.
    #[serde(default)]
    pub netns: Option<Netns>,
}
