//! IPv6: addresses that an IPv4 router carries along, and VRRP over IPv6, beside keepalived 2.2.7.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::{Duration, Instant};

use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{Frr, Host, Instance, Lab, Prober, Result, Tcpdump, VrrpUser, WebServer, pause};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(20);
const ROUTER: &str = "VI_1";
const VIP: &str = "2001:db8::100";

/// Two hosts with a web server and a client beside them; all have an address in 2001:db8::/64.
struct Stage {
    lab: Lab,
    hosts: [Host; 2],
    client: Host,
    _servers: [WebServer; 2],
}

impl Stage {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
        let client = lab.host("client", "10.0.0.200/24")?;
        for (host, last) in hosts.iter().chain([&client]).zip(["1", "2", "200"]) {
            let address = format!("2001:db8::{last}/64");
            host.ip(&["address", "add", &address, "dev", "eth0", "nodad"])?;
        }
        let servers = [WebServer::start(&hosts[0])?, WebServer::start(&hosts[1])?];
        Ok(Self { lab, hosts, client, _servers: servers })
    }

    /// Waits until one host alone has all these addresses.
    fn settled(&self, master: usize, addresses: &[&str]) -> Result<()> {
        let what = format!("{} alone has {addresses:?}", self.hosts[master].name());
        self.lab.wait_until(LONG, &what, || {
            for address in addresses {
                for (which, host) in self.hosts.iter().enumerate() {
                    if host.has_address(address)? != (which == master) {
                        return Ok(None);
                    }
                }
            }
            Ok(Some(()))
        })
    }

    /// Waits until the web page comes from this host.
    fn answers(&self, prober: &Prober, host: usize) -> Result<()> {
        let name = self.hosts[host].name();
        let what = format!("{name} answers");
        self.lab
            .wait_until(LONG, &what, || Ok((prober.now().as_deref() == Some(name)).then_some(())))
    }
}

/// The first ten neighbour advertisements as tcpdump shows them, one a line, without the time, sorted.
fn advertisements(stage: &Stage, tcpdump: &Tcpdump, since: Instant) -> Result<Vec<String>> {
    stage.lab.wait_until(LONG, "ten neighbour advertisements", || {
        let lines = tcpdump.log().lines();
        let lines = lines.iter().filter(|(at, _)| *at >= since).map(|(_, line)| line.as_str());
        let lines = lines.filter(|line| line.contains("neighbor advertisement"));
        let lines = lines.filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
        let mut lines: Vec<String> = lines.take(10).collect();
        lines.sort();
        Ok((lines.len() == 10).then_some(lines))
    })
}

fn excluded(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24")
        .with("virtual_ipaddress_excluded {")
        .with("    2001:db8::100")
        .with("    2001:db8::101/64")
        .with("}")
        .to_string()
}

/// What the kernel says of the addresses: scope, flags, lifetimes.
fn described(host: &Host) -> Result<Vec<String>> {
    let text = host.ip(&["-6", "-o", "address", "show", "dev", "eth0"])?;
    let lines = text.lines().filter(|line| line.contains("2001:db8::10"));
    // Ours bear a mark that keepalived's do not.
    let lines = lines.map(|line| line.replace(" proto 112", "").replace(" proto 0x70", ""));
    let mut lines: Vec<String> =
        lines.map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    Ok(lines)
}

