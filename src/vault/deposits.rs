//! Deposits: credentials sealed without the master key, and taken in by whoever has it.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use super::Vault;
use crate::domain::manifest::Manifest;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::secrets::{self, DepositContext, OpeningKey, SealingKey, Secret};
use crate::store::deposits::{self, Deposit, NewDeposit};
use crate::store::organizations::{self, Organization};
use crate::store::providers::Provider;
use crate::store::sealing_keys::{self, NewPair, StoredPair};
use crate::store::{Connection, Keep, Store, audit, credentials, stamp};

/// What became of the deposits of one provider of an organization.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// What is to be said of it.
    pub(crate) warnings: Vec<String>,
    /// Those that stay, each with its field and why.
    refused: Vec<(Name, UserError)>,
}

impl Intake {
    /// Fails where a field has nothing but a deposit that was refused: the error says why it was. A credential in force
    /// stays so.
    pub(crate) fn suffices(&self, missing: &[&Name]) -> Result<(), UserError> {
        let blocking = self.refused.iter().find(|(field, _)| missing.contains(&field));
        blocking.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }
}

/// Returns the key that deposits are sealed to. With a `pin`, an error unless it is the key of this id.
pub(crate) fn sealing_key(connection: &Connection, pin: Option<&str>) -> Result<SealingKey> {
    let stored = sealing_keys::in_force(connection)?.ok_or_else(|| {
        UserError::new(
            Exit::Key,
            "sealing_key_missing",
            "the database has no sealing key, by which a value is stored without the master key",
        )
        .hint("give the master key, or have whoever holds it run `skillsctl credential sealing-key create` once")
    })?;
    let key = public_half(&stored)?;
    match pin {
        Some(pin) if pin != key.id() => {
            let message = format!(
                "the sealing key of the database is `{}`, and `{}` was asked for",
                key.id(),
                pin.escape_debug()
            );
            Err(UserError::new(Exit::Key, "sealing_key_differs", message)
                .hint(
                    "nothing was sealed: the key was replaced, or forged; ask whoever holds the master key what \
                     `skillsctl credential sealing-key show` says",
                )
                .into())
        }
        _ => Ok(key),
    }
}

/// Seals a value to this key, as what a process with the master key takes in.
pub(crate) fn deposit(
    tx: &Connection,
    (database_id, key): (&str, &SealingKey),
    (organization, provider): (&Organization, &Provider),
    (field, value): (&Name, &Secret),
    (by, now): (&str, DateTime<Utc>),
) -> Result<Deposit> {
    organizations::not_purged(tx, &organization.slug)?;
    let pair = (organization.id, provider.id);
    let replaces = credentials::find(tx, pair.0, pair.1, field.as_str())?.map(|current| current.given);
    let new = NewDeposit {
        pair,
        field: field.as_str(),
        sealing_key_id: &key.id(),
        replaces,
        created_by: by,
        created_at: now,
    };
    let id = deposits::reserve(tx, &new)?;
    let reserved = deposits::find(tx, pair, field.as_str())?.with_context(|| format!("deposit {id} is not there"))?;
    let at = stamp(reserved.created_at);
    let sealed = secrets::seal_deposit(key, &context(database_id, organization, &reserved, &at), value)?;
    deposits::fill(tx, id, &sealed)?;
    Ok(Deposit { sealed, ..reserved })
}

fn context<'a>(db_id: &'a str, organization: &Organization, deposit: &'a Deposit, at: &'a str) -> DepositContext<'a> {
    DepositContext {
        db_id,
        organization_id: organization.id,
        provider: deposit.provider.as_str(),
        field: deposit.field.as_str(),
        deposit_id: deposit.id,
        replaces: deposit.replaces.unwrap_or_default(),
        created_by: &deposit.created_by,
        created_at: at,
    }
}

/// Returns the public half of a stored pair, if it is the one of its id.
fn public_half(stored: &StoredPair) -> Result<SealingKey, UserError> {
    SealingKey::from_bytes(&stored.public).filter(|key| key.id() == stored.id).ok_or_else(|| not_ours(&stored.id))
}

fn not_ours(id: &str) -> UserError {
    let message = format!("the sealing key `{id}` was not made with the master key of this database, or was damaged");
    UserError::new(Exit::Key, "sealing_key_forged", message).hint(
        "what was deposited to it may be known to others: `skillsctl credential sealing-key create --rekey`, then replace \
         at the providers what was deposited since",
    )
}

impl Vault {
    /// Makes a new pair, and puts it in force.
    pub(crate) fn new_sealing_key(&self, tx: &Connection, by: (&str, DateTime<Utc>)) -> Result<SealingKey> {
        let opening = OpeningKey::generate();
        let key = opening.sealing_key();
        let wrapped = opening.wrap(self.in_force(), &self.database_id)?;
        let (id, public) = (key.id(), key.to_bytes());
        let pair = NewPair { id: &id, public: &public, key_id: self.key_id(), wrapped: &wrapped };
        sealing_keys::put_in_force(tx, &pair, by)?;
        Ok(key)
    }

    /// Fails unless a pair was made with the master key. Without it nobody can make one that passes: a public key that was
    /// put there to read what is deposited is found by this.
    pub(crate) fn prove(&self, stored: &StoredPair) -> Result<(), UserError> {
        self.opening_key(stored).map(drop)
    }

