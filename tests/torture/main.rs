//! Syncs that are killed, starved and lied to: nothing may be lost, nothing doubled, and each fault put in must be noticed.
//!
//! `chance` draws, `harbour` is the service with its ledger, `world` the machine, `check` the invariants, `trial` one
//! disturbed sync; the other files are the tests. CONTRIBUTING.md says how to run the long tier.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a helper that fails fails its test; figures are printed; one file's helpers are the others' library"
)]

mod chance;
mod check;
mod clock;
mod damage;
mod disk;
mod harbour;
mod keys;
mod kills;
mod locked;
mod mutants;
mod power;
mod trial;
mod upgrade;
mod world;
