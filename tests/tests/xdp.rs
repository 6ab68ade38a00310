//! The programs in the kernel: packet in, verdict out.
//!
//! Needs root. Nothing is attached to an interface of the machine: packets go in by
//! `BPF_PROG_TEST_RUN` (which says that they arrive on the loopback interface, number 1), and the tests
//! that attach do so in network namespaces that vanish with the thread that made them.
#![allow(clippy::expect_used, clippy::cast_possible_truncation, reason = "helpers of tests")]

#[path = "xdp/fence.rs"]
mod fence;
#[path = "xdp/hmac.rs"]
mod hmac;
#[path = "xdp/ipv6.rs"]
mod ipv6;
#[path = "xdp/ours.rs"]
mod ours;
#[path = "xdp/refusals.rs"]
mod refusals;
#[path = "xdp/reports.rs"]
mod reports;
#[path = "xdp/vmac.rs"]
mod vmac;

use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aya::programs::{SchedClassifier, TcAttachType, TestRun, TestRunOptions};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;
use vrrp_common::event::{Claim, RxEvent};
use vrrp_common::maps::{
    ABI_VERSION, CLAIM_WINDOW_NS, Control, Held, RouterEntry, RouterInfo, RouterKey, Slot,
    TtlRange, VipCounters, state, transport,
};
use vrrp_common::parse::{self, Address, Packet};
use vrrp_common::reason::{Reason, Verdict};
use vrrp_common::receive;
use vrrp_common::report::{LIMIT, ReportFilter, SOURCE_LIMIT};
use vrrp_common::sample::{SAMPLE_PAYLOAD_LEN, SAMPLE_WINDOW_NS, SAMPLES_KEPT, Sample};
use vrrp_common::{FAMILY_V4, FAMILY_V6, MAX_VRRP_LEN, MULTICAST_V4, MULTICAST_V6};
use vrrp_user::capture::{CaptureMode, Choice, Facts, Failure, Plan, Walk, plan};
use vrrp_user::core::{InterfaceAddr, InterfaceId, Sizes};
use vrrp_user::engine::time::Nanos;
use vrrp_user::io::bpf::{self, Datapath, Error, Feature, NumberedInterface, Without};
use vrrp_user::io::netlink::{HookPoint, HookState, Inspector};
use vrrp_user::io::reader::Reader;
use vrrp_user::io::ring::EventRing;
use vrrp_user::refused::Sampled;
use vrrp_user::wire::family::to_field;

const LOOPBACK: u32 = 1;
const LOCAL: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 2];
const VIP: [u8; 4] = [10, 0, 0, 100];
/// The Ethernet address of the interface.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PASSWORD: [u8; 8] = *b"secret\0\0";

/// As many as most tests need.
const SIZES: Sizes = Sizes { routers: 16, vips: 4, vips6: 4, allowed: 8 };

/// Routers under test: VRID, VLAN, version, transport, authentication type, interval of version 2.
const V3: u8 = 51;
const V2_PASSWORD: u8 = 52;
const V2_OPEN: u8 = 53;
const V3_UNICAST: u8 = 54;
const V3_VLAN: u8 = 55;
const V3_QINQ: u8 = 56;
const V3_PEERS: u8 = 57;
const V3_GROUP: u8 = 58;
const V3_STRICT: u8 = 59;
const UNKNOWN: u8 = 99;
/// A peer of [`V3_PEERS`] that is three networks apart, and the TTLs that are accepted of it.
const FAR_PEER: [u8; 4] = [10, 9, 0, 2];
const FAR: TtlRange = TtlRange { min: 251, max: 253, reserved: [0; 2] };
/// The group of [`V3_GROUP`].
const OTHER_GROUP: [u8; 4] = [224, 0, 0, 81];
/// What is accepted of one without limits.
const ANY: TtlRange = TtlRange { min: 0, max: 255, reserved: [0; 2] };

fn routers() -> Vec<(RouterKey, RouterEntry)> {
    let router = |slot, vrid, vlan, version, transport| {
        let key = RouterKey { ifindex: LOOPBACK, vlan, family: FAMILY_V4, vrid, reserved: [0; 2] };
        let mut entry =
            RouterEntry { slot, version, transport, mac: MAC, ..RouterEntry::default() };
        entry.local[..4].copy_from_slice(&LOCAL);
        entry.destination = match transport {
            transport::MULTICAST => address(MULTICAST_V4),
            _ => entry.local,
        };
        (key, entry)
    };
    let mut routers = vec![
        router(0, V3, [0, 0], 3, transport::MULTICAST),
        router(1, V2_PASSWORD, [0, 0], 2, transport::MULTICAST),
        router(2, V2_OPEN, [0, 0], 2, transport::MULTICAST),
        router(3, V3_UNICAST, [0, 0], 3, transport::UNICAST),
        router(4, V3_VLAN, [7, 0], 3, transport::MULTICAST),
        router(5, V3_QINQ, [7, 9], 3, transport::MULTICAST),
    ];
    let six = |slot, vrid, vlan, transport| {
        let (mut key, mut entry) = router(slot, vrid, vlan, 3, transport);
        key.family = FAMILY_V6;
        entry.local = ipv6::LOCAL;
        entry.destination = match transport {
            transport::MULTICAST => MULTICAST_V6,
            _ => entry.local,
        };
        (key, entry)
    };
    routers.extend([
        six(6, V3, [0, 0], transport::MULTICAST),
        six(7, V3_UNICAST, [0, 0], transport::UNICAST),
        six(8, V3_VLAN, [7, 0], transport::MULTICAST),
        router(9, V3_PEERS, [0, 0], 3, transport::PEERS),
        six(10, V3_PEERS, [0, 0], transport::PEERS),
        router(11, V3_GROUP, [0, 0], 3, transport::MULTICAST),
        six(12, V3_GROUP, [0, 0], transport::MULTICAST),
        six(13, V3_STRICT, [0, 0], transport::MULTICAST),
    ]);
    routers[13].1.link_local_first = 1;
    routers[11].1.destination = address(OTHER_GROUP);
    routers[12].1.destination = ipv6::OTHER_GROUP;
    routers[1].1.auth_type = 1;
    routers[1].1.auth_data = PASSWORD;
    routers[1].1.interval = 1;
    routers[2].1.interval = 3;
    routers
}

/// Whom the routers above hear that hear their peers only, by slot.
fn allowed() -> [(u32, IpAddr, TtlRange); 4] {
    [
        (9, PEER.into(), ANY),
        (9, FAR_PEER.into(), FAR),
        (10, ipv6::PEER.into(), ANY),
        (10, ipv6::FAR_PEER.into(), FAR),
    ]
}

/// How the checksum of a message is made.
#[derive(Clone, Copy, PartialEq)]
enum Sum {
    Plain,
    PseudoHeader,
    Wrong,
}

/// A frame in parts, each of which a test may spoil.
#[derive(Clone)]
struct Frame {
    /// Ethernet destination.
    to: [u8; 6],
    tags: Vec<(u16, u16)>,
    version_ihl: Option<u8>,
    total_len: Option<u16>,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    ip_sum_error: u16,
    source: [u8; 4],
    destination: [u8; 4],
    options: Vec<u8>,
    message: Vec<u8>,
    sum: Sum,
    padding: usize,
}

impl Frame {
    fn new(message: Vec<u8>, sum: Sum) -> Self {
        Self {
            to: [0x01, 0, 0x5e, 0, 0, 18],
            tags: vec![],
            version_ihl: None,
            total_len: None,
            fragment: 0,
            ttl: 255,
            protocol: 112,
            ip_sum_error: 0,
            source: PEER,
            destination: MULTICAST_V4,
            options: vec![],
            message,
            sum,
            padding: 0,
        }
    }

    /// A version 3 advertisement.
    fn v3(vrid: u8, addresses: u8) -> Self {
        let mut message = vec![0x31, vrid, 100, addresses, 0, 100, 0, 0];
        (0..addresses).for_each(|n| message.extend([10, 0, 1, n]));
        Self::new(message, Sum::PseudoHeader)
    }

    /// A version 2 advertisement.
    fn v2(vrid: u8, addresses: u8, auth_type: u8, auth: [u8; 8], interval: u8) -> Self {
        let mut message = vec![0x21, vrid, 100, addresses, auth_type, interval, 0, 0];
        (0..addresses).for_each(|n| message.extend([10, 0, 1, n]));
        message.extend(auth);
        Self::new(message, Sum::Plain)
    }

    /// Changes something and returns the frame.
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Like this one, but for nobody here.
    fn alike(&self) -> ours::Alike {
        let vrid =
            self.clone().with(|f| f.message.iter_mut().skip(1).take(1).for_each(|v| *v = UNKNOWN));
        let vlan = self.clone().with(|f| f.tags = vec![(0x8100, 77)]);
        ours::Alike { ours: self.bytes(), others: [vrid.bytes(), vlan.bytes()] }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut frame = self.to.to_vec();
        frame.extend([2, 0, 0, 0, 0, 2]);
        for (kind, id) in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend([0x08, 0x00]);

        let mut message = self.message.clone();
        if let Some(field) = message.get_mut(6..8) {
            field.fill(0);
            let mut summed = self.message.clone();
            summed[6..8].fill(0);
            if self.sum == Sum::PseudoHeader {
                let len = u16::try_from(summed.len()).expect("short");
                summed.extend(self.source);
                summed.extend(self.destination);
                summed.extend([0, self.protocol]);
                summed.extend(len.to_be_bytes());
            }
            let error = u16::from(self.sum == Sum::Wrong);
            message[6..8].copy_from_slice(&(checksum(&summed) ^ error).to_be_bytes());
        }

        let header_len = 20 + self.options.len();
        let total_len = u16::try_from(header_len + message.len()).expect("short");
        let mut ip = vec![self.version_ihl.unwrap_or(0x40 | (header_len / 4) as u8), 0xc0];
        ip.extend(self.total_len.unwrap_or(total_len).to_be_bytes());
        ip.extend([0, 1]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, self.protocol, 0, 0]);
        ip.extend(self.source);
        ip.extend(self.destination);
        ip.extend(&self.options);
        let sum = checksum(&ip) ^ self.ip_sum_error;
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        frame.extend(ip);
        frame.extend(message);
        frame.resize(frame.len() + self.padding, 0xaa);
        frame
    }
}

/// RFC 1071, independent of the code under test.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u32::from(low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A bpffs of the test's own.
struct Pins(tempfile::TempDir);

