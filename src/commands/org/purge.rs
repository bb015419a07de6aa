//! `org purge`: everything a deleted organization had is destroyed, its keys first of all.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::{self, declined};
use super::super::copies;
use crate::error::{Exit, UserError};
use crate::session::Session;
use crate::store::backup::{self, Copy};
use crate::store::organizations::{self, Organization, Status};
use crate::store::{Keep, Store, keys, providers, purge, stamp};
use crate::sync::lock::{self, RunLock, Taken};

/// Purge a deleted organization: its keys, credentials, settings, learners, employers and logs are destroyed for good
///
/// What stays is its name, so that its subdomain is not given to another, and the audit. Backups are not reached: they are
/// listed, and their copies of its credentials open for as long as the master key is kept that they were made under. Needs no
/// key itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org purge acme --dry-run\n  skillsctl org purge acme\n  skillsctl org purge acme --confirm acme --json"
)]
pub(crate) struct PurgeArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// The slug once more, as consent, instead of typing it
    #[arg(long, value_name = "ORG")]
    confirm: Option<String>,
}

#[derive(Debug, Serialize)]
struct Purged {
    slug: String,
    /// `purged`, or `unchanged` where it was before.
    outcome: &'static str,
    dry_run: bool,
    /// How many rows went, by table.
    rows: BTreeMap<String, u64>,
    /// Whether nothing of it is left in the database's files; null in a dry run.
    files_rewritten: Option<bool>,
    /// The master key that opens its credentials in copies from before.
    key_id: Option<String>,
    copies: Vec<Copy>,
}

pub(super) fn run(args: &PurgeArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = deleted(&store, &args.org)?;
    let slug = organization.slug.as_str();
    let mut copies = backup::copies(store.read(), store.path())?;
    if let Some(at) = organization.purged_at {
        // What was copied since holds nothing of it.
        copies.retain(|copy| copy.at <= Some(stamp(at)));
    }
    let mut purged = Purged {
        slug: slug.to_owned(),
        outcome: if organization.purged_at.is_some() { "unchanged" } else { "purged" },
        dry_run: session.keep == Keep::DryRun,
        rows: purge::rows(store.read(), organization.id)?,
        files_rewritten: None,
        key_id: keys::in_force(store.read())?.map(|key| key.id.to_string()),
        copies,
    };
    if session.keep == Keep::Yes {
        if session.output.can_ask() && args.confirm.is_none() {
            session.output.lay_out(text(&purged));
        }
        if !session.output.confirm_destroy(slug, args.confirm.as_deref())? {
            return Err(declined().into());
        }
    }
    let locks = locks(&store, slug, session)?;
    // A run that was about to begin may have logged since that it could not.
    if organization.purged_at.is_none() || !purged.rows.is_empty() {
        purged.rows = store.change(session.keep, |tx| {
            // As it is now: it may have been restored since.
            let organization = still_deleted(organizations::find(tx, slug)?, slug)?;
            let rows = purge::rows(tx, organization.id)?;
            purge::purge(tx, organization.id, session.now)?;
            change::record(tx, session, ("org purge", slug), (Some("deleted"), Some("purged")))?;
            Ok(rows)
        })?;
    }
    if session.keep == Keep::Yes {
        for (provider, held) in locks {
            // One that cannot be removed is empty of anything but a process number.
            lock::remove(store.path(), slug, &provider, held).ok();
        }
        purged.files_rewritten = Some(copies::rewritten(&store, session, "the organization is purged"));
    }
    tell(session, &purged)
}

/// Returns the organization, if it is in the trash or was purged before.
fn deleted(store: &Store, slug: &str) -> Result<Organization> {
    match organizations::find(store.read(), slug)? {
        None => Ok(organizations::by_slug(store.read(), slug)?),
        found => still_deleted(found, slug),
    }
}

fn still_deleted(found: Option<Organization>, slug: &str) -> Result<Organization> {
    found.filter(|organization| organization.status == Status::Deleted).ok_or_else(|| {
        UserError::new(Exit::Conflict, "org_not_deleted", format!("organization `{slug}` is not deleted"))
            .hint(format!("delete it first, which can be undone: `skillsctl org delete {slug}`"))
            .into()
    })
}

/// Takes the locks of all its runs, so that none that began before it was deleted writes any more.
fn locks(store: &Store, slug: &str, session: &Session) -> Result<Vec<(String, RunLock)>> {
    let mut locks = Vec::new();
    if session.keep == Keep::DryRun {
        return Ok(locks);
    }
    for provider in providers::all(store.read())? {
        let provider = provider.slug.to_string();
        match lock::take(store.path(), (slug, &provider), session.now)? {
            Taken::Free(held) => locks.push((provider, held)),
            Taken::Held(holder) => {
                let message = format!("a sync of {slug}/{provider} is under way: {holder} is at it");
                return Err(UserError::new(Exit::Locked, "already_running", message)
                    .hint("try again when it has ended")
                    .into());
            }
        }
    }
    Ok(locks)
}

fn text(purged: &Purged) -> String {
    let rows: Vec<String> = purged.rows.iter().map(|(table, count)| format!("  {table}: {count}\n")).collect();
    let rows = if rows.is_empty() { "  nothing is left\n".to_owned() } else { rows.concat() };
    format!("{}: all that it has, for good:\n{rows}", purged.slug)
}

fn tell(session: &Session, purged: &Purged) -> Result<Exit> {
    session.output.one("OrgPurged", purged, |_| format!("{}{}: {}\n", text(purged), purged.slug, purged.outcome))?;
    if !session.output.is_json() {
        let key = purged.key_id.as_deref().unwrap_or_default();
        let still = format!(
            "copies of the database from before hold all of it, and its credentials in them open with the master key {key}: destroy \
             these copies, or replace that key and destroy it; and withdraw the credentials at the providers"
        );
        copies::tell(session, &purged.copies, &still);
    }
    session.note_dry_run();
    Ok(if purged.files_rewritten == Some(false) { Exit::Partial } else { Exit::Done })
}
