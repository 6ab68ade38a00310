//! What is measured: each scenario with the loads it has unless others are asked for, and the figures of one
//! daemon under one load.

use std::time::{Duration, Instant};

use vrrp_tests::{BenchArgs, Result, Scenario};

use crate::stage::{BusyLoops, Daemon, Kind, Load, Stage};
use crate::wire::{self, Flood, Pacing, Seen, percentile};
use crate::{Plan, virtual_mac, xdp};

/// As many routers as there is room for.
const BIG: Load = Load::new(4080, 1000);
/// Many routers with a short interval.
const FAST: Load = Load::new(1020, 100);
/// One full link.
const LINK: Load = Load::new(255, 1000);
/// Version 3 with 100 ms, so that many rounds take little time.
const ONE: Load = Load::new(1, 100);
/// The same with version 2, which has no shorter interval.
const ONE_SLOW: Load = Load::new(1, 1000);
/// One full link with version 3.
const LINK_FAST: Load = Load::new(255, 100);
/// A few.
const FEW: Load = Load::new(20, 1000);
/// Four full links.
const LINKS: Load = Load::new(1020, 1000);
/// As many on each of four links as one full link has.
const SPREAD: Load = Load { links: 4, ..LINK };
/// The least with a link for each half.
const HALVES: Load = Load::new(510, 1000);
/// How long a takeover of many is watched for what it does to others.
const BULK: Duration = Duration::from_secs(3);

/// How long after its end a service manager starts a daemon again: `RestartSec=` of our unit.
const RESTART: Duration = Duration::from_millis(100);

/// Less than how long a packet socket that loses packets is doubted, and no master-down timer believed.
const BEFORE_DOUBT_ENDS: Duration = Duration::from_secs(8);

/// How long a reload is watched; it takes keepalived that long with many.
const RELOAD: Duration = Duration::from_secs(6);

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Target {
    /// Nobody said.
    None,
    /// At most this.
    AtMost(f64),
    /// At most this part of keepalived's.
    OfTheirs(f64),
}

/// A measured figure.
pub struct Figure {
    /// What it says; names the same thing for each daemon and load.
    pub what: String,
    /// Its unit; empty for a plain count, which has no better or worse.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
    /// What ours should be.
    pub target: Target,
}

/// The figures of one measurement.
pub struct Figures {
    load: Load,
    list: Vec<Figure>,
}

impl Figures {
    fn new(load: Load) -> Self {
        Self { load, list: Vec::new() }
    }

    /// Adds one.
    pub fn add(&mut self, what: impl Into<String>, unit: &'static str, value: f64, target: Target) {
        self.list.push(Figure { what: what.into(), unit, value, target });
    }

    /// A target that holds for the given loads only.
    fn at(&self, targets: &[(Load, f64)]) -> Target {
        let target = targets.iter().find(|(load, _)| *load == self.load);
        target.map_or(Target::None, |(_, target)| Target::AtMost(*target))
    }

    /// How much intervals were off, in nanoseconds.
    fn spread(&mut self, what: &str, off: &mut [u64], p99: f64, max: Target) {
        #[allow(clippy::cast_precision_loss)]
        self.add(format!("{what}s counted"), "", off.len() as f64, Target::None);
        // A daemon that is too busy to advertise has no intervals to be off.
        if off.is_empty() {
            return;
        }
        for (name, at, target) in
            [("p50", 50.0, Target::None), ("p99", 99.0, Target::AtMost(p99)), ("max", 100.0, max)]
        {
            self.add(format!("{what} off by, {name}"), "ms", ms(percentile(off, at)), target);
        }
    }
}

/// Who else can do the same.
pub fn peers(scenario: Scenario) -> &'static [Kind] {
    match scenario {
        Scenario::Backup
        | Scenario::Takeover
        | Scenario::Master
        | Scenario::Lateness
        | Scenario::Bulk
        | Scenario::Flood
        | Scenario::Capture
        | Scenario::Start
        | Scenario::Memory
        | Scenario::Reload
        | Scenario::Restart
        | Scenario::Busy => &[Kind::Keepalived],
        Scenario::VirtualMac | Scenario::Failover => &[Kind::Keepalived, Kind::Frr],
        Scenario::Upgrade | Scenario::Xdp | Scenario::Pure => &[],
    }
}

