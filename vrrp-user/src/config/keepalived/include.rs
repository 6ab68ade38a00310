//! `include` and its stricter variants: which files are meant.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::access::{self, Need};
use crate::config::model::Severity;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// A file is there, or may be, and this process may not read it. keepalived, which is always root, never meets that.
    Denied,
    /// A file is there but cannot be read, or is no file to be read.
    Unreadable,
    Directory,
    /// A file that is named does not exist.
    Missing,
    /// A pattern matches nothing.
    NoMatch,
}

/// Which problems are errors: `include` none, `includer`, `includem`, `includew`, `includeb`, `includea` more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strictness {
    readable: bool,
    exists: bool,
    matches: bool,
}

impl Strictness {
    /// `include_check`: what the words say, everything if there are none. Returns what cannot be understood.
    pub(super) fn set<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut words = words.peekable();
        if words.peek().is_none() {
            *self = Self { readable: true, exists: true, matches: true };
        }
        for (index, word) in words.enumerate() {
            let (on, name) = match word.split_at_checked(1) {
                Some(("+", name)) => (true, name),
                Some(("-", name)) => (false, name),
                Some(_) | None => {
                    if index > 0 {
                        problems.push(format!("`{word}` stands behind others without + or -"));
                        continue;
                    }
                    *self = Self { readable: true, ..Self::default() };
                    (true, word)
                }
            };
            match name {
                "read" => self.readable = on,
                "match" | "brace_match" => self.exists = on,
                "wildcard_match" => self.matches = on,
                _ => problems.push(format!("`{name}` is no check")),
            }
        }
        problems
    }

    /// How bad a problem is; `None` if it is none. An empty directory is none. What may not be read is an error whatever the
    /// words say: that the rest runs without it was never tried. On `reload`, a file that is not there is
    /// worse than at a start: the rest may be a configuration that nobody meant, while one that was meant is running.
    pub(super) fn severity(self, problem: Problem, reload: bool) -> Option<Severity> {
        match problem {
            Problem::Denied => Some(Severity::Error),
            Problem::Unreadable | Problem::Missing if reload => Some(Severity::Error),
            Problem::Unreadable | Problem::Directory if self.readable => Some(Severity::Error),
            Problem::Missing if self.exists => Some(Severity::Error),
            Problem::NoMatch if self.matches => Some(Severity::Error),
            Problem::Unreadable | Problem::Directory | Problem::Missing => Some(Severity::Warning),
            Problem::NoMatch => None,
        }
    }
}

/// The pattern after `include`, which is as strict as `usual`; `None` if the line is not an include.
pub(super) fn directive(text: &str, usual: Strictness) -> Option<(&str, Strictness)> {
    let (keyword, pattern) = text.split_once([' ', '\t'])?;
    let (readable, exists, matches) = match keyword {
        "include" => (usual.readable, usual.exists, usual.matches),
        "includer" => (true, false, false),
        "includem" | "includeb" => (true, true, false),
        "includew" => (true, true, true),
        "includea" => (true, true, true),
        _ => return None,
    };
    Some((pattern.trim().trim_matches('"'), Strictness { readable, exists, matches }))
}

/// Most patterns that alternatives in braces may stand for. Each takes glob(3) time and memory, whether anything
/// matches or not.
const MAX_ALTERNATIVES: usize = 4_096;

/// For how many patterns one stands at most: `{a,b}` for two, and several of them for each combination.
fn alternatives(pattern: &str) -> usize {
    let mut open = Vec::new();
    let mut count: usize = 1;
    for c in pattern.chars() {
        match c {
            '{' => open.push(1),
            ',' => open.last_mut().into_iter().for_each(|words| *words += 1),
            '}' => count = count.saturating_mul(open.pop().unwrap_or(1)),
            _ => {}
        }
    }
    count
}

/// What a pattern stands for.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files in alphabetical order, alternatives in braces in the order in which they are written.
    pub(super) files: Vec<PathBuf>,
    /// Problems, each with its message.
    pub(super) problems: Vec<(Problem, String)>,
    /// By which command root mends the first of them.
    pub(super) remedy: Option<String>,
}

