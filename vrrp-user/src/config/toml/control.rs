//! `[control]`.

use super::{Reader, Table};
use crate::config::socket::SocketAccess;

pub(super) const CONTROL_KEYS: &[&str] = &["socket_mode", "socket_group"];

impl Reader<'_> {
    /// Who may use the control socket.
    pub(super) fn control(&mut self, root: &Table<'_, '_>) -> SocketAccess {
        let mut access = SocketAccess::default();
        let Some(table) = self.sub_table(root, "control", CONTROL_KEYS) else { return access };
        if let Some(mode) = self.string(&table, "socket_mode") {
            match mode.value.parse() {
                Ok(parsed) => access.mode = parsed,
                Err(error) => {
                    let message = format!("socket_mode cannot be {}", mode.value);
                    let error: crate::config::socket::InvalidMode = error;
                    self.report.error(mode.at, message, &error.to_string());
                }
            }
        }
        access.group = self.string(&table, "socket_group").map(|group| group.value);
        access
    }
}
