//! A configuration that changes while the routers run, as the network and the other side see it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fmt::Write as _;
use std::slice;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vrrp_tests::{
    Frame, Host, Instance, Keepalived, Lab, Prober, RawSocket, Result, Tcpdump, VrrpUser, pause,
};

/// More than any change takes here: the longest master-down interval is under a second.
const LONG: Duration = Duration::from_secs(20);
/// More than the other side waits before it takes over.
const TAKE_OVER: Duration = Duration::from_millis(1500);
/// Half of the other side's master-down interval, with which an advertisement is missing beyond doubt.
const GAP: Duration = Duration::from_millis(400);

/// A router that advertises five times a second.
fn router(vrid: u8, priority: u8) -> Instance {
    let address = format!("10.0.0.{vrid}/24");
    Instance::new(vrid, priority, &address).name(&format!("VI_{vrid}")).v3("0.2")
}

fn conf(routers: &[Instance]) -> String {
    routers.iter().map(ToString::to_string).collect()
}

/// Two hosts: ours is master of these routers, and keepalived would be if it were silent.
struct Pair {
    lab: Lab,
    ours: Host,
    theirs: Host,
    daemon: VrrpUser,
    keepalived: Keepalived,
    adverts: Tcpdump,
    arp: Tcpdump,
}

impl Pair {
    fn new(routers: &[Instance]) -> Result<Self> {
        Self::with_rivals(routers, routers)
    }

    fn with_rivals(routers: &[Instance], rivals: &[Instance]) -> Result<Self> {
        let lab = Lab::new()?;
        let (ours, theirs) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        let (adverts, arp) = (Tcpdump::start(&theirs)?, Tcpdump::start_with(&theirs, "arp")?);
        let mut daemon = VrrpUser::start(&ours, &conf(routers))?;
        for router in routers {
            daemon.wait_state(&ours, &router.name, "MASTER", LONG)?;
        }
        let lower: Vec<_> =
            rivals.iter().map(|router| Instance { priority: 50, ..router.clone() }).collect();
        let keepalived = Keepalived::start(&theirs, &conf(&lower))?;
        for router in rivals {
            keepalived.wait_state(&theirs, &router.name, "BACKUP", LONG)?;
        }
        Ok(Self { lab, ours, theirs, daemon, keepalived, adverts, arp })
    }

    fn reload(&self, routers: &[Instance]) -> Result<Value> {
        self.daemon.rewrite(&conf(routers))?;
        let (report, code) = self.daemon.reload(&self.ours, &[])?;
        println!("{report:#}");
        assert_eq!((code, &report["applied"]), (Some(0), &json!(true)), "{report}");
        Ok(report)
    }

    /// Nobody has taken over anything, and no advertisement of a router was missing since then.
    fn check_undisturbed(&self, since: Instant, vrid: u8) {
        let name = format!("VI_{vrid}");
        // Empty where it is no rival.
        let theirs = self.keepalived.states(&name);
        assert!(theirs.last().is_none_or(|state| state == "BACKUP"), "{name}: {theirs:?}");
        let adverts = self.adverts.adverts(since);
        let own: Vec<_> = adverts.iter().filter(|advert| advert.vrid == vrid).collect();
        assert!(own.len() >= 4, "{name}: {own:?}");
        for advert in &own {
            assert_eq!(advert.source, "10.0.0.1", "{name}");
            assert_ne!(advert.priority, 0, "{name}");
        }
        let gaps = own.windows(2).map(|two| two[1].at - two[0].at);
        let longest = gaps.max().unwrap();
        assert!(longest < GAP, "{name}: nothing for {longest:?}");
    }

    fn arp_lines(&self, since: Instant, address: &str) -> usize {
        let of = format!("who-has {address} ");
        self.arp
            .log()
            .lines()
            .iter()
            .filter(|(at, line)| *at >= since && line.contains(&of))
            .count()
    }

    fn sent(&self, name: &str) -> Result<u64> {
        Ok(self.daemon.router_stats(&self.ours, name)?["adverts_sent"].as_u64().unwrap())
    }
}

