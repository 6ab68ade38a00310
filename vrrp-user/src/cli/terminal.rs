//! What stdout can show: how wide it is, and whether it takes colours.

use std::env;
use std::io::{self, IsTerminal};

/// Where output goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Columns; `None` for as many as are needed, as in a pipe.
    pub width: Option<usize>,
    /// Lines; `None` for as many as are needed.
    pub height: Option<usize>,
    /// Whether to colour.
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
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { width: columns.or(width), height, colour: !set("NO_COLOR") && !dumb }
    }

    /// A text in a colour.
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

/// The colour of a router's state, as `status` names it.
pub fn state_colour(state: &str) -> Colour {
    match state {
        "MASTER" => Colour::Green,
        "FAULT" => Colour::Red,
        "INIT" => Colour::Yellow,
        _ => Colour::Plain,
    }
}
