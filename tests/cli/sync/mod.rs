//! `sync` through the binary against the sandbox: the scenarios of the workflow, and everything that can go wrong.

#![expect(clippy::disallowed_methods, reason = "the sandbox stamps its records with the true time")]

mod database;
mod deletes;
mod faults;
mod interruptions;
mod lab;
mod rules;
mod scenarios;
