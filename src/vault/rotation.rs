//! Another master key in the place of the one in force, new data keys, and the end of a key that was replaced.
//!
//! Each is one transaction that opens what it has written before it commits, so that at any moment everything opens with
//! exactly one of two keys. Nobody else may use the database meanwhile (`store::alone`): a sync at work holds the key it
//! began with, and would lose what it seals under one that is gone.

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};

use super::Vault;
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::secrets::{KeyId, MasterKey};
use crate::store::keys::{self, Place, Wrapped};
use crate::store::organizations::{self, Organization};
use crate::store::{Connection, Keep, Store, audit, credentials, sealing_keys, tokens};

/// Who changes something and when, and whether it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) keep: Keep,
    pub(crate) actor: &'a str,
    pub(crate) now: DateTime<Utc>,
}

impl Change<'_> {
    fn record(&self, tx: &Connection, action: &str, subject: &str, ids: [Option<KeyId>; 2]) -> Result<()> {
        let [before, after] = ids.map(|id| id.map(|id| id.to_string()));
        let entry =
            audit::Entry { actor: self.actor, action, subject, before: before.as_deref(), after: after.as_deref() };
        audit::insert(tx, self.now, &entry)
    }
}

/// How much was sealed anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Keys that a master key wraps.
    pub(crate) keys: usize,
    pub(crate) credentials: usize,
    /// Tokens forgotten: the next sync logs in again.
    pub(crate) tokens: usize,
}

/// Puts a master key in force and wraps with it all that the others wrap. `save` puts the new key where it lasts; it is
/// called before anything depends on it, and not in a dry run.
pub(crate) fn rotate(
    store: &mut Store,
    vault: &Vault,
    new: &MasterKey,
    change: &Change<'_>,
    save: impl FnOnce() -> Result<()>,
) -> Result<Rotated> {
    let mut save = Some(save);
    let mut saved = || save.take().map_or(Ok(()), |save| save());
    let rotated = store.change(change.keep, |tx| {
        super::register(tx, &vault.database_id, new, change.now)?;
        let count = rewrap(tx, vault, new)?;
        change.record(tx, "key rotate", &new.id().to_string(), [Some(vault.key_id()), Some(new.id())])?;
        mutants::point("key rotation verified");
        if change.keep == Keep::Yes && !mutants::on("key-file-late") {
            saved()?;
        }
        mutants::point("key saved");
        Ok(Rotated { keys: count, ..Rotated::default() })
    })?;
    mutants::point("key rotated");
    if mutants::on("key-file-late") {
        saved()?;
    }
    if change.keep == Keep::Yes {
        // The log still holds what the old key opens.
        store.checkpoint()?;
    }
    Ok(rotated)
}

/// Wraps everything with another master key, reads it back, and fails unless all of it opens to what it was.
fn rewrap(tx: &Connection, vault: &Vault, new: &MasterKey) -> Result<usize> {
    let mut before = Vec::new();
    for Wrapped { place, key_id, sealed } in keys::wrapped(tx)? {
        let data = vault.associated_data(&place);
        let key = vault.key_of(key_id)?.open(&sealed, &data).ok_or_else(|| unreadable(&place, key_id))?;
        keys::rewrap(tx, &place, new.id(), &new.close(&key, &data)?)?;
        before.push(key);
    }
    let after = keys::wrapped(tx)?;
    ensure!(after.len() == before.len(), "{} keys were wrapped, and {} are there", before.len(), after.len());
    for (Wrapped { place, key_id, sealed }, key) in after.iter().zip(&before) {
        let opened = new.open(sealed, &vault.associated_data(place));
        ensure!(*key_id == new.id() && opened.as_ref() == Some(key), "{place} does not open under the new key");
    }
    Ok(before.len())
}

/// Gives one organization a new data key, or all of them and the database a new sealing key: seals their credentials of every
/// stage anew, forgets their tokens, and deletes the data keys they had.
pub(crate) fn rekey(
    store: &mut Store,
    vault: &Vault,
    of: Option<Organization>,
    change: &Change<'_>,
) -> Result<Rotated> {
    let rotated = store.change(change.keep, |tx| {
        let mut rotated = Rotated::default();
        if of.is_none() && sealing_keys::in_force(tx)?.is_some() {
            let id = vault.new_sealing_key(tx, (change.actor, change.now))?.id();
            change.record(tx, "sealing-key create", &id, [None, None])?;
            rotated.keys += 1;
        }
        // Those in the trash as well: their credentials are there until they are purged.
        let whose = of.map_or_else(|| organizations::all(tx, true), |one| Ok(vec![one]))?;
        for organization in &whose {
            if let Some(count) = rekey_one(tx, vault, organization, change)? {
                rotated.keys += 1;
                rotated.credentials += count.credentials;
                rotated.tokens += count.tokens;
            }
        }
        mutants::point("key renewal verified");
        Ok(rotated)
    })?;
    mutants::point("keys renewed");
    if change.keep == Keep::Yes {
        store.checkpoint()?;
    }
    Ok(rotated)
}

