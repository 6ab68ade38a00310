//! A route.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use strum::VariantNames;

use super::words::{Word, Words};
use super::{
    Context, Encap, Family, NET_NAMESPACE, NETNS, PROTOCOL, Prefix, Remark, TRACK_GROUP, any,
    encap, marked, option, realms, unknown_option,
};
use crate::config::report::{Located, Position};
use crate::config::text::{self, number};
use crate::types::netns::{self, Netns};

/// What remarks call it.
const KIND: &str = "route";
/// `RT_TABLE_MAIN` (linux/rtnetlink.h).
const MAIN: u32 = 254;

/// A route (`ip-route(8)`). Numbers are those of `struct rtmsg` and its attributes (rtnetlink(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where to; tells the family.
    pub destination: Prefix,
    /// What becomes of a packet.
    pub kind: RouteKind,
    /// Only for packets from there; IPv6.
    pub from: Option<Prefix>,
    /// Source address of what this host sends.
    pub src: Option<IpAddr>,
    /// Gateway.
    pub via: Option<IpAddr>,
    /// Interface.
    pub dev: Option<String>,
    /// The gateway is on the interface, even if no address of it says so.
    pub onlink: bool,
    /// Several ways instead of one.
    pub nexthops: Vec<NextHop>,
    /// Routing table.
    pub table: u32,
    /// Only for packets with this type of service; IPv4.
    pub tos: u8,
    /// Lower ones go first; `None` for the kernel's default.
    pub metric: Option<u32>,
    /// Scope; `None` for global, which is what a VRRP daemon asks for.
    pub scope: Option<u8>,
    /// Who made it: [`PROTOCOL`] unless it is not tracked.
    pub protocol: u8,
    /// Realms, IPv4: where from in the upper half, where to in the lower.
    pub realms: Option<u32>,
    /// Metrics for what this host sends.
    pub metrics: Vec<(Metric, u32)>,
    /// Which metrics the kernel must not adapt: a bit each.
    pub locked: u32,
    /// Whether explicit congestion notification is used.
    pub ecn: bool,
    /// Congestion control algorithm.
    pub congctl: Option<String>,
    /// Preference of a router (RFC 4191), IPv6.
    pub pref: Option<u8>,
    /// For how many seconds it stays, IPv6.
    pub expires: Option<u32>,
    /// Whether the TTL is handed on between IP and MPLS.
    pub ttl_propagate: Option<bool>,
    /// What packets are put into.
    pub encap: Option<Encap>,
    /// Where it goes among routes to the same destination.
    pub insert: InsertMode,
    /// `no_track`: its removal from outside does not matter.
    pub no_track: bool,
    /// `track_group`: which routers follow it, where it is there whoever is master.
    pub track_group: Option<String>,
    /// The network namespace that it is in; `None` for that of the daemon.
    pub netns: Option<Netns>,
}

/// What becomes of a packet (`RTN_*`, linux/rtnetlink.h).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::EnumString,
)]
#[strum(serialize_all = "lowercase")]
#[repr(u8)]
pub enum RouteKind {
    /// Goes on to the gateway, or to the destination.
    #[default]
    Unicast = 1,
    /// Is for this host.
    Local = 2,
    /// Is a broadcast.
    #[strum(to_string = "broadcast", serialize = "brd")]
    Broadcast = 3,
    /// Is for this host, and sent as a broadcast.
    Anycast = 4,
    /// Is a multicast.
    Multicast = 5,
    /// Is dropped.
    Blackhole = 6,
    /// Is answered with "destination unreachable".
    Unreachable = 7,
    /// Is answered with "administratively prohibited".
    Prohibit = 8,
    /// Is looked up in the next table.
    Throw = 9,
}

/// One of several ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Gateway.
    pub via: Option<IpAddr>,
    /// Interface.
    pub dev: Option<String>,
    /// Its share, 1-256.
    pub weight: u16,
    /// The gateway is on the interface, even if no address of it says so.
    pub onlink: bool,
    /// Realms.
    pub realms: Option<u32>,
    /// What packets are put into.
    pub encap: Option<Encap>,
}

