//! The network as this host meets it: who else has the addresses, whether packets from them come back, and which
//! advertisements are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::{self, ScopedJoinHandle};

use vrrp_common::IPPROTO_VRRP;
use vrrp_common::ah::IPPROTO_AH;

use super::interfaces::{Port, is_near, ports};
use super::probe::{self, Neighbours, Question};
use super::{Check, Finding, NAMED, plural, some, virtual_mac};
use crate::api::Status;
use crate::cli::clock::time_of_day;
use crate::cli::terminal::Terminal;
use crate::config::model::{Authentication, Config, RouterConfig};
use crate::engine::time::Nanos;
use crate::refused::{Ours, Refused};
use crate::wire::ethernet::{Colons, Mac};
use crate::wire::family::Family;

/// Shared addresses per interface from which the gateway is asked: what filters one filters all, as a rule.
const ASKED_FROM: usize = 16;
/// Interfaces on which a gateway is asked, and on how many of them at a time.
const UPLINKS: usize = 64;
const UPLINKS_AT_ONCE: usize = 16;
/// A refusal is a present one for so long at least, and for three intervals of its router: who is refused is so with each
/// advertisement.
const RECENTLY: Nanos = Nanos::from_secs(10);

/// Everything that takes packets to find out. Says on stderr what it is going to send.
pub fn examine(config: &Config, status: Option<&Status>, gateway: Option<IpAddr>) -> Vec<Finding> {
    let ports = ports();
    let mut findings = Vec::new();
    for family in [Family::V4, Family::V6] {
        if has_addresses(config, family) {
            let own = ports.iter().map(|(name, port)| (name.as_str(), port.own(family))).collect();
            let here = Surroundings { family, ports: &ports, own: &own };
            findings.extend(examine_family(&here, config, status, gateway));
        }
    }
    findings
}

/// What there is of a family on this host.
struct Surroundings<'a> {
    family: Family,
    ports: &'a BTreeMap<String, Port>,
    /// Addresses of the family by interface, with the lengths of their prefixes.
    own: &'a BTreeMap<&'a str, Vec<(IpAddr, u8)>>,
}

impl Surroundings<'_> {
    fn own(&self, interface: &str) -> &[(IpAddr, u8)] {
        self.own.get(interface).map_or(&[], Vec::as_slice)
    }

    /// Who has the addresses.
    fn addresses(&self) -> Check {
        match self.family {
            Family::V4 => Check::Addresses,
            Family::V6 => Check::Addresses6,
        }
    }

    /// Whether packets from them come back.
    fn egress(&self) -> Check {
        match self.family {
            Family::V4 => Check::Egress,
            Family::V6 => Check::Egress6,
        }
    }
}

/// Whether the routers have addresses of a family.
fn has_addresses(config: &Config, family: Family) -> bool {
    let mut all = config.routers.iter().flat_map(|r| r.addresses.iter().chain(&r.excluded));
    all.any(|address| Family::of(address.address) == family)
}