/// Returns `None` for an organization that has no data key, and so nothing that is sealed.
fn rekey_one(
    tx: &Connection,
    vault: &Vault,
    organization: &Organization,
    change: &Change<'_>,
) -> Result<Option<Rotated>> {
    let Some(newest) = keys::data_key(tx, organization.id, None)? else { return Ok(None) };
    let version = newest.version + 1;
    let data_key = vault.new_data_key(tx, organization, version, change.now)?;
    let mut before = Vec::new();
    for credential in credentials::every_stage(tx, organization.id)? {
        let value = vault.open_one(tx, organization, &credential)?;
        vault.reseal(tx, organization, &credential, (&data_key, version), &value)?;
        mutants::point("key renewed a credential");
        before.push(value);
    }
    if let Some(key) = vault.erasure_key(tx, organization)? {
        vault.keep_erasure_key(tx, organization, &key, change.now)?;
    }
    let tokens = tokens::forget_all(tx, organization.id)?;
    keys::delete_unused_data_keys(tx, organization.id)?;
    let after = credentials::every_stage(tx, organization.id)?;
    ensure!(after.len() == before.len(), "{} credentials were sealed, and {} are there", before.len(), after.len());
    for (credential, value) in after.iter().zip(&before) {
        let opened = vault.open_one(tx, organization, credential)?;
        ensure!(
            credential.data_key_version == version && opened.expose() == value.expose(),
            "the credential `{}` of `{}` does not open under its new key",
            credential.field,
            organization.slug
        );
    }
    change.record(tx, "key rekey", organization.slug.as_str(), [None, None])?;
    Ok(Some(Rotated { keys: 1, credentials: before.len(), tokens }))
}

/// Takes a master key that was replaced out of the database, where nothing needs it any more.
pub(crate) fn retire(store: &mut Store, id: KeyId, change: &Change<'_>) -> Result<()> {
    store.change(change.keep, |tx| {
        let registered = keys::master_keys(tx)?;
        let Some(key) = registered.iter().find(|key| key.id == id) else {
            let known: Vec<String> = registered.iter().map(|key| key.id.to_string()).collect();
            return Err(UserError::new(
                Exit::NotFound,
                "key_not_found",
                format!("this database knows no master key `{id}`"),
            )
            .hint(format!("it knows {}; `skillsctl key status` shows them", known.join(", ")))
            .into());
        };
        let in_use = |why: String| {
            UserError::new(Exit::Conflict, "key_in_use", format!("the master key `{id}` {why}")).hint(
                "put another in its place first: `skillsctl key rotate`; `skillsctl key status` shows what needs it",
            )
        };
        if key.replaced_at.is_none() {
            return Err(in_use("is in force".to_owned()).into());
        }
        if let Some(count) = keys::wrapped_by(tx)?.get(&id.to_string()) {
            return Err(in_use(format!("still wraps {count} keys")).into());
        }
        keys::delete_master_key(tx, id)?;
        change.record(tx, "key retire", &id.to_string(), [Some(id), None])?;
        mutants::point("key taken out");
        Ok(())
    })?;
    mutants::point("key retired");
    if change.keep == Keep::Yes {
        store.checkpoint()?;
    }
    Ok(())
}

/// Returns the error of something wrapped that does not open under its own master key.
pub(super) fn unreadable(place: &Place, key_id: KeyId) -> UserError {
    let message = format!("`{place}` does not open under the master key `{key_id}`");
    let anew = match place {
        Place::DataKey { .. } => "set the credentials of the organization again",
        Place::OpeningKey { .. } => {
            "run `skillsctl credential sealing-key create --rekey`, and set again what is deposited to it"
        }
    };
    UserError::new(Exit::Key, "data_key_unreadable", message).hint(format!(
        "it was changed or moved in the database: restore a backup, or {anew}; `skillsctl key check` lists all that does not \
         open"
    ))
}
