//! The header walk and the VRRP receive checks.
//!
//! Generic over [`Load`], so that the code which the XDP program runs is the code that host tests run
//! on a byte slice. Nothing in here may allocate, panic or know about maps; the look-up of the router
//! stands between [`advert`] and [`check`] and belongs to the caller.
//!
//! VLAN tags are seen only where the device leaves them in the frame: a NIC that strips them (`ethtool
//! -k`, rx-vlan-offload) and `veth` hand over an untagged frame, for which XDP has no other mark.

use crate::maps::{RouterEntry, RouterKey, TtlRange, transport};
use crate::message::{Header, TRAILER_LEN, TYPE_ADVERTISEMENT, auth_len};
use crate::reason::Reason;
use crate::report::mix;
use crate::sample::SAMPLE_PAYLOAD_LEN;
use crate::{FAMILY_V4, FAMILY_V6, IPPROTO_VRRP, MAX_VRRP_LEN};
use crate::{VRRP_AUTH_LEN, VRRP_HEADER_LEN, VRRP_TTL};

/// EtherType of IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6 (RFC 2464 section 3).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// How ARP for IPv4 over Ethernet begins: hardware type 1, protocol type 0x0800.
pub const ARP_ETHERNET_IPV4: u32 = 0x0001_0800;
/// What follows in a question: address lengths 6 and 4, and the operation.
pub const ARP_REQUEST: u32 = 0x0604_0001;
/// What follows in an answer.
pub const ARP_REPLY: u32 = 0x0604_0002;
/// EtherType of a customer tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of a service tag (IEEE 802.1ad).
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
/// The VLAN ID within a tag (IEEE 802.1Q).
pub const VLAN_ID: u16 = 0x0fff;
/// Offset of an IP header behind an Ethernet header without a tag.
pub const UNTAGGED: usize = 14;
/// Bytes of an IPv4 header without options (RFC 791 section 3.1).
pub const IPV4_HEADER_LEN: usize = 20;
/// Bytes of it before the addresses.
const IPV4_BEGIN_LEN: usize = 12;
/// The "more fragments" flag and the fragment offset (RFC 791 section 3.1).
pub const IPV4_FRAGMENT: u16 = 0x3fff;
/// Bytes of an IPv6 header (RFC 8200 section 3).
pub const IPV6_HEADER_LEN: usize = 40;
/// `Next Header` of hop-by-hop options (RFC 8200 section 4.3).
pub const HOP_BY_HOP: u8 = 0;
/// `Next Header` of a fragment header (RFC 8200 section 4.5).
pub const FRAGMENT: u8 = 44;
/// `Next Header` of destination options (RFC 8200 section 4.6).
pub const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that are followed up to a VRRP message: as many of these kinds as a sender may put there (RFC 8200
/// section 4.1). What else there is, routing headers above all, is not followed.
pub const MAX_EXTENSIONS: usize = 4;
/// The offset in a fragment header (RFC 8200 section 4.5).
const IPV6_OFFSET: u16 = 0xfff8;
/// The "more fragments" flag beside it. Both zero: the packet is whole ("atomic", RFC 6946).
const MORE_FRAGMENTS: u16 = 1;
/// [`Packet::extensions`] where nobody knows where the message is: past the end of any packet.
const NOWHERE: u16 = u16::MAX;
/// `Next Header` of ICMPv6 (RFC 4443 section 1).
pub const IPPROTO_ICMPV6: u8 = 58;
/// Protocol number of ICMP (IANA).
pub const IPPROTO_ICMP: u8 = 1;
/// A redirect, as type of an ICMP message (RFC 792).
pub const ICMP_REDIRECT: u8 = 5;
/// A redirect, as type of an ICMPv6 message (RFC 4861 section 4.5).
pub const ICMPV6_REDIRECT: u8 = 137;
/// What neighbour discovery must come with: anything else was sent from another network (RFC 4861 section 7.1).
pub const NDISC_HOP_LIMIT: u8 = 255;
/// Type of a neighbour solicitation (RFC 4861 section 4.3).
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement (RFC 4861 section 4.4).
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The option of a solicitation that holds the Ethernet address of the sender (RFC 4861 section 4.6.1).
pub const SOURCE_LINK_LAYER: u8 = 1;
/// The option of an advertisement that holds the Ethernet address of the target (RFC 4861 section 4.6.1).
pub const TARGET_LINK_LAYER: u8 = 2;
/// Bytes of a neighbour solicitation or advertisement before its options (RFC 4861 sections 4.3, 4.4).
pub const NDISC_OPTIONS: usize = 24;
/// Version 2: authentication by a password in clear (RFC 2338 section 5.3.6).
const AUTH_PASSWORD: u8 = 1;
/// Bytes that [`Load::digest`] takes at once: sixteen IPv4 addresses, four IPv6 addresses.
pub const DIGEST_BLOCK: usize = 64;

/// Bounds-checked access to one Ethernet frame.
pub trait Load {
    /// Bytes of the frame, padding included.
    fn frame_len(&self) -> usize;

    /// `N` bytes at an offset that is a constant once everything is inlined: the fast way in. `None`
    /// past the end.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// `N` bytes at any offset. `None` past the end.
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The ones' complement sum, not folded, of the `len` bytes at `offset` in native byte order
    /// (RFC 1071). `None` past the end, and unless `len` is a multiple of four from 4 to
    /// [`MAX_VRRP_LEN`].
    fn sum(&mut self, offset: usize, len: usize) -> Option<u32>;

    /// Takes the `list` bytes behind the header of a message, its addresses of type `A` above all, into a hash, by [`mix`] in blocks of [`DIGEST_BLOCK`], the last
    /// of which is filled up with zeros. The message of `len` bytes at `offset` was summed last; `list` is a multiple of
    /// four, and not zero.
    fn digest<A: Address>(&mut self, hash: u64, offset: usize, list: usize, _len: usize) -> u64 {
        let half = |at| {
            let there = if at < list { self.load_at(offset + VRRP_HEADER_LEN + at) } else { None };
            there.unwrap_or([0; 4])
        };
        let end = list.next_multiple_of(DIGEST_BLOCK);
        (0..end).step_by(8).fold(hash, |hash, at| {
            let halves = [half(at), half(at + 4)];
            mix(hash, u64::from_ne_bytes(bytemuck::cast(halves)))
        })
    }

    /// `N` bytes of what was summed last and began at `offset`, `AT` behind that. Bytes behind its end may be any.
    #[inline(always)]
    fn load_summed<const N: usize, const AT: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.load_at(offset + AT)
    }

    /// A number unchanged, of which the verifier of the kernel side knows nothing any more.
    #[inline(always)]
    fn forget(&self, number: u32) -> u32 {
        number
    }

    /// Whether the frame is for another host than the one at this Ethernet address, which receives what is for a group
    /// as well; never with all zeros.
    #[inline(always)]
    fn is_for_other_host(&self, mac: [u8; 6]) -> bool {
        is_for_other_host(self, mac)
    }
}

/// [`Load::is_for_other_host`] by the Ethernet header.
#[inline(always)]
pub fn is_for_other_host(frame: &(impl Load + ?Sized), mac: [u8; 6]) -> bool {
    let Some(destination) = frame.load::<6>(0) else { return false };
    let mac = mac_word(mac);
    destination[0] & 1 == 0 && mac != 0 && mac_word(destination) != mac
}

/// An IP address as it stands in a header, and what the two versions of IP do differently.
pub trait Address: Copy + Eq + core::fmt::Debug {
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    const FAMILY: u8;
    /// EtherType of its packets.
    const ETHERTYPE: u16;
    /// From a field that has room for any: an IPv4 address stands in the first four bytes.
    fn from_field(field: [u8; 16]) -> Self;

    /// As slots, events and samples hold it.
    fn to_field(self) -> [u8; 16];

    /// The ones' complement sum, not folded, in native byte order.
    fn sum(self) -> u64;

    /// Whether both are the same.
    fn is(self, other: Self) -> bool;

    /// Whether no host can send from it.
    fn is_impossible_source(self) -> bool;

