//! What this process may do without being root (capabilities(7)).

use std::fs;
use std::sync::OnceLock;

/// `CAP_SETGID` (linux/capability.h).
const SETGID: u32 = 6;
/// `CAP_SETUID` (linux/capability.h).
const SETUID: u32 = 7;

/// Whether this process may run something as another user. What it may do does not change while it lives.
pub fn can_change_users() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        has(&status, SETUID) && has(&status, SETGID)
    })
}

/// Whether a capability is effective, by what proc_pid_status(5) has.
fn has(status: &str, capability: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|effective| effective & 1 << capability != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_ones_count() {
        let status = "Name:\tx\nCapPrm:\t00000000000000c0\nCapEff:\t0000000000000080\n";
        assert!(has(status, SETUID) && !has(status, SETGID));
        assert!(!has("", SETUID));
    }
}