fn examine_family(
    here: &Surroundings<'_>,
    config: &Config,
    status: Option<&Status>,
    gateway: Option<IpAddr>,
) -> Vec<Finding> {
    let (holding, leaving) = (here.addresses(), here.egress());
    let shared = shared_addresses(config, here);
    let table = match here.family {
        Family::V4 => "/proc/net/route",
        Family::V6 => "/proc/net/ipv6_route",
    };
    let routes = fs::read_to_string(table).unwrap_or_default();
    let hop = |name: &str| match gateway.filter(|named| Family::of(*named) == here.family) {
        // A neighbour of another interface would be reached by that one, or answer by mistake.
        Some(named) => here.own(name).iter().any(|own| is_near(named, *own)).then_some(named),
        None => match here.family {
            Family::V4 => next_hop(&routes, name).map(IpAddr::V4),
            Family::V6 => next_hop6(&routes, name).map(IpAddr::V6),
        },
    };
    let mut uplinks = uplinks(&shared, here, hop);
    for uplink in &mut uplinks {
        uplink.virtual_mac = virtual_mac::is_on(config, &uplink.interface);
    }
    let unasked = uplinks.split_off(uplinks.len().min(UPLINKS));
    announce(here.family, &shared, &uplinks);
    let neighbours = match Neighbours::open(here.family) {
        Ok(neighbours) => neighbours,
        Err(error) => {
            let text = format!("cannot open a packet socket: {error}; run as root");
            return vec![Finding::skipped(holding, text.as_str()), Finding::skipped(leaving, text)];
        }
    };
    let mut findings = vec![match holders(&neighbours, &shared) {
        Ok(held) => {
            // The answers may go to the other host, and that is no filter.
            for uplink in &mut uplinks {
                uplink
                    .shared
                    .retain(|(address, _)| !held.contains_key(&(uplink.ifindex, *address)));
            }
            addresses(here, &shared, &held, |name| state(status, name))
        }
        Err(error) => Finding::skipped(holding, format!("cannot ask: {error}")),
    }];
    if uplinks.is_empty() {
        findings.push(Finding::skipped(
            leaving,
            "none of the shared addresses is on this host, so that nothing can be sent from them; run doctor on \
             the master",
        ));
    }
    let (uplinks, blind): (Vec<_>, Vec<_>) =
        uplinks.into_iter().partition(|uplink| uplink.gateway.is_some());
    if !blind.is_empty() {
        let names: Vec<String> = blind.into_iter().map(|uplink| uplink.interface).collect();
        let text = "no default route leaves by this interface, and --gateway names no neighbour in its network";
        let hint = "--gateway ADDRESS, of a neighbour that answers";
        findings.push(Finding::skipped(leaving, text).hint(hint).about(&names));
    }
    for batch in uplinks.chunks(UPLINKS_AT_ONCE) {
        match ask(&neighbours, batch) {
            Ok(answers) => {
                let both = batch.iter().zip(answers);
                findings.extend(both.map(|(uplink, answers)| egress(here, uplink, &answers)));
            }
            Err(error) => {
                findings.push(Finding::skipped(leaving, format!("cannot ask: {error}")));
            }
        }
    }
    if !unasked.is_empty() {
        let more = unasked.len();
        let text =
            format!("{more} more interface{}, of which the gateway was not asked", plural(more));
        findings.push(Finding::skipped(leaving, text));
    }
    findings
}

/// How a family finds a neighbour, and how it asks for an echo.
fn probe_names(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("ARP", "ICMP echo"),
        Family::V6 => ("neighbour solicitations", "ICMPv6 echo"),
    }
}

// ---- what there is ------------------------------------------------------------------------------------

/// A shared address and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SharedAddress {
    router: String,
    interface: String,
    address: IpAddr,
    ifindex: u32,
    mac: Mac,
    /// Whether its router's advertisements have an authentication header, and so another IP protocol.
    ah: bool,
    /// Whether it is on this host now.
    here: bool,
    /// A link-local address of the interface to ask from, of IPv6.
    link_local: Option<Ipv6Addr>,
}

fn shared_addresses(config: &Config, here: &Surroundings<'_>) -> Vec<SharedAddress> {
    let shared: BTreeSet<IpAddr> = config
        .routers
        .iter()
        .flat_map(|router| router.addresses.iter().chain(&router.excluded))
        .map(|address| address.address)
        .collect();
    let link_local: BTreeMap<&str, Ipv6Addr> = here
        .own
        .iter()
        .filter_map(|(name, own)| {
            let own = own.iter().find_map(|(address, _)| match address {
                IpAddr::V6(own) if own.is_unicast_link_local() && !shared.contains(address) => {
                    Some(*own)
                }
                IpAddr::V4(_) | IpAddr::V6(_) => None,
            });
            Some((*name, own?))
        })
        .collect();
    let of = |router: &RouterConfig| {
        let all = router.addresses.iter().chain(&router.excluded);
        let addresses = all.filter_map(|address| {
            let interface = address.dev.as_ref().unwrap_or(&router.interface);
            let port = here.ports.get(interface).filter(|port| port.up && port.arp)?;
            let address = address.address;
            (Family::of(address) == here.family).then_some(())?;
            Some(SharedAddress {
                router: router.name.clone(),
                interface: interface.clone(),
                address,
                ifindex: port.ifindex,
                mac: port.mac?,
                ah: matches!(router.authentication, Authentication::Ah(_)),
                here: here.own(interface).iter().any(|(own, _)| *own == address),
                link_local: link_local.get(interface.as_str()).copied(),
            })
        });
        addresses.collect::<Vec<_>>()
    };
    config.routers.iter().flat_map(of).collect()
}

/// The way out of an interface that has shared addresses of ours on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Uplink {
    interface: String,
    ifindex: u32,
    mac: Mac,
    gateway: Option<IpAddr>,
    /// The interface's own address to compare with.
    primary: IpAddr,
    /// Shared addresses that it has now, those to ask from; and whether they are in the interface's own network, so
    /// that a neighbour knows the way back.
    shared: Vec<(IpAddr, bool)>,
    /// How many of them there are in all.
    all: usize,
    /// Whether routers there have virtual MAC addresses.
    virtual_mac: bool,
}

