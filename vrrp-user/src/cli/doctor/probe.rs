//! What `doctor` sends, and how it hears the answers. Blocking: nothing else runs in that process.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{LinkAddr, recvfrom, setsockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::core::{InterfaceId, Tag, TxQueue};
use crate::io::tx::Tx;
use crate::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV6, Mac};
use crate::wire::family::Family;
use crate::wire::ndisc::{self, IPPROTO_ICMPV6};
use crate::wire::{arp, checksum, frame, ipv4, ipv6};

/// Questions sent before answers are read.
const BURST: usize = 32;
/// Pause after a burst, in which answers are read.
const BREATH: Duration = Duration::from_millis(10);
/// Receive buffer for the answers in bytes.
const RECEIVE_BUFFER: usize = 8 << 20;
/// ICMP echo (RFC 792).
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// ICMPv6 echo (RFC 4443 section 4).
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Rounds of echo requests, as one may be lost.
const ECHOES: u16 = 3;
/// Time for an answer to one of them.
const ECHO_PATIENCE: Duration = Duration::from_millis(400);
/// Time for answers to ARP and neighbour solicitations.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A question for an Ethernet address.
pub struct Question {
    ifindex: u32,
    /// Of the interface that asks.
    mac: Mac,
    frame: Box<[u8]>,
}

impl Question {
    /// Who has an address, asked without a claim to it: an ARP probe (RFC 5227) or [`ndisc::probe_frame`].
    pub fn who_has(ifindex: u32, mac: Mac, address: IpAddr, link_local: Option<Ipv6Addr>) -> Self {
        let frame = match address {
            IpAddr::V4(address) => frame::arp_frame(&arp::Repr::probe(mac, address)).into(),
            IpAddr::V6(address) => ndisc::probe_frame(mac, link_local, address),
        };
        Self { ifindex, mac, frame }
    }

    /// Where a neighbour is, asked from an address that is here. `None` when they differ in family.
    pub fn from(ifindex: u32, mac: Mac, source: IpAddr, neighbour: IpAddr) -> Option<Self> {
        let frame = match (source, neighbour) {
            (IpAddr::V4(source), IpAddr::V4(neighbour)) => {
                frame::arp_frame(&arp::Repr::request(mac, source, neighbour)).into()
            }
            (IpAddr::V6(source), IpAddr::V6(neighbour)) => {
                ndisc::solicitation_frame(mac, source, neighbour)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        Some(Self { ifindex, mac, frame })
    }
}

/// That somebody says that an address is his.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where it was heard.
    pub ifindex: u32,
    pub address: IpAddr,
    pub mac: Mac,
    /// Whom it answers; `None` when it is no answer.
    pub to: Option<IpAddr>,
}

impl Claim {
    fn read(ifindex: u32, frame: &[u8]) -> Option<Self> {
        let (ethernet, packet) = ethernet::Repr::parse(frame).ok()?;
        if ethernet.ethertype == ETHERTYPE_ARP {
            let message = arp::Repr::parse(packet).ok()?;
            let to =
                (message.operation == arp::Operation::Reply).then_some(message.target_ip.into());
            let (address, mac) = (message.sender_ip.into(), message.sender_mac);
            return Some(Self { ifindex, address, mac, to });
        }
        let (header, message) = ipv6::Repr::parse(packet).ok()?;
        let (source, destination) = (header.source, header.destination);
        // With its own checksum in it, the sum is that of nothing.
        let damaged = ipv6::upper_layer_checksum(source, destination, IPPROTO_ICMPV6, message) != 0;
        if header.next_header != IPPROTO_ICMPV6 || header.hop_limit != ndisc::HOP_LIMIT || damaged {
            return None;
        }
        match ndisc::Repr::parse(message).ok()? {
            ndisc::Repr::Advertisement { target, target_mac, .. } => Some(Self {
                ifindex,
                address: target.into(),
                mac: target_mac.unwrap_or(ethernet.source),
                to: Some(destination.into()),
            }),
            ndisc::Repr::Solicitation { .. } => None,
        }
    }
}

/// Asks by ARP or by neighbour solicitations, on any interface.
pub struct Neighbours {
    tx: Tx,
    listener: Socket,
}

impl Neighbours {
    /// Opens the sockets.
    /// Errors: `socket(2)` failed: CAP_NET_RAW is missing.
    pub fn open(family: Family) -> io::Result<Self> {
        let ethertype = match family {
            Family::V4 => ETHERTYPE_ARP,
            Family::V6 => ETHERTYPE_IPV6,
        };
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let listener = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        match family {
            Family::V4 => {}
            // What came before is left out when it is read.
            Family::V6 => listener.attach_filter(&advertisements())?,
        }
        // Needs CAP_NET_ADMIN; without it the default does, but may lose answers of thousands.
        let _ = setsockopt(&listener, RcvBufForce, &RECEIVE_BUFFER);
        Ok(Self { tx: Tx::open()?, listener })
    }

