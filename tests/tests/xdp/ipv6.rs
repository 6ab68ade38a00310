//! The same for IPv6.

use std::time::Duration;

use aya::programs::{TestRun, TestRunOptions};
use vrrp_common::event::Claim;
use vrrp_common::maps::{CLAIM_WINDOW_NS, Held, VipCounters, state};
use vrrp_common::reason::{Reason, Verdict};
use vrrp_common::report::ReportFilter;
use vrrp_common::{FAMILY_V6, MAX_ADDRESSES, MAX_VRRP_LEN, MULTICAST_V6};
use vrrp_user::core::InterfaceAddr;
use vrrp_user::io::bpf::Error;

use super::ours::Alike;
use super::{
    Bench, FAR, LOOPBACK, MAC, Sum, UNKNOWN, V3, V3_GROUP, V3_PEERS, V3_STRICT, V3_UNICAST,
    V3_VLAN, checksum, drain, now, runtime,
};

pub const LOCAL: [u8; 16] = link_local(1);
pub const PEER: [u8; 16] = link_local(2);
/// As those of IPv4.
pub const OTHER_GROUP: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x51];
pub const FAR_PEER: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub const VIP: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// fe80::LAST.
const fn link_local(last: u8) -> [u8; 16] {
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// Hop-by-hop or destination options of that many times eight bytes, all padding.
fn options(kind: u8, units: u8) -> (u8, Vec<u8>) {
    let mut header = vec![0; usize::from(units) * 8];
    header[1] = units - 1;
    (kind, header)
}

/// A fragment header with that offset, in bytes, and "more fragments" as its lowest bit.
fn part(field: u16) -> (u8, Vec<u8>) {
    let [high, low] = field.to_be_bytes();
    (44, vec![0, 0xff, high, low, 0, 0, 0, 9])
}

/// As many extension headers as are followed.
fn most() -> Vec<(u8, Vec<u8>)> {
    vec![options(0, 1), options(60, 2), part(0), options(60, 3)]
}

/// A packet in parts, each of which a test may spoil.
#[derive(Clone)]
struct Frame {
    tags: Vec<(u16, u16)>,
    version: u8,
    payload_len: Option<u16>,
    /// Headers before the message, each with its kind; the first byte of each is filled in.
    extensions: Vec<(u8, Vec<u8>)>,
    next_header: u8,
    hop_limit: u8,
    to: [u8; 6],
    mac: [u8; 6],
    source: [u8; 16],
    destination: [u8; 16],
    message: Vec<u8>,
    /// Of the message, where its checksum is.
    sum_at: usize,
    sum: Sum,
    padding: usize,
}

impl Frame {
    fn new(next_header: u8, message: Vec<u8>, sum_at: usize) -> Self {
        Self {
            tags: vec![],
            version: 6,
            payload_len: None,
            extensions: vec![],
            next_header,
            hop_limit: 255,
            to: [0x33, 0x33, 0, 0, 0, 0x12],
            mac: [2, 0, 0, 0, 0, 2],
            source: PEER,
            destination: MULTICAST_V6,
            message,
            sum_at,
            sum: Sum::PseudoHeader,
            padding: 0,
        }
    }

    /// A version 3 advertisement.
    fn v3(vrid: u8, addresses: u8) -> Self {
        let mut message = vec![0x31, vrid, 100, addresses, 0, 100, 0, 0];
        (0..addresses).for_each(|n| message.extend(link_local(n)));
        Self::new(112, message, 6)
    }

    /// A version 3 advertisement with one address for [`V3`] behind these headers.
    fn behind(extensions: Vec<(u8, Vec<u8>)>) -> Self {
        Self { extensions, ..Self::v3(V3, 1) }
    }

    /// A neighbour advertisement or solicitation for an address, with the option that tells where it is.
    fn neighbour(kind: u8, target: [u8; 16], mac: [u8; 6]) -> Self {
        let mut message = vec![kind, 0, 0, 0, 0x20, 0, 0, 0];
        message.extend(target);
        message.extend([if kind == 136 { 2 } else { 1 }, 1]);
        message.extend(mac);
        Self { mac, source: target, ..Self::new(58, message, 2) }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Like this one, but for nobody here.
    fn alike(&self) -> Alike {
        let vrid =
            self.clone().with(|f| f.message.iter_mut().skip(1).take(1).for_each(|v| *v = UNKNOWN));
        let vlan = self.clone().with(|f| f.tags = vec![(0x8100, 77)]);
        Alike { ours: self.bytes(), others: [vrid.bytes(), vlan.bytes()] }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut frame = self.to.to_vec();
        frame.extend(self.mac);
        for (kind, id) in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend([0x86, 0xdd]);

        let mut message = self.message.clone();
        let len = u16::try_from(message.len()).expect("short");
        if let Some(field) = message.get_mut(self.sum_at..self.sum_at + 2) {
            field.fill(0);
            let mut summed = message.clone();
            if self.sum != Sum::Plain {
                summed.extend(self.source);
                summed.extend(self.destination);
                summed.extend([0, 0]);
                summed.extend(len.to_be_bytes());
                summed.extend([0, 0, 0, self.next_header]);
            }
            let error = u16::from(self.sum == Sum::Wrong);
            let sum = checksum(&summed) ^ error;
            message[self.sum_at..self.sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        }

        let mut extensions = vec![];
        let mut next_header = self.next_header;
        for (kind, header) in self.extensions.iter().rev() {
            extensions.splice(..0, [&[next_header], &header[1..]].concat());
            next_header = *kind;
        }
        let whole = len + u16::try_from(extensions.len()).expect("short");
        frame.extend([self.version << 4 | 0xc, 0, 0x12, 0x34]);
        frame.extend(self.payload_len.unwrap_or(whole).to_be_bytes());
        frame.extend([next_header, self.hop_limit]);
        frame.extend(self.source);
        frame.extend(self.destination);
        frame.extend(extensions);
        frame.extend(message);
        frame.resize(frame.len() + self.padding, 0xaa);
        frame
    }
}

/// An advertisement with a trailer, which its checksum covers; `trailer` makes that for a message and a source.
pub fn signed(vrid: u8, addresses: u8, trailer: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut frame = Frame::v3(vrid, addresses);
    frame.message.extend(trailer(&frame.message, &frame.source));
    frame.bytes()
}

/// Sends a packet to [`V3_PEERS`], from there and with that hop limit.
fn to_peers(frame: &mut Frame, source: [u8; 16], hop_limit: u8) {
    (frame.source, frame.destination, frame.hop_limit) = (source, LOCAL, hop_limit);
}

/// Frames that get a certain reason. Exhaustive: a new reason asks for a frame here, or for a reason to have none.
fn examples(reason: Reason) -> Vec<Frame> {
    let full = u8::try_from(MAX_ADDRESSES).expect("few");
    match reason {
        Reason::Accepted => vec![
            Frame::v3(V3, 1),
            // Around the chunks in which the kernel sums.
            Frame::v3(V3, 31),
            Frame::v3(V3, 32),
            Frame::v3(V3, 63),
            Frame::v3(V3, 64),
            // As many as an MTU of 1,500 has room for, and all that can be counted.
            Frame::v3(V3, 90),
            Frame::v3(V3, 127),
            Frame::v3(V3, 128),
            Frame::v3(V3, 159),
            Frame::v3(V3, 224),
            Frame::v3(V3, 254),
            Frame::v3(V3, full),
            Frame::v3(V3_UNICAST, 2).with(|f| f.destination = LOCAL),
            Frame::v3(V3_UNICAST, 2).with(|f| (f.destination, f.hop_limit) = (LOCAL, 64)),
            Frame::v3(V3_GROUP, 1).with(|f| f.destination = OTHER_GROUP),
            Frame::v3(V3_PEERS, 1).with(|f| (f.destination, f.hop_limit) = (LOCAL, 64)),
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, FAR_PEER, FAR.min)),
            Frame::v3(V3, 1).with(|f| f.tags = vec![(0x8100, 0)]),
            Frame::v3(V3_VLAN, 1).with(|f| f.tags = vec![(0x8100, 0xf007)]),
            Frame::v3(V3, 1).with(|f| f.padding = 14),
            Frame::v3(V3, 1).with(|f| f.message[2] = 0),
            Frame::v3(V3, 1).with(|f| f.message[4] = 0xf0),
            // The first address should be link-local, but keepalived only warns of another one.
            Frame::v3(V3, 1).with(|f| f.message[8..24].copy_from_slice(&VIP)),
            Frame::v3(V3_STRICT, 2).with(|f| f.message[24..40].copy_from_slice(&VIP)),
            Frame::v3(V3, 1).with(|f| f.to = MAC),
            // More than the addresses take.
            Frame::v3(V3, 1).with(|f| f.message.extend([0; 4])),
            Frame::behind(vec![options(0, 1)]),
            Frame::behind(vec![options(60, 1)]),
            Frame::behind(vec![part(0)]),
            // The reserved bits.
            Frame::behind(vec![part(6)]),
            Frame::behind(vec![options(0, 255)]),
            Frame::behind(most()),
            Frame::behind(most()).with(|f| f.tags = vec![(0x8100, 0)]),
            Frame::behind(most()).with(|f| f.padding = 14),
            Frame::behind(most()).with(|f| f.message.extend([0; 4])),
            Frame { extensions: most(), ..Frame::v3(V3, full) },
            Frame { extensions: most(), ..Frame::v3(V3_VLAN, 1) }
                .with(|f| f.tags = vec![(0x8100, 7)]),
            Frame { extensions: most(), destination: LOCAL, ..Frame::v3(V3_UNICAST, 1) },
        ],
        Reason::UnknownVrid => vec![
            Frame::v3(UNKNOWN, 1),
            Frame::v3(0, 1),
            Frame::v3(V3, 1).with(|f| f.tags = vec![(0x8100, 7)]),
            Frame { extensions: most(), ..Frame::v3(UNKNOWN, 1) },
        ],
        Reason::OtherDestination => vec![
            Frame::v3(V3, 1).with(|f| f.destination = LOCAL),
            Frame::v3(V3, 1).with(|f| f.destination[15] = 0x13),
            Frame::v3(V3, 1).with(|f| f.destination[0] = 0xfe),
            Frame::v3(V3_UNICAST, 1),
            Frame::v3(V3_GROUP, 1),
            Frame::v3(V3, 1).with(|f| f.destination = OTHER_GROUP),
        ],
        Reason::OtherHost => vec![
            Frame::v3(V3, 1).with(|f| f.to = [2; 6]),
            Frame::v3(V3_UNICAST, 1).with(|f| (f.to, f.destination) = ([2; 6], LOCAL)),
        ],
        Reason::ImpossibleSource => {
            let mut mapped = [0; 16];
            mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 2]);
            let mut loopback = [0; 16];
            loopback[15] = 1;
            let sources = [[0; 16], loopback, mapped, MULTICAST_V6, OTHER_GROUP];
            sources.map(|source| Frame::v3(V3, 1).with(|f| f.source = source)).to_vec()
        }
        Reason::OwnAddress => vec![Frame::v3(V3, 1).with(|f| f.source = LOCAL)],
        Reason::Truncated => vec![
            Frame::v3(V3, 1).with(|f| f.payload_len = Some(25)),
            Frame::v3(V3, 1).with(|f| f.payload_len = Some(u16::MAX)),
            Frame::behind(most()).with(|f| f.payload_len = Some(56 + 25)),
        ],
        Reason::IpHeader => vec![
            Frame::v3(V3, 1).with(|f| f.version = 4),
            Frame::behind(most()).with(|f| f.version = 4),
            // Headers that are longer than the packet says that it is.
            Frame::behind(vec![options(0, 2)]).with(|f| f.payload_len = Some(15)),
            Frame::behind(vec![part(0)]).with(|f| f.payload_len = Some(0)),
        ],
        Reason::Fragment => vec![
            Frame::behind(vec![part(1)]),
            Frame::behind(vec![part(8)]),
            Frame::behind(vec![part(9)]),
            Frame::behind(vec![options(0, 1), part(1), options(60, 1)]),
            Frame::behind(vec![options(0, 1), part(0xfff8)]),
        ],
        Reason::ExtensionHeaders => vec![
            Frame::behind([most(), vec![options(60, 1)]].concat()),
            Frame::behind(vec![part(0); 5]),
            Frame::behind(vec![options(60, 1); 200]),
        ],
        Reason::Ttl => [0, 1, 64, 254]
            .into_iter()
            .flat_map(|limit| {
                [Frame::v3(V3, 1), Frame::behind(most())].map(|f| f.with(|f| f.hop_limit = limit))
            })
            .collect(),
        Reason::UnknownPeer => vec![
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, link_local(3), 255)),
            // Not only the first bytes count.
            Frame::v3(V3_PEERS, 1).with(|f| {
                let mut source = FAR_PEER;
                source[15] = 3;
                to_peers(f, source, 252);
            }),
        ],
        Reason::PeerTtl => [FAR.min - 1, FAR.max + 1]
            .map(|limit| Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, FAR_PEER, limit)))
            .to_vec(),
        Reason::VrrpHeader => vec![
            Frame::v3(V3, 0).with(|f| f.message.truncate(7)),
            Frame::v3(V3, 0).with(|f| f.message.clear()),
            Frame::behind(most()).with(|f| f.message.clear()),
            // A header that ends where the packet does.
            Frame::behind(vec![options(60, 4)]).with(|f| f.extensions[0].1.truncate(8)),
            Frame::behind(most()).with(|f| f.message.truncate(7)),
        ],
        Reason::VrrpLength => vec![
            Frame::v3(V3, 2).with(|f| f.message[3] = 3),
            Frame::behind(most()).with(|f| f.message[3] = 2),
            Frame::v3(V3, 1).with(|f| f.message.push(0)),
            Frame::v3(V3, full).with(|f| f.message.truncate(MAX_VRRP_LEN - 16)),
            Frame::v3(V3, 1).with(|f| f.message.resize(MAX_VRRP_LEN + 4, 0)),
        ],
        Reason::Version => {
            [2, 4].map(|v| Frame::v3(V3, 1).with(|f| f.message[0] = v << 4 | 1)).to_vec()
        }
        Reason::PacketType => vec![Frame::v3(V3, 1).with(|f| f.message[0] = 0x32)],
        Reason::Checksum => vec![
            Frame::v3(V3, 1).with(|f| f.sum = Sum::Wrong),
            Frame::v3(V3, full).with(|f| f.sum = Sum::Wrong),
            // Without the pseudo-header it is wrong here.
            Frame::v3(V3, 1).with(|f| f.sum = Sum::Plain),
            Frame::behind(most()).with(|f| f.sum = Sum::Wrong),
        ],
        Reason::NoAddresses => vec![Frame::v3(V3, 0)],
        Reason::FirstAddress => vec![
            Frame::v3(V3_STRICT, 1).with(|f| f.message[8..24].copy_from_slice(&VIP)),
            Frame::v3(V3_STRICT, 2).with(|f| f.message[8..24].copy_from_slice(&MULTICAST_V6)),
            Frame::v3(V3_STRICT, 1).with(|f| f.message[9] = 0xc0),
        ],
        Reason::ZeroInterval => vec![
            Frame::v3(V3, 1).with(|f| f.message[5] = 0),
            Frame::v3(V3, 1).with(|f| (f.message[4], f.message[5]) = (0xf0, 0)),
        ],
        // IPv6 has no checksum of its header; there is no version 2.
        Reason::IpChecksum | Reason::Interval | Reason::AuthType | Reason::AuthData => vec![],
        // Not by a single packet, by the daemon, or not by an advertisement: see there.
        Reason::RingFull
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
        | Reason::HmacUnchecked
        | Reason::HmacMissing
        | Reason::HmacMalformed
        | Reason::HmacUnknownKey
        | Reason::HmacBad
        | Reason::HmacStale
        | Reason::HmacReplay
        // Only the daemon checks these: see the tests of `driver::raw::ah`.
        | Reason::AhMissing
        | Reason::AhUnexpected
        | Reason::AhMalformed
        | Reason::AhBad
        | Reason::AhSpi
        | Reason::AhReplay => vec![],
    }
}

