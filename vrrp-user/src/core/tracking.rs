//! What is tracked: numbers for it, who watches it, and words for what becomes of it.
//!
//! Tracked objects and sync groups keep their numbers while the daemon runs, whatever configurations come and go:
//! the history and the engine may still speak of one that is gone.

use std::collections::HashMap;
use std::sync::Arc;

use super::interface_table::InterfaceTable;
use super::router::RouterRuntime;
use super::{Core, Counter, effect};
use crate::api::history::{EventKind, EventSource};
use crate::api::problem::{Problem, ProblemKind};
use crate::config::model::{self, Config, Tracked};
use crate::core::interface_id::InterfaceId;
use crate::engine::track::{Effect, Term};
use crate::engine::types::{
    Cause, FaultCause, GroupId, GroupSpec, Health, Names, ObjectId, RouterId, RouterSpec, TrackUse,
};

/// An interface that somebody tracks, whether or not it exists.
struct TrackedInterface {
    name: Box<str>,
    object: ObjectId,
    /// Its index when it was last seen, because it may be renamed.
    iface: Option<InterfaceId>,
}

/// Everything that is tracked, and the sync groups.
#[derive(Default)]
pub struct Tracking {
    objects: Vec<Tracked>,
    object_ids: HashMap<Tracked, ObjectId>,
    groups: Vec<Box<str>>,
    group_ids: HashMap<Box<str>, GroupId>,
    interfaces: Vec<TrackedInterface>,
    /// Why scripts are disabled.
    disabled: HashMap<ObjectId, Arc<str>>,
    /// How often it was said what is to be watched.
    watches: u64,
    /// Kinds of things of which not everything has been looked at since.
    incomplete: usize,
}

impl Tracking {
    /// The number of an object, which it gets when it is first asked for.
    pub fn object(&mut self, what: &Tracked) -> ObjectId {
        if let Some(id) = self.object_ids.get(what) {
            return *id;
        }
        let id = ObjectId(u32::try_from(self.objects.len()).unwrap_or(u32::MAX));
        self.objects.push(what.clone());
        self.object_ids.insert(what.clone(), id);
        id
    }

    /// The number of an object that is or was in a configuration.
    pub fn known_object(&self, what: &Tracked) -> Option<ObjectId> {
        self.object_ids.get(what).copied()
    }

    /// What an object is.
    pub fn tracked(&self, id: ObjectId) -> Option<&Tracked> {
        self.objects.get(id.0 as usize)
    }

    /// The number of a sync group, which it gets when it is first asked for.
    pub fn group(&mut self, name: &str) -> GroupId {
        if let Some(id) = self.group_ids.get(name) {
            return *id;
        }
        let id = GroupId(u32::try_from(self.groups.len()).unwrap_or(u32::MAX));
        self.groups.push(name.into());
        self.group_ids.insert(name.into(), id);
        id
    }

    /// The number of a sync group that there is or was.
    pub fn known_group(&self, name: &str) -> Option<GroupId> {
        self.group_ids.get(name).copied()
    }

    /// What a sync group is called.
    pub fn group_name(&self, id: GroupId) -> &str {
        self.groups.get(id.0 as usize).map_or("?", |name| name)
    }

    fn uses(&mut self, tracks: &[model::Track]) -> Box<[TrackUse]> {
        let uses = tracks.iter().map(|track| TrackUse {
            object: self.object(&track.what),
            weight: track.weight,
            reverse: track.reverse,
        });
        uses.collect()
    }

    /// The sync groups of a configuration. To be added to the engine before their members.
    pub fn groups(&mut self, config: &Config) -> Vec<(GroupId, GroupSpec)> {
        let groups = config.groups.iter().map(|group| {
            let track = self.uses(&group.track);
            (self.group(&group.name), GroupSpec { track })
        });
        groups.collect()
    }

