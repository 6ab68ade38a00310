//! What a test says that cannot be tried here.

use std::io::Write;

/// How the line begins by which `cargo xtask test` counts it as skipped.
pub const SKIP: &str = "SKIP  ";

/// Says that the test of this thread lacks something that it needs. It has to return then; its harness knows only tests
/// that pass and fail.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    // Not by println, which is kept back where a test passes. Others may have begun a line.
    let line = format!("\n{SKIP}{}: {why}\n", thread.name().unwrap_or("a test"));
    // Nobody is left to tell.
    let _ = std::io::stdout().write_all(line.as_bytes());
}