#[test]
fn an_unchanged_file_changes_nothing() -> Result<()> {
    let routers = [router(61, 100), router(62, 100)];
    let mut pair = Pair::new(&routers)?;
    pause(Duration::from_millis(5500))?;
    let sent = pair.sent("VI_61")?;
    let since = Instant::now();
    // By the command, with more comments in the file, and by the signal.
    pair.daemon.rewrite(&format!("# first\n\n{}", conf(&routers)))?;
    let (report, code) = pair.daemon.reload(&pair.ours, &[])?;
    assert_eq!((code, &report["unchanged"]), (Some(0), &json!(2)), "{report}");
    assert_eq!((&report["added"], &report["changed"]), (&json!([]), &json!([])), "{report}");
    pair.daemon.process().signal(Signal::SIGHUP)?;
    pair.lab.wait_until(LONG, "the second reload", || {
        let log = pair.daemon.log().text();
        Ok((log.matches("0 added, 0 removed, 0 changed, 2 unchanged").count() == 2).then_some(()))
    })?;
    pause(TAKE_OVER)?;
    for vrid in [61, 62] {
        pair.check_undisturbed(since, vrid);
        assert_eq!(pair.arp_lines(since, &format!("10.0.0.{vrid}")), 0);
    }
    let status = pair.daemon.router(&pair.ours, "VI_61")?;
    assert!(status["since_s"].as_f64().unwrap() > 5.0, "{status}");
    assert!(pair.sent("VI_61")? > sent);
    let status = pair.daemon.status(&pair.ours)?;
    assert_eq!(status["reload"]["applied"], true, "{status}");
    assert_eq!(status["counters"]["reload_refused"], 0);
    Ok(())
}

#[test]
fn a_bad_file_is_refused_and_everything_goes_on() -> Result<()> {
    let routers = [router(61, 100)];
    let mut pair = Pair::new(&routers)?;
    let since = Instant::now();
    let bad = conf(&[router(61, 120), router(62, 100)]).replace("_id 62", "_id 622");
    pair.daemon.rewrite(&bad)?;
    for (arguments, refused) in [(&["--check"][..], 0), (&[], 1)] {
        let (report, code) = pair.daemon.reload(&pair.ours, arguments)?;
        assert_eq!((code, &report["applied"]), (Some(1), &json!(false)), "{report}");
        let error = report["errors"][0].as_str().unwrap();
        assert!(error.contains("vrrp.conf:15:23"), "{error}");
        assert!(error.contains("not `622`"), "{error}");
        assert_eq!(report["error_causes"], json!(["config-invalid"]), "{report}");
        let status = pair.daemon.status(&pair.ours)?;
        assert_eq!(status["counters"]["reload_refused"], refused, "{status}");
    }
    pair.daemon.process().signal(Signal::SIGHUP)?;
    pair.lab.wait_until(LONG, "the second refusal", || {
        let status = pair.daemon.status(&pair.ours)?;
        Ok((status["counters"]["reload_refused"] == 2).then_some(()))
    })?;
    let status = pair.daemon.status(&pair.ours)?;
    assert_eq!(status["reload"]["applied"], false, "{status}");
    let error = &status["reload"]["errors"][0];
    assert!(error.as_str().unwrap().contains("vrrp.conf:15:23"), "{status}");
    assert_eq!(status["reload"]["error_causes"], json!(["config-invalid"]), "{status}");
    assert!(pair.daemon.log().contains("reload of"), "{}", pair.daemon.log().text());
    pause(TAKE_OVER)?;
    pair.check_undisturbed(since, 61);
    assert_eq!(pair.daemon.router(&pair.ours, "VI_61")?["priority"], 100);
    // And no file at all.
    pair.daemon.rewrite("")?;
    let (report, code) = pair.daemon.reload(&pair.ours, &[])?;
    assert_eq!(code, Some(1), "{report}");
    Ok(())
}

