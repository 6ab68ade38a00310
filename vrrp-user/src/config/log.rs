//! What a daemon writes to its log about a configuration that it uses.

use std::path::Path;

use super::model::{Diagnostic, Severity};

/// Most settings that are named in one line of the log.
const MAX_NAMED: usize = 12;

/// Logs each warning in a line of its own, and all notes in one: what has no effect has none at every start.
pub fn log(path: &Path, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Error => log::error!("{diagnostic}"),
            Severity::Warning => log::warn!("{diagnostic}"),
            Severity::Note => {}
        }
    }
    if let Some(summary) = summary(path, diagnostics) {
        log::info!("{summary}");
    }
}

/// One line about all notes; `None` without notes.
fn summary(path: &Path, diagnostics: &[Diagnostic]) -> Option<String> {
    let mut named: Vec<(&str, usize, usize)> = Vec::new();
    let mut count = 0;
    for note in diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Note) {
        count += 1;
        let keyword = note.message.split(' ').next().unwrap_or("");
        match named.iter_mut().find(|(known, ..)| *known == keyword) {
            Some((_, _, times)) => *times += 1,
            None => named.push((keyword, note.line, 1)),
        }
    }
    let (noun, verb) = match count {
        0 => return None,
        1 => ("setting", "has"),
        _ => ("settings", "have"),
    };
    let list = named.iter().take(MAX_NAMED).map(|(keyword, line, times)| match times {
        1 => format!("{keyword} (line {line})"),
        _ => format!("{keyword} (line {line} and {} more)", times - 1),
    });
    let mut list = list.collect::<Vec<_>>().join(", ");
    if named.len() > MAX_NAMED {
        list += &format!(" and {} more", named.len() - MAX_NAMED);
    }
    let file = path.display();
    Some(format!(
        "{count} {noun} {verb} no effect here: {list}; `vrrp-user check {file}` explains each"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(severity: Severity, line: usize, message: &str) -> Diagnostic {
        Diagnostic {
            file: "k.conf".to_owned(),
            line,
            column: 1,
            severity,
            message: message.to_owned(),
            hint: None,
        }
    }

    #[test]
    fn one_line_for_all_notes() {
        let path = Path::new("k.conf");
        let mut all = vec![diagnostic(Severity::Warning, 1, "notify is not run")];
        assert_eq!(summary(path, &all), None);
        all.push(diagnostic(Severity::Note, 3, "router_id has no effect here: a name"));
        assert_eq!(
            summary(path, &all).unwrap(),
            "1 setting has no effect here: router_id (line 3); `vrrp-user check k.conf` explains each"
        );
        all.push(diagnostic(Severity::Note, 7, "virtual_server has no effect here: x"));
        all.push(diagnostic(Severity::Note, 9, "virtual_server has no effect here: x"));
        assert_eq!(
            summary(path, &all).unwrap(),
            "3 settings have no effect here: router_id (line 3), virtual_server (line 7 and 1 more); \
             `vrrp-user check k.conf` explains each"
        );
    }

    #[test]
    fn the_line_stays_short() {
        let all: Vec<_> = (0..30)
            .map(|line| diagnostic(Severity::Note, line, &format!("setting_{line} has no effect")))
            .collect();
        let summary = summary(Path::new("k.conf"), &all).unwrap();
        assert!(summary.contains("setting_11 (line 11) and 18 more;"), "{summary}");
        assert!(!summary.contains("setting_12"), "{summary}");
    }
}
