//! A master whose daemon does not advertise any more, and still has the addresses: what its host lets out beside the new master.
//! All of it is counted at the switch, from when on the new master has announced itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{Frr, Held, Host, Instance, Lab, Result, VrrpUser};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const STEP: Duration = Duration::from_secs(20);
const ROUTER: &str = "VI_1";
const VIPS: [&str; 2] = ["10.0.0.100", "2001:db8::100"];
const VRID: u8 = 51;

/// What the switch counts of the first host, and of what goes to it.
const COUNTERS: [(&str, &str); 5] = [
    ("from4", "iifname to-a ether type ip ip saddr 10.0.0.100"),
    ("from6", "iifname to-a ether type ip6 ip6 saddr 2001:db8::100"),
    ("arps", "iifname to-a ether type arp arp saddr ip 10.0.0.100"),
    ("advert", "iifname to-a ether type ip ip protocol 112"),
    ("reached", "oifname to-a ether type {ip, ip6} meta l4proto {icmp, icmpv6}"),
];

/// Both hosts, and two clients: one that knew the first master, and one that has to ask where the addresses are.
struct Stage {
    lab: Lab,
    hosts: [Host; 2],
    knows: Host,
    asks: Host,
    /// The first master, which does not pre-empt.
    old: VrrpUser,
    old_conf: String,
    new: New,
    /// Where the addresses are when that is master.
    new_macs: [String; 2],
}

/// Who takes over.
enum New {
    Daemon(Daemon),
    Frr(Frr),
}

impl New {
    fn wait_master(&mut self, host: &Host) -> Result<()> {
        match self {
            Self::Daemon(daemon) => daemon.wait_state(host, ROUTER, "MASTER", STEP),
            Self::Frr(frr) => frr.wait_state(host, VRID, "Master", STEP),
        }
    }
}

fn conf(priority: u8, extra: &str) -> String {
    Instance::new(51, priority, "10.0.0.100/24")
        .with("nopreempt")
        .with("virtual_ipaddress_excluded {")
        .with("    2001:db8::100/64")
        .with("}")
        .with(extra)
        .to_string()
}

fn mac(host: &Host) -> String {
    host.mac().map(|byte| format!("{byte:02x}")).join(":")
}

impl Stage {
    fn new(kind: Kind, extra: &str) -> Result<Self> {
        Self::of(kind, &conf(100, extra), &conf(50, ""))
    }

    fn of(kind: Kind, old: &str, new: &str) -> Result<Self> {
        Self::with(old, &[ROUTER], |host| {
            let mut new = kind.start(host, new)?;
            new.wait_state(host, ROUTER, "BACKUP", STEP)?;
            Ok((New::Daemon(new), [mac(host), mac(host)]))
        })
    }

    /// Beside FRR, which knows version 3, and takes both families for routers of their own.
    fn beside_frr() -> Result<Self> {
        let instance =
            |name, address| Instance::new(VRID, 100, address).v3("1").name(name).with("nopreempt");
        let mut six = instance("VI_6", "fe80::100/64");
        six.addresses.push("2001:db8::100/64".into());
        let old = format!("{}{six}", instance(ROUTER, "10.0.0.100/24"));
        Self::with(&old, &[ROUTER, "VI_6"], |host| {
            // Or else the interface below its macvlans, and the other one of these, would answer and ask beside the right one.
            for setting in ["arp_ignore=1", "arp_announce=2"] {
                host.namespace()
                    .run("sysctl", &["-qw", &format!("net.ipv4.conf.all.{setting}")])?;
            }
            let vips = [VIPS[0], "fe80::100", VIPS[1]].map(|vip| vip.parse().unwrap());
            let frr = Frr::start(host, VRID, 50, &vips, 100)?;
            frr.wait_state(host, VRID, "Backup", STEP)?;
            Ok((New::Frr(frr), VIPS.map(|vip| Frr::mac(vip.parse().unwrap(), VRID))))
        })
    }

