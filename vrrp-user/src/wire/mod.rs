//! Packets as bytes: a checked view for reading and a `Repr` for the meaning, one module per header.
//!
//! Pure functions on slices; no sockets, no state. The receive checks of RFC 9568 section 7.1 are not
//! here but in `vrrp-common`, because the kernel side makes them.

pub mod ah;
pub mod arp;
pub mod checksum;
pub mod dissect;
pub mod ethernet;
pub mod family;
pub mod frame;
pub mod ipv4;
pub mod ipv6;
pub mod mld;
pub mod ndisc;
pub mod vrrp;

/// Bytes that are not what they should be, or a meaning that has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Shorter than its header, or than a field in it says.
    #[error("truncated: {need} bytes needed, {have} there")]
    Truncated {
        /// Bytes needed at least.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// A fixed field has another value.
    #[error("not {0}")]
    Not(&'static str),
    /// Another VRRP version than expected.
    #[error("VRRP version {0} is not the one expected")]
    Version(u8),
    /// The VRRP message carries no address (RFC 9568 section 5.2.5).
    #[error("advertisement without addresses")]
    NoAddresses,
    /// More addresses than the count byte can say.
    #[error("{0} addresses; an advertisement carries at most 255")]
    TooManyAddresses(usize),
    /// The advertisement interval is zero.
    #[error("advertisement interval is zero")]
    ZeroInterval,
}

/// `bytes` if there are at least `need`.
fn at_least(bytes: &[u8], need: usize) -> Result<&[u8], Error> {
    if bytes.len() < need { Err(Error::Truncated { need, have: bytes.len() }) } else { Ok(bytes) }
}

/// The `N` bytes at `at`, of a slice that was checked to be long enough.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
