//! The authentication header (RFC 2402) in front of a VRRP message, as version 2 over IPv4 had it (RFC 2338 section 5.3.6) and
//! keepalived has it as `auth_type AH`: what it looks like, and where the message is. The value that it holds is computed and
//! compared by the daemon, with a library; the kernel side knows who must not have one.

use bytemuck::{Pod, Zeroable};

use crate::maps::{RouterKey, SLOT_REFUSED, hmac};
use crate::message::Header;
use crate::parse::{Address, Advert, Extent, Load, Packet, Payload, V4};
use crate::reason::Reason;
use crate::receive::Datapath;
use crate::shared::SharedWords;
use crate::{IPPROTO_VRRP, VRRP_HEADER_LEN};

/// IP protocol number of the authentication header (IANA).
pub const IPPROTO_AH: u8 = 51;
/// Authentication type in the message behind it (RFC 2338 section 5.3.6).
pub const AUTH_TYPE: u8 = 2;
/// Bytes of the integrity check value: HMAC-MD5, cut to 96 bits (RFC 2403 section 2).
pub const ICV_LEN: usize = 12;
/// Bytes of a header.
pub const LEN: usize = size_of::<AuthHeader>();
/// `Payload Len`: the whole of it in words of four bytes, less two (RFC 2402 section 2.2).
pub const PAYLOAD_LEN: u8 = 4;

/// The header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AuthHeader {
    /// What follows: [`IPPROTO_VRRP`].
    pub next_header: u8,
    /// [`PAYLOAD_LEN`].
    pub payload_len: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Security parameters index: the source address, of keepalived.
    pub spi: [u8; 4],
    /// Sequence number, in network order.
    pub sequence: [u8; 4],
    /// Integrity check value.
    pub icv: [u8; ICV_LEN],
}

/// Whether there is an authentication header with VRRP behind it in an IPv4 packet; what else has one is none of our business.
#[inline(always)]
pub fn is_vrrp(frame: &impl Load, packet: &Packet<V4>) -> bool {
    packet.protocol == IPPROTO_AH
        && frame.load_at::<1>(V4::message(packet).1) == Some([IPPROTO_VRRP])
}

/// The header in a packet of [`is_vrrp`], and the message behind it so far that the router can be looked up.
/// Errors: those of [`crate::parse::advert`], and [`Reason::AhMalformed`].
#[inline(always)]
pub fn advert(
    frame: &mut impl Load,
    packet: &Packet<V4>,
) -> Result<(AuthHeader, Advert<V4>), Reason> {
    let Payload { ttl, offset, len } = V4::payload(frame, packet)?;
    if len < LEN + VRRP_HEADER_LEN {
        return Err(Reason::VrrpHeader);
    }
    let bytes = frame.load_at::<LEN>(offset).ok_or(Reason::Truncated)?;
    let header: AuthHeader = bytemuck::cast(bytes);
    if header.payload_len != PAYLOAD_LEN {
        return Err(Reason::AhMalformed);
    }
    let (offset, len) = (offset + LEN, len - LEN);
    let message = frame.load_at(offset).ok_or(Reason::Truncated)?;
    let Packet { vlan, source, destination, .. } = *packet;
    Ok((header, Advert { vlan, source, destination, ttl, offset, len, header: message }))
}

/// What becomes of a packet of [`is_vrrp`] in the kernel side, which checks no header, as the index of a [`Reason`]: what is for a
/// router without one is refused.
#[inline(always)]
pub fn receive(path: &mut impl Datapath, packet: &Packet<V4>) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "shorter than a frame")]
    let message = path.forget((V4::message(packet).1 + LEN) as u32) as usize;
    let Some(header) = path.load_at::<VRRP_HEADER_LEN>(message) else {
        return Reason::Truncated.index();
    };
    let key = RouterKey {
        ifindex: path.ifindex(),
        vlan: packet.vlan,
        family: V4::FAMILY,
        vrid: Header(header).vrid(),
        reserved: [0; 2],
    };
    let Some(entry) = path.router(&key) else { return Reason::UnknownVrid.index() };
    let entry = entry.as_ref();
    if entry.hmac & hmac::AH != 0 {
        return Reason::HmacUnchecked.index();
    }
    if path.is_for_other_host(entry.mac) {
        return Reason::OtherHost.index();
    }
    if !packet.destination.is(V4::from_field(entry.destination)) {
        return Reason::OtherDestination.index();
    }
    if let Some(slot) = path.slot(entry.slot) {
        slot.increment::<SLOT_REFUSED>();
    }
    path.keep_refused(header);
    Reason::AhUnexpected.index()
}

/// Where the message of such a packet lies, whatever is wrong with it.
#[inline(always)]
pub fn extent(frame: &impl Load, packet: &Packet<V4>) -> Extent {
    let Extent { ttl, offset, wire_len, present } = V4::extent(frame, packet);
    let (wire_len, present) = (wire_len.saturating_sub(LEN), present.saturating_sub(LEN));
    Extent { ttl, offset: offset + LEN, wire_len, present }
}
