//! Lines in, lines out.

use proptest::prelude::*;

use super::{Context, ROUTE, RULE, Reader, Remark, Route, Rule};
use crate::config::report::{Located, Position, Report};

fn at(column: usize) -> Position {
    let line = Report::default().file("x").line(7);
    Position { column, ..line }
}

pub fn parse_route(line: &str) -> Route {
    read(ROUTE, line).unwrap().0
}

pub fn parse_rule(line: &str) -> Rule {
    read(RULE, line).unwrap().0
}

/// Reads a line; its words know which byte they begin at.
fn read<T>(reader: Reader<T>, line: &str) -> Result<(T, Vec<Remark>), Remark> {
    let mut words = Vec::new();
    let mut column = 1;
    for word in line.split(' ') {
        words.push(Located::new(word.to_owned(), at(column)));
        column += word.len() + 1;
    }
    let mut remarks = Vec::new();
    let read = reader(&words, at(1), &mut Context::numbering(), &mut remarks)?;
    Ok((read, remarks))
}

/// What a line is shown as, which must be read as the same.
#[track_caller]
fn shown<T: std::fmt::Display + PartialEq + std::fmt::Debug>(
    reader: Reader<T>,
    line: &str,
) -> String {
    let (value, remarks) = read(reader, line).expect(line);
    assert_eq!(remarks, [], "{line}");
    let shown = value.to_string();
    let (again, _) = read(reader, &shown).expect(&shown);
    assert_eq!(again, value, "{line} is shown as {shown}");
    shown
}

fn refused<T: std::fmt::Debug>(reader: Reader<T>, line: &str) -> String {
    let remark = read(reader, line).expect_err(line);
    format!("{}: {}", remark.at.column, remark.message)
}

#[test]
fn routes() {
    for same in [
        "default via 10.0.0.1",
        "10.1.0.0/16 via 10.0.0.1 dev eth0 src 10.0.0.5 table 100 metric 50",
        "10.1.0.1 dev eth0 scope link",
        "blackhole 10.2.0.0/16",
        "unreachable default metric 4278198272",
        "throw 10.3.0.0/16 table 7",
        "10.1.0.0/16 via 10.9.0.1 dev eth0 onlink tos 16 protocol 12 realms 3/20 mtu 1400 advmss lock 1360 \
         rtt 102 features ecn congctl lock bbr append no_track",
        "10.1.0.0/16 table 6909 nexthop via 10.0.0.1 dev eth0 onlink nexthop via 10.0.0.2 weight 256",
        "::/0 via fe80::1 dev eth0",
        "2001:db8::/32 from 2001:db9::/48 via fe80::1 dev eth0 pref 3 expires 60 add",
        "10.0.0.0/8 dev mpls0 ttl-propagate disabled",
        "10.1.0.0/16 via 10.0.0.1 dev e src 10.0.0.5 encap mpls 100/200 ttl 5 append no_track",
        "10.1.0.0/16 dev e encap ip id 5 dst 10.0.0.1 src 10.0.0.2 tos 16 ttl 4 csum key seq",
        "10.1.0.0/16 dev e encap ip6 id 5 dst fc00::1 tc 16 hoplimit 4",
        "10.1.0.0/16 nexthop via 10.0.0.1 encap mpls 7 nexthop via 10.0.0.2 weight 2 encap ip id 1 ttl 3",
        "fc00::/16 dev e encap ila 2001:0:87:0 csum-mode no-action ident-type use-format hook-type output",
        "fc00::/16 dev e encap seg6 mode l2encap.red segs fc00::1,fc00::2 hmac 7",
    ] {
        let same = same.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown(ROUTE, &same), same);
    }
}

#[test]
fn other_words_for_the_same_route() {
    for (line, same) in [
        ("0.0.0.0/0 gw 10.0.0.1 table main", "default via 10.0.0.1"),
        (
            "src 10.0.0.5 to 10.1.0.0/24 via inet 10.0.0.1 oif eth1",
            "10.1.0.0/24 via 10.0.0.1 dev eth1 src 10.0.0.5",
        ),
        ("to blackhole 10.1.0.0/24 preference 0x10", "blackhole 10.1.0.0/24 metric 16"),
        ("unicast 10.1.0.0/24 dsfield 0x10 dev e", "10.1.0.0/24 dev e tos 16"),
        ("inet6 default via fe80::1 dev e", "::/0 via fe80::1 dev e"),
        ("default via fe80::1 dev e", "::/0 via fe80::1 dev e"),
        ("default6 dev e", "::/0 dev e"),
        ("10.1.0.0/24 dev e append prepend", "10.1.0.0/24 dev e"),
        (
            "10.1.0.0/24 via 10.0.0.1 or 10.0.0.2 dev e",
            "10.1.0.0/24 nexthop via 10.0.0.1 dev e nexthop via 10.0.0.2 dev e",
        ),
        (
            "10.1.0.0/24 dev e rtt 1.5ms rttvar 2s rto_min 200ms",
            "10.1.0.0/24 dev e rtt 12 rttvar 8000 rto_min 200",
        ),
        ("10.1.0.0/24 dev e protocol bird no_track", "10.1.0.0/24 dev e protocol 12 no_track"),
    ] {
        assert_eq!(shown(ROUTE, line), same);
    }
}

