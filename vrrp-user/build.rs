//! Embeds the BPF object, so that `vrrp-user` is one file to copy.
//!
//! `cargo xtask build` makes the object and names it in `VRRP_EBPF_OBJECT`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=VRRP_EBPF_OBJECT");
    // `cargo xtask build --release` links with it.
    println!("cargo::rerun-if-changed=often.ld");
    let object = std::env::var_os("VRRP_EBPF_OBJECT").map_or_else(default_object, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    if let Ok(bytes) = std::fs::read(&object) {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        println!("cargo::rustc-env=VRRP_EBPF_OBJECT={}", object.display());
        println!("cargo::rustc-env=VRRP_EBPF_DIGEST={:x}", hasher.finish());
    } else {
        println!(
            "cargo::error=no BPF object at {}: run `cargo xtask build`, which makes it first",
            object.display()
        );
    }
}

/// Where `cargo xtask build` puts the object.
fn default_object() -> PathBuf {
    // Asked at run time: the compiled script may outlive a move of the source tree.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    PathBuf::from(manifest).join("../target/bpf/vrrp-ebpf")
}
