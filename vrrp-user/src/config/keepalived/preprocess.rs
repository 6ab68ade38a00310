//! From files to logical lines: comments, `include`, conditions, definitions, loops, and one brace per line.
//!
//! Everything that can repeat is a source on one stack, so that loops, multi-line definitions and included
//! files nest in any order. Depth, the length of lines and the number of steps are bounded: no input, however
//! it refers to itself, goes on for ever.

use std::io;
use std::path::{Path, PathBuf};

use super::definitions::{self, Definitions, Expansion, Loop, MAX_LINE, Value};
use super::include::{self, Problem, Strictness};
use crate::config::Options;
use crate::config::access::Need;
use crate::config::report::{FileId, Position, Report};
use crate::config::source::{Files, Grown};

/// Most lines that are read or made by expansion. keepalived's own example of a large configuration, 65,024
/// instances out of three nested loops, takes two million.
const MAX_STEPS: usize = if cfg!(test) { 20_000 } else { 4_000_000 };
/// Deepest nesting of loops, multi-line definitions and included files.
const MAX_DEPTH: usize = 64;
/// Most rewritings of one line: conditions, expansions.
const MAX_REWRITES: usize = 100;

/// A logical line: `{`, `}`, or text without comment, references or unquoted braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Text, never empty.
    pub(super) text: String,
    /// Where its first character stands; the column is unknown where the text is not that of the file.
    pub(super) at: Position,
}

/// Where lines come from.
enum Source {
    File {
        id: FileId,
        bytes: Vec<u8>,
        /// Where the next line begins; beyond the end after the last one.
        begin: usize,
        next: usize,
        directory: PathBuf,
        path: PathBuf,
        /// What `include_check` said where the file was included.
        outer: Strictness,
    },
    Loop {
        body: Loop,
        at: Position,
    },
    Lines {
        lines: std::vec::IntoIter<String>,
        at: Position,
    },
    Text(Line),
}

impl Source {
    /// Whether it is a file of nothing but white space and comments.
    fn is_blank(&self) -> bool {
        let Self::File { bytes, .. } = self else { return false };
        let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start);
        lines.all(|line| matches!(line.first(), None | Some(b'#' | b'!')))
    }
}

/// A multi-line definition whose end has not been seen.
struct Unfinished {
    name: String,
    lines: Vec<String>,
}

/// The logical lines of a configuration.
pub(super) struct Preprocessor<'a> {
    pub(super) report: &'a mut Report,
    sources: Vec<Source>,
    definitions: Definitions,
    unfinished: Option<Unfinished>,
    config_id: String,
    /// How strict an `include` is from here on, in this file.
    pub(super) include_check: Strictness,
    steps: usize,
    files: Files,
    grown: Grown,
    last: Position,
    /// Whether a running daemon reads its configuration again.
    reload: bool,
    /// What was included in vain.
    pub(super) missed: Missed,
}

/// Includes that brought nothing.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Whether a file was missing or could not be read.
    pub(super) file: bool,
    /// Patterns without a file, directories, and files with nothing in them: perhaps on purpose.
    pub(super) empty: Vec<(Position, String)>,
}

impl<'a> Preprocessor<'a> {
    /// Opens a file.
    /// Errors: when the file cannot be read.
    pub(super) fn open(path: &Path, options: &Options, report: &'a mut Report) -> io::Result<Self> {
        let config_id = options.config_id.clone().unwrap_or_else(host_name);
        let instance = options.instance.clone().unwrap_or_else(|| config_id.clone());
        let include_check = Strictness::default();
        let mut files = Files::default();
        let (id, file) = open_file(path, include_check, &mut files, report)?;
        let definitions = Definitions::new(instance);
        let (sources, last) = (vec![file], id.line(1));
        Ok(Self {
            report,
            sources,
            definitions,
            unfinished: None,
            config_id,
            include_check,
            steps: 0,
            files,
            grown: Grown::default(),
            last,
            reload: options.running.is_some(),
            missed: Missed::default(),
        })
    }