/// An IPv4 router takes IPv6 addresses along, adds and announces them as keepalived does, and gives them up to it.
#[test]
fn an_ipv4_router_carries_ipv6_addresses() -> Result<()> {
    let stage = Stage::new()?;
    let tcpdump = Tcpdump::start_with(&stage.client, "icmp6 and dst host ff02::1")?;
    let addresses = ["10.0.0.100", "2001:db8::100", "2001:db8::101"];
    let all = |wanted: bool, which: usize| -> Result<()> {
        for address in addresses {
            assert_eq!(stage.hosts[which].has_address(address)?, wanted, "{address}");
        }
        Ok(())
    };

    let begin = Instant::now();
    let mut theirs = Kind::Keepalived.start(&stage.hosts[1], &excluded(100))?;
    stage.settled(1, &addresses)?;
    let prober = Prober::start(&stage.client, VIP)?;
    stage.answers(&prober, 1)?;
    let as_theirs = described(&stage.hosts[1])?;
    let announced = advertisements(&stage, &tcpdump, begin)?;

    let begin = Instant::now();
    let mut ours = Kind::VrrpUser.start(&stage.hosts[0], &excluded(150))?;
    ours.wait_state(&stage.hosts[0], ROUTER, "MASTER", LONG)?;
    stage.settled(0, &addresses)?;
    stage.answers(&prober, 0)?;
    assert_eq!(described(&stage.hosts[0])?, as_theirs);
    // The same messages from another Ethernet address, first all rounds of one address or all addresses of a round.
    assert_eq!(advertisements(&stage, &tcpdump, begin)?, announced);

    // Killed, they stay with it, the other one takes over; started again, it removes what it left and takes all back.
    ours.kill()?;
    theirs.wait_state(&stage.hosts[1], ROUTER, "MASTER", LONG)?;
    all(true, 1)?;
    stage.answers(&prober, 1)?;
    let mut ours = Kind::VrrpUser.start(&stage.hosts[0], &excluded(150))?;
    ours.wait_state(&stage.hosts[0], ROUTER, "MASTER", LONG)?;
    stage.settled(0, &addresses)?;
    stage.answers(&prober, 0)?;

    // One removed by others: the router resigns and takes it up again.
    let before = Instant::now();
    stage.hosts[0].ip(&["address", "delete", "2001:db8::101/64", "dev", "eth0"])?;
    stage.lab.wait_until(LONG, "the loss is noticed", || {
        let Daemon::VrrpUser(ours) = &ours else { return Ok(None) };
        Ok(ours.log().contains("2001:db8::101 dev eth0 was removed from outside").then_some(()))
    })?;
    ours.wait_state(&stage.hosts[0], ROUTER, "MASTER", LONG)?;
    stage.settled(0, &addresses)?;
    println!("without an answer for {:?} at most", prober.away(before));

    ours.stop()?;
    all(false, 0)?;
    stage.settled(1, &addresses)
}

/// A router with a link-local and a global address, every second.
fn v6(priority: u8) -> Instance {
    let mut instance = Instance::new(51, priority, "fe80::100").v3("1");
    instance.addresses.push("2001:db8::100/64".into());
    instance
}

/// The preferred one of two is master, is replaced when killed, takes the address back, and is replaced when it resigns.
/// A third host is answered at the address all the time.
fn takeover(kinds: [Kind; 2], confs: &[Instance; 2]) -> Result<()> {
    let addresses = ["fe80::100", "2001:db8::100"];
    let stage = Stage::new()?;
    let start = |which: usize| kinds[which].start(&stage.hosts[which], &confs[which].to_string());
    let mut preferred = start(0)?;
    let mut other = start(1)?;
    preferred.wait_state(&stage.hosts[0], ROUTER, "MASTER", LONG)?;
    other.wait_state(&stage.hosts[1], ROUTER, "BACKUP", LONG)?;
    stage.settled(0, &addresses)?;
    let prober = Prober::start(&stage.client, VIP)?;
    stage.answers(&prober, 0)?;

    preferred.kill()?;
    let killed = Instant::now();
    other.wait_state(&stage.hosts[1], ROUTER, "MASTER", LONG)?;
    println!("{} took over after {:?}", kinds[1].name(), killed.elapsed());
    stage.answers(&prober, 1)?;

    let mut preferred = start(0)?;
    preferred.wait_state(&stage.hosts[0], ROUTER, "MASTER", LONG)?;
    other.wait_state(&stage.hosts[1], ROUTER, "BACKUP", LONG)?;
    stage.settled(0, &addresses)?;
    stage.answers(&prober, 0)?;

    let tcpdump = Tcpdump::start_with(&stage.hosts[1], "ip6 proto 112")?;
    let resigned = Instant::now();
    preferred.stop()?;
    other.wait_state(&stage.hosts[1], ROUTER, "MASTER", LONG)?;
    stage.settled(1, &addresses)?;
    stage.answers(&prober, 1)?;
    let text = tcpdump.log().text();
    assert!(text.contains("prio 0,"), "{text}");
    println!("{} was away for {:?}", kinds[0].name(), prober.away(resigned));
    Ok(())
}