    /// Fails unless all pairs were made with the master key.
    pub(crate) fn prove_sealing_keys(&self, connection: &Connection) -> Result<()> {
        Ok(sealing_keys::all(connection)?.iter().try_for_each(|stored| self.prove(stored))?)
    }

    fn opening_key(&self, stored: &StoredPair) -> Result<OpeningKey, UserError> {
        let key = public_half(stored)?;
        let master = self.key_of(stored.key_id)?;
        OpeningKey::unwrap(master, &stored.wrapped, &self.database_id, &key).ok_or_else(|| not_ours(&stored.id))
    }

    /// Takes in what is deposited for one provider of an organization, in one transaction. What cannot be taken in stays,
    /// and the credential in force with it. Kept in a dry run too: it changes who can open a value, and no value.
    pub(crate) fn take_in(
        &self,
        store: &mut Store,
        place: (&Organization, &Provider),
        manifest: &Manifest,
        by: (&str, DateTime<Utc>),
    ) -> Result<Intake> {
        let pair = (place.0.id, place.1.id);
        if deposits::of_pair(store.read(), pair)?.is_empty() {
            return Ok(Intake::default());
        }
        let intake = store.change(Keep::Yes, |tx| {
            let mut intake = Intake::default();
            for deposit in deposits::of_pair(tx, pair)? {
                self.take_in_one(tx, place, (&deposit, manifest), by, &mut intake)?;
            }
            Ok(intake)
        })?;
        store.checkpoint()?;
        Ok(intake)
    }

    fn take_in_one(
        &self,
        tx: &Connection,
        place: (&Organization, &Provider),
        (deposit, manifest): (&Deposit, &Manifest),
        (actor, now): (&str, DateTime<Utc>),
        intake: &mut Intake,
    ) -> Result<()> {
        let Deposit { field, created_by, .. } = deposit;
        let value = self
            .open_deposit(tx, place.0, deposit)?
            .and_then(|value| fitting(value, field, manifest, place.0.slug.as_str()));
        let value = match value {
            Ok(value) => value,
            Err(error) => {
                if deposits::refuse(tx, deposit.id, error.code)? {
                    let entry = audit::Entry {
                        actor,
                        action: "credential refuse-deposit",
                        subject: &format!("{}/{}/{field}, deposited by {created_by}", place.0.slug, place.1.slug),
                        before: None,
                        after: Some(error.code),
                    };
                    audit::insert(tx, now, &entry)?;
                }
                intake.warnings.push(format!("{}; the deposit was not taken in", error.message));
                intake.refused.push((field.clone(), error));
                return Ok(());
            }
        };
        let present = credentials::find(tx, place.0.id, place.1.id, field.as_str())?;
        deposits::delete(tx, deposit.id)?;
        let before = present.as_ref().map(|present| present.fingerprint.clone());
        let (action, after) = if present.as_ref().map(|present| present.given) != deposit.replaces {
            intake.warnings.push(format!(
                "the `{field}` that was deposited {} was dropped: the one in force was set later",
                stamp(deposit.created_at)
            ));
            ("credential drop-deposit", before.clone())
        } else if present.as_ref().is_some_and(|present| self.holds(tx, place.0, present, &value).unwrap_or(false)) {
            ("credential take-in", before.clone())
        } else {
            let stored = self.set(tx, place, field, &value, (created_by.as_str(), deposit.created_at))?;
            ("credential take-in", Some(stored.fingerprint))
        };
        let subject = format!("{}/{}/{field}, deposited by {created_by}", place.0.slug, place.1.slug);
        let entry =
            audit::Entry { actor, action, subject: &subject, before: before.as_deref(), after: after.as_deref() };
        audit::insert(tx, now, &entry)
    }

    /// Returns the value of a deposit, or why it is refused.
    fn open_deposit(
        &self,
        connection: &Connection,
        organization: &Organization,
        deposit: &Deposit,
    ) -> Result<Result<Secret, UserError>> {
        let slug = organization.slug.as_str();
        let Some(stored) = sealing_keys::find(connection, &deposit.sealing_key_id)? else {
            return Ok(Err(secrets::unreadable(deposit.provider.as_str(), deposit.field.as_str(), slug)));
        };
        let at = stamp(deposit.created_at);
        let context = context(&self.database_id, organization, deposit, &at);
        Ok(self.opening_key(&stored).and_then(|key| secrets::open_deposit(&key, &context, &deposit.sealed, slug)))
    }

    /// Fails unless a deposit opens; what it holds is not looked at.
    pub(crate) fn opens_deposit(
        &self,
        connection: &Connection,
        organization: &Organization,
        deposit: &Deposit,
    ) -> Result<()> {
        Ok(self.open_deposit(connection, organization, deposit)?.map(drop)?)
    }
}

/// Returns a value if it has the form that the field's values have by now.
fn fitting(value: Secret, field: &Name, manifest: &Manifest, slug: &str) -> Result<Secret, UserError> {
    let provider = &manifest.provider;
    let problem = match manifest.secrets.get(field) {
        Some(spec) if spec.fits(value.expose()) => return Ok(value),
        Some(_) => "does not look like one: it has another form",
        None => "is a field that the provider's manifest does not have",
    };
    let message = format!("the deposited `{field}` of `{slug}` for `{provider}` {problem}");
    Err(UserError::new(Exit::Invalid, "deposit_malformed", message)
        .hint(format!("set it again: `skillsctl credential set {slug} {provider} {field}`")))
}
