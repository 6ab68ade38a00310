//! `vrrp-user check FILE`: everything that is to be said about a configuration, and what it means.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;
use vrrp_common::VRRP_TTL;

use super::service_user::CheckedAs;
use super::terminal::Terminal;
use crate::config::access::{self, Need};
use crate::config::command::Command;
use crate::config::model::{
    Authentication, Config, Diagnostic, Fence, Fixed, OnLost, RouterConfig, Severity, Transport,
    V3Checksum,
};
use crate::config::notify::{LifecycleScript, Notify, Settings};
use crate::config::socket::SocketAccess;
use crate::config::tree::{self, Secrets, Table};
use crate::config::{self, LoadError, Loaded, Options};
use crate::engine::election::DOWN_ADVERTS;
use crate::engine::time::Nanos;
use crate::engine::types::{AdvertInterval, GarpPolicy};
use crate::printable;
use crate::scripts::plan::Plan;
use crate::wire::ethernet::Colons;
use crate::wire::family::Family;

pub(super) mod diagnostics;
mod summary;
mod track;

/// Most routers that are shown in full when not all are asked for.
const FEW: usize = 20;

/// How the result is shown.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every router in full, however many there are.
    pub all: bool,
    pub json: bool,
    /// Whether scripts, users and permissions are looked at on this machine.
    pub machine: bool,
    /// As whom files are read, and scripts would be executed; `None` for whoever asks.
    pub checked_as: Option<CheckedAs>,
}

/// What `check --json` writes.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    usable: bool,
    checked_as: Option<&'a CheckedAs>,
    diagnostics: &'a [Diagnostic],
    config: Option<Table>,
}

/// Writes the diagnostics of a configuration and, if it can be used, its routers. Whether it can be used is
/// the result: exit status 0 or 1.
pub fn check(
    path: &Path,
    options: &Options,
    view: &View,
    out: &mut impl Write,
) -> Result<bool, super::Error> {
    let loaded = config::load(path, options).map(|mut loaded| {
        if view.machine {
            loaded.diagnostics.extend(Plan::new(&loaded.config).1);
        }
        loaded
    });
    if view.json {
        json(path, loaded, view, out)
    } else {
        text(path, loaded, view, Terminal::stdout(), out)
    }
}

fn json(
    path: &Path,
    loaded: Result<Loaded, LoadError>,
    view: &View,
    out: &mut impl Write,
) -> Result<bool, super::Error> {
    let (config, diagnostics) = match loaded {
        Ok(Loaded { config, diagnostics }) => (Some(config), diagnostics),
        Err(LoadError::Invalid { diagnostics }) => (None, diagnostics),
        Err(ref error @ LoadError::Io { ref source, .. }) => {
            let nowhere = Diagnostic {
                file: path.display().to_string(),
                line: 0,
                column: 0,
                severity: Severity::Error,
                message: format!("{error}: {source}"),
                hint: remedy(path, source, view),
            };
            (None, vec![nowhere])
        }
    };
    let usable = config.is_some();
    let config = config.map(|config| {
        let mut table = tree::config(&config, Secrets::Hidden);
        tree::add_lines(&mut table, &config);
        table
    });
    let file = path.display().to_string();
    let checked_as = view.checked_as.as_ref();
    let report = Report { file, usable, checked_as, diagnostics: &diagnostics, config };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)?;
    Ok(usable)
}

fn text(
    path: &Path,
    loaded: Result<Loaded, LoadError>,
    view: &View,
    terminal: Terminal,
    out: &mut impl Write,
) -> Result<bool, super::Error> {
    let file = path.display().to_string();
    let file = printable::text(&file);
    let checked_as = view.checked_as.as_ref().map(CheckedAs::describe);
    match loaded {
        Ok(loaded) => {
            diagnostics::write(&loaded.diagnostics, terminal, out)?;
            if !loaded.diagnostics.is_empty() {
                writeln!(out)?;
            }
            let count = loaded.config.routers.len();
            if view.all || count <= FEW {
                fitted(terminal, out, |out| describe(&loaded.config, out))?;
            } else {
                fitted(terminal, out, |out| describe_daemon(&loaded.config, out))?;
                summary::write(&loaded.config, terminal, out)?;
                writeln!(out, "`vrrp-user check --all {file}` shows each router\n")?;
                fitted(terminal, out, |out| track::describe(&loaded.config, out))?;
            }
            write_all(checked_as, terminal, out)?;
            let routers = counted(count, "router");
            let found = found(&loaded.diagnostics);
            writeln!(out, "{file}: usable, {routers}{found}")?;
            Ok(true)
        }
        Err(LoadError::Invalid { diagnostics }) => {
            diagnostics::write(&diagnostics, terminal, out)?;
            writeln!(out)?;
            write_all(checked_as, terminal, out)?;
            let found = found(&diagnostics);
            writeln!(out, "{file}: not usable{found}")?;
            Ok(false)
        }
        Err(ref error @ LoadError::Io { ref source, .. }) => {
            let remedy = remedy(path, source, view);
            write_all(
                [format!("{error}: {source}")].into_iter().chain(remedy).chain(checked_as),
                terminal,
                out,
            )?;
            Ok(false)
        }
    }
}

