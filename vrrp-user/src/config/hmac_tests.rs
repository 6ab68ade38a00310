//! `auth_hmac` and `[router.hmac]`: both formats make the same of it, and no key is told to anybody.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::model::{AntiReplay, Hmac, HmacMode, Origin};
use super::tree::{self, Secrets};
use super::{LoadError, Options, convert, load};

const TEXT: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// An instance with such lines, and what comes of it: its signing, and all messages.
fn read_file(directory: &Path, name: &str, text: &str) -> (Option<Hmac>, Vec<String>) {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    let (config, diagnostics) = match load(&path, &Options::default()) {
        Ok(loaded) => (Some(loaded.config), loaded.diagnostics),
        Err(LoadError::Invalid { diagnostics }) => (None, diagnostics),
        Err(error) => panic!("{error}"),
    };
    let shown = diagnostics
        .iter()
        .map(|it| format!(":{}:{}: {}: {}", it.line, it.column, it.severity, it.message));
    let hmac = config.and_then(|config| config.routers[0].hmac.clone());
    (hmac, shown.collect())
}

fn keepalived(directory: &Path, lines: &str) -> (Option<Hmac>, Vec<String>) {
    let text = format!(
        "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 7\nvirtual_ipaddress {{\n10.0.0.1\n}}\n{lines}\n}}\n"
    );
    read_file(directory, "k.conf", &text)
}

fn toml(directory: &Path, lines: &str) -> (Option<Hmac>, Vec<String>) {
    let text = format!(
        "[[router]]\nname = \"A\"\ninterface = \"eth0\"\nvrid = 7\naddresses = [\"10.0.0.1\"]\n{lines}\n"
    );
    read_file(directory, "v.toml", &text)
}

fn block(lines: &str) -> String {
    format!("auth_hmac {{\n{lines}\n}}")
}

#[test]
fn both_formats_say_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, format!("hex:{HEX}\r\n")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let file = file.display();
    let (theirs, messages) = keepalived(
        directory.path(),
        &block(&format!(
            "key 1 hex:{HEX}\nkey 255 {TEXT}\nkey 3 file:{file}\nactive_key 3\nanti_replay monotonic\n\
             time_window 7\nmode enforce"
        )),
    );
    assert_eq!(messages, Vec::<String>::new());
    let theirs = theirs.unwrap();
    let secrets: Vec<_> = theirs.keys.iter().map(|key| key.secret.expose().to_vec()).collect();
    let bytes: Vec<u8> = (0..32).collect();
    assert_eq!(secrets, [bytes.clone(), TEXT.as_bytes().to_vec(), bytes]);
    assert_eq!(theirs.keys[2].secret.origin(), &Origin::File(file.to_string().as_str().into()));
    assert_eq!((theirs.active_key.get(), theirs.time_window.seconds()), (3, 7));
    assert_eq!((theirs.anti_replay, theirs.mode), (AntiReplay::Monotonic, HmacMode::Enforce));
    let (ours, messages) = toml(
        directory.path(),
        &format!(
            "[router.hmac]\nkeys = [{{ id = 1, hex = \"{HEX}\" }}, {{ id = 255, text = \"{TEXT}\" }}, \
             {{ id = 3, file = \"{file}\" }}]\nactive_key = 3\nanti_replay = \"monotonic\"\ntime_window = \"7s\""
        ),
    );
    assert_eq!((ours, messages), (Some(theirs), Vec::new()));
}

#[test]
fn what_is_not_said() {
    let directory = tempfile::tempdir().unwrap();
    for (lines, window) in
        [("", 5), ("version 3\nadvert_int 0.5", 5), ("advert_int 20", 60), ("advert_int 200", 300)]
    {
        let hmac = block(&format!("key 1 {TEXT}\nactive_key 1"));
        let (hmac, messages) = keepalived(directory.path(), &format!("{lines}\n{hmac}"));
        let hmac = hmac.unwrap();
        assert_eq!(messages, Vec::<String>::new());
        assert_eq!((hmac.anti_replay, hmac.mode), (AntiReplay::Time, HmacMode::Enforce));
        assert_eq!(hmac.time_window.seconds(), window, "{lines}");
    }
}