impl Pins {
    fn mount() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        mount(Some("bpf"), dir.path(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .expect("mounting a bpffs needs root");
        Self(dir)
    }

    fn dir(&self) -> std::path::PathBuf {
        // Another one for each, and without the dot, which a bpffs refuses.
        let name = self.0.path().file_name().and_then(|name| name.to_str()).expect("a name");
        self.0.path().join(name.trim_start_matches('.'))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// With the tc programs that read nothing in place.
fn copying() -> Without {
    Without::of(&[Feature::InPlace])
}

/// The loaded program with the routers above.
struct Bench {
    // Before the file system that they are pinned in.
    kernel: Datapath,
    reader: Reader,
    pins: Pins,
    /// Whether [`Self::run`] runs the tc program, and not XDP.
    tc: bool,
}

impl Bench {
    fn new() -> Self {
        Self::without(Without::default())
    }

    /// As on a kernel that lacks something.
    fn without(without: Without) -> Self {
        let pins = Pins::mount();
        let mut kernel =
            Datapath::load_without(&pins.dir(), SIZES, without).expect("loads as root");
        for (key, entry) in routers() {
            kernel.set_router(&key, &entry).expect("set_router");
            // Backups that hear everybody.
            let filter =
                ReportFilter { state: state::BACKUP, priority: 1, ..ReportFilter::default() };
            kernel.set_filter(entry.slot, filter).expect("set_filter");
        }
        for (slot, peer, range) in allowed() {
            kernel.allow(slot, peer, range).expect("allow");
        }
        kernel.vips.add(&InterfaceAddr::own(LOOPBACK, VIP), 0, false).expect("add_vip");
        let control = Control::new(1, 2);
        kernel.write_control(&control).expect("write_control");
        let reader = Reader::open(&pins.dir()).expect("opens");
        Self { kernel, reader, pins, tc: false }
    }

    /// Runs the program on one frame: its verdict, and the reason that it counted.
    fn run(&mut self, frame: &[u8]) -> (Verdict, Option<Reason>) {
        let before = self.reader.reasons().expect("reasons");
        let mut frame = frame.to_vec();
        if self.tc && frame.starts_with(&MAC) {
            // There the kernel itself judges by the address of the loopback interface.
            frame[..MAC.len()].fill(0);
        }
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        let verdict = if self.tc {
            let lacks: Vec<_> = self.kernel.lacks().iter().map(|it| it.text.as_str()).collect();
            let lacks = lacks.join("; ");
            let program = self.kernel.ingress_program().expect("program");
            let run = program.test_run(options);
            match run.unwrap_or_else(|error| panic!("{error}: {lacks}")).return_value as i32 {
                2 => Verdict::Drop,
                -1 => Verdict::Pass,
                other => panic!("tc action {other}"),
            }
        } else {
            let program = self.kernel.program().expect("program");
            match program.test_run(options).expect("test run").return_value {
                1 => Verdict::Drop,
                2 => Verdict::Pass,
                other => panic!("XDP action {other}"),
            }
        };
        let after = self.reader.reasons().expect("reasons");
        let mut counted = None;
        for ((reason, before), (_, after)) in before.into_iter().zip(after) {
            if after != before {
                assert_eq!(after, before + 1, "{reason:?} counted more than once");
                assert_eq!(counted, None, "two reasons for one packet");
                counted = Some(reason);
            }
        }
        (verdict, counted)
    }
}

/// Shows frames of every reason to all programs that receive.
fn all_judge(frames: impl Fn(Reason) -> Vec<Vec<u8>>) {
    let mut bench = Bench::new();
    bench.judges(false, &frames);
    bench.judges(true, &frames);
    Bench::without(copying()).judges(true, &frames);
}

/// An interface in the network namespace of this process.
fn place(ifindex: u32) -> NumberedInterface {
    NumberedInterface { iface: InterfaceId::own(ifindex), number: ifindex }
}

/// Attaches in the first mode of a plan that is available, and then the egress program, as the daemon does.
fn along(datapath: &mut Datapath, ifindex: u32, name: &str, plan: &Plan) -> Result<Choice, String> {
    let mut walk = Walk::new(plan.clone(), None);
    while let Some(mode) = walk.next() {
        match datapath.attach(place(ifindex), name, mode, 1) {
            Ok(()) => {
                if datapath.hooks(ifindex).egress.is_none() {
                    datapath.mend_egress(ifindex, name, true);
                }
                break;
            }
            Err(failure) => walk.failed(failure),
        }
    }
    walk.choice()
}

impl Bench {
    /// Attaches as the daemon does where nothing is in the way.
    fn attach(&mut self, ifindex: u32, name: &str) -> Result<CaptureMode, String> {
        let plan = plan(None, Facts { tcx: self.kernel.has_tcx(), ..Facts::default() });
        along(&mut self.kernel, ifindex, name, &plan).map(|choice| choice.mode)
    }

    /// Attaches in this mode.
    fn attach_as(&mut self, ifindex: u32, name: &str, mode: CaptureMode) -> Result<(), Failure> {
        self.kernel.attach(place(ifindex), name, mode, 1)
    }

    /// Runs the program on one frame that many times in a row.
    fn flood(&mut self, frame: &[u8], repeat: u32) {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        self.kernel.program().expect("program").test_run(options).expect("test run");
    }

    /// Shows it frames of every reason: the XDP program or that of tc, and the host, give that reason for each of them.
    fn judges(&mut self, tc: bool, frames: impl Fn(Reason) -> Vec<Vec<u8>>) {
        self.tc = tc;
        for &reason in Reason::ALL {
            for (number, bytes) in frames(reason).iter().enumerate() {
                // The kernel runs tc programs on no more than fits a page: `receives_jumbo_frames` has longer ones.
                if tc && bytes.len() > 3500 {
                    continue;
                }
                // Whose a frame to one host is, tc asks the kernel, which shows it here on the loopback interface.
                if tc && bytes[0] & 1 == 0 {
                    continue;
                }
                let refused = |bench: &Self| {
                    (0..SIZES.routers).map(|n| bench.kernel.slot(n).refused).sum::<u64>()
                };
                let before = refused(self);
                let name = format!("{reason:?} number {number}: {bytes:02x?}");
                // As often as one sender may be reported.
                std::thread::sleep(Duration::from_nanos(SOURCE_LIMIT.period_ns));
                assert_eq!(self.run(bytes), (reason.verdict(), Some(reason)), "{name}");
                assert_eq!(host(bytes), Some(reason), "on the host, {name}");
                // A refusal is charged to the router that it was meant for, once it is known.
                let accepted = reason == Reason::Accepted;
                let charged = host_key(bytes).is_some() && !accepted && reason.is_for_router();
                assert_eq!(refused(self) - before, u64::from(charged), "{name}");
            }
        }
    }

    /// Shows it all beginnings of a frame that is accepted as a whole.
    fn cuts(&mut self, whole: &[u8]) {
        // The kernel takes no frame without an Ethernet header, and for tc none without an IP header (`convert___skb_to_skb`
        // and what follows it in net/bpf/test_run.c).
        for len in if self.tc { 54 } else { 14 }..whole.len() {
            let frame = &whole[..len];
            let expected = host(frame);
            assert!(matches!(expected, None | Some(Reason::Truncated)), "{expected:?} at {len}");
            assert_eq!(self.run(frame), (verdict(expected), expected), "cut at {len}");
        }
        assert_eq!(self.run(whole), (Verdict::Pass, Some(Reason::Accepted)));
    }

    /// Shows it these frames with bytes changed and an end after up to `longest` bytes.
    fn agrees_on_damage(&mut self, frames: &[Vec<u8>], longest: usize, cases: u32) {
        let damage = prop::collection::vec((0usize..100, any::<u8>()), 0..4);
        let strategy = (0..frames.len(), damage, 0..longest);
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let bench = std::cell::RefCell::new(self);
        let outcome = runner.run(&strategy, |(number, damage, end)| {
            let mut frame = frames[number].clone();
            for (at, value) in damage {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            frame.truncate(end.max(14));
            let expected = match host(&frame) {
                // Nobody drains the ring in this test.
                Some(Reason::Accepted) => [
                    Reason::Accepted,
                    Reason::OutranksLimited,
                    Reason::ResignsLimited,
                    Reason::RingFull,
                ]
                .map(Some)
                .to_vec(),
                other => vec![other],
            };
            let (verdict_seen, reason) = bench.borrow_mut().run(&frame);
            prop_assert!(expected.contains(&reason), "{reason:?}, expected {expected:?}");
            prop_assert_eq!(verdict_seen, verdict(reason));
            Ok(())
        });
        outcome.expect("kernel and host agree");
    }

    /// What is kept of the packets with that verdict.
    fn sampled(&self, reason: Reason) -> Sampled {
        let mut all = self.reader.samples().expect("samples");
        all.swap_remove(reason.index() as usize).1
    }
}

/// What the same checks say on the host.
fn host(frame: &[u8]) -> Option<Reason> {
    match parse::ipv4(&frame) {
        Some(packet) if packet.is_vrrp() => Some(host_packet(frame, &packet)),
        Some(_) => None,
        None => Some(match parse::ipv6_vrrp(&frame)? {
            Ok(packet) => host_packet(frame, &packet),
            Err(reason) => reason,
        }),
    }
}

fn host_packet<A: Address>(mut frame: &[u8], packet: &Packet<A>) -> Reason {
    match parse::advert(&mut frame, packet) {
        Err(reason) => reason,
        Ok(advert) => {
            let key = advert.key(LOOPBACK);
            match routers().into_iter().find(|(candidate, _)| *candidate == key) {
                None => Reason::UnknownVrid,
                Some((_, entry)) => {
                    let reason = parse::check(&mut frame, &advert, &entry);
                    if reason != Reason::Accepted || entry.transport != transport::PEERS {
                        return reason;
                    }
                    let source = advert.source.to_field();
                    let peer = allowed()
                        .into_iter()
                        .find(|(slot, peer, _)| *slot == entry.slot && to_field(*peer) == source);
                    parse::check_peer(&advert, peer.map(|(.., range)| range).as_ref())
                }
            }
        }
    }
}

/// What a host makes of the content of an advertisement.
fn host_digest(frame: &[u8], key: u64) -> u64 {
    fn digest<A: Address>(mut frame: &[u8], packet: &Packet<A>, key: u64) -> u64 {
        let advert = parse::advert(&mut frame, packet).expect("an advertisement");
        receive::digest(&mut frame, &advert, advert.header[0] >> 4, key)
    }
    match parse::ipv4(&frame) {
        Some(packet) => digest(frame, &packet, key),
        None => digest(frame, &parse::ipv6(&frame).expect("IPv6"), key),
    }
}

fn verdict(reason: Option<Reason>) -> Verdict {
    reason.map_or(Verdict::Pass, Reason::verdict)
}

/// Sends a frame to [`V3_PEERS`], from there and with that TTL.
fn to_peers(frame: &mut Frame, source: [u8; 4], ttl: u8) {
    (frame.source, frame.destination, frame.ttl) = (source, LOCAL, ttl);
}

/// Frames that get a certain reason. Exhaustive: a new reason asks for a frame here.
fn examples(reason: Reason) -> Vec<Frame> {
    let none = [0; 8];
    match reason {
        Reason::Accepted => vec![
            Frame::v3(V3, 1),
            Frame::v3(V3, 1).with(|f| f.sum = Sum::Plain),
            Frame::v3(V3, 255),
            Frame::v3(V3, 255).with(|f| f.sum = Sum::Plain),
            // Around the chunks in which the kernel sums.
            Frame::v3(V3, 125),
            Frame::v3(V3, 126),
            Frame::v3(V3, 127),
            Frame::v3(V3, 253),
            Frame::v3(V3, 254),
            // Version 2 need not have an address.
            Frame::v2(V2_PASSWORD, 0, 1, PASSWORD, 1),
            Frame::v2(V2_PASSWORD, 255, 1, PASSWORD, 1),
            Frame::v2(V2_PASSWORD, 1, 1, PASSWORD, 1),
            Frame::v2(V2_OPEN, 1, 0, none, 3),
            // Without authentication those bytes mean nothing.
            Frame::v2(V2_OPEN, 1, 0, PASSWORD, 3),
            Frame::v3(V3_UNICAST, 2).with(|f| f.destination = LOCAL),
            // From a peer in another network.
            Frame::v3(V3_UNICAST, 2).with(|f| {
                f.destination = LOCAL;
                f.ttl = 61;
            }),
            Frame::v3(V3_GROUP, 1).with(|f| f.destination = OTHER_GROUP),
            // From one whom it knows, however far away.
            Frame::v3(V3_PEERS, 1).with(|f| f.destination = LOCAL),
            Frame::v3(V3_PEERS, 1).with(|f| (f.destination, f.ttl) = (LOCAL, 0)),
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, FAR_PEER, FAR.min)),
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, FAR_PEER, FAR.max)),
            Frame::v3(V3_VLAN, 1).with(|f| f.tags = vec![(0x8100, 7)]),
            // Priority and drop-eligible bits of the tag.
            Frame::v3(V3_VLAN, 1).with(|f| f.tags = vec![(0x8100, 0xf007)]),
            Frame::v3(V3_QINQ, 1).with(|f| f.tags = vec![(0x88a8, 7), (0x8100, 9)]),
            // VLAN 0 is a priority tag: no VLAN.
            Frame::v3(V3, 1).with(|f| f.tags = vec![(0x8100, 0)]),
            Frame::v3(V3, 1).with(|f| f.options = vec![0x94, 4, 0, 0]),
            Frame::v3(V3, 20).with(|f| f.options = vec![1; 40]),
            Frame::v3(V3_QINQ, 1).with(|f| {
                f.tags = vec![(0x88a8, 7), (0x8100, 9)];
                f.options = vec![1; 40];
            }),
            // Ethernet pads to 60 bytes.
            Frame::v3(V3, 1).with(|f| f.padding = 14),
            Frame::v3(V3, 1).with(|f| f.message[2] = 0),
            // Reserved bits are ignored (RFC 9568 section 5.2.6).
            Frame::v3(V3, 1).with(|f| f.message[4] = 0xf0),
            // More than the addresses take.
            Frame::v3(V3, 1).with(|f| f.message.extend([0; 8])),
            Frame::v2(V2_PASSWORD, 2, 1, PASSWORD, 1).with(|f| f.message.extend([7; 4])),
            // In frames to this host alone, with the address of the group or its own.
            Frame::v3(V3, 1).with(|f| f.to = MAC),
            Frame::v3(V3_UNICAST, 1).with(|f| (f.to, f.destination) = (MAC, LOCAL)),
            // "Don't fragment" is no fragment.
            Frame::v3(V3, 1).with(|f| f.fragment = 0x4000),
        ],
        Reason::UnknownVrid => vec![
            Frame::v3(UNKNOWN, 1),
            Frame::v3(0, 1),
            Frame::v3(V3_VLAN, 1),
            Frame::v3(V3, 1).with(|f| f.tags = vec![(0x8100, 7)]),
            Frame::v3(V3_VLAN, 1).with(|f| f.tags = vec![(0x8100, 8)]),
            Frame::v3(V3_QINQ, 1).with(|f| f.tags = vec![(0x88a8, 9), (0x8100, 7)]),
            // Nothing else about it is looked at.
            Frame::v3(UNKNOWN, 1).with(|f| f.sum = Sum::Wrong),
            Frame::v3(UNKNOWN, 1).with(|f| f.ttl = 1),
            Frame::new(vec![0xff; 8], Sum::Wrong),
        ],
        Reason::OtherDestination => vec![
            Frame::v3(V3, 1).with(|f| f.destination = LOCAL),
            Frame::v3(V3, 1).with(|f| f.destination = OTHER_GROUP),
            Frame::v3(V3_GROUP, 1),
            Frame::v3(V3_UNICAST, 1),
            Frame::v3(V3_PEERS, 1),
            // On its way through this host.
            Frame::v3(V3_UNICAST, 1).with(|f| {
                f.destination = [192, 0, 2, 1];
                f.ttl = 254;
            }),
        ],
        Reason::OtherHost => (0..6)
            .map(|byte| {
                let mut to = MAC;
                to[byte] ^= 0x40;
                Frame::v3(V3, 1).with(|f| f.to = to)
            })
            .chain([
                Frame::v3(V3_UNICAST, 1).with(|f| (f.to, f.destination) = ([2; 6], LOCAL)),
                Frame::v3(V3_PEERS, 1).with(|f| (f.to, f.destination) = ([2; 6], [10, 0, 0, 3])),
                Frame::v3(V3_VLAN, 1).with(|f| (f.to, f.tags) = ([2; 6], vec![(0x8100, 7)])),
            ])
            .collect(),
        Reason::ImpossibleSource => {
            let sources =
                [[0; 4], [0, 0, 0, 9], [127, 0, 0, 1], [224, 0, 0, 18], [239, 1, 1, 1], [255; 4]];
            let by_group = sources.map(|source| Frame::v3(V3, 1).with(|f| f.source = source));
            let to_us =
                sources.map(|source| Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, source, 255)));
            by_group.into_iter().chain(to_us).collect()
        }
        Reason::OwnAddress => vec![
            Frame::v3(V3, 1).with(|f| f.source = LOCAL),
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, LOCAL, 255)),
            Frame::v3(V3_UNICAST, 1).with(|f| {
                f.source = LOCAL;
                f.destination = LOCAL;
            }),
        ],
        Reason::Truncated => vec![
            Frame::v3(V3, 1).with(|f| f.total_len = Some(33)),
            Frame::v3(UNKNOWN, 1).with(|f| f.total_len = Some(0xffff)),
        ],
        Reason::IpHeader => vec![
            Frame::v3(V3, 1).with(|f| f.version_ihl = Some(0x44)),
            Frame::v3(V3, 1).with(|f| f.version_ihl = Some(0x65)),
            Frame::v3(V3, 1).with(|f| f.total_len = Some(19)),
            Frame::v3(V3, 1).with(|f| {
                f.version_ihl = Some(0x4f);
                f.total_len = Some(59);
            }),
        ],
        Reason::IpChecksum => vec![
            Frame::v3(V3, 1).with(|f| f.ip_sum_error = 1),
            Frame::v3(V3, 1).with(|f| {
                f.options = vec![1; 40];
                f.ip_sum_error = 0x8000;
            }),
        ],
        Reason::Fragment => vec![
            Frame::v3(V3, 1).with(|f| f.fragment = 0x2000),
            Frame::v3(V3, 1).with(|f| f.fragment = 1),
        ],
        Reason::Ttl => vec![
            Frame::v3(V3_GROUP, 1).with(|f| (f.destination, f.ttl) = (OTHER_GROUP, 254)),
            Frame::v3(V3, 1).with(|f| f.ttl = 254),
            Frame::v2(V2_OPEN, 1, 0, none, 3).with(|f| f.ttl = 0),
        ],
        Reason::UnknownPeer => vec![
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, [10, 0, 0, 3], 255)),
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, [10, 9, 0, 3], 252)),
        ],
        Reason::PeerTtl => vec![
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, FAR_PEER, FAR.min - 1)),
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, FAR_PEER, FAR.max + 1)),
            Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, FAR_PEER, 0)),
        ],
        Reason::VrrpHeader => vec![
            Frame::new(vec![], Sum::Plain),
            Frame::new(vec![0x31, V3, 100, 0, 0, 100, 0], Sum::Plain),
        ],
        Reason::VrrpLength => vec![
            Frame::v3(V3, 1).with(|f| f.message[3] = 2),
            Frame::v3(V3, 1).with(|f| f.message.extend([0; 2])),
            Frame::v3(V3, 1).with(|f| f.message.resize(MAX_VRRP_LEN + 4, 0)),
            // Version 2 without its authentication bytes.
            Frame::v2(V2_OPEN, 1, 0, none, 3).with(|f| f.message.truncate(16)),
        ],
        Reason::Version => vec![
            Frame::v2(V3, 1, 0, none, 1),
            Frame::v3(V2_OPEN, 3),
            Frame::v3(V3, 1).with(|f| f.message[0] = 0x41),
        ],
        Reason::PacketType => vec![Frame::v3(V3, 1).with(|f| f.message[0] = 0x32)],
        Reason::Checksum => vec![
            Frame::v3(V3, 1).with(|f| f.sum = Sum::Wrong),
            Frame::v3(V3, 255).with(|f| f.sum = Sum::Wrong),
            Frame::v2(V2_OPEN, 1, 0, none, 3).with(|f| f.sum = Sum::Wrong),
            // Only version 3 knows a pseudo-header.
            Frame::v2(V2_OPEN, 1, 0, none, 3).with(|f| f.sum = Sum::PseudoHeader),
        ],
        Reason::NoAddresses => vec![Frame::v3(V3, 0)],
        Reason::ZeroInterval => vec![
            Frame::v3(V3, 1).with(|f| f.message[5] = 0),
            Frame::v3(V3, 1).with(|f| f.message[4..6].copy_from_slice(&[0xf0, 0])),
        ],
        Reason::Interval => {
            vec![Frame::v2(V2_OPEN, 1, 0, none, 1), Frame::v2(V2_PASSWORD, 1, 1, PASSWORD, 0)]
        }
        Reason::AuthType => vec![
            Frame::v2(V2_OPEN, 1, 1, none, 3),
            Frame::v2(V2_PASSWORD, 1, 0, none, 1),
            Frame::v2(V2_PASSWORD, 1, 2, PASSWORD, 1),
        ],
        Reason::AuthData => vec![
            Frame::v2(V2_PASSWORD, 1, 1, *b"guess\0\0\0", 1),
            Frame::v2(V2_PASSWORD, 255, 1, *b"secret\0x", 1),
            Frame::v2(V2_PASSWORD, 1, 1, none, 1),
        ],
        // By `a_full_ring_is_counted`, as no frame can do that.
        Reason::RingFull => vec![],
        // By the tests of reports, as it takes more than one, or another filter.
        Reason::MasterLimited
        | Reason::OutranksLimited
        | Reason::ResignsLimited
        | Reason::LowerLimited
        | Reason::LowerIgnored
        | Reason::NotListening => vec![],
        // By the daemon.
        Reason::AddressList => vec![],
        // By `foreign_arp_for_a_held_address_is_reported`, as it is no advertisement.
        Reason::ArpConflict => vec![],
        // As the names say, or as only IPv6 has it.
        Reason::NdiscConflict | Reason::FirstAddress | Reason::ExtensionHeaders => vec![],
        // By those of the fence.
        Reason::FencedTo | Reason::FencedFrom | Reason::FencedAdvert => vec![],
        // By those of virtual MAC addresses, as only tc looks at them.
        Reason::VirtualMacAccepted
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

