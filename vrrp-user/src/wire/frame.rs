//! Whole frames: advertisements that are built once and patched in place, and gratuitous ARP.

use std::net::{IpAddr, Ipv4Addr};

use ::hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use vrrp_common::IPPROTO_VRRP;
use vrrp_common::ah::{self, IPPROTO_AH};
use vrrp_common::hmac::{self, HEAD_LEN, HMAC_SHA256_128, Head, Sequence, TAG_LEN, TRAILER_LEN};
use vrrp_common::message::Header;

use super::ethernet::{BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Mac};
use super::family::{Family, to_field};
use super::ipv4::Idents;
use super::vrrp::Auth;
use super::{Error, ah as header, arp, array, ethernet, ipv4, ipv6, ndisc, vrrp};
use crate::types::advert::{AdvertInterval, Priority, Version};
use crate::types::id::{KeyId, Vrid};

/// Offset of the IP header in a frame.
const IP: usize = ethernet::HEADER_LEN;
/// Internetwork control, precedence 6: what keepalived sends as type of service and as traffic class.
const TOS: u8 = 0xc0;
/// Bytes of an ARP frame. Where the medium wants 60, the driver pads.
pub const ARP_LEN: usize = ethernet::HEADER_LEN + arp::LEN;

/// What goes into the advertisements of one router to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertParams<'a> {
    /// Source MAC address.
    pub source_mac: Mac,
    /// Destination MAC address; [`ethernet::multicast`] for a group.
    pub dest_mac: Mac,
    /// Source address, also for the pseudo-header.
    pub source: IpAddr,
    /// Destination address, of the same family: the VRRP group or a unicast peer.
    pub destination: IpAddr,
    /// TTL or hop limit: 255 ([`vrrp_common::VRRP_TTL`]), unless `unicast_ttl` says otherwise.
    pub ttl: u8,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Interval; also tells the version.
    pub interval: AdvertInterval,
    /// Priority to begin with.
    pub priority: Priority,
    /// Addresses in the order in which they are advertised, at most 255 and of the same family.
    pub addresses: &'a [IpAddr],
    /// Authentication, with version 2.
    pub auth: Auth,
    /// Whether the version 3 checksum over IPv4 covers the pseudo-header (RFC 5798) or not (RFC 9568).
    pub v3_pseudo_header: bool,
    /// Whether a trailer follows the message, for [`AdvertFrame::sign`].
    pub signed: bool,
}

/// An advertisement ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertFrame {
    bytes: Box<[u8]>,
    /// Whether the VRRP checksum covers the addresses of the IP header.
    pseudo: bool,
    /// Which counter of [`Idents`] its identifications come from.
    counter: u8,
    /// Whether a trailer follows the message.
    signed: bool,
    /// Whether an authentication header stands before it.
    has_header: bool,
}

/// What advertisements are signed with.
pub type SigningKey = Hmac<Sha256>;

/// A key as the library wants it.
pub fn signing_key(secret: &[u8]) -> Option<SigningKey> {
    SigningKey::new_from_slice(secret).ok()
}

