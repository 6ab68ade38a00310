//! Scripts and fifos that are told what happens: the settings of one router or group, and those of the daemon.

use super::command::{Command, Fifo, ScriptUser};
use crate::engine::time::Nanos;

/// What runs when something happens to one router, or to one group of them. The names are those of the states that
/// are entered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notify {
    /// `notify`: on every change, after the script of the state, with `INSTANCE|GROUP`, the name, the state and the
    /// priority as further arguments.
    pub any: Option<Command>,
    /// `notify_master`
    pub master: Option<Command>,
    /// `notify_backup`
    pub backup: Option<Command>,
    /// `notify_fault`
    pub fault: Option<Command>,
    /// `notify_stop`: when the daemon ends.
    pub stop: Option<Command>,
    /// `notify_deleted`: what says that a router left the configuration is DELETED, not FAULT. Routers only.
    pub notify_deleted: bool,
    /// The script of `notify_deleted`.
    pub deleted: Option<Command>,
    /// `notify_master_rx_lower_pri`: as master, when a router of lower priority is heard. Routers only.
    pub lower_priority: Option<Command>,
    /// `notify_priority_changes`: whether the fifos are told of changes of priority; `None` as [`Settings`] says.
    pub priority_changes: Option<bool>,
}

impl Notify {
    /// The commands in it, each with its keyword in keepalived.conf.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &Command)> {
        let all = [
            ("notify_master", &self.master),
            ("notify_backup", &self.backup),
            ("notify_fault", &self.fault),
            ("notify_stop", &self.stop),
            ("notify_deleted", &self.deleted),
            ("notify_master_rx_lower_pri", &self.lower_priority),
            ("notify", &self.any),
        ];
        all.into_iter().filter_map(|(keyword, command)| Some((keyword, command.as_ref()?)))
    }
}

/// A script that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleScript {
    /// The script.
    pub command: Command,
    /// How long it may take.
    pub timeout: Nanos,
}

/// What counts for all scripts and fifos of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `script_user`: whom scripts run as that say nothing themselves; `None` for `keepalived_script` if there is
    /// such a user, and whoever runs the daemon otherwise.
    pub user: Option<ScriptUser>,
    /// `enable_script_security`: nothing runs as root that somebody else could have written.
    pub security: bool,
    /// `use_symlink_paths`: scripts are started by the path that was written, not by what it leads to.
    pub symlink_paths: bool,
    /// Whether a tracked script that cannot run is not tracked, as in keepalived. Otherwise it counts as failed.
    pub disable_unusable: bool,
    /// `set_supplementary_groups`: scripts get the further groups of their user.
    pub supplementary_groups: bool,
    /// `umask` of the scripts; that of the daemon when `None`.
    pub umask: Option<u16>,
    /// Most scripts of all kinds that run at the same time, at least 1.
    pub concurrency: u16,
    /// How long a notification script may take.
    pub timeout: Nanos,
    /// `startup_script`: before any router starts.
    pub startup: Option<LifecycleScript>,
    /// `shutdown_script`: after the last router has stopped.
    pub shutdown: Option<LifecycleScript>,
    /// `notify_fifo`
    pub fifo: Option<Fifo>,
    /// `vrrp_notify_fifo`
    pub vrrp_fifo: Option<Fifo>,
    /// `vrrp_notify_priority_changes`: what counts for routers that say nothing themselves.
    pub priority_changes: bool,
    /// `fifo_write_vrrp_states_on_reload`
    pub states_on_reload: bool,
    /// `notify_split_brain`, ours: when another host claims an address that we hold as master.
    pub split_brain: Option<Command>,
}

impl Settings {
    /// [`Self::concurrency`] when nothing is said.
    pub const CONCURRENCY: u16 = 16;
    /// [`Self::timeout`] when nothing is said.
    pub const TIMEOUT: Nanos = Nanos::from_secs(60);
    /// keepalived's time for a startup or shutdown script.
    pub const LIFECYCLE_TIMEOUT: Nanos = Nanos::from_secs(10);

    /// The fifos, each with its keyword in keepalived.conf.
    pub fn fifos(&self) -> impl Iterator<Item = (&'static str, &Fifo)> {
        let all = [("notify_fifo", &self.fifo), ("vrrp_notify_fifo", &self.vrrp_fifo)];
        all.into_iter().filter_map(|(keyword, fifo)| Some((keyword, fifo.as_ref()?)))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user: None,
            security: false,
            symlink_paths: false,
            disable_unusable: false,
            supplementary_groups: false,
            umask: None,
            concurrency: Self::CONCURRENCY,
            timeout: Self::TIMEOUT,
            startup: None,
            shutdown: None,
            fifo: None,
            vrrp_fifo: None,
            priority_changes: false,
            states_on_reload: false,
            split_brain: None,
        }
    }
}
