//! Advertisements that must be ignored, and what that means: a router that we do not hear is, as a rule, one that
//! does not hear us either, and then both are master.

use std::collections::HashSet;
use std::net::IpAddr;

use vrrp_common::VRRP_HEADER_LEN;
use vrrp_common::event::RxEvent;
use vrrp_common::message::Header;
use vrrp_common::reason::Reason;
use vrrp_common::sample::Sample;

use crate::types::time::Nanos;
use crate::wire::family::{Family, from_field};
use crate::wire::vrrp;

/// What is kept of the packets that got one verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// The latest packets of every CPU, newest first.
    pub recent: Vec<Sample>,
    /// Packets of which none was kept, as there were too many at a time.
    pub missed: u64,
}

/// One advertisement that was not accepted, the latest of its kind from its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    sample: Sample,
}

/// What must be known of a router to tell whether an advertisement was meant for it.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Interface.
    pub ifindex: u32,
    /// Address family.
    pub family: Family,
    /// VRID.
    pub vrid: u8,
    /// VRRP version.
    pub version: u8,
    /// Advertised addresses.
    pub addresses: &'a [IpAddr],
}

/// The latest of each kind from each sender, in the order of the reasons and newest first.
pub fn latest(sampled: &[(Reason, Sampled)]) -> Vec<Refused> {
    let mut known = HashSet::new();
    let all = sampled
        .iter()
        .flat_map(|(reason, sampled)| sampled.recent.iter().map(|sample| (*reason, *sample)));
    all.filter(|(reason, sample)| {
        known.insert((*reason, sample.ifindex, sample.vlan, sample.vrid, sample.source))
    })
    .map(|(reason, sample)| Refused { reason, sample })
    .collect()
}

impl Refused {
    /// The advertisement that the kernel side reports as refused; `payload` is the beginning of its message.
    pub fn reported(reason: Reason, event: &RxEvent, payload: &[u8]) -> Self {
        let mut sample = Sample {
            ktime_ns: event.ktime_ns,
            ifindex: event.ifindex,
            vlan: event.vlan,
            source: event.source,
            destination: event.destination,
            family: event.family,
            ttl: event.ttl,
            wire_len: event.wire_len,
            ..Sample::default()
        };
        // VRID 0 is nobody's: the message has no whole header.
        let payload =
            payload.first_chunk::<VRRP_HEADER_LEN>().filter(|header| Header(**header).vrid() != 0);
        if let Some(header) = payload {
            sample.payload[..VRRP_HEADER_LEN].copy_from_slice(header);
            sample.vrid = Header(*header).vrid();
            sample.payload_len = event.payload_len;
        }
        Self { reason, sample }
    }

    /// Interface, address family and VRID of the router that it was meant for; VRID 0 where that is not known.
    pub fn router(&self) -> (u32, Family, u8) {
        let Sample { ifindex, family, vrid, .. } = self.sample;
        (ifindex, Family::from_number(family), vrid)
    }

    /// When it arrived.
    pub fn at(&self) -> Nanos {
        Nanos(self.sample.ktime_ns)
    }

    /// Sender.
    pub fn source(&self) -> IpAddr {
        from_field(self.sample.family, self.sample.source)
    }