impl AdvertFrame {
    /// Builds the frame. Fails with more than 255 addresses, and when source and destination differ in family.
    pub fn new(params: &AdvertParams<'_>) -> Result<Self, Error> {
        let message = vrrp::Repr {
            vrid: params.vrid,
            priority: params.priority,
            interval: params.interval,
            addresses: params.addresses,
            auth: params.auth,
        };
        let len = message.buffer_len()?;
        let trailer = if params.signed { TRAILER_LEN } else { 0 };
        let has_header = params.auth == Auth::Header && params.source.is_ipv4();
        let header = if has_header { ah::LEN } else { 0 };
        let payload_len = u16::try_from(header + len + trailer)
            .map_err(|_| Error::Not("a possible IP length"))?;
        let (destination, source) = (params.dest_mac, params.source_mac);
        let bytes = match (params.source, params.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut bytes = vec![0; IP + ipv4::HEADER_LEN + header + len + trailer];
                ethernet::Repr { destination, source, ethertype: ETHERTYPE_IPV4 }.emit(&mut bytes);
                ipv4::Repr {
                    tos: TOS,
                    ident: 0,
                    // To a group, it goes as far as the link, where it fits, and so its identification need not be
                    // unique (RFC 6864 section 4.1). A peer may be reached through something with less room.
                    dont_fragment: to.is_multicast(),
                    ttl: params.ttl,
                    protocol: if has_header { IPPROTO_AH } else { IPPROTO_VRRP },
                    source: from,
                    destination: to,
                    payload_len,
                }
                .emit(&mut bytes[IP..]);
                bytes
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut bytes = vec![0; IP + ipv6::HEADER_LEN + len + trailer];
                ethernet::Repr { destination, source, ethertype: ETHERTYPE_IPV6 }.emit(&mut bytes);
                ipv6::Repr {
                    traffic_class: TOS,
                    hop_limit: params.ttl,
                    next_header: IPPROTO_VRRP,
                    source: from,
                    destination: to,
                    payload_len,
                }
                .emit(&mut bytes[IP..]);
                bytes
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                return Err(Error::Not("a source and a destination of one address family"));
            }
        };
        let pseudo = match params.interval.version() {
            Version::V3 => params.v3_pseudo_header || params.source.is_ipv6(),
            Version::V2 => false,
        };
        let counter = match params.source {
            IpAddr::V4(source) => Idents::counter(source),
            IpAddr::V6(_) => 0,
        };
        let mut frame =
            Self { bytes: bytes.into(), pseudo, counter, signed: params.signed, has_header };
        let vrrp = frame.vrrp();
        message.emit(&mut frame.bytes[vrrp..vrrp + len]);
        frame.fill_checksum();
        Ok(frame)
    }

    /// Changes the priority, and the checksum with it.
    pub fn set_priority(&mut self, priority: Priority) {
        let vrrp = self.vrrp();
        let message = &mut self.bytes[vrrp..];
        if vrrp::priority(message) != priority {
            vrrp::set_priority(message, priority);
            self.fill_checksum();
        }
    }

    /// Exchanges the memory that two frames of one length are in; each says what it said before.
    pub fn exchange_memory(&mut self, other: &mut Self) {
        if self.bytes.len() == other.bytes.len() {
            self.bytes.swap_with_slice(&mut other.bytes);
            std::mem::swap(&mut self.bytes, &mut other.bytes);
        }
    }

    fn fill_checksum(&mut self) {
        let (v6, vrrp) = (self.is_ipv6(), self.vrrp());
        let (headers, message) = self.bytes.split_at_mut(vrrp);
        let pseudo = self.pseudo.then(|| {
            if v6 {
                let (source, destination) = ipv6::addresses(&headers[IP..]);
                (source.into(), destination.into())
            } else {
                let (source, destination) = ipv4::addresses(&headers[IP..]);
                (source.into(), destination.into())
            }
        });
        // Over IPv4 it covers the message alone.
        let behind = if self.signed && !v6 { TRAILER_LEN } else { 0 };
        let len = message.len() - behind;
        vrrp::fill_checksum(&mut message[..len], pseudo);
    }

    /// Signs the frame as it is now with a key of that number. Nothing happens to one without a trailer.
    pub fn sign(&mut self, key: &SigningKey, key_id: KeyId, sequence: Sequence) {
        if !self.signed {
            return;
        }
        let at = self.vrrp();
        let len = self.bytes.len() - at - TRAILER_LEN;
        let (family, source) = if self.is_ipv6() {
            (Family::V6, ipv6::addresses(&self.bytes[IP..]).0.into())
        } else {
            (Family::V4, ipv4::addresses(&self.bytes[IP..]).0.into())
        };
        let (message, trailer) = self.bytes[at..].split_at_mut(len);
        let head = Head {
            ext_type: HMAC_SHA256_128,
            key_id: key_id.get(),
            reserved: [0; 2],
            sequence: sequence.0.to_be_bytes(),
        };
        trailer[..HEAD_LEN].copy_from_slice(bytemuck::bytes_of(&head));
        vrrp::clear_checksum(message);
        let header = Header(array(message, 0));
        let mut mac = key.clone();
        mac.update(&hmac::pseudo(family.number(), header, to_field(source)));
        mac.update(message);
        mac.update(&trailer[..HEAD_LEN]);
        mac.update(&[0; TAG_LEN]);
        trailer[HEAD_LEN..].copy_from_slice(&mac.finalize().into_bytes()[..TAG_LEN]);
        self.fill_checksum();
    }

    /// Fills in the authentication header of the frame as it is now, the last of all. Nothing happens to one without.
    pub fn authenticate(&mut self, key: &header::Key, sequence: u32) {
        if self.has_header {
            let (_, destination) = ipv4::addresses(&self.bytes[IP..]);
            header::fill(key, &mut self.bytes[IP..], sequence, !destination.is_multicast());
        }
    }

    fn is_ipv6(&self) -> bool {
        array(&self.bytes, IP - 2) == ETHERTYPE_IPV6.to_be_bytes()
    }

    /// Offset of the VRRP message.
    fn vrrp(&self) -> usize {
        let header = if self.has_header { ah::LEN } else { 0 };
        IP + if self.is_ipv6() { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN + header }
    }

    /// Touches the frame; of more than one address the rest comes by itself. The number means nothing.
    pub fn peek(&self) -> u8 {
        self.bytes[0] ^ self.bytes[self.bytes.len() - 1]
    }

    /// Takes the next IP identification of its source. IPv6 has none.
    pub fn identify(&mut self, idents: &mut Idents) {
        if !self.is_ipv6() {
            let ident = match idents.next(self.counter) {
                // The kernel would put another one in its place (`raw_send_hdrinc`, net/ipv4/raw.c), which is not the authentic one.
                0 if self.has_header => idents.next(self.counter),
                ident => ident,
            };
            ipv4::set_ident(&mut self.bytes[IP..], ident);
        }
    }

    /// The whole frame, but from that Ethernet address of the interface to itself: it takes the way out of this host, and no
    /// switch passes it on or learns anything new.
    pub fn to_self(&self, mac: Mac) -> Box<[u8]> {
        let mut bytes = self.bytes.clone();
        bytes[..mac.len()].copy_from_slice(&mac);
        bytes[mac.len()..2 * mac.len()].copy_from_slice(&mac);
        bytes
    }

    /// The whole frame.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packet from its IP header on, for a raw IP socket.
    pub fn ip_bytes(&self) -> &[u8] {
        &self.bytes[IP..]
    }
}

