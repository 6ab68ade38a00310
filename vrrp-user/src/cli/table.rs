//! Tables that fit the terminal: numbers to the right, and the least important columns go first.

use unicode_width::UnicodeWidthStr;

use super::terminal::{Colour, Terminal, cut, cut_within};

/// Columns between two columns.
const GAP: usize = 2;
/// What a column that can be cut is not cut below.
const CUT: usize = 20;
/// What a name keeps while there are columns to leave out that matter less than [`Table::shortened`] says, and what it keeps at
/// all.
const NAME: usize = 24;
const NAME_LEAST: usize = 12;

struct Column<'a, T> {
    head: &'static str,
    /// 0 for one that always stays; of the others those with the greatest go first, together.
    rank: u8,
    /// Whether its texts may be cut at the end instead.
    cut: bool,
    /// Whether they may lose their middle before columns of this rank and those below go.
    shortened: Option<u8>,
    /// Whether it stands at the right.
    number: bool,
    cell: Box<dyn Fn(&T) -> String + 'a>,
    colour: fn(&T) -> Colour,
}

/// A table with a row for each of some `T`s.
pub struct Table<'a, T> {
    rows: &'a [T],
    columns: Vec<Column<'a, T>>,
}

impl<'a, T> Table<'a, T> {
    /// One without columns yet.
    pub fn of(rows: &'a [T]) -> Self {
        Self { rows, columns: Vec::new() }
    }

    /// Adds a column of words, which are shown in full or not at all.
    pub fn text<C: ToString>(
        self,
        head: &'static str,
        rank: u8,
        cell: impl Fn(&T) -> C + 'a,
    ) -> Self {
        self.column(head, rank, false, cell)
    }

    /// Adds a column of numbers.
    pub fn number<C: ToString>(
        self,
        head: &'static str,
        rank: u8,
        cell: impl Fn(&T) -> C + 'a,
    ) -> Self {
        self.column(head, rank, true, cell)
    }

    fn column<C: ToString>(
        mut self,
        head: &'static str,
        rank: u8,
        number: bool,
        cell: impl Fn(&T) -> C + 'a,
    ) -> Self {
        let cell = Box::new(move |row: &T| cell(row).to_string());
        self.columns.push(Column {
            head,
            rank,
            cut: false,
            shortened: None,
            number,
            cell,
            colour: |_| Colour::Plain,
        });
        self
    }