fn write_all(
    lines: impl IntoIterator<Item = String>,
    terminal: Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut lines = lines.into_iter();
    lines.try_for_each(|line| writeln!(out, "{}", terminal.fit(&printable::text(&line), 4)))
}

/// Writes what describes something; a value that is longer than the terminal goes on below itself.
fn fitted(
    terminal: Terminal,
    out: &mut impl Write,
    describe: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut text = Vec::new();
    describe(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    text.lines().try_for_each(|line| writeln!(out, "{}", terminal.fit(line, VALUES)))
}

/// What helps where the file itself may not be read.
fn remedy(path: &Path, error: &io::Error, view: &View) -> Option<String> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let command = access::remedy(path, Need::Read)?;
    let draft = "; a draft is checked by `--as-user root`";
    let draft = if view.checked_as.is_some() { draft } else { "" };
    Some(format!("as root: {command}{draft}"))
}

/// Writes everything.
pub fn describe(config: &Config, out: &mut impl Write) -> io::Result<()> {
    describe_daemon(config, out)?;
    for router in &config.routers {
        describe_router(router, out)?;
        writeln!(out)?;
    }
    track::describe(config, out)
}

/// Writes what counts for the whole daemon.
fn describe_daemon(config: &Config, out: &mut impl Write) -> io::Result<()> {
    if let Some(netns) = &config.netns {
        writeln!(out, "in the network namespace {netns}\n")?;
    }
    if let Some(metrics) = &config.metrics {
        writeln!(out, "metrics at {metrics}\n")?;
    }
    if config.control != SocketAccess::default() {
        let SocketAccess { mode, group } = &config.control;
        let group = group.as_deref().unwrap_or("the daemon's own");
        writeln!(out, "control socket with mode {mode}, group {group}\n")?;
    }
    describe_settings(&config.notify, out)?;
    describe_fixed(config, out)?;
    Ok(())
}

/// Most interfaces that are named where all have the same to be said.
const NAMED: usize = 8;

/// Where the values of [`line`] begin.
const VALUES: usize = 20;

/// Writes a line for each of some values, often one or none; only the first has the name.
fn line<T: Display>(
    out: &mut impl Write,
    name: &str,
    values: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    for (index, value) in values.into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        writeln!(out, "    {name:<16}{value}")?;
    }
    Ok(())
}

/// What counts for all scripts and fifos, as far as it is not the default.
fn describe_settings(settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    if *settings == Settings::default() {
        return Ok(());
    }
    writeln!(out, "scripts and fifos")?;
    line(out, "user", &settings.user)?;
    let security = "nothing runs as root that others could have written";
    line(out, "security", settings.security.then_some(security))?;
    let paths = "as written, with symbolic links";
    line(out, "paths", settings.symlink_paths.then_some(paths))?;
    let unusable = "a tracked script that cannot run counts for nothing";
    line(out, "unusable", settings.disable_unusable.then_some(unusable))?;
    line(out, "groups", settings.supplementary_groups.then_some("all of the user"))?;
    line(out, "umask", settings.umask.map(|umask| format!("{umask:03o}")))?;
    line(out, "at once", [settings.concurrency])?;
    line(out, "timeout", [seconds(settings.timeout)])?;
    let once = |LifecycleScript { command, timeout }: &LifecycleScript| {
        format!("{}, at most {}", described(command), seconds(*timeout))
    };
    line(out, "at start", settings.startup.as_ref().map(once))?;
    line(out, "at the end", settings.shutdown.as_ref().map(once))?;
    for (_, fifo) in settings.fifos() {
        let reader = fifo.script.as_ref().map(|script| format!(", read by {}", described(script)));
        line(out, "fifo", [format!("{}{}", fifo.path.display(), reader.unwrap_or_default())])?;
    }
    let priority = "the fifos are told when it changes";
    line(out, "priority", settings.priority_changes.then_some(priority))?;
    line(out, "reload", settings.states_on_reload.then_some("the fifos are told all states"))?;
    line(out, "split brain", settings.split_brain.as_ref().map(described))?;
    writeln!(out)
}

