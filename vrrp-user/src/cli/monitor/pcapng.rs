//! Capture files (draft-ietf-opsawg-pcapng): interfaces with their names, times in nanoseconds, and the verdict
//! on a packet as its comment. Wireshark, tshark and tcpdump read them under any name.
//!
//! Packets begin with a header of Linux cooked capture (LINKTYPE_LINUX_SLL2,
//! <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>): it is the same for every kind of link, and needs
//! no link addresses, of which there are none for what XDP refused.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use vrrp_common::IPPROTO_VRRP;
use vrrp_common::reason::Reason;
use vrrp_common::sample::Sample;

use crate::io::capture;
use crate::wire::dissect::{self, Content};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN};
use crate::wire::ipv4;

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// Options: the end of the list, a comment; of a section, the program; of an interface, name and resolution of
/// times; of a packet, flags.
const END: u16 = 0;
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
/// Link type of cooked capture, version 2.
const LINUX_SLL2: u32 = 276;
/// More than any packet here has.
const SNAP_LEN: u32 = 65535;
/// Type of an Ethernet link (linux/if_arp.h).
const ARPHRD_ETHER: u16 = 1;

/// A packet as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From its cooked header on.
    data: Vec<u8>,
    /// Bytes that there were, cooked header included.
    length: usize,
    is_outgoing: bool,
}

impl Record {
    /// What the packet socket saw.
    pub fn captured(packet: &capture::Packet) -> Self {
        let tag = packet.tag;
        let (address, address_len) = packet.address;
        let mut data = cooked(
            tag.map_or(packet.ethertype, |(_, ethertype)| ethertype),
            packet.ifindex,
            packet.link_type,
            packet.packet_type,
            &address[..address_len.min(8).into()],
        );
        if let Some((tag, _)) = tag {
            data.extend(tag.to_be_bytes());
            data.extend(packet.ethertype.to_be_bytes());
        }
        let length = data.len() + packet.wire_len;
        data.extend(&packet.data);
        Self { data, length, is_outgoing: packet.is_outgoing() }
    }

    /// What the kernel side kept of a packet that it dropped: the IP header is made anew, and of the message
    /// there is the beginning.
    pub fn of_sample(sample: &Sample, packet: &dissect::Packet) -> Self {
        let ethertype = |network| if packet.vlan.is_empty() { network } else { ETHERTYPE_VLAN };
        let Content::Vrrp(vrrp) = &packet.content else {
            return Self { data: Vec::new(), length: 0, is_outgoing: false };
        };
        let network = match vrrp.source {
            IpAddr::V4(_) => ETHERTYPE_IPV4,
            IpAddr::V6(_) => ETHERTYPE_IPV6,
        };
        let packet_type = if vrrp.destination.is_multicast() {
            libc::PACKET_MULTICAST
        } else {
            libc::PACKET_HOST
        };
        let mut data = cooked(ethertype(network), sample.ifindex, ARPHRD_ETHER, packet_type, &[]);
        for (n, id) in packet.vlan.iter().enumerate() {
            let next = if n + 1 == packet.vlan.len() { network } else { ETHERTYPE_VLAN };
            data.extend(id.to_be_bytes());
            data.extend(next.to_be_bytes());
        }
        match (vrrp.source, vrrp.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = [0; ipv4::HEADER_LEN];
                let repr = ipv4::Repr {
                    tos: 0,
                    ident: 0,
                    dont_fragment: false,
                    ttl: sample.ttl,
                    protocol: IPPROTO_VRRP,
                    source,
                    destination,
                    payload_len: sample.wire_len,
                };
                repr.emit(&mut header);
                data.extend(header);
            }
            (source, destination) => {
                data.extend([0x60, 0, 0, 0]);
                data.extend(sample.wire_len.to_be_bytes());
                data.extend([IPPROTO_VRRP, sample.ttl]);
                for address in [source, destination] {
                    match address {
                        IpAddr::V4(address) => data.extend(address.to_ipv6_mapped().octets()),
                        IpAddr::V6(address) => data.extend(address.octets()),
                    }
                }
            }
        }
        let length = data.len() + usize::from(sample.wire_len);
        let present = usize::from(sample.payload_len).min(sample.payload.len());
        data.extend(&sample.payload[..present]);
        Self { length: length.max(data.len()), data, is_outgoing: false }
    }
}

/// A cooked header.
fn cooked(
    ethertype: u16,
    ifindex: u32,
    link_type: u16,
    packet_type: u8,
    address: &[u8],
) -> Vec<u8> {
    let mut data = Vec::with_capacity(20 + 4 + 64 + 20);
    data.extend(ethertype.to_be_bytes());
    data.extend([0, 0]);
    data.extend(ifindex.to_be_bytes());
    data.extend(link_type.to_be_bytes());
    data.push(packet_type);
    // At most eight.
    data.extend(u8::try_from(address.len()));
    data.extend(address);
    data.resize(20, 0);
    data
}

/// The comment on a packet that was dropped.
pub fn comment(reason: Reason) -> String {
    format!(
        "refused by XDP, {}: {}. The headers before the VRRP message are reconstructed, and at most the first \
         64 bytes of the message are here.",
        reason.name(),
        reason.text()
    )
}