    /// The next logical line; `None` at the end.
    pub(super) fn next_line(&mut self) -> Option<Line> {
        while let Some(line) = self.pull() {
            self.steps += 1;
            self.last = line.at;
            if self.steps > MAX_STEPS {
                let message = format!("the configuration expands to more than {MAX_STEPS} lines");
                self.too_much(line.at, message);
                return None;
            }
            if let Some(line) = self.process(line) {
                self.grow(line.at, Grown { bytes: line.text.len(), ..Grown::default() });
                return Some(line);
            }
        }
        None
    }

    /// Counts what a line brings. If that makes too much of everything, it is the last line.
    pub(super) fn grow(&mut self, at: Position, more: Grown) {
        if let Err(much) = self.grown.add(more) {
            self.too_much(at, format!("the configuration has {much}"));
        }
    }

    /// Nothing more is read.
    fn too_much(&mut self, at: Position, message: String) {
        self.report.error(
            at,
            message,
            "look for a loop, definition or include that repeats itself",
        );
        self.sources.clear();
    }

    /// Where the last line came from.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// The next line of the innermost source, without its comment.
    fn pull(&mut self) -> Option<Line> {
        loop {
            match self.sources.last_mut()? {
                Source::Text(line) => {
                    let line = line.clone();
                    self.sources.pop();
                    return Some(line);
                }
                Source::Loop { body, at } => {
                    if body.advance(&mut self.definitions) {
                        return Some(Line { text: body.text.clone(), at: *at });
                    }
                    self.sources.pop();
                }
                Source::Lines { lines, at } => {
                    if let Some(text) = lines.next() {
                        return Some(Line { text, at: *at });
                    }
                    self.sources.pop();
                }
                Source::File { id, bytes, begin, next, outer, .. } => {
                    let Some(rest) = bytes.get(*begin..) else {
                        self.include_check = *outer;
                        self.sources.pop();
                        self.finish_definition();
                        continue;
                    };
                    let length = rest.iter().position(|byte| *byte == b'\n');
                    let length = length.unwrap_or(rest.len());
                    let raw = rest.get(..length).unwrap_or_default().to_owned();
                    let at = id.line(*next);
                    *begin += length + 1;
                    *next += 1;
                    if let Some(line) = self.physical_line(&raw, at) {
                        return Some(line);
                    }
                }
            }
        }
    }

    /// One line as it stands in the file; `None` if nothing is left of it.
    fn physical_line(&mut self, raw: &[u8], at: Position) -> Option<Line> {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        if raw.is_empty() {
            // An empty line ends a definition, one with a comment or white space does not.
            self.finish_definition();
            return None;
        }
        if raw.len() > MAX_LINE {
            let message = format!("the line is longer than {MAX_LINE} bytes; it is ignored");
            self.report.warning(at, message, "");
            return None;
        }
        let text = String::from_utf8_lossy(raw);
        let indent = text.chars().take_while(|c| matches!(c, ' ' | '\t')).count();
        // Twice, as in keepalived, which reads a copy without comments again: `a\#b` is `a`.
        let (once, verbatim) = decomment(&text);
        let (stripped, _) = decomment(&once);
        if stripped.is_empty() {
            return None;
        }
        if std::str::from_utf8(raw).is_err() && stripped.contains(char::REPLACEMENT_CHARACTER) {
            self.report.warning(at, "the line is not UTF-8", "save the file as UTF-8");
        }
        let column = if verbatim { indent + 1 } else { 0 };
        Some(Line { text: stripped, at: Position { column, ..at } })
    }

    fn finish_definition(&mut self) {
        if let Some(Unfinished { name, lines }) = self.unfinished.take() {
            self.definitions.set(&name, Value::Lines(lines));
        }
    }

    /// Everything that can happen to a line; `None` if that used it up.
    fn process(&mut self, mut line: Line) -> Option<Line> {
        if let Some(unfinished) = &mut self.unfinished {
            let (text, more) = continued(&line.text);
            if !text.is_empty() {
                unfinished.lines.push(text.to_owned());
            }
            if !more {
                self.finish_definition();
            }
            return None;
        }
        for _ in 0..MAX_REWRITES {
            if line.text.starts_with('@') {
                line = self.condition(&line)?;
            } else if let Some((name, value)) = definitions::definition(&line.text) {
                self.define(name, value);
                return None;
            } else if definitions::is_loop(&line.text) {
                self.begin_loop(&line);
                return None;
            } else if !line.text.contains('$') || !self.expand(&mut line) {
                break;
            }
            line.text = line.text.trim().to_owned();
            if line.text.is_empty() {
                return None;
            }
        }
        if let Some((pattern, strictness)) = include::directive(&line.text, self.include_check) {
            if line.text.contains('"') {
                let message = "keepalived takes quotes as part of the name, and does not find it";
                self.report.warning(line.at, message, "write it without quotes");
            }
            self.include(pattern, strictness, line.at);
            return None;
        }
        Some(self.split_at_brace(line))
    }

