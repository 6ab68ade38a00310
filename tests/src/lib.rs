//! Namespace labs for the privileged tests and for `cargo xtask run`.
