//! Routers without accept mode (RFC 9568 section 6.1): what reaches their host, and what goes through it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{Error, Host, Instance, Lab, Result, VrrpUser, WebServer, fetch};

const STEP: Duration = Duration::from_secs(20);
const VIPS: [&str; 2] = ["10.0.0.100", "2001:db8::100"];
const OWN: [&str; 2] = ["10.0.0.1", "2001:db8::1"];
/// Behind the host.
const FAR: [&str; 2] = ["10.1.0.2", "2001:db8:1::2"];
const ROUTERS: [&str; 2] = ["VI_4", "VI_6"];
const RIGHTS: [&str; 2] = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf"];

/// A router over each family.
fn conf(priority: u8, extra: &str) -> String {
    let v4 = Instance::new(51, priority, "10.0.0.100/24").v3("0.3").name(ROUTERS[0]).with(extra);
    let v6 = Instance::new(52, priority, "fe80::100/64").v3("0.3").name(ROUTERS[1]).with(extra);
    let v6 = Instance { addresses: vec!["fe80::100/64".into(), "2001:db8::100/64".into()], ..v6 };
    format!("{v4}\n{v6}")
}

/// A client, a host that routes, and a server behind it.
struct Stage {
    lab: Lab,
    router: Host,
    client: Host,
    server: Host,
    _web: [WebServer; 2],
}

impl Stage {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let host = |name, last| {
            let host = lab.host(name, &format!("10.0.0.{last}/24"))?;
            let address = format!("2001:db8::{last}/64");
            host.ip(&["address", "add", &address, "dev", "eth0", "nodad"])?;
            Ok::<_, Error>(host)
        };
        let (router, client) = (host("a", 1)?, host("c", 3)?);
        let server = lab.host("s", "10.1.0.2/24")?;
        // On the same wire, in networks of their own.
        let add = |host: &Host, address: &str| {
            host.ip(&["address", "add", address, "dev", "eth0", "nodad"])
        };
        add(&server, "2001:db8:1::2/64")?;
        router.ip(&["address", "add", "10.1.0.1/24", "dev", "eth0"])?;
        add(&router, "2001:db8:1::1/64")?;
        for (host, far) in [
            (&client, ["10.1.0.0/24", "2001:db8:1::/64"]),
            (&server, ["10.0.0.0/24", "2001:db8::/64"]),
        ] {
            let via = if host.name() == "c" { VIPS } else { ["10.1.0.1", "2001:db8:1::1"] };
            for (far, via) in far.iter().zip(via) {
                host.ip(&["route", "add", far, "via", via])?;
            }
        }
        let sysctl = |name: &str| router.namespace().run("sysctl", &["-q", "-w", name]);
        for name in [
            "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0",
        ] {
            sysctl(name)?;
        }
        let web = [WebServer::start(&router)?, WebServer::start(&server)?];
        Ok(Self { lab, router, client, server, _web: web })
    }

    fn masters(&self, daemon: &mut VrrpUser) -> Result<()> {
        for router in ROUTERS {
            daemon.wait_state(&self.router, router, "MASTER", STEP)?;
        }
        Ok(())
    }

    /// How many of two pings of the client are answered.
    fn pings(&self, address: &str) -> Result<u32> {
        let args = ["-n", "-c", "2", "-i", "0.2", "-W", "1", address];
        let output = self.client.namespace().command("ping").args(args).output();
        let text = output.map_err(Error::io("ping"))?.stdout;
        let text = String::from_utf8_lossy(&text);
        let received = text.split(", ").find_map(|part| part.strip_suffix(" received"));
        Ok(received.unwrap().parse().unwrap())
    }

    /// Whether packets to the addresses reach the host, from outside.
    fn let_in(&self, wanted: bool) -> Result<()> {
        self.lab.wait_until(STEP, "packets are let in, or not", || {
            let pings = VIPS.map(|vip| self.pings(vip).unwrap());
            let fetched = VIPS.map(|vip| fetch(self.client.namespace(), vip).is_ok());
            let all = pings == [2, 2] && fetched == [true, true];
            let none = pings == [0, 0] && fetched == [false, false];
            Ok(if wanted { all } else { none }.then_some(()))
        })?;
        for own in OWN {
            assert_eq!(self.pings(own)?, 2, "{own} is another one");
            assert_eq!(fetch(self.client.namespace(), own)?, "a");
        }
        Ok(())
    }

    /// ARP and neighbour discovery for the addresses are answered.
    fn is_found(&self) -> Result<()> {
        self.client.ip(&["neighbour", "flush", "all"])?;
        for vip in VIPS {
            self.pings(vip)?;
            let entry = self.client.ip(&["neighbour", "show", "to", vip])?;
            let mac = self.router.mac().map(|byte| format!("{byte:02x}")).join(":");
            assert!(entry.contains(&mac), "{entry}");
        }
        Ok(())
    }

    /// What is routed through the host by way of the addresses arrives, and so do the answers.
    fn routes(&self) -> Result<()> {
        for far in FAR {
            assert_eq!(self.pings(far)?, 2, "{far}");
            assert_eq!(fetch(self.client.namespace(), far)?, "s");
        }
        Ok(())
    }

    fn nft(&self, rules: &str) -> Result<()> {
        let file = self.lab.dir().join("accept.nft");
        fs::write(&file, rules).map_err(Error::io("write nft rules"))?;
        self.router.namespace().run("nft", &["-f", &file.display().to_string()]).map(drop)
    }

    fn table(&self) -> Result<String> {
        self.router.namespace().run("nft", &["list", "ruleset"])
    }
}

