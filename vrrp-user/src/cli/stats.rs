//! `vrrp-user stats`.

use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use vrrp_common::reason::Reason;

use clap_complete::ArgValueCandidates;

use super::common::{BpffsArg, InstanceArg, WatchArg};
use super::complete;
use super::status::format_duration;
use super::status::select::{self, Wanted};
use super::table::Table;
use super::terminal::{Terminal, in_place, is_dumb};
use crate::api::{self, Answer, LastFrom, Losses, Request, RouterStats, Stats};
use crate::control::client;
use crate::io::bpf;
use crate::io::reader::Reader;
use crate::metrics;
use crate::metrics::baseline::{self, Baseline};
use crate::metrics::rates;
use crate::types::instance::Instance;

/// `stats` has nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}; and the control socket does not help: {socket}", bpf::chain(pins))]
    Nothing {
        /// What is wrong with the pinned maps.
        pins: Box<bpf::Error>,
        socket: Box<client::Error>,
    },
    #[error("instance `{instance}` has {what}; `vrrp-user stats` shows all there is")]
    NoMatch { instance: Instance, what: String },
    #[error(transparent)]
    Baseline(#[from] baseline::Error),
    #[error("cannot write")]
    Output(#[from] io::Error),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

/// What is to be shown, and how.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct View {
    /// Only this router: its name, or INTERFACE/VRID; with `*` and `?` all that match. An address is the same as --vip.
    #[arg(add = ArgValueCandidates::new(complete::routers), conflicts_with_all = ["vip", "interface", "vrid", "reset"])]
    name: Option<String>,
    #[command(flatten)]
    instance: InstanceArg,
    #[command(flatten)]
    bpffs: BpffsArg,
    #[command(flatten)]
    watch: WatchArg,
    /// Only the traffic of this virtual address.
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<IpAddr>,
    /// Only what is on this interface.
    #[arg(add = ArgValueCandidates::new(complete::interfaces), long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Only routers with this VRID.
    #[arg(long, value_name = "VRID", value_parser = clap::value_parser!(u8).range(1..))]
    vrid: Option<u8>,
    /// Show the counters once more and let them begin at zero, for everybody.
    #[arg(long, conflicts_with_all = ["watch", "vip", "interface", "vrid"])]
    reset: bool,
    /// As JSON; with --watch one line each time.
    #[arg(long)]
    json: bool,
}

impl View {
    /// A name behind `--watch` is a name.
    pub fn settle(&mut self) -> Result<(), String> {
        let taken = self.vip.is_some() || self.interface.is_some() || self.vrid.is_some();
        self.watch.settle(&mut self.name, taken)
    }

    fn is_filter(&self) -> bool {
        self.vip.is_some() || self.interface.is_some() || self.vrid.is_some() || self.name.is_some()
    }
}

/// Prints the counters, from the pinned maps when they can be seen, else as the daemon reads them.
pub fn stats(view: &View, out: &mut impl Write) -> Result<(), Error> {
    let instance = &view.instance.instance;
    let raw = read(view)?;
    let path = Baseline::path(instance);
    // Stored before anything is shown: what is shown is then what was set aside.
    let stored = if view.reset { Some(Baseline::new(raw.clone())) } else { None };
    let mut stats = since_reset(&path, raw);
    if let Some(baseline) = stored {
        baseline.store(&path)?;
    }
    filter(&mut stats, view)?;
    match view.watch.period() {
        None if view.json => writeln!(out, "{}", serde_json::to_string_pretty(&stats)?)?,
        None => {
            let tables = tables(&stats, view, Terminal::stdout().width);
            write!(out, "{}", tables.join("\n"))?;
            if view.reset {
                writeln!(out, "\nThese were the last readings: all counters begin at zero now.")?;
            }
        }
        Some(pause) => watch(view, (stats, pause), out)?,
    }
    Ok(())
}

/// The counters since the daemon started.
fn read(view: &View) -> Result<Stats, Error> {
    let instance = &view.instance.instance;
    let pinned = bpf::find_bpffs(view.bpffs.bpffs.as_deref())
        .and_then(|dir| metrics::collect(&Reader::open(&instance.pins(&dir))?));
    let mut stats = match pinned {
        Ok(stats) => stats,
        Err(pins) => match client::ask(instance, Request::Stats {}) {
            Ok(Answer::Stats(stats)) => {
                log::warn!("{}; these are the daemon's own readings", bpf::chain(&pins));
                stats
            }
            Ok(_) => {
                let socket = client::wrong(instance);
                return Err(Error::Nothing { pins: Box::new(pins), socket: Box::new(socket) });
            }
            Err(socket) => {
                return Err(Error::Nothing { pins: Box::new(pins), socket: Box::new(socket) });
            }
        },
    };
    stats.running = Some(UnixStream::connect(instance.socket()).is_ok());
    Ok(stats)
}

/// Less what the last `--reset` set aside.
fn since_reset(path: &Path, mut stats: Stats) -> Stats {
    match Baseline::load(path) {
        Ok(Some(baseline)) => baseline.subtract(&mut stats),
        Ok(None) => {}
        Err(error) => log::warn!("{error}; these are the counters since the daemon started"),
    }
    stats
}

/// Keeps what is asked for. The reasons and losses are those of the whole instance and stay.
fn filter(stats: &mut Stats, view: &View) -> Result<(), Error> {
    let mut vip = view.vip;
    match view.name.as_deref().map(Wanted::new) {
        None => {}
        Some(Wanted::Address(address)) => vip = Some(address),
        Some(wanted @ (Wanted::Name(_) | Wanted::Pattern(_))) => only(stats, &wanted, view)?,
    }
    if let Some(name) = &view.interface {
        stats.routers.retain(|router| router.interface == *name);
        stats.vips.retain(|vip| vip.interface == *name);
        stats.interfaces.retain(|interface| interface.name == *name);
    }
    if let Some(vrid) = view.vrid {
        stats.routers.retain(|router| router.vrid == vrid);
        stats.vips.clear();
        stats.interfaces.clear();
    }
    if let Some(address) = vip {
        let address = address.to_string();
        stats.vips.retain(|vip| vip.address == address);
        stats.routers.clear();
        stats.interfaces.clear();
    }
    if view.is_filter() && stats.routers.is_empty() && stats.vips.is_empty() {
        let on = view.interface.as_ref().map(|name| format!(" on interface {name}"));
        let on = on.unwrap_or_default();
        let what = match (vip, view.vrid) {
            (Some(address), _) => format!("no virtual address {address}{on}"),
            (None, Some(vrid)) => format!("no router with VRID {vrid}{on}"),
            (None, None) => format!("no router and no address{on}"),
        };
        return Err(Error::NoMatch { instance: view.instance.instance.clone(), what });
    }
    Ok(())
}

/// Keeps the routers that are meant.
/// Errors: there is none.
fn only(stats: &mut Stats, wanted: &Wanted, view: &View) -> Result<(), Error> {
    let place = |router: &RouterStats| format!("{}/{}", router.interface, router.vrid);
    let is = |router: &RouterStats| wanted.names(&router.name, &place(router));
    if !stats.routers.iter().any(is) {
        let word = view.name.as_deref().unwrap_or_default();
        let near = select::near(word, stats.routers.iter().map(|router| router.name.as_str()));
        let what = format!("no router `{word}`{near}");
        return Err(Error::NoMatch { instance: view.instance.instance.clone(), what });
    }
    stats.routers.retain(is);
    stats.vips.clear();
    stats.interfaces.clear();
    Ok(())
}

/// Shows the counters and their rates until somebody interrupts.
fn watch(
    view: &View,
    (mut before, pause): (Stats, Duration),
    out: &mut impl Write,
) -> Result<(), Error> {
    let path = Baseline::path(&view.instance.instance);
    let screen = io::stdout().is_terminal() && !view.json && !is_dumb();
    let mut taken = Instant::now();
    let mut next = taken;
    loop {
        next += pause;
        // After a stop (Ctrl-Z) there is nothing to catch up with.
        next = next.max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let read = read(view);
        let now = Instant::now();
        let space = Terminal::stdout();
        let mut blocks = Vec::new();
        match read.map(|stats| since_reset(&path, stats)) {
            Ok(mut stats) => {
                filter(&mut stats, view)?;
                let unrated = stats.clone();
                rates::fill(&mut stats, &before, (now - taken).as_secs_f64());
                (before, taken) = (unrated, now);
                if view.json {
                    writeln!(out, "{}", serde_json::to_string(&stats)?)?;
                } else {
                    blocks = tables(&stats, view, space.width);
                }
            }
            // It may come back.
            Err(error) if screen => blocks = vec![format!("{error}\n")],
            Err(error) => log::warn!("{error}"),
        }
        if screen {
            repaint(&blocks, space, out)?;
        } else if !blocks.is_empty() {
            writeln!(out, "{}", blocks.join("\n"))?;
        }
        out.flush()?;
    }
}

/// Writes tables over what is on the screen. The last line is the cursor's.
fn repaint(tables: &[String], space: Terminal, out: &mut impl Write) -> io::Result<()> {
    let room = space.height.unwrap_or(usize::MAX).saturating_sub(1);
    out.write_all(in_place(fit(tables, room)).as_bytes())
}

/// As many lines as there is room for: short tables whole, of long ones the beginning and how much is missing.
fn fit(tables: &[String], room: usize) -> Vec<String> {
    /// A head, a row, and how many more there are.
    const LEAST: usize = 3;
    let room = room.saturating_sub(tables.len().saturating_sub(1));
    let counts: Vec<usize> = tables.iter().map(|table| table.lines().count()).collect();
    let mut most = counts.iter().copied().max().unwrap_or(0).min(room.max(LEAST));
    while most > LEAST && counts.iter().map(|count| most.min(*count)).sum::<usize>() > room {
        most -= 1;
    }
    let shown = tables.iter().zip(counts).map(|(table, all)| {
        let kept = if all > most { most - 1 } else { all };
        let mut lines: Vec<String> = table.lines().take(kept).map(str::to_owned).collect();
        if kept < all {
            lines.push(format!("... {} more: see --interface, --vrid and --vip", all - kept));
        }
        lines
    });
    shown.collect::<Vec<_>>().join(&String::new())
}

/// A line of what it is about, and all tables that are not empty.
fn tables(stats: &Stats, view: &View, width: Option<usize>) -> Vec<String> {
    let instance = &view.instance.instance;
    let since = if stats.reset { "--reset" } else { "the daemon started" };
    let running = if stats.running == Some(false) { "  (not running now)" } else { "" };
    let (pid, counted) = (stats.pid, format_duration(stats.since_s));
    let mut tables = vec![
        format!("instance {instance}  pid {pid}{running}  counted for {counted} since {since}\n"),
        stats.unread.iter().map(|unread| format!("{unread}\n")).collect(),
        routers(stats, width),
        peers(stats, width),
        vips(stats, width),
        interfaces(stats, width),
    ];
    if !view.is_filter() {
        tables.extend([reasons(stats, width), daemon(stats)]);
    }
    tables.retain(|table| !table.is_empty());
    tables
}

fn ago(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{} ago", format_duration(seconds)))
}

fn routers(stats: &Stats, width: Option<usize>) -> String {
    let with_rates = stats.interval_s.is_some();
    let rank = |rank| if with_rates { rank } else { 0 };
    let mut table =
        Table::of(&stats.routers)
            .text("ROUTER", 0, |r| r.name.clone())
            .shortened(2)
            .text("INTERFACE", 2, |r| r.interface.clone())
            .number("VRID", 1, |r| r.vrid)
            .text("STATE", 0, |r| {
                if r.fenced { format!("{}, fenced", r.state) } else { r.state.clone() }
            });
    if with_rates {
        table = table
            .number("RX/S", 0, |r| rate(r.per_second.map(|rates| rates.adverts_received)))
            .number("TX/S", 0, |r| rate(r.per_second.map(|rates| rates.adverts_sent)))
            .number("REFUSED/S", 0, |r| rate(r.per_second.map(|rates| rates.refused)))
            .number("LAST HEARD", 1, |r| ago(r.last_seen_s));
    }
    table = table
        .number("RECEIVED", rank(6), |r| r.adverts_received)
        .number("SENT", rank(6), |r| r.adverts_sent)
        .number("REFUSED", rank(5), |r| r.refused);
    if !with_rates {
        table = table.number("LAST HEARD", 1, |r| ago(r.last_seen_s));
    }
    table
        .number("CHANGES", 3, |r| r.state_changes)
        .number("PRIO 0 RX/TX", 7, |r| {
            format!("{}/{}", r.priority_zero_received, r.priority_zero_sent)
        })
        .number("BECAME MASTER", 8, |r| r.became_master)
        .number("SEND ERRORS", 9, |r| r.send_errors)
        .plain(width)
}

fn peers(stats: &Stats, width: Option<usize>) -> String {
    let rows = stats.routers.iter().flat_map(|r| r.peers.iter().map(move |peer| (r, peer)));
    let rows: Vec<_> = rows.collect();
    Table::of(&rows)
        .text("PEER", 0, |(_, peer)| peer.address.clone())
        .text("ROUTER", 0, |(router, _)| router.name.clone())
        .shortened(2)
        .text("INTERFACE", 2, |(router, _)| router.interface.clone())
        .number("VRID", 3, |(router, _)| router.vrid)
        .number("RECEIVED", 0, |(_, peer)| peer.adverts_received)
        .number("PRIORITY", 1, |(_, peer)| peer.priority)
        .number("LAST HEARD", 0, |(_, peer)| ago(Some(peer.last_seen_s)))
        .plain(width)
}

fn vips(stats: &Stats, width: Option<usize>) -> String {
    let with_rates = stats.interval_s.is_some();
    let rank = if with_rates { 2 } else { 0 };
    let mut table = Table::of(&stats.vips).text("ADDRESS", 0, |v| v.address.clone()).text(
        "INTERFACE",
        1,
        |v| v.interface.clone(),
    );
    if with_rates {
        table = table
            .number("RX PKT/S", 0, |v| rate(v.per_second.map(|rates| rates.rx_packets)))
            .number("RX BYTES/S", 0, |v| rate(v.per_second.map(|rates| rates.rx_bytes)))
            .number("TX PKT/S", 0, |v| rate(v.per_second.map(|rates| rates.tx_packets)))
            .number("TX BYTES/S", 0, |v| rate(v.per_second.map(|rates| rates.tx_bytes)));
    }
    table
        .number("RX PACKETS", rank, |v| v.rx_packets)
        .number("RX BYTES", rank, |v| v.rx_bytes)
        .number("TX PACKETS", rank, |v| v.tx_packets)
        .number("TX BYTES", rank, |v| v.tx_bytes)
        .plain(width)
}

fn interfaces(stats: &Stats, width: Option<usize>) -> String {
    Table::of(&stats.interfaces)
        .text("INTERFACE", 0, |i| i.name.clone())
        .text("CAPTURE", 0, |i| i.capture.clone().unwrap_or_else(|| "none".to_owned()))
        .number("ROUTERS", 1, |i| i.routers)
        .number("RECEIVED", 0, |i| i.adverts_received)
        .number("SENT", 0, |i| i.adverts_sent)
        .number("REFUSED", 0, |i| i.refused)
        .plain(width)
}

fn reasons(stats: &Stats, width: Option<usize>) -> String {
    let count = |reason: &Reason| stats.reasons.get(reason.name()).copied().unwrap_or(0);
    let shown = |reason: &&Reason| count(reason) > 0 || **reason == Reason::Accepted;
    let rows: Vec<Reason> = Reason::ALL.iter().filter(shown).copied().collect();
    let mut table =
        Table::of(&rows).text("REASON", 0, |reason| reason.name()).number("PACKETS", 0, count);
    if stats.interval_s.is_some() {
        let of = |reason: &Reason| stats.reasons_per_second.get(reason.name()).copied();
        table = table.number("PER SECOND", 0, move |reason| {
            of(reason).map_or_else(String::new, |of| rate(Some(of)))
        });
    }
    table
        .text("MEANING", 1, |reason| reason.text())
        .text("LAST FROM", 0, |reason| {
            stats.last_from.get(reason.name()).map(from).unwrap_or_default()
        })
        .plain(width)
}

fn daemon(stats: &Stats) -> String {
    let Losses { ring_full, reports_limited, netlink_overrun, news_limited: _ } = stats.losses;
    let mut text = format!(
        "losses: ring full {ring_full}, reports limited {reports_limited}, netlink overruns {netlink_overrun}\n"
    );
    let failed = api::current(&stats.counters).filter(|(_, count)| **count > 0);
    let failed: Vec<_> = failed.map(|(name, count)| format!("{name} {count}")).collect();
    if !failed.is_empty() {
        text += &format!("daemon: {}\n", failed.join(", "));
    }
    text
}

/// As `0`, `4.2`, `318`, `12.7k`, `3.1M` or `2.0G`; `None` is as good as 0.
fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None | Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 100.0 => format!("{rate:.1}"),
        Some(rate) if rate < 1e4 => format!("{rate:.0}"),
        Some(rate) if rate < 1e6 => format!("{:.1}k", rate / 1e3),
        Some(rate) if rate < 1e9 => format!("{:.1}M", rate / 1e6),
        Some(rate) => format!("{:.1}G", rate / 1e9),
    }
}