/// With so many addresses, and so many bytes behind them.
pub fn long(count: u8, behind: usize) -> Vec<u8> {
    Frame::v3(V3, count).with(|f| f.message.extend(vec![7; behind])).bytes()
}

/// Those frames, and others like them.
pub fn alike(reason: Reason) -> Vec<Alike> {
    examples(reason).iter().map(Frame::alike).collect()
}

#[test]
fn every_reason_has_its_packets() {
    super::all_judge(|reason| examples(reason).iter().map(Frame::bytes).collect());
}

#[test]
fn other_packets_pass_uncounted() {
    let mut bench = Bench::new();
    for frame in [
        Frame::v3(V3, 1).with(|f| f.next_header = 6),
        // Something else behind headers that are followed.
        Frame::behind(most()).with(|f| f.next_header = 6),
        Frame::behind(vec![part(1)]).with(|f| f.next_header = 17),
        Frame::behind(vec![part(8), options(60, 1)]),
        // Those that are not, before and behind.
        Frame::behind(vec![options(43, 1)]),
        Frame::behind(vec![options(51, 1)]),
        Frame::behind(vec![options(0, 1), options(43, 1)]),
        Frame::behind(vec![options(60, 1), options(51, 1)]),
        // Out of its place.
        Frame::behind(vec![options(60, 1), options(0, 1)]),
        // Without an end.
        Frame::behind(vec![part(0)]).with(|f| f.message = vec![]).with(|f| f.next_header = 60),
        Frame::behind(vec![options(60, 9), options(60, 1)]).with(|f| f.extensions[0].1.truncate(8)),
        Frame::v3(V3, 1).with(|f| f.tags = vec![(0x8100, 1); 3]),
        Frame::neighbour(136, VIP, [2, 0, 0, 0, 0, 9]),
    ] {
        assert_eq!(bench.run(&frame.bytes()), (Verdict::Pass, None));
    }
}

