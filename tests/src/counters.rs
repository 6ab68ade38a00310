//! What the bridge of a lab forwards, counted by nft(8).

use crate::{Error, Lab, Result};

/// The table; there is one in a network.
const TABLE: &str = "lab";

impl Lab {
    /// From now on the network counts what it forwards: a name each, and what nft(8) is to match. What was counted before is
    /// forgotten.
    pub fn count_from_now(&self, counters: &[(&str, &str)]) -> Result<()> {
        self.count(counters, "", "")
    }

    /// The same, of what it forwards after the first packet that nft(8) matches so. The order is that of the network: no process
    /// has to be in time.
    pub fn count_after(&self, first: &str, counters: &[(&str, &str)]) -> Result<()> {
        // No packet here has another mark than all others.
        self.count(counters, "meta mark @begun", &format!("{first} add @begun {{ meta mark }}"))
    }

    /// Counts what fulfils a condition; the last rule is for what was counted.
    fn count(&self, counters: &[(&str, &str)], condition: &str, last: &str) -> Result<()> {
        // Adding it first makes it one that can be deleted.
        let mut rules =
            format!("table bridge {TABLE}\ndelete table bridge {TABLE}\ntable bridge {TABLE} {{\n");
        rules += "set begun {\ntype mark\nflags dynamic\nsize 1\n}\n";
        for (name, _) in counters {
            rules += &format!("counter {name} {{ }}\n");
        }
        rules += "chain forward {\ntype filter hook forward priority 1\n";
        for (name, matches) in counters {
            rules += &format!("{condition} {matches} counter name {name}\n");
        }
        rules += &format!("{last}\n}}\n}}\n");
        let file = self.dir().join("counters.nft");
        std::fs::write(&file, rules).map_err(Error::io(format!("write {file:?}")))?;
        self.network().run("nft", &["-f", &file.display().to_string()])?;
        Ok(())
    }

    /// How many packets were counted by that name.
    pub fn counted(&self, name: &str) -> Result<u64> {
        let text = self.network().run("nft", &["list", "counter", "bridge", TABLE, name])?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        let count = words.nth(1).and_then(|count| count.parse().ok());
        count.ok_or_else(|| Error::Unexpected(format!("nft says of {name}: {text}")))
    }
}
