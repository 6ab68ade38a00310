//! Whether the ring buffer of reports can be relied on: somebody else may move the position to which it was read, again and again.
//!
//! Who was told nothing meanwhile has heard no silence, and listens anew. If that went on for ever, nobody would take over.
//!
//! Pure: it is told the time, and says what is to be done.

use crate::engine::time::Nanos;

/// So many times it is put back, and then it is somebody else's.
const PATIENCE: u32 = 5;
/// After that time without, it is nobody else's. Longer than any master-down interval that can be configured with the largest
/// number of advertisements by default: three of 255 s, and almost one second. So nobody can keep a backup listening by rarer deeds.
const OVER: Nanos = Nanos::from_secs(900);

/// What is to be done about a position that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It was put back, and all listen anew.
    Again,
    /// It is not relied on any more: from now on it is heard without it.
    Taken,
    /// That is known already.
    Still,
}

/// What has been done to the ring buffer.
#[derive(Debug, Default)]
pub struct RingWatch {
    /// How often its position was moved, with less than [`OVER`] between, and when last.
    moved: u32,
    last: Nanos,
}

impl RingWatch {
    /// Its position was moved, and was put back.
    pub fn moved(&mut self, now: Nanos) -> Moved {
        self.forget(now);
        (self.moved, self.last) = (self.moved.saturating_add(1), now);
        match self.moved {
            ..=PATIENCE => Moved::Again,
            count if count == PATIENCE + 1 => Moved::Taken,
            _ => Moved::Still,
        }
    }

    /// Whether it is somebody else's.
    pub fn is_taken(&self) -> bool {
        self.moved > PATIENCE
    }

    /// Whether it was somebody else's, and is not any more.
    pub fn is_back(&mut self, now: Nanos) -> bool {
        let before = self.is_taken();
        self.forget(now);
        before && !self.is_taken()
    }

    fn forget(&mut self, now: Nanos) {
        if now >= self.last + OVER {
            self.moved = 0;
        }
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
        let mut ring = RingWatch::default();
        assert!(!ring.is_taken() && !ring.is_back(at(1)));
        for number in 0..5 {
            assert_eq!(ring.moved(at(1000 + 800 * number)), Moved::Again);
        }
        assert!(!ring.is_taken());
        assert_eq!(ring.moved(at(5000)), Moved::Taken);
        assert_eq!(ring.moved(at(5800)), Moved::Still);
        assert!(ring.is_taken() && !ring.is_back(at(6699)));
        assert!(ring.is_back(at(6700)) && !ring.is_taken() && !ring.is_back(at(6701)));
        assert_eq!(ring.moved(at(6702)), Moved::Again, "all is forgotten");
        for number in 1..20 {
            assert_eq!(ring.moved(at(6702 + 900 * number)), Moved::Again, "accidents");
        }
    }
}
