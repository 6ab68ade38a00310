//! Programs that somebody takes from an interface or replaces, in every way to capture that has any: of daemons that run, and of
//! ones that were killed, before the next one adopts what they left. Who does not hear for that reason is no second master,
//! and hears again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vrrp_tests::{Host, Lab, Result, Ring, VrrpUser, pause};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);
const ROUTER: &str = "VI_1";
const VIP: &str = "10.0.0.100";

type Harm = fn(&Host) -> Result<()>;

/// A way to capture.
struct Way {
    /// As `status` calls it.
    capture: &'static str,
    /// What is taken as missing.
    without: &'static str,
    /// What is done to it.
    harms: &'static [(&'static str, Harm)],
}

const NATIVE: Way = Way {
    capture: "native",
    without: "",
    harms: &[("XDP detached", Host::detach_xdp), ("XDP replaced", Host::replace_xdp)],
};
const GENERIC: Way = Way { capture: "generic", ..NATIVE };
const TCX: Way = Way {
    capture: "tc",
    without: "",
    harms: &[
        ("ingress detached", Host::detach_ingress),
        ("egress detached", Host::detach_egress),
        ("both replaced", Host::replace_tcx),
    ],
};
const CLSACT: Way = Way {
    capture: "tc",
    without: "tcx",
    harms: &[
        ("filters removed", Host::remove_filters),
        ("clsact removed", Host::remove_clsact),
        ("filters replaced", Host::replace_filters),
    ],
};
/// What leaves is counted by a filter, and what arrives is not.
const GENERIC_CLSACT: Way = Way {
    capture: "generic",
    without: "tcx",
    harms: &[
        ("XDP detached", Host::detach_xdp),
        ("XDP replaced", Host::replace_xdp),
        ("clsact removed", Host::remove_clsact),
        ("filters replaced", Host::replace_filters),
    ],
};

/// A master and a backup that capture in some way.
struct Pair {
    lab: Lab,
    a: Host,
    b: Host,
    on_a: VrrpUser,
    on_b: VrrpUser,
}

impl Way {
    fn conf(&self, priority: u8, interval: &str) -> String {
        format!(
            "capture = \"{}\"\n[[router]]\nname = \"{ROUTER}\"\ninterface = \"eth0\"\nvrid = 51\nversion = 3\n\
             interval = \"{interval}\"\npriority = {priority}\naddresses = [\"{VIP}/24\"]\n",
            self.capture
        )
    }

    fn start(&self, host: &Host, conf: &str) -> Result<VrrpUser> {
        let without = format!("VRRP_USER_WITHOUT={}", self.without);
        let under = if self.without.is_empty() { vec![] } else { vec!["env", &without] };
        VrrpUser::start_under(host, &under, "vrrp.toml", conf, &[])
    }

    fn pair(&self, interval: &str) -> Result<Pair> {
        let lab = Lab::new()?;
        let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        let mut on_a = self.start(&a, &self.conf(150, interval))?;
        on_a.wait_state(&a, ROUTER, "MASTER", LONG)?;
        let mut on_b = self.start(&b, &self.conf(100, interval))?;
        on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
        let pair = Pair { lab, a, b, on_a, on_b };
        pair.b_hears(self)?;
        self.is_whole(&pair.lab, &pair.a, &pair.on_a)?;
        Ok(pair)
    }

    /// Waits until our programs are on an interface, all of them.
    fn is_whole(&self, lab: &Lab, host: &Host, daemon: &VrrpUser) -> Result<()> {
        lab.wait_until(LONG, "the programs are there", || {
            let status = daemon.status(host)?;
            let [ingress, egress] = host.tc_programs()?;
            let ours = |names: &[String]| names.len() == 1 && names[0].starts_with("vrrp_");
            let ingress = if self.capture == "tc" {
                ours(&ingress)
            } else {
                ingress.is_empty() && host.xdp_name()?.starts_with("vrrp_")
            };
            let captures = status["interfaces"][0]["capture"] == self.capture;
            Ok((captures && ingress && ours(&egress)).then_some(()))
        })
    }
}

impl Pair {
    /// The backup is none but a backup, and never was.
    fn b_is_backup(&self) -> Result<()> {
        let stats = self.on_b.router_stats(&self.b, ROUTER)?;
        let (became_master, state) = (&stats["became_master"], &stats["state"]);
        let log = self.on_b.log().text();
        assert_eq!((became_master, state), (&0.into(), &"BACKUP".into()), "{log}");
        Ok(())
    }

