//! Commands, and who is told what happens.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::config::command::{Command, Fifo, ScriptUser};
use crate::config::notify::{LifecycleScript, Notify, Settings};

/// `[scripts]` and `[notify]`.
pub(super) fn settings(settings: &Settings) -> (Value, Value) {
    let Settings {
        user,
        security,
        symlink_paths,
        disable_unusable,
        supplementary_groups,
        umask,
        concurrency,
        timeout,
        startup,
        shutdown,
        fifo,
        vrrp_fifo,
        priority_changes,
        states_on_reload,
        split_brain,
    } = settings;
    let (user, group) = run_as(user.as_ref());
    let command = |once: &Option<LifecycleScript>| once.as_ref().map(|once| json!(once.command));
    let limit = |once: &Option<LifecycleScript>| once.as_ref().map(|once| once.timeout);
    let scripts = json!({
        "user": user,
        "group": group,
        "security": security,
        "symlink_paths": symlink_paths,
        "disable_unusable": disable_unusable,
        "supplementary_groups": supplementary_groups,
        "umask": umask.map(|umask| format!("{umask:03o}")),
        "concurrency": concurrency,
        "startup": command(startup),
        "startup_timeout": limit(startup),
        "shutdown": command(shutdown),
        "shutdown_timeout": limit(shutdown),
    });
    let notify = json!({
        "timeout": timeout,
        "fifo": fifo,
        "vrrp_fifo": vrrp_fifo,
        "priority_changes": priority_changes,
        "states_on_reload": states_on_reload,
        "split_brain": split_brain,
    });
    (scripts, notify)
}

/// As whom something runs: user and group.
fn run_as(user: Option<&ScriptUser>) -> (Option<&str>, Option<&str>) {
    let group = user.and_then(|user| user.group.as_deref());
    (user.map(|user| user.user.as_str()), group)
}

impl Serialize for Notify {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self {
            any,
            master,
            backup,
            fault,
            stop,
            notify_deleted,
            deleted,
            lower_priority,
            priority_changes,
        } = self;
        let deleted = match deleted {
            Some(command) => json!(command),
            None => notify_deleted.then_some(true).into(),
        };
        json!({
            "any": any,
            "master": master,
            "backup": backup,
            "fault": fault,
            "stop": stop,
            "deleted": deleted,
            "lower_priority": lower_priority,
            "priority_changes": priority_changes,
        })
        .serialize(to)
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { argv: _, user, origin: _ } = self;
        let (user, group) = run_as(user.as_ref());
        json!({ "command": self.to_string(), "user": user, "group": group }).serialize(to)
    }
}

impl Serialize for Fifo {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { path, user, script, origin: _ } = self;
        let (user, group) = run_as(user.as_ref());
        let path = path.display().to_string();
        json!({ "path": path, "user": user, "group": group, "script": script }).serialize(to)
    }
}
