//! Each interface that the configuration names: capture, group membership, and the settings of the kernel that
//! decide who answers for an address.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use vrrp_common::maps::XDP_PROGRAM;

use super::ipv6::inet6;
use super::{Check, Finding, Kernel, membership, setting, virtual_mac};
use crate::api::{InterfaceStatus, Status};
use crate::capture::{self, CaptureMode, Choice, Facts, Failure, Plan, title};
use crate::config::address::network;
use crate::config::model::Config;
use crate::io::bpf;
use crate::io::netlink::{self, Link};
use crate::wire::ethernet::Mac;
use crate::wire::family::Family;

/// An interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub ifindex: u32,
    pub up: bool,
    /// Whether an administrator wants it up: if it is not, it has no carrier then.
    pub enabled: bool,
    /// Whether ARP is spoken there at all.
    pub arp: bool,
    pub mac: Option<Mac>,
    /// Addresses with the lengths of their prefixes: of IPv4 in the kernel's order, of IPv6 those that can be used.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Port {
    /// Its addresses of a family with the lengths of their prefixes.
    pub fn own(&self, family: Family) -> Vec<(IpAddr, u8)> {
        self.addresses.iter().filter(|(own, _)| Family::of(*own) == family).copied().collect()
    }
}

/// Whether an address is in the network of another one.
pub fn is_near(address: IpAddr, (own, length): (IpAddr, u8)) -> bool {
    network(address, length) == network(own, length)
}

/// The index of an interface.
pub fn index(name: &str) -> Option<u32> {
    if_nametoindex(name).ok()
}

/// The interfaces of this network namespace by name.
pub fn ports() -> BTreeMap<String, Port> {
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    for entry in getifaddrs().into_iter().flatten() {
        // An address with a label comes under that.
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let Some(ifindex) = index(name) else { continue };
        let flags = entry.flags;
        let port = ports.entry(name.to_owned()).or_insert(Port {
            ifindex,
            up: flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
            enabled: flags.contains(InterfaceFlags::IFF_UP),
            arp: !flags.intersects(InterfaceFlags::IFF_NOARP | InterfaceFlags::IFF_LOOPBACK),
            mac: None,
            addresses: Vec::new(),
        });
        let Some(address) = entry.address else { continue };
        if let Some(link) = address.as_link_addr() {
            port.mac = link.addr();
        }
        if let Some(v4) = address.as_sockaddr_in() {
            let mask = entry.netmask.and_then(|mask| mask.as_sockaddr_in().map(|mask| mask.ip()));
            let length = mask.map_or(32, |mask| mask.to_bits().count_ones());
            port.addresses.push((v4.ip().into(), u8::try_from(length).unwrap_or(32)));
        }
    }
    for known in inet6().unwrap_or_default() {
        if let Some(port) = ports.get_mut(&known.interface)
            && known.is_usable()
        {
            port.addresses.push((known.address.into(), known.prefix));
        }
    }
    ports
}

/// What matters of an interface for the routers on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Use {
    groups: BTreeSet<Ipv4Addr>,
    /// Addresses with a prefix of 32.
    hosts: bool,
    /// Addresses on an interface without ARP, such as `lo`, that are to be answered for here.
    silent: Vec<String>,
}

