//! `sync_state`: how far each stream has been read. Always written in the transaction of the page it speaks of.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, named_params};
use serde::{Deserialize, Serialize};

use super::text::{self, stamp};

/// Which read of a stream is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Everything there is.
    Full,
    /// What changed in a window of time.
    Changes,
}

/// A read that is under way, with all that is needed to go on after a kill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenRead {
    pub(crate) mode: Mode,
    /// The start of the window; `None` for a full read.
    pub(crate) from: Option<DateTime<Utc>>,
    /// The frozen end of the window: the watermark once the read is complete.
    pub(crate) to: DateTime<Utc>,
    /// Which value of an `each` loop is being read.
    pub(crate) each: usize,
    /// The position of the page that comes next; `None` for the first.
    pub(crate) position: Option<String>,
    /// The hash of the mappings and filters the rows of this read are made with.
    pub(crate) shape: String,
}

/// What is known of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StreamState {
    /// Everything up to this instant has been read.
    pub(crate) watermark: Option<DateTime<Utc>>,
    pub(crate) open_read: Option<OpenRead>,
    /// Counts full reads; the one under way included.
    pub(crate) generation: i64,
    pub(crate) last_full_at: Option<DateTime<Utc>>,
    /// The hash of the mappings and filters of the last complete read.
    pub(crate) shape: Option<String>,
}

/// Returns the state of a stream; a stream never read has the default one.
pub(crate) fn get(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
) -> Result<StreamState> {
    let found = connection
        .prepare_cached(
            "SELECT watermark, open_read, generation, last_full_at, shape FROM sync_state
             WHERE organization_id = :organization AND provider_id = :provider AND stream = :stream",
        )?
        .query_row(
            named_params! { ":organization": organization_id, ":provider": provider_id, ":stream": stream },
            |row| {
                let open_read = if row.get_ref("open_read")?.as_str_or_null()?.is_some() {
                    Some(text::json(row, "open_read")?)
                } else {
                    None
                };
                Ok(StreamState {
                    watermark: text::at_or_null(row, "watermark")?,
                    open_read,
                    generation: row.get("generation")?,
                    last_full_at: text::at_or_null(row, "last_full_at")?,
                    shape: row.get("shape")?,
                })
            },
        )
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Stores the state of a stream.
pub(crate) fn put(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
    state: &StreamState,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO sync_state (organization_id, provider_id, stream, watermark, open_read, generation, last_full_at, shape)
         VALUES (:organization, :provider, :stream, :watermark, :open_read, :generation, :last_full_at, :shape)
         ON CONFLICT (organization_id, provider_id, stream) DO UPDATE SET watermark = excluded.watermark,
             open_read = excluded.open_read, generation = excluded.generation, last_full_at = excluded.last_full_at,
             shape = excluded.shape",
    )?
    .execute(named_params! {
        ":organization": organization_id, ":provider": provider_id, ":stream": stream, ":watermark": state.watermark.map(stamp),
        ":open_read": state.open_read.as_ref().map(serde_json::to_string).transpose()?, ":generation": state.generation,
        ":last_full_at": state.last_full_at.map(stamp), ":shape": state.shape,
    })?;
    Ok(())
}

/// Forgets how far all streams of a pair but these were read: one that is read again later begins anew, as its rows may be
/// gone by then.
pub(crate) fn keep_only(tx: &Connection, (organization_id, provider_id): (i64, i64), streams: &[String]) -> Result<()> {
    // The count of full reads goes on: rows carry it.
    tx.execute(
        "UPDATE sync_state SET watermark = NULL, open_read = NULL, last_full_at = NULL, shape = NULL
         WHERE organization_id = :organization AND provider_id = :provider
            AND stream NOT IN (SELECT value FROM json_each(:streams))",
        named_params! {
            ":organization": organization_id, ":provider": provider_id, ":streams": serde_json::to_string(streams)?,
        },
    )?;
    Ok(())
}

/// Returns the newest full read of any stream of a pair: no row was seen by a newer one.
pub(crate) fn newest_generation(connection: &Connection, (organization_id, provider_id): (i64, i64)) -> Result<i64> {
    let sql = "SELECT coalesce(max(generation), 0) FROM sync_state WHERE organization_id = ?1 AND provider_id = ?2";
    Ok(connection.query_row(sql, (organization_id, provider_id), |row| row.get(0))?)
}

/// Forgets how far the providers of an organization that are none of `active` were read: their next read is a full one.
pub(crate) fn forget_others(tx: &Connection, organization_id: i64, active: &[i64]) -> Result<()> {
    // The count of full reads goes on: rows carry it.
    tx.execute(
        "UPDATE sync_state SET watermark = NULL, open_read = NULL, last_full_at = NULL
         WHERE organization_id = :organization AND provider_id NOT IN (SELECT value FROM json_each(:active))",
        named_params! { ":organization": organization_id, ":active": serde_json::to_string(active)? },
    )?;
    Ok(())
}
