//! Routers without accept mode: when the kernel is told what to refuse.

use super::*;

const NO: &str = "accept = false";
const SECOND: &str = "10.0.0.101";

/// A router of another VRID.
fn other(more: &str) -> String {
    format!(
        "[[router]]\nname = \"B\"\ninterface = \"eth0\"\nvrid = 52\nversion = 3\n\
         addresses = [\"{SECOND}/24\"]\n{more}\n"
    )
}

/// Whether there may be a filter.
fn refuses(host: &Host) -> bool {
    host.core.refuses().next().is_some()
}

/// What is asked of nf_tables, in order; none of it for its end.
fn told(host: &Host) -> Vec<Vec<String>> {
    let told = host.asks.iter().filter_map(|ask| match &ask.object {
        Object::Refused(NamespaceId::OWN, addresses) => {
            assert_eq!(ask.request == Request::Remove, addresses.is_empty());
            Some(addresses.iter().map(ToString::to_string).collect())
        }
        _ => None,
    });
    told.collect()
}

/// A master without accept mode.
fn master() -> Host {
    let mut host = Host::started(&toml(NO));
    host.answer(&Ok(()));
    host.pass(5000);
    host.answer(&Ok(()));
    assert!(host.has_vip() && refuses(&host));
    host
}

/// Another configuration is read, and nothing is answered yet that is asked because of it.
fn read(host: &mut Host, text: &str, check: bool) {
    host.input(Input::Reload { check, client: None });
    let number = host.done.iter().rev().find_map(|effect| match effect {
        Effect::ReadConfiguration { number, .. } => Some(*number),
        _ => None,
    });
    let config = config::load_toml(text).unwrap();
    let read = Box::new(Ok(Prepared::new(config, Vec::new())));
    host.input(Input::ConfigurationRead { number: number.unwrap(), read });
}

#[test]
fn nothing_is_refused_that_is_not_to_be() {
    for text in [toml(""), toml("priority = 255\naccept = false")] {
        let mut host = Host::started(&text);
        host.pass(10_000);
        host.input(Input::Stop);
        assert!(told(&host).is_empty() && !refuses(&host), "{text}");
    }
    // Another router that has it lets packets in.
    let both = toml(NO) + &other("accept = true").replace(SECOND, VIP);
    assert_eq!(told(&Host::started(&both)), Vec::<Vec<String>>::new());
}

#[test]
fn an_address_is_refused_before_it_is_there_and_until_it_is_gone() {
    let mut host = Host::new(&toml(NO));
    host.perform();
    assert_eq!(told(&host), [[VIP]]);
    host.listed(&[]);
    assert!(!host.core.is_starting(), "nothing waits for it");
    host.answer(&Ok(()));
    host.pass(5000);
    // It may have been removed meanwhile, and is looked at first.
    let place = |subject| host.asks.iter().position(|ask| ask.subject == subject);
    let added = place(Subject::Address(address(VIP, true))).unwrap();
    assert!(place(Subject::Refused(NamespaceId::OWN)).unwrap() < added);
    host.answer(&Ok(()));
    assert!(host.has_vip());
    host.hear(200);
    assert_eq!(host.asked(), vip_asked(Request::Remove), "a backup refuses them as well");
    host.answer(&Ok(()));

    let mut host = master();
    host.input(Input::Stop);
    assert_eq!(host.asked(), vip_asked(Request::Remove));
    host.answer(&Err(refused()));
    host.pass(500);
    assert!(told(&host).is_empty() && !host.core.is_stopped());
    let address = host.asks.pop_front().unwrap();
    let answer =
        Answer { request: address.request, subject: address.subject, result: Ok(()), ours: false };
    host.input(Input::Answered(vec![answer]));
    assert_eq!(host.asked(), [(Request::Remove, Subject::Refused(NamespaceId::OWN))]);
    host.answer(&Ok(()));
    assert!(host.core.is_stopped());
}

#[test]
fn it_is_looked_at_while_the_daemon_is_awake() {
    let mut host = master();
    host.pass(3000);
    assert_eq!(told(&host), [[VIP]], "one at a time");
    host.answer(&Ok(()));
    host.pass(3000);
    assert_eq!(told(&host), [[VIP]]);
}

#[test]
fn what_cannot_be_refused_is_a_problem_and_tried_again() {
    let mut host = Host::started(&toml(NO));
    host.answer(&Err(refused()));
    assert_eq!(host.counted(Counter::AcceptFilterFailed), 1);
    let problem = host.core.accept_problem(ROUTER).unwrap();
    assert!(problem.contains("let in") && problem.contains("not permitted"), "{problem}");
    host.pass(5000);
    assert_eq!(told(&host), [[VIP]]);
    assert_eq!(host.state(), Some(State::Master), "it does its work");
    host.answer(&Ok(()));
    assert_eq!(host.core.accept_problem(ROUTER), None);
    // Who never could has nothing to take back that would hold up the end.
    let mut host = Host::started(&toml(NO));
    host.answer(&Err(refused()));
    host.input(Input::Stop);
    host.answer(&Err(refused()));
    assert!(host.core.is_stopped());
}

#[test]
fn a_reload_refuses_first_what_it_wants_refused() {
    let mut host = master();
    read(
        &mut host,
        &(toml(NO).replace(VIP, SECOND) + &other(NO).replace(SECOND, "10.0.0.102")),
        false,
    );
    assert_eq!(told(&host)[0], [VIP, SECOND, "10.0.0.102"]);
    assert_eq!(host.asked()[0], (Request::Add, Subject::Refused(NamespaceId::OWN)));
    // What is dropped is refused until it is gone.
    let removal = (Request::Remove, Subject::Address(address(VIP, true)));
    assert!(host.asked().contains(&removal) && told(&host).len() == 1);
    while host.asked().contains(&removal) {
        let Ask { request, subject, .. } = host.asks.pop_front().unwrap();
        let answer = Answer { request, subject, result: Ok(()), ours: false };
        host.input(Input::Answered(vec![answer]));
    }
    assert_eq!(told(&host), [[SECOND, "10.0.0.102"]]);
    host.answer(&Ok(()));
    assert_eq!(host.counted(Counter::UnexpectedAnswer), 0);
}

#[test]
fn a_reload_lets_in_what_it_does_not_want_refused() {
    let mut host = master();
    read(&mut host, &toml(""), false);
    assert_eq!(host.asked(), [(Request::Remove, Subject::Refused(NamespaceId::OWN))]);
    host.answer(&Ok(()));
    assert!(host.has_vip() && !refuses(&host));
    let reloaded = reload(&mut host, &toml(NO));
    assert_eq!(reloaded.changed[0].settings, ["accept true -> false"]);
    assert!(host.has_vip() && refuses(&host));
    // Its owner lets everything in.
    let reloaded = reload(&mut host, &toml("accept = false\npriority = 255"));
    assert_eq!(reloaded.changed[0].settings, ["priority 100 -> 255", "accept false -> true"]);
    assert!(!refuses(&host));
}

#[test]
fn who_only_asks_what_would_change_changes_nothing() {
    let mut host = master();
    read(&mut host, &(toml("") + &other(NO)), true);
    assert!(host.asked().is_empty() && refuses(&host));
}
