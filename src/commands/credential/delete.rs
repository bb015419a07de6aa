//! `credential delete`: takes a credential away, with every stage of it.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::declined;
use crate::error::{Exit, UserError, nearest};
use crate::session::Session;
use crate::store::credentials::{self, Credential, Stage};
use crate::store::deposits;
use crate::store::organizations::{self, Organization};
use crate::store::providers::{self, Provider};
use crate::store::{Keep, audit};

/// Delete a credential of an organization: the value in force, and a pending, a previous and a deposited one
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential delete acme aptem api_key\n  skillsctl credential delete acme aptem api_key --yes --if-exists"
)]
pub(super) struct DeleteArgs {
    /// Slug of the organization
    org: String,
    /// Slug of the provider; also one that the organization's preset no longer has
    provider: String,
    /// Name of the field
    field: String,
    /// End well where it is not set
    #[arg(long)]
    if_exists: bool,
}

#[derive(Debug, Serialize)]
struct Deleted<'a> {
    organization: &'a str,
    provider: &'a str,
    field: &'a str,
    /// `deleted` or `unchanged`.
    outcome: &'static str,
}

pub(super) fn run(args: &DeleteArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let provider = providers::by_slug(store.read(), &args.provider)?;
    let mut stages = credentials::of_pair(store.read(), (organization.id, provider.id))?;
    stages.retain(|credential| credential.field.as_str() == args.field);
    // Of all of them the current one, where there is one.
    let present = stages.first();
    let waiting = deposits::find(store.read(), (organization.id, provider.id), &args.field)?;
    let is_there = present.is_some() || waiting.is_some();
    if !is_there && !args.if_exists {
        return Err(not_set(&organization, &provider, &args.field, &credentials::all(store.read(), organization.id)?));
    }
    if is_there {
        let others = stages.iter().filter(|other| other.stage != Stage::Current);
        let others: String = others.map(|other| format!(", and the {} one", other.stage.as_str())).collect();
        let known = match present {
            Some(present) => format!("version {}, fingerprint {}{others}", present.version, present.fingerprint),
            None => "deposited, not taken in yet".to_owned(),
        };
        let what = format!("Delete {} of {} for {} ({known})?", args.field, provider.name, organization.slug);
        if session.keep == Keep::Yes && !session.output.confirm_harm(&what)? {
            return Err(declined().into());
        }
        store.change(session.keep, |tx| {
            credentials::delete(tx, organization.id, provider.id, &args.field)?;
            if let Some(waiting) = &waiting {
                deposits::delete(tx, waiting.id)?;
            }
            let entry = audit::Entry {
                actor: &session.actor,
                action: "credential delete",
                subject: &format!("{}/{}/{}", organization.slug, provider.slug, args.field),
                before: present.map(|present| present.fingerprint.as_str()),
                after: None,
            };
            audit::insert(tx, session.now, &entry)
        })?;
        if session.keep == Keep::Yes {
            store.checkpoint()?;
        }
    }
    let deleted = Deleted {
        organization: organization.slug.as_str(),
        provider: provider.slug.as_str(),
        field: &args.field,
        outcome: if is_there { "deleted" } else { "unchanged" },
    };
    session.output.one("CredentialDeleted", &deleted, |_| deleted.outcome.to_owned())?;
    session.note_dry_run();
    if is_there && session.keep == Keep::Yes {
        session.output.note(format!("backups still hold it, sealed; to be sure, replace it at {}", provider.name));
    }
    Ok(Exit::Done)
}

fn not_set(organization: &Organization, provider: &Provider, field: &str, stored: &[Credential]) -> anyhow::Error {
    let known = stored.iter().filter(|credential| credential.provider == provider.slug);
    let meant = nearest(field, known.map(|credential| credential.field.as_str()));
    let message = format!("`{}` of {} is not set for `{}`", field.escape_debug(), provider.name, organization.slug);
    UserError::new(Exit::NotFound, "credential_not_set", message)
        .hint(format!("`skillsctl credential list {}` shows what is", organization.slug))
        .hint_if(meant.map(|word| format!("did you mean `{word}`?")))
        .into()
}
