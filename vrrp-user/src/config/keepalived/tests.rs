//! The grammar, item by item; every diagnostic with its line.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;

use super::{decimal_seconds, instance, keywords};
use crate::config::model::{
    Address, AddressFlags, Authentication, Config, Delays, Diagnostic, OnLost, Pauses, Peer,
    RouterConfig, Scheduling, Severity, Tracked, Transport, V3Checksum,
};
use crate::config::{LoadError, Loaded, Options, load};
use crate::engine::time::{Centisecs, Nanos};
use crate::engine::types::{AdvertInterval, Priority, Version};
use crate::wire::ethernet::Colons;
use crate::wire::family::Family;

fn options() -> Options {
    Options { config_id: Some("here".to_owned()), ..Options::default() }
}

/// Loads `files`, the first one being the configuration, out of a directory of their own.
fn load_files(files: &[(&str, &str)]) -> Result<Loaded, LoadError> {
    load_files_with(files, &options())
}

fn load_files_with(files: &[(&str, &str)], options: &Options) -> Result<Loaded, LoadError> {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    load(&directory.path().join(files[0].0), options)
}

fn load_text(text: &str) -> Result<Loaded, LoadError> {
    load_files(&[("k.conf", text)])
}

/// `LINE:COLUMN: severity: message`, without the file.
fn brief(diagnostics: &[Diagnostic]) -> Vec<String> {
    let brief = |diagnostic: &Diagnostic| {
        let Diagnostic { line, column, severity, message, .. } = diagnostic;
        format!("{line}:{column}: {severity}: {message}")
    };
    diagnostics.iter().map(brief).collect()
}

/// The diagnostics, whether the text is accepted or not.
fn diagnostics_of(text: &str) -> Vec<Diagnostic> {
    match load_text(text) {
        Ok(loaded) => loaded.diagnostics,
        Err(error) => error.diagnostics().to_vec(),
    }
}

#[track_caller]
fn accept(text: &str) -> (Config, Vec<String>) {
    match load_text(text) {
        Ok(loaded) => {
            assert!(loaded.diagnostics.iter().all(|d| d.severity < Severity::Error));
            (loaded.config, brief(&loaded.diagnostics))
        }
        Err(error) => panic!("{text}\nis refused: {error}"),
    }
}

/// The configuration's only router, which must raise no diagnostics.
#[track_caller]
fn quiet(text: &str) -> RouterConfig {
    let (config, diagnostics) = accept(text);
    assert_eq!(diagnostics, Vec::<String>::new(), "{text}");
    assert_eq!(config.routers.len(), 1);
    config.routers.into_iter().next().unwrap()
}

#[track_caller]
fn refuse(text: &str) -> Vec<String> {
    match load_text(text) {
        Ok(loaded) => panic!("{text}\nis accepted: {loaded:?}"),
        Err(error) => brief(error.diagnostics()),
    }
}

/// A complete instance, with `extra` in line 4.
fn with(extra: &str) -> String {
    format!(
        "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n {extra}\n virtual_ipaddress {{\n  10.0.0.1\n }}\n}}\n"
    )
}

/// The router of `with(extra)` and the diagnostics, which must all be about line 4.
#[track_caller]
fn warned(extra: &str) -> (RouterConfig, Vec<String>) {
    let (config, diagnostics) = accept(&with(extra));
    let prefix = |text: &String| text.strip_prefix("4:").map(str::to_owned);
    let diagnostics = diagnostics.iter().map(|text| prefix(text).expect(text)).collect();
    (config.routers.into_iter().next().unwrap(), diagnostics)
}

