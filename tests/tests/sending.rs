//! What is sent, and what happens when it cannot be.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::time::{Duration, Instant};

use vrrp_tests::{Instance, Lab, Pair, Result, Tcpdump, VrrpUser, pause};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);

/// What a dead peer makes the kernel keep is not at the expense of those that live.
#[test]
fn dead_peers_cost_live_ones_nothing() -> Result<()> {
    /// 60 of them at 20/s: with the usual send buffer its room is gone within a third of a second.
    const ROUTERS: u8 = 60;
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = |source: &str, peers: &[&str], priority| {
        let router = |n: u8| {
            let vip = format!("10.0.1.{n}/32");
            let router = Instance::new(n, priority, &vip).name(&format!("VI_{n}")).v3("0.05");
            router.unicast(source, peers).to_string()
        };
        (1..=ROUTERS).map(router).collect::<String>()
    };
    // Nobody has 10.0.0.3 and 10.0.0.4.
    let peers = ["10.0.0.3", "10.0.0.2", "10.0.0.4"];
    let mut ours = VrrpUser::start(&a, &conf("10.0.0.1", &peers, 200))?;
    ours.wait_state(&a, "VI_60", "MASTER", LONG)?;
    let mut theirs = VrrpUser::start(&b, &conf("10.0.0.2", &["10.0.0.1"], 100))?;
    theirs.wait_state(&b, "VI_60", "BACKUP", LONG)?;
    pause(Duration::from_secs(5))?;
    assert_eq!(ours.status(&a)?["counters"]["send_failed"], 0);
    let stats = theirs.stats(&b)?;
    for router in stats["routers"].as_array().unwrap() {
        assert_eq!(router["became_master"], 0, "{router}");
    }
    Ok(())
}

/// A router whose advertisement does not fit the MTU says so and does nothing else, on one host or on all.
#[test]
fn adverts_longer_than_the_mtu_are_a_fault_and_no_loop() -> Result<()> {
    let lab = Lab::new()?;
    // 20 + 8 + 100 * 4 bytes.
    let conf = |priority| {
        let mut router = Instance::new(51, priority, "10.0.1.1/32").v3("0.1");
        router.addresses = (1..=100).map(|n| format!("10.0.1.{n}/32")).collect();
        router.to_string()
    };
    let Pair { a, b, on_a: mut ours, on_b: mut theirs } = Pair::start(&lab, "VI_1", conf)?;
    b.ip(&["link", "set", "eth0", "mtu", "427"])?;
    theirs.wait_state(&b, "VI_1", "FAULT", LONG)?;
    a.ip(&["link", "set", "eth0", "mtu", "427"])?;
    ours.wait_state(&a, "VI_1", "FAULT", LONG)?;
    lab.wait_until(LONG, "the addresses are gone", || {
        Ok((!a.has_address("10.0.1.100")?).then_some(()))
    })?;
    // Several times the master-down interval.
    pause(Duration::from_secs(2))?;
    for (host, daemon, was_master) in [(&a, &ours, 1), (&b, &theirs, 0)] {
        let router = daemon.router(host, "VI_1")?;
        assert_eq!((&router["state"], &router["cause_name"]), (&"FAULT".into(), &"mtu".into()));
        let problem = router["problems"][0].as_str().unwrap();
        assert!(problem.contains("428 bytes") && problem.contains("MTU of 427"), "{problem}");
        assert_eq!(daemon.router_stats(host, "VI_1")?["became_master"], was_master);
        assert_eq!(daemon.status(host)?["counters"]["send_failed"], 0);
    }
    b.ip(&["link", "set", "eth0", "mtu", "428"])?;
    theirs.wait_state(&b, "VI_1", "MASTER", LONG)?;
    a.ip(&["link", "set", "eth0", "mtu", "1500"])?;
    ours.wait_state(&a, "VI_1", "MASTER", LONG)?;
    Ok(())
}