#[test]
fn settings_change_in_place() -> Result<()> {
    let pair = Pair::new(&[router(61, 100), router(62, 100)])?;
    let (since, sent) = (Instant::now(), pair.sent("VI_61")?);
    let renamed = router(61, 150).name("renamed");
    let wanted = [renamed.clone(), router(62, 100)];
    pair.daemon.rewrite(&conf(&wanted))?;
    let (report, _) = pair.daemon.reload(&pair.ours, &["--check"])?;
    let settings = &report["changed"][0]["settings"];
    assert_eq!(*settings, json!(["name VI_61 -> renamed", "priority 100 -> 150"]), "{report}");
    assert_eq!(pair.daemon.router(&pair.ours, "VI_61")?["priority"], 100);
    let report = pair.reload(&wanted)?;
    assert_eq!(report["unchanged"], 1);
    let status = pair.daemon.router(&pair.ours, "renamed")?;
    assert_eq!((&status["state"], &status["priority"]), (&json!("MASTER"), &json!(150)));
    pause(TAKE_OVER)?;
    pair.check_undisturbed(since, 61);
    pair.check_undisturbed(since, 62);
    let last = pair.adverts.adverts(since).into_iter().rfind(|advert| advert.vrid == 61).unwrap();
    assert_eq!(last.priority, 150);
    let stats = pair.daemon.router_stats(&pair.ours, "renamed")?;
    assert!(stats["adverts_sent"].as_u64().unwrap() > sent, "{stats}");
    assert_eq!(stats["became_master"], 1, "{stats}");
    Ok(())
}

#[test]
fn addresses_come_and_go_on_a_master() -> Result<()> {
    // keepalived 2.2 does not heed a master whose addresses are not its own.
    let pair = Pair::with_rivals(&[router(61, 100), router(62, 100)], &[router(62, 50)])?;
    // The second group of gratuitous ARP is over then (`garp_master_delay`).
    pause(Duration::from_millis(5500))?;
    let since = Instant::now();
    let mut more = router(61, 100);
    more.addresses.push("10.0.0.161/24".into());
    more.addresses.push("10.0.0.162/32 label eth0:x".into());
    pair.reload(&[more.clone(), router(62, 100)])?;
    pair.lab.wait_until(LONG, "the new addresses, and word of them", || {
        let there = pair.ours.has_address("10.0.0.161")? && pair.ours.has_address("10.0.0.162")?;
        Ok((there && pair.arp_lines(since, "10.0.0.161") >= 5).then_some(()))
    })?;
    assert_eq!(pair.arp_lines(since, "10.0.0.61"), 0);
    assert_eq!(pair.arp_lines(since, "10.0.0.62"), 0);
    // They are counted, too.
    pair.theirs.namespace().run("ping", &["-c", "2", "-i", "0.2", "-W", "2", "10.0.0.161"])?;
    let vips = pair.daemon.stats(&pair.ours)?["vips"].clone();
    let of = |address: &str| {
        vips.as_array().unwrap().iter().find(|vip| vip["address"] == address).cloned()
    };
    assert!(of("10.0.0.161").unwrap()["rx_packets"].as_u64().unwrap() >= 2, "{vips}");

    // One goes, one has other attributes.
    more.addresses = vec!["10.0.0.61/24".into(), "10.0.0.162/24".into()];
    pair.reload(&[more, router(62, 100)])?;
    pair.lab.wait_until(LONG, "what is left", || {
        let text = pair.ours.ip(&["-4", "address", "show", "dev", "eth0"])?;
        let gone = !text.contains("10.0.0.161/") && !text.contains("10.0.0.162/32");
        Ok((gone && text.contains("10.0.0.162/24")).then_some(()))
    })?;
    let vips = pair.daemon.stats(&pair.ours)?["vips"].to_string();
    assert!(!vips.contains("10.0.0.161"), "{vips}");
    pause(TAKE_OVER)?;
    pair.check_undisturbed(since, 61);
    pair.check_undisturbed(since, 62);
    assert_eq!(pair.arp_lines(since, "10.0.0.61"), 0);
    Ok(())
}