#[test]
fn a_frame_may_end_anywhere() {
    let mut bench = Bench::new();
    bench.cuts(&Frame::v3(V3, 2).bytes());
    bench.cuts(&Frame::behind(most()).bytes());
}

#[test]
fn the_kernel_agrees_with_the_host_on_damaged_frames() {
    let frames = Reason::ALL.iter().flat_map(|reason| examples(*reason));
    Bench::new().agrees_on_damage(&frames.map(|f| f.bytes()).collect::<Vec<_>>(), 4200, 1000);
}

/// Both families have a router with this VRID; each hears its own.
#[test]
fn an_advertisement_reaches_ring_and_slot_of_its_family() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let frame = Frame::v3(V3, 3);
    let before = now();
    assert_eq!(bench.run(&frame.bytes()), (Verdict::Pass, Some(Reason::Accepted)));
    let events = drain(&mut ring);
    let [(event, payload)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.family, event.slot, event.ifindex), (FAMILY_V6, 6, LOOPBACK));
    assert_eq!((event.source, event.destination, event.ttl), (PEER, MULTICAST_V6, 255));
    assert_eq!((usize::from(event.wire_len), payload.len()), (56, 56));
    assert!((before..=now()).contains(&event.ktime_ns));
    let slot = bench.kernel.slot(6);
    assert_eq!((slot.adverts, slot.last_seen_ns), (1, event.ktime_ns));
    assert_eq!(bench.kernel.slot(0).adverts, 0);
    let peers = bench.reader.peers().expect("peers");
    let [(peer, counters)] = &peers[..] else { panic!("{peers:?}") };
    assert_eq!((peer.slot, peer.source, counters.adverts), (6, PEER, 1));

    // A steady master wakes nobody, another one does, if only the last byte of its address differs.
    bench.kernel.set_ack(6, event.digest).expect("set_ack");
    for _ in 0..3 {
        bench.run(&frame.bytes());
    }
    assert!(drain(&mut ring).is_empty());
    bench.run(&frame.clone().with(|f| f.source[15] ^= 1).with(|f| f.source[14] = 1).bytes());
    assert_eq!(drain(&mut ring).len(), 1);
    assert_eq!(bench.kernel.slot(6).adverts, 5);
}

