//! The entry point of the `skillsctl` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    skillsctl::main()
}