/// The loads of a scenario: its own, or those that were asked for.
pub fn loads(scenario: Scenario, args: &BenchArgs) -> Vec<Load> {
    let (own, quick): (&[Load], &[Load]) = match scenario {
        Scenario::Backup | Scenario::Takeover | Scenario::Master => (&[BIG, FAST, LINK], &[LINK]),
        Scenario::Lateness => (&[ONE], &[ONE]),
        Scenario::Bulk => (&[BIG], &[HALVES]),
        Scenario::Flood | Scenario::Capture => (&[FEW], &[FEW]),
        Scenario::Start => (&[BIG, LINK], &[LINK]),
        Scenario::Memory => (&[BIG, LINK, FEW], &[LINK, FEW]),
        Scenario::Reload => (&[BIG], &[LINK]),
        Scenario::Restart => (&[ONE, LINK_FAST, FAST, ONE_SLOW, LINK, LINKS, BIG], &[LINK]),
        Scenario::Upgrade => (&[FAST], &[LINK]),
        Scenario::Busy => (&[LINK], &[LINK]),
        Scenario::VirtualMac | Scenario::Failover => (&[LINK, SPREAD, LINKS], &[LINK]),
        Scenario::Xdp => (&[BIG], &[LINK]),
        Scenario::Pure => (&[], &[]),
    };
    let own = if args.quick { quick } else { own };
    let spread = |load: Load| args.links.map_or(load, |links| load.over(usize::from(links)));
    let own: Vec<Load> = own.iter().copied().map(spread).collect();
    // One router is what `lateness` is about, and more would leave floods no VRID that is unknown.
    let fixed = matches!(scenario, Scenario::Lateness | Scenario::Flood | Scenario::Capture);
    if (args.routers.is_empty() || fixed) && args.interval.is_empty() {
        return distinct(own);
    }
    let mut routers: Vec<usize> = args.routers.iter().map(|n| usize::from(*n)).collect();
    if routers.is_empty() || fixed {
        routers = own.iter().map(|load| load.routers).collect();
    }
    let mut intervals = args.interval.clone();
    if intervals.is_empty() {
        intervals = own.iter().map(|load| load.interval_ms).collect();
    }
    if scenario == Scenario::Xdp {
        // Only the maps matter there.
        intervals.truncate(1);
    }
    let crossed = routers.iter().flat_map(|&routers| {
        intervals.iter().map(move |&interval_ms| Load::new(routers, interval_ms))
    });
    // Each half of `bulk` has links of its own.
    let possible = |load: &Load| scenario != Scenario::Bulk || load.links > 1;
    distinct(crossed.map(spread).filter(possible).collect())
}

fn distinct(all: Vec<Load>) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    for load in all {
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    loads
}

/// Measures one daemon under one load.
pub fn measure(scenario: Scenario, plan: &Plan, load: Load, kind: Kind) -> Result<Vec<Figure>> {
    let mut figures = Figures::new(load);
    match scenario {
        Scenario::Backup => backup(plan, load, kind, &mut figures),
        Scenario::Takeover => takeover(load, kind, &mut figures),
        Scenario::Master => master(plan, load, kind, &mut figures),
        Scenario::Lateness => lateness(plan, load, kind, &mut figures),
        Scenario::Bulk => bulk(load, kind, &mut figures),
        Scenario::Flood => flood(plan, load, kind, &mut figures),
        Scenario::Capture => capture(plan, load, kind, &mut figures),
        Scenario::Start => start(load, kind, &mut figures),
        Scenario::Memory => memory(load, kind, &mut figures),
        Scenario::Reload => reload(load, kind, &mut figures),
        Scenario::Restart => restart(load, kind, &mut figures),
        Scenario::Upgrade => upgrade(load, &mut figures),
        Scenario::Busy => busy(plan, load, kind, &mut figures),
        Scenario::VirtualMac => virtual_mac::daemons(plan, load, kind, &mut figures),
        Scenario::Failover => virtual_mac::failover(load, kind, &mut figures),
        Scenario::Xdp => {
            for (what, unit, value, target) in xdp::costs(plan, load)? {
                let target = target.map_or(Target::None, Target::AtMost);
                figures.add(what, unit, value, target);
            }
            Ok(())
        }
        // By criterion, in vrrp-user/benches.
        Scenario::Pure => Ok(()),
    }?;
    Ok(figures.list)
}