    /// It hears its master.
    fn b_hears(&self, way: &Way) -> Result<()> {
        let Self { lab, b, on_b, .. } = self;
        self.b_is_backup()?;
        way.is_whole(lab, b, on_b)?;
        let adverts = || Ok(on_b.router_stats(b, ROUTER)?["adverts_received"].as_u64().unwrap());
        let before = adverts()?;
        lab.wait_until(LONG, "the backup hears", || Ok((adverts()? > before).then_some(())))?;
        self.b_is_backup()
    }

    /// The master hears who pre-empts it.
    fn a_hears(&mut self, way: &Way, interval: &str) -> Result<()> {
        let Self { lab, a, b, on_a, on_b } = self;
        way.is_whole(lab, a, on_a)?;
        on_b.hang_up(b, &way.conf(200, interval))?;
        on_b.wait_state(b, ROUTER, "MASTER", LONG)?;
        on_a.wait_state(a, ROUTER, "BACKUP", LONG)
    }
}

/// Of daemons that run: ten advertisements a second, so that a master is given up after a third of a second.
fn taken_while_it_runs(way: &Way) -> Result<()> {
    let mut pair = way.pair("100ms")?;
    for (what, harm) in way.harms {
        println!("{what}");
        harm(&pair.b)?;
        // Long enough to become master, if the silence were believed.
        pause(Duration::from_secs(1))?;
        pair.b_hears(way)?;
        harm(&pair.a)?;
        way.is_whole(&pair.lab, &pair.a, &pair.on_a)?;
        assert_eq!(pair.on_a.router_stats(&pair.a, ROUTER)?["became_master"], 1);
        assert_eq!(pair.on_b.state(&pair.b, ROUTER)?, "BACKUP");
    }
    pair.a_hears(way, "100ms")?;
    // Nobody has become so careful that it would not take over.
    pair.on_b.kill()?;
    pair.on_a.wait_state(&pair.a, ROUTER, "MASTER", LONG)
}

/// Between SIGKILL and the next start. One that has adopted another one is not adopted itself soon after: each time they are others.
fn taken_before_it_is_adopted(way: &Way) -> Result<()> {
    for (what, harm) in way.harms {
        println!("{what}");
        let mut pair = way.pair("100ms")?;
        pair.on_b.kill()?;
        harm(&pair.b)?;
        // What it has heard last is long ago.
        pause(Duration::from_secs(1))?;
        pair.on_b = way.start(&pair.b, &way.conf(100, "100ms"))?;
        pair.on_b.wait_state(&pair.b, ROUTER, "BACKUP", LONG)?;
        pause(Duration::from_secs(1))?;
        let log = pair.on_b.log().text();
        assert!(log.contains("adopting what daemon "), "{what}: {log}");
        pair.b_hears(way)?;
        drop(pair);

        let mut pair = way.pair("1s")?;
        pair.on_a.kill()?;
        harm(&pair.a)?;
        pair.on_a = way.start(&pair.a, &way.conf(150, "1s"))?;
        pair.on_a.wait_state(&pair.a, ROUTER, "MASTER", LONG)?;
        let log = pair.on_a.log().text();
        assert!(log.contains("INIT -> MASTER: adopted"), "{what}: {log}");
        pair.b_hears(way)?;
        pair.a_hears(way, "1s")?;
    }
    Ok(())
}

#[test]
fn native_xdp_is_taken_while_it_runs() -> Result<()> {
    taken_while_it_runs(&NATIVE)
}

#[test]
fn generic_xdp_is_taken_while_it_runs() -> Result<()> {
    taken_while_it_runs(&GENERIC)
}

#[test]
fn tcx_is_taken_while_it_runs() -> Result<()> {
    taken_while_it_runs(&TCX)
}

#[test]
fn clsact_is_taken_while_it_runs() -> Result<()> {
    taken_while_it_runs(&CLSACT)
}

#[test]
fn generic_xdp_with_clsact_is_taken_while_it_runs() -> Result<()> {
    taken_while_it_runs(&GENERIC_CLSACT)
}

#[test]
fn native_xdp_is_taken_before_it_is_adopted() -> Result<()> {
    taken_before_it_is_adopted(&NATIVE)
}