/// Where a route goes among those to the same destination, of the same table and metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InsertMode {
    /// Before the others, the kernel's default.
    #[default]
    First,
    /// Only if there is no other, as `ip route add` does.
    Only,
    /// Behind the others.
    Last,
}

/// A metric (`RTAX_*`, linux/rtnetlink.h).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumString, strum::VariantNames,
)]
#[strum(serialize_all = "lowercase")]
#[repr(u8)]
pub enum Metric {
    /// Bytes in a packet.
    Mtu = 2,
    /// Bytes.
    Window = 3,
    /// Round-trip time in 1/8 ms.
    Rtt = 4,
    /// Its variance in 1/4 ms.
    RttVar = 5,
    /// Segments.
    SsThresh = 6,
    /// Segments.
    Cwnd = 7,
    /// Bytes in a segment.
    AdvMss = 8,
    /// Packets.
    Reordering = 9,
    /// Hops.
    HopLimit = 10,
    /// Segments.
    InitCwnd = 11,
    /// Milliseconds.
    #[strum(serialize = "rto_min")]
    RtoMin = 13,
    /// Segments.
    InitRwnd = 14,
    /// 0 or 1.
    QuickAck = 15,
    /// 0 or 1.
    #[strum(serialize = "fastopen_no_cookie")]
    FastopenNoCookie = 17,
}

/// `RTAX_CC_ALGO` (linux/rtnetlink.h), for [`Route::locked`].
const CC_ALGO: u8 = 16;

impl Metric {
    /// The largest value.
    fn max(self) -> u32 {
        let bounded = [(Self::HopLimit, 255), (Self::QuickAck, 1), (Self::FastopenNoCookie, 1)];
        bounded.into_iter().find(|(of, _)| *of == self).map_or(u32::MAX, |(_, max)| max)
    }

    /// Units of a time in a millisecond; `None` if it is no time.
    fn per_millisecond(self) -> Option<u64> {
        let times = [(Self::Rtt, 8), (Self::RttVar, 4), (Self::RtoMin, 1)];
        times.into_iter().find(|(of, _)| *of == self).map(|(_, units)| units)
    }

    /// The value in the kernel's unit: a number as it is, or a time with `s` or `ms` behind it.
    fn value(self, text: &str) -> Option<u32> {
        let lower = text.to_ascii_lowercase();
        let bare = lower.trim_end_matches("secs").trim_end_matches("sec").trim_end_matches('s');
        let (Some(units), true) = (self.per_millisecond(), bare != lower) else {
            return number(text);
        };
        let (amount, factor) = match bare.strip_suffix('m') {
            Some(amount) => (amount, 1),
            None => (bare, 1_000),
        };
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        let thousandths: u64 = format!("{fraction:0<3.3}").parse().ok()?;
        let whole: u64 =
            if whole.is_empty() && !fraction.is_empty() { 0 } else { whole.parse().ok()? };
        let thousandths = whole.checked_mul(1_000)?.checked_add(thousandths)?;
        u32::try_from(thousandths.checked_mul(factor * units)? / 1_000).ok()
    }
}

/// The other words, for suggestions.
const OPTIONS: &[&str] = &[
    "inet", "inet6", "to", "from", "src", "via", "dev", "onlink", "table", "tos", "metric",
    "scope", "protocol", "realms", "features", "congctl", "pref", "expires", "ttl-propagate",
    "encap", "prepend", "add", "append", "nexthop", "no_track", "track_group", "netns",
    "blackhole", "unreachable", "prohibit", "throw", "default",
];

/// A route of which the destination may not be known yet.
#[derive(Default)]
struct Draft {
    destination: Option<Option<Prefix>>,
    from: Option<Option<Prefix>>,
    protocol: Option<u8>,
    route: Route,
}

/// Reads a route.
pub(super) fn read(
    words: &[Located<String>],
    at: Position,
    context: &mut Context,
    remarks: &mut Vec<Remark>,
) -> Result<Route, Remark> {
    let mut words = Words::new(words);
    let mut draft = Draft {
        route: Route { table: MAIN, protocol: PROTOCOL, ..Route::default() },
        ..Draft::default()
    };
    while let Some(word) = words.next() {
        if !draft.option(word, &mut words, context, remarks)? && !draft.metric(word, &mut words)? {
            draft.destination(word, &mut words)?;
        }
    }
    draft.finish(at, &words, remarks)
}

