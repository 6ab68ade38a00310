//! What IPv6 needs of an interface: that it is switched on, a link-local address to advertise from, and the group.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use super::host::nonlocal_bind;
use super::{Check, Finding, membership, setting, some};
use crate::config::model::{Config, Transport};
use crate::wire::family::Family;

/// `IFA_F_DADFAILED` and `IFA_F_TENTATIVE` (linux/if_addr.h), as `/proc/net/if_inet6` shows them.
const DADFAILED: u8 = 0x08;
const TENTATIVE: u8 = 0x40;

/// An IPv6 address of this host, as `/proc/net/if_inet6` shows it (net/ipv6/addrconf.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inet6 {
    pub address: Ipv6Addr,
    /// Length of its prefix.
    pub prefix: u8,
    pub interface: String,
    flags: u8,
}

impl Inet6 {
    /// Whether something can be sent from it (RFC 4862 section 5.4).
    pub fn is_usable(&self) -> bool {
        self.flags & (TENTATIVE | DADFAILED) == 0
    }
}

/// The IPv6 addresses of this network namespace.
/// Errors: the kernel is without IPv6.
pub fn inet6() -> io::Result<Vec<Inet6>> {
    fs::read_to_string("/proc/net/if_inet6").map(|table| read_inet6(&table))
}

fn read_inet6(table: &str) -> Vec<Inet6> {
    let address = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, prefix, _, flags, interface] = fields[..] else { return None };
        Some(Inet6 {
            address: Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?),
            prefix: u8::from_str_radix(prefix, 16).ok()?,
            interface: interface.to_owned(),
            flags: u8::from_str_radix(flags, 16).ok()?,
        })
    };
    table.lines().filter_map(address).collect()
}

/// What the routers need of an interface that is to have IPv6 addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Use {
    /// An IPv6 router advertises from its link-local address.
    source: bool,
    groups: BTreeSet<Ipv6Addr>,
}

