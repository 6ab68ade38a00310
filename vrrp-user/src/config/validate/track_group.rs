//! Which routers follow what is there whoever is master.

use super::Validator;
use crate::config::draft::TrackGroupDraft;
use crate::config::model::{Config, RouterConfig, Track, TrackGroup, Tracked};
use crate::config::report::Located;

impl Validator<'_> {
    /// The groups, and what follows from them: a router depends on the interfaces of what it follows, as in keepalived.
    pub(super) fn track_groups(
        &mut self,
        drafts: Vec<Located<TrackGroupDraft>>,
        uses: Vec<Located<String>>,
        config: &mut Config,
    ) {
        for Located { value: TrackGroupDraft { name, routers }, at } in drafts {
            self.name("track_group", &name, at);
            if config.track_groups.iter().any(|group| group.name == name) {
                let message = format!("there is a track_group {name} already");
                self.repair(at, message, "this one is skipped", "give it another name");
                continue;
            }
            let mut members: Vec<String> = Vec::new();
            for Located { value: router, at } in routers {
                if !config.routers.iter().any(|known| known.name == router) {
                    let message =
                        format!("there is no router {router}, which track_group {name} names");
                    self.repair(at, message, "it is ignored", "");
                } else if !members.contains(&router) {
                    members.push(router);
                }
            }
            if members.is_empty() {
                let message = format!("track_group {name} has no router");
                self.repair(at, message, "it is skipped", "");
                continue;
            }
            config.track_groups.push(TrackGroup { name, line: at.line, routers: members });
        }
        for Located { value: name, at } in uses {
            if !config.track_groups.iter().any(|group| group.name == name) {
                let message = format!("there is no track_group {name}");
                self.repair(at, message, "no router follows it", "");
            }
        }
        forget_unknown(config);
        depend(config);
    }
}

/// Whatever names a group that there is not is followed by nobody.
fn forget_unknown(config: &mut Config) {
    let Config { fixed, track_groups, .. } = config;
    let addresses = fixed.addresses.iter_mut().map(|address| &mut address.track_group);
    let routes = fixed.routes.iter_mut().map(|route| &mut route.track_group);
    let rules = fixed.rules.iter_mut().map(|rule| &mut rule.track_group);
    for named in addresses.chain(routes).chain(rules) {
        named.take_if(|named| !track_groups.iter().any(|group| group.name == *named));
    }
}

/// Who follows something tracks its interface, unless it tracks that already.
fn depend(config: &mut Config) {
    let Config { fixed, track_groups, routers, .. } = config;
    let addresses = fixed.addresses.iter().filter(|address| !address.no_track);
    let addresses = addresses.map(|address| (&address.track_group, address.dev.as_ref()));
    let routes = fixed.routes.iter().filter(|route| !route.no_track);
    let routes = routes.map(|route| (&route.track_group, route.dev.as_ref()));
    let rules = fixed.rules.iter().filter(|rule| !rule.no_track);
    let rules = rules.map(|rule| (&rule.track_group, rule.iif.as_ref()));
    for (group, dev) in addresses.chain(routes).chain(rules) {
        let (Some(group), Some(dev)) = (group, dev) else { continue };
        let group = track_groups.iter().find(|known| known.name == *group);
        let names = group.map_or(&[][..], |group| &group.routers);
        for router in routers.iter_mut().filter(|router| names.contains(&router.name)) {
            follow(router, dev);
        }
    }
}

fn follow(router: &mut RouterConfig, dev: &str) {
    let what = Tracked::Interface(dev.to_owned());
    let own = router.interface == dev && !router.dont_track_primary;
    if !own && !router.track.iter().any(|track| track.what == what) {
        router.track.push(Track { what, weight: 0, reverse: false });
    }
}
