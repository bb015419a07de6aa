//! `db status`: where the database is, how large, and what is in it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::{absolute, size};
use crate::error::Exit;
use crate::output::{Cell, instant_or_null, pairs};
use crate::session::Session;
use crate::store::contents::Contents;
use crate::store::{self, audit};

/// Show where the database is, how large it is, and what is in it
///
/// Nothing is written, and a database of an older schema stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl db status\n  skillsctl db status --json")]
pub(crate) struct StatusArgs {}

#[derive(Debug, Serialize)]
struct Status {
    path: String,
    bytes: u64,
    /// Changes that are not in the file itself yet.
    wal_bytes: u64,
    /// Room left where the file lies; null where it cannot be told.
    free_bytes: Option<u64>,
    database_id: String,
    schema: i64,
    newest_schema: i64,
    journal_mode: String,
    read_only: bool,
    rows: BTreeMap<String, i64>,
    #[serde(serialize_with = "instant_or_null")]
    last_backup_at: Option<DateTime<Utc>>,
    last_backup: Option<String>,
}

pub(crate) fn run(_args: &StatusArgs, session: &Session) -> Result<Exit> {
    let path = session.paths()?.db;
    let store = session.look()?;
    let contents = Contents::read(store.read())?;
    let last = audit::last(store.read(), "db backup")?;
    let status = Status {
        path: absolute(&path),
        bytes: length(&path),
        wal_bytes: store::log_bytes(&path),
        free_bytes: free(&path),
        database_id: contents.database_id,
        schema: contents.schema,
        newest_schema: store::newest_schema(),
        journal_mode: store.journal_mode()?,
        read_only: store.is_read_only()?,
        rows: contents.rows,
        last_backup_at: last.as_ref().map(|(at, _)| *at),
        last_backup: last.map(|(_, path)| path),
    };
    session.output.one("DbStatus", &status, |look| {
        let schema = match status.newest_schema - status.schema {
            0 => status.schema.to_string(),
            _ => format!("{}, the newest is {}: `skillsctl db migrate`", status.schema, status.newest_schema),
        };
        let access = if status.read_only { "read-only" } else { "writable" };
        let rows = |table: &str| Cell::number(status.rows.get(table).copied().unwrap_or_default());
        let backup = match (&status.last_backup_at, &status.last_backup) {
            (Some(at), Some(path)) => format!("{}, {path}", look.time(*at)),
            _ => "none is known of: `skillsctl db backup FILE`".to_owned(),
        };
        let free = status.free_bytes.map_or("unknown".to_owned(), size);
        pairs(
            &[
                ("database", Cell::text(&status.path)),
                ("size", Cell::text(format!("{} and {} in its log", size(status.bytes), size(status.wal_bytes)))),
                ("free", Cell::text(free)),
                ("schema", Cell::text(schema)),
                ("mode", Cell::text(format!("{}, {access}", status.journal_mode))),
                ("last backup", Cell::text(backup)),
                ("organizations", rows("organizations")),
                ("overrides", rows("organization_integration_overrides")),
                ("credentials", rows("organization_credentials")),
                ("deposits", rows("credential_deposits")),
                ("learners", rows("learners")),
                ("employers", rows("employers")),
                ("quarantine", rows("quarantine")),
                ("runs", rows("integration_sync_logs")),
            ],
            look,
        )
    })?;
    Ok(Exit::Done)
}

/// Returns the size of a file, which is not opened for that: closing it would drop SQLite's locks.
fn length(path: &Path) -> u64 {
    path.metadata().map(|metadata| metadata.len()).unwrap_or_default()
}

/// Returns how much an ordinary user can still write where a file lies.
fn free(path: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(path).ok()?;
    room.f_bavail.checked_mul(room.f_frsize)
}
