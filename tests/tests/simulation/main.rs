//! Whole networks on a virtual clock. The daemons are whole cores, driven as the real driver does it, and what stands for XDP
//! decides by the code of the kernel side; kernels, netlink and the network between the hosts are simulated, and fail in
//! every way that there is. One seed tells everything.
//!
//! What must hold is in `invariants.rs`. Whatever goes wrong, no address stays on a host that is not master for longer than
//! its removal takes; what wakes nobody because it was acknowledged is the master's own; a backup takes over when its master
//! was silent for the whole master-down interval, and not before; the members of a sync group are in one state. When
//! everything works again, there is one master after a bounded time, the right one, and it stays; and the kernels have what
//! their cores believe.
//!
//! `cargo xtask sim` runs more of it, and replays a failure.

// The whole program is test code; clippy only recognises the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Most effects concern nobody here.
#![allow(clippy::wildcard_enum_match_arm)]

mod config;
mod datapath;
mod faults;
mod host;
mod invariants;
mod leases;
mod netlink;
mod network;
mod rng;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use invariants::{Outcome, simulate};
use vrrp_user::types::planted::{Fault, plant};

/// Networks that the suite runs.
const RUNS: u64 = 1900;
/// Events that they are at least.
const EVENTS: u64 = 5_000_000;

/// What came of many networks.
#[derive(Debug, Default)]
struct Tally {
    events: u64,
    /// The least seed that shows something wrong.
    failed: Option<u64>,
}

/// What came of a seed; a panic of the core is something wrong, too.
fn run(seed: u64, traced: bool) -> Outcome {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| simulate(seed, traced)));
    outcome.unwrap_or_else(|_| Outcome {
        digest: 0,
        events: 0,
        violation: Some("the core has panicked".to_owned()),
        trace: Vec::new(),
    })
}

/// Runs the networks of these seeds, on all processors, until one fails or `goes_on` says no. All daemons make that mistake.
fn run_all(
    fault: Option<Fault>,
    first: u64,
    runs: u64,
    goes_on: impl Fn(u64, u64) -> bool + Sync,
) -> Tally {
    let (next, events, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(u64::MAX));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                plant(fault);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let seed = first + number;
                    let done = number >= runs || failed.load(Ordering::Relaxed) < seed;
                    if done || !goes_on(number, events.load(Ordering::Relaxed)) {
                        return;
                    }
                    let outcome = run(seed, false);
                    events.fetch_add(outcome.events, Ordering::Relaxed);
                    if outcome.violation.is_some() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = Some(failed.into_inner()).filter(|seed| *seed < u64::MAX);
    Tally { events: events.into_inner(), failed }
}

/// Runs a seed that fails once more, says what happened last, and how to see it again.
fn explain(seed: u64) -> String {
    let outcome = run(seed, true);
    for line in &outcome.trace {
        eprintln!("{line}");
    }
    let what = outcome.violation.unwrap_or_else(|| "nothing is wrong this time".to_owned());
    format!("seed {seed}: {what}\nreplay it with `cargo xtask sim --seed {seed}`")
}

#[test]
fn networks_heal() {
    let tally = run_all(None, 0, RUNS, |_, _| true);
    if let Some(seed) = tally.failed {
        panic!("{}", explain(seed));
    }
    assert!(tally.events >= EVENTS, "{tally:?}");
}

/// `cargo xtask` looks for it in each daemon that it builds (`xtask/src/build.rs`).
#[test]
fn programs_with_planted_faults_are_known_by_a_symbol() {
    let symbol = format!("7{}", "planted".to_uppercase());
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(program.windows(symbol.len()).any(|bytes| bytes == symbol.as_bytes()));
}

/// Who finds nothing wrong has to show that it would.
#[test]
fn planted_faults_are_found() {
    let missed = Fault::ALL.iter().copied().filter(|fault| {
        let tally = run_all(Some(*fault), 0, RUNS, |_, _| true);
        println!("{fault:?}: {tally:?}");
        tally.failed.is_none()
    });
    assert_eq!(missed.collect::<Vec<_>>(), []);
}

#[test]
fn a_seed_tells_everything() {
    assert_eq!(simulate(42, false).digest, simulate(42, true).digest);
    assert_ne!(simulate(42, false).digest, simulate(43, false).digest);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// What `cargo xtask sim` runs: as many networks as it is told to, for as long as it is told.
#[test]
#[ignore = "`cargo xtask sim` runs it"]
fn explore() {
    let (first, seconds) = (number("VRRP_SIM_SEED"), number("VRRP_SIM_SECONDS"));
    let runs = number("VRRP_SIM_RUNS");
    // A seed alone is one to be replayed.
    let alone = first.is_some() && seconds.is_none() && runs.is_none();
    let runs = runs.unwrap_or(if alone { 1 } else { u64::MAX });
    let (first, limit) = (first.unwrap_or(0), Duration::from_secs(seconds.unwrap_or(3600)));
    let begin = Instant::now();
    let bar = ProgressBar::new(if runs < u64::MAX { runs } else { limit.as_secs() });
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
    bar.set_style(style.expect("a template"));
    let tally = run_all(None, first, runs, |number, events| {
        let elapsed = begin.elapsed();
        bar.set_position(if runs < u64::MAX { number } else { elapsed.as_secs() });
        bar.set_message(format!("seed {}, {} events/s", first + number, rate(events, elapsed)));
        elapsed < limit
    });
    bar.finish_and_clear();
    let rate = rate(tally.events, begin.elapsed());
    println!("from seed {first}: {} events, {rate} a second", tally.events);
    if let Some(seed) = tally.failed {
        panic!("{}", explain(seed));
    }
}

fn rate(events: u64, elapsed: Duration) -> u128 {
    u128::from(events) * 1000 / elapsed.as_millis().max(1)
}
