//! `sealing_keys`: the pairs of keys that deposits are sealed to. Public halves in the clear, private ones wrapped.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::deposits;
use super::keys::{self, Place, Wrapped};
use super::text::{self, stamp};
use crate::secrets::{KeyId, Sealed};

/// A pair as stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredPair {
    /// A hash of the public half; whoever opens it makes it again.
    pub(crate) id: String,
    pub(crate) public: Vec<u8>,
    /// The private half, and the master key that opens it.
    pub(crate) wrapped: Sealed,
    pub(crate) key_id: KeyId,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredPair> {
    Ok(StoredPair {
        id: row.get("id")?,
        public: row.get("public_key")?,
        wrapped: Sealed::from_bytes(row.get("wrapped")?),
        key_id: keys::key_id(row)?,
        created_by: row.get("created_by")?,
        created_at: text::at(row, "created_at")?,
    })
}

/// Returns all pairs, the one in force first; none of an older schema.
pub(crate) fn all(connection: &Connection) -> Result<Vec<StoredPair>> {
    if !deposits::are_there(connection)? {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare_cached("SELECT * FROM sealing_keys ORDER BY retired_at IS NULL DESC, rowid")?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the private halves as master keys wrap them.
pub(super) fn wrapped(connection: &Connection) -> Result<Vec<Wrapped>> {
    let pairs = all(connection)?.into_iter();
    let wrapped =
        |StoredPair { id, key_id, wrapped, .. }| Wrapped { place: Place::OpeningKey { id }, key_id, sealed: wrapped };
    Ok(pairs.map(wrapped).collect())
}

/// Returns the pair that deposits are sealed to, if there is one.
pub(crate) fn in_force(connection: &Connection) -> Result<Option<StoredPair>> {
    let sql = "SELECT * FROM sealing_keys WHERE retired_at IS NULL";
    Ok(connection.query_row(sql, [], from_row).optional()?)
}

/// Returns a pair by its id.
pub(crate) fn find(connection: &Connection, id: &str) -> Result<Option<StoredPair>> {
    Ok(connection.query_row("SELECT * FROM sealing_keys WHERE id = ?1", [id], from_row).optional()?)
}

/// A pair to store.
pub(crate) struct NewPair<'a> {
    pub(crate) id: &'a str,
    pub(crate) public: &'a [u8],
    /// The master key that wraps the private half.
    pub(crate) key_id: KeyId,
    pub(crate) wrapped: &'a Sealed,
}

/// Puts a pair in force, in the place of the one that is. That one goes as soon as no deposit needs it.
pub(crate) fn put_in_force(tx: &Connection, pair: &NewPair<'_>, (by, now): (&str, DateTime<Utc>)) -> Result<()> {
    tx.execute("UPDATE sealing_keys SET retired_at = ?1 WHERE retired_at IS NULL", [stamp(now)])?;
    tx.execute(
        "INSERT INTO sealing_keys (id, public_key, key_id, wrapped, created_by, created_at)
         VALUES (:id, :public, :key, :wrapped, :by, :now)",
        named_params! {
            ":id": pair.id, ":public": pair.public, ":key": pair.key_id.to_string(), ":wrapped": pair.wrapped.as_bytes(),
            ":by": by, ":now": stamp(now),
        },
    )?;
    delete_unneeded(tx)
}

/// Deletes the pairs that were replaced and that no deposit is sealed to any more.
pub(super) fn delete_unneeded(tx: &Connection) -> Result<()> {
    tx.execute(
        "DELETE FROM sealing_keys
         WHERE retired_at IS NOT NULL AND id NOT IN (SELECT sealing_key_id FROM credential_deposits)",
        [],
    )?;
    Ok(())
}
