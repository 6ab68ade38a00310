//! Advertisements with an authentication header (`auth_type AH`): as the others, and then value, SPI and sequence number, in
//! keepalived's order.

use vrrp_common::ah::{self, AuthHeader};
use vrrp_common::maps::{PeerKey, hmac};
use vrrp_common::parse::{Address, Advert, Packet, V4};
use vrrp_common::reason::Reason;
use vrrp_common::receive::{self, Routers};

use super::{Frame, Judgement, conclude};
use crate::core::AhAssociation;
use crate::engine::types::RouterId;

/// Of a packet of [`ah::is_vrrp`].
pub(super) fn check<'a>(
    mut frame: Frame<'_, impl Routers>,
    packet: &Packet<V4>,
    ifindex: u32,
    association: impl FnOnce(RouterId) -> Option<&'a AhAssociation>,
) -> Judgement {
    let (header, advert) = match ah::advert(&mut frame, packet) {
        Ok(found) => found,
        Err(reason) => return Judgement::refused(reason),
    };
    let Some(entry) = frame.router(&advert.key(ifindex)) else {
        return Judgement::refused(Reason::UnknownVrid);
    };
    let entry = entry.as_ref();
    let peer = PeerKey { slot: entry.slot, source: advert.source.to_field() };
    let mut reason = receive::check(&mut frame, &advert, entry, &peer);
    // A router without the header has another type of authentication, or none.
    let has_header = entry.hmac & hmac::AH != 0;
    if !has_header && matches!(reason, Reason::Accepted | Reason::AuthType) {
        reason = Reason::AhUnexpected;
    }
    let mut sequence = None;
    if has_header && reason == Reason::Accepted {
        let association = association(RouterId(entry.slot));
        match association.map(|it| authentic(frame.bytes, packet, &advert, &header, it)) {
            Some(Ok(number)) => sequence = Some(number),
            Some(Err(refused)) => reason = refused,
            // The maps have a router that the core does not know any more.
            None => reason = Reason::AhBad,
        }
    }
    Judgement { ah_sequence: sequence, ..conclude(&frame, &advert, entry, reason, ifindex) }
}

/// A packet without the header, for a router that demands one and for which the other checks have this outcome.
pub(super) fn without_header(reason: Reason) -> Reason {
    if matches!(reason, Reason::Accepted | Reason::AuthType) { Reason::AhMissing } else { reason }
}

