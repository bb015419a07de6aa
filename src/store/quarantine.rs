//! `quarantine`: records that could not be stored, with the reasons.

use std::collections::HashMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params};

use super::text::{self, stamp};

/// A quarantined record as stored.
#[derive(Debug, Clone)]
pub(crate) struct Quarantined {
    pub(crate) stream: String,
    /// The record's key at the provider, or a hash of the record where it has none.
    pub(crate) record_key: String,
    pub(crate) reasons: Vec<String>,
    /// The record as the provider sent it.
    pub(crate) record: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// Puts a record into quarantine; one with the same key is replaced.
pub(crate) fn put(
    tx: &Connection,
    (organization_id, provider_id, run_id): (i64, i64, i64),
    (stream, key): (&str, &str),
    (record, reasons): (&str, &[String]),
    now: DateTime<Utc>,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO quarantine (organization_id, provider_id, stream, record_key, reasons, record, run_id, created_at)
         VALUES (:organization, :provider, :stream, :key, :reasons, :record, :run, :now)
         ON CONFLICT (organization_id, provider_id, stream, record_key)
         DO UPDATE SET reasons = excluded.reasons, record = excluded.record, run_id = excluded.run_id, created_at = excluded.created_at",
    )?
    .execute(named_params! {
        ":organization": organization_id, ":provider": provider_id, ":run": run_id, ":stream": stream, ":key": key,
        ":reasons": serde_json::to_string(reasons)?, ":record": record, ":now": stamp(now),
    })?;
    Ok(())
}

/// Takes a record out that has come again and passed.
pub(crate) fn remove(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
    key: &str,
) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM quarantine WHERE organization_id = ?1 AND provider_id = ?2 AND stream = ?3 AND record_key = ?4",
    )?
    .execute((organization_id, provider_id, stream, key))?;
    Ok(())
}

/// Returns how many records of a pair are in quarantine.
pub(crate) fn count(connection: &Connection, organization_id: i64, provider_id: i64) -> Result<u64> {
    let mut statement =
        connection.prepare_cached("SELECT count(*) FROM quarantine WHERE organization_id = ?1 AND provider_id = ?2")?;
    let count: i64 = statement.query_row((organization_id, provider_id), |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Returns how many records of each pair are in quarantine, by organization and provider; pairs with none are left out.
pub(crate) fn counts(connection: &Connection) -> Result<HashMap<(i64, i64), u64>> {
    let mut statement = connection.prepare(
        "SELECT organization_id, provider_id, count(*) FROM quarantine GROUP BY organization_id, provider_id",
    )?;
    let rows = statement.query_map([], |row| {
        let count: i64 = row.get(2)?;
        Ok(((row.get(0)?, row.get(1)?), u64::try_from(count).unwrap_or(0)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns how many records that a run put into quarantine are still there.
pub(crate) fn count_of_run(connection: &Connection, run_id: i64) -> Result<u64> {
    let sql = "SELECT count(*) FROM quarantine WHERE run_id = ?1";
    let count: i64 = connection.query_row(sql, [run_id], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Returns the records a run put into quarantine that are still there.
pub(crate) fn of_run(connection: &Connection, run_id: i64, limit: u32) -> Result<Vec<Quarantined>> {
    let mut statement = connection.prepare_cached(
        "SELECT stream, record_key, reasons, record, created_at FROM quarantine WHERE run_id = ?1 ORDER BY id LIMIT ?2",
    )?;
    let rows = statement.query_map((run_id, limit), |row| {
        Ok(Quarantined {
            stream: row.get("stream")?,
            record_key: row.get("record_key")?,
            reasons: text::json(row, "reasons")?,
            record: row.get("record")?,
            created_at: text::at(row, "created_at")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