    fn with(
        old_conf: &str,
        routers: &[&str],
        new: impl FnOnce(&Host) -> Result<(New, [String; 2])>,
    ) -> Result<Self> {
        let lab = Lab::new()?;
        let host = |name, last| {
            let host = lab.host(name, &format!("10.0.0.{last}/24"))?;
            let address = format!("2001:db8::{last}/64");
            host.ip(&["address", "add", &address, "dev", "eth0", "nodad"])?;
            Ok(host)
        };
        let hosts = [host("a", 1)?, host("b", 2)?];
        let (knows, asks) = (host("c", 3)?, host("d", 4)?);
        let mut old = VrrpUser::start(&hosts[0], old_conf)?;
        for router in routers {
            old.wait_state(&hosts[0], router, "MASTER", STEP)?;
        }
        let (new, new_macs) = new(&hosts[1])?;
        let old_conf = old_conf.to_owned();
        let stage = Self { lab, hosts, knows, asks, old, old_conf, new, new_macs };
        for vip in VIPS {
            stage.lab.wait_until(STEP, "the first master answers", || {
                stage.answered(&stage.knows, vip)
            })?;
        }
        Ok(stage)
    }

    /// `Some` if a ping is answered.
    fn answered(&self, client: &Host, vip: &str) -> Result<Option<()>> {
        let mut ping = client.spawn("ping", "ping", &["-c", "1", "-W", "1", vip])?;
        Ok(ping.wait(STEP)?.success().then_some(()))
    }

    /// Waits until the second host is master and has announced both addresses; from then on the switch counts.
    fn succeeded(&mut self) -> Result<()> {
        let Self { lab, hosts, knows, new, new_macs, .. } = self;
        new.wait_master(&hosts[1])?;
        for (vip, mac) in VIPS.iter().zip(new_macs) {
            lab.wait_until(STEP, &format!("{vip} is announced"), || {
                Ok(knows.ip(&["neighbour", "show", vip])?.contains(&*mac).then_some(()))
            })?;
        }
        lab.count_from_now(&COUNTERS)
    }

    /// What has left the first host from its addresses.
    fn left(&self) -> Result<[u64; 3]> {
        Ok([self.lab.counted("from4")?, self.lab.counted("from6")?, self.lab.counted("arps")?])
    }

    /// The client that knew the first master sends to it as before: three packets of each family.
    fn send_to_old(&self) -> Result<()> {
        for vip in VIPS {
            let to = ["neighbour", "replace", vip, "lladdr", &mac(&self.hosts[0])];
            self.knows.ip(&[&to[..], &["dev", "eth0", "nud", "permanent"]].concat())?;
            let args = ["-c", "3", "-i", "0.2", "-W", "1", vip];
            self.knows.spawn("ping", "ping", &args)?.wait(STEP)?;
        }
        assert!(self.lab.counted("reached")? >= 6, "what was sent to it has arrived");
        Ok(())
    }

    /// The client that has to ask hears the new master alone.
    fn asks(&self) -> Result<()> {
        for (vip, mac) in VIPS.iter().zip(&self.new_macs) {
            self.lab
                .wait_until(STEP, "the new master answers", || self.answered(&self.asks, vip))?;
            let known = self.asks.ip(&["neighbour", "show", vip])?;
            assert!(known.contains(mac), "{known}");
        }
        Ok(())
    }
}

/// While the daemon stands still nothing leaves; when it goes on, it gives up, and nobody hears of it.
fn stopped(mut stage: Stage, goes_on: impl FnOnce(&mut VrrpUser) -> Result<()>) -> Result<Stage> {
    stage.succeeded()?;
    stage.send_to_old()?;
    stage.asks()?;
    assert_eq!(stage.left()?, [0; 3]);

    goes_on(&mut stage.old)?;
    stage.old.wait_state(&stage.hosts[0], ROUTER, "BACKUP", STEP)?;
    for vip in VIPS {
        let host = &stage.hosts[0];
        stage.lab.wait_until(
            STEP,
            "it gives up",
            || Ok((!host.has_address(vip)?).then_some(())),
        )?;
    }
    let log = stage.old.log().text();
    assert!(!log.contains("cannot send"), "{log}");
    assert_eq!((stage.left()?, stage.lab.counted("advert")?), ([0; 3], 0));
    assert!(stage.old.reason(&stage.hosts[0], "fenced_to")? >= 6);
    Ok(stage)
}

