//! Looking at what passes: a packet socket (packet(7)) that sees protocol 112 and gratuitous ARP on one or on
//! all interfaces, both ways.
//!
//! It reads from the network header on (`SOCK_DGRAM`), so that the type of the link does not matter. Plain
//! recvmsg(2) keeps up: a master of 4,080 routers is as many packets per second, see docs/observing.md.

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::net::if_::{if_nameindex, if_nametoindex};
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, RecvMsg, recvmsg, setsockopt};
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Socket, Type};

use vrrp_common::IPPROTO_VRRP;
use vrrp_common::ah::IPPROTO_AH;
use vrrp_common::parse::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP};

use crate::io::packet_socket::{self, SNAP_LEN};
use crate::wire::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, VRRP_MULTICAST,
    VRRP_MULTICAST_V6,
};
use crate::wire::ndisc::{self, IPPROTO_ICMPV6};

/// Room for control messages: a time stamp and a `struct tpacket_auxdata`, with their headers.
const CONTROL_WORDS: usize = 16;

/// The socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The interface is not there.
    #[error("no interface `{0}` in this network namespace; `ip link` lists them")]
    NoInterface(String),
    /// CAP_NET_RAW is missing.
    #[error("not permitted to capture packets: run as root, or with sudo (CAP_NET_RAW)")]
    Permission,
    /// Something else.
    #[error("cannot capture packets: {0}")]
    Socket(#[from] io::Error),
}

/// A packet from its network header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Arrival or departure, nanoseconds of `CLOCK_REALTIME`.
    pub time_ns: i64,
    /// Interface.
    pub ifindex: u32,
    /// EtherType, host order.
    pub ethertype: u16,
    /// The VLAN tag that the kernel or the device has taken off, with the EtherType that it had.
    pub tag: Option<(u16, u16)>,
    /// Link type (`ARPHRD_*`, linux/if_arp.h).
    pub link_type: u16,
    /// How it was addressed (`PACKET_HOST` to `PACKET_OUTGOING`, linux/if_packet.h).
    pub packet_type: u8,
    /// Link address of the sender and how many bytes it has; more than eight are not told.
    pub address: ([u8; 8], u8),
    /// The bytes, at most [`SNAP_LEN`].
    pub data: Vec<u8>,
    /// Bytes that there were.
    pub wire_len: usize,
}

impl Packet {
    /// Whether this host sent it.
    pub fn is_outgoing(&self) -> bool {
        self.packet_type == libc::PACKET_OUTGOING
    }
}

/// The socket.
pub struct Capture {
    socket: Socket,
    /// What the kernel had no room for.
    dropped: u64,
}