#[test]
fn every_reason_has_its_packets() {
    all_judge(|reason| examples(reason).iter().map(Frame::bytes).collect());
}

#[test]
fn peers_come_and_go() {
    let mut bench = Bench::new();
    let from = |source| Frame::v3(V3_PEERS, 1).with(|f| to_peers(f, source, 255)).bytes();
    let other = [10, 0, 0, 3];
    assert_eq!(bench.run(&from(other)), (Verdict::Drop, Some(Reason::UnknownPeer)));
    bench.kernel.allow(9, other.into(), ANY).expect("allow");
    assert_eq!(bench.run(&from(other)), (Verdict::Pass, Some(Reason::Accepted)));
    // Another range replaces the first.
    bench.kernel.allow(9, other.into(), FAR).expect("allow");
    assert_eq!(bench.run(&from(other)), (Verdict::Drop, Some(Reason::PeerTtl)));
    bench.kernel.disallow(9, other.into()).expect("disallow");
    assert_eq!(bench.run(&from(other)), (Verdict::Drop, Some(Reason::UnknownPeer)));
    // What is not there can be removed; that of another router is another one.
    bench.kernel.disallow(9, other.into()).expect("disallow");
    bench.kernel.disallow(10, PEER.into()).expect("disallow");
    assert_eq!(bench.run(&from(PEER)), (Verdict::Pass, Some(Reason::Accepted)));
    // As many again as one configuration may have, because a reload lets those of the next one in first.
    let room = 2 * SIZES.allowed as u8;
    let there = 4;
    for n in there..room {
        bench.kernel.allow(0, [10, 1, 0, n].into(), ANY).expect("16 fit");
    }
    let full = bench.kernel.allow(0, [10, 1, 0, room].into(), ANY);
    assert!(matches!(full, Err(Error::Full { name: "ALLOWED", entries: 16 })), "{full:?}");
}

