//! The command line: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    vrrp_user::main()
}