impl Capture {
    /// Opens it on an interface, or on all.
    /// Errors: [`Error`].
    pub fn open(interface: Option<&str>) -> Result<Self, Error> {
        let ifindex = match interface {
            Some(name) => if_nametoindex(name).map_err(|_| Error::NoInterface(name.to_owned()))?,
            None => 0,
        };
        let socket = packet_socket::open(Type::DGRAM, filter()).map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                Error::Permission
            } else {
                error.into()
            }
        })?;
        setsockopt(&socket, AuxData, &true).map_err(io::Error::from)?;
        packet_socket::bind(&socket, ifindex)?;
        let capture = Self { socket, dropped: 0 };
        capture.listen_to_groups(ifindex);
        Ok(capture)
    }

    /// Lets the network cards pass the groups on, where no daemon does. The kernel ends it with the socket.
    fn listen_to_groups(&self, ifindex: u32) {
        let mut indices = BTreeSet::from([ifindex]);
        if ifindex == 0 {
            let names = if_nameindex().ok();
            indices = names.iter().flatten().map(nix::net::if_::Interface::index).collect();
        }
        for ifindex in indices {
            for group in [VRRP_MULTICAST, VRRP_MULTICAST_V6] {
                let mut address = [0; 8];
                address[..6].copy_from_slice(&group);
                let membership = libc::packet_mreq {
                    mr_ifindex: ifindex.cast_signed(),
                    mr_type: u16::try_from(libc::PACKET_MR_MULTICAST).unwrap_or_default(),
                    mr_alen: 6,
                    mr_address: address,
                };
                // Links without such addresses have no such filter either.
                let _ = setsockopt(&self.socket, AddMembership, &membership);
            }
        }
    }

    /// The next packet; `None` when there is none yet.
    /// Errors: recvmsg(2) failed; an interface that went down is no error.
    pub fn receive(&self) -> io::Result<Option<Packet>> {
        let mut data = [0_u8; SNAP_LEN];
        // Of words, so that it is aligned for `struct cmsghdr`.
        let mut control = [0_u64; CONTROL_WORDS];
        let socket = self.socket.as_raw_fd();
        let mut packet = loop {
            let mut vector = [IoSliceMut::new(&mut data)];
            let control = bytemuck::cast_slice_mut(&mut control);
            // MSG_TRUNC returns the length on the wire, and no more than the buffer is written.
            match recvmsg::<LinkAddr>(socket, &mut vector, Some(control), MsgFlags::MSG_TRUNC) {
                Ok(message) => break describe(&message),
                Err(Errno::EAGAIN) => return Ok(None),
                // Told once per interface that goes down; the socket goes on with the others.
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => return Err(error.into()),
            }
        };
        packet.data = data[..packet.wire_len.min(SNAP_LEN)].to_vec();
        Ok(Some(packet))
    }

    /// Packets that the kernel had no room for, since the socket was opened.
    pub fn dropped(&mut self) -> u64 {
        // Asking sets it back to zero.
        self.dropped += u64::from(packet_socket::dropped(&self.socket));
        self.dropped
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What came with the bytes.
fn describe(message: &RecvMsg<'_, '_, LinkAddr>) -> Packet {
    let from = message.address.as_ref().map(LinkAddr::as_ref);
    let mut packet = Packet {
        time_ns: 0,
        ifindex: from.map_or(0, |from| from.sll_ifindex.cast_unsigned()),
        ethertype: from.map_or(0, |from| u16::from_be(from.sll_protocol)),
        tag: None,
        link_type: from.map_or(0, |from| from.sll_hatype),
        packet_type: from.map_or(0, |from| from.sll_pkttype),
        address: from.map_or(([0; 8], 0), |from| (from.sll_addr, from.sll_halen.min(8))),
        data: Vec::new(),
        wire_len: message.bytes,
    };
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmTimestampns(time) = control {
            packet.time_ns = time.tv_sec() * 1_000_000_000 + time.tv_nsec();
        } else if let ControlMessageOwned::Unknown(other) = control
            && (other.cmsg_header.cmsg_level, other.cmsg_header.cmsg_type)
                == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
        {
            packet.tag = tag(&other.data_bytes);
        }
    }
    packet
}

/// The VLAN tag that a `struct tpacket_auxdata` tells of.
fn tag(auxdata: &[u8]) -> Option<(u16, u16)> {
    let half = |at| Some(u16::from_ne_bytes(*auxdata.get(at..)?.first_chunk()?));
    let status = auxdata.get(offset_of!(libc::tpacket_auxdata, tp_status)..)?.first_chunk()?;
    if u32::from_ne_bytes(*status) & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let tci = half(offset_of!(libc::tpacket_auxdata, tp_vlan_tci))?;
    Some((tci, half(offset_of!(libc::tpacket_auxdata, tp_vlan_tpid))?))
}

