//! `cargo xtask bench`: many virtual routers on one host, `vrrp-user` and keepalived on the same work in the
//! same run, and FRR where it is about virtual MAC addresses.
//!
//! Nothing is asserted: figures depend on the machine, ratios less so. Each is printed beside its peer's and
//! beside the project's target, and all of them are left as files. The network is two namespaces with direct
//! veth pairs; the other side of each router is not a daemon but a thread that sends prebuilt frames and one
//! that notes what arrives and when.

mod frr;
mod plot;
mod report;
mod scenarios;
mod stage;
mod virtual_mac;
mod wire;
mod xdp;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use vrrp_tests::{BenchArgs, Scenario};

use crate::report::{Facts, Line, Report};
use crate::scenarios::Figure;
use crate::stage::{Kind, Load};

#[derive(Parser)]
#[command(bin_name = "cargo xtask bench", about = "Measure the daemon against keepalived")]
struct Cli {
    #[command(flatten)]
    args: BenchArgs,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// How to measure.
pub struct Plan {
    /// Few routers and short times.
    pub quick: bool,
    /// How long a steady state is measured.
    pub duration: Duration,
}

/// Something to measure once for each daemon.
struct Step {
    scenario: Scenario,
    load: Load,
    daemons: Vec<Kind>,
}

/// What the arguments ask for, in the order of the scenarios.
fn steps(args: &BenchArgs) -> Vec<Step> {
    let mut steps = Vec::new();
    for &scenario in Scenario::value_variants() {
        let wanted = args.scenarios.is_empty() || args.scenarios.contains(&scenario);
        if !wanted || scenario == Scenario::Pure {
            continue;
        }
        let mut daemons = vec![Kind::VrrpUser];
        if !args.no_peer {
            daemons.extend(scenarios::peers(scenario));
        }
        for load in scenarios::loads(scenario, args) {
            steps.push(Step { scenario, load, daemons: daemons.clone() });
        }
    }
    steps
}

/// `target/bench`, where the results go.
fn directory() -> PathBuf {
    // Cargo's own directory for the files of benches is `target/tmp`.
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

fn main() -> ExitCode {
    let Cli { args, bench: _ } = Cli::parse();
    if let Err(error) = vrrp_tests::interrupt_on_signals() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let plan = Plan {
        quick: args.quick,
        duration: Duration::from_secs(args.seconds.unwrap_or(if args.quick { 4 } else { 10 })),
    };
    let steps = steps(&args);
    let mut report = Report::new(Facts::gather(&args));
    println!("{}", report.facts);
    println!("{}", Line::HEADER);
    let bar = progress(steps.iter().map(|step| step.daemons.len() as u64 * args.repeat).sum());
    for step in &steps {
        let lines = run(step, &plan, args.repeat, &bar, &mut report.errors);
        for line in lines {
            // On a terminal the bar stays below the table.
            bar.suspend(|| println!("{line}"));
            report.lines.push(line);
        }
        if vrrp_tests::interrupted() {
            report.errors.push("interrupted".to_owned());
            break;
        }
    }
    bar.finish_and_clear();
    for error in &report.errors {
        eprintln!("error: {error}");
    }
    report.facts.finish();
    println!("{report}");
    match report.write(&directory()) {
        Ok(()) if report.errors.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures a step, the daemons in turns, and puts their figures side by side.
fn run(
    step: &Step,
    plan: &Plan,
    repeat: u64,
    bar: &ProgressBar,
    errors: &mut Vec<String>,
) -> Vec<Line> {
    let Step { scenario, load, daemons } = step;
    let mut all: Vec<(Kind, Vec<Figure>)> = Vec::new();
    for _ in 0..repeat {
        for &kind in daemons {
            if vrrp_tests::interrupted() {
                return Vec::new();
            }
            bar.set_message(format!("{}, {load}: {kind}", scenario.name()));
            match scenarios::measure(*scenario, plan, *load, kind) {
                Ok(figures) => all.push((kind, figures)),
                // Reported once, after the last step.
                Err(vrrp_tests::Error::Interrupted) => return Vec::new(),
                Err(error) => errors.push(format!("{}, {load}: {kind}: {error}", scenario.name())),
            }
            bar.inc(1);
        }
    }
    report::compare(*scenario, *load, &all)
}

/// A bar on stderr; indicatif draws it only on a terminal.
fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    // The template is a constant; with a wrong one the default would do.
    if let Ok(style) = ProgressStyle::with_template("[{elapsed}] {bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
