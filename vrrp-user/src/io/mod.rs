//! Everything that touches the kernel. No decision about a virtual router is made in here.

pub mod bpf;
pub mod capture;
pub(crate) mod child;
pub mod client_slots;
pub mod descriptors;
pub(crate) mod executable;
mod foreign_map;
pub(crate) mod handover;
pub mod lockfile;
pub mod logger;
pub mod memory;
mod mmap_array;
pub mod neighbour;
pub mod netlink;
pub mod netns;
pub mod packet_socket;
pub mod raw;
pub mod reader;
pub mod ring;
pub mod sched;
pub mod scripts;
pub mod socket_file;
pub mod threads;
pub mod timer;
pub mod tracked;
pub mod tx;
pub mod unicast_filter;
