//! The native format, key by key; every error with line and column.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use proptest::prelude::*;

use super::duration;
use crate::config::model::{
    Authentication, Config, Delays, OnLost, Pauses, Peer, RouterConfig, Scheduling, Tracked,
    Transport, V3Checksum,
};
use crate::config::{LoadError, Loaded, Options, load};
use crate::engine::time::{Centisecs, Nanos};
use crate::engine::types::{AdvertInterval, Priority, Version};
use crate::types::netns::Netns;
use crate::wire::family::Family;

fn example() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/vrrp.toml")
}

/// The configuration, or `LINE:COLUMN: MESSAGE (HINT)` of all errors.
fn load_text(text: &[u8]) -> Result<Config, Vec<String>> {
    let loaded = load_with_warnings(text)?;
    assert_eq!(loaded.diagnostics, [], "nothing to warn of");
    Ok(loaded.config)
}

fn load_with_warnings(text: &[u8]) -> Result<Loaded, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vrrp.toml");
    fs::write(&path, text).unwrap();
    match load(&path, &Options::default()) {
        Ok(loaded) => Ok(loaded),
        Err(LoadError::Io { source, .. }) => Err(vec![source.to_string()]),
        Err(error @ LoadError::Invalid { .. }) => {
            let prefix = format!("{}:", path.display());
            Err(error.to_string().lines().map(|line| line.replace(&prefix, "")).collect())
        }
    }
}

fn with(extra: &str) -> String {
    format!(
        "[[router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"10.0.0.1/24\"]\n{extra}\n"
    )
}

#[test]
fn scheduling() {
    let load = |sched: &str| load_text(format!("{sched}\n{}", with("")).as_bytes());
    assert_eq!(load("").unwrap().scheduling, None);
    assert_eq!(load("sched = \"fifo:1\"").unwrap().scheduling, Some(Scheduling::Fifo(1)));
    assert_eq!(load("sched = \"other\"").unwrap().scheduling, Some(Scheduling::Other));
    for bad in ["fifo", "fifo:0", "fifo:100", "rr:5", ""] {
        let errors = load(&format!("sched = \"{bad}\"")).unwrap_err();
        assert!(errors[0].starts_with("1:9: error: sched is neither"), "{errors:?}");
    }
    assert!(load("sched = 5").is_err());
}

#[test]
fn metrics() {
    let load = |metrics: &str| load_text(format!("{metrics}\n{}", with("")).as_bytes());
    assert_eq!(load("").unwrap().metrics, None);
    for good in ["127.0.0.1:9560", "[::1]:9560", "0.0.0.0:1", "unix:/run/vrrp.sock"] {
        let metrics = load(&format!("metrics = \"{good}\"")).unwrap().metrics.unwrap();
        assert_eq!(metrics.to_string(), good);
    }
    for (short, whole) in [(":9560", "[::]:9560"), ("localhost:9560", "127.0.0.1:9560")] {
        let metrics = load(&format!("metrics = \"{short}\"")).unwrap().metrics.unwrap();
        assert_eq!(metrics.to_string(), whole);
    }
    let long = format!("unix:/{}", "x".repeat(107));
    for bad in [
        "", "9560", "other:9560", ":", ":0", "localhost:x", "127.0.0.1:0", "unix:", "unix:run/x",
        &long,
    ] {
        let errors = load(&format!("metrics = \"{bad}\"")).unwrap_err();
        assert!(errors[0].starts_with("1:11: error: metrics cannot be served at"), "{errors:?}");
        assert!(errors[0].contains("127.0.0.1:9560"), "{errors:?}");
    }
    assert!(load("metrics = 9560").is_err());
}