/// What it had to say when it went on was stopped, and told it how things are.
fn found_out(stage: &Stage) -> Result<()> {
    let log = stage.old.log().text();
    assert!(log.contains("its lease ran out"), "{log}");
    assert!(stage.old.reason(&stage.hosts[0], "fenced_advert")? >= 1);
    Ok(())
}

/// All of it, wherever it is.
fn stopped_by_a_signal(mut stage: Stage) -> Result<()> {
    stage.old.process().signal(Signal::SIGSTOP)?;
    found_out(&stopped(stage, |old| old.process().signal(Signal::SIGCONT))?)
}

#[test]
fn a_daemon_that_is_stopped_beside_vrrp_user() -> Result<()> {
    stopped_by_a_signal(Stage::new(Kind::VrrpUser, "")?)
}

#[test]
fn a_daemon_that_is_stopped_beside_keepalived() -> Result<()> {
    stopped_by_a_signal(Stage::new(Kind::Keepalived, "")?)
}

#[test]
fn a_daemon_that_is_stopped_beside_frr() -> Result<()> {
    stopped_by_a_signal(Stage::beside_frr()?)
}

/// Between the decision to advertise and the system call, which is done when it goes on: nothing of that leaves.
fn held_before_it_sends(kind: Kind) -> Result<()> {
    let mut stage = Stage::new(kind, "")?;
    let held = Held::before(stage.old.process().pid(), libc::SYS_sendmmsg)?;
    let goes_on = |_: &mut VrrpUser| {
        drop(held);
        Ok(())
    };
    found_out(&stopped(stage, goes_on)?)
}

#[test]
fn a_daemon_that_stands_still_before_it_sends_beside_vrrp_user() -> Result<()> {
    held_before_it_sends(Kind::VrrpUser)
}

#[test]
fn a_daemon_that_stands_still_before_it_sends_beside_keepalived() -> Result<()> {
    held_before_it_sends(Kind::Keepalived)
}

/// The thread that takes addresses away stands still: it is a backup that still has them, when somebody else pre-empts.
fn netlink_stands_still(kind: Kind) -> Result<()> {
    let mut stage = Stage::new(kind, "")?;
    let held = Held::thread(stage.old.process().pid(), "netlink")?;
    let New::Daemon(new) = &mut stage.new else { unreachable!("it is one") };
    new.reload(&stage.hosts[1], &conf(150, "").replace("nopreempt", "preempt"))?;
    let goes_on = |_: &mut VrrpUser| {
        drop(held);
        Ok(())
    };
    let log = stopped(stage, goes_on)?.old.log().text();
    assert!(log.contains("MASTER -> BACKUP: gave way: 10.0.0.2 advertises"), "{log}");
    Ok(())
}

#[test]
fn a_netlink_thread_that_stands_still_beside_vrrp_user() -> Result<()> {
    netlink_stands_still(Kind::VrrpUser)
}

#[test]
fn a_netlink_thread_that_stands_still_beside_keepalived() -> Result<()> {
    netlink_stands_still(Kind::Keepalived)
}

/// What the tests above are about.
#[test]
fn without_a_fence_both_answer() -> Result<()> {
    let mut stage = Stage::new(Kind::VrrpUser, "fence off")?;
    stage.old.process().signal(Signal::SIGSTOP)?;
    stage.succeeded()?;
    stage.send_to_old()?;
    let [from4, from6, _] = stage.left()?;
    assert!(from4 >= 3 && from6 >= 3, "{from4} and {from6}");
    stage.old.process().signal(Signal::SIGCONT)
}

