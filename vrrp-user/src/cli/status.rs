//! `vrrp-user status`.

#[cfg(test)]
mod sample_tests;
mod scripts;
pub(super) mod select;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::thread;

use serde::Serialize;

use self::select::Wanted;
use clap_complete::ArgValueCandidates;

use super::Error;
use super::clock::here;
use super::common::{InstanceArg, WatchArg};
use super::complete;
use super::events::happened;
use super::table::Table;
use super::terminal::{Colour, Terminal, in_place, state_colour};
use crate::api::{
    self, Garp, HmacStatus, InterfaceStatus, LastReload, ObjectStatus, RouterDetail, RouterStatus,
    SCHEMA, Status,
};
use crate::capture::{WITHOUT_BPF, WITHOUT_PINS, title};
use crate::control::client;
use crate::wire::family::Family;

/// Of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Addresses that a row of the table names.
const ADDRESSES_SHOWN: usize = 1;
/// Problems that the table shows.
const PROBLEMS_SHOWN: usize = 10;
/// For how many seconds a change of state is shown before what has not changed.
const RECENT: f64 = 600.0;
/// For how many seconds after its start a daemon's changes of state are those that each start brings.
const STARTING: f64 = 60.0;

/// What to show, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only this router, in full, with its last transitions: its name, INTERFACE/VRID, or one of its addresses. With `*` and
    /// `?`, or where several have the address, all that match.
    #[arg(add = ArgValueCandidates::new(complete::routers), conflicts_with_all = ["states", "interfaces"])]
    name: Option<String>,
    #[command(flatten)]
    instance: InstanceArg,
    /// Only routers in one of these states: master, backup, fault, init.
    #[arg(add = ArgValueCandidates::new(complete::states), long = "state", value_name = "STATE", value_delimiter = ',', value_parser = parse_state)]
    states: Vec<String>,
    /// Only what is on this interface; several with commas between, or with `*` and `?` all that match: `red/*` is all in the
    /// network namespace red.
    #[arg(add = ArgValueCandidates::new(complete::interfaces), long = "interface", value_name = "INTERFACE", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// Only say what is wrong, and end with 2 where something is: a problem, or a router in FAULT.
    #[arg(long, conflicts_with_all = ["watch", "json", "states", "interfaces"])]
    check: bool,
    #[command(flatten)]
    watch: WatchArg,
    /// As JSON; with --watch one line each time.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// A name behind `--watch` is a name.
    pub fn settle(&mut self) -> Result<(), String> {
        let taken = !self.states.is_empty() || !self.interfaces.is_empty();
        self.watch.settle(&mut self.name, taken)
    }
}

/// Prints the state of a running daemon. Whether all is well is the result, where that was asked.
pub fn status(options: &Options, out: &mut impl Write) -> Result<bool, Error> {
    if options.check {
        let (well, text) = check(options, Terminal::stdout())?;
        out.write_all(text.as_bytes())?;
        return Ok(well);
    }
    let Some(period) = options.watch.period() else {
        let text = once(options, Terminal::stdout())?;
        out.write_all(text.as_bytes())?;
        return Ok(true);
    };
    loop {
        // It may have been resized.
        let terminal = Terminal::stdout();
        let text = match once(options, terminal) {
            Ok(text) => text,
            // It may come back, and who watches wants to see that.
            Err(Error::Client(error)) if !options.json => {
                format!("{}\n", terminal.paint(&error.to_string(), Colour::Red))
            }
            Err(error) => return Err(error),
        };
        out.write_all(redraw(&text, terminal, options.json).as_bytes())?;
        out.flush()?;
        thread::sleep(period);
    }
}

fn once(options: &Options, terminal: Terminal) -> Result<String, Error> {
    let instance = &options.instance.instance;
    let wanted = options.name.as_deref().map(Wanted::new);
    if let Some(Wanted::Name(name)) = &wanted {
        return one(options, name, terminal);
    }
    let mut status = client::status(instance)?;
    let everything = status.routers.len();
    if let Some(wanted) = &wanted {
        narrow(&mut status, wanted)?;
        if let ([router], Wanted::Address(_)) = (&status.routers[..], wanted) {
            return one(options, &router.name, terminal);
        }
    }
    let there = |name: &String| {
        status.interfaces.iter().any(|interface| select::matches(name, &interface.name))
            || status.routers.iter().any(|router| select::matches(name, &router.interface))
    };
    if let Some(name) = options.interfaces.iter().find(|name| !there(name)) {
        return Err(Error::Unknown(select::unknown_interface(name, &status)));
    }
    let in_state =
        |router: &RouterStatus| options.states.is_empty() || options.states.contains(&router.state);
    let on = |interface: &str| {
        let mut wanted = options.interfaces.iter();
        options.interfaces.is_empty() || wanted.any(|name| select::matches(name, interface))
    };
    status.routers.retain(|router| in_state(router) && on(&router.interface));
    status.interfaces.retain(|interface| on(&interface.name));
    if options.json {
        return json(&status, options.watch.watch.is_some());
    }
    Ok(overview(&status, everything, terminal))
}

