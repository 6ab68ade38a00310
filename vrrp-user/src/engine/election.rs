//! The arithmetic of the election: who wins, and how long a silent master is waited for.
//!
//! Everything is in nanoseconds and multiplies before it divides, so that the skew of two priorities
//! differs even at the shortest interval.

use std::net::IpAddr;

use super::time::{Centisecs, Nanos};
use super::types::{AdvertInterval, Priority, Version};
use crate::types::planted::{Fault, planted};

/// Skew steps in one unit: priorities count down from here.
const STEPS: u64 = 256;

/// The interval as a span, never shorter than the shortest one that can stand on the wire. A zero
/// interval is refused by the receive checks and by the configuration; here it would stop the clock.
pub fn interval_duration(interval: AdvertInterval) -> Nanos {
    interval.duration().max(Centisecs(1).into())
}

/// `Skew_Time`: what a router of this priority waits longer than one of priority 256 would.
///
/// `active` is the interval of the master (`Active_Adver_Interval`). RFC 9568 section 6.1 for
/// version 3; version 2 has it independent of the interval (RFC 3768 section 6.1).
pub fn skew(priority: Priority, active: AdvertInterval) -> Nanos {
    if planted(Fault::SkewLeftOut) {
        return Nanos::ZERO;
    }
    let unit = match active.version() {
        Version::V2 => Nanos::from_secs(1),
        Version::V3 => interval_duration(active),
    };
    Nanos(unit.times(STEPS - u64::from(priority.0)).0 / STEPS)
}

/// How many advertisements in a row a master has to miss (RFC 9568 section 6.1, RFC 3768 section 6.1).
pub const DOWN_ADVERTS: u8 = 3;

/// `Active_Down_Interval`, "master-down interval" in version 2 (RFC 9568 section 6.1, RFC 3768
/// section 6.1), with `adverts` in place of [`DOWN_ADVERTS`].
pub fn master_down_interval(priority: Priority, active: AdvertInterval, adverts: u8) -> Nanos {
    interval_duration(active).times(adverts.into()) + skew(priority, active)
}

/// How many times ours a learned interval is that somebody should know of.
const LONG: u64 = 5;

/// Whether a master's interval is many times ours: RFC 9568 section 6.4.2 has a backup wait for it that long, and anybody
/// who can send an advertisement can say so.
pub fn is_long(theirs: AdvertInterval, ours: AdvertInterval) -> bool {
    interval_duration(theirs) >= interval_duration(ours).times(LONG)
}

/// Whether `theirs` ranks above `ours`: a higher priority, or the same and the greater address,
/// compared unsigned in network order (RFC 9568 section 6.4.3).
pub fn outranks(theirs: (Priority, IpAddr), ours: (Priority, IpAddr)) -> bool {
    (theirs > ours) != (theirs.0 == ours.0 && planted(Fault::TieDecidedWrongly))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v3(centisecs: u16) -> AdvertInterval {
        AdvertInterval::Centisecs(Centisecs(centisecs))
    }

    #[test]
    fn version_3_skew_follows_the_interval() {
        // (256 - 100) x 1 s / 256
        assert_eq!(skew(Priority(100), v3(100)), Nanos(609_375_000));
        assert_eq!(
            master_down_interval(Priority(100), v3(100), DOWN_ADVERTS),
            Nanos(3_609_375_000)
        );
        assert_eq!(skew(Priority(100), v3(1)), Nanos(6_093_750));
        assert_eq!(skew(Priority(254), v3(1)), Nanos(78_125));
        assert_eq!(
            master_down_interval(Priority(1), v3(4095), DOWN_ADVERTS),
            Nanos(163_640_039_062)
        );
    }

    #[test]
    fn version_2_skew_does_not() {
        let interval = AdvertInterval::Secs(5);
        assert_eq!(skew(Priority(100), interval), Nanos(609_375_000));
        assert_eq!(
            master_down_interval(Priority(100), interval, DOWN_ADVERTS),
            Nanos(15_609_375_000)
        );
        assert_eq!(skew(Priority::OWNER, interval), Nanos(3_906_250));
    }

    #[test]
    fn every_priority_waits_longer_than_the_next_higher_one() {
        for interval in [v3(1), v3(4095), AdvertInterval::Secs(1), AdvertInterval::Secs(255)] {
            for priority in 1..=254 {
                assert!(
                    master_down_interval(Priority(priority), interval, DOWN_ADVERTS)
                        > master_down_interval(Priority(priority + 1), interval, DOWN_ADVERTS)
                );
            }
        }
    }

    #[test]
    fn a_zero_interval_is_not_a_zero_wait() {
        assert!(
            master_down_interval(Priority::OWNER, v3(0), DOWN_ADVERTS) > Nanos::from_millis(30)
        );
        assert_eq!(interval_duration(AdvertInterval::Secs(0)), Nanos::from_millis(10));
    }

    #[test]
    fn ties_go_to_the_greater_address_unsigned() {
        let low = (Priority(100), IpAddr::from([10, 0, 0, 1]));
        let high = (Priority(100), IpAddr::from([200, 0, 0, 1]));
        assert!(outranks(high, low));
        assert!(!outranks(low, high));
        assert!(!outranks(low, low));
        assert!(outranks((Priority(101), low.1), high));
    }

    #[test]
    fn a_master_may_miss_more_of_them() {
        let skew = skew(Priority(100), v3(100));
        let down = |adverts| master_down_interval(Priority(100), v3(100), adverts);
        assert_eq!(down(1), Nanos::from_secs(1) + skew);
        assert_eq!(down(DOWN_ADVERTS), Nanos::from_secs(3) + skew);
        assert_eq!(down(100), Nanos::from_secs(100) + skew);
    }
}