/// Length of an advertisement with that many addresses as an IP packet, bytes.
pub const fn advert_len(family: Family, version: Version, addresses: usize) -> usize {
    let header = match family {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
    };
    header + vrrp::fixed_len(version) + addresses * family.address_len()
}

/// A gratuitous ARP frame for one address: a broadcast request of the address for itself, as keepalived
/// sends it.
pub fn garp_frame(mac: Mac, vip: Ipv4Addr) -> [u8; ARP_LEN] {
    arp_frame(&arp::Repr::gratuitous(mac, vip))
}

/// The address that a frame of ARP or neighbour discovery is about.
pub fn target(frame: &[u8]) -> Option<IpAddr> {
    let (header, packet) = ethernet::Repr::parse(frame).ok()?;
    match header.ethertype {
        ETHERTYPE_ARP => Some(arp::Repr::parse(packet).ok()?.target_ip.into()),
        ETHERTYPE_IPV6 => {
            let (_, message) = ipv6::Repr::parse(packet).ok()?;
            Some(ndisc::Repr::parse(message).ok()?.target().into())
        }
        _ => None,
    }
}

/// An ARP message to all stations.
pub fn arp_frame(message: &arp::Repr) -> [u8; ARP_LEN] {
    let mut frame = [0; ARP_LEN];
    let source = message.sender_mac;
    ethernet::Repr { destination: BROADCAST, source, ethertype: ETHERTYPE_ARP }.emit(&mut frame);
    message.emit(&mut frame[ethernet::HEADER_LEN..]);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrrp_common::{MULTICAST_V4, VRRP_TTL};

    use super::*;
    use crate::types::advert::Advert;
    use crate::types::time::Centisecs;
    use crate::wire::family::Family;

    const MAC: Mac = [0x02, 0, 0, 0, 0, 0x05];
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];

    fn params(interval: AdvertInterval) -> AdvertParams<'static> {
        AdvertParams {
            source_mac: MAC,
            dest_mac: ethernet::VRRP_MULTICAST,
            source: Ipv4Addr::new(192, 0, 2, 5).into(),
            destination: Ipv4Addr::from(MULTICAST_V4).into(),
            ttl: VRRP_TTL,
            vrid: Vrid::new(51).unwrap(),
            interval,
            priority: Priority(100),
            addresses: &VIPS,
            auth: Auth::None,
            v3_pseudo_header: true,
            signed: false,
        }
    }

    #[test]
    fn memory_is_exchanged_and_nothing_else() {
        let old = AdvertFrame::new(&params(V3)).unwrap();
        let new = AdvertFrame::new(&AdvertParams { ttl: 3, ..params(V3) }).unwrap();
        let shorter = AdvertFrame::new(&AdvertParams { addresses: &[], ..params(V3) }).unwrap();
        let (mut a, mut b) = (old.clone(), new.clone());
        let places = (a.bytes.as_ptr(), b.bytes.as_ptr());
        a.exchange_memory(&mut b);
        assert_eq!((b.bytes.as_ptr(), a.bytes.as_ptr()), places);
        assert_eq!((&a, &b), (&old, &new));
        let mut c = shorter.clone();
        a.exchange_memory(&mut c);
        assert_eq!((&a, &c), (&old, &shorter));
    }

    const V2: AdvertInterval = AdvertInterval::Secs(1);
    const V3: AdvertInterval = AdvertInterval::Centisecs(Centisecs(100));

    fn frame(params: &AdvertParams<'_>) -> AdvertFrame {
        let mut frame = AdvertFrame::new(params).unwrap();
        frame.identify(&mut Idents::new(0));
        frame
    }

    /// Ethernet header of all golden frames: 01-00-5e-00-00-12 from 02-00-00-00-00-05, IPv4.
    const ETHERNET: [u8; 14] =
        [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x02, 0, 0, 0, 0, 0x05, 0x08, 0x00];

    #[test]
    fn golden_version_2() {
        #[rustfmt::skip]
        let golden = [
            // IPv4: IHL 5, TOS c0, 44 bytes; ident 1, DF; TTL 255, protocol 112, checksum
            0x45, 0xc0, 0x00, 0x2c,  0x00, 0x01, 0x40, 0x00,  0xff, 0x70, 0xd8, 0x88,
            192, 0, 2, 5,  224, 0, 0, 18,
            // version 2 type 1, VRID 51, priority 100, 2 addresses; no authentication, 1 s, checksum
            0x21, 51, 100, 2,  0, 1, 0xf6, 0xc4,
            192, 0, 2, 1,  192, 0, 2, 2,
            // authentication data
            0, 0, 0, 0,  0, 0, 0, 0,
        ];
        let frame = frame(&params(V2));
        assert_eq!(frame.ip_bytes(), golden);
        assert_eq!(frame.bytes()[..14], ETHERNET);
        assert_eq!(frame.bytes()[14..], golden);
        let other = [0x02, 0, 0, 0, 0, 0x06];
        let to_self = frame.to_self(other);
        assert_eq!((&to_self[..6], &to_self[6..12]), (&other[..], &other[..]));
        assert_eq!(to_self[12..], frame.bytes()[12..]);
    }

    #[test]
    fn golden_version_2_with_password() {
        #[rustfmt::skip]
        let golden = [
            0x45, 0xc0, 0x00, 0x28,  0x00, 0x01, 0x40, 0x00,  0xff, 0x70, 0xd8, 0x8c,
            192, 0, 2, 5,  224, 0, 0, 18,
            // 1 address; authentication type 1, 1 s, checksum over the password too
            0x21, 51, 100, 1,  1, 1, 0x55, 0x66,
            192, 0, 2, 1,
            b'1', b'1', b'1', b'1',  0, 0, 0, 0,
        ];
        let auth = Auth::Password(*b"1111\0\0\0\0");
        let frame = frame(&AdvertParams { auth, addresses: &VIPS[..1], ..params(V2) });
        assert_eq!(frame.ip_bytes(), golden);
    }

    #[test]
    fn golden_version_3() {
        #[rustfmt::skip]
        let mut golden = [
            0x45, 0xc0, 0x00, 0x24,  0x00, 0x01, 0x40, 0x00,  0xff, 0x70, 0xd8, 0x90,
            192, 0, 2, 5,  224, 0, 0, 18,
            // version 3 type 1, VRID 51, priority 100, 2 addresses; reserved 0, 100 centiseconds,
            // checksum with pseudo-header
            0x31, 51, 100, 2,  0x00, 0x64, 0x43, 0xc9,
            192, 0, 2, 1,  192, 0, 2, 2,
        ];
        let mut frame = frame(&params(V3));
        assert_eq!(frame.ip_bytes(), golden);
        // Priority 0: the checksum follows.
        golden[22] = 0;
        golden[26] = 0xa7;
        frame.set_priority(Priority::RESIGN);
        assert_eq!(frame.ip_bytes(), golden);
        frame.set_priority(Priority(100));
        assert_eq!(frame.bytes(), self::frame(&params(V3)).bytes());
    }

    #[test]
    fn version_3_without_pseudo_header() {
        let frame = frame(&AdvertParams { v3_pseudo_header: false, ..params(V3) });
        // 3133 + 6402 + 0064 + c000 + 0201 + c000 + 0202 = 2199c, folded 199e, inverted e661
        assert_eq!(frame.ip_bytes()[26..28], [0xe6, 0x61]);
    }

    /// What keepalived 2.4.3 has sent, but for the identification of IPv4 packets and the flow label of IPv6.
    #[test]
    fn golden_signed() {
        let hex = |frame: &AdvertFrame| -> String {
            frame.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let falling: Vec<u8> = (0xe0..=0xff).rev().collect();
        let rising: Vec<u8> = (0..32).collect();
        let (one, seven) = (KeyId::new(1).unwrap(), KeyId::new(7).unwrap());
        let mac = [0x62, 0x92, 0x16, 0xbc, 0x81, 0x2c];
        let mut frame = AdvertFrame::new(&AdvertParams {
            source_mac: mac,
            source: Ipv4Addr::new(192, 0, 2, 1).into(),
            vrid: Vrid::new(21).unwrap(),
            addresses: &["192.0.2.99".parse().unwrap()],
            signed: true,
            ..params(V2)
        })
        .unwrap();
        frame.identify(&mut Idents::new(0));
        frame.set_priority(Priority(101));
        let key = signing_key(&rising).unwrap();
        frame.sign(&key, one, Sequence(0x6b0b_5a61_7e9b_0000));
        let v2 = "01005e000012629216bc812c080045c0004400014000ff70d874c0000201e0000012211565010001b784c0000263000000000000000001010000\
                  6b0b5a617e9b0000377ca614ead2929db933885927e9909d";
        assert_eq!(hex(&frame), v2);
        // Another priority needs another signature.
        frame.set_priority(Priority::RESIGN);
        frame.sign(&key, one, Sequence(0x6b0b_5a66_dfaf_0000));
        let resign = "211500010001 1c85c0000263000000000000000001010000 6b0b5a66dfaf0000cf5a287b88ba627f1f674051d56cfe16";
        assert!(hex(&frame).ends_with(&resign.replace(' ', "")));

        let mut frame = AdvertFrame::new(&AdvertParams {
            source_mac: mac,
            dest_mac: ethernet::multicast(Family::V6.group()),
            source: "fe80::a".parse().unwrap(),
            destination: Family::V6.group(),
            vrid: Vrid::new(61).unwrap(),
            addresses: &["fe80::100".parse().unwrap(), "2001:db8::100".parse().unwrap()],
            interval: AdvertInterval::Centisecs(Centisecs(50)),
            signed: true,
            ..params(V3)
        })
        .unwrap();
        frame.set_priority(Priority(150));
        let key = signing_key(&falling).unwrap();
        frame.sign(&key, seven, Sequence(0x6b0b_5a5f_989b_0000));
        let v6 = "333300000012629216bc812c86dd6c000000004470fffe80000000000000000000000000000aff020000000000000000000000000012\
                  313d960200325fdffe80000000000000000000000000010020010db8000000000000000000000100\
                  010700006b0b5a5f989b0000bf9eb0a2c613ef7529d8bf22f6364816";
        assert_eq!(hex(&frame), v6);
    }

    /// What keepalived 2.2.7 has sent, but for the flag that forbids to fragment it, which is not authenticated.
    #[test]
    fn golden_with_an_authentication_header() {
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|it| format!("{it:02x}")).collect() };
        let key = header::key(b"pass123\0").unwrap();
        let source: IpAddr = Ipv4Addr::new(10, 0, 255, 1).into();
        let peer: IpAddr = Ipv4Addr::new(10, 0, 255, 2).into();
        let addresses = [100, 101].map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        let both = |destination: IpAddr| AdvertParams {
            source,
            destination,
            vrid: Vrid::new(51).unwrap(),
            addresses: &addresses,
            auth: Auth::Header,
            ..params(V2)
        };
        let mut frame = AdvertFrame::new(&both(Family::V4.group())).unwrap();
        frame.set_priority(Priority(100));
        frame.identify(&mut Idents::new(0));
        frame.authenticate(&key, 1);
        let sent = "45c0004400014000ff3391b10a00ff01e0000012\
                    700400000a00ff01000000016cc85194f93f64c3044f551a\
                    21336402020164000a0000640a0000650000000000000000";
        assert_eq!(hex(frame.ip_bytes()), sent);
        let mut idents = Idents::new(4);
        frame.set_priority(Priority::RESIGN);
        frame.identify(&mut idents);
        frame.authenticate(&key, 5);
        let resigns = "00000005 74a5817816b816c023b51178 213300020201c8000a0000640a000065";
        assert!(hex(frame.bytes()).contains(&resigns.replace(' ', "")));

        let mut frame = AdvertFrame::new(&both(peer)).unwrap();
        frame.set_priority(Priority(100));
        // The kernel has other plans with an identification of zero.
        frame.identify(&mut Idents::new(u16::MAX));
        frame.authenticate(&key, 1);
        let sent = "45c0004400010000ff33a8c10a00ff010a00ff02\
                    700400000a00ff0100000001e63160c1d44f1fe0a13dfcf8\
                    21336402020164000a0000640a0000650000000000000000";
        assert_eq!(hex(frame.ip_bytes()), sent);
    }

    #[test]
    fn golden_gratuitous_arp() {
        #[rustfmt::skip]
        let golden = [
            // broadcast from 02-00-00-00-00-05, ARP
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  0x02, 0, 0, 0, 0, 0x05,  0x08, 0x06,
            // Ethernet, IPv4, lengths 6 and 4, request
            0x00, 0x01,  0x08, 0x00,  6, 4,  0x00, 0x01,
            // sender
            0x02, 0, 0, 0, 0, 0x05,  192, 0, 2, 1,
            // target
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  192, 0, 2, 1,
        ];
        assert_eq!(garp_frame(MAC, VIP), golden);
        assert_eq!(target(&golden), Some(VIP.into()));
        let address = "2001:db8::1".parse().unwrap();
        let frame = ndisc::unsolicited_frame(MAC, address, true);
        assert_eq!(target(&frame), Some(address.into()));
        assert_eq!(target(self::frame(&params(V3)).bytes()), None);
    }

    /// As keepalived 2.2.7 sends it, except for the flow label.
    #[test]
    fn golden_ipv6() {
        #[rustfmt::skip]
        let golden = [
            // 33-33-00-00-00-12, IPv6
            0x33, 0x33, 0, 0, 0, 0x12,  0x02, 0, 0, 0, 0, 0x05,  0x86, 0xdd,
            // version 6, class c0; 40 bytes, VRRP, hop limit 255
            0x6c, 0, 0, 0,  0, 40, 112, 255,
            0xfe, 0x80, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0xff, 0xfe, 0, 0, 0x01,
            0xff, 0x02, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0x12,
            // version 3 type 1, VRID 51, priority 100, 2 addresses; 100 centiseconds, checksum
            0x31, 51, 100, 2,  0, 100, 0x3d, 0xfd,
            0xfe, 0x80, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0x01, 0x00,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0x02, 0x00,
        ];
        let addresses = ["fe80::100", "2001:db8::200"].map(|text| text.parse().unwrap());
        let params = AdvertParams {
            dest_mac: ethernet::multicast(Family::V6.group()),
            source: "fe80::ff:fe00:1".parse().unwrap(),
            destination: Family::V6.group(),
            addresses: &addresses,
            // IPv6 knows no other checksum.
            v3_pseudo_header: false,
            ..params(V3)
        };
        let mut frame = frame(&params);
        assert_eq!(frame.bytes(), golden);
        assert_eq!(frame.ip_bytes().len(), advert_len(Family::V6, Version::V3, 2));
        frame.set_priority(Priority::RESIGN);
        let (ip, message) = ipv6::Repr::parse(frame.ip_bytes()).unwrap();
        assert_eq!(ipv6::upper_layer_checksum(ip.source, ip.destination, 112, message), 0);
        assert_eq!(vrrp::priority(message), Priority::RESIGN);
        let mixed = AdvertFrame::new(&AdvertParams { destination: VIPS[0], ..params });
        assert!(mixed.is_err());
    }

    #[test]
    fn more_addresses_than_can_be_counted() {
        let many = [VIPS[0]; 256];
        let frame = AdvertFrame::new(&AdvertParams { addresses: &many, ..params(V3) });
        assert_eq!(frame, Err(Error::TooManyAddresses(256)));
        assert!(AdvertFrame::new(&AdvertParams { addresses: &many[1..], ..params(V2) }).is_ok());
    }

    proptest! {
        /// What is sent is what would be received, however it was patched on the way.
        #[test]
        fn round_trip(
            source: [u8; 4], destination: [u8; 4], ttl: u8, first: u8, second: u8, v2: bool,
            v3_pseudo_header: bool, count in 1usize..=2,
            sent in 1u16..600,
        ) {
            let mut frame = AdvertFrame::new(&AdvertParams {
                source: IpAddr::from(source),
                destination: IpAddr::from(destination),
                ttl,
                priority: Priority(first),
                addresses: &VIPS[..count],
                v3_pseudo_header,
                ..params(if v2 { V2 } else { V3 })
            }).unwrap();
            let mut idents = Idents::new(0);
            for _ in 0..sent {
                frame.identify(&mut idents);
            }
            frame.set_priority(Priority(second));

            let (ethernet, packet) = ethernet::Repr::parse(frame.bytes()).unwrap();
            prop_assert_eq!(ethernet.ethertype, ETHERTYPE_IPV4);
            let version = if v2 { Version::V2 } else { Version::V3 };
            prop_assert_eq!(packet.len(), advert_len(Family::V4, version, count));
            let (ip, payload) = ipv4::Repr::parse(packet).unwrap();
            prop_assert_eq!((ip.ident, ip.ttl, ip.protocol), (sent, ttl, 112));
            let pseudo = (!v2 && v3_pseudo_header).then_some((ip.source.into(), ip.destination.into()));
            prop_assert_eq!(vrrp::sum(payload, pseudo), 0);
            let interval = if v2 { V2 } else { V3 };
            let advert = vrrp::parse_advert(ip.source.into(), interval.version(), payload).unwrap();
            prop_assert_eq!(advert, Advert {
                source: Ipv4Addr::from(source).into(),
                priority: Priority(second),
                interval,
                addresses: VIPS[..count].into(),
            });
        }
    }
}
