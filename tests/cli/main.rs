//! Every command through the real binary, as a person or a script calls it: stdout, stderr and exit code.

mod credential;
mod help;
mod init;
mod log;
mod provider;
mod record;
mod seed;
mod status;
mod support;
mod sync;

#[path = "../../examples/sandbox/sandbox/mod.rs"]
mod sandbox;
