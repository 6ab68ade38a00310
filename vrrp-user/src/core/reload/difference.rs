//! In which settings two configurations of a router differ, for people.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::core::router::RouterRuntime;
use crate::engine::types::{AdvertInterval, RouterSpec};
use crate::wire::ethernet::Colons;

/// What differs without having a name.
pub(super) const OTHER_SETTINGS: &str = "other settings";

/// The settings that differ, with their values as far as these are short.
pub(super) fn differences(
    (old, before): (&RouterRuntime, &RouterSpec),
    (new, after): (&RouterRuntime, &RouterSpec),
) -> Vec<String> {
    let mut differ = Vec::new();
    let mut compare = |setting: &str, old: &dyn Display, new: &dyn Display| {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            differ.push(format!("{setting} {old} -> {new}"));
        }
    };
    compare("name", &old.name, &new.name);
    compare("priority", &before.priority, &after.priority);
    compare("version", &old.version().number(), &new.version().number());
    compare("interval", &before.interval, &after.interval);
    compare("preempt", &before.preempt, &after.preempt);
    compare("preempt_delay", &before.preempt_delay, &after.preempt_delay);
    let longest = |spec: &RouterSpec| {
        let longest = spec.max_learned_interval.map(AdvertInterval::Centisecs);
        longest.map_or_else(|| "any".to_owned(), |longest| longest.to_string())
    };
    compare("max_learned_interval", &longest(before), &longest(after));
    compare("source", &or_auto(old.configured_source()), &or_auto(new.configured_source()));
    let peers = |router: &RouterRuntime| {
        let peers: Vec<_> =
            router.peers().unwrap_or_default().iter().map(ToString::to_string).collect();
        peers.join(" ")
    };
    compare("peers", &peers(old), &peers(new));
    compare("multicast_group", &old.group(), &new.group());
    compare("ttl", &old.ttl(), &new.ttl());
    compare("check_source", &old.checks_source(), &new.checks_source());
    compare("lower_prio_advert", &before.lower_prio_advert, &after.lower_prio_advert);
    let one_more = |spec: &RouterSpec| {
        spec.higher_prio_advert.map_or_else(|| "auto".to_owned(), |on| on.to_string())
    };
    compare("higher_prio_advert", &one_more(before), &one_more(after));
    let ignores = (&before.owner_ignores_adverts, &after.owner_ignores_adverts);
    compare("owner_ignores_adverts", ignores.0, ignores.1);
    compare("link_local_first", &old.link_local_first, &new.link_local_first);
    compare("fence", &old.fence.name(), &new.fence.name());
    let mac = |router: &RouterRuntime| {
        router.any_virtual_mac().map_or_else(|| "none".to_owned(), |mac| Colons(mac).to_string())
    };
    compare("virtual_mac", &mac(old), &mac(new));
    let by_mac = (&old.virtual_mac_adverts, &new.virtual_mac_adverts);
    compare("virtual_mac_adverts", by_mac.0, by_mac.1);
    compare("accept", &old.accept, &new.accept);
    compare("track_source", &old.track_source, &new.track_source);
    if old.authentication != new.authentication {
        // Not with its value.
        differ.push("authentication".to_owned());
    }
    if before.garp != after.garp {
        differ.push("gratuitous ARP".to_owned());
    }
    if old.v3_checksum() != new.v3_checksum() {
        differ.push("checksum of version 3".to_owned());
    }
    if before.track != after.track {
        differ.push("tracking".to_owned());
    }
    if before.group != after.group {
        differ.push("sync group".to_owned());
    }
    differ.extend(addresses(old, new));
    if differ.is_empty() {
        differ.push(OTHER_SETTINGS.to_owned());
    }
    differ
}

