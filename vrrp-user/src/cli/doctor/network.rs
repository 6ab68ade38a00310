//! The network as this host meets it: who else has the addresses, whether packets from them come back, and which
//! advertisements are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::thread::{self, ScopedJoinHandle};

use super::interfaces::{Port, is_near, named, ports};
use super::probe::{self, Arp};
use super::{Finding, NAMED, plural, some};
use crate::config::model::{Address, Config, Router};
use crate::control::api::Status;
use crate::engine::time::Nanos;
use crate::engine::types::Version;
use crate::refused::{Ours, Refused};
use crate::wire::arp::{Operation, Repr};
use crate::wire::ethernet::{Colons, Mac};

/// Shared addresses per interface from which the gateway is asked: what filters one filters all, as a rule.
const ASKED_FROM: usize = 16;
/// Interfaces on which a gateway is asked, and on how many of them at a time.
const WAYS: usize = 64;
const WAYS_AT_ONCE: usize = 16;
/// A refusal is a present one for so long.
const RECENTLY: Nanos = Nanos::from_secs(60);

/// Everything that takes packets to find out. Says on stderr what it is going to send.
pub fn examine(
    config: &Config,
    status: Option<&Status>,
    gateway: Option<Ipv4Addr>,
) -> Vec<Finding> {
    let ports = ports();
    let places = places(config, &ports);
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let hop = |name: &str, port: &Port| match gateway {
        // A neighbour of another interface would be reached by that one, or answer by mistake.
        Some(gateway) => port.addresses.iter().any(|own| is_near(gateway, *own)).then_some(gateway),
        None => next_hop(&routes, name),
    };
    let mut ways = ways(&places, &ports, hop);
    let unasked = ways.split_off(ways.len().min(WAYS));
    announce(&places, &ways);
    let arp = match Arp::open() {
        Ok(arp) => arp,
        Err(error) => {
            let text = format!("cannot open a packet socket: {error}; run as root");
            return vec![
                Finding::skipped("addresses", text.as_str()),
                Finding::skipped("egress", text),
            ];
        }
    };
    let mut findings = vec![match holders(&arp, &places) {
        Ok(held) => addresses(&places, &held, |name| state(status, name)),
        Err(error) => Finding::skipped("addresses", format!("cannot send ARP: {error}")),
    }];
    if ways.is_empty() {
        findings.push(Finding::skipped(
            "egress",
            "none of the shared addresses is on this host, so that nothing can be sent from them; run doctor on \
             the master",
        ));
    }
    let (ways, blind): (Vec<_>, Vec<_>) = ways.into_iter().partition(|way| way.gateway.is_some());
    if !blind.is_empty() {
        let names: Vec<String> = blind.into_iter().map(|way| way.interface).collect();
        let text = "no default route leaves by this interface, and --gateway names no neighbour in its network";
        let hint = "--gateway ADDRESS, of a neighbour that answers";
        findings.push(named(Finding::skipped("egress", text).hint(hint), &names));
    }
    for batch in ways.chunks(WAYS_AT_ONCE) {
        match ask(&arp, batch) {
            Ok(answers) => {
                let both = batch.iter().zip(answers);
                findings.extend(both.map(|(way, answers)| egress(way, &answers)));
            }
            Err(error) => findings.push(Finding::skipped("egress", format!("cannot ask: {error}"))),
        }
    }
    if !unasked.is_empty() {
        let text = format!("{} more interfaces, of which the gateway was not asked", unasked.len());
        findings.push(Finding::skipped("egress", text));
    }
    findings
}

// ---- what there is ------------------------------------------------------------------------------------

/// A shared address and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    router: String,
    interface: String,
    address: Ipv4Addr,
    ifindex: u32,
    mac: Mac,
    /// Whether it is on this host now.
    here: bool,
}

