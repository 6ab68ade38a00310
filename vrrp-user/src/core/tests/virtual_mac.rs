//! Virtual MAC addresses other than that of the VRID, and on other interfaces than the router's.

use vrrp_common::event::Claim;
use vrrp_common::maps::Held;
use vrrp_common::virtual_mac::{self, padded};

use super::*;

const ETH1: InterfaceId = InterfaceId::own(3);
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const MAC: [u8; 6] = [2, 0, 0, 0, 9, 51];

fn eth1() -> Link {
    Link { iface: ETH1, name: "eth1".to_owned(), mac: Some([2, 0, 0, 0, 0, 2]), ..link(true) }
}

/// A host with these interfaces.
fn host(more: &str, links: Vec<Link>) -> Host {
    let mut host = Host::new(&toml(more));
    host.input(Input::Listed { links, addresses: vec![address("10.0.0.1", false)] });
    host
}

fn masters(more: &str, links: Vec<Link>) -> Host {
    let mut host = host(more, links);
    host.pass(5000);
    host.answer(&Ok(()));
    assert_eq!(host.state(), Some(State::Master));
    host
}

/// With which virtual MAC address its addresses are held, by interface.
fn held(host: &Host) -> Vec<(InterfaceId, [u8; 8], [u8; 8])> {
    let held = host.done.iter().filter_map(|effect| match effect {
        Effect::HoldAddress { at, held } => Some((at.iface, held.mac, held.virtual_mac)),
        _ => None,
    });
    held.collect()
}

/// What the kernel side was told of virtual MAC addresses, in order, and whether interfaces take in frames to them.
fn told(host: &Host) -> Vec<(&'static str, InterfaceId, [u8; 6])> {
    let told = host.done.iter().filter_map(|effect| match *effect {
        Effect::SetVirtualMac { interface, mac, .. } => Some(("set", interface, mac)),
        Effect::RemoveVirtualMac { interface, mac, .. } => Some(("gone", interface, mac)),
        Effect::AddUnicastMac { interface, mac, .. } => Some(("in", interface, mac)),
        Effect::RemoveUnicastMac { interface, mac, .. } => Some(("out", interface, mac)),
        _ => None,
    });
    told.collect()
}

/// Ethernet sources of the advertisement with which it ends.
fn last_advert_from(host: &mut Host) -> [u8; 6] {
    host.core.handle(host.now, Input::Stop);
    while host.core.frames().is_empty() {
        host.core.advance(host.now);
    }
    let adverts = host.core.frames().iter().filter(|frame| matches!(frame.tag, Tag::Advert { .. }));
    *adverts.last().unwrap().bytes[6..].first_chunk().unwrap()
}

#[test]
fn another_one_is_in_all_that_the_kernel_side_is_told() {
    let mut host = masters("virtual_mac = \"02:00:00:00:09\"", vec![link(true)]);
    assert_eq!(told(&host), [("set", ETH0, MAC), ("in", ETH0, MAC)]);
    assert_eq!(held(&host), [(ETH0, padded(OWN), padded(MAC))]);
    assert_eq!(last_advert_from(&mut host), MAC);
    host.perform();
    assert_eq!(told(&host).last(), Some(&("out", ETH0, MAC)));
}

/// What a killed daemon has left is answered for while this one begins.
#[test]
fn new_programs_know_it_of_addresses_that_are_there() {
    let mut host = Host::new(&toml("virtual_mac = true"));
    let addresses = vec![address("10.0.0.1", false), address(VIP, true)];
    host.core.handle(host.now, Input::Listed { links: vec![link(true)], addresses });
    let effects: Vec<Effect> = std::iter::from_fn(|| host.core.poll_effect()).collect();
    let first = |what: fn(&Effect) -> bool| {
        effects.iter().position(what).unwrap_or_else(|| panic!("{effects:?}"))
    };
    let of_vrid = |held: &Held| held.virtual_mac == padded([0, 0, 0x5e, 0, 1, 51]);
    let held = first(|effect| matches!(effect, Effect::HoldAddress { .. }));
    assert!(matches!(&effects[held], Effect::HoldAddress { held, .. } if of_vrid(held)));
    let counted = first(|effect| matches!(effect, Effect::CountAddress { virtual_mac: true, .. }));
    let attached = first(|effect| matches!(effect, Effect::Attach { .. }));
    assert!(held < attached && counted < attached, "{effects:?}");
}

#[test]
fn advertisements_may_have_that_of_the_interface() {
    let more = "virtual_mac = true\nvirtual_mac_adverts = false";
    let mut host = masters(more, vec![link(true)]);
    assert_eq!(held(&host)[0].2[..3], [0, 0, 0x5e]);
    assert_eq!(last_advert_from(&mut host), OWN);
}

