//! `$NAME=value` definitions, their expansion, and the heads of `~SEQ` and `~LST` loops.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::collections::vec_deque::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;

use crate::config::text;

/// Longest line, before and after expansion, in bytes. keepalived's limit is 1,024.
pub(super) const MAX_LINE: usize = 4_096;
/// Most replacements in one line; what recurses without end stops here.
const MAX_REPLACEMENTS: usize = 1_000;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Text within one line.
    Text(String),
    /// Several lines.
    Lines(Vec<String>),
}

/// All definitions so far.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    values: HashMap<String, Value>,
    instance: String,
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expansion {
    /// Nothing in it is defined.
    Unchanged,
    /// The line as it is now, and the lines that follow it, innermost definition last.
    Changed(String, Vec<Vec<String>>),
    /// It grew beyond all bounds.
    TooLong,
}

/// A reference found in a line.
struct Reference<'a> {
    name: &'a str,
    parameters: &'a str,
    /// Bytes from `$` to the end of the reference.
    length: usize,
    braces: bool,
}

/// Whether `name` can be the name of a definition.
fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits `$NAME=value`. `None` if the line is not a definition.
pub(super) fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    is_name(name).then(|| (name, value.trim_start()))
}

/// The reference that `text`, which begins with `$`, begins with.
fn reference(text: &str) -> Option<Reference<'_>> {
    let after = text.strip_prefix('$')?;
    let (body, braces) = match after.strip_prefix('{') {
        Some(body) => (body.split_once('}')?.0, true),
        None => {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            (after.get(..end.unwrap_or(after.len()))?, false)
        }
    };
    let (name, parameters) = body.split_once([' ', '\t']).unwrap_or((body, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '\t');
    if !is_name(name) || !parameters.chars().all(plain) {
        return None;
    }
    let length = body.len() + if braces { 3 } else { 1 };
    Some(Reference { name, parameters: parameters.trim(), length, braces })
}

impl Definitions {
    /// No definitions but the built-in ones.
    pub(super) fn new(instance: String) -> Self {
        Self { values: HashMap::new(), instance }
    }

    /// Defines `name`, or defines it anew.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Whether `name` is defined in the file.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Replaces references in `text` until none is left that is defined: values are expanded where they are
    /// used, not where they are defined. `directory` is what `${_PWD}` stands for.
    pub(super) fn expand(&self, text: &str, directory: &Path) -> Expansion {
        let mut text = text.to_owned();
        let mut following = Vec::new();
        let mut from = 0;
        let mut replacements = 0;
        while let Some(dollar) = text.get(from..).and_then(|rest| rest.find('$')).map(|i| i + from)
        {
            let Some((value, length)) = self.value_at(text.get(dollar..).unwrap_or(""), directory)
            else {
                from = dollar + 1;
                continue;
            };
            replacements += 1;
            let line = match value {
                Value::Text(line) => line,
                Value::Lines(lines) => {
                    let mut lines = lines.into_iter();
                    let first = lines.next().unwrap_or_default();
                    following.push(lines.collect());
                    first
                }
            };
            if replacements > MAX_REPLACEMENTS || text.len() + line.len() > MAX_LINE {
                return Expansion::TooLong;
            }
            text.replace_range(dollar..dollar + length, &line);
            from = dollar;
        }
        if replacements == 0 { Expansion::Unchanged } else { Expansion::Changed(text, following) }
    }

    /// The value of the reference at the beginning of `text`, and the reference's length.
    fn value_at(&self, text: &str, directory: &Path) -> Option<(Value, usize)> {
        let reference = reference(text)?;
        let rest = text.get(reference.length..)?;
        // Without braces, keepalived wants a separator behind the name.
        if !reference.braces && !rest.is_empty() && !rest.starts_with([' ', '\t', ',', ')']) {
            return None;
        }
        let value = match self.values.get(reference.name) {
            Some(Value::Lines(_)) if !rest.is_empty() => return None,
            Some(_) if !reference.parameters.is_empty() => return None,
            Some(value) => value.clone(),
            None => Value::Text(self.builtin(reference.name, reference.parameters, directory)?),
        };
        Some((value, reference.length))
    }

    fn builtin(&self, name: &str, parameters: &str, directory: &Path) -> Option<String> {
        let parameters: Vec<&str> = parameters.split_ascii_whitespace().collect();
        match (name, parameters.as_slice()) {
            ("_PWD", []) => Some(directory.display().to_string()),
            ("_INSTANCE", []) => Some(self.instance.clone()),
            ("_HASH", []) => Some("#".to_owned()),
            ("_BANG", []) => Some("!".to_owned()),
            ("_ENV", [variable]) => Some(std::env::var(variable).unwrap_or_default()),
            ("_RANDOM", []) => Some(random(0, 32_767).to_string()),
            ("_RANDOM", [min]) => Some(random(min.parse().ok()?, 32_767).to_string()),
            ("_RANDOM", [min, max]) => {
                Some(random(min.parse().ok()?, max.parse().ok()?).to_string())
            }
            _ => None,
        }
    }

    /// A name that is defined but stands where it is not replaced, as in `$NET.1`.
    pub(super) fn overlooked<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.match_indices('$').find_map(|(dollar, _)| {
            let reference = reference(text.get(dollar..)?)?;
            self.contains(reference.name).then_some(reference.name)
        })
    }
}

/// A number from `min` to `max`, both included. Needs no quality, so the standard library's own seed will do.
fn random(min: u64, max: u64) -> u64 {
    let span = max.saturating_sub(min).saturating_add(1);
    min + RandomState::new().build_hasher().finish() % span
}