    /// Sends these questions and returns the claims that are then heard until shortly after the last one, those of
    /// the interfaces that ask left out.
    /// Errors: Of the first question that cannot be sent, or of receiving.
    pub fn ask(&self, questions: &[Question]) -> io::Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for burst in questions.chunks(BURST) {
            let mut queue = TxQueue::default();
            for question in burst {
                queue.push(InterfaceId::own(question.ifindex), &question.frame, Tag::Announcement);
            }
            let mut failed = None;
            self.tx.flush(&queue, 0, |_, error| failed = failed.take().or(Some(error)));
            if let Some(error) = failed {
                return Err(error);
            }
            self.listen(BREATH, &mut claims)?;
        }
        self.listen(PATIENCE, &mut claims)?;
        claims.retain(|claim| {
            !questions.iter().any(|q| (q.ifindex, q.mac) == (claim.ifindex, claim.mac))
        });
        Ok(claims)
    }

    fn listen(&self, duration: Duration, claims: &mut Vec<Claim>) -> io::Result<()> {
        let end = Instant::now() + duration;
        let mut bytes = [0; 256];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.listener.set_read_timeout(Some(left))?;
            let (len, from) = match recvfrom::<LinkAddr>(self.listener.as_raw_fd(), &mut bytes) {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let ifindex = from.and_then(|from| u32::try_from(from.ifindex()).ok()).unwrap_or(0);
            claims.extend(Claim::read(ifindex, &bytes[..len.min(bytes.len())]));
        }
    }
}

/// The socket filter (linux/filter.h) for neighbour advertisements in Ethernet frames: all IPv6 of a busy host would
/// push them out.
fn advertisements() -> [SockFilter; 6] {
    /// `BPF_LD | BPF_B | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K`.
    const BYTE: u16 = 0x30;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(BYTE, 0, 0, 14 + 6),
        SockFilter::new(EQUAL, 0, 3, IPPROTO_ICMPV6.into()),
        SockFilter::new(BYTE, 0, 0, 14 + 40),
        SockFilter::new(EQUAL, 0, 1, ndisc::ADVERTISEMENT.into()),
        SockFilter::new(RETURN, 0, 0, 0xffff),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Whether a host answers ICMP or ICMPv6 echo requests that are sent from an address of ours by an interface.
/// Errors: `socket(2)`, or the address is not ours.
pub fn echo(interface: &str, ifindex: u32, from: IpAddr, to: IpAddr) -> io::Result<bool> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => echo4(interface, from, to),
        (IpAddr::V6(from), IpAddr::V6(to)) => echo6(interface, ifindex, from, to),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

/// What tells the answers to one source from those to another: until it is bound, a socket is handed both.
fn identifier() -> [u8; 2] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [a, b, ..] = std::process::id().to_le_bytes();
    let first = u16::from_be_bytes([a, b]);
    first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

fn echo4(interface: &str, from: Ipv4Addr, to: Ipv4Addr) -> io::Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    let [a, b] = identifier();
    echoes(
        &socket,
        |sequence| {
            let [high, low] = sequence.to_be_bytes();
            let mut message = [ECHO_REQUEST, 0, 0, 0, a, b, high, low];
            let sum = checksum::internet(&[&message]).to_be_bytes();
            message[2..4].copy_from_slice(&sum);
            socket.send_to(&message, &SocketAddrV4::new(to, 0).into())
        },
        |packet| {
            matches!(ipv4::Repr::parse(packet), Ok((header, [ECHO_REPLY, 0, _, _, c, d, ..]))
            if header.source == to && [c, d] == [&a, &b])
        },
    )
}