#[track_caller]
fn accept(text: &str) -> RouterConfig {
    let config = load_text(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:#?}"));
    config.routers.into_iter().next().unwrap()
}

#[track_caller]
fn refuse(text: &str) -> Vec<String> {
    load_text(text.as_bytes()).expect_err(text)
}

#[test]
fn all_keys() {
    let loaded = load(&example(), &Options::default()).unwrap();
    assert_eq!(loaded.diagnostics, []);
    let [web, database, legacy] = loaded.config.routers.as_slice() else {
        panic!("{:?}", loaded.config)
    };
    assert_eq!((web.name.as_str(), web.line, web.vrid.get()), ("web", 26, 51));
    assert_eq!(loaded.config.scheduling, Some(Scheduling::Fifo(50)));
    assert_eq!(loaded.config.metrics.as_ref().unwrap().to_string(), "127.0.0.1:9560");
    assert_eq!((web.priority, web.interval), (Priority(100), AdvertInterval::Secs(1)));
    assert_eq!(web.transport, Transport::plain_multicast(None));
    assert_eq!((web.addresses[0].prefix, web.addresses.len()), (24, 1));

    assert_eq!(database.interval, AdvertInterval::Centisecs(Centisecs(10)));
    assert_eq!(database.preempt_delay, Nanos::from_secs(30));
    let labelled = &database.addresses[1];
    assert_eq!(labelled.label.as_deref(), Some("eth1:db"));
    assert_eq!(labelled.broadcast, "10.0.0.255".parse().ok());
    let excluded = &database.excluded[0];
    assert_eq!((excluded.dev.as_deref(), excluded.scope), (Some("eth2"), 253));
    assert!(excluded.no_track && !labelled.no_track);
    let peers = vec![
        IpAddr::from([10, 0, 0, 2]).into(),
        Peer { address: [10, 9, 0, 2].into(), min_ttl: 250, max_ttl: 254 },
    ];
    let source = "10.0.0.1".parse().ok();
    let transport = Transport::Unicast { source, peers, ttl: 255, check_source: true };
    assert_eq!(database.transport, transport);
    assert_eq!(database.garp_extra_if, Nanos::from_secs(100));
    assert_eq!((database.garp.refresh, database.garp.refresh_repeat), (Nanos::from_secs(60), 2));

    assert_eq!(legacy.authentication, Authentication::Pass(*b"1111\0\0\0\0"));
    let notify = legacy.notify.as_ref().unwrap();
    assert_eq!((notify.commands().count(), notify.notify_deleted), (6, true));
    assert_eq!(notify.master.as_ref().unwrap().argv, ["/etc/vrrp/up", "two words"]);
    let settings = &loaded.config.notify;
    assert!(settings.security && settings.startup.is_some() && settings.shutdown.is_some());
    assert_eq!((settings.fifos().count(), settings.umask), (2, Some(0o027)));
    let delays = &loaded.config.delays;
    assert_eq!((delays.startup, delays.after_boot), (Nanos::from_secs(5), Nanos::from_secs(60)));
    assert_eq!((delays.pauses.garp, delays.pauses.gna), (Nanos(1_000_000), Nanos(500_000)));
    assert_eq!(delays.garp_groups[0].interfaces, ["eth1", "eth2"]);
    assert_eq!(
        (delays.links[0].down, delays.links[0].up),
        (Nanos::from_millis(1500), Nanos::from_millis(500))
    );
    let (source, group) = ("172.16.0.1".parse().ok(), "224.0.0.81".parse().ok());
    assert_eq!(legacy.transport, Transport::Multicast { source, group });
    assert_eq!(legacy.addresses[0].prefix, 32);
}

#[test]
fn the_defaults_are_those_of_keepalived() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("k.conf");
    let text = "vrrp_instance a {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n10.0.0.1/24\n}\n}\n";
    fs::write(&path, text).unwrap();
    let loaded = load(&path, &Options::default()).unwrap();
    assert_eq!(accept(&with("")), loaded.config.routers[0]);
}

#[test]
fn values() {
    let router = accept(&with(
        "priority = 0xff\nversion = 3\ninterval = \"1.5s\"\nlower_prio_advert = false\n\
         higher_prio_advert = true\nv3_checksum = \"rfc9568\"\n\
         garp = { repeat = 1, delay = \"0s\", lower_prio_repeat = 0, lower_prio_delay = \"0s\" }",
    ));
    assert_eq!(router.priority, Priority::OWNER);
    assert_eq!(router.interval, AdvertInterval::Centisecs(Centisecs(150)));
    assert!(!router.lower_prio_advert && router.higher_prio_advert == Some(true));
    assert_eq!(router.v3_checksum, V3Checksum::Rfc9568);
    assert_eq!((router.garp.master_repeat, router.garp.master_delay), (1, Nanos::ZERO));
    assert_eq!((router.garp.lower_prio_repeat, router.garp.lower_prio_delay), (0, Nanos::ZERO));
    assert!(!accept(&with("preempt = false")).preempt);
}

#[test]
fn ipv6() {
    let six = |more: &str| {
        format!(
            "[[router]]\nname = \"six\"\ninterface = \"eth0\"\nvrid = 51\n\
             addresses = [\"fe80::1\", \"2001:db8::1/64\"]\n{more}\n"
        )
    };
    let router = accept(&six("excluded = [\"10.0.0.1/24\"]\nsource = \"fe80::9\""));
    assert_eq!((router.family(), router.version()), (Family::V6, Version::V3));
    assert_eq!((router.addresses.len(), router.excluded.len()), (2, 1));
    for (more, error) in [
        ("version = 2", "6:11: error: IPv6 needs version 3"),
        ("source = \"10.0.0.9\"", "6:10: error: the source 10.0.0.9 does not go with IPv6"),
        (
            "unicast = { peers = [\"10.0.0.2\", \"fe80::2\"] }",
            "the peer 10.0.0.2 does not go with IPv6",
        ),
    ] {
        let errors = refuse(&six(more));
        assert!(errors[0].contains(error), "{errors:?}");
    }
    let errors = refuse(&with("excluded = [\"fe80::1\"]\nsource = \"fe80::1\""));
    assert!(errors[0].contains("the source fe80::1 does not go with IPv4"), "{errors:?}");
}