impl Found {
    /// Something could not be looked at or read.
    pub(super) fn failed(&mut self, path: &Path, need: Need, error: &io::Error) {
        let message = format!("cannot read {}: {error}", path.display());
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        if denied && self.remedy.is_none() {
            self.remedy = access::remedy(path, need);
        }
        let problem = if denied { Problem::Denied } else { Problem::Unreadable };
        self.problems.push((problem, message));
    }
}

/// The files that match `pattern`, relative to `directory`.
pub(super) fn find(pattern: &str, directory: &Path) -> Found {
    let mut found = Found::default();
    if alternatives(pattern) > MAX_ALTERNATIVES {
        let message = format!(
            "`{pattern}` stands for more than {MAX_ALTERNATIVES} patterns; nothing is included"
        );
        found.problems.push((Problem::Unreadable, message));
        return found;
    }
    let absolute = directory.join(pattern);
    let is_wildcard = |text: &str| text.contains(['*', '?', '[']);
    let Some(paths) = glob(absolute.as_os_str()) else {
        let mut parents = absolute.ancestors().skip(1);
        let listed = parents.find(|path| !is_wildcard(&path.display().to_string()));
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        found.failed(listed.unwrap_or(directory), Need::List, &denied);
        return found;
    };
    if paths.is_empty() {
        let wildcard = is_wildcard(pattern);
        match absolute.symlink_metadata() {
            Err(error) if !wildcard && error.kind() == io::ErrorKind::PermissionDenied => {
                found.failed(&absolute, Need::Read, &error);
                return found;
            }
            Ok(_) | Err(_) => {}
        }
        let problem = if wildcard { Problem::NoMatch } else { Problem::Missing };
        found.problems.push((problem, format!("no file matches `{pattern}`; nothing is included")));
    }
    for path in paths {
        match path.metadata() {
            Ok(file) if !file.is_file() || file.permissions().mode() & 0o111 != 0 => {
                let message =
                    format!("{} is no regular, non-executable file; skipped", path.display());
                let problem = if file.is_dir() { Problem::Directory } else { Problem::Unreadable };
                found.problems.push((problem, message));
            }
            Ok(_) => found.files.push(path),
            Err(error) => found.failed(&path, Need::Read, &error),
        }
    }
    found
}

/// Ends glob(3) at a directory that may not be listed: what is in there cannot be left out without a word.
extern "C" fn is_denied(_: *const c_char, errno: c_int) -> c_int {
    c_int::from(errno == libc::EACCES)
}

/// glob(3), with alternatives in braces; `None` if a directory may not be listed.
fn glob(pattern: &OsStr) -> Option<Vec<PathBuf>> {
    let Ok(pattern) = CString::new(pattern.as_bytes()) else { return Some(Vec::new()) };
    // SAFETY: glob_t is plain data, for which all zeros is a valid value.
    let mut result: libc::glob_t = unsafe { std::mem::zeroed() };
    let flags = libc::GLOB_BRACE;
    // SAFETY: the pattern is a C string that outlives the call, `result` is a valid glob_t; without
    // GLOB_APPEND and GLOB_DOOFFS glob only writes to it.
    let status = unsafe { libc::glob(pattern.as_ptr(), flags, Some(is_denied), &raw mut result) };
    let mut paths = Vec::new();
    if status == 0 {
        for index in 0..result.gl_pathc {
            // SAFETY: after success gl_pathv points to gl_pathc pointers to C strings, valid until globfree.
            let path = unsafe { CStr::from_ptr(*result.gl_pathv.add(index)) };
            paths.push(PathBuf::from(OsStr::from_bytes(path.to_bytes())));
        }
    }
    // SAFETY: `result` was filled in by glob, which leaves it fit for globfree whatever it returned.
    unsafe { libc::globfree(&raw mut result) };
    (status != libc::GLOB_ABORTED).then_some(paths)
}