fn addresses(old: &RouterRuntime, new: &RouterRuntime) -> Option<String> {
    let of = |router: &RouterRuntime| -> Vec<String> {
        let all = router.addresses().map(|address| {
            let dev = address.dev().map(|dev| format!(" dev {dev}")).unwrap_or_default();
            format!("{}/{}{dev}", address.address, address.prefix)
        });
        all.collect()
    };
    let (before, after) = (of(old), of(new));
    let (old_set, new_set): (BTreeSet<_>, BTreeSet<_>) =
        (before.iter().collect(), after.iter().collect());
    let gone = old_set.difference(&new_set).map(|address| format!("-{address}"));
    let come = new_set.difference(&old_set).map(|address| format!("+{address}"));
    let changed: Vec<_> = come.chain(gone).collect();
    if !changed.is_empty() {
        return Some(format!("addresses {}", changed.join(" ")));
    }
    if before != after || old.advertised() != new.advertised() {
        return Some("order of the addresses".to_owned());
    }
    let same = old.addresses().zip(new.addresses()).all(|(old, new)| old == new);
    (!same).then(|| "options of the addresses".to_owned())
}

fn or_auto(source: Option<impl Display>) -> String {
    source.map_or_else(|| "of the interface".to_owned(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::model::Config;
    use crate::config::{Options, load};

    fn read(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vrrp.toml");
        fs::write(&file, text).unwrap();
        load(&file, &Options::default()).unwrap().config
    }

    fn router(more: &str) -> String {
        format!(
            "[[router]]\nname = \"A\"\ninterface = \"eth0\"\nvrid = 1\n\
             addresses = [\"10.0.0.1/24\", \"10.0.0.2/24\"]\n{more}\n"
        )
    }

    fn said(before: &str, after: &str) -> Vec<String> {
        let made = |text: &str| RouterRuntime::new(&read(text).routers[0], 0, "eth0".into());
        let ((old, before), (new, after)) = (made(before), made(after));
        differences((&old, &before), (&new, &after))
    }

    #[test]
    fn settings_are_named() {
        let plain = router("");
        let with = |more: &str| said(&plain, &router(more));
        assert_eq!(with("priority = 7"), ["priority 100 -> 7"]);
        assert_eq!(with("interval = \"2s\""), ["interval 1 s -> 2 s"]);
        assert_eq!(with("version = 3"), ["version 2 -> 3"]);
        assert_eq!(with("preempt = false"), ["preempt true -> false"]);
        assert_eq!(with("source = \"10.0.0.9\""), ["source of the interface -> 10.0.0.9"]);
        assert_eq!(with("garp = { repeat = 1 }"), ["gratuitous ARP"]);
        // A password is not shown.
        let password = "authentication = { type = \"pass\", password = \"x\" }";
        assert_eq!(with(password), ["authentication"]);
        let name = plain.replace("\"A\"", "\"B\"");
        assert_eq!(said(&plain, &name), ["name A -> B"]);
    }

    #[test]
    fn addresses_are_told_apart() {
        let plain = router("");
        let with = |from: &str, to: &str| said(&plain, &plain.replace(from, to));
        assert_eq!(with("10.0.0.2/24", "10.0.0.3/24"), ["addresses +10.0.0.3/24 -10.0.0.2/24"]);
        let turned = with("\"10.0.0.1/24\", \"10.0.0.2/24\"", "\"10.0.0.2/24\", \"10.0.0.1/24\"");
        assert_eq!(turned, ["order of the addresses"]);
        let label = "{ address = \"10.0.0.2/24\", label = \"eth0:x\" }";
        assert_eq!(with("\"10.0.0.2/24\"", label), ["options of the addresses"]);
        let excluded = "[\"10.0.0.1/24\"]\nexcluded = [\"10.0.0.2/24\"]";
        let turned = with("[\"10.0.0.1/24\", \"10.0.0.2/24\"]", excluded);
        assert_eq!(turned, ["order of the addresses"]);
    }

    #[test]
    fn a_fingerprint_is_of_everything_but_the_place_in_the_file() {
        let fingerprint = |text: &str| read(text).fingerprints();
        let plain = router("");
        assert_eq!(fingerprint(&plain), fingerprint(&format!("# first\n\n{plain}")));
        for other in ["priority = 99", "garp = { delay = \"1s\" }", "v3_checksum = \"rfc9568\""] {
            assert_ne!(fingerprint(&plain), fingerprint(&router(other)), "{other}");
        }
        let grouped = format!("{}[[group]]\nname = \"G\"\n", router("group = \"G\""));
        assert_ne!(fingerprint(&plain), fingerprint(&grouped));
    }
}
