//! Sending: whole frames on a packet socket, unicast advertisements on a raw IP socket, and the
//! group memberships without which nothing would arrive.
//!
//! The packet socket goes through the queueing discipline: with `PACKET_QDISC_BYPASS` a frame passes
//! the taps as well, and tcpdump on the sender would no longer show its own advertisements.

use std::cell::OnceCell;
use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr, Priority, SndBufForce};
use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, sendmsg, setsockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};
use vrrp_common::IPPROTO_VRRP;
use vrrp_common::ah::IPPROTO_AH;

use crate::core::{BATCH, Frame, InterfaceId, Tag, TxQueue};
use crate::io::bpf::Senders;
use crate::io::netns;
use crate::io::packet_socket::{AF_PACKET, length_of};

/// Send buffer in bytes: a gratuitous ARP round of some thousand addresses.
const SEND_BUFFER: usize = 4 << 20;
/// Send buffer in bytes of the sockets for unicast, the most that the kernel takes (it doubles it, `sk_setsockopt` in
/// net/core/sock.c). What is sent to a peer that answers no ARP or neighbour solicitation waits in the kernel and counts
/// against the buffer; with the usual size, one dead peer would soon leave no room for the live ones. The bound on what
/// waits is the one that the kernel has for each neighbour (`unres_qlen_bytes`, 208 KiB by default), and after some
/// seconds without an answer it is thrown away.
const UNICAST_SEND_BUFFER: usize = (libc::c_int::MAX / 2) as usize;
/// `TC_PRIO_CONTROL` (linux/pkt_sched.h): first band of the default queueing discipline.
const PRIORITY_CONTROL: libc::c_int = 7;

/// The sending sockets.
pub struct Tx {
    packet: Socket,
    /// Opened when the first advertisement needs it: most hosts have no unicast.
    ip: OnceCell<Socket>,
    /// Likewise.
    ipv6: OnceCell<Socket>,
    /// Where the kernel side is told of sockets that are opened.
    senders: Option<Senders>,
    /// Whether they are in another network namespace than this process.
    is_other: bool,
}

impl Tx {
    /// Opens the sockets.
    /// Errors: `socket(2)` failed: CAP_NET_RAW is missing, or the kernel has no packet sockets.
    pub fn open() -> io::Result<Self> {
        // Protocol 0: sends only, never receives.
        let packet = Socket::new(Domain::PACKET, Type::RAW, None)?;
        prepare(&packet, SEND_BUFFER)?;
        let (ip, ipv6) = (OnceCell::new(), OnceCell::new());
        Ok(Self { packet, ip, ipv6, senders: None, is_other: false })
    }

    /// The same, called in another network namespace than that of this process, in which all of them are.
    /// Errors: the same.
    pub fn open_other() -> io::Result<Self> {
        let mut tx = Self::open()?;
        tx.is_other = true;
        Ok(tx)
    }

    /// The socket that there is in any case.
    pub fn packet(&self) -> &Socket {
        &self.packet
    }

    /// Tells the kernel side which sockets these are, and of those that are opened later as soon as they are.
    pub fn introduce(&mut self, senders: Option<Senders>) {
        self.senders = senders;
        for socket in [Some(&self.packet), self.ip.get(), self.ipv6.get()].into_iter().flatten() {
            self.introduce_one(socket);
        }
    }

    fn introduce_one(&self, socket: &Socket) {
        let Some(senders) = &self.senders else { return };
        // Every kernel that has BPF has numbers for sockets.
        if let Ok(cookie) = socket.cookie() {
            senders.add(cookie);
        }
    }

