//! `sync` through the binary against the sandbox: the scenarios of the workflow, and everything that can go wrong.

mod deletes;
mod faults;
mod interruptions;
mod lab;
mod rules;
mod scenarios;
