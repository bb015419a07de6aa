//! How long things are kept, in `meta`, and the rows that are older.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _};

use super::text::{self, stamp};
use super::{Keep, Store, meta, set_meta};
use crate::domain::entity::Entity;
use crate::domain::retention::{Keeping, Policy};

const LOGS: &str = "retention.logs";
const QUARANTINE: &str = "retention.quarantine";
const DELETED: &str = "retention.deleted";

/// So many rows are removed in one transaction: some tens of milliseconds.
const AT_ONCE: usize = 500;
/// The least that others are let write between two of them.
const PAUSE: Duration = Duration::from_millis(5);

/// Removes rows by their numbers, a few in each transaction, and rests after each for as long as it took: who waits to write
/// asks again only now and then, and would never be let in otherwise. Returns how many rows went, or would go in a dry run.
pub(crate) fn remove(
    store: &mut Store,
    (ids, keep): (&[i64], Keep),
    stop: &AtomicBool,
    mut remove: impl FnMut(&Connection, &[i64]) -> Result<u64>,
) -> Result<u64> {
    if keep == Keep::DryRun {
        return Ok(ids.len() as u64);
    }
    let mut removed = 0;
    for some in ids.chunks(AT_ONCE).take_while(|_| !stop.load(Ordering::Relaxed)) {
        let began = Instant::now();
        removed += store.change(keep, |tx| remove(tx, some))?;
        std::thread::sleep(PAUSE.max(began.elapsed()));
    }
    Ok(removed)
}

/// Returns the policy in force: the default one, as far as nothing else was set.
pub(crate) fn policy(connection: &Connection) -> Result<Policy> {
    let set = |key: &str, default: Keeping| -> Result<Keeping> {
        meta(connection, key)?.map_or(Ok(default), |text| text.parse().map_err(anyhow::Error::msg))
    };
    let default = Policy::default();
    Ok(Policy {
        logs: set(LOGS, default.logs)?,
        quarantine: set(QUARANTINE, default.quarantine)?,
        deleted: set(DELETED, default.deleted)?,
    })
}

/// Puts a policy in force.
pub(crate) fn set_policy(tx: &Connection, policy: &Policy) -> Result<()> {
    set_meta(tx, LOGS, &policy.logs.to_string())?;
    set_meta(tx, QUARANTINE, &policy.quarantine.to_string())?;
    set_meta(tx, DELETED, &policy.deleted.to_string())
}

/// Returns when the policy was applied last.
pub(crate) fn applied_at(connection: &Connection) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT at FROM retention_applied";
    Ok(connection.query_row(sql, [], |row| text::at(row, "at")).optional()?)
}

/// Notes that the policy was applied.
pub(crate) fn set_applied(tx: &Connection, now: DateTime<Utc>) -> Result<()> {
    tx.execute("INSERT OR REPLACE INTO retention_applied (id, at) VALUES (1, ?1)", [stamp(now)])?;
    Ok(())
}

/// Returns the numbers of records that were last set aside before a moment.
pub(crate) fn old_quarantine(connection: &Connection, before: DateTime<Utc>) -> Result<Vec<i64>> {
    ids(connection, "SELECT id FROM quarantine WHERE created_at < ?1 ORDER BY id", before)
}

/// Returns the numbers of rows that were marked as deleted before a moment.
pub(crate) fn old_deleted(connection: &Connection, entity: Entity, before: DateTime<Utc>) -> Result<Vec<i64>> {
    let table = entity.table();
    ids(connection, &format!("SELECT id FROM {table} WHERE deleted_at < ?1 ORDER BY id"), before)
}

fn ids(connection: &Connection, sql: &str, before: DateTime<Utc>) -> Result<Vec<i64>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([stamp(before)], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes some of the records that are [`old_quarantine`], but for those that have come again meanwhile. Returns how many.
pub(crate) fn drop_quarantine(tx: &Connection, ids: &[i64], before: DateTime<Utc>) -> Result<u64> {
    let sql = "DELETE FROM quarantine WHERE id IN (SELECT value FROM json_each(?1)) AND created_at < ?2";
    Ok(u64::try_from(tx.execute(sql, (serde_json::to_string(ids)?, stamp(before)))?).unwrap_or(0))
}

/// Removes some of the rows that are [`old_deleted`], but for those that are live again. Returns how many.
pub(crate) fn drop_deleted(tx: &Connection, entity: Entity, ids: &[i64], before: DateTime<Utc>) -> Result<u64> {
    let table = entity.table();
    let sql = format!("DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?1)) AND deleted_at < ?2");
    Ok(u64::try_from(tx.execute(&sql, (serde_json::to_string(ids)?, stamp(before)))?).unwrap_or(0))
}
