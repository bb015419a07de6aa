//! `access_tokens`: the token that each pair is logged in with, sealed.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension as _, named_params};

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

/// Returns the token of a pair, if it is logged in.
pub(crate) fn find(connection: &Connection, organization_id: i64, provider_id: i64) -> Result<Option<StoredToken>> {
    let sql = "SELECT basis, data_key_version, sealed, got_at, expires_at FROM access_tokens
               WHERE organization_id = ?1 AND provider_id = ?2";
    let found = connection.query_row(sql, (organization_id, provider_id), |row| {
        Ok(StoredToken {
            basis: row.get("basis")?,
            data_key_version: row.get("data_key_version")?,
            sealed: Sealed::from_bytes(row.get("sealed")?),
            got_at: row.get("got_at")?,
            expires_at: row.get("expires_at")?,
        })
    });
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

/// Deletes all tokens of an organization.
pub(crate) fn forget_all(tx: &Connection, organization_id: i64) -> Result<()> {
    tx.execute("DELETE FROM access_tokens WHERE organization_id = ?1", [organization_id])?;
    Ok(())
}
