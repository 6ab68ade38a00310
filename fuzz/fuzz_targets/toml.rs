//! Any text as a configuration in TOML: reading ends, and what is usable is the same once it was written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vrrp_user::config::{convert, load_toml};

fuzz_target!(|text: &str| {
    if let Ok(config) = load_toml(text)
        && config.routers.len() < 1_000
    {
        let text = convert::toml(&config);
        match load_toml(&text) {
            Ok(read) => assert_eq!(read.routers.len(), config.routers.len()),
            Err(errors) => panic!("{text}\n{errors:#?}"),
        }
    }
});