#[test]
fn an_address_moves_from_router_to_router() -> Result<()> {
    let moving = |first: bool, second: bool| {
        let mut routers = [router(61, 100), router(62, 100)];
        for (router, has) in routers.iter_mut().zip([first, second]) {
            if has {
                router.extra.push("virtual_ipaddress_excluded {\n10.0.0.200/24\n}".into());
            }
        }
        routers
    };
    let pair = Pair::new(&moving(true, false))?;
    pair.lab.wait_until(LONG, "the address", || {
        Ok(pair.ours.has_address("10.0.0.200")?.then_some(()))
    })?;
    let events = pair.ours.spawn("ip", "ip", &["monitor", "address"])?;
    pause(Duration::from_millis(300))?;
    // There and back: the router that has it comes first, and last.
    for (first, second) in [(false, true), (true, false)] {
        let report = pair.reload(&moving(first, second))?;
        assert_eq!(report["changed"].as_array().unwrap().len(), 2, "{report}");
        pause(Duration::from_millis(500))?;
        assert!(pair.ours.has_address("10.0.0.200")?);
        let holder = if first { "VI_61" } else { "VI_62" };
        let status = pair.daemon.router(&pair.ours, holder)?;
        assert_eq!((&status["problems"], &status["state"]), (&json!([]), &json!("MASTER")));
        let vips = pair.daemon.stats(&pair.ours)?["vips"].to_string();
        assert!(vips.contains("10.0.0.200"), "{vips}");
    }
    let log = events.log().text();
    assert!(!log.contains("10.0.0.200"), "{log}");
    Ok(())
}

#[test]
fn routers_come_and_go() -> Result<()> {
    let mut pair = Pair::new(&[router(61, 100), router(62, 100), router(63, 100)])?;
    let since = Instant::now();
    // 62 goes, and keepalived gets it at once; 64 is new, and nobody else has it.
    let report = pair.reload(&[router(61, 100), router(63, 100), router(64, 100)])?;
    assert_eq!(report["unchanged"], 2);
    assert_eq!(report["removed"], json!([{"name": "VI_62", "interface": "eth0", "vrid": 62}]));
    assert_eq!(report["added"], json!([{"name": "VI_64", "interface": "eth0", "vrid": 64}]));
    pair.keepalived.wait_state(&pair.theirs, "VI_62", "MASTER", LONG)?;
    let adverts = pair.adverts.adverts(since);
    assert!(adverts.iter().any(|advert| advert.vrid == 62 && advert.priority == 0), "{adverts:?}");
    pair.daemon.wait_state(&pair.ours, "VI_64", "MASTER", LONG)?;
    pair.lab.wait_until(LONG, "the addresses", || {
        let (old, new) = (pair.ours.has_address("10.0.0.62")?, pair.ours.has_address("10.0.0.64")?);
        Ok((!old && new).then_some(()))
    })?;
    let stats = pair.daemon.stats(&pair.ours)?.to_string();
    assert!(!stats.contains("VI_62") && !stats.contains("10.0.0.62"), "{stats}");

    // It comes back while another one is its master, in the place of the one that goes now.
    pair.reload(&[router(61, 100), router(62, 40), router(63, 100)])?;
    pair.daemon.wait_state(&pair.ours, "VI_62", "BACKUP", LONG)?;
    pair.lab.wait_until(LONG, "its master is heard", || {
        let status = pair.daemon.router(&pair.ours, "VI_62")?;
        Ok((status["master"]["address"] == "10.0.0.2").then_some(()))
    })?;
    pause(TAKE_OVER)?;
    let status = pair.daemon.status(&pair.ours)?;
    let names: Vec<_> = status["routers"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["VI_61", "VI_62", "VI_63"]);
    let stats = pair.daemon.router_stats(&pair.ours, "VI_62")?;
    assert_eq!((&stats["adverts_sent"], &stats["state"]), (&json!(0), &json!("BACKUP")));
    assert_eq!(stats["peers"].as_array().unwrap().len(), 1, "{stats}");
    assert!(!pair.ours.has_address("10.0.0.64")?);
    for vrid in [61, 63] {
        pair.check_undisturbed(since, vrid);
    }
    // What was said to those who are gone is not said of those who came.
    let detail = pair.daemon.detail(&pair.ours, "VI_62")?;
    let history = detail["history"].as_array().unwrap();
    assert_eq!(history.len(), 1, "{detail}");
    let status = pair.daemon.stop()?;
    assert!(status.success());
    Ok(())
}