/// What a daemon takes to start as backup; keepalived takes a while with thousands.
pub fn begun(load: Load) -> Duration {
    Duration::from_secs(if load.routers > 1000 { 12 } else { 5 })
}

/// What a master takes to be in its steady state: start, takeover, and the second group of gratuitous ARP
/// after 5 s.
fn settled(load: Load) -> Duration {
    load.master_down(200) + Duration::from_secs(if load.routers > 1000 { 14 } else { 8 })
}

/// Hearing a master that never changes.
fn backup(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let _generator = stage.advertise(0..load.routers, Pacing::Even);
    let daemon = Daemon::start(&stage.place, kind, load, 100)?;
    vrrp_tests::pause(begun(load))?;
    let usage = daemon.usage(plan.duration)?;
    let cpu = figures.at(&[(BIG, 1.0), (FAST, 2.0)]);
    figures.add("CPU", "ms/s", usage.cpu_ms, cpu);
    figures.add("context switches", "1/s", usage.switches, figures.at(&[(BIG, 5.0)]));
    Ok(())
}

/// A master goes silent for all routers at one instant.
fn takeover(load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let generator = stage.advertise(0..load.routers, Pacing::AtOnce);
    let daemon = Daemon::start(&stage.place, kind, load, 100)?;
    vrrp_tests::pause(begun(load))?;
    let receiver = stage.receive()?;
    let last_sent = generator.stop()?;
    let down = load.master_down(100);
    vrrp_tests::pause(down + Duration::from_secs(4))?;
    let seen = receiver.stop()?;
    drop(daemon);
    let garp = figures.at(&[(BIG, 250.0)]);
    took_over(&seen, &last_sent, load, garp, figures);
    Ok(())
}

/// How late routers took over whose master was heard last then.
pub fn took_over(seen: &Seen, last_sent: &[u64], load: Load, garp: Target, figures: &mut Figures) {
    let down = load.master_down(100);
    let (mut late, mut garps) = (Vec::new(), Vec::new());
    for (router, sent) in last_sent.iter().enumerate() {
        let due = *sent + nanos(down);
        late.extend(seen.first_advert(router).map(|at| at.saturating_sub(due)));
        garps.extend(seen.first_garp(router).map(|at| at.saturating_sub(due)));
    }
    let median = ms(percentile(&mut late, 50.0));
    figures.add("lateness of the median router", "ms", median, Target::None);
    let last = figures.at(&[(BIG, 60.0), (FAST, 20.0)]);
    figures.add("lateness of the last router", "ms", ms(percentile(&mut late, 100.0)), last);
    figures.add("routers that did not", "", count(load.routers - late.len()), Target::AtMost(0.0));
    figures.add("last address announced", "ms", ms(percentile(&mut garps, 100.0)), garp);
}

