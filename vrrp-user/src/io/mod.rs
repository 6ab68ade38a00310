//! The daemon's hands: everything that talks to the kernel.

pub mod bpf;
pub mod netlink;
pub mod ring;
mod table;
pub mod timer;
pub mod tx;