    /// What is wrong and what it means for a router of ours, in a sentence; `None` when it is not about that one.
    pub fn about(&self, ours: &Ours<'_>) -> Option<String> {
        let Ours { ifindex, family, vrid, version, addresses } = *ours;
        let sample = &self.sample;
        let same = (sample.ifindex, sample.family, sample.vrid) == (ifindex, family.number(), vrid)
            && sample.payload_len >= 2;
        let header = Header(sample.payload.first_chunk().copied().unwrap_or_default());
        let says = |how: String| Some(format!("{} advertises VRID {vrid} {how}", self.source()));
        let one_way = "it cannot hear us either, so that both hosts may be master";
        let not_received = "so that it is not heard";
        match self.reason {
            Reason::UnknownVrid => {
                let other = sample.vrid;
                let shared =
                    self.addresses().into_iter().find(|address| addresses.contains(address))?;
                (sample.ifindex == ifindex && other != vrid).then(|| {
                    format!(
                        "{} advertises our address {shared} as VRID {other} instead of {vrid}: {one_way}; \
                         give both the same virtual_router_id",
                        self.source()
                    )
                })
            }
            _ if !same => None,
            Reason::AuthData => {
                says(format!("with another password: {one_way}; make auth_pass the same"))
            }
            Reason::AuthType => says(format!(
                "with authentication type {}, which is not ours: {one_way}; make auth_type the same",
                header.auth_type()
            )),
            Reason::Version if header.version() != version => says(format!(
                "as VRRP version {} instead of {version}: {one_way}; make the version the same",
                header.version()
            )),
            Reason::Interval => says(format!(
                "every {} s, which is not our interval: {one_way}; make advert_int the same",
                header.interval(2)
            )),
            Reason::OtherDestination => {
                let destination = from_field(sample.family, sample.destination);
                let how = if destination.is_multicast() {
                    "by multicast and we use unicast or another group"
                } else {
                    "by unicast to an address that is not the one we send from"
                };
                says(format!(
                    "to {destination}, {how}: {one_way}; compare unicast_peer and multicast groups on both hosts"
                ))
            }
            Reason::Checksum => says(format!(
                "with a wrong checksum, {not_received}: the packet was damaged on its way, or the sender sums \
                 otherwise"
            )),
            Reason::Ttl => says(format!(
                "with TTL {} instead of 255, {not_received}: it comes from another network, or the sender is wrong",
                sample.ttl
            )),
            Reason::UnknownPeer => says(format!(
                "and is none of our peers, {not_received}: add it to unicast_peer if it is to be heard"
            )),
            Reason::PeerTtl => says(format!(
                "with TTL {}, which is not between min_ttl and max_ttl of that peer, {not_received}",
                sample.ttl
            )),
            Reason::HmacMissing => says(format!(
                "and does not sign it, {not_received}: give it the same auth_hmac, or set `mode permissive` here until it has"
            )),
            Reason::HmacMalformed => {
                says(format!("with a signature of an unknown kind, {not_received}"))
            }
            Reason::HmacUnknownKey => says(format!(
                "and signs it with a key that this router does not have, {not_received}: add that key here, or make active_key \
                 there one of ours"
            )),
            Reason::HmacBad => says(format!(
                "with a wrong signature, {not_received}: it is forged, or the keys of that number differ"
            )),
            Reason::HmacStale => says(format!(
                "signed at another time than now, {not_received}: it is replayed, or the clocks of the two hosts differ by more \
                 than time_window (compare `date` on both; `timedatectl timesync-status`, `chronyc tracking`)"
            )),
            Reason::HmacReplay => says(format!(
                "no later than the last one from there, {not_received}: it is replayed, or the clock of that host was set back"
            )),
            Reason::AhMissing => says(format!(
                "without an authentication header: {one_way}; make auth_type the same, here it is AH"
            )),
            Reason::AhUnexpected => says(format!(
                "with an authentication header: {one_way}; make auth_type the same, there it is AH"
            )),
            Reason::AhBad => says(format!(
                "with a wrong authentication header, {not_received}: it is forged or was changed on its way, auth_pass differs, or \
                 one of the two uses unicast and the other does not"
            )),
            Reason::AhSpi => says(format!(
                "with an authentication header of another address, {not_received}: its source address was changed on its way"
            )),
            Reason::AhReplay => says(format!(
                "with an authentication header that is no later than the last one of that router, {not_received}: it is replayed, or \
                 the sender has started anew and goes on when it has heard us as master"
            )),
            Reason::ImpossibleSource => says(format!(
                "from an address that no host can have, {not_received}: it is forged, or the sender has no address yet"
            )),
            Reason::OwnAddress => Some(format!(
                "advertisements of VRID {vrid} come from our own address {}: the network sends ours back, or \
                 another host has that address",
                self.source()
            )),
            Reason::Version
            | Reason::Truncated
            | Reason::IpHeader
            | Reason::IpChecksum
            | Reason::Fragment
            | Reason::ExtensionHeaders
            | Reason::VrrpHeader
            | Reason::VrrpLength
            | Reason::PacketType
            | Reason::NoAddresses
            | Reason::FirstAddress
            | Reason::ZeroInterval
            | Reason::AhMalformed => {
                says(format!("in a way that is not valid, {not_received}: {}", self.reason.text()))
            }
            // Nothing was wrong with these, or they were for others.
            Reason::Accepted
            | Reason::OtherHost
            | Reason::RingFull
            | Reason::MasterLimited
            | Reason::OutranksLimited
            | Reason::ResignsLimited
            | Reason::LowerLimited
            | Reason::LowerIgnored
            | Reason::NotListening
            | Reason::AddressList
            | Reason::ArpConflict
            | Reason::NdiscConflict
            | Reason::FencedTo
            | Reason::FencedFrom
            | Reason::FencedAdvert
            | Reason::VirtualMacAccepted
            | Reason::VirtualMacBackup
            | Reason::VirtualMacFenced
            | Reason::VirtualMacUnknown
            | Reason::VirtualMacSource
            | Reason::VirtualMacEcho
            | Reason::NotAccepted
            | Reason::VirtualMacRedirect
            | Reason::HmacUnchecked => None,
        }
    }

