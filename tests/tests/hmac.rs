//! Signed advertisements between two hosts: keys that are the same, others, changed, and none yet.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Frame, Host, Instance, Lab, RawSocket, Result, VrrpUser, pause};

const STEP: Duration = Duration::from_secs(20);
const NAME: &str = "VI_51";
const ONE: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TWO: &str = "hex:fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0";

/// A router with these lines in its `auth_hmac`.
fn signed(priority: u8, keys: &[(u8, &str)], rest: &str) -> String {
    let keys: String = keys.iter().map(|(id, key)| format!("key {id} {key}\n")).collect();
    let block = format!("auth_hmac {{\n{keys}{rest}\n}}");
    router(priority).with(&block).to_string()
}

fn router(priority: u8) -> Instance {
    Instance::new(51, priority, "10.0.0.51/24").name(NAME).v3("0.3")
}

struct Pair {
    lab: Lab,
    hosts: [Host; 2],
    daemons: [VrrpUser; 2],
}

impl Pair {
    /// The second one begins when the first one is master.
    fn new(first: &str, second: &str) -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = [lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?];
        let mut a = VrrpUser::start(&hosts[0], first)?;
        a.wait_state(&hosts[0], NAME, "MASTER", STEP)?;
        let b = VrrpUser::start(&hosts[1], second)?;
        Ok(Self { lab, hosts, daemons: [a, b] })
    }

    /// How often each has become master.
    fn became_master(&self) -> Result<[u64; 2]> {
        let of = |n: usize| {
            let stats = self.daemons[n].router_stats(&self.hosts[n], NAME)?;
            Ok::<_, vrrp_tests::Error>(stats["became_master"].as_u64().unwrap())
        };
        Ok([of(0)?, of(1)?])
    }

    fn reason(&self, n: usize, name: &str) -> Result<u64> {
        self.daemons[n].reason(&self.hosts[n], name)
    }

    fn causes(&self, n: usize) -> Result<String> {
        Ok(self.daemons[n].router(&self.hosts[n], NAME)?["problem_causes"].to_string())
    }

    /// One is master, and the other one hears it.
    fn is_settled(&mut self) -> Result<()> {
        let [a, b] = &mut self.daemons;
        b.wait_state(&self.hosts[1], NAME, "BACKUP", STEP)?;
        pause(Duration::from_secs(3))?;
        assert_eq!(a.state(&self.hosts[0], NAME)?, "MASTER");
        assert_eq!(b.state(&self.hosts[1], NAME)?, "BACKUP");
        let master = b.router(&self.hosts[1], NAME)?["master"]["address"].to_string();
        assert_eq!(master, "\"10.0.0.1\"");
        Ok(())
    }
}

#[test]
fn keys_are_changed_without_a_transition() -> Result<()> {
    let old = "active_key 1";
    let mut pair = Pair::new(&signed(150, &[(1, ONE)], old), &signed(100, &[(1, ONE)], old))?;
    pair.is_settled()?;
    // The new one everywhere, then it signs, then the old one goes.
    let both = [(1, ONE), (2, TWO)];
    for (keys, active) in [(&both[..], old), (&both, "active_key 2"), (&both[1..], "active_key 2")]
    {
        for (n, priority) in [(0, 150), (1, 100)] {
            let Pair { hosts, daemons, .. } = &mut pair;
            daemons[n].hang_up(&hosts[n], &signed(priority, keys, active))?;
        }
        pair.is_settled()?;
    }
    assert_eq!(pair.became_master()?, [1, 0]);
    for name in ["hmac_bad", "hmac_unknown_key", "hmac_stale", "hmac_replay", "hmac_missing"] {
        assert_eq!(pair.reason(1, name)?, 0, "{name}");
    }
    // Priority 0 is signed as well: nobody waits for the master-down interval.
    let Pair { hosts, daemons, .. } = &mut pair;
    daemons[0].stop()?;
    daemons[1].wait_state(&hosts[1], NAME, "MASTER", Duration::from_millis(900))
}

#[test]
fn with_other_keys_nobody_is_heard() -> Result<()> {
    let with = |priority, key| signed(priority, &[(1, key)], "active_key 1");
    let mut pair = Pair::new(&with(150, ONE), &with(100, TWO))?;
    let Pair { hosts, daemons, .. } = &mut pair;
    daemons[1].wait_state(&hosts[1], NAME, "MASTER", STEP)?;
    assert!(pair.reason(1, "hmac_bad")? > 0);
    pair.lab.wait_until(STEP, "the other one counts it, too", || {
        Ok((pair.reason(0, "hmac_bad")? > 0).then_some(()))
    })?;
    assert!(pair.daemons[1].log().text().contains("with a wrong signature"));
    // Both are master: what is wrong stands in status.
    for (n, other) in [(0, "10.0.0.2"), (1, "10.0.0.1")] {
        let said = format!("{other} advertises VRID 51 with a wrong signature");
        pair.lab.wait_until(STEP, &said, || {
            let problems = pair.daemons[n].router(&pair.hosts[n], NAME)?["problems"].to_string();
            Ok(problems.contains(&said).then_some(()))
        })?;
    }
    // No key is in what it says.
    assert!(!pair.daemons[1].log().text().contains("fffefdfc"));
    Ok(())
}

#[test]
fn a_pair_without_keys_gets_them_without_a_transition() -> Result<()> {
    let keys = [(1, ONE)];
    let mode =
        |priority, mode: &str| signed(priority, &keys, &format!("active_key 1\nmode {mode}"));
    let plain = |priority| router(priority).to_string();
    let mut pair = Pair::new(&plain(150), &plain(100))?;
    pair.is_settled()?;
    for word in ["receive-only", "permissive", "enforce"] {
        for (n, priority) in [(1, 100), (0, 150)] {
            let Pair { hosts, daemons, .. } = &mut pair;
            daemons[n].hang_up(&hosts[n], &mode(priority, word))?;
            pair.is_settled()?;
            assert_eq!(pair.causes(n)?.contains("hmac-not-enforced"), word != "enforce");
        }
    }
    assert_eq!(pair.became_master()?, [1, 0]);
    Ok(())
}

#[test]
fn what_is_not_signed_changes_nothing() -> Result<()> {
    let conf = |priority| signed(priority, &[(1, ONE)], "active_key 1");
    let mut pair = Pair::new(&conf(150), &conf(100))?;
    pair.is_settled()?;
    let stranger = pair.lab.host("c", "10.0.0.3/24")?;
    let socket = RawSocket::open(&stranger)?;
    let address = stranger.ipv4()?;
    let frame = Frame::v3(address, 51, 254, 30, &[[10, 0, 0, 51].into()]).bytes();
    for _ in 0..100 {
        socket.send(&frame)?;
    }
    pair.is_settled()?;
    assert_eq!(pair.became_master()?, [1, 0]);
    assert!(pair.reason(0, "hmac_missing")? > 0);
    Ok(())
}
