//! Only what is ours is dropped: nothing of protocol 112 before it is known to be for a router that is configured on that
//! interface. It may be for a guest behind a bridge, a VLAN device above, or another daemon.

use vrrp_common::reason::{Reason, Verdict};

use super::{Bench, copying, examples, ipv6, routers};

/// What is found wrong before the router is looked up. All of these were once dropped, but for the last.
const BEFORE: [Reason; 6] = [
    Reason::Truncated,
    Reason::IpHeader,
    Reason::IpChecksum,
    Reason::Fragment,
    Reason::VrrpHeader,
    Reason::ExtensionHeaders,
];

/// Whether the other family has nothing of that kind.
fn has(six: bool, reason: Reason) -> bool {
    let four_only = [Reason::IpChecksum, Reason::Interval, Reason::AuthType, Reason::AuthData];
    let six_only = [Reason::FirstAddress, Reason::ExtensionHeaders];
    !if six { four_only.contains(&reason) } else { six_only.contains(&reason) }
}

/// The same frame for a router of ours, and for nobody here: with another VRID, and with another VLAN ID.
pub struct Alike {
    pub ours: Vec<u8>,
    pub others: [Vec<u8>; 2],
}

fn frames(six: bool, reason: Reason) -> Vec<Alike> {
    let frames: Vec<Alike> = if six {
        ipv6::alike(reason)
    } else {
        examples(reason).iter().map(super::Frame::alike).collect()
    };
    assert_eq!(!frames.is_empty(), has(six, reason), "{reason:?}, IPv6 {six}");
    frames
}

/// With each program that receives.
fn with_all(test: impl Fn(&mut Bench)) {
    let mut bench = Bench::new();
    test(&mut bench);
    bench.tc = true;
    test(&mut bench);
    let mut bench = Bench::without(copying());
    bench.tc = true;
    test(&mut bench);
}

/// Tc asks the kernel whether a frame to one host is for us, and the kernel takes none there that is longer than a page.
fn fits(bench: &Bench, frame: &[u8]) -> bool {
    !bench.tc || (frame.len() <= 3500 && frame[0] & 1 != 0)
}

#[test]
fn what_is_wrong_before_its_router_is_known_passes() {
    with_all(|bench| {
        for reason in BEFORE {
            assert_eq!(reason.verdict(), Verdict::Pass);
            for six in [false, true] {
                for Alike { ours, others } in frames(six, reason) {
                    for frame in others.iter().chain([&ours]) {
                        if !fits(bench, frame) {
                            continue;
                        }
                        let name = format!("{reason:?}: {frame:02x?}");
                        assert_eq!(bench.run(frame), (Verdict::Pass, Some(reason)), "{name}");
                    }
                }
            }
        }
    });
}

#[test]
fn what_is_dropped_was_for_a_router_of_ours() {
    with_all(|bench| {
        // Those are nf_tables', and of what leaves.
        let others = [Reason::NotAccepted, Reason::VirtualMacRedirect];
        let signed =
            |reason: &Reason| ["hmac_", "ah_"].iter().any(|it| reason.name().starts_with(it));
        let ours =
            |reason: &&Reason| !reason.is_fence() && !others.contains(reason) && !signed(reason);
        let dropped =
            Reason::ALL.iter().filter(ours).filter(|reason| reason.verdict() == Verdict::Drop);
        for reason in dropped.copied() {
            assert!(!BEFORE.contains(&reason), "{reason:?}");
            for six in [false, true] {
                for Alike { ours, others } in frames(six, reason) {
                    if !fits(bench, &ours) {
                        continue;
                    }
                    let name = format!("{reason:?}: {ours:02x?}");
                    assert_eq!(bench.run(&ours), (Verdict::Drop, Some(reason)), "{name}");
                    let unknown = (Verdict::Pass, Some(Reason::UnknownVrid));
                    for other in others {
                        assert_eq!(bench.run(&other), unknown, "for nobody here, {name}");
                    }
                }
            }
        }
    });
}

/// The very same frames, where no router is configured, or only on another interface.
#[test]
fn without_a_router_nothing_is_dropped() {
    let mut bench = Bench::new();
    for (key, entry) in routers() {
        bench.kernel.remove_router(&key).expect("remove_router");
        let elsewhere = vrrp_common::maps::RouterKey { ifindex: key.ifindex + 1, ..key };
        bench.kernel.set_router(&elsewhere, &entry).expect("set_router");
    }
    for &reason in Reason::ALL {
        for Alike { ours, .. } in
            examples(reason).iter().map(super::Frame::alike).chain(ipv6::alike(reason))
        {
            let counted = if BEFORE.contains(&reason) { reason } else { Reason::UnknownVrid };
            assert_eq!(bench.run(&ours), (Verdict::Pass, Some(counted)), "{ours:02x?}");
        }
    }
}
