//! Diagnostics as a person reads them: the place, what is wrong, the line with a mark under it, what to do.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::super::terminal::{Colour, Terminal, wrapped};
use crate::config::model::{Diagnostic, Severity};
use crate::printable;

/// Columns before a line of the file.
const INDENT: usize = 4;
/// Longest piece of a line of the file where the terminal does not say.
const LONGEST: usize = 160;
/// Largest file that is read once more to show lines of it, in bytes.
const LARGEST: u64 = 32 << 20;

/// Lines of files, each file read once.
#[derive(Default)]
struct Sources {
    files: HashMap<String, Vec<String>>,
}

impl Sources {
    /// A line, counted from 1, if the file is still there and is one that can be read twice.
    fn line(&mut self, file: &str, line: usize) -> Option<&str> {
        if !self.files.contains_key(file) {
            let regular =
                fs::metadata(file).is_ok_and(|file| file.is_file() && file.len() <= LARGEST);
            let bytes = if regular { fs::read(file).unwrap_or_default() } else { Vec::new() };
            let text = String::from_utf8_lossy(&bytes);
            self.files.insert(file.to_owned(), text.lines().map(str::to_owned).collect());
        }
        self.files.get(file)?.get(line.checked_sub(1)?).map(String::as_str)
    }
}

/// Writes all of them. Notes have one line each, the others show the line that they are about.
pub fn write(
    diagnostics: &[Diagnostic],
    terminal: Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut sources = Sources::default();
    for diagnostic in diagnostics {
        head(diagnostic, terminal, out)?;
        if diagnostic.severity == Severity::Note {
            continue;
        }
        if let Some(line) = sources.line(&diagnostic.file, diagnostic.line) {
            excerpt(&without_keys(line), diagnostic, terminal, out)?;
        }
        if let Some(hint) = &diagnostic.hint {
            for line in hint.lines() {
                for line in wrapped(&printable::text(line), room(terminal)) {
                    writeln!(out, "{:INDENT$}{line}", "")?;
                }
            }
        }
    }
    Ok(())
}

fn colour(severity: Severity) -> Colour {
    match severity {
        Severity::Note => Colour::Plain,
        Severity::Warning => Colour::Yellow,
        Severity::Error => Colour::Red,
    }
}

/// Columns for text behind the indentation.
fn room(terminal: Terminal) -> usize {
    terminal.width.map_or(LONGEST, |width| width.saturating_sub(INDENT).max(20))
}

/// `FILE:LINE:COLUMN: error: MESSAGE`, continued with an indentation where the terminal ends.
fn head(diagnostic: &Diagnostic, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let Diagnostic { file, line, column, severity, message, .. } = diagnostic;
    let (file, message) = (printable::text(file), printable::text(message));
    let place = match column {
        0 => format!("{file}:{line}:"),
        _ => format!("{file}:{line}:{column}:"),
    };
    let place = terminal.paint(&place, Colour::Bold);
    let kind = terminal.paint(&severity.to_string(), colour(*severity));
    writeln!(out, "{}", terminal.fit(&format!("{place} {kind}: {message}"), INDENT))
}

/// The line with stars in the place of what may be a key that signs advertisements (`key ID VALUE`, `hex = "..."`,
/// `text = "..."`): this is pasted into tickets.
fn without_keys(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    // What stands before the word, and whether the rest of the line is secret.
    let (mut before, mut is_secret) = (["", ""], false);
    for part in line.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '=' | '{' | ',')) {
        let word =
            part.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '=' | '{' | ','));
        let is_value = matches!(before, ["key", _] | [_, "hex" | "text"])
            || word.trim_start_matches('"').starts_with("hex:");
        is_secret |= is_value && !word.trim_start_matches('"').starts_with("file:");
        if is_secret {
            shown.extend(part.chars().map(|c| if c.is_alphanumeric() { '*' } else { c }));
        } else {
            shown.push_str(part);
        }
        if !word.is_empty() {
            before = [before[1], word];
        }
    }
    shown
}

/// The line, or the piece of it that fits, and a mark under the word at the column.
fn excerpt(
    line: &str,
    diagnostic: &Diagnostic,
    terminal: Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let chars: Vec<char> = line.chars().map(shown).collect();
    let start = diagnostic.column.saturating_sub(1).min(chars.len());
    let indent = chars.iter().take_while(|c| **c == ' ').count();
    let room = room(terminal);
    // From the first word on, unless the place is too far to the right for that.
    let from =
        if start.saturating_sub(indent) + 10 < room { indent.min(start) } else { start - 10 };
    let mut piece: String = chars.iter().skip(from).take(room).collect();
    if from + room < chars.len() {
        piece.pop();
        piece.push('…');
    }
    if piece.trim().is_empty() {
        return Ok(());
    }
    writeln!(out, "{:INDENT$}{}", "", piece.trim_end())?;
    if diagnostic.column == 0 {
        return Ok(());
    }
    let length = word(chars.get(start..).unwrap_or(&[])).min(room.saturating_sub(start - from));
    let mark = terminal.paint(&"^".repeat(length.max(1)), colour(diagnostic.severity));
    let before: String = chars.get(from..start).unwrap_or_default().iter().collect();
    writeln!(out, "{:width$}{mark}", "", width = INDENT + before.width())
}

