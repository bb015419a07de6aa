//! `sync_requests`: syncs that somebody asked for, until a run of `sync --all` has performed them.

use std::collections::HashMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params};

use super::text::{self, stamp};

/// Asks for a sync of a pair. Returns false where one is waiting already.
pub(crate) fn insert(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let inserted = tx.execute(
        "INSERT INTO sync_requests (organization_id, provider_id, requested_by, requested_at)
         VALUES (:organization, :provider, :by, :at) ON CONFLICT DO NOTHING",
        named_params! { ":organization": organization_id, ":provider": provider_id, ":by": by, ":at": stamp(now) },
    )?;
    Ok(inserted == 1)
}

/// Returns when each pair's oldest request that no run has answered was made.
pub(crate) fn open(connection: &Connection) -> Result<HashMap<(i64, i64), DateTime<Utc>>> {
    let mut statement = connection.prepare(
        "SELECT organization_id, provider_id, min(requested_at) AS requested_at
         FROM sync_requests GROUP BY organization_id, provider_id",
    )?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), text::at(row, "requested_at")?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Takes the requests of a pair on: who asks from now on asks for another run. They stay until [`answered`], so that a
/// run that is killed loses none.
pub(crate) fn take_on(tx: &Connection, (organization_id, provider_id): (i64, i64), run: i64) -> Result<()> {
    let sql = "UPDATE sync_requests SET run_id = ?3 WHERE organization_id = ?1 AND provider_id = ?2";
    tx.prepare_cached(sql)?.execute((organization_id, provider_id, run))?;
    Ok(())
}

/// Removes the requests that a run took on, as it came to an end.
pub(crate) fn answered(tx: &Connection, run: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM sync_requests WHERE run_id = ?1")?.execute([run])?;
    Ok(())
}