#[test]
fn only_what_is_routed_passes_and_neighbours_are_answered() -> Result<()> {
    let stage = Stage::new()?;
    let mut daemon =
        VrrpUser::start_under(&stage.router, &RIGHTS, "vrrp.conf", &conf(100, "no_accept"), &[])?;
    stage.masters(&mut daemon)?;
    stage.let_in(false)?;
    stage.is_found()?;
    stage.routes()?;
    // From the host itself, too.
    for vip in VIPS {
        assert!(fetch(stage.router.namespace(), vip).is_err());
    }
    let before = daemon.reason(&stage.router, "not_accepted")?;
    assert_ne!(before, 0);
    for vip in VIPS {
        assert_eq!(stage.pings(vip)?, 0);
    }
    stage.lab.wait_until(STEP, "four more are counted", || {
        Ok((daemon.reason(&stage.router, "not_accepted")? == before + 4).then_some(()))
    })?;
    let detail = daemon.router(&stage.router, ROUTERS[0])?;
    assert_eq!(
        (&detail["accept"], detail["problems"].as_array().unwrap().len()),
        (&false.into(), 0),
        "{detail:#}"
    );
    daemon.stop()?;
    assert_eq!(stage.table()?, "");
    Ok(())
}

/// At the ingress of the network stack the answers would be lost: they are for the address until they are translated back.
#[test]
fn what_is_translated_passes() -> Result<()> {
    let stage = Stage::new()?;
    // The server knows no way back but by the address.
    stage.nft(&format!(
        "table inet nat {{\n\
         chain in {{\ntype nat hook prerouting priority dstnat;\n\
         ip daddr {0} tcp dport 8080 dnat ip to {2}:81\nip6 daddr {1} tcp dport 8080 dnat ip6 to [{3}]:81\n}}\n\
         chain out {{\ntype nat hook postrouting priority srcnat;\n\
         ip daddr {2} snat ip to {0}\nip6 daddr {3} snat ip6 to {1}\n}}\n}}\n",
        VIPS[0], VIPS[1], FAR[0], FAR[1]
    ))?;
    let mut daemon = VrrpUser::start(&stage.router, &conf(100, "no_accept"))?;
    stage.masters(&mut daemon)?;
    let page = |address: &str| {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let url = format!("http://{host}:8080/");
        stage.client.namespace().run("curl", &["-sS", "-m", "2", "--noproxy", "*", &url])
    };
    for vip in VIPS {
        assert_eq!([page(vip)?, page(vip)?], ["s\n", "s\n"], "{vip}");
    }
    stage.routes()?;
    stage.let_in(false)?;
    daemon.stop()?;
    assert!(!stage.table()?.contains("vrrp-user"));
    assert_eq!(stage.server.name(), "s");
    Ok(())
}

#[test]
fn a_reload_and_the_owner_let_packets_in() -> Result<()> {
    let stage = Stage::new()?;
    let mut daemon = VrrpUser::start(&stage.router, &conf(100, ""))?;
    stage.masters(&mut daemon)?;
    stage.let_in(true)?;
    assert_eq!(stage.table()?, "");
    for (extra, priority, wanted) in [
        ("no_accept", 100, false),
        ("accept", 100, true),
        ("strict_mode", 100, false),
        ("no_accept", 255, true),
    ] {
        daemon.rewrite(&conf(priority, extra))?;
        daemon.reload(&stage.router, &[])?;
        stage.let_in(wanted)?;
        stage.masters(&mut daemon)?;
        assert_eq!(stage.table()?.contains("table inet vrrp-user-"), !wanted, "{extra}");
    }
    Ok(())
}

#[test]
fn who_removes_the_table_finds_it_again() -> Result<()> {
    let stage = Stage::new()?;
    let mut daemon = VrrpUser::start(&stage.router, &conf(100, "no_accept"))?;
    stage.masters(&mut daemon)?;
    stage.let_in(false)?;
    let there = || stage.table().map(|table| table.contains("10.0.0.100").then_some(()));
    let table = stage.table()?;
    let table = table.split_whitespace().nth(2).unwrap().to_owned();
    let set = format!("delete element inet {table} addresses4 {{ 10.0.0.100 }}\n");
    for rules in ["flush ruleset\n", &set, &format!("flush chain inet {table} input\n")] {
        stage.nft(rules)?;
        stage.lab.wait_until(STEP, "it is there again", there)?;
        stage.let_in(false)?;
    }
    assert!(daemon.log().contains("made anew"));
    Ok(())
}

