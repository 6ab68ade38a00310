//! What came of the full set on each kernel: a table of docs/platforms.md, which `--write-docs` keeps.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

/// The lines of the document around the table.
const BEGIN: &str =
    "<!-- Written by `cargo xtask test --kernels --write-docs`, until the end of the table. -->\n";
const END: &str = "<!-- The end of the table. -->\n";
/// What was not run.
const NONE: &str = "-";

/// What came of one kernel, by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column(BTreeMap<String, String>);

impl Column {
    pub fn set(&mut self, row: &str, cell: impl Into<String>) {
        self.0.insert(row.to_owned(), cell.into());
    }

    /// Sets those of the tests of which a guest said something.
    pub fn set_tests(&mut self, lines: &[&str]) {
        for line in lines {
            let Some((word, rest)) = line.split_once(' ') else { continue };
            let cell = match word {
                "OK" => "yes",
                "FAIL" => "NO",
                "SKIP" => "skipped",
                _ => continue,
            };
            // `OK    unit: NAME`, `SKIP  unit: NAME: WHY`
            let Some((_, rest)) = rest.trim_start().split_once(": ") else { continue };
            self.set(&row(rest.split(':').next().unwrap_or_default()), cell);
        }
    }

    /// The first of these rows of which it says nothing.
    pub fn missing<'a>(&self, rows: &'a [String]) -> Option<&'a String> {
        rows.iter().find(|row| !self.0.contains_key(*row))
    }
}

pub fn row(test: &str) -> String {
    test.replace('_', " ")
}

/// The version of a kernel's package as a guest says it at first, else that of `uname -r`.
pub fn version(lines: &[&str]) -> String {
    // `GUEST-UP 6.1.0-50-cloud-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-02)`
    let up = lines.iter().find_map(|line| line.strip_prefix("GUEST-UP ")).unwrap_or_default();
    let version = up.split_once(" Debian ").map_or(up, |(_, package)| package);
    version.split(' ').next().unwrap_or_default().to_owned()
}

/// A column for each kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub rows: Vec<String>,
    pub columns: Vec<(String, Column)>,
}

impl Table {
    /// Reads that of the document.
    /// Errors: it has none.
    pub fn read(document: &str) -> Result<Self> {
        let (_, text, _) = parts(document)?;
        let mut lines = text.lines().map(cells);
        let header = lines.next().context("the table is empty")?;
        let mut columns: Vec<_> =
            header.into_iter().skip(1).map(|name| (name, Column::default())).collect();
        let mut rows = Vec::new();
        // After the line below the header.
        for line in lines.skip(1) {
            let mut line = line.into_iter();
            let Some(row) = line.next() else { continue };
            for ((_, column), cell) in columns.iter_mut().zip(line) {
                if cell != NONE {
                    column.set(&row, cell);
                }
            }
            rows.push(row);
        }
        Ok(Self { rows, columns })
    }

    /// The document with this table instead of its own.
    /// Errors: it has none.
    pub fn write(&self, document: &str) -> Result<String> {
        let (before, _, after) = parts(document)?;
        Ok(format!("{before}{BEGIN}\n{self}\n{END}{after}"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| |")?;
        for (name, _) in &self.columns {
            write!(f, " {name} |")?;
        }
        writeln!(f, "\n|---|{}", "---|".repeat(self.columns.len()))?;
        for row in &self.rows {
            write!(f, "| {row} |")?;
            for (_, column) in &self.columns {
                write!(f, " {} |", column.0.get(row).map_or(NONE, String::as_str))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What is before the table of a document, itself, and what is after it.
fn parts(document: &str) -> Result<(&str, &str, &str)> {
    let (before, rest) = document.split_once(BEGIN).context("the table does not begin")?;
    let (text, after) = rest.split_once(END).context("the table does not end")?;
    Ok((before, text.trim(), after))
}

/// `| a | b |`
fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
    inside.split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says() {
        let up = "GUEST-UP 6.1.0-50-cloud-amd64 #1 SMP Debian 6.1.176-1 (2026-07-02)";
        let lines = [up, "OK    unit: a_bond", "FAIL  unit: b", "SKIP  unit: c: no devices: none"];
        let mut column = Column::default();
        column.set_tests(&lines);
        let expected = [("a bond", "yes"), ("b", "NO"), ("c", "skipped")];
        assert_eq!(column, Column(expected.map(|(row, cell)| (row.into(), cell.into())).into()));
        assert_eq!(version(&lines), "6.1.176-1");
        assert_eq!(version(&["GUEST-UP 5.10.0 #1 SMP"]), "5.10.0");
        let rows = ["a bond", "b", "d"].map(str::to_owned);
        assert_eq!(column.missing(&rows), Some(&rows[2]));
        assert_eq!(column.missing(&rows[..2]), None);
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let mut column = Column::default();
        column.set("Linux", "6.1.176-1");
        column.set("a bond", "yes");
        let table = Table {
            rows: vec!["Linux".into(), "a bond".into()],
            columns: vec![("5.10".into(), Column::default()), ("6.1".into(), column)],
        };
        let document = table.write(&format!("before\n{BEGIN}whatever\n{END}after\n"));
        let document = document.expect("it has a table");
        let text =
            "| | 5.10 | 6.1 |\n|---|---|---|\n| Linux | - | 6.1.176-1 |\n| a bond | - | yes |\n";
        assert_eq!(document, format!("before\n{BEGIN}\n{text}\n{END}after\n"));
        assert_eq!(Table::read(&document).expect("it has one"), table);
        assert!(Table::read("none").is_err());
    }
}