#[test]
fn addresses_on_other_interfaces_may_have_it_there() {
    const BESIDE: &str = "excluded = [{ address = \"10.1.0.9/24\", dev = \"eth1\", virtual_mac = true }, \
                          { address = \"10.1.0.8/24\", dev = \"eth1\" }]";
    const OF_VRID: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
    for (more, on_eth0) in [("", [0; 8]), ("virtual_mac = true", padded(OF_VRID))] {
        let mut host = masters(&format!("{BESIDE}\n{more}"), vec![link(true), eth1()]);
        let eth1_mac = padded([2, 0, 0, 0, 0, 2]);
        let mut all = held(&host);
        all.sort_unstable();
        all.dedup();
        let expected = [
            (ETH0, padded(OWN), on_eth0),
            (ETH1, eth1_mac, [0; 8]),
            (ETH1, eth1_mac, padded(OF_VRID)),
        ];
        assert_eq!(all, expected, "{more}");
        assert!(told(&host).contains(&("in", ETH1, OF_VRID)));
        assert_eq!(told(&host).contains(&("in", ETH0, OF_VRID)), on_eth0 != [0; 8]);
        // What captures by tc takes it in.
        let tc = host.ways.iter().filter(|way| **way == AttachMethod::Mode(CaptureMode::Tc));
        assert_eq!(tc.count(), if on_eth0 == [0; 8] { 1 } else { 2 });
        // The kernel side must know which address is to give way.
        host.done.clear();
        let mac = [2, 0, 0, 0, 0, 3];
        host.input(Input::Changed(vec![Event::Link(Link { mac: Some(mac), ..eth1() })]));
        assert!(held(&host).contains(&(ETH1, padded(mac), padded(OF_VRID))), "{more}");
        host.hear(200);
        assert_eq!(host.state(), Some(State::Backup));
        assert!(told(&host).contains(&("out", ETH1, OF_VRID)));
    }
}

/// What leaves from its addresses has it there as well as on one that was there from the start.
#[test]
fn an_interface_may_come_later() {
    let beside = "excluded = [{ address = \"10.1.0.9/24\", dev = \"eth1\", virtual_mac = true }]";
    let mut host = host(beside, vec![link(true)]);
    let counted = |host: &Host| {
        let counted = host.done.iter().filter(|effect| {
            matches!(effect, Effect::CountAddress { at, virtual_mac: true, .. } if at.iface == ETH1)
        });
        counted.count()
    };
    assert_eq!((counted(&host), told(&host)), (0, vec![]));
    host.input(Input::Changed(vec![Event::Link(eth1())]));
    assert_eq!(counted(&host), 1);
    assert_eq!(told(&host), [("set", ETH1, [0, 0, 0x5e, 0, 1, 51])]);
    host.input(Input::Changed(vec![Event::LinkRemoved(ETH1)]));
    assert_eq!(told(&host).last(), Some(&("gone", ETH1, [0, 0, 0x5e, 0, 1, 51])));
}

#[test]
fn an_interface_that_cannot_have_it_is_said() {
    let macvlan = Link { unicast_filter: UnicastFilter::Own, ..eth1() };
    let beside = "excluded = [{ address = \"10.1.0.9/24\", dev = \"eth1\", virtual_mac = true }]";
    for (more, why) in [
        (beside, "eth1 is a macvlan"),
        ("virtual_mac = \"02:00:00:00:00:01\"", "eth0 has 02:00:00:00:00:01 itself"),
    ] {
        let host = host(more, vec![link(true), macvlan.clone()]);
        assert_eq!(host.state(), Some(State::Fault), "{more}");
        let problem = host.core.virtual_mac_problem(ROUTER).unwrap();
        assert!(problem.contains(why), "{problem}");
    }
}

/// How often something was announced within some seconds.
fn announced_within(host: &mut Host, seconds: u64) -> usize {
    let before = host.announcements;
    host.pass(seconds * 1000);
    host.announcements - before
}