/// One router, in full.
fn one(options: &Options, name: &str, terminal: Terminal) -> Result<String, Error> {
    let instance = &options.instance.instance;
    let detail = match client::router(instance, name) {
        Err(client::Error::Refused(..)) => {
            let (mut status, wanted) = (client::status(instance)?, Wanted::Name(name.to_owned()));
            narrow(&mut status, &wanted)?;
            // It has come meanwhile.
            client::router(instance, name)?
        }
        asked => asked?,
    };
    if options.json {
        json(&detail, options.watch.watch.is_some())
    } else {
        Ok(full(&detail, jiff::Timestamp::now(), terminal))
    }
}

/// Only the routers that are meant, and their interfaces.
/// Errors: there is none.
fn narrow(status: &mut Status, wanted: &Wanted) -> Result<(), Error> {
    if !status.routers.iter().any(|router| wanted.is(router)) {
        return Err(Error::Unknown(wanted.unknown(status)));
    }
    status.routers.retain(|router| wanted.is(router));
    let on: BTreeSet<String> = status.routers.iter().map(|r| r.interface.clone()).collect();
    status.interfaces.retain(|interface| on.contains(&interface.name));
    Ok(())
}

/// Whether all is well, and what is not.
fn check(options: &Options, terminal: Terminal) -> Result<(bool, String), Error> {
    let mut status = client::status(&options.instance.instance)?;
    let everything = status.routers.len();
    if let Some(name) = &options.name {
        narrow(&mut status, &Wanted::new(name))?;
        status.problems.clear();
    }
    Ok(checked(&status, everything, terminal))
}

fn checked(status: &Status, everything: usize, terminal: Terminal) -> (bool, String) {
    let problems = problems(status);
    let mut text = summary(&status.routers, everything, problems.len(), terminal);
    push_wrong(&mut text, problems.iter(), terminal);
    let fault = status.routers.iter().any(|router| router.state == "FAULT");
    (problems.is_empty() && !fault, text)
}

/// For people to read as well, or each on one line when they follow each other.
fn json(value: &impl Serialize, one_line: bool) -> Result<String, Error> {
    let text =
        if one_line { serde_json::to_string(value)? } else { serde_json::to_string_pretty(value)? };
    Ok(text + "\n")
}

/// A text in the place of the one before. What is longer than the terminal is cut, and said to be.
fn redraw(text: &str, terminal: Terminal, json: bool) -> String {
    if json {
        return text.to_owned();
    }
    let Some(height) = terminal.height else { return format!("{text}\n") };
    let (all, room) = (text.lines().count(), height.saturating_sub(1));
    let shown = if all > room { room.saturating_sub(1) } else { all };
    let rest =
        format!("... {} more lines: --state, --interface or a NAME narrow it down", all - shown);
    let rest = (all > shown).then_some(rest.as_str());
    in_place(text.lines().take(shown).chain(rest))
}

/// All routers, for people.
fn overview(status: &Status, everything: usize, terminal: Terminal) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "instance {}  pid {}  up {}  config {}",
        status.instance,
        status.pid,
        format_duration(status.uptime_s),
        status.config
    );
    if status.version != VERSION || status.schema != SCHEMA {
        let theirs = &status.version;
        let _ = writeln!(
            text,
            "it runs version {theirs}, this is {VERSION}: what only one of them knows is not shown"
        );
    }
    if let Some(left) = status.startup_delay_s {
        let _ = writeln!(
            text,
            "startup delay: for another {} no router takes over",
            format_duration(left)
        );
    }
    if let Some(why) = &status.no_bpf {
        let _ = writeln!(text, "{}", terminal.fit(&format!("{why}; {WITHOUT_BPF}"), 4));
    }
    if let Some(why) = &status.no_pins {
        let _ = writeln!(text, "{}", terminal.fit(&format!("{why}; {WITHOUT_PINS}"), 4));
    }
    for lack in &status.lacks {
        let _ = writeln!(text, "{}", terminal.fit(lack, 4));
    }
    if status.announcements_waiting > 0 {
        let _ = writeln!(
            text,
            "{} announcements of addresses wait for their turn",
            status.announcements_waiting
        );
    }
    if let Some(reload) = &status.reload {
        text += &last_reload(reload, terminal);
    }
    let problems = problems(status);
    text += &summary(&status.routers, everything, problems.len(), terminal);
    text.push('\n');
    push_problems(&mut text, &problems, terminal);
    if !status.routers.is_empty() {
        push_lines(&mut text, &routers(&worst_first(status), terminal));
        text.push('\n');
    }
    push_lines(&mut text, &interfaces(&status.interfaces, terminal));
    if !status.scripts.is_empty() {
        text.push('\n');
        push_lines(&mut text, &scripts::lines(&status.scripts, terminal));
    }
    objects(&mut text, "ALWAYS THERE", &status.always, true, terminal);
    let counted: Vec<_> = api::current(&status.counters).filter(|(_, count)| **count > 0).collect();
    if !counted.is_empty() {
        let counted = counted.iter().map(|(name, count)| format!("{name} {count}"));
        let counted = counted.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "\n{}  {counted}", terminal.paint("COUNTED", Colour::Bold));
    }
    text
}

