//! `vrrp-user doctor`: what on this host, or between it and its network, keeps a virtual router from working.
//!
//! Each check is a function from what was found to a [`Finding`], so that every judgement can be tested; gathering
//! is apart from it. Nothing on the host is changed. What is sent is announced first, on stderr.

mod check;
mod configuration;
mod host;
mod interfaces;
mod ipv6;
mod namespaces;
mod network;
mod probe;
mod stale;
mod virtual_mac;

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

pub use check::Check;

use crate::api::Status;
use crate::cli::Error;
use crate::cli::common::{AsUserArg, BpffsArg, InstanceArg};
use crate::cli::terminal::{Terminal, wrapped};
use crate::config::model::{Config, RouterConfig};
use crate::control::client;
use crate::io::bpf::{self, Feature, Trial, Without};
use crate::io::netlink::AcceptFilter;
use crate::io::netns;
use crate::io::reader::Reader;
use crate::printable;
use crate::types::instance::Instance;
use crate::types::netns::Netns;
use crate::types::time::Nanos;
use crate::wire::family::from_field;

/// Version of the JSON.
const SCHEMA: u32 = 1;
/// Columns where the terminal does not say.
const COLUMNS: usize = 100;
/// How many of a kind are named.
const NAMED: usize = 3;

/// What there is to examine.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Configuration [default: that of the running daemon].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    instance: InstanceArg,
    #[command(flatten)]
    as_user: AsUserArg,
    #[command(flatten)]
    bpffs: BpffsArg,
    /// Whom to ask whether packets from the shared addresses come back [default: the next hop of the default
    /// route].
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<IpAddr>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Could not be checked; the text says why.
    Skipped,
    /// Works, or will, but not as well as it could, or not in every case.
    Warning,
    /// Does not work.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    /// Of what, where there are several: interfaces, a program.
    pub of: Option<String>,
    pub severity: Severity,
    pub text: String,
    pub hint: Option<String>,
}

impl Finding {
    fn new(check: Check, severity: Severity, text: impl Into<String>) -> Self {
        Self { check, of: None, severity, text: text.into(), hint: None }
    }

    fn fine(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Severity::Fine, text)
    }

    fn skipped(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Severity::Skipped, text)
    }

    fn warning(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Severity::Warning, text)
    }

    fn broken(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Severity::Broken, text)
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn of(mut self, what: &str) -> Self {
        self.of = Some(what.to_owned());
        self
    }

    /// The check, and what was checked.
    fn title(&self) -> String {
        let of = self.of.iter().map(String::as_str);
        [self.check.name()].into_iter().chain(of).collect::<Vec<_>>().join(" ")
    }

    /// Those of which the same is to be said of several interfaces as one.
    fn merged(findings: Vec<(Self, String)>) -> Vec<Self> {
        let mut merged: Vec<(Self, Vec<String>)> = Vec::new();
        for (finding, interface) in findings {
            match merged.iter_mut().find(|(known, _)| *known == finding) {
                Some((_, names)) => names.push(interface),
                None => merged.push((finding, vec![interface])),
            }
        }
        merged.into_iter().map(|(finding, names)| finding.about(&names)).collect()
    }

    /// With the names of the interfaces that it is about.
    fn about(self, names: &[String]) -> Self {
        // Short, because all texts stand to the right of the longest one.
        let names = match names {
            [first, _, rest @ ..] if !rest.is_empty() => {
                format!("{first} and {} more", rest.len() + 1)
            }
            few => few.join(", "),
        };
        self.of(&names)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    worst: Severity,
    findings: Vec<Identified<'a>>,
}

#[derive(Serialize)]
struct Identified<'a> {
    cause: String,
    check: String,
    severity: Severity,
    text: &'a str,
    hint: Option<&'a str>,
}

impl<'a> From<&'a Finding> for Identified<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            cause: finding.check.cause(),
            check: finding.title(),
            severity: finding.severity,
            text: &finding.text,
            hint: finding.hint.as_deref(),
        }
    }
}

/// Examines the host and prints what it finds. Returns how bad the worst of it is.
/// Errors: [`Error`]; what cannot be examined is a finding.
pub fn doctor(
    options: &Options,
    without: Without,
    out: &mut impl Write,
) -> Result<Severity, Error> {
    let findings = examine(options, without);
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine);
    if options.json {
        let findings = findings.iter().map(Identified::from).collect();
        let report = Report { schema: SCHEMA, worst, findings };
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        table(&findings, Terminal::stdout().width.unwrap_or(COLUMNS), out)?;
    }
    Ok(worst)
}

