//! Commands as configurations write them: a program and its arguments in one text, with keepalived's quoting.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// A program to run, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// The program and its own arguments; at least one word, none with a NUL in it.
    pub argv: Vec<String>,
    /// Whom it runs as, when that is not the default of all scripts.
    pub user: Option<ScriptUser>,
    /// Where it was written.
    pub origin: Origin,
}

impl fmt::Display for Command {
    /// With quotes where they are needed, so that it can be read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.argv.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", quoted(word))?;
        }
        Ok(())
    }
}

/// A word as [`split`] reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\') && !c.is_control();
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from("'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            '\n' => text += "\\n",
            '\t' => text += "\\t",
            '\r' => text += "\\r",
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    text += &format!("\\{byte:03o}");
                }
            }
            c => text.push(c),
        }
    }
    text + "'"
}

/// The account that a script runs under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptUser {
    /// Name of the user.
    pub user: String,
    /// Name of the group, when that is not the user's own. Begins with `:` to ask for the user's supplementary
    /// groups as well.
    pub group: Option<String>,
}

impl fmt::Display for ScriptUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{} {group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

/// Where something was written. No part of what it means: all are equal.
#[derive(Clone, Debug)]
pub struct Origin {
    /// File, as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1; 0 when unknown.
    pub column: usize,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A named pipe that is told what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    /// Its path.
    pub path: PathBuf,
    /// Its owner, when that is not the default of all scripts.
    pub user: Option<ScriptUser>,
    /// The program that reads it; its path is the last argument.
    pub script: Option<Command>,
    /// Where it was written.
    pub origin: Origin,
}

/// Why a text is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// There is nothing in it.
    #[error("there is no program in it")]
    Empty,
    /// A quote has no end.
    #[error("the quote {0} is not closed")]
    Unclosed(char),
    /// It ends with a backslash.
    #[error("nothing follows the last backslash")]
    Backslash,
    /// An escape makes something that is no text.
    #[error("an escape in it makes a character that no argument can have")]
    NoText,
}

/// The words of a command: separated by white space; `"..."` and `'...'` keep what is in them together, wherever
/// they begin; `\a \b \E \f \n \r \t \v \nnn \xXX \cC` stand for control characters, a backslash before anything else
/// for that character.
/// Errors: [`BadCommand`]
pub fn split(text: &str) -> Result<Vec<String>, BadCommand> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (bytes, after) = word(rest, true)?;
        let word = String::from_utf8(bytes).map_err(|_| BadCommand::NoText)?;
        if word.contains('\0') {
            return Err(BadCommand::NoText);
        }
        words.push(word);
        rest = after.trim_start();
    }
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        Some(_) | None => Err(BadCommand::Empty),
    }
}

/// The words of a line whose words are commands: quotes as in [`split`], but escapes stay for that. With each
/// word the characters before it.
pub(super) fn quoted_words(line: &str) -> Result<Vec<(usize, String)>, BadCommand> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let before = line.get(..line.len() - rest.len()).unwrap_or("");
        let (bytes, after) = word(rest, false)?;
        let word = String::from_utf8(bytes).map_err(|_| BadCommand::NoText)?;
        words.push((before.chars().count(), word));
        rest = after.trim_start();
    }
    Ok(words)
}

