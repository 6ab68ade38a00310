//! Any text as a keepalived.conf: reading ends, and what is usable is the same once it was written as TOML.
#![no_main]

use std::cell::OnceCell;
use std::fs;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use vrrp_user::config::{Options, convert, load, load_toml};

thread_local! {
    static DIRECTORY: OnceCell<TempDir> = const { OnceCell::new() };
}

fuzz_target!(|text: &[u8]| {
    // What it includes is the business of the file system.
    if text.windows(7).any(|word| word == b"include") {
        return;
    }
    DIRECTORY.with(|directory| {
        let directory = directory.get_or_init(|| tempfile::tempdir_in("/dev/shm").expect("a directory"));
        let path = directory.path().join("k.conf");
        fs::write(&path, text).expect("a file");
        let options = Options { config_id: Some("here".to_owned()), instance: None };
        if let Ok(loaded) = load(&path, &options)
            && loaded.config.routers.len() < 100
        {
            let text = convert::toml(&loaded.config);
            if let Err(errors) = load_toml(&text) {
                panic!("{text}\n{errors:#?}");
            }
        }
    });
});
