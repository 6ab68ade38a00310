//! What a host does not answer any more whose lease is over: packet in, verdict out. Who sends what leaves, a test run does not
//! tell; the labs do.

use vrrp_common::lease::{self, FenceMode, Terms};
use vrrp_user::io::timer::since_boot;

use super::*;

const OURS: [u8; 6] = MAC;
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SLOT: u32 = 0;
const SECOND: u64 = 1_000_000_000;

/// A master that stood still for ten seconds, three of which it had.
struct Left {
    bench: Bench,
    term: u64,
}

impl Left {
    fn new(tc: bool, without: Without, mode: FenceMode) -> Self {
        let mut bench = Bench::without(without);
        bench.tc = tc;
        // There, the address of the loopback interface is ours.
        let mac = if tc { [0; 8] } else { [2, 0, 0, 0, 0, 1, 0, 0] };
        let held = Held { slot: SLOT, mac, ..Held::default() };
        for vip in [IpAddr::from(VIP), IpAddr::from(ipv6::VIP)] {
            let at = InterfaceAddr::own(LOOPBACK, vip);
            bench.kernel.vips.add(&at, SLOT, false).expect("add_vip");
            bench.kernel.vips.hold(&at, &held).expect("hold");
        }
        let filter =
            ReportFilter { state: state::MASTER, priority: 100, ..ReportFilter::default() };
        bench.kernel.set_filter(SLOT, filter).expect("set_filter");
        let mut left = Self { bench, term: 0 };
        left.take_over(10 * SECOND, mode);
        left
    }

    fn all(test: impl Fn(&mut Self)) {
        for mode in [FenceMode::Claim, FenceMode::Lease] {
            test(&mut Self::new(false, Without::default(), mode));
            test(&mut Self::new(true, Without::default(), mode));
            test(&mut Self::new(true, copying(), mode));
        }
    }

    fn leases(&self) -> &bpf::Leases {
        self.bench.kernel.leases().expect("there is BPF")
    }

    fn take_over(&mut self, ago: u64, mode: FenceMode) {
        self.term = since_boot().0 - ago;
        lease::begin(&self.leases().words(SLOT), self.term, Terms::new(mode, SECOND, 3));
    }

    /// Which of these pass: TCP to and from the address over IPv4, and over IPv6; ARP and a neighbour advertisement of ours.
    fn passes(&mut self) -> [bool; 6] {
        let (in4, in6) = (incoming(OURS), incoming6(OURS));
        let arrives = |bench: &mut Bench, frame: &[u8]| match bench.run(frame) {
            (Verdict::Pass, None) => true,
            (Verdict::Drop, Some(Reason::FencedTo)) => false,
            other => panic!("{other:?} for {frame:02x?}"),
        };
        [
            arrives(&mut self.bench, &in4),
            self.leaves(&answer().bytes(), 0),
            arrives(&mut self.bench, &in6),
            self.leaves(&outgoing6(), 0),
            self.leaves(&arp(2, OURS, VIP), 0),
            self.leaves(&ipv6::advertised(OURS), 0),
        ]
    }

