//! `master_keys` and `data_keys`: which master keys there are, and the data keys they wrap. No key in clear.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::text::stamp;
use crate::secrets::{KeyId, Sealed};

/// An organization's data key as stored.
#[derive(Debug, Clone)]
pub(crate) struct WrappedKey {
    pub(crate) version: i64,
    /// The master key that opens it.
    pub(crate) key_id: KeyId,
    pub(crate) wrapped: Sealed,
}

/// Returns a data key of an organization: one version, or the newest.
pub(crate) fn data_key(
    connection: &Connection,
    organization_id: i64,
    version: Option<i64>,
) -> Result<Option<WrappedKey>> {
    let found = connection
        .query_row(
            "SELECT version, key_id, wrapped FROM data_keys
             WHERE organization_id = :organization AND (:version IS NULL OR version = :version) ORDER BY version DESC LIMIT 1",
            named_params! { ":organization": organization_id, ":version": version },
            |row| {
                Ok(WrappedKey {
                    version: row.get("version")?,
                    key_id: row.get_ref("key_id")?.as_str()?.parse().map_err(|error: crate::error::UserError| {
                        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
                    })?,
                    wrapped: Sealed::from_bytes(row.get("wrapped")?),
                })
            },
        )
        .optional()?;
    Ok(found)
}

/// Stores a data key.
pub(crate) fn insert_data_key(
    tx: &Connection,
    organization_id: i64,
    key: &WrappedKey,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.execute(
        "INSERT INTO data_keys (organization_id, version, key_id, wrapped, created_at) VALUES (:organization, :version, :key, :wrapped, :now)",
        named_params! {
            ":organization": organization_id, ":version": key.version, ":key": key.key_id.to_string(),
            ":wrapped": key.wrapped.as_bytes(), ":now": stamp(now),
        },
    )?;
    Ok(())
}

/// Returns the master key in force and the value that only it opens.
pub(crate) fn master_key(connection: &Connection) -> Result<Option<(KeyId, Sealed)>> {
    let found: Option<(String, Vec<u8>)> = connection
        .query_row("SELECT key_id, check_value FROM master_keys ORDER BY created_at DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found
        .map(|(id, check)| Ok::<_, crate::error::UserError>((id.parse()?, Sealed::from_bytes(check))))
        .transpose()?)
}

/// Registers a master key.
pub(crate) fn insert_master_key(tx: &Connection, id: KeyId, check: &Sealed, now: DateTime<Utc>) -> Result<()> {
    tx.execute(
        "INSERT INTO master_keys (key_id, check_value, created_at) VALUES (:id, :check, :now)",
        named_params! { ":id": id.to_string(), ":check": check.as_bytes(), ":now": stamp(now) },
    )?;
    Ok(())
}
