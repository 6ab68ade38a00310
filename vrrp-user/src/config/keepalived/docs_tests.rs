//! docs/configuration.md says about each keyword what the reader does.

use std::collections::BTreeSet;
use std::path::Path;

use super::keywords::{self, Unsupported};
use super::{GLOBAL_KEYWORDS, ROOT_KEYWORDS, delays, instance, track};
use crate::config::model::Severity;

/// With this variable set, the generated part of the document is written anew.
const UPDATE: &str = "UPDATE_DOCS";
const BEGIN: &str = "<!-- from keywords.rs -->\n";
const END: &str = "<!-- end -->\n";

/// The rows of keywords that mean the same.
fn table(entries: &[Unsupported]) -> String {
    let kind = |severity| match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "**refused**",
    };
    let mut rows: Vec<&Unsupported> = entries.iter().collect();
    rows.sort_by_key(|entry| std::cmp::Reverse(entry.severity));
    let rows = rows.iter().map(|Unsupported { severity, meaning, keywords }| {
        format!("| `{}` | {} | {meaning} |\n", keywords.join("` `"), kind(*severity))
    });
    format!("| keywords | | what happens instead |\n|---|---|---|\n{}", rows.collect::<String>())
}

#[test]
fn keywords_without_effect_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!(
        "{before}{BEGIN}\nOutside blocks:\n\n{}\nIn `global_defs`:\n\n{}\nIn `vrrp_instance`:\n\n{}\nIn `vrrp_sync_group`:\n\n{}{END}{after}",
        table(keywords::ROOT),
        table(keywords::GLOBAL),
        table(keywords::INSTANCE),
        table(keywords::GROUP),
    );
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &wanted).unwrap();
    } else {
        assert!(
            text == wanted,
            "docs/configuration.md is not what keywords.rs says: set {UPDATE}=1"
        );
    }
}

#[test]
fn keywords_that_are_acted_on_are_documented() {
    let text = include_str!("../../../../docs/configuration.md");
    let (_, text) = text.split_once("### Acted on").unwrap();
    let (text, _) = text.split_once("###").unwrap();
    let mut documented = BTreeSet::new();
    let mut block = String::new();
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, place, keywords, ..] = cells.as_slice() else { panic!("{row}") };
        if !place.is_empty() {
            block = place.trim_matches('`').to_owned();
        }
        let keywords = keywords.split('`').skip(1).step_by(2);
        documented.extend(keywords.map(|keyword| (block.clone(), keyword.to_owned())));
    }
    let of = |block: &str, keywords: &[&str]| {
        let owned = |keyword: &&str| (block.to_owned(), (*keyword).to_owned());
        keywords.iter().map(owned).collect::<BTreeSet<_>>()
    };
    let mut known = of("file", ROOT_KEYWORDS);
    known.extend(of("global_defs", GLOBAL_KEYWORDS));
    known.extend(of("vrrp_instance", instance::KEYWORDS));
    known.extend(of("garp_group", delays::GARP_GROUP));
    for (block, keywords) in track::BLOCKS {
        known.extend(of(block, keywords));
    }
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the table of docs/configuration.md: {missing:?}");
    let mut blocks = vec!["file", "global_defs", "vrrp_instance", "garp_group"];
    blocks.extend(track::BLOCKS.iter().map(|(block, _)| *block));
    let stale: Vec<_> = documented
        .difference(&known)
        .filter(|(block, _)| blocks.contains(&block.as_str()))
        .collect();
    assert!(
        stale.is_empty(),
        "no longer acted on, or missing in the tables of the reader: {stale:?}"
    );
}
