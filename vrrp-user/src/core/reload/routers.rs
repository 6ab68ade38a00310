//! Routers that are changed, removed and added, some at a time.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::difference::{OTHER_SETTINGS, differences};
use super::{PART, PART_COMPARED, UnderWay};
use crate::api::{ChangedRouter, RouterName};
use crate::config::model;
use crate::core::effect::{Effect, InfoChange, LeaseChange};
use crate::core::prepared::Prepared;
use crate::core::router::{RouterRuntime, centisecs, shared};
use crate::core::{Core, InterfaceAddr};
use crate::engine::types::{Priority, RouterId, RouterSpec, State};
use crate::types::planted::{Fault, planted};

impl Core {
    /// Compares some of the routers that stay, and changes those that differ. Whether that were all.
    pub(super) fn change_some(&mut self, reload: &mut UnderWay) -> bool {
        let (mut compared, mut changed) = (0, 0);
        while compared < PART_COMPARED && changed < PART {
            let Some(running) = reload.matches.get(reload.next) else { return true };
            if let Some(id) = *running {
                compared += 1;
                let new = &reload.prepared.config.routers[reload.next];
                let line = u32::try_from(new.line).unwrap_or(u32::MAX);
                if self.router(id).fingerprint == reload.prepared.fingerprints[reload.next] {
                    reload.report.unchanged += 1;
                    if !reload.check {
                        self.router_mut(id).line = line;
                    }
                } else {
                    changed += 1;
                    self.change(id, reload);
                }
            }
            reload.next += 1;
        }
        reload.next >= reload.matches.len()
    }

    /// The next router of the new configuration.
    fn made(&mut self, reload: &UnderWay, interface: Arc<str>) -> (RouterRuntime, RouterSpec) {
        let Prepared { config, fingerprints, memberships, .. } = &reload.prepared;
        let new = &config.routers[reload.next];
        let (router, mut spec) = RouterRuntime::new(new, fingerprints[reload.next], interface);
        let group = memberships[reload.next].and_then(|place| config.groups.get(place));
        self.tracking.complete_one(new, group, &mut spec);
        spec.group = spec.group.filter(|_| !planted(Fault::ReloadForgetsGroup));
        (router, spec)
    }