/// Advertising for all routers.
fn master(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let daemon = Daemon::start(&stage.place, kind, load, 200)?;
    vrrp_tests::pause(settled(load))?;
    // While nobody listens: who listens on the other side is served in the sender's context.
    let usage = daemon.usage(plan.duration)?;
    // Beside each other: both find the machine, and what the other left in its caches, in the same condition.
    let (beside, bare) = std::thread::scope(|scope| {
        let bare = scope.spawn(|| stage.bare_cpu(plan.duration));
        let beside = daemon.usage(plan.duration);
        (beside, bare.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (beside, bare) = (beside?, bare?);
    let receiver = stage.receive()?;
    vrrp_tests::pause(plan.duration)?;
    let seen = receiver.stop()?;
    let quarter = if load == BIG { Target::OfTheirs(0.25) } else { Target::None };
    figures.add("CPU", "ms/s", usage.cpu_ms, quarter);
    let of_bare = figures.at(&[(BIG, 1.5)]);
    figures.add("CPU, times that of a bare sendmmsg", "x", beside.cpu_ms / bare, of_bare);
    figures.spread("interval", &mut jitter(&seen, load), 1.0, Target::None);
    Ok(())
}

/// One router, its master silent again and again: how late is the first advertisement?
fn lateness(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let rounds = if plan.quick { 20 } else { 100 };
    let (interval, down) = (Duration::from_millis(load.interval_ms), load.master_down(100));
    let stage = Stage::new(load)?;
    let generator = stage.advertise(0..load.routers, Pacing::Even);
    let _daemon = Daemon::start(&stage.place, kind, load, 100)?;
    vrrp_tests::pause(Duration::from_secs(2))?;
    drop(generator);
    let mut late = Vec::new();
    for _ in 0..rounds {
        let generator = stage.advertise(0..load.routers, Pacing::Even);
        vrrp_tests::pause(interval * 7 / 2)?;
        let receiver = stage.receive()?;
        let sent = generator.stop()?;
        vrrp_tests::pause(down + Duration::from_millis(100))?;
        let sent = sent.first().copied().unwrap_or(0);
        let first = receiver.stop()?.first_advert(0);
        late.extend(first.map(|at| at.saturating_sub(sent + nanos(down))));
    }
    let quantiles = [
        ("p50", 50.0, Target::None),
        ("p99", 99.0, Target::AtMost(1.0)),
        ("max", 100.0, Target::None),
    ];
    for (name, at, target) in quantiles {
        figures.add(format!("takeover, {name}"), "ms", ms(percentile(&mut late, at)), target);
    }
    Ok(())
}

/// Half of the routers are master; the other half takes over at one instant. How late does that make the
/// advertisements of the former?
fn bulk(load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let half = load.links / 2 * load.per_link();
    let stage = Stage::new(load)?;
    let generator = stage.advertise(half..load.routers, Pacing::AtOnce);
    let _daemon = Daemon::start(&stage.place, kind, load, 100)?;
    vrrp_tests::pause(settled(load))?;
    let receiver = stage.receive()?;
    // So that the interval in which it happens has a beginning.
    vrrp_tests::pause(Duration::from_millis(2 * load.interval_ms))?;
    let last_sent = generator.stop()?;
    let down = load.master_down(100);
    vrrp_tests::pause(down + BULK)?;
    let seen = receiver.stop()?;
    let from = last_sent.iter().max().copied().unwrap_or(0) + nanos(down);
    let window = from..from + nanos(BULK);
    let mut off: Vec<u64> = (0..half)
        .flat_map(|router| seen.intervals(router))
        .filter(|(at, _)| window.contains(at))
        .map(|(_, gap)| gap.abs_diff(load.interval_ms * 1_000_000))
        .collect();
    figures.spread("masters, interval", &mut off, 5.0, Target::AtMost(20.0));
    let silent = (half..load.routers).filter(|router| seen.first_advert(*router).is_none()).count();
    figures.add("routers that did not take over", "", count(silent), Target::AtMost(0.0));
    Ok(())
}

/// Masters whose configuration is read again: as it was, and with another priority for every tenth router. How late
/// does that make their advertisements?
fn reload(load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let mut daemon = Daemon::start(&stage.place, kind, load, 200)?;
    vrrp_tests::pause(settled(load))?;
    for (what, every) in [("unchanged", None), ("10 % changed", Some(10))] {
        let receiver = stage.receive()?;
        // So that the interval in which it happens has a beginning.
        vrrp_tests::pause(Duration::from_millis(2 * load.interval_ms))?;
        daemon.rewrite(&stage.place, load.changed_configuration(200, every))?;
        let from = wire::now();
        daemon.reload()?;
        vrrp_tests::pause(RELOAD)?;
        let seen = receiver.stop()?;
        let mut off: Vec<u64> = (0..load.routers)
            .flat_map(|router| seen.intervals(router))
            .filter(|(at, _)| (from..from + nanos(RELOAD)).contains(at))
            .map(|(_, gap)| gap.abs_diff(load.interval_ms * 1_000_000))
            .collect();
        let what = format!("{what}, interval");
        figures.add(format!("{what}s counted"), "", count(off.len()), Target::None);
        let quantiles = [("p99", 99.0, Target::None), ("max", 100.0, Target::AtMost(100.0))];
        for (name, at, target) in quantiles {
            let off = ms(percentile(&mut off, at));
            figures.add(format!("{what} off by, {name}"), "ms", off, target);
        }
        let silent = (0..load.routers).filter(|router| seen.first_advert(*router).is_none());
        let silent = count(silent.count());
        figures.add(format!("{what}, routers that fell silent"), "", silent, Target::AtMost(0.0));
    }
    // What the reload needed is given back some seconds after its end.
    vrrp_tests::pause(Duration::from_secs(5))?;
    figures.add("PSS afterwards", "MiB", daemon.pss_mib()?, figures.at(&[(BIG, 9.0)]));
    Ok(())
}

/// Masters whose daemon is killed, and started again as the unit has it. What a backup of priority 100 would do is known from
/// what it would hear.
fn restart(load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let mut daemon = Daemon::start(&stage.place, kind, load, 200)?;
    vrrp_tests::pause(settled(load))?;
    let receiver = stage.receive()?;
    // So that the interval in which it happens has a beginning.
    vrrp_tests::pause(Duration::from_millis(2 * load.interval_ms))?;
    daemon.kill()?;
    vrrp_tests::pause(RESTART)?;
    let _daemon = Daemon::start(&stage.place, kind, load, 200)?;
    vrrp_tests::pause(begun(load) + load.master_down(200) + Duration::from_secs(1))?;
    gaps(&receiver.stop()?, load, figures);
    Ok(())
}

/// Another program takes the place of the masters' own, which is the same one.
fn upgrade(load: Load, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let _daemon = Daemon::start(&stage.place, Kind::VrrpUser, load, 200)?;
    vrrp_tests::pause(settled(load))?;
    let receiver = stage.receive()?;
    vrrp_tests::pause(Duration::from_millis(2 * load.interval_ms))?;
    stage.upgrade()?;
    vrrp_tests::pause(load.master_down(200) + Duration::from_secs(1))?;
    gaps(&receiver.stop()?, load, figures);
    Ok(())
}

/// For how long nothing was heard of routers, and how many a backup of priority 100 takes over.
fn gaps(seen: &Seen, load: Load, figures: &mut Figures) {
    let gaps =
        (0..load.routers).filter_map(|router| seen.intervals(router).map(|(_, gap)| gap).max());
    let mut gaps: Vec<u64> = gaps.collect();
    let down = load.master_down(100);
    let taken = gaps.iter().filter(|gap| **gap >= nanos(down)).count() + load.routers - gaps.len();
    figures.add("master-down interval of a backup", "ms", ms(nanos(down)), Target::None);
    for (name, at) in [("p50", 50.0), ("max", 100.0)] {
        let gap = ms(percentile(&mut gaps, at));
        figures.add(format!("longest gap between two adverts, {name}"), "ms", gap, Target::None);
    }
    figures.add("routers that a backup takes over", "", count(taken), Target::AtMost(0.0));
}

/// What a flood did to backups that hear their master.
#[derive(Clone, Copy)]
struct Flooded {
    /// Milliseconds of CPU per second.
    cpu_ms: f64,
    /// Frames that were sent per second.
    rate: f64,
    /// Routers that took over.
    took_over: f64,
}

/// Floods backups for a while.
fn flooded(
    what: Flood,
    duration: Duration,
    load: Load,
    kind: Kind,
    options: &[&str],
) -> Result<Flooded> {
    let stage = Stage::new(load)?;
    let _generator = stage.advertise(0..load.routers, Pacing::Even);
    let daemon = Daemon::start_with(&stage.place, kind, load, 100, options)?;
    vrrp_tests::pause(begun(load))?;
    let flood = stage.flood(what)?;
    let cpu_ms = daemon.usage(duration)?.cpu_ms;
    let rate = flood.stop()?;
    Ok(Flooded { cpu_ms, rate, took_over: count(stage.addresses()?) })
}

/// As many advertisements as the other side can send.
fn flood(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    for what in Flood::ALL {
        let Flooded { cpu_ms, rate, took_over } = flooded(what, plan.duration, load, kind, &[])?;
        let target = if what == Flood::Changing { 100.0 } else { 2.0 };
        figures.add(format!("{what}, CPU"), "ms/s", cpu_ms, Target::AtMost(target));
        figures.add(format!("{what}, sent per second"), "", rate, Target::None);
        let what = format!("{what}, routers that took over");
        figures.add(what, "", took_over, Target::AtMost(0.0));
    }
    let stage = Stage::new(load)?;
    let _daemon = Daemon::start(&stage.place, kind, load, 200)?;
    vrrp_tests::pause(load.master_down(200) + Duration::from_secs(3))?;
    let flood = stage.flood(Flood::BadChecksum)?;
    let receiver = stage.receive()?;
    vrrp_tests::pause(plan.duration)?;
    let seen = receiver.stop()?;
    flood.stop()?;
    figures.spread("master, interval", &mut jitter(&seen, load), 5.0, Target::None);
    Ok(())
}

/// The floods of [`flood`] for each way to capture. keepalived has but one, which stands beside each of ours.
fn capture(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    const WAYS: [&str; 4] = ["native", "generic", "tc", "raw"];
    let duration = plan.duration.min(BEFORE_DOUBT_ENDS);
    for what in Flood::ALL {
        let mut theirs = None;
        for way in WAYS {
            let measured = match (kind, theirs) {
                (Kind::Keepalived | Kind::Frr, Some(measured)) => measured,
                (Kind::Keepalived | Kind::Frr, None) => flooded(what, duration, load, kind, &[])?,
                (Kind::VrrpUser, _) => flooded(what, duration, load, kind, &["--capture", way])?,
            };
            theirs = Some(measured);
            // A packet socket wakes the daemon for everything, as it does keepalived: under a flood each takes what there
            // is. What matters is that nobody takes over for what was lost.
            let target = match (way, what) {
                ("raw", _) => Target::None,
                (_, Flood::Changing) => Target::AtMost(100.0),
                (_, Flood::BadChecksum | Flood::UnknownVrid | Flood::Repeated) => {
                    Target::AtMost(2.0)
                }
            };
            figures.add(format!("{way}, {what}, CPU"), "ms/s", measured.cpu_ms, target);
            let routers = format!("{way}, {what}, routers that took over");
            figures.add(routers, "", measured.took_over, Target::AtMost(0.0));
        }
    }
    Ok(())
}

/// From exec to the first advertisement of the last router, and from SIGTERM to the end.
fn start(load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let receiver = stage.receive()?;
    let began = wire::now();
    // The owner of the address advertises as soon as it can.
    let mut daemon = Daemon::start(&stage.place, kind, load, 255)?;
    vrrp_tests::pause(begun(load) + Duration::from_secs(2))?;
    let stopping = Instant::now();
    daemon.stop()?;
    let stop = stopping.elapsed().as_secs_f64();
    let seen = receiver.stop()?;
    let firsts = (0..load.routers).filter_map(|router| seen.first_advert(router));
    let mut firsts: Vec<u64> = firsts.map(|at| at.saturating_sub(began)).collect();
    let target = figures.at(&[(BIG, 2.0), (LINK, 2.0)]);
    let last = ms(percentile(&mut firsts, 100.0)) / 1000.0;
    figures.add("exec to the last router's first advert", "s", last, target);
    figures.add(
        "routers without an advert",
        "",
        count(load.routers - firsts.len()),
        Target::AtMost(0.0),
    );
    figures.add("stop", "s", stop, target);
    Ok(())
}

/// Memory, with every router master.
fn memory(load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let daemon = Daemon::start(&stage.place, kind, load, 255)?;
    // The second group of gratuitous ARP comes after 5 s.
    vrrp_tests::pause(begun(load) + Duration::from_secs(2))?;
    let pss = figures.at(&[(LINK, 6.0), (BIG, 9.0)]);
    figures.add("PSS", "MiB", daemon.pss_mib()?, pss);
    match kind {
        Kind::VrrpUser => figures.add("BPF maps", "MiB", daemon.map_mib()?, Target::None),
        Kind::Keepalived | Kind::Frr => {}
    }
    Ok(())
}

/// Two busy loops per core beside it.
fn busy(plan: &Plan, load: Load, kind: Kind, figures: &mut Figures) -> Result<()> {
    let stage = Stage::new(load)?;
    let _daemon = Daemon::start(&stage.place, kind, load, 200)?;
    vrrp_tests::pause(settled(load))?;
    let loops = BusyLoops::start()?;
    let receiver = stage.receive()?;
    vrrp_tests::pause(plan.duration)?;
    let seen = receiver.stop()?;
    drop(loops);
    figures.spread("interval", &mut jitter(&seen, load), 5.0, Target::None);
    Ok(())
}

/// How much each interval between a router's advertisements differs from the configured one, ns.
fn jitter(seen: &Seen, load: Load) -> Vec<u64> {
    let interval = load.interval_ms * 1_000_000;
    let all = (0..load.routers).flat_map(|router| seen.intervals(router));
    all.map(|(_, gap)| gap.abs_diff(interval)).collect()
}

/// As nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// As milliseconds.
#[allow(clippy::cast_precision_loss)]
pub fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// As a figure.
#[allow(clippy::cast_precision_loss)]
pub fn count(of: usize) -> f64 {
    of as f64
}
