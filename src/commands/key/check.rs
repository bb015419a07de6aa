//! `key check`: opens everything that is sealed with the keys at hand, and names what does not open.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::error::Exit;
use crate::inspection;
use crate::output::{Cell, block};
use crate::session::Session;
use crate::store;

/// Open everything that is sealed with the keys at hand; nothing is written
///
/// Every key that a master key wraps, every credential in whatever stage, every token and every deposit. Exit code 8 comes with what does not open.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl key check\n  skillsctl key check --key-file /root/skillsctl-2027.key\n  skillsctl key check --db /var/backups/skillsctl/monday.db --json"
)]
pub(crate) struct CheckArgs {}

#[derive(Debug, Serialize)]
struct Checked {
    all_open: bool,
    /// The master keys it was opened with, the one in force first.
    key_ids: Vec<String>,
    /// How many of each open.
    keys: usize,
    credentials: usize,
    tokens: usize,
    deposits: usize,
    closed: Vec<Closed>,
}

#[derive(Debug, Serialize)]
struct Closed {
    /// The table, and what the row is known by.
    place: String,
    problem: String,
}

pub(crate) fn run(_args: &CheckArgs, session: &Session) -> Result<Exit> {
    let store = session.look()?;
    let vault = session.vault(&store)?;
    let newer = store::brought_up_to_date(&store)?;
    let opened = inspection::open_all(newer.as_ref().unwrap_or(&store).read(), &vault)?;
    let checked = Checked {
        all_open: opened.closed.is_empty(),
        key_ids: vault.key_ids().iter().map(ToString::to_string).collect(),
        keys: opened.keys,
        credentials: opened.credentials,
        tokens: opened.tokens,
        deposits: opened.deposits,
        closed: opened.closed.into_iter().map(|found| Closed { place: found.place, problem: found.problem }).collect(),
    };
    session.output.one("KeyCheck", &checked, |look| {
        let line = format!(
            "{} keys, {} credentials, {} tokens and {} deposits open with the master key {}",
            checked.keys,
            checked.credentials,
            checked.tokens,
            checked.deposits,
            checked.key_ids.join(" and ")
        );
        let rows = checked.closed.iter().map(|Closed { place, problem }| vec![Cell::text(place), Cell::text(problem)]);
        match checked.closed.len() {
            0 => line,
            count => {
                format!("{line}\n{count} {}:\n{}", look.bad("do not open"), block(&rows.collect::<Vec<_>>(), 2, look))
            }
        }
    })?;
    if checked.all_open {
        return Ok(Exit::Done);
    }
    if !session.output.is_json() {
        session.output.warn(
            "what does not open was changed or moved in the database: restore a backup with `skillsctl db restore`, or \
             set the credentials again",
        );
    }
    Ok(Exit::Key)
}
