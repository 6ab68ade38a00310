//! Advertisements by a packet socket (packet(7)), where neither XDP nor tc is available: one socket for all such
//! interfaces.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, RecvMsg, recvmsg};
use nix::time::{ClockId, clock_gettime};
use socket2::{Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vrrp_common::IPPROTO_VRRP;
use vrrp_common::ah::IPPROTO_AH;
use vrrp_common::parse::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP};

use crate::engine::time::Nanos;
use crate::io::packet_socket::{self, SNAP_LEN};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// Room for the time stamp, with its header.
const CONTROL_WORDS: usize = 8;

/// The socket.
pub struct RawSocket {
    socket: AsyncFd<Socket>,
    buffer: Box<[u8; SNAP_LEN]>,
    /// When nothing was left to read: what is read now arrived later.
    empty_at: Nanos,
}

/// A frame.
#[derive(Debug)]
pub struct Received<'a> {
    /// Arrival.
    pub at: Nanos,
    /// Interface.
    pub ifindex: u32,
    /// It is for another host.
    pub for_other_host: bool,
    /// From the Ethernet header on, as far as it is kept.
    pub frame: &'a [u8],
}

impl RawSocket {
    /// A socket to which the kernel hands what arrives on any interface from `now` on. Within a tokio runtime, which must
    /// have I/O enabled.
    /// Errors: those of socket(2) (CAP_NET_RAW), setsockopt(2) and bind(2).
    pub fn open(now: Nanos) -> io::Result<Self> {
        let socket = packet_socket::open(Type::RAW, filter())?;
        packet_socket::bind(&socket, 0)?;
        // SAFETY: the socket owns its descriptor and returns the same one until it is dropped, and the `AsyncFd` drops it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, buffer: Box::new([0; SNAP_LEN]), empty_at: now })
    }

    /// Whether there is something to [`Self::receive`]; wakes when there is.
    /// Errors: those of epoll.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read_ready(cx).map_ok(|mut ready| ready.clear_ready())
    }

    /// The next frame; `None` when there is none.
    /// Errors: recvmsg(2) failed; an interface that went down is no error.
    pub fn receive(&mut self, now: Nanos) -> io::Result<Option<Received<'_>>> {
        // Of words, so that it is aligned for `struct cmsghdr`.
        let mut control = [0_u64; CONTROL_WORDS];
        let socket = self.socket.get_ref().as_raw_fd();
        let (from, stamp, read) = loop {
            let mut vector = [IoSliceMut::new(&mut self.buffer[..])];
            let control = bytemuck::cast_slice_mut(&mut control);
            match recvmsg::<LinkAddr>(socket, &mut vector, Some(control), MsgFlags::empty()) {
                Ok(message) => break (message.address, stamp(&message), message.bytes),
                Err(Errno::EAGAIN) => {
                    self.empty_at = now;
                    return Ok(None);
                }
                // Told once per interface that goes down; the socket goes on with the others.
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let from = from.as_ref().map(LinkAddr::as_ref);
        Ok(Some(Received {
            at: arrival(stamp, realtime(), now, self.empty_at),
            ifindex: from.map_or(0, |from| from.sll_ifindex.cast_unsigned()),
            for_other_host: from.is_some_and(|from| from.sll_pkttype == libc::PACKET_OTHERHOST),
            frame: &self.buffer[..read],
        }))
    }

    /// Frames that the kernel had no room for since the last call.
    pub fn dropped(&self) -> u32 {
        packet_socket::dropped(self.socket.get_ref())
    }
}

/// When a frame arrived, by the clock of the engine. Its stamp is of `CLOCK_REALTIME`, which may have been set since: so
/// it counts only between the moment at which nothing was left to read and now.
fn arrival(stamp: Option<i64>, realtime: i64, now: Nanos, empty_at: Nanos) -> Nanos {
    let age = stamp.map_or(0, |stamp| realtime.saturating_sub(stamp)).max(0);
    Nanos(now.0.saturating_sub(age.unsigned_abs())).max(empty_at).min(now)
}

/// `CLOCK_REALTIME`, nanoseconds.
fn realtime() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_REALTIME);
    time.map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// The time stamp in a message.
