//! `[scripts]`, `[notify]` and `notify` of a router.

use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, Table};
use crate::config::command::{self, Command, Fifo, ScriptUser};
use crate::config::notify::{LifecycleScript, Notify, Settings};
use crate::config::report::Position;
use crate::engine::time::Nanos;

pub(super) const SCRIPTS_KEYS: &[&str] = &[
    "user", "group", "security", "symlink_paths", "disable_unusable", "supplementary_groups",
    "umask", "concurrency", "startup", "startup_timeout", "shutdown", "shutdown_timeout",
];
pub(super) const DAEMON_KEYS: &[&str] =
    &["timeout", "fifo", "vrrp_fifo", "priority_changes", "states_on_reload", "split_brain"];
pub(super) const NOTIFY_KEYS: &[&str] =
    &["any", "master", "backup", "fault", "stop", "deleted", "lower_priority", "priority_changes"];
pub(super) const COMMAND_KEYS: &[&str] = &["command", "user", "group"];
pub(super) const FIFO_KEYS: &[&str] = &["path", "user", "group", "script"];

impl Reader<'_> {
    /// `[scripts]` and `[notify]`.
    pub(super) fn script_settings(&mut self, root: &Table<'_, '_>) -> Settings {
        let mut settings = Settings::default();
        if let Some(table) = self.sub_table(root, "scripts", SCRIPTS_KEYS) {
            settings.user = self.user(&table);
            settings.security = self.flag(&table, "security");
            settings.symlink_paths = self.flag(&table, "symlink_paths");
            settings.disable_unusable = self.flag(&table, "disable_unusable");
            settings.supplementary_groups = self.flag(&table, "supplementary_groups");
            settings.umask = self.umask(&table);
            if let Some(number) = self.number(&table, "concurrency") {
                match number.value.parse() {
                    Ok(most) if most > 0 => settings.concurrency = most,
                    Ok(_) | Err(_) => {
                        let message =
                            format!("concurrency must be 1 to 65535, not {}", number.value);
                        self.report.error(number.at, message, "");
                    }
                }
            }
            settings.startup = self.once(&table, "startup", "startup_timeout");
            settings.shutdown = self.once(&table, "shutdown", "shutdown_timeout");
        }
        if let Some(table) = self.sub_table(root, "notify", DAEMON_KEYS) {
            settings.timeout = self.timeout(&table, "timeout").unwrap_or(settings.timeout);
            settings.fifo = self.fifo(&table, "fifo");
            settings.vrrp_fifo = self.fifo(&table, "vrrp_fifo");
            settings.priority_changes = self.flag(&table, "priority_changes");
            settings.states_on_reload = self.flag(&table, "states_on_reload");
            settings.split_brain = self.command(&table, "split_brain");
        }
        settings
    }

    pub(super) fn notify(&mut self, router: &Table<'_, '_>) -> Notify {
        let Some(table) = self.sub_table(router, "notify", NOTIFY_KEYS) else {
            return Notify::default();
        };
        let mut notify = Notify {
            any: self.command(&table, "any"),
            master: self.command(&table, "master"),
            backup: self.command(&table, "backup"),
            fault: self.command(&table, "fault"),
            stop: self.command(&table, "stop"),
            lower_priority: self.command(&table, "lower_priority"),
            priority_changes: self.boolean(&table, "priority_changes").map(|on| on.value),
            ..Notify::default()
        };
        match self.get(&table, "deleted") {
            Some((DeValue::Boolean(says), _)) => notify.notify_deleted = *says,
            Some(_) => {
                notify.notify_deleted = true;
                notify.deleted = self.command(&table, "deleted");
            }
            None => {}
        }
        notify
    }

    /// `"PROGRAM ARGUMENT ..."`, `["PROGRAM", "ARGUMENT", ...]` or `{ command = ..., user = "..." }`.
    pub(super) fn command(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Command> {
        let value = table.lookup(key)?;
        let at = self.position(&value.span());
        if let DeValue::Table(_) = value.get_ref() {
            let table = self.nested(value, key, COMMAND_KEYS)?;
            let user = self.user(&table);
            let Some(command) = table.lookup("command") else {
                self.report.error(at, format!("{key} has no command"), "add command = \"...\"");
                return None;
            };
            return self.argv(command, key).map(|command| Command { user, ..command });
        }
        self.argv(value, key)
    }

    fn argv(&mut self, value: &Spanned<DeValue<'_>>, key: &str) -> Option<Command> {
        let at = self.position(&value.span());
        let argv = match value.get_ref() {
            DeValue::String(text) => {
                let text = self.expanded(text, at)?;
                command::split(&text).map_err(|error| error.to_string())
            }
            DeValue::Array(words) => {
                let words = words.iter().map(|word| word.get_ref().as_str().map(str::to_owned));
                let words = words.map(|word| self.expanded(&word?, at));
                match words.collect::<Option<Vec<String>>>() {
                    Some(words) if words.first().is_none_or(String::is_empty) => {
                        Err("there is no program in it".to_owned())
                    }
                    Some(words) if words.iter().any(|word| word.contains('\0')) => {
                        Err("no argument can have a NUL in it".to_owned())
                    }
                    Some(words) => Ok(words),
                    None => Err("it must be a list of strings".to_owned()),
                }
            }
            other @ (DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_)) => {
                self.wrong_type(at, key, "a command in quotes or a list of its words", other);
                return None;
            }
        };
        match argv {
            Ok(argv) => Some(Command { argv, user: None, origin: self.report.origin(at) }),
            Err(error) => {
                self.report.error(at, format!("{key} is no command: {error}"), "");
                None
            }
        }
    }

    pub(super) fn user(&mut self, table: &Table<'_, '_>) -> Option<ScriptUser> {
        let user = self.string(table, "user");
        let group = self.string(table, "group");
        if let (None, Some(group)) = (&user, &group) {
            self.report.error(group.at, "there is a group without a user", "add user = \"...\"");
        }
        Some(ScriptUser { user: user?.value, group: group.map(|group| group.value) })
    }

    fn umask(&mut self, table: &Table<'_, '_>) -> Option<u16> {
        self.read(table, "umask", |text| {
            let mask = u16::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
            let wrong = || (format!("umask must be octal digits, not `{text}`"), "like \"022\"");
            mask.ok_or_else(wrong)
        })
    }

    fn timeout(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Nanos> {
        let span = self.duration(table, key)?;
        if span.value < Nanos::from_millis(10) || span.value > Nanos::from_secs(86_400) {
            let message = format!("{key} must be 10 ms to 86400 s");
            self.report.error(span.at, message, "");
            return None;
        }
        Some(span.value)
    }

    fn once(
        &mut self,
        table: &Table<'_, '_>,
        key: &'static str,
        timeout: &'static str,
    ) -> Option<LifecycleScript> {
        let limit = self.timeout(table, timeout);
        let command = self.command(table, key);
        if let (None, Some((_, at))) = (&command, self.get(table, timeout)) {
            self.report.error(at, format!("there is {timeout}, but no {key}"), "");
        }
        Some(LifecycleScript {
            command: command?,
            timeout: limit.unwrap_or(Settings::LIFECYCLE_TIMEOUT),
        })
    }

    /// `"/PATH"` or `{ path = "/PATH", user = "...", script = ... }`.
    fn fifo(&mut self, table: &Table<'_, '_>, key: &'static str) -> Option<Fifo> {
        let value = table.lookup(key)?;
        let at = self.position(&value.span());
        if let Some(path) = value.get_ref().as_str() {
            return self.fifo_at(path, key, at);
        }
        let table = self.nested(value, key, FIFO_KEYS)?;
        let (user, script) = (self.user(&table), self.command(&table, "script"));
        let Some(path) = self.string(&table, "path") else {
            self.report.error(at, format!("{key} has no path"), "add path = \"...\"");
            return None;
        };
        let fifo = self.fifo_at(&path.value, key, path.at)?;
        Some(Fifo { user, script, ..fifo })
    }

    fn fifo_at(&mut self, path: &str, key: &str, at: Position) -> Option<Fifo> {
        if !path.starts_with('/') || path.contains('\0') {
            self.report.error(at, format!("{key} must be an absolute path"), "");
            return None;
        }
        let origin = self.report.origin(at);
        Some(Fifo { path: path.into(), user: None, script: None, origin })
    }
}
