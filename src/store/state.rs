//! `sync_state`: how far each stream has been read. Always written in the transaction of the page it speaks of.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, named_params};
use serde::{Deserialize, Serialize};

use super::text::{self, stamp};
use crate::domain::completeness::Completeness;

/// Which read of a stream is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Everything there is.
    Full,
    /// What changed in a window of time.
    Changes,
}

/// What a read is made with: another credential may see other records, and what it does not see is not gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// What tells the credentials from others.
    pub(crate) credential: Option<String>,
    /// A digest of what the provider showed of its scope; none where it cannot tell.
    pub(crate) scope: Option<String>,
}

/// A read that is under way, with all that is needed to go on after a kill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenRead {
    pub(crate) mode: Mode,
    /// Marks the rows it has seen; each value of a loop has the next number. 0 until it begins.
    #[serde(default)]
    pub(crate) number: i64,
    /// When it, or the first of its windows, began by our clock. The epoch until it begins.
    #[serde(default)]
    pub(crate) begun: DateTime<Utc>,
    /// The start of the window; `None` for a full read.
    pub(crate) from: Option<DateTime<Utc>>,
    /// The frozen end of the window, by the provider's clock.
    pub(crate) to: DateTime<Utc>,
    /// Which value of an `each` loop is being read.
    pub(crate) each: usize,
    /// The position of the page that comes next; `None` for the first.
    pub(crate) position: Option<String>,
    /// How many runs in a row got no page at this position.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) failures: u32,
    /// The hash of the mappings and filters the rows of this read are made with.
    pub(crate) shape: String,
    /// Whether a value of the loop could not be read: then the read is not over at its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) failed: bool,
    /// What speaks against it having shown everything.
    #[serde(default)]
    pub(crate) completeness: Completeness,
    /// The end of the last window, where this one is the first of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// How long a window may be, in seconds, since the provider could not answer a longer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<u32>,
    /// The job at the provider that makes this read, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<OpenJob>,
    /// Whether it was begun again because another number of records came than there are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) recounted: bool,
    /// What it is made with: a place among the pages that one credential sees means nothing among those of another.
    #[serde(default)]
    pub(crate) view: View,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands on references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl OpenRead {
    /// Returns a read that begins at its first page.
    pub(crate) fn begin(mode: Mode, (from, to): (Option<DateTime<Utc>>, DateTime<Utc>), shape: &str) -> Self {
        OpenRead {
            mode,
            number: 0,
            begun: DateTime::UNIX_EPOCH,
            from,
            to,
            each: 0,
            position: None,
            failures: 0,
            shape: shape.to_owned(),
            failed: false,
            completeness: Completeness::default(),
            until: None,
            step: None,
            job: None,
            recounted: false,
            view: View::default(),
        }
    }

    /// Returns whether this is a read that ended with something left out: it is not gone on with.
    pub(crate) fn is_spent(&self) -> bool {
        self.failed && self.each == 0 && self.position.is_none()
    }

    /// Goes back to the first page of all, as another read of the same window: what was seen before counts for nothing.
    pub(crate) fn begin_again(&mut self) {
        self.next_value(0);
        (self.number, self.failed, self.failures) = (0, false, 0);
        self.completeness = Completeness::default();
    }

    /// Goes to the first page of a value of the loop.
    pub(crate) fn next_value(&mut self, each: usize) {
        (self.each, self.position, self.job) = (each, None, None);
        self.completeness.forget_list();
    }

    /// Returns the number that marks what the value of the loop being read has shown.
    pub(crate) fn value_number(&self) -> i64 {
        self.number + i64::try_from(self.each).unwrap_or_default()
    }
}

/// A job at the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenJob {
    pub(crate) id: String,
    /// When it was created, by the provider's time.
    pub(crate) since: DateTime<Utc>,
}

/// What is known of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StreamState {
    /// Everything up to this instant has been read.
    pub(crate) watermark: Option<DateTime<Utc>>,
    /// The read under way: the one copy of its progress.
    pub(crate) open_read: Option<OpenRead>,
    /// The newest number that a read of the stream has marked rows with.
    pub(crate) generation: i64,
    /// When everything was read last, with proof.
    pub(crate) last_full_at: Option<DateTime<Utc>>,
    /// The hash of the mappings and filters of the last complete read.
    pub(crate) shape: Option<String>,
    /// What the last read that ended was made with.
    pub(crate) view: Option<View>,
    /// Why the last read that ended was not proved complete; `None` where it was.
    pub(crate) doubts: Option<Completeness>,
    /// The numbers of the newest full reads that were proved complete, oldest first.
    pub(crate) proved_reads: Vec<i64>,
    /// Which types the values of each source have had, as bits.
    pub(crate) field_types: BTreeMap<String, u8>,
}

impl StreamState {
    /// Notes a full read that was proved complete. Returns the first of the newest `misses` such reads: a row that was marked
    /// before it was missed by them all. `None` where there were not so many yet.
    pub(crate) fn prove(&mut self, number: i64, misses: u32) -> Option<i64> {
        let misses = misses.max(1) as usize;
        self.proved_reads.push(number);
        let surplus = self.proved_reads.len().saturating_sub(misses);
        self.proved_reads.drain(..surplus);
        self.proved_reads.first().copied().filter(|_| self.proved_reads.len() == misses)
    }
}

