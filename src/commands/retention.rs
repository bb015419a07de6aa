//! `retention`: how long runs, quarantine and deleted rows are kept, and what may be purged.

use std::sync::atomic::AtomicBool;

use anyhow::Result;
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::change;
use crate::domain::organization::TRASH_DAYS;
use crate::domain::retention::{Keeping, Policy};
use crate::error::{Exit, UserError};
use crate::output::{Cell, pairs};
use crate::session::Session;
use crate::stop::Stop;
use crate::store::organizations::{self, Status};
use crate::store::{self, Connection, Store, stamp};
use crate::sync::retention::{self, Removed, Removing};

/// Show, set and apply how long things are kept that are of no more use
#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    Show(ShowArgs),
    Set(SetArgs),
    Apply(ApplyArgs),
}

/// Show how long things are kept, and which deleted organizations may be purged
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl retention show\n  skillsctl retention show --json")]
pub(crate) struct ShowArgs {}

/// Set how long things are kept, for all organizations
///
/// `sync --all` removes what is older, once a day and a little at a time. Unless set: logs 400d, quarantine 90d, deleted 90d.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl retention set --logs 400d --quarantine 90d\n  skillsctl retention set --deleted never\n  skillsctl retention set --quarantine 30d --dry-run"
)]
pub(crate) struct SetArgs {
    /// Runs, but for each provider's newest ones; a length like 400d, or `never` to keep them for ever
    #[arg(long, value_name = "AGE")]
    logs: Option<Keeping>,
    /// Records that could not be stored, since they came last
    #[arg(long, value_name = "AGE")]
    quarantine: Option<Keeping>,
    /// Learners and employers that are gone at the provider, since that was noticed
    #[arg(long, value_name = "AGE")]
    deleted: Option<Keeping>,
}

/// Remove what is older than it is to be kept now, without waiting for `sync --all`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl retention apply --dry-run\n  skillsctl retention apply --yes")]
pub(crate) struct ApplyArgs {}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    policy: Policy,
    /// When it was last applied by a sync of everything.
    applied_at: Option<String>,
    /// Organizations that were deleted longer ago than they can be restored.
    purgeable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Applied {
    dry_run: bool,
    #[serde(flatten)]
    removed: Removed,
}

pub(crate) fn run(command: &RetentionCommand, session: &Session) -> Result<Exit> {
    match command {
        RetentionCommand::Show(_) => show(session),
        RetentionCommand::Set(args) => set(args, session),
        RetentionCommand::Apply(_) => apply(session),
    }
}

fn show(session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let shown = Shown {
        policy: store::retention::policy(store.read())?,
        applied_at: store::retention::applied_at(store.read())?.map(stamp),
        purgeable: purgeable(store.read(), session)?,
    };
    session.output.one("Retention", &shown, |look| {
        let Policy { logs, quarantine, deleted } = shown.policy;
        let text = |keeping: Keeping| Cell::text(keeping.to_string());
        pairs(
            &[
                ("logs", text(logs)),
                ("quarantine", text(quarantine)),
                ("deleted rows", text(deleted)),
                ("last applied", Cell::text_or_empty(shown.applied_at.as_deref())),
                (
                    "may be purged",
                    Cell::text_or_empty((!shown.purgeable.is_empty()).then(|| shown.purgeable.join(", "))),
                ),
            ],
            look,
        )
    })?;
    if !session.output.is_json() {
        shown.purgeable.iter().for_each(|slug| session.output.note(format!("next: skillsctl org purge {slug}")));
    }
    Ok(Exit::Done)
}

/// Returns the organizations whose time in the trash is over.
fn purgeable(connection: &Connection, session: &Session) -> Result<Vec<String>> {
    let since = session.now - TimeDelta::days(TRASH_DAYS);
    let all = organizations::all(connection, true)?.into_iter();
    let over = all.filter(|organization| {
        organization.status == Status::Deleted
            && organization.purged_at.is_none()
            && organization.deleted_at.is_some_and(|at| at <= since)
    });
    Ok(over.map(|organization| organization.slug.to_string()).collect())
}

