//! Bounded waiting, which Ctrl-C can cut short.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::{Error, Result};

/// Pause between two looks: three times as long as a look took, so that looking does not slow down what it waits for,
/// where a processor is busy or emulated.
const POLL: Duration = Duration::from_millis(20);
const LONGEST_POLL: Duration = Duration::from_secs(1);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait in this process end with [`Error::Interrupted`]; safe in a signal handler.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Calls [`interrupt`] on SIGINT, SIGTERM and SIGHUP instead of dying, so that everything is removed.
pub fn interrupt_on_signals() -> Result<()> {
    extern "C" fn handler(_: libc::c_int) {
        interrupt();
    }
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler does nothing but store to an atomic.
        unsafe { sigaction(signal, &action) }.map_err(Error::errno("catch signals"))?;
    }
    Ok(())
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
        let look = Instant::now();
        if let Some(value) = f()? {
            return Ok(value);
        }
        let pause = (look.elapsed() * 3).clamp(POLL, LONGEST_POLL);
        if start.elapsed() > timeout {
            return Err(Error::Timeout { what: what.into(), after: timeout, logs: String::new() });
        }
        thread::sleep(pause);
    }
}

/// Lets time pass.
pub fn pause(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
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
