//! Every command through the real binary, as a person or a script calls it: stdout, stderr and exit code.

mod config;
mod defaults;
mod editor;
mod init;
mod org;
mod overrides;
mod powerbi;
mod preset;
mod schema;
mod support;
mod wizard;
