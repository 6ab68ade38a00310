//! How a reload ends, and who is told.

use super::{Asked, ERRORS_SHOWN, NAMED, UnderWay};
use crate::api::error::ApiError;
use crate::api::{LastReload, Reloaded, RouterName, SCHEMA};
use crate::core::effect::Effect;
use crate::core::{Core, Counter, TIDY};

impl Core {
    pub(super) fn report(&self, asked: Asked) -> Reloaded {
        Reloaded {
            schema: SCHEMA,
            config: self.config_path.to_string(),
            check: asked.check,
            ..Reloaded::default()
        }
    }

    /// All is done.
    pub(super) fn finish(&mut self, reload: UnderWay) {
        self.look_everywhere(self.now);
        let UnderWay { prepared, discarded, mut report, check, notify_states, .. } = reload;
        if !check {
            for group in self.tracking.former_groups(&prepared.config) {
                self.engine.remove_group(group);
            }
            self.update_refused();
            self.need_namespaces(&prepared.config, false);
        }
        if notify_states {
            self.notify_states();
        }
        report.settings = self.reconfigure_settings(&prepared, check);
        report.applied = !check;
        self.discard(Some(prepared), discarded);
        self.end(report);
    }

    /// Nothing has changed, because of these errors.
    pub(super) fn refuse(&mut self, errors: Vec<ApiError>, warnings: Vec<String>) {
        let Some((asked, _)) = self.reloads.current else { return };
        let mut report = self.report(asked);
        (report.errors, report.error_causes) = ApiError::unzip(errors);
        report.warnings = warnings;
        if !report.check {
            self.count(Counter::ReloadRefused);
            for error in &report.errors {
                log::error!("{error}");
            }
        }
        self.end(report);
    }

    /// Says what came of the reload, and begins the next one.
    fn end(&mut self, mut report: Reloaded) {
        let Some((asked, begun)) = self.reloads.current.take() else { return };
        // Reading the file needed much for a moment, whatever came of it.
        self.tidy_at = Some(self.now + TIDY);
        if !asked.check {
            self.notify_ready();
        }
        let took = self.now - begun;
        report.took_ms = took.0 / 1_000_000;
        let summary = report.summary();
        if !report.check {
            if report.applied {
                self.log_changes(&report);
                log::info!("reloaded {}: {summary}", report.config);
            } else {
                log::error!(
                    "reload of {} refused: {summary}; everything goes on as before",
                    report.config
                );
            }
            let errors = report.errors.iter().take(ERRORS_SHOWN).cloned().collect();
            // Which time of day that was is for those to say who ask.
            let error_causes = report.error_causes.iter().take(ERRORS_SHOWN).cloned().collect();
            let (at, applied) = (String::new(), report.applied);
            let last = LastReload { at, applied, summary, errors, error_causes };
            self.reloads.last = Some((self.now, last));
        }
        self.answer_reload(asked, report);
        if let Some(next) = self.reloads.waiting.pop_front() {
            self.read_configuration(next);
        }
    }

    /// The routers that a reload concerned, as long as they are few.
    fn log_changes(&self, report: &Reloaded) {
        let place =
            |name: &str, interface: &str, vrid| format!("{name} (vrid {vrid} on {interface})");
        let of = |router: &RouterName| place(&router.name, &router.interface, router.vrid);
        let removed = report.removed.iter().map(|router| format!("{}: removed", of(router)));
        let added = report.added.iter().map(|router| format!("{}: added", of(router)));
        let changed = report.changed.iter().map(|router| {
            let place = place(&router.name, &router.interface, router.vrid);
            format!("{place}: changed: {}", router.settings.join(", "))
        });
        let mut lines = removed.chain(added).chain(changed);
        for line in lines.by_ref().take(NAMED) {
            log::info!("{line}");
        }
        let more = lines.count();
        if more > 0 {
            log::info!("and {more} more virtual routers");
        }
        for setting in &report.settings {
            log::info!("{setting}");
        }
    }

    /// Lets whoever has asked for a reload know what came of it.
    pub(super) fn answer_reload(&mut self, asked: Asked, report: Reloaded) {
        let (client, report) = (asked.client, Box::new(report));
        self.effects.push_back(Effect::ReloadEnded { client, report });
    }
}
