//! `quarantine`: records that could not be stored, with the reasons, until they pass or are given up.

use std::collections::HashMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::text::{self, stamp};
use crate::domain::names::Name;

/// How much of a record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kept {
    /// All of it.
    Whole,
    /// What a list of the provider says of it, without its details.
    Thin,
    /// Its size and digest.
    Digest,
}

impl Kept {
    fn as_str(self) -> &'static str {
        match self {
            Kept::Whole => "whole",
            Kept::Thin => "thin",
            Kept::Digest => "digest",
        }
    }
}

impl std::str::FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Kept::Whole, Kept::Thin, Kept::Digest].into_iter().find(|kept| kept.as_str() == text);
        known.ok_or_else(|| format!("nothing is kept as `{text}`"))
    }
}

/// A record to be set aside.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    pub(crate) stream: &'a str,
    pub(crate) key: &'a str,
    pub(crate) reasons: &'a [String],
    pub(crate) record: &'a str,
    pub(crate) kept: Kept,
    pub(crate) each: Option<&'a str>,
    /// The hash of the settings it was judged by.
    pub(crate) shape: &'a str,
    pub(crate) generation: i64,
}

/// A quarantined record as stored.
#[derive(Debug, Clone)]
pub(crate) struct Quarantined {
    pub(crate) id: i64,
    pub(crate) provider: Name,
    pub(crate) stream: String,
    /// The record's key at the provider, or a digest of the record where it has none.
    pub(crate) key: String,
    pub(crate) reasons: Vec<String>,
    /// The record as the provider sent it, as far as it is kept.
    pub(crate) record: String,
    /// If not all of it, only the provider can tell the rest.
    pub(crate) kept: Kept,
    pub(crate) each: Option<String>,
    pub(crate) shape: Option<String>,
    pub(crate) generation: i64,
    pub(crate) times: u64,
    pub(crate) run_id: i64,
    /// When it was set aside last.
    pub(crate) at: DateTime<Utc>,
}

const SELECT: &str =
    "SELECT q.id, p.slug AS provider, q.stream, q.record_key, q.reasons, q.record, q.kept, q.each_value, q.shape,
            q.generation, q.times, q.run_id, q.created_at
     FROM quarantine q JOIN integration_providers p ON p.id = q.provider_id";

/// The same without what the records hold, for lists.
const OUTLINE: &str =
    "SELECT q.id, p.slug AS provider, q.stream, q.record_key, q.reasons, '' AS record, q.kept, q.each_value,
            q.shape, q.generation, q.times, q.run_id, q.created_at
     FROM quarantine q JOIN integration_providers p ON p.id = q.provider_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Quarantined> {
    let times: i64 = row.get("times")?;
    Ok(Quarantined {
        id: row.get("id")?,
        provider: text::parsed(row, "provider")?,
        stream: row.get("stream")?,
        key: row.get("record_key")?,
        reasons: text::json(row, "reasons")?,
        record: row.get("record")?,
        kept: text::parsed(row, "kept")?,
        each: row.get("each_value")?,
        shape: row.get("shape")?,
        generation: row.get("generation")?,
        times: u64::try_from(times).unwrap_or(0),
        run_id: row.get("run_id")?,
        at: text::at(row, "created_at")?,
    })
}