/// The interface of the routers changes, and so does the way in which they advertise.
#[test]
fn interfaces_come_and_go() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    for (name, address) in [("v0", "10.1.0.1/24"), ("v1", "10.2.0.1/24")] {
        let peer = format!("{name}p");
        host.ip(&["link", "add", name, "type", "veth", "peer", "name", &peer])?;
        host.ip(&["address", "add", address, "dev", name])?;
        host.ip(&["link", "set", name, "up"])?;
        host.ip(&["link", "set", &peer, "up"])?;
    }
    let on = |interface: &str, vrid, priority| Instance {
        interface: interface.into(),
        ..router(vrid, priority)
    };
    let programs = || -> Result<Vec<String>> {
        let text = host.ip(&["-o", "link", "show"])?;
        let with = text.lines().filter(|line| line.contains("prog/xdp"));
        Ok(with
            .filter_map(|line| line.split(&[':', '@'][..]).nth(1))
            .map(|n| n.trim().into())
            .collect())
    };
    let mut daemon = VrrpUser::start(&host, &conf(&[on("v0", 61, 100)]))?;
    daemon.wait_state(&host, "VI_61", "MASTER", LONG)?;
    assert_eq!(programs()?, ["v0"]);
    daemon.rewrite(&conf(&[on("v1", 61, 100), on("gone", 62, 100)]))?;
    let (report, code) = daemon.reload(&host, &[])?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(programs()?, ["v1"]);
    daemon.wait_state(&host, "VI_61", "MASTER", LONG)?;
    daemon.wait_state(&host, "VI_62", "FAULT", LONG)?;
    lab.wait_until(LONG, "the address on the other interface", || {
        let on = host.ip(&["-4", "-o", "address", "show", "to", "10.0.0.61"])?;
        Ok((on.contains(" v1 ") && !on.contains(" v0 ")).then_some(()))
    })?;
    let groups = host.ip(&["maddress", "show", "dev", "v0"])?;
    assert!(!groups.contains("224.0.0.18"), "{groups}");
    // Another transport is another router.
    let unicast = on("v1", 61, 100).unicast("10.2.0.1", &["10.2.0.2"]);
    daemon.rewrite(&conf(&[unicast, on("v1", 62, 100)]))?;
    let (report, _) = daemon.reload(&host, &[])?;
    let names = |list: &Value| list.as_array().map(Vec::len);
    assert_eq!(
        (names(&report["added"]), names(&report["removed"])),
        (Some(2), Some(2)),
        "{report}"
    );
    daemon.wait_state(&host, "VI_61", "MASTER", LONG)?;
    assert_eq!(daemon.router(&host, "VI_61")?["transport"], json!(["10.2.0.2"]));
    // Where the metrics are.
    let socket = host.dir("metrics")?.join("metrics.sock");
    let toml = format!(
        "metrics = \"unix:{}\"\nsched = \"other\"\n[[router]]\nname = \"VI_61\"\ninterface = \"v1\"\n\
         vrid = 61\nversion = 3\naddresses = [\"10.0.0.61/24\"]\n",
        socket.display()
    );
    drop(daemon);
    let daemon =
        VrrpUser::start_with(&host, "vrrp.toml", &toml.replacen("metrics", "# metrics", 1))?;
    lab.wait_until(LONG, "the daemon", || Ok(daemon.status(&host).is_ok().then_some(())))?;
    assert!(!socket.exists());
    daemon.rewrite(&toml.replace("\"other\"", "\"fifo:20\""))?;
    let (report, _) = daemon.reload(&host, &[])?;
    assert_eq!(report["settings"].as_array().map(Vec::len), Some(2), "{report}");
    lab.wait_until(LONG, "the metrics", || Ok(socket.exists().then_some(())))
}

