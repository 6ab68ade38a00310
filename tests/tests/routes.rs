//! Routes, rules and addresses beyond the virtual ones: there when they should be, and gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::{Duration, Instant};

use serde_json::Value;
use vrrp_tests::{Host, Instance, Keepalived, Lab, Result, Tcpdump, VrrpUser, pause};

const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";

/// Options of addresses, and routes and rules of all kinds, in keepalived's grammar.
const ROUTES: &str = "virtual_routes {
    default via 10.0.0.254 table 100
    src 10.0.0.100 to 10.1.0.0/16 via 10.0.0.254 dev eth0
    10.2.0.0/16 via 10.0.0.254 dev eth0 metric 50 mtu 1400 advmss lock 1360
    10.3.0.0/16 dev eth0 scope link table 200 no_track
    10.4.0.0/16 nexthop via 10.0.0.253 dev eth0 weight 2 nexthop via 10.0.0.254 dev eth0
    10.5.0.0/16 via 172.16.0.1 dev eth0 onlink
    blackhole 10.6.0.0/16
    unreachable 10.7.0.0/16 metric 7
    prohibit 10.8.0.0/16
    throw 10.9.0.0/16 table 100
    2001:db8:1::/48 dev eth0 table 100 metric 9
    blackhole 2001:db8:2::/48
}
virtual_rules {
    from 10.0.0.100 table 100 priority 1000
    to 10.1.0.0/16 lookup 100 priority 1001
    fwmark 0x10/0xff iif eth0 table 200 priority 1002 no_track
    from 192.168.0.0/24 blackhole priority 1003
    from 192.168.1.0/24 unreachable priority 1004
    from 10.0.0.0/8 to 10.9.0.0/16 table 4000 suppress_prefixlength 0 priority 1005
    from 192.168.2.0/24 goto 1005 priority 999
    from 2001:db8::/32 table 100 priority 1006
    not from 10.0.0.0/8 ipproto 17 dport 53-54 uidrange 5-9 table 100 priority 1007
}";

/// What is there whoever is master.
const STATIC: &str = "static_ipaddress {
    10.20.0.1/24 dev eth0
    10.20.0.2/24 brd + dev eth0 label eth0:s noprefixroute
}
static_routes {
    10.21.0.0/16 via 10.20.0.254 dev eth0
    blackhole 10.22.0.0/16
}
static_rules {
    from 10.20.0.0/24 table 300 priority 500
}
";

/// Owner of the address: master at once.
fn conf(extra: &str) -> String {
    Instance::new(51, 255, "10.0.0.100/24").with(extra).to_string()
}

fn json(host: &Host, args: &[&str]) -> Result<Vec<Value>> {
    let text = host.ip(&[&["-j"], args].concat())?;
    let text = if text.trim().is_empty() { "[]" } else { &text };
    Ok(serde_json::from_str(text).unwrap())
}

/// Addresses, routes and rules of a host, as iproute2 shows them, without what changes by itself.
fn configuration(host: &Host) -> Result<Vec<String>> {
    /// `INFINITY_LIFE_TIME` of net/addrconf.h.
    const FOREVER: u64 = 0xffff_ffff;
    let mut all = Vec::new();
    for mut link in json(host, &["address", "show", "dev", "eth0"])? {
        for mut address in link["addr_info"].as_array_mut().unwrap().drain(..) {
            // Ours bear the protocol number of VRRP.
            let fields = address.as_object_mut().unwrap();
            fields.remove("protocol");
            // It is counted down, and the two are not looked at in the same second of it.
            if let Some(left) = fields.get_mut("preferred_life_time")
                && let Some(seconds @ 1..FOREVER) = left.as_u64()
            {
                *left = (seconds.next_multiple_of(60)).into();
            }
            all.push(format!("address {address}"));
        }
    }
    for family in ["-4", "-6"] {
        let routes = json(host, &[family, "route", "show", "table", "all"])?;
        all.extend(routes.iter().map(|route| format!("route {route}")));
        let rules = json(host, &[family, "rule", "show"])?;
        all.extend(rules.iter().map(|rule| format!("{family} rule {rule}")));
    }
    // Neither the kernel nor anybody else promises an order among them.
    all.sort();
    Ok(all)
}