    /// What the IP header at an offset shows at a glance.
    fn packet(frame: &impl Load, offset: usize, vlan: [u16; 2]) -> Option<Packet<Self>>;

    /// The same by the slow way in, for any offset.
    fn tagged(frame: &impl Load, offset: usize, vlan: [u16; 2]) -> Option<Packet<Self>>;

    /// Where the payload of a packet lies.
    /// Errors: what is wrong with the IP header: nothing that the stack would have delivered, except a fragment.
    fn payload(frame: &mut impl Load, packet: &Packet<Self>) -> Result<Payload, Reason>;

    /// TTL or hop limit of a packet that may have anything else wrong with it, and the offset of what it carries.
    fn message(packet: &Packet<Self>) -> (u8, usize);

    /// Where the payload of such a packet lies.
    fn extent(frame: &impl Load, packet: &Packet<Self>) -> Extent;
}

/// An IPv4 address.
pub type V4 = [u8; 4];
/// An IPv6 address.
pub type V6 = [u8; 16];

/// What every IP packet shows at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<A> {
    /// VLAN IDs in the frame, outermost first, 0 where there is none.
    pub vlan: [u16; 2],
    /// Offset of the IP header in the frame.
    pub offset: usize,
    /// How the IP header begins: all that is before the addresses. Of IPv6 that is eight bytes, and zeros follow.
    pub begin: [u8; IPV4_BEGIN_LEN],
    /// IP protocol number; of IPv6 that of the first header behind the fixed one.
    pub protocol: u8,
    /// Bytes of the extension headers that are known to stand before the payload: see [`chain`].
    pub extensions: u16,
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
}

/// What a chain of IPv6 extension headers leads to, if that has to do with VRRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// [`Reason::Accepted`] for a message, which is to be checked; or else why it cannot be.
    pub reason: Reason,
    /// [`Packet::extensions`].
    pub extensions: u16,
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// TTL or hop limit.
    pub ttl: u8,
    /// Offset in the frame.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

/// Who says in an ARP message (RFC 826) that it has which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpSender {
    /// Sender hardware address in the first six bytes, then zeros.
    pub mac: [u8; 8],
    /// Sender protocol address: 0.0.0.0 in a probe (RFC 5227 section 2.1.1), which claims nothing.
    pub address: V4,
}

/// Who says in a neighbour discovery message (RFC 4861) that it has which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NdiscClaim {
    /// Ethernet address in the first six bytes, then zeros.
    pub mac: [u8; 8],
    /// Target of an advertisement, source of a solicitation: `::` in duplicate address detection, which claims nothing.
    pub address: V6,
}

/// The VRRP message of a packet that may have anything else wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// TTL or hop limit.
    pub ttl: u8,
    /// Offset of the message in the frame.
    pub offset: usize,
    /// Bytes of the message by the IP header, 0 where that makes no sense.
    pub wire_len: usize,
    /// Bytes of the message that are in the frame and fit a sample.
    pub present: usize,
}

/// A VRRP message whose IP header is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert<A> {
    /// VLAN IDs in the frame, outermost first, 0 where there is none.
    pub vlan: [u16; 2],
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Offset of the VRRP message in the frame.
    pub offset: usize,
    /// Length of the VRRP message by the IP header, at least [`VRRP_HEADER_LEN`].
    pub len: usize,
    /// The first bytes of the VRRP message (RFC 9568 section 5.2, RFC 3768 section 5.3).
    pub header: [u8; VRRP_HEADER_LEN],
}

impl<A> Packet<A> {
    /// Whether the packet is to be handed to [`advert`].
    #[inline(always)]
    pub fn is_vrrp(&self) -> bool {
        self.protocol == IPPROTO_VRRP
    }
}

impl<A: Address> Advert<A> {
    /// Priority of the sender.
    #[inline(always)]
    pub fn priority(&self) -> u8 {
        Header(self.header).priority()
    }

    /// Bytes of the message by its address count, with the authentication data of version 2. It may be shorter than
    /// that, which is wrong, or longer, which is not.
    #[inline(always)]
    pub fn stated_len(&self, version: u8) -> usize {
        Header(self.header).addresses_end(size_of::<A>()) + auth_len(version)
    }

    /// The key under which the router that this message speaks of would be configured.
    #[inline(always)]
    pub fn key(&self, ifindex: u32) -> RouterKey {
        RouterKey {
            ifindex,
            vlan: self.vlan,
            family: A::FAMILY,
            vrid: Header(self.header).vrid(),
            reserved: [0; 2],
        }
    }
}

/// The IPv4 packet in a frame with up to two VLAN tags; `None` for everything else.
#[inline(always)]
pub fn ipv4(frame: &impl Load) -> Option<Packet<V4>> {
    network(frame, ethertype(frame)?)
}

/// The IPv6 packet in a frame with up to two VLAN tags; `None` for everything else.
#[inline(always)]
pub fn ipv6(frame: &impl Load) -> Option<Packet<V6>> {
    network(frame, ethertype(frame)?)
}

/// What is behind the Ethernet addresses of a frame: an EtherType, of a tag or of what it carries.
#[inline(always)]
pub fn ethertype(frame: &impl Load) -> Option<u16> {
    Some(u16::from_be_bytes(frame.load(12)?))
}

/// The IP packet of this version in a frame with up to two VLAN tags and this [`ethertype`]; `None` for everything else.
#[inline(always)]
pub fn network<A: Address>(frame: &impl Load, ethertype: u16) -> Option<Packet<A>> {
    // Without CAP_PERFMON the verifier accepts no variable offset into the frame: untagged frames have a branch with
    // constant ones, the others go the slow way.
    if ethertype == A::ETHERTYPE {
        return A::packet(frame, UNTAGGED, [0, 0]);
    }
    if !is_tag(ethertype) {
        return None;
    }
    let outer = u16::from_be_bytes(frame.load(14)?) & VLAN_ID;
    let ethertype = u16::from_be_bytes(frame.load(16)?);
    let (offset, inner) = if ethertype == A::ETHERTYPE {
        (18, 0)
    } else if is_tag(ethertype) {
        let inner = u16::from_be_bytes(frame.load(18)?) & VLAN_ID;
        if u16::from_be_bytes(frame.load(20)?) != A::ETHERTYPE {
            return None;
        }
        (22, inner)
    } else {
        return None;
    };
    A::tagged(frame, offset, [outer, inner])
}

#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ)
}

impl Address for V4 {
    const FAMILY: u8 = FAMILY_V4;
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;

    #[inline(always)]
    fn from_field(field: [u8; 16]) -> Self {
        [field[0], field[1], field[2], field[3]]
    }

    #[inline(always)]
    fn to_field(self) -> [u8; 16] {
        // As words: of bytes the compiler makes a call of memset, which the verifier refuses to a
        // daemon without CAP_PERFMON.
        bytemuck::cast([u32::from_ne_bytes(self), 0, 0, 0])
    }

    #[inline(always)]
    fn sum(self) -> u64 {
        u64::from(u32::from_ne_bytes(self))
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        u32::from_ne_bytes(self) == u32::from_ne_bytes(other)
    }

    /// 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and 255.255.255.255 (RFC 1122 section 3.2.1.3).
    #[inline(always)]
    fn is_impossible_source(self) -> bool {
        let first = self[0];
        first == 0 || first == 127 || first & 0xf0 == 0xe0 || u32::from_ne_bytes(self) == u32::MAX
    }

    #[inline(always)]
    fn packet(frame: &impl Load, offset: usize, vlan: [u16; 2]) -> Option<Packet<Self>> {
        Some(ipv4_packet(&frame.load(offset)?, offset, vlan))
    }

    #[inline(always)]
    fn tagged(frame: &impl Load, offset: usize, vlan: [u16; 2]) -> Option<Packet<Self>> {
        Some(ipv4_packet(&frame.load_at(offset)?, offset, vlan))
    }

