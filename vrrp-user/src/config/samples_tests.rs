//! Whole configurations: what comes out of each is written down beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::convert;
use super::model::{Diagnostic, Severity};
use super::{LoadError, Loaded, Options, load};

/// With this variable set, what comes out is written down anew.
const UPDATE: &str = "UPDATE_SAMPLES";
const NAMES: [&str; 10] = [
    "globals", "grammar", "instances", "ipv6", "lenient", "notifications", "routes", "strict",
    "tracking", "unicast",
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/samples")
}

fn options() -> Options {
    Options {
        config_id: Some("here".to_owned()),
        instance: Some("sample".to_owned()),
        ..Options::default()
    }
}

/// What is said about a configuration, and the configuration itself as TOML.
fn outcome(path: &Path) -> String {
    let Loaded { config, diagnostics } = load(path, &options()).unwrap_or_else(|error| {
        panic!("{} is refused: {error}", path.display());
    });
    let mut text = format!("# {} diagnostics\n", diagnostics.len());
    for diagnostic in diagnostics {
        writeln!(text, "# {diagnostic}").unwrap();
    }
    text += "\n";
    text += &convert::toml(&config);
    let directory = path.parent().unwrap().display().to_string();
    text.replace(&format!("{directory}/"), "").replace(&directory, "DIRECTORY")
}

#[test]
fn samples_mean_what_is_written_beside_them() {
    for name in NAMES {
        let outcome = outcome(&directory().join(name).with_extension("conf"));
        let path = directory().join(name).with_extension("toml");
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&path, &outcome).unwrap();
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        assert!(outcome == wanted, "{name}: set {UPDATE}=1 and look at the difference\n{outcome}");
        // The TOML format is read back as the same configuration.
        let read = load(&path, &options()).unwrap().config;
        assert_eq!(outcome.split_once("\n\n").unwrap().1, convert::toml(&read), "{name}");
    }
}

/// Keywords that would refuse the sample as a whole, and those of blocks that are skipped.
const NOWHERE: [&str; 1] = ["auth_hmac"];

#[test]
fn samples_have_every_keyword() {
    let known = include_str!("keepalived/known_keywords.txt");
    let mut words = std::collections::HashSet::new();
    for name in NAMES {
        let text = fs::read_to_string(directory().join(name).with_extension("conf")).unwrap();
        words.extend(text.split_whitespace().map(str::to_owned));
    }
    for line in known.lines().filter(|line| !line.starts_with('#')) {
        let (block, keywords) = line.split_once(": ").unwrap();
        for keyword in keywords.split(' ') {
            let expected = NOWHERE.contains(&keyword) || NOWHERE.contains(&block);
            assert!(expected || words.contains(keyword), "{keyword} ({block}) is in no sample");
        }
    }
}

// Whatever is done to them, reading ends, says where what is wrong, and does not panic.

