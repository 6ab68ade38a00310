//! What `monitor` says of a packet: a line in tcpdump's manner, or a JSON object.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use vrrp_common::VRRP_TTL;
use vrrp_common::message::TYPE_ADVERTISEMENT;
use vrrp_common::reason::Reason;

use super::super::clock::TimeOfDay;
use super::pcapng::Record;
use crate::types::advert::AdvertInterval;
use crate::types::time::Centisecs;
use crate::wire::arp::{self, Operation};
use crate::wire::dissect::{Content, Fenced, Message, Neighbour, Packet, Vrrp};
use crate::wire::ethernet::Colons;
use crate::wire::ndisc;

/// A packet that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// When, nanoseconds of `CLOCK_REALTIME`.
    pub time_ns: i64,
    pub interface: String,
    pub is_outgoing: bool,
    pub packet: Packet,
    /// Why XDP dropped it.
    pub refused: Option<Reason>,
    /// The packet for the capture file.
    pub record: Record,
}

/// As `12:00:01.123456 eth0 10.0.0.2 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 100, authtype simple,
/// intvl 1s, length 20, addrs: 10.0.0.100`; what is wrong stands in brackets at the end.
///
/// `vrids` are the virtual routers that an address in ARP or neighbour discovery belongs to.
pub fn text(seen: &Observed, vrids: &BTreeSet<u8>) -> String {
    let mut line = format!("{} {}", TimeOfDay(seen.time_ns), seen.interface);
    // Writing to a string does not fail.
    let _ = content(&mut line, &seen.packet, vrids);
    if let Some(reason) = seen.refused {
        let _ = write!(line, " [refused, {}: {}]", reason.name(), reason.text());
    } else if let Some(problems) = problems(&seen.packet) {
        let _ = write!(line, " [bad, {problems}]");
    }
    line
}

/// What is wrong with a packet, whoever receives it.
fn problems(packet: &Packet) -> Option<String> {
    match &packet.content {
        Content::Vrrp(Vrrp { problems, .. }) if !problems.is_empty() => {
            let named =
                problems.iter().map(|reason| format!("{}: {}", reason.name(), wrong(*reason)));
            Some(named.collect::<Vec<_>>().join("; "))
        }
        Content::Vrrp(_)
        | Content::GratuitousArp(_)
        | Content::Neighbour(_)
        | Content::Fenced(_) => None,
    }
}

/// The reason in words, where there is no configuration to differ from.
fn wrong(reason: Reason) -> &'static str {
    if reason == Reason::Version { "VRRP version is neither 2 nor 3" } else { reason.text() }
}

fn content(line: &mut String, packet: &Packet, vrids: &BTreeSet<u8>) -> fmt::Result {
    for id in &packet.vlan {
        write!(line, " vlan {id}")?;
    }
    match &packet.content {
        Content::GratuitousArp(message) => {
            let operation = operation(message);
            let mac = Colons(message.sender_mac);
            write!(line, " ARP, Gratuitous {operation} {} is-at {mac}", message.sender_ip)?;
            of_routers(line, vrids)?;
            write!(line, ", length {}", arp::LEN)
        }
        Content::Neighbour(Neighbour { source, destination, message, length }) => {
            write!(line, " {source} > {destination}: ICMP6, neighbor ")?;
            match message {
                ndisc::Repr::Solicitation { target, .. } => {
                    write!(line, "solicitation, who has {target}")?;
                }
                ndisc::Repr::Advertisement { target, target_mac, .. } => {
                    write!(line, "advertisement, tgt is {target}")?;
                    if let Some(mac) = target_mac {
                        write!(line, " is-at {}", Colons(*mac))?;
                    }
                    write!(line, ", Flags [{}]", flags(message).join(", "))?;
                }
            }
            of_routers(line, vrids)?;
            write!(line, ", length {length}")
        }
        Content::Fenced(Fenced { source, destination, ttl }) => {
            write!(line, " {source} > {destination}: ttl {ttl}")
        }
        Content::Vrrp(vrrp) => {
            write!(line, " {} > {}: ", vrrp.source, vrrp.destination)?;
            if let Some(ah) = &vrrp.ah {
                let sequence = u32::from_be_bytes(ah.sequence);
                write!(line, "AH(spi={},seq={sequence}): ", Ipv4Addr::from(ah.spi))?;
            }
            line.push_str("VRRP");
            if let Some(message) = &vrrp.message {
                fields(line, message)?;
            }
            if vrrp.ttl != VRRP_TTL {
                write!(line, ", ttl {}", vrrp.ttl)?;
            }
            write!(line, ", length {}", vrrp.length)?;
            if let Some(message) = &vrrp.message {
                addresses(line, message)?;
            }
            Ok(())
        }
    }
}

