//! Whether what this daemon hears by can be relied on: somebody else may detach or replace its programs, or move the position to
//! which the ring buffer of reports was read, again and again.
//!
//! Who may have been told nothing meanwhile has heard no silence, and listens anew. If that went on for ever, nobody would take
//! over. So it is put back a few times, and then done without.
//!
//! Pure: it is told the time, and says what is to be done.

use crate::capture::{CaptureMode, ModeSet};
use crate::engine::time::Nanos;
use crate::types::planted::{Fault, planted};

/// So many times it is put back, and then it is somebody else's.
const PATIENCE: u32 = 5;
/// After that time without, it is nobody else's. Longer than any master-down interval that can be configured with the largest
/// number of advertisements by default: three of 255 s, and almost one second. So nobody can keep a backup listening by rarer deeds.
const OVER: Nanos = Nanos::from_secs(900);

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// It is put back, and all listen anew.
    Restore,
    /// It is not relied on any more: from now on it is done without.
    Abandon,
    /// That is so already.
    Abandoned,
}

/// What somebody else has done to one thing.
#[derive(Debug, Default)]
pub struct Tampering {
    /// How often it was done, with less than [`OVER`] between, and when last.
    count: u32,
    last: Nanos,
}

impl Tampering {
    /// It was done once more.
    pub fn happened(&mut self, now: Nanos) -> Response {
        self.forget(now);
        (self.count, self.last) = (self.count.saturating_add(1), now);
        match self.count {
            _ if planted(Fault::TamperingEndured) => Response::Restore,
            ..=PATIENCE => Response::Restore,
            count if count == PATIENCE + 1 => Response::Abandon,
            _ => Response::Abandoned,
        }
    }

    /// Whether the thing is done without.
    pub fn is_abandoned(&self) -> bool {
        self.count > PATIENCE && !planted(Fault::TamperingEndured)
    }

    /// Whether it was done without, and need not be any more.
    pub fn is_over(&mut self, now: Nanos) -> bool {
        let before = self.is_abandoned();
        self.forget(now);
        before && !self.is_abandoned()
    }

    fn forget(&mut self, now: Nanos) {
        if now >= self.last + OVER {
            self.count = 0;
        }
    }
}

/// What somebody else has done to the programs that receive on one interface.
#[derive(Debug, Default)]
pub struct ProgramTampering {
    tampering: Tampering,
    modes: ModeSet,
}

impl ProgramTampering {
    /// The program of that mode was detached or replaced. Whether it is to be put back; otherwise that mode is done without.
    pub fn lost(&mut self, mode: Option<CaptureMode>, now: Nanos) -> bool {
        let restores = match self.tampering.happened(now) {
            Response::Restore => true,
            // Whoever is at it does not stop at one mode: the others get no patience of their own.
            Response::Abandon | Response::Abandoned => false,
        };
        if restores {
            // Whatever was before is forgotten.
            self.modes = ModeSet::default();
        } else if let Some(mode) = mode {
            self.modes.insert(mode);
        }
        restores
    }

    /// The modes that are done without.
    pub fn abandoned(&self) -> ModeSet {
        self.modes
    }

    /// Whether modes were done without that need not be any more.
    pub fn is_over(&mut self, now: Nanos) -> bool {
        let over = self.tampering.is_over(now);
        if over {
            self.modes = ModeSet::default();
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Nanos {
        Nanos::from_secs(seconds)
    }

    #[test]
    fn who_goes_on_gets_it() {
        let mut ring = Tampering::default();
        assert!(!ring.is_abandoned() && !ring.is_over(at(1)));
        for number in 0..5 {
            assert_eq!(ring.happened(at(1000 + 800 * number)), Response::Restore);
        }
        assert!(!ring.is_abandoned());
        assert_eq!(ring.happened(at(5000)), Response::Abandon);
        assert_eq!(ring.happened(at(5800)), Response::Abandoned);
        assert!(ring.is_abandoned() && !ring.is_over(at(6699)));
        assert!(ring.is_over(at(6700)) && !ring.is_abandoned() && !ring.is_over(at(6701)));
        assert_eq!(ring.happened(at(6702)), Response::Restore, "all is forgotten");
        for number in 1..20 {
            assert_eq!(ring.happened(at(6702 + 900 * number)), Response::Restore, "accidents");
        }
    }

    #[test]
    fn one_mode_after_the_other_is_done_without() {
        let mut programs = ProgramTampering::default();
        let [native, tc] = [CaptureMode::Native, CaptureMode::Tc];
        for number in 0..5 {
            assert!(programs.lost(Some(native), at(1000 + number)));
        }
        assert_eq!(programs.abandoned(), ModeSet::default());
        assert!(!programs.lost(Some(native), at(1005)));
        let has = |programs: &ProgramTampering| {
            [native, tc].map(|mode| programs.abandoned().contains(mode))
        };
        assert_eq!(has(&programs), [true, false]);
        assert!(!programs.lost(Some(tc), at(1006)), "no patience of its own");
        assert_eq!(has(&programs), [true, true]);
        assert!(!programs.is_over(at(1905)) && programs.is_over(at(1906)));
        assert_eq!(has(&programs), [false, false]);
        assert!(programs.lost(Some(native), at(1907)), "all is forgotten");
    }
}
