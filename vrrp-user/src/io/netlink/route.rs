//! Routes and rules as netlink messages, and what the kernel says of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteMplsTtlPropagation,
    RouteNextHop, RouteNextHopFlags, RoutePreference, RouteProtocol, RouteRealm, RouteScope,
    RouteType,
};
use netlink_packet_route::rule::{
    RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::DefaultNla;
use socket2::SockFilter;

use super::encap::{self, NESTED};
use super::{Request, RouteKey, RouteRequest, RouteSeen, RuleKey, once};
use crate::config::routes::{Action, InsertMode, Metric, PROTOCOL, Prefix, Rule};
use crate::core::{InterfaceId, NamespaceId};
use crate::wire::family::Family;

/// `RTAX_FEATURE_ECN` (linux/rtnetlink.h).
const FEATURE_ECN: u32 = 1;
/// `RTM_NEWROUTE` and `RTM_DELROUTE` (linux/rtnetlink.h).
const ROUTE_MESSAGES: [u16; 2] = [24, 25];
/// `IFLA_AF_SPEC` (linux/if_link.h), with `NLA_F_NESTED`.
const AF_SPEC: u16 = 26 | NESTED;
/// `IFLA_INET_CONF` (linux/if_link.h), with `NLA_F_NESTED`.
const INET_CONF: u16 = 1 | NESTED;
/// `IPV4_DEVCONF_PROMOTE_SECONDARIES` (linux/ip.h).
const PROMOTE_SECONDARIES: u16 = 20;
/// `AF_INET` (linux/socket.h).
const INET: u16 = 2;

fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn realm(realms: u32) -> RouteRealm {
    let [a, b, c, d] = realms.to_be_bytes();
    RouteRealm { source: u16::from_be_bytes([a, b]), destination: u16::from_be_bytes([c, d]) }
}

/// The message for a route. On removal everything in it must match, the mark too.
pub(super) fn route_message(request: &RouteRequest, what: Request) -> RouteMessage {
    let RouteRequest { route, oifs } = request;
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.family());
    header.destination_prefix_length = route.destination.length;
    header.source_prefix_length = route.from.map_or(0, |from| from.length);
    header.tos = route.tos;
    header.table = u8::try_from(route.table).unwrap_or(0);
    header.protocol = RouteProtocol::from(route.protocol);
    header.kind = RouteType::from(route.kind as u8);
    header.scope = match (route.scope, what) {
        (Some(scope), _) => RouteScope::from(scope),
        (None, Request::Add) => RouteScope::Universe,
        // Any.
        (None, Request::Remove) => RouteScope::NoWhere,
    };
    if route.onlink {
        header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    let mut oifs = oifs.iter().map(|iface| iface.ifindex);
    if route.table > 255 {
        attributes.push(RouteAttribute::Table(route.table));
    }
    if route.destination.length > 0 {
        attributes.push(RouteAttribute::Destination(route.destination.address.into()));
    }
    if let Some(from) = route.from.filter(|from| from.length > 0) {
        attributes.push(RouteAttribute::Source(from.address.into()));
    }
    attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    if route.dev.is_some() {
        attributes.extend(oifs.next().map(RouteAttribute::Oif));
    }
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    attributes.extend(route.realms.map(|realms| RouteAttribute::Realm(realm(realms))));
    attributes
        .extend(route.pref.map(|pref| RouteAttribute::Preference(RoutePreference::from(pref))));
    attributes.extend(route.expires.map(RouteAttribute::Expires));
    attributes.extend(
        route
            .ttl_propagate
            .map(|on| RouteAttribute::TtlPropagate(RouteMplsTtlPropagation::from(u8::from(on)))),
    );
    attributes.extend(route.encap.iter().flat_map(encap::attributes));
    let metric = |(name, value): &(Metric, u32)| {
        RouteMetric::Other(DefaultNla::new(*name as u16, value.to_ne_bytes().to_vec()))
    };
    let mut metrics: Vec<RouteMetric> = route.metrics.iter().map(metric).collect();
    if route.ecn {
        metrics.push(RouteMetric::Features(FEATURE_ECN));
    }
    metrics.extend(route.congctl.clone().map(RouteMetric::CcAlgo));
    if route.locked != 0 {
        metrics.push(RouteMetric::Lock(route.locked));
    }
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    if !route.nexthops.is_empty() {
        let hops = route.nexthops.iter().map(|hop| {
            let mut message = RouteNextHop::default();
            // The kernel counts from 0.
            message.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
            if hop.dev.is_some() {
                message.interface_index = oifs.next().unwrap_or_default();
            }
            if hop.onlink {
                message.flags = RouteNextHopFlags::Onlink;
            }
            let via = hop.via.map(|via| RouteAttribute::Gateway(via.into()));
            let realms = hop.realms.map(|realms| RouteAttribute::Realm(realm(realms)));
            let encap = hop.encap.iter().flat_map(encap::attributes);
            message.attributes = via.into_iter().chain(realms).chain(encap).collect();
            message
        });
        attributes.push(RouteAttribute::MultiPath(hops.collect()));
    }
    message
}

/// `NLM_F_*` of an addition.
pub(super) fn insert_flags(place: InsertMode) -> u16 {
    use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
    match place {
        InsertMode::First => NLM_F_CREATE,
        InsertMode::Only => NLM_F_CREATE | NLM_F_EXCL,
        InsertMode::Last => NLM_F_CREATE | NLM_F_APPEND,
    }
}

/// The message for a rule. On removal everything in it must match.
pub(super) fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = family(rule.family);
    header.src_len = rule.from.map_or(0, |from| from.length);
    header.dst_len = rule.to.map_or(0, |to| to.length);
    header.tos = rule.tos;
    if rule.invert {
        header.flags = RuleFlags::Invert;
    }
    let attributes = &mut message.attributes;
    attributes.extend(rule.from.map(|from| RuleAttribute::Source(from.address)));
    attributes.extend(rule.to.map(|to| RuleAttribute::Destination(to.address)));
    attributes.push(RuleAttribute::Priority(rule.priority));
    header.action = match rule.action {
        Action::Table(table) => {
            match u8::try_from(table) {
                Ok(table) => header.table = table,
                Err(_) => attributes.push(RuleAttribute::Table(table)),
            }
            RuleAction::ToTable
        }
        Action::L3mdev => {
            attributes.push(RuleAttribute::L3MDev(true));
            RuleAction::ToTable
        }
        Action::Goto(target) => {
            attributes.push(RuleAttribute::Goto(target));
            RuleAction::Goto
        }
        Action::Nop => RuleAction::Nop,
        Action::Blackhole => RuleAction::Blackhole,
        Action::Unreachable => RuleAction::Unreachable,
        Action::Prohibit => RuleAction::Prohibit,
    };
    if let Some((mark, mask)) = rule.fwmark {
        attributes.push(RuleAttribute::FwMark(mark));
        attributes.extend(mask.map(RuleAttribute::FwMask));
    }
    attributes.extend(rule.realms.map(|realms| RuleAttribute::Realm(realm(realms))));
    attributes.extend(rule.suppress_prefixlength.map(RuleAttribute::SuppressPrefixLen));
    attributes.extend(rule.suppress_ifgroup.map(RuleAttribute::SuppressIfGroup));
    attributes.extend(rule.iif.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.oif.clone().map(RuleAttribute::Oifname));
    attributes.extend(rule.tunnel_id.map(RuleAttribute::TunId));
    let users = rule.uidrange.map(|(start, end)| RuleUidRange { start, end });
    attributes.extend(users.map(RuleAttribute::UidRange));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)));
    attributes.extend(rule.ipproto.map(|protocol| RuleAttribute::IpProtocol(protocol.into())));
    let ports = |ports: Option<(u16, u16)>| ports.map(|(start, end)| RulePortRange { start, end });
    attributes.extend(ports(rule.sport).map(RuleAttribute::SourcePortRange));
    attributes.extend(ports(rule.dport).map(RuleAttribute::DestinationPortRange));
    message
}

