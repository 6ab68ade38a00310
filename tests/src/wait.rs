//! Bounded waiting, which Ctrl-C can cut short.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait in this process end with [`Error::Interrupted`]; safe in a signal handler.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Whether [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Asks `f` every few milliseconds until it returns something, at most for `timeout`.
pub fn wait_until<T>(
    timeout: Duration,
    what: &str,
    mut f: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        if let Some(value) = f()? {
            return Ok(value);
        }
        if start.elapsed() > timeout {
            return Err(Error::Timeout { what: what.into(), after: timeout, logs: String::new() });
        }
        thread::sleep(POLL);
    }
}

/// Lets time pass.
pub fn pause(span: Duration) -> Result<()> {
    let end = Instant::now() + span;
    loop {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(POLL));
    }
}