fn stamp<A>(message: &RecvMsg<'_, '_, A>) -> Option<i64> {
    message.cmsgs().ok()?.find_map(|control| {
        let ControlMessageOwned::ScmTimestampns(time) = control else { return None };
        Some(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
    })
}

/// The socket filter (linux/filter.h): IP protocol 112 of both families, and of IPv4 protocol 51 with 112 in it, but what leaves and what has a tag with a VLAN
/// ID, which belongs to the VLAN device. The kernel has taken the outermost tag out of the frame in any case
/// (`skb_vlan_untag`). Of IPv6 also what has such an extension header first as may stand before it
/// ([`vrrp_common::parse::chain`]), and then it or another one: neither fragments of other traffic nor MLD.
///
/// Each instruction as code, jumps when true and when false, and constant.
fn filter() -> [(u16, u8, u8, u32); 24] {
    /// `BPF_LD | BPF_W | BPF_ABS`, `BPF_H`, `BPF_B`.
    const WORD: u16 = 0x20;
    const HALF: u16 = 0x28;
    const BYTE: u16 = 0x30;
    /// `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_JSET`; `BPF_RET | BPF_K`.
    const EQUAL: u16 = 0x15;
    const ANY: u16 = 0x45;
    const RETURN: u16 = 0x06;
    /// `BPF_LDX | BPF_B | BPF_MSH`, `BPF_LD | BPF_B | BPF_IND`.
    const HEADER_LEN: u16 = 0xb1;
    const BYTE_BEHIND: u16 = 0x50;
    /// `SKF_AD_OFF + SKF_AD_PKTTYPE`, `SKF_AD_VLAN_TAG`.
    const PACKET_TYPE: u32 = 0xffff_f004;
    const VLAN_TAG: u32 = 0xffff_f02c;
    [
        (WORD, 0, 0, PACKET_TYPE),
        (EQUAL, 21, 0, u32::from(libc::PACKET_OUTGOING)),
        (WORD, 0, 0, VLAN_TAG),
        (ANY, 19, 0, 0x0fff),
        (HALF, 0, 0, 12),
        (EQUAL, 1, 0, u32::from(ETHERTYPE_IPV4)),
        (EQUAL, 6, 16, u32::from(ETHERTYPE_IPV6)),
        (BYTE, 0, 0, 14 + 9),
        (EQUAL, 13, 0, u32::from(IPPROTO_VRRP)),
        (EQUAL, 0, 13, u32::from(IPPROTO_AH)),
        // Bytes of the IP header, and the first byte behind it.
        (HEADER_LEN, 0, 0, 14),
        (BYTE_BEHIND, 0, 0, 14),
        (EQUAL, 9, 10, u32::from(IPPROTO_VRRP)),
        (BYTE, 0, 0, 14 + 6),
        (EQUAL, 7, 0, u32::from(IPPROTO_VRRP)),
        (EQUAL, 2, 0, u32::from(HOP_BY_HOP)),
        (EQUAL, 1, 0, u32::from(FRAGMENT)),
        (EQUAL, 0, 5, u32::from(DESTINATION_OPTIONS)),
        (BYTE, 0, 0, 14 + 40),
        (EQUAL, 2, 0, u32::from(IPPROTO_VRRP)),
        (EQUAL, 1, 0, u32::from(FRAGMENT)),
        (EQUAL, 0, 1, u32::from(DESTINATION_OPTIONS)),
        (RETURN, 0, 0, 0xffff),
        (RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrrp_common::parse;

    use super::*;
    use crate::io::packet_socket::filtering;

    #[test]
    fn stamps_count_as_far_as_they_can_be_true() {
        const SECOND: i64 = 1_000_000_000;
        let (now, empty_at) = (Nanos::from_secs(100), Nanos::from_secs(90));
        let at = |stamp| arrival(stamp, 1_000 * SECOND, now, empty_at).0 / 1_000_000_000;
        assert_eq!(at(Some(997 * SECOND)), 97);
        // The clock was set forward or back since, or there is no stamp.
        assert_eq!(at(Some(5 * SECOND)), 90);
        assert_eq!(at(Some(2_000 * SECOND)), 100);
        assert_eq!(at(Some(i64::MIN)), 90);
        assert_eq!(at(None), 100);
    }

    /// Of a packet of this kind with such a tag beside it.
    fn keeps(kind: u8, tag: u16, frame: &[u8]) -> bool {
        let ancillary = [(0xffff_f004, kind.into()), (0xffff_f02c, tag.into())];
        filtering::keeps(&filter(), &ancillary, frame) == Some(true)
    }

    #[test]
    fn nothing_but_vrrp_wakes_the_daemon() {
        let mut frame = [0; 90];
        let mut is_kept = |ethertype: u16, chain: [u8; 2]| {
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            (frame[20], frame[23], frame[54]) = (chain[0], chain[0], chain[1]);
            assert!(!keeps(libc::PACKET_OUTGOING, 0, &frame));
            assert!(!keeps(0, 7, &frame));
            assert_eq!(keeps(0, 0x8000, &frame), keeps(0, 0, &frame));
            keeps(0, 0, &frame)
        };
        assert!(is_kept(0x0800, [112, 0]) && is_kept(0x86dd, [112, 0]));
        assert!(!is_kept(0x0806, [112, 0]) && !is_kept(0x0800, [60, 112]));
        // Not what else has an authentication header.
        assert!(!is_kept(0x0800, [51, 112]));
        for first in [0, 44, 60] {
            assert!(is_kept(0x86dd, [first, 112]), "{first}");
            // MLD, and parts of datagrams.
            assert!(!is_kept(0x86dd, [first, 58]) && !is_kept(0x86dd, [first, 17]), "{first}");
        }
        assert!(!is_kept(0x86dd, [43, 112]) && !is_kept(0x86dd, [51, 112]));
    }

    #[test]
    fn what_is_behind_an_authentication_header_counts() {
        let mut frame = [0; 90];
        (frame[12], frame[13], frame[23]) = (0x08, 0x00, 51);
        for (first, behind) in [(0x45, 34), (0x46, 38), (0x4f, 74)] {
            frame[14] = first;
            frame[34..].fill(6);
            assert!(!keeps(0, 0, &frame));
            frame[behind] = IPPROTO_VRRP;
            assert!(keeps(0, 0, &frame), "{first:x}");
        }
    }

    proptest! {
        /// What the checks would look at is not filtered out.
        #[test]
        fn the_filter_keeps_what_is_checked(
            mut data in proptest::collection::vec(any::<u8>(), 63..100),
            chain in proptest::array::uniform3(prop::sample::select(vec![112_u8, 0, 44, 60, 6])),
        ) {
            data[12..14].copy_from_slice(&[0x86, 0xdd]);
            (data[20], data[54], data[62]) = chain.into();
            data[55] = 0;
            if parse::ipv6_vrrp(&&data[..]).is_some() {
                prop_assert!(keeps(0, 0, &data));
            }
        }
    }
}