const OURS_FIRST: [Kind; 2] = [Kind::VrrpUser, Kind::Keepalived];
const THEIRS_FIRST: [Kind; 2] = [Kind::Keepalived, Kind::VrrpUser];

#[test]
fn ours_is_preferred() -> Result<()> {
    takeover(OURS_FIRST, &[v6(150), v6(100)])
}

#[test]
fn theirs_is_preferred() -> Result<()> {
    takeover(THEIRS_FIRST, &[v6(150), v6(100)])
}

/// By unicast between global addresses, and fast.
fn unicast() -> [Instance; 2] {
    let conf = |own: &str, peer: &str, priority| v6(priority).v3("0.2").unicast(own, &[peer]);
    [conf("2001:db8::1", "2001:db8::2", 150), conf("2001:db8::2", "2001:db8::1", 100)]
}

#[test]
fn ours_is_preferred_by_unicast() -> Result<()> {
    takeover(OURS_FIRST, &unicast())
}

#[test]
fn theirs_is_preferred_by_unicast() -> Result<()> {
    takeover(THEIRS_FIRST, &unicast())
}

/// A master whose first address is not link-local is followed and counted, because keepalived permits that; in strict mode
/// it is not heard (erratum 8300 of RFC 9568).
#[test]
fn the_first_address_is_not_link_local() -> Result<()> {
    let stage = Stage::new()?;
    let [a, b] = &stage.hosts;
    let mut global = v6(150);
    global.addresses.reverse();
    let mut theirs = Kind::Keepalived.start(b, &global.to_string())?;
    theirs.wait_state(b, ROUTER, "MASTER", LONG)?;
    let mut ours = VrrpUser::start(a, &v6(100).to_string())?;
    let counted =
        |ours: &VrrpUser| Ok(ours.status(a)?["counters"]["first_not_link_local"].as_u64().unwrap());
    stage.lab.wait_until(LONG, "it is counted", || Ok((counted(&ours)? > 0).then_some(())))?;
    // Longer than a backup waits that hears nobody.
    pause(Duration::from_secs(5))?;
    assert_eq!(ours.state(a, ROUTER)?, "BACKUP");
    assert_eq!(ours.reason(a, "first_address")?, 0);
    ours.stop()?;

    let strict = v6(100).with("strict_mode on");
    let mut ours = VrrpUser::start(a, &strict.to_string())?;
    ours.wait_state(a, ROUTER, "MASTER", LONG)?;
    assert!(ours.reason(a, "first_address")? >= 2);
    assert_eq!(counted(&ours)?, 0);
    let why = "the first address is not link-local, which this router demands";
    assert!(ours.log().contains(why), "{}", ours.log().text());
    Ok(())
}

/// What `status` says is wrong with the router.
fn problems(daemon: &VrrpUser, host: &Host) -> Result<Vec<String>> {
    let router = daemon.router(host, ROUTER)?;
    let lines = router["problems"].as_array().unwrap().iter();
    Ok(lines.map(|line| line.as_str().unwrap().to_owned()).collect())
}

