//! The database: the only room that names rusqlite. One file per table; this one opens, migrates and transacts.

pub(crate) mod anchor;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod chain;
pub(crate) mod check;
pub(crate) mod contents;
pub(crate) mod credentials;
pub(crate) mod deposits;
pub(crate) mod erasures;
pub(crate) mod former;
pub(crate) mod grants;
pub(crate) mod keys;
pub(crate) mod listing;
pub(crate) mod organizations;
pub(crate) mod overrides;
pub(crate) mod persons;
pub(crate) mod presets;
pub(crate) mod providers;
pub(crate) mod purge;
pub(crate) mod quarantine;
pub(crate) mod records;
pub(crate) mod requests;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod sealing_keys;
pub(crate) mod state;
pub(crate) mod tokens;

mod digests;
mod failure;
mod maintenance;
mod migrate;
mod open;
mod tenant;
mod text;
mod unfinished;

use std::path::{Path, PathBuf};

use anchor::{Anchor, Seen};
use anyhow::Result;
pub(crate) use rusqlite::Connection;
use rusqlite::TransactionBehavior;

pub(crate) use failure::{explained, user_error};
pub(crate) use migrate::{Upgraded, newest_schema, steps_from};
pub(crate) use open::{alone, brought_up_to_date, create, is_private, look, open, open_for_roles};
pub(crate) use tenant::{May, open_for_tenant};
pub(crate) use text::{hash, stamp};
pub(crate) use unfinished::Replace;

use crate::mutants;

/// What SQLite calls a connection whose commits are safe from a power loss at once.
const FULL: i64 = 2;

/// An open database with its schema up to date.
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    database_id: String,
    upgraded: Option<Upgraded>,
    /// Where the last change seen is noted; `None` where it is not, or not to be believed.
    anchor: Option<Anchor>,
    /// Whether a change of settings must leave a row in the audit; tests beside the code put what they need without.
    audited: bool,
    /// Keeps the database from being migrated, restored or given other keys meanwhile.
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

    /// Compares the database with the last change that was seen of it on this host, and notes its changes from here on.
    /// Returns how it stands; one that is not what it was is left as it is noted.
    pub(crate) fn anchored_in(&mut self, folder: &Path) -> Result<Seen> {
        let anchor = Anchor::of(folder, &self.database_id);
        let seen = anchor.compare(&self.connection)?;
        if let Seen::Nothing | Seen::Holds(_) = seen {
            if let Some(head) = audit::head(&self.connection)?
                && !matches!(&seen, Seen::Holds(noted) if *noted == head)
            {
                anchor.advance(&head).ok();
            }
            self.anchor = Some(anchor);
        }
        Ok(seen)
    }

    /// Runs a change in one transaction; an error rolls it back. It takes the write lock at once, so that it waits for
    /// another writer instead of failing half-way (a deferred transaction that upgrades never waits).
    ///
    /// One that writes settings or sealed values must leave a row in the audit, or it fails: that is told by the marks of
    /// the rows it wrote. What a sync reads is told by its run instead.
    pub(crate) fn change<T>(&mut self, keep: Keep, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let deferred = mutants::on("deferred-begin");
        let behavior = if deferred { TransactionBehavior::Deferred } else { TransactionBehavior::Immediate };
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        // What another program wrote is not this change's.
        digests::renew(&transaction)?;
        let before = audit::head(&transaction)?;
        let value = change(&transaction)?;
        let wrote_settings = digests::renew(&transaction)?;
        let after = audit::head(&transaction)?;
        let noted = after != before;
        if wrote_settings && !noted && self.audited && !mutants::on("unaudited") {
            anyhow::bail!("a change of settings that leaves no row in the audit was not kept");
        }
        if keep == Keep::DryRun {
            transaction.rollback()?;
            return Ok(value);
        }
        let noted = after.filter(|_| noted);
        if mutants::on("anchor-first") {
            self.anchor.iter().zip(&noted).for_each(|(anchor, head)| _ = anchor.advance(head));
        }
        if noted.is_some() {
            mutants::point("change made");
        }
        transaction.commit()?;
        if let (Some(anchor), Some(head)) = (&self.anchor, &noted) {
            mutants::point("change committed");
            // The change is made: that it could not be noted must not make it a failure.
            self.settle().and_then(|()| anchor.advance(head)).ok();
            mutants::point("change noted");
        }
        Ok(value)
    }

    /// Makes what is committed safe from a power loss where a sync has relaxed that: what is noted elsewhere must not be lost.
    fn settle(&self) -> Result<()> {
        let synchronous: i64 = self.connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        if synchronous < FULL {
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// Empties the write-ahead log into the database, so that no deleted credential stays in it.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        mutants::point("before checkpoint");
        self.empty_log()?;
        mutants::point("checkpointed");
        Ok(())
    }

    /// Returns whether the write-ahead log is empty now; others who read may keep it from being so.
    fn empty_log(&self) -> Result<bool> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))?)
    }

    /// Writes the whole file anew, so that nothing that was deleted stays in it or in the write-ahead log. To overwrite what
    /// is deleted is not enough: rows that were moved between pages as tables grew leave copies behind, in about one of a
    /// hundred cases. Returns false where others kept it from being done to the end.
    pub(crate) fn rewrite(&self) -> Result<bool> {
        mutants::point("before rewrite");
        if mutants::on("no-rewrite") {
            return self.empty_log();
        }
        match self.connection.execute_batch("VACUUM") {
            Err(error) if is_busy(&error) => return Ok(false),
            done => done?,
        }
        self.empty_log()
    }

    /// Chooses how soon a commit is safe from a power loss: pages of a sync may lose the last ones, together with
    /// their progress, and are read again; all else must not.
    pub(crate) fn relax_durability(&self) -> Result<()> {
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
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
    fn a_change_of_settings_that_leaves_no_row_in_the_audit_is_refused() {
        let mut store = Store { audited: true, ..memory() };
        let at = chrono::DateTime::UNIX_EPOCH;
        let entry = audit::Entry { actor: "ann", action: "x", subject: "y", before: None, after: None };
        let mut change = |sql: &'static str, told: bool| {
            store.change(Keep::Yes, |tx| {
                tx.execute_batch(sql)?;
                if told { audit::insert(tx, at, &entry) } else { Ok(()) }
            })
        };
        let settings = [
            "INSERT INTO meta (key, value) VALUES ('a', '1')",
            "UPDATE meta SET value = '2' WHERE key = 'a'",
            "DELETE FROM meta WHERE key = 'a'",
        ];
        for sql in settings {
            let error = change(sql, false).unwrap_err().to_string();
            assert!(error.contains("no row in the audit"), "{sql}: {error}");
            change(sql, true).unwrap();
        }
        change("DELETE FROM learners", false).unwrap();
        // What another program wrote is not this change's.
        store.read().execute_batch(settings[0]).unwrap();
        store.change(Keep::Yes, |tx| Ok(tx.execute_batch("DELETE FROM learners")?)).unwrap();
        assert_eq!(meta(store.read(), "a").unwrap().as_deref(), Some("1"));
        assert_eq!(audit::head(store.read()).unwrap().map(|head| head.id), Some(3));
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
