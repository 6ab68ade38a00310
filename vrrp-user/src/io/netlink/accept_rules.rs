//! The table of nf_tables that lets nothing in for some addresses, as messages.
//!
//! Its only chain stands where local delivery is decided (`NF_INET_LOCAL_IN`): what is routed through, and what this host
//! translates from or to one of the addresses, has gone another way by then. It stands there behind all others, so that load
//! balancing in the kernel (IPVS, at 98 and 99) has taken what it forwards. In the words of nft(8):
//!
//! ```text
//! table inet vrrp-user-default {
//!     counter refused { }
//!     set addresses4 { type ipv4_addr; }
//!     set addresses6 { type ipv6_addr; }
//!     chain input {
//!         type filter hook input priority 200; policy accept;
//!         ip daddr @addresses4 counter name refused drop
//!         icmpv6 type 135-136 accept
//!         ip6 daddr @addresses6 counter name refused drop
//!     }
//! }
//! ```

use std::net::IpAddr;

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook,
    Immediate, InetHookNumber, ListAttribute, Lookup, Meta, MetaKey, NfTablesMessage, Operator,
    Payload, Register, RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute,
    SetElementList, SetElementMessage, SetMessage, TableAttribute, TableMessage, Verdict,
    VerdictAttribute,
};
use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE};

use crate::wire::family::Family;

/// Its chain, and how many rules are in it.
pub(super) const CHAIN: &str = "input";
pub(super) const RULES: u32 = 3;
/// Behind source address translation and load balancing, and before the helpers of connection tracking
/// (`enum nf_ip_hook_priorities`, linux/netfilter_ipv4.h).
const PRIORITY: u32 = 200;
/// Addresses in one message: the length of an attribute has 16 bits.
const TOGETHER: usize = 1024;

/// What counts the packets, and what of it is in a message (linux/netfilter/nf_tables.h).
const COUNTER: &str = "refused";
const NFT_OBJECT_COUNTER: u32 = 1;
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
pub(super) const NFTA_OBJ_DATA: u16 = 4;
const NFTA_COUNTER_BYTES: u16 = 1;
pub(super) const NFTA_COUNTER_PACKETS: u16 = 2;
const NFTA_OBJREF_IMM_TYPE: u16 = 1;
const NFTA_OBJREF_IMM_NAME: u16 = 2;

/// `enum nft_payload_bases`, linux/netfilter/nf_tables.h.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// Verdicts (linux/netfilter.h).
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// Neighbour solicitations and advertisements (RFC 4861 section 4): never dropped (RFC 9568 section 6.1).
const NDISC: (u8, u8) = (135, 136);
const ICMPV6: u8 = 58;

/// The one that all values go through.
const REGISTER: Register = Register::Reg1;

/// The name of the set of a family.
pub(super) fn set_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "addresses4",
        Family::V6 => "addresses6",
    }
}

/// One step of a transaction: what it is about, for messages; its flags; the message.
pub(super) type Step = (&'static str, u16, NfTablesMessage);

/// What makes the table let nothing in for these addresses and all others, whatever it was before; the packets that were
/// counted stay counted.
pub(super) fn set_up(table: &str, addresses: &[IpAddr]) -> Vec<Step> {
    let mut steps = vec![
        ("the table", NLM_F_CREATE, NfTablesMessage::NewTable(named(table))),
        ("the counter", NLM_F_CREATE, NfTablesMessage::NewObject(counter(table, true))),
        (
            "the set of IPv4 addresses",
            NLM_F_CREATE,
            NfTablesMessage::NewSet(set(table, Family::V4)),
        ),
        (
            "the set of IPv6 addresses",
            NLM_F_CREATE,
            NfTablesMessage::NewSet(set(table, Family::V6)),
        ),
        ("the chain", NLM_F_CREATE, NfTablesMessage::NewChain(base_chain(table))),
        ("old rules", 0, NfTablesMessage::DeleteRule(rule(table, None))),
    ];
    for expressions in [refuse(Family::V4), accept_ndisc(), refuse(Family::V6)] {
        let rule = NfTablesMessage::NewRule(rule(table, Some(expressions)));
        steps.push(("a rule", NLM_F_CREATE | NLM_F_APPEND, rule));
    }
    for family in [Family::V4, Family::V6] {
        let all = NfTablesMessage::DeleteSetElement(elements(table, family, None));
        steps.push(("old addresses", 0, all));
        let own: Vec<IpAddr> =
            addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
        for some in own.chunks(TOGETHER) {
            let some = NfTablesMessage::NewSetElement(elements(table, family, Some(some)));
            steps.push(("addresses", NLM_F_CREATE, some));
        }
    }
    steps
}

/// What removes it, with all that is in it.
pub(super) fn tear_down(table: &str) -> Vec<Step> {
    vec![("the table", 0, NfTablesMessage::DeleteTable(named(table)))]
}

/// The table, by its name.
pub(super) fn named(table: &str) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] }
}