/// How many characters belong to the word, string or heading that the text begins with.
fn word(text: &[char]) -> usize {
    let until = |end: char| text.iter().skip(1).position(|c| *c == end).map(|at| at + 2);
    let closed = match text.first() {
        Some('"') => until('"'),
        Some('\'') => until('\''),
        _ => None,
    };
    let ends = |c: &char| c.is_whitespace() || matches!(c, ',' | '"' | '=' | '{' | '}');
    closed.unwrap_or_else(|| text.iter().position(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::without_keys;

    #[test]
    fn keys_are_not_quoted() {
        for (line, shown) in [
            ("  key 1 hex:0011aa", "  key 1 ***:******"),
            ("auth_hmac { key 1 \"my secret\" }", "auth_hmac { key 1 \"** ******\" }"),
            ("key 2 file:/etc/k", "key 2 file:/etc/k"),
            ("key 2 pass!word", "key 2 ****!****"),
            ("keys = [{ id = 1, hex = \"00ff\" }]", "keys = [{ id = 1, hex = \"****\" }]"),
            ("keys = [{ id = 1, text=\"a b\" }]", "keys = [{ id = 1, text=\"* *\" }]"),
            ("hex:0011 key", "***:**** ***"),
            ("auth_pass key", "auth_pass key"),
        ] {
            assert_eq!(without_keys(line), shown, "{line}");
        }
    }

    use super::*;

    fn shown(source: &str, column: usize, message: &str, width: Option<usize>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        fs::write(&path, format!("first\n{source}\n")).unwrap();
        let file = path.display().to_string();
        let diagnostic = Diagnostic {
            file: file.clone(),
            line: 2,
            column,
            severity: Severity::Error,
            message: message.to_owned(),
            hint: Some("did you mean priority?".to_owned()),
        };
        let mut out = Vec::new();
        // The name of the directory is as long as it likes to be.
        let width = width.map(|width| width + file.len() - "a.toml".len());
        let terminal = Terminal { width, height: None, colour: false };
        write(&[diagnostic], terminal, &mut out).unwrap();
        String::from_utf8(out).unwrap().replace(&file, "a.toml")
    }

    #[test]
    fn a_mark_stands_under_the_word() {
        assert_eq!(
            shown("  prioritty = 5", 3, "unknown key prioritty in a router", None),
            "a.toml:2:3: error: unknown key prioritty in a router\n\
             \x20   prioritty = 5\n\
             \x20   ^^^^^^^^^\n\
             \x20   did you mean priority?\n"
        );
        assert!(shown("a = \"b c\" # x", 5, "m", None).contains("\n        ^^^^^\n"));
        assert!(shown("\ta\tä  b", 6, "m", None).contains("    a ä  b\n        ^\n"));
        // Two columns each.
        let wide = shown("名前 = 1, b = 2", 9, "m", None);
        assert!(wide.contains(&format!("    名前 = 1, b = 2\n{:14}^\n", "")), "{wide}");
        // An unknown column, a column behind the end, a line that is empty.
        assert!(!shown("a b", 0, "m", None).contains('^'));
        assert!(shown("ab", 9, "m", None).contains("    ab\n      ^\n"));
        assert!(shown("", 1, "m", None).starts_with("a.toml:2:1: error: m\n    did"));
    }

    #[test]
    fn long_lines_fit() {
        let source = format!("{}key = 1{}", "x = 1, ".repeat(30), ", y = 2".repeat(30));
        let text = shown(&source, 211, &"some words ".repeat(20), Some(80));
        assert!(text.contains("key = 1"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let mark = lines.iter().position(|line| line.contains("^^^")).unwrap();
        assert_eq!(lines[mark - 1].chars().nth(lines[mark].find('^').unwrap()), Some('k'));
    }

    #[test]
    fn a_file_that_is_gone_is_no_problem() {
        let diagnostic = Diagnostic {
            file: "/nonexistent".to_owned(),
            line: 7,
            column: 1,
            severity: Severity::Warning,
            message: "m".to_owned(),
            hint: None,
        };
        let mut out = Vec::new();
        write(&[diagnostic], Terminal::default(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "/nonexistent:7:1: warning: m\n");
    }
}