/// What the kernel does with the programs here, or why there is no BPF for them.
struct Kernel {
    trial: Result<Trial, String>,
    tcx: Result<bool, String>,
    /// Whether pins are taken as impossible.
    no_bpffs: bool,
}

impl Kernel {
    fn of(without: Without) -> Self {
        Self {
            trial: bpf::try_load(without).map_err(|error| bpf::chain(&error)),
            tcx: bpf::has_tcx(without).map_err(|error| bpf::chain(&error)),
            no_bpffs: without.lacks(Feature::Bpffs),
        }
    }
}

fn examine(options: &Options, without: Without) -> Vec<Finding> {
    let (instance, bpffs) = (&options.instance.instance, options.bpffs.bpffs.as_deref());
    let status = client::status(instance).map_err(|error| error.to_string());
    let (finding, loaded) = configuration::examine(options, status.as_ref());
    let mut findings = vec![daemon(instance, status.as_ref()), finding];
    findings.extend(netns(status.as_ref().ok(), loaded.as_ref()));
    let kernel = Kernel::of(without);
    findings.extend(host::examine(bpffs, status.as_ref().ok(), &kernel));
    findings.push(stale::examine(instance));
    let status = status.ok();
    match &loaded {
        Some(config) => {
            findings.extend(namespaces::examine(config, status.as_ref(), &kernel));
            let config = &namespaces::seen_from(None, config);
            findings.extend(interfaces::examine(config, status.as_ref(), &kernel));
            findings.extend(ipv6::examine(config, status.is_some()));
            findings.push(refused(options, config));
            findings.extend(interrupted(options));
            findings.extend(accept_mode(instance, config, without));
            findings.extend(virtual_macs(options, config, status.as_ref()));
            findings.extend(network::examine(config, status.as_ref(), options.gateway));
        }
        None => findings.push(Finding::skipped(
            Check::Interfaces,
            "interfaces, addresses and the way to the gateway: without a configuration nobody knows which",
        )),
    }
    findings
}

/// Goes to the network namespace of the daemon, or to that of the configuration: interfaces, addresses and settings are those
/// that are seen from there.
fn netns(status: Option<&Status>, config: Option<&Config>) -> Option<Finding> {
    let check = Check::NetworkNamespace;
    let named = config.and_then(|config| config.netns.clone());
    let of_daemon = status.map(|status| Netns::of_process(status.pid));
    match netns::enter(&of_daemon.or_else(|| named.clone())?) {
        Ok(entered) => {
            let name =
                named.map_or_else(|| "that of the daemon".to_owned(), |netns| netns.to_string());
            entered.then(|| Finding::fine(check, name))
        }
        Err(error @ netns::Error::Denied { .. }) => {
            let text = "the daemon's is another one, and what follows is about this one";
            Some(Finding::warning(check, text).hint(error.to_string()))
        }
        Err(error) => Some(Finding::broken(check, bpf::chain(&error))),
    }
}

fn daemon(instance: &Instance, status: Result<&Status, &String>) -> Finding {
    match status {
        Ok(status) => {
            let of_routers = status.routers.iter().flat_map(|r| {
                r.problems.iter().map(move |problem| format!("{}: {problem}", r.name))
            });
            let problems: Vec<String> = status.problems.iter().cloned().chain(of_routers).collect();
            let text = format!("instance {instance} runs, pid {}", status.pid);
            // One of them is long enough, and the others are often the same with another address.
            match &problems[..] {
                [] => Finding::fine(Check::Daemon, text),
                [problem] => Finding::broken(Check::Daemon, format!("{text}, and says: {problem}")),
                [problem, rest @ ..] => {
                    let count = rest.len();
                    let more = format!("and {count} more problem{}", plural(count));
                    Finding::broken(Check::Daemon, format!("{text}, and says: {problem}; {more}"))
                        .hint(format!("vrrp-user status --instance {instance}"))
                }
            }
        }
        Err(error) => Finding::skipped(Check::Daemon, error.as_str()),
    }
}