#[test]
fn mistakes() {
    for (line, error) in [
        ("prioritty = 1", "6:1: error: unknown key prioritty in a router (did you mean priority?)"),
        ("priority = \"1\"", "6:12: error: priority must be a whole number, not a string"),
        ("priority = 256", "6:12: error: priority must be 1 to 255, not `256`"),
        ("priority = 0", "6:12: error: priority must be 1 to 255, not `0`"),
        ("preempt = 1", "6:11: error: preempt must be true or false, not an integer"),
        (
            "interval = 1",
            "6:12: error: interval must be a time in quotes (like \"1s\", \"2.5s\" or \"100ms\")",
        ),
        (
            "interval = \"100ms\"",
            "6:12: error: interval must be a whole number of seconds with this version, not 0.1 s",
        ),
        ("interval = \"256s\"", "6:12: error: interval must be 0.01 s to 255 s, not 256 s"),
        (
            "version = 3\ninterval = \"41s\"",
            "7:12: error: interval must be a whole number of centiseconds, up to 40.95 s, with this version, not 41 s",
        ),
        ("version = 1", "6:11: error: version must be 2 or 3, not `1`"),
        (
            "preempt = false\npreempt_delay = \"1s\"",
            "7:17: error: preempt_delay does not go with preempt = false",
        ),
        (
            "source = \"x\"",
            "6:10: error: source must be an IP address in quotes (like \"192.0.2.1\" or \"2001:db8::1\")",
        ),
        (
            "unicast = { peers = [] }",
            "6:21: error: there is no address in unicast.peers (add the other routers)",
        ),
        (
            "unicast = {}",
            "6:11: error: there is no address in unicast.peers (add the other routers)",
        ),
        (
            "source = \"10.0.0.9\"\nunicast = { peers = [\"10.0.0.8\"] }",
            "6:10: error: source belongs into unicast here (unicast = { source = ... })",
        ),
        (
            "unicast = { peers = [\"10.0.0.8\", 5] }",
            "6:34: error: an entry of peers must be an IP address in quotes (like \"192.0.2.1\" or \"2001:db8::1\")",
        ),
        ("garp = { repeat = 0 }", "6:19: error: repeat must be at least 1, not 0"),
        (
            "garp = { x = 0 }",
            "6:10: error: unknown key x in garp (known are repeat, delay, refresh, refresh_repeat, lower_prio_repeat, lower_prio_delay, other_interfaces, other_interfaces_all, own_address)",
        ),
        ("garp = 5", "6:8: error: garp must be a table, not an integer"),
        ("v3_checksum = \"x\"", "6:15: error: unknown v3_checksum `x` (rfc5798 or rfc9568)"),
        (
            "authentication = { type = \"md5\", password = \"x\" }",
            "6:27: error: unknown authentication type `md5` (pass or ah)",
        ),
        (
            "authentication = { type = \"pass\" }",
            "6:18: error: authentication has no password (add password = \"...\")",
        ),
        (
            "authentication = { password = \"123456789\" }",
            "6:31: error: password is longer than 8 bytes (the protocol has room for 8)",
        ),
        (
            "version = 3\nauthentication = { password = \"x\" }",
            "7:31: error: version 3 has no authentication (remove it)",
        ),
        ("excluded = [\"10.0.0.1\"]", "6:13: error: 10.0.0.1 is there twice"),
        (
            "excluded = [\"10.0.0.2/33\"]",
            "6:13: error: `33` is no prefix length (write it like /24)",
        ),
        (
            "excluded = [\"x\"]",
            "6:13: error: an address must be an IP address in quotes (like \"192.0.2.1\" or \"2001:db8::1\")",
        ),
        ("excluded = \"x\"", "6:12: error: excluded must be a list, not a string"),
        (
            "excluded = [{ dev = \"x\" }]",
            "6:13: error: an address table has no address (add address = \"...\")",
        ),
        (
            "excluded = [{ address = \"10.0.0.2\", label = \"0123456789abcdef\" }]",
            "6:25: error: the label `0123456789abcdef` is longer than 15 characters",
        ),
        (
            "excluded = [{ address = \"10.0.0.2\", broadcast = \"+\" }]",
            "6:49: error: `+` is no broadcast address here (an address, or + or - with a prefix of at most 30)",
        ),
        (
            "excluded = [{ address = \"10.0.0.2\", dev = \"a/b/c\" }]",
            "6:25: error: `a/b/c` cannot be the name of an interface",
        ),
    ] {
        let found: Vec<_> = refuse(&with(line))
            .iter()
            .map(|e| e.replace(" (version 3 can do parts of a second)", ""))
            .collect();
        assert_eq!(found, [error], "{line}");
    }
}

