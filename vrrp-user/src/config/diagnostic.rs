//! What the user should know of a configuration file.

use serde::{Deserialize, Serialize};

/// Something in a configuration file that the user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// File, as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1; 0 when unknown.
    pub column: usize,
    /// Whether the configuration cannot be used.
    pub severity: Severity,
    /// What is wrong, naming the keyword.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How bad a [`Diagnostic`] is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A setting that has no effect here, and nothing on the network differs for it. The message begins with
    /// the keyword.
    Note,
    /// The daemon goes on without it.
    Warning,
    /// The configuration is refused.
    Error,
}
