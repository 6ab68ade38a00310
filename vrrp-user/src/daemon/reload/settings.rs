//! What is not about one router: what is tracked, interfaces, and settings of the daemon.

use std::sync::{Arc, PoisonError};
use std::thread;

use super::{Prepared, Serving, UnderWay};
use crate::config::model::{Listen, Scheduling};
use crate::control::access::Access;
use crate::daemon::Daemon;
use crate::daemon::interfaces::Capture;
use crate::daemon::start::be_on_time;
use crate::daemon::tracking::add_groups;
use crate::io::timer;
use crate::metrics::http;

impl Daemon {
    /// What routers may depend on, before they do.
    pub(super) fn take_up_tracking(&mut self) {
        let Some(reload) = &mut self.reloads.under_way else { return };
        let now = timer::now();
        let groups = self.tracking.groups(&reload.prepared.config);
        add_groups(&mut self.engine, now, groups);
        let watched = std::mem::take(&mut reload.prepared.watched);
        if self.reloads.serving.watched != watched {
            self.reloads.serving.watched = watched;
            if let Err(error) = self.tracking.watch(&reload.prepared.config, false) {
                log::error!("cannot watch what is tracked: {error}");
            }
            self.track_interfaces(None);
        }
    }

    /// Attaches the program where that was not tried yet.
    pub(super) fn attach_by_name(&mut self, name: &str) {
        let found = self.interfaces.by_name(name);
        if let Some((ifindex, interface)) = found
            && interface.capture == Capture::Detached
        {
            self.attach(ifindex);
        }
    }

    /// Looks at one interface. Whether that were all.
    pub(super) fn interfaces_some(&mut self, reload: &mut UnderWay) -> bool {
        let indices = self.interfaces.indices();
        while let Some(&ifindex) = indices.get(reload.next) {
            reload.next += 1;
            let Some(interface) = self.interfaces.get(ifindex) else { continue };
            let name = interface.name.clone();
            let detached = interface.capture == Capture::Detached;
            match (detached, self.needs(&name)) {
                (true, false) | (false, true) => continue,
                (true, true) => {
                    self.attach(ifindex);
                    self.evaluate_on(ifindex);
                }
                (false, false) => self.detach(ifindex),
            }
            // Each takes the kernel some milliseconds.
            return false;
        }
        true
    }

    /// What is not about one router. Returns what changed.
    pub(super) fn take_up_settings(&mut self, prepared: &Prepared, check: bool) -> Vec<String> {
        let mut changed = Vec::new();
        let serving = &mut self.reloads.serving;
        if serving.metrics != prepared.config.metrics {
            changed.push(format!(
                "metrics: {} -> {}",
                or_none(serving.metrics.as_ref()),
                or_none(prepared.config.metrics.as_ref())
            ));
            if !check {
                let before = serving.server.take();
                serving.metrics.clone_from(&prepared.config.metrics);
                match http::start(
                    prepared.config.metrics.clone(),
                    serving.maps.clone(),
                    Arc::clone(&serving.board),
                    before,
                ) {
                    Ok(server) => serving.server = server,
                    Err(error) => {
                        // The next reload tries again.
                        serving.metrics = None;
                        log::error!("cannot start the metrics thread: {error}");
                    }
                }
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
                for ifindex in self.interfaces.indices() {
                    self.attach_again(ifindex);
                }
            }
        }
        let serving = &mut self.reloads.serving;
        if serving.control != prepared.config.control {
            changed.push("control socket".to_owned());
            if !check {
                serving.control.clone_from(&prepared.config.control);
                self.grant_access();
            }
        }
        let serving = &mut self.reloads.serving;
        if serving.scheduling != prepared.config.scheduling {
            changed.push(format!(
                "sched: {} -> {}",
                serving.scheduling.unwrap_or(Scheduling::DEFAULT),
                prepared.config.scheduling.unwrap_or(Scheduling::DEFAULT)
            ));
            if !check {
                serving.scheduling = prepared.config.scheduling;
                let now = be_on_time(prepared.config.scheduling);
                self.netlink.reschedule(now.below());
            }
        }
        changed
    }

    /// Gives the control socket its new mode and group: on another thread, as groups may be looked up far away.
    fn grant_access(&self) {
        let Serving { control, access, .. } = &self.reloads.serving;
        let (socket, control, access) =
            (self.instance.socket(), control.clone(), Arc::clone(access));
        let work = move || {
            let granted = Access::grant(&socket, &control);
            let mut access = access.lock().unwrap_or_else(PoisonError::into_inner);
            match granted {
                Ok(granted) => *access = granted,
                Err(error) => {
                    log::error!("control socket: {error}");
                    access.set_settings(control);
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(work) {
            log::error!("control socket: cannot start a thread: {error}");
        }
    }
}

fn or_none(listen: Option<&Listen>) -> String {
    listen.map_or_else(|| "none".to_owned(), ToString::to_string)
}
