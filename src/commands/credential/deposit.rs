//! `credential set` without the master key: the value is deposited, for whoever has the key to take in.

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::commands::change;
use crate::domain::names::Name;
use crate::error::Exit;
use crate::secrets::Secret;
use crate::session::Session;
use crate::store::deposits::{self, Deposit};
use crate::store::organizations::Organization;
use crate::store::providers::Provider;
use crate::store::{Connection, Keep, Store, stamp};
use crate::vault::{self, Vault};

/// How a value is deposited.
#[derive(Debug, Args)]
pub(super) struct DepositArgs {
    /// Deposit the value even if the master key is at hand, which is then not read
    #[arg(long)]
    sealed: bool,
    /// Deposit it to the sealing key of this id, and to no other [env: SKILLSCTL_SEALING_KEY]
    #[arg(long, value_name = "ID", requires = "sealed")]
    sealing_key: Option<String>,
}

impl DepositArgs {
    /// Returns the vault; `None` where the value is to be deposited, and there is a key to seal it to. A source of the
    /// master key that is given and gives none is an error: what was mistyped is no wish to deposit.
    pub(super) fn vault(&self, session: &Session, store: &Store) -> Result<Option<Vault>> {
        let vault = if self.sealed { None } else { session.vault_if_any(store)? };
        if vault.is_none() {
            vault::sealing_key(store.read(), self.pin(session)?.as_deref())?;
        }
        Ok(vault)
    }

    fn pin(&self, session: &Session) -> Result<Option<String>> {
        Ok(match &self.sealing_key {
            Some(id) => Some(id.clone()),
            None => session.environment.text("SKILLSCTL_SEALING_KEY")?,
        })
    }
}

/// A deposit as a list shows it beside what is set.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    deposited_at: String,
    deposited_by: String,
    sealing_key: String,
    /// The code of why it was not taken in when that was tried.
    refused: Option<String>,
    #[serde(skip)]
    pub(super) at: DateTime<Utc>,
}

impl Waiting {
    pub(super) fn new(deposit: &Deposit) -> Self {
        Waiting {
            deposited_at: stamp(deposit.created_at),
            deposited_by: deposit.created_by.clone(),
            sealing_key: deposit.sealing_key_id.clone(),
            refused: deposit.refused.clone(),
            at: deposit.created_at,
        }
    }
}

#[derive(Debug, Serialize)]
struct Deposited<'a> {
    organization: &'a str,
    provider: &'a str,
    field: &'a str,
    /// `deposited`.
    outcome: &'static str,
    #[serde(flatten)]
    deposit: Waiting,
}

/// Deposits a value, in place of one that the field has waiting.
pub(super) fn run(
    args: &DepositArgs,
    session: &Session,
    store: &mut Store,
    place: (&Organization, &Provider),
    (field, value): (&Name, &Secret),
) -> Result<Exit> {
    let (database_id, pin) = (store.database_id().to_owned(), args.pin(session)?);
    let by = (session.actor.as_str(), session.now);
    let deposit = store.change(session.keep, |tx| {
        let key = vault::sealing_key(tx, pin.as_deref())?;
        let deposit = vault::deposit(tx, (&database_id, &key), place, (field, value), by)?;
        let after = format!("deposit {}", deposit.id);
        change::record(tx, session, ("credential deposit", &subject(place, field)), (None, Some(&after)))?;
        Ok(deposit)
    })?;
    if session.keep == Keep::Yes {
        store.checkpoint()?;
    }
    if !args.sealed {
        session.output.warn(
            "no master key is given, so the value was sealed for whoever has it, and is not in use yet; --sealed says that \
             this is meant",
        );
    }
    let deposited = Deposited {
        organization: place.0.slug.as_str(),
        provider: place.1.slug.as_str(),
        field: field.as_str(),
        outcome: "deposited",
        deposit: Waiting::new(&deposit),
    };
    session.output.one("CredentialDeposited", &deposited, |_| {
        "deposited: the next sync, or anyone with the master key, takes it in".to_owned()
    })?;
    session.note_dry_run();
    Ok(Exit::Done)
}

/// Drops the deposit of a field that is being set with the master key, which is newer. Says so.
pub(super) fn superseded(
    tx: &Connection,
    session: &Session,
    place: (&Organization, &Provider),
    field: &Name,
) -> Result<()> {
    let Some(deposit) = deposits::find(tx, (place.0.id, place.1.id), field.as_str())? else { return Ok(()) };
    deposits::delete(tx, deposit.id)?;
    change::record(tx, session, ("credential drop-deposit", &subject(place, field)), (None, None))?;
    session.output.note(format!(
        "the value that {} deposited {} was dropped: this one is newer",
        deposit.created_by,
        stamp(deposit.created_at)
    ));
    Ok(())
}

/// Returns what a change of a field is recorded under.
fn subject((organization, provider): (&Organization, &Provider), field: &Name) -> String {
    format!("{}/{}/{field}", organization.slug, provider.slug)
}
