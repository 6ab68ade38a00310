//! Further Ethernet addresses to which interfaces take in frames: by a membership (`PACKET_MR_UNICAST`, packet(7)), which is
//! there as long as this process is, or on a bridge by an entry in its forwarding database, which stays.

use std::io;

use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Socket, Type};

use super::capture::AddMembership;
use super::netlink::fdb;
use crate::core::netlink::UnicastFilter as By;

/// The socket that has them.
#[derive(Default)]
pub struct UnicastFilter {
    /// One that receives nothing. Opened when there is an address for it: the kernel waits for all processors when it closes
    /// a packet socket, and so would every daemon that ends.
    socket: Option<Socket>,
}

impl UnicastFilter {
    /// The socket, for the program that takes the place of this one: the addresses stay as long as it is open.
    pub fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Lets an interface take in frames to an Ethernet address, in the way that it has. A device that has no place for it
    /// takes in all.
    /// Errors: those of socket(2) and setsockopt(2), or why netlink refuses.
    pub fn add(&mut self, ifindex: u32, mac: [u8; 6], by: By) -> io::Result<()> {
        match by {
            By::Membership => {
                let socket = match &self.socket {
                    Some(socket) => socket,
                    None => self.socket.insert(Socket::new(Domain::PACKET, Type::RAW, None)?),
                };
                Ok(setsockopt(socket, AddMembership, &membership(ifindex, mac))?)
            }
            By::Bridge => fdb::add(ifindex, mac),
            By::None | By::Own | By::Every => Ok(()),
        }
    }

    /// Ends that. Where the interface is gone, so is the address.
    /// Errors: those of setsockopt(2), or why netlink refuses.
    pub fn remove(&self, ifindex: u32, mac: [u8; 6], by: By) -> io::Result<()> {
        match by {
            By::Membership => self.socket.as_ref().map_or(Ok(()), |socket| {
                Ok(setsockopt(socket, DropMembership, &membership(ifindex, mac))?)
            }),
            By::Bridge => fdb::remove(ifindex, mac).map(drop),
            By::None | By::Own | By::Every => Ok(()),
        }
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
