//! Where the credentials and the token of a pair are kept: sealed in the database, with a kernel lock for logging in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};

use super::lock;
use crate::config::now;
use crate::connector::{Keeper, Stored, Token};
use crate::domain::names::Name;
use crate::error::UserError;
use crate::locks::{self, Held};
use crate::secrets::Secret;
use crate::store::credentials::Stage;
use crate::store::organizations::Organization;
use crate::store::providers::Provider;
use crate::store::{self, Connection, Keep, Store, audit, tokens, user_error};
use crate::vault::{KeptToken, Opened, Vault};

/// How often a token is stored again where the database is busy: it may be the last that the old secret gives.
const TRIES: u32 = 10;

/// The credentials and the token of one provider of one organization.
pub(crate) struct Tokens<'a> {
    store: &'a Mutex<Store>,
    vault: &'a Vault,
    organization: &'a Organization,
    provider: &'a Provider,
    /// Of which stage those of its credentials are that are not current.
    stage: Stage,
    /// Which credentials a person set when this began.
    given: Vec<i64>,
    /// A hash of these and of the settings: what a token is good for.
    basis: String,
    actor: &'a str,
}

impl<'a> Tokens<'a> {
    /// Returns the keeper of what is stored for a pair, and the secrets that were opened for it.
    pub(crate) fn of(
        (store, vault): (&'a Mutex<Store>, &'a Vault),
        (organization, provider): (&'a Organization, &'a Provider),
        settings: &BTreeMap<String, Value>,
        opened: Opened,
        actor: &'a str,
    ) -> (Self, BTreeMap<Name, Secret>) {
        let Opened { secrets, stage, given } = opened;
        let basis = store::hash(&json!([given, provider.manifest_hash, settings]).to_string());
        (Tokens { store, vault, organization, provider, stage, given, basis, actor }, secrets)
    }

    fn place(&self) -> (&Organization, &Provider) {
        (self.organization, self.provider)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the credentials as stored, unless a person has replaced one.
    fn opened(&self, connection: &Connection) -> Result<Option<Opened>> {
        let opened = self.vault.open_stage(connection, self.place(), self.stage)?;
        Ok(Some(opened).filter(|opened| opened.given == self.given))
    }

    /// Stores in one transaction what a login brought. What is only tested leaves the token alone with which others work.
    fn put(&self, tx: &Connection, token: &Token, rotated: Option<(&Name, &Secret)>) -> Result<bool> {
        if self.opened(tx)?.is_none() {
            return Ok(false);
        }
        if let Some((field, secret)) = rotated {
            let stored = self.vault.rotate(tx, self.place(), (field, self.stage), secret, (self.actor, now()))?;
            let entry = audit::Entry {
                actor: self.actor,
                action: "credential rotate",
                subject: &format!("{}/{}/{field}", self.organization.slug, self.provider.slug),
                before: None,
                after: Some(&stored.fingerprint),
            };
            audit::insert(tx, now(), &entry)?;
        }
        if self.stage == Stage::Pending {
            return Ok(true);
        }
        let text = Secret::from(json!({"token": token.text.expose(), "answer": token.answer}).to_string());
        let kept = KeptToken { text, got_at: token.got_at, expires_at: token.expires_at };
        self.vault.keep_token(tx, self.place(), &self.basis, &kept)?;
        Ok(true)
    }
}

impl Keeper for Tokens<'_> {
    fn try_alone(&self) -> Result<Option<Held>> {
        let folder = locks::folder(self.store().path());
        let name = format!("token-{}-{}", self.organization.slug, self.provider.slug);
        locks::try_hold(&folder, &name).map_err(|error| {
            let what = format!("using the lock `{}`", folder.join(&name).display());
            lock::unusable(&anyhow::Error::from(error).context(what)).into()
        })
    }

    fn stored(&self) -> Result<Option<Stored>> {
        let store = self.store();
        let Some(Opened { secrets, .. }) = self.opened(store.read())? else { return Ok(None) };
        let token = self.vault.token(store.read(), self.place(), &self.basis)?;
        let token = token.and_then(|KeptToken { text, got_at, expires_at }| {
            let mut kept: Value = serde_json::from_str(text.expose()).ok()?;
            let text = Secret::from(kept["token"].as_str()?.to_owned());
            Some(Token { text, answer: kept["answer"].take(), got_at, expires_at })
        });
        Ok(Some(Stored { secrets, token }))
    }

    fn keep(&self, token: &Token, rotated: Option<(&Name, &Secret)>) -> Result<bool> {
        let busy =
            |error: &anyhow::Error| user_error(error).is_some_and(|UserError { code, .. }| code == "database_locked");
        let mut tries = 1;
        loop {
            // Kept even in a dry run: the provider has given it, and the old one may be worth nothing.
            let kept = self.store().change(Keep::Yes, |tx| self.put(tx, token, rotated));
            match kept {
                Err(error) if busy(&error) && tries < TRIES => tries += 1,
                Ok(true) if rotated.is_some() => {
                    // Pages may be lost in a power failure and read again; this may not.
                    self.store().checkpoint()?;
                    return Ok(true);
                }
                kept => return kept,
            }
        }
    }

    fn forget(&self) -> Result<()> {
        if self.stage == Stage::Pending {
            return Ok(());
        }
        self.store().change(Keep::Yes, |tx| tokens::forget(tx, self.organization.id, self.provider.id))
    }
}