/// Puts a record into quarantine; one with the same key is replaced, and counted as set aside once more.
pub(crate) fn put(
    tx: &Connection,
    (organization_id, provider_id, run_id): (i64, i64, i64),
    aside: &Aside<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO quarantine (organization_id, provider_id, stream, record_key, reasons, record, kept, each_value, shape,
                                 generation, run_id, created_at)
         VALUES (:organization, :provider, :stream, :key, :reasons, :record, :kept, :each, :shape, :generation, :run, :now)
         ON CONFLICT (organization_id, provider_id, stream, record_key)
         DO UPDATE SET reasons = excluded.reasons, record = excluded.record, kept = excluded.kept,
                       each_value = excluded.each_value, shape = excluded.shape, generation = excluded.generation,
                       times = times + 1, run_id = excluded.run_id, created_at = excluded.created_at",
    )?
    .execute(named_params! {
        ":organization": organization_id, ":provider": provider_id, ":run": run_id, ":stream": aside.stream, ":key": aside.key,
        ":reasons": serde_json::to_string(aside.reasons)?, ":record": aside.record, ":kept": aside.kept.as_str(), ":each": aside.each,
        ":shape": aside.shape, ":generation": aside.generation, ":now": stamp(now),
    })?;
    Ok(())
}

/// Returns whether a record was set aside by the pass over its list that has this number.
pub(crate) fn has(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    (stream, key): (&str, &str),
    generation: i64,
) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE organization_id = ?1 AND provider_id = ?2 AND stream = ?3
                                                         AND record_key = ?4 AND generation = ?5)";
    let values = (organization_id, provider_id, stream, key, generation);
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
}

/// Leaves a record where it is, with what was found when it was judged again. It did not come again by that: how often and
/// when it came is as the caller read it.
pub(crate) fn keep(tx: &Connection, row: &Quarantined, reasons: &[String], shape: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE quarantine SET reasons = :reasons, shape = :shape, times = :times, run_id = :run, created_at = :at WHERE id = :id",
    )?
    .execute(named_params! {
        ":id": row.id, ":reasons": serde_json::to_string(reasons)?, ":shape": shape,
        ":times": i64::try_from(row.times)?, ":run": row.run_id, ":at": stamp(row.at),
    })?;
    Ok(())
}

/// Takes a record out by its key: it has come again and passed, or is gone at the provider.
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

/// Takes a record out by its number.
pub(crate) fn delete(tx: &Connection, id: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Takes the records of a stream out that no full read since `oldest` found: they are gone at the provider.
pub(crate) fn sweep(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
    oldest: i64,
) -> Result<()> {
    tx.execute(
        "DELETE FROM quarantine WHERE organization_id = ?1 AND provider_id = ?2 AND stream = ?3 AND generation < ?4",
        (organization_id, provider_id, stream, oldest),
    )?;
    Ok(())
}

/// Returns one record of an organization.
pub(crate) fn by_id(connection: &Connection, organization_id: i64, id: i64) -> Result<Option<Quarantined>> {
    let sql = format!("{SELECT} WHERE q.organization_id = ?1 AND q.id = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row((organization_id, id), from_row).optional()?)
}

/// Returns the record of a key, if it is here.
pub(crate) fn by_key(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
    key: &str,
) -> Result<Option<Quarantined>> {
    let sql =
        format!("{SELECT} WHERE q.organization_id = ?1 AND q.provider_id = ?2 AND q.stream = ?3 AND q.record_key = ?4");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row((organization_id, provider_id, stream, key), from_row).optional()?)
}

/// Returns the providers that have a record of this key in quarantine.
pub(crate) fn providers_of_key(connection: &Connection, organization_id: i64, key: &str) -> Result<Vec<Name>> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT p.slug AS provider FROM quarantine q JOIN integration_providers p ON p.id = q.provider_id
         WHERE q.organization_id = ?1 AND q.record_key = ?2 ORDER BY p.slug",
    )?;
    let rows = statement.query_map((organization_id, key), |row| text::parsed(row, "provider"))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the numbers of the records of an organization that `is_wanted`, given the provider, the key, and what each holds.
