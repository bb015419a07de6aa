//! `credential rollback`: exchanges the values in force with those they have replaced.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::{declined, record};
use super::rotate::Field;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::session::Session;
use crate::store::Keep;
use crate::store::credentials::{self, Credential, Moved, Stage};
use crate::store::{organizations, providers};

/// Go back to the credentials that the last rotation replaced
///
/// The values in force and the previous ones change places, so that the same command goes forth again. Needs no master key. No sync
/// goes back to a value that was put aside like this.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential rollback acme aptem\n  skillsctl credential rollback acme bud client_secret --yes"
)]
pub(super) struct RollbackArgs {
    /// Slug of the organization
    org: String,
    /// Slug of the provider
    provider: String,
    /// Name of the field; without it all that were replaced together last
    field: Option<String>,
}

#[derive(Debug, Serialize)]
struct RolledBack {
    organization: String,
    provider: String,
    fields: Vec<Field>,
}

pub(super) fn run(args: &RollbackArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let provider = providers::by_slug(store.read(), &args.provider)?;
    let pair = (organization.id, provider.id);
    let fields = fields(&store, pair, args.field.as_deref())?;
    if fields.is_empty() {
        let what =
            args.field.as_ref().map_or_else(|| "credential".to_owned(), |field| format!("`{}`", field.escape_debug()));
        let message = format!("no {what} of {} has a previous value for `{}`", provider.name, organization.slug);
        return Err(UserError::new(Exit::NotFound, "nothing_previous", message)
            .hint(format!("`skillsctl credential list {}` shows what is stored", organization.slug))
            .into());
    }
    let names = fields.iter().map(Name::as_str).collect::<Vec<_>>().join(" and ");
    let what = format!("Put the previous {names} of {} for {} in force again?", provider.name, organization.slug);
    if session.keep == Keep::Yes && !session.output.confirm_harm(&what)? {
        return Err(declined().into());
    }
    let moved = store.change(session.keep, |tx| {
        let moved = credentials::exchange(tx, pair, &fields, session.now)?;
        for Moved { now, before } in &moved {
            let subject = format!("{}/{}/{}", organization.slug, provider.slug, now.field);
            let before = before.as_ref().map(|before| before.fingerprint.as_str());
            record(tx, session, ("credential rollback", &subject), (before, Some(&now.fingerprint)))?;
        }
        Ok(moved)
    })?;
    let rolled_back = RolledBack {
        organization: organization.slug.to_string(),
        provider: provider.slug.to_string(),
        fields: moved.into_iter().map(Field::from).collect(),
    };
    session.output.one("CredentialRolledBack", &rolled_back, |_| {
        format!("rolled back: {}", rolled_back.fields.iter().map(Field::words).collect::<Vec<_>>().join("; "))
    })?;
    session.note_dry_run();
    if session.keep == Keep::Yes {
        session.output.note(format!("next: skillsctl credential test {} {}", organization.slug, provider.slug));
    }
    Ok(Exit::Done)
}

/// Returns the fields that have something to go back to: the one named, or those that were replaced together last.
fn fields(store: &crate::store::Store, pair: (i64, i64), named: Option<&str>) -> Result<Vec<Name>> {
    if let Some(named) = named {
        let has = |stage| credentials::find_in(store.read(), pair, named, stage);
        let both = has(Stage::Current)?.and(has(Stage::Previous)?);
        return Ok(both.map(|credential| credential.field).into_iter().collect());
    }
    let mut together = credentials::together(store.read(), pair, Stage::Previous)?;
    together.retain(|Credential { stage, .. }| *stage == Stage::Previous);
    Ok(together.into_iter().map(|credential| credential.field).collect())
}