/// The router that a frame speaks of, if it is ours.
fn host_key(mut frame: &[u8]) -> Option<RouterKey> {
    let key = match parse::ipv4(&frame) {
        Some(packet) => parse::advert(&mut frame, &packet).ok()?.key(LOOPBACK),
        None => {
            let packet = parse::ipv6_vrrp(&frame)?.ok()?;
            parse::advert(&mut frame, &packet).ok()?.key(LOOPBACK)
        }
    };
    routers().into_iter().any(|(candidate, _)| candidate == key).then_some(key)
}

#[test]
fn ordinary_traffic_passes_uncounted() {
    let mut bench = Bench::new();
    let tcp = Frame::v3(V3, 1).with(|f| f.protocol = 6);
    let mut arp = vec![0xff; 12];
    arp.extend([0x08, 0x06]);
    arp.resize(60, 0);
    let tagged = |tags: &[(u16, u16)]| tcp.clone().with(|f| f.tags = tags.to_vec()).bytes();
    let frames = [
        tcp.bytes(),
        tagged(&[(0x8100, 7)]),
        tagged(&[(0x88a8, 7), (0x8100, 9)]),
        // Three tags are more than anybody configures.
        Frame::v3(V3, 1).with(|f| f.tags = vec![(0x8100, 1); 3]).bytes(),
        arp,
    ];
    for frame in frames {
        assert_eq!(bench.run(&frame), (Verdict::Pass, None), "{frame:02x?}");
    }
}

/// ARP by which `mac` says that it has `address`.
fn arp(operation: u8, mac: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation]);
    frame.extend(mac);
    frame.extend(address);
    frame.extend([0; 6]);
    frame.extend(address);
    frame
}

#[test]
fn foreign_arp_for_a_held_address_is_reported() {
    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
    let mut bench = Bench::new();
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let mut reported = |bench: &mut Bench, frame: &[u8]| {
        let verdict = bench.run(frame);
        let mut events = Vec::new();
        ring.drain(Nanos::MAX, |report| {
            let (event, payload) = report.expect("whole");
            events.push((event, payload.to_vec()));
        });
        (verdict, events)
    };
    let nothing = || ((Verdict::Pass, None), vec![]);
    let conflict = (Verdict::Pass, Some(Reason::ArpConflict));
    let key = InterfaceAddr::own(LOOPBACK, VIP);

    // As backup, the master's own is nothing.
    assert_eq!(reported(&mut bench, &arp(1, THEIRS, VIP)), nothing());

    let held = Held { slot: 3, mac: [2, 0, 0, 0, 0, 1, 0, 0], ..Held::default() };
    bench.kernel.vips.hold(&key, &held).expect("hold");
    // On its way out, when another one is master.
    assert_eq!(reported(&mut bench, &arp(1, THEIRS, VIP)), nothing());
    let filter = ReportFilter { state: state::MASTER, priority: 1, ..ReportFilter::default() };
    bench.kernel.set_filter(3, filter).expect("set_filter");
    for frame in [
        arp(1, OURS, VIP),
        arp(2, OURS, VIP),
        // A probe claims nothing, another address is another's, 3 is a reverse request.
        arp(1, THEIRS, [0; 4]),
        arp(1, THEIRS, PEER),
        arp(3, THEIRS, VIP),
        arp(1, THEIRS, VIP)[..41].to_vec(),
    ] {
        assert_eq!(reported(&mut bench, &frame), nothing(), "{frame:02x?}");
    }

    let (verdict, events) = reported(&mut bench, &arp(2, THEIRS, VIP));
    assert_eq!(verdict, conflict);
    let [(event, claim)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.ifindex, event.slot, &event.source[..4]), (LOOPBACK, 3, &VIP[..]));
    let theirs = Claim { mac: THEIRS, ..Claim::default() };
    assert_eq!((event.reason, Claim::read(claim)), (Reason::ArpConflict.index(), Some(theirs)));

    // Each is counted, and few are told.
    let start = std::time::Instant::now();
    let mut told = 0;
    for n in 0..50 {
        let (verdict, events) = reported(&mut bench, &arp(1 + n % 2, THEIRS, VIP));
        assert_eq!(verdict, conflict);
        told += events.len() as u64;
    }
    let windows = start.elapsed().as_nanos() as u64 / CLAIM_WINDOW_NS;
    assert!(told <= windows + 1, "{told} reports in {windows} windows");
    std::thread::sleep(Duration::from_nanos(CLAIM_WINDOW_NS));
    assert_eq!(reported(&mut bench, &arp(1, THEIRS, VIP)).1.len(), 1);

    bench.kernel.vips.release(&key).expect("release");
    assert_eq!(reported(&mut bench, &arp(1, THEIRS, VIP)), nothing());
    // What is not there can be released.
    bench.kernel.vips.release(&key).expect("release");
    bench.kernel.vips.hold(&key, &held).expect("hold");
    bench.kernel.vips.release_interface(LOOPBACK + 1).expect("another interface");
    assert_eq!(reported(&mut bench, &arp(1, THEIRS, VIP)).0, conflict);
    bench.kernel.vips.release_interface(LOOPBACK).expect("the interface");
    assert_eq!(reported(&mut bench, &arp(1, THEIRS, VIP)), nothing());
}

#[test]
fn a_frame_may_end_anywhere() {
    let mut bench = Bench::new();
    let frames = [
        Frame::v3(V3, 2).bytes(),
        Frame::v2(V2_PASSWORD, 1, 1, PASSWORD, 1).bytes(),
        Frame::v3(V3_QINQ, 1)
            .with(|f| {
                f.tags = vec![(0x88a8, 7), (0x8100, 9)];
                f.options = vec![1; 40];
            })
            .bytes(),
    ];
    let mut copying = Bench::without(copying());
    copying.tc = true;
    for frame in frames {
        bench.cuts(&frame);
        copying.cuts(&frame);
    }
}

#[test]
fn the_kernel_agrees_with_the_host_on_damaged_frames() {
    let frames = Reason::ALL.iter().flat_map(|reason| examples(*reason));
    Bench::new().agrees_on_damage(&frames.map(|f| f.bytes()).collect::<Vec<_>>(), 1200, 2000);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}

/// Everything that is in the ring.
fn drain(ring: &mut EventRing) -> Vec<(RxEvent, Vec<u8>)> {
    let mut events = vec![];
    let more = ring.drain(Nanos::MAX, |report| {
        let (event, message) = report.expect("whole");
        events.push((event, message.to_vec()));
    });
    assert!(!more, "the ring has no end");
    events
}

#[test]
fn an_advertisement_reaches_ring_and_slot() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    assert!(matches!(bench.kernel.take_events(), Err(Error::Missing(_))));
    let frame = Frame::v3(V3_QINQ, 255).with(|f| {
        f.tags = vec![(0x88a8, 7), (0x8100, 9)];
        f.options = vec![1; 8];
        f.padding = 3;
    });
    let bytes = frame.bytes();
    let message = bytes[14 + 8 + 28..bytes.len() - 3].to_vec();
    let before = now();
    assert_eq!(bench.run(&bytes).1, Some(Reason::Accepted));
    let after = now();
    // A refusal is no advertisement to the daemon.
    assert_eq!(bench.run(&frame.clone().with(|f| f.ttl = 1).bytes()).1, Some(Reason::Ttl));

    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), ring.readable()).await })
        .expect("the ring wakes the daemon")
        .expect("readable");
    let events = drain(&mut ring);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].0.reason, Reason::Ttl.index());
    let (event, payload) = &events[0];
    assert!((before..=after).contains(&event.ktime_ns));
    let expected = RxEvent {
        ktime_ns: event.ktime_ns,
        ifindex: LOOPBACK,
        reason: Reason::Accepted.index(),
        slot: 5,
        vlan: [7, 9],
        source: address(PEER),
        destination: address(MULTICAST_V4),
        family: FAMILY_V4,
        ttl: 255,
        wire_len: 1028,
        payload_len: 1028,
        reserved: 0,
        digest: event.digest,
    };
    assert_eq!(*event, expected);
    assert_ne!(event.digest, 0);
    assert_eq!(*payload, message);

    assert_eq!(
        bench.kernel.slot(5),
        Slot {
            last_seen_ns: event.ktime_ns,
            adverts: 1,
            refused: 1,
            filter: bench.kernel.slot(5).filter,
            ..Slot::default()
        }
    );

    // The next one wakes the daemon again, and a resignation is counted as one.
    let resign = Frame::v3(V3_QINQ, 1).with(|f| {
        f.tags = vec![(0x88a8, 7), (0x8100, 9)];
        f.message[2] = 0;
    });
    assert_eq!(bench.run(&resign.bytes()).1, Some(Reason::Accepted));
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), ring.readable()).await })
        .expect("the ring wakes the daemon")
        .expect("readable");
    assert_eq!(drain(&mut ring).len(), 1);
    let slot = bench.kernel.slot(5);
    assert_eq!((slot.adverts, slot.priority_zero), (2, 1));
}

