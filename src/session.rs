//! What one invocation of the program was given: where things are, who calls, and how to print.

use std::path::PathBuf;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::cli::Globals;
use crate::config::{self, Environment, KeyFlags, KeySource, Paths};
use crate::output::{Output, OutputOptions};
use crate::store::{self, Keep, Store};
use crate::vault::Vault;

/// One invocation.
pub(crate) struct Session {
    pub(crate) output: Output,
    pub(crate) environment: Environment,
    db_flag: Option<PathBuf>,
    pub(crate) key_flags: KeyFlags,
    /// Whether changes are kept: not under `--dry-run`.
    pub(crate) keep: Keep,
    /// Who makes changes, for the audit.
    pub(crate) actor: String,
    /// When the invocation began.
    pub(crate) now: DateTime<Utc>,
}

impl Session {
    /// Makes sense of the global flags and the environment.
    pub(crate) fn new(globals: Globals) -> Result<Self> {
        let environment = Environment::of_process();
        let now = config::now();
        let output = Output::new(OutputOptions {
            format: globals.format(),
            fields: globals.fields,
            quiet: globals.quiet,
            verbose: globals.verbose,
            color: globals.color,
            no_input: globals.no_input,
            assume_yes: globals.yes,
            now,
        });
        Ok(Session {
            output,
            db_flag: globals.db,
            key_flags: KeyFlags { key_file: globals.key_file, key_command: globals.key_command },
            keep: if globals.dry_run { Keep::DryRun } else { Keep::Yes },
            actor: config::actor(&environment),
            environment,
            now,
        })
    }

    /// Returns where things are. Looked for only when needed: `help` and `version` work where no folder is known.
    pub(crate) fn paths(&self) -> Result<Paths> {
        Ok(Paths::resolve(self.db_flag.clone(), &self.environment)?)
    }

    /// Opens the database.
    pub(crate) fn store(&self) -> Result<Store> {
        store::open(&self.paths()?.db)
    }

    /// Reads the master key and proves it against the database.
    pub(crate) fn vault(&self, store: &Store) -> Result<Vault> {
        let key = KeySource::resolve(&self.key_flags, &self.environment)?.load(&self.environment)?;
        Vault::unlock(store, key)
    }

    /// Says what a dry run means, behind the change it showed.
    pub(crate) fn note_dry_run(&self) {
        if self.keep == Keep::DryRun {
            self.output.note("dry run: nothing was changed");
        }
    }
}