    #[inline(always)]
    fn payload(frame: &mut impl Load, packet: &Packet<Self>) -> Result<Payload, Reason> {
        let [first, _, l0, l1, _, _, f0, f1, ttl, ..] = packet.begin;
        let header_len = usize::from(first & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([l0, l1]));
        let sound = first >> 4 == 4 && header_len >= IPV4_HEADER_LEN && total_len >= header_len;
        ensure(sound, Reason::IpHeader)?;
        ensure(packet.offset + total_len <= frame.frame_len(), Reason::Truncated)?;
        let sum = if header_len == IPV4_HEADER_LEN {
            let [a, b, c]: [u32; 3] = bytemuck::cast(packet.begin);
            u64::from(a)
                + u64::from(b)
                + u64::from(c)
                + packet.source.sum()
                + packet.destination.sum()
        } else {
            u64::from(frame.sum(packet.offset, header_len).ok_or(Reason::Truncated)?)
        };
        ensure(is_complete(sum), Reason::IpChecksum)?;
        ensure(u16::from_be_bytes([f0, f1]) & IPV4_FRAGMENT == 0, Reason::Fragment)?;
        let len = total_len - header_len;
        Ok(Payload { ttl, offset: packet.offset + header_len, len })
    }

    /// An IP header that claims to be shorter than any can be is taken for the shortest.
    #[inline(always)]
    fn message(packet: &Packet<Self>) -> (u8, usize) {
        let [first, _, _, _, _, _, _, _, ttl, ..] = packet.begin;
        let header_len = (usize::from(first & 0x0f) * 4).max(IPV4_HEADER_LEN);
        (ttl, packet.offset + header_len)
    }

    #[inline(always)]
    fn extent(frame: &impl Load, packet: &Packet<Self>) -> Extent {
        let (ttl, offset) = Self::message(packet);
        let [_, _, l0, l1, ..] = packet.begin;
        let header_len = offset - packet.offset;
        let wire_len = usize::from(u16::from_be_bytes([l0, l1])).saturating_sub(header_len);
        let present =
            frame.frame_len().saturating_sub(offset).min(wire_len).min(SAMPLE_PAYLOAD_LEN);
        Extent { ttl, offset, wire_len, present }
    }
}

#[inline(always)]
fn ipv4_packet(header: &[u8; IPV4_HEADER_LEN], offset: usize, vlan: [u16; 2]) -> Packet<V4> {
    let [a, b, c, source, destination]: [u32; 5] = bytemuck::cast(*header);
    let (source, destination) = (source.to_ne_bytes(), destination.to_ne_bytes());
    let begin = bytemuck::cast([a, b, c]);
    Packet { vlan, offset, begin, protocol: header[9], extensions: 0, source, destination }
}

#[inline(always)]
fn ipv6_packet(header: &[u8; IPV6_HEADER_LEN], offset: usize, vlan: [u16; 2]) -> Packet<V6> {
    // As words: one address of many bytes would take many of the few registers.
    let [begin, s0, s1, d0, d1]: [u64; 5] = bytemuck::cast(*header);
    let [a, b]: [u32; 2] = bytemuck::cast(begin);
    let begin = bytemuck::cast([a, b, 0]);
    let (source, destination) = (bytemuck::cast([s0, s1]), bytemuck::cast([d0, d1]));
    Packet { vlan, offset, begin, protocol: header[6], extensions: 0, source, destination }
}

impl Address for V6 {
    const FAMILY: u8 = FAMILY_V6;
    const ETHERTYPE: u16 = ETHERTYPE_IPV6;

    #[inline(always)]
    fn from_field(field: [u8; 16]) -> Self {
        field
    }

    #[inline(always)]
    fn to_field(self) -> [u8; 16] {
        self
    }

    #[inline(always)]
    fn sum(self) -> u64 {
        let [a, b, c, d]: [u32; 4] = bytemuck::cast(self);
        u64::from(a) + u64::from(b) + u64::from(c) + u64::from(d)
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        // As numbers, which compare without a call of memcmp.
        let [a, b]: [u64; 2] = bytemuck::cast(self);
        let [c, d]: [u64; 2] = bytemuck::cast(other);
        a == c && b == d
    }

    /// `::`, `::1`, `::ffff:0:0/96` and `ff00::/8` (RFC 4291 section 2; `ip6_rcv_core`, net/ipv6/ip6_input.c).
    #[inline(always)]
    fn is_impossible_source(self) -> bool {
        let [high, low]: [u64; 2] = bytemuck::cast(self);
        let low = u64::from_be(low);
        self[0] == 0xff || (high == 0 && (low <= 1 || low >> 32 == 0xffff))
    }

    #[inline(always)]
    fn packet(frame: &impl Load, offset: usize, vlan: [u16; 2]) -> Option<Packet<Self>> {
        Some(ipv6_packet(&frame.load(offset)?, offset, vlan))
    }

    #[inline(always)]
    fn tagged(frame: &impl Load, offset: usize, vlan: [u16; 2]) -> Option<Packet<Self>> {
        Some(ipv6_packet(&frame.load_at(offset)?, offset, vlan))
    }

    #[inline(always)]
    fn payload(frame: &mut impl Load, packet: &Packet<Self>) -> Result<Payload, Reason> {
        let [version, _, _, _, l0, l1, _, ttl, ..] = packet.begin;
        ensure(version >> 4 == 6, Reason::IpHeader)?;
        let (offset, len) =
            (packet.offset + IPV6_HEADER_LEN, usize::from(u16::from_be_bytes([l0, l1])));
        ensure(offset + len <= frame.frame_len(), Reason::Truncated)?;
        let extensions = usize::from(packet.extensions);
        ensure(extensions <= len, Reason::IpHeader)?;
        Ok(Payload { ttl, offset: offset + extensions, len: len - extensions })
    }

    #[inline(always)]
    fn message(packet: &Packet<Self>) -> (u8, usize) {
        let [_, _, _, _, _, _, _, hop_limit, ..] = packet.begin;
        (hop_limit, packet.offset + IPV6_HEADER_LEN + usize::from(packet.extensions))
    }

    #[inline(always)]
    fn extent(frame: &impl Load, packet: &Packet<Self>) -> Extent {
        let (ttl, offset) = Self::message(packet);
        let [_, _, _, _, l0, l1, ..] = packet.begin;
        let extensions = usize::from(packet.extensions);
        let wire_len = usize::from(u16::from_be_bytes([l0, l1])).saturating_sub(extensions);
        let present =
            frame.frame_len().saturating_sub(offset).min(wire_len).min(SAMPLE_PAYLOAD_LEN);
        Extent { ttl, offset, wire_len, present }
    }
}

/// Whether a header of this kind may have a VRRP message behind it.
#[inline(always)]
pub fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | FRAGMENT | DESTINATION_OPTIONS)
}

/// Whether and where an IPv6 packet that shows no VRRP at a glance has a VRRP message: behind up to [`MAX_EXTENSIONS`]
/// hop-by-hop options, destination options and fragment headers, the first of which is of the kind `next_header` and
/// stands behind the fixed header of a packet at `offset`. `None` for any other packet, and for a chain of headers that
/// ends early. The stack would look at the options; here only their length counts.
#[inline(always)]
pub fn chain(frame: &impl Load, offset: usize, next_header: u8) -> Option<Chain> {
    if !is_extension(next_header) {
        return None;
    }
    // Kind of the header that comes next, whether the packet is a part, and bytes until there: one number without
    // branches in between, as the verifier would follow each way through the headers before.
    const PART: u32 = 1 << 8;
    let mut state = u32::from(next_header);
    for _ in 0..MAX_EXTENSIONS {
        state = frame.forget(state);
        let header = offset + IPV6_HEADER_LEN + (state >> 16) as usize;
        let [next, len, f0, f1] = frame.load_at(header)?;
        let fragment = u16::from_be_bytes([f0, f1]);
        state = if state & 0xff == u32::from(FRAGMENT) {
            if fragment & IPV6_OFFSET != 0 {
                // Not the beginning of anything.
                let found = Chain { reason: Reason::Fragment, extensions: NOWHERE };
                return (next == IPPROTO_VRRP).then_some(found);
            }
            let part = u32::from(fragment & MORE_FRAGMENTS) * PART;
            (state | part).wrapping_add(8 << 16)
        } else {
            state.wrapping_add((u32::from(len) + 1) << 19)
        };
        if next == IPPROTO_VRRP {
            let reason = if state & PART != 0 { Reason::Fragment } else { Reason::Accepted };
            return Some(Chain { reason, extensions: (state >> 16) as u16 });
        }
        // Hop-by-hop options stand nowhere but in the first place (RFC 8200 section 4.1).
        if next != FRAGMENT && next != DESTINATION_OPTIONS {
            return None;
        }
        state = state & !0xff | u32::from(next);
    }
    Some(Chain { reason: Reason::ExtensionHeaders, extensions: NOWHERE })
}