/// Cut off from each other both are master, and ours says so by the neighbour advertisements of the other one.
#[test]
fn split_brain_is_seen() -> Result<()> {
    let stage = Stage::new()?;
    let [a, b] = &stage.hosts;
    let mut ours = VrrpUser::start(a, &v6(150).to_string())?;
    ours.wait_state(a, ROUTER, "MASTER", LONG)?;
    let mut theirs = Kind::Keepalived.start(b, &v6(100).to_string())?;
    theirs.wait_state(b, ROUTER, "BACKUP", LONG)?;
    stage.lab.wait_until(LONG, "nothing is wrong", || {
        Ok(problems(&ours, a)?.is_empty().then_some(()))
    })?;
    let (bpffs, instance) = (stage.lab.bpffs().display().to_string(), VrrpUser::instance(a));
    let options = ["monitor", "--json", "--bpffs", &bpffs, "--instance", &instance];
    let watching = a.spawn("monitor", &VrrpUser::binary()?.display().to_string(), &options)?;
    stage.lab.block_vrrp(&[])?;
    theirs.wait_state(b, ROUTER, "MASTER", LONG)?;
    let mac = b.mac().map(|byte| format!("{byte:02x}")).join(":");
    for address in ["fe80::100", "2001:db8::100"] {
        let claim = format!("split brain: {mac} also claims {address} on eth0");
        stage.lab.wait_until(LONG, &claim, || {
            let lines = problems(&ours, a)?;
            Ok(lines.iter().any(|line| line.starts_with(&claim)).then_some(()))
        })?;
    }
    assert!(ours.reason(a, "ndisc_conflict")? >= 2);
    let claim = format!("\"address\":\"2001:db8::100\",\"mac\":\"{mac}\"");
    stage.lab.wait_until(LONG, "monitor shows the claim", || {
        Ok(watching.log().contains(&claim).then_some(()))
    })?;
    stage.lab.unblock_vrrp()?;
    theirs.wait_state(b, ROUTER, "BACKUP", LONG)?;
    stage
        .lab
        .wait_until(LONG, "it is over", || Ok(problems(&ours, a)?.is_empty().then_some(())))?;
    Ok(())
}

/// Without IPv6 on the interface the router waits, and `doctor` says what for; then all is fine.
#[test]
fn an_interface_without_ipv6() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let set = |value: &str| {
        let setting = format!("net.ipv6.conf.eth0.disable_ipv6={value}");
        host.namespace().run("sysctl", &["-q", "-w", &setting]).map(drop)
    };
    set("1")?;
    let mut ours = VrrpUser::start(&host, &v6(150).to_string())?;
    ours.wait_state(&host, ROUTER, "FAULT", LONG)?;
    let words = "has no IPv6 link-local address of its own";
    assert!(problems(&ours, &host)?[0].contains(words), "{:?}", problems(&ours, &host)?);
    let conf = host.dir("vrrp-user")?.join("vrrp.conf").display().to_string();
    let said = |check: &str| -> Result<String> {
        let (report, _) = VrrpUser::doctor(&host, &["--config", &conf])?;
        let findings = report["findings"].as_array().unwrap().iter();
        let found = findings.filter(|finding| finding["check"] == check);
        Ok(found.map(|finding| finding["severity"].as_str().unwrap()).collect())
    };
    assert_eq!([said("ipv6 eth0")?, said("link-local eth0")?], ["broken", "broken"]);
    set("0")?;
    ours.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert_eq!([said("ipv6 eth0")?, said("link-local eth0")?], ["fine", "fine"]);
    assert_eq!(said("multicast6 eth0")?, "fine");
    ours.stop().map(drop)
}

