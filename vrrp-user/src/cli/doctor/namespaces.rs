//! Routers in other network namespaces than the daemon: their interfaces, seen from there.

use super::{Check, Finding, Kernel, Severity, interfaces, ipv6};
use crate::api::Status;
use crate::config::model::{Config, RouterConfig};
use crate::io::bpf::chain;
use crate::io::netns;
use crate::types::netns::{Netns, of_interface, split};

/// What is wrong in each of them, and how many there are of which nothing is.
pub fn examine(config: &Config, status: Option<&Status>, kernel: &Kernel) -> Vec<Finding> {
    let (mut findings, mut fine) = (Vec::new(), 0);
    for netns in config.namespaces() {
        let found = in_one(&netns, config, status, kernel);
        fine += usize::from(found.is_empty());
        findings.extend(found);
    }
    if fine > 0 {
        let plural = if fine == 1 { "" } else { "s" };
        let text = format!("nothing is wrong with the interfaces of {fine} other{plural}");
        findings.insert(0, Finding::fine(Check::NetworkNamespace, text));
    }
    findings
}

fn in_one(
    netns: &Netns,
    config: &Config,
    status: Option<&Status>,
    kernel: &Kernel,
) -> Vec<Finding> {
    let name = netns.to_string();
    let (config, status) = (seen_from(Some(netns), config), status.map(|it| of(netns, it)));
    let examined = netns::open(netns).and_then(|file| {
        let work = || {
            let mut findings = interfaces::examine(&config, status.as_ref(), kernel);
            findings.extend(ipv6::examine(&config, status.is_some()));
            Ok(findings)
        };
        netns::enter_with(netns, &file, work)
    });
    let found = match examined {
        Ok(found) => found,
        Err(error @ netns::Error::Denied { .. }) => {
            vec![Finding::skipped(Check::NetworkNamespace, chain(&error))]
        }
        Err(error) => vec![Finding::broken(Check::NetworkNamespace, chain(&error))],
    };
    let found = found.into_iter().filter(|finding| finding.severity != Severity::Fine);
    let named = found.map(|finding| {
        let of = finding.of.as_deref().map(|of| format!("{name}/{of}"));
        finding.of(of.as_deref().unwrap_or(&name))
    });
    named.collect()
}

/// A configuration as it is for a network namespace: the routers in it, with the names that interfaces have there.
pub fn seen_from(netns: Option<&Netns>, config: &Config) -> Config {
    let is_there = |interface: &str| of_interface(interface).as_ref() == netns;
    let base = |interface: &str| split(interface).1.to_owned();
    let routers = config.routers.iter().filter(|router| is_there(&router.interface));
    let routers = routers.map(|router| {
        let mut router: RouterConfig = router.clone();
        for addresses in [&mut router.addresses, &mut router.excluded] {
            addresses.retain(|address| address.dev.as_deref().is_none_or(is_there));
            addresses.iter_mut().for_each(|address| address.dev = address.dev.as_deref().map(base));
        }
        router.interface = base(&router.interface);
        router
    });
    let mut seen = Config { routers: routers.collect(), ..config.clone() };
    seen.fixed.addresses.retain(|address| address.dev.as_deref().is_some_and(is_there));
    seen.fixed.addresses.iter_mut().for_each(|it| it.dev = it.dev.as_deref().map(base));
    seen.capture.interfaces.retain(|interface, _| is_there(interface));
    let interfaces = std::mem::take(&mut seen.capture.interfaces).into_iter();
    seen.capture.interfaces =
        interfaces.map(|(interface, best)| (base(&interface), best)).collect();
    seen
}

/// The same of what the daemon says.
fn of(netns: &Netns, status: &Status) -> Status {
    let mut seen = status.clone();
    seen.interfaces.retain(|interface| of_interface(&interface.name).as_ref() == Some(netns));
    for interface in &mut seen.interfaces {
        interface.name = split(&interface.name).1.to_owned();
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_toml;

    #[test]
    fn each_namespace_sees_its_own() {
        let config = load_toml(
            "[[router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"10.0.0.1/24\"]\n\
             [[router]]\nname = \"b\"\nnetns = \"red\"\ninterface = \"eth0\"\nvrid = 1\n\
             addresses = [\"10.0.0.1/24\", { address = \"10.0.1.1/24\", dev = \"eth1\" }]\n",
        )
        .unwrap();
        let own = seen_from(None, &config);
        let names = |config: &Config| -> Vec<String> {
            config.routers.iter().map(|router| router.name.clone()).collect()
        };
        assert_eq!(names(&own), ["a"]);
        let red: Netns = "red".parse().unwrap();
        let there = seen_from(Some(&red), &config);
        assert_eq!(names(&there), ["b"]);
        assert_eq!(there.routers[0].interface, "eth0");
        assert_eq!(there.routers[0].addresses[1].dev.as_deref(), Some("eth1"));
        let nowhere: Netns = "no-such-namespace".parse().unwrap();
        let kernel = Kernel { trial: Err(String::new()), tcx: Ok(true), no_bpffs: false };
        let found = in_one(&nowhere, &config, None, &kernel);
        assert_eq!(found[0].severity, Severity::Broken);
        assert_eq!(found[0].of.as_deref(), Some("no-such-namespace"));
    }
}