/// The chain, by its name.
pub(super) fn chain(table: &str) -> ChainMessage {
    let attributes =
        vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(CHAIN.to_owned())];
    ChainMessage { attributes }
}

fn base_chain(table: &str) -> ChainMessage {
    let mut chain = chain(table);
    chain.attributes.extend([
        ChainAttribute::Hook(vec![
            Hook::Number(InetHookNumber::LocalIn.into()),
            Hook::Priority(PRIORITY),
        ]),
        ChainAttribute::Policy(NF_ACCEPT),
        ChainAttribute::Type("filter".to_owned()),
    ]);
    chain
}

fn set(table: &str, family: Family) -> SetMessage {
    // As nft(8) numbers types, for whoever lists the table.
    let (kind, length) = match family {
        Family::V4 => (7, 4),
        Family::V6 => (8, 16),
    };
    let attributes = vec![
        SetAttribute::Table(table.to_owned()),
        SetAttribute::Name(set_name(family).to_owned()),
        SetAttribute::KeyType(kind),
        SetAttribute::KeyLen(length),
        SetAttribute::Id(kind),
    ];
    SetMessage { attributes }
}

/// Addresses in a set; `None` for all that are there.
pub(super) fn elements(
    table: &str,
    family: Family,
    addresses: Option<&[IpAddr]>,
) -> SetElementMessage {
    let mut attributes = vec![
        SetElementList::Table(table.to_owned()),
        SetElementList::Set(set_name(family).to_owned()),
    ];
    let element = |address: &IpAddr| {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        ListAttribute::Element(vec![SetElementAttribute::Key(DataAttribute::Value(bytes))])
    };
    let elements = addresses.map(|addresses| addresses.iter().map(element).collect());
    attributes.extend(elements.map(SetElementList::Elements));
    SetElementMessage { attributes }
}

/// The addresses in such a message.
pub(super) fn addresses(message: &SetElementMessage) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for list in &message.attributes {
        let SetElementList::Elements(elements) = list else { continue };
        for element in elements {
            let ListAttribute::Element(attributes) = element else { continue };
            for attribute in attributes {
                let SetElementAttribute::Key(DataAttribute::Value(bytes)) = attribute else {
                    continue;
                };
                let v4 = <[u8; 4]>::try_from(&**bytes).map(IpAddr::from);
                found.extend(v4.or_else(|_| <[u8; 16]>::try_from(&**bytes).map(IpAddr::from)));
            }
        }
    }
    found
}

/// The counter, with what a new one begins with if it is to be made.
pub(super) fn counter(table: &str, new: bool) -> Vec<DefaultNla> {
    let mut attributes = vec![
        DefaultNla::new(NFTA_OBJ_TABLE, text(table)),
        DefaultNla::new(NFTA_OBJ_NAME, text(COUNTER)),
        DefaultNla::new(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER.to_be_bytes().to_vec()),
    ];
    if new {
        let zero = |kind| DefaultNla::new(kind, vec![0; 8]);
        let zeros = [zero(NFTA_COUNTER_BYTES), zero(NFTA_COUNTER_PACKETS)];
        let mut data = vec![0; (&zeros[..]).buffer_len()];
        (&zeros[..]).emit(&mut data);
        attributes.push(DefaultNla::new(NFTA_OBJ_DATA | NLA_F_NESTED, data));
    }
    attributes
}

