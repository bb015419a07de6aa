//! `sync` through the binary against the sandbox: the scenarios of the workflow, and everything that can go wrong.

#![expect(clippy::disallowed_methods, reason = "the sandbox stamps its records with the true time")]

mod backfill;
mod budgets;
mod bulk;
mod crowd;
mod database;
mod deletes;
mod demo;
mod erasures;
mod faults;
mod fleet;
mod interruptions;
mod key_managers;
mod lab;
mod locks;
mod manifests;
mod network;
mod requests;
mod rotation;
mod rules;
mod scenarios;
mod scope;
mod search;
mod secrets_sweep;
mod tls;
mod tokens;
mod traps;