/// An IPv4 address as slots, events and samples hold it.
fn address(bytes: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&bytes);
    address
}

/// The clock of `bpf_ktime_get_ns`.
fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("clock");
    Duration::from(time).as_nanos() as u64
}

#[test]
fn a_steady_master_wakes_nobody() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let master = Frame::v3(V3, 3);
    let accepted = (Verdict::Pass, Some(Reason::Accepted));

    // Until the daemon says that it knows, everything is reported.
    assert_eq!(bench.run(&master.bytes()), accepted);
    assert_eq!(bench.run(&master.bytes()), accepted);
    let digests: Vec<u64> = drain(&mut ring).iter().map(|(event, _)| event.digest).collect();
    assert_eq!(digests, [digests[0]; 2]);

    // The acknowledgement of something else does not count.
    bench.kernel.set_ack(0, digests[0] ^ 2).expect("set_ack");
    assert_eq!(bench.run(&master.bytes()), accepted);
    assert_eq!(drain(&mut ring).len(), 1);

    bench.kernel.set_ack(0, digests[0]).expect("set_ack");
    let before = now();
    assert_eq!(bench.run(&master.bytes()), accepted);
    assert_eq!(drain(&mut ring).len(), 0, "acknowledged");
    assert!(
        bench.kernel.master_seen(0).is_some_and(|seen| seen.at_ns >= before),
        "but the arrival is noted"
    );
    assert_eq!(bench.kernel.slot(0).adverts, 4);

    // Anything else is reported, and so is the same again afterwards.
    for other in [
        master.clone().with(|f| f.source = [10, 0, 0, 77]),
        master.clone().with(|f| f.message[2] = 0),
        master.clone().with(|f| f.message[2] = 101),
        master.clone().with(|f| f.message[5] = 99),
        master.clone().with(|f| f.message[11] = 9),
        // The same sum, in another order and with other addresses.
        master.clone().with(|f| f.message[8..16].rotate_left(4)),
        master.clone().with(|f| (f.message[11], f.message[19]) = (1, 1)),
        Frame::v3(V3, 2),
    ] {
        assert_eq!(bench.run(&other.bytes()), accepted);
        let events = drain(&mut ring);
        assert_eq!(events.len(), 1, "reported");
        bench.kernel.set_ack(0, events[0].0.digest).expect("set_ack");
    }
    assert_eq!(bench.run(&master.bytes()), accepted);
    assert_eq!(drain(&mut ring).len(), 1, "reported again");

    // What fails a check is not noted, and no more than its refusal is reported.
    let seen = bench.kernel.slot(0);
    let spoilt = master.with(|f| f.sum = Sum::Wrong);
    assert_eq!(bench.run(&spoilt.bytes()), (Verdict::Drop, Some(Reason::Checksum)));
    let refused = Slot { refused: 1, ..seen };
    assert_eq!(bench.kernel.slot(0), refused);
    let reported: Vec<_> = drain(&mut ring).iter().map(|(event, _)| event.reason).collect();
    assert_eq!(reported, [Reason::Checksum.index()]);
}

#[test]
fn every_source_is_counted_in_the_quiet_path_too() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let from = |last, vrid, priority| {
        let mut frame = Frame::v3(vrid, 1);
        frame.source[3] = last;
        frame.message[2] = priority;
        frame
    };
    let start = now();
    for (last, vrid, times) in [(2, V3, 3), (3, V3, 1), (2, V3, 1), (2, V2_OPEN, 1)] {
        let frame = match vrid {
            V2_OPEN => Frame::v2(V2_OPEN, 1, 0, [0; 8], 3),
            _ => from(last, vrid, 100 + last),
        };
        bench.flood(&frame.bytes(), 1);
        // As the daemon of a backup says when it has heard this one.
        let slot = routers().iter().find(|(key, _)| key.vrid == vrid).expect("a router").1.slot;
        let digest = drain(&mut ring).last().expect("reported").0.digest;
        bench.kernel.set_ack(slot, digest).expect("set_ack");
        if times > 1 {
            bench.flood(&frame.bytes(), times - 1);
            assert!(drain(&mut ring).is_empty(), "acknowledged");
        }
    }
    // Refused ones count for nobody.
    bench.flood(&from(9, V3, 100).with(|f| f.ttl = 1).bytes(), 5);

    let peers = bench.reader.peers().expect("peers");
    let counts: Vec<_> = peers
        .iter()
        .map(|(key, counters)| (key.slot, key.source[3], counters.adverts, counters.priority))
        .collect();
    let slot = |vrid| routers().iter().find(|(key, _)| key.vrid == vrid).expect("it").1.slot;
    let mut expected =
        vec![(slot(V3), 2, 4, 102), (slot(V3), 3, 1, 103), (slot(V2_OPEN), 2, 1, 100)];
    expected.sort_unstable();
    assert_eq!(counts, expected);
    assert!(peers.iter().all(|(_, counters)| (start..=now()).contains(&counters.last_seen_ns)));
}

#[test]
fn more_sources_than_there_is_room_for_make_room_for_each_other() {
    let mut bench = Bench::new();
    for number in 0..2_000_u16 {
        let mut frame = Frame::v3(V3, 1);
        frame.source = [10, 7, (number >> 8) as u8, number as u8];
        assert_eq!(bench.run(&frame.bytes()).0, Verdict::Pass);
    }
    let peers = bench.reader.peers().expect("peers");
    assert!((16..2_000).contains(&peers.len()), "{}", peers.len());
    // The last one is there, and the router has counted them all.
    assert!(peers.iter().any(|(key, _)| key.source[..4] == [10, 7, 7, 207]));
    assert_eq!(bench.kernel.slot(0).adverts, 2_000);
}

#[test]
fn a_full_ring_is_counted() {
    let mut bench = Bench::new();
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    let frame = Frame::v3(V3, 255).bytes();
    let (mut accepted, mut limited) = (0, 0);
    let lost = loop {
        match bench.run(&frame).1 {
            Some(Reason::Accepted) => accepted += 1,
            Some(Reason::OutranksLimited) => {
                limited += 1;
                std::thread::sleep(Duration::from_nanos(LIMIT.period_ns * LIMIT.burst));
            }
            other => break other,
        }
        assert!(accepted < 2000, "a ring of 1 MiB cannot hold that many");
    };
    assert_eq!(lost, Some(Reason::RingFull));
    // The slot knows all the same.
    assert_eq!(bench.kernel.slot(0).adverts, accepted + limited + 1);
    // Draining ends with the first that is younger than it may be, and makes room again.
    assert!(ring.drain(Nanos::ZERO, |_| ()));
    std::thread::sleep(Duration::from_nanos(LIMIT.period_ns * LIMIT.burst));
    assert_eq!(bench.run(&frame).1, Some(Reason::Accepted));
    assert_eq!(drain(&mut ring).len() as u64, accepted - 1 + 1);
}

/// What is to be kept of a frame that arrived at a moment.
fn sample(frame: &Frame, ktime_ns: u64) -> Sample {
    let bytes = frame.bytes();
    let end = bytes.len() - frame.padding;
    let message = &bytes[end - frame.message.len()..end];
    let wire_len = frame.total_len.map_or(message.len(), |total| usize::from(total) - 20);
    let payload_len = message.len().min(wire_len).min(SAMPLE_PAYLOAD_LEN);
    let mut payload = [0; SAMPLE_PAYLOAD_LEN];
    payload[..payload_len].copy_from_slice(&message[..payload_len]);
    let vlan = |n: usize| frame.tags.get(n).map_or(0, |(_, tag)| tag & 0x0fff);
    let mut sample = Sample {
        ktime_ns,
        ifindex: LOOPBACK,
        vlan: [vlan(0), vlan(1)],
        source: address(frame.source),
        destination: address(frame.destination),
        family: FAMILY_V4,
        ttl: frame.ttl,
        vrid: payload[1],
        reserved: 0,
        wire_len: wire_len as u16,
        payload_len: payload_len as u16,
        payload,
        digest: 0,
    };
    sample.digest = sample.digest();
    sample
}

/// Keeps the thread on its CPU: what is kept per CPU is then kept by one.
fn stay() {
    use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
    let mut set = CpuSet::new();
    set.set(sched_getcpu().expect("getcpu")).expect("a CPU number");
    sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).expect("setaffinity");
}

#[test]
fn a_refused_packet_leaves_a_sample() {
    let mut bench = Bench::new();
    for &reason in Reason::ALL {
        // Of those above, but for these whose IP header says nothing of use about the message.
        let sound =
            |f: &Frame| f.version_ihl.is_none() && f.total_len.is_none_or(|total| total >= 28);
        for frame in examples(reason).into_iter().filter(sound).take(SAMPLES_KEPT) {
            let before = bench.reader.samples().expect("samples");
            let start = now();
            assert_eq!(bench.run(&frame.bytes()).1, Some(reason));
            let end = now();
            for ((reason_of, before), (_, after)) in
                before.iter().zip(bench.reader.samples().expect("samples"))
            {
                if *reason_of != reason || reason == Reason::Accepted {
                    assert_eq!(*before, after, "{reason_of:?} after {reason:?}");
                    continue;
                }
                let newest = after.recent[0];
                assert!((start..=end).contains(&newest.ktime_ns));
                assert_eq!(newest, sample(&frame, newest.ktime_ns), "{reason:?}");
                assert_eq!(after.recent[1..], before.recent[..], "newest first");
            }
        }
    }
}

