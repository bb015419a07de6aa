//! The database: the only room that names rusqlite. One file per table; this one opens, migrates and transacts.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod contents;
pub(crate) mod credentials;
pub(crate) mod keys;
pub(crate) mod organizations;
pub(crate) mod overrides;
pub(crate) mod presets;
pub(crate) mod providers;
pub(crate) mod quarantine;
pub(crate) mod records;
pub(crate) mod restore;
pub(crate) mod runs;
pub(crate) mod state;
pub(crate) mod tokens;

mod digests;
mod failure;
mod maintenance;
mod migrate;
mod open;
mod text;
mod unfinished;

use std::path::{Path, PathBuf};

use anyhow::Result;
pub(crate) use rusqlite::Connection;
use rusqlite::TransactionBehavior;

pub(crate) use failure::{explained, user_error};
pub(crate) use migrate::{Upgraded, newest_schema, steps_from};
pub(crate) use open::{create, look, open};
pub(crate) use text::{hash, stamp};
pub(crate) use unfinished::Replace;

use crate::mutants;

/// An open database with its schema up to date.
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    database_id: String,
    upgraded: Option<Upgraded>,
    /// Keeps the database from being migrated or restored meanwhile.
    _hold: maintenance::Hold,
}

/// Whether a change is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    /// The change runs in full and is then rolled back: `--dry-run`.
    DryRun,
}

impl Store {
    /// Returns the connection, for reading.
    pub(crate) fn read(&self) -> &Connection {
        &self.connection
    }

    /// Returns where the database is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the id that sealed values are bound to.
    pub(crate) fn database_id(&self) -> &str {
        &self.database_id
    }

    /// Returns what opening it did to its schema, if anything.
    pub(crate) fn upgraded(&self) -> Option<&Upgraded> {
        self.upgraded.as_ref()
    }

    /// Returns the number of its schema: the newest, unless it was opened as it is.
    pub(crate) fn schema(&self) -> Result<i64> {
        migrate::schema_version(&self.connection, &self.path)
    }

    /// Returns how changes get into its file.
    pub(crate) fn journal_mode(&self) -> Result<String> {
        Ok(self.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?)
    }

    /// Returns whether what is deleted is overwritten, and not just unlinked.
    pub(crate) fn overwrites_deleted(&self) -> Result<bool> {
        Ok(self.connection.query_row("PRAGMA secure_delete", [], |row| row.get::<_, i64>(0))? == 1)
    }

    /// Returns whether the file, or its folder, cannot be written by this user.
    pub(crate) fn is_read_only(&self) -> Result<bool> {
        Ok(self.connection.is_readonly("main")?)
    }

    /// Runs a change in one transaction; an error rolls it back. It takes the write lock at once, so that it waits for
    /// another writer instead of failing half-way (a deferred transaction that upgrades never waits).
    pub(crate) fn change<T>(&mut self, keep: Keep, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let deferred = mutants::on("deferred-begin");
        let behavior = if deferred { TransactionBehavior::Deferred } else { TransactionBehavior::Immediate };
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let value = change(&transaction)?;
        digests::renew(&transaction)?;
        match keep {
            Keep::Yes => transaction.commit()?,
            Keep::DryRun => transaction.rollback()?,
        }
        Ok(value)
    }

    /// Empties the write-ahead log into the database, so that no deleted credential stays in it.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        mutants::point("before checkpoint");
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        mutants::point("checkpointed");
        Ok(())
    }

    /// Chooses how soon a commit is safe from a power loss: pages of a sync may lose the last ones, together with
    /// their progress, and are read again; all else must not.
    pub(crate) fn relax_durability(&self) -> Result<()> {
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }
}

/// Returns how much waits in the write-ahead log of a database, which is not opened for that: closing it would drop SQLite's
/// locks.
pub(crate) fn log_bytes(database: &Path) -> u64 {
    open::beside(database, "-wal").metadata().map(|metadata| metadata.len()).unwrap_or_default()
}

/// Returns the version of SQLite in this program.
pub(crate) fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Returns a value of `meta`.
pub(crate) fn meta(connection: &Connection, key: &str) -> Result<Option<String>> {
    use rusqlite::OptionalExtension as _;
    Ok(connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?)
}

/// Sets a value of `meta`.
pub(crate) fn set_meta(connection: &Connection, key: &str, value: &str) -> Result<()> {
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, value],
    )?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a database in memory with the real schema.
    pub(crate) fn memory() -> Store {
        open::memory().unwrap()
    }

    /// Returns one that says it is at a path, for what is kept beside a database.
    pub(crate) fn memory_at(path: &Path) -> Store {
        Store { path: path.to_owned(), ..memory() }
    }

    #[test]
    fn a_failed_change_leaves_nothing_and_a_dry_run_neither() {
        let mut store = memory();
        let failed: Result<()> = store.change(Keep::Yes, |tx| {
            set_meta(tx, "a", "1")?;
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        store.change(Keep::DryRun, |tx| set_meta(tx, "a", "2")).unwrap();
        assert_eq!(meta(store.read(), "a").unwrap(), None);
        store.change(Keep::Yes, |tx| set_meta(tx, "a", "3")).unwrap();
        assert_eq!(meta(store.read(), "a").unwrap().as_deref(), Some("3"));
    }
}