    fn change(&mut self, id: RouterId, reload: &mut UnderWay) {
        let interface = Arc::clone(&self.router(id).interface);
        let (router, spec) = self.made(reload, interface);
        let new = &reload.prepared.config.routers[reload.next];
        let (view, Some(old)) = (self.engine.view(id), self.engine.spec(id)) else { return };
        let mut settings = differences((self.router(id), old), (&router, &spec));
        if let Some(what) = self.objects.difference(id, &new.routing) {
            // It stands for what has no name.
            settings.retain(|setting| setting != OTHER_SETTINGS);
            settings.push(what.to_owned());
        }
        let RouterName { name, interface, vrid } = RouterName::of(new);
        reload.report.changed.push(ChangedRouter { name, interface, vrid, settings });
        if reload.check {
            return reload.discarded.push(router);
        }
        let is_master = view.is_some_and(|view| view.state == State::Master);
        self.release_kept(id);
        let before = self.requests(id);
        let rounds = spec.garp.master_repeat;
        let old = self.router_mut(id).reconfigure(router);
        self.resolve(id);
        self.index.remove(id, &old);
        self.index.add(id, &self.routers[id.0 as usize]);
        self.allow_peers(id);
        self.set_hmac_keys(id);
        self.engine.reconfigure(self.now, id, &spec);
        self.lease_reconfigured(id);
        let new = self.router(id);
        let virtual_mac_changed = old.any_virtual_mac() != new.any_virtual_mac()
            || old.with_virtual_mac() != new.with_virtual_mac();
        let signed_changed = old.signer().is_some() != new.signer().is_some()
            || old.ah().is_some() != new.ah().is_some();
        if virtual_mac_changed || signed_changed {
            self.plan_anew(id);
        }
        self.evaluate(id);
        if let Some((key, entry)) = self.router(id).registration(id) {
            self.effects.push_back(Effect::SetRouter { router: id, key, entry });
        }
        self.disallow_peers(id, old.allowed().map(|(peer, _)| peer));
        self.remove_hmac_keys(id, old.hmac_keys().map(|(key_id, _)| key_id));
        if old.group() != self.router(id).group() {
            self.join(id);
            self.leave(old.iface(), old.group());
        }
        // What the kernel side kept quiet about may change something now.
        self.acknowledge(id, 0);
        self.update_filter(id);
        let (name, version) = (Arc::clone(&self.router(id).name), self.router(id).version());
        let priority = self.engine.view(id).map_or(spec.priority, |view| view.priority);
        let (priority, version) = (priority.0, version.number());
        let (configured, interval) = (spec.priority.0, centisecs(spec.interval));
        self.publish(id, InfoChange::Configured { name, priority, configured, version, interval });
        self.publish_interval(id);
        reload.discarded.push(old);

        let after = self.requests(id);
        if !is_master {
            self.remove_found(id);
        }
        for (place, request) in &before {
            if !after.contains_key(place) {
                reload.dropped.insert(*place, (id, request.clone()));
            }
        }
        for (place, request) in after {
            let held = self.addresses.router(place) == Some(id);
            match before.get(&place) {
                Some(same) if *same == request && (held || !is_master) => {}
                Some(_) | None => self.count_vip(id, place),
            }
            if !is_master {
                continue;
            }
            match before.get(&place) {
                Some(same) if *same == request && held => {
                    self.track_address(id, place);
                }
                Some(_) | None => {
                    let old = before.get(&place).filter(|_| held).cloned();
                    let old = old.or_else(|| Some(reload.dropped.get(&place)?.1.clone()));
                    self.take(id, place, old, rounds);
                }
            }
        }
        if virtual_mac_changed {
            self.change_virtual_mac(id, rounds);
        }
        // Routes may need an address that has just come.
        let new = &reload.prepared.config.routers[reload.next];
        let state = self.engine.state(id);
        self.delays.configure_extra_if(self.now, id, new, state);
        self.take_objects(id, &new.routing, is_master);
    }

    /// Some of the routers that are no longer there stop. Whether that were all.
    pub(super) fn remove_some(&mut self, reload: &mut UnderWay) -> bool {
        for _ in 0..PART {
            let Some(&id) = reload.removed.get(reload.next) else { break };
            reload.next += 1;
            if let Some((key, _)) = self.router(id).registration(id) {
                self.effects.push_back(Effect::RemoveRouter { router: id, key });
            }
            let view = self.engine.view(id);
            reload.lasts.push(view.map_or((State::Init, Priority(0)), |v| (v.state, v.priority)));
            // It resigns, and gives its addresses up, in its turn.
            self.engine.remove_router(self.now, id);
            self.router_mut(id).removed = true;
        }
        let over = reload.next >= reload.removed.len();
        if over && !reload.removed.is_empty() {
            let left = self.ids().filter(|id| !self.router(*id).removed);
            self.order = left.collect();
        }
        over
    }