/// The addresses of a block with these lines, of which the first is line 5.
#[track_caller]
fn addresses(lines: &str) -> (Vec<String>, Vec<String>) {
    let text = format!(
        "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n{lines}\n}}\n}}\n"
    );
    let (config, diagnostics) = accept(&text);
    let shown = config.routers[0].addresses.iter().map(|a| {
        let part = |name: &str, value: &Option<String>| {
            value.as_ref().map_or(String::new(), |value| format!(" {name} {value}"))
        };
        let broadcast = a.broadcast.map(|brd| brd.to_string());
        format!(
            "{}/{} {}{}{}{}{}",
            a.address,
            a.prefix,
            a.scope,
            part("dev", &a.dev),
            part("label", &a.label),
            part("brd", &broadcast),
            if a.no_track { " no_track" } else { "" }
        )
    });
    (shown.collect(), diagnostics)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

// Grammar 1: lines and comments.

#[test]
fn comments_and_line_ends() {
    let router = quiet(
        "# head\r\nvrrp_instance A { ! behind a brace\r\n\r\n  # indented\r\n interface eth0#glued\r\n \
         virtual_router_id \"7\" ! x\r\n \
         authentication {\r\n auth_type PASS\r\n auth_pass \"a#b!c\" # not in quotes\r\n }\r\n \
         virtual_ipaddress {\r\n 10.0.0.1\r\n }\r\n}",
    );
    assert_eq!(router.interface, "eth0");
    assert_eq!(router.vrid.get(), 7);
    assert_eq!(router.authentication, Authentication::Pass(*b"a#b!c\0\0\0"));
    assert_eq!(router.line, 2);
}

#[test]
fn escaped_comment_signs() {
    // As 2.2.7 and 2.4.3 send it.
    for (written, sent) in [
        (r"a\#b", "a"),
        (r"a\!b", "a"),
        (r"a\\#b", r"a\\"),
        (r"a\\\#b", r"a\\"),
        (r"a\b", r"a\b"),
        (r"a\\b", r"a\\b"),
        (r#""a\#b""#, r"a\#b"),
        ("\"a#b\"", "a#b"),
        ("a$b", "a$b"),
        (r"a\", r"a\"),
        ("a${_HASH}b", "a"),
        ("\"a${_HASH}b\"", "a#b"),
    ] {
        let (router, _) =
            warned(&format!("authentication {{ auth_type PASS\nauth_pass {written}\n}}"));
        let Authentication::Pass(password) = router.authentication else { panic!("{written}") };
        assert_eq!(String::from_utf8_lossy(&password).trim_end_matches('\0'), sent, "{written}");
    }
}

// Grammar 2: words and quotes.

#[test]
fn quoted_values() {
    let router = quiet(&with("priority \"149\""));
    assert_eq!(router.priority, Priority(149));
}

#[test]
fn open_quote() {
    let diagnostics = refuse(&with("priority \"149"));
    assert_eq!(
        diagnostics,
        [
            "4:2: error: priority has no value",
            "4:11: warning: the quote is not closed; the rest of the line is ignored",
        ]
    );
}

#[test]
fn a_name_with_spaces() {
    let text = with("").replace("vrrp_instance A", "vrrp_instance \"the web\"");
    assert_eq!(quiet(&text).name, "the web");
}

// Grammar 3: braces.

#[test]
fn braces_anywhere() {
    for text in [
        "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n",
        "vrrp_instance A\n{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress\n\n{\n10.0.0.1\n}\n}\n",
        "vrrp_instance A { interface eth0\nvirtual_router_id 1\nvirtual_ipaddress { 10.0.0.1 } }",
        "vrrp_instance A{interface eth0\nvirtual_router_id 1\nvirtual_ipaddress{10.0.0.1}}",
        "vrrp_instance A # {\n # {\n{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress\n{10.0.0.1\n}}",
    ] {
        let router = quiet(text);
        assert_eq!((router.name.as_str(), router.addresses.len()), ("A", 1), "{text}");
    }
}

#[test]
fn braces_in_quotes_are_text() {
    let (router, diagnostics) = warned("notify \"/bin/x {} }\"");
    assert_eq!(diagnostics, [""; 0]);
    assert_eq!(router.notify.unwrap().any.unwrap().argv, ["/bin/x", "{}", "}"]);
    assert_eq!(router.addresses.len(), 1);
}

#[test]
fn brace_mistakes() {
    let (_, diagnostics) = accept(&format!("}}\n{}{{\nx\n}}\n", with("")));
    assert_eq!(
        diagnostics,
        [
            "1:1: warning: there is a `}` too many",
            "10:1: warning: this `{` belongs to no keyword; it is ignored",
            "11:1: warning: unknown keyword x",
            "12:1: warning: there is a `}` too many",
        ]
    );
    let (config, diagnostics) = accept(
        "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n10.0.0.1\n",
    );
    assert_eq!(config.routers[0].addresses.len(), 1);
    assert_eq!(
        diagnostics,
        [
            "1:1: warning: the block of vrrp_instance is not closed",
            "4:1: warning: the block of virtual_ipaddress is not closed",
        ]
    );
    let (config, diagnostics) = accept(
        "vrrp_instance A\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress\n10.0.0.1\n}\n}\n",
    );
    assert_eq!(config.routers[0].addresses.len(), 1);
    assert_eq!(
        diagnostics,
        [
            "1:1: warning: there is no `{` behind vrrp_instance",
            "4:1: warning: there is no `{` behind virtual_ipaddress",
        ]
    );
}

// Grammar 5: leniency.

#[test]
fn unknown_keywords() {
    let text = with("prioritty 7");
    let Ok(loaded) = load_text(&text) else { panic!("refused") };
    assert_eq!(brief(&loaded.diagnostics), ["4:2: warning: unknown keyword prioritty"]);
    assert_eq!(loaded.diagnostics[0].hint.as_deref(), Some("did you mean priority?"));
    let (config, diagnostics) =
        accept(&format!("whatever x {{\n a {{ b }}\n}}\nglobal_defs {{\n what\n}}\n{}", with("")));
    assert_eq!(config.routers.len(), 1);
    assert_eq!(
        diagnostics,
        ["1:1: warning: unknown keyword whatever", "5:2: warning: unknown keyword what"]
    );
}

#[test]
fn bad_values_fall_back() {
    for (line, warning) in [
        ("priority 0", "11: warning: priority must be 1 to 255, not `0`; 100 is used"),
        ("priority 256", "11: warning: priority must be 1 to 255, not `256`; 100 is used"),
        ("priority x", "11: warning: priority must be 1 to 255, not `x`; 100 is used"),
        ("version 4", "10: warning: version must be 2 or 3, not `4`; 2 is used"),
        (
            "advert_int x",
            "13: warning: advert_int takes seconds, as in 1 or 0.25, not `x`; ignored",
        ),
        (
            "advert_int -1",
            "13: warning: advert_int takes seconds, as in 1 or 0.25, not `-1`; ignored",
        ),
        ("advert_int 0", "13: warning: advert_int must be 0.01 s to 255 s, not 0 s; 1 s is used"),
        (
            "advert_int 256",
            "13: warning: advert_int must be 0.01 s to 255 s, not 256 s; 1 s is used",
        ),
        ("state SLAVE", "8: warning: unknown state `SLAVE`; BACKUP is used"),
        (
            "preempt_delay x",
            "16: warning: preempt_delay takes seconds, as in 1 or 0.25, not `x`; ignored",
        ),
        ("preempt_delay 1001", "16: warning: preempt_delay must be 0 s to 1000 s; it is ignored"),
        (
            "garp_master_delay -1",
            "20: warning: garp_master_delay takes a whole number, not `-1`; ignored",
        ),
        ("garp_master_repeat 0", "2: warning: garp_master_repeat must be at least 1; 1 is used"),
        (
            "lower_prio_no_advert 1",
            "23: warning: lower_prio_no_advert takes on or off, not `1`; ignored",
        ),
        ("mcast_src_ip x", "15: warning: mcast_src_ip takes an address, not `x`; ignored"),
        ("priority 100 200", "15: warning: `200` is ignored: priority takes one value"),
    ] {
        let (router, diagnostics) = warned(line);
        assert_eq!(diagnostics, [warning], "{line}");
        let mut plain = quiet(&with(""));
        if line.starts_with("garp_master_repeat") {
            plain.garp.master_repeat = 1;
        }
        assert_eq!(router, plain, "{line}");
    }
}

#[test]
fn fatal_mistakes() {
    assert_eq!(
        refuse("vrrp_instance A {\n interface eth0\n virtual_ipaddress { 10.0.0.1 }\n}\n"),
        ["1:1: error: vrrp_instance A has no virtual_router_id"]
    );
    assert_eq!(
        refuse("\nvrrp_instance A {\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n}\n"),
        ["2:1: error: vrrp_instance A has no interface"]
    );
    assert_eq!(
        refuse("vrrp_instance A {\n interface eth0\n virtual_router_id 1\n version 3\n}\n"),
        ["1:1: error: vrrp_instance A has no virtual_ipaddress"]
    );
    for vrid in ["0", "256", "x", "-1"] {
        let text = with("").replace("virtual_router_id 1", &format!("virtual_router_id {vrid}"));
        assert_eq!(
            refuse(&text),
            [format!("3:20: error: virtual_router_id must be 1 to 255, not `{vrid}`")]
        );
    }
    assert_eq!(refuse(&with("priority")), ["4:2: error: priority has no value"]);
}

/// As keepalived has it: where a bad number is no reason to refuse the file, what is in front of the rest counts.
#[test]
fn numbers_in_front_of_something_else() {
    let script = "vrrp_script s {\n script /bin/true\n weight -20;\n interval 2s\n timeout 3s\n rise 2x\n fall 4;\n}\n";
    let tracks = "track_script {\n s weight 7;\n }\n garp_master_delay 7;\n down_timer_adverts 2;\n version 2;";
    let text = [script, &with(tracks).replace("10.0.0.1", "10.0.0.1/24;")].concat();
    let (config, diagnostics) = accept(&text);
    let (script, router) = (&config.scripts[0], &config.routers[0]);
    assert_eq!((script.weight, script.interval), (-20, Nanos::from_secs(2)));
    assert_eq!((script.timeout, script.rise, script.fall), (Some(Nanos::from_secs(3)), 2, 4));
    assert_eq!(router.track[0].weight, 7);
    assert_eq!(router.garp.master_delay, Nanos::from_secs(7));
    assert_eq!((router.down_adverts, router.addresses[0].prefix), (2, 24));
    let said = diagnostics.iter().filter(|said| said.contains(" is used"));
    assert_eq!(said.count(), 10, "{diagnostics:?}");
    assert_eq!(diagnostics[1], "4:11: warning: `2s` is no number; 2 is used");
    // These must be right in keepalived, too: the default counts.
    let (router, said) = warned("priority 150;");
    assert_eq!((router.priority, said.len()), (Priority(100), 1));
    // No number at all is 0, as strtol(3) says, and what is too long is ignored.
    for (lines, delay, repeat, warnings) in [
        ("garp_master_delay x7\n garp_master_repeat abc", 0, 1, 3),
        ("garp_master_delay .5\n garp_master_repeat 0x10", 0, 1, 3),
        ("garp_master_delay -1\n garp_master_repeat -1", 5, 5, 2),
        ("garp_master_delay 4294", 4_294, 5, 0),
        ("garp_master_delay 4295", 5, 5, 1),
    ] {
        let (config, said) = accept(&with(lines));
        let garp = config.routers[0].garp;
        let wanted = (Nanos::from_secs(delay), repeat, warnings);
        assert_eq!(
            (garp.master_delay, garp.master_repeat, said.len()),
            wanted,
            "{lines}: {said:?}"
        );
    }
    let times = |interval: &str, delay: &str| {
        let script = format!(
            "vrrp_script s {{\n script /bin/true\n interval {interval}\n timeout {interval}\n}}\n"
        );
        let process = format!(
            "vrrp_track_process p {{\n process sh\n delay {delay}\n quorum_max {delay}\n}}\n"
        );
        let (config, _) = accept(&[script, process, with("")].concat());
        let (script, process) = (&config.scripts[0], &config.processes[0]);
        (script.interval, script.timeout, process.fork_delay, process.quorum_max)
    };
    let second = Nanos::from_secs(1);
    let hour = Nanos::from_secs(3_600);
    assert_eq!(times("abc", "-"), (second, Some(second), Nanos::ZERO, 0));
    assert_eq!(times("0", "abc"), (second, Some(second), Nanos::ZERO, 0));
    assert_eq!(times("-2", "3600"), (second, None, hour, 3_600));
    assert_eq!(times("4295", "3601"), (second, None, Nanos::ZERO, 3_601));
    assert_eq!(
        times("+0.5", "2"),
        (Nanos::from_millis(500), Some(Nanos::from_millis(500)), Nanos::from_secs(2), 2)
    );
}

#[test]
fn a_label_that_is_too_long_costs_the_address() {
    let (config, said) = accept(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n fe80::1\n fe80::2 label 0123456789abcdef\n fe80::3 label eth0:1\n }\n}\n",
    );
    assert_eq!((config.routers[0].addresses.len(), said.len()), (2, 2), "{said:?}");
}

/// Measured with 2.2.7 and 2.4.3. A script that is defined may weigh as much as it likes, but priorities are bounded.
#[test]
fn weights_that_are_none() {
    let weights = |weight: &str| {
        let script = format!("vrrp_script s {{\n script /bin/true\n weight {weight}\n}}\n");
        let file = format!("vrrp_track_file f {{\n file /f\n weight {weight}\n}}\n");
        let more = "vrrp_script t {\n script /bin/true\n}\ntrack_file g {\n file /f\n}\n";
        let tracks = format!(
            "track_script {{\n s\n t weight {weight}\n }}\n track_file {{\n f\n g weight {weight}\n }}\n track_interface {{\n eth1 weight {weight}\n }}"
        );
        let (config, diagnostics) =
            accept(&[script, file, more.to_owned(), with(&tracks)].concat());
        let mut weights: Vec<_> = config.routers[0]
            .track
            .iter()
            .map(|track| (track.what.to_string(), track.weight))
            .collect();
        weights.sort();
        let weights: Vec<i16> = weights.into_iter().map(|(_, weight)| weight).collect();
        (weights, diagnostics.len())
    };
    // Files f and g, interface eth1, scripts s and t.
    assert_eq!(weights("abc"), (vec![0, 0, 0, 0, 0], 5));
    assert_eq!(weights("-x"), (vec![0, 0, 0, 0, 0], 5));
    assert_eq!(weights("0x10"), (vec![0, 0, 0, 0, 0], 5));
    assert_eq!(weights("+7"), (vec![7, 7, 7, 7, 7], 0));
    assert_eq!(weights("254"), (vec![254, 254, 253, 253, 253], 3));
    assert_eq!(weights("300"), (vec![1, 1, 0, 253, 0], 5));
    assert_eq!(weights("-300"), (vec![1, 1, 0, -253, 0], 5));
    assert_eq!(weights("40000"), (vec![1, 1, 0, 253, 0], 5));
    assert_eq!(weights("-99999999999"), (vec![1, 1, 0, -253, 0], 5));
    // What follows is ignored with it.
    let file = "track_file f {\n file /f\n weight 300 reverse\n}\n";
    let (config, _) = accept(&[file, &with("track_file {\n f\n }")].concat());
    assert!(!config.routers[0].track[0].reverse);
}

#[test]
fn versions_are_numbers() {
    let version = |globals: &str, version: &str| {
        let globals = format!("global_defs {{\n vrrp_version {globals}\n}}\n");
        accept(&[globals, with(version)].concat()).0.routers[0].version()
    };
    assert_eq!(version("3;", ""), Version::V3);
    assert_eq!(version("03", ""), Version::V3);
    assert_eq!(version("2", "version 03"), Version::V3);
    assert_eq!(version("3", "version 2x"), Version::V2);
}

/// keepalived sets it back where the script is tracked.
#[test]
fn init_fail_has_no_effect() {
    let script = "vrrp_script s {\n script /bin/true\n init_fail\n}\n";
    let (config, diagnostics) = accept(&[script, &with("track_script {\n s\n }")].concat());
    assert!(!config.scripts[0].init_fail);
    assert!(diagnostics[0].starts_with("3:2: note: init_fail has no effect"), "{diagnostics:?}");
}

/// keepalived says "Unexpected '{' - ignoring" and reads on.
#[test]
fn a_brace_that_belongs_to_nothing_loses_no_block() {
    let text = with(
        "authentication {\n auth_type PASS\n auth_pass x{y\n }\n priority 150\n {\n nopreempt",
    );
    let (config, _) = accept(&text);
    let router = &config.routers[0];
    assert_eq!((router.priority, router.preempt), (Priority(150), false));
    assert_eq!(router.authentication, Authentication::Pass(*b"x\0\0\0\0\0\0\0"));
    let (config, diagnostics) = accept(&format!("{{\n{}", with("")));
    assert_eq!(config.routers.len(), 1);
    assert_eq!(diagnostics, ["1:1: warning: this `{` belongs to no keyword; it is ignored"]);
}

/// Templates write such files; keepalived runs idle with any file.
#[test]
fn a_file_without_instances() {
    for text in [
        "global_defs {\n router_id x\n}\n",
        "static_ipaddress {\n}\n",
        "vrrp_script s {\n script /bin/true\n}\n",
        "virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 {\n }\n}\n",
        "global_defs {\n}\n@other vrrp_instance V {\n@other interface eth0\n@other }\n",
    ] {
        let (config, diagnostics) = accept(text);
        assert_eq!(config.routers, []);
        let said = diagnostics.iter().filter(|said| said.contains("there is no virtual router"));
        assert_eq!(said.count(), 1, "{diagnostics:?}");
        let again = crate::config::load_toml(&crate::config::convert::toml(&config)).unwrap();
        assert_eq!(again.routers, []);
    }
    // What is left of a file that could not be written whole, or what is none.
    for text in [
        "",
        "# nothing\n",
        "router_id x\n",
        "global_defs {\n router_id x\n",
        "virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 {\n }\n",
        "body {\n}\n",
        "global_defs {\n}\nvrrp_instance\n",
    ] {
        let errors = refuse(text);
        assert!(errors[0].contains("there is no virtual router in this file"), "{errors:?}");
    }
}

#[test]
fn unicast_needs_an_interface_too() {
    let text = with("unicast_peer { 10.0.0.9 }").replace(" interface eth0", "");
    let Err(error) = load_text(&text) else { panic!("accepted") };
    assert_eq!(brief(error.diagnostics()), ["1:1: error: vrrp_instance A has no interface"]);
    let hint = error.diagnostics()[0].hint.as_deref().unwrap();
    assert!(hint.contains("unicast"), "{hint}");
}

#[test]
fn one_vrid_per_interface() {
    let b = with("").replace("vrrp_instance A", "vrrp_instance B").replace("10.0.0.1", "10.0.0.2");
    assert_eq!(
        refuse(&format!("{}{b}", with(""))),
        ["9:1: error: B and A (line 1) both use virtual_router_id 1 on eth0"]
    );
    let (config, diagnostics) = accept(&format!("{}{}", with(""), b.replace("eth0", "eth1")));
    assert_eq!((config.routers.len(), diagnostics.len()), (2, 0));
}

#[test]
fn one_name_per_instance() {
    let again = with("").replace("eth0", "eth1");
    let (config, diagnostics) = accept(&format!("{}{again}", with("")));
    assert_eq!(config.routers.len(), 1);
    assert_eq!(config.routers[0].interface, "eth0");
    assert_eq!(
        diagnostics,
        ["9:1: warning: there is a vrrp_instance A already, in line 1; this one is skipped"]
    );
    let (config, diagnostics) = accept(&format!("vrrp_instance {{\n x\n}}\n{}", with("")));
    assert_eq!(config.routers.len(), 1);
    assert_eq!(diagnostics, ["1:1: warning: vrrp_instance has no name; it is skipped"]);
}

#[test]
fn version_two_may_have_no_address() {
    let (config, diagnostics) =
        accept("vrrp_instance A {\n interface eth0\n virtual_router_id 1\n}\n");
    assert_eq!(config.routers[0].addresses, []);
    assert_eq!(diagnostics, ["1:1: warning: vrrp_instance A has no virtual_ipaddress"]);
    let instance = |version: u8, more: &str| {
        format!(
            "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n version {version}\n {more}\n}}\n"
        )
    };
    quiet(&instance(2, "no_virtual_ipaddress"));
    let excluded = "no_virtual_ipaddress\n virtual_ipaddress_excluded {\n 10.0.0.1\n }";
    quiet(&instance(2, excluded));
    // RFC 9568 section 5.2.5: nobody may listen to it.
    for more in ["", "no_virtual_ipaddress", excluded] {
        let errors = refuse(&instance(3, more));
        assert!(
            errors[0].starts_with("1:1: error: vrrp_instance A has no virtual_ipaddress"),
            "{errors:?}"
        );
    }
}

// Grammar 6: booleans and timers.

#[test]
fn booleans() {
    for on in ["", "on", "true", "yes"] {
        let router =
            quiet(&with(&format!("lower_prio_no_advert {on}\n higher_prio_send_advert {on}")));
        assert_eq!(
            (router.lower_prio_advert, router.higher_prio_advert),
            (false, Some(true)),
            "{on}"
        );
    }
    for off in ["off", "false", "no"] {
        let router =
            quiet(&with(&format!("lower_prio_no_advert {off}\n higher_prio_send_advert {off}")));
        assert_eq!(
            (router.lower_prio_advert, router.higher_prio_advert),
            (true, Some(false)),
            "{off}"
        );
    }
}

#[test]
fn timers() {
    let micros = |micros: u64| Some(Nanos(micros * 1_000));
    assert_eq!(decimal_seconds("1"), micros(1_000_000));
    assert_eq!(decimal_seconds("0.25"), micros(250_000));
    assert_eq!(decimal_seconds(" 2."), micros(2_000_000));
    assert_eq!(decimal_seconds(".5"), micros(500_000));
    assert_eq!(decimal_seconds("0.0000014"), micros(1));
    assert_eq!(decimal_seconds("0.0000015"), micros(2));
    assert_eq!(decimal_seconds("+300"), micros(300_000_000));
    for bad in ["", ".", "-1", "1s", "1e3", "1.2.3", "0x10", "99999999999999999999"] {
        assert_eq!(decimal_seconds(bad), None, "{bad}");
    }
}

#[test]
fn intervals() {
    let secs = AdvertInterval::Secs;
    let centisecs = |centisecs| AdvertInterval::Centisecs(Centisecs(centisecs));
    assert_eq!(quiet(&with("")).interval, secs(1));
    assert_eq!(quiet(&with("advert_int 255")).interval, secs(255));
    assert_eq!(quiet(&with("advert_int 0.01\n version 3")).interval, centisecs(1));
    assert_eq!(quiet(&with("version 3\n advert_int 40.95")).interval, centisecs(4_095));
    for (extra, interval) in [
        ("advert_int 0.3", secs(1)),
        ("advert_int 1.4", secs(1)),
        ("advert_int 1.5", secs(2)),
        ("advert_int 0.014 \n version 3", centisecs(1)),
        ("advert_int 0.015 \n version 3", centisecs(2)),
        ("advert_int 41 \n version 3", centisecs(4_095)),
        ("advert_int 255 \n version 3", centisecs(4_095)),
    ] {
        let (router, diagnostics) = warned(extra);
        assert_eq!(router.interval, interval, "{extra}");
        assert_eq!(diagnostics.len(), 1, "{extra}: {diagnostics:?}");
    }
}

// Grammar 7: include.

#[test]
fn includes_are_relative_to_their_file() {
    let loaded = load_files(&[
        ("k.conf", "global_defs {\n include common/*.inc\n}\ninclude conf.d/*.conf\n"),
        ("common/a.inc", "vrrp_version 3\n"),
        ("conf.d/1.conf", "vrrp_instance A {\n include sub/body\n virtual_router_id 1\n}\n"),
        (
            "conf.d/2.conf",
            "vrrp_instance B {\n include sub/body\n virtual_router_id 2\n nonsense\n}\n",
        ),
        ("conf.d/sub/body", "interface eth0\nvirtual_ipaddress { 10.0.0.${N} }\n"),
        ("conf.d/0.conf", "$N=1\n"),
        ("conf.d/1a.conf", "$N=2\n"),
    ])
    .unwrap();
    let routers: Vec<_> =
        loaded.config.routers.iter().map(|r| (r.name.as_str(), r.addresses[0].address)).collect();
    assert_eq!(routers, [("A", ip("10.0.0.1")), ("B", ip("10.0.0.2"))]);
    assert_eq!(loaded.config.routers[0].interval, AdvertInterval::Centisecs(Centisecs(100)));
    let [warning] = loaded.diagnostics.as_slice() else { panic!("{:?}", loaded.diagnostics) };
    assert!(warning.file.ends_with("conf.d/2.conf"), "{warning}");
    assert_eq!((warning.line, warning.column), (4, 2));
}

#[test]
fn include_with_alternatives_and_definitions() {
    let loaded = load_files(&[
        (
            "k.conf",
            "$D=parts\ninclude ${D}/{b,a}.conf\n@here include ${D}/c.conf\n@there include x\n",
        ),
        ("parts/a.conf", "virtual_router_id 1\n"),
        ("parts/b.conf", "vrrp_instance A {\ninterface eth0\n"),
        ("parts/c.conf", "virtual_ipaddress { 10.0.0.1 }\n}\n"),
    ])
    .unwrap();
    assert_eq!(brief(&loaded.diagnostics), Vec::<String>::new());
    assert_eq!(loaded.config.routers[0].vrid.get(), 1);
}

#[test]
fn missing_includes() {
    let (_, diagnostics) = accept(&format!("include none.conf\ninclude none/*.conf\n{}", with("")));
    assert_eq!(diagnostics, ["1:1: warning: no file matches `none.conf`; nothing is included"]);
    for (keyword, refused) in [
        ("includer none.conf", false),
        ("includem none.conf", true),
        ("includeb none.conf", true),
        ("includea none.conf", true),
        ("includem none/*", false),
        ("includew none/*", true),
        ("includea none/*", true),
        ("include .", false),
        ("includer .", true),
    ] {
        let result = load_text(&format!("{keyword}\n{}", with("")));
        assert_eq!(result.is_err(), refused, "{keyword}: {result:?}");
    }
}

/// A template that failed must not take the addresses away, least of all while they are there.
#[test]
fn an_include_that_failed_is_no_idle_configuration() {
    const START: Option<usize> = None;
    const IDLE: Option<usize> = Some(0);
    const SOME: Option<usize> = Some(2);
    let load = |running, include: &str, more: &str| {
        let text = format!("global_defs {{\n}}\ninclude {include}\n{more}");
        let files = [
            ("k.conf", text.as_str()),
            ("blank.conf", "# by a template\n\n  ! nothing\n"),
            ("other.conf", "static_routes {\n}\n"),
            ("dir.d/sub/x", ""),
        ];
        match load_files_with(&files, &Options { running, ..options() }) {
            Ok(loaded) => Ok(brief(&loaded.diagnostics)),
            Err(error) => Err(brief(error.diagnostics())),
        }
    };
    let router = with("");
    for (include, running, alone, with_router) in [
        // Nobody knows what would be in it.
        ("none.conf", START, false, true),
        ("none.conf", IDLE, false, false),
        ("none.conf", SOME, false, false),
        // What a pattern or directory has may come later, but what was there is lost.
        ("none/*.conf", START, true, true),
        ("none/*.conf", IDLE, true, true),
        ("none/*.conf", SOME, false, true),
        ("dir.d", START, true, true),
        ("dir.d/*", SOME, false, true),
        ("blank.conf", IDLE, true, true),
        ("blank.conf", SOME, false, true),
        ("bl*.conf", SOME, false, true),
        ("other.conf", SOME, true, true),
    ] {
        let result = load(running, include, "");
        assert_eq!(result.is_ok(), alone, "{include} {running:?}: {result:?}");
        let (Ok(said) | Err(said)) = &result;
        let named = include == "other.conf" || said[1].starts_with("3:1: ");
        assert!(named && said[0].contains("there is no virtual router"), "{said:?}");
        let result = load(running, include, &router);
        assert_eq!(result.is_ok(), with_router, "{include} {running:?}: {result:?}");
    }
}

#[test]
fn includes_end() {
    let Err(error) = load_files(&[
        ("k.conf", "include a.conf\n"),
        ("a.conf", "include b.conf\n"),
        ("b.conf", "\ninclude ?.conf\n"),
    ]) else {
        panic!("accepted")
    };
    let diagnostics = error.diagnostics();
    assert!(diagnostics.iter().all(|d| d.message.ends_with("includes itself")), "{diagnostics:?}");
    assert_eq!(diagnostics.len(), 3);
    assert!(diagnostics.iter().all(|d| d.file.ends_with("b.conf") && d.line == 2));
}

// Grammar 8: conditions.

#[test]
fn conditions() {
    let router = quiet(&with(
        "@here priority 10\n @there priority 20\n @^here priority 30\n @^there version 3\n @here",
    ));
    assert_eq!(router.priority, Priority(10));
    assert_eq!(router.interval, AdvertInterval::Centisecs(Centisecs(100)));
    let (_, diagnostics) = warned("@here  priority x");
    assert_eq!(
        diagnostics,
        ["18: warning: priority must be 1 to 255, not `x`; 100 is used"],
        "the column is that of the value in the file"
    );
}

#[test]
fn the_configuration_id_is_the_host_name_by_default() {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("k.conf");
    fs::write(&path, with(&format!("@{host} priority 77"))).unwrap();
    let loaded = load(&path, &Options::default()).unwrap();
    assert_eq!(loaded.config.routers[0].priority, Priority(77));
}

// Grammar 9: definitions.

#[test]
fn definitions_are_expanded_late() {
    let (config, diagnostics) = accept(
        "$BASE=10.2.${SUB}\n$SUB=0\nvrrp_instance A {\ninterface eth0\nvirtual_router_id 1\n\
         virtual_ipaddress {\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n$WHOLE=10.3.0.1 dev lo\n$WHOLE\n}\n}\n",
    );
    assert_eq!(diagnostics, Vec::<String>::new());
    let shown: Vec<_> = config.routers[0].addresses.iter().map(|a| a.address.to_string()).collect();
    assert_eq!(shown, ["10.2.0.100", "10.2.10.100", "10.3.0.1"]);
    assert_eq!(config.routers[0].addresses[2].dev.as_deref(), Some("lo"));
}

#[test]
fn conditional_definitions() {
    let router = quiet(&format!(
        "@here $P=240\n@there $P=200\n$IF=@here\n$NO=@there\n{}",
        with("priority $P\n $NO priority 1\n $IF version 3")
    ));
    assert_eq!(router.priority, Priority(240));
    assert_eq!(router.interval, AdvertInterval::Centisecs(Centisecs(100)));
}

#[test]
fn undefined_names_stay() {
    let (router, diagnostics) = warned("priority ${P}\n garp_master_delay 7");
    assert_eq!(router.garp.master_delay, Nanos::from_secs(7), "the block goes on");
    assert_eq!(
        diagnostics,
        [
            "2: warning: `${P}` is not defined",
            "11: warning: priority must be 1 to 255, not `${P}`; 100 is used",
        ]
    );
    let (_, diagnostics) = warned("notify \"/bin/x $1 ${HOME}\"");
    assert_eq!(diagnostics, [""; 0], "a script may have variables of its own");
}

#[test]
fn a_name_that_runs_on_is_not_replaced() {
    let text = format!("$N=3\n{}", with("mcast_src_ip 10.0.$N.1"));
    let Ok(loaded) = load_text(&text) else { panic!("refused") };
    assert_eq!(
        brief(&loaded.diagnostics),
        [
            "5:2: warning: `$N` is not replaced here",
            "5:15: warning: mcast_src_ip takes an address, not `10.0.$N.1`; ignored",
        ]
    );
    assert_eq!(loaded.diagnostics[0].hint.as_deref(), Some("write ${N}"));
}

#[test]
fn multi_line_definitions_nest() {
    let (config, diagnostics) = accept(
        "$ADDRESS= \\\n 10.0.${NUM}.${LAST} \\\n 10.1.${NUM}.${LAST}\n\
         $INSTANCE= \\\n  vrrp_instance VI_${NUM} { \\\n    interface eth0.${NUM} \\\n    # a comment\n\
         \x20   virtual_router_id 1 \\\n    @here priority 130 \\\n    @there priority 120 \\\n\
         \x20   virtual_ipaddress { \\\n      $LAST=1 \\\n      $ADDRESS \\\n      $LAST=2 \\\n      $ADDRESS \\\n    } \\\n  }\n\
         \n$NUM=0\n$INSTANCE\n$NUM=1\n$INSTANCE\n",
    );
    assert_eq!(diagnostics, Vec::<String>::new());
    let names: Vec<_> = config.routers.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["VI_0", "VI_1"]);
    let second = &config.routers[1];
    assert_eq!((second.interface.as_str(), second.priority), ("eth0.1", Priority(130)));
    assert_eq!(second.line, 22, "where it is used");
    let shown: Vec<_> = second.addresses.iter().map(|a| a.address.to_string()).collect();
    assert_eq!(shown, ["10.0.1.1", "10.1.1.1", "10.0.1.2", "10.1.1.2"]);
}

