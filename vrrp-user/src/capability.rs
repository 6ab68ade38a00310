//! What this process may do without being root (capabilities(7)).

use std::fs;
use std::sync::OnceLock;

// Numbers of capabilities (linux/capability.h).
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const IPC_LOCK: u32 = 14;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

/// The one that the daemon works without, if not as well.
pub const CAP_BPF: &str = "CAP_BPF";

/// Whether this process may run something as another user. What it may do does not change while it lives.
pub fn can_change_users() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        has(&status, SETUID) && has(&status, SETGID)
    })
}

/// Whether this process may lock memory whatever its limit.
pub fn can_lock_memory() -> bool {
    has(&fs::read_to_string("/proc/self/status").unwrap_or_default(), IPC_LOCK)
}

/// The effective capabilities in what proc_pid_status(5) has, one bit each.
pub fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// What the daemon cannot do without and a set of capabilities lacks.
pub fn missing(effective: u64) -> Vec<&'static str> {
    let has = |capability: u32| effective & 1 << capability != 0;
    let needed = [
        (CAP_BPF, has(BPF) || has(SYS_ADMIN)),
        ("CAP_NET_ADMIN", has(NET_ADMIN)),
        ("CAP_NET_RAW", has(NET_RAW)),
    ];
    needed.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
}

/// What this thread lacks; nothing where that cannot be seen.
pub fn missing_here() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    effective(&status).map(missing).unwrap_or_default()
}

fn has(status: &str, capability: u32) -> bool {
    effective(status).is_some_and(|effective| effective & 1 << capability != 0)
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

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing(u64::MAX).is_empty());
        assert!(missing(1 << NET_ADMIN | 1 << NET_RAW | 1 << SYS_ADMIN).is_empty());
        assert_eq!(missing(1 << NET_ADMIN), ["CAP_BPF", "CAP_NET_RAW"]);
    }
}