#[test]
fn mistakes_refuse_the_file_and_name_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let short = directory.path().join("short");
    fs::write(&short, "hex:0011\n").unwrap();
    let short = short.display().to_string();
    let good = format!("key 1 {TEXT}");
    for (lines, message) in [
        (
            format!("key 1 hex:{}\nactive_key 1", &HEX[..62]),
            ":8:7: error: the key has 31 bytes, and needs at least 32",
        ),
        (
            format!("key 1 {TEXT}x\nactive_key 1"),
            ":8:7: error: the key has 65 bytes, and may have 64 at most",
        ),
        (
            format!("key 1 hex:{HEX}0\nactive_key 1"),
            ":8:7: error: the key is not in pairs of hexadecimal digits",
        ),
        (
            format!("key 1 hex:{}zz\nactive_key 1", &HEX[2..]),
            ":8:7: error: the key is not in pairs of hexadecimal digits",
        ),
        (
            "key 1 file:/no/such\nactive_key 1".to_owned(),
            ":8:7: error: cannot read the key in /no/such: No such file or directory (os error 2)",
        ),
        (
            "key 1 file:key\nactive_key 1".to_owned(),
            ":8:7: error: cannot read the key in key: its path does not begin with /",
        ),
        (
            format!("key 1 file:{short}\nactive_key 1"),
            ":8:7: error: the key in SHORT has 2 bytes, and needs at least 32",
        ),
        (
            format!("key 0 {TEXT}\n{good}\nactive_key 1"),
            ":8:5: error: the number of a key must be 1 to 255",
        ),
        (
            format!("key 256 {TEXT}\n{good}\nactive_key 1"),
            ":8:5: error: the number of a key must be 1 to 255",
        ),
        (
            format!("key {TEXT}\n{good}\nactive_key 1"),
            ":8:1: error: key takes a number and one value",
        ),
        (
            format!("{good}\nkey 1 hex:{HEX}\nactive_key 1"),
            ":9:1: error: there is a key 1 already, in line 8",
        ),
        (good.clone(), ":7:1: error: auth_hmac has no active_key"),
        (
            format!("{good}\nactive_key 2"),
            ":9:12: error: there is no key 2, which active_key names",
        ),
        (format!("{good}\nactive_key 300"), ":9:12: error: active_key must be 1 to 255"),
        (
            format!("{good}\nactive_key 1\ntime_window 0"),
            ":10:13: error: time_window must be 1 to 300 whole seconds, not `0`",
        ),
        (
            format!("{good}\nactive_key 1\ntime_window 301"),
            ":10:13: error: time_window must be 1 to 300 whole seconds, not `301`",
        ),
        (format!("{good}\nactive_key 1\nmode off"), ":10:6: error: unknown mode `off`"),
        (
            format!("{good}\nactive_key 1\nanti_replay no"),
            ":10:13: error: unknown anti_replay `no`",
        ),
    ] {
        let (hmac, messages) = keepalived(directory.path(), &block(&lines));
        let errors: Vec<String> = messages
            .iter()
            .filter(|it| it.contains("error") && !it.contains("everybody"))
            .map(|it| it.replace(&short, "SHORT"))
            .collect();
        assert_eq!((hmac, errors), (None, vec![message.to_owned()]), "{lines}");
    }
    for (lines, message) in [
        ("keys = []\nactive_key = 1", ":6:1: error: hmac has no key"),
        ("keys = [{ hex = \"00\" }]", ":7:9: error: a key has no id"),
        ("keys = [{ id = 1 }]", ":7:9: error: a key has one of hex, text, file and credential"),
        (
            "keys = [{ id = 1, hex = \"00\", text = \"x\" }]",
            ":7:9: error: a key has one of hex, text, file and credential",
        ),
        (
            "keys = [{ id = 1, credential = \"a/b\" }]",
            ":7:32: error: `a/b` cannot be the name of a credential",
        ),
        (
            "time_window = \"1.5s\"",
            ":7:15: error: time_window must be 1 to 300 whole seconds, not `1.5`",
        ),
    ] {
        let (hmac, messages) = toml(directory.path(), &format!("[router.hmac]\n{lines}"));
        assert!(
            hmac.is_none() && messages.iter().any(|it| it == message),
            "{lines}: {messages:#?}"
        );
    }
}

#[test]
fn one_kind_of_authentication() {
    let directory = tempfile::tempdir().unwrap();
    let hmac = block(&format!("key 1 {TEXT}\nactive_key 1"));
    for kind in ["PASS", "AH"] {
        let lines = format!("{hmac}\nauthentication {{\nauth_type {kind}\nauth_pass x\n}}");
        let (hmac, messages) = keepalived(directory.path(), &lines);
        assert!(hmac.is_some());
        assert_eq!(
            messages,
            [":11:1: warning: auth_hmac does not go with authentication, which is ignored"]
        );
    }
    let lines = format!(
        "authentication = {{ type = \"pass\", password = \"x\" }}\n\
         hmac = {{ keys = [{{ id = 1, text = \"{TEXT}\" }}], active_key = 1 }}"
    );
    let (hmac, messages) = toml(directory.path(), &lines);
    assert_eq!(
        (hmac, messages),
        (None, vec![":6:46: error: authentication does not go with hmac".to_owned()])
    );
}

