//! Brings the schema up to date: all missing migrations in one transaction, with a backup of what was there before.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use refinery::{Migration, Runner};
use rusqlite::Connection;

use super::digests::Differing;
use super::{audit, backup, digests, meta, set_meta, stamp};
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::secrets::hex;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// What opening a database did to its schema.
#[derive(Debug, Clone)]
pub(crate) struct Upgraded {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The database as it was before.
    pub(crate) backup: PathBuf,
}

/// A migration that opening a database would run.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) schema: i64,
    pub(crate) name: String,
}

/// Returns all migrations, oldest first.
fn migrations() -> Vec<Migration> {
    let runner: Runner = embedded::migrations::runner();
    let mut migrations = runner.get_migrations().clone();
    migrations.sort_by_key(Migration::version);
    migrations
}

/// Returns the number of the newest migration there is.
pub(crate) fn newest_schema() -> i64 {
    migrations().last().map_or(0, |migration| i64::from(migration.version()))
}

/// Returns the migrations that a database of this schema has yet to see, oldest first.
pub(crate) fn steps_from(schema: i64) -> Vec<Step> {
    let step = |migration: Migration| Step { schema: migration.version().into(), name: migration.name().to_owned() };
    migrations().into_iter().map(step).filter(|step| step.schema > schema).collect()
}

/// Returns whether migrations are missing; a database that is newer than this program is refused.
pub(super) fn is_older(connection: &Connection, path: &Path) -> Result<bool> {
    let (present, newest) = (schema_version(connection, path)?, newest_schema());
    if present > newest {
        return Err(UserError::new(
            Exit::Database,
            "schema_too_new",
            format!("the database `{}` has schema {present}, this program knows up to {newest}", path.display()),
        )
        .hint("use the newer version of skillsctl that wrote it; nothing was changed")
        .into());
    }
    Ok(present < newest)
}

/// Returns the number of the newest migration applied, 0 for an empty file.
pub(super) fn schema_version(connection: &Connection, path: &Path) -> Result<i64> {
    let has_history: bool = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'",
        [],
        |row| row.get(0),
    )?;
    if !has_history {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables > 0 {
            return Err(UserError::new(
                Exit::Database,
                "database_foreign",
                format!("`{}` is a database, but not one of skillsctl", path.display()),
            )
            .hint("give the path of the right one with --db; nothing was changed")
            .into());
        }
        return Ok(0);
    }
    Ok(connection.query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))?)
}

/// Fails where the schema cannot be brought up to date, as the database cannot be written.
pub(super) fn writable(connection: &Connection, path: &Path) -> Result<()> {
    if !connection.is_readonly("main")? {
        return Ok(());
    }
    let message = format!("the schema of `{}` must be brought up to date, and it cannot be written", path.display());
    Err(UserError::new(Exit::Database, "database_read_only", message)
        .hint("run `skillsctl db migrate` as a user who may write the database and its folder")
        .into())
}

/// Brings a database up to date that nobody else uses. Returns what was done, if anything: a new database has no past.
pub(super) fn upgrade(
    connection: &mut Connection,
    path: &Path,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<Option<Upgraded>> {
    // Somebody else may have been first.
    if !is_older(connection, path)? {
        return Ok(None);
    }
    let from = schema_version(connection, path)?;
    if from == 0 {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        run(connection, path, now)?;
        return Ok(None);
    }
    let backup = backup::before_upgrade(connection, path, from, now)
        .with_context(|| format!("backing up `{}` before its schema is brought up to date", path.display()))?;
    let to = newest_schema();
    run_to(connection, path, now, to, |tx| {
        let subject = format!("schema {from} to {to}");
        audit::insert(
            tx,
            now,
            &audit::Entry { actor, action: "db migrate", subject: &subject, before: None, after: None },
        )
    })?;
    Ok(Some(Upgraded { from, to, backup }))
}

/// Runs the migrations that are missing, in one transaction: a process that is killed leaves all of it or nothing.
pub(super) fn run(connection: &mut Connection, path: &Path, now: DateTime<Utc>) -> Result<()> {
    run_to(connection, path, now, newest_schema(), |_| Ok(()))
}

fn run_to(
    connection: &mut Connection,
    path: &Path,
    now: DateTime<Utc>,
    last: i64,
    note: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    mutants::point("before migrations");
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));",
    )?;
    let damaged = digests::differing(&transaction)?;
    let present = schema_version(&transaction, path)?;
    for migration in migrations().into_iter().filter(|migration| i64::from(migration.version()) <= last) {
        if i64::from(migration.version()) <= present {
            same_as_applied(&transaction, path, &migration)?;
        } else {
            apply(&transaction, &migration, now)
                .with_context(|| format!("bringing the schema of `{}` to {}", path.display(), migration.version()))?;
        }
    }
    finish(&transaction, &damaged)?;
    note(&transaction)?;
    transaction.commit()?;
    mutants::point("migrated");
    Ok(())
}

/// Does what every database needs behind its migrations.
fn finish(tx: &Connection, damaged: &[Differing]) -> Result<()> {
    if meta(tx, "database_id")?.is_none() {
        let mut id = [0_u8; 16];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut id)
            .map_err(|_| anyhow::anyhow!("no randomness"))?;
        set_meta(tx, "database_id", &hex::encode(&id))?;
    }
    audit::chain_older(tx)?;
    digests::renew_all(tx, damaged)
}

fn apply(tx: &Connection, migration: &Migration, now: DateTime<Utc>) -> Result<()> {
    tx.execute_batch(migration.sql().context("a migration that is not applied has its SQL")?)?;
    tx.execute(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (?1, ?2, ?3, ?4)",
        (migration.version(), migration.name(), stamp(now), migration.checksum().to_string()),
    )?;
    Ok(())
}

/// Fails unless a migration that was applied is the one of this program.
fn same_as_applied(tx: &Connection, path: &Path, migration: &Migration) -> Result<()> {
    use rusqlite::OptionalExtension as _;
    let sql = "SELECT checksum FROM refinery_schema_history WHERE version = ?1";
    let applied: Option<String> = tx.query_row(sql, [migration.version()], |row| row.get(0)).optional()?;
    if applied == Some(migration.checksum().to_string()) {
        return Ok(());
    }
    let message = format!("migration {} of `{}` is not the one of this program", migration.version(), path.display());
    Err(UserError::new(Exit::Database, "schema_diverged", message)
        .hint("use the version of skillsctl that wrote the database; nothing was changed")
        .into())
}

/// Returns an empty database in memory with this schema, to compare another one with.
pub(super) fn pattern(schema: i64) -> Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    run_to(&mut connection, Path::new(":memory:"), DateTime::UNIX_EPOCH, schema, |_| Ok(()))?;
    Ok(connection)
}
