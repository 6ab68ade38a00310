//! Virtual MAC addresses: whether an interface can have them, whether its filter lets frames to them in, and who else sends
//! from them.

use std::collections::BTreeMap;

use super::{Check, Finding, some};
use crate::api::Status;
use crate::capture::CaptureMode;
use crate::config::model::{Config, RouterConfig};
use crate::core::netlink::UnicastFilter;
use crate::io::netlink::{self, Link};
use crate::types::time::Nanos;

const CHECK: Check = Check::VirtualMac;
/// The check of who else sends from one.
pub const IN_USE: Check = Check::VirtualMacInUse;
/// For how long a frame from our own address counts as a present one: the last ones of a former master are not.
const RECENTLY: Nanos = Nanos::from_secs(10);

/// What is known of an interface on which routers have one.
#[derive(Clone, Copy, Debug)]
struct On<'a> {
    name: &'a str,
    filter: UnicastFilter,
    promiscuous: bool,
    /// How it captures, or would.
    mode: Option<CaptureMode>,
    /// Whether any of those routers is master.
    is_master: bool,
}

/// Whether routers on an interface are to have one.
pub fn is_on(config: &Config, interface: &str) -> bool {
    on(config, interface).next().is_some()
}

fn on<'a>(config: &'a Config, interface: &'a str) -> impl Iterator<Item = &'a RouterConfig> {
    config.routers.iter().filter(move |router| {
        let own = router.virtual_mac && router.interface == interface;
        own || router.virtual_mac_devs().any(|dev| dev == interface)
    })
}

fn is_master(status: Option<&Status>, router: &str) -> bool {
    let routers = status.into_iter().flat_map(|status| &status.routers);
    routers.into_iter().any(|known| known.name == router && known.state == "MASTER")
}

/// Of an interface that is there, and that captures, or would, in this way.
pub fn examine(
    config: &Config,
    status: Option<&Status>,
    name: &str,
    link: &Link,
    mode: Option<CaptureMode>,
) -> Option<Finding> {
    is_on(config, name).then(|| {
        let is_master = on(config, name).any(|router| is_master(status, &router.name));
        let promiscuous = netlink::is_promiscuous(link.iface.ifindex);
        carried(On { name, filter: link.unicast_filter, promiscuous, mode, is_master })
    })
}

fn carried(On { name, filter, promiscuous, mode, is_master }: On<'_>) -> Finding {
    let instead = "use another interface, or go without (virtual_mac = false)";
    if let Some(why) = filter.lacks() {
        return Finding::broken(CHECK, format!("{name} {why}: routers with one are in FAULT"))
            .hint(instead);
    }
    match mode {
        Some(CaptureMode::Tc) | None => {}
        Some(mode @ (CaptureMode::Native | CaptureMode::Generic | CaptureMode::Raw)) => {
            let text = format!(
                "{name} is captured by {}, and only a tc program takes frames to one in: routers with one are in FAULT",
                mode.title()
            );
            return Finding::broken(CHECK, text)
                .hint("`capture = \"auto\"`; the check of the capture says what is in the way");
        }
    }
    match filter {
        UnicastFilter::None => Finding::fine(CHECK, "the device has no filter, and needs none"),
        UnicastFilter::Bridge if is_master => {
            Finding::fine(CHECK, "it has an entry in the bridge's forwarding database")
        }
        UnicastFilter::Bridge => Finding::fine(
            CHECK,
            "the bridge's forwarding database gets it when a router becomes master",
        ),
        UnicastFilter::Membership if is_master && promiscuous => Finding::warning(
            CHECK,
            format!(
                "{name} is promiscuous and takes in every frame: its driver may have no filter for further addresses"
            ),
        )
        .hint(
            "it works, and costs time for each frame of others; that it is not the driver shows when no tcpdump runs and \
             it is no port of a bridge",
        ),
        UnicastFilter::Membership if is_master => {
            Finding::fine(CHECK, "frames to it pass the filter of the device")
        }
        UnicastFilter::Membership => Finding::fine(
            CHECK,
            "the filter of the device gets it when a router becomes master; whether the driver has one shows then",
        ),
        // It lacks it altogether, and was told of.
        UnicastFilter::Own | UnicastFilter::Every => Finding::skipped(CHECK, "not available"),
    }
}

/// Who else sends from the virtual MAC addresses of masters of this host: names of routers, and how long ago that was.
pub fn others(config: &Config, status: Option<&Status>, seen: &[(String, Nanos)]) -> Finding {
    let ours = config.routers.iter().filter(|router| router.has_virtual_mac());
    let ours: BTreeMap<&str, &RouterConfig> =
        ours.map(|router| (router.name.as_str(), router)).collect();
    let present = seen.iter().filter(|(name, ago)| *ago < RECENTLY && is_master(status, name));
    let lines: Vec<String> = present
        .filter_map(|(name, ago)| {
            let router = ours.get(name.as_str())?;
            Some(format!("of {name} on {} ({:.0} s ago)", router.interface, ago.as_secs_f64()))
        })
        .collect();
    if lines.is_empty() {
        return Finding::fine(IN_USE, "nobody else sends from those of masters of this host");
    }
    let text = format!(
        "frames arrive from virtual MAC addresses of which this host is master: {}",
        some(&lines)
    );
    Finding::broken(IN_USE, text).hint(
        "another host is master, too, if `addresses` or `refused` says so, or forges them; the network sends ours back \
         (a loop) if `own_address` counts in `vrrp-user stats`; right after a takeover it is the former master",
    )
}

/// What else a port of the network must permit where packets leave with virtual MAC addresses.
pub const fn permit(is_on: bool) -> &'static str {
    if is_on {
        "; and the virtual MAC address: MAC learning and forged transmits (vSphere), MAC address spoofing (Hyper-V), no port \
         security (OpenStack), no filter `no-mac-spoofing` (libvirt)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Broken, Fine, Warning};
    use super::*;

    const ETH0: On<'_> = On {
        name: "eth0",
        filter: UnicastFilter::Membership,
        promiscuous: false,
        mode: Some(CaptureMode::Tc),
        is_master: true,
    };

    #[test]
    fn what_carries_it() {
        let checked = |on: On<'_>| carried(on).severity;
        assert_eq!(checked(ETH0), Fine);
        assert_eq!(checked(On { mode: None, is_master: false, ..ETH0 }), Fine);
        // Without a membership it is somebody else's.
        assert_eq!(checked(On { promiscuous: true, is_master: false, ..ETH0 }), Fine);
        assert_eq!(checked(On { promiscuous: true, ..ETH0 }), Warning);
        let veth = On { promiscuous: true, filter: UnicastFilter::None, ..ETH0 };
        assert_eq!(checked(veth), Fine);
        assert_eq!(checked(On { mode: Some(CaptureMode::Native), ..ETH0 }), Broken);
        let bridge = On { promiscuous: true, filter: UnicastFilter::Bridge, ..ETH0 };
        assert_eq!([checked(bridge), checked(On { is_master: false, ..bridge })], [Fine; 2]);
        let found = carried(On { filter: UnicastFilter::Own, ..ETH0 });
        assert!(found.severity == Broken && found.text.starts_with("eth0 is a macvlan"));
    }
}
