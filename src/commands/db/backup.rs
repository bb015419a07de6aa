//! `db backup`: a checked copy, made beside whatever runs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{absolute, size};
use crate::error::{Exit, UserError};
use crate::session::Session;
use crate::store::{self, Keep, Replace, Store, audit, backup};

/// Copy the database to a file, checked before it has its name
///
/// Safe beside a running sync, which a plain `cp` is not. The credentials in it are sealed: they need the master key,
/// which is not in it. Keep both, apart from each other.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl db backup /var/backups/skillsctl/monday.db\n  skillsctl db backup /var/backups/skillsctl\n  skillsctl db backup latest.db --force --json"
)]
pub(crate) struct BackupArgs {
    /// The file to write; in a folder it is named by the database and the time
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write over a backup of the same name
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct Written {
    path: String,
    bytes: u64,
    schema: i64,
    database_id: String,
    organizations: i64,
    credentials: i64,
    learners: i64,
    employers: i64,
    runs: i64,
    /// The master key in force, which opens the credentials in it; null where there is none yet.
    key_id: Option<String>,
    /// All master keys without which something in it does not open.
    key_ids: Vec<String>,
    warnings: Vec<String>,
}

pub(crate) fn run(args: &BackupArgs, session: &Session) -> Result<Exit> {
    if session.keep == Keep::DryRun {
        return Err(UserError::new(
            Exit::Usage,
            "dry_run_unsupported",
            "`db backup` changes nothing but the file it writes",
        )
        .hint("leave --dry-run out; `skillsctl db check` looks without writing")
        .into());
    }
    let store = session.look()?;
    let target = target(&args.file, store.path(), session);
    let replace = if args.force { Replace::Yes } else { Replace::No };
    let made = backup::write(store.read(), store.path(), &target, replace)?;
    let mut warnings = Vec::new();
    if !made.damaged.is_empty() {
        let first = &made.damaged[0].place;
        warnings.push(format!(
            "{} rows are damaged in the database, and so in the backup, {first} for one: `skillsctl db check` lists them",
            made.damaged.len()
        ));
    }
    if let Err(error) = record(session, &store, &made.path) {
        warnings.push(format!("the backup is made, but could not be noted in the database: {error:#}"));
    }
    let contents = &made.contents;
    let key_ids: Vec<String> = store::keys::needed(store.read())?.iter().map(ToString::to_string).collect();
    let written = Written {
        path: absolute(&made.path),
        bytes: made.bytes,
        schema: contents.schema,
        database_id: contents.database_id.clone(),
        organizations: contents.count("organizations"),
        credentials: contents.count("organization_credentials"),
        learners: contents.count("learners"),
        employers: contents.count("employers"),
        runs: contents.count("integration_sync_logs"),
        key_id: key_ids.first().cloned(),
        key_ids,
        warnings,
    };
    session.output.one("DbBackup", &written, |look| {
        let number = |count| look.number(count);
        format!(
            "{}: {}, schema {}, {} organizations, {} learners, {} employers, {} sealed credentials",
            written.path,
            size(written.bytes),
            written.schema,
            number(written.organizations),
            number(written.learners),
            number(written.employers),
            number(written.credentials)
        )
    })?;
    if !session.output.is_json() {
        written.warnings.iter().for_each(|warning| session.output.warn(warning));
        if !written.key_ids.is_empty() {
            let keys = written.key_ids.join(" and ");
            session
                .output
                .note(format!("its credentials need the master key {keys}, which is not in it: keep that elsewhere"));
        }
    }
    Ok(Exit::Done)
}

/// Returns the file to write: within a folder one that is named by the database and the time.
fn target(file: &Path, database: &Path, session: &Session) -> PathBuf {
    if !file.is_dir() {
        return file.to_owned();
    }
    let name = database.file_stem().unwrap_or_default().to_string_lossy();
    file.join(format!("{name}-{}.db", session.now.format("%Y%m%dT%H%M%SZ")))
}

/// Notes the backup in the database, so that it is known where credentials still are. One of an older schema stays as
/// it is, and so does one that cannot be written.
fn record(session: &Session, looked_at: &Store, path: &Path) -> Result<()> {
    if looked_at.is_read_only()? || looked_at.schema()? != store::newest_schema() {
        return Ok(());
    }
    session.store()?.change(Keep::Yes, |tx| {
        let subject = absolute(path);
        let entry =
            audit::Entry { actor: &session.actor, action: "db backup", subject: &subject, before: None, after: None };
        audit::insert(tx, session.now, &entry)
    })
}
