//! `audit show`: one change with its hashes.

use anyhow::Result;
use clap::Args;

use super::Shown;
use crate::error::{Exit, UserError};
use crate::output::{Cell, pairs};
use crate::session::Session;
use crate::store::audit;

/// Show a change: who made it, of what, and the hashes of before and after
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl audit show 42\n  skillsctl audit show 42 --json")]
pub(crate) struct ShowArgs {
    /// Number of the change
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    id: i64,
}

pub(super) fn run(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let row = audit::by_id(store.read(), args.id)?.ok_or_else(|| {
        UserError::new(Exit::NotFound, "audit_row_not_found", format!("there is no change {}", args.id))
            .hint("`skillsctl audit list` shows what there is")
    })?;
    let row = Shown::from(row);
    session.output.one("AuditRow", &row, |look| {
        pairs(
            &[
                ("id", Cell::text(&row.id)),
                ("when", row.when()),
                ("actor", Cell::text(&row.actor)),
                ("action", Cell::text(&row.action)),
                ("subject", Cell::text(&row.subject)),
                ("before", Cell::text_or_empty(row.before.as_deref())),
                ("after", Cell::text_or_empty(row.after.as_deref())),
                ("hash", Cell::text(&row.hash)),
            ],
            look,
        )
    })?;
    Ok(Exit::Done)
}