fn set(args: &SetArgs, session: &Session) -> Result<Exit> {
    if args.logs.is_none() && args.quarantine.is_none() && args.deleted.is_none() {
        return Err(UserError::new(Exit::Usage, "nothing_given", "nothing is set")
            .hint("give `--logs`, `--quarantine` or `--deleted`")
            .into());
    }
    let mut store = session.store()?;
    let before = store::retention::policy(store.read())?;
    let policy = Policy {
        logs: args.logs.unwrap_or(before.logs),
        quarantine: args.quarantine.unwrap_or(before.quarantine),
        deleted: args.deleted.unwrap_or(before.deleted),
    };
    if policy == before {
        return change::Changed::unchanged(session, "retention").tell(session, "RetentionChange");
    }
    let (old, new) = (serde_json::to_string(&before)?, serde_json::to_string(&policy)?);
    store.change(session.keep, |tx| {
        store::retention::set_policy(tx, &policy)?;
        change::record(tx, session, ("retention set", "retention"), (Some(&old), Some(&new)))
    })?;
    let mut changed = change::Changed::new(session, "retention", "changed");
    let kinds = [
        ("logs", before.logs, policy.logs),
        ("quarantine", before.quarantine, policy.quarantine),
        ("deleted", before.deleted, policy.deleted),
    ];
    changed.changes = kinds
        .into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(path, before, after)| crate::output::Change {
            path: path.into(),
            before: Some(before.to_string()),
            after: Some(after.to_string()),
            note: None,
        })
        .collect();
    changed.next.push("skillsctl retention apply --dry-run".to_owned());
    changed.tell(session, "RetentionChange")
}

fn apply(session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let stop = Stop::watch()?;
    let mut removing =
        Removing { keep: store::Keep::DryRun, actor: &session.actor, now: session.now, stop: stop.flag() };
    let mut removed = retention::apply(&mut store, &removing)?;
    if session.keep == store::Keep::Yes && !removed.is_nothing() {
        if !session.output.confirm_harm(&format!("Remove {} for good?", words(&removed)))? {
            return Err(change::declined().into());
        }
        removing.keep = store::Keep::Yes;
        removed = retention::apply(&mut store, &removing)?;
    }
    let applied = Applied { dry_run: session.keep == store::Keep::DryRun, removed };
    session.output.one("RetentionApplied", &applied, |_| match removed.is_nothing() {
        true => "unchanged: nothing is older than it is kept".to_owned(),
        false => format!("removed {}", words(&removed)),
    })?;
    session.note_dry_run();
    Ok(stop.exit().unwrap_or(Exit::Done))
}

/// What a sync of everything does once a day. It says so where anything was removed, and where that failed: the sync itself
/// has been done.
pub(super) fn daily(session: &Session, store: &mut Store, stop: &AtomicBool) {
    let removing = Removing { keep: session.keep, actor: &session.actor, now: session.now, stop };
    let told = retention::daily(store, &removing).and_then(|removed| {
        let purgeable = if removed.is_nothing() { 0 } else { purgeable(store.read(), session)?.len() };
        Ok((removed, purgeable))
    });
    match told {
        Err(error) => session.output.warn(format!("what is older than it is kept could not be removed: {error:#}")),
        Ok((removed, _)) if removed.is_nothing() => {}
        Ok((removed, purgeable)) => {
            let also = match purgeable {
                0 => String::new(),
                count => format!("; {count} deleted organizations may be purged"),
            };
            let words = words(&removed);
            session.output.note(format!("removed, as older than it is kept: {words}{also}; skillsctl retention show"));
        }
    }
}

fn words(removed: &Removed) -> String {
    let all = [
        (removed.runs, "runs"),
        (removed.quarantined, "records in quarantine"),
        (removed.learners, "deleted learners"),
        (removed.employers, "deleted employers"),
    ];
    let told: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    told.join(", ")
}