/// As [`configuration`], when detection of duplicate addresses is over.
fn settled(host: &Host) -> Result<Vec<String>> {
    host.lab().wait_until(LONG, "addresses have settled", || {
        let now = configuration(host)?;
        Ok((!now.iter().any(|line| line.contains("tentative"))).then_some(now))
    })
}

/// Those with the mark of a VRRP daemon.
fn marked(host: &Host) -> Result<Vec<String>> {
    let ours = |line: &String| line.contains(r#""protocol":"keepalived""#);
    Ok(configuration(host)?.into_iter().filter(ours).collect())
}

fn has_route(host: &Host, route: &str) -> Result<bool> {
    Ok(!host.ip(&["route", "show", "exact", route])?.trim().is_empty())
}

fn wait_route(host: &Host, route: &str, there: bool) -> Result<()> {
    let what = format!("{route} is {}", if there { "there" } else { "gone" });
    host.lab().wait_until(LONG, &what, || Ok((has_route(host, route)? == there).then_some(())))
}

fn counter(daemon: &VrrpUser, host: &Host, name: &str) -> Result<u64> {
    Ok(daemon.status(host)?["counters"][name].as_u64().unwrap())
}

/// `status NAME --json`.
fn detail(host: &Host) -> Result<Value> {
    let instance = VrrpUser::instance(host);
    let binary = VrrpUser::binary()?.display().to_string();
    let text =
        host.namespace().run(&binary, &["status", ROUTER, "--json", "--instance", &instance])?;
    Ok(serde_json::from_str(&text).unwrap())
}

/// Waits until everything that the configuration names is there, by the daemon's own account.
fn wait_complete(host: &Host) -> Result<Value> {
    host.lab().wait_until(LONG, "all routes and rules are there", || {
        let detail = detail(host)?;
        let objects = detail["objects"].as_array().unwrap();
        let complete =
            !objects.is_empty() && objects.iter().all(|extra| extra["installed"] == true);
        Ok(complete.then_some(detail))
    })
}

#[test]
fn there_while_master_and_gone_afterwards() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let before = settled(&host)?;
    let text = format!("{STATIC}{}", conf(ROUTES));
    let mut daemon = VrrpUser::start(&host, &text)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let detail = wait_complete(&host)?;
    let objects = detail["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 12 + 9, "{objects:#?}");
    assert_eq!(objects[0]["what"], "default via 10.0.0.254 table 100");
    assert_eq!(detail["problems"], serde_json::json!([]));
    let status = daemon.status(&host)?;
    let always = status["always"].as_array().unwrap();
    assert!(always.len() == 5 && always.iter().all(|it| it["installed"] == true), "{always:#?}");
    // 12 routes and 9 rules, and 2 routes and a rule that are always there.
    assert_eq!(marked(&host)?.len(), 24, "{:#?}", marked(&host)?);

    // A killed one leaves everything; with another master about, the next one takes it away.
    daemon.kill()?;
    assert_eq!(marked(&host)?.len(), 24);
    let theirs = Keepalived::start(&other, &Instance::new(51, 254, "10.0.0.100/24").to_string())?;
    theirs.wait_state(&other, ROUTER, "MASTER", LONG)?;
    let backup = Instance::new(51, 100, "10.0.0.100/24").with(ROUTES).to_string();
    let mut daemon = VrrpUser::start(&host, &format!("{STATIC}{backup}"))?;
    daemon.wait_state(&host, ROUTER, "BACKUP", LONG)?;
    lab.wait_until(LONG, "only what is always there is left", || {
        Ok((marked(&host)?.len() == 3).then_some(()))
    })?;
    assert!(!host.has_address(VIP)? && host.has_address("10.20.0.1")?);
    assert!(daemon.stop()?.success());
    assert_eq!(configuration(&host)?, before);
    Ok(())
}

/// Without another daemon, and not beside a keepalived, which has the same mark.
#[test]
fn cleanup_takes_away_what_a_killed_daemon_left() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    host.ip(&["route", "add", "10.66.0.0/16", "via", "10.0.0.254"])?;
    let before = settled(&host)?;
    let mut daemon = VrrpUser::start(&host, &conf(ROUTES))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    wait_complete(&host)?;
    daemon.kill()?;
    assert_eq!(marked(&host)?.len(), 21);
    let mut theirs = Keepalived::start(&host, &Instance::new(52, 1, "10.0.0.200/24").to_string())?;
    let (code, text) = VrrpUser::cleanup(&host)?;
    assert!(code == Some(1) && text.contains("that of keepalived, which runs"), "{text}");
    // One has gone with its address.
    assert_eq!(marked(&host)?.len(), 20);
    theirs.stop()?;
    let (code, text) = VrrpUser::cleanup(&host)?;
    assert_eq!(code, Some(0), "{text}");
    for line in ["removed route 10.2.0.0/16 (table 254)", "removed rule 1000 (table 100)"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(configuration(&host)?, before);
    Ok(())
}

/// The same file in keepalived and here, in turns: the same addresses, routes and rules.
#[test]
fn as_keepalived_does() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let options = "virtual_ipaddress_excluded {
        10.0.0.101/24 brd + label eth0:x
        10.0.0.102/24 scope link noprefixroute
        10.0.0.103 peer 10.0.0.203 home
        2001:db8::100/64
        2001:db8::101
        2001:db8::102/128 preferred_lft forever -nodad
        2001:db8::103/64 preferred_lft 3600 home mngtmpaddr
    }";
    // keepalived 2.2.7 skips the word behind inet6, and does not know a single port.
    let text = format!("{STATIC}{}", conf(&format!("{ROUTES}\n{options}")));
    let complete = || {
        lab.wait_until(LONG, "the last rule is there", || {
            let now = settled(&host)?;
            Ok(now.iter().any(|line| line.contains("uid_start")).then_some(now))
        })
    };
    let before = settled(&host)?;
    let mut theirs = Keepalived::start(&host, &text)?;
    theirs.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let wanted = complete()?;
    theirs.stop()?;
    // keepalived 2.2.7 does not find an address with a peer when it removes it.
    host.ip(&["address", "delete", "10.0.0.103", "peer", "10.0.0.203/32", "dev", "eth0"])?;
    lab.wait_until(LONG, "keepalived has left", || {
        Ok((configuration(&host)? == before).then_some(()))
    })?;
    let mut ours = VrrpUser::start(&host, &text)?;
    ours.wait_state(&host, ROUTER, "MASTER", LONG)?;
    wait_complete(&host)?;
    // A rule that is not tracked has no mark in keepalived.
    let unmarked = |line: String| {
        let (before, after) = line.split_once(r#","protocol":"keepalived""#).unwrap_or((&line, ""));
        if line.contains(r#""priority":1002"#) { format!("{before}{after}") } else { line }
    };
    let found: Vec<String> = complete()?.into_iter().map(unmarked).collect();
    assert_eq!(found, wanted);
    ours.stop()?;
    assert_eq!(configuration(&host)?, before);
    Ok(())
}

#[test]
fn a_refused_route_does_not_hold_up_the_others() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let routes = "virtual_routes {\n 10.1.0.0/16 via 10.0.0.254\n 10.2.0.0/16 via 192.168.9.9\n \
                  10.3.0.0/16 via 10.0.0.254 dev later no_track\n 10.4.0.0/16 via 10.0.0.254\n}";
    let mut daemon = VrrpUser::start(&host, &conf(routes))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    wait_route(&host, "10.4.0.0/16", true)?;
    assert!(has_route(&host, "10.1.0.0/16")?);
    pause(Duration::from_secs(1))?;
    let problems = daemon.router(&host, ROUTER)?["problems"].to_string();
    assert!(
        problems.contains("has not got route 10.2.0.0/16 via 192.168.9.9 (Network is unreachable"),
        "{problems}"
    );
    assert!(problems.contains("10.3.0.0/16 via 10.0.0.254 dev later"), "{problems}");
    assert!(problems.contains("interface later does not exist"), "{problems}");
    assert!(counter(&daemon, &host, "route_add_failed")? >= 2);
    assert!(daemon.log().text().contains("cannot add route 10.2.0.0/16 via 192.168.9.9"));
    // What was in the way goes away.
    host.ip(&["address", "add", "192.168.9.1/24", "dev", "eth0"])?;
    wait_route(&host, "10.2.0.0/16", true)?;
    host.ip(&["link", "add", "later", "type", "veth", "peer", "name", "end"])?;
    host.ip(&["link", "set", "end", "up"])?;
    host.ip(&["address", "add", "10.0.0.77/24", "dev", "later"])?;
    host.ip(&["link", "set", "later", "up"])?;
    wait_route(&host, "10.3.0.0/16", true)?;
    wait_complete(&host)?;
    // The kernel drops it with the link, and says nothing.
    host.ip(&["link", "set", "later", "down"])?;
    wait_route(&host, "10.3.0.0/16", false)?;
    host.ip(&["link", "set", "later", "up"])?;
    wait_route(&host, "10.3.0.0/16", true)
}

/// As in keepalived: the interface of an address, route or rule is one that the router depends on.
#[test]
fn without_the_interface_of_a_route_it_is_in_fault() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let routes = "virtual_routes {\n 10.1.0.0/16 dev later\n}";
    let mut daemon = VrrpUser::start(&host, &conf(routes))?;
    daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
    host.ip(&["link", "add", "later", "type", "veth", "peer", "name", "end"])?;
    host.ip(&["link", "set", "end", "up"])?;
    host.ip(&["link", "set", "later", "up"])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    wait_route(&host, "10.1.0.0/16", true)?;
    host.ip(&["link", "set", "later", "down"])?;
    daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
    host.ip(&["link", "set", "later", "up"])?;
    wait_route(&host, "10.1.0.0/16", true)
}

