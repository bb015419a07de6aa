//! Seals credentials into the database and opens them again, with the master key in hand.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use ring::rand::SystemRandom;

use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::secrets::{self, CredentialContext, DataKey, DekContext, MasterKey, Names, Sealed, Secret, TokenContext};
use crate::store::credentials::{self, Credential, WrappedKey};
use crate::store::organizations::Organization;
use crate::store::providers::Provider;
use crate::store::tokens::{self, StoredToken};
use crate::store::{Connection, Store, stamp};

/// The master key, proved to be the one this database needs.
pub(crate) struct Vault {
    key: MasterKey,
    database_id: String,
}

/// The credentials of one provider of an organization, opened.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) secrets: BTreeMap<Name, Secret>,
    /// Which rows a person set. They stay the same while the provider replaces values, and never come again.
    pub(crate) given: Vec<i64>,
}

/// A token in the clear, with when it was got and when it is to be renewed.
pub(crate) struct KeptToken {
    pub(crate) text: Secret,
    pub(crate) got_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Registers a master key with a database that has none yet.
pub(crate) fn register(tx: &Connection, database_id: &str, key: &MasterKey, now: DateTime<Utc>) -> Result<()> {
    credentials::insert_master_key(tx, key.id(), &key.check_value(database_id)?, now)
}

impl Vault {
    /// Checks the key against the database before anything is written with it.
    pub(crate) fn unlock(store: &Store, key: MasterKey) -> Result<Self> {
        let (needed, check) = credentials::master_key(store.read())?.ok_or_else(|| {
            UserError::new(Exit::Key, "key_not_registered", "the database has no master key yet")
                .hint("run `skillsctl init`")
        })?;
        key.verify_check(store.database_id(), needed, &check)?;
        Ok(Vault { key, database_id: store.database_id().to_owned() })
    }

    /// Seals a value as the next version of a field and returns what is stored of it.
    pub(crate) fn set(
        &self,
        tx: &Connection,
        (organization, provider): (&Organization, &Provider),
        field: &Name,
        value: &Secret,
        (by, now): (&str, DateTime<Utc>),
    ) -> Result<Credential> {
        let (data_key, data_key_version) = self.data_key_or_new(tx, organization, now)?;
        let pair = (organization.id, provider.id);
        let (id, version) = credentials::reserve(tx, pair, field.as_str(), data_key_version, (by, now))?;
        let context =
            self.context(organization.id, provider.slug.as_str(), field.as_str(), (id, version, data_key_version));
        let sealed = secrets::seal(&data_key, &context, value)?;
        credentials::fill(tx, id, &sealed, &secrets::fingerprint(&data_key, value))?;
        credentials::find(tx, pair.0, pair.1, field.as_str())?.context("the credential just stored is not there")
    }

    /// Seals the value that a provider has put in place of a stored one.
    pub(crate) fn rotate(
        &self,
        tx: &Connection,
        place: (&Organization, &Provider),
        field: &Name,
        value: &Secret,
        by: (&str, DateTime<Utc>),
    ) -> Result<Credential> {
        let replaced = credentials::find(tx, place.0.id, place.1.id, field.as_str())?;
        let stored = self.set(tx, place, field, value, by)?;
        if let Some(replaced) = replaced {
            credentials::succeed(tx, stored.id, replaced.given)?;
        }
        Ok(stored)
    }

    /// Seals a token in place of the one before. `basis` is what it was got with.
    pub(crate) fn keep_token(
        &self,
        tx: &Connection,
        (organization, provider): (&Organization, &Provider),
        basis: &str,
        token: &KeptToken,
    ) -> Result<()> {
        let (data_key, data_key_version) = self.data_key_or_new(tx, organization, token.got_at)?;
        let mut stored = StoredToken {
            basis: basis.to_owned(),
            data_key_version,
            sealed: Sealed::from_bytes(Vec::new()),
            got_at: stamp(token.got_at),
            expires_at: stamp(token.expires_at),
        };
        stored.sealed =
            secrets::seal_token(&data_key, &self.token_context(organization, provider, &stored), &token.text)?;
        tokens::put(tx, (organization.id, provider.id), &stored)
    }

