//! The authentication header (`auth_type AH`), beside keepalived in both roles and between two of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::{Duration, Instant};

use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{Host, Instance, Lab, Result, Tcpdump, VrrpUser, pause};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(20);
/// Longer than the master-down interval: what has not happened by then, does not.
const NEVER: Duration = Duration::from_secs(6);
/// Priority 0 is followed after the skew time, 0.61 s; a master that is not heard only after 3.6 s.
const SKEW: Duration = Duration::from_secs(2);
const ROUTER: &str = "VI_1";
const VIP: &str = "10.0.0.100";
const REFUSED: [&str; 7] =
    ["ah_missing", "ah_unexpected", "ah_malformed", "ah_bad", "ah_spi", "ah_replay", "auth_type"];

const OURS_FIRST: [Kind; 2] = [Kind::VrrpUser, Kind::Keepalived];
const THEIRS_FIRST: [Kind; 2] = [Kind::Keepalived, Kind::VrrpUser];
const OURS: [Kind; 2] = [Kind::VrrpUser, Kind::VrrpUser];

fn instance(which: usize, priority: u8, is_unicast: bool) -> Instance {
    let instance = Instance::new(51, priority, "10.0.0.100/24");
    let addresses = ["10.0.0.1", "10.0.0.2"];
    if is_unicast { instance.unicast(addresses[which], &[addresses[1 - which]]) } else { instance }
}

/// With an authentication header that is made with this password.
fn with_header(instance: Instance, password: &str) -> String {
    let block = format!("authentication {{\nauth_type AH\nauth_pass {password}\n}}");
    instance.with(&block).to_string()
}

struct Pair {
    lab: Lab,
    hosts: [Host; 2],
    kinds: [Kind; 2],
    confs: [String; 2],
    daemons: [Option<Daemon>; 2],
}

impl Pair {
    /// The first has address .1 and is preferred.
    fn new(kinds: [Kind; 2], confs: [String; 2]) -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
        let mut pair = Self { lab, hosts, kinds, confs, daemons: [None, None] };
        pair.start(0)?;
        pair.start(1)?;
        Ok(pair)
    }

    fn start(&mut self, which: usize) -> Result<()> {
        let daemon = self.kinds[which].start(&self.hosts[which], &self.confs[which])?;
        self.daemons[which] = Some(daemon);
        Ok(())
    }

    fn daemon(&mut self, which: usize) -> &mut Daemon {
        self.daemons[which].as_mut().expect("started")
    }

    fn wait(&mut self, which: usize, state: &str, timeout: Duration) -> Result<()> {
        let daemon = self.daemons[which].as_mut().expect("started");
        daemon.wait_state(&self.hosts[which], ROUTER, state, timeout)
    }

    /// The states, and with them the address, are as they should be.
    fn settled(&mut self, master: usize) -> Result<()> {
        let backup = 1 - master;
        self.wait(master, "MASTER", LONG)?;
        self.wait(backup, "BACKUP", LONG)?;
        let hosts = &self.hosts;
        let what = format!("{} alone has the address", hosts[master].name());
        self.lab.wait_until(LONG, &what, || {
            let right = hosts[master].has_address(VIP)? && !hosts[backup].has_address(VIP)?;
            Ok(right.then_some(()))
        })
    }

    /// For longer than the master-down interval nothing has changed.
    fn stays(&mut self, master: usize) -> Result<()> {
        self.settled(master)?;
        let since = self.changes()?;
        pause(NEVER)?;
        assert_eq!(self.changes()?, since);
        self.settled(master)
    }

    /// How often each has changed its state, or become master of ours.
    fn changes(&self) -> Result<[u64; 2]> {
        let mut changes = [0; 2];
        for ((changes, daemon), host) in changes.iter_mut().zip(&self.daemons).zip(&self.hosts) {
            *changes = match daemon.as_ref().expect("started") {
                Daemon::VrrpUser(ours) => {
                    ours.router_stats(host, ROUTER)?["became_master"].as_u64().unwrap()
                }
                Daemon::Keepalived(theirs) => theirs.states(ROUTER).len() as u64,
            };
        }
        Ok(changes)
    }

    /// What ours count under a reason.
    fn reason(&self, which: usize, name: &str) -> Result<u64> {
        match self.daemons[which].as_ref().expect("started") {
            Daemon::VrrpUser(ours) => ours.reason(&self.hosts[which], name),
            Daemon::Keepalived(_) => Ok(0),
        }
    }

    /// Nobody has refused anything.
    fn nothing_refused(&self) -> Result<()> {
        for which in [0, 1] {
            for name in REFUSED {
                assert_eq!(self.reason(which, name)?, 0, "{name}");
            }
            if let Some(Daemon::Keepalived(theirs)) = &self.daemons[which] {
                let text = theirs.log().text();
                assert!(only_syncing(&text), "{text}");
            }
        }
        Ok(())
    }
}

