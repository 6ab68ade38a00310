//! The time where we are, or in UTC: all that people read is in the same zone.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Whether times are shown in UTC; in tests they are, wherever these run.
static UTC: AtomicBool = AtomicBool::new(cfg!(test));

/// From now on.
pub fn use_utc() {
    UTC.store(true, Ordering::Relaxed);
}

fn zone() -> TimeZone {
    if UTC.load(Ordering::Relaxed) { TimeZone::UTC } else { TimeZone::system() }
}

/// A time that is RFC 3339 in UTC, as JSON and the daemon have it, for people; what is none stays as it is.
pub fn here(utc: &str) -> String {
    in_zone(utc, zone())
}

fn in_zone(utc: &str, zone: TimeZone) -> String {
    let Ok(at) = utc.parse::<Timestamp>() else { return utc.to_owned() };
    rfc3339(at, zone)
}

/// With milliseconds, and the offset of the zone where there is one.
fn rfc3339(at: Timestamp, zone: TimeZone) -> String {
    let at = at.to_zoned(zone);
    let offset = if at.offset().is_zero() { "Z" } else { "%:z" };
    at.strftime(&format!("%Y-%m-%dT%H:%M:%S%.3f{offset}")).to_string()
}

/// The time for a line of the log, as [`here`] shows others.
pub fn stamp() -> String {
    rfc3339(Timestamp::now(), zone())
}

/// Time of day without parts of a second.
pub fn time_of_day(at: Timestamp) -> String {
    zone().to_datetime(at).strftime("%H:%M:%S").to_string()
}

/// Nanoseconds of the real-time clock as time of day where we are, `12:00:01.123456`.
pub struct TimeOfDay(pub i64);

impl Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 64 bits of nanoseconds are within what a timestamp holds.
        let at = Timestamp::from_nanosecond(self.0.into()).unwrap_or_default();
        zone().to_datetime(at).strftime("%H:%M:%S%.6f").fmt(f)
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
    fn people_read_their_own_time() {
        let utc = "2026-01-02T23:04:05.163Z";
        assert_eq!(in_zone(utc, TimeZone::UTC), utc);
        let east = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(in_zone(utc, east), "2026-01-03T00:04:05.163+01:00");
        assert_eq!(in_zone("at noon", TimeZone::UTC), "at noon");
        assert_eq!(in_zone("2026-01-02T23:04:05Z", TimeZone::UTC), "2026-01-02T23:04:05.000Z");
        let stamp = stamp();
        assert!(stamp.len() == utc.len() && in_zone(&stamp, TimeZone::UTC) == stamp, "{stamp}");
        assert_eq!(time_of_day(utc.parse().unwrap()), "23:04:05");
    }

    #[test]
    fn microseconds_are_cut_and_zones_leave_the_minutes_alone() {
        // Whatever the zone of who runs this, as long as it is not off by parts of a minute.
        let shown = TimeOfDay(1_767_323_045_678_901_999).to_string();
        assert_eq!(shown.get(5..), Some(":05.678901"), "{shown}");
        assert_eq!(TimeOfDay(-1).to_string().get(5..), Some(":59.999999"));
    }
}