    /// Nothing is to be done any more for routers that are gone: others may have their numbers.
    pub(super) fn clear(&mut self, removed: &[RouterId], lasts: &[(State, Priority)]) {
        let mut groups = BTreeSet::new();
        for (&id, &(state, priority)) in removed.iter().zip(lasts) {
            let mut left = Vec::new();
            for (place, request) in self.requests(id) {
                self.release(id, place, request);
                left.extend(Some(place).filter(|place| self.addresses.router(*place) == Some(id)));
            }
            self.release_kept(id);
            self.take_objects(id, &model::Routing::default(), false);
            self.objects.limiter.forget(&Some(id));
            self.log_limit.forget(id);
            self.delays.router_removed(self.now, id);
            self.notify_deleted(id, state, priority);
            let peers: Vec<_> = self.router(id).allowed().map(|(peer, _)| peer).collect();
            let (iface, group) = (self.router(id).iface(), self.router(id).group());
            self.index.remove(id, &self.routers[id.0 as usize]);
            self.index.moved(id, iface, None);
            self.forget_virtual_macs(id);
            if self.router(id).restricts_capture() {
                self.plan_anew(id);
            }
            let keys: Vec<_> = self.router(id).hmac_keys().map(|(key_id, _)| key_id).collect();
            self.router_mut(id).decommission();
            self.remove_hmac_keys(id, keys.into_iter());
            self.foreign.remove(&id);
            if group != self.router(id).family().group() {
                groups.insert((iface, group));
            }
            self.disallow_peers(id, peers.into_iter());
            self.effects.push_back(Effect::ClearRouter(id));
            self.unsaid.remove(&id);
            self.reloads.free.push_back((id, left));
        }
        for (iface, group) in groups {
            self.leave(iface, group);
        }
        if !removed.is_empty() {
            self.effects.push_back(Effect::ForgetPeers(removed.to_vec()));
        }
    }

    /// Some of the new routers begin, as they would when the daemon starts. Whether that were all.
    pub(super) fn add_some(&mut self, reload: &mut UnderWay) -> bool {
        let mut added = 0;
        while added < PART {
            let Some(running) = reload.matches.get(reload.next) else { break };
            if running.is_none() {
                added += 1;
                let new = &reload.prepared.config.routers[reload.next];
                let interface = shared(&mut reload.names, &new.interface);
                let (router, spec) = self.made(reload, interface);
                let id = self.add(router, spec);
                let new = &reload.prepared.config.routers[reload.next];
                self.delays.configure_extra_if(self.now, id, new, None);
                self.take_objects(id, &new.routing, false);
                reload.matches[reload.next] = Some(id);
            }
            reload.next += 1;
        }
        let over = reload.next >= reload.matches.len();
        // What is still to come has no number yet.
        self.order = reload.matches.iter().flatten().copied().collect();
        over
    }

    /// A number for a new router: of one that is gone and has left nothing, else the next one, while there is room.
    fn number(&mut self, next: RouterId) -> RouterId {
        let left_nothing = |(id, left): &(RouterId, Vec<InterfaceAddr>)| {
            !left.iter().any(|place| self.addresses.router(*place) == Some(*id))
        };
        let place = match self.reloads.free.iter().position(left_nothing) {
            Some(place) => place,
            None if next.0 < self.sizes.routers => return next,
            None => 0,
        };
        self.reloads.free.remove(place).map_or(next, |(id, _)| id)
    }

    fn add(&mut self, router: RouterRuntime, spec: RouterSpec) -> RouterId {
        let next = RouterId(u32::try_from(self.routers.len()).unwrap_or(u32::MAX));
        let id = self.number(next);
        if id == next {
            self.routers.push(router);
        } else {
            *self.router_mut(id) = router;
        }
        self.resolve(id);
        self.index.add(id, &self.routers[id.0 as usize]);
        self.history.begin(id);
        let info = self.router(id).info(spec.priority);
        self.effects.push_back(Effect::ClearRouter(id));
        self.effects.push_back(Effect::Lease { router: id, change: LeaseChange::Drop });
        self.publish(id, InfoChange::All(Box::new(info)));
        self.allow_peers(id);
        self.set_hmac_keys(id);
        self.engine.add_router(id, spec);
        let devs: HashSet<String> = {
            let router = self.router(id);
            let devs = router.addresses().map(|address| router.dev(address).to_owned());
            devs.chain([router.interface.to_string()]).collect()
        };
        for dev in devs {
            self.attach_by_name(&dev);
        }
        if self.router(id).restricts_capture() {
            self.plan_anew(id);
        }
        self.evaluate(id);
        // As at the start: an address that a daemon has left there is not this router's yet.
        self.remove_found(id);
        self.log_problems(id);
        id
    }
}