fn operation(message: &arp::Repr) -> &'static str {
    match message.operation {
        Operation::Request => "request",
        Operation::Reply => "reply",
    }
}

/// The virtual routers that an address belongs to.
fn of_routers(line: &mut String, vrids: &BTreeSet<u8>) -> fmt::Result {
    let vrids: Vec<String> = vrids.iter().map(u8::to_string).collect();
    if vrids.is_empty() { Ok(()) } else { write!(line, ", vrid {}", vrids.join(" ")) }
}

/// The flags of a neighbour advertisement by the names that tcpdump has for them.
fn flags(message: &ndisc::Repr) -> Vec<&'static str> {
    match *message {
        ndisc::Repr::Solicitation { .. } => Vec::new(),
        ndisc::Repr::Advertisement { router, solicited, override_, .. } => {
            let all = [(router, "router"), (solicited, "solicited"), (override_, "override")];
            all.into_iter().filter_map(|(set, name)| set.then_some(name)).collect()
        }
    }
}

fn fields(line: &mut String, message: &Message) -> fmt::Result {
    let header = message.header;
    write!(line, "v{}, ", header.version())?;
    match header.message_type() {
        TYPE_ADVERTISEMENT => line.push_str("Advertisement"),
        kind => write!(line, "type {kind}")?,
    }
    write!(line, ", vrid {}, prio {}", header.vrid(), header.priority())?;
    if let Some(auth) = message.auth_type() {
        write!(line, ", authtype {}", AuthType(auth))?;
    }
    match message.interval() {
        Some(AdvertInterval::Secs(s)) => write!(line, ", intvl {s}s"),
        Some(AdvertInterval::Centisecs(Centisecs(cs))) => write!(line, ", intvl {cs}cs"),
        None => Ok(()),
    }
}

fn addresses(line: &mut String, message: &Message) -> fmt::Result {
    let list: Vec<String> = message.addresses.iter().map(IpAddr::to_string).collect();
    match list.len() {
        0 => {}
        1 => write!(line, ", addrs: {}", list[0])?,
        n => write!(line, ", addrs({n}): {}", list.join(","))?,
    }
    match message.missing {
        0 => Ok(()),
        n => write!(line, ", {n} more addrs not in it"),
    }
}

/// Version 2 authentication as tcpdump names it (RFC 2338 section 5.3.6).
struct AuthType(u8);

impl Display for AuthType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("none"),
            1 => f.write_str("simple"),
            2 => f.write_str("ah"),
            other => write!(f, "#{other}"),
        }
    }
}

/// A packet as a line of `monitor --json`. Keys are only ever added. `time` is in seconds since 1970, microseconds after the
/// point; `direction` is `in` or `out`; `vlan` has the outermost ID first.
///
/// `vrids` are the virtual routers that an address in ARP or neighbour discovery belongs to.
pub fn json(seen: &Observed, vrids: &BTreeSet<u8>) -> Value {
    let refused = seen.refused.map(Reason::name);
    let (kind, content) = match &seen.packet.content {
        Content::Vrrp(Vrrp { source, destination, ttl, ah, length, message, problems }) => {
            let ip = json!({
                "source": source, "destination": destination, "ttl": ttl, "length": length,
            });
            // What is too short to have fields has none.
            let message = message.as_ref().map_or(Value::Null, json_message);
            // All that is wrong by the protocol; and why XDP dropped it, or `null`.
            let problems: Vec<_> = problems.iter().map(|reason| reason.name()).collect();
            let ah = ah.map(|ah| {
                let sequence = u32::from_be_bytes(ah.sequence);
                json!({ "spi": Ipv4Addr::from(ah.spi), "sequence": sequence })
            });
            let judged = json!({ "problems": problems, "refused": refused, "ah": ah });
            ("vrrp", joined(&[ip, message, judged]))
        }
        Content::Fenced(Fenced { source, destination, ttl }) => {
            let content = json!({
                "source": source, "destination": destination, "ttl": ttl, "refused": refused,
            });
            ("fenced", content)
        }
        Content::GratuitousArp(message) => {
            let content = json!({
                "operation": operation(message),
                "address": message.sender_ip,
                "mac": Colons(message.sender_mac).to_string(),
                "vrids": vrids,
            });
            ("arp", content)
        }
        Content::Neighbour(Neighbour { source, destination, message, .. }) => {
            let (operation, mac) = match message {
                ndisc::Repr::Solicitation { source_mac, .. } => ("solicitation", source_mac),
                ndisc::Repr::Advertisement { target_mac, .. } => ("advertisement", target_mac),
            };
            let content = json!({
                "operation": operation,
                "source": source,
                "destination": destination,
                "address": message.target(),
                "mac": mac.map(|mac| Colons(mac).to_string()),
                "flags": flags(message),
                "vrids": vrids,
            });
            ("ndisc", content)
        }
    };
    let common = json!({
        "type": kind,
        "time": seconds(seen.time_ns),
        "interface": seen.interface,
        "direction": if seen.is_outgoing { "out" } else { "in" },
        "vlan": seen.packet.vlan,
    });
    joined(&[common, content])
}

