//! Scripts and fifos: the keywords of instances and groups, and those of `global_defs`.

use super::{Entry, Parser};
use crate::config::command::{self, Command, Fifo, Origin, ScriptUser};
use crate::config::notify::{LifecycleScript, Notify, Settings};
use crate::config::report::Position;
use crate::config::text::number;
use crate::engine::time::Nanos;

/// keepalived's longest time for a startup or shutdown script.
const MAX_TIMEOUT: u32 = 1_000;

/// The keywords whose second word is a command, which has quotes and escapes of its own.
pub(super) const QUOTED: &[&str] = &[
    "notify", "notify_master", "notify_backup", "notify_fault", "notify_stop", "notify_deleted",
    "notify_master_rx_lower_pri", "notify_split_brain", "startup_script", "shutdown_script",
    "notify_fifo_script", "vrrp_notify_fifo_script", "lvs_notify_fifo_script", "script",
];

/// What `global_defs` says of scripts: the settings, and what completes them once everything was read.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    pub(super) settings: Settings,
    startup_timeout: Option<Nanos>,
    shutdown_timeout: Option<Nanos>,
    fifo_script: Option<Command>,
    vrrp_fifo_script: Option<Command>,
}

impl Scripts {
    /// The settings, now that all keywords were seen, in whatever order.
    pub(super) fn finish(self) -> Settings {
        let mut settings = self.settings;
        let once = |once: &mut Option<LifecycleScript>, timeout: Option<Nanos>| {
            if let (Some(once), Some(timeout)) = (once, timeout) {
                once.timeout = timeout;
            }
        };
        once(&mut settings.startup, self.startup_timeout);
        once(&mut settings.shutdown, self.shutdown_timeout);
        if let Some(fifo) = &mut settings.fifo {
            fifo.script = self.fifo_script;
        }
        if let Some(fifo) = &mut settings.vrrp_fifo {
            fifo.script = self.vrrp_fifo_script;
        }
        settings
    }
}