/// As `10.0.0.2 on eth0, VRID 51, 4.2s ago`.
fn from(last: &LastFrom) -> String {
    let mut text = format!("{} on {}", last.address, last.interface);
    for id in &last.vlan {
        text.push_str(&format!(" VLAN {id}"));
    }
    if let Some(vrid) = last.vrid {
        text.push_str(&format!(", VRID {vrid}"));
    }
    format!("{text}, {} ago", format_duration(last.ago_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{InterfaceStats, PeerStats, RouterStats, VipStats};

    fn sample() -> Stats {
        let last = LastFrom {
            address: "10.0.0.2".to_owned(),
            interface: "eth0".to_owned(),
            vlan: vec![],
            vrid: Some(51),
            ago_s: 4.21,
            not_sampled: 0,
        };
        let short = LastFrom { vlan: vec![7, 9], vrid: None, ago_s: 90.0, ..last.clone() };
        let peer = PeerStats {
            address: "10.0.0.2".to_owned(),
            adverts_received: 3,
            priority: 50,
            last_seen_s: 20.0,
        };
        let router = |name: &str, vrid, interface: &str| RouterStats {
            name: name.to_owned(),
            interface: interface.to_owned(),
            vrid,
            state: "MASTER".to_owned(),
            adverts_received: 3,
            adverts_sent: 26,
            last_seen_s: Some(20.0),
            peers: vec![peer.clone()],
            ..RouterStats::default()
        };
        Stats {
            pid: 7,
            since_s: 28.9,
            routers: vec![router("VI_1", 51, "eth0"), router("VI_2", 52, "eth1")],
            vips: vec![VipStats {
                interface: "eth0".to_owned(),
                address: "10.0.0.100".to_owned(),
                rx_packets: 6,
                rx_bytes: 412,
                tx_packets: 5,
                tx_bytes: 573,
                per_second: None,
            }],
            interfaces: vec![InterfaceStats {
                name: "eth0".to_owned(),
                capture: Some("native".to_owned()),
                routers: 1,
                adverts_received: 3,
                adverts_sent: 26,
                refused: 0,
            }],
            reasons: [("accepted", 3), ("ttl", 2), ("vrrp_length", 1), ("version", 0)]
                .map(|(name, count)| (name.to_owned(), count))
                .into(),
            last_from: [("ttl".to_owned(), last), ("vrrp_length".to_owned(), short)].into(),
            counters: [("send_failed".to_owned(), 2), ("bad_event".to_owned(), 0)].into(),
            ..Stats::default()
        }
    }

    fn shown(stats: &Stats, view: &View, width: Option<usize>) -> Vec<String> {
        let text = tables(stats, view, width).join("\n");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn everything_is_shown_where_there_is_room() {
        let lines = shown(&sample(), &View::default(), None);
        assert_eq!(
            lines,
            [
                "instance default  pid 7  counted for 28.9s since the daemon started",
                "",
                "ROUTER  INTERFACE  VRID  STATE   RECEIVED  SENT  REFUSED  LAST HEARD  CHANGES  \
                 PRIO 0 RX/TX  BECAME MASTER  SEND ERRORS",
                "VI_1    eth0         51  MASTER         3    26        0   20.0s ago        0           0/0              0            0",
                "VI_2    eth1         52  MASTER         3    26        0   20.0s ago        0           0/0              0            0",
                "",
                "PEER      ROUTER  INTERFACE  VRID  RECEIVED  PRIORITY  LAST HEARD",
                "10.0.0.2  VI_1    eth0         51         3        50   20.0s ago",
                "10.0.0.2  VI_2    eth1         52         3        50   20.0s ago",
                "",
                "ADDRESS     INTERFACE  RX PACKETS  RX BYTES  TX PACKETS  TX BYTES",
                "10.0.0.100  eth0                6       412           5       573",
                "",
                "INTERFACE  CAPTURE  ROUTERS  RECEIVED  SENT  REFUSED",
                "eth0       native         1         3    26        0",
                "",
                "REASON       PACKETS  MEANING                                          LAST FROM",
                "accepted           3  valid advertisement for a router of ours",
                "ttl                2  TTL is not 255 (sent from another network?)      10.0.0.2 on eth0, \
                 VRID 51, 4.2s ago",
                "vrrp_length        1  VRRP message incomplete or of impossible length  10.0.0.2 on eth0 \
                 VLAN 7 VLAN 9, 1m30s ago",
                "",
                "losses: ring full 0, reports limited 0, netlink overruns 0",
                "daemon: send_failed 2",
            ]
        );
    }

    #[test]
    fn the_documented_tables_are_those_that_are_written() {
        let mut stats = sample();
        (stats.pid, stats.since_s) = (12121, 8.3);
        stats.routers.truncate(1);
        let router = &mut stats.routers[0];
        (router.adverts_sent, router.refused, router.state_changes) = (5, 3, 2);
        (router.last_seen_s, router.peers[0].last_seen_s) = (Some(5.5), 5.5);
        let vip = &mut stats.vips[0];
        (vip.rx_packets, vip.rx_bytes, vip.tx_packets, vip.tx_bytes) =
            (1803, 119_848, 2825, 4_012_946);
        (stats.interfaces[0].adverts_sent, stats.interfaces[0].refused) = (5, 3);
        stats.reasons = [("accepted", 3), ("ttl", 3)].map(|(name, n)| (name.to_owned(), n)).into();
        let last = stats.last_from.get_mut("ttl").unwrap();
        (last.address, last.ago_s) = ("10.0.0.200".to_owned(), 4.0);
        stats.counters.clear();
        let documented =
            crate::docs_tests::sample(include_str!("../../../README.md"), "vrrp-user stats");
        assert_eq!(documented, tables(&stats, &View::default(), Some(80)).join("\n"));
    }

    #[test]
    fn names_and_patterns_and_addresses_are_found() {
        let found = |word: &str| {
            let mut stats = sample();
            let view = View { name: Some(word.to_owned()), ..View::default() };
            filter(&mut stats, &view).map(|()| (stats.routers.len(), stats.vips.len()))
        };
        for (word, counts) in
            [("VI_1", (1, 0)), ("eth1/52", (1, 0)), ("VI_*", (2, 0)), ("10.0.0.100", (0, 1))]
        {
            assert_eq!(found(word).unwrap(), counts, "{word}");
        }
        let said = found("VI_3").unwrap_err().to_string();
        assert!(said.contains("no router `VI_3`; near are VI_1, VI_2"), "{said}");
    }

    #[test]
    fn eighty_columns_are_enough() {
        let mut stats = sample();
        for rated in [false, true] {
            if rated {
                let mut before = sample();
                before.vips[0].rx_bytes = 0;
                before.reasons.insert("ttl".to_owned(), 0);
                rates::fill(&mut stats, &before, 2.0);
            }
            let lines = shown(&stats, &View::default(), Some(80));
            assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
            assert!(!lines.iter().any(|line| line.ends_with('…')), "{lines:#?}");
            assert!(lines[2].starts_with("ROUTER  INTERFACE  VRID  STATE "), "{lines:#?}");
        }
        let lines = shown(&stats, &View::default(), None);
        let vip = lines.iter().find(|line| line.starts_with("10.0.0.100")).unwrap();
        assert!(vip.contains(" 206 "), "{lines:#?}");
        let ttl = lines.iter().find(|line| line.starts_with("ttl ")).unwrap();
        assert!(ttl.contains("  1.0  "), "{lines:#?}");
    }

    #[test]
    fn filters_leave_what_was_asked_for() {
        let names = |view: &View| {
            let mut stats = sample();
            filter(&mut stats, view).map(|()| {
                let routers: Vec<_> = stats.routers.iter().map(|r| r.name.clone()).collect();
                (routers, stats.vips.len(), stats.interfaces.len())
            })
        };
        let view = View { vrid: Some(52), ..View::default() };
        assert_eq!(names(&view).unwrap(), (vec!["VI_2".to_owned()], 0, 0));
        let view = View { interface: Some("eth0".to_owned()), ..View::default() };
        assert_eq!(names(&view).unwrap(), (vec!["VI_1".to_owned()], 1, 1));
        let view = View { vip: "10.0.0.100".parse().ok(), ..View::default() };
        assert_eq!(names(&view).unwrap(), (vec![], 1, 0));
        assert!(!shown(&sample(), &view, None).iter().any(|line| line.starts_with("REASON")));
        let wrong = View { interface: Some("eth9".to_owned()), vrid: Some(9), ..View::default() };
        let error = names(&wrong).unwrap_err().to_string();
        assert!(error.contains("no router with VRID 9 on interface eth9"), "{error}");
    }

    #[test]
    fn rates_are_short() {
        let shown: Vec<String> =
            [0.0, 4.24, 318.2, 12_690.0, 3_100_000.0, 2e9].map(|n| rate(Some(n))).into();
        assert_eq!(shown, ["0", "4.2", "318", "12.7k", "3.1M", "2.0G"]);
    }

    #[test]
    fn a_screen_is_not_overrun() {
        let table = |name: &str, rows: usize| -> String {
            let rows = (0..rows).map(|row| format!("{row}\n"));
            std::iter::once(format!("{name}\n")).chain(rows).collect()
        };
        let tables = [table("LONG", 100), table("SHORT", 1), table("LONGER", 200)];
        let mut out = Vec::new();
        repaint(&tables, Terminal { height: Some(15), ..Terminal::default() }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> =
            text.lines().filter_map(|line| line.strip_suffix("\x1b[K")).collect();
        let more = |count| format!("... {count} more: see --interface, --vrid and --vip");
        assert_eq!(
            lines,
            [
                "\x1b[HLONG",
                "0",
                "1",
                "2",
                &more(97),
                "",
                "SHORT",
                "0",
                "",
                "LONGER",
                "0",
                "1",
                "2",
                &more(197)
            ]
        );
        assert_eq!(fit(&tables, usize::MAX).len(), 101 + 2 + 201 + 2);
        assert_eq!(fit(&tables, 1)[..3], ["LONG", "0", &more(99)]);
    }

    #[test]
    fn what_an_older_daemon_says_is_understood() {
        let json = r#"{"schema":1,"routers":[],"vips":[{"interface":"eth0","address":"10.0.0.100",
            "rx_packets":1,"rx_bytes":2}],"reasons":{}}"#;
        let stats: Stats = serde_json::from_str(json).unwrap();
        assert_eq!((stats.vips[0].tx_packets, stats.last_from.len()), (0, 0));
    }
}
