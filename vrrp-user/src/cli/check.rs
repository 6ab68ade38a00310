//! `vrrp-user check FILE`: everything that is to be said about a configuration, and what it means.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use crate::config::model::{
    Address, Authentication, Config, Diagnostic, Router, Severity, Transport, V3Checksum,
};
use crate::config::{self, LoadError, Options};
use crate::engine::time::Nanos;
use crate::engine::types::{AdvertInterval, GarpPolicy};

/// Writes the diagnostics of a configuration and, if it can be used, its routers. Whether it can be used is
/// the result: exit status 0 or 1.
///
/// # Errors
/// When `out` can not be written to.
pub fn check(path: &Path, options: &Options, out: &mut impl Write) -> io::Result<bool> {
    let file = path.display();
    match config::load(path, options) {
        Ok(loaded) => {
            for diagnostic in &loaded.diagnostics {
                writeln!(out, "{diagnostic}")?;
            }
            if !loaded.diagnostics.is_empty() {
                writeln!(out)?;
            }
            describe(&loaded.config, out)?;
            let routers = counted(loaded.config.routers.len(), "router");
            let found = found(&loaded.diagnostics);
            writeln!(out, "{file}: usable, {routers}{found}")?;
            Ok(true)
        }
        Err(LoadError::Invalid { diagnostics }) => {
            for diagnostic in &diagnostics {
                writeln!(out, "{diagnostic}")?;
            }
            let found = found(&diagnostics);
            writeln!(out, "\n{file}: not usable{found}")?;
            Ok(false)
        }
        Err(ref error @ LoadError::Io { ref source, .. }) => {
            writeln!(out, "{error}: {source}")?;
            Ok(false)
        }
    }
}

/// Writes what counts for the whole daemon, and one block per router.
///
/// # Errors
/// When `out` can not be written to.
pub fn describe(config: &Config, out: &mut impl Write) -> io::Result<()> {
    if let Some(metrics) = &config.metrics {
        writeln!(out, "metrics at {metrics}\n")?;
    }
    for router in &config.routers {
        describe_router(router, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn describe_router(router: &Router, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "router {} (line {})", router.name, router.line)?;
    let mut line = |name: &str, value: String| writeln!(out, "    {name:<16}{value}");
    line("interface", router.interface.clone())?;
    line("vrid", router.vrid.to_string())?;
    line("priority", router.priority.to_string())?;
    let version = match (router.interval, router.v3_checksum) {
        (AdvertInterval::Secs(_), _) => "2",
        (AdvertInterval::Centisecs(_), V3Checksum::Rfc5798) => {
            "3, checksum with pseudo-header (RFC 5798)"
        }
        (AdvertInterval::Centisecs(_), V3Checksum::Rfc9568) => {
            "3, checksum without pseudo-header (RFC 9568)"
        }
    };
    line("version", version.to_owned())?;
    line("interval", seconds(router.interval.span()))?;
    match router.authentication {
        Authentication::None => line("authentication", "none".to_owned())?,
        // The password stays out of what people paste into tickets.
        Authentication::Pass(_) => line("authentication", "simple password".to_owned())?,
    }
    line("transport", transport(&router.transport))?;
    line("pre-emption", preemption(router))?;
    lines("address", &router.addresses, &mut line)?;
    lines("not advertised", &router.excluded, &mut line)?;
    line("gratuitous ARP", garp(&router.garp))?;
    if !router.lower_prio_advert {
        line("lower priority", "heard as master: not answered by an advertisement".to_owned())?;
    }
    if router.higher_prio_advert {
        line("higher priority", "heard as master: one more advertisement is sent".to_owned())?;
    }
    Ok(())
}

fn lines(
    name: &str,
    addresses: &[Address],
    line: &mut impl FnMut(&str, String) -> io::Result<()>,
) -> io::Result<()> {
    for (index, address) in addresses.iter().enumerate() {
        line(if index == 0 { name } else { "" }, address.to_string())?;
    }
    Ok(())
}

fn transport(transport: &Transport) -> String {
    let from = |source: &Option<IpAddr>| {
        source
            .map_or_else(|| "the interface's first address".to_owned(), |source| source.to_string())
    };
    match transport {
        Transport::Multicast { source } => format!("multicast from {}", from(source)),
        Transport::Unicast { source, peers } => {
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            format!("unicast from {} to {}", from(source), peers.join(", "))
        }
    }
}

fn preemption(router: &Router) -> String {
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
fn seconds(span: Nanos) -> String {
    format!("{} s", span.as_secs_f64())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn checked(name: &str, content: &str) -> (bool, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        let mut out = Vec::new();
        let usable = check(&path, &Options::default(), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        (usable, out.replace(&format!("{}/", directory.path().display()), ""))
    }

    #[test]
    fn usable_with_warnings() {
        let (usable, out) = checked(
            "k.conf",
            "vrrp_instance A {\n  interface eth0\n  virtual_router_id 7\n  notify /bin/x\n  \
             authentication { auth_type PASS\n auth_pass secret }\n  \
             virtual_ipaddress {\n    10.0.0.1/24 dev eth1 label eth1:0 brd + scope link no_track\n    10.0.0.2\n  }\n}\n",
        );
        assert!(usable);
        assert_eq!(
            out,
            "k.conf:4:3: warning: notify is recognised but not supported yet: no script is run\n\
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
             \n\
             k.conf: usable, 1 router, 1 warning\n"
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
        assert!(!check(path, &Options::default(), &mut out).unwrap());
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("cannot read /nonexistent/vrrp.toml: No such file"), "{out}");
    }
}