fn push_wrong<'a>(
    text: &mut String,
    problems: impl Iterator<Item = &'a String>,
    terminal: Terminal,
) {
    for problem in problems {
        let _ = writeln!(text, "{}", terminal.fit(&terminal.paint(problem, Colour::Red), 4));
    }
}

/// Before the table: who looks at many routers sees what is wrong with them first.
fn push_problems(text: &mut String, problems: &[String], terminal: Terminal) {
    if problems.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", terminal.paint("PROBLEMS", Colour::Bold));
    push_wrong(text, problems.iter().take(PROBLEMS_SHOWN), terminal);
    if let Some(more) = problems.len().checked_sub(PROBLEMS_SHOWN).filter(|more| *more > 0) {
        let plural = if more == 1 { "" } else { "s" };
        let _ = writeln!(text, "and {more} more problem{plural}: --check shows them all");
    }
    text.push('\n');
}

/// The routers with problems, then those in FAULT, then those that have changed their state lately, the last one first, and
/// then the others, each as they are configured.
fn worst_first(status: &Status) -> Vec<&RouterStatus> {
    let lately = |router: &RouterStatus| {
        router.since_s < RECENT && status.uptime_s - router.since_s > STARTING
    };
    let mut routers: Vec<_> = status.routers.iter().collect();
    routers.sort_by(|a, b| {
        let rank = |router: &RouterStatus| {
            (router.problems.is_empty(), router.state != "FAULT", !lately(router))
        };
        let later =
            if lately(a) && lately(b) { a.since_s.total_cmp(&b.since_s) } else { Ordering::Equal };
        rank(a).cmp(&rank(b)).then(later)
    });
    routers
}

/// What came of the last reload.
fn last_reload(reload: &LastReload, terminal: Terminal) -> String {
    let LastReload { at, applied, summary, errors, error_causes: _ } = reload;
    let at = here(at);
    if *applied {
        return format!("reloaded at {at}: {summary}\n");
    }
    let line = format!("reload refused at {at}: {summary}; everything goes on as before");
    let mut text = terminal.paint(&line, Colour::Red) + "\n";
    for error in errors {
        let _ = writeln!(text, "  {}", terminal.paint(error, Colour::Red));
    }
    text
}

fn push_lines(text: &mut String, lines: &[String]) {
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
}

/// `2 PROBLEMS`; nothing where all is well.
pub(super) fn count_problems(problems: usize) -> Option<String> {
    let s = if problems == 1 { "" } else { "S" };
    (problems > 0).then(|| format!("{problems} PROBLEM{s}"))
}

/// `3 virtual routers: 1 FAULT, 2 MASTER; 1 PROBLEM`.
fn summary(
    routers: &[RouterStatus],
    everything: usize,
    problems: usize,
    terminal: Terminal,
) -> String {
    let mut states: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for router in routers {
        *states.entry((router.state != "FAULT", &router.state)).or_default() += 1;
    }
    let states = states.iter().map(|((_, state), count)| {
        format!("{count} {}", terminal.paint(state, state_colour(state)))
    });
    let states = states.collect::<Vec<_>>().join(", ");
    let of = if routers.len() == everything { String::new() } else { format!(" of {everything}") };
    let colon = if routers.is_empty() && everything > 0 { "" } else { ": " };
    let states = if everything == 0 { "idle".to_owned() } else { states };
    let s = if everything == 1 { "" } else { "s" };
    let wrong = count_problems(problems);
    let wrong = wrong.map(|wrong| format!("; {}", terminal.paint(&wrong, Colour::Red)));
    let wrong = wrong.unwrap_or_default();
    format!("{}{of} virtual router{s}{colon}{states}{wrong}\n", routers.len())
}

