//! `vrrp-user convert FILE`: the same configuration in the TOML format.

use std::io::{self, Write};
use std::path::Path;

use super::check;
use super::terminal::Terminal;
use crate::config::{self, LoadError, Loaded, Options, convert};
use crate::printable;

/// Writes a configuration as TOML, with what is lost on the way as comments; what is wrong with it goes to
/// `problems`. Whether it could be written is the result.
pub fn convert(
    path: &Path,
    options: &Options,
    out: &mut impl Write,
    problems: &mut impl Write,
) -> io::Result<bool> {
    let Loaded { config, diagnostics } = match config::load(path, options) {
        Ok(loaded) => loaded,
        Err(LoadError::Invalid { diagnostics }) => {
            check::diagnostics::write(&diagnostics, Terminal::default(), problems)?;
            writeln!(problems, "{}: nothing is written", path.display())?;
            return Ok(false);
        }
        Err(ref error @ LoadError::Io { ref source, .. }) => {
            writeln!(problems, "{error}: {source}")?;
            return Ok(false);
        }
    };
    writeln!(out, "# From {}", printable::text(&path.display().to_string()))?;
    if !diagnostics.is_empty() {
        writeln!(out, "#\n# Not taken over as it was written there:")?;
        for diagnostic in &diagnostics {
            writeln!(out, "# {}", diagnostic)?;
        }
    }
    writeln!(out, "\n{}", convert::toml(&config).trim_end())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_a_comment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("k.conf");
        let text = "global_defs {\nrouter_id x\n}\nvrrp_instance A {\ninterface eth0\n\
                    virtual_router_id 7\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n";
        std::fs::write(&path, text).unwrap();
        let (mut out, mut problems) = (Vec::new(), Vec::new());
        assert!(convert(&path, &Options::default(), &mut out, &mut problems).unwrap());
        let directory = format!("{}/", directory.path().display());
        assert_eq!(
            String::from_utf8(out).unwrap().replace(&directory, ""),
            "# From k.conf\n\
             #\n\
             # Not taken over as it was written there:\n\
             # k.conf:2:1: note: router_id has no effect here: it is only a name in mails and in SNMP\n\
             \n\
             [[router]]\n\
             name = \"A\"\n\
             interface = \"eth0\"\n\
             vrid = 7\n\
             addresses = [\"10.0.0.1/32\"]\n"
        );
        std::fs::write(&path, "vrrp_instance A {\n}\n").unwrap();
        let mut out = Vec::new();
        assert!(!convert(&path, &Options::default(), &mut out, &mut problems).unwrap());
        assert!(out.is_empty());
        assert!(String::from_utf8(problems).unwrap().ends_with("k.conf: nothing is written\n"));
    }
}
