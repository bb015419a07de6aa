//! `audit_log`: who changed what and when, written in the transaction of the change, each row chained to the one before it.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, named_params};

use super::chain::{self, Finding, Row, Walk};
use super::text::{self, hash, stamp};
use super::{meta, mutants};

/// One change. `before` and `after` are kept as hashes only.
pub(crate) struct Entry<'a> {
    pub(crate) actor: &'a str,
    /// Noun and verb, like `org create`.
    pub(crate) action: &'a str,
    /// What was changed, like `acme` or `acme/aptem/api_key`.
    pub(crate) subject: &'a str,
    pub(crate) before: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
}

/// The newest row there is: how many there are, and what they come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: i64,
    pub(crate) hash: String,
}

/// Returns when an action was last recorded, and of what.
pub(crate) fn last(connection: &Connection, action: &str) -> Result<Option<(DateTime<Utc>, String)>> {
    let sql = "SELECT at, subject FROM audit_log WHERE action = ?1 ORDER BY id DESC LIMIT 1";
    Ok(connection.query_row(sql, [action], |row| Ok((text::at(row, "at")?, row.get("subject")?))).optional()?)
}

/// Returns when anything was last recorded.
pub(crate) fn newest(connection: &Connection) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT at FROM audit_log ORDER BY at DESC LIMIT 1";
    Ok(connection.query_row(sql, [], |row| text::at(row, "at")).optional()?)
}

