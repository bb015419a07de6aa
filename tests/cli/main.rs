//! Every command through the real binary, as a person or a script calls it: stdout, stderr and exit code.

#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a helper that fails fails its test; one file's helpers are the others' library"
)]

mod audit;
mod config;
mod credential;
mod db;
mod defaults;
mod doctor;
mod editor;
mod erase;
mod forms;
mod help;
mod init;
mod key;
mod link;
mod log;
mod org;
mod overrides;
mod permissions;
mod powerbi;
mod preset;
mod provider;
mod provisioning;
mod purge;
mod quarantine;
mod record;
mod retention;
mod roles;
mod safety;
mod schema;
mod seed;
mod status;
mod support;
mod sync;
mod upgrade;
mod wizard;

#[path = "../../examples/sandbox/sandbox/mod.rs"]
mod sandbox;
