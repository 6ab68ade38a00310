//! Nothing imports what stands above it: docs/architecture.md has the list of floors, and the sources are read for what
//! breaks it. No two modules of one folder need each other either, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../docs/architecture.md");

/// A module, outermost name first; none is the crate itself.
pub(super) type Module = Vec<String>;

/// That a module names something of another one.
struct Import {
    from: Module,
    to: Module,
    file: PathBuf,
    line: usize,
}

/// A word, or another character, and its line.
pub(super) type Token = (String, usize);

/// The words of a source without comments, texts and characters.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let (mut tokens, mut line, mut rest) = (Vec::<Token>::new(), 1, source);
    while let Some(first) = rest.chars().next() {
        let quote = |text: &str| {
            let mut escaped = false;
            let end = text.char_indices().skip(1).find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            end.map_or(text.len(), |(at, _)| at + 1)
        };
        let raw =
            rest.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len());
        let raw = raw.filter(|marks| rest[1 + marks..].starts_with('"'));
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(marks) = raw {
            let end = format!("\"{}", "#".repeat(marks));
            let begin = 2 + marks;
            rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
        } else if first == '"' {
            quote(rest)
        } else if first == '\'' {
            // A character, and not a lifetime.
            let mut after = rest[1..].chars();
            match (after.next(), after.next()) {
                (Some('\\'), _) => rest[2..].find('\'').map_or(rest.len(), |at| {
                    // `'\''`
                    let at = if at == 0 { 1 } else { at };
                    2 + at + 1
                }),
                (Some(c), Some('\'')) => 2 + c.len_utf8(),
                _ => 1,
            }
        } else if first.is_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push((rest[..len].to_owned(), line));
            len
        } else if rest.starts_with("::") {
            tokens.push(("::".to_owned(), line));
            2
        } else {
            if !first.is_whitespace() {
                tokens.push((first.to_string(), line));
            }
            first.len_utf8()
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// What the path that begins at a token names, each of its branches, and the token behind it.
fn paths(tokens: &[Token], mut at: usize) -> (Vec<(Module, usize)>, usize) {
    let Some((word, line)) = tokens.get(at) else { return (Vec::new(), at) };
    let word_at = |at: usize| tokens.get(at).map(|(word, _)| word.as_str());
    if word == "{" {
        let mut all = Vec::new();
        at += 1;
        while let Some(word) = word_at(at).filter(|word| *word != "}") {
            if word == "," {
                at += 1;
                continue;
            }
            let (some, next) = paths(tokens, at);
            all.extend(some);
            at = next.max(at + 1);
        }
        return (all, at + 1);
    }
    if !word.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return (vec![(Module::new(), *line)], at + 1);
    }
    at += 1;
    if word_at(at) == Some("::") {
        let (mut all, next) = paths(tokens, at + 1);
        all.iter_mut().for_each(|(path, _)| path.insert(0, word.clone()));
        return (all, next);
    }
    if word_at(at) == Some("as") {
        at += 2;
    }
    (vec![(vec![word.clone()], *line)], at)
}

/// All sources below a folder, with the modules that they are.
pub(super) fn sources(folder: &Path) -> Vec<(PathBuf, Module)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let names = path.with_extension("");
                let names = names.strip_prefix(folder).unwrap().iter();
                let mut module: Module =
                    names.map(|name| name.to_str().unwrap().to_owned()).collect();
                if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&&**last)) {
                    module.pop();
                }
                found.push((path, module));
            }
        }
    }
    found
}