/// What a new configuration does not change is not touched.
#[test]
fn a_reload_touches_what_differs() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let text = |second: &str, fixed: &str| {
        let routes =
            format!("virtual_routes {{\n 10.1.0.0/16 via 10.0.0.254\n {second} via 10.0.0.254\n}}");
        format!("static_routes {{\n blackhole {fixed}\n}}\n{}", conf(&routes))
    };
    let mut daemon = VrrpUser::start(&host, &text("10.2.0.0/16", "10.21.0.0/16"))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    wait_complete(&host)?;
    let monitor = host.spawn("ip monitor", "ip", &["monitor", "route"])?;
    pause(Duration::from_millis(300))?;
    let path = host.dir("vrrp-user")?.join("vrrp.conf");
    std::fs::write(&path, text("10.3.0.0/16", "10.22.0.0/16")).unwrap();
    let (reloaded, code) = daemon.reload(&host, &[])?;
    assert_eq!(code, Some(0), "{reloaded}");
    let settings = &reloaded["changed"][0]["settings"];
    assert_eq!(*settings, serde_json::json!(["routes and rules"]), "{reloaded}");
    for (route, there) in [
        ("10.3.0.0/16", true),
        ("10.2.0.0/16", false),
        ("10.22.0.0/16", true),
        ("10.21.0.0/16", false),
    ] {
        wait_route(&host, route, there)?;
    }
    assert!(has_route(&host, "10.1.0.0/16")?);
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    lab.wait_until(LONG, "the monitor has seen it", || {
        Ok(monitor.log().contains("10.3.0.0/16").then_some(()))
    })?;
    assert!(!monitor.log().contains("10.1.0.0/16"), "{}", monitor.log().text());
    Ok(())
}

