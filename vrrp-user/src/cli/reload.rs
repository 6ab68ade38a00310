//! `vrrp-user reload`.

use std::fmt::Write as _;
use std::io::Write;

use super::Error;
use super::terminal::{Colour, Terminal};
use crate::api::Reloaded;
use crate::control::client;
use crate::types::instance::Instance;

/// Lets a running daemon read its configuration again, and prints what came of it. False when it was refused.
pub fn reload(
    instance: &Instance,
    check: bool,
    json: bool,
    out: &mut impl Write,
) -> Result<bool, Error> {
    let reloaded = client::reload(instance, check)?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &reloaded)?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(text(&reloaded, Terminal::stdout()).as_bytes())?;
    }
    Ok(reloaded.errors.is_empty())
}

fn text(reloaded: &Reloaded, terminal: Terminal) -> String {
    let mut text = String::new();
    for warning in &reloaded.warnings {
        let _ = writeln!(text, "{}", terminal.paint(warning, Colour::Yellow));
    }
    let Reloaded { config, check, .. } = reloaded;
    let summary = reloaded.summary();
    if !reloaded.errors.is_empty() {
        for error in &reloaded.errors {
            let _ = writeln!(text, "{}", terminal.paint(error, Colour::Red));
        }
        let what = if *check { "cannot be used" } else { "refused" };
        let _ = writeln!(text, "{config} {what}: {summary}; everything goes on as before");
        return text;
    }
    let _ = match check {
        true => writeln!(text, "{config} can be reloaded: {summary}"),
        false => writeln!(text, "{config} reloaded in {} ms: {summary}", reloaded.took_ms),
    };
    let at = |name: &str, interface: &str, vrid: u8| format!("{name} ({interface}/{vrid})");
    for router in &reloaded.removed {
        let _ = writeln!(text, "  removed  {}", at(&router.name, &router.interface, router.vrid));
    }
    for router in &reloaded.added {
        let _ = writeln!(text, "  added    {}", at(&router.name, &router.interface, router.vrid));
    }
    for router in &reloaded.changed {
        let place = at(&router.name, &router.interface, router.vrid);
        let _ = writeln!(text, "  changed  {place}: {}", router.settings.join(", "));
    }
    for setting in &reloaded.settings {
        let _ = writeln!(text, "  {setting}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ChangedRouter, RouterName};

    fn plain() -> Terminal {
        Terminal::default()
    }

    #[test]
    fn every_router_that_is_concerned_is_named() {
        let name = |name: &str, vrid| RouterName {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
            vrid,
        };
        let changed = ChangedRouter {
            name: "VI_1".to_owned(),
            interface: "eth0".to_owned(),
            vrid: 51,
            settings: vec!["priority 100 -> 150".to_owned(), "addresses +10.0.0.9/24".to_owned()],
        };
        let mut reloaded = Reloaded {
            config: "vrrp.conf".to_owned(),
            applied: true,
            took_ms: 12,
            added: vec![name("VI_9", 59)],
            removed: vec![name("VI_3", 53)],
            changed: vec![changed],
            unchanged: 3,
            ..Reloaded::default()
        };
        assert_eq!(
            text(&reloaded, plain()),
            "vrrp.conf reloaded in 12 ms: 1 added, 1 removed, 1 changed, 3 unchanged\n\
             \x20 removed  VI_3 (eth0/53)\n\
             \x20 added    VI_9 (eth0/59)\n\
             \x20 changed  VI_1 (eth0/51): priority 100 -> 150, addresses +10.0.0.9/24\n"
        );
        reloaded.errors = vec!["vrrp.conf:3:1: error: so not".to_owned()];
        assert_eq!(
            text(&reloaded, plain()),
            "vrrp.conf:3:1: error: so not\n\
             vrrp.conf refused: 1 error; everything goes on as before\n"
        );
    }
}
