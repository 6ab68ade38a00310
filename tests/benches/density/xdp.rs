//! What the BPF programs cost the packets that they look at: each against an empty program of its kind, in
//! turns, by `BPF_PROG_TEST_RUN`.

use std::fs;
use std::net::IpAddr;

use aya::programs::{SchedClassifier, TestRun, TestRunOptions, TestRunResult, Xdp};
use aya_obj::programs::XdpAttachType;
use vrrp_common::lease::{self, FenceMode, Terms};
use vrrp_common::maps::{Control, Held, RouterEntry, RouterKey, state, transport};
use vrrp_common::report::ReportFilter;
use vrrp_common::{FAMILY_V4, VRRP_TTL};
use vrrp_tests::{EmptyProgram, Error, Lab, Result, pin_empty_program};
use vrrp_user::core::{InterfaceAddr, Sizes};
use vrrp_user::engine::time::Nanos;
use vrrp_user::engine::types::{Priority, Vrid};
use vrrp_user::io::bpf::{Datapath, chain};
use vrrp_user::io::timer;
use vrrp_user::wire::ethernet::VRRP_MULTICAST;
use vrrp_user::wire::frame::{AdvertFrame, AdvertParams};
use vrrp_user::wire::vrrp::Auth;

use crate::Plan;
use crate::stage::Load;

/// `XDP_DROP` and `XDP_PASS` in linux/bpf.h.
const DROP: u32 = 1;
const PASS: u32 = 2;
/// `TCX_NEXT` in linux/bpf.h, and `TC_ACT_OK` in linux/pkt_cls.h.
const NEXT: u32 = -1_i32 as u32;
const ACCEPT: u32 = 0;
/// Packets in one run; the kernel tells the mean in whole nanoseconds.
const REPEAT: u32 = 1_000_000;
/// On which interface `BPF_PROG_TEST_RUN` says that packets arrive: the loopback one.
const IFINDEX: u32 = 1;
/// The sender and receiver of the packets.
const SOURCE: [u8; 4] = [192, 0, 2, 2];
const OTHER: [u8; 4] = [192, 0, 2, 1];

/// The Ethernet address of the interface.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The virtual MAC address of a VRID that no router has: of IPv6, and all are of IPv4.
const NO_ROUTER: [u8; 6] = [0, 0, 0x5e, 0, 2, 1];

/// What `fence = "lease"` may cost a packet beside a look at the clock, nanoseconds.
const BESIDE_CLOCK: f64 = 5.0;