/// All that keepalived says of the header is that it takes over a number of ours.
fn only_syncing(text: &str) -> bool {
    text.lines().filter(|line| line.contains("IPSEC")).all(|line| line.contains("Syncing seq_num"))
}

/// The preferred one resigns, comes back, is killed and comes back; the other one is killed and comes back.
fn takeovers(kinds: [Kind; 2], is_unicast: bool) -> Result<()> {
    let conf = |which, priority| with_header(instance(which, priority, is_unicast), "pass123");
    let mut pair = Pair::new(kinds, [conf(0, 150), conf(1, 100)])?;
    let wire = Tcpdump::start_with(&pair.hosts[1], "proto 51 or proto 112 or icmp")?;
    pair.stays(0)?;
    pair.nothing_refused()?;
    // As long as both are there, each host's kernel knows that somebody receives the protocol.
    assert!(!wire.log().text().contains("unreachable"), "{}", wire.log().text());

    // Priority 0: well before the master-down interval.
    pair.daemon(0).stop()?;
    pair.wait(1, "MASTER", SKEW)?;
    pair.start(0)?;
    pair.settled(0)?;
    pair.nothing_refused()?;

    pair.daemon(0).kill()?;
    let killed = Instant::now();
    pair.wait(1, "MASTER", LONG)?;
    println!("{} took over after {:?}", kinds[1].name(), killed.elapsed());
    pair.start(0)?;
    pair.stays(0)?;

    // A backup that begins anew hears its master.
    pair.daemon(1).kill()?;
    pair.start(1)?;
    pair.stays(0)?;
    pair.daemon(1).stop()?;
    pair.start(1)?;
    pair.stays(0)?;
    pair.nothing_refused()?;

    let text = wire.log().text();
    assert!(text.contains("AH(spi=0x0a000001,"), "{text}");
    assert!(text.contains("AH(spi=0x0a000002,"), "{text}");
    assert!(text.contains("VRRPv2, Advertisement, vrid 51, prio 0, authtype ah"), "{text}");
    assert!(text.lines().all(|line| !line.contains("VRRPv2") || line.contains("AH(")), "{text}");
    Ok(())
}

#[test]
fn multicast_we_lead() -> Result<()> {
    takeovers(OURS_FIRST, false)
}

#[test]
fn multicast_they_lead() -> Result<()> {
    takeovers(THEIRS_FIRST, false)
}

#[test]
fn unicast_we_lead() -> Result<()> {
    takeovers(OURS_FIRST, true)
}

#[test]
fn unicast_they_lead() -> Result<()> {
    takeovers(THEIRS_FIRST, true)
}

#[test]
fn between_two_of_ours() -> Result<()> {
    takeovers(OURS, false)
}

/// The sequence numbers of what this address sends.
fn numbers(wire: &Tcpdump, source: &str) -> Vec<u32> {
    let of = |line: &str| {
        let (addresses, rest) = line.split_once(": AH(")?;
        let number = rest.split_once("seq=0x")?.1.split(',').next()?;
        let sent = addresses.contains(&format!("IP {source} > "));
        sent.then(|| u32::from_str_radix(number, 16).unwrap())
    };
    wire.log().lines().iter().filter_map(|(_, line)| of(line)).collect()
}

