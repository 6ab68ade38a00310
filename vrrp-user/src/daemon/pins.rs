//! That others find the maps: somebody may delete the pins or unmount the bpffs. The daemon hears all the same, so nothing
//! but this comes of it.

use super::lockfile::LockedDir;
use super::{Counter, Daemon};
use crate::engine::time::Nanos;
use crate::io::bpf;

/// How often the pins are looked at, at most, on occasions on which the daemon is awake anyway.
const ROUND: Nanos = Nanos::from_secs(1);

/// What is known of the pins.
#[derive(Default)]
pub struct PinWatch {
    due: Nanos,
    /// Why they cannot be made again.
    error: Option<String>,
    /// The lock on the directory, if that had to be made again.
    lock: Option<LockedDir>,
}

impl Daemon {
    /// Makes pins again that somebody has deleted, if it is time to look.
    pub(super) fn look_at_pins(&mut self, now: Nanos) {
        if now >= self.pin_watch.due {
            self.pin_watch.due = now + ROUND;
            self.mend_pins();
        }
    }

    /// Makes pins again that somebody has deleted.
    pub(super) fn mend_pins(&mut self) {
        let Some(pins) = self.kernel.pins().filter(|pins| !pins.untouched()) else { return };
        let mended = pins.mend();
        let dir = pins.dir().to_owned();
        match mended {
            Ok(0) => self.pin_watch.error = None,
            Ok(count) => {
                log::warn!(
                    "{count} pinned maps in {} had been removed; they are there again",
                    dir.display()
                );
                self.count(Counter::PinsLost);
                self.pin_watch.error = None;
                // That of another directory keeps nobody out any more. One that we have is not given to us twice.
                if let Ok(lock) = LockedDir::take(&dir) {
                    self.pin_watch.lock = Some(lock);
                }
            }
            Err(error) => {
                let error = bpf::chain(&error);
                if self.pin_watch.error.as_ref() != Some(&error) {
                    log::error!("the maps are not pinned any more: {error}");
                    self.count(Counter::PinsLost);
                }
                self.pin_watch.error = Some(error);
            }
        }
    }

    /// What is wrong with the pins.
    pub(super) fn pin_problem(&self) -> Option<String> {
        let error = self.pin_watch.error.as_ref()?;
        Some(format!(
            "`stats`, `monitor`, `top` and metrics find nothing, because the maps are not pinned any more: {error}"
        ))
    }
}