fn echo6(interface: &str, ifindex: u32, from: Ipv6Addr, to: Ipv6Addr) -> io::Result<bool> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let scope = |address: Ipv6Addr| if address.is_unicast_link_local() { ifindex } else { 0 };
    socket.bind(&SocketAddrV6::new(from, 0, 0, scope(from)).into())?;
    let [a, b] = identifier();
    // Nothing but what comes from there is received then, without its IPv6 header; and the kernel fills in the
    // checksum (RFC 3542 section 3.1).
    match socket.connect(&SocketAddrV6::new(to, 0, 0, scope(to)).into()) {
        Ok(()) => {}
        Err(error) if is_silence(&error) => return Ok(false),
        Err(error) => return Err(error),
    }
    echoes(
        &socket,
        |sequence| {
            let [high, low] = sequence.to_be_bytes();
            (&socket).write(&[ECHO_REQUEST_V6, 0, 0, 0, a, b, high, low])
        },
        |message| matches!(message, [ECHO_REPLY_V6, 0, _, _, c, d, ..] if [c, d] == [&a, &b]),
    )
}

/// What a filter on this host says, and what is not resolved yet: no answer, either.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EHOSTUNREACH | libc::EACCES))
}

/// What an ICMPv6 error about a request becomes on a connected socket (`icmpv6_err_convert`, net/ipv6/icmp.c).
fn is_refusal(error: &io::Error) -> bool {
    is_silence(error)
        || matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::ECONNREFUSED))
}

/// Sends some requests until one of them is answered.
fn echoes(
    socket: &Socket,
    send: impl Fn(u16) -> io::Result<usize>,
    is_answer: impl Fn(&[u8]) -> bool,
) -> io::Result<bool> {
    for sequence in 0..ECHOES {
        match send(sequence) {
            Ok(_) => {}
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
        let end = Instant::now() + ECHO_PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            let mut packet = [0; 256];
            let len = match (&mut &*socket).read(&mut packet) {
                Ok(len) => len,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) || is_refusal(&error) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if is_answer(&packet[..len]) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_an_identifier_of_its_own() {
        let all: std::collections::HashSet<_> = (0..1000).map(|_| identifier()).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn claims_are_read_and_nonsense_is_not() {
        let (mac, other) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let vip: Ipv6Addr = "2001:db8::100".parse().unwrap();
        let frame = ndisc::unsolicited_frame(other, vip, false);
        let claim = Claim {
            ifindex: 3,
            address: vip.into(),
            mac: other,
            to: Some(ndisc::ALL_NODES.into()),
        };
        assert_eq!(Claim::read(3, &frame), Some(claim));
        for bit in 14 * 8..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Traffic class and flow label are under no checksum.
            let free = (14 * 8..18 * 8).contains(&bit);
            assert!(free || Claim::read(3, &damaged).is_none(), "bit {bit}");
        }
        // A question claims nothing.
        let own = "fe80::1".parse().unwrap();
        assert_eq!(Claim::read(3, &ndisc::solicitation_frame(mac, own, vip)), None);
        let arp = frame::arp_frame(&arp::Repr::gratuitous(other, [10, 0, 0, 100].into()));
        let claim = Claim { ifindex: 3, address: [10, 0, 0, 100].into(), mac: other, to: None };
        assert_eq!(Claim::read(3, &arp), Some(claim));
        assert_eq!(Claim::read(3, &arp[..20]), None);
    }
}
