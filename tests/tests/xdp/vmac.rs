//! Frames to and from virtual MAC addresses, where tc captures: what each counts under. What the stack takes in and what it
//! leaves, a test run does not tell; the labs do.

use vrrp_common::lease::{self, FenceMode, Terms};
use vrrp_common::virtual_mac;
use vrrp_user::io::timer::since_boot;

use super::*;

const SLOT: u32 = 0;
const SECOND: u64 = 1_000_000_000;
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// One that is none of the RFC's.
const OWN: [u8; 6] = [2, 0, 0x5e, 0x10, 0x20, 0x30];

/// The router [`V3`] over IPv4, with this virtual MAC address.
fn bench(without: Without, mac: [u8; 6]) -> Bench {
    let mut bench = Bench::without(without);
    bench.tc = true;
    bench.kernel.set_virtual_mac(LOOPBACK, mac, SLOT).expect("set_virtual_mac");
    let virtual_mac = virtual_mac::padded(mac);
    // The interface's own is that of the loopback interface.
    let held = Held { slot: SLOT, virtual_mac, ..Held::default() };
    bench.kernel.vips.hold(&InterfaceAddr::own(LOOPBACK, VIP), &held).expect("hold");
    bench
}

fn set_state(bench: &mut Bench, state: u8) {
    let filter = ReportFilter { state, priority: 100, ..ReportFilter::default() };
    bench.kernel.set_filter(SLOT, filter).expect("set_filter");
}

/// TCP in a frame between these Ethernet addresses.
fn tcp(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut frame = Frame::v3(V3, 1).with(|f| (f.protocol, f.to) = (6, to)).bytes();
    frame[6..12].copy_from_slice(&from);
    frame
}

#[test]
fn frames_to_and_from_virtual_mac_addresses_are_counted() {
    let of_rfc = virtual_mac::of_router(FAMILY_V4, V3);
    let six = virtual_mac::of_router(FAMILY_V6, V3);
    for (without, ours) in [Without::default(), copying()]
        .into_iter()
        .zip([of_rfc, OWN])
        .chain([(Without::default(), OWN), (copying(), of_rfc)])
    {
        let bench = &mut bench(without, ours);
        let counts = |bench: &mut Bench, frame: &[u8], reason| {
            assert_eq!(bench.run(frame), (Verdict::Pass, reason), "{frame:02x?}");
        };
        set_state(bench, state::BACKUP);
        counts(bench, &tcp(ours, THEIRS), Some(Reason::VirtualMacBackup));
        counts(bench, &tcp(six, THEIRS), Some(Reason::VirtualMacUnknown));
        counts(bench, &tcp(THEIRS, THEIRS), None);
        // One that has the same bit in the set as ours, and that of the VRID, if it is not that.
        let [a, b, c, d, e, f] = ours;
        counts(bench, &tcp([a, b, c ^ 4, d, e ^ 4, f], THEIRS), None);
        if ours != of_rfc {
            counts(bench, &tcp(of_rfc, THEIRS), Some(Reason::VirtualMacUnknown));
        }
        // The master's.
        counts(bench, &tcp(THEIRS, ours), None);
        assert_eq!(bench.kernel.slot(SLOT).own_mac_ns, 0);

        set_state(bench, state::MASTER);
        counts(bench, &tcp(ours, THEIRS), Some(Reason::VirtualMacAccepted));
        counts(bench, &tcp(THEIRS, ours), Some(Reason::VirtualMacSource));
        // For this host alone: not looked at.
        counts(bench, &tcp(MAC, ours), None);
        counts(bench, &arp(2, ours, VIP), Some(Reason::VirtualMacEcho));
        counts(bench, &arp(2, ours, PEER), Some(Reason::VirtualMacSource));
        // What we have not sent, as it is for us.
        let mut answer = arp(2, ours, VIP);
        answer[..6].copy_from_slice(&MAC);
        counts(bench, &answer, Some(Reason::ArpConflict));
        counts(bench, &tcp(THEIRS, six), None);
        assert_ne!(bench.kernel.slot(SLOT).own_mac_ns, 0);
        // An advertisement is what everybody sends from it.
        let mut advert = Frame::v3(V3, 1).bytes();
        advert[6..12].copy_from_slice(&ours);
        counts(bench, &advert, Some(Reason::Accepted));

        let leases = bench.kernel.leases().expect("there is BPF");
        let term = since_boot().0 - 10 * SECOND;
        lease::begin(&leases.words(SLOT), term, Terms::new(FenceMode::Lease, SECOND, 3));
        lease::claim(&leases.words(SLOT), since_boot().0);
        counts(bench, &tcp(ours, THEIRS), Some(Reason::VirtualMacFenced));
        counts(bench, &tcp(THEIRS, ours), None);
    }
}

/// It can take none in, and pays for none.
#[test]
fn xdp_does_not_look_at_virtual_mac_addresses() {
    let mut bench = bench(Without::default(), OWN);
    set_state(&mut bench, state::MASTER);
    bench.tc = false;
    assert_eq!(bench.run(&tcp(OWN, THEIRS)), (Verdict::Pass, None));
    assert_eq!(bench.run(&tcp(MAC, OWN)), (Verdict::Pass, None));
}