    /// `@id rest` and `@^id rest`.
    fn condition(&self, line: &Line) -> Option<Line> {
        let (id, rest) = line.text.split_once([' ', '\t'])?;
        let id = id.strip_prefix('@')?;
        let (id, wanted) = match id.strip_prefix('^') {
            Some(id) => (id, false),
            None => (id, true),
        };
        if (id == self.config_id) != wanted {
            return None;
        }
        let rest = rest.trim_start();
        let skipped = line.text.chars().count() - rest.chars().count();
        Some(Line { text: rest.to_owned(), at: line.at.advance(skipped) })
    }

    fn define(&mut self, name: &str, value: &str) {
        let (text, more) = continued(value);
        if more {
            let lines = if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
            self.unfinished = Some(Unfinished { name: name.to_owned(), lines });
        } else {
            self.definitions.set(name, Value::Text(value.to_owned()));
        }
    }

    fn begin_loop(&mut self, line: &Line) {
        let name = line.text.get(..4).unwrap_or("");
        match definitions::parse_loop(&line.text, &self.definitions) {
            Ok(body) => self.push(Source::Loop { body, at: line.at.whole_line() }, line.at),
            Err(problem) => {
                let message = format!("{name} {problem}; the line is ignored");
                self.report.warning(
                    line.at,
                    message,
                    "write ~SEQ(NAME, FIRST, LAST) or ~LST(NAME, A, B)",
                );
            }
        }
    }

    /// Replaces references; whether there were any.
    fn expand(&mut self, line: &mut Line) -> bool {
        match self.definitions.expand(&line.text, self.directory()) {
            Expansion::Unchanged => false,
            Expansion::Changed(text, following) => {
                *line = Line { text: decomment(&text).0, at: line.at.whole_line() };
                for lines in following {
                    self.push(Source::Lines { lines: lines.into_iter(), at: line.at }, line.at);
                }
                true
            }
            Expansion::TooLong => {
                let message =
                    "a definition in this line grows without end; the line is left as it is";
                self.report.warning(line.at, message, "look for a definition that contains itself");
                false
            }
        }
    }

    /// Directory of the file that is being read.
    fn directory(&self) -> &Path {
        let directories = self.sources.iter().rev().find_map(|source| match source {
            Source::File { directory, .. } => Some(directory.as_path()),
            Source::Loop { .. } | Source::Lines { .. } | Source::Text(_) => None,
        });
        directories.unwrap_or(Path::new("."))
    }

    fn push(&mut self, source: Source, at: Position) {
        if self.sources.len() < MAX_DEPTH {
            self.sources.push(source);
        } else {
            let message =
                format!("loops, definitions and files are nested more than {MAX_DEPTH} deep");
            self.report.error(at, message, "look for a definition that contains itself");
        }
    }

