//! `vrrp_startup_delay` and what else waits: pauses between announcements, and changes of links.

use super::{Entry, Parser, decimal_seconds};
use crate::config::draft::{DelaysDraft, GarpGroupDraft};
use crate::config::model::{LinkDelay, Severity};
use crate::config::report::{Located, Report};
use crate::engine::time::Nanos;

/// `garp_extra_if`, of an instance or of all.
#[derive(Clone, Debug, Default)]
pub(super) struct ExtraIf {
    /// Whether it is also about interfaces that are no virtual ones.
    all: bool,
    /// The keyword, for messages.
    keyword: String,
    period: Option<Located<Nanos>>,
}

impl ExtraIf {
    /// What it comes to for an instance, given what is said of all, and whether it is about other interfaces than those with
    /// virtual MAC addresses, too. `has_virtual` is whether this instance has any of which its advertisements do not tell.
    pub(super) fn finish(
        self,
        global: &Self,
        has_virtual: bool,
        report: &mut Report,
    ) -> Option<(Located<Nanos>, bool)> {
        // Of all instances counts what this one does not say.
        let said = if self.period.is_some() {
            self
        } else {
            Self { all: self.all || global.all, ..global.clone() }
        };
        let period = said.period.filter(|period| period.value > Nanos::ZERO)?;
        if !said.all && !has_virtual {
            let message = format!(
                "{} has no effect here: without `all`, it is about virtual MAC addresses that advertisements do not have",
                said.keyword
            );
            report.push(Severity::Note, period.at, message, "");
            return None;
        }
        Some((period, said.all))
    }
}

/// The keywords of a `garp_group`.
pub(super) const GARP_GROUP: &[&str] =
    &["garp_interval", "gna_interval", "interface", "interfaces"];

impl Parser<'_> {
    /// A keyword of `global_defs`. False if it is none of these.
    pub(super) fn delay_entry(&mut self, entry: &Entry, to: &mut DelaysDraft) -> bool {
        let delay = match entry.keyword.value.as_str() {
            "vrrp_startup_delay" => &mut to.startup,
            "vrrp_delay_after_boot" => &mut to.after_boot,
            "vrrp_garp_interval" => &mut to.garp,
            "vrrp_gna_interval" => &mut to.gna,
            _ => return false,
        };
        *delay = self.timer(entry).or(delay.take());
        true
    }

    /// `garp_extra_if [all] SECONDS`.
    pub(super) fn extra_if(&mut self, entry: &Entry, to: &mut ExtraIf) {
        let mut period = None;
        for word in &entry.parameters {
            if word.value == "all" {
                to.all = true;
                continue;
            }
            match word.value.parse() {
                Ok(seconds) => period = Some(Located::new(Nanos::from_secs(seconds), word.at)),
                Err(_) => return self.bad_value(entry, word, "`all` and whole seconds"),
            }
        }
        if period.is_none() {
            let message = format!("{} has no time; it is ignored", entry.keyword.value);
            return self.warning(entry.at(), message, "");
        }
        (to.period, to.keyword) = (period, entry.keyword.value.clone());
    }

    pub(super) fn garp_group(&mut self, entry: &Entry) -> Located<GarpGroupDraft> {
        let mut group = GarpGroupDraft::default();
        self.enter_block(entry);
        while let Some(inner) = self.block_entry(entry) {
            match inner.keyword.value.as_str() {
                "garp_interval" => group.garp = self.timer(&inner).or(group.garp),
                "gna_interval" => group.gna = self.timer(&inner).or(group.gna),
                "interface" => group.interfaces.extend(self.value(&inner)),
                "interfaces" => {
                    self.enter_block(&inner);
                    while let Some(line) = self.list_entry(&inner) {
                        group.interfaces.push(line.keyword);
                        group.interfaces.extend(line.parameters);
                    }
                }
                _ => self.not_acted_on(&inner, &[], GARP_GROUP),
            }
        }
        Located::new(group, entry.at())
    }

    /// `interface_up_down_delays`: `IF DOWN [UP]` per line. keepalived 2.2.7 takes an UP that is not there for 0,
    /// whatever its manual says.
    pub(super) fn up_down_delays(&mut self, entry: &Entry, to: &mut Vec<Located<LinkDelay>>) {
        self.enter_block(entry);
        while let Some(line) = self.list_entry(entry) {
            let interface = line.keyword.value.clone();
            let mut delays = [Nanos::ZERO; 2];
            let mut usable = true;
            for (delay, word) in delays.iter_mut().zip(&line.parameters) {
                match decimal_seconds(&word.value) {
                    Some(span) => *delay = span,
                    None => {
                        self.bad_value(&line, word, "seconds, as in 1 or 0.25");
                        usable = false;
                    }
                }
            }
            if line.parameters.is_empty() {
                let message = format!("there is no delay for {interface}; the line is ignored");
                self.warning(line.at(), message, "write INTERFACE DOWN [UP], in seconds");
            } else if let (true, [down, up]) = (usable, delays) {
                to.push(Located::new(LinkDelay { interface, down, up }, line.at()));
            }
            if let Some(extra) = line.parameters.get(2) {
                let message = format!("`{}` is ignored: there are two delays", extra.value);
                self.warning(extra.at, message, "");
            }
        }
    }
}