/// Everything that modules of a crate name of each other, by `crate::`, `self::` or `super::`.
fn imports(folder: &Path) -> Vec<Import> {
    let sources = sources(folder);
    let modules: BTreeSet<&Module> = sources.iter().map(|(_, module)| module).collect();
    let mut imports = Vec::new();
    for (file, from) in sources.iter().filter(|(_, module)| !is_test(module)) {
        let tokens = tokens(&fs::read_to_string(file).unwrap());
        let word = |at: usize| tokens.get(at).map_or("", |(word, _)| word);
        // Modules within the file, and how deep in braces they are.
        let (mut within, mut depth, mut at) = (Vec::<(String, usize)>::new(), 0usize, 0);
        while at < tokens.len() {
            let begins = ["crate", "self", "super"].contains(&word(at))
                && word(at + 1) == "::"
                && (at == 0 || word(at - 1) != "::");
            if begins {
                let (found, next) = paths(&tokens, at);
                for (path, line) in found {
                    let inner = within.iter().map(|(name, _)| name.clone());
                    let mut to: Module = from.iter().cloned().chain(inner).collect();
                    for name in path {
                        match &*name {
                            "crate" => to.clear(),
                            "self" => {}
                            "super" => drop(to.pop()),
                            _ => to.push(name),
                        }
                    }
                    while !to.is_empty() && !modules.contains(&to) {
                        to.pop();
                    }
                    imports.push(Import { from: from.clone(), to, file: file.clone(), line });
                }
                at = next;
                continue;
            }
            if word(at) == "mod" && word(at + 2) == "{" {
                within.push((word(at + 1).to_owned(), depth));
            }
            match word(at) {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if within.last().is_some_and(|(_, begin)| *begin == depth) {
                        within.pop();
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
    imports
}

/// Tests may need anything.
pub(super) fn is_test(module: &Module) -> bool {
    module.iter().any(|name| name == "tests" || name.ends_with("_tests"))
}

/// The list in the document, the topmost floor first.
fn floors() -> Vec<Vec<&'static str>> {
    let (_, text) = DOCUMENT.split_once("\n## Floors\n").expect("a section on floors");
    let (text, _) = text.split_once("\n## ").expect("a section behind it");
    let rows = text.lines().filter_map(|line| line.strip_prefix("    "));
    let names = rows.filter_map(|row| row.split("  ").next());
    names.map(|names| names.split(", ").collect()).collect()
}

pub(super) fn crate_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name).join("src")
}

#[test]
fn nothing_imports_what_stands_above_it_or_beside_it() {
    let floors = floors();
    let floor = |module: &str| floors.iter().position(|names| names.contains(&module));
    let folder = crate_folder("vrrp-user");
    let mut wrong = String::new();
    let there: BTreeSet<String> = sources(&folder)
        .into_iter()
        .filter_map(|(_, module)| module.into_iter().next())
        .filter(|module| !module.ends_with("_tests"))
        .collect();
    let listed: BTreeSet<String> = floors.iter().flatten().map(|name| (*name).to_owned()).collect();
    assert_eq!(there, listed, "docs/architecture.md lists the modules under \"Floors\"");
    for Import { from, to, file, line } in imports(&folder) {
        let (Some(from), Some(to)) = (from.first(), to.first()) else { continue };
        let (Some(upper), Some(lower)) = (floor(from), floor(to)) else { continue };
        if from != to && upper >= lower {
            let how = if upper == lower { "beside" } else { "above" };
            let _ = writeln!(wrong, "{}:{line}: {to} stands {how} {from}", file.display());
        }
    }
    assert!(wrong.is_empty(), "what docs/architecture.md says of floors is broken:\n{wrong}");
}

#[test]
fn no_two_modules_need_each_other() {
    let mut wrong = String::new();
    for name in ["vrrp-user", "vrrp-common", "vrrp-ebpf"] {
        // Of each folder, what its modules name of each other.
        type Places = Vec<(PathBuf, usize)>;
        let mut folders: BTreeMap<Module, BTreeMap<(String, String), Places>> = BTreeMap::new();
        for Import { from, to, file, line } in imports(&crate_folder(name)) {
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // Others than a folder and what is in it.
            let (Some(a), Some(b)) = (from.get(common), to.get(common)) else { continue };
            let edges = folders.entry(from[..common].to_vec()).or_default();
            edges.entry((a.clone(), b.clone())).or_default().push((file, line));
        }
        for (folder, edges) in &folders {
            let reaches = |from: &str, to: &str| {
                let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
                while let Some(at) = next.pop() {
                    for (_, b) in edges.keys().filter(|(a, _)| a == at) {
                        if seen.insert(b) {
                            next.push(b);
                        }
                    }
                }
                seen.contains(to)
            };
            for ((a, b), places) in edges.iter().filter(|((a, b), _)| reaches(b, a)) {
                let path = |name: &str| [&folder[..], &[name.to_owned()]].concat().join("::");
                let (a, b) = (path(a), path(b));
                for (file, line) in places {
                    let _ =
                        writeln!(wrong, "{}:{line}: {a} needs {b}, and {b} {a}", file.display());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "modules need each other:\n{wrong}");
}

#[test]
fn the_crates_stand_on_each_other() {
    // What each may name of the others and of what only the daemon has.
    let forbidden: [(&str, &[&str]); 2] = [
        ("vrrp-common", &["std", "aya", "aya_ebpf", "vrrp_ebpf", "vrrp_user"]),
        ("vrrp-ebpf", &["std", "aya", "vrrp_user"]),
    ];
    let mut wrong = String::new();
    for (name, forbidden) in forbidden {
        let sources = sources(&crate_folder(name)).into_iter();
        for (file, _) in sources.filter(|(_, module)| !is_test(module)) {
            let source = fs::read_to_string(&file).unwrap();
            // Tests run on the host.
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            let tokens = tokens(source);
            for (at, (word, line)) in tokens.iter().enumerate() {
                let next = tokens.get(at + 1).map_or("", |(word, _)| word);
                let before = at.checked_sub(1).map_or("", |at| &tokens[at].0);
                if forbidden.contains(&&**word) && next == "::" && before != "::" {
                    let _ = writeln!(wrong, "{}:{line}: {name} names {word}", file.display());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn paths_are_read_as_they_are_written() {
    let source = r##"
        // crate::a
        use crate::b::{self, c::{D, E as F}, g};
        const TEXT: &str = "crate::h"; const RAW: &str = r#"crate::"i"#; const C: char = '"';
        fn f<'a>() { crate::j::k() }
    "##;
    let tokens = tokens(source);
    let begins = tokens.iter().enumerate().filter(|(_, (word, _))| word == "crate");
    let found: Vec<String> = begins
        .flat_map(|(at, _)| paths(&tokens, at).0)
        .map(|(path, line)| format!("{} {line}", path.join("::")))
        .collect();
    let expected = [
        "crate::b::self 3", "crate::b::c::D 3", "crate::b::c::E 3", "crate::b::g 3",
        "crate::j::k 5",
    ];
    assert_eq!(found, expected);
}
