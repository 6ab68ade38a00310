//! One entry for many routers: lists of numbers, and texts with variables in braces.

use std::ops::RangeInclusive;

use crate::config::text::closest;

/// Highest number in a range of interfaces.
const MAX_INTERFACE: u32 = 65_535;
/// Most numbers in a list.
const MAX_NUMBERS: usize = 65_536;

/// What the variables stand for in one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Variables {
    /// `{vrid}`; `None` where it is not known (yet), or no number.
    pub(in crate::config) vrid: Option<u32>,
    /// `{interface}`; `None` where it is not known yet.
    pub(in crate::config) interface: Option<String>,
    /// `{index}`: the number out of a range of interfaces, or the place in a list of them, from 0.
    pub(in crate::config) index: u32,
}

/// Numbers and ranges, `1-9,20`, in the order in which they are written.
/// Errors: what is wrong.
pub(in crate::config) fn numbers(
    text: &str,
    allowed: RangeInclusive<u32>,
) -> Result<Vec<u32>, String> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let parsed = text.trim().parse().ok();
            parsed.filter(|number| allowed.contains(number)).ok_or_else(|| {
                let (low, high) = (allowed.start(), allowed.end());
                format!("`{}` is no number from {low} to {high}", text.trim())
            })
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{first}-{last} runs backwards"));
        }
        numbers.extend(first..=last);
        if numbers.len() > MAX_NUMBERS {
            return Err(format!("these are more than {MAX_NUMBERS}"));
        }
    }
    Ok(numbers)
}

/// Names of interfaces: `eth{0-3}` with one range in braces, each with its number, or the name itself with 0.
/// Other braces are left for [`expand`].
/// Errors: what is wrong.
pub(in crate::config) fn interfaces(pattern: &str) -> Result<Vec<(String, u32)>, String> {
    let range = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ',' | ' '))
    };
    let mut from = 0;
    while let Some((before, body, after)) = braces(pattern, from) {
        if range(body) {
            let numbers = numbers(body, 0..=MAX_INTERFACE)?;
            return Ok(numbers.iter().map(|n| (format!("{before}{n}{after}"), *n)).collect());
        }
        from = pattern.len() - after.len();
    }
    Ok(vec![(pattern.to_owned(), 0)])
}

/// The first `{body}` at or behind `from`, with what stands before and behind it.
fn braces(text: &str, from: usize) -> Option<(&str, &str, &str)> {
    let open = text.get(from..)?.find('{')? + from;
    let length = text.get(open..)?.find('}')?;
    Some((text.get(..open)?, text.get(open + 1..open + length)?, text.get(open + length + 1..)?))
}

/// Replaces variables: `{vrid}`, `{vrid+100}`, `{index-1}`, `{vrid:x}`, `{vrid:03}`, `{interface}`. `{{` and
/// `}}` stand for single braces.
/// Errors: what is wrong, and what to do about it.
pub(in crate::config) fn expand(
    text: &str,
    variables: &Variables,
) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (plain, tail) = rest.split_at(at);
        out += plain;
        if let Some(after) = tail.strip_prefix("{{").or_else(|| tail.strip_prefix("}}")) {
            out += tail.get(..1).unwrap_or("");
            rest = after;
        } else if let Some((body, after)) = tail.strip_prefix('{').and_then(|t| t.split_once('}')) {
            out += &value(body, variables)?;
            rest = after;
        } else {
            let brace = tail.get(..1).unwrap_or("");
            return Err((
                format!("`{brace}` stands alone in \"{text}\""),
                format!("write {brace}{brace} for a brace that is meant as one"),
            ));
        }
    }
    out += rest;
    Ok(out)
}