fn v4(address: &Address) -> Option<Ipv4Addr> {
    match address.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn places(config: &Config, ports: &BTreeMap<String, Port>) -> Vec<Place> {
    let of = |router: &Router| {
        let all = router.addresses.iter().chain(&router.excluded);
        let places = all.filter_map(|address| {
            let interface = address.dev.as_ref().unwrap_or(&router.interface);
            let port = ports.get(interface).filter(|port| port.up && port.arp)?;
            let address = v4(address)?;
            Some(Place {
                router: router.name.clone(),
                interface: interface.clone(),
                address,
                ifindex: port.ifindex,
                mac: port.mac?,
                here: port.addresses.iter().any(|(own, _)| *own == address),
            })
        });
        places.collect::<Vec<_>>()
    };
    config.routers.iter().flat_map(of).collect()
}

/// The way out of an interface that has shared addresses of ours on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    interface: String,
    ifindex: u32,
    mac: Mac,
    gateway: Option<Ipv4Addr>,
    /// The interface's own address.
    primary: Ipv4Addr,
    /// Shared addresses that it has now, those to ask from; and whether they are in the interface's own network, so
    /// that a neighbour knows the way back.
    shared: Vec<(Ipv4Addr, bool)>,
    /// How many of them there are in all.
    all: usize,
}

fn ways(
    places: &[Place],
    ports: &BTreeMap<String, Port>,
    gateway: impl Fn(&str, &Port) -> Option<Ipv4Addr>,
) -> Vec<Way> {
    let shared: BTreeSet<Ipv4Addr> = places.iter().map(|place| place.address).collect();
    let mut ways: Vec<Way> = Vec::new();
    for place in places.iter().filter(|place| place.here) {
        let Some(port) = ports.get(&place.interface) else { continue };
        let mut own = port.addresses.iter().filter(|(own, _)| !shared.contains(own));
        // An owner has none but shared ones: there is nothing to compare with.
        let Some((primary, _)) = own.clone().next() else { continue };
        let source = (place.address, own.any(|own| is_near(place.address, *own)));
        if let Some(way) = ways.iter_mut().find(|way| way.interface == place.interface) {
            way.all += 1;
            if way.shared.len() < ASKED_FROM {
                way.shared.push(source);
            }
            continue;
        }
        ways.push(Way {
            interface: place.interface.clone(),
            ifindex: place.ifindex,
            mac: place.mac,
            gateway: gateway(&place.interface, port),
            primary: *primary,
            shared: vec![source],
            all: 1,
        });
    }
    ways
}

/// The next hop of the default route by an interface (`/proc/net/route`, net/ipv4/fib_trie.c: addresses in
/// hexadecimal as the octets lie in memory).
fn next_hop(table: &str, interface: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, destination, gateway, ..] = fields[..] else { return None };
        let mask = fields.get(7)?;
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let default = destination == "00000000" && *mask == "00000000";
        (name == interface && default && gateway != 0)
            .then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

fn state<'a>(status: Option<&'a Status>, router: &str) -> Option<&'a str> {
    let routers = &status?.routers;
    routers.iter().find(|known| known.name == router).map(|known| known.state.as_str())
}

/// Says what will be sent.
fn announce(places: &[Place], ways: &[Way]) {
    let mut text = String::new();
    let interfaces: BTreeSet<&str> = places.iter().map(|place| place.interface.as_str()).collect();
    if !places.is_empty() {
        let names: Vec<&str> = interfaces.into_iter().collect();
        text.push_str(&format!(
            "sending one ARP probe for each of {} shared address{} on {}\n",
            places.len(),
            if places.len() == 1 { "" } else { "es" },
            some(&names)
        ));
    }
    let asked: Vec<_> = ways.iter().filter_map(|way| Some((way, way.gateway?))).collect();
    for (way, gateway) in asked.iter().take(NAMED) {
        let shared: Vec<String> =
            way.shared.iter().map(|(address, _)| address.to_string()).collect();
        text.push_str(&format!(
            "sending ARP requests and up to 3 ICMP echo requests to {gateway} on {} from {} and each of {}\n",
            way.interface,
            way.primary,
            some(&shared)
        ));
    }
    if asked.len() > NAMED {
        text.push_str(&format!("and likewise on {} more interfaces\n", asked.len() - NAMED));
    }
    // Nobody need read it.
    let _ = io::stderr().write_all(text.as_bytes());
}

// ---- who else has the addresses -----------------------------------------------------------------------