/// The fields of a VRRP message. Only version 2 has a type of authentication.
fn json_message(message: &Message) -> Value {
    json!({
        "version": message.header.version(),
        "message_type": message.header.message_type(),
        "vrid": message.header.vrid(),
        "priority": message.header.priority(),
        "auth_type": message.auth_type(),
        "interval_ms": message.interval().map(|interval| interval.duration().as_millis()),
        "addresses": message.addresses,
    })
}

/// That so many advertisements were refused since the last such line of which no sample was kept, as another such line.
pub fn json_not_sampled(time_ns: i64, reason: Reason, packets: u64) -> Value {
    json!({
        "type": "not-sampled",
        "time": seconds(time_ns),
        "refused": reason.name(),
        "packets": packets,
    })
}

/// The keys of several objects, in order.
fn joined(parts: &[Value]) -> Value {
    parts
        .iter()
        .filter_map(Value::as_object)
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Seconds since 1970.
#[allow(clippy::cast_precision_loss, reason = "a quarter of a microsecond")]
fn seconds(time_ns: i64) -> f64 {
    (time_ns / 1000) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use vrrp_common::ah::AuthHeader;
    use vrrp_common::message::Header;

    use super::*;

    fn advert() -> Vrrp {
        Vrrp {
            source: [10, 0, 0, 2].into(),
            destination: [224, 0, 0, 18].into(),
            ttl: 255,
            ah: None,
            length: 20,
            message: Some(Message {
                header: Header([0x21, 51, 100, 1, 1, 1, 0, 0]),
                addresses: vec![[10, 0, 0, 100].into()],
                missing: 0,
            }),
            problems: vec![],
        }
    }

    fn seen(content: Content) -> Observed {
        Observed {
            time_ns: 1_700_000_000_123_456_789,
            interface: "eth0".to_owned(),
            is_outgoing: false,
            packet: Packet { vlan: vec![], content },
            refused: None,
            record: Record::of_sample(
                &vrrp_common::sample::Sample::default(),
                &Packet::of_sample(Reason::Ttl, &vrrp_common::sample::Sample::default()),
            ),
        }
    }

    /// Without the time, which depends on where we are.
    fn shown(seen: &Observed, vrids: &[u8]) -> String {
        let line = text(seen, &vrids.iter().copied().collect());
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() == 15 && time.ends_with(":20.123456"), "{time}");
        rest.to_owned()
    }

    #[test]
    fn an_advertisement_is_one_line_as_of_tcpdump() {
        let mut packet = seen(Content::Vrrp(advert()));
        assert_eq!(
            shown(&packet, &[]),
            "eth0 10.0.0.2 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 100, authtype simple, \
             intvl 1s, length 20, addrs: 10.0.0.100"
        );
        let ah = AuthHeader { spi: [10, 0, 0, 2], sequence: [0, 0, 1, 2], ..AuthHeader::default() };
        let behind = seen(Content::Vrrp(Vrrp { ah: Some(ah), ..advert() }));
        let line = shown(&behind, &[]);
        assert!(line.starts_with("eth0 10.0.0.2 > 224.0.0.18: AH(spi=10.0.0.2,seq=258): VRRPv2, "));
        let json = json(&behind, &BTreeSet::new());
        assert_eq!(json["ah"].to_string(), r#"{"spi":"10.0.0.2","sequence":258}"#);
        packet.packet.vlan = vec![7];
        packet.refused = Some(Reason::Interval);
        assert!(shown(&packet, &[]).starts_with("eth0 vlan 7 10.0.0.2 > "));
        assert!(
            shown(&packet, &[])
                .ends_with(" [refused, interval: advertisement interval differs from ours]")
        );
    }

    #[test]
    fn of_what_a_fence_stops_the_addresses_are_shown() {
        let mut packet = seen(Content::Fenced(Fenced {
            source: [10, 0, 0, 3].into(),
            destination: [10, 0, 0, 100].into(),
            ttl: 64,
        }));
        packet.refused = Some(Reason::FencedTo);
        assert_eq!(
            shown(&packet, &[]),
            "eth0 10.0.0.3 > 10.0.0.100: ttl 64 [refused, fenced_to: fenced: to an address that another host \
             has now]"
        );
        let seen = json(&packet, &BTreeSet::new());
        assert_eq!((&seen["type"], &seen["refused"]), (&"fenced".into(), &"fenced_to".into()));
    }

    #[test]
    fn what_is_wrong_is_shown() {
        let mut vrrp = advert();
        vrrp.ttl = 3;
        vrrp.problems = vec![Reason::Ttl, Reason::Version];
        let message = vrrp.message.as_mut().unwrap();
        (message.header.0[0], message.missing) = (0x52, 3);
        message.addresses.push([10, 0, 0, 101].into());
        assert_eq!(
            shown(&seen(Content::Vrrp(vrrp.clone())), &[]),
            "eth0 10.0.0.2 > 224.0.0.18: VRRPv5, type 2, vrid 51, prio 100, ttl 3, length 20, addrs(2): \
             10.0.0.100,10.0.0.101, 3 more addrs not in it [bad, ttl: TTL is not 255 (sent from another \
             network?); version: VRRP version is neither 2 nor 3]"
        );
        vrrp.message = None;
        (vrrp.problems, vrrp.length, vrrp.ttl) = (vec![Reason::VrrpLength], 5, 255);
        assert_eq!(
            shown(&seen(Content::Vrrp(vrrp)), &[]),
            "eth0 10.0.0.2 > 224.0.0.18: VRRP, length 5 [bad, vrrp_length: VRRP message incomplete or of \
             impossible length]"
        );
    }

    #[test]
    fn arp_names_the_router() {
        let message = arp::Repr::gratuitous([2, 0, 0, 0, 0, 0xa1], [10, 0, 0, 100].into());
        let packet = seen(Content::GratuitousArp(message));
        assert_eq!(
            shown(&packet, &[51]),
            "eth0 ARP, Gratuitous request 10.0.0.100 is-at 02:00:00:00:00:a1, vrid 51, length 28"
        );
        let seen = json(&packet, &BTreeSet::from([51])).to_string();
        assert_eq!(
            seen,
            r#"{"type":"arp","time":1700000000.123456,"interface":"eth0","direction":"in","vlan":[],"operation":"request","address":"10.0.0.100","mac":"02:00:00:00:00:a1","vrids":[51]}"#
        );
    }

    #[test]
    fn neighbour_advertisements_name_the_router() {
        let address: std::net::Ipv6Addr = "2001:db8::100".parse().unwrap();
        let mut neighbour = Neighbour {
            source: address,
            destination: ndisc::ALL_NODES,
            message: ndisc::Repr::unsolicited([2, 0, 0, 0, 0, 0xa1], address, false),
            length: 32,
        };
        let packet = seen(Content::Neighbour(neighbour));
        assert_eq!(
            shown(&packet, &[51]),
            "eth0 2001:db8::100 > ff02::1: ICMP6, neighbor advertisement, tgt is 2001:db8::100 is-at \
             02:00:00:00:00:a1, Flags [override], vrid 51, length 32"
        );
        let line = json(&packet, &BTreeSet::from([51])).to_string();
        assert_eq!(
            line,
            r#"{"type":"ndisc","time":1700000000.123456,"interface":"eth0","direction":"in","vlan":[],"operation":"advertisement","source":"2001:db8::100","destination":"ff02::1","address":"2001:db8::100","mac":"02:00:00:00:00:a1","flags":["override"],"vrids":[51]}"#
        );
        neighbour.source = std::net::Ipv6Addr::UNSPECIFIED;
        neighbour.message = ndisc::Repr::Solicitation { target: address, source_mac: None };
        neighbour.length = 24;
        assert_eq!(
            shown(&seen(Content::Neighbour(neighbour)), &[]),
            "eth0 :: > ff02::1: ICMP6, neighbor solicitation, who has 2001:db8::100, length 24"
        );
    }

    #[test]
    fn json_has_every_field() {
        let mut packet = seen(Content::Vrrp(advert()));
        packet.refused = Some(Reason::Ttl);
        assert_eq!(
            json(&packet, &BTreeSet::new()).to_string(),
            r#"{"type":"vrrp","time":1700000000.123456,"interface":"eth0","direction":"in","vlan":[],"source":"10.0.0.2","destination":"224.0.0.18","ttl":255,"length":20,"version":2,"message_type":1,"vrid":51,"priority":100,"auth_type":1,"interval_ms":1000,"addresses":["10.0.0.100"],"problems":[],"refused":"ttl","ah":null}"#
        );
    }
}
