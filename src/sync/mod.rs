//! The engine: `resolve -> fetch -> transform -> filter -> upsert -> log`, one file a stage.
//!
//! - What runs when: `due` says what is to run, `fleet` takes many organizations through it side by side, `turn` says which
//!   of them works, and `lock` keeps two runs of one pair apart.
//! - One run of a pair is `run`, and the reads of one of its streams are `stream`. One read, of everything or of a window of
//!   changes, is `read`, and what follows its end is `finish`. `job` has the provider prepare a large one, `details` asks again
//!   for what thin records lack, `remarks` counts what is odd, and `tokens` keeps the credentials and the token; `fallback` says
//!   when a run may use those that were replaced.
//! - What is gone: `sweep` marks it, and `view` says when it may only be out of sight. `erased` keeps persons out who were
//!   erased, and `retention` removes what is older than it may be.
//! - Who is who: `former` has rows of a provider that was left taken over by the same people at the one of now.
//! - `replay` stores records out of quarantine, without the provider.

mod details;
pub(crate) mod due;
mod erased;
mod fallback;
mod fetch;
mod filter;
mod finish;
mod fleet;
mod former;
mod job;
pub(crate) mod lock;
mod log;
mod read;
mod remarks;
pub(crate) mod replay;
mod resolve;
pub(crate) mod retention;
mod run;
mod stream;
mod sweep;
mod tokens;
mod transform;
mod turn;
mod upsert;
mod view;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, Utc};

pub(crate) use fleet::{Report, RunReport, sync};
pub(crate) use tokens::Tokens;

use crate::connector::Limits;
use crate::domain::moment::Range;
use crate::error::UserError;
use crate::http::Client;
use crate::lookup::Library;
use crate::store::runs::{Tally, Trigger};
use crate::store::{Connection, Keep, Store, user_error};
use crate::vault::Vault;

/// How long a request that is under way is still waited for once time is over.
const GRACE: Duration = Duration::from_secs(5);

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
    /// Why the database can no longer be used, once it cannot.
    broken: OnceLock<UserError>,
    /// Set once all runs are to end, for whichever reason; what connectors look at.
    halt: AtomicBool,
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
    /// Read what changed in this time once more, and nothing else.
    pub(crate) backfill: Option<Range>,
    /// How many organizations are worked on at once.
    pub(crate) jobs: usize,
    /// When no run begins any more, and those under way end at their next page.
    pub(crate) until: Option<Instant>,
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
        let limits = Limits::beside(store.path(), vault.names());
        let folder = store.path().parent().unwrap_or(Path::new("")).to_owned();
        Ok(Engine {
            store: Mutex::new(store),
            library,
            vault,
            client: Client::new().until(options.until.map(|until| until + GRACE)).spooling_in(&folder),
            limits,
            stop,
            broken: OnceLock::new(),
            halt: AtomicBool::new(false),
            options,
            watch,
        })
    }

    /// Returns the database, once all runs are over.
    pub(crate) fn into_store(self) -> Store {
        self.store.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a change in the one writer. Once the database has failed for good no other run waits to see it fail again.
    fn change<T>(&self, keep: Keep, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut store = self.store();
        if let Some(error) = self.broken.get() {
            return Err(error.clone().into());
        }
        store.change(keep, change).inspect_err(|error| {
            if let Some(error) = user_error(error) {
                self.broken.get_or_init(|| error);
            }
        })
    }

    /// Returns whether somebody has asked for the end.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns whether no run is to begin, nor to go on beyond its page.
    fn halted(&self) -> bool {
        self.stopped() || self.broken.get().is_some() || self.options.until.is_some_and(|until| until <= Instant::now())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> DateTime<Utc> {
        crate::config::now()
    }
}