/// Which other hosts answer for the addresses.
fn holders(arp: &Arp, places: &[Place]) -> io::Result<BTreeMap<(u32, Ipv4Addr), Mac>> {
    let question = |place: &Place| (place.ifindex, Repr::probe(place.mac, place.address));
    let questions: Vec<_> = places.iter().map(question).collect();
    let heard = arp.ask(&questions)?;
    let ours: BTreeSet<Mac> = places.iter().map(|place| place.mac).collect();
    let claims = heard.into_iter().filter(|(_, message)| !ours.contains(&message.sender_mac));
    Ok(claims
        .map(|(ifindex, message)| ((ifindex, message.sender_ip), message.sender_mac))
        .collect())
}

fn addresses<'a>(
    places: &[Place],
    held: &BTreeMap<(u32, Ipv4Addr), Mac>,
    state: impl Fn(&str) -> Option<&'a str>,
) -> Finding {
    let check = "addresses";
    let (mut split, mut elsewhere, mut nowhere, mut expected) = (vec![], vec![], vec![], 0);
    for place in places {
        let holder = held.get(&(place.ifindex, place.address));
        let named =
            |mac: &Mac| format!("{} on {} at {}", place.address, place.interface, Colons(*mac));
        match (holder, state(&place.router)) {
            (Some(mac), Some("MASTER")) => split.push(named(mac)),
            (Some(mac), None) if place.here => split.push(named(mac)),
            (Some(_), Some("BACKUP")) => expected += 1,
            (Some(mac), Some(_) | None) => elsewhere.push(named(mac)),
            (None, Some("BACKUP")) => {
                nowhere.push(format!("{} on {}", place.address, place.interface));
            }
            (None, Some(_) | None) => {}
        }
    }
    if !split.is_empty() {
        let text = format!("this host has these addresses, and so has another: {}", some(&split));
        return Finding::broken(check, text).hint(
            "two masters, if the other host speaks VRRP: let IP protocol 112 pass, and compare VRID, version and \
             password; a duplicate address otherwise",
        );
    }
    if !nowhere.is_empty() {
        let text = format!("this host is backup, and nobody answers ARP for {}", some(&nowhere));
        return Finding::warning(check, text)
            .hint("the master advertises without having the address; look at the master, and at its arp_ignore");
    }
    if !elsewhere.is_empty() {
        let text = format!("in use elsewhere: {}", some(&elsewhere));
        return Finding::warning(check, text)
            .hint("as it should be if that is the present master; a duplicate address otherwise");
    }
    let text = match (places.len(), expected) {
        (0, _) => {
            return Finding::skipped(check, "none is on an interface that is up and speaks ARP");
        }
        (all, 0) => format!("{all} asked for, no other host answers"),
        (all, expected) => format!(
            "{all} asked for, {expected} answered by another host while this one is backup, as it should be"
        ),
    };
    Finding::fine(check, text)
}

// ---- whether packets come back ------------------------------------------------------------------------

/// How the gateway answers what is sent from one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answered {
    arp: bool,
    echo: bool,
}

/// On each way, the answers to the interface's own address, then to each shared one; nothing without a gateway.
fn ask(arp: &Arp, ways: &[Way]) -> io::Result<Vec<Vec<Answered>>> {
    let sources = |way: &Way| -> Vec<Ipv4Addr> {
        let shared = way.shared.iter().map(|(address, _)| *address);
        [way.primary].into_iter().chain(shared).collect()
    };
    let question =
        |way: &Way, gateway, source| (way.ifindex, Repr::request(way.mac, source, gateway));
    let questions: Vec<_> = ways
        .iter()
        .filter_map(|way| Some((way, way.gateway?)))
        .flat_map(|(way, gateway)| {
            sources(way).into_iter().map(move |from| question(way, gateway, from))
        })
        .collect();
    let heard = arp.ask(&questions)?;
    let answered = |way: &Way, gateway: Ipv4Addr, source: Ipv4Addr| {
        heard.iter().any(|(ifindex, message)| {
            *ifindex == way.ifindex
                && message.operation == Operation::Reply
                && (message.sender_ip, message.target_ip) == (gateway, source)
        })
    };
    // All at the same time: those that get no answer take long.
    thread::scope(|scope| {
        let mut asking = Vec::new();
        for way in ways {
            let echo =
                |gateway, source| scope.spawn(move || probe::echo(&way.interface, source, gateway));
            let each = |gateway| {
                sources(way).into_iter().map(|from| (from, echo(gateway, from))).collect()
            };
            asking.push((way, way.gateway.map(|gateway| (gateway, each(gateway)))));
        }
        let joined = |(way, asked): (&Way, Option<Asked<'_>>)| {
            let Some((gateway, threads)) = asked else { return Ok(Vec::new()) };
            let both = threads.into_iter().map(|(source, thread)| {
                let lost = |_| Err(io::Error::other("the thread that asked is gone"));
                let echo = thread.join().unwrap_or_else(lost)?;
                Ok(Answered { arp: answered(way, gateway, source), echo })
            });
            both.collect()
        };
        asking.into_iter().map(joined).collect()
    })
}

