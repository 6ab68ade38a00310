//! When checks run, and what their results mean. Pure.

use crate::engine::time::Nanos;
use crate::engine::types::Health;

/// The longest time over which the first runs are spread: somebody waits for them.
const FIRST: Nanos = Nanos::from_secs(1);

/// What the results of one check mean: `rise` successes in a row for up, `fall` failures in a row for down. As in
/// keepalived, the very first result counts at once, unless the check is assumed to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFilter {
    rise: u32,
    fall: u32,
    /// How far it is towards the other side.
    streak: u32,
    health: Health,
}

impl ResultFilter {
    /// Before the first result.
    pub fn new(rise: u32, fall: u32, init_fail: bool) -> Self {
        let health = if init_fail { Health::Down } else { Health::Unknown };
        Self { rise: rise.max(1), fall: fall.max(1), streak: 0, health }
    }

    /// As it was in the program that was here before.
    pub fn resumed(rise: u32, fall: u32, health: Health, streak: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), streak, health }
    }

    /// How far it is towards the other side.
    pub fn streak(&self) -> u32 {
        self.streak
    }

    /// The same, with another configuration.
    pub fn with(&self, rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), ..self.clone() }
    }

    /// What is known.
    pub fn health(&self) -> Health {
        self.health
    }

    /// A run has ended. The health, when that is news.
    pub fn result(&mut self, success: bool) -> Option<Health> {
        let to = if success { Health::Up } else { Health::Down };
        if to == self.health {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        let needed = match self.health {
            Health::Up => self.fall,
            Health::Down => self.rise,
            Health::Unknown | Health::Value(_) | Health::Disabled => 1,
        };
        if self.streak < needed {
            return None;
        }
        (self.health, self.streak) = (to, 0);
        Some(to)
    }
}

/// When one check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckSchedule {
    interval: Nanos,
    /// The next start.
    due: Nanos,
    /// A moment at which it would start, if it always had.
    phase: Nanos,
}

impl CheckSchedule {
    /// Of check number `index` of `count` with this interval: they start at equal distances, the first time within a
    /// second.
    pub fn new(begin: Nanos, interval: Nanos, index: usize, count: usize) -> Self {
        let interval = interval.max(Nanos::from_millis(1));
        let (index, count) = (index as u64, count.max(1) as u64);
        let part = |span: Nanos| {
            Nanos(
                u64::try_from(u128::from(span.0) * u128::from(index) / u128::from(count))
                    .unwrap_or_default(),
            )
        };
        Self { interval, due: begin + part(interval.min(FIRST)), phase: begin + part(interval) }
    }

    /// When it is due.
    pub fn due(&self) -> Nanos {
        self.due
    }

    /// It was due, and is from now on again.
    pub fn advance(&mut self, now: Nanos) {
        // After the first run, that is at its own place between the others; a pause is not made up for.
        let earliest = now + Nanos(self.interval.0 / 2);
        if self.phase < earliest {
            let missed = (earliest - self.phase).0.div_ceil(self.interval.0);
            self.phase += self.interval.times(missed);
        }
        self.due = self.phase;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(filter: &mut ResultFilter, results: &str) -> Vec<Option<Health>> {
        results.chars().map(|result| filter.result(result == '+')).collect()
    }

    #[test]
    fn rise_and_fall() {
        let (up, down) = (Some(Health::Up), Some(Health::Down));
        let mut filter = ResultFilter::new(2, 3, false);
        assert_eq!(filter.health(), Health::Unknown);
        assert_eq!(judged(&mut filter, "++-+--+"), [up, None, None, None, None, None, None]);
        assert_eq!(judged(&mut filter, "---"), [None, None, down]);
        assert_eq!(judged(&mut filter, "-+-++"), [None, None, None, None, up]);
        assert_eq!(judged(&mut ResultFilter::new(2, 3, false), "-"), [down]);
        let mut failed = ResultFilter::new(2, 3, true);
        assert_eq!(failed.health(), Health::Down);
        assert_eq!(judged(&mut failed, "-++"), [None, None, up]);
    }

    /// The starts of `count` checks within some seconds.
    fn starts(count: usize, interval: Nanos, seconds: u64) -> Vec<Vec<Nanos>> {
        let begin = Nanos::from_secs(100);
        let one = |index| {
            let mut schedule = CheckSchedule::new(begin, interval, index, count);
            let mut starts = Vec::new();
            while schedule.due() < begin + Nanos::from_secs(seconds) {
                starts.push(schedule.due());
                // Late by a millisecond, as it happens.
                schedule.advance(schedule.due() + Nanos::from_millis(1));
            }
            starts
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn starts_are_spread() {
        for interval in [Nanos::from_millis(500), Nanos::from_secs(1), Nanos::from_secs(10)] {
            let all = starts(20, interval, 60);
            let mut first: Vec<Nanos> = all.iter().map(|starts| starts[0]).collect();
            assert!(first.iter().all(|at| *at <= Nanos::from_secs(101)), "{first:?}");
            first.dedup();
            assert_eq!(first.len(), 20);
            for starts in &all {
                for pair in starts.windows(2) {
                    let gap = pair[1] - pair[0];
                    assert!(gap >= Nanos(interval.0 / 2) && gap <= Nanos(interval.0 * 3 / 2 + 1));
                }
                for pair in starts[1..].windows(2) {
                    assert_eq!(pair[1] - pair[0], interval, "exact from the second on");
                }
            }
            let mut second: Vec<u64> = all
                .iter()
                .map(|starts| (starts[2].0 - Nanos::from_secs(100).0) % interval.0)
                .collect();
            second.sort_unstable();
            second.dedup();
            assert_eq!(second.len(), 20, "each has its own place");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut schedule = CheckSchedule::new(Nanos::from_secs(100), Nanos::from_secs(1), 0, 1);
        schedule.advance(Nanos::from_secs(500));
        assert_eq!(schedule.due(), Nanos::from_secs(501));
    }
}