/// A command and whom it runs as.
fn described(command: &Command) -> String {
    match &command.user {
        Some(user) => format!("{command} (as {user})"),
        None => command.to_string(),
    }
}

/// What is there whoever is master.
fn describe_fixed(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let (fixed, promoting) = (&config.fixed, config.promoting());
    if *fixed == Fixed::default() && promoting.is_empty() {
        return Ok(());
    }
    writeln!(out, "always")?;
    line(out, "address", &fixed.addresses)?;
    line(out, "route", &fixed.routes)?;
    line(out, "rule", &fixed.rules)?;
    if !promoting.is_empty() {
        let stay = "the addresses of a subnet stay when the first one goes";
        let devices = if promoting.len() > NAMED {
            counted(promoting.len(), "interface")
        } else {
            promoting.into_iter().collect::<Vec<_>>().join(", ")
        };
        line(out, "setting", [format!("promote_secondaries of {devices}: {stay}")])?;
    }
    writeln!(out)
}

fn describe_router(router: &RouterConfig, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "router {} (line {})", router.name, router.line)?;
    line(out, "interface", [&router.interface])?;
    line(out, "vrid", [router.vrid])?;
    line(out, "priority", [router.priority])?;
    let version = match (router.interval, router.v3_checksum) {
        (AdvertInterval::Centisecs(_), _) if router.family() == Family::V6 => "3, over IPv6",
        (AdvertInterval::Secs(_), _) => "2",
        (AdvertInterval::Centisecs(_), V3Checksum::Rfc5798) => {
            "3, checksum with pseudo-header (RFC 5798)"
        }
        (AdvertInterval::Centisecs(_), V3Checksum::Rfc9568) => {
            "3, checksum without pseudo-header (RFC 9568)"
        }
    };
    line(out, "version", [version])?;
    line(out, "interval", [seconds(router.interval.duration())])?;
    let authentication = match router.authentication {
        Authentication::None => "none",
        // The password stays out of what people paste into tickets.
        Authentication::Pass(_) => "simple password",
        Authentication::Ah(_) => "authentication header (AH)",
    };
    line(out, "authentication", [authentication])?;
    line(out, "transport", [transport(router)])?;
    line(out, "pre-emption", [preemption(router)])?;
    line(out, "address", &router.addresses)?;
    line(out, "not advertised", &router.excluded)?;
    line(out, "route", &router.routing.routes)?;
    line(out, "rule", &router.routing.rules)?;
    let restores = router.routing.on_lost == OnLost::Restore;
    let restored = "addresses, routes and rules are put back";
    line(out, "when removed", restores.then_some(restored))?;
    line(out, "gratuitous ARP", [garp(&router.garp)])?;
    let down = Some(router.down_adverts).filter(|adverts| *adverts != DOWN_ADVERTS);
    line(out, "master is down", down.map(|adverts| format!("after {adverts} advertisements")))?;
    let longest = router.max_learned_interval.map(AdvertInterval::Centisecs);
    let believed = |longest| format!("a master's is believed up to {longest}");
    line(out, "learned interval", longest.map(believed))?;
    let unanswered = "heard as master: not answered by an advertisement";
    line(out, "lower priority", (!router.lower_prio_advert).then_some(unanswered))?;
    let answer = router.higher_prio_advert.map(|one_more| match one_more {
        true => "heard as master: one more advertisement is sent",
        false => "heard as master: nothing more is sent",
    });
    line(out, "higher priority", answer)?;
    let alone = "it takes no notice of other routers";
    line(out, "as owner", router.owner_ignores_adverts.then_some(alone))?;
    let first = "of others: refused unless it is link-local";
    line(out, "first address", router.link_local_first.then_some(first))?;
    let fence = match router.fence {
        Fence::Claim => None,
        Fence::Lease => Some("as soon as its lease is over"),
        Fence::Off => Some("off"),
    };
    line(out, "fence", fence)?;
    line(out, "MAC address", virtual_mac(router))?;
    let dropped = "to the addresses: dropped (no accept mode)";
    line(out, "packets", (!router.accepts()).then_some(dropped))?;
    let tracked = "tracked: FAULT while the interface does not have it";
    line(out, "source", router.track_source.then_some(tracked))?;
    let untracked = "not tracked: it may be down";
    line(out, "own interface", router.dont_track_primary.then_some(untracked))?;
    for track in &router.track {
        line(out, "tracks", [track])?;
    }
    router.notify.iter().try_for_each(|notify| describe_notify(notify, out))
}

