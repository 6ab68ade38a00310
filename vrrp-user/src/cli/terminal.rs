//! What stdout can show: how wide it is, and whether it takes colours.

use std::borrow::Cow;
use std::env;
use std::io::{self, IsTerminal};

use textwrap::{Options, WordSplitter};
use unicode_truncate::UnicodeTruncateStr;
use unicode_width::UnicodeWidthStr;

/// Columns for a text that goes on below itself, however narrow the terminal is.
const LEAST: usize = 20;

/// Where output goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Columns; `None` for as many as are needed, as in a pipe.
    pub width: Option<usize>,
    /// Lines; `None` for as many as are needed, also where one that was written cannot be written over.
    pub height: Option<usize>,
    pub colour: bool,
}

/// A colour of the terminal's palette, by its SGR number (ECMA-48 section 8.3.117).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// As everything else.
    #[default]
    Plain,
    /// Good, and worth seeing.
    Green,
    /// Not as it should be.
    Yellow,
    /// Broken.
    Red,
    /// A heading.
    Bold,
}

impl Terminal {
    /// A line of text, which goes on below itself, indented, where it is longer than the terminal.
    pub fn fit(self, line: &str, indent: usize) -> String {
        let Some(width) = self.width else { return line.to_owned() };
        let below = " ".repeat(indent);
        textwrap::fill(line, wrap_options(width.max(indent + LEAST)).subsequent_indent(&below))
    }

    /// Columns of stderr; `None` for as many as are needed.
    pub fn stderr_width() -> Option<usize> {
        let stderr = io::stderr();
        let size = terminal_size::terminal_size_of(&stderr).filter(|_| stderr.is_terminal());
        size.map(|(width, _)| width.0.into())
    }

    /// Stdout as it is now. `COLUMNS` overrides the width, `NO_COLOR` (<https://no-color.org>) and
    /// `TERM=dumb` switch colours off.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let columns = columns.filter(|columns| *columns > 0);
        if !stdout.is_terminal() {
            return Self { width: columns, height: None, colour: false };
        }
        let (width, height) = match terminal_size::terminal_size_of(&stdout) {
            Some((width, height)) => (Some(width.0.into()), Some(height.0.into())),
            None => (None, None),
        };
        let dumb = is_dumb();
        // What cannot be written over has no end.
        let height = height.filter(|_| !dumb);
        Self { width: columns.or(width), height, colour: !set("NO_COLOR") && !dumb }
    }

    pub fn paint(self, text: &str, colour: Colour) -> String {
        let number = match colour {
            Colour::Plain => return text.to_owned(),
            Colour::Bold => "1",
            Colour::Red => "31",
            Colour::Green => "32",
            Colour::Yellow => "33",
        };
        if self.colour { format!("\x1b[{number}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether the terminal knows no control sequences (terminfo(5) `dumb`).
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Lines in the place of what is on the screen: to the top left, each line to its end, and at last everything below (ECMA-48
/// CUP, EL, ED).
pub fn in_place<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> String {
    let lines = lines.into_iter().map(|line| format!("{}\x1b[K\n", line.as_ref()));
    format!("\x1b[H{}\x1b[J", lines.collect::<String>())
}

/// Lines of at most `width` columns, as far as words permit. Colours take no room.
pub fn wrapped(text: &str, width: usize) -> Vec<Cow<'_, str>> {
    textwrap::wrap(text, wrap_options(width))
}

/// A name or an address is copied from the terminal: it stays in one piece.
fn wrap_options<'a>(width: usize) -> Options<'a> {
    Options::new(width).break_words(false).word_splitter(WordSplitter::NoHyphenation)
}

/// A text of at most that many columns, with a mark that it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (kept, _) = text.unicode_truncate(width.saturating_sub(1));
    format!("{kept}…")
}

/// A name in so many columns: its end is what tells one router from the next.
pub fn cut_within(name: &str, width: usize) -> String {
    if name.width() <= width || width < 4 || !name.is_ascii() {
        return cut(name, width);
    }
    let begin = width / 3;
    format!("{}…{}", &name[..begin], &name[name.len() - (width - begin - 1)..])
}

/// The colour of a router's state, as `status` names it.
pub fn state_colour(state: &str) -> Colour {
    match state {
        "MASTER" => Colour::Green,
        "FAULT" => Colour::Red,
        "INIT" => Colour::Yellow,
        _ => Colour::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_goes_on_below_itself() {
        let narrow = Terminal { width: Some(40), height: None, colour: true };
        let wide = Terminal { width: None, ..narrow };
        let red = narrow.paint("script chk_haproxy is down", Colour::Red);
        let line = format!("  reason      failed: {red} and so on");
        assert_eq!(wide.fit(&line, 14), line);
        let shown = narrow.fit(&line, 14);
        let seen: Vec<usize> = shown.lines().map(textwrap::core::display_width).collect();
        assert!(seen.len() == 2 && seen.iter().all(|seen| *seen <= 40), "{shown}");
        assert_eq!(
            narrow.fit("  reason      failed: script chk_haproxy is down", 14),
            "  reason      failed: script chk_haproxy\n              is down"
        );
        assert_eq!(narrow.fit("short", 14), "short");
        let name = "fe80::1%a-name-that-has-a-hyphen-and-no-end/51";
        assert_eq!(narrow.fit(&format!("at {name}"), 4), format!("at\n    {name}"));
    }

    #[test]
    fn what_is_cut_fits() {
        assert_eq!(cut("ärger", 5), "ärger");
        assert_eq!(cut("ärger!", 5), "ärge…");
        // Two columns each.
        assert_eq!(cut("路由器", 5), "路由…");
        assert_eq!(cut("路由器", 6), "路由器");
    }

    #[test]
    fn the_end_of_a_name_stays() {
        assert_eq!(cut_within("customer-0017", 13), "customer-0017");
        assert_eq!(cut_within("customer-0017", 9), "cus…-0017");
    }
}