    /// Lets the last column be cut.
    pub fn cut(mut self) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.cut = true;
        }
        self
    }

    /// Lets the names in the last column lose their middle before columns of this rank, and those that matter more, are left out.
    pub fn shortened(mut self, rank: u8) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.shortened = Some(rank);
        }
        self
    }

    /// Colours the last column.
    pub fn coloured(mut self, colour: fn(&T) -> Colour) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.colour = colour;
        }
        self
    }

    /// Its lines, the head first.
    pub fn lines(&self, terminal: Terminal) -> Vec<String> {
        let columns = &self.columns;
        let head = columns.iter().map(|column| (column.head.to_owned(), Colour::Bold));
        let mut table: Vec<Vec<(String, Colour)>> = vec![head.collect()];
        table.extend(self.rows.iter().map(|row| {
            columns.iter().map(|column| ((column.cell)(row), (column.colour)(row))).collect()
        }));
        let width = |place: usize| table.iter().map(|row| row[place].0.width()).max().unwrap_or(0);
        let widths = self.fit((0..columns.len()).map(width).collect(), terminal.width);
        let line = |cells: Vec<(String, Colour)>| {
            let mut line = String::new();
            let mut blank = 0;
            for (((text, colour), width), column) in cells.into_iter().zip(&widths).zip(columns) {
                let Some(width) = *width else { continue };
                let names = column.shortened.is_some();
                let text = if names { cut_within(&text, width) } else { cut(&text, width) };
                let free = width - text.width();
                let (left, right) = if column.number { (free, 0) } else { (0, free) };
                line.extend(std::iter::repeat_n(' ', blank + left));
                line.push_str(&terminal.paint(&text, colour));
                blank = right + GAP;
            }
            // Cells may be empty at the end.
            line.trim_end().to_owned()
        };
        table.into_iter().map(line).collect()
    }

    /// How wide each column is shown, if it is.
    fn fit(&self, widths: Vec<usize>, width: Option<usize>) -> Vec<Option<usize>> {
        let mut widths: Vec<_> = widths.into_iter().map(Some).collect();
        loop {
            let shown = self.columns.iter().zip(&mut widths).filter(|(_, width)| width.is_some());
            let mut shown: Vec<_> = shown.collect();
            let total: usize = shown.iter().filter_map(|(_, width)| Some((**width)? + GAP)).sum();
            let excess = total.saturating_sub(GAP).saturating_sub(width.unwrap_or(usize::MAX));
            let rank = shown.iter().map(|(column, _)| column.rank).max().unwrap_or_default();
            if excess == 0 {
                return widths;
            }
            if let Some((_, Some(width))) = shown.iter_mut().find(|(column, _)| column.cut)
                && *width >= CUT + excess
            {
                *width -= excess;
                return widths;
            }
            let name = shown.iter_mut().find(|(column, _)| column.shortened >= Some(rank));
            if let Some((_, Some(width))) = name {
                let least = if rank == 0 { NAME_LEAST } else { NAME };
                if *width >= least + excess {
                    *width -= excess;
                    return widths;
                }
                if rank == 0 {
                    *width = (*width).min(least);
                }
            }
            if rank == 0 {
                // What remains is needed, and the terminal wraps it.
                return widths;
            }
            for (_, width) in shown.iter_mut().filter(|(column, _)| column.rank == rank) {
                **width = None;
            }
        }
    }

    /// Its text without colours, none of its lines longer than `width` columns; empty where there are no rows.
    pub fn plain(&self, width: Option<usize>) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let lines = self.lines(Terminal { width, ..Terminal::default() });
        lines.iter().map(|line| cut(line, width.unwrap_or(usize::MAX)) + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons<'a>(rows: &'a [[&'static str; 3]]) -> Table<'a, [&'static str; 3]> {
        Table::of(rows)
            .text("NAME", 0, |row| row[0])
            .text("VERSION", 2, |row| row[1])
            .coloured(|_| Colour::Red)
            .text("WHY", 1, |row| row[2])
            .cut()
    }

    fn table(width: Option<usize>) -> Vec<String> {
        let rows = ["VI_1", "路"].map(|name| [name, "v2", "a reason of thirty-two characters"]);
        reasons(&rows).lines(Terminal { width, height: None, colour: false })
    }

    #[test]
    fn a_name_loses_its_middle_before_what_matters() {
        let rows = [["customer-of-the-third-kind-in-berlin-1", "eth0", "51", "v2"]];
        let table = Table::of(&rows)
            .text("NAME", 0, |row| row[0])
            .shortened(2)
            .text("INTERFACE", 2, |row| row[1])
            .number("VRID", 1, |row| row[2])
            .text("VERSION", 3, |row| row[3]);
        let row = |width| {
            let terminal = Terminal { width: Some(width), ..Terminal::default() };
            table.lines(terminal)[1].clone()
        };
        assert_eq!(row(80), "customer-of-the-third-kind-in-berlin-1  eth0         51  v2");
        assert_eq!(row(50), cut_within(rows[0][0], 33) + "  eth0         51");
        assert_eq!(row(30), cut_within(rows[0][0], 24) + "    51");
        assert_eq!(row(20), cut_within(rows[0][0], 20));
        assert_eq!(row(1), cut_within(rows[0][0], 12));
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
        let lines = reasons(&[["VI_1", "v2", "why"]]).lines(terminal);
        assert_eq!(lines[1], "VI_1  \u{1b}[31mv2\u{1b}[0m       why");
    }

    fn written(width: Option<usize>) -> Vec<String> {
        let rows = [["a", "1", "22222", "here"], ["long name", "333", "4", "there"]];
        let table = Table::of(&rows)
            .text("NAME", 0, |row| row[0])
            .number("COUNT", 0, |row| row[1])
            .number("LESS", 2, |row| row[2])
            .text("WHERE", 1, |row| row[3]);
        table.plain(width).lines().map(str::to_owned).collect()
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
