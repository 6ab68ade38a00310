//! Tables that fit the terminal: numbers to the right, and what matters least left out where it is narrow.

use std::env;
use std::io::{self, IsTerminal, Write};

/// Between columns.
const GAP: usize = 2;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    head: &'static str,
    /// Where they do not fit, the columns with the highest number go first, together; those with 0 never go.
    dispensable: u8,
    number: bool,
}

/// A column of words.
pub const fn text(head: &'static str, dispensable: u8) -> Column {
    Column { head, dispensable, number: false }
}

/// A column of numbers.
pub const fn number(head: &'static str, dispensable: u8) -> Column {
    Column { head, dispensable, number: true }
}

/// The space that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Characters in a line; `None` for as many as it takes.
    pub width: Option<usize>,
    /// Lines; `None` for as many as it takes.
    pub height: Option<usize>,
}

impl Space {
    /// That of the terminal on standard output, or what `COLUMNS` says; without end into a file.
    pub fn of_stdout() -> Self {
        let variable = |name| env::var(name).ok()?.parse().ok().filter(|count| *count > 0);
        let mut space = if io::stdout().is_terminal() { window() } else { Self::default() };
        space.width = variable("COLUMNS").or(space.width);
        space
    }
}

/// The size of the terminal window.
fn window() -> Space {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ (tty_ioctl(2)) writes a `struct winsize` to the address that it is given.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    let some = |count: u16| (result == 0 && count > 0).then_some(usize::from(count));
    Space { width: some(size.ws_col), height: some(size.ws_row) }
}

/// Writes rows under a head in at most `width` characters, if that is possible at all.
pub fn write<const N: usize>(
    out: &mut impl Write,
    width: Option<usize>,
    columns: [Column; N],
    rows: impl Iterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut lines = vec![columns.map(|column| column.head.to_owned())];
    lines.extend(rows);
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let shown = fitting(&columns, &widths, width);
    let limit = width.unwrap_or(usize::MAX);
    for row in lines {
        let mut line = String::new();
        for n in (0..N).filter(|n| shown[*n]) {
            if !line.is_empty() {
                line.extend(std::iter::repeat_n(' ', GAP));
            }
            let space = std::iter::repeat_n(' ', widths[n] - row[n].chars().count());
            if columns[n].number {
                line.extend(space);
                line.push_str(&row[n]);
            } else {
                line.push_str(&row[n]);
                line.extend(space);
            }
        }
        writeln!(out, "{}", cut(line.trim_end(), limit))?;
    }
    Ok(())
}

/// Which columns are shown.
fn fitting<const N: usize>(
    columns: &[Column; N],
    widths: &[usize; N],
    width: Option<usize>,
) -> [bool; N] {
    let mut shown = [true; N];
    let Some(limit) = width else { return shown };
    loop {
        let total: usize = (0..N).filter(|n| shown[*n]).map(|n| widths[n] + GAP).sum();
        let most = (0..N).filter(|n| shown[*n]).map(|n| columns[n].dispensable).max();
        match most.filter(|most| *most > 0 && total > limit + GAP) {
            Some(most) => {
                for (shown, column) in shown.iter_mut().zip(columns) {
                    *shown &= column.dispensable != most;
                }
            }
            None => return shown,
        }
    }
}

/// A line of at most `limit` characters; what is cut off leaves a mark.
fn cut(line: &str, limit: usize) -> String {
    if line.chars().count() <= limit {
        return line.to_owned();
    }
    line.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [text("NAME", 0), number("COUNT", 0), number("LESS", 2), text("WHERE", 1)];

    fn shown(width: Option<usize>) -> Vec<String> {
        let rows = [["a", "1", "22222", "here"], ["long name", "333", "4", "there"]];
        let mut out = Vec::new();
        let rows = rows.into_iter().map(|row| row.map(str::to_owned));
        write(&mut out, width, COLUMNS, rows).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn numbers_stand_right() {
        let whole = [
            "NAME       COUNT   LESS  WHERE",
            "a              1  22222  here",
            "long name    333      4  there",
        ];
        assert_eq!(shown(None), whole);
        assert_eq!(shown(Some(30)), whole);
    }

    #[test]
    fn what_matters_least_goes_first() {
        assert_eq!(shown(Some(29))[0], "NAME       COUNT  WHERE");
        assert_eq!(shown(Some(22))[0], "NAME       COUNT");
        // Nothing is left to leave out.
        assert_eq!(shown(Some(8)), ["NAME   …", "a      …", "long na…"]);
    }
}
