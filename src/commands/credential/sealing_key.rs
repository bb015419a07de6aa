//! `credential sealing-key`: the public key that values are deposited to where there is no master key.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::commands::change;
use crate::error::Exit;
use crate::output::{Cell, pairs};
use crate::secrets::hex;
use crate::session::Session;
use crate::store::sealing_keys;
use crate::store::{Keep, deposits, stamp};
use crate::vault;

/// Show and make the public key that values are deposited to where there is no master key
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Show(ShowArgs),
    Create(CreateArgs),
}

/// Show the sealing key, and what is deposited to it
///
/// Its id is what a provisioner pins by `credential set --sealing-key ID` or SKILLSCTL_SEALING_KEY. With the master key
/// at hand, the sealing key is proved to have been made with it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential sealing-key show\n  skillsctl credential sealing-key show --json --fields id"
)]
pub(super) struct ShowArgs {}

/// Make the sealing key of a database that has none, or another one
///
/// `init` makes the first one. What was deposited to a key that was replaced can still be taken in; its private half goes
/// with the last of it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential sealing-key create\n  skillsctl credential sealing-key create --rekey"
)]
pub(super) struct CreateArgs {
    /// Make a new one in place of the one there is
    #[arg(long)]
    rekey: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    /// What a provisioner pins.
    id: String,
    public_key: String,
    created_at: String,
    created_by: String,
    /// Whether the master key proves it; null where none is at hand.
    proved: Option<bool>,
    /// How many deposits wait, to this key and to those before it.
    deposits: i64,
    /// Those before it that deposits still need.
    replaced: Vec<String>,
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<Exit> {
    match verb {
        Verb::Show(_) => show(session),
        Verb::Create(args) => create(&args, session),
    }
}

fn show(session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let key = vault::sealing_key(connection, None)?;
    let vault = session.vault_if_any(&store)?;
    let stored = sealing_keys::all(connection)?;
    let proved = vault.map(|vault| vault.prove_sealing_keys(connection).map(|()| true)).transpose()?;
    let in_force = &stored[0];
    let shown = Shown {
        id: key.id(),
        public_key: hex::encode(&key.to_bytes()),
        created_at: stamp(in_force.created_at),
        created_by: in_force.created_by.clone(),
        proved,
        deposits: deposits::counts(connection)?.values().sum(),
        replaced: stored[1..].iter().map(|pair| pair.id.clone()).collect(),
    };
    session.output.one("SealingKey", &shown, |look| {
        let proof = if proved.is_some() { "made with the master key" } else { "no master key is at hand to prove it" };
        pairs(
            &[
                ("sealing key", Cell::text(&shown.id)),
                ("proof", Cell::text(proof)),
                ("created", Cell::text(format!("{} by {}", look.time(in_force.created_at), shown.created_by))),
                ("deposits", Cell::number(shown.deposits)),
                ("replaced", Cell::text(shown.replaced.join(", "))),
            ],
            look,
        )
    })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Created {
    id: String,
    /// `created`, `replaced` or `unchanged`.
    outcome: &'static str,
}

fn create(args: &CreateArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let vault = session.vault(&store)?;
    let created = store.change(session.keep, |tx| {
        let present = sealing_keys::in_force(tx)?;
        if let Some(present) = &present
            && !args.rekey
        {
            vault.prove(present)?;
            return Ok(Created { id: present.id.clone(), outcome: "unchanged" });
        }
        let key = vault.new_sealing_key(tx, (&session.actor, session.now))?;
        let (id, before) = (key.id(), present.as_ref().map(|present| present.id.as_str()));
        change::record(tx, session, ("sealing-key create", &id), (before, Some(&id)))?;
        Ok(Created { outcome: if present.is_some() { "replaced" } else { "created" }, id })
    })?;
    if session.keep == Keep::Yes && created.outcome == "replaced" {
        // The private half that was replaced is gone, unless a deposit needs it.
        store.checkpoint()?;
    }
    session.output.one("SealingKeyCreated", &created, |_| format!("{}, {}", created.outcome, created.id))?;
    session.note_dry_run();
    Ok(Exit::Done)
}