/// Returns of what an action was ever recorded, each with when last, newest first.
pub(crate) fn subjects(connection: &Connection, action: &str) -> Result<Vec<(DateTime<Utc>, String)>> {
    let mut statement = connection.prepare(
        "SELECT max(at) AS at, subject FROM audit_log WHERE action = ?1 GROUP BY subject ORDER BY max(id) DESC",
    )?;
    let rows = statement.query_map([action], |row| Ok((text::at(row, "at")?, row.get("subject")?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Records a change, behind all that were recorded before: to be called in the transaction of the change.
pub(crate) fn insert(tx: &Connection, now: DateTime<Utc>, entry: &Entry<'_>) -> Result<()> {
    if mutants::on("unaudited") {
        return Ok(());
    }
    let head = head(tx)?;
    let newest = newest_id(tx)?.max(head.as_ref().map_or(0, |head| head.id));
    let mut row = Row {
        id: newest + 1,
        at: stamp(now),
        actor: entry.actor.to_owned(),
        action: entry.action.to_owned(),
        subject: entry.subject.to_owned(),
        before: entry.before.map(hash),
        after: entry.after.map(hash),
        hash: String::new(),
    };
    row.hash = row.hash_behind(&head.map_or_else(|| begins(tx), |head| Ok(head.hash))?);
    tx.prepare_cached(
        "INSERT INTO audit_log (id, at, actor, action, subject, before_hash, after_hash, hash)
         VALUES (:id, :at, :actor, :action, :subject, :before, :after, :hash)",
    )?
    .execute(named_params! {
        ":id": row.id, ":at": row.at, ":actor": row.actor, ":action": row.action, ":subject": row.subject,
        ":before": row.before, ":after": row.after, ":hash": row.hash,
    })?;
    Ok(())
}

/// Returns the newest row there is.
pub(crate) fn head(connection: &Connection) -> Result<Option<Head>> {
    let mut statement =
        connection.prepare_cached("SELECT id, coalesce(hash, '') AS hash FROM audit_log ORDER BY id DESC LIMIT 1")?;
    Ok(statement.query_row([], |row| Ok(Head { id: row.get("id")?, hash: row.get("hash")? })).optional()?)
}

/// Returns the hash of a row; `None` where there is no such row.
pub(super) fn hash_of(connection: &Connection, id: i64) -> Result<Option<String>> {
    let sql = "SELECT coalesce(hash, '') FROM audit_log WHERE id = ?1";
    Ok(connection.query_row(sql, [id], |row| row.get(0)).optional()?)
}

/// Returns the highest number that a row ever had, also where it is no longer there: no number is given twice.
fn newest_id(connection: &Connection) -> Result<i64> {
    let mut statement = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'audit_log'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

fn begins(connection: &Connection) -> Result<String> {
    Ok(chain::beginning(&meta(connection, "database_id")?.context("the database has no id")?))
}

/// Chains the rows that were written before there was a chain. Does nothing in a schema without one.
pub(super) fn chain_older(tx: &Connection) -> Result<()> {
    if !tx.column_exists(None, "audit_log", "hash")? {
        return Ok(());
    }
    let mut unchained = Vec::new();
    let mut previous = begins(tx)?;
    walk(tx, 0, |row| {
        if row.hash.is_empty() {
            previous = row.hash_behind(&previous);
            unchained.push((row.id, previous.clone()));
        } else {
            previous = row.hash;
        }
        Ok(())
    })?;
    let mut update = tx.prepare("UPDATE audit_log SET hash = ?2 WHERE id = ?1")?;
    for (id, hash) in unchained {
        update.execute((id, hash))?;
    }
    Ok(())
}

/// Which rows are wanted.
pub(crate) struct Wanted<'a> {
    /// Of this organization only, told by its slug.
    pub(crate) organization: Option<&'a str>,
    /// By this actor only: a part of the name is enough.
    pub(crate) actor: Option<&'a str>,
    /// An action, or the noun of some.
    pub(crate) action: Option<&'a str>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) limit: u32,
}

/// Returns rows, newest first.
pub(crate) fn list(connection: &Connection, wanted: &Wanted<'_>) -> Result<Vec<Row>> {
    // A preset, a provider, a path or a user may be named like an organization.
    let mut statement = connection.prepare(
        "SELECT * FROM audit_log
         WHERE (:organization IS NULL
                OR (subject = :organization OR substr(subject, 1, length(:organization) + 1) IN (:organization || '/', :organization || ':'))
                   AND substr(action, 1, instr(action || ' ', ' ') - 1) NOT IN ('preset', 'provider', 'db', 'log', 'retention', 'role', 'sealing-key'))
           AND (:actor IS NULL OR instr(actor, :actor) > 0)
           AND (:action IS NULL OR action = :action OR substr(action, 1, length(:action) + 1) = :action || ' ')
           AND (:since IS NULL OR at >= :since)
         ORDER BY id DESC LIMIT :limit",
    )?;
    let rows = statement.query_map(
        named_params! {
            ":organization": wanted.organization, ":actor": wanted.actor, ":action": wanted.action,
            ":since": wanted.since.map(stamp), ":limit": wanted.limit,
        },
        read,
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns one row.
pub(crate) fn by_id(connection: &Connection, id: i64) -> Result<Option<Row>> {
    Ok(connection.query_row("SELECT * FROM audit_log WHERE id = ?1", [id], read).optional()?)
}

/// Hands over the rows behind one, oldest first, one at a time.
fn walk(connection: &Connection, after: i64, mut each: impl FnMut(Row) -> Result<()>) -> Result<()> {
    let mut statement = connection.prepare("SELECT * FROM audit_log WHERE id > ?1 ORDER BY id")?;
    let mut rows = statement.query([after])?;
    while let Some(row) = rows.next()? {
        each(read(row)?)?;
    }
    Ok(())
}

/// Returns rows behind one, oldest first; nothing stays open behind it.
pub(crate) fn behind(connection: &Connection, after: i64, limit: u32) -> Result<Vec<Row>> {
    let mut statement = connection.prepare_cached("SELECT * FROM audit_log WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let rows = statement.query_map((after, limit), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Goes along the whole chain, and hands over each row with what is wrong with it or in front of it; then, without a row,
/// what is missing behind the last one. Returns how many rows there are and the last one.
pub(crate) fn verify(
    connection: &Connection,
    mut each: impl FnMut(Option<&Row>, Option<Finding>) -> Result<()>,
) -> Result<(u64, Option<Head>)> {
    // All of it at one moment, whatever is written meanwhile.
    let moment = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let mut chained = Walk::behind(0, begins(&moment)?);
    let mut count = 0;
    walk(&moment, 0, |row| {
        count += 1;
        let finding = chained.take(&row);
        each(Some(&row), finding)
    })?;
    let ((last, hash), newest) = (chained.last(), newest_id(&moment)?);
    if newest > last {
        each(None, Some(Finding::missing(last + 1, newest, ", the last that were written")))?;
    }
    Ok((count, (last > 0).then(|| Head { id: last, hash: hash.to_owned() })))
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get("id")?,
        at: row.get("at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        before: row.get("before_hash")?,
        after: row.get("after_hash")?,
        hash: row.get::<_, Option<String>>("hash")?.unwrap_or_default(),
    })
}