#[test]
fn a_refused_packet_leaves_a_sample() {
    let mut bench = Bench::new();
    let frame = Frame::v3(V3, 4).with(|f| f.hop_limit = 64);
    bench.run(&frame.bytes());
    let sampled = bench.sampled(Reason::Ttl);
    let [sample] = &sampled.recent[..] else { panic!("{sampled:?}") };
    assert_eq!((sample.family, sample.ttl, sample.vrid), (FAMILY_V6, 64, V3));
    assert_eq!((sample.source, sample.destination), (PEER, MULTICAST_V6));
    assert_eq!((sample.wire_len, sample.payload_len), (72, 64));
    assert_eq!(sample.payload[8..24], link_local(0));
}

#[test]
fn traffic_of_a_vip_is_counted_both_ways() {
    let mut bench = Bench::new();
    let vip = InterfaceAddr::own(LOOPBACK, VIP);
    bench.kernel.vips.add(&vip, 0, false).expect("add_vip");
    let counted = |bench: &Bench| {
        let vips = bench.reader.vips().expect("vips");
        vips.into_iter().find(|(of, _)| *of == vip).map(|(_, counters)| counters)
    };
    let to = Frame::v3(V3, 1).with(|f| (f.next_header, f.destination) = (6, VIP));
    let from = to.clone().with(|f| (f.source, f.destination) = (VIP, PEER));
    let len = to.bytes().len() as u64;
    for frame in [&to, &from, &to] {
        assert_eq!(bench.run(&frame.bytes()), (Verdict::Pass, None));
    }
    // Tagged, it is the VLAN device's.
    bench.run(&to.with(|f| f.tags = vec![(0x8100, 7)]).bytes());
    let bytes = from.bytes();
    let mut leave = |frame: &[u8]| {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let program = bench.kernel.egress_program().expect("program");
        assert_eq!(program.test_run(options).expect("runs").return_value.cast_signed(), -1);
    };
    leave(&bytes);
    let expected = VipCounters {
        rx_packets: 2,
        rx_bytes: 2 * len,
        tx_packets: 1,
        tx_bytes: len,
        ..VipCounters::default()
    };
    assert_eq!(counted(&bench), Some(expected));
    bench.kernel.vips.remove(&vip).expect("remove_vip");
    assert_eq!(counted(&bench), None);
    for last in 0..4 {
        bench
            .kernel
            .vips
            .add(&InterfaceAddr::own(LOOPBACK, link_local(last)), 0, false)
            .expect("4 fit");
    }
    let full = bench.kernel.vips.add(&vip, 0, false);
    assert!(matches!(full, Err(Error::Full { name: "VIPS6", entries: 4 })), "{full:?}");
}