/// What `{body}` stands for.
fn value(body: &str, variables: &Variables) -> Result<String, (String, String)> {
    let (expression, format) = match body.split_once(':') {
        Some((expression, format)) => (expression, Some(format)),
        None => (body, None),
    };
    let (name, offset) = match expression.find(['+', '-']) {
        Some(sign) => {
            let (name, offset) = expression.split_at(sign);
            let digits = offset.get(1..).unwrap_or("").trim();
            let number = digits.parse::<u32>().ok().map(i64::from);
            let number = number.ok_or_else(|| {
                let message = format!("`{digits}` in {{{body}}} is no number");
                (message, "write {vrid+100} or {vrid-1}".to_owned())
            })?;
            (name, if offset.starts_with('-') { -number } else { number })
        }
        None => (expression, 0),
    };
    let known = match name.trim() {
        "vrid" => variables.vrid,
        "index" => Some(variables.index),
        "interface" if offset == 0 && format.is_none() && variables.interface.is_some() => {
            return Ok(variables.interface.clone().unwrap_or_default());
        }
        other => return Err(unknown(other, body)),
    };
    let Some(known) = known else {
        return Err((format!("{{{body}}}: the vrid is no number"), String::new()));
    };
    let number = i64::from(known) + offset;
    if number < 0 {
        return Err((format!("{{{body}}} is {number}, below 0"), String::new()));
    }
    match format {
        None => Ok(number.to_string()),
        Some("x") => Ok(format!("{number:x}")),
        Some(width) => {
            let digits = width.strip_prefix('0').and_then(|width| width.parse::<usize>().ok());
            let Some(width) = digits.filter(|width| (1..=9).contains(width)) else {
                let message = format!("unknown format `{width}` in {{{body}}}");
                let hint = "x for hexadecimal, or 03 for three digits".to_owned();
                return Err((message, hint));
            };
            Ok(format!("{number:0width$}"))
        }
    }
}

fn unknown(name: &str, body: &str) -> (String, String) {
    const NAMES: [&str; 3] = ["vrid", "interface", "index"];
    let message = match name {
        "interface" => format!("{{{body}}} cannot be used here"),
        _ => format!("unknown variable {{{body}}}"),
    };
    let hint = match closest(name, NAMES.into_iter()).filter(|known| *known != name) {
        Some(known) => format!("did you mean {{{known}}}?"),
        None => "there are {vrid}, {interface} and {index}; {{ and }} stand for single braces"
            .to_owned(),
    };
    (message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables { vrid: Some(17), interface: Some("eth2".to_owned()), index: 2 }
    }

    #[test]
    fn lists() {
        assert_eq!(numbers("1-3, 7,9 - 10", 1..=255).unwrap(), [1, 2, 3, 7, 9, 10]);
        assert_eq!(numbers("5", 1..=255).unwrap(), [5]);
        for bad in ["", "0", "256", "3-1", "1-", "-1", "a", "1,,2", "1-2-3"] {
            assert!(numbers(bad, 1..=255).is_err(), "{bad}");
        }
        assert!(numbers("0-65535,0-65535", 0..=65_535).unwrap_err().contains("more than"));
    }

    #[test]
    fn interface_ranges() {
        let names = |pattern| interfaces(pattern).unwrap();
        let named = |name: &str, n| (name.to_owned(), n);
        assert_eq!(names("eth0"), [named("eth0", 0)]);
        assert_eq!(names("eth{2-3}.7"), [named("eth2.7", 2), named("eth3.7", 3)]);
        assert_eq!(names("eth0.{vrid}"), [named("eth0.{vrid}", 0)]);
        assert_eq!(names("e{vrid}.{1,4}"), [named("e{vrid}.1", 1), named("e{vrid}.4", 4)]);
        assert!(interfaces("eth{3-1}").is_err());
        assert!(interfaces("eth{0-70000}").is_err());
    }

    #[test]
    fn expressions() {
        let expand = |text| expand(text, &variables());
        let shown = |text| expand(text).unwrap();
        assert_eq!(shown("gw-{vrid}"), "gw-17");
        assert_eq!(shown("10.{index}.{vrid+100}.1/24"), "10.2.117.1/24");
        assert_eq!(shown("{vrid-17}{vrid:x}{vrid+1:03}{interface}"), "011018eth2");
        assert_eq!(shown("a {{b}} {{{vrid}}}"), "a {b} {17}");
        assert_eq!(shown("plain"), "plain");
        for (bad, message) in [
            ("{vird}", "unknown variable {vird}"),
            ("{}", "unknown variable {}"),
            ("{vrid-18}", "{vrid-18} is -1, below 0"),
            ("{vrid+x}", "`x` in {vrid+x} is no number"),
            ("{vrid:y}", "unknown format `y` in {vrid:y}"),
            ("{vrid:099}", "unknown format `099` in {vrid:099}"),
            ("{interface+1}", "{interface+1} cannot be used here"),
            ("a{", "`{` stands alone in \"a{\""),
            ("a}b", "`}` stands alone in \"a}b\""),
        ] {
            assert_eq!(expand(bad).unwrap_err().0, message);
        }
        assert_eq!(expand("{vird}").unwrap_err().1, "did you mean {vrid}?");
    }
}
