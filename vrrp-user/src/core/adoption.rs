//! Adoption: a daemon that starts goes on where another one of its instance was killed, by what that has left pinned, which is
//! all that a running daemon is besides its configuration. Decided here: whether those pins may be used at all, which router of
//! the configuration is which of them, and which of those that were master go on as that. The rest begins as it would without
//! anything pinned, and nothing that a new master has is touched.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use vrrp_common::lease::Terms;
use vrrp_common::maps::{Control, HmacKeyId, Lease, PeerKey, RouterInfo, capture, state};

use super::capacity::{Needs, Sizes};
use super::interface_id::RouterPlace;
use super::{Core, InterfaceAddr};
use crate::config::model::RouterConfig;
use crate::engine::adoption::{Adopted, NotAdopted};
use crate::engine::time::Nanos;
use crate::engine::types::{Priority, RouterId, RouterSpec};
use crate::types::build;
use crate::types::netns;
use crate::types::planted::{Fault, planted};
use crate::wire::family::to_field;

/// A daemon that has adopted another one's pins and is killed within this time is not adopted: what it goes on with may be
/// what kills it.
const AGAIN: Nanos = Nanos::from_secs(60);

/// What is to be known of pins before they are used.
#[derive(Clone, Debug)]
pub struct PinFacts {
    /// The user that one of them belongs to, if that is not this daemon's.
    pub other_owner: Option<u32>,
    /// A map that is not there, or is no such map as it should be.
    pub unusable: Option<&'static str>,
    /// What the daemon has said of itself.
    pub control: Control,
    /// The network namespace of this one ([`Control::namespace`]).
    pub namespace: u64,
    /// For how much there is room.
    pub sizes: Sizes,
}

