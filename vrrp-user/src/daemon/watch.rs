//! Split brain: the addresses that we hold as master and that another host claims at the same time.
//!
//! The kernel side reports ARP by which a foreign Ethernet address claims an address in `HELD4`. Here is what has
//! come of these reports: a conflict begins with the first one, and while it stands, whoever has the address is
//! asked now and then (an ARP probe, which changes nobody's tables), so that silence means that it is over.

use std::collections::BTreeMap;

use super::addresses::Place;
use crate::engine::time::Nanos;
use crate::engine::types::{ConflictEnd, Notice, RouterId};
use crate::wire::ethernet::{Colons, Mac};

/// A conflict is over when nothing was heard of it for so long.
pub const PATIENCE: Nanos = Nanos::from_secs(10);
/// How often the other host is asked while a conflict stands.
const ASK_EVERY: Nanos = Nanos::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct Conflict {
    router: RouterId,
    mac: Mac,
    since: Nanos,
    heard: Nanos,
    asked: Nanos,
}

/// All conflicts. Empty as long as nothing is wrong.
#[derive(Default)]
pub struct Watch {
    conflicts: BTreeMap<Place, Conflict>,
}

/// What is to be done at a moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Addresses to ask for.
    pub ask: Vec<Place>,
    /// Conflicts that are over.
    pub over: Vec<(RouterId, Notice)>,
}

impl Watch {
    /// Another host claims an address that we hold. The notice, when that is news.
    pub fn claimed(
        &mut self,
        router: RouterId,
        place: Place,
        mac: Mac,
        at: Nanos,
    ) -> Option<Notice> {
        if let Some(known) = self.conflicts.get_mut(&place) {
            // The latest of several is named; that there are two is what matters.
            known.mac = mac;
            known.heard = at;
            return None;
        }
        let conflict = Conflict { router, mac, since: at, heard: at, asked: at };
        self.conflicts.insert(place, conflict);
        Some(Notice::AddressConflict { address: place.address, mac })
    }

    /// The router is master no more: what it held is no conflict.
    pub fn released(&mut self, router: RouterId) -> Vec<Notice> {
        let gone = self.conflicts.extract_if(.., |_, conflict| conflict.router == router);
        gone.map(|(place, conflict)| over(place, &conflict, ConflictEnd::NotMaster)).collect()
    }

    /// When [`Self::due`] has something to say.
    pub fn next(&self) -> Option<Nanos> {
        self.conflicts.values().map(Conflict::next).min()
    }

    /// Whom to ask now, and what is over.
    pub fn due(&mut self, now: Nanos) -> Due {
        let mut due = Due::default();
        let silent = self.conflicts.extract_if(.., |_, conflict| now >= conflict.heard + PATIENCE);
        for (place, conflict) in silent {
            due.over.push((conflict.router, over(place, &conflict, ConflictEnd::Silent)));
        }
        for (place, conflict) in &mut self.conflicts {
            if now >= conflict.asked + ASK_EVERY {
                conflict.asked = now;
                due.ask.push(*place);
            }
        }
        due
    }

    /// What `status` says of a router. `name` is that of an interface.
    pub fn problems<'a>(
        &'a self,
        router: RouterId,
        now: Nanos,
        name: impl Fn(u32) -> String + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let of = self.conflicts.iter().filter(move |(_, conflict)| conflict.router == router);
        of.map(move |(place, conflict)| {
            format!(
                "split brain: {} also claims {} on {} (for {:.0} s, last heard {:.1} s ago): another host is \
                 master too, or was given the address by mistake; let IP protocol 112 pass between the hosts, and \
                 compare VRID, version and password (`vrrp-user doctor`)",
                Colons(conflict.mac),
                place.address,
                name(place.ifindex),
                (now - conflict.since).as_secs_f64(),
                (now - conflict.heard).as_secs_f64(),
            )
        })
    }
}

impl Conflict {
    fn next(&self) -> Nanos {
        (self.heard + PATIENCE).min(self.asked + ASK_EVERY)
    }
}

fn over(place: Place, conflict: &Conflict, end: ConflictEnd) -> Notice {
    Notice::AddressConflictOver { address: place.address, mac: conflict.mac, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: RouterId = RouterId(3);
    const MAC: Mac = [2, 0, 0, 0, 0, 2];

    fn vip() -> Place {
        Place { ifindex: 2, address: "10.0.0.100".parse().unwrap() }
    }

    fn at(millis: u64) -> Nanos {
        Nanos::from_millis(millis)
    }

    #[test]
    fn begins_once_and_ends_once() {
        let mut watch = Watch::default();
        assert_eq!(watch.next(), None);
        let begun = Notice::AddressConflict { address: vip().address, mac: MAC };
        assert_eq!(watch.claimed(R, vip(), MAC, at(1000)), Some(begun));
        assert_eq!(watch.claimed(R, vip(), MAC, at(1500)), None);
        let mut ended = Vec::new();
        let mut asked = Vec::new();
        // An answer to the first question, then silence.
        for _ in 0..100 {
            let Some(next) = watch.next() else { break };
            let due = watch.due(next);
            if !due.ask.is_empty() && asked.is_empty() {
                assert_eq!(watch.claimed(R, vip(), MAC, next), None);
            }
            asked.extend(due.ask.iter().map(|_| next));
            ended.extend(due.over.into_iter().map(|over| (next, over)));
        }
        let over = |end| Notice::AddressConflictOver { address: vip().address, mac: MAC, end };
        assert_eq!(asked, [3000, 5000, 7000, 9000, 11000].map(at));
        assert_eq!(ended, [(at(13000), (R, over(ConflictEnd::Silent)))]);
        assert_eq!(watch.due(at(99_000)), Due::default());
        // And the next one is news again.
        assert!(watch.claimed(R, vip(), MAC, at(99_000)).is_some());
        assert_eq!(watch.released(RouterId(4)), []);
        assert_eq!(watch.released(R), [over(ConflictEnd::NotMaster)]);
        assert_eq!(watch.next(), None);
    }

    #[test]
    fn the_problem_names_the_other_host() {
        let mut watch = Watch::default();
        watch.claimed(R, vip(), MAC, at(1000));
        watch.claimed(R, vip(), MAC, at(3500));
        let name = |ifindex| format!("eth{ifindex}");
        let lines: Vec<String> = watch.problems(R, at(4000), name).collect();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let begin = "split brain: 02:00:00:00:00:02 also claims 10.0.0.100 on eth2 (for 3 s, last heard 0.5 s ago)";
        assert!(line.starts_with(begin), "{line}");
        assert_eq!(watch.problems(RouterId(4), at(4000), name).count(), 0);
    }
}
