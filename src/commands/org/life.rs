//! `org suspend`, `resume`, `delete` and `restore`.

use anyhow::Result;
use clap::Args;

use super::super::change::{self, Changed};
use crate::domain::entity::Entity;
use crate::domain::organization::TRASH_DAYS;
use crate::error::Exit;
use crate::output::Change;
use crate::session::Session;
use crate::store::organizations::{self, Organization, Status};
use crate::store::{Connection, Store, credentials, records, tokens};

/// Suspend an organization: everything is kept, nothing is synced
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org suspend acme\n  skillsctl org suspend acme --dry-run\n  skillsctl org suspend acme --json"
)]
pub(crate) struct SuspendArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
}

/// Resume a suspended organization
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl org resume acme\n  skillsctl org resume acme --json")]
pub(crate) struct ResumeArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
}

/// Delete an organization: it goes to the trash, from where it can be restored for 30 days
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org delete acme\n  skillsctl org delete acme --yes\n  skillsctl org delete acme --if-exists --yes"
)]
pub(crate) struct DeleteArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// Do nothing if there is no such organization
    #[arg(long)]
    if_exists: bool,
}

/// Restore a deleted organization
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl org restore acme\n  skillsctl org restore acme --json")]
pub(crate) struct RestoreArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
}

pub(super) fn suspend(args: &SuspendArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let mut changed = Changed::new(session, &organization.slug, "suspended");
    changed.next.push(format!("skillsctl org resume {}", organization.slug));
    to_status(&mut store, session, (&organization, Status::Suspended, "org suspend"), changed)
}

pub(super) fn resume(args: &ResumeArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let changed = Changed::new(session, &organization.slug, "resumed");
    to_status(&mut store, session, (&organization, Status::Active, "org resume"), changed)
}

pub(super) fn delete(args: &DeleteArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = match organizations::find(store.read(), &args.org)? {
        Some(organization) if organization.status != Status::Deleted => organization,
        Some(deleted) => return Changed::unchanged(session, &deleted.slug).tell(session, "OrgChange"),
        None if args.if_exists => return Changed::unchanged(session, &args.org).tell(session, "OrgChange"),
        None => organizations::by_slug(store.read(), &args.org)?,
    };
    let slug = &organization.slug;
    let mut changed = Changed::new(session, slug, "deleted");
    changed.notes = vec![kept(store.read(), &organization)?];
    changed.next = vec![format!("skillsctl org restore {slug}   (within {TRASH_DAYS} days)")];
    let changed = changed.consented(session, &format!("Delete {} ({slug})?", organization.name))?;
    to_status(&mut store, session, (&organization, Status::Deleted, "org delete"), changed)
}

pub(super) fn restore(args: &RestoreArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = match organizations::find(store.read(), &args.org)? {
        Some(purged) if purged.purged_at.is_some() => return Err(organizations::gone(&args.org).into()),
        Some(organization) if organization.status == Status::Deleted => organization,
        _ => {
            let present = organizations::by_slug(store.read(), &args.org)?;
            return Changed::unchanged(session, &present.slug).tell(session, "OrgChange");
        }
    };
    let mut changed = Changed::new(session, &organization.slug, "restored");
    changed.notes.push("it is active again: `skillsctl org suspend` keeps it from being synced".into());
    to_status(&mut store, session, (&organization, Status::Active, "org restore"), changed)
}

/// Says what goes to the trash along with an organization.
fn kept(connection: &Connection, organization: &Organization) -> Result<String> {
    let rows = |entity| -> Result<u64> {
        Ok(records::counts(connection, organization.id, entity)?
            .values()
            .map(|counts| counts.iter().sum::<u64>())
            .sum())
    };
    let credentials = credentials::all(connection, organization.id)?.len();
    Ok(format!(
        "its {} learners, {} employers and {credentials} credentials go to the trash with it, for {TRASH_DAYS} days",
        rows(Entity::Learner)?,
        rows(Entity::Employer)?
    ))
}

/// Gives an organization a status, unless it has it.
fn to_status(
    store: &mut Store,
    session: &Session,
    (organization, status, action): (&Organization, Status, &str),
    mut changed: Changed,
) -> Result<Exit> {
    if organization.status == status {
        return Changed::unchanged(session, &organization.slug).tell(session, "OrgChange");
    }
    let edited =
        Organization { status, deleted_at: (status == Status::Deleted).then_some(session.now), ..organization.clone() };
    let (before, after) = (organization.status.as_str(), status.as_str());
    store.change(session.keep, |tx| {
        organizations::update(tx, &edited, session.now)?;
        if status == Status::Deleted {
            tokens::forget_all(tx, organization.id)?;
        }
        change::record(tx, session, (action, organization.slug.as_str()), (Some(before), Some(after)))
    })?;
    changed.changes.push(Change {
        path: "status".into(),
        before: Some(before.into()),
        after: Some(after.into()),
        note: None,
    });
    changed.tell(session, "OrgChange")
}