/// Why the pins of a daemon that was killed are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Somebody else may have written there.
    #[error("they belong to the user {0}")]
    OtherOwner(u32),
    /// It did not come to the end of pinning them, or somebody has removed some.
    #[error("{0} is missing among them, or is another map than it should be")]
    Incomplete(&'static str),
    /// It did not come to say who it is.
    #[error("the daemon was killed before it was ready")]
    Unready,
    /// Another version made them.
    #[error(
        "they were made by another version of the daemon (layout {0}, ours is {ours})",
        ours = build::abi_version()
    )]
    Abi(u32),
    /// The numbers of interfaces mean others here.
    #[error("the daemon ran in another network namespace")]
    OtherNamespace,
    /// What it said cannot be.
    #[error("what stands in CONTROL makes no sense: {0}")]
    Nonsense(&'static str),
    /// It was killed twice.
    #[error("the daemon has adopted another one {0} ago, and was killed again")]
    KilledAgain(Nanos),
    /// The configuration needs more.
    #[error("the configuration has more {0} than there is room for")]
    NoRoom(&'static str),
}

impl PinFacts {
    /// Whether the pins may be used. Errors: why not.
    pub fn check(&self, now: Nanos, needs: Needs) -> Result<(), Unusable> {
        let Self { other_owner, unusable, control, namespace, sizes } = self;
        let (started, adopted) = (Nanos(control.started_ns), Nanos(control.adopted_ns));
        if let Some(user) = other_owner {
            return Err(Unusable::OtherOwner(*user));
        }
        // Another one has other maps.
        if ![0, build::abi_version()].contains(&control.abi_version) {
            return Err(Unusable::Abi(control.abi_version));
        }
        if let Some(name) = unusable {
            return Err(Unusable::Incomplete(name));
        }
        if control.abi_version == 0 {
            return Err(Unusable::Unready);
        }
        if control.namespace != *namespace {
            return Err(Unusable::OtherNamespace);
        }
        let nonsense = [
            (control.pid == 0, "a daemon that is no process"),
            (started == Nanos::ZERO, "a daemon that has not started"),
            (started > now, "a daemon that started in the future"),
            (adopted > now, "a daemon that has adopted another one in the future"),
        ];
        if let Some((_, what)) = nonsense.into_iter().find(|(is_so, _)| *is_so) {
            return Err(Unusable::Nonsense(what));
        }
        if adopted > Nanos::ZERO && now - adopted < AGAIN && !planted(Fault::AdoptedAgain) {
            return Err(Unusable::KilledAgain(now - adopted));
        }
        match sizes.lacking(needs).next() {
            Some((what, ..)) => Err(Unusable::NoRoom(what)),
            None => Ok(()),
        }
    }
}

/// What is pinned of one router.
#[derive(Clone, Copy, Debug)]
pub struct PinnedRouter {
    /// Its place in the maps.
    pub number: RouterId,
    /// What the daemon said of it.
    pub info: RouterInfo,
    /// Its lease.
    pub lease: Lease,
    /// Whether its interface is still the one of that name.
    pub same_interface: bool,
}

/// A daemon that was killed, whose pins are used.
#[derive(Clone, Debug)]
pub struct Predecessor {
    /// Its process.
    pub pid: u32,
    /// Since when its counters count.
    pub started: Nanos,
    /// Its routers.
    pub routers: Vec<PinnedRouter>,
    /// When that was read.
    pub read_at: Nanos,
    /// The same time on the clock of leases.
    pub boot: Nanos,
}

impl Predecessor {
    /// Which of its routers each of a configuration is. None of two of them is the same.
    pub fn matches(&self, routers: &[RouterConfig]) -> Vec<Option<&PinnedRouter>> {
        let mut known: HashMap<(Option<&str>, &str, u8, u8), &PinnedRouter> = HashMap::new();
        for pinned in &self.routers {
            let info = &pinned.info;
            let netns = Some(info.netns()).filter(|netns| !netns.is_empty());
            known.insert((netns, info.interface(), info.vrid, info.family), pinned);
        }
        let mut found = Vec::with_capacity(routers.len());
        for router in routers {
            let (netns, interface) = netns::split(&router.interface);
            let identity = (netns, interface, router.vrid.get(), router.family().number());
            found.push(known.remove(&identity));
        }
        found
    }

    /// What becomes of a router that was master; `None` for one that was none.
    fn evaluate_one(
        &self,
        pinned: &PinnedRouter,
        spec: &RouterSpec,
    ) -> Option<Result<Adopted, NotAdopted>> {
        let PinnedRouter { info, lease, same_interface, .. } = pinned;
        if info.state != state::MASTER || planted(Fault::UpgradeForgets) {
            return None;
        }
        let version = spec.interval.version().number();
        let terms = Terms::unpack(lease.terms);
        let refreshed = lease.since();
        let length = match terms.length_ns {
            // Nobody fences it, and its lease is as long as that of all others.
            0 => Terms::new(terms.mode, spec.interval.duration().0, spec.down_adverts).length_ns,
            length => length,
        };
        let silence = self.boot - Nanos(refreshed);
        let over = silence > Nanos(length) && !planted(Fault::AdoptedTooLate);
        let refused = if info.version != version {
            NotAdopted::OtherVersion
        } else if !same_interface {
            NotAdopted::OtherInterface
        } else if info.capture == capture::RAW {
            NotAdopted::Raw
        } else if terms.ended {
            NotAdopted::Resigned
        } else if lease.is_lifted() {
            NotAdopted::Lifted
        } else if lease.is_fenced() {
            NotAdopted::Fenced
        } else if lease.claimed.max(lease.outranked) > refreshed && !planted(Fault::AdoptedInSpite)
        {
            NotAdopted::Claimed
        } else if refreshed == 0 || refreshed > self.boot.0 || over {
            NotAdopted::Expired { silence }
        } else {
            let last_advert = self.read_at - silence;
            return Some(Ok(Adopted {
                priority: Priority(info.priority),
                since: Nanos(info.since_ns),
                last_advert,
                until: last_advert + Nanos(length),
            }));
        };
        Some(Err(refused))
    }

    /// What becomes of the routers of a configuration that were master. A sync group goes on as a whole, or not at all.
    pub fn evaluate(&self, routers: &[RouterConfig], specs: &[RouterSpec]) -> Judgement {
        let matches = self.matches(routers);
        let mut numbers = Vec::with_capacity(routers.len());
        let used: BTreeSet<RouterId> = matches.iter().flatten().map(|it| it.number).collect();
        let mut free = (0..).map(RouterId).filter(|number| !used.contains(number));
        for found in &matches {
            numbers.extend(found.map(|it| it.number).or_else(|| free.next()));
        }
        let mut masters: BTreeMap<RouterId, Result<Adopted, NotAdopted>> = BTreeMap::new();
        let mut groups: BTreeMap<_, Vec<RouterId>> = BTreeMap::new();
        for ((&number, found), spec) in numbers.iter().zip(&matches).zip(specs) {
            if let Some(group) = spec.group {
                groups.entry(group).or_default().push(number);
            }
            let verdict = found.and_then(|pinned| self.evaluate_one(pinned, spec));
            masters.extend(verdict.map(|verdict| (number, verdict)));
        }
        for members in groups.into_values() {
            let adopted = |id: &RouterId| masters.get(id).copied().and_then(Result::ok);
            let until = members.iter().filter_map(|id| Some(adopted(id)?.until)).min();
            let other = members.iter().copied().find(|id| adopted(id).is_none());
            for id in &members {
                if let Some(Ok(adopted)) = masters.get(id).copied() {
                    let until = until.unwrap_or(adopted.until);
                    let verdict = match other {
                        Some(other) => Err(NotAdopted::Member(other)),
                        None => Ok(Adopted { until, ..adopted }),
                    };
                    masters.insert(*id, verdict);
                }
            }
        }
        let infos = matches.into_iter().map(|found| found.map(|pinned| pinned.info)).collect();
        Judgement { numbers, infos, masters }
    }
}

/// What becomes of the routers of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// The number of each, in the order of the configuration.
    pub numbers: Vec<RouterId>,
    /// What is pinned of each, in that order.
    pub infos: Vec<Option<RouterInfo>>,
    /// Those that were master: how they go on, or why not.
    pub masters: BTreeMap<RouterId, Result<Adopted, NotAdopted>>,
}