/// The values that a loop still has to go through, next one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoopValues {
    /// `~SEQ`.
    Range {
        /// Next value; wide enough to step past the last one.
        next: i128,
        /// Step, not zero.
        step: i128,
        /// Last value, included.
        last: i128,
        /// `~SEQx`.
        hex: bool,
    },
    /// `~LST`.
    List(VecDeque<Vec<String>>),
}

/// A loop: the line is read once for each value of the variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    variables: Vec<String>,
    values: LoopValues,
    /// The rest of the line.
    pub(super) text: String,
}

impl Loop {
    /// Defines the variables for the next round; `false` when there is none.
    pub(super) fn advance(&mut self, definitions: &mut Definitions) -> bool {
        let values = match &mut self.values {
            LoopValues::Range { next, step, last, hex } => {
                if (*step > 0 && *next > *last) || (*step < 0 && *next < *last) {
                    return false;
                }
                let value = if *hex { format!("{next:x}") } else { next.to_string() };
                *next += *step;
                vec![value]
            }
            LoopValues::List(list) => match list.pop_front() {
                Some(values) => values,
                None => return false,
            },
        };
        let values = values.into_iter().chain(std::iter::repeat(String::new()));
        for (name, value) in self.variables.iter().zip(values) {
            definitions.set(name, Value::Text(value));
        }
        true
    }
}

/// Whether a line is a loop.
pub(super) fn is_loop(text: &str) -> bool {
    text.starts_with("~SEQ") || text.starts_with("~LST")
}

/// Reads `~SEQ(v, [start, [step,]] end) rest`, `~SEQx(...) rest`, `~LST(v, a, b) rest` and
/// `~LST({v,w}, {a,b}, {c,d}) rest`. Definitions may stand for the numbers of a `~SEQ`.
/// Errors: what is wrong, to be put behind the name of the loop.
pub(super) fn parse_loop(text: &str, definitions: &Definitions) -> Result<Loop, String> {
    let (head, rest) = text.split_once(')').ok_or("has no closing parenthesis")?;
    let (name, arguments) = head.split_once('(').ok_or("has no opening parenthesis")?;
    let rest = rest.trim().to_owned();
    match name.trim_end() {
        "~SEQ" => sequence(arguments, rest, false, definitions),
        "~SEQx" => sequence(arguments, rest, true, definitions),
        "~LST" => list(arguments, rest),
        other => Err(format!("is written `{other}`")),
    }
}

fn sequence(
    arguments: &str,
    text: String,
    hex: bool,
    definitions: &Definitions,
) -> Result<Loop, String> {
    let (variable, numbers) = arguments.split_once(',').ok_or("needs a variable and an end")?;
    let variable = variable.trim();
    if !is_name(variable) {
        return Err(format!("has no valid variable: `{variable}`"));
    }
    let numbers = match definitions.expand(numbers, Path::new("")) {
        Expansion::Changed(numbers, _) => numbers,
        Expansion::Unchanged | Expansion::TooLong => numbers.to_owned(),
    };
    let numbers: Vec<i128> = numbers.split(',').map(number).collect::<Result<_, _>>()?;
    let (next, step, last) = match *numbers.as_slice() {
        [end] => (if end < 0 { -1 } else { 1 }, if end < 1 { -1 } else { 1 }, end),
        [start, end] => (start, if start <= end { 1 } else { -1 }, end),
        [start, step, end] => (start, step, end),
        _ => return Err("takes a variable and one to three numbers".to_owned()),
    };
    if step == 0 || (next < last && step < 0) || (next > last && step > 0) {
        return Err(format!("never gets from {next} to {last} in steps of {step}"));
    }
    if hex && (next < 0 || last < 0) {
        return Err("counts in hexadecimal, which has no negative numbers".to_owned());
    }
    let values = LoopValues::Range { next, step, last, hex };
    Ok(Loop { variables: vec![variable.to_owned()], values, text })
}

fn number(text: &str) -> Result<i128, String> {
    let text = text.trim();
    let number = text::number::<i64>(text).map(i128::from);
    number.ok_or_else(|| format!("has `{text}` where a number belongs"))
}

fn list(arguments: &str, text: String) -> Result<Loop, String> {
    let mut sets = value_sets(arguments)?.into_iter();
    let variables = sets.next().unwrap_or_default();
    let values: VecDeque<Vec<String>> = sets.collect();
    if let Some(variable) = variables.iter().find(|name| !is_name(name)) {
        return Err(format!("has no valid variable: `{variable}`"));
    }
    if values.is_empty() {
        return Err("has no values".to_owned());
    }
    if values.iter().any(|set| set.len() > variables.len()) {
        return Err("has more values than variables".to_owned());
    }
    Ok(Loop { variables, values: LoopValues::List(values), text })
}

/// Splits `a, {b, c}, d` into `[[a], [b, c], [d]]`.
fn value_sets(text: &str) -> Result<Vec<Vec<String>>, String> {
    let words = |words: &str| words.split(',').map(|word| word.trim().to_owned()).collect();
    let mut sets: Vec<Vec<String>> = Vec::new();
    let mut rest = text.trim();
    loop {
        let after = if let Some(body) = rest.strip_prefix('{') {
            let (set, after) = body.split_once('}').ok_or("has no closing brace")?;
            sets.push(words(set));
            after.trim_start()
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            sets.push(vec![rest.get(..end).unwrap_or("").trim().to_owned()]);
            rest.get(end..).unwrap_or("")
        };
        if after.is_empty() {
            return Ok(sets);
        }
        rest = after.strip_prefix(',').ok_or("needs a comma between its values")?.trim_start();
    }
}
