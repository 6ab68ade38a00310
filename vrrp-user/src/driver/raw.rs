//! Advertisements that a packet socket hands to the daemon itself, on interfaces that can be captured in no better way:
//! the checks of the kernel side, which is not there for them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use vrrp_common::VRRP_HEADER_LEN;
use vrrp_common::event::{NO_SLOT, RxEvent};
use vrrp_common::hmac::{Sequence, Signatures, Work};
use vrrp_common::maps::{HmacKey, HmacKeyId, PeerKey, RouterEntry, RouterKey, TtlRange, hmac};
use vrrp_common::parse::{self, Address, Advert, Load, Packet};
use vrrp_common::reason::Reason;
use vrrp_common::receive::{self, Routers};
use vrrp_common::report::REFUSAL_WINDOW_NS;

mod ah;

use super::Driver;
use crate::core::{AhAssociation, Input, InterfaceId, NamespaceId};
use crate::engine::time::Nanos;
use crate::engine::types::{Priority, RouterId};
use crate::io::bpf;
use crate::io::raw::RawSocket;
use crate::io::timer;
use crate::refused::Refused;
use crate::wire::family::from_field;

/// Bytes of a refused message that are logged.
#[allow(clippy::cast_possible_truncation, reason = "8")]
const HEADER_LEN: u16 = VRRP_HEADER_LEN as u16;

/// Frames that are read before timers are looked at again.
const AT_ONCE: usize = 1024;

/// What is kept of what was refused, senders and reasons: who forges sources fills no memory.
const KEPT: usize = 256;

/// What packet sockets have received and was refused, as the kernel side keeps samples of its own.
#[derive(Default)]
pub(super) struct Refusals {
    /// The latest of each reason from each sender.
    latest: BTreeMap<(Reason, u32, u8, IpAddr), Refused>,
    /// When the last one of a router was logged.
    logged: BTreeMap<(Option<u32>, Reason), Nanos>,
}

impl Refusals {
    /// The latest of each reason from each sender.
    pub(super) fn latest(&self) -> impl Iterator<Item = Refused> {
        self.latest.values().copied()
    }

    /// Something was refused. When there is no room, whoever was heard longest ago makes some.
    fn note(&mut self, refused: Refused) {
        let (ifindex, _, vrid) = refused.router();
        let key = (refused.reason, ifindex, vrid, refused.source());
        if self.latest.len() >= KEPT && !self.latest.contains_key(&key) {
            let oldest = self.latest.iter().min_by_key(|(_, known)| known.at());
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.latest.remove(&oldest);
            }
        }
        self.latest.insert(key, refused);
    }

    /// Whether it is logged: once a minute for each router and reason.
    fn may_log(&mut self, reason: Reason, slot: Option<u32>, now: Nanos) -> bool {
        let logged = self.logged.get(&(slot, reason)).copied();
        let soon = logged.is_some_and(|at| now < at + Nanos(REFUSAL_WINDOW_NS));
        if !soon {
            self.logged.insert((slot, reason), now);
        }
        !soon
    }
}

/// Keys and sequences of signed advertisements.
trait HmacMaps {
    fn key(&self, id: &HmacKeyId) -> Option<HmacKey>;
    fn mark(&self, peer: &PeerKey) -> Option<Sequence>;
}

/// A frame, and what it is conclude by.
struct Frame<'a, R> {
    bytes: &'a [u8],
    /// Whether the kernel says that it is for another host.
    for_other_host: bool,
    routers: &'a R,
    /// When it arrived.
    at: Nanos,
    /// What is to be remembered of it.
    mark: Option<(PeerKey, Sequence)>,
    work: Work,
}

impl<R: Routers> Routers for Frame<'_, R> {
    type Entry = R::Entry;

    fn router(&self, key: &RouterKey) -> Option<R::Entry> {
        self.routers.router(key)
    }

    fn allowed(&self, peer: &PeerKey) -> Option<TtlRange> {
        self.routers.allowed(peer)
    }
}