#[test]
fn built_in_definitions() {
    let text = with(
        "authentication { auth_type PASS\nauth_pass ${_INSTANCE}\n}\n garp_master_delay ${_RANDOM 5 6}",
    );
    let router = quiet(&text);
    assert_eq!(router.authentication, Authentication::Pass(*b"here\0\0\0\0"));
    assert!([5, 6].map(Nanos::from_secs).contains(&router.garp.master_delay));
    let router =
        quiet(&with("authentication { auth_type PASS\nauth_pass \"a${_HASH}b${_BANG}\"\n}"));
    assert_eq!(router.authentication, Authentication::Pass(*b"a#b!\0\0\0\0"));
    let loaded = load_files(&[
        ("k.conf", "include sub/a.conf\n"),
        ("sub/a.conf", &with("include ${_PWD}/b.conf")),
        ("sub/b.conf", "priority 9\n"),
    ])
    .unwrap();
    assert_eq!(loaded.config.routers[0].priority, Priority(9));
    let name = std::env::var("CARGO_PKG_NAME").unwrap();
    assert_eq!(quiet(&with("").replace(" A ", " ${_ENV CARGO_PKG_NAME} ")).name, name);
}

#[test]
fn definitions_without_end() {
    for loop_ in [
        "$A=$A\n$A\n",
        "$A=x${A}\n$A\n",
        "$A=${B}${B}\n$B=${C}${C}\n$C=${A}${A}\n$A\n",
        "$A= \\\n $A \\\n $A\n\n$A\n",
        "$A= \\\n ~SEQ(i,1,9) $A\n\n$A\n",
        "~SEQ(i,1,9999999999999) x\n",
        "~SEQ(i,1,9999) ~SEQ(j,1,9999) ~SEQ(k,1,9999) x\n",
    ] {
        let diagnostics = diagnostics_of(&format!("{loop_}{}", with("")));
        let said = ["grows without end", "nested more than", "expands to more than"];
        let found = diagnostics.iter().any(|d| said.iter().any(|said| d.message.contains(said)));
        assert!(found, "{loop_}: {diagnostics:?}");
    }
}

// Grammar 10: loops.

#[test]
fn sequences() {
    for (head, values) in [
        ("~SEQ(i, 3)", "1 2 3"),
        ("~SEQ(i,2,4)", "2 3 4"),
        ("~SEQ(i,4,2)", "4 3 2"),
        ("~SEQ(i,1,2,6)", "1 3 5"),
        ("~SEQ ( i , 0x10 , 0x12 )", "16 17 18"),
        ("~SEQx(i,10,-5,0)", "a 5 0"),
        ("~SEQ(i,$FROM,${TO})", "7 8"),
        ("~LST(i,a,b)", "a b"),
        ("~LST( i , eth0 )", "eth0"),
    ] {
        let body = "$ROUTER= \\\nvrrp_instance ${i} { \\\ninclude body \\\n}\n";
        let text = format!("$FROM=7\n$TO=8\n{body}{head} $ROUTER\n");
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("k.conf"), text).unwrap();
        fs::write(
            directory.path().join("body"),
            "interface if_$i\nvirtual_router_id 1\nno_virtual_ipaddress\n",
        )
        .unwrap();
        let loaded = load(&directory.path().join("k.conf"), &options()).unwrap();
        let names: Vec<_> = loaded.config.routers.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names.join(" "), values, "{head}: {:?}", loaded.diagnostics);
        assert_eq!(loaded.config.routers[0].interface, format!("if_{}", names[0]));
    }
}

#[test]
fn loops_nest_and_take_several_variables() {
    let (shown, diagnostics) = addresses("~SEQ(a,1,2) ~SEQ(b,1,2) 10.0.${a}.${b}");
    assert_eq!(shown, ["10.0.1.1/32 0", "10.0.1.2/32 0", "10.0.2.1/32 0", "10.0.2.2/32 0"]);
    assert_eq!(diagnostics, Vec::<String>::new());
    let (shown, _) = addresses("~LST({IP, DEV}, {10,eth1},{20, eth2}) 10.0.0.${IP} dev $DEV");
    assert_eq!(shown, ["10.0.0.10/32 0 dev eth1", "10.0.0.20/32 0 dev eth2"]);
}

#[test]
fn loop_mistakes() {
    for (line, problem) in [
        ("~SEQ(i,1", "~SEQ has no closing parenthesis"),
        ("~SEQ i)", "~SEQ has no opening parenthesis"),
        ("~SEQ(i)", "~SEQ needs a variable and an end"),
        ("~SEQ(1,2) x", "~SEQ has no valid variable: `1`"),
        ("~SEQ(i,x) x", "~SEQ has `x` where a number belongs"),
        ("~SEQ(i,1,2,3,4) x", "~SEQ takes a variable and one to three numbers"),
        ("~SEQ(i,1,0,4) x", "~SEQ never gets from 1 to 4 in steps of 0"),
        ("~SEQ(i,1,-1,4) x", "~SEQ never gets from 1 to 4 in steps of -1"),
        ("~SEQx(i,-1) x", "~SEQ counts in hexadecimal, which has no negative numbers"),
        ("~SEQy(i,1) x", "~SEQ is written `~SEQy`"),
        ("~LST(i) x", "~LST has no values"),
        ("~LST({i,j},{1,2,3}) x", "~LST has more values than variables"),
        ("~LST({i,j,{1,2) x", "~LST has no valid variable: `{i`"),
    ] {
        let (_, diagnostics) = warned(line);
        assert!(
            diagnostics
                .first()
                .is_some_and(|d| d == &format!("2: warning: {problem}; the line is ignored"))
                || line.starts_with("~LST({i,j,{"),
            "{line}: {diagnostics:?}"
        );
        assert_eq!(diagnostics.len(), 1, "{line}: {diagnostics:?}");
    }
}

// Grammar 11, and everything else that is recognised.

#[test]
fn balancer_blocks_are_skipped() {
    let (config, diagnostics) = accept(&format!(
        "virtual_server_group G {{ 10.0.0.1 80 }}\nvirtual_server 10.0.0.1 80\n{{\n real_server 10.0.0.2 80 {{\n  HTTP_GET {{ url {{ path / }} }}\n }}\n}}\n{}",
        with("")
    ));
    assert_eq!(config.routers.len(), 1);
    let meaning = "has no effect here: load balancing is not part of this daemon";
    assert_eq!(
        diagnostics,
        [
            format!("1:1: warning: virtual_server_group {meaning}"),
            format!("2:1: note: virtual_server {meaning}"),
        ]
    );
}

#[test]
fn unsupported_keywords_raise_one_diagnostic() {
    let check = |entry: &keywords::Unsupported, keyword: &str, text: &str| {
        let diagnostics = diagnostics_of(text);
        let [only] = diagnostics.as_slice() else { panic!("{text}: {diagnostics:?}") };
        assert_eq!(only.severity, entry.severity);
        assert!(only.message.starts_with(&format!("{keyword} ")), "{only}");
        assert!(only.message.ends_with(&format!(": {}", entry.meaning)), "{only}");
        assert_eq!(only.line, 4);
    };
    let each = |table: &'static [keywords::Unsupported]| {
        table.iter().flat_map(|entry| entry.keywords.iter().map(move |keyword| (entry, *keyword)))
    };
    for (entry, keyword) in each(keywords::INSTANCE) {
        check(entry, keyword, &with(&format!("{keyword} x {{\n a b {{\n c\n }}\n }}")));
        check(entry, keyword, &with(&format!("{keyword} x")));
    }
    for (entry, keyword) in each(keywords::GLOBAL) {
        let text = format!("\n\nglobal_defs {{\n{keyword} x\n}}\n{}", with(""));
        check(entry, keyword, &text);
    }
    for (entry, keyword) in each(keywords::ROOT) {
        check(entry, keyword, &format!("\n\n\n{keyword} x {{ a {{ }} }}\n{}", with("")));
    }
}

#[test]
fn down_timer_adverts() {
    assert_eq!(quiet(&with("")).down_adverts, 3);
    assert_eq!(quiet(&with("down_timer_adverts 5")).down_adverts, 5);
    let global = |number: u8, extra| {
        quiet(&format!("global_defs {{\nvrrp_down_timer_adverts {number}\n}}\n{}", with(extra)))
    };
    assert_eq!(global(100, "").down_adverts, 100);
    assert_eq!(global(7, "down_timer_adverts 2").down_adverts, 2);
    let (router, diagnostics) = warned("down_timer_adverts 101");
    assert_eq!(router.down_adverts, 3);
    let message = "21: warning: down_timer_adverts must be 1 to 100, not `101`; 3 is used";
    assert_eq!(diagnostics, [message]);
}

#[test]
fn min_garp() {
    let garp = |settings: &str| {
        let router = quiet(&format!("global_defs {{\n{settings}\n}}\n{}", with("")));
        (router.garp.master_repeat, router.garp.master_delay, router.garp.lower_prio_repeat)
    };
    assert_eq!(garp("vrrp_min_garp"), (1, Nanos::ZERO, 1));
    assert_eq!(garp("vrrp_min_garp off"), (5, Nanos::from_secs(5), 5));
    assert_eq!(garp("vrrp_garp_master_repeat 2\nvrrp_min_garp"), (2, Nanos::ZERO, 2));
    assert_eq!(garp("vrrp_min_garp\nvrrp_garp_master_delay 3"), (1, Nanos::from_secs(3), 1));
}