/// An IPv6 packet with what [`chain`] finds out about it; `None` unless it has to do with VRRP. For callers that follow
/// headers as they like: the kernel side calls `chain` itself.
/// Errors: why its message cannot be checked.
pub fn ipv6_vrrp(frame: &impl Load) -> Option<Result<Packet<V6>, Reason>> {
    let packet = ipv6(frame)?;
    if packet.is_vrrp() {
        return Some(Ok(packet));
    }
    let Chain { reason, extensions } = chain(frame, packet.offset, packet.protocol)?;
    let accepted = reason == Reason::Accepted;
    Some(if accepted { Ok(Packet { extensions, ..packet }) } else { Err(reason) })
}

/// The sender of an ARP request or reply for IPv4 over Ethernet; `None` for everything else, and for a frame with a
/// VLAN ID: that belongs to the VLAN device above, whose own program sees it.
#[inline(always)]
pub fn arp_sender(frame: &impl Load) -> Option<ArpSender> {
    match u16::from_be_bytes(frame.load(12)?) {
        ETHERTYPE_ARP => arp_sender_at(frame, 14),
        // A priority tag.
        ETHERTYPE_VLAN if u16::from_be_bytes(frame.load(14)?) & VLAN_ID == 0 => {
            match u16::from_be_bytes(frame.load(16)?) {
                ETHERTYPE_ARP => arp_sender_at(frame, 18),
                _ => None,
            }
        }
        _ => None,
    }
}

#[inline(always)]
fn arp_sender_at(frame: &impl Load, offset: usize) -> Option<ArpSender> {
    // The target is not looked at, but must be there: the stack drops the message otherwise.
    let message: [u8; 28] = frame.load(offset)?;
    // As numbers, which compare without a call of memcmp, and go into registers whole.
    let [kind, operation, mac, mac_and_address, address, ..]: [u32; 7] = bytemuck::cast(message);
    if !is_arp(u32::from_be(kind), u32::from_be(operation)) {
        return None;
    }
    let [a, b, c, d] = mac.to_ne_bytes();
    let [e, f, i, j] = mac_and_address.to_ne_bytes();
    let [k, l, _, _] = address.to_ne_bytes();
    Some(ArpSender { mac: [a, b, c, d, e, f, 0, 0], address: [i, j, k, l] })
}

/// Whether an ARP message that begins with these words is a request or reply for IPv4 over Ethernet.
#[inline(always)]
pub fn is_arp(kind: u32, operation: u32) -> bool {
    kind == ARP_ETHERNET_IPV4 && matches!(operation, ARP_REQUEST | ARP_REPLY)
}

/// What a neighbour solicitation or advertisement says of its sender; `None` for everything else, for what the stack
/// would drop (RFC 4861 sections 7.1.1, 7.1.2; its checksum is [`ndisc_is_intact`]) and, as with ARP, for a frame with a
/// VLAN ID. The Ethernet address is that of the first option, or else that of the frame's sender.
#[inline(always)]
pub fn ndisc_claim(frame: &impl Load, packet: &Packet<V6>) -> Option<NdiscClaim> {
    let [v0, v1] = packet.vlan;
    if packet.protocol != IPPROTO_ICMPV6 || v0 != 0 || v1 != 0 {
        return None;
    }
    let message = packet.offset + IPV6_HEADER_LEN;
    let [kind, code]: [u8; 2] = frame.load_at(message)?;
    let [.., hop_limit, _, _, _, _] = packet.begin;
    if code != 0 || hop_limit != NDISC_HOP_LIMIT {
        return None;
    }
    let target: V6 = frame.load_at(message + 8)?;
    let (address, wanted) = match kind {
        NEIGHBOUR_SOLICITATION => (packet.source, SOURCE_LINK_LAYER),
        NEIGHBOUR_ADVERTISEMENT => (target, TARGET_LINK_LAYER),
        _ => return None,
    };
    let [a, b, c, d, e, f] = match frame.load_at(message + NDISC_OPTIONS) {
        Some([kind, 1, a, b, c, d, e, f]) if kind == wanted => [a, b, c, d, e, f],
        Some(_) | None => frame.load(6)?,
    };
    Some(NdiscClaim { mac: [a, b, c, d, e, f, 0, 0], address })
}

/// Whether the checksum of a neighbour discovery message is right (RFC 4443 section 2.3). That of a message with more
/// than two options of eight bytes is not looked at: nothing that claims an address has them, and lengths that are
/// constants cost the verifier least.
#[inline(always)]
pub fn ndisc_is_intact(frame: &mut impl Load, packet: &Packet<V6>) -> bool {
    let Ok(Payload { offset, len, .. }) = V6::payload(frame, packet) else { return false };
    let sum = match len {
        24 => frame.sum(offset, 24),
        32 => frame.sum(offset, 32),
        40 => frame.sum(offset, 40),
        _ => return len > 40 && len.is_multiple_of(8),
    };
    let pseudo = pseudo_header_sum(packet.source, packet.destination, IPPROTO_ICMPV6, len);
    sum.is_some_and(|sum| is_complete(u64::from(sum) + pseudo))
}

/// The VRRP message in a packet of protocol 112, so far that the router can be looked up.
/// Errors: those of [`Address::payload`], and a message that is too short to name its router.
#[inline(always)]
pub fn advert<A: Address>(frame: &mut impl Load, packet: &Packet<A>) -> Result<Advert<A>, Reason> {
    let Payload { ttl, offset, len } = A::payload(frame, packet)?;
    ensure(len >= VRRP_HEADER_LEN, Reason::VrrpHeader)?;
    Ok(Advert {
        vlan: packet.vlan,
        source: packet.source,
        destination: packet.destination,
        ttl,
        offset,
        len,
        header: frame.load_at(offset).ok_or(Reason::Truncated)?,
    })
}

/// The receive checks of RFC 9568 section 7.1 and RFC 3768 section 7.1, on a message for a router of
/// ours: [`Reason::Accepted`], or the first check that fails.
#[inline(always)]
pub fn check<A: Address>(frame: &mut impl Load, advert: &Advert<A>, entry: &RouterEntry) -> Reason {
    let refusal = way_refusal(frame, advert, entry)
        .and_then(|()| contents_refusal::<A, false>(frame, advert, entry));
    reason(refusal)
}

/// Those of them on the way that a message has come, and on what it is.
#[inline(always)]
pub fn check_way<A: Address>(frame: &impl Load, advert: &Advert<A>, entry: &RouterEntry) -> Reason {
    reason(way_refusal(frame, advert, entry))
}

/// The others, where a message may have a trailer ([`crate::hmac`]), which the checksum does not cover over IPv4.
#[inline(always)]
pub fn check_contents<A: Address>(
    frame: &mut impl Load,
    advert: &Advert<A>,
    entry: &RouterEntry,
) -> Reason {
    reason(contents_refusal::<A, true>(frame, advert, entry))
}

#[inline(always)]
fn reason(refusal: Result<(), Reason>) -> Reason {
    match refusal {
        Ok(()) => Reason::Accepted,
        Err(reason) => reason,
    }
}

