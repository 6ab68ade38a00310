//! Commands, and who is told what happens.

use super::{Table, Value};
use crate::config::command::{Command, Fifo, ScriptUser};
use crate::config::notify::{LifecycleScript, Notify, Settings};
use crate::config::socket::SocketAccess;

/// `[control]`.
pub(super) fn control(access: &SocketAccess) -> Value {
    let SocketAccess { mode, group } = access;
    [("socket_mode", mode.to_string().into()), ("socket_group", group.clone().into())].into()
}

/// `[scripts]` and `[notify]`.
pub(super) fn settings(settings: &Settings) -> [(&'static str, Value); 2] {
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
    let mut scripts = Table::default();
    run_as(user.as_ref(), &mut scripts);
    scripts.push("security", *security);
    scripts.push("symlink_paths", *symlink_paths);
    scripts.push("disable_unusable", *disable_unusable);
    scripts.push("supplementary_groups", *supplementary_groups);
    scripts.push("umask", umask.map(|umask| format!("{umask:03o}")));
    scripts.push("concurrency", u32::from(*concurrency));
    for (key, key_of_timeout, once) in
        [("startup", "startup_timeout", startup), ("shutdown", "shutdown_timeout", shutdown)]
    {
        scripts.push(
            key,
            once.as_ref().map(|LifecycleScript { command: what, timeout: _ }| command(what)),
        );
        scripts.push(key_of_timeout, once.as_ref().map(|once| once.timeout));
    }
    let mut notify = Table::default();
    notify.push("timeout", *timeout);
    notify.push("fifo", fifo.as_ref().map(pipe));
    notify.push("vrrp_fifo", vrrp_fifo.as_ref().map(pipe));
    notify.push("priority_changes", *priority_changes);
    notify.push("states_on_reload", *states_on_reload);
    notify.push("split_brain", split_brain.as_ref().map(command));
    [("scripts", scripts.into()), ("notify", notify.into())]
}

/// `notify` of a router or a group; null if nothing is run.
pub(super) fn notify(notify: Option<&Notify>) -> Value {
    let Some(notify) = notify else { return Value::Null };
    let Notify {
        any,
        master,
        backup,
        fault,
        stop,
        says_deleted,
        deleted,
        lower_priority,
        priority_changes,
    } = notify;
    let deleted = match deleted {
        Some(what) => command(what),
        None => says_deleted.then_some(true).into(),
    };
    let optional = |what: &Option<Command>| Value::from(what.as_ref().map(command));
    [
        ("any", optional(any)),
        ("master", optional(master)),
        ("backup", optional(backup)),
        ("fault", optional(fault)),
        ("stop", optional(stop)),
        ("deleted", deleted),
        ("lower_priority", optional(lower_priority)),
        ("priority_changes", (*priority_changes).into()),
    ]
    .into()
}

/// A command, and as whom it runs.
pub(super) fn command(command: &Command) -> Value {
    let Command { argv: _, user, origin: _ } = command;
    let mut table = Table::default();
    table.push("command", command.to_string());
    run_as(user.as_ref(), &mut table);
    table.into()
}

fn run_as(user: Option<&ScriptUser>, table: &mut Table) {
    let (user, group) = match user {
        Some(ScriptUser { user, group }) => (Some(user.clone()), group.clone()),
        None => (None, None),
    };
    table.push("user", user);
    table.push("group", group);
}

fn pipe(fifo: &Fifo) -> Value {
    let Fifo { path, user, script, origin: _ } = fifo;
    let mut table = Table::default();
    table.push("path", path.display().to_string());
    run_as(user.as_ref(), &mut table);
    table.push("script", script.as_ref().map(command));
    table.into()
}