/// Who can send to nobody because of its own host gives the addresses up, once, and comes back when it can.
#[test]
fn who_cannot_send_is_in_fault_until_it_can() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    b.ip(&["address", "add", "10.0.0.3/24", "dev", "eth0"])?;
    // A filter of IP stops what the second one sends; the third one's is stopped behind those.
    let conf = |priority, ends: [(&str, &str); 2]| {
        let router = |n: u8| {
            let vip = format!("10.0.1.{n}/32");
            Instance::new(n, priority, &vip).name(&format!("VI_{n}")).v3("0.2")
        };
        let unicast = (2..).zip(ends).map(|(n, (source, peer))| router(n).unicast(source, &[peer]));
        unicast.chain([router(1)]).map(|router| router.to_string()).collect::<String>()
    };
    let (one, two, three) = ("10.0.0.1", "10.0.0.2", "10.0.0.3");
    let mut ours = VrrpUser::start(&a, &conf(200, [(one, two), (one, three)]))?;
    let mut theirs = VrrpUser::start(&b, &conf(100, [(two, one), (three, one)]))?;
    let routers = ["VI_1", "VI_2", "VI_3"];
    for name in routers {
        ours.wait_state(&a, name, "MASTER", LONG)?;
        theirs.wait_state(&b, name, "BACKUP", LONG)?;
    }
    // The lower one may have been master before the other had started.
    let mut before = Vec::new();
    for name in routers {
        before.push(theirs.router_stats(&b, name)?["state_changes"].as_u64().unwrap());
    }
    let nft = |command: &str| a.namespace().run("nft", &[command]);
    nft("add table ip f; add chain ip f c { type filter hook output priority 0; }; \
         add rule ip f c ip daddr 10.0.0.2 ip protocol 112 drop")?;
    nft(
        "add table netdev f; add chain netdev f c { type filter hook egress device eth0 priority 0; }; \
         add rule netdev f c ip protocol 112 drop",
    )?;
    for (name, errno) in routers.into_iter().zip(["ENOBUFS", "EPERM", "ENOBUFS"]) {
        ours.wait_state(&a, name, "FAULT", LONG)?;
        theirs.wait_state(&b, name, "MASTER", LONG)?;
        let router = ours.router(&a, name)?;
        assert_eq!(router["cause_name"], "cannot-send");
        let problem = router["problems"][0].as_str().unwrap();
        assert!(problem.contains("cannot send") && problem.contains(errno), "{problem}");
    }
    // It tries meanwhile, and nobody hears it.
    pause(Duration::from_secs(6))?;
    for (name, before) in routers.into_iter().zip(before) {
        assert_eq!(ours.router_stats(&a, name)?["state_changes"], 3, "{name}");
        assert_eq!(theirs.router_stats(&b, name)?["state_changes"], before + 1, "{name}");
    }
    nft("flush ruleset")?;
    for name in routers {
        ours.wait_state(&a, name, "MASTER", LONG)?;
        theirs.wait_state(&b, name, "BACKUP", LONG)?;
        assert_eq!(ours.router_stats(&a, name)?["became_master"], 2, "{name}");
    }
    Ok(())
}

/// What the neighbours were told is not true any more, or has not reached them.
#[test]
fn addresses_are_announced_again_with_another_mac_and_after_the_link_was_down() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let router = Instance::new(51, 100, "10.0.1.1/32").with("dont_track_primary");
    let conf = router.with("garp_master_delay 0").to_string();
    let from = |mac: &str| {
        let filter = format!("arp and ether src {mac} and host 10.0.1.1");
        Tcpdump::start_with(&b, &filter)
    };
    let (before, after) = (from("02:00:00:00:00:01")?, from("02:00:00:00:00:77")?);
    let since = Instant::now();
    let mut daemon = VrrpUser::start(&a, &conf)?;
    let announced = |arp: &Tcpdump, since: Instant| {
        lab.wait_until(LONG, "it is announced five times", || {
            let lines = arp.log().lines();
            let told = lines.iter().filter(|(at, line)| *at >= since && line.contains("who-has"));
            Ok((told.count() >= 5).then_some(()))
        })
    };
    daemon.wait_state(&a, "VI_1", "MASTER", LONG)?;
    announced(&before, since)?;
    let since = Instant::now();
    a.ip(&["link", "set", "eth0", "address", "02:00:00:00:00:77"])?;
    announced(&after, since)?;
    a.ip(&["link", "set", "eth0", "down"])?;
    lab.wait_until(LONG, "an advertisement fails", || {
        Ok((daemon.status(&a)?["counters"]["send_failed"] != 0).then_some(()))
    })?;
    let since = Instant::now();
    a.ip(&["link", "set", "eth0", "up"])?;
    announced(&after, since)?;
    assert_eq!(daemon.router_stats(&a, "VI_1")?["became_master"], 1);
    Ok(())
}

/// What fits is advertised where keepalived does so; a file of our own format is refused.
#[test]
fn more_addresses_than_the_mtu_has_room_for() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    for host in [&a, &b] {
        host.ip(&["link", "set", "eth0", "mtu", "576"])?;
    }
    let mut router = Instance::new(51, 100, "10.0.1.1/32");
    router.addresses = (1..=150).map(|n| format!("10.0.1.{n}/32")).collect();
    let mut ours = VrrpUser::start(&a, &router.to_string())?;
    let adverts = Tcpdump::start(&b)?;
    ours.wait_state(&a, "VI_1", "MASTER", LONG)?;
    lab.wait_until(LONG, "the last address is there", || {
        Ok(a.has_address("10.0.1.150")?.then_some(()))
    })?;
    // (576 - 14 - 20 - 8 - 8) / 4 = 131 addresses in a message of 540 bytes.
    lab.wait_until(LONG, "an advertisement", || {
        Ok(adverts.log().contains("length 540").then_some(()))
    })?;
    assert!(ours.log().contains("the 150 addresses in virtual_ipaddress of VI_1 do not fit"));

    let toml = |addresses: u8| {
        let list: Vec<String> = (1..=addresses).map(|n| format!("\"10.0.2.{n}\"")).collect();
        format!(
            "[[router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 7\naddresses = [{}]\n",
            list.join(", ")
        )
    };
    let mut theirs = VrrpUser::start_with(&b, "vrrp.toml", &toml(100))?;
    theirs.wait_state(&b, "a", "MASTER", LONG)?;
    theirs.rewrite(&toml(150))?;
    let (report, code) = theirs.reload(&b, &[])?;
    assert_eq!(code, Some(1), "{report}");
    let error = report["errors"][0].as_str().unwrap();
    assert!(error.contains("do not fit in an advertisement: the MTU of eth0 is 576"), "{report}");
    assert_eq!(theirs.state(&b, "a")?, "MASTER");
    Ok(())
}
