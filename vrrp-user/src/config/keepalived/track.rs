//! `vrrp_script`, `track_file`, `vrrp_track_process`, `vrrp_sync_group` and the `track_*` blocks.

use super::{Entry, Parser, keywords};
use crate::config::command::Command;
use crate::config::draft::{GroupDraft, ObjectDraft, TrackDraft, Weight, set};
use crate::config::model::{
    InitFile, ParamMatch, Severity, TrackFile, TrackProcess, TrackScript, Tracked,
};
use crate::config::notify::Notify;
use crate::config::report::{Located, Position};
use crate::engine::time::Nanos;

const SCRIPT: &[&str] =
    &["script", "interval", "timeout", "weight", "rise", "fall", "user", "init_fail"];
const FILE: &[&str] = &["file", "weight", "init_file"];
const PROCESS: &[&str] = &[
    "process", "param_match", "weight", "quorum", "quorum_max", "delay", "fork_delay",
    "terminate_delay", "full_command",
];
/// The keywords of a sync group that are acted on.
const GROUP: &[&str] = &[
    "group", "track_interface", "track_script", "track_file", "track_process", "global_tracking",
    "sync_group_tracking_weight", "notify", "notify_master", "notify_backup", "notify_fault",
    "notify_stop", "notify_priority_changes",
];

/// The blocks here with what is acted on in them.
#[cfg(test)]
pub(super) const BLOCKS: &[(&str, &[&str])] = &[
    ("vrrp_sync_group", GROUP),
    ("vrrp_script", SCRIPT),
    ("track_file", FILE),
    ("vrrp_track_process", PROCESS),
];

/// The tracked object that a line of a `track_*` block is about.
pub(super) fn tracked(block: &str, name: &str) -> Option<Tracked> {
    let name = name.to_owned();
    match block {
        "track_interface" => Some(Tracked::Interface(name)),
        "track_script" => Some(Tracked::Script(name)),
        "track_file" => Some(Tracked::File(name)),
        "track_process" => Some(Tracked::Process(name)),
        _ => None,
    }
}

