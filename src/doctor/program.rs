//! The program and the process it runs in.

use anyhow::Result;
use rustix::process::{DumpableBehavior, Resource};

use super::{Ground, Said, fail, ok, warn};
use crate::error::Exit;
use crate::store;

/// Whether this is a program to work with, and not one to test.
pub(super) fn build(_ground: &Ground<'_>) -> Result<Vec<Said>> {
    let version = env!("CARGO_PKG_VERSION");
    if cfg!(all(feature = "mutants", not(debug_assertions))) {
        let message = format!("skillsctl {version} was built with faults for tests in it");
        return Ok(vec![fail(Exit::Invalid, message, "install one that was built without the feature `mutants`")]);
    }
    if cfg!(debug_assertions) {
        let message = format!("skillsctl {version} is a debug build: slow, and its clock can be set by a variable");
        return Ok(vec![warn(message, "install a release build: `cargo install --locked --path .`")]);
    }
    Ok(vec![ok(format!("skillsctl {version}, SQLite {}", store::sqlite_version()))])
}

/// Whether the process is closed to others of the same user, and who it runs as.
pub(super) fn process(_ground: &Ground<'_>) -> Result<Vec<Said>> {
    let mut said = Vec::new();
    let no_cores = rustix::process::getrlimit(Resource::Core).current == Some(0);
    let closed = rustix::process::dumpable_behavior().is_ok_and(|behavior| behavior == DumpableBehavior::NotDumpable);
    if no_cores && closed {
        said.push(ok("no core dumps, and closed to other processes of the same user"));
    } else {
        let hint = "whatever starts it takes this away: look at its limits and its sandbox";
        said.push(warn("core dumps or the memory of the process are open to others of the same user", hint));
    }
    if rustix::process::geteuid().is_root() {
        let hint = "give it a user of its own, as in docs/systemd: root may read and write past every mode";
        said.push(warn("it runs as root", hint));
    }
    Ok(said)
}
