//! Collects what the readers and the validation have to say, and where.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::command::Origin;
use super::diagnostic::{Diagnostic, Severity};
use crate::printable;

/// Beyond this many, further warnings and notes are only counted, and beyond as many more, errors: a file that is not
/// a configuration at all must not fill the memory.
const MAX_DIAGNOSTICS: usize = 10_000;

/// A file that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct FileId(usize);

impl FileId {
    /// A line in it, from 1, column unknown.
    pub(super) fn line(self, line: usize) -> Position {
        Position { file: self, line, column: 0 }
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Position {
    pub(super) file: FileId,
    /// Line, from 1.
    pub(super) line: usize,
    /// Column, from 1; 0 when unknown.
    pub(super) column: usize,
}

impl Position {
    /// The place `chars` characters further on the same line.
    pub(super) fn advance(self, chars: usize) -> Self {
        let column = if self.column == 0 { 0 } else { self.column + chars };
        Self { column, ..self }
    }

    /// The same line, column unknown: for text that is not as it stands in the file.
    pub(super) fn whole_line(self) -> Self {
        Self { column: 0, ..self }
    }
}

/// A value and the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    /// Place.
    pub(super) at: Position,
}

impl<T> Located<T> {
    /// `value` at `at`.
    pub(super) fn new(value: T, at: Position) -> Self {
        Self { value, at }
    }
}

/// The diagnostics of one configuration.
#[derive(Debug, Default)]
pub(super) struct Report {
    files: Vec<Arc<str>>,
    known: HashMap<Arc<str>, FileId>,
    diagnostics: Vec<Diagnostic>,
    seen: HashSet<(Position, String)>,
    suppressed: usize,
    errors: bool,
    /// Which of the routers that an entry stands for is looked at.
    entry: Option<String>,
}

impl Report {
    /// Registers a file under the name by which messages call it.
    pub(super) fn file(&mut self, name: &str) -> FileId {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let (name, id) = (Arc::<str>::from(name), FileId(self.files.len()));
        self.files.push(Arc::clone(&name));
        self.known.insert(name, id);
        id
    }

    /// Tells which of many routers of one entry everything is about from now on; `None` for no such entry. What
    /// is wrong with several of them is said once, of the first.
    pub(super) fn entry(&mut self, entry: Option<String>) {
        self.entry = entry;
    }

    /// What makes a message one that was seen: within an entry, numbers do not.
    fn key(&self, at: Position, message: &str) -> (Position, String) {
        let within = self.entry.is_some();
        (at, message.chars().filter(|c| !within || !c.is_ascii_digit()).collect())
    }

    pub(super) fn name(&self, file: FileId) -> &str {
        self.files.get(file.0).map_or("", |file| &**file)
    }

    /// A place for messages that come when the files were read already.
    pub(super) fn origin(&self, at: Position) -> Origin {
        let file = self.files.get(at.file.0).cloned().unwrap_or_else(|| "".into());
        Origin { file, line: at.line, column: at.column }
    }

    /// The daemon goes on without it. An empty hint is none.
    pub(super) fn warning(&mut self, at: Position, message: impl Into<String>, hint: &str) {
        self.push(Severity::Warning, at, message.into(), hint);
    }

    /// The configuration is refused.
    pub(super) fn error(&mut self, at: Position, message: impl Into<String>, hint: &str) {
        self.push(Severity::Error, at, message.into(), hint);
    }

    /// Whether a diagnostic would be shown: a line in a loop is read many times, but the user has to mend it
    /// once.
    pub(super) fn is_new(&self, severity: Severity, at: Position, message: &str) -> bool {
        self.has_room(severity) && !self.seen.contains(&self.key(at, message))
    }

    fn has_room(&self, severity: Severity) -> bool {
        let most = match severity {
            Severity::Error => 2 * MAX_DIAGNOSTICS,
            Severity::Note | Severity::Warning => MAX_DIAGNOSTICS,
        };
        self.diagnostics.len() < most
    }

    /// Either of them.
    pub(super) fn push(
        &mut self,
        severity: Severity,
        at: Position,
        mut message: String,
        hint: &str,
    ) {
        self.errors |= severity == Severity::Error;
        if !self.has_room(severity) {
            self.suppressed += 1;
            return;
        }
        if !self.seen.insert(self.key(at, &message)) {
            return;
        }
        if let Some(entry) = &self.entry {
            message += &format!(", for {entry}");
        }
        self.diagnostics.push(Diagnostic {
            file: self.name(at.file).to_owned(),
            line: at.line,
            column: at.column,
            severity,
            message,
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        });
    }

    /// Whether the configuration is refused.
    pub(super) fn has_errors(&self) -> bool {
        self.errors
    }

    /// All of them, in the order of the file.
    pub(super) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        let order = |diagnostic: &Diagnostic| {
            let file = self.known.get(&*diagnostic.file).map(|file| file.0);
            (file, diagnostic.line, diagnostic.column)
        };
        self.diagnostics.sort_by_key(order);
        if self.suppressed > 0
            && let Some(last) = self.diagnostics.last()
        {
            let message = format!("{} more messages are not shown", self.suppressed);
            let more =
                Diagnostic { message, hint: None, severity: Severity::Warning, ..last.clone() };
            self.diagnostics.push(more);
        }
        self.diagnostics
    }
}

impl fmt::Display for Diagnostic {
    /// `FILE:LINE:COLUMN: error: MESSAGE (HINT)`, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", printable::text(&self.file), self.line)?;
        if self.column > 0 {
            write!(f, "{}:", self.column)?;
        }
        write!(f, " {}: {}", self.severity, printable::text(&self.message))?;
        match &self.hint {
            Some(hint) => {
                let lines: Vec<&str> = hint.lines().map(str::trim_start).collect();
                write!(f, " ({})", printable::text(&lines.join(" ")))
            }
            None => Ok(()),
        }
    }
}
