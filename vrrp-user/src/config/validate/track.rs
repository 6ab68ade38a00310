//! What is tracked, with which weight, and who changes state together.

use std::collections::{HashMap, HashSet};

use super::Validator;
use crate::config::draft::{GroupDraft, ObjectDraft, TrackDraft, Weight};
use crate::config::model::{
    Config, Group, RouterConfig, Track, TrackFile, TrackProcess, TrackScript, Tracked,
};
use crate::config::notify::Notify;
use crate::config::report::{Located, Position};
use crate::config::text;
use crate::engine::types::Priority;

/// keepalived's greatest weight, up and down.
const MOST: i16 = 254;
/// And that of interfaces and scripts.
const MOST_UP_OR_DOWN: i16 = 253;

/// The sync groups as written: who is in which, and where that stands.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<SyncGroup>,
    /// By name of the router: number of its group.
    members: HashMap<String, usize>,
}

/// A sync group as written, and what it tracks.
#[derive(Debug)]
struct SyncGroup {
    draft: Located<GroupDraft>,
    track: Vec<Track>,
    /// Whether the weights count that its routers track with.
    tracking_weight: bool,
}

/// Something with a name and a weight.
pub(super) trait Object {
    const KIND: &'static str;
    /// The weight when none is written.
    const DEFAULT: i16;
    const MOST: i16;
    /// Up to where a number that is too great means the greatest in keepalived. Behind that it means nothing.
    const CUT: i128 = MOST as i128;
    fn name(&self) -> &str;
    fn set(&mut self, weight: i16, reverse: bool);
}

macro_rules! object {
    ($type:ident, $kind:literal, $default:literal, $most:expr $(, $cut:ident)?) => {
        impl Object for $type {
            const KIND: &'static str = $kind;
            const DEFAULT: i16 = $default;
            const MOST: i16 = $most;
            $(const CUT: i128 = i128::$cut;)?
            fn name(&self) -> &str {
                &self.name
            }
            fn set(&mut self, weight: i16, reverse: bool) {
                (self.weight, self.reverse) = (weight, reverse);
            }
        }
    };
}

// Of scripts keepalived takes any weight, and bounds the priority.
object!(TrackScript, "script", 0, MOST_UP_OR_DOWN, MAX);
object!(TrackFile, "file", 1, MOST);
// 0 is what keepalived itself has; keepalived.conf(5) says 1.
object!(TrackProcess, "process", 0, MOST);