/// The first word and what follows it.
fn word(text: &str, escapes: bool) -> Result<(Vec<u8>, &str), BadCommand> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or("");
        match (c, quote) {
            ('\\', _) => {
                let escaped = after.chars().next().ok_or(BadCommand::Backslash)?;
                if escapes {
                    rest = escape(after, escaped, &mut word);
                    continue;
                }
                word.push(b'\\');
                push(&mut word, escaped);
                rest = after.get(escaped.len_utf8()..).unwrap_or("");
                continue;
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => return Ok((word, rest)),
            (c, _) => push(&mut word, c),
        }
        rest = after;
    }
    match quote {
        Some(open) => Err(BadCommand::Unclosed(open)),
        None => Ok((word, rest)),
    }
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What follows a backslash, which begins with `first`; returns the rest.
fn escape<'a>(text: &'a str, first: char, word: &mut Vec<u8>) -> &'a str {
    let tail = text.get(first.len_utf8()..).unwrap_or("");
    let digits = |text: &str, radix, most: usize| {
        text.chars().take(most).take_while(|c| c.is_digit(radix)).count()
    };
    match first {
        'x' if digits(tail, 16, 2) > 0 => {
            let (number, rest) = tail.split_at(digits(tail, 16, 2));
            word.push(u8::from_str_radix(number, 16).unwrap_or_default());
            rest
        }
        '0'..='7' => {
            let (number, rest) = text.split_at(digits(text, 8, 3));
            // As keepalived, which keeps eight bits.
            word.push(u16::from_str_radix(number, 8).unwrap_or_default().to_le_bytes()[0]);
            rest
        }
        'c' if tail.starts_with(|c: char| c.is_ascii()) => {
            let (control, rest) = tail.split_at(1);
            word.extend(control.bytes().map(|byte| byte & 0x1f));
            rest
        }
        'a' => pushed(word, 0x07, tail),
        'b' => pushed(word, 0x08, tail),
        'E' => pushed(word, 0x1b, tail),
        'f' => pushed(word, 0x0c, tail),
        'n' => pushed(word, b'\n', tail),
        'r' => pushed(word, b'\r', tail),
        't' => pushed(word, b'\t', tail),
        'v' => pushed(word, 0x0b, tail),
        other => {
            push(word, other);
            tail
        }
    }
}

fn pushed<'a>(word: &mut Vec<u8>, byte: u8, rest: &'a str) -> &'a str {
    word.push(byte);
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text).unwrap()
    }

    #[test]
    fn quotes_and_escapes_are_those_of_keepalived() {
        // From its manual.
        assert_eq!(words(r#"abcd" efg h jkl "mnop"#), ["abcd efg h jkl mnop"]);
        assert_eq!(words(r#"abcd "efg h jkl" mnop"#), ["abcd", "efg h jkl", "mnop"]);
        assert_eq!(words("/a 'b c' d"), ["/a", "b c", "d"]);
        assert_eq!(words(r#"/a 'it is "it"' "it's""#), ["/a", r#"it is "it""#, "it's"]);
        assert_eq!(words(r"/a \n\t\\ \'x\' a\ b"), ["/a", "\n\t\\", "'x'", "a b"]);
        assert_eq!(words(r"/a \x41\x4a4 \101\60 \cA \E[m"), ["/a", "AJ4", "A0", "\x01", "\x1b[m"]);
        assert_eq!(words(r"/a '' b"), ["/a", "", "b"]);
        assert_eq!(words("  /a\t b  "), ["/a", "b"]);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert_eq!(split(""), Err(BadCommand::Empty));
        assert_eq!(split(" '' a"), Err(BadCommand::Empty));
        assert_eq!(split("/a 'b"), Err(BadCommand::Unclosed('\'')));
        assert_eq!(split("/a b\\"), Err(BadCommand::Backslash));
        assert_eq!(split(r"/a \xff"), Err(BadCommand::NoText));
        assert_eq!(split(r"/a \0"), Err(BadCommand::NoText));
    }

    #[test]
    fn a_line_is_split_before_its_command_is() {
        let words = |line| quoted_words(line).unwrap();
        let of = |list: &[(usize, &str)]| -> Vec<(usize, String)> {
            list.iter().map(|(at, word)| (*at, (*word).to_owned())).collect()
        };
        let line = r#"notify "/a 'b c' \"d" root adm"#;
        assert_eq!(
            words(line),
            of(&[(0, "notify"), (7, r#"/a 'b c' \"d"#), (22, "root"), (27, "adm")])
        );
        assert_eq!(words("notify /a b"), of(&[(0, "notify"), (7, "/a"), (10, "b")]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(argv in proptest::collection::vec("[^\0]{0,12}", 0..5)) {
            let argv: Vec<String> = ["/bin/x".to_owned()].into_iter().chain(argv).collect();
            let origin = Origin { file: "".into(), line: 1, column: 1 };
            let command = Command { argv: argv.clone(), user: None, origin };
            prop_assert_eq!(split(&command.to_string()), Ok(argv));
        }

        #[test]
        fn nothing_makes_it_fall_over(text in any::<String>()) {
            let _ = split(&text);
            let _ = quoted_words(&text);
        }
    }
}
