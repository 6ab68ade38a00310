//! What a run leaves: facts about the machine and a line for each figure, as a table, JSON and Markdown.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;
use vrrp_tests::{BenchArgs, Error, Frr, Result, Scenario};

use crate::plot;
use crate::scenarios::{Figure, Target};
use crate::stage::{Kind, Load, keepalived};

/// What the figures depend on.
#[derive(Serialize)]
pub struct Facts {
    date: String,
    revision: String,
    kernel: String,
    cpu: String,
    cores: usize,
    memory_mib: u64,
    /// `net.core.bpf_jit_enable`; 1 when BPF programs are compiled.
    bpf_jit_enable: String,
    keepalived: String,
    frr: String,
    quick: bool,
    repeat: u64,
    /// The load average of one, five and fifteen minutes: what else the machine did.
    load_average_start: String,
    load_average_end: String,
}

impl Facts {
    /// Looks around.
    pub fn gather(args: &BenchArgs) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let meminfo = read("/proc/meminfo");
        let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib: Option<u64> = memory.and_then(|m| m.split_whitespace().next()?.parse().ok());
        Self {
            date: first_line("date", &["-u", "+%F %H:%M UTC"]),
            revision: first_line("git", &["describe", "--always", "--dirty"]),
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, m)| m.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib.unwrap_or(0) / 1024,
            bpf_jit_enable: read("/proc/sys/net/core/bpf_jit_enable"),
            keepalived: first_line(&keepalived(), &["--version"]),
            frr: Frr::version().unwrap_or_else(|| "not found".to_owned()),
            quick: args.quick,
            repeat: args.repeat,
            load_average_start: load_average(),
            load_average_end: String::new(),
        }
    }

    /// Notes what is known at the end only.
    pub fn finish(&mut self) {
        self.load_average_end = load_average();
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, revision, kernel, cpu, cores, memory_mib, .. } = self;
        let Self { bpf_jit_enable, keepalived, frr, quick, repeat, .. } = self;
        let Self { load_average_start: start, load_average_end: end, .. } = self;
        write!(f, "{date}, {cores} cores {cpu}, {memory_mib} MiB, Linux {kernel}, ")?;
        write!(f, "net.core.bpf_jit_enable {bpf_jit_enable}, {keepalived}, FRR {frr}, ")?;
        write!(f, "vrrp-user {revision}, load average {start}")?;
        if !end.is_empty() {
            write!(f, " at the start, {end} at the end")?;
        }
        if *repeat > 1 {
            write!(f, ", median of {repeat}")?;
        }
        if *quick {
            write!(f, ", --quick: to try the benchmark, not to measure")?;
        }
        Ok(())
    }
}

/// The content of a small file, or nothing.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn load_average() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The first line that a command prints on either output: keepalived tells its version on stderr.
fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("not found").trim().to_owned()
}

/// The same figure of several measurements.
#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    /// The one that counts.
    pub median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: values[(values.len() - 1) / 2], min, max })
    }
}

/// One line of the result.
#[derive(Serialize)]
pub struct Line {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Routers and interval.
    pub load: Load,
    /// What was measured.
    pub what: String,
    /// Its unit; empty for a plain count, which has no better or worse.
    pub unit: &'static str,
    /// Of `vrrp-user`; none where it did not even do what is measured.
    pub ours: Option<Spread>,
    /// Of keepalived, where there is such a thing.
    pub theirs: Option<Spread>,
    /// Of FRR, where it is measured.
    pub frr: Option<Spread>,
    /// `theirs` by `ours`.
    pub ratio: Option<f64>,
    /// What the project wants `ours` to be at most.
    pub target: Option<f64>,
    /// Whether it is.
    pub met: Option<bool>,
}

impl Line {
    /// The heads of the columns.
    pub const HEADER: Header = Header;
}

/// See [`Line::HEADER`].
pub struct Header;

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<72} {:>10} {:>10} {:>10} {:<5} {:>8}",
            "", "vrrp-user", "keepalived", "FRR", "", "ratio"
        )
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = format!("{}, {}: {}", self.scenario, self.load, self.what);
        let [ours, theirs, frr, ratio] = self.columns();
        let target = self.target.map_or_else(String::new, |target| {
            let met = if self.met == Some(true) { "ok" } else { "MISSED" };
            format!("{met} (at most {})", number(target))
        });
        let daemons = format!("{ours:>10} {theirs:>10} {frr:>10}");
        write!(f, "{what:<72} {daemons} {:<5} {ratio:>8}  {target}", self.unit)
    }
}