/// As the kernel takes strings.
fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// A rule in the chain; `None` for all that are there.
fn rule(table: &str, expressions: Option<Vec<Expressions>>) -> RuleMessage {
    let mut attributes =
        vec![RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(CHAIN.to_owned())];
    let listed = |expressions: Vec<Expressions>| -> Vec<ListAttribute<ExpressionAttribute>> {
        expressions.into_iter().map(ListAttribute::from).collect()
    };
    attributes.extend(expressions.map(listed).map(RuleAttribute::Expressions));
    RuleMessage { attributes }
}

/// Whatever is to an address of the set.
fn refuse(family: Family) -> Vec<Expressions> {
    let (offset, length) = match family {
        Family::V4 => (16, 4),
        Family::V6 => (24, 16),
    };
    let destination = vec![
        Payload::DestinationRegister(REGISTER),
        Payload::Base(NETWORK_HEADER),
        Payload::Offset(offset),
        Payload::Len(length),
    ];
    let lookup = vec![Lookup::Set(set_name(family).to_owned()), Lookup::SourceRegister(REGISTER)];
    let mut rule = only(MetaKey::Nfproto, nfproto(family));
    rule.extend([
        Expressions::Payload(destination),
        Expressions::Lookup(lookup),
        Expressions::Other {
            expression_type: "objref".to_owned(),
            attributes: vec![
                DefaultNla::new(NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER.to_be_bytes().to_vec()),
                DefaultNla::new(NFTA_OBJREF_IMM_NAME, text(COUNTER)),
            ],
        },
        verdict(NF_DROP),
    ]);
    rule
}

/// Neighbour discovery, whatever it is to.
fn accept_ndisc() -> Vec<Expressions> {
    let kind = vec![
        Payload::DestinationRegister(REGISTER),
        Payload::Base(TRANSPORT_HEADER),
        Payload::Offset(0),
        Payload::Len(1),
    ];
    let mut rule = only(MetaKey::Nfproto, nfproto(Family::V6));
    rule.extend(only(MetaKey::L4Proto, ICMPV6));
    rule.extend([
        Expressions::Payload(kind),
        compare(Operator::GreatherThanEqual, NDISC.0),
        compare(Operator::LessThanEqual, NDISC.1),
        verdict(NF_ACCEPT),
    ]);
    rule
}

/// Lets a rule go on only where something is that.
fn only(key: MetaKey, value: u8) -> Vec<Expressions> {
    let load = vec![Meta::DestinationRegister(REGISTER), Meta::Key(key)];
    vec![Expressions::Meta(load), compare(Operator::Equal, value)]
}

fn compare(operator: Operator, value: u8) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(REGISTER),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(vec![value])),
    ])
}

fn verdict(code: u32) -> Expressions {
    let code = VerdictAttribute::Code(Verdict::Other(code));
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![code])),
    ])
}

/// The number of a family (`NFPROTO_IPV4`, `NFPROTO_IPV6`, linux/netfilter.h).
fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_were_written() {
        let all: Vec<IpAddr> =
            ["10.0.0.1", "2001:db8::1", "10.0.0.2"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(addresses(&elements("t", Family::V4, Some(&all))), all);
        assert!(addresses(&elements("t", Family::V6, None)).is_empty());
    }

    #[test]
    fn as_many_as_there_are_fit_into_messages() {
        let count = 3 * u16::try_from(TOGETHER).unwrap();
        let v6 = (0..count).map(|n| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, n]));
        let all: Vec<IpAddr> = v6.chain([IpAddr::from([10, 0, 0, 1])]).collect();
        let mut found = Vec::new();
        for (_, _, step) in set_up("vrrp-user-default", &all) {
            let NfTablesMessage::NewSetElement(elements) = step else { continue };
            let lengths = elements.attributes.iter().map(|attribute| attribute.buffer_len());
            assert!(lengths.max() < Some(1 << 16));
            found.extend(addresses(&elements));
        }
        found.sort_unstable();
        assert_eq!(found.len(), all.len());
        assert!(all.iter().all(|address| found.binary_search(address).is_ok()));
    }
}
