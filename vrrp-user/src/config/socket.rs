//! Who may use the control socket.

use std::fmt;
use std::str::FromStr;

/// Mode and group of the control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketAccess {
    /// The permissions of the file.
    pub mode: SocketMode,
    /// Its group; `None` for that of the daemon.
    pub group: Option<String>,
}

/// Permissions of a file (chmod(2)), without set-user-ID and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(u32);

impl SocketMode {
    /// As chmod(2) takes them.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl Default for SocketMode {
    /// User and group.
    fn default() -> Self {
        Self(0o660)
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A string that is no mode of a socket.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write three octal digits, as in 0660 (user and group) or 0666 (everybody)")]
pub struct InvalidMode;

impl FromStr for SocketMode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
        if digits.len() != 3 || !digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
            return Err(InvalidMode);
        }
        u32::from_str_radix(digits, 8).map(Self).map_err(|_| InvalidMode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, bits) in [("660", 0o660), ("0666", 0o666), ("0600", 0o600)] {
            assert_eq!(text.parse::<SocketMode>().unwrap().bits(), bits);
        }
        for bad in ["", "66", "4660", "0668", "rw-rw----", "00660", "+660", "-666"] {
            assert_eq!(bad.parse::<SocketMode>(), Err(InvalidMode), "{bad}");
        }
        assert_eq!(SocketMode::default().to_string(), "0660");
    }
}