/// All routers of an interface, with traffic to one of them.
#[test]
fn many_routers_under_traffic() -> Result<()> {
    let address = |vrid: u8| format!("10.0.1.{vrid}/16");
    let many = |priority: &dyn Fn(u8) -> u8| -> String {
        (1..=255).fold(String::new(), |mut text, vrid| {
            let name = format!("VI_{vrid}");
            let router = Instance::new(vrid, priority(vrid), &address(vrid)).name(&name).v3("0.2");
            let _ = write!(text, "{router}");
            text
        })
    };
    let lab = Lab::new()?;
    let (ours, client) = (lab.host("a", "10.0.0.1/16")?, lab.host("b", "10.0.0.2/16")?);
    // What all of them say is more than is kept.
    let adverts = Tcpdump::start_with(&client, "proto 112 and ip[21] > 240")?;
    let mut daemon = VrrpUser::start(&ours, &many(&|_| 100))?;
    daemon.wait_state(&ours, "VI_255", "MASTER", LONG)?;
    let _web = vrrp_tests::WebServer::start(&ours)?;
    let prober = Prober::start(&client, "10.0.1.9")?;
    lab.wait_until(LONG, "an answer", || Ok(prober.now().map(|_| ())))?;
    let since = Instant::now();
    let odd = |vrid: u8| if vrid % 2 == 1 { 150 } else { 100 };
    for priority in [&odd as &dyn Fn(u8) -> u8, &|_| 100, &odd] {
        daemon.rewrite(&many(priority))?;
        let (report, code) = daemon.reload(&ours, &[])?;
        let changed = report["changed"].as_array().unwrap().len();
        assert_eq!((code, changed), (Some(0), 128), "{report}");
        assert_eq!(report["unchanged"], 127);
    }
    pause(TAKE_OVER)?;
    assert_eq!(prober.away(since), Duration::ZERO);
    let heard = adverts.adverts(since);
    for vrid in 241..=255 {
        let own: Vec<_> = heard.iter().filter(|advert| advert.vrid == vrid).collect();
        assert_eq!(own.last().map(|advert| advert.priority), Some(odd(vrid)), "{vrid}");
        let longest = own.windows(2).map(|two| two[1].at - two[0].at).max().unwrap();
        assert!(longest < GAP, "{vrid}: nothing for {longest:?}");
    }
    let status = daemon.status(&ours)?;
    let masters = status["routers"].as_array().unwrap().iter().filter(|r| r["state"] == "MASTER");
    assert_eq!(masters.count(), 255);
    daemon.stop()?;
    Ok(())
}

/// More than the maps were made for is refused, and `upgrade` to the same program makes larger ones: nobody else notices.
#[test]
fn there_is_an_end_to_what_can_be_added() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    // Its lease is longer than a build for tests takes to start with thousands.
    let first = router(61, 100).v3("3");
    let mut daemon = VrrpUser::start(&host, &conf(slice::from_ref(&first)))?;
    daemon.wait_state(&host, "VI_61", "MASTER", LONG)?;
    let many: String = (0..10)
        .flat_map(|network| (1..=200u8).map(move |vrid| (network, vrid)))
        .fold(conf(slice::from_ref(&first)), |mut text, (network, vrid)| {
            let address = format!("10.{network}.1.{vrid}/32");
            let name = format!("VI_{network}_{vrid}");
            let mut router = Instance::new(vrid, 100, &address).name(&name);
            router.interface = format!("nowhere{network}");
            let _ = write!(text, "{router}");
            text
        });
    daemon.rewrite(&many)?;
    for args in [&["--check"][..], &[]] {
        let (report, code) = daemon.reload(&host, args)?;
        assert_eq!(code, Some(1));
        let error = report["errors"][0].as_str().unwrap();
        assert!(error.contains("2001 virtual routers, where 1025 fit"), "{report}");
        assert!(error.contains("`vrrp-user upgrade` makes larger ones"), "{report}");
    }
    assert_eq!(daemon.router(&host, "VI_61")?["state"], "MASTER");
    let (program, instance) =
        (VrrpUser::binary()?.display().to_string(), VrrpUser::instance(&host));
    host.namespace().run(&program, &["upgrade", "--instance", &instance])?;
    let status = lab.wait_until(LONG, "it answers", || Ok(daemon.status(&host).ok()))?;
    assert_eq!(status["routers"].as_array().unwrap().len(), 2001);
    let router = daemon.router(&host, "VI_61")?;
    assert_eq!((&router["state"], &router["cause_name"]), (&"MASTER".into(), &"adopted".into()));
    Ok(())
}