    /// One of those that are opened when they are needed.
    fn opened<'a>(
        &self,
        cell: &'a OnceCell<Socket>,
        open: fn() -> io::Result<Socket>,
    ) -> io::Result<&'a Socket> {
        if let Some(socket) = cell.get() {
            return Ok(socket);
        }
        let socket = if self.is_other { netns::beside(&self.packet, open)?? } else { open()? };
        self.introduce_one(&socket);
        Ok(cell.get_or_init(|| socket))
    }

    /// Sends what is queued from a place on, in order, as far as it is for one network namespace. What the kernel refuses is
    /// reported, by its place in the queue, and does not hold up the others. Returns the place of the first that is for another
    /// one, or the length of the queue.
    pub fn flush(
        &self,
        queue: &TxQueue,
        mut place: usize,
        mut refused: impl FnMut(usize, io::Error),
    ) -> usize {
        let namespace = queue.get(place).map(|first| first.iface.namespace);
        let is_here = |frame: &Frame<'_>| Some(frame.iface.namespace) == namespace;
        while let Some(next) = queue.get(place).filter(is_here) {
            if let Some(to) = next.to {
                if let Err(error) = self.send_ip(next.iface.ifindex, to, next.bytes) {
                    refused(place, error);
                }
                place += 1;
                continue;
            }
            let frames = (place..queue.len()).map_while(|place| queue.get(place));
            let batch = frames.take_while(|frame| frame.to.is_none() && is_here(frame));
            match self.send_batch(batch) {
                Ok(sent) => place += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    refused(place, error);
                    place += 1;
                }
            }
        }
        place
    }

    /// Sends one Ethernet frame out of an interface.
    /// Errors: `sendmmsg(2)` failed.
    pub fn send_frame(&self, ifindex: u32, bytes: &[u8]) -> io::Result<()> {
        loop {
            let frame =
                Frame { iface: InterfaceId::own(ifindex), to: None, bytes, tag: Tag::Announcement };
            match self.send_batch([frame].into_iter()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Number of frames sent; the error is that of the first frame.
    fn send_batch<'a>(&self, frames: impl Iterator<Item = Frame<'a>>) -> io::Result<usize> {
        let mut count = 0;
        // SAFETY: all-zero is a valid value of these C structures.
        let mut addresses: [libc::sockaddr_ll; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above; a null iov_base with length 0 is never used.
        let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for (i, Frame { iface, bytes: frame, .. }) in frames.take(BATCH).enumerate() {
            count += 1;
            addresses[i].sll_family = AF_PACKET;
            addresses[i].sll_ifindex = iface.ifindex.cast_signed();
            if let Some(ethertype) = frame.get(12..14) {
                // The kernel's taps and traffic control read the protocol from here.
                addresses[i].sll_protocol = u16::from_ne_bytes([ethertype[0], ethertype[1]]);
            }
            vectors[i].iov_base = frame.as_ptr().cast_mut().cast();
            vectors[i].iov_len = frame.len();
            messages[i].msg_hdr.msg_name = (&raw mut addresses[i]).cast();
            messages[i].msg_hdr.msg_namelen = length_of::<libc::sockaddr_ll>();
            messages[i].msg_hdr.msg_iov = &raw mut vectors[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: the first `count` messages point at addresses, vectors and bytes that live until the call returns, and
        // sendmmsg(2) only reads through them.
        let sent = unsafe {
            libc::sendmmsg(
                self.packet.as_raw_fd(),
                messages.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Sends an IP packet, header included, out of an interface; the route to the peer is the kernel's.
    /// Errors: `sendmsg(2)` failed, for instance without a route.
    pub fn send_ip(&self, ifindex: u32, destination: IpAddr, packet: &[u8]) -> io::Result<()> {
        match destination {
            IpAddr::V4(destination) => {
                let address = SockaddrIn::from(SocketAddrV4::new(destination, 0));
                let info = libc::in_pktinfo {
                    ipi_ifindex: ifindex.cast_signed(),
                    ipi_spec_dst: libc::in_addr { s_addr: 0 },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let socket = self.opened(&self.ip, Self::ipv4_socket)?;
                send(socket, &address, &ControlMessage::Ipv4PacketInfo(&info), packet)
            }
            IpAddr::V6(destination) => {
                // The scope counts for link-local addresses only, which mean nothing without (RFC 4007 section 6).
                let address = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, ifindex));
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: [0; 16] },
                    ipi6_ifindex: ifindex,
                };
                let socket = self.opened(&self.ipv6, Self::ipv6_socket)?;
                send(socket, &address, &ControlMessage::Ipv6PacketInfo(&info), packet)
            }
        }
    }

    fn ipv4_socket() -> io::Result<Socket> {
        // IPPROTO_RAW implies IP_HDRINCL (raw(7)).
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        prepare(&socket, UNICAST_SEND_BUFFER)?;
        // Or else what is dropped behind the IP layer seems to have left (`raw_send_hdrinc`, net/ipv4/raw.c). What ICMP
        // says is not queued here: it is about protocol 112, and this socket's is IPPROTO_RAW.
        setsockopt(&socket, Ipv4RecvErr, &true)?;
        Ok(socket)
    }

    fn ipv6_socket() -> io::Result<Socket> {
        // As with IPv4: `inet6_create`, net/ipv6/af_inet6.c.
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        prepare(&socket, UNICAST_SEND_BUFFER)?;
        setsockopt(&socket, Ipv6RecvErr, &true)?;
        Ok(socket)
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(senders) = &self.senders else { return };
        for socket in [Some(&self.packet), self.ip.get(), self.ipv6.get()].into_iter().flatten() {
            if let Ok(cookie) = socket.cookie() {
                senders.remove(cookie);
            }
        }
    }
}

/// Gives a socket its priority and its room.
fn prepare(socket: &Socket, buffer: usize) -> io::Result<()> {
    setsockopt(socket, Priority, &PRIORITY_CONTROL)?;
    // Needs CAP_NET_ADMIN; without it the default does.
    let _ = setsockopt(socket, SndBufForce, &buffer);
    Ok(())
}

/// Sends one packet from a raw socket.
fn send(
    socket: &Socket,
    address: &impl SockaddrLike,
    control: &ControlMessage<'_>,
    packet: &[u8],
) -> io::Result<()> {
    loop {
        let sent = sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(packet)],
            std::slice::from_ref(control),
            MsgFlags::MSG_DONTWAIT,
            Some(address),
        );
        match sent {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn join(socket: &Socket, ifindex: u32, group: IpAddr) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &on(ifindex)),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, ifindex),
    }
}

fn on(ifindex: u32) -> InterfaceIndexOrAddress {
    InterfaceIndexOrAddress::Index(ifindex)
}

/// Membership of the VRRP group, and of others where routers have others, on every interface in use.
///
/// The sockets are never read: a filter drops everything. They are there so that NIC and switch pass
/// the groups on, and so that the kernel does not answer unicast advertisements with ICMP protocol
/// unreachable.
pub struct Memberships {
    sockets: Vec<Socket>,
    sockets6: Vec<Socket>,
    /// Of IP protocol 51.
    ah: Option<Socket>,
    /// Interface, group, and which of the sockets of that family it is.
    joined: Vec<(u32, IpAddr, usize)>,
}

impl Memberships {
    /// Opens the first socket, which holds protocol 112 even if no group is joined.
    /// Errors: `socket(2)` failed.
    pub fn open() -> io::Result<Self> {
        let sockets = vec![Self::socket(Domain::IPV4, IPPROTO_VRRP)?];
        Ok(Self { sockets, sockets6: Vec::new(), ah: None, joined: Vec::new() })
    }

    /// Holds protocol 51 from now on as [`Self::open`] holds 112: a router has an authentication header.
    /// Errors: `socket(2)` failed.
    pub fn hold_ah(&mut self) -> io::Result<()> {
        if self.ah.is_none() {
            self.ah = Some(Self::socket(Domain::IPV4, IPPROTO_AH)?);
        }
        Ok(())
    }

    /// Joins a group on an interface; nothing happens when it is joined already.
    /// Errors: `socket(2)`, or `IP_ADD_MEMBERSHIP` or `IPV6_JOIN_GROUP` on a fresh socket, failed: IPv6 is disabled.
    pub fn join(&mut self, ifindex: u32, group: IpAddr) -> io::Result<()> {
        if self.joined.iter().any(|(at, joined, _)| (*at, *joined) == (ifindex, group)) {
            return Ok(());
        }
        let (sockets, domain) = match group {
            IpAddr::V4(_) => (&mut self.sockets, Domain::IPV4),
            IpAddr::V6(_) => (&mut self.sockets6, Domain::IPV6),
        };
        if let Some(socket) = sockets.last() {
            match join(socket, ifindex, group) {
                Ok(()) => {
                    self.joined.push((ifindex, group, sockets.len() - 1));
                    return Ok(());
                }
                // net.ipv4.igmp_max_memberships and net.core.optmem_max are limits per socket: open another one
                // (`sock_kmalloc`, net/core/sock.c).
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM)) => {}
                Err(error) => return Err(error),
            }
        }
        let fresh = Self::socket(domain, IPPROTO_VRRP)?;
        join(&fresh, ifindex, group)?;
        self.joined.push((ifindex, group, sockets.len()));
        sockets.push(fresh);
        Ok(())
    }

    /// Leaves the groups on an interface that are not wanted. When the interface is gone, the kernel has dropped the
    /// memberships with it, but keeps their places in the socket's list until told.
    pub fn leave(&mut self, ifindex: u32, wanted: impl Fn(IpAddr) -> bool) {
        let gone = self.joined.extract_if(.., |(at, group, _)| *at == ifindex && !wanted(*group));
        for (_, group, socket) in gone {
            let _ = match group {
                IpAddr::V4(v4) => self.sockets[socket].leave_multicast_v4_n(&v4, &on(ifindex)),
                IpAddr::V6(v6) => self.sockets6[socket].leave_multicast_v6(&v6, ifindex),
            };
        }
    }

    /// The sockets, for the program that takes the place of this one: the groups stay joined as long as they are open.
    pub fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().chain(&self.sockets6)
    }

    fn socket(domain: Domain, protocol: u8) -> io::Result<Socket> {
        let protocol = Protocol::from(libc::c_int::from(protocol));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        // BPF_RET | BPF_K with 0 bytes: drop everything (linux/filter.h).
        socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
        Ok(socket)
    }
}
