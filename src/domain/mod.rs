//! The rules: pure types and functions that know no SQL, no HTTP, no clock, no environment and no terminal.

pub(crate) mod completeness;
mod counted;
pub(crate) mod credential;
pub(crate) mod cron;
pub(crate) mod difference;
pub(crate) mod duration;
pub(crate) mod entity;
pub(crate) mod expression;
pub(crate) mod filter;
pub(crate) mod json;
pub(crate) mod manifest;
pub(crate) mod mapping;
pub(crate) mod moment;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod organization;
pub(crate) mod path;
pub(crate) mod person;
pub(crate) mod preset;
pub(crate) mod retention;
pub(crate) mod role;
pub(crate) mod schedule;
pub(crate) mod secretlike;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod uln;
