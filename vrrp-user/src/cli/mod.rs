//! The command line: one module per subcommand.

pub mod check;
mod clock;
pub mod monitor;
pub mod stats;
pub mod status;
pub mod top;

use std::io::{self, Write};

/// Writes rows under a head, each column as wide as its widest cell, the last one not padded.
fn columns<const N: usize>(
    out: &mut impl Write,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let widths: [usize; N] =
        std::array::from_fn(|i| lines.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    for row in lines {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