#[test]
fn routes_that_cannot_be() {
    for (line, why) in [
        ("via 10.0.0.1", "1: a route has no destination"),
        ("10.1.0.1/16 via 10.0.0.1", "1: 10.1.0.1/16 is an address, not a network"),
        ("10.1.0.0/33 dev e", "1: `10.1.0.0/33` is no address with a prefix length"),
        ("10.1.0.0/16 via fe80::1", "17: IPv6 where everything before is IPv4"),
        ("10.1.0.0/16 via", "13: via has no value"),
        ("10.1.0.0/16 vai 10.0.0.1", "13: a route has no option `vai`"),
        ("10.1.0.0/16 dev e encap bpf out x", "25: encap bpf is not supported"),
        ("10.1.0.0/16 dev e encap", "19: encap has no value"),
        ("10.1.0.0/16 dev e encap mpls 1048576", "30: `1048576` is no list of MPLS labels"),
        ("10.1.0.0/16 dev e encap mpls 1//2", "30: `1//2` is no list of MPLS labels"),
        ("10.1.0.0/16 dev e encap ip ttl 4", "25: encap ip has neither dst nor id"),
        ("10.1.0.0/16 dev e encap ip dst fc00::1", "32: `fc00::1` is no IPv4 address"),
        (
            "10.1.0.0/16 dev e encap ip6 id 1 hoplimit 256",
            "43: hoplimit must be a number up to 255, not `256`",
        ),
        ("fc00::/16 dev e encap ila 1:2:3", "27: `1:2:3` is no locator"),
        ("fc00::/16 dev e encap ila 1:2:3:4 csum-mode x", "45: unknown csum-mode `x`"),
        ("fc00::/16 dev e encap seg6 segs fc00::1", "23: encap seg6 needs a mode and segs"),
        ("fc00::/16 dev e encap seg6 mode out segs fc00::1", "33: `out` is no mode of seg6"),
        (
            "fc00::/16 dev e encap seg6 mode encap segs 10.0.0.1",
            "44: `10.0.0.1` is no list of IPv6 addresses",
        ),
        ("10.1.0.0/16 dev ../b", "17: `../b` cannot be the name of an interface"),
        (
            "10.1.0.0/16 dev red/b netns blue",
            "1: a route is in one network namespace, and red/b in another one",
        ),
        ("10.1.0.0/16 dev b netns a/b", "25: `a/b` is no network namespace"),
        ("10.1.0.0/16 dev e table no-such-table", "25: unknown table `no-such-table`"),
        ("10.1.0.0/16 dev e metric -1", "26: metric must be a number up to 4294967295, not `-1`"),
        ("10.1.0.0/16 dev e hoplimit 256", "28: hoplimit cannot be `256`"),
        ("10.1.0.0/16 dev e rtt 1.xs", "23: rtt cannot be `1.xs`"),
        ("10.1.0.0/16 nexthop weight 5", "13: a nexthop leads nowhere"),
        ("10.1.0.0/16 nexthop via 10.0.0.1 metric 5", "34: a nexthop has no option `metric`"),
        ("10.1.0.0/16 nexthop via 10.0.0.1 weight 0", "34: weight must be 1 to 256, not 0"),
        (
            "10.1.0.0/16 via 10.0.0.3 nexthop via 10.0.0.1",
            "1: a route has nexthops, and via or dev outside of them",
        ),
    ] {
        assert_eq!(refused(ROUTE, line), why, "{line}");
    }
    assert_eq!(
        refused(ROUTE, "10.1.0.0/16 from 10.0.0.0/8"),
        "13: IPv6 where everything before is IPv4"
    );
}

#[test]
fn what_is_tracked_has_our_protocol() {
    let (route, remarks) = read(ROUTE, "10.1.0.0/16 dev e protocol bird").unwrap();
    assert_eq!(route.protocol, super::PROTOCOL);
    assert!(remarks[0].message.contains("cannot be tracked"), "{remarks:?}");
    let (rule, remarks) = read(RULE, "table 5 preference 7 protocol 12").unwrap();
    assert_eq!(rule.protocol, super::PROTOCOL);
    assert!(remarks[0].message.contains("cannot be tracked"), "{remarks:?}");
}