fn uplinks(
    addresses: &[SharedAddress],
    here: &Surroundings<'_>,
    gateway: impl Fn(&str) -> Option<IpAddr>,
) -> Vec<Uplink> {
    let shared: BTreeSet<IpAddr> = addresses.iter().map(|place| place.address).collect();
    let mut uplinks: Vec<Uplink> = Vec::new();
    for place in addresses.iter().filter(|place| place.here) {
        let own = here.own(&place.interface).iter().filter(|(own, _)| !shared.contains(own));
        let near = own.clone().find(|own| is_near(place.address, **own));
        if let Some(uplink) = uplinks.iter_mut().find(|uplink| uplink.interface == place.interface)
        {
            uplink.all += 1;
            if uplink.shared.len() < ASKED_FROM {
                uplink.shared.push((place.address, near.is_some()));
            }
            continue;
        }
        // One of its network, because the gateway has the same way back to it. An owner has none but shared ones:
        // there is nothing to compare with.
        let Some((primary, _)) = near.or_else(|| own.clone().next()) else { continue };
        uplinks.push(Uplink {
            interface: place.interface.clone(),
            ifindex: place.ifindex,
            mac: place.mac,
            gateway: gateway(&place.interface),
            primary: *primary,
            shared: vec![(place.address, near.is_some())],
            all: 1,
            virtual_mac: false,
        });
    }
    uplinks
}

/// The next hop of the default route by an interface (`/proc/net/route`, net/ipv4/fib_trie.c: addresses in
/// hexadecimal as the bytes lie in memory).
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

/// The next hop of the default route of IPv6 by an interface, the one with the lowest metric
/// (`/proc/net/ipv6_route`, net/ipv6/route.c).
fn next_hop6(table: &str, interface: &str) -> Option<Ipv6Addr> {
    let hops = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, length, source, _, gateway, metric, _, _, _, name] = fields[..] else {
            return None;
        };
        let number = |text| u128::from_str_radix(text, 16).ok();
        let default = length == "00" && number(destination)? == 0 && number(source)? == 0;
        let gateway = Ipv6Addr::from(number(gateway)?);
        (name == interface && default && !gateway.is_unspecified())
            .then_some((number(metric)?, gateway))
    });
    hops.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

fn state<'a>(status: Option<&'a Status>, router: &str) -> Option<&'a str> {
    let routers = &status?.routers;
    routers.iter().find(|known| known.name == router).map(|known| known.state.as_str())
}

/// Says what will be sent.
fn announce(family: Family, addresses: &[SharedAddress], uplinks: &[Uplink]) {
    let mut text = String::new();
    let interfaces: BTreeSet<&str> =
        addresses.iter().map(|place| place.interface.as_str()).collect();
    let (probe, requests) = match family {
        Family::V4 => ("ARP probe", "ARP requests and up to 3 ICMP"),
        Family::V6 => ("neighbour solicitation", "neighbour solicitations and up to 3 ICMPv6"),
    };
    if !addresses.is_empty() {
        let names: Vec<&str> = interfaces.into_iter().collect();
        let on = match *names {
            [first, _, ref rest @ ..] if !rest.is_empty() => {
                format!("{first} and {} more", rest.len() + 1)
            }
            _ => names.join(", "),
        };
        text.push_str(&format!(
            "sending one {probe} for each of {} shared {family} address{} on {on}\n",
            addresses.len(),
            if addresses.len() == 1 { "" } else { "es" },
        ));
    }
    let asked: Vec<_> =
        uplinks.iter().filter_map(|uplink| Some((uplink, uplink.gateway?))).collect();
    for (uplink, gateway) in asked.iter().take(NAMED) {
        let shared: Vec<String> =
            uplink.shared.iter().map(|(address, _)| address.to_string()).collect();
        text.push_str(&format!(
            "sending {requests} echo requests to {gateway} on {} from {} and each of {}\n",
            uplink.interface,
            uplink.primary,
            some(&shared)
        ));
    }
    if asked.len() > NAMED {
        let more = asked.len() - NAMED;
        text.push_str(&format!("and likewise on {more} more interface{}\n", plural(more)));
    }
    let terminal = Terminal { width: Terminal::stderr_width(), ..Terminal::default() };
    let lines: String = text.lines().map(|line| terminal.fit(line, 2) + "\n").collect();
    // Nobody need read it.
    let _ = io::stderr().write_all(lines.as_bytes());
}