fn routers(routers: &[&RouterStatus], terminal: Terminal) -> Vec<String> {
    Table::of(routers)
        .text("ROUTER", 0, |r| r.name.clone())
        .shortened(4)
        .text("INTERFACE", 3, |r| r.interface.clone())
        .text("VRID", 2, |r| r.vrid)
        .text("VERSION", 8, |r| format!("v{}", r.version))
        .text("STATE", 0, |r| r.state.clone())
        .coloured(|router| state_colour(&router.state))
        .text("SINCE", 1, |r| format_duration(r.since_s))
        .text("PRIO", 4, |r| priority(r))
        .text("MASTER (PRIO)", 0, |r| master(r))
        .text("NEXT", 7, |r| next(r))
        .text("ADDRESSES", 5, |r| addresses(r))
        .text("REASON", 6, |r| r.cause.clone().unwrap_or_default())
        .cut()
        .lines(terminal)
}

fn addresses(router: &RouterStatus) -> String {
    let mut addresses = router.addresses.iter().map(|address| address.address.as_str());
    let shown = addresses.by_ref().take(ADDRESSES_SHOWN).collect::<Vec<_>>().join(" ");
    match addresses.count() {
        0 => shown,
        more => format!("{shown} +{more}"),
    }
}

/// The effective priority, and the configured one where that is another.
fn priority(router: &RouterStatus) -> String {
    if router.priority == router.configured_priority {
        router.priority.to_string()
    } else {
        format!("{} of {}", router.priority, router.configured_priority)
    }
}

