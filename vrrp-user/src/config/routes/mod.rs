//! Routes and rules, as iproute2 and keepalived write them in a line.
//!
//! One grammar serves both formats: what a TOML file says in a table is brought into the same words. What is
//! here can be shown as such a line again, and reading that gives the same.

mod encap;
mod names;
mod route;
mod rule;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::encap::{Encap, IpEncap, Seg6Mode, srh_length};
pub(super) use self::names::Context;
pub use self::route::{InsertMode, Metric, Route};
pub use self::rule::{Action, Rule};
#[cfg(test)]
pub use self::tests::{parse_route, parse_rule};
use self::words::Word;
use super::address::Address;
use super::report::{Located, Position};
use super::text;
use crate::wire::family::Family;

/// The mark of routes and rules that a VRRP daemon adds (`RTPROT_KEEPALIVED`, linux/rtnetlink.h).
pub const PROTOCOL: u8 = 18;

/// Something about a line that its author should know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Remark {
    pub(super) at: Position,
    pub(super) message: String,
    /// What to do; may be empty.
    pub(super) hint: String,
}

impl Remark {
    fn new(at: Position, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: hint.into() }
    }
}

/// Reads one line. `at` is where it begins. What does not keep it from being used goes into `remarks`.
/// Errors: why it cannot be used.
pub(super) type Reader<T> =
    fn(&[Located<String>], Position, &mut Context, &mut Vec<Remark>) -> Result<T, Remark>;

pub(super) const ROUTE: Reader<Route> = route::read;
pub(super) const RULE: Reader<Rule> = rule::read;

/// A word that no option begins with, and the one that may be meant.
fn unknown_option<'a>(kind: &str, word: &Word, known: impl Iterator<Item = &'a str>) -> Remark {
    let hint = text::closest(&word.value, known).map(|known| format!("did you mean {known}?"));
    let message = format!("a {kind} has no option `{}`", word.value);
    Remark::new(word.at, message, hint.unwrap_or_default())
}

/// The option that names the network namespace, and how keepalived calls that.
const NETNS: &str = "netns";
const NET_NAMESPACE: &str = "net_namespace";

/// The option that names who follows what is there whoever is master.
pub(super) const TRACK_GROUP: &str = "track_group";

/// Takes that option out of a line. The group, if it is in it.
pub(super) fn take_group(words: &mut Vec<Located<String>>) -> Option<Located<String>> {
    let place = words.iter().position(|word| word.value == TRACK_GROUP)?;
    let taken: Vec<_> = words.drain(place..words.len().min(place + 2)).collect();
    taken.into_iter().nth(1)
}

/// The protocol that a route or rule is added with. What is tracked is known by [`PROTOCOL`].
fn marked(kind: &str, written: u8, no_track: bool, at: Position, remarks: &mut Vec<Remark>) -> u8 {
    if no_track || written == PROTOCOL {
        return written;
    }
    let message =
        format!("a {kind} with another protocol cannot be tracked; its protocol is keepalived");
    remarks.push(Remark::new(at, message, "add no_track, or remove protocol"));
    PROTOCOL
}

/// An option with its value, if it has one.
fn option<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: Option<T>,
) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {name} {value}"))
}

/// As iproute2 shows them.
fn realms(f: &mut fmt::Formatter<'_>, realms: Option<u32>) -> fmt::Result {
    match realms.map(|realms| (realms >> 16, realms & 0xffff)) {
        None => Ok(()),
        Some((0, to)) => write!(f, " realms {to}"),
        Some((from, to)) => write!(f, " realms {from}/{to}"),
    }
}

/// All addresses of a family.
fn any(family: Family) -> Prefix {
    let address = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    Prefix { address, length: 0 }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The first one.
    pub address: IpAddr,
    /// How many bits all of them have in common.
    pub length: u8,
}

impl Default for Prefix {
    fn default() -> Self {
        any(Family::V4)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, length } = self;
        if *length == text::full_prefix(*address) {
            address.fmt(f)
        } else {
            write!(f, "{address}/{length}")
        }
    }
}

/// What comes and goes with a router besides its addresses, and what is done when it gets lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Routing {
    /// Routes, in order.
    pub routes: Vec<Route>,
    /// Rules, in order.
    pub rules: Vec<Rule>,
    /// What a master does when somebody else removes one of its addresses, routes or rules.
    pub on_lost: OnLost,
    /// `promote_secondaries`: the addresses of a subnet stay when the first one of it is removed. `None`: where routers
    /// share one ([`Config::promoting`](super::model::Config::promoting)).
    pub promote_secondaries: Option<bool>,
}

/// What a master does when somebody else removes something of its.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum OnLost {
    /// It lets another router be master for a moment, as keepalived does.
    #[default]
    Yield,
    /// It puts it back.
    Restore,
}

impl OnLost {
    /// `yield` or `restore`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What is there as long as the daemon runs, whoever is master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fixed {
    /// Addresses; each of them names its interface.
    pub addresses: Vec<Address>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Rules.
    pub rules: Vec<Rule>,
}