/// A backup knows where the master is, of both families, as soon as the neighbour table does.
#[test]
fn the_mac_of_the_master_is_that_of_the_neighbour_table() -> Result<()> {
    let stage = Stage::new()?;
    let [a, b] = &stage.hosts;
    let conf = |priority| {
        let v4 = Instance::new(52, priority, "10.0.0.100/24").name("VI_4");
        format!("{}{v4}", v6(priority))
    };
    let mut master = VrrpUser::start(a, &conf(150))?;
    let mut backup = VrrpUser::start(b, &conf(100))?;
    for (router, mac) in [(ROUTER, "02:00:00:00:66:01"), ("VI_4", "02:00:00:00:44:01")] {
        master.wait_state(a, router, "MASTER", LONG)?;
        backup.wait_state(b, router, "BACKUP", LONG)?;
        let detail = stage.lab.wait_until(LONG, "the master is heard", || {
            let detail = backup.detail(b, router)?;
            Ok(detail["master"].is_object().then_some(detail))
        })?;
        let address = detail["master"]["address"].as_str().unwrap();
        let _ = b.ip(&["neighbour", "del", address, "dev", "eth0"]);
        let entry = ["neighbour", "replace", address, "dev", "eth0", "lladdr", mac];
        b.ip(&entry)?;
        assert_eq!(backup.detail(b, router)?["master_mac"], mac, "{address}");
        b.ip(&["neighbour", "replace", address, "dev", "eth0", "nud", "failed"])?;
        assert!(backup.detail(b, router)?["master_mac"].is_null(), "{address}");
    }
    Ok(())
}

/// FRR's router as backup of ours, and as master when ours is killed.
#[test]
fn frr_over_ipv6() -> Result<()> {
    let stage = Stage::new()?;
    let [a, b] = &stage.hosts;
    let mut conf = v6(150);
    conf.addresses.truncate(1);
    let mut ours = VrrpUser::start(a, &conf.to_string())?;
    ours.wait_state(a, ROUTER, "MASTER", LONG)?;
    let theirs = Frr::start(b, 51, 100, &["fe80::100".parse().unwrap()], 100)?;
    theirs.wait_state(b, 51, "Backup", LONG)?;
    assert_eq!(ours.state(a, ROUTER)?, "MASTER");
    ours.kill()?;
    theirs.wait_state(b, 51, "Master", LONG)?;
    let mut ours = VrrpUser::start(a, &conf.to_string())?;
    ours.wait_state(a, ROUTER, "MASTER", LONG)?;
    theirs.wait_state(b, 51, "Backup", LONG)?;
    let accepted = ours.router_stats(a, ROUTER)?["adverts_received"].as_u64();
    assert!(accepted.is_some_and(|count| count >= 1), "FRR's own were heard: {accepted:?}");
    Ok(())
}

/// A switch that looks at multicast listener reports must know of the group of an address before the address is
/// announced: the kernel tells it only some milliseconds later.
#[test]
fn the_group_of_an_address_is_reported_before_the_address_is_announced() -> Result<()> {
    let stage = Stage::new()?;
    // Reports of the solicited-node group of the address (RFC 3810 section 5.2), and neighbour advertisements.
    let report = "(ip6[40] = 58 and ip6[48] = 143 and ip6[72:4] = 0xff000100)";
    let tcpdump = Tcpdump::start_with(&stage.client, &format!("{report} or ip6[40] = 136"))?;
    let mut ours = VrrpUser::start(&stage.hosts[0], &excluded(100))?;
    ours.wait_state(&stage.hosts[0], ROUTER, "MASTER", LONG)?;
    let announced = |line: &str| line.contains("advertisement, tgt is 2001:db8::100,");
    let lines = stage.lab.wait_until(LONG, "the address is announced", || {
        let lines = tcpdump.log().lines();
        Ok(lines.iter().any(|(_, line)| announced(line)).then_some(lines))
    })?;
    let heard = |of: &dyn Fn(&str) -> bool| lines.iter().position(|(_, line)| of(line));
    let reported = heard(&|line| line.contains("listener report v2"));
    let announced = heard(&announced);
    assert!(reported.is_some() && reported < announced, "{lines:#?}");
    Ok(())
}
