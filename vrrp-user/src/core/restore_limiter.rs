//! How often what somebody else takes away is put back.
//!
//! One removal is an accident. Many of them are another program that believes the address, route or rule to be its
//! own, and who answers each removal at once takes part in a fight that nobody wins. Then it is left to the
//! next retry, and said so.

use std::collections::HashMap;
use std::hash::Hash;

use crate::engine::time::Nanos;
use crate::engine::types::RouterId;

/// So many are put back at once within [`PERIOD`].
const BURST: u32 = 5;
/// The time in which they are counted.
const PERIOD: Nanos = Nanos::from_secs(10);
/// For how long a fight is one after the last removal.
const OVER: Nanos = Nanos::from_secs(60);

/// When to put something back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// With the next retry, because it happens too often.
    Later {
        /// Whether that is new.
        first: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Removals {
    /// The first one of the present period.
    since: Nanos,
    /// In that period.
    recent: u32,
    last: Nanos,
    all: u64,
    /// The last time at which there were too many.
    fought: Option<Nanos>,
}

/// Who had something taken away: a router, an interface.
#[derive(Debug)]
pub struct RestoreLimiter<Of> {
    of: HashMap<Of, Removals>,
}

impl<Of> Default for RestoreLimiter<Of> {
    fn default() -> Self {
        Self { of: HashMap::new() }
    }
}

impl<Of: Eq + Hash> RestoreLimiter<Of> {
    /// Something was taken away, and is to be put back.
    pub fn removed(&mut self, of: Of, now: Nanos) -> When {
        let removals = self.of.entry(of).or_insert(Removals {
            since: now,
            recent: 0,
            last: now,
            all: 0,
            fought: None,
        });
        if now >= removals.since + PERIOD {
            removals.since = now;
            removals.recent = 0;
        }
        removals.recent = removals.recent.saturating_add(1);
        removals.all += 1;
        removals.last = now;
        if removals.recent <= BURST {
            return When::Now;
        }
        let first = removals.fought.is_none_or(|last| now >= last + OVER);
        removals.fought = Some(now);
        When::Later { first }
    }

    /// It is gone.
    pub fn forget(&mut self, of: &Of) {
        self.of.remove(of);
    }

    /// How often something was taken away.
    pub fn removals(&self, of: &Of) -> u64 {
        self.of.get(of).map_or(0, |removals| removals.all)
    }

    /// A fight that goes on: how often something was taken away, and how long ago the last time was.
    pub fn going_on(&self, of: &Of, now: Nanos) -> Option<(u64, Nanos)> {
        let Removals { last, all, fought, .. } = *self.of.get(of)?;
        fought.filter(|fought| now < *fought + OVER)?;
        Some((all, now - last))
    }
}

/// Of routers; `None` is what is there whoever is master.
impl RestoreLimiter<Option<RouterId>> {
    /// What is to be said about a fight that goes on.
    pub fn problem(&self, of: Option<RouterId>, now: Nanos) -> Option<String> {
        let (all, ago) = self.going_on(&of, now)?;
        let ago = ago.as_secs_f64();
        Some(format!(
            "another program keeps removing what belongs here: {all} times, the last one {ago:.0} s ago; it is put \
             back every few seconds (`ip monitor address route rule` shows what happens; see \"When something is \
             removed\" in docs/configuration.md)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_noticed_and_ends() {
        let mut limiter = RestoreLimiter::default();
        let router = Some(RouterId(7));
        let at = |seconds| Nanos::from_secs(seconds);
        for _ in 0..BURST {
            assert_eq!(limiter.removed(router, at(100)), When::Now);
        }
        assert_eq!(limiter.problem(router, at(100)), None);
        assert_eq!(limiter.removed(router, at(101)), When::Later { first: true });
        assert_eq!(limiter.removed(router, at(102)), When::Later { first: false });
        assert_eq!(limiter.removed(None, at(102)), When::Now);
        assert!(
            limiter.problem(router, at(104)).unwrap().contains("7 times, the last one 2 s ago")
        );
        // The next period has a burst of its own.
        assert_eq!(limiter.removed(router, at(111)), When::Now);
        assert_eq!(limiter.removals(&router), 8);
        assert_eq!(limiter.problem(router, at(163)), None);
        for _ in 0..BURST {
            limiter.removed(router, at(200));
        }
        assert_eq!(limiter.removed(router, at(200)), When::Later { first: true });
    }

    #[test]
    fn now_and_then_is_no_fight() {
        let mut limiter = RestoreLimiter::default();
        for minute in 1..20 {
            assert_eq!(limiter.removed(None, Nanos::from_secs(60 * minute)), When::Now);
        }
        assert_eq!(limiter.problem(None, Nanos::from_secs(1_201)), None);
    }
}