#[test]
fn who_loses_a_route_yields() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let routes = "virtual_routes {\n 10.1.0.0/16 via 10.0.0.254\n 10.2.0.0/16 via 10.0.0.254 no_track\n}\n\
                  virtual_rules {\n from 10.0.0.100 table 100 priority 1000\n}";
    let tcpdump = Tcpdump::start(&other)?;
    let mut daemon = VrrpUser::start(&host, &conf(routes))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    wait_complete(&host)?;
    // Nobody minds this one, and it does not come back.
    host.ip(&["route", "delete", "10.2.0.0/16"])?;
    pause(Duration::from_millis(500))?;
    let removed = Instant::now();
    host.ip(&["route", "delete", "10.1.0.0/16"])?;
    wait_complete(&host)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let adverts = tcpdump.adverts(removed);
    assert!(adverts.iter().any(|advert| advert.priority == 0), "{adverts:?}");
    let history = detail(&host)?["history"].to_string();
    assert!(history.contains("route-lost"), "{history}");
    assert_eq!(counter(&daemon, &host, "route_lost")?, 1);
    host.ip(&["rule", "delete", "priority", "1000"])?;
    lab.wait_until(LONG, "the rule was missed", || {
        Ok(detail(&host)?["history"].to_string().contains("rule-lost").then_some(()))
    })?;
    wait_complete(&host)?;
    Ok(())
}