/// It takes the rounds of a refresh as well, unless they are set to something else, or behind it.
#[test]
fn min_garp_leaves_no_refresh() {
    let refresh = |globals: &str, instance: &str| {
        let (config, said) = accept(&format!(
            "global_defs {{\n{globals}\n}}\n{}",
            with(&format!("garp_master_refresh 2\n{instance}"))
        ));
        let garp = config.routers[0].garp;
        (garp.refresh, garp.refresh_repeat, said.len())
    };
    let two = Nanos::from_secs(2);
    assert_eq!(refresh("vrrp_min_garp", ""), (Nanos::ZERO, 1, 1));
    assert_eq!(
        refresh("vrrp_garp_master_refresh_repeat 1\nvrrp_min_garp", ""),
        (Nanos::ZERO, 1, 1)
    );
    assert_eq!(refresh("vrrp_min_garp off", ""), (two, 1, 0));
    assert_eq!(refresh("vrrp_garp_master_refresh_repeat 3\nvrrp_min_garp", ""), (two, 3, 0));
    assert_eq!(refresh("vrrp_min_garp\nvrrp_garp_master_refresh_repeat 1", ""), (two, 1, 0));
    assert_eq!(refresh("vrrp_min_garp", "garp_master_refresh_repeat 1"), (two, 1, 0));
}

#[test]
fn prefixes_that_are_no_numbers() {
    let prefixes = |addresses: &str| {
        let text = format!(
            "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n{addresses}\n}}\n}}\n"
        );
        let (config, said) = accept(&text);
        let addresses = config.routers[0].addresses.iter();
        (addresses.map(|address| address.prefix).collect::<Vec<_>>(), said.len())
    };
    assert_eq!(prefixes("10.0.0.1/\n10.0.0.2/abc\n10.0.0.3/24x"), (vec![0, 0, 24], 3));
    assert_eq!(prefixes("10.0.0.1/-1\n10.0.0.2/33"), (vec![32, 32], 2));
    assert_eq!(prefixes("10.0.0.1/024\n10.0.0.2/+24"), (vec![24, 24], 0));
}

/// What ends keepalived is an error, and what it goes on without is a warning.
#[test]
fn values_that_are_missing() {
    let script =
        |line: &str| format!("vrrp_script s {{\nscript /bin/true\n{line}\n}}\n{}", with(""));
    let group =
        |line: &str| format!("{}vrrp_sync_group G {{\ngroup {{\nA\n}}\n{line}\n}}\n", with(""));
    let globals = |line: &str| format!("global_defs {{\n{line}\n}}\n{}", with(""));
    let file = |line: &str| format!("track_file f {{\n{line}\n}}\n{}", with(""));
    let process = |line: &str| format!("vrrp_track_process p {{\n{line}\n}}\n{}", with(""));
    for line in ["weight", "interval", "timeout", "rise", "fall", "user"] {
        refuse(&script(line));
    }
    for line in ["notify", "notify_master", "notify_backup", "notify_fault", "notify_stop"] {
        refuse(&with(line));
        refuse(&group(line));
    }
    refuse(&with("notify_master_rx_lower_pri"));
    refuse(&globals("umask"));
    refuse(&process("process"));
    for block in ["vrrp_script", "track_file", "vrrp_track_process"] {
        refuse(&format!("{block} {{\n}}\n{}", with("")));
    }
    accept(&with("notify_deleted"));
    accept(&script("script"));
    accept(&globals("vrrp_rt_priority"));
    accept(&globals("startup_script"));
    accept(&globals("notify_fifo_script"));
    accept(&file("file"));
    accept(&file("weight"));
    accept(&process("process p\nweight"));
    accept(&format!("vrrp_sync_group {{\n}}\n{}", with("")));
}

/// At a start it is a warning, as in keepalived; while routers run, it could remove some of them.
#[test]
fn a_file_that_was_cut_off_is_no_reload() {
    let whole = with("");
    let load = |running| {
        let other = whole.replace("_instance A", "_instance B").replace("_id 1", "_id 2");
        let other = other.replace(".0.1", ".0.2");
        let text = format!("{whole}{}", other.trim_end().trim_end_matches('}'));
        load_files_with(&[("k.conf", text.as_str())], &Options { running, ..options() })
    };
    assert!(load(None).is_ok());
    let error = load(Some(2)).unwrap_err();
    let said = brief(error.diagnostics());
    assert!(
        said.iter().any(|said| said.contains("error: the file ends inside a block")),
        "{said:?}"
    );
}

#[test]
fn several_authentication_blocks_are_one() {
    let blocks = "authentication {\n auth_type PASS\n }\n authentication {\n auth_pass b\n }";
    assert_eq!(quiet(&with(blocks)).authentication, Authentication::Pass(*b"b\0\0\0\0\0\0\0"));
}

#[test]
fn includes_in_quotes() {
    let files = [("k.conf", "include \"a.conf\"\n"), ("a.conf", &*with(""))];
    let loaded = load_files(&files).unwrap();
    assert_eq!(loaded.config.routers.len(), 1);
    let said = brief(&loaded.diagnostics);
    assert_eq!(
        said,
        ["1:1: warning: keepalived takes quotes as part of the name, and does not find it"]
    );
}

#[test]
fn numbers_with_a_sign() {
    let router = quiet(&with(
        "virtual_routes {\n 10.1.0.0/16 via 10.0.0.9 metric +138\n}\n virtual_rules {\n from 10.0.0.5 table 7 priority +5\n}",
    ));
    assert_eq!(router.routing.routes[0].to_string(), "10.1.0.0/16 via 10.0.0.9 metric 138");
    assert_eq!(router.routing.rules[0].to_string(), "from 10.0.0.5 table 7 preference 5");
}

/// Where keepalived takes the first one only.
#[test]
fn what_counts_once() {
    let (config, said) = accept(&format!(
        "track_file f {{\nfile /a\nfile /b\nweight 5\nweight 6\n}}\n\
         vrrp_track_process p {{\nprocess a\nprocess b\nweight 3\nweight 4\n}}\n\
         vrrp_sync_group G {{\ngroup {{\nA\n}}\ngroup {{\nB\n}}\n}}\n{}{}",
        with("track_file {\nf\n}\ntrack_process {\np\n}"),
        with("")
            .replace("_instance A", "_instance B")
            .replace("_id 1", "_id 2")
            .replace(".0.1", ".0.2"),
    ));
    assert_eq!(config.files[0].path, Path::new("/a"));
    assert_eq!(config.processes[0].command, "a");
    assert_eq!((config.files[0].weight, config.processes[0].weight), (5, 3), "{said:?}");
    assert_eq!(config.groups[0].members, ["A"]);
    // A script takes the last one of each.
    let script = "vrrp_script s {\nscript /a\nscript /b\nweight 3 reverse\nweight 7\n}\n";
    let (config, _) = accept(&format!("{script}{}", with("track_script {\ns\n}")));
    let track = &config.routers[0].track[0];
    assert_eq!((track.weight, track.reverse), (7, true));
    assert_eq!(config.scripts[0].command.argv, ["/b"]);
}

#[test]
fn include_check_makes_problems_errors() {
    let load = |check: &str, include: &str| {
        let text = format!("global_defs {{\n{check}\n}}\n{include}\n{}", with(""));
        load_text(&text).is_ok()
    };
    assert!(load("", "include no-such-file"));
    assert!(!load("include_check", "include no-such-file"));
    assert!(!load("include_check match", "include no-such-file"));
    assert!(load("include_check read", "include no-such-file"));
    assert!(load("include_check\ninclude_check -match", "include no-such-file"));
    assert!(load("include_check match", "include no-such-*"));
    assert!(!load("include_check +wildcard_match", "include no-such-*"));
    // It ends with the file that says so.
    let text = format!("include a.inc\ninclude no-such-file\n{}", with(""));
    let files = [("k.conf", text.as_str()), ("a.inc", "global_defs {\ninclude_check\n}\n")];
    let diagnostics = load_files(&files).unwrap().diagnostics;
    let missing = diagnostics.iter().find(|d| d.message.contains("no-such-file")).unwrap();
    assert_eq!(missing.severity, Severity::Warning);
    let (_, diagnostics) = accept(&format!("global_defs {{\ninclude_check x\n}}\n{}", with("")));
    assert_eq!(diagnostics, ["2:1: warning: include_check: `x` is no check; ignored"]);
}

/// Facts about keepalived, a block in each line: `BLOCK: KEYWORD KEYWORD ...`.
const KNOWN: &str = include_str!("known_keywords.txt");

#[test]
fn no_keyword_of_keepalived_is_unknown() {
    let mut count = 0;
    for line in KNOWN.lines().filter(|line| !line.starts_with('#')) {
        let (block, keywords) = line.split_once(": ").unwrap();
        for keyword in keywords.split(' ') {
            count += 1;
            let text = match block {
                "root" => format!("{keyword} x\n"),
                "vrrp_instance" => with(&format!("{keyword} x")),
                "authentication" | "auth_hmac" => with(&format!("{block} {{\n{keyword} x\n}}")),
                _ => format!("{block} x {{\n{keyword} x\n}}\n"),
            };
            let said = diagnostics_of(&text);
            let unknown = format!("unknown keyword {keyword}");
            assert!(!said.iter().any(|d| d.message == unknown), "{said:#?}");
        }
    }
    assert!(count > 280, "{count}");
}