#[test]
fn a_killed_daemon_leaves_nothing_open() -> Result<()> {
    let stage = Stage::new()?;
    let mut daemon = VrrpUser::start(&stage.router, &conf(100, "no_accept"))?;
    stage.masters(&mut daemon)?;
    stage.let_in(false)?;
    daemon.process().signal(Signal::SIGKILL)?;
    daemon.process().wait(STEP)?;
    assert!(stage.router.has_address("10.0.0.100")?);
    stage.let_in(false)?;
    // The next one goes on with it, and one that wants packets let in does not.
    let mut daemon = VrrpUser::start(&stage.router, &conf(100, "no_accept"))?;
    stage.masters(&mut daemon)?;
    stage.let_in(false)?;
    daemon.kill()?;
    let mut daemon = VrrpUser::start(&stage.router, &conf(100, ""))?;
    stage.masters(&mut daemon)?;
    stage.let_in(true)?;
    assert_eq!(stage.table()?, "");
    daemon.rewrite(&conf(100, "no_accept"))?;
    daemon.reload(&stage.router, &[])?;
    stage.let_in(false)?;
    daemon.kill()?;
    let (code, said) = VrrpUser::cleanup(&stage.router)?;
    assert!(code == Some(0) && said.contains("the table vrrp-user-"), "{said}");
    assert_eq!(stage.table()?, "");
    Ok(())
}

#[test]
fn without_nf_tables_it_is_a_problem() -> Result<()> {
    let stage = Stage::new()?;
    let under = ["env", "VRRP_USER_WITHOUT=nftables"];
    let conf = conf(100, "no_accept");
    let mut daemon = VrrpUser::start_under(&stage.router, &under, "vrrp.conf", &conf, &[])?;
    stage.masters(&mut daemon)?;
    stage.let_in(true)?;
    let problems = daemon.router(&stage.router, ROUTERS[1])?["problems"].to_string();
    assert!(
        problems.contains("let in") && problems.contains("taken to have no nf_tables"),
        "{problems}"
    );
    assert_ne!(daemon.status(&stage.router)?["counters"]["accept_filter_failed"], 0);
    daemon.stop()?;
    Ok(())
}

/// `doctor` asks for it where a router needs it, and says what comes of it where there is none, or where it may not ask.
#[test]
fn doctor_says_whether_there_is_nf_tables() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let file = host.dir("doctor")?.join("k.conf");
    let path = file.display().to_string();
    let examine = |extra: &str, by: &[&str]| -> Result<Option<(String, String)>> {
        fs::write(&file, conf(100, extra)).unwrap();
        let (report, _) = VrrpUser::doctor_under(&host, by, &["--config", &path])?;
        let mut findings = report["findings"].as_array().unwrap().iter();
        let found = findings.find(|finding| finding["check"] == "accept mode");
        let word = |found: &Value, name: &str| found[name].as_str().unwrap().to_owned();
        Ok(found.map(|found| (word(found, "severity"), word(found, "text"))))
    };
    assert_eq!(examine("", &[])?, None);
    let without = ["env", "VRRP_USER_WITHOUT=nftables"];
    let powerless = ["setpriv", "--bounding-set=-all"];
    for (by, severity, says) in [
        (&[][..], "fine", "the kernel has nf_tables, for 2 routers without accept mode"),
        (&without, "broken", "would be let in: the kernel is taken to have no nf_tables"),
        (&powerless, "skipped", "run doctor as root"),
    ] {
        let (found, text) = examine("no_accept", by)?.unwrap();
        assert!(found == severity && text.contains(says), "{by:?}: {found}: {text}");
    }
    // Nothing was made.
    let tables = host.namespace().run("nft", &["list", "tables"])?;
    assert!(!tables.contains("vrrp-user"), "{tables}");
    Ok(())
}

/// Two hosts, one of them keepalived's: who takes over refuses as the other one did.
#[test]
fn beside_keepalived_the_other_one_refuses_as_well() -> Result<()> {
    let stage = Stage::new()?;
    let second = stage.lab.host("b", "10.0.0.4/24")?;
    second.ip(&["address", "add", "2001:db8::4/64", "dev", "eth0", "nodad"])?;
    let _web = WebServer::start(&second)?;
    let mut ours = VrrpUser::start(&stage.router, &conf(100, "no_accept"))?;
    stage.masters(&mut ours)?;
    let mut theirs: Daemon = Kind::Keepalived.start(&second, &conf(50, "no_accept"))?;
    for router in ROUTERS {
        theirs.wait_state(&second, router, "BACKUP", STEP)?;
    }
    stage.let_in(false)?;
    ours.stop()?;
    for router in ROUTERS {
        theirs.wait_state(&second, router, "MASTER", STEP)?;
    }
    stage.let_in(false)?;
    let mut ours = VrrpUser::start(&stage.router, &conf(100, "no_accept"))?;
    stage.masters(&mut ours)?;
    for router in ROUTERS {
        theirs.wait_state(&second, router, "BACKUP", STEP)?;
    }
    stage.let_in(false)?;
    stage.is_found()
}
