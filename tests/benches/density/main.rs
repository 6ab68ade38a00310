//! `cargo xtask bench`: many virtual routers on one host, `vrrp-user` and keepalived on the same work in the
//! same run.
//!
//! Nothing is asserted: figures depend on the machine, ratios less so. Each is printed beside its peer's and
//! beside the project's target. The network is two namespaces with direct veth pairs; the other side of each
//! router is not a daemon but a thread that sends prebuilt frames and one that notes what arrives and when.

mod stage;
mod wire;

use std::time::{Duration, Instant};

use vrrp_tests::Result;

use crate::stage::{Daemon, Kind, Load, Stage};
use crate::wire::{Rhythm, Seen, percentile};

/// One line of the result.
struct Line {
    what: String,
    ours: f64,
    theirs: Option<f64>,
    target: Option<f64>,
    unit: &'static str,
}

struct Results(Vec<Line>);

impl Results {
    fn add(
        &mut self,
        what: String,
        unit: &'static str,
        ours: f64,
        theirs: Option<f64>,
        target: Option<f64>,
    ) {
        let line = Line { what, ours, theirs, target, unit };
        println!("{line}");
        self.0.push(line);
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let theirs = self.theirs.map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"));
        let ratio = self
            .theirs
            .filter(|_| self.ours > 0.0)
            .map_or_else(|| "-".to_owned(), |n| format!("{:.1}x", n / self.ours));
        let target = self.target.map_or_else(String::new, |target| {
            format!("{} (at most {target})", if self.ours <= target { "ok" } else { "MISSED" })
        });
        let Self { what, ours, unit, .. } = self;
        write!(f, "{what:<58} {ours:>10.2} {theirs:>10} {unit:<5} {ratio:>8}  {target}")
    }
}

/// Measures something and adds its figures.
type Scenario = fn(&Plan, &mut Results) -> Result<()>;

/// Scenarios by name; all of them when none is named.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("backup", backup),
    ("takeover", takeover),
    ("master", master),
    ("lateness", lateness),
    ("flood", flood),
    ("memory", memory),
    ("busy", busy),
];

/// How much to do.
struct Plan {
    quick: bool,
    peer: bool,
}

impl Plan {
    fn loads(&self) -> Vec<Load> {
        let all = [
            Load { routers: 4080, interval_ms: 1000 },
            Load { routers: 1020, interval_ms: 100 },
            Load { routers: 255, interval_ms: 1000 },
        ];
        if self.quick { all[2..].to_vec() } else { all.to_vec() }
    }

    fn span(&self) -> Duration {
        Duration::from_secs(if self.quick { 4 } else { 10 })
    }

    /// The same measurement of both daemons.
    fn both<T>(&self, measure: impl Fn(Kind) -> Result<T>) -> Result<(T, Option<T>)> {
        let ours = measure(Kind::VrrpUser)?;
        let theirs = if self.peer { Some(measure(Kind::Keepalived)?) } else { None };
        Ok((ours, theirs))
    }
}

fn main() -> std::process::ExitCode {
    let mut plan = Plan { quick: false, peer: true };
    let mut wanted = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => plan.quick = true,
            "--no-peer" => plan.peer = false,
            // What `cargo bench` adds.
            "--bench" => {}
            name if SCENARIOS.iter().any(|(known, _)| *known == name) => {
                wanted.push(name.to_owned());
            }
            other => {
                let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
                eprintln!("{other}? known are --quick, --no-peer and {}", known.join(", "));
                return std::process::ExitCode::FAILURE;
            }
        }
    }
    if let Err(error) = vrrp_tests::interrupt_on_signals() {
        eprintln!("error: {error}");
        return std::process::ExitCode::FAILURE;
    }
    println!("{:<58} {:>10} {:>10} {:<5} {:>8}", "", "vrrp-user", "keepalived", "", "ratio");
    let mut results = Results(Vec::new());
    let mut failed = false;
    for (name, run) in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        if let Err(error) = run(&plan, &mut results) {
            eprintln!("{name}: {error}");
            failed = true;
        }
        if vrrp_tests::interrupted() {
            break;
        }
    }
    let missed =
        results.0.iter().filter(|l| l.target.is_some_and(|target| l.ours > target)).count();
    println!("{} figures, {missed} beyond their target", results.0.len());
    if failed { std::process::ExitCode::FAILURE } else { std::process::ExitCode::SUCCESS }
}

