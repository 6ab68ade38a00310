//! Further Ethernet addresses to which interfaces take in frames (`PACKET_MR_UNICAST`, packet(7)). They are there as long as
//! this process is.

use std::io;

use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Socket, Type};

use super::capture::AddMembership;

/// The socket that has them.
pub struct UnicastFilter {
    socket: Socket,
}

impl UnicastFilter {
    /// A socket that receives nothing.
    /// Errors: those of socket(2) (CAP_NET_RAW).
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::new(Domain::PACKET, Type::RAW, None)? })
    }

    /// The socket, for the program that takes the place of this one: the addresses stay as long as it is open.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Lets an interface take in frames to an Ethernet address. A device that has no place for it takes in all.
    /// Errors: those of setsockopt(2).
    pub fn add(&self, ifindex: u32, mac: [u8; 6]) -> io::Result<()> {
        Ok(setsockopt(&self.socket, AddMembership, &membership(ifindex, mac))?)
    }

    /// Ends that. Where the interface is gone, so is the address.
    /// Errors: those of setsockopt(2).
    pub fn remove(&self, ifindex: u32, mac: [u8; 6]) -> io::Result<()> {
        Ok(setsockopt(&self.socket, DropMembership, &membership(ifindex, mac))?)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "1 and 6")]
fn membership(ifindex: u32, mac: [u8; 6]) -> libc::packet_mreq {
    let [a, b, c, d, e, f] = mac;
    libc::packet_mreq {
        mr_ifindex: ifindex.cast_signed(),
        mr_type: libc::PACKET_MR_UNICAST as libc::c_ushort,
        mr_alen: mac.len() as libc::c_ushort,
        mr_address: [a, b, c, d, e, f, 0, 0],
    }
}

sockopt_impl!(
    /// Drops it.
    DropMembership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_DROP_MEMBERSHIP,
    libc::packet_mreq
);