/// What, unit, value, target.
pub type Cost = (String, &'static str, f64, Option<f64>);

/// A packet, what ours should do with it, and what that may cost.
struct Case {
    what: &'static str,
    packet: Vec<u8>,
    verdict: u32,
    target: Option<f64>,
}

/// The figures, with as many routers and addresses in the maps as the load has.
pub fn costs(plan: &Plan, load: Load) -> Result<Vec<Cost>> {
    let lab = Lab::new()?;
    let mut kernel = kernel(&lab, load)?;
    let xdp = |kind| {
        let path = lab.bpffs().join("empty-xdp");
        pin_empty_program(kind, "empty", &path)?;
        let program = Xdp::from_pin(&path, XdpAttachType::Interface).map_err(unexpected)?;
        fs::remove_file(&path).map_err(Error::io("remove a pin"))?;
        Ok::<_, Error>(program)
    };
    let (empty, clock) = (xdp(EmptyProgram::Xdp)?, xdp(EmptyProgram::Clock)?);

    let good = advert(load)?;
    let mut refused = good.clone();
    // The VRRP checksum, behind 14 bytes of Ethernet and 20 of IP.
    refused[40] ^= 0x55;
    // All others are routers here; nothing is checked before this is known.
    let mut unknown = good.clone();
    unknown[35] = 0;
    acknowledge(&mut kernel, &good)?;
    let last = load.vip(load.routers - 1).octets();
    let case = |what, packet, verdict, target| Case { what, packet, verdict, target };
    let cases = [
        case("64-byte TCP packet to no VIP", tcp(SOURCE, OTHER), PASS, Some(30.0)),
        case("64-byte TCP packet to a VIP", tcp(SOURCE, last), PASS, Some(45.0)),
        case("TCP over IPv6 to no VIP", tcp6(SOURCE, OTHER), PASS, Some(30.0)),
        case("TCP over IPv6 to a VIP", tcp6(SOURCE, last), PASS, Some(45.0)),
        case("ARP", arp(SOURCE, OTHER), PASS, None),
        case("good advert that is no news", good, PASS, None),
        case("advert with a bad checksum", refused, DROP, None),
        case("advert for an unknown VRID", unknown, PASS, None),
    ];
    let failed = |error: vrrp_user::io::bpf::Error| Error::Unexpected(chain(&error));
    let mut costs = side(plan, "RX", &*kernel.program().map_err(failed)?, &empty, PASS, &cases)?;
    let clock = clock_cost(plan, &clock, &empty)?;
    costs.push(("RX, a look at the clock: added, least".to_owned(), "ns", clock, None));
    for (what, packet) in [("TCP", tcp(SOURCE, last)), ("TCP over IPv6", tcp6(SOURCE, last))] {
        costs.extend(fences(
            plan,
            clock,
            &format!("RX, {what} to a VIP"),
            &mut kernel,
            |kernel| run(&*kernel.program().map_err(failed)?, &packet, PASS),
        )?);
    }

    let path = lab.bpffs().join("empty-tc");
    pin_empty_program(EmptyProgram::Classifier, "empty", &path)?;
    let empty = SchedClassifier::from_pin(&path).map_err(unexpected)?;
    fs::remove_file(&path).map_err(Error::io("remove a pin"))?;
    let cases = [
        case("64-byte TCP packet from no VIP", tcp(OTHER, SOURCE), NEXT, Some(30.0)),
        case("64-byte TCP packet from a VIP", tcp(last, SOURCE), NEXT, Some(45.0)),
        case("TCP over IPv6 from no VIP", tcp6(OTHER, SOURCE), NEXT, Some(30.0)),
        case("TCP over IPv6 from a VIP", tcp6(last, SOURCE), NEXT, Some(45.0)),
    ];
    let ours = kernel.egress_program().map_err(failed)?;
    costs.extend(side(plan, "TX", &*ours, &empty, ACCEPT, &cases)?);
    for (what, packet) in [("TCP", tcp(last, SOURCE)), ("TCP over IPv6", tcp6(last, SOURCE))] {
        costs.extend(fences(
            plan,
            clock,
            &format!("TX, {what} from a VIP"),
            &mut kernel,
            |kernel| run(&*kernel.egress_program().map_err(failed)?, &packet, NEXT),
        )?);
    }

    let to = |mac: [u8; 6]| [&mac[..], &tcp(SOURCE, OTHER)[6..]].concat();
    let cases = [
        // The address of the loopback interface.
        case("64-byte TCP packet for this host", to([0; 6]), NEXT, None),
        case("64-byte TCP packet for another host", to(MAC), NEXT, None),
        case("64-byte TCP packet to a virtual MAC of none here", to(NO_ROUTER), NEXT, None),
    ];
    for name in ["tc", "tc with virtual MACs"] {
        let ours = kernel.ingress_program().map_err(failed)?;
        costs.extend(side(plan, name, &*ours, &empty, ACCEPT, &cases)?);
        for (router, slot) in (0..load.routers).zip(0..) {
            let vrid = load.vrid(router);
            let ifindex = u32::try_from(load.link(router)).unwrap_or(0) + IFINDEX;
            let mac = [0, 0, 0x5e, 0, 1, vrid];
            kernel.set_virtual_mac(ifindex, mac, slot).map_err(failed)?;
        }
    }
    Ok(costs)
}

/// Runs a program and the empty one of its kind in turns on each packet: what ours costs on top.
fn side<P>(
    plan: &Plan,
    name: &str,
    ours: &P,
    empty: &P,
    empty_verdict: u32,
    cases: &[Case],
) -> Result<Vec<Cost>>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let (mut costs, mut least) = (Vec::new(), f64::INFINITY);
    for Case { what, packet, verdict, target } in cases {
        let [mut with, mut without] =
            in_turns(plan, || run(ours, packet, *verdict), || run(empty, packet, empty_verdict))?;
        let added = minimum(&with) - minimum(&without);
        costs.push((format!("{name}, {what}: added, least"), "ns", added, *target));
        let added = median(&mut with) - median(&mut without);
        costs.push((format!("{name}, {what}: added, median"), "ns", added, None));
        least = least.min(minimum(&without));
    }
    costs.push((format!("{name}, an empty program, least"), "ns", least, None));
    Ok(costs)
}

