//! Which routers are meant: by name or `INTERFACE/VRID`, by a pattern, by an address; and what may have been meant where
//! there is none.

use std::net::IpAddr;

use crate::api::{RouterStatus, Status};

/// Most names that are listed as near.
const NEAR: usize = 5;

/// What a word stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One router, by its name or `INTERFACE/VRID`.
    Name(String),
    /// All whose names match, with `*` for anything and `?` for one character.
    Pattern(String),
    /// Those that have this address.
    Address(IpAddr),
}

impl Wanted {
    /// From a word of the command line.
    pub fn new(word: &str) -> Self {
        match word.parse() {
            Ok(address) => Self::Address(address),
            Err(_) if word.contains(['*', '?']) => Self::Pattern(word.to_owned()),
            Err(_) => Self::Name(word.to_owned()),
        }
    }

    /// Whether a router is meant.
    pub fn is(&self, router: &RouterStatus) -> bool {
        match self {
            Self::Name(_) | Self::Pattern(_) => self.names(&router.name, &place(router)),
            Self::Address(address) => {
                addresses(router).any(|has| has.parse::<IpAddr>().is_ok_and(|has| has == *address))
            }
        }
    }

    /// Whether a router is meant by its name or its `INTERFACE/VRID`.
    pub fn names(&self, router: &str, place: &str) -> bool {
        match self {
            Self::Name(name) => name == router || name == place,
            Self::Pattern(pattern) => matches(pattern, router) || matches(pattern, place),
            Self::Address(_) => false,
        }
    }

    /// That there is none.
    pub fn unknown(&self, status: &Status) -> String {
        match self {
            Self::Pattern(pattern) => format!("no virtual router matches `{pattern}`"),
            Self::Address(address) => {
                let all = status.routers.iter().flat_map(addresses);
                let near = near(&address.to_string(), all);
                format!("no virtual router has the address {address}{near}")
            }
            Self::Name(name) => {
                let places: Vec<String> = status.routers.iter().map(place).collect();
                let names = status.routers.iter().map(|router| router.name.as_str());
                let near = near(name, names.chain(places.iter().map(String::as_str)));
                format!(
                    "there is no virtual router `{name}`{near}; `vrrp-user status` lists them, and INTERFACE/VRID \
                     names one, too"
                )
            }
        }
    }
}

/// The addresses of a router, without their prefixes.
fn addresses(router: &RouterStatus) -> impl Iterator<Item = &str> {
    let all = router.addresses.iter();
    all.map(|has| has.address.split(['/', ' ']).next().unwrap_or_default())
}

fn place(router: &RouterStatus) -> String {
    format!("{}/{}", router.interface, router.vrid)
}

/// That no router is on an interface.
pub fn unknown_interface(name: &str, status: &Status) -> String {
    let near = near(name, status.interfaces.iter().map(|interface| interface.name.as_str()));
    format!("no virtual router is on the interface `{name}`{near}")
}

/// The names that a word may have been meant for, as `; near are a, b`; nothing if there are none.
pub fn near<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    let lower = word.to_lowercase();
    let most = if lower.chars().count() > 5 { 2 } else { 1 };
    let distance = |name: &str| {
        let name = name.to_lowercase();
        if name.len() > 64 || lower.len() > 64 {
            return None;
        }
        let within = !lower.is_empty() && (name.contains(&lower) || lower.contains(&name));
        let distance = strsim::osa_distance(&lower, &name);
        (within || distance <= most).then_some(distance)
    };
    let mut found: Vec<(usize, &str)> =
        names.filter_map(|name| Some((distance(name)?, name))).collect();
    found.sort_unstable();
    found.dedup();
    let found: Vec<&str> = found.into_iter().take(NEAR).map(|(_, name)| name).collect();
    if found.is_empty() { String::new() } else { format!("; near are {}", found.join(", ")) }
}

/// Whether a text matches a pattern. Back to the last `*` only, so that no pattern takes long.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut reached, mut star) = (0, 0, None);
    while let Some(c) = text.get(reached) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, reached));
                at += 1;
            }
            Some(p) if *p == '?' || p == c => {
                at += 1;
                reached += 1;
            }
            Some(_) | None => {
                let Some((begin, taken)) = star else { return false };
                star = Some((begin, taken + 1));
                (at, reached) = (begin + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|p| *p == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_patterns_or_addresses() {
        assert_eq!(Wanted::new("VI_1"), Wanted::Name("VI_1".to_owned()));
        assert_eq!(Wanted::new("VI_*"), Wanted::Pattern("VI_*".to_owned()));
        assert_eq!(Wanted::new("fe80::1"), Wanted::Address("fe80::1".parse().unwrap()));
        for (pattern, text, expected) in [
            ("*", "", true),
            ("VI_*", "VI_1", true),
            ("VI_?", "VI_10", false),
            ("*_1*0", "VI_1110", true),
            ("*a*b", "aXbXa", false),
            ("eth0/*", "eth0/51", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let long = "a".repeat(4_000);
        assert!(!matches(&"*a".repeat(500).replace("*a*a", "*a"), &format!("{long}b")));
    }

    #[test]
    fn near_names_are_listed() {
        let names = ["VI_1", "VI_10", "web-front", "edge"];
        let said = |word| near(word, names.into_iter());
        assert_eq!(said("VI_2"), "; near are VI_1");
        assert_eq!(said("vi_1"), "; near are VI_1, VI_10");
        assert_eq!(said("front"), "; near are web-front");
        assert_eq!(said("database"), "");
    }
}
