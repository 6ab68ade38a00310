//! That others find the maps: somebody may delete the pins or unmount the bpffs.

use super::Driver;
use crate::core::Input;
use crate::engine::time::Nanos;
use crate::io::bpf;
use crate::io::lockfile::LockedDir;

impl Driver {
    /// Makes pins again that somebody has deleted.
    pub(super) fn mend_pins(&mut self, now: Nanos) {
        let Some(pins) = self.datapath.pins().filter(|pins| !pins.untouched()) else { return };
        let mended = pins.mend();
        let dir = pins.dir().to_owned();
        let input = match mended {
            Ok(maps) => {
                // Without theirs, programs would leave with a daemon that is killed, and the fence with them.
                let count = maps + self.datapath.keep_again();
                // That of another directory keeps nobody out any more. One that we have is not given to us twice.
                if count > 0
                    && let Ok(lock) = LockedDir::take(&dir)
                {
                    self.pin_lock = Some(lock);
                }
                Input::PinsMended { dir: dir.display().to_string().into(), count }
            }
            Err(error) => Input::PinsLost(bpf::chain(&error)),
        };
        self.core.handle(now, input);
    }
}