impl<R> Load for Frame<'_, R> {
    fn frame_len(&self) -> usize {
        self.bytes.len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.load(offset)
    }

    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.load(offset)
    }

    fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
        self.bytes.sum(offset, len)
    }

    fn is_for_other_host(&self, _: [u8; 6]) -> bool {
        self.for_other_host
    }
}

impl<R: HmacMaps> Signatures for Frame<'_, R> {
    fn work(&mut self) -> Option<&mut Work> {
        Some(&mut self.work)
    }

    fn take_key(&mut self, id: &HmacKeyId) -> bool {
        let key = self.routers.key(id);
        if let Some(key) = &key {
            self.work.set_key(key);
        }
        key.is_some()
    }

    fn copy_words<const AT: usize>(&mut self, offset: usize, len: usize) -> bool {
        self.work.block.copy_words::<AT>(self.bytes, offset, len)
    }

    fn mark(&self, peer: &PeerKey) -> Option<Sequence> {
        self.routers.mark(peer)
    }

    fn set_mark(&mut self, peer: &PeerKey, sequence: Sequence) -> bool {
        self.mark = Some((*peer, sequence));
        true
    }

    /// Read for a signed one only.
    fn clock(&self) -> Sequence {
        Sequence::at(self.at.0.wrapping_add(timer::realtime_offset()))
    }
}

/// What a frame of protocol 112 is.
#[derive(Debug, PartialEq, Eq)]
struct Judgement {
    reason: Reason,
    /// The router that it speaks of, if it is one of ours.
    slot: Option<u32>,
    /// An accepted advertisement, and where in the frame its message is.
    accepted: Option<(RxEvent, Range<usize>)>,
    /// The sequence of a signed one.
    mark: Option<(PeerKey, Sequence)>,
    /// The sequence number in an authentication header.
    ah_sequence: Option<u32>,
    /// What is to be said of one that is refused, for a router of ours.
    refused: Option<(RxEvent, [u8; VRRP_HEADER_LEN])>,
}

impl Judgement {
    fn refused(reason: Reason) -> Self {
        Self { reason, slot: None, accepted: None, mark: None, ah_sequence: None, refused: None }
    }
}

impl Routers for bpf::Datapath {
    type Entry = RouterEntry;

    fn router(&self, key: &RouterKey) -> Option<RouterEntry> {
        self.router(key)
    }

    fn allowed(&self, peer: &PeerKey) -> Option<TtlRange> {
        self.allowed(peer)
    }
}

impl HmacMaps for bpf::Datapath {
    fn key(&self, id: &HmacKeyId) -> Option<HmacKey> {
        self.hmac_key(id)
    }

    fn mark(&self, peer: &PeerKey) -> Option<Sequence> {
        self.hmac_mark(peer)
    }
}

/// `None` for what is neither of protocol 112 nor has that behind an authentication header. Of a router that has such, `association`
/// checks them.
fn check<'a>(
    frame: Frame<'_, impl Routers + HmacMaps>,
    ifindex: u32,
    association: impl FnOnce(RouterId) -> Option<&'a AhAssociation>,
) -> Option<Judgement> {
    match parse::ipv4(&frame) {
        Some(packet) if packet.is_vrrp() => check_packet(frame, &packet, ifindex),
        Some(packet) if vrrp_common::ah::is_vrrp(&frame, &packet) => {
            Some(ah::check(frame, &packet, ifindex, association))
        }
        Some(_) => None,
        None => match parse::ipv6_vrrp(&frame)? {
            Ok(packet) => check_packet(frame, &packet, ifindex),
            Err(reason) => Some(Judgement::refused(reason)),
        },
    }
}

/// As `receive` of the kernel side, with a packet of protocol 112.
fn check_packet<A: Address>(
    mut frame: Frame<'_, impl Routers + HmacMaps>,
    packet: &Packet<A>,
    ifindex: u32,
) -> Option<Judgement> {
    let advert = match parse::advert(&mut frame, packet) {
        Ok(advert) => advert,
        Err(reason) => return Some(Judgement::refused(reason)),
    };
    let Some(entry) = frame.router(&advert.key(ifindex)) else {
        return Some(Judgement::refused(Reason::UnknownVrid));
    };
    let entry = entry.as_ref();
    let peer = PeerKey { slot: entry.slot, source: advert.source.to_field() };
    let reason = if entry.hmac & hmac::AH == 0 {
        receive::check_signed(&mut frame, &advert, entry, &peer)
    } else {
        ah::without_header(receive::check(&mut frame, &advert, entry, &peer))
    };
    Some(conclude(&frame, &advert, entry, reason, ifindex))
}