#[test]
fn a_sample_of_a_malformed_packet_has_what_there_is() {
    let mut bench = Bench::new();
    let mut check = |frame: &[u8], reason, vrid, wire_len, payload: &[u8]| {
        assert_eq!(bench.run(frame).1, Some(reason));
        let newest = bench.sampled(reason).recent[0];
        assert_eq!((newest.source, newest.vrid, newest.wire_len), (address(PEER), vrid, wire_len));
        assert_eq!(newest.payload[..usize::from(newest.payload_len)], *payload);
        assert!(newest.payload[usize::from(newest.payload_len)..].iter().all(|byte| *byte == 0));
    };
    // Something long first, so that it would be noticed if it were still there.
    let long = Frame::v3(V3, 255).with(|f| f.ttl = 1).bytes();
    check(&long, Reason::Ttl, V3, 1028, &long[34..98]);
    for _ in 0..SAMPLES_KEPT {
        std::thread::sleep(Duration::from_nanos(SAMPLE_WINDOW_NS / 8));
        let short = Frame::v3(V3, 1).with(|f| f.ttl = 1).bytes();
        check(&short, Reason::Ttl, V3, 12, &short[34..]);
    }
    let whole = Frame::v3(V3, 1).bytes();
    for end in 34..whole.len() {
        std::thread::sleep(Duration::from_nanos(SAMPLE_WINDOW_NS / 8));
        let vrid = if end >= 36 { V3 } else { 0 };
        check(&whole[..end], Reason::Truncated, vrid, 12, &whole[34..end]);
    }
    let frame = Frame::v3(V3, 1).with(|f| f.version_ihl = Some(0x44)).bytes();
    check(&frame, Reason::IpHeader, V3, 12, &frame[34..]);
    let frame = Frame::v3(V3, 1).with(|f| f.total_len = Some(19)).bytes();
    check(&frame, Reason::IpHeader, 0, 0, &[]);
    // The IP header is longer than the frame.
    let frame = Frame::v3(V3, 1).with(|f| f.version_ihl = Some(0x4f)).bytes();
    check(&frame, Reason::IpHeader, 0, 0, &[]);
}

#[test]
fn a_flood_is_sampled_now_and_then() {
    stay();
    let mut bench = Bench::new();
    let flood = Frame::v3(UNKNOWN, 1);
    let start = now();
    bench.flood(&flood.bytes(), 100_000);
    let windows = (now() - start) / SAMPLE_WINDOW_NS + 1;
    let Sampled { recent, missed } = bench.sampled(Reason::UnknownVrid);
    assert_eq!(recent.len(), SAMPLES_KEPT);
    let taken = 100_000 - missed;
    assert!(taken <= windows * SAMPLES_KEPT as u64, "{taken} in {windows} windows");
    assert!(recent.is_sorted_by(|newer, older| newer.ktime_ns > older.ktime_ns));
    // Another reason has samples of its own.
    bench.run(&Frame::v3(V3, 1).with(|f| f.ttl = 1).bytes());
    assert_eq!(
        (bench.sampled(Reason::Ttl).recent.len(), bench.sampled(Reason::Ttl).missed),
        (1, 0)
    );

    // The oldest one makes room, once it is old enough.
    std::thread::sleep(Duration::from_nanos(SAMPLE_WINDOW_NS));
    let other = flood.with(|f| f.source = [10, 0, 0, 77]);
    bench.run(&other.bytes());
    let later = bench.sampled(Reason::UnknownVrid);
    assert_eq!(later.recent[0], sample(&other, later.recent[0].ktime_ns));
    assert_eq!(later.recent[1..], recent[..SAMPLES_KEPT - 1]);
    assert_eq!(later.missed, missed);
}

#[test]
fn traffic_to_a_vip_is_counted() {
    let mut bench = Bench::new();
    let key = InterfaceAddr::own(LOOPBACK, VIP);
    let tcp = Frame::v3(V3, 1).with(|f| {
        f.protocol = 6;
        f.destination = VIP;
        f.message.resize(1400, 0);
    });
    let bytes = tcp.bytes();
    for _ in 0..3 {
        assert_eq!(bench.run(&bytes), (Verdict::Pass, None));
    }
    let counters =
        VipCounters { rx_packets: 3, rx_bytes: 3 * bytes.len() as u64, ..VipCounters::default() };
    let counted = vec![(key, counters)];
    assert_eq!(bench.reader.vips().expect("vips"), counted);

    // Another VLAN's traffic, and other addresses.
    bench.run(&tcp.clone().with(|f| f.tags = vec![(0x8100, 7)]).bytes());
    bench.run(&tcp.clone().with(|f| f.destination = [10, 0, 0, 101]).bytes());
    // Adding it again keeps its counters.
    bench.kernel.vips.add(&key, 0, false).expect("add_vip");
    assert_eq!(bench.reader.vips().expect("vips"), counted);

    bench.kernel.vips.remove(&key).expect("remove_vip");
    bench.kernel.vips.remove(&key).expect("removing it twice does nothing");
    assert_eq!(bench.reader.vips().expect("vips"), vec![]);
}

/// Runs the egress program on one frame, as that many segments. Whatever it is, it goes on to the next program.
fn leave(bench: &mut Bench, frame: &[u8], gso_segs: u32) {
    // `struct __sk_buff` (linux/bpf.h) up to and with `gso_segs`, the only field set.
    let mut context = [0; 168];
    context[164..].copy_from_slice(&gso_segs.to_ne_bytes());
    let options =
        TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
    let program = bench.kernel.egress_program().expect("program");
    let result = program.test_run(options).expect("test run").return_value;
    assert_eq!(result as i32, -1, "TCX_NEXT for {frame:02x?}");
}

/// A TCP segment from the virtual address.
fn answer() -> Frame {
    Frame::v3(V3, 1).with(|f| {
        f.protocol = 6;
        f.source = VIP;
        f.destination = PEER;
        f.message.resize(1400, 0);
    })
}

#[test]
fn traffic_from_a_vip_is_counted() {
    let mut bench = Bench::new();
    let key = InterfaceAddr::own(LOOPBACK, VIP);
    let counted = |packets, bytes| {
        let zero = VipCounters::default();
        vec![(key, VipCounters { tx_packets: packets, tx_bytes: bytes, ..zero })]
    };
    let bytes = answer().bytes();
    let len = bytes.len() as u64;
    for n in 1..=3 {
        leave(&mut bench, &bytes, 0);
        assert_eq!(bench.reader.vips().expect("vips"), counted(n, n * len));
    }
    // VLAN 0 is a priority tag: no VLAN.
    leave(&mut bench, &answer().with(|f| f.tags = vec![(0x8100, 0xe000)]).bytes(), 0);
    assert_eq!(bench.reader.vips().expect("vips"), counted(4, 4 * len + 4));
    // One that the device cuts into 45 segments; what says that it is one is not believed less.
    leave(&mut bench, &bytes, 45);
    leave(&mut bench, &bytes, 1);
    let counted = counted(50, 6 * len + 4);
    assert_eq!(bench.reader.vips().expect("vips"), counted);

    let others = [
        answer().with(|f| f.source = [10, 0, 0, 101]),
        // An owner's advertisement.
        answer().with(|f| f.protocol = 112),
        // To the address, and from others.
        answer().with(|f| {
            f.source = PEER;
            f.destination = VIP;
        }),
        answer().with(|f| f.tags = vec![(0x8100, 7)]),
        answer().with(|f| f.tags = vec![(0x88a8, 7), (0x8100, 9)]),
        answer().with(|f| f.tags = vec![(0x8100, 0); 3]),
    ];
    for frame in others {
        leave(&mut bench, &frame.bytes(), 0);
    }
    let mut arp = vec![0xff; 12];
    arp.extend([0x08, 0x06]);
    arp.resize(60, 10);
    leave(&mut bench, &arp, 0);
    assert_eq!(bench.reader.vips().expect("vips"), counted);
}

#[test]
fn a_frame_on_its_way_out_may_end_anywhere() {
    let mut bench = Bench::new();
    // The kernel takes no frame without an IP header when the Ethernet header says that there is one.
    for (tags, shortest) in [(0, 34), (1, 15), (2, 15)] {
        let frame = answer().with(|f| f.tags = vec![(0x8100, 0); tags]).bytes();
        let mut expected = bench.reader.vips().expect("vips")[0].1;
        for len in (shortest..60).chain([frame.len()]) {
            leave(&mut bench, &frame[..len], 0);
            if parse::ipv4(&&frame[..len]).is_some() {
                expected.tx_packets += 1;
                expected.tx_bytes += len as u64;
            }
            assert_eq!(bench.reader.vips().expect("vips")[0].1, expected, "cut at {len}");
        }
    }
}

/// Names of the tcx programs through which what arrives at an interface goes.
fn on_ingress(name: &str) -> Vec<String> {
    let (_, programs) = SchedClassifier::query_tcx(name, TcAttachType::Ingress).expect("tcx");
    programs.iter().map(|program| program.name_as_str().expect("UTF-8").to_owned()).collect()
}

/// Names of the tcx programs through which what leaves by an interface goes.
fn on_egress(name: &str) -> Vec<String> {
    let (_, programs) = SchedClassifier::query_tcx(name, TcAttachType::Egress).expect("tcx");
    programs.iter().map(|program| program.name_as_str().expect("UTF-8").to_owned()).collect()
}

#[test]
fn the_egress_program_comes_and_goes_with_the_other() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        for name in ["local", "remote"] {
            ip(&format!("link set {name} up"));
        }
        let mut bench = Bench::new();
        let index = ifindex("local");
        bench.attach(index, "local").expect("attach");
        assert_eq!(on_egress("local"), ["vrrp_egress"]);
        let key = InterfaceAddr::own(index, VIP);
        bench.kernel.vips.add(&key, 0, false).expect("add_vip");
        let bytes = answer().bytes();
        send("local", &bytes);
        let (_, counters) = bench.reader.vips().expect("vips")[1];
        assert_eq!((counters.tx_packets, counters.tx_bytes), (1, bytes.len() as u64));
        bench.kernel.detach(index).expect("detach");
        assert!(eventually(|| on_egress("local").is_empty()), "detached");
        bench.attach(index, "local").expect("attach");
        assert_eq!(on_egress("local"), ["vrrp_egress"]);
        drop(bench);
        assert!(eventually(|| on_egress("local").is_empty()), "left with the daemon");

        // An interface that goes takes its programs along.
        let mut bench = Bench::new();
        bench.attach(index, "local").expect("attach");
        ip("link delete local");
        bench.kernel.detach(index).expect("detach");
    });
}

/// Programs leave with their daemon, and with every copy of its descriptors: a test beside this one may be
/// starting a process and hold some until that has begun.
fn eventually(mut done: impl FnMut() -> bool) -> bool {
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        done()
    })
}

#[test]
fn maps_say_when_they_are_full() {
    let mut bench = Bench::new();
    let (mut key, mut entry) = routers()[0];
    key.vrid = 200;
    entry.slot = SIZES.routers;
    let full = bench.kernel.set_router(&key, &entry);
    assert!(matches!(full, Err(Error::Full { entries, .. }) if entries == SIZES.routers));
    entry.slot = 7;
    for vrid in 200..202 {
        key.vrid = vrid;
        bench.kernel.set_router(&key, &entry).expect("there is room");
    }
    key.vrid = 202;
    let full = bench.kernel.set_router(&key, &entry);
    assert!(matches!(full, Err(Error::Full { entries, .. }) if entries == SIZES.routers));
    bench.kernel.remove_router(&routers()[0].0).expect("remove_router");
    bench.kernel.remove_router(&routers()[0].0).expect("removing it twice does nothing");
    bench.kernel.set_router(&key, &entry).expect("there is room again");

    for last in 0..3 {
        let key = InterfaceAddr::own(LOOPBACK, [10, 9, 9, last]);
        bench.kernel.vips.add(&key, 0, false).expect("4 fit");
    }
    let key = InterfaceAddr::own(LOOPBACK, [10, 9, 9, 9]);
    assert!(matches!(bench.kernel.vips.add(&key, 0, false), Err(Error::Full { entries: 4, .. })));
    let full = bench.kernel.write_info(SIZES.routers, &RouterInfo::default());
    assert!(matches!(full, Err(Error::Full { entries, .. }) if entries == SIZES.routers));
}

