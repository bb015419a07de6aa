//! Seals what is secret into the database and opens it again, with the master key in hand.

mod credentials;
mod erasures;
mod tokens;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use ring::rand::SystemRandom;

pub(crate) use credentials::Opened;
pub(crate) use tokens::KeptToken;

use crate::error::{Exit, UserError};
use crate::secrets::{DataKey, DekContext, MasterKey, Names};
use crate::store::keys::{self, WrappedKey};
use crate::store::organizations::Organization;
use crate::store::{Connection, Store};

/// The master key, proved to be the one this database needs.
pub(crate) struct Vault {
    key: MasterKey,
    database_id: String,
}

/// Registers a master key with a database that has none yet.
pub(crate) fn register(tx: &Connection, database_id: &str, key: &MasterKey, now: DateTime<Utc>) -> Result<()> {
    keys::insert_master_key(tx, key.id(), &key.check_value(database_id)?, now)
}

impl Vault {
    /// Checks the key against the database before anything is written with it.
    pub(crate) fn unlock(store: &Store, key: MasterKey) -> Result<Self> {
        let (needed, check) = keys::master_key(store.read())?.ok_or_else(|| {
            UserError::new(Exit::Key, "key_not_registered", "the database has no master key yet")
                .hint("run `skillsctl init`")
        })?;
        key.verify_check(store.database_id(), needed, &check)?;
        Ok(Vault { key, database_id: store.database_id().to_owned() })
    }

    /// Returns what makes names out of secrets, the same for all organizations.
    pub(crate) fn names(&self) -> Names {
        self.key.names()
    }

    fn data_key(&self, connection: &Connection, organization: &Organization, version: i64) -> Result<DataKey> {
        let wrapped = keys::data_key(connection, organization.id, Some(version))?
            .with_context(|| format!("organization `{}` has no data key version {version}", organization.slug))?;
        self.unwrap(organization, &wrapped)
    }

    fn data_key_or_new(
        &self,
        tx: &Connection,
        organization: &Organization,
        now: DateTime<Utc>,
    ) -> Result<(DataKey, i64)> {
        if let Some(wrapped) = keys::data_key(tx, organization.id, None)? {
            return Ok((self.unwrap(organization, &wrapped)?, wrapped.version));
        }
        let key = DataKey::generate(&SystemRandom::new())?;
        let wrapped = self.key.wrap(&key, &self.wrapping(organization, 1))?;
        keys::insert_data_key(tx, organization.id, &WrappedKey { version: 1, key_id: self.key.id(), wrapped }, now)?;
        Ok((key, 1))
    }

    fn unwrap(&self, organization: &Organization, wrapped: &WrappedKey) -> Result<DataKey> {
        Ok(self.key.unwrap(
            &wrapped.wrapped,
            &self.wrapping(organization, wrapped.version),
            organization.slug.as_str(),
        )?)
    }

    fn wrapping(&self, organization: &Organization, version: i64) -> DekContext<'_> {
        DekContext { db_id: &self.database_id, organization_id: organization.id, version }
    }
}