/// Nobody else is there: it goes on to answer, and to advertise afterwards.
#[test]
fn a_router_without_a_peer_goes_on_to_answer() -> Result<()> {
    let lab = Lab::new()?;
    let (a, client) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    // An interval of 10 ms: the lease is over at once.
    let conf = Instance::new(51, 100, "10.0.0.100/24").v3("0.01").to_string();
    let mut daemon = VrrpUser::start(&a, &conf)?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    daemon.freeze(Duration::from_secs(1))?;
    daemon.process().signal(Signal::SIGSTOP)?;
    let mut ping = client.spawn("ping", "ping", &["-c", "3", "-i", "0.2", VIPS[0]])?;
    assert!(ping.wait(STEP)?.success());
    daemon.process().signal(Signal::SIGCONT)?;
    assert_eq!(daemon.state(&a, ROUTER)?, "MASTER");
    assert_eq!(daemon.reason(&a, "fenced_to")?, 0);
    Ok(())
}

/// By the lease alone it does not, until it is master anew.
#[test]
fn a_router_whose_lease_is_over_needs_no_claim() -> Result<()> {
    let lab = Lab::new()?;
    let (a, client) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    let conf = Instance::new(51, 100, "10.0.0.100/24").with("fence lease").to_string();
    let mut daemon = VrrpUser::start(&a, &conf)?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let answered = || {
        let mut ping = client.spawn("ping", "ping", &["-c", "1", "-W", "1", VIPS[0]])?;
        Ok::<_, vrrp_tests::Error>(ping.wait(STEP)?.success())
    };
    lab.wait_until(STEP, "it answers", || Ok(answered()?.then_some(())))?;
    daemon.process().signal(Signal::SIGSTOP)?;
    lab.wait_until(STEP, "it answers no more", || Ok((!answered()?).then_some(())))?;
    assert!(!answered()?);
    daemon.process().signal(Signal::SIGCONT)?;
    lab.wait_until(STEP, "it answers again", || Ok(answered()?.then_some(())))?;
    assert_eq!(daemon.router_stats(&a, ROUTER)?["became_master"], 2);
    assert!(daemon.log().contains("its lease ran out"), "{}", daemon.log().text());
    assert!(daemon.reason(&a, "fenced_to")? > 0);
    Ok(())
}

/// The same when the daemon is dead; then another one is master on its host, and nothing of the dead one is in its way.
fn killed(mut stage: Stage) -> Result<()> {
    stage.old.kill()?;
    stage.succeeded()?;
    stage.send_to_old()?;
    stage.asks()?;
    assert_eq!((stage.left()?, stage.lab.counted("advert")?), ([0; 3], 0));
    let host = &stage.hosts[0];
    assert!(stage.old.reason(host, "fenced_to")? >= 6);
    let router = stage.old.router_stats(host, ROUTER)?;
    assert!(router["fenced"] == true && router["fenced_packets"].as_u64() >= Some(3), "{router}");

    // It pre-empts.
    let conf = stage.old_conf.replace("nopreempt", "preempt");
    let mut theirs = Kind::Keepalived.start(host, &conf)?;
    theirs.wait_state(host, ROUTER, "MASTER", STEP)?;
    for vip in VIPS {
        stage.lab.wait_until(STEP, "keepalived answers", || stage.answered(&stage.knows, vip))?;
    }
    assert!(stage.lab.counted("advert")? > 0);
    theirs.stop()
}

#[test]
fn a_daemon_that_is_killed_beside_vrrp_user() -> Result<()> {
    killed(Stage::new(Kind::VrrpUser, "")?)
}

#[test]
fn a_daemon_that_is_killed_beside_keepalived() -> Result<()> {
    killed(Stage::new(Kind::Keepalived, "")?)
}

#[test]
fn a_daemon_that_is_killed_beside_frr() -> Result<()> {
    killed(Stage::beside_frr()?)
}

