//! `[[script]]`, `[[file]]`, `[[process]]`, `[[group]]`, and `track` in routers and groups.

use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, Table};
use crate::config::draft::{GroupDraft, ObjectDraft, TrackDraft, TrackGroupDraft, Weight};
use crate::config::model::{InitFile, ParamMatch, TrackFile, TrackProcess, TrackScript, Tracked};
use crate::config::report::Located;
use crate::engine::time::Nanos;

pub(super) const GROUP_KEYS: &[&str] = &["name", "track", "notify", "tracking_weight"];
pub(super) const TRACK_GROUP_KEYS: &[&str] = &["name", "routers"];
pub(super) const SCRIPT_KEYS: &[&str] =
    &["name", "command", "interval", "timeout", "rise", "fall", "init_fail", "weight", "reverse"];
pub(super) const FILE_KEYS: &[&str] = &["name", "path", "init", "overwrite", "weight", "reverse"];
pub(super) const PROCESS_KEYS: &[&str] = &[
    "name", "command", "parameters", "match", "full_command", "quorum", "quorum_max", "delay",
    "fork_delay", "terminate_delay", "weight", "reverse",
];
pub(super) const TRACK_KEYS: &[&str] =
    &["interface", "script", "file", "process", "weight", "reverse"];

/// Puts a name to what is tracked.
type Kind = fn(String) -> Tracked;