/// Hearing a master that never changes.
fn backup(plan: &Plan, results: &mut Results) -> Result<()> {
    for load in plan.loads() {
        let (ours, theirs) = plan.both(|kind| {
            let stage = Stage::new(load)?;
            let _generator = stage.advertise(200, Rhythm::Even)?;
            let daemon = Daemon::start(&stage, kind, load, 100)?;
            // keepalived takes a while to start with thousands.
            vrrp_tests::pause(Duration::from_secs(if load.routers > 1000 { 12 } else { 5 }))?;
            daemon.usage(plan.span())
        })?;
        let theirs = theirs.as_ref();
        let (big, fast) = (load.routers == 4080, load.interval_ms == 100);
        let cpu = if big { Some(1.0) } else { fast.then_some(2.0) };
        let what = format!("{load}: backup, CPU");
        results.add(what, "ms/s", ours.cpu_ms, theirs.map(|t| t.cpu_ms), cpu);
        let what = format!("{load}: backup, context switches");
        results.add(what, "1/s", ours.switches, theirs.map(|t| t.switches), big.then_some(5.0));
    }
    Ok(())
}

/// A master goes silent for all routers at one instant; then the new master stops.
fn takeover(plan: &Plan, results: &mut Results) -> Result<()> {
    struct Figures {
        median: f64,
        last: f64,
        missing: f64,
        garp: f64,
        stop: f64,
    }
    for load in plan.loads() {
        let (ours, theirs) = plan.both(|kind| {
            let stage = Stage::new(load)?;
            let generator = stage.advertise(200, Rhythm::AtOnce)?;
            let mut daemon = Daemon::start(&stage, kind, load, 100)?;
            vrrp_tests::pause(Duration::from_secs(if load.routers > 1000 { 12 } else { 5 }))?;
            let receiver = stage.receive()?;
            let last_sent = generator.stop()?;
            let down = load.master_down(100);
            vrrp_tests::pause(down + Duration::from_secs(7))?;
            let stopping = Instant::now();
            daemon.stop()?;
            let stop = stopping.elapsed();
            let seen = receiver.stop()?;
            let (mut late, mut garps) = (Vec::new(), Vec::new());
            for (router, sent) in last_sent.iter().enumerate() {
                let due = *sent + nanos(down);
                late.extend(seen.first_advert(router).map(|at| at.saturating_sub(due)));
                garps.extend(seen.first_garp(router).map(|at| at.saturating_sub(due)));
            }
            let missing = load.routers - late.len();
            Ok(Figures {
                median: ms(percentile(&mut late, 50.0)),
                last: ms(percentile(&mut late, 100.0)),
                #[allow(clippy::cast_precision_loss)]
                missing: missing as f64,
                garp: ms(percentile(&mut garps, 100.0)),
                stop: stop.as_secs_f64(),
            })
        })?;
        let (big, fast) = (load.routers == 4080, load.interval_ms == 100);
        let mut add = |what: &str, unit, get: fn(&Figures) -> f64, target| {
            let theirs = theirs.as_ref().map(get);
            results.add(format!("{load}: {what}"), unit, get(&ours), theirs, target);
        };
        add("takeover, lateness of the median router", "ms", |f| f.median, None);
        let last = if big { Some(60.0) } else { fast.then_some(20.0) };
        add("takeover, lateness of the last router", "ms", |f| f.last, last);
        add("takeover, routers that did not", "", |f| f.missing, Some(0.0));
        add("takeover, last address announced", "ms", |f| f.garp, big.then_some(250.0));
        add("stop", "s", |f| f.stop, big.then_some(2.0));
    }
    Ok(())
}

