//! `[control]`.

use super::{Reader, Table};
use crate::config::draft::set;
use crate::config::socket::{SocketAccess, SocketMode};

pub(super) const CONTROL_KEYS: &[&str] = &["socket_mode", "socket_group"];

impl Reader<'_> {
    /// Who may use the control socket.
    pub(super) fn control(&mut self, root: &Table<'_, '_>) -> SocketAccess {
        let mut access = SocketAccess::default();
        let Some(table) = self.sub_table(root, "control", CONTROL_KEYS) else { return access };
        let mode = self.read(&table, "socket_mode", |text| {
            text.parse::<SocketMode>()
                .map_err(|error| (format!("socket_mode cannot be {text}"), error))
        });
        set(&mut access.mode, mode);
        access.group = self.text(&table, "socket_group");
        access
    }
}