impl Draft {
    /// Whether it is an option.
    fn option(
        &mut self,
        word: &Word,
        words: &mut Words<'_>,
        context: &mut Context,
        remarks: &mut Vec<Remark>,
    ) -> Result<bool, Remark> {
        let route = &mut self.route;
        match word.value.as_str() {
            "inet" => words.admit(Family::V4, word.at)?,
            "inet6" => words.admit(Family::V6, word.at)?,
            "src" => route.src = Some(words.address(word)?),
            "from" => {
                let from = words.value(word)?;
                words.admit(Family::V6, word.at)?;
                self.from = Some(words.prefix(from)?);
            }
            "via" | "gw" => route.via = Some(gateway(word, words)?),
            "dev" | "oif" => route.dev = Some(words.interface(word)?),
            "onlink" => route.onlink = true,
            "table" => route.table = words.named(word, |text| context.table(text))?,
            "tos" | "dsfield" => route.tos = words.named(word, |text| context.tos(text))?,
            "metric" | "priority" | "preference" => {
                route.metric = Some(words.number(word, u32::MAX.into())?);
            }
            "scope" => route.scope = Some(words.named(word, |text| context.scope(text))?),
            "protocol" => self.protocol = Some(words.named(word, |text| context.protocol(text))?),
            "realms" => {
                words.admit(Family::V4, word.at)?;
                route.realms = Some(words.named(word, |text| context.realms(text))?);
            }
            "features" => match words.value(word)? {
                feature if feature.value == "ecn" => route.ecn = true,
                feature => {
                    let message = format!("unknown feature `{}`; it is ignored", feature.value);
                    remarks.push(Remark::new(feature.at, message, "ecn is the only one"));
                }
            },
            "congctl" => {
                if words.take("lock") {
                    route.locked |= 1 << CC_ALGO;
                }
                route.congctl = Some(words.value(word)?.value.clone());
            }
            "pref" => {
                words.admit(Family::V6, word.at)?;
                route.pref = Some(words.named(word, preference)?);
            }
            "expires" => {
                words.admit(Family::V6, word.at)?;
                route.expires = Some(words.number(word, u32::MAX.into())?);
            }
            "ttl-propagate" => {
                let on = words.named::<u32>(word, |text| match text {
                    "enabled" => Some(1),
                    "disabled" => Some(0),
                    _ => None,
                })?;
                route.ttl_propagate = Some(on == 1);
            }
            "prepend" => route.insert = InsertMode::First,
            "add" => route.insert = InsertMode::Only,
            "append" => route.insert = InsertMode::Last,
            "no_track" => route.no_track = true,
            TRACK_GROUP => route.track_group = Some(words.value(word)?.value.clone()),
            NETNS | NET_NAMESPACE => route.netns = Some(words.netns(word)?),
            "or" => {
                let first = NextHop { via: route.via.take(), weight: 1, ..NextHop::default() };
                let via = Some(words.address(word)?);
                route.nexthops = vec![first, NextHop { via, weight: 1, ..NextHop::default() }];
            }
            "nexthop" => self.nexthop(word, words, context)?,
            "encap" => route.encap = Some(encap::read(word, words, context)?),
            option @ ("vrf" | "as") => {
                let hint = match option {
                    "vrf" => "name its table instead",
                    _ => "the kernel has no routes that translate addresses",
                };
                return Err(Remark::new(word.at, format!("{option} is not supported"), hint));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn metric(&mut self, word: &Word, words: &mut Words<'_>) -> Result<bool, Remark> {
        let Ok(metric) = word.value.parse::<Metric>() else { return Ok(false) };
        if words.take("lock") {
            self.route.locked |= 1 << metric as u32;
        }
        let written = words.value(word)?;
        let value = metric.value(&written.value).filter(|value| *value <= metric.max());
        let Some(value) = value else {
            let message = format!("{metric} cannot be `{}`", written.value);
            return Err(Remark::new(written.at, message, ""));
        };
        self.route.metrics.retain(|(other, _)| *other != metric);
        self.route.metrics.push((metric, value));
        Ok(true)
    }

    /// `[to] [TYPE] PREFIX`.
    fn destination(&mut self, word: &Word, words: &mut Words<'_>) -> Result<(), Remark> {
        let mut word = word;
        if word.value == "to" {
            word = words.value(word)?;
        }
        if let Ok(kind) = word.value.parse() {
            self.route.kind = kind;
            word = words.value(word)?;
        }
        if word.value == "default6" {
            words.admit(Family::V6, word.at)?;
            self.destination = Some(None);
            return Ok(());
        }
        let prefix = words.prefix(word).map_err(|remark| {
            if word.value.starts_with(|first: char| first.is_ascii_digit() || first == ':') {
                return remark;
            }
            let metrics = Metric::VARIANTS.iter().copied();
            unknown_option(KIND, word, OPTIONS.iter().copied().chain(metrics))
        })?;
        self.destination = Some(prefix);
        Ok(())
    }

    /// `nexthop [via ADDRESS] [dev NAME] [weight N] [onlink] [realms R] [encap ...]`.
    fn nexthop(
        &mut self,
        word: &Word,
        words: &mut Words<'_>,
        context: &mut Context,
    ) -> Result<(), Remark> {
        let mut hop = NextHop { weight: 1, ..NextHop::default() };
        while !matches!(words.peek(), "" | "nexthop") {
            let option = words.value(word)?;
            match option.value.as_str() {
                "via" => hop.via = Some(gateway(option, words)?),
                "dev" => hop.dev = Some(words.interface(option)?),
                "onlink" => hop.onlink = true,
                "weight" => {
                    hop.weight = words.number(option, 256)?;
                    if hop.weight == 0 {
                        return Err(Remark::new(option.at, "weight must be 1 to 256, not 0", ""));
                    }
                }
                "realms" => {
                    words.admit(Family::V4, option.at)?;
                    hop.realms = Some(words.named(option, |text| context.realms(text))?);
                }
                "encap" => hop.encap = Some(encap::read(option, words, context)?),
                other => {
                    let message = format!("a nexthop has no option `{other}`");
                    let hint = "nexthops stand at the end: via, dev, weight, onlink, realms, encap";
                    return Err(Remark::new(option.at, message, hint));
                }
            }
        }
        if hop.via.is_none() && hop.dev.is_none() {
            return Err(Remark::new(word.at, "a nexthop leads nowhere", "add via or dev"));
        }
        self.route.nexthops.push(hop);
        Ok(())
    }

    fn finish(
        self,
        at: Position,
        words: &Words<'_>,
        remarks: &mut Vec<Remark>,
    ) -> Result<Route, Remark> {
        let Self { destination, from, protocol, mut route } = self;
        let Some(destination) = destination else {
            return Err(Remark::new(
                at, "a route has no destination", "like 10.0.0.0/8, or default",
            ));
        };
        let family = words.family.unwrap_or(Family::V4);
        route.destination = destination.unwrap_or_else(|| any(family));
        route.from = from.map(|from| from.unwrap_or_else(|| any(family)));
        if let Prefix { address: IpAddr::V4(address), length } = route.destination {
            let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            if address.to_bits() & host != 0 {
                let network = Ipv4Addr::from_bits(address.to_bits() & !host);
                let network = Prefix { address: network.into(), length };
                let message = format!("{address}/{length} is an address, not a network");
                return Err(Remark::new(at, message, format!("write {network}")));
            }
        }
        if !route.nexthops.is_empty() && (route.via.is_some() || route.dev.is_some()) {
            if route.nexthops.iter().any(|hop| hop.dev.is_some()) || route.via.is_some() {
                let message = "a route has nexthops, and via or dev outside of them";
                return Err(Remark::new(at, message, "put them into the nexthops"));
            }
            // `via A or B dev IF` means both.
            let dev = route.dev.take();
            for hop in &mut route.nexthops {
                hop.dev.clone_from(&dev);
            }
        }
        if let Some(protocol) = protocol {
            route.protocol = marked(KIND, protocol, route.no_track, at, remarks);
        }
        route.place_in(None);
        let elsewhere = |dev: &&str| netns::of_interface(dev) != route.netns;
        if let Some(dev) = route.devs().find(elsewhere) {
            let message = format!("a route is in one network namespace, and {dev} in another one");
            return Err(Remark::new(at, message, ""));
        }
        Ok(route)
    }
}

/// `via [inet|inet6] ADDRESS`.
fn gateway(option: &Word, words: &mut Words<'_>) -> Result<IpAddr, Remark> {
    for (name, family) in [("inet", Family::V4), ("inet6", Family::V6)] {
        if words.take(name) {
            words.admit(family, option.at)?;
        }
    }
    words.address(option)
}

/// Names of router preferences (`ICMPV6_ROUTER_PREF_*`, linux/icmpv6.h).
fn preference(text: &str) -> Option<u32> {
    match text {
        "low" => Some(3),
        "medium" => Some(0),
        "high" => Some(1),
        _ => number::<u8>(text).map(u32::from),
    }
}

impl Route {
    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.destination.address)
    }

    /// The interfaces that it context.
    pub fn devs(&self) -> impl Iterator<Item = &str> {
        let hops = self.nexthops.iter().filter_map(|hop| hop.dev.as_deref());
        self.dev.as_deref().into_iter().chain(hops)
    }

    /// Says in which network namespace it is: in its own, else in that of its interfaces, else in that `usual` one. All of them
    /// are in the same.
    pub fn place_in(&mut self, usual: Option<&Netns>) {
        let of_devs = self.devs().find_map(netns::of_interface);
        self.netns = self.netns.take().or(of_devs).or_else(|| usual.cloned());
        let Some(netns) = &self.netns else { return };
        let hops = self.nexthops.iter_mut().flat_map(|hop| &mut hop.dev);
        self.dev.iter_mut().chain(hops).for_each(|dev| *dev = netns.interface(dev));
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nexthop")?;
        option(f, "via", self.via)?;
        option(f, "dev", self.dev.as_ref())?;
        option(f, "weight", Some(self.weight).filter(|weight| *weight != 1))?;
        if self.onlink {
            f.write_str(" onlink")?;
        }
        realms(f, self.realms)?;
        self.encap.as_ref().map_or(Ok(()), |encap| write!(f, " {encap}"))
    }
}

impl fmt::Display for Route {
    /// As `ip route` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", self.kind)?;
        }
        if self.destination == any(Family::V4) {
            f.write_str("default")?;
        } else {
            self.destination.fmt(f)?;
        }
        option(f, "from", self.from)?;
        option(f, "via", self.via)?;
        option(f, "dev", self.dev.as_ref())?;
        if self.onlink {
            f.write_str(" onlink")?;
        }
        option(f, "src", self.src)?;
        option(f, "table", Some(self.table).filter(|table| *table != MAIN))?;
        option(f, "metric", self.metric)?;
        option(f, "scope", self.scope.map(text::scope_name))?;
        option(f, "tos", Some(self.tos).filter(|tos| *tos != 0))?;
        option(f, "protocol", Some(self.protocol).filter(|protocol| *protocol != PROTOCOL))?;
        realms(f, self.realms)?;
        for (metric, value) in &self.metrics {
            let lock = if self.locked & 1 << *metric as u32 == 0 { "" } else { " lock" };
            write!(f, " {metric}{lock} {value}")?;
        }
        if self.ecn {
            f.write_str(" features ecn")?;
        }
        let lock = if self.locked & 1 << CC_ALGO == 0 { "" } else { " lock" };
        option(f, &format!("congctl{lock}"), self.congctl.as_ref())?;
        option(f, "pref", self.pref)?;
        option(f, "expires", self.expires)?;
        let propagate = self.ttl_propagate.map(|on| if on { "enabled" } else { "disabled" });
        option(f, "ttl-propagate", propagate)?;
        // Words behind it might be taken for its own, but for those that follow here.
        self.encap.as_ref().map_or(Ok(()), |encap| write!(f, " {encap}"))?;
        match self.insert {
            InsertMode::First => {}
            InsertMode::Only => f.write_str(" add")?,
            InsertMode::Last => f.write_str(" append")?,
        }
        if self.no_track {
            f.write_str(" no_track")?;
        }
        option(f, TRACK_GROUP, self.track_group.as_ref())?;
        option(f, NETNS, self.netns.as_ref())?;
        for hop in &self.nexthops {
            write!(f, " {hop}")?;
        }
        Ok(())
    }
}