#[derive(Clone, Debug)]
enum Mutation {
    /// Takes lines out.
    Remove(usize, usize),
    /// Writes lines of this or another sample once more, here.
    Copy(usize, usize, usize),
    /// Exchanges two words.
    Swap(usize, usize),
    /// Puts something in that means something.
    Insert(usize, &'static str),
    /// Replaces a word.
    Replace(usize, &'static str),
    /// Ends the file here.
    Cut(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let piece = proptest::sample::select(vec![
        "{", "}", "\"", "#", "!", "\\", "\n", "$A=$A", "$A", "${A}", "$A= \\\n", "@here ",
        "@^here ", "~SEQ(A, 1, 1000000000) ", "~SEQ(A, 3) ", "~LST(A, 1, 2) ", "include *\n",
        "include samples.conf\n", "-1", "0", "256", "99999999999999999999", "0.0000001", "1e9",
        "255.255.255.255/33", "::/129", "fe80::1/64", "\u{0}", "é", "[[router]]\n", "[defaults]\n",
        "\"\"\"", "vrid = \"1-255\"\n", "interface = \"e{0-65535}\"\n", "{vrid}", "{vrid+1", "= ",
        "]", "'''",
    ]);
    let index = any::<usize>;
    prop_oneof![
        1 => (index(), 0_usize..6).prop_map(|(at, count)| Mutation::Remove(at, count)),
        1 => (index(), index(), 0_usize..12).prop_map(|(from, to, count)| Mutation::Copy(from, to, count)),
        1 => (index(), index()).prop_map(|(one, other)| Mutation::Swap(one, other)),
        4 => (index(), piece.clone()).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        4 => (index(), piece).prop_map(|(at, piece)| Mutation::Replace(at, piece)),
        1 => index().prop_map(Mutation::Cut),
    ]
}

fn mutated(mut text: String, mutation: &Mutation) -> String {
    fn modulo(number: usize, length: usize) -> usize {
        if length == 0 { 0 } else { number % length }
    }
    let boundaries = |text: &str| {
        let starts = text.char_indices().map(|(at, _)| at);
        starts.chain([text.len()]).collect::<Vec<_>>()
    };
    let words = |text: &str| {
        let start = text.as_ptr().addr();
        let word = |word: &str| (word.as_ptr().addr() - start, word.len());
        text.split_whitespace().map(word).collect::<Vec<_>>()
    };
    match mutation {
        Mutation::Remove(at, count) => {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let at = modulo(*at, lines.len());
            lines.drain(at..(at + count).min(lines.len()));
            lines.concat()
        }
        Mutation::Copy(from, to, count) => {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let (from, to) = (modulo(*from, lines.len()), modulo(*to, lines.len()));
            let copied = lines.get(from..(from + count).min(lines.len())).unwrap_or(&[]).to_vec();
            lines.splice(to..to, copied);
            lines.concat()
        }
        Mutation::Swap(one, other) => {
            let words = words(&text);
            let (Some(one), Some(other)) =
                (words.get(modulo(*one, words.len())), words.get(modulo(*other, words.len())))
            else {
                return text;
            };
            let (first, second) = if one.0 <= other.0 { (one, other) } else { (other, one) };
            if first == second {
                return text;
            }
            let part = |word: &(usize, usize)| text[word.0..word.0 + word.1].to_owned();
            let (a, b) = (part(first), part(second));
            text.replace_range(second.0..second.0 + second.1, &a);
            text.replace_range(first.0..first.0 + first.1, &b);
            text
        }
        Mutation::Insert(at, piece) => {
            let places = boundaries(&text);
            text.insert_str(places[modulo(*at, places.len())], piece);
            text
        }
        Mutation::Replace(at, piece) => {
            let words = words(&text);
            if let Some((start, length)) = words.get(modulo(*at, words.len())) {
                text.replace_range(*start..start + length, piece);
            }
            text
        }
        Mutation::Cut(at) => {
            let places = boundaries(&text);
            text.truncate(places[modulo(*at, places.len())]);
            text
        }
    }
}

/// Whether a place is one in the text.
fn is_place(diagnostic: &Diagnostic, name: &str, text: &str) -> bool {
    if !diagnostic.file.ends_with(name) {
        return true;
    }
    let lines: Vec<&str> = text.split('\n').collect();
    let Some(line) = diagnostic.line.checked_sub(1).and_then(|line| lines.get(line)) else {
        return text.is_empty() && diagnostic.line == 1;
    };
    // One behind the last character is where something is missing.
    diagnostic.column <= line.chars().count() + 1
}

fn survives(name: &str, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    let diagnostics = match load(&path, &options()) {
        Ok(Loaded { diagnostics, .. }) => diagnostics,
        Err(LoadError::Invalid { diagnostics }) => {
            assert!(diagnostics.iter().any(|d| d.severity == Severity::Error));
            diagnostics
        }
        Err(LoadError::Io { source, .. }) => panic!("{source}"),
    };
    for diagnostic in &diagnostics {
        assert!(is_place(diagnostic, name, text), "{diagnostic:?}\n{text}");
        assert!(!diagnostic.message.is_empty());
    }
}

fn sample(extension: &'static str) -> impl Strategy<Value = String> {
    proptest::sample::select(NAMES.to_vec()).prop_map(move |name| {
        fs::read_to_string(directory().join(name).with_extension(extension)).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_change_to_a_sample(
        text in sample("conf"),
        mutations in proptest::collection::vec(mutation(), 1..8),
    ) {
        survives("k.conf", &mutations.iter().fold(text, mutated));
    }

    #[test]
    fn any_change_to_a_toml_sample(
        text in sample("toml"),
        mutations in proptest::collection::vec(mutation(), 1..8),
    ) {
        survives("v.toml", &mutations.iter().fold(text, mutated));
    }
}