/// The attribute of a link message that sets `promote_secondaries` of the interface: an
/// `IFLA_INET_CONF` in `AF_INET` in `IFLA_AF_SPEC`.
pub(super) fn promote_secondaries(on: bool) -> DefaultNla {
    let nla = |kind: u16, value: &[u8]| {
        // `struct nlattr`: length and type before the value, which all are multiples of four here.
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
    };
    let setting = nla(PROMOTE_SECONDARIES, &u32::from(on).to_ne_bytes());
    let inet = nla(INET | NESTED, &nla(INET_CONF, &setting));
    DefaultNla::new(AF_SPEC, inet)
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(v4) = address {
        return Some((*v4).into());
    }
    if let RouteAddress::Inet6(v6) = address { Some((*v6).into()) } else { None }
}

fn family_of(family: AddressFamily) -> Option<Family> {
    if family == AddressFamily::Inet {
        return Some(Family::V4);
    }
    (family == AddressFamily::Inet6).then_some(Family::V6)
}

/// A route that bears our mark.
pub(super) fn seen(namespace: NamespaceId, message: &RouteMessage) -> Option<RouteSeen> {
    let header = &message.header;
    if u8::from(header.protocol) != PROTOCOL {
        return None;
    }
    let unspecified = match family_of(header.address_family)? {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let length = header.destination_prefix_length;
    let destination = Prefix { address: unspecified, length };
    let mut key = RouteKey {
        namespace,
        destination,
        table: header.table.into(),
        tos: header.tos,
        metric: 0,
        kind: header.kind.into(),
    };
    let (mut via, mut oif) = (None, None);
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(to) = attribute {
            key.destination.address = address(to)?;
        } else if let RouteAttribute::Table(table) = attribute {
            key.table = *table;
        } else if let RouteAttribute::Priority(metric) = attribute {
            key.metric = *metric;
        } else if let RouteAttribute::Gateway(gateway) = attribute {
            via = address(gateway);
        } else if let RouteAttribute::Oif(ifindex) = attribute {
            oif = Some(InterfaceId { namespace, ifindex: *ifindex });
        }
    }
    Some(RouteSeen { key, via, oif })
}