/// Advertising for all routers.
fn master(plan: &Plan, results: &mut Results) -> Result<()> {
    for load in plan.loads() {
        let (ours, theirs) = plan.both(|kind| {
            let stage = Stage::new(load)?;
            let daemon = Daemon::start(&stage, kind, load, 200)?;
            // Start, takeover, and the second group of gratuitous ARP after 5 s.
            let settle = load.master_down(200)
                + Duration::from_secs(if load.routers > 1000 { 14 } else { 8 });
            vrrp_tests::pause(settle)?;
            let receiver = stage.receive()?;
            let usage = daemon.usage(plan.span())?;
            let seen = receiver.stop()?;
            let bare = stage.bare_cpu(plan.span())?;
            Ok((usage.cpu_ms, jitter(&seen, load), bare))
        })?;
        let quarter = theirs.as_ref().map(|theirs| theirs.0 / 4.0);
        let theirs = theirs.as_ref();
        let big = load.routers == 4080;
        results.add(
            format!("{load}: master, CPU"),
            "ms/s",
            ours.0,
            theirs.map(|t| t.0),
            quarter.filter(|_| big),
        );
        results.add(
            format!("{load}: master, CPU, bare sendmmsg is 1"),
            "",
            ours.0 / ours.2,
            theirs.map(|t| t.0 / t.2),
            big.then_some(1.5),
        );
        spread(results, &format!("{load}: master, interval"), &ours.1, theirs.map(|t| &t.1), 1.0);
    }
    Ok(())
}

/// How much each interval between a router's advertisements differs from the configured one, ns.
fn jitter(seen: &Seen, load: Load) -> Vec<u64> {
    let interval = load.interval_ms * 1_000_000;
    seen.intervals().map(|gap| gap.abs_diff(interval)).collect()
}

fn spread(results: &mut Results, what: &str, ours: &[u64], theirs: Option<&Vec<u64>>, p99: f64) {
    // A daemon that is too busy to advertise has no intervals to be off.
    #[allow(clippy::cast_precision_loss)]
    let count = |values: &[u64]| values.len() as f64;
    results.add(format!("{what}s seen"), "", count(ours), theirs.map(|t| count(t)), None);
    let theirs = theirs.filter(|theirs| !theirs.is_empty());
    for (name, at, target) in [("p50", 50.0, None), ("p99", 99.0, Some(p99)), ("max", 100.0, None)]
    {
        let get = |values: &[u64]| ms(percentile(&mut values.to_vec(), at));
        results.add(
            format!("{what} off by, {name}"),
            "ms",
            get(ours),
            theirs.map(|t| get(t)),
            target,
        );
    }
}

/// One router, its master silent again and again: how late is the first advertisement?
fn lateness(plan: &Plan, results: &mut Results) -> Result<()> {
    // Version 3 with 100 ms, so that many rounds take little time.
    let load = Load { routers: 1, interval_ms: 100 };
    let rounds = if plan.quick { 20 } else { 100 };
    let (mut ours, mut theirs) = plan.both(|kind| {
        let stage = Stage::new(load)?;
        let generator = stage.advertise(200, Rhythm::Even)?;
        let _daemon = Daemon::start(&stage, kind, load, 100)?;
        vrrp_tests::pause(Duration::from_secs(2))?;
        drop(generator);
        let mut late = Vec::new();
        for _ in 0..rounds {
            let generator = stage.advertise(200, Rhythm::Even)?;
            vrrp_tests::pause(Duration::from_millis(350))?;
            let receiver = stage.receive()?;
            let sent = generator.stop()?;
            let down = load.master_down(100);
            vrrp_tests::pause(down + Duration::from_millis(100))?;
            if let Some(at) = receiver.stop()?.first_advert(0) {
                late.push(at.saturating_sub(sent[0] + nanos(down)));
            }
        }
        Ok(late)
    })?;
    for (name, at, target) in [("p50", 50.0, None), ("p99", 99.0, Some(1.0)), ("max", 100.0, None)]
    {
        let theirs = theirs.as_mut().map(|t| ms(percentile(t, at)));
        results.add(
            format!("{load}: lateness of the takeover, {name}"),
            "ms",
            ms(percentile(&mut ours, at)),
            theirs,
            target,
        );
    }
    Ok(())
}