/// Everything about the interfaces. Those of which the same is to be said are one finding.
pub fn examine(config: &Config, status: Option<&Status>, kernel: &Kernel) -> Vec<Finding> {
    let ports = ports();
    let groups = fs::read_to_string("/proc/net/igmp").map(|text| members(&text));
    let tcx = *kernel.tcx.as_ref().unwrap_or(&false);
    let links = netlink::links(ports.values().map(|port| port.ifindex));
    let mut found = Vec::new();
    let mut uses: Vec<_> = uses(config, &ports).into_iter().collect();
    uses.sort_by_key(|(name, _)| ports.get(name).map(|port| port.ifindex));
    for (name, used) in uses {
        let port = ports.get(&name);
        let known = status.and_then(|s| s.interfaces.iter().find(|i| i.name == name));
        let there = There {
            xdp: port.and_then(|port| bpf::xdp_program(port.ifindex)),
            tc: bpf::has_tc_program(&name),
            routed: port.is_some_and(|port| {
                links.iter().any(|link| link.iface.ifindex == port.ifindex && link.routed)
            }),
        };
        let has_virtual_mac = virtual_mac::is_on(config, &name);
        let facts = port.map(|port| facts(port.ifindex, &links, tcx, has_virtual_mac));
        let plan = capture::plan(config.capture.best(&name), facts.unwrap_or_default());
        let expected = expected(&plan, kernel);
        let mut all = vec![captured(&name, port, known, &there, &expected)];
        if let Some(port) = port {
            let link = links.iter().find(|link| link.iface.ifindex == port.ifindex);
            // What a running daemon lacks there is one of its problems.
            let mode = known.is_none().then_some(expected.mode);
            all.extend(
                link.and_then(|link| virtual_mac::examine(config, status, &name, link, mode)),
            );
            for group in &used.groups {
                let joined = groups.as_ref().map(|all| all.contains(&(name.clone(), *group)));
                let joined = joined.map_err(ToString::to_string);
                all.push(membership((*group).into(), joined, status.is_some()));
            }
            let twin = twin(&name, port, &ports);
            let (ignore, announce) =
                (setting("ipv4", &name, "arp_ignore"), setting("ipv4", &name, "arp_announce"));
            all.push(rp_filter(setting("ipv4", &name, "rp_filter"), twin.as_deref(), &name));
            all.push(arp_ignore(ignore, twin.as_deref(), &used, &name));
            all.push(arp_announce(announce, twin.as_deref(), &name));
        }
        found.extend(all.into_iter().map(|finding| (finding, name.clone())));
    }
    Finding::merged(found)
}

fn uses(config: &Config, ports: &BTreeMap<String, Port>) -> BTreeMap<String, Use> {
    let mut uses: BTreeMap<String, Use> = BTreeMap::new();
    for router in &config.routers {
        let used = uses.entry(router.interface.clone()).or_default();
        if let Some(IpAddr::V4(group)) = router.multicast_group() {
            used.groups.insert(group);
        }
        for address in router.addresses.iter().chain(&router.excluded) {
            let dev = address.dev.as_deref().unwrap_or(&router.interface);
            if ports.get(dev).is_some_and(|port| !port.arp) {
                let used = uses.entry(router.interface.clone()).or_default();
                used.silent.push(format!("{} on {dev}", address.address));
            } else {
                let used = uses.entry(dev.to_owned()).or_default();
                used.hosts |= address.prefix == 32;
            }
        }
    }
    uses
}

/// What is on an interface.
#[derive(Clone, Debug, Default)]
struct There {
    /// The XDP program, whosever it is: its number, and its name where we may ask for it.
    xdp: Option<(u32, Option<String>)>,
    /// Whether a tc program of ours is, where that can be told.
    tc: Option<bool>,
    /// It is an ipvlan device in a mode that routes.
    routed: bool,
}

/// How a daemon captures that is started here, as far as that can be told without attaching anything.
fn expected(plan: &Plan, kernel: &Kernel) -> Choice {
    let refused = |mode: CaptureMode| match (&kernel.trial, mode) {
        (_, CaptureMode::Raw) => None,
        (Err(_), _) => Some("there is no BPF"),
        (Ok(trial), CaptureMode::Native | CaptureMode::Generic) => {
            trial.xdp.is_some().then_some("XDP is refused")
        }
        (Ok(trial), CaptureMode::Tc) => trial.ingress.is_some().then_some("tc is refused"),
    };
    let mut failures = Vec::new();
    for &mode in &plan.modes {
        match refused(mode) {
            None => return Choice::new(plan, mode, &failures),
            Some(why) if failures.iter().any(|known: &Failure| known.why() == why) => {}
            Some(why) => failures.push(Failure::Refused(why.to_owned())),
        }
    }
    Choice::new(plan, CaptureMode::Raw, &failures)
}

/// What decides how the daemon captures on an interface, as the daemon knows it itself.
fn facts(ifindex: u32, links: &[Link], tcx: bool, virtual_mac: bool) -> Facts {
    let aggregate = links.iter().any(|link| link.iface.ifindex == ifindex && link.aggregate);
    let vlans_above =
        links.iter().any(|link| link.vlan_of.is_some_and(|below| below.ifindex == ifindex));
    // What somebody takes away again and again is said by the daemon.
    Facts { aggregate, vlans_above, tcx, virtual_mac, ..Facts::default() }
}