/// One record is in memory at a time: they may be large.
pub(crate) fn matching(
    connection: &Connection,
    organization_id: i64,
    is_wanted: impl Fn(&Name, &str, &str) -> bool,
) -> Result<Vec<i64>> {
    let mut statement = connection.prepare(&format!("{SELECT} WHERE q.organization_id = ?1 ORDER BY q.id"))?;
    let mut rows = statement.query([organization_id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let row = from_row(row)?;
        if is_wanted(&row.provider, &row.key, &row.record) {
            found.push(row.id);
        }
    }
    Ok(found)
}

/// Which records to find; all of an organization, unless more is said.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) provider_id: Option<i64>,
    pub(crate) stream: Option<&'a str>,
    /// A text that stands in one of the reasons, in whatever case.
    pub(crate) reason: Option<&'a str>,
    pub(crate) ids: Option<&'a [i64]>,
}

const WANTED: &str = "q.organization_id = :organization AND (:provider IS NULL OR q.provider_id = :provider)
     AND (:stream IS NULL OR q.stream = :stream)
     AND (:reason IS NULL OR EXISTS (SELECT 1 FROM json_each(q.reasons) WHERE instr(lower(value), lower(:reason)) > 0))
     AND (:ids IS NULL OR q.id IN (SELECT value FROM json_each(:ids)))";

/// Returns the numbers of the records that are wanted, those set aside last first.
pub(crate) fn ids(connection: &Connection, organization_id: i64, wanted: &Wanted<'_>, limit: u32) -> Result<Vec<i64>> {
    let sql =
        format!("SELECT q.id FROM quarantine q WHERE {WANTED} ORDER BY q.created_at DESC, q.id DESC LIMIT :limit");
    let mut statement = connection.prepare(&sql)?;
    let parameters = named_params! {
        ":organization": organization_id, ":provider": wanted.provider_id, ":stream": wanted.stream, ":reason": wanted.reason,
        ":ids": wanted.ids.map(serde_json::to_string).transpose()?, ":limit": limit,
    };
    let ids = statement.query_map(parameters, |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// Returns the records of these numbers that are still there, in this order, without what they hold.
pub(crate) fn outlines(connection: &Connection, organization_id: i64, ids: &[i64]) -> Result<Vec<Quarantined>> {
    let mut statement = connection.prepare_cached(&format!("{OUTLINE} WHERE q.organization_id = ?1 AND q.id = ?2"))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(statement.query_row((organization_id, id), from_row).optional()?);
    }
    Ok(found)
}

/// Returns the numbers of the records that are wanted with the provider of each, those set aside last first.
pub(crate) fn numbers(connection: &Connection, organization_id: i64, wanted: &Wanted<'_>) -> Result<Vec<(i64, Name)>> {
    let sql = format!(
        "SELECT q.id, p.slug AS provider FROM quarantine q JOIN integration_providers p ON p.id = q.provider_id
         WHERE {WANTED} ORDER BY q.created_at DESC, q.id DESC"
    );
    let mut statement = connection.prepare(&sql)?;
    let parameters = named_params! {
        ":organization": organization_id, ":provider": wanted.provider_id, ":stream": wanted.stream, ":reason": wanted.reason,
        ":ids": wanted.ids.map(serde_json::to_string).transpose()?,
    };
    let rows = statement.query_map(parameters, |row| Ok((row.get("id")?, text::parsed(row, "provider")?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns records of a stream that lack their details and were not filed by `run`, those first that were asked for longest
/// ago.
pub(crate) fn thin(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    stream: &str,
    run: Option<i64>,
    limit: u32,
) -> Result<Vec<Quarantined>> {
    let sql = format!(
        "{SELECT} WHERE q.organization_id = ?1 AND q.provider_id = ?2 AND q.stream = ?3 AND q.kept = 'thin'
           AND q.run_id IS NOT ?4 ORDER BY q.created_at, q.id LIMIT ?5"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((organization_id, provider_id, stream, run, limit), from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
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

/// Returns the records a run put into quarantine that are still there, without what they hold.
pub(crate) fn of_run(connection: &Connection, run_id: i64, limit: u32) -> Result<Vec<Quarantined>> {
    let sql = format!("{OUTLINE} WHERE q.run_id = ?1 ORDER BY q.id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((run_id, limit), from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