/// The scripts of a router or group.
fn describe_notify(notify: &Notify, out: &mut impl Write) -> io::Result<()> {
    for (keyword, command) in notify.commands() {
        let on = match keyword {
            "notify_master" => "on MASTER",
            "notify_backup" => "on BACKUP",
            "notify_fault" => "on FAULT",
            "notify_stop" => "on STOP",
            "notify_deleted" => "on DELETED",
            "notify" => "on any change",
            _ => "lower priority",
        };
        line(out, on, [described(command)])?;
    }
    let told = |on| format!("are {}told of changes of priority", if on { "" } else { "not " });
    line(out, "fifos", notify.priority_changes.map(told))
}

fn transport(router: &RouterConfig) -> String {
    let first = match router.family() {
        Family::V4 => "the interface's first address",
        Family::V6 => "the interface's first link-local address",
    };
    let from = |source: &Option<IpAddr>| {
        source.map_or_else(|| first.to_owned(), |source| source.to_string())
    };
    match &router.transport {
        Transport::Multicast { source, group: None } => format!("multicast from {}", from(source)),
        Transport::Multicast { source, group: Some(group) } => {
            format!("multicast from {} to {group}", from(source))
        }
        Transport::Unicast { source, peers, ttl, check_source } => {
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            let mut text = format!("unicast from {} to {}", from(source), peers.join(", "));
            if *ttl != VRRP_TTL {
                text += &format!(", with TTL {ttl}");
            }
            if *check_source {
                text += "; others are not heard";
            }
            text
        }
    }
}

fn preemption(router: &RouterConfig) -> String {
    if !router.preempt {
        "no".to_owned()
    } else if router.preempt_delay == Nanos::ZERO {
        "yes, at once".to_owned()
    } else {
        format!("yes, after {}", seconds(router.preempt_delay))
    }
}

fn garp(garp: &GarpPolicy) -> String {
    let group = |rounds: u32, delay: Nanos| {
        if rounds == 0 {
            "none".to_owned()
        } else if delay == Nanos::ZERO {
            format!("{rounds} at once")
        } else {
            format!("{rounds} at once and {rounds} after {}", seconds(delay))
        }
    };
    let mut text = group(garp.master_repeat, garp.master_delay);
    if garp.refresh != Nanos::ZERO {
        text += &format!(", {} every {}", garp.refresh_repeat, seconds(garp.refresh));
    }
    text + "; lower priority heard: " + &group(garp.lower_prio_repeat, garp.lower_prio_delay)
}