/// What comes behind [`check`] for a router with [`transport::PEERS`]: the sender must be one of its peers, whose TTLs
/// are `allowed`, and the message must have come no other way than that (keepalived's `check_unicast_src`).
#[inline(always)]
pub fn check_peer<A: Address>(advert: &Advert<A>, allowed: Option<&TtlRange>) -> Reason {
    match allowed {
        None => Reason::UnknownPeer,
        Some(range) if advert.ttl < range.min || advert.ttl > range.max => Reason::PeerTtl,
        Some(_) => Reason::Accepted,
    }
}

/// Where the trailer of a message is, if it has one: exactly as much behind what it states to be.
#[inline(always)]
pub fn trailer<A: Address>(advert: &Advert<A>, version: u8) -> Option<usize> {
    let stated = advert.stated_len(version);
    (advert.len == stated + TRAILER_LEN).then_some(advert.offset + stated)
}

/// Bytes of a message that its checksum covers, over IPv4 without the trailer; and what takes the trailer away again from a ones'
/// complement sum of all.
#[inline(always)]
fn uncovered<A: Address>(frame: &impl Load, advert: &Advert<A>, version: u8) -> (usize, u64) {
    let Some(at) = trailer(advert, version).filter(|_| A::FAMILY == FAMILY_V4) else {
        return (advert.len, 0);
    };
    let words: [u32; TRAILER_LEN / 4] =
        bytemuck::cast(frame.load_at::<TRAILER_LEN>(at).unwrap_or([0; TRAILER_LEN]));
    let [a, b, c, d, e, f, g] = words.map(|word| u64::from(!word));
    (advert.len - TRAILER_LEN, a + b + c + d + e + f + g)
}

#[inline(always)]
fn way_refusal<A: Address>(
    frame: &impl Load,
    advert: &Advert<A>,
    entry: &RouterEntry,
) -> Result<(), Reason> {
    let header = Header(advert.header);
    let local = A::from_field(entry.local);

    // First whether the message is meant for this router at all: what passes through on its way to
    // another host has a lower TTL and is none of our business.
    ensure(!frame.is_for_other_host(entry.mac), Reason::OtherHost)?;
    ensure(advert.destination.is(A::from_field(entry.destination)), Reason::OtherDestination)?;
    ensure(!advert.source.is_impossible_source(), Reason::ImpossibleSource)?;
    ensure(!advert.source.is(local), Reason::OwnAddress)?;
    // Unicast peers may be networks apart, and the RFCs know only multicast. keepalived sends IPv6 unicast with
    // whatever hop limit is the host's default, 64 as a rule, and looks at none unless a peer has a range.
    let any_ttl = entry.transport != transport::MULTICAST;
    ensure(advert.ttl == VRRP_TTL || any_ttl, Reason::Ttl)?;
    ensure(header.version() == entry.version, Reason::Version)?;
    ensure(header.message_type() == TYPE_ADVERTISEMENT, Reason::PacketType)?;

    ensure(header.fits(entry.version, size_of::<A>(), advert.len), Reason::VrrpLength)
}

#[inline(always)]
fn contents_refusal<A: Address, const SIGNED: bool>(
    frame: &mut impl Load,
    advert: &Advert<A>,
    entry: &RouterEntry,
) -> Result<(), Reason> {
    let (header, len) = (Header(advert.header), advert.len);
    let mut sum = u64::from(frame.sum(advert.offset, len).ok_or(Reason::Truncated)?);
    let mut covered = len;
    if SIGNED {
        let trailer;
        (covered, trailer) = uncovered(frame, advert, entry.version);
        sum += trailer;
    }
    let intact = is_intact(sum, entry.version, advert.source, advert.destination, covered);
    ensure(intact, Reason::Checksum)?;
    ensure(!header.lacks_addresses(entry.version), Reason::NoAddresses)?;

    if entry.version == 2 {
        ensure(header.auth_type() == entry.auth_type, Reason::AuthType)?;
        if header.auth_type() == AUTH_PASSWORD {
            let password: Option<[u8; VRRP_AUTH_LEN]> =
                frame.load_at(advert.offset + header.addresses_end(size_of::<A>()));
            ensure(password == Some(entry.auth_data), Reason::AuthData)?;
        }
        ensure(header.interval(2) == u16::from(entry.interval), Reason::Interval)
    } else {
        ensure(header.interval(3) != 0, Reason::ZeroInterval)?;
        if A::FAMILY == FAMILY_V6 && entry.link_local_first != 0 {
            let first = frame.load_summed::<2, VRRP_HEADER_LEN>(advert.offset);
            return ensure(first.is_some_and(is_link_local), Reason::FirstAddress);
        }
        Ok(())
    }
}

/// Whether the checksum of a VRRP message is right, by the ones' complement sum of its bytes in native byte order.
///
/// Version 3 over IPv4 is sent both ways: with the pseudo-header (RFC 5798 section 5.2.8) and without (RFC 9568 section
/// 5.2.8), version 2 without (RFC 3768 section 5.3.8). Over IPv6 there is always one.
#[inline(always)]
pub fn is_intact<A: Address>(sum: u64, version: u8, source: A, destination: A, len: usize) -> bool {
    let is_v4 = A::FAMILY == FAMILY_V4;
    (is_v4 && is_complete(sum))
        || ((!is_v4 || version != 2)
            && is_complete(sum + pseudo_header_sum(source, destination, IPPROTO_VRRP, len)))
}

/// Whether an IPv6 address that begins like this is link-local (RFC 4291 section 2.4).
#[inline(always)]
fn is_link_local([first, second]: [u8; 2]) -> bool {
    first == 0xfe && second & 0xc0 == 0x80
}

