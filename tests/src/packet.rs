//! Frames by hand. Written without the daemon's own code, so that the two cannot share a mistake.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket,
};

use crate::{Error, Host, Result};

/// An advertisement whose every field can be wrong.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Ethernet destination.
    pub destination_mac: [u8; 6],
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// IP source.
    pub source: Ipv4Addr,
    /// IP destination.
    pub destination: Ipv4Addr,
    /// Byte 0 of the IP header.
    pub version_ihl: u8,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// TTL.
    pub ttl: u8,
    /// Added to the IP header checksum, zero for a right one.
    pub ip_checksum_error: u16,
    /// Total length of the IP header, when it is not the right one.
    pub total_length: Option<u16>,
    /// VRRP version and type.
    pub version_type: u8,
    /// VRID.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Count of addresses, when it is not their number.
    pub count: Option<u8>,
    /// Bytes 4 and 5: version 2, authentication type and interval; version 3, the interval.
    pub interval: [u8; 2],
    /// The addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Version 2: authentication data.
    pub authentication: Option<[u8; 8]>,
    /// Added to the VRRP checksum, zero for a right one.
    pub checksum_error: u16,
}

impl Frame {
    /// A right version 2 advertisement without authentication, every second.
    pub fn v2(source: Ipv4Addr, vrid: u8, priority: u8, addresses: &[Ipv4Addr]) -> Self {
        Self {
            // The group address of 224.0.0.18; a switch floods it, so that unicast arrives too.
            destination_mac: [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12],
            source_mac: [2, 0, 0, 0, 0, 0xfe],
            source,
            destination: Ipv4Addr::new(224, 0, 0, 18),
            version_ihl: 0x45,
            fragment: 0,
            ttl: 255,
            ip_checksum_error: 0,
            total_length: None,
            version_type: 0x21,
            vrid,
            priority,
            count: None,
            interval: [0, 1],
            addresses: addresses.to_vec(),
            authentication: Some([0; 8]),
            checksum_error: 0,
        }
    }

    /// A right version 3 advertisement with an interval in centiseconds.
    pub fn v3(
        source: Ipv4Addr,
        vrid: u8,
        priority: u8,
        interval: u16,
        addresses: &[Ipv4Addr],
    ) -> Self {
        Self {
            version_type: 0x31,
            interval: interval.to_be_bytes(),
            authentication: None,
            ..Self::v2(source, vrid, priority, addresses)
        }
    }

    /// The VRRP message.
    pub fn message(&self) -> Vec<u8> {
        let count = self.count.unwrap_or(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        let mut message = vec![self.version_type, self.vrid, self.priority, count];
        message.extend(self.interval);
        message.extend([0, 0]);
        for address in &self.addresses {
            message.extend(address.octets());
        }
        message.extend(self.authentication.iter().flatten());
        let mut sum = sum(&message);
        if self.version_type >> 4 == 3 {
            // The pseudo-header of RFC 5798 section 5.2.8.
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            sum += sum_of(&self.source.octets(), &self.destination.octets()) + 112 + length;
        }
        let checksum = fold(sum).wrapping_add(self.checksum_error);
        message[6..8].copy_from_slice(&checksum.to_be_bytes());
        message
    }

    /// The total length that the IP header should give.
    pub fn right_total_length(&self) -> u16 {
        u16::try_from(20 + self.message().len()).unwrap_or(u16::MAX)
    }

    /// The whole frame from the Ethernet header on, not padded.
    pub fn bytes(&self) -> Vec<u8> {
        let message = self.message();
        let total = self.total_length.unwrap_or(self.right_total_length());
        let mut header = vec![self.version_ihl, 0xc0];
        header.extend(total.to_be_bytes());
        header.extend([0, 1]);
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, 112, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        let checksum = fold(sum(&header)).wrapping_add(self.ip_checksum_error);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = self.destination_mac.to_vec();
        frame.extend(self.source_mac);
        frame.extend([0x08, 0x00]);
        frame.extend(header);
        frame.extend(message);
        frame
    }
}

/// A right version 3 advertisement over IPv6.
#[derive(Clone, Debug)]
pub struct Frame6 {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// IP source.
    pub source: Ipv6Addr,
    /// VRID.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Centiseconds.
    pub interval: u16,
    /// The addresses.
    pub addresses: Vec<Ipv6Addr>,
}

impl Frame6 {
    /// The whole frame from the Ethernet header on.
    pub fn bytes(&self) -> Vec<u8> {
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let mut message = vec![0x31, self.vrid, self.priority, count];
        message.extend(self.interval.to_be_bytes());
        message.extend([0, 0]);
        for address in &self.addresses {
            message.extend(address.octets());
        }
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        // The pseudo-header of RFC 8200 section 8.1.
        let pseudo = sum_of(&self.source.octets(), &group.octets()) + 112 + u32::from(length);
        let checksum = fold(pseudo + sum(&message));
        message[6..8].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 0x12];
        frame.extend(self.source_mac);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([112, 255]);
        frame.extend(self.source.octets());
        frame.extend(group.octets());
        frame.extend(message);
        frame
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

fn sum_of(source: &[u8], destination: &[u8]) -> u32 {
    sum(source) + sum(destination)
}

fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    // Two folds leave 16 bits.
    !u16::try_from(twice).unwrap_or(u16::MAX)
}

/// A packet socket that sends whole frames from a host's `eth0`.
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
    target: LinkAddr,
}

impl RawSocket {
    /// Opens it.
    pub fn open(host: &Host) -> Result<Self> {
        host.namespace().enter(|| {
            // Protocol 0: it sends, and receives nothing.
            let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
                .map_err(Error::errno("open a packet socket"))?;
            let index = nix::net::if_::if_nametoindex("eth0").map_err(Error::errno("find eth0"))?;
            let address = libc::sockaddr_ll {
                sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default(),
                sll_protocol: 0x0800_u16.to_be(),
                sll_ifindex: i32::try_from(index).unwrap_or_default(),
                sll_hatype: 0,
                sll_pkttype: 0,
                sll_halen: 6,
                sll_addr: [0; 8],
            };
            // SAFETY: the pointer is to a live `sockaddr_ll`, which is the type that its family names;
            // without a length, the length of that type counts.
            let target = unsafe { LinkAddr::from_raw((&raw const address).cast(), None) };
            let target =
                target.ok_or_else(|| Error::Unexpected("a link address is refused".into()))?;
            Ok(Self { fd, target })
        })?
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(self.fd.as_raw_fd(), frame, &self.target, MsgFlags::empty())
            .map(drop)
            .map_err(Error::errno("send a frame"))
    }
}