impl Reader<'_> {
    /// The tables of one kind. Each must have a name.
    pub(super) fn objects<T>(
        &mut self,
        root: &Table<'_, '_>,
        kind: &'static str,
        keys: &'static [&'static str],
        read: impl Fn(&mut Self, &Table<'_, '_>, String) -> Option<T>,
    ) -> Vec<Located<T>> {
        let Some(tables) = self.tables(root, kind) else { return Vec::new() };
        let mut objects = Vec::new();
        for table in tables {
            let Some(table) = self.nested(table, kind, keys) else { continue };
            let Some(name) = self.string(&table, "name") else {
                self.report.error(table.at, format!("a {kind} has no name"), "add name = \"...\"");
                continue;
            };
            let object = read(self, &table, name.value);
            objects.extend(object.map(|object| Located::new(object, table.at)));
        }
        objects
    }

    fn weight(&mut self, table: &Table<'_, '_>) -> Weight {
        Weight {
            number: self.number(table, "weight"),
            reverse: self.boolean(table, "reverse").map(|reverse| reverse.value),
        }
    }

    /// `track = [{ interface = "eth1", weight = -20 }, { script = "chk" }]`.
    pub(super) fn track(&mut self, table: &Table<'_, '_>) -> Vec<Located<TrackDraft>> {
        let Some((entries, _)) = self.array(table, "track") else { return Vec::new() };
        entries.iter().filter_map(|entry| self.tracked(entry)).collect()
    }

    fn tracked(&mut self, entry: &Spanned<DeValue<'_>>) -> Option<Located<TrackDraft>> {
        let table = self.nested(entry, "an entry of track", TRACK_KEYS)?;
        let kinds: [(&str, Kind); 4] = [
            ("interface", Tracked::Interface),
            ("script", Tracked::Script),
            ("file", Tracked::File),
            ("process", Tracked::Process),
        ];
        let mut whats = Vec::new();
        for (key, kind) in kinds {
            whats.extend(self.string(&table, key).map(|name| kind(name.value)));
        }
        let weight = self.weight(&table);
        match <[Tracked; 1]>::try_from(whats) {
            Ok([what]) => Some(Located::new(TrackDraft { what, weight }, table.at)),
            Err(_) => {
                let message = "an entry of track must name one thing";
                let hint = "interface, script, file or process";
                self.report.error(table.at, message, hint);
                None
            }
        }
    }

    /// `[[track_group]]`.
    pub(super) fn track_group(
        &mut self,
        table: &Table<'_, '_>,
        name: String,
    ) -> Option<TrackGroupDraft> {
        let (_, at) = self.get(table, "routers").unzip();
        let at = at.unwrap_or(table.at);
        let routers = self.words(table, "routers");
        let routers = routers.into_iter().map(|router| Located::new(router, at)).collect();
        Some(TrackGroupDraft { name, routers })
    }

    pub(super) fn group(&mut self, table: &Table<'_, '_>, name: String) -> Option<GroupDraft> {
        Some(GroupDraft {
            name,
            members: None,
            track: self.track(table),
            notify: self.notify(table),
            tracking_weight: self.flag(table, "tracking_weight"),
        })
    }

    /// A time that must not be zero.
    fn positive(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Nanos> {
        let span = self.duration(table, key)?;
        if span.value == Nanos::ZERO {
            self.report.error(span.at, format!("{key} must not be 0"), "");
            return None;
        }
        Some(span.value)
    }

    /// A string, or a list of strings.
    pub(super) fn words(&mut self, table: &Table<'_, '_>, key: &'static str) -> Vec<String> {
        match self.get(table, key) {
            Some((DeValue::Array(_), _)) => {}
            Some(_) => return self.text(table, key).into_iter().collect(),
            None => return Vec::new(),
        }
        let Some((words, _)) = self.array(table, key) else { return Vec::new() };
        let mut read = Vec::new();
        for word in words {
            match word.get_ref().as_str() {
                Some(word) => read.push(word.to_owned()),
                None => {
                    let at = self.position(&word.span());
                    self.wrong_type(at, key, "a list of strings", word.get_ref());
                }
            }
        }
        read
    }

    pub(super) fn script(
        &mut self,
        table: &Table<'_, '_>,
        name: String,
    ) -> Option<ObjectDraft<TrackScript>> {
        if self.get(table, "command").is_none() {
            let message = format!("script {name} has no command");
            self.report.error(table.at, message, "add command = \"...\"");
        }
        let object = TrackScript {
            name,
            line: table.at.line,
            command: self.command(table, "command")?,
            interval: self.positive(table, "interval").unwrap_or(Nanos::from_secs(1)),
            timeout: self.positive(table, "timeout"),
            rise: self.repeat(table, "rise", 1).unwrap_or(1),
            fall: self.repeat(table, "fall", 1).unwrap_or(1),
            weight: 0,
            reverse: false,
            init_fail: self.flag(table, "init_fail"),
        };
        Some(ObjectDraft { object, weight: self.weight(table) })
    }

    pub(super) fn file(
        &mut self,
        table: &Table<'_, '_>,
        name: String,
    ) -> Option<ObjectDraft<TrackFile>> {
        let path = self.text(table, "path");
        if path.as_ref().is_none_or(String::is_empty) {
            let message = format!("file {name} has no path");
            self.report.error(table.at, message, "add path = \"/...\"");
        }
        let overwrite = self.flag(table, "overwrite");
        let init = self.number(table, "init").and_then(|number| {
            let value = number.value.parse().ok();
            if value.is_none() {
                self.report.error(number.at, format!("init cannot be {}", number.value), "");
            }
            value.map(|value| InitFile { value, overwrite })
        });
        let object = TrackFile {
            name,
            line: table.at.line,
            path: path.unwrap_or_default().into(),
            weight: 1,
            reverse: false,
            init,
        };
        Some(ObjectDraft { object, weight: self.weight(table) })
    }

    pub(super) fn process(
        &mut self,
        table: &Table<'_, '_>,
        name: String,
    ) -> Option<ObjectDraft<TrackProcess>> {
        let command = self.text(table, "command");
        if command.as_ref().is_none_or(String::is_empty) {
            let message = format!("process {name} has no command");
            self.report.error(table.at, message, "add command = \"...\"");
        }
        let parameters = self.words(table, "parameters");
        let param_match = self.word(table, "match", "exact, partial or initial");
        let delay = self.span(table, "delay").unwrap_or(Nanos::ZERO);
        let quorum_max = self.repeat(table, "quorum_max", 0).unwrap_or(u32::MAX);
        let quorum = self.repeat(table, "quorum", 0).unwrap_or(quorum_max.min(1));
        if quorum > quorum_max {
            let message = format!("process {name}: quorum_max is less than quorum");
            self.report.error(table.at, message, "");
        }
        let object = TrackProcess {
            name,
            line: table.at.line,
            command: command.unwrap_or_default(),
            param_match: param_match.or((!parameters.is_empty()).then_some(ParamMatch::Exact)),
            parameters,
            full_command: self.flag(table, "full_command"),
            quorum,
            quorum_max,
            fork_delay: self.span(table, "fork_delay").unwrap_or(delay),
            terminate_delay: self.span(table, "terminate_delay").unwrap_or(delay),
            weight: 0,
            reverse: false,
        };
        Some(ObjectDraft { object, weight: self.weight(table) })
    }
}