/// Seconds without needless decimals.
fn seconds(duration: Nanos) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// How many errors, warnings and notes there are, each behind a comma; none of the kind is not said.
fn found(diagnostics: &[Diagnostic]) -> String {
    let kinds =
        [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let mut text = String::new();
    for (severity, noun) in kinds {
        let count = diagnostics.iter().filter(|found| found.severity == severity).count();
        if count > 0 {
            text += &format!(", {}", counted(count, noun));
        }
    }
    text
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Which virtual MAC address a router has, and where.
fn virtual_mac(router: &RouterConfig) -> Option<String> {
    let devs: BTreeSet<&str> = router.virtual_mac_devs().collect();
    let devs = devs.into_iter().collect::<Vec<_>>().join(", ");
    let on = match (router.virtual_mac, devs.is_empty()) {
        (false, true) => return None,
        (true, true) => String::new(),
        (true, false) => format!(", also on {devs}"),
        (false, false) => format!(", on {devs} only"),
    };
    let which = match router.own_virtual_mac {
        Some(mac) => Colons(mac).to_string(),
        None => "that of its VRID".to_owned(),
    };
    let adverts = if router.virtual_mac && !router.virtual_mac_adverts {
        "; advertisements have the interface's own"
    } else {
        ""
    };
    Some(format!("virtual, {which}{on}{adverts}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn checked(name: &str, content: &str) -> (bool, String) {
        checked_in(None, name, content)
    }

    /// On a terminal of that many columns.
    fn checked_in(width: Option<usize>, name: &str, content: &str) -> (bool, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        let mut out = Vec::new();
        let loaded = config::load(&path, &Options::default());
        let terminal = Terminal { width, ..Terminal::default() };
        let usable = text(&path, loaded, &View::default(), terminal, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        (usable, out.replace(&format!("{}/", directory.path().display()), ""))
    }

    #[test]
    fn usable_with_warnings() {
        let (usable, out) = checked(
            "k.conf",
            "vrrp_instance A {\n  interface eth0\n  virtual_router_id 7\n  notify \"/bin/x 'a b'\" root\n  smtp_alert\n  \
             authentication { auth_type PASS\n auth_pass secret }\n  \
             virtual_ipaddress {\n    10.0.0.1/24 dev eth1 label eth1:0 brd + scope link no_track\n    10.0.0.2\n  }\n}\n",
        );
        assert!(usable);
        assert_eq!(
            out,
            "k.conf:5:3: note: smtp_alert has no effect here: no mail is sent\n\
             \n\
             router A (line 1)\n\
             \x20   interface       eth0\n\
             \x20   vrid            7\n\
             \x20   priority        100\n\
             \x20   version         2\n\
             \x20   interval        1 s\n\
             \x20   authentication  simple password\n\
             \x20   transport       multicast from the interface's first address\n\
             \x20   pre-emption     yes, at once\n\
             \x20   address         10.0.0.1/24 dev eth1 label eth1:0 brd 10.0.0.255 scope link no_track\n\
             \x20                   10.0.0.2/32\n\
             \x20   gratuitous ARP  5 at once and 5 after 5 s; lower priority heard: 5 at once and 5 after 5 s\n\
             \x20   on any change   /bin/x 'a b' (as root)\n\
             \n\
             k.conf: usable, 1 router, 1 note\n"
        );
    }

    #[test]
    fn all_errors_at_once() {
        let (usable, out) = checked("k.conf", "vrrp_instance A {\n}\nvrrp_instance B {\n}\n");
        assert!(!usable);
        assert_eq!(out.matches(" error: ").count(), 4, "{out}");
        assert!(out.ends_with("k.conf: not usable, 4 errors, 2 warnings\n"), "{out}");
    }

    #[test]
    fn missing_file() {
        let mut out = Vec::new();
        let path = Path::new("/nonexistent/vrrp.toml");
        assert!(!check(path, &Options::default(), &View::default(), &mut out).unwrap());
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("cannot read /nonexistent/vrrp.toml: No such file"), "{out}");
    }

    fn many() -> &'static str {
        "[[router]]\nname = \"r{index}.{vrid}\"\ninterface = \"eth{0-15}\"\nvrid = \"1-255\"\n\
         priority = 200\naddresses = [\"10.{index}.{vrid}.1\"]\n"
    }

    #[test]
    fn thousands_of_routers_are_summarised() {
        let (usable, out) = checked("m.toml", many());
        assert!(usable);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 1 + 16 + 3, "{out}");
        assert_eq!(lines[0], "INTERFACE  ROUTERS  VRIDS  VERSION  PRIORITY  INTERVAL  ADDRESSES");
        assert_eq!(lines[16], "eth15          255  1-255  2        200       1 s             255");
        assert_eq!(lines[19], "m.toml: usable, 4080 routers");
    }

    #[test]
    fn a_summary_fits_the_terminal() {
        let (usable, out) = checked_in(Some(80), "m.toml", &many().replace(".1\"", ".1/8\""));
        assert!(usable && out.lines().all(|line| line.len() <= 80), "{out}");
        let said = "    setting         promote_secondaries of 16 interfaces: the addresses of a\n\
                    \x20                   subnet stay when the first one goes\n";
        assert!(out.contains(said), "{out}");
        let few = many().replace("{0-15}", "{0-1}").replace(".1\"", ".1/8\"");
        let (_, out) = checked_in(None, "m.toml", &few);
        assert!(out.contains("promote_secondaries of eth0, eth1: the addresses"), "{out}");
    }

    #[test]
    fn as_json() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        let json = |text: &str| {
            fs::write(&path, text).unwrap();
            let mut out = Vec::new();
            let view = View { json: true, ..View::default() };
            let usable = check(&path, &Options::default(), &view, &mut out).unwrap();
            (usable, serde_json::from_slice::<serde_json::Value>(&out).unwrap())
        };
        let (usable, value) = json(many());
        assert!(usable);
        let last = &value["config"]["router"][4_079];
        assert_eq!((&last["name"], &last["line"]), (&"r15.255".into(), &1.into()));
        assert_eq!(last["addresses"][0]["address"], "10.15.255.1/32");
        assert_eq!(last["garp"]["delay"], "5s", "defaults are filled in");
        assert_eq!(last["unicast"], serde_json::Value::Null);
        let secret =
            many().to_owned() + "authentication = { type = \"pass\", password = \"geheim\" }";
        assert!(!json(&secret).1.to_string().contains("geheim"));
        let (usable, value) = json("router = 5");
        assert!(!usable);
        let error = &value["diagnostics"][0];
        assert_eq!((&error["line"], &error["column"]), (&1.into(), &10.into()));
        assert_eq!(error["severity"], "error");
        assert_eq!(value["config"], serde_json::Value::Null);
    }
}
