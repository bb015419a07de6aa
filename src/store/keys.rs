//! `master_keys`, and what they wrap: which master keys there are, and the keys under them. No key in clear.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::sealing_keys;
use super::text::{self, stamp};
use crate::error::UserError;
use crate::mutants;
use crate::secrets::{KeyId, Sealed};

/// A master key as the database knows it.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) id: KeyId,
    /// A value that only the right key opens.
    pub(crate) check: Sealed,
    pub(crate) created_at: DateTime<Utc>,
    /// When another took its place; `None` for the one in force.
    pub(crate) replaced_at: Option<DateTime<Utc>>,
}

/// Returns all master keys that were not retired, in the order they came.
pub(crate) fn master_keys(connection: &Connection) -> Result<Vec<Registered>> {
    // A database that is only looked at may be of a schema in which no key could be replaced yet.
    let mut statement = connection.prepare("SELECT * FROM master_keys ORDER BY created_at, rowid")?;
    let replaceable = statement.column_index("replaced_at").is_ok();
    let rows = statement.query_map([], |row| {
        Ok(Registered {
            id: key_id(row)?,
            check: Sealed::from_bytes(row.get("check_value")?),
            created_at: text::at(row, "created_at")?,
            replaced_at: if replaceable { text::at_or_null(row, "replaced_at")? } else { None },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the master key in force: the one that everything is wrapped by.
pub(crate) fn in_force(connection: &Connection) -> Result<Option<Registered>> {
    Ok(master_keys(connection)?.into_iter().find(|key| key.replaced_at.is_none()))
}

/// Puts a master key in force, in the place of the one that is. One that was replaced itself may come back.
pub(crate) fn put_in_force(tx: &Connection, id: KeyId, check: &Sealed, now: DateTime<Utc>) -> Result<()> {
    tx.execute("UPDATE master_keys SET replaced_at = ?1 WHERE replaced_at IS NULL", [stamp(now)])?;
    tx.execute(
        "INSERT INTO master_keys (key_id, check_value, created_at) VALUES (:id, :check, :now)
         ON CONFLICT (key_id) DO UPDATE SET check_value = excluded.check_value, replaced_at = NULL",
        named_params! { ":id": id.to_string(), ":check": check.as_bytes(), ":now": stamp(now) },
    )?;
    Ok(())
}

/// Takes a master key out of the database, which refuses that while it wraps anything.
pub(crate) fn delete_master_key(tx: &Connection, id: KeyId) -> Result<()> {
    tx.execute("DELETE FROM master_keys WHERE key_id = ?1", [id.to_string()])?;
    Ok(())
}

/// What a master key wraps. A new kind of thing is added here, to [`wrapped`] and to [`rewrap`], and to
/// `Vault::associated_data`: then keys are rotated, checked, counted and retired with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A key that the credentials of an organization are sealed under.
    DataKey { organization_id: i64, organization: String, version: i64 },
    /// The private half of a sealing key, which opens deposits.
    OpeningKey { id: String },
}

/// As in a finding of `db check`: the table, and what the row is known by.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::DataKey { organization, version, .. } => write!(f, "data_keys {organization} version {version}"),
            Place::OpeningKey { id } => write!(f, "sealing_keys {id}"),
        }
    }
}

/// A key as stored, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Wrapped {
    pub(crate) place: Place,
    /// The master key that opens it.
    pub(crate) key_id: KeyId,
    pub(crate) sealed: Sealed,
}

/// Returns everything that master keys wrap.
pub(crate) fn wrapped(connection: &Connection) -> Result<Vec<Wrapped>> {
    let mut statement = connection.prepare_cached(
        "SELECT k.organization_id, o.slug, k.version, k.key_id, k.wrapped
         FROM data_keys k JOIN organizations o ON o.id = k.organization_id ORDER BY k.organization_id, k.version",
    )?;
    let data_keys = statement.query_map([], |row| {
        let place = Place::DataKey {
            organization_id: row.get("organization_id")?,
            organization: row.get("slug")?,
            version: row.get("version")?,
        };
        Ok(Wrapped { place, key_id: key_id(row)?, sealed: Sealed::from_bytes(row.get("wrapped")?) })
    })?;
    let mut wrapped = data_keys.collect::<rusqlite::Result<Vec<_>>>()?;
    wrapped.extend(sealing_keys::wrapped(connection)?);
    Ok(wrapped)
}

