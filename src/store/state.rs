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
    /// Whether a value of the loop could not be read: then the read is not over at its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) failed: bool,
    /// Whether records came that say of no row that it is still there: then what was not seen is not taken for deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keyless: bool,
    /// Whether counted pages shifted under the read, or less came than the provider said there is: then it may have missed
    /// rows, and the next read is a full one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shifted: bool,
    /// The end of the last window, where this one is the first of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// How long a window may be, in seconds, since the provider could not answer a longer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<u32>,
    /// The job at the provider that makes this read, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<OpenJob>,
    /// What the provider says there is against what came, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) counted: Option<Counted>,
    /// Whether it was begun again because less came than there is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) recounted: bool,
    /// What tells the credentials it is made with from others: a place among the pages that one sees means nothing among
    /// those of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
}

impl OpenRead {
    /// Returns a read that begins at its first page.
    pub(crate) fn begin(mode: Mode, (from, to): (Option<DateTime<Utc>>, DateTime<Utc>), shape: &str) -> Self {
        OpenRead {
            mode,
            from,
            to,
            each: 0,
            position: None,
            shape: shape.to_owned(),
            failed: false,
            keyless: false,
            shifted: false,
            until: None,
            step: None,
            job: None,
            counted: None,
            recounted: false,
            credential: None,
        }
    }

    /// Returns whether this is a read that ended with something left out: it is not gone on with.
    pub(crate) fn is_spent(&self) -> bool {
        self.failed && self.each == 0 && self.position.is_none()
    }

    /// Goes back to the first page of all.
    pub(crate) fn begin_again(&mut self) {
        self.next_value(0);
        self.failed = false;
    }

    /// Goes to the first page of a value of the loop.
    pub(crate) fn next_value(&mut self, each: usize) {
        (self.each, self.position, self.job, self.counted) = (each, None, None, None);
    }
}

/// A job at the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenJob {
    pub(crate) id: String,
    /// When it was created, by the provider's time.
    pub(crate) since: DateTime<Utc>,
}

/// The totals that the pages of a read have told, and how many records came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) came: u64,
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

/// What full reads were made with: other credentials may see other records, and what they do not see is not gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// A digest of the credentials; none where a read was made with more than one.
    pub(crate) credential: Option<String>,
    /// A digest of what the provider showed of its scope; none where it cannot tell.
    pub(crate) scope: Option<String>,
}

/// The views of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Views {
    /// Of the last complete full read.
    pub(crate) last: Option<View>,
    /// Of the full read under way.
    pub(crate) open: Option<View>,
}

/// Returns the views of a stream.
pub(crate) fn views(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
) -> Result<Views> {
    let view = |row: &rusqlite::Row<'_>, column: &str| -> rusqlite::Result<Option<View>> {
        row.get_ref(column)?.as_str_or_null()?.map(|_| text::json(row, column)).transpose()
    };
    let found = connection
        .prepare_cached(
            "SELECT view, open_view FROM sync_state WHERE organization_id = ?1 AND provider_id = ?2 AND stream = ?3",
        )?
        .query_row((organization_id, provider_id, stream), |row| {
            Ok(Views { last: view(row, "view")?, open: view(row, "open_view")? })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Stores the views of a stream.
pub(crate) fn put_views(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
    views: &Views,
) -> Result<()> {
    let json = |view: &Option<View>| view.as_ref().map(serde_json::to_string).transpose();
    tx.prepare_cached(
        "INSERT INTO sync_state (organization_id, provider_id, stream, generation, view, open_view)
         VALUES (:organization, :provider, :stream, 0, :view, :open_view)
         ON CONFLICT (organization_id, provider_id, stream) DO UPDATE SET view = excluded.view, open_view = excluded.open_view",
    )?
    .execute(named_params! {
        ":organization": organization_id, ":provider": provider_id, ":stream": stream,
        ":view": json(&views.last)?, ":open_view": json(&views.open)?,
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

/// Makes all reads of an organization that are under way begin again at their first page: the place of the next one may
/// name the last record.
pub(crate) fn begin_again(tx: &Connection, organization_id: i64) -> Result<()> {
    let sql = "SELECT rowid AS id, open_read FROM sync_state WHERE organization_id = ?1 AND open_read IS NOT NULL";
    let open: Vec<(i64, OpenRead)> = tx
        .prepare(sql)?
        .query_map([organization_id], |row| Ok((row.get("id")?, text::json(row, "open_read")?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, mut open) in open.into_iter().filter(|(_, open)| open.position.is_some()) {
        open.begin_again();
        tx.execute("UPDATE sync_state SET open_read = ?1 WHERE rowid = ?2", (serde_json::to_string(&open)?, id))?;
    }
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