/// The next daemon listens first, and does not lift the fence meanwhile: what another host has by now goes before the programs
/// of the dead one do.
fn started_again(kind: Kind) -> Result<()> {
    let mut stage = Stage::new(kind, "")?;
    stage.old.kill()?;
    stage.succeeded()?;
    stage.send_to_old()?;
    let Stage { hosts, old, knows, .. } = &mut stage;
    // All the time: the client goes on to send to the host that was master.
    let mut pings = Vec::new();
    for vip in VIPS {
        pings.push(knows.spawn("ping", "ping", &["-c", "60", "-i", "0.02", "-W", "1", vip])?);
    }
    *old = VrrpUser::start(&hosts[0], &conf(100, ""))?;
    old.wait_state(&hosts[0], ROUTER, "BACKUP", STEP)?;
    for ping in &mut pings {
        ping.wait(STEP)?;
    }
    for vip in VIPS {
        assert!(!hosts[0].has_address(vip)?, "{vip}");
    }
    assert_eq!((stage.left()?, stage.lab.counted("advert")?), ([0; 3], 0));
    let log = stage.old.log().text();
    assert!(log.contains("which another host has by now"), "{log}");
    stage.asks()
}

#[test]
fn a_daemon_that_is_started_again_beside_vrrp_user() -> Result<()> {
    started_again(Kind::VrrpUser)
}

#[test]
fn a_daemon_that_is_started_again_beside_keepalived() -> Result<()> {
    started_again(Kind::Keepalived)
}

/// Nobody else has come: what is left goes on to be answered for, until somebody does. The daemon that has found it may stand
/// still then.
#[test]
fn what_a_daemon_finds_is_whose_claims_it() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let client = lab.host("c", "10.0.0.3/24")?;
    let conf = |priority| Instance::new(51, priority, "10.0.0.100/24").v3("5").to_string();
    let mut daemon = VrrpUser::start(&a, &conf(100))?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    daemon.kill()?;
    // It goes on where the first one was, is killed as well, and so is not adopted itself.
    let mut daemon = VrrpUser::start(&a, &conf(100))?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    daemon.kill()?;
    let mut daemon = VrrpUser::start(&a, &conf(100))?;
    daemon.wait_state(&a, ROUTER, "BACKUP", STEP)?;
    let ping = |client: &Host| -> Result<bool> {
        let args = ["-c", "3", "-i", "0.2", "-W", "1", VIPS[0]];
        Ok(client.spawn("ping", "ping", &args)?.wait(STEP)?.success())
    };
    assert!(a.has_address(VIPS[0])? && ping(&client)?);

    daemon.process().signal(Signal::SIGSTOP)?;
    b.ip(&["address", "add", "10.0.0.100/24", "dev", "eth0"])?;
    // It asks for somebody who is not there, and says who it is.
    b.spawn("ping", "ping", &["-c", "1", "-W", "1", "-I", VIPS[0], "10.0.0.99"])?.wait(STEP)?;
    let to =
        ["neighbour", "replace", VIPS[0], "lladdr", &mac(&a), "dev", "eth0", "nud", "permanent"];
    client.ip(&to)?;
    assert!(!ping(&client)?);
    assert!(daemon.reason(&a, "fenced_to")? >= 3);
    daemon.process().signal(Signal::SIGCONT)
}

/// Another interface answers ARP for an address, too, and nothing stops it.
#[test]
fn an_interface_that_answers_beside_is_a_problem() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    a.ip(&["link", "add", "beside", "type", "veth", "peer", "name", "far"])?;
    a.ip(&["link", "set", "far", "up"])?;
    a.ip(&["address", "add", "10.0.0.77/24", "dev", "beside"])?;
    a.ip(&["link", "set", "beside", "up"])?;
    let mut daemon = VrrpUser::start(&a, &conf(100, ""))?;
    daemon.wait_state(&a, ROUTER, "BACKUP", STEP)?;
    let problem = "beside is in the subnet of 10.0.0.100, and would go on to answer ARP";
    let has = |there: bool| {
        lab.wait_until(STEP, "the problem comes or goes", || {
            let problems = daemon.router(&a, ROUTER)?["problems"].to_string();
            Ok((problems.contains(problem) == there).then_some(()))
        })
    };
    has(true)?;
    a.namespace().run("sysctl", &["-qw", "net.ipv4.conf.beside.arp_ignore=1"])?;
    has(false)?;
    assert!(daemon.stop()?.success());
    Ok(())
}