/// Everything about the interfaces that have to do with IPv6. Those of which the same is to be said are one finding.
pub fn examine(config: &Config, running: bool) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path);
    let (addresses, groups) = (inet6().map_err(|error| error.to_string()), read("/proc/net/igmp6"));
    let virtual_addresses: BTreeSet<Ipv6Addr> = config
        .routers
        .iter()
        .flat_map(|router| router.addresses.iter().chain(&router.excluded))
        .filter_map(|address| match address.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
        .collect();
    let mut found = Vec::new();
    for (name, used) in uses(config) {
        let disabled = read(&format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"));
        let there: Result<Vec<&Inet6>, &String> = addresses
            .as_ref()
            .map(|all| all.iter().filter(|known| known.interface == name).collect());
        let detection = setting("ipv6", &name, "accept_dad");
        let mut all = vec![switched_on(disabled, detection.as_ref().ok().copied(), &name)];
        if used.source {
            all.push(link_local(own(there.as_deref(), &virtual_addresses), &name));
        }
        all.push(duplicates(there.as_deref(), &virtual_addresses, detection));
        for group in used.groups {
            let joined = groups.as_ref().map(|table| members(table, group).contains(&*name));
            all.push(membership(group.into(), joined.map_err(ToString::to_string), running));
        }
        found.extend(all.into_iter().map(|finding| (finding, name.clone())));
    }
    let mut findings = Finding::merged(found);
    if !findings.is_empty() {
        let value = read("/proc/sys/net/ipv6/ip_nonlocal_bind").map_err(|error| error.to_string());
        findings.push(nonlocal_bind(Family::V6, value.as_deref().map(str::trim)));
    }
    findings
}

fn uses(config: &Config) -> BTreeMap<String, Use> {
    let mut uses: BTreeMap<String, Use> = BTreeMap::new();
    for router in &config.routers {
        for address in router.addresses.iter().chain(&router.excluded) {
            if address.address.is_ipv6() {
                let dev = address.dev.as_deref().unwrap_or(&router.interface);
                uses.entry(dev.to_owned()).or_default();
            }
        }
        if router.family() == Family::V6 {
            let used = uses.entry(router.interface.clone()).or_default();
            let (Transport::Multicast { source, .. } | Transport::Unicast { source, .. }) =
                &router.transport;
            used.source |= source.is_none();
            if let Some(IpAddr::V6(group)) = router.multicast_group() {
                used.groups.insert(group);
            }
        }
    }
    uses
}

fn switched_on(disabled: io::Result<String>, accept_dad: Option<i32>, name: &str) -> Finding {
    let check = Check::Ipv6;
    match disabled {
        Ok(value) if value.trim() == "0" => Finding::fine(check, "IPv6 is enabled"),
        Ok(_) => {
            let again = format!("sysctl net.ipv6.conf.{name}.disable_ipv6=0");
            let text = "IPv6 is disabled: no IPv6 address can be added";
            if accept_dad == Some(2) {
                Finding::broken(check, text).hint(format!(
                    "{again}; with accept_dad=2 the kernel does it when another host has the link-local address, \
                     so look for that first (dmesg)"
                ))
            } else {
                Finding::broken(check, text).hint(again)
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::broken(check, "there is no such interface, or the kernel is without IPv6")
        }
        Err(error) => Finding::skipped(check, error.to_string()),
    }
}

/// The flags of the link-local addresses of an interface that are its own.
fn own(
    there: Result<&[&Inet6], &&String>,
    virtual_addresses: &BTreeSet<Ipv6Addr>,
) -> Result<Vec<u8>, String> {
    let there = there.map_err(ToString::to_string)?;
    let own = there.iter().filter(|known| {
        known.address.is_unicast_link_local() && !virtual_addresses.contains(&known.address)
    });
    Ok(own.map(|known| known.flags).collect())
}

/// What duplicate address detection makes of the addresses of an interface, its own link-local ones apart.
fn duplicates(
    there: Result<&[&Inet6], &&String>,
    virtual_addresses: &BTreeSet<Ipv6Addr>,
    accept_dad: Result<i32, String>,
) -> Finding {
    let check = Check::Dad;
    let there = match there {
        Ok(there) => there,
        Err(error) => return Finding::skipped(check, error.as_str()),
    };
    let (mut failed, mut tentative, mut shared) = (vec![], vec![], false);
    for known in there {
        let is_shared = virtual_addresses.contains(&known.address);
        if known.address.is_unicast_link_local() && !is_shared {
            continue;
        }
        if known.flags & DADFAILED != 0 {
            failed.push(known.address.to_string());
            shared |= is_shared;
        } else if known.flags & TENTATIVE != 0 {
            tentative.push(known.address.to_string());
        }
    }
    if !failed.is_empty() {
        let text = format!(
            "another host has {} too: duplicate address detection failed, and nothing is sent or answered from there",
            some(&failed)
        );
        let found = if shared { Finding::broken } else { Finding::warning };
        return found(check, text).hint(
            "`ip -6 address show dadfailed`; see that only one host has it, then remove it and add it again (shared \
             addresses belong in the configuration alone, where they are added without this check)",
        );
    }
    if !tentative.is_empty() {
        let text = format!(
            "{} is tentative: duplicate address detection is not done, and nothing is sent or answered from there yet",
            some(&tentative)
        );
        return Finding::warning(check, text).hint(
            "it takes a second or two after the interface is up and has carrier; `ip -6 address show tentative`",
        );
    }
    match accept_dad {
        Ok(..=0) => Finding::fine(
            check,
            "accept_dad is 0: that another host has an address of this one is not noticed by the kernel",
        ),
        Ok(1) => Finding::fine(check, "no address is tentative, none was found elsewhere"),
        Ok(_) => Finding::fine(
            check,
            "no address is tentative, none was found elsewhere; accept_dad is 2: should another host have the \
             link-local address, the kernel disables IPv6 on the interface, and its routers are in FAULT",
        ),
        Err(error) => Finding::skipped(check, error),
    }
}

fn link_local(own: Result<Vec<u8>, String>, name: &str) -> Finding {
    let check = Check::LinkLocal;
    let own = match own {
        Ok(own) => own,
        Err(error) => return Finding::skipped(check, error),
    };
    let has = |flag: u8| own.iter().any(|flags| flags & flag != 0);
    if own.iter().any(|flags| flags & (TENTATIVE | DADFAILED) == 0) {
        Finding::fine(check, "there is an address to advertise from")
    } else if has(DADFAILED) {
        Finding::broken(
            check,
            "another host has the link-local address (duplicate address detection failed)",
        )
        .hint("give the interface another Ethernet address, or the router a source (mcast_src_ip)")
    } else if has(TENTATIVE) {
        Finding::warning(check, "duplicate address detection is not done yet; the router waits for it")
            .hint(format!("it takes a second or two after the interface is up; sysctl net.ipv6.conf.{name}.dad_transmits"))
    } else {
        Finding::broken(check, "no link-local address to advertise from").hint(format!(
            "ip link set {name} up; sysctl net.ipv6.conf.{name}.addr_gen_mode is 1 for none"
        ))
    }
}

/// Names of the interfaces on which a group is joined (`/proc/net/igmp6`, net/ipv6/mcast.c).
fn members(table: &str, group: Ipv6Addr) -> BTreeSet<&str> {
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let wanted = group.to_bits();
    lines
        .filter_map(|fields| {
            let [_, name, group, ..] = fields[..] else { return None };
            (u128::from_str_radix(group, 16) == Ok(wanted)).then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use vrrp_common::MULTICAST_V6;

    use super::super::Severity::{Broken, Fine, Warning};
    use super::*;

    const GROUP: Ipv6Addr = Ipv6Addr::from_octets(MULTICAST_V6);

    #[test]
    fn the_link_local_address_must_be_unique() {
        let table = "\
fe800000000000000000000000000100 02 80 20 82     eth0
fe80000000000000000000fffe000001 02 40 20 80     eth0
fe80000000000000000000fffe000002 03 40 20 c0     eth1
fe80000000000000000000fffe000003 04 40 20 c8     eth2
20010db8000000000000000000000001 05 40 00 80     eth3
nonsense
";
        let vips = BTreeSet::from(["fe80::100".parse().unwrap()]);
        let table = read_inet6(table);
        let checked = |name: &str| {
            let there: Vec<&Inet6> = table.iter().filter(|known| known.interface == name).collect();
            link_local(own(Ok(&there), &vips), name).severity
        };
        assert_eq!([checked("eth0"), checked("eth1")], [Fine, Warning]);
        assert_eq!([checked("eth2"), checked("eth3"), checked("eth4")], [Broken; 3]);
        let alone = own(Ok(&[&table[0]]), &vips);
        assert_eq!(link_local(alone, "eth0").severity, Broken, "a virtual address is no source");
    }

    #[test]
    fn addresses_that_are_not_unique_are_named() {
        let vips = BTreeSet::from(["2001:db8::100".parse().unwrap()]);
        let checked = |table: &str, accept_dad| {
            let table = read_inet6(table);
            duplicates(Ok(&table.iter().collect::<Vec<_>>()), &vips, Ok(accept_dad))
        };
        let vip = "20010db8000000000000000000000100 02 40 00";
        let own = "20010db8000000000000000000000001 02 40 00";
        let link_local = "fe80000000000000000000fffe000001 02 40 20 c8 eth0";
        assert_eq!(checked(link_local, 1).severity, Fine, "that is another check");
        assert_eq!(checked(&format!("{vip} 82 eth0\n{own} 80 eth0"), 1).severity, Fine);
        let found = checked(&format!("{vip} c8 eth0\n{own} 80 eth0"), 1);
        assert_eq!(found.severity, Broken);
        assert!(found.text.contains("another host has 2001:db8::100 too"), "{found:?}");
        assert_eq!(checked(&format!("{own} c8 eth0"), 1).severity, Warning);
        let found = checked(&format!("{vip} c0 eth0"), 1);
        assert_eq!(found.severity, Warning);
        assert!(found.text.starts_with("2001:db8::100 is tentative"), "{found:?}");
        assert!(checked("", 2).text.contains("disables IPv6"));
        assert_eq!(checked("", 0).severity, Fine);
    }

    #[test]
    fn membership_by_interface() {
        let table = "\
1    lo              ff020000000000000000000000000001     1 0000000C 0
2    eth0            ff020000000000000000000000000012     1 00000004 0
";
        assert_eq!(members(table, GROUP), BTreeSet::from(["eth0"]));
        assert_eq!(membership(GROUP.into(), Ok(false), true).severity, Broken);
        assert_eq!(membership(GROUP.into(), Ok(true), false).severity, Fine);
    }

    #[test]
    fn disabled_is_said() {
        let severity = |value: &str| switched_on(Ok(value.to_owned()), None, "eth0").severity;
        assert_eq!([severity("0\n"), severity("1\n")], [Fine, Broken]);
        assert_eq!(switched_on(Err(io::ErrorKind::NotFound.into()), None, "eth0").severity, Broken);
    }
}