/// Who has heard a master's numbers would refuse one that begins anew: a daemon that is killed goes on, also with nobody to hear.
#[test]
fn the_number_outlives_a_daemon_that_is_killed() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = |priority| with_header(instance(0, priority, false), "pass123");
    let wire = Tcpdump::start_with(&other, "proto 51")?;
    let mut ours = VrrpUser::start(&host, &conf(150))?;
    ours.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let grown = |to: u32| {
        lab.wait_until(LONG, "more advertisements", || {
            Ok((numbers(&wire, "10.0.0.1").last() >= Some(&to)).then_some(()))
        })
    };
    grown(4)?;
    ours.kill()?;
    let mut ours = VrrpUser::start(&host, &conf(150))?;
    ours.wait_state(&host, ROUTER, "MASTER", LONG)?;
    grown(8)?;
    // Nor does a reload begin anew.
    ours.hang_up(&host, &conf(160))?;
    grown(11)?;
    assert!(numbers(&wire, "10.0.0.1").is_sorted_by(|one, next| one < next));
    Ok(())
}

/// Both are master: ours counts why, and says it.
fn refused(theirs: String, ours: String, reason: &str, said: &str) -> Result<()> {
    let mut pair = Pair::new(THEIRS_FIRST, [theirs, ours])?;
    pair.wait(0, "MASTER", LONG)?;
    pair.wait(1, "MASTER", LONG)?;
    pair.lab.wait_until(LONG, reason, || Ok((pair.reason(1, reason)? > 0).then_some(())))?;
    for name in REFUSED.iter().filter(|name| **name != reason) {
        assert_eq!(pair.reason(1, name)?, 0, "{name}");
    }
    let Some(Daemon::VrrpUser(ours)) = &pair.daemons[1] else { unreachable!() };
    assert!(ours.log().text().contains(said), "{}", ours.log().text());
    pair.lab.wait_until(LONG, said, || {
        let problems = ours.router(&pair.hosts[1], ROUTER)?["problems"].to_string();
        Ok(problems.contains(said).then_some(()))
    })
}

#[test]
fn another_password() -> Result<()> {
    refused(
        with_header(instance(0, 150, false), "pass124"),
        with_header(instance(1, 100, false), "pass123"),
        "ah_bad",
        "10.0.0.1 advertises VRID 51 with a wrong authentication header",
    )
}

#[test]
fn no_header_where_there_should_be_one() -> Result<()> {
    refused(
        instance(0, 150, false).password("pass123").to_string(),
        with_header(instance(1, 100, false), "pass123"),
        "ah_missing",
        "10.0.0.1 advertises VRID 51 without an authentication header",
    )
}

/// By XDP, which checks no header.
#[test]
fn a_header_where_there_should_be_none() -> Result<()> {
    refused(
        with_header(instance(0, 150, false), "pass123"),
        instance(1, 100, false).password("pass123").to_string(),
        "ah_unexpected",
        "10.0.0.1 advertises VRID 51 with an authentication header",
    )
}

/// It says what it costs, and that it is weak.
#[test]
fn status_and_check_say_what_it_is() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = with_header(instance(0, 150, false), "pass123");
    let mut ours = VrrpUser::start(&host, &conf)?;
    ours.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert!(ours.log().text().contains("is old and weak"), "{}", ours.log().text());
    assert!(ours.log().text().contains("auth_hmac { key 1 file:"), "{}", ours.log().text());
    assert!(!ours.log().text().contains("pass123"));
    let detail = ours.detail(&host, ROUTER)?;
    assert_eq!(detail["authentication"], "authentication header (AH)");
    let status = ours.status(&host)?;
    let capture = status["interfaces"][0].clone();
    assert_eq!((&capture["capture"], &capture["capture_causes"][0]), (&"raw".into(), &"ah".into()));
    let lacks = capture["capture_lacks"].to_string();
    assert!(lacks.contains("every advertisement wakes the daemon"), "{capture}");
    Ok(())
}