/// An Ethernet address as a number, which compares without a call of memcmp.
#[inline(always)]
fn mac_word([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

#[inline(always)]
fn ensure(condition: bool, reason: Reason) -> Result<(), Reason> {
    if condition { Ok(()) } else { Err(reason) }
}

/// The sum of the pseudo-header: source, destination, length, protocol (RFC 8200 section 8.1; RFC 5798 section 5.2.8
/// has the same with IPv4 addresses).
#[inline(always)]
fn pseudo_header_sum<A: Address>(source: A, destination: A, protocol: u8, len: usize) -> u64 {
    let [.., l0, l1] = len.to_be_bytes();
    source.sum()
        + destination.sum()
        + u64::from(u16::from_ne_bytes([0, protocol]))
        + u64::from(u16::from_ne_bytes([l0, l1]))
}

/// Whether data that includes its own checksum is intact: the folded sum is all ones (RFC 1071).
#[inline(always)]
fn is_complete(sum: u64) -> bool {
    let mut folded = (sum & 0xffff_ffff) + (sum >> 32);
    folded = (folded & 0xffff) + (folded >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    folded == 0xffff
}

/// A frame in ordinary memory.
impl Load for &[u8] {
    fn frame_len(&self) -> usize {
        self.len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }

    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.load(offset)
    }

    fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
        if !(4..=MAX_VRRP_LEN).contains(&len) || !len.is_multiple_of(4) {
            return None;
        }
        let message = self.get(offset..)?.get(..len)?;
        let words = message.as_chunks::<2>().0.iter();
        Some(words.map(|word| u32::from(u16::from_ne_bytes(*word))).sum())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{MULTICAST_V4, MULTICAST_V6};

    /// A frame whose end is out of the fast way's reach, as in a multi-buffer XDP frame.
    struct Split<'a> {
        frame: &'a [u8],
        linear: usize,
    }

    impl Load for Split<'_> {
        fn frame_len(&self) -> usize {
            self.frame.len()
        }

        fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
            self.frame.get(..self.linear)?.load(offset)
        }

        fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
            self.frame.load(offset)
        }

        fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
            self.frame.sum(offset, len)
        }
    }

    /// To which [`frame`] would go if it were unicast.
    const MAC: [u8; 6] = [2; 6];

    fn entry(version: u8) -> RouterEntry {
        let mut entry = RouterEntry { version, interval: 1, mac: MAC, ..RouterEntry::default() };
        entry.local[..4].copy_from_slice(&[10, 0, 0, 1]);
        entry.destination[..4].copy_from_slice(&MULTICAST_V4);
        entry
    }

    /// What happens to a frame on a host with the same router under every key.
    fn receive(frame: &mut impl Load, entry: &RouterEntry) -> Option<Reason> {
        let packet = ipv4(frame)?;
        if !packet.is_vrrp() {
            return None;
        }
        Some(match advert(frame, &packet) {
            Ok(advert) => check(frame, &advert, entry),
            Err(reason) => reason,
        })
    }

    /// The bytes that make a sum of `bytes` and them all ones.
    fn complement(mut bytes: &[u8], seed: u64) -> [u8; 2] {
        let len = bytes.len();
        let mut sum = seed + u64::from(bytes.sum(0, len).expect("whole words"));
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!u16::try_from(sum).expect("folded")).to_ne_bytes()
    }

    /// A frame around a VRRP message whose checksum field is zero, with VLAN tags before and IP
    /// options within.
    fn frame(tags: &[u16], options: usize, message: &[u8], pseudo: bool) -> Vec<u8> {
        let mut message = message.to_vec();
        let header = 20 + 4 * options;
        let total = header + message.len();
        let addresses = [10, 0, 0, 2, 224, 0, 0, 18];
        let seed = if pseudo {
            let [.., high, low] = message.len().to_be_bytes();
            let mut words = addresses.to_vec();
            words.extend([0, 112, high, low]);
            u64::from((&words[..]).sum(0, 12).expect("whole words"))
        } else {
            0
        };
        let sum = complement(&message, seed);
        message[6..8].copy_from_slice(&sum);

        let mut ip = std::vec![1; header];
        let [.., high, low] = total.to_be_bytes();
        ip[..4].copy_from_slice(&[0x45 + u8::try_from(options).expect("0-10"), 0xc0, high, low]);
        ip[4..12].copy_from_slice(&[0, 0, 0x40, 0, 255, 112, 0, 0]);
        ip[12..20].copy_from_slice(&addresses);
        let sum = complement(&ip, 0);
        ip[10..12].copy_from_slice(&sum);

        let mut frame = std::vec![2; 12];
        for tag in tags {
            frame.extend(ETHERTYPE_VLAN.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend(ip);
        frame.extend(message);
        frame
    }

    const V2: [u8; 20] = [0x21, 51, 100, 1, 0, 1, 0, 0, 10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    const V3: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0, 0, 10, 0, 0, 9];

    /// Sent by keepalived 2.2.7: VRID 51, priority 255, 10.0.0.100 and 10.0.0.101, password "secret".
    const KEEPALIVED_V2: &str = "01005e00001222ef69e3f83b080045c0002c00010000ff70d08c0a000002e000\
        00122133ff0201018db30a0000640a0000657365637265740000";
    /// The same with version 3 and an interval of 0.5 s.
    const KEEPALIVED_V3: &str = "01005e00001252969e295ad2080045c0002400020000ff70d0930a000002e000\
        00123133ff020032d0390a0000640a000065";

    fn bytes_of(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn keepalived_is_understood() {
        let mut entry = entry(2);
        entry.auth_type = 1;
        entry.auth_data = *b"secret\0\0";
        let bytes = bytes_of(KEEPALIVED_V2);
        assert_eq!(receive(&mut &bytes[..], &entry), Some(Reason::Accepted));
        entry.auth_data[6] = b's';
        assert_eq!(receive(&mut &bytes[..], &entry), Some(Reason::AuthData));
        let bytes = bytes_of(KEEPALIVED_V3);
        assert_eq!(receive(&mut &bytes[..], &self::entry(3)), Some(Reason::Accepted));
    }

    #[test]
    fn both_versions_and_both_checksums() {
        for tags in [&[][..], &[7], &[7, 9]] {
            for options in 0..=10 {
                let bytes = frame(tags, options, &V3, true);
                assert_eq!(receive(&mut &bytes[..], &entry(3)), Some(Reason::Accepted));
                let bytes = frame(tags, options, &V3, false);
                assert_eq!(receive(&mut &bytes[..], &entry(3)), Some(Reason::Accepted));
                let bytes = frame(tags, options, &V2, false);
                assert_eq!(receive(&mut &bytes[..], &entry(2)), Some(Reason::Accepted));
                let bytes = frame(tags, options, &V2, true);
                assert_eq!(receive(&mut &bytes[..], &entry(2)), Some(Reason::Checksum));
            }
        }
    }

    #[test]
    fn the_message_is_where_the_headers_say() {
        let bytes = frame(&[0xe007, 9], 3, &V3, true);
        let mut bytes = &bytes[..];
        let packet = ipv4(&bytes).expect("IPv4");
        assert_eq!((packet.vlan, packet.offset), ([7, 9], 22));
        let advert = advert(&mut bytes, &packet).expect("sound");
        assert_eq!((advert.offset, advert.len, advert.ttl), (22 + 32, 12, 255));
        assert_eq!((advert.source, advert.destination), ([10, 0, 0, 2], MULTICAST_V4));
        assert_eq!((advert.header[..6].as_ref(), advert.priority()), (&V3[..6], 100));
        let key = RouterKey { ifindex: 4, vlan: [7, 9], family: 2, vrid: 51, reserved: [0; 2] };
        assert_eq!(advert.key(4), key);
    }

    #[test]
    fn only_peers_are_heard_and_from_no_farther_than_they_may_be() {
        let bytes = frame(&[], 0, &V3, true);
        let packet = ipv4(&&bytes[..]).expect("IPv4");
        let advert = advert(&mut &bytes[..], &packet).expect("sound");
        let mut arrived = advert;
        let mut from = |ttl, min, max| {
            arrived.ttl = ttl;
            check_peer(&arrived, Some(&TtlRange { min, max, reserved: [0; 2] }))
        };
        assert_eq!(check_peer(&advert, None), Reason::UnknownPeer);
        for (ttl, min, max) in [(0, 0, 255), (255, 0, 255), (60, 60, 60), (61, 60, 62)] {
            assert_eq!(from(ttl, min, max), Reason::Accepted, "{ttl} in {min}-{max}");
        }
        for (ttl, min, max) in [(59, 60, 60), (61, 60, 60), (255, 0, 254), (5, 6, 4)] {
            assert_eq!(from(ttl, min, max), Reason::PeerTtl, "{ttl} in {min}-{max}");
        }
    }

    #[test]
    fn an_extent_stays_within_the_frame() {
        let extent = |bytes: &[u8]| {
            let packet = ipv4(&bytes).expect("IPv4");
            let extent = Address::extent(&bytes, &packet);
            (extent.offset, extent.wire_len, extent.present)
        };
        let whole = frame(&[7], 3, &V2, false);
        assert_eq!(extent(&whole), (18 + 32, 20, 20));
        assert_eq!(extent(&[&whole[..], &[0; 9]].concat()), (18 + 32, 20, 20), "padding");
        assert_eq!(extent(&whole[..18 + 32 + 5]), (18 + 32, 20, 5));
        assert_eq!(extent(&whole[..18 + 32]), (18 + 32, 20, 0));
        assert_eq!(
            extent(&whole[..18 + 20]),
            (18 + 32, 20, 0),
            "the end of the IP header is missing"
        );
        let mut long = V3.to_vec();
        long.resize(1028, 0);
        assert_eq!(extent(&frame(&[], 0, &long, true)), (34, 1028, 64));

        let mut wrong = frame(&[], 0, &V3, true);
        wrong[14] = 0x41;
        assert_eq!(extent(&wrong), (34, 12, 12), "header length");
        wrong[16..18].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(extent(&wrong), (34, 0xffff - 20, 12), "total length too great");
        wrong[16..18].copy_from_slice(&[0, 19]);
        assert_eq!(extent(&wrong), (34, 0, 0), "total length too small");
    }

    #[test]
    fn checks_come_in_their_order() {
        // A message with everything wrong, repaired step by step.
        let mut entry = entry(2);
        entry.local[..4].copy_from_slice(&[10, 0, 0, 2]);
        entry.auth_type = 1;
        entry.auth_data = *b"secret\0\0";
        entry.destination = entry.local;
        let mut bytes = frame(&[], 0, &V2, false);
        bytes[5] = 9;
        bytes[14 + 8] = 254;
        bytes[14 + 12] = 224;
        bytes[34] = 0x32;
        bytes[34 + 3] = 4;
        bytes[34 + 5] = 9;
        // The IP header is summed again after each repair, the message is not.
        type Repair = fn(&mut Vec<u8>, &mut RouterEntry);
        let steps: [(Reason, Repair); 12] = [
            (Reason::OtherHost, |bytes, _| bytes[5] = 2),
            (Reason::OtherDestination, |_, entry| {
                entry.destination[..4].copy_from_slice(&MULTICAST_V4);
            }),
            (Reason::ImpossibleSource, |bytes, _| bytes[14 + 12] = 10),
            (Reason::OwnAddress, |_, entry| entry.local[3] = 1),
            (Reason::Ttl, |bytes, _| bytes[14 + 8] = 255),
            (Reason::Version, |bytes, _| bytes[34] = 0x22),
            (Reason::PacketType, |bytes, _| bytes[34] = 0x21),
            (Reason::VrrpLength, |bytes, _| bytes[34 + 3] = 1),
            (Reason::Checksum, |bytes, _| sum_message(bytes)),
            (Reason::AuthType, |bytes, _| {
                bytes[34 + 4] = 1;
                sum_message(bytes);
            }),
            (Reason::AuthData, |_, entry| entry.auth_data = [0; 8]),
            (Reason::Interval, |_, entry| entry.interval = 9),
        ];
        for (reason, repair) in steps {
            sum_ip(&mut bytes);
            assert_eq!(receive(&mut &bytes[..], &entry), Some(reason));
            repair(&mut bytes, &mut entry);
        }
        assert_eq!(receive(&mut &bytes[..], &entry), Some(Reason::Accepted));
    }

    fn sum_ip(bytes: &mut [u8]) {
        bytes[24..26].fill(0);
        let sum = complement(&bytes[14..34], 0);
        bytes[24..26].copy_from_slice(&sum);
    }

    fn sum_message(bytes: &mut [u8]) {
        bytes[40..42].fill(0);
        let sum = complement(&bytes[34..], 0);
        bytes[40..42].copy_from_slice(&sum);
    }

    #[test]
    fn frames_are_for_a_group_or_for_one_host() {
        let for_other = |destination: [u8; 6], mac| {
            let mut bytes = frame(&[], 0, &V3, true);
            bytes[..6].copy_from_slice(&destination);
            let reason = receive(&mut &bytes[..], &RouterEntry { mac, ..entry(3) });
            assert!(matches!(reason, Some(Reason::Accepted | Reason::OtherHost)), "{reason:?}");
            reason == Some(Reason::OtherHost)
        };
        // Unicast to ourselves is heard, also with the address of the group in it.
        assert!(!for_other(MAC, MAC));
        assert!(!for_other([0x01, 0, 0x5e, 0, 0, 18], MAC));
        assert!(!for_other([0xff; 6], MAC));
        for byte in 0..6 {
            let mut other = MAC;
            other[byte] ^= 0x80;
            assert!(for_other(other, MAC), "byte {byte}");
            // It is not known which address is ours.
            assert!(!for_other(other, [0; 6]));
        }
    }

    #[test]
    fn no_host_has_these_addresses() {
        for impossible in [
            [0, 0, 0, 0],
            [0, 255, 255, 255],
            [127, 0, 0, 1],
            [127, 255, 255, 255],
            [224, 0, 0, 18],
            [239, 255, 255, 255],
            [255; 4],
        ] {
            assert!(impossible.is_impossible_source(), "{impossible:?}");
        }
        for possible in [
            [1, 0, 0, 0],
            [10, 0, 0, 2],
            [126, 0, 0, 1],
            [128, 0, 0, 1],
            [223, 1, 1, 1],
            [240, 0, 0, 1],
        ] {
            assert!(!possible.is_impossible_source(), "{possible:?}");
        }
        let six = |words: [u16; 8]| bytemuck::cast::<_, V6>(words.map(u16::to_be));
        for impossible in [
            [0; 8],
            [0, 0, 0, 0, 0, 0, 0, 1],
            [0xff02, 0, 0, 0, 0, 0, 0, 0x12],
            [0xff00, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0xffff, 0x0a00, 2],
        ] {
            assert!(six(impossible).is_impossible_source(), "{impossible:x?}");
        }
        for possible in [
            [0xfe80, 0, 0, 0, 0, 0, 0, 1],
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
            [0x64, 0xff9b, 0, 0, 0, 0xffff, 0, 1],
        ] {
            assert!(!six(possible).is_impossible_source(), "{possible:x?}");
        }
    }

    #[test]
    fn padding_is_no_part_of_the_message() {
        let mut bytes = frame(&[], 0, &V3, true);
        bytes.resize(60, 0xff);
        assert_eq!(receive(&mut &bytes[..], &entry(3)), Some(Reason::Accepted));
    }

    /// An IPv6 frame for VRID 51 with these extension headers, each with its kind and its bytes behind the first one.
    fn frame_v6(extensions: &[(u8, &[u8])], last: u8) -> Vec<u8> {
        let mut message = std::vec![0x31, 51, 100, 1, 0, 100, 0, 0];
        message.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        let mut addresses = std::vec![0; 32];
        addresses[..2].copy_from_slice(&[0xfe, 0x80]);
        addresses[15] = 2;
        addresses[16..].copy_from_slice(&MULTICAST_V6);
        // Of the message alone, whatever stands before it.
        let pseudo = [&addresses[..], &[0, 0, 0, 24, 0, 0, 0, 112]].concat();
        let seed = u64::from((&pseudo[..]).sum(0, 40).expect("whole words"));
        let sum = complement(&message, seed);
        message[6..8].copy_from_slice(&sum);

        let mut chain = Vec::new();
        let kinds = extensions.iter().map(|(kind, _)| *kind).chain([last]);
        for ((_, bytes), next) in extensions.iter().zip(kinds.clone().skip(1)) {
            chain.push(next);
            chain.extend(*bytes);
        }
        let mut frame = std::vec![2; 12];
        frame.extend(ETHERTYPE_IPV6.to_be_bytes());
        let len = u8::try_from(chain.len() + message.len()).expect("short");
        frame.extend([0x60, 0, 0, 0, 0, len, kinds.clone().next().unwrap_or(last), 255]);
        frame.extend(addresses);
        frame.extend(chain);
        frame.extend(message);
        frame
    }

    fn receive_v6(mut bytes: &[u8]) -> Option<Reason> {
        let mut entry = RouterEntry { version: 3, ..RouterEntry::default() };
        entry.destination = MULTICAST_V6;
        Some(match ipv6_vrrp(&bytes)?.and_then(|packet| advert(&mut bytes, &packet)) {
            Ok(advert) => check(&mut bytes, &advert, &entry),
            Err(reason) => reason,
        })
    }

    const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    const WHOLE: &[u8] = &[0, 0, 0, 0, 0, 0, 9];
    /// The router alert that MLD has, as well.
    const ALERT: &[u8] = &[0, 5, 2, 0, 0, 1, 0];
    /// The first part of a packet, and a later one.
    const FIRST: &[u8] = &[0, 0, 1, 0, 0, 0, 9];
    const LATER: &[u8] = &[0, 0, 8, 0, 0, 0, 9];

    #[test]
    fn what_stands_before_the_message_changes_nothing() {
        let chains: [&[(u8, &[u8])]; 6] = [
            &[],
            &[(0, ALERT)],
            &[(60, PADDING)],
            &[(44, WHOLE)],
            &[(0, ALERT), (60, PADDING), (44, WHOLE), (60, PADDING)],
            &[(44, WHOLE), (44, WHOLE)],
        ];
        for chain in chains {
            let bytes = frame_v6(chain, IPPROTO_VRRP);
            assert_eq!(receive_v6(&bytes), Some(Reason::Accepted), "{chain:?}");
            let mut far = bytes.clone();
            far[14 + 7] = 254;
            assert_eq!(receive_v6(&far), Some(Reason::Ttl), "{chain:?}");
            assert_eq!(receive_v6(&frame_v6(chain, 6)), None, "{chain:?}");
            // Cut anywhere, it is incomplete, or nothing that is known.
            for len in 0..bytes.len() {
                let reason = receive_v6(&bytes[..len]);
                assert!(matches!(reason, None | Some(Reason::Truncated)), "{chain:?} to {len}");
            }
            // It says to be shorter than its headers are.
            if !chain.is_empty() {
                let mut short = bytes;
                short[14 + 5] = u8::try_from(8 * chain.len() - 1).expect("short");
                assert_eq!(receive_v6(&short), Some(Reason::IpHeader), "{chain:?}");
            }
        }
    }

    #[test]
    fn headers_that_lead_nowhere_are_told_apart() {
        let of = |chain: &[(u8, &[u8])]| receive_v6(&frame_v6(chain, IPPROTO_VRRP));
        for part in [FIRST, LATER, &[0, 0xff, 0xf8, 0, 0, 0, 9]] {
            assert_eq!(of(&[(44, part)]), Some(Reason::Fragment), "{part:?}");
            assert_eq!(of(&[(0, ALERT), (44, part)]), Some(Reason::Fragment), "{part:?}");
        }
        assert_eq!(of(&[(44, FIRST), (60, PADDING)]), Some(Reason::Fragment));
        // The rest of something whose beginning is elsewhere.
        assert_eq!(of(&[(44, LATER), (60, PADDING)]), None);
        assert_eq!(of(&[(60, PADDING); 5]), Some(Reason::ExtensionHeaders));
        assert_eq!(of(&[(44, WHOLE); 9]), Some(Reason::ExtensionHeaders));
        // A routing header, AH, and hop-by-hop options in the wrong place.
        for kind in [43, 51, 0] {
            assert_eq!(of(&[(60, PADDING), (kind, PADDING)]), None, "{kind}");
        }
        assert_eq!(of(&[(43, PADDING)]), None);
        assert_eq!(of(&[(51, PADDING)]), None);
    }

    /// An ARP message behind these tags.
    fn arp(tags: &[u16], operation: u16, mac: [u8; 6], address: [u8; 4]) -> Vec<u8> {
        let mut frame = std::vec![0xff; 12];
        for tag in tags {
            frame.extend(ETHERTYPE_VLAN.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4]);
        frame.extend(operation.to_be_bytes());
        frame.extend(mac);
        frame.extend(address);
        frame.extend([0xff; 10]);
        frame
    }

    /// A gratuitous reply (RFC 5944 section 4.6), byte by byte after RFC 826: 10.0.0.100 is at 02:00:00:00:00:02.
    const ARPING: &str = "ffffffffffff0200000000020806000108000604000202000000000\
        20a0000640200000000020a000064";

    #[test]
    fn arp_of_others_is_understood() {
        let bytes = bytes_of(ARPING);
        let sender = ArpSender { mac: [2, 0, 0, 0, 0, 2, 0, 0], address: [10, 0, 0, 100] };
        assert_eq!(arp_sender(&&bytes[..]), Some(sender));
    }

    #[test]
    fn only_arp_for_ipv4_over_ethernet_counts() {
        let good = arp(&[], 1, [2; 6], [10, 0, 0, 9]);
        assert!(arp_sender(&&good[..]).is_some());
        for (at, value) in
            [(12, 0x86), (15, 6), (16, 0x86), (18, 8), (19, 16), (20, 1), (21, 3), (21, 0)]
        {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(arp_sender(&&bad[..]), None, "byte {at}");
        }
        // 802.1Q with an ID belongs to a VLAN device, a priority tag does not.
        assert_eq!(arp_sender(&&arp(&[7], 1, [2; 6], [10, 0, 0, 9])[..]), None);
        assert_eq!(arp_sender(&&arp(&[0, 0], 1, [2; 6], [10, 0, 0, 9])[..]), None);
    }

    proptest! {
        #[test]
        fn an_arp_sender_is_read_as_written(
            mac: [u8; 6], address: [u8; 4], operation in 1u16..=2,
            priority in prop::option::of(0u16..16), padding in 0usize..30,
        ) {
            let tags: Vec<u16> = priority.into_iter().map(|bits| bits << 12).collect();
            let mut bytes = arp(&tags, operation, mac, address);
            let whole = bytes.len();
            bytes.resize(whole + padding, 0);
            let sender = arp_sender(&&bytes[..]).expect("ARP");
            prop_assert_eq!((&sender.mac[..6], sender.address), (&mac[..], address));
            // Cut anywhere, it is nothing.
            for len in 0..whole {
                prop_assert_eq!(arp_sender(&&bytes[..len]), None);
            }
            prop_assert_eq!(ipv4(&&bytes[..]), None);
        }

        #[test]
        fn random_arp_does_no_harm(rest in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = arp(&[], 1, [2; 6], [10, 0, 0, 9]);
            bytes.truncate(14);
            bytes.extend(rest);
            let _ = arp_sender(&&bytes[..]);
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
            let _ = receive(&mut &bytes[..], &entry(3));
        }

        #[test]
        fn random_extension_headers_do_no_harm(
            kinds in prop::collection::vec(
                prop::sample::select(std::vec![0u8, 43, 44, 51, 60, 112]),
                1..8,
            ),
            rest in prop::collection::vec(any::<[u8; 6]>(), 8),
            len in 0u8..4,
            end in 14usize..400,
        ) {
            let bytes: Vec<_> = rest.iter().map(|rest| [&[len][..], rest].concat()).collect();
            let chain: Vec<(u8, &[u8])> =
                kinds.iter().zip(&bytes).map(|(kind, bytes)| (*kind, &bytes[..])).collect();
            let whole = frame_v6(&chain, IPPROTO_VRRP);
            let reason = receive_v6(&whole[..end.min(whole.len())]);
            // What is accepted was found behind headers that may stand there. Longer ones than these hide some of them.
            if len == 0 && reason == Some(Reason::Accepted) {
                let mut before = kinds.iter().take_while(|kind| **kind != 112);
                prop_assert!(before.all(|kind| is_extension(*kind)));
            }
        }

        /// Beyond the EtherType, where random bytes rarely come.
        #[test]
        fn random_packets_do_no_harm(
            tags in prop::collection::vec(any::<u16>(), 0..3),
            ihl in 0u8..16,
            rest in prop::collection::vec(any::<u8>(), 0..1200),
            version in 2u8..4,
        ) {
            let mut bytes = frame(&tags, 0, &V3, true);
            let start = 14 + 4 * tags.len();
            bytes.truncate(start + 20);
            bytes[start] = 0x40 | ihl;
            bytes.extend(rest);
            let _ = receive(&mut &bytes[..], &entry(version));
        }

        /// Wherever the linear part of a frame ends, the verdict is the same or the frame passes.
        #[test]
        fn a_split_changes_nothing(
            tags in prop::collection::vec(1u16..4095, 0..3),
            options in 0usize..=10,
            pseudo in any::<bool>(),
            damage in prop::option::of((0usize..80, any::<u8>())),
            linear in 0usize..120,
        ) {
            let mut bytes = frame(&tags, options, &V3, pseudo);
            if let Some((at, value)) = damage
                && let Some(byte) = bytes.get_mut(at)
            {
                *byte = value;
            }
            let whole = receive(&mut &bytes[..], &entry(3));
            let mut split = Split { frame: &bytes, linear: linear.min(bytes.len()) };
            let reason = receive(&mut split, &entry(3));
            prop_assert!(reason == whole || reason.is_none());
            if linear >= 22 + 20 {
                prop_assert_eq!(reason, whole);
            }
        }

        /// No single changed bit of an advertisement is overlooked, unless it belongs to nothing
        /// that is checked: the Ethernet addresses and tags.
        #[test]
        fn every_bit_counts(bit in 0usize..(20 + 12) * 8, pseudo in any::<bool>()) {
            let mut bytes = frame(&[], 0, &V3, pseudo);
            bytes[14 + bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(receive(&mut &bytes[..], &entry(3)), Some(Reason::Accepted));
        }
    }
}