#[test]
fn keyword_lists_are_sets() {
    for table in [keywords::ROOT, keywords::GLOBAL, keywords::INSTANCE] {
        let mut names: Vec<_> =
            table.iter().flat_map(|entry| entry.keywords.iter().copied()).collect();
        names.extend(match table {
            table if std::ptr::eq(table, keywords::INSTANCE) => instance::KEYWORDS,
            table if std::ptr::eq(table, keywords::GLOBAL) => super::GLOBAL_KEYWORDS,
            _ => super::ROOT_KEYWORDS,
        });
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

#[test]
fn keywords_that_are_acted_on_are_known() {
    for keyword in instance::KEYWORDS {
        let text = with(&format!("{keyword} {{ }}"));
        let unknown = format!("unknown keyword {keyword}");
        assert!(!diagnostics_of(&text).iter().any(|d| d.message == unknown), "{keyword}");
    }
    for keyword in super::GLOBAL_KEYWORDS {
        let text = format!("global_defs {{\n{keyword} 3\n}}\n{}", with(""));
        let diagnostics = diagnostics_of(&text);
        assert!(!diagnostics.iter().any(|d| d.message.contains("unknown keyword")), "{keyword}");
    }
}

#[test]
fn scripts() {
    let (config, diagnostics) = accept(&with(concat!(
        "notify \"/bin/x 'a b' \\\"c\" root adm\n",
        "notify_master /bin/m nobody\n",
        "notify_master /bin/again\n",
        "notify_stop '/bin/s t'\n",
        "notify_deleted\n",
        "notify_backup \"/bin/b 'c\"\n",
        "notify_priority_changes off",
    )));
    assert_eq!(
        diagnostics,
        [
            "6:1: warning: notify_master is there already, in line 5; this one is ignored",
            "9:15: warning: notify_backup is ignored: the quote ' is not closed: `/bin/b 'c`",
        ]
    );
    let notify = config.routers.into_iter().next().unwrap().notify.unwrap();
    let any = notify.any.as_ref().unwrap();
    assert_eq!(any.argv, ["/bin/x", "a b", "\"c"]);
    assert_eq!(any.user.as_ref().unwrap().to_string(), "root adm");
    assert_eq!(
        (any.origin.line, &*any.origin.file),
        (4, &*notify.stop.as_ref().unwrap().origin.file)
    );
    assert_eq!(notify.master.unwrap().user.unwrap().to_string(), "nobody");
    assert_eq!(notify.stop.unwrap().argv, ["/bin/s", "t"]);
    assert!(notify.notify_deleted && notify.deleted.is_none() && notify.fault.is_none());
    assert_eq!(notify.priority_changes, Some(false));
}

#[test]
fn script_settings() {
    let globals = concat!(
        "script_user a b\nenable_script_security\numask IRWXO | IWGRP\n",
        "startup_script_timeout 3\nstartup_script \"/bin/up now\" root\n",
        "shutdown_script /bin/down\nshutdown_script_timeout 1001\n",
        "vrrp_notify_fifo_script \"/bin/r -x\"\nvrrp_notify_fifo /run/f c d\nnotify_fifo /run/g\n",
        "vrrp_notify_priority_changes on\nfifo_write_vrrp_states_on_reload\n",
        "notify_split_brain /bin/split\nnotify_timeout 5\nscript_concurrency 3\n",
    );
    let (config, diagnostics) = accept(&format!("global_defs {{\n{globals}}}\n{}", with("")));
    assert_eq!(
        diagnostics,
        ["8:1: warning: shutdown_script_timeout must be 1 to 1000 seconds; ignored"]
    );
    let settings = config.notify;
    assert_eq!((settings.user.unwrap().to_string(), settings.umask), ("a b".into(), Some(0o027)));
    let startup = settings.startup.unwrap();
    assert_eq!(startup.command.to_string(), "/bin/up now");
    assert_eq!(startup.command.user.unwrap().user, "root");
    assert_eq!(startup.timeout, Nanos::from_secs(3));
    assert_eq!(settings.shutdown.unwrap().timeout, Nanos::from_secs(10));
    let fifo = settings.vrrp_fifo.unwrap();
    assert_eq!(
        (fifo.path.to_str(), fifo.user.unwrap().to_string()),
        (Some("/run/f"), "c d".into())
    );
    assert_eq!(fifo.script.unwrap().argv, ["/bin/r", "-x"]);
    assert_eq!(settings.fifo.unwrap().script, None);
    assert!(settings.priority_changes && settings.states_on_reload && settings.security);
    assert_eq!(settings.split_brain.unwrap().argv, ["/bin/split"]);
    assert_eq!((settings.timeout, settings.concurrency), (Nanos::from_secs(5), 3));
}

// What the keywords mean.

#[test]
fn defaults() {
    let router = quiet(&with(""));
    assert_eq!(router.priority, Priority(100));
    assert_eq!(router.interval, AdvertInterval::Secs(1));
    assert_eq!(router.authentication, Authentication::None);
    assert_eq!(router.transport, Transport::plain_multicast(None));
    assert!(router.preempt && router.lower_prio_advert && router.higher_prio_advert.is_none());
    assert_eq!(router.preempt_delay, Nanos::ZERO);
    assert_eq!(router.v3_checksum, V3Checksum::Rfc5798);
    let garp = router.garp;
    assert_eq!((garp.master_repeat, garp.master_delay), (5, Nanos::from_secs(5)));
    assert_eq!((garp.refresh, garp.refresh_repeat), (Nanos::ZERO, 1));
    assert_eq!((garp.lower_prio_repeat, garp.lower_prio_delay), (5, Nanos::from_secs(5)));
}

#[test]
fn state_and_priority() {
    assert_eq!(quiet(&with("state MASTER")).priority, Priority::OWNER);
    assert_eq!(quiet(&with("state MASTER\n priority 90")).priority, Priority(90));
    assert_eq!(quiet(&with("state BACKUP")).priority, Priority(100));
}

#[test]
fn preemption() {
    assert!(!quiet(&with("nopreempt")).preempt);
    assert!(quiet(&with("nopreempt\n preempt")).preempt);
    assert_eq!(quiet(&with("preempt_delay 300")).preempt_delay, Nanos::from_secs(300));
    for extra in [
        "state MASTER\n priority 90\n nopreempt",
        "state MASTER\n priority 90\n preempt_delay 5",
        "priority 255\n nopreempt",
        "priority 255\n preempt_delay 5",
    ] {
        let (config, diagnostics) = accept(&with(extra));
        let router = &config.routers[0];
        assert_eq!((router.preempt, router.preempt_delay), (true, Nanos::ZERO), "{extra}");
        assert_eq!(diagnostics.len(), 1, "{extra}: {diagnostics:?}");
    }
    let (config, diagnostics) = accept(&with("nopreempt\n preempt_delay 5"));
    assert_eq!((config.routers[0].preempt, config.routers[0].preempt_delay), (false, Nanos::ZERO));
    assert_eq!(
        diagnostics,
        ["5:16: warning: preempt_delay does not go with nopreempt; it is ignored"]
    );
}

#[test]
fn authentication() {
    let block = |body: &str| with(&format!("authentication {{\n{body}\n}}"));
    let pass = |password: &str| quiet(&block(&format!("auth_type PASS\nauth_pass {password}")));
    assert_eq!(pass("1111").authentication, Authentication::Pass(*b"1111\0\0\0\0"));
    assert_eq!(pass("12345678").authentication, Authentication::Pass(*b"12345678"));
    let long = block("auth_type PASS\nauth_pass 123456789");
    let (config, diagnostics) = accept(&long);
    assert_eq!(config.routers[0].authentication, Authentication::Pass(*b"12345678"));
    assert_eq!(
        diagnostics,
        ["6:11: warning: auth_pass is longer than 8 bytes; the first 8 are used"]
    );
    for (body, warning) in [
        (
            "auth_type PASS",
            "4:2: warning: auth_type PASS without auth_pass; authentication is ignored",
        ),
        ("auth_pass x", "5:11: warning: auth_pass without auth_type; authentication is ignored"),
        (
            "auth_type MD5\nauth_pass x",
            "5:11: warning: unknown auth_type `MD5`; authentication is ignored",
        ),
        (
            "auth_type PASS\nauth_pass \"\"",
            "4:2: warning: auth_type PASS without auth_pass; authentication is ignored",
        ),
    ] {
        let (config, diagnostics) = accept(&block(body));
        assert_eq!(config.routers[0].authentication, Authentication::None);
        assert_eq!(diagnostics, [warning]);
    }
    let v3 = block("auth_type PASS\nauth_pass x").replace(" interface", " version 3\n interface");
    let (config, diagnostics) = accept(&v3);
    assert_eq!(config.routers[0].authentication, Authentication::None);
    assert_eq!(diagnostics, ["7:11: warning: version 3 has no authentication; it is ignored"]);
    let weak = "warning: authentication by auth_type AH is old and weak: HMAC-MD5 with at most 8 bytes as key, and only the daemon \
                checks it";
    let (config, diagnostics) = accept(&block("auth_type AH\nauth_pass pass123"));
    assert_eq!(config.routers[0].authentication, Authentication::Ah(*b"pass123\0"));
    assert_eq!(diagnostics, [format!("5:11: {weak}")]);
    let (config, diagnostics) = accept(&block("auth_pass 123456789\nauth_type AH"));
    assert_eq!(config.routers[0].authentication, Authentication::Ah(*b"12345678"));
    let long = "5:11: warning: auth_pass is longer than 8 bytes; the first 8 are used";
    assert_eq!(diagnostics, [long.to_owned(), format!("6:11: {weak}")]);
    let (config, diagnostics) = accept(&block("auth_type AH"));
    assert_eq!(config.routers[0].authentication, Authentication::None);
    let none = "4:2: warning: auth_type AH without auth_pass; authentication is ignored";
    assert_eq!(diagnostics, [none]);
    // Said once, of the first.
    let one = block("auth_type AH\nauth_pass x");
    let two = one.replace("vrrp_instance A", "vrrp_instance B");
    let two =
        two.replace("virtual_router_id 1", "virtual_router_id 2").replace("10.0.0.1", "10.0.0.2");
    assert_eq!(accept(&(one.clone() + &two)).1, [format!("5:11: {weak}")]);
    // Version 3, IPv6 and strict mode have no authentication.
    for (without, warning) in [
        (
            one.replace(" interface", " version 3\n interface"),
            "7:11: warning: version 3 has no authentication; it is ignored",
        ),
        (
            one.replace(" interface", " strict_mode on\n interface"),
            "7:11: warning: strict mode has no authentication; it is ignored",
        ),
    ] {
        let (config, diagnostics) = accept(&without);
        assert_eq!(config.routers[0].authentication, Authentication::None);
        assert_eq!(diagnostics, [warning]);
    }
}

#[test]
fn virtual_addresses() {
    let (shown, diagnostics) = addresses(
        "10.0.0.1\n10.0.0.2/24\n10.0.0.3/24 dev eth1 label eth1:0 brd 10.0.0.127 scope link no_track\n\
         10.0.0.4/24 brd + scope 200\n10.0.0.5/24 broadcast -\n\"10.0.0.6/8\" scope host",
    );
    assert_eq!(diagnostics, Vec::<String>::new());
    assert_eq!(
        shown,
        [
            "10.0.0.1/32 0",
            "10.0.0.2/24 0",
            "10.0.0.3/24 253 dev eth1 label eth1:0 brd 10.0.0.127 no_track",
            "10.0.0.4/24 200 brd 10.0.0.255",
            "10.0.0.5/24 0 brd 10.0.0.0",
            "10.0.0.6/8 254",
        ]
    );
}

#[test]
fn options_of_addresses() {
    let shown = |line: &str| {
        let text = with("").replace("  10.0.0.1\n", &format!("  10.0.0.1\n {line}\n"));
        let (config, diagnostics) = accept(&text);
        (config.routers[0].addresses[1].to_string(), diagnostics.join(" "))
    };
    for same in [
        "10.0.0.2/32 home mngtmpaddr noprefixroute autojoin",
        "10.0.0.2 peer 10.0.0.3/32 scope link",
        "10.0.0.2 peer 10.0.0.3/31 dev eth1 noprefixroute no_track",
    ] {
        assert_eq!(shown(same), (same.to_owned(), String::new()));
    }
    // There is no duplicate address detection for IPv4.
    assert_eq!(shown("10.0.0.2/24 -nodad"), ("10.0.0.2/24".to_owned(), String::new()));
    let (address, warning) = shown("10.0.0.2/24 peer 10.0.0.3 brd 10.0.0.255");
    assert_eq!(address, "10.0.0.2 peer 10.0.0.3/32");
    assert!(warning.contains("the prefix length of 10.0.0.2/24 is ignored"), "{warning}");
    assert!(warning.contains("has a peer; the broadcast address is ignored"), "{warning}");
    for (bad, why) in [
        ("10.0.0.2 peer fe80::1", "7:16: warning: fe80::1 is of another family"),
        ("10.0.0.2 peer x", "7:16: warning: `x` is no address"),
        ("10.0.0.2 preferred_lft 5", "7:11: warning: preferred_lft is for IPv6"),
    ] {
        let (address, warning) = shown(bad);
        assert_eq!(address, "10.0.0.2/32");
        assert!(warning.starts_with(why), "{warning}");
    }
}

#[test]
fn ipv6_addresses_have_defaults_of_their_own() {
    let new = |address: &str, prefix| Address::new(address.parse().unwrap(), prefix);
    assert_eq!(new("2001:db8::1", 128).preferred_lft, Some(0));
    assert_eq!(new("2001:db8::1", 64).preferred_lft, None);
    assert!(new("2001:db8::1", 64).flags.contains(AddressFlags::NODAD));
    assert_eq!(new("192.0.2.1", 32).flags, AddressFlags::default());
    let mut address = new("2001:db8::1", 128);
    address.flags.set(AddressFlags::NODAD, false);
    address.preferred_lft = None;
    assert_eq!(address.to_string(), "2001:db8::1/128 preferred_lft forever -nodad");
}

#[test]
fn virtual_address_mistakes() {
    for (line, kept, warning) in [
        ("10.0.0.2/33", "10.0.0.2/32 0", "5:1: warning: `33` is no prefix length; /32 is used"),
        ("10.0.0.2 scope x", "10.0.0.2/32 0", "5:16: warning: unknown scope `x`; global is used"),
        (
            "10.0.0.2 what",
            "10.0.0.2/32 0",
            "5:10: warning: `what` is ignored: 10.0.0.2 has no such option",
        ),
        (
            "10.0.0.2 brd +",
            "10.0.0.2/32 0",
            "5:14: warning: /32 leaves no room for a broadcast address",
        ),
        ("nonsense", "", "5:1: warning: `nonsense` is no address; it is skipped"),
        ("10.0.0.2 brd x", "", "5:14: warning: `x` is no address; 10.0.0.2 is skipped"),
        ("10.0.0.2 dev", "", "5:10: warning: dev has no value; 10.0.0.2 is skipped"),
        (
            "10.0.0.2 label 0123456789abcdef",
            "",
            "5:1: warning: the label `0123456789abcdef` is longer than 15 characters; the address is skipped",
        ),
        ("10.0.0.9", "", "6:1: warning: 10.0.0.9 is there twice; the second one is skipped"),
        ("0.0.0.0", "", "5:1: warning: 0.0.0.0 is no address of a host; the address is skipped"),
        (
            "224.0.0.18",
            "",
            "5:1: warning: 224.0.0.18 is a multicast address; the address is skipped",
        ),
    ] {
        let (mut shown, diagnostics) = addresses(&format!("{line}\n10.0.0.9"));
        assert_eq!(shown.pop().as_deref(), Some("10.0.0.9/32 0"));
        assert_eq!(shown.join(", "), kept, "{line}");
        assert_eq!(diagnostics, [warning], "{line}");
    }
    let (shown, diagnostics) = addresses("10.0.0.9\n10.0.0.9 dev eth1");
    assert_eq!((shown.len(), diagnostics.len()), (2, 0), "another interface");
}

#[test]
fn more_addresses_than_fit() {
    let (config, diagnostics) = accept(
        "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n\
         ~SEQ(i,0,1) ~SEQ(j,1,150) 10.0.${i}.${j}\n}\nvirtual_ipaddress_excluded {\n10.9.9.9\n}\n}\n",
    );
    let router = &config.routers[0];
    assert_eq!((router.addresses.len(), router.excluded.len()), (255, 46));
    assert_eq!(router.excluded[0].address, ip("10.0.1.106"));
    assert_eq!(router.excluded[45].address, ip("10.9.9.9"));
    assert_eq!(
        diagnostics,
        [
            "5:0: warning: 300 addresses do not fit in an advertisement; those after the 255th are not advertised"
        ]
    );
}

#[test]
fn an_address_of_two_routers() {
    let b = with("").replace("vrrp_instance A", "vrrp_instance B").replace("_id 1", "_id 2");
    let (config, diagnostics) = accept(&format!("{}{b}", with("")));
    assert_eq!(config.routers.len(), 2);
    assert_eq!(
        diagnostics,
        ["9:1: warning: 10.0.0.1 is an address of A too; both will add and remove it"]
    );
}

#[test]
fn unicast() {
    let router =
        quiet(&with("unicast_src_ip 10.0.0.8\n unicast_peer {\n 10.0.0.9\n 10.0.0.7/24\n }"));
    let peers = [ip("10.0.0.9"), ip("10.0.0.7")];
    assert_eq!(router.transport, Transport::plain_unicast(Some(ip("10.0.0.8")), &peers));
    let (config, diagnostics) =
        accept(&with("unicast_peer {\n 10.0.0.9\n 10.0.0.9\n x\n 0.0.0.0\n fe80::1\n }"));
    assert_eq!(config.routers[0].transport, Transport::plain_unicast(None, &[ip("10.0.0.9")]));
    assert_eq!(
        diagnostics,
        [
            "6:2: warning: 10.0.0.9 is twice in unicast_peer; the second one is skipped",
            "7:2: warning: unicast_peer takes an address, not `x`; ignored",
            "8:2: warning: the peer 0.0.0.0 is no address of a host; it is skipped",
            "9:2: warning: fe80::1 is of another family than the addresses before it; skipped",
        ]
    );
    let (router, diagnostics) = warned("unicast_src_ip 10.0.0.8");
    assert_eq!(router.transport, Transport::plain_multicast(Some(ip("10.0.0.8"))));
    assert_eq!(
        diagnostics,
        ["2: warning: there is a unicast keyword but no unicast_peer; the router multicasts"]
    );
    quiet(&with("unicast_fault_no_peer\n unicast_peer { 10.0.0.9 }"));
    assert_eq!(
        refuse(&with("unicast_fault_no_peer")),
        ["4:2: error: there is no unicast_peer, and unicast_fault_no_peer forbids multicast"]
    );
    let router = quiet(&with("mcast_src_ip 10.0.0.8"));
    assert_eq!(router.transport, Transport::plain_multicast(Some(ip("10.0.0.8"))));
}

#[test]
fn unicast_ttls() {
    let (config, diagnostics) = accept(&with(
        "unicast_ttl 64\n unicast_peer {\n 10.0.0.9 max_ttl 250 min_ttl 60\n 10.0.0.8 max_ttl 256\n \
         10.0.0.7 ttl 5 min_ttl 9\n 10.0.0.6 min_ttl\n 10.0.0.5 min_ttl 7 max_ttl 6\n }",
    ));
    let peer = |last, min_ttl, max_ttl| Peer { address: [10, 0, 0, last].into(), min_ttl, max_ttl };
    let peers =
        vec![peer(9, 60, 250), peer(8, 0, 255), peer(7, 0, 255), peer(6, 0, 255), peer(5, 7, 6)];
    let transport = Transport::Unicast { source: None, peers, ttl: 64, check_source: true };
    assert_eq!(config.routers[0].transport, transport);
    assert_eq!(
        diagnostics,
        [
            "7:19: warning: max_ttl must be 0 to 255, not `256`; it is ignored",
            "8:11: warning: unknown option ttl of a peer",
            "9:11: warning: min_ttl has no value; it is ignored",
            "10:2: warning: min_ttl 7 of 10.0.0.5 is greater than its max_ttl 6: all its advertisements are refused",
        ]
    );
    let (router, diagnostics) = warned("unicast_ttl 300\n unicast_peer { 10.0.0.9 }");
    assert_eq!(router.transport, Transport::plain_unicast(None, &[ip("10.0.0.9")]));
    assert_eq!(
        diagnostics,
        ["14: warning: unicast_ttl must be 0 to 255, not `300`; it is ignored"]
    );
    let (router, diagnostics) = warned("unicast_ttl 64");
    assert_eq!(router.transport, Transport::plain_multicast(None));
    assert_eq!(diagnostics, ["14: warning: unicast_ttl without unicast_peer; it is ignored"]);
    // Whose sources are looked at.
    let checks = |globals: &str, more: &str| {
        let globals = format!("global_defs {{ {globals} }}\n");
        match quiet(&format!("{globals}{}", with(more))).transport {
            Transport::Unicast { check_source, .. } => Some(check_source),
            Transport::Multicast { .. } => None,
        }
    };
    assert_eq!(checks("", "unicast_peer { 10.0.0.9 }"), Some(false));
    assert_eq!(checks("", "check_unicast_src\n unicast_peer { 10.0.0.9 }"), Some(true));
    assert_eq!(checks("vrrp_check_unicast_src", "unicast_peer { 10.0.0.9 }"), Some(true));
    assert_eq!(checks("", "unicast_peer { 10.0.0.9 min_ttl 0 }"), Some(true));
    assert_eq!(checks("vrrp_check_unicast_src", ""), None);
}

#[test]
fn multicast_groups() {
    let group = |text: &str| Transport::Multicast { source: None, group: text.parse().ok() };
    let globals = |words: &str, more: &str| format!("global_defs {{ {words} }}\n{}", with(more));
    let one = |words: &str, more: &str| quiet(&globals(words, more)).transport;
    assert_eq!(one("vrrp_mcast_group4 224.0.0.81", ""), group("224.0.0.81"));
    assert_eq!(one("vrrp_mcast_group4 224.0.0.18", ""), Transport::plain_multicast(None));
    // That of the other family, and its own.
    assert_eq!(one("vrrp_mcast_group6 ff02::81", ""), Transport::plain_multicast(None));
    assert_eq!(one("vrrp_mcast_group4 224.0.0.81", "mcast_dst_ip 224.0.0.82"), group("224.0.0.82"));
    let unicast = one("vrrp_mcast_group4 224.0.0.81", "unicast_peer { 10.0.0.9 }");
    assert_eq!(unicast, Transport::plain_unicast(None, &[ip("10.0.0.9")]));
    let said = |words: &str, more: &str| {
        let (mut config, diagnostics) = accept(&globals(words, more));
        (config.routers.remove(0).transport, diagnostics.join("; "))
    };
    for (words, more, wanted) in [
        ("vrrp_mcast_group4 10.0.0.1", "", "takes a multicast group of IPv4, not `10.0.0.1`"),
        ("vrrp_mcast_group4 ff02::81", "", "takes a multicast group of IPv4, not `ff02::81`"),
        ("", "mcast_dst_ip 10.0.0.1", "mcast_dst_ip 10.0.0.1 is not multicast; it is ignored"),
    ] {
        let (transport, text) = said(words, more);
        assert_eq!(transport, Transport::plain_multicast(None));
        assert!(text.contains(wanted), "{text}");
    }
    let both = said("", "mcast_dst_ip 224.0.0.81\n unicast_peer { 10.0.0.9 }");
    assert_eq!(both.0, unicast);
    assert!(both.1.contains("224.0.0.81 does not go with unicast; it is ignored"), "{}", both.1);
    let six = |words: &str, more: &str| {
        let text = globals(words, more).replace("10.0.0.1\n", "fe80::1\n");
        let (mut config, diagnostics) = accept(&text);
        (config.routers.remove(0).transport, diagnostics.join("; "))
    };
    assert_eq!(
        six("vrrp_mcast_group6 ff02::81", "native_ipv6"),
        (group("ff02::81"), String::new())
    );
    let (wide, text) = six("vrrp_mcast_group6 ff05::81", "native_ipv6");
    assert_eq!(wide, group("ff05::81"));
    assert!(text.contains("ff05::81 should be link-local"), "{text}");
    let (transport, text) = six("", "native_ipv6\n mcast_dst_ip ff05::81");
    assert_eq!(transport, Transport::plain_multicast(None));
    assert!(text.contains("is not link-local multicast; it is ignored"), "{text}");
}

#[test]
fn owners_that_ignore_others() {
    let ignores = |globals: &str, more: &str| {
        let text = format!("global_defs {{ {globals} }}\n{}", with(more));
        let (config, diagnostics) = accept(&text);
        (config.routers[0].owner_ignores_adverts, diagnostics)
    };
    let global = "vrrp_owner_ignore_adverts";
    assert_eq!(ignores("", "priority 255"), (false, vec![]));
    assert_eq!(ignores("", "priority 255\n owner_ignore_adverts"), (true, vec![]));
    assert_eq!(ignores(global, "priority 255"), (true, vec![]));
    assert_eq!(ignores(global, "priority 255\n owner_ignore_adverts off"), (false, vec![]));
    assert_eq!(ignores(global, "state MASTER"), (true, vec![]));
    assert_eq!(ignores(global, "priority 200"), (false, vec![]));
    assert!(ignores("", "priority 255\n strict_mode").0);
    let (no_owner, diagnostics) = ignores("", "owner_ignore_adverts on");
    assert!(!no_owner);
    let wanted = "owner_ignore_adverts goes with priority 255 only; it is ignored";
    assert!(diagnostics[0].ends_with(wanted), "{diagnostics:?}");
}

#[test]
fn strict_mode_refuses_a_first_address_that_is_not_link_local() {
    let refuses = |address: &str, more: &str| {
        let text = with(more).replace("10.0.0.1\n", &format!("{address}\n"));
        let (config, diagnostics) = accept(&text);
        (config.routers[0].link_local_first, diagnostics.join("; "))
    };
    assert!(!refuses("fe80::1", "").0);
    assert!(refuses("fe80::1", "strict_mode on").0);
    let (refuses_v4, text) = refuses("10.0.0.1", "strict_mode on");
    assert!(!refuses_v4 && !text.contains("link-local"), "{text}");
    // Two of these would refuse each other.
    let (refuses_own, text) = refuses("2001:db8::1", "strict_mode on");
    assert!(!refuses_own);
    assert!(text.contains("begins with a link-local IPv6 address"), "{text}");
    assert!(text.contains("refuse each other; it is ignored"), "{text}");
}

#[test]
fn tracked_sources() {
    for more in ["mcast_src_ip 10.0.0.8", "unicast_src_ip 10.0.0.8\n unicast_peer { 10.0.0.9 }"] {
        assert!(quiet(&with(&format!("track_src_ip\n {more}"))).track_source);
        assert!(!quiet(&with(more)).track_source);
    }
    let (router, diagnostics) = warned("track_src_ip");
    assert!(!router.track_source);
    assert_eq!(diagnostics, ["2: warning: track_src_ip needs a source; it is ignored"]);
}

#[test]
fn ipv6_instances() {
    let six = |more: &str| {
        format!(
            "vrrp_instance SIX {{\n interface eth0\n virtual_router_id 51\n {more}\n \
             virtual_ipaddress {{ fe80::1\n2001:db8::1/64 }}\n}}\n"
        )
    };
    // The same VRID as that of an IPv4 instance, and version 3 whatever the default is.
    let router = |more: &str| {
        let (mut config, diagnostics) = accept(&format!(
            "global_defs {{ vrrp_version 2\n vrrp_mcast_group6 ff02::12 }}\n{}{}",
            six(more),
            with("")
        ));
        assert_eq!(config.routers.len(), 2);
        (config.routers.swap_remove(0), diagnostics)
    };
    let (plain, diagnostics) = router("");
    assert_eq!((plain.family(), plain.version()), (Family::V6, Version::V3));
    assert_eq!(diagnostics, [""; 0]);
    let (plain, diagnostics) = router("native_ipv6\n mcast_src_ip fe80::9\n mcast_dst_ip ff02::12");
    assert_eq!(plain.transport, Transport::plain_multicast(Some(ip("fe80::9"))));
    assert_eq!(diagnostics, [""; 0]);
    let (unicast, _) = router("unicast_peer { 2001:db8::2 }");
    assert_eq!(unicast.transport, Transport::plain_unicast(None, &[ip("2001:db8::2")]));
    let (two, diagnostics) = router("version 2\n authentication { auth_type PASS\n auth_pass x }");
    assert_eq!((two.version(), two.authentication), (Version::V3, Authentication::None));
    assert_eq!(
        diagnostics,
        [
            "6:10: warning: IPv6 needs version 3; 3 is used",
            "8:12: warning: version 3 has no authentication; it is ignored",
        ]
    );
    // Each of the other family is skipped, except for excluded ones.
    let (config, diagnostics) = accept(&with(
        "virtual_ipaddress { 10.0.0.7\n fe80::1\n }\n virtual_ipaddress_excluded { 2001:db8::1/64 }",
    ));
    assert_eq!((config.routers[0].addresses.len(), config.routers[0].excluded.len()), (2, 1));
    let skipped =
        "5:2: warning: fe80::1 is of another family than the addresses before it; skipped";
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics[0].starts_with(skipped), "{diagnostics:?}");
    let global = "vrrp_instance SIX {\n interface eth0\n virtual_router_id 51\n \
                  virtual_ipaddress { 2001:db8::1 }\n}\n";
    let (_, diagnostics) = accept(global);
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics[0].contains("2001:db8::1 is not link-local"), "{diagnostics:?}");
}