#[test]
fn what_others_remove_is_put_back() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let extra =
        "restore_addresses\nvirtual_routes {\n src 10.0.0.100 to 10.1.0.0/16 via 10.0.0.254\n}";
    let tcpdump = Tcpdump::start(&other)?;
    let arp = Tcpdump::start_with(&other, "arp")?;
    let mut daemon = VrrpUser::start(&host, &format!("{STATIC}{}", conf(extra)))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    wait_complete(&host)?;
    // The first announcements are over.
    pause(Duration::from_millis(300))?;
    let removed = Instant::now();
    host.ip(&["address", "delete", "10.0.0.100/24", "dev", "eth0"])?;
    lab.wait_until(LONG, "the address is back", || Ok(host.has_address(VIP)?.then_some(())))?;
    // The kernel dropped it with the address.
    wait_route(&host, "10.1.0.0/16", true)?;
    host.ip(&["route", "delete", "10.1.0.0/16"])?;
    wait_route(&host, "10.1.0.0/16", true)?;
    host.ip(&["route", "delete", "blackhole", "10.22.0.0/16"])?;
    wait_route(&host, "10.22.0.0/16", true)?;
    host.ip(&["address", "delete", "10.20.0.1/24", "dev", "eth0"])?;
    lab.wait_until(LONG, "the static address is back", || {
        Ok(host.has_address("10.20.0.1")?.then_some(()))
    })?;
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    let detail = detail(&host)?;
    assert_eq!(detail["on_address_lost"], "restore");
    // Address and route; some kernels report the route that went with the address, too.
    let removals = detail["removed_by_others"].as_u64().unwrap();
    assert!((2..=3).contains(&removals), "{removals}");
    let adverts = tcpdump.adverts(removed);
    assert!(adverts.iter().all(|advert| advert.priority == 255), "{adverts:?}");
    let announced = || {
        let lines = arp.log().lines();
        let gratuitous = format!("tell {VIP},");
        lines.iter().filter(|(at, line)| *at > removed && line.contains(&gratuitous)).count()
    };
    lab.wait_until(LONG, "five gratuitous ARP", || Ok((announced() >= 5).then_some(())))?;

    // Who takes it away again and again is named, and not answered at once any more.
    for _ in 0..8 {
        // It may not be there at the moment.
        let _ = host.ip(&["address", "delete", "10.0.0.100/24", "dev", "eth0"]);
        pause(Duration::from_millis(150))?;
    }
    let problems = daemon.router(&host, ROUTER)?["problems"].to_string();
    assert!(problems.contains("another program keeps removing what belongs here"), "{problems}");
    assert!(counter(&daemon, &host, "restore_limited")? >= 1);
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    lab.wait_until(LONG, "it is put back in the end", || Ok(host.has_address(VIP)?.then_some(())))?;
    Ok(())
}

