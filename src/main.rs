//! The entry point of the `skillsctl` binary.

fn main() {}