fn master(router: &RouterStatus) -> String {
    match (&router.master, router.state.as_str()) {
        (Some(master), _) => format!("{} ({})", master.address, master.priority),
        (None, "MASTER") => "this host".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

fn next(router: &RouterStatus) -> String {
    match (router.next_timer_ms, router.state.as_str()) {
        (Some(ms), "MASTER") => format!("advert {}", short(ms)),
        (Some(ms), _) => format!("takeover {}", short(ms)),
        (None, _) => "-".to_owned(),
    }
}

fn interfaces(interfaces: &[InterfaceStatus], terminal: Terminal) -> Vec<String> {
    Table::of(interfaces)
        .text("INTERFACE", 0, |i| i.name.clone())
        .text("INDEX", 1, |i| i.ifindex.map_or_else(|| "-".to_owned(), |index| index.to_string()))
        .text("LINK", 0, link)
        .coloured(|interface| if interface.up { Colour::Plain } else { Colour::Red })
        .text("CAPTURE", 0, |i| i.capture.clone().unwrap_or_else(|| "none".to_owned()))
        .coloured(|i| if i.capture.is_some() { Colour::Plain } else { Colour::Red })
        .lines(terminal)
}

fn link(interface: &InterfaceStatus) -> String {
    if interface.ifindex.is_none() {
        return "missing".to_owned();
    }
    let (link, other) = if interface.up { ("up", "down") } else { ("down", "up") };
    match interface.changes_in_ms {
        None => link.to_owned(),
        Some(left) => format!("{link}, {other} in {}", short(left)),
    }
}

/// What is wrong, each with whom it concerns: a cable carries hundreds of routers.
pub(super) fn problems(status: &Status) -> Vec<String> {
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for router in &status.routers {
        for problem in &router.problems {
            known.entry(problem).or_default().push(&router.name);
        }
    }
    let named = known.into_iter().map(|(problem, routers)| {
        let who = match *routers {
            [] => String::new(),
            [one] => one.to_owned(),
            [first, ..] => format!("{first} and {} more", routers.len() - 1),
        };
        format!("{who}: {problem}")
    });
    let errors = status.interfaces.iter().filter_map(|interface| {
        let error = interface.error.as_ref()?;
        // Its routers say so.
        if interface.ifindex.is_none()
            && status.routers.iter().any(|router| router.interface == interface.name)
        {
            return None;
        }
        Some(format!("{}: {error}", interface.name))
    });
    status.problems.iter().cloned().chain(named).chain(errors).collect()
}

/// Everything about one router, for people.
fn full(detail: &RouterDetail, now: jiff::Timestamp, terminal: Terminal) -> String {
    let RouterDetail { router, on, .. } = detail;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}  {} for {}",
        terminal.paint(&router.name, Colour::Bold),
        terminal.paint(&router.state, state_colour(&router.state)),
        format_duration(router.since_s)
    );
    let mut rows: Vec<(&str, String)> = Vec::new();
    for problem in &router.problems {
        rows.push(("problem", terminal.paint(problem, Colour::Red)));
    }
    rows.push(("reason", router.cause.clone().unwrap_or_else(|| "-".to_owned())));
    let master = match (&router.master, router.state.as_str()) {
        (Some(master), _) => {
            let mac = detail.master_mac.as_ref().map(|mac| format!(" ({mac})")).unwrap_or_default();
            format!("{}{mac}, priority {}", master.address, master.priority)
        }
        (None, "MASTER") => "this host".to_owned(),
        (None, _) => "none heard".to_owned(),
    };
    rows.push(("master", master));
    rows.push(("priority", effective(router)));
    if let Some(group) = &router.group {
        rows.push(("sync group", group.clone()));
    }
    for track in &detail.tracks {
        rows.push(("tracks", format!("{} {}: {}", track.name, track.state, track.effect)));
    }
    rows.push(("interface", describe_interface(on)));
    rows.push(("protocol", protocol(detail)));
    rows.push(("advertises", advertises(router)));
    rows.push(("interval", interval(detail)));
    rows.push(("preemption", preemption(detail)));
    let timers =
        detail.timers.iter().map(|timer| format!("{} in {}", timer.name, short(timer.in_ms)));
    let timers = timers.collect::<Vec<_>>();
    rows.push(("timers", if timers.is_empty() { "none".to_owned() } else { timers.join(", ") }));
    rows.push(("garp", garp(&detail.garp)));
    if detail.address_list_mismatches > 0 {
        let heard = format!(
            "{} advertisements with other addresses than ours",
            detail.address_list_mismatches
        );
        rows.push(("heard", terminal.paint(&heard, Colour::Yellow)));
    }
    if detail.on_address_lost == "restore" {
        let times = detail.removed_by_others;
        rows.push(("removals", format!("put back; {times} so far")));
    }
    rows.push(("configured", format!("line {}", detail.config_line)));
    for (label, value) in rows {
        let _ = writeln!(text, "{}", terminal.fit(&format!("  {label:<11} {value}"), 14));
    }

    if !detail.scripts.is_empty() {
        text.push('\n');
        push_lines(&mut text, &scripts::lines(&detail.scripts, terminal));
    }

    let _ = writeln!(text, "\n{}", terminal.paint("ADDRESSES", Colour::Bold));
    let width = router.addresses.iter().map(|address| address.address.len()).max().unwrap_or(0);
    for address in &router.addresses {
        let there = match (address.installed, router.state.as_str()) {
            (true, "MASTER") => terminal.paint("on the interface", Colour::Green),
            (false, "MASTER") => terminal.paint("not on the interface", Colour::Red),
            // As the real address of an owner is whose interface failed.
            (true, _) => terminal.paint("on the interface", Colour::Yellow),
            (false, _) => "not here".to_owned(),
        };
        let _ = writeln!(text, "  {:<width$}  dev {}  {there}", address.address, address.dev);
    }

    objects(&mut text, "ROUTES AND RULES", &detail.objects, router.state == "MASTER", terminal);
    let _ = writeln!(text, "\n{}", terminal.paint("LAST TRANSITIONS", Colour::Bold));
    for event in &detail.history {
        let ago = event.time.parse().map(|then: jiff::Timestamp| now.duration_since(then));
        let ago =
            ago.map_or_else(|_| "-".to_owned(), |ago| format_duration(ago.as_secs_f64().max(0.0)));
        let happened = happened(event, terminal);
        let line = format!("  {}  {ago:>6} ago  {happened}  {}", here(&event.time), event.reason);
        let _ = writeln!(text, "{}", terminal.fit(&line, 6));
    }
    text
}

/// Routes, rules and the like, and whether they are there.
fn objects(
    text: &mut String,
    head: &str,
    objects: &[ObjectStatus],
    wanted: bool,
    terminal: Terminal,
) {
    if objects.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", terminal.paint(head, Colour::Bold));
    let width = objects.iter().map(|object| object.kind.len()).max().unwrap_or(0);
    for ObjectStatus { kind, what, installed, why, .. } in objects {
        let why = why.as_ref().filter(|_| wanted);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let there = match (installed, wanted) {
            (true, true) => terminal.paint("there", Colour::Green),
            (false, true) => terminal.paint(&format!("not there{why}"), Colour::Red),
            (true, false) => terminal.paint("there", Colour::Yellow),
            (false, false) => "not here".to_owned(),
        };
        let _ = writeln!(text, "  {kind:<width$}  {what}  {there}");
    }
}