/// Advertisements that were not accepted, as far as the maps remember.
fn refused(options: &Options, config: &Config) -> Finding {
    let check = Check::Refused;
    let sampled = reader(options).and_then(|reader| reader.samples());
    match sampled {
        Ok(sampled) => {
            let latest = crate::refused::latest(&sampled);
            network::check_refused(&latest, config, interfaces::index, crate::io::timer::now())
        }
        Err(error) => Finding::skipped(check, bpf::chain(&error)),
    }
}

/// Whether advertisements stopped while ARP goes on, as far as the maps tell.
fn interrupted(options: &Options) -> Option<Finding> {
    let reader = reader(options).ok()?;
    let (routers, peers) = (reader.routers().ok()?, reader.peers().ok()?);
    let refused = crate::refused::latest(&reader.samples().ok()?);
    let now = crate::io::timer::now();
    let claimed = routers.iter().filter(|(_, info, _)| {
        info.state == vrrp_common::maps::state::MASTER && info.address_conflicts > 0
    });
    let claimed = claimed.filter_map(|(slot, info, _)| {
        let of_router = peers.iter().filter(|(key, _)| key.slot == *slot);
        let (key, last) = of_router.max_by_key(|(_, peer)| peer.last_seen_ns)?;
        Some(network::Claimed {
            router: info.name().to_owned(),
            peer: from_field(info.family, key.source),
            ago: now - Nanos(last.last_seen_ns),
            interval: Nanos::from_millis(u64::from(info.interval_cs) * 10),
        })
    });
    let refused = refused.iter().map(|refused| now - refused.at()).min();
    network::check_interrupted(&claimed.collect::<Vec<_>>(), refused, jiff::Timestamp::now())
}

/// Whether packets can be kept from addresses, where any router is without accept mode.
fn accept_mode(instance: &Instance, config: &Config, without: Without) -> Option<Finding> {
    const CHECK: Check = Check::AcceptMode;
    let refusing = config.routers.iter().filter(|router| !router.accepts()).count();
    if refusing == 0 {
        return None;
    }
    let routers = format!("{refusing} router{} without accept mode", plural(refusing));
    Some(match AcceptFilter::new(instance.name(), without.lacks(Feature::Nftables)).look() {
        Ok(()) => Finding::fine(CHECK, format!("the kernel has nf_tables, for {routers}")),
        Err(error) if error.is_permission() => {
            Finding::skipped(CHECK, format!("{error}; run doctor as root"))
        }
        Err(error) => {
            let text = format!("packets to the addresses of {routers} would be let in: {error}");
            Finding::broken(CHECK, text).hint(
                "modprobe nf_tables (CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET of the kernel), or accept = true",
            )
        }
    })
}

/// Who else sends from virtual MAC addresses, where any are configured and somebody is there to be master.
fn virtual_macs(options: &Options, config: &Config, status: Option<&Status>) -> Option<Finding> {
    if !config.routers.iter().any(RouterConfig::has_virtual_mac) {
        return None;
    }
    status?;
    let routers = reader(options).and_then(|reader| reader.routers());
    let now = crate::io::timer::now();
    Some(match routers {
        Ok(routers) => {
            let seen = routers.into_iter().filter(|(_, _, slot)| slot.own_mac_ns != 0);
            let seen =
                seen.map(|(_, info, slot)| (info.name().to_owned(), now - Nanos(slot.own_mac_ns)));
            virtual_mac::others(config, status, &seen.collect::<Vec<_>>())
        }
        Err(error) => Finding::skipped(virtual_mac::IN_USE, bpf::chain(&error)),
    })
}

fn reader(options: &Options) -> Result<Reader, bpf::Error> {
    let bpffs = bpf::find_bpffs(options.bpffs.bpffs.as_deref())?;
    Reader::open(&options.instance.instance.pins(&bpffs))
}

/// A setting of the kernel for an interface: the greater of `all` and its own counts
/// (Documentation/networking/ip-sysctl.rst).
fn setting(family: &str, interface: &str, key: &str) -> Result<i32, String> {
    let read = |interface: &str| {
        let path = format!("/proc/sys/net/{family}/conf/{interface}/{key}");
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        text.trim().parse::<i32>().map_err(|error| format!("{path}: {error}"))
    };
    Ok(read("all")?.max(read(interface)?))
}