#[test]
fn rules() {
    for same in [
        "from 192.168.2.0/24 table 1 preference 100",
        "from all to 192.168.2.0/24 table 4000000000 preference 100 no_track",
        "not from 10.0.0.1 blackhole preference 5",
        "inet6 from all table 5 preference 0",
        "from 2001:db8::/64 to 2001:db9::1 tos 16 fwmark 0x1/0xff iif eth0 oif eth1 tunnel-id 7 uidrange 5-9 \
         ipproto 17 sport 10-20 dport 53-53 table 6908 suppress_prefixlength 0 suppress_ifgroup 3 preference 9",
        "from all fwmark 0x18 goto 40 preference 39",
        "from all l3mdev preference 1000",
        "from all unreachable protocol 12 preference 3 no_track",
        "from 10.0.0.0/8 table 9 realms 30/20 preference 4",
        "from all prohibit preference 4",
        "from all nop preference 4",
    ] {
        let same = same.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown(RULE, &same), same);
    }
    for (line, same) in [
        ("lookup main from any order 0x10", "from all table 254 preference 16"),
        (
            "from default type prohibit priority 7 dev e sport 5",
            "from all iif e sport 5-5 prohibit preference 7",
        ),
        ("table 5 ip_proto UDP priority 1", "from all ipproto 17 table 5 preference 1"),
        ("to ::/0 table 5 priority 7", "inet6 from all table 5 preference 7"),
    ] {
        assert_eq!(shown(RULE, line), same);
    }
}

#[test]
fn rules_that_cannot_be() {
    for (line, why) in [
        ("from 10.0.0.0/8", "1: a rule does nothing"),
        ("from 10.0.0.0/8 to ::1 table 5", "20: IPv6 where everything before is IPv4"),
        ("table 0 preference 1", "7: unknown table `0`"),
        ("table 5 goto 7 preference 1", "9: a rule can do one thing, and goto is the second one"),
        ("goto 7 preference 7", "1: goto leads backwards"),
        ("goto 7", "1: goto needs a preference"),
        (
            "blackhole realms 5 preference 7",
            "1: suppress_prefixlength, suppress_ifgroup and realms go with a table",
        ),
        ("table 5 fwmark x preference 1", "16: `x` is no mark"),
        (
            "table 5 uidrange 9-5 preference 1",
            "18: uidrange must be FIRST-LAST up to 4294967295, not `9-5`",
        ),
        (
            "table 5 sport 70000 preference 1",
            "15: sport must be FIRST-LAST up to 65535, not `70000`",
        ),
        ("tabel 5", "1: a rule has no option `tabel`"),
    ] {
        assert_eq!(refused(RULE, line), why, "{line}");
    }
}

#[test]
fn rules_without_preference_are_numbered_downwards() {
    let mut context = Context::numbering();
    let mut read = |line: &str| {
        let words: Vec<_> = line.split(' ').map(|w| Located::new(w.to_owned(), at(0))).collect();
        let mut remarks = Vec::new();
        let rule = RULE(&words, at(0), &mut context, &mut remarks).unwrap();
        (rule.priority, remarks.len())
    };
    assert_eq!(read("table 5"), (16_384, 1));
    assert_eq!(read("table 6 preference 9"), (9, 0));
    assert_eq!(read("table 6"), (16_383, 1));
    assert_eq!(read("inet6 table 6"), (16_384, 1));
    let words = [Located::new("blackhole".to_owned(), at(0))];
    let error = RULE(&words, at(0), &mut Context::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.message, "a rule has no preference");
}

proptest! {
    /// Whatever stands in the line: no panic, and what is accepted can be shown and read again.
    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WORDS), 1..12)) {
        let line = words.join(" ");
        if let Ok((route, _)) = read(ROUTE, &line) {
            prop_assert_eq!(&read(ROUTE, &route.to_string()).unwrap().0, &route);
        }
        if let Ok((rule, _)) = read(RULE, &line) {
            prop_assert_eq!(&read(RULE, &rule.to_string()).unwrap().0, &rule);
        }
    }
}

const WORDS: &[&str] = &[
    "default", "10.0.0.0/8", "10.0.0.1", "fe80::1", "2001:db8::/32", "via", "dev", "eth0", "to",
    "from", "src", "table", "5", "lookup", "preference", "metric", "blackhole", "goto", "inet6",
    "inet", "nexthop", "weight", "onlink", "or", "not", "mtu", "lock", "rtt", "1.5s", "realms",
    "3/4", "fwmark", "0x1/0xff", "sport", "1-9", "scope", "link", "add", "append", "no_track",
    "features", "ecn", "pref", "low", "all", "l3mdev", "type", "prohibit", "throw", "congctl",
    "protocol", "expires", "tos", "iif", "oif", "uidrange", "encap", "mpls", "ip", "ip6", "ila",
    "seg6", "1:2:3:4", "mode", "segs", "id", "dst", "ttl", "hoplimit", "tc", "csum-mode",
    "no-action", "hmac",
];
