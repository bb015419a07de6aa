//! `audit list`: the newest changes, all or some of them.

use anyhow::Result;
use clap::Args;

use super::Shown;
use crate::domain::moment::Moment;
use crate::error::Exit;
use crate::output::{ALWAYS, Cell, Column, List};
use crate::session::Session;
use crate::store::audit::{self, Wanted};
use crate::store::organizations;

/// List changes, newest first
///
/// What syncs read is not among them: `skillsctl log list` has the runs.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl audit list\n  skillsctl audit list --org acme --since 30d\n  skillsctl audit list --action credential --actor ann --json"
)]
pub(crate) struct ListArgs {
    /// Of this organization only, also where it is gone
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// By those only whose name or job has this in it
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Of this action only, like `org create`, or all of a noun, like `org`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// From this date, time, or length of time ago on
    #[arg(long, value_name = "T")]
    since: Option<Moment>,
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

pub(super) fn run(args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let wanted = Wanted {
        organization: args.org.as_deref(),
        actor: args.actor.as_deref(),
        action: args.action.as_deref(),
        since: args.since.map(|moment| moment.at(session.now)),
        limit: args.limit,
    };
    let rows: Vec<Shown> = audit::list(store.read(), &wanted)?.into_iter().map(Shown::from).collect();
    if let (Some(slug), true) = (&args.org, rows.is_empty()) {
        // One without any change may be a typing error.
        organizations::by_slug(store.read(), slug)?;
    }
    let list = List {
        kind: "AuditList",
        items: &rows,
        warnings: Vec::new(),
        name: |row| row.id.clone(),
        empty: "no such change; `skillsctl audit list` without flags has all of them",
    };
    session.output.list(
        list,
        [
            Column { header: "id", priority: ALWAYS, cell: |row, _| Cell::text(&row.id) },
            Column { header: "when", priority: 3, cell: |row, _| row.when() },
            Column { header: "actor", priority: 2, cell: |row, _| Cell::text(&row.actor) },
            Column { header: "action", priority: ALWAYS, cell: |row, _| Cell::text(&row.action) },
            Column { header: "subject", priority: ALWAYS, cell: |row, _| Cell::text(&row.subject) },
        ],
    )?;
    Ok(Exit::Done)
}