/// A gateway, and for each address that it is asked from a thread that waits for the answer.
type Asked<'scope> = (Ipv4Addr, Vec<(Ipv4Addr, ScopedJoinHandle<'scope, io::Result<bool>>)>);

fn egress(way: &Way, answers: &[Answered]) -> Finding {
    let check = format!("egress {}", way.interface);
    let Some(gateway) = way.gateway else { return Finding::skipped(check, "no gateway is known") };
    let primary = way.primary;
    let Some((from_primary, from_shared)) = answers.split_first() else {
        return Finding::skipped(check, "nothing was asked");
    };
    let lacking = |near: bool, answered: fn(&Answered) -> bool| -> Vec<String> {
        let pairs = way.shared.iter().zip(from_shared);
        let silent = pairs.filter(|((_, is_near), from)| {
            *is_near == near && answered(from_primary) && !answered(from)
        });
        silent.map(|((address, _), _)| address.to_string()).collect()
    };
    let lost = lacking(true, |from| from.echo);
    if !lost.is_empty() {
        let text = format!(
            "packets from {} do not come back from {gateway}, from {primary} they do: something between here and \
             there drops what is sent from, or to, the shared address",
            some(&lost)
        );
        return Finding::broken(check, text).hint(
            "in a cloud, permit the address on this port: allowed address pairs (OpenStack), source/destination \
             check and secondary address (AWS), forged transmits (VMware), IP forwarding (Azure, Google); \
             otherwise look for a filter on this host (nft list ruleset) and on the switch",
        );
    }
    let far = lacking(false, |from| from.echo);
    if !far.is_empty() {
        let text = format!(
            "packets from {} do not come back from {gateway}, from {primary} they do; but these addresses are not in \
             the network of {}, and {gateway} may have no route to them",
            some(&far),
            way.interface
        );
        return Finding::warning(check, text)
            .hint("give the gateway a route, or the interface an address in their network; if both are there, the \
                   network drops what is sent from these addresses (in a cloud: allowed address pairs)");
    }
    let unresolved = lacking(true, |from| from.arp);
    if !unresolved.is_empty() {
        let text = format!(
            "{gateway} answers ARP from {primary}, but not from {}: the network may drop ARP of the shared address, \
             and then a takeover is not noticed",
            some(&unresolved)
        );
        return Finding::warning(check, text)
            .hint("port security or dynamic ARP inspection: permit the address on this port");
    }
    if !from_primary.arp && !from_primary.echo {
        let text = format!(
            "{gateway} answers nothing at all, not even from {primary}, so that nothing can be told"
        );
        return Finding::skipped(check, text)
            .hint("name a neighbour that answers: --gateway ADDRESS");
    }
    let by = match (from_primary.arp, from_primary.echo) {
        (true, true) => "ARP and ICMP echo",
        (true, false) => "ARP (it answers no ICMP echo)",
        (false, _) => "ICMP echo",
    };
    let (asked, all) = (way.shared.len(), way.all);
    let of = if asked < all { format!("{asked} of {all}") } else { all.to_string() };
    let plural = if all == 1 { "" } else { "es" };
    Finding::fine(
        check,
        format!("{gateway} answers {primary} and {of} shared address{plural} alike: {by}"),
    )
}

// ---- which advertisements are refused -----------------------------------------------------------------