    /// Completes the specifications of a configuration's routers, in its order.
    pub fn complete<'a>(
        &mut self,
        config: &Config,
        specs: impl IntoIterator<Item = &'a mut RouterSpec>,
    ) {
        let routers = config.routers.iter().zip(config.memberships());
        for ((router, group), spec) in routers.zip(specs) {
            let group = group.and_then(|place| config.groups.get(place));
            self.complete_one(router, group, spec);
        }
    }

    /// Completes the specification of one router, which is in this group.
    pub fn complete_one(
        &mut self,
        router: &model::RouterConfig,
        group: Option<&model::Group>,
        spec: &mut RouterSpec,
    ) {
        spec.track = self.uses(&router.dependencies());
        spec.group = group.map(|group| self.group(&group.name));
    }

    /// The sync groups of all configurations so far, with what they are called.
    pub fn group_names(&self) -> impl Iterator<Item = (GroupId, &str)> {
        (0..).map(GroupId).zip(self.groups.iter().map(|name| &**name))
    }

    /// Sync groups that there were, but are not in a configuration.
    pub fn former_groups(&self, config: &Config) -> Vec<GroupId> {
        let there = |name: &str| config.groups.iter().any(|group| group.name == *name);
        let known = self.group_ids.iter();
        known.filter(|(name, _)| !there(name)).map(|(_, id)| *id).collect()
    }

    /// What is to be watched of what a configuration tracks, and nothing else any more. Files are initialised only at the
    /// start of the daemon.
    pub fn watch(&mut self, config: &Config, start: bool) -> effect::Effect {
        let tracks = config.routers.iter().flat_map(model::RouterConfig::dependencies);
        let tracks = tracks.chain(config.groups.iter().flat_map(|group| group.track.clone()));
        let mut interfaces: Vec<String> = tracks
            .filter_map(|track| match track.what {
                Tracked::Interface(name) => Some(name),
                Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_) => None,
            })
            .collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        self.interfaces = interfaces
            .into_iter()
            .map(|name| TrackedInterface {
                name: name.as_str().into(),
                object: self.object(&Tracked::Interface(name)),
                iface: None,
            })
            .collect();
        let files: Vec<_> = config
            .files
            .iter()
            .map(|file| {
                let object = self.object(&Tracked::File(file.name.clone()));
                (object, file.clone(), file.init.filter(|_| start))
            })
            .collect();
        let processes: Vec<_> = config
            .processes
            .iter()
            .map(|process| (self.object(&Tracked::Process(process.name.clone())), process.clone()))
            .collect();
        // What is found out by scripts that nobody tracks is no news of something unknown.
        for script in &config.scripts {
            self.object(&Tracked::Script(script.name.clone()));
        }
        self.incomplete = usize::from(!files.is_empty()) + usize::from(!processes.is_empty());
        self.watches += 1;
        effect::Effect::Watch { number: self.watches, files, processes }
    }

    /// Whether not everything has been looked at yet.
    pub fn incomplete(&self) -> bool {
        self.incomplete > 0
    }

    /// All files, or all processes, of a watch have been looked at. Whether that was asked for: of a watch that another one
    /// has replaced it means nothing.
    pub fn looked_once(&mut self, watch: u64) -> bool {
        let expected = (1..=self.watches).contains(&watch);
        if watch != self.watches {
            return expected;
        }
        let before = self.incomplete;
        self.incomplete = before.saturating_sub(1);
        expected && before > 0
    }

    /// How tracked interfaces are: all of them, or those that the interface of this index is or was.
    fn interfaces(
        &mut self,
        interfaces: &InterfaceTable,
        iface: Option<InterfaceId>,
    ) -> Vec<(ObjectId, Health)> {
        let name = iface.and_then(|iface| interfaces.get(iface)).map(|known| &known.name);
        let concerned = self.interfaces.iter_mut().filter(|tracked| {
            iface.is_none()
                || tracked.iface == iface
                || name.is_some_and(|name| **name == *tracked.name)
        });
        let health = concerned.map(|tracked| {
            let found = interfaces.by_name(&tracked.name);
            tracked.iface = found.map(|(iface, _)| iface);
            let up = found.is_some_and(|(_, interface)| interface.up);
            (tracked.object, if up { Health::Up } else { Health::Down })
        });
        health.collect()
    }
}