#[test]
fn pins_outlive_the_daemon_and_not_the_next() {
    let Bench { mut kernel, reader, pins, tc: _ } = Bench::new();
    let dir = pins.dir();
    let mut info = RouterInfo { vrid: V3_UNICAST, ..RouterInfo::default() };
    info.set_name("edge");
    kernel.write_info(3, &info).expect("write_info");
    assert_eq!(reader.routers().expect("routers"), vec![(3, info, kernel.slot(3))]);
    drop(kernel);
    drop(reader);

    let reader = Reader::open(&dir).expect("opens without a daemon");
    assert_eq!(reader.control(), Control::new(1, 2));
    assert_eq!(reader.routers().expect("routers").len(), 1);

    // The next daemon starts from nothing, with sizes of its own.
    let mut kernel = Datapath::load(&dir, Sizes { routers: 20, vips: 20, vips6: 20, allowed: 20 })
        .expect("loads again");
    // Whichever word is there first.
    assert!(matches!(Reader::open(&dir), Err(Error::NoPins(_))));
    let control = Control::new(1, 0);
    kernel.write_control(&control).expect("write_control");
    assert!(matches!(Reader::open(&dir), Err(Error::NoPins(_))));
    let newer = ABI_VERSION + 1;
    let other = Control { abi_version: newer, readable_since: newer, ..Control::new(1, 2) };
    kernel.write_control(&other).expect("write_control");
    assert!(matches!(Reader::open(&dir), Err(Error::Abi { found }) if found == newer));
    let control = Control::new(1, 2);
    kernel.write_control(&control).expect("write_control");
    let reader = Reader::open(&dir).expect("opens");
    assert_eq!(reader.routers().expect("routers"), vec![]);

    kernel.unpin().expect("unpin");
    assert!(!dir.exists());
    assert!(matches!(Reader::open(&dir), Err(Error::NoPins(_))));
}

/// Runs a test in a network namespace that vanishes with its thread.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace needs root");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2");
    assert!(status.success(), "ip {arguments}");
}

fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("interface exists")
}

#[test]
fn attaches_natively_or_by_tc() {
    in_namespace(|| {
        ip("link add native type veth peer name remote");
        ip("link add bridge type bridge");
        ip("link set native up");
        ip("link set remote up");
        let mut bench = Bench::new();
        for (name, mode) in [("native", CaptureMode::Native), ("bridge", CaptureMode::Tc)] {
            let index = ifindex(name);
            assert_eq!(bench.attach(index, name).expect("attach"), mode);
            bench.kernel.detach(index).expect("detach");
            bench.kernel.detach(index).expect("again");
            assert_eq!(bench.attach(index, name).expect("attach"), mode);
        }
        receives(&mut bench, "native", "remote");
    });
}

#[test]
fn receives_in_the_network_stack_too() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        // A bridge has no native XDP and hands up what its ports receive.
        ip("link add bridge type bridge");
        ip("link set local master bridge");
        for name in ["local", "remote", "bridge"] {
            ip(&format!("link set {name} up"));
        }
        for (mode, tcx) in
            [(CaptureMode::Generic, true), (CaptureMode::Tc, true), (CaptureMode::Tc, false)]
        {
            let lacking: &[_] = if tcx { &[] } else { &[Feature::Tcx] };
            let mut bench = Bench::without(Without::of(lacking));
            let index = ifindex("bridge");
            bench.attach_as(index, "bridge", mode).expect("attach");
            assert_eq!(filters("bridge"), usize::from(mode == CaptureMode::Tc && !tcx));
            receives(&mut bench, "bridge", "remote");
            bench.kernel.detach(index).expect("detach");
            assert_eq!(filters("bridge"), 0);
        }
    });
}

/// How many filters a device has for what arrives, where tcx is missing.
fn filters(name: &str) -> usize {
    filters_at(name, "ingress")
}

fn filters_at(name: &str, way: &str) -> usize {
    let output = Command::new("tc").args(["filter", "show", "dev", name, way]).output();
    let output = output.expect("tc is installed");
    String::from_utf8_lossy(&output.stdout).matches("direct-action").count()
}

#[test]
fn without_xdp_it_is_tc() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        for name in ["local", "remote"] {
            ip(&format!("link set {name} up"));
        }
        // As before Linux 5.18, there also as before Linux 6.6, and with Linux 5.10 in the rights of the unit.
        for lacking in [
            &[Feature::Xdp][..],
            &[Feature::Xdp, Feature::Tcx],
            &[Feature::Xdp, Feature::Tcx, Feature::InPlace],
        ] {
            let tcx = !lacking.contains(&Feature::Tcx);
            let mut bench = Bench::without(Without::of(lacking));
            let index = ifindex("local");
            let facts = Facts { tcx, ..Facts::default() };
            let choice =
                along(&mut bench.kernel, index, "local", &plan(None, facts)).expect("attach");
            assert_eq!(choice.mode, CaptureMode::Tc);
            let why = choice.why.expect("there is a reason");
            assert_eq!(why, "XDP is refused: taken as missing (VRRP_USER_WITHOUT=xdp)");
            assert_eq!(bpf::xdp_program(index), None);
            receives(&mut bench, "local", "remote");
        }
    });
}

#[test]
fn what_leaves_is_counted_without_tcx() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        for name in ["local", "remote"] {
            ip(&format!("link set {name} up"));
        }
        let index = ifindex("local");
        let bytes = answer().bytes();
        for lacking in [&[Feature::Tcx][..], &[Feature::Tcx, Feature::InPlace]] {
            let mut bench = Bench::without(Without::of(lacking));
            bench.kernel.vips.add(&InterfaceAddr::own(index, VIP), 0, false).expect("add_vip");
            bench.attach(index, "local").expect("attach");
            assert_eq!(on_egress("local"), <[&str; 0]>::default());
            assert_eq!(filters_at("local", "egress"), 1);
            // Another way to receive changes nothing.
            let vlans = plan(None, Facts { vlans_above: true, tcx: false, ..Facts::default() });
            along(&mut bench.kernel, index, "local", &vlans).expect("tc");
            assert_eq!((filters("local"), filters_at("local", "egress")), (1, 1));
            send("local", &bytes);
            let (_, counters) = bench.reader.vips().expect("vips")[1];
            assert_eq!((counters.tx_packets, counters.tx_bytes), (1, bytes.len() as u64));
            bench.kernel.detach(index).expect("detach");
            assert_eq!((filters("local"), filters_at("local", "egress")), (0, 0));
        }

        // Where the qdisc is for one direction only, a filter for the other one would be put into that.
        let tc = |arguments: &str| {
            let status = Command::new("tc").args(arguments.split(' ')).status().expect("tc");
            assert!(status.success(), "tc {arguments}");
        };
        tc("qdisc del dev local clsact");
        tc("qdisc add dev local ingress");
        let mut bench = Bench::without(Without::of(&[Feature::Tcx]));
        bench.attach_as(index, "local", CaptureMode::Tc).expect("attach");
        assert_eq!(filters("local"), 1);
        receives(&mut bench, "local", "remote");
    });
}

/// A filter of somebody else may end the chain: behind one, nobody would be heard.
#[test]
fn no_filter_stands_before_it_without_tcx() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        for name in ["local", "remote"] {
            ip(&format!("link set {name} up"));
        }
        let tc = |arguments: &str| {
            let status = Command::new("tc").args(arguments.split(' ')).status().expect("tc");
            assert!(status.success(), "tc {arguments}");
        };
        tc("qdisc add dev local clsact");
        let everything = "protocol all u32 match u32 0 0 classid 1:1";
        tc(&format!("filter add dev local ingress pref 2 {everything}"));
        let (index, without) = (ifindex("local"), Without::of(&[Feature::Tcx]));
        let mut bench = Bench::without(without);
        bench.attach_as(index, "local", CaptureMode::Tc).expect("attach");
        receives(&mut bench, "local", "remote");
        drop(bench);
        // That one would be.
        tc(&format!("filter add dev local ingress pref 1 {everything}"));
        let mut bench = Bench::without(without);
        let refused = bench.attach_as(index, "local", CaptureMode::Tc).expect_err("refused");
        assert!(format!("{refused:?}").contains("tc is refused"), "{refused:?}");
    });
}

#[test]
fn what_a_killed_daemon_left_without_tcx_is_removed() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        let index = ifindex("local");
        let without = Without::of(&[Feature::Tcx]);
        let mut bench = Bench::without(without);
        bench.attach_as(index, "local", CaptureMode::Tc).expect("attach");
        assert_eq!((filters("local"), filters_at("local", "egress")), (1, 1));
        // Nothing tidies up.
        let Bench { kernel, reader: _, pins, tc: _ } = bench;
        std::mem::forget(kernel);
        let dir = pins.dir();
        let instance = dir.file_name().and_then(|name| name.to_str()).expect("a name");
        let left = bpf::stale_filters(instance);
        let named = left.iter().map(|left| (&*left.interface, left.egress)).collect::<Vec<_>>();
        assert_eq!(named, [("local", false), ("local", true)]);
        assert_eq!(bpf::stale_filters("other"), []);
        // What somebody is told to remove them with does so.
        let removal = left[1].removal();
        let words: Vec<_> = removal.split(' ').collect();
        assert!(Command::new(words[0]).args(&words[1..]).status().expect("runs").success());
        assert_eq!((filters("local"), filters_at("local", "egress")), (1, 0));
        // Whether or not the next daemon of that instance has anything to do with the interface, or with BPF.
        let mut next = Datapath::load_without(&dir, SIZES, without).expect("loads again");
        assert_eq!(filters("local"), 0);
        // Another mode than that of the dead one, too.
        let native = plan(None, Facts::default());
        assert_eq!(native.modes[0], CaptureMode::Native);
        along(&mut next, index, "local", &native).expect("attach");
        assert_eq!((filters("local"), filters_at("local", "egress")), (0, 1));
        // One of another instance stays.
        let mut other = Bench::without(without);
        other.attach_as(index, "local", CaptureMode::Tc).expect("attach");
        drop(next);
        assert_eq!(filters("local"), 1);
        drop(other);
        assert_eq!(filters("local"), 0);
    });
}