/// What is stopped is seen, and an operator who knows better lifts the fence, of a daemon that lives or is dead.
#[test]
fn an_operator_lifts_a_fence() -> Result<()> {
    let mut stage = Stage::new(Kind::VrrpUser, "")?;
    stage.old.kill()?;
    stage.succeeded()?;
    let host = &stage.hosts[0];
    let (binary, instance) = (VrrpUser::binary()?.display().to_string(), VrrpUser::instance(host));
    let bpffs = stage.lab.bpffs().display().to_string();
    let args = ["monitor", "-i", "eth0", "--instance", &instance, "--bpffs", &bpffs];
    let monitor = host.spawn("monitor", &binary, &args)?;
    stage.lab.wait_until(STEP, "the daemon is known to be dead", || {
        Ok(monitor.log().contains("what its programs still stop is shown").then_some(()))
    })?;
    stage.send_to_old()?;
    assert_eq!(stage.left()?, [0; 3]);
    let refused = [
        "10.0.0.3 > 10.0.0.100: ttl 64 [refused, fenced_to: ",
        "2001:db8::3 > 2001:db8::100: ttl 64 [refused, fenced_to: ",
    ];
    for line in refused {
        stage.lab.wait_until(STEP, line, || Ok(monitor.log().contains(line).then_some(())))?;
    }
    let shown = VrrpUser::fence(host, &[])?;
    assert!(shown.contains("VI_1 (vrid 51 on eth0) is fenced"), "{shown}");
    assert!(VrrpUser::fence(host, &["--clear", "other"]).is_err());
    let cleared = VrrpUser::fence(host, &["--clear", ROUTER])?;
    assert!(cleared.contains("is fenced no more"), "{cleared}");
    assert!(VrrpUser::fence(host, &[])?.contains("no router is fenced"));
    stage.send_to_old()?;
    let [from4, from6, _] = stage.left()?;
    assert!(from4 >= 3 && from6 >= 3, "{from4} and {from6}");
    Ok(())
}

/// What a daemon left that was killed goes without another one, and not beside one that lives.
#[test]
fn cleanup_takes_away_what_is_left() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    a.ip(&["address", "add", "10.0.0.77/24", "dev", "eth0"])?;
    let mut daemon = VrrpUser::start(&a, &conf(100, ""))?;
    daemon.wait_state(&a, ROUTER, "MASTER", STEP)?;
    let (code, text) = VrrpUser::cleanup(&a)?;
    assert!(code == Some(1) && text.contains("is already running"), "{code:?} {text}");
    assert_eq!(daemon.state(&a, ROUTER)?, "MASTER");

    daemon.kill()?;
    assert!(a.has_address(VIPS[0])? && a.has_address(VIPS[1])?);
    let (code, text) = VrrpUser::cleanup(&a)?;
    assert_eq!(code, Some(0), "{text}");
    for line in
        ["10.0.0.100/24 from eth0", "2001:db8::100/64 from eth0", "2 programs from interfaces"]
    {
        assert!(text.contains(line), "{text}");
    }
    for (address, there) in [(VIPS[0], false), (VIPS[1], false), ("10.0.0.77", true)] {
        assert_eq!(a.has_address(address)?, there, "{address}");
    }
    let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&a));
    assert!(!pins.exists());
    let link = a.ip(&["-details", "link", "show", "eth0"])?;
    assert!(!link.contains("prog/xdp"), "{link}");
    let (code, text) = VrrpUser::cleanup(&a)?;
    assert!(code == Some(0) && text.contains("nothing was left"), "{code:?} {text}");
    Ok(())
}