fn effective(router: &RouterStatus) -> String {
    match (router.priority, router.configured_priority) {
        (255, 255) => "255, as configured: owner of the addresses".to_owned(),
        (effective, configured) if router.priority_why.is_some() => {
            let why = router.priority_why.as_deref().unwrap_or_default();
            format!("{effective} = {why} ({configured} configured)")
        }
        (effective, configured) if effective == configured => format!("{effective}, as configured"),
        (effective, configured) => format!("{effective} at present, {configured} configured"),
    }
}

fn describe_interface(interface: &InterfaceStatus) -> String {
    let Some(index) = interface.ifindex else {
        return format!("{} does not exist", interface.name);
    };
    let link = if interface.up { "up" } else { "down" };
    let capture = match (&interface.capture, &interface.error) {
        (Some(mode), _) => {
            let lines = [&interface.capture_why, &interface.capture_lacks].into_iter().flatten();
            lines.fold(format!("captures by {}", title(mode)), |text, line| {
                format!("{text}; {line}")
            })
        }
        (None, Some(error)) => format!("captures nothing: {error}"),
        (None, None) => "captures nothing".to_owned(),
    };
    format!("{} (index {index}), {link}, {capture}", interface.name)
}

fn protocol(detail: &RouterDetail) -> String {
    let RouterStatus { vrid, version, ref family, .. } = detail.router;
    let family = Family::from_label(family);
    let password = match detail.authentication.as_str() {
        "none" => String::new(),
        kind => format!(", {kind}"),
    };
    let mac = detail.router.virtual_mac.as_ref().map(|mac| format!(", virtual MAC address {mac}"));
    let mac = mac.unwrap_or_default();
    let accept = if detail.router.accept { "" } else { ", no accept mode" };
    let hmac = detail.router.hmac.as_ref().map(signatures).unwrap_or_default();
    format!("VRRP version {version}, VRID {vrid}, {family}{password}{hmac}{mac}{accept}")
}

fn signatures(hmac: &HmacStatus) -> String {
    let HmacStatus { mode, active_key, keys, anti_replay, time_window_s } = hmac;
    let signs = match active_key {
        Some(key) => format!("signed with key {key}"),
        None => "not signed".to_owned(),
    };
    let keys: Vec<String> = keys.iter().map(u8::to_string).collect();
    let plural = if keys.len() == 1 { "" } else { "s" };
    let keys = keys.join(", ");
    let clock = match anti_replay.as_str() {
        "time" => format!("clocks within {time_window_s} s"),
        _ => "whatever the clock".to_owned(),
    };
    format!(", {signs} (auth_hmac: {mode}, checked by key{plural} {keys}, {clock})")
}

fn advertises(router: &RouterStatus) -> String {
    let from = router.source.as_deref().unwrap_or("no address yet");
    let family = Family::from_label(&router.family);
    match router.transport.as_slice() {
        [how] if how == "multicast" => format!("from {from} to the group {}", family.group()),
        [how, group] if how == "multicast" => format!("from {from} to the group {group}"),
        peers => format!("from {from} to {}", peers.join(", ")),
    }
}

fn interval(detail: &RouterDetail) -> String {
    let RouterStatus { interval_ms, master_down_ms, .. } = detail.router;
    let configured = detail.configured_interval_ms;
    let learned = if interval_ms == configured {
        String::new()
    } else {
        format!(" (learned; {} configured)", short(configured))
    };
    format!(
        "{}{learned}; a silent master is given up after {}",
        short(interval_ms),
        short(master_down_ms)
    )
}

fn preemption(detail: &RouterDetail) -> String {
    match (detail.preempt, detail.preempt_delay_ms) {
        (false, _) => "no: a master of lower priority stays".to_owned(),
        (true, 0) => "yes, at once".to_owned(),
        (true, delay) => format!("yes, after {}", short(delay)),
    }
}

fn garp(garp: &Garp) -> String {
    let rounds =
        |count: u32| if count == 1 { "1 round".to_owned() } else { format!("{count} rounds") };
    let later = |count: u32, ms: u64| match ms {
        0 => String::new(),
        ms => format!(" and {count} more after {}", short(ms)),
    };
    let mut text = format!(
        "{} on taking over{}",
        rounds(garp.master_repeat),
        later(garp.master_repeat, garp.master_delay_ms)
    );
    if garp.master_refresh_ms > 0 {
        let count = rounds(garp.master_refresh_repeat);
        let _ = write!(text, "; {count} every {}", short(garp.master_refresh_ms));
    }
    if garp.other_interfaces_ms > 0 {
        let _ = write!(text, "; 1 every {} on other interfaces", short(garp.other_interfaces_ms));
    }
    if garp.own_address_ms > 0 {
        let every = short(garp.own_address_ms);
        let _ = write!(text, "; its own address every {every} as backup");
    }
    if garp.lower_prio_repeat > 0 {
        let _ = write!(
            text,
            "; {}{} when a lower-priority master is heard",
            rounds(garp.lower_prio_repeat),
            later(garp.lower_prio_repeat, garp.lower_prio_delay_ms)
        );
    }
    text
}

