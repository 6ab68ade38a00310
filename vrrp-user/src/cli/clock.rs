//! The time where we are.

use std::fmt::{self, Display};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Nanoseconds of the real-time clock as time of day where we are, `12:00:01.123456`.
pub struct TimeOfDay(pub i64);

impl Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 64 bits of nanoseconds are within what a timestamp holds.
        let at = Timestamp::from_nanosecond(self.0.into()).unwrap_or_default();
        TimeZone::system().to_datetime(at).strftime("%H:%M:%S%.6f").fmt(f)
    }
}

impl TimeOfDay {
    /// The time by the real-time clock.
    pub fn now() -> Self {
        Self(i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_cut_and_zones_leave_the_minutes_alone() {
        // Whatever the zone of who runs this, as long as it is not off by parts of a minute.
        let shown = TimeOfDay(1_767_323_045_678_901_999).to_string();
        assert_eq!(shown.get(5..), Some(":05.678901"), "{shown}");
        assert_eq!(TimeOfDay(-1).to_string().get(5..), Some(":59.999999"));
    }
}
