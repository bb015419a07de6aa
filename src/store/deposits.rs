//! `credential_deposits`: credentials sealed by who has no master key, until somebody who has it takes them in.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::sealing_keys;
use super::text::{self, stamp};
use crate::domain::names::Name;
use crate::mutants;
use crate::secrets::Sealed;

/// A deposit as stored.
#[derive(Debug, Clone)]
pub(crate) struct Deposit {
    pub(crate) id: i64,
    pub(crate) provider: Name,
    pub(crate) field: Name,
    /// The pair whose private half opens it.
    pub(crate) sealing_key_id: String,
    /// The credential that a person had set there by then; `None` where there was none.
    pub(crate) replaces: Option<i64>,
    pub(crate) sealed: Sealed,
    /// The code of why it was not taken in, if that was tried.
    pub(crate) refused: Option<String>,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
}

const SELECT: &str =
    "SELECT d.id, p.slug AS provider, d.field, d.sealing_key_id, d.replaces, d.sealed, d.refused, d.created_by, d.created_at
     FROM credential_deposits d JOIN integration_providers p ON p.id = d.provider_id
     WHERE d.organization_id = :organization";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Deposit> {
    Ok(Deposit {
        id: row.get("id")?,
        provider: text::parsed(row, "provider")?,
        field: text::parsed(row, "field")?,
        sealing_key_id: row.get("sealing_key_id")?,
        replaces: row.get("replaces")?,
        sealed: Sealed::from_bytes(row.get("sealed")?),
        refused: row.get("refused")?,
        created_by: row.get("created_by")?,
        created_at: text::at(row, "created_at")?,
    })
}

/// Returns the deposits of an organization.
pub(crate) fn all(connection: &Connection, organization_id: i64) -> Result<Vec<Deposit>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} ORDER BY p.id, d.field"))?;
    let rows = statement.query_map(named_params! { ":organization": organization_id }, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the deposits of one provider of an organization.
pub(crate) fn of_pair(connection: &Connection, (organization_id, provider_id): (i64, i64)) -> Result<Vec<Deposit>> {
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} AND d.provider_id = :provider ORDER BY d.field"))?;
    let parameters = named_params! { ":organization": organization_id, ":provider": provider_id };
    let rows = statement.query_map(parameters, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the deposit of one field, if there is one.
pub(crate) fn find(
    connection: &Connection,
    (organization_id, provider_id): (i64, i64),
    field: &str,
) -> Result<Option<Deposit>> {
    let sql = format!("{SELECT} AND d.provider_id = :provider AND d.field = :field");
    let parameters = named_params! { ":organization": organization_id, ":provider": provider_id, ":field": field };
    Ok(connection.query_row(&sql, parameters, from_row).optional()?)
}

/// Returns which fields have a deposit that nobody has refused, for all organizations, by organization and provider.
pub(crate) fn fields_waiting(connection: &Connection) -> Result<HashMap<(i64, i64), BTreeSet<Name>>> {
    let mut statement = connection
        .prepare("SELECT organization_id, provider_id, field FROM credential_deposits WHERE refused IS NULL")?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), text::parsed(row, "field")?)))?;
    let mut waiting: HashMap<(i64, i64), BTreeSet<Name>> = HashMap::new();
    for row in rows {
        let (pair, field) = row?;
        waiting.entry(pair).or_default().insert(field);
    }
    Ok(waiting)
}

/// Returns how many deposits there are to each pair of keys.
pub(crate) fn counts(connection: &Connection) -> Result<HashMap<String, i64>> {
    let mut statement =
        connection.prepare("SELECT sealing_key_id, count(*) FROM credential_deposits GROUP BY sealing_key_id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns whether a database knows of deposits at all: not one of an older schema, looked at as it is.
pub(crate) fn are_there(connection: &Connection) -> Result<bool> {
    Ok(connection.table_exists(None, "credential_deposits")?)
}

/// Returns all deposits, each with the place it stands in; none of an older schema.
pub(super) fn sealed_values(connection: &Connection) -> Result<Vec<(String, Sealed)>> {
    if !are_there(connection)? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(
        "SELECT 'credential_deposits ' || o.slug || '/' || p.slug || '/' || d.field, d.sealed
         FROM credential_deposits d
         JOIN organizations o ON o.id = d.organization_id JOIN integration_providers p ON p.id = d.provider_id",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Sealed::from_bytes(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A deposit to store; the value is sealed to it once its row is known.
pub(crate) struct NewDeposit<'a> {
    /// The rows of organization and provider.
    pub(crate) pair: (i64, i64),
    pub(crate) field: &'a str,
    pub(crate) sealing_key_id: &'a str,
    pub(crate) replaces: Option<i64>,
    pub(crate) created_by: &'a str,
    pub(crate) created_at: DateTime<Utc>,
}

/// Makes room for a deposit, in place of one that the field has already. Returns its id, which the sealed value is bound
/// to and which never comes again; [`fill`] then stores the value, in the same transaction.
pub(crate) fn reserve(tx: &Connection, new: &NewDeposit<'_>) -> Result<i64> {
    if let Some(before) = find(tx, new.pair, new.field)? {
        delete(tx, before.id)?;
    }
    Ok(tx.query_row(
        "INSERT INTO credential_deposits
             (organization_id, provider_id, field, sealing_key_id, replaces, sealed, created_by, created_at)
         VALUES (:organization, :provider, :field, :key, :replaces, x'', :by, :at) RETURNING id",
        named_params! {
            ":organization": new.pair.0, ":provider": new.pair.1, ":field": new.field, ":key": new.sealing_key_id,
            ":replaces": new.replaces, ":by": new.created_by, ":at": stamp(new.created_at),
        },
        |row| row.get(0),
    )?)
}

/// Stores the sealed value of a deposit that [`reserve`] made room for.
pub(crate) fn fill(tx: &Connection, id: i64, sealed: &Sealed) -> Result<()> {
    tx.execute("UPDATE credential_deposits SET sealed = ?2 WHERE id = ?1", (id, sealed.as_bytes()))?;
    Ok(())
}

/// Notes why a deposit was not taken in. Returns false where that is known already.
pub(crate) fn refuse(tx: &Connection, id: i64, code: &str) -> Result<bool> {
    let sql = "UPDATE credential_deposits SET refused = ?2 WHERE id = ?1 AND refused IS NOT ?2";
    Ok(tx.execute(sql, (id, code))? > 0)
}

/// Deletes a deposit, and the pair it was sealed to if that was kept for it alone.
pub(crate) fn delete(tx: &Connection, id: i64) -> Result<()> {
    tx.execute("DELETE FROM credential_deposits WHERE id = ?1", [id])?;
    sealing_keys::delete_unneeded(tx)?;
    mutants::point("deposit deleted");
    Ok(())
}