/// For this long the client that knew the first master goes on to send to it, and its host goes on to send from the addresses.
fn goes_on(stage: &Stage, time: Duration) -> Result<()> {
    let host = &stage.hosts[0];
    let count = (time.as_millis() / 200).to_string();
    let mut pings = Vec::new();
    for vip in VIPS {
        let to = ["neighbour", "replace", vip, "lladdr", &mac(host)];
        stage.knows.ip(&[&to[..], &["dev", "eth0", "nud", "permanent"]].concat())?;
        let args = ["-c", &count, "-i", "0.2", "-W", "1", vip];
        pings.push(stage.knows.spawn("ping", "ping", &args)?);
        let client = if vip == VIPS[0] { "10.0.0.4" } else { "2001:db8::4" };
        // What waits for an answer to ARP would leave as soon as the host asks by another address.
        let to = ["neighbour", "replace", client, "lladdr", &mac(&stage.asks)];
        host.ip(&[&to[..], &["dev", "eth0", "nud", "permanent"]].concat())?;
        let args = ["-c", &count, "-i", "0.2", "-W", "1", "-I", vip, client];
        pings.push(host.spawn("ping", "ping", &args)?);
    }
    for ping in &mut pings {
        ping.wait(time + STEP)?;
    }
    Ok(())
}

fn report(name: &str, stage: &Stage) -> Result<()> {
    let ([from4, from6, arps], advert) = (stage.left()?, stage.lab.counted("advert")?);
    let reached = stage.lab.counted("reached")?;
    println!(
        "{name}: {reached} packets reached it; left: {from4} {from6} {arps}, adverts {advert}"
    );
    assert_eq!(([from4, from6, arps], advert), ([0; 3], 0));
    Ok(())
}

type NewStage = fn() -> Result<Stage>;

/// Beside everybody who may take over.
const EVERYBODY: [(&str, NewStage); 3] = [
    ("vrrp-user", || Stage::new(Kind::VrrpUser, "")),
    ("keepalived", || Stage::new(Kind::Keepalived, "")),
    ("FRR", Stage::beside_frr),
];

fn stopped_for(beside: &str, mut stage: Stage, seconds: u64) -> Result<()> {
    stage.old.process().signal(Signal::SIGSTOP)?;
    stage.succeeded()?;
    goes_on(&stage, Duration::from_secs(seconds))?;
    stage.old.process().signal(Signal::SIGCONT)?;
    goes_on(&stage, Duration::from_secs(5))?;
    stage.old.wait_state(&stage.hosts[0], ROUTER, "BACKUP", STEP)?;
    report(&format!("SIGSTOP for {seconds} s beside {beside}"), &stage)
}

#[test]
#[ignore = "five minutes"]
fn a_daemon_that_is_stopped_for_long() -> Result<()> {
    for (beside, stage) in EVERYBODY {
        for seconds in [10, 60] {
            stopped_for(beside, stage()?, seconds)?;
        }
    }
    Ok(())
}

/// Somebody takes over within the second, who need not wait for longer.
#[test]
#[ignore = "it takes a while, and is like those of longer times"]
fn a_daemon_that_is_stopped_for_a_second() -> Result<()> {
    for kind in [Kind::VrrpUser, Kind::Keepalived] {
        let fast = |priority| {
            conf(priority, "")
                .replace("advert_int 1\n    version 2", "advert_int 0.1\n    version 3")
        };
        let stage = Stage::of(kind, &fast(100), &fast(50))?;
        stopped_for(kind.name(), stage, 1)?;
    }
    Ok(())
}

/// By a process of a higher priority on its processor, where the kernel leaves nothing to it. Everything else is on the other
/// one: it must run alone, on two.
#[test]
#[ignore = "it wants the machine for itself for a minute"]
fn a_daemon_that_is_starved() -> Result<()> {
    let everything_else = ["-a", "-p", "-c", "0", &std::process::id().to_string()];
    let lab = Lab::new()?;
    lab.network().run("taskset", &everything_else)?;
    drop(lab);
    for (beside, stage) in EVERYBODY {
        let mut stage = stage()?;
        let daemon = stage.old.process().pid().to_string();
        stage.hosts[0].namespace().run("taskset", &["-a", "-p", "-c", "1", &daemon])?;
        // What ends it is not on that processor, where nothing else of its own priority would run.
        let hog = ["-s", "KILL", "12", "taskset", "-c", "1", "chrt", "-f", "99", "sh", "-c"];
        let hog = [&hog[..], &["while :; do :; done"]].concat();
        let mut hog = stage.hosts[0].spawn("timeout", "timeout", &hog)?;
        stage.succeeded()?;
        goes_on(&stage, Duration::from_secs(6))?;
        hog.wait(STEP)?;
        goes_on(&stage, Duration::from_secs(5))?;
        stage.old.wait_state(&stage.hosts[0], ROUTER, "BACKUP", STEP)?;
        report(&format!("starved beside {beside}"), &stage)?;
    }
    Ok(())
}