/// Returns the state of a stream; a stream never read has the default one.
pub(crate) fn get(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
) -> Result<StreamState> {
    fn json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
        row.get_ref(column)?.as_str_or_null()?.map(|_| text::json(row, column)).transpose()
    }
    let found = connection
        .prepare_cached(
            "SELECT watermark, open_read, generation, last_full_at, shape, view, doubts, proved_reads, field_types
             FROM sync_state
             WHERE organization_id = :organization AND provider_id = :provider AND stream = :stream",
        )?
        .query_row(
            named_params! { ":organization": organization_id, ":provider": provider_id, ":stream": stream },
            |row| {
                Ok(StreamState {
                    watermark: text::at_or_null(row, "watermark")?,
                    open_read: json(row, "open_read")?,
                    generation: row.get("generation")?,
                    last_full_at: text::at_or_null(row, "last_full_at")?,
                    shape: row.get("shape")?,
                    view: json(row, "view")?,
                    doubts: json(row, "doubts")?,
                    proved_reads: text::json(row, "proved_reads")?,
                    field_types: text::json(row, "field_types")?,
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
    fn json<T: Serialize>(value: Option<&T>) -> serde_json::Result<Option<String>> {
        value.map(serde_json::to_string).transpose()
    }
    tx.prepare_cached(
        "INSERT INTO sync_state (organization_id, provider_id, stream, watermark, open_read, generation, last_full_at, shape,
                                 view, doubts, proved_reads, field_types)
         VALUES (:organization, :provider, :stream, :watermark, :open_read, :generation, :last_full_at, :shape,
                 :view, :doubts, :proved_reads, :field_types)
         ON CONFLICT (organization_id, provider_id, stream) DO UPDATE SET watermark = excluded.watermark,
             open_read = excluded.open_read, generation = excluded.generation, last_full_at = excluded.last_full_at,
             shape = excluded.shape, view = excluded.view, doubts = excluded.doubts, proved_reads = excluded.proved_reads,
             field_types = excluded.field_types",
    )?
    .execute(named_params! {
        ":organization": organization_id, ":provider": provider_id, ":stream": stream, ":watermark": state.watermark.map(stamp),
        ":open_read": json(state.open_read.as_ref())?, ":generation": state.generation,
        ":last_full_at": state.last_full_at.map(stamp), ":shape": state.shape, ":view": json(state.view.as_ref())?,
        ":doubts": json(state.doubts.as_ref())?, ":proved_reads": serde_json::to_string(&state.proved_reads)?,
        ":field_types": serde_json::to_string(&state.field_types)?,
    })?;
    Ok(())
}

/// The streams of a pair of organization and provider whose last read was not proved complete, with the reasons.
pub(crate) type Doubted = HashMap<(i64, i64), Vec<(String, Completeness)>>;

/// Returns the streams whose last read was not proved complete.
pub(crate) fn doubted(connection: &Connection) -> Result<Doubted> {
    let sql =
        "SELECT organization_id, provider_id, stream, doubts FROM sync_state WHERE doubts IS NOT NULL ORDER BY stream";
    let mut doubted = Doubted::new();
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let pair = (row.get("organization_id")?, row.get("provider_id")?);
        doubted.entry(pair).or_default().push((row.get("stream")?, text::json(row, "doubts")?));
    }
    Ok(doubted)
}

/// Forgets how far all streams of a pair but these were read: one that is read again later begins anew, as its rows may be
/// gone by then.
pub(crate) fn keep_only(tx: &Connection, (organization_id, provider_id): (i64, i64), streams: &[String]) -> Result<()> {
    // The numbers of reads go on: rows carry them.
    tx.execute(
        "UPDATE sync_state SET watermark = NULL, open_read = NULL, last_full_at = NULL, shape = NULL, doubts = NULL
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

/// Returns the newest number that any stream of a pair has marked rows with.
pub(crate) fn newest_generation(connection: &Connection, (organization_id, provider_id): (i64, i64)) -> Result<i64> {
    let sql = "SELECT coalesce(max(generation), 0) FROM sync_state WHERE organization_id = ?1 AND provider_id = ?2";
    Ok(connection.query_row(sql, (organization_id, provider_id), |row| row.get(0))?)
}

/// Forgets how far the providers of an organization that are none of `active` were read: their next read is a full one.
pub(crate) fn forget_others(tx: &Connection, organization_id: i64, active: &[i64]) -> Result<()> {
    // The numbers of reads go on: rows carry them.
    tx.execute(
        "UPDATE sync_state SET watermark = NULL, open_read = NULL, last_full_at = NULL, doubts = NULL
         WHERE organization_id = :organization AND provider_id NOT IN (SELECT value FROM json_each(:active))",
        named_params! { ":organization": organization_id, ":active": serde_json::to_string(active)? },
    )?;
    Ok(())
}