/// What a lease costs a packet to or from an address of a master: in turns with the same router without one, as with `fence = "off"`.
/// The lease holds all the time. `clock` is what a look at the clock takes here, nanoseconds.
fn fences(
    plan: &Plan,
    clock: f64,
    what: &str,
    kernel: &mut Datapath,
    run: impl Fn(&mut Datapath) -> Result<f64>,
) -> Result<Vec<Cost>> {
    let now = timer::boot_now().0;
    let terms = |mode| Terms::new(mode, Nanos::from_secs(3600).0, 3);
    // How, whether somebody else claims an address, and how many nanoseconds more than without that may be.
    let leases = [
        ("fence claim", FenceMode::Claim, false, Some(3.0)),
        ("fence claim, claimed", FenceMode::Claim, true, None),
        ("fence lease", FenceMode::Lease, false, Some(clock + BESIDE_CLOCK)),
    ];
    let mut without = Vec::new();
    let mut with = leases.map(|_| Vec::new());
    for _ in 0..rounds(plan) {
        without.push(run(kernel)?);
        for ((_, mode, claimed, _), values) in leases.iter().zip(&mut with) {
            let table = kernel.leases().ok_or_else(|| Error::Unexpected("no leases".into()))?;
            lease::begin(&table.words(0), now, terms(*mode));
            if *claimed {
                lease::claim(&table.words(0), now + 1);
            }
            let cost = run(kernel);
            if let Some(table) = kernel.leases() {
                lease::clear(&table.words(0));
            }
            values.push(cost?);
        }
    }
    let costs = leases.iter().zip(&with).map(|((name, _, _, target), values)| {
        let more = minimum(values) - minimum(&without);
        (format!("{what}, {name}: more, least"), "ns", more, *target)
    });
    Ok(costs.collect())
}

/// What the clock takes by which leases go, nanoseconds: in turns with nothing.
fn clock_cost(plan: &Plan, clock: &Xdp, empty: &Xdp) -> Result<f64> {
    let packet = tcp(SOURCE, OTHER);
    let [with, without] =
        in_turns(plan, || run(clock, &packet, PASS), || run(empty, &packet, PASS))?;
    Ok(minimum(&with) - minimum(&without))
}

/// How often each is measured.
fn rounds(plan: &Plan) -> usize {
    if plan.quick { 3 } else { 15 }
}

/// Measures both as often, by turns: what else the machine does falls upon both.
fn in_turns(
    plan: &Plan,
    with: impl Fn() -> Result<f64>,
    without: impl Fn() -> Result<f64>,
) -> Result<[Vec<f64>; 2]> {
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..rounds(plan) {
        costs[0].push(with()?);
        costs[1].push(without()?);
    }
    Ok(costs)
}

/// Nanoseconds for one packet.
fn run<P>(program: &P, packet: &[u8], verdict: u32) -> Result<f64>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    if vrrp_tests::interrupted() {
        return Err(Error::Interrupted);
    }
    let options = TestRunOptions { data_in: Some(packet), repeat: REPEAT, ..TestRunOptions::new() };
    let result = program.test_run(options).map_err(|error| {
        // A signal ends the run.
        if vrrp_tests::interrupted() { Error::Interrupted } else { unexpected(error) }
    })?;
    if result.return_value != verdict {
        return Err(Error::Unexpected(format!("verdict {}, not {verdict}", result.return_value)));
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(result.duration.as_nanos() as f64)
}

fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The loaded kernel side with all routers and addresses of a load in its maps.
fn kernel(lab: &Lab, load: Load) -> Result<Datapath> {
    let failed = |error: vrrp_user::io::bpf::Error| Error::Unexpected(chain(&error));
    let count = u32::try_from(load.routers).unwrap_or(u32::MAX);
    let sizes = Sizes { routers: count, vips: count, vips6: count, allowed: 1 };
    let mut kernel = Datapath::load(&lab.bpffs().join("xdp-bench"), sizes).map_err(failed)?;
    let control = Control::new(0, 1);
    kernel.write_control(&control).map_err(failed)?;
    for (router, slot) in (0..load.routers).zip(0..) {
        // In reality each link has an index of its own, and so it has here, beginning with the one on
        // which packets arrive.
        let ifindex = u32::try_from(load.link(router)).unwrap_or(0) + IFINDEX;
        let vrid = load.vrid(router);
        let key = RouterKey { ifindex, family: FAMILY_V4, vrid, ..RouterKey::default() };
        let version = 3;
        let mut entry = RouterEntry {
            slot,
            version,
            transport: transport::MULTICAST,
            mac: MAC,
            ..RouterEntry::default()
        };
        entry.local[..4].copy_from_slice(&OTHER);
        entry.destination[..4].copy_from_slice(&vrrp_common::MULTICAST_V4);
        kernel.set_router(&key, &entry).map_err(failed)?;
        // All on the one interface, so that any of them can be the destination.
        kernel
            .vips
            .add(&InterfaceAddr::own(IFINDEX, load.vip(router)), 0, false)
            .map_err(failed)?;
        let mapped = load.vip(router).to_ipv6_mapped();
        kernel.vips.add(&InterfaceAddr::own(IFINDEX, mapped), 0, false).map_err(failed)?;
        // Here each of them is held by the first router, as its lease is the one that is looked at.
        let held = Held { mac: [2, 0, 0, 0, 0, 1, 0, 0], ..Held::default() };
        for address in [load.vip(router).into(), IpAddr::from(mapped)] {
            kernel.vips.hold(&InterfaceAddr::own(IFINDEX, address), &held).map_err(failed)?;
        }
    }
    Ok(kernel)
}

/// Lets the kernel side hear the first router's master once, and says what the daemon of a backup says then:
/// that it need not be reported again.
fn acknowledge(kernel: &mut Datapath, good: &[u8]) -> Result<()> {
    let failed = |error: vrrp_user::io::bpf::Error| Error::Unexpected(chain(&error));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start a runtime"))?;
    let _entered = runtime.enter();
    let mut ring = kernel.take_events().map_err(failed)?;
    let filter = ReportFilter { state: state::BACKUP, priority: 1, ..ReportFilter::default() };
    kernel.set_filter(0, filter).map_err(failed)?;
    let options = TestRunOptions { data_in: Some(good), ..TestRunOptions::new() };
    kernel.program().map_err(failed)?.test_run(options).map_err(unexpected)?;
    let mut digest = 0;
    ring.drain(Nanos(u64::MAX), |report| digest = report.map_or(0, |(event, _)| event.digest));
    if digest == 0 {
        return Err(Error::Unexpected("the advertisement was not accepted".to_owned()));
    }
    kernel.set_ack(0, digest).map_err(failed)
}

/// An advertisement of the first router's master.
fn advert(load: Load) -> Result<Vec<u8>> {
    let vrid = Vrid::new(1).ok_or_else(|| Error::Unexpected("VRID 0".to_owned()))?;
    let frame = AdvertFrame::new(&AdvertParams {
        source_mac: [2, 0, 0, 0, 0, 2],
        dest_mac: VRRP_MULTICAST,
        source: SOURCE.into(),
        destination: vrrp_common::MULTICAST_V4.into(),
        ttl: VRRP_TTL,
        vrid,
        interval: Load { interval_ms: 100, ..load }.interval(),
        priority: Priority(200),
        addresses: &[load.vip(0).into()],
        auth: Auth::None,
        v3_pseudo_header: true,
        signed: false,
    });
    Ok(frame.map_err(unexpected)?.bytes().to_vec())
}

/// An acknowledgement without data: 64 bytes with padding and FCS, 60 of which reach a program.
fn tcp(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, VRRP_TTL, 6, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    // Ports, sequence number, acknowledgement, header length and flags.
    frame.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10]);
    frame.resize(60, 0);
    frame
}

/// A request for an address, padded like [`tcp`].
fn arp(source: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 2, 0x08, 0x06]);
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame.extend(source);
    frame.extend([0; 6]);
    frame.extend(target);
    frame.resize(60, 0);
    frame
}

/// The same over IPv6, between addresses that IPv4 ones are mapped to.
fn tcp6(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let ipv4 = tcp(source, destination);
    let mut frame = ipv4[..12].to_vec();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, VRRP_TTL]);
    for address in [source, destination] {
        frame.extend(std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets());
    }
    frame.extend(&ipv4[34..54]);
    frame
}

fn unexpected(error: impl std::error::Error) -> Error {
    Error::Unexpected(error.to_string())
}