/// As many advertisements as the other side can send.
fn flood(plan: &Plan, results: &mut Results) -> Result<()> {
    let load = Load { routers: 20, interval_ms: 1000 };
    for what in wire::Flood::ALL {
        let (ours, theirs) = plan.both(|kind| {
            let stage = Stage::new(load)?;
            let generator = stage.advertise(200, Rhythm::Even)?;
            let daemon = Daemon::start(&stage, kind, load, 100)?;
            vrrp_tests::pause(Duration::from_secs(5))?;
            let flood = stage.flood(what)?;
            let usage = daemon.usage(plan.span())?;
            let rate = flood.stop()?;
            let took_over = stage.addresses()?;
            drop(generator);
            Ok((usage.cpu_ms, rate, took_over))
        })?;
        let target = if what == wire::Flood::Changing { 100.0 } else { 2.0 };
        let theirs = theirs.as_ref();
        results.add(
            format!("{load}: {what} at {:.0}/s, CPU", ours.1),
            "ms/s",
            ours.0,
            theirs.map(|t| t.0),
            Some(target),
        );
        results.add(
            format!("{load}: {what}, routers that took over"),
            "",
            ours.2,
            theirs.map(|t| t.2),
            Some(0.0),
        );
    }
    let (ours, theirs) = plan.both(|kind| {
        let stage = Stage::new(load)?;
        let _daemon = Daemon::start(&stage, kind, load, 200)?;
        vrrp_tests::pause(load.master_down(200) + Duration::from_secs(3))?;
        let flood = stage.flood(wire::Flood::BadChecksum)?;
        let receiver = stage.receive()?;
        vrrp_tests::pause(plan.span())?;
        let seen = receiver.stop()?;
        flood.stop()?;
        Ok(jitter(&seen, load))
    })?;
    spread(results, &format!("{load}: master under flood, interval"), &ours, theirs.as_ref(), 5.0);
    Ok(())
}

/// Memory, start and stop.
fn memory(plan: &Plan, results: &mut Results) -> Result<()> {
    for (routers, target) in [(20, None), (255, Some(6.0)), (4080, Some(9.0))] {
        if plan.quick && routers > 255 {
            continue;
        }
        let load = Load { routers, interval_ms: 1000 };
        let (ours, theirs) = plan.both(|kind| {
            let stage = Stage::new(load)?;
            let receiver = stage.receive()?;
            let began = wire::now();
            // The owner of the address advertises as soon as it can.
            let mut daemon = Daemon::start(&stage, kind, load, 255)?;
            vrrp_tests::pause(Duration::from_secs(if routers > 1000 { 14 } else { 7 }))?;
            let pss = daemon.pss_mib()?;
            let maps = daemon.map_mib()?;
            let stopping = Instant::now();
            daemon.stop()?;
            let stop = stopping.elapsed().as_secs_f64();
            let seen = receiver.stop()?;
            let firsts = (0..routers).filter_map(|router| seen.first_advert(router));
            let mut firsts: Vec<u64> = firsts.map(|at| at.saturating_sub(began)).collect();
            let start = ms(percentile(&mut firsts, 100.0)) / 1000.0;
            Ok((pss, maps, start, stop))
        })?;
        let theirs = theirs.as_ref();
        let big = (routers == 4080).then_some(2.0);
        results.add(
            format!("{load}: memory (PSS), as master"),
            "MiB",
            ours.0,
            theirs.map(|t| t.0),
            target,
        );
        results.add(format!("{load}: BPF maps"), "MiB", ours.1, theirs.map(|t| t.1), None);
        results.add(
            format!("{load}: start to the last router's first advert"),
            "s",
            ours.2,
            theirs.map(|t| t.2),
            big,
        );
        results.add(format!("{load}: stop"), "s", ours.3, theirs.map(|t| t.3), big);
    }
    Ok(())
}

/// Two busy loops per core beside it.
fn busy(plan: &Plan, results: &mut Results) -> Result<()> {
    let load = Load { routers: 255, interval_ms: 1000 };
    let (ours, theirs) = plan.both(|kind| {
        let stage = Stage::new(load)?;
        let _daemon = Daemon::start(&stage, kind, load, 200)?;
        vrrp_tests::pause(load.master_down(200) + Duration::from_secs(8))?;
        let loops = stage::BusyLoops::start()?;
        let receiver = stage.receive()?;
        vrrp_tests::pause(plan.span())?;
        let seen = receiver.stop()?;
        drop(loops);
        Ok(jitter(&seen, load))
    })?;
    spread(results, &format!("{load}: busy machine, interval"), &ours, theirs.as_ref(), 5.0);
    Ok(())
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss)]
fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
