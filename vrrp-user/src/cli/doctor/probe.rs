//! What `doctor` sends, and how it hears the answers. Blocking: nothing else runs in that process.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{LinkAddr, recvfrom, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::io::tx::{Queue, Tx};
use crate::wire::ethernet::{self, ETHERTYPE_ARP};
use crate::wire::{arp, checksum, frame, ipv4};

/// Questions sent before answers are read.
const BURST: usize = 32;
/// Pause after a burst, in which answers are read.
const BREATH: Duration = Duration::from_millis(10);
/// Receive buffer for the answers in octets.
const RECEIVE_BUFFER: usize = 8 << 20;
/// ICMP echo (RFC 792).
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// Rounds of echo requests, as one may be lost.
const ECHOES: u16 = 3;
/// Time for an answer to one of them.
const ECHO_PATIENCE: Duration = Duration::from_millis(400);
/// Time for answers to ARP.
pub const ARP_PATIENCE: Duration = Duration::from_secs(1);

/// Asks by ARP, on any interface.
pub struct Arp {
    tx: Tx,
    listener: Socket,
}

impl Arp {
    /// Opens the sockets.
    ///
    /// # Errors
    /// `socket(2)` failed: CAP_NET_RAW is missing.
    pub fn open() -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(ETHERTYPE_ARP.to_be()));
        let listener = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        // Needs CAP_NET_ADMIN; without it the default does, but may lose answers of thousands.
        let _ = setsockopt(&listener, RcvBufForce, &RECEIVE_BUFFER);
        Ok(Self { tx: Tx::open()?, listener })
    }

    /// Sends these questions on these interfaces and returns the ARP that is then heard there until shortly after
    /// the last one, ours left out.
    ///
    /// # Errors
    /// Of the first question that can not be sent, or of receiving.
    pub fn ask(&self, questions: &[(u32, arp::Repr)]) -> io::Result<Vec<(u32, arp::Repr)>> {
        let mut heard = Vec::new();
        for burst in questions.chunks(BURST) {
            let mut queue = Queue::default();
            for (ifindex, question) in burst {
                queue.push(*ifindex, &frame::arp_frame(question), 0);
            }
            let mut failed = None;
            self.tx.flush(&mut queue, |_, error| failed = failed.take().or(Some(error)));
            if let Some(error) = failed {
                return Err(error);
            }
            self.listen(BREATH, &mut heard)?;
        }
        self.listen(ARP_PATIENCE, &mut heard)?;
        heard.retain(|(ifindex, message)| {
            !questions.iter().any(|(on, q)| on == ifindex && q.sender_mac == message.sender_mac)
        });
        Ok(heard)
    }

    fn listen(&self, span: Duration, heard: &mut Vec<(u32, arp::Repr)>) -> io::Result<()> {
        let end = Instant::now() + span;
        let mut octets = [0; 128];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.listener.set_read_timeout(Some(left))?;
            let (len, from) = match recvfrom::<LinkAddr>(self.listener.as_raw_fd(), &mut octets) {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let Ok((_, message)) = ethernet::Repr::parse(&octets[..len.min(octets.len())]) else {
                continue;
            };
            if let (Some(from), Ok(message)) = (from, arp::Repr::parse(message)) {
                heard.push((u32::try_from(from.ifindex()).unwrap_or(0), message));
            }
        }
    }
}

/// Whether a host answers ICMP echo requests that are sent from an address of ours by an interface.
///
/// # Errors
/// `socket(2)`, or the address is not ours.
pub fn echo(interface: &str, from: Ipv4Addr, to: Ipv4Addr) -> io::Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    let [a, b, ..] = std::process::id().to_le_bytes();
    for sequence in 0..ECHOES {
        let [high, low] = sequence.to_be_bytes();
        let mut message = [ECHO_REQUEST, 0, 0, 0, a, b, high, low];
        let sum = checksum::internet(&[&message]).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        match socket.send_to(&message, &SocketAddrV4::new(to, 0).into()) {
            Ok(_) => {}
            // What a filter on this host says, and what is not resolved yet: no answer, either.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) if error.raw_os_error() == Some(libc::EHOSTUNREACH) => {}
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
            let len = match (&socket).read(&mut packet) {
                Ok(len) => len,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Ok((header, [ECHO_REPLY, 0, _, _, c, d, ..])) = ipv4::Repr::parse(&packet[..len])
                && header.source == to
                && [c, d] == [&a, &b]
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
