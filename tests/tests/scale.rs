//! A thousand routers at once: none is forgotten, in either direction.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vrrp_tests::story::Kind;
use vrrp_tests::{Error, Host, Instance, Lab, Result, VrrpUser};

/// More than anything takes here, on a busy machine too.
const LONG: Duration = Duration::from_secs(60);
const LINKS: usize = 4;
/// There are no more VRIDs on a link.
const PER_LINK: usize = 255;
const ROUTERS: usize = LINKS * PER_LINK;
/// An address that the kernel refuses: it puts none on an interface with an MTU below 68 (RFC 791), which
/// only the loopback interface can have.
const REFUSED: &str = "192.0.2.1";

fn address(router: usize) -> String {
    format!("10.{}.{}.1/32", 100 + router / PER_LINK, router % PER_LINK + 1)
}

/// All routers; one of them with one more line.
fn conf(priority: u8, more: &str) -> String {
    let router = |number: usize| {
        let vrid = u8::try_from(number % PER_LINK + 1).expect("at most 255");
        let mut instance =
            Instance::new(vrid, priority, &address(number)).name(&format!("R{number}"));
        instance.interface = format!("v{}", number / PER_LINK);
        if number == ROUTERS / 2 { instance.with(more) } else { instance }.to_string()
    };
    (0..ROUTERS).map(router).collect()
}

/// Two hosts with direct links between them.
fn hosts(lab: &Lab) -> Result<(Host, Host)> {
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    for link in 0..LINKS {
        let (name, there) = (format!("v{link}"), b.namespace().name());
        a.ip(&["link", "add", &name, "type", "veth", "peer", "name", &name, "netns", there])?;
        for (host, last) in [(&a, 1), (&b, 2)] {
            host.ip(&["address", "add", &format!("10.0.{}.{last}/24", link + 1), "dev", &name])?;
            host.ip(&["link", "set", &name, "up"])?;
        }
    }
    Ok((a, b))
}

/// The virtual addresses on a host.
fn held(host: &Host) -> Result<BTreeSet<String>> {
    Ok(host.addresses()?.into_iter().filter(|address| address.starts_with("10.1")).collect())
}

/// Waits until every router of the tested daemon is in a state, and its address is or is not there.
fn all(daemon: &mut VrrpUser, host: &Host, state: &str) -> Result<()> {
    let everything: BTreeSet<_> = (0..ROUTERS).map(address).collect();
    let (begin, mut last) = (Instant::now(), String::new());
    let reached = host.lab().wait_until(LONG, &format!("all are {state}"), || {
        if let Some(status) = daemon.process().ended()? {
            let log = daemon.log().tail(40);
            return Err(Error::Unexpected(format!("it ended, {status}\n{log}")));
        }
        // Until it listens, the question fails.
        let Ok(status) = daemon.status(host) else { return Ok(None) };
        let routers = status["routers"].as_array().expect("routers");
        assert_eq!(routers.len(), ROUTERS);
        // As backup, it must have heard the other: every router begins in that state.
        let right = routers.iter().filter(|router| {
            router["state"] == state && (state != "BACKUP" || !router["master"].is_null())
        });
        let right = right.count();
        let held = held(host)?;
        last = format!("{right} are, with {} addresses", held.len());
        let expected = if state == "MASTER" { held == everything } else { held.is_empty() };
        Ok((right == ROUTERS && expected).then_some(()))
    });
    println!("{state} after {:.1} s: {last}", begin.elapsed().as_secs_f64());
    reached
}

/// What the daemon keeps while it runs: programs on interfaces (on that of the refused address by tc, as it has no native
/// XDP), pinned maps, and the directory of control socket and lock.
fn traces(host: &Host) -> Result<Vec<String>> {
    let links: serde_json::Value =
        serde_json::from_str(&host.ip(&["-json", "link", "show"])?).expect("JSON");
    let links = links.as_array().expect("interfaces").iter();
    let mut traces: Vec<_> = links
        .filter(|link| link["xdp"]["prog"]["id"].is_number())
        .map(|link| link["ifname"].to_string())
        .collect();
    traces.extend(host.ingress_links("lo")?.iter().map(|link| format!("link {link} on lo")));
    let instance = VrrpUser::instance(host);
    let pins = host.lab().bpffs().join("vrrp-user").join(&instance);
    let runtime = PathBuf::from("/run/vrrp-user").join(&instance);
    let paths = [pins, runtime].into_iter().filter(|path| path.exists());
    traces.extend(paths.map(|path| path.display().to_string()));
    Ok(traces)
}

/// Backup of a preferred other, master when that is killed, backup when it is back, gone after SIGTERM.
fn beside(kind: Kind) -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = hosts(&lab)?;
    host.ip(&["link", "set", "lo", "mtu", "60"])?;
    let refused = format!("virtual_ipaddress_excluded {{\n{REFUSED}/32 dev lo\n}}");

    let mut theirs = kind.start(&other, &conf(150, ""))?;
    theirs.wait_state(&other, &format!("R{}", ROUTERS - 1), "MASTER", LONG)?;
    let mut daemon = VrrpUser::start(&host, &conf(100, &refused))?;
    all(&mut daemon, &host, "BACKUP")?;

    theirs.kill()?;
    all(&mut daemon, &host, "MASTER")?;
    let named = |line: &str| line.contains(REFUSED) && line.contains("dev lo");
    lab.wait_until(LONG, "the refused address is named", || {
        Ok(daemon.log().lines().iter().any(|(_, line)| named(line)).then_some(()))
    })?;

    let mut theirs = kind.start(&other, &conf(200, ""))?;
    all(&mut daemon, &host, "BACKUP")?;

    // It leaves as master, with everything to tidy up.
    theirs.kill()?;
    all(&mut daemon, &host, "MASTER")?;
    let kept = traces(&host)?;
    assert_eq!(kept.len(), LINKS + 3, "{kept:?}");
    let status = daemon.stop()?;
    assert!(status.success(), "{status}");
    assert_eq!(held(&host)?, BTreeSet::new());
    assert_eq!(traces(&host)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_thousand_routers_beside_keepalived() -> Result<()> {
    beside(Kind::Keepalived)
}

#[test]
fn a_thousand_routers_beside_their_like() -> Result<()> {
    beside(Kind::VrrpUser)
}
