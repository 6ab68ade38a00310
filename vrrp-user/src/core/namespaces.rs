//! The network namespaces that routers and what belongs to them are in, besides that of the daemon: which are needed, and
//! which are there. One that goes takes its interfaces along, one that comes brings them.

use std::collections::BTreeMap;
use std::fmt;

use super::effect::Effect;
use super::interface_id::{InterfaceId, NamespaceId};
use super::netlink::Event;
use super::{Core, Counter};
use crate::config::model::Config;
use crate::types::netns::Netns;

/// Whether a network namespace is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// That is not known yet.
    #[default]
    Unknown,
    /// The daemon is in it.
    Present,
    /// Nothing has that name.
    Absent,
    /// It cannot be used, for that reason.
    Refused(String),
}

#[derive(Clone, Debug)]
struct Needed {
    netns: Netns,
    presence: Presence,
}

/// Those that are needed.
#[derive(Default)]
pub struct Namespaces(BTreeMap<NamespaceId, Needed>);

impl Namespaces {
    /// Whether one is there.
    pub fn has(&self, namespace: NamespaceId) -> bool {
        namespace == NamespaceId::OWN
            || self.0.get(&namespace).is_some_and(|it| it.presence == Presence::Present)
    }

    /// Why one is not there; `None` where it is, or nobody needs it.
    pub fn missing(&self, namespace: NamespaceId) -> Option<Missing<'_>> {
        let needed = self.0.get(&namespace)?;
        (needed.presence != Presence::Present).then_some(Missing(needed))
    }

    /// Needs those of a configuration, besides (`also`) or in the place of those that were needed. Whether these are others.
    fn need(&mut self, config: &Config, also: bool) -> bool {
        let new: BTreeMap<NamespaceId, Netns> = config
            .namespaces()
            .into_iter()
            .map(|netns| (NamespaceId::of(Some(&netns)), netns))
            .collect();
        let before = self.0.len();
        self.0.retain(|namespace, _| also || new.contains_key(namespace));
        let mut changed = self.0.len() != before;
        for (namespace, netns) in new {
            self.0.entry(namespace).or_insert_with(|| {
                changed = true;
                Needed { netns, presence: Presence::Unknown }
            });
        }
        changed
    }

    fn names(&self) -> BTreeMap<NamespaceId, Netns> {
        self.0.iter().map(|(namespace, needed)| (*namespace, needed.netns.clone())).collect()
    }
}

/// Why a network namespace is not there, in words.
pub struct Missing<'a>(&'a Needed);

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Needed { netns, presence } = self.0;
        match presence {
            Presence::Refused(why) => f.write_str(why),
            Presence::Unknown | Presence::Present | Presence::Absent => {
                write!(f, "there is no network namespace {netns}; waiting for it")
            }
        }
    }
}

impl Core {
    /// Has the driver go to the network namespaces of a configuration, `also` or in the place of those of the one before.
    pub(super) fn need_namespaces(&mut self, config: &Config, also: bool) {
        if !self.namespaces.need(config, also) {
            return;
        }
        for iface in self.interfaces.indices() {
            let NamespaceId(number) = iface.namespace;
            if number != 0 && !self.namespaces.0.contains_key(&iface.namespace) {
                self.changed(&Event::LinkRemoved(iface));
            }
        }
        self.effects.push_back(Effect::Namespaces(self.namespaces.names()));
    }

    /// A network namespace has come, or gone, or cannot be used.
    pub(super) fn namespace_is(&mut self, namespace: NamespaceId, presence: Presence) {
        let Some(needed) = self.namespaces.0.get_mut(&namespace) else {
            return self.count(Counter::UnexpectedAnswer);
        };
        let before = std::mem::replace(&mut needed.presence, presence);
        if before == needed.presence {
            return;
        }
        let Needed { netns, presence } = needed.clone();
        match &presence {
            Presence::Present => log::info!("network namespace {netns}: is there"),
            Presence::Absent if before == Presence::Present => {
                log::warn!("network namespace {netns}: is gone, with all that was in it");
            }
            Presence::Absent => log::warn!("network namespace {netns}: is not there yet"),
            Presence::Refused(why) => log::error!("network namespace {netns}: {why}"),
            Presence::Unknown => {}
        }
        if before == Presence::Present {
            let there = |iface: &InterfaceId| iface.namespace == namespace;
            for iface in self.interfaces.indices().into_iter().filter(there) {
                self.changed(&Event::LinkRemoved(iface));
            }
        }
        self.refused_in(namespace);
        // What needs no interface.
        self.objects_on(None);
    }
}
