//! What is not about one router: what is tracked, interfaces, and settings of the daemon.

use super::UnderWay;
use crate::config::model::{Listen, Scheduling};
use crate::core::Core;
use crate::core::effect::Effect;
use crate::core::interface_table::Capture;
use crate::core::prepared::Prepared;

impl Core {
    /// What routers may depend on, before they do.
    pub(super) fn reconfigure_tracking(&mut self) {
        let Some(reload) = &mut self.reloads.under_way else { return };
        let groups = self.tracking.groups(&reload.prepared.config);
        for (id, spec) in groups {
            self.engine.add_group(self.now, id, spec);
        }
        let watched = std::mem::take(&mut reload.prepared.watched);
        if self.reloads.settings.watched != watched {
            self.reloads.settings.watched = watched;
            let watch = self.tracking.watch(&reload.prepared.config, false);
            self.effects.push_back(watch);
            self.track_interfaces(None);
        }
    }

    /// Attaches the program where that was not tried yet.
    pub(super) fn attach_by_name(&mut self, name: &str) {
        let found = self.interfaces.by_name(name);
        if let Some((iface, interface)) = found
            && interface.capture == Capture::Detached
        {
            self.attach(iface);
        }
    }

    /// Looks at one interface. Whether that were all.
    pub(super) fn interfaces_some(&mut self, reload: &mut UnderWay) -> bool {
        let indices = self.interfaces.indices();
        while let Some(&iface) = indices.get(reload.next) {
            reload.next += 1;
            let Some(interface) = self.interfaces.get(iface) else { continue };
            let name = interface.name.clone();
            let detached = interface.capture == Capture::Detached;
            match (detached, self.needs(&name)) {
                (true, false) | (false, true) => continue,
                (true, true) => {
                    self.attach(iface);
                    self.evaluate_on(iface);
                }
                (false, false) => self.detach(iface),
            }
            // Each takes the kernel some milliseconds.
            return false;
        }
        true
    }

    /// What is not about one router. Returns what changed.
    pub(super) fn reconfigure_settings(&mut self, prepared: &Prepared, check: bool) -> Vec<String> {
        let mut changed = Vec::new();
        let settings = &mut self.reloads.settings;
        if settings.metrics != prepared.config.metrics {
            changed.push(format!(
                "metrics: {} -> {}",
                or_none(settings.metrics.as_ref()),
                or_none(prepared.config.metrics.as_ref())
            ));
            if !check {
                settings.metrics.clone_from(&prepared.config.metrics);
                self.effects.push_back(Effect::ServeMetrics(prepared.config.metrics.clone()));
            }
        }
        if self.take_fixed(&prepared.config, check) {
            changed.push("what is there whoever is master".to_owned());
        }
        changed.extend(self.take_delays(&prepared.config.delays, check));
        if self.capture != prepared.config.capture {
            changed.push("capture".to_owned());
            if !check {
                self.capture.clone_from(&prepared.config.capture);
                for iface in self.interfaces.indices() {
                    self.attach(iface);
                }
            }
        }
        let settings = &mut self.reloads.settings;
        if settings.control != prepared.config.control {
            changed.push("control socket".to_owned());
            if !check {
                settings.control.clone_from(&prepared.config.control);
                self.effects.push_back(Effect::GrantAccess(prepared.config.control.clone()));
            }
        }
        if settings.scheduling != prepared.config.scheduling {
            changed.push(format!(
                "sched: {} -> {}",
                settings.scheduling.unwrap_or(Scheduling::DEFAULT),
                prepared.config.scheduling.unwrap_or(Scheduling::DEFAULT)
            ));
            if !check {
                settings.scheduling = prepared.config.scheduling;
                self.effects.push_back(Effect::Schedule(prepared.config.scheduling));
            }
        }
        changed
    }
}

fn or_none(listen: Option<&Listen>) -> String {
    listen.map_or_else(|| "none".to_owned(), ToString::to_string)
}