#[test]
fn as_many_ipv6_addresses_as_can_be_counted() {
    let list: String = (1..=256).map(|n| format!("fe80::{n:x}\n")).collect();
    let (config, diagnostics) = accept(&format!(
        "vrrp_instance SIX {{\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {{\n{list}}}\n}}\n"
    ));
    let router = &config.routers[0];
    assert_eq!((router.addresses.len(), router.excluded.len()), (255, 1));
    let said = "260:1: warning: 256 addresses do not fit in an advertisement; those after the 255th are not";
    assert!(diagnostics[0].starts_with(said), "{diagnostics:?}");
}

#[test]
fn gratuitous_arp() {
    let garp = quiet(&with(
        "garp_master_delay 1\n garp_master_repeat 2\n garp_master_refresh 3\n garp_master_refresh_repeat 4\n \
         garp_lower_prio_delay 0\n garp_lower_prio_repeat 0",
    ))
    .garp;
    assert_eq!((garp.master_delay, garp.master_repeat), (Nanos::from_secs(1), 2));
    assert_eq!((garp.refresh, garp.refresh_repeat), (Nanos::from_secs(3), 4));
    assert_eq!((garp.lower_prio_delay, garp.lower_prio_repeat), (Nanos::ZERO, 0));

    let global = |lines: &str, instance: &str| {
        // Behind the instance: it counts all the same.
        quiet(&format!("{}global_defs {{\n{lines}\n}}\n", with(instance))).garp
    };
    let garp = global(
        "vrrp_garp_master_delay 1\nvrrp_garp_master_repeat 2\nvrrp_garp_master_refresh 3\nvrrp_garp_master_refresh_repeat 4",
        "",
    );
    assert_eq!((garp.master_delay, garp.master_repeat), (Nanos::from_secs(1), 2));
    assert_eq!((garp.refresh, garp.refresh_repeat), (Nanos::from_secs(3), 4));
    assert_eq!((garp.lower_prio_delay, garp.lower_prio_repeat), (Nanos::from_secs(1), 2));
    let garp = global(
        "vrrp_garp_lower_prio_delay 8\nvrrp_garp_lower_prio_repeat 9",
        "garp_lower_prio_repeat 7",
    );
    assert_eq!((garp.lower_prio_delay, garp.lower_prio_repeat), (Nanos::from_secs(8), 7));
    assert_eq!(garp.master_repeat, 5);
}

#[test]
fn global_defaults() {
    let global = |lines: &str, instance: &str| {
        quiet(&format!("global_defs {{\n{lines}\n}}\n{}", with(instance)))
    };
    assert_eq!(global("vrrp_version 3", "").interval, AdvertInterval::Centisecs(Centisecs(100)));
    assert_eq!(global("vrrp_version 3", "version 2").interval, AdvertInterval::Secs(1));
    assert!(!global("vrrp_lower_prio_no_advert", "").lower_prio_advert);
    assert!(global("vrrp_lower_prio_no_advert", "lower_prio_no_advert off").lower_prio_advert);
    assert_eq!(global("vrrp_higher_prio_send_advert", "").higher_prio_advert, Some(true));
    assert_eq!(global("v3_checksum_as_v2", "").v3_checksum, V3Checksum::Rfc9568);
    assert_eq!(
        global("v3_checksum_as_v2", "v3_checksum_as_v2 off").v3_checksum,
        V3Checksum::Rfc5798
    );
    global("dynamic_interfaces", "accept");
}

#[test]
fn scheduling() {
    let scheduling = |lines: &str| {
        let text = format!("global_defs {{\n{lines}\n}}\n{}", with(""));
        let (config, diagnostics) = accept(&text);
        assert_eq!(diagnostics, Vec::<String>::new());
        config.scheduling
    };
    assert_eq!(scheduling("vrrp_no_swap"), None);
    assert_eq!(scheduling("vrrp_rt_priority 20"), Some(Scheduling::Fifo(20)));
    assert_eq!(scheduling("vrrp_rt_priority 200"), Some(Scheduling::Fifo(99)));
    assert_eq!(scheduling("vrrp_rt_priority 0"), Some(Scheduling::Other));
}

#[test]
fn strict_mode() {
    let strict = |extra: &str| format!("global_defs {{\nvrrp_strict\n}}\n{}", with(extra));
    let (config, diagnostics) =
        accept(&strict("authentication { auth_type PASS\n auth_pass x\n }"));
    let router = &config.routers[0];
    assert_eq!(router.authentication, Authentication::None);
    assert_eq!((router.garp.lower_prio_repeat, router.lower_prio_advert), (0, false));
    assert!(!router.accept);
    assert_eq!(diagnostics, ["8:12: warning: strict mode has no authentication; it is ignored"]);
    let (config, diagnostics) = accept(&strict("state MASTER\n priority 100\n nopreempt"));
    assert!(!config.routers[0].preempt, "the state became BACKUP, so nopreempt stays");
    assert_eq!(diagnostics.len(), 1);
    assert!(
        refuse(&strict("unicast_peer { 10.0.0.9 }"))
            .iter()
            .any(|d| d.contains("strict mode has no unicast"))
    );
    let (config, _) = accept(&strict("strict_mode off\n preempt_delay 5"));
    assert_eq!(config.routers[0].preempt_delay, Nanos::from_secs(5));
}

#[test]
fn accept_mode() {
    let accepts = |global: &str, own: &str| {
        let text = format!("global_defs {{\nvrrp_version 2\n{global}\n}}\n{}", with(own));
        let (config, diagnostics) = accept(&text);
        (config.routers[0].accept, diagnostics)
    };
    // As keepalived: whatever the version, unless strict mode says otherwise; the last word counts.
    for (global, own, wanted) in [
        ("", "", true),
        ("", "version 3", true),
        ("", "no_accept", false),
        ("", "version 3\n no_accept", false),
        ("", "no_accept\n accept", true),
        ("", "accept\n no_accept", false),
        ("vrrp_strict", "", false),
        ("vrrp_strict", "version 3", false),
        ("vrrp_strict", "version 3\n accept", true),
        ("vrrp_strict", "strict_mode off", true),
        ("", "strict_mode", false),
        ("", "strict_mode\n accept\n priority 255", true),
    ] {
        assert_eq!(accepts(global, own), (wanted, vec![]), "{global}, {own}");
    }
    let warning =
        "8:2: warning: accept does not go with strict mode and version 2; no_accept is used";
    assert_eq!(accepts("vrrp_strict", "accept"), (false, vec![warning.to_owned()]));
    // Of its addresses an owner accepts everything.
    let (config, _) = accept(&with("priority 255\n no_accept"));
    assert!(!config.routers[0].accept && config.routers[0].accepts());
}

// Real configurations.

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(name)
}

#[track_caller]
fn load_example(name: &str, config_id: &str) -> (Config, Vec<String>) {
    let options = Options { config_id: Some(config_id.to_owned()), ..Options::default() };
    let loaded = load(&example(name), &options).unwrap();
    (loaded.config, brief(&loaded.diagnostics))
}

