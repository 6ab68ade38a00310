//! Names are those of the field (RFC 9568, netlink, XDP, keepalived): words that once stood for them do not come back as names
//! of items, fields and variants, nor in texts and documents.

use std::fmt::Write;
use std::fs;

use super::floors_tests::{crate_folder, is_test, sources, tokens};

/// Words that are no part of a name, and what is said instead.
const WORDS: &[(&str, &str)] = &[
    ("octet", "byte"),
    ("octets", "bytes"),
    ("news", "report, change, first"),
    ("quiet", "acknowledged"),
    ("unquiet", "clear_ack"),
    ("hear", "handle_advert, receive"),
    ("hears", "receives, ingress"),
    ("heard", "last_seen"),
    ("hearing", "reception"),
    ("unheard", "not received"),
    ("deaf", "not_listening"),
    ("sweep", "refresh_last_seen"),
    ("swept", "refresh_last_seen"),
    ("extras", "routing, objects"),
    ("belonging", "object"),
    ("belongings", "ManagedObjects"),
    ("standing", "ObjectStatus"),
    ("whom", "peer, subject"),
    ("saying", "AnnounceKind"),
    ("told", "notified, reported"),
    ("tell", "notify, describe, log"),
    ("tells", "notifies"),
    ("say", "describe, log, report"),
    ("voice", "AnnounceKind"),
    ("rhythm", "AdvertInterval"),
    ("moment", "timestamp, time"),
    ("parting", "pending_removals"),
    ("bury", "decommission"),
    ("gone", "removed"),
    ("renew", "replace, refresh"),
    ("renewed", "refreshed"),
    ("fights", "RestoreLimiter"),
    ("elsewhere", "garp_extra_if"),
    ("judge", "evaluate, check"),
    ("judges", "evaluates, checks"),
    ("judged", "evaluated, checked"),
    ("weigh", "effective_priority"),
    ("outdoes", "should_preempt"),
    ("hasten", "shorten_deadline"),
    ("enlist", "subscribe"),
    ("dismiss", "unsubscribe"),
    ("reconsider", "evaluate"),
    ("leftover", "stale"),
    ("leftovers", "stale"),
    ("farewell", "priority-0 advert"),
    ("span", "duration"),
    ("spans", "durations"),
];

/// Whole names that are not given below a folder of `vrrp-user/src`, and what is said instead.
const NAMES: &[(&str, &str, &str)] = &[
    ("", "Place", "InterfaceAddr, ClientSlot"),
    ("", "What", "EventKind, NotificationKind"),
    ("", "Way", "PacingScope"),
    ("", "Once", "a name of what is limited"),
    ("", "Queue", "TxQueue, TimerQueue"),
    ("", "Hold", "Inhibit"),
    ("", "let_go", "release"),
    ("", "give_up", "withdraw"),
    ("", "take_up", "reconfigure"),
    ("", "may_restore", "admit"),
    ("", "ask_kernel", "query_last_seen"),
    ("api", "From", "EventSource"),
    ("core", "Home", "LocalEnd, RouterLink"),
    ("core", "Line", "PacedQueue"),
    ("core", "words", "describe"),
    ("io", "Kernel", "Datapath"),
    ("io", "Table", "MmapArray"),
    ("io", "Plain", "PodValue"),
    ("config", "Router", "RouterConfig"),
    ("core", "Router", "RouterRuntime"),
];

/// Former names in JSON, which stand there for one version, and the name of a type of ratatui's.
const EXCEPT: &[&str] = &["extras", "news_limited", "Span"];

/// What no text says, and what it says instead.
const TEXTS: &[(&str, &str)] = &[
    (" octet", "byte"),
    ("can not ", "cannot"),
    ("left-over", "stale"),
    ("farewell", "priority-0 advert"),
    ("taken up", "reloaded, applied"),
    ("takes up", "applies"),
    ("taking up", "applying"),
    ("news limited", "rate-limited"),
    ("to be had", "available"),
    ("cannot be had", "is not available"),
    ("whereto", "to which"),
];

/// The parts of `snake_case` and `CamelCase`, in lower case.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || c.is_uppercase() && before.is_lowercase() {
            parts.push(String::new());
        }
        parts.last_mut().unwrap().extend(c.to_lowercase().filter(|c| *c != '_'));
        before = c;
    }
    parts
}

/// Names that a source defines, and those of the types and variants that it uses, each with its line. Whether it is an item.
fn names(source: &str) -> Vec<(String, usize, bool)> {
    const ITEMS: [&str; 9] =
        ["fn", "struct", "enum", "trait", "type", "mod", "const", "static", "macro_rules"];
    let tokens = tokens(source);
    let word = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |(word, _)| word);
    let named = tokens.iter().enumerate().filter_map(|(at, (name, line))| {
        let before = word(at.checked_sub(1));
        let item = ITEMS.contains(&before);
        let field = word(Some(at + 1)) == ":" && ["{", ",", "pub", ")", "]"].contains(&before);
        let any = item || field || name.starts_with(char::is_uppercase);
        any.then(|| (name.clone(), *line, item))
    });
    named.collect()
}

#[test]
fn former_names_do_not_come_back() {
    let mut wrong = String::new();
    for name in ["vrrp-common", "vrrp-ebpf", "vrrp-user", "xtask"] {
        let folder = crate_folder(name);
        for (file, module) in sources(&folder).into_iter().filter(|(_, module)| !is_test(module)) {
            let source = fs::read_to_string(&file).unwrap();
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            let below = |part: &str| part.is_empty() || module.first().is_some_and(|it| it == part);
            for (name, line, item) in names(source) {
                if EXCEPT.contains(&&*name) {
                    continue;
                }
                let parts = parts(&name);
                let word = WORDS.iter().find(|(word, _)| parts.iter().any(|part| part == word));
                let whole = NAMES.iter().find(|(part, it, _)| item && *it == name && below(part));
                if let Some(instead) = word.map(|it| it.1).or(whole.map(|it| it.2)) {
                    let _ = writeln!(wrong, "{}:{line}: {name}: say {instead}", file.display());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "names that are not the field's:\n{wrong}");
}

#[test]
fn former_words_do_not_come_back_in_texts() {
    let root = crate_folder("").parent().unwrap().to_owned();
    let mut files: Vec<_> = ["vrrp-common", "vrrp-ebpf", "vrrp-user", "xtask", "tests"]
        .iter()
        .flat_map(|name| sources(&root.join(name)))
        .map(|(file, _)| file)
        .filter(|file| !file.ends_with("names_tests.rs"))
        .collect();
    for folder in ["docs", "dist", "."] {
        let found = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(found.filter(|file| file.is_file() && !file.ends_with("CHANGELOG.md")));
    }
    let mut wrong = String::new();
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).to_lowercase();
        let words = |line: &str| line.trim_start_matches(['/', '!', '#', ' ']).to_owned();
        let lines: Vec<_> = text.lines().map(words).chain([String::new()]).collect();
        for (pair, number) in lines.windows(2).zip(1..) {
            // A line may end within one; the next line finds those that begin there.
            let begin = pair[1].split(' ').next().unwrap_or_default();
            let line = format!(" {} {begin} ", pair[0]);
            for (word, instead) in TEXTS.iter().filter(|(word, _)| line.contains(word)) {
                let _ = writeln!(wrong, "{}:{number}:{word}: say {instead}", file.display());
            }
        }
    }
    assert!(wrong.is_empty(), "words that are not the field's:\n{wrong}");
}
