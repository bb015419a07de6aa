//! `organization_credentials`: sealed values and what is known of them without the master key, never a value in clear.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use serde::Serialize;

use super::text::{self, stamp};
use super::{deposits, keys, tokens};
use crate::domain::names::Name;
use crate::secrets::Sealed;

/// What a stored value of a field is there for. Each field has one value of a stage at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Set, and not in use before it has proved itself.
    Pending,
    /// In use.
    Current,
    /// What the current one has replaced.
    Previous,
}

impl Stage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stage::Pending => "pending",
            Stage::Current => "current",
            Stage::Previous => "previous",
        }
    }
}

impl std::str::FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Stage::Pending, Stage::Current, Stage::Previous]
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| format!("unknown stage `{text}`"))
    }
}

/// What is known of a credential without the master key.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) id: i64,
    /// The row that a person set, of which the provider may have replaced the value since.
    pub(crate) given: i64,
    pub(crate) provider: Name,
    pub(crate) field: Name,
    pub(crate) version: i64,
    pub(crate) stage: Stage,
    /// When it came to its stage, where it was not set in it: promoted, or replaced by one that was.
    pub(crate) staged_at: Option<DateTime<Utc>>,
    pub(crate) data_key_version: i64,
    pub(crate) sealed: Sealed,
    /// Eight hex digits that tell two values apart and say nothing about them.
    pub(crate) fingerprint: String,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
}

const SELECT: &str =
    "SELECT c.id, coalesce(c.given_id, c.id) AS given, p.slug AS provider, c.field, c.version, c.stage, c.staged_at,
            c.data_key_version, c.sealed, c.fingerprint, c.created_by, c.created_at
     FROM organization_credentials c JOIN integration_providers p ON p.id = c.provider_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        id: row.get("id")?,
        given: row.get("given")?,
        provider: text::parsed(row, "provider")?,
        field: text::parsed(row, "field")?,
        version: row.get("version")?,
        stage: text::parsed(row, "stage")?,
        staged_at: text::at_or_null(row, "staged_at")?,
        data_key_version: row.get("data_key_version")?,
        sealed: Sealed::from_bytes(row.get("sealed")?),
        fingerprint: row.get("fingerprint")?,
        created_by: row.get("created_by")?,
        created_at: text::at(row, "created_at")?,
    })
}

