//! `erasure_keys` and `erasures`: who was erased and must not come back, by keyed hashes alone.

use std::collections::HashSet;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::text::{self, stamp};
use crate::secrets::{PersonHash, Sealed};

/// The key of an organization's hashes as stored.
#[derive(Debug)]
pub(crate) struct StoredKey {
    pub(crate) data_key_version: i64,
    pub(crate) sealed: Sealed,
}

/// A person who was erased.
#[derive(Debug, Clone)]
pub(crate) struct Erasure {
    pub(crate) person: i64,
    /// The first of the hashes that the person is known by.
    pub(crate) hash: PersonHash,
    /// How many there are.
    pub(crate) hashes: u64,
    pub(crate) at: DateTime<Utc>,
}

/// Returns the key of an organization, if anybody ever was erased there.
pub(crate) fn key(connection: &Connection, organization_id: i64) -> Result<Option<StoredKey>> {
    let sql = "SELECT data_key_version, sealed FROM erasure_keys WHERE organization_id = ?1";
    let found = connection.query_row(sql, [organization_id], |row| {
        Ok(StoredKey { data_key_version: row.get(0)?, sealed: Sealed::from_bytes(row.get(1)?) })
    });
    Ok(found.optional()?)
}

/// Stores the key of an organization in place of the one before.
pub(crate) fn put_key(tx: &Connection, organization_id: i64, key: &StoredKey) -> Result<()> {
    tx.execute(
        "INSERT INTO erasure_keys (organization_id, data_key_version, sealed, revision) VALUES (:organization, :version, :sealed, 0)
         ON CONFLICT (organization_id) DO UPDATE SET data_key_version = excluded.data_key_version, sealed = excluded.sealed",
        named_params! {
            ":organization": organization_id, ":version": key.data_key_version, ":sealed": key.sealed.as_bytes(),
        },
    )?;
    Ok(())
}

/// Returns a number that changes whenever somebody of an organization is erased or may come back; none where nobody ever
/// was erased. One look-up, as each page of a sync asks for it.
pub(crate) fn revision(connection: &Connection, organization_id: i64) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT revision FROM erasure_keys WHERE organization_id = ?1")?;
    Ok(statement.query_row([organization_id], |row| row.get(0)).optional()?)
}

fn count_change(tx: &Connection, organization_id: i64) -> Result<()> {
    tx.execute("UPDATE erasure_keys SET revision = revision + 1 WHERE organization_id = ?1", [organization_id])?;
    Ok(())
}

/// Returns all hashes of an organization.
pub(crate) fn hashes(connection: &Connection, organization_id: i64) -> Result<HashSet<PersonHash>> {
    let mut statement = connection.prepare("SELECT digest FROM erasures WHERE organization_id = ?1")?;
    let rows = statement.query_map([organization_id], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the persons erased from an organization, first ones first.
pub(crate) fn list(connection: &Connection, organization_id: i64) -> Result<Vec<Erasure>> {
    let mut statement = connection.prepare(
        "SELECT e.person, e.digest, count(*) AS hashes, min(e.erased_at) AS erased_at, min(e.id)
         FROM erasures e WHERE e.organization_id = ?1 GROUP BY e.person ORDER BY min(e.id)",
    )?;
    let rows = statement.query_map([organization_id], |row| {
        let hashes: i64 = row.get("hashes")?;
        Ok(Erasure {
            person: row.get("person")?,
            hash: row.get("digest")?,
            hashes: u64::try_from(hashes).unwrap_or(0),
            at: text::at(row, "erased_at")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns who was erased that is known by any of these hashes.
pub(crate) fn find(connection: &Connection, organization_id: i64, hashes: &[PersonHash]) -> Result<Vec<Erasure>> {
    let mut persons = HashSet::new();
    let mut statement = connection.prepare("SELECT person FROM erasures WHERE organization_id = ?1 AND digest = ?2")?;
    for hash in hashes {
        persons.extend(statement.query_row((organization_id, hash), |row| row.get::<_, i64>(0)).optional()?);
    }
    let mut found = list(connection, organization_id)?;
    found.retain(|erasure| persons.contains(&erasure.person));
    Ok(found)
}

/// Records that a person was erased who was known by these. One who was erased before is the same person still.
pub(crate) fn insert(tx: &Connection, organization_id: i64, hashes: &[PersonHash], now: DateTime<Utc>) -> Result<()> {
    let known = find(tx, organization_id, hashes)?;
    let next = || tx.query_row("SELECT coalesce(max(person), 0) + 1 FROM erasures", [], |row| row.get(0));
    let person: i64 = known.first().map_or_else(next, |erasure| Ok(erasure.person))?;
    for other in known.iter().skip(1) {
        let sql = "UPDATE erasures SET person = ?1 WHERE organization_id = ?2 AND person = ?3";
        tx.execute(sql, (person, organization_id, other.person))?;
    }
    for hash in hashes {
        tx.execute(
            "INSERT INTO erasures (organization_id, person, digest, erased_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (organization_id, digest) DO NOTHING",
            (organization_id, person, hash, stamp(now)),
        )?;
    }
    count_change(tx, organization_id)
}

/// Forgets that a person was erased: the next record of it is stored again.
pub(crate) fn lift(tx: &Connection, organization_id: i64, person: i64) -> Result<()> {
    tx.execute("DELETE FROM erasures WHERE organization_id = ?1 AND person = ?2", (organization_id, person))?;
    count_change(tx, organization_id)
}
