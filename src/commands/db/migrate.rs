//! `db migrate`: brings the schema up to date, as any command that needs the database does by itself.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::absolute;
use crate::error::Exit;
use crate::output::{Cell, block};
use crate::session::Session;
use crate::store::{self, Keep, Store};

/// Bring the schema of the database up to date, with a backup of what was there
///
/// Any command that needs the database does so by itself; this one does nothing else, and with --dry-run lists the steps.
/// All steps are one transaction. Waits for whatever uses the database, and is refused if that takes too long.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl db migrate --dry-run\n  skillsctl db migrate\n  skillsctl db migrate --json"
)]
pub(crate) struct MigrateArgs {}

#[derive(Debug, Serialize)]
struct Migrated {
    path: String,
    /// `migrated` or `unchanged`.
    outcome: &'static str,
    dry_run: bool,
    from: i64,
    to: i64,
    steps: Vec<Step>,
    /// The database as it was before; null where nothing was done.
    backup: Option<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    schema: i64,
    name: String,
}

pub(crate) fn run(_args: &MigrateArgs, session: &Session) -> Result<Exit> {
    let from = session.look()?.schema()?;
    let steps: Vec<Step> =
        store::steps_from(from).into_iter().map(|step| Step { schema: step.schema, name: step.name }).collect();
    let mut migrated = Migrated {
        path: absolute(&session.paths()?.db),
        outcome: if steps.is_empty() { "unchanged" } else { "migrated" },
        dry_run: session.keep == Keep::DryRun,
        from,
        to: store::newest_schema(),
        steps,
        backup: None,
    };
    if session.keep == Keep::Yes && !migrated.steps.is_empty() {
        let store: Store = session.store()?;
        migrated.backup = store.upgraded().map(|upgraded| absolute(&upgraded.backup));
    }
    session.output.one("DbMigrated", &migrated, |look| {
        let steps = migrated.steps.iter().map(|step| vec![Cell::text(step.schema.to_string()), Cell::text(&step.name)]);
        let range = if migrated.steps.is_empty() {
            format!("schema {}, which is the newest", migrated.to)
        } else {
            format!("schema {} to {}", migrated.from, migrated.to)
        };
        let range = format!("{}: {}, {range}", migrated.path, migrated.outcome);
        format!("{range}\n{}", block(&steps.collect::<Vec<_>>(), 2, look))
    })?;
    session.note_dry_run();
    Ok(Exit::Done)
}