impl Line {
    /// The daemons' figures, and keepalived's by ours.
    fn columns(&self) -> [String; 4] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let ratio = or_dash(self.ratio.map(|ratio| format!("{ratio:.1}x")));
        let daemons = [self.ours, self.theirs, self.frr];
        let [ours, theirs, frr] =
            daemons.map(|figure| or_dash(figure.map(|figure| number(figure.median))));
        [ours, theirs, frr, ratio]
    }
}

/// With as many decimals as mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The measurements of the daemons side by side. Any of them may lack figures: a daemon that sends nothing
/// has no intervals, and only FRR wants devices to be made beforehand. What none but the shorter lists have comes behind.
pub fn compare(scenario: Scenario, load: Load, all: &[(Kind, Vec<Figure>)]) -> Vec<Line> {
    let spread = |kind: Kind, what: &str| {
        let figures = all.iter().filter(|(k, _)| *k == kind).flat_map(|(_, figures)| figures);
        Spread::of(figures.filter(|f| f.what == what).map(|f| f.value).collect())
    };
    let mut lists: Vec<&Vec<Figure>> = all.iter().map(|(_, figures)| figures).collect();
    lists.sort_by_key(|figures| std::cmp::Reverse(figures.len()));
    let mut rows: Vec<&Figure> = Vec::new();
    for figure in lists.into_iter().flatten() {
        if !rows.iter().any(|row| row.what == figure.what) {
            rows.push(figure);
        }
    }
    let line = |figure: &Figure| {
        let ours = spread(Kind::VrrpUser, &figure.what);
        let theirs = spread(Kind::Keepalived, &figure.what);
        let target = match figure.target {
            Target::None => None,
            Target::AtMost(target) => Some(target),
            Target::OfTheirs(part) => theirs.map(|theirs| part * theirs.median),
        };
        let comparable = ours.zip(theirs).filter(|(ours, _)| ours.median > 0.0);
        Line {
            scenario: scenario.name(),
            load,
            what: figure.what.clone(),
            unit: figure.unit,
            ours,
            theirs,
            frr: spread(Kind::Frr, &figure.what),
            ratio: comparable
                .filter(|_| !figure.unit.is_empty())
                .map(|(ours, theirs)| theirs.median / ours.median),
            target,
            met: target.map(|target| ours.is_some_and(|ours| ours.median <= target)),
        }
    };
    rows.into_iter().map(line).collect()
}

/// The whole result.
#[derive(Serialize)]
pub struct Report {
    /// Of the machine.
    pub facts: Facts,
    /// In the order of their measurement.
    pub lines: Vec<Line>,
    /// What could not be measured.
    pub errors: Vec<String>,
}

impl Report {
    /// Without any figures yet.
    pub fn new(facts: Facts) -> Self {
        Self { facts, lines: Vec::new(), errors: Vec::new() }
    }

    /// Writes it as `results.json`, `results.md` and `results.svg`. Without figures it leaves those of the
    /// last run alone.
    pub fn write(&self, directory: &Path) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Unexpected(format!("write JSON: {error}")))?;
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))
        };
        fs::create_dir_all(directory)
            .map_err(Error::io(format!("make {}", directory.display())))?;
        write("results.json", &json)?;
        write("results.md", &self.markdown())?;
        write("results.svg", &plot::svg(&self.lines, &self.facts.to_string()))?;
        println!("results.json, results.md and results.svg are in {}", directory.display());
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "{}.\n\n| | routers | | vrrp-user | keepalived | FRR | | ratio | target |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            self.facts
        );
        let mut last = "";
        for line in &self.lines {
            let [ours, theirs, frr, ratio] = line.columns();
            let target = match (line.target, line.met) {
                (Some(target), Some(true)) => number(target),
                (Some(target), Some(false) | None) => format!("**{}, missed**", number(target)),
                (None, Some(_) | None) => String::new(),
            };
            let scenario = if line.scenario == last { "" } else { line.scenario };
            last = line.scenario;
            let Line { load, what, unit, .. } = line;
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {scenario} | {load} | {what} | {ours} | {theirs} | {frr} | {unit} | {ratio} | {target} |"
            );
        }
        for error in &self.errors {
            let _ = writeln!(text, "\nNot measured: {error}");
        }
        text
    }
}

/// The last line of the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = self.lines.iter().filter(|line| line.met == Some(false)).count();
        write!(f, "{} figures, {missed} beyond their target, ", self.lines.len())?;
        write!(f, "load average {} at the end", self.facts.load_average_end)
    }
}