#[test]
fn generic_xdp_is_taken_before_it_is_adopted() -> Result<()> {
    taken_before_it_is_adopted(&GENERIC)
}

#[test]
fn tcx_is_taken_before_it_is_adopted() -> Result<()> {
    taken_before_it_is_adopted(&TCX)
}

#[test]
fn clsact_is_taken_before_it_is_adopted() -> Result<()> {
    taken_before_it_is_adopted(&CLSACT)
}

#[test]
fn generic_xdp_with_clsact_is_taken_before_it_is_adopted() -> Result<()> {
    taken_before_it_is_adopted(&GENERIC_CLSACT)
}

/// Somebody who may write to the pinned ring buffer stops it, so that the kernel side has nowhere to report to.
#[test]
fn a_ring_that_is_stopped_goes_on() -> Result<()> {
    let mut pair = NATIVE.pair("100ms")?;
    let said = "somebody else has moved the position";
    // Its master is another one soon, of which it was told nothing yet.
    pair.b.stop_ring()?;
    let c = pair.lab.host("c", "10.0.0.3/24")?;
    let mut on_c = NATIVE.start(&c, &NATIVE.conf(200, "100ms"))?;
    on_c.wait_state(&c, ROUTER, "MASTER", LONG)?;
    pair.on_a.wait_state(&pair.a, ROUTER, "BACKUP", LONG)?;
    pair.lab.wait_until(LONG, "the backup knows its master", || {
        let router = pair.on_b.router(&pair.b, ROUTER)?;
        Ok((router["master"]["address"] == "10.0.0.3").then_some(()))
    })?;
    pause(Duration::from_secs(1))?;
    pair.b_hears(&NATIVE)?;
    assert!(pair.on_b.log().contains(said), "{}", pair.on_b.log().text());

    // A master hears who outranks it, and does not come back beside it.
    on_c.stop()?;
    pair.on_a.wait_state(&pair.a, ROUTER, "MASTER", LONG)?;
    pair.a.stop_ring()?;
    pair.on_b.hang_up(&pair.b, &NATIVE.conf(200, "100ms"))?;
    pair.on_b.wait_state(&pair.b, ROUTER, "MASTER", LONG)?;
    pair.on_a.wait_state(&pair.a, ROUTER, "BACKUP", LONG)?;
    pause(Duration::from_secs(2))?;
    let stats = pair.on_a.router_stats(&pair.a, ROUTER)?;
    let (became_master, state) = (&stats["became_master"], &stats["state"]);
    let log = pair.on_a.log().text();
    assert_eq!((became_master, state), (&2.into(), &"BACKUP".into()), "{log}");
    assert!(log.contains(said), "{log}");
    Ok(())
}

/// Somebody goes on with that, and keeps nobody from taking over, nor from hearing who does.
#[test]
fn a_ring_that_is_stopped_again_and_again_is_done_without() -> Result<()> {
    let mut pair = NATIVE.pair("100ms")?;
    let over = Arc::new(AtomicBool::new(false));
    let mut ring = pair.b.ring()?;
    let stopped = Arc::clone(&over);
    let fight = thread::spawn(move || {
        let begin = Instant::now();
        while !stopped.load(Ordering::Relaxed) && begin.elapsed() < 2 * LONG {
            ring.stop();
            thread::sleep(Duration::from_millis(5));
        }
    });
    pair.lab.wait_until(LONG, "a packet socket captures", || {
        let status = pair.on_b.status(&pair.b)?;
        Ok((status["interfaces"][0]["capture"] == "raw").then_some(()))
    })?;
    pair.b_is_backup()?;
    pair.on_a.kill()?;
    pair.on_b.wait_state(&pair.b, ROUTER, "MASTER", LONG)?;
    let c = pair.lab.host("c", "10.0.0.3/24")?;
    let mut on_c = NATIVE.start(&c, &NATIVE.conf(200, "100ms"))?;
    on_c.wait_state(&c, ROUTER, "MASTER", LONG)?;
    pair.on_b.wait_state(&pair.b, ROUTER, "BACKUP", LONG)?;
    pause(Duration::from_secs(2))?;
    over.store(true, Ordering::Relaxed);
    fight.join().expect("a thread that writes one word");
    let stats = pair.on_b.router_stats(&pair.b, ROUTER)?;
    let (became_master, state) = (&stats["became_master"], &stats["state"]);
    let log = pair.on_b.log().text();
    assert_eq!((became_master, state), (&1.into(), &"BACKUP".into()), "{log}");
    assert_eq!(log.matches("somebody else has moved the position").count(), 5, "{log}");
    assert_eq!(log.matches("all interfaces are captured by packet sockets").count(), 1, "{log}");
    Ok(())
}