/// Milliseconds as `0.41s`, and as [`format_duration`] from a minute on.
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn short(ms: u64) -> String {
    if ms < 60_000 { format!("{:.2}s", ms as f64 / 1e3) } else { format_duration(ms as f64 / 1e3) }
}

/// Seconds as `4.2s`, `3m05s`, `2h07m` or `3d04h`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn format_duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    let s = seconds as u64;
    match s {
        0..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86400, s / 3600 % 24),
    }
}

/// A state in whatever case it is written.
/// Errors: the states that there are.
fn parse_state(text: &str) -> Result<String, String> {
    let known: BTreeSet<&str> =
        crate::engine::types::State::ALL.iter().map(|state| state.name()).collect();
    let wanted = text.to_uppercase();
    if known.contains(wanted.as_str()) {
        return Ok(wanted);
    }
    Err(format!("the states are {}", known.into_iter().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AddressStatus, Master};

    #[test]
    fn durations_are_short() {
        let shown: Vec<String> = [4.24, 185.0, 7620.0, 273_600.0].map(format_duration).into();
        assert_eq!(shown, ["4.2s", "3m05s", "2h07m", "3d04h"]);
        assert_eq!([410, 59_999, 60_000].map(short), ["0.41s", "60.00s", "1m00s"]);
    }

    #[test]
    fn states_are_read_in_any_case() {
        assert_eq!(parse_state("master").as_deref(), Ok("MASTER"));
        assert_eq!(parse_state("Fault").as_deref(), Ok("FAULT"));
        assert!(parse_state("slave").unwrap_err().contains("BACKUP, FAULT, INIT, MASTER"));
    }

    fn router(name: &str, state: &str, problems: &[&str]) -> RouterStatus {
        RouterStatus {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
            vrid: 51,
            family: "ipv4".to_owned(),
            version: 2,
            state: state.to_owned(),
            cause: Some("took over: no advertisement from 10.0.0.2 for 3.61 s".to_owned()),
            cause_name: Some("master-down".to_owned()),
            since_s: 25.2,
            priority: 100,
            configured_priority: 100,
            priority_why: None,
            priority_causes: Vec::new(),
            group: None,
            master: (state == "BACKUP")
                .then(|| Master { address: "192.168.100.200".to_owned(), priority: 150 }),
            interval_ms: 1000,
            master_down_ms: 3609,
            next_timer_ms: Some(410),
            transport: vec!["multicast".to_owned()],
            fence: "claim".to_owned(),
            virtual_mac: None,
            hmac: None,
            accept: true,
            source: Some("10.0.0.1".to_owned()),
            addresses: (1..=5)
                .map(|last| AddressStatus {
                    address: format!("10.0.0.10{last}/24"),
                    dev: "eth0".to_owned(),
                    installed: true,
                })
                .collect(),
            problems: problems.iter().map(|&problem| problem.to_owned()).collect(),
            problem_causes: Vec::new(),
        }
    }

    fn empty() -> Status {
        Status {
            schema: SCHEMA,
            instance: "default".to_owned(),
            version: VERSION.to_owned(),
            pid: 1,
            uptime_s: 28.9,
            config: "vrrp.conf".to_owned(),
            routers: Vec::new(),
            more: false,
            interfaces: Vec::new(),
            startup_delay_s: None,
            announcements_waiting: 0,
            no_bpf: None,
            no_pins: None,
            lacks: Vec::new(),
            lacks_causes: Vec::new(),
            reload: None,
            problems: Vec::new(),
            problem_causes: Vec::new(),
            always: Vec::new(),
            counters: BTreeMap::from([("send_failed".to_owned(), 3), ("bad_event".to_owned(), 0)]),
            scripts: Vec::new(),
        }
    }

    fn shown(routers: Vec<RouterStatus>, width: Option<usize>) -> String {
        let status = Status { routers, ..empty() };
        overview(&status, 3, Terminal { width, height: None, colour: false })
    }

    #[test]
    fn a_table_fits_eighty_columns_and_uses_more() {
        let routers = || vec![router("VI_1", "MASTER", &[]), router("VI_22", "BACKUP", &[])];
        let narrow = shown(routers(), Some(80));
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(narrow.contains("192.168.100.200 (150)") && !narrow.contains("REASON"), "{narrow}");
        assert!(narrow.contains("2 of 3 virtual routers: 1 BACKUP, 1 MASTER"), "{narrow}");
        assert!(narrow.contains("COUNTED  send_failed 3\n"), "{narrow}");
        let wide = shown(routers(), Some(200));
        assert!(wide.contains("no advertisement from 10.0.0.2 for 3.61 s"), "{wide}");
        assert!(wide.contains("10.0.0.101/24 +4") && wide.contains("advert 0.41s"));
        assert_eq!(shown(routers(), None), wide);
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let mut status = Status { uptime_s: 100_000.0, ..empty() };
        let long = |name: &str, state: &str, since_s, problems: &[&str]| RouterStatus {
            since_s,
            ..router(name, state, problems)
        };
        status.routers = vec![
            long("old", "MASTER", 50_000.0, &[]),
            long("earlier", "BACKUP", 500.0, &[]),
            long("later", "MASTER", 5.0, &[]),
            long("faulty", "FAULT", 50_000.0, &[]),
            long("wrong", "MASTER", 50_000.0, &["split brain"]),
            long("older", "BACKUP", 60_000.0, &[]),
        ];
        let names = |status: &Status| {
            worst_first(status).iter().map(|router| router.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&status), ["wrong", "faulty", "later", "earlier", "old", "older"]);
        let text = overview(&status, 6, Terminal::default());
        assert!(
            text.contains("6 virtual routers: 1 FAULT, 2 BACKUP, 3 MASTER; 1 PROBLEM\n"),
            "{text}"
        );
        let place = |word: &str| text.find(word).unwrap();
        assert!(place("wrong: split brain") < place("ROUTER "), "{text}");
        // What every start brings is no change.
        status.uptime_s = 505.0;
        assert_eq!(names(&status), ["wrong", "faulty", "later", "old", "earlier", "older"]);
    }

    #[test]
    fn one_problem_of_many_routers_is_one_line() {
        let routers = ["a", "b", "c"].map(|name| router(name, "FAULT", &["eth0 is down"]));
        let text = shown(routers.into(), None);
        assert_eq!(text.matches("eth0 is down").count(), 1, "{text}");
        assert!(text.contains("a and 2 more: eth0 is down"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_checked() {
        let status = |routers| Status { routers, ..empty() };
        let checked = |status: &Status| checked(status, 3, Terminal::default());
        let (well, text) = checked(&status(vec![router("a", "MASTER", &[])]));
        assert!(well && text == "1 of 3 virtual routers: 1 MASTER\n", "{text}");
        let (well, text) = checked(&status(vec![router("a", "MASTER", &["eth0 is slow"])]));
        assert!(!well && text.ends_with("\na: eth0 is slow\n"), "{text}");
        assert!(!checked(&status(vec![router("a", "FAULT", &[])])).0);
        let problems = vec!["no pins".to_owned()];
        assert!(!checked(&Status { problems, ..empty() }).0);
    }

    #[test]
    fn routers_are_found_by_pattern_and_address() {
        let routers = || vec![router("VI_1", "MASTER", &[]), router("VI_22", "BACKUP", &[])];
        let found = |word: &str| {
            let mut status = Status { routers: routers(), ..empty() };
            narrow(&mut status, &Wanted::new(word)).map(|()| status.routers.len())
        };
        for (word, count) in [("VI_*", 2), ("VI_?", 1), ("eth0/51", 2), ("10.0.0.103", 2)] {
            assert_eq!(found(word).unwrap(), count, "{word}");
        }
        for (word, near) in [
            ("VI_3", "; near are VI_1;"),
            ("10.0.0.1", "; near are 10.0.0.101, 10.0.0.102"),
            ("x*", "no virtual router matches `x*`"),
        ] {
            let said = found(word).unwrap_err().to_string();
            assert!(said.contains(near), "{said}");
        }
    }

    #[test]
    fn what_is_longer_than_the_screen_is_cut() {
        let terminal = Terminal { width: Some(80), height: Some(4), colour: false };
        let screen = redraw("1\n2\n3\n4\n5\n", terminal, false);
        assert!(
            screen.contains("2\x1b[K\n... 3 more lines") && !screen.contains("\n3"),
            "{screen:?}"
        );
        assert_eq!(redraw("1\n2\n", terminal, false), "\x1b[H1\x1b[K\n2\x1b[K\n\x1b[J");
        assert_eq!(redraw("{}\n", terminal, true), "{}\n");
    }
}
