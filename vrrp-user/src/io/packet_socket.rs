//! What packet sockets that receive have in common (packet(7)).

use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{getsockopt, setsockopt};
use nix::{getsockopt_impl, sockopt_impl};
use socket2::{Domain, SockFilter, Socket, Type};
use vrrp_common::MAX_VRRP_LEN;
use vrrp_common::parse::MAX_EXTENSIONS;

/// Bytes that are kept of a packet: the longest advertisement is shorter, with the longest headers that are followed.
pub const SNAP_LEN: usize = 16_384;
const _: () = assert!(SNAP_LEN > 22 + 40 + 2048 * MAX_EXTENSIONS + MAX_VRRP_LEN);
/// Receive buffer in bytes: some seconds of 5,000 advertisements a second.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Address family of packet sockets (17), in the type that their address has for it.
#[allow(clippy::cast_possible_truncation, reason = "17")]
pub const AF_PACKET: libc::sa_family_t = libc::AF_PACKET as libc::sa_family_t;
/// Every protocol, in network order as the socket wants it.
#[allow(clippy::cast_possible_truncation, reason = "3")]
const ETH_P_ALL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// A socket that does not block and stamps what it receives, which is nothing before [`bind`]. `filter` is a program of
/// linux/filter.h, each instruction as code, jumps when true and when false, and constant.
/// Errors: those of socket(2) (CAP_NET_RAW) and setsockopt(2).
pub fn open<const N: usize>(kind: Type, filter: [(u16, u8, u8, u32); N]) -> io::Result<Socket> {
    // Protocol 0: nothing arrives before the filter is there.
    let socket = Socket::new(Domain::PACKET, kind, None)?;
    socket.set_nonblocking(true)?;
    // Needs CAP_NET_ADMIN; without it the default does.
    let _ = setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER);
    setsockopt(&socket, ReceiveTimestampns, &true).map_err(io::Error::from)?;
    socket.attach_filter(&filter.map(|(code, jt, jf, k)| SockFilter::new(code, jt, jf, k)))?;
    Ok(socket)
}

/// From now on, the kernel hands it what passes on an interface, or on all of them (0).
/// Errors: those of bind(2).
pub fn bind(socket: &Socket, ifindex: u32) -> io::Result<()> {
    // SAFETY: all-zero is a valid value of this C structure.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = AF_PACKET;
    address.sll_protocol = ETH_P_ALL;
    address.sll_ifindex = ifindex.cast_signed();
    // SAFETY: the pointer is to a live `sockaddr_ll`, and the length is its size.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Packets that the kernel had no room for since the last call; 0 if it does not tell.
pub fn dropped(socket: &Socket) -> u32 {
    getsockopt(socket, Statistics).map_or(0, |statistics| statistics.tp_drops)
}

sockopt_impl!(
    /// What the socket has received and dropped. Asking sets it back to zero.
    Statistics,
    GetOnly,
    libc::SOL_PACKET,
    libc::PACKET_STATISTICS,
    libc::tpacket_stats
);

/// Bytes of a C structure, in the type that system calls have for it.
#[allow(clippy::cast_possible_truncation, reason = "structures of a few bytes")]
pub const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

#[cfg(test)]
pub mod filtering {
    //! Socket filters without a socket.

    /// Whether a filter keeps a packet about which the kernel knows this, by the address at which the filter asks for it.
    /// What it reads past the end ends it: `None`.
    pub fn keeps(
        program: &[(u16, u8, u8, u32)],
        ancillary: &[(u32, u32)],
        data: &[u8],
    ) -> Option<bool> {
        let (mut at, mut a, mut x) = (0, 0_u32, 0_u32);
        loop {
            let (code, jt, jf, k) = program[at];
            at += 1;
            let load = |length: usize| {
                let start = usize::try_from(k).unwrap();
                let bytes = data.get(start..start + length)?;
                Some(bytes.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)))
            };
            let known = ancillary.iter().find(|(address, _)| *address == k);
            match (code, known) {
                (0x20, Some((_, value))) => a = *value,
                (0x20, None) => a = load(4)?,
                (0x28, _) => a = load(2)?,
                (0x30, _) => a = load(1)?,
                // Words of a header, and a byte so far behind.
                (0xb1, _) => x = (load(1)? & 0x0f) * 4,
                (0x50, _) => {
                    let behind = usize::try_from(k + x).unwrap();
                    a = (*data.get(behind)?).into();
                }
                (0x15, _) => at += usize::from(if a == k { jt } else { jf }),
                (0x1d, _) => at += usize::from(if a == x { jt } else { jf }),
                (0x45, _) => at += usize::from(if a & k != 0 { jt } else { jf }),
                (0x07, _) => x = a,
                (0x06, _) => return Some(k != 0),
                (code, _) => panic!("unknown instruction {code:#x}"),
            }
        }
    }
}