/// The socket filter (linux/filter.h): IP protocol 112 of both families and of IPv4 also behind an authentication header, in IPv6 also with what may stand before it
/// ([`vrrp_common::parse::chain`]), as far as two headers tell, ARP in which the sender speaks of its own
/// address, neighbour advertisements, and neighbour solicitations from no address (more exactly, from one that begins
/// with four zero bytes), with up to one VLAN tag in the packet.
///
/// Each instruction as code, jumps when true and when false, and constant.
fn filter() -> [(u16, u8, u8, u32); 64] {
    /// `BPF_LD | BPF_W | BPF_ABS`, `BPF_H`, `BPF_B`.
    const WORD: u16 = 0x20;
    const HALF: u16 = 0x28;
    const BYTE: u16 = 0x30;
    /// `BPF_JMP | BPF_JEQ | BPF_K` and with `BPF_X`; `BPF_RET | BPF_K`; `BPF_MISC | BPF_TAX`.
    const EQUAL: u16 = 0x15;
    const EQUAL_X: u16 = 0x1d;
    const RETURN: u16 = 0x06;
    const TO_X: u16 = 0x07;
    /// `BPF_LDX | BPF_B | BPF_MSH`, `BPF_LD | BPF_B | BPF_IND`.
    const HEADER_LEN: u16 = 0xb1;
    const BYTE_BEHIND: u16 = 0x50;
    /// `SKF_AD_OFF + SKF_AD_PROTOCOL`: the EtherType, wherever the link has it.
    const ETHERTYPE: u32 = 0xffff_f000;
    const KEEP: u32 = 0xffff;

    let op = |code, jt, jf, k| (code, jt, jf, k);
    // By the EtherType in the accumulator, with the network header at an offset; thirty instructions.
    let network = |at: u32| {
        [
            op(EQUAL, 2, 0, ETHERTYPE_IPV4.into()),
            op(EQUAL, 7, 0, ETHERTYPE_IPV6.into()),
            op(EQUAL, 21, 26, ETHERTYPE_ARP.into()),
            op(BYTE, 0, 0, at + 9),
            op(EQUAL, 23, 0, IPPROTO_VRRP.into()),
            op(EQUAL, 0, 23, IPPROTO_AH.into()),
            // Bytes of the IP header, and the first byte behind it.
            op(HEADER_LEN, 0, 0, at),
            op(BYTE_BEHIND, 0, 0, at),
            op(EQUAL, 19, 20, IPPROTO_VRRP.into()),
            op(BYTE, 0, 0, at + 6),
            op(EQUAL, 17, 0, IPPROTO_VRRP.into()),
            op(EQUAL, 7, 0, IPPROTO_ICMPV6.into()),
            op(EQUAL, 2, 0, HOP_BY_HOP.into()),
            op(EQUAL, 1, 0, FRAGMENT.into()),
            op(EQUAL, 0, 14, DESTINATION_OPTIONS.into()),
            op(BYTE, 0, 0, at + 40),
            op(EQUAL, 11, 0, IPPROTO_VRRP.into()),
            op(EQUAL, 10, 0, FRAGMENT.into()),
            op(EQUAL, 9, 10, DESTINATION_OPTIONS.into()),
            op(BYTE, 0, 0, at + 40),
            op(EQUAL, 7, 0, ndisc::ADVERTISEMENT.into()),
            op(EQUAL, 0, 7, ndisc::SOLICITATION.into()),
            op(WORD, 0, 0, at + 8),
            op(EQUAL, 4, 5, 0),
            op(WORD, 0, 0, at + 14),
            op(TO_X, 0, 0, 0),
            op(WORD, 0, 0, at + 24),
            op(EQUAL_X, 0, 1, 0),
            op(RETURN, 0, 0, KEEP),
            op(RETURN, 0, 0, 0),
        ]
    };
    let mut program = [op(RETURN, 0, 0, 0); 64];
    program[0] = op(WORD, 0, 0, ETHERTYPE);
    // Over the tests of an untagged packet.
    program[1] = op(EQUAL, 31, 0, ETHERTYPE_VLAN.into());
    program[2] = op(EQUAL, 30, 0, ETHERTYPE_QINQ.into());
    program[3..33].copy_from_slice(&network(0));
    program[33] = op(HALF, 0, 0, 2);
    program[34..].copy_from_slice(&network(4));
    program
}