impl Parser<'_> {
    /// Says what keepalived would not find: it looks no further than it has read.
    pub(super) fn early_tracks(&mut self) {
        for Located { value: what, at } in std::mem::take(&mut self.early) {
            if self.defined.contains(&what) {
                let message =
                    format!("{what} stands behind this line: keepalived does not track it then");
                self.lines.report.push(Severity::Note, at, message, "write it in front of this");
            }
        }
    }

    /// A block `track_*`: one object per line.
    pub(super) fn track(&mut self, entry: &Entry, to: &mut Vec<Located<TrackDraft>>) {
        self.enter_block(entry);
        while let Some(line) = self.list_entry(entry) {
            let name = &line.keyword.value;
            let Some(what) = tracked(&entry.keyword.value, name) else { continue };
            let weight = match line.parameters.split_first() {
                None => Weight::default(),
                Some((word, rest)) if word.value == "weight" => self.weight(word.at, rest),
                Some((word, _)) => {
                    let message = format!("`{}` is ignored: only weight can follow", word.value);
                    self.warning(word.at, message, "");
                    Weight::default()
                }
            };
            if !matches!(what, Tracked::Interface(_)) && !self.defined.contains(&what) {
                self.early.push(Located::new(what.clone(), line.at()));
            }
            to.push(Located::new(TrackDraft { what, weight }, line.at()));
        }
    }

    /// `N [reverse|noreverse]`.
    fn weight(&mut self, at: Position, words: &[super::Word]) -> Weight {
        let Some(number) = words.first().cloned() else {
            self.warning(at, "weight has no value; it is ignored", "");
            return Weight::default();
        };
        let number = self.number_in_front(number, "-");
        let number = self.or_zero(number);
        let reverse = match words.get(1).map(|word| (word.value.as_str(), word.at)) {
            None => None,
            Some(("reverse", _)) => Some(true),
            Some(("noreverse", _)) => Some(false),
            Some((other, at)) => {
                let message = format!("`{other}` is ignored: only reverse or noreverse can follow");
                self.warning(at, message, "");
                None
            }
        };
        Weight { number: Some(number), reverse }
    }

    /// The name of a block; without one it is an error, and the block is skipped.
    fn block_name(&mut self, entry: &Entry) -> Option<String> {
        let name = entry.parameters.first().map(|name| name.value.clone());
        if name.is_none() {
            self.no_value(entry, "name");
            self.skip_block();
        }
        name
    }

    /// Says that only the first one of a keyword counts.
    fn once_only(&mut self, entry: &Entry) {
        let message = format!("{} is there already; this one is ignored", entry.keyword.value);
        self.warning(entry.at(), message, "");
    }

    /// The interval or timeout of a script: 0 means a second.
    fn interval(&mut self, entry: &Entry) -> Option<Nanos> {
        let mut value = self.value(entry)?;
        if !value.value.trim().starts_with(['-', '.']) {
            value = self.number_in_front(value, ".");
            value = self.or_zero(value);
        }
        let Some(span) = super::decimal_seconds(&value.value) else {
            self.bad_value(entry, &value, "seconds, as in 1 or 0.25");
            return None;
        };
        if span == Nanos::ZERO {
            let message = format!("{} must not be 0; 1 s is used", entry.keyword.value);
            self.warning(value.at, message, "");
            return Some(Nanos::from_secs(1));
        }
        self.is_delay(entry, span, super::MAX_DELAY).then_some(span)
    }

    /// How long a process may be gone, or must be there.
    fn process_delay(&mut self, entry: &Entry) -> Option<Nanos> {
        const MOST: Nanos = Nanos::from_secs(3_600);
        let span = self.timer(entry)?.value;
        self.is_delay(entry, span, MOST).then_some(span)
    }

    /// `vrrp_script`.
    pub(super) fn script(&mut self, entry: &Entry) -> Option<Located<ObjectDraft<TrackScript>>> {
        let mut script = TrackScript {
            name: self.block_name(entry)?,
            line: entry.at().line,
            command: Command { argv: Vec::new(), user: None, origin: self.origin(entry.at()) },
            interval: Nanos::from_secs(1),
            timeout: None,
            rise: 1,
            fall: 1,
            weight: 0,
            reverse: false,
            init_fail: false,
        };
        let mut weight = Weight::default();
        let mut user = None;
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            let words = &inner.parameters;
            match inner.keyword.value.as_str() {
                "script" => set(&mut script.command, self.command(&inner)),
                "interval" => set(&mut script.interval, self.interval(&inner)),
                "timeout" => script.timeout = self.interval(&inner).or(script.timeout),
                "weight" if words.is_empty() => self.no_value(&inner, "value"),
                "weight" => {
                    // What one says of the direction, the next one does not take back.
                    let reverse = weight.reverse;
                    weight = self.weight(inner.at(), words);
                    weight.reverse = weight.reverse.or(reverse);
                }
                "rise" => set(&mut script.rise, self.rounds(&inner)),
                "fall" => set(&mut script.fall, self.rounds(&inner)),
                "user" if words.is_empty() => self.no_value(&inner, "user"),
                "user" => user = self.script_user(&inner, 0).or(user),
                "init_fail" => {
                    // It forgets that where the script is tracked, in 2.2.7 as in 2.4.3.
                    let message = "init_fail has no effect in keepalived, nor here: the first result counts at once";
                    let hint = "in TOML it has one";
                    self.lines.report.push(Severity::Note, inner.at(), message.to_owned(), hint);
                }
                _ => self.not_acted_on(&inner, &[], SCRIPT),
            }
        }
        script.command.user = user.or(script.command.user);
        if script.command.argv.is_empty() {
            let message = format!("vrrp_script {} has no script; it is skipped", script.name);
            self.warning(entry.at(), message, "add script \"COMMAND\"");
            return None;
        }
        Some(Located::new(ObjectDraft { object: script, weight }, entry.at()))
    }

    /// `track_file`, or `vrrp_track_file` as it was called.
    pub(super) fn file(&mut self, entry: &Entry) -> Option<Located<ObjectDraft<TrackFile>>> {
        let mut file = TrackFile {
            name: self.block_name(entry)?,
            line: entry.at().line,
            path: "".into(),
            weight: 1,
            reverse: false,
            init: None,
        };
        let mut weight = Weight::default();
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            match inner.keyword.value.as_str() {
                "file" if inner.parameters.is_empty() => {
                    self.warning(inner.at(), "file has no path; it is ignored", "");
                }
                "file" if !file.path.as_os_str().is_empty() => self.once_only(&inner),
                "file" => {
                    set(&mut file.path, self.value(&inner).map(|path| path.value.into()));
                }
                "weight" if weight.number.is_some() => self.once_only(&inner),
                "weight" => weight = self.weight(inner.at(), &inner.parameters),
                "init_file" => file.init = Some(self.init_file(&inner)),
                _ => self.not_acted_on(&inner, &[], FILE),
            }
        }
        if file.path.as_os_str().is_empty() {
            let message = format!("{} {} has no file", entry.keyword.value, file.name);
            self.warning(entry.at(), format!("{message}; it is skipped"), "add file \"/PATH\"");
            return None;
        }
        Some(Located::new(ObjectDraft { object: file, weight }, entry.at()))
    }

    /// `[VALUE] [overwrite]`.
    fn init_file(&mut self, entry: &Entry) -> InitFile {
        let mut init = InitFile { value: 0, overwrite: false };
        for word in &entry.parameters {
            match word.value.parse() {
                _ if word.value == "overwrite" => init.overwrite = true,
                Ok(value) => init.value = value,
                Err(_) => self.bad_value(entry, word, "a number and overwrite"),
            }
        }
        init
    }

    /// `vrrp_track_process`.
    pub(super) fn process(&mut self, entry: &Entry) -> Option<Located<ObjectDraft<TrackProcess>>> {
        let mut process = TrackProcess {
            name: self.block_name(entry)?,
            line: entry.at().line,
            command: String::new(),
            parameters: Vec::new(),
            param_match: None,
            full_command: false,
            quorum: 1,
            quorum_max: u32::MAX,
            fork_delay: Nanos::ZERO,
            terminate_delay: Nanos::ZERO,
            weight: 0,
            reverse: false,
        };
        let mut weight = Weight::default();
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            let words = &inner.parameters;
            match inner.keyword.value.as_str() {
                "process" if words.is_empty() => self.no_value(&inner, "command"),
                "process" if !process.command.is_empty() => self.once_only(&inner),
                "process" => {
                    let mut words = words.iter().map(|word| word.value.clone());
                    process.command = words.next().unwrap_or_default();
                    process.parameters = words.collect();
                    // keepalived: parameters are compared as soon as there are some.
                    if !process.parameters.is_empty() {
                        process.param_match.get_or_insert(ParamMatch::Exact);
                    }
                }
                "param_match" => match words.first() {
                    None => process.param_match = Some(ParamMatch::Exact),
                    Some(word) if word.value == "initial" => {
                        process.param_match = Some(ParamMatch::Initial);
                    }
                    Some(word) if word.value == "partial" => {
                        process.param_match = Some(ParamMatch::Partial);
                    }
                    Some(word) => self.bad_value(&inner, &word.clone(), "initial or partial"),
                },
                "weight" if weight.number.is_some() => self.once_only(&inner),
                "weight" => weight = self.weight(inner.at(), words),
                "quorum" => set(&mut process.quorum, self.rounds(&inner)),
                "quorum_max" => set(&mut process.quorum_max, self.number(&inner)),
                "delay" => {
                    let span = self.process_delay(&inner);
                    set(&mut process.fork_delay, span);
                    set(&mut process.terminate_delay, span);
                }
                "fork_delay" => set(&mut process.fork_delay, self.process_delay(&inner)),
                "terminate_delay" => set(&mut process.terminate_delay, self.process_delay(&inner)),
                "full_command" => process.full_command = true,
                _ => self.not_acted_on(&inner, &[], PROCESS),
            }
        }
        if process.quorum_max == 0 {
            // It must not run at all.
            process.quorum = 0;
        } else if process.quorum_max < process.quorum {
            let message =
                format!("quorum_max of {} is less than quorum; it is ignored", process.name);
            self.warning(entry.at(), message, "");
            process.quorum_max = u32::MAX;
        }
        if process.command.is_empty() {
            let message = format!("{} {} has no process", entry.keyword.value, process.name);
            self.warning(entry.at(), format!("{message}; it is skipped"), "add process \"NAME\"");
            return None;
        }
        Some(Located::new(ObjectDraft { object: process, weight }, entry.at()))
    }

    /// `vrrp_sync_group`.
    pub(super) fn group(&mut self, entry: &Entry) -> Option<Located<GroupDraft>> {
        let Some(name) = entry.parameters.first() else {
            self.warning(entry.at(), "vrrp_sync_group has no name; it is skipped", "");
            self.skip_block();
            return None;
        };
        let mut group = GroupDraft {
            name: name.value.clone(),
            members: None,
            track: Vec::new(),
            notify: Notify::default(),
            tracking_weight: false,
        };
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            match inner.keyword.value.as_str() {
                "group" if group.members.is_some() => {
                    self.once_only(&inner);
                    self.skip_block();
                }
                "group" => {
                    let members = group.members.get_or_insert_default();
                    self.enter_block(&inner);
                    while let Some(line) = self.list_entry(&inner) {
                        members.push(line.keyword);
                        members.extend(line.parameters);
                    }
                }
                "track_interface" | "track_script" | "track_file" | "track_process" => {
                    self.track(&inner, &mut group.track);
                }
                "global_tracking" | "sync_group_tracking_weight" => group.tracking_weight = true,
                _ if self.notify_entry(&inner, &mut group.notify) => {}
                _ => self.not_acted_on(&inner, keywords::GROUP, GROUP),
            }
        }
        Some(Located::new(group, entry.at()))
    }
}