    /// The addresses in the message, as far as the sample goes.
    fn addresses(&self) -> Vec<IpAddr> {
        let Sample { payload, payload_len, family, .. } = &self.sample;
        let present = &payload[..payload.len().min((*payload_len).into())];
        let Some((header, list)) = present.split_first_chunk() else { return Vec::new() };
        vrrp::addresses(Family::from_number(*family), list, Header(*header).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::Ipv4Addr;

    use vrrp_common::{FAMILY_V4, MULTICAST_V4};

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
    const OURS: Ours<'_> =
        Ours { ifindex: 2, family: Family::V4, vrid: 51, version: 2, addresses: &[VIP] };

    fn sample(at: u64, last: u8, vrid: u8) -> Sample {
        let mut sample = Sample {
            ktime_ns: at,
            ifindex: 2,
            family: FAMILY_V4,
            vrid,
            ttl: 255,
            payload_len: 20,
            ..Sample::default()
        };
        sample.source[..4].copy_from_slice(&[10, 0, 0, last]);
        sample.destination[..4].copy_from_slice(&MULTICAST_V4);
        sample.payload[..12].copy_from_slice(&[0x21, vrid, 100, 1, 1, 3, 0, 0, 10, 0, 0, 100]);
        sample
    }

    fn about(reason: Reason, sample: Sample) -> Option<String> {
        Refused { reason, sample }.about(&OURS)
    }

    #[test]
    fn one_of_each_kind_and_sender() {
        let recent = vec![sample(9, 2, 51), sample(8, 3, 51), sample(7, 2, 51)];
        let sampled = [
            (Reason::AuthData, Sampled { recent: recent.clone(), missed: 0 }),
            (Reason::Ttl, Sampled { recent: vec![sample(5, 2, 51)], missed: 0 }),
        ];
        let found: Vec<_> = latest(&sampled).iter().map(|r| (r.reason, r.at().0)).collect();
        assert_eq!(found, [(Reason::AuthData, 9), (Reason::AuthData, 8), (Reason::Ttl, 5)]);
    }

    #[test]
    fn each_reason_is_said_in_words() {
        let said = |reason| about(reason, sample(1, 2, 51)).unwrap();
        let password = said(Reason::AuthData);
        let expected =
            "10.0.0.2 advertises VRID 51 with another password: it cannot hear us either";
        assert!(password.starts_with(expected), "{password}");
        assert!(said(Reason::Interval).contains("every 3 s"));
        assert!(said(Reason::AuthType).contains("authentication type 1"));
        assert!(said(Reason::OtherDestination).contains("by multicast and we use unicast"));
        assert!(said(Reason::Checksum).contains("with a wrong checksum"));
        assert!(said(Reason::UnknownPeer).contains("and is none of our peers"));
        assert!(
            said(Reason::PeerTtl).contains("TTL 255, which is not between min_ttl and max_ttl")
        );
        let v3 = Ours { version: 3, ..OURS };
        let other =
            Refused { reason: Reason::Version, sample: sample(1, 2, 51) }.about(&v3).unwrap();
        assert!(other.contains("as VRRP version 2 instead of 3"), "{other}");
        let nothing = [
            Reason::Accepted,
            Reason::OtherHost,
            Reason::RingFull,
            Reason::MasterLimited,
            Reason::OutranksLimited,
            Reason::ResignsLimited,
            Reason::LowerLimited,
            Reason::LowerIgnored,
            Reason::NotListening,
            Reason::AddressList,
            Reason::ArpConflict,
            Reason::NdiscConflict,
            Reason::FencedTo,
            Reason::FencedFrom,
            Reason::FencedAdvert,
            Reason::VirtualMacAccepted,
            Reason::VirtualMacBackup,
            Reason::VirtualMacFenced,
            Reason::VirtualMacUnknown,
            Reason::VirtualMacSource,
            Reason::VirtualMacEcho,
            Reason::NotAccepted,
            Reason::VirtualMacRedirect,
            Reason::HmacUnchecked,
            Reason::UnknownVrid,
        ];
        for reason in Reason::ALL {
            assert_eq!(
                about(*reason, sample(1, 2, 51)).is_none(),
                nothing.contains(reason),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn what_is_reported_says_for_whom_it_was() {
        let mut source = [0; 16];
        source[..4].copy_from_slice(&[10, 0, 0, 2]);
        let event =
            RxEvent { ifindex: 2, family: FAMILY_V4, source, payload_len: 8, ..RxEvent::default() };
        let refused =
            Refused::reported(Reason::Interval, &event, &[0x21, 51, 100, 1, 0, 3, 0xab, 0xcd]);
        assert_eq!(refused.router(), (2, Family::V4, 51));
        let line = refused.about(&OURS).unwrap();
        assert!(line.starts_with("10.0.0.2 advertises VRID 51 every 3 s"), "{line}");
        // No whole message, or none at all.
        for payload in [&[0; 8][..], &[]] {
            let refused = Refused::reported(Reason::Truncated, &event, payload);
            assert_eq!((refused.router().2, refused.about(&OURS)), (0, None));
        }
    }

    #[test]
    fn what_is_meant_for_others_is_left_out() {
        assert_eq!(about(Reason::AuthData, sample(1, 2, 52)), None);
        assert_eq!(about(Reason::AuthData, Sample { ifindex: 3, ..sample(1, 2, 51) }), None);
        assert_eq!(about(Reason::VrrpHeader, Sample { payload_len: 0, ..sample(1, 2, 51) }), None);
        // Our address under another number.
        let line = about(Reason::UnknownVrid, sample(1, 2, 52)).unwrap();
        assert!(line.contains("our address 10.0.0.100 as VRID 52 instead of 51"), "{line}");
        let mut other = sample(1, 2, 52);
        other.payload[11] = 99;
        assert_eq!(about(Reason::UnknownVrid, other), None);
        // The count is not believed beyond what is there.
        other.payload[3] = 255;
        other.payload_len = 12;
        assert_eq!(about(Reason::UnknownVrid, other), None);
    }
}