/// What becomes of an advertisement for a router of ours.
fn conclude<A: Address, R>(
    frame: &Frame<'_, R>,
    advert: &Advert<A>,
    entry: &RouterEntry,
    reason: Reason,
    ifindex: u32,
) -> Judgement {
    let mut judgement = Judgement { slot: Some(entry.slot), ..Judgement::refused(reason) };
    judgement.mark = frame.mark;
    if reason.is_logged() {
        let event = receive::event(advert, ifindex, NO_SLOT, frame.at.0, 0);
        let event = RxEvent { reason: reason.index(), payload_len: HEADER_LEN, ..event };
        judgement.refused = Some((event, advert.header));
    }
    if reason == Reason::Accepted {
        let event = receive::event(advert, ifindex, entry.slot, frame.at.0, 0);
        judgement.accepted = Some((event, advert.offset..advert.offset + advert.len));
    }
    judgement
}

impl Driver {
    /// Hears what a packet socket has received until now. Returns whether more may be waiting.
    pub(super) fn drain_raw(&mut self, now: Nanos) -> bool {
        let mut more = false;
        for namespace in self.networks.with_raw() {
            let raw = self.networks.get_mut(namespace).and_then(|network| network.raw.take());
            let Some(mut socket) = raw else { continue };
            more |= self.receive_raw(namespace, &mut socket, now);
            // What was heard may have ended it.
            if let Some(network) = self.networks.get_mut(namespace) {
                network.raw = Some(socket);
            }
        }
        more
    }