#[test]
fn example_two_hosts() {
    let (config, diagnostics) = load_example("two-hosts.conf", "web1");
    let [router] = config.routers.as_slice() else { panic!("{config:?}") };
    assert_eq!((router.priority, router.vrid.get()), (Priority(150), 51));
    assert_eq!(router.authentication, Authentication::Pass(*b"1111\0\0\0\0"));
    assert_eq!(
        diagnostics,
        ["3:5: note: router_id has no effect here: it is only a name in mails and in SNMP"]
    );
}

#[test]
fn example_distribution() {
    let (config, diagnostics) = load_example("distribution.conf", "x");
    let [router] = config.routers.as_slice() else { panic!("{config:?}") };
    assert_eq!(router.addresses.len(), 3);
    assert_eq!(router.authentication, Authentication::None, "as keepalived: strict mode has none");
    assert!(!router.accept, "as keepalived");
    let lines: Vec<_> = diagnostics.iter().map(|d| d.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["3", "8", "9", "10", "11", "12", "19", "26", "35"]);
}

#[test]
fn example_haproxy() {
    for (id, priority, source, peer) in
        [("lb1", 101, "10.20.0.11", "10.20.0.12"), ("lb2", 100, "10.20.0.12", "10.20.0.11")]
    {
        let (config, diagnostics) = load_example("haproxy.conf", id);
        let [router] = config.routers.as_slice() else { panic!("{config:?}") };
        assert_eq!(router.priority, Priority(priority));
        let transport = Transport::plain_unicast(Some(ip(source)), &[ip(peer)]);
        assert_eq!(router.transport, transport);
        assert!(!router.preempt);
        assert_eq!(router.authentication, Authentication::Pass(*b"Pa55 !#x"));
        assert_eq!((router.garp.refresh, router.garp.refresh_repeat), (Nanos::from_secs(60), 2));
        assert_eq!(router.excluded[0].dev.as_deref(), Some("ens4"));
        assert_eq!(diagnostics.len(), 1, "{diagnostics:#?}");
        let notify = router.notify.as_ref().unwrap();
        let master = notify.master.as_ref().unwrap();
        assert_eq!(master.argv, ["/etc/keepalived/notify.sh", "master"]);
        assert_eq!(config.notify.user.as_ref().unwrap().user, "keepalived_script");
        assert!(config.notify.security);
    }
}

#[test]
fn example_many() {
    let (config, diagnostics) = load_example("many.conf", "left");
    assert_eq!(diagnostics, Vec::<String>::new());
    assert_eq!(config.routers.len(), 600);
    let last = &config.routers[599];
    assert_eq!((last.name.as_str(), last.interface.as_str()), ("net2_200", "eth2"));
    assert_eq!(last.interval, AdvertInterval::Centisecs(Centisecs(10)));
    assert_eq!((last.priority, last.addresses[0].address), (Priority(200), ip("10.2.0.200")));
}

// Nothing that can be written brings the reader down or keeps it busy for ever.

/// Pieces of configurations, so that random text gets beyond the first line.
fn piece() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = instance::KEYWORDS
        .iter()
        .chain(super::GLOBAL_KEYWORDS)
        .chain(super::ROOT_KEYWORDS)
        .copied()
        .chain([
            "\n", "\n", "\n", " ", " ", "{", "}", "{", "}", "\"", "#", "!", "\\", "\\\n", "@here ",
            "@^here ", "$A", "$A=", "${A}", "${B}", "$B=", "${_RANDOM 1 2}", "${_PWD}",
            "~SEQ(A,1,3) ", "~SEQ(B,-1) ", "~SEQx(A,1,9999999999) ", "~LST(A,1,2) ",
            "~LST({A,B},{1,2},3) ", "include *.conf\n", "1", "255", "0.5", "10.0.0.1/24",
            "fe80::1", "eth0", "PASS", "auth_type", "auth_pass", "dev", "brd", "+", "é", "\r",
            "\0", "track_script", "track_file", "track_process", "vrrp_sync_group", "vrrp_script",
            "vrrp_track_process", "group", "weight", "reverse", "init_file", "quorum_max",
            "virtual_server", "notify", "notify_fifo", "vrrp_notify_fifo", "path/fifo",
            "/run/fifo", "\x1b",
        ])
        .collect();
    prop_oneof![20 => proptest::sample::select(words).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn survives(text: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("k.conf");
    fs::write(&path, text).unwrap();
    match load(&path, &options()) {
        Ok(loaded) => {
            // Whatever is taken here is taken when it is converted.
            let converted = crate::config::convert::toml(&loaded.config);
            if let Err(refused) = crate::config::load_toml(&converted) {
                panic!(
                    "{}\nis converted to\n{converted}\nwhich is refused: {refused:?}",
                    String::from_utf8_lossy(text)
                );
            }
        }
        Err(LoadError::Invalid { diagnostics }) => {
            assert!(diagnostics.iter().any(|d| d.severity == Severity::Error));
        }
        Err(LoadError::Io { .. }) => panic!("the file can be read"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        survives(&text);
    }

    #[test]
    fn any_pieces(pieces in proptest::collection::vec(piece(), 0..300)) {
        survives(pieces.concat().as_bytes());
    }

    #[test]
    fn any_change_to_an_example(at in any::<prop::sample::Index>(), piece in piece()) {
        let mut text = fs::read_to_string(example("haproxy.conf")).unwrap();
        let mut index = at.index(text.len());
        while !text.is_char_boundary(index) {
            index -= 1;
        }
        text.insert_str(index, &piece);
        survives(text.as_bytes());
    }
}

#[test]
fn names_do_not_command_terminals() {
    let (directory, said) =
        (tempfile::tempdir().unwrap(), |text: &str| text.contains(char::is_control));
    let path = directory.path().join("k.conf");
    for text in [
        format!("{}\n", with("").replace("vrrp_instance ", "vrrp_instance \u{1b}[2J")),
        format!("{}\nvrrp_script \u{9b}2J {{\n script /bin/true\n}}\n", with("")),
        format!("{}\nvrrp_sync_group \u{7}x {{\n group {{\n }}\n}}\n", with("")),
    ] {
        fs::write(&path, &text).unwrap();
        let refused = load(&path, &options()).unwrap_err().to_string();
        assert!(refused.contains("control character"), "{text:?}: {refused}");
        assert!(!refused.lines().any(said), "{refused:?}");
    }
}

#[test]
fn a_fifo_with_a_relative_path_is_none() {
    let (config, diagnostics) =
        accept(&format!("global_defs {{\n notify_fifo run/f\n}}\n{}", with("")));
    assert_eq!(config.notify.fifo, None);
    assert!(diagnostics[0].contains("must begin with `/`"), "{diagnostics:?}");
}

#[test]
fn routes_and_rules_of_an_instance() {
    let router = quiet(&with(
        "virtual_routes {\n src 192.168.100.1 to 192.168.109.0/24 via 192.168.200.254 dev eth1\n \
         192.168.111.0/24 dev eth2 no_track\n blackhole 192.168.114.0/24\n}\n\
         virtual_rules {\n from 192.168.2.0/24 table 1 preference 7\n}\n promote_secondaries\n restore_addresses",
    ));
    let routes: Vec<String> = router.routing.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        [
            "192.168.109.0/24 via 192.168.200.254 dev eth1 src 192.168.100.1",
            "192.168.111.0/24 dev eth2 no_track",
            "blackhole 192.168.114.0/24",
        ]
    );
    assert_eq!(router.routing.rules[0].to_string(), "from 192.168.2.0/24 table 1 preference 7");
    assert_eq!(router.routing.promote_secondaries, Some(true));
    assert_eq!(router.routing.on_lost, OnLost::Restore);
}

#[test]
fn a_route_that_cannot_be_is_skipped() {
    let (config, diagnostics) = accept(&with(
        "virtual_routes {\n 10.1.0.0/16 as to 10.7.0.0\n 10.2.0.0/16 gw 10.0.0.1\n}\nvirtual_rules {\n table 5\n}",
    ));
    let routing = &config.routers[0].routing;
    assert_eq!((routing.routes.len(), routing.rules[0].priority), (1, 16_384));
    assert_eq!(
        diagnostics,
        [
            "5:14: warning: as is not supported; the line is skipped",
            "9:2: warning: a rule has no preference; 16384 is used",
        ]
    );
}

#[test]
fn static_addresses_routes_and_rules() {
    let (config, diagnostics) = accept(&format!(
        "static_ipaddress {{\n 10.9.0.1/24\n 10.9.0.2/24 dev eth1\n}}\nstatic_routes {{\n default via 10.9.0.254\n}}\n\
         static_rules {{\n table 5 preference 7\n}}\nglobal_defs {{\n default_interface eth7\n vrrp_restore_addresses\n}}\n{}{}",
        with(""),
        with("restore_addresses off")
            .replace("A {", "B {")
            .replace("eth0", "eth1")
            .replace("10.0.0.1", "10.0.0.9"),
    ));
    assert_eq!(diagnostics, Vec::<String>::new());
    let addresses: Vec<String> = config.fixed.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.9.0.1/24 dev eth7", "10.9.0.2/24 dev eth1"]);
    assert_eq!((config.fixed.routes.len(), config.fixed.rules.len()), (1, 1));
    assert_eq!(config.routers[0].routing.on_lost, OnLost::Restore);
    assert_eq!(config.routers[1].routing.on_lost, OnLost::Yield);
}

#[test]
fn delays() {
    let globals = "vrrp_startup_delay 5.5\nvrrp_delay_after_boot 60\nvrrp_garp_interval 0.001\n\
                   vrrp_gna_interval 0.000001\n";
    let blocks = "garp_group {\n garp_interval 0.01\n interface eth0\n}\n\
                  garp_group {\n gna_interval 0.02\n interfaces {\n eth1 eth2\n eth3\n }\n}\n\
                  interface_up_down_delays {\n eth0 1.5 0.5\n eth1 255\n}\n";
    let text = format!("global_defs {{\n{globals}}}\n{blocks}{}", with(""));
    let (config, diagnostics) = accept(&text);
    assert_eq!(diagnostics, Vec::<String>::new());
    let Delays { startup, after_boot, pauses, garp_groups, links } = config.delays;
    assert_eq!((startup, after_boot), (Nanos::from_millis(5500), Nanos::from_secs(60)));
    assert_eq!(pauses, Pauses { garp: Nanos(1_000_000), gna: Nanos(1_000) });
    let groups: Vec<_> = garp_groups.iter().map(|group| group.interfaces.join(" ")).collect();
    assert_eq!(groups, ["eth0", "eth1 eth2 eth3"]);
    let pauses: Vec<_> = garp_groups.iter().map(|group| group.pauses).collect();
    let ms = Nanos::from_millis;
    let (first, second) =
        (Pauses { garp: ms(10), gna: ms(0) }, Pauses { garp: ms(0), gna: ms(20) });
    assert_eq!(pauses, [first, second]);
    // What is not there is 0, also where the manual says otherwise.
    let links: Vec<_> = links.iter().map(|link| (&*link.interface, link.down, link.up)).collect();
    assert_eq!(links, [("eth0", ms(1500), ms(500)), ("eth1", ms(255_000), ms(0))]);
}

#[test]
fn delays_with_mistakes() {
    let blocks = concat!(
        "garp_group {\n interface eth0\n}\n",
        "garp_group {\n garp_interval x\n gna_interval 1\n interfaces { eth0 }\n interface eth0\n}\n",
        "garp_group {\n garp_interval 1\n}\n",
        "interface_up_down_delays {\n eth0\n eth0 1 x\n eth0 300\n eth0 1 1 1\n eth0 2\n}\n",
        "global_defs {\n vrrp_startup_delay 5000\n}\n",
    );
    let (config, diagnostics) = accept(&format!("{blocks}{}", with("")));
    assert_eq!(
        diagnostics,
        [
            "1:1: warning: a garp_group has no interval; it is skipped",
            "5:16: warning: garp_interval takes seconds, as in 1 or 0.25, not `x`; ignored",
            "8:12: warning: eth0 is in a garp_group already; this one does not count for it",
            "10:1: warning: a garp_group has no interface; it is skipped",
            "14:2: warning: there is no delay for eth0; the line is ignored",
            "15:9: warning: eth0 takes seconds, as in 1 or 0.25, not `x`; ignored",
            "16:2: warning: the delays of eth0 must be 0 s to 255 s; they are ignored",
            "17:11: warning: `1` is ignored: there are two delays",
            "18:2: warning: the delays of eth0 are there twice; the first ones do not count",
            "18:2: warning: the down delay of eth0 must be less than 2 s, 2 intervals of A; 1.99609375 s is used",
            "21:21: warning: a delay cannot be longer than 4294 s; it is ignored",
        ]
    );
    assert_eq!((config.delays.garp_groups.len(), config.delays.startup), (1, Nanos::ZERO));
    assert_eq!(config.delays.links[0].down, Nanos(1_996_093_750));
}

#[test]
fn announcements_on_other_interfaces() {
    let period = |global: &str, own: &str| {
        let text = format!("global_defs {{\n{global}\n}}\n{}", with(own));
        let (config, diagnostics) = accept(&text);
        (config.routers[0].garp_extra_if.0 / 1_000_000_000, diagnostics)
    };
    let quiet = |global, own| {
        let (period, diagnostics) = period(global, own);
        assert_eq!(diagnostics, Vec::<String>::new());
        period
    };
    assert_eq!(quiet("", ""), 0);
    assert_eq!(quiet("", "garp_extra_if all 100"), 100);
    assert_eq!(quiet("", "vmac_garp_intvl 100 all"), 100);
    assert_eq!(quiet("vrrp_garp_extra_if all 60", ""), 60);
    assert_eq!(quiet("vrrp_vmac_garp_intvl all 60", "garp_extra_if all 86400"), 86_400);
    assert_eq!(quiet("vrrp_garp_extra_if all 60", "garp_extra_if 0"), 0);
    let without = |keyword: &str| {
        format!(
            "note: {keyword} has no effect here: without `all`, it is about virtual MAC addresses that advertisements do not have"
        )
    };
    assert_eq!(
        period("", "garp_extra_if 100"),
        (0, vec!["7:16: ".to_owned() + &without("garp_extra_if")])
    );
    // What is said of all does not make up for what the instance does not say.
    let (seconds, notes) = period("vrrp_garp_extra_if all 60", "garp_extra_if 100");
    assert_eq!((seconds, notes.len()), (0, 1));
    let (seconds, notes) = period("vrrp_garp_extra_if 60", "");
    assert_eq!((seconds, notes), (0, vec!["2:20: ".to_owned() + &without("vrrp_garp_extra_if")]));
    for (own, warning) in [
        ("garp_extra_if all", "garp_extra_if has no time; it is ignored"),
        ("garp_extra_if all x", "garp_extra_if takes `all` and whole seconds, not `x`; ignored"),
        (
            "garp_extra_if all 86401",
            "addresses on other interfaces must be announced at least once a day; it is ignored",
        ),
    ] {
        let (seconds, warnings) = period("", own);
        assert_eq!((seconds, warnings.len()), (0, 1), "{own}");
        assert!(warnings[0].ends_with(&format!("warning: {warning}")), "{warnings:?}");
    }
}

/// Without `all` it is about virtual MAC addresses of which switches learn nothing from advertisements.
#[test]
fn announcements_of_virtual_mac_addresses() {
    let beside = "virtual_ipaddress_excluded {\n10.0.7.1/24 dev wan use_vmac\n}";
    for own in [beside, "use_vmac\nvmac_xmit_base"] {
        let router = quiet(&with(&format!("{own}\ngarp_extra_if 100")));
        assert_eq!(router.garp_extra_if, Nanos::from_secs(100));
        assert!(!router.garp_extra_if_all && router.has_extra_if());
    }
    let router = quiet(&with(&format!("{beside}\ngarp_extra_if all 100")));
    assert!(router.garp_extra_if_all);
    let (config, notes) = accept(&with("use_vmac\ngarp_extra_if 100"));
    assert_eq!((config.routers[0].garp_extra_if, notes.len()), (Nanos::ZERO, 1));
}

#[test]
fn announcements_of_the_own_address() {
    const PEER: &str = "unicast_peer {\n10.0.0.9\n}";
    let period = |own: &str| {
        let (config, diagnostics) = accept(&with(own));
        (config.routers[0].garp_own_address, diagnostics)
    };
    let secs = Nanos::from_secs;
    assert_eq!(period(PEER), (secs(0), vec![]));
    assert_eq!(period(&format!("{PEER}\ngarp_own_address 60")), (secs(60), vec![]));
    assert_eq!(period(&format!("{PEER}\ngarp_own_address 0")), (secs(0), vec![]));
    for (own, expected, warning) in [
        (
            "garp_own_address 60".to_owned(),
            0,
            "garp_own_address goes with unicast only: switches send multicast to all ports anyway; it is ignored",
        ),
        (
            format!("{PEER}\ngarp_own_address 0.5"),
            1,
            "garp_own_address must be at least 1 s; 1 s is used",
        ),
        (
            format!("{PEER}\ngarp_own_address 86401"),
            0,
            "garp_own_address must be at most a day; it is ignored",
        ),
    ] {
        let (found, warnings) = period(&own);
        assert_eq!((found, warnings.len()), (secs(expected), 1), "{own}: {warnings:?}");
        assert!(warnings[0].ends_with(&format!("warning: {warning}")), "{warnings:?}");
    }
}

#[test]
fn use_vmac() {
    let virtual_mac = |own: &str| {
        let (config, diagnostics) = accept(&with(own));
        let router = &config.routers[0];
        let mac = router.own_virtual_mac.map(|mac| Colons(mac).to_string()).unwrap_or_default();
        ((router.virtual_mac, mac), diagnostics)
    };
    let all = "use_vmac name lan netlink_notify_msg group 7";
    // That of the VRID, written out.
    let written = ["use_vmac lan 00:00:5e:00:01", "use_vmac 0:0:5E:0:1:1"];
    for quiet in ["use_vmac", "use_vmac vrrp.51", all].into_iter().chain(written) {
        assert_eq!(virtual_mac(quiet), ((true, String::new()), vec![]), "{quiet}");
    }
    assert_eq!(virtual_mac(""), ((false, String::new()), vec![]));
    for (own, mac) in [
        ("use_vmac lan 00:00:5e:00:01:02", "00:00:5e:00:01:02"),
        ("use_vmac lan 02:00:5e:00:0a", "02:00:5e:00:0a:01"),
        ("use_vmac 2:0:5e:0:a:ff", "02:00:5e:00:0a:ff"),
    ] {
        assert_eq!(virtual_mac(own), ((true, mac.to_owned()), vec![]), "{own}");
    }
    for (own, on, warning) in [
        ("use_vmac lan 00:00:5e:00", true, "`00:00:5e:00` is no MAC address; it is ignored"),
        (
            "use_vmac 00:00:5e:00:01:0x1",
            true,
            "`00:00:5e:00:01:0x1` is no MAC address; it is ignored",
        ),
        (
            "use_vmac 01:00:5e:00:01",
            true,
            "01:00:5e:00:01:01 is not the MAC address of a single station; that of the VRID is used",
        ),
        (
            "use_vmac 0:0:0:0:0:0",
            true,
            "00:00:00:00:00:00 is not the MAC address of a single station; that of the VRID is used",
        ),
        ("use_vmac lan wan", true, "`wan` is ignored: use_vmac takes one name"),
        (
            "use_vmac\nunicast_peer {\n10.0.0.9\n}",
            false,
            "use_vmac goes with unicast only where advertisements are left as they are (vmac_xmit_base); it is ignored",
        ),
    ] {
        let ((is_on, mac), warnings) = virtual_mac(own);
        assert_eq!((is_on, &*mac, warnings.len()), (on, "", 1), "{own}: {warnings:?}");
        assert!(warnings[0].ends_with(&format!("warning: {warning}")), "{warnings:?}");
    }
}

#[test]
fn advertisements_from_the_base() {
    let router = |own: &str| {
        let (mut config, diagnostics) = accept(&with(own));
        (config.routers.swap_remove(0), diagnostics)
    };
    let (base, warnings) = router("use_vmac\nvmac_xmit_base");
    assert_eq!((base.virtual_mac, base.virtual_mac_adverts, warnings), (true, false, vec![]));
    let (unicast, warnings) = router("use_vmac\nvmac_xmit_base\nunicast_peer {\n10.0.0.9\n}");
    assert_eq!((unicast.virtual_mac, unicast.virtual_mac_adverts, warnings), (true, false, vec![]));
    let (strict, warnings) = router("use_vmac\nvmac_xmit_base\nstrict_mode on");
    assert!(strict.virtual_mac_adverts);
    assert!(
        warnings.iter().any(|it| it.ends_with("strict mode has no vmac_xmit_base; it is ignored"))
    );
    assert!(router("use_vmac").0.virtual_mac_adverts);
}

#[test]
fn addresses_on_other_interfaces_may_have_the_virtual_mac_address() {
    let having = |own: &str, addresses: &str| {
        let text = with(&format!("{own}\nvirtual_ipaddress_excluded {{\n{addresses}\n}}"));
        let (config, diagnostics) = accept(&text);
        assert_eq!(diagnostics, Vec::<String>::new());
        let router = &config.routers[0];
        let devs: Vec<String> = router.virtual_mac_devs().map(str::to_owned).collect();
        (devs.join(" "), router.has_virtual_mac(), router.excluded[0].to_string())
    };
    let wan = "10.0.7.1/24 dev wan";
    assert_eq!(having("use_vmac", wan), (String::new(), true, wan.to_owned()));
    let with_one = format!("{wan} use_vmac");
    let expected = |on: bool| ("wan".to_owned(), on, with_one.clone());
    assert_eq!(having("", &with_one), expected(true));
    assert_eq!(having("use_vmac\nuse_vmac_addr", wan), expected(true));
    assert_eq!(having("use_vmac_addr", wan), expected(true));
    // On its own interface it is what the instance says.
    let own = "10.0.7.1/24 dev eth0 use_vmac";
    assert_eq!(having("", own), (String::new(), false, "10.0.7.1/24 dev eth0".to_owned()));
}

/// A frame to it is for one of them.
#[test]
fn no_two_have_the_same_virtual_mac_address_on_an_interface() {
    let instance = |name: &str, interface: &str, vrid: u8, own: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id {vrid}\n{own}\n\
             virtual_ipaddress {{\n10.0.{vrid}.1\n10.0.{vrid}.2 dev wan\n}}\n}}\n"
        )
    };
    let mac = "use_vmac 02:00:00:00:00:07";
    for (first, second, on) in [
        (("eth0", 1, mac), ("eth0", 2, mac), Some("02:00:00:00:00:07 on eth0")),
        (("eth0", 1, mac), ("eth1", 2, mac), None),
        (("eth0", 1, mac), ("eth0", 2, "use_vmac 02:00:00:00:00"), None),
        // Each has that of its VRID there.
        (
            ("eth0", 1, "use_vmac_addr"),
            ("eth1", 1, "use_vmac_addr"),
            Some("00:00:5e:00:01:01 on wan"),
        ),
    ] {
        let text =
            instance("A", first.0, first.1, first.2) + &instance("B", second.0, second.1, second.2);
        let all = brief(&diagnostics_of(&text)).join("\n");
        let expected =
            on.map(|on| format!("B and A (line 1) both have the virtual MAC address {on}"));
        assert_eq!(all.contains("both have the virtual MAC"), on.is_some(), "{all}");
        assert!(expected.is_none_or(|expected| all.contains(&expected)), "{all}");
    }
}

