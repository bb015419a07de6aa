//! Access tokens, sealed and bound to what they were got with.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use super::Vault;
use crate::secrets::{self, Sealed, Secret, TokenContext};
use crate::store::organizations::Organization;
use crate::store::providers::Provider;
use crate::store::tokens::{self, Found, StoredToken};
use crate::store::{Connection, stamp};

/// A token in the clear, with when it was got and when it is to be renewed.
pub(crate) struct KeptToken {
    pub(crate) text: Secret,
    pub(crate) got_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

impl Vault {
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
        stored.sealed = secrets::seal_token(
            &data_key,
            &self.token_context(organization, provider.slug.as_str(), &stored),
            &token.text,
        )?;
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
        let context = self.token_context(organization, provider.slug.as_str(), &stored);
        Ok(secrets::open_token(&data_key, &context, &stored.sealed).map(|text| KeptToken { text, got_at, expires_at }))
    }

    /// Fails unless a token opens; what it holds is not looked at.
    pub(crate) fn token_opens(
        &self,
        connection: &Connection,
        organization: &Organization,
        found: &Found,
    ) -> Result<()> {
        let data_key = self.data_key(connection, organization, found.token.data_key_version)?;
        let context = self.token_context(organization, &found.provider, &found.token);
        let opened = secrets::open_token(&data_key, &context, &found.token.sealed);
        opened.map(drop).context("the token does not open: the next sync gets another")
    }

    fn token_context<'a>(
        &'a self,
        organization: &Organization,
        provider: &'a str,
        token: &'a StoredToken,
    ) -> TokenContext<'a> {
        TokenContext {
            db_id: &self.database_id,
            organization_id: organization.id,
            provider,
            basis: &token.basis,
            got_at: &token.got_at,
            expires_at: &token.expires_at,
            dek_version: token.data_key_version,
        }
    }
}
