//! What IPv6 needs of an interface: that it is switched on, a link-local address to advertise from, and the group.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use vrrp_common::MULTICAST_V6;

use super::Finding;
use super::interfaces::named;
use crate::config::model::{Config, Transport};
use crate::wire::family::Family;

/// `IFA_F_DADFAILED` and `IFA_F_TENTATIVE` (linux/if_addr.h), as `/proc/net/if_inet6` shows them.
const DADFAILED: u8 = 0x08;
const TENTATIVE: u8 = 0x40;

/// What the routers need of an interface that is to have IPv6 addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    /// An IPv6 router advertises from its link-local address.
    source: bool,
    /// An IPv6 router advertises by multicast.
    multicast: bool,
}

/// Everything about the interfaces that have to do with IPv6. Those of which the same is to be said are one finding.
pub fn examine(config: &Config, running: bool) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path);
    let (addresses, groups) = (read("/proc/net/if_inet6"), read("/proc/net/igmp6"));
    let virtual_addresses: BTreeSet<Ipv6Addr> = config
        .routers
        .iter()
        .flat_map(|router| router.addresses.iter().chain(&router.excluded))
        .filter_map(|address| match address.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
        .collect();
    let mut found: Vec<(Finding, Vec<String>)> = Vec::new();
    for (name, used) in uses(config) {
        let disabled = read(&format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"));
        let mut all = vec![switched_on(disabled, &name)];
        if used.source {
            all.push(link_local(own(&addresses, &name, &virtual_addresses), &name));
        }
        if used.multicast {
            let joined = groups.as_ref().map(|table| members(table).contains(&*name));
            all.push(membership(joined.map_err(ToString::to_string), running));
        }
        for finding in all {
            match found.iter_mut().find(|(known, _)| *known == finding) {
                Some((_, names)) => names.push(name.clone()),
                None => found.push((finding, vec![name.clone()])),
            }
        }
    }
    found.into_iter().map(|(finding, names)| named(finding, &names)).collect()
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
            let (source, multicast) = match &router.transport {
                Transport::Multicast { source } => (source, true),
                Transport::Unicast { source, .. } => (source, false),
            };
            used.source |= source.is_none();
            used.multicast |= multicast;
        }
    }
    uses
}

fn switched_on(disabled: io::Result<String>, name: &str) -> Finding {
    let check = "ipv6";
    match disabled {
        Ok(value) if value.trim() == "0" => Finding::fine(check, "IPv6 is enabled"),
        Ok(_) => Finding::broken(check, "IPv6 is disabled: no IPv6 address can be added")
            .hint(format!("sysctl net.ipv6.conf.{name}.disable_ipv6=0")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::broken(check, "there is no such interface, or the kernel is without IPv6")
        }
        Err(error) => Finding::skipped(check, error.to_string()),
    }
}

/// The flags of the link-local addresses of an interface that are its own.
fn own(
    table: &io::Result<String>,
    name: &str,
    virtual_addresses: &BTreeSet<Ipv6Addr>,
) -> Result<Vec<u8>, String> {
    let table = table.as_ref().map_err(ToString::to_string)?;
    let flags = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, _, _, flags, interface] = fields[..] else { return None };
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        let own = interface == name
            && address.is_unicast_link_local()
            && !virtual_addresses.contains(&address);
        own.then(|| u8::from_str_radix(flags, 16).ok()).flatten()
    });
    Ok(flags.collect())
}

fn link_local(own: Result<Vec<u8>, String>, name: &str) -> Finding {
    let check = "link-local";
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

/// Names of the interfaces on which ff02::12 is joined (`/proc/net/igmp6`, net/ipv6/mcast.c).
fn members(table: &str) -> BTreeSet<&str> {
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let wanted = u128::from_be_bytes(MULTICAST_V6);
    lines
        .filter_map(|fields| {
            let [_, name, group, ..] = fields[..] else { return None };
            (u128::from_str_radix(group, 16) == Ok(wanted)).then_some(name)
        })
        .collect()
}

fn membership(joined: Result<bool, String>, running: bool) -> Finding {
    let check = "multicast6";
    match (joined, running) {
        (Ok(true), _) => Finding::fine(check, "ff02::12 is joined"),
        (Ok(false), true) => Finding::broken(
            check,
            "ff02::12 is not joined: NIC or switch may not let advertisements through",
        )
        .hint("the log of the daemon says why; it joins when the interface has an IPv6 address"),
        (Ok(false), false) => {
            Finding::skipped(check, "ff02::12 is joined when the daemon runs, and none does")
        }
        (Err(error), _) => Finding::skipped(check, error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Broken, Fine, Warning};
    use super::*;

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
        let judged = |name: &str| {
            let own = own(&Ok(table.to_owned()), name, &vips);
            link_local(own, name).severity
        };
        assert_eq!([judged("eth0"), judged("eth1")], [Fine, Warning]);
        assert_eq!([judged("eth2"), judged("eth3"), judged("eth4")], [Broken; 3]);
        let alone = own(&Ok(table.lines().next().unwrap().to_owned()), "eth0", &vips);
        assert_eq!(link_local(alone, "eth0").severity, Broken, "a virtual address is no source");
    }

    #[test]
    fn membership_by_interface() {
        let table = "\
1    lo              ff020000000000000000000000000001     1 0000000C 0
2    eth0            ff020000000000000000000000000012     1 00000004 0
";
        assert_eq!(members(table), BTreeSet::from(["eth0"]));
        assert_eq!(membership(Ok(false), true).severity, Broken);
        assert_eq!(membership(Ok(true), false).severity, Fine);
    }

    #[test]
    fn disabled_is_said() {
        let severity = |value: &str| switched_on(Ok(value.to_owned()), "eth0").severity;
        assert_eq!([severity("0\n"), severity("1\n")], [Fine, Broken]);
        assert_eq!(switched_on(Err(io::ErrorKind::NotFound.into()), "eth0").severity, Broken);
    }
}