/// A rule that bears our mark.
pub(super) fn seen_rule(namespace: NamespaceId, message: &RuleMessage) -> Option<RuleKey> {
    let header = &message.header;
    let mut key = RuleKey {
        namespace,
        family: family_of(header.family)?,
        priority: 0,
        from: None,
        to: None,
        table: header.table.into(),
    };
    let mut protocol = 0;
    for attribute in &message.attributes {
        if let RuleAttribute::Source(address) = attribute {
            key.from = Some(Prefix { address: *address, length: header.src_len });
        } else if let RuleAttribute::Destination(address) = attribute {
            key.to = Some(Prefix { address: *address, length: header.dst_len });
        } else if let RuleAttribute::Table(table) = attribute {
            key.table = *table;
        } else if let RuleAttribute::Priority(priority) = attribute {
            key.priority = *priority;
        } else if let RuleAttribute::Protocol(by) = attribute {
            protocol = u8::from(*by);
        }
    }
    if header.action != RuleAction::ToTable {
        key.table = 0;
    }
    (protocol == PROTOCOL).then_some(key)
}

/// A route or rule that bears our mark.
#[derive(Debug)]
pub struct MarkedObject {
    /// How it is called.
    pub name: String,
    message: RouteNetlinkMessage,
}

impl MarkedObject {
    /// All that there are, rules first. Errors: the kernel does not say.
    pub fn list() -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut rules = RuleMessage::default();
            rules.header.family = family;
            found.extend(once::list(RouteNetlinkMessage::GetRule(rules))?);
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut routes = RouteMessage::default();
            routes.header.address_family = family;
            found.extend(once::list(RouteNetlinkMessage::GetRoute(routes))?);
        }
        let objects = found.into_iter().filter_map(|message| {
            if let RouteNetlinkMessage::NewRule(rule) = message {
                let RuleKey { priority, table, .. } = seen_rule(NamespaceId::OWN, &rule)?;
                let name = format!("rule {priority} (table {table})");
                return Some(Self { name, message: RouteNetlinkMessage::DelRule(rule) });
            }
            let RouteNetlinkMessage::NewRoute(route) = message else { return None };
            let RouteKey { destination, table, .. } = seen(NamespaceId::OWN, &route)?.key;
            let name = format!("route {destination} (table {table})");
            Some(Self { name, message: RouteNetlinkMessage::DelRoute(route) })
        });
        Ok(objects.collect())
    }

    /// Removes it. False if it was gone. Errors: the kernel refuses.
    pub fn remove(self) -> io::Result<bool> {
        match once::request(self.message) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Lets pass what is no route, and the routes that bear our mark: a host with the routes of the whole Internet is
/// told of thousands of changes a minute, and none of them concerns us.
pub(super) fn only_ours() -> [SockFilter; 7] {
    /// Offsets of `nlmsg_type` in `struct nlmsghdr`, and of `rtm_protocol` behind it.
    const TYPE: u32 = 4;
    const RTM_PROTOCOL: u32 = 16 + 5;
    // The filter reads numbers in network order, and these are in the host's.
    let [new, gone] = ROUTE_MESSAGES.map(|kind| u32::from(u16::from_be_bytes(kind.to_ne_bytes())));
    let (ldh, ldb, jeq, ret) = (0x28, 0x30, 0x15, 0x06);
    [
        SockFilter::new(ldh, 0, 0, TYPE),
        SockFilter::new(jeq, 1, 0, new),
        SockFilter::new(jeq, 0, 2, gone),
        SockFilter::new(ldb, 0, 0, RTM_PROTOCOL),
        SockFilter::new(jeq, 0, 1, u32::from(PROTOCOL)),
        SockFilter::new(ret, 0, 0, u32::MAX),
        SockFilter::new(ret, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::routes::parse_route;
    use crate::io::netlink::once;
    use netlink_packet_route::RouteNetlinkMessage;

    fn bytes(message: RouteNetlinkMessage) -> Vec<u8> {
        once::bytes(message, 0, 0)
    }

    fn request(line: &str) -> RouteRequest {
        let route = Arc::new(parse_route(line));
        let oifs = route.devs().zip(7..).map(|(_, ifindex)| InterfaceId::own(ifindex)).collect();
        RouteRequest { route, oifs }
    }

    /// What the kernel would say of a route that was just added.
    fn echoed(line: &str) -> Option<RouteSeen> {
        seen(NamespaceId::OWN, &route_message(&request(line), Request::Add))
    }

    #[test]
    fn a_route_is_known_again() {
        for line in
            ["default via 10.0.0.1 dev eth0", "10.1.0.0/16 via 10.0.0.1 table 4000 metric 7 tos 16"]
        {
            let route = parse_route(line);
            let seen = echoed(line).unwrap();
            assert_eq!((seen.key, seen.via), (RouteKey::from(&route), route.via));
            assert_eq!(seen.oif, route.dev.map(|_| InterfaceId::own(7)));
        }
        let key = RouteKey::from(&parse_route("2001:db8::/32 via fe80::1 dev eth0"));
        assert_eq!(key.metric, 1024);
        assert_eq!(echoed("10.1.0.0/16 dev e protocol static no_track"), None);
    }

    #[test]
    fn each_nexthop_has_its_interface() {
        let line = "10.1.0.0/16 nexthop dev a nexthop via 10.0.0.1 weight 3 nexthop via 10.0.0.2 dev b onlink";
        let message = route_message(&request(line), Request::Add);
        let hops = message.attributes.iter().find_map(|attribute| {
            if let RouteAttribute::MultiPath(hops) = attribute { Some(hops) } else { None }
        });
        let hops: Vec<_> = hops
            .unwrap()
            .iter()
            .map(|hop| (hop.interface_index, hop.hops, hop.flags.bits()))
            .collect();
        assert_eq!(hops, [(7, 0, 0), (0, 2, 0), (8, 0, 4)]);
    }

    #[test]
    fn the_filter_looks_where_the_protocol_is() {
        let ours = bytes(RouteNetlinkMessage::DelRoute(route_message(
            &request("10.0.0.0/8 dev e"),
            Request::Add,
        )));
        assert_eq!((ours[4], ours[21]), (25, PROTOCOL));
        let [.., protocol, _, _] = only_ours();
        assert_eq!(format!("{protocol:?}"), format!("{:?}", SockFilter::new(0x15, 0, 1, 18)));
    }

    #[test]
    fn setting_of_an_interface_is_nested_three_times() {
        use rtnetlink::packet_core::Nla;
        let nla = promote_secondaries(true);
        assert_eq!((nla.kind(), nla.value_len()), (AF_SPEC, 16));
    }
}