/// The names of everything that the engine has numbers for.
pub(super) struct Words<'a> {
    tracking: &'a Tracking,
    routers: &'a [RouterRuntime],
}

impl Names for Words<'_> {
    fn object(&self, object: ObjectId) -> String {
        self.tracking.tracked(object).map_or_else(|| "something".to_owned(), ToString::to_string)
    }

    fn router(&self, router: RouterId) -> String {
        let router = self.routers.get(router.0 as usize);
        router.map_or_else(|| "a router".to_owned(), |router| router.name.to_string())
    }
}

/// `100 - 20 + 5: script chk is down, file load has 5`; nothing where nothing counts. `set` stands in place of
/// what is configured.
fn sum(base: u8, effective: u8, terms: &[Term], names: &dyn Names) -> Option<String> {
    let (mut sum, mut reasons, mut total) = (base.to_string(), Vec::new(), i32::from(base));
    for Term { object, health, effect, .. } in terms {
        let Effect::Weight(weight) = *effect else { continue };
        if weight == 0 {
            continue;
        }
        let sign = if weight < 0 { '-' } else { '+' };
        sum += &format!(" {sign} {}", weight.unsigned_abs());
        total += i32::from(weight);
        reasons.push(format!("{} {health}", names.object(*object)));
    }
    if reasons.is_empty() {
        return None;
    }
    if total != i32::from(effective) {
        sum += &format!(", which is kept at {effective}");
    }
    Some(format!("{sum}: {}", reasons.join(", ")))
}

/// What a router does without because a script is disabled.
fn without(used: &TrackUse) -> String {
    let (up, down) = (used.effect(Health::Up), used.effect(Health::Down));
    match (up, down) {
        (Effect::Weight(up), Effect::Weight(down)) => {
            let counts = |weight: i16, when| (weight != 0).then(|| format!("{weight:+} {when}"));
            let counts = [counts(up, "while it succeeds"), counts(down, "while it fails")];
            let counts: Vec<String> = counts.into_iter().flatten().collect();
            format!("the priority lacks {}", counts.join(" and "))
        }
        (Effect::Fault, _) => "no FAULT while it succeeds".to_owned(),
        (Effect::Wait | Effect::Weight(_), _) => "no FAULT while it fails".to_owned(),
    }
}