    fn include(&mut self, pattern: &str, strictness: Strictness, at: Position) {
        let mut found = include::find(pattern, self.directory());
        let mut files = Vec::new();
        for path in std::mem::take(&mut found.files) {
            let canonical = path.canonicalize().unwrap_or_else(|_| path.clone());
            let open =
                |source: &Source| matches!(source, Source::File { path, .. } if *path == canonical);
            if self.sources.iter().any(open) {
                let message = format!("{} includes itself", path.display());
                self.report.error(at, message, "remove the include");
                continue;
            }
            match open_file(&path, self.include_check, &mut self.files, self.report) {
                Ok((_, file)) => {
                    if file.is_blank() {
                        let message = format!("there is nothing in {}", path.display());
                        self.missed.empty.push((at, message));
                    }
                    files.push(file);
                }
                // However little an include matters, the rest of the file is not the configuration that was meant.
                Err(error) if self.files.exhausted() => {
                    return self
                        .too_much(at, format!("cannot include {}: {error}", path.display()));
                }
                Err(error) => found.failed(&path, Need::Read, &error),
            }
        }
        let remedy = found.remedy.map(|command| format!("as root: {command}")).unwrap_or_default();
        for (problem, message) in found.problems {
            let hint = match problem {
                Problem::Denied => &*remedy,
                Problem::Unreadable | Problem::Missing => {
                    self.missed.file = true;
                    "a reload is refused without it; what may be missing is included by a pattern"
                }
                Problem::Directory | Problem::NoMatch => {
                    self.missed.empty.push((at, message.clone()));
                    ""
                }
            };
            if let Some(severity) = strictness.severity(problem, self.reload) {
                self.report.push(severity, at, message, hint);
            }
        }
        for file in files.into_iter().rev() {
            self.push(file, at);
        }
    }

    /// Cuts the line at its first unquoted brace; the rest comes back as the next line.
    fn split_at_brace(&mut self, line: Line) -> Line {
        let Some(brace) = self.find_brace(&line) else { return line };
        let cut = if brace == 0 { 1 } else { brace };
        let (head, rest) = line.text.split_at(cut);
        let rest_trimmed = rest.trim();
        if !rest_trimmed.is_empty() {
            let skipped = line.text.chars().count() - rest.trim_start().chars().count();
            let rest = Line { text: rest_trimmed.to_owned(), at: line.at.advance(skipped) };
            self.push(Source::Text(rest), line.at);
        }
        Line { text: head.trim_end().to_owned(), at: line.at }
    }

    /// Byte index of the first brace that is neither quoted nor part of an undefined `${NAME}`.
    fn find_brace(&mut self, line: &Line) -> Option<usize> {
        let text = line.text.as_str();
        let mut index = 0;
        while let Some(found) = text.get(index..)?.find(['{', '}', '"', '$']) {
            index += found;
            let rest = text.get(index..)?;
            if let Some(quoted) = rest.strip_prefix('"') {
                index += quoted.find('"')? + 2;
            } else if let Some(body) = rest.strip_prefix("${") {
                // keepalived would take these for the braces of a block.
                let end = body.find('}')?;
                let name = body.get(..end)?;
                self.report.warning(line.at, format!("`${{{name}}}` is not defined"), "");
                index += end + 3;
            } else if let Some(after) = rest.strip_prefix('$') {
                if let Some(name) = self.definitions.overlooked(rest) {
                    let message = format!("`${name}` is not replaced here");
                    self.report.warning(line.at, message, &format!("write ${{{name}}}"));
                }
                index += rest.len() - after.len();
            } else {
                return Some(index);
            }
        }
        None
    }
}

/// Splits off the backslash that continues a definition on the next line.
fn continued(text: &str) -> (&str, bool) {
    match text.strip_suffix('\\') {
        Some(text) => (text.trim_end(), true),
        None => (text, false),
    }
}

/// Removes comment and surrounding white space, and the backslash of `\#` and `\!`. Also tells whether what
/// is left stands like this in the file.
fn decomment(text: &str) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let mut quoted = false;
    let mut verbatim = true;
    let mut chars = text.trim_start_matches([' ', '\t']).chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => {
                let next = chars.next();
                if !quoted && matches!(next, Some('#' | '!')) {
                    verbatim = false;
                } else {
                    out.push('\\');
                }
                out.extend(next);
                continue;
            }
            '#' | '!' if !quoted => break,
            _ => {}
        }
        out.push(c);
    }
    out.truncate(out.trim_end_matches([' ', '\t']).len());
    (out, verbatim)
}

fn open_file(
    path: &Path,
    outer: Strictness,
    files: &mut Files,
    report: &mut Report,
) -> io::Result<(FileId, Source)> {
    let bytes = files.read(path)?;
    let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = canonical.parent().unwrap_or(Path::new("/")).to_owned();
    let id = report.file(&path.display().to_string());
    Ok((id, Source::File { id, bytes, begin: 0, next: 1, directory, path: canonical, outer }))
}

/// The node name up to its first dot; empty if the kernel does not tell.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or("").to_owned()
}