/// A capture file that is being written.
pub struct Writer<W> {
    out: W,
    /// Number in the file of every interface, by its name.
    interfaces: BTreeMap<String, u32>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self { out, interfaces: BTreeMap::new() };
        let mut body = Vec::new();
        // Byte order, version 1.0, and a length that is not known yet.
        body.extend(0x1a2b_3c4d_u32.to_ne_bytes());
        body.extend(1_u16.to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        body.extend((-1_i64).to_ne_bytes());
        let program = concat!("vrrp-user ", env!("CARGO_PKG_VERSION"));
        option(&mut body, USER_APPLICATION, program.as_bytes());
        option(&mut body, END, &[]);
        writer.block(SECTION_HEADER, &body)?;
        Ok(writer)
    }

    /// Appends a packet.
    pub fn write(
        &mut self,
        time_ns: i64,
        interface: &str,
        record: &Record,
        comment: Option<&str>,
    ) -> io::Result<()> {
        let number = self.interface(interface)?;
        let time = time_ns.cast_unsigned();
        let kept = u32::try_from(record.data.len()).unwrap_or(SNAP_LEN);
        let mut body = Vec::new();
        #[allow(clippy::cast_possible_truncation, reason = "upper and lower half")]
        let halves = [(time >> 32) as u32, time as u32];
        for field in [number, halves[0], halves[1], kept] {
            body.extend(field.to_ne_bytes());
        }
        body.extend(u32::try_from(record.length).unwrap_or(u32::MAX).to_ne_bytes());
        body.extend(&record.data);
        pad(&mut body);
        if let Some(comment) = comment {
            option(&mut body, COMMENT, comment.as_bytes());
        }
        let direction: u32 = if record.is_outgoing { 2 } else { 1 };
        option(&mut body, PACKET_FLAGS, &direction.to_ne_bytes());
        option(&mut body, END, &[]);
        self.block(ENHANCED_PACKET, &body)
    }

    /// Hands on what was written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The number of an interface; the first time, describes it.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(number) = self.interfaces.get(name) {
            return Ok(*number);
        }
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let mut body = Vec::new();
        // The lower half is the link type, the upper one is reserved.
        body.extend(u16::try_from(LINUX_SLL2).unwrap_or_default().to_ne_bytes());
        body.extend([0, 0]);
        body.extend(SNAP_LEN.to_ne_bytes());
        option(&mut body, INTERFACE_NAME, name.as_bytes());
        // Ten to the minus nine.
        option(&mut body, TIME_RESOLUTION, &[9]);
        option(&mut body, END, &[]);
        self.block(INTERFACE_DESCRIPTION, &body)?;
        self.interfaces.insert(name.to_owned(), number);
        Ok(number)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?.to_ne_bytes();
        self.out.write_all(&kind.to_ne_bytes())?;
        self.out.write_all(&length)?;
        self.out.write_all(body)?;
        self.out.write_all(&length)
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_ne_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or_default().to_ne_bytes());
    body.extend(value);
    pad(body);
}

/// Everything in a file begins at a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use vrrp_common::FAMILY_V4;

    #[test]
    fn blocks_are_as_long_as_they_say() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out).unwrap();
        let packet = capture::Packet {
            time_ns: 1_700_000_000_123_456_789,
            ifindex: 4,
            ethertype: ETHERTYPE_IPV4,
            tag: Some((7, ETHERTYPE_VLAN)),
            link_type: ARPHRD_ETHER,
            packet_type: 4,
            address: ([2, 0, 0, 0, 0, 1, 0, 0], 6),
            data: vec![0xaa; 41],
            wire_len: 50,
        };
        let record = Record::captured(&packet);
        assert_eq!((record.data.len(), record.length, record.is_outgoing), (65, 74, true));
        assert_eq!(record.data[..2], [0x81, 0]);
        assert_eq!(record.data[20..24], [0, 7, 8, 0]);
        writer.write(packet.time_ns, "eth0", &record, None).unwrap();
        writer.write(packet.time_ns, "eth0", &record, Some("odd")).unwrap();
        writer.write(packet.time_ns, "eth1", &record, None).unwrap();
        let mut kinds = Vec::new();
        let mut rest = &out[..];
        while !rest.is_empty() {
            let word = |at| u32::from_ne_bytes(*rest[at..].first_chunk().unwrap());
            let length = usize::try_from(word(4)).unwrap();
            assert_eq!(word(length - 4), word(4), "at both ends");
            kinds.push(word(0));
            rest = &rest[length..];
        }
        assert_eq!(
            kinds,
            [SECTION_HEADER, 1, 6, 6, 1, 6],
            "each interface once, before its packets"
        );
    }

    #[test]
    fn a_sample_becomes_a_packet_that_is_cut_off() {
        let mut sample = Sample {
            ifindex: 4,
            family: FAMILY_V4,
            ttl: 3,
            wire_len: 100,
            payload_len: 64,
            vlan: [7, 9],
            ..Sample::default()
        };
        sample.source[..4].copy_from_slice(&[10, 0, 0, 2]);
        sample.destination[..4].copy_from_slice(&[224, 0, 0, 18]);
        sample.payload[..8].copy_from_slice(&[0x21, 51, 100, 21, 0, 1, 0, 0]);
        let packet = dissect::Packet::of_sample(Reason::Ttl, &sample);
        let record = Record::of_sample(&sample, &packet);
        assert_eq!((record.data.len(), record.length), (20 + 8 + 20 + 64, 20 + 8 + 20 + 100));
        let again = dissect::Packet::parse(ETHERTYPE_VLAN, None, &record.data[20..]).unwrap();
        assert_eq!((again.vlan.clone(), again.vrid()), (vec![7, 9], Some(51)));
        let Content::Vrrp(vrrp) = again.content else { panic!("ARP") };
        assert_eq!(vrrp.problems, [Reason::Truncated, Reason::Ttl]);
    }
}
