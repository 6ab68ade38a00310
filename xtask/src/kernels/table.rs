//! What came of tests on each kernel, as a table of the documentation.

use std::collections::BTreeMap;
use std::fmt;

/// A row for each test, a column for each kernel.
#[derive(Default)]
pub struct Table {
    kernels: Vec<String>,
    rows: BTreeMap<String, BTreeMap<String, &'static str>>,
}

impl Table {
    /// Whether nothing was tried.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds what a guest said. A kernel without a version of its package has that of `uname -r`.
    pub fn add(&mut self, release: &str, lines: &[&str]) {
        // `GUEST-UP 6.1.0-50-cloud-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-02)`
        let up = lines.iter().find(|line| line.starts_with("GUEST-UP "));
        let version = up.and_then(|line| line.split_once(" Debian ")?.1.split(' ').next());
        let kernel = version.unwrap_or(release).to_owned();
        for line in lines {
            let Some((word, rest)) = line.split_once(' ') else { continue };
            let cell = match word {
                "OK" => "yes",
                "FAIL" => "NO",
                "SKIP" => "skipped",
                _ => continue,
            };
            // `OK    unit: NAME`, `SKIP  unit: NAME: WHY`
            let Some((rights, rest)) = rest.trim_start().split_once(": ") else { continue };
            let name = rest.split(':').next().unwrap_or_default().replace('_', " ");
            let cell = if rights == "root" && cell == "yes" { "yes, as root" } else { cell };
            self.rows.entry(name).or_default().insert(kernel.clone(), cell);
        }
        if !self.kernels.contains(&kernel) {
            self.kernels.push(kernel);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | {} |", self.kernels.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(self.kernels.len()))?;
        for (name, cells) in &self.rows {
            write!(f, "| {name} |")?;
            for kernel in &self.kernels {
                write!(f, " {} |", cells.get(kernel).copied().unwrap_or("not tried"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_for_each_kernel() {
        let mut table = Table::default();
        let up = "GUEST-UP 6.1.0-50-cloud-amd64 #1 SMP Debian 6.1.176-1 (2026-07-02)";
        table.add("6.1.0-50", &[up, "OK    unit: a_bond", "FAIL  unit: b"]);
        table.add("5.10.0", &["OK    root: a_bond", "SKIP  root: b: no devices: none"]);
        let text = "| | 6.1.176-1 | 5.10.0 |\n|---|---|---|\n| a bond | yes | yes, as root |\n| b | NO | skipped |\n";
        assert_eq!(table.to_string(), text);
    }
}
