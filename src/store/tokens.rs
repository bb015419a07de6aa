//! `access_tokens`: the token that each pair is logged in with, sealed.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::secrets::Sealed;

/// A token as stored. Its times stay texts: they are part of what it is bound to.
#[derive(Debug)]
pub(crate) struct StoredToken {
    /// A hash of the credentials and settings it was got with.
    pub(crate) basis: String,
    pub(crate) data_key_version: i64,
    pub(crate) sealed: Sealed,
    pub(crate) got_at: String,
    pub(crate) expires_at: String,
}

/// A token and whose it is.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) organization_id: i64,
    pub(crate) organization: String,
    pub(crate) provider: String,
    pub(crate) token: StoredToken,
}

impl Found {
    /// Returns where it stands, as in a finding of `db check`.
    pub(crate) fn place(&self) -> String {
        format!("access_tokens {}/{}", self.organization, self.provider)
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    Ok(StoredToken {
        basis: row.get("basis")?,
        data_key_version: row.get("data_key_version")?,
        sealed: Sealed::from_bytes(row.get("sealed")?),
        got_at: row.get("got_at")?,
        expires_at: row.get("expires_at")?,
    })
}

/// Returns all tokens; none of a database, only looked at, that is older than they are.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Found>> {
    if !connection.table_exists(None, "access_tokens")? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(
        "SELECT t.organization_id, o.slug AS organization, p.slug AS provider, t.basis, t.data_key_version, t.sealed, t.got_at, t.expires_at
         FROM access_tokens t JOIN organizations o ON o.id = t.organization_id JOIN integration_providers p ON p.id = t.provider_id
         ORDER BY t.organization_id, t.provider_id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Found {
            organization_id: row.get("organization_id")?,
            organization: row.get("organization")?,
            provider: row.get("provider")?,
            token: from_row(row)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the token of a pair, if it is logged in.
pub(crate) fn find(connection: &Connection, organization_id: i64, provider_id: i64) -> Result<Option<StoredToken>> {
    let sql = "SELECT basis, data_key_version, sealed, got_at, expires_at FROM access_tokens
               WHERE organization_id = ?1 AND provider_id = ?2";
    let found = connection.query_row(sql, (organization_id, provider_id), from_row);
    Ok(found.optional()?)
}

/// Stores the token of a pair in place of the one before.
pub(crate) fn put(tx: &Connection, (organization_id, provider_id): (i64, i64), token: &StoredToken) -> Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO access_tokens
             (organization_id, provider_id, basis, data_key_version, sealed, got_at, expires_at)
         VALUES (:organization, :provider, :basis, :data_key, :sealed, :got_at, :expires_at)",
        named_params! {
            ":organization": organization_id, ":provider": provider_id, ":basis": token.basis,
            ":data_key": token.data_key_version, ":sealed": token.sealed.as_bytes(), ":got_at": token.got_at,
            ":expires_at": token.expires_at,
        },
    )?;
    Ok(())
}

/// Deletes the token of a pair.
pub(crate) fn forget(tx: &Connection, organization_id: i64, provider_id: i64) -> Result<()> {
    let sql = "DELETE FROM access_tokens WHERE organization_id = ?1 AND provider_id = ?2";
    tx.execute(sql, (organization_id, provider_id))?;
    Ok(())
}

/// Deletes all tokens of an organization and returns how many there were.
pub(crate) fn forget_all(tx: &Connection, organization_id: i64) -> Result<usize> {
    Ok(tx.execute("DELETE FROM access_tokens WHERE organization_id = ?1", [organization_id])?)
}
