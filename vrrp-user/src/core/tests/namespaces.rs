//! Routers in other network namespaces than the daemon.

use super::*;
use crate::core::netlink::Event;

/// A router in one, beside one of the same VRID and address in that of the daemon.
fn both() -> String {
    let there = "[[router]]\nname = \"B\"\nnetns = \"red\"\ninterface = \"eth0\"\nvrid = 51\nversion = 3\n\
                 addresses = [\"10.0.0.100/24\"]\nrules = [\"from 10.0.0.100 table 7 preference 7\"]\n";
    toml("") + there
}

fn red() -> NamespaceId {
    NamespaceId::of_interface("red/eth0")
}

/// Its interface, which has the index of that of the daemon.
fn eth0_there() -> InterfaceId {
    InterfaceId { namespace: red(), ..ETH0 }
}

fn comes(host: &mut Host) {
    host.input(Input::Namespace { namespace: red(), presence: Presence::Present });
    let link = Link { iface: eth0_there(), ..Link::ethernet(ETH0.ifindex, "red/eth0", true) };
    let address = AssignedAddress {
        at: InterfaceAddr::new(eth0_there(), [10, 0, 0, 1]),
        prefix: 24,
        marked: false,
        tentative: false,
    };
    host.input(Input::Changed(vec![Event::Link(link), Event::Address(address)]));
}

fn goes(host: &mut Host) {
    host.input(Input::Namespace { namespace: red(), presence: Presence::Absent });
}

/// How many requests of a kind there are in a network namespace, not answered yet.
fn asked_in(host: &Host, namespace: NamespaceId, request: Request) -> usize {
    let there = host.asks.iter().filter(|ask| ask.object.namespace() == namespace);
    there.filter(|ask| ask.request == request).count()
}

fn problem(host: &Host, name: &str) -> Option<String> {
    let id = host.core.find(name).unwrap();
    host.core.link_problems(id).first().map(|problem| problem.text.clone())
}

#[test]
fn a_namespace_brings_its_interfaces_and_takes_them_along() {
    let mut host = Host::started(&both());
    let needed: Vec<_> = host
        .done
        .iter()
        .filter_map(|effect| match effect {
            Effect::Namespaces(needed) => Some(needed.keys().copied().collect::<Vec<_>>()),
            _ => None,
        })
        .collect();
    assert_eq!(needed, [vec![red()]]);
    let there = host.core.find("B").unwrap();
    let missing = "there is no network namespace red; waiting for it";
    assert_eq!(problem(&host, "B").as_deref(), Some(missing));
    host.answer(&Ok(()));
    host.pass(5000);
    assert_eq!(asked_in(&host, red(), Request::Add), 0);
    host.answer(&Ok(()));
    assert!(host.has_vip());
    assert_eq!(host.core.state(there), Some(State::Fault));
    comes(&mut host);
    host.pass(5000);
    assert_eq!(host.core.state(there), Some(State::Master));
    // An address and a rule, beside those of the other one.
    assert_eq!(asked_in(&host, red(), Request::Add), 2);
    host.answer(&Ok(()));
    assert_eq!(problem(&host, "B"), None);
    goes(&mut host);
    assert_eq!(host.core.state(there), Some(State::Fault));
    assert_eq!(problem(&host, "B").as_deref(), Some(missing));
    assert!(host.has_vip(), "the other one goes on");
    // Nothing of it is left to be removed.
    host.input(Input::Stop);
    assert_eq!(asked_in(&host, NamespaceId::OWN, Request::Remove), 1);
    assert_eq!(asked_in(&host, red(), Request::Remove), 0);
}

#[test]
fn one_that_cannot_be_used_says_why() {
    let mut host = Host::started(&both());
    let presence = Presence::Refused("it is locked".to_owned());
    host.input(Input::Namespace { namespace: red(), presence });
    assert_eq!(problem(&host, "B").as_deref(), Some("it is locked"));
    // Nobody needs that one.
    host.input(Input::Namespace { namespace: NamespaceId(3), presence: Presence::Present });
    assert_eq!(host.counted(Counter::UnexpectedAnswer), 1);
}

#[test]
fn addresses_move_between_hosts_in_their_own_namespace() {
    let text = toml("").replace("10.0.0.100", "10.0.0.99") + &both().replace(&toml(""), "");
    let mut host = Host::started(&text);
    comes(&mut host);
    let table = &host.core.interfaces;
    let at = |iface, last: u8| InterfaceAddr::new(iface, [10, 0, 0, last]);
    assert!(table.is_virtual(at(ETH0, 99)) && !table.is_virtual(at(ETH0, 100)));
    assert!(table.is_virtual(at(eth0_there(), 100)) && !table.is_virtual(at(eth0_there(), 99)));
}

#[test]
fn a_reload_goes_to_other_namespaces() {
    let mut host = Host::started(&both());
    comes(&mut host);
    host.pass(5000);
    host.answer(&Ok(()));
    let there = InterfaceAddr::new(eth0_there(), [10, 0, 0, 100]);
    assert!(host.there.contains(&there));
    let report = reload(&mut host, &both().replace("red", "blue"));
    assert!(report.applied, "{report:?}");
    let needed = host.done.iter().rev().filter_map(|effect| match effect {
        Effect::Namespaces(needed) => Some(needed.values().map(ToString::to_string).collect()),
        _ => None,
    });
    let needed: Vec<Vec<String>> = needed.take(2).collect();
    assert_eq!(needed[0], ["blue"], "when nothing is left in the other one");
    assert_eq!(needed[1].len(), 2);
    assert!(!host.there.contains(&there));
}