#[test]
fn what_advertisements_do_not_tell_is_announced_from_time_to_time() {
    const BESIDE: &str = "excluded = [{ address = \"10.1.0.8/24\", dev = \"eth1\" }, \
                          { address = \"10.1.0.9/24\", dev = \"eth1\", virtual_mac = true }]";
    let garp = |all: bool| {
        format!("garp = {{ other_interfaces = \"10s\", other_interfaces_all = {all} }}")
    };
    let base = "virtual_mac = true\nvirtual_mac_adverts = false";
    let plain = BESIDE.replace(", virtual_mac = true", "");
    for (more, all, expected) in [
        (BESIDE.to_owned(), false, 1),
        (BESIDE.to_owned(), true, 1),
        (plain.clone(), false, 0),
        (plain.clone(), true, 1),
        (format!("{plain}\n{base}"), false, 1),
        (format!("{plain}\n{base}"), true, 2),
        ("virtual_mac = true".to_owned(), false, 0),
    ] {
        let mut host = masters(&format!("{more}\n{}", garp(all)), vec![link(true), eth1()]);
        // What follows a takeover.
        host.pass(8000);
        assert_eq!(announced_within(&mut host, 30), 3 * expected, "{more} {all}");
    }
}

#[test]
fn a_backup_by_unicast_says_where_it_is() {
    let more = "unicast = { peers = [\"10.0.0.2\"] }\ngarp = { own_address = \"2s\" }\n";
    let mut host = host(&format!("{more}interval = \"10s\""), vec![link(true)]);
    assert_eq!(host.state(), Some(State::Backup));
    assert_eq!(announced_within(&mut host, 7), 3);
    let without = more.replace("garp = { own_address = \"2s\" }", "");
    let mut quiet = self::host(&format!("{without}interval = \"10s\""), vec![link(true)]);
    assert_eq!(announced_within(&mut quiet, 7), 0);
    // A master sends enough.
    host.pass(40_000);
    host.answer(&Ok(()));
    assert_eq!(host.state(), Some(State::Master));
    host.pass(8000);
    assert_eq!(announced_within(&mut host, 20), 0);
}

/// Its answers to our gratuitous ARP have moved the address to its port.
#[test]
fn who_pre_empts_another_master_says_once_more_where_the_virtual_mac_address_is() {
    // Of more than one interval.
    let garp = "garp = { repeat = 1, delay = \"60s\", lower_prio_repeat = 1, lower_prio_delay = \"60s\" }\ninterval = \"20s\"";
    let pre_empts = |more: &str| {
        let mut host = host(&format!("{more}\n{garp}"), vec![link(true)]);
        for step in 0.. {
            if host.state() == Some(State::Master) {
                break;
            }
            if step % 100 == 0 {
                host.hear(50);
            }
            host.pass(10);
        }
        host.answer(&Ok(()));
        host
    };
    let mut plain = pre_empts("");
    assert_eq!(announced_within(&mut plain, 10), 0);
    let mut first = pre_empts("virtual_mac = true");
    assert_eq!((announced_within(&mut first, 2), announced_within(&mut first, 8)), (3, 0));
    // The same after one that goes on as master for a while, once.
    let answers = |host: &mut Host| {
        let before = host.announcements;
        for _ in 0..4 {
            host.hear(50);
            host.pass(1000);
        }
        host.announcements - before
    };
    assert_eq!(answers(&mut first), answers(&mut plain) + 3);
    // Nobody answers for one that is dead.
    let mut alone =
        masters(&format!("virtual_mac = true\n{}", garp.replace("20s", "1s")), vec![link(true)]);
    alone.pass(100);
    assert_eq!(announced_within(&mut alone, 10), 0);
}

/// The ARP messages that it sends, by the Ethernet address of the sender and the address that the sender says it has.
fn arp_sent(host: &mut Host) -> Vec<([u8; 6], [u8; 4])> {
    let sent = host.core.frames().iter().filter(|frame| frame.bytes[12..14] == [8, 6]);
    sent.map(|frame| {
        let (from, address) = (frame.bytes[6..].first_chunk(), frame.bytes[28..].first_chunk());
        (*from.unwrap(), *address.unwrap())
    })
    .collect()
}

#[test]
fn what_may_have_come_back_to_us_is_asked_about() {
    let mut host = masters("virtual_mac = true", vec![link(true)]);
    host.pass(5000);
    let mac = virtual_mac::of_router(vrrp_common::FAMILY_V4, 51);
    let event = claim_to(&host, 100);
    let claim = |may_be_ours| Claim { mac, may_be_ours, reserved: 0 };
    let last = host.core.last_event();
    let payload = bytemuck::bytes_of(&claim(1)).to_vec();
    host.core.handle(host.now, Input::Received { interface: ETH0, event, payload: &payload });
    // By its own address, to which an answer can only be another host's.
    assert_eq!(arp_sent(&mut host), [(OWN, [0; 4])]);
    assert_eq!(host.core.last_event(), last, "nothing is known yet");
    let payload = bytemuck::bytes_of(&claim(0)).to_vec();
    host.input(Input::Received { interface: ETH0, event, payload: &payload });
    assert!(host.core.last_event() > last);
}