#[test]
fn foreign_neighbour_discovery_for_a_held_address_is_reported() {
    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
    let mut bench = Bench::new();
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let mut reported = |bench: &mut Bench, frame: &Frame| {
        let verdict = bench.run(&frame.bytes());
        (verdict, drain(&mut ring))
    };
    let nothing = || ((Verdict::Pass, None), vec![]);
    let conflict = (Verdict::Pass, Some(Reason::NdiscConflict));
    let (advertised, vip) = (Frame::neighbour(136, VIP, THEIRS), InterfaceAddr::own(LOOPBACK, VIP));
    assert_eq!(reported(&mut bench, &advertised), nothing(), "as backup");

    let held = Held { slot: 6, mac: [2, 0, 0, 0, 0, 1, 0, 0], ..Held::default() };
    bench.kernel.vips.hold(&vip, &held).expect("hold");
    let filter = ReportFilter { state: state::MASTER, priority: 1, ..ReportFilter::default() };
    bench.kernel.set_filter(6, filter).expect("set_filter");
    for frame in [
        Frame::neighbour(136, VIP, OURS),
        Frame::neighbour(136, link_local(9), THEIRS),
        // A question of another host, also in duplicate address detection, claims nothing.
        Frame::neighbour(135, VIP, THEIRS).with(|f| f.source = PEER),
        Frame::neighbour(135, VIP, THEIRS).with(|f| f.source = [0; 16]),
        // What the stack would not believe.
        advertised.clone().with(|f| f.hop_limit = 64),
        advertised.clone().with(|f| f.message[1] = 1),
        advertised.clone().with(|f| f.message[0] = 137),
        advertised.clone().with(|f| f.message.truncate(23)),
        advertised.clone().with(|f| f.tags = vec![(0x8100, 7)]),
        advertised.clone().with(|f| f.sum = Sum::Wrong),
        advertised.clone().with(|f| f.sum = Sum::Plain),
        advertised.clone().with(|f| f.payload_len = Some(40)),
    ] {
        assert_eq!(reported(&mut bench, &frame), nothing(), "{:02x?}", frame.bytes());
    }

    let (seen, events) = reported(&mut bench, &advertised);
    assert_eq!(seen, conflict);
    let [(event, claim)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.family, event.ifindex, event.slot), (FAMILY_V6, LOOPBACK, 6));
    assert_eq!((event.source, event.reason), (VIP, Reason::NdiscConflict.index()));
    assert_eq!(Claim::read(claim), Some(Claim { mac: THEIRS, ..Claim::default() }));
    for frame in [
        Frame::neighbour(135, VIP, THEIRS),
        advertised.clone().with(|f| f.tags = vec![(0x8100, 0)]),
        // Without the option, who sent the frame; an option of another kind is none.
        advertised.clone().with(|f| f.message.truncate(24)),
        advertised.clone().with(|f| f.message[24] = 1),
    ] {
        assert_eq!(reported(&mut bench, &frame).0, conflict, "{:02x?}", frame.bytes());
    }
    std::thread::sleep(Duration::from_nanos(CLAIM_WINDOW_NS));
    let (_, events) =
        reported(&mut bench, &advertised.clone().with(|f| (f.mac[5], f.message[31]) = (9, 8)));
    let mac = [2, 0, 0, 0, 0, 8];
    let claim = Claim { mac, ..Claim::default() };
    assert_eq!(Claim::read(&events[0].1), Some(claim), "where the address is said to be");

    bench.kernel.vips.release_interface(LOOPBACK).expect("the interface");
    assert_eq!(reported(&mut bench, &advertised), nothing());
}

/// A TCP segment.
pub fn tcp(to: [u8; 6], source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
    let frame = Frame::v3(V3, 1).with(|f| (f.next_header, f.to) = (6, to));
    frame.with(|f| (f.source, f.destination) = (source, destination)).bytes()
}

/// A neighbour advertisement for [`VIP`].
pub fn advertised(mac: [u8; 6]) -> Vec<u8> {
    Frame::neighbour(136, VIP, mac).bytes()
}

/// The longest advertisement for [`V3`].
pub fn longest() -> Vec<u8> {
    Frame::v3(V3, 255).bytes()
}

/// An advertisement for [`V3`] with one address behind all headers that may stand before it.
pub fn behind_headers() -> Vec<u8> {
    Frame::behind(most()).bytes()
}

/// Advertisements for [`V3`] of priority 50 and 200.
pub fn lower_and_higher() -> [Vec<u8>; 2] {
    [50, 200].map(|priority| Frame::v3(V3, 1).with(|f| f.message[2] = priority).bytes())
}

/// An advertisement for [`V3`] from another network.
pub fn refused() -> Vec<u8> {
    Frame::v3(V3, 1).with(|f| f.hop_limit = 254).bytes()
}
