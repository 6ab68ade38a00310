//! What the kernel tells the daemon about one packet, through the ring buffer `EVENTS`.

use bytemuck::{Pod, Zeroable};

use crate::MAX_VRRP_LEN;

/// The fixed part of a ring-buffer record; `payload_len` bytes of VRRP message follow it.
///
/// With [`crate::reason::Reason::ArpConflict`] and [`crate::reason::Reason::NdiscConflict`] it reports that another host
/// claims an address instead: `source` is that address, and a [`Claim`] follows.
///
/// With a refusal ([`crate::reason::Reason::is_logged`]) the first [`crate::VRRP_HEADER_LEN`] bytes of the message follow,
/// or as many zeros where they are not there; the slot is [`NO_SLOT`], because it may be for nobody here, and `wire_len` is 0.
///
/// Integers are in host order, addresses in network order. An IPv4 address stands in the first four
/// bytes of its field, the rest is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RxEvent {
    /// Arrival, nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
    pub ktime_ns: u64,
    /// Interface on which the packet arrived.
    pub ifindex: u32,
    /// [`crate::reason::Reason`] as index.
    pub reason: u32,
    /// Index of the router in `SLOTS`; [`NO_SLOT`] when the packet was refused before that look-up.
    pub slot: u32,
    /// VLAN IDs in the frame, outermost first, 0 where there is none.
    pub vlan: [u16; 2],
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// [`crate::FAMILY_V4`] or [`crate::FAMILY_V6`].
    pub family: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Length of the VRRP message by the IP header, in bytes.
    pub wire_len: u16,
    /// Bytes of the VRRP message that follow this header: at most [`MAX_VRRP_LEN`].
    pub payload_len: u16,
    /// Always zero.
    pub reserved: u16,
    /// What this advertisement says, and who says it: differs, as a rule, from that of any other advertisement.
    pub digest: u64,
}

/// That another host claims an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Claim {
    /// The Ethernet address that it is said to be at.
    pub mac: [u8; 6],
    /// 1 if this host may have said so itself: all hosts of a router have its virtual MAC address, and the network may send
    /// back what is for all. 0 otherwise.
    pub may_be_ours: u8,
    /// Zero.
    pub reserved: u8,
}

impl Claim {
    /// As it follows the event; `None` when that is anything else.
    pub fn read(payload: &[u8]) -> Option<Self> {
        bytemuck::try_pod_read_unaligned(payload).ok()
    }
}

/// `RxEvent::slot` of a packet that belongs to no router of ours.
pub const NO_SLOT: u32 = u32::MAX;

/// Bytes of [`RxEvent`] itself.
pub const EVENT_HEADER_LEN: usize = size_of::<RxEvent>();

/// The longest record in the ring buffer, in bytes.
pub const MAX_EVENT_LEN: usize = EVENT_HEADER_LEN + MAX_VRRP_LEN;

impl RxEvent {
    /// Splits a ring-buffer record into its header and the VRRP message behind it.
    ///
    /// `None` when the record is shorter than it says.
    pub fn split(record: &[u8]) -> Option<(Self, &[u8])> {
        let header = record.get(..EVENT_HEADER_LEN)?;
        let event: Self = bytemuck::pod_read_unaligned(header);
        let payload = record.get(EVENT_HEADER_LEN..)?.get(..usize::from(event.payload_len))?;
        Some((event, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_checks_the_length() {
        let mut record = [0u8; EVENT_HEADER_LEN + 10];
        let event = RxEvent { payload_len: 10, ktime_ns: 7, ..RxEvent::default() };
        record[..EVENT_HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&event));
        let (read, payload) = RxEvent::split(&record).expect("complete");
        assert_eq!((read, payload.len()), (event, 10));
        assert!(RxEvent::split(&record[..EVENT_HEADER_LEN + 9]).is_none());
        assert!(RxEvent::split(&record[..EVENT_HEADER_LEN - 1]).is_none());
    }
}