#[test]
fn modes_that_protect_nothing_are_said() {
    let directory = tempfile::tempdir().unwrap();
    for mode in ["permissive", "receive-only"] {
        let hmac = block(&format!("key 1 {TEXT}\nactive_key 1\nmode {mode}"));
        let (read, messages) = keepalived(directory.path(), &hmac);
        assert_eq!(read.unwrap().mode.name(), mode);
        let message = format!(
            ":10:6: warning: mode {mode} accepts unsigned advertisements, and so protects nothing"
        );
        assert_eq!(messages, [message]);
        let (read, messages) = keepalived(directory.path(), &format!("strict_mode on\n{hmac}"));
        assert_eq!(read.unwrap().mode, HmacMode::Enforce);
        let message = format!(":11:6: warning: strict mode has no mode {mode}; enforce is used");
        assert_eq!(messages, [message]);
    }
}

#[test]
fn a_file_that_everybody_can_read_is_said() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, TEXT).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let lines = block(&format!("key 1 file:{}\nactive_key 1", file.display()));
    let (hmac, messages) = keepalived(directory.path(), &lines);
    assert!(hmac.is_some());
    let message =
        format!(":8:7: warning: everybody has access to {}, which holds a key", file.display());
    assert_eq!(messages, [message]);
}

#[test]
fn keys_are_neither_converted_nor_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("k.conf");
    let instance = |name: &str, vrid: u8, key: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\nvirtual_ipaddress {{\n10.0.0.{vrid}\n}}\n\
             auth_hmac {{\nkey 1 {TEXT}\n{key}active_key 1\n}}\n}}\n"
        )
    };
    let text = instance("A", 1, "") + &instance("B", 2, &format!("key 2 hex:{HEX}\n"));
    fs::write(&path, text).unwrap();
    let config = load(&path, &Options::default()).unwrap().config;
    let shown = [
        convert::toml(&config),
        format!("{config:?}"),
        serde_json::to_string(&tree::config(&config, Secrets::Hidden)).unwrap(),
    ];
    let hex: String = TEXT.bytes().map(|byte| format!("{byte:02x}")).collect();
    for text in &shown {
        assert!(!text.contains(TEXT) && !text.contains(HEX) && !text.contains(&hex), "{text}");
    }
    let [converted, ..] = &shown;
    assert!(converted.contains("# /etc/vrrp-user/keys/1: key 1 of A (line 1)\n# /etc/vrrp-user/keys/2: key 2 of B (line 12)\n"), "{converted}");
    assert!(converted.contains("{ id = 2, file = \"/etc/vrrp-user/keys/2\" }"), "{converted}");
    // Where the files are, it is the same again.
    let moved = converted.replace("/etc/vrrp-user/keys", &directory.path().display().to_string());
    fs::write(directory.path().join("1"), TEXT).unwrap();
    fs::write(directory.path().join("2"), format!("hex:{HEX}")).unwrap();
    let path = directory.path().join("v.toml");
    fs::write(&path, &moved).unwrap();
    let again = load(&path, &Options::default()).unwrap().config;
    let keys = |config: &super::model::Config| {
        config.routers.iter().map(|router| router.hmac.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&again), keys(&config));
    // And converted once more, with files as they are.
    assert!(!convert::toml(&again).contains("Keys are not written"));
}

proptest! {
    /// Whatever stands in the block: no panic, no key of a wrong length, and none of its text in a message.
    #[test]
    fn any_key(value in "[a-z0-9:]{1,140}", id in 0..300_u16) {
        let directory = tempfile::tempdir().unwrap();
        let lines = block(&format!("key {id} {value}\nactive_key {id}"));
        let (hmac, messages) = keepalived(directory.path(), &lines);
        if let Some(hmac) = &hmac {
            prop_assert!((32..=64).contains(&hmac.keys[0].secret.expose().len()));
        }
        prop_assert_eq!(hmac.is_none(), messages.iter().any(|it| it.contains("error")));
        let quoted = value.len() > 20 && !value.starts_with("file:") && messages.iter().any(|it| it.contains(&value));
        prop_assert!(!quoted, "{:?}", messages);
    }
}