impl Parser<'_> {
    /// A keyword of an instance or a group. False if it is none of these.
    pub(super) fn notify_entry(&mut self, entry: &Entry, to: &mut Notify) -> bool {
        match entry.keyword.value.as_str() {
            "notify" => self.command_into(entry, &mut to.any),
            "notify_master" => self.command_into(entry, &mut to.master),
            "notify_backup" => self.command_into(entry, &mut to.backup),
            "notify_fault" => self.command_into(entry, &mut to.fault),
            "notify_stop" => self.command_into(entry, &mut to.stop),
            "notify_deleted" => {
                to.notify_deleted = true;
                if !entry.parameters.is_empty() {
                    self.command_into(entry, &mut to.deleted);
                }
            }
            "notify_master_rx_lower_pri" => self.command_into(entry, &mut to.lower_priority),
            "notify_priority_changes" => {
                to.priority_changes = self.boolean(entry).or(to.priority_changes);
            }
            _ => return false,
        }
        true
    }

    /// A keyword of `global_defs`. False if it is none of these.
    pub(super) fn script_entry(&mut self, entry: &Entry, to: &mut Scripts) -> bool {
        let settings = &mut to.settings;
        match entry.keyword.value.as_str() {
            "script_user" => settings.user = self.script_user(entry, 0).or(settings.user.take()),
            "enable_script_security" => settings.security = true,
            "use_symlink_paths" => {
                settings.symlink_paths = self.boolean(entry).unwrap_or(settings.symlink_paths);
            }
            "set_supplementary_groups" => settings.supplementary_groups = true,
            "umask" if entry.parameters.is_empty() => self.no_value(entry, "value"),
            "umask" => settings.umask = self.umask(entry).or(settings.umask),
            "startup_script" => self.once(entry, &mut settings.startup),
            "shutdown_script" => self.once(entry, &mut settings.shutdown),
            "startup_script_timeout" => {
                to.startup_timeout = self.timeout(entry).or(to.startup_timeout);
            }
            "shutdown_script_timeout" => {
                to.shutdown_timeout = self.timeout(entry).or(to.shutdown_timeout);
            }
            "notify_fifo" => self.fifo(entry, &mut settings.fifo),
            "vrrp_notify_fifo" => self.fifo(entry, &mut settings.vrrp_fifo),
            "notify_fifo_script" => self.command_into(entry, &mut to.fifo_script),
            "vrrp_notify_fifo_script" => self.command_into(entry, &mut to.vrrp_fifo_script),
            "vrrp_notify_priority_changes" => {
                let on = self.boolean(entry);
                settings.priority_changes = on.unwrap_or(settings.priority_changes);
            }
            "fifo_write_vrrp_states_on_reload" => settings.states_on_reload = true,
            "notify_split_brain" => self.command_into(entry, &mut settings.split_brain),
            "notify_timeout" => settings.timeout = self.timeout(entry).unwrap_or(settings.timeout),
            "script_concurrency" => {
                let most: Option<u16> =
                    self.integer(entry).and_then(|n| u16::try_from(n).ok().filter(|n| *n > 0));
                if most.is_none() {
                    self.warning(entry.at(), "script_concurrency must be 1 to 65535; ignored", "");
                }
                settings.concurrency = most.unwrap_or(settings.concurrency);
            }
            _ => return false,
        }
        true
    }

    /// `COMMAND [USER [GROUP]]`; `None`, with a message, if it is none.
    pub(super) fn command(&mut self, entry: &Entry) -> Option<Command> {
        let keyword = &entry.keyword.value;
        let Some(text) = entry.parameters.first() else {
            // Of an instance or a group: `notify_master`.
            if keyword == "notify"
                || (keyword.starts_with("notify_") && !keyword.ends_with("_script"))
            {
                self.no_value(entry, "script");
            } else {
                let message = format!("{keyword} has no script; it is ignored");
                self.warning(entry.at(), message, "");
            }
            return None;
        };
        let argv = match command::split(&text.value) {
            Ok(argv) => argv,
            Err(error) => {
                let message = format!("{keyword} is ignored: {error}: `{}`", text.value);
                self.warning(text.at, message, "");
                return None;
            }
        };
        self.commands.push(text.clone());
        let user = self.script_user(entry, 1);
        Some(Command { argv, user, origin: self.origin(entry.at()) })
    }

    fn command_into(&mut self, entry: &Entry, to: &mut Option<Command>) {
        let Some(command) = self.command(entry) else { return };
        if let Some(first) = to {
            let message = format!(
                "{} is there already, in line {}; this one is ignored",
                entry.keyword.value, first.origin.line
            );
            self.warning(entry.at(), message, "");
            return;
        }
        *to = Some(command);
    }

    /// `USER [GROUP]` from some parameter on.
    pub(super) fn script_user(&mut self, entry: &Entry, from: usize) -> Option<ScriptUser> {
        let mut words = entry.parameters.iter().skip(from);
        let Some(user) = words.next() else {
            if from == 0 {
                let message = format!("{} has no user; it is ignored", entry.keyword.value);
                self.warning(entry.at(), message, "");
            }
            return None;
        };
        let group = words.next().map(|group| group.value.clone());
        if let Some(extra) = words.next() {
            let message =
                format!("`{}` is ignored: behind the user there is only a group", extra.value);
            self.warning(extra.at, message, "quote a command that has arguments");
        }
        Some(ScriptUser { user: user.value.clone(), group })
    }

    fn once(&mut self, entry: &Entry, to: &mut Option<LifecycleScript>) {
        let mut command = to.take().map(|once| once.command);
        self.command_into(entry, &mut command);
        *to = command
            .map(|command| LifecycleScript { command, timeout: Settings::LIFECYCLE_TIMEOUT });
    }

    fn timeout(&mut self, entry: &Entry) -> Option<Nanos> {
        let seconds = self.integer(entry)?;
        if !(1..=MAX_TIMEOUT).contains(&seconds) {
            let message =
                format!("{} must be 1 to {MAX_TIMEOUT} seconds; ignored", entry.keyword.value);
            self.warning(entry.at(), message, "");
            return None;
        }
        Some(Nanos::from_secs(seconds.into()))
    }

    fn fifo(&mut self, entry: &Entry, to: &mut Option<Fifo>) {
        let keyword = &entry.keyword.value;
        let Some(path) = entry.parameters.first() else {
            let message = format!("{keyword} has no path; it is ignored");
            return self.warning(entry.at(), message, "");
        };
        if to.is_some() {
            let message = format!("{keyword} is there already; this one is ignored");
            return self.warning(entry.at(), message, "");
        }
        if !path.value.starts_with('/') {
            let message = format!("the path of {keyword} must begin with `/`; it is ignored");
            return self.warning(path.at, message, "");
        }
        let user = self.script_user(entry, 1);
        let origin = self.origin(entry.at());
        *to = Some(Fifo { path: path.value.clone().into(), user, script: None, origin });
    }

    /// A number in C's notation, or names of bits with `|` between them.
    fn umask(&mut self, entry: &Entry) -> Option<u16> {
        let text: String = entry.parameters.iter().map(|word| word.value.as_str()).collect();
        let mask = if text.starts_with(|c: char| c.is_ascii_digit()) {
            number(&text)
        } else {
            text.split('|').map(|name| bits(name.trim())).try_fold(0, |mask, bit| Some(mask | bit?))
        };
        let mask = mask.filter(|mask| *mask <= 0o777);
        if mask.is_none() {
            self.warning(entry.at(), "umask is ignored: it is no mask", "write it like 022");
        }
        mask
    }

    /// A place for messages that come when the file was read already.
    pub(super) fn origin(&self, at: Position) -> Origin {
        self.lines.report.origin(at)
    }
}

/// Bits of a file mode (inode(7)).
fn bits(name: &str) -> Option<u16> {
    Some(match name {
        "IRUSR" => 0o400,
        "IWUSR" => 0o200,
        "IXUSR" => 0o100,
        "IRWXU" => 0o700,
        "IRGRP" => 0o040,
        "IWGRP" => 0o020,
        "IXGRP" => 0o010,
        "IRWXG" => 0o070,
        "IROTH" => 0o004,
        "IWOTH" => 0o002,
        "IXOTH" => 0o001,
        "IRWXO" => 0o007,
        _ => return None,
    })
}