/// Stores a key as another master key wraps it.
pub(crate) fn rewrap(tx: &Connection, place: &Place, key_id: KeyId, sealed: &Sealed) -> Result<()> {
    match place {
        Place::DataKey { organization_id, version, .. } => tx.execute(
            "UPDATE data_keys SET key_id = ?3, wrapped = ?4 WHERE organization_id = ?1 AND version = ?2",
            (organization_id, version, key_id.to_string(), sealed.as_bytes()),
        )?,
        Place::OpeningKey { id } => tx.execute(
            "UPDATE sealing_keys SET key_id = ?2, wrapped = ?3 WHERE id = ?1",
            (id, key_id.to_string(), sealed.as_bytes()),
        )?,
    };
    if mutants::on("rewrap-one-by-one") {
        tx.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
    }
    mutants::point("key rewrapped");
    Ok(())
}

/// Returns how many keys each master key wraps.
pub(crate) fn wrapped_by(connection: &Connection) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for Wrapped { key_id, .. } in wrapped(connection)? {
        *counts.entry(key_id.to_string()).or_default() += 1;
    }
    Ok(counts)
}

/// Returns the master keys without which something in the database does not open: the one in force first.
pub(crate) fn needed(connection: &Connection) -> Result<Vec<KeyId>> {
    let in_force = in_force(connection)?.map(|key| key.id);
    let mut needed: Vec<KeyId> = in_force.into_iter().collect();
    for Wrapped { key_id, .. } in wrapped(connection)? {
        if !needed.contains(&key_id) {
            needed.push(key_id);
        }
    }
    Ok(needed)
}

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
                    key_id: key_id(row)?,
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

/// Deletes the data keys of an organization that nothing is sealed under any more; the newest stays.
pub(crate) fn delete_unused_data_keys(tx: &Connection, organization_id: i64) -> Result<()> {
    tx.execute(
        "DELETE FROM data_keys AS k WHERE organization_id = ?1
         AND version < (SELECT max(version) FROM data_keys WHERE organization_id = ?1)
         AND NOT EXISTS (SELECT 1 FROM organization_credentials c
                         WHERE c.organization_id = ?1 AND c.data_key_version = k.version)
         AND NOT EXISTS (SELECT 1 FROM erasure_keys e WHERE e.organization_id = ?1 AND e.data_key_version = k.version)
         AND NOT EXISTS (SELECT 1 FROM access_tokens t WHERE t.organization_id = ?1 AND t.data_key_version = k.version)",
        [organization_id],
    )?;
    Ok(())
}

pub(super) fn key_id(row: &Row<'_>) -> rusqlite::Result<KeyId> {
    row.get_ref("key_id")?.as_str()?.parse().map_err(|error: UserError| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::super::{Keep, tests::memory};
    use super::*;
    use crate::secrets::MasterKey;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn one_master_key_is_in_force_and_a_replaced_one_may_come_back() {
        let mut store = memory();
        let [one, other] = [0, 0].map(|_| MasterKey::generate(&SystemRandom::new()).unwrap().id());
        let check = Sealed::from_bytes(vec![1]);
        let put = |store: &mut super::super::Store, id, second| {
            store.change(Keep::Yes, |tx| put_in_force(tx, id, &check, at(second))).unwrap();
        };
        put(&mut store, one, 1);
        // In the same moment: the order of times says nothing.
        put(&mut store, other, 1);
        assert_eq!(in_force(store.read()).unwrap().unwrap().id, other);
        put(&mut store, one, 3);
        let keys: Vec<_> =
            master_keys(store.read()).unwrap().into_iter().map(|key| (key.id, key.replaced_at)).collect();
        assert_eq!(keys, [(one, None), (other, Some(at(3)))]);
        store.read().execute("UPDATE master_keys SET replaced_at = NULL", []).unwrap_err();
    }
}