sockopt_impl!(
    /// Tells of each packet what the device has taken off it.
    AuxData,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_AUXDATA,
    bool
);
sockopt_impl!(
    /// Lets the device pass a group on, or another address.
    AddMembership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_ADD_MEMBERSHIP,
    libc::packet_mreq
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::packet_socket::filtering;
    use crate::wire::dissect;

    /// Whether the filter keeps it; `None` when it reads past the end.
    fn keeps(ethertype: u16, data: &[u8]) -> Option<bool> {
        filtering::keeps(&filter(), &[(0xffff_f000, ethertype.into())], data)
    }

    #[test]
    fn a_tag_moves_the_packet() {
        let mut packet = [0; 40];
        (packet[6], packet[9]) = (6, 112);
        assert_eq!(keeps(0x0800, &packet), Some(true));
        assert_eq!(keeps(0x86dd, &packet), Some(false));
        packet[6] = 112;
        assert_eq!(keeps(0x86dd, &packet), Some(true));
        // An authentication header, behind options.
        let mut behind = packet;
        (behind[0], behind[9]) = (0x47, 51);
        assert_eq!(keeps(0x0800, &behind), Some(false));
        behind[28] = 112;
        assert_eq!(keeps(0x0800, &behind), Some(true));
        assert_eq!(keeps(0x8100, &[&[0, 7, 8, 0][..], &behind].concat()), Some(true));
        let tagged = [&[0, 7, 8, 0][..], &packet].concat();
        assert_eq!(keeps(0x8100, &tagged), Some(true));
        assert_eq!(keeps(0x88a8, &tagged), Some(true));
        assert_eq!(keeps(0x88cc, &tagged), Some(false));
        let mut ipv6 = [2; 64];
        for (kind, source, kept) in
            [(136, 2, true), (135, 0, true), (135, 2, false), (134, 0, false)]
        {
            (ipv6[6], ipv6[40]) = (58, kind);
            ipv6[8..24].fill(source);
            assert_eq!(keeps(0x86dd, &ipv6), Some(kept), "type {kind} from {source}");
            let tagged = [&[0, 7, 0x86, 0xdd][..], &ipv6].concat();
            assert_eq!(keeps(0x8100, &tagged), Some(kept));
        }
    }

    #[test]
    fn the_tag_that_was_taken_off_is_told() {
        // Status, two lengths, two offsets, the tag and its EtherType (linux/if_packet.h).
        let mut auxdata = [0; size_of::<libc::tpacket_auxdata>()];
        auxdata[16..].copy_from_slice(&[7_u16.to_ne_bytes(), 0x88a8_u16.to_ne_bytes()].concat());
        assert_eq!(tag(&auxdata), None);
        auxdata[..4].copy_from_slice(&libc::TP_STATUS_VLAN_VALID.to_ne_bytes());
        assert_eq!(tag(&auxdata), Some((7, 0x88a8)));
        assert_eq!(tag(&auxdata[..17]), None);
    }

    proptest! {
        /// Nothing that could be shown is filtered out.
        #[test]
        fn the_filter_keeps_what_is_read(
            ethertype in prop_oneof![Just(0x0800_u16), Just(0x86dd), Just(0x0806), Just(0x8100)],
            inner in prop_oneof![Just(0x0800_u16), Just(0x86dd), Just(0x0806)],
            mut data in proptest::collection::vec(any::<u8>(), 0..100),
            make in any::<[bool; 4]>(),
            chain in proptest::array::uniform3(prop::sample::select(vec![112_u8, 0, 44, 60, 6])),
        ) {
            let tagged = ethertype == 0x8100;
            if tagged && data.len() >= 4 {
                data[2..4].copy_from_slice(&inner.to_be_bytes());
            }
            let at = if tagged { 4 } else { 0 };
            if make[0] && data.len() >= at + 28 {
                (data[at + 6], data[at + 9]) = (112, 112);
            }
            if make[1] && data.len() >= at + 28 {
                data[at..at + 8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
                data.copy_within(at + 14..at + 18, at + 24);
            }
            if make[2] && data.len() >= at + 64 {
                let kind = 135 + data[at + 40] % 2;
                (data[at], data[at + 4], data[at + 5]) = (0x60, 0, 24);
                (data[at + 6], data[at + 7]) = (58, 255);
                (data[at + 40], data[at + 41]) = (kind, 0);
                if kind == 135 {
                    data[at + 8..at + 24].fill(0);
                }
            }
            if make[3] && data.len() >= at + 60 {
                // Extension headers of eight bytes.
                (data[at + 6], data[at + 40], data[at + 48]) = chain.into();
                (data[at + 41], data[at + 49]) = (0, 0);
            }
            if dissect::Packet::parse(ethertype, None, &data).is_some() {
                prop_assert_eq!(keeps(ethertype, &data), Some(true));
            }
        }
    }
}
