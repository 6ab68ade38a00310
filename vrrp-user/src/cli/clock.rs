//! The time where we are.

use std::fmt::{self, Display};

/// Nanoseconds of the real-time clock as time of day where we are, `12:00:01.123456`.
pub struct TimeOfDay(pub i64);

impl Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000));
        // SAFETY: all-zero is a valid value of this C structure.
        let mut local: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live values; localtime_r(3) leaves the second one alone if it fails.
        unsafe { libc::localtime_r(&raw const seconds, &raw mut local) };
        let micros = nanos / 1000;
        write!(f, "{:02}:{:02}:{:02}.{micros:06}", local.tm_hour, local.tm_min, local.tm_sec)
    }
}

impl TimeOfDay {
    /// The time by the real-time clock.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)))
    }
}