/// What tells at the switch that the second host has announced both addresses to everybody.
const ANNOUNCED: [(&str, &str); 2] = [
    ("announced4", "iifname to-b ether type arp arp saddr ip 10.0.0.100"),
    ("announced6", "iifname to-b ether type ip6 ip6 daddr ff02::1 icmpv6 type nd-neighbor-advert"),
];

/// What the first host does not hear it does not know: the new master announces itself while the network is cut, and again when it
/// is whole (`garp_master_refresh`). From then on the dead one's host is fenced. Each family has a router of its own, which nothing
/// of the other one fences.
fn cut_and_healed(kind: Kind) -> Result<()> {
    let conf = |priority: u8| {
        let instance = |name, vip| Instance::new(VRID, priority, vip).v3("1").name(name);
        let mut six = instance("VI_6", "fe80::100/64");
        six.addresses.push("2001:db8::100/64".into());
        let four = instance(ROUTER, "10.0.0.100/24");
        [four, six]
            .map(|it| it.with("nopreempt").with("garp_master_refresh 2").to_string())
            .concat()
    };
    let mut stage = Stage::with(&conf(100), &[ROUTER, "VI_6"], |host| {
        let mut new = kind.start(host, &conf(50))?;
        new.wait_state(host, ROUTER, "BACKUP", STEP)?;
        new.wait_state(host, "VI_6", "BACKUP", STEP)?;
        Ok((New::Daemon(new), [mac(host), mac(host)]))
    })?;
    let cut = "add table bridge cut; add chain bridge cut f { type filter hook forward priority 0; }; \
               add rule bridge cut f iifname \"to-a\" drop; add rule bridge cut f oifname \"to-a\" drop";
    stage.lab.network().run("nft", &[cut])?;
    stage.old.kill()?;
    stage.succeeded()?;
    let [four, six] = [ROUTER, "VI_6"].map(|name| stage.old.router_stats(&stage.hosts[0], name));
    assert_eq!((&four?["fenced"], &six?["fenced"]), (&false.into(), &false.into()));
    // Who asks while the network is cut hears the new master, too; the other one forgets it.
    stage.asks()?;
    for vip in VIPS {
        stage.asks.ip(&["neighbour", "delete", vip, "dev", "eth0"])?;
    }

    stage.lab.network().run("nft", &["delete table bridge cut"])?;
    let healed = Instant::now();
    stage.lab.count_from_now(&ANNOUNCED)?;
    for (counter, _) in ANNOUNCED {
        stage.lab.wait_until(STEP, "the new master announces itself once more", || {
            Ok((stage.lab.counted(counter)? > 0).then_some(()))
        })?;
    }
    println!(
        "beside {}: announced {:?} after the network was whole",
        kind.name(),
        healed.elapsed()
    );
    stage.lab.count_from_now(&COUNTERS)?;
    stage.send_to_old()?;
    stage.asks()?;
    assert_eq!((stage.left()?, stage.lab.counted("advert")?), ([0; 3], 0));
    assert!(stage.old.reason(&stage.hosts[0], "fenced_to")? >= 6);
    Ok(())
}

#[test]
fn a_network_that_was_cut_and_healed_beside_vrrp_user() -> Result<()> {
    cut_and_healed(Kind::VrrpUser)
}

#[test]
fn a_network_that_was_cut_and_healed_beside_keepalived() -> Result<()> {
    cut_and_healed(Kind::Keepalived)
}
