//! `db restore`: a backup in the place of the database, which is kept under another name.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{absolute, size};
use crate::commands::change::declined;
use crate::error::{Exit, UserError};
use crate::session::Session;
use crate::store::anchor::Anchor;
use crate::store::{self, Keep, audit, restore};

/// Put a backup in the place of the database, which is kept under another name
///
/// The backup is checked first, and with the master key, if one is at hand. Refused while anything uses the database.
/// A backup of an older schema is brought up to date on the way; the file itself stays as it is.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl db restore monday.db --dry-run\n  skillsctl db restore monday.db\n  skillsctl db restore /var/backups/skillsctl/monday.db --confirm skillsctl.db --json"
)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the database file, as consent to put another one in its place
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Restore a backup some rows of which are damaged
    #[arg(long)]
    allow_damaged: bool,
}

#[derive(Debug, Serialize)]
struct Restored {
    path: String,
    backup: String,
    outcome: &'static str,
    dry_run: bool,
    database_id: String,
    /// Whether the database that was there was another one, not an older or newer state of this one.
    was_another: bool,
    schema_of_backup: i64,
    schema: i64,
    organizations: i64,
    credentials: i64,
    learners: i64,
    employers: i64,
    /// Whether the master key at hand opens it; null where none is at hand.
    key_fits: Option<bool>,
    /// Where the database that was there is kept; null where there was none.
    kept: Option<String>,
    warnings: Vec<String>,
}

pub(crate) fn run(args: &RestoreArgs, session: &Session) -> Result<Exit> {
    let database = session.paths()?.db;
    let mut candidate = restore::prepare(&args.file, &database)?;
    let looked_at = candidate.look()?;
    let key_fits = session.vault_if_any(&looked_at)?.map(|_| true);
    drop(looked_at);
    let was_there = database.symlink_metadata().is_ok();
    let present = store::look(&database).ok().map(|store| store.database_id().to_owned());
    let was_another = present.is_some_and(|present| present != candidate.contents.database_id);
    let contents = candidate.contents.clone();
    let mut restored = Restored {
        path: absolute(&database),
        backup: absolute(&args.file),
        outcome: "restored",
        dry_run: session.keep == Keep::DryRun,
        database_id: contents.database_id.clone(),
        was_another,
        schema_of_backup: contents.schema,
        schema: store::newest_schema(),
        organizations: contents.count("organizations"),
        credentials: contents.count("organization_credentials"),
        learners: contents.count("learners"),
        employers: contents.count("employers"),
        key_fits,
        kept: None,
        warnings: warnings(&candidate, was_another, key_fits),
    };
    if !candidate.damaged.is_empty() && !args.allow_damaged {
        let message =
            format!("{} rows of the backup are damaged: {}", candidate.damaged.len(), candidate.damaged[0].place);
        return Err(UserError::new(Exit::Database, "backup_damaged", message)
            .hint(format!(
                "`skillsctl db check --db {}` lists them; --allow-damaged restores it all the same",
                args.file.display()
            ))
            .into());
    }
    let subject = restored.backup.clone();
    let entry =
        audit::Entry { actor: &session.actor, action: "db restore", subject: &subject, before: None, after: None };
    let head = candidate.bring_up_to_date(session.now, &entry)?;
    // Refused before it is asked for; not held while a person thinks.
    drop(restore::alone(&database)?);
    if session.keep == Keep::Yes {
        if was_there && !consent(args, session, &database, &restored)? {
            return Err(declined().into());
        }
        restored.kept = candidate.put(&restore::alone(&database)?, session.now)?.as_deref().map(absolute);
        // That it is older than what was seen here is known from here on.
        if let (Some(folder), Some(head)) = (session.environment.anchor_folder(), head) {
            Anchor::of(&folder, &restored.database_id).set(&head).ok();
        }
    }
    tell(session, &restored)
}

fn warnings(candidate: &restore::Candidate, was_another: bool, key_fits: Option<bool>) -> Vec<String> {
    let mut warnings = Vec::new();
    if was_another {
        warnings.push("the database there is another one, not an earlier or later state of the backup".to_owned());
    }
    if key_fits.is_none() {
        warnings.push("no master key is at hand: whether its credentials open is not known".to_owned());
    }
    if !candidate.damaged.is_empty() {
        warnings.push(format!("{} rows are damaged: `skillsctl db check` lists them", candidate.damaged.len()));
    }
    warnings
        .push("credentials and settings are those of the backup: what was changed since is as it was then".to_owned());
    warnings.push(
        "what was taken away since is back: roles that were revoked, persons who were erased, organizations that were purged; \
         the audit of the database that was there tells which, and it is to be done again"
            .to_owned(),
    );
    warnings
}

/// Asks for the name of the database that is put aside, or takes it from the command line.
fn consent(args: &RestoreArgs, session: &Session, database: &std::path::Path, restored: &Restored) -> Result<bool> {
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    if args.confirm.is_none() && session.output.can_ask() {
        session.output.lay_out(summary(restored));
        restored.warnings.iter().for_each(|warning| session.output.warn(warning));
    }
    session.output.confirm_destroy(&name, args.confirm.as_deref())
}

fn summary(restored: &Restored) -> String {
    let schema = match restored.schema - restored.schema_of_backup {
        0 => format!("schema {}", restored.schema),
        _ => format!("schema {} brought to {}", restored.schema_of_backup, restored.schema),
    };
    let length = std::fs::metadata(&restored.backup).map(|metadata| metadata.len()).unwrap_or_default();
    format!(
        "{}: {}, {schema}, {} organizations, {} learners, {} employers, {} sealed credentials",
        restored.backup,
        size(length),
        restored.organizations,
        restored.learners,
        restored.employers,
        restored.credentials
    )
}

fn tell(session: &Session, restored: &Restored) -> Result<Exit> {
    session.output.one("DbRestored", restored, |_| {
        let done = if restored.dry_run { "would be restored" } else { "restored" };
        format!("{}: {done} from\n{}", restored.path, summary(restored))
    })?;
    if !session.output.is_json() {
        restored.warnings.iter().for_each(|warning| session.output.warn(warning));
        if let Some(kept) = &restored.kept {
            session.output.note(format!("the database that was there is kept in `{kept}`"));
        }
    }
    session.note_dry_run();
    Ok(Exit::Done)
}
