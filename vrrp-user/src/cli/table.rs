//! Tables that fit the terminal: numbers to the right, and the least important columns go first.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::terminal::{Colour, Terminal, cut};

/// Columns between two columns.
const GAP: usize = 2;
/// What a column that can be cut is not cut below.
const CUT: usize = 20;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub head: &'static str,
    /// 0 for one that always stays; of the others those with the greatest go first, together.
    pub rank: u8,
    /// Whether its texts may be cut at the end instead.
    pub cut: bool,
    /// Whether it stands at the right.
    pub number: bool,
}

/// A column of words, which are shown in full or not at all.
pub const fn text(head: &'static str, rank: u8) -> Column {
    Column { head, rank, cut: false, number: false }
}

/// A column of numbers.
pub const fn number(head: &'static str, rank: u8) -> Column {
    Column { head, rank, cut: false, number: true }
}

/// A text in a colour.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    /// A coloured one.
    pub fn new(text: impl Into<String>, colour: Colour) -> Self {
        Self { text: text.into(), colour }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, colour: Colour::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Which columns are shown, and how wide.
fn fit<const N: usize>(
    columns: &[Column; N],
    mut widths: [usize; N],
    width: Option<usize>,
) -> [Option<usize>; N] {
    let mut shown = [true; N];
    loop {
        let places: Vec<usize> = (0..N).filter(|place| shown[*place]).collect();
        let total = places.iter().map(|place| widths[*place] + GAP).sum::<usize>();
        let excess = total.saturating_sub(GAP).saturating_sub(width.unwrap_or(usize::MAX));
        if excess == 0 {
            break;
        }
        let cut = places.iter().find(|place| columns[**place].cut);
        if let Some(place) = cut.filter(|place| widths[**place] >= CUT + excess) {
            widths[*place] -= excess;
            break;
        }
        let rank = places.iter().map(|place| columns[*place].rank).max().unwrap_or_default();
        if rank == 0 {
            // What remains is needed, and the terminal wraps it.
            break;
        }
        for (shown, column) in shown.iter_mut().zip(columns) {
            *shown &= column.rank != rank;
        }
    }
    std::array::from_fn(|place| shown[place].then_some(widths[place]))
}

/// The lines of a table, its head first.
pub fn lines<const N: usize>(
    columns: &[Column; N],
    rows: &[[Cell; N]],
    terminal: Terminal,
) -> Vec<String> {
    let widths = std::array::from_fn(|place| {
        let cells = rows.iter().map(|row| row[place].text.width());
        cells.max().unwrap_or(0).max(columns[place].head.width())
    });
    let widths = fit(columns, widths, terminal.width);
    let line = |cells: &[Cell; N]| {
        let mut line = String::new();
        let mut blank = 0;
        for ((cell, width), column) in cells.iter().zip(widths).zip(columns) {
            let Some(width) = width else { continue };
            let text = cut(&cell.text, width);
            let free = width - text.width();
            let (left, right) = if column.number { (free, 0) } else { (0, free) };
            line.extend(std::iter::repeat_n(' ', blank + left));
            line.push_str(&terminal.paint(&text, cell.colour));
            blank = right + GAP;
        }
        line
    };
    let head = columns.map(|column| Cell::new(column.head, Colour::Bold));
    // Cells may be empty at the end.
    [&head].into_iter().chain(rows).map(|cells| line(cells).trim_end().to_owned()).collect()
}

/// Writes a table without colours, none of its lines longer than `width` columns.
pub fn write<const N: usize>(
    out: &mut impl Write,
    width: Option<usize>,
    columns: [Column; N],
    rows: impl Iterator<Item = [String; N]>,
) -> io::Result<()> {
    let rows: Vec<[Cell; N]> = rows.map(|row| row.map(Into::into)).collect();
    for line in lines(&columns, &rows, Terminal { width, ..Terminal::default() }) {
        writeln!(out, "{}", cut(&line, width.unwrap_or(usize::MAX)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        text("NAME", 0),
        text("VERSION", 2),
        Column { head: "WHY", rank: 1, cut: true, number: false },
    ];

    fn table(width: Option<usize>) -> Vec<String> {
        let row = |name: &str| {
            [name.into(), Cell::new("v2", Colour::Red), "a reason of thirty-two characters".into()]
        };
        let terminal = Terminal { width, height: None, colour: false };
        lines(&COLUMNS, &[row("VI_1"), row("路")], terminal)
    }

    #[test]
    fn the_least_important_column_goes_first() {
        let full = [
            "NAME  VERSION  WHY",
            "VI_1  v2       a reason of thirty-two characters",
            "路    v2       a reason of thirty-two characters",
        ];
        assert_eq!(table(None), full);
        assert_eq!(table(Some(48)), full);
        assert_eq!(table(Some(40))[1], "VI_1  v2       a reason of thirty-two c…");
        assert_eq!(table(Some(34))[1], "VI_1  a reason of thirty-two chara…".replace("a…", "…"));
        assert_eq!(table(Some(20)), ["NAME", "VI_1", "路"]);
        assert_eq!(table(Some(1)), ["NAME", "VI_1", "路"]);
        for width in 4..60 {
            let longest = table(Some(width)).iter().map(|line| line.width()).max();
            assert!(longest <= Some(width), "{longest:?} > {width}");
        }
    }

    #[test]
    fn colours_take_no_room() {
        let terminal = Terminal { width: Some(48), height: None, colour: true };
        let row = ["VI_1".into(), Cell::new("v2", Colour::Red), "why".into()];
        let lines = lines(&COLUMNS, &[row], terminal);
        assert_eq!(lines[1], "VI_1  \u{1b}[31mv2\u{1b}[0m       why");
    }

    fn written(width: Option<usize>) -> Vec<String> {
        let columns = [text("NAME", 0), number("COUNT", 0), number("LESS", 2), text("WHERE", 1)];
        let rows = [["a", "1", "22222", "here"], ["long name", "333", "4", "there"]];
        let mut out = Vec::new();
        let rows = rows.into_iter().map(|row| row.map(str::to_owned));
        write(&mut out, width, columns, rows).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn numbers_stand_right() {
        let whole = [
            "NAME       COUNT   LESS  WHERE", "a              1  22222  here",
            "long name    333      4  there",
        ];
        assert_eq!(written(None), whole);
        assert_eq!(written(Some(30)), whole);
        assert_eq!(written(Some(29))[0], "NAME       COUNT  WHERE");
        assert_eq!(written(Some(22))[0], "NAME       COUNT");
        // Nothing is left to leave out.
        assert_eq!(written(Some(8)), ["NAME   …", "a      …", "long na…"]);
    }
}