impl Core {
    /// By what routers are known to the kernel side, of which addresses packets are counted, and which peers are heard.
    pub fn keys(&self) -> (HashSet<RouterPlace>, BTreeSet<InterfaceAddr>, HashSet<PeerKey>) {
        let routers = self.ids().filter_map(|id| self.router(id).registration(id));
        let addresses = self.ids().flat_map(|id| self.interface_addrs(id));
        let peers = self.ids().flat_map(|id| {
            let allowed = self.router(id).allowed();
            allowed.map(move |(peer, _)| PeerKey { slot: id.0, source: to_field(peer) })
        });
        (
            routers.map(|(key, _)| key).collect(),
            addresses.map(|(at, _)| at).collect(),
            peers.collect(),
        )
    }
}

impl Core {
    /// By which keys signatures are checked.
    pub fn hmac_key_ids(&self) -> HashSet<HmacKeyId> {
        let of = |id: RouterId| {
            let keys = self.router(id).hmac_keys();
            keys.map(move |(key, _)| HmacKeyId::new(id.0, key.get()))
        };
        self.ids().flat_map(of).collect()
    }
}

impl Judgement {
    /// Of as many routers, where nothing is adopted.
    pub fn none(routers: usize) -> Self {
        let numbers = (0..u32::try_from(routers).unwrap_or(u32::MAX)).map(RouterId).collect();
        Self { numbers, infos: vec![None; routers], masters: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use vrrp_common::lease::FenceMode;

    use super::*;
    use crate::config;
    use crate::core::router::RouterRuntime;
    use crate::engine::types::GroupId;

    const SECOND: u64 = 1_000_000_000;
    /// On both clocks.
    const NOW: Nanos = Nanos::from_secs(1000);
    const STARTED: Nanos = Nanos::from_secs(500);

    fn routers(count: u8) -> Vec<RouterConfig> {
        let router = |vrid| {
            format!(
                "[[router]]\nname = \"R{vrid}\"\ninterface = \"eth0\"\nvrid = {vrid}\nversion = 3\n\
                 addresses = [\"10.0.0.{vrid}/24\"]\n"
            )
        };
        config::load_toml(&(1..=count).map(router).collect::<String>()).unwrap().routers
    }

    fn specs(routers: &[RouterConfig]) -> Vec<RouterSpec> {
        routers.iter().map(|router| RouterRuntime::new(router, 0, "eth0".into()).1).collect()
    }

    /// A master that advertised half a second ago, at that place.
    fn master(number: u32, vrid: u8) -> PinnedRouter {
        let mut info = RouterInfo {
            state: state::MASTER,
            vrid,
            priority: 90,
            version: 3,
            family: vrrp_common::FAMILY_V4,
            since_ns: 7,
            capture: capture::NATIVE,
            ..RouterInfo::zeroed()
        };
        info.set_name("R");
        info.set_interface("eth0");
        let lease = Lease {
            term: NOW.0 - 60 * SECOND,
            renewed: NOW.0 - SECOND / 2,
            terms: Terms::new(FenceMode::Claim, SECOND, 3).pack(),
            ..Lease::default()
        };
        PinnedRouter { number: RouterId(number), info, lease, same_interface: true }
    }

    fn predecessor(routers: Vec<PinnedRouter>) -> Predecessor {
        Predecessor { pid: 7, started: STARTED, routers, read_at: NOW, boot: NOW }
    }

    fn verdict(pinned: PinnedRouter) -> Option<Result<Adopted, NotAdopted>> {
        let routers = routers(1);
        let verdicts = predecessor(vec![pinned]).evaluate(&routers, &specs(&routers)).masters;
        verdicts.into_values().next()
    }

    #[test]
    fn who_advertised_of_late_goes_on() {
        let last_advert = NOW - Nanos::from_millis(500);
        let adopted = Adopted {
            priority: Priority(90),
            since: Nanos(7),
            last_advert,
            until: last_advert + Nanos::from_secs(3),
        };
        assert_eq!(verdict(master(0, 1)), Some(Ok(adopted)));
        // Nobody fences it: the lease is that of its configuration.
        let mut off = master(0, 1);
        (off.lease.term, off.lease.terms) = (0, 0);
        assert_eq!(verdict(off), Some(Ok(adopted)));
    }

    #[test]
    fn who_was_no_master_begins_as_usual() {
        let mut backup = master(0, 1);
        backup.info.state = state::BACKUP;
        assert_eq!(verdict(backup), None);
        assert_eq!(verdict(master(0, 2)), None, "another router");
    }

    #[test]
    fn why_a_master_does_not_go_on() {
        let refused = |change: &dyn Fn(&mut PinnedRouter)| {
            let mut pinned = master(0, 1);
            change(&mut pinned);
            verdict(pinned).unwrap().unwrap_err()
        };
        let silence = Nanos(3 * SECOND + 1);
        assert_eq!(
            refused(&|it| it.lease.renewed = (NOW - silence).0),
            NotAdopted::Expired { silence }
        );
        // A page with nonsense.
        assert!(matches!(refused(&|it| it.lease.renewed = u64::MAX), NotAdopted::Expired { .. }));
        assert_eq!(refused(&|it| it.lease.claimed = it.lease.renewed + 1), NotAdopted::Claimed);
        assert_eq!(refused(&|it| it.lease.outranked = it.lease.renewed + 1), NotAdopted::Claimed);
        assert_eq!(refused(&|it| it.lease.fenced = it.lease.term), NotAdopted::Fenced);
        assert_eq!(refused(&|it| it.lease.lifted = it.lease.term), NotAdopted::Lifted);
        let ended = Terms { ended: true, ..Terms::new(FenceMode::Claim, SECOND, 3) };
        assert_eq!(refused(&|it| it.lease.terms = ended.pack()), NotAdopted::Resigned);
        assert_eq!(refused(&|it| it.same_interface = false), NotAdopted::OtherInterface);
        assert_eq!(refused(&|it| it.info.version = 2), NotAdopted::OtherVersion);
        assert_eq!(refused(&|it| it.info.capture = capture::RAW), NotAdopted::Raw);
        // A claim that was answered by an advertisement is none.
        let mut answered = master(0, 1);
        answered.lease.claimed = answered.lease.renewed - 1;
        assert!(verdict(answered).unwrap().is_ok());
    }

    #[test]
    fn a_group_goes_on_as_a_whole_or_not_at_all() {
        let routers = routers(3);
        let mut specs = specs(&routers);
        for spec in &mut specs[..2] {
            spec.group = Some(GroupId(0));
        }
        let evaluate = |pinned| predecessor(pinned).evaluate(&routers, &specs).masters;
        let mut all = vec![master(0, 1), master(1, 2), master(2, 3)];
        all[1].lease.renewed -= SECOND;
        let verdicts = evaluate(all.clone());
        let until = |id| verdicts[&RouterId(id)].unwrap().until;
        assert_eq!(until(0), until(1), "nobody goes on longer than the first whose lease is over");
        assert!(until(2) > until(0));
        all[1].lease.fenced = all[1].lease.term;
        let verdicts = evaluate(all.clone());
        assert_eq!(verdicts[&RouterId(0)], Err(NotAdopted::Member(RouterId(1))));
        assert_eq!(verdicts[&RouterId(1)], Err(NotAdopted::Fenced));
        assert!(verdicts[&RouterId(2)].is_ok());
        all[1].info.state = state::BACKUP;
        let verdicts = evaluate(all);
        assert_eq!(verdicts[&RouterId(0)], Err(NotAdopted::Member(RouterId(1))));
    }

    #[test]
    fn routers_keep_their_places() {
        let routers = routers(4);
        // The first was removed, and another one has got its place; the third is new.
        let pinned = vec![master(0, 4), master(5, 2), master(1, 1), master(3, 99)];
        let Judgement { numbers, infos, .. } =
            predecessor(pinned).evaluate(&routers, &specs(&routers));
        assert_eq!(numbers, [1, 5, 2, 0].map(RouterId));
        assert_eq!(
            infos.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, true, false, true]
        );
    }

    #[test]
    fn which_pins_are_used() {
        let control = Control { namespace: 1, ..Control::new(7, STARTED.0) };
        let sizes = Sizes { routers: 8, vips: 8, vips6: 8, allowed: 8 };
        let facts = PinFacts { other_owner: None, unusable: None, control, namespace: 1, sizes };
        let needs = Needs { routers: 8, ..Needs::default() };
        let check = |change: &dyn Fn(&mut PinFacts)| {
            let mut facts = facts.clone();
            change(&mut facts);
            facts.check(NOW, needs)
        };
        assert_eq!(check(&|_| ()), Ok(()));
        let refused = |change: &dyn Fn(&mut PinFacts)| check(change).unwrap_err();
        assert_eq!(refused(&|it| it.other_owner = Some(1)), Unusable::OtherOwner(1));
        assert_eq!(refused(&|it| it.unusable = Some("INFO")), Unusable::Incomplete("INFO"));
        assert_eq!(refused(&|it| it.control = Control::default()), Unusable::Unready);
        assert_eq!(refused(&|it| it.control.abi_version = 9), Unusable::Abi(9));
        assert_eq!(refused(&|it| it.control.namespace = 2), Unusable::OtherNamespace);
        let nonsense = [
            (Control { pid: 0, ..control }, "is no process"),
            (Control { started_ns: 0, ..control }, "has not started"),
            (Control { started_ns: NOW.0 + 1, ..control }, "started in the future"),
            (Control { adopted_ns: NOW.0 + 1, ..control }, "has adopted another one in the future"),
        ];
        for (control, what) in nonsense {
            let why = refused(&|it| it.control = control).to_string();
            assert_eq!(why, format!("what stands in CONTROL makes no sense: a daemon that {what}"));
        }
        assert_eq!(refused(&|it| it.sizes.routers = 7), Unusable::NoRoom("virtual routers"));
        // Killed a second time, soon or later.
        let adopted = |ago| (NOW - ago).0;
        let soon = AGAIN - Nanos(1);
        assert_eq!(
            refused(&|it| it.control.adopted_ns = adopted(soon)),
            Unusable::KilledAgain(soon)
        );
        assert_eq!(check(&|it| it.control.adopted_ns = adopted(AGAIN)), Ok(()));
    }
}
