//! Credentials, sealed into the row they stand in and opened again.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use super::Vault;
use crate::domain::names::Name;
use crate::secrets::{self, CredentialContext, DataKey, Secret};
use crate::store::Connection;
use crate::store::credentials::{self, Credential, Stage};
use crate::store::keys;
use crate::store::organizations::Organization;
use crate::store::providers::Provider;

/// The credentials of one provider of an organization, opened.
pub(crate) struct Opened {
    pub(crate) secrets: BTreeMap<Name, Secret>,
    /// Of which stage those are that are not current.
    pub(crate) stage: Stage,
    /// Which rows a person set. They stay the same while the provider replaces values, and never come again.
    pub(crate) given: Vec<i64>,
}

impl Vault {
    /// Seals a value as the current one of a field and returns what is stored of it. What it replaces is gone, and so is what that
    /// had replaced: nobody wants to go back behind a value that was set in its place. A pending one stays.
    pub(crate) fn set(
        &self,
        tx: &Connection,
        place: (&Organization, &Provider),
        field: &Name,
        value: &Secret,
        by: (&str, DateTime<Utc>),
    ) -> Result<Credential> {
        credentials::delete_stage(tx, (place.0.id, place.1.id), field.as_str(), Stage::Previous)?;
        self.set_in(tx, place, (field, Stage::Current), value, by)
    }

    /// Seals a value as the pending one of a field.
    pub(crate) fn set_pending(
        &self,
        tx: &Connection,
        place: (&Organization, &Provider),
        field: &Name,
        value: &Secret,
        by: (&str, DateTime<Utc>),
    ) -> Result<Credential> {
        self.set_in(tx, place, (field, Stage::Pending), value, by)
    }

    fn set_in(
        &self,
        tx: &Connection,
        (organization, provider): (&Organization, &Provider),
        (field, stage): (&Name, Stage),
        value: &Secret,
        (by, now): (&str, DateTime<Utc>),
    ) -> Result<Credential> {
        let (data_key, data_key_version) = self.data_key_or_new(tx, organization, now)?;
        let pair = (organization.id, provider.id);
        let (id, version) = credentials::reserve(tx, pair, (field.as_str(), stage), data_key_version, (by, now))?;
        let context =
            self.context(organization.id, provider.slug.as_str(), field.as_str(), (id, version, data_key_version));
        let sealed = secrets::seal(&data_key, &context, value)?;
        credentials::fill(tx, id, &sealed, &secrets::fingerprint(&data_key, value))?;
        keys::delete_unused_data_keys(tx, organization.id)?;
        credentials::find_in(tx, pair, field.as_str(), stage)?.context("the credential just stored is not there")
    }

    /// Seals the value that a provider has put in place of a stored one, in the stage that this one has among those of `stage`.
    /// The replaced one is deleted: it is spent, and a provider that sees it again may take it for stolen and end the new one
    /// too (RFC 9700 section 4.14.2).
    pub(crate) fn rotate(
        &self,
        tx: &Connection,
        place: (&Organization, &Provider),
        (field, stage): (&Name, Stage),
        value: &Secret,
        by: (&str, DateTime<Utc>),
    ) -> Result<Credential> {
        let used = credentials::together(tx, (place.0.id, place.1.id), stage)?;
        let replaced = used.into_iter().find(|credential| credential.field == *field);
        let stage = replaced.as_ref().map_or(Stage::Current, |replaced| replaced.stage);
        let stored = self.set_in(tx, place, (field, stage), value, by)?;
        if let Some(replaced) = replaced {
            credentials::succeed(tx, stored.id, &replaced)?;
        }
        Ok(stored)
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

    /// Opens the credentials of one provider that are in force, by field.
    pub(crate) fn open(
        &self,
        connection: &Connection,
        organization: &Organization,
        provider: &Provider,
    ) -> Result<Opened> {
        self.open_stage(connection, (organization, provider), Stage::Current)
    }

    /// Opens the credentials of one provider with those of a stage in place of the current ones.
    pub(crate) fn open_stage(
        &self,
        connection: &Connection,
        (organization, provider): (&Organization, &Provider),
        stage: Stage,
    ) -> Result<Opened> {
        let mut opened = Opened { secrets: BTreeMap::new(), stage, given: Vec::new() };
        for credential in credentials::together(connection, (organization.id, provider.id), stage)? {
            opened.given.push(credential.given);
            let secret = self.open_one(connection, organization, &credential)?;
            opened.secrets.insert(credential.field, secret);
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

    /// Seals the same value under another data key, into the row it stands in.
    pub(super) fn reseal(
        &self,
        tx: &Connection,
        organization: &Organization,
        credential: &Credential,
        (data_key, version): (&DataKey, i64),
        value: &Secret,
    ) -> Result<()> {
        let place = (credential.id, credential.version, version);
        let context = self.context(organization.id, credential.provider.as_str(), credential.field.as_str(), place);
        let sealed = secrets::seal(data_key, &context, value)?;
        credentials::reseal(tx, credential.id, version, &sealed, &secrets::fingerprint(data_key, value))
    }

    pub(super) fn open_one(
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
}
