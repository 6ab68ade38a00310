//! The small notations that both formats share.

use std::net::{IpAddr, Ipv4Addr};

use crate::types::netns::{self, Netns};

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

/// Longest interface name or label, in bytes (`IFNAMSIZ`, linux/if.h, without the final NUL).
pub(super) const MAX_NAME: usize = 15;

/// What strtol(3) with base 0 makes of a text without blanks in front: a decimal, hexadecimal (`0x`) or octal (`0`)
/// number, and what stands behind it. `None` where there is none, or one of more than 64 bits.
pub(crate) fn strtol(text: &str) -> Option<(i128, &str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = match hex {
        Some(digits) => (16, digits),
        None if digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    Some((sign * i128::from(u64::from_str_radix(digits, radix).ok()?), rest))
}

/// The whole of a text as such a number.
pub(super) fn number<T: TryFrom<i128>>(text: &str) -> Option<T> {
    strtol(text).filter(|(_, rest)| rest.is_empty()).and_then(|(number, _)| number.try_into().ok())
}

/// Numbers as `1-9,20`, in their order.
pub(crate) fn ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            Some(_) | None => runs.push((number, number)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// The bytes of an Ethernet address, five or six.
pub(super) fn mac(written: &str) -> Option<Vec<u8>> {
    let byte = |text: &str| {
        let is_short = (1..=2).contains(&text.len());
        u8::from_str_radix(text, 16).ok().filter(|_| is_short && !text.starts_with('+'))
    };
    let bytes: Option<Vec<u8>> = written.trim().split(':').map(byte).collect();
    bytes.filter(|bytes| matches!(bytes.len(), 5 | 6))
}

/// Bytes out of pairs of hexadecimal digits.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits =
        text.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let bytes = digits.chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect()
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

/// Whether the kernel would take this as the name of an interface (`dev_valid_name`, net/core/dev.c), with the network
/// namespace that it is in before it, or without.
pub(super) fn is_interface_name(name: &str) -> bool {
    let (netns, name) = netns::split(name);
    if netns.is_some_and(|netns| netns.parse::<Netns>().is_err()) {
        return false;
    }
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
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn numbers_in_the_notation_of_c() {
        for (text, value, rest) in [
            ("254 and more", 254, " and more"),
            ("-5", -5, ""),
            ("+7", 7, ""),
            ("0x1Fg", 31, "g"),
            ("0X10", 16, ""),
            ("010", 8, ""),
            ("08", 0, "8"),
            ("0", 0, ""),
            ("18446744073709551615", u64::MAX.into(), ""),
        ] {
            assert_eq!(strtol(text), Some((value, rest)), "{text}");
        }
        for bad in ["", "-", "+-1", "--1", "x", "0x", "18446744073709551616", "\u{e9}"] {
            assert_eq!(strtol(bad), None, "{bad}");
        }
        let bytes = [number::<u8>("022"), number("256"), number("-1"), number("8a")];
        assert_eq!(bytes, [Some(18), None, None, None]);
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
    fn interfaces_may_be_in_another_network_namespace() {
        for good in ["eth0", "red/eth0", "/proc/1/ns/net/eth0", "red/123456789012345"] {
            assert!(is_interface_name(good), "{good}");
        }
        for bad in ["red/", "/eth0", "../eth0", "a/b/eth0", "red/eth:0", "red/1234567890123456"] {
            assert!(!is_interface_name(bad), "{bad}");
        }
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
