//! What waits: pauses between announcements, the start, and changes of links.

use std::collections::HashSet;

use super::Validator;
use crate::capture;
use crate::config::draft::{CaptureDraft, DelaysDraft, GarpGroupDraft};
use crate::config::model::{Delays, GarpGroup, LinkDelay, Pauses, RouterConfig};
use crate::config::report::Located;
use crate::config::text;
use crate::engine::time::Nanos;

/// keepalived's longest delay: what it counts in microseconds with 32 bits.
const LONGEST: Nanos = Nanos(u32::MAX as u64 * 1_000);
/// The shortest period of announcements of an own address.
const SHORTEST_PERIOD: Nanos = Nanos::from_secs(1);
/// keepalived's longest period of `garp_extra_if`.
const LONGEST_PERIOD: Nanos = Nanos::from_secs(86_400);
/// keepalived's longest delay of a link.
const LONGEST_LINK: Nanos = Nanos::from_secs(255);

impl Validator<'_> {
    pub(super) fn delays(&mut self, draft: DelaysDraft, routers: &[RouterConfig]) -> Delays {
        let DelaysDraft { startup, after_boot, garp, gna, garp_groups, links } = draft;
        let garp_groups = self.garp_groups(garp_groups);
        Delays {
            startup: self.delay(startup.as_ref()),
            after_boot: self.delay(after_boot.as_ref()),
            pauses: Pauses { garp: self.delay(garp.as_ref()), gna: self.delay(gna.as_ref()) },
            garp_groups,
            links: self.links(links, routers),
        }
    }

    fn delay(&mut self, written: Option<&Located<Nanos>>) -> Nanos {
        self.at_most(LONGEST, written, "a delay cannot be longer than 4294 s", "")
    }

    pub(super) fn garp_extra_if(&mut self, written: Option<&Located<Nanos>>) -> Nanos {
        let message = "addresses on other interfaces must be announced at least once a day";
        self.at_most(LONGEST_PERIOD, written, message, "86400 s are the most")
    }

    pub(super) fn garp_own_address(
        &mut self,
        written: Option<&Located<Nanos>>,
        is_unicast: bool,
    ) -> Nanos {
        let name = self.format.own_address;
        let Some(written) = written.filter(|written| written.value > Nanos::ZERO) else {
            return Nanos::ZERO;
        };
        if !is_unicast {
            let message = format!(
                "{name} goes with unicast only: switches send multicast to all ports anyway"
            );
            self.repair(written.at, message, "it is ignored", "");
            return Nanos::ZERO;
        }
        if written.value < SHORTEST_PERIOD {
            self.repair(written.at, format!("{name} must be at least 1 s"), "1 s is used", "");
            return SHORTEST_PERIOD;
        }
        let message = format!("{name} must be at most a day");
        self.at_most(LONGEST_PERIOD, Some(written), &message, "86400 s are the most")
    }

    /// What is written, if it is not too long; zero without it.
    fn at_most(
        &mut self,
        longest: Nanos,
        written: Option<&Located<Nanos>>,
        message: &str,
        hint: &str,
    ) -> Nanos {
        match written {
            Some(written) if written.value > longest => {
                self.repair(written.at, message, "it is ignored", hint);
                Nanos::ZERO
            }
            Some(written) => written.value,
            None => Nanos::ZERO,
        }
    }

    fn garp_groups(&mut self, drafts: Vec<Located<GarpGroupDraft>>) -> Vec<GarpGroup> {
        let mut grouped = HashSet::new();
        let mut groups = Vec::new();
        for Located { value: GarpGroupDraft { interfaces, garp, gna }, at } in drafts {
            if garp.is_none() && gna.is_none() {
                let hint = "add garp_interval or gna_interval";
                self.repair(at, "a garp_group has no interval", "it is skipped", hint);
                continue;
            }
            let mut names = Vec::new();
            for Located { value: name, at } in interfaces {
                if !text::is_interface_name(&name) {
                    let message = format!("`{name}` cannot be the name of an interface");
                    self.repair(at, message, "it is skipped", "");
                } else if !grouped.insert(name.clone()) {
                    let message = format!("{name} is in a garp_group already");
                    self.repair(at, message, "this one does not count for it", "");
                } else {
                    names.push(name);
                }
            }
            if names.is_empty() {
                let hint = "name the interfaces that it is for";
                self.repair(at, "a garp_group has no interface", "it is skipped", hint);
                continue;
            }
            let pauses = Pauses { garp: self.delay(garp.as_ref()), gna: self.delay(gna.as_ref()) };
            groups.push(GarpGroup { interfaces: names, pauses });
        }
        groups
    }

    pub(super) fn capture(&mut self, draft: CaptureDraft) -> capture::Settings {
        let CaptureDraft { default, interfaces } = draft;
        let mut settings = capture::Settings { default, ..capture::Settings::default() };
        for Located { value: (name, mode), at } in interfaces {
            if !text::is_interface_name(&name) {
                let message = format!("`{name}` cannot be the name of an interface");
                self.repair(at, message, "it is skipped", "");
            } else if settings.interfaces.insert(name.clone(), mode).is_some() {
                let message = format!("the capture of {name} is there twice");
                self.repair(at, message, "the first one does not count", "");
            }
        }
        settings
    }

    fn links(
        &mut self,
        written: Vec<Located<LinkDelay>>,
        routers: &[RouterConfig],
    ) -> Vec<LinkDelay> {
        let mut links: Vec<LinkDelay> = Vec::new();
        for Located { value: mut link, at } in written {
            let name = link.interface.clone();
            if !text::is_interface_name(&name) {
                let message = format!("`{name}` cannot be the name of an interface");
                self.repair(at, message, "it is skipped", "");
                continue;
            }
            if link.down > LONGEST_LINK || link.up > LONGEST_LINK {
                let message = format!("the delays of {name} must be 0 s to 255 s");
                self.repair(at, message, "they are ignored", "");
                continue;
            }
            if links.iter().any(|other| other.interface == name) {
                let message = format!("the delays of {name} are there twice");
                self.repair(at, message, "the first ones do not count", "");
                links.retain(|other| other.interface != name);
            }
            for router in routers.iter().filter(|router| router.interface == name) {
                let most = LinkDelay::most(router.interval, router.down_adverts);
                if link.down < most.max(Nanos(1)) {
                    continue;
                }
                let used = LinkDelay::reduced(router.interval, most);
                let message = format!(
                    "the down delay of {name} must be less than {} s, {} intervals of {}",
                    most.as_secs_f64(),
                    router.down_adverts - 1,
                    router.name
                );
                self.repair(at, message, &format!("{} s is used", used.as_secs_f64()), "");
                link.down = link.down.min(used);
            }
            links.push(link);
        }
        links
    }
}