    fn receive_raw(&mut self, namespace: NamespaceId, socket: &mut RawSocket, now: Nanos) -> bool {
        for _ in 0..AT_ONCE {
            let received = match socket.receive(now) {
                Ok(Some(received)) => received,
                Ok(None) => return false,
                Err(error) => {
                    log::error!("packet socket: {error}");
                    return false;
                }
            };
            let interface = InterfaceId { namespace, ifindex: received.ifindex };
            if !self.core.is_raw(interface) {
                continue;
            }
            let for_other_host = received.for_other_host;
            let frame = Frame {
                bytes: received.frame,
                for_other_host,
                routers: &self.datapath,
                at: received.at,
                mark: None,
                work: Work::default(),
            };
            let Some(number) = self.datapath.places.find(interface) else { continue };
            let association = |id| self.core.ah(id);
            let judgement = check(frame, number, association);
            let Some(judgement) = judgement else { continue };
            let Judgement { mut reason, slot, mut accepted, mark, ah_sequence, refused } =
                judgement;
            if let Some((event, header)) = refused {
                self.refusals.note(Refused::reported(reason, &event, &header));
                if self.refusals.may_log(reason, slot, now) {
                    self.handle(now, Input::Received { interface, event, payload: &header });
                }
            }
            if let Some((peer, sequence)) = mark
                && let Err(error) = self.datapath.set_hmac_mark(peer, sequence)
            {
                log::debug!("{}", bpf::chain(&error));
                // What cannot be remembered could be replayed.
                (reason, accepted) = (Reason::HmacReplay, None);
            }
            self.datapath.count_reason(reason);
            if let Some(slot) = slot.filter(|_| reason.is_for_router()) {
                self.datapath.note_in_slot(slot, received.at.0, accepted.is_some());
            }
            let Some((event, message)) = accepted else { continue };
            let Some(message) = received.frame.get(message) else { continue };
            let priority = message.get(2).copied().unwrap_or_default();
            let key = PeerKey { slot: event.slot, source: event.source };
            if let Err(error) = self.datapath.note_peer(key, event.ktime_ns, priority) {
                log::debug!("{}", bpf::chain(&error));
            }
            if let Some(sequence) = ah_sequence {
                let from = (Priority(priority), from_field(event.family, event.source));
                let router = RouterId(event.slot);
                self.core.accept_ah(router, sequence, from);
                if let Some(sequence) = self.core.signed_with(router) {
                    let _ = self.datapath.note_hmac_sequence(router.0, sequence);
                }
            }
            self.handle(now, Input::Received { interface, event, payload: message });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use vrrp_common::MULTICAST_V4;

    use super::*;

    /// One router: version 3, VRID 51 on interface 2.
    struct One;

    impl Routers for One {
        type Entry = RouterEntry;

        fn router(&self, key: &RouterKey) -> Option<RouterEntry> {
            let mut entry = RouterEntry { slot: 7, version: 3, ..RouterEntry::default() };
            entry.local[..4].copy_from_slice(&[10, 0, 0, 1]);
            entry.destination[..4].copy_from_slice(&MULTICAST_V4);
            (key.ifindex == 2 && key.vrid == 51 && key.vlan == [0, 0]).then_some(entry)
        }

        fn allowed(&self, _: &PeerKey) -> Option<TtlRange> {
            None
        }
    }

    impl HmacMaps for One {
        fn key(&self, _: &HmacKeyId) -> Option<HmacKey> {
            None
        }

        fn mark(&self, _: &PeerKey) -> Option<Sequence> {
            None
        }
    }

    /// One IPv6 router.
    struct Six;

    impl HmacMaps for Six {
        fn key(&self, _: &HmacKeyId) -> Option<HmacKey> {
            None
        }

        fn mark(&self, _: &PeerKey) -> Option<Sequence> {
            None
        }
    }

    impl Six {
        fn checked(&self, bytes: &[u8]) -> Option<Judgement> {
            let at = Nanos(5);
            let (mark, work) = (None, Work::default());
            let frame = Frame { bytes, for_other_host: false, routers: self, at, mark, work };
            check(frame, 2, |_| None)
        }
    }

    impl Routers for Six {
        type Entry = RouterEntry;

        fn router(&self, key: &RouterKey) -> Option<RouterEntry> {
            let destination = vrrp_common::MULTICAST_V6;
            let entry = RouterEntry { slot: 7, version: 3, destination, ..RouterEntry::default() };
            (key.vrid == 51).then_some(entry)
        }

        fn allowed(&self, _: &PeerKey) -> Option<TtlRange> {
            None
        }
    }

    fn sum(bytes: &[u8]) -> [u8; 2] {
        let words = bytes.as_chunks::<2>().0.iter();
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        (!u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()).to_be_bytes()
    }

    fn frame(vrid: u8, ttl: u8) -> Vec<u8> {
        let mut message = [0x31, vrid, 100, 1, 0, 100, 0, 0, 10, 0, 0, 100];
        let check = sum(&message);
        message[6..8].copy_from_slice(&check);
        let mut ip = [0; 20];
        ip[..4].copy_from_slice(&[0x45, 0xc0, 0, 32]);
        ip[8..10].copy_from_slice(&[ttl, 112]);
        ip[12..].copy_from_slice(&[10, 0, 0, 2, 224, 0, 0, 18]);
        let check = sum(&ip);
        ip[10..12].copy_from_slice(&check);
        let ethernet = [1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 2, 8, 0];
        [&ethernet[..], &ip, &message].concat()
    }

    fn checked(bytes: &[u8], for_other_host: bool, ifindex: u32) -> Option<Judgement> {
        let at = Nanos(5);
        let (mark, work) = (None, Work::default());
        let frame = Frame { bytes, for_other_host, routers: &One, at, mark, work };
        check(frame, ifindex, |_| None)
    }

    #[test]
    fn who_forges_sources_fills_no_memory() {
        let mut refusals = Refusals::default();
        for at in 0..2 * KEPT as u64 {
            let mut source = [0; 16];
            source[..4].copy_from_slice(&u32::try_from(at).unwrap().to_be_bytes());
            let family = vrrp_common::FAMILY_V4;
            let event = RxEvent { ktime_ns: at, ifindex: 2, family, source, ..RxEvent::default() };
            refusals.note(Refused::reported(Reason::HmacBad, &event, &[]));
        }
        let mut kept: Vec<u64> = refusals.latest().map(|refused| refused.at().0).collect();
        kept.sort_unstable();
        assert!(kept.into_iter().eq(KEPT as u64..2 * KEPT as u64));
        let minute = Nanos(REFUSAL_WINDOW_NS);
        let mut may_log = |slot, now| refusals.may_log(Reason::HmacBad, Some(slot), now);
        assert!(may_log(1, minute) && may_log(2, minute) && !may_log(1, Nanos(2 * minute.0 - 1)));
        assert!(may_log(1, Nanos(2 * minute.0)));
    }

    #[test]
    fn what_is_accepted_is_an_event_with_its_message() {
        let bytes = frame(51, 255);
        let judgement = checked(&bytes, false, 2).unwrap();
        assert_eq!((judgement.reason, judgement.slot), (Reason::Accepted, Some(7)));
        let (event, message) = judgement.accepted.unwrap();
        assert_eq!((event.ktime_ns, event.slot, event.ttl), (5, 7, 255));
        assert_eq!(event.source[..4], [10, 0, 0, 2]);
        assert_eq!(bytes[message].len(), usize::from(event.payload_len));
    }

    #[test]
    fn extension_headers_change_nothing() {
        let message = [0x31, 51, 100, 1, 0, 100, 0, 0];
        let address = |last| [&[0xfe, 0x80], &[0; 13][..], &[last]].concat();
        let addresses = [address(2), vrrp_common::MULTICAST_V6.to_vec()].concat();
        let mut message = [&message[..], &address(100)].concat();
        let check = sum(&[&addresses[..], &[0, 0, 0, 24, 0, 0, 0, 112], &message].concat());
        message[6..8].copy_from_slice(&check);
        let behind = |chain: &[u8], first: u8| {
            let length = u8::try_from(chain.len() + message.len()).unwrap();
            let ethernet = [0x33, 0x33, 0, 0, 0, 0x12, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
            let ip = [&[0x60, 0, 0, 0, 0, length, first, 255], &addresses[..]].concat();
            [&ethernet[..], &ip, chain, &message].concat()
        };
        let options = [60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 112, 0, 0, 0, 0, 0, 0, 9];
        for bytes in [behind(&[], 112), behind(&options, 0)] {
            let judgement = Six.checked(&bytes).unwrap();
            assert_eq!(judgement.reason, Reason::Accepted);
            assert_eq!(bytes[judgement.accepted.unwrap().1], message);
        }
        let mut part = options;
        part[19] = 1;
        let reason = |bytes: &[u8]| Six.checked(bytes).map(|judgement| judgement.reason);
        assert_eq!(reason(&behind(&part, 0)), Some(Reason::Fragment));
        let five = [60, 0, 1, 4, 0, 0, 0, 0].repeat(5);
        assert_eq!(reason(&behind(&five, 0)), Some(Reason::ExtensionHeaders));
        assert_eq!(reason(&behind(&options[16..], 43)), None);
    }

    #[test]
    fn what_is_refused_is_so_for_the_reason_of_the_kernel_side() {
        let reason = |bytes: &[u8], other, ifindex| {
            let judgement = checked(bytes, other, ifindex)?;
            assert_eq!(judgement.accepted, None);
            Some((judgement.reason, judgement.slot))
        };
        let bytes = frame(51, 255);
        assert_eq!(reason(&frame(51, 3), false, 2), Some((Reason::Ttl, Some(7))));
        assert_eq!(reason(&frame(52, 255), false, 2), Some((Reason::UnknownVrid, None)));
        assert_eq!(reason(&bytes, false, 3), Some((Reason::UnknownVrid, None)));
        assert_eq!(reason(&bytes, true, 2), Some((Reason::OtherHost, Some(7))));
        assert_eq!(reason(&bytes[..40], false, 2), Some((Reason::Truncated, None)));
        let mut tcp = bytes.clone();
        tcp[23] = 6;
        assert_eq!(reason(&tcp, false, 2), None);
        let mut damaged = bytes;
        damaged[40] ^= 1;
        assert_eq!(reason(&damaged, false, 2), Some((Reason::Checksum, Some(7))));
    }
}
