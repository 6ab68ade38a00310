//! What is known of scripts, for those who ask: counters, the last results of checks, what a configuration has disabled, and
//! what came of its last reload. It is read by the threads of control socket and metrics, and never by that of the engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::process::Ended;
use crate::api::ScriptStatus;
use crate::engine::time::Nanos;
use crate::engine::types::Health;

vrrp_common::counters! {
    /// What happens to scripts and fifos.
    pub enum Counter {
        /// A notification that was left out, because the router had changed once more before it could run.
        NotificationsSkipped = "notifications_skipped",
        /// A notification, startup or shutdown script that failed or could not be started.
        ScriptsFailed = "scripts_failed",
        /// A script that was ended, because it took too long.
        ScriptsTimedOut = "scripts_timed_out",
        /// A check that was due while it still ran, or waited for a place.
        ChecksOverrun = "checks_overrun",
        /// A line that a fifo did not take before a later one of the same router, or before its end.
        FifoLinesLost = "fifo_lines_lost",
        /// An event that nobody is told, because too many wait.
        NotificationsLost = "notifications_lost",
    }
}

/// What is known of one check.
#[derive(Clone, Debug)]
struct Check {
    command: String,
    health: Health,
    /// When it came to that.
    since: Nanos,
    last: Option<(Ended, Nanos)>,
    runs: u64,
    failures: u64,
    overruns: u64,
}

/// All of it.
#[derive(Default)]
pub struct Board {
    counters: [AtomicU64; Counter::ALL.len()],
    checks: Mutex<BTreeMap<String, Check>>,
    disabled: Mutex<Vec<String>>,
    reload: Mutex<Option<(Nanos, bool)>>,
}

impl Board {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.count_more(counter, 1);
    }

    /// Counts several.
    pub fn count_more(&self, counter: Counter, more: u64) {
        self.counters[counter as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// All counters with their names.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counter = |(counter, name): &(Counter, &'static str)| {
            (*name, self.counters[*counter as usize].load(Ordering::Relaxed))
        };
        Counter::ALL.iter().map(counter)
    }

    /// These are disabled from now on.
    pub fn set_disabled(&self, disabled: Vec<String>) {
        *self.disabled.lock().unwrap_or_else(PoisonError::into_inner) = disabled;
    }

    /// What is disabled, each with why.
    pub fn disabled(&self) -> Vec<String> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration was read again, and is in force from now on or not.
    pub fn set_reload(&self, at: Nanos, applied: bool) {
        *self.reload.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, applied));
    }

    /// When a configuration was last read again, and whether it is in force.
    pub fn reload(&self) -> Option<(Nanos, bool)> {
        *self.reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Check>> {
        // Nothing in here panics half-way.
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the checks from now on; what is known of those that stay is kept.
    pub(super) fn set_checks(
        &self,
        checks: impl Iterator<Item = (String, String, Health)>,
        now: Nanos,
    ) {
        let mut known = self.lock();
        let mut before = std::mem::take(&mut *known);
        known.extend(checks.map(|(name, command, health)| {
            let check = match before.remove(&name) {
                Some(check) => Check { command, health, ..check },
                None => {
                    let (since, last) = (now, None);
                    Check { command, health, since, last, runs: 0, failures: 0, overruns: 0 }
                }
            };
            (name, check)
        }));
    }

    /// A check has ended.
    pub(super) fn ended(&self, name: &str, end: Ended, health: Health, now: Nanos) {
        if let Some(check) = self.lock().get_mut(name) {
            check.runs += 1;
            check.failures += u64::from(!end.is_success());
            check.last = Some((end, now));
            if check.health != health {
                (check.health, check.since) = (health, now);
            }
        }
    }

    /// A check was due too soon.
    pub(super) fn overrun(&self, name: &str) {
        self.count(Counter::ChecksOverrun);
        if let Some(check) = self.lock().get_mut(name) {
            check.overruns += 1;
        }
    }

    /// What `status` shows of the checks.
    pub fn scripts(&self, now: Nanos) -> Vec<ScriptStatus> {
        let since = |at: Nanos| (now - at).as_secs_f64();
        let checks = self.lock();
        let all = checks.iter().map(|(name, check)| ScriptStatus {
            name: name.clone(),
            command: check.command.clone(),
            health: health_name(check.health).to_owned(),
            since_s: since(check.since),
            last_end: check.last.as_ref().map(|(end, _)| end.to_string()),
            last_end_cause: check.last.as_ref().map(|(end, _)| end.name().to_owned()),
            last_run_s: check.last.as_ref().map(|(_, at)| since(*at)),
            runs: check.runs,
            failures: check.failures,
            overruns: check.overruns,
        });
        all.collect()
    }
}

fn health_name(health: Health) -> &'static str {
    match health {
        Health::Up => "up",
        Health::Down => "down",
        Health::Disabled => "disabled",
        Health::Unknown | Health::Value(_) => "unknown",
    }
}
