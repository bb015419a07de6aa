//! `audit`: who changed what and when, and whether that record is whole.

mod export;
mod list;
mod show;
mod verify;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use crate::error::Exit;
use crate::output::Cell;
use crate::session::Session;
use crate::store::chain::Row;

/// Look at who changed what, and prove that nothing was taken out of it
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Verify(verify::VerifyArgs),
    Export(export::ExportArgs),
}

pub(crate) fn run(command: AuditCommand, session: &Session) -> Result<Exit> {
    match command {
        AuditCommand::List(args) => list::run(&args, session),
        AuditCommand::Show(args) => show::run(&args, session),
        AuditCommand::Verify(args) => verify::run(&args, session),
        AuditCommand::Export(args) => export::run(&args, session),
    }
}

/// A row as scripts see it.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    at: String,
    actor: String,
    action: String,
    subject: String,
    /// SHA-256 of what was there before and is there now.
    before: Option<String>,
    after: Option<String>,
    /// SHA-256 of this row and the hash of the one before it.
    hash: String,
}

impl Shown {
    /// Returns when it was as a cell: one that is no time any more is shown as it is.
    fn when(&self) -> Cell {
        self.at.parse().map_or_else(|_| Cell::text(&self.at), |at: DateTime<Utc>| Cell::time(at))
    }
}

impl From<Row> for Shown {
    fn from(row: Row) -> Self {
        let Row { id, at, actor, action, subject, before, after, hash } = row;
        Shown { id: id.to_string(), at, actor, action, subject, before, after, hash }
    }
}
