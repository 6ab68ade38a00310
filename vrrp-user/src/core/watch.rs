//! Split brain: the addresses that we hold as master and that another host claims at the same time.
//!
//! The kernel side reports ARP by which a foreign Ethernet address claims an address in `HELD4`. Here is what has
//! come of these reports: a conflict begins with the first one, and while it stands, whoever has the address is
//! asked now and then (an ARP probe, which changes nobody's tables), so that silence means that it is over.

use std::collections::BTreeMap;

use super::interface_id::InterfaceAddr;
use crate::engine::time::Nanos;
use crate::engine::types::{ConflictEnd, Notice, RouterId};
use crate::wire::ethernet::{Colons, Mac};

/// A conflict is over when nothing was heard of it for so long.
const PATIENCE: Nanos = Nanos::from_secs(10);
/// How often the other hosts are asked while there are conflicts.
const ROUND: Nanos = Nanos::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct Conflict {
    router: RouterId,
    mac: Mac,
    since: Nanos,
    last_seen: Nanos,
    /// The other host has not answered the last question, and the address was announced.
    announced: bool,
}

/// All conflicts. Empty as long as nothing is wrong.
#[derive(Default)]
pub struct Watch {
    conflicts: BTreeMap<InterfaceAddr, Conflict>,
    /// When all of them are looked at again; `None` when there are none.
    round: Option<Nanos>,
}

/// What is to be done in a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Addresses to ask for.
    pub ask: Vec<InterfaceAddr>,
    /// What another host told the neighbours that it has, and does not answer for any more: it has given way, and
    /// they must be told where the address is.
    pub announce: Vec<(RouterId, InterfaceAddr)>,
    /// Conflicts that are over.
    pub over: Vec<(RouterId, Notice)>,
}

impl Watch {
    /// Another host claims an address that we hold. The notice, when that is news.
    pub fn claimed(
        &mut self,
        router: RouterId,
        place: InterfaceAddr,
        mac: Mac,
        at: Nanos,
    ) -> Option<Notice> {
        if let Some(known) = self.conflicts.get_mut(&place) {
            // The latest of several is named; that there are two is what matters.
            known.mac = mac;
            known.last_seen = at;
            known.announced = false;
            return None;
        }
        self.conflicts
            .insert(place, Conflict { router, mac, since: at, last_seen: at, announced: false });
        self.round.get_or_insert(at + ROUND);
        Some(Notice::AddressConflict { address: place.address, mac })
    }

    /// We hold the address no more: that another host does is no conflict. The notice, when it was one.
    pub fn released(&mut self, place: InterfaceAddr) -> Option<Notice> {
        let conflict = self.conflicts.remove(&place)?;
        Some(over(place, &conflict, ConflictEnd::NotMaster))
    }

    /// How many addresses of a router another host claims.
    pub fn count(&self, router: RouterId) -> usize {
        self.conflicts.values().filter(|conflict| conflict.router == router).count()
    }

    /// When [`Self::due`] has something to say.
    pub fn next(&self) -> Option<Nanos> {
        self.round
    }

    /// When a round is due: whom to ask, and what is over.
    pub fn due(&mut self, now: Nanos) -> Due {
        let mut due = Due::default();
        if self.round.is_none_or(|at| now < at) {
            return due;
        }
        let silent =
            self.conflicts.extract_if(.., |_, conflict| now >= conflict.last_seen + PATIENCE);
        for (place, conflict) in silent {
            due.over.push((conflict.router, over(place, &conflict, ConflictEnd::Silent)));
        }
        for (place, conflict) in &mut self.conflicts {
            // It was asked a round ago.
            if now >= conflict.last_seen + ROUND + ROUND && !conflict.announced {
                conflict.announced = true;
                due.announce.push((conflict.router, *place));
            }
        }
        due.ask.extend(self.conflicts.keys());
        self.round = (!due.ask.is_empty()).then(|| now + ROUND);
        due
    }

    /// What `status` says of an address. `interface` is the name of the one that it is on.
    pub fn problem(&self, place: InterfaceAddr, interface: &str, now: Nanos) -> Option<String> {
        let conflict = self.conflicts.get(&place)?;
        Some(format!(
            "split brain: {} also claims {} on {interface} (for {:.0} s, last heard {:.1} s ago): another host is \
             master too, or was given the address by mistake; let IP protocol 112 pass between the hosts, and \
             compare VRID, version and password (`vrrp-user doctor`)",
            Colons(conflict.mac),
            place.address,
            (now - conflict.since).as_secs_f64(),
            (now - conflict.last_seen).as_secs_f64(),
        ))
    }
}

fn over(place: InterfaceAddr, conflict: &Conflict, end: ConflictEnd) -> Notice {
    Notice::AddressConflictOver { address: place.address, mac: conflict.mac, end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::InterfaceId;

    const R: RouterId = RouterId(3);
    const MAC: Mac = [2, 0, 0, 0, 0, 2];

    fn vip() -> InterfaceAddr {
        InterfaceAddr { iface: InterfaceId::own(2), address: "10.0.0.100".parse().unwrap() }
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
        assert_eq!((watch.count(R), watch.count(RouterId(R.0 + 1))), (1, 0));
        let mut ended = Vec::new();
        let mut asked = Vec::new();
        // An answer to the first question, then silence.
        for _ in 0..100 {
            let Some(next) = watch.next() else { break };
            assert_eq!(watch.due(Nanos(next.0 - 1)), Due::default());
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
        assert_eq!(watch.released(InterfaceAddr { iface: InterfaceId::own(3), ..vip() }), None);
        assert_eq!(watch.released(vip()), Some(over(ConflictEnd::NotMaster)));
        assert_eq!(watch.released(vip()), None);
        assert_eq!(watch.due(at(101_000)), Due::default());
        assert_eq!(watch.next(), None);
    }

    #[test]
    fn the_problem_names_the_other_host() {
        let mut watch = Watch::default();
        watch.claimed(R, vip(), MAC, at(1000));
        watch.claimed(R, vip(), MAC, at(3500));
        let line = watch.problem(vip(), "eth0", at(4000)).unwrap();
        let begin = "split brain: 02:00:00:00:00:02 also claims 10.0.0.100 on eth0 (for 3 s, last heard 0.5 s ago)";
        assert!(line.starts_with(begin), "{line}");
        assert_eq!(
            watch.problem(InterfaceAddr { iface: InterfaceId::own(3), ..vip() }, "eth0", at(4000)),
            None
        );
    }
}