    /// Returns the token of a pair, if it was got with this basis.
    pub(crate) fn token(
        &self,
        connection: &Connection,
        (organization, provider): (&Organization, &Provider),
        basis: &str,
    ) -> Result<Option<KeptToken>> {
        let Some(stored) = tokens::find(connection, organization.id, provider.id)? else { return Ok(None) };
        let times = stored.got_at.parse().ok().zip(stored.expires_at.parse().ok());
        let (Some((got_at, expires_at)), true) = (times, stored.basis == basis) else { return Ok(None) };
        let data_key = self.data_key(connection, organization, stored.data_key_version)?;
        let context = self.token_context(organization, provider, &stored);
        Ok(secrets::open_token(&data_key, &context, &stored.sealed).map(|text| KeptToken { text, got_at, expires_at }))
    }

    fn token_context<'a>(
        &'a self,
        organization: &Organization,
        provider: &'a Provider,
        token: &'a StoredToken,
    ) -> TokenContext<'a> {
        TokenContext {
            db_id: &self.database_id,
            organization_id: organization.id,
            provider: provider.slug.as_str(),
            basis: &token.basis,
            got_at: &token.got_at,
            expires_at: &token.expires_at,
            dek_version: token.data_key_version,
        }
    }

    /// Returns what makes names out of secrets, the same for all organizations.
    pub(crate) fn names(&self) -> Names {
        self.key.names()
    }

    /// Returns whether a field already holds this value.
    pub(crate) fn holds(
        &self,
        connection: &Connection,
        organization: &Organization,
        credential: &Credential,
        value: &Secret,
    ) -> Result<bool> {
        let key = self.data_key(connection, organization, credential.data_key_version)?;
        Ok(secrets::fingerprint(&key, value) == credential.fingerprint
            && self.open_one(connection, organization, credential)?.expose() == value.expose())
    }

    /// Opens all credentials of one provider, by field.
    pub(crate) fn open(
        &self,
        connection: &Connection,
        organization: &Organization,
        provider: &Provider,
    ) -> Result<Opened> {
        let mut opened = Opened::default();
        for credential in credentials::all(connection, organization.id)? {
            if credential.provider == provider.slug {
                opened.given.push(credential.given);
                let secret = self.open_one(connection, organization, &credential)?;
                opened.secrets.insert(credential.field, secret);
            }
        }
        Ok(opened)
    }

    /// Fails unless a credential opens; what it holds is not looked at.
    pub(crate) fn opens(
        &self,
        connection: &Connection,
        organization: &Organization,
        credential: &Credential,
    ) -> Result<()> {
        self.open_one(connection, organization, credential).map(drop)
    }

    fn open_one(
        &self,
        connection: &Connection,
        organization: &Organization,
        credential: &Credential,
    ) -> Result<Secret> {
        let data_key = self.data_key(connection, organization, credential.data_key_version)?;
        let place = (credential.id, credential.version, credential.data_key_version);
        let context = self.context(organization.id, credential.provider.as_str(), credential.field.as_str(), place);
        Ok(secrets::open(&data_key, &context, &credential.sealed, organization.slug.as_str())?)
    }

    fn context<'a>(
        &'a self,
        organization_id: i64,
        provider: &'a str,
        field: &'a str,
        (credential_id, version, dek_version): (i64, i64, i64),
    ) -> CredentialContext<'a> {
        CredentialContext {
            db_id: &self.database_id,
            organization_id,
            provider,
            field,
            credential_id,
            version,
            dek_version,
        }
    }

    fn data_key(&self, connection: &Connection, organization: &Organization, version: i64) -> Result<DataKey> {
        let wrapped = credentials::data_key(connection, organization.id, Some(version))?
            .with_context(|| format!("organization `{}` has no data key version {version}", organization.slug))?;
        self.unwrap(organization, &wrapped)
    }

    fn data_key_or_new(
        &self,
        tx: &Connection,
        organization: &Organization,
        now: DateTime<Utc>,
    ) -> Result<(DataKey, i64)> {
        if let Some(wrapped) = credentials::data_key(tx, organization.id, None)? {
            return Ok((self.unwrap(organization, &wrapped)?, wrapped.version));
        }
        let key = DataKey::generate(&SystemRandom::new())?;
        let wrapped = self.key.wrap(&key, &self.wrapping(organization, 1))?;
        credentials::insert_data_key(
            tx,
            organization.id,
            &WrappedKey { version: 1, key_id: self.key.id(), wrapped },
            now,
        )?;
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