    /// What the egress program says of a frame that came in by an interface, or of this host.
    fn leaves(&mut self, frame: &[u8], from: u32) -> bool {
        // `struct __sk_buff` (linux/bpf.h).
        let mut context = [0; 168];
        context[36..40].copy_from_slice(&from.to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let program = self.bench.kernel.egress_program().expect("program");
        match program.test_run(options).expect("test run").return_value as i32 {
            -1 => true,
            2 => false,
            other => panic!("tc action {other}"),
        }
    }
}

fn incoming(to: [u8; 6]) -> Vec<u8> {
    let tcp = Frame::v3(V3, 1).with(|f| (f.protocol, f.destination, f.to) = (6, VIP, to));
    tcp.bytes()
}

fn incoming6(to: [u8; 6]) -> Vec<u8> {
    ipv6::tcp(to, ipv6::PEER, ipv6::VIP)
}

fn outgoing6() -> Vec<u8> {
    ipv6::tcp(THEIRS, ipv6::VIP, ipv6::PEER)
}

#[test]
fn without_a_claim_nothing_is_stopped() {
    let mut left = Left::new(false, Without::default(), FenceMode::Claim);
    assert_eq!(left.passes(), [true; 6]);
    assert_eq!(left.leases().get(SLOT).claimed, 0);
}

#[test]
fn by_the_lease_nothing_passes_that_is_over() {
    let mut left = Left::new(false, Without::default(), FenceMode::Lease);
    assert_eq!(left.passes(), [false; 6]);
    left.take_over(SECOND, FenceMode::Lease);
    assert_eq!(left.passes(), [true; 6]);
}

#[test]
fn a_claim_when_the_lease_is_over_stops_all() {
    Left::all(|left| {
        let before = since_boot().0;
        assert_eq!(left.bench.run(&arp(1, THEIRS, VIP)).1, Some(Reason::ArpConflict));
        let lease = left.leases().get(SLOT);
        assert!((before..=since_boot().0).contains(&lease.claimed), "{lease:?}");
        assert!(!lease.is_fenced());
        assert_eq!(left.passes(), [false; 6]);
        let lease = left.leases().get(SLOT);
        assert!(lease.is_fenced() && lease.dropped == 6, "{lease:?}");
        // Counted by reason, and sampled.
        let count = |reason| left.bench.reader.reasons().expect("reads")[reason as usize].1;
        assert_eq!([count(Reason::FencedTo), count(Reason::FencedFrom)], [2, 4]);
        let samples = left.bench.reader.samples().expect("reads");
        let sample = samples[Reason::FencedTo as usize].1.recent.last().copied().expect("one");
        assert_eq!((sample.destination, sample.payload_len), (to_field(VIP.into()), 0));

        // A renewal does not lift it, and a takeover does.
        lease::refresh(&left.leases().words(SLOT), since_boot().0);
        assert_eq!(left.passes(), [false; 6]);
        left.take_over(0, FenceMode::Claim);
        assert_eq!(left.passes(), [true; 6]);
    });
}

#[test]
fn neighbour_discovery_is_a_claim_as_well() {
    let mut left = Left::new(false, Without::default(), FenceMode::Claim);
    let claim = ipv6::advertised(THEIRS);
    assert_eq!(left.bench.run(&claim).1, Some(Reason::NdiscConflict));
    assert_eq!(left.passes(), [false; 6]);
}

#[test]
fn while_the_lease_holds_only_what_outranks_us_counts() {
    for tc in [false, true] {
        let mut left = Left::new(tc, Without::default(), FenceMode::Claim);
        left.take_over(SECOND / 2, FenceMode::Claim);
        left.bench.run(&arp(1, THEIRS, VIP));
        let advert = |priority| Frame::v3(V3, 1).with(|f| f.message[2] = priority).bytes();
        left.bench.run(&advert(99));
        assert_eq!(left.passes(), [true; 6]);
        left.bench.run(&advert(101));
        assert_eq!(left.passes(), [false; 6]);
    }
}

#[test]
fn only_what_is_ours_is_stopped() {
    Left::all(|left| {
        left.bench.run(&arp(1, THEIRS, VIP));
        if !left.bench.tc {
            // There, the kernel itself says whose a frame is.
            for to in [[0xff; 6], THEIRS] {
                assert_eq!(left.bench.run(&incoming(to)), (Verdict::Pass, None));
                assert_eq!(left.bench.run(&incoming6(to)), (Verdict::Pass, None));
            }
        }
        // A question for the address, which may be a guest's by now.
        assert_eq!(left.bench.run(&arp(1, THEIRS, PEER)), (Verdict::Pass, None));
        // What only passes through.
        for frame in [answer().bytes(), outgoing6(), arp(2, THEIRS, VIP), ipv6::advertised(THEIRS)]
        {
            assert!(left.leaves(&frame, LOOPBACK), "{frame:02x?}");
        }
        // From another address, and ARP for one.
        let other = answer().with(|f| f.source = LOCAL).bytes();
        assert!(left.leaves(&other, 0) && left.leaves(&arp(2, OURS, LOCAL), 0));
        assert_eq!(left.passes(), [false; 6]);
        // Once the address is gone, there is nothing to stop.
        for vip in [IpAddr::from(VIP), IpAddr::from(ipv6::VIP)] {
            let at = InterfaceAddr::own(LOOPBACK, vip);
            left.bench.kernel.vips.release(&at).expect("release");
        }
        assert_eq!(left.passes(), [true; 6]);
    });
}

/// A test run has a socket, and it is none of our daemon's.
#[test]
fn an_advert_of_another_daemon_on_this_host_lifts_the_fence() {
    Left::all(|left| {
        left.bench.run(&arp(1, THEIRS, VIP));
        assert_eq!(left.passes(), [false; 6]);
        // For another router, or to ourselves.
        assert!(left.leaves(&Frame::v3(UNKNOWN, 1).bytes(), 0));
        let to_self = Frame::v3(V3, 1).with(|f| f.to = THEIRS);
        assert!(left.leaves(&to_self.bytes(), 0));
        assert_eq!(left.passes(), [false; 6]);
        assert!(left.leaves(&Frame::v3(V3, 1).bytes(), 0));
        assert_eq!(left.passes(), [true; 6]);
        let lease = left.leases().get(SLOT);
        assert_eq!((lease.lifted, lease.is_fenced()), (left.term, false));
    });
}