impl Validator<'_> {
    /// Objects of one kind, of which no two have the same name.
    pub(super) fn objects<T: Object>(&mut self, drafts: Vec<Located<ObjectDraft<T>>>) -> Vec<T> {
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut objects = Vec::new();
        for Located { value: ObjectDraft { mut object, weight }, at } in drafts {
            let name = object.name().to_owned();
            self.name(T::KIND, &name, at);
            if let Some(line) = lines.get(&name) {
                let message = format!("there is a {} {name} already, in line {line}", T::KIND);
                self.repair(at, message, "this one is skipped", "give it another name");
                continue;
            }
            // What is ignored of a file or process is the whole line.
            match self.weight(&weight, T::MOST, T::CUT, T::DEFAULT) {
                Some(number) => object.set(number, weight.reverse.unwrap_or(false)),
                None => object.set(T::DEFAULT, false),
            }
            lines.insert(name, at.line);
            objects.push(object);
        }
        objects
    }

    /// A weight, `otherwise` if none is written; `None`, which means that as well, if it cannot be used.
    fn weight(&mut self, written: &Weight, most: i16, cut: i128, otherwise: i16) -> Option<i16> {
        let Some(number) = &written.number else { return Some(otherwise) };
        let weight = number.value.trim().parse::<i128>().ok();
        let weight = weight.filter(|weight| (-cut..=cut).contains(weight));
        let nearest = weight.map(|weight| weight.clamp((-most).into(), most.into()));
        let used = nearest.and_then(|nearest| i16::try_from(nearest).ok());
        if used.is_none() || nearest != weight {
            let message =
                format!("a weight must be between -{most} and {most}, not {}", number.value);
            let instead = format!("{} is used", used.unwrap_or(otherwise));
            self.repair(number.at, message, &instead, "");
        }
        used
    }

    /// What somebody tracks, as far as it exists.
    fn tracks(
        &mut self,
        drafts: Vec<Located<TrackDraft>>,
        config: &Config,
    ) -> Vec<(Position, Track)> {
        let mut known = HashSet::new();
        let mut tracks = Vec::new();
        for Located { value: TrackDraft { what, weight }, at } in drafts {
            let most = match &what {
                Tracked::Interface(_) | Tracked::Script(_) => MOST_UP_OR_DOWN,
                Tracked::File(_) | Tracked::Process(_) => MOST,
            };
            let usual = config.usual_weight(&what).filter(|_| match &what {
                Tracked::Interface(name) => text::is_interface_name(name),
                Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_) => true,
            });
            let Some((default, reverse)) = usual else {
                let message = match &what {
                    Tracked::Interface(name) => {
                        format!("`{name}` cannot be the name of an interface")
                    }
                    Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_) => {
                        format!("{what} is tracked, but there is none")
                    }
                };
                self.repair(at, message, "it is not tracked", "");
                continue;
            };
            if !known.insert(what.clone()) {
                let message = format!("{what} is tracked already");
                self.repair(at, message, "this line is ignored", "");
                continue;
            }
            let reverse = weight.reverse.unwrap_or(reverse);
            let weight = self.weight(&weight, most, MOST.into(), default).unwrap_or(default);
            tracks.push((at, Track { what, weight, reverse }));
        }
        tracks
    }

    /// Takes in the sync groups, and who is in which.
    pub(super) fn groups(
        &mut self,
        drafts: Vec<Located<GroupDraft>>,
        routers: &[super::Draft],
        config: &Config,
    ) -> Groups {
        let mut groups = Groups::default();
        let mut lines: HashMap<String, (usize, usize)> = HashMap::new();
        let names: HashSet<&str> = routers.iter().map(|router| router.name.as_str()).collect();
        for mut draft in drafts {
            let name = draft.value.name.clone();
            self.name("sync group", &name, draft.at);
            if let Some((line, _)) = lines.get(&name) {
                let message = format!("there is a sync group {name} already, in line {line}");
                self.repair(draft.at, message, "this one is skipped", "give it another name");
                continue;
            }
            let number = groups.groups.len();
            for member in draft.value.members.take().unwrap_or_default() {
                if !names.contains(member.value.as_str()) {
                    let message = format!("there is no {} {}", self.format.router, member.value);
                    self.repair(member.at, message, "it is ignored", "");
                } else if let Some(other) = groups.members.get(&member.value) {
                    let other =
                        groups.groups.get(*other).map_or(&name, |other| &other.draft.value.name);
                    let message = format!("{} is in the sync group {other} already", member.value);
                    self.repair(member.at, message, "it is ignored here", "");
                } else {
                    groups.members.insert(member.value, number);
                }
            }
            lines.insert(name, (draft.at.line, number));
            let tracking_weight = draft.value.tracking_weight;
            groups.groups.push(SyncGroup { draft, track: Vec::new(), tracking_weight });
        }
        for router in routers {
            let Some(name) = &router.group else { continue };
            if let Some((_, number)) = lines.get(&name.value) {
                groups.members.insert(router.name.clone(), *number);
            } else {
                let message = format!("there is no sync group {}", name.value);
                self.repair(name.at, message, "it is ignored", "add [[group]] with that name");
            }
        }
        let owners = routers.iter().filter(|router| router.is_owner());
        let with_owner: HashSet<usize> =
            owners.filter_map(|router| groups.members.get(&router.name).copied()).collect();
        for (number, group) in groups.groups.iter_mut().enumerate() {
            let drafts = std::mem::take(&mut group.draft.value.track);
            group.track = self.group_tracks(drafts, with_owner.contains(&number), config);
        }
        groups
    }

    /// What a sync group tracks. One of its routers may own its addresses: then nothing can have a weight.
    fn group_tracks(
        &mut self,
        drafts: Vec<Located<TrackDraft>>,
        with_owner: bool,
        config: &Config,
    ) -> Vec<Track> {
        let mut tracks = Vec::new();
        for (at, mut track) in self.tracks(drafts, config) {
            if with_owner && track.weight != 0 {
                track.weight = 0;
                let message = format!(
                    "{} is tracked with a weight by a sync group with a router of priority 255, which never changes",
                    track.what
                );
                self.repair(at, message, &format!("weight 0 is used: {track}"), "weight 0");
            }
            tracks.push(track);
        }
        tracks
    }

    /// What a router tracks, as keepalived lets it.
    pub(super) fn router_tracks(
        &mut self,
        drafts: Vec<Located<TrackDraft>>,
        router: &mut RouterConfig,
        groups: &mut Groups,
        config: &Config,
    ) {
        let number = groups.members.get(&router.name);
        let mut group = number.and_then(|number| groups.groups.get_mut(*number));
        let implied: HashSet<String> = router.implied_interfaces().map(str::to_owned).collect();
        for (at, mut track) in self.tracks(drafts, config) {
            let interface = match &track.what {
                Tracked::Interface(name) => Some(name.as_str()),
                Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_) => None,
            };
            if self.format.lenient && interface == Some(&router.interface) {
                let message =
                    format!("{} is the router's own, which it depends on anyway", track.what);
                self.repair(at, message, "it is ignored", "");
                continue;
            }
            if track.weight != 0 && interface.is_some_and(|name| implied.contains(name)) {
                (track.weight, track.reverse) = (0, false);
                let message = format!(
                    "{} is tracked with a weight, but an address, route or rule of the router is there",
                    track.what
                );
                let hint =
                    "no_track, where the router should hold them while the interface is down";
                self.repair(at, message, &format!("weight 0 is used: {track}"), hint);
            }
            if track.weight != 0
                && !self.weight_counts(at, &mut track, router, group.as_deref_mut())
            {
                continue;
            }
            if self.format.lenient
                && let Some(group) = &group
            {
                self.as_in_group(at, &mut track, group);
            }
            router.track.push(track);
        }
        let Some(group) = group.filter(|_| !router.dont_track_primary) else { return };
        // It depends on its own interface as it is, whatever weight its group has for it.
        let own = Tracked::Interface(router.interface.clone());
        let weighted = |track: &Track| track.what == own && (track.weight != 0 || track.reverse);
        if group.track.iter().any(weighted) && router.track.iter().all(|track| track.what != own) {
            router.track.push(Track { what: own, weight: 0, reverse: false });
        }
    }

    /// What both a router and its group track counts once: in keepalived as the group has it, unless the router tracks it
    /// without weight.
    fn as_in_group(&mut self, at: Position, track: &mut Track, group: &SyncGroup) {
        let Some(shared) = group.track.iter().find(|shared| shared.what == track.what) else {
            return;
        };
        let mut counts = shared.clone();
        // Of a process keepalived takes the weight alone.
        if matches!(track.what, Tracked::Process(_)) {
            counts.reverse = track.reverse;
        }
        if track.weight == 0 || *track == counts {
            return;
        }
        let name = &group.draft.value.name;
        let message = format!("{} is tracked by the sync group {name} as well", track.what);
        self.repair(at, message, &format!("it counts once: {counts}"), "remove it here");
        *track = counts;
    }

    /// Whether something is tracked that has a weight: not where there can be none.
    fn weight_counts(
        &mut self,
        at: Position,
        track: &mut Track,
        router: &RouterConfig,
        group: Option<&mut SyncGroup>,
    ) -> bool {
        let owner = router.priority == Priority::OWNER;
        let unweighted = group.filter(|group| !group.draft.value.tracking_weight);
        let why = match &unweighted {
            _ if owner => "priority 255 owns the addresses and never changes".to_owned(),
            None => return true,
            Some(group) => format!(
                "the members of sync group {} have one priority to compare",
                group.draft.value.name
            ),
        };
        let message = format!("{} is tracked with a weight, but {why}", track.what);
        let hint = "weight 0, or in the group: sync_group_tracking_weight, or tracked there";
        match (&track.what, unweighted) {
            // keepalived says that it ignores the weights of interfaces, and nothing of processes.
            (Tracked::Interface(_) | Tracked::Process(_), Some(group)) if !owner => {
                self.repair(at, message, "it counts all the same, as in keepalived", hint);
                group.tracking_weight = true;
                true
            }
            // The weight of a file when none is written.
            (Tracked::File(_), _) if track.weight == TrackFile::DEFAULT => {
                track.weight = 0;
                self.repair(at, message, &format!("weight 0 is used: {track}"), hint);
                true
            }
            (
                Tracked::Interface(_) | Tracked::Script(_) | Tracked::File(_) | Tracked::Process(_),
                _,
            ) => {
                self.repair(at, message, "it is not tracked", hint);
                false
            }
        }
    }

    /// The sync groups that have routers.
    pub(super) fn finish_groups(&mut self, groups: Groups, config: &mut Config) {
        let Groups { groups, members } = groups;
        for (number, group) in groups.into_iter().enumerate() {
            let SyncGroup { draft: Located { value: draft, at }, track, tracking_weight } = group;
            let routers: Vec<&RouterConfig> = config
                .routers
                .iter()
                .filter(|router| members.get(&router.name) == Some(&number))
                .collect();
            let names: Vec<String> = routers.iter().map(|router| router.name.clone()).collect();
            let owners = routers.iter().filter(|router| router.priority == Priority::OWNER);
            let owners = owners.count();
            if owners > 0 && owners < names.len() {
                let message = format!(
                    "in sync group {} some own their addresses (priority 255) and some do not: they \
                     are not at once master",
                    draft.name
                );
                self.report.warning(at, message, "give all of them priority 255, or none");
            }
            if names.is_empty() {
                let message = format!("sync group {} has no router", draft.name);
                self.repair(at, message, "it is skipped", "");
                continue;
            }
            if names.len() == 1 {
                let message = format!("sync group {} has only one router", draft.name);
                self.report.warning(at, message, "it changes nothing");
            }
            config.groups.push(Group {
                name: draft.name,
                line: at.line,
                members: names,
                track,
                notify: (draft.notify != Notify::default()).then(|| Box::new(draft.notify)),
                tracking_weight,
            });
        }
    }
}