#[test]
fn scripts() {
    let head = concat!(
        "[scripts]\nuser = \"a\"\ngroup = \"b\"\nsecurity = true\numask = \"027\"\nconcurrency = 3\n",
        "startup = \"/bin/up 'a b'\"\nstartup_timeout = \"3s\"\n",
        "[notify]\ntimeout = \"5s\"\nfifo = \"/run/g\"\nsplit_brain = [\"/bin/split\", \"x y\"]\n",
        "vrrp_fifo = { path = \"/run/f\", user = \"c\", script = \"/bin/r\" }\n",
    );
    let line = "notify = { any = { command = \"/bin/x y\", user = \"root\" }, deleted = true }";
    let Ok(loaded) = load_text(format!("{head}{}", with(line)).as_bytes()) else {
        panic!("refused")
    };
    let settings = loaded.notify;
    assert_eq!(settings.user.unwrap().to_string(), "a b");
    assert_eq!((settings.security, settings.umask, settings.concurrency), (true, Some(0o027), 3));
    let startup = settings.startup.unwrap();
    assert_eq!(
        (startup.command.argv, startup.timeout),
        (vec!["/bin/up".into(), "a b".into()], Nanos::from_secs(3))
    );
    assert_eq!(settings.timeout, Nanos::from_secs(5));
    assert_eq!(settings.split_brain.unwrap().argv, ["/bin/split", "x y"]);
    assert_eq!(settings.fifo.unwrap().script, None);
    let fifo = settings.vrrp_fifo.unwrap();
    assert_eq!(
        (fifo.user.unwrap().user, fifo.script.unwrap().argv),
        ("c".into(), vec!["/bin/r".into()])
    );
    let notify = loaded.routers[0].notify.clone().unwrap();
    let any = notify.any.unwrap();
    assert_eq!(
        (any.argv, any.user.unwrap().user),
        (vec!["/bin/x".into(), "y".into()], "root".into())
    );
    assert!(notify.notify_deleted && notify.deleted.is_none());
}

#[test]
fn script_mistakes() {
    for (line, error) in [
        (
            "notify = { any = 5 }",
            "6:18: error: any must be a command in quotes or a list of its words, not an integer",
        ),
        ("notify = { any = \"\" }", "6:18: error: any is no command: there is no program in it"),
        (
            "notify = { any = \"/x 'y\" }",
            "6:18: error: any is no command: the quote ' is not closed",
        ),
        (
            "notify = { any = [\"/x\", 1] }",
            "6:18: error: any is no command: it must be a list of strings",
        ),
        (
            "notify = { master = { user = \"x\" } }",
            "6:21: error: master has no command (add command = \"...\")",
        ),
        (
            "notify = { mastr = \"/x\" }",
            "6:12: error: unknown key mastr in notify (did you mean master?)",
        ),
    ] {
        assert_eq!(refuse(&with(line)), [error], "{line}");
    }
    for (head, error) in [
        ("[notify]\nfifo = \"f\"\n", "2:8: error: fifo must be an absolute path"),
        ("[notify]\ntimeout = \"1ms\"\n", "2:11: error: timeout must be 10 ms to 86400 s"),
        ("[scripts]\nconcurrency = 0\n", "2:15: error: concurrency must be 1 to 65535, not 0"),
        (
            "[scripts]\numask = \"9\"\n",
            "2:9: error: umask must be octal digits, not `9` (like \"022\")",
        ),
        (
            "[scripts]\ngroup = \"g\"\n",
            "2:9: error: there is a group without a user (add user = \"...\")",
        ),
        (
            "[scripts]\nstartup_timeout = \"1s\"\n",
            "2:19: error: there is startup_timeout, but no startup",
        ),
    ] {
        assert_eq!(refuse(&format!("{head}{}", with(""))), [error], "{head}");
    }
}

#[test]
fn all_mistakes_at_once() {
    let errors = refuse(
        "rooter = 1\n[[router]]\nvrid = 300\nfoo = 1\n[[router]]\nname = \"b\"\ninterface = \"eth 0\"\nversion = 3\n",
    );
    let places: Vec<_> = errors.iter().map(|e| e.split(" error").next().unwrap()).collect();
    assert_eq!(places, ["1:1:", "2:1:", "2:1:", "2:1:", "3:8:", "4:1:", "5:1:", "5:1:", "7:13:"]);
}

#[test]
fn documents() {
    let none = "there is no virtual router in this file";
    assert_eq!(
        refuse(""),
        [format!("1: error: {none} (write `router = []` if there are to be none)")]
    );
    assert_eq!(refuse("[control]\nsocket_mode = \"0600\"\n").len(), 1);
    assert_eq!(
        refuse("router = 5\n"),
        ["1:10: error: router is not a list of tables (write [[router]])"]
    );
    assert_eq!(refuse("router = [5]\n"), ["1:11: error: a router must be a table, not an integer"]);
    let errors = refuse("[[router]]\nname = \"a\nvrid = \n");
    assert!(errors[0].starts_with("2:"), "{errors:?}");
    assert_eq!(refuse(&with("").repeat(2)).len(), 1, "one name twice");
    let two = format!("{}{}", with(""), with("").replace("\"a\"", "\"b\""));
    let errors = refuse(&two);
    assert!(
        errors[0].starts_with("7:1: error: b and a (line 1) both use vrid 1 on eth0"),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("7:1: warning: 10.0.0.1 is an address of a too"), "{errors:?}");
}