/// Which unicast peers are heard, and from how far away, changes with the configuration.
#[test]
fn peers_that_are_heard() -> Result<()> {
    let lab = Lab::new()?;
    let (ours, theirs) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let socket = RawSocket::open(&theirs)?;
    let router = |peer: &str| router(51, 100).unicast("10.0.0.1", &[peer]);
    let unchecked = conf(&[router("10.0.0.3")]);
    let mut daemon = VrrpUser::start(&ours, &unchecked)?;
    daemon.wait_state(&ours, "VI_51", "MASTER", LONG)?;
    let frame = Frame::v3([10, 0, 0, 2].into(), 51, 200, 20, &[[10, 0, 0, 51].into()]);
    let frame = Frame { destination: [10, 0, 0, 1].into(), ..frame }.bytes();
    let steps = [
        (unchecked.clone(), "accepted"),
        (conf(&[router("10.0.0.3").with("check_unicast_src")]), "unknown_peer"),
        (conf(&[router("10.0.0.2").with("check_unicast_src")]), "accepted"),
        (conf(&[router("10.0.0.2 max_ttl 254")]), "peer_ttl"),
        (conf(&[router("10.0.0.2 min_ttl 255")]), "accepted"),
        (conf(&[router("10.0.0.3 min_ttl 255")]), "unknown_peer"),
        (unchecked.clone(), "accepted"),
        (conf(&[self::router(52, 100)]), "unknown_vrid"),
        // Nothing is left of what the router with this number was allowed to hear.
        (conf(&[router("10.0.0.3").with("check_unicast_src")]), "unknown_peer"),
    ];
    for (conf, reason) in steps {
        daemon.rewrite(&conf)?;
        let (report, code) = daemon.reload(&ours, &[])?;
        assert_eq!(code, Some(0), "{report}");
        if conf.contains("VI_51") {
            daemon.wait_state(&ours, "VI_51", "MASTER", LONG)?;
        }
        let count = || Ok::<_, vrrp_tests::Error>(daemon.stats(&ours)?["reasons"][reason].as_u64());
        let before = count()?.unwrap_or(0);
        socket.send(&frame)?;
        let what = format!("counted as {reason}: {conf}");
        lab.wait_until(LONG, &what, || Ok((count()? == Some(before + 1)).then_some(())))?;
    }
    Ok(())
}

/// Peers come to one router before another one lets its own go: for a while there are those of both.
#[test]
fn many_peers_move_from_router_to_router() -> Result<()> {
    let lab = Lab::new()?;
    let (ours, theirs) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let socket = RawSocket::open(&theirs)?;
    let sharing = |vrid, count: u32| {
        let others = (0..count).map(|n| format!("10.9.{}.{}", n / 200, n % 200 + 1));
        let peers: Vec<String> = others.chain(["10.0.0.2".to_owned()]).collect();
        let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
        router(vrid, 100).unicast("10.0.0.1", &peers).with("check_unicast_src")
    };
    let mut daemon = VrrpUser::start(&ours, &conf(&[sharing(51, 0), sharing(52, 1000)]))?;
    daemon.wait_state(&ours, "VI_51", "MASTER", LONG)?;
    daemon.rewrite(&conf(&[sharing(51, 1500), sharing(52, 0)]))?;
    let (report, code) = daemon.reload(&ours, &[])?;
    assert_eq!(code, Some(0), "{report}");
    let frame = Frame::v3([10, 0, 0, 2].into(), 51, 200, 20, &[[10, 0, 0, 51].into()]);
    let frame = Frame { destination: [10, 0, 0, 1].into(), ..frame }.bytes();
    socket.send(&frame)?;
    daemon.wait_state(&ours, "VI_51", "BACKUP", LONG)?;
    assert!(!daemon.log().text().contains("is not heard"));
    Ok(())
}