impl Core {
    pub(super) fn names(&self) -> Words<'_> {
        Words { tracking: &self.tracking, routers: &self.routers }
    }

    /// Why a router changed state, with the names of what is to blame.
    pub(super) fn describe_cause(&self, cause: Cause) -> String {
        cause.describe(&self.names())
    }

    /// How the effective priority of a router comes about; `None` where it is what is configured.
    pub(super) fn describe_priority(&self, id: RouterId) -> Option<String> {
        let explanation = self.engine.explain(id)?;
        let effective = self.engine.priority(id)?;
        let configured = self.engine.spec(id)?.priority;
        let base = explanation.set.unwrap_or(configured);
        let sum = sum(base.0, effective.0, &explanation.terms, &self.names());
        match (explanation.set, sum) {
            (None, sum) => sum,
            (Some(set), None) => Some(format!("{set} by set-priority")),
            (Some(set), Some(sum)) => Some(format!("{sum}; {set} is by set-priority")),
        }
    }

    /// What makes the effective priority of a router another one than the configured one, as [`Self::describe_priority`] has it.
    pub(super) fn priority_causes(&self, id: RouterId) -> impl Iterator<Item = &'static str> {
        let explanation = self.engine.explain(id);
        let set = explanation.as_ref().is_some_and(|explanation| explanation.set.is_some());
        let counts = |term: &Term| matches!(term.effect, Effect::Weight(weight) if weight != 0);
        let tracked = explanation.is_some_and(|explanation| explanation.terms.iter().any(counts));
        [(set, "set-priority"), (tracked, "tracked")]
            .into_iter()
            .filter_map(|(counts, name)| counts.then_some(name))
    }

    /// What keeps a router in FAULT or from starting, its interface apart.
    pub(super) fn describe_faults(&self, id: RouterId) -> Vec<Problem> {
        let Some(explanation) = self.engine.explain(id) else { return Vec::new() };
        let causes = explanation.causes.iter().filter(|cause| !cause.is_link());
        let problem =
            |cause: &FaultCause| ProblemKind::Fault(*cause).because(cause.describe(&self.names()));
        causes.map(problem).collect()
    }

    /// What a router tracks, but counts for nothing, and what to do.
    pub(super) fn describe_disabled(&self, id: RouterId) -> Vec<String> {
        if self.tracking.disabled.is_empty() {
            return Vec::new();
        }
        let of = |term: &Term| {
            let why = self.tracking.disabled.get(&term.object)?;
            let script = self.names().object(term.object);
            Some(format!(
                "{script} is disabled: {why}; until that is mended and the configuration reloaded (`vrrp-user \
                 reload`), it counts for nothing, as in keepalived: {}",
                without(&term.used)
            ))
        };
        let terms = self.engine.explain(id).map(|explanation| explanation.terms);
        terms.unwrap_or_default().iter().filter_map(of).collect()
    }

    /// Everything that a router tracks, in words: what it is, how it is, and what that makes of the router.
    pub(super) fn describe_tracks(&self, id: RouterId) -> Vec<(String, Health, Effect)> {
        let Some(explanation) = self.engine.explain(id) else { return Vec::new() };
        let terms = explanation
            .terms
            .iter()
            .map(|term| (self.names().object(term.object), term.health, term.effect));
        terms.collect()
    }

    /// A tracked file cannot be used.
    pub(super) fn bad_track_file(&mut self, object: ObjectId, why: &str) {
        if self.tracking.tracked(object).is_none() {
            return self.count(Counter::UnexpectedAnswer);
        }
        log::warn!("{}: {why}", self.names().object(object));
        self.count(Counter::BadTrackFile);
    }

    /// A tracked object is now like this, whoever found out; `end` is how the run of a script ended that was to blame.
    pub(super) fn health(&mut self, object: ObjectId, health: Health, end: Option<Arc<str>>) {
        if self.tracking.tracked(object).is_none() {
            return self.count(Counter::UnexpectedAnswer);
        }
        let now = self.now;
        let before = self.engine.health(object);
        match end.clone().filter(|_| health == Health::Disabled) {
            Some(why) => drop(self.tracking.disabled.insert(object, why)),
            None => drop(self.tracking.disabled.remove(&object)),
        }
        if before != health {
            let level = match health {
                Health::Down | Health::Disabled => log::Level::Warn,
                Health::Up | Health::Unknown | Health::Value(_) => log::Level::Info,
            };
            let how = end.as_ref().map(|end| format!(" ({end})")).unwrap_or_default();
            log::log!(level, "{} {health}{how}", self.names().object(object));
        }
        // How things were found is no change, unless they are wrong. Before what comes of it.
        let first = before == Health::Unknown && health != Health::Down;
        if before != health && !first {
            let users = self.engine.tracking(object);
            let count = u32::try_from(users.len()).unwrap_or(u32::MAX);
            let trackers = users.first().map(|first| (*first, count));
            let kind = EventKind::Tracked { from: before, to: health, end, trackers };
            self.note(EventSource::Object(object), now, kind);
        }
        self.engine.handle_tracked(now, object, health);
    }

    /// What a router tracks, what its sync group tracks included.
    pub(super) fn objects_of(&self, id: RouterId) -> Vec<ObjectId> {
        let terms = self.engine.explain(id).map(|explanation| explanation.terms);
        terms.unwrap_or_default().into_iter().map(|term| term.object).collect()
    }

    /// Looks at tracked interfaces: all of them, or those that the interface of this index is or was.
    pub(super) fn track_interfaces(&mut self, iface: Option<InterfaceId>) {
        let Self { tracking, interfaces, .. } = self;
        if tracking.interfaces.is_empty() {
            return;
        }
        let changed = tracking.interfaces(interfaces, iface);
        for (object, health) in changed {
            self.health(object, health, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::netlink::{Event, Link};

    struct Plain;

    impl Names for Plain {
        fn object(&self, object: ObjectId) -> String {
            format!("script {}", object.0)
        }

        fn router(&self, router: RouterId) -> String {
            format!("VI_{}", router.0)
        }
    }

    #[test]
    fn what_a_disabled_script_would_do_is_said() {
        let said = |weight, reverse| without(&TrackUse { object: ObjectId(1), weight, reverse });
        assert_eq!(said(0, false), "no FAULT while it fails");
        assert_eq!(said(0, true), "no FAULT while it succeeds");
        assert_eq!(said(-20, false), "the priority lacks -20 while it fails");
        assert_eq!(said(20, false), "the priority lacks +20 while it succeeds");
        assert_eq!(said(20, true), "the priority lacks -20 while it succeeds");
    }

    #[test]
    fn a_priority_is_explained_by_what_counts() {
        let term = |object, health, weight| Term {
            object: ObjectId(object),
            health,
            effect: Effect::Weight(weight),
            used: TrackUse { object: ObjectId(object), weight, reverse: false },
        };
        let said = |effective, terms: &[Term]| sum(100, effective, terms, &Plain);
        assert_eq!(said(100, &[term(1, Health::Up, 0)]), None);
        let down = term(1, Health::Down, -20);
        assert_eq!(said(80, &[down]).as_deref(), Some("100 - 20: script 1 is down"));
        let file = term(2, Health::Value(7), 7);
        let both = "100 - 20 + 7: script 1 is down, script 2 has 7";
        assert_eq!(said(87, &[down, file]).as_deref(), Some(both));
        let most = term(3, Health::Up, 200);
        let kept = "100 + 200, which is kept at 254: script 3 is up";
        assert_eq!(said(254, &[most]).as_deref(), Some(kept));
    }

    #[test]
    fn numbers_stay_and_names_are_found() {
        let mut tracking = Tracking::default();
        let what = Tracked::File("f".to_owned());
        let id = tracking.object(&what);
        assert_ne!(tracking.object(&Tracked::Process("f".to_owned())), id);
        assert_eq!((tracking.object(&what), tracking.tracked(id)), (id, Some(&what)));
        let group = tracking.group("G");
        assert_eq!((tracking.group("G"), tracking.group_name(group)), (group, "G"));
        assert_eq!((tracking.known_group("G"), tracking.known_group("H")), (Some(group), None));
    }

    #[test]
    fn an_interface_is_followed_by_name() {
        let mut tracking = Tracking::default();
        let config = Config {
            groups: vec![model::Group {
                name: "G".to_owned(),
                line: 1,
                members: Vec::new(),
                track: vec![model::Track {
                    what: Tracked::Interface("eth1".to_owned()),
                    weight: 0,
                    reverse: false,
                }],
                notify: None,
                tracking_weight: false,
            }],
            ..Config::default()
        };
        let nothing = effect::Effect::Watch { number: 1, files: Vec::new(), processes: Vec::new() };
        assert_eq!(tracking.watch(&config, true), nothing);
        assert!(!tracking.incomplete());
        let object = tracking.object(&Tracked::Interface("eth1".to_owned()));
        let mut interfaces = InterfaceTable::default();
        let link = |ifindex, name: &str, up| Event::Link(Link::ethernet(ifindex, name, up));
        let mut after = |event: &Event, iface| {
            interfaces.apply(event);
            tracking.interfaces(&interfaces, iface)
        };
        assert_eq!(after(&link(2, "eth0", true), None), [(object, Health::Down)]);
        assert_eq!(after(&link(2, "eth0", false), Some(InterfaceId::own(2))), []);
        assert_eq!(
            after(&link(3, "eth1", true), Some(InterfaceId::own(3))),
            [(object, Health::Up)]
        );
        assert_eq!(
            after(&link(3, "lan", true), Some(InterfaceId::own(3))),
            [(object, Health::Down)]
        );
        assert_eq!(
            after(&link(3, "eth1", true), Some(InterfaceId::own(3))),
            [(object, Health::Up)]
        );
        assert_eq!(
            after(&Event::LinkRemoved(InterfaceId::own(3)), Some(InterfaceId::own(3))),
            [(object, Health::Down)]
        );
    }
}