#[test]
fn durations() {
    assert_eq!(duration("1s"), Some(Nanos::from_secs(1)));
    assert_eq!(duration("0.25 s"), Some(Nanos::from_millis(250)));
    assert_eq!(duration("2.5ms"), Some(Nanos(2_500_000)));
    for bad in ["", "s", "1", "1m", "-1s", ".5s", "1.s", "1e3s", "99999999999999s", "0.1234567891s"]
    {
        assert_eq!(duration(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = load_with_warnings(&text);
    }

    #[test]
    fn any_change_to_an_example(at in any::<prop::sample::Index>(), len in 0_usize..9, piece in "\\PC{0,9}") {
        let mut text = fs::read(example()).unwrap();
        let at = at.index(text.len());
        text.splice(at..(at + len).min(text.len()), piece.into_bytes());
        let _ = load_with_warnings(&text);
    }
}

#[test]
fn options_of_addresses() {
    let load = |options: &str| {
        let excluded = format!("excluded = [{{ {options} }}]");
        load_text(with(&excluded).as_bytes()).map(|c| c.routers[0].excluded[0].to_string())
    };
    let address = r#"address = "10.0.0.2", peer = "10.0.0.3/31", home = true, mngtmpaddr = true, noprefixroute = true, autojoin = true, dad = true"#;
    let shown = "10.0.0.2 peer 10.0.0.3/31 home mngtmpaddr noprefixroute autojoin";
    assert_eq!(load(address).unwrap(), shown);
    for (bad, why) in [
        (r#"address = "10.0.0.2/24", peer = "10.0.0.3""#, "with a peer, the prefix length"),
        (r#"address = "10.0.0.2", peer = "fe80::1""#, "cannot be the peer"),
        (r#"address = "10.0.0.2", preferred_lft = "5s""#, "preferred_lft is for IPv6"),
        (r#"address = "10.0.0.2", home = 1"#, "home must be true or false"),
    ] {
        let errors = load(bad).unwrap_err();
        assert!(errors[0].contains(why), "{errors:?}");
    }
}

// One entry for many routers.

#[test]
fn vrid_ranges() {
    let config = load_text(
        b"[[router]]\nname = \"gw-{vrid:03}\"\ninterface = \"eth0.{vrid+100}\"\nvrid = \"1-254,255\"\n\
          addresses = [\"10.{vrid}.0.1/24\", { address = \"10.{vrid}.0.2/24\", label = \"e:{vrid:x}\" }]\n",
    )
    .unwrap();
    assert_eq!(config.routers.len(), 255);
    let last = &config.routers[254];
    assert_eq!((last.name.as_str(), last.interface.as_str()), ("gw-255", "eth0.355"));
    assert_eq!((last.vrid.get(), last.line), (255, 1));
    assert_eq!(last.addresses[0].address.to_string(), "10.255.0.1");
    assert_eq!(last.addresses[1].label.as_deref(), Some("e:ff"));
}

#[test]
fn interface_ranges_and_lists() {
    let config = |interface: &str| {
        let text = format!(
            "[[router]]\nname = \"{{interface}}-{{vrid}}\"\ninterface = {interface}\nvrid = \"7,5\"\n\
             addresses = [\"10.{{index}}.{{vrid}}.1/24\"]\n"
        );
        let config = load_text(text.as_bytes()).unwrap();
        let shown = config.routers.iter().map(|r| format!("{} {}", r.name, r.addresses[0].address));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(
        config("\"eth{3-4}\""),
        ["eth3-7 10.3.7.1", "eth3-5 10.3.5.1", "eth4-7 10.4.7.1", "eth4-5 10.4.5.1"]
    );
    assert_eq!(
        config("[\"lan\", \"dmz\"]"),
        ["lan-7 10.0.7.1", "lan-5 10.0.5.1", "dmz-7 10.1.7.1", "dmz-5 10.1.5.1"]
    );
}

#[test]
fn defaults_fill_in() {
    let config = load_text(
        b"[defaults]\nname = \"r{vrid}\"\ninterface = \"eth0\"\nversion = 3\ninterval = \"100ms\"\n\
          unicast = { peers = [\"10.0.0.2\"] }\n\
          [[router]]\nvrid = 1\naddresses = [\"10.1.0.1\"]\nunicast = { source = \"10.0.0.1\" }\n\
          [[router]]\nvrid = 2\naddresses = [\"10.1.0.2\"]\ninterval = \"1s\"\n",
    )
    .unwrap();
    let [first, second] = config.routers.as_slice() else { panic!("{config:?}") };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("r1", "r2"));
    assert_eq!(first.interval, AdvertInterval::Centisecs(Centisecs(10)));
    assert_eq!(second.interval, AdvertInterval::Centisecs(Centisecs(100)));
    let peers = ["10.0.0.2".parse().unwrap()];
    let source = "10.0.0.1".parse().ok();
    assert_eq!(first.transport, Transport::plain_unicast(source, &peers));
    assert_eq!(second.transport, Transport::plain_unicast(None, &peers));
}

#[test]
fn the_longest_interval_that_is_believed() {
    let load = |lines: &str| load_text(with(lines).as_bytes());
    let longest = |lines: &str| load(lines).unwrap().routers[0].max_learned_interval;
    assert_eq!(longest("version = 3"), None);
    assert_eq!(longest("version = 3\nmax_learned_interval = \"5s\""), Some(Centisecs(500)));
    assert_eq!(
        longest("version = 3\ninterval = \"100ms\"\nmax_learned_interval = \"100ms\""),
        Some(Centisecs(10))
    );
    for bad in ["500ms", "41s", "1.005s", "0s"] {
        let errors = load(&format!("version = 3\nmax_learned_interval = \"{bad}\"")).unwrap_err();
        let wanted = "7:24: error: max_learned_interval must be a whole number of centiseconds from the interval of the router, 1 s, to 40.95 s, not";
        assert!(errors[0].starts_with(wanted), "{errors:?}");
    }
    let errors = load("max_learned_interval = \"5s\"").unwrap_err();
    let wanted =
        "6:24: error: max_learned_interval goes with version 3 only: version 2 learns no interval";
    assert!(errors[0].starts_with(wanted), "{errors:?}");
}

#[test]
fn errors_of_templates() {
    let entry = |lines: &str| refuse(&format!("[[router]]\n{lines}"));
    // What is wrong with many of them is said once, of the first one that it is wrong with.
    assert_eq!(
        entry(
            "name = \"r{vrid}\"\ninterface = \"eth{0-0}\"\nvrid = \"1-255\"\naddresses = [\"10.{index}.{vrid+200}.1\"]"
        ),
        [
            "5:14: error: an address must be an IP address in quotes, for vrid 56 on eth0 (like \"192.0.2.1\" or \"2001:db8::1\")",
        ]
    );
    assert_eq!(
        entry(
            "name = \"r\"\ninterface = \"eth0\"\nvrid = \"1-255\"\naddresses = [\"10.0.{vrid}.1\"]"
        ),
        [
            "1:1: error: there is a router r already, in line 1, for vrid 2 on eth0 (put {vrid} into the name, and {index} with several interfaces)"
        ]
    );
    assert_eq!(
        entry("name = \"r\"\ninterface = \"e\"\nvrid = \"0-3\"\naddresses = [\"10.0.0.1\"]"),
        [
            "4:8: error: vrid: `0` is no number from 1 to 255 (write vrid = 7, or vrid = \"1-9,20\" for many routers)"
        ]
    );
    assert_eq!(
        refuse(&with("v3_checksum = \"{vird}\"")),
        ["6:15: error: unknown variable {vird} (did you mean {vrid}?)"]
    );
    assert_eq!(
        refuse(&format!("[defaults]\nvrid = 1\nnames = 1\n{}", with("")))[0],
        "2:8: error: vrid has no default"
    );
    assert!(
        refuse(&format!("[defaults]\nnames = 1\n{}", with("")))[0].contains("did you mean name?")
    );
    let huge = "name = \"r{vrid}\"\ninterface = \"eth{0-65535}\"\nvrid = \"1-255\"\naddresses = [\"10.0.{vrid}.1\"]";
    assert_eq!(
        entry(huge),
        ["1:1: error: with what this entry stands for, there are more than 65536 virtual routers"]
    );
}

#[test]
fn braces_can_be_meant() {
    let text = "[[router]]\nname = \"{{a}}\"\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"10.0.0.1\"]\n";
    assert_eq!(accept(text).name, "{a}");
}

#[test]
fn routes_and_rules() {
    let load = |text: &str| load_text(with(text).as_bytes());
    let config = load(
        r#"
routes = [
    "default via 10.0.0.254  table 100",
    { to = "10.1.0.0/16", type = "blackhole", metric = 7, no_track = true },
    { to = "10.2.0.0/16", table = 5, mtu = "lock 1400", nexthops = [{ via = "10.0.0.2", weight = 2 }, { dev = "eth9", onlink = true }] },
]
rules = ["from 10.0.0.1 table 100 preference 1000", { not = true, to = "10.0.0.0/8", type = "prohibit", preference = 5, iif = "eth0" }]
on_address_lost = "restore"
promote_secondaries = true"#,
    )
    .unwrap();
    let routing = &config.routers[0].routing;
    let routes: Vec<String> = routing.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        [
            "default via 10.0.0.254 table 100",
            "blackhole 10.1.0.0/16 metric 7 no_track",
            "10.2.0.0/16 table 5 mtu lock 1400 nexthop via 10.0.0.2 weight 2 nexthop dev eth9 onlink",
        ]
    );
    let rules: Vec<String> = routing.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "from 10.0.0.1 table 100 preference 1000",
            "not from all to 10.0.0.0/8 iif eth0 prohibit preference 5",
        ]
    );
    assert_eq!((routing.on_lost, routing.promote_secondaries), (OnLost::Restore, Some(true)));
    for (bad, why) in [
        (
            r#"routes = ["10.1.0.0/16 vai 10.0.0.1"]"#,
            "6:24: error: a route has no option `vai` (did you mean via?)",
        ),
        (r#"routes = [{ via = "10.0.0.1" }]"#, "6:11: error: a route has no destination"),
        (
            r#"routes = [{ to = "10.0.0.1/8" }]"#,
            "6:11: error: 10.0.0.1/8 is an address, not a network (write 10.0.0.0/8)",
        ),
        (
            r#"routes = [{ to = "default", gateway = "10.0.0.1" }]"#,
            "6:29: error: unknown key gateway in a route",
        ),
        (r#"rules = ["from 10.0.0.1 table 5"]"#, "6:10: error: a rule has no preference"),
        (r#"rules = [7]"#, "6:10: error: a rule must be a table"),
        (
            r#"on_address_lost = "ignore""#,
            "6:19: error: unknown on_address_lost `ignore` (yield or restore)",
        ),
    ] {
        let errors = load(bad).unwrap_err();
        assert!(errors[0].starts_with(why), "{errors:?}");
    }
}

#[test]
fn static_ones() {
    let load = |text: &str| load_text(format!("{text}\n{}", with("")).as_bytes());
    let fixed = load("[static]\naddresses = [{ address = \"10.9.0.1/24\", dev = \"eth1\" }]\nroutes = [\"blackhole 10.0.0.0/8\"]\nrules = [\"table 5 preference 7\"]").unwrap().fixed;
    assert_eq!(fixed.addresses[0].to_string(), "10.9.0.1/24 dev eth1");
    assert_eq!((fixed.routes.len(), fixed.rules.len()), (1, 1));
    let errors = load("[static]\naddresses = [\"10.9.0.1/24\"]").unwrap_err();
    assert!(errors[0].contains("a static address has no interface"), "{errors:?}");
    let errors =
        load("[static]\naddresses = [{ address = \"224.0.0.1\", dev = \"eth1\" }]").unwrap_err();
    assert!(errors[0].contains("is a multicast address"), "{errors:?}");
}

#[test]
fn delays() {
    let load = |text: &str| load_text(format!("{text}\n{}", with("")).as_bytes());
    let config = load(
        "startup_delay = \"2s\"\n[[garp_group]]\ninterfaces = \"a\"\ngna_interval = \"1ms\"\n\
         [[interface]]\nname = \"eth0\"\ndown_delay = \"1.9s\"",
    );
    let delays = config.unwrap().delays;
    assert_eq!(delays.startup, Nanos::from_secs(2));
    assert_eq!(delays.garp_groups[0].interfaces, ["a"]);
    assert_eq!(delays.garp_groups[0].pauses, Pauses { garp: Nanos::ZERO, gna: Nanos(1_000_000) });
    assert_eq!((delays.links[0].down, delays.links[0].up), (Nanos::from_millis(1900), Nanos::ZERO));
    assert_eq!(load("").unwrap().delays, Delays::default());
    for (text, error) in [
        ("startup_delay = 5", "1:17: error: startup_delay must be a time in quotes"),
        ("garp_interval = \"4295s\"", "1:17: error: a delay cannot be longer than 4294 s"),
        ("[[garp_group]]\ninterfaces = [\"a\"]", "1:1: error: a garp_group has no interval"),
        ("[[garp_group]]\ngna_interval = \"1s\"", "1:1: error: a garp_group has no interface"),
        (
            "[[garp_group]]\ngna_interval = \"1s\"\ninterfaces = [\"a\", \"a\"]",
            "3:14: error: a is in a garp_group already",
        ),
        ("garp_group = 3", "1:14: error: garp_group is not a list of tables"),
        ("[[interface]]\nup_delay = \"1s\"", "1:1: error: a interface has no name"),
        (
            "[[interface]]\nname = \"eth0\"\ndown_delay = \"2s\"",
            "1:1: error: the down delay of eth0 must be less than 2 s, 2 intervals of a",
        ),
        (
            "[[interface]]\nname = \"eth9\"\nup_delay = \"256s\"",
            "1:1: error: the delays of eth9 must be 0 s to 255 s",
        ),
    ] {
        let errors = load(text).unwrap_err();
        assert!(errors[0].starts_with(error), "{text}: {errors:?}");
    }
}

#[test]
fn peers_with_options() {
    let unicast = |text: &str| load_text(with(&format!("unicast = {{ {text} }}")).as_bytes());
    let transport = |text: &str| unicast(text).unwrap().routers.remove(0).transport;
    assert_eq!(
        transport("peers = [{ address = \"10.0.0.2\" }]"),
        Transport::plain_unicast(None, &[[10, 0, 0, 2].into()])
    );
    let far = Peer { address: [10, 0, 0, 2].into(), min_ttl: 60, max_ttl: 255 };
    assert_eq!(
        transport("ttl = 64, peers = [{ address = \"10.0.0.2\", min_ttl = 60 }]"),
        Transport::Unicast { source: None, peers: vec![far], ttl: 64, check_source: true }
    );
    for (bad, why) in [
        ("peers = [{ min_ttl = 60 }]", "a peer has no address"),
        ("peers = [{ address = \"x\" }]", "address"),
        ("peers = [{ address = \"10.0.0.2\", max_ttl = 256 }]", "max_ttl must be 0 to 255"),
        ("peers = [{ address = \"10.0.0.2\", ttl = 6 }]", "unknown key ttl in a peer"),
        ("peers = [\"10.0.0.2\"], ttl = 256", "unicast.ttl must be 0 to 255"),
        ("ttl = 64", "there is no address in unicast.peers"),
    ] {
        let errors = unicast(bad).unwrap_err();
        assert!(errors.iter().any(|error| error.contains(why)), "{bad}: {errors:?}");
    }
}

#[test]
fn multicast_groups() {
    let one = |group: &str| load_text(with(&format!("multicast_group = \"{group}\"")).as_bytes());
    let transport = |group: &str| one(group).unwrap().routers.remove(0).transport;
    let group = |text: &str| Transport::Multicast { source: None, group: text.parse().ok() };
    assert_eq!(transport("239.1.2.3"), group("239.1.2.3"));
    // The usual one need not be said.
    assert_eq!(transport("224.0.0.18"), Transport::plain_multicast(None));
    for (bad, why) in [
        ("10.0.0.1", "the multicast group 10.0.0.1 is not a multicast address"),
        ("ff02::12", "the multicast group ff02::12 does not go with IPv4"),
        ("x", "multicast_group"),
    ] {
        let errors = one(bad).unwrap_err();
        assert!(errors[0].contains(why), "{bad}: {errors:?}");
    }
    let both = with("multicast_group = \"224.0.0.81\"\nunicast = { peers = [\"10.0.0.2\"] }");
    let errors = load_text(both.as_bytes()).unwrap_err();
    assert!(errors[0].contains("224.0.0.81 does not go with unicast"), "{errors:?}");
}

/// RFC 9568 section 5.2.5: others must ignore an advertisement of version 3 without addresses. Version 2 has no such rule.
#[test]
fn version_three_must_advertise_an_address() {
    let file = |version: u8, more: &str| {
        format!(
            "[[router]]\nname = \"A\"\ninterface = \"eth0\"\nvrid = 1\nversion = {version}\naddresses = []\n{more}"
        )
    };
    for more in ["", "excluded = [\"10.0.0.1\"]\n"] {
        assert_eq!(load_text(file(2, more).as_bytes()).unwrap().routers[0].addresses, []);
        let errors = load_text(file(3, more).as_bytes()).unwrap_err();
        assert!(
            errors[0].starts_with("1:1: error: router A has no addresses (version 3"),
            "{errors:?}"
        );
    }
}

#[test]
fn groups_that_follow_are_judged() {
    let router =
        "[[router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"10.0.0.1\"]\n";
    let group = "[[track_group]]\nname = \"g\"\nrouters = [\"a\"]\n";
    for (text, error) in [
        (
            "[static]\nroutes = [\"10.9.0.0/16 dev e track_group h\"]",
            "10:42: error: there is no track_group h",
        ),
        (
            "[[track_group]]\nname = \"h\"\nrouters = [\"b\"]",
            "11:11: error: there is no router b, which track_group h names",
        ),
        ("[[track_group]]\nname = \"h\"", "9:1: error: track_group h has no router"),
        (
            "[[track_group]]\nname = \"g\"\nrouters = \"a\"",
            "9:1: error: there is a track_group g already",
        ),
        (
            "[[router]]\nname = \"b\"\ninterface = \"eth0\"\nvrid = 2\naddresses = [{ address = \"10.0.0.2\", track_group = \"g\" }]",
            "13:52: error: track_group goes with what is in [static]",
        ),
    ] {
        let errors = load_text(format!("{router}{group}{text}\n").as_bytes()).unwrap_err();
        assert!(errors.iter().any(|it| it.starts_with(error)), "{text}: {errors:?}");
    }
}

#[test]
fn routers_of_other_namespaces() {
    let router = |more: &str| {
        let text = format!(
            "[[router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 1\n\
             addresses = [\"10.0.0.1/24\", {{ address = \"10.0.1.1/24\", dev = \"eth1\" }}]\n\
             track = [{{ interface = \"eth2\" }}]\n\
             routes = [\"10.9.0.0/16 dev eth1\"]\nrules = [\"iif eth1 table 7 preference 7\"]\n{more}"
        );
        load_text(text.as_bytes()).unwrap()
    };
    let config = router("netns = \"red\"\n");
    let a = &config.routers[0];
    assert_eq!(a.interface, "red/eth0");
    assert_eq!(a.addresses[1].dev.as_deref(), Some("red/eth1"));
    assert_eq!(a.track[0].what, Tracked::Interface("red/eth2".to_owned()));
    assert_eq!(a.routing.routes[0].dev.as_deref(), Some("red/eth1"));
    // What the kernel compares with are names.
    assert_eq!(a.routing.rules[0].iif.as_deref(), Some("eth1"));
    let red: Netns = "red".parse().unwrap();
    assert_eq!(a.routing.rules[0].netns.as_ref(), Some(&red));
    assert_eq!(config.namespaces().into_iter().collect::<Vec<_>>(), [red]);
    // The same in short, and as it is written again.
    let short = router("").namespaces();
    assert!(short.is_empty());
    let again = load_text(crate::config::convert::toml(&config).as_bytes()).unwrap();
    assert_eq!(again.routers[0].addresses, a.addresses);
    assert_eq!(again.routers[0].routing, a.routing);
    // One of the same VRID in each.
    let twice = |netns: &str| {
        format!(
            "[[router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"10.0.0.1/24\"]\n\
             [[router]]\nname = \"b\"\ninterface = \"{netns}eth0\"\nvrid = 1\naddresses = [\"10.0.0.1/24\"]\n"
        )
    };
    assert!(
        load_text(twice("red/").as_bytes()).is_ok() && load_text(twice("").as_bytes()).is_err()
    );
}