/// Nobody makes the device: its name is another one of the interface.
#[test]
fn devices_of_virtual_mac_addresses_are_their_interfaces() {
    let instance = |name: &str, vrid: u8, own: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\n\
             virtual_ipaddress {{\n10.0.{vrid}.1 dev vrrp.5\n10.0.{vrid}.2 dev lan\n10.0.{vrid}.3 dev wan\n}}\n\
             {own}\n}}\n"
        )
    };
    let more = "use_vmac\nvirtual_routes {\n10.1.0.0/16 via 10.0.0.9 dev vrrp.5\n}\ntrack_interface {\nlan\n}";
    let text = format!(
        "{}{}",
        instance("A", 5, more),
        instance("B", 6, "use_vmac lan").replace("interface eth0", "interface eth1")
    );
    let (config, diagnostics) = accept(&text);
    assert_eq!(diagnostics, Vec::<String>::new());
    let devs = |router: usize| {
        let addresses = config.routers[router].addresses.iter();
        addresses.map(|address| address.dev.as_deref().unwrap_or("-")).collect::<Vec<_>>()
    };
    assert_eq!((devs(0), devs(1)), (vec!["-", "eth1", "wan"], vec!["eth0", "-", "wan"]));
    assert_eq!(config.routers[0].routing.routes[0].dev.as_deref(), Some("eth0"));
    let tracked = &config.routers[0].track[0].what;
    assert_eq!(*tracked, Tracked::Interface("eth1".to_owned()));
    // With another prefix of usual names, with a MAC address of its own, and without any.
    for (global, own) in
        [("vmac_prefix vrrp", ""), ("vmac_prefix v4", "v4.5 02:00:00:00:00:01"), ("", "wan")]
    {
        let keyword = if own == "wan" { "use_ipvlan wan 10.0.5.9/24 private" } else { "use_vmac" };
        let instance = instance("A", 5, &format!("{keyword} {own}").replace("wan wan", "wan"));
        let instance = instance.replace("dev vrrp.5", "dev v4.5");
        let (config, _) = accept(&format!("global_defs {{\n{global}\n}}\n{instance}"));
        let devs = config.routers[0].addresses.iter().map(|address| address.dev.as_deref());
        let expected = match global {
            "vmac_prefix vrrp" => [Some("v4.5"), Some("lan"), Some("wan")],
            "" => [Some("v4.5"), Some("lan"), None],
            _ => [None, Some("lan"), Some("wan")],
        };
        assert_eq!(devs.collect::<Vec<_>>(), expected, "{global}");
    }
}

/// Whoever looks for the device will not find it.
#[test]
fn a_command_that_names_a_device_of_a_virtual_mac_address_is_told_of() {
    let named = |own: &str| accept(&with(own)).1;
    let warning = "the command names vrrp.1, a device that is not made here";
    for script in ["notify_master \"/bin/x vrrp.1\"", "notify \"/bin/x --dev=vrrp.1 up\""] {
        let warnings = named(&format!("use_vmac\n{script}"));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("5:") && warnings[0].ends_with(warning), "{warnings:?}");
    }
    for quiet in ["notify \"/bin/x vrrp.12 vrrp.1.log eth0\"", "notify \"/bin/x my-vrrp.1\""] {
        assert_eq!(named(&format!("use_vmac\n{quiet}")), Vec::<String>::new());
    }
    assert_eq!(named("notify \"/bin/x vrrp.1\""), Vec::<String>::new());
}

#[test]
fn routers_follow_what_is_static() {
    let groups = "track_group g {\n group {\n A\n }\n}\ntrack_group none {\n group {\n B\n }\n}\n";
    let (config, diagnostics) = accept(&format!(
        "{groups}static_ipaddress {{\n 10.9.0.1/24 dev eth1 track_group g\n 10.9.0.2/24 dev eth2 track_group x\n}}\n\
         static_routes {{\n 10.8.0.0/16 dev eth3 track_group g\n 10.7.0.0/16 dev eth4 no_track track_group g\n}}\n\
         static_rules {{\n table 5 preference 7 iif eth5 track_group g\n}}\n{}",
        with(
            "track_interface {\n eth3 weight -20\n}\nvirtual_routes {\n 10.6.0.0/16 dev eth0 track_group g\n}"
        ),
    ));
    assert_eq!(
        diagnostics,
        [
            "6:1: warning: track_group none has no router; it is skipped",
            "8:2: warning: there is no router B, which track_group none names; it is ignored",
            "13:35: warning: there is no track_group x; no router follows it",
            "29:35: warning: track_group goes with what is static; it is ignored",
        ]
    );
    let shown: Vec<String> = config.fixed.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.9.0.1/24 dev eth1 track_group g", "10.9.0.2/24 dev eth2"]);
    assert_eq!(config.fixed.routes[0].to_string(), "10.8.0.0/16 dev eth3 track_group g");
    assert_eq!(
        config.fixed.rules[0].to_string(),
        "from all iif eth5 table 5 preference 7 track_group g"
    );
    assert_eq!(config.routers[0].routing.routes[0].track_group, None);
    let tracked: Vec<(String, i16)> = config.routers[0]
        .track
        .iter()
        .map(|track| (track.what.to_string(), track.weight))
        .collect();
    let interface = |name: &str, weight| (format!("interface {name}"), weight);
    assert_eq!(tracked, [interface("eth3", -20), interface("eth1", 0), interface("eth5", 0)]);
    // The same in the other format.
    let again = crate::config::load_toml(&crate::config::convert::toml(&config)).unwrap();
    assert_eq!(
        (again.fixed, again.routers[0].track.clone()),
        (config.fixed, config.routers[0].track.clone())
    );
    assert_eq!(again.track_groups[0].routers, ["A"]);
}

#[test]
fn instances_of_other_namespaces() {
    let text = "vrrp_instance A {\n net_namespace red\n interface eth0\n virtual_router_id 1\n\
                virtual_ipaddress {\n 10.0.0.1/24\n 10.0.1.1/24 dev eth1\n }\n\
                virtual_routes {\n 10.9.0.0/16 via 10.0.0.2\n }\n track_interface {\n eth2\n }\n}\n\
                vrrp_instance B {\n interface eth0\n virtual_router_id 1\n\
                virtual_ipaddress {\n 10.0.0.1/24\n }\n}\n\
                static_routes {\n 10.8.0.0/16 via 10.0.0.3 net_namespace blue\n}\n";
    let Loaded { config, diagnostics } = load_text(text).unwrap();
    assert_eq!(diagnostics, []);
    let [a, b] = &config.routers[..] else { panic!("{config:?}") };
    assert_eq!((&*a.interface, &*b.interface), ("red/eth0", "eth0"));
    assert_eq!(a.addresses[1].dev.as_deref(), Some("red/eth1"));
    assert_eq!(a.track[0].what, Tracked::Interface("red/eth2".to_owned()));
    let names = config.namespaces().into_iter().map(|netns| netns.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["blue", "red"]);
    assert_eq!(config.fixed.routes[0].to_string(), "10.8.0.0/16 via 10.0.0.3 netns blue");
    assert_eq!(a.routing.routes[0].to_string(), "10.9.0.0/16 via 10.0.0.2 netns red");
    let wrong = text.replace("net_namespace red", "net_namespace a/b");
    assert!(load_text(&wrong).is_err());
}
