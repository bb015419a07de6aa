//! `organization_credentials`: sealed values and what is known of them without the master key, never a value in clear.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::text::{self, stamp};
use super::tokens;
use crate::domain::names::Name;
use crate::secrets::Sealed;

/// What is known of a credential without the master key.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) id: i64,
    /// The row that a person set, of which the provider may have replaced the value since.
    pub(crate) given: i64,
    pub(crate) provider: Name,
    pub(crate) field: Name,
    pub(crate) version: i64,
    pub(crate) data_key_version: i64,
    pub(crate) sealed: Sealed,
    /// Eight hex digits that tell two values apart and say nothing about them.
    pub(crate) fingerprint: String,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
}

const SELECT: &str =
    "SELECT c.id, coalesce(c.given_id, c.id) AS given, p.slug AS provider, c.field, c.version, c.data_key_version, c.sealed, c.fingerprint, c.created_by,
            c.created_at
     FROM organization_credentials c JOIN integration_providers p ON p.id = c.provider_id
     WHERE c.organization_id = :organization AND c.stage = 'current'";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        id: row.get("id")?,
        given: row.get("given")?,
        provider: text::parsed(row, "provider")?,
        field: text::parsed(row, "field")?,
        version: row.get("version")?,
        data_key_version: row.get("data_key_version")?,
        sealed: Sealed::from_bytes(row.get("sealed")?),
        fingerprint: row.get("fingerprint")?,
        created_by: row.get("created_by")?,
        created_at: text::at(row, "created_at")?,
    })
}

/// Returns all current credentials of an organization, dormant ones too.
pub(crate) fn all(connection: &Connection, organization_id: i64) -> Result<Vec<Credential>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} ORDER BY p.id, c.field"))?;
    let rows = statement.query_map(named_params! { ":organization": organization_id }, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns which fields are set, for all organizations, by organization and provider.
pub(crate) fn fields_set(connection: &Connection) -> Result<HashMap<(i64, i64), BTreeSet<Name>>> {
    let mut statement = connection
        .prepare("SELECT organization_id, provider_id, field FROM organization_credentials WHERE stage = 'current'")?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), text::parsed(row, "field")?)))?;
    let mut set: HashMap<(i64, i64), BTreeSet<Name>> = HashMap::new();
    for row in rows {
        let (pair, field) = row?;
        set.entry(pair).or_default().insert(field);
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
    let sql = format!("{SELECT} AND c.provider_id = :provider AND c.field = :field");
    let parameters = named_params! { ":organization": organization_id, ":provider": provider_id, ":field": field };
    Ok(connection.query_row(&sql, parameters, from_row).optional()?)
}

/// Returns everything that is sealed, each with the place it stands in: credentials of all stages, data keys, check values.
pub(crate) fn sealed_values(connection: &Connection) -> Result<Vec<(String, Sealed)>> {
    let mut statement = connection.prepare(
        "SELECT 'organization_credentials ' || o.slug || '/' || p.slug || '/' || c.field, c.sealed
         FROM organization_credentials c
         JOIN organizations o ON o.id = c.organization_id JOIN integration_providers p ON p.id = c.provider_id
         UNION ALL
         SELECT 'data_keys ' || o.slug || ' version ' || k.version, k.wrapped
         FROM data_keys k JOIN organizations o ON o.id = k.organization_id
         UNION ALL
         SELECT 'erasure_keys ' || o.slug, e.sealed FROM erasure_keys e JOIN organizations o ON o.id = e.organization_id
         UNION ALL
         SELECT 'master_keys ' || key_id, check_value FROM master_keys",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Sealed::from_bytes(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Makes room for the next version of a field in place of the current one. Returns its id and version, which the sealed
/// value is bound to; [`fill`] then stores the value, in the same transaction.
pub(crate) fn reserve(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    field: &str,
    data_key_version: i64,
    (created_by, now): (&str, DateTime<Utc>),
) -> Result<(i64, i64)> {
    let last: i64 = tx.query_row(
        "SELECT coalesce(max(version), 0) FROM organization_credentials
         WHERE organization_id = :organization AND provider_id = :provider AND field = :field",
        named_params! { ":organization": organization_id, ":provider": provider_id, ":field": field },
        |row| row.get(0),
    )?;
    delete(tx, organization_id, provider_id, field)?;
    let id = tx.query_row(
        "INSERT INTO organization_credentials
             (organization_id, provider_id, field, version, stage, data_key_version, sealed, fingerprint, created_by, created_at)
         VALUES (:organization, :provider, :field, :version, 'current', :data_key, x'', '', :by, :now) RETURNING id",
        named_params! {
            ":organization": organization_id, ":provider": provider_id, ":field": field, ":version": last + 1,
            ":data_key": data_key_version, ":by": created_by, ":now": stamp(now),
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

/// Notes that a credential takes the place of one that a person set: it is the provider who has replaced it.
pub(crate) fn succeed(tx: &Connection, id: i64, given: i64) -> Result<()> {
    tx.execute("UPDATE organization_credentials SET given_id = ?2 WHERE id = ?1", (id, given))?;
    Ok(())
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