/// Somebody detaches what we receive by every 2.5 s: more often than a silence is long enough, and no more often than an accident. Until
/// there is nothing more to detach the backup is no second master, nor does it listen for ever.
#[test]
fn programs_that_are_detached_now_and_then_are_done_without() -> Result<()> {
    const EVERY: Duration = Duration::from_millis(2_500);
    // Eight times: five are put back, and there are three modes.
    const LONGER: Duration = Duration::from_secs(60);
    let mut pair = NATIVE.pair("1s")?;
    let over = AtomicBool::new(false);
    let detached = thread::scope(|scope| {
        let (b, over) = (&pair.b, &over);
        scope.spawn(move || {
            let begin = Instant::now();
            while !over.load(Ordering::Relaxed) && begin.elapsed() < 2 * LONGER {
                // An error where that one is not there.
                let _ = b.detach_xdp();
                let _ = b.detach_ingress();
                thread::sleep(EVERY);
            }
        });
        let taken_over = (|| {
            // More than twice as long as a silence has to be.
            pause(Duration::from_secs(8))?;
            assert_eq!(pair.on_b.router_stats(b, ROUTER)?["became_master"], 0);
            pair.on_a.kill()?;
            pair.on_b.wait_state(b, ROUTER, "MASTER", LONGER)
        })();
        over.store(true, Ordering::Relaxed);
        taken_over
    });
    detached?;
    let log = pair.on_b.log().text();
    assert_eq!(
        log.matches("somebody else; it is attached again, and captures by native").count(),
        5,
        "{log}"
    );
    let status = pair.on_b.status(&pair.b)?;
    let interface = &status["interfaces"][0];
    let why = interface["capture_why"].as_str().unwrap_or_default();
    assert!(why.contains("keeps detaching or replacing our programs"), "{interface}");

    // It hears by what it has instead.
    let mut on_a = NATIVE.start(&pair.a, &NATIVE.conf(150, "1s"))?;
    on_a.wait_state(&pair.a, ROUTER, "MASTER", LONG)?;
    pair.on_b.wait_state(&pair.b, ROUTER, "BACKUP", LONG)?;
    pause(Duration::from_secs(5))?;
    let stats = pair.on_b.router_stats(&pair.b, ROUTER)?;
    assert_eq!((&stats["became_master"], &stats["state"]), (&1.into(), &"BACKUP".into()));
    Ok(())
}

/// The same before it is adopted.
#[test]
fn a_ring_that_is_stopped_is_adopted_and_goes_on() -> Result<()> {
    harmed_before_it_is_adopted(Ring::stop)
}

/// A position in a record that was read, from where nothing leads to the next one.
#[test]
fn a_ring_that_was_read_to_the_middle_of_a_record_is_adopted_and_goes_on() -> Result<()> {
    harmed_before_it_is_adopted(Ring::skew)
}

fn harmed_before_it_is_adopted(harm: fn(&mut Ring)) -> Result<()> {
    let mut pair = NATIVE.pair("100ms")?;
    pair.on_b.kill()?;
    harm(&mut pair.b.ring()?);
    pause(Duration::from_secs(1))?;
    pair.on_b = NATIVE.start(&pair.b, &NATIVE.conf(100, "100ms"))?;
    pair.on_b.wait_state(&pair.b, ROUTER, "BACKUP", LONG)?;
    pause(Duration::from_secs(1))?;
    let log = pair.on_b.log().text();
    assert!(log.contains("adopting what daemon ") && log.contains("no position in it"), "{log}");
    pair.b_hears(&NATIVE)?;
    pair.lab.wait_until(LONG, "the backup knows its master", || {
        let router = pair.on_b.router(&pair.b, ROUTER)?;
        Ok((router["master"]["address"] == "10.0.0.1").then_some(()))
    })?;
    let stats = pair.on_b.stats(&pair.b)?;
    assert_eq!(stats["counters"]["bad_event"], 0, "{stats}");
    pair.on_a.kill()?;
    pair.on_b.wait_state(&pair.b, ROUTER, "MASTER", LONG)
}