/// The sequence number of an authentic header. Errors: why it is refused.
fn authentic(
    frame: &[u8],
    packet: &Packet<V4>,
    advert: &Advert<V4>,
    header: &AuthHeader,
    association: &AhAssociation,
) -> Result<u32, Reason> {
    let bytes = frame.get(packet.offset..advert.offset + advert.len).unwrap_or_default();
    let header_len = V4::message(packet).1 - packet.offset;
    let sequence = u32::from_be_bytes(header.sequence);
    if !association.is_authentic(bytes, header_len) {
        Err(Reason::AhBad)
    } else if header.spi != packet.source {
        Err(Reason::AhSpi)
    } else if !association.is_new(sequence) {
        Err(Reason::AhReplay)
    } else {
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests {
    use vrrp_common::MULTICAST_V4;
    use vrrp_common::hmac::Sequence;
    use vrrp_common::maps::{HmacKey, HmacKeyId, RouterEntry, RouterKey, TtlRange};
    use vrrp_common::parse;

    use vrrp_common::hmac::Work;

    use super::super::HmacMaps;
    use super::*;
    use crate::engine::time::Nanos;
    use crate::wire::{ah as header, ipv4};

    /// One router, VRID 51 of version 2, with an authentication header or without.
    struct One {
        hmac: u8,
    }

    impl Routers for One {
        type Entry = RouterEntry;

        fn router(&self, key: &RouterKey) -> Option<RouterEntry> {
            let auth_type = if self.hmac == 0 { 0 } else { ah::AUTH_TYPE };
            let mut entry = RouterEntry {
                slot: 7,
                version: 2,
                interval: 1,
                auth_type,
                hmac: self.hmac,
                ..RouterEntry::default()
            };
            entry.local[..4].copy_from_slice(&[10, 0, 255, 2]);
            entry.destination[..4].copy_from_slice(&MULTICAST_V4);
            (key.vrid == 51).then_some(entry)
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

    /// Sent by keepalived 2.2.7 to the group: sequence number 1, priority 100.
    const SENT: &str = "01005e000012ca509a7832fb080045c0004400010000ff33d1b10a00ff01e0000012700400000a00ff01000000016cc85194f93f64c3044f551a\
                        21336402020164000a0000640a0000650000000000000000";
    const IP: usize = 14;
    const HEADER: usize = IP + 20;
    const MESSAGE: usize = HEADER + ah::LEN;

    fn sent() -> Vec<u8> {
        let digits = SENT.as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    fn judge(bytes: &[u8], hmac: u8, own: &AhAssociation) -> Option<(Reason, Option<u32>)> {
        let routers = One { hmac };
        let at = Nanos(5);
        let work = Work::default();
        let frame = Frame { bytes, for_other_host: false, routers: &routers, at, work, mark: None };
        let judgement = super::super::check(frame, 2, |id| {
            assert_eq!(id, RouterId(7));
            Some(own)
        })?;
        if judgement.reason == Reason::Accepted {
            let (event, message) = judgement.accepted.unwrap();
            assert_eq!((message.end, message.len(), event.payload_len), (bytes.len(), 24, 24));
        } else {
            assert_eq!((judgement.accepted, judgement.ah_sequence), (None, None));
        }
        Some((judgement.reason, judgement.ah_sequence))
    }

    fn own() -> AhAssociation {
        AhAssociation::new(b"pass123\0", false).unwrap()
    }

    /// With a value that fits what was changed.
    fn authenticated(mut bytes: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        change(&mut bytes);
        let spi: [u8; 4] = bytes[HEADER + 4..HEADER + 8].try_into().unwrap();
        let sequence = u32::from_be_bytes(bytes[HEADER + 8..HEADER + 12].try_into().unwrap());
        let key = header::key(b"pass123\0").unwrap();
        ipv4::set_ident(&mut bytes[IP..], 1);
        let source: [u8; 4] = bytes[IP + 12..IP + 16].try_into().unwrap();
        // Its SPI is the source: as long as it is made.
        bytes[IP + 12..IP + 16].copy_from_slice(&spi);
        header::fill(&key, &mut bytes[IP..], sequence, false);
        if source != spi {
            bytes[IP + 12..IP + 16].copy_from_slice(&source);
            ipv4::set_ident(&mut bytes[IP..], 1);
            let icv = header::icv(&key, &bytes[IP..], 20, false).unwrap();
            bytes[HEADER + 12..MESSAGE].copy_from_slice(&icv);
        }
        bytes
    }

    #[test]
    fn what_keepalived_sends_is_accepted_once() {
        let mut own = own();
        assert_eq!(judge(&sent(), hmac::AH, &own), Some((Reason::Accepted, Some(1))));
        own.accept(1, false);
        assert_eq!(judge(&sent(), hmac::AH, &own), Some((Reason::AhReplay, None)));
        own.go_on_after(0);
        assert_eq!(judge(&sent(), hmac::AH, &own), Some((Reason::Accepted, Some(1))));
        let other = AhAssociation::new(b"pass124\0", false).unwrap();
        assert_eq!(judge(&sent(), hmac::AH, &other), Some((Reason::AhBad, None)));
        let to_peers = AhAssociation::new(b"pass123\0", true).unwrap();
        assert_eq!(judge(&sent(), hmac::AH, &to_peers), Some((Reason::AhBad, None)));
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let reason = |bytes: &[u8]| judge(bytes, hmac::AH, &own()).map(|(reason, _)| reason);
        assert_eq!(reason(&authenticated(sent(), |_| {})), Some(Reason::Accepted));
        let spi = authenticated(sent(), |bytes| bytes[HEADER + 7] = 9);
        assert_eq!(reason(&spi), Some(Reason::AhSpi));
        let none = authenticated(sent(), |bytes| bytes[HEADER + 11] = 0);
        assert_eq!(reason(&none), Some(Reason::AhReplay));
        let mut length = sent();
        length[HEADER + 1] = 5;
        assert_eq!(reason(&length), Some(Reason::AhMalformed));
        let mut forged = sent();
        forged[HEADER + 11] = 2;
        assert_eq!(reason(&forged), Some(Reason::AhBad));
        let mut other = sent();
        other[HEADER] = 6;
        assert_eq!(reason(&other), None, "TCP behind it");
        for len in HEADER + 1..MESSAGE + 24 {
            assert_eq!(reason(&sent()[..len]), Some(Reason::Truncated), "{len}");
        }
        // As short as its IP header says.
        for len in 0..ah::LEN + 8 {
            let mut short = sent();
            short.truncate(HEADER + len.max(1));
            short[IP + 3] = u8::try_from(20 + len).unwrap();
            ipv4::set_ident(&mut short[IP..], 1);
            assert_eq!(reason(&short), Some(Reason::VrrpHeader), "{len}");
        }
        let mut elsewhere = sent();
        elsewhere[MESSAGE + 1] = 52;
        assert_eq!(reason(&elsewhere), Some(Reason::UnknownVrid));
        let mut damaged = sent();
        damaged[MESSAGE + 9] ^= 1;
        assert_eq!(reason(&damaged), Some(Reason::Checksum));
    }

    #[test]
    fn one_side_with_a_header_and_the_other_without() {
        let own = own();
        let with = |bytes: &[u8], hmac| judge(bytes, hmac, &own).map(|(reason, _)| reason);
        assert_eq!(with(&sent(), 0), Some(Reason::AhUnexpected));
        // The same without the header, and with no authentication at all.
        let mut plain = sent();
        plain.drain(HEADER..MESSAGE);
        (plain[IP + 3], plain[IP + 9]) = (44, 112);
        ipv4::set_ident(&mut plain[IP..], 1);
        assert_eq!(with(&plain, hmac::AH), Some(Reason::AhMissing));
        plain[HEADER + 4] = 0;
        // The checksum of the message, without the 2 in its authentication type.
        let sum = u16::from_be_bytes([plain[HEADER + 6], plain[HEADER + 7]]) + 0x0200;
        plain[HEADER + 6..HEADER + 8].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(with(&plain, hmac::AH), Some(Reason::AhMissing));
        assert_eq!(with(&plain, 0), Some(Reason::Accepted));
        assert!(parse::ipv4(&&plain[..]).is_some_and(|packet| packet.is_vrrp()));
    }
}
