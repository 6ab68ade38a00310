//! Documents in packages: they lie in one folder there, and so must their links lead.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Documents that are not in the folder of the others in the sources.
pub const OUTSIDE: [&str; 3] = ["README.md", "CHANGELOG.md", "SECURITY.md"];

/// Where packages have documents.
const FOLDER: &str = "usr/share/doc/vrrp-user/";

/// A document of the sources' first folder as it must be beside the others. What packages have elsewhere is no link.
pub fn flat(text: &str) -> String {
    let mut text = text.replace("](docs/", "](");
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "CONTRIBUTING.md"] {
        text = text.replace(&format!("[{name}]({name})"), name);
    }
    text
}

/// Whether each link to a file leads to one that the packages have, and each to a heading to one that is there.
/// Errors: those that do not.
pub fn check<'a>(assets: impl Iterator<Item = (&'a Path, &'a str)>) -> Result<()> {
    let (mut there, mut documents) = (BTreeSet::new(), Vec::new());
    for (source, to) in assets {
        let Some(name) = to.strip_prefix(FOLDER) else { continue };
        there.insert(name.to_owned());
        if name.ends_with(".md") {
            let text = fs::read_to_string(source);
            let text = text.with_context(|| format!("cannot read {}", source.display()))?;
            documents.push((name.to_owned(), text));
        }
    }
    let headings = |name: &str| {
        let document = documents.iter().find(|(document, _)| document == name);
        document.map(|(_, text)| anchors(text)).unwrap_or_default()
    };
    let mut broken = Vec::new();
    for (name, text) in &documents {
        for link in links(text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            if !there.contains(file) || !heading.is_empty() && !headings(file).contains(heading) {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    ensure!(broken.is_empty(), "links of documents lead nowhere in the packages: {broken:?}");
    Ok(())
}

/// Where the links of a document lead to, but for those to other hosts.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    ends.filter(|link| !link.contains("://") && !link.contains(char::is_whitespace))
}

/// What links to the headings of a document are called.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lie_beside_each_other() {
        let text =
            "see [a](docs/a.md#b), [LICENSE-MIT](LICENSE-MIT), [c](https://example.org/docs/c.md)";
        let text = flat(text);
        assert_eq!(text, "see [a](a.md#b), LICENSE-MIT, [c](https://example.org/docs/c.md)");
        assert_eq!(links(&text).collect::<Vec<_>>(), ["a.md#b"]);
    }

    #[test]
    fn links_that_lead_nowhere_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("a.md", "# One `two`\n[b](b.md#three-four) [self](#one-two)\n");
        write("b.md", "## Three, four\n");
        let files = ["a.md", "b.md"].map(|name| (dir.path().join(name), format!("{FOLDER}{name}")));
        let checked = || check(files.iter().map(|(path, to)| (path.as_path(), to.as_str())));
        checked().unwrap();
        write("b.md", "## Three\n[docs](docs/a.md) [LICENSE](LICENSE-MIT)\n");
        let said = checked().unwrap_err().to_string();
        for link in ["a.md: b.md#three-four", "b.md: docs/a.md", "b.md: LICENSE-MIT"] {
            assert!(said.contains(link), "{said}");
        }
    }
}