fn captured(
    name: &str,
    port: Option<&Port>,
    status: Option<&InterfaceStatus>,
    there: &There,
    expected: &Choice,
) -> Finding {
    let check = Check::Capture;
    let Some(port) = port else {
        return Finding::broken(check, format!("interface {name} does not exist"))
            .hint("`ip link` lists what there is");
    };
    if !port.up && port.enabled {
        return Finding::broken(check, format!("interface {name} has no carrier"))
            .hint(format!("cable, switch port or the other end: ip -d link show dev {name}"));
    }
    if !port.up {
        return Finding::broken(check, format!("interface {name} is down"))
            .hint(format!("ip link set {name} up"));
    }
    if there.routed {
        return Finding::broken(check, capture::routed(name));
    }
    let mode = status.and_then(|status| status.capture.as_deref());
    let mode = mode.and_then(|word| CaptureMode::ALL.into_iter().find(|mode| mode.name() == word));
    if let Some(mode) = mode {
        let instead = match (mode, &there.xdp) {
            (CaptureMode::Native | CaptureMode::Generic, None) => Some("none".to_owned()),
            (CaptureMode::Native | CaptureMode::Generic, Some((id, Some(name))))
                if name != XDP_PROGRAM =>
            {
                Some(format!("another one (id {id}, {name})"))
            }
            // Without a name we may not ask.
            (CaptureMode::Native | CaptureMode::Generic, Some(_)) => None,
            (CaptureMode::Tc, _) => (there.tc == Some(false)).then(|| "none".to_owned()),
            (CaptureMode::Raw, _) => None,
        };
        if let Some(instead) = instead {
            let title = mode.title();
            let text = format!(
                "no advertisement is received: the daemon attached its program ({title}), and now there is {instead}"
            );
            return Finding::broken(check, text).hint(
                "it attaches it again when it notices, after some seconds at most: its log says what came of that",
            );
        }
    }
    if let Some(status) = status {
        match (status.capture.as_deref(), &status.capture_lacks, &status.error) {
            (Some(mode), None, _) => return Finding::fine(check, title(mode)),
            (Some(mode), Some(lacks), _) => {
                let finding =
                    Finding::warning(check, format!("{}: it works, but {lacks}", title(mode)));
                return match &status.capture_why {
                    Some(why) => finding.hint(format!("no better one, because {why}")),
                    None => finding,
                };
            }
            (None, _, Some(error)) => return Finding::broken(check, error.as_str()),
            (None, _, None) => {}
        }
    }
    if let (Some(why), Some(lacks)) = (&expected.why, expected.mode.lacks()) {
        let text =
            format!("`run` captures by {} here: it works, but {lacks}", expected.mode.title());
        return Finding::warning(check, text).hint(format!("no better one, because {why}"));
    }
    match &there.xdp {
        Some((_, Some(program))) if program == XDP_PROGRAM => Finding::warning(
            check,
            "another instance of vrrp-user has its XDP program here: `run` captures by tc, behind it",
        )
        .hint(
            "one instance per interface: put its routers into one file, or name it with --instance",
        ),
        Some((id, program)) => {
            let program =
                program.as_ref().map_or_else(String::new, |program| format!(", {program}"));
            let text = format!(
                "{name} has an XDP program of somebody else (id {id}{program}): `run` captures by tc, behind it, what it lets pass"
            );
            Finding::warning(check, text)
                .hint(format!("if nobody needs it: ip link set dev {name} xdp off"))
        }
        None => Finding::fine(
            check,
            "no XDP program is there; `run` attaches its own, or a tc program where the device has no XDP",
        ),
    }
}

/// Which groups are joined on which interfaces (`/proc/net/igmp`, net/ipv4/igmp.c: the group in hexadecimal as the
/// bytes lie in memory).
fn members(table: &str) -> BTreeSet<(String, Ipv4Addr)> {
    let mut interface = String::new();
    let mut joined = BTreeSet::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            interface = fields.get(1).map_or_else(String::new, |name| (*name).to_owned());
        } else if let Some(Ok(group)) = fields.first().map(|hex| u32::from_str_radix(hex, 16)) {
            joined.insert((interface.clone(), group.to_ne_bytes().into()));
        }
    }
    joined
}

/// Another interface with an address in the same network.
fn twin(name: &str, port: &Port, ports: &BTreeMap<String, Port>) -> Option<String> {
    let networks = |port: &Port| {
        let own = port.own(Family::V4).into_iter().filter(|(_, length)| *length < 32);
        own.map(|(own, length)| (network(own, length), length)).collect::<Vec<_>>()
    };
    let own = networks(port);
    let mut others = ports.iter().filter(|(other, _)| *other != name);
    others
        .find(|(_, other)| other.arp && networks(other).iter().any(|one| own.contains(one)))
        .map(|(other, _)| other.clone())
}

