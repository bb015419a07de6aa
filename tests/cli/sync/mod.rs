//! `sync` through the binary against the sandbox: the scenarios of the workflow, and everything that can go wrong.

mod lab;
mod scenarios;