#[test]
fn a_filter_that_somebody_removes_is_missed_and_put_back() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        for name in ["local", "remote"] {
            ip(&format!("link set {name} up"));
        }
        let index = ifindex("local");
        let mut bench = Bench::without(Without::of(&[Feature::Tcx]));
        bench.attach_as(index, "local", CaptureMode::Tc).expect("attach");
        let mut inspector = Inspector::open().expect("a socket");
        let mut look = |kernel: &Datapath| {
            let hooks = kernel.hooks(index);
            let hooks = [hooks.ingress, hooks.egress];
            let hooks = hooks.map(|hook| hook.expect("there is something to ask for"));
            assert!(hooks.iter().all(|hook| matches!(hook.at, HookPoint::Filter { .. })));
            [0, 1].map(|which| inspector.inspect(&hooks)[which].1)
        };
        assert_eq!(look(&bench.kernel), [HookState::Intact; 2]);
        for remove in ["filter del dev local ingress", "qdisc del dev local clsact"] {
            let removed = Command::new("tc").args(remove.split(' ')).status();
            assert!(removed.expect("tc is installed").success());
            assert_eq!(filters("local"), 0);
            let egress = if remove.starts_with("filter") {
                HookState::Intact
            } else {
                HookState::Lost(None)
            };
            assert_eq!(look(&bench.kernel), [HookState::Lost(None), egress], "{remove}");
            // There is no link that it could be put back by.
            bench.kernel.restore(index, "local", 2).expect_err("a filter");
            bench.attach_as(index, "local", CaptureMode::Tc).expect("attach again");
            bench.kernel.mend_egress(index, "local", true);
            assert_eq!(look(&bench.kernel), [HookState::Intact; 2]);
            assert_eq!(filters("local"), 1);
        }
        receives(&mut bench, "local", "remote");
    });
}

#[test]
fn another_plan_replaces_what_is_attached() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        for name in ["local", "remote"] {
            ip(&format!("link set {name} up"));
        }
        let mut bench = Bench::new();
        let index = ifindex("local");
        assert_eq!(bench.attach(index, "local").expect("attach"), CaptureMode::Native);
        let vlans = plan(None, Facts { vlans_above: true, tcx: true, ..Facts::default() });
        let choice = along(&mut bench.kernel, index, "local", &vlans).expect("tc");
        assert_eq!(choice.mode, CaptureMode::Tc);
        assert!(choice.why.expect("a reason").contains("VLAN"));
        assert!(eventually(|| bpf::xdp_program(index).is_none()), "XDP is gone");
        assert_eq!(on_ingress("local"), ["vrrp_ingress"]);
        assert_eq!(on_egress("local"), ["vrrp_egress"]);
        receives(&mut bench, "local", "remote");
        assert_eq!(bench.attach(index, "local").expect("back"), CaptureMode::Native);
        assert!(eventually(|| on_ingress("local").is_empty()), "tc is gone");
        assert_eq!(on_egress("local"), ["vrrp_egress"]);
    });
}

/// A script that is being started has copies of all descriptors for a moment.
#[test]
fn what_leaves_is_counted_whoever_has_copies_of_descriptors() {
    in_namespace(|| {
        ip("link add local type veth peer name remote");
        let mut bench = Bench::new();
        let index = ifindex("local");
        bench.attach(index, "local").expect("attach");
        let copies: Vec<OwnedFd> = std::fs::read_dir("/proc/self/fd")
            .expect("descriptors")
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let is_link = std::fs::read_link(&path).ok()?.to_str()?.contains("bpf_link");
                let fd: RawFd = path.file_name()?.to_str()?.parse().ok()?;
                // SAFETY: a dup of what is gone by now is refused.
                is_link.then(|| unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok())?
            })
            .collect();
        assert!(copies.len() >= 2, "{copies:?}");
        let vlans = plan(None, Facts { vlans_above: true, tcx: true, ..Facts::default() });
        along(&mut bench.kernel, index, "local", &vlans).expect("tc");
        drop(copies);
        assert!(eventually(|| bpf::xdp_program(index).is_none()), "XDP is gone");
        assert_eq!(on_egress("local"), ["vrrp_egress"]);
    });
}

/// Sends an advertisement of IPv4 from `remote`, and one of IPv6 behind extension headers, and waits for the events.
fn receives(bench: &mut Bench, local: &str, remote: &str) {
    let frames = [(0, Frame::v3(V3, 1).bytes(), 12), (6, ipv6::behind_headers(), 24)];
    receives_all(bench, local, remote, &frames);
}

/// Sends frames, each for one of the routers and with a message of that many bytes, and waits for the events.
fn receives_all(bench: &mut Bench, local: &str, remote: &str, frames: &[(usize, Vec<u8>, usize)]) {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut ring = bench.kernel.take_events().expect("ring");
    for (number, frame, len) in frames {
        let (mut key, entry) = routers()[*number];
        key.ifindex = ifindex(local);
        bench.kernel.set_router(&key, &entry).expect("set_router");
        // A new bridge port may drop frames for a moment: sent again until heard.
        for _ in 0..20 {
            send(remote, frame);
            let heard = runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(1), ring.readable()).await
            });
            if heard.is_ok() {
                break;
            }
        }
        let events = drain(&mut ring);
        let event = events.iter().find(|(event, _)| event.slot == entry.slot).expect("no event");
        assert_eq!((event.0.ifindex, event.1.len()), (key.ifindex, *len));
        assert!(bench.kernel.slot(entry.slot).adverts > 0);
    }
}

/// Sends a frame out of an interface.
fn send(name: &str, frame: &[u8]) {
    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage,
        sendto, socket,
    };
    use std::os::fd::AsRawFd;

    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll)
            .expect("packet socket");
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0x0800u16.to_be(),
        sll_ifindex: i32::try_from(ifindex(name)).expect("small"),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer is to a whole sockaddr_ll of the length given.
    let address = unsafe {
        SockaddrStorage::from_raw(
            std::ptr::from_ref(&address).cast(),
            Some(size_of::<libc::sockaddr_ll>() as u32),
        )
    };
    let address = address.expect("an address of a known family");
    sendto(socket.as_raw_fd(), frame, &address, MsgFlags::empty()).expect("send");
}

#[test]
fn another_program_is_left_alone_and_named() {
    in_namespace(|| {
        ip("link add taken type veth peer name remote");
        let mut first = Bench::new();
        let mut second = Bench::new();
        let index = ifindex("taken");
        first.attach(index, "taken").expect("attach");
        let plan = plan(None, Facts { tcx: true, ..Facts::default() });
        let choice = along(&mut second.kernel, index, "taken", &plan).expect("behind it");
        assert_eq!(choice.mode, CaptureMode::Tc);
        let why = choice.why.expect("a reason");
        assert!(why.contains("XDP is taken by another program (id "), "{why}");
        assert!(why.ends_with(", vrrp_xdp)"), "{why}");
        second.kernel.detach(index).expect("detach");
        drop(first);
        let mode = CaptureMode::Native;
        assert!(
            eventually(|| {
                second.kernel.detach(index).expect("detach");
                second.attach(index, "taken").is_ok_and(|found| found == mode)
            }),
            "free again"
        );
    });
}

#[test]
fn receives_jumbo_frames() {
    in_namespace(|| {
        ip("link add jumbo mtu 9000 type veth peer name remote mtu 9000");
        for name in ["jumbo", "remote"] {
            ip(&format!("link set {name} up"));
        }
        for mode in [CaptureMode::Native, CaptureMode::Generic, CaptureMode::Tc] {
            let mut bench = Bench::new();
            let index = ifindex("jumbo");
            bench.attach_as(index, "jumbo", mode).expect("attach");
            receives_all(&mut bench, "jumbo", "remote", &[(6, ipv6::longest(), MAX_VRRP_LEN)]);
            bench.kernel.detach(index).expect("detach");
        }
    });
}

/// Runs a test in a thread that has given up all capabilities but these.
fn with_capabilities<T: Send>(capabilities: &[u32], test: impl FnOnce() -> T + Send) -> T {
    /// `_LINUX_CAPABILITY_VERSION_3` (linux/capability.h).
    const VERSION_3: u32 = 0x2008_0522;
    let mask = capabilities.iter().fold(0u64, |mask, capability| mask | 1 << capability);
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    let run = || {
        // A header and twice three sets: effective, permitted, inheritable.
        let header = [VERSION_3, 0];
        let sets = [low, low, 0, high, high, 0];
        // SAFETY: both pointers are to as much as capset(2) reads. It affects this thread only.
        let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
        assert_eq!(result, 0, "capset");
        test()
    };
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_BPF: u32 = 39;

#[test]
fn root_is_not_needed() {
    let pins = Pins::mount();
    let sizes = SIZES;
    // Notably without CAP_PERFMON, with which the verifier is far more lenient.
    with_capabilities(&[CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW], || {
        let mut kernel = Datapath::load(&pins.dir(), sizes).expect("loads");
        assert!(kernel.egress_program().expect("program").fd().is_ok(), "loads as well");
        assert!(kernel.ingress_program().expect("program").fd().is_ok(), "loads as well");
        drop(kernel);
        assert!(matches!(Reader::open(&pins.dir()), Err(Error::NoPins(_))));
        let mut kernel = Datapath::load_without(&pins.dir(), sizes, copying()).expect("loads");
        assert!(kernel.egress_program().expect("program").fd().is_ok(), "loads as well");
        assert!(kernel.ingress_program().expect("program").fd().is_ok(), "loads as well");
    });
    let error = with_capabilities(&[CAP_NET_RAW], || Datapath::load(&pins.dir(), sizes).err());
    let error = error.expect("not loaded");
    assert!(matches!(error, Error::NotPermitted(_)), "{error}");
    // Here the maps can be made, and are pinned already when the kernel refuses the program.
    let error = with_capabilities(&[CAP_BPF], || Datapath::load(&pins.dir(), sizes).err());
    let error = error.expect("not loaded");
    assert!(matches!(error, Error::NotPermitted(_)), "{error}");
    assert!(!pins.dir().exists(), "left behind");
}

/// The limit is a million, and other kernels take other ways: `cargo xtask test --kernels` watches them.
#[test]
fn the_verifier_has_little_work() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let mut worse = vec![];
    for without in [Without::default(), copying()] {
        let unit = [CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW];
        let trial = with_capabilities(&unit, || bpf::try_load(without)).expect("loads");
        for (program, steps) in trial.steps {
            println!("{program}: {steps} steps on {release}");
            // A kernel that the table does not have says nothing.
            let most = vrrp_tests::most_steps(&release, program);
            worse.extend(most.filter(|most| steps > *most).map(|most| (program, steps, most)));
        }
    }
    assert!(worse.is_empty(), "more steps than they may be: {worse:?}");
}

#[test]
fn errors_say_what_to_do() {
    let error = bpf::bpffs(Some(Path::new("/proc"))).expect_err("not a bpffs");
    assert!(error.to_string().contains("mount -t bpf bpf /proc"), "{error}");
    let error = Reader::open(Path::new("/nonexistent")).err().expect("no pins");
    assert!(matches!(error, Error::NoPins(_)), "{error}");
}