/// Whether a multicast group is joined.
fn membership(group: IpAddr, joined: Result<bool, String>, running: bool) -> Finding {
    let (check, hint) = match group {
        IpAddr::V4(_) => (Check::Multicast, "sysctl net.ipv4.igmp_max_memberships is a limit"),
        IpAddr::V6(_) => (Check::Multicast6, "it joins when the interface has an IPv6 address"),
    };
    match (joined, running) {
        (Ok(true), _) => Finding::fine(check, format!("{group} is joined")),
        (Ok(false), true) => Finding::broken(
            check,
            format!("{group} is not joined: NIC or switch may not let advertisements through"),
        )
        .hint(format!("the log of the daemon says why; {hint}")),
        (Ok(false), false) => {
            let text = format!("{group} is joined when the daemon runs, and none does");
            Finding::skipped(check, text)
        }
        (Err(error), _) => Finding::skipped(check, error),
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The first of them, and how many more there are.
fn some<T: AsRef<str>>(all: &[T]) -> String {
    let named: Vec<&str> = all.iter().take(NAMED).map(AsRef::as_ref).collect();
    let mut text = named.join("; ");
    if all.len() > NAMED {
        text.push_str(&format!("; and {} more", all.len() - NAMED));
    }
    text
}

fn table(findings: &[Finding], columns: usize, out: &mut impl Write) -> io::Result<()> {
    let titles: Vec<String> = findings.iter().map(Finding::title).collect();
    let name = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0);
    let left = "BROKEN ".len() + 2 + name + 2;
    let room = columns.saturating_sub(left).max(30);
    for (finding, title) in findings.iter().zip(&titles) {
        let word = match finding.severity {
            Severity::Fine => "fine",
            Severity::Skipped => "skipped",
            Severity::Warning => "WARNING",
            Severity::Broken => "BROKEN",
        };
        let mut head = format!("{word:7}  {:name$}  ", printable::text(title));
        let hint = finding.hint.iter().map(|hint| format!("-> {hint}"));
        for paragraph in finding.text.lines().map(str::to_owned).chain(hint) {
            for line in wrapped(&printable::text(&paragraph), room) {
                writeln!(out, "{head}{line}")?;
                head = " ".repeat(left);
            }
        }
    }
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (broken, warnings, skipped) =
        (of(Severity::Broken), of(Severity::Warning), of(Severity::Skipped));
    writeln!(
        out,
        "\n{} checks: {broken} broken, {warnings} warning{}, {skipped} skipped",
        findings.len(),
        plural(warnings)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_fit_the_terminal() {
        let findings = [
            Finding::fine(Check::Kernel, "Linux 6.18"),
            Finding::broken(Check::Egress, "one two three four five six seven eight")
                .of("eth0")
                .hint("do"),
        ];
        let mut out = Vec::new();
        table(&findings, 52, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "fine     kernel       Linux 6.18\n\
             BROKEN   egress eth0  one two three four five six\n\
             \x20                     seven eight\n\
             \x20                     -> do\n\
             \n\
             2 checks: 1 broken, 0 warnings, 0 skipped\n"
        );
    }

    #[test]
    fn a_few_stand_for_many() {
        assert_eq!(some(&["a", "b"]), "a; b");
        assert_eq!(some(&["a", "b", "c", "d", "e"]), "a; b; c; and 2 more");
    }

    #[test]
    fn findings_have_names_for_programs() {
        let names = ["eth0", "eth1", "eth2"].map(str::to_owned);
        let findings = [
            (Finding::fine(Check::Capture, "").about(&names), "capture", "capture eth0 and 2 more"),
            (Finding::fine(Check::VirtualMacInUse, ""), "virtual-MAC-in-use", "virtual MAC in use"),
            (Finding::fine(Check::VirtualMac, "").of("eth0"), "virtual-MAC", "virtual MAC eth0"),
            (Finding::fine(Check::Bpf, "").of("vrrp_xdp"), "bpf", "bpf vrrp_xdp"),
        ];
        for (finding, cause, check) in &findings {
            let json = serde_json::to_value(Identified::from(finding)).unwrap();
            assert_eq!(
                (json["cause"].as_str(), json["check"].as_str()),
                (Some(*cause), Some(*check))
            );
        }
    }

    #[test]
    fn a_daemon_with_problems_is_broken() {
        let instance: Instance = "x".parse().unwrap();
        let down = "no daemon runs".to_owned();
        assert_eq!(daemon(&instance, Err(&down)).severity, Severity::Skipped);
    }
}