// ---- who else has the addresses -----------------------------------------------------------------------

/// Which other hosts answer for the addresses.
fn holders(
    neighbours: &Neighbours,
    addresses: &[SharedAddress],
) -> io::Result<BTreeMap<(u32, IpAddr), Mac>> {
    let question = |place: &SharedAddress| {
        Question::who_has(place.ifindex, place.mac, place.address, place.link_local)
    };
    let questions: Vec<_> = addresses.iter().map(question).collect();
    let heard = neighbours.ask(&questions)?;
    let ours: BTreeSet<Mac> = addresses.iter().map(|place| place.mac).collect();
    let claims = heard.into_iter().filter(|claim| !ours.contains(&claim.mac));
    Ok(claims.map(|claim| ((claim.ifindex, claim.address), claim.mac)).collect())
}

fn addresses<'a>(
    here: &Surroundings<'_>,
    addresses: &[SharedAddress],
    held: &BTreeMap<(u32, IpAddr), Mac>,
    state: impl Fn(&str) -> Option<&'a str>,
) -> Finding {
    let check = here.addresses();
    let (mut split, mut elsewhere, mut nowhere, mut expected) = (vec![], vec![], vec![], 0);
    let mut protocols = BTreeSet::new();
    for place in addresses {
        let holder = held.get(&(place.ifindex, place.address));
        let named =
            |mac: &Mac| format!("{} on {} at {}", place.address, place.interface, Colons(*mac));
        match (holder, state(&place.router)) {
            (Some(mac), state) if state == Some("MASTER") || (state.is_none() && place.here) => {
                protocols.insert(if place.ah { IPPROTO_AH } else { IPPROTO_VRRP });
                split.push(named(mac));
            }
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
        let protocols: Vec<String> = protocols.iter().map(u8::to_string).collect();
        return Finding::broken(check, text).hint(format!(
            "two masters, if the other host speaks VRRP: let IP protocol {} pass, and compare VRID, version and \
             password; a duplicate address otherwise",
            protocols.join(" and ")
        ));
    }
    let (resolution, _) = probe_names(here.family);
    if !nowhere.is_empty() {
        let text =
            format!("this host is backup, and nobody answers {resolution} for {}", some(&nowhere));
        let look = match here.family {
            Family::V4 => "arp_ignore",
            Family::V6 => "`ip -6 address` (tentative, dadfailed)",
        };
        return Finding::warning(check, text).hint(format!(
            "the master advertises without having the address; look at the master, and at its {look}"
        ));
    }
    if !elsewhere.is_empty() {
        let text = format!("in use elsewhere: {}", some(&elsewhere));
        return Finding::warning(check, text)
            .hint("as it should be if that is the present master; a duplicate address otherwise");
    }
    let text = match (addresses.len(), expected) {
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
    /// ARP requests or neighbour solicitations.
    resolution: bool,
    echo: bool,
}

/// On each uplink, the answers to the interface's own address, then to each shared one; nothing without a gateway.
fn ask(neighbours: &Neighbours, uplinks: &[Uplink]) -> io::Result<Vec<Vec<Answered>>> {
    let sources = |uplink: &Uplink| -> Vec<IpAddr> {
        let shared = uplink.shared.iter().map(|(address, _)| *address);
        [uplink.primary].into_iter().chain(shared).collect()
    };
    let questions: Vec<_> = uplinks
        .iter()
        .filter_map(|uplink| Some((uplink, uplink.gateway?)))
        .flat_map(|(uplink, gateway)| {
            let from = move |source| Question::from(uplink.ifindex, uplink.mac, source, gateway);
            sources(uplink).into_iter().filter_map(from)
        })
        .collect();
    let heard = neighbours.ask(&questions)?;
    let answered = |uplink: &Uplink, gateway: IpAddr, source: IpAddr| {
        heard.iter().any(|claim| {
            (claim.ifindex, claim.address, claim.to) == (uplink.ifindex, gateway, Some(source))
        })
    };
    // All at the same time: those that get no answer take long.
    thread::scope(|scope| {
        let mut asking = Vec::new();
        for uplink in uplinks {
            let echo = |gateway, source| {
                let ask = move || probe::echo(&uplink.interface, uplink.ifindex, source, gateway);
                thread::Builder::new().spawn_scoped(scope, ask)
            };
            let each = |gateway| {
                sources(uplink).into_iter().map(|from| (from, echo(gateway, from))).collect()
            };
            asking.push((uplink, uplink.gateway.map(|gateway| (gateway, each(gateway)))));
        }
        let joined = |(uplink, asked): (&Uplink, Option<Asked<'_>>)| {
            let Some((gateway, threads)) = asked else { return Ok(Vec::new()) };
            let both = threads.into_iter().map(|(source, thread)| {
                let lost = |_| Err(io::Error::other("the thread that asked is gone"));
                let echo = thread.and_then(|thread| thread.join().unwrap_or_else(lost))?;
                Ok(Answered { resolution: answered(uplink, gateway, source), echo })
            });
            both.collect()
        };
        asking.into_iter().map(joined).collect()
    })
}

/// A gateway, and for each address that it is asked from a thread that waits for the answer.
type Asked<'scope> =
    (IpAddr, Vec<(IpAddr, io::Result<ScopedJoinHandle<'scope, io::Result<bool>>>)>);

fn egress(here: &Surroundings<'_>, uplink: &Uplink, answers: &[Answered]) -> Finding {
    evaluate_egress(here, uplink, answers).of(&uplink.interface)
}

fn evaluate_egress(here: &Surroundings<'_>, uplink: &Uplink, answers: &[Answered]) -> Finding {
    let check = here.egress();
    let (resolution, echo) = probe_names(here.family);
    let Some(gateway) = uplink.gateway else {
        return Finding::skipped(check, "no gateway is known");
    };
    let primary = uplink.primary;
    if uplink.shared.is_empty() {
        let text = "another host has the shared addresses, too, and may get the answers";
        return Finding::skipped(check, text);
    }
    let Some((from_primary, from_shared)) = answers.split_first() else {
        return Finding::skipped(check, "nothing was asked");
    };
    let lacking = |near: bool, answered: fn(&Answered) -> bool| -> Vec<String> {
        let pairs = uplink.shared.iter().zip(from_shared);
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
        return Finding::broken(check, text).hint(format!(
            "in a cloud, permit the address on this port: allowed address pairs (OpenStack), source/destination \
             check and secondary address (AWS), forged transmits (VMware), IP forwarding (Azure, Google){}; \
             otherwise look for a filter on this host (nft list ruleset) and on the switch",
            virtual_mac::permit(uplink.virtual_mac)
        ));
    }
    let far = lacking(false, |from| from.echo);
    if !far.is_empty() {
        let text = format!(
            "packets from {} do not come back from {gateway}, from {primary} they do; but these addresses are not in \
             the network of {}, and {gateway} may have no route to them",
            some(&far),
            uplink.interface
        );
        return Finding::warning(check, text)
            .hint("give the gateway a route, or the interface an address in their network; if both are there, the \
                   network drops what is sent from these addresses (in a cloud: allowed address pairs)");
    }
    let unresolved = lacking(true, |from| from.resolution);
    if !unresolved.is_empty() {
        let text = format!(
            "{gateway} answers {resolution} from {primary}, but not from {}: the network may drop those of the shared \
             address, and then a takeover is not noticed",
            some(&unresolved)
        );
        return Finding::warning(check, text).hint(match here.family {
            Family::V4 => {
                "port security or dynamic ARP inspection: permit the address on this port"
            }
            Family::V6 => "port security or ND inspection: permit the address on this port",
        });
    }
    if !from_primary.resolution && !from_primary.echo {
        let text = format!(
            "{gateway} answers nothing at all, not even from {primary}, so that nothing can be told"
        );
        return Finding::skipped(check, text)
            .hint("name a neighbour that answers: --gateway ADDRESS");
    }
    let by = match (from_primary.resolution, from_primary.echo) {
        (true, true) => format!("{resolution} and {echo}"),
        (true, false) => format!("{resolution} (it answers no {echo})"),
        (false, _) => echo.to_owned(),
    };
    let (asked, all) = (uplink.shared.len(), uplink.all);
    let of = if asked < all { format!("{asked} of {all}") } else { all.to_string() };
    let plural = if all == 1 { "" } else { "es" };
    Finding::fine(
        check,
        format!("{gateway} answers {primary} and {of} shared address{plural} alike: {by}"),
    )
}

// ---- whether something drops advertisements and nothing else -------------------------------------------

/// A router that is master here, whose addresses another host claims by ARP or neighbour discovery, and which has heard a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its name.
    pub router: String,
    /// Who was heard last.
    pub peer: IpAddr,
    /// How long ago that was.
    pub ago: Nanos,
    /// The interval of the advertisements.
    pub interval: Nanos,
}

/// What it means that ARP arrives and advertisements do not. Nothing where they arrive and are refused: `refused` says why then.
pub fn check_interrupted(
    claimed: &[Claimed],
    refused: Option<Nanos>,
    now: jiff::Timestamp,
) -> Option<Finding> {
    if refused.is_some_and(|ago| ago < RECENTLY) {
        return None;
    }
    let stopped = claimed.iter().filter(|claimed| claimed.ago > claimed.interval.times(3));
    let lines = stopped.map(|Claimed { router, peer, ago, .. }| {
        let at = now.checked_sub(std::time::Duration::from_nanos(ago.0)).unwrap_or(now);
        let at = time_of_day(at);
        format!(
            "{router}: ARP from another host arrives, and advertisements of {peer} stopped at {at}"
        )
    });
    let lines: Vec<String> = lines.collect();
    let hint = "something between drops IP protocol 112 and lets ARP pass: a firewall of one of the hosts, a security group, a \
                switch. `vrrp-user monitor` on both hosts shows what leaves and what arrives";
    (!lines.is_empty()).then(|| Finding::broken(Check::Protocol112, some(&lines)).hint(hint))
}

// ---- which advertisements are refused -----------------------------------------------------------------

/// What the kernel side remembers of refused advertisements for the routers of this configuration.
pub fn check_refused(
    latest: &[Refused],
    config: &Config,
    index: impl Fn(&str) -> Option<u32>,
    now: Nanos,
) -> Finding {
    let check = Check::Refused;
    let shared: Vec<Vec<IpAddr>> = config
        .routers
        .iter()
        .map(|router| router.addresses.iter().map(|address| address.address).collect())
        .collect();
    let ours: Vec<(Ours<'_>, Nanos)> = config
        .routers
        .iter()
        .zip(&shared)
        .filter_map(|(router, addresses)| {
            let version = router.version().number();
            let ifindex = index(&router.interface)?;
            let (family, vrid) = (router.family(), router.vrid.get());
            let present = RECENTLY.max(router.interval.duration().times(3));
            Some((Ours { ifindex, family, vrid, version, addresses }, present))
        })
        .collect();
    let mut found: Vec<(Nanos, bool, String)> = latest
        .iter()
        .filter_map(|refused| {
            let about =
                |(ours, present): &(Ours<'_>, Nanos)| Some((refused.about(ours)?, *present));
            let (line, present) = ours.iter().find_map(about)?;
            let ago = now - refused.at();
            Some((ago, ago < present, format!("{line} ({:.0} s ago)", ago.as_secs_f64())))
        })
        .collect();
    found.sort_by_key(|(ago, ..)| *ago);
    let (present, past): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, present, _)| *present);
    let [lines, past] =
        [present, past].map(|all| all.into_iter().map(|(.., line)| line).collect::<Vec<String>>());
    let past =
        if past.is_empty() { String::new() } else { format!("in the past: {}", some(&past)) };
    match (lines.len(), past.is_empty()) {
        (0, true) => {
            Finding::fine(check, "no advertisement for a router of ours is remembered as refused")
        }
        (0, false) => Finding::warning(check, past),
        (count, over) => {
            let past = if over { past } else { format!("; {past}") };
            let sender = format!("{count} sender{}", plural(count));
            Finding::broken(check, format!("{sender} refused: {}{past}", some(&lines)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vrrp_common::reason::Reason;
    use vrrp_common::sample::Sample;

    use super::super::Severity::{Broken, Fine, Skipped, Warning};
    use super::*;
    use crate::refused;
    use crate::refused::Sampled;

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
    const PRIMARY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 254));

    /// What is judged, on a host with one interface that has these addresses.
    fn with<T>(own: &[(IpAddr, u8)], check: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let own = BTreeMap::from([("eth0", own.to_vec())]);
        let family = own["eth0"].first().map_or(Family::V4, |(own, _)| Family::of(*own));
        check(&Surroundings { family, ports: &BTreeMap::new(), own: &own })
    }

    fn place(here: bool) -> SharedAddress {
        SharedAddress {
            router: "VI_1".to_owned(),
            interface: "eth0".to_owned(),
            address: VIP,
            ifindex: 2,
            mac: [2, 0, 0, 0, 0, 1],
            ah: false,
            here,
            link_local: None,
        }
    }

    #[test]
    fn an_address_elsewhere_means_what_our_state_says() {
        let other = BTreeMap::from([((2, VIP), [2, 0, 0, 0, 0, 2])]);
        let nobody = BTreeMap::new();
        let checked = |here, held: &BTreeMap<_, _>, state: Option<&'static str>| {
            with(&[], |on| addresses(on, &[place(here)], held, |_| state)).severity
        };
        assert_eq!(checked(true, &other, Some("MASTER")), Broken);
        assert_eq!(checked(true, &other, None), Broken);
        assert_eq!(checked(false, &other, Some("BACKUP")), Fine);
        assert_eq!(checked(false, &other, Some("FAULT")), Warning);
        assert_eq!(checked(false, &other, None), Warning);
        assert_eq!(checked(true, &nobody, Some("MASTER")), Fine);
        assert_eq!(checked(false, &nobody, Some("BACKUP")), Warning);
        assert_eq!(checked(false, &nobody, None), Fine);
        // Of another interface.
        let far = BTreeMap::from([((3, VIP), [2, 0, 0, 0, 0, 2])]);
        assert_eq!(checked(true, &far, Some("MASTER")), Fine);
        assert_eq!(with(&[], |on| addresses(on, &[], &nobody, |_| None)).severity, Skipped);
        let found = with(&[], |on| addresses(on, &[place(true)], &other, |_| Some("MASTER")));
        assert_eq!(found.check, Check::Addresses);
        let text = found.text;
        assert!(text.contains("10.0.0.100 on eth0 at 02:00:00:00:00:02"), "{text}");
    }

    fn uplink() -> Uplink {
        Uplink {
            interface: "eth0".to_owned(),
            ifindex: 2,
            mac: [2, 0, 0, 0, 0, 1],
            gateway: Some(GATEWAY),
            primary: PRIMARY,
            shared: vec![(VIP, true)],
            all: 1,
            virtual_mac: false,
        }
    }

    #[test]
    fn only_a_difference_is_a_filter() {
        let checked = |primary: (bool, bool), shared: (bool, bool)| {
            let answers = [primary, shared];
            let answers = answers.map(|(resolution, echo)| Answered { resolution, echo });
            with(&[], |on| egress(on, &uplink(), &answers))
        };
        assert_eq!(checked((true, true), (true, true)).severity, Fine);
        assert_eq!(checked((true, false), (true, false)).severity, Fine);
        assert_eq!(checked((false, false), (false, false)).severity, Skipped);
        assert_eq!(checked((true, true), (false, true)).severity, Warning);
        assert_eq!(checked((true, false), (false, false)).severity, Warning);
        for shared in [(true, false), (false, false)] {
            let found = checked((true, true), shared);
            assert_eq!(found.severity, Broken);
            let said =
                "packets from 10.0.0.100 do not come back from 10.0.0.254, from 10.0.0.1 they do";
            assert!(found.text.starts_with(said), "{}", found.text);
        }
        let checked =
            |uplink: &Uplink, answers: &[Answered]| with(&[], |on| egress(on, uplink, answers));
        assert_eq!(checked(&uplink(), &[]).severity, Skipped);
        assert_eq!(checked(&Uplink { gateway: None, ..uplink() }, &[]).severity, Skipped);
        let elsewhere = Uplink { shared: vec![], ..uplink() };
        assert_eq!(checked(&elsewhere, &[Answered::default()]).severity, Skipped);
        // Nobody promised that the gateway knows the way back.
        let far = Uplink { shared: vec![(VIP, false)], ..uplink() };
        let answers = [true, false].map(|all| Answered { resolution: all, echo: all });
        let found = checked(&far, &answers);
        assert!(found.severity == Warning && found.text.contains("no route"), "{found:?}");
    }

    #[test]
    fn the_way_out() {
        let found = |own: &[IpAddr], addresses: &[SharedAddress]| {
            let own: Vec<_> = own.iter().map(|own| (*own, 24)).collect();
            with(&own, |here| uplinks(addresses, here, |_| Some(GATEWAY)))
        };
        assert_eq!(found(&[PRIMARY, VIP], &[place(true)]), [uplink()]);
        assert_eq!(found(&[PRIMARY], &[place(false)]), []);
        assert_eq!(found(&[VIP], &[place(true)]), [], "an owner");
        let far = IpAddr::from([10, 0, 9, 1]);
        let uplinks = found(&[PRIMARY, far], &[SharedAddress { address: far, ..place(true) }]);
        assert_eq!(uplinks[0].shared, [(far, false)]);
        let many = vec![place(true); 4080];
        let uplinks = found(&[PRIMARY, VIP], &many);
        assert_eq!((uplinks.len(), uplinks[0].shared.len(), uplinks[0].all), (1, ASKED_FROM, 4080));
    }

    #[test]
    fn what_is_compared_with_has_the_same_way_back() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (link_local, global) = (address("fe80::1"), address("2001:db8::1"));
        let primary = |own: &[IpAddr], vip: &str| {
            let own: Vec<_> = own.iter().map(|own| (*own, 64)).collect();
            let addresses = [SharedAddress { address: address(vip), ..place(true) }];
            let uplinks = with(&own, |here| uplinks(&addresses, here, |_| None));
            (uplinks[0].primary, uplinks[0].shared[0].1)
        };
        assert_eq!(primary(&[link_local, global], "2001:db8::100"), (global, true));
        assert_eq!(primary(&[global, link_local], "fe80::100"), (link_local, true));
        assert_eq!(primary(&[link_local], "2001:db8::100"), (link_local, false));
    }

    #[test]
    fn the_next_hop_of_ipv6() {
        let zero = "00000000000000000000000000000000";
        let hop = |gateway: &str, metric: &str, name: &str| {
            format!("{zero} 00 {zero} 00 {gateway} {metric} 00000001 00000000 00000003 {name}\n")
        };
        let router = "fe8000000000000000000000000000fe";
        let table = [
            format!("20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 1 0 1 eth0\n"),
            hop(router, "00000400", "eth1"),
            hop("fe8000000000000000000000000000ff", "00000400", "eth0"),
            hop(router, "00000100", "eth0"),
            hop(zero, "ffffffff", "lo"),
            "short\n".to_owned(),
        ]
        .concat();
        let wanted = "fe80::fe".parse().ok();
        assert_eq!([next_hop6(&table, "eth0"), next_hop6(&table, "eth1")], [wanted; 2]);
        assert_eq!([next_hop6(&table, "lo"), next_hop6("", "eth0")], [None; 2]);
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
        assert_eq!(next_hop(table, "eth0").map(IpAddr::V4), Some(GATEWAY));
        assert_eq!(next_hop(table, "eth1"), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(next_hop(table, "eth2"), None);
        assert_eq!(next_hop("", "eth0"), None);
    }

    #[test]
    fn advertisements_that_stop_while_arp_goes_on_are_dropped_between() {
        let claimed = |ago| Claimed {
            router: "VI_1".to_owned(),
            peer: IpAddr::from([10, 0, 0, 2]),
            ago: Nanos::from_secs(ago),
            interval: Nanos::from_secs(1),
        };
        let now = "2026-01-02T12:30:30Z".parse().unwrap();
        let found = check_interrupted(&[claimed(15)], None, now).unwrap();
        assert_eq!((found.severity, found.check), (Broken, Check::Protocol112));
        let said = "VI_1: ARP from another host arrives, and advertisements of 10.0.0.2 stopped at 12:30:15";
        assert_eq!(found.text, said);
        assert!(found.hint.unwrap().contains("drops IP protocol 112"));
        // They arrive, and what is wrong is said elsewhere; but not when that was mended before they stopped.
        assert_eq!(check_interrupted(&[claimed(15)], Some(Nanos::from_secs(1)), now), None);
        assert!(check_interrupted(&[claimed(15)], Some(Nanos::from_secs(31)), now).is_some());
        assert_eq!(check_interrupted(&[claimed(2)], None, now), None);
        assert_eq!(check_interrupted(&[], None, now), None);
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
        let checked = |latest: &[Refused], index, now| {
            check_refused(latest, &config, |_| index, Nanos::from_secs(now))
        };
        let found = checked(&latest, Some(2), 8);
        assert_eq!(found.severity, Broken);
        assert!(
            found.text.contains("10.0.0.2 advertises VRID 51 with another password"),
            "{found:?}"
        );
        assert!(found.text.ends_with("(3 s ago)"), "{found:?}");
        // Three intervals are less than ten seconds: since then it would have been refused again.
        assert_eq!(checked(&latest, Some(2), 14).severity, Broken);
        let past = checked(&latest, Some(2), 15);
        assert_eq!(past.severity, Warning);
        assert!(past.text.starts_with("in the past: 10.0.0.2 advertises"), "{past:?}");
        assert_eq!(checked(&latest, Some(3), 8).severity, Fine);
        assert_eq!(checked(&latest, None, 8).severity, Fine);
        assert_eq!(checked(&[], Some(2), 8).severity, Fine);
    }
}
