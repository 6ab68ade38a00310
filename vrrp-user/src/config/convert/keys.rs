//! Keys that sign advertisements are not written out: what `convert` prints is looked at, pasted and kept in version
//! control. Files stand in their place, and a comment says which key belongs into which.

use serde_json::Value;

use crate::config::model::{Config, Origin, Secret};
use crate::config::tree::Table;

/// Where those are to be put that stand in the configuration itself.
const DIRECTORY: &str = "/etc/vrrp-user/keys";

/// Keys that stand in the configuration itself, each once, in the order of the file.
pub(super) fn inline(config: &Config) -> Vec<&Secret> {
    let mut found: Vec<&Secret> = Vec::new();
    let keys = config.routers.iter().filter_map(|router| router.hmac.as_ref());
    for key in keys.flat_map(|hmac| &hmac.keys) {
        if *key.secret.origin() == Origin::Inline && !found.contains(&&key.secret) {
            found.push(&key.secret);
        }
    }
    found
}

/// The file of the key at a place.
fn file(place: usize) -> String {
    format!("{DIRECTORY}/{}", place + 1)
}

/// Names files where there are keys.
pub(super) fn put_into_files(root: &mut Table, config: &Config) {
    let secrets = inline(config);
    let routers = root.get_mut("router").and_then(Value::as_array_mut);
    for (table, router) in routers.into_iter().flatten().zip(&config.routers) {
        let keys = table.pointer_mut("/hmac/keys").and_then(Value::as_array_mut);
        let known = router.hmac.iter().flat_map(|hmac| &hmac.keys);
        for (key, known) in keys.into_iter().flatten().zip(known) {
            let place = secrets.iter().position(|secret| **secret == known.secret);
            if let (Value::Object(key), Some(place)) = (key, place)
                && key.remove("hex").is_some()
            {
                key.insert("file".to_owned(), file(place).into());
            }
        }
    }
}

/// Comments that say which key belongs into which file.
pub(super) fn instructions(config: &Config) -> String {
    let mut text = "# Keys are not written here. Put each into its file, as it stands behind `key N`, for the user of the\n\
                    # daemon alone (umask 077):\n"
        .to_owned();
    for (place, secret) in inline(config).into_iter().enumerate() {
        let owner = config.routers.iter().find_map(|router| {
            let keys = router.hmac.iter().flat_map(|hmac| &hmac.keys);
            let key = keys.into_iter().find(|key| key.secret == *secret)?;
            Some((&router.name, router.line, key.id))
        });
        if let Some((name, line, id)) = owner {
            text += &format!("# {}: key {id} of {name} (line {line})\n", file(place));
        }
    }
    text + "\n"
}
