//! The engine: `resolve -> fetch -> transform -> filter -> upsert -> log`, one file a stage.
//!
//! `due` says what is to run, `lock` keeps two runs of one pair apart, `run` takes one pair through the stages,
//! `fleet` takes many organizations through it side by side.

pub(crate) mod due;
mod fetch;
mod filter;
mod fleet;
pub(crate) mod lock;
mod log;
mod resolve;
mod run;
mod sweep;
mod transform;
mod upsert;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_large;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use chrono::{DateTime, Utc};

pub(crate) use fleet::{Report, RunReport, sync};
pub(crate) use resolve::connect;

use crate::connector::Limits;
use crate::http::Client;
use crate::lookup::Library;
use crate::store::runs::{Tally, Trigger};
use crate::store::{Keep, Store};
use crate::vault::Vault;

/// What all runs of one invocation share.
pub(crate) struct Engine<'a> {
    /// The one writer; held for the length of a transaction only.
    store: Mutex<Store>,
    library: Library,
    vault: &'a Vault,
    client: Client,
    limits: Limits,
    /// Set from outside to end soon: the page in hand is finished or rolled back.
    stop: &'a AtomicBool,
    options: Options,
    watch: &'a (dyn Fn(&Event<'_>) + Sync),
}

/// How to sync.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) trigger: Trigger,
    /// This stream only.
    pub(crate) stream: Option<String>,
    /// Read everything again, not only what changed.
    pub(crate) full: bool,
    /// A dry run calls the provider and compares, but keeps nothing.
    pub(crate) keep: Keep,
    /// How many organizations are worked on at once.
    pub(crate) jobs: usize,
    /// Whether more rows may vanish at once than the brake allows.
    pub(crate) allow_mass_delete: bool,
    /// Who runs it, for what is recorded.
    pub(crate) actor: String,
}

/// What is going on, for whoever draws progress.
pub(crate) enum Event<'e> {
    Started { organization: &'e str, provider: &'e str },
    Page { organization: &'e str, provider: &'e str, stream: &'e str, tally: &'e Tally },
    Finished { organization: &'e str, provider: &'e str },
}

impl<'a> Engine<'a> {
    pub(crate) fn new(
        store: Store,
        vault: &'a Vault,
        stop: &'a AtomicBool,
        options: Options,
        watch: &'a (dyn Fn(&Event<'_>) + Sync),
    ) -> Result<Self> {
        let library = Library::read(store.read())?;
        let folder = store.path().parent().unwrap_or(Path::new("")).to_owned();
        Ok(Engine {
            store: Mutex::new(store),
            library,
            vault,
            client: Client::new().spooling_in(&folder),
            limits: Limits::default(),
            stop,
            options,
            watch,
        })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> DateTime<Utc> {
        crate::config::now()
    }
}