fn rp_filter(value: Result<i32, String>, twin: Option<&str>, name: &str) -> Finding {
    let check = Check::RpFilter;
    match (value, twin) {
        (Err(error), _) => Finding::skipped(check, error),
        (Ok(1), Some(twin)) => Finding::warning(
            check,
            format!(
                "strict, and {twin} is on the same network: packets for the shared addresses are dropped when the \
                 route back leaves by the other interface"
            ),
        )
        .hint(format!("sysctl net.ipv4.conf.{name}.rp_filter=2")),
        (Ok(1), None) => Finding::fine(check, "strict; advertisements are received before it, and it matters only where answers leave by another interface"),
        (Ok(_), _) => Finding::fine(check, "not strict"),
    }
}

fn arp_ignore(value: Result<i32, String>, twin: Option<&str>, used: &Use, name: &str) -> Finding {
    let check = Check::ArpIgnore;
    let value = match value {
        Ok(value) => value,
        Err(error) => return Finding::skipped(check, error),
    };
    let least = format!("sysctl net.ipv4.conf.{name}.arp_ignore=1, and the same or less for `all`");
    match value {
        8.. => Finding::broken(check, format!("{value}: no ARP is answered, so that nobody finds the shared addresses"))
            .hint(least),
        1.. if !used.silent.is_empty() => Finding::broken(
            check,
            format!("{value}: nobody answers ARP for {}", super::some(&used.silent)),
        )
        .hint(format!("sysctl net.ipv4.conf.{name}.arp_ignore=0, or put the addresses on {name}")),
        2 if used.hosts => Finding::broken(
            check,
            "2: ARP is answered for neighbours in the same subnet only, and an address with prefix 32 has none",
        )
        .hint(least),
        0 => match twin {
            Some(twin) => Finding::warning(
                check,
                format!("0, and {twin} is on the same network: both interfaces answer for the shared addresses"),
            )
            .hint(least),
            None => Finding::fine(check, "0: this host answers for the shared addresses while it has them"),
        },
        _ => Finding::fine(check, format!("{value}: this host answers for the shared addresses where they are")),
    }
}

