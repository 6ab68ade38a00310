//! The daemon's hands: everything that talks to the kernel.

pub mod netlink;
pub mod timer;
pub mod tx;
