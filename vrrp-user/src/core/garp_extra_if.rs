//! When addresses on other interfaces than their router's are announced anew: `garp_extra_if all`. A router advertises on
//! its own interface, and switches learn from that where it is; on others nothing but this keeps them from forgetting.
//!
//! Pure: it is told the time and who is master.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::time::Nanos;
use crate::engine::types::RouterId;

/// The routers with this setting; of most configurations none.
#[derive(Debug, Default)]
pub struct GarpExtraIf {
    /// The period, and when the next time is, if the router is master.
    routers: BTreeMap<RouterId, (Nanos, Option<Nanos>)>,
    agenda: BTreeSet<(Nanos, RouterId)>,
}

impl GarpExtraIf {
    /// A router has this period from now on; zero for never. What is due earlier stays so.
    pub fn configure(&mut self, now: Nanos, id: RouterId, period: Nanos, is_master: bool) {
        let before = self.end(id);
        self.routers.remove(&id);
        if period > Nanos::ZERO {
            self.routers.insert(id, (period, None));
            if is_master {
                self.set(id, before.map_or(now + period, |at| at.min(now + period)));
            }
        }
    }

    /// A router is master from now on.
    pub fn begin(&mut self, now: Nanos, id: RouterId) {
        if let Some((period, _)) = self.routers.get(&id) {
            self.set(id, now + *period);
        }
    }

    /// A router is not master any more. When the next time would have been.
    pub fn end(&mut self, id: RouterId) -> Option<Nanos> {
        let at = self.routers.get_mut(&id)?.1.take()?;
        self.agenda.remove(&(at, id));
        Some(at)
    }

    fn set(&mut self, id: RouterId, at: Nanos) {
        self.end(id);
        if let Some((_, next)) = self.routers.get_mut(&id) {
            *next = Some(at);
            self.agenda.insert((at, id));
        }
    }

    /// When [`Self::due`] is to be asked.
    pub fn next(&self) -> Option<Nanos> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// A router whose time has come. Its next time is a period later.
    pub fn due(&mut self, now: Nanos) -> Option<RouterId> {
        let (_, id) = self.agenda.first().copied().filter(|(at, _)| *at <= now)?;
        self.begin(now, id);
        Some(id)
    }

    /// The period of a router; zero for never.
    pub fn period(&self, id: RouterId) -> Nanos {
        self.routers.get(&id).map_or(Nanos::ZERO, |(period, _)| *period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RouterId = RouterId(3);
    const B: RouterId = RouterId(4);

    fn secs(secs: u64) -> Nanos {
        Nanos::from_secs(secs)
    }

    #[test]
    fn masters_repeat_with_their_period() {
        let mut extra_if = GarpExtraIf::default();
        extra_if.configure(secs(1), A, secs(10), false);
        extra_if.configure(secs(1), B, Nanos::ZERO, false);
        extra_if.begin(secs(2), B);
        assert_eq!(extra_if.next(), None);
        extra_if.begin(secs(2), A);
        assert_eq!((extra_if.next(), extra_if.due(secs(11))), (Some(secs(12)), None));
        assert_eq!((extra_if.due(secs(13)), extra_if.due(secs(13))), (Some(A), None));
        assert_eq!(extra_if.next(), Some(secs(23)));
        extra_if.end(A);
        assert_eq!((extra_if.next(), extra_if.agenda.len()), (None, 0));
    }

    #[test]
    fn a_new_period_counts_from_now_unless_the_old_one_ends_before() {
        let mut extra_if = GarpExtraIf::default();
        extra_if.configure(secs(1), A, secs(10), false);
        extra_if.begin(secs(1), A);
        extra_if.configure(secs(2), A, secs(3), true);
        assert_eq!(extra_if.next(), Some(secs(5)));
        extra_if.configure(secs(3), A, secs(100), true);
        assert_eq!((extra_if.next(), extra_if.period(A)), (Some(secs(5)), secs(100)));
        assert_eq!(extra_if.due(secs(5)), Some(A));
        assert_eq!(extra_if.next(), Some(secs(105)));
        extra_if.configure(secs(6), A, Nanos::ZERO, true);
        assert_eq!((extra_if.next(), extra_if.agenda.len()), (None, 0));
        extra_if.configure(secs(7), A, secs(2), true);
        assert_eq!(extra_if.next(), Some(secs(9)));
    }
}
