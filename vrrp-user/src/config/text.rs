//! The small notations that both formats share.

use std::net::{IpAddr, Ipv4Addr};

/// An address with an optional prefix length: `10.0.0.1`, `10.0.0.1/24`.
///
/// `None` if the address is not one. A prefix length that is none, or longer than the address, comes back as
/// the text that was written.
pub(super) fn cidr(text: &str) -> Option<(IpAddr, Option<Result<u8, &str>>)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = full_prefix(address);
    let prefix = prefix.map(|prefix| match prefix.parse::<u8>() {
        Ok(length) if length <= longest => Ok(length),
        Ok(_) | Err(_) => Err(prefix),
    });
    Some((address, prefix))
}

/// The prefix length of a single address.
pub(super) fn full_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Longest interface name or label, in octets (`IFNAMSIZ`, linux/if.h, without the final NUL).
pub(super) const MAX_NAME: usize = 15;
/// Octets out of pairs of hexadecimal digits.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits =
        text.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let octets = digits.chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    octets.collect()
}

/// Names and numbers of address scopes (rtnetlink(7), `rtm_scope`).
const SCOPES: [(&str, u8); 5] =
    [("global", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

/// A scope by name or number.
pub(super) fn scope(text: &str) -> Option<u8> {
    let named = SCOPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok())
}

/// The name of a scope, or its number.
pub(crate) fn scope_name(scope: u8) -> String {
    let named = SCOPES.iter().find(|(_, number)| *number == scope);
    named.map_or_else(|| scope.to_string(), |(name, _)| (*name).to_owned())
}

/// A broadcast address: an address, or `+` and `-` for all ones and all zeros in the host part.
pub(super) fn broadcast(text: &str, address: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let long_enough = prefix <= 30;
    match text {
        "+" if long_enough => Some(Ipv4Addr::from(u32::from(address) | host)),
        "-" if long_enough => Some(Ipv4Addr::from(u32::from(address) & !host)),
        _ => text.parse().ok(),
    }
}

/// Whether the kernel would take this as the name of an interface (`dev_valid_name`, net/core/dev.c).
pub(super) fn is_interface_name(name: &str) -> bool {
    // The kernel would take control characters, but no terminal should have to.
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    !name.is_empty() && name.len() <= MAX_NAME && name != "." && name != ".." && !name.contains(bad)
}

/// The word out of `words` that `word` was probably meant to be.
pub(super) fn closest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody misspells a word of 64 letters, and the distance takes quadratic time.
    if word.len() > 64 {
        return None;
    }
    let allowed = if word.chars().count() > 5 { 2 } else { 1 };
    words
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters are added, removed, replaced or exchanged with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let cell = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = cell(&last, j) + usize::from(x != *y);
            let mut least = replaced.min(cell(&last, j + 1) + 1).min(cell(&row, j) + 1);
            if j > 0 && previous == Some(*y) && b.get(j - 1) == Some(&x) {
                least = least.min(cell(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
        previous = Some(x);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("vird", "vrid"), 1);
        assert_eq!(distance("priority", "priority"), 0);
        assert_eq!(distance("pritority", "priority"), 1);
    }

    #[test]
    fn closest_is_close() {
        let words = ["priority", "interface", "vrid"];
        assert_eq!(closest("prioritty", words.into_iter()), Some("priority"));
        assert_eq!(closest("vird", words.into_iter()), Some("vrid"));
        assert_eq!(closest("vidr", words.into_iter()), None);
        assert_eq!(closest("vridd", words.into_iter()), Some("vrid"));
        assert_eq!(closest("completely", words.into_iter()), None);
    }

    #[test]
    fn broadcast_signs() {
        let address = Ipv4Addr::new(10, 0, 0, 77);
        assert_eq!(broadcast("+", address, 24), Some(Ipv4Addr::new(10, 0, 0, 255)));
        assert_eq!(broadcast("-", address, 24), Some(Ipv4Addr::new(10, 0, 0, 0)));
        assert_eq!(broadcast("+", address, 31), None);
        assert_eq!(broadcast("+", address, 32), None);
        assert_eq!(broadcast("+", address, 0), Some(Ipv4Addr::BROADCAST));
        assert_eq!(broadcast("10.0.0.127", address, 32), Some(Ipv4Addr::new(10, 0, 0, 127)));
        assert_eq!(broadcast("x", address, 24), None);
    }

    #[test]
    fn cidr_forms() {
        let address: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
        assert_eq!(cidr("10.0.0.1"), Some((address, None)));
        assert_eq!(cidr("10.0.0.1/24"), Some((address, Some(Ok(24)))));
        assert_eq!(cidr("10.0.0.1/33"), Some((address, Some(Err("33")))));
        assert_eq!(cidr("10.0.0.1/x"), Some((address, Some(Err("x")))));
        assert_eq!(cidr("10.0.0.1/255.255.255.0"), Some((address, Some(Err("255.255.255.0")))));
        assert_eq!(cidr("10.0.0"), None);
        assert!(matches!(cidr("fe80::1/129"), Some((_, Some(Err("129"))))));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert!(!is_interface_name("eth\x1b0"));
    }

    #[test]
    fn scopes() {
        assert_eq!(scope("link"), Some(253));
        assert_eq!(scope("17"), Some(17));
        assert_eq!(scope("256"), None);
        assert_eq!(scope_name(254), "host");
        assert_eq!(scope_name(17), "17");
    }
}