#[test]
fn addresses_of_a_subnet_stay_together() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let setting = || {
        let path = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
        host.namespace().run("cat", &[path]).map(|text| text.trim().to_owned())
    };
    assert_eq!(setting()?, "0");
    let mut daemon = VrrpUser::start(&host, &conf("promote_secondaries"))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the setting", || Ok((setting()? == "1").then_some(())))?;
    assert!(daemon.stop()?.success());
    assert_eq!(setting()?, "0");

    // What it was is known to those who come after one that was killed, whether or not they have a use for it.
    let kill = |daemon: &mut VrrpUser| -> Result<()> {
        lab.wait_until(LONG, "the setting", || Ok((setting()? == "1").then_some(())))?;
        daemon.kill()
    };
    let mut daemon = VrrpUser::start(&host, &conf("promote_secondaries"))?;
    kill(&mut daemon)?;
    let (code, text) = VrrpUser::cleanup(&host)?;
    assert!(text.contains("removed promote_secondaries of eth0"), "{text}");
    assert_eq!((code, &*setting()?), (Some(0), "0"));
    let (_, text) = VrrpUser::cleanup(&host)?;
    assert!(text.contains("nothing was left"), "{text}");
    for next in ["promote_secondaries", ""] {
        let mut daemon = VrrpUser::start(&host, &conf("promote_secondaries"))?;
        kill(&mut daemon)?;
        let mut daemon = VrrpUser::start(&host, &conf(next))?;
        daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
        assert_eq!(setting()?, "1");
        assert!(daemon.stop()?.success());
        assert_eq!(setting()?, "0", "{next}");
    }

    // Who had it on before keeps it.
    host.namespace().run("sysctl", &["-qw", "net.ipv4.conf.eth0.promote_secondaries=1"])?;
    let mut daemon = VrrpUser::start(&host, &conf("promote_secondaries"))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    daemon.kill()?;
    VrrpUser::cleanup(&host)?;
    assert_eq!(setting()?, "1");
    Ok(())
}

/// Many routers in one subnet: who leaves is no affair of the others, whether or not the kernel takes their addresses away.
#[test]
fn a_router_that_leaves_takes_no_other_with_it() -> Result<()> {
    for promote in ["", "promote_secondaries = false"] {
        let lab = Lab::new()?;
        let host = lab.host("a", "10.0.0.1/24")?;
        let router = |n: u8| {
            format!(
                "[[router]]\nname = \"R{n}\"\ninterface = \"eth0\"\nvrid = {n}\nversion = 3\n\
                 priority = 255\naddresses = [\"10.9.0.{n}/24\"]\n{promote}\n"
            )
        };
        let conf: String = (1..=40).map(router).collect();
        let mut daemon = VrrpUser::start_with(&host, "v.toml", &conf)?;
        let there = || {
            let all = host.addresses()?;
            let ours = all.iter().filter(|address| address.starts_with("10.9.0."));
            Ok(ours.count())
        };
        lab.wait_until(LONG, "all addresses", || Ok((there()? == 40).then_some(())))?;
        let told = host.ip(&["-4", "address", "show", "dev", "eth0", "primary"])?;
        let first = (1..=40).find(|n| told.contains(&format!("10.9.0.{n}/"))).unwrap();
        let (binary, instance) = (VrrpUser::binary()?, VrrpUser::instance(&host));
        let binary = binary.display().to_string();
        let order = ["step-down", &format!("R{first}"), "--instance", &instance];
        host.namespace().run(&binary, &order)?;
        daemon.wait_state(&host, &format!("R{first}"), "FAULT", LONG)?;
        lab.wait_until(LONG, "the others", || Ok((there()? == 39).then_some(())))?;
        // What would be believed to be somebody else's doing is known by now.
        pause(Duration::from_millis(500))?;
        assert_eq!(counter(&daemon, &host, "address_lost")?, 0, "{promote}");
        for n in (1..=40).filter(|n| *n != first) {
            let stats = daemon.router_stats(&host, &format!("R{n}"))?;
            assert_eq!(stats["state_changes"], 1, "{promote}: R{n}");
        }
        assert!(daemon.stop()?.success());
    }
    Ok(())
}
