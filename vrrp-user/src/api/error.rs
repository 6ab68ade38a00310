//! Why the daemon does not do what it is asked: an identifier for programs, which never changes, beside the sentence for
//! people, whose wording may.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// What kind of reason.
#[cfg_attr(test, derive(strum::VariantNames))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ErrorKind {
    /// The request is too long, not JSON, or unknown.
    BadRequest,
    /// Who asks may not.
    NotPermitted,
    /// There is no router, or sync group, of that name.
    UnknownRouter,
    /// The router owns its addresses, and its priority never changes.
    AddressOwner,
    /// No priority that a router can have.
    BadPriority,
    /// The counters cannot be read.
    NoCounters,
    /// Too many follow the events.
    TooManyFollowers,
    /// Who asked has given up meanwhile.
    TooLate,
    /// The daemon is stopping.
    Stopping,
    /// A file of the configuration cannot be read.
    ConfigUnreadable,
    /// The configuration has errors.
    ConfigInvalid,
    /// The process that reads the configuration failed: no memory, no time, or by mistake.
    ReaderFailed,
    /// Only a restart takes the daemon to another network namespace.
    OtherNetns,
    /// The maps in the kernel are too small.
    NoRoom,
    /// The same is being done already.
    Busy,
    /// There is nothing that another program could go on with.
    NoPins,
    /// The other program is none that can take over.
    UnusableProgram,
    /// The other program needs what only a restart gives it.
    NeedsCapabilities,
    /// The daemon was told something else meanwhile.
    Overtaken,
    /// The other program could not be executed.
    ExecutionFailed,
}

impl ErrorKind {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// With why in words.
    pub fn because(self, error: impl Into<String>) -> ApiError {
        ApiError { error: error.into(), cause: self.name().to_owned() }
    }
}

/// Why something is not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// In words.
    pub error: String,
    /// As a name ([`ErrorKind::name`]); empty of a daemon that is older.
    #[serde(default)]
    pub cause: String,
}

impl ApiError {
    /// The sentences, and the identifiers of the same order.
    pub fn unzip(errors: impl IntoIterator<Item = Self>) -> (Vec<String>, Vec<String>) {
        errors.into_iter().map(|it| (it.error, it.cause)).unzip()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}