/// What the kernel side remembers of refused advertisements for the routers of this configuration.
pub fn judge_refused(
    latest: &[Refused],
    config: &Config,
    index: impl Fn(&str) -> Option<u32>,
    now: Nanos,
) -> Finding {
    let check = "refused";
    let shared: Vec<Vec<IpAddr>> = config
        .routers
        .iter()
        .map(|router| router.addresses.iter().map(|address| address.address).collect())
        .collect();
    let ours: Vec<Ours<'_>> = config
        .routers
        .iter()
        .zip(&shared)
        .filter_map(|(router, addresses)| {
            let version = match router.version() {
                Version::V2 => 2,
                Version::V3 => 3,
            };
            let ifindex = index(&router.interface)?;
            let (family, vrid) = (router.family(), router.vrid.get());
            Some(Ours { ifindex, family, vrid, version, addresses })
        })
        .collect();
    let mut found: Vec<(Nanos, String)> = latest
        .iter()
        .filter_map(|refused| {
            let line = ours.iter().find_map(|ours| refused.about(ours))?;
            Some((now - refused.at(), line))
        })
        .collect();
    found.sort_by_key(|(ago, _)| *ago);
    let lines: Vec<String> = found
        .iter()
        .map(|(ago, line)| format!("{line} ({:.0} s ago)", ago.as_secs_f64()))
        .collect();
    match found.first() {
        None => {
            Finding::fine(check, "no advertisement for a router of ours is remembered as refused")
        }
        Some((ago, _)) if *ago < RECENTLY => {
            let text =
                format!("{} sender{} refused: {}", lines.len(), plural(lines.len()), some(&lines));
            Finding::broken(check, text)
        }
        Some(_) => Finding::warning(check, format!("in the past: {}", some(&lines))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vrrp_common::reason::Reason;
    use vrrp_common::sample::Sample;

    use super::super::Severity::{Broken, Fine, Skipped, Warning};
    use super::*;
    use crate::io::reader::Sampled;
    use crate::refused;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
    const PRIMARY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

    fn place(here: bool) -> Place {
        Place {
            router: "VI_1".to_owned(),
            interface: "eth0".to_owned(),
            address: VIP,
            ifindex: 2,
            mac: [2, 0, 0, 0, 0, 1],
            here,
        }
    }

    #[test]
    fn an_address_elsewhere_means_what_our_state_says() {
        let other = BTreeMap::from([((2, VIP), [2, 0, 0, 0, 0, 2])]);
        let nobody = BTreeMap::new();
        let judged = |here, held: &BTreeMap<_, _>, state: Option<&'static str>| {
            addresses(&[place(here)], held, |_| state).severity
        };
        assert_eq!(judged(true, &other, Some("MASTER")), Broken);
        assert_eq!(judged(true, &other, None), Broken);
        assert_eq!(judged(false, &other, Some("BACKUP")), Fine);
        assert_eq!(judged(false, &other, Some("FAULT")), Warning);
        assert_eq!(judged(false, &other, None), Warning);
        assert_eq!(judged(true, &nobody, Some("MASTER")), Fine);
        assert_eq!(judged(false, &nobody, Some("BACKUP")), Warning);
        assert_eq!(judged(false, &nobody, None), Fine);
        // Of another interface.
        let far = BTreeMap::from([((3, VIP), [2, 0, 0, 0, 0, 2])]);
        assert_eq!(judged(true, &far, Some("MASTER")), Fine);
        assert_eq!(addresses(&[], &nobody, |_| None).severity, Skipped);
        let text = addresses(&[place(true)], &other, |_| Some("MASTER")).text;
        assert!(text.contains("10.0.0.100 on eth0 at 02:00:00:00:00:02"), "{text}");
    }

    fn way() -> Way {
        Way {
            interface: "eth0".to_owned(),
            ifindex: 2,
            mac: [2, 0, 0, 0, 0, 1],
            gateway: Some(GATEWAY),
            primary: PRIMARY,
            shared: vec![(VIP, true)],
            all: 1,
        }
    }

    #[test]
    fn only_a_difference_is_a_filter() {
        let judged = |primary: (bool, bool), shared: (bool, bool)| {
            let answers = [primary, shared].map(|(arp, echo)| Answered { arp, echo });
            egress(&way(), &answers)
        };
        assert_eq!(judged((true, true), (true, true)).severity, Fine);
        assert_eq!(judged((true, false), (true, false)).severity, Fine);
        assert_eq!(judged((false, false), (false, false)).severity, Skipped);
        assert_eq!(judged((true, true), (false, true)).severity, Warning);
        assert_eq!(judged((true, false), (false, false)).severity, Warning);
        for shared in [(true, false), (false, false)] {
            let found = judged((true, true), shared);
            assert_eq!(found.severity, Broken);
            let said =
                "packets from 10.0.0.100 do not come back from 10.0.0.254, from 10.0.0.1 they do";
            assert!(found.text.starts_with(said), "{}", found.text);
        }
        assert_eq!(egress(&way(), &[]).severity, Skipped);
        assert_eq!(egress(&Way { gateway: None, ..way() }, &[]).severity, Skipped);
        // Nobody promised that the gateway knows the way back.
        let far = Way { shared: vec![(VIP, false)], ..way() };
        let answers = [(true, true), (false, false)].map(|(arp, echo)| Answered { arp, echo });
        let found = egress(&far, &answers);
        assert!(found.severity == Warning && found.text.contains("no route"), "{found:?}");
    }

    #[test]
    fn the_way_out() {
        let mask = Ipv4Addr::new(255, 255, 255, 0);
        let port = |addresses: &[Ipv4Addr]| Port {
            ifindex: 2,
            up: true,
            arp: true,
            mac: Some([2, 0, 0, 0, 0, 1]),
            addresses: addresses.iter().map(|address| (*address, mask)).collect(),
        };
        let found = |addresses: &[Ipv4Addr], places: &[Place]| {
            let ports = BTreeMap::from([("eth0".to_owned(), port(addresses))]);
            ways(places, &ports, |_, _| Some(GATEWAY))
        };
        assert_eq!(found(&[PRIMARY, VIP], &[place(true)]), [way()]);
        assert_eq!(found(&[PRIMARY], &[place(false)]), []);
        assert_eq!(found(&[VIP], &[place(true)]), [], "an owner");
        let far = Ipv4Addr::new(10, 0, 9, 1);
        let ways = found(&[PRIMARY, far], &[Place { address: far, ..place(true) }]);
        assert_eq!(ways[0].shared, [(far, false)]);
        let many = vec![place(true); 4080];
        let ways = found(&[PRIMARY, VIP], &many);
        assert_eq!((ways.len(), ways[0].shared.len(), ways[0].all), (1, ASKED_FROM, 4080));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_next_hop_is_that_of_the_interface() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
             eth1\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
             eth0\t00000000\tFE00000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             eth2\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n\
             short\n";
        assert_eq!(next_hop(table, "eth0"), Some(GATEWAY));
        assert_eq!(next_hop(table, "eth1"), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(next_hop(table, "eth2"), None);
        assert_eq!(next_hop("", "eth0"), None);
    }

    #[test]
    fn refusals_by_age() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("k.conf");
        let text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 51\nversion 2\n\
                    virtual_ipaddress {\n10.0.0.100/24\n}\n}\n";
        fs::write(&path, text).unwrap();
        let config = crate::config::load(&path, &crate::config::Options::default()).unwrap().config;
        let second = 1_000_000_000;
        let mut sample = Sample {
            ktime_ns: 5 * second,
            ifindex: 2,
            family: vrrp_common::FAMILY_V4,
            vrid: 51,
            payload_len: 20,
            ..Sample::default()
        };
        sample.source[..4].copy_from_slice(&[10, 0, 0, 2]);
        let sampled = [(Reason::AuthData, Sampled { recent: vec![sample], missed: 0 })];
        let latest = refused::latest(&sampled);
        let judged = |latest: &[Refused], index, now| {
            judge_refused(latest, &config, |_| index, Nanos::from_secs(now))
        };
        let found = judged(&latest, Some(2), 8);
        assert_eq!(found.severity, Broken);
        assert!(
            found.text.contains("10.0.0.2 advertises VRID 51 with another password"),
            "{found:?}"
        );
        assert!(found.text.ends_with("(3 s ago)"), "{found:?}");
        assert_eq!(judged(&latest, Some(2), 600).severity, Warning);
        assert_eq!(judged(&latest, Some(3), 8).severity, Fine);
        assert_eq!(judged(&latest, None, 8).severity, Fine);
        assert_eq!(judged(&[], Some(2), 8).severity, Fine);
    }
}