/// Returns all credentials of an organization, dormant ones and those of every stage too; of a field the current one first.
pub(crate) fn every_stage(connection: &Connection, organization_id: i64) -> Result<Vec<Credential>> {
    let sql = format!("{SELECT} WHERE c.organization_id = ?1 ORDER BY p.id, c.field, c.stage");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([organization_id], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns all current credentials of an organization, dormant ones too.
pub(crate) fn all(connection: &Connection, organization_id: i64) -> Result<Vec<Credential>> {
    let mut credentials = every_stage(connection, organization_id)?;
    credentials.retain(|credential| credential.stage == Stage::Current);
    Ok(credentials)
}

/// Returns the credentials of a pair of all stages.
pub(crate) fn of_pair(connection: &Connection, pair: (i64, i64)) -> Result<Vec<Credential>> {
    let sql = format!("{SELECT} WHERE c.organization_id = ?1 AND c.provider_id = ?2 ORDER BY c.field, c.stage");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(pair, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the credentials of a pair that are used together: the current ones, with the pending ones or with those that the last
/// promotion replaced in their place where that stage is asked for.
pub(crate) fn together(connection: &Connection, pair: (i64, i64), stage: Stage) -> Result<Vec<Credential>> {
    let (current, others): (Vec<_>, Vec<_>) =
        of_pair(connection, pair)?.into_iter().partition(|credential| credential.stage == Stage::Current);
    let mut others: Vec<Credential> = others.into_iter().filter(|credential| credential.stage == stage).collect();
    let last = others.iter().filter_map(|credential| credential.staged_at).max();
    others.retain(|credential| stage != Stage::Previous || credential.staged_at == last);
    let by_field = current.into_iter().chain(others).map(|credential| (credential.field.clone(), credential));
    Ok(by_field.collect::<BTreeMap<_, _>>().into_values().collect())
}

/// Since when each field of a pair that is set has its value.
pub(crate) type Since = BTreeMap<Name, DateTime<Utc>>;

/// Returns which fields are set and since when, for all organizations, by organization and provider.
pub(crate) fn fields_set(connection: &Connection) -> Result<HashMap<(i64, i64), Since>> {
    let mut statement = connection.prepare(
        "SELECT organization_id, provider_id, field, created_at FROM organization_credentials WHERE stage = 'current'",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(((row.get(0)?, row.get(1)?), (text::parsed(row, "field")?, text::at(row, "created_at")?)))
    })?;
    let mut set: HashMap<(i64, i64), Since> = HashMap::new();
    for row in rows {
        let (pair, (field, at)) = row?;
        set.entry(pair).or_default().insert(field, at);
    }
    Ok(set)
}

/// Returns the current credential of one field, if it is set.
pub(crate) fn find(
    connection: &Connection,
    organization_id: i64,
    provider_id: i64,
    field: &str,
) -> Result<Option<Credential>> {
    find_in(connection, (organization_id, provider_id), field, Stage::Current)
}

/// Returns the credential of one field in a stage, if it has one.
pub(crate) fn find_in(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    field: &str,
    stage: Stage,
) -> Result<Option<Credential>> {
    let sql = format!(
        "{SELECT} WHERE c.organization_id = :organization AND c.provider_id = :provider AND c.field = :field AND c.stage = :stage"
    );
    let parameters = named_params! {
        ":organization": organization_id, ":provider": provider_id, ":field": field, ":stage": stage.as_str(),
    };
    Ok(connection.query_row(&sql, parameters, from_row).optional()?)
}

/// Returns everything that is sealed, each with the place it stands in: credentials of all stages, keys, check values,
/// tokens and deposits.
pub(crate) fn sealed_values(connection: &Connection) -> Result<Vec<(String, Sealed)>> {
    let mut statement = connection.prepare(
        "SELECT 'organization_credentials ' || o.slug || '/' || p.slug || '/' || c.field ||
                CASE c.stage WHEN 'current' THEN '' ELSE ' (' || c.stage || ')' END, c.sealed
         FROM organization_credentials c
         JOIN organizations o ON o.id = c.organization_id JOIN integration_providers p ON p.id = c.provider_id
         UNION ALL
         SELECT 'erasure_keys ' || o.slug, e.sealed FROM erasure_keys e JOIN organizations o ON o.id = e.organization_id
         UNION ALL
         SELECT 'master_keys ' || key_id, check_value FROM master_keys",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Sealed::from_bytes(row.get(1)?))))?;
    let mut values = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    values.extend(keys::wrapped(connection)?.into_iter().map(|key| (key.place.to_string(), key.sealed)));
    let tokens = tokens::all(connection)?.into_iter();
    values.extend(tokens.map(|found| (found.place(), found.token.sealed)));
    values.extend(deposits::sealed_values(connection)?);
    Ok(values)
}

/// Makes room for the next version of a field in place of the one of its stage. Returns its id and version, which the sealed
/// value is bound to; [`fill`] then stores the value, in the same transaction.
pub(crate) fn reserve(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    (field, stage): (&str, Stage),
    data_key_version: i64,
    (created_by, now): (&str, DateTime<Utc>),
) -> Result<(i64, i64)> {
    let last: i64 = tx.query_row(
        "SELECT coalesce(max(version), 0) FROM organization_credentials
         WHERE organization_id = :organization AND provider_id = :provider AND field = :field",
        named_params! { ":organization": organization_id, ":provider": provider_id, ":field": field },
        |row| row.get(0),
    )?;
    delete_stage(tx, (organization_id, provider_id), field, stage)?;
    let id = tx.query_row(
        "INSERT INTO organization_credentials
             (organization_id, provider_id, field, version, stage, data_key_version, sealed, fingerprint, created_by, created_at)
         VALUES (:organization, :provider, :field, :version, :stage, :data_key, x'', '', :by, :now) RETURNING id",
        named_params! {
            ":organization": organization_id, ":provider": provider_id, ":field": field, ":version": last + 1,
            ":stage": stage.as_str(), ":data_key": data_key_version, ":by": created_by, ":now": stamp(now),
        },
        |row| row.get(0),
    )?;
    Ok((id, last + 1))
}

/// Stores the sealed value of a credential that [`reserve`] made room for.
pub(crate) fn fill(tx: &Connection, id: i64, sealed: &Sealed, fingerprint: &str) -> Result<()> {
    tx.execute(
        "UPDATE organization_credentials SET sealed = :sealed, fingerprint = :fingerprint WHERE id = :id",
        named_params! { ":id": id, ":sealed": sealed.as_bytes(), ":fingerprint": fingerprint },
    )?;
    Ok(())
}

/// Stores the same value as another data key seals it; the credential stays what it was.
pub(crate) fn reseal(
    tx: &Connection,
    id: i64,
    data_key_version: i64,
    sealed: &Sealed,
    fingerprint: &str,
) -> Result<()> {
    tx.execute("UPDATE organization_credentials SET data_key_version = ?2 WHERE id = ?1", (id, data_key_version))?;
    fill(tx, id, sealed, fingerprint)
}

/// Notes that a credential takes the place of one that a person set: it is the provider who has replaced it.
pub(crate) fn succeed(tx: &Connection, id: i64, replaced: &Credential) -> Result<()> {
    tx.execute(
        "UPDATE organization_credentials SET given_id = ?2, staged_at = ?3 WHERE id = ?1",
        (id, replaced.given, replaced.staged_at.map(stamp)),
    )?;
    Ok(())
}

/// A field whose current value has made room for another one.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) now: Credential,
    pub(crate) before: Option<Credential>,
}

/// Puts the pending values of a pair in force, and keeps those they replace as previous in place of older ones. What is logged in
/// with those is forgotten.
pub(crate) fn promote(tx: &Connection, pair: (i64, i64), now: DateTime<Utc>) -> Result<Vec<Moved>> {
    tokens::forget(tx, pair.0, pair.1)?;
    let (pending, others): (Vec<_>, Vec<_>) =
        of_pair(tx, pair)?.into_iter().partition(|credential| credential.stage == Stage::Pending);
    let mut moved = Vec::new();
    for pending in pending {
        delete_stage(tx, pair, pending.field.as_str(), Stage::Previous)?;
        let is_replaced = |other: &&Credential| other.stage == Stage::Current && other.field == pending.field;
        let before = others.iter().find(is_replaced).cloned();
        if let Some(before) = &before {
            put_in(tx, before.id, Stage::Previous, now)?;
        }
        put_in(tx, pending.id, Stage::Current, now)?;
        moved.push(Moved { now: pending, before });
    }
    Ok(moved)
}

/// Exchanges the current and the previous value of fields that have both. What is logged in with is forgotten.
pub(crate) fn exchange(tx: &Connection, pair: (i64, i64), fields: &[Name], now: DateTime<Utc>) -> Result<Vec<Moved>> {
    tokens::forget(tx, pair.0, pair.1)?;
    let mut moved = Vec::new();
    for field in fields {
        let find = |stage| find_in(tx, pair, field.as_str(), stage);
        let (Some(current), Some(previous)) = (find(Stage::Current)?, find(Stage::Previous)?) else { continue };
        // Two rows cannot be in one place even for a moment: one steps aside, to a name that no field can have.
        tx.execute("UPDATE organization_credentials SET field = field || ' ' WHERE id = ?1", [previous.id])?;
        put_in(tx, current.id, Stage::Previous, now)?;
        put_in(tx, previous.id, Stage::Current, now)?;
        tx.execute("UPDATE organization_credentials SET field = ?2 WHERE id = ?1", (previous.id, field.as_str()))?;
        moved.push(Moved { now: previous, before: Some(current) });
    }
    Ok(moved)
}

fn put_in(tx: &Connection, id: i64, stage: Stage, now: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE organization_credentials SET stage = ?2, staged_at = ?3 WHERE id = ?1";
    tx.execute(sql, (id, stage.as_str(), stamp(now)))?;
    Ok(())
}

/// Deletes the value of a field in one stage, and with the current one the token it may have been of use to get. Returns false
/// if there was none.
pub(crate) fn delete_stage(tx: &Connection, pair: (i64, i64), field: &str, stage: Stage) -> Result<bool> {
    if stage == Stage::Current {
        tokens::forget(tx, pair.0, pair.1)?;
    }
    let deleted = tx.execute(
        "DELETE FROM organization_credentials
         WHERE organization_id = ?1 AND provider_id = ?2 AND field = ?3 AND stage = ?4",
        (pair.0, pair.1, field, stage.as_str()),
    )?;
    Ok(deleted > 0)
}

/// Deletes all stages of a field, and the token it may have been of use to get. Returns false if there was none.
pub(crate) fn delete(tx: &Connection, organization_id: i64, provider_id: i64, field: &str) -> Result<bool> {
    tokens::forget(tx, organization_id, provider_id)?;
    let deleted = tx.execute(
        "DELETE FROM organization_credentials WHERE organization_id = :organization AND provider_id = :provider AND field = :field",
        named_params! { ":organization": organization_id, ":provider": provider_id, ":field": field },
    )?;
    Ok(deleted > 0)
}