fn arp_announce(value: Result<i32, String>, twin: Option<&str>, name: &str) -> Finding {
    let check = Check::ArpAnnounce;
    match (value, twin) {
        (Err(error), _) => Finding::skipped(check, error),
        (Ok(0), Some(twin)) => Finding::warning(
            check,
            format!(
                "0, and {twin} is on the same network: it may announce the shared addresses with its own Ethernet \
                 address"
            ),
        )
        .hint(format!("sysctl net.ipv4.conf.{name}.arp_announce=2")),
        (Ok(value), None) => {
            Finding::fine(check, format!("{value}; it matters only with two interfaces on one network"))
        }
        (Ok(value), Some(_)) => Finding::fine(check, value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Broken, Fine, Skipped, Warning};
    use super::*;
    use crate::core::InterfaceId;
    use crate::core::netlink::UnicastFilter;
    use crate::io::bpf::Trial;

    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

    /// One that takes everything.
    fn kernel() -> Kernel {
        let trial = Trial {
            signatures: Vec::new(),
            compiled: true,
            xdp: None,
            ingress: None,
            egress: None,
            copies: false,
            lacks: Vec::new(),
            steps: Vec::new(),
        };
        Kernel { trial: Ok(trial), tcx: Ok(true), no_bpffs: false }
    }

    fn port(ifindex: u32, address: &str) -> Port {
        let addresses = vec![(address.parse().unwrap(), 24)];
        Port { ifindex, up: true, enabled: true, arp: true, mac: Some([2; 6]), addresses }
    }

    #[test]
    fn capture_by_who_is_there() {
        let port = port(2, "10.0.0.1");
        let down = Port { up: false, enabled: false, ..port.clone() };
        let status = |capture: Option<&str>, error: Option<&str>| InterfaceStatus {
            changes_in_ms: None,
            capture_why: None,
            capture_causes: Vec::new(),
            capture_lacks_causes: Vec::new(),
            capture_lacks: capture.filter(|mode| *mode != "native").map(str::to_owned),
            name: "eth0".to_owned(),
            ifindex: Some(2),
            up: true,
            capture: capture.map(str::to_owned),
            error: error.map(str::to_owned),
            error_cause: None,
        };
        let plain = capture::plan(None, Facts { tcx: true, ..Facts::default() });
        let plain = expected(&plain, &kernel());
        let checked = |port, status: Option<InterfaceStatus>, program: Option<&str>| {
            let xdp = program.map(|name| (7, Some(name.to_owned())));
            let there = There { xdp, ..There::default() };
            captured("eth0", port, status.as_ref(), &there, &plain).severity
        };
        assert_eq!(checked(None, None, None), Broken);
        assert_eq!(checked(Some(&down), None, None), Broken);
        assert_eq!(checked(Some(&port), None, None), Fine);
        assert_eq!(
            checked(Some(&port), Some(status(Some("native"), None)), Some("vrrp_xdp")),
            Fine
        );
        assert_eq!(
            checked(Some(&port), Some(status(Some("generic"), None)), Some("vrrp_xdp")),
            Warning
        );
        assert_eq!(checked(Some(&port), Some(status(None, Some("taken"))), Some("other")), Broken);
        assert_eq!(checked(Some(&port), None, Some("vrrp_xdp")), Warning);
        let there = There { xdp: Some((7, Some("firewall".to_owned()))), ..There::default() };
        let other = captured("eth0", Some(&port), None, &there, &plain);
        assert!(other.severity == Warning && other.text.contains("id 7, firewall"), "{other:?}");
        let by_tc = |tc| {
            let there = There { tc, ..There::default() };
            captured("eth0", Some(&port), Some(&status(Some("tc"), None)), &there, &plain).severity
        };
        assert_eq!(by_tc(Some(true)), Warning);
        assert_eq!(by_tc(None), Warning);
        assert_eq!(by_tc(Some(false)), Broken);
    }

    #[test]
    fn how_it_would_be_captured() {
        let port = port(2, "10.0.0.1");
        let device = |ifindex, aggregate, vlan_of: Option<u32>| Link {
            iface: InterfaceId::own(ifindex),
            name: format!("eth{ifindex}"),
            up: true,
            enabled: true,
            xdp: false,
            mac: Some([2; 6]),
            mtu: 1500,
            aggregate,
            routed: false,
            unicast_filter: UnicastFilter::Membership,
            vlan_of: vlan_of.map(InterfaceId::own),
        };
        let checked = |links: &[Link], best| {
            let plan = capture::plan(best, facts(2, links, true, false));
            captured("eth2", Some(&port), None, &There::default(), &expected(&plan, &kernel()))
        };
        let plain = device(2, false, None);
        assert_eq!(checked(&[plain.clone(), device(3, false, None)], None).severity, Fine);
        for links in [vec![device(2, true, None)], vec![plain.clone(), device(3, false, Some(2))]] {
            let found = checked(&links, None);
            assert!(found.severity == Warning && found.text.contains("by tc"), "{found:?}");
            assert!(found.hint.is_some());
        }
        let found = checked(&[plain], Some(CaptureMode::Raw));
        assert!(found.text.contains("by a packet socket"), "{found:?}");

        let there = There { routed: true, ..There::default() };
        let plan = capture::plan(None, Facts::default());
        let found = captured("eth2", Some(&port), None, &there, &expected(&plan, &kernel()));
        assert!(found.severity == Broken && found.text.contains("ipvlan mode l2"), "{found:?}");
    }

    #[test]
    fn how_a_kernel_that_lacks_something_would_capture() {
        let plan = capture::plan(None, Facts { tcx: true, ..Facts::default() });
        let found = |trial| {
            let choice = expected(&plan, &Kernel { trial, ..kernel() });
            (choice.mode, choice.why.unwrap_or_default())
        };
        let taken = kernel().trial.unwrap();
        let refused = || Some("too old".to_owned());
        assert_eq!(found(Ok(taken.clone())), (CaptureMode::Native, String::new()));
        let no_xdp = Trial { xdp: refused(), ..taken.clone() };
        assert_eq!(found(Ok(no_xdp)), (CaptureMode::Tc, "XDP is refused".to_owned()));
        let no_tc = Trial { ingress: refused(), ..taken };
        assert_eq!(found(Ok(no_tc)), (CaptureMode::Native, String::new()));
        let none = found(Err("EPERM".to_owned()));
        assert_eq!(none, (CaptureMode::Raw, "there is no BPF".to_owned()));
    }

    const IGMP: &str = "\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
2\teth0      :     2      V3
\t\t\t\t120000E0     1 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
3\teth1      :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn who_has_joined() {
        let joined = members(IGMP);
        let there = |name: &str| joined.contains(&(name.to_owned(), GROUP));
        assert_eq!((there("eth0"), there("lo"), there("eth1")), (true, false, false), "{joined:?}");
        assert_eq!(members(""), BTreeSet::new());
    }

    #[test]
    fn membership_matters_while_the_daemon_runs() {
        assert_eq!(membership(GROUP.into(), Ok(true), true).severity, Fine);
        assert_eq!(membership(GROUP.into(), Ok(false), true).severity, Broken);
        assert_eq!(membership(GROUP.into(), Ok(false), false).severity, Skipped);
        assert_eq!(membership(GROUP.into(), Err("no".to_owned()), true).severity, Skipped);
    }

    #[test]
    fn two_interfaces_on_one_network() {
        let mut ports = BTreeMap::from([
            ("eth0".to_owned(), port(2, "10.0.0.1")),
            ("eth1".to_owned(), port(3, "10.0.1.1")),
        ]);
        let found = |ports: &BTreeMap<_, _>| twin("eth0", &ports["eth0"], ports);
        assert_eq!(found(&ports), None);
        ports.insert("eth2".to_owned(), port(4, "10.0.0.9"));
        assert_eq!(found(&ports).as_deref(), Some("eth2"));
        assert_eq!(rp_filter(Ok(1), Some("eth2"), "eth0").severity, Warning);
        assert_eq!(rp_filter(Ok(1), None, "eth0").severity, Fine);
        assert_eq!(rp_filter(Ok(2), Some("eth2"), "eth0").severity, Fine);
        assert_eq!(rp_filter(Err("no".to_owned()), None, "eth0").severity, Skipped);
        assert_eq!(arp_announce(Ok(0), Some("eth2"), "eth0").severity, Warning);
        assert_eq!(arp_announce(Ok(0), None, "eth0").severity, Fine);
        assert_eq!(arp_announce(Ok(2), Some("eth2"), "eth0").severity, Fine);
        assert_eq!(arp_announce(Err("no".to_owned()), None, "eth0").severity, Skipped);
    }

    #[test]
    fn near_is_by_prefix() {
        let near = |address: &str, own: &str, length| {
            is_near(address.parse().unwrap(), (own.parse().unwrap(), length))
        };
        assert!(near("10.0.0.100", "10.0.0.1", 24) && !near("10.0.1.100", "10.0.0.1", 24));
        assert!(near("10.0.1.100", "10.0.0.1", 0) && !near("10.0.0.2", "10.0.0.1", 32));
        assert!(near("2001:db8::100", "2001:db8::1", 64) && near("fe80::100", "::1", 0));
        assert!(!near("2001:db8:0:1::100", "2001:db8::1", 64) && !near("::2", "::1", 128));
        assert!(!near("10.0.0.1", "::", 0));
    }

    #[test]
    fn who_answers_arp() {
        let plain = Use::default();
        let hosts = Use { hosts: true, ..plain.clone() };
        let silent = Use { silent: vec!["10.0.0.100 on lo".to_owned()], ..plain.clone() };
        let checked = |value, twin, used: &Use| arp_ignore(Ok(value), twin, used, "eth0").severity;
        assert_eq!(checked(0, None, &plain), Fine);
        assert_eq!(checked(0, Some("eth1"), &plain), Warning);
        assert_eq!(checked(1, Some("eth1"), &plain), Fine);
        assert_eq!(checked(2, None, &plain), Fine);
        assert_eq!(checked(2, None, &hosts), Broken);
        assert_eq!(checked(1, None, &hosts), Fine);
        assert_eq!(checked(0, None, &silent), Fine);
        assert_eq!(checked(1, None, &silent), Broken);
        assert_eq!(checked(8, None, &plain), Broken);
        assert_eq!(arp_ignore(Err("no".to_owned()), None, &plain, "eth0").severity, Skipped);
    }

    #[test]
    fn the_same_of_many_is_one_finding() {
        let names: Vec<String> = (0..5).map(|n| format!("eth{n}")).collect();
        let of = |names| Finding::fine(Check::Capture, "native XDP").about(names).title();
        assert_eq!(of(&names[..2]), "capture eth0, eth1");
        assert_eq!(of(&names), "capture eth0 and 4 more");
    }
}
